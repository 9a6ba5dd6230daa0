//! A database in a snapshot costs the blocks that are needed, and what is none is refused.

use super::*;
use crate::event::{Cancel, Silent};
use crate::id::ChunkId;
use crate::ops::testing::Store;
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
    println!("figure: blocks of 64 KiB read of a database of {megabytes} MB for a table of two rows = {table_blocks}");
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
    assert_eq!(check(reader, &found.record, Depth::Full, &never)?, Checked::default());
    let stopped = check(reader, &found.record, Depth::Full, &cancelled).unwrap_err();
    assert_eq!(stopped.kind(), Kind::Interrupted);
    Ok(())
}
