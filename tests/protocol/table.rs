//! Which histories are looked at, and what is expected of them; the table in docs/concurrency.md.

use super::flaws::Flaw;
use super::model::Scene;
use super::search::Outcome;
use super::state::*;

#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub what: &'static str,
    pub scene: Scene,
    pub flaw: Option<Flaw>,
    pub is_safe: bool,
    /// Only for the long run.
    pub is_long: bool,
}

const fn scene(name: &'static str, packs: &'static [Copies], snapshot: Chunks, backups: &'static [Chunks]) -> Scene {
    Scene { name, packs, snapshot, backups, prunes: 1, checks: false, cuts: false }
}

const ONE: Scene = scene("one chunk", &[A], A, &[A]);
const MORE: Scene = scene("one chunk, then two", &[A], A, &[A | B]);
const MORE_CUTS: Scene = Scene { cuts: true, ..MORE };
const OTHER: Scene = scene("one chunk, then another", &[A], A, &[B]);
const OTHER_TWICE_CUTS: Scene = Scene { backups: &[B, B], prunes: 0, cuts: true, ..OTHER };
const NODE: Scene = scene("a node and what is below it", &[A, B], A | B, &[A | B]);
const DELTA: Scene = scene("a delta", &[A, B_BY_A], B, &[B]);
const DELTA_MORE: Scene = scene("a delta, then its base, too", &[A, B_BY_A], B, &[A | B]);
const BOTH_WAYS: Scene = scene("deltas both ways", &[A, B, A_BY_B, B_BY_A], A | B, &[A | B]);
const CUTS: Scene = Scene { cuts: true, ..ONE };
const CHECKED: Scene = Scene { checks: true, ..ONE };
const CHECKED_CUTS: Scene = Scene { cuts: true, ..CHECKED };
const TWO_BACKUPS: Scene = Scene { backups: &[A, A], ..ONE };
const TWO_BACKUPS_CUTS: Scene = Scene { cuts: true, ..TWO_BACKUPS };
const TWO_BACKUPS_DELTA: Scene = Scene { backups: &[A | B, B], ..DELTA };
const TWO_PRUNES: Scene = Scene { prunes: 2, ..scene("one chunk, stored twice", &[A, A], A, &[A]) };
const TWO_PRUNES_CUTS: Scene = Scene { cuts: true, ..TWO_PRUNES };
const TWO_PRUNES_DELTA: Scene = Scene { prunes: 2, ..DELTA };
const ONLY_PRUNES: Scene = Scene { backups: &[], ..TWO_PRUNES };
const ONLY_PRUNES_BOTH_WAYS: Scene = Scene { prunes: 2, backups: &[], ..BOTH_WAYS };

pub fn rows() -> Vec<Row> {
    let full = |scene| Row { what: "", scene, flaw: None, is_safe: true, is_long: false };
    let long = |scene| Row { is_long: true, ..full(scene) };
    let loses = |flaw, scene, what| Row { what, scene, flaw: Some(flaw), is_safe: false, is_long: false };
    let same = |flaw, scene, what| Row { is_safe: true, is_long: true, ..loses(flaw, scene, what) };
    vec![
        full(DELTA_MORE),
        full(BOTH_WAYS),
        full(Scene { cuts: true, ..DELTA_MORE }),
        full(Scene { checks: true, cuts: true, ..DELTA }),
        full(TWO_BACKUPS),
        full(TWO_PRUNES),
        full(ONLY_PRUNES_BOTH_WAYS),
        long(TWO_BACKUPS_CUTS),
        long(TWO_PRUNES_CUTS),
        long(TWO_BACKUPS_DELTA),
        long(TWO_PRUNES_DELTA),
        loses(Flaw::SessionAfterTombs, ONE, "a backup announces itself only after it has listed tombs"),
        loses(Flaw::TombsNotListed, ONE, "a backup lists no tombs"),
        loses(Flaw::PacksBeforeTombs, ONE, "a backup lists packs, then tombs"),
        loses(Flaw::IndexForPacks, MORE, "a backup takes the word of index objects for what packs there are"),
        loses(Flaw::BaseOfHitUnchecked, DELTA, "a delta counts as there, though its base is condemned"),
        loses(Flaw::BaseCondemned, OTHER, "a new delta takes a condemned base"),
        loses(Flaw::ParentBeforeSession, ONE, "the parent is looked at before the session is put"),
        loses(
            Flaw::ParentBeforeTombs,
            ONE,
            "the parent is looked at after the session is put, but before tombs are listed",
        ),
        loses(Flaw::ParentUnconfirmed, ONE, "an unconfirmed snapshot serves as parent"),
        loses(Flaw::ReuseDespiteTombs, ONE, "what a parent has is reused unseen, though something is condemned"),
        loses(Flaw::ReuseLooksAtNodes, NODE, "of what is reused the node is looked up, not what is below"),
        loses(Flaw::EndBeforePacks, ONE, "the end is put before the packs"),
        loses(Flaw::NoBarrier, MORE_CUTS, "the end is put before the packs are durable"),
        loses(Flaw::NothingAdopted, OTHER_TWICE_CUTS, "packs of others are counted on that may not be durable yet"),
        loses(Flaw::NoLook, ONE, "the end is put without a look at the session"),
        loses(Flaw::LookBeforeSnapshot, ONE, "the look at the session comes before the snapshot"),
        loses(Flaw::RedoWithoutListing, ONE, "after expiry only session and snapshot are put anew"),
        loses(Flaw::NameUsedAgain, MORE, "a pack is put again under its name"),
        loses(Flaw::NoTomb, ONE, "a prune puts no tomb"),
        loses(Flaw::NoWait, ONE, "a prune waits for nobody"),
        loses(Flaw::SessionsBeforeTomb, ONE, "sessions are listed before the tomb is put"),
        loses(Flaw::SnapshotsBeforeTomb, ONE, "snapshots are listed before the tomb is put only"),
        loses(Flaw::SnapshotsBeforeWait, ONE, "snapshots are listed before sessions are waited for only"),
        loses(Flaw::OnlyConfirmed, ONE, "unconfirmed snapshots count for nothing"),
        loses(Flaw::OtherTombsIgnored, ONLY_PRUNES, "a prune keeps what another has condemned"),
        loses(Flaw::TombsBeforeOwn, ONLY_PRUNES, "a prune lists other tombs before it puts its own only"),
        loses(Flaw::PruneListsPacksFirst, ONLY_PRUNES, "a prune lists packs, then other tombs"),
        loses(Flaw::BasesNotKept, DELTA, "bases of what is used are not kept"),
        loses(Flaw::DepthIgnored, BOTH_WAYS, "any copy of a base will do, be it a delta itself"),
        loses(
            Flaw::VanishedPassedOver,
            ONLY_PRUNES_BOTH_WAYS,
            "what another took away before it was copied is passed over",
        ),
        loses(Flaw::DeleteBeforeCopy, ONE, "packs are deleted before what is used of them is copied"),
        loses(Flaw::DeleteBeforeBarrier, CUTS, "packs are deleted before the copies are durable"),
        loses(Flaw::PruneAdoptsNothing, CUTS, "packs of others are kept in their place that may not be durable yet"),
        loses(Flaw::ForgottenNotDurable, CUTS, "packs are deleted before it is durable that a snapshot was forgotten"),
        loses(Flaw::TombRemovedFirst, ONE, "the tomb is removed before the packs"),
        loses(Flaw::TombOfOtherRemoved, ONE, "the tomb of another is removed while its packs are there"),
        loses(Flaw::CheckIgnoresTombs, CHECKED, "a check confirms what only condemned packs hold"),
        loses(Flaw::CheckListsTombsFirst, CHECKED, "a check lists tombs, then snapshots"),
        loses(Flaw::CheckListsPacksFirst, CHECKED, "a check lists packs, then tombs"),
        loses(Flaw::CheckAdoptsNothing, CHECKED_CUTS, "a check confirms by packs that may not be durable yet"),
        same(Flaw::SnapshotBeforePacks, TWO_BACKUPS_CUTS, "the snapshot is put before the packs, the end after them"),
        same(Flaw::SnapshotBeforePacks, TWO_PRUNES_CUTS, "the snapshot is put before the packs, the end after them"),
        same(Flaw::PruneListsSnapshotsLast, TWO_BACKUPS_CUTS, "tombs and packs are listed again before snapshots are"),
        same(Flaw::PruneListsSnapshotsLast, TWO_PRUNES_CUTS, "tombs and packs are listed again before snapshots are"),
    ]
}

impl Row {
    /// Who takes part in this history, and with what.
    pub fn history(&self) -> String {
        let Scene { name, backups, prunes, checks, cuts, .. } = self.scene;
        let some = |n: usize, one: &str| match n {
            0 => None,
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {one}s")),
        };
        let all = [
            some(backups.len(), "backup"),
            some(prunes, "prune"),
            some(usize::from(checks), "check"),
            Some(name.to_owned()),
            cuts.then(|| "power cuts".to_owned()),
        ];
        all.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn heading(&self) -> &'static str {
        match (self.flaw, self.is_safe) {
            (None, _) => "| the protocol | states | found | seconds |",
            (_, false) => "| done wrongly | states | found | seconds |",
            (_, true) => "| done otherwise | states | found | seconds |",
        }
    }

    /// What is always the same: all but the seconds.
    pub fn line(&self, outcome: &Outcome) -> String {
        let what = if self.what.is_empty() { self.history() } else { format!("{}: {}", self.what, self.history()) };
        let found = match &outcome.loss {
            None => "no loss".to_owned(),
            Some(steps) => format!("loss in {} steps", steps.len()),
        };
        format!("| {what} | {} | {found} |", outcome.states)
    }
}

/// The whole table: lines and seconds.
pub fn table(rows: &[(Row, String, u64)]) -> String {
    let mut out = String::new();
    let mut heading = "";
    for (row, line, seconds) in rows {
        if row.heading() != heading {
            heading = row.heading();
            out.push_str(&format!("\n{heading}\n|---|---|---|---|\n"));
        }
        out.push_str(&format!("{line} {seconds} |\n"));
    }
    out
}
