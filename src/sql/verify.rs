//! Proof that a database is whole, without writing to it.
//!
//! - `integrity_check` reads every page. It also calls the own checks of FTS3, FTS4, FTS5 and R-tree (their `xIntegrity`,
//!   since SQLite 3.44), so no writable copy is needed, as it is for FTS5's `INSERT INTO f(f) VALUES
//!   ('integrity-check')`. Like that one without a rank, it does not compare an index with content kept elsewhere.
//! - References that lead nowhere are told apart from damage: SQLite enforces them only where asked to, so a database
//!   may well have been saved with them.
//! - Every table has as many rows as when it was saved, and none is missing or new.
//! - A person's own checks hold.
//!
//! What cannot be asked for want of something that belongs to an application is told, and is no finding: see
//! [`super::piecemeal`]. Only a person's own check has to be answered.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::error::{badly_asked, failed, message};
use super::lexer::{Token, Tokens, why_not_one_expression};
use super::piecemeal::{Unasked, by_table, is_refusal, lacking, lacks, without_module};
use super::query::{Sink, query};
use super::schema::{TableKind, bytes, each_row, tables};
use super::value::{Owned, bound, shown};
use crate::error::{Kind, Result};
use crate::event::Cancel;
use crate::text;

/// How many rows a table had when it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedTable {
    /// Its name.
    pub name: Vec<u8>,
    /// Its rows; none: they could not be counted then, and need not be now.
    pub rows: Option<u64>,
}

/// What must hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// Every table that has rows of its own, without those behind virtual ones; none: rows are not counted.
    pub tables: Option<&'a [RecordedTable]>,
    /// How many tables there were besides these; where there were any, one that is not named is not new.
    pub tables_more: u64,
    /// Each either a query whose first row must begin with a true value, neither NULL nor 0 nor empty; or `QUERY = VALUE`,
    /// whose answer is one value; or an expression such as `(SELECT count(*) FROM a WHERE b = 1) > 5`. The first form that
    /// is SQL counts, so that in `SELECT a FROM b WHERE c = 1` nothing is cut off.
    pub checks: &'a [&'a str],
}

/// Which proof failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The file's structure, an index, or what a virtual table keeps.
    Integrity,
    /// A reference leads nowhere.
    References,
    /// Rows are missing or new.
    Rows,
    /// A check of the user's own.
    Check,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which proof failed.
    pub proof: Proof,
    /// What was found, escaped.
    pub said: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// What is not as it must be.
    pub findings: Vec<Finding>,
    /// What could not be asked, sorted, each once.
    pub unasked: Vec<Unasked>,
}

/// How many complaints of the engine are told.
const COMPLAINTS_MAX: u32 = 100;

/// Looks at everything and tells what is wrong; nothing, if all is well.
///
/// What cannot be looked at is a finding, but for what an application alone has, and so is an own check that asks for what
/// is not there: a table may be lost. An error is only what is no fault of the database: an own check that is not SQL, or a
/// wish to stop.
pub fn verify(conn: &Connection, expected: Expected<'_>, cancel: &Cancel) -> Result<Verified> {
    let (mut findings, mut unasked) = (Findings(Vec::new()), Vec::new());
    let mut checks = Vec::new();
    for text in expected.checks {
        match Check::parse(conn, text)? {
            Ok(check) => checks.push(check),
            Err(said) => findings.0.push(Finding { proof: Proof::Check, said }),
        }
    }
    cancel.check()?;
    findings.or_failure(Proof::Integrity, integrity(conn, &mut unasked))?;
    cancel.check()?;
    findings.or_failure(Proof::References, references(conn, &mut unasked))?;
    if let Some(recorded) = expected.tables {
        cancel.check()?;
        findings.or_failure(Proof::Rows, counts(conn, recorded, expected.tables_more > 0, &mut unasked))?;
    }
    for check in checks {
        findings.or_failure(Proof::Check, check.run(conn, cancel))?;
    }
    unasked.sort();
    unasked.dedup();
    Ok(Verified { findings: findings.0, unasked })
}

/// Whether these can be checks, of any database: nonsense is an error before anything long begins.
pub fn check_syntax(empty: &Connection, checks: &[&str]) -> Result<()> {
    checks.iter().try_for_each(|text| Check::parse(empty, text).map(drop))
}

struct Findings(Vec<Finding>);

impl Findings {
    fn or_failure(&mut self, proof: Proof, result: Result<Vec<String>>) -> Result<()> {
        let said = match result {
            Ok(said) => said,
            Err(e) if e.kind() == Kind::Interrupted => return Err(e),
            Err(e) => vec![e.to_string()],
        };
        self.0.extend(said.into_iter().map(|said| Finding { proof, said }));
        Ok(())
    }
}

fn integrity(conn: &Connection, unasked: &mut Vec<Unasked>) -> Result<Vec<String>> {
    let mut said = Vec::new();
    let asked = each_row(conn, &format!("PRAGMA integrity_check({COMPLAINTS_MAX})"), &[], |row| {
        let line = bytes(row, 0)?;
        if line != b"ok" {
            said.push(text::one_line(&line));
        }
        Ok(())
    });
    let Err(e) = asked else {
        // A schema that cannot be read has been told.
        unasked.extend(without_module(conn).unwrap_or_default());
        return Ok(said);
    };
    let failure = failed("the integrity check cannot be finished", &e);
    if !is_refusal(&e) {
        return Err(failure);
    }
    let pieces = by_table(conn, false)?;
    // Something else was in the way.
    if pieces.unasked.is_empty() {
        return if pieces.wrong.is_empty() { Err(failure) } else { Ok(pieces.wrong) };
    }
    unasked.extend(pieces.unasked);
    unasked.extend(without_module(conn)?);
    Ok(pieces.wrong)
}

fn references(conn: &Connection, unasked: &mut Vec<Unasked>) -> Result<Vec<String>> {
    let unread = |e: rusqlite::Error| failed("the schema cannot be read", &e);
    let mut names = Vec::new();
    let all = "SELECT name FROM main.sqlite_schema AS s WHERE type = 'table'
        AND EXISTS (SELECT 1 FROM pragma_foreign_key_list(s.name, 'main')) ORDER BY name";
    each_row(conn, all, &[], |row| {
        names.push(bytes(row, 0)?);
        Ok(())
    })
    .map_err(unread)?;
    let mut said = Vec::new();
    for name in names {
        let sql = "SELECT parent, count(*), min(rowid) FROM pragma_foreign_key_check(?1, 'main') GROUP BY parent";
        let checked = each_row(conn, sql, &[ValueRef::Text(&name)], |row| {
            let (parent, count) = (text::escape(&bytes(row, 0)?), row.get::<_, i64>(1)?);
            let first = row.get::<_, Option<i64>>(2)?.map(|n| format!(", the first in row {n}")).unwrap_or_default();
            said.push(format!("{}: {count} references to {parent} lead nowhere{first}", text::escape(&name)));
            Ok(())
        });
        if let Err(e) = checked {
            match (failed("", &e), lacks(conn, &name, &e)) {
                (stop, _) if stop.kind() == Kind::Interrupted => return Err(stop),
                (_, Some(lacks)) => unasked.push(Unasked { lacks, table: name }),
                _ => said.push(format!("{}: references cannot be checked: {}", text::escape(&name), message(&e))),
            }
        }
    }
    Ok(said)
}

fn counts(
    conn: &Connection,
    recorded: &[RecordedTable],
    were_more: bool,
    unasked: &mut Vec<Unasked>,
) -> Result<Vec<String>> {
    let mut said = Vec::new();
    let found = tables(conn, true)?;
    let wanted: HashMap<_, _> = recorded.iter().map(|table| (table.name.as_slice(), table.rows)).collect();
    let has_rows = |kind: &TableKind| matches!(kind, TableKind::Table | TableKind::Virtual { .. });
    for table in found.iter().filter(|table| has_rows(&table.kind)) {
        let name = text::escape(&table.name);
        match (wanted.get(table.name.as_slice()).copied(), table.rows) {
            (None, _) if were_more => {}
            (None, _) => said.push(format!("the table {name} was not there when it was saved")),
            (Some(Some(wanted)), Some(rows)) if wanted != rows => {
                said.push(format!("{name} has {rows} rows, not {wanted}"));
            }
            (Some(None), _) | (Some(_), Some(_)) => {}
            (Some(Some(_)), None) => {
                let why = table.unreadable.clone().unwrap_or_default();
                match lacking(&why) {
                    Some(lacks) => unasked.push(Unasked { lacks, table: table.name.clone() }),
                    None => said.push(format!("the rows of {name} cannot be counted: {why}")),
                }
            }
        }
    }
    let found: HashSet<_> = found.iter().map(|table| table.name.as_slice()).collect();
    for table in recorded.iter().filter(|recorded| !found.contains(recorded.name.as_slice())) {
        said.push(format!("the table {} is missing", text::escape(&table.name)));
    }
    Ok(said)
}

/// A user's own check, compiled once so that nonsense is an error before anything long begins.
struct Check<'a> {
    text: &'a str,
    query: String,
    /// What the answer must be; none: true.
    wanted: Option<String>,
}

impl<'a> Check<'a> {
    /// The inner error tells what the database lacks.
    fn parse(conn: &Connection, text: &'a str) -> Result<std::result::Result<Self, String>> {
        let is_query = |sql: &str| {
            let first = Tokens::new(sql).next();
            ["select", "with", "values"].iter().any(|word| first.is_some_and(|first| first.is_word(word)))
        };
        let compile = |sql: &str| conn.prepare(sql).map(drop);
        let whole = if is_query(text) { text.to_owned() } else { expression(text) };
        let mut lacks = None;
        let mut is_sql = |sql: &str| match compile(sql) {
            Ok(()) => Ok(()),
            Err(e) => {
                let what_lacks = Some(message(&e)).filter(|said| said.starts_with("no such "));
                lacks = lacks.take().or(what_lacks);
                Err(e)
            }
        };
        let error = match is_sql(&whole) {
            Ok(()) => return Ok(Ok(Self { text, query: whole, wanted: None })),
            Err(e) => e,
        };
        if let Some((query, value)) = equation(text)
            && is_query(query)
            && is_sql(query).is_ok()
            && is_sql(&expression(value)).is_ok()
        {
            return Ok(Ok(Self { text, query: query.to_owned(), wanted: Some(expression(value)) }));
        }
        if let Some(lacks) = lacks {
            return Ok(Err(format!("{}: {lacks}", text::escape(text.as_bytes()))));
        }
        Err(badly_asked(format!("bad check: {}", text::escape(text.as_bytes())), &error)
            .with_kind(Kind::Usage)
            .fix("write a query, or QUERY = VALUE, or an expression; names must be those of the database"))
    }

    fn run(&self, conn: &Connection, cancel: &Cancel) -> Result<Vec<String>> {
        let name = text::escape(self.text.as_bytes());
        let answer = one_value(conn, &self.query, cancel)?;
        let answer = if self.wanted.is_some() { answer.only() } else { answer.first() };
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => return Ok(vec![format!("{name}: {why}")]),
        };
        let Some(wanted) = &self.wanted else {
            let said = format!("{name}: the answer is {}, which is not true", shown(answer.get()));
            return Ok(if is_true(answer.get()) { Vec::new() } else { vec![said] });
        };
        let Ok(wanted) = one_value(conn, wanted, cancel)?.only() else { return Ok(vec![format!("{name}: no value")]) };
        let is_equal = conn
            .query_row("SELECT ?1 IS ?2", [bound(answer.get()), bound(wanted.get())], |row| row.get::<_, bool>(0))
            .map_err(|e| failed("cannot compare", &e))?;
        let said = format!("{name}: the answer is {}, not {}", shown(answer.get()), shown(wanted.get()));
        Ok(if is_equal { Vec::new() } else { vec![said] })
    }
}

/// The expression as a query; one that would leave its brackets becomes nothing that compiles.
fn expression(text: &str) -> String {
    if why_not_one_expression(text).is_some() { "SELECT".to_owned() } else { format!("SELECT ({text}\n)") }
}

/// What stands before and behind the last equals sign outside of brackets and quotes.
fn equation(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_i64;
    let mut last = None;
    let mut tokens = Tokens::new(text);
    while let Some(token) = tokens.next() {
        match token {
            Token::Sign(b'(') => depth += 1,
            Token::Sign(b')') => depth -= 1,
            Token::Sign(b'=') if depth == 0 => last = Some(text.len() - tokens.rest().len()),
            _ => {}
        }
    }
    let end = last?;
    Some((text.get(..end - 1)?.trim_end_matches('='), text.get(end..)?))
}

/// Neither NULL nor 0, as a number or a digit, nor empty.
fn is_true(value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Null => false,
        ValueRef::Integer(n) => n != 0,
        ValueRef::Real(n) => n != 0.0,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => !bytes.is_empty() && bytes != b"0",
    }
}

/// The beginning of a query's answer.
fn one_value(conn: &Connection, sql: &str, cancel: &Cancel) -> Result<One> {
    let mut sink = One::default();
    query(conn, sql, cancel, &mut sink)?;
    Ok(sink)
}

#[derive(Default)]
struct One {
    columns: usize,
    rows: u64,
    value: Option<Owned>,
}

impl One {
    /// What the first row begins with; else why there is nothing.
    fn first(self) -> std::result::Result<Owned, String> {
        self.value.ok_or_else(|| "there is no answer".to_owned())
    }

    /// The only value of the only row; else why not.
    fn only(self) -> std::result::Result<Owned, String> {
        match (self.columns, self.rows, self.value) {
            (1, 1, Some(value)) => Ok(value),
            (1, 0, _) => Err("there is no answer".to_owned()),
            (1, _, _) => Err("there is more than one answer".to_owned()),
            (columns, ..) => Err(format!("the answer has {columns} columns, not one")),
        }
    }
}

impl Sink for One {
    fn columns(&mut self, names: &[Vec<u8>]) -> Result<()> {
        self.columns = names.len();
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<ControlFlow<()>> {
        self.rows += 1;
        if self.rows == 1 {
            self.value = values.first().map(|value| Owned::of(*value));
        }
        Ok(if self.rows > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}
