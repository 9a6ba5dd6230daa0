//! Whole packs, read and compared chunk by chunk.
//!
//! A pack whose own table is gone, or which is not what its name says, is judged by what the index says of it: one bad
//! byte costs the frame that it is in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::super::damage::not_mended;
use super::made::{Plan, Soon};
use super::{Report, Request};
use crate::entry::Time;
use crate::error::{Error, Result};
use crate::event::Job;
use crate::id::ObjectId;
use crate::pack::{ChunkInfo, FrameBytes, FrameInfo, HEAD_BYTES, PACK_BYTES_MAX, PackKey};
use crate::record::BadFrame;
use crate::repo::{Catalogue, ChunkReader, Folder, Mended, ObjectAt, Place, Repository, read_through};
use crate::seal::Decompressor;
use crate::storage::ErrorKind;

/// Who may have to stop before the end reads about so much at a time, and later a quarter of what was read by then, so
/// that the end is about on time.
const BATCH_BYTES: u64 = 64 << 20;

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

    /// As many packs as make up this share of the bytes: first those never verified, then the oldest. Those that are
    /// read anyhow do not count, lest they keep others from being read ever.
    pub fn oldest_first(
        &self,
        sizes: &BTreeMap<ObjectId, u64>,
        anyhow: &BTreeSet<ObjectId>,
        share: f64,
    ) -> Vec<(ObjectId, u64)> {
        let others = sizes.iter().filter(|(id, _)| !anyhow.contains(id));
        let mut order: Vec<_> = others.map(|(id, size)| (self.0.get(id).copied(), *id, *size)).collect();
        order.sort();
        let total: u64 = order.iter().map(|(_, _, size)| size).sum();
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
    /// What of it cannot be used.
    pub frames: Vec<BadFrame>,
    /// Whether that is only until its parity has given it back.
    pub is_mendable: bool,
}

impl Wrong {
    /// Nothing of it can be used.
    fn whole(pack: ObjectId, what: String) -> Self {
        Self { pack, what, frames: vec![BadFrame { pack, frame: None, chunks: Vec::new() }], is_mendable: false }
    }

    /// These of so many frames cannot be used, nor its table if something is said of that.
    fn parts(pack: ObjectId, table: String, mut frames: Vec<BadFrame>, last: &str, count: usize) -> Self {
        let what = match frames.len() {
            0 if table.is_empty() => {
                "its bytes are not those that its name says, though every chunk in it is good".into()
            }
            0 => table.clone() + "; every chunk in it is good",
            1 if table.is_empty() => last.to_owned(),
            n => format!("{n} of {count} frames are damaged; the last: {last}"),
        };
        if frames.is_empty() || !table.is_empty() {
            frames.push(BadFrame { pack, frame: Some(BadFrame::OUTSIDE), chunks: Vec::new() });
        }
        Self { pack, what, frames, is_mendable: false }
    }
}

/// What came of reading packs.
#[derive(Default)]
pub(super) struct Seen {
    /// Read, and as they must be.
    pub whole: HashSet<ObjectId>,
    /// Read, and not so; by name.
    pub wrong: Vec<Wrong>,
    /// Those of the whole ones, and other objects, that were not so before, and what was wrong with them.
    pub mended: Vec<(ObjectAt, String)>,
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
    let mut left = request.bytes_max.unwrap_or(u64::MAX).saturating_sub(sum(anyhow));
    let is_within = |(_, size): &&(ObjectId, u64)| {
        let is_within = left > 0;
        left = left.saturating_sub(*size);
        is_within
    };
    let within: Vec<(ObjectId, u64)> = others.iter().take_while(is_within).copied().collect();
    let packs = [anyhow, &within].concat();
    let begun = repository.world().elapsed();
    let out_of_time = || request.time_max.is_some_and(|max| repository.world().elapsed().saturating_sub(begun) >= max);
    let batches = match request.time_max {
        None => vec![&packs[..]],
        Some(_) => std::iter::once(anyhow).chain(batches(&within)).collect(),
    };
    let reader = ChunkReader::new(repository, catalogue);
    let mut seen = Seen::default();
    let (mut count, mut bytes) = (packs.len() as u64, sum(&packs));
    for (n, batch) in batches.into_iter().enumerate() {
        if n > 0 && out_of_time() {
            break;
        }
        job.phase("reading data", Some(count), Some(bytes));
        count -= batch.len() as u64;
        bytes -= sum(batch);
        read_batch(&reader, batch, &mut seen, job)?;
        report.packs_read += batch.len() as u64;
        report.bytes_read += sum(batch);
    }
    seen.wrong.sort_by_key(|wrong| wrong.pack);
    Ok(seen)
}

fn sum(packs: &[(ObjectId, u64)]) -> u64 {
    packs.iter().map(|(_, size)| size).sum()
}

/// In parts of which each is soon done.
fn batches(packs: &[(ObjectId, u64)]) -> impl Iterator<Item = &[(ObjectId, u64)]> {
    let (mut before, mut bytes) = (0, 0);
    packs.chunk_by(move |(_, size), _| {
        bytes += size;
        let goes_on = bytes < BATCH_BYTES.max(before / 4);
        if !goes_on {
            before += std::mem::take(&mut bytes);
        }
        goes_on
    })
}

/// Reads packs, of which what is stored as differences is made together.
fn read_batch(reader: &ChunkReader<'_>, packs: &[(ObjectId, u64)], seen: &mut Seen, job: Job<'_>) -> Result<()> {
    let plan = Plan::new(reader, &packs.iter().map(|(id, _)| *id).collect(), job)?;
    let all = packs.par_iter().map(|(id, size)| {
        job.cancel.check()?;
        let passes = passes(reader, id, &plan)?;
        job.advance(1, *size);
        Ok((*id, passes))
    });
    let (whole, mut others): (Vec<_>, Vec<_>) =
        all.collect::<Result<Vec<_>>>()?.into_iter().partition(|(_, passes)| *passes);
    seen.whole.extend(whole.iter().map(|(id, _)| *id));
    // A pack with something that did not come out as it must is judged by itself.
    others.extend(plan.finish(job)?.into_iter().map(|id| (id, false)));
    for (id, _) in others {
        job.cancel.check()?;
        seen.add(id, mended(reader.repository(), &id, judge(reader, &id)?));
    }
    Ok(())
}

impl Seen {
    /// Whether this pack was read.
    pub fn has_read(&self, id: &ObjectId) -> bool {
        self.whole.contains(id) || self.wrong.iter().any(|wrong| wrong.pack == *id)
    }

    /// What was seen of a pack takes the place of what was seen of it before.
    fn add(&mut self, id: ObjectId, read: Read) {
        self.whole.remove(&id);
        self.wrong.retain(|wrong| wrong.pack != id);
        match read {
            Read::Whole => _ = self.whole.insert(id),
            Read::Wrong(wrong) => self.wrong.push(wrong),
            Read::Mended(what) => {
                self.whole.insert(id);
                self.mended.push((ObjectAt::in_place(Folder::Packs, &id), what));
            }
            Read::Gone => {}
        }
    }
}

enum Read {
    Whole,
    Wrong(Wrong),
    /// It was wrong, and is not any more.
    Mended(String),
    /// A prune took it away meanwhile.
    Gone,
}

/// Whether a pack, read in parts, is what it must be; what the plan has of it is made later.
fn passes(reader: &ChunkReader<'_>, id: &ObjectId, plan: &Plan<'_>) -> Result<bool> {
    let mut frames = Frames::new(reader, plan.number(id), Some(plan))?;
    let is_good =
        |key: &PackKey, ordinal, frame: &FrameInfo, sealed: &[u8]| frames.check(key, ordinal, frame, sealed).is_ok();
    let is_whole = read_through(reader.repository(), id, is_good).unwrap_or(false);
    plan.make_soon(&mut frames.soon)?;
    Ok(is_whole)
}

/// What there is of a pack when its parity has given back what it can.
fn mended(repository: &Repository, id: &ObjectId, read: Read) -> Read {
    let Read::Wrong(wrong) = read else { return read };
    match repository.mend(&ObjectAt::in_place(Folder::Packs, id)) {
        Ok(Mended::Yes) => Read::Mended(wrong.what),
        // What its name says can hold something else than its table says.
        Ok(Mended::No | Mended::Whole) => Read::Wrong(wrong),
        Ok(Mended::Gone) => Read::Gone,
        Err(e) => {
            let frames = vec![BadFrame { pack: *id, frame: Some(BadFrame::OUTSIDE), chunks: Vec::new() }];
            Read::Wrong(Wrong {
                what: format!("{}; {}", wrong.what, not_mended(&e)),
                frames,
                is_mendable: true,
                ..wrong
            })
        }
    }
}

/// Reads a pack, and tells what is wrong with it. What cannot be read by this user, or for want of handles, says nothing
/// about the pack, and ends the check.
fn judge(reader: &ChunkReader<'_>, id: &ObjectId) -> Result<Read> {
    let (repository, catalogue) = (reader.repository(), reader.catalogue());
    let all_of_it = |what: String| Read::Wrong(Wrong::whole(*id, what));
    let bytes = match repository.storage().get(&Folder::Packs.key(id), PACK_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(e) if e.kind == ErrorKind::Missing => return Ok(Read::Gone),
        Err(e) if matches!(e.kind, ErrorKind::Denied | ErrorKind::Exhausted) => return Err(e.into()),
        Err(e) => return Ok(all_of_it(Error::from(e).to_string())),
    };
    let (what, key, frames) = match repository.open_pack_bytes(id, &bytes) {
        Ok((key, table)) => {
            let own = (0..).zip(table.frames).collect();
            // Another pack's bytes are no use under this name, where readers look for what the index says.
            let said = if ObjectId::of(&bytes) == *id { BTreeMap::new() } else { catalogue.frames_in(id) };
            (String::new(), key, if said.is_empty() { own } else { said })
        }
        Err(e) => {
            let frames = catalogue.frames_in(id);
            match PackKey::open(repository.keys(), &bytes[..bytes.len().min(HEAD_BYTES)]) {
                Ok((_, key)) if !frames.is_empty() => (e.to_string(), key, frames),
                _ => return Ok(all_of_it(e.to_string())),
            }
        }
    };
    let mut checked = Frames::new(reader, None, None)?;
    let mut bad = Vec::new();
    let mut last = String::new();
    for (ordinal, frame) in &frames {
        let at = frame.offset as usize;
        let sealed = bytes.get(at..at + frame.stored_len as usize).ok_or("it lies beyond the pack's end".to_owned());
        if let Err(what) = sealed.and_then(|sealed| checked.check(&key, *ordinal, frame, sealed)) {
            last = format!("frame {ordinal}: {what}");
            let chunks = frame.chunks.iter().map(|chunk| chunk.id).collect();
            bad.push(BadFrame { pack: *id, frame: Some(*ordinal), chunks });
        }
    }
    match what.is_empty() && bad.is_empty() && ObjectId::of(&bytes) == *id {
        true => Ok(Read::Whole),
        false => Ok(Read::Wrong(Wrong::parts(*id, what, bad, &last, frames.len()))),
    }
}

/// Frames of a pack that is read.
struct Frames<'p> {
    reader: &'p ChunkReader<'p>,
    /// With the pack's number in the catalogue.
    plan: Option<&'p Plan<'p>>,
    number: u32,
    sealed: Vec<u8>,
    decompressor: Decompressor,
    soon: Soon,
}

impl<'p> Frames<'p> {
    fn new(reader: &'p ChunkReader<'p>, number: Option<u32>, plan: Option<&'p Plan<'p>>) -> Result<Self> {
        let decompressor = Decompressor::new().map_err(|e| Error::io("cannot start a decompressor", &e))?;
        let (sealed, soon, number) = (Vec::new(), Soon::default(), number.unwrap_or(u32::MAX));
        Ok(Self { reader, plan, number, sealed, decompressor, soon })
    }

    /// What is wrong with a frame. What the plan has is made later.
    fn check(
        &mut self,
        key: &PackKey,
        ordinal: u32,
        frame: &FrameInfo,
        sealed: &[u8],
    ) -> std::result::Result<(), String> {
        let plain = Arc::new(self.open(key, ordinal, frame, sealed)?);
        let place = |(nth, chunk): (u32, &ChunkInfo)| {
            let (offset, stored_len, kind) = (frame.offset as u32, frame.stored_len, frame.kind);
            let (raw_len, rank) = (chunk.raw_len, chunk.delta.rank);
            Place { pack: self.number, frame: ordinal, offset, stored_len, nth, raw_len, kind, rank }
        };
        let whole = plain.chunks();
        let ids = self.reader.repository().keys().identity.chunk_ids(frame.kind, &whole);
        let whole: Vec<_> = ids.iter().zip(whole).map(|(id, bytes)| (id.prefix(), bytes.len())).collect();
        for (n, chunk) in (0..).zip(&frame.chunks) {
            let place = place((n, chunk));
            let is_good = match chunk.delta.rank {
                0 => whole.get(n as usize) == Some(&(chunk.id, chunk.raw_len as usize)),
                _ => {
                    self.plan.is_some_and(|plan| plan.has(&chunk.id, &place))
                        || self.reader.is_good(&plain, &place, &chunk.id)
                }
            };
            if !is_good {
                return Err(format!("chunk {} is something else", chunk.id));
            }
        }
        match (self.plan, frame.chunks.first()) {
            (Some(plan), Some(first)) if first.delta.rank == 0 => {
                plan.passed(&place((0, first)), &plain, &mut self.soon).map_err(|e| e.to_string())
            }
            _ => Ok(()),
        }
    }

    fn open(
        &mut self,
        key: &PackKey,
        ordinal: u32,
        frame: &FrameInfo,
        sealed: &[u8],
    ) -> std::result::Result<FrameBytes, String> {
        self.sealed.clear();
        self.sealed.extend_from_slice(sealed);
        let opened = key.open_frame(frame.kind, ordinal, &mut self.sealed, &mut self.decompressor);
        let plain = opened.map_err(|e| e.to_string())?;
        match plain.count() == frame.chunks.len() {
            true => Ok(plain),
            false => Err(format!("{} chunks, {} in the table", plain.count(), frame.chunks.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_all_packs_in_order() {
        let packs: Vec<_> = (0..=255).map(|n| (ObjectId::new([n; 32]), u64::from(n) << 20)).collect();
        let all: Vec<_> = batches(&packs).collect();
        assert_eq!(all.concat(), packs);
        let mut before = 0;
        for (batch, is_last) in all.iter().zip((1..all.len()).map(|_| false).chain([true])) {
            let (least, last) = (BATCH_BYTES.max(before / 4), batch[batch.len() - 1].1);
            assert!(sum(batch) < least + last && (is_last || sum(batch) >= least), "{} after {before}", sum(batch));
            before += sum(batch);
        }
        assert!(all.len() > 10);
    }

    #[test]
    fn what_was_never_read_comes_first_and_what_is_read_anyhow_takes_no_place() {
        let [old, new, never, anyhow] = [1, 2, 3, 0].map(|n| ObjectId::new([n; 32]));
        let time = |seconds| Time { seconds, nanos: 0 };
        let ledger = Ledger(HashMap::from([(new, time(9)), (old, time(5))]));
        let sizes = BTreeMap::from([old, new, never, anyhow].map(|id| (id, 100)));
        let order = |share| {
            let order = ledger.oldest_first(&sizes, &BTreeSet::from([anyhow]), share);
            order.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        assert_eq!(order(1.0), [never, old, new]);
        assert_eq!(order(0.4), [never, old]);
        assert_eq!(order(0.01), [never]);
    }
}
