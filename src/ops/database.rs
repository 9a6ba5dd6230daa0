//! A database in a snapshot, opened where it lies: only the blocks that a statement needs are read.

use crate::error::{Error, Kind, Result};
use crate::record::Depth;
use crate::repo::{ChunkReader, EntryReader, FileReader};
use crate::source::sqlite;
use crate::text;
use crate::tree::Found;
use crate::vfs::{self, Image, Opened};

impl Image for FileReader<'_> {
    fn bytes(&self) -> u64 {
        self.entry().size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        FileReader::read_at(self, offset, buffer)
    }
}

/// The stored file behind an entry that was found.
pub fn stored<'r>(reader: &'r ChunkReader<'r>, found: &Found) -> Result<FileReader<'r>> {
    let entry = reader.entry(&found.record)?;
    if entry.kind != crate::entry::Kind::File {
        let path = text::escape(&found.path);
        return Err(Error::new(Kind::Usage, format!("{path} is no database")).why("it is no file"));
    }
    Ok(FileReader::new(reader, entry))
}

/// Opens the database that a stored file is.
pub fn open<'i>(file: &'i FileReader<'_>, path: &[u8]) -> Result<Opened<'i>> {
    let mut first = [0; 16];
    let is_there = file.entry().size >= first.len() as u64;
    if is_there {
        file.read_at(0, &mut first)?;
    }
    if file.entry().size > 0 && &first != b"SQLite format 3\0" {
        return Err(Error::new(Kind::Usage, format!("{} is no SQLite database", text::escape(path)))
            .why("it does not begin like one; an encrypted one looks so, too")
            .fix("restore it as a file, and open it with the program that made it"));
    }
    vfs::open(file)
}

/// What the engine finds wrong with a stored image; nothing: it is sound.
pub fn check(reader: &ChunkReader<'_>, record: &[u8], depth: Depth) -> Result<Vec<Vec<u8>>> {
    let file = FileReader::new(reader, reader.entry(record)?);
    let opened = open(&file, b"the image")?;
    let depth = match depth {
        Depth::Quick => sqlite::Check::Quick,
        Depth::Full => sqlite::Check::Full,
    };
    let wrong = sqlite::check(&opened, depth);
    if let Some(failure) = opened.failure() {
        return Err(failure);
    }
    Ok(wrong?.into_iter().map(String::into_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Store;
    use super::*;
    use crate::id::ChunkId;
    use crate::record::Snapshot;
    use crate::tree::lookup;

    #[test]
    fn a_database_is_read_in_place_block_by_block() {
        let store = Store::new();
        let path = store.path("app/a.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(
            "CREATE TABLE small(a); INSERT INTO small VALUES(1), (2);
             CREATE TABLE large(id INTEGER PRIMARY KEY, name TEXT, more TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
             INSERT INTO large SELECT i, hex(i * 7919 % 1000003), hex(randomblob(40)) FROM n;
             CREATE INDEX by_name ON large(name);",
        )
        .unwrap();
        db.close().unwrap();
        store.file("app/text", b"no database");
        store.backup();
        store.with_reader(check_reads).unwrap();
    }

    fn check_reads(reader: &ChunkReader<'_>, snapshot: &Snapshot) -> Result<()> {
        let root = &snapshot.body.sources[0].root;
        let found = lookup(reader, root, b"app/a.db").unwrap().unwrap();
        let blocks = |sql: &str| {
            let file = stored(reader, &found).unwrap();
            let opened = open(&file, b"app/a.db").unwrap();
            let rows: i64 = opened.query_row(sql, [], |row| row.get(0)).unwrap();
            (rows, file.chunks_read())
        };
        let (rows, read) = blocks("SELECT count(*) FROM small");
        assert!(rows == 2 && read <= 4, "{read} blocks");
        let (rows, read) = blocks("SELECT id FROM large WHERE name = hex(12345 * 7919 % 1000003)");
        assert!(rows == 12345 && read <= 20, "{read} blocks");
        let (rows, read) = blocks("SELECT count(*) FROM large WHERE more > ''");
        assert!(rows == 200_000 && read > 200, "{read} blocks");

        let found = lookup(reader, root, b"app/text").unwrap().unwrap();
        let file = stored(reader, &found).unwrap();
        assert_eq!(open(&file, b"app/text").unwrap_err().kind(), Kind::Usage);
        let found = lookup(reader, root, b"app").unwrap().unwrap();
        assert_eq!(stored(reader, &found).unwrap_err().kind(), Kind::Usage);
        Ok(())
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
        Ok(())
    }
}
