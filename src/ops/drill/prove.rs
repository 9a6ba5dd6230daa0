//! Proof that a database which was restored is what was saved.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::OpenFlags;

use crate::crypto::ObjectHasher;
use crate::error::{Error, Kind, Result};
use crate::event::Cancel;
use crate::record::Facts;
use crate::source::sqlite;
use crate::sql::{self, Connection, Expected, Proof, RecordedTable};
use crate::target::Scratch;
use crate::text;
use crate::vfs::{self, Image};

/// Whether somebody wants it to stop; asked by the engine while a statement runs.
pub type Stop = Box<dyn FnMut() -> bool + Send>;

/// What has to hold for a database that was restored.
pub struct Wanted<'a> {
    /// What was seen when it was saved; `None`: it was saved as a plain file.
    pub facts: Option<&'a Facts>,
    /// The user's own, see [`Expected::checks`].
    pub checks: &'a [&'a str],
    /// Ends a statement.
    pub stop: &'a dyn Fn() -> Stop,
    /// The same, between statements.
    pub cancel: &'a Cancel,
}

/// What a proof is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// It was damaged when it was saved.
    Saved,
    /// It cannot be looked at.
    Opening,
    /// Its schema is another one.
    Schema,
    /// What the engine says, or the user's own checks.
    Content(Proof),
}

impl About {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Saved => "saved",
            Self::Opening => "opening",
            Self::Schema => "schema",
            Self::Content(Proof::Integrity) => "integrity",
            Self::Content(Proof::References) => "references",
            Self::Content(Proof::Rows) => "rows",
            Self::Content(Proof::Check) => "check",
        }
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What about.
    pub about: About,
    /// What was found, safe to print.
    pub said: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Its tables with their rows; without those of the engine, and without those behind virtual ones.
    pub tables: Vec<RecordedTable>,
    /// What is not as it must be.
    pub findings: Vec<Finding>,
}

impl Outcome {
    fn add(&mut self, about: About, said: impl Into<String>) {
        self.findings.push(Finding { about, said: said.into() });
    }
}

struct Restored {
    file: File,
    bytes: u64,
}

impl Image for Restored {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let unread = |e: std::io::Error| Error::io("cannot read the restored database", &e).with_kind(Kind::Failed);
        self.file.read_exact_at(buffer, offset).map_err(unread)
    }
}

/// Whether a restored file begins like a database.
pub fn is_database(scratch: &Scratch, below: &Path) -> bool {
    let mut first = [0; 16];
    let read = scratch.open(below).and_then(|file| file.read_exact_at(&mut first, 0));
    read.is_ok() && &first == b"SQLite format 3\0"
}

/// Looks at everything in a database that was restored. An error is only what is no fault of the database.
pub fn prove(scratch: &Scratch, below: &Path, wanted: &Wanted<'_>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let file = scratch.open(below).and_then(|file| file.metadata().map(|stat| (file, stat.len())));
    let restored = match file {
        Ok((file, bytes)) => Restored { file, bytes },
        Err(e) => {
            outcome.add(About::Opening, format!("the restored file cannot be opened: {e}"));
            return Ok(outcome);
        }
    };
    if wanted.facts.is_none() {
        if beside(scratch, below, "-journal") > 0 {
            let why = "it was saved as a plain file in the middle of a change, which its journal would undo";
            outcome.add(About::Opening, format!("it is not proven: {why}"));
            return Ok(outcome);
        }
        if beside(scratch, below, "-wal") > 0 {
            return prove_with_log(scratch, below, wanted, outcome);
        }
    }
    let mut opened = vfs::open(&restored)?;
    opened.stop_when((wanted.stop)())?;
    sql::limit(&opened, sql::Limits::default())?;
    let result = look(&opened, wanted, &mut outcome);
    // That the scratch folder cannot be read proves nothing about the snapshot.
    opened.failure().map_or(result.map(|()| outcome), Err)
}

/// Bytes of the file beside it of this ending.
fn beside(scratch: &Scratch, below: &Path, ending: &str) -> u64 {
    let mut name = below.as_os_str().to_owned();
    name.push(ending);
    scratch.open(Path::new(&name)).and_then(|file| file.metadata()).map_or(0, |stat| stat.len())
}

/// A plain file whose last changes are in its log is opened as any program would, which brings them in.
fn prove_with_log(scratch: &Scratch, below: &Path, wanted: &Wanted<'_>, mut outcome: Outcome) -> Result<Outcome> {
    let mut index = scratch.path().join(below).into_os_string();
    index.push("-shm");
    // It belongs to processes that ran then.
    let _ = std::fs::remove_file(index);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = scratch.path().join(below);
    let opened = Connection::open_with_flags(path, flags);
    let mut connection = match opened {
        Ok(connection) => connection,
        Err(e) => {
            outcome.add(About::Opening, format!("it cannot be opened: {}", text::escape(e.to_string().as_bytes())));
            return Ok(outcome);
        }
    };
    sql::harden(&mut connection, sql::Limits::default(), (wanted.stop)())?;
    look(&connection, wanted, &mut outcome)?;
    Ok(outcome)
}

fn look(conn: &Connection, wanted: &Wanted<'_>, outcome: &mut Outcome) -> Result<()> {
    let recorded: Option<Vec<RecordedTable>> = wanted.facts.map(recorded);
    let expected = Expected {
        tables: recorded.as_deref(),
        tables_more: wanted.facts.map_or(0, |facts| facts.tables_total.saturating_sub(facts.tables.len() as u64)),
        checks: wanted.checks,
    };
    for finding in sql::verify(conn, expected, wanted.cancel)? {
        outcome.add(About::Content(finding.proof), finding.said);
    }
    if let Some(facts) = wanted.facts
        && is_other_schema(conn, facts)
    {
        outcome.add(About::Schema, "its schema is not the one that was saved");
    }
    let is_own = |kind: &sql::TableKind| matches!(kind, sql::TableKind::Table | sql::TableKind::Virtual { .. });
    // A schema that cannot be read has been told already. What was counted is what was compared.
    let mut tables = sql::tables(conn, wanted.facts.is_none()).unwrap_or_default();
    tables.retain(|table| is_own(&table.kind));
    let rows = |table: &sql::Table| match &recorded {
        Some(recorded) => recorded.iter().find(|known| known.name == table.name).and_then(|known| known.rows),
        None => table.rows,
    };
    outcome.tables = tables.iter().map(|table| RecordedTable { name: table.name.clone(), rows: rows(table) }).collect();
    wanted.cancel.check()
}

/// Without the tables that the engine keeps for itself, of which lists of tables say nothing either.
fn recorded(facts: &Facts) -> Vec<RecordedTable> {
    let is_own = |name: &[u8]| name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"sqlite_"));
    let tables = facts.tables.iter().filter(|table| !is_own(&table.name));
    tables.map(|table| RecordedTable { name: table.name.clone(), rows: table.rows }).collect()
}

/// A schema that was too long, or could not be read, was recorded like an empty one, and is not compared.
fn is_other_schema(conn: &Connection, facts: &Facts) -> bool {
    let digest = |schema: &[u8]| {
        let mut hasher = ObjectHasher::default();
        hasher.update(schema);
        *hasher.finish().as_bytes()
    };
    let is_known = facts.schema != digest(b"") && facts.schema != [0; 32];
    is_known && sqlite::schema(conn).is_none_or(|schema| digest(&schema) != facts.schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TableFacts;

    const MADE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a); INSERT INTO t(a) VALUES (1), (2), (3);
        CREATE INDEX i ON t(a); CREATE VIRTUAL TABLE f USING fts5(b);";

    /// What is found in a database that was restored, and then changed by somebody.
    fn found(change: &str, edit: impl FnOnce(&mut Facts)) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(folder.path(), "s").unwrap();
        let conn = Connection::open(scratch.path().join("a.db")).unwrap();
        conn.execute_batch(MADE).unwrap();
        let mut hasher = ObjectHasher::default();
        hasher.update(&sqlite::schema(&conn).unwrap());
        let names = ["f", "f_config", "f_content", "f_data", "f_docsize", "f_idx", "sqlite_sequence", "t"];
        let rows = |name: &str| conn.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get::<_, u32>(0));
        let table = |name: &str| TableFacts { name: name.into(), rows: Some(rows(name).unwrap().into()) };
        let tables = names.map(table).to_vec();
        let mut facts = Facts { schema: *hasher.finish().as_bytes(), tables, tables_total: 8, ..Facts::default() };
        edit(&mut facts);
        conn.execute_batch(change).unwrap();
        conn.close().unwrap();
        let cancel = Cancel::new();
        let stop = || -> Stop { Box::new(|| false) };
        let wanted = Wanted { facts: Some(&facts), checks: &["SELECT count(*) FROM t"], stop: &stop, cancel: &cancel };
        assert!(is_database(&scratch, Path::new("a.db")));
        let outcome = prove(&scratch, Path::new("a.db"), &wanted).unwrap();
        assert_eq!(outcome.tables.len(), 2);
        outcome.findings.iter().map(|finding| format!("{}: {}", finding.about.name(), finding.said)).collect()
    }

    #[test]
    fn what_is_not_as_it_was_saved_is_found() {
        assert_eq!(found("", |_| ()), Vec::<String>::new());
        assert_eq!(found("DELETE FROM t WHERE id = 2", |_| ()), ["rows: t has 2 rows, not 3"]);
        assert_eq!(found("DROP INDEX i", |_| ()), ["schema: its schema is not the one that was saved"]);
        let all = found("DELETE FROM t", |_| ());
        assert_eq!(
            all,
            ["rows: t has 0 rows, not 3", "check: SELECT count(*) FROM t: the answer is 0, which is not true"]
        );
        let lost = ["rows: the table gone is missing"];
        assert_eq!(found("", |facts| facts.tables.push(TableFacts { name: b"gone".into(), rows: None })), lost);
    }

    #[test]
    fn what_was_not_known_when_it_was_saved_is_not_compared() {
        let mut empty = [0; 32];
        empty.copy_from_slice(blake3::hash(b"").as_bytes());
        assert_eq!(found("DROP INDEX i", |facts| facts.schema = empty), Vec::<String>::new());
        let uncounted = |facts: &mut Facts| facts.tables.iter_mut().for_each(|table| table.rows = None);
        assert_eq!(found("DELETE FROM t WHERE id = 2", uncounted), Vec::<String>::new());
    }
}
