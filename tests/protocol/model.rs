//! What can happen next, whoever does it.

use super::flaws::Flaw;
use super::state::*;

/// Where everything begins.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    pub name: &'static str,
    /// What is in the packs that are there.
    pub packs: &'static [Copies],
    /// What the snapshot that is there needs.
    pub snapshot: Chunks,
    /// What each backup's source consists of.
    pub backups: &'static [Chunks],
    pub prunes: usize,
    /// Somebody checks, and confirms what nobody confirmed.
    pub checks: bool,
    /// The power may be cut, which takes what is not durable yet.
    pub cuts: bool,
}

pub struct Model {
    pub scene: Scene,
    pub flaw: Option<Flaw>,
}

/// A step: who does what, and what there is then.
pub struct Next {
    pub who: usize,
    pub what: &'static str,
    pub state: State,
}

impl Model {
    pub fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub fn start(&self) -> State {
        let packs = (1 << self.scene.packs.len()) - 1;
        let mut state = State { packs, durable: packs, ..State::default() };
        state.named = if self.has(Flaw::IndexForPacks) { packs } else { 0 };
        state.snapshots[0] = Snapshot::Confirmed;
        state
    }

    /// What the snapshot of this number needs.
    pub fn needs(&self, snapshot: usize) -> Chunks {
        match snapshot {
            0 => self.scene.snapshot,
            n => self.scene.backups[(n - 1) / 2],
        }
    }

    /// All copies in these packs.
    pub fn copies(&self, state: &State, packs: Packs) -> Copies {
        let first = self.scene.packs.iter().enumerate().map(|(n, copies)| (1 << n, copies));
        let made = state.made.iter().enumerate().map(|(n, copies)| (made_pack(n), copies));
        first.chain(made).filter(|(pack, _)| packs & pack != 0).fold(0, |all, (_, copies)| all | copies)
    }

    /// Puts a pack.
    pub fn store(&self, state: &mut State, number: usize, copies: Copies) {
        let pack = made_pack(number);
        state.packs |= pack;
        state.durable |= if self.scene.cuts { 0 } else { pack };
        state.made[number] = copies;
    }

    pub fn delete(&self, state: &mut State, pack: Packs) {
        state.packs &= !pack;
        state.durable &= !pack;
        let number = pack.trailing_zeros() as usize;
        if number >= FIRST_PACKS && !self.has(Flaw::IndexForPacks) {
            state.made[number - FIRST_PACKS] = 0;
        }
    }

    /// **What must always hold**: all that a confirmed snapshot needs is there, unless it was forgotten, and would be
    /// if the power were cut now.
    pub fn is_safe(&self, state: &State) -> bool {
        self.is_kept(state, state.durable)
    }

    fn is_kept(&self, state: &State, packs: Packs) -> bool {
        let lost = !resolved(self.copies(state, packs));
        let counts = |n: &usize| matches!(state.snapshots[*n], Snapshot::Confirmed | Snapshot::Leaving);
        (0..SNAPSHOTS).filter(counts).all(|n| self.needs(n) & lost == 0)
    }

    /// Whether nobody is at work any more. A prune does not begin where there is nothing.
    pub fn is_over(&self, state: &State) -> bool {
        let is_none = |prune: &Prune| prune.at == DONE || prune.at == 0 && state.packs == 0;
        state.backups.iter().take(self.scene.backups.len()).all(|backup| backup.at == DONE)
            && state.prunes.iter().take(self.scene.prunes).all(is_none)
    }

    /// **What must be possible**: all are done, all backups are confirmed, something was deleted, and nothing is left
    /// that could be.
    pub fn is_tidy(&self, state: &State) -> bool {
        let is_confirmed = |n: usize| state.snapshots[2 * n + 1..][..2].contains(&Snapshot::Confirmed);
        let first = self.start().packs;
        let mut packs = (0..16).map(|n| 1 << n).filter(|pack| state.packs & pack != 0);
        self.is_over(state)
            && (0..self.scene.backups.len()).all(is_confirmed)
            && state.condemned() == 0
            && state.packs & first != first
            && packs.all(|pack| !self.is_kept(state, state.packs & !pack))
    }

    /// Everything that can happen next. Who crashes is never chosen again, and nobody asks whether another lives:
    /// sessions expire in either case.
    pub fn next(&self, state: &State, out: &mut Vec<Next>) {
        (0..self.scene.backups.len()).for_each(|n| self.backup(state, n, out));
        (0..self.scene.prunes).for_each(|n| self.prune(state, n, out));
        if self.scene.checks {
            self.check(state, out);
        }
        self.expire(state, out);
        self.forget(state, out);
        self.sweep(state, out);
    }

    fn expire(&self, state: &State, out: &mut Vec<Next>) {
        for who in (0..2 * BACKUPS).filter(|n| state.sessions & 1 << n != 0) {
            let mut state = *state;
            state.end_session(1 << who);
            out.push(Next { who, what: "session expires:", state });
        }
    }

    fn forget(&self, state: &State, out: &mut Vec<Next>) {
        for who in (0..SNAPSHOTS).filter(|n| state.snapshots[*n] != Snapshot::Gone) {
            let mut state = *state;
            let snapshot = &mut state.snapshots[who];
            let is_in_two = self.scene.cuts && *snapshot == Snapshot::Confirmed;
            *snapshot = if is_in_two { Snapshot::Leaving } else { Snapshot::Gone };
            out.push(Next { who, what: "forget snapshot", state });
        }
    }

    /// Whoever sees a tomb none of whose packs is left takes it away.
    fn sweep(&self, state: &State, out: &mut Vec<Next>) {
        let is_over = |tomb: Packs| tomb & state.packs == 0 || self.has(Flaw::TombOfOtherRemoved);
        for who in (0..PRUNES).filter(|n| state.tombs[*n] != 0 && is_over(state.tombs[*n])) {
            let mut state = *state;
            state.tombs[who] = 0;
            out.push(Next { who, what: "remove tomb of prune", state });
        }
    }
}
