//! Earlier versions of what is backed up: which of their chunks a new one may be like.
//!
//! Only offers are made here: what becomes of them is for [`crate::repo::FrameWriter`] to decide. Where an earlier
//! version cannot be read, there are none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::crypto::ChunkKind;
use crate::entry::{ChunkRef, Kind};
use crate::error::{Error, Result};
use crate::id::ChunkId;
use crate::repo::{ChunkReader, EntryReader, FileReader, FrameWriter};
use crate::tree::{ChunkList, Node, Root, Store, node_at};

/// How far from its old place content is looked for. Bytes.
const REACH_BYTES: u64 = 32 << 20;
/// Where it is not sure where a chunk was, what it is compared with begins and ends so much further away. Bytes.
const MARGIN_BYTES: u64 = 64 << 10;

/// The earlier version of a file.
pub(super) struct Parent<'a> {
    file: FileReader<'a>,
    /// Bytes of its chunks.
    len: u64,
    /// By how much content has moved on, as far as was seen.
    shift: AtomicI64,
}

/// A chunk of the earlier version, and where it lies in its data.
type Old = (u64, ChunkRef);

impl<'a> Parent<'a> {
    /// Of an entry's record.
    pub fn of(reader: &'a ChunkReader<'a>, record: &[u8]) -> Option<Self> {
        let entry = reader.entry(record).ok().filter(|entry| entry.kind == Kind::File)?;
        let len = entry.content.chunks.iter().try_fold(0_u64, |sum, chunk| sum.checked_add(chunk.len))?;
        (len > 0).then(|| Self { file: FileReader::new(reader, entry), len, shift: AtomicI64::new(0) })
    }

    /// What stood in the place of a block, which is an offset in the file.
    pub fn block(&self, at: u64) -> Option<ChunkId> {
        let at = self.file.stored_before(at);
        (at < self.len).then(|| self.file.chunk_with(at).ok()).flatten().map(|(chunk, _)| chunk.id)
    }

    /// Follows the earlier version along these chunks, one after another.
    pub fn follow(&self, chunks: &[(ChunkId, bool)], places: &[u64]) -> Follow<'_, 'a> {
        let (first, last) = (places.first().copied().unwrap_or(0), places.last().copied().unwrap_or(0));
        let shift = self.shift.load(Ordering::Relaxed);
        let old = self.between(moved(first, shift).saturating_sub(REACH_BYTES), moved(last, shift) + REACH_BYTES);
        let mut known: HashMap<ChunkId, Option<u64>> = HashMap::new();
        for (at, chunk) in &old {
            // What is there twice tells nothing.
            known.entry(chunk.id).and_modify(|place| *place = None).or_insert(Some(*at));
        }
        let anchor = |((id, _), at): (&(ChunkId, bool), &u64)| {
            known.get(id).copied().flatten().map(|old| old as i64 - *at as i64)
        };
        let anchors = chunks.iter().zip(places).map(anchor).collect();
        Follow { parent: self, old, anchors, shift, is_sure: false, offered: Vec::new() }
    }

    fn between(&self, start: u64, end: u64) -> Vec<Old> {
        let (mut at, mut out) = (start, Vec::new());
        while at < end.min(self.len) {
            let Ok((chunk, start)) = self.file.chunk_with(at) else { break };
            out.push((start, chunk));
            at = start + chunk.len;
        }
        out
    }
}

/// Chunks that are still there tell where the others must have been, and so do their ends, which often outlive changes
/// in them.
pub(super) struct Follow<'p, 'a> {
    parent: &'p Parent<'a>,
    old: Vec<Old>,
    /// By how much each chunk that is still there has moved.
    anchors: Vec<Option<i64>>,
    shift: i64,
    /// Whether the chunk before this one ended where the earlier version has an end.
    is_sure: bool,
    offered: Vec<Old>,
}

impl Follow<'_, '_> {
    /// What the n-th chunk may be like, which lies there, and is so long.
    pub fn offer(&mut self, n: usize, at: u64, len: usize) -> Vec<ChunkId> {
        let behind = self.anchors[n..].iter().flatten().next().copied().unwrap_or(self.shift);
        let margin = if self.is_sure { 0 } else { MARGIN_BYTES };
        let start = moved(at, self.shift.min(behind)).saturating_sub(margin);
        let end = moved(at, self.shift.max(behind)) + len as u64 + margin;
        self.offered = self.old.iter().filter(|(at, old)| *at < end && at + old.len > start).copied().collect();
        self.offered.iter().map(|(_, old)| old.id).collect()
    }

    /// A chunk that begins at `at` was the n-th; it ends as this one of those that were offered does.
    pub fn passed(&mut self, n: usize, at: u64, len: usize, ends_like: Option<ChunkId>) {
        let same_end = ends_like.and_then(|id| self.offered.iter().find(|(_, old)| old.id == id));
        let shift = same_end.map(|(old_at, old)| (old_at + old.len) as i64 - (at + len as u64) as i64);
        let seen = self.anchors[n].or(shift);
        self.is_sure = seen.is_some();
        if let Some(shift) = seen {
            self.shift = shift;
            self.parent.shift.store(shift, Ordering::Relaxed);
        }
    }
}

fn moved(at: u64, shift: i64) -> u64 {
    at.saturating_add_signed(shift)
}

/// A store that offers the nodes and lists of an earlier version for those that are stored.
pub(super) struct Like<'l, 'w, 'r> {
    pub frames: &'l mut FrameWriter<'w, 'r>,
    /// The earlier tree.
    pub tree: Option<(&'l ChunkReader<'l>, &'l Root)>,
    /// The file whose lists these are.
    pub lists: Option<&'l mut Lists<'w>>,
}

/// The lists of a file as they are stored, one after another on each level.
#[derive(Default)]
pub(super) struct Lists<'a> {
    pub parent: Option<std::sync::Arc<Parent<'a>>>,
    /// For each level, how many bytes of the file its lists stand for so far.
    ends: Vec<u64>,
}

impl Lists<'_> {
    /// The list of the earlier version that stands where this one does.
    fn like(&mut self, bytes: &[u8]) -> Option<ChunkId> {
        let list = ChunkList::parse(bytes).ok()?;
        let level = usize::from(list.level);
        self.ends.resize(self.ends.len().max(level + 1), 0);
        let at = self.ends[level];
        self.ends[level] += list.content_len()?;
        let parent = self.parent.as_ref().filter(|parent| at < parent.len)?;
        parent.file.list_with(list.level, at).ok()?.map(|list| list.id)
    }
}

impl Store for Like<'_, '_, '_> {
    type Error = Error;

    fn store(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId> {
        let tree = self.tree;
        let list = if kind == ChunkKind::List { self.lists.as_mut().and_then(|lists| lists.like(bytes)) } else { None };
        self.frames.store_like(kind, bytes, || match kind {
            ChunkKind::Node => {
                let ((reader, root), node) = (tree?, Node::parse(bytes).ok()?);
                // Roots are stored whole: what takes one takes a snapshot, and would take those after it.
                let is_below = node.level < root.level;
                is_below.then(|| node_at(reader, root, node.level, node.first()).ok())??
            }
            _ => list,
        })
    }
}
