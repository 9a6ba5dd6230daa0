//! Whole packs, read and compared chunk by chunk.
//!
//! A pack whose own table is gone, or which is not what its name says, is judged by what the index says of it: one bad
//! byte costs the frame that it is in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::{Report, Request};
use crate::entry::Time;
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::{ChunkPrefix, ObjectId};
use crate::pack::{FrameInfo, HEAD_BYTES, PACK_BYTES_MAX, PackKey};
use crate::record::BadFrame;
use crate::repo::{Catalogue, ChunkReader, Folder, Place, Repository};
use crate::seal::Decompressor;
use crate::storage::ErrorKind;

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
        if share >= 1.0 {
            return order.into_iter().map(|(_, id, size)| (id, size)).collect();
        }
        let take = |(_, id, size): (Option<Time>, ObjectId, u64)| {
            let more = sum < goal;
            sum += size;
            more.then_some((id, size))
        };
        order.into_iter().map_while(take).collect()
    }
}

/// What is wrong with one pack.
pub(super) struct Wrong {
    pub pack: ObjectId,
    pub what: String,
    /// The frames that cannot be used.
    pub frames: Vec<BadFrame>,
}

/// What came of reading packs.
#[derive(Default)]
pub(super) struct Seen {
    /// Read, and as they must be.
    pub whole: HashSet<ObjectId>,
    /// Read, and not so; by name.
    pub wrong: Vec<Wrong>,
}

/// Reads these packs: the first ones anyhow, the others as far as time and bytes allow.
pub(super) fn read_packs(
    repository: &Repository,
    catalogue: &Catalogue,
    anyhow: &[(ObjectId, u64)],
    others: &[(ObjectId, u64)],
    request: &Request,
    report: &mut Report,
    job: Job<'_>,
) -> Result<Seen> {
    let total: u64 = anyhow.iter().chain(others).map(|(_, size)| size).sum();
    let bytes_max = request.bytes_max.unwrap_or(u64::MAX);
    job.phase("reading data", Some((anyhow.len() + others.len()) as u64), Some(total.min(bytes_max)));
    let (begun, bytes, packs) = (repository.world().elapsed(), AtomicU64::new(0), AtomicU64::new(0));
    let seen = Mutex::new(Seen::default());
    let reader = ChunkReader::new(repository, catalogue);
    let out_of_time = || request.time_max.is_some_and(|max| repository.world().elapsed().saturating_sub(begun) >= max);
    let failed = || Error::new(Kind::Failed, "another thread failed");
    let one = |id: &ObjectId, size: u64| -> Result<()> {
        job.cancel.check()?;
        let read = read_pack(&reader, id)?;
        packs.fetch_add(1, Ordering::Relaxed);
        job.advance(1, size);
        let mut seen = seen.lock().map_err(|_| failed())?;
        match read {
            Read::Whole => _ = seen.whole.insert(*id),
            Read::Wrong(wrong) => seen.wrong.push(wrong),
            Read::Gone => {}
        }
        Ok(())
    };
    anyhow.par_iter().try_for_each(|(id, size)| {
        bytes.fetch_add(*size, Ordering::Relaxed);
        one(id, *size)
    })?;
    others.par_iter().try_for_each(|(id, size)| {
        if out_of_time() || bytes.fetch_add(*size, Ordering::Relaxed) >= bytes_max {
            bytes.fetch_sub(*size, Ordering::Relaxed);
            return Ok(());
        }
        one(id, *size)
    })?;
    report.packs_read = packs.into_inner();
    report.bytes_read = bytes.into_inner();
    let mut seen = seen.into_inner().map_err(|_| failed())?;
    seen.wrong.sort_by_key(|wrong| wrong.pack);
    Ok(seen)
}

enum Read {
    Whole,
    Wrong(Wrong),
    /// A prune took it away meanwhile.
    Gone,
}

/// Reads a pack. What this user may not read says nothing about the pack, and ends the check.
fn read_pack(reader: &ChunkReader<'_>, id: &ObjectId) -> Result<Read> {
    let (repository, catalogue) = (reader.repository(), reader.catalogue());
    let all_of_it = |what: String| {
        Read::Wrong(Wrong { pack: *id, what, frames: vec![BadFrame { pack: *id, frame: None, chunks: Vec::new() }] })
    };
    let bytes = match repository.storage().get(&Folder::Packs.key(id), PACK_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(e) if e.kind == ErrorKind::Missing => return Ok(Read::Gone),
        Err(e) if e.kind == ErrorKind::Denied => return Err(e.into()),
        Err(e) => return Ok(all_of_it(Error::from(e).to_string())),
    };
    let (mut what, key, frames) = match repository.open_pack_bytes(id, &bytes) {
        Ok((key, table)) => {
            let own = (0..).zip(table.to_prefixes().frames).collect();
            // Another pack's bytes are no use under this name, where readers look for what the index says.
            let said = if ObjectId::of(&bytes) == *id { BTreeMap::new() } else { catalogue.frames_in(id) };
            (String::new(), key, if said.is_empty() { own } else { said })
        }
        Err(e) => match PackKey::open(repository.keys(), &bytes[..bytes.len().min(HEAD_BYTES)]) {
            Ok((_, key)) => (e.to_string(), key, catalogue.frames_in(id)),
            Err(_) => return Ok(all_of_it(e.to_string())),
        },
    };
    let mut decompressor = Decompressor::new().map_err(|e| Error::io("cannot start a decompressor", &e))?;
    let mut bad = Vec::new();
    let mut last = String::new();
    for (ordinal, frame) in &frames {
        if let Err(what) = check_frame(reader, &key, *ordinal, frame, &bytes, &mut decompressor) {
            last = format!("frame {ordinal}: {what}");
            let chunks = frame.chunks.iter().map(|chunk| chunk.id).collect();
            bad.push(BadFrame { pack: *id, frame: Some(*ordinal), chunks });
        }
    }
    match bad.len() {
        0 if what.is_empty() && ObjectId::of(&bytes) == *id => return Ok(Read::Whole),
        0 if what.is_empty() => {
            what = "its bytes are not those that its name says, though every chunk in it is good".into()
        }
        0 => what += "; every chunk in it is good",
        1 if what.is_empty() => what = last,
        n => what = format!("{n} of {} frames are damaged; the last: {last}", frames.len()),
    }
    Ok(Read::Wrong(Wrong { pack: *id, what, frames: bad }))
}

fn check_frame(
    reader: &ChunkReader<'_>,
    key: &PackKey,
    ordinal: u32,
    frame: &FrameInfo<ChunkPrefix>,
    pack: &[u8],
    decompressor: &mut Decompressor,
) -> std::result::Result<(), String> {
    let at = frame.offset as usize;
    let mut sealed = pack.get(at..at + frame.stored_len as usize).ok_or("it lies beyond the pack's end")?.to_vec();
    let plain = key.open_frame(frame.kind, ordinal, &mut sealed, decompressor).map_err(|e| e.to_string())?;
    if plain.count() != frame.chunks.len() {
        return Err(format!("{} chunks, {} in the table", plain.count(), frame.chunks.len()));
    }
    for (n, chunk) in frame.chunks.iter().enumerate() {
        let (nth, raw_len, kind, rank) = (n as u32, chunk.raw_len, frame.kind, chunk.delta.rank);
        let (offset, stored_len) = (frame.offset as u32, frame.stored_len);
        let place = Place { pack: u32::MAX, frame: ordinal, offset, stored_len, nth, raw_len, kind, rank };
        if !reader.is_good(&plain, &place, &chunk.id) {
            return Err(format!("chunk {} is something else", chunk.id));
        }
    }
    Ok(())
}
