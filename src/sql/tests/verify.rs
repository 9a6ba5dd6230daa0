use super::super::testing::made;
use super::super::*;
use crate::error::Kind;
use crate::event::Cancel;

const MADE: &str = "PRAGMA foreign_keys = 0; CREATE TABLE parent(id INTEGER PRIMARY KEY, name TEXT UNIQUE);
    CREATE TABLE child(p REFERENCES parent, q REFERENCES nowhere);
    INSERT INTO parent VALUES (1, 'a'), (2, 'b'); INSERT INTO child(p) VALUES (1), (NULL);
    CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES ('one two'), ('three');
    CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); INSERT INTO r VALUES (1, 2, 3);";

fn found(conn: &mut Connection, expected: Expected<'_>) -> Vec<String> {
    harden(conn, Limits::default(), || false).unwrap();
    let findings = verify(conn, expected, &Cancel::new()).unwrap();
    findings.into_iter().map(|finding| format!("{:?}: {}", finding.proof, finding.said)).collect()
}

fn recorded(tables: &[(&str, u64)]) -> Vec<RecordedTable> {
    tables.iter().map(|(name, rows)| RecordedTable { name: name.as_bytes().to_vec(), rows: Some(*rows) }).collect()
}

#[test]
fn a_whole_database_has_no_findings() {
    let tables = recorded(&[("parent", 2), ("child", 2), ("f", 2), ("r", 1)]);
    let checks = ["SELECT count(*) FROM parent WHERE id = 1", "SELECT count(*) FROM parent = 2"];
    let expected = Expected { tables: Some(&tables), checks: &checks, ..Expected::default() };
    assert_eq!(found(&mut made(MADE), expected), Vec::<String>::new());
    assert_eq!(found(&mut made(""), Expected::default()), Vec::<String>::new());
}

#[test]
fn every_proof_finds_what_it_is_for() {
    let cases = [
        ("DELETE FROM f_data WHERE id > 10", "Integrity", "f"),
        ("DELETE FROM f_content WHERE id = 1", "Integrity", "f"),
        ("UPDATE r_node SET data = zeroblob(length(data))", "Integrity", "r"),
        ("WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO r SELECT i, i, i FROM n;
          UPDATE r_node SET data = x'' WHERE nodeno = (SELECT max(nodeno) FROM r_node)", "Integrity", "out of memory, which SQLite also says of damaged R-tree tables"),
        ("INSERT INTO child(p) VALUES (9)", "References", "child: 1 references to parent lead nowhere, the first in row 3"),
        ("INSERT INTO child(q) VALUES (9)", "References", "references to nowhere"),
        ("INSERT INTO parent VALUES (7, 'c')", "Rows", "parent has 3 rows, not 2"),
        ("DROP TABLE r", "Rows", "the table r is missing"),
        ("CREATE TABLE more(a)", "Rows", "the table more was not there"),
        ("PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, 'UNIQUE', '') WHERE name = 'parent';
          DELETE FROM sqlite_schema WHERE name LIKE 'sqlite_auto%'; PRAGMA writable_schema = RESET", "Integrity", "never used"),
    ];
    for (damage, proof, said) in cases {
        let mut conn = made(MADE);
        conn.execute_batch(damage).unwrap();
        let tables = recorded(&[("parent", 2), ("child", 2), ("f", 2), ("r", 1)]);
        let findings = found(&mut conn, Expected { tables: Some(&tables), ..Expected::default() });
        let is_told = findings.iter().any(|line| line.starts_with(proof) && line.contains(said));
        assert!(is_told, "{damage}: {findings:#?}");
    }
}

#[test]
fn what_was_not_counted_or_not_named_need_not_be_there_as_it_was() {
    let mut tables = recorded(&[("parent", 2), ("child", 2), ("f", 2)]);
    tables[1].rows = None;
    let expected = Expected { tables: Some(&tables), tables_more: 1, checks: &[] };
    assert_eq!(found(&mut made(MADE), expected), Vec::<String>::new());
    let expected = Expected { tables: Some(&tables), ..Expected::default() };
    assert_eq!(found(&mut made(MADE), expected), ["Rows: the table r was not there when it was saved"]);
}

#[test]
fn own_checks_are_true_or_equal() {
    let good = [
        "SELECT 1",
        "SELECT 'yes'",
        "SELECT id FROM parent",
        "SELECT 1, 0",
        "SELECT count(*) FROM parent WHERE id = 1",
        "SELECT count(*) FROM parent == 2.0",
        "(SELECT count(*) FROM parent WHERE name = 'a') = 1",
        "2 < 3",
        "SELECT max(p) FROM child = 1",
        "WITH x(a) AS (SELECT '=') SELECT a FROM x = '='",
    ];
    assert_eq!(found(&mut made(MADE), Expected { checks: &good, ..Expected::default() }), Vec::<String>::new());
    let bad = [
        ("SELECT 0", "the answer is 0, which is not true"),
        ("SELECT NULL", "the answer is NULL"),
        ("SELECT ''", "the answer is ''"),
        ("SELECT '0'", "the answer is '0'"),
        ("SELECT 0, 1", "the answer is 0"),
        ("SELECT id - 1 FROM parent ORDER BY id", "the answer is 0"),
        ("SELECT id FROM parent = 1", "more than one"),
        ("SELECT nonsense", "no such column"),
        ("SELECT a FROM gone", "no such table"),
        ("SELECT a FROM gone = 5", "no such table"),
        ("SELECT id FROM parent WHERE id > 7", "no answer"),
        ("SELECT 1, 1 FROM parent = 1", "2 columns"),
        ("SELECT count(*) FROM parent = 3", "the answer is 2, not 3"),
        // All of it is a query, and so its condition compares twice.
        ("SELECT name FROM parent WHERE id = 1 = 'a'", "no answer"),
        ("1 > 2", "the answer is 0"),
    ];
    for (check, said) in bad {
        let findings = found(&mut made(MADE), Expected { checks: &[check], ..Expected::default() });
        assert!(findings.len() == 1 && findings[0].contains(said), "{check}: {findings:?}");
    }
    for check in ["", "SELECT", "DELETE FROM parent", "1; DELETE FROM parent", "SELECT 1; SELECT 1", "1) --"] {
        let error =
            verify(&made(MADE), Expected { checks: &[check], ..Expected::default() }, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{check}");
    }
}
