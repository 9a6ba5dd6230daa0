//! Amounts on the command line: how much to read, how long to take.

use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::ops::forget::period::Span;
use crate::text::escape;

/// A part of a whole, in hundredths of a percent: 1 ..= 10 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    /// Everything.
    pub const ALL: Self = Self(10_000);

    /// Parses `5%`, `2.5%` or `all`.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "all" {
            return Ok(Self::ALL);
        }
        let hundredths = text.strip_suffix('%').and_then(hundredths).filter(|n| (1..=10_000).contains(n));
        hundredths.map(|n| Self(n as u16)).ok_or_else(|| {
            wrong(text, "is not a share").fix("write a percentage above 0 and up to 100, such as 5% or 2.5%, or all")
        })
    }

    /// Hundredths of a percent, 1 ..= 10 000.
    pub fn hundredths(self) -> u16 {
        self.0
    }

    /// The share of a number, rounded up, so that a share of something is never nothing.
    pub fn of(self, whole: u64) -> u64 {
        (u128::from(whole) * u128::from(self.0)).div_ceil(10_000) as u64
    }
}

/// "12.34" as 1234.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > 2 {
        return None;
    }
    let fraction_value = digits(fraction)? * if fraction.len() == 1 { 10 } else { 1 };
    digits(whole)?.checked_mul(100)?.checked_add(fraction_value)
}

/// Where a long run stops by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// After this much time.
    Time(Duration),
    /// After this many bytes.
    Bytes(u64),
}

impl Budget {
    /// Parses a duration, such as `15m`, or a size, such as `10GiB`.
    pub fn parse(text: &str) -> Result<Self> {
        let time = duration(text).map(Self::Time);
        time.or_else(|_| size(text).map(Self::Bytes)).map_err(|_| {
            wrong(text, "is neither a time nor a size")
                .fix("write a time such as 90s, 15m, 2h or 1d, or a size such as 10GiB")
        })
    }
}

/// A duration: digits and one of `s`, `m`, `h`, `d`, more than once if need be: `1h30m`.
pub fn duration(text: &str) -> Result<Duration> {
    let parsed = parts_seconds(text).filter(|seconds| *seconds > 0);
    parsed.map(Duration::from_secs).ok_or_else(|| {
        wrong(text, "is not a duration").fix("write a number with s, m, h or d, such as 90s, 15m or 1h30m")
    })
}

/// A number of days, at least one.
pub fn days(text: &str) -> Result<u32> {
    let parsed = digits(text).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    parsed.ok_or_else(|| wrong(text, "is not a number of days").fix("write 1 or more"))
}

/// A length of time on the calendar: digits and one of `y`, `mo`, `w`, `d`, `h`, more than once if need be: `1y6mo`. No
/// `m`, which reads two ways.
pub fn span(text: &str) -> Result<Span> {
    span_of(text).filter(|span| *span != Span::default()).ok_or_else(|| {
        wrong(text, "is not a duration").fix("write a number with y, mo, w, d or h, such as 1y6mo, 2w, 14d or 36h")
    })
}

fn span_of(mut text: &str) -> Option<Span> {
    const UNITS: [&str; 5] = ["y", "mo", "w", "d", "h"];
    let (mut counts, mut next) = ([0_u32; 5], 0);
    while !text.is_empty() {
        let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = UNITS.iter().position(|unit| *unit == &rest[..end]).filter(|unit| *unit >= next)?;
        counts[unit] = u32::try_from(digits(number)?).ok()?;
        (next, text) = (unit + 1, &rest[end..]);
    }
    let [years, months, weeks, days, hours] = counts;
    Some(Span { years, months, days: weeks.checked_mul(7)?.checked_add(days)?, hours })
}

fn parts_seconds(mut text: &str) -> Option<u64> {
    let mut seconds = 0_u64;
    let mut unit_above = u64::MAX;
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit())?;
        let unit = match text.as_bytes()[end] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        if unit >= unit_above {
            return None;
        }
        unit_above = unit;
        seconds = seconds.checked_add(digits(&text[..end])?.checked_mul(unit)?)?;
        text = &text[end + 1..];
    }
    Some(seconds)
}

/// A number of bytes: `512B`, `10GiB`, `1.5TiB`; the unit must be there, because `10M` reads two ways.
pub fn size(text: &str) -> Result<u64> {
    const UNITS: [(&str, u32); 6] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("PiB", 50), ("B", 0)];
    let found = UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.trim_end(), *shift)));
    found.and_then(|(number, shift)| scaled(number, shift)).ok_or_else(|| {
        wrong(text, "is not a size").fix("write a number with B, KiB, MiB, GiB, TiB or PiB, such as 10GiB")
    })
}

/// A number with up to two decimals times 2^shift, rounded down.
fn scaled(number: &str, shift: u32) -> Option<u64> {
    let hundredths = u128::from(hundredths(number)?);
    u64::try_from((hundredths << shift) / 100).ok().filter(|bytes| *bytes > 0)
}

/// Nothing but digits: no sign, no blank.
fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn wrong(text: &str, how: &str) -> Error {
    Error::new(Kind::Usage, format!("'{}' {how}", escape(text.as_bytes())))
}

/// A count of at least one.
pub fn count(text: &str) -> Result<usize> {
    let parsed = digits(text).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    parsed.ok_or_else(|| wrong(text, "is not a count").fix("write 1 or more"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_read_strictly() {
        let read = |text| Share::parse(text).ok().map(Share::hundredths);
        assert_eq!([read("5%"), read("2.5%"), read("0.01%")], [Some(500), Some(250), Some(1)]);
        assert_eq!([read("100%"), read("all"), read("99.99%")], [Some(10_000), Some(10_000), Some(9_999)]);
        for text in
            ["", "%", "5", "0%", "101%", "-5%", "+5%", "5 %", "2.345%", "1.%", ".5%", "ALL", "99999999999999999999%"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_share_of_something_is_something() {
        let one = Share::parse("0.01%").unwrap();
        assert_eq!([one.of(0), one.of(1), one.of(10_000), one.of(10_001)], [0, 1, 1, 2]);
        assert_eq!(Share::ALL.of(u64::MAX), u64::MAX);
    }

    #[test]
    fn budgets_are_times_or_sizes() {
        let read = |text| Budget::parse(text).ok();
        let time = |seconds| Some(Budget::Time(Duration::from_secs(seconds)));
        assert_eq!(
            [read("15m"), read("1h30m"), read("90s"), read("2d")],
            [time(900), time(5400), time(90), time(172_800)]
        );
        assert_eq!(read("10GiB"), Some(Budget::Bytes(10 << 30)));
        assert_eq!(read("1.5 KiB"), Some(Budget::Bytes(1536)));
        assert_eq!(read("512B"), Some(Budget::Bytes(512)));
        for text in [
            "",
            "15",
            "15M",
            "10GB",
            "10gib",
            "0s",
            "0B",
            "m",
            "1m1h",
            "1h1h",
            "-1m",
            "20000000PiB",
            "99999999999999999999s",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn spans_are_of_the_calendar() {
        let read = |text| span(text).ok().map(|span| span.to_string());
        let shown = ["14d", "2w", "1y6mo", "1y2mo3w4d5h", "36h"].map(|text| read(text).unwrap());
        assert_eq!(shown, ["14d", "14d", "1y6mo", "1y2mo25d5h", "36h"]);
        for text in
            ["", "14", "d", "0d", "1m", "1d1w", "1d1d", "-1d", "1 d", "99999999999d", "4000000000w", "1é", "1d2"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(days("7").is_ok() && ["0", "-1", "7d", "4294967296"].iter().all(|text| days(text).is_err()));
    }

    #[test]
    fn counts_start_at_one() {
        assert_eq!(count("12").ok(), Some(12));
        assert!(["", "0", "-1", "+1", "1.0", "x"].iter().all(|text| count(text).is_err()));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC{0,24}") {
            let _ = (Share::parse(&text), Budget::parse(&text), count(&text), span(&text), days(&text));
        }

        #[test]
        fn whole_sizes_come_back(kib in 1_u64..1 << 40) {
            prop_assert_eq!(size(&format!("{kib}KiB")).ok(), Some(kib << 10));
        }
    }
}
