//! Parts of chunks that stay at hand, for deltas that are made from many others.
//!
//! What a database moves between its pages is stored against pages all over its file. To decode all their frames again,
//! each for one page, takes longer than everything else. So who is about to read a large file says so first: what such
//! deltas will need is then kept when its frame goes by.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;
use rayon::prelude::*;

use super::reader::lock;
use super::{CLOSURE_BYTES_MAX, CLOSURE_CHUNKS_MAX, ChunkReader, Place};
use crate::crypto::ChunkKind;
use crate::entry::Content;
use crate::error::{Error, Kind, Result};
use crate::event::Cancel;
use crate::id::ChunkPrefix;
use crate::pack::{BASES_MAX, FrameBytes, Slice, Stored, StoredDelta};

/// So much is looked through: with blocks of 64 KiB 16 GiB.
const CHUNKS_MAX: u32 = 1 << 18;
/// So many parts are waited for.
const PARTS_MAX: usize = 1 << 17;
/// No more than this is kept at a time. Bytes.
const KEPT_BYTES_MAX: usize = 32 << 20;
/// Deltas with fewer bases have them read.
pub(super) const BASES_MIN: usize = 2;
/// A longer slice is what the chunk itself was before, and read in its turn. Bytes.
const SLICE_BYTES_MAX: u32 = 16 << 10;

/// So all bases of a delta together take no more than they may when they are read.
const CHUNK_BYTES_MAX: usize = CLOSURE_BYTES_MAX / BASES_MAX;

/// A part of a chunk that is stored whole: which, where it begins and how long it is, in bytes.
type Part = (ChunkPrefix, u32, u32);

/// A part, and how often it will be needed.
#[derive(Debug)]
struct Wanted {
    nth: u32,
    part: Part,
    uses: u32,
}

/// Parts that are waited for, and those that went by and are still needed.
#[derive(Debug, Default)]
pub(super) struct Slices {
    /// By pack and frame: where that lies, and what is wanted of it.
    wanted: HashMap<(u32, u32), (Place, Vec<Wanted>), RandomState>,
    count: usize,
    bytes_wanted: usize,
    /// With how often they will be needed.
    kept: HashMap<Part, (Vec<u8>, u32), RandomState>,
    bytes: usize,
}

impl Slices {
    fn want(&mut self, place: &Place, part: Part) {
        let new = || (*place, Vec::new());
        let (_, parts) = self.wanted.entry((place.pack, place.frame)).or_insert_with(new);
        match parts.iter_mut().find(|wanted| (wanted.nth, wanted.part) == (place.nth, part)) {
            Some(wanted) => wanted.uses += 1,
            None => {
                self.count += 1;
                self.bytes_wanted += part.2 as usize;
                parts.push(Wanted { nth: place.nth, part, uses: 1 });
            }
        }
    }

    /// Keeps what is wanted of a frame, as far as there is room.
    pub fn take_from(&mut self, place: &Place, frame: &FrameBytes) {
        let Some((_, parts)) = self.wanted.remove(&(place.pack, place.frame)) else { return };
        for Wanted { nth, part, uses } in parts {
            let (_, offset, len) = part;
            let bytes = frame.chunk(nth as usize).and_then(|bytes| bytes.get(offset as usize..)?.get(..len as usize));
            if let Some(bytes) = bytes.filter(|bytes| self.bytes + bytes.len() <= KEPT_BYTES_MAX) {
                self.bytes += bytes.len();
                self.kept.insert(part, (bytes.to_vec(), uses));
            }
        }
    }

    /// For each base of a delta as much of it as the delta refers to, with zeroes before and between, if that is at hand.
    pub fn bases(&mut self, stored: &StoredDelta<'_>) -> Vec<Option<Vec<u8>>> {
        let bases = &stored.delta.bases;
        if self.kept.is_empty() {
            return vec![None; bases.len()];
        }
        let slices = stored.slices().unwrap_or_default();
        let of = |nth: u8| slices.iter().filter(move |slice| slice.base == nth);
        let base = |(nth, id): (u8, &ChunkPrefix)| {
            let mut out = Vec::new();
            for Slice { offset, len, .. } in of(nth) {
                let (bytes, _) = self.kept.get(&(*id, *offset, *len))?;
                let end = *offset as usize + bytes.len();
                out.resize(end.max(out.len()), 0);
                out[*offset as usize..end].copy_from_slice(bytes);
            }
            of(nth).for_each(|slice| self.used((*id, slice.offset, slice.len)));
            (!out.is_empty()).then_some(out)
        };
        (0..).zip(bases).map(base).collect()
    }

    /// A part was needed once; after the last time it goes.
    fn used(&mut self, part: Part) {
        if let Entry::Occupied(mut kept) = self.kept.entry(part) {
            let (bytes, uses) = kept.get_mut();
            *uses = uses.saturating_sub(1);
            if *uses == 0 {
                self.bytes -= bytes.len();
                kept.remove();
            }
        }
    }
}

impl ChunkReader<'_> {
    /// Prepares for this content to be read, about in order, instead of what was announced before. Of what is very
    /// large only the beginning is looked through.
    pub fn announce(&self, content: &Content, cancel: &Cancel) {
        let (mut slices, mut count) = (Slices::default(), 0);
        // An error only ends the look: what cannot be read here is told when it is read.
        let _ = self.for_each_chunk(content, &mut |chunk| {
            cancel.check()?;
            count += 1;
            if count > CHUNKS_MAX || slices.count >= PARTS_MAX {
                return Err(Error::new(Kind::Failed, "enough"));
            }
            let id = chunk.id.prefix();
            if let Some(place) = self.catalogue().copies_to_read(&id).find(|place| place.kind == ChunkKind::Data) {
                self.look_through(&id, &place, &mut slices, &mut Vec::new());
            }
            Ok(())
        });
        *lock(&self.at_hand.slices) = slices;
    }

    /// Prepares for these deltas to be read, instead of what was announced before; comes back with how many of them there
    /// is room for.
    pub fn announce_deltas(&self, deltas: &[(ChunkPrefix, Place)], cancel: &Cancel) -> Result<usize> {
        let (mut slices, mut count) = (Slices::default(), 0);
        for (id, place) in deltas {
            cancel.check()?;
            if slices.bytes_wanted >= KEPT_BYTES_MAX {
                break;
            }
            self.look_through(id, place, &mut slices, &mut Vec::new());
            count += 1;
        }
        *lock(&self.at_hand.slices) = slices;
        Ok(count)
    }

    /// Reads the frames of which parts are still waited for.
    pub fn fetch_announced(&self, cancel: &Cancel) -> Result<()> {
        let mut frames: Vec<Place> = lock(&self.at_hand.slices).wanted.values().map(|(place, _)| *place).collect();
        frames.sort_unstable_by_key(|place| (place.pack, place.frame));
        frames.par_iter().try_for_each(|place| {
            cancel.check()?;
            // What cannot be had here is told by who needs it.
            let _ = self.frame(place);
            Ok(())
        })
    }

    /// Wants what a chunk, and what it is stored against, will need. `seen`: what was looked at for it.
    fn look_through(&self, id: &ChunkPrefix, place: &Place, slices: &mut Slices, seen: &mut Vec<ChunkPrefix>) {
        if place.rank == 0 || seen.len() >= CLOSURE_CHUNKS_MAX || seen.contains(id) {
            return;
        }
        seen.push(*id);
        let bases = self.catalogue().bases(id, place);
        let copy = |base: &ChunkPrefix| {
            self.catalogue().copies_to_read(base).find(|copy| copy.kind == place.kind && copy.rank < place.rank)
        };
        let copies: Vec<Option<Place>> = bases.iter().map(copy).collect();
        if bases.len() >= BASES_MIN
            && let Ok(frame) = self.kept_frame(place)
            && let Some(Stored::Delta(stored)) = frame.stored(place.nth as usize)
        {
            for Slice { base, offset, len } in stored.slices().unwrap_or_default() {
                let base = usize::from(base);
                if let (Some(id), Some(Some(copy))) = (bases.get(base), copies.get(base))
                    && copy.rank == 0
                    && copy.raw_len as usize <= CHUNK_BYTES_MAX
                    && len <= SLICE_BYTES_MAX
                {
                    slices.want(copy, (*id, offset, len));
                }
            }
        }
        for (base, copy) in bases.iter().zip(&copies) {
            copy.iter().for_each(|copy| self.look_through(base, copy, slices, seen));
        }
    }
}
