//! What a prune does.

use super::flaws::Flaw;
use super::model::{Model, Next};
use super::state::*;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Condemn,
    Sessions,
    Snapshots,
    Tombs,
    Packs,
    Copy,
    Barrier,
    Delete,
    // Only where something is done wrongly.
    PacksEarly,
    TombsLate,
    Retire,
    Unmark,
}

fn steps(flaw: Option<Flaw>) -> &'static [Step] {
    use Step::*;
    match flaw {
        Some(Flaw::NoWait) => &[Condemn, Snapshots, Tombs, Packs, Copy, Barrier, Delete],
        Some(Flaw::SessionsBeforeTomb) => &[Sessions, Condemn, Snapshots, Tombs, Packs, Copy, Barrier, Delete],
        Some(Flaw::SnapshotsBeforeTomb) => &[Snapshots, Condemn, Sessions, Tombs, Packs, Copy, Barrier, Delete],
        Some(Flaw::SnapshotsBeforeWait) => &[Condemn, Snapshots, Sessions, Tombs, Packs, Copy, Barrier, Delete],
        Some(Flaw::TombsBeforeOwn) => &[Tombs, Condemn, Sessions, Snapshots, Packs, Copy, Barrier, Delete],
        Some(Flaw::OtherTombsIgnored) => &[Condemn, Sessions, Snapshots, Packs, Copy, Barrier, Delete],
        Some(Flaw::PruneListsPacksFirst) => {
            &[Condemn, Sessions, Snapshots, PacksEarly, TombsLate, Copy, Barrier, Delete]
        }
        Some(Flaw::PruneListsSnapshotsLast) => &[Condemn, Sessions, Tombs, Packs, Snapshots, Copy, Barrier, Delete],
        Some(Flaw::DeleteBeforeCopy) => &[Condemn, Sessions, Snapshots, Tombs, Packs, Delete, Copy],
        Some(Flaw::DeleteBeforeBarrier) => &[Condemn, Sessions, Snapshots, Tombs, Packs, Copy, Delete],
        Some(Flaw::TombRemovedFirst) => &[Condemn, Sessions, Snapshots, Tombs, Packs, Copy, Barrier, Unmark, Delete],
        Some(Flaw::IndexForPacks) => &[Condemn, Sessions, Snapshots, Tombs, Packs, Copy, Barrier, Retire, Delete],
        _ => &[Condemn, Sessions, Snapshots, Tombs, Packs, Copy, Barrier, Delete],
    }
}

impl Model {
    pub fn prune(&self, state: &State, n: usize, out: &mut Vec<Next>) {
        let me = state.prunes[n];
        let Some(step) = steps(self.flaw).get(usize::from(me.at)) else { return };
        if state.tombs[n] != 0 {
            self.give_up(state, n, out);
        }
        if me.waits != 0 && *step != Step::Condemn {
            return;
        }
        let mut new = *state;
        let it = &mut new.prunes[n];
        it.at += 1;
        let what = match step {
            Step::Condemn => return self.condemn(n, new, out),
            Step::Sessions => {
                it.waits = state.sessions;
                "list sessions for prune"
            }
            Step::Snapshots => {
                it.used = self.used(state);
                "list snapshots for prune"
            }
            Step::Tombs => {
                it.seen = state.condemned();
                "list tombs for prune"
            }
            Step::PacksEarly => {
                it.seen = state.packs;
                "list packs for prune"
            }
            Step::Packs => {
                self.keep(&mut new, n, state.packs & !me.seen);
                "list packs for prune"
            }
            Step::TombsLate => {
                self.keep(&mut new, n, me.seen & !state.condemned());
                "list tombs for prune"
            }
            Step::Copy => return self.copy(state, n, new, out),
            Step::Barrier => {
                it.adopted = 0;
                self.barrier(&mut new, n, me.adopted);
                "barrier of prune"
            }
            Step::Retire => {
                new.named = state.named & !me.doomed | state.packs & made_pack(2 * BACKUPS + n);
                "put index of prune"
            }
            Step::Unmark => {
                new.tombs[n] = 0;
                "remove own tomb of prune"
            }
            Step::Delete => return self.delete_one(state, n, out),
        };
        self.push_prune(n, what, new, out);
    }

    /// Leaves out what would change nothing.
    fn push_prune(&self, who: usize, what: &'static str, mut state: State, out: &mut Vec<Next>) {
        let steps = steps(self.flaw);
        let step = |it: &Prune| steps.get(usize::from(it.at));
        let mut it = state.prunes[who];
        if step(&it) == Some(&Step::Copy) && it.used & !self.stays(it.kept) == 0 {
            it = Prune { at: it.at + 1, seen: 0, used: 0, kept: 0, ..it };
        }
        let own = made_pack(2 * BACKUPS + who) & state.packs & !state.durable;
        let is_durable = (own | it.adopted) == 0 && !state.snapshots.contains(&Snapshot::Leaving);
        it.at += u8::from(step(&it) == Some(&Step::Barrier) && is_durable);
        state.prunes[who] = if step(&it).is_some() { it } else { Prune { at: DONE, ..Prune::default() } };
        out.push(Next { who, what, state });
    }

    fn give_up(&self, state: &State, who: usize, out: &mut Vec<Next>) {
        let mut state = *state;
        (state.tombs[who], state.prunes[who]) = (0, Prune { at: DONE, ..Prune::default() });
        out.push(Next { who, what: "give up prune", state });
    }

    /// Any packs at all: which ones are worth it is no question of safety.
    fn condemn(&self, n: usize, new: State, out: &mut Vec<Next>) {
        for doomed in (1..=new.packs).filter(|doomed| doomed & !new.packs == 0) {
            let mut new = new;
            new.prunes[n].doomed = doomed;
            new.tombs[n] = if self.has(Flaw::NoTomb) { 0 } else { doomed };
            self.push_prune(n, "put tomb of prune", new, out);
        }
    }

    /// What snapshots need, confirmed or not.
    fn used(&self, state: &State) -> Chunks {
        let counts = |n: &usize| match state.snapshots[*n] {
            Snapshot::Gone | Snapshot::Leaving => false,
            Snapshot::Listed => !self.has(Flaw::OnlyConfirmed),
            Snapshot::Confirmed => true,
        };
        (0..SNAPSHOTS).filter(counts).fold(0, |all, n| all | self.needs(n))
    }

    /// What is in these packs, and not in those that are to go, stays. What is nowhere is passed over: it can only
    /// be of a snapshot that was forgotten, or that can never be confirmed.
    fn keep(&self, new: &mut State, n: usize, packs: Packs) {
        let there = resolved(self.copies(new, new.packs));
        let it = &mut new.prunes[n];
        let packs = packs & !it.doomed;
        it.adopted = if self.has(Flaw::PruneAdoptsNothing) { 0 } else { packs & !new.durable };
        it.seen = new.packs;
        it.used &= there;
        let kept = self.copies(new, packs);
        new.prunes[n].kept = kept;
    }

    /// What counts as kept.
    fn stays(&self, copies: Copies) -> Chunks {
        match self.flaw {
            Some(Flaw::BasesNotKept) => mentioned(copies),
            Some(Flaw::DepthIgnored) => mentioned_with_bases(copies),
            _ => resolved(copies),
        }
    }

    /// Copies what is used and does not stay, as it is or whole, and no more than is needed. If a pack has gone since
    /// packs were listed, and more cannot be had, it gives up: to list anew is to have been slower.
    fn copy(&self, state: &State, n: usize, mut new: State, out: &mut Vec<Next>) {
        let Prune { seen, used, kept, .. } = state.prunes[n];
        new.prunes[n] = Prune { seen: 0, used: 0, kept: 0, ..new.prunes[n] };
        let there = self.copies(state, seen & state.packs);
        let wanted = if self.has(Flaw::VanishedPassedOver) { used & resolved(there) } else { used };
        let is_enough = |copies: Copies| wanted & !self.stays(kept | copies) == 0;
        let is_least = |copies: Copies| (0..4).all(|n| copies & 1 << n == 0 || !is_enough(copies & !(1 << n)));
        if wanted & !self.stays(kept | resolved(there)) != 0 {
            return self.give_up(state, n, out);
        }
        let can_be_made = resolved(there) | there & (A_BY_B | B_BY_A);
        for copies in (0..16).filter(|copies| copies & !can_be_made == 0 && is_enough(*copies) && is_least(*copies)) {
            let mut new = new;
            if copies != 0 {
                self.store(&mut new, 2 * BACKUPS + n, copies);
            }
            self.push_prune(n, "copy for prune", new, out);
        }
    }

    /// Makes durable what was stored, what others stored and it counts on, and that others forgot snapshots.
    fn barrier(&self, new: &mut State, n: usize, adopted: Packs) {
        new.durable |= (adopted | made_pack(2 * BACKUPS + n)) & new.packs;
        let leaves = |it: &&mut Snapshot| **it == Snapshot::Leaving && !self.has(Flaw::ForgottenNotDurable);
        new.snapshots.iter_mut().filter(leaves).for_each(|snapshot| *snapshot = Snapshot::Gone);
    }

    /// One pack after another.
    fn delete_one(&self, state: &State, n: usize, out: &mut Vec<Next>) {
        let left = state.prunes[n].doomed & state.packs;
        for pack in (0..16).map(|n| 1 << n).filter(|pack| left & pack != 0) {
            let mut new = *state;
            self.delete(&mut new, pack);
            new.prunes[n].at += u8::from(left == pack);
            self.push_prune(n, "delete for prune", new, out);
        }
        if left == 0 {
            let mut new = *state;
            new.prunes[n].at += 1;
            self.push_prune(n, "find nothing to delete for prune", new, out);
        }
    }
}
