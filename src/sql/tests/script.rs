use proptest::prelude::*;

use super::super::testing::{any_value, content, fill_with_edges, made};
use super::super::*;
use crate::error::{Kind, Result};
use crate::event::Cancel;

const ALL: ScriptParts = ScriptParts { schema: true, sequence: true };

fn written(conn: &Connection, table: &str, condition: Option<&str>, parts: ScriptParts) -> Result<String> {
    let mut out = Vec::new();
    script(conn, Selection { table, where_clause: condition }, parts, &Cancel::new(), &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn comes_back(from: &Connection, table: &str) {
    let sql = written(from, table, None, ALL).unwrap();
    let to = made("");
    to.execute_batch(&sql).unwrap_or_else(|e| panic!("{e}\n{sql}"));
    assert_eq!(content(&to), content(from), "{sql}");
}

#[test]
fn a_table_comes_back_as_it_was() {
    let cases = [
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v); INSERT INTO t(id) VALUES (99); DELETE FROM t",
        "CREATE TABLE t(v); INSERT INTO t(rowid) VALUES (-7), (70)",
        "CREATE TABLE t(v, rowid TEXT, oid AS (v || 'x') STORED, _rowid_ AS (1))",
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v ANY) STRICT",
        "CREATE TABLE \"t\"(\"we\"\"ird\nname\" DEFAULT 'a;', v, \"select\"); CREATE INDEX \"i;\" ON t(v) WHERE v > ';'; -- c
         CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM t; SELECT 1; END",
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v /* a comment; */ ANY) STRICT -- to the end\n",
    ];
    for sql in cases {
        let from = made(sql);
        from.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
        fill_with_edges(&from, "t");
        comes_back(&from, "t");
    }
    let from = made(
        "CREATE TABLE t(a TEXT, n NUMERIC, r REAL, PRIMARY KEY (a, n)) WITHOUT ROWID, STRICT"
            .replace(", STRICT", "")
            .as_str(),
    );
    from.execute_batch("INSERT INTO t VALUES ('007', 'abc', 1), ('1e5', 9.5, -0.0), (x'00', '12x', 9e999)").unwrap();
    comes_back(&from, "t");
}

#[test]
fn virtual_tables_come_back_through_their_rows() {
    let from = made(
        "CREATE VIRTUAL TABLE f USING fts5(a, b UNINDEXED); INSERT INTO f(rowid, a, b) VALUES (7, 'x y', x'00');
         CREATE VIRTUAL TABLE r USING rtree(id, x0, x1, +note); INSERT INTO r VALUES (3, 0.1, 0.2, 'here');
         CREATE VIRTUAL TABLE c USING fts5(a, content='')",
    );
    let to = made(&(written(&from, "f", None, ALL).unwrap() + &written(&from, "r", None, ALL).unwrap()));
    let all = "SELECT r.rowid, r.*, f.rowid, f.* FROM r, f WHERE f MATCH 'y'";
    assert_eq!(super::super::testing::answer(&to, all), super::super::testing::answer(&from, all));
    assert_eq!(written(&from, "c", None, ALL).unwrap_err().kind(), Kind::Failed);
    assert_eq!(written(&from, "f_data", None, ALL).unwrap_err().kind(), Kind::Usage);
}

#[test]
fn parts_can_be_left_out_and_a_view_has_none() {
    let from = made(
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a); INSERT INTO t(a) VALUES ('it''s'), (2.5);
         CREATE VIEW v AS SELECT * FROM t",
    );
    let none = ScriptParts { schema: false, sequence: false };
    let expected = "PRAGMA foreign_keys=OFF;\nBEGIN;\nINSERT INTO \"t\"(\"id\",\"a\") VALUES(1,'it''s');\nCOMMIT;\n";
    assert_eq!(written(&from, "t", Some("id = 1"), none).unwrap(), expected);
    let view = written(&from, "v", None, ALL).unwrap_err();
    assert_eq!((view.kind(), view.what()), (Kind::Usage, "cannot write the view v as SQL"));
}

#[test]
fn a_schema_that_says_more_is_not_written() {
    let from = made("CREATE TABLE t(a)");
    from.execute_batch(
        "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = sql || '; DROP TABLE users';
         PRAGMA writable_schema = RESET",
    )
    .unwrap();
    // The engine may refuse such a schema by itself.
    if let Ok(sql) = written(&from, "t", None, ALL) {
        panic!("{sql}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_values_come_back(rows in prop::collection::vec((any_value(), any_value(), any::<i64>()), 0..8)) {
        let from = made("CREATE TABLE t(a, b BLOB)");
        for (a, b, rowid) in &rows {
            from.execute("INSERT OR IGNORE INTO t(a, b, rowid) VALUES (?1, ?2, ?3)", (a, b, rowid)).unwrap();
        }
        comes_back(&from, "t");
    }
}
