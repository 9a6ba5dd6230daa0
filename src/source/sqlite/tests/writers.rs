//! While others write as fast as they can, in this process and in another.

use std::env;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::*;

const ACCOUNTS: i64 = 4000;
const WRITER: &str = "LARDER_TEST_WRITER";
const SEED: &str = "LARDER_TEST_SEED";

fn bank(path: &Path, journal: &str) {
    let connection = Connection::open(path).unwrap();
    let sql = format!(
        "PRAGMA journal_mode = {journal};
         CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER, padding BLOB);
         CREATE TABLE counter (n INTEGER);
         CREATE TABLE log (id INTEGER PRIMARY KEY, writer INTEGER, text TEXT, bytes INTEGER);
         CREATE VIRTUAL TABLE words USING fts5 (body);
         INSERT INTO counter VALUES (0);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ACCOUNTS})
            INSERT INTO account SELECT i, 1000, randomblob(2000) FROM n;"
    );
    connection.execute_batch(&sql).unwrap();
}

/// Transfers, with a log of them, until a file stands beside the database.
fn write(path: &Path, seed: i64) {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    // Nothing here outlives the power anyway. A small cache spills into the file before the commit.
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = 10;").unwrap();
    let mut turn = seed;
    while !stop_file(path).exists() {
        let mut sql = String::from("BEGIN IMMEDIATE;");
        for _ in 0..10 {
            turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (from, to) = ((turn >> 33).rem_euclid(ACCOUNTS) + 1, (turn >> 13).rem_euclid(ACCOUNTS) + 1);
            sql += &format!(
                "UPDATE account SET balance = balance - 7, padding = randomblob(2000) WHERE id = {from};
                 UPDATE account SET balance = balance + 7 WHERE id = {to};"
            );
        }
        sql += &format!(
            "INSERT INTO log (writer, text, bytes) SELECT {seed}, hex(zeroblob(b)), 2 * b FROM (SELECT abs(random() % 3000) AS b);
             INSERT INTO words VALUES ('transfer {turn} done'); UPDATE counter SET n = n + 1; COMMIT;"
        );
        connection.execute_batch(&sql).unwrap();
        // Without a log, somebody who never rests lets nobody else in.
        thread::sleep(Duration::from_millis(1));
    }
}

fn stop_file(path: &Path) -> PathBuf {
    path.with_extension("stop")
}

/// Two processes that write; they end when this does, whatever happened. Not threads of this one: whoever closes a file
/// here, as a look at its first bytes does, drops the locks that others here have on it.
struct Writers {
    path: PathBuf,
    processes: Vec<Child>,
}

impl Writers {
    fn start(test: &str, path: &Path) -> Self {
        let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
        let writer = |seed: &str| {
            let mut process = Command::new(env::current_exe().unwrap());
            process.args([&name, "--exact"]).env(WRITER, path).env(SEED, seed).stdout(std::process::Stdio::null());
            process.spawn().unwrap()
        };
        Self { path: path.to_owned(), processes: ["1", "2"].map(writer).into() }
    }

    /// Returns when both have committed once more.
    fn wait(&self) {
        let connection = Connection::open(&self.path).unwrap();
        connection.busy_timeout(Duration::from_secs(20)).unwrap();
        let commits = || [1, 2].map(|seed| rows(&connection, &format!("log WHERE writer = {seed}")));
        let before = commits();
        while commits().iter().zip(before).any(|(now, before)| *now == before) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn stop(mut self) {
        fs::write(stop_file(&self.path), "").unwrap();
        for mut process in self.processes.drain(..) {
            assert!(process.wait().unwrap().success());
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        let _ = fs::write(stop_file(&self.path), "");
        for process in &mut self.processes {
            let _ = process.wait();
        }
    }
}

fn assert_invariants(image: &Connection, facts: &Facts) {
    assert!(is_whole(image));
    let number = |sql: &str| -> i64 { image.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(number("SELECT sum(balance) FROM account"), ACCOUNTS * 1000);
    let logged = number("SELECT count(*) FROM log");
    assert_eq!(number("SELECT n FROM counter"), logged);
    assert_eq!(number("SELECT count(*) FROM words WHERE words MATCH 'transfer'"), logged);
    assert_eq!(number("SELECT count(*) FROM log WHERE length(text) <> bytes"), 0);
    let counted = facts.tables.iter().find(|table| table.name == b"log").unwrap();
    assert_eq!(counted.rows, logged as u64);
}

/// The image, with time for others between its parts.
fn slowly(reading: &mut Reading, bench: &Bench) -> Vec<u8> {
    assert_eq!(reading.bytes_behind(), 0);
    let mut image = vec![0; reading.bytes() as usize];
    for (part, offset) in image.chunks_mut(500_000).zip((0..).step_by(500_000)) {
        reading.make_way(offset, &bench.options, &bench.cancel).unwrap();
        assert_eq!(reading.read_at(offset, part).unwrap(), part.len());
        thread::sleep(Duration::from_millis(2));
    }
    image
}

#[test]
fn every_image_is_one_committed_state() {
    if let Some(path) = env::var_os(WRITER) {
        return write(path.as_ref(), env::var(SEED).unwrap().parse().unwrap());
    }
    for journal in ["WAL", "DELETE", "TRUNCATE", "PERSIST"] {
        let mut bench = Bench::new();
        let path = bench.path("db");
        bank(&path, journal);
        let writers = Writers::start("every_image_is_one_committed_state", &path);
        for turn in 0..5 {
            writers.wait();
            bench.options.spool_bytes_min = if turn == 3 { 0 } else { u64::MAX };
            bench.has_pages = turn != 4;
            let mut reading = bench.open(&path).unwrap();
            let image = slowly(&mut reading, &bench);
            let scan = scan(&reading, &image).unwrap();
            let mut facts = reading.finish((turn % 2 == 0).then_some(&scan)).unwrap();
            facts.count(&scan);
            assert_invariants(&bench.restored(&image), &facts);
        }
        writers.stop();
        assert_eq!(bench.private_copies(), 0);
    }
}

const WAITER: &str = "LARDER_TEST_WAITER";

/// A process that changes a database as soon as it may.
fn waiter(path: &Path) -> Child {
    let name = format!("{}::who_waits_to_write_is_made_way_for", module_path!().split_once("::").unwrap().1);
    let mut process = Command::new(env::current_exe().unwrap());
    process.args([&name, "--exact"]).env(WAITER, path).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn who_waits_to_write_is_made_way_for() {
    if let Some(path) = env::var_os(WAITER) {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("PRAGMA busy_timeout = 60000; UPDATE person SET name = 'other'").unwrap();
        return;
    }
    let mut bench = Bench::new();
    let path = bench.path("db");
    drop(database(&path, "PRAGMA journal_mode = DELETE;"));
    let bytes = fs::metadata(&path).unwrap().len();
    // What is nearly read is read to its end, what is large is copied, and nothing while nobody waits.
    for (min, way) in [(bytes, Way::Live), (0, Way::Copied)] {
        bench.options.spool_bytes_min = min;
        let mut reading = bench.open(&path).unwrap();
        reading.make_way(0, &bench.options, &bench.cancel).unwrap();
        assert_eq!((reading.way(), bench.private_copies()), (Way::Live, 0));
        let mut first = vec![0; 4096];
        reading.read_at(0, &mut first).unwrap();
        let others = rows(&bench.restored(&bytes_of(&path)), "person WHERE name = 'other'");
        let mut waiter = waiter(&path);
        let place = place::Place::find(&path).unwrap();
        while place.holders().iter().filter(|pid| **pid == i64::from(waiter.id())).count() < 2 {
            thread::sleep(Duration::from_millis(1));
        }
        reading.make_way(first.len() as u64, &bench.options, &bench.cancel).unwrap();
        assert_eq!((reading.way(), bench.private_copies()), (way, usize::from(way == Way::Copied)));
        if way == Way::Copied {
            assert!(waiter.wait().unwrap().success());
        }
        let image = whole(&reading);
        assert!(image.starts_with(&first));
        reading.finish(None).unwrap();
        assert!(waiter.wait().unwrap().success());
        let restored = bench.restored(&image);
        assert!(is_whole(&restored));
        assert_eq!(rows(&restored, "person WHERE name = 'other'"), others);
        assert_eq!(bench.private_copies(), 0);
    }
}

/// The file's bytes, read by another process, so that no lock of this one goes.
fn bytes_of(path: &Path) -> Vec<u8> {
    crate::child::child("cat").arg(path).output().unwrap().stdout
}
