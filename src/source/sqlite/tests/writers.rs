//! While others write as fast as they can, in this process and in another.

use std::env;
use std::process::{Child, Command};
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
fn slowly(reading: &Reading) -> Vec<u8> {
    let mut image = vec![0; reading.bytes() as usize];
    for (part, offset) in image.chunks_mut(500_000).zip((0..).step_by(500_000)) {
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
            let reading = bench.open(&path).unwrap();
            let image = slowly(&reading);
            let facts = reading.finish().unwrap();
            assert_invariants(&bench.restored(&image), &facts);
        }
        writers.stop();
        assert_eq!(bench.private_copies(), 0);
    }
}
