use std::fs;
use std::sync::Arc;

use super::*;
use crate::clock::{System, World};
use crate::event::{Cancel, Event, Progress, Silent};
use crate::pack::spoil_parity;
use crate::repo::{Folder, KeySource, Memory, NotedPiece};
use crate::storage::memory::MemoryStorage;
use crate::storage::{Key, Storage};

fn request(home: &Path) -> Request {
    Request {
        sources: vec![Source::files("home", home)],
        files: crate::source::files::Options::default(),
        databases: Databases::default(),
        client: "host".into(),
        user: "me".into(),
        zone: (0, "UTC".into()),
        adopt: false,
        tags: Vec::new(),
        note: String::new(),
        trust_mtime: false,
        keep_cache: true,
    }
}

/// What was changed in the two seconds before a run is not trusted by the next one. It was left out of the cache, and so
/// everything counted as new when two backups followed each other, as they do when somebody tries the program.
#[test]
fn what_must_be_read_again_is_not_new() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("same"), b"same").unwrap();
    fs::write(home.join("other"), b"before").unwrap();
    let (storage, world) = (Arc::new(MemoryStorage::new()), Arc::new(System::default()));
    let repository = Repository::create(storage, world, KeySource::KeyFile(&[7; 32]), "test").unwrap();
    let repository = repository.with_cache(&folder.path().join("cache"));
    let run = |trust_mtime| {
        let request = Request { trust_mtime, ..request(&home) };
        let report = backup(&repository, &request, Job { progress: &Silent, cancel: &Cancel::new() }).unwrap();
        let s = report.summary.statistics;
        (s.files_new, s.files_changed, s.files_unchanged, s.bytes_read)
    };
    assert_eq!(run(false), (3, 0, 0, 10));
    fs::write(home.join("other"), b"after").unwrap();
    assert_eq!(run(false), (0, 1, 2, 9));
    assert_eq!(run(true), (0, 0, 3, 9));
}

/// A clock that is an hour ahead: no file looks as if it had changed a moment ago.
#[derive(Debug, Default)]
struct Ahead(System);

impl World for Ahead {
    fn now(&self) -> Time {
        let now = self.0.now();
        Time { seconds: now.seconds + 3600, ..now }
    }

    fn elapsed(&self) -> std::time::Duration {
        self.0.elapsed()
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        self.0.random(bytes)
    }
}

/// What stands in the cache is taken unseen, in whole leaves, only while all packs are there that it relies on, though no
/// index names the one that is gone, and nothing says that it was ever there.
#[test]
fn leaves_are_known_while_all_packs_are_there() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    (0..2000).for_each(|n| fs::write(home.join(format!("file{n}")), n.to_string()).unwrap());
    let storage = Arc::new(MemoryStorage::new());
    let (world, key) = (Arc::new(Ahead::default()), KeySource::KeyFile(&[7; 32]));
    let repository = Repository::create(storage.clone(), world, key, "test").unwrap();
    let repository = repository.with_cache(&folder.path().join("cache"));
    let cancel = Cancel::new();
    let job = Job { progress: &Silent, cancel: &cancel };
    let cache_key = [b"home\0", home.as_os_str().as_bytes()].concat();
    let known = |is_listed: bool| {
        let catalogue = Catalogue::open_to_write(&repository, job).unwrap();
        let all: Vec<Memory> =
            StatCache::open(&repository, &cache_key, &catalogue, |_| is_listed).into_iter().flatten().collect();
        let entries = all.iter().map(|memory| match memory {
            Memory::Entry(_) => 1,
            Memory::Leaf(leaf) => leaf.leaf.child.entries,
        });
        (entries.sum::<u64>(), all.iter().filter(|memory| matches!(memory, Memory::Leaf(_))).count())
    };
    for _ in 0..3 {
        backup(&repository, &request(&home), job).unwrap();
        let (entries, leaves) = known(true);
        assert!(entries == 2001 && leaves > 1, "{entries} entries, {leaves} leaves");
        assert_eq!(known(false), (0, 0));
    }
    let list = |folder: Folder| -> Vec<Key> {
        storage.list(folder.name()).unwrap().into_iter().map(|listed| listed.key).collect()
    };
    list(Folder::Index).iter().for_each(|key| storage.delete(key).unwrap());
    assert!(known(true).1 > 1, "tables of packs say the same");
    storage.delete(&list(Folder::Packs)[0]).unwrap();
    assert_eq!(known(true), (2001, 0));
}

/// What a killed run noted of a file hides what the last snapshot says of it, to which the rest is stored as differences.
#[test]
fn a_file_in_which_a_run_was_killed_keeps_the_record_that_it_had() {
    use crate::entry::ChunkRef;
    use crate::id::ChunkId;
    let folder = tempfile::tempdir().unwrap();
    let (storage, world) = (Arc::new(MemoryStorage::new()), Arc::new(System::default()));
    let repository = Repository::create(storage, world, KeySource::KeyFile(&[7; 32]), "test").unwrap();
    let repository = repository.with_cache(&folder.path().join("cache"));
    let cancel = Cancel::new();
    let job = Job { progress: &Silent, cancel: &cancel };
    let print = |size| Fingerprint { size, ..Fingerprint::NONE };
    let mut last = StatCacheWriter::create(&repository, b"home").unwrap();
    for path in ["", "a", "big", "c"] {
        last.push(path.as_bytes(), &print(1), format!("record of {path}").as_bytes()).unwrap();
    }
    last.finish(&ObjectId::new([1; 32]), &[]).unwrap();
    let piece = |n: u8| NotedPiece {
        chunks: vec![ChunkRef { id: ChunkId::new([n; 32]), len: 1 << 20 }],
        seen: vec![n; usize::from(n % 2) * 9],
    };
    let mut killed = StatCacheWriter::create(&repository, b"home").unwrap();
    killed.push(b"", &print(1), b"record of ").unwrap();
    killed.piece(b"big", &print(2), false, &NotedPiece::default()).unwrap();
    (1..4).for_each(|n| killed.piece(b"big", &print(2), true, &piece(n)).unwrap());
    drop(killed);
    let catalogue = Catalogue::open_to_write(&repository, job).unwrap();
    let all = StatCache::open(&repository, b"home", &catalogue, |_| true).unwrap().map(|memory| match memory {
        Memory::Entry(known) => known,
        Memory::Leaf(leaf) => panic!("{leaf:?}"),
    });
    let [root, big, c] = &all.collect::<Vec<_>>()[..] else { panic!("other entries") };
    assert_eq!((root.path.as_slice(), c.record.as_deref()), (&b""[..], Some(&b"record of c"[..])));
    assert_eq!((big.path.as_slice(), big.fingerprint, &big.record), (&b"big"[..], print(2), &None));
    assert_eq!(big.older.as_deref(), Some(&b"record of big"[..]));
    assert_eq!(big.pieces, (1..4).map(piece).collect::<Vec<_>>());
}

/// Each was waited for for 30 s: a night with forty that one program keeps locked waited for twenty minutes.
#[test]
fn many_locked_databases_are_not_waited_for_one_after_another() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    let lock = |n: usize| {
        let connection = rusqlite::Connection::open(home.join(format!("{n}.db"))).unwrap();
        connection.execute_batch("CREATE TABLE t(a); BEGIN EXCLUSIVE").unwrap();
        connection
    };
    let _locked: Vec<_> = (0..7).map(lock).collect();
    let (storage, world) = (Arc::new(MemoryStorage::new()), Arc::new(System::default()));
    let repository = Repository::create(storage, world, KeySource::KeyFile(&[7; 32]), "test").unwrap();
    let mut request = request(&home);
    request.databases.options.busy_timeout = std::time::Duration::from_millis(300);
    let report = backup(&repository, &request, Job { progress: &Silent, cancel: &Cancel::new() }).unwrap();
    let why: Vec<_> = report.reasons.iter().map(|reason| String::from_utf8_lossy(&reason.why)).collect();
    let waited = |time: &str| why.iter().filter(|why| why.ends_with(&format!("kept it locked for {time} s"))).count();
    assert_eq!((waited("0.3"), waited("0.02")), (4, 3), "{why:?}");
}

/// What the first attempt noted looks unchanged to the second one.
#[test]
fn a_run_that_begins_anew_tells_what_it_did_in_all() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    let mut noise = vec![0; 900_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let mut pages = [b"SQLite format 3\0", &noise[16..]].concat();
    fs::write(home.join("pages"), &pages).unwrap();
    (0..300).for_each(|n| fs::write(home.join(format!("file{n}")), n.to_string()).unwrap());
    let storage = Arc::new(MemoryStorage::new());
    let key = KeySource::KeyFile(&[7; 32]);
    let repository = Repository::create(storage.clone(), Arc::new(Ahead::default()), key, "test").unwrap();
    let repository = repository.with_cache(&folder.path().join("cache"));
    let databases = Databases { raw: true, ..Databases::default() };
    let request = Request { databases, ..request(&home) };
    let run = || backup(&repository, &request, Job { progress: &Silent, cancel: &Cancel::new() }).unwrap();
    run();
    for listed in storage.list(Folder::Packs.name()).unwrap().into_iter().filter(|listed| listed.size > 500_000) {
        let mut bytes = storage.get(&listed.key, u64::MAX).unwrap();
        let middle = bytes.len() / 2;
        spoil_parity(&mut bytes);
        bytes[middle] ^= 1;
        storage.delete(&listed.key).unwrap();
        storage.put(&listed.key, &bytes).unwrap();
    }
    (0..10).for_each(|n| pages[n * 90_000 + 20_000] ^= 1);
    fs::write(home.join("pages"), &pages).unwrap();
    fs::remove_file(home.join("file7")).unwrap();
    let report = run();
    let s = report.summary.statistics;
    assert_eq!((s.files_new, s.files_changed, s.files_unchanged, report.gone), (0, 2, 299, 1));
    assert!(s.bytes_read >= 2 * 900_000 && s.bytes_added > 200_000, "{s:?}");
}

/// Stops the run when it has read all.
struct Stop<'c>(&'c Cancel);

impl Progress for Stop<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Phase { name: "finishing", .. } = event {
            self.0.cancel();
        }
    }
}

#[test]
fn what_a_stopped_run_saw_is_counted_against_the_last_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    // More than a log keeps back until a block of it is full.
    (0..2000).for_each(|n| fs::write(home.join(format!("file{n:04}")), "before").unwrap());
    let key = KeySource::KeyFile(&[7; 32]);
    let storage = Arc::new(MemoryStorage::new());
    let repository = Repository::create(storage, Arc::new(Ahead::default()), key, "test").unwrap();
    let repository = repository.with_cache(&folder.path().join("cache"));
    let stopped = || {
        let cancel = Cancel::new();
        let job = Job { progress: &Stop(&cancel), cancel: &cancel };
        assert_eq!(backup(&repository, &request(&home), job).unwrap_err().kind(), crate::error::Kind::Interrupted);
    };
    let counts = || {
        let job = Job { progress: &Silent, cancel: &Cancel::new() };
        let report = backup(&repository, &request(&home), job).unwrap();
        let s = report.summary.statistics;
        (s.files_new, s.files_changed, s.files_unchanged, report.gone)
    };
    stopped();
    assert_eq!(counts(), (2001, 0, 0, 0));
    for n in [3, 7, 11] {
        fs::write(home.join(format!("file{n:04}")), "and after").unwrap();
    }
    fs::write(home.join("new"), "new").unwrap();
    fs::remove_file(home.join("file0012")).unwrap();
    stopped();
    stopped();
    fs::remove_file(home.join("file0013")).unwrap();
    fs::write(home.join("file0014"), "and after").unwrap();
    // The folder itself has changed as well.
    assert_eq!(counts(), (1, 5, 1994, 2));
    assert_eq!(counts(), (0, 0, 2000, 0));
}
