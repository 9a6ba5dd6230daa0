//! What must be stored again so that all that is needed can be made whole without the packs that are condemned.

use std::collections::{HashMap, HashSet};

use crate::id::ChunkPrefix;
use crate::index::{Live, StoredCopy, live};
use crate::repo::Place;

/// A copy to be stored again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// Its number.
    pub copy: usize,
    /// As the delta that it is, if it is one; else whole.
    pub as_delta: bool,
}

/// What tells how long a chunk is.
pub(super) trait RawLen {
    /// Bytes.
    fn raw_len(&self) -> u64;
}

impl RawLen for Place {
    fn raw_len(&self) -> u64 {
        self.raw_len.into()
    }
}

/// What is to be done, and what cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tasks {
    /// In order of the copies.
    pub again: Vec<Task>,
    /// Chunks that are needed, and that no copy can be made whole of.
    pub lost: HashSet<ChunkPrefix>,
}

/// Of these copies the first ones stay, and the others go. What is needed and does not stay is stored again: deltas as
/// the deltas that they are, with the same rank, if what they need stays or is stored again for others as well; whole,
/// if nobody else needs it, or if it is one of these.
pub(super) fn tasks<P: RawLen>(
    needed: &HashSet<ChunkPrefix>,
    copies: &[StoredCopy<P>],
    staying: usize,
    whole: &HashSet<ChunkPrefix>,
) -> Tasks {
    let missing = live(needed.iter().copied(), &copies[..staying]).lost;
    // Those that stay come first, and of two of the same rank the first one counts.
    let wanted = live(missing, copies);
    let users = users(&wanted, copies);
    let goes: Vec<usize> = wanted.copies.into_iter().filter(|copy| *copy >= staying).collect();
    let again = flatten(needed, copies, goes, users, whole);
    Tasks { again, lost: wanted.lost }
}

/// Which copies would do for all that is needed, if everything were moved: those that remain as they are, and those
/// that become whole.
pub(super) fn least<P: RawLen>(
    needed: &HashSet<ChunkPrefix>,
    copies: &[StoredCopy<P>],
) -> (HashSet<usize>, Vec<usize>) {
    let live = live(needed.iter().copied(), copies);
    let users = users(&live, copies);
    let all = live.copies.into_iter().collect();
    let tasks = flatten(needed, copies, all, users, &HashSet::new());
    let is_as_it_was = |task: &Task| task.as_delta || copies[task.copy].delta.rank == 0;
    let stay = tasks.iter().filter(|task| is_as_it_was(task)).map(|task| task.copy).collect();
    let whole = tasks.iter().filter(|task| !is_as_it_was(task)).map(|task| task.copy).collect();
    (stay, whole)
}

/// How many of these deltas are made from each chunk.
fn users<P>(live: &Live, copies: &[StoredCopy<P>]) -> HashMap<ChunkPrefix, usize> {
    let mut users = HashMap::new();
    for base in live.copies.iter().flat_map(|copy| &copies[*copy].delta.bases) {
        *users.entry(*base).or_default() += 1;
    }
    users
}

/// What is stored whole and only deltas need is not stored for them where they are no longer, all together, than what they
/// are made from: they are stored whole instead. A base that is a delta itself is small, and stays one.
fn flatten<P: RawLen>(
    needed: &HashSet<ChunkPrefix>,
    copies: &[StoredCopy<P>],
    mut goes: Vec<usize>,
    mut users: HashMap<ChunkPrefix, usize>,
    to_be_whole: &HashSet<ChunkPrefix>,
) -> Vec<Task> {
    goes.sort_unstable();
    let mut tasks: Vec<Task> = goes.into_iter().map(|copy| Task { copy, as_delta: true }).collect();
    let mut to_be_whole = to_be_whole.clone();
    let mut whole: HashMap<ChunkPrefix, u64> = HashMap::new();
    loop {
        for task in tasks.iter_mut().filter(|task| task.as_delta) {
            let StoredCopy { id, delta, place } = &copies[task.copy];
            if delta.rank == 0 || to_be_whole.contains(id) {
                release(&delta.bases, &mut users);
                whole.insert(*id, place.raw_len());
                task.as_delta = false;
            }
        }
        while retain(&mut tasks, needed, copies, &mut users) {}
        // What became whole may be what others alone need now.
        to_be_whole = worth_being_whole(needed, copies, &tasks, &whole, &users);
        if to_be_whole.is_empty() {
            return tasks;
        }
    }
}

/// Drops what nobody needs any more; whether there was any.
fn retain<P>(
    tasks: &mut Vec<Task>,
    needed: &HashSet<ChunkPrefix>,
    copies: &[StoredCopy<P>],
    users: &mut HashMap<ChunkPrefix, usize>,
) -> bool {
    let before = tasks.len();
    tasks.retain(|task| {
        let StoredCopy { id, delta, .. } = &copies[task.copy];
        let stays = needed.contains(id) || users.get(id).is_some_and(|users| *users > 0);
        if !stays && task.as_delta {
            release(&delta.bases, users);
        }
        stays
    });
    tasks.len() < before
}

/// Deltas that are about as long as the chunks that nobody else needs. Deltas hang together where they share one.
fn worth_being_whole<P: RawLen>(
    needed: &HashSet<ChunkPrefix>,
    copies: &[StoredCopy<P>],
    tasks: &[Task],
    whole: &HashMap<ChunkPrefix, u64>,
    users: &HashMap<ChunkPrefix, usize>,
) -> HashSet<ChunkPrefix> {
    let deltas: Vec<&StoredCopy<P>> =
        tasks.iter().filter(|task| task.as_delta).map(|task| &copies[task.copy]).collect();
    let mut among: HashMap<ChunkPrefix, usize> = HashMap::new();
    for base in deltas.iter().flat_map(|copy| &copy.delta.bases) {
        *among.entry(*base).or_default() += 1;
    }
    let goes = |base: &&ChunkPrefix| {
        whole.contains_key(*base) && !needed.contains(*base) && users.get(*base) == among.get(*base)
    };
    let mut groups = Groups::default();
    for copy in &deltas {
        copy.delta.bases.iter().filter(goes).for_each(|base| groups.join(copy.id, *base));
    }
    // Of each group what goes, and what is stored for it; bytes.
    let mut sums: HashMap<ChunkPrefix, (u64, u64)> = HashMap::new();
    for base in among.keys().filter(goes) {
        sums.entry(groups.of(*base)).or_default().0 += whole.get(base).copied().unwrap_or(0);
    }
    for copy in &deltas {
        sums.entry(groups.of(copy.id)).or_default().1 += copy.place.raw_len();
    }
    // What is new in them, or comes from elsewhere, is small; or else they stay deltas.
    let is_worth = |id: &ChunkPrefix| {
        sums.get(&groups.of(*id)).is_some_and(|(goes, comes)| *goes > 0 && goes + goes / 8 >= *comes)
    };
    deltas.iter().map(|copy| copy.id).filter(is_worth).collect()
}

/// Which chunks hang together: a forest, in which each points towards the one that stands for all of its tree.
#[derive(Default)]
struct Groups(HashMap<ChunkPrefix, ChunkPrefix>);

impl Groups {
    fn of(&self, mut id: ChunkPrefix) -> ChunkPrefix {
        while let Some(next) = self.0.get(&id) {
            id = *next;
        }
        id
    }

    fn join(&mut self, a: ChunkPrefix, b: ChunkPrefix) {
        let (a, b) = (self.of(a), self.of(b));
        if a != b {
            self.0.insert(a, b);
        }
    }
}

fn release(bases: &[ChunkPrefix], users: &mut HashMap<ChunkPrefix, usize>) {
    for base in bases {
        if let Some(users) = users.get_mut(base) {
            *users = users.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pack::Delta;

    impl RawLen for () {
        fn raw_len(&self) -> u64 {
            100
        }
    }

    fn id(n: u8) -> ChunkPrefix {
        ChunkPrefix::new([n; 16])
    }

    fn copy(n: u8, rank: u8, bases: &[u8]) -> StoredCopy<()> {
        StoredCopy { id: id(n), delta: Delta { rank, bases: bases.iter().copied().map(id).collect() }, place: () }
    }

    fn of(needed: &[u8], copies: &[StoredCopy<()>], staying: usize) -> (Vec<(usize, bool)>, usize) {
        let tasks = tasks(&needed.iter().copied().map(id).collect(), copies, staying, &HashSet::new());
        (tasks.again.iter().map(|task| (task.copy, task.as_delta)).collect(), tasks.lost.len())
    }

    #[test]
    fn a_base_that_only_one_delta_needs_is_not_stored_for_it() {
        let copies = [copy(1, 0, &[]), copy(2, 1, &[1]), copy(3, 2, &[2]), copy(4, 1, &[1])];
        assert_eq!(of(&[3], &copies, 0), (vec![(2, false)], 0), "a chain ends");
        assert_eq!(of(&[2, 4], &copies, 0), (vec![(0, false), (1, true), (3, true)], 0), "two share a base");
        assert_eq!(of(&[1, 3], &copies, 0), (vec![(0, false), (1, true), (2, true)], 0), "the base is needed itself");
        assert_eq!(of(&[3], &copies, 1), (vec![(1, true), (2, true)], 0), "deltas are small");
        assert_eq!(of(&[3], &copies, 2), (vec![(2, true)], 0), "what it needs stays");
        assert_eq!(of(&[1, 2], &copies, 2), (vec![], 0));
        assert_eq!(of(&[9], &copies, 2), (vec![], 1));
    }

    #[test]
    fn what_stays_as_a_delta_gets_its_base_back() {
        let copies = [copy(2, 1, &[1]), copy(3, 1, &[1]), copy(1, 0, &[])];
        assert_eq!(of(&[2, 3], &copies, 2), (vec![(2, false)], 0));
    }

    #[test]
    fn the_least_that_would_do_has_no_base_for_one_delta_alone() {
        let copies = [copy(1, 0, &[]), copy(2, 1, &[1]), copy(3, 2, &[2]), copy(4, 0, &[]), copy(5, 1, &[4])];
        let least = |needed: &[u8]| {
            let (stay, whole) = least(&needed.iter().copied().map(id).collect(), &copies);
            let mut stay: Vec<usize> = stay.into_iter().collect();
            stay.sort_unstable();
            (stay, whole)
        };
        assert_eq!(least(&[3, 5]), (vec![], vec![2, 4]));
        assert_eq!(least(&[2, 3, 4, 5]), (vec![2, 3, 4], vec![1]));
        assert_eq!(least(&[1, 3]), (vec![0, 1, 2], vec![]));
    }

    fn world() -> impl Strategy<Value = (Vec<StoredCopy<()>>, HashSet<ChunkPrefix>, usize)> {
        let one = (0..12_u8, 0..5_u8, prop::collection::vec(0..12_u8, 1..3));
        let copies = prop::collection::vec(one, 0..30).prop_map(|all| {
            let of = |(n, rank, mut bases): (u8, u8, Vec<u8>)| {
                bases.sort_unstable();
                bases.dedup();
                if rank == 0 { copy(n, 0, &[]) } else { copy(n, rank, &bases) }
            };
            all.into_iter().map(of).collect::<Vec<_>>()
        });
        (copies, prop::collection::hash_set((0..12_u8).prop_map(id), 0..8), any::<prop::sample::Index>()).prop_map(
            |(copies, needed, at)| {
                let staying = at.index(copies.len() + 1);
                (copies, needed, staying)
            },
        )
    }

    proptest! {
        /// Whatever could be made whole before can be made whole of what stays and what is stored again.
        #[test]
        fn nothing_that_is_needed_is_lost(
            (copies, needed, staying) in world(),
            to_be_whole in prop::collection::hash_set((0..12_u8).prop_map(id), 0..3),
        ) {
            let before = live(needed.iter().copied(), &copies).lost;
            let tasks = tasks(&needed, &copies, staying, &to_be_whole);
            prop_assert_eq!(&tasks.lost, &before);
            let mut after = copies[..staying].to_vec();
            for task in &tasks.again {
                prop_assert!(task.copy >= staying);
                let delta = if task.as_delta { copies[task.copy].delta.clone() } else { Delta::default() };
                after.push(StoredCopy { delta, ..copies[task.copy].clone() });
            }
            let is_whole = |task: &Task| !task.as_delta || !to_be_whole.contains(&copies[task.copy].id);
            prop_assert!(tasks.again.iter().all(is_whole));
            // What is stored whole may even make good what could not be made whole before.
            prop_assert!(live(needed.iter().copied(), &after).lost.is_subset(&before));
        }
    }
}
