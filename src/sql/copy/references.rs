//! Foreign keys, checked after rows went in.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::super::error::{failed, message};
use super::super::schema::{Shape, bytes, each_row};
use super::{Copied, OnConflict};
use crate::error::{Error, Kind, Result};
use crate::text;

/// A row that refers to one which is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenReference {
    /// The table of the row.
    pub table: Vec<u8>,
    /// Its rowid; none in a table without.
    pub rowid: Option<i64>,
    /// The table it refers to.
    pub parent: Vec<u8>,
    /// Whether that whole table is missing.
    pub parent_missing: bool,
}

const TOLD_MAX: usize = 1000;

/// Looks for references that lead nowhere, and fails if there are more of those that count than before.
pub(super) fn check(
    conn: &Connection,
    table: &Shape,
    rule: OnConflict,
    before: u64,
    copied: &mut Copied,
) -> Result<()> {
    let mut tables = vec![table.name.as_bytes().to_vec()];
    if rule == OnConflict::Replace {
        let what = || format!("cannot find what refers to {}", table.shown());
        tables.extend(children(conn, table).map_err(|e| failed(what(), &e))?);
    }
    let mut rows_missing = 0;
    for name in &tables {
        let looked = broken(conn, name, &mut |reference| {
            copied.broken_references_count += 1;
            rows_missing += u64::from(!reference.parent_missing);
            if copied.broken_references.len() < TOLD_MAX {
                copied.broken_references.push(reference);
            }
        });
        if let Err(e) = looked {
            copied.references_unchecked = Some(format!("{}: {}", text::escape(name), message(&e)));
        }
    }
    if rule == OnConflict::Fail && rows_missing > before {
        return Err(leads_nowhere(table, rows_missing - before, &copied.broken_references));
    }
    Ok(())
}

fn leads_nowhere(table: &Shape, count: u64, told: &[BrokenReference]) -> Error {
    let parent =
        told.iter().find(|reference| !reference.parent_missing).map(|reference| text::escape(&reference.parent));
    Error::new(Kind::Failed, format!("rows of {} would refer to rows that are not there", table.shown()))
        .why(format!("{count} references into the table {} lead nowhere", parent.unwrap_or_default()))
        .fix("put back that table first, or choose to skip or replace rows that are there: then they are only told")
}

/// How many of the table's references lead to rows that are missing from a table that is there.
pub(super) fn count(conn: &Connection, table: &Shape) -> u64 {
    let mut count = 0;
    // What cannot be checked is told after the rows went in.
    let _ = broken(conn, table.name.as_bytes(), &mut |reference| count += u64::from(!reference.parent_missing));
    count
}

fn broken(conn: &Connection, table: &[u8], each: &mut dyn FnMut(BrokenReference)) -> rusqlite::Result<()> {
    let sql = "SELECT f.\"table\", f.rowid, f.parent,
            NOT EXISTS (SELECT 1 FROM main.sqlite_schema AS s
                WHERE s.type = 'table' AND s.name = f.parent COLLATE NOCASE)
        FROM pragma_foreign_key_check(?1, 'main') AS f";
    each_row(conn, sql, &[ValueRef::Text(table)], |row| {
        let (table, parent) = (bytes(row, 0)?, bytes(row, 2)?);
        each(BrokenReference { table, rowid: row.get(1)?, parent, parent_missing: row.get(3)? });
        Ok(())
    })
}

/// Other tables that refer to this one.
fn children(conn: &Connection, table: &Shape) -> rusqlite::Result<Vec<Vec<u8>>> {
    let sql = "SELECT DISTINCT s.name FROM main.sqlite_schema AS s, pragma_foreign_key_list(s.name, 'main') AS f
        WHERE s.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE AND s.name <> ?1 COLLATE NOCASE";
    let mut found = Vec::new();
    each_row(conn, sql, &[ValueRef::Text(table.name.as_bytes())], |row| {
        found.push(bytes(row, 0)?);
        Ok(())
    })?;
    Ok(found)
}
