//! `larder snapshots`

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::paint::Tone;
use super::super::table::{Align, Cell, Table};
use super::super::{amount, args, engine, find, json, time};
use super::remark;
use crate::entry::Time;
use crate::error::{Error, Kind, Result};
use crate::event::{Job, Silent};
use crate::id::ObjectId;
use crate::ops::facts::{Known, Lookup};
use crate::record::{Body, Depth, Engine, Facts, Journal, Reason, Snapshot, SourceKind, State, TableFacts};
use crate::repo::{Catalogue, ChunkReader, Listing, Proof, Repository, SnapshotInfo};
use crate::text;

/// Characters of a reason in the table.
const REASON_CHARS_MAX: usize = 60;

/// List the snapshots, oldest first
///
/// SIZE is what a restore would write; NEW is what the repository grew by.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder snapshots --last 10
  larder snapshots --source etc --json")]
pub struct Args {
    /// Show only the newest N
    #[arg(long, value_name = "N", value_parser = amount::count)]
    pub last: Option<usize>,
    /// Show only those that hold this source
    #[arg(long, value_name = "NAME", value_parser = args::name)]
    pub source: Option<String>,
    /// Show only those with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
}

/// Lists them.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let repository = engine::open(context)?;
    let listing = repository.snapshots()?;
    find::tell_gone(&listing, context)?;
    let exit = find::tell_unread_notes(&listing, context)?.but(find::tell_unread_ends(&listing, context)?);
    let mut shown: Vec<&SnapshotInfo> = listing.snapshots.iter().filter(|info| is_wanted(args, info)).collect();
    let is_lost = !listing.gone.is_empty();
    if shown.is_empty() && (args.source.is_some() || args.tag.is_some()) && listing.damaged.is_empty() {
        // What does not fit may be what is lost.
        return Err(nothing_fits(args, if is_lost || exit == Exit::Damage { Kind::Damage } else { Kind::Missing }));
    }
    shown.drain(..shown.len().saturating_sub(args.last.unwrap_or(usize::MAX)));
    let (read, damaged) = read_bodies(&repository, &shown, &listing, context)?;
    if context.global.json {
        as_json(&repository, &read, &damaged, context)?;
    } else {
        as_table(&read, &damaged, is_lost, context)?;
    }
    let is_lost = is_lost || damaged.iter().any(|(_, error)| error.kind() == Kind::Damage);
    Ok(exit.but(match is_lost {
        true => Exit::Damage,
        false if damaged.is_empty() => Exit::Done,
        false => Exit::Failed,
    }))
}

fn is_wanted(args: &Args, info: &SnapshotInfo) -> bool {
    let summary = &info.summary;
    args.source.as_ref().is_none_or(|name| summary.sources.iter().any(|source| source.name == name.as_bytes()))
        && args.tag.as_ref().is_none_or(|tag| info.standing.tags.iter().any(|other| other == tag.as_bytes()))
}

fn nothing_fits(args: &Args, kind: Kind) -> Error {
    let of = args.source.as_ref().map(|name| format!(" of {}", text::escape(name.as_bytes()))).unwrap_or_default();
    let with = args.tag.as_ref().map(|tag| format!(" with the tag {}", text::escape(tag.as_bytes())));
    Error::new(kind, format!("there is no snapshot{of}{}", with.unwrap_or_default()))
        .fix("list them all: larder snapshots")
}

type Damaged = Vec<(ObjectId, Error)>;

/// Adds the bodies, which tell the roots of the sources and why a snapshot is partial.
fn read_bodies<'a>(
    repository: &Repository,
    shown: &[&'a SnapshotInfo],
    listing: &Listing,
    context: &Context<'_>,
) -> Result<(Vec<(&'a SnapshotInfo, Body)>, Damaged)> {
    let mut damaged = listing.damaged.clone();
    let mut read = Vec::new();
    for info in shown {
        context.cancel().check()?;
        if !context.global.json && info.summary.state == State::Whole {
            read.push((*info, Body::default()));
            continue;
        }
        match repository.snapshot_of(info) {
            Ok(snapshot) => read.push((*info, snapshot.body)),
            Err(error) => damaged.push((info.id, error)),
        }
    }
    Ok((read, damaged))
}

fn as_table(read: &[(&SnapshotInfo, Body)], damaged: &Damaged, is_lost: bool, context: &Context<'_>) -> Result<()> {
    if read.is_empty() && damaged.is_empty() {
        let line =
            if is_lost { "there are no snapshots" } else { "there are no snapshots yet; larder backup takes one" };
        return context.output.line(line);
    }
    let has_tags = read.iter().any(|(info, _)| !info.standing.tags.is_empty());
    let tags = has_tags.then_some(("TAGS", Align::Left));
    let columns = [("ID", Align::Left), ("TIME", Align::Left), ("SOURCES", Align::Left), ("SIZE", Align::Right)];
    let more = [("NEW", Align::Right), ("STATE", Align::Left)].into_iter().chain(tags).chain([("NOTE", Align::Left)]);
    let columns: Vec<_> = columns.into_iter().chain(more).collect();
    let mut table = Table::new(&columns);
    let zone = context.zone();
    for (info, body) in read {
        let summary = &info.summary;
        let sources: Vec<String> = summary.sources.iter().map(|source| text::escape(&source.name)).collect();
        let mut cells: Vec<Cell> = vec![
            info.id.short().into(),
            time::local(summary.time, &zone).into(),
            sources.join(" ").into(),
            text::size(summary.sources.iter().map(|source| source.bytes).sum()).into(),
            text::size(summary.statistics.bytes_added).into(),
            pinned_state(info, state(info, body, context.world.now())),
        ];
        if has_tags {
            cells.push(words(&info.standing.tags).join(" ").into());
        }
        cells.push(text::escape(&info.standing.note).into());
        table.row(cells);
    }
    for (id, error) in damaged {
        let why = if error.reason().is_empty() { error.what() } else { error.reason() };
        let state = if error.kind() == Kind::Damage { "damaged" } else { "cannot be read" };
        let why = Cell::state(Tone::Bad, format!("{state}: {why}"));
        let empty = || Cell::from("");
        table.row([id.short().into(), "?".into(), empty(), empty(), empty(), why]);
    }
    context.output.text(&table.to_text(context.paint()))
}

/// A pin stands behind the state.
fn pinned_state(info: &SnapshotInfo, state: Cell) -> Cell {
    if info.standing.is_pinned { state.with(", pinned") } else { state }
}

/// What drills and checks say takes the place of "ok", and stands before whatever else there is to say.
fn state(info: &SnapshotInfo, body: &Body, now: Time) -> Cell {
    let proof = match info.proof() {
        Proof::None => None,
        Proof::Proven(time) => Some((Tone::Good, format!("proven {}", time::age(time, now)))),
        Proof::Failed(_) => Some((Tone::Bad, "drill failed".to_owned())),
        Proof::Damaged(_) => Some((Tone::Bad, "damaged".to_owned())),
    };
    let state = match (info.confirmed, info.summary.state) {
        (false, _) => (Tone::Warn, "unconfirmed".to_owned()),
        (true, State::Whole) => {
            return proof.map_or(Cell::state(Tone::Good, "ok"), |(tone, text)| Cell::state(tone, text));
        }
        (true, State::Partial) => (Tone::Warn, format!("partial{}", partly(body))),
    };
    match proof {
        Some((Tone::Bad, text)) => Cell::state(Tone::Bad, format!("{text}; {}", state.1)),
        Some((_, text)) => Cell::state(state.0, format!("{text}; {}", state.1)),
        None => Cell::state(state.0, state.1),
    }
}

/// The first reason, and how many more there are.
fn partly(body: &Body) -> String {
    let more = body.reasons_total.saturating_sub(1);
    match body.reasons.first() {
        Some(first) if more == 0 => format!(": {}", short(&reason(first))),
        Some(first) => format!(": {} and {more} more", short(&reason(first))),
        None => String::new(),
    }
}

/// No longer than a line of the table bears; `show` has all of it.
fn short(text: &str) -> String {
    let mut out: String = text.chars().take(REASON_CHARS_MAX).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

/// A reason, safe to print. Its text is ours, and was made safe when it was written.
pub(super) fn reason(reason: &Reason) -> String {
    let why = said(&reason.why);
    let source = text::escape(&reason.source);
    if reason.path.is_empty() {
        format!("{source}: {why}")
    } else {
        format!("{source}/{}: {why}", text::escape(&reason.path))
    }
}

/// Words of the user's, safe to print.
pub(super) fn words(words: &[Vec<u8>]) -> Vec<String> {
    words.iter().map(|word| text::escape(word)).collect()
}

fn as_json(
    repository: &Repository,
    read: &[(&SnapshotInfo, Body)],
    damaged: &Damaged,
    context: &Context<'_>,
) -> Result<()> {
    let whole = |(info, body): &(&SnapshotInfo, Body)| Snapshot {
        id: info.id,
        summary: info.summary.clone(),
        body: body.clone(),
    };
    let whole: Vec<Snapshot> = read.iter().map(whole).collect();
    let known = known(repository, &whole, context)?;
    let snapshots = read.iter().zip(&whole).zip(&known).map(|(((info, _), whole), known)| shape(info, whole, known));
    let snapshots = snapshots.collect();
    let damaged =
        damaged.iter().map(|(id, error)| json::DamagedSnapshot { id: id.to_hex(), why: error.to_string() }).collect();
    context.output.json(&json::Snapshots { snapshots, damaged })
}

/// What is known of the databases in each source of each snapshot. Where none can be, nothing is read for it.
pub(super) fn known(
    repository: &Repository,
    snapshots: &[Snapshot],
    context: &Context<'_>,
) -> Result<Vec<Vec<Vec<Known>>>> {
    let has_sqlite = |body: &Body| body.sources.iter().any(|source| source.kind == SourceKind::Sqlite);
    let may_know = |snapshot: &Snapshot| !snapshot.body.verdicts.is_empty() || has_sqlite(&snapshot.body);
    let nothing = |snapshot: &Snapshot| snapshot.body.sources.iter().map(|_| Vec::new()).collect::<Vec<_>>();
    if !snapshots.iter().any(may_know) {
        return Ok(snapshots.iter().map(nothing).collect());
    }
    let catalogue = Catalogue::open(repository, Job { progress: &Silent, cancel: context.cancel() })?;
    let reader = ChunkReader::new(repository, &catalogue);
    let mut lookup = Lookup::new(&reader);
    let mut out = Vec::new();
    for snapshot in snapshots {
        context.cancel().check()?;
        out.push(snapshot.body.sources.iter().map(|source| lookup.of(snapshot, source)).collect());
    }
    Ok(out)
}

/// What is known of it, as `--json` shows it.
pub(super) fn health(info: &SnapshotInfo) -> json::Health {
    let time_of = |time| Some(time::rfc3339(time));
    let (proven, drill_failed, damage_found) = match info.proof() {
        Proof::None => (None, None, None),
        Proof::Proven(time) => (time_of(time), None, None),
        Proof::Failed(time) => (None, time_of(time), None),
        Proof::Damaged(time) => (None, None, time_of(time)),
    };
    let state = match (info.confirmed, info.summary.state) {
        _ if damage_found.is_some() => json::State::Damaged,
        (false, _) => json::State::Unconfirmed,
        (true, State::Whole) => json::State::Ok,
        (true, State::Partial) => json::State::Partial,
    };
    json::Health { state, proven, drill_failed, damage_found }
}

/// What is known against it, besides what its source could not give, and what tells more.
pub(super) fn flaw(info: &SnapshotInfo, context: &Context<'_>) -> Option<String> {
    let at = |time| time::local(time, &context.zone());
    match info.proof() {
        Proof::Damaged(time) => {
            Some(format!("damaged, as a check found on {}: larder check names what is lost", at(time)))
        }
        Proof::Failed(time) => {
            Some(format!("a drill of it failed on {}: larder show {} tells why", at(time), info.id.short()))
        }
        _ if !info.confirmed => Some("unconfirmed: the run that made it has not finished".to_owned()),
        _ => None,
    }
}

/// A snapshot as `--json` shows it.
pub(super) fn shape<'a>(info: &SnapshotInfo, snapshot: &'a Snapshot, known: &'a [Vec<Known>]) -> json::Snapshot<'a> {
    let Snapshot { id, summary, body } = snapshot;
    let sources = summary.sources.iter().zip(&body.sources).zip(known).map(|((summary, body), known)| json::Source {
        name: text::escape(&summary.name),
        kind: match summary.kind {
            SourceKind::Folder | SourceKind::File => "files",
            SourceKind::Sqlite => "sqlite",
        },
        root: body.origin.as_slice().into(),
        bytes: summary.bytes,
        entries: summary.entries,
        facts: json::SourceFacts { databases: known.iter().map(database).collect() },
    });
    let json::Health { state, proven, drill_failed, damage_found } = health(info);
    json::Snapshot {
        id: id.to_hex(),
        time: time::rfc3339(summary.time),
        client: summary.client.as_slice().into(),
        user: summary.user.as_slice().into(),
        sources: sources.collect(),
        added_bytes: summary.statistics.bytes_added,
        tags: words(&info.standing.tags),
        note: remark::note(&info.standing),
        pinned: info.standing.is_pinned,
        state,
        reasons: body.reasons.iter().map(reason).collect(),
        proven,
        drill_failed,
        damage_found,
    }
}

fn database(known: &Known) -> json::DatabaseFacts<'_> {
    let verdict = known.verdict.as_ref().map(|verdict| json::DatabaseVerdict {
        depth: match verdict.depth {
            Depth::Pages => "pages",
            Depth::Full => "full",
        },
        wrong: verdict.wrong.iter().map(|wrong| said(wrong)).collect(),
    });
    json::DatabaseFacts {
        path: known.path.as_slice().into(),
        seen: known.facts.as_ref().ok().map(seen),
        verdict,
        why: known.facts.as_ref().err().map(ToString::to_string),
    }
}

fn seen(facts: &Facts) -> json::DatabaseSeen<'_> {
    let table = |table: &TableFacts| json::TableRows { name: table.name.clone().into(), rows: table.rows };
    json::DatabaseSeen {
        engine: match facts.engine {
            Engine::Sqlite => "sqlite",
        },
        page_bytes: facts.page_bytes,
        pages: facts.pages,
        journal: match facts.journal {
            Journal::Rollback => "rollback",
            Journal::Wal => "wal",
        },
        user_version: facts.user_version,
        application_id: facts.application_id,
        encoding: text::escape(&facts.encoding),
        schema: data_encoding::HEXLOWER.encode(&facts.schema),
        tables_total: facts.tables_total,
        tables: facts.tables.iter().map(table).collect(),
    }
}

/// What is ours, and was made safe to print when it was written, or was said by an engine, in lines.
pub(super) fn said(text: &[u8]) -> String {
    text::one_line(text).replace("\\\\", "\\")
}
