//! Databases in memory, and what is in them, for tests.

use std::ops::ControlFlow;

use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};

use super::query::Sink;
use super::value::shown;
use crate::error::Result;

/// A database that these statements have made.
pub(super) fn made(sql: &str) -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(sql).unwrap();
    conn
}

/// Rows as lines of values that show their types.
#[derive(Default)]
pub(super) struct Lines {
    pub columns: Vec<String>,
    pub rows: Vec<String>,
    pub rows_max: Option<usize>,
    pub is_ended: bool,
}

impl Sink for Lines {
    fn columns(&mut self, names: &[Vec<u8>]) -> Result<()> {
        self.columns = names.iter().map(|name| crate::text::escape(name)).collect();
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<ControlFlow<()>> {
        assert_eq!(values.len(), self.columns.len());
        self.rows.push(values.iter().map(|value| shown(*value)).collect::<Vec<_>>().join(" "));
        let is_full = self.rows_max.is_some_and(|max| self.rows.len() >= max);
        Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn end(&mut self) -> Result<()> {
        self.is_ended = true;
        Ok(())
    }
}

/// An exact picture of a value, for comparing.
fn exactly(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Real(n) => format!("r{:016x}", n.to_bits()),
        ValueRef::Integer(n) => format!("i{n}"),
        ValueRef::Null => "n".into(),
        ValueRef::Text(bytes) => format!("t{}", data_encoding::HEXLOWER.encode(bytes)),
        ValueRef::Blob(bytes) => format!("b{}", data_encoding::HEXLOWER.encode(bytes)),
    }
}

/// What a query answers, exactly.
pub(super) fn answer(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).unwrap();
    let count = statement.column_count();
    let mut rows = statement.raw_query();
    let mut lines = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        lines.push((0..count).map(|n| exactly(row.get_ref(n).unwrap())).collect::<Vec<_>>().join(" "));
    }
    lines
}

/// Everything in a database that a user put there: the schema, and all rows with their rowids.
pub(super) fn content(conn: &Connection) -> Vec<String> {
    let mut out = answer(conn, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name");
    let tables = super::tables(conn, false).unwrap();
    for table in tables.iter().filter(|table| table.kind == super::TableKind::Table) {
        let name = super::schema::quote(&table.name).unwrap();
        let shape = super::schema::existing(conn, std::str::from_utf8(&table.name).unwrap()).unwrap();
        let rowid = shape.rowid.map(|word| format!("{word}, ")).unwrap_or_default();
        let order = (1..=table.columns.len()).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        out.push(name.clone());
        out.extend(answer(conn, &format!("SELECT {rowid}* FROM {name} ORDER BY {order}")));
    }
    let has_sequence = "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'";
    if !answer(conn, has_sequence).is_empty() {
        out.extend(answer(conn, "SELECT name, seq FROM sqlite_sequence ORDER BY name"));
    }
    out
}

/// A table of values that are easily lost: `id` and `v`, which takes any type.
pub(super) fn fill_with_edges(conn: &Connection, table: &str) {
    let reals = [0.0, -0.0, 1.0, 0.1, -1.5e300, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY];
    let texts: [&[u8]; 9] =
        [b"", b"a", b"'", b"a\0b", b"\xff\xfe", "é\u{1f600}".as_bytes(), b"007", b"1e5", b"a\r\n\"b\","];
    let mut statement = conn.prepare(&format!("INSERT INTO {table}(v) VALUES (?1)")).unwrap();
    let mut put = |value: ValueRef<'_>| {
        statement.raw_bind_parameter(1, super::value::bound(value)).unwrap();
        statement.raw_execute().unwrap();
    };
    put(ValueRef::Null);
    for n in [0, 1, -1, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1] {
        put(ValueRef::Integer(n));
    }
    for n in reals {
        put(ValueRef::Real(n));
    }
    for bytes in texts {
        put(ValueRef::Text(bytes));
        put(ValueRef::Blob(bytes));
    }
}

/// Any value but NaN, which the engine keeps as NULL.
pub(super) fn any_value() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_filter("no number", |n| !n.is_nan()).prop_map(Value::Real),
        any::<i32>().prop_map(|n| Value::Real(f64::from(n))),
        "\\PC{0,8}".prop_map(Value::Text),
        "[0-9e.+-]{1,6}".prop_map(Value::Text),
        "[a\\x00'\"\n]{0,4}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Value::Blob),
    ]
}
