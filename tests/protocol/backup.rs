//! What a backup does.

use super::flaws::Flaw;
use super::model::{Model, Next};
use super::state::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Session,
    Tombs,
    Parent,
    Packs,
    Upload,
    Barrier,
    Snapshot,
    Look,
    End,
    // Only where something is done wrongly.
    PacksEarly,
    TombsLate,
    Index,
}

fn steps(flaw: Option<Flaw>, again: bool) -> &'static [Step] {
    use Step::*;
    match flaw {
        Some(Flaw::SessionAfterTombs) => &[Tombs, Session, Parent, Packs, Upload, Barrier, Snapshot, Look, End],
        Some(Flaw::TombsNotListed) => &[Session, Parent, Packs, Upload, Barrier, Snapshot, Look, End],
        Some(Flaw::PacksBeforeTombs) => &[Session, PacksEarly, Parent, TombsLate, Upload, Barrier, Snapshot, Look, End],
        Some(Flaw::ParentBeforeSession) => &[Parent, Session, Tombs, Packs, Upload, Barrier, Snapshot, Look, End],
        Some(Flaw::ParentBeforeTombs) => &[Session, Parent, Tombs, Packs, Upload, Barrier, Snapshot, Look, End],
        Some(Flaw::IndexForPacks) => &[Session, Tombs, Parent, Packs, Upload, Barrier, Index, Snapshot, Look, End],
        Some(Flaw::EndBeforePacks) => &[Session, Tombs, Parent, Packs, Snapshot, Look, End, Upload],
        Some(Flaw::SnapshotBeforePacks) => &[Session, Tombs, Parent, Packs, Snapshot, Upload, Barrier, Look, End],
        Some(Flaw::NoBarrier) => &[Session, Tombs, Parent, Packs, Upload, Snapshot, Look, End],
        Some(Flaw::NoLook) => &[Session, Tombs, Parent, Packs, Upload, Barrier, Snapshot, End],
        Some(Flaw::LookBeforeSnapshot) => &[Session, Tombs, Parent, Packs, Upload, Barrier, Look, Snapshot, End],
        Some(Flaw::RedoWithoutListing) if again => &[Session, Snapshot, Look, End],
        _ => &[Session, Tombs, Parent, Packs, Upload, Barrier, Snapshot, Look, End],
    }
}

impl Model {
    pub fn backup(&self, state: &State, n: usize, out: &mut Vec<Next>) {
        let me = state.backups[n];
        let Some(step) = steps(self.flaw, me.again).get(usize::from(me.at)) else { return };
        let number = 2 * n + usize::from(me.again);
        let session = 1 << number;
        let mut new = *state;
        let it = &mut new.backups[n];
        it.at += 1;
        let what = match step {
            Step::Session => {
                new.sessions |= session;
                "put session of backup"
            }
            Step::Tombs => {
                it.seen = state.condemned();
                "list tombs for backup"
            }
            Step::PacksEarly => {
                it.seen = state.packs;
                "list packs for backup"
            }
            Step::Parent => return self.parent(state, n, new, out),
            Step::Packs => {
                let listed = if self.has(Flaw::IndexForPacks) { state.named } else { state.packs };
                return self.decide(n, new, listed, me.seen, out);
            }
            Step::TombsLate => return self.decide(n, new, me.seen, state.condemned(), out),
            Step::Upload => {
                it.upload = 0;
                let number = if self.has(Flaw::NameUsedAgain) { 2 * n } else { number };
                self.store(&mut new, number, me.upload);
                "put packs of backup"
            }
            Step::Barrier => {
                it.adopted = 0;
                new.durable |= (me.adopted | made_pack(number)) & state.packs;
                "barrier of backup"
            }
            Step::Index => {
                new.named |= made_pack(number);
                "put index of backup"
            }
            Step::Snapshot => {
                new.snapshots[1 + number] = Snapshot::Listed;
                "put snapshot of backup"
            }
            Step::Look if state.sessions & session != 0 => "look at session of backup",
            Step::Look if me.again => {
                *it = Backup { at: DONE, ..Backup::default() };
                "fail backup"
            }
            Step::Look => {
                *it = Backup { again: true, ..Backup::default() };
                "begin anew with backup"
            }
            Step::End => {
                if state.snapshots[1 + number] == Snapshot::Listed {
                    new.snapshots[1 + number] = Snapshot::Confirmed;
                }
                new.end_session(session);
                "put end of backup"
            }
        };
        self.push_backup(n, what, new, out);
    }

    /// Leaves out what would change nothing.
    fn push_backup(&self, who: usize, what: &'static str, mut state: State, out: &mut Vec<Next>) {
        let it = &mut state.backups[who];
        let steps = steps(self.flaw, it.again);
        let own = made_pack(2 * who + usize::from(it.again)) & state.packs & !state.durable;
        let is_idle = |it: &Backup| match steps.get(usize::from(it.at)) {
            Some(Step::Upload) => it.upload == 0,
            Some(Step::Barrier) => it.upload == 0 && (own | it.adopted) == 0,
            _ => false,
        };
        while is_idle(it) {
            it.at += 1;
        }
        if usize::from(it.at) >= steps.len() {
            *it = Backup { at: DONE, ..Backup::default() };
        }
        out.push(Next { who, what, state });
    }

    /// Takes some confirmed snapshot for its parent, or none. What that has need not be looked up.
    fn parent(&self, state: &State, n: usize, new: State, out: &mut Vec<Next>) {
        let counts = |parent: &usize| match state.snapshots[*parent] {
            Snapshot::Gone | Snapshot::Leaving => false,
            Snapshot::Listed => self.has(Flaw::ParentUnconfirmed),
            Snapshot::Confirmed => true,
        };
        let parents = (0..SNAPSHOTS).filter(counts);
        let mut choices: Vec<Chunks> = parents.map(|parent| self.needs(parent) & self.scene.backups[n]).collect();
        choices.push(0);
        choices.sort();
        choices.dedup();
        for reused in choices {
            let mut new = new;
            new.backups[n].reused = reused;
            self.push_backup(n, "look at parent of backup", new, out);
        }
    }

    /// What counts as there is what is listed, not condemned, and resolves; the rest is stored, whole or as deltas.
    /// What is reused is looked up, too, if anything is condemned.
    fn decide(&self, n: usize, mut new: State, listed: Packs, tombs: Packs, out: &mut Vec<Next>) {
        let have = self.copies(&new, listed & !tombs);
        let hits = if self.has(Flaw::BaseOfHitUnchecked) { mentioned(have) } else { resolved(have) };
        let is_looked_up = match self.flaw {
            Some(Flaw::ReuseDespiteTombs) => false,
            Some(Flaw::ReuseLooksAtNodes) => tombs != 0 && hits & A == 0,
            _ => tombs != 0,
        };
        let it = &mut new.backups[n];
        let reused = if is_looked_up { 0 } else { it.reused };
        let missing = self.scene.backups[n] & !(hits | reused);
        (it.seen, it.reused) = (0, 0);
        it.adopted = if self.has(Flaw::NothingAdopted) { 0 } else { listed & !tombs & !new.durable };
        let bases = if self.has(Flaw::BaseCondemned) { self.copies(&new, listed) } else { have };
        let is_enough = |upload: &Copies| {
            let is_once = mentioned(*upload) == missing && upload.count_ones() == missing.count_ones();
            is_once && missing & !resolved(bases | upload) == 0
        };
        for upload in (0..16).filter(is_enough) {
            let mut new = new;
            new.backups[n].upload = upload;
            self.push_backup(n, "list packs for backup", new, out);
        }
    }
}
