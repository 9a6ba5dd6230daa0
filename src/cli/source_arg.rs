//! What to back up, as it stands on the command line: `[NAME=]SOURCE`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::name;
use crate::error::{Error, Kind, Result};
use crate::text;

/// A source as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceArg {
    /// The name given by the user, if any.
    pub name: Option<String>,
    /// The folder or file.
    pub path: PathBuf,
}

impl SourceArg {
    /// Parses `[NAME=]PATH`. What stands before the first `=` is a name if it can be one; `./a=b` is a path.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        let named = bytes.iter().position(|b| *b == b'=').and_then(|at| {
            let name = name::check(&bytes[..at]).ok()?;
            Some((name.to_owned(), &bytes[at + 1..]))
        });
        let (name, source) = match named {
            Some((name, source)) => (Some(name), source),
            None => (None, bytes),
        };
        refuse_other_kinds(source)?;
        if source.is_empty() {
            return Err(Error::new(Kind::Usage, "a source is empty").fix("write a path, or NAME=PATH"));
        }
        Ok(Self { name, path: PathBuf::from(OsStr::from_bytes(source)) })
    }

    /// Its name: as given, or else the last part of its path.
    pub fn to_name(&self) -> Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let last = last_part(&self.path)?;
        let found = name::check(last.as_bytes()).map(str::to_owned);
        found.map_err(|error| {
            let path = text::path(&self.path);
            let why = error.reason().to_owned();
            Error::new(Kind::Usage, format!("the source {path} needs a name"))
                .why(why)
                .fix(format!("name it: {}='{path}'", name::suggest(last.as_bytes())))
        })
    }
}

/// The last part of a path, that of the real folder when the path itself tells none, such as `.` or `a/..`.
fn last_part(path: &Path) -> Result<OsString> {
    if let (Some(last), false) = (path.file_name(), path.as_os_str().as_bytes().ends_with(b"/.")) {
        return Ok(last.to_owned());
    }
    let real = path.canonicalize().map_err(|error| Error::io(format!("cannot find {}", text::path(path)), &error))?;
    Ok(real.file_name().unwrap_or_default().to_owned())
}

fn refuse_other_kinds(source: &[u8]) -> Result<()> {
    let kind = if source == b"-" {
        "standard input"
    } else if source.starts_with(b"sqlite:") {
        "an SQLite database"
    } else if source.starts_with(b"postgres://") || source.starts_with(b"postgresql://") {
        "a PostgreSQL database"
    } else {
        return Ok(());
    };
    let shown = text::escape(source);
    Err(Error::new(Kind::Usage, format!("'{shown}' would be {kind}, which this version cannot back up yet"))
        .fix(format!("a file or folder of that name is written ./{shown}")))
}

/// The names and paths of one run. `--name` names the only source; no name comes twice.
pub fn named(sources: &[SourceArg], name: Option<&str>) -> Result<Vec<(String, PathBuf)>> {
    if name.is_some() && sources.len() != 1 {
        return Err(Error::new(Kind::Usage, "--name goes with one source only").fix("write NAME=SOURCE for each"));
    }
    let mut found: Vec<(String, PathBuf)> = Vec::with_capacity(sources.len());
    for source in sources {
        let name = name.map_or_else(|| source.to_name(), |name| Ok(name.to_owned()))?;
        if let Some((_, other)) = found.iter().find(|(known, _)| *known == name) {
            let paths = [other, &source.path].map(|path| text::path(path));
            return Err(Error::new(Kind::Usage, format!("two sources have the name {name}"))
                .why(paths.join(" and "))
                .fix("write NAME=SOURCE for one of them"));
        }
        found.push((name, source.path.clone()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SourceArg> {
        SourceArg::parse(OsStr::new(text))
    }

    fn name(text: &str) -> Result<String> {
        parse(text)?.to_name()
    }

    #[test]
    fn a_name_may_stand_before_the_path() {
        let arg = |name: Option<&str>, path: &str| SourceArg { name: name.map(str::to_owned), path: path.into() };
        assert_eq!(parse("/srv/app").unwrap(), arg(None, "/srv/app"));
        assert_eq!(parse("docs=/srv/a=b").unwrap(), arg(Some("docs"), "/srv/a=b"));
        assert_eq!(parse("./a=b").unwrap(), arg(None, "./a=b"));
        assert_eq!(parse("my docs=x").unwrap(), arg(None, "my docs=x"));
        assert!(parse("docs=").is_err() && parse("").is_err());
    }

    #[test]
    fn the_default_name_is_the_last_part() {
        assert_eq!(name("/srv/app/").unwrap(), "app");
        assert_eq!(name("x=/srv/app").unwrap(), "x");
        let folder = tempfile::Builder::new().prefix("named-").tempdir().unwrap();
        let expected = folder.path().file_name().unwrap().to_str().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        for tail in ["/.", "/a/..", "/a/../."] {
            assert_eq!(name(&format!("{}{tail}", folder.path().display())).unwrap(), expected);
        }
    }

    #[test]
    fn what_cannot_be_a_name_asks_for_one() {
        let error = name("/srv/My Documents").unwrap_err();
        assert_eq!(error.what(), "the source /srv/My Documents needs a name");
        assert_eq!(error.advice(), "name it: My-Documents='/srv/My Documents'");
        assert_eq!(name("/").unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn sources_to_come_are_told_from_paths() {
        for text in ["-", "sqlite:a.db", "postgres:///db", "postgresql://db", "x=-", "x=sqlite:a"] {
            assert_eq!(parse(text).unwrap_err().kind(), Kind::Usage, "{text}");
        }
        for text in ["./sqlite:a.db", "./-", "x=./postgres://db", "a-"] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn one_run_has_no_name_twice() {
        let args = |texts: &[&str]| -> Vec<_> { texts.iter().map(|text| parse(text).unwrap()).collect() };
        let names = |texts: &[&str], name| Some(named(&args(texts), name).ok()?.into_iter().map(|(n, _)| n).collect());
        assert_eq!(names(&["/a/x", "y=/b/x"], None), Some(vec!["x".to_owned(), "y".to_owned()]));
        assert_eq!(names(&["/a/x"], Some("z")), Some(vec!["z".to_owned()]));
        assert_eq!(names(&["/a/x", "/b/x"], None), None);
        assert_eq!(names(&["/a/x", "/b/y"], Some("z")), None);
    }
}
