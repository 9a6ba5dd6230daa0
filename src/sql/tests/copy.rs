use proptest::prelude::*;
use rusqlite::types::Value;

use super::super::testing::{answer, any_value, content, fill_with_edges, made};
use super::super::*;
use crate::error::{Kind, Result};
use crate::event::Cancel;

pub(super) fn put(from: &Connection, to: &mut Connection, table: &str, rule: OnConflict) -> Result<Copied> {
    put_where(from, to, table, None, rule)
}

fn put_where(
    from: &Connection,
    to: &mut Connection,
    table: &str,
    condition: Option<&str>,
    rule: OnConflict,
) -> Result<Copied> {
    let what = Copy { table, where_clause: condition, on_conflict: rule, into_new: false };
    copy_table(from, to, &what, &Cancel::new())
}

/// Number 12 of the hard list: each fixture's table `t` is the same in an empty database afterwards.
#[test]
fn one_table_comes_back_whole() {
    let fixtures: &[(&str, &str)] = &[
        (
            "generated columns",
            "CREATE TABLE t(a, b AS (a + 1), c AS (a || 'x') STORED, d); INSERT INTO t VALUES (1, 2)",
        ),
        (
            "without rowid",
            "CREATE TABLE t(a TEXT, b, c, PRIMARY KEY (b, a DESC)) WITHOUT ROWID;
            INSERT INTO t VALUES ('x', 1, NULL), ('y', 1.5, x'00')",
        ),
        (
            "rowids without a key",
            "CREATE TABLE t(a); INSERT INTO t(rowid, a) VALUES (-9223372036854775808, 1), (7, 2),
            (9223372036854775807, 3)",
        ),
        (
            "a rowid whose name is taken",
            "CREATE TABLE t(rowid, oid); INSERT INTO t(_rowid_, rowid, oid) VALUES (5, 'a', 'b')",
        ),
        (
            "rowids that cannot be named",
            "CREATE TABLE t(rowid, oid, _rowid_); INSERT INTO t VALUES (1, 1, 1), (1, 1, 1)",
        ),
        (
            "autoincrement",
            "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a); INSERT INTO t VALUES (99, 1), (100, 2);
            DELETE FROM t WHERE id = 100",
        ),
        (
            "autoincrement, empty",
            "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES (8); DELETE FROM t",
        ),
        (
            "indices",
            "CREATE TABLE t(a, b UNIQUE); CREATE INDEX \"i 1\" ON t(a) WHERE b > 1;
            CREATE UNIQUE INDEX i2 ON t(lower(a), b COLLATE NOCASE DESC); INSERT INTO t VALUES ('A', 2), ('a', 3)",
        ),
        (
            "triggers",
            "CREATE TABLE t(a); INSERT INTO t VALUES (1);
            CREATE TRIGGER one AFTER INSERT ON t BEGIN INSERT INTO t VALUES (new.a); DELETE FROM log; END;
            CREATE TRIGGER two BEFORE DELETE ON t WHEN old.a > 1 BEGIN SELECT RAISE(ABORT, 'no; END'); END",
        ),
        (
            "odd names",
            "CREATE TABLE t(\"a\"\"b\", [select], `x\ny`, 'it''s', é, \"\"); INSERT INTO t VALUES (1, 2, 3, 4, 5, 6);
            CREATE INDEX \"in\"\"dex\" ON t(\"\")",
        ),
        (
            "strict",
            "CREATE TABLE t(i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT; INSERT INTO t VALUES (1, 2, '3', x'34', '5')",
        ),
        (
            "numbers as text",
            "CREATE TABLE t(n NUMERIC, x TEXT, r REAL, i INTEGER);
            INSERT INTO t VALUES ('abc', '007', -0.0, 'x'), ('1e', '1e5', 9e999, 9223372036854775807)",
        ),
        (
            "keys that are null",
            "CREATE TABLE t(k TEXT PRIMARY KEY, a); INSERT INTO t VALUES (NULL, 1), (NULL, 2), ('', 3)",
        ),
        (
            "clauses that would hide a conflict",
            "CREATE TABLE t(k PRIMARY KEY ON CONFLICT REPLACE, a UNIQUE ON CONFLICT IGNORE);
            INSERT INTO t VALUES (1, 2), (2, 3)",
        ),
        (
            "a rowid of a quirk",
            "CREATE TABLE t(id INTEGER PRIMARY KEY DESC, a); INSERT INTO t(rowid, id, a) VALUES (7, 1, 2)",
        ),
    ];
    for (name, sql) in fixtures {
        let from = made(sql);
        let mut to = made("");
        let copied = put(&from, &mut to, "T", OnConflict::Fail).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(content(&to), content(&from), "{name}");
        assert_eq!(answer(&to, "PRAGMA integrity_check"), ["t6f6b"], "{name}");
        assert!(copied.made && copied.skipped + copied.replaced + copied.rowids_changed == 0, "{name}");
        let mut again = put(&from, &mut to, "t", OnConflict::Skip);
        if *name == "rowids that cannot be named" {
            assert_eq!(again.unwrap().rows, 2);
            continue;
        }
        for rule in [OnConflict::Skip, OnConflict::Replace] {
            let done = again.unwrap_or_else(|e| panic!("{name} again: {e}"));
            assert_eq!((done.rows, done.skipped + done.replaced), (0, copied.rows), "{name}");
            assert_eq!(content(&to), content(&from), "{name} again");
            again = put(&from, &mut to, "t", rule);
        }
    }
}

#[test]
fn what_takes_long_in_the_target_can_be_stopped() {
    let from = made(
        "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO t SELECT i % 7 FROM n; CREATE INDEX i ON t(a, abs(a))",
    );
    let mut to = made("CREATE TABLE mine(a)");
    let before = content(&to);
    stop_when(&mut to, || true).unwrap();
    assert_eq!(put(&from, &mut to, "t", OnConflict::Fail).unwrap_err().kind(), Kind::Interrupted);
    stop_when(&mut to, || false).unwrap();
    assert_eq!(content(&to), before);
    assert_eq!(put(&from, &mut to, "t", OnConflict::Fail).unwrap().rows, 20000);
}

#[test]
fn encodings_of_both_sides_do_not_matter() {
    for (here, there) in [("UTF-16le", "UTF-8"), ("UTF-8", "UTF-16be"), ("UTF-16be", "UTF-16le")] {
        let sql = "CREATE TABLE té(k TEXT PRIMARY KEY, v); INSERT INTO té VALUES ('😀', x'ff00'), ('', 'a''\u{fffd}')";
        let from = made(&format!("PRAGMA encoding = '{here}'; {sql}"));
        let mut to = made(&format!("PRAGMA encoding = '{there}'; CREATE TABLE other(a)"));
        put(&from, &mut to, "té", OnConflict::Fail).unwrap();
        to.execute_batch("DROP TABLE other").unwrap();
        assert_eq!(content(&to), content(&from));
        assert_eq!(put(&from, &mut to, "té", OnConflict::Replace).unwrap().replaced, 2);
    }
}

#[test]
fn every_value_comes_back_exactly() {
    for sql in ["CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "CREATE TABLE t(id INTEGER PRIMARY KEY, v ANY) STRICT"] {
        let from = made(sql);
        fill_with_edges(&from, "t");
        let mut to = made("");
        put(&from, &mut to, "t", OnConflict::Fail).unwrap();
        assert_eq!(content(&to), content(&from));
        to.execute_batch("UPDATE t SET v = 'damaged' WHERE id % 2; DELETE FROM t WHERE id % 3 = 0").unwrap();
        put(&from, &mut to, "t", OnConflict::Replace).unwrap();
        assert_eq!(content(&to), content(&from));
    }
}

/// The story this is for: one provider's rows were damaged, and everybody else has gone on working.
#[test]
fn some_rows_are_put_back_and_no_others_change() {
    let from = made(
        "CREATE TABLE keys(id INTEGER PRIMARY KEY, provider TEXT, secret BLOB, used REAL);
         INSERT INTO keys(provider, secret, used) VALUES ('claude', x'01', 1.5), ('openai', x'02', 2.5),
           ('claude', x'03', -0.0), ('openai', x'04', NULL), ('claude', x'05', 5)",
    );
    let mut to = made("");
    put(&from, &mut to, "keys", OnConflict::Fail).unwrap();
    to.execute_batch(
        "CREATE TABLE log(what);
         CREATE TRIGGER t1 AFTER UPDATE ON keys BEGIN INSERT INTO log VALUES (new.id); END;
         CREATE TRIGGER t2 AFTER INSERT ON keys BEGIN INSERT INTO log VALUES (new.id); END;
         DROP TRIGGER t1;
         UPDATE keys SET secret = NULL, used = 'x' WHERE provider = 'claude' AND id < 5;
         DELETE FROM keys WHERE id = 5;
         UPDATE keys SET secret = x'ff' WHERE provider = 'openai';
         INSERT INTO keys VALUES (70, 'openai', x'07', 7);
         CREATE TRIGGER t1 AFTER UPDATE ON keys BEGIN INSERT INTO log VALUES (new.id); END;
         DELETE FROM log",
    )
    .unwrap();
    let openai = "SELECT rowid, * FROM keys WHERE provider = 'openai' ORDER BY id";
    let (before, schema) = (answer(&to, openai), answer(&to, "SELECT * FROM sqlite_schema"));
    let copied = put_where(&from, &mut to, "keys", Some("provider='claude'"), OnConflict::Replace).unwrap();
    assert_eq!((copied.rows, copied.replaced, copied.skipped, copied.made), (1, 2, 0, false));
    let claude = "SELECT rowid, * FROM keys WHERE provider = 'claude' ORDER BY id";
    assert_eq!(answer(&to, claude), answer(&from, claude));
    assert_eq!(answer(&to, openai), before);
    assert_eq!(answer(&to, "SELECT * FROM log"), Vec::<String>::new());
    assert_eq!(answer(&to, "SELECT * FROM sqlite_schema"), schema);
    to.execute_batch("UPDATE keys SET used = 1 WHERE id = 1").unwrap();
    assert_eq!(answer(&to, "SELECT * FROM log").len(), 1);
}

#[test]
fn rules_for_rows_that_are_there() {
    let from =
        made("CREATE TABLE t(k TEXT PRIMARY KEY, u UNIQUE, a); INSERT INTO t VALUES ('a', 1, 'A'), ('b', 2, 'B')");
    let there = "CREATE TABLE t(k TEXT PRIMARY KEY, u UNIQUE, a); INSERT INTO t(rowid, k, u, a) VALUES ";
    let rows = |conn: &Connection| -> Vec<String> {
        conn.prepare("SELECT rowid || k || u || a FROM t ORDER BY k")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(std::result::Result::unwrap)
            .collect()
    };
    let case = |there_rows: &str, rule| {
        let mut to = made(&format!("{there}{there_rows}"));
        let before = content(&to);
        let result = put(&from, &mut to, "t", rule);
        if result.is_err() {
            assert_eq!(content(&to), before);
            to.execute_batch("INSERT INTO t VALUES ('later', 'l', 'l')").unwrap();
        }
        (result.map(|c| (c.rows, c.skipped, c.replaced, c.rowids_changed)).map_err(|e| e.to_string()), rows(&to))
    };
    // The key is the primary key: the rowid of a row that is there stays.
    assert_eq!(case("(9, 'b', 7, 'x')", OnConflict::Skip), (Ok((1, 1, 0, 0)), vec!["1a1A".into(), "9b7x".into()]));
    assert_eq!(case("(9, 'b', 7, 'x')", OnConflict::Replace), (Ok((1, 0, 1, 0)), vec!["1a1A".into(), "9b2B".into()]));
    let (result, _) = case("(9, 'b', 7, 'x')", OnConflict::Fail);
    assert_eq!(result.unwrap_err(), "a row of t is already there: its key is 'b'");
    // The rowid belongs to another row by now.
    let (result, kept) = case("(1, 'z', 9, 'z')", OnConflict::Fail);
    assert_eq!(result, Ok((2, 0, 0, 1)));
    assert_eq!(kept, ["3a1A", "2b2B", "1z9z"]);
    // Another row has the unique value: never removed.
    assert_eq!(case("(5, 'z', 2, 'z')", OnConflict::Skip), (Ok((1, 1, 0, 0)), vec!["1a1A".into(), "5z2z".into()]));
    for rule in [OnConflict::Replace, OnConflict::Fail] {
        let (result, _) = case("(5, 'z', 2, 'z')", rule);
        assert!(result.unwrap_err().contains("UNIQUE constraint failed: t.u"));
    }
}

#[test]
fn clauses_of_the_target_do_not_decide() {
    let sql = "CREATE TABLE t(k INTEGER PRIMARY KEY ON CONFLICT REPLACE, u UNIQUE ON CONFLICT REPLACE,
        n NOT NULL ON CONFLICT IGNORE DEFAULT 7)";
    let from = made("CREATE TABLE t(k INTEGER PRIMARY KEY, u, n); INSERT INTO t VALUES (1, 5, 0), (3, 6, 0)");
    let mut to = made(&format!("{sql}; INSERT INTO t VALUES (2, 5, 1)"));
    assert!(put(&from, &mut to, "t", OnConflict::Replace).unwrap_err().reason().contains("UNIQUE"));
    assert_eq!(put(&from, &mut to, "t", OnConflict::Skip).unwrap().skipped, 1);
    assert_eq!(answer(&to, "SELECT * FROM t"), ["i2 i5 i1", "i3 i6 i0"]);
    from.execute_batch("UPDATE t SET n = NULL, u = k + 10").unwrap();
    for rule in [OnConflict::Replace, OnConflict::Skip] {
        assert!(put(&from, &mut to, "t", rule).unwrap_err().reason().contains("NOT NULL"));
    }
    assert_eq!(answer(&to, "SELECT * FROM t"), ["i2 i5 i1", "i3 i6 i0"]);
}

#[test]
fn some_rows_can_be_put_where_the_table_is_missing() {
    let from = made(
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a); CREATE INDEX i ON t(a);
         INSERT INTO t(a) VALUES (1), (2), (3)",
    );
    let mut to = made("");
    let copied = put_where(&from, &mut to, "t", Some("a = 2"), OnConflict::Fail).unwrap();
    assert_eq!((copied.rows, copied.indices), (1, 1));
    assert_eq!(answer(&to, "SELECT id, a, (SELECT seq FROM sqlite_sequence) FROM t"), ["i2 i2 i3"]);
}

#[test]
fn a_key_is_compared_by_its_collation_and_replaced_by_its_bytes() {
    let from = made("CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY, a); INSERT INTO t VALUES ('Key', 1)");
    let mut to =
        made("CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY, a); INSERT INTO t VALUES ('kEY', 2), ('l', 3)");
    assert_eq!(put(&from, &mut to, "t", OnConflict::Replace).unwrap().replaced, 1);
    assert_eq!(answer(&to, "SELECT k, a FROM t WHERE k = 'key'"), answer(&from, "SELECT k, a FROM t"));
}

#[test]
fn what_autoincrement_noted_never_goes_down() {
    let sql = "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a); INSERT INTO t VALUES ";
    for (here, there, expected) in [("(5, 1)", "(9, 1)", 9), ("(9, 1)", "(5, 1)", 9)] {
        let (from, mut to) = (made(&format!("{sql}{here}")), made(&format!("{sql}{there}; DELETE FROM t")));
        put(&from, &mut to, "t", OnConflict::Skip).unwrap();
        assert_eq!(answer(&to, "SELECT seq FROM sqlite_sequence"), [format!("i{expected}")]);
    }
}

#[test]
fn references_are_checked_and_told() {
    let sql = "CREATE TABLE parent(id INTEGER PRIMARY KEY, u UNIQUE);
        CREATE TABLE child(id INTEGER PRIMARY KEY, p REFERENCES parent(id) ON DELETE CASCADE);";
    let from = made(&format!(
        "{sql} INSERT INTO parent VALUES (1, 'a'), (2, 'b'); INSERT INTO child VALUES (10, 1), (20, 2), (30, NULL)"
    ));
    // No parents at all: told, also by the strictest rule, for that is how a table is looked at by itself.
    let mut to = made("");
    let copied = put(&from, &mut to, "child", OnConflict::Fail).unwrap();
    assert_eq!((copied.broken_references_count, copied.broken_references[0].parent_missing), (2, true));
    assert_eq!(copied.broken_references[1].rowid, Some(20));
    // One parent is missing.
    let mut to = made(&format!("{sql} INSERT INTO parent VALUES (1, 'a')"));
    let before = content(&to);
    let error = put(&from, &mut to, "child", OnConflict::Fail).unwrap_err();
    assert!(error.reason().contains("1 references into the table parent"), "{error}");
    assert_eq!(content(&to), before);
    let copied = put(&from, &mut to, "child", OnConflict::Skip).unwrap();
    assert_eq!((copied.rows, copied.broken_references_count), (3, 1));
    // Nothing cascades when parents are replaced, and the settings are as before.
    let copied = put(&from, &mut to, "parent", OnConflict::Replace).unwrap();
    assert_eq!((copied.rows, copied.replaced, copied.broken_references_count), (1, 1, 0));
    assert_eq!(answer(&to, "SELECT count(*) FROM child"), ["i3"]);
    assert_eq!(answer(&to, "PRAGMA foreign_keys"), ["i1"]);
    to.execute_batch("DELETE FROM parent").unwrap();
    assert_eq!(answer(&to, "SELECT id FROM child"), ["i30"]);
}

#[test]
fn a_table_of_another_shape_is_refused_by_naming_both() {
    let from = made("CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    for sql in ["CREATE TABLE t(id INTEGER PRIMARY KEY, b)", "CREATE TABLE t(id, a)", "CREATE VIEW t AS SELECT 1 AS id"]
    {
        let mut to = made(sql);
        let error = put(&from, &mut to, "t", OnConflict::Replace).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
    }
    let error = put(&from, &mut made("CREATE TABLE t(x)"), "t", OnConflict::Replace).unwrap_err();
    assert_eq!(error.reason(), "there: x; in what is put back: id (key), a");
    let what = Copy { table: "t", where_clause: None, on_conflict: OnConflict::Fail, into_new: true };
    let error = copy_table(&from, &mut made("CREATE TABLE T(id)"), &what, &Cancel::new()).unwrap_err();
    assert_eq!(error.to_string(), "the table t is already there");
    // Other order, other case, other default, more that is computed.
    let mut to = made("CREATE TABLE t(A DEFAULT 7, c AS (a), ID INTEGER PRIMARY KEY)");
    from.execute_batch("INSERT INTO t VALUES (3, 'x')").unwrap();
    put(&from, &mut to, "t", OnConflict::Fail).unwrap();
    assert_eq!(answer(&to, "SELECT id, a, c FROM t"), ["i3 t78 t78"]);
}

#[test]
fn a_value_that_would_be_altered_is_not_put_in() {
    let from = made("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, '007')");
    let mut to = made("CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER); INSERT INTO t VALUES (1, 0)");
    let error = put(&from, &mut to, "t", OnConflict::Replace).unwrap_err();
    assert!(error.reason().contains("another value"), "{error}");
    assert_eq!(answer(&to, "SELECT a FROM t"), ["i0"]);
    to.execute_batch("DELETE FROM t").unwrap();
    assert!(put(&from, &mut to, "t", OnConflict::Skip).is_err());
}

#[test]
fn views_come_by_their_name() {
    let from = made(
        "CREATE TABLE t(a); CREATE VIEW v AS SELECT a FROM t;
         CREATE TRIGGER x INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES (new.a); END",
    );
    let mut to = made("CREATE TABLE t(a)");
    let copied = put(&from, &mut to, "v", OnConflict::Fail).unwrap();
    assert!(copied.made && copied.triggers == 1);
    assert_eq!(content(&to), content(&from));
    assert_eq!(put(&from, &mut to, "v", OnConflict::Fail).unwrap().skipped, 1);
    assert_eq!(put_where(&from, &mut to, "v", Some("1"), OnConflict::Fail).unwrap_err().kind(), Kind::Usage);
    // Not where what it reads is not.
    for sql in ["CREATE TABLE other(b)", "CREATE TABLE t(b)"] {
        let mut to = made(sql);
        let before = content(&to);
        let error = put(&from, &mut to, "v", OnConflict::Fail).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::Usage, "cannot put back the view v"));
        assert!(error.reason().contains("no such") && content(&to) == before, "{error}");
    }
}

#[test]
fn a_failure_leaves_no_trace() {
    let from = made(
        "CREATE TABLE t(a); INSERT INTO t VALUES (1); CREATE INDEX i ON t(a);
         CREATE TABLE u(a CHECK (a < 5)); PRAGMA ignore_check_constraints = 1; INSERT INTO u VALUES (1), (9)",
    );
    let mut to = made("CREATE TABLE other(b); CREATE INDEX i ON other(b)");
    let before = content(&to);
    for table in ["t", "u"] {
        for rule in [OnConflict::Fail, OnConflict::Skip, OnConflict::Replace] {
            assert!(put(&from, &mut to, table, rule).is_err(), "{table}");
            assert_eq!(content(&to), before);
            assert!(to.is_autocommit());
        }
    }
    let cancel = Cancel::new();
    cancel.cancel();
    let what = Copy { table: "t", where_clause: None, on_conflict: OnConflict::Fail, into_new: true };
    assert_eq!(copy_table(&from, &mut to, &what, &cancel).unwrap_err().kind(), Kind::Interrupted);
    assert_eq!(content(&to), before);
    to.execute_batch("BEGIN").unwrap();
    assert_eq!(put(&from, &mut to, "t", OnConflict::Fail).unwrap_err().kind(), Kind::Usage);
}

#[test]
fn a_condition_that_is_bad_changes_nothing() {
    let from = made("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    for condition in ["a = 1; DROP TABLE t", "1) OR (1", "nothing", "a = \"x\"", ""] {
        let mut to = made("");
        let error = put_where(&from, &mut to, "t", Some(condition), OnConflict::Fail).unwrap_err();
        assert_eq!((error.kind(), content(&to).len()), (Kind::Usage, 0), "{condition}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Rows of any types, some of which were changed or deleted since, are as they were; new ones stay.
    #[test]
    fn any_rows_are_put_back(
        rows in prop::collection::vec((any::<i64>(), any_value(), any_value(), 0_u8..3), 0..12),
        shape in prop::sample::select(vec![
            "CREATE TABLE t(k INTEGER PRIMARY KEY, a, b BLOB)",
            "CREATE TABLE t(k INTEGER, a, b, PRIMARY KEY (k)) WITHOUT ROWID",
            "CREATE TABLE t(k UNIQUE NOT NULL, a, b ANY, c AS (k) STORED)",
            "CREATE TABLE t(k TEXT PRIMARY KEY, a, b)",
        ]),
    ) {
        let from = made(shape);
        let mut to = made(shape);
        for (k, a, b, fate) in &rows {
            let sql = "INSERT OR REPLACE INTO t(k, a, b) VALUES (?1, ?2, ?3)";
            from.execute(sql, (k, a, b)).unwrap();
            match fate {
                0 => to.execute(sql, (k, a, b)).unwrap(),
                1 => to.execute(sql, (k, Value::Null, a)).unwrap(),
                _ => to.execute("DELETE FROM t WHERE k = ?1", [k]).unwrap(),
            };
        }
        let is_keyed_by_rowid = shape.contains("UNIQUE");
        let rule = OnConflict::Replace;
        if is_keyed_by_rowid {
            // Rows are known by their rowid only, and these have others here and there.
            to.execute_batch("DELETE FROM t").unwrap();
        }
        let copied = put(&from, &mut to, "t", rule).unwrap();
        let all = "SELECT k, a, b FROM t ORDER BY k";
        prop_assert_eq!(answer(&to, all), answer(&from, all));
        let count = answer(&from, all).len() as u64;
        prop_assert_eq!(copied.rows + copied.replaced, count);
        let mut new = made("");
        put(&from, &mut new, "t", OnConflict::Fail).unwrap();
        prop_assert_eq!(content(&new), content(&from));
    }
}
