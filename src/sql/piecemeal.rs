//! What a database is asked where the engine refuses the question as a whole.
//!
//! Collations, functions, modules and tokenizers may belong to the application that made a database. The engine checks
//! nothing of a database where one is missing that any of its tables needs, but each table by itself, so only these are
//! left out. That is no fault of the database. Asked so, the engine does not see whether tables share a page, nor whether a
//! page is never used.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};

use super::error::{code, failed, message};
use super::schema::{TableKind, bytes, each_row, quote, tables};
use crate::error::{Kind, Result};
use crate::text;

/// The most that is told to be wrong.
const WRONG_MAX: usize = 100;

/// A table that could not be asked, or not all, and is not known to be damaged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unasked {
    /// What is missing, and is the application's, escaped: "the collation unicase".
    pub lacks: String,
    /// Its name.
    pub table: Vec<u8>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// What is wrong, escaped.
    pub wrong: Vec<String>,
    /// What was not told of.
    pub unasked: Vec<Unasked>,
}

/// Checks table by table; `quick`: without comparing them with their indexes. What is wrong with one hides nothing of the
/// others.
pub fn by_table(conn: &Connection, quick: bool) -> Result<Asked> {
    let mut names = vec![b"sqlite_schema".to_vec()];
    let all = "SELECT name FROM main.sqlite_schema WHERE type = 'table' ORDER BY name";
    each_row(conn, all, &[], |row| {
        names.push(bytes(row, 0)?);
        Ok(())
    })
    .map_err(|e| failed("the schema cannot be read", &e))?;
    let pragma = if quick { "quick_check" } else { "integrity_check" };
    let sql = format!("SELECT {pragma} FROM pragma_{pragma}(?1, 'main')");
    let mut asked = Asked::default();
    for name in names {
        let answered = each_row(conn, &sql, &[ValueRef::Text(&name)], |row| {
            let line = bytes(row, 0)?;
            if line != b"ok" {
                asked.wrong.push(text::one_line(&line));
            }
            Ok(())
        });
        let Err(e) = answered else { continue };
        match (failed("", &e).kind(), lacks(conn, &name, &e)) {
            (Kind::Interrupted, _) => return Err(failed("the integrity check cannot be finished", &e)),
            (_, Some(lacks)) => asked.unasked.push(Unasked { lacks, table: name }),
            (_, None) => asked.wrong.push(format!("{}: {}", text::escape(&name), message(&e))),
        }
    }
    asked.wrong.truncate(WRONG_MAX);
    Ok(asked)
}

/// Virtual tables of modules that are missing: the engine passes over them without a word.
pub(super) fn without_module(conn: &Connection) -> Result<Vec<Unasked>> {
    let all = tables(conn, false)?.into_iter();
    let all = all.filter(|table| matches!(table.kind, TableKind::Virtual { .. }));
    Ok(all.filter_map(|t| Some(Unasked { lacks: lacking(&t.unreadable?)?, table: t.name })).collect())
}

/// Whether the engine could not begin with the question, which tells nothing of the database.
pub(super) fn is_refusal(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqlInputError { .. }) || code(error) == Some(ErrorCode::Unknown)
}

/// What of the application's is missing, if that is why a table cannot be asked.
pub(super) fn lacks(conn: &Connection, table: &[u8], error: &rusqlite::Error) -> Option<String> {
    if !is_refusal(error) {
        return None;
    }
    let said = message(error);
    lacking(&said).or_else(|| (said == "SQL logic error").then(|| tokenizer(conn, table)).flatten())
}

/// FTS5 looks for its tokenizer where a word is asked for, and says why it is not there only then.
fn tokenizer(conn: &Connection, table: &[u8]) -> Option<String> {
    let name = quote(table).ok()?;
    let asked = each_row(conn, &format!("SELECT 1 FROM main.{name} WHERE {name} MATCH 'a' LIMIT 1"), &[], |_| Ok(()));
    asked.err().and_then(|e| lacking(&message(&e)))
}

/// The same, of what the engine said.
pub(super) fn lacking(said: &str) -> Option<String> {
    let kinds = [
        ("no such collation sequence: ", "collation"),
        ("no such function: ", "function"),
        ("unknown function: ", "function"),
        ("no such module: ", "module"),
        ("no such tokenizer: ", "tokenizer"),
        ("unknown tokenizer: ", "tokenizer"),
    ];
    let (kind, name) = kinds.iter().find_map(|(begin, kind)| Some((kind, said.strip_prefix(begin)?)))?;
    Some(format!("the {kind} {}", name.trim_end_matches("()")))
}
