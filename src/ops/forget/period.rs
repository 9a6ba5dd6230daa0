//! Parts of the calendar, and lengths of time that are counted back on it.

use std::fmt;

use jiff::{Timestamp, ToSpan, Zoned};

/// A part of the calendar, of which rules keep one snapshot each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// An hour of the clock; one that comes twice, since clocks are set back, is two.
    Hour,
    /// From midnight to midnight, be it 23, 24 or 25 hours.
    Day,
    /// From Monday to Sunday; the first week of a year is that with its first Thursday (ISO 8601).
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// One hour, day, week, month or year. Equal for two moments of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot([i32; 4]);

impl Period {
    /// All of them, short ones first.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The word for a rule of it.
    pub fn adverb(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// The one in which a moment lies.
    pub fn slot(self, moment: &Zoned) -> Slot {
        let week = moment.date().iso_week_date();
        Slot(match self {
            Self::Hour => {
                let day = i32::from(moment.day_of_year());
                [moment.year().into(), day, moment.hour().into(), moment.offset().seconds()]
            }
            Self::Day => [moment.year().into(), moment.day_of_year().into(), 0, 0],
            Self::Week => [week.year().into(), week.week().into(), 0, 0],
            Self::Month => [moment.year().into(), moment.month().into(), 0, 0],
            Self::Year => [moment.year().into(), 0, 0, 0],
        })
    }

    /// How people write the one in which a moment lies: `2026-11-21 03:00 CET`, `2026-11-21`, `2026-W47`, `2026-11`,
    /// `2026`.
    pub fn label(self, moment: &Zoned) -> String {
        match self {
            Self::Hour => moment.strftime("%Y-%m-%d %H:00 %Z").to_string(),
            Self::Day => moment.strftime("%Y-%m-%d").to_string(),
            Self::Week => {
                let week = moment.date().iso_week_date();
                format!("{:04}-W{:02}", week.year(), week.week())
            }
            Self::Month => moment.strftime("%Y-%m").to_string(),
            Self::Year => moment.strftime("%Y").to_string(),
        }
    }
}

/// A length of time, counted back from now: years, months and days on the calendar, so that seven days ago it was the
/// same time of day; hours by the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Years.
    pub years: u32,
    /// Months.
    pub months: u32,
    /// Days; a week has seven.
    pub days: u32,
    /// Hours.
    pub hours: u32,
}

impl Span {
    /// So many days.
    pub fn days(days: u32) -> Self {
        Self { days, ..Self::default() }
    }

    /// The moment that was so long ago; `None`: before all calendars.
    pub fn before(self, now: &Zoned) -> Option<Timestamp> {
        let years = jiff::Span::new().try_years(self.years).ok()?;
        let span = years.try_months(self.months).ok()?.try_days(self.days).ok()?;
        let then = now.checked_sub(span).ok()?;
        then.timestamp().checked_sub(i64::from(self.hours).checked_mul(3600)?.seconds()).ok()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.years, "y"), (self.months, "mo"), (self.days, "d"), (self.hours, "h")];
        parts.iter().filter(|(count, _)| *count > 0).try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    fn labels(text: &str) -> [String; 5] {
        Period::ALL.map(|period| period.label(&at(text)))
    }

    #[test]
    fn weeks_belong_to_the_year_of_their_thursday() {
        assert_eq!(
            labels("2027-01-03T23:59:59+01:00[Europe/Berlin]"),
            ["2027-01-03 23:00 CET", "2027-01-03", "2026-W53", "2027-01", "2027"]
        );
        assert_eq!(labels("2027-01-04T00:00:00+01:00[Europe/Berlin]")[2], "2027-W01");
        assert_eq!(labels("2024-12-30T12:00:00+01:00[Europe/Berlin]")[2], "2025-W01");
        let slot = |text| Period::Week.slot(&at(text));
        assert_eq!(slot("2026-12-28T00:00+01:00[Europe/Berlin]"), slot("2027-01-03T00:00+01:00[Europe/Berlin]"));
    }

    #[test]
    fn an_hour_that_comes_twice_is_two_and_the_day_is_one() {
        let [first, second] =
            ["2026-10-25T02:30+02:00[Europe/Berlin]", "2026-10-25T02:30+01:00[Europe/Berlin]"].map(at);
        assert_ne!(Period::Hour.slot(&first), Period::Hour.slot(&second));
        assert_eq!(Period::Day.slot(&first), Period::Day.slot(&second));
        assert_eq!(Period::Hour.label(&first), "2026-10-25 02:00 CEST");
        assert_eq!(Period::Hour.label(&second), "2026-10-25 02:00 CET");
    }

    #[test]
    fn days_are_counted_on_the_calendar_and_hours_by_the_second() {
        let now = at("2026-10-26T02:00+01:00[Europe/Berlin]");
        let before = |span: Span| span.before(&now).unwrap().to_zoned(now.time_zone().clone()).to_string();
        assert_eq!(before(Span::days(7)), "2026-10-19T02:00:00+02:00[Europe/Berlin]");
        assert_eq!(before(Span { hours: 168, ..Span::default() }), "2026-10-19T03:00:00+02:00[Europe/Berlin]");
        let spring = at("2027-03-31T12:00+02:00[Europe/Berlin]");
        let month = Span { months: 1, ..Span::default() };
        assert_eq!(month.before(&spring).unwrap().to_string(), "2027-02-28T11:00:00Z");
        assert_eq!(Span { years: u32::MAX, ..Span::default() }.before(&now), None);
        assert_eq!(Span::days(u32::MAX).before(&now), None);
    }

    #[test]
    fn spans_are_shown_as_they_are_written() {
        assert_eq!(Span { years: 1, months: 2, days: 3, hours: 4 }.to_string(), "1y2mo3d4h");
        assert_eq!(Span::days(14).to_string(), "14d");
    }
}
