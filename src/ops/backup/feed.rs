//! Walks a source, tells what is known already, and hands out what must be read.

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::Mutex;

use super::Run;
use super::read::{Item, Plan, Task};
use crate::entry::{Extent, Kind};
use crate::error::Result;
use crate::flow::Feed;
use crate::repo::{ChunkReader, Fingerprint, StatCache};
use crate::source::files::{Failure, FailureKind, Found, OpenFile, Skipped, Stat, Step, Walk};
use crate::tree::{self, Large, StoredEntry, TreeWalk, compare_paths};

/// Files of at most this length go in batches; longer ones are read and cut here. Bytes.
const SMALL_BYTES_MAX: u64 = 4 << 20;
const BATCH_BYTES: u64 = 2 << 20;
const BATCH_READS: usize = 64;
const BATCH_ITEMS: usize = 1024;
/// Entries that are still to be read hold their directories open: all batches together no more of them than this.
const FOLDERS_OPEN: usize = 512;
/// Bytes of a big file that are handed out together.
const PIECE_BYTES: usize = 4 << 20;

/// Entries of the previous run.
pub(super) enum Known<'a> {
    /// With what they looked like on disk.
    Cache(Box<StatCache>),
    /// Only what was stored.
    Tree(Box<TreeWalk<&'a ChunkReader<'a>>>),
    Nothing,
}

impl Iterator for Known<'_> {
    type Item = (tree::Found, Option<Fingerprint>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Cache(cache) => cache.next().map(|(found, fingerprint)| (found, Some(fingerprint))),
            // A part of it that cannot be read only makes files look new.
            Self::Tree(walk) => walk.find_map(|found| found.ok()).map(|found| (found, None)),
            Self::Nothing => None,
        }
    }
}

/// A group of hard links.
struct Links {
    group: [u8; 16],
    left: u64,
}

pub(super) struct Feeder<'a, 'r> {
    run: &'a Run<'r>,
    walk: Walk,
    known: Peekable<Known<'a>>,
    links: HashMap<(u64, u64), Links>,
    batch: Vec<Item>,
    batch_bytes: u64,
    batch_reads: usize,
    batch_folders: usize,
    /// How many directories a batch may hold open.
    folders_max: usize,
    skipped: &'a Mutex<Skipped>,
}

fn are_siblings(one: &Item, two: &Item) -> bool {
    let above = |item: &Item| item.path().iter().rposition(|b| *b == b'/');
    let (end_one, end_two) = (above(one), above(two));
    end_one == end_two && one.path().get(..end_one.unwrap_or(0)) == two.path().get(..end_two.unwrap_or(0))
}

pub(super) fn fingerprint(stat: &Stat) -> Fingerprint {
    let Stat { dev, ino, ctime, mtime, size, .. } = *stat;
    Fingerprint { dev, ino, ctime, mtime, size }
}

impl<'a, 'r> Feeder<'a, 'r> {
    /// `batches`: how many may be under way at a time.
    pub fn new(run: &'a Run<'r>, walk: Walk, known: Known<'a>, batches: usize, skipped: &'a Mutex<Skipped>) -> Self {
        Self {
            run,
            walk,
            known: known.peekable(),
            links: HashMap::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            batch_reads: 0,
            batch_folders: 0,
            folders_max: (FOLDERS_OPEN / batches).max(4),
            skipped,
        }
    }

    pub fn run(mut self, out: &mut Feed<'_, Task>) -> Result<()> {
        while let Some(step) = self.walk.next() {
            if self.run.job.cancel.is_cancelled() {
                break;
            }
            match step {
                Step::Found(found) => self.found(found, out)?,
                Step::Failed(failure) => self.push(Item::failed(failure), 0, false, out)?,
            }
        }
        self.send_batch(out)?;
        if let Ok(mut skipped) = self.skipped.lock() {
            *skipped = self.walk.skipped();
        }
        Ok(())
    }

    fn send_batch(&mut self, out: &mut Feed<'_, Task>) -> Result<()> {
        (self.batch_bytes, self.batch_reads, self.batch_folders) = (0, 0, 0);
        match std::mem::take(&mut self.batch) {
            batch if batch.is_empty() => Ok(()),
            batch => out.send(Task::Batch(batch)),
        }
    }

    fn push(&mut self, item: Item, bytes: u64, reads: bool, out: &mut Feed<'_, Task>) -> Result<()> {
        if reads && !self.batch.last().is_some_and(|last| last.holds_folder() && are_siblings(last, &item)) {
            self.batch_folders += 1;
        }
        self.batch.push(item);
        self.batch_bytes += bytes;
        self.batch_reads += usize::from(reads);
        let full = self.batch_bytes >= BATCH_BYTES
            || self.batch_reads >= BATCH_READS
            || self.batch_folders >= self.folders_max
            || self.batch.len() >= BATCH_ITEMS;
        if full { self.send_batch(out) } else { Ok(()) }
    }

    fn found(&mut self, found: Found, out: &mut Feed<'_, Task>) -> Result<()> {
        let known = self.known_at(&found.path);
        let stat = &found.stat;
        let is_linked = stat.kind == Kind::File && stat.links > 1;
        let link = if is_linked { Some(self.link_of(&found)) } else { None };
        if let Some((_, false)) = link {
            return self.push(Item::new(found, Plan::Same, known, link), 0, false, out);
        }
        let plan = self.plan(&found, known.as_ref(), link.map(|(group, _)| group));
        let big = stat.kind == Kind::File && stat.size > SMALL_BYTES_MAX && matches!(plan, Plan::Read);
        let (bytes, reads) = match plan {
            Plan::Read => (if stat.kind == Kind::File { stat.size } else { 0 }, true),
            _ => (0, false),
        };
        let item = Item::new(found, plan, known, link);
        if big { self.big(item, out) } else { self.push(item, bytes, reads, out) }
    }

    /// The entry of the previous run at this path.
    fn known_at(&mut self, path: &[u8]) -> Option<(tree::Found, Option<Fingerprint>)> {
        while self.known.next_if(|(known, _)| compare_paths(&known.path, path).is_lt()).is_some() {}
        self.known.next_if(|(known, _)| known.path == path)
    }

    /// The group of a file with several names, and whether this is the first of them.
    fn link_of(&mut self, found: &Found) -> ([u8; 16], bool) {
        let key = (found.stat.dev, found.stat.ino);
        if let Some(links) = self.links.get_mut(&key) {
            links.left = links.left.saturating_sub(1);
            let group = links.group;
            if links.left == 0 {
                self.links.remove(&key);
            }
            return (group, false);
        }
        let hash = self.run.repository.keys().identity.links.hash(&found.path);
        let mut group = [0; 16];
        group.copy_from_slice(&hash[..16]);
        self.links.insert(key, Links { group, left: found.stat.links - 1 });
        (group, true)
    }

    fn plan(&self, found: &Found, known: Option<&(tree::Found, Option<Fingerprint>)>, link: Option<[u8; 16]>) -> Plan {
        let Some((known, Some(was))) = known else { return Plan::Read };
        let is = fingerprint(&found.stat);
        let same = if self.run.request.trust_mtime && found.stat.kind == Kind::File {
            // Metadata that only the change time tells of is then taken from before, too.
            was.mtime == is.mtime && was.size == is.size
        } else {
            *was == is
        };
        let Ok(mut stored) = StoredEntry::parse(&known.record) else { return Plan::Read };
        if !same || found.stat.kind != stored.entry.kind || !self.is_usable(&stored) {
            return Plan::Read;
        }
        if stored.entry.hard_link == link {
            return Plan::Known(known.record.clone());
        }
        stored.entry.hard_link = link;
        Plan::Known(stored.encode())
    }

    /// Only if everything that the record names is there: what a snapshot once had may have been lost since.
    fn is_usable(&self, stored: &StoredEntry) -> bool {
        let catalogue = self.run.catalogue;
        let large = [&stored.xattrs, &stored.extents].into_iter().filter_map(|large| match large {
            Some(Large::Chunk(chunk)) => Some(chunk),
            _ => None,
        });
        let content = &stored.entry.content;
        if !content.chunks.iter().chain(large).all(|chunk| catalogue.contains(&chunk.id)) {
            return false;
        }
        // What lies behind lists costs reading them, so only where something is known to be lost.
        if content.level == 0 || catalogue.is_whole() {
            return true;
        }
        let mut all = true;
        let read = self.run.reader.for_each_chunk(content, &mut |chunk| {
            all &= catalogue.contains(&chunk.id);
            Ok(())
        });
        read.is_ok() && all
    }

    /// Reads and cuts a big file, and hands out its pieces. What changed while it was read is read once more.
    fn big(&mut self, item: Item, out: &mut Feed<'_, Task>) -> Result<()> {
        self.send_batch(out)?;
        let mut read = self.read_big(&item, out)?;
        if matches!(&read, Ok(BigFile { changed: Some(_), .. })) {
            out.send(Task::BigAgain)?;
            read = self.read_big(&item, out)?;
        }
        out.send(Task::BigEnd(Box::new(item), read))
    }

    /// The outer error stops the run, the inner one is about this file.
    fn read_big(&self, item: &Item, out: &mut Feed<'_, Task>) -> Result<std::result::Result<BigFile, Failure>> {
        let opened = item.open().and_then(|file| file.extents().map(|extents| (file, extents)));
        let (file, extents) = match opened {
            Ok(opened) => opened,
            Err(failure) => return Ok(Err(failure)),
        };
        let whole = [Extent { offset: 0, len: file.stat().size }];
        let mut cutting = Cutting { run: self.run, bytes: Vec::new(), out };
        let mut short = false;
        for extent in extents.as_deref().unwrap_or(&whole) {
            match cutting.extent(&file, extent)? {
                Ok(complete) => short |= !complete,
                Err(failure) => return Ok(Err(failure)),
            }
        }
        cutting.hand_out(true)?;
        let changed = match file.changed() {
            Ok(None) if !short => None,
            Ok(what) => Some(changed(item.path(), what.unwrap_or("size"))),
            Err(failure) => return Ok(Err(failure)),
        };
        Ok(Ok(BigFile { file, extents, changed, complete: !short }))
    }
}

/// A big file that has been read to its end.
pub(super) struct BigFile {
    pub file: OpenFile,
    pub extents: Option<Vec<Extent>>,
    /// It is not one state of the file.
    pub changed: Option<Failure>,
    /// As many bytes came as its extents promise.
    pub complete: bool,
}

pub(super) fn changed(path: &[u8], what: &str) -> Failure {
    Failure { path: path.to_vec(), kind: FailureKind::Changed, why: format!("changed while it was read ({what})") }
}

/// The part of a big file that has been read, but not handed out.
struct Cutting<'c, 'r, 'f> {
    run: &'c Run<'r>,
    bytes: Vec<u8>,
    out: &'c mut Feed<'f, Task>,
}

impl Cutting<'_, '_, '_> {
    /// Reads one extent; whether all of it was there.
    fn extent(&mut self, file: &OpenFile, extent: &Extent) -> Result<std::result::Result<bool, Failure>> {
        let mut at = extent.offset;
        let end = extent.offset + extent.len;
        while at < end && !self.run.job.cancel.is_cancelled() {
            let want = (end - at).min((PIECE_BYTES + self.run.repository.cutter().window() - self.bytes.len()) as u64)
                as usize;
            let start = self.bytes.len();
            self.bytes.resize(start + want, 0);
            let got = match file.read_at(at, &mut self.bytes[start..]) {
                Ok(got) => got,
                Err(failure) => return Ok(Err(failure)),
            };
            self.bytes.truncate(start + got);
            at += got as u64;
            self.hand_out(false)?;
            if got < want {
                return Ok(Ok(false));
            }
        }
        Ok(Ok(true))
    }

    /// Cuts what can be cut already; at the end of the file, all of it.
    fn hand_out(&mut self, at_end: bool) -> Result<()> {
        let cutter = self.run.repository.cutter();
        let (mut ends, mut at) = (Vec::new(), 0);
        while at < self.bytes.len() && (at_end || self.bytes.len() - at >= cutter.window()) {
            at += cutter.cut(&self.bytes[at..]);
            ends.push(at);
        }
        if ends.is_empty() {
            return Ok(());
        }
        let rest = self.bytes[at..].to_vec();
        let mut bytes = std::mem::replace(&mut self.bytes, rest);
        bytes.truncate(at);
        self.out.send(Task::Piece(bytes, ends))
    }
}
