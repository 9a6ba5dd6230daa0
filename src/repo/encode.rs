//! Decides what new chunks are stored as: whole, or as differences to chunks of an earlier version.
//!
//! Whoever stores a chunk only says which ones it may be like. They are read here, proven to be what their ids say, and
//! used where what they save is worth what they cost. What is stored is decoded again before it counts.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ChunkReader;
use super::delta::{Base, Plain, Step};
use super::lineage::{Choice, choose, root};
use super::moved::{Feature, Lost, Moved, PAGE_BYTES, features, is_rewritten, losses};
use crate::chunk::BLOCK_BYTES;
use crate::crypto::ChunkKind;
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, ChunkPrefix};
use crate::pack::{Delta, Slice, decode_delta, encode_delta};
use crate::seal::{Compressor, Decompressor};

/// Shorter chunks are stored whole: what names a base takes more than a hundred bytes. Bytes.
const RAW_BYTES_MIN: usize = 512;
/// What makes two chunks end alike. Bytes.
const END_BYTES: usize = 64;
/// What index, table and frame take for each base, and what goes with a delta. Bytes.
const BASE_COST: usize = 48;
/// What reading one more base, somewhere else, must save. Bytes.
const READ_COST: usize = 512;
/// A block that costs no more gains too little from pages elsewhere. Bytes.
const GOOD_COST: usize = 2048;
/// Bases are read from stores far away as long as they are no more than this. Bytes.
const REMOTE_BYTES_MAX: u64 = 256 << 20;
/// Chunks from which content may have moved into one block.
const SOURCES_MAX: usize = 16;

/// A chunk to be stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct New<'c> {
    pub kind: ChunkKind,
    pub id: ChunkId,
    /// Its plaintext.
    pub raw: &'c [u8],
}

/// A chunk stored as a difference.
#[derive(Debug)]
pub(super) struct Encoded {
    pub delta: Delta,
    pub payload: Vec<u8>,
}

/// What was about to be stored is not what it was made from.
pub(super) fn came_out_wrong(id: &ChunkPrefix) -> Error {
    Error::new(Kind::Failed, format!("chunk {} came out wrong when it was read back before storing", id.short()))
        .why("memory or processor of this machine changed it on the way; nothing of it was stored")
        .fix("test this machine's memory before you trust any backup from it")
}

/// One worker's tools.
pub(super) struct Tools<'t> {
    pub compressor: &'t mut Compressor,
    pub decompressor: &'t mut Decompressor,
}

/// Shared by all workers of a run.
#[derive(Debug)]
pub(super) struct Encoder<'r> {
    reader: &'r ChunkReader<'r>,
    moved: Mutex<Moved>,
    bytes_read: AtomicU64,
    is_remote: bool,
}

impl<'r> Encoder<'r> {
    pub fn new(reader: &'r ChunkReader<'r>) -> Self {
        let is_remote = reader.repository().storage().capabilities().remote;
        Self { reader, moved: Mutex::default(), bytes_read: AtomicU64::new(0), is_remote }
    }

    fn base(&self, kind: ChunkKind, id: &ChunkPrefix) -> Option<Base> {
        if self.is_remote && self.bytes_read.load(Ordering::Relaxed) > REMOTE_BYTES_MAX {
            return None;
        }
        let base = self.reader.as_base(kind, id)?;
        let bytes = base.closure.iter().chain([&base.step]).map(|step| step.bytes.len() as u64).sum();
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        Some(base)
    }

    /// A chunk as a difference to some of its ancestors; `None`: it is to be stored whole. And the ancestor that ends as
    /// it does, since ends often outlive changes.
    pub fn encode(
        &self,
        new: New<'_>,
        ancestors: &[ChunkId],
        mut tools: Tools<'_>,
    ) -> Result<(Option<Encoded>, Option<ChunkId>)> {
        if new.raw.len() < RAW_BYTES_MIN {
            return Ok((None, None));
        }
        let bases: Vec<Base> = ancestors.iter().filter_map(|id| self.base(new.kind, &id.prefix())).collect();
        let end = &new.raw[new.raw.len() - END_BYTES..];
        let same_end = bases.iter().find(|base| base.step.bytes.ends_with(end)).map(|base| base.step.id);
        let ends_like = ancestors.iter().find(|id| Some(id.prefix()) == same_end).copied();
        Ok((self.like_bases(new, &bases, &mut tools)?, ends_like))
    }

    /// The same for a block of pages, into which content may have moved from others.
    pub fn encode_block(
        &self,
        new: New<'_>,
        ancestor: Option<&ChunkId>,
        mut tools: Tools<'_>,
    ) -> Result<Option<Encoded>> {
        let base = ancestor.and_then(|id| self.base(new.kind, &id.prefix()));
        let bases: Vec<Base> = base.into_iter().collect();
        let pages = self.look_around(new.raw, bases.first());
        let own = self.like_bases(new, &bases, &mut tools)?;
        let cost = |encoded: &Encoded| encoded.cost() + encoded.delta.bases.len() * READ_COST;
        if own.as_ref().is_some_and(|own| cost(own) <= GOOD_COST) {
            return Ok(own);
        }
        let moved = self.with_moved(new, &bases, &pages, &mut tools)?;
        Ok([own, moved].into_iter().flatten().min_by_key(cost))
    }

    fn like_bases(&self, new: New<'_>, bases: &[Base], tools: &mut Tools<'_>) -> Result<Option<Encoded>> {
        match choose(bases, &[]) {
            None => Ok(None),
            Some(choice) => self.try_choice(new, &choice, Vec::new(), share(bases), tools),
        }
    }

    /// Remembers what the pages of a block lost, and finds where those that are full of news may have them from.
    fn look_around(&self, raw: &[u8], base: Option<&Base>) -> Vec<Lost> {
        let parent: &[u8] = base.map_or(&[], |base| &base.step.bytes);
        let root = base.and_then(root);
        let share = base.map_or(1.0, |base| base.share);
        let (mut lost, mut wanted) = (Vec::new(), Vec::new());
        for (n, new) in raw.chunks(PAGE_BYTES).enumerate() {
            let at = n * PAGE_BYTES;
            let Some(news) = features_if(new, parent.get(at..at + PAGE_BYTES)) else { continue };
            lost.extend(root.and_then(|root| lost_page(root, at, &news, share)));
            wanted.push(news);
        }
        let Ok(mut moved) = self.moved.lock() else { return Vec::new() };
        let mut found: Vec<Lost> = Vec::new();
        for part in wanted.iter().flat_map(|news| moved.find(news)) {
            let is_known = found.iter().any(|known| (known.chunk, known.offset) == (part.chunk, part.offset));
            // What was here before is a base anyway.
            if !is_known && root.is_none_or(|root| root.id != part.chunk) {
                found.push(part.clone());
            }
        }
        lost.into_iter().for_each(|(part, features)| moved.lost(part, &features));
        found
    }

    fn with_moved(
        &self,
        new: New<'_>,
        bases: &[Base],
        parts: &[Lost],
        tools: &mut Tools<'_>,
    ) -> Result<Option<Encoded>> {
        let mut sources: Vec<Base> = Vec::new();
        let mut seen = HashSet::new();
        for part in parts {
            if seen.len() < SOURCES_MAX && seen.insert(part.chunk) {
                sources.extend(at_hand(&part.chunk, parts).or_else(|| self.base(ChunkKind::Data, &part.chunk)));
            }
        }
        let others: Vec<Step> =
            sources.iter().filter(|base| base.step.rank == 0).map(|base| base.step.clone()).collect();
        if others.is_empty() {
            return Ok(None);
        }
        let Some(choice) = choose(bases, &others) else { return Ok(None) };
        let slice = |part: &Lost| {
            let base = choice.bases.iter().position(|step| step.id == part.chunk)?;
            Some(Slice { base: base as u8, offset: part.offset as u32, len: part.len as u32 })
        };
        let mut slices: Vec<Slice> = parts.iter().filter_map(slice).collect();
        // What is most alike comes last, where references are shortest.
        for (base, step) in (0..).zip(&choice.bases).filter(|(_, step)| !others.iter().any(|it| it.id == step.id)) {
            slices.push(Slice { base, offset: 0, len: step.bytes.len() as u32 });
        }
        let all: Vec<Base> = bases.iter().chain(&sources).cloned().collect();
        self.try_choice(new, &choice, slices, share(&all), tools)
    }

    /// Encodes, and proves it, if it is worth it.
    fn try_choice(
        &self,
        new: New<'_>,
        choice: &Choice,
        slices: Vec<Slice>,
        share: f64,
        tools: &mut Tools<'_>,
    ) -> Result<Option<Encoded>> {
        let bases: Vec<&[u8]> = choice.bases.iter().map(|step| &step.bytes[..]).collect();
        let Some(payload) = encode_delta(new.raw, &bases, &slices, tools.compressor) else { return Ok(None) };
        let delta = Delta { rank: choice.rank, bases: choice.bases.iter().map(|step| step.id).collect() };
        let encoded = Encoded { delta, payload };
        if encoded.cost() as f64 * 2.0 >= share * new.raw.len() as f64 {
            return Ok(None);
        }
        let mut again = self.reader.room();
        let made = decode_delta(&encoded.payload, new.raw.len() as u32, &bases, tools.decompressor, &mut again.bytes);
        let identity = &self.reader.repository().keys().identity;
        let is_it = made.is_ok() && identity.chunk_id(new.kind, &again.bytes) == new.id;
        if is_it { Ok(Some(encoded)) } else { Err(came_out_wrong(&new.id.prefix())) }
    }
}

impl Encoded {
    /// What it adds to a repository, about; bytes.
    fn cost(&self) -> usize {
        self.payload.len() + BASE_COST * self.delta.bases.len()
    }
}

/// Which part of its length a chunk like these takes when it is stored whole.
fn share(bases: &[Base]) -> f64 {
    bases.iter().map(|base| base.share).sum::<f64>() / bases.len().max(1) as f64
}

/// What the page at this offset had and has no more, with its features.
fn lost_page(root: &Step, at: usize, news: &[Feature], share: f64) -> Option<(Lost, Vec<u64>)> {
    let old = root.bytes.get(at..at + PAGE_BYTES)?;
    let (features, range) = losses(&features(old), news, PAGE_BYTES);
    let bytes = old.get(range.clone()).filter(|bytes| !bytes.is_empty())?;
    let (offset, len, raw_len) = (at + range.start, bytes.len(), root.bytes.len());
    Some((Lost { chunk: root.id, raw_len, share, offset, len, bytes: Some(bytes.into()) }, features))
}

/// A chunk as far as it is needed, with zeroes for all else, if what is needed was kept.
fn at_hand(chunk: &ChunkPrefix, parts: &[Lost]) -> Option<Base> {
    let (mut bytes, mut share) = (Vec::new(), 1.0);
    for part in parts.iter().filter(|part| part.chunk == *chunk) {
        bytes.resize(part.raw_len, 0);
        bytes.get_mut(part.offset..part.offset + part.len)?.copy_from_slice(part.bytes.as_ref()?);
        share = part.share;
    }
    let step = Step { id: *chunk, rank: 0, bytes: Plain::made(bytes) };
    Some(Base { step, closure: Vec::new(), share })
}

/// The features of a page, if it is new, or full of news.
fn features_if(new: &[u8], old: Option<&[u8]>) -> Option<Vec<Feature>> {
    let is_news = new.len() == PAGE_BYTES && old.is_none_or(|old| is_rewritten(old, new));
    is_news.then(|| features(new))
}

const _: () = assert!(BLOCK_BYTES.is_multiple_of(PAGE_BYTES));
