//! A scan says what the engine says.

use super::*;

struct Chance(u64);

impl Chance {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

/// A database whose pages are of all kinds: rows that overflow, free pages, a tree of three levels.
fn varied(bench: &Bench, pragmas: &str) -> Vec<u8> {
    let path = bench.path("db");
    let connection = database(&path, &format!("{pragmas} PRAGMA synchronous = OFF;"));
    let sql = "CREATE TABLE many(id INTEGER PRIMARY KEY, a NOT NULL, b);
         CREATE TABLE keyed(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
         WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
           INSERT INTO many SELECT i * 7, hex(randomblob(20)), CASE WHEN i % 50 = 0 THEN zeroblob(9000) END FROM n;
         INSERT INTO keyed SELECT a || CASE WHEN id % 11 = 0 THEN hex(zeroblob(800)) ELSE '' END, id FROM many;
         CREATE INDEX by_a ON many(a, b);
         DELETE FROM many WHERE id % 3 = 1 OR id BETWEEN 9000 AND 12000;";
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let image = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    image
}

/// Damages it as disks and programs do.
fn damage(image: &mut [u8], page_bytes: usize, chance: &mut Chance) -> String {
    let pages = image.len() / page_bytes;
    let page = (1 + chance.below(pages - 1)) * page_bytes;
    let other = (1 + chance.below(pages - 1)) * page_bytes;
    let sector = page + chance.below(page_bytes / 512) * 512;
    match chance.below(6) {
        0 => {
            image[page..page + page_bytes].fill(0);
            format!("page {} of zeros", page / page_bytes + 1)
        }
        1 => {
            image[sector..sector + 512].fill_with(|| chance.below(256) as u8);
            format!("sector {sector}")
        }
        2 => {
            image.copy_within(other..other + page_bytes, page);
            format!("page {} as {}", other / page_bytes + 1, page / page_bytes + 1)
        }
        3 => {
            for at in 0..page_bytes {
                image.swap(page + at, other + at);
            }
            format!("pages {} and {}", page / page_bytes + 1, other / page_bytes + 1)
        }
        4 => {
            let at = page + chance.below(12);
            image[at] ^= 1 << chance.below(8);
            format!("a bit of the head of page {}", page / page_bytes + 1)
        }
        _ => {
            let at = chance.below(image.len());
            image[at] ^= 1 << chance.below(8);
            format!("a bit of page {}", at / page_bytes + 1)
        }
    }
}

#[test]
fn what_is_damaged_is_told_as_the_engine_tells_it() {
    let bench = Bench::new();
    let path = bench.path("damaged");
    let mut chance = Chance(5);
    let (mut told, mut missed) = (0, 0);
    for (page_bytes, vacuum) in [(512, 0), (512, 1), (1024, 2), (4096, 0), (4096, 1), (65536, 1)] {
        let good = varied(&bench, &format!("PRAGMA page_size = {page_bytes}; PRAGMA auto_vacuum = {vacuum};"));
        for _ in 0..100 {
            let mut bad = good.clone();
            let how = damage(&mut bad, page_bytes, &mut chance);
            fs::write(&path, &bad).unwrap();
            let Ok(reading) = bench.open(&path) else { continue };
            let scanned = scanned(&reading, &bad);
            drop(reading);
            let Ok(said) = check(&bench.restored(&bad), Check::Quick) else { continue };
            match (&scanned, said.is_empty()) {
                // The engine does not mind a leaf of an index among those of a table, if its keys pass for row ids.
                (Some(why), true) if why.contains(" is used as ") => told += 1,
                // It does not read all of a record.
                (Some(why), true) if why.contains("a record") => told += 1,
                (Some(why), true) => panic!("pages of {page_bytes}, vacuum {vacuum}, {how}: {why}"),
                (Some(_), false) => told += 1,
                // Index pages that took each other's place, or pages of overflow, in a tree that is well formed all the same.
                (None, false) => missed += 1,
                (None, true) => {}
            }
        }
    }
    assert!(told > 200 && missed * 10 < told, "{told} told, {missed} missed");
}

/// Where the record headers of all cells lie.
fn record_headers(image: &[u8], page_bytes: usize) -> Vec<std::ops::Range<usize>> {
    let mut headers = Vec::new();
    for (n, page) in image.chunks(page_bytes).enumerate() {
        let at = if n == 0 { HEADER_BYTES } else { 0 };
        let (pointers, before) = match page[at] {
            2 => (at + 12, 4),
            10 | 13 => (at + 8, 0),
            _ => continue,
        };
        let number = |at: usize| usize::from(page[at]) << 8 | usize::from(page[at + 1]);
        for cell in 0..number(at + 3) {
            let mut start = number(pointers + 2 * cell) + before;
            for _ in 0..if page[at] == 13 { 2 } else { 1 } {
                start += page::varint(&page[start..]).unwrap().1;
            }
            let len = page::varint(&page[start..]).unwrap().0 as usize;
            headers.push(n * page_bytes + start..n * page_bytes + (start + len).min(page_bytes));
        }
    }
    headers
}

/// Of what the engine finds all is found but values that are against the schema, and order in an index; and more, since the
/// engine reads a row only as far as its table has columns, and goes by the header.
#[test]
fn damaged_headers_of_records_are_told_also_where_the_engine_reads_on() {
    let bench = Bench::new();
    let path = bench.path("damaged");
    let mut chance = Chance(5);
    let (mut told, mut told_first, mut told_alone, mut missed) = (0, 0, 0, 0);
    for (page_bytes, vacuum) in [(512, 0), (512, 1), (1024, 2), (4096, 0), (4096, 1), (65536, 1)] {
        // Nothing is left of records in pages that are free.
        let pragmas =
            format!("PRAGMA page_size = {page_bytes}; PRAGMA auto_vacuum = {vacuum}; PRAGMA secure_delete = 1;");
        let good = varied(&bench, &pragmas);
        let headers = record_headers(&good, page_bytes);
        for _ in 0..100 {
            let mut bad = good.clone();
            let header = headers[chance.below(headers.len())].clone();
            let at = header.start + chance.below(header.len());
            bad[at] = if chance.below(2) == 0 { bad[at] ^ 1 << chance.below(8) } else { chance.below(256) as u8 };
            fs::write(&path, &bad).unwrap();
            let Ok(reading) = bench.open(&path) else { continue };
            let is_told = scanned(&reading, &bad).is_some();
            drop(reading);
            assert!(!is_told || bad != good);
            let image = bench.restored(&bad);
            let [quick, full] = [Check::Quick, Check::Full].map(|depth| !check(&image, depth).unwrap().is_empty());
            told += usize::from(is_told && quick);
            told_first += usize::from(is_told && !quick && full);
            told_alone += usize::from(is_told && !full);
            missed += usize::from(!is_told && quick);
        }
    }
    assert!(told > 300 && told_first > 80 && told_alone > 0, "{told} told, {told_first} first, {told_alone} alone");
    assert!(missed * 50 < told, "{missed} missed, {told} told");
}

#[test]
fn records_of_all_forms_are_well() {
    let columns = |n: usize| (0..n).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
    let (many, most) = (columns(300), columns(1900));
    let sql = format!(
        "CREATE TABLE plain(a, b, c);
         WITH RECURSIVE n(i) AS (VALUES(0) UNION ALL SELECT i + 1 FROM n WHERE i < 62)
           INSERT INTO plain SELECT 1 << i, -(1 << i), CASE i % 3 WHEN 0 THEN i * 0.5 WHEN 1 THEN i / 2 = 1 END FROM n;
         WITH RECURSIVE n(i) AS (VALUES(0) UNION ALL SELECT i + 7 FROM n WHERE i < 9000)
           INSERT INTO plain SELECT hex(zeroblob(i)), zeroblob(i), randomblob(i) FROM n;
         CREATE INDEX by_all ON plain(b, c DESC, a COLLATE NOCASE) WHERE a IS NOT NULL;
         CREATE INDEX by_expression ON plain(length(a), abs(b));
         ALTER TABLE plain ADD COLUMN d DEFAULT 'more';
         ALTER TABLE plain ADD COLUMN e;
         INSERT INTO plain DEFAULT VALUES;
         ALTER TABLE plain DROP COLUMN e;
         CREATE TABLE only(id INTEGER PRIMARY KEY);
         INSERT INTO only VALUES (-1), (0), (9223372036854775807);
         CREATE TABLE many({many}); INSERT INTO many DEFAULT VALUES; INSERT INTO many(c299) VALUES (zeroblob(70000));
         CREATE TABLE most({most}, CHECK (c0 IS NULL)); INSERT INTO most DEFAULT VALUES;
         INSERT INTO most(c1, c1899) VALUES (zeroblob(3000), 'x');
         CREATE TABLE keyed({many}, PRIMARY KEY (c299, c7, c0)) WITHOUT ROWID;
         INSERT INTO keyed(c299, c7, c0) SELECT a, b, rowid FROM plain WHERE a IS NOT NULL AND b IS NOT NULL;
         CREATE TABLE strict(a ANY, b REAL, c ANY AS (a), d TEXT AS (b) STORED) STRICT;
         INSERT INTO strict VALUES (1, 2), (NULL, 2.5), ('x', 1e300);
         ANALYZE;",
    );
    for pragmas in
        ["PRAGMA page_size = 512", "PRAGMA page_size = 4096; PRAGMA encoding = 'UTF-16le'", "PRAGMA page_size = 65536"]
    {
        let bench = Bench::new();
        let path = bench.path("db");
        let connection = database(&path, pragmas);
        connection.execute_batch(&sql).unwrap();
        drop(connection);
        let reading = bench.open(&path).unwrap();
        assert_eq!(scanned(&reading, &whole(&reading)), None);
    }
}

/// Another key of the same length in its place adds up.
#[test]
fn a_key_that_is_there_twice_is_told() {
    let bench = Bench::new();
    let path = bench.path("db");
    let connection = Connection::open(&path).unwrap();
    let sql = "CREATE TABLE t(k PRIMARY KEY) WITHOUT ROWID;
        WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 300)
            INSERT INTO t SELECT printf('%08d', i) FROM n;";
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let mut image = fs::read(&path).unwrap();
    let leaf = image.chunks(4096).position(|page| page[0] == 10).unwrap() * 4096;
    image.copy_within(leaf + 8 + 10..leaf + 8 + 12, leaf + 8 + 8);
    fs::write(&path, &image).unwrap();
    let said = scanned(&bench.open(&path).unwrap(), &image).unwrap();
    assert!(said.ends_with("two keys lie in one place"), "{said}");
    assert!(!check(&bench.restored(&image), Check::Quick).unwrap().is_empty());
}
