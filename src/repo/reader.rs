//! Chunks out of a repository: found, read, opened, decoded, and compared with their ids.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Catalogue, Folder, Place, Repository, malformed, read_head, read_table, unopened};
use crate::crypto::ChunkKind;
use crate::entry::{ChunkRef, Content, Entry};
use crate::error::{Error, Kind, Result};
use crate::id::ChunkId;
use crate::pack::{FrameBytes, PackKey};
use crate::seal::Decompressor;
use crate::tree::{ChunkList, Fetch, Large, StoredEntry, decode_extents, decode_xattrs};

/// How many decoded bytes are kept at hand.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Decoded frames, the oldest dropped first.
#[derive(Debug, Default)]
struct Kept {
    frames: HashMap<(u32, u32), Arc<FrameBytes>>,
    order: VecDeque<(u32, u32)>,
    bytes: usize,
}

impl Kept {
    fn insert(&mut self, at: (u32, u32), frame: &Arc<FrameBytes>) {
        if self.frames.insert(at, frame.clone()).is_some() {
            return;
        }
        self.order.push_back(at);
        self.bytes += frame.len();
        while self.bytes > KEPT_BYTES_MAX && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.frames.remove(&oldest).map_or(0, |frame| frame.len());
        }
    }
}

/// Reads chunks; usable from several threads at once.
#[derive(Debug)]
pub struct ChunkReader<'r> {
    repository: &'r Repository,
    catalogue: &'r Catalogue,
    /// By the pack's number; also why there is none, which can be long to find out.
    keys: Mutex<HashMap<u32, Result<PackKey>>>,
    kept: Mutex<Kept>,
    decompressors: Mutex<Vec<Decompressor>>,
}

impl<'r> ChunkReader<'r> {
    /// A reader of the chunks in this catalogue.
    pub fn new(repository: &'r Repository, catalogue: &'r Catalogue) -> Self {
        Self { repository, catalogue, keys: Mutex::default(), kept: Mutex::default(), decompressors: Mutex::default() }
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
        if let Some(key) = lock(&self.keys).get(&number) {
            return key.clone();
        }
        let key = read_head(self.repository, &self.catalogue.pack(number).id);
        if key.as_ref().err().is_none_or(|e| matches!(e.kind(), Kind::Damage | Kind::Newer | Kind::WrongKey)) {
            lock(&self.keys).insert(number, key.clone());
        }
        key
    }

    /// Reads and decodes a frame, without keeping it. What is in it is not compared with any id yet.
    pub fn frame(&self, place: &Place) -> Result<FrameBytes> {
        let pack = self.catalogue.pack(place.pack);
        let key = self.pack_key(place.pack)?;
        let at = Folder::Packs.key(&pack.id);
        let mut sealed = self.repository.storage().get_range(&at, place.offset.into(), place.stored_len as usize)?;
        let mut decompressor = self.decompressor()?;
        let frame = key
            .open_frame(place.kind, place.frame, &mut sealed, &mut decompressor)
            .map_err(|e| unopened(&format!("frame {} of pack {}", place.frame, pack.id.short()), &e));
        lock(&self.decompressors).push(decompressor);
        frame
    }

    fn decompressor(&self) -> Result<Decompressor> {
        if let Some(kept) = lock(&self.decompressors).pop() {
            return Ok(kept);
        }
        Decompressor::new().map_err(|e| Error::io("cannot start a decompressor", &e))
    }

    fn kept_frame(&self, place: &Place) -> Result<Arc<FrameBytes>> {
        let at = (place.pack, place.frame);
        if let Some(frame) = lock(&self.kept).frames.get(&at) {
            return Ok(frame.clone());
        }
        let frame = Arc::new(self.frame(place)?);
        lock(&self.kept).insert(at, &frame);
        Ok(frame)
    }

    /// The n-th chunk of a decoded frame, if it is the one that is wanted.
    pub fn verify<'f>(&self, frame: &'f FrameBytes, place: &Place, id: &ChunkId) -> Result<&'f [u8]> {
        let identity = &self.repository.keys().identity;
        frame.chunk(place.nth as usize).filter(|bytes| identity.chunk_id(place.kind, bytes) == *id).ok_or_else(|| {
            let pack = self.catalogue.pack(place.pack).id;
            Error::new(Kind::Damage, format!("chunk {} is damaged", id.short()))
                .why(format!("frame {} of pack {} holds something else in its place", place.frame, pack.short()))
                .fix(super::REPAIR)
        })
    }

    /// A chunk's plaintext, from the first copy that is good.
    pub fn chunk(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        let mut error = None;
        for place in self.catalogue.copies_to_read(id).filter(|place| place.kind == kind) {
            let read = self.chunk_at(&place, id).or_else(|e| self.chunk_by_table(&place, id).map_err(|_| e));
            match read {
                Ok(bytes) => return Ok(bytes),
                Err(e) => error = Some(e),
            }
        }
        Err(error.unwrap_or_else(|| missing(id)))
    }

    fn chunk_at(&self, place: &Place, id: &ChunkId) -> Result<Vec<u8>> {
        let frame = self.kept_frame(place)?;
        self.verify(&frame, place, id).map(<[u8]>::to_vec)
    }

    /// Where the index may be wrong, the pack's own table knows better.
    fn chunk_by_table(&self, place: &Place, id: &ChunkId) -> Result<Vec<u8>> {
        self.pack_key(place.pack)?;
        let (_, _, table) = read_table(self.repository, &self.catalogue.pack(place.pack).id)?;
        let (frame, nth, kind, chunk) =
            table.chunks().find(|(.., chunk)| chunk.id == *id).ok_or_else(|| missing(id))?;
        let info = &table.frames[frame as usize];
        let (offset, stored_len) = (info.offset as u32, info.stored_len);
        let place = Place { pack: place.pack, frame, offset, stored_len, nth, raw_len: chunk.raw_len, kind };
        self.verify(&self.frame(&place)?, &place, id).map(<[u8]>::to_vec)
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
        self.chunk(kind, id)
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
        let bytes = |large: Large| match large {
            Large::Inline(bytes) => Ok(bytes),
            Large::Chunk(chunk) => self.chunk(ChunkKind::Attr, &chunk.id),
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
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
