//! Content that has left its page, so that the page where it turns up can be stored as a difference to the old one.
//!
//! Databases split and merge pages, and what a page loses appears in others, anywhere in the file. A few places of
//! every page that lost much are remembered by what stands there (a rolling hash picks them, as in a chunker), and
//! looked up for pages that are full of news. Two pages that share such places share much around them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::id::ChunkPrefix;

/// What is compared: pages of other sizes are cut or joined. Bytes.
pub(super) const PAGE_BYTES: usize = 4096;
/// One place in so many is a feature.
const FEATURE_MASK: u64 = 0xff << 40;
/// Bytes that make a feature.
const WINDOW: usize = 16;
/// So many features, of the sixteen that a page has about, must be those of another page.
const VOTES_MIN: u32 = 3;
/// What is remembered at most, which takes about 12 MiB.
const FEATURES_MAX: usize = 1 << 19;

/// What is kept of what was lost, so that nobody has to read it again. Bytes.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// What a page has lost: a part of a chunk that is stored whole.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub chunk: ChunkPrefix,
    /// Of the chunk. Bytes.
    pub raw_len: usize,
    /// Which part of its length the chunk takes.
    pub share: f64,
    /// Where the part begins. Bytes.
    pub offset: usize,
    /// Its length. Bytes.
    pub len: usize,
    /// Its bytes, as long as there is room.
    pub bytes: Option<Arc<[u8]>>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Moved {
    lost: Vec<Lost>,
    features: HashMap<u64, u32>,
    bytes: usize,
}

/// A place in a page, by what stands there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feature {
    hash: u64,
    /// Its last byte.
    at: usize,
}

/// Any numbers will do, as long as they are the same while this runs.
const GEAR: [u64; 256] = {
    let (mut table, mut state, mut n) = ([0; 256], 0u64, 0);
    while n < 256 {
        // splitmix64 (Steele et al., 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ a >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[n] = b ^ b >> 31;
        n += 1;
    }
    table
};

pub(super) fn features(page: &[u8]) -> Vec<Feature> {
    let (mut out, mut hash) = (Vec::with_capacity(32), 0u64);
    for (at, byte) in page.iter().enumerate() {
        hash = (hash << (64 / WINDOW)).wrapping_add(GEAR[usize::from(*byte)]);
        if hash & FEATURE_MASK == 0 && at >= WINDOW {
            out.push(Feature { hash, at });
        }
    }
    out
}

/// The features that an old page had and the new one has not, and from where to where they reach: from the one before
/// them to the one behind.
pub(super) fn losses(old: &[Feature], new: &[Feature], page_len: usize) -> (Vec<u64>, Range<usize>) {
    let is_lost = |feature: &&Feature| new.iter().all(|other| other.hash != feature.hash);
    let lost: Vec<&Feature> = old.iter().filter(is_lost).collect();
    let [first, .., last] = lost[..] else { return (Vec::new(), 0..0) };
    if lost.len() < VOTES_MIN as usize {
        return (Vec::new(), 0..0);
    }
    let before = old.iter().rfind(|feature| feature.at < first.at);
    let behind = old.iter().find(|feature| feature.at > last.at);
    let range = before.map_or(0, |it| it.at)..behind.map_or(page_len, |it| it.at);
    (lost.iter().map(|feature| feature.hash).collect(), range)
}

/// Whether a page is full of news: less than half of it stands where it stood.
pub(super) fn is_rewritten(old: &[u8], new: &[u8]) -> bool {
    let words = |page: &[u8]| page.len() / 8;
    let same = old.as_chunks::<8>().0.iter().zip(new.as_chunks::<8>().0).filter(|(a, b)| a == b).count();
    same * 2 < words(new)
}

impl Moved {
    /// Remembers what has these features.
    pub fn lost(&mut self, mut part: Lost, features: &[u64]) {
        if self.features.len() + features.len() > FEATURES_MAX {
            return;
        }
        if self.bytes + part.len > KEPT_BYTES_MAX {
            part.bytes = None;
        } else {
            self.bytes += part.len;
        }
        let number = self.lost.len() as u32;
        self.lost.push(part);
        self.features.extend(features.iter().map(|feature| (*feature, number)));
    }

    /// Up to two parts that have most of what a page has, the best first.
    pub fn find(&self, features: &[Feature]) -> impl Iterator<Item = &Lost> {
        let mut votes: Vec<(u32, u32)> = Vec::new();
        for part in features.iter().filter_map(|feature| self.features.get(&feature.hash)) {
            match votes.iter_mut().find(|(known, _)| known == part) {
                Some((_, count)) => *count += 1,
                None => votes.push((*part, 1)),
            }
        }
        votes.retain(|(_, count)| *count >= VOTES_MIN);
        votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        votes.into_iter().take(2).map(|(part, _)| &self.lost[part as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u8) -> Vec<u8> {
        let mut out = vec![0; PAGE_BYTES];
        blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut out);
        out
    }

    /// What page n lost of its first half, as its own chunk's second page.
    fn lose(moved: &mut Moved, n: u8) -> Range<usize> {
        let (old, mut new) = (noise(n), noise(n));
        new[..2048].fill(0);
        assert!(is_rewritten(&old, &[&old[1..], &[0]].concat()) && !is_rewritten(&old, &old));
        let (lost, range) = losses(&features(&old), &features(&new), PAGE_BYTES);
        let (chunk, bytes) = (ChunkPrefix::new([n; 16]), Some(old[range.clone()].into()));
        let (raw_len, offset) = (2 * PAGE_BYTES, PAGE_BYTES + range.start);
        moved.lost(Lost { chunk, raw_len, share: 0.5, offset, len: range.len(), bytes }, &lost);
        range
    }

    #[test]
    fn half_of_a_page_is_found_where_it_came_from() {
        let mut moved = Moved::default();
        let bytes: usize = (0..100).map(|n| lose(&mut moved, n).len()).sum();
        assert!(bytes < 100 * 2560, "about what was lost is kept: {bytes}");
        let found = |n: u8| {
            // Its first half, somewhere else in a new page.
            let page = [&[7; 1000][..], &noise(n)[..2048], &[9; 1048]].concat();
            moved.find(&features(&page)).next().map(|part| part.chunk)
        };
        let hits = (0..100).filter(|n| found(*n) == Some(ChunkPrefix::new([*n; 16]))).count();
        assert!(hits > 90, "{hits}");
        assert!(moved.find(&features(&noise(200))).next().is_none());
    }

    #[test]
    fn what_lies_around_what_was_lost_is_not_kept() {
        let feature = |hash| Feature { hash, at: hash as usize };
        let old = [100, 200, 300, 400, 500, 600].map(feature);
        let of = |new: &[u64]| losses(&old, &new.iter().copied().map(feature).collect::<Vec<_>>(), 4096);
        assert_eq!(of(&[100, 500, 600, 900]), (vec![200, 300, 400], 100..500));
        assert_eq!(of(&[400]), (vec![100, 200, 300, 500, 600], 0..4096));
        assert_eq!(of(&[100, 200, 300, 400]), (vec![], 0..0), "too little to be found by");
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let mut moved = Moved::default();
        let bytes: Arc<[u8]> = vec![0; 1 << 20].into();
        for n in 0..40 {
            let (chunk, bytes) = (ChunkPrefix::new([n; 16]), Some(bytes.clone()));
            moved.lost(Lost { chunk, raw_len: 1 << 20, share: 0.5, offset: 0, len: 1 << 20, bytes }, &[u64::from(n)]);
        }
        assert_eq!(moved.lost.iter().filter(|part| part.bytes.is_some()).count(), KEPT_BYTES_MAX >> 20);
        assert_eq!(moved.lost.len(), 40, "the others can still be read");
    }
}
