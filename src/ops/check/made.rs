//! Chunks that are stored as differences, each made while what it is made from is at hand.
//!
//! What a night stores as differences is made from frames all over the nights before it. Pack by pack those would be decoded
//! again for every night; here each is decoded once for all nights: a chunk that is made from one frame is made when that
//! goes by. What a database moved between its pages is made from many: of these only the parts that are needed are kept.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;
use rayon::prelude::*;

use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::{ChunkPrefix, ObjectId};
use crate::pack::FrameBytes;
use crate::repo::{ChunkReader, Place};

/// So many chunks are planned for, at about 60 bytes each; others are made where they lie.
const PLANNED_MAX: usize = 1 << 20;
/// Chunks that one thread makes, one after another.
const RUN_CHUNKS: usize = 32;

/// What is made from a frame is made when that goes by if it lies in no more packs than this. What nights have stored lies
/// in many, and is better read with what is made from other frames.
const NEAR_PACKS: usize = 4;
/// Frames that are kept until what is made from them is made together. Bytes.
const SOON_BYTES: usize = 4 << 20;
/// Chunks that are read together, and then made.
const TOGETHER_CHUNKS: usize = 2048;

/// A chunk, and where it lies.
type Made = (ChunkPrefix, Place);
/// By pack and frame what is made from that, as numbers, ascending.
type Groups = HashMap<(u32, u32), Vec<u32>, RandomState>;

/// Which chunks are made when.
pub(super) struct Plan<'r> {
    reader: &'r ChunkReader<'r>,
    numbers: HashMap<ObjectId, u32, RandomState>,
    /// By pack, frame and place in it.
    all: Vec<Made>,
    /// Those that are made from one frame, by that: where they stand among all.
    by_root: Mutex<Groups>,
    /// Those that are made from several.
    wide: Vec<Made>,
    /// For so many of these what they need is kept.
    announced: usize,
    /// Packs with a chunk that did not come out as it must.
    suspects: Mutex<HashSet<u32>>,
}

/// What is made from frames that one thread read last.
#[derive(Default)]
pub(super) struct Soon {
    groups: Vec<Vec<u32>>,
    /// Of the frames.
    bytes: usize,
}

impl<'r> Plan<'r> {
    /// For these packs, which are about to be read.
    pub fn new(reader: &'r ChunkReader<'r>, packs: &HashSet<ObjectId>, job: Job<'_>) -> Result<Self> {
        let catalogue = reader.catalogue();
        let numbers: HashMap<_, _, _> = (0..).zip(catalogue.packs()).map(|(n, pack)| (pack.id, n)).collect();
        let is_read: Vec<bool> = catalogue.packs().iter().map(|pack| packs.contains(&pack.id)).collect();
        let is_planned = |place: &Place| place.rank > 0 && is_read.get(place.pack as usize) == Some(&true);
        let copies = catalogue.every_copy().filter(|(_, place)| is_planned(place));
        let mut all: Vec<Made> = copies.map(|(id, place)| (*id, *place)).take(PLANNED_MAX).collect();
        all.par_sort_unstable_by_key(|(_, place)| key(place));
        let (mut by_root, mut wide) = (Groups::default(), Vec::new());
        for (n, (id, place)) in (0..).zip(&all) {
            job.cancel.check()?;
            match reader.roots(id, place)[..] {
                [] | [_, _, ..] => wide.push((*id, *place)),
                [root] => by_root.entry((root.pack, root.frame)).or_default().push(n),
            }
        }
        // What the first of them need is kept when it goes by.
        let announced = reader.announce_deltas(&wide, job.cancel)?;
        let (by_root, suspects) = (Mutex::new(by_root), Mutex::default());
        Ok(Self { reader, numbers, all, by_root, wide, announced, suspects })
    }

    pub fn number(&self, pack: &ObjectId) -> Option<u32> {
        self.numbers.get(pack).copied()
    }

    /// Whether this chunk has its time.
    pub fn has(&self, id: &ChunkPrefix, place: &Place) -> bool {
        let found = self.all.binary_search_by_key(&key(place), |(_, place)| key(place));
        found.is_ok_and(|n| self.all[n] == (*id, *place))
    }

    /// A frame of chunks stored whole was read, and is good: what is made from it joins what is to be made soon.
    pub fn passed(&self, place: &Place, frame: &Arc<FrameBytes>, soon: &mut Soon) -> Result<()> {
        let group = match self.by_root.lock().map_err(failed)?.entry((place.pack, place.frame)) {
            Entry::Occupied(group) if self.packs_of(group.get()) <= NEAR_PACKS => Some(group.remove()),
            _ => None,
        };
        self.reader.lend(place, frame, group.is_some());
        if let Some(group) = group {
            soon.bytes += frame.len();
            soon.groups.push(group);
        }
        if soon.bytes >= SOON_BYTES { self.make_soon(soon) } else { Ok(()) }
    }

    /// Makes what was to be made soon.
    pub fn make_soon(&self, soon: &mut Soon) -> Result<()> {
        self.make_groups(&std::mem::take(soon).groups)
    }

    /// Makes what is left; packs with a chunk that did not come out as it must come back.
    pub fn finish(self, job: Job<'_>) -> Result<Vec<ObjectId>> {
        let groups = sweep(&self.all, std::mem::take(&mut *self.by_root.lock().map_err(failed)?));
        let left = groups.iter().map(Vec::len).sum::<usize>() + self.wide.len();
        if left > 0 {
            job.phase("checking what is stored as differences", Some(left as u64), None);
        }
        // The threads take turns, so that they are about the same place.
        together(groups).into_iter().par_bridge().try_for_each(|groups| {
            job.cancel.check()?;
            job.advance(groups.iter().map(|group| group.len() as u64).sum(), 0);
            self.make_groups(&groups)
        })?;
        let (mut rest, mut announced) = (&self.wide[..], self.announced);
        while !rest.is_empty() {
            self.reader.fetch_announced(job.cancel)?;
            let (now, later) = rest.split_at(announced);
            now.par_chunks(RUN_CHUNKS).try_for_each(|run| {
                job.cancel.check()?;
                job.advance(run.len() as u64, 0);
                self.make_all(run)
            })?;
            rest = later;
            announced = self.reader.announce_deltas(rest, job.cancel)?;
        }
        let suspects = self.suspects.into_inner().map_err(failed)?;
        Ok(suspects.into_iter().map(|number| self.reader.catalogue().pack(number).id).collect())
    }

    /// In how many packs these lie, which are in order.
    fn packs_of(&self, made: &[u32]) -> usize {
        made.chunk_by(|a, b| self.all[*a as usize].1.pack == self.all[*b as usize].1.pack).count()
    }

    /// Reads what these groups consist of in the order in which it lies, so that each part of a pack is read once; then
    /// it is at hand.
    fn make_groups(&self, groups: &[Vec<u32>]) -> Result<()> {
        let mut in_order = groups.concat();
        in_order.sort_unstable();
        for n in in_order {
            // What cannot be read shows when it is made.
            let _ = self.reader.kept_frame(&self.all[n as usize].1);
        }
        self.make_all(groups.iter().flatten().map(|n| &self.all[*n as usize]))
    }

    fn make_all<'m>(&self, made: impl IntoIterator<Item = &'m Made>) -> Result<()> {
        for (id, place) in made {
            let frame = self.reader.kept_frame(place);
            if !frame.is_ok_and(|frame| self.reader.is_good(&frame, place, id)) {
                self.suspects.lock().map_err(failed)?.insert(place.pack);
            }
        }
        Ok(())
    }
}

/// What is made from each frame, in an order in which neighbours follow each other: frames of which chunks are made that
/// lie in one frame themselves.
fn sweep(all: &[Made], groups: Groups) -> Vec<Vec<u32>> {
    let mut groups: Vec<Vec<u32>> = groups.into_values().collect();
    let mut group_of = vec![None; all.len()];
    for (g, group) in groups.iter().enumerate() {
        group.iter().for_each(|n| group_of[*n as usize] = Some(g));
    }
    let beside = |n: usize| {
        let is_beside = |(_, place): &&Made| (place.pack, place.frame) == (all[n].1.pack, all[n].1.frame);
        let before = all[..n].iter().rev().take_while(is_beside).count();
        n - before..n + all[n..].iter().take_while(is_beside).count()
    };
    let (mut order, mut queue, mut is_queued) = (Vec::new(), VecDeque::new(), vec![false; groups.len()]);
    for n in 0..all.len() {
        queue.extend(group_of[n].filter(|g| !std::mem::replace(&mut is_queued[*g], true)));
        while let Some(g) = queue.pop_front() {
            let group = std::mem::take(&mut groups[g]);
            let near = group.iter().flat_map(|n| beside(*n as usize)).filter_map(|n| group_of[n]);
            queue.extend(near.filter(|g| !std::mem::replace(&mut is_queued[*g], true)));
            order.push(group);
        }
    }
    order
}

/// As many groups together as make up so many chunks.
fn together(groups: Vec<Vec<u32>>) -> Vec<Vec<Vec<u32>>> {
    let (mut out, mut count) = (Vec::<Vec<_>>::new(), 0);
    for group in groups {
        let len = group.len();
        match out.last_mut() {
            Some(last) if count < TOGETHER_CHUNKS => last.push(group),
            _ => {
                out.push(vec![group]);
                count = 0;
            }
        }
        count += len;
    }
    out
}

fn key(place: &Place) -> (u32, u32, u32) {
    (place.pack, place.frame, place.nth)
}

fn failed<T>(_: T) -> Error {
    Error::new(Kind::Failed, "another thread failed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::ChunkKind;

    /// Nights of a file of so many blocks: each night has a delta of every block, four in a frame, but every tenth or so
    /// is stored whole, and what comes later is made from that; four roots in a frame.
    fn nights(nights: u32, blocks: u32) -> (Vec<Made>, Groups) {
        let (mut all, mut groups, mut root) = (Vec::new(), Groups::default(), HashMap::new());
        for night in 1..=nights {
            let mut fresh = 0;
            for block in 0..blocks {
                if (block * 7 + night * 3) % 10 == 0 {
                    root.insert(block, (100 + night, fresh / 4));
                    fresh += 1;
                }
                let (frame, nth) = (block / 4, block % 4);
                let (offset, stored_len, raw_len) = (frame * 8192, 8192, 1 << 16);
                let place =
                    Place { pack: night, frame, offset, stored_len, nth, raw_len, kind: ChunkKind::Data, rank: 1 };
                let root = root.get(&block).copied().unwrap_or((0, block / 4));
                groups.entry(root).or_default().push(all.len() as u32);
                all.push((ChunkPrefix::new([0; 16]), place));
            }
        }
        (all, groups)
    }

    #[test]
    fn everything_is_made_once_and_neighbours_together() {
        let (all, groups) = nights(9, 4000);
        let order = sweep(&all, groups);
        let mut made = order.concat();
        // What is about to be made lies in a small part of each pack.
        let reach = made.chunks(900).map(|run| {
            let frames = run.iter().map(|n| all[*n as usize].1.frame);
            frames.clone().max().unwrap() - frames.min().unwrap()
        });
        let (sum, count) = (reach.clone().sum::<u32>(), reach.count() as u32);
        assert!(sum / count < 200, "{} of 1000 frames", sum / count);
        made.sort_unstable();
        assert!(made.into_iter().eq(0..all.len() as u32));
    }

    #[test]
    fn groups_are_made_together_up_to_a_bound() {
        let groups: Vec<Vec<u32>> = (0..100).map(|n| vec![n; 100]).collect();
        let out = together(groups.clone());
        assert!(out.iter().all(|groups| groups.concat().len() < TOGETHER_CHUNKS + 100));
        assert_eq!((out.len(), out.concat()), (5, groups));
        assert!(together(Vec::new()).is_empty());
    }
}
