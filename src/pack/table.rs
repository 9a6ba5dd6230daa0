//! What lies in each frame of a pack, as the pack itself and an index object say it.
//!
//! [`Table`] is for those who read, [`StoredTable`] for those who write.
//!
//! ```text
//! table := frames varint ‖ frames × (kind u8 ‖ stored length varint ‖ chunks varint)
//!          ‖ chunks × item, as in the frames ‖ chunks × prefix(16)
//! ```

use super::delta::Delta;
use super::{FRAME_BYTES_MAX, HEAD_BYTES};
use crate::crypto::{ChunkKind, TAG_BYTES};
use crate::id::ChunkPrefix;
use crate::pack::frame::FRAME_CHUNKS_MAX;
use crate::wire::{Malformed, Reader, Result, put_varint};

/// Longest stored frame: its raw limit, the items, and room for a codec that makes it longer.
const FRAME_STORED_MAX: u64 = FRAME_BYTES_MAX as u64 + (1 << 20);

/// One chunk in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkInfo {
    /// Which: that is enough to find it, and who uses it compares its whole id.
    pub id: ChunkPrefix,
    /// Length of its plaintext, bytes.
    pub raw_len: u32,
    /// What it is stored as a difference to, if it is.
    pub delta: Delta,
}

/// One frame in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    /// What its chunks are.
    pub kind: ChunkKind,
    /// Offset in the pack, bytes. Not stored: frames lie one after another.
    pub offset: u64,
    /// Length in the pack, tag included, bytes.
    pub stored_len: u32,
    /// In order.
    pub chunks: Vec<ChunkInfo>,
}

/// The frames of a pack, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// In order of their ordinals.
    pub frames: Vec<FrameInfo>,
}

impl Table {
    /// Where the frames end, which is where the next one goes.
    pub fn end(&self) -> u64 {
        self.frames.last().map_or(HEAD_BYTES as u64, |frame| frame.offset + u64::from(frame.stored_len))
    }

    /// Number of chunks.
    pub fn count(&self) -> usize {
        self.frames.iter().map(|frame| frame.chunks.len()).sum()
    }

    /// All chunks with their frames' ordinals and their places in them.
    pub fn chunks(&self) -> impl Iterator<Item = (u32, u32, ChunkKind, &ChunkInfo)> {
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
            out.extend_from_slice(chunk.id.as_bytes());
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
            if size == 0 || size > FRAME_CHUNKS_MAX || size * (1 + ChunkPrefix::LEN) > r.remaining() {
                return Err(r.bad(format!("a frame of {size} chunks")));
            }
            frame.chunks = Self::items(&mut r, size)?;
        }
        for chunk in table.frames.iter_mut().flat_map(|frame| &mut frame.chunks) {
            chunk.id = ChunkPrefix::new(r.array()?);
        }
        r.end()?;
        Ok(table)
    }

    fn items(r: &mut Reader<'_>, count: usize) -> Result<Vec<ChunkInfo>> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            let (raw_len, delta) = Delta::take_item(r)?;
            items.push(ChunkInfo { id: ChunkPrefix::ZERO, raw_len, delta });
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
    ids: Vec<u8>,
}

impl StoredTable {
    /// Adds a frame behind the others.
    pub fn push(&mut self, kind: ChunkKind, stored_len: u32, chunks: &[ChunkInfo]) {
        self.frames += 1;
        self.chunks += chunks.len();
        self.frame_bytes += u64::from(stored_len);
        put_head(kind, stored_len, chunks.len(), &mut self.heads);
        for chunk in chunks {
            chunk.delta.put_item(chunk.raw_len, &mut self.items);
            self.ids.extend_from_slice(chunk.id.as_bytes());
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

    /// Bytes of the stored form, at most.
    pub fn stored_len(&self) -> usize {
        5 + self.heads.len() + self.items.len() + self.ids.len()
    }

    /// Appends the stored form.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.frames as u64);
        [&self.heads, &self.items, &self.ids].into_iter().for_each(|part| out.extend_from_slice(part));
    }
}

fn put_head(kind: ChunkKind, stored_len: u32, chunks: usize, out: &mut Vec<u8>) {
    out.push(kind as u8);
    put_varint(out, u64::from(stored_len));
    put_varint(out, chunks as u64);
}
