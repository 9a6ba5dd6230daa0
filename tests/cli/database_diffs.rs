//! `larder diff` looks into databases: rows, tables, and everything else that a schema has.

use std::fs;
use std::path::PathBuf;

use larder::pack::spoil_parity;
use rusqlite::Connection;

use crate::support::plant::{self, Item};
use crate::support::program::{Machine, Run};

struct Scene {
    machine: Machine,
    app: PathBuf,
}

impl Scene {
    /// With a snapshot of a database that these statements made.
    fn new(sql: &str) -> Self {
        let machine = Machine::new();
        let app = machine.place("app");
        fs::create_dir_all(&app).unwrap();
        let new = Self { machine, app };
        new.then(sql);
        new
    }

    /// Changes it, and takes a snapshot.
    fn then(&self, sql: &str) {
        let db = Connection::open(self.app.join("a.db")).unwrap();
        db.execute_batch(sql).unwrap();
        db.close().unwrap();
        self.save(0);
    }

    fn save(&self, code: i32) {
        self.machine.backup(&self.app).expect(code);
    }

    fn diff(&self, args: &[&str]) -> Run {
        self.machine.run(["diff"].into_iter().chain(args.iter().copied()))
    }

    /// What is said below the line of the database.
    #[track_caller]
    fn inside(&self) -> Vec<String> {
        let run = self.diff(&["latest"]).expect(0);
        let lines: Vec<_> = run.stdout.lines().map(str::to_owned).collect();
        let at = lines.iter().position(|line| line.starts_with("M a.db  ")).unwrap_or_else(|| panic!("{}", run.stdout));
        lines[at + 1..].iter().map_while(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
    }
}

const MADE: &str = "CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT);
    INSERT INTO people VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
    CREATE TABLE tag(k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO tag VALUES ('x', 1), ('y', 2);
    CREATE TABLE quiet(a); INSERT INTO quiet VALUES (1);
    CREATE TABLE old(a); INSERT INTO old VALUES (1), (2);
    CREATE INDEX i ON people(name); CREATE INDEX gone ON people(id, name);
    CREATE TRIGGER t AFTER INSERT ON quiet BEGIN DELETE FROM old; END; CREATE VIEW w AS SELECT 1 AS a;";

#[test]
fn rows_and_tables_that_differ_are_counted() {
    let scene = Scene::new(MADE);
    scene.then(
        "DELETE FROM people WHERE id = 1; UPDATE people SET name = 'B' WHERE id = 2;
         INSERT INTO people VALUES (7, 'x'), (8, 'y');
         UPDATE tag SET v = 3 WHERE k = 'y'; DROP TABLE old;
         CREATE TABLE new(a); INSERT INTO new VALUES (1), (2), (3)",
    );
    let expected = [
        "+ table new: 3 rows",
        "- table old: 2 rows",
        "M table people: 2 rows added, 1 removed, 1 changed",
        "M table tag: 1 row changed",
    ];
    assert_eq!(scene.inside(), expected);
    // The same the other way round, and nothing when nobody asks.
    let run = scene.diff(&["latest:app", "latest~1:app"]).expect(0);
    assert!(run.stdout.contains("    M table people: 1 row added, 2 removed, 1 changed\n"), "{}", run.stdout);
    let run = scene.diff(&["latest", "--no-tables"]).expect(0);
    assert!(run.stdout.contains("M a.db") && !run.stdout.contains("people"), "{}", run.stdout);
}

#[test]
fn what_of_the_schema_differs_is_named() {
    let scene = Scene::new(MADE);
    scene.then(
        "ALTER TABLE people ADD COLUMN age INTEGER DEFAULT 3; DROP INDEX gone; CREATE INDEX by_age ON people(age);
         DROP INDEX i; CREATE INDEX i ON people(name DESC); DROP TRIGGER t;
         CREATE TRIGGER u AFTER DELETE ON quiet BEGIN DELETE FROM old; END; DROP VIEW w; CREATE VIEW w AS SELECT 2 AS a;",
    );
    let expected = [
        "M table people: its definition changed",
        "+ index by_age on people",
        "- index gone on people",
        "M index i on people",
        "- trigger t on quiet",
        "+ trigger u on quiet",
        "M view w",
    ];
    assert_eq!(scene.inside(), expected);
    let json = scene.diff(&["latest", "--json"]).expect(0).json();
    let changes = json["changes"].as_array().unwrap();
    let database = changes.iter().find(|change| change["path"] == "a.db").map(|change| &change["database"]).unwrap();
    assert_eq!(
        database["schema"][0],
        serde_json::json!({"change":"added","kind":"index","name":"by_age","table":"people"})
    );
    assert!(database["why"].is_null() && database["tables"].as_array().unwrap().is_empty(), "{database}");
    assert!(changes.iter().filter(|change| change["path"] != "a.db").all(|change| change["database"].is_null()));
}

#[test]
fn bytes_alone_may_differ() {
    let scene = Scene::new(MADE);
    scene.then("PRAGMA user_version = 9");
    assert_eq!(scene.inside(), ["no row differs, and nothing of its schema"]);
}

#[test]
fn the_rows_themselves_are_shown_of_one_table() {
    let scene = Scene::new(MADE);
    scene.then("DELETE FROM people WHERE id = 1; UPDATE people SET name = 'B' WHERE id = 2; INSERT INTO people VALUES (7, 'x')");
    let expected = "   id  name\n-   1  a\n<   2  b\n>   2  B\n+   7  x\n1 added, 1 removed, 1 changed, 2 the same\n";
    for address in [&["latest:app/a.db"][..], &["latest"], &["latest~1:app/a.db", "latest"]] {
        let run = scene.diff(&[address, &["--table", "people"]].concat()).expect(0);
        assert_eq!(run.stdout, expected, "{address:?}");
    }
    let json = scene.diff(&["latest", "--table", "people", "--json"]).expect(0).json();
    assert_eq!(json["type"], "row-diff");
    assert_eq!(json["columns"], serde_json::json!(["id", "name"]));
    let changed = serde_json::json!({"change":"changed","before":{"id":2,"name":"b"},"after":{"id":2,"name":"B"}});
    assert_eq!((json["rows"].as_array().unwrap().len(), &json["rows"][1]), (3, &changed));
    assert_eq!(json["totals"], serde_json::json!({"added":1,"removed":1,"changed":1,"same":2}));
    let run = scene.diff(&["latest", "--table", "quiet"]).expect(0);
    assert_eq!(run.stdout, "0 added, 0 removed, 0 changed, 1 the same\n");
    scene.diff(&["latest", "--table", "quiet", "--json"]).expect(0).prints(r#""columns":[],"rows":[],"totals""#);
    scene.diff(&["latest", "--table", "nowhere"]).expect(1).says("there is no table nowhere");
    scene.diff(&["latest", "--table", "w"]).expect(2).says("a view has no rows of its own");
    // The first snapshot has nothing before it: all rows are new.
    scene.diff(&["latest~1", "--table", "quiet"]).expect(0).prints("+      1  1\n1 added, 0 removed");
}

#[test]
fn what_cannot_be_compared_says_why_and_keeps_its_line() {
    let scene = Scene::new(MADE);
    // No database any more, then a broken one, then one whose table has another key.
    plant::plant(&scene.app, &[(b"a.db", Item::File(vec![b'x'; 8192]))]);
    scene.save(0);
    assert_eq!(scene.inside(), ["no tables: it is no database any more"]);
    let hostile = [b"SQLite format 3\0".as_slice(), &[0xff; 4080]].concat();
    fs::write(scene.app.join("a.db"), hostile).unwrap();
    scene.save(3);
    assert_eq!(scene.inside(), ["no tables: it was no database before"]);
    fs::remove_file(scene.app.join("a.db")).unwrap();
    scene.then("CREATE TABLE people(id INTEGER, name TEXT PRIMARY KEY) WITHOUT ROWID");
    let inside = scene.inside();
    assert!(inside.len() == 1 && inside[0].starts_with("no tables: "), "{inside:?}");
    let run = scene.diff(&["latest~3:app", "latest:app"]).expect(0);
    assert!(run.stdout.contains("    M table people: cannot be compared: its key is another one"), "{}", run.stdout);
    scene.diff(&["latest", "--table", "people"]).expect(1);
    scene.diff(&["latest~3:app", "latest:app", "--table", "people"]).expect(1).says("its key is another one");
    scene.diff(&["latest~2", "--table", "people"]).expect(2).says("a.db is no SQLite database");
}

#[test]
fn a_lost_block_is_damage_and_the_other_lines_stay() {
    let scene = Scene::new("CREATE TABLE t(a); INSERT INTO t VALUES (hex(randomblob(200000)))");
    let packs = walkdir::WalkDir::new(scene.machine.repository.join("packs")).into_iter().map(Result::unwrap);
    let largest =
        packs.filter(|entry| entry.file_type().is_file()).max_by_key(|e| e.metadata().unwrap().len()).unwrap();
    let pack = largest.path().to_owned();
    plant::plant(&scene.app, &[(b"z", Item::File(b"new".to_vec()))]);
    scene.then("UPDATE t SET a = hex(randomblob(200000))");
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    spoil_parity(&mut bytes);
    bytes[middle] ^= 1;
    plant::set_mode(&pack, 0o600);
    fs::write(&pack, bytes).unwrap();
    let run = scene.diff(&["latest"]).expect(4).says("app/a.db: ");
    assert!(run.stdout.contains("\n    no tables: ") && run.stdout.contains("+ z  3 B"), "{}", run.stdout);
    scene.diff(&["latest", "--json"]).expect(4);
    scene.diff(&["latest", "--table", "t"]).expect(4);
}
