//! Damage of every kind in every place: whoever restores gets the right bytes, or is told what is lost.

mod mend;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use larder::id::ObjectId;
use larder::pack::spoil_parity;
use larder::repo::{Folder, Proof};
use larder::seal::SECTOR_BYTES;
use larder::storage::memory::MemoryStorage;
use larder::storage::wrap::dry::DryRun;
use larder::storage::wrap::fault::{Fault, FaultStorage};
use larder::storage::{Key, Storage};
use tempfile::TempDir;

use crate::support::plant::{self, Item};
use crate::support::program::Machine;
use crate::support::tree::{Tree, assert_intact, look, lost_paths};
use crate::support::{Chance, engine, number, scratch};

/// A small repository with two snapshots.
struct Scene {
    base: TempDir,
    source: PathBuf,
    store: MemoryStorage,
    snapshots: [(ObjectId, Tree); 2],
}

impl Scene {
    /// The seed makes files that no other scene has.
    fn new(seed: u64) -> Self {
        let base = scratch();
        let source = base.path().join("source");
        plant::plant(
            &source,
            &[
                (b"a/one", Item::File(plant::noise(seed, 3000))),
                (b"a/same", Item::Link(b"a/one")),
                (b"a/two", Item::File(plant::words(seed + 1, 9000))),
                (b"b/empty", Item::File(Vec::new())),
                (b"b/link", Item::Symlink(b"../a/one")),
                (b"b/pipe", Item::Fifo),
                (b"holes", Item::Sparse(1 << 20, vec![(1 << 18, plant::words(seed + 2, 8192))])),
                (b"large attribute", Item::File(plant::words(seed + 3, 100))),
                (b"two chunks", Item::File(plant::words(seed + 4, 300_000))),
            ],
        );
        plant::set_xattr(&source.join("large attribute"), "user.large", &plant::noise(seed + 5, 2000));
        let store = MemoryStorage::new();
        let repository = engine::create(Arc::new(store.clone())).unwrap();
        let one = (engine::backup(&repository, &source).unwrap().snapshot, look(&source));
        fs::write(source.join("a/two"), plant::words(seed + 6, 10_000)).unwrap();
        let two = (engine::backup(&repository, &source).unwrap().snapshot, look(&source));
        Self { base, source, store, snapshots: [one, two] }
    }

    fn with_a_long_pack() -> Self {
        let mut scene = Self::new(1);
        fs::write(scene.source.join("long"), plant::noise(9, 400_000)).unwrap();
        let repository = engine::open(Arc::new(scene.store.clone())).unwrap();
        scene.snapshots[1] = (engine::backup(&repository, &scene.source).unwrap().snapshot, look(&scene.source));
        scene
    }

    /// One with a note and a damage record, of a pack that is well again.
    fn with_records() -> Self {
        let scene = Self::new(1);
        let (pack, bytes) = scene.objects().into_iter().find(|(key, _)| folder(key) == "packs").unwrap();
        let repository = engine::open(Arc::new(scene.store.clone())).unwrap();
        scene.store.delete(&pack).unwrap();
        scene.store.put(&pack, &vec![0; bytes.len()]).unwrap();
        engine::check_all(&repository);
        scene.store.delete(&pack).unwrap();
        scene.store.put(&pack, &bytes).unwrap();
        scene
    }

    fn objects(&self) -> BTreeMap<Key, Vec<u8>> {
        let listed = self.store.list("").unwrap();
        listed.into_iter().map(|l| (l.key.clone(), self.store.get(&l.key, u64::MAX).unwrap())).collect()
    }

    /// A copy in which an object has other bytes, or is gone.
    fn with(&self, changes: &[(&Key, Option<&[u8]>)]) -> MemoryStorage {
        let copy = self.store.crash(u64::MAX);
        for (key, bytes) in changes {
            copy.delete(key).unwrap();
            if let Some(bytes) = bytes {
                copy.put(key, bytes).unwrap();
            }
        }
        copy
    }

    /// The paths that a restore of each snapshot loses.
    fn lost(&self, store: &MemoryStorage) -> BTreeSet<(ObjectId, Vec<u8>)> {
        let repository = engine::open(Arc::new(store.clone())).unwrap();
        let mut out = BTreeSet::new();
        for (id, _) in &self.snapshots {
            let base = scratch();
            let report = engine::restore(&repository, id, &base.path().join("to")).unwrap();
            out.extend(report.lost.into_iter().map(|lost| (*id, lost.path)));
        }
        out
    }

    /// Restores both snapshots from a damaged copy: exact, or an error, or losses that are named.
    fn check(&self, store: &MemoryStorage, about: &str) -> Outcome {
        let attempt = || {
            let mut outcome = Outcome::default();
            let repository = match engine::open(Arc::new(store.clone())) {
                Ok(repository) => repository,
                Err(_) => return Outcome { refused: 2, ..outcome },
            };
            for (id, expected) in &self.snapshots {
                let base = scratch();
                let to = base.path().join("to");
                match engine::restore(&repository, id, &to) {
                    Err(_) => outcome.refused += 1,
                    Ok(report) => {
                        assert_intact(expected, &look(&to), &report.lost, about);
                        outcome.lost += lost_paths(expected, &report.lost).len();
                        outcome.exact += usize::from(report.lost.is_empty());
                    }
                }
            }
            outcome
        };
        catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|_| panic!("{about}: see above"))
    }
}

/// Of restores: how many were exact, refused; and how many entries were lost and named.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    exact: usize,
    refused: usize,
    lost: usize,
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.exact += other.exact;
        self.refused += other.refused;
        self.lost += other.lost;
    }
}

fn folder(key: &Key) -> &str {
    let name = key.as_str().split('/').next().unwrap_or_default();
    if key.as_str().ends_with(".end") { "ends" } else { name }
}

/// What a restore by id does not need, or what is stored twice, must not keep it from anything; a bad pack costs what
/// lies in it and no more.
fn is_needed(key: &Key) -> bool {
    matches!(folder(key), "packs" | "snapshots")
}

#[track_caller]
fn expect_exact_unless_needed(key: &Key, outcome: Outcome, about: &str) {
    assert!(folder(key) != "packs" || outcome.refused == 0, "{about}: {outcome:?}");
    assert!(is_needed(key) || outcome.exact == 2, "{about}: {outcome:?}, though no restore needs a {}", folder(key));
}

/// Whether objects of this folder mend themselves.
fn has_parity(key: &Key) -> bool {
    !matches!(folder(key), "config" | "keys" | "sessions" | "ends")
}

/// The object with a bit flipped, and with no use of its parity.
fn beyond_parity(key: &Key, bytes: &[u8], at: usize, bit: u8) -> Vec<u8> {
    let mut bad = bytes.to_vec();
    match folder(key) {
        "packs" => spoil_parity(&mut bad),
        _ if has_parity(key) => {
            // Another one, too far away.
            let at = at % (bytes.len() - SECTOR_BYTES - 1);
            bad[at] ^= bit;
            bad[at + SECTOR_BYTES + 1] ^= bit;
            return bad;
        }
        _ => {}
    }
    bad[at] ^= bit;
    bad
}

/// Every place in the normal run's sample: all of both ends, and some of the middle.
fn places(len: usize, chance: &mut Chance) -> Vec<usize> {
    if number("LARDER_FULL", 0) == 1 {
        return (0..len).collect();
    }
    let ends = (0..len.min(160)).step_by(3).chain((len.saturating_sub(60)..len).step_by(3));
    let mut all: Vec<usize> = ends.chain((0..30).map(|_| chance.below(len as u64) as usize)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn a_flipped_bit_anywhere_is_noticed_or_does_no_harm() {
    let scene = Scene::new(1);
    let mut chance = Chance(1);
    let mut sums: BTreeMap<String, (usize, Outcome)> = BTreeMap::new();
    for (key, bytes) in scene.objects() {
        for at in places(bytes.len(), &mut chance) {
            let (mut flipped, bit) = (bytes.clone(), 1 << chance.below(8));
            flipped[at] ^= bit;
            let about = format!("a bit of byte {at} of {key} is flipped");
            if has_parity(&key) {
                let outcome = scene.check(&scene.with(&[(&key, Some(&flipped))]), &about);
                assert_eq!(outcome.exact, 2, "{about}: {outcome:?}, though the parity gives it back");
                flipped = beyond_parity(&key, &bytes, at, bit);
            }
            let outcome = scene.check(&scene.with(&[(&key, Some(&flipped))]), &about);
            expect_exact_unless_needed(&key, outcome, &about);
            let sum = sums.entry(folder(&key).to_owned()).or_default();
            sum.0 += 1;
            sum.1 += outcome;
        }
    }
    for (folder, (flips, outcome)) in &sums {
        let how = if has_parity(&Key::new(folder.clone()).unwrap()) { ", beyond their parity" } else { "" };
        println!("figure: bits flipped in {folder}{how} = {flips}: {outcome:?}");
    }
    assert_eq!(sums.keys().collect::<Vec<_>>(), ["config", "ends", "index", "keys", "packs", "sessions", "snapshots"]);
    assert_ne!(sums["snapshots"].1.refused, 0);
    assert_ne!(sums["packs"].1.lost, 0);
}

#[test]
fn a_truncated_or_longer_object_is_noticed_or_does_no_harm() {
    let scene = Scene::new(1);
    let mut chance = Chance(2);
    for (key, bytes) in scene.objects() {
        let mut lengths = vec![0, 1, 4, 95, 96, bytes.len() / 2, bytes.len() - 1];
        lengths.extend((0..10).map(|_| chance.below(bytes.len() as u64) as usize));
        for len in lengths {
            let cut = &bytes[..len.min(bytes.len())];
            let about = format!("{key} is cut to {len} bytes of {}", bytes.len());
            expect_exact_unless_needed(&key, scene.check(&scene.with(&[(&key, Some(cut))]), &about), &about);
        }
        for more in [1, 4096] {
            let longer = [&bytes[..], &vec![0; more]].concat();
            let about = format!("{key} is {more} bytes longer");
            expect_exact_unless_needed(&key, scene.check(&scene.with(&[(&key, Some(&longer))]), &about), &about);
        }
        for page in 0..bytes.len().div_ceil(4096).min(8) {
            let mut zeroed = bytes.clone();
            let end = bytes.len().min(page * 4096 + 4096);
            zeroed[page * 4096..end].fill(0);
            let about = format!("page {page} of {key} is zero");
            expect_exact_unless_needed(&key, scene.check(&scene.with(&[(&key, Some(&zeroed))]), &about), &about);
        }
    }
}

/// Either copy serves, `check` tells of the other; and without both nothing opens.
#[test]
fn what_opens_a_repository_is_stored_twice() {
    let scene = Scene::new(1);
    let objects = scene.objects();
    let originals = objects.keys().filter(|key| matches!(folder(key), "config" | "keys"));
    let mut pairs = 0;
    for original in originals.filter(|key| !key.as_str().ends_with(".copy")) {
        let copy = Key::new(format!("{original}.copy")).unwrap();
        let mut flipped = objects[original].clone();
        flipped[100] ^= 1;
        for spoilt in [None, Some(&flipped[..])] {
            for key in [original, &copy] {
                let store = scene.with(&[(key, spoilt)]);
                assert_eq!(scene.check(&store, "one of two").exact, 2, "{key}");
                let report = engine::check(&engine::open(Arc::new(store)).unwrap());
                assert_eq!(report.found.iter().map(|found| &found.object[..]).collect::<Vec<_>>(), [key.as_str()]);
            }
            let store = scene.with(&[(original, spoilt), (&copy, spoilt)]);
            assert_eq!(scene.check(&store, "both").refused, 2, "{original}");
        }
        pairs += 1;
    }
    assert_eq!(pairs, 2);
}

/// The record may be of a bad hour of the machine: readers still try, writers store again.
#[test]
fn what_a_damage_record_names_is_read_if_it_is_good_and_stored_again() {
    let scene = Scene::new(1);
    let objects = scene.objects();
    let packs: Vec<_> = objects.iter().filter(|(key, _)| folder(key) == "packs").collect();
    for (key, bytes) in packs {
        let mut flipped = bytes.clone();
        spoil_parity(&mut flipped);
        flipped[300] ^= 1;
        let store = scene.with(&[(key, Some(&flipped))]);
        let repository = engine::open(Arc::new(store.clone())).unwrap();
        assert!(!engine::check_all(&repository).is_healthy(), "{key}");
        let well = || {
            store.delete(key).unwrap();
            store.put(key, bytes).unwrap();
        };
        well();
        assert_eq!(scene.check(&store, "the pack is well again").exact, 2, "{key}");
        engine::backup(&repository, &scene.source).unwrap();
        store.delete(key).unwrap();
        store.put(key, &flipped).unwrap();
        let last = engine::backup(&repository, &scene.source).unwrap();
        engine::assert_restores(&repository, &last.snapshot, &scene.snapshots[1].1, &key.to_string());
        // A check that finds it well takes the record back, whatever was asked for.
        well();
        assert_eq!(engine::check(&repository).found, [], "{key}");
        assert_eq!(engine::count(&store, Folder::Damage), 0, "{key}");
    }
}

/// What a check says is lost is lost, and nothing else: whatever was done to a pack, and before and after the check.
#[test]
fn a_check_names_what_a_restore_loses_and_takes_nothing_away() {
    let scene = Scene::new(1);
    let objects = scene.objects();
    let packs: Vec<_> = objects.iter().filter(|(key, _)| folder(key) == "packs").collect();
    for (number, (key, bytes)) in packs.iter().enumerate() {
        let another = packs[(number + 1) % packs.len()].1.clone();
        let mut spoilt = (*bytes).clone();
        spoil_parity(&mut spoilt);
        let cuts: [Option<Vec<u8>>; 8] = [
            None,
            Some(Vec::new()),
            Some(spoilt[..100].to_vec()),
            Some(spoilt[..bytes.len() / 2].to_vec()),
            Some(spoilt[..bytes.len() - 1].to_vec()),
            Some([&spoilt[..], b"x"].concat()),
            Some(vec![0; bytes.len()]),
            Some(another),
        ];
        for (n, cut) in cuts.iter().enumerate() {
            let about = format!("{key}, form {n}");
            let store = scene.with(&[(key, cut.as_deref())]);
            let repository = engine::open(Arc::new(store.clone())).unwrap();
            let before = scene.lost(&store);
            let report = engine::check_all(&repository);
            assert!(!report.is_healthy(), "{about}");
            let named: BTreeSet<_> =
                report.found.iter().flat_map(|found| &found.affects).map(|a| (a.snapshot, a.path.clone())).collect();
            assert_eq!(scene.lost(&store), before, "{about}: after the check");
            assert!(before.is_subset(&named), "{about}: {before:?} lost, {named:?} named");
            assert!(named.is_empty() || !before.is_empty(), "{about}: {named:?} named, nothing lost");
            engine::backup(&repository, &scene.source).unwrap();
            let after = engine::check_all(&repository);
            let needed: Vec<_> = after.found.iter().filter(|found| !found.affects.is_empty()).collect();
            assert!(
                needed.iter().flat_map(|found| &found.affects).all(|a| a.snapshot == scene.snapshots[0].0),
                "{about}"
            );
        }
    }
}

/// Lists said "ok" of snapshots that a check had just named as damaged.
#[test]
fn lists_know_what_a_check_found_until_one_finds_it_whole_again() {
    let scene = Scene::new(1);
    let damaged = |store: &MemoryStorage| -> BTreeSet<ObjectId> {
        let listing = engine::open(Arc::new(store.clone())).unwrap().snapshots().unwrap();
        let damaged = listing.snapshots.iter().filter(|info| matches!(info.proof(), Proof::Damaged(_)));
        damaged.map(|info| info.id).collect()
    };
    let (mut one, mut both) = (0, 0);
    for (key, bytes) in scene.objects().iter().filter(|(key, _)| folder(key) == "packs") {
        let put = |store: &MemoryStorage, bytes: &[u8]| {
            store.delete(key).unwrap();
            store.put(key, bytes).unwrap();
        };
        let zeros = vec![0; bytes.len()];
        let store = scene.with(&[(key, Some(&zeros))]);
        let repository = engine::open(Arc::new(store.clone())).unwrap();
        let lost: BTreeSet<_> = scene.lost(&store).into_iter().map(|(id, _)| id).collect();
        assert_eq!(damaged(&store), BTreeSet::new(), "{key}: nobody knows it yet");
        engine::check_all(&repository);
        assert_eq!(damaged(&store), lost, "{key}");
        (one, both) = (one + usize::from(lost.len() == 1), both + usize::from(lost.len() == 2));
        // What is known is not written again, and is not taken back while what was lost is lost.
        let notes = engine::count(&store, Folder::Notes);
        assert!((0..2).all(|_| !engine::check(&repository).is_healthy()), "{key}");
        assert_eq!((damaged(&store), engine::count(&store, Folder::Notes)), (lost.clone(), notes), "{key}");
        // Nor where nobody can tell what is lost: this pack is as long as it was, and its index is there.
        let records = store.crash(u64::MAX);
        for record in engine::keys(&records, Folder::Damage) {
            records.delete(&record).unwrap();
            records.put(&record, b"x").unwrap();
        }
        engine::check(&engine::open(Arc::new(records.clone())).unwrap());
        assert_eq!(damaged(&records), lost, "{key}: without a damage record");
        // The pack comes back: any check sees it.
        let well = store.crash(u64::MAX);
        put(&well, bytes);
        assert_eq!(damaged(&well), lost, "{key}: nobody has looked yet");
        assert!(engine::check(&engine::open(Arc::new(well.clone())).unwrap()).is_healthy());
        assert_eq!(damaged(&well), BTreeSet::new(), "{key}");
        put(&well, &zeros);
        engine::check_all(&engine::open(Arc::new(well.clone())).unwrap());
        assert_eq!(damaged(&well), lost, "{key}: once more");
        // What the source still has is stored anew, and is whole in all snapshots then.
        engine::backup(&repository, &scene.source).unwrap();
        engine::check(&repository);
        let lost: BTreeSet<_> = scene.lost(&store).into_iter().map(|(id, _)| id).collect();
        assert!(!lost.contains(&scene.snapshots[1].0), "{key}");
        assert_eq!(damaged(&store), lost, "{key}: after a backup");
    }
    assert!(one > 0 && both > 0, "{one} {both}");
}

/// The files that an advice names, and whether it is to copy the first to the second, or to delete it.
fn advised(fix: &str) -> Option<(bool, Vec<Key>)> {
    let keys = |words: &str, between: &str| words.split(between).map(|key| Key::new(key).unwrap()).collect();
    if let Some((_, words)) =
        fix.strip_prefix("put ").and_then(|words| words.split_once("where there is none, delete "))
    {
        return Some((false, keys(words.split_once(" there: ")?.0, " and ")));
    }
    let (_, words) = fix.split_once(": ")?;
    let (words, _) = words.split_once(" in the repository")?;
    let copy = words.strip_prefix("copy ").map(|words| (true, keys(words, " to ")));
    copy.or_else(|| words.strip_prefix("delete ").map(|words| (false, keys(words, " and "))))
}

/// "back up again" was the advice for everything, and helped against hardly anything: what is said now does.
#[test]
fn what_a_check_advises_makes_the_repository_healthy() {
    let scene = Scene::with_records();
    let mut healed = BTreeSet::new();
    for (key, bytes) in scene.objects().iter().filter(|(key, _)| !is_needed(key)) {
        let flipped = beyond_parity(key, bytes, bytes.len() / 2, 1);
        let store = scene.with(&[(key, Some(&flipped))]);
        let repository = engine::open(Arc::new(store.clone())).unwrap();
        let found = engine::check(&repository).found;
        let fix = &found.first().unwrap_or_else(|| panic!("{key}")).fix;
        let (is_copy, keys) = advised(fix).unwrap_or_else(|| panic!("{key}: {fix}"));
        match is_copy {
            true => {
                assert_eq!(keys[1], *key, "{fix}");
                store.delete(key).unwrap();
                store.put(key, &store.get(&keys[0], u64::MAX).unwrap()).unwrap();
            }
            false => {
                assert_eq!(keys[0], *key, "{fix}");
                keys.iter().for_each(|key| store.delete(key).unwrap());
            }
        }
        let repository = engine::open(Arc::new(store.clone())).unwrap();
        assert_eq!(engine::check_all(&repository).found, [], "{key}: {fix}");
        engine::backup(&repository, &scene.source).unwrap();
        assert_eq!(engine::check_all(&repository).found, [], "{key}: {fix}");
        assert_eq!(scene.check(&store, fix).exact, 2, "{key}");
        healed.insert(folder(key).to_owned());
    }
    let all = ["config", "damage", "ends", "index", "keys", "notes", "sessions"];
    assert_eq!(healed.iter().collect::<Vec<_>>(), all);
}

#[test]
fn where_nothing_helps_the_advice_says_so() {
    let scene = Scene::new(1);
    for (key, bytes) in scene.objects().iter().filter(|(key, _)| folder(key) == "snapshots") {
        for changed in [None, Some(&bytes[..10])] {
            let repository = engine::open(Arc::new(scene.with(&[(key, changed)]))).unwrap();
            let fix = engine::check(&repository).found.remove(0).fix;
            assert!(fix.starts_with(key.as_str()) && fix.contains("every check will name it"), "{fix}");
        }
    }
    let objects = scene.objects();
    let config = objects.keys().find(|key| folder(key) == "config").unwrap();
    let slot = objects.keys().find(|key| folder(key) == "keys" && !key.as_str().ends_with(".copy")).unwrap();
    let other = Key::new(format!("{slot}.copy")).unwrap();
    assert_ne!(config, slot);
    let repository = engine::open(Arc::new(scene.store.clone())).unwrap();
    for key in [slot, &other] {
        scene.store.delete(key).unwrap();
        scene.store.put(key, b"x").unwrap();
    }
    let found = engine::check(&repository).found;
    assert!(found.len() == 2 && found.iter().all(|found| found.fix.contains("one of them is enough")), "{found:?}");
}

/// A damaged pack whose content was stored again, or was there twice anyway, was damage on the day it was found.
#[test]
fn damaged_packs_of_which_all_is_stored_elsewhere_are_counted_and_no_damage() {
    let scene = Scene::new(1);
    let mut spare = 0;
    for (key, bytes) in scene.objects().iter().filter(|(key, _)| folder(key) == "packs") {
        let store = scene.with(&[(key, Some(&vec![0; bytes.len()]))]);
        let repository = engine::open(Arc::new(store.clone())).unwrap();
        let report = engine::check_all(&repository);
        assert!(report.packs_spare == 0 && !report.is_healthy(), "{key}");
        engine::backup(&repository, &scene.source).unwrap();
        // Somebody who knows nothing of it yet.
        engine::keys(&store, Folder::Damage).iter().for_each(|key| store.delete(key).unwrap());
        for _ in 0..2 {
            let report = engine::check_all(&repository);
            assert_eq!(report.packs_spare == 1, report.is_healthy(), "{key}: {:?}", report.found);
            spare += report.packs_spare;
        }
    }
    assert!(spare >= 2, "in one case at least all was stored again");
}

#[test]
fn a_deleted_snapshot_is_noticed() {
    let scene = Scene::new(1);
    for key in scene.objects().keys().filter(|key| folder(key) == "snapshots") {
        let repository = engine::open(Arc::new(scene.with(&[(key, None)]))).unwrap();
        let found = engine::check(&repository).found;
        assert!(found.len() == 1 && found[0].what.contains("is gone"), "{found:?}");
    }
}

/// What it pinned would be as if nobody had ever pinned it.
#[test]
fn a_deleted_note_is_noticed() {
    let scene = Scene::with_records();
    let mut notes = 0;
    for key in scene.objects().keys().filter(|key| folder(key) == "notes") {
        let store = scene.with(&[(key, None)]);
        let found = engine::check(&engine::open(Arc::new(store.clone())).unwrap()).found;
        assert!(found.len() == 1 && found[0].what.contains("is gone"), "{found:?}");
        let (_, keys) = advised(&found[0].fix).unwrap();
        assert!(keys.len() == 1 && keys[0].as_str().ends_with(".end"), "{keys:?}");
        store.delete(&keys[0]).unwrap();
        assert_eq!(engine::check(&engine::open(Arc::new(store)).unwrap()).found, []);
        notes += 1;
    }
    assert!(notes > 0);
}

/// More than a thousand paths of a newer snapshot are named first.
#[test]
fn what_lost_something_is_never_confirmed_however_much_else_did() {
    let (base, store) = (scratch(), MemoryStorage::new());
    let source = base.path().join("source");
    let names: Vec<_> = (0..4000).map(|n| format!("file {n}").into_bytes()).collect();
    let items: Vec<_> = names.iter().map(|name| (name.as_slice(), Item::File(name.clone()))).collect();
    plant::plant(&source, &items);
    let repository = engine::create(Arc::new(store.clone())).unwrap();
    let keys = |prefix: &str| store.list(prefix).unwrap().into_iter().map(|l| l.key).collect::<BTreeSet<_>>();
    let (packs, sessions) = (keys("packs"), keys("sessions"));
    let first = engine::backup(&repository, &source).unwrap().snapshot;
    let first_packs = &keys("packs") - &packs;
    for key in &keys("sessions") - &sessions {
        if key.as_str().ends_with("end") {
            store.delete(&key).unwrap();
        }
    }
    fs::write(source.join("new"), "new").unwrap();
    engine::backup(&repository, &source).unwrap();
    let unharmed = engine::open(Arc::new(store.crash(u64::MAX))).unwrap();
    assert_eq!(engine::check(&unharmed).confirmed, [first]);
    let mut lost = 0;
    for pack in &first_packs {
        let copy = store.crash(u64::MAX);
        copy.delete(pack).unwrap();
        let report = engine::check(&engine::open(Arc::new(copy)).unwrap());
        lost += report.found.iter().map(|found| found.affects_more).sum::<u64>();
        assert_eq!(report.confirmed, [], "{pack}: {:?}", report.found.len());
    }
    assert!(lost >= 4000, "{lost}");
}

#[test]
fn a_missing_object_is_noticed_or_does_no_harm() {
    let scene = Scene::new(1);
    for key in scene.objects().keys() {
        let about = format!("{key} is gone");
        let outcome = scene.check(&scene.with(&[(key, None)]), &about);
        expect_exact_unless_needed(key, outcome, &about);
        let harm = outcome.refused + outcome.lost;
        assert!(!is_needed(key) || harm > 0, "{about}, and nobody noticed");
    }
}

#[test]
fn two_objects_that_changed_places_are_never_taken_for_each_other() {
    let scene = Scene::new(1);
    let objects: Vec<(Key, Vec<u8>)> = scene.objects().into_iter().collect();
    let mut pairs = 0;
    for (n, (one, bytes_one)) in objects.iter().enumerate() {
        for (two, bytes_two) in &objects[n + 1..] {
            let about = format!("{one} and {two} changed places");
            let swapped = scene.with(&[(one, Some(bytes_two)), (two, Some(bytes_one))]);
            let outcome = scene.check(&swapped, &about);
            let worst = [two, one].into_iter().find(|key| is_needed(key) && folder(key) != "packs");
            expect_exact_unless_needed(worst.unwrap_or(if is_needed(one) { one } else { two }), outcome, &about);
            pairs += 1;
        }
    }
    println!("figure: objects that changed places = {pairs} pairs, 0 accepted");
}

/// The other repository has the same key file, which is the worst case.
#[test]
fn an_object_of_another_repository_is_never_accepted() {
    let (scene, other) = (Scene::new(1), Scene::new(1000));
    let mut transplants = 0;
    for (key, bytes) in scene.objects() {
        for (foreign, foreign_bytes) in other.objects() {
            if folder(&foreign) == folder(&key) {
                let about = format!("{key} has the bytes of the other repository's {foreign}");
                let outcome = scene.check(&scene.with(&[(&key, Some(&foreign_bytes))]), &about);
                expect_exact_unless_needed(&key, outcome, &about);
                assert!(bytes == foreign_bytes || !is_needed(&key) || outcome.refused + outcome.lost > 0, "{about}");
                transplants += 1;
            }
        }
    }
    for (foreign, bytes) in other.objects() {
        if folder(&foreign) == "config" {
            continue;
        }
        let about = format!("the other repository's {foreign} lies there as well");
        let store = scene.with(&[(&foreign, Some(&bytes))]);
        assert_eq!(scene.check(&store, &about).exact, 2, "{about}");
        let listing = engine::open(Arc::new(store.clone())).unwrap().snapshots().unwrap();
        assert_eq!(listing.snapshots.len(), 2, "{about}");
        assert_eq!(listing.damaged.len(), usize::from(folder(&foreign) == "snapshots"), "{about}");
        let repository = engine::open(Arc::new(store)).unwrap();
        let next = engine::backup(&repository, &scene.source).unwrap();
        engine::assert_restores(&repository, &next.snapshot, &scene.snapshots[1].1, &about);
        transplants += 1;
    }
    println!("figure: objects of another repository = {transplants}, 0 accepted");
}

/// A pack is gone and the source is unchanged: the next backup stores again what was lost.
fn check_healing(cached: bool, with_index: bool) {
    let scene = Scene::new(1);
    let cache = scene.base.path().join("cache");
    let open = |store: &MemoryStorage| {
        let repository = engine::open(Arc::new(store.clone())).unwrap();
        if cached { repository.with_cache(&cache) } else { repository }
    };
    // The cache is filled by a run that finds everything unchanged.
    let filled = engine::backup(&open(&scene.store), &scene.source).unwrap();
    let again = engine::backup(&open(&scene.store), &scene.source).unwrap();
    assert_eq!(again.summary.statistics.bytes_read == 0, cached, "the cache is used, if there is one");
    // A run that stores nothing new writes its own records, whose numbers vary by a few bytes.
    let [a, b] = [&filled, &again].map(|report| report.summary.statistics.bytes_added);
    assert!(a.abs_diff(b) < 64, "{a} {b}");
    for pack in engine::keys(&scene.store, Folder::Packs) {
        let about = format!("{pack} is gone, cache {cached}, index {with_index}");
        let store = scene.with(&[(&pack, None)]);
        if !with_index {
            engine::keys(&store, Folder::Index).iter().for_each(|key| store.delete(key).unwrap());
        }
        let repository = open(&store);
        let next = engine::backup(&repository, &scene.source).unwrap_or_else(|e| panic!("{about}: {e:?}"));
        assert_eq!(next.reasons, [], "{about}");
        engine::assert_restores(&repository, &next.snapshot, &scene.snapshots[1].1, &about);
        // The next cache is of a snapshot that is in no other copy of the repository.
        let _ = fs::remove_dir_all(&cache);
        engine::backup(&open(&scene.store), &scene.source).unwrap();
    }
}

#[test]
fn a_lost_pack_is_stored_again_by_the_next_backup() {
    check_healing(false, true);
    check_healing(false, false);
}

#[test]
fn a_lost_pack_is_stored_again_although_the_stat_cache_knows_its_files() {
    check_healing(true, true);
    check_healing(true, false);
}

#[test]
fn a_restore_with_losses_names_them_and_exits_with_4() {
    let machine = Machine::new();
    let source = machine.place("source");
    plant::forty(&source);
    machine.backup(&source).expect(0);
    let seen = look(&source);
    let packs = crate::support::files_below(&machine.repository.join("packs"));
    let (mut codes, mut roots) = (Vec::new(), 0);
    for pack in &packs {
        let bytes = fs::read(pack).unwrap();
        let mut bad = bytes.clone();
        let at = bytes.len() / 3;
        spoil_parity(&mut bad);
        bad[at] ^= 1;
        fs::write(pack, bad).unwrap();
        let to = machine.place("to");
        let run = machine.run(["restore", "latest", "--json", "--to", to.to_str().unwrap()]);
        codes.push(run.code);
        let lost: Vec<larder::ops::restore::Lost> = run.stdout.lines().filter_map(lost_line).collect();
        let summary = run.json();
        assert_eq!(run.code == Some(4), !lost.is_empty(), "{run:?}");
        assert_eq!(summary["exit_code"].as_i64(), run.code.map(i64::from));
        assert_intact(&seen, &look(&to), &lost, &format!("{} is damaged", pack.display()));
        let clear = || {
            if to.exists() {
                fs::remove_dir_all(&to).unwrap()
            }
        };
        clear();
        if !lost.is_empty() {
            let path = larder::text::escape(&lost[0].path);
            let below = if path.is_empty() { String::new() } else { format!("/{path}") };
            let first = format!("the first is source{below}: ");
            machine.restore("latest", &to).expect(4).says("could not be restored").says(&first);
            roots += usize::from(path.is_empty());
            clear();
        }
        fs::write(pack, bytes).unwrap();
    }
    assert!(codes.contains(&Some(4)), "no pack mattered: {codes:?}");
    assert_ne!(roots, 0, "no tree was lost");
}

fn lost_line(line: &str) -> Option<larder::ops::restore::Lost> {
    let json: serde_json::Value = serde_json::from_str(line).unwrap();
    if json["type"] != "lost" {
        return None;
    }
    let path = match &json["path"] {
        serde_json::Value::String(text) => text.clone().into_bytes(),
        other => data_encoding::BASE64.decode(other["base64"].as_str().unwrap().as_bytes()).unwrap(),
    };
    Some(larder::ops::restore::Lost {
        source: json["source"].as_str().unwrap().into(),
        path,
        why: json["why"].as_str().unwrap().into(),
        damaged: true,
        entries: json["entries"].as_u64().unwrap(),
    })
}
