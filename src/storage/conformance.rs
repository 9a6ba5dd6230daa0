//! The one suite that every store and wrapper passes.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};
use std::thread;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{ErrorKind, Key, Storage};

/// Makes an empty store for each check.
pub type Make<'a> = &'a dyn Fn() -> Arc<dyn Storage>;

type Check = fn(&Arc<dyn Storage>);

/// Runs every check. The name of the one that failed is the last that was printed.
pub fn run(make: Make<'_>) {
    let checks: [(&str, Check); _] = [
        ("what was put is read back whole", reads_back),
        ("ranges are exact", ranges_are_exact),
        ("an open object reads on without its name", an_open_object_reads_on_without_its_name),
        ("a limit is kept", limit_is_kept),
        ("a missing object is named", missing_is_named),
        ("the same bytes can be put twice", same_bytes_twice),
        ("other bytes never replace", other_bytes_never_replace),
        ("an upload appears at its end", upload_appears_at_its_end),
        ("a dropped upload leaves nothing", dropped_upload_leaves_nothing),
        ("an upload never replaces", upload_never_replaces),
        ("a big upload is whole", big_upload_is_whole),
        ("empty objects are objects", empty_objects),
        ("one of many writers wins", one_of_many_writers_wins),
        ("many writers of the same bytes all succeed", same_bytes_from_many_writers),
        ("a list is sorted and of one folder", list_is_sorted),
        ("a list of a strange folder fails", list_of_strange_folder),
        ("deleting twice is no error", delete_twice),
        ("the trash keeps what it gets", trash_keeps),
        ("what the trash has is replaced", trash_replaces),
        ("what is mended is replaced, and nothing is made", mending_replaces),
        ("a hold ends when it is dropped", hold_ends),
        ("a hold has one holder", hold_has_one_holder),
        ("a barrier can be repeated", barrier_repeats),
        ("any valid key is stored and listed", any_valid_key),
    ];
    for (name, check) in checks {
        println!("{name}");
        check(&make());
    }
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn kind<T>(result: super::Result<T>) -> ErrorKind {
    result.map(|_| ()).unwrap_err().kind
}

fn listed(store: &Arc<dyn Storage>, prefix: &str) -> Vec<(String, u64)> {
    store.list(prefix).unwrap().into_iter().map(|one| (one.key.as_str().to_owned(), one.size)).collect()
}

/// Bytes that repeat nowhere nearby.
fn bytes(len: usize, seed: u8) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_derive_key("larder storage conformance").update(&[seed]).finalize_xof().fill(&mut out);
    out
}

fn reads_back(store: &Arc<dyn Storage>) {
    let stored = bytes(300_000, 1);
    store.put(&key("packs/ab/abcd.pack"), &stored).unwrap();
    assert_eq!(store.get(&key("packs/ab/abcd.pack"), 300_000).unwrap(), stored);
    assert_eq!(store.size(&key("packs/ab/abcd.pack")).unwrap(), 300_000);
    store.put(&key("config"), b"at the top").unwrap();
    assert_eq!(store.get(&key("config"), 100).unwrap(), b"at the top");
}

fn ranges_are_exact(store: &Arc<dyn Storage>) {
    let (name, stored) = (key("packs/ab/ab"), bytes(1000, 1));
    store.put(&name, &stored).unwrap();
    for (offset, len) in [(0, 1000), (0, 0), (1000, 0), (999, 1), (17, 500)] {
        assert_eq!(store.get_range(&name, offset as u64, len).unwrap(), stored[offset..offset + len]);
    }
    for (offset, len) in [(0, 1001), (1000, 1), (1001, 0), (u64::MAX, 2), (0, usize::MAX / 4)] {
        assert_eq!(kind(store.get_range(&name, offset, len)), ErrorKind::Length, "{offset} {len}");
    }
}

fn an_open_object_reads_on_without_its_name(store: &Arc<dyn Storage>) {
    let (name, stored) = (key("packs/ab/ab"), bytes(1000, 1));
    store.put(&name, &stored).unwrap();
    let Some(object) = store.open(&name).unwrap() else { return };
    assert_eq!(kind(store.open(&key("packs/ab/gone"))), ErrorKind::Missing);
    store.delete(&name).unwrap();
    let mut to = vec![9; 70];
    for (offset, len) in [(0, 1000), (0, 0), (1000, 0), (999, 1), (17, 500)] {
        object.read(offset as u64, len, &mut to).unwrap();
        assert_eq!(to, stored[offset..offset + len]);
    }
    for (offset, len) in [(0, 1001), (1000, 1), (1001, 0), (u64::MAX, 2), (0, usize::MAX / 4)] {
        assert_eq!(kind(object.read(offset, len, &mut to)), ErrorKind::Length, "{offset} {len}");
    }
}

fn limit_is_kept(store: &Arc<dyn Storage>) {
    store.put(&key("a"), &[7; 100]).unwrap();
    assert_eq!(store.get(&key("a"), u64::MAX).unwrap().len(), 100);
    assert_eq!(store.get(&key("a"), 100).unwrap().len(), 100);
    assert_eq!(kind(store.get(&key("a"), 99)), ErrorKind::Length);
    assert_eq!(kind(store.get(&key("a"), 0)), ErrorKind::Length);
}

fn missing_is_named(store: &Arc<dyn Storage>) {
    store.put(&key("packs/ab/there"), b"x").unwrap();
    // Next to something, in a missing folder, below an object, and a folder itself.
    for name in ["packs/ab/gone", "index/gone", "packs/ab/there/gone", "packs/ab"] {
        let name = key(name);
        let error = store.get(&name, 10).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Missing);
        assert!(!error.retryable);
        assert!(error.place.ends_with(name.as_str()), "{error}");
        assert!(error.place.starts_with(&store.describe()), "{error}");
        assert_eq!(kind(store.get_range(&name, 0, 0)), ErrorKind::Missing);
        assert_eq!(kind(store.size(&name)), ErrorKind::Missing);
        assert!(store.list(name.as_str()).unwrap().iter().all(|one| one.key != name));
    }
}

fn same_bytes_twice(store: &Arc<dyn Storage>) {
    for _ in 0..2 {
        store.put(&key("index/one"), &bytes(200_000, 1)).unwrap();
    }
    assert_eq!(listed(store, "index"), [("index/one".into(), 200_000)]);
}

fn other_bytes_never_replace(store: &Arc<dyn Storage>) {
    let (name, first) = (key("index/one"), bytes(200_000, 1));
    store.put(&name, &first).unwrap();
    let mut last_differs = first.clone();
    last_differs[199_999] ^= 1;
    for other in [&b""[..], &first[..199_999], &[&first[..], b"x"].concat(), &last_differs] {
        let error = store.put(&name, other).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Exists);
        assert!(error.place.ends_with("index/one"), "{error}");
    }
    assert_eq!(store.get(&name, 200_000).unwrap(), first);
}

fn upload_appears_at_its_end(store: &Arc<dyn Storage>) {
    let (name, stored) = (key("packs/ab/ab"), bytes(400_000, 1));
    let mut upload = store.upload().unwrap();
    for part in [&stored[..1], &stored[1..1], &stored[1..1000], &stored[1000..350_000], &stored[350_000..]] {
        upload.write(part).unwrap();
        assert_eq!(listed(store, ""), []);
        assert_eq!(kind(store.size(&name)), ErrorKind::Missing);
    }
    upload.finish(&name).unwrap();
    assert_eq!(listed(store, ""), [("packs/ab/ab".into(), 400_000)]);
    assert_eq!(store.get(&name, 400_000).unwrap(), stored);
}

fn dropped_upload_leaves_nothing(store: &Arc<dyn Storage>) {
    let mut upload = store.upload().unwrap();
    upload.write(&bytes(300_000, 1)).unwrap();
    drop(upload);
    assert_eq!(listed(store, ""), []);
}

fn upload_never_replaces(store: &Arc<dyn Storage>) {
    store.put(&key("packs/ab/ab"), b"first").unwrap();
    for (text, expected) in [("first", None), ("other", Some(ErrorKind::Exists))] {
        let mut upload = store.upload().unwrap();
        upload.write(text.as_bytes()).unwrap();
        assert_eq!(upload.finish(&key("packs/ab/ab")).err().map(|e| e.kind), expected);
    }
    assert_eq!(store.get(&key("packs/ab/ab"), 10).unwrap(), b"first");
}

fn big_upload_is_whole(store: &Arc<dyn Storage>) {
    let (name, part) = (key("packs/ab/ab"), bytes(1 << 20, 1));
    let mut upload = store.upload().unwrap();
    for _ in 0..40 {
        upload.write(&part).unwrap();
    }
    upload.finish(&name).unwrap();
    assert_eq!(store.size(&name).unwrap(), 40 << 20);
    for place in [0, 1, 39] {
        assert!(store.get_range(&name, place << 20, 1 << 20).unwrap() == part);
    }
}

fn empty_objects(store: &Arc<dyn Storage>) {
    store.put(&key("sessions/x.end"), b"").unwrap();
    store.upload().unwrap().finish(&key("sessions/y.end")).unwrap();
    assert_eq!(store.get(&key("sessions/x.end"), 0).unwrap(), b"");
    assert_eq!(listed(store, "sessions"), [("sessions/x.end".into(), 0), ("sessions/y.end".into(), 0)]);
}

/// Has eight threads put one key at once; tells what each put, and how that went.
fn race(store: &Arc<dyn Storage>, name: &Key, of: impl Fn(u8) -> Vec<u8>) -> Vec<(Vec<u8>, super::Result<()>)> {
    let start = Barrier::new(8);
    thread::scope(|scope| {
        let puts: Vec<_> = (0..8)
            .map(|n| {
                let (bytes, start) = (of(n), &start);
                scope.spawn(move || {
                    start.wait();
                    let done = store.put(name, &bytes);
                    (bytes, done)
                })
            })
            .collect();
        puts.into_iter().map(|put| put.join().unwrap()).collect()
    })
}

fn one_of_many_writers_wins(store: &Arc<dyn Storage>) {
    for round in 0..10 {
        let name = key(&format!("packs/{round}/contended"));
        let outcomes = race(store, &name, |n| bytes(50_000, n));
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(_, done)| done.is_ok());
        assert_eq!(won.len(), 1);
        assert!(lost.into_iter().all(|(_, done)| kind(done) == ErrorKind::Exists));
        assert_eq!(store.get(&name, 50_000).unwrap(), won[0].0);
    }
}

fn same_bytes_from_many_writers(store: &Arc<dyn Storage>) {
    for round in 0..10 {
        let name = key(&format!("packs/{round}/contended"));
        assert!(race(store, &name, |_| bytes(50_000, 1)).iter().all(|(_, done)| done.is_ok()));
        assert_eq!(store.get(&name, 50_000).unwrap(), bytes(50_000, 1));
    }
}

fn list_is_sorted(store: &Arc<dyn Storage>) {
    assert_eq!(listed(store, ""), []);
    for name in ["packs/b/1", "packs/a/2", "packs/a/1", "packs/a.x", "packs/a-x", "packsx/1", "index/1"] {
        store.put(&key(name), name.as_bytes()).unwrap();
    }
    let names = |prefix| listed(store, prefix).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("packs"), ["packs/a-x", "packs/a.x", "packs/a/1", "packs/a/2", "packs/b/1"]);
    assert_eq!(names("packs/a"), ["packs/a/1", "packs/a/2"]);
    assert_eq!(names("").len(), 7);
    assert_eq!(names("snapshots"), [""; 0]);
    assert_eq!(names("index/1"), [""; 0]);
    assert_eq!(names("index/1/below"), [""; 0]);
    assert!(listed(store, "").iter().all(|(name, size)| *size == name.len() as u64));
}

fn list_of_strange_folder(store: &Arc<dyn Storage>) {
    for prefix in ["..", "packs/", "/", ".tmp", "packs/../..", "A"] {
        assert_eq!(kind(store.list(prefix)), ErrorKind::Other, "{prefix}");
    }
}

fn delete_twice(store: &Arc<dyn Storage>) {
    store.put(&key("tombs/one"), b"1").unwrap();
    store.put(&key("tombs/two"), b"2").unwrap();
    for _ in 0..2 {
        store.delete(&key("tombs/one")).unwrap();
        assert_eq!(listed(store, ""), [("tombs/two".into(), 1)]);
    }
    store.delete(&key("never/was/there")).unwrap();
    store.delete(&key("tombs/two/below")).unwrap();
    store.put(&key("tombs/one"), b"other bytes").unwrap();
    store.barrier().unwrap();
}

fn trash_keeps(store: &Arc<dyn Storage>) {
    if !store.capabilities().trash {
        return;
    }
    store.put(&key("packs/ab/ab"), b"bytes").unwrap();
    store.trash(&key("packs/ab/ab")).unwrap();
    assert_eq!(listed(store, ""), [("trash/packs/ab/ab".into(), 5)]);
    assert_eq!(store.get(&key("trash/packs/ab/ab"), 5).unwrap(), b"bytes");
    for name in ["packs/ab/ab", "packs/cd/never", "packs/cd/never/below"] {
        assert_eq!(kind(store.trash(&key(name))), ErrorKind::Missing);
    }
    store.barrier().unwrap();
}

fn trash_replaces(store: &Arc<dyn Storage>) {
    if !store.capabilities().trash {
        return;
    }
    for text in ["first", "second"] {
        store.put(&key("packs/ab/ab"), text.as_bytes()).unwrap();
        store.trash(&key("packs/ab/ab")).unwrap();
    }
    assert_eq!(store.get(&key("trash/packs/ab/ab"), 10).unwrap(), b"second");
    assert_eq!(listed(store, "packs"), []);
}

fn mending_replaces(store: &Arc<dyn Storage>) {
    let (name, good) = (key("packs/ab/ab"), bytes(200_000, 3));
    for bad in [&good[..199_999], &bytes(200_000, 4), b""] {
        store.put(&name, bad).unwrap();
        store.mend(&name, &good).unwrap();
        store.barrier().unwrap();
        assert!(store.get(&name, 200_000).unwrap() == good);
        assert_eq!(listed(store, ""), [("packs/ab/ab".into(), 200_000)]);
        store.delete(&name).unwrap();
    }
    assert_eq!(kind(store.mend(&name, &good)), ErrorKind::Missing);
    assert_eq!(listed(store, ""), []);
}

fn hold_ends(store: &Arc<dyn Storage>) {
    let name = key("sessions/one");
    assert_eq!(kind(store.hold(&name)), ErrorKind::Missing);
    assert_eq!(kind(store.held(&name)), ErrorKind::Missing);
    store.put(&name, b"x").unwrap();
    store.put(&key("sessions/two"), b"x").unwrap();
    let Some(hold) = store.hold(&name).unwrap() else {
        assert!(!store.capabilities().holds);
        return;
    };
    assert!(store.capabilities().holds);
    assert_eq!(store.held(&name).unwrap(), Some(true));
    assert_eq!(store.held(&key("sessions/two")).unwrap(), Some(false));
    assert_eq!(store.get(&name, 1).unwrap(), b"x");
    drop(hold);
    for _ in 0..2 {
        assert_eq!(store.held(&name).unwrap(), Some(false));
    }
    let _again = store.hold(&name).unwrap().unwrap();
    store.delete(&name).unwrap();
    store.put(&name, b"x").unwrap();
    assert_eq!(store.held(&name).unwrap(), Some(false), "a new object of the same name is not held");
}

fn hold_has_one_holder(store: &Arc<dyn Storage>) {
    store.put(&key("sessions/one"), b"x").unwrap();
    if let Some(_hold) = store.hold(&key("sessions/one")).unwrap() {
        let Err(refused) = store.hold(&key("sessions/one")) else { panic!("it has two holders") };
        assert!(refused.retryable);
        assert_eq!(store.held(&key("sessions/one")).unwrap(), Some(true));
    }
}

fn barrier_repeats(store: &Arc<dyn Storage>) {
    store.barrier().unwrap();
    for name in ["packs/ab/1", "packs/cd/1", "top"] {
        store.put(&key(name), b"x").unwrap();
    }
    for _ in 0..2 {
        store.barrier().unwrap();
    }
    assert_eq!(listed(store, "").len(), 3);
}

fn any_valid_key(store: &Arc<dyn Storage>) {
    let names = proptest::collection::btree_set("[a-z0-9_-][a-z0-9._-]{0,12}(/[a-z0-9_-][a-z0-9._-]{0,60}){0,2}", 1..6);
    let rounds = Cell::new(0);
    TestRunner::new(Config::with_cases(20))
        .run(&names, |names| {
            rounds.set(rounds.get() + 1);
            let round = rounds.get();
            // The end keeps any name from being the folder of another.
            let names: BTreeSet<_> = names.iter().map(|name| format!("{round}/{name}.x-y-z")).collect();
            for name in &names {
                store.put(&key(name), name.as_bytes()).unwrap();
            }
            let found: BTreeSet<_> = listed(store, &round.to_string()).into_iter().map(|(name, _)| name).collect();
            prop_assert_eq!(&found, &names);
            for name in &names {
                prop_assert_eq!(store.get(&key(name), 200).unwrap(), name.as_bytes());
            }
            Ok(())
        })
        .unwrap();
}
