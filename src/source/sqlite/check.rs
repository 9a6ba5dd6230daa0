//! Whether a database is whole, by its own engine; or by its pages, where that cannot be asked.

use std::collections::HashMap;

use rusqlite::{Connection, ErrorCode};

use super::facts;
use super::failure::said;
use super::scan::Scan;
use super::snapshot::has_pages;
use crate::error::{Error, Kind, Result};
use crate::event::Cancel;

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
        Err(e) => Err(cannot(&e)),
    }
}

fn cannot(error: &rusqlite::Error) -> Error {
    Error::new(Kind::Failed, "cannot check the database").why(said(error))
}

/// What all pages of an open database tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    /// The first thing that is wrong.
    pub wrong: Option<String>,
    /// How many rows are in the table that begins on a page, by that page.
    pub rows: HashMap<u32, u64>,
}

/// Looks at all pages of a database that nobody writes. `None`: of this one they tell nothing, or the engine of this program
/// was built without its table of pages.
pub fn look_at_pages(connection: &Connection, cancel: &Cancel) -> Result<Option<Pages>> {
    if !has_pages() {
        return Ok(None);
    }
    let failed = |e: rusqlite::Error| cannot(&e);
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, u32>(0)).map_err(failed);
    let (size, count) = (number("PRAGMA page_size")?, number("PRAGMA page_count")?);
    let mut statement = connection.prepare("SELECT data FROM sqlite_dbpage WHERE pgno = ?1").map_err(failed)?;
    let mut read = |page: u32, bytes: &mut [u8]| -> Result<()> {
        cancel.check()?;
        let copy = |row: &rusqlite::Row<'_>| Ok(copied(row.get_ref(0)?.as_bytes().unwrap_or_default(), bytes));
        match statement.query_row([page], copy).map_err(failed)? {
            true => Ok(()),
            false => Err(Error::new(Kind::Failed, format!("page {page} is not as long as the others"))),
        }
    };
    let mut page = vec![0; size as usize];
    if count > 0 {
        read(1, &mut page)?;
    }
    let Some(mut scan) = Scan::new(&page, count) else { return Ok(None) };
    scan.free_list(&mut read)?;
    scan.roots(facts::roots(connection).ok().as_deref());
    for number in 1..=count {
        read(number, &mut page)?;
        scan.look(u64::from(number - 1) * u64::from(size), &page);
    }
    let wrong = scan.wrong().or_else(|| scan.bad_record());
    Ok(Some(Pages { wrong, rows: scan.rows().unwrap_or_default() }))
}

fn copied(from: &[u8], to: &mut [u8]) -> bool {
    let fits = from.len() == to.len();
    if fits {
        to.copy_from_slice(from);
    }
    fits
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
