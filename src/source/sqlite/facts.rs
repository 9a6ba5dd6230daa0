//! What is told about a database besides its bytes: enough to prove a restored one against.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::failure::said;
use super::header::Encoding;
use super::scan::Scan;

/// The most tables that are counted; a number for the rest.
pub const TABLES_MAX: usize = 10_000;
/// The longest name of a table that is counted, bytes.
pub const TABLE_NAME_BYTES_MAX: usize = 1024;
/// The longest schema that is kept.
pub const SCHEMA_BYTES_MAX: usize = 16 << 20;

/// Facts about one state of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of a page.
    pub page_bytes: u32,
    /// How many pages the image has.
    pub pages: u32,
    /// How its writers keep it whole.
    pub journal: Journal,
    /// The number that the application keeps in it.
    pub user_version: i32,
    /// Which application's format it is.
    pub application_id: i32,
    /// How text is stored.
    pub encoding: Encoding,
    /// Everything that the schema declares, in one order, each row as its type, name, table and SQL, each of these with
    /// a NUL at its end (an index without SQL has an empty one). Where a table begins in the file is left out.
    /// `None`: longer than [`SCHEMA_BYTES_MAX`], or unreadable.
    pub schema: Option<Vec<u8>>,
    /// Tables, ordinary and virtual, and those behind virtual ones, with their rows, by name. Not those that the engine keeps
    /// for itself (`sqlite_…`), of which lists of tables say nothing either.
    pub tables: Vec<TableFacts>,
    /// Tables that could not be counted, by name.
    pub uncounted: Vec<Uncounted>,
    /// Tables that are left to be counted by [`Self::count`], and the pages on which they begin.
    pub left: Vec<(Vec<u8>, u32)>,
    /// How many tables more there are than [`TABLES_MAX`], or with names longer than [`TABLE_NAME_BYTES_MAX`].
    pub tables_more: u64,
}

impl Facts {
    /// Has what is left counted by a scan that has seen all pages.
    pub fn count(&mut self, scan: &Scan) {
        let rows = scan.rows();
        for (name, root) in std::mem::take(&mut self.left) {
            match rows.as_ref().and_then(|rows| rows.get(&root)) {
                Some(rows) => self.tables.push(TableFacts { name, rows: *rows }),
                None => self.uncounted.push(Uncounted { name, why: "its pages do not fit together".into() }),
            }
        }
        self.tables.sort_by(|a, b| a.name.cmp(&b.name));
        self.uncounted.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

/// How the writers of a database keep it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// They note what was before, beside it, while they change it.
    Rollback,
    /// They append to a log beside it.
    Wal,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// As in the schema; UTF-8, if the application kept to the rules.
    pub name: Vec<u8>,
    /// How many rows it has.
    pub rows: u64,
}

/// A table that could not be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncounted {
    /// As in the schema.
    pub name: Vec<u8>,
    /// What the engine said, safe to print: "no such module: geo (SQLite error 1)".
    pub why: String,
}

/// What can be counted, by name.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub tables: Vec<TableFacts>,
    pub uncounted: Vec<Uncounted>,
    pub left: Vec<(Vec<u8>, u32)>,
    pub more: u64,
}

/// See [`Facts::schema`].
pub fn schema(connection: &Connection) -> Option<Vec<u8>> {
    let sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name, tbl_name, sql";
    let read = || -> rusqlite::Result<Option<Vec<u8>>> {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            for column in 0..4 {
                out.extend_from_slice(bytes(row.get_ref(column)?));
                out.push(0);
            }
            if out.len() > SCHEMA_BYTES_MAX {
                return Ok(None);
            }
        }
        Ok(Some(out))
    };
    read().ok().flatten()
}

/// The pages at which tables and indexes begin, and whether each is an index.
pub(super) fn roots(connection: &Connection) -> rusqlite::Result<Vec<(u32, bool)>> {
    let sql = "SELECT rootpage, type = 'index' FROM sqlite_schema WHERE rootpage > 0";
    connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Counts all tables, or those alone that have no pages of their own, and tells where the others begin.
pub(super) fn counts(connection: &Connection, virtual_only: bool) -> Counts {
    let mut counts = Counts::default();
    let names = match names(connection, &mut counts.more) {
        Ok(names) => names,
        Err(e) => {
            counts.uncounted.push(Uncounted { name: b"sqlite_schema".into(), why: said(&e) });
            return counts;
        }
    };
    for (name, root) in names {
        if let Some(root) = root.filter(|_| virtual_only) {
            counts.left.push((name, root));
            continue;
        }
        match count(connection, &name) {
            Ok(rows) => counts.tables.push(TableFacts { name, rows }),
            Err(e) => counts.uncounted.push(Uncounted { name, why: said(&e) }),
        }
    }
    counts
}

/// Names of tables, and the pages on which they begin, if they have any.
fn names(connection: &Connection, more: &mut u64) -> rusqlite::Result<Vec<(Vec<u8>, Option<u32>)>> {
    let sql = r"SELECT name, rootpage FROM sqlite_schema
        WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        match bytes(row.get_ref(0)?) {
            name if names.len() < TABLES_MAX && name.len() <= TABLE_NAME_BYTES_MAX => {
                let root = row.get::<_, u32>(1).ok().filter(|root| *root > 0);
                names.push((name.to_vec(), root));
            }
            _ => *more += 1,
        }
    }
    Ok(names)
}

fn count(connection: &Connection, name: &[u8]) -> rusqlite::Result<u64> {
    let name = std::str::from_utf8(name)?;
    let sql = format!("SELECT count(*) FROM main.\"{}\"", name.replace('"', "\"\""));
    let rows: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
    Ok(rows.unsigned_abs())
}

fn bytes(value: ValueRef<'_>) -> &[u8] {
    value.as_bytes().unwrap_or_default()
}
