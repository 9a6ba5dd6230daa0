//! Nodes of the tree.
//!
//! ```text
//! node  := level u8 ‖ count varint ‖ count × item
//! item  := shared varint ‖ suffix (behind its length) ‖ value
//! value := leaf (level 0): the entry's record, behind its length
//!          above:          child id(32) ‖ entries varint ‖ bytes varint
//! ```
//! A key is the first `shared` bytes of the key before it in the node, then the suffix; `shared` is as long as it can
//! be, and the first item shares nothing. Above the leaves an item's key is the first key of the child.

use super::path::{check_path, compare_paths};
use crate::entry::PATH_BYTES_MAX;
use crate::id::ChunkId;
use crate::wire::{self, Reader, put_prefixed, put_varint};

/// No node is longer.
pub const NODE_BYTES_MAX: usize = 256 << 10;
/// Levels that a reader follows: far more than 2^64 entries need.
pub(super) const LEVEL_MAX: u8 = 16;

/// What an item above the leaves says of its child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The smallest key below it.
    pub first: Vec<u8>,
    /// The node.
    pub id: ChunkId,
    /// Number of entries below it.
    pub entries: u64,
    /// Sum of the entries' sizes, bytes.
    pub bytes: u64,
}

/// The items of a node, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeItems {
    /// Paths and entries' records.
    Leaf(Vec<(Vec<u8>, Vec<u8>)>),
    /// Nodes one level below.
    Inner(Vec<Child>),
}

/// A parsed node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// 0 for leaves.
    pub level: u8,
    /// Never empty.
    pub items: NodeItems,
}

/// Appends a key in its front-coded form.
pub(super) fn put_key(out: &mut Vec<u8>, last: &[u8], key: &[u8]) {
    let shared = last.iter().zip(key).take_while(|(a, b)| a == b).count();
    put_varint(out, shared as u64);
    put_prefixed(out, &key[shared..]);
}

fn take_key(r: &mut Reader<'_>, last: Option<&[u8]>) -> wire::Result<Vec<u8>> {
    let before = last.unwrap_or_default();
    let shared = r.varint_to(before.len() as u64)? as usize;
    let suffix = r.prefixed()?;
    if before.get(shared).is_some_and(|byte| suffix.first() == Some(byte)) {
        return Err(r.bad("a path shares more with the one before than it says"));
    }
    if shared + suffix.len() > PATH_BYTES_MAX {
        return Err(r.bad("a path longer than 32 KiB"));
    }
    let key = [&before[..shared], suffix].concat();
    check_path(&key)?;
    if last.is_some_and(|last| compare_paths(last, &key).is_ge()) {
        return Err(r.bad("its keys do not ascend"));
    }
    Ok(key)
}

impl Node {
    /// Reads a node.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let mut r = Reader::new(bytes, "tree node");
        if bytes.len() > NODE_BYTES_MAX {
            return Err(r.bad(format!("{} bytes, at most {NODE_BYTES_MAX} expected", bytes.len())));
        }
        let level = r.u8()?;
        let count = r.count(3)?;
        if count == 0 || level > LEVEL_MAX {
            return Err(r.bad(format!("level {level} with {count} items")));
        }
        let items = if level == 0 { parse_leaf(&mut r, count)? } else { parse_inner(&mut r, count)? };
        r.end()?;
        Ok(Self { level, items })
    }

    /// The smallest key.
    pub fn first(&self) -> &[u8] {
        match &self.items {
            NodeItems::Leaf(items) => items.first().map(|(key, _)| key.as_slice()),
            NodeItems::Inner(items) => items.first().map(|child| child.first.as_slice()),
        }
        .unwrap_or_default()
    }

    /// The largest key.
    pub fn last(&self) -> &[u8] {
        match &self.items {
            NodeItems::Leaf(items) => items.last().map(|(key, _)| key.as_slice()),
            NodeItems::Inner(items) => items.last().map(|child| child.first.as_slice()),
        }
        .unwrap_or_default()
    }
}

fn parse_leaf(r: &mut Reader<'_>, count: usize) -> wire::Result<NodeItems> {
    let mut items: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(count);
    for _ in 0..count {
        let key = take_key(r, items.last().map(|(key, _)| key.as_slice()))?;
        items.push((key, r.prefixed()?.to_vec()));
    }
    Ok(NodeItems::Leaf(items))
}

fn parse_inner(r: &mut Reader<'_>, count: usize) -> wire::Result<NodeItems> {
    let mut items: Vec<Child> = Vec::with_capacity(count);
    for _ in 0..count {
        let first = take_key(r, items.last().map(|child| child.first.as_slice()))?;
        items.push(Child { first, id: ChunkId::new(r.array()?), entries: r.varint()?, bytes: r.varint()? });
    }
    Ok(NodeItems::Inner(items))
}
