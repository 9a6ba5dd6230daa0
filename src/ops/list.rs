//! What is in a folder of a snapshot.

use std::ops::ControlFlow;

use super::restore::unreadable;
use crate::entry::{Entry, Kind as EntryKind};
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::record::{SourceBody, SourceKind};
use crate::repo::{ChunkReader, malformed};
use crate::text;
use crate::tree::{Found, ReadError, StoredEntry, TreeWalk, is_below, lookup};

/// Takes one path, below the source's root, and what is there.
pub type Each<'a> = dyn FnMut(&[u8], &Entry) -> Result<ControlFlow<()>> + 'a;

/// What a record says, without what lies in chunks of its own.
pub(super) fn light(found: &Found) -> Result<StoredEntry> {
    let place = || format!("the entry of {}", text::escape(&found.path));
    StoredEntry::parse(&found.record).map_err(|e| malformed(&place(), &e))
}

/// The record at a path that somebody named. The root of a source that is a single file is that file.
pub fn found_at(reader: &ChunkReader<'_>, source: &SourceBody, path: &[u8]) -> Result<Found> {
    find_at(reader, source, path)?.map_err(|e| unreadable(&e))
}

fn find_at(
    reader: &ChunkReader<'_>,
    source: &SourceBody,
    path: &[u8],
) -> Result<std::result::Result<Found, ReadError<Error>>> {
    let found = match source.kind {
        SourceKind::File | SourceKind::Sqlite if path.is_empty() => {
            TreeWalk::new(reader, &source.root).next().transpose()
        }
        _ => lookup(reader, &source.root, path),
    };
    match found {
        Ok(Some(found)) => Ok(Ok(found)),
        Ok(None) => Err(not_there(reader, source, path)),
        Err(e) => Ok(Err(e)),
    }
}

/// The error for a path that is not in a source. What lists several sources shows paths with the source's name in front,
/// and so are they typed.
pub(super) fn not_there(reader: &ChunkReader<'_>, source: &SourceBody, path: &[u8]) -> Error {
    let error = Error::new(Kind::Missing, format!("{} is not in the snapshot", shown(path)));
    let below = path.strip_prefix(source.name.as_slice());
    let below = below.and_then(|rest| if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") });
    let is_there = |rest: &[u8]| rest.is_empty() || matches!(lookup(reader, &source.root, rest), Ok(Some(_)));
    match below.filter(|rest| is_there(rest)) {
        Some(_) => error.fix(format!("leave out {}/: a path begins below the source's root", shown(&source.name))),
        None => error.fix("list what is there: larder ls ADDRESS"),
    }
}

/// What a record says, without extended attributes and extents.
pub fn entry_of(found: &Found) -> Result<Entry> {
    light(found).map(|stored| stored.entry)
}

fn shown(path: &[u8]) -> String {
    if path.is_empty() { "the root".into() } else { text::escape(path) }
}

/// Tells what is in a folder, or all that is below it, in the order of the tree; anything else is told itself.
///
/// What cannot be read is warned about and left out. Returns how often that was.
pub fn list(
    reader: &ChunkReader<'_>,
    source: &SourceBody,
    path: &[u8],
    recursive: bool,
    job: Job<'_>,
    each: &mut Each<'_>,
) -> Result<u64> {
    // A folder whose own entry is lost may still have readable children.
    if let Ok(found) = find_at(reader, source, path)? {
        let entry = light(&found)?.entry;
        if entry.kind != EntryKind::Directory {
            return each(&found.path, &entry).map(|_| 0);
        }
    }
    let mut gaps = 0;
    let mut gap = |error: &Error| {
        job.warn(&format!("{}: {error}", text::escape(&source.name)));
        gaps += 1;
    };
    let mut walk = TreeWalk::below(reader, &source.root, path);
    while let Some(next) = walk.next() {
        job.cancel.check()?;
        let found = match next {
            Ok(found) => found,
            Err(e) => {
                gap(&unreadable(&e));
                continue;
            }
        };
        if found.path == path {
            continue;
        }
        if !recursive {
            let child = child_of(&found.path, path);
            walk.skip_below(child);
            if child != found.path {
                continue;
            }
        }
        match light(&found) {
            Ok(stored) if each(&found.path, &stored.entry)?.is_break() => break,
            Ok(_) => {}
            Err(e) => gap(&e),
        }
    }
    Ok(gaps)
}

/// The path of the thing right in `folder` that `path` is, or is in.
fn child_of<'a>(path: &'a [u8], folder: &[u8]) -> &'a [u8] {
    debug_assert!(is_below(path, folder));
    let begin = if folder.is_empty() { 0 } else { folder.len() + 1 };
    let end = path[begin..].iter().position(|b| *b == b'/').map_or(path.len(), |at| begin + at);
    &path[..end]
}

#[cfg(test)]
mod tests {
    use super::super::testing::Store;
    use super::*;

    fn listed(store: &Store, path: &str, recursive: bool) -> Result<(Vec<String>, u64)> {
        let mut names = Vec::new();
        let gaps = store.with_reader(|reader, snapshot| {
            let source = &snapshot.body.sources[0];
            list(reader, source, path.as_bytes(), recursive, store.job(), &mut |path, entry| {
                names.push(format!("{} {}", String::from_utf8_lossy(path), entry.size));
                Ok(ControlFlow::Continue(()))
            })
        })?;
        Ok((names, gaps))
    }

    fn store() -> Store {
        let store = Store::new();
        store.file("a/one", b"1");
        store.file("a/deep/two", b"22");
        store.file("a-b", b"333");
        store.backup();
        store
    }

    #[test]
    fn a_folder_shows_its_children_and_only_those() {
        let store = store();
        assert_eq!(listed(&store, "", false).unwrap(), (vec!["a 0".into(), "a-b 3".into()], 0));
        assert_eq!(listed(&store, "a", false).unwrap(), (vec!["a/deep 0".into(), "a/one 1".into()], 0));
        let all = ["a 0", "a/deep 0", "a/deep/two 2", "a/one 1", "a-b 3"].map(String::from).to_vec();
        assert_eq!(listed(&store, "", true).unwrap(), (all, 0));
        assert_eq!(listed(&store, "a", true).unwrap().0.len(), 3);
    }

    #[test]
    fn anything_else_shows_itself() {
        assert_eq!(listed(&store(), "a/deep/two", false).unwrap(), (vec!["a/deep/two 2".into()], 0));
        assert_eq!(listed(&store(), "a/three", false).unwrap_err().kind(), Kind::Missing);
        assert_eq!(listed(&store(), "a/one/x", true).unwrap_err().kind(), Kind::Missing);
    }

    #[test]
    fn a_source_that_is_one_file_shows_it() {
        let store = Store::new();
        store.file("f", b"abc");
        store.backup_only("f");
        assert_eq!(listed(&store, "", false).unwrap(), (vec!["f 3".into()], 0));
        assert_eq!(listed(&store, "f", false).unwrap(), (vec!["f 3".into()], 0));
    }

    #[test]
    fn subtrees_that_are_not_shown_are_not_read() {
        let store = Store::new();
        store.many_files();
        store.file("z", b"1");
        store.backup();
        let before = store.calls();
        assert_eq!(listed(&store, "", false).unwrap().0, ["many 0", "z 1"]);
        let few = store.calls() - before;
        let before = store.calls();
        assert_eq!(listed(&store, "", true).unwrap().0.len(), 3002);
        assert!(few < store.calls() - before, "{few}");
    }

    #[test]
    fn what_is_lost_is_told_and_the_rest_is_listed() {
        let store = Store::new();
        store.many_files();
        store.backup();
        store.lose_leaves(&store.newest().id);
        let (names, gaps) = listed(&store, "", true).unwrap();
        assert!(gaps > 0);
        assert!(names.len() > 100 && names.len() < 3001, "{}", names.len());
        assert_eq!(store.warnings().len() as u64, gaps);
    }
}
