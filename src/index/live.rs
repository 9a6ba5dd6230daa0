//! Which copies of chunks must stay, so that all that is needed can be made whole.
//!
//! Of a chunk with several copies the one of lowest rank stays: whatever needs the chunk, as a base or for itself, can be
//! made through that one, since it accepts any copy of lower rank than its own.

use std::collections::{HashMap, HashSet};

use crate::id::ChunkPrefix;
use crate::pack::Delta;

/// One copy of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCopy<P> {
    /// Which chunk.
    pub id: ChunkPrefix,
    /// What it needs.
    pub delta: Delta,
    /// Where it lies.
    pub place: P,
}

/// What must stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Numbers of the copies that must stay.
    pub copies: HashSet<usize>,
    /// Chunks that are needed, but that no copies can be made whole from.
    pub lost: HashSet<ChunkPrefix>,
}

/// Finds, among all copies that count, those that must stay for these chunks: one of each, and one of each base, and of
/// their bases.
pub fn live<P>(needed: impl IntoIterator<Item = ChunkPrefix>, copies: &[StoredCopy<P>]) -> Live {
    let best = best_copies(copies);
    let (mut live, mut todo) = (Live::default(), needed.into_iter().collect::<Vec<_>>());
    while let Some(id) = todo.pop() {
        match best.get(&id) {
            None => _ = live.lost.insert(id),
            Some(number) if live.copies.insert(*number) => todo.extend(&copies[*number].delta.bases),
            Some(_) => {}
        }
    }
    live
}

/// Of each chunk the copy of lowest rank among those that can be made whole.
fn best_copies<P>(copies: &[StoredCopy<P>]) -> HashMap<ChunkPrefix, usize> {
    let mut order: Vec<usize> = (0..copies.len()).collect();
    order.sort_by_key(|number| copies[*number].delta.rank);
    let mut best: HashMap<ChunkPrefix, usize> = HashMap::new();
    for number in order {
        let StoredCopy { id, delta, .. } = &copies[number];
        // All copies of lower rank have been looked at.
        let is_below = |base: &ChunkPrefix| best.get(base).is_some_and(|best| copies[*best].delta.rank < delta.rank);
        if delta.bases.iter().all(is_below) {
            best.entry(*id).or_insert(number);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    type Copies = Vec<StoredCopy<()>>;

    fn id(n: u64) -> ChunkPrefix {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        ChunkPrefix::new(bytes)
    }

    struct Chance(u64);
    impl Chance {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % n.max(1)
        }
        fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
            (!from.is_empty()).then(|| from[self.below(from.len() as u64) as usize])
        }
    }

    /// As a reader does it: through any copy of lower rank. What it takes is followed to its end, whatever was found
    /// out before.
    fn resolves(id: &ChunkPrefix, below: u16, copies: &Copies) -> bool {
        let mut there = copies.iter().filter(|copy| copy.id == *id && u16::from(copy.delta.rank) < below);
        there.any(|copy| copy.delta.bases.iter().all(|base| resolves(base, copy.delta.rank.into(), copies)))
    }

    /// A repository in which nothing but ids, ranks and bases is kept.
    #[derive(Default)]
    struct World {
        copies: Copies,
        snapshots: Vec<Vec<ChunkPrefix>>,
        chunks: u64,
    }

    impl World {
        fn whole(&self) -> Vec<ChunkPrefix> {
            (0..self.chunks).map(id).filter(|id| resolves(id, 256, &self.copies)).collect()
        }

        fn needed(&self) -> HashSet<ChunkPrefix> {
            self.snapshots.iter().flatten().copied().collect()
        }

        /// What a writer stores: whole, or against chunks that can be made whole now.
        fn encoding(&self, of: ChunkPrefix, chance: &mut Chance) -> Delta {
            let whole = self.whole();
            let picked = (0..chance.below(3)).filter_map(|_| chance.pick(&whole));
            let mut bases: Vec<ChunkPrefix> = picked.filter(|base| *base != of).collect();
            bases.sort();
            bases.dedup();
            let lowest = |base: &ChunkPrefix| (0..256u16).find(|rank| resolves(base, rank + 1, &self.copies));
            let top = bases.iter().filter_map(lowest).max().unwrap_or(0);
            let rank = top + 1 + chance.below(3) as u16;
            match u8::try_from(rank) {
                Ok(rank) if !bases.is_empty() => Delta { rank, bases: bases.into() },
                _ => Delta::default(),
            }
        }

        fn store(&mut self, of: ChunkPrefix, chance: &mut Chance) {
            let delta = self.encoding(of, chance);
            self.copies.push(StoredCopy { id: of, delta, place: () });
        }

        fn step(&mut self, collect: &dyn Fn(&HashSet<ChunkPrefix>, &Copies) -> HashSet<usize>, chance: &mut Chance) {
            match chance.below(10) {
                0..4 => {
                    self.chunks += 1;
                    self.store(id(self.chunks - 1), chance);
                }
                // A second copy: another writer did not see the first.
                4 => {
                    let again = id(chance.below(self.chunks));
                    if self.chunks > 0 {
                        self.store(again, chance);
                    }
                }
                5 | 6 => {
                    let whole = self.whole();
                    self.snapshots.push((0..3).filter_map(|_| chance.pick(&whole)).collect());
                }
                7 => {
                    let one = chance.below(self.snapshots.len() as u64) as usize;
                    (!self.snapshots.is_empty()).then(|| self.snapshots.swap_remove(one));
                }
                8 => {
                    let one = chance.below(self.copies.len() as u64) as usize;
                    (chance.below(3) == 0 && !self.copies.is_empty()).then(|| self.copies.swap_remove(one));
                }
                _ => self.prune(collect, chance),
            }
        }

        /// Removes what need not stay; some of what stays is stored anew, whole or against something else.
        fn prune(&mut self, collect: &dyn Fn(&HashSet<ChunkPrefix>, &Copies) -> HashSet<usize>, chance: &mut Chance) {
            let stay = collect(&self.needed(), &self.copies);
            let mut numbers = 0..;
            self.copies.retain(|_| numbers.next().is_some_and(|number| stay.contains(&number)));
            for number in 0..self.copies.len() {
                if chance.below(4) == 0 {
                    let of = self.copies[number].id;
                    let delta = if chance.below(2) == 0 { Delta::default() } else { self.encoding(of, chance) };
                    // Only what can be made whole can be copied, and what others need of it must stay possible.
                    if resolves(&of, 256, &self.copies) && delta.rank <= self.copies[number].delta.rank {
                        self.copies[number].delta = delta;
                    }
                }
            }
        }
    }

    /// Plays histories; the first in which a prune takes away what could be made whole before.
    fn first_loss(
        histories: u64,
        collect: &dyn Fn(&HashSet<ChunkPrefix>, &Copies) -> HashSet<usize>,
    ) -> Option<(u64, usize)> {
        for seed in 1..=histories {
            let (mut world, mut chance) = (World::default(), Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            for step in 0..40 {
                let there = |world: &World| -> Vec<ChunkPrefix> {
                    world.needed().into_iter().filter(|id| resolves(id, 256, &world.copies)).collect()
                };
                let before = world.copies.len();
                let (whole, snapshots) = (there(&world), world.snapshots.len());
                let mut next = Chance(chance.0);
                let is_damage = next.below(10) == 8;
                world.step(collect, &mut chance);
                let lost = whole.iter().any(|id| world.needed().contains(id) && !resolves(id, 256, &world.copies));
                if lost && !(is_damage && world.copies.len() + 1 == before) {
                    return Some((seed, step));
                }
                assert!(snapshots.abs_diff(world.snapshots.len()) <= 1);
            }
        }
        None
    }

    #[test]
    fn nothing_that_is_needed_is_ever_collected() {
        let collect = |needed: &HashSet<_>, copies: &Copies| live(needed.iter().copied(), copies).copies;
        assert_eq!(first_loss(10_000, &collect), None);
    }

    #[test]
    fn collectors_that_are_wrong_are_caught() {
        let best = |copies: &Copies| best_copies(copies);
        let without_bases = |needed: &HashSet<_>, copies: &Copies| {
            needed.iter().filter_map(|id| best(copies).get(id).copied()).collect()
        };
        assert!(first_loss(100, &without_bases).is_some(), "bases are forgotten");
        let one_level = |needed: &HashSet<ChunkPrefix>, copies: &Copies| {
            let best = best(copies);
            let own: Vec<usize> = needed.iter().filter_map(|id| best.get(id).copied()).collect();
            let bases =
                own.iter().flat_map(|number| &copies[*number].delta.bases).filter_map(|id| best.get(id).copied());
            bases.chain(own.iter().copied()).collect()
        };
        assert!(first_loss(1000, &one_level).is_some(), "bases of bases are forgotten");
        let any_copy = |needed: &HashSet<ChunkPrefix>, copies: &Copies| {
            let mut numbers = HashSet::new();
            let mut todo: Vec<ChunkPrefix> = needed.iter().copied().collect();
            while let Some(id) = todo.pop() {
                let last = copies.iter().rposition(|copy| copy.id == id);
                if let Some(number) = last.filter(|number| numbers.insert(*number)) {
                    todo.extend(&copies[number].delta.bases);
                }
            }
            numbers
        };
        assert!(first_loss(1000, &any_copy).is_some(), "a copy is kept that what needs it cannot use");
    }

    #[test]
    fn what_cannot_be_made_whole_is_told() {
        let copy = |n, rank, bases: &[u64]| {
            let delta = Delta { rank, bases: bases.iter().copied().map(id).collect() };
            StoredCopy { id: id(n), delta, place: () }
        };
        // 1 needs 2 and 2 needs 1, which no writer stores; 3 needs what is gone; 4 is good.
        let copies = [copy(1, 1, &[2]), copy(2, 1, &[1]), copy(3, 2, &[9]), copy(4, 1, &[5]), copy(5, 0, &[])];
        let found = live([1, 3, 4].map(id), &copies);
        assert_eq!(found, Live { copies: HashSet::from([3, 4]), lost: HashSet::from([id(1), id(3)]) });
    }
}
