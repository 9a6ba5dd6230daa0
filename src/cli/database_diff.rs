//! What differs inside a database, for people and for programs.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use super::answer::People;
use super::context::Context;
use super::{json, render};
use crate::error::Result;
use crate::ops::database_diff::{Compared, Sides};
use crate::ops::drill::Stop;
use crate::sql::{Change, Diff, JsonRows, RowChange, RowCounts, SchemaChange, Sink, TableDiff, ValueRef};
use crate::text;

/// The lines that stand below that of the file.
pub fn lines(compared: &Compared) -> Vec<String> {
    match compared {
        Compared::NoDatabase => Vec::new(),
        Compared::Unreadable(why) => vec![format!("no tables: {why}")],
        Compared::Lost(error) => vec![format!("no tables: {error}")],
        Compared::Tables(diff) => {
            let lines = all_lines(diff);
            if lines.is_empty() { vec!["no row differs, and nothing of its schema".into()] } else { lines }
        }
    }
}

/// Tables come first, each with what happened to itself.
fn all_lines(diff: &Diff) -> Vec<String> {
    let key = |name: &[u8]| name.to_ascii_lowercase();
    let is_table = |change: &&SchemaChange| change.kind == b"table";
    let changes: HashMap<_, _> =
        diff.schema.iter().rev().filter(is_table).map(|change| (key(&change.name), change.change)).collect();
    let compared: HashSet<_> = diff.tables.iter().map(|table| key(&table.name)).collect();
    let tables = diff.tables.iter().filter_map(|table| table_line(changes.get(&key(&table.name)).copied(), table));
    let is_told = |change: &SchemaChange| is_table(&change) && compared.contains(&key(&change.name));
    tables.chain(diff.schema.iter().filter(|change| !is_told(change)).map(schema_line)).collect()
}

/// Such as "M people: 3 rows added, 1 changed, other columns or constraints".
fn table_line(schema: Option<Change>, table: &TableDiff) -> Option<String> {
    let name = text::escape(&table.name);
    let counts = match &table.rows {
        Err(why) => return Some(format!("{} table {name}: cannot be compared: {why}", schema.map_or('?', letter))),
        Ok(counts) => counts,
    };
    Some(match schema {
        Some(Change::Added) => format!("+ table {name}: {}", render::counted(counts.added, "row")),
        Some(Change::Removed) => format!("- table {name}: {}", render::counted(counts.removed, "row")),
        Some(Change::Changed) => format!("M table {name}: {}", with(row_counts(counts), "its definition changed")),
        None => format!("M table {name}: {}", row_counts(counts)?),
    })
}

fn with(rows: Option<String>, more: &str) -> String {
    rows.map_or(more.to_owned(), |rows| format!("{rows}; {more}"))
}

/// Nothing if no row differs.
fn row_counts(counts: &RowCounts) -> Option<String> {
    let all = [(counts.added, "added"), (counts.removed, "removed"), (counts.changed, "changed")];
    let mut all = all.into_iter().filter(|(n, _)| *n > 0);
    let (first, word) = all.next()?;
    let rest = all.map(|(n, word)| format!(", {} {word}", render::grouped(n)));
    Some(format!("{} {word}{}", render::counted(first, "row"), rest.collect::<String>()))
}

fn letter(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Changed => 'M',
    }
}

fn schema_line(change: &SchemaChange) -> String {
    let (kind, name) = (text::escape(&change.kind), text::escape(&change.name));
    let on = match change.kind.as_slice() {
        b"index" | b"trigger" => format!(" on {}", text::escape(&change.table)),
        _ => String::new(),
    };
    format!("{} {kind} {name}{on}", letter(change.change))
}

/// The same for programs.
pub fn shape(compared: &Compared) -> Option<json::DatabaseChange<'_>> {
    let unknown = |why: String| json::DatabaseChange { why: Some(why), ..json::DatabaseChange::default() };
    Some(match compared {
        Compared::NoDatabase => return None,
        Compared::Unreadable(why) => unknown(why.clone()),
        Compared::Lost(error) => unknown(error.to_string()),
        Compared::Tables(diff) => json::DatabaseChange {
            schema: diff.schema.iter().map(schema_shape).collect(),
            tables: diff.tables.iter().filter(|table| differs(table)).map(table_shape).collect(),
            why: None,
        },
    })
}

fn differs(table: &TableDiff) -> bool {
    table.rows.as_ref().map_or(true, |counts| row_counts(counts).is_some())
}

fn schema_shape(change: &SchemaChange) -> json::SchemaChange<'_> {
    json::SchemaChange {
        change: word(change.change),
        kind: text::escape(&change.kind),
        name: change.name.as_slice().into(),
        table: change.table.as_slice().into(),
    }
}

fn table_shape(table: &TableDiff) -> json::TableChange<'_> {
    json::TableChange {
        name: table.name.as_slice().into(),
        rows: table.rows.as_ref().ok().map(totals),
        why: table.rows.as_ref().err().map(String::as_str),
    }
}

fn totals(counts: &RowCounts) -> json::RowTotals {
    let RowCounts { added, removed, changed, same } = *counts;
    json::RowTotals { added, removed, changed, same }
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Changed => "changed",
    }
}

/// Prints the rows of a table that differ. The columns of the head are still to come.
pub fn rows(sides: &Sides<'_>, table: &str, head: json::RowDiffHead<'_>, context: &Context<'_>) -> Result<()> {
    let stop = || -> Stop { Box::new(context.stop()) };
    let mut printed: Box<dyn Rows + '_> = match context.global.json {
        true => Box::new(Document { context, head, rows: JsonRows::default(), list: None }),
        false => Box::new(Marked { context, people: People::new(context.output), has_begun: false }),
    };
    let counts = sides.rows(table, &stop, context.cancel(), &mut |change| {
        printed.row(change)?;
        Ok(if context.output.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    printed.end(&counts)
}

/// Where rows that differ go.
trait Rows {
    fn row(&mut self, change: &RowChange<'_>) -> Result<()>;
    fn end(self: Box<Self>, counts: &RowCounts) -> Result<()>;
}

/// Each row with a mark: `+` new, `-` gone, `<` before a change and `>` after it.
struct Marked<'a> {
    context: &'a Context<'a>,
    people: People<'a>,
    has_begun: bool,
}

impl Marked<'_> {
    fn put(&mut self, mark: &str, values: Option<&[ValueRef<'_>]>) -> Result<()> {
        let Some(values) = values else { return Ok(()) };
        let mut all = vec![ValueRef::Text(mark.as_bytes())];
        all.extend_from_slice(values);
        self.people.row(&all).map(drop)
    }
}

impl Rows for Marked<'_> {
    fn row(&mut self, change: &RowChange<'_>) -> Result<()> {
        if !self.has_begun {
            self.has_begun = true;
            self.people.columns(&[&[Vec::new()][..], change.columns].concat())?;
        }
        let (before, after) = match change.change {
            Change::Changed => ("<", ">"),
            Change::Added | Change::Removed => ("-", "+"),
        };
        self.put(before, change.before)?;
        self.put(after, change.after)
    }

    fn end(mut self: Box<Self>, counts: &RowCounts) -> Result<()> {
        if self.has_begun {
            self.people.end()?;
        }
        let RowCounts { added, removed, changed, same } = counts;
        let counts = [(added, "added"), (removed, "removed"), (changed, "changed"), (same, "the same")];
        let counts = counts.map(|(n, word)| format!("{} {word}", render::grouped(*n))).join(", ");
        self.context.output.line(&counts)?;
        self.context.output.finish()
    }
}

/// One document.
struct Document<'a> {
    context: &'a Context<'a>,
    head: json::RowDiffHead<'a>,
    rows: JsonRows,
    list: Option<json::List<'a>>,
}

impl Rows for Document<'_> {
    fn row(&mut self, change: &RowChange<'_>) -> Result<()> {
        if self.list.is_none() {
            (self.rows, self.head.columns) = JsonRows::new(change.columns);
            self.list = Some(json::List::new(self.context.output, &self.head, "rows")?);
        }
        let side =
            |values: Option<&[ValueRef<'_>]>| values.map_or("null".to_owned(), |values| self.rows.object(values));
        let (before, after) = (side(change.before), side(change.after));
        let item = format!(r#"{{"change":"{}","before":{before},"after":{after}}}"#, word(change.change));
        self.list.as_mut().map_or(Ok(()), |list| list.encoded(&item))
    }

    fn end(self: Box<Self>, counts: &RowCounts) -> Result<()> {
        let list = match self.list {
            Some(list) => list,
            None => json::List::new(self.context.output, &self.head, "rows")?,
        };
        list.end_with("totals", &totals(counts))
    }
}
