//! From an address to a snapshot and what is meant in it.

use super::address::{Address, Target, When};
use super::context::Context;
use super::paint::Paint;
use super::{json, render, time};
use crate::error::{Error, Kind, Result};
use crate::id::ObjectId;
use crate::record::Snapshot;
use crate::repo::{Listing, Repository, SnapshotInfo};
use crate::text;

/// The names of all series, each once.
fn series_names(listing: &Listing) -> Vec<String> {
    let all = listing.snapshots.iter().flat_map(|info| &info.summary.sources);
    let names: std::collections::BTreeSet<_> = all.map(|source| text::escape(&source.name)).collect();
    names.into_iter().collect()
}

/// The snapshot that a WHEN means; of one series, if one is named.
pub fn snapshot_info(
    listing: &Listing,
    when: &When,
    series: Option<&str>,
    context: &Context<'_>,
) -> Result<SnapshotInfo> {
    if let When::Id(prefix) = when {
        return by_id(listing, prefix);
    }
    for (id, error) in &listing.damaged {
        let why = if error.reason().is_empty() { error.what() } else { error.reason() };
        let state = if error.kind() == Kind::Damage { "is damaged" } else { "cannot be read" };
        passed_over(id, &format!("{state} and was passed over: {why}"), context)?;
    }
    let in_series = |info: &&SnapshotInfo| {
        series.is_none_or(|name| info.summary.sources.iter().any(|source| source.name == name.as_bytes()))
    };
    let mut newest_first = listing.snapshots.iter().rev().filter(|info| info.confirmed).filter(in_series);
    let found = match when {
        When::Latest { back } => newest_first.nth(usize::try_from(*back).unwrap_or(usize::MAX)),
        When::At(limit) => newest_first.find(|info| info.summary.time <= *limit),
        When::Id(_) => None,
    };
    let found = found.ok_or_else(|| none_there(listing, when, series, context))?;
    let limit = if let When::At(limit) = when { Some(*limit) } else { None };
    let is_newer = |info: &&SnapshotInfo| {
        info.summary.time > found.summary.time && limit.is_none_or(|limit| info.summary.time <= limit)
    };
    for info in listing.snapshots.iter().filter(|info| !info.confirmed).filter(in_series).filter(is_newer) {
        let why = "is unconfirmed and was passed over: `larder check` confirms it if it is whole";
        passed_over(&info.id, why, context)?;
    }
    if let Some(limit) = limit {
        tell_gap(found, limit, context);
    }
    Ok(found.clone())
}

fn by_id(listing: &Listing, prefix: &str) -> Result<SnapshotInfo> {
    let fits = |id: &crate::id::ObjectId| id.to_hex().starts_with(prefix);
    if let Some((_, error)) = listing.damaged.iter().find(|(id, _)| fits(id)) {
        return Err(error.clone());
    }
    let mut found = listing.snapshots.iter().filter(|info| fits(&info.id));
    let Some(first) = found.next() else {
        return Err(Error::new(Kind::Missing, format!("no snapshot {prefix}"))
            .why("no id begins so")
            .fix("list them: larder snapshots"));
    };
    if found.next().is_some() {
        return Err(Error::new(Kind::Usage, format!("the id {prefix} is not unique"))
            .why("more than one snapshot begins so")
            .fix("write more digits of it"));
    }
    Ok(first.clone())
}

fn none_there(listing: &Listing, when: &When, series: Option<&str>, context: &Context<'_>) -> Error {
    let of = series.map(|name| format!(" of {name}")).unwrap_or_default();
    let what = match when {
        When::At(limit) => format!("no snapshot{of} at or before {}", time::local_seconds(*limit, &context.zone())),
        When::Latest { back: 0 } => format!("there is no snapshot{of}"),
        When::Latest { back } => format!("there are not {} snapshots{of}", back.saturating_add(1)),
        When::Id(id) => format!("no snapshot {id}"),
    };
    let unconfirmed = listing.snapshots.iter().filter(|info| !info.confirmed).count();
    let error = Error::new(Kind::Missing, what).fix("list them: larder snapshots");
    if unconfirmed > 0 {
        return error.why(format!("{unconfirmed} unconfirmed snapshots do not count; name one by its id"));
    }
    error
}

/// The newest that can be read need not be the newest: nobody shall take the one for the other unawares.
fn passed_over(id: &ObjectId, why: &str, context: &Context<'_>) -> Result<()> {
    let message = format!("snapshot {} {why}", id.short());
    if context.global.json {
        return context.output.json(&json::Warning { message: &message });
    }
    super::tell(&format!("{}\n", render::warning(&message, Paint::stderr())));
    Ok(())
}

fn tell_gap(found: &SnapshotInfo, limit: crate::entry::Time, context: &Context<'_>) {
    if context.global.quiet || context.global.json {
        return;
    }
    let seconds = limit.seconds.saturating_sub(found.summary.time.seconds).max(0) as u64;
    let gap = time::duration_whole(std::time::Duration::from_secs(seconds));
    let [at, limit] = [found.summary.time, limit].map(|time| time::local_seconds(time, &context.zone()));
    super::tell(&format!("snapshot {} of {at}, {gap} before {limit}\n", found.id.short()));
}

/// A snapshot, and what of it an address means.
#[derive(Debug)]
pub struct Meant {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Whether it is confirmed.
    pub confirmed: bool,
    /// Number of the source, and the path below its root; `None`: all sources.
    pub part: Option<(usize, Vec<u8>)>,
}

impl Meant {
    /// The one source that is meant, with the path; an error where several are.
    pub fn one(&self) -> Result<(usize, Vec<u8>)> {
        match (&self.part, self.snapshot.body.sources.len()) {
            (Some(part), _) => Ok(part.clone()),
            (None, 1) => Ok((0, Vec::new())),
            _ => Err(Error::new(Kind::Usage, "the snapshot has several sources").fix(format!(
                "name one of them: {}:NAME/PATH, with NAME one of {}",
                self.snapshot.id.short(),
                names(&self.snapshot).join(", ")
            ))),
        }
    }

    /// The numbers of all sources that are meant, with the path in each.
    pub fn parts(&self) -> Vec<(usize, Vec<u8>)> {
        match &self.part {
            Some(part) => vec![part.clone()],
            None => (0..self.snapshot.body.sources.len()).map(|n| (n, Vec::new())).collect(),
        }
    }
}

/// The names of a snapshot's sources, safe to print.
pub fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.body.sources.iter().map(|source| text::escape(&source.name)).collect()
}

/// Finds what an address means.
pub fn meant(repository: &Repository, address: &Address, context: &Context<'_>) -> Result<Meant> {
    match meant_in(&repository.snapshots()?, repository, address, context) {
        // The list may know it from before it was damaged.
        Err(e) if e.kind() == Kind::Damage => meant_in(&repository.snapshots_anew()?, repository, address, context),
        other => other,
    }
}

fn meant_in(listing: &Listing, repository: &Repository, address: &Address, context: &Context<'_>) -> Result<Meant> {
    let all = series_names(listing);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let info = snapshot_info(listing, &address.when, address.series(&all), context)?;
    let snapshot = repository.snapshot(&info.id)?;
    let names = names(&snapshot);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let part = match Target::find(address.rest.as_deref(), &names)? {
        Target::All => None,
        Target::Source { name, path } => names.iter().position(|other| *other == name).map(|n| (n, path)),
    };
    Ok(Meant { snapshot, confirmed: info.confirmed, part })
}
