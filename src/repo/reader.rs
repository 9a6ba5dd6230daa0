//! Chunks out of a repository: found, read, opened, decoded, and compared with their ids.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use foldhash::fast::RandomState;

use super::catalogue::places_of;
use super::delta::Trail;
use super::parts::Parts;
use super::room::{Room, Rooms};
use super::slices::Slices;
use super::{Catalogue, Place, Plain, Repository, malformed, read_head, read_table, unopened};
use crate::crypto::ChunkKind;
use crate::entry::{ChunkRef, Content, Entry};
use crate::error::{Error, Kind, Result};
use crate::event::{Cancel, Job, Silent};
use crate::id::ChunkId;
use crate::pack::{FrameBytes, PackKey};
use crate::seal::Decompressor;
use crate::tree::{ChunkList, Fetch, Large, StoredEntry, decode_extents, decode_xattrs};

/// How many bytes of decoded frames are kept at hand.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// The same of frames of deltas, which are small, and needed for many chunks each.
const KEPT_DELTA_BYTES_MAX: usize = 12 << 20;
/// How much room is kept from one frame to the next, as it is stored. Bytes.
const ROOM_KEPT_MAX: usize = 1 << 20;

/// How often packs may go while a reader is at work: each time takes a prune.
const RENEWALS_MAX: u8 = 8;

/// Decoded frames, the oldest dropped first.
#[derive(Debug)]
struct Kept {
    frames: HashMap<(u32, u32), Arc<FrameBytes>, RandomState>,
    order: VecDeque<(u32, u32)>,
    bytes: usize,
    bytes_max: usize,
}

impl Kept {
    fn new(bytes_max: usize) -> Mutex<Self> {
        Mutex::new(Self { frames: HashMap::default(), order: VecDeque::new(), bytes: 0, bytes_max })
    }

    fn insert(&mut self, at: (u32, u32), frame: &Arc<FrameBytes>) {
        if self.frames.insert(at, frame.clone()).is_some() {
            return;
        }
        self.order.push_back(at);
        self.bytes += frame.len();
        while self.bytes > self.bytes_max && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.frames.remove(&oldest).map_or(0, |frame| frame.len());
        }
    }
}

/// What it takes to open a frame, used again and again.
#[derive(Debug)]
struct Tools {
    sealed: Vec<u8>,
    decompressor: Decompressor,
}

/// What a reader has read, and may need again.
#[derive(Debug)]
pub(super) struct AtHand {
    /// By the pack's number; also why there is none, which can be long to find out.
    keys: Mutex<HashMap<u32, Result<PackKey>, RandomState>>,
    /// Why frames are damaged, by pack, ordinal and offset: many chunks of one may be asked for.
    bad: Mutex<HashMap<(u32, u32, u32), Error, RandomState>>,
    kept: Mutex<Kept>,
    kept_deltas: Mutex<Kept>,
    pub parts: Mutex<Parts>,
    pub slices: Mutex<Slices>,
    tools: Mutex<Vec<Tools>>,
    rooms: Rooms,
    /// What there is now, if packs have gone since; and how often that may be.
    renewed: OnceLock<Option<Box<Renewed>>>,
    renewals_left: u8,
}

impl AtHand {
    fn new(renewals_left: u8) -> Arc<Self> {
        let (kept, kept_deltas) = (Kept::new(KEPT_BYTES_MAX), Kept::new(KEPT_DELTA_BYTES_MAX));
        let (keys, bad, parts, slices, tools, rooms, renewed) = Default::default();
        Arc::new(Self { keys, bad, kept, kept_deltas, parts, slices, tools, rooms, renewed, renewals_left })
    }
}

/// A later look at the repository.
#[derive(Debug)]
struct Renewed {
    catalogue: Catalogue,
    at_hand: Arc<AtHand>,
}

/// Reads chunks; usable from several threads at once.
#[derive(Debug)]
pub struct ChunkReader<'r> {
    repository: &'r Repository,
    catalogue: &'r Catalogue,
    pub(super) at_hand: Arc<AtHand>,
}

impl<'r> ChunkReader<'r> {
    /// A reader of the chunks in this catalogue.
    pub fn new(repository: &'r Repository, catalogue: &'r Catalogue) -> Self {
        Self { repository, catalogue, at_hand: AtHand::new(RENEWALS_MAX) }
    }

    /// Where a pack has gone, a prune has moved what is needed of it: a reader that knows where to.
    fn renewed(&self, error: &Error) -> Option<ChunkReader<'_>> {
        let left = self.at_hand.renewals_left.checked_sub(1).filter(|_| error.kind() == Kind::Missing)?;
        let renew = || {
            let (progress, cancel) = (&Silent, &Cancel::new());
            let catalogue = Catalogue::open(self.repository, Job { progress, cancel }).ok()?;
            Some(Box::new(Renewed { catalogue, at_hand: AtHand::new(left) }))
        };
        let Renewed { catalogue, at_hand } = self.at_hand.renewed.get_or_init(renew).as_deref()?;
        Some(ChunkReader { repository: self.repository, catalogue, at_hand: at_hand.clone() })
    }

    /// Lets go of what is kept at hand, and of what was found damaged.
    pub fn forget(&self) {
        for kept in [&self.at_hand.kept, &self.at_hand.kept_deltas] {
            let mut kept = lock(kept);
            (kept.frames, kept.order, kept.bytes) = Default::default();
        }
        lock(&self.at_hand.bad).clear();
        *lock(&self.at_hand.parts) = Parts::default();
        *lock(&self.at_hand.slices) = Slices::default();
    }

    /// Where the chunks lie.
    pub fn catalogue(&self) -> &'r Catalogue {
        self.catalogue
    }

    /// The repository.
    pub fn repository(&self) -> &'r Repository {
        self.repository
    }

    fn pack_key(&self, number: u32) -> Result<PackKey> {
        if let Some(key) = lock(&self.at_hand.keys).get(&number) {
            return key.clone();
        }
        let key = read_head(self.repository, &self.catalogue.pack(number).id);
        if key.as_ref().err().is_none_or(|e| matches!(e.kind(), Kind::Damage | Kind::Newer | Kind::WrongKey)) {
            lock(&self.at_hand.keys).insert(number, key.clone());
        }
        key.inspect_err(|e| self.repository.meet(self.catalogue.pack(number).id, None, e))
    }

    /// Reads and decodes a frame, without keeping it. What is in it is not compared with any id yet.
    pub fn frame(&self, place: &Place) -> Result<FrameBytes> {
        let at = (place.pack, place.frame, place.offset);
        if let Some(error) = lock(&self.at_hand.bad).get(&at) {
            return Err(error.clone());
        }
        let key = self.pack_key(place.pack)?;
        let frame = self.with_tools(|tools| self.frame_with(place, &key, tools))?;
        if let Err(error) = &frame
            && error.kind() == Kind::Damage
        {
            lock(&self.at_hand.bad).insert(at, error.clone());
        }
        let frame = frame?;
        lock(&self.at_hand.slices).take_from(place, &frame);
        Ok(frame)
    }

    fn frame_with(&self, place: &Place, key: &PackKey, tools: &mut Tools) -> Result<FrameBytes> {
        let Tools { sealed, decompressor } = tools;
        if sealed.capacity() > ROOM_KEPT_MAX {
            *sealed = Vec::new();
        }
        let mut open = |sealed: &mut Vec<u8>| key.open_frame(place.kind, place.frame, sealed, decompressor);
        if self.sealed(place, sealed)
            && let Ok(frame) = open(sealed)
        {
            return Ok(frame);
        }
        // What was at hand may have been replaced, or read wrong: nothing is called bad before it was read by its name.
        let pack = self.catalogue.pack(place.pack);
        let opened = self.repository.pack_part(&pack.id, place.offset.into(), place.stored_len as usize, |bytes| {
            *sealed = bytes;
            open(sealed).map_err(|e| unopened(&format!("frame {} of pack {}", place.frame, pack.id.short()), &e))
        });
        opened.inspect_err(|e| self.repository.meet(pack.id, Some(place.frame), e))
    }

    fn with_tools<T>(&self, work: impl FnOnce(&mut Tools) -> T) -> Result<T> {
        let kept = lock(&self.at_hand.tools).pop();
        let mut tools = match kept {
            Some(kept) => kept,
            None => {
                let decompressor = Decompressor::new().map_err(|e| Error::io("cannot start a decompressor", &e))?;
                Tools { sealed: Vec::new(), decompressor }
            }
        };
        let done = work(&mut tools);
        lock(&self.at_hand.tools).push(tools);
        Ok(done)
    }

    pub(super) fn with_decompressor<T>(&self, work: impl FnOnce(&mut Decompressor) -> T) -> Result<T> {
        self.with_tools(|tools| work(&mut tools.decompressor))
    }

    /// Room for a chunk.
    pub(super) fn room(&self) -> Room {
        Room::of(&self.at_hand.rooms)
    }

    /// A frame, read and decoded unless it is at hand, and kept there for a while.
    pub fn kept_frame(&self, place: &Place) -> Result<Arc<FrameBytes>> {
        let at = (place.pack, place.frame);
        let kept = if place.rank == 0 { &self.at_hand.kept } else { &self.at_hand.kept_deltas };
        if let Some(frame) = lock(kept).frames.get(&at) {
            return Ok(frame.clone());
        }
        let frame = Arc::new(self.frame(place)?);
        lock(kept).insert(at, &frame);
        Ok(frame)
    }

    /// Takes what is waited for from a frame of chunks stored whole that somebody else has read and proven, and keeps it at
    /// hand where that is asked for.
    pub fn lend(&self, place: &Place, frame: &Arc<FrameBytes>, is_kept: bool) {
        lock(&self.at_hand.slices).take_from(place, frame);
        if is_kept {
            lock(&self.at_hand.kept).insert((place.pack, place.frame), frame);
        }
    }

    /// The n-th chunk of a decoded frame, made whole, if it is the one that is wanted.
    fn verify(&self, frame: &Arc<FrameBytes>, place: &Place, id: &ChunkId) -> Result<Plain> {
        let is_it = |bytes: &[u8]| self.repository.keys().identity.chunk_id(place.kind, bytes) == *id;
        match self.plain(frame, place, &mut Trail::default()) {
            Ok(bytes) if is_it(&bytes) => return Ok(bytes),
            Err(e) if place.rank == 0 => return Err(e),
            // A base may have a copy that is not what it must be, and another that is.
            _ if place.rank > 0 => {
                let bytes = self.plain(frame, place, &mut Trail { is_strict: true, ..Trail::default() })?;
                if is_it(&bytes) {
                    return Ok(bytes);
                }
            }
            _ => {}
        }
        let pack = self.catalogue.pack(place.pack).id;
        Err(Error::new(Kind::Damage, format!("chunk {} is damaged", id.short()))
            .why(format!("frame {} of pack {} holds something else in its place", place.frame, pack.short()))
            .fix(super::REPAIR))
    }

    /// Of these chunks, which a decoded frame should hold whole, those that it does. Many at once take less time.
    pub fn proven<'f>(
        &self,
        frame: &'f FrameBytes,
        kind: ChunkKind,
        chunks: impl Iterator<Item = (u32, ChunkId)>,
    ) -> Vec<Option<&'f [u8]>> {
        let (nths, wanted): (Vec<u32>, Vec<ChunkId>) = chunks.unzip();
        let found: Vec<&[u8]> = nths.iter().map(|nth| frame.chunk(*nth as usize).unwrap_or(&[])).collect();
        let ids = self.repository.keys().identity.chunk_ids(kind, &found);
        let is_it = |((id, wanted), bytes): ((ChunkId, ChunkId), &'f [u8])| (id == wanted).then_some(bytes);
        ids.into_iter().zip(wanted).zip(found).map(is_it).collect()
    }

    /// A chunk's plaintext, from the first copy that is good.
    pub fn chunk(&self, kind: ChunkKind, id: &ChunkId) -> Result<Plain> {
        self.chunk_here(kind, id).or_else(|e| match self.renewed(&e) {
            Some(reader) => reader.chunk(kind, id).map_err(|_| e),
            None => Err(e),
        })
    }

    fn chunk_here(&self, kind: ChunkKind, id: &ChunkId) -> Result<Plain> {
        let mut error = None;
        for place in self.catalogue.copies_to_read(&id.prefix()).filter(|place| place.kind == kind) {
            let read = self.kept_frame(&place).and_then(|frame| self.verify(&frame, &place, id));
            let read = read.or_else(|e| self.chunk_by_table(&place, id).map_err(|_| e));
            match read {
                Ok(bytes) => return Ok(bytes),
                Err(e) => error = Some(e),
            }
        }
        Err(error.unwrap_or_else(|| missing(id)))
    }

    /// Where the index may be wrong, the pack's own table knows better.
    fn chunk_by_table(&self, place: &Place, id: &ChunkId) -> Result<Plain> {
        self.pack_key(place.pack)?;
        let (_, _, table) = read_table(self.repository, &self.catalogue.pack(place.pack).id)?;
        let (_, place, _) =
            places_of(&table, place.pack).find(|(found, ..)| *found == id.prefix()).ok_or_else(|| missing(id))?;
        self.verify(&Arc::new(self.frame(&place)?), &place, id)
    }

    /// Calls `each` with every data chunk of a file's content, in order.
    pub fn for_each_chunk(&self, content: &Content, each: &mut dyn FnMut(&ChunkRef) -> Result<()>) -> Result<()> {
        self.visit(content.level, &content.chunks, each)
    }

    fn visit(&self, level: u8, items: &[ChunkRef], each: &mut dyn FnMut(&ChunkRef) -> Result<()>) -> Result<()> {
        for item in items {
            match level {
                0 => each(item)?,
                level => self.visit(level - 1, &self.chunk_list(level, item)?.items, each)?,
            }
        }
        Ok(())
    }

    /// Reads a chunk list of this level and checks that it stands for as many bytes as the item says.
    pub fn chunk_list(&self, level: u8, item: &ChunkRef) -> Result<ChunkList> {
        let bytes = self.chunk(ChunkKind::List, &item.id)?;
        let place = format!("chunk list {}", item.id.short());
        let list = ChunkList::parse(&bytes).map_err(|e| malformed(&place, &e))?;
        if list.level != level || list.content_len() != Some(item.len) {
            let why =
                format!("level {} with {:?} bytes, {level} with {} expected", list.level, list.content_len(), item.len);
            return Err(Error::new(Kind::Damage, format!("{place} is damaged")).why(why).fix(super::REPAIR));
        }
        Ok(list)
    }
}

/// The error for a chunk without a copy.
pub(super) fn missing(id: &ChunkId) -> Error {
    Error::new(Kind::Damage, format!("chunk {} is missing", id.short()))
        .why("no pack that is there and whole holds it")
        .fix("run `larder check` to see what is affected; if the source still has it, the next backup stores it again")
}

impl Fetch for ChunkReader<'_> {
    type Error = Error;
    fn fetch(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        Ok(self.chunk(kind, id)?.to_vec())
    }
}

/// Whole entries out of their records.
pub trait EntryReader {
    /// Decodes a record, fetching what lies in chunks of its own.
    fn entry(&self, record: &[u8]) -> Result<Entry>;
}

impl EntryReader for ChunkReader<'_> {
    fn entry(&self, record: &[u8]) -> Result<Entry> {
        let bad = |e: &crate::wire::Malformed| malformed("an entry", e);
        let stored = StoredEntry::parse(record).map_err(|e| bad(&e))?;
        let mut entry = stored.entry;
        let bytes = |large: Large| -> Result<Vec<u8>> {
            match large {
                Large::Inline(bytes) => Ok(bytes),
                Large::Chunk(chunk) => Ok(self.chunk(ChunkKind::Attr, &chunk.id)?.to_vec()),
            }
        };
        if let Some(large) = stored.xattrs {
            entry.xattrs = decode_xattrs(&bytes(large)?).map_err(|e| bad(&e))?;
        }
        if let Some(large) = stored.extents {
            entry.extents = Some(decode_extents(&bytes(large)?, entry.size, &entry.content).map_err(|e| bad(&e))?);
        }
        Ok(entry)
    }
}

/// A lock that a panic elsewhere does not take away: what it guards is only a cache.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
