//! What differs inside a database between two snapshots: its schema, and the rows of its tables.
//!
//! Both images are read where they lie. Rows are compared table by table in the order of their keys, so all of every table
//! that both sides have is read once on each side, and indices only where they give that order: the time of two full reads
//! of the tables, in the memory of one row each.

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
    let (from, to) = (Database::of(reader, &from)?, Database::of(reader, &to)?);
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
            (Ok(a), Ok(b)) => (Some(a), Some(b)),
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
