//! A table of a database in a snapshot, or some of its rows: written out, or put into another database.

use std::io::Write;
use std::path::Path;

use super::{Database, because};
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::sql::{self, Connection, Copied, Copy, Csv, JsonLines, ScriptParts, Selection};
use crate::target::files::{Draft, Existing};
use crate::target::sqlite;
use crate::text;
use crate::vfs::Opened;

/// How rows are written out; docs/tables.md says what each value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With a header.
    Csv,
    /// An object a line.
    JsonLines,
    /// A script that makes the table and the rows again, exactly, in a database without it.
    Sql,
}

/// A database that rows are put into.
#[derive(Clone, Copy, Debug)]
pub enum Into<'a> {
    /// One that must be there.
    Live(&'a Path),
    /// One that is made if it is not there, in a folder that is, but not in `keep_out`.
    File {
        /// Where it is.
        path: &'a Path,
        /// The repository's own folder, if it is one.
        keep_out: Option<&'a Path>,
    },
}

/// Writes rows out; how many there were. An error may come after some of them.
pub fn write_table(
    database: &Database<'_>,
    what: Selection<'_>,
    form: Form,
    out: &mut dyn Write,
    stop: impl FnMut() -> bool + Send + 'static,
    job: Job<'_>,
) -> Result<u64> {
    database.require_whole()?;
    let opened = database.open(stop)?;
    let written = match form {
        Form::Csv => sql::rows(&opened, what, job.cancel, &mut Csv::new(out)),
        Form::JsonLines => sql::rows(&opened, what, job.cancel, &mut JsonLines::new(out)),
        Form::Sql => {
            let parts = ScriptParts { schema: true, sequence: true };
            sql::script(&opened, what, parts, job.cancel, out)
        }
    };
    because(&opened, written)
}

/// Puts rows into another database, in one transaction: an error means that it is as it was, or was not made.
pub fn put_table(
    database: &Database<'_>,
    what: &Copy<'_>,
    into: Into<'_>,
    stop: impl FnMut() -> bool + Send + Clone + 'static,
    job: Job<'_>,
) -> Result<Copied> {
    database.require_whole()?;
    let opened = database.open(stop.clone())?;
    let path = match into {
        Into::File { path, keep_out } if is_free(path)? => {
            return put_into_new(&opened, what, (path, keep_out), stop, job);
        }
        Into::File { path, .. } => path,
        Into::Live(path) if is_free(path)? => return Err(not_live(path)),
        Into::Live(path) => path,
    };
    let mut to = sqlite::open(path)?;
    sql::stop_when(&mut to, stop)?;
    copy(&opened, &mut to, what, job)
}

fn copy(opened: &Opened<'_>, to: &mut Connection, what: &Copy<'_>, job: Job<'_>) -> Result<Copied> {
    sql::copy_table(opened, to, what, job.cancel).map_err(|e| match opened.failure() {
        Some(failure) => failure,
        // Of which of the two the engine speaks, it does not say.
        None if e.kind() == Kind::Damage => e.with_kind(Kind::Failed).fix(
            "check the database that the rows go into: PRAGMA integrity_check; if that is sound, the one in the snapshot \
             was damaged when it was saved, and an older one may be whole",
        ),
        None => e,
    })
}

fn put_into_new(
    opened: &Opened<'_>,
    what: &Copy<'_>,
    (path, keep_out): (&Path, Option<&Path>),
    stop: impl FnMut() -> bool + Send + 'static,
    job: Job<'_>,
) -> Result<Copied> {
    let draft = Draft::create(path, Existing::Refuse, keep_out)?;
    if let Some(left) = sqlite::stray(&draft.place()) {
        return Err(Error::new(Kind::Failed, format!("cannot make the database {}", text::path(path)))
            .why(format!("{} is there, without its database", text::path(&left)))
            .fix("move it away: it would be taken for a part of the new one"));
    }
    let mut to = sqlite::draft(&draft.path(), opened)?;
    sql::stop_when(&mut to, stop)?;
    let copied = copy(opened, &mut to, what, job)?;
    to.close().map_err(|(_, e)| {
        Error::new(Kind::Failed, format!("cannot write {}", text::path(path)))
            .why(text::one_line(e.to_string().as_bytes()))
    })?;
    draft.publish()?;
    Ok(copied)
}

/// Whether nothing has this name.
fn is_free(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(false),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(Error::io(format!("cannot look at {}", text::path(path)), &e)),
    }
}

fn not_live(path: &Path) -> Error {
    Error::new(Kind::Missing, format!("there is no database {}", text::path(path)))
        .why("rows go back into the database that they came from, and that is gone")
        .fix("restore all of it with --apply alone, or the rows into a new one with --to sqlite:FILE")
}
