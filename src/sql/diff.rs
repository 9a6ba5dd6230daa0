//! What differs between two databases.
//!
//! Rows of a table that is on both sides are read in the order of their keys, side by side: memory holds one row of
//! each. A row is the same row if its primary key is, by type and bytes whatever its collation says, else if its rowid
//! is; in a table without either, rows are counted. VACUUM may give other rowids to rows of a table without a key, and
//! then says so here. Columns that only one side has are told as a change of the schema, and not compared.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Rows, Statement};

use super::error::failed;
use super::query::selected;
use super::schema::{Catalog, Object, Shape, TableKind, bytes, each_row, no_table, objects};
use super::script::by_rows;
use super::value::{Encoding, Owned, compare, is_same, type_order};
use crate::error::{Error, Kind, Result};
use crate::event::Cancel;

/// What happened between the first and the second database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Both have it, and it differs.
    Changed,
}

/// A table, index, trigger or view that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaChange {
    /// What happened to it.
    pub change: Change,
    /// "table", "index", "trigger" or "view".
    pub kind: Vec<u8>,
    /// Its name.
    pub name: Vec<u8>,
    /// The table that it belongs to.
    pub table: Vec<u8>,
}

/// How many rows differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Only in the second.
    pub added: u64,
    /// Only in the first.
    pub removed: u64,
    /// In both, with other values.
    pub changed: u64,
    /// In both, exactly the same.
    pub same: u64,
}

/// A table's rows compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDiff {
    /// Its name.
    pub name: Vec<u8>,
    /// How many rows differ, or why they could not be compared, escaped.
    pub rows: std::result::Result<RowCounts, String>,
}

/// What differs between two databases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// In the order of kinds and names.
    pub schema: Vec<SchemaChange>,
    /// Every table that has rows of its own on either side, in the order of names.
    pub tables: Vec<TableDiff>,
}

/// A row that differs.
#[derive(Clone, Copy, Debug)]
pub struct RowChange<'r> {
    /// What happened to it.
    pub change: Change,
    /// The columns' names: "rowid" first if that is what tells rows apart besides the columns.
    pub columns: &'r [Vec<u8>],
    /// The values in the first database; none if it is not there.
    pub before: Option<&'r [ValueRef<'r>]>,
    /// The values in the second database; none if it is not there.
    pub after: Option<&'r [ValueRef<'r>]>,
}

/// Takes one row that differs; may say that it wants no more.
pub type EachRow<'a> = dyn FnMut(&RowChange<'_>) -> Result<ControlFlow<()>> + 'a;

/// Compares two databases. A table that cannot be compared says why, and the others are.
pub fn diff(a: &Connection, b: &Connection, cancel: &Cancel) -> Result<Diff> {
    let (a, b) = (Catalog::read(a)?, Catalog::read(b)?);
    let mut names: Vec<&Vec<u8>> = rowful(&b).collect();
    let known: HashSet<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    names.extend(rowful(&a).filter(|name| !known.contains(&name.to_ascii_lowercase())));
    names.sort();
    let mut out = Diff { schema: schema_changes(&a, &b)?, tables: Vec::new() };
    for name in names {
        let rows = match std::str::from_utf8(name) {
            Ok(name) => match rows_of(&a, &b, name, cancel, &mut |_| Ok(ControlFlow::Continue(()))) {
                Err(e) if e.kind() == Kind::Interrupted => return Err(e),
                result => result.map_err(|e| if e.reason().is_empty() { e.what().into() } else { e.reason().into() }),
            },
            Err(_) => Err("its name is not UTF-8".to_owned()),
        };
        out.tables.push(TableDiff { name: name.clone(), rows });
    }
    Ok(out)
}

/// Tells every row of a table that differs, in the order of the keys. A table that only one side has is all new or all
/// gone. Returns how many rows there were of each kind, up to where the caller had enough.
pub fn diff_rows(
    a: &Connection,
    b: &Connection,
    table: &str,
    cancel: &Cancel,
    each: &mut EachRow<'_>,
) -> Result<RowCounts> {
    rows_of(&Catalog::read(a)?, &Catalog::read(b)?, table, cancel, each)
}

fn rows_of(
    a: &Catalog<'_>,
    b: &Catalog<'_>,
    table: &str,
    cancel: &Cancel,
    each: &mut EachRow<'_>,
) -> Result<RowCounts> {
    let (shape_a, shape_b) = (a.find(table)?, b.find(table)?);
    let (a, b) = (a.conn, b.conn);
    let plan = match (&shape_a, &shape_b) {
        (Some(x), Some(y)) => Plan::new(x, y, (encoding(a)?, encoding(b)?))?,
        (Some(x), None) => Plan::new(x, x, (encoding(a)?, encoding(a)?))?,
        (None, Some(y)) => Plan::new(y, y, (encoding(b)?, encoding(b)?))?,
        (None, None) => return Err(no_table(table)),
    };
    let side = |conn, shape: &Option<Shape>| shape.as_ref().map(|shape| plan.select(conn, shape)).transpose();
    let (mut left, mut right) = (side(a, &shape_a)?, side(b, &shape_b)?);
    plan.merge(left.as_mut(), right.as_mut(), cancel, each)
}

/// Tables that have rows of their own.
fn rowful<'n>(side: &'n Catalog<'_>) -> impl Iterator<Item = &'n Vec<u8>> {
    let has_rows = |kind: &TableKind| matches!(kind, TableKind::Table | TableKind::Virtual { .. });
    side.tables.iter().filter(move |table| has_rows(&table.kind)).map(|table| &table.name)
}

fn schema_changes(a: &Catalog<'_>, b: &Catalog<'_>) -> Result<Vec<SchemaChange>> {
    let (left, right) = (told_objects(a)?, told_objects(b)?);
    let (in_left, in_right) = (by_name(&left), by_name(&right));
    let told = |object: &Object, change| SchemaChange {
        change,
        kind: object.kind.clone(),
        name: object.name.clone(),
        table: object.table.clone(),
    };
    let mut changes = Vec::new();
    for x in &left {
        match in_right.get(&known_as(x)) {
            None => changes.push(told(x, Change::Removed)),
            Some(y) if x.sql != y.sql => changes.push(told(y, Change::Changed)),
            Some(_) => {}
        }
    }
    let is_new = |y: &&Object| !in_left.contains_key(&known_as(y));
    changes.extend(right.iter().filter(is_new).map(|y| told(y, Change::Added)));
    changes.sort_by(|x, y| (&x.kind, &x.name).cmp(&(&y.kind, &y.name)));
    Ok(changes)
}

/// What makes objects of both sides the same one.
fn known_as(object: &Object) -> (&[u8], Vec<u8>) {
    (&object.kind, object.name.to_ascii_lowercase())
}

/// Of several that are the same one, which only a broken schema has, the first.
fn by_name(objects: &[Object]) -> HashMap<(&[u8], Vec<u8>), &Object> {
    objects.iter().rev().map(|object| (known_as(object), object)).collect()
}

/// What a schema holds besides the engine's own and what is behind virtual tables.
fn told_objects(side: &Catalog<'_>) -> Result<Vec<Object>> {
    let is_shadow = |kind: &TableKind| matches!(kind, TableKind::Shadow { .. });
    let hidden: HashSet<_> = side.tables.iter().filter(|table| is_shadow(&table.kind)).map(|t| &t.name).collect();
    let all = objects(side.conn, None).map_err(|e| failed("cannot read the schema", &e))?;
    let is_own = |object: &Object| object.name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"sqlite_"));
    Ok(all.into_iter().filter(|object| !is_own(object) && !hidden.contains(&object.table)).collect())
}

fn encoding(conn: &Connection) -> Result<Encoding> {
    let mut name = Vec::new();
    each_row(conn, "PRAGMA encoding", &[], |row| {
        name = bytes(row, 0)?;
        Ok(())
    })
    .map_err(|e| failed("cannot read the encoding", &e))?;
    Ok(match name.as_slice() {
        b"UTF-16le" => Encoding::Utf16Le,
        b"UTF-16be" => Encoding::Utf16Be,
        _ => Encoding::Utf8,
    })
}

/// By what rows are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// A value that no two rows share.
    Key,
    /// The whole row: any number of them may be alike.
    All,
}

/// How both sides are read. Values are counted as they are read: the rowid first if it is.
struct Plan {
    shown: String,
    columns: Vec<Vec<u8>>,
    has_rowid: bool,
    by: By,
    /// Which values are the key.
    key: Vec<usize>,
    encoding: Encoding,
}

impl Plan {
    fn new(a: &Shape, b: &Shape, encodings: (Encoding, Encoding)) -> Result<Self> {
        let refused = |why: &str| {
            let what = format!("cannot compare the rows of {}", b.shown());
            Error::new(Kind::Failed, what).why(why)
        };
        for shape in [a, b] {
            by_rows(shape)?;
            if shape.kind == TableKind::View {
                return Err(refused("a view has no rows of its own").with_kind(Kind::Usage));
            }
        }
        if encodings.0 != encodings.1 {
            return Err(refused("text is kept in another encoding on the other side, and so in another order"));
        }
        let in_a = |name: &[u8]| a.stored().any(|n| a.columns[n].name.eq_ignore_ascii_case(name));
        let common = b.stored().map(|n| b.columns[n].name.clone()).filter(|name| in_a(name));
        let has_rowid = a.has_bare_rowid() && b.has_bare_rowid();
        let columns: Vec<Vec<u8>> = has_rowid.then(|| b"rowid".to_vec()).into_iter().chain(common).collect();
        let (by, key) = match (key_names(a), key_names(b)) {
            (x, y) if x != y => return Err(refused("its key is another one on the other side")),
            (_, names) if !names.is_empty() => (By::Key, places(&columns, &names, has_rowid)),
            _ if has_rowid => (By::Key, vec![0]),
            _ => (By::All, (0..columns.len()).collect()),
        };
        if columns.is_empty() {
            return Err(refused("both sides have no column in common"));
        }
        Ok(Self { shown: b.shown(), columns, has_rowid, by, key, encoding: encodings.0 })
    }

    fn select<'c>(&self, conn: &'c Connection, shape: &Shape) -> Result<Statement<'c>> {
        let name = |n: usize| -> String {
            if self.has_rowid && n == 0 {
                return shape.rowid.unwrap_or("rowid").to_owned();
            }
            let column = shape.columns.iter().position(|c| c.name.eq_ignore_ascii_case(&self.columns[n]));
            column.map(|n| shape.quoted_columns[n].clone()).unwrap_or_default()
        };
        let names: Vec<String> = (0..self.columns.len()).map(name).collect();
        let term = |n: &usize| match self.by {
            By::Key if self.has_rowid && *n == 0 => names[*n].clone(),
            By::Key => format!("{} COLLATE BINARY", names[*n]),
            By::All => format!("{0} COLLATE BINARY, typeof({0})", names[*n]),
        };
        let mut order: Vec<String> = self.key.iter().map(term).collect();
        if self.has_rowid && self.key != [0] {
            order.push(names[0].clone());
        }
        selected(conn, shape, &names.join(", "), None, &format!("ORDER BY {}", order.join(", ")))
    }

    fn order(&self, a: &[ValueRef<'_>], b: &[ValueRef<'_>]) -> Ordering {
        let one = |n: &usize| {
            let order = compare(a[*n], b[*n], self.encoding);
            if self.by == By::All { order.then_with(|| type_order(a[*n], b[*n])) } else { order }
        };
        let order = self.key.iter().map(one).find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
        // A key with a NULL in it is none: any number of rows may have it.
        let is_null = self.key.iter().any(|n| a[*n] == ValueRef::Null);
        if is_null && self.has_rowid { order.then_with(|| compare(a[0], b[0], self.encoding)) } else { order }
    }

    fn is_same(&self, a: &[ValueRef<'_>], b: &[ValueRef<'_>]) -> bool {
        // A rowid that is not the key may change without anything else.
        let from = usize::from(self.has_rowid && self.key != [0]);
        a[from..].iter().zip(&b[from..]).all(|(a, b)| is_same(*a, *b))
    }

    fn merge<'s>(
        &self,
        left: Option<&'s mut Statement<'_>>,
        right: Option<&'s mut Statement<'_>>,
        cancel: &Cancel,
        each: &mut EachRow<'_>,
    ) -> Result<RowCounts> {
        let unread = |e: rusqlite::Error| failed(format!("cannot read the table {}", self.shown), &e);
        let side = |statement: Option<&'s mut Statement<'_>>| Side {
            rows: statement.map(Statement::raw_query),
            last: Vec::new(),
        };
        let (mut left, mut right) = (side(left), side(right));
        let mut counts = RowCounts::default();
        left.step(self)?;
        right.step(self)?;
        loop {
            cancel.check()?;
            let before = left.current(self).map_err(unread)?;
            let after = right.current(self).map_err(unread)?;
            let order = match (&before, &after) {
                (None, None) => return Ok(counts),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => self.order(a, b),
            };
            let is_same = matches!((&before, &after), (Some(a), Some(b)) if order.is_eq() && self.is_same(a, b));
            if is_same {
                counts.same += 1;
            } else {
                let change = match order {
                    Ordering::Less => Change::Removed,
                    Ordering::Greater => Change::Added,
                    Ordering::Equal => Change::Changed,
                };
                *counts.of(change) += 1;
                let (before, after) = (before.as_deref(), after.as_deref());
                let (before, after) = (before.filter(|_| order.is_le()), after.filter(|_| order.is_ge()));
                if each(&RowChange { change, columns: &self.columns, before, after })?.is_break() {
                    return Ok(counts);
                }
            }
            if order.is_le() {
                left.step(self)?;
            }
            if order.is_ge() {
                right.step(self)?;
            }
        }
    }
}

impl RowCounts {
    fn of(&mut self, change: Change) -> &mut u64 {
        match change {
            Change::Added => &mut self.added,
            Change::Removed => &mut self.removed,
            Change::Changed => &mut self.changed,
        }
    }
}

/// The names of the primary key's columns, whether it is the rowid or not, in lower case.
fn key_names(shape: &Shape) -> Vec<Vec<u8>> {
    let parts = shape.key.iter().map(|part| part.column).chain(shape.alias);
    parts.map(|n| shape.columns[n].name.to_ascii_lowercase()).collect()
}

/// Where the named columns are; behind the rowid, if that is the first.
fn places(columns: &[Vec<u8>], names: &[Vec<u8>], has_rowid: bool) -> Vec<usize> {
    let from = usize::from(has_rowid);
    let place = |name: &Vec<u8>| columns[from..].iter().position(|column| column.eq_ignore_ascii_case(name));
    names.iter().filter_map(place).map(|at| at + from).collect()
}

/// The rows of one side.
struct Side<'s> {
    rows: Option<Rows<'s>>,
    /// The row before, as far as it counts for the order.
    last: Vec<Owned>,
}

impl<'s> Side<'s> {
    /// Goes on to the next row, which must not come before the last: with a damaged index it might, and what is there
    /// would be told as gone and new.
    fn step(&mut self, plan: &Plan) -> Result<()> {
        let what = || format!("cannot read the table {}", plan.shown);
        let counts = |n: usize| plan.key.contains(&n) || (plan.has_rowid && n == 0);
        let kept = |(n, value): (usize, &ValueRef<'_>)| if counts(n) { Owned::of(*value) } else { Owned::Null };
        if let Some(row) = self.current(plan).map_err(|e| failed(what(), &e))? {
            self.last = row.iter().enumerate().map(kept).collect();
        }
        self.rows.as_mut().map_or(Ok(()), FallibleStreamingIterator::advance).map_err(|e| failed(what(), &e))?;
        let Some(row) = self.current(plan).map_err(|e| failed(what(), &e))? else { return Ok(()) };
        let last: Vec<ValueRef<'_>> = self.last.iter().map(Owned::get).collect();
        if !last.is_empty() && plan.order(&last, &row).is_gt() {
            return Err(Error::new(Kind::Damage, what()).why("its rows do not come in the order of their keys"));
        }
        Ok(())
    }

    fn current(&self, plan: &Plan) -> rusqlite::Result<Option<Vec<ValueRef<'_>>>> {
        let row: Option<&Row<'s>> = self.rows.as_ref().and_then(FallibleStreamingIterator::get);
        row.map(|row| (0..plan.columns.len()).map(|n| row.get_ref(n)).collect()).transpose()
    }
}
