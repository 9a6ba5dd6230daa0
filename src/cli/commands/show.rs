//! `larder show`

use super::super::address::{Address, When};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::find::{self, Chosen};
use super::super::{args, engine, json, render, time};
use super::snapshots::{flaw, known, reason, said, shape, words};
use crate::error::Result;
use crate::ops::facts::Known;
use crate::record::{Drill, Journal, Snapshot, SourceBody, State, Statistics};
use crate::repo::{Proof, SnapshotInfo};
use crate::text;

/// Show all that is known about a snapshot
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder show latest
  larder show c81d0f22 --json")]
pub struct Args {
    /// The snapshot: an id of 4 digits or more, latest, latest~N or @TIME
    #[arg(value_name = "ID", value_parser = args::when())]
    pub id: When,
}

/// Shows it.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let repository = engine::open(context)?;
    let address = Address { when: args.id.clone(), rest: None };
    let Chosen { info, snapshot, listing, exit } = find::chosen(&repository, &address, context)?;
    let exit = exit.but(find::tell_unread_notes(&listing, context)?);
    let mut known = known(&repository, std::slice::from_ref(&snapshot), context)?;
    let known = known.pop().unwrap_or_default();
    if context.global.json {
        context.output.json(&as_json(&snapshot, &info, &known))?;
    } else {
        context.output.text(&as_text(&snapshot, &info, &known, context))?;
    }
    Ok(exit)
}

fn as_json<'a>(snapshot: &'a Snapshot, info: &'a SnapshotInfo, known: &'a [Vec<Known>]) -> json::Show<'a> {
    let Snapshot { summary, body, .. } = snapshot;
    let s = &summary.statistics;
    let previous = |source: &SourceBody| Some((text::escape(&source.name), source.previous?.to_hex()));
    json::Show {
        snapshot: shape(info, snapshot, known),
        previous: body.sources.iter().filter_map(previous).collect(),
        session: info.session.to_hex(),
        program: text::escape(&summary.program),
        duration_s: s.duration_ms as f64 / 1000.0,
        bytes_read: s.bytes_read,
        files: json::Files {
            new: s.files_new,
            changed: s.files_changed,
            unchanged: s.files_unchanged,
            failed: s.files_failed,
            gone: None,
        },
        drills: info.drills.iter().map(past).collect(),
    }
}

fn past(drill: &Drill) -> json::PastDrill<'_> {
    json::PastDrill {
        time: time::rfc3339(drill.time),
        source: drill.source.as_ref().map(|name| text::escape(name)),
        path: drill.path.as_slice().into(),
        ok: drill.passed(),
        duration_s: drill.duration_ms as f64 / 1000.0,
        entries: drill.entries,
        bytes: drill.bytes,
        databases: drill.databases,
        failures: drill.failures.iter().map(|what| said(what)).collect(),
        failures_more: drill.failures_total.saturating_sub(drill.failures.len() as u64),
    }
}

fn as_text(snapshot: &Snapshot, info: &SnapshotInfo, known: &[Vec<Known>], context: &Context<'_>) -> String {
    let Snapshot { id, summary, body } = snapshot;
    let zone = context.zone();
    let mut out = Fields::default();
    out.add("snapshot", id.to_hex());
    let age = time::age(summary.time, context.world.now());
    out.add("time", format!("{} ({age})", time::local_seconds(summary.time, &zone)));
    out.add("by", format!("{} on {}", text::escape(&summary.user), text::escape(&summary.client)));
    out.add("program", text::escape(&summary.program));
    out.add("session", info.session.to_hex());
    out.add("state", state(snapshot, info, context));
    out.add_if("pinned", if info.standing.is_pinned { "yes: no rule removes it".into() } else { String::new() });
    out.add_if("tags", words(&info.standing.tags).join(" "));
    out.add_if("note", text::escape(&info.standing.note));
    for (source, known) in body.sources.iter().zip(known) {
        out.add("source", text::escape(&source.name));
        source_lines(&mut out, source);
        known.iter().for_each(|known| database_lines(&mut out, known));
    }
    statistics(&mut out, &summary.statistics);
    for (n, one) in body.reasons.iter().enumerate() {
        out.add(if n == 0 { "missing" } else { "" }, reason(one));
    }
    let unnamed = body.reasons_total.saturating_sub(body.reasons.len() as u64);
    if unnamed > 0 {
        out.add("", format!("and {} more", render::grouped(unnamed)));
    }
    info.drills.iter().for_each(|drill| drill_lines(&mut out, drill, context));
    out.0
}

/// Such as "2026-11-21 03:00 CET (3 d ago): all of it passed, 12 entries, 3 MiB, 1 database in 4 s".
fn drill_lines(out: &mut Fields, drill: &Drill, context: &Context<'_>) {
    let when = format!("{} ({})", time::local(drill.time, &context.zone()), time::age(drill.time, context.world.now()));
    let what = match (&drill.source, drill.path.is_empty()) {
        (None, _) => "all of it".to_owned(),
        (Some(source), true) => text::escape(source),
        (Some(source), false) => format!("{}/{}", text::escape(source), text::escape(&drill.path)),
    };
    let became = if drill.passed() { "passed" } else { "failed" };
    let (entries, bytes) = (render::entries(drill.entries), text::size(drill.bytes));
    let databases = render::counted(drill.databases, "database");
    let took = time::duration(std::time::Duration::from_millis(drill.duration_ms));
    out.add("drill", format!("{when}: {what} {became}, {entries}, {bytes}, {databases} in {took}"));
    drill.failures.iter().for_each(|failure| out.add("", said(failure)));
    let unnamed = drill.failures_total.saturating_sub(drill.failures.len() as u64);
    if unnamed > 0 {
        out.add("", format!("and {} more", render::grouped(unnamed)));
    }
}

/// A database, with what was seen of it, then its tables.
fn database_lines(out: &mut Fields, known: &Known) {
    let path = text::escape(&known.path);
    let verdict = match &known.verdict {
        None => "not checked".to_owned(),
        Some(verdict) => match (verdict.wrong.first(), verdict.wrong.len()) {
            (None, _) => "sound".to_owned(),
            (Some(first), 1) => format!("damaged: {}", said(first)),
            (Some(first), n) => format!("damaged: {} and {} more", said(first), n - 1),
        },
    };
    let facts = match &known.facts {
        Ok(facts) => facts,
        Err(e) => return out.add("  sqlite", format!("{path}: {verdict}; what was seen cannot be read: {e}")),
    };
    let journal = match facts.journal {
        Journal::Rollback => "rollback journal",
        Journal::Wal => "WAL",
    };
    let pages = format!("{} of {} bytes", render::counted(facts.pages, "page"), facts.page_bytes);
    let numbers = format!("user_version {}, application_id {}", facts.user_version, facts.application_id);
    out.add("  sqlite", format!("{path}: {pages}, {journal}, {}, {numbers}; {verdict}", text::escape(&facts.encoding)));
    for table in &facts.tables {
        let rows = table.rows.map_or("not counted".to_owned(), |rows| render::counted(rows, "row"));
        out.add("", format!("  {}  {rows}", text::escape(&table.name)));
    }
    let unnamed = facts.tables_total.saturating_sub(facts.tables.len() as u64);
    if unnamed > 0 {
        out.add("", format!("  and {} more", render::counted(unnamed, "table")));
    }
}

fn state(snapshot: &Snapshot, info: &SnapshotInfo, context: &Context<'_>) -> String {
    let damaged = flaw(info, context).filter(|_| matches!(info.proof(), Proof::Damaged(_)));
    let word = match snapshot.summary.state {
        State::Whole => damaged.unwrap_or_else(|| "ok".to_owned()),
        State::Partial => {
            let partial =
                format!("partial: {} could not be read as they are", render::grouped(snapshot.body.reasons_total));
            damaged.into_iter().chain([partial]).collect::<Vec<_>>().join("; ")
        }
    };
    if info.confirmed { word } else { format!("{word}; unconfirmed: the run that made it has not finished") }
}

fn source_lines(out: &mut Fields, source: &SourceBody) {
    let SourceBody { root, .. } = source;
    out.add("  of", format!("{} ({})", text::escape(&source.origin), source.kind.name()));
    out.add("  holds", format!("{} in {} entries", text::size(root.bytes), render::grouped(root.entries)));
    if let Some(previous) = &source.previous {
        out.add("  after", previous.to_hex());
    }
    out.add("  tree", root.id.to_hex());
}

fn statistics(out: &mut Fields, s: &Statistics) {
    let counts = [(s.files_new, "new"), (s.files_changed, "changed"), (s.files_unchanged, "unchanged")];
    let counts = counts.into_iter().chain([(s.files_failed, "failed"), (s.files_excluded, "excluded")]);
    let counts: Vec<_> = counts.map(|(n, word)| format!("{} {word}", render::grouped(n))).collect();
    out.add("entries", counts.join(", "));
    out.add("read", text::size(s.bytes_read));
    out.add("new", format!("{}, stored as {}", text::size(s.bytes_new), text::size(s.bytes_added)));
    out.add("took", time::duration(std::time::Duration::from_millis(s.duration_ms)));
}

/// Names and what stands behind them.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn add(&mut self, name: &str, value: impl AsRef<str>) {
        self.0 += format!("{name:<9} {}", value.as_ref()).trim_end();
        self.0.push('\n');
    }

    fn add_if(&mut self, name: &str, value: String) {
        if !value.is_empty() {
            self.add(name, value);
        }
    }
}
