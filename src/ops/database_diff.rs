//! What differs inside a database between two snapshots: its schema, and the rows of its tables.
//!
//! Both images are read where they lie. Rows are compared table by table in the order of their keys, so the engine goes
//! through all of every table on both sides, and through an index only where it gives that order. What both images have in
//! common is fetched and opened once, since both are read side by side. Memory holds a row of each side, and 16 MiB of
//! blocks.

use super::database::{Database, because};
use super::diff::{Change, What};
use super::drill::Stop;
use crate::entry::Kind as EntryKind;
use crate::error::{Error, Kind, Result};
use crate::event::Cancel;
use crate::record::SourceBody;
use crate::repo::ChunkReader;
use crate::sql::{self, Connection, Diff, EachRow, RowCounts};
use crate::tree::Found;
use crate::vfs::Opened;

/// What came of a comparison.
#[derive(Clone, Debug)]
pub enum Compared {
    /// It is no database, neither before nor after, or its content is the same.
    NoDatabase,
    /// This differs.
    Tables(Diff),
    /// It cannot be told what differs inside, since one of the images is not readable as a database; why, safe to print.
    Unreadable(String),
    /// The same, since the repository cannot give it back.
    Lost(Error),
}

/// Says what differs inside a file that changed. What is wrong with it does not fail.
pub fn inside(reader: &ChunkReader<'_>, change: &Change, stop: &dyn Fn() -> Stop, cancel: &Cancel) -> Result<Compared> {
    let (Some(from), Some(to)) = (&change.record_from, &change.record_to) else { return Ok(Compared::NoDatabase) };
    if change.what != What::Content || change.kind != EntryKind::File {
        return Ok(Compared::NoDatabase);
    }
    match compared(reader, [from, to].map(|record| found(change, record)), stop, cancel) {
        Err(e) if e.kind() == Kind::Interrupted => Err(e),
        Err(e) if matches!(e.kind(), Kind::Damage | Kind::Missing) => Ok(Compared::Lost(e)),
        Err(e) => Ok(Compared::Unreadable(if e.reason().is_empty() { e.what().into() } else { e.reason().into() })),
        other => other,
    }
}

fn found(change: &Change, record: &[u8]) -> Found {
    Found { path: change.path.clone(), record: record.to_vec() }
}

fn compared(
    reader: &ChunkReader<'_>,
    [from, to]: [Found; 2],
    stop: &dyn Fn() -> Stop,
    cancel: &Cancel,
) -> Result<Compared> {
    let from = Database::of(reader, &from)?;
    let to = Database::of(reader, &to)?.sharing(&from);
    match (from.is_one()?, to.is_one()?) {
        (false, false) => return Ok(Compared::NoDatabase),
        (false, true) => return Ok(Compared::Unreadable("it was no database before".into())),
        (true, false) => return Ok(Compared::Unreadable("it is no database any more".into())),
        (true, true) => {}
    }
    let (from, to) = (from.open(stop())?, to.open(stop())?);
    let diff = sql::diff(&from, &to, cancel);
    of_either(Some(&from), Some(&to), diff).map(Compared::Tables)
}

/// The result of a comparison; why the repository could not be read comes first.
fn of_either<T>(from: Option<&Opened<'_>>, to: Option<&Opened<'_>>, result: Result<T>) -> Result<T> {
    if result.as_ref().is_err_and(|e| e.kind() == Kind::Interrupted) {
        return result;
    }
    match [from, to].into_iter().flatten().find_map(Opened::failure) {
        Some(failure) => Err(failure),
        None => match from.or(to) {
            Some(opened) => because(opened, result),
            None => result,
        },
    }
}

/// The database that a path means in two snapshots; where one of them lacks it, that side is empty.
#[derive(Debug)]
pub struct Sides<'r> {
    from: Option<Database<'r>>,
    to: Option<Database<'r>>,
}

impl<'r> Sides<'r> {
    /// Finds them. Neither is an error, and so is what is no database.
    pub fn find(reader: &'r ChunkReader<'r>, [from, to]: [Option<&SourceBody>; 2], path: &[u8]) -> Result<Self> {
        let find = |source: Option<&SourceBody>, path: &[u8]| match source {
            Some(source) => match Database::find(reader, source, path) {
                Err(e) if e.kind() == Kind::Missing => Ok(Err(Some(e))),
                other => other.map(Ok),
            },
            None => Ok(Err(None)),
        };
        // A folder may have had its database under the same name when that was not saved as one.
        let (from, to) = match (find(from, path)?, find(to, path)?) {
            (Ok(a), Ok(b)) => {
                let b = b.sharing(&a);
                (Some(a), Some(b))
            }
            (Ok(a), Err(_)) => {
                let to = find(to, &a.path)?.ok();
                (Some(a), to)
            }
            (Err(_), Ok(b)) => (find(from, &b.path)?.ok(), Some(b)),
            (Err(a), Err(b)) => {
                let nothing = || Error::new(Kind::Missing, "there is no database");
                return Err(b.or(a).unwrap_or_else(nothing));
            }
        };
        Ok(Self { from, to })
    }

    /// Those that are there.
    pub fn each(&self) -> impl Iterator<Item = &Database<'r>> {
        [&self.from, &self.to].into_iter().flatten()
    }

    /// Where it lies below its source's root.
    pub fn path(&self) -> &[u8] {
        self.to.as_ref().or(self.from.as_ref()).map_or(b"", |database| &database.path)
    }

    /// Tells every row of a table that differs, see [`sql::diff_rows`].
    pub fn rows(
        &self,
        table: &str,
        stop: &dyn Fn() -> Stop,
        cancel: &Cancel,
        each: &mut EachRow<'_>,
    ) -> Result<RowCounts> {
        let from = self.from.as_ref().map(|database| database.open(stop())).transpose()?;
        let to = self.to.as_ref().map(|database| database.open(stop())).transpose()?;
        let empty = Connection::open_in_memory()
            .map_err(|e| Error::new(Kind::Failed, "SQLite cannot open an empty database").why(e.to_string()))?;
        let [a, b] = [&from, &to].map(|opened| opened.as_deref().unwrap_or(&empty));
        let counts = sql::diff_rows(a, b, table, cancel, each);
        of_either(from.as_ref(), to.as_ref(), counts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Store;
    use super::*;
    use crate::repo::Repository;

    fn rows() -> i64 {
        if std::env::var_os("LARDER_FULL").is_some() { 1_000_000 } else { 60_000 }
    }

    fn source(repository: &Repository, number: usize) -> SourceBody {
        let listing = repository.snapshots().unwrap();
        repository.snapshot(&listing.snapshots[number].id).unwrap().body.sources[0].clone()
    }

    #[test]
    fn what_both_sides_have_in_common_is_read_once() {
        let store = Store::new();
        let db = rusqlite::Connection::open(store.path("a.db")).unwrap();
        let rows = rows();
        db.execute_batch(&format!(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO t SELECT i, hex(randomblob(48)) FROM n; CREATE INDEX i ON t(text);"
        ))
        .unwrap();
        store.backup();
        db.execute_batch("UPDATE t SET text = 'x' WHERE id % 10000 = 0; DELETE FROM t WHERE id = 7").unwrap();
        store.backup();
        let sources = [0, 1].map(|number| source(&store.repository, number));
        store
            .with_reader(|reader, _| {
                let sides = Sides::find(reader, [Some(&sources[0]), Some(&sources[1])], b"").unwrap();
                let stop = || -> Stop { Box::new(|| false) };
                let mut told = 0;
                let counts = sides.rows("t", &stop, &Cancel::new(), &mut |_| {
                    told += 1;
                    Ok(std::ops::ControlFlow::Continue(()))
                });
                let counts = counts.unwrap();
                assert_eq!((counts.removed, counts.changed, told), (1, rows as u64 / 10_000, counts.changed + 1));
                let blocks = [&sides.from, &sides.to].map(|side| side.as_ref().unwrap().blocks_read());
                let table = 107 * rows as u64 / 65536;
                let (sum, changed) = (blocks[0] + blocks[1], 2 * counts.changed + 8);
                assert!(sum < table + table / 8 + changed, "{blocks:?} of {table} blocks");
                println!("figure: blocks of 64 KiB read to compare a table of {table} of them on both sides = {sum}");
                Ok(())
            })
            .unwrap();
    }
}
