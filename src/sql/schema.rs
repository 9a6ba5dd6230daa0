//! What a database holds: its tables, and what their columns and keys are.

use std::collections::HashMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::error::{failed, message};
use super::lexer::{Token, Tokens};
use super::value::bound;
use crate::error::{Error, Kind, Result};
use crate::text;

/// What a table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// Rows of its own.
    Table,
    /// A stored query.
    View,
    /// Rows that a module makes.
    Virtual {
        /// The module's name in lower case, such as "fts5".
        module: String,
    },
    /// Where a virtual table keeps what it needs. Not to be used by itself.
    Shadow {
        /// The virtual table.
        of: Vec<u8>,
    },
}

/// Whether a column holds what was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// An ordinary column.
    No,
    /// Not in `SELECT *`: a handle of a virtual table.
    Handle,
    /// Computed when it is read.
    Virtual,
    /// Computed when the row is written.
    Stored,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Vec<u8>,
    /// The type as declared; may be empty.
    pub declared: Vec<u8>,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Its place in the primary key, from 1; 0 if it is not in it.
    pub key: u32,
    /// Whether it is computed.
    pub hidden: Hidden,
}

/// A table, as a list shows it.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: TableKind,
    /// How many rows it has; none if they were not counted, and never for views, which may not end.
    pub rows: Option<u64>,
    /// Its columns; empty if they cannot be read.
    pub columns: Vec<Column>,
    /// Whether columns take only values of their type.
    pub strict: bool,
    /// Whether the primary key takes the place of the rowid.
    pub without_rowid: bool,
    /// Why it cannot be read, escaped; none if it can.
    pub unreadable: Option<String>,
}

/// Lists tables and views in the order of their names, without those of the engine (`sqlite_…`).
///
/// Counting reads the smallest index of each table. What cannot be read says why and does not fail the list.
pub fn tables(conn: &Connection, counted: bool) -> Result<Vec<Table>> {
    let mut found = Catalog::read(conn)?.tables;
    for table in &mut found {
        if let Err(why) = look_into(conn, table, counted) {
            table.unreadable = Some(why);
        }
    }
    Ok(found)
}

/// What a schema says of all tables, read once: asked about one of them, the engine goes through all there are.
pub(super) struct Catalog<'c> {
    pub conn: &'c Connection,
    /// In the order of names; without columns and rows.
    pub tables: Vec<Table>,
    /// Where they are, by their names in lower case.
    places: HashMap<Vec<u8>, usize>,
    /// The statements that made them.
    sql: HashMap<Vec<u8>, Vec<u8>>,
}

impl<'c> Catalog<'c> {
    pub fn read(conn: &'c Connection) -> Result<Self> {
        let (mut tables, sql) = (listed(conn)?, statements(conn)?);
        let is_virtual = |table: &&Table| matches!(table.kind, TableKind::Virtual { .. });
        let owners: HashMap<_, _> =
            tables.iter().filter(is_virtual).map(|t| (t.name.to_ascii_lowercase(), t.name.clone())).collect();
        for Table { name, kind, .. } in &mut tables {
            match kind {
                TableKind::Shadow { of } => *of = owner(name, &owners).unwrap_or_default(),
                TableKind::Virtual { module } => {
                    *module = sql.get(name).and_then(|sql| module_of(sql)).unwrap_or_default();
                }
                TableKind::Table | TableKind::View => {}
            }
        }
        let places = tables.iter().enumerate().map(|(n, table)| (table.name.to_ascii_lowercase(), n)).collect();
        Ok(Self { conn, tables, places, sql })
    }

    /// The table of this name, if there is one. Names are the same if they differ in ASCII case only.
    pub fn find(&self, name: &str) -> Result<Option<Shape>> {
        let Some(place) = self.places.get(&name.as_bytes().to_ascii_lowercase()) else { return Ok(None) };
        let mut table = self.tables[*place].clone();
        look_into(self.conn, &mut table, false).map_err(|why| {
            Error::new(Kind::Failed, format!("cannot read the table {}", text::escape(&table.name))).why(why)
        })?;
        let sql = self.sql.get(&table.name).cloned().unwrap_or_default();
        shape(self.conn, table, sql).map(Some)
    }
}

/// The virtual table whose name, with `_`, a shadow's name begins with; the longest. They are known by their names in
/// lower case.
fn owner(shadow: &[u8], owners: &HashMap<Vec<u8>, Vec<u8>>) -> Option<Vec<u8>> {
    let shadow = shadow.to_ascii_lowercase();
    // No module has an underscore in what it adds; a hostile name may have a million.
    let mut ends = (0..shadow.len()).rev().filter(|n| shadow[*n] == b'_').take(4);
    ends.find_map(|end| owners.get(&shadow[..end])).cloned()
}

fn listed(conn: &Connection) -> Result<Vec<Table>> {
    let sql = "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main' ORDER BY name";
    let mut found = Vec::new();
    each_row(conn, sql, &[], |row| {
        let name = bytes(row, 0)?;
        let kind = match bytes(row, 1)?.as_slice() {
            b"view" => TableKind::View,
            b"virtual" => TableKind::Virtual { module: String::new() },
            b"shadow" => TableKind::Shadow { of: Vec::new() },
            _ => TableKind::Table,
        };
        let (without_rowid, strict) = (row.get(2)?, row.get(3)?);
        if !is_internal(&name) {
            let (rows, columns, unreadable) = (None, Vec::new(), None);
            found.push(Table { name, kind, rows, columns, strict, without_rowid, unreadable });
        }
        Ok(())
    })
    .map_err(|e| failed("cannot read the schema", &e))?;
    Ok(found)
}

/// The statements that made tables and views, by their names.
fn statements(conn: &Connection) -> Result<HashMap<Vec<u8>, Vec<u8>>> {
    let mut found = HashMap::new();
    each_row(conn, "SELECT name, sql FROM main.sqlite_schema WHERE type IN ('table', 'view')", &[], |row| {
        found.insert(bytes(row, 0)?, bytes(row, 1)?);
        Ok(())
    })
    .map_err(|e| failed("cannot read the schema", &e))?;
    Ok(found)
}

fn is_internal(name: &[u8]) -> bool {
    name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"sqlite_"))
}

fn look_into(conn: &Connection, table: &mut Table, counted: bool) -> std::result::Result<(), String> {
    table.columns = columns(conn, &table.name).map_err(|e| message(&e))?;
    let quoted = quote(&table.name)?;
    let said = |e: rusqlite::Error| key_collation(conn, &table.name, &e).unwrap_or_else(|| message(&e));
    // Rows that cannot be read can be counted; and where they cannot, this says best why.
    if counted && table.kind != TableKind::View {
        let sql = format!("SELECT count(*) FROM main.{quoted}");
        let count = conn.query_row(&sql, [], |row| row.get::<_, i64>(0)).map_err(said)?;
        table.rows = u64::try_from(count).ok();
    }
    // Compiling tells whether modules, functions and collations are there.
    conn.prepare(&format!("SELECT * FROM main.{quoted}")).map(drop).map_err(said)
}

/// Where rows lie in a key whose collation is missing, the engine says that there is no way to them, and not why.
fn key_collation(conn: &Connection, table: &[u8], error: &rusqlite::Error) -> Option<String> {
    if message(error) != "no query solution" {
        return None;
    }
    let sql = "SELECT x.coll FROM pragma_index_list(?1, 'main') AS l, pragma_index_xinfo(l.name, 'main') AS x \
               WHERE l.origin = 'pk' AND lower(x.coll) NOT IN ('binary', 'nocase', 'rtrim')";
    let mut found = None;
    let asked = each_row(conn, sql, &[ValueRef::Text(table)], |row| {
        found = Some(format!("no such collation sequence: {}", text::one_line(&bytes(row, 0)?)));
        Ok(())
    });
    asked.ok().and(found)
}

/// The module that `CREATE VIRTUAL TABLE … USING module` names, in lower case.
fn module_of(sql: &[u8]) -> Option<String> {
    let sql = String::from_utf8_lossy(sql);
    let mut tokens = Tokens::new(&sql);
    tokens.find(|token| token.is_word("using"))?;
    tokens.next()?.name().map(|name| name.to_ascii_lowercase())
}

/// Modules whose tables keep all they know in shadows, and take rows as they give them.
pub(super) const MODULES: [&str; 6] = ["fts3", "fts4", "fts5", "geopoly", "rtree", "rtree_i32"];

/// A name as it stands in a statement, or why it cannot.
pub(super) fn quote(name: &[u8]) -> std::result::Result<String, String> {
    let text = std::str::from_utf8(name).map_err(|_| "its name is not UTF-8".to_owned())?;
    if text.contains('\0') {
        return Err("its name holds a NUL".to_owned());
    }
    Ok(format!("\"{}\"", text.replace('"', "\"\"")))
}

/// Runs a statement with parameters, row by row.
pub(super) fn each_row(
    conn: &Connection,
    sql: &str,
    values: &[ValueRef<'_>],
    mut each: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(sql)?;
    for (n, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(n + 1, bound(*value))?;
    }
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        each(row)?;
    }
    Ok(())
}

/// The number that a statement's first row begins with; none: there is no row.
pub fn first_number(conn: &Connection, sql: &str, values: &[ValueRef<'_>]) -> Result<Option<i64>> {
    let mut found = None;
    each_row(conn, sql, values, |row| {
        found = found.or(Some(row.get(0)?));
        Ok(())
    })
    .map_err(|e| failed("the schema cannot be read", &e))?;
    Ok(found)
}

/// Text or a blob as bytes; anything else is empty.
pub(super) fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    })
}

/// The statement that made a table or view; none if there is no such thing.
pub(super) fn sql_of(conn: &Connection, name: &[u8]) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT sql FROM main.sqlite_schema WHERE type IN ('table', 'view') AND name = ?1";
    let mut found = None;
    each_row(conn, sql, &[ValueRef::Text(name)], |row| {
        found = Some(bytes(row, 0)?);
        Ok(())
    })?;
    Ok(found)
}

fn columns(conn: &Connection, table: &[u8]) -> rusqlite::Result<Vec<Column>> {
    let sql = "SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid";
    let mut found = Vec::new();
    each_row(conn, sql, &[ValueRef::Text(table)], |row| {
        let hidden = match row.get(4)? {
            0 => Hidden::No,
            2 => Hidden::Virtual,
            3 => Hidden::Stored,
            _ => Hidden::Handle,
        };
        let (name, declared) = (bytes(row, 0)?, bytes(row, 1)?);
        found.push(Column { name, declared, not_null: row.get(2)?, key: row.get(3)?, hidden });
        Ok(())
    })?;
    Ok(found)
}

/// A column of a key, and how it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyPart {
    /// Where it is among the shape's columns.
    pub column: usize,
    /// The collation's name, quoted.
    pub collation: String,
}

/// A table that statements can be made for.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub name: String,
    /// The name for statements.
    pub quoted: String,
    pub kind: TableKind,
    pub without_rowid: bool,
    /// The statement that made it.
    pub sql: String,
    /// Those that can be selected by `*`.
    pub columns: Vec<Column>,
    /// Their names for statements.
    pub quoted_columns: Vec<String>,
    /// By which word the rowid can be reached; none if there is none, or columns took all its names.
    pub rowid: Option<&'static str>,
    /// The column that is the rowid.
    pub alias: Option<usize>,
    /// The primary key if it is not the rowid.
    pub key: Vec<KeyPart>,
}

impl Shape {
    /// The columns that a row is made of: those not computed.
    pub fn stored(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.columns.len()).filter(|n| self.columns[*n].hidden == Hidden::No)
    }

    /// Whether the rowid must be carried apart from the columns.
    pub fn has_bare_rowid(&self) -> bool {
        self.rowid.is_some() && self.alias.is_none()
    }

    /// The name in messages.
    pub fn shown(&self) -> String {
        text::escape(self.name.as_bytes())
    }

    pub fn is_virtual(&self) -> bool {
        matches!(self.kind, TableKind::Virtual { .. })
    }
}

/// See [`Catalog::find`]; for one table, not for each of many.
pub(super) fn find(conn: &Connection, name: &str) -> Result<Option<Shape>> {
    Catalog::read(conn)?.find(name)
}

/// The same, for a table that must be there.
pub(super) fn existing(conn: &Connection, name: &str) -> Result<Shape> {
    find(conn, name)?.ok_or_else(|| no_table(name))
}

pub(super) fn no_table(name: &str) -> Error {
    Error::new(Kind::Missing, format!("there is no table {}", text::escape(name.as_bytes())))
        .fix("list the tables that are there")
}

fn shape(conn: &Connection, table: Table, sql: Vec<u8>) -> Result<Shape> {
    let shown = text::escape(&table.name);
    let what = || format!("cannot read the table {shown}");
    let unnamed = |why: String| Error::new(Kind::Failed, what()).why(why);
    let sql = String::from_utf8(sql).map_err(|_| unnamed("the statement that made it is not UTF-8".into()))?;
    let columns: Vec<Column> = table.columns.into_iter().filter(|column| column.hidden != Hidden::Handle).collect();
    let quoted_columns = columns.iter().map(|column| quote(&column.name)).collect::<std::result::Result<Vec<_>, _>>();
    let quoted_columns = quoted_columns.map_err(|why| unnamed(format!("a column: {why}")))?;
    let has_rowid = !table.without_rowid && matches!(table.kind, TableKind::Table | TableKind::Virtual { .. });
    let is_free = |word: &&str| !columns.iter().any(|column| column.name.eq_ignore_ascii_case(word.as_bytes()));
    let rowid = ["rowid", "_rowid_", "oid"].into_iter().find(|word| has_rowid && is_free(word));
    let key = key(conn, &table.name, &columns).map_err(|e| failed(what(), &e))?;
    let in_key: Vec<usize> = (0..columns.len()).filter(|n| columns[*n].key > 0).collect();
    // A primary key without an index is the rowid itself.
    let alias = (has_rowid && key.is_empty() && in_key.len() == 1).then(|| in_key[0]);
    let name = String::from_utf8(table.name).map_err(|_| unnamed("its name is not UTF-8".into()))?;
    let quoted = quote(name.as_bytes()).map_err(unnamed)?;
    let (kind, without_rowid) = (table.kind, table.without_rowid);
    Ok(Shape { name, quoted, kind, without_rowid, sql, columns, quoted_columns, rowid, alias, key })
}

/// The primary key's columns, from its index; empty if it has none.
fn key(conn: &Connection, table: &[u8], columns: &[Column]) -> rusqlite::Result<Vec<KeyPart>> {
    let sql = "SELECT x.name, x.coll FROM pragma_index_list(?1, 'main') AS l, pragma_index_xinfo(l.name, 'main') AS x
        WHERE l.origin = 'pk' AND x.key ORDER BY x.seqno";
    let mut parts = Vec::new();
    each_row(conn, sql, &[ValueRef::Text(table)], |row| {
        let (name, collation) = (bytes(row, 0)?, bytes(row, 1)?);
        let column = columns.iter().position(|column| column.name == name);
        if let (Some(column), Ok(collation)) = (column, quote(&collation)) {
            parts.push(KeyPart { column, collation });
        }
        Ok(())
    })?;
    Ok(parts)
}

/// An index, trigger or view: what it is, its name, its table and the statement that makes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    pub kind: Vec<u8>,
    pub name: Vec<u8>,
    pub table: Vec<u8>,
    pub sql: Vec<u8>,
}

/// The objects of a table (or of all), in the order in which they were made, without automatic ones.
pub(super) fn objects(conn: &Connection, table: Option<&[u8]>) -> rusqlite::Result<Vec<Object>> {
    let sql = "SELECT type, name, tbl_name, sql FROM main.sqlite_schema
        WHERE sql IS NOT NULL AND (?1 IS NULL OR tbl_name = ?1 COLLATE NOCASE AND type IN ('index', 'trigger'))
        ORDER BY rowid";
    let mut found = Vec::new();
    let value = table.map_or(ValueRef::Null, ValueRef::Text);
    each_row(conn, sql, &[value], |row| {
        found.push(Object { kind: bytes(row, 0)?, name: bytes(row, 1)?, table: bytes(row, 2)?, sql: bytes(row, 3)? });
        Ok(())
    })?;
    Ok(found)
}

/// The arguments of a virtual table's module, as `name=value` with blanks left out; values lose their quotes.
pub(super) fn module_options(sql: &str) -> Vec<(String, String)> {
    let mut options = Vec::new();
    let tokens: Vec<Token<'_>> = Tokens::new(sql).collect();
    for window in tokens.windows(3) {
        if let [left, Token::Sign(b'='), right] = window
            && let (Some(name), Some(value)) = (left.name(), right.name())
        {
            options.push((name.to_ascii_lowercase(), value));
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(sql: &str) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(sql).unwrap();
        conn
    }

    fn lines(conn: &Connection) -> Vec<String> {
        let line = |t: &Table| {
            let flags =
                format!("{}{}", if t.strict { " strict" } else { "" }, if t.without_rowid { " wr" } else { "" });
            let columns: Vec<_> = t.columns.iter().map(|c| text::escape(&c.name)).collect();
            let kind = match &t.kind {
                TableKind::Shadow { of } => format!("shadow of {}", text::escape(of)),
                kind => format!("{kind:?}").to_lowercase(),
            };
            let bad = t.unreadable.as_deref().map(|why| format!(" ! {why}")).unwrap_or_default();
            format!("{} {kind}{flags} {:?} {}{bad}", text::escape(&t.name), t.rows, columns.join(","))
        };
        tables(conn, true).unwrap().iter().map(line).collect()
    }

    #[test]
    fn every_kind_of_table_is_known() {
        let conn = made(
            "CREATE TABLE a(x INTEGER PRIMARY KEY AUTOINCREMENT, y AS (x + 1), z AS (x + 2) STORED);
             INSERT INTO a DEFAULT VALUES;
             CREATE TABLE s(k TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
             CREATE VIEW \"select\" AS SELECT * FROM a;
             CREATE VIEW v_endless AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r;
             CREATE VIRTUAL TABLE \"f t\" USING fts5(body);
             CREATE TABLE \"f t_other\"(q);
             CREATE VIRTUAL TABLE r USING rtree(id, x0, x1);",
        );
        let expected = [
            "a table Some(1) x,y,z",
            "f t virtual { module: \"fts5\" } Some(0) body,f t,rank",
            "f t_config shadow of f t wr Some(1) k,v",
            "f t_content shadow of f t Some(0) id,c0",
            "f t_data shadow of f t Some(2) id,block",
            "f t_docsize shadow of f t Some(0) id,sz",
            "f t_idx shadow of f t wr Some(0) segid,term,pgno",
            "f t_other table Some(0) q",
            "r virtual { module: \"rtree\" } Some(0) id,x0,x1",
            "r_node shadow of r Some(1) nodeno,data",
            "r_parent shadow of r Some(0) nodeno,parentnode",
            "r_rowid shadow of r Some(0) rowid,nodeno",
            "s table strict wr Some(0) k",
            "select view None x,y,z",
            "v_endless view None n",
        ];
        assert_eq!(lines(&conn), expected);
    }

    #[test]
    fn what_cannot_be_read_says_why_and_hides_nothing() {
        let conn = made("CREATE TABLE good(a); CREATE TABLE bad(a); CREATE TABLE odd(aaaa)");
        conn.execute_batch(
            "PRAGMA writable_schema = 1;
             INSERT INTO sqlite_schema VALUES ('table', 'gone', 'gone', 0, 'CREATE VIRTUAL TABLE gone USING nowhere(a)');
             UPDATE sqlite_schema SET name = CAST(x'62ff' AS TEXT), tbl_name = CAST(x'62ff' AS TEXT),
               sql = CAST(CAST('CREATE TABLE b' AS BLOB) || x'ff' || CAST('(a)' AS BLOB) AS TEXT) WHERE name = 'bad';
             UPDATE sqlite_schema SET sql = CAST(CAST('CREATE TABLE odd(\"a' AS BLOB) || x'fe' || CAST('\")' AS BLOB) AS TEXT)
               WHERE name = 'odd';
             PRAGMA writable_schema = RESET",
        )
        .unwrap();
        let expected = [
            "b\\xff table None a ! its name is not UTF-8",
            "gone virtual { module: \"nowhere\" } None  ! no such module: nowhere",
            "good table Some(0) a",
            "odd table Some(0) a\\xfe",
        ];
        assert_eq!(lines(&conn), expected);
        assert_eq!(find(&conn, "odd").unwrap_err().kind(), Kind::Failed);
        assert_eq!(existing(&conn, "none").unwrap_err().kind(), Kind::Missing);
    }

    #[test]
    fn keys_are_told_apart() {
        let conn = made(
            "CREATE TABLE alias(a, id INTEGER PRIMARY KEY);
             CREATE TABLE quirk(id INTEGER PRIMARY KEY DESC);
             CREATE TABLE text(a, k TEXT COLLATE NOCASE PRIMARY KEY);
             CREATE TABLE two(a, b, PRIMARY KEY (b, a COLLATE RTRIM)) WITHOUT ROWID;
             CREATE TABLE bare(rowid, oid);
             CREATE TABLE none(rowid, oid, _rowid_);",
        );
        let told = |name| {
            let shape = existing(&conn, name).unwrap();
            let key: Vec<_> = shape.key.iter().map(|part| format!("{} {}", part.column, part.collation)).collect();
            (shape.rowid, shape.alias, key.join(", "))
        };
        assert_eq!(told("alias"), (Some("rowid"), Some(1), String::new()));
        assert_eq!(told("quirk"), (Some("rowid"), None, "0 \"BINARY\"".into()));
        assert_eq!(told("TEXT"), (Some("rowid"), None, "1 \"NOCASE\"".into()));
        assert_eq!(told("two"), (None, None, "1 \"BINARY\", 0 \"RTRIM\"".into()));
        assert_eq!(told("bare"), (Some("_rowid_"), None, String::new()));
        assert_eq!(told("none"), (None, None, String::new()));
    }
}
