//! One state of a database, held by a read transaction, and its pages.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, OpenFlags, Statement, ffi};

use super::SIDE_FILES;
use super::direct::Direct;
use super::place::{beside, uri};

/// How a database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Where others use it: for reading, with all locks.
    InPlace,
    /// Where nobody changes it: for reading, without locks, without a look at its log.
    Immutable,
    /// A copy of our own, in which interrupted work of others may be undone.
    Own,
}

/// Opens a database for reading with flat memory.
fn connect(path: &Path, mode: Mode) -> rusqlite::Result<Connection> {
    let (access, options) = match mode {
        Mode::InPlace => (OpenFlags::SQLITE_OPEN_READ_ONLY, "mode=ro"),
        Mode::Immutable => (OpenFlags::SQLITE_OPEN_READ_ONLY, "mode=ro&immutable=1"),
        Mode::Own => (OpenFlags::SQLITE_OPEN_READ_WRITE, "mode=rw"),
    };
    let flags = access | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path, options), flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    // What a schema says is not ours; it gets no more power than it needs. A log is never written back.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA query_only = 1; PRAGMA mmap_size = 0; PRAGMA cache_size = -512;")?;
    Ok(connection)
}

/// Whether this program's engine has the table of pages.
pub(super) fn has_pages() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let probe = || Connection::open_in_memory()?.prepare("SELECT 1 FROM sqlite_dbpage LIMIT 1").map(drop);
        probe().is_ok()
    })
}

/// One state of a database, while this lives.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub connection: Connection,
    pub page_bytes: u32,
    pub pages: u32,
    /// Behind the connection, which has locks on the file.
    direct: Option<Direct>,
}

impl Snapshot {
    /// Opens a database and begins the transaction that holds the state that it is in. Waits for nobody.
    pub fn hold(path: &Path, mode: Mode) -> rusqlite::Result<Self> {
        // Without it, all pages come from the engine, which tells better what is in the way.
        let mut direct = Direct::open(path).ok();
        let connection = connect(path, mode)?;
        // A transaction begins with its first read, not with its name.
        connection.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1;")?;
        let page_bytes = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages = page_count(&connection)?;
        if let Some(direct) = &mut direct {
            let log = (mode != Mode::Immutable).then(|| beside(path, SIDE_FILES[0]));
            let _ = direct.hold(path, log.as_deref(), page_bytes);
        }
        Ok(Self { connection, page_bytes, pages, direct })
    }

    pub fn bytes(&self) -> u64 {
        u64::from(self.page_bytes) * u64::from(self.pages)
    }

    /// How many bytes its file lacks, as far as can be told. The engine takes those for zeros.
    pub fn bytes_missing(&self) -> u64 {
        let file = self.direct.as_ref().and_then(Direct::bytes);
        file.map_or(0, |file| self.bytes().saturating_sub(file))
    }

    /// How many bytes lie in its file behind its last page, as far as can be told; 0 where all of them are zeros, as programs
    /// leave them that have their files grow in steps.
    pub fn bytes_behind(&self) -> u64 {
        let Some((direct, file)) = self.direct.as_ref().and_then(|direct| direct.bytes().map(|bytes| (direct, bytes)))
        else {
            return 0;
        };
        let behind = self.bytes()..file;
        let has_content = !behind.is_empty() && direct.has_content(behind.clone()).unwrap_or(true);
        if has_content { behind.end - behind.start } else { 0 }
    }

    /// The pages from `first` on (the first of all is 1), as many as fill the buffer.
    pub fn read_pages(&self, mut first: u32, mut buffer: &mut [u8]) -> rusqlite::Result<()> {
        let size = self.page_bytes as usize;
        debug_assert!(buffer.len().is_multiple_of(size));
        let mut statement = None;
        while !buffer.is_empty() {
            let in_file = self.direct.as_ref().map_or(0, |direct| direct.run(first)) as usize;
            let (part, rest) = buffer.split_at_mut(in_file.max(1).saturating_mul(size).min(buffer.len()));
            let offset = u64::from(first - 1) * size as u64;
            match &self.direct {
                // What cannot be read there the engine is asked for: its word counts.
                Some(direct) if in_file > 0 && direct.read(part, offset).is_ok() => {}
                _ => ask(self.statement(&mut statement)?, first, part, size)?,
            }
            first += (part.len() / size) as u32;
            buffer = rest;
        }
        Ok(())
    }

    #[cfg(test)]
    pub fn pages_in_file(&self) -> u32 {
        let in_file = |page: &u32| self.direct.as_ref().is_some_and(|direct| direct.run(*page) > 0);
        (1..=self.pages).filter(in_file).count() as u32
    }

    /// Gives one page by its number.
    fn statement<'c, 's>(&'c self, known: &'s mut Option<Statement<'c>>) -> rusqlite::Result<&'s mut Statement<'c>> {
        match known {
            Some(statement) => Ok(statement),
            // The table knows how to find one page, not a range of them: a range would visit all pages before it.
            none => {
                let sql = "SELECT pgno, data FROM sqlite_dbpage WHERE pgno = ?1";
                Ok(none.insert(self.connection.prepare(sql)?))
            }
        }
    }

    /// Whether another process is about to write, and has to wait, as far as can be told.
    pub fn is_awaited(&self) -> bool {
        self.direct.as_ref().is_some_and(Direct::is_awaited)
    }

    /// Whether writers append to a log. Only where it is read in place.
    pub fn is_wal(&self) -> rusqlite::Result<bool> {
        let mode: String = self.connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        Ok(mode == "wal")
    }

    /// Fails if the transaction ended on its own, or sees something else than at first.
    pub fn check(&self) -> rusqlite::Result<()> {
        let pages = page_count(&self.connection)?;
        if self.connection.is_autocommit() || pages != self.pages {
            return Err(lost(format!(
                "the transaction that held it ended on its own, at {pages} pages of {}",
                self.pages
            )));
        }
        Ok(())
    }

    /// Gives the state back. Nothing was written, and a database in which something cannot be read cannot commit.
    pub fn end(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("ROLLBACK")
    }
}

/// The pages from `first` on, from the engine.
fn ask(statement: &mut Statement<'_>, first: u32, buffer: &mut [u8], size: usize) -> rusqlite::Result<()> {
    for (page, number) in buffer.chunks_exact_mut(size).zip(first..) {
        let mut rows = statement.query([number])?;
        let row = rows.next()?.ok_or_else(|| lost(format!("page {number} is not there")))?;
        let data = row.get_ref(1)?.as_bytes()?;
        if row.get::<_, u32>(0)? != number || data.len() != size {
            return Err(lost(format!("page {number} came as {} bytes of another", data.len())));
        }
        page.copy_from_slice(data);
    }
    Ok(())
}

fn page_count(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA page_count", [], |row| row.get(0))
}

fn lost(why: String) -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_ABORT), Some(why))
}
