//! Where a database lies, and who was there before.

use std::env;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

const WRITER: &str = "LARDER_TEST_WRITER_TO_BE_KILLED";
const OTHER: &str = "LARDER_TEST_DATABASES_OF_OTHERS";

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A folder in which nothing can be changed, until it is dropped.
struct ReadOnly<'a>(&'a Path);

impl<'a> ReadOnly<'a> {
    fn new(path: &'a Path) -> Self {
        set_mode(path, 0o555);
        assert!(fs::write(path.join("new"), "").is_err());
        Self(path)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        set_mode(self.0, 0o755);
    }
}

/// A database in a folder of its own, as its writer leaves it when it ends like this.
fn place(bench: &Bench, pragmas: &str, name: &str) -> (PathBuf, PathBuf, Connection) {
    let folder = bench.path(name);
    fs::create_dir(&folder).unwrap();
    let path = folder.join("db");
    let connection = database(&path, pragmas);
    (folder, path, connection)
}

/// Copies the files that are there, as a crash of the machine would leave them.
fn crash(from: &Path, to: &Path, endings: &[&str]) -> PathBuf {
    fs::create_dir(to).unwrap();
    for ending in endings {
        fs::copy(from.join(format!("db{ending}")), to.join(format!("db{ending}"))).unwrap();
    }
    to.join("db")
}

#[test]
fn links_are_followed_before_the_log_is_looked_for() {
    let bench = Bench::new();
    let (_, path, connection) = place(&bench, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;", "real");
    let link = bench.path("link");
    symlink(&path, &link).unwrap();
    let (image, _) = bench.read(&link, Way::Live);
    assert_eq!(rows(&bench.restored(&image), "person"), rows(&connection, "person"));
    assert!(!bench.path("link-wal").exists() && !bench.path("link-shm").exists());
}

#[test]
fn a_log_that_a_crash_left_is_read_and_left() {
    let bench = Bench::new();
    let (folder, _, connection) = place(&bench, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;", "live");
    let persons = rows(&connection, "person");
    let crashed = crash(&folder, &bench.path("crashed"), &["", "-wal"]);
    let files = || ["", "-wal"].map(|ending| fs::read(bench.path(&format!("crashed/db{ending}"))).unwrap());
    let before = files();
    let (image, _) = bench.read(&crashed, Way::Live);
    assert_eq!(rows(&bench.restored(&image), "person"), persons);
    assert!(files() == before && !before[1].is_empty());
}

#[test]
fn in_a_folder_that_cannot_be_written_the_log_counts() {
    if !testing::as_nobody(module_path!(), "in_a_folder_that_cannot_be_written_the_log_counts") {
        return;
    }
    let bench = Bench::new();
    let wal = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;";
    let (folder, path, connection) = place(&bench, wal, "live");
    let (crashed, empty) = (bench.path("crashed"), bench.path("empty"));
    let persons = rows(&connection, "person");

    // The writer is at work.
    {
        let _guard = ReadOnly::new(&folder);
        let (image, _) = bench.read(&path, Way::Live);
        assert_eq!(rows(&bench.restored(&image), "person"), persons);
    }
    // It is gone, and its log is not: what is in the log counts.
    let crashed_path = crash(&folder, &crashed, &["", "-wal"]);
    {
        let _guard = ReadOnly::new(&crashed);
        let (image, _) = bench.read(&crashed_path, Way::Aside);
        let restored = bench.restored(&image);
        assert!(is_whole(&restored));
        assert_eq!(rows(&restored, "person"), persons);
    }
    // Where an index of the log is left as well, even one of no use, there is something to lock, and the engine helps
    // itself.
    fs::write(crashed.join("db-shm"), [0xff; 32768]).unwrap();
    {
        let _guard = ReadOnly::new(&crashed);
        let (image, _) = bench.read(&crashed_path, Way::Live);
        assert_eq!(rows(&bench.restored(&image), "person"), persons);
    }
    // It has left in order.
    drop(connection);
    assert!(!folder.join("db-wal").exists());
    let file = fs::read(&path).unwrap();
    {
        let _guard = ReadOnly::new(&folder);
        let (image, facts) = bench.read(&path, Way::Immutable);
        assert!(image == file && facts.journal == Journal::Wal);
    }
    // Its log is empty.
    fs::write(folder.join("db-wal"), "").unwrap();
    let empty_path = crash(&folder, &empty, &["", "-wal"]);
    {
        let _guard = ReadOnly::new(&empty);
        let (image, _) = bench.read(&empty_path, Way::Immutable);
        assert!(image == file);
    }
    assert_eq!(bench.private_copies(), 0);
}

#[test]
fn a_change_where_no_lock_can_be_had_is_noticed() {
    if !testing::as_nobody(module_path!(), "a_change_where_no_lock_can_be_had_is_noticed") {
        return;
    }
    let bench = Bench::new();
    let (folder, path, connection) = place(&bench, "PRAGMA journal_mode = WAL;", "quiet");
    drop(connection);
    let _guard = ReadOnly::new(&folder);
    let reading = bench.open(&path).unwrap();
    assert_eq!(reading.way(), Way::Immutable);
    set_mode(&folder, 0o755);
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("DELETE FROM person").unwrap();
    assert_eq!(reading.finish(None).unwrap_err().kind(), FailureKind::Changed);
    // Who is at work now has an index of the log, so that locks can be had.
    set_mode(&folder, 0o555);
    let (image, _) = bench.read(&path, Way::Live);
    assert_eq!(rows(&bench.restored(&image), "person"), 0);
}

#[test]
fn what_moves_while_it_is_copied_is_copied_again() {
    if !testing::as_nobody(module_path!(), "what_moves_while_it_is_copied_is_copied_again") {
        return;
    }
    let bench = Bench::new();
    let (folder, _, connection) = place(&bench, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;", "live");
    let crashed = bench.path("crashed");
    let path = crash(&folder, &crashed, &["", "-wal"]);
    let persons = rows(&connection, "person");
    let log = fs::File::options().write(true).open(crashed.join("db-wal")).unwrap();
    let _guard = ReadOnly::new(&crashed);
    let stop = AtomicBool::new(false);
    let touch_for = |turns: u64| {
        for turn in (0..turns).take_while(|_| !stop.load(Ordering::Relaxed)) {
            log.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(turn)).unwrap();
            thread::sleep(Duration::from_millis(2));
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| touch_for(4));
        thread::sleep(Duration::from_millis(5));
        let (image, _) = bench.read(&path, Way::Aside);
        assert_eq!(rows(&bench.restored(&image), "person"), persons);
    });
    thread::scope(|scope| {
        scope.spawn(|| touch_for(100_000));
        thread::sleep(Duration::from_millis(5));
        let failure = bench.open(&path).map(drop).unwrap_err();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(failure.kind(), FailureKind::Changed);
    });
    assert_eq!(bench.private_copies(), 0);
}

#[test]
fn a_file_that_may_not_be_read_is_said_so() {
    if !testing::as_nobody(module_path!(), "a_file_that_may_not_be_read_is_said_so") {
        return;
    }
    let bench = Bench::new();
    let (folder, path, _) = place(&bench, "", "hidden");
    set_mode(&path, 0o000);
    let failure = bench.failure(&path);
    assert_eq!(failure.kind(), FailureKind::Unreadable);
    assert!(failure.error().to_string().contains("Permission denied"), "{}", failure.error());
    set_mode(&folder, 0o000);
    assert!(bench.failure(&path).error().to_string().contains("Permission denied"));
    set_mode(&folder, 0o755);
}

/// Half of a transaction, in the file already, by a process that is then no more.
fn die_writing(test: &str, path: &Path) {
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let mut writer = Command::new(env::current_exe().unwrap());
    let status = writer.args([&name, "--exact", "--nocapture"]).env(WRITER, path).output().unwrap().status;
    assert_eq!(status.code(), Some(77));
    assert!(fs::metadata(path.with_file_name("db-journal")).unwrap().len() > 512);
}

fn write_and_die(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA cache_size = 5; BEGIN; UPDATE person SET name = 'uncommitted'").unwrap();
    exit(77);
}

#[test]
fn what_an_interrupted_writer_left_is_undone_but_not_in_place() {
    let test = "what_an_interrupted_writer_left_is_undone_but_not_in_place";
    if let Some(path) = env::var_os(WRITER) {
        write_and_die(path.as_ref());
    }
    // Root sees the same as those who may not write.
    let modes: &[bool] = if testing::as_nobody(module_path!(), test) { &[false, true] } else { &[false] };
    for is_read_only in modes {
        for has_pages in [true, false] {
            let bench = Bench { has_pages, ..Bench::new() };
            let (folder, path, connection) = place(&bench, "PRAGMA page_size = 512;", "killed");
            drop(connection);
            die_writing(test, &path);
            let files = || ["db", "db-journal"].map(|name| fs::read(folder.join(name)).unwrap());
            let before = files();
            // The file alone looks well, and is not.
            let names = "person WHERE name = 'uncommitted'";
            assert_ne!(rows(&bench.restored(&before[0]), names), 0);
            let guard = is_read_only.then(|| ReadOnly::new(&folder));
            let (image, _) = bench.read(&path, if has_pages { Way::Aside } else { Way::Stepped });
            drop(guard);
            let restored = bench.restored(&image);
            assert!(is_whole(&restored));
            assert_eq!((rows(&restored, names), rows(&restored, "person")), (0, 200));
            assert!(files() == before);
            assert_eq!(bench.private_copies(), 0);
        }
    }
}

#[test]
fn a_journal_that_is_no_longer_hot_is_nothing() {
    let bench = Bench::new();
    let (folder, path, connection) = place(&bench, "PRAGMA journal_mode = PERSIST;", "cold");
    drop(connection);
    assert!(folder.join("db-journal").exists());
    let (image, _) = bench.read(&path, Way::Live);
    assert!(image == fs::read(&path).unwrap());
}

/// Somebody else reads: in their folder, where they are at work and where they are not, and in one that all may write,
/// where nothing must be left that the owner of the database could not use.
#[test]
fn the_databases_of_others_are_read_and_nothing_is_left_beside_them() {
    let test = "the_databases_of_others_are_read_and_nothing_is_left_beside_them";
    let ways = [
        ("open-to-all", Way::Immutable, 0o777),
        ("crashed-open-to-all", Way::Aside, 0o777),
        ("at-work", Way::Live, 0o755),
        ("crashed", Way::Aside, 0o755),
        ("crashed-with-index", Way::Live, 0o755),
        ("left", Way::Immutable, 0o755),
    ];
    if let Some(folder) = env::var_os(OTHER) {
        let bench = Bench::new();
        for (name, way, _) in ways {
            let folder = Path::new(&folder).join(name);
            let list = || fs::read_dir(&folder).unwrap().count();
            let before = list();
            let (image, _) = bench.read(&folder.join("db"), way);
            let restored = bench.restored(&image);
            assert!(is_whole(&restored), "{name}");
            assert_eq!((rows(&restored, "person"), list()), (200, before), "{name}");
        }
        return;
    }
    // It takes two users.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    let wal = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;";
    let (folder, _, at_work) = place(&bench, wal, "at-work");
    for name in ["crashed", "crashed-open-to-all"] {
        crash(&folder, &bench.path(name), &["", "-wal"]);
    }
    crash(&folder, &bench.path("crashed-with-index"), &["", "-wal", "-shm"]);
    for name in ["left", "open-to-all"] {
        drop(place(&bench, wal, name));
    }
    for (name, _, mode) in ways {
        set_mode(&bench.path(name), mode);
    }
    let program = bench.path("test");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args([&name, "--exact", "--nocapture"])
        .env(OTHER, bench.folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
    drop(at_work);

    // Root may leave the index that every reader of a log leaves, but for its owner to use.
    let left = bench.path("crashed");
    for entry in fs::read_dir(&left).unwrap() {
        std::os::unix::fs::chown(entry.unwrap().path(), Some(65534), Some(65534)).unwrap();
    }
    bench.read(&left.join("db"), Way::Live);
    assert!(left.join("db-shm").exists());
    for entry in fs::read_dir(&left).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().uid(), 65534);
    }
    assert!(left.join("db-shm").exists());
}
