//! Restore: a snapshot, or parts of it, back into a folder.
//!
//! The tree is walked in order, in windows. In a window every frame that is needed is read and decoded once, and its
//! chunks go to all the places where they belong. A file whose bytes cannot be had is named and left out, whole; the
//! others are restored around it.

mod replace;
mod window;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::damage;
use super::database::{is_image, stamp};
use crate::entry::{Entry, Kind as EntryKind};
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::record::{Snapshot, SourceBody, SourceKind};
use crate::repo::{Catalogue, ChunkReader, EntryReader, Repository};
use crate::target::files::{Existing, Folder, Report as Written};
use crate::text;
use crate::tree::{ReadError, TreeWalk, lookup};

use window::Window;

pub use replace::replaced;

/// What of one source to restore, and where it goes.
#[derive(Clone, Debug)]
pub struct Part {
    /// Number of the source in the snapshot.
    pub source: usize,
    /// The folder below the target that it goes into; empty for the target itself.
    pub into: Vec<u8>,
    /// What is restored.
    pub pick: Pick,
}

/// What of a tree to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The tree at this path (empty: the whole source) becomes the target; a file is put into it under its name.
    At(Vec<u8>),
    /// These paths, which keep their place below the root.
    Paths(Vec<Vec<u8>>),
}

/// What could not be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// In which source.
    pub source: String,
    /// Which path, raw bytes.
    pub path: Vec<u8>,
    /// Why, safe to print.
    pub why: String,
    /// Stored bytes are to blame; else the target is.
    pub damaged: bool,
    /// How many entries: that one, or all those from it on that lay in the same lost part of the tree.
    pub entries: u64,
}

/// Where a restore writes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The folder that the tree stands at.
    pub path: &'a Path,
    /// What to do with what is there.
    pub existing: Existing,
    /// The repository's own folder, if it is one: nothing is written into it.
    pub repository: Option<&'a Path>,
}

/// What was restored.
#[derive(Debug)]
pub struct Report {
    /// What the target says.
    pub written: Written,
    /// Sum of the restored files' sizes, bytes.
    pub bytes: u64,
    /// What is missing.
    pub lost: Vec<Lost>,
}

/// What a restore would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Number of entries.
    pub entries: u64,
    /// Sum of their sizes, bytes.
    pub bytes: u64,
}

/// Plans the restore of one part: what there is, without reading any content. A path that is not there is an error.
pub fn plan(repository: &Repository, catalogue: &Catalogue, source: &SourceBody, pick: &Pick) -> Result<Plan> {
    let reader = ChunkReader::new(repository, catalogue);
    let mut plan = Plan::default();
    if *pick == Pick::At(Vec::new()) {
        return Ok(Plan { entries: source.root.entries, bytes: source.root.bytes });
    }
    for path in picked(pick) {
        require(&reader, source, path)?;
        for found in TreeWalk::below(&reader, &source.root, path) {
            let found = found.map_err(|e| unreadable(&e))?;
            plan.entries += 1;
            plan.bytes += reader.entry(&found.record)?.size;
        }
    }
    for path in folders_above(pick) {
        plan.entries += u64::from(lookup(&reader, &source.root, path).map_err(|e| unreadable(&e))?.is_some());
    }
    Ok(plan)
}

/// The folders that paths which keep their place bring with them, each once.
fn folders_above(pick: &Pick) -> BTreeSet<&[u8]> {
    let Pick::Paths(paths) = pick else { return BTreeSet::new() };
    paths.iter().filter(|path| !path.is_empty()).flat_map(|path| above(path)).collect()
}

/// The folders above a path, from the source's root down.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
    std::iter::once(0).chain(ends).map(|end| &path[..end])
}

fn picked(pick: &Pick) -> &[Vec<u8>] {
    match pick {
        Pick::At(path) => std::slice::from_ref(path),
        Pick::Paths(paths) => paths,
    }
}

/// The entry at a path that the user named.
fn require(reader: &ChunkReader<'_>, source: &SourceBody, path: &[u8]) -> Result<Option<Entry>> {
    if path.is_empty() {
        return Ok(None);
    }
    match lookup(reader, &source.root, path).map_err(|e| unreadable(&e))? {
        Some(found) => reader.entry(&found.record).map(Some),
        None => Err(super::list::not_there(reader, source, path)),
    }
}

/// Whether stored bytes are to blame. A pack that is newer, or sealed for another key, counts: it costs what lies in it.
fn is_about_stored_bytes(e: &Error) -> bool {
    matches!(e.kind(), Kind::Damage | Kind::Missing | Kind::Newer | Kind::WrongKey)
}

/// Whether it costs one entry: stored bytes that are not good, or something that cannot be made in this place, such as a
/// device without the right to. A full disk, a want of handles or an interruption concerns all that follows.
pub(super) fn costs_one_entry(e: &Error) -> bool {
    is_about_stored_bytes(e) || e.kind() == Kind::Failed
}

/// The error for a part of a tree that cannot be read.
pub(super) fn unreadable(e: &ReadError<Error>) -> Error {
    if let Err(error) = &e.cause
        && error.kind() == Kind::Exhausted
    {
        return error.clone();
    }
    let why = match &e.cause {
        Ok(malformed) => malformed.to_string(),
        Err(error) => error.to_string(),
    };
    let entries = if e.entries == 1 { "entry" } else { "entries" };
    let what = format!("{} {entries} from {} on cannot be read", e.entries, shown(&e.first));
    Error::new(Kind::Damage, what).why(why).fix("run `larder check` to see what is affected")
}

fn shown(path: &[u8]) -> String {
    if path.is_empty() { "the root".into() } else { text::escape(path) }
}

/// Restores parts of a snapshot to a folder. An error means that the target was left as it was, or, when replacing
/// file by file, that some are replaced and none is half written. Where all is lost, nothing is made.
///
/// Damage that it meets is recorded in the repository.
pub fn restore(
    repository: &Repository,
    catalogue: &Catalogue,
    snapshot: &Snapshot,
    parts: &[Part],
    target: Target<'_>,
    job: Job<'_>,
) -> Result<Report> {
    let done = restore_parts(repository, catalogue, snapshot, parts, target, job);
    damage::record_met(repository, job);
    let has_lost = done.as_ref().map_or(true, |report| !report.lost.is_empty());
    if has_lost && repository.was_forgotten(&snapshot.id) {
        let id = snapshot.id.short();
        job.warn(&format!("snapshot {id} was forgotten while it was restored: a prune may have removed what is lost"));
    }
    done
}

fn restore_parts(
    repository: &Repository,
    catalogue: &Catalogue,
    snapshot: &Snapshot,
    parts: &[Part],
    target: Target<'_>,
    job: Job<'_>,
) -> Result<Report> {
    let reader = ChunkReader::new(repository, catalogue);
    for part in parts {
        for path in picked(&part.pick) {
            require(&reader, &snapshot.body.sources[part.source], path)?;
        }
    }
    let mut folder = Folder::create_outside(target.path, target.existing, target.repository)?
        .at_time(stamp(repository.world().now()));
    if parts.iter().all(|part| matches!(part.pick, Pick::Paths(_))) {
        // Who wants a few files put into a folder does not want it to become the source's root.
        folder = folder.keeping_root();
    }
    let mut restoring = Restoring {
        reader: &reader,
        folder: &folder,
        window: Window::new(&reader, &folder),
        job,
        source: String::new(),
        made: Vec::new(),
        links: HashMap::new(),
        waiting: Vec::new(),
        lost: Vec::new(),
    };
    for part in parts {
        restoring.part(&snapshot.body.sources[part.source], part)?;
    }
    let (bytes, lost) = (restoring.window.bytes_restored(), std::mem::take(&mut restoring.lost));
    drop(restoring);
    if !lost.is_empty() && folder.is_empty() {
        // An empty folder would look like a restore of nothing.
        return Ok(Report { written: Written::default(), bytes, lost });
    }
    job.phase("finishing", None, None);
    let written = folder.finish()?;
    Ok(Report { written, bytes, lost })
}

/// A restore under way.
struct Restoring<'a> {
    reader: &'a ChunkReader<'a>,
    folder: &'a Folder,
    window: Window<'a>,
    job: Job<'a>,
    source: String,
    /// The folders above the current path that have been made, outermost first.
    made: Vec<Vec<u8>>,
    /// The first restored name of each group of hard links.
    links: HashMap<[u8; 16], Vec<u8>>,
    /// Further names, made when the first one is complete: first name, path.
    waiting: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>,
    lost: Vec<Lost>,
}

impl Restoring<'_> {
    fn part(&mut self, source: &SourceBody, part: &Part) -> Result<()> {
        self.source = String::from_utf8_lossy(&source.name).into_owned();
        self.made.clear();
        self.links.clear();
        for path in picked(&part.pick) {
            let strip = strip(self.reader, source, part, path)?;
            if let Pick::Paths(_) = part.pick {
                self.ancestors(source, part, path)?;
            }
            for found in TreeWalk::below(self.reader, &source.root, path) {
                self.job.cancel.check()?;
                match found {
                    Ok(found) => self.entry(
                        &found.path,
                        &place(&part.into, &found.path[strip.min(found.path.len())..]),
                        &found.record,
                    )?,
                    Err(e) => {
                        let error = unreadable(&e);
                        if error.kind() == Kind::Exhausted {
                            return Err(error);
                        }
                        self.lose(&e.first, &error, e.entries);
                    }
                }
                if self.window.is_full() {
                    self.flush()?;
                }
            }
            self.flush()?;
        }
        Ok(())
    }

    /// Makes the folders above a path as they were.
    fn ancestors(&mut self, source: &SourceBody, part: &Part, path: &[u8]) -> Result<()> {
        for folder in above(path) {
            if let Some(found) = lookup(self.reader, &source.root, folder).map_err(|e| unreadable(&e))? {
                let place = place(&part.into, &found.path);
                if !self.made.contains(&place) && path != found.path {
                    self.entry(&found.path, &place, &found.record)?;
                }
            }
        }
        Ok(())
    }

    fn lose(&mut self, path: &[u8], error: &Error, entries: u64) {
        let why = error.to_string();
        let place = if path.is_empty() { self.source.clone() } else { format!("{}/{}", self.source, shown(path)) };
        self.job.warn(&format!("lost: {place}: {why}"));
        let damaged = is_about_stored_bytes(error);
        self.lost.push(Lost { source: self.source.clone(), path: path.to_vec(), why, damaged, entries });
    }

    /// Goes on without an entry, if it is no more than that.
    fn survive(&mut self, path: &[u8], result: Result<()>) -> Result<()> {
        match result {
            Err(e) if costs_one_entry(&e) => {
                self.lose(path, &e, 1);
                Ok(())
            }
            other => other,
        }
    }

    fn entry(&mut self, path: &[u8], place: &[u8], record: &[u8]) -> Result<()> {
        let entry = match self.reader.entry(record) {
            Ok(entry) => entry,
            Err(e) => return self.survive(path, Err(e)),
        };
        let result = self.make(path, place, entry, is_image(record));
        self.survive(path, result)
    }

    fn make(&mut self, path: &[u8], place: &[u8], entry: Entry, is_database: bool) -> Result<()> {
        self.make_parents(place)?;
        if let Some(group) = entry.hard_link {
            if let Some(first) = self.links.get(&group) {
                self.waiting.push((first.clone(), place.to_vec(), path.to_vec()));
                return Ok(());
            }
            self.links.insert(group, place.to_vec());
        }
        match entry.kind {
            EntryKind::Directory => {
                self.folder.directory(place, &entry)?;
                self.made.push(place.to_vec());
            }
            EntryKind::Symlink => self.folder.symlink(place, &entry)?,
            EntryKind::Fifo | EntryKind::CharDevice | EntryKind::BlockDevice => self.folder.special(place, &entry)?,
            EntryKind::File => return self.window.file(path, place, entry, is_database, self.job),
        }
        self.job.advance(1, 0);
        Ok(())
    }

    /// Folders whose entry was lost are made without it, so that what is in them can be restored.
    fn make_parents(&mut self, place: &[u8]) -> Result<()> {
        while self.made.last().is_some_and(|made| place == made || !crate::tree::is_below(place, made)) {
            self.made.pop();
        }
        let ends: Vec<usize> = place.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).collect();
        for end in ends {
            let parent = &place[..end];
            if !self.made.iter().any(|made| made == parent) {
                let mut plain = Entry::new(EntryKind::Directory);
                plain.mode = 0o700;
                (plain.uid, plain.gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
                plain.mtime = self.reader.repository().world().now();
                self.folder.directory(parent, &plain)?;
                self.made.push(parent.to_vec());
            }
        }
        Ok(())
    }

    /// Writes what the window holds, then the further names of files in it.
    fn flush(&mut self) -> Result<()> {
        for (path, error) in self.window.flush(self.job)? {
            self.lose(&path, &error, 1);
        }
        for (first, place, path) in std::mem::take(&mut self.waiting) {
            if self.window.is_open(&first) {
                self.waiting.push((first, place, path));
            } else if self.lost.iter().any(|lost| self.window.place_of(&lost.path) == Some(&first)) {
                let error = Error::new(Kind::Damage, "the file that it is another name of is lost");
                self.lose(&path, &error, 1);
            } else {
                let result = self.folder.hard_link(&first, &place);
                self.survive(&path, result)?;
                self.job.advance(1, 0);
            }
        }
        Ok(())
    }
}

/// How many bytes of the paths below `path` are not part of their new place.
fn strip(reader: &ChunkReader<'_>, source: &SourceBody, part: &Part, path: &[u8]) -> Result<usize> {
    if matches!(part.pick, Pick::Paths(_)) || path.is_empty() || source.kind != SourceKind::Folder {
        return Ok(0);
    }
    let is_folder = require(reader, source, path)?.is_none_or(|entry| entry.kind == EntryKind::Directory);
    let name = path.rsplit(|b| *b == b'/').next().map_or(0, <[u8]>::len);
    Ok(if is_folder { path.len() + 1 } else { path.len() - name })
}

fn place(into: &[u8], path: &[u8]) -> Vec<u8> {
    match (into.is_empty(), path.is_empty()) {
        (true, _) => path.to_vec(),
        (_, true) => into.to_vec(),
        _ => [into, path].join(&b'/'),
    }
}
