//! Chunks that are stored as what makes them different from others, made whole.
//!
//! Every base is resolved through a copy of lower rank than what needs it, so that this ends; how many chunks and bytes
//! it may take is bounded. Ids of bases are compared only where the result is not what it must be, to tell whose fault
//! it is: the id of the result proves everything that went into it.

use std::ops::Deref;
use std::sync::Arc;

use super::reader::lock;
use super::room::Room;
use super::slices::BASES_MIN;
use super::{ChunkReader, Place, malformed};
use crate::crypto::ChunkKind;
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, ChunkPrefix};
use crate::pack::{Delta, FrameBytes, Stored};

/// Most chunks that it takes to make one whole.
pub const CLOSURE_CHUNKS_MAX: usize = 32;
/// Most bytes of them.
pub const CLOSURE_BYTES_MAX: usize = 4 << 20;

/// A chunk on the way.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which.
    pub id: ChunkPrefix,
    /// Of the copy that was read.
    pub rank: u8,
    /// Its plaintext.
    pub bytes: Plain,
}

/// A plaintext that several hold.
#[derive(Clone, Debug)]
pub enum Plain {
    /// It was made.
    Made(Arc<Room>),
    /// That of the n-th chunk of a frame, in which it is stored whole.
    In(Arc<FrameBytes>, usize),
}

impl Plain {
    /// These bytes.
    pub fn made(bytes: Vec<u8>) -> Self {
        Self::Made(Arc::new(bytes.into()))
    }
}

impl Deref for Plain {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Made(room) => &room.bytes,
            Self::In(frame, nth) => match frame.stored(*nth) {
                Some(Stored::Full(bytes)) => bytes,
                _ => &[],
            },
        }
    }
}

/// What was read to make a chunk whole.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// Whether the id of each base is compared.
    pub is_strict: bool,
    /// Each base once.
    pub steps: Vec<Step>,
    /// Which part of its length a chunk at the root takes when it is stored whole.
    pub share: Option<f64>,
}

/// A chunk that others may be stored as a difference to.
#[derive(Clone, Debug)]
pub struct Base {
    /// The chunk itself, proven to be what its id says.
    pub step: Step,
    /// What it takes to make it whole.
    pub closure: Vec<Step>,
    /// Which part of its length it takes when it is stored whole, about.
    pub share: f64,
}

/// A chunk that is stored, proven to be what its id says, to be stored once more.
#[derive(Clone, Debug)]
pub struct Again {
    /// What it is.
    pub kind: ChunkKind,
    /// Which.
    pub id: ChunkId,
    /// Its plaintext.
    pub bytes: Plain,
    /// As what it is to be stored, with its payload; `None`: whole.
    pub delta: Option<(Delta, Vec<u8>)>,
}

impl ChunkReader<'_> {
    /// Reads the chunk at this place, to store it once more: as the delta that it is, if it is one and is to stay one.
    /// What cannot be had from there is had from any other copy, whole.
    pub fn again(&self, id: &ChunkPrefix, place: &Place, as_delta: bool) -> Result<Again> {
        let others = self.catalogue().copies_to_read(id).filter(|other| other.kind == place.kind && other != place);
        let mut error = None;
        for (place, as_delta) in [(*place, as_delta)].into_iter().chain(others.map(|other| (other, false))) {
            match self.again_at(id, &place, as_delta) {
                Ok(again) => return Ok(again),
                // What is said of the copy that was chosen tells most.
                Err(e) => error = error.or(Some(e)),
            }
        }
        Err(error.unwrap_or_else(|| Error::new(Kind::Damage, format!("chunk {id} is missing")).fix(super::REPAIR)))
    }

    fn again_at(&self, prefix: &ChunkPrefix, place: &Place, as_delta: bool) -> Result<Again> {
        let frame = self.kept_frame(place)?;
        let identity = &self.repository().keys().identity;
        for is_strict in [false, true] {
            let Ok(bytes) = self.plain(&frame, place, &mut Trail { is_strict, ..Trail::default() }) else { continue };
            let id = identity.chunk_id(place.kind, &bytes);
            if id.prefix() != *prefix {
                continue;
            }
            let delta = match frame.stored(place.nth as usize) {
                Some(Stored::Delta(stored)) if as_delta => Some((stored.delta.clone(), stored.payload().to_vec())),
                _ => None,
            };
            return Ok(Again { kind: place.kind, id, bytes, delta });
        }
        let pack = self.catalogue().pack(place.pack).id;
        Err(Error::new(Kind::Damage, format!("chunk {prefix} is damaged"))
            .why(format!(
                "frame {} of pack {} holds something else in its place, or what it needs is lost",
                place.frame,
                pack.short()
            ))
            .fix(super::REPAIR))
    }

    /// The n-th chunk of a decoded frame, not compared with any id.
    pub(super) fn plain(&self, frame: &Arc<FrameBytes>, place: &Place, trail: &mut Trail) -> Result<Plain> {
        let what = || format!("frame {} of pack {}", place.frame, self.catalogue().pack(place.pack).id.short());
        let bad = |why: String| Error::new(Kind::Damage, format!("{} is damaged", what())).why(why).fix(super::REPAIR);
        match frame.stored(place.nth as usize) {
            None => Err(bad(format!("{} chunks, but the index names number {}", frame.count(), place.nth))),
            Some(Stored::Full(_)) => {
                trail.share.get_or_insert(f64::from(place.stored_len) / frame.len().max(1) as f64);
                Ok(Plain::In(frame.clone(), place.nth as usize))
            }
            Some(Stored::Delta(stored)) if stored.delta.rank != place.rank => {
                Err(bad(format!("a delta of rank {}, but the index says {}", stored.delta.rank, place.rank)))
            }
            Some(Stored::Delta(stored)) => {
                let at_hand = !trail.is_strict && stored.delta.bases.len() >= BASES_MIN;
                let kept = if at_hand { lock(&self.at_hand.slices).bases(&stored) } else { Vec::new() };
                let kept = kept.into_iter().chain(std::iter::repeat(None));
                let base = |(base, kept): (&ChunkPrefix, Option<Vec<u8>>)| match kept {
                    Some(parts) => Ok(Plain::made(parts)),
                    None => self.base(base, place, trail),
                };
                let bases = stored.delta.bases.iter().zip(kept).map(base).collect::<Result<Vec<_>>>()?;
                let bases: Vec<&[u8]> = bases.iter().map(|base| &base[..]).collect();
                let mut room = self.room();
                self.with_decompressor(|decompressor| stored.decode(&bases, decompressor, &mut room.bytes))?
                    .map_err(|e| malformed(&what(), &e))?;
                Ok(Plain::Made(Arc::new(room)))
            }
        }
    }

    /// The plaintext of a base of what lies at this place.
    fn base(&self, id: &ChunkPrefix, of: &Place, trail: &mut Trail) -> Result<Plain> {
        if let Some(step) = trail.steps.iter().find(|step| step.id == *id && step.rank < of.rank) {
            return Ok(step.bytes.clone());
        }
        let mut error = None;
        let copies = self.catalogue().copies_to_read(id);
        let before = trail.steps.len();
        for copy in copies.filter(|copy| copy.kind == of.kind && copy.rank < of.rank) {
            match self.step(id, &copy, trail) {
                Ok(step) => {
                    trail.steps.push(step.clone());
                    return Ok(step.bytes);
                }
                Err(e) => {
                    // What was read in vain takes nothing from what another copy may need.
                    trail.steps.truncate(before);
                    error = Some(e);
                }
            }
        }
        let kind = error.as_ref().map_or(Kind::Damage, Error::kind);
        let why = error.map_or_else(|| "no pack that is there and whole holds it".to_owned(), |e| e.to_string());
        Err(Error::new(kind, format!("chunk {id} cannot be had, which others are stored as differences to"))
            .why(why)
            .fix(super::REPAIR))
    }

    fn step(&self, id: &ChunkPrefix, copy: &Place, trail: &mut Trail) -> Result<Step> {
        let bytes: usize = trail.steps.iter().map(|step| step.bytes.len()).sum();
        if trail.steps.len() >= CLOSURE_CHUNKS_MAX || bytes + copy.raw_len as usize > CLOSURE_BYTES_MAX {
            return Err(Error::new(Kind::Damage, format!("chunk {id} takes too many others"))
                .why(format!("more than {CLOSURE_CHUNKS_MAX} chunks or {CLOSURE_BYTES_MAX} bytes")));
        }
        let frame = self.kept_frame(copy)?;
        let plain = self.plain(&frame, copy, trail)?;
        if trail.is_strict && self.repository().keys().identity.chunk_id(copy.kind, &plain).prefix() != *id {
            return Err(Error::new(Kind::Damage, format!("chunk {id} is something else")).fix(super::REPAIR));
        }
        Ok(Step { id: *id, rank: copy.rank, bytes: plain })
    }

    /// Whether the n-th chunk of a decoded frame is what a table says, as far as that is up to this frame: what is wrong
    /// with its bases is not.
    pub fn is_good(&self, frame: &Arc<FrameBytes>, place: &Place, id: &ChunkPrefix) -> bool {
        let is_it = |bytes: &[u8]| {
            let identity = &self.repository().keys().identity;
            bytes.len() == place.raw_len as usize && identity.chunk_id(place.kind, bytes).prefix() == *id
        };
        if self.plain(frame, place, &mut Trail::default()).is_ok_and(|bytes| is_it(&bytes)) {
            return true;
        }
        let Some(Stored::Delta(stored)) = frame.stored(place.nth as usize) else { return false };
        if stored.delta.rank != place.rank {
            return false;
        }
        let mut trail = Trail { is_strict: true, ..Trail::default() };
        let mut bases = stored.delta.bases.iter().map(|base| self.base(base, place, &mut trail));
        bases.any(|base| base.is_err()) || self.plain(frame, place, &mut trail).is_ok_and(|bytes| is_it(&bytes))
    }

    /// The frames of which a chunk is made in the end, as far as the index knows: each once, first that of the line of
    /// first bases. Mostly there is one.
    pub fn roots(&self, id: &ChunkPrefix, place: &Place) -> Vec<Place> {
        let (mut roots, mut seen) = (Vec::new(), Vec::new());
        self.add_roots(id, place, &mut roots, &mut seen);
        roots
    }

    fn add_roots(&self, id: &ChunkPrefix, place: &Place, roots: &mut Vec<Place>, seen: &mut Vec<ChunkPrefix>) {
        if seen.contains(id) || seen.len() > CLOSURE_CHUNKS_MAX {
            return;
        }
        seen.push(*id);
        if place.rank == 0 {
            if !roots.iter().any(|root: &Place| (root.pack, root.frame) == (place.pack, place.frame)) {
                roots.push(*place);
            }
            return;
        }
        for base in &self.catalogue().bases(id, place) {
            let is_below = |copy: &Place| copy.kind == place.kind && copy.rank < place.rank;
            if let Some(copy) = self.catalogue().copies_to_read(base).find(is_below) {
                self.add_roots(base, &copy, roots, seen);
            }
        }
    }

    /// Reads a chunk as a base for others, through the copy that takes the fewest others itself; `None` if it cannot
    /// be had.
    pub fn as_base(&self, kind: ChunkKind, id: &ChunkPrefix) -> Option<Base> {
        let copies = self.catalogue().copies(id).filter(|copy| copy.kind == kind);
        let copy = copies.min_by_key(|copy| copy.rank)?;
        // The base itself is compared, and that proves what it is made of.
        let mut trail = Trail::default();
        let frame = self.kept_frame(&copy).ok()?;
        let bytes = self.plain(&frame, &copy, &mut trail).ok()?;
        let is_it = self.repository().keys().identity.chunk_id(kind, &bytes).prefix() == *id;
        let step = Step { id: *id, rank: copy.rank, bytes };
        is_it.then(|| Base { step, closure: trail.steps, share: trail.share.unwrap_or(1.0) })
    }
}
