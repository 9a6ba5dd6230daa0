//! What a new version of a chunk is stored against, so that no chain of versions grows long, and none is ever stored
//! whole again just because it did.
//!
//! A rank counts *hops* in its high half and *steps* in its low half. A version is a step from the one before it; after
//! some steps the next one is a hop, from where the steps began; after some hops it hops from the root again, which is
//! stored whole. So a version is at most [`STEPS_MAX`] + [`HOPS_MAX`] others away from the root, most are stored against
//! the one before, and the others reach back over few. How many steps a line of versions makes depends on the id of its
//! root, so that not all of them hop in the same night. Measured in docs/decisions/0018.

use super::delta::{Base, CLOSURE_BYTES_MAX, CLOSURE_CHUNKS_MAX, Step};

/// Steps in a row: as many as this, or one fewer.
const STEPS_MAX: u8 = 2;
/// Hops in a row.
const HOPS_MAX: u8 = 2;
const HOP: u8 = 16;
/// A version that is made from more chunks than this which are stored whole takes long to read.
const ROOTS_MAX: usize = 4;

/// What to store a chunk against.
#[derive(Debug)]
pub(super) struct Choice {
    pub rank: u8,
    pub bases: Vec<Step>,
}

/// Chooses, for a chunk that may be like all of these; the others are ready besides, and stored whole. `None`: it is to
/// be stored whole itself.
pub(super) fn choose(bases: &[Base], others: &[Step]) -> Option<Choice> {
    let top = bases.iter().map(|base| base.step.rank).max();
    let Some(top) = top else { return choice(1, others.to_vec(), others) };
    // What takes many chunks to read stays so until it changes again, or until the time after that.
    let is_wide = |base: &Base| base.closure.iter().filter(|step| step.rank == 0).count() > ROOTS_MAX;
    if bases.iter().any(|base| is_wide(base) && base.step.id.as_bytes()[0].is_multiple_of(2)) {
        return None;
    }
    let [line, ..] = bases.first().and_then(root)?.id.as_bytes();
    if top % HOP < STEPS_MAX - line % 2 {
        let closure: Vec<Step> = bases.iter().flat_map(Base::all).chain(others).cloned().collect();
        let direct = bases.iter().map(|base| &base.step).chain(others).cloned().collect();
        if let Some(choice) = choice(top + 1, direct, &closure) {
            return Some(choice);
        }
    }
    let ends: Vec<Step> = bases.iter().filter_map(last_hop).chain(others).cloned().collect();
    let top = ends.iter().map(|step| step.rank).max()?;
    if top / HOP < HOPS_MAX {
        let below = bases.iter().flat_map(Base::all).filter(|step| step.rank <= top);
        let closure: Vec<Step> = below.chain(others).cloned().collect();
        if let Some(choice) = choice(top + HOP, ends, &closure) {
            return Some(choice);
        }
    }
    let roots: Vec<Step> = bases.iter().filter_map(root).chain(others).cloned().collect();
    choice(HOP, roots.clone(), &roots)
}

impl Base {
    /// All that it takes, and itself.
    fn all(&self) -> impl Iterator<Item = &Step> {
        self.closure.iter().chain([&self.step])
    }
}

/// From where the steps to this base began.
fn last_hop(base: &Base) -> Option<&Step> {
    // Of several of one rank the first belongs to the first base's line.
    base.all().filter(|step| step.rank.is_multiple_of(HOP)).reduce(|a, b| if b.rank > a.rank { b } else { a })
}

/// What is stored whole, where the line of first bases ends.
pub(super) fn root(base: &Base) -> Option<&Step> {
    base.all().find(|step| step.rank == 0)
}

fn choice(rank: u8, mut bases: Vec<Step>, closure: &[Step]) -> Option<Choice> {
    let mut seen = Vec::new();
    bases.retain(|step| {
        !seen.contains(&step.id) && {
            seen.push(step.id);
            true
        }
    });
    let (mut ids, mut bytes) = (Vec::new(), 0);
    for step in closure {
        if !ids.contains(&step.id) {
            ids.push(step.id);
            bytes += step.bytes.len();
        }
    }
    let fits = ids.len() <= CLOSURE_CHUNKS_MAX && bytes <= CLOSURE_BYTES_MAX;
    (fits && (1..=crate::pack::BASES_MAX).contains(&bases.len())).then_some(Choice { rank, bases })
}

#[cfg(test)]
mod tests {
    use super::super::delta::Plain;
    use super::*;
    use crate::id::ChunkPrefix;

    /// Stores versions of one chunk one after another, as a writer does; each with what it takes.
    fn versions(count: u8, len: usize) -> Vec<Option<Base>> {
        let mut out: Vec<Option<Base>> = Vec::new();
        for n in 0..count {
            let step = |rank| Step { id: ChunkPrefix::new([n; 16]), rank, bytes: Plain::made(vec![n; len]) };
            let before = out.last().cloned().flatten();
            let choice = before.and_then(|before| choose(&[before], &[]));
            let (rank, closure) = match choice {
                None => (0, Vec::new()),
                Some(choice) => {
                    let base = choice.bases[0].id;
                    let base = out.iter().flatten().find(|old| old.step.id == base).unwrap();
                    (choice.rank, base.all().cloned().collect())
                }
            };
            out.push(Some(Base { step: step(rank), closure, share: 0.5 }));
        }
        out
    }

    #[test]
    fn chains_stay_short_and_most_versions_are_stored_against_the_one_before() {
        let all: Vec<Base> = versions(100, 64 << 10).into_iter().flatten().collect();
        let longest = all.iter().map(|base| base.closure.len()).max().unwrap();
        assert!(longest <= usize::from(STEPS_MAX + HOPS_MAX), "{longest}");
        let is_before = |n: usize| all[n].closure.last().is_some_and(|base| base.id == all[n - 1].step.id);
        let near = (1..all.len()).filter(|n| is_before(*n)).count();
        assert!(near * 100 >= 55 * (all.len() - 1), "{near}");
        assert_eq!(all.iter().filter(|base| base.step.rank == 0).count(), 1, "none is stored whole but the first");
        for base in &all {
            assert!(base.closure.iter().all(|step| step.rank < base.step.rank));
        }
    }

    #[test]
    fn what_takes_too_many_bytes_begins_anew_from_the_root() {
        let all: Vec<Base> = versions(40, 1 << 20).into_iter().flatten().collect();
        assert!(all.iter().all(|base| base.closure.len() << 20 <= CLOSURE_BYTES_MAX));
        assert_eq!(all.iter().filter(|base| base.step.rank == 0).count(), 1);
    }
}
