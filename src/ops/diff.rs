//! What differs between two trees.

use std::ops::ControlFlow;

use super::list::light;
use super::restore::unreadable;
use crate::entry::Kind;
use crate::error::{Error, Result};
use crate::event::Job;
use crate::repo::ChunkReader;
use crate::tree::{Found, ReadError, Root, StoredEntry, TreeDiff, Visit, compare_paths, is_below};

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// Its content differs.
    Content,
    /// Only its owner, mode, times or attributes differ.
    Metadata,
    /// It is something else now.
    Kind,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Path below the source's root.
    pub path: Vec<u8>,
    /// What happened.
    pub what: What,
    /// What it is now, or was if it is gone.
    pub kind: Kind,
    /// Length before, bytes.
    pub bytes_from: Option<u64>,
    /// Length after, bytes.
    pub bytes_to: Option<u64>,
    /// As it is stored, before.
    pub record_from: Option<Vec<u8>>,
    /// As it is stored, after.
    pub record_to: Option<Vec<u8>>,
}

/// Tells every difference between two trees at and below a path, in the order of the tree; an absent tree is empty.
///
/// A range that cannot be read on one side cannot be compared: it is warned about, and nothing in it is told. Returns
/// how often that was. The name is that of the source, for warnings.
pub fn diff(
    reader: &ChunkReader<'_>,
    from: Option<&Root>,
    to: Option<&Root>,
    path: &[u8],
    job: Job<'_>,
    name: &str,
    each: &mut dyn FnMut(&Change) -> Result<ControlFlow<()>>,
) -> Result<u64> {
    let mut lost = Lost { name, job, ranges: Vec::new(), count: 0 };
    for visit in TreeDiff::new(reader, from, to) {
        job.cancel.check()?;
        let visit = match visit {
            Ok(visit) => visit,
            Err(e) => {
                lost.add(e);
                continue;
            }
        };
        let at = match &visit {
            Visit::Removed(found) | Visit::Added(found) | Visit::Changed(_, found) => &found.path,
        };
        if !is_below(at, path) || lost.holds(at) {
            continue;
        }
        match change(visit) {
            Ok(change) if each(&change)?.is_break() => break,
            Ok(_) => {}
            Err(error) => lost.tell(&error),
        }
    }
    Ok(lost.count)
}

/// Ranges that cannot be compared.
struct Lost<'a> {
    name: &'a str,
    job: Job<'a>,
    ranges: Vec<Range>,
    count: u64,
}

/// From one path up to, but not with, another; `None`: to the end.
struct Range {
    first: Vec<u8>,
    end: Option<Box<[u8]>>,
}

impl Lost<'_> {
    fn add(&mut self, error: ReadError<Error>) {
        self.tell(&unreadable(&error));
        self.ranges.push(Range { first: error.first, end: error.end });
    }

    fn tell(&mut self, error: &Error) {
        self.job.warn(&format!("{}: {error}", self.name));
        self.count += 1;
    }

    /// Paths must ascend.
    fn holds(&mut self, path: &[u8]) -> bool {
        self.ranges.retain(|range| range.end.as_deref().is_none_or(|end| compare_paths(path, end).is_lt()));
        self.ranges.iter().any(|range| compare_paths(&range.first, path).is_le())
    }
}

fn change(visit: Visit) -> Result<Change> {
    let one_sided = |found: Found, what| -> Result<Change> {
        let entry = light(&found)?.entry;
        let size = Some(entry.size);
        let (path, record) = (found.path, Some(found.record));
        let ((bytes_from, record_from), (bytes_to, record_to)) =
            if what == What::Added { ((None, None), (size, record)) } else { ((size, record), (None, None)) };
        Ok(Change { path, what, kind: entry.kind, bytes_from, bytes_to, record_from, record_to })
    };
    match visit {
        Visit::Added(found) => one_sided(found, What::Added),
        Visit::Removed(found) => one_sided(found, What::Removed),
        Visit::Changed(from, to) => {
            let (old, new) = (light(&from)?, light(&to)?);
            let what = kind_of_change(&old, &new);
            let (bytes_from, bytes_to) = (Some(old.entry.size), Some(new.entry.size));
            let (record_from, record_to) = (Some(from.record), Some(to.record));
            Ok(Change { path: to.path, what, kind: new.entry.kind, bytes_from, bytes_to, record_from, record_to })
        }
    }
}

fn kind_of_change(old: &StoredEntry, new: &StoredEntry) -> What {
    let (a, b) = (&old.entry, &new.entry);
    if a.kind != b.kind {
        return What::Kind;
    }
    let content = |stored: &StoredEntry| {
        let e = &stored.entry;
        (e.size, e.content.clone(), e.target.clone(), e.device, stored.extents.clone())
    };
    if content(old) == content(new) { What::Metadata } else { What::Content }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Store;
    use super::*;
    use crate::id::ObjectId;

    fn told(store: &Store, from: Option<ObjectId>, to: ObjectId, path: &str) -> (Vec<String>, u64) {
        let root = |id: ObjectId| store.repository.snapshot(&id).unwrap().body.sources[0].root;
        let (from, to) = (from.map(root), root(to));
        let mut lines = Vec::new();
        let gaps = store.with_reader(|reader, _| {
            diff(reader, from.as_ref(), Some(&to), path.as_bytes(), store.job(), "home", &mut |change| {
                let Change { path, what, bytes_from, bytes_to, .. } = change;
                let path = String::from_utf8_lossy(path);
                lines.push(format!("{what:?} {path} {bytes_from:?} {bytes_to:?}"));
                Ok(ControlFlow::Continue(()))
            })
        });
        (lines, gaps.unwrap())
    }

    /// Folders change with what is in them.
    fn without_folders(lines: Vec<String>) -> Vec<String> {
        lines.into_iter().filter(|line| !line.starts_with("Metadata d ") && !line.starts_with("Metadata  ")).collect()
    }

    #[test]
    fn every_change_has_its_name() {
        use std::os::unix::fs::PermissionsExt;
        let store = Store::new();
        for name in ["d/content", "d/gone", "d/kind", "d/mode", "d/same", "e/x"] {
            store.file(name, b"before");
        }
        let from = store.backup();
        store.file("d/content", b"after it");
        store.remove("d/gone");
        store.remove("d/kind");
        std::os::unix::fs::symlink("same", store.path("d/kind")).unwrap();
        std::fs::set_permissions(store.path("d/mode"), std::fs::Permissions::from_mode(0o600)).unwrap();
        store.file("d/new", b"1");
        store.file("e/y", b"22");
        let to = store.backup();
        let expected = [
            "Content d/content Some(6) Some(8)",
            "Removed d/gone Some(6) None",
            "Kind d/kind Some(6) Some(0)",
            "Metadata d/mode Some(6) Some(6)",
            "Added d/new None Some(1)",
        ];
        let (lines, gaps) = told(&store, Some(from), to, "d");
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.starts_with("Metadata d ")).collect();
        assert_eq!((lines, gaps), (expected.map(String::from).to_vec(), 0));
        assert_eq!(told(&store, Some(from), to, "e/y").0, ["Added e/y None Some(2)"]);
        assert_eq!(told(&store, Some(to), to, ""), (vec![], 0));
        assert_eq!(told(&store, None, to, "").0.len(), 10);
    }

    #[test]
    fn a_gap_is_not_taken_for_a_removal() {
        let store = Store::new();
        store.many_files();
        let from = store.backup();
        for n in 0..3000 {
            store.touch_nth(n);
        }
        let to = store.backup();
        store.file("z", b"new");
        let last = store.backup();
        // What is damaged belongs to the first tree alone.
        store.lose_leaves(&from);
        let (lines, gaps) = told(&store, Some(from), to, "");
        let words: std::collections::BTreeSet<_> = lines.iter().map(|l| l.split(' ').next().unwrap()).collect();
        assert!(gaps > 0 && words.iter().all(|word| *word == "Metadata"), "{gaps} {words:?}");
        assert!(lines.len() > 100 && lines.len() < 3000, "{}", lines.len());
        assert_eq!(without_folders(told(&store, Some(to), last, "").0), ["Added z None Some(3)"]);
    }
}
