//! Live SQLite databases: taken as images of one moment, found by themselves, and told when something is odd.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use super::text;
use crate::support::plant::{Item, plant};
use crate::support::program::{Machine, Run};

const ACCOUNTS: i64 = 40;

/// A database in which every transaction moves sums, and notes that it did.
fn bank(path: &Path, journal: &str) -> Connection {
    let db = Connection::open(path).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    db.execute_batch(&format!(
        "PRAGMA journal_mode = {journal}; PRAGMA synchronous = OFF;
         CREATE TABLE IF NOT EXISTS account(id INTEGER PRIMARY KEY, balance INTEGER, text TEXT);
         CREATE TABLE IF NOT EXISTS moves(n INTEGER PRIMARY KEY, note TEXT);
         CREATE TABLE IF NOT EXISTS counter(n INTEGER);"
    ))
    .unwrap();
    db
}

fn fill(db: &Connection) {
    db.execute_batch(&format!(
        "BEGIN; INSERT INTO counter VALUES(0);
         WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < {ACCOUNTS})
         INSERT INTO account SELECT n, 1000, hex(randomblob(20000)) FROM i; COMMIT;"
    ))
    .unwrap();
}

fn keep_moving(path: &Path, journal: &str, stop: &AtomicBool) {
    let db = bank(path, journal);
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let (from, to) = (n * 7 % ACCOUNTS + 1, n * 11 % ACCOUNTS + 1);
        db.execute_batch(&format!(
            "BEGIN IMMEDIATE;
             UPDATE account SET balance = balance - 5, text = hex(randomblob(10000)) WHERE id = {from};
             UPDATE account SET balance = balance + 5 WHERE id = {to};
             INSERT INTO moves(note) VALUES(hex(randomblob(300)));
             UPDATE counter SET n = n + 1; COMMIT;"
        ))
        .unwrap();
        // Or the database would outgrow what reads it.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn number(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[track_caller]
fn assert_consistent(path: &Path, about: &str) -> i64 {
    let db = Connection::open(path).unwrap();
    let sound: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok", "{about}");
    assert_eq!(number(&db, "SELECT sum(balance) FROM account"), ACCOUNTS * 1000, "{about}");
    assert_eq!(number(&db, "SELECT count(*) FROM moves"), number(&db, "SELECT n FROM counter"), "{about}");
    number(&db, "SELECT n FROM counter")
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Eight of thirty plain copies of such a database are no database.
#[test]
fn every_snapshot_of_a_database_that_two_write_to_is_one_moment_of_it() {
    for journal in ["WAL", "DELETE"] {
        let machine = Machine::new();
        let path = machine.place("app/data/a.db");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fill(&bank(&path, journal));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Whatever happens: they end with this, and it says what.
            let _end = End(&stop);
            (0..2).for_each(|_| _ = scope.spawn(|| keep_moving(&path, journal, &stop)));
            for _ in 0..5 {
                machine.backup(&machine.place("app")).expect(0);
                let source = format!("sqlite:{}", text(&path));
                machine.run(["backup", "--name", "bank", &source]).expect(0);
            }
        });
        let snapshots = machine.run(["snapshots", "--json"]).expect(0).json();
        let mut last = [0, 0];
        for (n, snapshot) in snapshots["snapshots"].as_array().unwrap().iter().enumerate() {
            let to = machine.place(&format!("to {n}"));
            machine.restore(snapshot["id"].as_str().unwrap(), &to).expect(0);
            let image = if n % 2 == 0 { to.join("data/a.db") } else { to.join("a.db") };
            assert!(!to.join("data/a.db-wal").exists() && !to.join("data/a.db-journal").exists());
            let moves = assert_consistent(&image, &format!("{journal} {n}"));
            assert!(moves >= last[n % 2], "time runs forward");
            last[n % 2] = moves;
        }
        assert!(last[0] > 0, "nobody wrote meanwhile");
    }
}

/// `-wal` is where a change is, and the file itself stays as it was.
#[test]
fn a_change_in_the_log_alone_is_seen_and_no_change_costs_nothing() {
    let machine = Machine::new();
    let path = machine.place("app/a.db");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = bank(&path, "WAL");
    fill(&db);
    let save = || machine.run(["backup", "--json", text(&machine.place("app"))]).expect(0).json();
    let long_ago = || std::thread::sleep(std::time::Duration::from_millis(3100));
    long_ago();
    let first = save();
    assert_eq!(first["left_out"]["database_files"], 2, "{first}");
    assert_eq!(save()["bytes_read"], 0);
    // What is set to what it is already, the engine does not write.
    let change = "PRAGMA wal_autocheckpoint = 0; UPDATE account SET text = hex(randomblob(10000)) WHERE id = 1";
    db.execute_batch(change).unwrap();
    long_ago();
    let json = save();
    assert!(json["bytes_read"].as_u64().unwrap() > 1_000_000 && json["files"]["changed"] == 1, "{json}");
    assert_eq!(save()["bytes_read"], 0);
    machine.restore("latest", &machine.place("to")).expect(0);
    assert_consistent(&machine.place("to/a.db"), "after a change in the log");
}

fn save(machine: &Machine, more: &[&str]) -> Run {
    let source = machine.place("app");
    machine.run(["backup", text(&source)].into_iter().chain(more.iter().copied()))
}

#[test]
fn what_only_looks_like_a_database_is_kept_as_it_is_and_told_every_night() {
    let machine = Machine::new();
    let odd: [(&str, Vec<u8>); 3] = [
        ("broken.db", [b"SQLite format 3\0".as_slice(), &[b'x'; 4080]].concat()),
        ("cut.db", [b"SQLite format 3\0".as_slice(), &[0; 1000]].concat()),
        ("large cut.db", [b"SQLite format 3\0".as_slice(), &vec![7; 5_000_001]].concat()),
    ];
    for (name, bytes) in &odd {
        plant(&machine.place("app"), &[(name.as_bytes(), Item::File(bytes.clone()))]);
        plant(&machine.place("app"), &[(format!("{name}-wal").as_bytes(), Item::File(b"log".to_vec()))]);
    }
    // It is read after the others, by the same workers.
    plant(&machine.place("app"), &[(b"empty", Item::File(Vec::new()))]);
    for _ in 0..2 {
        let run = save(&machine, &[]).expect(3);
        assert!(!run.stderr.contains("empty"), "{}", run.stderr);
        for (name, _) in &odd {
            assert!(run.stderr.contains(&format!("app: {name}: ")), "{}", run.stderr);
        }
        std::thread::sleep(std::time::Duration::from_millis(3100));
    }
    save(&machine, &["--raw-databases"]).expect(0);
    machine.restore("latest", &machine.place("to")).expect(0);
    for (name, bytes) in &odd {
        assert!(fs::read(machine.place("to").join(name)).unwrap() == *bytes, "{name}");
        assert_eq!(fs::read(machine.place("to").join(format!("{name}-wal"))).unwrap(), b"log");
    }
}

#[test]
fn what_only_has_the_name_of_a_log_or_journal_is_saved() {
    let machine = Machine::new();
    let app = machine.place("app");
    fs::create_dir_all(&app).unwrap();
    let db = Connection::open(app.join("diary")).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(a)").unwrap();
    drop(Connection::open(app.join("other")).unwrap().execute_batch("CREATE TABLE t(a)"));
    fs::write(app.join("other-journal"), "Dear journal").unwrap();
    fs::write(app.join("other-shm"), [0; 32768]).unwrap();
    let run = save(&machine, &["-v"]).expect(0);
    for left_out in ["diary-wal", "diary-shm", "other-shm"] {
        assert!(run.stderr.contains(&format!("left out: app: {left_out}: a part of a database")), "{}", run.stderr);
    }
    machine.restore("latest", &machine.place("to")).expect(0);
    let mut names: Vec<_> = fs::read_dir(machine.place("to")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["diary", "other", "other-journal"]);
    drop(db);
}

/// What is in a log belongs to the name beside which it lies.
#[test]
fn of_a_database_with_several_names_the_one_with_the_log_is_whole() {
    for other in ["a.db", "z.db"] {
        let machine = Machine::new();
        let (app, aside) = (machine.place("app"), machine.place("aside"));
        fs::create_dir_all(&app).unwrap();
        fs::create_dir_all(&aside).unwrap();
        let db = Connection::open(aside.join("db")).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(a); INSERT INTO t VALUES(1);
             PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES(2);",
        )
        .unwrap();
        // As somebody leaves it who is killed.
        for ending in ["", "-wal"] {
            fs::copy(aside.join(format!("db{ending}")), app.join(format!("m.db{ending}"))).unwrap();
        }
        drop(db);
        fs::hard_link(app.join("m.db"), app.join(other)).unwrap();
        for night in 0..2 {
            let run = save(&machine, &[]).expect(0);
            assert!(run.stderr.contains(&format!("app: {other} is another name of m.db, ")), "{night}: {}", run.stderr);
            let to = machine.place(&format!("to-{night}"));
            machine.restore("latest", &to).expect(0);
            let count = |name: &str| number(&Connection::open(to.join(name)).unwrap(), "SELECT count(*) FROM t");
            assert_eq!((count("m.db"), count(other)), (2, 1));
            assert!(!to.join("m.db-wal").exists());
            std::thread::sleep(std::time::Duration::from_millis(3100));
        }
        // Once the log is written back, it is one file again.
        drop(Connection::open(app.join("m.db")).unwrap().execute_batch("INSERT INTO t VALUES(3)"));
        assert!(!app.join("m.db-wal").exists());
        save(&machine, &[]).expect(0);
        let to = machine.place("to");
        machine.restore("latest", &to).expect(0);
        assert_eq!(number(&Connection::open(to.join(other)).unwrap(), "SELECT count(*) FROM t"), 3);
        assert_eq!(fs::metadata(to.join("m.db")).unwrap().nlink(), 2);
    }
}

/// A bad source must never push out good copies.
#[test]
fn a_damaged_database_is_saved_and_told_every_night_until_it_is_well() {
    let machine = Machine::new();
    let path = machine.place("app/a.db");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = bank(&path, "DELETE");
    fill(&db);
    db.execute_batch(
        "CREATE TABLE t(a); INSERT INTO t SELECT hex(randomblob(50)) FROM account; CREATE INDEX i ON t(a)",
    )
    .unwrap();
    let root = number(&db, "SELECT rootpage FROM sqlite_schema WHERE name = 't'") as usize;
    db.close().unwrap();
    save(&machine, &[]).expect(0);
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[(root - 1) * 4096..root * 4096].fill(0);
    fs::write(&path, &bad).unwrap();
    for _ in 0..2 {
        let run = save(&machine, &[]).expect(3);
        assert!(run.stderr.contains("app: a.db: the database is damaged where it comes from"), "{}", run.stderr);
        std::thread::sleep(std::time::Duration::from_millis(3100));
    }
    machine.restore("latest", &machine.place("to")).expect(0);
    assert!(fs::read(machine.place("to/a.db")).unwrap() == bad, "it is saved as it is");
    save(&machine, &["--database-check", "none"]).expect(0);
    fs::write(&path, &good).unwrap();
    save(&machine, &[]).expect(0);
}

#[test]
fn what_a_file_has_behind_its_pages_or_lacks_of_them_is_never_lost_silently() {
    let machine = Machine::new();
    let path = machine.place("app/a.db");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    bank(&path, "DELETE").close().unwrap();
    let whole = fs::read(&path).unwrap();
    let with = |more: &[u8]| [&whole, more].concat();
    let plain = "was saved as a plain file, which may not be one state of the database";
    let behind =
        "bytes behind its last page are no part of the database, and were left out; --raw-databases saves them";
    for (content, code, says) in [
        (with(&[0; 8192]), 0, String::new()),
        (with(&[7; 8192]), 0, format!("app: a.db: 8192 {behind}")),
        (with(&[7; 512]), 0, format!("app: a.db: 512 {behind}")),
        (
            with(b"more"),
            3,
            "app: a.db: begins like a database, but is longer by 4 bytes than its pages (a VACUUM cuts them off); it \
             was saved as it is"
                .into(),
        ),
        (
            with(b"more")[..whole.len() - 9].to_vec(),
            3,
            "begins like a database, but is cut short by 9 bytes; it was saved".into(),
        ),
        (
            whole[..whole.len() - 512].to_vec(),
            3,
            format!("{plain}: its file is cut short: 512 bytes of its last page are"),
        ),
        (whole[..whole.len() - 4096].to_vec(), 3, format!("{plain}: database disk image is malformed")),
    ] {
        fs::write(&path, &content).unwrap();
        let run = save(&machine, &[]).expect(code);
        assert!(run.stderr.contains(&says) && says.is_empty() == run.stderr.is_empty(), "{says:?}: {}", run.stderr);
        let to = machine.place("to");
        machine.restore("latest", &to).expect(if code == 0 { 0 } else { code - 3 });
        let back = fs::read(to.join("a.db")).unwrap();
        assert!(back == if code == 0 { &whole[..] } else { &content[..] }, "{says}");
        fs::remove_dir_all(to).unwrap();
    }
    fs::write(&path, with(&[7; 512])).unwrap();
    save(&machine, &["--raw-databases"]).expect(0);
    machine.restore("latest", &machine.place("to")).expect(0);
    assert!(fs::read(machine.place("to/a.db")).unwrap() == with(&[7; 512]));
}

/// SQLite reads other values out of it than were written, and says that all is well.
#[test]
fn a_row_that_is_not_as_long_as_it_says_is_told_where_sqlite_passes_it() {
    let machine = Machine::new();
    let path = machine.place("app/a.db");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); INSERT INTO t(a, b) VALUES ('needle', CAST(hex(zeroblob(4500)) AS BLOB))",
    )
    .unwrap();
    db.close().unwrap();
    save(&machine, &[]).expect(0);
    let mut bytes = fs::read(&path).unwrap();
    // Its own length, NULL for the id, a text of 6 bytes, a blob of 9000.
    let header = bytes.windows(6).position(|part| part == [6, 0, 25, 0x81, 0x8c, 0x5c]).unwrap();
    bytes[header + 3] = 0x4d;
    fs::write(&path, &bytes).unwrap();
    let db = Connection::open(&path).unwrap();
    let said: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!((said.as_str(), number(&db, "SELECT length(b) FROM t")), ("ok", 32));
    db.close().unwrap();
    for depth in ["pages", "full"] {
        let run = save(&machine, &["--database-check", depth]).expect(3);
        let says =
            "app: a.db: the database is damaged where it comes from: page 2: a record is not as long as its header";
        assert!(run.stderr.contains(says), "{}", run.stderr);
    }
}

#[test]
fn a_source_that_is_no_database_or_not_there_saves_nothing() {
    let machine = Machine::new();
    plant(&machine.place("app"), &[(b"text", Item::File(b"hello".to_vec()))]);
    let source = |name: &str| format!("x=sqlite:{}", text(&machine.place("app").join(name)));
    machine.run(["backup", &source("nowhere.db")]).expect(14).says("No such file");
    machine.run(["backup", &source("text")]).expect(14).says("file is not a database");
    machine.run(["backup", &source("")]).expect(14);
    machine.run(["restore", "latest"]).expect(1).says("there is no snapshot");
}

/// Item by item what may become of a file between two nights.
#[test]
fn a_database_that_grows_shrinks_goes_or_is_another_comes_back_as_it_was_each_night() {
    let machine = Machine::new();
    let path = machine.place("app/a.db");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fill(&bank(&path, "WAL"));
    let change = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let nights: [(&str, &dyn Fn()); 7] = [
        ("as it was made", &|| ()),
        ("grown", &|| change("INSERT INTO moves(note) SELECT hex(randomblob(3000)) FROM account")),
        ("shrunk", &|| change("DELETE FROM moves; DELETE FROM account WHERE id > 5; VACUUM")),
        ("without a log, with other pages", &|| {
            change(
                "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM; INSERT INTO moves(note) VALUES('x')",
            );
        }),
        ("replaced by another", &|| {
            fs::remove_file(&path).unwrap();
            change("CREATE TABLE other(a); INSERT INTO other VALUES('another')");
        }),
        ("gone", &|| fs::remove_file(&path).unwrap()),
        ("back", &|| fill(&bank(&path, "DELETE"))),
    ];
    let dump = |path: &Path| path.exists().then(|| written(path));
    let mut expected = Vec::new();
    for (night, change) in &nights {
        change();
        save(&machine, &[]).expect(0);
        expected.push((night, dump(&path)));
    }
    for (n, (night, expected)) in expected.iter().rev().enumerate() {
        let to = machine.place(&format!("to {n}"));
        machine.restore(&format!("latest~{n}:app"), &to).expect(0);
        assert!(dump(&to.join("a.db")) == *expected, "{night}");
    }
}

/// Everything in a database, as text.
fn written(path: &Path) -> Vec<String> {
    let db = Connection::open(path).unwrap();
    let column = |sql: &str| -> Vec<String> {
        db.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let mut out = column("SELECT page_size || ' ' || sqlite_version() FROM pragma_page_size");
    for table in column("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name") {
        let columns =
            column(&format!("SELECT 'quote(\"' || name || '\")' FROM pragma_table_info('{table}')")).join("||','||");
        out.push(table.clone());
        out.extend(column(&format!("SELECT {columns} FROM \"{table}\" ORDER BY 1")));
    }
    out
}
