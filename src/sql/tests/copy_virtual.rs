//! Number 13 of the hard list: virtual tables, and what is behind them.

use super::super::testing::{answer, content, made};
use super::super::*;
use super::copy::put;
use crate::error::Kind;
use crate::event::Cancel;

const FILL: &str =
    "INSERT INTO f(rowid, a, b) VALUES (3, 'one two', 'x'), (-7, 'two three', NULL), (9, 'four', 'one');";

struct Fixture {
    name: &'static str,
    make: String,
    /// What must be answered alike.
    ask: &'static [&'static str],
    /// Whether rows can be put in one by one.
    is_by_rows: bool,
}

fn fixtures() -> Vec<Fixture> {
    let found: &[&str] = &["SELECT rowid FROM f WHERE f MATCH 'two' ORDER BY rank, rowid", "SELECT count(*) FROM f"];
    let fixture = |name, make: &str, ask, is_by_rows| Fixture { name, make: make.to_owned(), ask, is_by_rows };
    vec![
        fixture(
            "fts5, own content",
            &format!(
                "CREATE VIRTUAL TABLE f USING fts5(a, b UNINDEXED, prefix = '2'); {FILL}
            DELETE FROM f WHERE rowid = 9; INSERT INTO f(f) VALUES ('optimize')"
            ),
            found,
            true,
        ),
        fixture(
            "fts5, content elsewhere",
            &format!(
                "CREATE VIRTUAL TABLE f USING fts5(a, b, content = 'c d', content_rowid='id');
            CREATE TABLE \"c d\"(id INTEGER PRIMARY KEY, a, b); {FILL}"
            ),
            &["SELECT rowid FROM f WHERE f MATCH 'two' ORDER BY rowid"],
            false,
        ),
        fixture(
            "fts5, no content",
            &format!("CREATE VIRTUAL TABLE f USING fts5(a, b, content=''); {FILL}"),
            found,
            false,
        ),
        fixture(
            "fts5, odd names",
            "CREATE VIRTUAL TABLE \"f \"\"t\" USING fts5('a b', detail = none); INSERT INTO \"f \"\"t\" VALUES ('one')",
            &["SELECT rowid, * FROM \"f \"\"t\" WHERE \"f \"\"t\" MATCH 'one'"],
            true,
        ),
        fixture(
            "fts4",
            &format!("CREATE VIRTUAL TABLE f USING fts4(a, b, tokenize=porter); {FILL}"),
            &["SELECT docid, * FROM f WHERE f MATCH 'two'"],
            true,
        ),
        fixture(
            "rtree",
            "CREATE VIRTUAL TABLE f USING rtree(id, x0, x1, y0, y1, +note);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
            INSERT INTO f SELECT i * 3, i * 0.1, i * 0.1 + 1, -i, i, 'n' || i FROM n; DELETE FROM f WHERE id % 7 = 0",
            &["SELECT * FROM f WHERE x0 > 10.3 AND y1 < 200 ORDER BY id", "SELECT rtreecheck('f')"],
            true,
        ),
        fixture(
            "rtree_i32",
            "CREATE VIRTUAL TABLE f USING rtree_i32(id, x0, x1); INSERT INTO f VALUES (1, -5, 7)",
            &["SELECT * FROM f", "SELECT rtreecheck('f')"],
            true,
        ),
    ]
}

fn table_of(fixture: &Fixture) -> &'static str {
    if fixture.name.contains("odd") { "f \"t" } else { "f" }
}

fn sorted(conn: &Connection) -> Vec<String> {
    let mut lines = content(conn);
    lines.sort();
    lines
}

#[test]
fn a_virtual_table_comes_back_with_what_is_behind_it() {
    for fixture in fixtures() {
        // Another page size: what a module computes from it must come with the table.
        let from = made(&format!("PRAGMA page_size = 1024; {}", fixture.make));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("to.db");
        let mut to = Connection::open(&path).unwrap();
        if fixture.name == "fts5, content elsewhere" {
            put(&from, &mut to, "c d", OnConflict::Fail).unwrap();
        }
        put(&from, &mut to, table_of(&fixture), OnConflict::Fail).unwrap_or_else(|e| panic!("{}: {e}", fixture.name));
        assert_eq!(sorted(&to), sorted(&from), "{}", fixture.name);
        drop(to);
        let to = Connection::open(&path).unwrap();
        for sql in fixture.ask {
            assert_eq!(answer(&to, sql), answer(&from, sql), "{}: {sql}", fixture.name);
        }
        let check = answer(&to, "PRAGMA integrity_check");
        assert_eq!(check, answer(&from, "PRAGMA integrity_check"), "{}", fixture.name);
        assert_eq!(check, ["t6f6b"], "{}", fixture.name);
    }
}

#[test]
fn rows_are_put_into_a_virtual_table_that_is_there() {
    for fixture in fixtures() {
        let table = table_of(&fixture);
        let from = made(&fixture.make);
        let mut to = made(&fixture.make);
        let quoted = format!("\"{}\"", table.replace('"', "\"\""));
        if !fixture.is_by_rows {
            assert_eq!(put(&from, &mut to, table, OnConflict::Replace).unwrap_err().kind(), Kind::Failed);
            continue;
        }
        to.execute_batch(&format!("DELETE FROM {quoted} WHERE rowid = (SELECT min(rowid) FROM {quoted})")).unwrap();
        assert!(
            put(&from, &mut to, table, OnConflict::Fail).is_err()
                || fixture.name.contains("odd")
                || fixture.name == "rtree_i32"
        );
        let copied =
            put(&from, &mut to, table, OnConflict::Replace).unwrap_or_else(|e| panic!("{}: {e}", fixture.name));
        assert!(copied.rows <= 1, "{}", fixture.name);
        for sql in fixture.ask {
            assert_eq!(answer(&to, sql), answer(&from, sql), "{}: {sql}", fixture.name);
        }
        let all = format!("SELECT rowid, * FROM {quoted} ORDER BY rowid");
        assert_eq!(answer(&to, &all), answer(&from, &all), "{}", fixture.name);
        // Some rows into a database where it is missing.
        let what = Copy { table, where_clause: Some("rowid > 2"), on_conflict: OnConflict::Fail, into_new: true };
        let mut new = made("");
        copy_table(&from, &mut new, &what, &Cancel::new()).unwrap();
        let some = format!("SELECT rowid, * FROM {quoted} WHERE rowid > 2 ORDER BY rowid");
        assert_eq!(answer(&new, &some), answer(&from, &some), "{}", fixture.name);
    }
}

#[test]
fn an_index_that_triggers_keep_is_rebuilt() {
    let sql = "CREATE TABLE docs(id INTEGER PRIMARY KEY, body);
        CREATE VIRTUAL TABLE f USING fts5(body, content = \"Docs\", content_rowid = 'id');
        CREATE TRIGGER i AFTER INSERT ON docs BEGIN INSERT INTO f(rowid, body) VALUES (new.id, new.body); END;
        CREATE TRIGGER d AFTER DELETE ON docs BEGIN
          INSERT INTO f(f, rowid, body) VALUES ('delete', old.id, old.body); END;
        INSERT INTO docs(body) VALUES ('one two'), ('three')";
    let (from, mut to) = (made(sql), made(sql));
    to.execute_batch("DELETE FROM docs WHERE id = 1; INSERT INTO docs VALUES (9, 'nine')").unwrap();
    let copied = put(&from, &mut to, "docs", OnConflict::Skip).unwrap();
    assert_eq!((copied.rows, copied.skipped, copied.rebuilt), (1, 1, vec![b"f".to_vec()]));
    assert_eq!(answer(&to, "SELECT rowid FROM f WHERE f MATCH 'two OR nine' ORDER BY rowid"), ["i1", "i9"]);
    to.execute_batch("INSERT INTO f(f, rank) VALUES ('integrity-check', 1)").unwrap();
    assert_eq!(put(&from, &mut to, "docs", OnConflict::Skip).unwrap().rebuilt.len(), 0);
}

#[test]
fn what_is_behind_a_virtual_table_is_not_put_back_by_itself() {
    let from = made("CREATE VIRTUAL TABLE f USING fts5(a)");
    let error = put(&from, &mut made(""), "f_data", OnConflict::Fail).unwrap_err();
    assert_eq!((error.kind(), error.advice()), (Kind::Usage, "put back f"));
}

#[test]
fn a_failure_in_the_middle_of_a_virtual_table_leaves_no_trace() {
    let from = made(&fixtures()[0].make);
    let mut to = made("CREATE TABLE f_idx(mine)");
    let before = content(&to);
    assert!(put(&from, &mut to, "f", OnConflict::Fail).is_err());
    assert_eq!(content(&to), before);
    to.execute_batch("DROP TABLE f_idx").unwrap();
    put(&from, &mut to, "f", OnConflict::Fail).unwrap();
}
