//! One question, answered row by row.

use std::ops::ControlFlow;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

use super::error::{badly_asked, failed};
use super::guard::ReadOnly;
use super::lexer::{Token, Tokens, why_not_one_expression};
use super::schema::{Shape, TableKind, each_row, existing};
use crate::error::{Error, Kind, Result};
use crate::event::Cancel;
use crate::text;

/// Takes an answer: first the names of its columns, then every row.
pub trait Sink {
    /// Called once, before the first row, even if there is none.
    fn columns(&mut self, names: &[Vec<u8>]) -> Result<()>;

    /// Takes a row, as long as the names; may say that it wants no more.
    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<ControlFlow<()>>;

    /// Called once after the last row, if all went well.
    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Which rows of which table.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// The table or view; ASCII case does not matter.
    pub table: &'a str,
    /// An expression over its columns that must be true; none: all rows. A name in double quotes is always a column.
    pub where_clause: Option<&'a str>,
}

/// Runs one statement that only reads, and gives its rows to the sink. Returns how many there were.
///
/// Anything else is a usage error: several statements, statements that write, attach or change a setting.
pub fn query(conn: &Connection, sql: &str, cancel: &Cancel, sink: &mut dyn Sink) -> Result<u64> {
    const WHAT: &str = "cannot run the query";
    only_reads(sql)?;
    let _held = ReadOnly::begin(conn)?;
    let mut statement = conn.prepare(sql).map_err(|e| match e {
        rusqlite::Error::MultipleStatement => one_only(),
        e => badly_asked(WHAT, &e),
    })?;
    if !statement.readonly() {
        return Err(refused("it writes"));
    }
    if statement.parameter_count() > 0 {
        return Err(refused("it has parameters, which have no values").fix("write the values into the query"));
    }
    sink.columns(&names(conn, &statement)?)?;
    run(&mut statement, WHAT, cancel, sink)
}

/// Gives a table's rows to the sink: all columns that `SELECT *` shows. Returns how many there were.
pub fn rows(conn: &Connection, what: Selection<'_>, cancel: &Cancel, sink: &mut dyn Sink) -> Result<u64> {
    let _held = ReadOnly::begin(conn)?;
    let shape = existing(conn, what.table)?;
    let named: Vec<Vec<u8>> = shape.columns.iter().map(|column| column.name.clone()).collect();
    let order = if shape.kind == TableKind::View { "" } else { shape.rowid.unwrap_or_default() };
    let order = if order.is_empty() { String::new() } else { format!("ORDER BY {order}") };
    let mut statement = selected(conn, &shape, &shape.quoted_columns.join(", "), what.where_clause, &order)?;
    sink.columns(&named)?;
    run(&mut statement, &format!("cannot read the table {}", shape.shown()), cancel, sink)
}

/// A compiled `SELECT these FROM table WHERE (that)`.
///
/// The condition comes from a person. It is cut into tokens first, so that it can neither end the statement nor leave
/// its brackets, and what looks like a column but is none is not quietly taken for text.
pub(super) fn selected<'c>(
    conn: &'c Connection,
    shape: &Shape,
    these: &str,
    condition: Option<&str>,
    more: &str,
) -> Result<Statement<'c>> {
    let what = || format!("cannot read the table {}", shape.shown());
    let Some(condition) = condition else {
        return conn
            .prepare(&format!("SELECT {these} FROM main.{} {more}", shape.quoted))
            .map_err(|e| failed(what(), &e));
    };
    let bad = || format!("bad condition on the table {}", shape.shown());
    if let Some(why) = why_not_one_expression(condition) {
        return Err(Error::new(Kind::Usage, bad()).why(why).fix("give an expression such as: name = 'x' AND id > 7"));
    }
    let sql = format!("SELECT {these} FROM main.{} WHERE ({condition}\n) {more}", shape.quoted);
    let statement = strictly(conn, || conn.prepare(&sql))
        .map_err(|e| badly_asked(bad(), &e).fix("names of columns go in double quotes, text in single quotes"))?;
    if !statement.readonly() || statement.parameter_count() > 0 {
        return Err(Error::new(Kind::Usage, bad()).why("it is not an expression that only reads"));
    }
    Ok(statement)
}

/// Without the old habit that a name in double quotes which is no column is text.
fn strictly<T>(conn: &Connection, call: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    const LAX: DbConfig = DbConfig::SQLITE_DBCONFIG_DQS_DML;
    let before = conn.db_config(LAX)?;
    conn.set_db_config(LAX, false)?;
    let result = call();
    conn.set_db_config(LAX, before)?;
    result
}

fn run(statement: &mut Statement<'_>, what: &str, cancel: &Cancel, sink: &mut dyn Sink) -> Result<u64> {
    let count = statement.column_count();
    let mut rows = statement.raw_query();
    let mut told = 0;
    while let Some(row) = rows.next().map_err(|e| failed(what, &e))? {
        cancel.check()?;
        let values = (0..count).map(|n| row.get_ref(n)).collect::<rusqlite::Result<Vec<_>>>();
        told += 1;
        if sink.row(&values.map_err(|e| failed(what, &e))?)?.is_break() {
            break;
        }
    }
    sink.end()?;
    Ok(told)
}

/// The columns' names. The binding panics on one that is not UTF-8; such names come out of the schema, so when that
/// holds any, all columns are numbered instead.
fn names(conn: &Connection, statement: &Statement<'_>) -> Result<Vec<Vec<u8>>> {
    let mut is_text = true;
    each_row(conn, "SELECT sql FROM main.sqlite_schema", &[], |row| {
        is_text &= !matches!(row.get_ref(0)?, ValueRef::Text(sql) if std::str::from_utf8(sql).is_err());
        Ok(())
    })
    .map_err(|e| failed("cannot read the schema", &e))?;
    if !is_text {
        return Ok((1..=statement.column_count()).map(|n| format!("column {n}").into_bytes()).collect());
    }
    Ok(statement.column_names().map(|name| name.as_bytes().to_vec()).collect())
}

fn refused(why: &str) -> Error {
    Error::new(Kind::Usage, "the query is refused").why(why)
}

fn one_only() -> Error {
    refused("it is more than one statement").fix("ask one question at a time")
}

/// Those that only tell something, whatever they are given.
const TELLING: [&str; 15] = [
    "collation_list",
    "compile_options",
    "database_list",
    "foreign_key_check",
    "foreign_key_list",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "module_list",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Those that tell something as long as they are given nothing.
const TELLING_ALONE: [&str; 8] = [
    "application_id",
    "auto_vacuum",
    "encoding",
    "freelist_count",
    "page_count",
    "page_size",
    "schema_version",
    "user_version",
];

/// Refuses what is not known to have no effect: the engine calls ATTACH and some settings read-only, too.
fn only_reads(sql: &str) -> Result<()> {
    if Tokens::new(sql).any(|token| token == Token::Broken) {
        return Err(refused("a quote or a comment in it does not end, or it holds a NUL"));
    }
    let mut tokens = Tokens::new(sql).filter(|token| *token != Token::Sign(b';'));
    let Some(first) = tokens.next() else { return Err(refused("it is empty")) };
    if ["select", "with", "values", "explain"].iter().any(|word| first.is_word(word)) {
        return Ok(());
    }
    if !first.is_word("pragma") {
        return Err(refused("only SELECT, WITH, VALUES, EXPLAIN and PRAGMAs that tell something are run"));
    }
    let mut rest: Vec<Token<'_>> = tokens.collect();
    if matches!(rest.get(..2), Some([_, Token::Sign(b'.')])) {
        rest.drain(..2);
    }
    let name = rest.first().and_then(Token::name).unwrap_or_default().to_ascii_lowercase();
    let is_known = TELLING.contains(&name.as_str()) || (TELLING_ALONE.contains(&name.as_str()) && rest.len() == 1);
    if is_known {
        Ok(())
    } else {
        Err(refused(&format!("PRAGMA {} may change something", text::escape(name.as_bytes()))))
    }
}
