//! Finds entries by name in all snapshots of all series.
//!
//! A series is read as one whole tree and then differences, so that what snapshots share is read once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use super::list::light;
use super::restore::unreadable;
use crate::crypto::ObjectHasher;
use crate::entry::{Kind, Time};
use crate::error::{self, Error, Result};
use crate::event::Job;
use crate::id::ChunkId;
use crate::repo::{ChunkReader, SnapshotInfo};
use crate::text;
use crate::tree::{Root, StoredEntry, TreeDiff, Visit};

/// What names look like.
#[derive(Debug)]
pub struct Pattern {
    glob: GlobMatcher,
    whole_path: bool,
}

impl Pattern {
    /// A glob on the name, or on the whole path if it holds a slash.
    pub fn new(text: &str) -> Result<Self> {
        let glob = GlobBuilder::new(text.strip_prefix('/').unwrap_or(text)).literal_separator(true).build();
        let glob = glob.map_err(|e| {
            Error::new(error::Kind::Usage, format!("'{}' is no pattern", text::escape(text.as_bytes())))
                .why(e.kind())
                .fix("a pattern has *, **, ?, [a-z] and {a,b}; a backslash before one of these takes it as it is")
        })?;
        Ok(Self { glob: glob.compile_matcher(), whole_path: text.contains('/') })
    }

    fn fits(&self, path: &[u8]) -> bool {
        let name = if self.whole_path { path } else { path.rsplit(|b| *b == b'/').next().unwrap_or_default() };
        !path.is_empty() && self.glob.is_match(Path::new(OsStr::from_bytes(name)))
    }
}

/// One version of something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The series.
    pub source: Vec<u8>,
    /// Path below the source's root.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Its length, bytes.
    pub size: u64,
    /// Its last change.
    pub mtime: Time,
    /// The first snapshot that has it, by its number.
    pub first: usize,
    /// The last one.
    pub last: usize,
    /// How many have it.
    pub snapshots: u64,
}

/// Finds all versions, newest first; only in one series if one is named. Numbers of snapshots count `snapshots`, which
/// are in the order of their times.
///
/// What cannot be read is warned about and left out; how often that was is returned, too.
pub fn find(
    reader: &ChunkReader<'_>,
    snapshots: &[&SnapshotInfo],
    series: Option<&str>,
    pattern: &Pattern,
    job: Job<'_>,
) -> Result<(Vec<Match>, u64)> {
    let mut finding = Finding { reader, pattern, job, gaps: 0, told: HashSet::new() };
    let mut found = Vec::new();
    for (name, roots) in finding.roots(snapshots, series)? {
        found.extend(finding.series(&name, &roots)?);
    }
    let newest_first = |m: &Match| (Reverse((m.last, m.first)), m.source.clone(), m.path.clone());
    found.sort_by_cached_key(newest_first);
    Ok((found, finding.gaps))
}

/// Each series by its name: its trees, in order, with the numbers of their snapshots.
type AllSeries = BTreeMap<Vec<u8>, Vec<(usize, Root)>>;

struct Finding<'a> {
    reader: &'a ChunkReader<'a>,
    pattern: &'a Pattern,
    job: Job<'a>,
    gaps: u64,
    /// Nodes that were warned about.
    told: HashSet<ChunkId>,
}

/// The versions that a series has, while it is read.
struct Versions<'a> {
    source: &'a [u8],
    roots: &'a [(usize, Root)],
    all: Vec<Match>,
    known: HashMap<(Vec<u8>, [u8; 32]), usize>,
    /// Which version of a path the present snapshot has, and since which place in the series.
    present: HashMap<Vec<u8>, (usize, usize)>,
}

impl Finding<'_> {
    fn gap(&mut self, error: &Error) {
        self.job.warn(&error.to_string());
        self.gaps += 1;
    }

    fn roots(&mut self, snapshots: &[&SnapshotInfo], series: Option<&str>) -> Result<AllSeries> {
        let is_wanted = |name: &[u8]| series.is_none_or(|wanted| wanted.as_bytes() == name);
        let mut out = AllSeries::new();
        for (number, info) in snapshots.iter().enumerate() {
            self.job.cancel.check()?;
            if !info.summary.sources.iter().any(|source| is_wanted(&source.name)) {
                continue;
            }
            match self.reader.repository().snapshot_of(info) {
                Ok(snapshot) => {
                    for source in snapshot.body.sources.into_iter().filter(|source| is_wanted(&source.name)) {
                        out.entry(source.name).or_default().push((number, source.root));
                    }
                }
                Err(e) => self.gap(&e),
            }
        }
        Ok(out)
    }

    fn series(&mut self, name: &[u8], roots: &[(usize, Root)]) -> Result<Vec<Match>> {
        let mut versions = Versions::new(name, roots);
        let mut before: Option<&Root> = None;
        for (place, (_, root)) in roots.iter().enumerate() {
            for visit in TreeDiff::new(self.reader, before, Some(root)) {
                self.job.cancel.check()?;
                match visit {
                    Ok(visit) => self.visit(&mut versions, visit, place),
                    // A damaged node is met again in every difference that touches it.
                    Err(e) if self.told.insert(e.node) => {
                        let error = unreadable(&e);
                        self.gap(&Error::new(error.kind(), format!("{}: {error}", text::escape(name))));
                    }
                    Err(_) => {}
                }
            }
            before = Some(root);
            self.job.advance(1, 0);
        }
        Ok(versions.finish())
    }

    fn visit(&mut self, versions: &mut Versions<'_>, visit: Visit, place: usize) {
        let found = match visit {
            Visit::Removed(found) => return versions.ends(&found.path, place),
            Visit::Added(found) | Visit::Changed(_, found) => found,
        };
        if !self.pattern.fits(&found.path) {
            return;
        }
        match light(&found) {
            Ok(stored) => versions.begins(found.path, stored, place),
            Err(e) => {
                versions.ends(&found.path, place);
                self.gap(&e);
            }
        }
    }
}

impl<'a> Versions<'a> {
    fn new(source: &'a [u8], roots: &'a [(usize, Root)]) -> Self {
        Self { source, roots, all: Vec::new(), known: HashMap::new(), present: HashMap::new() }
    }

    /// From this place in the series on, this is at the path.
    fn begins(&mut self, path: Vec<u8>, stored: StoredEntry, place: usize) {
        let (kind, size, mtime) = (stored.entry.kind, stored.entry.size, stored.entry.mtime);
        let key = (path, fingerprint(stored));
        let (source, number) = (self.source.to_vec(), self.roots[place].0);
        let version = *self.known.entry(key.clone()).or_insert_with(|| {
            let path = key.0.clone();
            self.all.push(Match { source, path, kind, size, mtime, first: number, last: number, snapshots: 0 });
            self.all.len() - 1
        });
        if self.present.get(&key.0).is_none_or(|(present, _)| *present != version) {
            self.ends(&key.0, place);
            self.present.insert(key.0, (version, place));
        }
    }

    /// What was at the path is there no more.
    fn ends(&mut self, path: &[u8], place: usize) {
        if let Some((version, since)) = self.present.remove(path) {
            let version = &mut self.all[version];
            version.snapshots += (place - since) as u64;
            version.last = self.roots[place - 1].0;
        }
    }

    fn finish(mut self) -> Vec<Match> {
        let paths: Vec<_> = self.present.keys().cloned().collect();
        for path in paths {
            self.ends(&path, self.roots.len());
        }
        self.all
    }
}

/// The same for two entries that differ in nothing but owner, mode and attributes.
fn fingerprint(mut stored: StoredEntry) -> [u8; 32] {
    let entry = &mut stored.entry;
    (entry.mode, entry.uid, entry.gid, entry.hard_link) = (0, 0, 0, None);
    entry.user.clear();
    entry.group.clear();
    (stored.xattrs, stored.facts) = (None, None);
    stored.unknown.clear();
    let mut hasher = ObjectHasher::default();
    hasher.update(&stored.encode());
    *hasher.finish().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Store;
    use super::*;

    fn found(store: &Store, pattern: &str) -> Vec<String> {
        let listing = store.repository.snapshots().unwrap();
        let snapshots: Vec<_> = listing.snapshots.iter().collect();
        let pattern = Pattern::new(pattern).unwrap();
        let (matches, gaps) =
            store.with_reader(|reader, _| find(reader, &snapshots, None, &pattern, store.job())).unwrap();
        assert_eq!(gaps, 0);
        let one = |m: &Match| {
            let [source, path] = [&m.source, &m.path].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            format!("{source}:{path} {} {}..{} {}", m.size, m.first, m.last, m.snapshots)
        };
        matches.iter().map(one).collect()
    }

    #[test]
    fn each_version_is_one_match() {
        let store = Store::new();
        store.file("a/x.txt", b"1");
        store.file("a/deep/y.txt", b"1");
        store.backup();
        store.file("a/x.txt", b"22");
        store.backup();
        store.remove("a/x.txt");
        store.backup();
        store.file("a/x.txt", b"333");
        store.backup();
        store.save(&[("other", "a/deep"), ("home", "")]);
        let x = ["home:a/x.txt 3 3..4 2", "home:a/x.txt 2 1..1 1", "home:a/x.txt 1 0..0 1"];
        assert_eq!(found(&store, "x.*"), x);
        assert_eq!(found(&store, "*/x.txt"), x);
        assert_eq!(found(&store, "/a/x.txt"), x);
        assert_eq!(found(&store, "y.txt"), ["other:y.txt 1 4..4 1", "home:a/deep/y.txt 1 0..4 5"]);
        assert_eq!(found(&store, "*/y.txt").len(), 0);
        assert_eq!(found(&store, "**/y.txt").len(), 2);
        assert_eq!(found(&store, "nothing").len(), 0);
        assert_eq!(Pattern::new("[").unwrap_err().kind(), crate::error::Kind::Usage);
    }

    #[test]
    fn what_comes_back_is_the_same_version() {
        let store = Store::new();
        store.file("x", b"1");
        store.file("y", b"1");
        store.backup();
        std::fs::rename(store.path("x"), store.path("z")).unwrap();
        store.backup();
        std::fs::rename(store.path("z"), store.path("x")).unwrap();
        store.backup();
        assert_eq!(found(&store, "x"), ["home:x 1 0..2 2"]);
    }

    #[test]
    fn what_snapshots_share_is_read_once() {
        let store = Store::new();
        store.many_files();
        store.backup();
        let before = store.calls();
        assert_eq!(found(&store, "0000-*").len(), 1);
        let one = store.calls() - before;
        for _ in 0..5 {
            store.backup();
        }
        let before = store.calls();
        assert!(found(&store, "0000-*")[0].ends_with("0..5 6"));
        // Each snapshot costs its own object and its session's end, and no tree.
        assert!(store.calls() - before < one + 40, "{} {one}", store.calls() - before);
    }

    #[test]
    fn gaps_are_told_once() {
        let store = Store::new();
        store.many_files();
        store.backup();
        store.file("z", b"1");
        store.backup();
        store.lose_leaves(&store.newest().id);
        let listing = store.repository.snapshots().unwrap();
        let snapshots: Vec<_> = listing.snapshots.iter().collect();
        let pattern = Pattern::new("*").unwrap();
        let (matches, gaps) =
            store.with_reader(|reader, _| find(reader, &snapshots, None, &pattern, store.job())).unwrap();
        assert_eq!(gaps, store.warnings().len() as u64);
        assert!(gaps > 0 && matches.len() > 100 && matches.len() < 3002, "{gaps} {}", matches.len());
    }
}
