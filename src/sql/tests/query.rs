use super::super::testing::{Lines, answer, made};
use super::super::*;
use crate::error::Kind;
use crate::event::Cancel;

fn asked(conn: &Connection, sql: &str) -> crate::error::Result<(Lines, u64)> {
    let mut lines = Lines::default();
    let count = query(conn, sql, &Cancel::new(), &mut lines)?;
    assert!(lines.is_ended && count == lines.rows.len() as u64);
    Ok((lines, count))
}

#[test]
fn an_answer_has_names_and_typed_values() {
    let conn = made("CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'x'), (1.0, x'00'), (NULL, '')");
    let (lines, count) = asked(&conn, "/* ; */ SELECT a, b AS \"the b\" FROM t; -- that is all").unwrap();
    assert_eq!((lines.columns, count), (vec!["a".into(), "the b".into()], 3));
    assert_eq!(lines.rows, ["1 'x'", "1.0 x'00'", "NULL ''"]);
    assert_eq!(asked(&conn, "VALUES (1), (2)").unwrap().1, 2);
    assert_eq!(asked(&conn, "PRAGMA main.table_info(t)").unwrap().1, 2);
    assert_eq!(asked(&conn, "SELECT 1 WHERE 0").unwrap().0.columns, ["1"]);
}

#[test]
fn only_one_statement_that_only_reads_is_run() {
    let conn = made("CREATE TABLE t(a); CREATE VIEW v AS SELECT 1");
    let refused = [
        "",
        " -- nothing",
        "SELECT 1; SELECT 2",
        "SELECT 1; DELETE FROM t",
        "DELETE FROM t",
        "INSERT INTO t VALUES (1) RETURNING a",
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        "ATTACH ':memory:' AS x",
        "DETACH x",
        "VACUUM INTO 'x'",
        "BEGIN",
        "PRAGMA journal_mode = WAL",
        "PRAGMA main . user_version = 7",
        "PRAGMA user_version(7)",
        "PRAGMA query_only = 0",
        "PRAGMA wal_checkpoint",
        "SELECT ?1",
        "SELECT nonsense",
        "SELEC 1",
        "SELECT 1 \0; DELETE FROM t",
        "SELECT load_extension('x')",
        "SELECT 'unfinished",
    ];
    for sql in refused {
        let error = asked(&conn, sql).map(|_| ()).unwrap_err();
        assert!(matches!(error.kind(), Kind::Usage | Kind::Failed), "{sql}: {error}");
        assert!(error.kind() == Kind::Usage || sql.contains("load_extension"), "{sql}: {error}");
    }
}

#[test]
fn pragmas_as_tables_change_nothing_either() {
    let conn = made("CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES (1), (2), (3)");
    let names = answer(&conn, "SELECT name FROM pragma_pragma_list");
    let settings = |conn: &Connection| {
        let told = ["user_version", "journal_mode", "foreign_keys", "query_only", "cache_size", "schema_version"];
        told.map(|name| answer(conn, &format!("PRAGMA {name}")))
    };
    let (before, state) = (super::super::testing::content(&conn), settings(&conn));
    for name in names {
        let name = String::from_utf8(data_encoding::HEXLOWER.decode(&name.as_bytes()[1..]).unwrap()).unwrap();
        for arguments in ["", "(7)", "('wal')", "(0x10002)"] {
            let _ = asked(&conn, &format!("SELECT * FROM pragma_{name}{arguments}"));
            let _ = chosen(&conn, "t", Some(&format!("(SELECT count(*) FROM pragma_{name}{arguments})")));
        }
    }
    assert_eq!((super::super::testing::content(&conn), settings(&conn)), (before, state));
}

#[test]
fn a_query_ends_when_asked() {
    let conn = made("");
    let endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r";
    let mut three = Lines { rows_max: Some(3), ..Lines::default() };
    assert_eq!(query(&conn, endless, &Cancel::new(), &mut three).unwrap(), 3);
    let cancel = Cancel::new();
    cancel.cancel();
    assert_eq!(query(&conn, endless, &cancel, &mut Lines::default()).unwrap_err().kind(), Kind::Interrupted);
}

#[test]
fn names_that_are_no_text_do_no_harm() {
    let mut conn = made("CREATE TABLE odd(a1, b); INSERT INTO odd VALUES (1, 2)");
    conn.execute_batch(
        "PRAGMA writable_schema = 1;
         UPDATE sqlite_schema SET sql = CAST(replace(CAST(sql AS BLOB), x'6131', x'61ff') AS TEXT);
         PRAGMA writable_schema = RESET",
    )
    .unwrap();
    harden(&mut conn, Limits::default(), || false).unwrap();
    let (lines, _) = asked(&conn, "SELECT * FROM odd").unwrap();
    assert_eq!((lines.columns, lines.rows), (vec!["column 1".into(), "column 2".into()], vec!["1 2".into()]));
}

fn chosen(conn: &Connection, table: &str, condition: Option<&str>) -> crate::error::Result<Vec<String>> {
    let mut lines = Lines::default();
    rows(conn, Selection { table, where_clause: condition }, &Cancel::new(), &mut lines)?;
    Ok(lines.rows)
}

#[test]
fn rows_are_chosen_by_an_expression() {
    let conn = made(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, up AS (upper(name)));
         INSERT INTO t(name) VALUES ('a'), ('b'), ('c'); CREATE VIEW v AS SELECT id FROM t WHERE id > 1;
         CREATE TABLE other(x); INSERT INTO other VALUES (2)",
    );
    assert_eq!(chosen(&conn, "T", None).unwrap().len(), 3);
    assert_eq!(chosen(&conn, "t", Some("up = 'B' -- or so")).unwrap(), ["2 'b' 'B'"]);
    assert_eq!(chosen(&conn, "t", Some("id IN (SELECT x FROM other)")).unwrap(), ["2 'b' 'B'"]);
    assert_eq!(chosen(&conn, "v", Some("id < 3")).unwrap(), ["2"]);
    assert_eq!(chosen(&conn, "w", None).unwrap_err().kind(), Kind::Missing);
}

#[test]
fn a_condition_cannot_leave_its_brackets() {
    let conn = made("CREATE TABLE t(name TEXT); INSERT INTO t VALUES ('a'); CREATE TABLE secret(s)");
    let bad = [
        "",
        "name = \"a\"",
        "name = ",
        "1) UNION SELECT s FROM secret WHERE (1",
        "1) --",
        "1 /*",
        "1; DROP TABLE t",
        "name = ?1",
        "name = :x",
        "count(*) > 0",
        "nothing = 1",
        "1, 2",
        "name = 'a' ORDER BY 1",
        "1\0",
    ];
    for condition in bad {
        let error = chosen(&conn, "t", Some(condition)).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{condition}: {error}");
    }
}
