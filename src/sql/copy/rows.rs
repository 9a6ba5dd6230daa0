//! Rows put in one by one, each by the rule for those that are there.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement, ffi};

use super::super::error::{constraint, failed};
use super::super::query::selected;
use super::super::schema::Shape;
use super::super::value::{bound, is_same, shown};
use super::{Copied, Copy, OnConflict};
use crate::error::{Error, Kind, Result};
use crate::event::Cancel;
use crate::text;

/// One side of a copy.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub conn: &'a Connection,
    pub shape: &'a Shape,
}

/// Puts the chosen rows of one table into another of the same columns; a new one is known to be empty.
pub(super) fn put(
    source: Side<'_>,
    there: Side<'_>,
    what: &Copy<'_>,
    is_new: bool,
    cancel: &Cancel,
    copied: &mut Copied,
) -> Result<()> {
    let plan = Plan::new(source.shape, there.shape);
    let mut writer = Writer::new(source, there, &plan, what.on_conflict, is_new)?;
    let unread = |e: rusqlite::Error| failed(format!("cannot read the table {}", source.shape.shown()), &e);
    let mut statement = selected(source.conn, source.shape, &plan.read.join(", "), what.where_clause, "")?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().map_err(unread)? {
        cancel.check()?;
        let values = (0..plan.read.len()).map(|n| row.get_ref(n)).collect::<rusqlite::Result<Vec<_>>>();
        writer.row(&values.map_err(unread)?, copied)?;
    }
    Ok(())
}

/// Puts all rows into a table that has just been made.
pub(super) fn put_all(source: Side<'_>, made: Side<'_>, cancel: &Cancel) -> Result<()> {
    let table = &source.shape.name;
    let what = Copy { table, where_clause: None, on_conflict: OnConflict::Fail, into_new: true };
    put(source, made, &what, true, cancel, &mut Copied::default())
}

/// What is read, what is written, and by what a row is known. Values are counted as they are read: the rowid first if
/// it is carried apart from the columns.
struct Plan {
    quoted: String,
    shown: String,
    read: Vec<String>,
    written: Vec<String>,
    has_rowid: bool,
    /// Values by which a row is known, with the collation by which they are the same; none for rowids.
    key: Vec<(usize, Option<String>)>,
    /// Values that a row which is found takes over.
    changed: Vec<usize>,
    /// Whether what was put in can be asked back. A virtual table only says what it was given.
    is_returned: bool,
}

impl Plan {
    fn new(source: &Shape, there: &Shape) -> Self {
        let has_rowid = source.has_bare_rowid() && there.has_bare_rowid();
        let stored: Vec<usize> = source.stored().collect();
        let with_rowid = |word: Option<&'static str>| {
            let rowid = word.filter(|_| has_rowid).map(str::to_owned);
            rowid.into_iter().chain(stored.iter().map(|n| source.quoted_columns[*n].clone())).collect::<Vec<_>>()
        };
        let (read, written) = (with_rowid(source.rowid), with_rowid(there.rowid));
        let place = |column: usize| {
            let name = &there.columns[column].name;
            let at = stored.iter().position(|n| source.columns[*n].name.eq_ignore_ascii_case(name));
            at.map(|at| at + usize::from(has_rowid))
        };
        let alias = there.alias.and_then(place);
        let key = match alias {
            Some(at) => vec![(at, None)],
            None if there.key.is_empty() && has_rowid => vec![(0, None)],
            None => {
                let part =
                    |part: &super::super::schema::KeyPart| Some((place(part.column)?, Some(part.collation.clone())));
                there.key.iter().filter_map(part).collect()
            }
        };
        // A row keeps the rowid that it has.
        let changed = (usize::from(has_rowid)..read.len()).filter(|at| alias != Some(*at)).collect();
        let (quoted, shown, is_returned) = (there.quoted.clone(), there.shown(), !there.is_virtual());
        Self { quoted, shown, read, written, has_rowid, key, changed, is_returned }
    }

    fn is_key_rowid(&self) -> bool {
        matches!(self.key.as_slice(), [(_, None)])
    }

    /// The condition on the key and, if asked, the rowid besides; parameters are numbered from 1.
    fn condition(&self, with_rowid: bool) -> String {
        let test = |(n, (at, collation)): (usize, &(usize, Option<String>))| match collation {
            Some(collation) => format!("{} COLLATE {collation} IS ?{}", self.written[*at], n + 1),
            None => format!("{} = ?{}", self.written[*at], n + 1),
        };
        let mut tests: Vec<String> = self.key.iter().enumerate().map(test).collect();
        if with_rowid {
            tests.push(format!("{} = ?{}", self.written[0], tests.len() + 1));
        }
        tests.join(" AND ")
    }

    fn insert(&self) -> String {
        let names = self.written.join(", ");
        let marks = vec!["?"; self.written.len()].join(", ");
        let returning = if self.is_returned { format!(" RETURNING {names}") } else { String::new() };
        format!("INSERT OR ABORT INTO main.{}({names}) VALUES ({marks}){returning}", self.quoted)
    }

    fn way<'c>(&self, conn: &'c Connection, with_rowid: bool, rule: OnConflict) -> rusqlite::Result<Way<'c>> {
        let key: Vec<usize> = self.key.iter().map(|(at, _)| *at).chain(with_rowid.then_some(0)).collect();
        let condition = self.condition(with_rowid);
        let find = conn.prepare(&format!("SELECT 1 FROM main.{} WHERE {condition}", self.quoted))?;
        let names: Vec<&str> = self.changed.iter().map(|at| self.written[*at].as_str()).collect();
        let update = if rule == OnConflict::Replace && !names.is_empty() {
            let set = |(n, name): (usize, &&str)| format!("{name} = ?{}", key.len() + n + 1);
            let set: Vec<String> = names.iter().enumerate().map(set).collect();
            let returning = if self.is_returned { format!(" RETURNING {}", names.join(", ")) } else { String::new() };
            let set = set.join(", ");
            Some(conn.prepare(&format!("UPDATE OR ABORT main.{} SET {set} WHERE {condition}{returning}", self.quoted))?)
        } else {
            None
        };
        Ok(Way { key, find, update })
    }
}

/// How a row that is there is found and changed.
struct Way<'c> {
    key: Vec<usize>,
    find: Statement<'c>,
    update: Option<Statement<'c>>,
}

/// The statements for one table, compiled once.
struct Writer<'c, 'p> {
    plan: &'p Plan,
    rule: OnConflict,
    by_key: Option<Way<'c>>,
    /// For keys with a NULL in them, which any number of rows may have: the rowid must be the same, too.
    by_key_and_rowid: Option<Way<'c>>,
    insert: Statement<'c>,
    /// The next rowid for a row whose own is taken by another; none before it is needed.
    next_free: Option<i64>,
    source: Side<'p>,
    there: Side<'c>,
}

impl<'c, 'p> Writer<'c, 'p> {
    fn new(source: Side<'p>, there: Side<'c>, plan: &'p Plan, rule: OnConflict, is_new: bool) -> Result<Self> {
        let conn = there.conn;
        let is_sought = !is_new && !plan.key.is_empty();
        let may_move = plan.has_rowid && !plan.is_key_rowid();
        let compiled = || -> rusqlite::Result<Self> {
            Ok(Self {
                plan,
                rule,
                by_key: is_sought.then(|| plan.way(conn, false, rule)).transpose()?,
                by_key_and_rowid: (is_sought && may_move).then(|| plan.way(conn, true, rule)).transpose()?,
                insert: conn.prepare(&plan.insert())?,
                next_free: None,
                source,
                there,
            })
        };
        compiled().map_err(|e| failed(format!("cannot write the table {}", plan.shown), &e))
    }

    fn row(&mut self, values: &[ValueRef<'_>], copied: &mut Copied) -> Result<()> {
        let is_null = self.plan.key.iter().any(|(at, _)| values[*at] == ValueRef::Null);
        let way = if is_null { self.by_key_and_rowid.as_mut() } else { self.by_key.as_mut() };
        if let Some(way) = way {
            let key: Vec<ValueRef<'_>> = way.key.iter().map(|at| values[*at]).collect();
            let unread = |e: rusqlite::Error| failed(format!("cannot read the table {}", self.plan.shown), &e);
            bind(&mut way.find, &key).map_err(unread)?;
            if way.find.raw_query().next().map_err(unread)?.is_some() {
                return found(self.plan, self.rule, way, values, copied);
            }
        }
        let count = values.len();
        let mut result = execute(&mut self.insert, values, count);
        let is_rowid_taken = |e: &rusqlite::Error| constraint(e) == Some(ffi::SQLITE_CONSTRAINT_ROWID);
        if self.plan.has_rowid && !self.plan.is_key_rowid() && result.as_ref().is_err_and(is_rowid_taken) {
            let free = ValueRef::Integer(self.free_rowid()?);
            let moved: Vec<ValueRef<'_>> = std::iter::once(free).chain(values[1..].iter().copied()).collect();
            result = execute(&mut self.insert, &moved, count);
            copied.rowids_changed += u64::from(result.is_ok());
        }
        match result {
            Ok(None) => {
                copied.rows += 1;
                Ok(())
            }
            Ok(Some(at)) => Err(self.plan.altered(values, &self.plan.written[at])),
            Err(e) if self.rule == OnConflict::Skip && is_clash(&e) => {
                copied.skipped += 1;
                Ok(())
            }
            Err(e) => Err(self.plan.cannot(values, &e)),
        }
    }
}

impl Writer<'_, '_> {
    /// A rowid above all of here and there, so that it takes no other row's.
    fn free_rowid(&mut self) -> Result<i64> {
        let what = || format!("cannot find a free rowid in {}", self.plan.shown);
        let next = match self.next_free {
            Some(next) => next,
            None => {
                let highest = |side: Side<'_>, word: &str| -> rusqlite::Result<i64> {
                    let sql = format!("SELECT ifnull(max({word}), 0) FROM main.{}", side.shape.quoted);
                    side.conn.query_row(&sql, [], |row| row.get(0))
                };
                let here = highest(self.source, &self.plan.read[0]).map_err(|e| failed(what(), &e))?;
                let there = highest(self.there, &self.plan.written[0]).map_err(|e| failed(what(), &e))?;
                here.max(there)
                    .checked_add(1)
                    .ok_or_else(|| Error::new(Kind::Failed, what()).why("the highest that there can be is in use"))?
            }
        };
        self.next_free = next.checked_add(1);
        Ok(next)
    }
}

/// A row with this key is there.
fn found(plan: &Plan, rule: OnConflict, way: &mut Way<'_>, values: &[ValueRef<'_>], copied: &mut Copied) -> Result<()> {
    match rule {
        OnConflict::Fail => {
            return Err(Error::new(Kind::Failed, format!("a row of {} is already there", plan.shown))
                .why(format!("its key is {}", plan.key_shown(values)))
                .fix("choose what to do with rows that are there: --on-conflict skip or replace"));
        }
        OnConflict::Skip => copied.skipped += 1,
        OnConflict::Replace => copied.replaced += 1,
    }
    let Some(update) = &mut way.update else { return Ok(()) };
    let all: Vec<ValueRef<'_>> = way.key.iter().chain(&plan.changed).map(|at| values[*at]).collect();
    match execute(update, &all, plan.changed.len()) {
        Ok(None) => Ok(()),
        Ok(Some(at)) => Err(plan.altered(values, &plan.written[plan.changed[at]])),
        Err(e) => Err(plan.cannot(values, &e)),
    }
}

impl Plan {
    fn cannot(&self, values: &[ValueRef<'_>], error: &rusqlite::Error) -> Error {
        let new = failed(format!("cannot put a row into {} (key {})", self.shown, self.key_shown(values)), error);
        if is_clash(error) {
            new.fix("another row has that unique value: remove that one, or leave this out")
        } else {
            new
        }
    }

    fn altered(&self, values: &[ValueRef<'_>], column: &str) -> Error {
        let column = text::escape(column.as_bytes());
        Error::new(Kind::Failed, format!("cannot put a row into {} (key {})", self.shown, self.key_shown(values)))
            .why(format!("the column {column} would keep another value than the one that was saved"))
            .fix("its type is another one than when the row was written: put the table into another database")
    }

    fn key_shown(&self, values: &[ValueRef<'_>]) -> String {
        let key: Vec<String> = self.key.iter().map(|(at, _)| shown(values[*at])).collect();
        if key.is_empty() { "none".to_owned() } else { key.join(", ") }
    }
}

/// Whether another row has the same key, unique value or rowid.
fn is_clash(error: &rusqlite::Error) -> bool {
    let codes = [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_CONSTRAINT_PRIMARYKEY, ffi::SQLITE_CONSTRAINT_ROWID];
    constraint(error).is_some_and(|code| codes.contains(&code))
}

fn bind(statement: &mut Statement<'_>, values: &[ValueRef<'_>]) -> rusqlite::Result<()> {
    values.iter().enumerate().try_for_each(|(n, value)| statement.raw_bind_parameter(n + 1, bound(*value)))
}

/// Runs a statement that gives back what it keeps of its last `kept` parameters, in their order. Tells which is not
/// what was given, if any.
fn execute(statement: &mut Statement<'_>, values: &[ValueRef<'_>], kept: usize) -> rusqlite::Result<Option<usize>> {
    bind(statement, values)?;
    let given = &values[values.len() - kept..];
    let count = statement.column_count().min(kept);
    let mut rows = statement.raw_query();
    let mut different = None;
    while let Some(row) = rows.next()? {
        for (n, value) in given.iter().enumerate().take(count) {
            if !is_same(row.get_ref(n)?, *value) {
                different = Some(n);
            }
        }
    }
    Ok(different)
}
