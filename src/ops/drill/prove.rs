//! Proof that a database which was restored is what was saved.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::OpenFlags;

use crate::error::{Error, Kind, Result};
use crate::event::Cancel;
use crate::ops::database::{About, Finding, compare, recorded};
use crate::record::Facts;
use crate::sql::{self, Connection, RecordedTable, Unasked};
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

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Its tables with their rows; without those of the engine, and without those behind virtual ones.
    pub tables: Vec<RecordedTable>,
    /// What is not as it must be.
    pub findings: Vec<Finding>,
    /// What its engine could not be asked, for want of what belongs to an application.
    pub unasked: Vec<Unasked>,
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
        let beside =
            |ending| beside(scratch, below, ending).map_err(|e| Error::io("cannot look at a restored log", &e));
        if beside("-journal")? > 0 {
            let why = "it was saved as a plain file in the middle of a change, which its journal would undo";
            outcome.add(About::Opening, format!("it is not proven: {why}"));
            return Ok(outcome);
        }
        if beside("-wal")? > 0 {
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
fn beside(scratch: &Scratch, below: &Path, ending: &str) -> io::Result<u64> {
    let mut name = below.as_os_str().to_owned();
    name.push(ending);
    match scratch.open(Path::new(&name)).and_then(|file| file.metadata()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        other => other.map(|stat| stat.len()),
    }
}

/// A plain file whose last changes are in its log is opened as any program would, which brings them in.
fn prove_with_log(scratch: &Scratch, below: &Path, wanted: &Wanted<'_>, mut outcome: Outcome) -> Result<Outcome> {
    let mut index = scratch.path().join(below).into_os_string();
    index.push("-shm");
    // It belongs to processes that ran then.
    match std::fs::remove_file(index) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("cannot remove a restored index", &e)),
        _ => {}
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = scratch.path().join(below);
    let opened = Connection::open_with_flags(path, flags);
    let mut connection = match opened {
        Ok(connection) => connection,
        Err(e) => {
            outcome.add(About::Opening, format!("it cannot be opened: {}", text::one_line(e.to_string().as_bytes())));
            return Ok(outcome);
        }
    };
    sql::harden(&mut connection, sql::Limits::default(), (wanted.stop)())?;
    look(&connection, wanted, &mut outcome)?;
    Ok(outcome)
}

fn look(conn: &Connection, wanted: &Wanted<'_>, outcome: &mut Outcome) -> Result<()> {
    let compared = compare(conn, wanted.facts, wanted.checks, wanted.cancel)?;
    outcome.findings.extend(compared.findings);
    outcome.unasked = compared.unasked;
    let recorded: Option<HashMap<_, _>> =
        wanted.facts.map(|facts| recorded(facts).into_iter().map(|table| (table.name, table.rows)).collect());
    let is_own = |kind: &sql::TableKind| matches!(kind, sql::TableKind::Table | sql::TableKind::Virtual { .. });
    // A schema that cannot be read has been told already. What was counted is what was compared.
    let mut tables = sql::tables(conn, wanted.facts.is_none()).unwrap_or_default();
    tables.retain(|table| is_own(&table.kind));
    let rows = |table: &sql::Table| match &recorded {
        Some(recorded) => recorded.get(&table.name).copied().flatten(),
        None => table.rows,
    };
    outcome.tables = tables.iter().map(|table| RecordedTable { name: table.name.clone(), rows: rows(table) }).collect();
    wanted.cancel.check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::ObjectHasher;
    use crate::record::TableFacts;
    use crate::source::sqlite;

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

    /// What is found, and what could not be asked, in a database of an application that has a collation of its own. Its tables
    /// begin on the pages 2 and 3, and some pages are free.
    fn of_an_application(change: impl FnOnce(&mut Vec<u8>)) -> (Vec<String>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(folder.path(), "s").unwrap();
        let path = scratch.path().join("a.db");
        let conn = Connection::open(&path).unwrap();
        conn.create_collation("unicase", |a, b| a.to_lowercase().cmp(&b.to_lowercase())).unwrap();
        let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)";
        conn.execute_batch(&format!(
            "CREATE TABLE plain(a); CREATE TABLE decks(name TEXT COLLATE unicase PRIMARY KEY) WITHOUT ROWID;
             CREATE TABLE gone(a); {many} INSERT INTO plain SELECT printf('%080d', i) FROM n;
             {many} INSERT INTO decks SELECT printf('a%080d', i) FROM n;
             INSERT INTO gone VALUES (zeroblob(20000)); DROP TABLE gone"
        ))
        .unwrap();
        let cancel = Cancel::new();
        conn.close().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let stop = || -> Stop { Box::new(|| false) };
        let tables = [("decks", 60), ("plain", 60)];
        let tables = tables.map(|(name, rows)| TableFacts { name: name.into(), rows: Some(rows) }).to_vec();
        let facts = Facts { tables, tables_total: 2, ..Facts::default() };
        let wanted = Wanted { facts: Some(&facts), checks: &[], stop: &stop, cancel: &cancel };
        let outcome = prove(&scratch, Path::new("a.db"), &wanted).unwrap();
        let findings = outcome.findings.iter().map(|finding| format!("{}: {}", finding.about.name(), finding.said));
        (findings.collect(), outcome.unasked.len())
    }

    /// Takes the last cell away from a page of an index, without a trace.
    fn drop_cell(page: &mut [u8], cell: u16) {
        let at = usize::from(cell);
        let bytes = 1 + u16::from(page[at]);
        page[4] -= 1;
        page[at..at + 2].fill(0);
        page[at + 2..at + 4].copy_from_slice(&bytes.to_be_bytes());
        page[1..3].copy_from_slice(&cell.to_be_bytes());
    }

    #[test]
    fn damage_is_found_beside_and_in_what_the_engine_cannot_be_asked() {
        assert_eq!(of_an_application(|_| ()), (Vec::new(), 1));
        let found = |change: &dyn Fn(&mut Vec<u8>)| of_an_application(change).0.join("\n");
        let cells = |page: usize, bytes: &mut Vec<u8>| bytes[(page - 1) * 4096 + 8..page * 4096].fill(0xff);
        let said = found(&|bytes| cells(2, bytes));
        assert!(said.contains("integrity: ") && said.contains("Tree 2 page 2"), "{said}");
        let said = found(&|bytes| cells(3, bytes));
        assert!(said.contains("integrity: page 3: "), "{said}");
        // The list of free pages is in no table, nor is a page that is never used.
        let said = found(&|bytes| bytes[39] -= 1);
        assert!(said.contains("integrity: the free list is not as long as the header says"), "{said}");
        let said = found(&|bytes| bytes[32..40].fill(0));
        assert!(said.starts_with("integrity: page ") && said.ends_with(" is never used"), "{said}");
        // A row less, of which nothing else tells.
        let said = found(&|bytes| {
            let root = 2 * 4096;
            let is_leaf = |at: &usize| bytes[*at] == 10;
            let leaf = (root..bytes.len()).step_by(4096).find(is_leaf).unwrap();
            let cells = u16::from_be_bytes([bytes[leaf + 3], bytes[leaf + 4]]);
            let last = leaf + 8 + 2 * (usize::from(cells) - 1);
            let cell = u16::from_be_bytes([bytes[last], bytes[last + 1]]);
            drop_cell(&mut bytes[leaf..leaf + 4096], cell);
        });
        assert_eq!(said, "rows: decks has 59 rows, not 60");
    }
}
