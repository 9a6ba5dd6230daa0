//! Times as people write and read them: local, with the zone; and as programs do: RFC 3339.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::clock::timestamp;
use crate::entry::Time;

/// The longest text that can be a time, in bytes: a date, nine digits of a second, an offset, and some room.
pub const TEXT_BYTES_MAX: usize = 40;

/// "2026-11-21 03:00 CET".
pub fn local(time: Time, zone: &TimeZone) -> String {
    formatted(time, zone, "%Y-%m-%d %H:%M %Z")
}

/// "2026-11-21 03:00:07 CET".
pub fn local_seconds(time: Time, zone: &TimeZone) -> String {
    formatted(time, zone, "%Y-%m-%d %H:%M:%S %Z")
}

fn formatted(time: Time, zone: &TimeZone, format: &str) -> String {
    match timestamp(time) {
        Some(timestamp) => timestamp.to_zoned(zone.clone()).strftime(format).to_string(),
        None => beyond(time),
    }
}

/// "2026-11-21T02:00:07.25Z", always UTC, with as many digits as it takes.
pub fn rfc3339(time: Time) -> String {
    timestamp(time).map_or_else(|| beyond(time), |timestamp| timestamp.to_string())
}

/// A file may carry a time that no calendar holds; it is shown as seconds since 1970.
fn beyond(time: Time) -> String {
    format!("@{}", time.seconds)
}

/// The last moment that a written time covers: a day lasts until midnight, a minute until its last nanosecond. So the
/// times that our lists print, cut to minutes, find the snapshots they stand for.
///
/// Reads RFC 3339, or `YYYY-MM-DD`, `YYYY-MM-DD HH:MM` and `YYYY-MM-DD HH:MM:SS` in the given zone.
pub fn parse_end(text: &str, zone: &TimeZone) -> Option<Time> {
    let shape = Shape::of(text)?;
    let last = if shape.has_offset {
        let start: Timestamp = text.replacen([' ', 't'], "T", 1).replace('z', "Z").parse().ok()?;
        start.checked_add(shape.rest_nanos.nanoseconds()).ok()?
    } else {
        let start: DateTime = text.replacen(' ', "T", 1).parse().ok()?;
        let last = start.checked_add(shape.rest_nanos.nanoseconds()).ok()?;
        // Where clocks are set back an hour comes twice: "at or before" means the second.
        zone.to_ambiguous_timestamp(last).later().ok()?
    };
    Some(Time { seconds: last.as_nanosecond().div_euclid(1_000_000_000) as i64, nanos: nanos(last) })
}

fn nanos(timestamp: Timestamp) -> u32 {
    timestamp.as_nanosecond().rem_euclid(1_000_000_000) as u32
}

/// How a time is written, found out before its numbers are read.
struct Shape {
    has_offset: bool,
    /// From the moment as written to the last one that it covers.
    rest_nanos: i64,
}

impl Shape {
    fn of(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let rest = after(text, "dddd-dd-dd")?;
        let Some((b' ' | b'T' | b't', rest)) = rest.split_first() else {
            return rest.is_empty().then_some(Self { has_offset: false, rest_nanos: 86_400 * SECOND - 1 });
        };
        let rest = after(rest, "dd:dd")?;
        let (rest, rest_nanos) = match after(rest, ":dd") {
            None => (rest, 60 * SECOND - 1),
            Some(rest) => fraction(rest)?,
        };
        let has_offset = match rest {
            [] => false,
            [b'Z' | b'z'] => true,
            _ => after(rest, "+dd:dd").or_else(|| after(rest, "-dd:dd"))?.is_empty(),
        };
        (rest.is_empty() || has_offset).then_some(Self { has_offset, rest_nanos })
    }
}

const SECOND: i64 = 1_000_000_000;

/// What follows the fraction of a second, and how long the last written digit lasts.
fn fraction(text: &[u8]) -> Option<(&[u8], i64)> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((text, SECOND - 1));
    };
    let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    Some((&text[count..], 10_i64.pow(9 - count as u32) - 1))
}

/// What follows a pattern in which `d` stands for a digit.
fn after<'a>(text: &'a [u8], pattern: &str) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(pattern.len())?;
    let fits = |(b, p): (&u8, u8)| if p == b'd' { b.is_ascii_digit() } else { *b == p };
    head.iter().zip(pattern.bytes()).all(fits).then_some(rest)
}

/// A length of time, as two units at most: "0.4 s", "2 m 10 s", "4 h 5 m", "3 d 2 h".
pub fn duration(duration: Duration) -> String {
    if duration < Duration::from_millis(9_950) {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    duration_whole(duration)
}

/// The same without tenths of a second, for estimates.
pub fn duration_whole(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let seconds = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
    let largest = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
    let (unit, name) = UNITS[largest];
    let below = UNITS.get(largest + 1).map(|(small, name)| (seconds % unit / small, name)).filter(|(n, _)| *n > 0);
    match below {
        Some((n, small)) => format!("{} {name} {n} {small}", seconds / unit),
        None => format!("{} {name}", seconds / unit),
    }
}

/// How long ago: "4 h ago", "just now"; a time to come is "in 4 h".
pub fn age(time: Time, now: Time) -> String {
    let seconds = now.seconds.saturating_sub(time.seconds);
    let text = one_unit(seconds.unsigned_abs());
    match seconds {
        0 => "just now".to_owned(),
        1.. => format!("{text} ago"),
        _ => format!("in {text}"),
    }
}

fn one_unit(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} m", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn at(seconds: i64, nanos: u32) -> Time {
        Time { seconds, nanos }
    }

    fn end(text: &str) -> Option<String> {
        parse_end(text, &berlin()).map(rfc3339)
    }

    #[test]
    fn times_carry_their_zone() {
        let time = at(1_795_226_407, 250_000_000);
        assert_eq!(local(time, &berlin()), "2026-11-21 03:00 CET");
        assert_eq!(local_seconds(time, &berlin()), "2026-11-21 03:00:07 CET");
        assert_eq!(rfc3339(time), "2026-11-21T02:00:07.25Z");
        assert_eq!(rfc3339(at(-1, 500_000_000)), "1969-12-31T23:59:59.5Z");
        assert_eq!(local(at(i64::MAX, 0), &berlin()), "@9223372036854775807");
        assert_eq!(rfc3339(at(i64::MIN, 999_999_999)), "@-9223372036854775808");
    }

    #[test]
    fn a_time_covers_all_that_it_names() {
        assert_eq!(end("2026-11-20").as_deref(), Some("2026-11-20T22:59:59.999999999Z"));
        assert_eq!(end("2026-11-20 14:05").as_deref(), Some("2026-11-20T13:05:59.999999999Z"));
        assert_eq!(end("2026-11-20T14:05:07").as_deref(), Some("2026-11-20T13:05:07.999999999Z"));
        assert_eq!(end("2026-11-20T14:05:07.25").as_deref(), Some("2026-11-20T13:05:07.259999999Z"));
        assert_eq!(end("2026-11-20T14:05:07.123456789Z").as_deref(), Some("2026-11-20T14:05:07.123456789Z"));
        assert_eq!(end("2026-11-20t14:05:07z").as_deref(), Some("2026-11-20T14:05:07.999999999Z"));
        assert_eq!(end("2026-11-20T14:05:00-01:00").as_deref(), Some("2026-11-20T15:05:00.999999999Z"));
        assert_eq!(end("1969-12-31T23:59:59.5Z").as_deref(), Some("1969-12-31T23:59:59.599999999Z"));
    }

    #[test]
    fn an_hour_that_comes_twice_or_never_is_still_found() {
        assert_eq!(end("2026-10-25 02:30").as_deref(), Some("2026-10-25T01:30:59.999999999Z"));
        assert_eq!(end("2026-03-29 02:30").as_deref(), Some("2026-03-29T01:30:59.999999999Z"));
    }

    #[test]
    fn other_spellings_are_refused() {
        let wrong =
            ["", "2026", "2026-11", "2026-13-01", "2026-02-30", "2026-11-20 ", "2026-11-20 14", "2026-11-20 24:00"];
        let wrong = wrong.iter().chain(&["2026-11-20 14:60", "2026-11-20T14:05:00+1", "2026-11-20T14:05:00.Z"]);
        for text in
            wrong.chain(&["26-11-20", "2026-11-20T14:05:00Z[Europe/Berlin]", "2026-11-20T14:05Z ", "２026-11-20"])
        {
            assert_eq!(end(text), None, "{text}");
        }
    }

    #[test]
    fn lengths_of_time_read_well() {
        let shown = [0, 400, 9_900, 9_960, 59_600, 130_000, 3_600_000, 14_700_000, 266_400_000];
        let shown = shown.map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(shown, ["0.0 s", "0.4 s", "9.9 s", "10 s", "1 m", "2 m 10 s", "1 h", "4 h 5 m", "3 d 2 h"]);
    }

    #[test]
    fn ages_have_one_unit() {
        let ages =
            [0, 45, 60, 3599, 14_400, 100_000, 172_800, -60].map(|ago| age(at(1_000_000 - ago, 0), at(1_000_000, 0)));
        assert_eq!(ages, ["just now", "45 s ago", "1 m ago", "59 m ago", "4 h ago", "27 h ago", "2 d ago", "in 1 m"]);
        assert_eq!(age(at(i64::MIN, 0), at(i64::MAX, 0)), "106751991167300 d ago");
    }

    proptest! {
        #[test]
        fn what_json_prints_is_understood(seconds in -60_000_000_000_i64..250_000_000_000, nanos in 0_u32..1_000_000_000) {
            let time = at(seconds, nanos);
            let end = parse_end(&rfc3339(time), &TimeZone::UTC);
            prop_assert!(end.is_some_and(|end| end >= time && end.seconds == time.seconds));
        }

        #[test]
        fn what_lists_print_finds_the_snapshot(seconds in 0_i64..4_000_000_000) {
            let shown = local(at(seconds, 0), &berlin());
            let end = parse_end(&shown[..16], &berlin()).unwrap();
            prop_assert!(end.seconds >= seconds && end.seconds < seconds + 60 + 3600);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9TZ:.+ -]{0,32}") {
            let _ = parse_end(&text, &berlin());
        }
    }
}
