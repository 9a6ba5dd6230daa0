//! A connection to a database that nobody vouches for.
//!
//! No authorizer is set, on purpose: what it is told are names out of the schema, and the binding panics on those that
//! are not UTF-8, so the guard itself would be the weak spot. What it would refuse is refused without it: writes by
//! `query_only`, ATTACH by a limit of none, extensions because they are off, and statements with effects by
//! [`super::query`], which runs only those that are known to have none.

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;

use super::error::failed;
use crate::error::Result;

/// What a foreign database may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest value or row, in bytes. At most 1 000 000 000, and that is the default: a backup gives back what it
    /// was given.
    pub value_bytes_max: i32,
    /// The longest statement, in bytes; those of the schema count. Default: 1 000 000.
    pub sql_bytes_max: i32,
    /// The most columns of a table or an answer. Default: 2000.
    pub columns_max: i32,
    /// The page cache, in KiB. Default: 8192.
    pub cache_kib: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { value_bytes_max: 1_000_000_000, sql_bytes_max: 1_000_000, columns_max: 2000, cache_kib: 8192 }
    }
}

/// How many steps of the engine lie between two looks at whether to stop. A step takes well under a microsecond.
const STEPS: i32 = 10_000;

/// Makes a connection safe to read a hostile database with, for good. Nothing can be written through it any more.
///
/// `stop` is asked now and then while a statement runs; once it says yes, statements fail as interrupted. A recursive
/// view may never end by itself, so give it something that does.
pub fn harden(conn: &mut Connection, limits: Limits, stop: impl FnMut() -> bool + Send + 'static) -> Result<()> {
    limit(conn, limits)?;
    stop_when(conn, stop)
}

/// The same, where somebody else sees to it that statements end.
pub fn limit(conn: &Connection, limits: Limits) -> Result<()> {
    set(conn, limits).map_err(|e| failed("cannot set limits", &e))
}

/// Has statements fail as interrupted once `stop` says yes; for a database of one's own, such as a target, in which a
/// single statement may take long. Instead of an earlier one.
pub fn stop_when(conn: &mut Connection, stop: impl FnMut() -> bool + Send + 'static) -> Result<()> {
    conn.progress_handler(STEPS, Some(stop)).map_err(|e| failed("cannot set limits", &e))
}

fn set(conn: &Connection, limits: Limits) -> rusqlite::Result<()> {
    for (option, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
    ] {
        conn.set_db_config(option, value)?;
    }
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, limits.value_bytes_max),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, limits.sql_bytes_max),
        (Limit::SQLITE_LIMIT_COLUMN, limits.columns_max),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 1000),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 500),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 4096),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 10),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        conn.set_limit(limit, value)?;
    }
    // Sorting must not fill memory, nor may pages be mapped, where a bad sector is a signal.
    conn.execute_batch(
        "PRAGMA cell_size_check = 1; PRAGMA query_only = 1; PRAGMA mmap_size = 0; PRAGMA temp_store = 1",
    )?;
    // This one reads the schema. If that is broken, every statement will say so, and nothing is cached.
    let _ = conn.execute_batch(&format!("PRAGMA cache_size = {}", -limits.cache_kib.max(0)));
    Ok(())
}

/// While this lives, nothing can be written through the connection, whatever a statement hides: `SELECT * FROM
/// pragma_optimize` analyses tables, and counts as a statement that only reads.
pub(super) struct ReadOnly<'c> {
    conn: &'c Connection,
    before: bool,
}

impl<'c> ReadOnly<'c> {
    pub fn begin(conn: &'c Connection) -> Result<Self> {
        let begun = || -> rusqlite::Result<Self> {
            let before = conn.query_row("PRAGMA query_only", [], |row| row.get(0))?;
            conn.execute_batch("PRAGMA query_only = 1")?;
            Ok(Self { conn, before })
        };
        begun().map_err(|e| failed("cannot set limits", &e))
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        if !self.before {
            // It has just been set the other way, and cannot fail.
            let _ = self.conn.execute_batch("PRAGMA query_only = 0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn hardened() -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES (1)").unwrap();
        harden(&mut conn, Limits::default(), || false).unwrap();
        conn
    }

    #[test]
    fn nothing_is_written_and_nothing_attached() {
        let conn = hardened();
        let refused = [
            "INSERT INTO t VALUES (2)",
            "CREATE TABLE u(a)",
            "ATTACH ':memory:' AS x",
            "SELECT load_extension('x')",
            "SELECT fts3_tokenizer('simple', x'0011223344556677')",
        ];
        for sql in refused {
            assert!(conn.prepare(sql).and_then(|mut s| s.raw_query().next().map(drop)).is_err(), "{sql}");
        }
        assert_eq!(conn.query_row("SELECT a FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    }

    #[test]
    fn what_never_ends_is_stopped() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let mut conn = Connection::open_in_memory().unwrap();
        harden(&mut conn, Limits::default(), move || count.fetch_add(1, Ordering::Relaxed) > 3).unwrap();
        let sql = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r";
        let error = conn.query_row(sql, [], |_| Ok(())).unwrap_err();
        assert_eq!(failed("x", &error).kind(), crate::error::Kind::Interrupted);
        assert!(asked.load(Ordering::Relaxed) > 3);
    }
}
