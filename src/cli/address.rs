//! Addresses: which snapshot, which source, which path.
//!
//! ```text
//! ADDRESS = WHEN[:SOURCE[/PATH]]     WHEN = id prefix | latest | latest~N | @TIME     SOURCE@TIME = @TIME:SOURCE
//! ```
//! A time may hold colons itself, so after `@` the longest text that is a time is taken for it. Source names hold
//! neither `@` nor `:`, so whichever of the two comes first tells the forms apart.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use jiff::tz::TimeZone;

use super::name;
use super::time;
use crate::entry::Time;
use crate::error::{Error, Kind, Result};
use crate::text::escape;

/// Fewest hex digits that are taken for an id.
pub const ID_DIGITS_MIN: usize = 4;
/// Hex digits of a whole id.
pub const ID_DIGITS_MAX: usize = 64;

/// Which snapshot is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// The one whose id begins so: 4 ..= 64 lower-case hex digits.
    Id(String),
    /// The newest, or so many before it: of one series if the address names a source, else of all.
    Latest {
        /// 0 is the newest.
        back: u64,
    },
    /// The newest one at or before this moment.
    At(Time),
}

impl When {
    /// Parses a WHEN that stands alone.
    pub fn parse(text: &OsStr, zone: &TimeZone) -> Result<Self> {
        let address = Address::parse(text, zone)?;
        match address.rest {
            None => Ok(address.when),
            Some(_) => Err(unclear(text.as_bytes()).why("a snapshot is meant here, not something in it")),
        }
    }
}

/// What an address says, before any snapshot has been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Which snapshot.
    pub when: When,
    /// What follows the colon, never empty: a source, a source and a path, or a path. See [`Target::find`].
    pub rest: Option<Vec<u8>>,
}

impl Address {
    /// Parses an address; times without an offset are of the given zone.
    pub fn parse(text: &OsStr, zone: &TimeZone) -> Result<Self> {
        let text = text.as_bytes();
        match text.iter().position(|b| matches!(b, b'@' | b':')) {
            Some(0) if text[0] == b'@' => after_time(text, zone),
            Some(at) if text[at] == b'@' => of_source(text, at, zone),
            Some(colon) => Ok(Self { when: when(&text[..colon], text)?, rest: Some(rest(&text[colon + 1..], text)?) }),
            None => Ok(Self { when: when(text, text)?, rest: None }),
        }
    }

    /// The source that the address names for sure, whose series `latest~N` counts; needs the names of all series.
    pub fn series<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        split_source(self.rest.as_deref()?, names).map(|(name, _)| name)
    }
}

/// `@TIME` or `@TIME:REST`.
fn after_time(text: &[u8], zone: &TimeZone) -> Result<Address> {
    let after = &text[1..];
    let ends = (0..=after.len().min(time::TEXT_BYTES_MAX)).rev();
    for end in ends.filter(|end| after.get(*end).is_none_or(|b| *b == b':')) {
        if let Some(moment) = moment(&after[..end], zone) {
            let rest = after.get(end + 1..).map(|bytes| rest(bytes, text)).transpose()?;
            return Ok(Address { when: When::At(moment), rest });
        }
    }
    Err(not_a_time(text))
}

/// `SOURCE@TIME`.
fn of_source(text: &[u8], at: usize, zone: &TimeZone) -> Result<Address> {
    let source = name::check(&text[..at]).map_err(|_| unclear(text).why("no source can have the name before the @"))?;
    let moment = moment(&text[at + 1..], zone).ok_or_else(|| not_a_time(text))?;
    Ok(Address { when: When::At(moment), rest: Some(source.into()) })
}

fn moment(text: &[u8], zone: &TimeZone) -> Option<Time> {
    time::parse_end(std::str::from_utf8(text).ok()?, zone)
}

/// `latest`, `latest~N` or the beginning of an id.
fn when(text: &[u8], whole: &[u8]) -> Result<When> {
    if text == b"latest" {
        return Ok(When::Latest { back: 0 });
    }
    if let Some(count) = text.strip_prefix(b"latest~") {
        let back = std::str::from_utf8(count).ok().filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        let back = back.and_then(|n| n.parse().ok());
        return back
            .map(|back| When::Latest { back })
            .ok_or_else(|| unclear(whole).why("after latest~ comes a number"));
    }
    id_prefix(text).map(When::Id).ok_or_else(|| unclear(whole).why(why_no_id(text)))
}

fn id_prefix(text: &[u8]) -> Option<String> {
    let is_id = (ID_DIGITS_MIN..=ID_DIGITS_MAX).contains(&text.len())
        && text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| String::from_utf8_lossy(text).into_owned())
}

fn why_no_id(text: &[u8]) -> String {
    let shown = escape(text);
    if text.is_empty() {
        "no snapshot is named".to_owned()
    } else if !text.iter().all(u8::is_ascii_hexdigit) {
        format!("{shown} is neither an id nor latest")
    } else if text.len() < ID_DIGITS_MIN {
        format!("{shown} is too short for an id")
    } else if text.len() > ID_DIGITS_MAX {
        format!("{shown} is too long for an id")
    } else {
        "ids are written in lower case".to_owned()
    }
}

fn rest(rest: &[u8], whole: &[u8]) -> Result<Vec<u8>> {
    if rest.is_empty() {
        return Err(unclear(whole).why("nothing stands after the colon"));
    }
    Ok(rest.to_vec())
}

fn unclear(text: &[u8]) -> Error {
    Error::new(Kind::Usage, format!("{} names no snapshot", quoted(text)))
        .fix("write an id of 4 digits or more, latest, latest~N or @TIME, then :SOURCE/PATH if need be")
}

fn not_a_time(text: &[u8]) -> Error {
    unclear(text)
        .why("no time follows the @")
        .fix("write @2026-11-20, '@2026-11-20 14:05' or @2026-11-20T14:05:00+01:00, then :SOURCE/PATH if need be")
}

fn quoted(text: &[u8]) -> String {
    format!("'{}'", escape(text))
}

/// What of a snapshot is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// All its sources.
    All,
    /// One source, or something in it.
    Source {
        /// Its name.
        name: &'a str,
        /// Path below its root, without slashes at the ends; empty: the root.
        path: Vec<u8>,
    },
}

impl<'a> Target<'a> {
    /// Finds what the rest of an address means in a snapshot with these sources. A source name wins over a path.
    pub fn find(rest: Option<&[u8]>, names: &[&'a str]) -> Result<Self> {
        let Some(rest) = rest else {
            return Ok(Self::All);
        };
        let (name, path) = match (split_source(rest, names), names) {
            (Some(found), _) => found,
            (None, [only]) => (*only, rest),
            (None, _) => return Err(no_such_source(rest, names)),
        };
        Ok(Self::Source { name, path: clean_path(path)? })
    }
}

fn split_source<'a, 'b>(rest: &'b [u8], names: &[&'a str]) -> Option<(&'a str, &'b [u8])> {
    let first = first_part(rest);
    let name = names.iter().find(|name| name.as_bytes() == first)?;
    Some((name, &rest[first.len()..]))
}

/// What stands before the first slash, where a source would be named.
pub fn first_part(rest: &[u8]) -> &[u8] {
    rest.split(|b| *b == b'/').next().unwrap_or_default()
}

fn no_such_source(rest: &[u8], names: &[&str]) -> Error {
    let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Error::new(Kind::Missing, format!("the snapshot has no source {}", quoted(first_part(rest))))
        .fix(format!("its sources: {list}"))
}

/// A path below a root in its one spelling: no empty and no `.` components; `..` is refused.
pub fn clean_path(path: &[u8]) -> Result<Vec<u8>> {
    let parts: Vec<_> = path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&b"..".as_slice()) {
        return Err(Error::new(Kind::Usage, format!("the path {} leads upwards", quoted(path)))
            .fix("write the path below the source's root, without .."));
    }
    Ok(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Address> {
        Address::parse(OsStr::new(text), &TimeZone::UTC)
    }

    fn address(when: When, rest: &str) -> Address {
        Address { when, rest: (!rest.is_empty()).then(|| rest.as_bytes().to_vec()) }
    }

    fn at(text: &str) -> When {
        When::At(time::parse_end(text, &TimeZone::UTC).unwrap())
    }

    #[test]
    fn every_form_is_understood() {
        let cases = [
            ("latest", When::Latest { back: 0 }, ""),
            ("latest~12:cards", When::Latest { back: 12 }, "cards"),
            ("k3f9", When::Id(String::new()), "refused"),
            ("c81d", When::Id("c81d".into()), ""),
            ("c81d0000:docs/a b:c@d", When::Id("c81d0000".into()), "docs/a b:c@d"),
            ("@2026-11-20", at("2026-11-20"), ""),
            ("@2026-11-20:docs", at("2026-11-20"), "docs"),
            ("@2026-11-20 14:05:docs/x", at("2026-11-20 14:05"), "docs/x"),
            ("@2026-11-20T14:05:00+01:00:src/path", at("2026-11-20T14:05:00+01:00"), "src/path"),
            ("@2026-11-20T14:05:00Z:src:odd@name", at("2026-11-20T14:05:00Z"), "src:odd@name"),
            ("cards@2026-11-20T14:05", at("2026-11-20 14:05"), "cards"),
            ("latest@2026-11-20", at("2026-11-20"), "latest"),
        ];
        for (text, when, rest) in cases {
            match parse(text) {
                Ok(found) => assert_eq!(found, address(when, rest), "{text}"),
                Err(_) => assert_eq!(rest, "refused", "{text}"),
            }
        }
    }

    #[test]
    fn the_longest_time_wins() {
        assert_eq!(parse("@2026-11-20 14:05:30").unwrap(), address(at("2026-11-20 14:05:30"), ""));
        assert_eq!(parse("@2026-11-20 14:05:30:30").unwrap(), address(at("2026-11-20 14:05:30"), "30"));
        assert_eq!(parse("@2026-11-20 14:05:99").unwrap(), address(at("2026-11-20 14:05"), "99"));
        assert_eq!(parse("@2026-11-20:14:05").unwrap(), address(at("2026-11-20"), "14:05"));
    }

    #[test]
    fn what_is_unclear_is_refused_with_a_reason() {
        let why = |text| parse(text).unwrap_err().reason().to_owned();
        assert_eq!(why(""), "no snapshot is named");
        assert_eq!(why(":docs"), "no snapshot is named");
        assert_eq!(why("abc"), "abc is too short for an id");
        assert_eq!(why("ABCD"), "ids are written in lower case");
        assert_eq!(why("docs"), "docs is neither an id nor latest");
        assert_eq!(why("latest:"), "nothing stands after the colon");
        assert_eq!(why("@2026-11-20:"), "nothing stands after the colon");
        assert_eq!(why("latest~"), "after latest~ comes a number");
        assert_eq!(why("latest~+1"), "after latest~ comes a number");
        assert_eq!(why("@yesterday"), "no time follows the @");
        assert_eq!(why("cards@"), "no time follows the @");
        assert_eq!(why("a b@2026-11-20"), "no source can have the name before the @");
        assert_eq!(parse("\x1b[2J").unwrap_err().what(), "'\\x1b[2J' names no snapshot");
    }

    #[test]
    fn a_lone_snapshot_has_no_path() {
        assert!(When::parse(OsStr::new("latest"), &TimeZone::UTC).is_ok());
        assert!(When::parse(OsStr::new("latest:docs"), &TimeZone::UTC).is_err());
    }

    fn source<'a>(name: &'a str, path: &str) -> Target<'a> {
        Target::Source { name, path: path.into() }
    }

    #[test]
    fn a_source_name_wins_over_a_path() {
        let find = |rest: &str, names: &[&'static str]| Target::find(Some(rest.as_bytes()), names).unwrap();
        assert_eq!(Target::find(None, &["a", "b"]).unwrap(), Target::All);
        assert_eq!(find("b", &["a", "b"]), source("b", ""));
        assert_eq!(find("b//x/./y/", &["a", "b"]), source("b", "x/y"));
        assert_eq!(find("a/a", &["a"]), source("a", "a"));
        assert_eq!(find("etc/hosts", &["a"]), source("a", "etc/hosts"));
        assert_eq!(find("/a", &["a"]), source("a", "a"));
    }

    #[test]
    fn an_unknown_source_is_missing() {
        let error = Target::find(Some(b"etc/hosts"), &["a", "b"]).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::Missing, "the snapshot has no source 'etc'"));
        assert_eq!(error.advice(), "its sources: a, b");
        assert_eq!(Target::find(Some(b"a/../b"), &["a"]).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn a_series_is_only_counted_when_it_is_named() {
        let series = |text| parse(text).unwrap().series(&["cards", "docs"]);
        assert_eq!(
            [series("latest~2:cards/x"), series("latest:x/cards"), series("latest")],
            [Some("cards"), None, None]
        );
    }

    proptest! {
        #[test]
        fn a_time_never_eats_a_path(
            seconds in 0_i64..4_000_000_000,
            rest in proptest::collection::vec(any::<u8>(), 1..40),
        ) {
            let time = time::rfc3339(Time { seconds, nanos: 0 });
            let text = [b"@".as_slice(), time.as_bytes(), b":", &rest].concat();
            let found = Address::parse(OsStr::from_bytes(&text), &TimeZone::UTC).unwrap();
            prop_assert_eq!(found, Address { when: at(&time), rest: Some(rest) });
        }

        #[test]
        fn an_id_never_eats_a_path(id in "[0-9a-f]{4,64}", rest in proptest::collection::vec(any::<u8>(), 1..40)) {
            let text = [id.as_bytes(), b":", &rest].concat();
            let found = Address::parse(OsStr::from_bytes(&text), &TimeZone::UTC).unwrap();
            prop_assert_eq!(found, Address { when: When::Id(id), rest: Some(rest) });
        }

        #[test]
        fn both_ways_to_name_a_source_and_a_time_agree(name in "[A-Za-z0-9_-]{1,64}", seconds in 0_i64..4_000_000_000) {
            let time = time::rfc3339(Time { seconds, nanos: 0 });
            let (one, other) = (parse(&format!("{name}@{time}")), parse(&format!("@{time}:{name}")));
            prop_assert_eq!(one.unwrap(), other.unwrap());
        }

        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..60), names in 0_usize..3) {
            if let Ok(address) = Address::parse(OsStr::from_bytes(&text), &TimeZone::UTC) {
                let _ = Target::find(address.rest.as_deref(), &["a", "b"][..names]);
            }
        }
    }
}
