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
    let findings = verify(conn, expected, &Cancel::new()).unwrap().findings;
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

/// A database in a file that an application made, which has a collation and a function of its own; opened without these.
fn of_an_application(sql: &str) -> (tempfile::TempDir, Connection) {
    use rusqlite::functions::FunctionFlags;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let conn = Connection::open(&path).unwrap();
    conn.create_collation("unicase", |a, b| a.to_lowercase().cmp(&b.to_lowercase())).unwrap();
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("own", 1, flags, |context| context.get::<i64>(0)).unwrap();
    conn.execute_batch("CREATE TABLE plain(a); CREATE INDEX by_a ON plain(a); INSERT INTO plain VALUES (1), (2)")
        .unwrap();
    conn.execute_batch(sql).unwrap();
    conn.close().unwrap();
    (folder, Connection::open(path).unwrap())
}

const OWN: &str = "CREATE TABLE decks(id INTEGER PRIMARY KEY, name TEXT COLLATE unicase UNIQUE);
    CREATE TABLE k(v TEXT COLLATE unicase PRIMARY KEY) WITHOUT ROWID; INSERT INTO k VALUES ('x'), ('Y');
    CREATE TABLE child(d REFERENCES decks(name)); INSERT INTO decks(name) VALUES ('a'), ('B'); INSERT INTO child VALUES ('b');";

#[test]
fn what_an_application_alone_has_is_no_finding() {
    let changed = |made: &str, from: &str, to: &str| {
        format!(
            "{made}; PRAGMA writable_schema = 1;
            UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}') WHERE name = 'f'"
        )
    };
    let words = "INSERT INTO f VALUES ('one two')";
    let fts5 = format!("CREATE VIRTUAL TABLE f USING fts5(a); {words}");
    let fts4 = format!("CREATE VIRTUAL TABLE f USING fts4(a); {words}");
    let cases = [
        (OWN.to_owned(), "child, decks, k: the collation unicase"),
        ("CREATE TABLE t(a); INSERT INTO t VALUES (7); CREATE INDEX i ON t(own(a))".into(), "t: the function own"),
        (
            "CREATE TABLE t(a); INSERT INTO t VALUES (7); CREATE INDEX i ON t(a) WHERE own(a) > 5".into(),
            "t: the function own",
        ),
        ("CREATE TABLE t(a, b INT AS (own(a)) NOT NULL); INSERT INTO t VALUES (7)".into(), "t: the function own"),
        // The engine needs no values of this one.
        ("CREATE TABLE t(a, b AS (own(a))); INSERT INTO t VALUES (7)".into(), ""),
        (changed(&fts5, "(a)", "(a, tokenize = own)"), "f: the tokenizer own"),
        (changed(&fts4, "(a)", "(a, tokenize = own)"), "f: the tokenizer own"),
        (changed(&fts5, "fts5", "own"), "f: the module own"),
    ];
    for (sql, wanted) in cases {
        let (_folder, mut conn) = of_an_application(&sql);
        let names = super::super::tables(&conn, false).unwrap().into_iter().filter(|t| t.kind != TableKind::View);
        // As many as pages tell, whom the engine need not agree with.
        let rows = |name: &[u8]| match name {
            b"plain" | b"decks" | b"k" => Some(2),
            b"child" | b"t" | b"f" => Some(1),
            _ => None,
        };
        let tables: Vec<_> = names.map(|t| RecordedTable { rows: rows(&t.name), name: t.name }).collect();
        harden(&mut conn, Limits::default(), || false).unwrap();
        let expected = Expected { tables: Some(&tables), ..Expected::default() };
        let verified = verify(&conn, expected, &Cancel::new()).unwrap();
        assert_eq!(verified.findings, [], "{sql}");
        let tables: Vec<_> = verified.unasked.iter().map(|one| String::from_utf8_lossy(&one.table)).collect();
        let told = verified.unasked.first().map(|one| format!("{}: {}", tables.join(", "), one.lacks));
        assert_eq!(told.unwrap_or_default(), wanted, "{sql}");
    }
}

#[test]
fn what_the_key_of_a_table_without_rowid_lacks_is_named() {
    let (_folder, conn) = of_an_application("CREATE TABLE t(a COLLATE unicase PRIMARY KEY, b) WITHOUT ROWID");
    let tables = super::super::tables(&conn, true).unwrap();
    let table = tables.iter().find(|table| table.name == b"t").unwrap();
    assert_eq!((table.rows, table.columns.len()), (None, 2));
    assert_eq!(table.unreadable.as_deref(), Some("no such collation sequence: unicase"));
}

#[test]
fn beside_what_an_application_alone_has_damage_is_found() {
    let cases = [
        (
            "UPDATE sqlite_schema SET sql = replace(sql, '(a)', '(a COLLATE NOCASE DESC)') WHERE name = 'by_a'",
            "Integrity",
            "index by_a",
        ),
        ("DELETE FROM sqlite_schema WHERE name = 'plain' AND type = 'table'", "Integrity", "malformed"),
        (
            "UPDATE sqlite_schema SET sql = 'CREATE TABLE plain(a CHECK (a > 1))' WHERE name = 'plain'",
            "Integrity",
            "plain",
        ),
        ("CREATE TABLE r(a REFERENCES plain(rowid)); INSERT INTO plain VALUES (3)", "Rows", "plain has 3 rows, not 2"),
    ];
    for (damage, proof, said) in cases {
        let (_folder, mut conn) = of_an_application(&format!("{OWN} PRAGMA writable_schema = 1; {damage}"));
        let tables = recorded(&[("plain", 2), ("decks", 2), ("k", 2), ("child", 1)]);
        let findings = found(&mut conn, Expected { tables: Some(&tables), ..Expected::default() });
        let is_told = findings.iter().any(|line| line.starts_with(proof) && line.contains(said));
        assert!(is_told, "{damage}: {findings:#?}");
    }
}
