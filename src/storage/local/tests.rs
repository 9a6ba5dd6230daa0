use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;

use rustix::thread::CapabilitySet;
use tempfile::TempDir;

use super::*;
use crate::storage::conformance;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// An empty store in a folder of its own.
fn new() -> (TempDir, LocalStorage) {
    let folder = TempDir::new().unwrap();
    let store = LocalStorage::create(&folder.path().join("repo")).unwrap();
    (folder, store)
}

/// Runs the whole suite, each check in a new store that `change` has prepared.
fn conforms(change: impl Fn(&LocalStorage)) {
    let folder = TempDir::new().unwrap();
    let made = std::cell::Cell::new(0);
    conformance::run(&|| {
        made.set(made.get() + 1);
        let store = LocalStorage::create(&folder.path().join(made.get().to_string())).unwrap();
        change(&store);
        Arc::new(store)
    });
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn keeps_the_contract() {
    conforms(|_| {});
}

#[test]
fn keeps_the_contract_where_files_need_names() {
    conforms(|store| store.root.no_unnamed.store(true, Ordering::Relaxed));
}

#[test]
fn a_draft_with_a_hidden_name_is_never_listed_and_leaves_with_its_draft() {
    let (_folder, store) = new();
    store.root.no_unnamed.store(true, Ordering::Relaxed);
    let root = PathBuf::from(store.describe());
    let mut upload = store.upload().unwrap();
    upload.write(&[1; 300_000]).unwrap();
    assert_eq!(names(&root).len(), 1);
    assert_eq!(mode(&names(&root)[0]), 0o600);
    assert_eq!(store.list("").unwrap(), []);
    drop(upload);
    assert_eq!(names(&root).len(), 0);
    store.upload().unwrap().finish(&key("a")).unwrap();
    store.put(&key("a"), b"other").unwrap_err();
    assert_eq!(names(&root), [root.join("a")]);
}

/// A forget said that it had moved something there.
#[test]
fn where_the_trash_is_no_folder_nothing_is_called_gone() {
    let (folder, store) = new();
    store.put(&key("snapshots/1"), b"x").unwrap();
    fs::write(folder.path().join("repo/trash"), "").unwrap();
    assert_eq!(store.trash(&key("snapshots/1")).unwrap_err().kind, ErrorKind::Other);
    assert_eq!(store.trash(&key("snapshots/2")).unwrap_err().kind, ErrorKind::Missing);
    assert_eq!(store.get(&key("snapshots/1"), 9).unwrap(), b"x");
}

/// Where files need names, each backup that was killed left parts of packs behind for ever.
#[test]
fn drafts_of_runs_that_are_long_dead_go() {
    let (_folder, store) = new();
    store.root.no_unnamed.store(true, Ordering::Relaxed);
    let root = PathBuf::from(store.describe());
    let day = std::time::Duration::from_hours(24);
    for (name, age) in [(".tmp-1-1", 2 * day), (".tmp-1-2", day / 2), ("other", 2 * day)] {
        let file = fs::File::create(root.join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
    }
    let held = fs::File::options().write(true).create_new(true).open(root.join(".tmp-1-0")).unwrap();
    held.set_modified(std::time::SystemTime::now() - 2 * day).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    store.put(&key("a"), b"x").unwrap();
    let mut left = names(&root);
    left.sort();
    assert_eq!(left, [".tmp-1-0", ".tmp-1-2", "a", "other"].map(|name| root.join(name)));
}

#[test]
fn what_is_mended_keeps_its_mode_and_leaves_nothing_behind_even_where_it_fails() {
    for no_unnamed in [false, true] {
        let (_folder, store) = new();
        store.root.no_unnamed.store(no_unnamed, Ordering::Relaxed);
        let root = PathBuf::from(store.describe());
        store.put(&key("a"), b"bad").unwrap();
        fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o440)).unwrap();
        store.mend(&key("a"), b"good").unwrap();
        assert_eq!((fs::read(root.join("a")).unwrap(), mode(&root.join("a"))), (b"good".to_vec(), 0o440));
        let (gone, _) = store.root.open_object("read", &key("a")).unwrap();
        store.delete(&key("a")).unwrap();
        let error = Draft::new(&store.root).unwrap().replace(&key("a"), &gone).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Missing, "it went meanwhile, and stays so");
        assert_eq!(names(&root), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_draft_without_a_name_is_in_no_folder() {
    let (_folder, store) = new();
    let mut upload = store.upload().unwrap();
    upload.write(&[1; 300_000]).unwrap();
    assert!(names(Path::new(&store.describe())).is_empty());
}

#[test]
fn an_upload_that_failed_in_the_middle_cannot_be_finished() {
    let (_folder, store) = new();
    let draft = Draft::new(&store.root).unwrap();
    let out = DirectWriter::new(draft, Arc::default());
    let upload = Box::new(LocalUpload { out, root: store.root.clone(), broken: true });
    assert!(upload.finish(&key("a")).unwrap_err().why.contains("earlier part"));
    assert_eq!(store.list("").unwrap(), []);
}

/// In memory and on a disk: one of them takes direct writes.
#[test]
fn uploads_of_any_length_in_pieces_of_any_length_are_whole() {
    for place in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
        let folder = TempDir::new_in(place).unwrap();
        let store = LocalStorage::open(folder.path()).unwrap();
        for len in [0, 1, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1, 3_000_017] {
            for piece in [1000, 4096, 2 << 20] {
                let mut bytes = vec![0; len];
                blake3::Hasher::new().update(&len.to_le_bytes()).finalize_xof().fill(&mut bytes);
                let mut upload = store.upload().unwrap();
                bytes.chunks(piece).for_each(|piece| upload.write(piece).unwrap());
                // The second time the name is taken, by the same bytes.
                upload.finish(&key(&format!("a/{len}"))).unwrap();
                assert_eq!(store.get(&key(&format!("a/{len}")), u64::MAX).unwrap(), bytes, "{len} in {piece}");
            }
        }
    }
}

#[test]
fn opening_tells_what_is_wrong_with_the_root() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), "").unwrap();
    symlink(at("nothing"), at("dangling")).unwrap();
    let why = |name| {
        let error = LocalStorage::open(&at(name)).unwrap_err();
        assert!(error.place.ends_with(name), "{error}");
        (error.kind, error.why)
    };
    assert_eq!(why("none"), (ErrorKind::Missing, "there is no such folder".into()));
    assert_eq!(why("file"), (ErrorKind::Other, "it is not a folder".into()));
    assert_eq!(why("dangling"), (ErrorKind::Missing, "it is a symbolic link to nothing".into()));
    assert_eq!(LocalStorage::create(&at("file")).unwrap_err().why, "it is not a folder");
    assert_eq!(LocalStorage::create(&at("dangling")).unwrap_err().why, "it is a symbolic link to nothing");
    assert_eq!(LocalStorage::create(&at("dangling/below")).unwrap_err().kind, ErrorKind::Other);
    assert_eq!(LocalStorage::create(Path::new("")).unwrap_err().kind, ErrorKind::Other);
}

#[test]
fn a_root_may_be_reached_through_a_symbolic_link() {
    let (folder, store) = new();
    store.put(&key("a/b"), b"x").unwrap();
    symlink("repo", folder.path().join("link")).unwrap();
    let linked = LocalStorage::open(&folder.path().join("link")).unwrap();
    assert_eq!(linked.list("").unwrap(), store.list("").unwrap());
}

#[test]
fn creating_takes_only_an_empty_folder() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("repo");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    let store = LocalStorage::create(&root).unwrap();
    assert_eq!(mode(&root), 0o700);
    store.put(&key("a"), b"x").unwrap();
    assert_eq!(LocalStorage::create(&root).unwrap_err().kind, ErrorKind::Exists);
    assert_eq!(LocalStorage::create(Path::new("/")).unwrap_err().kind, ErrorKind::Exists);
    fs::create_dir(folder.path().join("hidden")).unwrap();
    fs::write(folder.path().join("hidden/.x"), "").unwrap();
    assert_eq!(LocalStorage::create(&folder.path().join("hidden")).unwrap_err().kind, ErrorKind::Exists);
}

#[test]
fn creating_makes_the_folders_above() {
    let folder = TempDir::new().unwrap();
    let store = LocalStorage::create(&folder.path().join("a/../b/c/")).unwrap();
    store.put(&key("x"), b"x").unwrap();
    assert!(folder.path().join("b/c/x").is_file());
    assert_eq!(mode(&folder.path().join("b/c")), 0o700);
    fs::create_dir(folder.path().join("usual")).unwrap();
    assert_eq!(mode(&folder.path().join("b")), mode(&folder.path().join("usual")));
}

#[test]
fn a_root_that_is_moved_away_stays_open() {
    let (folder, store) = new();
    store.put(&key("a/1"), b"x").unwrap();
    fs::rename(folder.path().join("repo"), folder.path().join("moved")).unwrap();
    store.put(&key("a/2"), b"x").unwrap();
    store.barrier().unwrap();
    assert_eq!(store.list("a").unwrap().len(), 2);
}

#[test]
fn what_is_no_object_is_not_listed() {
    let (folder, store) = new();
    let root = folder.path().join("repo");
    store.put(&key("packs/ab/1"), b"x").unwrap();
    fs::write(root.join("packs/.tmp-1"), "").unwrap();
    fs::create_dir_all(root.join("packs/.hidden/ab")).unwrap();
    fs::write(root.join("packs/.hidden/ab/1"), "").unwrap();
    fs::create_dir_all(root.join("lost+found/ab")).unwrap();
    fs::write(root.join("lost+found/ab/1"), "").unwrap();
    fs::write(root.join("packs/README"), "").unwrap();
    assert!(Command::new("mkfifo").arg(root.join("packs/pipe")).status().unwrap().success());
    assert!(fs::metadata(root.join("packs/pipe")).unwrap().file_type().is_fifo());
    assert_eq!(store.list("").unwrap(), [Listed { key: key("packs/ab/1"), size: 1 }]);
    assert_eq!(store.get(&key("packs/pipe"), 10).unwrap_err().kind, ErrorKind::Missing);
    for taken in ["packs/pipe", "packs/ab"] {
        assert_eq!(store.put(&key(taken), b"x").unwrap_err().kind, ErrorKind::Exists, "{taken}");
    }
}

/// A snapshot that somebody moved to another disk must not look as if it had been deleted.
#[test]
fn a_symbolic_link_in_the_place_of_an_object_is_an_error() {
    let (folder, store) = new();
    let root = folder.path().join("repo");
    for name in ["packs/ab/1", "packs/cd/1", "snapshots/1"] {
        store.put(&key(name), b"x").unwrap();
    }
    fs::rename(root.join("snapshots/1"), folder.path().join("away")).unwrap();
    symlink(folder.path().join("away"), root.join("snapshots/1")).unwrap();
    let error = store.list("").unwrap_err();
    assert_eq!((error.kind, error.place.ends_with("repo/snapshots/1")), (ErrorKind::Link, true), "{error}");
    assert_eq!(store.get(&key("snapshots/1"), 10).unwrap_err().kind, ErrorKind::Link);
    assert_eq!(store.list("packs").unwrap().len(), 2);

    fs::rename(root.join("packs/cd"), folder.path().join("cd")).unwrap();
    symlink(folder.path().join("cd"), root.join("packs/cd")).unwrap();
    for prefix in ["packs", "packs/cd"] {
        let error = store.list(prefix).unwrap_err();
        assert!(error.kind == ErrorKind::Link && error.place.ends_with("repo/packs/cd"), "{error}");
    }
}

#[test]
fn a_listing_beside_deletions_shows_what_stays() {
    let (_folder, store) = new();
    for n in 0..300 {
        store.put(&key(&format!("packs/{}/{n}", n % 7)), b"x").unwrap();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in (1..300).filter(|n| n % 3 != 0) {
                store.delete(&key(&format!("packs/{}/{n}", n % 7))).unwrap();
            }
        });
        for _ in 0..50 {
            let seen = store.list("packs").unwrap();
            let number = |one: &Listed| one.key.as_str().rsplit_once('/').unwrap().1.parse::<u32>().unwrap();
            assert_eq!(seen.iter().filter(|one| number(one) % 3 == 0).count(), 100);
        }
    });
}

#[test]
fn a_failed_barrier_keeps_what_it_has_to_flush() {
    let (folder, store) = new();
    store.put(&key("packs/ab/1"), b"x").unwrap();
    let packs = folder.path().join("repo/packs");
    fs::rename(&packs, folder.path().join("packs")).unwrap();
    for _ in 0..2 {
        let error = store.barrier().unwrap_err();
        assert!(error.place.contains("repo/packs"), "{error}");
    }
    fs::rename(folder.path().join("packs"), &packs).unwrap();
    store.barrier().unwrap();
}

/// Runs `body` in a thread for which the permissions of files count, also where the tests run as root.
fn with_permissions(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
            rustix::thread::set_capabilities(None, sets).unwrap();
            body();
        });
    });
}

#[test]
fn a_folder_that_may_not_be_written_is_denied() {
    let (folder, store) = new();
    store.put(&key("packs/1"), b"x").unwrap();
    let set = |name: &str, mode| fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode));
    set("repo/packs", 0o500).unwrap();
    set("repo", 0o500).unwrap();
    with_permissions(|| {
        let denied = |error: Error| assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        denied(store.put(&key("packs/2"), b"x").unwrap_err());
        denied(store.upload().err().unwrap());
        denied(store.delete(&key("packs/1")).unwrap_err());
        denied(store.trash(&key("packs/1")).unwrap_err());
        denied(LocalStorage::create(&folder.path().join("repo/below")).unwrap_err());
        assert_eq!(store.get(&key("packs/1"), 1).unwrap(), b"x");
        set("repo/packs/1", 0o000).unwrap();
        denied(store.get(&key("packs/1"), 1).unwrap_err());
        set("repo/packs", 0o000).unwrap();
        denied(store.list("").unwrap_err());
        denied(store.size(&key("packs/1")).unwrap_err());
        set("repo", 0o000).unwrap();
        denied(LocalStorage::open(&folder.path().join("repo")).unwrap_err());
        set("repo", 0o700).unwrap();
        set("repo/packs", 0o700).unwrap();
    });
}

/// Set in a test program that runs inside a test of the same name.
const INNER: &str = "LARDER_TEST_INNER_FOLDER";

/// Runs this very test once more, started by a shell script that ends with `exec "$@"` and may use `$FOLDER`.
fn run_again(test: &str, shell: &[&str], script: &str) {
    let folder = TempDir::new().unwrap();
    let test = format!("storage::local::tests::{test}");
    let done = Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .envs([("FOLDER", folder.path()), (INNER, folder.path())])
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && out.contains("1 passed"), "inner run failed:\n{out}\n{err}");
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    let Some(folder) = std::env::var_os(INNER) else {
        for umask in ["000", "022", "777"] {
            let script = format!("umask {umask}; exec \"$@\"");
            run_again("modes_do_not_depend_on_the_umask", &["sh"], &script);
        }
        return;
    };
    let root = Path::new(&folder).join("repo");
    let store = LocalStorage::create(&root).unwrap();
    for no_unnamed in [false, true] {
        store.root.no_unnamed.store(no_unnamed, Ordering::Relaxed);
        store.put(&key(&format!("packs/{no_unnamed}/1")), b"x").unwrap();
        store.trash(&key(&format!("packs/{no_unnamed}/1"))).unwrap();
    }
    for entry in walkdir::WalkDir::new(&root) {
        let entry = entry.unwrap();
        assert_eq!(mode(entry.path()), if entry.file_type().is_dir() { 0o700 } else { 0o600 }, "{entry:?}");
    }
}

#[test]
fn a_full_disk_is_told_apart_and_stays_usable() {
    let Some(folder) = std::env::var_os(INNER) else {
        let script = "mount -t tmpfs -o size=1m tmpfs \"$FOLDER\" && exec \"$@\"";
        return run_again("a_full_disk_is_told_apart_and_stays_usable", &["unshare", "-rm", "sh"], script);
    };
    let store = LocalStorage::create(&Path::new(&folder).join("repo")).unwrap();
    for no_unnamed in [false, true] {
        store.root.no_unnamed.store(no_unnamed, Ordering::Relaxed);
        let error = store.put(&key("packs/ab/1"), &[1; 2 << 20]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NoSpace, "{error}");
        let mut upload = store.upload().unwrap();
        let failed = (0..100).find_map(|_| upload.write(&[1; 100_000]).err()).unwrap();
        assert_eq!(failed.kind, ErrorKind::NoSpace);
        upload.finish(&key("packs/ab/2")).unwrap_err();
        assert_eq!(store.list("").unwrap(), []);
        store.put(&key("packs/ab/small"), &[1; 100_000]).unwrap();
        store.delete(&key("packs/ab/small")).unwrap();
    }
}
