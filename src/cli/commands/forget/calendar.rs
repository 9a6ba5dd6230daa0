//! The days of each series, a month a line.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::timestamp;
use crate::ops::forget::Plan;
use crate::text;

/// More months without a snapshot than these are drawn as one line.
const EMPTY_MAX: usize = 2;

/// What there is of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Day {
    Goes,
    Stays,
    Pinned,
}

impl Day {
    fn sign(self) -> char {
        match self {
            Self::Goes => 'x',
            Self::Stays => '#',
            Self::Pinned => 'P',
        }
    }
}

/// All series. Of several snapshots of one day one that stays is drawn.
pub(super) fn draw(plan: &Plan, zone: &TimeZone) -> String {
    let mut series = BTreeMap::<&[u8], BTreeMap<Date, Day>>::new();
    for (info, one) in &plan.decided {
        let Some(moment) = timestamp(info.summary.time) else { continue };
        let date = moment.to_zoned(zone.clone()).date();
        let day = match (one.keeps, info.standing.is_pinned) {
            (true, true) => Day::Pinned,
            (true, false) => Day::Stays,
            (false, _) => Day::Goes,
        };
        for source in &info.summary.sources {
            let days = series.entry(&source.name).or_default();
            let drawn = days.entry(date).or_insert(day);
            *drawn = day.max(*drawn);
        }
    }
    let drawn = series.iter().map(|(name, days)| one(name, days));
    drawn.collect::<String>() + "# stays   P pinned   x goes   . none\n\n"
}

fn one(name: &[u8], days: &BTreeMap<Date, Day>) -> String {
    let mut out = format!("{}\n         1   5    10   15   20   25   30\n", text::escape(name));
    let Some((first, last)) = days.keys().next().zip(days.keys().next_back()) else { return out };
    let (mut month, mut empty) = (first.first_of_month(), Vec::new());
    loop {
        let line = line(month, days);
        if line.contains(['x', '#', 'P']) {
            out += &gap(&mut empty);
            out += &line;
        } else {
            empty.push(line);
        }
        match month.last_of_month().tomorrow() {
            Ok(next) if next <= *last => month = next,
            _ => return out + "\n",
        }
    }
}

/// The months without a snapshot that were not drawn yet.
fn gap(empty: &mut Vec<String>) -> String {
    let gap = match empty.len() {
        0..=EMPTY_MAX => empty.concat(),
        n => format!("         {n} months without\n"),
    };
    empty.clear();
    gap
}

fn line(month: Date, days: &BTreeMap<Date, Day>) -> String {
    let sign = |day: i8| {
        let date = Date::new(month.year(), month.month(), day).ok();
        date.and_then(|date| days.get(&date)).map_or('.', |day| day.sign())
    };
    let signs: String = (1..=month.days_in_month()).map(sign).collect();
    format!("{}  {signs}\n", month.strftime("%Y-%m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_is_a_line_and_long_gaps_are_told() {
        let days = BTreeMap::from([
            (date("2024-02-29"), Day::Pinned),
            (date("2026-08-01"), Day::Goes),
            (date("2026-10-31"), Day::Stays),
        ]);
        let expected = "a\n         1   5    10   15   20   25   30\n\
                        2024-02  ............................P\n         \
                        29 months without\n\
                        2026-08  x..............................\n\
                        2026-09  ..............................\n\
                        2026-10  ..............................#\n\n";
        assert_eq!(one(b"a", &days), expected);
    }
}
