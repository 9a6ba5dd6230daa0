//! The trash: since when something lies there, and what goes for good.
//!
//! A tomb moves to the trash behind the packs that it names, so its time tells since when they lie there; and so do the
//! snapshots that were forgotten before. No safety hangs on it: nothing in the trash counts.

use std::collections::HashMap;
use std::time::Duration;

use super::Report;
use crate::entry::Time;
use crate::error::{Kind, Result};
use crate::event::Job;
use crate::id::ObjectId;
use crate::repo::{Folder, Repository};

/// Deletes what has lain in the trash for this long, `None`: all; durable when this returns. Snapshots go before the packs
/// that they need.
pub(super) fn empty(repository: &Repository, grace: Option<Duration>, report: &mut Report, job: Job<'_>) -> Result<()> {
    let now = repository.world().now();
    let is_over = |time: Option<Time>| match (grace, time) {
        (Some(grace), Some(time)) => now.seconds.saturating_sub(time.seconds) >= grace.as_secs() as i64,
        _ => true,
    };
    let tombs = repository.trashed_tombs()?;
    let of_trash = || tombs.iter().filter_map(|(_, tomb)| tomb.as_ref().ok());
    // What was forgotten before these tombs is needed by nothing but what they name.
    let over = of_trash().filter_map(|tomb| tomb.time).filter(|time| is_over(Some(*time))).max();
    let goes =
        |forgotten: Option<Time>| grace.is_none() || over.is_some_and(|over| forgotten.is_none_or(|it| it < over));
    let snapshots = repository.trashed_snapshots()?;
    let forgotten = snapshots.snapshots.iter().filter(|info| goes(info.standing.latest)).map(|info| info.id);
    let damaged = snapshots.damaged.iter().filter(|(_, error)| error.kind() == Kind::Damage && goes(None));
    for id in forgotten.chain(damaged.map(|(id, _)| *id)) {
        repository.delete_trashed(Folder::Snapshots, &id)?;
        report.snapshots_gone += 1;
    }
    repository.storage().barrier()?;
    let packs = repository.trashed(Folder::Packs)?;
    if packs.is_empty() && tombs.is_empty() {
        return Ok(());
    }
    let mut since: HashMap<ObjectId, Option<Time>> = HashMap::new();
    // What a prune under way has just moved is named by a tomb that is no trash yet.
    let under_way = repository.tombs()?;
    for tomb in of_trash().chain(under_way.iter().map(|(_, tomb)| tomb)) {
        for pack in &tomb.packs {
            let latest = since.entry(*pack).or_default();
            *latest = (*latest).max(tomb.time);
        }
    }
    for (id, size) in packs {
        job.cancel.check()?;
        if is_over(since.get(&id).copied().flatten()) {
            repository.delete_trashed(Folder::Packs, &id)?;
            report.emptied_packs += 1;
            report.emptied_bytes += size;
        }
    }
    for (id, tomb) in &tombs {
        if tomb.as_ref().map_or(true, |tomb| is_over(tomb.time)) {
            repository.delete_trashed(Folder::Tombs, id)?;
        }
    }
    Ok(repository.storage().barrier()?)
}
