//! `larder prune`

use std::collections::HashSet;
use std::time::Duration;

use super::super::amount::{self, Share};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::{engine, json, render};
use crate::error::Result;
use crate::event::Job;
use crate::id::ObjectId;
use crate::ops::prune::plan::Limits;
use crate::ops::prune::{self, Options, Plan, Report};
use crate::repo::Repository;
use crate::text;

/// How long what was removed lies in the trash, unless something else is said.
const GRACE: Duration = Duration::from_secs(2 * 24 * 3600);
/// How much may be needed by nobody, in hundredths of a percent: less costs more than it gives back.
const UNUSED_MAX: u16 = 500;

/// Give back the space of what no snapshot needs any more
///
/// Packs of which nothing is needed are removed; of others, damaged ones and then the emptiest first, what is needed is stored
/// again. Backups may go on beside it, and other prunes; it waits for runs that began before it condemned anything.
///
/// What is removed lies in the repository's trash for a while, and the next prune after that deletes it, with the forgotten
/// snapshots that needed it. Until then larder undelete brings them back.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  larder prune -n
  larder prune
  larder prune --no-trash --max-unused 0%
  larder prune --max-repack 2GiB")]
pub struct Args {
    /// Say what would be removed, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// How to prune.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Pruning")]
pub struct How {
    /// Let packs hold this share of what nobody needs: storing less again is quicker [default: 5%]
    #[arg(long, value_name = "SHARE", value_parser = unused)]
    pub max_unused: Option<u16>,
    /// Store at most so much again; the rest is for the next time
    #[arg(long, value_name = "SIZE", value_parser = amount::size)]
    pub max_repack: Option<u64>,
    /// Keep what is removed in the trash for this time [default: 2d]
    #[arg(long, value_name = "TIME", value_parser = amount::duration)]
    pub grace: Option<Duration>,
    /// Delete at once, also what lies in the trash, unless another run is at work
    #[arg(long, conflicts_with = "grace")]
    pub no_trash: bool,
    /// Give up where other runs are at work, instead of waiting for them
    #[arg(long)]
    pub no_wait: bool,
}

/// A share that may be none, in hundredths of a percent.
fn unused(text: &str) -> Result<u16> {
    match text {
        "0%" => Ok(0),
        _ => Share::parse(text).map(Share::hundredths).map_err(|e| e.fix("write a percentage from 0% to 100%")),
    }
}

impl How {
    fn options(&self) -> Options {
        let limits = Limits {
            unused_max: f64::from(self.max_unused.unwrap_or(UNUSED_MAX)) / 10_000.0,
            repack_bytes_max: self.max_repack,
        };
        let grace = (!self.no_trash).then(|| self.grace.unwrap_or(GRACE));
        Options { limits, grace, no_wait: self.no_wait }
    }
}

/// Prunes.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let what = if args.dry_run { What::Plan(&HashSet::new()) } else { What::Apply };
    let repository = engine::open(context)?;
    run_on(what, &args.how, &repository, context)
}

/// Whether to prune, or to say what that would do.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// Prune.
    Apply,
    /// Say it, as if these snapshots had been forgotten.
    Plan(&'a HashSet<ObjectId>),
}

/// The same in a repository that is open.
pub fn run_on(what: What<'_>, how: &How, repository: &Repository, context: &Context<'_>) -> Result<Exit> {
    let options = how.options();
    let reporter = context.reporter();
    let job = Job { progress: &reporter, cancel: context.cancel() };
    let planned = match what {
        What::Apply => prune::plan(repository, &options, job),
        What::Plan(forgotten) => prune::plan_without(forgotten, repository, &options, job),
    };
    let dry_run = matches!(what, What::Plan(_));
    let plan = match planned {
        Ok(plan) => plan,
        Err(e) => {
            reporter.finish();
            return Err(e);
        }
    };
    let mut shape = shape(&plan);
    let lines = lines(&plan);
    let result = if dry_run { Ok(None) } else { prune::apply(repository, plan, &options, job).map(Some) };
    reporter.finish();
    if !context.global.json && (!context.global.quiet || dry_run) {
        lines.iter().try_for_each(|line| context.output.line(line))?;
    }
    let report = result?;
    if context.global.json {
        shape.applied = report.is_some();
        shape.result = report.as_ref().map(done_shape);
        context.output.json(&shape)?;
    } else if !context.global.quiet || dry_run {
        tell(report.as_ref(), &options, context)?;
    }
    Ok(Exit::Done)
}

fn lines(plan: &Plan) -> Vec<String> {
    let choice = &plan.choice;
    let packs = |count: usize| render::counted(count as u64, "pack");
    let mut out = vec![format!(
        "packs      {} of {}, for {}",
        packs(plan.packs.len()),
        text::size(plan.stored_bytes),
        render::counted(plan.snapshots, "snapshot")
    )];
    out.push(format!("remove     {} of which nothing is needed", packs(choice.drop.len())));
    let again = text::size(choice.repacked_bytes);
    out.push(format!("repack     {}, of which about {again} are stored again", packs(choice.repack.len())));
    out.push(format!(
        "free       about {}; about {} that nobody needs stay",
        text::size(choice.freed_bytes()),
        text::size(choice.unused_bytes)
    ));
    if plan.tombs > 0 {
        out.push(format!("unfinished {} of other prunes, taken over", render::counted(plan.tombs, "tomb")));
    }
    if plan.trashed.0 > 0 {
        out.push(format!("trash      {} of {}", packs(plan.trashed.0 as usize), text::size(plan.trashed.1)));
    }
    if plan.runs > 0 {
        out.push(format!("at work    {}", render::counted(plan.runs, "other run")));
    }
    out
}

fn tell(report: Option<&Report>, options: &Options, context: &Context<'_>) -> Result<()> {
    let Some(report) = report else { return context.output.line("dry run: nothing was changed") };
    let out = |line: String| context.output.line(&line);
    if report.emptied_packs > 0 {
        let packs = render::counted(report.emptied_packs, "pack");
        out(format!("deleted {packs} of {} from the trash", text::size(report.emptied_bytes)))?;
    }
    if report.runs_expired > 0 {
        out(format!(
            "found {} that had died, and waited for none of them",
            render::counted(report.runs_expired, "run")
        ))?;
    }
    if report.snapshots_gone > 0 {
        out(format!(
            "{} cannot be brought back any more",
            render::counted(report.snapshots_gone, "forgotten snapshot")
        ))?;
    }
    if report.packs_removed == 0 {
        let is_all = report.emptied_packs == 0;
        return if is_all { out("nothing to remove".into()) } else { Ok(()) };
    }
    let (packs, bytes) = (render::counted(report.packs_removed, "pack"), text::size(report.removed_bytes));
    let again = text::size(report.added_bytes);
    out(format!("removed {packs} of {bytes}, and stored {again} of it again"))?;
    match (report.in_trash, options.grace) {
        (true, None) => out(format!(
            "they lie in the trash, since {} at work: prune again when there is none",
            if report.runs == 1 { "another run is".to_owned() } else { format!("{} other runs are", report.runs) }
        )),
        (true, Some(grace)) => out(format!(
            "they lie in the trash, for larder undelete; the first prune after {} deletes them, or --no-trash at once",
            hours(grace)
        )),
        (false, _) => Ok(()),
    }
}

fn hours(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 86_400 && seconds.is_multiple_of(86_400) => render::counted(seconds / 86_400, "day"),
        seconds if seconds >= 3600 => render::counted(seconds / 3600, "hour"),
        seconds => render::counted(seconds.div_ceil(60), "minute"),
    }
}

fn shape(plan: &Plan) -> json::Prune {
    let choice = &plan.choice;
    json::Prune {
        applied: false,
        packs: plan.packs.len() as u64,
        stored_bytes: plan.stored_bytes,
        drop_packs: choice.drop.len() as u64,
        repack_packs: choice.repack.len() as u64,
        repack_bytes: choice.repacked_bytes,
        free_bytes: choice.freed_bytes(),
        unused_bytes: choice.unused_bytes,
        trash_packs: plan.trashed.0,
        trash_bytes: plan.trashed.1,
        runs: plan.runs,
        result: None,
    }
}

fn done_shape(report: &Report) -> json::Pruned {
    json::Pruned {
        removed_packs: report.packs_removed,
        removed_bytes: report.removed_bytes,
        added_bytes: report.added_bytes,
        in_trash: report.in_trash,
        emptied_packs: report.emptied_packs,
        emptied_bytes: report.emptied_bytes,
        snapshots_gone: report.snapshots_gone,
        runs_expired: report.runs_expired,
    }
}
