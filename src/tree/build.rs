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

/// A leaf that is stored, as a builder cut it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// What stands for it in the node above.
    pub child: Child,
    /// Length of its items, bytes: together with the next key this tells whether it ends.
    pub body_bytes: u64,
}

/// Takes entries in ascending order of their paths.
///
/// Where a leaf ends depends on what is in it and on the key that follows, and on nothing before it. So a leaf of an
/// earlier tree is what its entries would become again if one begins at its first key, and ends before the key that
/// comes next: [`Self::push_leaf`] takes it for them.
#[derive(Debug)]
pub struct TreeBuilder {
    boundary: Secret,
    levels: Vec<Open>,
    /// Taken whole, in the place of what is open at level 0, until the key that follows shows that it ends.
    whole: Option<Leaf>,
}

impl TreeBuilder {
    /// A builder that ends nodes where this key says.
    pub fn new(boundary: &Secret) -> Self {
        Self { boundary: boundary.clone(), levels: vec![Open::default()], whole: None }
    }

    /// Adds an entry's record; `bytes` is the entry's size. The leaf that ended before it comes back, if one did.
    pub fn push<S: Store>(
        &mut self,
        path: &[u8],
        record: &[u8],
        bytes: u64,
        store: &mut S,
    ) -> Result<Option<Leaf>, S::Error> {
        let ended = self.make_way(0, path, store)?;
        put_prefixed(self.item(0, path, 1, bytes), record);
        Ok(ended)
    }

    /// Adds all entries of a leaf at once; only where [`Self::begins_leaf`]. The leaf before it comes back, if there is
    /// one.
    pub fn push_leaf<S: Store>(&mut self, leaf: Leaf, store: &mut S) -> Result<Option<Leaf>, S::Error> {
        debug_assert!(self.begins_leaf(&leaf.child.first));
        let ended = self.make_way(0, &leaf.child.first, store)?;
        self.whole = Some(leaf);
        Ok(ended)
    }

    /// Whether a leaf begins with an entry of this path, if it comes next.
    pub fn begins_leaf(&self, path: &[u8]) -> bool {
        self.open_bytes(0) == 0 || self.must_end(0, path)
    }

    /// Takes back the leaf that was added last, if it was added whole: where none begins with what comes next, its
    /// entries must be pushed.
    pub fn take_back(&mut self) -> Option<Leaf> {
        self.whole.take()
    }

    /// Ends the node that is open at a level, if it ends before this key.
    fn make_way<S: Store>(&mut self, level: usize, key: &[u8], store: &mut S) -> Result<Option<Leaf>, S::Error> {
        if self.levels.len() == level {
            self.levels.push(Open::default());
        }
        if !self.must_end(level, key) {
            debug_assert!(level > 0 || self.whole.is_none());
            return Ok(None);
        }
        let ended = self.end_node(level, store)?;
        self.add_child(level + 1, &ended.child, store)?;
        Ok(Some(ended))
    }

    /// Begins an item in the node that is open at a level; its value goes where this says.
    fn item(&mut self, level: usize, key: &[u8], entries: u64, bytes: u64) -> &mut Vec<u8> {
        let open = &mut self.levels[level];
        if open.count == 0 {
            open.first = key.to_vec();
            open.last.clear();
        }
        put_key(&mut open.body, &open.last, key);
        open.last.clear();
        open.last.extend_from_slice(key);
        open.count += 1;
        open.entries += entries;
        open.bytes = open.bytes.saturating_add(bytes);
        &mut open.body
    }

    fn open_bytes(&self, level: usize) -> usize {
        match &self.whole {
            Some(leaf) if level == 0 => leaf.body_bytes as usize,
            _ => self.levels[level].body.len(),
        }
    }

    fn must_end(&self, level: usize, key: &[u8]) -> bool {
        let len = self.open_bytes(level);
        len >= NODE_BYTES_HIGH || (len >= NODE_BYTES_LOW && self.is_boundary(level, key))
    }

    fn is_boundary(&self, level: usize, key: &[u8]) -> bool {
        let hash =
            if level == 0 { self.boundary.hash(key) } else { self.boundary.hash(&[key, &[0, level as u8]].concat()) };
        u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]) < u32::MAX / ITEMS_MEAN
    }

    fn add_child<S: Store>(&mut self, level: usize, child: &Child, store: &mut S) -> Result<(), S::Error> {
        self.make_way(level, &child.first, store)?;
        let value = self.item(level, &child.first, child.entries, child.bytes);
        value.extend_from_slice(child.id.as_bytes());
        put_varint(value, child.entries);
        put_varint(value, child.bytes);
        Ok(())
    }

    fn end_node<S: Store>(&mut self, level: usize, store: &mut S) -> Result<Leaf, S::Error> {
        if let Some(leaf) = self.whole.take_if(|_| level == 0) {
            return Ok(leaf);
        }
        let open = std::mem::take(&mut self.levels[level]);
        let mut node = vec![level as u8];
        put_varint(&mut node, open.count);
        node.extend_from_slice(&open.body);
        let id = store.store(ChunkKind::Node, &node)?;
        let child = Child { first: open.first, id, entries: open.entries, bytes: open.bytes };
        Ok(Leaf { child, body_bytes: open.body.len() as u64 })
    }

    /// Ends the tree; `None` if it has no entries.
    pub fn finish<S: Store>(mut self, store: &mut S) -> Result<Option<Root>, S::Error> {
        let mut level = 0;
        loop {
            if self.open_bytes(level) == 0 {
                return Ok(None);
            }
            let child = self.end_node(level, store)?.child;
            if level + 1 == self.levels.len() {
                return Ok(Some(Root { id: child.id, level: level as u8, entries: child.entries, bytes: child.bytes }));
            }
            self.add_child(level + 1, &child, store)?;
            level += 1;
        }
    }
}
