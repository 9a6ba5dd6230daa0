//! Databases in snapshots: listed and asked where they lie, by people and programs, and hostile questions.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use rusqlite::Connection;
use rustix::process::Signal;

use super::text;
use crate::support::files_below;
use crate::support::plant::{Item, plant};
use crate::support::program::{self, Machine};

const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
const ENDLESS_ROWS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";

fn make(path: &Path, sql: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// A folder with a database and other files in it, and one with two databases, all in one snapshot.
fn machine() -> Machine {
    let machine = Machine::new();
    make(
        &machine.place("app/data/a.db"),
        "CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT, city);
         INSERT INTO people VALUES(7, 'Anna', 'Łódź'), (12, 'Bob, the 2nd', NULL), (9007199254740993, '', x'00ff');
         CREATE VIEW cities AS SELECT DISTINCT city FROM people;
         CREATE VIEW broken AS SELECT * FROM nowhere;
         CREATE VIRTUAL TABLE words USING fts5(text);",
    );
    make(&machine.place("two/a.db"), "CREATE TABLE t(a)");
    make(&machine.place("two/b.db"), "CREATE TABLE t(a)");
    let other: [(&[u8], &[u8]); 3] = [(b"text", b"no database at all"), (b"empty", b""), (b"plain/x", b"x")];
    for (name, bytes) in other {
        plant(&machine.place("app"), &[(name, Item::File(bytes.to_vec()))]);
    }
    make(&machine.place("plain.db"), "CREATE TABLE t(a); INSERT INTO t VALUES(1), (2), (3)");
    machine.run(["backup", text(&machine.place("app")), text(&machine.place("two"))]).expect(0);
    machine.run(["backup", "--raw-databases", text(&machine.place("plain.db"))]).expect(0);
    machine
}

#[test]
fn tables_are_listed_with_the_rows_that_were_counted() {
    let machine = machine();
    for address in ["latest:app/data/a.db", "latest:app", "latest:app/data"] {
        let listed = machine.run(["tables", address]).expect(0).stdout;
        let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["NAME", "ROWS", "KIND", "COLUMNS"]);
        assert!(lines.contains(&vec!["people", "3", "table", "id,", "name,", "city"]), "{listed}");
        assert!(lines.contains(&vec!["cities", "view", "city"]), "{listed}");
        assert!(lines.contains(&vec!["words", "0", "fts5", "text"]), "{listed}");
        assert!(listed.contains("no such table: main.nowhere"), "{listed}");
    }
    let json = machine.run(["--json", "tables", "latest:app"]).expect(0).json();
    assert_eq!((&json["type"], &json["source"], &json["path"]), (&"tables".into(), &"app".into(), &"data/a.db".into()));
    let tables = json["tables"].as_array().unwrap();
    let people = tables.iter().find(|table| table["name"] == "people").unwrap();
    let expected = serde_json::json!(
        {"name": "people", "kind": "table", "rows": 3, "columns": ["id", "name", "city"], "why": null});
    assert_eq!(*people, expected);
    let broken = tables.iter().find(|table| table["name"] == "broken").unwrap();
    assert!(broken["why"].as_str().unwrap().contains("nowhere"), "{broken}");
    // Saved as a plain file, it is counted now.
    let plain = machine.run(["--json", "tables", "latest:plain.db"]).expect(0).json();
    assert_eq!(plain["tables"][0]["rows"], 3);
}

#[test]
fn a_question_is_answered_as_a_table_as_csv_and_as_json() {
    let machine = machine();
    let ask = |more: &[&str], sql: &str| machine.run(["query", "latest:app", sql].iter().chain(more)).expect(0);
    let sql = "SELECT id, name, city, city FROM people ORDER BY id";
    let people = "\
              id  name          city      city
               7  Anna          Łódź      Łódź
              12  Bob, the 2nd  NULL      NULL
9007199254740993                x'00ff'   x'00ff'
";
    let squeezed = |text: &str| -> Vec<Vec<String>> {
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    assert_eq!(squeezed(&ask(&[], sql).stdout), squeezed(people));
    let csv =
        "id,name,city,city\r\n7,Anna,Łódź,Łódź\r\n12,\"Bob, the 2nd\",,\r\n9007199254740993,\"\",x'00ff',x'00ff'\r\n";
    assert_eq!(ask(&["--csv"], sql).stdout, csv);
    let run = ask(&["--json"], sql);
    let json = run.json();
    assert_eq!((run.stdout.lines().count(), &json["type"]), (1, &"query".into()), "one document");
    assert_eq!((&json["source"], &json["path"]), (&"app".into(), &"data/a.db".into()));
    assert_eq!(json["columns"], serde_json::json!(["id", "name", "city", "city_2"]));
    assert_eq!(json["rows"][1], serde_json::json!({"id": 12, "name": "Bob, the 2nd", "city": null, "city_2": null}));
    assert!(run.stdout.contains(r#""id":9007199254740993,"name":"","city":{"base64":"AP8="}"#), "{run:?}");
    // No row at all still has its columns.
    let none = "SELECT id, name FROM people WHERE 0";
    assert_eq!(squeezed(&ask(&[], none).stdout), [["id", "name"]]);
    assert_eq!(ask(&["--csv"], none).stdout, "id,name\r\n");
    assert_eq!(ask(&["--json"], none).json()["rows"], serde_json::json!([]));
    // An older state is asked as easily.
    make(&machine.place("app/data/a.db"), "DELETE FROM people");
    machine.backup(&machine.place("app")).expect(0);
    let count =
        |address: &str| machine.run(["query", "--csv", address, "SELECT count(*) FROM people"]).expect(0).stdout;
    assert_eq!([count("latest:app"), count("latest~1:app")], ["count(*)\r\n0\r\n", "count(*)\r\n3\r\n"]);
}

#[test]
fn only_what_reads_is_run() {
    let machine = machine();
    let stored = files_below(&machine.repository);
    let elsewhere = machine.place("elsewhere.db");
    for sql in [
        "INSERT INTO people VALUES(1, 2, 3)",
        "DELETE FROM people",
        "CREATE TABLE t(a)",
        "CREATE TEMP TABLE t AS SELECT 1",
        "WITH n AS (SELECT 1) DELETE FROM people",
        "VACUUM",
        &format!("VACUUM INTO '{}'", text(&elsewhere)),
        &format!("ATTACH '{}' AS other", text(&elsewhere)),
        &format!("attach/**/'{}' as other", text(&elsewhere)),
        "DETACH main",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA query_only = 0",
        "PRAGMA writable_schema = 1",
        "REINDEX",
        "BEGIN",
        "SELECT 1; DELETE FROM people",
        "SELECT * FROM people WHERE id = ?1",
        "SELECT nothing FROM people",
        "SELECT",
        "SELECT 'open",
        "",
    ] {
        let run = machine.run(["query", "latest:app", sql]).expect(2);
        assert!(run.stderr.starts_with("error: ") && run.stdout.is_empty(), "{sql}: {run:?}");
        let json = machine.run(["--json", "query", "latest:app", sql]).expect(2).json();
        assert_eq!((&json["type"], &json["code"]), (&"error".into(), &"usage".into()), "{sql}");
    }
    machine.run(["query", "latest:app", "SELECT load_extension('x')"]).expect(1).says("not authorized");
    assert!(!elsewhere.exists());
    assert_eq!(files_below(&machine.repository), stored);
    machine.run(["query", "latest:app", "SELECT 1", "--csv", "--json"]).expect(2);
    machine.run(["query", "latest:app"]).expect(2);
}

#[test]
fn what_is_no_database_is_told_apart_from_what_is_not_there() {
    let machine = machine();
    for (address, code, why) in [
        ("latest:app/text", 2, "text is no SQLite database"),
        ("latest:app/empty", 2, "it is empty"),
        ("latest:two", 2, "there are several databases in two"),
        ("latest:app/plain", 1, "there is no database in plain"),
        ("latest:app/nowhere", 1, "nowhere is not in the snapshot"),
        ("latest:nothing/a.db", 1, "nothing"),
        ("aaaa:app", 1, "no snapshot aaaa"),
    ] {
        machine.run(["tables", address]).expect(code).says(why);
        machine.run(["query", address, "SELECT 1"]).expect(code).says(why);
    }
    let json = machine.run(["--json", "tables", "latest:app/text"]).expect(2).json();
    assert_eq!((&json["type"], &json["code"]), (&"error".into(), &"usage".into()));
}

/// Processor time that a process has used, in hundredths of a second.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(11).unwrap().parse().unwrap()
}

#[test]
fn a_question_without_an_end_is_stopped_by_a_signal() {
    let machine = machine();
    make(&machine.place("app/data/a.db"), &format!("CREATE VIEW endless AS {ENDLESS}"));
    machine.backup(&machine.place("app")).expect(0);
    // The list of tables compiles the view, and does not run it.
    machine.run(["tables", "latest:app"]).expect(0).prints("endless");
    for (sql, signal, code) in
        [(ENDLESS, Signal::INT, 130), ("SELECT * FROM endless", Signal::TERM, 143), (ENDLESS_ROWS, Signal::INT, 130)]
    {
        let mut command = machine.command(["query", "--csv", "latest:app", sql]);
        command.stdout(fs::File::create("/dev/null").unwrap());
        let child = command.spawn().unwrap();
        program::wait_until("the engine is at work", || ticks(child.id()) > 50);
        program::signal(child.id(), signal);
        program::wait(vec!["query".into(), sql.into()], child).expect(code);
    }
}

#[test]
fn a_reader_who_has_seen_enough_ends_an_endless_answer() {
    let machine = machine();
    for more in [vec![], vec!["--csv"], vec!["--json"]] {
        let mut child = machine.command(["query", "latest:app", ENDLESS_ROWS].iter().chain(&more)).spawn().unwrap();
        let mut first = BufReader::new(child.stdout.take().unwrap());
        let mut some = vec![0; 100];
        std::io::Read::read_exact(&mut first, &mut some).unwrap();
        assert!(!first.fill_buf().unwrap().is_empty());
        drop(first);
        program::wait(vec!["query".into()], child).expect(0);
    }
}

#[test]
fn a_database_that_was_broken_when_it_was_saved_is_no_damage_of_the_repository() {
    let machine = Machine::new();
    let path = machine.place("app/a.db");
    make(
        &path,
        "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9999) INSERT INTO t SELECT hex(randomblob(40)) FROM n",
    );
    let mut bytes = fs::read(&path).unwrap();
    let len = bytes.len();
    bytes[8192..len / 2].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    machine.run(["backup", text(&machine.place("app"))]).expect(3);
    let run = machine.run(["query", "latest:app", "SELECT sum(length(a)) FROM t"]).expect(1);
    assert!(run.stderr.contains("malformed") && run.stderr.contains("larder check"), "{run:?}");
    machine.run(["check", "--data", "all"]).expect(0);
}

#[test]
fn a_pack_that_is_gone_is_damage_and_no_answer() {
    let machine = Machine::new();
    let path = machine.place("app/a.db");
    make(
        &path,
        "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9999) INSERT INTO t SELECT hex(randomblob(400)) FROM n",
    );
    machine.backup(&machine.place("app")).expect(0);
    let packs = files_below(&machine.repository.join("packs"));
    let largest = packs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    fs::remove_file(largest).unwrap();
    for more in [vec![], vec!["--csv"], vec!["--json"]] {
        let args = ["query", "latest:app", "SELECT sum(length(a)) FROM t"];
        let run = machine.run(args.iter().chain(&more)).expect(4);
        assert!(!run.stdout.contains("7999200"), "{run:?}");
    }
}

/// Saved as the plain file that it is, a database has not all of its state in it.
#[test]
fn a_plain_file_with_a_log_beside_it_is_told() {
    let machine = Machine::new();
    std::fs::create_dir(machine.place("app")).unwrap();
    let db = Connection::open(machine.place("app/a.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(a); PRAGMA wal_checkpoint; INSERT INTO t VALUES(1)")
        .unwrap();
    let app = machine.place("app");
    machine.run(["backup", "--raw-databases", text(&app)]).expect(0);
    let told = "a.db: it was saved as a plain file, and a part of it is in a.db-wal, which is not looked at";
    machine.run(["tables", "latest:app/a.db"]).expect(3).says(told);
    machine.run(["query", "latest:app/a.db", "SELECT count(*) FROM t"]).expect(3).prints("0").says(told);
    let unfit = "is not put back into use";
    for more in [&["--table", "t", "--csv", "-"][..], &["--table", "t", "--apply"], &["--to", "sqlite:new.db"]] {
        machine.run(["restore", "latest:app/a.db"].iter().chain(more)).expect(1).says(told).says(unfit);
    }
    machine.run(["diff", "latest:app/a.db", "--table", "t"]).expect(3).says(told);
    machine.run(["backup", text(&app)]).expect(0);
    let run = machine.run(["query", "latest:app/a.db", "SELECT count(*) FROM t"]).expect(0).prints("1");
    assert_eq!(run.stderr, "");
}
