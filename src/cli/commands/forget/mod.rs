//! `larder forget`

mod calendar;
mod show;

use std::collections::{BTreeSet, HashSet};

use super::super::address::{Address, When};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::gaps::Gaps;
use super::super::{amount, args, engine, find};
use super::prune;
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::ObjectId;
use crate::ops::forget::period::{Period, Span};
use crate::ops::forget::policy::{Decision, Rule, Rules};
use crate::ops::forget::{self, Plan, What};
use crate::ops::stats;
use crate::repo::{Catalogue, ChunkReader, Listing, Repository};
use crate::text;

/// What would be free is counted without being asked for as long as about so many entries and chunks must be read.
const FREED_WORK_MAX: u64 = 20_000;

/// Take snapshots off the list that rules do not keep
///
/// Each series is looked at by itself, in the zone of this machine. A snapshot stays while any rule keeps it; one of
/// several sources, while the series of one of them needs it. What is forgotten can be brought back by larder undelete.
///
/// The newest whole snapshot of a series always stays, and so do pinned and unconfirmed ones, those that cannot be read, and
/// those whose time is still to come. A partial one, one whose drill failed, or one that a check found damaged takes the
/// place of no whole one, and stays beside them as long as it would if it were whole.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder forget -n --keep-daily 7 --keep-weekly 4 --keep-monthly 12
  larder forget --keep-within 14d --keep-within-weekly 1y --source etc
  larder forget --keep-daily 7 -n --calendar
  larder forget c81d0f22 latest~3:etc

N counts hours, days, weeks, months or years of which there is a snapshot: a week off does not
use up seven days. DURATION is counted back from now, in years, months, weeks, days and hours:
1y6mo, 2w, 14d or 36h. Seven days ago it was the same time of day.")]
pub struct Args {
    /// Forget these instead, whatever rules say: an id of 4 digits or more, latest~N or @TIME, with :SOURCE if need be
    #[arg(value_name = "ADDRESS", value_parser = args::address())]
    pub addresses: Vec<Address>,
    /// Say what would go and stay, and why, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Go ahead although more than 30 % of a series, and more than five, would go at once: else that is refused (exit
    /// code 1); -n shows the plan anyhow, and says that it takes this
    #[arg(long)]
    pub force: bool,
    /// Look only at the series of this name; may be repeated
    #[arg(long = "source", value_name = "NAME", value_parser = args::name)]
    pub sources: Vec<String>,
    /// Draw the days of each series instead of listing its snapshots
    #[arg(long)]
    pub calendar: bool,
    /// Count what would be free, also where that takes long: the trees of all snapshots are read for it
    #[arg(long)]
    pub freed: bool,
    /// Prune afterwards, as larder prune does; with -n say what that would do
    #[arg(long)]
    pub prune: bool,
    /// How to prune.
    #[command(flatten)]
    pub pruning: prune::How,
    /// What to keep.
    #[command(flatten)]
    pub keep: Keep,
}

/// The rules.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Rules")]
pub struct Keep {
    /// Keep the last N
    #[arg(long = "keep-last", value_name = "N", value_parser = amount::count)]
    last: Option<usize>,
    /// Keep the newest of each of the last N hours that have one
    #[arg(long = "keep-hourly", value_name = "N", value_parser = amount::count)]
    hourly: Option<usize>,
    /// Keep the newest of each of the last N days that have one
    #[arg(long = "keep-daily", value_name = "N", value_parser = amount::count)]
    daily: Option<usize>,
    /// Keep the newest of each of the last N weeks, from Monday on, that have one
    #[arg(long = "keep-weekly", value_name = "N", value_parser = amount::count)]
    weekly: Option<usize>,
    /// Keep the newest of each of the last N months that have one
    #[arg(long = "keep-monthly", value_name = "N", value_parser = amount::count)]
    monthly: Option<usize>,
    /// Keep the newest of each of the last N years that have one
    #[arg(long = "keep-yearly", value_name = "N", value_parser = amount::count)]
    yearly: Option<usize>,
    /// Keep all of the last N days
    #[arg(long = "keep-days", value_name = "N", value_parser = amount::days)]
    days: Option<u32>,
    /// Keep all that are not older
    #[arg(long = "keep-within", value_name = "DURATION", value_parser = amount::span)]
    within: Option<Span>,
    /// Keep the newest of each hour, of those that are not older
    #[arg(long = "keep-within-hourly", value_name = "DURATION", value_parser = amount::span)]
    within_hourly: Option<Span>,
    /// Keep the newest of each day, of those that are not older
    #[arg(long = "keep-within-daily", value_name = "DURATION", value_parser = amount::span)]
    within_daily: Option<Span>,
    /// Keep the newest of each week, of those that are not older
    #[arg(long = "keep-within-weekly", value_name = "DURATION", value_parser = amount::span)]
    within_weekly: Option<Span>,
    /// Keep the newest of each month, of those that are not older
    #[arg(long = "keep-within-monthly", value_name = "DURATION", value_parser = amount::span)]
    within_monthly: Option<Span>,
    /// Keep the newest of each year, of those that are not older
    #[arg(long = "keep-within-yearly", value_name = "DURATION", value_parser = amount::span)]
    within_yearly: Option<Span>,
    /// Keep those with this tag; may be repeated
    #[arg(long = "keep-tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Keep at least the N newest whole ones of each series, however old they are
    #[arg(long, value_name = "N", value_parser = amount::count, default_value = "1")]
    min: usize,
}

impl Keep {
    /// The rules, those that reach least far first; `None` if there is none.
    fn rules(&self) -> Option<Rules> {
        let counts = [self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        let spans =
            [self.within_hourly, self.within_daily, self.within_weekly, self.within_monthly, self.within_yearly];
        let mut rules: Vec<Rule> = self.last.map(Rule::Last).into_iter().collect();
        rules.extend(self.days.map(|days| Rule::Within(Span::days(days))));
        rules.extend(self.within.map(Rule::Within));
        for (period, (count, span)) in Period::ALL.into_iter().zip(counts.into_iter().zip(spans)) {
            rules.extend(count.map(|count| Rule::Count(period, count)));
            rules.extend(span.map(|span| Rule::EachWithin(period, span)));
        }
        if rules.is_empty() && self.tags.is_empty() {
            return None;
        }
        rules.insert(0, Rule::Min(self.min));
        Some(Rules { rules, tags: self.tags.iter().map(|tag| tag.clone().into_bytes()).collect() })
    }
}

/// Forgets.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let rules = asked(args)?;
    let repository = engine::open(context)?;
    // What is acted on has been read.
    let listing = if args.dry_run { repository.snapshots()? } else { repository.snapshots_anew()? };
    let plan = made(args, rules.as_ref(), &repository, &listing, context)?;
    find::tell_gone(&listing, context)?;
    let exit = show::tell_damaged(&plan, context)?;
    let much = plan.much().filter(|_| !args.force);
    let is_wanted = args.dry_run || much.is_none();
    let freed = if is_wanted { freed(args, &plan, &repository, &listing, context)? } else { None };
    let mut shown =
        show::Shown { args, plan: &plan, needs_force: much.is_some(), freed, spared: Vec::new(), is_done: false };
    if let Some(much) = much.map(forget::refusal) {
        if !args.dry_run {
            shown.tell(context)?;
            return Err(much);
        }
        find::warn(&format!("{}: without -n that is refused, unless --force is given", much.what()), context)?;
    }
    if args.dry_run {
        shown.tell(context)?;
        let removed = plan.removed().collect();
        return match args.prune {
            true => {
                prune::run_on(prune::What::Plan(&removed), &args.pruning, &repository, context).map(|e| exit.but(e))
            }
            false => Ok(exit),
        };
    }
    let reporter = context.reporter();
    let result = forget::apply(&repository, &plan, Job { progress: &reporter, cancel: context.cancel() });
    reporter.finish();
    shown.spared = result?;
    shown.is_done = true;
    shown.tell(context)?;
    if args.prune {
        prune::run_on(prune::What::Apply, &args.pruning, &repository, context).map(|end| exit.but(end))
    } else {
        Ok(exit)
    }
}

/// The rules, or none where snapshots are named.
fn asked(args: &Args) -> Result<Option<Rules>> {
    if !args.prune && args.pruning != prune::How::default() {
        return Err(Error::new(Kind::Usage, "this says how to prune, but not that it should").fix("add --prune"));
    }
    let rules = args.keep.rules();
    match (args.addresses.is_empty(), &rules) {
        (true, Some(_)) => Ok(rules),
        (false, None) if args.sources.is_empty() && !args.calendar => Ok(None),
        (true, None) => Err(Error::new(Kind::Usage, "nothing says what to keep")
            .fix("give at least one rule, such as --keep-daily 7, or name the snapshots that shall go")),
        (false, None) => {
            Err(Error::new(Kind::Usage, "snapshots are named, and what looks at whole series is asked for as well")
                .fix("name them without --source and --calendar"))
        }
        (false, _) => Err(Error::new(Kind::Usage, "snapshots are named, and rules as well")
            .why("named ones go whatever rules say")
            .fix("give either the one or the other")),
    }
}

fn made(
    args: &Args,
    rules: Option<&Rules>,
    repository: &Repository,
    listing: &Listing,
    context: &Context<'_>,
) -> Result<Plan> {
    let Some(rules) = rules else {
        let named = named(args, listing, context)?;
        let plan = forget::plan(repository, listing, What::Named(&named), &context.zone())?;
        return match plan.decided.iter().find(|(_, one)| one.keeps) {
            Some((_, one)) => Err(stays(one)),
            None => Ok(plan),
        };
    };
    let scope = scope(args, listing)?;
    check_tags(args, listing)?;
    forget::plan(repository, listing, What::Lapsed(rules, scope.as_deref()), &context.zone())
}

fn named(args: &Args, listing: &Listing, context: &Context<'_>) -> Result<BTreeSet<ObjectId>> {
    let one = |address: &Address| {
        if let (When::Id(prefix), None) = (&address.when, &address.rest) {
            let unread = listing.damaged.iter().map(|(id, _)| id).chain(&listing.gone);
            let mut unread = unread.filter(|id| id.to_hex().starts_with(prefix.as_str()));
            let is_listed = listing.snapshots.iter().any(|info| info.id.to_hex().starts_with(prefix.as_str()));
            if let (Some(id), None, false) = (unread.next(), unread.next(), is_listed) {
                return Ok(*id);
            }
        }
        find::whole(listing, address, context).map(|info| info.id)
    };
    args.addresses.iter().map(one).collect()
}

/// Why a snapshot that was named stays.
fn stays(one: &Decision) -> Error {
    let id = one.id.short();
    match (one.holds.is_empty(), one.findings.first()) {
        (true, Some(finding)) => {
            let series = text::escape(&finding.series);
            Error::new(Kind::Failed, format!("snapshot {id} stays: it is the newest whole one of {series}"))
                .why("a series is never left without; nothing was changed")
                .fix("take another snapshot first; if the series shall end, leave this one as what is left of it")
        }
        _ => Error::new(Kind::Failed, format!("snapshot {id} stays: it is pinned"))
            .why("nothing was changed")
            .fix(format!("larder unpin {id}, then forget it")),
    }
}

fn scope(args: &Args, listing: &Listing) -> Result<Option<Vec<Vec<u8>>>> {
    if args.sources.is_empty() {
        return Ok(None);
    }
    let known = forget::series_in(listing);
    let wanted: Vec<Vec<u8>> = args.sources.iter().map(|name| name.clone().into_bytes()).collect();
    match wanted.iter().find(|name| !known.contains(*name)) {
        None => Ok(Some(wanted)),
        Some(name) => {
            let known: Vec<String> = known.iter().map(|name| text::escape(name)).collect();
            Err(Error::new(Kind::Missing, format!("there is no snapshot of {}", text::escape(name)))
                .fix(format!("the sources are: {}", known.join(", "))))
        }
    }
}

/// A tag that nothing has may be misspelt: where tags are all there is to keep by, nearly everything would go.
fn check_tags(args: &Args, listing: &Listing) -> Result<()> {
    let has =
        |tag: &String| listing.snapshots.iter().any(|info| info.standing.tags.iter().any(|t| t == tag.as_bytes()));
    let only_tags = args.keep.rules().is_some_and(|rules| rules.rules.len() == 1);
    match args.keep.tags.iter().find(|tag| only_tags && !has(tag)) {
        None => Ok(()),
        Some(tag) => {
            Err(Error::new(Kind::Missing, format!("no snapshot has the tag {}", text::escape(tag.as_bytes())))
                .why("nearly all would go")
                .fix("look at the tags: larder snapshots"))
        }
    }
}

/// What would be free, if that is asked for or quickly known.
fn freed(
    args: &Args,
    plan: &Plan,
    repository: &Repository,
    listing: &Listing,
    context: &Context<'_>,
) -> Result<Option<(u64, u64)>> {
    let removed: HashSet<ObjectId> = plan.removed().collect();
    // The plan of a prune tells it, too.
    let is_quick = args.dry_run && !args.prune && stats::removal_work(listing) <= FREED_WORK_MAX;
    if removed.is_empty() || !(args.freed || is_quick) {
        return Ok(None);
    }
    let gaps = Gaps::new(context);
    let catalogue = Catalogue::load(repository, gaps.job())?;
    gaps.job().phase("reading all trees", Some(listing.snapshots.len() as u64), None);
    let counted = stats::removal_of(&ChunkReader::new(repository, &catalogue), listing, &removed, gaps.job())?;
    // What could not be read is told; that what is freed is more than what was counted, is told with it.
    gaps.finish(0)?;
    Ok(Some(counted))
}
