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
