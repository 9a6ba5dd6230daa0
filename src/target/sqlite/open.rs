//! Databases opened for rows that are put into them.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{Error, Kind, Result};
use crate::text;

/// How long to wait for those who write.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens a database that is there, and never makes one.
pub fn open(path: &Path) -> Result<Connection> {
    let failed = |e: rusqlite::Error| cannot(path, &e);
    let real = path.canonicalize().map_err(|e| Error::io(format!("cannot open {}", text::path(path)), &e))?;
    if !real.is_file() {
        return Err(Error::new(Kind::Usage, format!("cannot open {}", text::path(path))).why("it is no regular file"));
    }
    let connection = connect(&real).map_err(failed)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(failed)?;
    Ok(connection)
}

/// Opens a draft, an empty file of ours, for a database that keeps its text as this one does, in pages of that size.
/// It is brought to the disk as a whole when it is complete, and not before.
pub fn draft(path: &Path, like: &Connection) -> Result<Connection> {
    let make = || -> rusqlite::Result<Connection> {
        let encoding: String = like.query_row("PRAGMA encoding", [], |row| row.get(0))?;
        let page_bytes: u32 = like.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let connection = connect(path)?;
        connection.execute_batch(&format!(
            "PRAGMA encoding = '{encoding}'; PRAGMA page_size = {page_bytes}; PRAGMA synchronous = OFF"
        ))?;
        Ok(connection)
    };
    make().map_err(|e| cannot(path, &e))
}

/// The path is absolute, so nothing in it is taken for a URI.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

fn cannot(path: &Path, error: &rusqlite::Error) -> Error {
    let new = |kind| {
        Error::new(kind, format!("cannot open the database {}", text::path(path)))
            .why(text::one_line(error.to_string().as_bytes()))
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            new(Kind::Busy).fix("stop the program that keeps it locked, and run this again")
        }
        Some(ErrorCode::NotADatabase) => new(Kind::Usage).fix("name a database, or a new file"),
        Some(ErrorCode::DiskFull) => new(Kind::NoSpace),
        _ => new(Kind::Failed),
    }
}
