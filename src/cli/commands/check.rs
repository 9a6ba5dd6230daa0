//! `larder check`

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::amount::{Budget, Share};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::{engine, json, render};
use crate::error::Result;
use crate::event::Job;
use crate::id::ObjectId;
use crate::ops::check::{self, Found, MENDED, Report, Request};
use crate::text;

/// Prove that the repository is whole
///
/// Without options the structure is checked: that everything a snapshot needs is there. --data also reads stored data
/// and compares it with its names.
///
/// Damage is exit code 4. Every snapshot that loses something is named, and the damaged files: up to 1000 for each damaged
/// object, one in several snapshots once for each of them.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder check
  larder check --data 5%
  larder check --data all --budget 15m")]
pub struct Args {
    /// Read this share of the data, too: a percentage or all
    #[arg(long, value_name = "SHARE", value_parser = Share::parse)]
    pub data: Option<Share>,
    /// Stop reading after this time (15m, 2h) or this much data (10GiB)
    #[arg(long, value_name = "BUDGET", value_parser = Budget::parse, requires = "data")]
    pub budget: Option<Budget>,
}

/// Proves it.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let repository = engine::open(context)?;
    let request = Request {
        data: args.data.map(|share| f64::from(share.hundredths()) / 10_000.0),
        time_max: args.budget.and_then(|budget| if let Budget::Time(time) = budget { Some(time) } else { None }),
        bytes_max: args.budget.and_then(|budget| if let Budget::Bytes(bytes) = budget { Some(bytes) } else { None }),
    };
    let begun = repository.world().elapsed();
    let reporter = context.reporter();
    let result = check::check(&repository, &request, Job { progress: &reporter, cancel: context.cancel() });
    reporter.finish();
    let report = result?;
    let exit = if report.is_healthy() { Exit::Done } else { Exit::Damage };
    if context.global.json {
        tell_program(&report, exit, repository.world().elapsed().saturating_sub(begun), context)?
    } else {
        tell(args, &report, context)?
    }
    Ok(exit)
}

fn tell_program(report: &Report, exit: Exit, took: Duration, context: &Context<'_>) -> Result<()> {
    for found in &report.found {
        let affects = found.affects.iter().map(|affected| json::Affected {
            snapshot: affected.snapshot.to_hex(),
            source: text::escape(&affected.source),
            path: affected.path.as_slice().into(),
        });
        let harmed = |(id, entries): &(ObjectId, u64)| json::Harmed { snapshot: id.to_hex(), entries: *entries };
        context.output.json(&json::Damage {
            object: &found.object,
            what: &found.what,
            fix: &found.fix,
            snapshots: found.snapshots.iter().map(harmed).collect(),
            affects: affects.collect(),
            affects_more: found.affects_more,
        })?;
    }
    context.output.json(&json::Check {
        healthy: report.is_healthy(),
        snapshots: report.snapshots,
        chunks: report.chunks,
        packs: report.packs,
        packs_read: report.packs_read,
        bytes_read: report.bytes_read,
        bytes_total: report.bytes_total,
        damages: report.found.len() as u64,
        packs_spare: report.packs_spare,
        mended: report
            .mended
            .iter()
            .map(|(object, what)| json::Mended { object: object.to_string(), id: object.id.to_hex(), what })
            .collect(),
    })?;
    if !report.not_recorded.is_empty() {
        context.output.json(&json::Warning { message: &not_recorded(report) })?;
    }
    context.output.json(&json::Summary {
        command: "check",
        duration_s: took.as_secs_f64(),
        bytes_read: report.bytes_read,
        exit_code: exit.code(),
        ..json::Summary::default()
    })
}

fn not_recorded(report: &Report) -> String {
    let then = match report.is_healthy() {
        true => "",
        false => "; backups count on what is damaged until a check that can write there has recorded it",
    };
    format!("the result could not be recorded in the repository: {}{then}", report.not_recorded)
}

fn tell(args: &Args, report: &Report, context: &Context<'_>) -> Result<()> {
    let out = |line: String| context.output.line(&line);
    let packs = render::counted(report.packs, "pack");
    if !context.global.quiet {
        let (chunks, snapshots) =
            (render::counted(report.chunks, "chunk"), render::counted(report.snapshots, "snapshot"));
        out(format!("structure  {packs}, {chunks}, {snapshots}"))?;
        if args.data.is_some() {
            let share = 100.0 * report.bytes_read as f64 / report.bytes_total.max(1) as f64;
            let unread = match report.packs_unread {
                0 => "every pack has been read by some check".to_owned(),
                n => format!("{} never read yet", render::grouped(n)),
            };
            let read = render::grouped(report.packs_read);
            let bytes = text::size(report.bytes_read);
            out(format!("data       {read} of {packs} read, {bytes} ({share:.1} %); {unread}"))?;
        }
        if !report.confirmed.is_empty() {
            let count = report.confirmed.len() as u64;
            let (snapshots, are) = (render::counted(count, "snapshot"), if count == 1 { "is" } else { "are" });
            out(format!("confirmed  {snapshots} that nobody had confirmed {are} whole"))?;
        }
    }
    if report.packs_spare > 0 {
        out(spare(report.packs_spare))?;
    }
    for (object, what) in &report.mended {
        out(format!("mended     {object}: {what}; {MENDED}"))?;
    }
    for found in &report.found {
        out(format!("damage     {}: {}", found.object, found.what))?;
        affected(found).into_iter().try_for_each(|line| out(format!("             {line}")))?;
    }
    if !report.not_recorded.is_empty() {
        let warning = not_recorded(report);
        super::super::tell(&format!("{}\n", render::warning(&warning, super::super::paint::Paint::stderr())));
    }
    if report.is_healthy() {
        return if context.global.quiet { Ok(()) } else { out("healthy".into()) };
    }
    out(format!("{} found", render::counted(report.found.len() as u64, "damage")))?;
    let mut told = BTreeSet::new();
    for fix in report.found.iter().map(|found| &found.fix).filter(|fix| !fix.is_empty() && told.insert(*fix)) {
        out(format!("what to do: {fix}"))?;
    }
    Ok(())
}

/// What is lost with something: how much of which snapshots, and its names, each once.
fn affected(found: &Found) -> Vec<String> {
    if found.snapshots.is_empty() {
        return Vec::new();
    }
    let count = found.snapshots.len();
    let each = found.snapshots.iter().map(|(id, entries)| format!("{} {}", id.short(), render::grouped(*entries)));
    let (sum, snapshots) =
        (found.snapshots.iter().map(|(_, entries)| entries).sum(), render::counted(count as u64, "snapshot"));
    let mut lines =
        vec![format!("takes {} from {snapshots}: {}", render::entries(sum), each.collect::<Vec<_>>().join(", "))];
    let or_more = if found.affects_more > 0 { " or more" } else { "" };
    let mut names = BTreeMap::<_, Vec<String>>::new();
    for one in &found.affects {
        names.entry((&one.source, &one.path)).or_default().push(one.snapshot.short());
    }
    for ((source, path), ids) in names {
        let (source, path) = (text::escape(source), if path.is_empty() { ".".into() } else { text::escape(path) });
        lines.push(match &ids[..] {
            [id] => format!("{id}:{source}/{path}"),
            all if all.len() == count => format!("{source}/{path} in all {count}"),
            some => format!("{source}/{path} in {}{or_more}: {}", some.len(), some.join(" ")),
        });
    }
    if found.affects_more > 0 {
        lines.push(format!("and {} more, not named", render::grouped(found.affects_more)));
    }
    lines
}

fn spare(packs: u64) -> String {
    let (is, it) = if packs == 1 { ("is", "it") } else { ("are", "them") };
    let packs = render::counted(packs, "pack");
    format!(
        "spare      {packs} {is} damaged, but no snapshot loses anything by it: larder prune removes {it}; the disk may be \
         failing"
    )
}
