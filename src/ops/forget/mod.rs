//! Takes snapshots off the list that nobody needs any more: plan, show, apply.
//!
//! - [`policy`] decides; here its facts come from a list, and what it decided is done.
//! - Fails closed: a list that is not complete, a note that cannot be read (it may pin something), a snapshot that
//!   cannot be read for a reason other than damage end it before anything is removed. A damaged snapshot fills no place,
//!   and stays unless it is named.
//! - First a note says what is forgotten, and is durable; then the objects move to the trash. So whoever misses one
//!   later knows why, wherever this stops. Nothing that snapshots need is touched: forgetting removes roots, and a prune
//!   gives back the space, which waits for all sessions as always. No two forgets can remove all of a series, since each
//!   leaves its newest whole snapshot.
//! - Who pins writes the pin, and then looks whether the snapshot is there still; who forgets looks for pins after it
//!   has removed, and puts back what was pinned meanwhile. One of the two sees the other.

pub mod period;
pub mod policy;
pub mod undelete;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::tz::TimeZone;

use self::policy::{Decision, Facts, Flaw, Rules, State, Tally};
use super::notes;
use crate::clock::timestamp;
use crate::entry::Time;
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::ObjectId;
use crate::record::{self, Note, Remark};
use crate::repo::{Listing, Proof, Repository, Session, SnapshotInfo};
use crate::text;

/// What shall go.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// What these rules do not keep, in series of these names; `None`: in all.
    Lapsed(&'a Rules, Option<&'a [Vec<u8>]>),
    /// These.
    Named(&'a BTreeSet<ObjectId>),
}

/// What becomes of which snapshot.
#[derive(Debug)]
pub struct Plan {
    /// All that something was decided about, oldest first.
    pub decided: Vec<(SnapshotInfo, Decision)>,
    /// Snapshots that cannot be read, since they are damaged, and such as are gone and were named; what was named goes.
    pub damaged: Vec<(ObjectId, Error, bool)>,
    /// The series that something was decided about.
    pub tallies: Vec<Tally>,
}

impl Plan {
    /// The snapshots that go.
    pub fn removed(&self) -> impl Iterator<Item = ObjectId> {
        let decided = self.decided.iter().filter(|(_, one)| !one.keeps).map(|(info, _)| info.id);
        decided.chain(self.damaged.iter().filter(|(_, _, goes)| *goes).map(|(id, ..)| *id))
    }

    /// The first series of which more goes than anybody expects.
    pub fn much(&self) -> Option<&Tally> {
        self.tallies.iter().find(|tally| tally.is_much())
    }
}

/// Decides.
pub fn plan(repository: &Repository, listing: &Listing, what: What<'_>, zone: &TimeZone) -> Result<Plan> {
    check_complete(listing)?;
    let now = repository.world().now();
    let now = timestamp(now).ok_or_else(no_time)?.to_zoned(zone.clone());
    let facts: Vec<Facts> = listing.snapshots.iter().map(facts_of).collect();
    let decisions = match what {
        What::Lapsed(rules, scope) => policy::decide(&facts, rules, scope, &now),
        What::Named(ids) => policy::decide_named(&facts, ids, &now),
    };
    let mut tallies = policy::tally(&facts, &decisions);
    if let What::Lapsed(_, Some(scope)) = what {
        tallies.retain(|tally| scope.contains(&tally.series));
    }
    let mut by_id: BTreeMap<ObjectId, Decision> = decisions.into_iter().map(|one| (one.id, one)).collect();
    let decided = listing.snapshots.iter().filter_map(|info| Some((info.clone(), by_id.remove(&info.id)?)));
    let is_named = |id: &ObjectId| matches!(what, What::Named(ids) if ids.contains(id));
    let damaged = listing.damaged.iter().map(|(id, error)| (*id, error.clone(), is_named(id)));
    // Who names one that is gone says that it is not missed any more.
    let gone = listing.gone.iter().filter(|id| is_named(id)).map(|id| (*id, is_gone(id), true));
    let damaged = damaged.chain(gone);
    Ok(Plan { decided: decided.collect(), damaged: damaged.collect(), tallies })
}

fn is_gone(id: &ObjectId) -> Error {
    Error::new(Kind::Missing, format!("snapshot {} is gone", id.short()))
}

fn no_time() -> Error {
    Error::new(Kind::Failed, "this machine's clock shows a time that no calendar has").fix("set the clock")
}

/// Whether a list knows all that speaks for a snapshot.
fn check_complete(listing: &Listing) -> Result<()> {
    if let Some((id, error)) = listing.lost_notes.first() {
        let what = format!("nothing was forgotten: note {} cannot be read, and it may pin a snapshot", id.short());
        return Err(Error::new(error.kind(), what).why(error).fix(error.advice()));
    }
    if let Some((run, error)) = listing.lost_ends.first() {
        let what = format!(
            "nothing was forgotten: the end of session {} cannot be read, and it may name a note that is gone, and pinned a \
             snapshot",
            run.short()
        );
        return Err(Error::new(error.kind(), what).why(error).fix(error.advice()));
    }
    match listing.damaged.iter().find(|(_, error)| error.kind() != Kind::Damage) {
        None => Ok(()),
        Some((id, error)) => {
            let what = format!("nothing was forgotten: snapshot {} cannot be read", id.short());
            Err(Error::new(error.kind(), what).why(error).fix(error.advice()))
        }
    }
}

fn facts_of(info: &SnapshotInfo) -> Facts {
    Facts {
        id: info.id,
        time: info.summary.time,
        series: info.summary.sources.iter().map(|source| source.name.clone()).collect(),
        tags: info.standing.tags.clone(),
        is_pinned: info.standing.is_pinned,
        state: match (info.confirmed, info.summary.state, info.proof()) {
            (false, ..) => State::Unconfirmed,
            // Also of a partial one: there is less of it than it says.
            (true, _, Proof::Damaged(_)) => State::Flawed(Flaw::Damaged),
            (true, record::State::Partial, _) => State::Flawed(Flaw::Partial),
            (true, record::State::Whole, Proof::Failed(_)) => State::Flawed(Flaw::DrillFailed),
            (true, record::State::Whole, _) => State::Whole,
        },
    }
}

/// Does it; the snapshots that were to go, but were pinned meanwhile, and so are there. The plan must come from
/// [`Repository::snapshots_anew`], so that nothing counts as whole that was not read.
pub fn apply(repository: &Repository, plan: &Plan, job: Job<'_>) -> Result<Vec<ObjectId>> {
    let mut removed: HashSet<ObjectId> = plan.removed().collect();
    if removed.is_empty() {
        return Ok(Vec::new());
    }
    repository.storage().make_room();
    let now = repository.world().now();
    let times: BTreeMap<ObjectId, Time> =
        plan.decided.iter().map(|(info, _)| (info.id, info.standing.time_of_next(now))).collect();
    let remark =
        |id: ObjectId| Remark { is_forgotten: Some(true), ..Remark::of(id, times.get(&id).copied().unwrap_or(now)) };
    let session = notes::begin(repository)?;
    notes::put(&session, &Note { time: now, remarks: plan.removed().map(remark).collect(), ..Note::default() })?;
    repository.storage().barrier()?;
    let mut spared = repository.pinned_of(&removed)?;
    removed.retain(|id| !spared.contains(id));
    for id in &removed {
        job.cancel.check()?;
        repository.trash_snapshot(id)?;
        job.advance(1, 0);
    }
    repository.storage().barrier()?;
    let late = repository.pinned_of(&removed)?;
    if !spared.is_empty() {
        take_back(repository, &session, &spared)?;
    }
    session.end(Vec::new())?;
    if !late.is_empty() {
        // A prune may have looked while they were off the list.
        let trashed = repository.trashed_snapshots()?.snapshots;
        trashed
            .iter()
            .filter(|info| late.contains(&info.id))
            .try_for_each(|it| undelete::undelete(repository, it, job))?;
    }
    spared.extend(late);
    Ok(spared)
}

/// Says that these were not forgotten after all.
fn take_back(repository: &Repository, session: &Session<'_>, ids: &[ObjectId]) -> Result<()> {
    let now = repository.world().now();
    let listing = repository.snapshots()?;
    let infos = listing.snapshots.iter().filter(|info| ids.contains(&info.id));
    let remarks =
        infos.map(|info| Remark { is_forgotten: Some(false), ..Remark::of(info.id, info.standing.time_of_next(now)) });
    notes::put(session, &Note { time: now, remarks: remarks.collect(), ..Note::default() })?;
    Ok(repository.storage().barrier()?)
}

/// The names of the series that are in a list, raw bytes, each once.
pub fn series_in(listing: &Listing) -> BTreeSet<Vec<u8>> {
    listing.snapshots.iter().flat_map(|info| &info.summary.sources).map(|source| source.name.clone()).collect()
}

/// What a plan that must not be done says.
pub fn refusal(tally: &Tally) -> Error {
    let Tally { series, total, removed } = tally;
    let what = format!("{removed} of the {total} snapshots of {} would go at once", text::escape(series));
    Error::new(Kind::Failed, what)
        .why("more than 30 % of a series is more than a rule removes night by night; nothing was changed")
        .fix("look at the list with -n; if it is what you want, add --force")
}
