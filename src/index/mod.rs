//! Where each chunk lies: sealed catalogues of some packs' tables.
//!
//! An index object is a copy, made for speed. The truth is the packs' own tables; deleting every index object loses
//! nothing. An object may supersede others (at most [`SUPERSEDES_MAX`]), whose packs it then lists itself.

mod live;

pub use live::{Live, StoredCopy, live};

use crate::id::ObjectId;
use crate::pack::{PACK_BYTES_MAX, StoredTable, Table};
use crate::wire::{self, Fields, Malformed, Reader, Record, Unknown, critical, put_varint};

/// Most objects that one may supersede.
pub const SUPERSEDES_MAX: usize = 64;
const WHAT: &str = "index";
const SUPERSEDES: u64 = critical(1);
const PACK: u64 = critical(2);

/// One pack in a catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackEntry {
    /// Its name.
    pub id: ObjectId,
    /// Its stored length, bytes.
    pub size: u64,
    /// What lies in it.
    pub table: Table,
}

/// The content of an index object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Objects that this one replaces.
    pub supersedes: Vec<ObjectId>,
    /// The packs.
    pub packs: Vec<PackEntry>,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl Index {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        for id in &self.supersedes {
            record.bytes(SUPERSEDES, id.as_bytes());
        }
        for pack in &self.packs {
            let mut value = Vec::new();
            put_pack(&pack.id, pack.size, &mut value);
            pack.table.put(&mut value);
            record.bytes(PACK, &value);
        }
        record.finish()
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let mut new = Self::default();
        for field in Fields::new(bytes, WHAT) {
            let field = field?;
            let mut r = field.reader(WHAT);
            match field.tag {
                SUPERSEDES => {
                    new.supersedes.push(ObjectId::new(r.array()?));
                    r.end()?;
                }
                PACK => new.packs.push(Self::parse_pack(r)?),
                _ => new.unknown.push(field.unknown(WHAT)?),
            }
        }
        if new.supersedes.len() > SUPERSEDES_MAX {
            return Err(Malformed::bad(WHAT, format!("it supersedes {} others", new.supersedes.len())));
        }
        Ok(new)
    }

    fn parse_pack(mut r: Reader<'_>) -> wire::Result<PackEntry> {
        let id = ObjectId::new(r.array()?);
        let size = r.varint_to(PACK_BYTES_MAX)?;
        let table = Table::parse(r)?;
        if table.end() > size {
            return Err(Malformed::bad(WHAT, format!("frames up to {} in a pack of {size} bytes", table.end())));
        }
        Ok(PackEntry { id, size, table })
    }
}

/// What stands before a pack's table.
fn put_pack(id: &ObjectId, size: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(id.as_bytes());
    put_varint(out, size);
}

/// An index object in its stored form, pack by pack: about a third of what an [`Index`] takes, in one piece.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    bytes: Vec<u8>,
    packs: usize,
    chunks: usize,
}

impl IndexBuilder {
    /// Adds a new pack.
    pub fn push(&mut self, id: &ObjectId, size: u64, table: &StoredTable) {
        self.field(table.chunks(), |out| {
            put_pack(id, size, out);
            table.put(out);
        });
    }

    /// Adds a pack that was there.
    pub fn push_entry(&mut self, pack: &PackEntry) {
        self.field(pack.table.count(), |out| {
            put_pack(&pack.id, pack.size, out);
            pack.table.put(out);
        });
    }

    fn field(&mut self, chunks: usize, put: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        put(&mut self.bytes);
        let mut head = Vec::new();
        put_varint(&mut head, PACK);
        put_varint(&mut head, (self.bytes.len() - start) as u64);
        self.bytes.splice(start..start, head);
        self.packs += 1;
        self.chunks += chunks;
    }

    /// Number of packs.
    pub fn packs(&self) -> usize {
        self.packs
    }

    /// Number of chunks in them.
    pub fn chunks(&self) -> usize {
        self.chunks
    }

    /// What is stored of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins the next one. Its room is kept, since large buffers that come and go leave holes in memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.packs, self.chunks) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::ChunkKind;
    use crate::id::ChunkPrefix;
    use crate::pack::{ChunkInfo, Delta, FrameInfo, HEAD_BYTES};
    use proptest::prelude::*;

    fn table(shape: &[Vec<u32>]) -> Table {
        let mut table = Table::default();
        for (f, lens) in shape.iter().enumerate() {
            let chunks = lens
                .iter()
                .enumerate()
                .map(|(c, raw_len)| {
                    let bases = (0..c % 3).map(|n| ChunkPrefix::new([n as u8; 16])).collect();
                    let delta = Delta { rank: (c % 3) as u8, bases };
                    ChunkInfo { id: ChunkPrefix::new([(f * 16 + c) as u8; 16]), raw_len: *raw_len, delta }
                })
                .collect();
            let offset = table.end();
            table.frames.push(FrameInfo { kind: ChunkKind::ALL[f % 4], offset, stored_len: 100 + f as u32, chunks });
        }
        table
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(shape in prop::collection::vec(prop::collection::vec(1u32..1 << 24, 1..9), 0..9)) {
            let table = table(&shape);
            let size = table.end() + 77;
            let index = Index {
                supersedes: vec![ObjectId::new([9; 32])],
                packs: vec![PackEntry { id: ObjectId::new([1; 32]), size, table }],
                unknown: vec![(20, b"later".to_vec())],
            };
            prop_assert_eq!(Index::parse(&index.encode()), Ok(index));
        }

        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Index::parse(&bytes);
        }
    }

    #[test]
    fn an_index_that_is_built_pack_by_pack_is_the_same() {
        let packs: Vec<PackEntry> = [&[vec![1; 300]][..], &[], &[vec![7, 8], vec![9]]]
            .map(|shape| PackEntry { id: ObjectId::new([1; 32]), size: 1 << 20, table: table(shape) })
            .to_vec();
        let mut builder = IndexBuilder::default();
        for _ in 0..2 {
            packs.iter().for_each(|pack| builder.push_entry(pack));
            assert_eq!((builder.packs(), builder.chunks()), (3, 303));
            assert_eq!(builder.bytes(), Index { packs: packs.clone(), ..Index::default() }.encode());
            builder.clear();
        }
    }

    #[test]
    fn frames_must_lie_within_their_pack() {
        let entry = PackEntry { id: ObjectId::ZERO, size: HEAD_BYTES as u64 + 99, table: table(&[vec![1]]) };
        assert!(Index::parse(&Index { packs: vec![entry], ..Index::default() }.encode()).is_err());
    }
}
