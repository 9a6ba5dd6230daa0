//! Content that has left its page, so that the page where it turns up can be stored as a difference to the old one.
//!
//! Databases split and merge pages, and what a page loses appears in others, anywhere in the file. A few places of
//! every page that lost much are remembered by what stands there (a rolling hash picks them, as in a chunker), and
//! looked up for pages that are full of news. Two pages that share such places share much around them.

use std::collections::HashMap;

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

/// A page of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub chunk: ChunkPrefix,
    /// Where it begins, bytes.
    pub offset: u32,
}

/// The pages that lost something.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pages: Vec<Page>,
    features: HashMap<u64, u32>,
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

pub(super) fn features(page: &[u8]) -> Vec<u64> {
    let (mut out, mut hash) = (Vec::with_capacity(32), 0u64);
    for (n, byte) in page.iter().enumerate() {
        hash = (hash << (64 / WINDOW)).wrapping_add(GEAR[usize::from(*byte)]);
        if hash & FEATURE_MASK == 0 && n >= WINDOW {
            out.push(hash);
        }
    }
    out
}

/// Whether a page is full of news: less than half of it stands where it stood.
pub(super) fn is_rewritten(old: &[u8], new: &[u8]) -> bool {
    let words = |page: &[u8]| page.len() / 8;
    let same = old.as_chunks::<8>().0.iter().zip(new.as_chunks::<8>().0).filter(|(a, b)| a == b).count();
    same * 2 < words(new)
}

impl Moved {
    /// Remembers what a page had and has no more.
    pub fn lost(&mut self, page: Page, old: &[u64], new: &[u64]) {
        let mut number = None;
        for feature in old.iter().filter(|feature| !new.contains(feature)) {
            if self.features.len() >= FEATURES_MAX {
                return;
            }
            let number = *number.get_or_insert_with(|| {
                self.pages.push(page);
                self.pages.len() as u32 - 1
            });
            self.features.insert(*feature, number);
        }
    }

    /// Up to two pages that had most of what this one has, the best first.
    pub fn find(&self, features: &[u64]) -> impl Iterator<Item = Page> {
        let mut votes: Vec<(u32, u32)> = Vec::new();
        for page in features.iter().filter_map(|feature| self.features.get(feature)) {
            match votes.iter_mut().find(|(known, _)| known == page) {
                Some((_, count)) => *count += 1,
                None => votes.push((*page, 1)),
            }
        }
        votes.retain(|(_, count)| *count >= VOTES_MIN);
        votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        votes.into_iter().take(2).map(|(page, _)| self.pages[page as usize])
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

    #[test]
    fn half_of_a_page_is_found_where_it_came_from() {
        let mut moved = Moved::default();
        for n in 0..100 {
            let (old, mut new) = (noise(n), noise(n));
            new[..2048].fill(0);
            assert!(is_rewritten(&old, &[&old[1..], &[0]].concat()) && !is_rewritten(&old, &old));
            let page = Page { chunk: ChunkPrefix::new([n; 16]), offset: 4096 };
            moved.lost(page, &features(&old), &features(&new));
        }
        let found = |n: u8| {
            // Its first half, somewhere else in a new page.
            let page = [&[7; 1000][..], &noise(n)[..2048], &[9; 1048]].concat();
            moved.find(&features(&page)).next().map(|page| page.chunk)
        };
        let hits = (0..100).filter(|n| found(*n) == Some(ChunkPrefix::new([*n; 16]))).count();
        assert!(hits > 90, "{hits}");
        assert_eq!(moved.find(&features(&noise(200))).next(), None);
    }
}
