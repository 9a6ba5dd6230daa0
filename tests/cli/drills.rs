//! Drills: a snapshot is restored for real, and what comes back is looked at.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use larder::pack::spoil_parity;
use rusqlite::Connection;
use rustix::process::Signal;

use super::text;
use crate::support::plant::{self, Item};
use crate::support::program::{Machine, Run, signal, wait, wait_until};

const MADE: &str = "PRAGMA journal_mode = WAL; PRAGMA user_version = 7; PRAGMA foreign_keys = 0;
    CREATE TABLE credentials(id INTEGER PRIMARY KEY, secret TEXT);
    WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 50)
    INSERT INTO credentials SELECT n, hex(randomblob(4000)) FROM i;
    CREATE TABLE owner(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT); INSERT INTO owner(name) VALUES ('a'), ('b');
    CREATE TABLE part(owner REFERENCES owner); INSERT INTO part VALUES (1);
    CREATE VIRTUAL TABLE words USING fts5(body); INSERT INTO words VALUES ('one two');";

/// A machine with files and a database in a source called app.
fn machine(more: &str) -> Machine {
    let machine = Machine::new();
    let app = machine.place("app");
    plant::forty(&app);
    fs::create_dir_all(app.join("data")).unwrap();
    let db = Connection::open(app.join("data/a.db")).unwrap();
    db.execute_batch(MADE).unwrap();
    db.execute_batch(more).unwrap();
    // One that is in use, with its log.
    std::mem::forget(db);
    machine
}

/// Drills with a scratch folder of the test's own, which must be empty afterwards.
fn drill(machine: &Machine, args: &[&str]) -> Run {
    let scratch = machine.place("scratch");
    fs::create_dir_all(&scratch).unwrap();
    let run = machine.run(["drill", "--scratch", text(&scratch)].into_iter().chain(args.iter().copied()));
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "{}", run.stderr);
    run
}

fn proven(machine: &Machine) -> serde_json::Value {
    let list = machine.run(["snapshots", "--json"]).expect(0).json();
    let last = list["snapshots"].as_array().unwrap().last().unwrap();
    serde_json::json!([last["proven"].is_string(), last["drill_failed"].is_string()])
}

#[test]
fn a_snapshot_that_comes_back_is_proven() {
    let machine = machine("");
    machine.backup(&machine.place("app")).expect(0);
    assert_eq!(proven(&machine), serde_json::json!([false, false]));
    drill(&machine, &["latest"])
        .expect(0)
        .prints("app/data/a.db: integrity ok, 4 tables, credentials 50 rows = when saved\n")
        .prints("proven: snapshot ")
        .prints("1 database in ");
    assert_eq!(proven(&machine), serde_json::json!([true, false]));
    machine.run(["snapshots"]).expect(0).prints("proven ");
    machine.run(["show", "latest"]).expect(0).prints("all of it passed, ");
    // A part proves nothing of the whole, and takes nothing back either.
    let checks = ["--check", "SELECT count(*) FROM credentials = 50", "--check", "SELECT name FROM owner"];
    drill(&machine, &[&["latest:app/data/a.db"][..], &checks].concat()).expect(0);
    drill(&machine, &["latest:app/data/a.db", "--check", "(SELECT count(*) FROM owner) > 7"])
        .expect(4)
        .prints("failed  app/data/a.db: check: (SELECT count(*) FROM owner) > 7: the answer is 0, which is not true")
        .says("the drill of ")
        .says(":app/data/a.db failed: 1 failure");
    assert_eq!(proven(&machine), serde_json::json!([false, true]));
    machine.run(["snapshots"]).expect(0).prints("drill failed");
    machine.run(["show", "latest"]).expect(0).prints("app/data/a.db failed, ");
    let show = machine.run(["show", "latest", "--json"]).expect(0).json();
    assert_eq!(show["drills"].as_array().unwrap().len(), 3, "{show}");
    assert_eq!(show["drills"][2]["path"], "data/a.db");
    drill(&machine, &["latest:app/data"]).expect(0);
    assert_eq!(proven(&machine), serde_json::json!([false, false]));
    drill(&machine, &["latest:app", "--quiet"]).expect(0);
    assert_eq!(proven(&machine), serde_json::json!([true, false]));
}

#[test]
fn programs_read_every_database_and_the_whole() {
    let machine = machine("");
    machine.backup(&machine.place("app")).expect(0);
    let run = drill(&machine, &["latest", "--json"]).expect(0);
    let lines: Vec<serde_json::Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["drilled", "drill", "summary"]);
    assert_eq!(lines[0]["tables"].as_array().unwrap().len(), 4, "{}", lines[0]);
    assert_eq!(lines[0]["tables"][0], serde_json::json!({"name": "credentials", "rows": 50}));
    assert!(lines[1]["ok"] == true && lines[1]["kept"] == true && lines[1]["databases"] == 1, "{}", lines[1]);
    assert!(lines[2]["command"] == "drill" && lines[2]["exit_code"] == 0, "{}", lines[2]);
}

#[test]
fn a_flipped_byte_is_damage_that_names_snapshot_and_file() {
    let machine = machine("");
    // Nothing but the database, so that the middle of the pack is in it.
    let saved = machine.run(["backup", "--json", "--name", "app", text(&machine.place("app/data"))]).expect(0).json();
    let id = &saved["snapshot"].as_str().unwrap()[..8];
    let packs = walkdir::WalkDir::new(machine.repository.join("packs")).into_iter().map(Result::unwrap);
    let largest =
        packs.filter(|entry| entry.file_type().is_file()).max_by_key(|e| e.metadata().unwrap().len()).unwrap();
    let mut bytes = fs::read(largest.path()).unwrap();
    let middle = bytes.len() / 2;
    spoil_parity(&mut bytes);
    bytes[middle] ^= 1;
    plant::set_mode(largest.path(), 0o600);
    fs::write(largest.path(), bytes).unwrap();
    let run = drill(&machine, &["latest"])
        .expect(4)
        .says(&format!("the drill of snapshot {id} failed"))
        .says("lost: app/a.db: ");
    assert!(run.stderr.contains("  why: app/a.db: frame "), "{}", run.stderr);
    assert_eq!(proven(&machine), serde_json::json!([false, true]));
    let run = drill(&machine, &["latest", "--json"]).expect(4);
    assert!(run.stdout.contains(r#""type":"lost","source":"app","path":"a.db""#), "{}", run.stdout);
    assert_eq!(run.json()["exit_code"], 4);
}

#[test]
fn what_was_wrong_when_it_was_saved_fails_the_drill() {
    let machine = machine("INSERT INTO part VALUES (99)");
    machine.backup(&machine.place("app")).expect(0);
    drill(&machine, &["latest"])
        .expect(4)
        .prints("failed  app/data/a.db: references: part: 1 references to owner lead nowhere, the first in row 2");

    let other = Machine::new();
    let app = other.place("app");
    fs::create_dir_all(&app).unwrap();
    let db = Connection::open(app.join("a.db")).unwrap();
    db.execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES (zeroblob(9000))").unwrap();
    db.close().unwrap();
    let mut bytes = fs::read(app.join("a.db")).unwrap();
    bytes[4096..8192].fill(0);
    fs::write(app.join("a.db"), bytes).unwrap();
    other.backup(&app).expect(3);
    let run =
        drill(&other, &["latest"]).expect(4).prints("failed  app/a.db: saved: it was damaged when it was saved: ");
    assert!(run.stdout.contains("failed  app/a.db: integrity: "), "{}", run.stdout);
    other.run(["snapshots"]).expect(0).prints("drill failed; partial: ");
}

/// Also with a name that looks like an option of the engine's, and in folders that let nobody in.
#[test]
fn a_database_that_was_saved_as_a_plain_file_is_opened_with_its_log() {
    let machine = machine("");
    let app = machine.place("app");
    let odd = "data/odd?mode=ro%41.db";
    fs::copy(app.join("data/a.db"), app.join(odd)).unwrap();
    fs::copy(app.join("data/a.db-wal"), app.join(format!("{odd}-wal"))).unwrap();
    plant::set_mode(&app.join(odd), 0o400);
    machine.run(["backup", "--raw-databases", text(&app)]).expect(0);
    drill(&machine, &["latest"])
        .expect(0)
        .prints("integrity ok, 4 tables, credentials 50 rows (saved as a plain file: nothing to compare with)")
        .prints("2 databases in ");
    plant::plant(&app, &[(b"data/cut.db", Item::File(b"SQLite format 3\0 and no more".to_vec()))]);
    plant::plant(&app, &[(b"data/a.db-journal", Item::File(b"half".to_vec()))]);
    machine.run(["backup", "--raw-databases", text(&app)]).expect(0);
    drill(&machine, &["latest"])
        .expect(4)
        .prints("failed  app/data/a.db: opening: it is not proven: ")
        .prints("failed  app/data/cut.db: integrity: ");
}

/// Time and size of the file, and of what is beside it.
fn seen(path: &Path) -> Vec<(String, i64, i64, i64, i64, u64)> {
    let seen = |entry: fs::DirEntry| {
        let stat = entry.metadata().unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, stat.mtime(), stat.mtime_nsec(), stat.atime(), stat.atime_nsec(), stat.size())
    };
    let mut all: Vec<_> = fs::read_dir(path).unwrap().map(|entry| seen(entry.unwrap())).collect();
    all.sort();
    all
}

#[test]
fn the_source_is_never_touched_and_need_not_be_there() {
    let machine = machine("");
    let app = machine.place("app");
    machine.backup(&app).expect(0);
    let before = seen(&app.join("data"));
    assert!(before.iter().any(|(name, ..)| name == "a.db-wal"));
    drill(&machine, &["latest"]).expect(0);
    assert_eq!(seen(&app.join("data")), before);
    fs::remove_dir_all(&app).unwrap();
    drill(&machine, &["latest", "--check", "SELECT 1"]).expect(0);
}

#[test]
fn wrong_questions_are_usage_and_lost_tables_are_failures() {
    let machine = machine("");
    machine.backup(&machine.place("app")).expect(0);
    drill(&machine, &["latest", "--check", "SELEC 1"]).expect(2).says("bad check: SELEC 1");
    drill(&machine, &["latest", "--check", "DELETE FROM owner"]).expect(2);
    drill(&machine, &["latest", "--check", "(SELECT count(*) FROM gone) > 0"]).expect(4).prints("no such table: gone");
    drill(&machine, &["latest:app/data/nowhere"]).expect(1);
    let nowhere = machine.place("nowhere");
    machine.run(["drill", "latest", "--scratch", text(&nowhere)]).expect(1).says("cannot make a scratch folder in ");
    machine
        .run(["drill", "latest", "--scratch", text(&machine.repository)])
        .expect(2)
        .says("it lies in the repository");
    assert!(
        fs::read_dir(&machine.repository).unwrap().all(|e| !e
            .unwrap()
            .file_name()
            .into_string()
            .unwrap()
            .contains("drill"))
    );
    plant::plant(&machine.place("plain"), &[(b"text", Item::File(b"hello".to_vec()))]);
    machine.backup(&machine.place("plain")).expect(0);
    drill(&machine, &["latest:plain"]).expect(0).prints("0 databases in ");
    drill(&machine, &["latest:plain", "--check", "SELECT 1"]).expect(2).says("there is no database to ask");
}

#[test]
fn a_drill_that_is_interrupted_leaves_nothing_behind() {
    let machine = machine("");
    machine.backup(&machine.place("app")).expect(0);
    let scratch = machine.place("scratch");
    fs::create_dir_all(&scratch).unwrap();
    let endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r";
    let args = ["drill", "latest", "--scratch", text(&scratch), "--check", endless];
    let child = machine.command(args).spawn().unwrap();
    wait_until("the database is restored", || {
        walkdir::WalkDir::new(&scratch).into_iter().flatten().any(|entry| entry.path().ends_with("restored/data/a.db"))
    });
    let mode = fs::read_dir(&scratch).unwrap().next().unwrap().unwrap().metadata().unwrap().mode();
    assert_eq!(mode & 0o7777, 0o700);
    std::thread::sleep(std::time::Duration::from_millis(300));
    signal(child.id(), Signal::INT);
    wait(Vec::new(), child).expect(130);
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    assert_eq!(proven(&machine), serde_json::json!([false, false]));
}

#[test]
fn a_repository_that_cannot_be_written_can_still_be_drilled() {
    let machine = machine("");
    // Modes that keep out even their owner do not keep a drill from looking.
    plant::set_mode(&machine.place("app/data/a.db"), 0);
    plant::set_mode(&machine.place("app/data"), 0);
    machine.backup(&machine.place("app")).expect(0);
    machine.give_to_nobody();
    let folders = || walkdir::WalkDir::new(&machine.repository).into_iter().map(Result::unwrap);
    folders().filter(|entry| entry.file_type().is_dir()).for_each(|entry| plant::set_mode(entry.path(), 0o555));
    let run =
        machine.run_as_nobody(["drill", "latest:app/data"]).expect(0).says("the result is not kept in the repository");
    assert!(run.stdout.contains("integrity ok, 4 tables") && run.stdout.contains("came back whole"), "{}", run.stdout);
}

#[test]
fn a_collation_of_the_applications_own_fails_nothing() {
    let machine = Machine::new();
    let app = machine.place("app");
    fs::create_dir_all(&app).unwrap();
    let place = app.join("own.db");
    let make = || {
        let _ = fs::remove_file(&place);
        let db = Connection::open(&place).unwrap();
        db.create_collation("unicase", |a, b| a.to_lowercase().cmp(&b.to_lowercase())).unwrap();
        let made = "CREATE TABLE decks(id INTEGER PRIMARY KEY, name TEXT COLLATE unicase UNIQUE);
            CREATE TABLE tags(tag TEXT COLLATE unicase PRIMARY KEY) WITHOUT ROWID; CREATE TABLE plain(a);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90)
            INSERT INTO decks SELECT i, printf('Deck %090d', i) FROM n;
            INSERT INTO tags SELECT name FROM decks; INSERT INTO plain SELECT name FROM decks;";
        db.execute_batch(made).unwrap();
        db.close().unwrap();
    };
    make();
    let verdict = |code: i32| {
        let saved = ["backup", text(&app), "--database-check", "full"];
        machine.run(saved).expect(code);
        let show = machine.run(["show", "latest", "--json"]).expect(0).json();
        let verdict = &show["sources"][0]["facts"]["databases"][0]["verdict"];
        (verdict["depth"].as_str().unwrap().to_owned(), verdict["wrong"].as_array().unwrap().len())
    };
    assert_eq!(verdict(0), ("pages".into(), 0));
    drill(&machine, &["latest"]).expect(0).prints(
        "app/own.db: integrity ok but for 2 tables that need the collation unicase, which belongs to the application; 3 tables, ",
    );
    assert_eq!(proven(&machine), serde_json::json!([true, false]));
    let lines = drill(&machine, &["latest", "--json"]).expect(0).stdout;
    let drilled = lines.lines().find(|line| line.contains("\"drilled\"")).unwrap();
    let drilled: serde_json::Value = serde_json::from_str(drilled).unwrap();
    let unasked = serde_json::json!([
        {"table": "decks", "lacks": "the collation unicase"},
        {"table": "tags", "lacks": "the collation unicase"},
    ]);
    assert_eq!((&drilled["ok"], &drilled["unasked"]), (&serde_json::json!(true), &unasked));
    let was = fs::read(&place).unwrap();
    fs::remove_file(&place).unwrap();
    let run = machine.run(["restore", "latest:app/own.db", "--apply"]).expect(0);
    assert!(run.stderr.contains("SQLite cannot check 2 tables that need the collation unicase"), "{}", run.stderr);
    assert_eq!(fs::read(&place).unwrap(), was);

    // A check of the user's own must be answered.
    drill(&machine, &["latest", "--check", "SELECT count(*) FROM decks WHERE name = 'x'"]).expect(4);

    for root in ["plain", "decks"] {
        make();
        let sql = format!("SELECT rootpage FROM sqlite_schema WHERE name = '{root}'");
        let page: u16 = Connection::open(&place).unwrap().query_row(&sql, [], |row| row.get(0)).unwrap();
        let mut bytes = fs::read(&place).unwrap();
        let at = usize::from(page - 1) * 4096;
        bytes[at + 5..at + 1000].fill(0xff);
        fs::write(&place, bytes).unwrap();
        assert!(verdict(3).1 > 0);
        drill(&machine, &["latest"]).expect(4);
        machine.run(["restore", "latest:app/own.db", "--apply"]).expect(1);
    }
}
