//! Builds a tree from entries that come in order, storing nodes as they fill.

use super::Store;
use super::node::{Child, put_key};
use crate::crypto::{ChunkKind, Secret};
use crate::id::ChunkId;
use crate::wire::{put_prefixed, put_varint};

/// A node of fewer bytes takes the next item, whatever its key.
const NODE_BYTES_LOW: usize = 16 << 10;
/// A node of more bytes ends.
const NODE_BYTES_HIGH: usize = 64 << 10;
/// Between the two, one key in this many begins a new node.
const ITEMS_MEAN: u32 = 128;

/// What a snapshot keeps of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// The topmost node.
    pub id: ChunkId,
    /// Its level.
    pub level: u8,
    /// Number of entries in the tree.
    pub entries: u64,
    /// Sum of their sizes, bytes.
    pub bytes: u64,
}

/// One node being filled.
#[derive(Debug, Default)]
struct Open {
    first: Vec<u8>,
    last: Vec<u8>,
    count: u64,
    body: Vec<u8>,
    entries: u64,
    bytes: u64,
}

/// Takes entries in ascending order of their paths.
#[derive(Debug)]
pub struct TreeBuilder {
    boundary: Secret,
    levels: Vec<Open>,
}

impl TreeBuilder {
    /// A builder that ends nodes where this key says.
    pub fn new(boundary: &Secret) -> Self {
        Self { boundary: boundary.clone(), levels: vec![Open::default()] }
    }

    /// Adds an entry's record; `bytes` is the entry's size.
    pub fn push<S: Store>(&mut self, path: &[u8], record: &[u8], bytes: u64, store: &mut S) -> Result<(), S::Error> {
        let mut value = Vec::with_capacity(record.len() + 4);
        put_prefixed(&mut value, record);
        self.add(0, path, &value, 1, bytes, store)
    }

    fn add<S: Store>(
        &mut self,
        level: usize,
        key: &[u8],
        value: &[u8],
        entries: u64,
        bytes: u64,
        store: &mut S,
    ) -> Result<(), S::Error> {
        if self.levels.len() == level {
            self.levels.push(Open::default());
        }
        if self.must_end(level, key) {
            let child = self.end_node(level, store)?;
            self.add_child(level + 1, &child, store)?;
        }
        let open = &mut self.levels[level];
        if open.count == 0 {
            open.first = key.to_vec();
            open.last.clear();
        }
        put_key(&mut open.body, &open.last, key);
        open.body.extend_from_slice(value);
        open.last.clear();
        open.last.extend_from_slice(key);
        open.count += 1;
        open.entries += entries;
        open.bytes = open.bytes.saturating_add(bytes);
        Ok(())
    }

    fn must_end(&self, level: usize, key: &[u8]) -> bool {
        let len = self.levels[level].body.len();
        len >= NODE_BYTES_HIGH || (len >= NODE_BYTES_LOW && self.is_boundary(level, key))
    }

    fn is_boundary(&self, level: usize, key: &[u8]) -> bool {
        let hash =
            if level == 0 { self.boundary.hash(key) } else { self.boundary.hash(&[key, &[0, level as u8]].concat()) };
        u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]) < u32::MAX / ITEMS_MEAN
    }

    fn add_child<S: Store>(&mut self, level: usize, child: &Child, store: &mut S) -> Result<(), S::Error> {
        let mut value = child.id.as_bytes().to_vec();
        put_varint(&mut value, child.entries);
        put_varint(&mut value, child.bytes);
        self.add(level, &child.first, &value, child.entries, child.bytes, store)
    }

    fn end_node<S: Store>(&mut self, level: usize, store: &mut S) -> Result<Child, S::Error> {
        let open = std::mem::take(&mut self.levels[level]);
        let mut node = vec![level as u8];
        put_varint(&mut node, open.count);
        node.extend_from_slice(&open.body);
        let id = store.store(ChunkKind::Node, &node)?;
        Ok(Child { first: open.first, id, entries: open.entries, bytes: open.bytes })
    }

    /// Ends the tree; `None` if it has no entries.
    pub fn finish<S: Store>(mut self, store: &mut S) -> Result<Option<Root>, S::Error> {
        let mut level = 0;
        loop {
            if self.levels[level].count == 0 {
                return Ok(None);
            }
            let child = self.end_node(level, store)?;
            if level + 1 == self.levels.len() {
                return Ok(Some(Root { id: child.id, level: level as u8, entries: child.entries, bytes: child.bytes }));
            }
            self.add_child(level + 1, &child, store)?;
            level += 1;
        }
    }
}
