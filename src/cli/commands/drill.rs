//! `larder drill`

use std::path::PathBuf;

use super::super::address::Address;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::find::{self, Meant};
use super::super::paint::Paint;
use super::super::{args, engine, json, render, time};
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::ops::database::{About, told};
use crate::ops::drill::{self, Proved, Report, Request, Stop};
use crate::record::{Drill, SourceBody};
use crate::sql::Proof;
use crate::text;

/// Prove that a snapshot can be had back
///
/// Restores it for real into a private folder that is removed again. Every byte of every file is compared, and every
/// SQLite database is opened: integrity, references, the rows of all tables and the schema must be as when it was saved.
///
/// The result is kept in the repository, and `larder snapshots` shows it. Whatever is not as it must be is exit code 4.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder drill latest
  larder drill latest:app --scratch /var/tmp
  larder drill latest:app/data/app.db --check 'SELECT count(*) FROM people'

A check is a query whose first row begins with a true value (neither NULL nor 0 nor empty), or QUERY = VALUE, or an
expression such as '(SELECT count(*) FROM people) > 5'. It is asked of every database that was restored; name one to ask only that.")]
pub struct Args {
    /// What to drill: WHEN[:SOURCE[/PATH]], as in larder ls --help
    #[arg(value_name = "ADDRESS", value_parser = args::address())]
    pub address: Address,
    /// Something of your own that must hold in each database (can be repeated)
    #[arg(long = "check", value_name = "SQL")]
    pub checks: Vec<String>,
    /// Where to restore to; there must be room for all of it. Default: the system's temporary folder
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}

/// Proves it.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let repository = engine::open(context)?;
    let meant = find::meant(&repository, &args.address, context)?;
    find::tell_partly(&meant, context)?;
    let checks: Vec<&str> = args.checks.iter().map(String::as_str).collect();
    let scratch = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let at = engine::location(context)?;
    let request = Request {
        part: meant.part.clone(),
        checks: &checks,
        scratch: &scratch,
        repository: Some(&at),
        stop: &|| -> Stop { Box::new(context.stop()) },
    };
    let reporter = context.reporter();
    let job = Job { progress: &reporter, cancel: context.cancel() };
    let result = drill::drill(&repository, &meant.snapshot, &request, job);
    reporter.finish();
    let report = result.map_err(|e| in_scratch(e, &args.scratch))?;
    let exit = exit(&report).but(meant.exit);
    if context.global.json {
        tell_program(&meant, &report, exit, context)?;
    } else {
        tell(&meant, &report, context)?;
    }
    Ok(exit)
}

/// What a full disk means here.
fn in_scratch(error: Error, scratch: &Option<PathBuf>) -> Error {
    match (error.kind(), scratch) {
        (Kind::NoSpace, None) => error.fix("name a folder with room for all of it: --scratch DIR"),
        _ => error,
    }
}

fn exit(report: &Report) -> Exit {
    match (report.drill.passed(), report.lost.is_empty()) {
        (false, _) => Exit::Damage,
        (true, false) => Exit::Failed,
        (true, true) => Exit::Done,
    }
}

fn tell_program(meant: &Meant, report: &Report, exit: Exit, context: &Context<'_>) -> Result<()> {
    let warn = |message: &str| context.output.json(&json::Warning { message });
    for lost in &report.lost {
        let (path, why) = (lost.path.as_slice().into(), lost.why.as_str());
        context.output.json(&json::Lost { source: &lost.source, path, why, entries: lost.entries })?;
    }
    report.databases.iter().try_for_each(|proved| context.output.json(&drilled(proved)))?;
    let drill = &report.drill;
    context.output.json(&json::Drill {
        snapshot: drill.snapshot.to_hex(),
        source: drill.source.as_ref().map(|name| text::escape(name)),
        path: drill.path.as_slice().into(),
        ok: exit_is_good(report),
        entries: drill.entries,
        bytes: drill.bytes,
        files: report.files,
        databases: drill.databases,
        failures: drill.failures.iter().map(|what| String::from_utf8_lossy(what).into_owned()).collect(),
        failures_more: drill.failures_total.saturating_sub(drill.failures.len() as u64),
        kept: report.not_kept.is_empty(),
    })?;
    report.warnings.iter().try_for_each(|warning| warn(warning))?;
    if !report.not_kept.is_empty() {
        warn(&not_kept(report))?;
    }
    let failed = report.lost.iter().map(|lost| lost.entries).sum();
    context.output.json(&json::Summary {
        command: "drill",
        snapshot: Some(meant.snapshot.id.to_hex()),
        duration_s: report.took.as_secs_f64(),
        bytes_read: drill.bytes,
        files: json::Files { new: report.files, failed, ..json::Files::default() },
        exit_code: exit.code(),
        ..json::Summary::default()
    })
}

fn exit_is_good(report: &Report) -> bool {
    exit(report) == Exit::Done
}

fn drilled(proved: &Proved) -> json::Drilled<'_> {
    let tables = proved.outcome.tables.iter();
    let findings = proved.outcome.findings.iter();
    let unasked = proved.outcome.unasked.iter();
    json::Drilled {
        source: text::escape(&proved.source),
        path: proved.path.as_slice().into(),
        ok: proved.outcome.findings.is_empty(),
        compared: proved.is_compared,
        tables: tables.map(|table| json::TableRows { name: table.name.as_slice().into(), rows: table.rows }).collect(),
        failures: findings
            .map(|finding| json::DrillFailure { about: finding.about.name(), what: &finding.said })
            .collect(),
        unasked: unasked.map(|one| json::Unasked { table: one.table.as_slice().into(), lacks: &one.lacks }).collect(),
    }
}

fn not_kept(report: &Report) -> String {
    format!("the result is not kept in the repository: {}", report.not_kept)
}

fn tell(meant: &Meant, report: &Report, context: &Context<'_>) -> Result<()> {
    let warn = |text: &str| super::super::tell(&format!("{}\n", render::warning(text, Paint::stderr())));
    report.warnings.iter().for_each(|warning| warn(warning));
    if !context.global.quiet {
        for proved in &report.databases {
            context.output.line(&format!("{}: {}", place(proved), outcome(proved)))?;
        }
    }
    for proved in &report.databases {
        for finding in &proved.outcome.findings {
            context.output.line(&format!("failed  {}: {}: {}", place(proved), finding.about.name(), finding.said))?;
        }
    }
    if !report.not_kept.is_empty() {
        warn(&not_kept(report));
    }
    let drill = &report.drill;
    let what = what_of(&meant.snapshot.body.sources, drill);
    if exit_is_good(report) {
        let (entries, bytes) = (render::entries(drill.entries), text::size(drill.bytes));
        let (databases, took) = (render::counted(drill.databases, "database"), time::duration(report.took));
        let line = format!("proven: {what} came back whole: {entries}, {bytes}, {databases} in {took}");
        return if context.global.quiet { Ok(()) } else { context.output.line(&line) };
    }
    super::super::tell(&render::error(&failure(report, &what), Paint::stderr()));
    Ok(())
}

fn place(proved: &Proved) -> String {
    format!("{}/{}", text::escape(&proved.source), text::escape(&proved.path))
}

/// Such as "integrity ok, 4 tables, credentials 50 rows = when saved"; the largest table stands for all.
fn outcome(proved: &Proved) -> String {
    if !proved.outcome.findings.is_empty() {
        return format!("failed: {}", render::counted(proved.outcome.findings.len() as u64, "finding"));
    }
    let tables = &proved.outcome.tables;
    let largest = tables.iter().filter_map(|table| Some((table.rows?, &table.name)));
    // Of equal ones the first.
    let largest = largest.rev().max_by_key(|(rows, _)| *rows);
    let rows = largest.map(|(rows, name)| format!(", {} {}", text::escape(name), render::counted(rows, "row")));
    let compared =
        if proved.is_compared { " = when saved" } else { " (saved as a plain file: nothing to compare with)" };
    let uncounted = match tables.iter().filter(|table| table.rows.is_none()).count() {
        0 => String::new(),
        uncounted => format!(" ({} not counted)", render::grouped(uncounted as u64)),
    };
    let tables = render::counted(tables.len() as u64, "table");
    let but = match proved.outcome.unasked.as_slice() {
        [] => ",".to_owned(),
        unasked => format!(" but for {};", told(unasked)),
    };
    format!("integrity ok{but} {tables}{uncounted}{}{compared}", rows.unwrap_or_default())
}

/// Such as "c81d0f22:app/data" or "snapshot c81d0f22".
pub(super) fn what_of(sources: &[SourceBody], drill: &Drill) -> String {
    let id = drill.snapshot.short();
    match &drill.source {
        Some(source) if drill.path.is_empty() && sources.len() > 1 => format!("{id}:{}", text::escape(source)),
        Some(source) if !drill.path.is_empty() => {
            format!("{id}:{}/{}", text::escape(source), text::escape(&drill.path))
        }
        _ => format!("snapshot {id}"),
    }
}

/// Whether nothing failed but what the user asked.
fn only_checks(report: &Report) -> bool {
    let mut findings = report.databases.iter().flat_map(|proved| &proved.outcome.findings);
    report.lost.is_empty() && findings.all(|finding| finding.about == About::Content(Proof::Check))
}

fn failure(report: &Report, what: &str) -> Error {
    let drill = &report.drill;
    if drill.passed() {
        let lost: u64 = report.lost.iter().map(|lost| lost.entries).sum();
        let first = report.lost.first().map(|lost| (lost.path.as_slice(), lost.why.as_str())).unwrap_or_default();
        return Error::new(Kind::Failed, format!("{} of {what} could not be made here", render::entries(lost)))
            .why(format!("the first is {}: {}", text::escape(first.0), first.1))
            .fix("nothing is known to be wrong with the snapshot; drill it where, and as a user who, can make them");
    }
    let first = drill.failures.first().map(|first| String::from_utf8_lossy(first).into_owned()).unwrap_or_default();
    let lost = report.lost.iter().any(|lost| lost.damaged);
    Error::new(
        Kind::Damage,
        format!("the drill of {what} failed: {}", render::counted(drill.failures_total, "failure")),
    )
    .why(match drill.failures_total {
        1 => first,
        _ => format!("the first is {first}"),
    })
    .fix(match lost {
        true => "run `larder check --data all`: it tells what else is damaged, and the next backup stores anew what the source \
             still has; an older snapshot may have it whole",
        false if only_checks(report) => "look at the check: all else is as when it was saved, and proven",
        false => "the stored bytes are those that were saved; an older snapshot may hold what this one lacks",
    })
}
