//! Whole packs, read and compared chunk by chunk.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::{Findings, Report, Request};
use crate::entry::Time;
use crate::error::{Kind, Result};
use crate::event::Job;
use crate::id::{ChunkId, ObjectId};
use crate::pack::{FrameInfo, PACK_BYTES_MAX, PackKey};
use crate::record::BadFrame;
use crate::repo::{Catalogue, Folder, Repository};
use crate::seal::Decompressor;

/// When each pack was last read and found whole.
pub(super) struct Ledger(HashMap<ObjectId, Time>);

impl Ledger {
    /// From all notes that can be read; one that cannot only makes packs look unverified.
    pub fn read(repository: &Repository) -> Self {
        let mut times = HashMap::new();
        for id in repository.list(Folder::Notes).unwrap_or_default() {
            let Ok(note) = repository.note(&id) else { continue };
            for pack in note.verified {
                let time: &mut Time = times.entry(pack).or_insert(note.time);
                *time = (*time).max(note.time);
            }
        }
        Self(times)
    }

    pub fn knows(&self, id: &ObjectId) -> bool {
        self.0.contains_key(id)
    }

    /// As many packs as make up this share of the bytes: first those never verified, then the oldest.
    pub fn oldest_first(&self, sizes: &BTreeMap<ObjectId, u64>, share: f64) -> Vec<(ObjectId, u64)> {
        let mut order: Vec<_> = sizes.iter().map(|(id, size)| (self.0.get(id).copied(), *id, *size)).collect();
        order.sort();
        let total: u64 = sizes.values().sum();
        let goal = (total as f64 * share.clamp(0.0, 1.0)).ceil() as u64;
        let mut sum = 0;
        let take = |(_, id, size): (Option<Time>, ObjectId, u64)| {
            let more = sum < goal;
            sum += size;
            more.then_some((id, size))
        };
        order.into_iter().map_while(take).collect()
    }
}

/// What one pack's bytes showed.
struct Wrong {
    pack: ObjectId,
    what: String,
    frames: Vec<BadFrame>,
    chunks: Vec<ChunkId>,
}

/// Reads these packs, as far as time and bytes allow. Those that are whole come back.
pub(super) fn read_packs(
    repository: &Repository,
    catalogue: &Catalogue,
    order: &[(ObjectId, u64)],
    request: &Request,
    findings: &mut Findings,
    report: &mut Report,
    job: Job<'_>,
) -> Result<Vec<ObjectId>> {
    let total: u64 = order.iter().map(|(_, size)| size).sum();
    let bytes_max = request.bytes_max.unwrap_or(u64::MAX);
    job.phase("reading data", Some(order.len() as u64), Some(total.min(bytes_max)));
    let (begun, bytes, packs) = (repository.world().elapsed(), AtomicU64::new(0), AtomicU64::new(0));
    let wrong = Mutex::new(Vec::new());
    let out_of_time = || request.time_max.is_some_and(|max| repository.world().elapsed().saturating_sub(begun) >= max);
    let one = |(id, size): &(ObjectId, u64)| -> Result<Option<ObjectId>> {
        job.cancel.check()?;
        if out_of_time() || bytes.fetch_add(*size, Ordering::Relaxed) >= bytes_max {
            bytes.fetch_sub(*size, Ordering::Relaxed);
            return Ok(None);
        }
        let found = read_pack(repository, id)?;
        packs.fetch_add(1, Ordering::Relaxed);
        job.advance(1, *size);
        Ok(match found {
            Some(bad) => {
                if let Ok(mut wrong) = wrong.lock() {
                    wrong.push(bad);
                }
                None
            }
            None => Some(*id),
        })
    };
    let whole: Vec<Option<ObjectId>> = order.par_iter().map(one).collect::<Result<_>>()?;
    report.packs_read = packs.into_inner();
    report.bytes_read = bytes.into_inner();
    let mut wrong = wrong.into_inner().unwrap_or_default();
    wrong.sort_by_key(|bad| bad.pack);
    for bad in wrong {
        note(bad, catalogue, findings);
    }
    Ok(whole.into_iter().flatten().collect())
}

/// Adds what one pack showed. What a damage record says already is no news: its copies do not count any more, and
/// chunks that nothing else holds have been missed by the structure.
fn note(bad: Wrong, catalogue: &Catalogue, findings: &mut Findings) {
    let is_known = |frame: &BadFrame| {
        let known = catalogue.damage().iter().filter(|old| old.pack == frame.pack);
        known.into_iter().any(|old| old.frame.is_none() || old.frame == frame.frame)
    };
    if !bad.frames.is_empty() && bad.frames.iter().all(is_known) {
        return;
    }
    let object = format!("pack {}", bad.pack.short());
    let finding = match findings.found.iter().position(|found| found.object == object) {
        Some(known) => known,
        None => findings.add(object, bad.what),
    };
    for id in bad.chunks {
        // Another copy may serve.
        if !catalogue.copies(&id).any(|place| catalogue.pack(place.pack).id != bad.pack) {
            findings.chunks.entry(id).or_insert(finding);
        }
    }
    findings.frames.extend(bad.frames.into_iter().filter(|frame| !is_known(frame)));
}

/// Reads a pack; what is wrong with it, if anything.
fn read_pack(repository: &Repository, id: &ObjectId) -> Result<Option<Wrong>> {
    let bytes = match repository.storage().get(&Folder::Packs.key(id), PACK_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(e) => {
            let error: crate::error::Error = e.into();
            // One that a prune took away meanwhile is no damage; anything else is.
            return Ok((error.kind() != Kind::Missing).then(|| useless(id, error.to_string())));
        }
    };
    let (key, table) = match repository.open_pack_bytes(id, &bytes) {
        Ok(opened) => opened,
        Err(e) => return Ok(Some(useless(id, e.to_string()))),
    };
    let mut decompressor =
        Decompressor::new().map_err(|e| crate::error::Error::io("cannot start a decompressor", &e))?;
    let mut bad = Wrong { pack: *id, what: String::new(), frames: Vec::new(), chunks: Vec::new() };
    for (ordinal, frame) in table.frames.iter().enumerate() {
        if let Err(what) = check_frame(repository, &key, ordinal as u32, frame, &bytes, &mut decompressor) {
            bad.what = format!("frame {ordinal}: {what}");
            bad.chunks.extend(frame.chunks.iter().map(|chunk| chunk.id));
            let chunks = frame.chunks.iter().map(|chunk| chunk.id.prefix()).collect();
            bad.frames.push(BadFrame { pack: *id, frame: Some(ordinal as u32), chunks });
        }
    }
    if bad.frames.len() > 1 {
        bad.what = format!("{} of {} frames are damaged; the last: {}", bad.frames.len(), table.frames.len(), bad.what);
    }
    if bad.frames.is_empty() && ObjectId::of(&bytes) != *id {
        bad.what = "its bytes are not those that its name says, though every chunk in it is good".into();
    }
    Ok((!bad.what.is_empty()).then_some(bad))
}

/// A pack of which nothing can be used.
fn useless(id: &ObjectId, what: String) -> Wrong {
    let frames = vec![BadFrame { pack: *id, frame: None, chunks: Vec::new() }];
    Wrong { pack: *id, what, frames, chunks: Vec::new() }
}

fn check_frame(
    repository: &Repository,
    key: &PackKey,
    ordinal: u32,
    frame: &FrameInfo<ChunkId>,
    pack: &[u8],
    decompressor: &mut Decompressor,
) -> std::result::Result<(), String> {
    let at = frame.offset as usize;
    let mut sealed = pack.get(at..at + frame.stored_len as usize).ok_or("it lies beyond the pack's end")?.to_vec();
    let plain = key.open_frame(frame.kind, ordinal, &mut sealed, decompressor).map_err(|e| e.to_string())?;
    if plain.count() != frame.chunks.len() {
        return Err(format!("{} chunks, {} in the table", plain.count(), frame.chunks.len()));
    }
    let identity = &repository.keys().identity;
    for (n, chunk) in frame.chunks.iter().enumerate() {
        let good = plain.chunk(n).is_some_and(|bytes| {
            bytes.len() == chunk.raw_len as usize && identity.chunk_id(frame.kind, bytes) == chunk.id
        });
        if !good {
            return Err(format!("chunk {} is something else", chunk.id.short()));
        }
    }
    Ok(())
}
