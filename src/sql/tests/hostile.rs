//! Databases that lie or are broken: errors are fine, panics and endless loops are not.

use std::ops::ControlFlow;
use std::path::Path;

use proptest::prelude::*;
use rusqlite::OpenFlags;

use super::super::testing::{Lines, content, made};
use super::super::*;
use crate::error::Kind;
use crate::event::Cancel;

/// Opened as an image is, with an end to patience.
fn image(path: &Path) -> Connection {
    let uri = format!("file:{}?immutable=1", path.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let mut conn = Connection::open_with_flags(uri, flags).unwrap();
    let mut looks = 0;
    let stop = move || {
        looks += 1;
        looks > 200
    };
    harden(&mut conn, Limits { value_bytes_max: 1 << 20, ..Limits::default() }, stop).unwrap();
    conn
}

/// Does everything there is with a database, and only wants to come back.
fn everything(conn: &Connection, whole: &Connection) {
    let cancel = Cancel::new();
    let _ = verify(conn, Expected { tables: Some(&[]), ..Expected::default() }, &cancel);
    let _ = diff(conn, whole, &cancel);
    let _ = diff(whole, conn, &cancel);
    let _ = query(conn, "SELECT * FROM t", &cancel, &mut Lines { rows_max: Some(100), ..Lines::default() });
    let Ok(found) = tables(conn, true) else { return };
    for table in &found {
        let Ok(name) = std::str::from_utf8(&table.name) else { continue };
        let selection = Selection { table: name, where_clause: None };
        let _ = rows(conn, selection, &cancel, &mut JsonLines::new(std::io::sink()));
        let parts = ScriptParts { schema: true, sequence: true };
        let _ = script(conn, selection, parts, &cancel, &mut std::io::sink());
        let mut to = made("");
        for rule in [OnConflict::Skip, OnConflict::Replace] {
            let what = Copy { table: name, where_clause: None, on_conflict: rule, into_new: false };
            let before = content(&to);
            if copy_table(conn, &mut to, &what, &cancel).is_err() {
                assert_eq!(content(&to), before, "a failure left something");
            }
        }
        assert!(to.is_autocommit());
    }
}

const MADE: &str = "PRAGMA page_size = 512;
    CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT, b REAL, c AS (a || 'x') STORED);
    INSERT INTO t(a, b) VALUES ('one', 1), ('two', 2.5), (x'00', NULL), (printf('%.1000c', 'x'), -1);
    CREATE INDEX i ON t(a); CREATE UNIQUE INDEX u ON t(b) WHERE b > 0;
    CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO w VALUES ('x', 1), ('y', 2);
    CREATE TABLE child(p REFERENCES t(id)); INSERT INTO child VALUES (1);
    CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES ('one two'), ('three');
    CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); INSERT INTO r VALUES (1, 2, 3), (2, 3, 4);
    CREATE VIEW v AS SELECT a FROM t; CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM w; END;";

fn made_bytes(encoding: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let sql = format!("PRAGMA encoding = '{encoding}'; {MADE}");
    Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
    std::fs::read(path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn broken_bytes_are_errors(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        in_schema in any::<bool>(),
        encoding in prop::sample::select(vec!["UTF-8", "UTF-8", "UTF-16le", "UTF-16be"]),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut bytes = made_bytes(encoding);
        let whole = made(MADE);
        // The first pages hold the schema: what it says is more fun than what rows say.
        let range = if in_schema { 100..4096.min(bytes.len()) } else { 0..bytes.len() };
        for (at, byte) in edits {
            bytes[range.start + at.index(range.len())] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        std::fs::write(&path, &bytes).unwrap();
        everything(&image(&path), &whole);
    }
}

#[test]
fn a_schema_that_lies_is_told() {
    let lies = [
        // Names with control characters, a NUL, quotes; what is not what it says it is.
        "CREATE TABLE \"a\x1b[2J\n\"\"'\"(x); INSERT INTO \"a\x1b[2J\n\"\"'\" VALUES (1)",
        "CREATE TABLE t(a); UPDATE sqlite_schema SET name = 't' || char(0) || 'x', tbl_name = 't' || char(0) || 'x'",
        "CREATE TABLE t(a); UPDATE sqlite_schema SET sql = 'CREATE TABLE u(a)'",
        "CREATE TABLE t(a); UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a, b, c)'; INSERT INTO t VALUES (1)",
        "CREATE TABLE t(a); CREATE INDEX i ON t(a); UPDATE sqlite_schema SET sql = sql || '; DROP TABLE t' WHERE name = 'i'",
        "CREATE TABLE t(a); CREATE TABLE u(b); UPDATE sqlite_schema SET rootpage = 1 WHERE name = 't'",
        "CREATE TABLE t(a); CREATE TABLE u(b); UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'u')",
        "CREATE TABLE t(a); UPDATE sqlite_schema SET rootpage = 70000",
        "CREATE VIEW v AS SELECT * FROM v2; CREATE VIEW v2 AS SELECT * FROM v",
        "CREATE VIEW t AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
        "CREATE VIEW t AS SELECT load_extension('x')",
        "CREATE VIEW t AS SELECT * FROM pragma_user_version",
        "CREATE TABLE t(a, b AS (a) STORED); CREATE VIRTUAL TABLE f USING fts5(a, content='f')",
        "INSERT INTO sqlite_schema VALUES ('table', 'f', 'f', 0, 'CREATE VIRTUAL TABLE f USING fts5(a); DROP TABLE x')",
        "INSERT INTO sqlite_schema VALUES ('table', 'f', 'f', 0, 'CREATE VIRTUAL TABLE g USING fts5(a)')",
        "INSERT INTO sqlite_schema VALUES ('table', 'd', 'd', 0, 'CREATE VIRTUAL TABLE d USING dbstat')",
        "CREATE TABLE t(a COLLATE nowhere PRIMARY KEY, b CHECK (nofunction(b))); INSERT INTO t VALUES (1, 2)",
    ];
    for lie in lies {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let setup = Connection::open(&path).unwrap();
        // Whatever the engine does not take is no lie that can be told.
        let _ = setup.execute_batch(&format!("PRAGMA writable_schema = 1; {lie}"));
        drop(setup);
        everything(&image(&path), &made(""));
    }
}

#[test]
fn a_view_that_never_ends_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let sql = "CREATE VIEW v AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let conn = image(&path);
    assert_eq!(tables(&conn, true).unwrap().len(), 1);
    let error = query(&conn, "SELECT * FROM v", &Cancel::new(), &mut Lines::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
}

#[test]
fn a_value_that_is_too_long_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES (zeroblob(2000000))")
        .unwrap();
    let conn = image(&path);
    for sql in ["SELECT a FROM t", "SELECT zeroblob(2000000)", "SELECT printf('%.2000000c', 'x')"] {
        let error = query(&conn, sql, &Cancel::new(), &mut Lines::default()).unwrap_err();
        assert!(error.advice().contains("limit") || error.kind() == Kind::Damage, "{sql}: {error:?}");
    }
    let each: &mut EachRow<'_> = &mut |_| Ok(ControlFlow::Continue(()));
    assert!(diff_rows(&conn, &made("CREATE TABLE t(a)"), "t", &Cancel::new(), each).is_err());
}
