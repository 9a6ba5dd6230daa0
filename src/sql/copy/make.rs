//! Tables, indices and triggers made by the statements that once made them.

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;

use super::super::error::failed;
use super::super::lexer::is_one_statement;
use super::super::schema::{
    MODULES, Shape, TableKind, each_row, existing, module_options, objects, quote, sql_of, tables,
};
use super::super::value::bound;
use super::rows::{self, Side};
use super::target::Target;
use crate::error::{Error, Kind, Result};
use crate::event::Cancel;
use crate::text;

/// Runs a statement out of a foreign schema: it must be one, and make what it is said to make.
pub(super) fn run(conn: &Connection, kind: &[u8], name: &[u8], sql: &[u8]) -> Result<()> {
    let what = || format!("cannot make the {} {}", text::escape(kind), text::escape(name));
    let text = std::str::from_utf8(sql).map_err(|_| {
        Error::new(Kind::Failed, what()).why("the statement that made it is not UTF-8, so it cannot be run again")
    })?;
    let lies = || Error::new(Kind::Damage, what()).why("the schema lies about what made it");
    if !is_one_statement(text) {
        return Err(lies());
    }
    match conn.prepare(text).and_then(|mut statement| statement.raw_execute()) {
        Ok(_) => {}
        Err(rusqlite::Error::MultipleStatement) => return Err(lies()),
        Err(e) => return Err(failed(what(), &e)),
    }
    let mut is_there = false;
    let sql = "SELECT 1 FROM main.sqlite_schema WHERE type = ?1 AND name = ?2";
    each_row(conn, sql, &[ValueRef::Text(kind), ValueRef::Text(name)], |_| {
        is_there = true;
        Ok(())
    })
    .map_err(|e| failed(what(), &e))?;
    if is_there { Ok(()) } else { Err(lies()) }
}

/// Makes a table's indices and then its triggers; how many of each.
pub(super) fn objects_of(from: &Connection, to: &Connection, source: &Shape) -> Result<(u64, u64)> {
    let what = || format!("cannot read the schema of {}", source.shown());
    let all = objects(from, Some(source.name.as_bytes())).map_err(|e| failed(what(), &e))?;
    let make = |kind: &[u8]| -> Result<u64> {
        let mut count = 0;
        for object in all.iter().filter(|object| object.kind == kind) {
            run(to, kind, &object.name, &object.sql)?;
            count += 1;
        }
        Ok(count)
    };
    Ok((make(b"index")?, make(b"trigger")?))
}

/// Copies a whole virtual table as what it is made of; returns how many rows it has.
///
/// The tables behind it are copied as they are, so that it does not matter whether it keeps its content, and how its
/// index came about. While they are made there is no virtual table yet whose module could have an opinion. Then it is
/// entered into the schema, as the `.dump` of SQLite's own shell does it, and read anew.
pub(super) fn virtual_table(from: &Connection, target: &Target<'_>, source: &Shape, cancel: &Cancel) -> Result<u64> {
    let to = target.conn;
    let what = || format!("cannot make the virtual table {}", source.shown());
    let TableKind::Virtual { module } = &source.kind else { return Ok(0) };
    if !MODULES.contains(&module.as_str()) {
        return Err(Error::new(Kind::Failed, what())
            .why(format!("nothing is known about the module {}", text::escape(module.as_bytes()))));
    }
    let lies = || Error::new(Kind::Damage, what()).why("the schema lies about what made it");
    if !is_one_statement(&source.sql) {
        return Err(lies());
    }
    for shadow in tables(from, false)? {
        if (shadow.kind == TableKind::Shadow { of: source.name.as_bytes().to_vec() }) {
            copy_shadow(from, to, &shadow.name, cancel)?;
        }
    }
    to.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true).map_err(|e| failed(what(), &e))?;
    let enter = "INSERT INTO main.sqlite_schema(type, name, tbl_name, rootpage, sql) VALUES ('table', ?1, ?1, 0, ?2)";
    let name = bound(ValueRef::Text(source.name.as_bytes()));
    to.execute(enter, (&name, &source.sql))
        .and_then(|_| to.execute_batch("PRAGMA writable_schema = RESET"))
        .map_err(|e| failed(what(), &e))?;
    let made = existing(to, &source.name)?;
    if made.kind != source.kind || made.columns != source.columns {
        return Err(lies());
    }
    // Asked where its content is, which may be in another table.
    let sql = format!("SELECT count(*) FROM main.{}", source.quoted);
    let count = from.query_row(&sql, [], |row| row.get::<_, i64>(0)).map_err(|e| failed(what(), &e))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Has full-text tables that index the content of this one read it again; which ones.
pub(super) fn rebuild_indices(to: &Connection, table: &Shape) -> Result<Vec<Vec<u8>>> {
    let mut rebuilt = Vec::new();
    for other in tables(to, false)? {
        if !matches!(&other.kind, TableKind::Virtual { module } if module.starts_with("fts")) {
            continue;
        }
        let what = || format!("cannot rebuild the index {}", text::escape(&other.name));
        let sql = sql_of(to, &other.name).map_err(|e| failed(what(), &e))?.unwrap_or_default();
        let reads = |(name, value): &(String, String)| name == "content" && value.eq_ignore_ascii_case(&table.name);
        if !module_options(&String::from_utf8_lossy(&sql)).iter().any(reads) {
            continue;
        }
        let quoted = quote(&other.name).map_err(|why| Error::new(Kind::Failed, what()).why(why))?;
        to.execute(&format!("INSERT INTO main.{quoted}({quoted}) VALUES ('rebuild')"), [])
            .map_err(|e| failed(what(), &e))?;
        rebuilt.push(other.name);
    }
    Ok(rebuilt)
}

fn copy_shadow(from: &Connection, to: &Connection, name: &[u8], cancel: &Cancel) -> Result<()> {
    let what = || format!("cannot copy the table {}", text::escape(name));
    let name = quote(name).and(String::from_utf8(name.to_vec()).map_err(|e| e.to_string()));
    let name = name.map_err(|why| Error::new(Kind::Failed, what()).why(why))?;
    let shape = existing(from, &name)?;
    run(to, b"table", name.as_bytes(), shape.sql.as_bytes())?;
    let made = existing(to, &name)?;
    let (source, made) = (Side { conn: from, shape: &shape }, Side { conn: to, shape: &made });
    rows::put_all(source, made, cancel)?;
    objects_of(from, to, &shape).map(drop)
}
