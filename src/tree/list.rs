//! Chunk lists: the content of files with many chunks.
//!
//! ```text
//! list := level u8 ‖ count varint ‖ count × (id(32) ‖ length varint)
//! ```
//! A list of level 1 names data chunks, one of level n lists of level n − 1. Lists end where an id says so (ids are
//! keyed hashes, so this is as good as a keyed hash of them), so an insertion leaves the other lists as they were.

use super::Store;
use crate::chunk::CHUNK_BYTES_MAX;
use crate::crypto::ChunkKind;
use crate::entry::{ChunkRef, Content};
use crate::id::ChunkId;
use crate::wire::{self, Malformed, Reader, put_varint};

/// A file with more chunks has a list.
pub const DIRECT_CHUNKS_MAX: usize = 16;
const ITEMS_MIN: usize = 32;
const ITEMS_MAX: usize = 512;
/// One id in this many ends a list.
const ITEMS_MEAN: u32 = 96;
const WHAT: &str = "chunk list";

/// A parsed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkList {
    /// From 1: see the module.
    pub level: u8,
    /// In order.
    pub items: Vec<ChunkRef>,
}

impl ChunkList {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.level];
        put_varint(&mut out, self.items.len() as u64);
        for item in &self.items {
            out.extend_from_slice(item.id.as_bytes());
            put_varint(&mut out, item.len);
        }
        out
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let mut r = Reader::new(bytes, WHAT);
        let level = r.u8()?;
        let count = r.count(33)?;
        if level == 0 || count == 0 || count > ITEMS_MAX {
            return Err(Malformed::bad(WHAT, format!("level {level} with {count} items")));
        }
        let items = (0..count).map(|_| take_item(&mut r, level - 1)).collect::<wire::Result<Vec<_>>>()?;
        r.end()?;
        Ok(Self { level, items })
    }

    /// Sum of the items' lengths; `None` beyond 2^64.
    pub fn content_len(&self) -> Option<u64> {
        self.items.iter().try_fold(0u64, |sum, item| sum.checked_add(item.len))
    }
}

/// Reads a reference to a data chunk (level 0) or to a list of this level. None stands for no bytes.
pub(super) fn take_item(r: &mut Reader<'_>, level: u8) -> wire::Result<ChunkRef> {
    let item = ChunkRef { id: ChunkId::new(r.array()?), len: r.varint()? };
    if item.len == 0 || (level == 0 && item.len > CHUNK_BYTES_MAX as u64) {
        return Err(r.bad(format!("a chunk of {} bytes", item.len)));
    }
    Ok(item)
}

fn ends_list(id: &ChunkId) -> bool {
    let b = id.as_bytes();
    u32::from_le_bytes([b[28], b[29], b[30], b[31]]) < u32::MAX / ITEMS_MEAN
}

/// Collects a file's chunks in order, storing lists as they fill.
#[derive(Debug, Default)]
pub struct ListBuilder {
    /// `levels[0]` holds data chunks that no list names yet, `levels[n]` lists of level n.
    levels: Vec<Vec<ChunkRef>>,
}

impl ListBuilder {
    /// Adds the next chunk.
    pub fn push<S: Store>(&mut self, chunk: ChunkRef, store: &mut S) -> Result<(), S::Error> {
        self.push_at(0, chunk, store)
    }

    fn push_at<S: Store>(&mut self, level: usize, chunk: ChunkRef, store: &mut S) -> Result<(), S::Error> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        let items = &mut self.levels[level];
        items.push(chunk);
        if items.len() == ITEMS_MAX || (items.len() >= ITEMS_MIN && ends_list(&chunk.id)) {
            let items = std::mem::take(items);
            let list = store_list(level, items, store)?;
            self.push_at(level + 1, list, store)?;
        }
        Ok(())
    }

    /// The content: chunks themselves if they are few, else the lists that name them.
    pub fn finish<S: Store>(mut self, store: &mut S) -> Result<Content, S::Error> {
        let mut level = 0;
        loop {
            let items = self.levels.get_mut(level).map(std::mem::take).unwrap_or_default();
            let top = level + 1 >= self.levels.len();
            if top && items.len() <= DIRECT_CHUNKS_MAX {
                return Ok(Content { level: level as u8, chunks: items });
            }
            if !items.is_empty() {
                let list = store_list(level, items, store)?;
                self.push_at(level + 1, list, store)?;
            }
            level += 1;
        }
    }
}

fn store_list<S: Store>(level: usize, items: Vec<ChunkRef>, store: &mut S) -> Result<ChunkRef, S::Error> {
    let len = items.iter().map(|item| item.len).sum();
    let list = ChunkList { level: level as u8 + 1, items };
    Ok(ChunkRef { id: store.store(ChunkKind::List, &list.encode())?, len })
}
