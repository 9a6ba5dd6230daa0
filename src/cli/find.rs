//! From an address to a snapshot and what is meant in it.

use super::address::{Address, Target, When};
use super::context::Context;
use super::exit::Exit;
use super::paint::Paint;
use super::{address, json, render, time};
use crate::error::{Error, Kind, Result};
use crate::id::ObjectId;
use crate::record::{Snapshot, State};
use crate::repo::{Listing, Repository, SnapshotInfo};
use crate::text;

/// The names of all series, each once.
fn series_names(listing: &Listing) -> Vec<String> {
    let all = listing.snapshots.iter().flat_map(|info| &info.summary.sources);
    let names: std::collections::BTreeSet<_> = all.map(|source| text::escape(&source.name)).collect();
    names.into_iter().collect()
}

/// The snapshot that an address means.
#[derive(Debug)]
pub struct Chosen {
    /// Where it stands in the list.
    pub info: SnapshotInfo,
    /// What it holds.
    pub snapshot: Snapshot,
    /// All that there are.
    pub listing: Listing,
    /// How a run ends that has taken it and does all its work: a script does not see the warning about what was passed
    /// over, and must not take the one for the other either.
    pub exit: Exit,
}

/// Chooses the snapshot that an address means, and tells what was passed over for it.
pub fn chosen(repository: &Repository, address: &Address, context: &Context<'_>) -> Result<Chosen> {
    let from = |listing: Listing| {
        let found = choose(&listing, address, context);
        let found = found.and_then(|info| repository.snapshot(&info.id).map(|snapshot| (info, snapshot)));
        (listing, found)
    };
    let (listing, found) = match from(repository.snapshots()?) {
        // The list may know it from before it was damaged.
        (_, Err(e)) if e.kind() == Kind::Damage => from(repository.snapshots_anew()?),
        other => other,
    };
    let exit = tell_passed_over(&listing, address, context)?;
    let (info, snapshot) = found?;
    tell_unconfirmed(&listing, address, &info, context)?;
    if let When::At(limit) = address.when {
        tell_gap(&info, limit, context);
    }
    Ok(Chosen { info, snapshot, listing, exit })
}

fn choose(listing: &Listing, address: &Address, context: &Context<'_>) -> Result<SnapshotInfo> {
    if let When::Id(prefix) = &address.when {
        return by_id(listing, prefix);
    }
    let series = series(listing, address)?;
    let mut newest_first =
        listing.snapshots.iter().rev().filter(|info| info.confirmed && is_in(info, series.as_deref()));
    let found = match address.when {
        When::Latest { back } => newest_first.nth(usize::try_from(back).unwrap_or(usize::MAX)),
        When::At(limit) => newest_first.find(|info| info.summary.time <= limit),
        When::Id(_) => None,
    };
    found.cloned().ok_or_else(|| none_there(listing, &address.when, series.as_deref(), context))
}

/// The source that an address names. Where it names none, it begins with a path, which is only clear if there never was
/// but one source: the newest snapshot may hold that path by chance, and another one the source that was meant.
fn series(listing: &Listing, address: &Address) -> Result<Option<String>> {
    let names = series_names(listing);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match (address.series(&names), &address.rest) {
        (None, Some(rest)) if names.len() > 1 || !listing.damaged.is_empty() => {
            Err(no_source(listing, address::first_part(rest), &names))
        }
        (series, _) => Ok(series.map(str::to_owned)),
    }
}

fn no_source(listing: &Listing, name: &[u8], names: &[&str]) -> Error {
    let readable = if listing.damaged.is_empty() { "" } else { "readable " };
    let what = format!("no {readable}snapshot holds a source '{}'", text::escape(name));
    let fix = match names {
        [] => "list the snapshots: larder snapshots".to_owned(),
        _ => format!("write WHEN:SOURCE/PATH; the sources are: {}", names.join(", ")),
    };
    let is_damage = listing.damaged.iter().any(|(_, error)| error.kind() == Kind::Damage);
    let error = Error::new(if is_damage { Kind::Damage } else { Kind::Missing }, what).fix(fix);
    match listing.damaged.len() {
        0 => error,
        1 => error.why("the snapshot that was passed over may hold it"),
        n => error.why(format!("one of the {n} snapshots that were passed over may hold it")),
    }
}

/// The whole snapshot that an address means in a list; one of a part of it makes no sense here. So what follows the colon
/// is a source, also where there is but one and it could be a path in it: who misspells a name is told that.
pub fn whole(listing: &Listing, address: &Address, context: &Context<'_>) -> Result<SnapshotInfo> {
    let all = series_names(listing);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let unknown = |names: &[&str]| address.rest.as_deref().filter(|_| address.series(names).is_none());
    if let (Some(rest), When::Latest { .. } | When::At(_)) = (unknown(&all), &address.when) {
        return Err(no_source(listing, address::first_part(rest), &all));
    }
    let info = choose(listing, address, context)?;
    let names: Vec<String> = info.summary.sources.iter().map(|source| text::escape(&source.name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Some(rest) = unknown(&names) {
        let source = text::escape(address::first_part(rest));
        return Err(Error::new(Kind::Missing, format!("snapshot {} has no source '{source}'", info.id.short()))
            .fix(format!("name the whole snapshot: {}; its sources: {}", info.id.short(), names.join(", "))));
    }
    match Target::find(address.rest.as_deref(), &names)? {
        Target::Source { path, .. } if !path.is_empty() => {
            Err(Error::new(Kind::Usage, "a whole snapshot is meant here, not a part of it")
                .fix(format!("name the whole snapshot: {}", info.id.short())))
        }
        _ => Ok(info),
    }
}

fn is_in(info: &SnapshotInfo, series: Option<&str>) -> bool {
    series.is_none_or(|name| info.summary.sources.iter().any(|source| source.name == name.as_bytes()))
}

fn by_id(listing: &Listing, prefix: &str) -> Result<SnapshotInfo> {
    let fits = |id: &ObjectId| id.to_hex().starts_with(prefix);
    if let Some((_, error)) = listing.damaged.iter().find(|(id, _)| fits(id)) {
        return Err(error.clone());
    }
    let mut found = listing.snapshots.iter().filter(|info| fits(&info.id));
    let Some(first) = found.next() else {
        return Err(Error::new(Kind::Missing, format!("no snapshot {prefix}"))
            .why("no id begins so")
            .fix("list them: larder snapshots; those that were forgotten: larder undelete"));
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
    let kind = if listing.gone.is_empty() { Kind::Missing } else { Kind::Damage };
    let error = Error::new(kind, what).fix("list them: larder snapshots");
    if !listing.gone.is_empty() {
        let gone = listing.gone.len() as u64;
        return error.why(format!(
            "{} {} gone",
            render::counted(gone, "snapshot"),
            if gone == 1 { "is" } else { "are" }
        ));
    }
    if unconfirmed > 0 {
        return error.why(format!("{unconfirmed} unconfirmed snapshots do not count; name one by its id"));
    }
    error
}

/// The newest that can be read need not be the newest: nobody shall take the one for the other unawares. When one that
/// is damaged was taken, and of which source, is not known, so each of them counts.
fn tell_damaged(listing: &Listing, context: &Context<'_>) -> Result<Exit> {
    let mut exit = Exit::Done;
    for (id, error) in &listing.damaged {
        let why = if error.reason().is_empty() { error.what() } else { error.reason() };
        let state = if error.kind() == Kind::Damage { "is damaged" } else { "cannot be read" };
        warn(&format!("snapshot {} {state} and was passed over: {why}", id.short()), context)?;
        exit = exit.but(if error.kind() == Kind::Damage { Exit::Damage } else { Exit::Failed });
    }
    tell_gone(listing, context)?;
    Ok(exit
        .but(if listing.gone.is_empty() { Exit::Done } else { Exit::Damage })
        .but(tell_unread_ends(listing, context)?))
}

/// The same where an address is to be used for something else than to read what it means.
pub fn tell_passed_over(listing: &Listing, address: &Address, context: &Context<'_>) -> Result<Exit> {
    if matches!(address.when, When::Id(_)) { Ok(Exit::Done) } else { tell_damaged(listing, context) }
}

/// What notes say that cannot be read, nobody knows: a pin may be in one of them.
pub fn tell_unread_notes(listing: &Listing, context: &Context<'_>) -> Result<Exit> {
    for (id, error) in &listing.lost_notes {
        let said = "pins, tags and notes that it keeps are not known";
        warn(&format!("note {} cannot be read, so {said}: {error}", id.short()), context)?;
    }
    Ok(exit_of(&listing.lost_notes))
}

/// What an end names that cannot be read, nobody knows either.
pub fn tell_unread_ends(listing: &Listing, context: &Context<'_>) -> Result<Exit> {
    for (run, error) in &listing.lost_ends {
        let said = "a snapshot or note of that run that is gone is not missed";
        warn(&format!("the end of session {} cannot be read, so {said}: {error}", run.short()), context)?;
    }
    Ok(exit_of(&listing.lost_ends))
}

/// How a run ends beside these.
fn exit_of(unread: &[(ObjectId, Error)]) -> Exit {
    let exit = |(_, error): &(ObjectId, Error)| if error.kind() == Kind::Damage { Exit::Damage } else { Exit::Failed };
    unread.iter().map(exit).fold(Exit::Done, Exit::but)
}

fn tell_unconfirmed(listing: &Listing, address: &Address, found: &SnapshotInfo, context: &Context<'_>) -> Result<()> {
    let limit = match address.when {
        When::Id(_) => return Ok(()),
        When::Latest { .. } => None,
        When::At(limit) => Some(limit),
    };
    let series = series(listing, address)?;
    let is_newer = |info: &&SnapshotInfo| {
        info.summary.time > found.summary.time && limit.is_none_or(|limit| info.summary.time <= limit)
    };
    let unconfirmed = listing.snapshots.iter().filter(|info| !info.confirmed && is_in(info, series.as_deref()));
    for info in unconfirmed.filter(is_newer) {
        let why = "is unconfirmed and was passed over: `larder check` confirms it if it is whole";
        warn(&format!("snapshot {} {why}", info.id.short()), context)?;
    }
    Ok(())
}

/// Says that a snapshot which is used does not hold all that it should; `so` is what follows from that here.
pub fn tell_partial(snapshot: &Snapshot, so: &str, context: &Context<'_>) -> Result<()> {
    if snapshot.summary.state == State::Whole {
        return Ok(());
    }
    let (id, missing) = (snapshot.id.short(), render::entries(snapshot.body.reasons_total));
    warn(
        &format!("snapshot {id} is partial: {missing} could not be read as they were, as `larder show {id}` tells{so}"),
        context,
    )
}

/// The same where an address means a part of the snapshot: not where all that is missing is of other sources.
pub fn tell_partly(meant: &Meant, context: &Context<'_>) -> Result<()> {
    let body = &meant.snapshot.body;
    let is_meant = |name: &[u8]| meant.parts().iter().any(|(source, _)| body.sources[*source].name == name);
    let is_all_told = body.reasons.len() as u64 == body.reasons_total;
    match is_all_told && !body.reasons.iter().any(|reason| is_meant(&reason.source)) {
        true => Ok(()),
        false => tell_partial(&meant.snapshot, "", context),
    }
}

/// Says that snapshots were taken away from outside.
pub fn tell_gone(listing: &Listing, context: &Context<'_>) -> Result<()> {
    listing.gone.iter().try_for_each(|id| {
        warn(&format!("snapshot {} is gone, though the run that made it ended well", id.short()), context)
    })
}

/// Warns people on standard error, programs on standard output.
pub fn warn(message: &str, context: &Context<'_>) -> Result<()> {
    if context.global.json {
        return context.output.json(&json::Warning { message });
    }
    super::tell(&format!("{}\n", render::warning(message, Paint::stderr())));
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
    /// Where it stands in the list.
    pub info: SnapshotInfo,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// How a run ends that does all its work; see [`Chosen::exit`].
    pub exit: Exit,
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
    let Chosen { info, snapshot, exit, .. } = chosen(repository, address, context)?;
    let names = names(&snapshot);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let part = match Target::find(address.rest.as_deref(), &names)? {
        Target::All => None,
        Target::Source { name, path } => names.iter().position(|other| *other == name).map(|n| (n, path)),
    };
    Ok(Meant { info, snapshot, exit, part })
}
