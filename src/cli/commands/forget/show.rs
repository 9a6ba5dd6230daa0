//! What goes, what stays, and why.

use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::paint::Tone;
use super::super::super::table::{Align, Cell, Table};
use super::super::super::{find, json, render, time};
use super::{Args, calendar};
use crate::entry::Time;
use crate::error::Result;
use crate::id::ObjectId;
use crate::ops::forget::Plan;
use crate::ops::forget::policy::{Decision, Finding, Flaw, Hold, Outcome, Rule};
use crate::repo::SnapshotInfo;
use crate::text;

/// A plan, and what became of it.
pub(super) struct Shown<'a> {
    pub args: &'a Args,
    pub plan: &'a Plan,
    /// Whether it takes --force, which was not given.
    pub needs_force: bool,
    /// Bytes that nothing would need any more, and how much could not be read to know it.
    pub freed: Option<(u64, u64)>,
    /// Those that were pinned meanwhile.
    pub spared: Vec<ObjectId>,
    /// Whether it was done.
    pub is_done: bool,
}

/// Tells of snapshots that are damaged, and so stay; how the run ends then.
pub(super) fn tell_damaged(plan: &Plan, context: &Context<'_>) -> Result<Exit> {
    for (id, error, _) in plan.damaged.iter().filter(|(_, _, goes)| !goes) {
        let why = if error.reason().is_empty() { error.what() } else { error.reason() };
        find::warn(&format!("snapshot {} is damaged, takes no place and stays: {why}", id.short()), context)?;
    }
    Ok(if plan.damaged.iter().any(|(_, _, goes)| !goes) { Exit::Damage } else { Exit::Done })
}

impl Shown<'_> {
    pub fn tell(&self, context: &Context<'_>) -> Result<()> {
        if context.global.json {
            return context.output.json(&self.shape());
        }
        if self.is_done && context.global.quiet {
            return Ok(());
        }
        if self.args.calendar {
            context.output.text(&calendar::draw(self.plan, &context.zone()))?;
        } else {
            self.list(context)?;
        }
        self.sums(context)
    }

    fn list(&self, context: &Context<'_>) -> Result<()> {
        let (goes, zone) = (if self.is_done { "forgot" } else { "remove" }, context.zone());
        let columns = [("ACTION", Align::Left), ("ID", Align::Left), ("TIME", Align::Left), ("SOURCES", Align::Left)];
        let mut table = Table::new(&[&columns[..], &[("WHY", Align::Left)]].concat());
        let is_shown = |one: &Decision| !one.keeps || !self.is_done || context.global.verbose;
        let mut rows = 0;
        for (info, one) in self.plan.decided.iter().filter(|(_, one)| is_shown(one)) {
            let is_spared = self.spared.contains(&info.id);
            let (action, why) = match (one.keeps, is_spared) {
                (true, _) => (Cell::state(Tone::Good, "keep"), why(info, one)),
                (false, true) => (Cell::state(Tone::Good, "keep"), "pinned meanwhile".to_owned()),
                (false, false) => (Cell::state(Tone::Warn, goes), why(info, one)),
            };
            let sources: Vec<String> = info.summary.sources.iter().map(|source| text::escape(&source.name)).collect();
            let when = time::local(info.summary.time, &zone);
            table.row([action, info.id.short().into(), when.into(), sources.join(" ").into(), why.into()]);
            rows += 1;
        }
        for (id, ..) in self.plan.damaged.iter().filter(|(_, _, is_going)| *is_going) {
            let action = Cell::state(Tone::Warn, goes);
            table.row([action, id.short().into(), "?".into(), "".into(), "damaged; named".into()]);
            rows += 1;
        }
        if rows == 0 { Ok(()) } else { context.output.text(&format!("{}\n", table.to_text(context.paint()))) }
    }

    /// A line for each series, with how far it reaches back; then what all of it comes to.
    fn sums(&self, context: &Context<'_>) -> Result<()> {
        let (zone, now) = (context.zone(), context.world.now());
        for tally in &self.plan.tallies {
            let stay = tally.total - tally.removed;
            let oldest = self
                .oldest(&tally.series)
                .map(|oldest| format!(", the oldest of {} ({})", time::local(oldest, &zone), time::age(oldest, now)));
            let total = render::counted(tally.total as u64, "snapshot");
            let verb = if self.is_done { "went" } else { "would go" };
            context.output.line(&format!(
                "{}: {total}, {} {verb}, {} stay{}",
                text::escape(&tally.series),
                render::grouped(tally.removed as u64),
                render::grouped(stay as u64),
                oldest.unwrap_or_default()
            ))?;
        }
        let goes = self.plan.removed().filter(|id| !self.spared.contains(id)).count() as u64;
        if let Some(line) = self.freed_line(goes) {
            context.output.line(&line)?;
        }
        if self.args.dry_run && self.args.prune {
            // The plan of the prune follows, and then that nothing was changed.
            return context.output.line("");
        }
        context.output.line(&match (self.is_done, goes) {
            (false, _) if self.args.dry_run => "dry run: nothing was changed".to_owned(),
            (false, _) => "nothing was changed".to_owned(),
            (true, 0) => "nothing to forget".to_owned(),
            (true, _) => {
                format!("forgot {}; larder undelete lists what can be brought back", render::counted(goes, "snapshot"))
            }
        })
    }

    /// When the oldest one was taken that stays in a series, as far as something was decided about it.
    fn oldest(&self, series: &[u8]) -> Option<Time> {
        let in_series = |info: &SnapshotInfo| info.summary.sources.iter().any(|source| source.name == series);
        let stays =
            |(info, one): &&(SnapshotInfo, Decision)| in_series(info) && (one.keeps || self.spared.contains(&info.id));
        let is_all = self.args.addresses.is_empty();
        self.plan.decided.iter().find(stays).filter(|_| is_all).map(|(info, _)| info.summary.time)
    }

    fn freed_line(&self, goes: u64) -> Option<String> {
        let when = if self.is_done { "are now" } else { "would then be" };
        match self.freed {
            Some((bytes, 0)) => Some(format!("about {} {when} needed by no snapshot", text::size(bytes))),
            Some((bytes, _)) => Some(format!(
                "about {} {when} needed by no snapshot that can be read; some cannot, and may need it",
                text::size(bytes)
            )),
            None if goes > 0 && self.args.dry_run && !self.args.freed && !self.args.prune => Some(
                "how much no snapshot would then need was not counted, as it means reading all trees: add --freed"
                    .into(),
            ),
            None => None,
        }
    }

    fn shape(&self) -> json::Forget {
        let one = |(info, one): &(SnapshotInfo, Decision)| json::ForgetDecision {
            id: info.id.to_hex(),
            time: time::rfc3339(info.summary.time),
            sources: info.summary.sources.iter().map(|source| text::escape(&source.name)).collect(),
            keep: one.keeps || self.spared.contains(&info.id),
            flaw: one.flaw.map(flaw),
            reasons: one.holds.iter().map(hold).chain(one.findings.iter().map(finding)).collect(),
        };
        let damaged = |(id, error, goes): &(ObjectId, crate::error::Error, bool)| json::ForgetDamaged {
            id: id.to_hex(),
            why: error.to_string(),
            keep: !goes,
        };
        let series = self.plan.tallies.iter().map(|tally| json::ForgetSeries {
            name: text::escape(&tally.series),
            snapshots: tally.total as u64,
            removed: tally.removed as u64,
        });
        json::Forget {
            applied: self.is_done,
            needs_force: self.needs_force,
            snapshots: self.plan.decided.iter().map(one).collect(),
            damaged: self.plan.damaged.iter().map(damaged).collect(),
            series: series.collect(),
            spared: self.spared.iter().map(ObjectId::to_hex).collect(),
            freed_bytes: self.freed.map(|(bytes, _)| bytes),
            freed_gaps: self.freed.map_or(0, |(_, gaps)| gaps),
        }
    }
}

/// Why it stays, or goes, in a line.
fn why(info: &SnapshotInfo, one: &Decision) -> String {
    let mut parts: Vec<String> = one.holds.iter().map(held).collect();
    let mut of_rules: Vec<(String, Vec<&[u8]>)> = Vec::new();
    for finding in &one.findings {
        let Some(said) = (if one.keeps { Some(keeping(finding)) } else { lapsed(finding) }) else { continue };
        match of_rules.iter_mut().find(|(other, _)| *other == said) {
            Some((_, series)) => series.push(&finding.series),
            None => of_rules.push((said, vec![&finding.series])),
        }
    }
    // What holds in all its series is said once.
    parts.extend(of_rules.into_iter().map(|(said, series)| match series.len() == info.summary.sources.len() {
        true => said,
        false => format!("{} in {}", said, words(series)),
    }));
    if parts.is_empty() {
        parts.push(if one.findings.is_empty() { "named" } else { "no rule keeps it" }.to_owned());
    }
    let flawed = one.flaw.map(|flaw| match flaw {
        Flaw::Partial => " (partial: takes no place)",
        Flaw::DrillFailed => " (its drill failed: takes no place)",
        Flaw::Damaged => " (damaged: takes no place)",
    });
    parts.join(", ") + flawed.unwrap_or_default()
}

fn words(series: Vec<&[u8]>) -> String {
    series.into_iter().map(text::escape).collect::<Vec<_>>().join(" ")
}

fn held(hold: &Hold) -> String {
    match hold {
        Hold::Pinned => "pinned".to_owned(),
        Hold::Tag(tag) => format!("tag {}", text::escape(tag)),
        Hold::Unconfirmed => "unconfirmed".to_owned(),
        Hold::Future => "its time is still to come".to_owned(),
        Hold::NoDate => "its time is on no calendar".to_owned(),
        Hold::NoSeries => "of no source".to_owned(),
        Hold::Elsewhere(series) => format!("holds {} as well", text::escape(series)),
    }
}

/// Such as "daily 3/7".
fn keeping(finding: &Finding) -> String {
    let nth = match finding.outcome {
        Outcome::Keeps(nth) => nth,
        _ => 0,
    };
    match finding.rule {
        Rule::Min(1) => "newest".to_owned(),
        Rule::Min(of) => format!("newest {nth}/{of}"),
        Rule::Last(of) => format!("last {nth}/{of}"),
        Rule::Within(span) => format!("within {span}"),
        Rule::Count(period, of) => format!("{} {nth}/{of}", period.adverb()),
        Rule::EachWithin(period, span) => format!("{} within {span}", period.adverb()),
    }
}

/// Such as "past 7 daily" or "weekly: 2026-W46 has e5aa1234"; the least that stays is no reason to go.
fn lapsed(finding: &Finding) -> Option<String> {
    if let Outcome::Taken(by) = finding.outcome {
        return Some(format!("{} has {}", finding.slot, by.short()));
    }
    Some(match finding.rule {
        Rule::Min(_) => return None,
        Rule::Last(of) => format!("past the last {of}"),
        Rule::Within(span) => format!("older than {span}"),
        Rule::Count(period, of) => format!("past {of} {}", period.adverb()),
        Rule::EachWithin(period, span) => format!("{}: older than {span}", period.adverb()),
    })
}

fn flaw(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::Partial => "partial",
        Flaw::DrillFailed => "drill-failed",
        Flaw::Damaged => "damaged",
    }
}

fn hold(hold: &Hold) -> json::ForgetReason {
    let (rule, series, amount) = match hold {
        Hold::Pinned => ("pinned", None, None),
        Hold::Tag(tag) => ("tag", None, Some(text::escape(tag))),
        Hold::Unconfirmed => ("unconfirmed", None, None),
        Hold::Future => ("future", None, None),
        Hold::NoDate => ("no-date", None, None),
        Hold::NoSeries => ("no-source", None, None),
        Hold::Elsewhere(series) => ("other-source", Some(text::escape(series)), None),
    };
    json::ForgetReason { rule: rule.to_owned(), series, amount, slot: None, nth: None, by: None }
}

fn finding(finding: &Finding) -> json::ForgetReason {
    let (rule, amount) = match finding.rule {
        Rule::Min(of) => ("min".to_owned(), of.to_string()),
        Rule::Last(of) => ("last".to_owned(), of.to_string()),
        Rule::Within(span) => ("within".to_owned(), span.to_string()),
        Rule::Count(period, of) => (period.adverb().to_owned(), of.to_string()),
        Rule::EachWithin(period, span) => (format!("within-{}", period.adverb()), span.to_string()),
    };
    let (nth, by) = match finding.outcome {
        Outcome::Keeps(nth) => (Some(nth as u64), None),
        Outcome::Taken(by) => (None, Some(by.to_hex())),
        Outcome::Past => (None, None),
    };
    let slot = (!finding.slot.is_empty()).then(|| finding.slot.clone());
    json::ForgetReason { rule, series: Some(text::escape(&finding.series)), amount: Some(amount), slot, nth, by }
}
