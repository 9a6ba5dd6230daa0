use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use proptest::prelude::*;

use super::super::period::{Period, Span};
use super::super::policy::{
    Decision, Facts, Flaw, Hold, Outcome, Rule, Rules, State, Tally, decide, decide_named, tally,
};
use crate::entry::Time;
use crate::id::ObjectId;

const NOW: &str = "2026-11-21T04:00+01:00[Europe/Berlin]";

fn now() -> Zoned {
    NOW.parse().unwrap()
}

fn id(n: usize) -> ObjectId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    ObjectId::new(bytes)
}

fn facts(n: usize, time: Time) -> Facts {
    Facts { id: id(n), time, series: vec![b"a".to_vec()], tags: vec![], is_pinned: false, state: State::Whole }
}

fn at(timestamp: Timestamp) -> Time {
    Time { seconds: timestamp.as_second(), nanos: 0 }
}

/// Snapshots at these times of the zone of `now`, numbered in this order; behind a time may stand words.
fn scene(lines: &str, now: &Zoned) -> Vec<Facts> {
    let one = |(n, line): (usize, &str)| {
        let mut words = line.split_whitespace();
        let (date, time) = (words.next().unwrap(), words.next().unwrap());
        let text = format!("{date}T{time}");
        let moment = match text.parse::<Timestamp>() {
            Ok(timestamp) => timestamp,
            Err(_) => now.time_zone().to_timestamp(text.parse().unwrap()).unwrap(),
        };
        let mut facts = facts(n, at(moment));
        for word in words {
            match word.split_once(':') {
                None if word == "pinned" => facts.is_pinned = true,
                None if word == "partial" => facts.state = State::Flawed(Flaw::Partial),
                None if word == "unconfirmed" => facts.state = State::Unconfirmed,
                Some(("of", names)) => facts.series = names.split(',').map(|name| name.into()).collect(),
                Some(("tag", tag)) => facts.tags.push(tag.into()),
                _ => panic!("{word}"),
            }
        }
        facts
    };
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate().map(one).collect()
}

fn rules(rules: &[Rule]) -> Rules {
    Rules { rules: rules.to_vec(), tags: vec![] }
}

/// A line for each snapshot: its number, whether it stays, and why.
fn told(decisions: &[Decision]) -> String {
    let number = |id: &ObjectId| u64::from_be_bytes(id.as_bytes()[..8].try_into().unwrap());
    let mut out = String::new();
    for one in decisions {
        let holds = one.holds.iter().map(|hold| match hold {
            Hold::Tag(tag) => format!("tag {}", String::from_utf8_lossy(tag)),
            Hold::Elsewhere(name) => format!("elsewhere {}", String::from_utf8_lossy(name)),
            other => format!("{other:?}").to_lowercase(),
        });
        let findings = one.findings.iter().map(|finding| {
            let name = match finding.rule {
                Rule::Min(_) => "min",
                Rule::Last(_) => "last",
                Rule::Within(_) => "within",
                Rule::Count(period, _) | Rule::EachWithin(period, _) => period.adverb(),
            };
            let slot = if finding.slot.is_empty() { String::new() } else { format!(" {}", finding.slot) };
            let outcome = match finding.outcome {
                Outcome::Keeps(n) => format!(" {n}"),
                Outcome::Past => " past".to_owned(),
                Outcome::Taken(by) => format!(" by {}", number(&by)),
            };
            let series = if finding.series == b"a" { String::new() } else { format!("{}: ", text(&finding.series)) };
            format!("{series}{name}{slot}{outcome}")
        });
        let why: Vec<String> = holds.chain(findings).collect();
        let flaw = if one.flaw.is_some() { "~" } else { "" };
        out += &format!(
            "{}{} {}\n",
            if one.keeps { "+" } else { "-" },
            flaw,
            format_args!("{} {}", number(&one.id), why.join(", "))
        );
    }
    out
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[track_caller]
fn golden(now: &str, lines: &str, given: &[Rule], expected: &str) {
    let now: Zoned = now.parse().unwrap();
    let told = told(&decide(&scene(lines, &now), &rules(given), None, &now));
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), expected, "\n{told}");
}

#[test]
fn days_weeks_and_months_keep_their_newest() {
    golden(
        NOW,
        "2026-09-30 03:00
         2026-10-31 03:00
         2026-11-14 03:00
         2026-11-15 03:00
         2026-11-18 03:00
         2026-11-19 03:00
         2026-11-20 03:00
         2026-11-20 15:00
         2026-11-21 03:00",
        &[Rule::Count(Period::Day, 3), Rule::Count(Period::Week, 2), Rule::Count(Period::Month, 2)],
        "- 0 min past, daily 2026-09-30 past, weekly 2026-W40 past, monthly 2026-09 past
         + 1 monthly 2026-10 2
         - 2 min past, daily 2026-11-14 past, weekly 2026-W46 by 3, monthly 2026-11 by 8
         + 3 weekly 2026-W46 2
         - 4 min past, daily 2026-11-18 past, weekly 2026-W47 by 8, monthly 2026-11 by 8
         + 5 daily 2026-11-19 3
         - 6 min past, daily 2026-11-20 by 7, weekly 2026-W47 by 8, monthly 2026-11 by 8
         + 7 daily 2026-11-20 2
         + 8 min 1, daily 2026-11-21 1, weekly 2026-W47 1, monthly 2026-11 1",
    );
}

#[test]
fn a_night_of_25_hours_has_each_hour_and_is_one_day() {
    let night = "2026-10-24 23:30
         2026-10-25 00:30:00Z
         2026-10-25 01:30:00Z
         2026-10-25 03:30";
    let now = "2026-10-25T04:00+01:00[Europe/Berlin]";
    golden(
        now,
        night,
        &[Rule::Count(Period::Hour, 3)],
        "- 0 min past, hourly 2026-10-24 23:00 CEST past
         + 1 hourly 2026-10-25 02:00 CEST 3
         + 2 hourly 2026-10-25 02:00 CET 2
         + 3 min 1, hourly 2026-10-25 03:00 CET 1",
    );
    golden(
        now,
        night,
        &[Rule::Count(Period::Day, 7)],
        "+ 0 daily 2026-10-24 2
         - 1 min past, daily 2026-10-25 by 3
         - 2 min past, daily 2026-10-25 by 3
         + 3 min 1, daily 2026-10-25 1",
    );
}

#[test]
fn a_night_of_23_hours_is_a_day_of_seven() {
    // Seven days before 04:00 summer time is 04:00 winter time: not 168 hours but 167.
    golden(
        "2026-04-02T04:00+02:00[Europe/Berlin]",
        "2026-03-26 03:59
         2026-03-26 04:00
         2026-03-29 03:00
         2026-04-02 03:00",
        &[Rule::Within(Span::days(7))],
        "- 0 min past, within past
         + 1 within 3
         + 2 within 2
         + 3 min 1, within 1",
    );
}

#[test]
fn the_last_week_of_a_year_may_be_the_first_of_the_next() {
    golden(
        "2027-01-05T04:00+01:00[Europe/Berlin]",
        "2026-12-27 03:00
         2026-12-28 03:00
         2026-12-31 23:59:59
         2027-01-01 00:00
         2027-01-03 23:59:59
         2027-01-04 00:00",
        &[Rule::Count(Period::Week, 2), Rule::Count(Period::Year, 2)],
        "- 0 min past, weekly 2026-W52 past, yearly 2026 by 2
         - 1 min past, weekly 2026-W53 by 4, yearly 2026 by 2
         + 2 yearly 2026 2
         - 3 min past, weekly 2026-W53 by 4, yearly 2027 by 5
         + 4 weekly 2026-W53 2
         + 5 min 1, weekly 2027-W01 1, yearly 2027 1",
    );
}

#[test]
fn of_one_second_the_greater_name_is_the_newer() {
    golden(
        NOW,
        "2026-11-20 03:00
         2026-11-20 03:00
         2026-11-20 03:00",
        &[Rule::Last(2), Rule::Count(Period::Hour, 5)],
        "- 0 min past, last past, hourly 2026-11-20 03:00 CET by 2
         + 1 last 2
         + 2 min 1, last 1, hourly 2026-11-20 03:00 CET 1",
    );
}

#[test]
fn what_is_not_whole_or_not_certain_fills_no_place() {
    golden(
        NOW,
        "2026-11-16 03:00
         2026-11-17 03:00
         2026-11-18 03:00 partial
         2026-11-18 04:00 partial
         2026-11-19 03:00
         2026-11-20 03:00 unconfirmed
         2026-11-21 03:00 partial
         2026-11-21 05:00",
        &[Rule::Count(Period::Day, 3)],
        "+ 0 daily 2026-11-16 3
         + 1 daily 2026-11-17 2
         -~ 2 min past, daily 2026-11-18 by 3
         +~ 3 daily 2026-11-18 3
         + 4 min 1, daily 2026-11-19 1
         + 5 unconfirmed
         +~ 6 min 1, daily 2026-11-21 1
         + 7 future",
    );
}

#[test]
fn pins_and_tags_stay_and_take_no_place_from_others() {
    let lines = "2026-11-10 03:00 pinned
         2026-11-11 03:00 tag:release tag:b
         2026-11-19 03:00
         2026-11-20 03:00 pinned
         2026-11-21 03:00";
    let given = Rules { rules: vec![Rule::Last(2)], tags: vec![b"release".to_vec()] };
    let told = told(&decide(&scene(lines, &now()), &given, None, &now()));
    assert_eq!(told, "+ 0 pinned\n+ 1 tag release\n- 2 min past, last past\n+ 3 pinned, last 2\n+ 4 min 1, last 1\n",);
}

#[test]
fn each_day_of_a_span_keeps_its_newest() {
    golden(
        NOW,
        "2026-11-18 03:30
         2026-11-18 05:00
         2026-11-18 22:00
         2026-11-20 03:00
         2026-11-21 03:00",
        &[Rule::EachWithin(Period::Day, Span::days(3)), Rule::Min(2)],
        "- 0 daily 2026-11-18 by 2, min past
         - 1 daily 2026-11-18 by 2, min past
         + 2 daily 2026-11-18 3
         + 3 daily 2026-11-20 2, min 2
         + 4 daily 2026-11-21 1, min 1",
    );
}

#[test]
fn a_snapshot_of_several_sources_stays_while_one_series_needs_it() {
    let lines = "2026-11-18 03:00 of:a,b
         2026-11-19 03:00 of:a
         2026-11-20 03:00 of:a
         2026-11-21 03:00 of:c";
    let facts = scene(lines, &now());
    let keep_last = rules(&[Rule::Last(1)]);
    let all = told(&decide(&facts, &keep_last, None, &now()));
    assert_eq!(all, "+ 0 b: min 1, b: last 1\n- 1 min past, last past\n+ 2 min 1, last 1\n+ 3 c: min 1, c: last 1\n");
    let scope = [b"a".to_vec()];
    let some = decide(&facts, &keep_last, Some(&scope), &now());
    assert_eq!(told(&some), "+ 0 elsewhere b\n- 1 min past, last past\n+ 2 min 1, last 1\n");
    assert_eq!(tally(&facts, &some)[0], Tally { series: b"a".to_vec(), total: 3, removed: 1 });
}

#[test]
fn what_no_calendar_holds_and_what_is_of_no_source_stays() {
    let mut odd = vec![facts(0, Time { seconds: i64::MIN, nanos: 0 }), facts(1, Time { seconds: i64::MAX, nanos: 5 })];
    odd.push(Facts { series: vec![], ..facts(2, Time::default()) });
    let told = told(&decide(&odd, &rules(&[Rule::Last(1)]), None, &now()));
    assert_eq!(told, "+ 0 nodate\n+ 1 nodate\n+ 2 noseries\n");
}

#[test]
fn what_is_named_goes_but_not_the_newest_nor_what_is_pinned() {
    let lines = "2026-11-17 03:00 pinned
         2026-11-18 03:00
         2026-11-19 03:00 of:a,b
         2026-11-20 03:00
         2026-11-21 03:00 partial
         2026-11-20 03:00 of:c partial
         2026-11-21 03:00 of:c partial";
    let facts = scene(lines, &now());
    let named: BTreeSet<ObjectId> = facts.iter().map(|facts| facts.id).collect();
    assert_eq!(
        told(&decide_named(&facts, &named, &now())),
        "+ 0 pinned\n- 1 \n+ 2 b: min 1\n+ 3 min 1\n-~ 4 \n-~ 5 \n+~ 6 c: min 1\n"
    );
}

#[test]
fn much_is_more_than_three_in_ten_and_more_than_five() {
    let is_much = |total, removed| Tally { series: vec![], total, removed }.is_much();
    assert!([(20, 6), (12, 5), (6, 5), (1, 1), (100, 30)].iter().all(|(total, removed)| !is_much(*total, *removed)));
    assert!([(10, 6), (7, 6), (20, 7), (100, 31)].iter().all(|(total, removed)| is_much(*total, *removed)));
}

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![
        6 => Just(State::Whole),
        1 => Just(State::Flawed(Flaw::Partial)),
        1 => Just(State::Flawed(Flaw::DrillFailed)),
        1 => Just(State::Flawed(Flaw::Damaged)),
        1 => Just(State::Unconfirmed),
    ]
}

/// Times around a night of 25 hours, mostly; also far away, and to come.
fn any_scene() -> impl Strategy<Value = Vec<Facts>> {
    let hours = prop_oneof![8 => -600_i64..2, 3 => -30_000_i64..40, 1 => Just(i64::MAX / 3600)];
    let series = prop::sample::subsequence(vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()], 0..3);
    let tags = prop::sample::subsequence(vec![b"x".to_vec(), b"y".to_vec()], 0..2);
    let one = (hours, 0..4_i64, series, tags, prop::bool::weighted(0.1), any_state());
    prop::collection::vec(one, 0..40).prop_map(|all| {
        let one = |(n, (hours, quarters, series, tags, is_pinned, state))| {
            let seconds = now()
                .timestamp()
                .as_second()
                .saturating_add(i64::saturating_mul(hours, 3600).saturating_add(quarters * 900));
            Facts { series, tags, is_pinned, state, ..facts(n, Time { seconds, nanos: 0 }) }
        };
        all.into_iter().enumerate().map(one).collect()
    })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let period = || prop::sample::select(Period::ALL.to_vec());
    let span =
        || (0..3_u32, 0..40_u32, 0..48_u32).prop_map(|(months, days, hours)| Span { years: 0, months, days, hours });
    prop_oneof![
        (0..5_usize).prop_map(Rule::Min),
        (0..9_usize).prop_map(Rule::Last),
        span().prop_map(Rule::Within),
        (period(), 0..9_usize).prop_map(|(period, n)| Rule::Count(period, n)),
        (period(), span()).prop_map(|(period, span)| Rule::EachWithin(period, span)),
    ]
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let tags = prop::sample::subsequence(vec![b"x".to_vec(), b"y".to_vec()], 0..2);
    (prop::collection::vec(any_rule(), 0..4), tags).prop_map(|(rules, tags)| Rules { rules, tags })
}

fn larger(rule: Rule, by: u32) -> Rule {
    let longer = |span: Span| Span { days: span.days + by, ..span };
    match rule {
        Rule::Min(n) => Rule::Min(n + by as usize),
        Rule::Last(n) => Rule::Last(n + by as usize),
        Rule::Within(span) => Rule::Within(longer(span)),
        Rule::Count(period, n) => Rule::Count(period, n + by as usize),
        Rule::EachWithin(period, span) => Rule::EachWithin(period, longer(span)),
    }
}

fn kept(facts: &[Facts], rules: &Rules) -> BTreeSet<ObjectId> {
    decide(facts, rules, None, &now()).iter().filter(|one| one.keeps).map(|one| one.id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn more_rules_and_larger_numbers_never_remove_more(
        facts in any_scene(), given in any_rules(), more in any_rules(), which in any::<prop::sample::Index>(), by in 0..5_u32,
    ) {
        let before = kept(&facts, &given);
        let both = Rules {
            rules: given.rules.iter().chain(&more.rules).copied().collect(),
            tags: given.tags.iter().chain(&more.tags).cloned().collect(),
        };
        prop_assert!(before.is_subset(&kept(&facts, &both)));
        if !given.rules.is_empty() {
            let mut wider = given.clone();
            let rule = which.get_mut(&mut wider.rules);
            *rule = larger(*rule, by);
            prop_assert!(before.is_subset(&kept(&facts, &wider)), "{wider:?}");
        }
        let mut pinned = facts.clone();
        if !pinned.is_empty() {
            which.get_mut(&mut pinned).is_pinned = true;
        }
        prop_assert!(before.is_subset(&kept(&pinned, &given)));
    }

    #[test]
    fn the_newest_whole_one_and_pinned_and_uncertain_ones_stay(facts in any_scene(), given in any_rules()) {
        let kept = kept(&facts, &given);
        let now = now().timestamp().as_second();
        for name in [b"a", b"b", b"c"] {
            let whole = facts.iter().filter(|f| f.series.contains(&name.to_vec()) && f.state == State::Whole);
            let newest = whole.filter(|f| f.time.seconds <= now).max_by_key(|f| (f.time, f.id));
            prop_assert!(newest.is_none_or(|newest| kept.contains(&newest.id)));
        }
        for f in &facts {
            let is_uncertain = f.is_pinned || f.state == State::Unconfirmed || f.time.seconds > now || f.series.is_empty();
            prop_assert!(!is_uncertain || kept.contains(&f.id), "{f:?}");
        }
    }

    #[test]
    fn what_is_done_twice_changes_nothing(facts in any_scene(), given in any_rules()) {
        let first = kept(&facts, &given);
        let rest: Vec<Facts> = facts.into_iter().filter(|f| first.contains(&f.id)).collect();
        prop_assert_eq!(kept(&rest, &given), first);
    }

    #[test]
    fn only_whole_ones_that_were_fill_places(facts in any_scene(), given in any_rules()) {
        let whole: Vec<Facts> = facts
            .iter()
            .filter(|f| f.state == State::Whole && f.time.seconds <= now().timestamp().as_second())
            .cloned()
            .collect();
        let kept = kept(&facts, &given);
        let alone: BTreeSet<ObjectId> =
            decide(&whole, &given, None, &now()).iter().filter(|one| one.keeps).map(|one| one.id).collect();
        let of_whole: BTreeSet<ObjectId> = whole.iter().map(|f| f.id).filter(|id| kept.contains(id)).collect();
        prop_assert_eq!(of_whole, alone);
    }

    #[test]
    fn the_order_of_facts_does_not_matter(
        both in any_scene().prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle())), given in any_rules(),
    ) {
        let sorted = |facts: &[Facts]| {
            let mut all = decide(facts, &given, None, &now());
            all.sort_by_key(|one| one.id);
            all
        };
        prop_assert_eq!(sorted(&both.0), sorted(&both.1));
    }

    #[test]
    fn who_asks_about_one_series_takes_nothing_from_others(facts in any_scene(), given in any_rules()) {
        let scope = [b"a".to_vec()];
        let all = kept(&facts, &given);
        for one in decide(&facts, &given, Some(&scope), &now()) {
            let of = &facts.iter().find(|f| f.id == one.id).unwrap().series;
            prop_assert!(of.contains(&scope[0]) && (one.keeps || *of == scope));
            prop_assert!(one.keeps || !all.contains(&one.id));
        }
    }

    #[test]
    fn every_decision_has_its_reasons(facts in any_scene(), given in any_rules()) {
        let decisions = decide(&facts, &given, None, &now());
        prop_assert_eq!(decisions.len(), facts.len());
        for one in decisions {
            prop_assert!(!one.holds.is_empty() || !one.findings.is_empty());
            prop_assert!(one.keeps || one.holds.is_empty());
        }
    }

    #[test]
    fn zones_of_all_kinds_decide(facts in any_scene(), given in any_rules(), zone in -25..26_i32) {
        let zone = TimeZone::fixed(jiff::tz::Offset::from_hours(zone as i8).unwrap());
        let now = now().with_time_zone(zone).checked_add(1.second()).unwrap();
        prop_assert_eq!(decide(&facts, &given, None, &now).len(), facts.len());
    }
}
