//! VibeSurf: two SQLite databases and the migrations that belong to them.

use std::path::PathBuf;

use rusqlite::Connection;

use super::{number, string, text};
use crate::support::plant::{Item, plant};
use crate::support::program::{Machine, Run};

const DATABASE: &str = "latest:vibesurf/vibe_surf.db";

/// The service's folder, and the connections that it keeps open.
fn service(machine: &Machine) -> (PathBuf, [Connection; 2]) {
    let folder = machine.place("vibesurf");
    plant(
        &folder,
        &[(b"migrations/007_tasks.sql", Item::File(b"CREATE TABLE task(id INTEGER PRIMARY KEY);".to_vec()))],
    );
    let main = Connection::open(folder.join("vibe_surf.db")).unwrap();
    main.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; PRAGMA user_version = 7;
         CREATE TABLE profiles(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, api_key BLOB);
         CREATE TABLE task(id INTEGER PRIMARY KEY, profile INTEGER NOT NULL REFERENCES profiles(id), what TEXT);
         CREATE TABLE changes(n INTEGER PRIMARY KEY, id INTEGER);
         CREATE INDEX task_of ON task(profile);
         CREATE TRIGGER renamed AFTER INSERT ON profiles BEGIN INSERT INTO changes(id) VALUES(new.id); END;
         INSERT INTO profiles VALUES(1, 'anna', x'00ff10'), (2, 'bert', NULL), (3, 'cleo', x'');
         INSERT INTO task VALUES(1, 1, 'a'), (2, 3, 'b');",
    )
    .unwrap();
    let flows = Connection::open(folder.join("langflow.db")).unwrap();
    flows
        .execute_batch("CREATE TABLE flow(id TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO flow VALUES('one'), ('two')")
        .unwrap();
    (folder, [main, flows])
}

fn save(machine: &Machine) {
    machine.run(["backup", text(&machine.place("vibesurf"))]).expect(0);
}

fn drill(machine: &Machine, checks: &[&str]) -> Run {
    let checks = checks.iter().flat_map(|check| ["--check", check]);
    machine.run(["drill", DATABASE].into_iter().chain(checks))
}

/// VS5: the drill knows what the application needs.
#[test]
fn a_drill_asks_what_the_application_asks() {
    let machine = Machine::new();
    let _service = service(&machine);
    save(&machine);
    let version = |n: u32| format!("SELECT user_version = {n} FROM pragma_user_version");
    let has_index = "SELECT count(*) = 1 FROM sqlite_schema WHERE type = 'index' AND name = 'task_of'";
    drill(&machine, &[&version(7), has_index, "SELECT api_key = x'00ff10' FROM profiles WHERE id = 1"]).expect(0);
    drill(&machine, &[&version(6)]).expect(4).says("user_version = 6");
    drill(&machine, &["SELECT name FROM profiles WHERE id = 99"]).expect(4);
}

/// VS6: one table, with all that belongs to it, in one transaction.
#[test]
fn a_table_comes_back_whole_or_not_at_all() {
    let machine = Machine::new();
    let (_, [db, _]) = service(&machine);
    save(&machine);
    let schema =
        "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema WHERE tbl_name = 'profiles' ORDER BY name)";
    let before = string(&db, schema);
    let restore = |table| machine.run(["restore", DATABASE, "--table", table, "--apply"]);
    db.execute_batch("PRAGMA foreign_keys = OFF; DROP TABLE profiles; DELETE FROM changes").unwrap();
    restore("profiles").expect(0);
    assert_eq!(string(&db, schema), before, "its indexes and triggers, too");
    assert_eq!(number(&db, "SELECT count(*) FROM profiles"), 3);
    assert_eq!(number(&db, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    assert_eq!(number(&db, "SELECT count(*) FROM changes"), 0, "no trigger ran");
    db.execute_batch("DROP TABLE task; DELETE FROM profiles WHERE id = 3").unwrap();
    restore("task").expect(1).says("rows that are not there");
    assert_eq!(number(&db, "SELECT count(*) FROM sqlite_schema WHERE name = 'task'"), 0, "all or nothing");
}

/// VS8: one snapshot has all parts.
#[test]
fn both_databases_and_the_migrations_are_one_set() {
    let machine = Machine::new();
    let (_, [db, flows]) = service(&machine);
    save(&machine);
    db.execute_batch("UPDATE profiles SET name = name || '!'; PRAGMA user_version = 8").unwrap();
    flows.execute_batch("DELETE FROM flow").unwrap();
    let to = machine.place("to");
    machine.restore("latest:vibesurf", &to).expect(0);
    assert!(to.join("migrations/007_tasks.sql").exists() && !to.join("vibe_surf.db-wal").exists());
    let main = Connection::open(to.join("vibe_surf.db")).unwrap();
    assert_eq!(
        (number(&main, "PRAGMA user_version"), string(&main, "SELECT name FROM profiles WHERE id = 1")),
        (7, "anna".into())
    );
    assert_eq!(number(&Connection::open(to.join("langflow.db")).unwrap(), "SELECT count(*) FROM flow"), 2);
    let rows = machine.run(["query", DATABASE, "SELECT name FROM profiles ORDER BY id", "--csv"]).expect(0).stdout;
    assert_eq!(rows, "name\r\nanna\r\nbert\r\ncleo\r\n");
}
