//! Files and folders, back into a folder.

use std::ffi::OsString;
use std::path::Path;

use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::find::{self, Meant};
use super::super::super::paint::Paint;
use super::super::super::{address, engine, json, render, time};
use super::super::snapshots::{flaw, health};
use super::Args;
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::ops::restore::{self, Part, Pick, Plan, Report, Target};
use crate::record::SourceBody;
use crate::repo::{Catalogue, Repository, SnapshotInfo};
use crate::target::files::{Existing, Present};
use crate::text;

/// Gets them.
pub(super) fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let repository = engine::open(context)?;
    let meant = find::meant(&repository, &args.address, context)?;
    find::tell_partly(&meant, context)?;
    let parts = parts(args, &meant)?;
    let reporter = context.reporter();
    let job = Job { progress: &reporter, cancel: context.cancel() };
    let result = match args.folder().filter(|_| !args.dry_run) {
        None => plan(args, context, &repository, &meant, &parts, job).map(|()| None),
        Some(to) => restore_to(args, &repository, &meant, &parts, (&engine::location(context)?, to), job).map(Some),
    };
    reporter.finish();
    match result? {
        None => Ok(meant.exit),
        Some((report, seconds)) => tell(args, context, &meant, &report, seconds),
    }
}

fn parts(args: &Args, meant: &Meant) -> Result<Vec<Part>> {
    use std::os::unix::ffi::OsStrExt;
    let sources = &meant.snapshot.body.sources;
    if !args.paths.is_empty() {
        let (source, below) = meant.one()?;
        let one = |path: &OsString| -> Result<Vec<u8>> {
            let path = address::clean_path(path.as_bytes())?;
            Ok(if below.is_empty() { path } else { [below.as_slice(), &path].join(&b'/') })
        };
        let paths = args.paths.iter().map(one).collect::<Result<Vec<_>>>()?;
        return Ok(vec![Part { source, into: Vec::new(), pick: Pick::Paths(outermost(paths)) }]);
    }
    let several = meant.part.is_none() && sources.len() > 1;
    Ok(meant
        .parts()
        .into_iter()
        .map(|(source, path)| Part {
            source,
            into: if several { sources[source].name.clone() } else { Vec::new() },
            pick: Pick::At(path),
        })
        .collect())
}

/// In the order of the tree, without those that lie in another one.
fn outermost(mut paths: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    paths.sort_by(|a, b| crate::tree::compare_paths(a, b));
    let mut out: Vec<Vec<u8>> = Vec::new();
    for path in paths {
        if !out.last().is_some_and(|last| crate::tree::is_below(&path, last)) {
            out.push(path);
        }
    }
    out
}

fn restore_to(
    args: &Args,
    repository: &Repository,
    meant: &Meant,
    parts: &[Part],
    (at, to): (&Path, &Path),
    job: Job<'_>,
) -> Result<(Report, std::time::Duration)> {
    let begun = repository.world().elapsed();
    let existing = if args.overwrite { Existing::Overwrite } else { Existing::Refuse };
    let whole = parts.iter().all(|part| part.pick == Pick::At(Vec::new()));
    let catalogue = if whole { Catalogue::load(repository, job) } else { Catalogue::open(repository, job) }?;
    let (mut entries, mut bytes) = (0, 0);
    for part in parts {
        let root = &meant.snapshot.body.sources[part.source].root;
        entries += root.entries;
        bytes += root.bytes;
    }
    job.phase("restoring", whole.then_some(entries), whole.then_some(bytes));
    let target = Target { path: to, existing, repository: Some(at) };
    let report = restore::restore(repository, &catalogue, &meant.snapshot, parts, target, job)?;
    Ok((report, repository.world().elapsed().saturating_sub(begun)))
}

/// Says what would be done.
fn plan(
    args: &Args,
    context: &Context<'_>,
    repository: &Repository,
    meant: &Meant,
    parts: &[Part],
    job: Job<'_>,
) -> Result<()> {
    let catalogue = Catalogue::open(repository, job)?;
    let mut planned = Vec::new();
    for part in parts {
        let source = &meant.snapshot.body.sources[part.source];
        planned.push((source, part, restore::plan(repository, &catalogue, source, &part.pick)?));
    }
    let replaced = replaced(args, repository, &catalogue, &planned, job)?;
    if context.global.json {
        return context.output.json(&plan_as_json(args, meant, &planned, replaced));
    }
    plan_as_text(args, meant, &planned, replaced, context)
}

/// A part of a plan: its source, what of it, and how much that is.
type Planned<'a> = (&'a SourceBody, &'a Part, Plan);

fn plan_as_json<'a>(args: &'a Args, meant: &Meant, planned: &[Planned<'a>], replaced: Option<u64>) -> json::Plan<'a> {
    use std::os::unix::ffi::OsStrExt;
    let snapshot = &meant.snapshot;
    let sources = planned.iter().map(|(source, part, plan)| json::PlanSource {
        name: text::escape(&source.name),
        root: source.origin.as_slice().into(),
        paths: paths(part).iter().map(|path| path.as_slice().into()).collect(),
        entries: plan.entries,
        bytes: plan.bytes,
    });
    json::Plan {
        snapshot: snapshot.id.to_hex(),
        time: time::rfc3339(snapshot.summary.time),
        to: args.folder().map(|to| to.as_os_str().as_bytes().into()),
        sources: sources.collect(),
        entries: planned.iter().map(|(.., plan)| plan.entries).sum(),
        bytes: planned.iter().map(|(.., plan)| plan.bytes).sum(),
        replaced,
        health: health(&meant.info),
    }
}

fn plan_as_text(
    args: &Args,
    meant: &Meant,
    planned: &[Planned<'_>],
    replaced: Option<u64>,
    context: &Context<'_>,
) -> Result<()> {
    let head = plan_head(&meant.info, context);
    head.iter().try_for_each(|line| context.output.line(line))?;
    for (source, part, plan) in planned {
        let what: Vec<String> = paths(part).iter().map(|path| text::escape(path)).collect();
        let what = if what.is_empty() { String::new() } else { format!(" {}", what.join(" ")) };
        let name = text::escape(&source.name);
        let (size, entries) = (text::size(plan.bytes), render::entries(plan.entries));
        let to = args.folder().map(|to| format!(" -> {}", text::path(to))).unwrap_or_default();
        context.output.line(&format!("  {name}{what}  {size} in {entries}{to}"))?;
    }
    if let (Some(count), Some(to)) = (replaced, args.folder()) {
        let what = if count == 0 { "nothing".to_owned() } else { render::entries(count) };
        context.output.line(&format!("  {what} in {} would be replaced", text::path(to)))?;
    }
    context.output.line(match args.folder() {
        Some(_) => "nothing was changed; run it without -n",
        None => "nothing was changed; say where with --to DIR, or of a database with --apply or --to sqlite:FILE",
    })
}

/// The first lines of a plan: which snapshot, and what is known against it.
pub(super) fn plan_head(info: &SnapshotInfo, context: &Context<'_>) -> Vec<String> {
    let time = info.summary.time;
    let (at, age) = (time::local(time, &context.zone()), time::age(time, context.world.now()));
    let first = format!("plan: snapshot {} of {at} ({age})", info.id.short());
    [first].into_iter().chain(flaw(info, context).map(|flaw| format!("  {flaw}"))).collect()
}

/// How much of what is there would be replaced, if that is allowed.
fn replaced(
    args: &Args,
    repository: &Repository,
    catalogue: &Catalogue,
    planned: &[Planned<'_>],
    job: Job<'_>,
) -> Result<Option<u64>> {
    let Some(to) = args.folder().filter(|_| args.overwrite) else { return Ok(None) };
    let Some(present) = Present::open(to)? else { return Ok(Some(0)) };
    let of = |(source, part, _): &Planned<'_>| restore::replaced(repository, catalogue, source, part, &present, job);
    planned.iter().map(of).sum::<Result<u64>>().map(Some)
}

fn paths(part: &Part) -> &[Vec<u8>] {
    match &part.pick {
        Pick::At(path) if path.is_empty() => &[],
        Pick::At(path) => std::slice::from_ref(path),
        Pick::Paths(paths) => paths,
    }
}

fn tell(args: &Args, context: &Context<'_>, meant: &Meant, report: &Report, took: std::time::Duration) -> Result<Exit> {
    let done = match (report.lost.is_empty(), report.lost.iter().any(|lost| lost.damaged)) {
        (true, _) => Exit::Done,
        (_, true) => Exit::Damage,
        (_, false) => Exit::Failed,
    };
    let exit = done.but(meant.exit);
    let written = &report.written;
    if context.global.json {
        for lost in &report.lost {
            let (path, why) = (lost.path.as_slice().into(), lost.why.as_str());
            context.output.json(&json::Lost { source: &lost.source, path, why, entries: lost.entries })?;
        }
        let files = json::Files {
            new: written.files,
            failed: report.lost.iter().map(|lost| lost.entries).sum(),
            ..json::Files::default()
        };
        context.output.json(&json::Summary {
            command: "restore",
            snapshot: Some(meant.snapshot.id.to_hex()),
            duration_s: took.as_secs_f64(),
            bytes_read: report.bytes,
            bytes_added: report.bytes,
            files,
            exit_code: exit.code(),
            left_out: None,
        })?;
        return Ok(exit);
    }
    for warning in &written.warnings {
        super::super::super::tell(&format!("{}\n", render::warning(warning, Paint::stderr())));
    }
    let to = args.folder().map(text::path).unwrap_or_default();
    let entries = written.entries();
    let line = format!(
        "restored {} in {} to {to} in {}",
        text::size(report.bytes),
        render::entries(entries),
        time::duration(took)
    );
    if !context.global.quiet && (entries > 0 || report.lost.is_empty()) {
        context.output.line(&line)?;
    }
    if report.lost.is_empty() {
        return Ok(exit);
    }
    let lost: u64 = report.lost.iter().map(|lost| lost.entries).sum();
    let first = &report.lost[0];
    let below = if first.path.is_empty() { String::new() } else { format!("/{}", text::escape(&first.path)) };
    let name = format!("{}{below}", first.source);
    let error = Error::new(Kind::Failed, format!("{} could not be restored", render::entries(lost)))
        .why(format!("the first is {name}: {}", first.why))
        .fix(match done {
            _ if entries == 0 => "nothing was restored: try another snapshot; `larder check` tells what is affected",
            Exit::Damage => "the rest is complete; run `larder check --data all`: it tells what else is damaged, and the next backup stores \
                 anew what the source still has",
            _ => "the rest is complete; restore these again where, and as a user who, can make them",
        });
    super::super::super::tell(&render::error(&error, Paint::stderr()));
    Ok(exit)
}
