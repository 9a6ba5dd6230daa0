//! Walks a source, tells what is known already, and hands out what must be read.

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::Mutex;

use super::Run;
use super::read::{Item, Plan, Task};
use crate::entry::{Content, Extent, Kind};
use crate::error::Result;
use crate::flow::Feed;
use crate::repo::{ChunkReader, Fingerprint, StatCache};
use crate::source::files::{Failure, FailureKind, Found, OpenFile, Skipped, Stat, Step, Walk};
use crate::tree::{self, StoredEntry, TreeWalk, compare_paths};

/// Files of at most this length go in batches; longer ones are read and cut here. Bytes.
const SMALL_BYTES_MAX: u64 = 4 << 20;
const BATCH_BYTES: u64 = 2 << 20;
const BATCH_READS: usize = 64;
const BATCH_ITEMS: usize = 1024;
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
    skipped: &'a Mutex<Skipped>,
}

pub(super) fn fingerprint(stat: &Stat) -> Fingerprint {
    let Stat { dev, ino, ctime, mtime, size, .. } = *stat;
    Fingerprint { dev, ino, ctime, mtime, size }
}

impl<'a, 'r> Feeder<'a, 'r> {
    pub fn new(run: &'a Run<'r>, walk: Walk, known: Known<'a>, skipped: &'a Mutex<Skipped>) -> Self {
        let known = known.peekable();
        let (links, batch) = (HashMap::new(), Vec::new());
        Self { run, walk, known, links, batch, batch_bytes: 0, batch_reads: 0, skipped }
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
        (self.batch_bytes, self.batch_reads) = (0, 0);
        match std::mem::take(&mut self.batch) {
            batch if batch.is_empty() => Ok(()),
            batch => out.send(Task::Batch(batch)),
        }
    }

    fn push(&mut self, item: Item, bytes: u64, reads: bool, out: &mut Feed<'_, Task>) -> Result<()> {
        self.batch.push(item);
        self.batch_bytes += bytes;
        self.batch_reads += usize::from(reads);
        let full = self.batch_bytes >= BATCH_BYTES
            || self.batch_reads >= BATCH_READS
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
        let known = known.map(|(found, _)| (found, None));
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
        if !same || !self.is_kind(found, &stored) || !self.is_usable(&stored.entry.content) {
            return Plan::Read;
        }
        if stored.entry.hard_link == link {
            return Plan::Known(known.record.clone());
        }
        stored.entry.hard_link = link;
        Plan::Known(stored.encode())
    }

    fn is_kind(&self, found: &Found, stored: &StoredEntry) -> bool {
        found.stat.kind == stored.entry.kind
    }

    /// Not if damage was found that this content may depend on.
    fn is_usable(&self, content: &Content) -> bool {
        let catalogue = self.run.catalogue;
        catalogue.damage().is_empty()
            || (content.level == 0 && !content.chunks.iter().any(|chunk| catalogue.is_damaged(&chunk.id)))
    }

    /// Reads and cuts a big file, and hands out its pieces. What changed while it was read is read once more.
    fn big(&mut self, item: Item, out: &mut Feed<'_, Task>) -> Result<()> {
        self.send_batch(out)?;
        let mut failure = None;
        for _ in 0..2 {
            match self.read_big(&item.found(), out)? {
                Ok((file, extents)) => match file.changed() {
                    Ok(None) => return out.send(Task::BigEnd(Box::new(item), Ok((file, extents, None)))),
                    Ok(Some(what)) => {
                        let again = Failure {
                            path: item.path().to_vec(),
                            kind: FailureKind::Changed,
                            why: format!("changed while it was read ({what})"),
                        };
                        failure = Some((again, Some((file, extents))));
                    }
                    Err(e) => failure = Some((e, None)),
                },
                Err(e) => {
                    failure = Some((e, None));
                    break;
                }
            }
            if failure.as_ref().is_some_and(|(_, read)| read.is_none()) {
                break;
            }
            if self.run.job.cancel.is_cancelled() {
                break;
            }
            out.send(Task::BigAgain)?;
        }
        self.end_big(item, failure, out)
    }

    fn end_big(&mut self, item: Item, failure: Option<(Failure, Option<(OpenFile, Extents)>)>, out: &mut Feed<'_, Task>) -> Result<()> {
        let _ = self;
        match failure {
            Some((failure, Some((file, extents)))) => {
                out.send(Task::BigEnd(Box::new(item), Ok((file, extents, Some(failure)))))
            }
            Some((failure, None)) => out.send(Task::BigEnd(Box::new(item), Err(failure))),
            None => Ok(()),
        }
    }
}

type Extents = Option<Vec<Extent>>;
