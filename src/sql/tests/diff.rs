use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::super::testing::{answer, any_value, fill_with_edges, made};
use super::super::value::shown;
use super::super::*;
use crate::error::Kind;
use crate::event::Cancel;

fn told(a: &Connection, b: &Connection, table: &str) -> (Vec<String>, RowCounts) {
    let mut lines = Vec::new();
    let counts = diff_rows(a, b, table, &Cancel::new(), &mut |row| {
        let side = |values: Option<&[ValueRef<'_>]>| {
            values.map_or("-".to_owned(), |v| v.iter().map(|v| shown(*v)).collect::<Vec<_>>().join(" "))
        };
        assert!(row.before.or(row.after).is_some_and(|values| values.len() == row.columns.len()));
        lines.push(format!("{:?} {} | {}", row.change, side(row.before), side(row.after)));
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    (lines, counts)
}

fn counts(added: u64, removed: u64, changed: u64, same: u64) -> RowCounts {
    RowCounts { added, removed, changed, same }
}

#[test]
fn rows_are_told_by_their_key() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a)",
            "(1, 'x'), (2, 'y'), (4, NULL)",
            "(2, 'z'), (3, ''), (4, NULL)",
            &["Removed 1 'x' | -", "Changed 2 'y' | 2 'z'", "Added - | 3 ''"],
        ),
        (
            "CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY, a)",
            "('a', 1), ('B', 2)",
            "('b', 2), ('a', 1)",
            &["Removed 2 'B' 2 | -", "Added - | 1 'b' 2"],
        ),
        (
            "CREATE TABLE t(a, b, PRIMARY KEY (b DESC, a)) WITHOUT ROWID",
            "(1, 1), (2, 1.5)",
            "(1, 1), (1, 1.5)",
            &["Added - | 1 1.5", "Removed 2 1.5 | -"],
        ),
        (
            "CREATE TABLE t(a)",
            "(1), (0.0), ('é')",
            "(1.0), (-0.0), ('e')",
            &["Changed 1 1 | 1 1.0", "Changed 2 0.0 | 2 -0.0", "Changed 3 'é' | 3 'e'"],
        ),
        (
            "CREATE TABLE t(k PRIMARY KEY, a)",
            "(NULL, 1), (NULL, 2), (x'00', 3)",
            "(NULL, 1), (x'00', 3)",
            &["Removed 2 NULL 2 | -"],
        ),
        (
            "CREATE TABLE t(rowid, oid, _rowid_)",
            "(1, 1, 1), (1, 1, 1), (2, 2, 2)",
            "(2, 2, 2), (1, 1, 1), (1, 1, 1.0)",
            &["Removed 1 1 1 | -", "Added - | 1 1 1.0"],
        ),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b AS (a + 1))", "(1, 2)", "(1, 2)", &[]),
        (
            "CREATE VIRTUAL TABLE t USING fts5(a, b)",
            "('x', 'y'), ('z', NULL)",
            "('x', 'y')",
            &["Removed 2 'z' NULL | -"],
        ),
    ];
    for (schema, a, b, expected) in cases {
        let fill = |rows| {
            let columns = if schema.contains(" AS (") { "(id, a)" } else { "" };
            made(&format!("{schema}; INSERT INTO t{columns} VALUES {rows}"))
        };
        let (a, b) = (fill(a), fill(b));
        assert_eq!(told(&a, &b, "T").0, *expected, "{schema}");
        assert_eq!(told(&a, &a, "t").0, Vec::<String>::new(), "{schema}");
    }
}

#[test]
fn text_in_another_order_is_merged_all_the_same() {
    for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
        let make = |rows: &str| {
            let sql = "CREATE TABLE t(k TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO t VALUES";
            made(&format!("PRAGMA encoding = '{encoding}'; {sql} {rows}"))
        };
        let (a, b) =
            (make("('a'), ('\u{fffd}'), ('\u{1f600}'), ('\u{100}')"), make("('\u{1f600}'), ('\u{fffd}'), ('a')"));
        assert_eq!(told(&a, &b, "t").1, counts(0, 1, 0, 3), "{encoding}");
    }
    let (a, b) = (made("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t(a)"), made("CREATE TABLE t(a)"));
    let all = diff(&a, &b, &Cancel::new()).unwrap();
    assert!(all.tables[0].rows.as_ref().unwrap_err().contains("encoding"));
}

#[test]
fn a_database_is_compared_table_by_table() {
    let a = made(
        "CREATE TABLE same(a); INSERT INTO same VALUES (1);
         CREATE TABLE gone(a); INSERT INTO gone VALUES (1), (2);
         CREATE TABLE other(a PRIMARY KEY, b); INSERT INTO other VALUES (1, 2);
         CREATE TABLE wider(id INTEGER PRIMARY KEY, a); INSERT INTO wider VALUES (1, 2), (2, 3);
         CREATE INDEX i ON same(a); CREATE VIEW v AS SELECT 1; CREATE VIRTUAL TABLE c USING fts5(a, content='')",
    );
    let b = made(
        "CREATE TABLE same(a); INSERT INTO same VALUES (1);
         CREATE TABLE new(a); INSERT INTO new VALUES (7);
         CREATE TABLE other(a, b PRIMARY KEY); INSERT INTO other VALUES (1, 2);
         CREATE TABLE wider(id INTEGER PRIMARY KEY, a, extra DEFAULT 7); INSERT INTO wider VALUES (1, 2, 3), (2, 4, 5);
         CREATE INDEX i ON same(a DESC); CREATE VIEW v AS SELECT 1; CREATE VIRTUAL TABLE c USING fts5(a, content='');
         CREATE TRIGGER x AFTER INSERT ON same BEGIN SELECT 1; END",
    );
    let all = diff(&a, &b, &Cancel::new()).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let schema: Vec<_> =
        all.schema.iter().map(|c| format!("{:?} {} {}", c.change, text(&c.kind), text(&c.name))).collect();
    let expected = [
        "Changed index i",
        "Removed table gone",
        "Added table new",
        "Changed table other",
        "Changed table wider",
        "Added trigger x",
    ];
    assert_eq!(schema, expected);
    let rows: Vec<_> = all.tables.iter().map(|t| (text(&t.name), t.rows.clone())).collect();
    let expected = [
        ("c", Err("it indexes content that it does not keep".to_owned())),
        ("gone", Ok(counts(0, 2, 0, 0))),
        ("new", Ok(counts(1, 0, 0, 0))),
        ("other", Err("its key is another one on the other side".to_owned())),
        ("same", Ok(counts(0, 0, 0, 1))),
        ("wider", Ok(counts(0, 0, 1, 1))),
    ];
    assert_eq!(rows, expected.map(|(name, rows)| (name.to_owned(), rows)));
    let none = diff_rows(&a, &b, "nowhere", &Cancel::new(), &mut |_| Ok(ControlFlow::Continue(())));
    assert_eq!(none.unwrap_err().kind(), Kind::Missing);
    let view = diff_rows(&a, &b, "v", &Cancel::new(), &mut |_| Ok(ControlFlow::Continue(())));
    assert_eq!(view.unwrap_err().kind(), Kind::Usage);
}

/// How often the engine reports steps while it compares two databases of so many tables.
fn steps(tables: usize) -> u64 {
    let count = Arc::new(AtomicU64::new(0));
    let [a, b] = [1, 2].map(|rows| {
        let mut sql: String =
            (0..tables).map(|n| format!("CREATE TABLE t{n}(a); CREATE INDEX i{n} ON t{n}(a);")).collect();
        sql.push_str(&"INSERT INTO t0 VALUES (1);".repeat(rows));
        let mut conn = made(&sql);
        let count = Arc::clone(&count);
        let counting = move || {
            count.fetch_add(1, Ordering::Relaxed);
            false
        };
        conn.progress_handler(10, Some(counting)).unwrap();
        conn
    });
    let all = diff(&a, &b, &Cancel::new()).unwrap();
    assert_eq!((all.tables.len(), all.tables[0].rows.clone()), (tables, Ok(counts(1, 0, 0, 1))));
    count.load(Ordering::Relaxed)
}

#[test]
fn ten_times_as_many_tables_take_ten_times_as_many_steps() {
    let (few, many) = (steps(50), steps(500));
    assert!(many < few * 15, "{few} steps of 50 tables, {many} of 500");
}

#[test]
fn rows_out_of_order_are_damage() {
    // The index is made with another collation than the one it is said to have.
    let a = made("CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID; INSERT INTO t VALUES ('a'), ('B')");
    a.execute_batch(
        "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, 'COLLATE NOCASE', '');
         PRAGMA writable_schema = RESET",
    )
    .unwrap();
    let error = diff_rows(&a, &a, "t", &Cancel::new(), &mut |_| Ok(ControlFlow::Continue(()))).unwrap_err();
    assert_eq!(error.kind(), Kind::Damage);
}

#[test]
fn what_was_put_back_differs_in_nothing() {
    let a = made("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE INDEX i ON t(v)");
    fill_with_edges(&a, "t");
    let mut b = made("");
    let what = Copy { table: "t", where_clause: None, on_conflict: OnConflict::Fail, into_new: true };
    let copied = copy_table(&a, &mut b, &what, &Cancel::new()).unwrap();
    let all = diff(&a, &b, &Cancel::new()).unwrap();
    assert!(all.schema.is_empty());
    assert_eq!(all.tables[0].rows, Ok(counts(0, 0, 0, copied.rows)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn differences_are_those_of_a_full_join(
        left in prop::collection::btree_map(-6_i64..6, any_value(), 0..8),
        right in prop::collection::btree_map(-6_i64..6, any_value(), 0..8),
        schema in prop::sample::select(vec!["k INTEGER PRIMARY KEY, v", "k PRIMARY KEY, v", "k, v, PRIMARY KEY (k)"]),
    ) {
        let make = |rows: &std::collections::BTreeMap<i64, rusqlite::types::Value>| {
            let conn = made(&format!("CREATE TABLE t({schema})"));
            for row in rows.iter().rev() {
                conn.execute("INSERT INTO t VALUES (?1, ?2)", row).unwrap();
            }
            conn
        };
        let (a, b) = (make(&left), make(&right));
        let exact = |conn: &Connection, k: i64| answer(conn, &format!("SELECT v FROM t WHERE k = {k}"));
        let mut expected = RowCounts::default();
        for k in -6..6 {
            let count = match (left.contains_key(&k), right.contains_key(&k)) {
                (true, true) if exact(&a, k) == exact(&b, k) => &mut expected.same,
                (true, true) => &mut expected.changed,
                (true, false) => &mut expected.removed,
                (false, true) => &mut expected.added,
                (false, false) => continue,
            };
            *count += 1;
        }
        prop_assert_eq!(told(&a, &b, "t").1, expected);
    }
}
