//! The unit of sealing and reading: one big chunk, or many small ones compressed together.
//!
//! ```text
//! body := codec u8 ‖ count varint ‖ count × item ‖ stream
//! item := raw length × 2 (varint); odd numbers are kept for deltas
//! ```
//! The stream holds the chunks' plaintexts one after another, compressed as one. Ids are not repeated here: whoever
//! decodes a frame knows them from the table or index, or computes them again.

use super::FRAME_BYTES_MAX;
use crate::crypto::{ChunkKind, Identity};
use crate::id::ChunkId;
use crate::seal::{Codec, Compressor, Decompressor};
use crate::wire::{Malformed, Reader, Result, put_varint};

/// Most chunks in one frame.
pub const FRAME_CHUNKS_MAX: usize = 16 << 10;
const WHAT: &str = "frame";

/// A frame's body, ready to be sealed, and what is in it.
#[derive(Debug)]
pub struct Frame {
    /// What all its chunks are.
    pub kind: ChunkKind,
    /// The plain body.
    pub body: Vec<u8>,
    /// Id and raw length of each chunk, in order.
    pub chunks: Vec<(ChunkId, u32)>,
}

/// The way back from a frame does not lead to what went in: bad memory or a broken codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyError {
    /// The chunk that came out wrong.
    pub chunk: ChunkId,
}

/// Collects chunks of one kind.
#[derive(Debug)]
pub struct FrameBuilder {
    kind: ChunkKind,
    raw: Vec<u8>,
    chunks: Vec<(ChunkId, u32)>,
}

impl FrameBuilder {
    /// An empty frame for chunks of this kind.
    pub fn new(kind: ChunkKind) -> Self {
        Self { kind, raw: Vec::new(), chunks: Vec::new() }
    }

    /// Adds a chunk, which must fit: see [`Self::fits`].
    pub fn push(&mut self, id: ChunkId, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        self.chunks.push((id, bytes.len() as u32));
    }

    /// Whether a chunk of this length may still be added to a frame of at most `target` raw bytes. An empty frame
    /// takes any chunk.
    pub fn fits(&self, len: usize, target: usize) -> bool {
        self.chunks.is_empty() || (self.raw.len() + len <= target && self.chunks.len() < FRAME_CHUNKS_MAX)
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Raw bytes so far.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Compresses (or not, if `compressor` is none), decodes the result again and compares every chunk's id, so that
    /// what is stored has been read once before it is trusted. The builder is empty again afterwards.
    pub fn finish(
        &mut self,
        compressor: Option<&mut Compressor>,
        decompressor: &mut Decompressor,
        identity: &Identity,
    ) -> std::result::Result<Frame, VerifyError> {
        let frame = self.encode(compressor);
        let first = frame.chunks.first().map_or(ChunkId::ZERO, |(id, _)| *id);
        let bytes = FrameBytes::decode(&frame.body, decompressor).map_err(|_| VerifyError { chunk: first })?;
        for (n, (id, _)) in frame.chunks.iter().enumerate() {
            if bytes.chunk(n).is_none_or(|chunk| identity.chunk_id(self.kind, chunk) != *id) {
                return Err(VerifyError { chunk: *id });
            }
        }
        self.raw.clear();
        Ok(frame)
    }

    fn encode(&mut self, compressor: Option<&mut Compressor>) -> Frame {
        let chunks = std::mem::take(&mut self.chunks);
        let mut body = Vec::with_capacity(self.raw.len() + 4 * chunks.len() + 64);
        body.push(Codec::Raw as u8);
        put_varint(&mut body, chunks.len() as u64);
        for (_, len) in &chunks {
            put_varint(&mut body, u64::from(*len) << 1);
        }
        match compressor {
            Some(compressor) => body[0] = compressor.append(&self.raw, &mut body) as u8,
            None => body.extend_from_slice(&self.raw),
        }
        Frame { kind: self.kind, body, chunks }
    }
}

/// The plaintexts in a frame.
#[derive(Debug, Default)]
pub struct FrameBytes {
    raw: Vec<u8>,
    ends: Vec<usize>,
}

impl FrameBytes {
    /// Decodes a body. What comes back is bounded, but not yet proven: compare each chunk's id.
    pub fn decode(body: &[u8], decompressor: &mut Decompressor) -> Result<Self> {
        let mut r = Reader::new(body, WHAT);
        let codec = Codec::from_u8(r.u8()?)?;
        let count = r.count(1)?;
        if count == 0 || count > FRAME_CHUNKS_MAX {
            return Err(r.bad(format!("{count} chunks, 1 to {FRAME_CHUNKS_MAX} expected")));
        }
        let mut ends = Vec::with_capacity(count);
        let mut total = 0;
        for _ in 0..count {
            let item = r.varint_to(FRAME_BYTES_MAX as u64 * 2 + 1)?;
            if item & 1 == 1 {
                return Err(Malformed::Newer { what: "a delta chunk".into() });
            }
            total += (item >> 1) as usize;
            if item == 0 {
                return Err(r.bad("an empty chunk"));
            }
            if total > FRAME_BYTES_MAX {
                return Err(r.bad(format!("more than {FRAME_BYTES_MAX} raw bytes")));
            }
            ends.push(total);
        }
        let mut raw = Vec::new();
        decompressor.append(codec, r.bytes(r.remaining())?, total, &mut raw)?;
        Ok(Self { raw, ends })
    }

    /// How many chunks there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// All plaintexts together, bytes.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The plaintext of the n-th chunk.
    pub fn chunk(&self, n: usize) -> Option<&[u8]> {
        let end = *self.ends.get(n)?;
        let start = if n == 0 { 0 } else { self.ends[n - 1] };
        self.raw.get(start..end)
    }
}
