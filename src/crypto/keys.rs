//! The key hierarchy: a root that gives chunks their identity, and epochs that seal.
//!
//! ```text
//! root (outlives epochs) ─► chunk ids per kind · chunker table · tree boundaries · hard-link groups · config MAC · caches
//! epoch secret (rotates) ─► one wrapping key per audience: content · summary · index
//! ```

use std::collections::BTreeMap;

use super::Secret;
use crate::id::ChunkId;

/// What a chunk holds. Kinds have id keys of their own, so that none can be served as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ChunkKind {
    /// File and stream content.
    Data = 1,
    /// A node of a tree.
    Node = 2,
    /// A list of chunks.
    List = 3,
    /// Something too large for its entry: extended attributes, extents.
    Attr = 4,
}

impl ChunkKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Data, Self::Node, Self::List, Self::Attr];

    /// The kind stored under this number.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Whether it is metadata, which is kept in packs of its own.
    pub fn is_meta(self) -> bool {
        self != Self::Data
    }
}

/// Who may read a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Audience {
    /// Holders of a restore key: frames, pack tables, snapshot bodies.
    Content = 1,
    /// Holders of a list key: summaries, notes.
    Summary = 2,
    /// Writers that deduplicate: index objects.
    Index = 3,
}

impl Audience {
    /// All audiences.
    pub const ALL: [Self; 3] = [Self::Content, Self::Summary, Self::Index];

    /// The audience stored under this number.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|audience| *audience as u8 == number)
    }
}

/// The keys derived from the root: they say what is the same, and never change.
#[derive(Debug)]
pub struct Identity {
    ids: [Secret; 4],
    /// Fills the chunker's gear table.
    pub chunker: Secret,
    /// Chooses where tree nodes and chunk lists end.
    pub boundary: Secret,
    /// Names groups of hard links.
    pub links: Secret,
    /// Authenticates the configuration.
    pub config: Secret,
    /// Seals this machine's caches.
    pub cache: Secret,
}

impl Identity {
    /// The keys below this root.
    pub fn derive(root: &Secret) -> Self {
        Self {
            ids: ChunkKind::ALL.map(|kind| root.derive("larder v1 chunk id", &[kind as u8])),
            chunker: root.derive("larder v1 chunker", b""),
            boundary: root.derive("larder v1 boundary", b""),
            links: root.derive("larder v1 hard links", b""),
            config: root.derive("larder v1 config", b""),
            cache: root.derive("larder v1 cache", b""),
        }
    }

    /// The id of a chunk of this kind with this plaintext.
    pub fn chunk_id(&self, kind: ChunkKind, plaintext: &[u8]) -> ChunkId {
        ChunkId::new(self.ids[kind as usize - 1].hash(plaintext))
    }

    /// The ids of chunks of one kind, in order: many short ones at once take less time.
    pub fn chunk_ids(&self, kind: ChunkKind, plaintexts: &[&[u8]]) -> Vec<ChunkId> {
        self.ids[kind as usize - 1].hash_many(plaintexts).into_iter().map(ChunkId::new).collect()
    }
}

/// The wrapping keys of one epoch.
#[derive(Debug)]
pub struct EpochKeys([Secret; 3]);

impl EpochKeys {
    /// The keys below this epoch's secret.
    pub fn derive(secret: &Secret) -> Self {
        Self(Audience::ALL.map(|audience| secret.derive("larder v1 audience", &[audience as u8])))
    }

    /// The key for one audience.
    pub fn audience(&self, audience: Audience) -> &Secret {
        &self.0[audience as usize - 1]
    }
}

/// All keys that an opened slot gives.
#[derive(Debug)]
pub struct Keyring {
    root: Secret,
    secrets: BTreeMap<u32, Secret>,
    /// Keys of the repository's identity.
    pub identity: Identity,
    epochs: BTreeMap<u32, EpochKeys>,
}

impl Keyring {
    /// The keys below a root and its epochs.
    pub fn new(root: Secret, secrets: BTreeMap<u32, Secret>) -> Self {
        let epochs = secrets.iter().map(|(epoch, secret)| (*epoch, EpochKeys::derive(secret))).collect();
        Self { identity: Identity::derive(&root), root, secrets, epochs }
    }

    /// The root and the epochs' secrets, to be wrapped in a slot.
    pub fn expose(&self) -> (&Secret, &BTreeMap<u32, Secret>) {
        (&self.root, &self.secrets)
    }

    /// The newest epoch, which new objects are sealed under.
    pub fn epoch(&self) -> u32 {
        self.epochs.keys().next_back().copied().unwrap_or(0)
    }

    /// The keys of an epoch, if this slot has them.
    pub fn epoch_keys(&self, epoch: u32) -> Option<&EpochKeys> {
        self.epochs.get(&epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_another_chunk_in_another_kind_or_repository() {
        let a = Identity::derive(&Secret::new([1; 32]));
        let b = Identity::derive(&Secret::new([2; 32]));
        let ids: std::collections::BTreeSet<_> =
            ChunkKind::ALL.iter().flat_map(|kind| [a.chunk_id(*kind, b"x"), b.chunk_id(*kind, b"x")]).collect();
        assert_eq!(ids.len(), 8);
    }
}
