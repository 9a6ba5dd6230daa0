//! `larder snapshots`

use std::collections::BTreeMap;

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::paint::Tone;
use super::super::table::{Align, Cell, Table};
use super::super::{amount, args, engine, find, json, time};
use crate::error::{Error, Kind, Result};
use crate::id::ObjectId;
use crate::record::{Body, Reason, SourceKind, State, Summary};
use crate::repo::{Listing, Repository, SnapshotInfo};
use crate::text;

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
    let mut shown: Vec<&SnapshotInfo> = listing.snapshots.iter().filter(|info| is_wanted(args, info)).collect();
    if shown.is_empty() && (args.source.is_some() || args.tag.is_some()) && listing.damaged.is_empty() {
        return Err(nothing_fits(args));
    }
    shown.drain(..shown.len().saturating_sub(args.last.unwrap_or(usize::MAX)));
    let (read, damaged) = read_bodies(&repository, &shown, &listing, context)?;
    if context.global.json {
        as_json(&read, &damaged, context)?;
    } else {
        as_table(&read, &damaged, context)?;
    }
    Ok(match damaged.iter().any(|(_, error)| error.kind() == Kind::Damage) {
        true => Exit::Damage,
        false if damaged.is_empty() => Exit::Done,
        false => Exit::Failed,
    })
}

fn is_wanted(args: &Args, info: &SnapshotInfo) -> bool {
    let summary = &info.summary;
    args.source.as_ref().is_none_or(|name| summary.sources.iter().any(|source| source.name == name.as_bytes()))
        && args.tag.as_ref().is_none_or(|tag| summary.tags.iter().any(|other| other == tag.as_bytes()))
}

fn nothing_fits(args: &Args) -> Error {
    let of = args.source.as_ref().map(|name| format!(" of {}", text::escape(name.as_bytes()))).unwrap_or_default();
    let with = args.tag.as_ref().map(|tag| format!(" with the tag {}", text::escape(tag.as_bytes())));
    Error::new(Kind::Missing, format!("there is no snapshot{of}{}", with.unwrap_or_default()))
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

fn as_table(read: &[(&SnapshotInfo, Body)], damaged: &Damaged, context: &Context<'_>) -> Result<()> {
    if read.is_empty() && damaged.is_empty() {
        return context.output.line("there are no snapshots yet; larder backup takes one");
    }
    let has_tags = read.iter().any(|(info, _)| !info.summary.tags.is_empty());
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
            state(info, body),
        ];
        if has_tags {
            cells.push(words(&summary.tags).join(" ").into());
        }
        cells.push(text::escape(&summary.note).into());
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

fn state(info: &SnapshotInfo, body: &Body) -> Cell {
    if !info.confirmed {
        return Cell::state(Tone::Warn, "unconfirmed");
    }
    match info.summary.state {
        State::Whole => Cell::state(Tone::Good, "ok"),
        State::Partial => Cell::state(Tone::Warn, format!("partial{}", partly(body))),
    }
}

/// The first reason, and how many more there are.
fn partly(body: &Body) -> String {
    let more = body.reasons_total.saturating_sub(1);
    match body.reasons.first() {
        Some(first) if more == 0 => format!(": {}", reason(first)),
        Some(first) => format!(": {} and {more} more", reason(first)),
        None => String::new(),
    }
}

/// A reason, safe to print. Its text is ours, and was made safe when it was written.
pub(super) fn reason(reason: &Reason) -> String {
    let why = text::escape(&reason.why).replace("\\\\", "\\");
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

fn as_json(read: &[(&SnapshotInfo, Body)], damaged: &Damaged, context: &Context<'_>) -> Result<()> {
    let snapshots = read.iter().map(|(info, body)| shape(&info.id, &info.summary, body, info.confirmed)).collect();
    let damaged =
        damaged.iter().map(|(id, error)| json::DamagedSnapshot { id: id.to_hex(), why: error.to_string() }).collect();
    context.output.json(&json::Snapshots { snapshots, damaged })
}

/// A snapshot as `--json` shows it.
pub(super) fn shape<'a>(id: &ObjectId, summary: &'a Summary, body: &'a Body, confirmed: bool) -> json::Snapshot<'a> {
    let sources = summary.sources.iter().zip(&body.sources).map(|(summary, body)| json::Source {
        name: text::escape(&summary.name),
        kind: match summary.kind {
            SourceKind::Folder | SourceKind::File => "files",
            SourceKind::Sqlite => "sqlite",
        },
        root: body.origin.as_slice().into(),
        bytes: summary.bytes,
        entries: summary.entries,
        facts: BTreeMap::new(),
    });
    json::Snapshot {
        id: id.to_hex(),
        time: time::rfc3339(summary.time),
        client: summary.client.as_slice().into(),
        user: summary.user.as_slice().into(),
        sources: sources.collect(),
        added_bytes: summary.statistics.bytes_added,
        tags: words(&summary.tags),
        note: (!summary.note.is_empty()).then(|| String::from_utf8_lossy(&summary.note).into_owned()),
        pinned: false,
        state: match (confirmed, summary.state) {
            (false, _) => json::State::Unconfirmed,
            (true, State::Whole) => json::State::Ok,
            (true, State::Partial) => json::State::Partial,
        },
        reasons: body.reasons.iter().map(reason).collect(),
        proven: None,
    }
}
