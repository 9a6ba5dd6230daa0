//! Values compared exactly, and in the engine's order.

use std::cmp::Ordering;

use data_encoding::HEXLOWER;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::text;

/// Whether two values are the same in type and bytes; 1 is not 1.0, and 0.0 is not -0.0.
pub(super) fn is_same(a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
    match (a, b) {
        (ValueRef::Real(a), ValueRef::Real(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

/// How a database keeps text. Whatever it is, text is read as UTF-8; but its order is that of the bytes kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

/// The order of the engine under the collation BINARY: NULL, numbers, text, blobs.
pub(super) fn compare(a: ValueRef<'_>, b: ValueRef<'_>, encoding: Encoding) -> Ordering {
    match (a, b) {
        (ValueRef::Integer(a), ValueRef::Integer(b)) => a.cmp(&b),
        (ValueRef::Real(a), ValueRef::Real(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (ValueRef::Integer(a), ValueRef::Real(b)) => integer_and_real(a, b),
        (ValueRef::Real(a), ValueRef::Integer(b)) => integer_and_real(b, a).reverse(),
        (ValueRef::Text(a), ValueRef::Text(b)) => texts(a, b, encoding),
        (ValueRef::Blob(a), ValueRef::Blob(b)) => a.cmp(b),
        (a, b) => class(a).cmp(&class(b)),
    }
}

fn texts(a: &[u8], b: &[u8], encoding: Encoding) -> Ordering {
    let (a_text, b_text) = (String::from_utf8_lossy(a), String::from_utf8_lossy(b));
    let (a_units, b_units) = (a_text.encode_utf16(), b_text.encode_utf16());
    match encoding {
        Encoding::Utf8 => a.cmp(b),
        Encoding::Utf16Le => a_units.flat_map(u16::to_le_bytes).cmp(b_units.flat_map(u16::to_le_bytes)),
        Encoding::Utf16Be => a_units.cmp(b_units),
    }
}

/// The order of the names of types, between values that compare alike.
pub(super) fn type_order(a: ValueRef<'_>, b: ValueRef<'_>) -> Ordering {
    let is_real = |value| matches!(value, ValueRef::Real(_));
    is_real(a).cmp(&is_real(b))
}

fn class(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Null => 0,
        ValueRef::Integer(_) | ValueRef::Real(_) => 1,
        ValueRef::Text(_) => 2,
        ValueRef::Blob(_) => 3,
    }
}

const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// Exactly, although not every i64 is an f64.
fn integer_and_real(integer: i64, real: f64) -> Ordering {
    if real >= TWO_TO_63 {
        return Ordering::Less;
    }
    if real < -TWO_TO_63 {
        return Ordering::Greater;
    }
    // In range now, so the whole part is exact; what the cut took away decides between equals.
    let whole = real.trunc();
    integer.cmp(&(whole as i64)).then_with(|| whole.partial_cmp(&real).unwrap_or(Ordering::Equal))
}

/// A value that outlives its row.
#[derive(Clone, Debug)]
pub(super) enum Owned {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Owned {
    pub fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(n) => Self::Integer(n),
            ValueRef::Real(n) => Self::Real(n),
            ValueRef::Text(bytes) => Self::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }

    pub fn get(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(n) => ValueRef::Integer(*n),
            Self::Real(n) => ValueRef::Real(*n),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }
}

/// The value as a parameter, as it is.
pub(super) fn bound(value: ValueRef<'_>) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(value)
}

/// A short printable form for messages: type and beginning.
pub(super) fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(_) => format!("'{}'", cell(value, 40)),
        value => cell(value, 40),
    }
}

/// A value for a table that people read, safe to print: text without quotes, blobs as `x'…'`, NULL by name. Of a long
/// one only so many bytes, and `…`.
pub fn cell(value: ValueRef<'_>, bytes_max: usize) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(n) => n.to_string(),
        ValueRef::Real(n) => format!("{n:?}"),
        ValueRef::Text(bytes) => {
            // No character is cut, as long as it is one.
            let is_begin = |at: &usize| bytes.get(*at).is_none_or(|b| b & 0xc0 != 0x80);
            let end = (bytes_max.saturating_sub(3)..=bytes_max.min(bytes.len())).rev().find(is_begin);
            let end = end.unwrap_or(bytes_max).min(bytes.len());
            text::escape(&bytes[..end]) + if end < bytes.len() { "…" } else { "" }
        }
        ValueRef::Blob(bytes) => {
            let end = bytes.len().min(bytes_max);
            format!("x'{}{}'", HEXLOWER.encode(&bytes[..end]), if end < bytes.len() { "…" } else { "" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rusqlite::Connection;

    fn value() -> impl Strategy<Value = rusqlite::types::Value> {
        use rusqlite::types::Value as V;
        let edge = [0, 1, -1, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1];
        let reals = [0.0, -0.0, 1.0, 0.5, -0.5, TWO_TO_63, -TWO_TO_63, f64::INFINITY];
        prop_oneof![
            Just(V::Null),
            any::<i64>().prop_map(V::Integer),
            prop::sample::select(edge.to_vec()).prop_map(V::Integer),
            any::<f64>().prop_filter("no number", |n| !n.is_nan()).prop_map(V::Real),
            prop::sample::select(reals.to_vec()).prop_map(V::Real),
            prop::sample::select(edge.to_vec()).prop_map(|n| V::Real(n as f64)),
            "[a-b\u{e9}\u{fffd}\u{1f600}\u{100}]{0,3}".prop_map(V::Text),
            prop::collection::vec(0_u8..3, 0..3).prop_map(V::Blob),
        ]
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_engine(a in value(), b in value(), kept in 0_usize..3) {
            let conn = Connection::open_in_memory().unwrap();
            let (name, encoding) =
                [("UTF-8", Encoding::Utf8), ("UTF-16le", Encoding::Utf16Le), ("UTF-16be", Encoding::Utf16Be)][kept];
            conn.execute_batch(&format!("PRAGMA encoding = '{name}'; CREATE TABLE t(a)")).unwrap();
            let sql = "SELECT rank() OVER (ORDER BY v) FROM (SELECT ?1 AS v, 1 AS n UNION ALL SELECT ?2, 2) ORDER BY n";
            let mut statement = conn.prepare(sql).unwrap();
            let ranks: Vec<i64> =
                statement.query_map([&a, &b], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(compare((&a).into(), (&b).into(), encoding), ranks[0].cmp(&ranks[1]));
        }
    }

    #[test]
    fn same_means_same_type_and_bytes() {
        assert!(!is_same(ValueRef::Integer(1), ValueRef::Real(1.0)));
        assert!(!is_same(ValueRef::Real(0.0), ValueRef::Real(-0.0)));
        assert!(!is_same(ValueRef::Text(b"a"), ValueRef::Blob(b"a")));
        assert!(is_same(ValueRef::Null, ValueRef::Null));
    }

    #[test]
    fn what_is_shown_is_short_and_safe() {
        assert_eq!(shown(ValueRef::Text("é\n".repeat(40).as_bytes())).chars().last(), Some('\''));
        assert_eq!(shown(ValueRef::Text(b"a\x1b")), "'a\\x1b'");
        assert_eq!(shown(ValueRef::Blob(&[1, 255])), "x'01ff'");
        assert!(shown(ValueRef::Blob(&[128; 100])).len() < 100);
        assert_eq!(cell(ValueRef::Text("aé€😀".as_bytes()), 4), "aé…");
        assert_eq!(cell(ValueRef::Text("aé€😀".as_bytes()), 10), "aé€😀");
        assert_eq!(cell(ValueRef::Text(&[0x80; 9]), 2), "\\x80\\x80…");
        assert_eq!(cell(ValueRef::Blob(&[1, 2, 3]), 2), "x'0102…'");
        assert_eq!([cell(ValueRef::Null, 0), cell(ValueRef::Text(b""), 0)], ["NULL", ""]);
    }
}
