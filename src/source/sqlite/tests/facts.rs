//! What is told about a database, and whether it is whole.

use super::*;

fn names(facts: &Facts) -> Vec<(String, u64)> {
    facts.tables.iter().map(|table| (String::from_utf8(table.name.clone()).unwrap(), table.rows)).collect()
}

#[test]
fn facts_are_those_of_the_image() {
    for (encoding, expected) in
        [("UTF-8", Encoding::Utf8), ("UTF-16le", Encoding::Utf16Le), ("UTF-16be", Encoding::Utf16Be)]
    {
        let bench = Bench::new();
        let path = bench.path("db");
        let connection = database(&path, &format!("PRAGMA encoding = '{encoding}'; PRAGMA journal_mode = WAL;"));
        let (image, facts) = bench.read(&path, Way::Live);
        assert_eq!((facts.encoding, facts.encoding.name()), (expected, encoding));
        assert_eq!((facts.user_version, facts.application_id), (-7, 1_818_326_642));
        let names = names(&facts);
        let expected = [("boxes", 300), ("odd \"table\" é", 300), ("person", 200), ("words", 300)];
        for (name, rows) in expected {
            assert!(names.contains(&(name.to_owned(), rows)), "{name}: {names:?}");
        }
        assert!(names.is_sorted() && facts.uncounted.is_empty() && facts.tables_more == 0);
        let schema = String::from_utf8(facts.schema.clone().unwrap()).unwrap();
        assert!(schema.contains("index\0person_name\0person\0CREATE INDEX person_name ON person (name COLLATE"));
        let header = sniff(&image).unwrap();
        assert_eq!((header.page_bytes, header.is_wal), (facts.page_bytes, true));

        // The same is told of what comes back, and the schema does not depend on where things lie.
        let restored = bench.path("restored");
        fs::write(&restored, &image).unwrap();
        assert_eq!(bench.read(&restored, Way::Immutable).1, facts);
        connection.execute_batch("VACUUM").unwrap();
        assert_eq!(bench.read(&path, Way::Live).1.schema, facts.schema);
        connection.execute_batch("CREATE INDEX another ON person (photo)").unwrap();
        assert_ne!(bench.read(&path, Way::Live).1.schema, facts.schema);
    }
}

#[test]
fn what_cannot_be_counted_is_said() {
    let bench = Bench::new();
    let path = bench.path("db");
    let connection = database(&path, "");
    let strange = "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema
        VALUES ('table', 'map', 'map', 0, 'CREATE VIRTUAL TABLE map USING geo(x)');";
    connection.execute_batch(strange).unwrap();
    let long = "n".repeat(TABLE_NAME_BYTES_MAX + 1);
    connection.execute_batch(&format!("CREATE TABLE {long} (x)")).unwrap();
    let (_, facts) = bench.read(&path, Way::Live);
    assert_eq!(facts.uncounted.len(), 1);
    assert_eq!(facts.uncounted[0].name, b"map");
    assert!(facts.uncounted[0].why.contains("no such module: geo"), "{}", facts.uncounted[0].why);
    assert_eq!(facts.tables_more, 1);
    assert!(names(&facts).contains(&("person".to_owned(), 200)));
}

#[test]
fn more_tables_than_the_bound_are_a_number() {
    let bench = Bench::new();
    let path = bench.path("db");
    let connection = Connection::open(&path).unwrap();
    let mut sql = String::from("PRAGMA page_size = 512; PRAGMA synchronous = OFF; BEGIN;");
    for n in 0..TABLES_MAX + 3 {
        sql += &format!("CREATE TABLE t{n} (x);");
    }
    connection.execute_batch(&(sql + "COMMIT;")).unwrap();
    let (_, facts) = bench.read(&path, Way::Live);
    assert_eq!((facts.tables.len(), facts.tables_more), (TABLES_MAX, 3));
}

#[test]
fn a_check_finds_what_is_wrong() {
    let bench = Bench::new();
    let path = bench.path("db");
    let connection = database(&path, "");
    assert!(is_whole(&connection));
    assert_eq!(check(&connection, Check::Quick).unwrap(), Vec::<String>::new());
    drop(connection);

    // An index that says something else than its table: only the full check compares them.
    let path = bench.path("small");
    let sql = "CREATE TABLE t (a); INSERT INTO t VALUES ('needle'); CREATE INDEX i ON t (a)";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(6).rposition(|part| part == b"needle").unwrap();
    assert!(at > 2 * 4096);
    bytes[at..at + 6].copy_from_slice(b"noodle");
    let image = bench.restored(&bytes);
    assert!(check(&image, Check::Quick).unwrap().is_empty());
    let faults = check(&image, Check::Full).unwrap();
    assert!(faults.iter().any(|fault| fault.contains("missing from index i")), "{faults:?}");

    // What it says of pages comes in lines.
    let path = bench.path("pages");
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)";
    let sql = format!("CREATE TABLE t (a); {rows} INSERT INTO t SELECT hex(randomblob(400)) FROM n");
    Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[3 * 4096..3 * 4096 + 8].fill(0xff);
    let faults = check(&bench.restored(&bytes), Check::Quick).unwrap();
    let fault = faults.iter().find(|fault| fault.contains('\n')).unwrap_or_else(|| panic!("{faults:?}"));
    let line = crate::text::one_line(fault.as_bytes());
    assert!(line.starts_with("*** in database main ***; Tree ") && !line.contains("\\x0a"), "{line}");

    let path = bench.path("small");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100..4096].fill(0xff);
    let faults = check(&bench.restored(&bytes), Check::Quick).unwrap();
    assert!(faults.len() == 1 && faults[0].contains("malformed"), "{faults:?}");
    let faults = check(&bench.restored(&[1; 4096]), Check::Quick).unwrap();
    assert!(faults.len() == 1 && faults[0].contains("not a database"), "{faults:?}");
}
