//! What is known of the databases in a snapshot, without reading them.

use std::fs;

use rusqlite::Connection;
use serde_json::json;

use super::text;
use crate::support::program::Machine;

#[test]
fn lists_and_records_tell_what_was_seen_of_databases() {
    let machine = Machine::new();
    let app = machine.place("app");
    fs::create_dir_all(app.join("data")).unwrap();
    let db = Connection::open(app.join("data/a.db")).unwrap();
    db.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA user_version = 7; PRAGMA application_id = 99;
         CREATE TABLE t(a); INSERT INTO t VALUES (1), (2); CREATE TABLE u(a);",
    )
    .unwrap();
    machine.backup(&app).expect(0);
    let source = format!("one=sqlite:{}", text(&app.join("data/a.db")));
    machine.run(["backup", &source, "--database-check", "full"]).expect(0);
    machine.run(["backup", &source, "--database-check", "none"]).expect(0);

    let list = machine.run(["snapshots", "--json"]).expect(0).json();
    let facts = |n: usize| list["snapshots"][n]["sources"][0]["facts"]["databases"].clone();
    let seen = facts(0)[0]["seen"].clone();
    assert_eq!(facts(0)[0]["path"], "data/a.db");
    assert_eq!(facts(0)[0]["verdict"], json!({"depth": "pages", "wrong": []}));
    assert_eq!(facts(1)[0]["verdict"], json!({"depth": "full", "wrong": []}));
    assert_eq!((&facts(2)[0]["verdict"], &facts(2)[0]["path"]), (&json!(null), &json!("a.db")));
    for n in 0..3 {
        assert_eq!(facts(n).as_array().unwrap().len(), 1);
        assert_eq!(facts(n)[0]["seen"], seen, "{n}");
    }
    assert_eq!(list["snapshots"][1]["sources"][0]["kind"], "sqlite");
    let known =
        [("engine", json!("sqlite")), ("page_bytes", json!(8192)), ("pages", json!(3)), ("journal", json!("wal"))];
    let more = [("user_version", json!(7)), ("application_id", json!(99)), ("encoding", json!("UTF-8"))];
    for (name, value) in known.into_iter().chain(more) {
        assert_eq!(seen[name], value, "{name}");
    }
    assert_eq!(seen["tables"], json!([{"name": "t", "rows": 2}, {"name": "u", "rows": 0}]));

    let show = machine.run(["show", "latest~2", "--json"]).expect(0).json();
    assert_eq!(show["sources"][0]["facts"]["databases"][0]["seen"], seen);
    let line = "  sqlite  data/a.db: 3 pages of 8192 bytes, WAL, UTF-8, user_version 7, application_id 99; sound\n";
    machine.run(["show", "latest~2"]).expect(0).prints(line).prints("            t  2 rows\n");
    machine.run(["show", "latest"]).expect(0).prints("; not checked\n");

    // A list does not fail because of what it cannot look up.
    let damaged = machine.repository.join("packs");
    fs::rename(&damaged, machine.place("away")).unwrap();
    fs::create_dir(&damaged).unwrap();
    let list = machine.run(["snapshots", "--json"]).expect(0).json();
    let known = &list["snapshots"][0]["sources"][0]["facts"]["databases"][0];
    assert!(known["seen"].is_null() && known["why"].is_string() && known["verdict"].is_object(), "{known}");
}

/// Lists of tables agree on which there are; what was not counted is said.
#[test]
fn tables_of_the_engine_are_not_told_and_what_was_not_counted_is() {
    let machine = Machine::new();
    let app = machine.place("app");
    fs::create_dir_all(&app).unwrap();
    let long = "n".repeat(1025);
    let db = Connection::open(app.join("a.db")).unwrap();
    db.execute_batch(&format!(
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a); INSERT INTO t(a) VALUES (1), (2); CREATE INDEX i ON t(a);
         CREATE VIEW v AS SELECT a FROM t; CREATE TABLE {long}(a); CREATE TABLE sqliteful(a); ANALYZE",
    ))
    .unwrap();
    machine.backup(&app).expect(0);
    let seen =
        machine.run(["show", "latest", "--json"]).expect(0).json()["sources"][0]["facts"]["databases"][0]["seen"]
            .clone();
    assert_eq!(seen["tables"], json!([{"name": "sqliteful", "rows": 0}, {"name": "t", "rows": 2}]));
    assert_eq!(seen["tables_total"], 3);
    let list = machine.run(["tables", "latest:app/a.db", "--json"]).expect(0).json();
    let names: Vec<_> =
        list["tables"].as_array().unwrap().iter().map(|table| (&table["name"], &table["rows"])).collect();
    let (sqliteful, t, v) = (json!("sqliteful"), json!("t"), json!("v"));
    assert_eq!(names, [(&json!(long), &json!(null)), (&sqliteful, &json!(0)), (&t, &json!(2)), (&v, &json!(null))]);
    let text = machine.run(["tables", "latest:app/a.db"]).expect(0).stdout;
    let cells: Vec<Vec<_>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0][1..], ["not", "counted", "table", "a"]);
    assert_eq!((&cells[1][1..], &cells[3][1..]), (&["0", "table", "a"][..], &["view", "a"][..]));
    machine.run(["drill", "latest"]).expect(0).prints("integrity ok, 3 tables (1 not counted), t 2 rows = when saved");
}
