//! What to back up, as it stands on the command line: `[NAME=]SOURCE`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::name;
use crate::error::{Error, Kind, Result};
use crate::ops::backup::Source;
use crate::record::SourceKind;
use crate::text;

/// A source as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceArg {
    /// The name given by the user, if any.
    pub name: Option<String>,
    /// The folder, file or database.
    pub path: PathBuf,
    /// Whether it is a database, and to be taken as such.
    pub is_sqlite: bool,
}

impl SourceArg {
    /// Parses `[NAME=]PATH` or `[NAME=]sqlite:PATH`. What stands before the first `=` is a name if it can be one;
    /// `./a=b` is a path.
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
        let (source, is_sqlite) = match source.strip_prefix(b"sqlite:") {
            Some(path) => (path, true),
            None => (source, false),
        };
        if source.is_empty() {
            return Err(Error::new(Kind::Usage, "a source is empty").fix("write a path, or NAME=PATH"));
        }
        Ok(Self { name, path: PathBuf::from(OsStr::from_bytes(source)), is_sqlite })
    }

    /// Its name: as given, or else the last part of its path.
    pub fn to_name(&self) -> Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        if let Some(error) = self.misnamed() {
            return Err(error);
        }
        let last = last_part(&self.path)?;
        let found = name::check(last.as_bytes()).map(str::to_owned);
        found.map_err(|error| {
            // Only the root of all has no last part.
            let name = if last.is_empty() { "root".to_owned() } else { name::suggest(last.as_bytes()) };
            Error::new(Kind::Usage, format!("the source {} needs a name", text::path(&self.path)))
                .why(error.reason())
                .fix(format!("name it: {}", named_word(&name, &self.path)))
        })
    }

    /// For a path that does not exist: whether what stands before its `=` was meant as a name, but can be none.
    fn misnamed(&self) -> Option<Error> {
        let bytes = self.path.as_os_str().as_bytes();
        let (before, after) = bytes.split_at(bytes.iter().position(|b| *b == b'=')?);
        if self.name.is_some() || before.contains(&b'/') || self.path.symlink_metadata().is_ok() {
            return None;
        }
        let error = name::check(before).err()?;
        let path = Path::new(OsStr::from_bytes(&after[1..]));
        let (name, reason) = (name::suggest(before), error.reason().to_owned());
        let fix = format!("name it: {}; a path with = in it is written ./PATH", named_word(&name, path));
        Some(
            Error::new(Kind::Usage, format!("'{}' cannot be the name of a source", text::escape(before)))
                .why(reason)
                .fix(fix),
        )
    }
}

/// What to type instead.
fn named_word(name: &str, path: &Path) -> String {
    match text::shell_word(path) {
        Some(word) => format!("larder backup {name}={word}"),
        None => format!("write {name}= before the path"),
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
pub fn named(sources: &[SourceArg], name: Option<&str>) -> Result<Vec<Source>> {
    if name.is_some() && sources.len() != 1 {
        return Err(Error::new(Kind::Usage, "--name goes with one source only").fix("write NAME=SOURCE for each"));
    }
    if let (Some(name), [SourceArg { name: Some(other), .. }]) = (name, sources) {
        return Err(Error::new(Kind::Usage, format!("the source has two names: {name} and {other}"))
            .fix("leave one of them out; a path with = in it is written ./PATH"));
    }
    let mut found: Vec<Source> = Vec::with_capacity(sources.len());
    for source in sources {
        let name = name.map_or_else(|| source.to_name(), |name| Ok(name.to_owned()))?;
        if let Some(other) = found.iter().find(|known| known.name == name) {
            let paths = [&other.path, &source.path].map(|path| text::path(path));
            return Err(Error::new(Kind::Usage, format!("two sources have the name {name}"))
                .why(paths.join(" and "))
                .fix("write NAME=SOURCE for one of them"));
        }
        let kind = if source.is_sqlite { SourceKind::Sqlite } else { SourceKind::Folder };
        found.push(Source { name, path: source.path.clone(), kind });
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
        let arg = |name: Option<&str>, path: &str| SourceArg {
            name: name.map(str::to_owned),
            path: path.into(),
            is_sqlite: false,
        };
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
        assert_eq!(error.advice(), "name it: larder backup My-Documents='/srv/My Documents'");
        let advice = |text| name(text).unwrap_err().advice().to_owned();
        assert_eq!(advice("/"), "name it: larder backup root=/");
        assert_eq!(advice("ünï"), "name it: larder backup n=ünï");
        assert_eq!(advice("中文"), "name it: larder backup files=中文");
        assert_eq!(advice("a\nb"), "name it: write a-b= before the path");
        assert_eq!(name("./=a").unwrap_err().what(), "the source ./=a needs a name");
    }

    #[test]
    fn what_was_meant_as_a_name_is_told_from_a_path() {
        for (text, fixed) in [("x y=/tmp/sp ace", "x-y='/tmp/sp ace'"), ("ä=/srv", "files=/srv"), ("=a", "files=a")] {
            let error = name(text).unwrap_err();
            assert!(error.what().ends_with("cannot be the name of a source"), "{error}");
            assert!(error.advice().starts_with(&format!("name it: larder backup {fixed};")), "{}", error.advice());
        }
        assert_eq!(name("./x y=/tmp").unwrap(), "tmp");
    }

    #[test]
    fn sources_to_come_are_told_from_paths() {
        for text in ["-", "postgres:///db", "postgresql://db", "x=-"] {
            assert_eq!(parse(text).unwrap_err().kind(), Kind::Usage, "{text}");
        }
        for text in ["./sqlite:a.db", "./-", "x=./postgres://db", "a-"] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn one_run_has_no_name_twice() {
        let args = |texts: &[&str]| -> Vec<_> { texts.iter().map(|text| parse(text).unwrap()).collect() };
        let names = |texts: &[&str], name| {
            Some(named(&args(texts), name).ok()?.into_iter().map(|source| source.name).collect())
        };
        assert_eq!(names(&["/a/x", "y=/b/x"], None), Some(vec!["x".to_owned(), "y".to_owned()]));
        assert_eq!(names(&["/a/x"], Some("z")), Some(vec!["z".to_owned()]));
        assert_eq!(names(&["/a/x", "/b/x"], None), None);
        assert_eq!(names(&["/a/x", "/b/y"], Some("z")), None);
        let error = named(&args(&["x=/a"]), Some("z")).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::Usage, "the source has two names: z and x"));
    }
}
