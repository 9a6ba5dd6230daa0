//! What lies in each frame of a pack: full ids in the pack itself, 16-byte prefixes in index objects.
//!
//! [`Table`] is for those who read, [`StoredTable`] for those who write.
//!
//! ```text
//! table := frames varint ‖ frames × (kind u8 ‖ stored length varint ‖ chunks varint)
//!          ‖ chunks × item, as in the frames ‖ chunks × id
//! ```

use super::delta::Delta;
use super::{FRAME_BYTES_MAX, HEAD_BYTES};
use crate::crypto::{ChunkKind, TAG_BYTES};
use crate::id::{ChunkId, ChunkPrefix};
use crate::pack::frame::FRAME_CHUNKS_MAX;
use crate::wire::{Malformed, Reader, Result, put_varint};

/// Longest stored frame: its raw limit, the items, and room for a codec that makes it longer.
const FRAME_STORED_MAX: u64 = FRAME_BYTES_MAX as u64 + (1 << 20);

/// The two widths of ids in tables.
pub trait TableId: Copy + Default + Eq {
    /// Bytes.
    const LEN: usize;
    /// Appends the bytes.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads the bytes.
    fn take(reader: &mut Reader<'_>) -> Result<Self>;
}

macro_rules! table_id {
    ($name:ident) => {
        impl TableId for $name {
            const LEN: usize = $name::LEN;
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.as_bytes());
            }
            fn take(reader: &mut Reader<'_>) -> Result<Self> {
                Ok(Self::new(reader.array()?))
            }
        }
    };
}
table_id!(ChunkId);
table_id!(ChunkPrefix);

/// One chunk in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkInfo<Id> {
    /// Which.
    pub id: Id,
    /// Length of its plaintext, bytes.
    pub raw_len: u32,
    /// What it is stored as a difference to, if it is.
    pub delta: Delta,
}

/// One frame in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameInfo<Id> {
    /// What its chunks are.
    pub kind: ChunkKind,
    /// Offset in the pack, bytes. Not stored: frames lie one after another.
    pub offset: u64,
    /// Length in the pack, tag included, bytes.
    pub stored_len: u32,
    /// In order.
    pub chunks: Vec<ChunkInfo<Id>>,
}

/// The frames of a pack, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table<Id> {
    /// In order of their ordinals.
    pub frames: Vec<FrameInfo<Id>>,
}

impl<Id: TableId> Table<Id> {
    /// Where the frames end, which is where the next one goes.
    pub fn end(&self) -> u64 {
        self.frames.last().map_or(HEAD_BYTES as u64, |frame| frame.offset + u64::from(frame.stored_len))
    }

    /// Number of chunks.
    pub fn count(&self) -> usize {
        self.frames.iter().map(|frame| frame.chunks.len()).sum()
    }

    /// All chunks with their frames' ordinals and their places in them.
    pub fn chunks(&self) -> impl Iterator<Item = (u32, u32, ChunkKind, &ChunkInfo<Id>)> {
        self.frames.iter().enumerate().flat_map(|(f, frame)| {
            frame.chunks.iter().enumerate().map(move |(c, chunk)| (f as u32, c as u32, frame.kind, chunk))
        })
    }

    /// Appends the stored form.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.frames.len() as u64);
        for frame in &self.frames {
            put_head(frame.kind, frame.stored_len, frame.chunks.len(), out);
        }
        for (_, _, _, chunk) in self.chunks() {
            chunk.delta.put_item(chunk.raw_len, out);
        }
        for (_, _, _, chunk) in self.chunks() {
            chunk.id.put(out);
        }
    }

    /// Reads a stored table, to its end.
    pub fn parse(mut r: Reader<'_>) -> Result<Self> {
        let mut table = Self { frames: Vec::new() };
        let count = r.count(3)?;
        let mut sizes = Vec::with_capacity(count);
        for _ in 0..count {
            let number = r.u8()?;
            let kind = ChunkKind::from_u8(number)
                .ok_or_else(|| Malformed::Newer { what: format!("a frame of chunk kind {number}") })?;
            let stored_len = r.varint_to(FRAME_STORED_MAX)? as u32;
            if (stored_len as usize) < TAG_BYTES {
                return Err(r.bad(format!("a frame of {stored_len} bytes")));
            }
            table.frames.push(FrameInfo { kind, offset: table.end(), stored_len, chunks: Vec::new() });
            sizes.push(r.count(1)?.min(FRAME_CHUNKS_MAX + 1));
        }
        for (frame, size) in table.frames.iter_mut().zip(sizes) {
            if size == 0 || size > FRAME_CHUNKS_MAX || size * (1 + Id::LEN) > r.remaining() {
                return Err(r.bad(format!("a frame of {size} chunks")));
            }
            frame.chunks = Self::items(&mut r, size)?;
        }
        for chunk in table.frames.iter_mut().flat_map(|frame| &mut frame.chunks) {
            chunk.id = Id::take(&mut r)?;
        }
        r.end()?;
        Ok(table)
    }

    fn items(r: &mut Reader<'_>, count: usize) -> Result<Vec<ChunkInfo<Id>>> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            let (raw_len, delta) = Delta::take_item(r)?;
            items.push(ChunkInfo { id: Id::default(), raw_len, delta });
        }
        Ok(items)
    }
}

/// A table in its stored form, frame by frame: about half of what a [`Table`] takes, in few pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredTable {
    frames: usize,
    chunks: usize,
    /// Bytes of all frames.
    frame_bytes: u64,
    heads: Vec<u8>,
    items: Vec<u8>,
    /// Full ones.
    ids: Vec<u8>,
}

impl StoredTable {
    /// Adds a frame behind the others.
    pub fn push(&mut self, kind: ChunkKind, stored_len: u32, chunks: &[ChunkInfo<ChunkId>]) {
        self.frames += 1;
        self.chunks += chunks.len();
        self.frame_bytes += u64::from(stored_len);
        put_head(kind, stored_len, chunks.len(), &mut self.heads);
        for chunk in chunks {
            chunk.delta.put_item(chunk.raw_len, &mut self.items);
            chunk.id.put(&mut self.ids);
        }
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Number of chunks.
    pub fn chunks(&self) -> usize {
        self.chunks
    }

    /// Where the frames end, which is where the next one goes.
    pub fn end(&self) -> u64 {
        HEAD_BYTES as u64 + self.frame_bytes
    }

    /// Appends it as packs hold it.
    pub fn put(&self, out: &mut Vec<u8>) {
        self.put_to_ids(out);
        out.extend_from_slice(&self.ids);
    }

    /// Appends it as indexes hold it.
    pub fn put_prefixes(&self, out: &mut Vec<u8>) {
        self.put_to_ids(out);
        self.ids.as_chunks().0.iter().for_each(|id| ChunkId::new(*id).prefix().put(out));
    }

    fn put_to_ids(&self, out: &mut Vec<u8>) {
        put_varint(out, self.frames as u64);
        out.extend_from_slice(&self.heads);
        out.extend_from_slice(&self.items);
    }
}

fn put_head(kind: ChunkKind, stored_len: u32, chunks: usize, out: &mut Vec<u8>) {
    out.push(kind as u8);
    put_varint(out, u64::from(stored_len));
    put_varint(out, chunks as u64);
}

impl Table<ChunkId> {
    /// The same table with the ids' prefixes, as indexes hold it.
    pub fn to_prefixes(&self) -> Table<ChunkPrefix> {
        Table { frames: self.frames.iter().map(FrameInfo::to_prefixes).collect() }
    }
}

impl FrameInfo<ChunkId> {
    /// The same frame with the ids' prefixes, as indexes hold it.
    pub fn to_prefixes(&self) -> FrameInfo<ChunkPrefix> {
        let Self { kind, offset, stored_len, ref chunks } = *self;
        let narrow = |chunk: &ChunkInfo<ChunkId>| {
            let ChunkInfo { id, raw_len, delta } = chunk.clone();
            ChunkInfo { id: id.prefix(), raw_len, delta }
        };
        FrameInfo { kind, offset, stored_len, chunks: chunks.iter().map(narrow).collect() }
    }
}
