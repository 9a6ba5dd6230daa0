//! Databases in all states, read while others do what they like.

mod facts;
mod image;
mod places;
mod refused;
mod scan;
mod writers;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::open::Opening;
use super::*;
use crate::event::Cancel;
use crate::testing;

/// A folder for one test: databases, and private copies of them.
struct Bench {
    folder: tempfile::TempDir,
    options: Options,
    cancel: Cancel,
    has_pages: bool,
}

impl Bench {
    fn new() -> Self {
        let folder = testing::open_tempdir();
        let spool = folder.path().join("spool");
        let options = Options { busy_timeout: Duration::from_secs(10), ..Options::new(spool) };
        Self { folder, options, cancel: Cancel::new(), has_pages: true }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self, path: &Path) -> Result<Reading, Failure> {
        Opening { options: &self.options, cancel: &self.cancel, has_pages: self.has_pages }.open(path)
    }

    /// Everything of a database, which is read in this way.
    fn read(&self, path: &Path, way: Way) -> (Vec<u8>, Facts) {
        let reading = self.open(path).unwrap();
        assert_eq!((reading.way(), reading.bytes_behind()), (way, 0));
        let image = whole(&reading);
        let scan = scan(&reading, &image);
        let is_damaged = scan.as_ref().is_some_and(|scan| scan.wrong().or(scan.bad_record()).is_some());
        let facts = reading.finish(None).unwrap();
        if let Some(scan) = scan.filter(|_| !is_damaged) {
            let mut counted = self.open(path).unwrap().finish(Some(&scan)).unwrap();
            assert!(!counted.left.is_empty() || facts.tables.is_empty());
            counted.count(&scan);
            assert_eq!(counted, facts);
        }
        // The engine itself cannot tell where it lacks a module.
        if let Ok(said) = check(&self.restored(&image), Check::Quick) {
            assert_eq!(is_damaged, !said.is_empty(), "{said:?}");
        }
        (image, facts)
    }

    fn failure(&self, path: &Path) -> Failure {
        self.open(path).expect_err("opened")
    }

    fn private_copies(&self) -> usize {
        fs::read_dir(&self.options.spool).map_or(0, Iterator::count)
    }

    /// The image as a database of its own.
    fn restored(&self, image: &[u8]) -> Connection {
        let path = self.path("restored");
        fs::write(&path, image).unwrap();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(place::uri(&path, "immutable=1"), flags).unwrap()
    }
}

/// The image, read onwards in parts that fit nothing.
fn whole(reading: &Reading) -> Vec<u8> {
    let mut image = Vec::new();
    let mut buffer = vec![0; 100_001];
    loop {
        match reading.read_at(image.len() as u64, &mut buffer).unwrap() {
            0 => break,
            len => image.extend_from_slice(&buffer[..len]),
        }
    }
    assert_eq!(image.len() as u64, reading.bytes());
    image
}

/// What a scan says of it, that sees its last pages first.
fn scanned(reading: &Reading, image: &[u8]) -> Option<String> {
    let scan = scan(reading, image)?;
    scan.wrong().or(scan.bad_record())
}

/// What is kept of each part tells another scan the same.
fn scan(reading: &Reading, image: &[u8]) -> Option<Scan> {
    if image.is_empty() {
        return None;
    }
    let [scan, again] = [(); 2].map(|()| reading.scan().unwrap().expect("no scan"));
    for (n, part) in image.chunks(1 << 16).enumerate().collect::<Vec<_>>().into_iter().rev() {
        let kept = scan.look((n << 16) as u64, part);
        if !again.recall(&kept) {
            again.look((n << 16) as u64, part);
        }
    }
    let said = |scan: &Scan| (scan.wrong(), scan.bad_record(), scan.rows());
    assert_eq!(said(&again), said(&scan));
    Some(scan)
}

/// A database with a bit of everything, kept open.
fn database(path: &Path, pragmas: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection.execute_batch(pragmas).unwrap();
    connection.execute_batch(include_str!("everything.sql")).unwrap();
    connection
}

fn rows(connection: &Connection, table: &str) -> i64 {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn is_whole(connection: &Connection) -> bool {
    check(connection, Check::Full).unwrap().is_empty()
}
