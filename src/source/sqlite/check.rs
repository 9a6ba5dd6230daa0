//! Whether a database is whole, by its own engine.

use rusqlite::{Connection, ErrorCode};

use super::failure::said;
use crate::error::{Error, Kind, Result};

/// The most faults that are told.
pub const FAULTS_MAX: usize = 100;
const FAULT_BYTES_MAX: usize = 1000;

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// All pages, but not whether indexes agree with their tables.
    Quick,
    /// Everything that the engine can check.
    Full,
}

/// What is wrong with the database, in the engine's words, which quote what is in it, at most [`FAULTS_MAX`] faults; empty: nothing. An error means that
/// it could not be told.
pub fn check(connection: &Connection, depth: Check) -> Result<Vec<String>> {
    let pragma = match depth {
        Check::Quick => "quick_check",
        Check::Full => "integrity_check",
    };
    let mut faults = Vec::new();
    match collect(connection, &format!("PRAGMA main.{pragma}({FAULTS_MAX})"), &mut faults) {
        Ok(()) if faults == ["ok"] => Ok(Vec::new()),
        Ok(()) => Ok(faults),
        Err(e) if is_fault(&e) => {
            faults.push(said(&e));
            Ok(faults)
        }
        Err(e) => Err(Error::new(Kind::Failed, "cannot check the database").why(said(&e))),
    }
}

fn collect(connection: &Connection, sql: &str, faults: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let fault = row.get_ref(0)?.as_bytes()?;
        faults.push(String::from_utf8_lossy(&fault[..fault.len().min(FAULT_BYTES_MAX)]).into_owned());
    }
    Ok(())
}

/// Some faults stop the check itself.
fn is_fault(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
