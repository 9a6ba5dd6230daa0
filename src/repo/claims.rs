//! The chunks that a run was told to store, exactly, in about 16 bytes each.
//!
//! A prefix that looks claimed is never stored: a shorter fingerprint could make a chunk look stored that is not.

use std::collections::HashSet;
use std::sync::Mutex;

use foldhash::fast::RandomState;

use crate::error::{Error, Kind, Result};
use crate::id::ChunkPrefix;

/// A prefix without its first byte, which is the shard's number.
type Rest = [u8; 15];

/// Claims since the last merge: at least so many, and such a part of all.
const RECENT_MIN: usize = 32;
const RECENT_SHARE: usize = 16;

/// The claims of all workers.
pub(super) struct Claims {
    shards: Vec<Mutex<Shard>>,
}

#[derive(Default)]
struct Shard {
    sorted: Vec<Rest>,
    recent: HashSet<Rest, RandomState>,
}

impl Claims {
    pub fn new() -> Self {
        Self { shards: (0..=u8::MAX).map(|_| Mutex::default()).collect() }
    }

    /// Whether this is the first claim of a chunk.
    pub fn insert(&self, prefix: &ChunkPrefix) -> Result<bool> {
        let [first, rest @ ..] = prefix.as_bytes();
        let shard = self.shards[usize::from(*first)].lock();
        Ok(shard.map_err(|_| Error::new(Kind::Failed, "another thread of this run failed"))?.insert(*rest))
    }
}

impl Shard {
    fn insert(&mut self, rest: Rest) -> bool {
        if self.sorted.binary_search(&rest).is_ok() || !self.recent.insert(rest) {
            return false;
        }
        if self.recent.len() >= RECENT_MIN.max(self.sorted.len() / RECENT_SHARE) {
            self.merge();
        }
        true
    }

    /// Moves recent claims to the others, from the back, in place.
    fn merge(&mut self) {
        let mut recent: Vec<Rest> = self.recent.drain().collect();
        recent.sort_unstable();
        let mut from = self.sorted.len();
        let mut to = from + recent.len();
        self.sorted.reserve_exact(recent.len());
        self.sorted.resize(to, [0; 15]);
        while let Some(last) = recent.last() {
            to -= 1;
            if from > 0 && self.sorted[from - 1] > *last {
                from -= 1;
                self.sorted[to] = self.sorted[from];
            } else {
                self.sorted[to] = *last;
                recent.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn claims_are_a_set(numbers in prop::collection::vec(0u32..3000, 0..4000)) {
            let (claims, mut oracle) = (Claims::new(), HashSet::new());
            for number in numbers {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
                bytes[0] %= 3;
                prop_assert_eq!(claims.insert(&ChunkPrefix::new(bytes)).unwrap(), oracle.insert(bytes));
            }
        }
    }
}
