//! A database in a snapshot, opened where it lies: only the blocks that a statement needs are read.

use crate::crypto::ChunkKind;
use crate::entry::Kind as EntryKind;
use crate::error::{Error, Kind, Result};
use crate::event::{Cancel, Job};
use crate::record::{Depth, Facts, SourceBody};
use crate::repo::{ChunkReader, EntryReader, FileReader};
use crate::source::sqlite;
use crate::tree::{Found, Large, TreeWalk};
use crate::vfs::{self, Image, Opened};
use crate::{sql, text};

impl Image for FileReader<'_> {
    fn bytes(&self) -> u64 {
        self.entry().size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        FileReader::read_at(self, offset, buffer).map_err(needed)
    }
}

/// What a snapshot needs and is not there is damage, and not something that somebody named wrongly.
fn needed(error: Error) -> Error {
    if error.kind() == Kind::Missing { error.with_kind(Kind::Damage) } else { error }
}

/// A database in a snapshot.
#[derive(Debug)]
pub struct Database<'r> {
    /// Where it lies below its source's root.
    pub path: Vec<u8>,
    /// What was seen when it was saved; `None` where it was saved as a plain file.
    pub facts: Option<Facts>,
    file: FileReader<'r>,
}

impl<'r> Database<'r> {
    /// The database that a path of a source means: a file, or a folder with one database below it.
    pub fn find(reader: &'r ChunkReader<'r>, source: &SourceBody, path: &[u8]) -> Result<Self> {
        let found = super::list::found_at(reader, source, path)?;
        let stored = super::list::light(&found)?;
        if stored.entry.kind != EntryKind::Directory {
            return Self::of(reader, &found);
        }
        let shown = |path: &[u8]| if path.is_empty() { text::escape(&source.name) } else { text::escape(path) };
        let mut below = below(reader, source, path)?;
        match below.len() {
            1 => Self::of(reader, &below.remove(0)),
            0 => Err(Error::new(Kind::Missing, format!("there is no database in {}", shown(path)))
                .fix("name the file itself, if it was saved as a plain file")),
            _ => {
                let names: Vec<_> = below.iter().map(|found| text::escape(&found.path)).collect();
                Err(Error::new(Kind::Usage, format!("there are several databases in {}", shown(path)))
                    .why(names.join(", "))
                    .fix("name one of them"))
            }
        }
    }

    /// The database that a file is.
    pub fn of(reader: &'r ChunkReader<'r>, found: &Found) -> Result<Self> {
        let stored = super::list::light(found)?;
        let facts = match stored.facts {
            Some(Large::Inline(bytes)) => Facts::parse(&bytes).ok(),
            Some(Large::Chunk(chunk)) => {
                reader.chunk(ChunkKind::Attr, &chunk.id).ok().and_then(|b| Facts::parse(&b).ok())
            }
            None => None,
        };
        Ok(Self { path: found.path.clone(), facts, file: stored_file(reader, found)? })
    }

    /// Opens it for statements that only read. It is not trusted: nothing is written, loaded or attached. `stop` is asked
    /// now and then while a statement runs.
    pub fn open(&self, stop: impl FnMut() -> bool + Send + 'static) -> Result<Opened<'_>> {
        if self.facts.is_none() && self.file.entry().size == 0 {
            let what = format!("{} is no SQLite database", text::escape(&self.path));
            return Err(Error::new(Kind::Usage, what).why("it is empty"));
        }
        let mut opened = open(&self.file, &self.path)?;
        opened.stop_when(stop)?;
        let limited = sql::limit(&opened, sql::Limits::default());
        because(&opened, limited)?;
        Ok(opened)
    }

    /// Its tables and views, with the rows that were counted when it was saved, or are counted now. What makes one of them
    /// unreadable is told beside it; what is wrong with the repository makes this fail.
    pub fn tables(&self, stop: impl FnMut() -> bool + Send + 'static, job: Job<'_>) -> Result<Vec<sql::Table>> {
        let opened = self.open(stop)?;
        let tables = sql::tables(&opened, self.facts.is_none());
        job.cancel.check()?;
        let mut tables = because(&opened, tables)?;
        if let Some(failure) = opened.failure() {
            return Err(failure);
        }
        for table in &mut tables {
            table.rows = table.rows.or_else(|| self.recorded(&table.name));
        }
        Ok(tables)
    }

    fn recorded(&self, table: &[u8]) -> Option<u64> {
        self.facts.as_ref()?.tables.iter().find(|facts| facts.name == table)?.rows
    }
}

/// The result of a statement. Where it failed because the repository could not be read, that is why; where the image
/// itself is broken, it was so when it was saved, and nothing is wrong with the repository.
pub fn because<T>(opened: &Opened<'_>, result: Result<T>) -> Result<T> {
    result.map_err(|e| match opened.failure() {
        Some(failure) => failure,
        None if e.kind() == Kind::Damage => e.with_kind(Kind::Failed).fix(
            "the database was saved as it is; `larder check` says whether the repository is sound, and an older snapshot \
             may have it whole",
        ),
        None => e,
    })
}

/// The databases below a folder, as far as they were saved as such.
fn below(reader: &ChunkReader<'_>, source: &SourceBody, folder: &[u8]) -> Result<Vec<Found>> {
    let mut out = Vec::new();
    for found in TreeWalk::below(reader, &source.root, folder) {
        let found = found.map_err(|e| super::restore::unreadable(&e))?;
        if super::list::light(&found)?.facts.is_some() {
            out.push(found);
        }
    }
    Ok(out)
}

/// The stored file behind an entry that was found.
fn stored_file<'r>(reader: &'r ChunkReader<'r>, found: &Found) -> Result<FileReader<'r>> {
    let entry = reader.entry(&found.record).map_err(needed)?;
    if entry.kind != EntryKind::File {
        let path = text::escape(&found.path);
        return Err(Error::new(Kind::Usage, format!("{path} is no database")).why("it is no file"));
    }
    Ok(FileReader::new(reader, entry))
}

/// Opens the database that a stored file is.
fn open<'i>(file: &'i FileReader<'_>, path: &[u8]) -> Result<Opened<'i>> {
    let mut first = [0; 16];
    let is_there = file.entry().size >= first.len() as u64;
    if is_there {
        Image::read_at(file, 0, &mut first)?;
    }
    if file.entry().size > 0 && &first != b"SQLite format 3\0" {
        return Err(Error::new(Kind::Usage, format!("{} is no SQLite database", text::escape(path)))
            .why("it does not begin like one; an encrypted one looks so, too")
            .fix("restore it as a file, and open it with the program that made it"));
    }
    vfs::open(file)
}

/// What the engine finds wrong with a stored image; nothing: it is sound.
pub fn check(reader: &ChunkReader<'_>, record: &[u8], depth: Depth, cancel: &Cancel) -> Result<Vec<Vec<u8>>> {
    let file = FileReader::new(reader, reader.entry(record)?);
    let mut opened = open(&file, b"the image")?;
    let asked = cancel.clone();
    opened.stop_when(move || asked.is_cancelled())?;
    sql::limit(&opened, sql::Limits::default())?;
    let depth = match depth {
        Depth::Quick => sqlite::Check::Quick,
        Depth::Full => sqlite::Check::Full,
    };
    let wrong = sqlite::check(&opened, depth);
    if let Some(failure) = opened.failure() {
        return Err(failure);
    }
    cancel.check()?;
    Ok(wrong?.into_iter().map(String::into_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Store;
    use super::*;
    use crate::event::Silent;
    use crate::id::ChunkId;
    use crate::record::Snapshot;
    use crate::tree::lookup;

    /// Rows of the large table: a database of 30 MB, or of 140 MB.
    fn rows() -> i64 {
        if std::env::var_os("LARDER_FULL").is_some() { 1_000_000 } else { 210_000 }
    }

    fn store_with_large_database() -> Store {
        let store = Store::new();
        let db = rusqlite::Connection::open(store.path("app/a.db")).unwrap();
        let rows = rows();
        db.execute_batch(&format!(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
             CREATE TABLE large(id INTEGER PRIMARY KEY, name TEXT, more TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO large SELECT i, hex(i * 7919 % 1000003), hex(randomblob(48)) FROM n;
             CREATE INDEX by_name ON large(name);
             CREATE TABLE small(a); INSERT INTO small VALUES(1), (2);"
        ))
        .unwrap();
        db.close().unwrap();
        store.backup();
        store
    }

    fn database<'r>(reader: &'r ChunkReader<'r>, snapshot: &Snapshot, path: &[u8]) -> Result<Database<'r>> {
        Database::find(reader, &snapshot.body.sources[0], path)
    }

    /// Opens it anew and writes an answer as CSV; how many blocks were fetched for all of that.
    fn asked(
        reader: &ChunkReader<'_>,
        snapshot: &Snapshot,
        ask: &dyn Fn(&Opened<'_>, &mut sql::Csv<&mut Vec<u8>>),
    ) -> (String, u64) {
        let database = database(reader, snapshot, b"app/a.db").unwrap();
        let mut csv = Vec::new();
        ask(&database.open(|| false).unwrap(), &mut sql::Csv::new(&mut csv));
        (String::from_utf8(csv).unwrap(), database.file.chunks_read())
    }

    #[test]
    fn a_small_table_and_a_look_up_cost_a_few_blocks_of_a_large_database() {
        store_with_large_database().with_reader(check_reads).unwrap();
    }

    fn check_reads(reader: &ChunkReader<'_>, snapshot: &Snapshot) -> Result<()> {
        let bytes = database(reader, snapshot, b"app").unwrap().file.entry().size;
        assert!(bytes > 140 * rows() as u64, "{bytes}");
        let cancel = Cancel::new();
        let table = sql::Selection { table: "small", where_clause: None };
        let (csv, table_blocks) = asked(reader, snapshot, &|opened, csv| {
            sql::rows(opened, table, &cancel, csv).unwrap();
        });
        assert!(csv == "a\r\n1\r\n2\r\n" && table_blocks <= 4, "{csv} {table_blocks} blocks");
        let by_query = |question: &str| {
            asked(reader, snapshot, &|opened, csv| {
                sql::query(opened, question, &cancel, csv).unwrap();
            })
        };
        let (csv, row_blocks) = by_query("SELECT id FROM large WHERE name = hex(12345 * 7919 % 1000003)");
        assert!(csv == "id\r\n12345\r\n" && row_blocks <= 20, "{csv} {row_blocks} blocks");
        let (csv, all_blocks) = by_query("SELECT count(*) FROM large WHERE more > ''");
        assert!(csv.contains(&rows().to_string()) && all_blocks > bytes / 3 / 65536, "{csv} {all_blocks} blocks");
        let database = database(reader, snapshot, b"app/a.db").unwrap();
        let tables = database.tables(|| false, Job { progress: &Silent, cancel: &cancel }).unwrap();
        assert_eq!(tables.iter().map(|table| table.rows.unwrap()).collect::<Vec<_>>(), [rows() as u64, 2]);
        let list_blocks = database.file.chunks_read();
        assert!(list_blocks <= 4, "{list_blocks} blocks");
        let megabytes = bytes / 1_000_000;
        println!(
            "figure: blocks of 64 KiB read of a database of {megabytes} MB for a table of two rows = {table_blocks}"
        );
        println!("figure: blocks of 64 KiB read of a database of {megabytes} MB for a look-up by index = {row_blocks}");
        Ok(())
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let store = Store::new();
        store.file("app/text", b"no database, and more than a few bytes");
        store.file("app/short", b"no");
        store.file("app/empty", b"");
        store.file("other/text", b"no database");
        store.backup();
        store
            .with_reader(|reader, snapshot| {
                let refused = |path: &[u8]| {
                    let database = database(reader, snapshot, path);
                    database.and_then(|database| database.open(|| false).map(drop)).unwrap_err().kind()
                };
                for path in [&b"app/text"[..], b"app/short", b"app/empty"] {
                    assert_eq!(refused(path), Kind::Usage, "{path:?}");
                }
                for path in [&b""[..], b"other", b"nowhere"] {
                    assert_eq!(refused(path), Kind::Missing, "{path:?}");
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_lost_block_is_an_error_that_says_so_and_no_wrong_row() {
        let store = Store::new();
        let db = rusqlite::Connection::open(store.path("a.db")).unwrap();
        db.execute_batch(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000)
             INSERT INTO t SELECT i, hex(randomblob(40)) FROM n;",
        )
        .unwrap();
        db.close().unwrap();
        store.backup();
        store.with_reader(check_loss).unwrap();
    }

    fn check_loss(reader: &ChunkReader<'_>, snapshot: &Snapshot) -> Result<()> {
        let found = lookup(reader, &snapshot.body.sources[0].root, b"a.db").unwrap().unwrap();
        let mut entry = reader.entry(&found.record)?;
        assert!(entry.content.level == 0 && entry.content.chunks.len() > 10, "{}", entry.size);
        entry.content.chunks[9].id = ChunkId::ZERO;
        let file = FileReader::new(reader, entry);
        let opened = open(&file, b"a.db").unwrap();
        let sum = |sql: &str| opened.query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(sum("SELECT id FROM t WHERE id = 1").unwrap(), 1);
        assert!(sum("SELECT sum(length(text)) FROM t").is_err());
        let error = opened.failure().unwrap();
        assert_eq!(error.kind(), Kind::Damage);
        assert!(error.what().contains("is missing"), "{error}");
        let (cancelled, never) = (Cancel::new(), Cancel::new());
        cancelled.cancel();
        assert_eq!(check(reader, &found.record, Depth::Full, &never)?, Vec::<Vec<u8>>::new());
        let stopped = check(reader, &found.record, Depth::Full, &cancelled).unwrap_err();
        assert_eq!(stopped.kind(), Kind::Interrupted);
        Ok(())
    }
}
