//! The image is the file, bit for bit.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::*;

/// Closes the database after everything was written back, and tells what is in the file then.
fn written_back(path: &Path, connection: Connection) -> Vec<u8> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    fs::read(path).unwrap()
}

#[test]
fn what_lies_behind_the_last_page_is_told_and_left_out() {
    for journal in ["DELETE", "WAL"] {
        let mut bench = Bench::new();
        let path = bench.path("db");
        drop(database(&path, &format!("PRAGMA journal_mode = {journal};")));
        let file = fs::read(&path).unwrap();
        let mut behind = |more: &[u8]| {
            fs::write(&path, [&file, more].concat()).unwrap();
            bench.has_pages = !bench.has_pages;
            let reading = bench.open(&path).unwrap();
            assert_eq!(whole(&reading).len(), file.len());
            reading.bytes_behind()
        };
        let last = |len: usize| [&vec![0; len - 1][..], b"x"].concat();
        for len in [1, 511, 512, 4096, (3 << 20) + 5] {
            assert_eq!([behind(&last(len)), behind(&last(len)), behind(&vec![0; len])], [len as u64, len as u64, 0]);
        }
        // What is in the log may be longer than the file, or shorter.
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("PRAGMA journal_mode = WAL; DELETE FROM person; VACUUM").unwrap();
        let reading = bench.open(&path).unwrap();
        assert!(reading.bytes() < file.len() as u64 && reading.bytes_behind() == 0);
    }
}

#[test]
fn every_page_size_and_vacuum_mode_comes_out_as_the_file() {
    for journal in ["WAL", "DELETE"] {
        for page_bytes in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
            for vacuum in 0..3 {
                let bench = Bench::new();
                let path = bench.path("db");
                let pragmas = format!(
                    "PRAGMA page_size = {page_bytes}; PRAGMA auto_vacuum = {vacuum}; PRAGMA journal_mode = {journal};
                     PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0;"
                );
                let connection = database(&path, &pragmas);
                let (image, facts) = bench.read(&path, Way::Live);
                assert!(image == written_back(&path, connection), "{pragmas}");
                assert_eq!(facts.page_bytes, page_bytes);
                assert_eq!(image.len(), facts.pages as usize * page_bytes as usize);
                assert_eq!(facts.journal, if journal == "WAL" { Journal::Wal } else { Journal::Rollback });
            }
        }
    }
}

#[test]
fn any_part_of_the_image_can_be_read() {
    let bench = Bench::new();
    let path = bench.path("db");
    let connection = database(&path, "PRAGMA journal_mode = WAL; PRAGMA page_size = 1024;");
    connection.execute_batch("INSERT INTO person (name, photo) VALUES ('large', randomblob(3000000))").unwrap();
    let reading = bench.open(&path).unwrap();
    let image = whole(&reading);
    let len = image.len();
    let parts = [
        (0, 1),
        (0, len),
        (0, len + 9),
        (1, len),
        (1023, 2),
        (1024, 2 << 20),
        (5, 2 << 20),
        (len - 1, 1),
        (len - 1, 9),
    ];
    for (offset, len) in parts {
        let mut buffer = vec![0; len];
        let read = reading.read_at(offset as u64, &mut buffer).unwrap();
        assert!(buffer[..read] == image[offset..(offset + len).min(image.len())], "{len} bytes from {offset} on");
    }
    for offset in [len as u64, len as u64 + 1, u64::MAX] {
        assert_eq!(reading.read_at(offset, &mut [0; 9]).unwrap(), 0);
    }
    reading.finish(None).unwrap();
    drop(connection);
}

#[test]
fn what_is_written_meanwhile_is_not_in_the_image() {
    let bench = Bench::new();
    let path = bench.path("db");
    let connection = database(&path, "PRAGMA journal_mode = WAL; PRAGMA page_size = 512;");
    let before = rows(&connection, "person");
    let reading = bench.open(&path).unwrap();
    connection.execute_batch("DELETE FROM person; VACUUM; PRAGMA wal_checkpoint(PASSIVE);").unwrap();
    let image = whole(&reading);
    let facts = reading.finish(None).unwrap();
    let restored = bench.restored(&image);
    assert!(is_whole(&restored));
    assert_eq!((rows(&restored, "person"), rows(&connection, "person")), (before, 0));
    let person = facts.tables.iter().find(|table| table.name == b"person").unwrap();
    assert_eq!(person.rows, before as u64);
}

#[test]
fn what_is_in_the_file_comes_from_there_and_stays_as_it_was() {
    for journal in ["WAL", "DELETE"] {
        let bench = Bench::new();
        let path = bench.path("db");
        let connection = database(&path, &format!("PRAGMA journal_mode = {journal}; PRAGMA wal_autocheckpoint = 0;"));
        connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(())).unwrap();
        connection.execute_batch("UPDATE person SET name = 'short' WHERE id = 7").unwrap();
        let snapshot = snapshot::Snapshot::hold(&path, snapshot::Mode::InPlace).unwrap();
        let from_file = snapshot.pages_in_file();
        let in_log = snapshot.pages - from_file;
        assert!(if journal == "WAL" { in_log > 0 && in_log < 9 } else { in_log == 0 }, "{journal}: {in_log}");
        drop(snapshot);

        let reading = bench.open(&path).unwrap();
        let before = crate::child::child("cat").arg(&path).output().unwrap().stdout;
        if journal == "WAL" {
            connection.execute_batch("DELETE FROM words; UPDATE person SET photo = NULL; VACUUM").unwrap();
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        }
        let image = whole(&reading);
        reading.finish(None).unwrap();
        let differing = image.chunks(4096).zip(before.chunks(4096)).filter(|(a, b)| a != b).count();
        assert!(differing <= in_log as usize && image.len() == before.len(), "{journal}: {differing}");
        let restored = bench.restored(&image);
        assert!(is_whole(&restored));
        let short = "SELECT count(*) FROM person WHERE name = 'short'";
        assert_eq!(restored.query_row(short, [], |row| row.get::<_, u32>(0)).unwrap(), 1);
    }
}

/// A file of that many pages, nearly all of them a hole that belongs to no table.
fn sparse(path: &Path, pages: u32) {
    drop(database(path, "PRAGMA page_size = 4096;"));
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut valid_for = [0; 4];
    file.read_exact_at(&mut valid_for, 24).unwrap();
    file.write_all_at(&pages.to_be_bytes(), 28).unwrap();
    file.write_all_at(&valid_for, 92).unwrap();
    file.set_len(u64::from(pages) * 4096).unwrap();
}

#[test]
fn the_page_that_holds_the_locks_is_as_in_the_file() {
    const LOCK_PAGE: u64 = 0x4000_0000 / 4096;
    let bench = Bench::new();
    let path = bench.path("db");
    sparse(&path, LOCK_PAGE as u32 - 20);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("INSERT INTO person (name, photo) VALUES ('large', randomblob(400000))").unwrap();
    drop(connection);
    for way in [Way::Live, Way::Copied] {
        let mut reading = bench.open(&path).unwrap();
        if way == Way::Copied {
            reading.copy(&bench.options, &bench.cancel).unwrap();
        }
        assert_eq!(reading.way(), way);
        assert!(reading.bytes() > (LOCK_PAGE + 50) * 4096);
        let mut buffers = [vec![0; 8 << 20], vec![0; 8 << 20]];
        let mut image = Vec::new();
        let mut at = 0;
        while at < reading.bytes() {
            let len = reading.read_at(at, &mut buffers[0]).unwrap();
            image.push((at, len, buffers[0][..len] == buffers[1][..len]));
            if !image[image.len() - 1].2 {
                // Compared when no lock is held any more.
                fs::write(bench.path(&format!("part-{at}")), &buffers[0][..len]).unwrap();
            }
            at += len as u64;
        }
        reading.finish(None).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), at);
        for (at, len, is_zero) in image {
            file.read_exact_at(&mut buffers[0][..len], at).unwrap();
            let part = if is_zero { vec![0; len] } else { fs::read(bench.path(&format!("part-{at}"))).unwrap() };
            assert!(buffers[0][..len] == part, "{way:?}: {len} bytes at {at}");
        }
    }
    assert_eq!(bench.private_copies(), 0);
}

#[test]
fn without_the_table_of_pages_the_engine_copies() {
    for journal in ["WAL", "DELETE"] {
        let mut bench = Bench::new();
        let path = bench.path("db");
        let connection = database(&path, &format!("PRAGMA journal_mode = {journal};"));
        let (mut image, facts) = bench.read(&path, Way::Live);
        bench.has_pages = false;
        let (mut stepped, stepped_facts) = bench.read(&path, Way::Stepped);
        assert!(is_whole(&bench.restored(&stepped)));
        for image in [&mut image, &mut stepped] {
            for counter in [24..28, 40..44, 92..100] {
                image[counter].fill(0);
            }
        }
        assert!(image == stepped, "{journal}");
        assert_eq!(facts, stepped_facts);
        assert_eq!(bench.private_copies(), 0);
        drop(connection);
    }
}

#[test]
fn a_database_that_becomes_another_is_read_as_what_it_is() {
    let bench = Bench::new();
    let path = bench.path("db");
    let connection = database(&path, "PRAGMA journal_mode = WAL; PRAGMA page_size = 4096;");
    let changes = [
        "VACUUM",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA page_size = 512; VACUUM",
        "PRAGMA auto_vacuum = FULL; VACUUM",
        "DELETE FROM person; DELETE FROM words",
        "PRAGMA journal_mode = WAL",
        "INSERT INTO person (name, photo) VALUES ('large', zeroblob(500000))",
        "PRAGMA journal_mode = TRUNCATE; PRAGMA page_size = 65536; VACUUM",
    ];
    for change in changes {
        connection.execute_batch(change).unwrap();
        // A log that it was just told to have is not there yet.
        let way =
            if path.with_file_name("db-wal").exists() || !change.ends_with("WAL") { Way::Live } else { Way::Immutable };
        let (image, _) = bench.read(&path, way);
        assert!(is_whole(&bench.restored(&image)), "{change}");
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        // Read by a process of its own, so that the connection here keeps its locks.
        let file = crate::child::child("cat").arg(&path).output().unwrap().stdout;
        assert!(image == file, "{change}");
    }
}

#[test]
fn an_empty_file_is_an_empty_database() {
    for has_pages in [true, false] {
        let bench = Bench { has_pages, ..Bench::new() };
        let path = bench.path("db");
        fs::write(&path, "").unwrap();
        let (image, facts) = bench.read(&path, if has_pages { Way::Live } else { Way::Stepped });
        assert!(image.is_empty() && facts.tables.is_empty() && facts.pages == 0);
        assert_eq!(facts.schema.as_deref(), Some(&b""[..]));
    }
}

#[test]
fn a_database_may_have_one_page() {
    let bench = Bench::new();
    let path = bench.path("db");
    Connection::open(&path).unwrap().execute_batch("PRAGMA page_size = 512; PRAGMA user_version = 3").unwrap();
    let (image, facts) = bench.read(&path, Way::Live);
    assert_eq!(image, fs::read(&path).unwrap());
    assert_eq!((facts.pages, facts.user_version, facts.encoding), (1, 3, Encoding::Utf8));
}

#[test]
fn a_corrupt_page_is_kept_as_it_is() {
    let bench = Bench::new();
    let path = bench.path("db");
    drop(database(&path, "PRAGMA page_size = 1024;"));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2048 * 1024;
    bytes[middle..middle + 1024].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let (image, facts) = bench.read(&path, Way::Live);
    assert!(image == bytes);
    assert!(facts.tables.len() + facts.uncounted.len() > 5);
    let faults = check(&bench.restored(&image), Check::Quick).unwrap();
    assert!(!faults.is_empty() && faults.len() <= FAULTS_MAX, "{faults:?}");
}

/// See .cargo/config.toml.
#[test]
fn this_build_has_the_table_of_pages() {
    assert!(snapshot::has_pages());
    let bench = Bench::new();
    let path = bench.path("db");
    drop(database(&path, ""));
    assert_eq!(open(&path, &bench.options, &bench.cancel).unwrap().way(), Way::Live);
}

#[test]
fn a_reading_may_go_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Reading>();
}
