//! What a check does that finds an unconfirmed snapshot whole, and confirms it.

use super::flaws::Flaw;
use super::model::{Model, Next};
use super::state::*;

enum Step {
    Snapshots,
    Tombs,
    Packs,
    Barrier,
    Confirm,
    // Only where something is done wrongly.
    PacksEarly,
    TombsLate,
}

fn steps(flaw: Option<Flaw>) -> &'static [Step] {
    use Step::*;
    match flaw {
        Some(Flaw::CheckIgnoresTombs) => &[Snapshots, Packs, Barrier, Confirm],
        Some(Flaw::CheckListsTombsFirst) => &[Tombs, Snapshots, Packs, Barrier, Confirm],
        Some(Flaw::CheckListsPacksFirst) => &[Snapshots, PacksEarly, TombsLate, Barrier, Confirm],
        Some(Flaw::CheckAdoptsNothing) => &[Snapshots, Tombs, Packs, Confirm],
        _ => &[Snapshots, Tombs, Packs, Barrier, Confirm],
    }
}

impl Model {
    pub fn check(&self, state: &State, out: &mut Vec<Next>) {
        let me = state.check;
        let Some(step) = steps(self.flaw).get(usize::from(me.at)) else { return };
        let mut new = *state;
        new.check.at += 1;
        let what = match step {
            Step::Snapshots => {
                for n in (0..SNAPSHOTS).filter(|n| state.snapshots[*n] == Snapshot::Listed) {
                    let mut new = new;
                    new.check.snapshot = n as u8;
                    out.push(Next { who: 0, what: "list snapshots for check", state: new });
                }
                return;
            }
            Step::Tombs => {
                new.check.seen = state.condemned();
                "list tombs for check"
            }
            Step::PacksEarly => {
                new.check.seen = state.packs;
                "list packs for check"
            }
            Step::Packs => return self.confirms(new, state.packs & !me.seen, out),
            Step::TombsLate => return self.confirms(new, me.seen & !state.condemned(), out),
            Step::Barrier => {
                new.check.seen = 0;
                new.durable |= me.seen & state.packs;
                "barrier of check"
            }
            Step::Confirm => {
                let snapshot = &mut new.snapshots[usize::from(me.snapshot)];
                if *snapshot == Snapshot::Listed {
                    *snapshot = Snapshot::Confirmed;
                }
                new.check = Check { at: DONE, ..Check::default() };
                "confirm by check"
            }
        };
        out.push(Next { who: 0, what, state: new });
    }

    /// Only if all that the snapshot needs is in these packs, which may not be durable yet.
    fn confirms(&self, mut new: State, packs: Packs, out: &mut Vec<Next>) {
        let needs = self.needs(usize::from(new.check.snapshot));
        new.check.seen = if self.has(Flaw::CheckAdoptsNothing) { 0 } else { packs & !new.durable };
        if needs & !resolved(self.copies(&new, packs)) == 0 {
            out.push(Next { who: 0, what: "list packs for check", state: new });
        }
    }
}
