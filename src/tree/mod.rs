//! A source's sorted entries, path → metadata and content, cut into nodes: a prolly tree.
//!
//! Paths are relative to the source's root, raw bytes, components joined by `/`, and compared with `/` as the
//! smallest byte: a directory stands directly before its whole subtree. The empty path is the root directory itself.
//! Nodes end where a keyed hash of a key says so (within hard bounds), so equal ranges of two snapshots are equal
//! nodes, whatever lies around them. Node ids are chunk ids: a tree is a Merkle tree, and its root's id names all.
//!
//! Pure code: nodes come from a [`Fetch`] and go to a [`Store`].

mod build;
mod entry;
mod list;
mod node;
mod path;
mod read;

pub use build::{Leaf, Root, TreeBuilder};
pub use entry::{
    INLINE_BYTES_MAX, Large, StoredEntry, decode_extents, decode_xattrs, encode_content, encode_extents, encode_xattrs,
};
pub use list::{ChunkList, DIRECT_CHUNKS_MAX, ListBuilder};
pub use node::{Child, NODE_BYTES_MAX, Node, NodeItems};
pub use path::{check_path, compare_paths, is_below};
pub use read::{Fetch, Found, ReadError, TreeDiff, TreeWalk, Visit, lookup, node_at};

use crate::crypto::ChunkKind;
use crate::id::ChunkId;

/// Where new chunks go.
pub trait Store {
    /// What can go wrong.
    type Error;
    /// Stores a chunk unless it is there already, and returns its id.
    fn store(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId, Self::Error>;
}

#[cfg(test)]
mod tests;
