//! Chunks into a repository: once each, compressed together, sealed into packs, catalogued.
//!
//! Workers share one [`ChunkWriter`] and own a [`FrameWriter`] each. A pack is complete on disk before an index object
//! names it; [`ChunkWriter::finish`] returns when all of that survives a power cut.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::claims::Claims;
use super::delta::Again;
use super::encode::{Encoded, Encoder, New, Tools, came_out_wrong};
use super::{Catalogue, ChunkReader, Folder, Session, unopened};
use crate::chunk::BLOCK_BYTES;
use crate::clock;
use crate::crypto::{Audience, ChunkKind};
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, ObjectId};
use crate::index::IndexBuilder;
use crate::pack::{ChunkInfo, DeltaFrameBuilder, Frame, FrameBuilder, PackBuilder};
use crate::seal::{Compressor, Decompressor, Header, ObjectKind, Probe};
use crate::storage::Upload;
use crate::tree::Store;

/// Data packs open at a time. Frames go to them at random, so that a storage provider cannot line up sizes with files.
const DATA_PACKS: usize = 2;
/// A pack is about this part of the repository, between these lengths in bytes: what a killed run has to store again
/// is the packs that were open.
const PACK_SHARE: u64 = 64;
const PACK_BYTES: std::ops::RangeInclusive<u64> = 4 << 20..=32 << 20;
/// Shorter, though not than this, where so much compresses to it that a killed run would have more than so many times that
/// part to read again.
const PACK_DENSITY: u64 = 4;
const PACK_BYTES_DENSE: u64 = 1 << 20;
/// And of at most so many chunks, since their ids are in memory until it ends: some 600 KB.
const PACK_CHUNKS: usize = 16 << 10;
/// A pack ends early where less than this part of it is padding beyond what it needs.
const PACK_SPARE: u64 = 512;
/// An index object is written for so many packs or chunks, or after so long, whatever comes first.
const INDEX_PACKS: usize = 8;
const INDEX_CHUNKS: usize = 32 << 10;
const INDEX_INTERVAL: Duration = Duration::from_secs(60);
/// Raw bytes of data chunks compressed together.
const DATA_FRAME_BYTES: usize = 2 << 20;
/// Raw bytes of blocks of databases or lists compressed together: less, because they are read one at a time.
const SMALL_FRAME_BYTES: usize = 256 << 10;
/// The same of tree nodes: mostly one, since what takes a frame takes all that is in it.
const NODE_FRAME_BYTES: usize = 16 << 10;
/// Stored bytes of deltas that are sealed together.
const DELTA_FRAME_BYTES: usize = 8 << 10;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Chunks that were new.
    pub chunks: u64,
    /// Their plaintexts, bytes.
    pub raw_bytes: u64,
}

struct OpenPack {
    builder: PackBuilder,
    upload: Box<dyn Upload>,
    raw_bytes: u64,
}

#[derive(Default)]
struct Pending {
    /// Packs that no index object names yet.
    index: IndexBuilder,
    since: Duration,
    /// All packs that this run wrote.
    written: Vec<ObjectId>,
}

/// The shared side of writing.
pub struct ChunkWriter<'r> {
    session: &'r Session<'r>,
    catalogue: &'r Catalogue,
    encoder: Encoder<'r>,
    claims: Claims<'r>,
    /// Data packs, then the pack for trees and lists.
    open: Vec<Mutex<Option<OpenPack>>>,
    pending: Mutex<Pending>,
    written: Mutex<Written>,
    /// Bytes of the packs that were there.
    bytes_before: u64,
    level: i32,
}

/// How long a pack of so much content for each stored byte may become, in a repository of so many bytes.
fn target(repository_bytes: u64, density: u64) -> u64 {
    let share = (repository_bytes / PACK_SHARE).clamp(*PACK_BYTES.start(), *PACK_BYTES.end());
    let mut target = 1 << (share + share / 3).ilog2();
    while target > PACK_BYTES_DENSE && target * density > PACK_DENSITY * share {
        target /= 2;
    }
    target
}

/// Content that is stored whole in a frame, bytes.
fn whole_bytes(frame: &Frame) -> u64 {
    let whole = frame.chunks.iter().filter(|chunk| chunk.delta.rank == 0 && !frame.kind.is_meta());
    whole.map(|chunk| u64::from(chunk.raw_len)).sum()
}

impl std::fmt::Debug for ChunkWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChunkWriter({:?})", self.session)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| Error::new(Kind::Failed, "another thread of this run failed"))
}

impl<'r> ChunkWriter<'r> {
    /// A writer that stores what this reader's catalogue does not have. `level` is zstd's.
    pub fn new(session: &'r Session<'r>, reader: &'r ChunkReader<'r>, level: i32) -> Self {
        let catalogue = reader.catalogue();
        let since = session.repository().world().elapsed();
        // Packs that nobody has catalogued yet are taken over by this run's index. Whoever wrote them may have died
        // before their names were durable.
        // Those that a tomb names will be gone.
        let orphans = catalogue.orphans().iter().filter(|pack| !catalogue.is_condemned(&pack.id));
        let mut index = IndexBuilder::default();
        for pack in orphans {
            session.repository().storage().adopt(&Folder::Packs.key(&pack.id));
            index.push_entry(pack);
        }
        let pending = Pending { index, since, written: Vec::new() };
        Self {
            session,
            catalogue,
            encoder: Encoder::new(reader),
            claims: Claims::new(session.repository()),
            open: (0..=DATA_PACKS).map(|_| Mutex::default()).collect(),
            pending: Mutex::new(pending),
            written: Mutex::default(),
            bytes_before: catalogue.packs().iter().map(|pack| pack.size).sum(),
            level,
        }
    }

    /// Whether the caller must store this chunk: it is neither in the repository, nor has anybody in this run been
    /// told so before.
    pub fn claim(&self, id: &ChunkId) -> Result<bool> {
        if self.catalogue.contains(id) {
            return Ok(false);
        }
        self.claims.insert(&id.prefix())
    }

    /// Seals the frame's body on the way.
    fn add_frame(&self, frame: &mut Frame) -> Result<()> {
        {
            let mut written = lock(&self.written)?;
            written.chunks += frame.chunks.len() as u64;
            written.raw_bytes += frame.chunks.iter().map(|chunk| u64::from(chunk.raw_len)).sum::<u64>();
        }
        let slot = self.choose_pack(frame.kind)?;
        let mut open = lock(&self.open[slot])?;
        if let Some(full) = open.take_if(|pack| !self.has_room(pack, frame)) {
            self.end_pack(full)?;
        }
        let mut pack = match open.take() {
            Some(pack) => pack,
            None => self.begin_pack()?,
        };
        pack.raw_bytes += whole_bytes(frame);
        pack.builder.add(frame);
        pack.upload.write(&frame.body)?;
        match self.is_filled(&pack) {
            true => self.end_pack(pack)?,
            false => *open = Some(pack),
        }
        Ok(())
    }

    fn choose_pack(&self, kind: ChunkKind) -> Result<usize> {
        if kind.is_meta() {
            return Ok(DATA_PACKS);
        }
        let [byte] = clock::random(self.session.repository().world())?;
        Ok(usize::from(byte) % DATA_PACKS)
    }

    fn has_room(&self, pack: &OpenPack, frame: &Frame) -> bool {
        let (stored, raw) = (pack.builder.len() + frame.body.len() as u64, pack.raw_bytes + whole_bytes(frame));
        let (size, _) = pack.builder.size_with(Some(frame));
        let chunks = pack.builder.chunks() + frame.chunks.len();
        pack.builder.is_empty() || size <= target(self.stored_bytes(), raw / stored) && chunks <= PACK_CHUNKS
    }

    /// Whether a pack is about as long as it may be, and ends where next to none of its padding is for nothing.
    fn is_filled(&self, pack: &OpenPack) -> bool {
        let (size, spare) = pack.builder.size_with(None);
        spare <= size / PACK_SPARE && size >= target(self.stored_bytes(), pack.raw_bytes / pack.builder.len()) / 4 * 3
    }

    fn begin_pack(&self) -> Result<OpenPack> {
        let repository = self.session.repository();
        let header = Header {
            kind: ObjectKind::Pack,
            epoch: repository.keys().epoch(),
            repository: repository.id(),
            session: self.session.id(),
            salt: clock::random(repository.world())?,
        };
        let (builder, head) = PackBuilder::begin(repository.keys(), self.session.secrets(), header)
            .map_err(|e| unopened("a new pack", &e))?;
        let mut upload = repository.storage().upload()?;
        upload.write(&head)?;
        Ok(OpenPack { builder, upload, raw_bytes: 0 })
    }

    fn end_pack(&self, pack: OpenPack) -> Result<()> {
        let mut pending = self.close_pack(pack)?;
        let now = self.session.repository().world().elapsed();
        let is_much = pending.index.packs() >= INDEX_PACKS || pending.index.chunks() >= INDEX_CHUNKS;
        if is_much || now.saturating_sub(pending.since) >= INDEX_INTERVAL {
            pending.since = now;
            self.write_index(&mut pending.index)?;
        }
        Ok(())
    }

    /// What is pending now that this pack is complete.
    fn close_pack(&self, mut pack: OpenPack) -> Result<MutexGuard<'_, Pending>> {
        let (tail, packed) = pack.builder.finish();
        pack.upload.write(&tail)?;
        drop(tail);
        pack.upload.finish(&Folder::Packs.key(&packed.id))?;
        self.session.count(packed.size);
        let mut pending = lock(&self.pending)?;
        pending.written.push(packed.id);
        pending.index.push(&packed.id, packed.size, &packed.table);
        Ok(pending)
    }

    fn write_index(&self, index: &mut IndexBuilder) -> Result<()> {
        if index.packs() == 0 {
            return Ok(());
        }
        // The packs first, then what names them.
        self.session.repository().storage().barrier()?;
        self.session.put(Folder::Index, &[(Audience::Index, index.bytes())])?;
        index.clear();
        Ok(())
    }

    /// Ends all packs and catalogues them. All frame writers must have been flushed.
    pub fn finish(&self) -> Result<Written> {
        for slot in &self.open {
            if let Some(pack) = lock(slot)?.take() {
                self.end_pack(pack)?;
            }
        }
        self.write_index(&mut lock(&self.pending)?.index)?;
        self.session.repository().storage().barrier()?;
        Ok(*lock(&self.written)?)
    }

    /// The packs that were written.
    pub fn packs(&self) -> Result<Vec<ObjectId>> {
        Ok(lock(&self.pending)?.written.clone())
    }

    /// Bytes of all packs there are now, about.
    pub fn stored_bytes(&self) -> u64 {
        self.bytes_before + self.session.bytes_written()
    }

    /// A frame writer for one worker.
    pub fn frames(&self) -> Result<FrameWriter<'_, 'r>> {
        let failed = |e: std::io::Error| Error::io("cannot start a compressor", &e);
        Ok(FrameWriter {
            writer: self,
            lanes: LANES.map(|lane| FrameBuilder::new(lane.kind)),
            deltas: ChunkKind::ALL.map(DeltaFrameBuilder::new),
            blocks_end: 0,
            compressor: Compressor::new(self.level).map_err(failed)?,
            decompressor: Decompressor::new().map_err(failed)?,
            probe: Probe::new().map_err(failed)?,
        })
    }
}

/// Chunks that go into frames together.
struct Lane {
    kind: ChunkKind,
    /// Raw bytes of a frame.
    frame_bytes: usize,
    is_compressed: bool,
}

const LANES: [Lane; 7] = {
    const fn lane(kind: ChunkKind, frame_bytes: usize, is_compressed: bool) -> Lane {
        Lane { kind, frame_bytes, is_compressed }
    }
    [
        lane(ChunkKind::Data, DATA_FRAME_BYTES, true),
        lane(ChunkKind::Data, DATA_FRAME_BYTES, false),
        lane(ChunkKind::Data, SMALL_FRAME_BYTES, true),
        lane(ChunkKind::Data, SMALL_FRAME_BYTES, false),
        lane(ChunkKind::Node, NODE_FRAME_BYTES, true),
        lane(ChunkKind::List, SMALL_FRAME_BYTES, true),
        lane(ChunkKind::Attr, SMALL_FRAME_BYTES, true),
    ]
};
/// The first of the two lanes for data, and of those for blocks: what compresses, and what does not.
const DATA: usize = 0;
const BLOCKS: usize = 2;
/// Most chunks that a chunk of a file is compared with.
const ANCESTORS_MAX: usize = 8;
const NODES: usize = 4;
const LISTS: usize = 5;
const ATTRS: usize = 6;

/// One worker's side of writing: collects chunks into frames.
#[derive(Debug)]
pub struct FrameWriter<'w, 'r> {
    writer: &'w ChunkWriter<'r>,
    lanes: [FrameBuilder; LANES.len()],
    /// One for each kind.
    deltas: [DeltaFrameBuilder; ChunkKind::ALL.len()],
    /// Where the last block that was stored whole ends in its file.
    blocks_end: u64,
    compressor: Compressor,
    decompressor: Decompressor,
    probe: Probe,
}

impl FrameWriter<'_, '_> {
    /// Stores a data chunk that was claimed, and that these may be like: the chunks of an earlier version about where
    /// it lies now. The one of them that ends as it does comes back.
    pub fn store_claimed(&mut self, id: ChunkId, bytes: &[u8], ancestors: &[ChunkId]) -> Result<Option<ChunkId>> {
        let ancestors = &ancestors[..ancestors.len().min(ANCESTORS_MAX)];
        let (encoder, tools) = self.encoder();
        let new = New { kind: ChunkKind::Data, id, raw: bytes };
        let (encoded, ends_like) = encoder.encode(new, ancestors, tools)?;
        match encoded {
            Some(encoded) => self.push_delta(ChunkKind::Data, id, bytes.len(), encoded)?,
            None => self.push_data(DATA, id, bytes)?,
        }
        Ok(ends_like)
    }

    /// The same for a block of pages at this place of its file, with the block that stood there. Blocks are read without
    /// those beside them, and a later version's together with those of the version before.
    pub fn store_claimed_block(
        &mut self,
        id: ChunkId,
        bytes: &[u8],
        place: u64,
        ancestor: Option<&ChunkId>,
    ) -> Result<()> {
        let (encoder, tools) = self.encoder();
        if let Some(encoded) = encoder.encode_block(New { kind: ChunkKind::Data, id, raw: bytes }, ancestor, tools)? {
            return self.push_delta(ChunkKind::Data, id, bytes.len(), encoded);
        }
        if ancestor.is_some() && place != self.blocks_end {
            // Whoever reads one of them would have to decode others from far away.
            [BLOCKS, BLOCKS + 1].into_iter().try_for_each(|lane| self.flush_lane(lane))?;
        }
        self.blocks_end = place + bytes.len() as u64;
        self.push_data(BLOCKS, id, bytes)
    }

    /// Stores a data chunk unless it is there already; whether it was new.
    pub fn store_data(&mut self, bytes: &[u8]) -> Result<(ChunkId, bool)> {
        let id = self.writer.session.repository().keys().identity.chunk_id(ChunkKind::Data, bytes);
        let is_new = self.writer.claim(&id)?;
        if is_new {
            self.push_data(DATA, id, bytes)?;
        }
        Ok((id, is_new))
    }

    /// Stores a node or list unless it is there already; only if it is new are others asked for that it may be like.
    pub fn store_like(
        &mut self,
        kind: ChunkKind,
        bytes: &[u8],
        ancestor: impl FnOnce() -> Option<ChunkId>,
    ) -> Result<ChunkId> {
        let id = self.writer.session.repository().keys().identity.chunk_id(kind, bytes);
        if !self.writer.claim(&id)? {
            return Ok(id);
        }
        let ancestors: Vec<ChunkId> = ancestor().into_iter().collect();
        let (encoder, tools) = self.encoder();
        match encoder.encode(New { kind, id, raw: bytes }, &ancestors, tools)?.0 {
            Some(encoded) => self.push_delta(kind, id, bytes.len(), encoded)?,
            None => self.push(lane_of(kind), id, bytes)?,
        }
        Ok(id)
    }

    fn encoder(&mut self) -> (&Encoder<'_>, Tools<'_>) {
        let Self { writer, compressor, decompressor, .. } = self;
        (&writer.encoder, Tools { compressor, decompressor })
    }

    /// Stores a chunk again that lies elsewhere: as the same delta, or whole.
    pub fn store_again(&mut self, again: Again) -> Result<()> {
        let Again { kind, id, bytes, delta } = again;
        match delta {
            Some((delta, payload)) => self.push_delta(kind, id, bytes.len(), Encoded { delta, payload }),
            None if kind != ChunkKind::Data => self.push(lane_of(kind), id, &bytes),
            // Blocks of databases are read without those beside them.
            None if bytes.len() == BLOCK_BYTES => self.push_data(BLOCKS, id, &bytes),
            None => self.push_data(DATA, id, &bytes),
        }
    }

    /// Into this lane, or the next one where the bytes do not compress.
    fn push_data(&mut self, lane: usize, id: ChunkId, bytes: &[u8]) -> Result<()> {
        let is_raw = self.probe.looks_incompressible(bytes);
        self.push(lane + usize::from(is_raw), id, bytes)
    }

    fn push_delta(&mut self, kind: ChunkKind, id: ChunkId, raw_len: usize, encoded: Encoded) -> Result<()> {
        let Encoded { delta, payload } = encoded;
        let builder = &mut self.deltas[kind as usize - 1];
        if !builder.fits(raw_len, &payload, DELTA_FRAME_BYTES) {
            self.flush_deltas(kind)?;
        }
        let chunk = ChunkInfo { id: id.prefix(), raw_len: raw_len as u32, delta };
        self.deltas[kind as usize - 1].push(chunk, &payload);
        Ok(())
    }

    fn flush_deltas(&mut self, kind: ChunkKind) -> Result<()> {
        self.deltas[kind as usize - 1].finish().map_or(Ok(()), |mut frame| self.writer.add_frame(&mut frame))
    }

    fn push(&mut self, lane: usize, id: ChunkId, bytes: &[u8]) -> Result<()> {
        if !self.lanes[lane].fits(bytes.len(), LANES[lane].frame_bytes) {
            self.flush_lane(lane)?;
        }
        self.lanes[lane].push(id, bytes);
        Ok(())
    }

    fn flush_lane(&mut self, lane: usize) -> Result<()> {
        let builder = &mut self.lanes[lane];
        if builder.is_empty() {
            return Ok(());
        }
        let compressor = LANES[lane].is_compressed.then_some(&mut self.compressor);
        let identity = &self.writer.session.repository().keys().identity;
        let mut frame =
            builder.finish(compressor, &mut self.decompressor, identity).map_err(|e| came_out_wrong(&e.chunk))?;
        self.writer.add_frame(&mut frame)?;
        self.lanes[lane].take_back(frame);
        Ok(())
    }

    /// Writes what has been collected.
    pub fn flush(&mut self) -> Result<()> {
        (0..LANES.len()).try_for_each(|lane| self.flush_lane(lane))?;
        ChunkKind::ALL.into_iter().try_for_each(|kind| self.flush_deltas(kind))
    }
}

impl Store for FrameWriter<'_, '_> {
    type Error = Error;

    fn store(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId> {
        self.store_like(kind, bytes, || None)
    }
}

fn lane_of(kind: ChunkKind) -> usize {
    match kind {
        ChunkKind::Data => DATA,
        ChunkKind::Node => NODES,
        ChunkKind::List => LISTS,
        ChunkKind::Attr => ATTRS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_grow_with_the_repository_and_shrink_with_what_compresses_well() {
        let mib = |repository_mib: u64, density| target(repository_mib << 20, density) >> 20;
        assert_eq!([0, 300, 700, 1800, 1 << 20].map(|repository| mib(repository, 3)), [4, 4, 8, 32, 32]);
        assert_eq!([0, 4, 5, 8, 16, 99, u64::MAX >> 40].map(|density| mib(100, density)), [4, 4, 2, 2, 1, 1, 1]);
        assert_eq!([4, 5, 16, 99].map(|density| mib(1 << 20, density)), [32, 16, 8, 1]);
    }
}
