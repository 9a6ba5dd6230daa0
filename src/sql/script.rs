//! A table as SQL that gives back the same values, types and rowids when it is run, by any SQLite, in an empty UTF-8
//! database or, without the schema, in one where the table is.
//!
//! Reals have 17 digits, infinities are `9e999`; text that holds a NUL or is not UTF-8 is `CAST(x'…' AS TEXT)`. What is
//! computed from other columns is left out. All is one transaction, without foreign keys enforced: rows come before the
//! indices, triggers last. A virtual table is its statement and rows put in through it, so only one that keeps its own
//! content can be written out this way.

use std::io::Write;

use data_encoding::HEXLOWER;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::error::failed;
use super::guard::ReadOnly;
use super::lexer::{Token, Tokens, is_one_statement};
use super::query::{Selection, selected};
use super::schema::{MODULES, Object, Shape, TableKind, each_row, existing, objects};
use crate::error::{Error, Kind, Result};
use crate::event::Cancel;
use crate::text;

/// What belongs to the table besides its rows.
#[derive(Clone, Copy, Debug)]
pub struct ScriptParts {
    /// The statements that make the table, its indices and its triggers.
    pub schema: bool,
    /// The highest key that AUTOINCREMENT has ever given.
    pub sequence: bool,
}

/// What helps who wants what a view shows.
pub(super) const VIEW_FIX: &str =
    "write the rows that it shows with --csv or --jsonl, or restore the tables that it reads or the whole database";

/// Writes a table, or some of its rows, as SQL; a view has none. Returns how many rows there were.
pub fn script(
    conn: &Connection,
    what: Selection<'_>,
    parts: ScriptParts,
    cancel: &Cancel,
    out: &mut dyn Write,
) -> Result<u64> {
    let _held = ReadOnly::begin(conn)?;
    let shape = existing(conn, what.table)?;
    by_rows(&shape)?;
    if shape.kind == TableKind::View {
        return Err(Error::new(Kind::Usage, format!("cannot write the view {} as SQL", shape.shown()))
            .why("a view has no rows of its own")
            .fix(VIEW_FIX));
    }
    let unread = |e: rusqlite::Error| failed(format!("cannot read the table {}", shape.shown()), &e);
    let put = |out: &mut dyn Write, text: &[u8]| out.write_all(text).map_err(|e| Error::io("cannot write the SQL", &e));
    put(out, b"PRAGMA foreign_keys=OFF;\nBEGIN;\n")?;
    let objects = if parts.schema { objects(conn, Some(shape.name.as_bytes())).map_err(unread)? } else { Vec::new() };
    if parts.schema {
        put(out, &statement(&shape.name, shape.sql.as_bytes())?)?;
    }
    let count = inserts(conn, &shape, what, cancel, out)?;
    let (triggers, indices): (Vec<&Object>, Vec<&Object>) = objects.iter().partition(|o| o.kind == b"trigger");
    for object in indices {
        put(out, &statement(&shape.name, &object.sql)?)?;
    }
    if parts.sequence
        && let Some(highest) = sequence(conn, &shape).map_err(unread)?
    {
        put(out, sequence_lines(&shape, highest).as_bytes())?;
    }
    for object in triggers {
        put(out, &statement(&shape.name, &object.sql)?)?;
    }
    put(out, b"COMMIT;\n")?;
    out.flush().map_err(|e| Error::io("cannot write the SQL", &e))?;
    Ok(count)
}

/// Fails if rows cannot be read from and put into the table as they are.
pub(super) fn by_rows(shape: &Shape) -> Result<()> {
    let refused = |why: &str| Error::new(Kind::Failed, format!("cannot take rows of {}", shape.shown())).why(why);
    match &shape.kind {
        TableKind::Table | TableKind::View => Ok(()),
        TableKind::Shadow { of } => {
            let of = text::escape(of);
            Err(refused(&format!("it is part of the virtual table {of}"))
                .with_kind(Kind::Usage)
                .fix(format!("take {of}")))
        }
        TableKind::Virtual { module } => {
            let is_known = MODULES.contains(&module.as_str());
            let is_elsewhere = super::schema::module_options(&shape.sql).iter().any(|(name, _)| name == "content");
            match (is_known, is_elsewhere) {
                (false, _) => Err(refused("nothing is known about the module that makes them")),
                (true, true) if module.starts_with("fts") => Err(refused("it indexes content that it does not keep")
                    .fix("take the whole table into a database where it is missing, or take the content and rebuild")),
                (true, _) => Ok(()),
            }
        }
    }
}

/// A statement out of a schema, which must be one.
fn statement(table: &str, sql: &[u8]) -> Result<Vec<u8>> {
    let what = || format!("cannot write the schema of {}", text::escape(table.as_bytes()));
    let text = std::str::from_utf8(sql).map_err(|_| Error::new(Kind::Failed, what()).why("it is not UTF-8"))?;
    if !is_one_statement(text) {
        return Err(Error::new(Kind::Damage, what()).why("it holds more than the statement that made it"));
    }
    let text = text.trim_end_matches([';', ' ', '\n']);
    // It may end in a comment that would hide the semicolon.
    let is_ended = Tokens::new(&format!("{text};")).last() == Some(Token::Sign(b';'));
    Ok(format!("{text}{};\n", if is_ended { "" } else { "\n" }).into_bytes())
}

fn inserts(conn: &Connection, shape: &Shape, what: Selection<'_>, cancel: &Cancel, out: &mut dyn Write) -> Result<u64> {
    let mut names: Vec<&str> = shape.stored().map(|n| shape.quoted_columns[n].as_str()).collect();
    names.splice(..0, shape.rowid.filter(|_| shape.has_bare_rowid()));
    let order = shape.rowid.map(|word| format!("ORDER BY {word}")).unwrap_or_default();
    let mut statement = selected(conn, shape, &names.join(", "), what.where_clause, &order)?;
    let begin = format!("INSERT INTO {}({}) VALUES(", shape.quoted, names.join(","));
    let unread = |e: rusqlite::Error| failed(format!("cannot read the table {}", shape.shown()), &e);
    let mut rows = statement.raw_query();
    let mut count = 0;
    while let Some(row) = rows.next().map_err(unread)? {
        cancel.check()?;
        let mut line = begin.clone().into_bytes();
        for n in 0..names.len() {
            if n > 0 {
                line.push(b',');
            }
            put_literal(&mut line, row.get_ref(n).map_err(unread)?);
        }
        line.extend_from_slice(b");\n");
        out.write_all(&line).map_err(|e| Error::io("cannot write the SQL", &e))?;
        count += 1;
    }
    Ok(count)
}

/// A value as SQL that makes the same value.
fn put_literal(line: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => line.extend_from_slice(b"NULL"),
        ValueRef::Integer(n) => line.extend_from_slice(n.to_string().as_bytes()),
        ValueRef::Real(n) if n.is_infinite() => line.extend_from_slice(if n > 0.0 { b"9e999" } else { b"-9e999" }),
        ValueRef::Real(n) => line.extend_from_slice(format!("{n:.16e}").as_bytes()),
        ValueRef::Blob(blob) => {
            line.extend_from_slice(b"x'");
            line.extend_from_slice(HEXLOWER.encode(blob).as_bytes());
            line.push(b'\'');
        }
        ValueRef::Text(text) if text.contains(&0) || std::str::from_utf8(text).is_err() => {
            line.extend_from_slice(b"CAST(");
            put_literal(line, ValueRef::Blob(text));
            line.extend_from_slice(b" AS TEXT)");
        }
        ValueRef::Text(text) => {
            line.push(b'\'');
            for part in text.split_inclusive(|b| *b == b'\'') {
                line.extend_from_slice(part);
                if part.ends_with(b"'") {
                    line.push(b'\'');
                }
            }
            line.push(b'\'');
        }
    }
}

/// What AUTOINCREMENT has noted for a table; none if it has none, or has noted nothing.
pub(super) fn sequence(conn: &Connection, shape: &Shape) -> rusqlite::Result<Option<i64>> {
    let mut is_there = false;
    let sql = "SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence'";
    each_row(conn, sql, &[], |_| {
        is_there = true;
        Ok(())
    })?;
    let mut highest = None;
    if is_there {
        let sql = "SELECT max(seq) FROM main.sqlite_sequence WHERE name = ?1 AND typeof(seq) = 'integer'";
        each_row(conn, sql, &[ValueRef::Text(shape.name.as_bytes())], |row| {
            highest = row.get(0)?;
            Ok(())
        })?;
    }
    Ok(highest)
}

fn sequence_lines(shape: &Shape, highest: i64) -> String {
    let name = shape.name.replace('\'', "''");
    format!(
        "DELETE FROM sqlite_sequence WHERE name='{name}';\nINSERT INTO sqlite_sequence(name,seq) VALUES('{name}',{highest});\n"
    )
}
