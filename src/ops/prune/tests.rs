use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::plan::Limits;
use super::{Options, Report, apply, plan};
use crate::error::{Kind, Result};
use crate::event::{Event, Job, Progress};
use crate::id::ObjectId;
use crate::ops::check;
use crate::ops::forget::undelete::undelete;
use crate::ops::forget::{self, What};
use crate::ops::testing::{Store, noise};
use crate::repo::{Catalogue, ChunkReader, Folder};

const NOW: Options = Options { limits: Limits { unused_max: 0.0, repack_bytes_max: None }, grace: None, no_wait: true };

fn prune(store: &Store, options: &Options) -> Result<Report> {
    let plan = plan(&store.repository, options, store.job())?;
    apply(&store.repository, plan, options, store.job())
}

fn forget(store: &Store, ids: &[ObjectId]) {
    let listing = store.repository.snapshots_anew().unwrap();
    let named: BTreeSet<ObjectId> = ids.iter().copied().collect();
    let plan = forget::plan(&store.repository, &listing, What::Named(&named), &TimeZone::UTC).unwrap();
    forget::apply(&store.repository, &plan, store.job()).unwrap();
}

/// Nights in which some pages of a large file change, one in the middle of another, and a small one comes.
fn nights(store: &Store, count: usize) -> Vec<(ObjectId, Vec<Vec<u8>>)> {
    let random = noise(6 << 20);
    let (mut a, mut b) = (random[..2 << 20].to_vec(), random[2 << 20..3 << 20].to_vec());
    let mut out = Vec::new();
    for n in 0..count {
        let fresh = &random[(3 << 20) + n * 50_000..][..50_000];
        a[n * 70_000..n * 70_000 + 900].copy_from_slice(&fresh[..900]);
        b.splice(400_000..400_000 + n, fresh[..2 * n].iter().copied());
        store.file("a", &a);
        store.file("b", &b);
        store.file(&format!("small/{n}"), fresh);
        out.push((store.backup(), vec![a.clone(), b.clone(), fresh.to_vec()]));
    }
    out
}

/// The bytes of the files of a night, as its snapshot has them.
fn read(store: &Store, id: &ObjectId) -> Vec<Vec<u8>> {
    read_by(&Catalogue::load(&store.repository, store.job()).unwrap(), store, id)
}

fn read_by(catalogue: &Catalogue, store: &Store, id: &ObjectId) -> Vec<Vec<u8>> {
    let reader = ChunkReader::new(&store.repository, catalogue);
    let snapshot = store.repository.snapshot(id).unwrap();
    let mut walk = crate::tree::TreeWalk::new(&reader, &snapshot.body.sources[0].root);
    let mut files = Vec::new();
    for found in walk.by_ref().map(Result::unwrap) {
        let entry = crate::tree::StoredEntry::parse(&found.record).unwrap().entry;
        let mut bytes = Vec::new();
        reader
            .for_each_chunk(&entry.content, &mut |chunk| {
                bytes.extend_from_slice(&reader.chunk(crate::crypto::ChunkKind::Data, &chunk.id)?);
                Ok(())
            })
            .unwrap();
        if entry.kind == crate::entry::Kind::File {
            files.push((found.path, bytes));
        }
    }
    let small = files.iter().rev().max_by_key(|(path, _)| path.clone()).unwrap().1.clone();
    vec![files[0].1.clone(), files[1].1.clone(), small]
}

fn assert_whole(store: &Store, nights: &[(ObjectId, Vec<Vec<u8>>)]) {
    for (id, files) in nights {
        assert!(read(store, id) == *files, "snapshot {}", id.short());
    }
    let request = check::Request { data: Some(1.0), time_max: None, bytes_max: None };
    let report = check::check(&store.repository, &request, store.job()).unwrap();
    assert_eq!(report.found, [], "healthy");
}

fn pack_bytes(store: &Store) -> u64 {
    store.repository.storage().list("packs").unwrap().iter().map(|listed| listed.size).sum()
}

#[test]
fn what_nobody_needs_goes_and_all_else_stays_as_it_was() {
    let store = Store::new();
    let nights = nights(&store, 8);
    let before = pack_bytes(&store);
    let gone: Vec<ObjectId> = nights[..6].iter().map(|(id, _)| *id).collect();
    forget(&store, &gone);
    let report = prune(&store, &NOW).unwrap();
    assert_whole(&store, &nights[6..]);
    let fresh = Store::new();
    for (name, bytes) in ["a", "b", "small/7"].iter().zip(&nights[7].1) {
        fresh.file(name, bytes);
    }
    for (n, (_, files)) in nights[..7].iter().enumerate() {
        fresh.file(&format!("small/{n}"), &files[2]);
    }
    fresh.backup();
    let (after, ideal) = (pack_bytes(&store), pack_bytes(&fresh));
    println!("{before} -> {after}, fresh {ideal}: {report:?}");
    // Bases that deltas need, which a fresh one has not, are mostly less than a hundredth, and now and then an eighth.
    assert!(after < ideal + ideal / 5, "{before} -> {after}, a fresh one has {ideal}");
    assert!(after <= before && report.removed_bytes > report.added_bytes, "{before} -> {after}: {report:?}");
    assert!(store.repository.storage().list("tombs").unwrap().is_empty());
    assert_eq!(store.repository.storage().list("trash/packs").unwrap(), []);
    let again = plan(&store.repository, &NOW, store.job()).unwrap();
    // What it takes to store deltas whole is known only about.
    assert!(again.choice.freed_bytes() < ideal / 50, "{:?}", again.choice);
    // And the next night finds all that it needs.
    store.backup();
    assert_whole(&store, &nights[6..]);
}

#[test]
fn where_a_tree_is_gone_nothing_is_removed_and_that_is_damage() {
    let store = Store::new();
    store.file("a", b"a");
    let snapshot = store.backup();
    let catalogue = Catalogue::load(&store.repository, store.job()).unwrap();
    let root = catalogue.find(&store.repository.snapshot(&snapshot).unwrap().body.sources[0].root.id).unwrap();
    store.repository.storage().delete(&Folder::Packs.key(&catalogue.pack(root.pack).id)).unwrap();
    let error = prune(&store, &NOW).unwrap_err();
    assert!(error.kind() == Kind::Damage && error.what().starts_with("nothing was removed"), "{error}");
}

/// The advice is to run a check, which reads no data but what is known to be damaged.
#[test]
fn damage_that_a_prune_meets_is_what_the_next_check_tells() {
    let store = Store::new();
    store.file("goes", &noise(300_000));
    store.file("stays", &noise(1_500_000)[600_000..]);
    let snapshot = store.backup();
    store.remove("goes");
    store.backup();
    store.lose_data();
    forget(&store, &[snapshot]);
    let request = check::Request { data: None, time_max: None, bytes_max: None };
    assert!(check::check(&store.repository, &request, store.job()).unwrap().is_healthy(), "nobody has read it");
    let error = prune(&store, &NOW).unwrap_err();
    assert!(error.kind() == Kind::Damage && error.advice().contains("check"), "{error:?}");
    let report = check::check(&store.repository, &request, store.job()).unwrap();
    assert!(report.found.iter().flat_map(|found| &found.affects).any(|one| one.path == b"stays"), "{report:?}");
    store.backup();
    prune(&store, &NOW).unwrap();
    assert!(check::check(&store.repository, &request, store.job()).unwrap().is_healthy());
}

#[test]
fn who_began_to_read_before_a_prune_finds_what_it_moved() {
    let store = Store::new();
    let nights = nights(&store, 4);
    let before = Catalogue::load(&store.repository, store.job()).unwrap();
    for (id, _) in &nights[..3] {
        forget(&store, &[*id]);
        prune(&store, &NOW).unwrap();
        assert!(read_by(&before, &store, &nights[3].0) == nights[3].1);
    }
    let is_gone = |id: &ObjectId| store.repository.pack_size(id).is_err();
    assert!(before.packs().iter().any(|pack| is_gone(&pack.id)));
    assert_eq!(store.repository.take_met(), BTreeSet::new(), "what is gone is not damaged");
}

#[test]
fn what_was_forgotten_comes_back_as_long_as_its_packs_lie_in_the_trash() {
    let store = Store::new();
    let nights = nights(&store, 3);
    let soon = Options { grace: Some(Duration::ZERO), ..NOW };
    forget(&store, &[nights[0].0, nights[1].0]);
    // However long ago that was: only now do their packs go to the trash.
    assert_eq!(prune(&store, &soon).unwrap().snapshots_gone, 0);
    let trashed = store.repository.trashed_snapshots().unwrap().snapshots;
    undelete(&store.repository, trashed.iter().find(|info| info.id == nights[1].0).unwrap(), store.job()).unwrap();
    assert_whole(&store, &nights[1..]);
    let report = prune(&store, &soon).unwrap();
    assert!(report.snapshots_gone == 1 && report.emptied_packs > 0, "{report:?}");
    assert_eq!(store.repository.trashed_snapshots().unwrap().snapshots.len(), 0);
    assert_whole(&store, &nights[1..]);
}

/// Forgets and prunes when a job comes to this phase.
struct Meddler<'a> {
    store: &'a Store,
    phase: &'static str,
    forgets: Mutex<Vec<ObjectId>>,
}

impl Progress for Meddler<'_> {
    fn event(&self, event: Event<'_>) {
        let is_phase = matches!(event, Event::Phase { name, .. } if name == self.phase);
        let ids = if is_phase { std::mem::take(&mut *self.forgets.lock().unwrap()) } else { Vec::new() };
        if !ids.is_empty() {
            forget(self.store, &ids);
            prune(self.store, &NOW).unwrap();
        }
    }
}

#[test]
fn a_check_beside_it_misses_nothing_that_was_forgotten() {
    for phase in ["checking structure", "reading data", "checking snapshots"] {
        let store = Store::new();
        let nights = nights(&store, 4);
        let forgets = Mutex::new(nights[..3].iter().map(|(id, _)| *id).collect());
        let progress = Meddler { store: &store, phase, forgets };
        let job = Job { progress: &progress, cancel: store.job().cancel };
        let request = check::Request { data: Some(1.0), time_max: None, bytes_max: None };
        let report = check::check(&store.repository, &request, job).unwrap();
        assert!(report.found.is_empty() && report.snapshots <= 4, "{phase}: {:?}", report.found);
        assert!(progress.forgets.lock().unwrap().is_empty());
        assert_whole(&store, &nights[3..]);
    }
}

#[test]
fn a_drill_beside_it_says_nothing_of_a_snapshot_that_goes() {
    use crate::ops::drill;
    let store = Store::new();
    let nights = nights(&store, 2);
    let snapshot = store.repository.snapshot(&nights[0].0).unwrap();
    let progress = Meddler { store: &store, phase: "restoring", forgets: Mutex::new(vec![nights[0].0]) };
    let job = Job { progress: &progress, cancel: store.job().cancel };
    let scratch = tempfile::tempdir().unwrap();
    let request = drill::Request {
        part: None,
        scratch: scratch.path(),
        repository: None,
        checks: &[],
        stop: &|| Box::new(|| false),
    };
    let error = drill::drill(&store.repository, &snapshot, &request, job).unwrap_err();
    assert!(error.kind() == Kind::Missing && error.what().contains("was forgotten while"), "{error:?}");
}
