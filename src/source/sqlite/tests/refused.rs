//! What cannot be read, and what is said then.

use std::env;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::error::{Error, Kind};

const LIMIT: Duration = Duration::from_millis(200);
const LOCKED: &str = "LARDER_TEST_LOCKED";

fn assert_failure(failure: &Failure, kind: FailureKind, says: &str) {
    assert_eq!(failure.kind(), kind, "{:?}", failure.error());
    assert!(failure.error().to_string().contains(says), "{}", failure.error());
    assert_eq!(failure.error().kind(), Kind::Source);
}

#[test]
fn what_is_no_database_is_said_so() {
    let bench = Bench::new();
    let path = bench.path("db");
    assert_failure(&bench.failure(&path), FailureKind::Missing, "No such file");
    assert_failure(&bench.failure(bench.folder.path()), FailureKind::NotADatabase, "not a regular file");
    let chance: Vec<u8> = (0..8192_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for content in [&chance[..], b"x", b"SQLite format 3\0", &[0; 4096]] {
        fs::write(&path, content).unwrap();
        let failure = bench.failure(&path);
        assert_failure(&failure, FailureKind::NotADatabase, "not a database");
        assert!(failure.is_for_raw_bytes());
        assert_eq!(sniff(content), None);
    }
    let error = Error::from(bench.failure(&path));
    assert!(error.kind() == Kind::Source && error.advice().contains("encrypted"));
}

#[test]
fn what_is_cut_short_or_has_no_sense_in_its_schema_is_said_so() {
    let bench = Bench::new();
    let path = bench.path("db");
    drop(database(&path, "PRAGMA page_size = 1024;"));
    let bytes = fs::read(&path).unwrap();
    let mut senseless = bytes.clone();
    senseless[100..1024].fill(0xff);
    for content in [&bytes[..bytes.len() / 2], &bytes[..1024], &bytes[..1000], &senseless] {
        fs::write(&path, content).unwrap();
        let failure = bench.failure(&path);
        assert_failure(&failure, FailureKind::Corrupt, "malformed");
        assert!(failure.is_for_raw_bytes());
    }
    // The engine takes what is missing of the last page for zeros.
    fs::write(&path, &bytes[..bytes.len() - 512]).unwrap();
    let failure = bench.failure(&path);
    assert_failure(&failure, FailureKind::Corrupt, "cut short: 512 bytes of its last page are missing");
    assert!(failure.is_for_raw_bytes());
}

#[test]
fn whoever_keeps_it_locked_is_named() {
    if let Some(path) = env::var_os(LOCKED) {
        return keep_locked(path.as_ref());
    }
    let mut bench = Bench::new();
    bench.options.busy_timeout = LIMIT;
    let path = bench.path("db");
    drop(database(&path, "PRAGMA journal_mode = DELETE;"));
    let locker = locker("whoever_keeps_it_locked_is_named", &path);
    let failure = bench.failure(&path);
    assert_failure(&failure, FailureKind::Busy, &format!("process {} (", locker.id()));
    assert!(failure.error().to_string().ends_with("kept it locked for 0.2 s"), "{}", failure.error());
    assert!(!failure.is_for_raw_bytes() && !failure.error().advice().is_empty());
    unlock(locker);
    bench.read(&path, Way::Live);

    let wal = bench.path("wal");
    drop(database(&wal, "PRAGMA journal_mode = WAL;"));
    let locker = self::locker("whoever_keeps_it_locked_is_named", &wal);
    assert_failure(&bench.failure(&wal), FailureKind::Busy, &format!("process {} (", locker.id()));
    unlock(locker);
    bench.read(&wal, Way::Immutable);
}

/// Another process that keeps a database locked.
fn locker(test: &str, path: &Path) -> Child {
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let mut process = Command::new(env::current_exe().unwrap());
    process.args([&name, "--exact"]).env(LOCKED, path).stdin(Stdio::piped()).stdout(Stdio::null());
    let child = process.spawn().unwrap();
    while !path.with_extension("locked").exists() {
        thread::sleep(Duration::from_millis(1));
    }
    child
}

fn keep_locked(path: &Path) {
    let connection = Connection::open(path).unwrap();
    // With a log, the one keeps readers out, and without one, the other.
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    fs::write(path.with_extension("locked"), "").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    connection.execute_batch("COMMIT").unwrap();
}

fn unlock(mut locker: Child) {
    drop(locker.stdin.take());
    assert!(locker.wait().unwrap().success());
}

#[test]
fn a_lock_that_goes_in_time_is_waited_for() {
    let bench = Bench::new();
    let path = bench.path("db");
    let connection = database(&path, "PRAGMA journal_mode = DELETE;");
    connection.execute_batch("BEGIN EXCLUSIVE; DELETE FROM person;").unwrap();
    thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        scope.spawn(move || {
            receive.recv().unwrap();
            thread::sleep(LIMIT);
            connection.execute_batch("COMMIT").unwrap();
        });
        send.send(()).unwrap();
        let (image, _) = bench.read(&path, Way::Live);
        assert_eq!(rows(&bench.restored(&image), "person"), 0);
    });
}

#[test]
fn a_wish_to_stop_ends_waiting_and_copying() {
    let mut bench = Bench::new();
    let path = bench.path("db");
    let connection = database(&path, "PRAGMA journal_mode = DELETE;");
    let snapshot = snapshot::Snapshot::hold(&path, snapshot::Mode::InPlace).unwrap();
    let folder = spool::Folder::create(&bench.options.spool).unwrap();
    bench.cancel.cancel();
    for copy in [copy::pages, copy::steps] {
        let failed = |e: rusqlite::Error| Failure::engine("", &e);
        let copied = copy(&snapshot, &folder, &bench.cancel, failed);
        assert_eq!(copied.unwrap_err().kind(), FailureKind::Interrupted);
        fs::remove_file(folder.image()).unwrap();
    }
    snapshot.end().unwrap();
    drop((snapshot, folder));

    bench.cancel = Cancel::new();
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(LIMIT);
            bench.cancel.cancel();
        });
        let failure = bench.failure(&path);
        assert_eq!((failure.kind(), failure.error().kind()), (FailureKind::Interrupted, Kind::Interrupted));
    });
    assert_eq!(bench.private_copies(), 0);
}

#[test]
fn another_file_in_its_place_is_noticed() {
    for journal in ["WAL", "DELETE"] {
        let bench = Bench::new();
        let (path, other) = (bench.path("db"), bench.path("other"));
        drop(database(&path, &format!("PRAGMA journal_mode = {journal};")));
        drop(database(&other, ""));
        let reading = bench.open(&path).unwrap();
        whole(&reading);
        fs::rename(&other, &path).unwrap();
        assert_failure(&reading.finish(None).unwrap_err(), FailureKind::Changed, "another file took its place");
        let reading = bench.open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_failure(&reading.finish(None).unwrap_err(), FailureKind::Changed, "another file took its place");
    }
}

// Any handle of the file that is closed takes all locks along, and nothing tells the engine.
#[test]
fn writes_past_the_locks_are_noticed() {
    use std::os::unix::fs::FileExt;
    let bench = Bench::new();
    let path = bench.path("db");
    drop(database(&path, "PRAGMA journal_mode = DELETE;"));
    let reading = bench.open(&path).unwrap();
    thread::sleep(Duration::from_millis(20));
    fs::File::options().write(true).open(&path).unwrap().write_all_at(b"x", 4096).unwrap();
    assert_failure(&reading.finish(None).unwrap_err(), FailureKind::Changed, "past its locks");
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    if !testing::with_own_mounts(module_path!(), "a_full_disk_is_said_and_leaves_nothing") {
        return;
    }
    for has_pages in [true, false] {
        let bench = Bench { has_pages, ..Bench::new() };
        let path = bench.path("db");
        drop(database(&path, ""));
        fs::create_dir(&bench.options.spool).unwrap();
        let _mount = testing::Mount::tmpfs(&bench.options.spool, "size=64k");
        let failure = match has_pages {
            true => bench.open(&path).unwrap().copy(&bench.options, &bench.cancel).unwrap_err(),
            false => bench.failure(&path),
        };
        assert_eq!(failure.kind(), FailureKind::Spool, "{}", failure.error());
        assert_eq!(failure.error().kind(), Kind::NoSpace);
        assert_eq!(bench.private_copies(), 0);
    }
}

#[test]
fn a_log_on_a_network_is_refused() {
    let bench = Bench::new();
    let path = bench.path("db");
    drop(database(&path, "PRAGMA journal_mode = WAL;"));
    let place = place::Place::find(&path).unwrap();
    assert_eq!(place.network(), None);
    assert_eq!([0x6969, 0xff53_4d42, 0xef53].map(place::network_name), [Some("NFS"), Some("CIFS"), None]);
    let failure = open::on_network(&place, "NFS");
    assert_failure(&failure, FailureKind::Network, "one machine only");
    assert!(!failure.is_for_raw_bytes() && failure.error().advice().contains("journal_mode = DELETE"));
}

#[test]
fn names_cannot_steer_a_terminal_or_the_engine() {
    let bench = Bench::new();
    for name in ["a?mode=rwc", "%41", "a#b", "a b\u{202e}\n", "file:x"] {
        let path = bench.path(name);
        assert!(!bench.failure(&path).error().to_string().contains(['\n', '\u{202e}']));
        assert!(!path.exists());
        drop(database(&path, ""));
        bench.read(&path, Way::Live);
    }
    use std::os::unix::ffi::OsStrExt;
    let path = bench.folder.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    fs::rename(bench.path("file:x"), &path).unwrap();
    bench.read(&path, Way::Live);
    let deep = bench.path(&"d/".repeat(300));
    fs::create_dir_all(&deep).unwrap();
    fs::rename(path, deep.join("db")).unwrap();
    assert_failure(&bench.failure(&deep.join("db")), FailureKind::Unreadable, "more than 500 bytes");
}
