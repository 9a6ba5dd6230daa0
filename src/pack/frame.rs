//! The unit of sealing and reading: one big chunk, or many small ones compressed together.
//!
//! ```text
//! body := codec u8 ‖ count varint ‖ count × item ‖ stream
//! item := raw length × 2 (varint)
//!       | raw length × 2 + 1 (varint) ‖ rank u8 ‖ bases u8 ‖ bases × prefix(16)
//! ```
//! The stream holds the chunks' plaintexts one after another, compressed as one, or, of deltas (codec 2), the payloads,
//! each with its length before it. Ids are not repeated here: whoever decodes a frame knows them from the table or
//! index, or computes them again.

use super::delta::{Delta, Slice, decode_delta, take_slices};
use super::{ChunkInfo, FRAME_BYTES_MAX};
use crate::crypto::{ChunkKind, Identity, TAG_BYTES};
use crate::id::{ChunkId, ChunkPrefix};
use crate::seal::{Codec, Compressor, Decompressor};
use crate::wire::{Reader, Result, put_prefixed, put_varint};

/// Most chunks in one frame.
pub const FRAME_CHUNKS_MAX: usize = 16 << 10;
/// What stands in the place of a codec in a frame of deltas.
const DELTAS: u8 = 2;
const WHAT: &str = "frame";

/// A frame's body, ready to be sealed, and what is in it.
#[derive(Debug)]
pub struct Frame {
    /// What all its chunks are.
    pub kind: ChunkKind,
    /// The plain body.
    pub body: Vec<u8>,
    /// In order.
    pub chunks: Vec<ChunkInfo>,
}

/// The way back from a frame does not lead to what went in: bad memory or a broken codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyError {
    /// The chunk that came out wrong.
    pub chunk: ChunkPrefix,
}

/// Collects chunks of one kind.
#[derive(Debug)]
pub struct FrameBuilder {
    kind: ChunkKind,
    raw: Vec<u8>,
    /// For the next frame's body; kept, since large buffers that come and go leave holes in memory.
    room: Vec<u8>,
    chunks: Vec<ChunkInfo>,
}

/// Collects chunks of one kind that are stored as deltas.
#[derive(Debug)]
pub struct DeltaFrameBuilder {
    kind: ChunkKind,
    stream: Vec<u8>,
    raw_len: usize,
    chunks: Vec<ChunkInfo>,
}

impl DeltaFrameBuilder {
    /// An empty frame for chunks of this kind.
    pub fn new(kind: ChunkKind) -> Self {
        Self { kind, stream: Vec::new(), raw_len: 0, chunks: Vec::new() }
    }

    /// Whether a chunk may still be added to a frame of at most `target` stored bytes. An empty one takes any chunk.
    pub fn fits(&self, raw_len: usize, payload: &[u8], target: usize) -> bool {
        self.chunks.is_empty()
            || (self.stream.len() + payload.len() <= target
                && self.raw_len + raw_len <= FRAME_BYTES_MAX
                && self.chunks.len() < FRAME_CHUNKS_MAX)
    }

    /// Adds a chunk, which must fit. Whoever made the payload has decoded it again.
    pub fn push(&mut self, chunk: ChunkInfo, payload: &[u8]) {
        put_prefixed(&mut self.stream, payload);
        self.raw_len += chunk.raw_len as usize;
        self.chunks.push(chunk);
    }

    /// The frame, if anything was added. The builder is empty again afterwards.
    pub fn finish(&mut self) -> Option<Frame> {
        let stream = std::mem::take(&mut self.stream);
        let chunks = std::mem::take(&mut self.chunks);
        self.raw_len = 0;
        let mut body = Vec::with_capacity(stream.len() + 32 * chunks.len() + 64);
        put_head(DELTAS, &chunks, &mut body);
        body.extend_from_slice(&stream);
        (!chunks.is_empty()).then_some(Frame { kind: self.kind, body, chunks })
    }
}

/// A body's beginning.
fn put_head(codec: u8, chunks: &[ChunkInfo], out: &mut Vec<u8>) {
    out.push(codec);
    put_varint(out, chunks.len() as u64);
    chunks.iter().for_each(|chunk| chunk.delta.put_item(chunk.raw_len, out));
}

impl FrameBuilder {
    /// An empty frame for chunks of this kind.
    pub fn new(kind: ChunkKind) -> Self {
        Self { kind, raw: Vec::new(), room: Vec::new(), chunks: Vec::new() }
    }

    /// Adds a chunk, which must fit: see [`Self::fits`].
    pub fn push(&mut self, id: ChunkId, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        self.chunks.push(ChunkInfo { id: id.prefix(), raw_len: bytes.len() as u32, delta: Delta::default() });
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
        let first = frame.chunks.first().map_or(ChunkPrefix::ZERO, |chunk| chunk.id);
        // Into the place of what went in, of which nothing may be left to be taken for what comes out.
        self.raw.fill(0);
        let room = std::mem::take(&mut self.raw);
        let bytes =
            FrameBytes::decode_into(&frame.body, decompressor, room).map_err(|_| VerifyError { chunk: first })?;
        let mut found = identity.chunk_ids(self.kind, &bytes.chunks()).into_iter();
        for ChunkInfo { id, .. } in &frame.chunks {
            if found.next().map(|id| id.prefix()) != Some(*id) {
                return Err(VerifyError { chunk: *id });
            }
        }
        self.raw = bytes.bytes;
        self.raw.clear();
        Ok(frame)
    }

    fn encode(&mut self, compressor: Option<&mut Compressor>) -> Frame {
        let chunks = std::mem::take(&mut self.chunks);
        let mut body = std::mem::take(&mut self.room);
        put_head(Codec::Raw as u8, &chunks, &mut body);
        match compressor {
            Some(compressor) => body[0] = compressor.append(&self.raw, &mut body) as u8,
            None => {
                body.reserve(self.raw.len() + TAG_BYTES);
                body.extend_from_slice(&self.raw);
            }
        }
        Frame { kind: self.kind, body, chunks }
    }

    /// Takes back the room of a frame that was written, before anything is added.
    pub fn take_back(&mut self, frame: Frame) {
        (self.room, self.chunks) = (frame.body, frame.chunks);
        self.room.clear();
        self.chunks.clear();
    }
}

/// The chunks in a frame.
#[derive(Debug, Default)]
pub struct FrameBytes {
    /// Plaintexts, or payloads.
    bytes: Vec<u8>,
    places: Vec<std::ops::Range<usize>>,
    /// Length of each chunk, and how it is stored, in a frame of deltas.
    deltas: Vec<(u32, Delta)>,
}

/// One chunk in a frame.
#[derive(Debug)]
pub enum Stored<'f> {
    /// Its plaintext.
    Full(&'f [u8]),
    /// What makes it different from others.
    Delta(StoredDelta<'f>),
}

/// A chunk that needs others.
#[derive(Clone, Copy, Debug)]
pub struct StoredDelta<'f> {
    /// Length of its plaintext, bytes.
    pub raw_len: u32,
    /// What it needs.
    pub delta: &'f Delta,
    payload: &'f [u8],
}

impl StoredDelta<'_> {
    /// Makes `out` the plaintext, where these are the bases' plaintexts, in order. It is bounded, but not yet proven:
    /// compare its id.
    pub fn decode(&self, bases: &[&[u8]], decompressor: &mut Decompressor, out: &mut Vec<u8>) -> Result<()> {
        decode_delta(self.payload, self.raw_len, bases, decompressor, out)
    }

    /// The parts of its bases that it refers to; none: all of them.
    pub fn slices(&self) -> Result<Vec<Slice>> {
        take_slices(&mut Reader::new(self.payload, WHAT))
    }

    /// What is stored of it.
    pub fn payload(&self) -> &[u8] {
        self.payload
    }
}

impl FrameBytes {
    /// Decodes a body. What comes back is bounded, but not yet proven: compare each chunk's id.
    pub fn decode(body: &[u8], decompressor: &mut Decompressor) -> Result<Self> {
        Self::decode_into(body, decompressor, Vec::new())
    }

    /// The same, into a buffer that is at hand.
    fn decode_into(body: &[u8], decompressor: &mut Decompressor, mut bytes: Vec<u8>) -> Result<Self> {
        let mut r = Reader::new(body, WHAT);
        let codec = r.u8()?;
        let count = r.count(1)?;
        if count == 0 || count > FRAME_CHUNKS_MAX {
            return Err(r.bad(format!("{count} chunks, 1 to {FRAME_CHUNKS_MAX} expected")));
        }
        let items = (0..count).map(|_| Delta::take_item(&mut r)).collect::<Result<Vec<_>>>()?;
        let total = items.iter().map(|(raw_len, _)| *raw_len as usize).sum();
        if total > FRAME_BYTES_MAX {
            return Err(r.bad(format!("more than {FRAME_BYTES_MAX} raw bytes")));
        }
        if items.iter().any(|(_, delta)| (delta.rank > 0) != (codec == DELTAS)) {
            return Err(r.bad("deltas among other chunks"));
        }
        if codec == DELTAS {
            return Self::payloads(r, items);
        }
        bytes.clear();
        decompressor.append(Codec::from_u8(codec)?, r.bytes(r.remaining())?, total, &mut bytes)?;
        let mut end = 0;
        let place = |(raw_len, _): (u32, Delta)| {
            end += raw_len as usize;
            end - raw_len as usize..end
        };
        Ok(Self { bytes, places: items.into_iter().map(place).collect(), deltas: Vec::new() })
    }

    fn payloads(mut r: Reader<'_>, deltas: Vec<(u32, Delta)>) -> Result<Self> {
        let (mut bytes, mut places) = (Vec::with_capacity(r.remaining()), Vec::with_capacity(deltas.len()));
        for _ in &deltas {
            let start = bytes.len();
            bytes.extend_from_slice(r.prefixed()?);
            places.push(start..bytes.len());
        }
        r.end()?;
        Ok(Self { bytes, places, deltas })
    }

    /// How many chunks there are.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// What it takes in memory, about; bytes.
    pub fn len(&self) -> usize {
        self.bytes.len() + 64 * self.deltas.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The plaintext of the n-th chunk, if it is stored whole.
    pub fn chunk(&self, n: usize) -> Option<&[u8]> {
        match self.stored(n)? {
            Stored::Full(bytes) => Some(bytes),
            Stored::Delta(_) => None,
        }
    }

    /// The plaintexts of all chunks; none where they are stored as deltas.
    pub fn chunks(&self) -> Vec<&[u8]> {
        (0..self.count()).map_while(|n| self.chunk(n)).collect()
    }

    /// The n-th chunk.
    pub fn stored(&self, n: usize) -> Option<Stored<'_>> {
        let bytes = self.bytes.get(self.places.get(n)?.clone())?;
        Some(match self.deltas.get(n) {
            None => Stored::Full(bytes),
            Some((raw_len, delta)) => Stored::Delta(StoredDelta { raw_len: *raw_len, delta, payload: bytes }),
        })
    }
}
