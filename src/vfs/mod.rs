//! SQLite opens a database that is no file: read-only, page by page, from wherever its bytes lie.
//!
//! The engine sees a file system with one immutable file in it. It never writes it, never looks for a journal or a log
//! beside it, and takes no locks. What it needs for sorting goes to temporary files, as with any database.

mod engine;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use engine::{Opened, open};

use crate::error::{Error, Result};

/// Where the bytes of a database lie.
pub trait Image: Send + Sync {
    /// How many there are.
    fn bytes(&self) -> u64;
    /// Fills the buffer from this offset on. There are as many bytes from there on.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;
}

/// Why the image could not be read: the engine itself knows only that it could not.
#[derive(Clone, Debug, Default)]
pub struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    /// The first error since it was last asked for.
    pub fn take(&self) -> Option<Error> {
        lock(&self.0).take()
    }

    fn put(&self, error: Error) {
        lock(&self.0).get_or_insert(error);
    }
}

/// A lock that a panic elsewhere does not take away: what is behind it is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use rusqlite::Connection;

    use super::*;
    use crate::error::Kind;

    /// Counts what is read, and fails from one offset on.
    struct Bytes {
        bytes: Vec<u8>,
        bad_from: u64,
        reads: AtomicU64,
    }

    impl Image for Bytes {
        fn bytes(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let end = offset + buffer.len() as u64;
            if end > self.bad_from {
                return Err(Error::new(Kind::Damage, format!("bytes up to {end} are damaged")));
            }
            buffer.copy_from_slice(&self.bytes[offset as usize..end as usize]);
            Ok(())
        }
    }

    /// A database of this page size in a file, closed, and the bytes of it.
    fn database(page_bytes: u32, journal: &str, rows: u32) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let db = Connection::open(&path).unwrap();
        let make = format!(
            "PRAGMA page_size = {page_bytes}; PRAGMA journal_mode = {journal};
             CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX by_text ON t(text);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO t SELECT i, printf('%08d', i * 7919 % 100003) FROM n;
             PRAGMA wal_checkpoint(TRUNCATE);"
        );
        db.execute_batch(&make).unwrap();
        drop(db);
        std::fs::read(&path).unwrap()
    }

    fn image(bytes: Vec<u8>) -> Bytes {
        Bytes { bytes, bad_from: u64::MAX, reads: AtomicU64::new(0) }
    }

    fn number(connection: &Connection, sql: &str) -> rusqlite::Result<i64> {
        connection.query_row(sql, [], |row| row.get(0))
    }

    #[test]
    fn databases_of_every_page_size_and_mode_are_read_without_a_file() {
        for page_bytes in [512, 1024, 4096, 65536] {
            for journal in ["DELETE", "WAL"] {
                let image = image(database(page_bytes, journal, 20_000));
                let connection = open(&image).unwrap();
                assert_eq!(number(&connection, "SELECT count(*) FROM t WHERE id > 0").unwrap(), 20_000);
                let checked: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
                assert_eq!(checked, "ok", "{page_bytes} {journal}");
                assert!(connection.failure().is_none());
            }
        }
    }

    #[test]
    fn only_what_is_needed_is_read() {
        let image = image(database(4096, "DELETE", 100_000));
        let pages = image.bytes() / 4096;
        let connection = open(&image).unwrap();
        let before = image.reads.load(Ordering::Relaxed);
        assert_eq!(number(&connection, "SELECT id FROM t WHERE text = '00007919'").unwrap(), 1);
        let reads = image.reads.load(Ordering::Relaxed) - before;
        assert!(pages > 500 && reads < 12, "{reads} of {pages} pages");
    }

    #[test]
    fn nothing_can_be_written() {
        let image = image(database(4096, "WAL", 10));
        let connection = open(&image).unwrap();
        for sql in ["INSERT INTO t VALUES(99, '')", "DROP TABLE t", "CREATE TABLE u(a)"] {
            assert!(connection.execute_batch(sql).is_err(), "{sql}");
        }
        let attached = connection.execute_batch("ATTACH 'file:/tmp/nowhere.db' AS other; SELECT * FROM other.t");
        assert!(attached.is_err());
        // What is sorted outside of memory goes to temporary files.
        connection.execute_batch("PRAGMA cache_size = 1; PRAGMA temp_store = FILE").unwrap();
        connection.execute_batch("CREATE TEMP TABLE scratch AS SELECT * FROM t").unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_reason() {
        let bytes = database(4096, "DELETE", 50_000);
        let half = bytes.len() as u64 / 2;
        let damaged = Bytes { bytes, bad_from: half, reads: AtomicU64::new(0) };
        let connection = open(&damaged).unwrap();
        assert!(number(&connection, "SELECT count(*) FROM t NOT INDEXED WHERE text > ''").is_err());
        assert!(connection.failure().unwrap().what().contains("are damaged"));
        assert!(connection.failure().is_none());
        assert_eq!(number(&connection, "SELECT id FROM t ORDER BY id LIMIT 1").unwrap(), 1);
    }

    #[test]
    fn what_is_no_database_is_refused_and_what_is_cut_is_an_error() {
        let bytes = image(vec![7; 8192]);
        let connection = open(&bytes).unwrap();
        assert!(number(&connection, "SELECT count(*) FROM sqlite_schema").is_err());
        let bytes = image(Vec::new());
        let connection = open(&bytes).unwrap();
        assert_eq!(number(&connection, "SELECT count(*) FROM sqlite_schema").unwrap(), 0);
        let mut cut = database(4096, "DELETE", 20_000);
        cut.truncate(cut.len() / 2 + 100);
        let bytes = image(cut);
        let connection = open(&bytes).unwrap();
        assert!(number(&connection, "SELECT count(*) FROM t NOT INDEXED WHERE text > ''").is_err());
    }

    #[test]
    fn many_are_read_at_once() {
        let bytes = database(4096, "WAL", 5000);
        let read = |_| {
            let image = image(bytes.clone());
            let connection = open(&image).unwrap();
            number(&connection, "SELECT sum(id) FROM t").unwrap()
        };
        use rayon::prelude::*;
        let sums: Vec<i64> = (0..32).into_par_iter().map(read).collect();
        assert!(sums.iter().all(|sum| *sum == 5000 * 5001 / 2));
    }
}
