//! What is left out: patterns in gitignore syntax.
//!
//! As in git the last pattern that matches decides; those of the command line win over those of files named there,
//! these over a `.larderignore`, and a deeper `.larderignore` over one above it. What lies below an excluded directory
//! cannot be brought back.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::Options;
use crate::error::{Error, Kind, Result};
use crate::text;

/// The name of the file that excludes from its directory down.
pub(super) const IGNORE_FILE: &CStr = c".larderignore";
/// The longest one that is read. Bytes.
pub(super) const IGNORE_FILE_BYTES_MAX: usize = 1 << 20;

/// All patterns that hold at one place of a walk.
#[derive(Debug)]
pub(super) struct Rules {
    given: Gitignore,
    /// With the length of the path of the directory in which they stand; each lies below the one before it.
    folders: Vec<(usize, Gitignore)>,
}

/// A line that is no pattern.
#[derive(Debug)]
pub(super) struct BadLine {
    pub line: usize,
    pub why: String,
}

impl Options {
    /// Refuses a pattern that begins with the place of a root, as a shell or a habit may write it: patterns are relative
    /// to the root, so it would match nothing, and what it names would be saved.
    pub fn refuse_absolute(&self, roots: &[PathBuf]) -> Result<()> {
        let real = roots.iter().filter_map(|root| root.canonicalize().ok());
        let absolute = roots.iter().filter_map(|root| std::path::absolute(root).ok());
        let roots: Vec<PathBuf> = absolute.chain(real).filter(|root| root.parent().is_some()).collect();
        let refuse = |pattern: &str| {
            let path = Path::new(pattern.trim_start_matches('!'));
            match roots.iter().find_map(|root| Some((root, path.strip_prefix(root).ok()?))) {
                Some((root, below)) => Err(is_absolute(pattern, root, below)),
                None => Ok(()),
            }
        };
        self.excludes.iter().try_for_each(|pattern| refuse(pattern))?;
        for file in &self.exclude_from {
            let content = read_patterns(file)?;
            String::from_utf8_lossy(&content).lines().try_for_each(refuse)?;
        }
        Ok(())
    }
}

fn is_absolute(pattern: &str, root: &Path, below: &Path) -> Error {
    let sign = if pattern.starts_with('!') { "!" } else { "" };
    let fix = match below.as_os_str().is_empty() {
        true => "leave the source out, or write what to leave out of it".to_owned(),
        false => format!("write '{sign}/{}'", text::path(below)),
    };
    Error::new(Kind::Usage, format!("the pattern {} matches nothing", text::escape(pattern.as_bytes())))
        .why(format!("patterns are relative to the source, which is {}", text::path(root)))
        .fix(fix)
}

fn read_patterns(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file)
        .map_err(|e| Error::io(format!("cannot read patterns from {}", text::path(file)), &e).with_kind(Kind::Usage))
}

impl Rules {
    /// The rules that hold everywhere.
    pub fn new(options: &Options) -> Result<Self> {
        let mut builder = builder();
        for file in &options.exclude_from {
            let shown = text::path(file);
            let content = read_patterns(file)?;
            if let Some(bad) = add_lines(&mut builder, &content).into_iter().next() {
                return Err(Error::new(Kind::Usage, format!("bad pattern in {shown}, line {}", bad.line)).why(bad.why));
            }
        }
        for pattern in &options.excludes {
            builder.add_line(None, pattern).map_err(|e| {
                let shown = text::escape(pattern.as_bytes());
                Error::new(Kind::Usage, format!("bad pattern {shown}")).why(text::escape(e.to_string().as_bytes()))
            })?;
        }
        let given = builder.build().map_err(|e| Error::new(Kind::Usage, "too many patterns").why(e))?;
        Ok(Self { given, folders: Vec::new() })
    }

    /// Adds what a `.larderignore` says, for the directory whose path is so long. Returns the lines that are no
    /// patterns.
    pub fn enter(&mut self, path_len: usize, content: &[u8]) -> Vec<BadLine> {
        let mut builder = builder();
        let mut bad = add_lines(&mut builder, content);
        match builder.build() {
            Ok(rules) => self.folders.push((path_len, rules)),
            Err(e) => bad.push(BadLine { line: 0, why: text::escape(e.to_string().as_bytes()) }),
        }
        bad
    }

    /// Forgets what held only below the directory whose path is so long.
    pub fn leave_to(&mut self, path_len: usize) {
        while self.folders.last().is_some_and(|(len, _)| *len > path_len) {
            self.folders.pop();
        }
    }

    /// Whether this entry is left out; its path is relative to the root.
    pub fn exclude(&self, path: &[u8], is_directory: bool) -> bool {
        decide(&self.given, path, is_directory)
            .or_else(|| {
                self.folders.iter().rev().find_map(|(len, rules)| decide(rules, below(path, *len), is_directory))
            })
            .unwrap_or(false)
    }
}

fn builder() -> GitignoreBuilder {
    let mut builder = GitignoreBuilder::new(".");
    builder.allow_unclosed_class(false);
    builder
}

fn add_lines(builder: &mut GitignoreBuilder, content: &[u8]) -> Vec<BadLine> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut bad = Vec::new();
    for (index, line) in content.split(|b| *b == b'\n').enumerate() {
        let added = match std::str::from_utf8(line) {
            Ok(line) => builder.add_line(None, line).map(|_| ()).map_err(|e| e.to_string()),
            Err(_) => Err("not UTF-8; write ? for each byte that is not".to_owned()),
        };
        if let Err(why) = added {
            bad.push(BadLine { line: index + 1, why: text::escape(why.as_bytes()) });
        }
    }
    bad
}

fn decide(rules: &Gitignore, path: &[u8], is_directory: bool) -> Option<bool> {
    match rules.matched(Path::new(OsStr::from_bytes(path)), is_directory) {
        ignore::Match::None => None,
        ignore::Match::Ignore(_) => Some(true),
        ignore::Match::Whitelist(_) => Some(false),
    }
}

fn below(path: &[u8], directory_len: usize) -> &[u8] {
    if directory_len == 0 { path } else { &path[directory_len + 1..] }
}
