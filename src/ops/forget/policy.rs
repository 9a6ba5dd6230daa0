//! Which snapshots the rules keep, and why. Plain functions of facts, rules and a moment: nothing is read, nothing is
//! removed here.
//!
//! What always holds, and is tested with random facts and rules:
//! - The newest whole snapshot of each series stays, and so do pinned ones, and all that is not certain: unconfirmed,
//!   from the future, without a date, of no source.
//! - Only whole snapshots fill the places that rules give. A flawed one (partial, also since a database was damaged, or
//!   whose drill failed, or of which a check found something lost) pushes nothing out. It stays as long as it would if it were whole, beside those that are: what
//!   it has may be all there is of that night, but it does not stay for ever.
//! - More rules, or larger numbers, never remove more. What is done twice changes nothing the second time. The order in
//!   which facts come does not matter.
//! - A snapshot of several sources stays while the series of one of them needs it.
//!
//! Hours, days, weeks, months and years are those of one zone, that of `now`: of whoever asks, who reads the times in
//! the same zone. On it time runs forward, so every day has one newest snapshot, also where a series comes from clients
//! in several zones, or from one that travels. What a snapshot tells of its own zone is for its readers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{Timestamp, Zoned};

use super::period::{Period, Slot, Span};
use crate::clock::timestamp;
use crate::entry::Time;
use crate::id::ObjectId;

/// What the rules look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which snapshot.
    pub id: ObjectId,
    /// When it was begun.
    pub time: Time,
    /// The series that it belongs to.
    pub series: Vec<Vec<u8>>,
    /// Its tags.
    pub tags: Vec<Vec<u8>>,
    /// Whether it is pinned.
    pub is_pinned: bool,
    /// How far it can be relied on.
    pub state: State,
}

/// How far a snapshot can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As far as anybody knows it is all that was to be saved.
    Whole,
    /// It is complete, but not all that it should be.
    Flawed(Flaw),
    /// Nobody has said that it is complete.
    Unconfirmed,
}

/// What is wrong with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Something could not be read when it was taken, or a database was damaged then.
    Partial,
    /// A drill of it failed, and none has made that good.
    DrillFailed,
    /// A check found that something of it is lost, and none that it is back.
    Damaged,
}

/// Something that keeps snapshots of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The newest so many, whatever the other rules say.
    Min(usize),
    /// The last so many.
    Last(usize),
    /// All that are not older.
    Within(Span),
    /// The newest one of each of so many hours, days, …, that have one.
    Count(Period, usize),
    /// The newest one of each hour, day, …, of those that are not older.
    EachWithin(Period, Span),
}

/// What to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// For each series by itself. At least one snapshot stays of each, whether a [`Rule::Min`] is here or not.
    pub rules: Vec<Rule>,
    /// Snapshots with one of these tags stay.
    pub tags: Vec<Vec<u8>>,
}

/// What keeps a snapshot besides rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is pinned.
    Pinned,
    /// It has a tag that is kept.
    Tag(Vec<u8>),
    /// Nobody has said that it is complete: a run may be about to.
    Unconfirmed,
    /// It says that it was taken later than now, so a clock is wrong.
    Future,
    /// No calendar has the time that it says.
    NoDate,
    /// It belongs to no series.
    NoSeries,
    /// It belongs to this series too, which was not asked about.
    Elsewhere(Vec<u8>),
}

/// What a rule says about a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In which series.
    pub series: Vec<u8>,
    /// Which rule.
    pub rule: Rule,
    /// The hour, day, …, that the rule looked at; empty where it looks at none.
    pub slot: String,
    /// What it says.
    pub outcome: Outcome,
}

/// What a rule does with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Keeps it, as the n-th, from 1.
    Keeps(usize),
    /// Does not keep it: the numbers are used up, or it is too old.
    Past,
    /// Does not keep it: it keeps this one of the same hour, day, …, instead.
    Taken(ObjectId),
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which snapshot.
    pub id: ObjectId,
    /// Whether it stays.
    pub keeps: bool,
    /// What keeps it besides rules.
    pub holds: Vec<Hold>,
    /// What rules say: those that keep it if it stays, else all.
    pub findings: Vec<Finding>,
    /// What is wrong with it: then it fills no place of a rule.
    pub flaw: Option<Flaw>,
}

/// A snapshot that has a date.
struct Dated<'a> {
    facts: &'a Facts,
    moment: Zoned,
}

/// What becomes of each snapshot; of those of other series nothing is said, if `scope` names some.
pub fn decide(facts: &[Facts], rules: &Rules, scope: Option<&[Vec<u8>]>, now: &Zoned) -> Vec<Decision> {
    let in_scope = |name: &[u8]| scope.is_none_or(|scope| scope.iter().any(|other| other == name));
    let series = series(facts, now);
    let mut findings: HashMap<ObjectId, Vec<Finding>> = HashMap::new();
    for (name, snapshots) in series.iter().filter(|(name, _)| in_scope(name)) {
        for (id, finding) in of_series(name, snapshots, rules, now) {
            findings.entry(id).or_default().push(finding);
        }
    }
    let concerned = |facts: &&Facts| scope.is_none() || facts.series.iter().any(|name| in_scope(name));
    let decide_one = |facts: &Facts| {
        let mut holds = holds(facts, &rules.tags, now);
        holds.extend(facts.series.iter().filter(|name| !in_scope(name)).cloned().map(Hold::Elsewhere));
        let mut findings = findings.remove(&facts.id).unwrap_or_default();
        let is_kept = findings.iter().any(Finding::keeps);
        let keeps = is_kept || !holds.is_empty();
        findings.retain(|finding| finding.keeps() == is_kept && (is_kept || !keeps));
        Decision { id: facts.id, keeps, holds, findings, flaw: facts.flaw() }
    };
    facts.iter().filter(concerned).map(decide_one).collect()
}

/// What becomes of the snapshots that somebody wants removed by name. The newest whole one of a series stays, and where
/// there is no whole one the newest that no drill failed to get back and no check found damaged; so does what is pinned.
pub fn decide_named(facts: &[Facts], named: &BTreeSet<ObjectId>, now: &Zoned) -> Vec<Decision> {
    let mut findings: HashMap<ObjectId, Vec<Finding>> = HashMap::new();
    for (name, snapshots) in &series(facts, now) {
        let (whole, mut any) = candidates(snapshots);
        // What cannot be had back is nothing to be left with.
        any.retain(|dated| !matches!(dated.facts.flaw(), Some(Flaw::DrillFailed | Flaw::Damaged)));
        let candidates = if whole.is_empty() { &any } else { &whole };
        for (id, slot, outcome) in apply(Rule::Min(1), candidates, now).into_iter().take(1) {
            let finding = Finding { series: name.to_vec(), rule: Rule::Min(1), slot, outcome };
            findings.entry(id).or_default().push(finding);
        }
    }
    let decide_one = |facts: &Facts| {
        let holds: Vec<Hold> = facts.is_pinned.then_some(Hold::Pinned).into_iter().collect();
        let findings = findings.remove(&facts.id).unwrap_or_default();
        Decision {
            id: facts.id,
            keeps: !(holds.is_empty() && findings.is_empty()),
            holds,
            findings,
            flaw: facts.flaw(),
        }
    };
    facts.iter().filter(|facts| named.contains(&facts.id)).map(decide_one).collect()
}

impl Facts {
    fn flaw(&self) -> Option<Flaw> {
        match self.state {
            State::Flawed(flaw) => Some(flaw),
            _ => None,
        }
    }
}

impl Finding {
    fn keeps(&self) -> bool {
        matches!(self.outcome, Outcome::Keeps(_))
    }
}

fn holds(facts: &Facts, tags: &[Vec<u8>], now: &Zoned) -> Vec<Hold> {
    let mut out = Vec::new();
    out.extend(facts.is_pinned.then_some(Hold::Pinned));
    out.extend(facts.tags.iter().filter(|tag| tags.contains(tag)).cloned().map(Hold::Tag));
    out.extend((facts.state == State::Unconfirmed).then_some(Hold::Unconfirmed));
    out.extend(facts.series.is_empty().then_some(Hold::NoSeries));
    out.extend(match timestamp(facts.time) {
        None => Some(Hold::NoDate),
        Some(moment) if moment > now.timestamp() => Some(Hold::Future),
        Some(_) => None,
    });
    out
}

/// The snapshots of each series that are certain and have a date that was, newest first.
fn series<'a>(facts: &'a [Facts], now: &Zoned) -> BTreeMap<&'a [u8], Vec<Dated<'a>>> {
    let mut out = BTreeMap::<&[u8], Vec<Dated<'_>>>::new();
    let mut sorted: Vec<&Facts> = facts.iter().filter(|facts| facts.state != State::Unconfirmed).collect();
    // Of two of the same moment the greater name is the newer one, as in lists.
    sorted.sort_by_key(|facts| std::cmp::Reverse((facts.time, facts.id)));
    for facts in sorted {
        let Some(moment) = timestamp(facts.time).filter(|moment| *moment <= now.timestamp()) else { continue };
        let moment = moment.to_zoned(now.time_zone().clone());
        for name in facts.series.iter().collect::<BTreeSet<_>>() {
            out.entry(name).or_default().push(Dated { facts, moment: moment.clone() });
        }
    }
    out
}

/// Those that fill places, and those that would if no flaw counted.
fn candidates<'a, 'b>(snapshots: &'b [Dated<'a>]) -> (Vec<&'b Dated<'a>>, Vec<&'b Dated<'a>>) {
    let whole = snapshots.iter().filter(|dated| dated.facts.state == State::Whole);
    (whole.collect(), snapshots.iter().collect())
}

/// What all rules say about the snapshots of one series.
fn of_series(name: &[u8], snapshots: &[Dated<'_>], rules: &Rules, now: &Zoned) -> Vec<(ObjectId, Finding)> {
    let (whole, any) = candidates(snapshots);
    let flawed: BTreeSet<ObjectId> = any.iter().filter(|d| d.facts.flaw().is_some()).map(|d| d.facts.id).collect();
    let has_min = rules.rules.iter().any(|rule| matches!(rule, Rule::Min(n) if *n > 0));
    let min = (!has_min).then_some(Rule::Min(1));
    let mut out = Vec::new();
    for rule in min.into_iter().chain(rules.rules.iter().copied()) {
        let of_whole = apply(rule, &whole, now);
        let of_flawed = apply(rule, &any, now).into_iter().filter(|(id, ..)| flawed.contains(id));
        for (id, slot, outcome) in of_whole.into_iter().chain(of_flawed) {
            out.push((id, Finding { series: name.to_vec(), rule, slot, outcome }));
        }
    }
    out
}

/// What one rule says about snapshots, the newest of which comes first.
fn apply(rule: Rule, snapshots: &[&Dated<'_>], now: &Zoned) -> Vec<(ObjectId, String, Outcome)> {
    let is_within =
        |dated: &Dated<'_>, limit: Option<Timestamp>| limit.is_none_or(|limit| dated.moment.timestamp() >= limit);
    let by_number = |keeps: &dyn Fn(usize, &Dated<'_>) -> bool| {
        let one = |(n, dated): (usize, &&Dated<'_>)| {
            let outcome = if keeps(n, dated) { Outcome::Keeps(n + 1) } else { Outcome::Past };
            (dated.facts.id, String::new(), outcome)
        };
        snapshots.iter().enumerate().map(one).collect()
    };
    match rule {
        Rule::Min(count) | Rule::Last(count) => by_number(&|n, _| n < count),
        Rule::Within(span) => {
            let limit = span.before(now);
            by_number(&|_, dated| is_within(dated, limit))
        }
        Rule::Count(period, count) => by_slot(period, snapshots, &|filled, _| filled < count),
        Rule::EachWithin(period, span) => {
            let limit = span.before(now);
            by_slot(period, snapshots, &|_, dated| is_within(dated, limit))
        }
    }
}

/// The newest one fills its hour, day, …, as long as there is `room`, which is told how many are filled.
fn by_slot(
    period: Period,
    snapshots: &[&Dated<'_>],
    room: &dyn Fn(usize, &Dated<'_>) -> bool,
) -> Vec<(ObjectId, String, Outcome)> {
    let mut filled = HashMap::<Slot, ObjectId>::new();
    let mut out = Vec::new();
    for dated in snapshots {
        let slot = period.slot(&dated.moment);
        let outcome = match filled.get(&slot) {
            Some(by) => Outcome::Taken(*by),
            None if room(filled.len(), dated) => {
                filled.insert(slot, dated.facts.id);
                Outcome::Keeps(filled.len())
            }
            None => Outcome::Past,
        };
        out.push((dated.facts.id, period.label(&dated.moment), outcome));
    }
    out
}

/// How many snapshots of a series there are, and how many of them go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Its name.
    pub series: Vec<u8>,
    /// Snapshots there are.
    pub total: usize,
    /// Snapshots that go.
    pub removed: usize,
}

impl Tally {
    /// Whether more goes at once than anybody expects of a rule that has been there for long: more than 30 %, and more
    /// than a handful.
    pub fn is_much(&self) -> bool {
        self.removed > 5 && self.removed * 10 > self.total * 3
    }
}

/// The tally of each series that something was decided about.
pub fn tally(facts: &[Facts], decisions: &[Decision]) -> Vec<Tally> {
    let removed: BTreeMap<ObjectId, bool> = decisions.iter().map(|one| (one.id, !one.keeps)).collect();
    let mut out = BTreeMap::<&[u8], Tally>::new();
    let mut concerned = BTreeSet::<&[u8]>::new();
    for facts in facts {
        for name in facts.series.iter().collect::<BTreeSet<_>>() {
            let tally = out.entry(name).or_insert_with(|| Tally { series: name.clone(), total: 0, removed: 0 });
            tally.total += 1;
            if let Some(goes) = removed.get(&facts.id) {
                concerned.insert(name);
                tally.removed += usize::from(*goes);
            }
        }
    }
    out.retain(|name, _| concerned.contains(name));
    out.into_values().collect()
}
