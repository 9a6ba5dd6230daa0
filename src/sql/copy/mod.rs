//! A table, or some of its rows, put into another database.
//!
//! - All is one transaction: a failure leaves the target as it was.
//! - A table that is missing is made by the statement that once made it, with its indices and triggers and what
//!   AUTOINCREMENT has noted. Views are tables of their own: they come when they are named, not with what they read.
//! - Where the table is, its columns must have the same names and the same key. Its own schema stays.
//! - Triggers of the target do not fire: a restored row is one that was there, not one that somebody adds now. They are
//!   switched off for the connection, which leaves no trace in the schema, as dropping and making them again would.
//!   What triggers are known to keep up to date, full-text tables over this one's content, is rebuilt.
//! - Foreign keys are not enforced on the way, so nothing cascades, and are checked at the end.
//! - A row is the same row if its key is: the primary key, compared by its own collation, else the rowid. Rows without
//!   either are only added. Replacing changes that row and no other: a clash with another one fails.
//! - Rowids are kept, also those that no column names. If there is a primary key besides, and somebody else has the
//!   rowid by now, the row gets a free one, and that is counted.
//! - What is kept is compared with what was put in, so no affinity changes a value unseen.

mod make;
mod references;
mod rows;
mod target;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

pub use references::BrokenReference;

use super::error::{failed, message};
use super::guard::ReadOnly;
use super::schema::{Shape, TableKind, each_row, existing, find};
use super::script::{VIEW_FIX, by_rows, sequence};
use crate::error::{Error, Kind, Result};
use crate::event::Cancel;
use crate::text;
use rows::Side;
use target::Target;

/// What happens to a row whose key is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Nothing at all is changed, by an error that names it.
    Fail,
    /// The row that is there stays, also if only another unique value clashes.
    Skip,
    /// The row that is there becomes as it was.
    Replace,
}

/// What is put back, and how.
#[derive(Clone, Copy, Debug)]
pub struct Copy<'a> {
    /// The table or view; ASCII case does not matter.
    pub table: &'a str,
    /// Only rows for which this is true, as for [`super::rows`].
    pub where_clause: Option<&'a str>,
    /// For rows that are there.
    pub on_conflict: OnConflict,
    /// Whether the table must not be there yet.
    pub into_new: bool,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Whether the table was missing and has been made.
    pub made: bool,
    /// Rows that were not there.
    pub rows: u64,
    /// Rows that were there and stay as they are.
    pub skipped: u64,
    /// Rows that were there and are now as they were.
    pub replaced: u64,
    /// Rows among the new ones whose rowid was taken.
    pub rowids_changed: u64,
    /// Indices made.
    pub indices: u64,
    /// Triggers made.
    pub triggers: u64,
    /// Full-text tables of the target that index this one's content, and were made to do so anew: what keeps them up to
    /// date are triggers, and those did not fire.
    pub rebuilt: Vec<Vec<u8>>,
    /// References that lead nowhere: of the table's rows, and after replacing also of rows that point to it. The first
    /// thousand.
    pub broken_references: Vec<BrokenReference>,
    /// How many there are.
    pub broken_references_count: u64,
    /// Why references could not be checked, escaped; none if they were.
    pub references_unchecked: Option<String>,
}

/// Puts a table, or some of its rows, into another database. See the module for what always holds.
///
/// References into a table that the target does not have are told. With [`OnConflict::Fail`], one into a table that it
/// has, to a row that it does not have, fails.
pub fn copy_table(from: &Connection, to: &mut Connection, what: &Copy<'_>, cancel: &Cancel) -> Result<Copied> {
    let _held = ReadOnly::begin(from)?;
    let source = existing(from, what.table)?;
    if let TableKind::Shadow { of } = &source.kind {
        let of = text::escape(of);
        return Err(Error::new(Kind::Usage, format!("cannot put back {} by itself", source.shown()))
            .why(format!("it is part of the virtual table {of}"))
            .fix(format!("put back {of}")));
    }
    let target = Target::begin(to)?;
    let there = find(target.conn, &source.name)?;
    if let Some(there) = &there {
        fits(&source, there, what.into_new)?;
    }
    let copied = match (&source.kind, &there) {
        (TableKind::View, there) => view(from, &target, &source, there.as_ref(), what)?,
        (_, Some(there)) => into_existing(from, &target, &source, there, what, cancel)?,
        (_, None) => into_missing(from, &target, &source, what, cancel)?,
    };
    target.commit()?;
    Ok(copied)
}

fn into_missing(
    from: &Connection,
    target: &Target<'_>,
    source: &Shape,
    what: &Copy<'_>,
    cancel: &Cancel,
) -> Result<Copied> {
    let mut copied = Copied { made: true, ..Copied::default() };
    if source.is_virtual() && what.where_clause.is_none() {
        copied.rows = make::virtual_table(from, target, source, cancel)?;
    } else {
        by_rows(source)?;
        make::run(target.conn, b"table", source.name.as_bytes(), source.sql.as_bytes())?;
        let made = existing(target.conn, &source.name)?;
        let (from, to) = (Side { conn: from, shape: source }, Side { conn: target.conn, shape: &made });
        rows::put(from, to, what, true, cancel, &mut copied)?;
    }
    (copied.indices, copied.triggers) = make::objects_of(from, target.conn, source)?;
    note_sequence(from, target.conn, source)?;
    copied.rebuilt = make::rebuild_indices(target.conn, source)?;
    references::check(target.conn, source, what.on_conflict, 0, &mut copied)?;
    Ok(copied)
}

fn into_existing(
    from: &Connection,
    target: &Target<'_>,
    source: &Shape,
    there: &Shape,
    what: &Copy<'_>,
    cancel: &Cancel,
) -> Result<Copied> {
    by_rows(source)?;
    by_rows(there)?;
    let mut copied = Copied::default();
    let broken_before = match what.on_conflict {
        OnConflict::Fail => references::count(target.conn, there),
        _ => 0,
    };
    let sides = (Side { conn: from, shape: source }, Side { conn: target.conn, shape: there });
    rows::put(sides.0, sides.1, what, false, cancel, &mut copied)?;
    note_sequence(from, target.conn, there)?;
    if copied.rows + copied.replaced > 0 {
        copied.rebuilt = make::rebuild_indices(target.conn, there)?;
    }
    references::check(target.conn, there, what.on_conflict, broken_before, &mut copied)?;
    Ok(copied)
}

fn view(
    from: &Connection,
    target: &Target<'_>,
    source: &Shape,
    there: Option<&Shape>,
    what: &Copy<'_>,
) -> Result<Copied> {
    let refused = |why: &str| Error::new(Kind::Usage, format!("cannot put back the view {}", source.shown())).why(why);
    if what.where_clause.is_some() {
        return Err(refused("a view has no rows of its own").fix("put back rows of the tables that it reads"));
    }
    match (there, what.on_conflict) {
        (Some(there), _) if there.sql == source.sql => return Ok(Copied { skipped: 1, ..Copied::default() }),
        (Some(_), OnConflict::Skip) => return Ok(Copied { skipped: 1, ..Copied::default() }),
        (Some(_), _) => {
            return Err(refused("another one of that name is there").fix("drop it first, or choose to skip"));
        }
        (None, _) => {}
    }
    make::run(target.conn, b"view", source.name.as_bytes(), source.sql.as_bytes())?;
    // The engine makes a view of whatever is not there.
    if let Err(e) = target.conn.prepare(&format!("SELECT * FROM main.{}", source.quoted)) {
        return Err(refused(&format!("it cannot be read there: {}", message(&e))).fix(VIEW_FIX));
    }
    let (indices, triggers) = make::objects_of(from, target.conn, source)?;
    Ok(Copied { made: true, indices, triggers, ..Copied::default() })
}

/// Fails unless rows of the one can be rows of the other.
fn fits(source: &Shape, there: &Shape, into_new: bool) -> Result<()> {
    let refused = |what: &str| Error::new(Kind::Usage, format!("the table {} {what}", source.shown()));
    if into_new {
        return Err(refused("is already there").fix("choose another database, or put rows into it"));
    }
    if source.kind != there.kind {
        return Err(refused("is something else there").why(format!("{:?} there, {:?} here", there.kind, source.kind)));
    }
    if source.kind == TableKind::View {
        return Ok(());
    }
    let names = |shape: &Shape| {
        let mut names: Vec<_> = shape.stored().map(|n| shape.columns[n].name.to_ascii_lowercase()).collect();
        names.sort();
        names
    };
    let key = |shape: &Shape| -> Vec<Vec<u8>> {
        let parts = shape.key.iter().map(|part| part.column).chain(shape.alias);
        parts.map(|n| shape.columns[n].name.to_ascii_lowercase()).collect()
    };
    if names(source) == names(there) && key(source) == key(there) && source.without_rowid == there.without_rowid {
        return Ok(());
    }
    Err(refused("has other columns there")
        .why(format!("there: {}; in what is put back: {}", columns_shown(there), columns_shown(source)))
        .fix("put it into another database, and move the rows over by hand"))
}

fn columns_shown(shape: &Shape) -> String {
    let one = |n: usize| {
        let column = &shape.columns[n];
        let key = if column.key > 0 { " (key)" } else { "" };
        format!("{}{key}", text::escape(&column.name))
    };
    let columns: Vec<String> = shape.stored().map(one).collect();
    let rowid = if shape.without_rowid { ", without rowid" } else { "" };
    columns.join(", ") + rowid
}

/// AUTOINCREMENT never gives a key again, neither one of here nor one of there.
fn note_sequence(from: &Connection, to: &Connection, shape: &Shape) -> Result<()> {
    let what = || format!("cannot keep what AUTOINCREMENT has noted for {}", shape.shown());
    let run = || -> rusqlite::Result<()> {
        let Some(highest) = sequence(from, shape)? else { return Ok(()) };
        let is_kept = "SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence'";
        let mut is_there = false;
        each_row(to, is_kept, &[], |_| {
            is_there = true;
            Ok(())
        })?;
        if !is_there || sequence(to, shape)?.is_some_and(|there| there >= highest) {
            return Ok(());
        }
        let name = super::value::bound(ValueRef::Text(shape.name.as_bytes()));
        to.execute("DELETE FROM main.sqlite_sequence WHERE name = ?1", [&name])?;
        to.execute("INSERT INTO main.sqlite_sequence(name, seq) VALUES (?1, ?2)", (&name, highest))?;
        Ok(())
    };
    run().map_err(|e| failed(what(), &e))
}
