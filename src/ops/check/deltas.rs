//! Tests: what damage to a base takes away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Request, check};
use crate::crypto::ChunkKind;
use crate::id::ObjectId;
use crate::ops::testing::{Store, noise};
use crate::repo::{Catalogue, ChunkReader, EntryReader, Place};
use crate::tree::TreeWalk;

/// Some nights of a few files: text that is edited, a file of pages, one that grows at its front, one that stays.
fn nights(store: &Store) -> Vec<ObjectId> {
    let text: Vec<u8> =
        noise(60_000).iter().flat_map(|byte| format!("{byte:03} lines of text\n").into_bytes()).collect();
    let mut pages = [b"SQLite format 3\0", &noise(400 << 10)[16..]].concat();
    let mut front = noise(700_000);
    (0..6u8)
        .map(|night| {
            let mut edited = text.clone();
            (0..20).for_each(|n| edited[n * 50_000 + usize::from(night) * 100] = night);
            (0..3).for_each(|n| pages[(n * 2 + 1) * 65_536 + usize::from(night) * 5000] ^= 0x55);
            front.splice(0..0, [night; 1000]);
            store.file("text", &edited);
            store.file("pages", &pages);
            store.file("front", &front);
            store.file("constant", &noise(300_000));
            store.backup()
        })
        .collect()
}

/// Snapshot and path of every file, with its bytes, or without where they cannot be had.
fn read_all(store: &Store, snapshots: &[ObjectId]) -> BTreeMap<(ObjectId, Vec<u8>), Option<Vec<u8>>> {
    let catalogue = Catalogue::load(&store.repository, store.job()).unwrap();
    let reader = ChunkReader::new(&store.repository, &catalogue);
    let mut out = BTreeMap::new();
    for id in snapshots {
        let root = store.repository.snapshot(id).unwrap().body.sources[0].root;
        for found in TreeWalk::new(&reader, &root).map(Result::unwrap) {
            let mut bytes = Vec::new();
            let content = reader.entry(&found.record).unwrap().content;
            let read = reader.for_each_chunk(&content, &mut |chunk| {
                bytes.extend_from_slice(&reader.chunk(ChunkKind::Data, &chunk.id)?);
                Ok(())
            });
            out.insert((*id, found.path), read.is_ok().then_some(bytes));
        }
    }
    out
}

fn data_places(store: &Store) -> Vec<Place> {
    let catalogue = Catalogue::load(&store.repository, store.job()).unwrap();
    let data = catalogue.chunks().map(|(_, place)| *place).filter(|place| place.kind == ChunkKind::Data);
    let frames: BTreeMap<(u32, u32), Place> = data.map(|place| ((place.pack, place.frame), place)).collect();
    frames.into_values().collect()
}

#[test]
fn damage_to_a_base_is_reported_for_all_that_needs_it_and_for_nothing_else() {
    let mut lost_with_deltas = 0;
    for eighth in 0..8 {
        // Who may have to stop reads in batches.
        let time_max = (eighth % 4 > 1).then_some(Duration::MAX);
        let request = Request { data: Some(1.0), time_max, bytes_max: None };
        let store = Store::new();
        let snapshots = nights(&store);
        let good = read_all(&store, &snapshots);
        assert!(good.values().all(Option::is_some));
        // Half of the time what others are made from, half of the time anything.
        let mut places = data_places(&store);
        places.retain(|place| eighth % 2 == 1 || place.rank == 0);
        let place = places[places.len() * eighth / 8];
        store.flip(&Catalogue::load(&store.repository, store.job()).unwrap(), place);
        let read = read_all(&store, &snapshots);
        let lost: BTreeSet<_> = read.iter().filter(|(_, bytes)| bytes.is_none()).map(|(key, _)| key.clone()).collect();
        assert!(read.iter().all(|(key, bytes)| bytes.is_none() || *bytes == good[key]), "never wrong bytes");
        // The first check finds it, the second knows it.
        for _ in 0..2 {
            let report = check(&store.repository, &request, store.job()).unwrap();
            let affected = report.found.iter().flat_map(|found| &found.affects);
            let affected: BTreeSet<_> = affected.map(|one| (one.snapshot, one.path.clone())).collect();
            assert_eq!(affected, lost, "{place:?}");
            // The pack is named that holds what others are made from.
            let named: Vec<&String> = report.found.iter().map(|found| &found.object).collect();
            assert!(
                named.len() == usize::from(!lost.is_empty()) && named.iter().all(|it| it.starts_with("pack ")),
                "{named:?}"
            );
            assert_eq!(report.packs_spare, u64::from(lost.is_empty()), "{place:?}");
        }
        let files: BTreeSet<&Vec<u8>> = lost.iter().map(|(_, path)| path).collect();
        lost_with_deltas += usize::from(place.rank == 0 && lost.len() > files.len());
        // What is stored now stands for itself: nothing counts on what is lost.
        let again = store.backup();
        assert!(read_all(&store, &[again]).values().all(Option::is_some), "{place:?}");
    }
    assert!(lost_with_deltas > 0);
}

/// A damaged pack takes the roots that lie in it, and none of the nights after it.
#[test]
fn roots_stand_for_themselves() {
    let store = Store::new();
    store.many_files();
    let snapshots: Vec<ObjectId> = (0..4)
        .map(|n| {
            store.touch_nth(n);
            store.backup()
        })
        .collect();
    let catalogue = Catalogue::load(&store.repository, store.job()).unwrap();
    let nodes = || catalogue.chunks().filter(|(_, place)| place.kind == ChunkKind::Node);
    assert!(nodes().any(|(_, place)| place.rank > 0), "other nodes are stored as differences");
    for snapshot in &snapshots {
        let root = store.repository.snapshot(snapshot).unwrap().body.sources[0].root;
        assert!(root.level > 0 && catalogue.find(&root.id).unwrap().rank == 0);
    }
}

#[test]
fn without_index_objects_the_tables_of_packs_tell_what_deltas_need() {
    let store = Store::new();
    let snapshots = nights(&store);
    let catalogue = Catalogue::load(&store.repository, store.job()).unwrap();
    let deltas = catalogue.chunks().filter(|(_, place)| place.rank > 0).count();
    assert!(deltas > 20, "{deltas}");
    let good = read_all(&store, &snapshots);
    store.forget_index();
    assert_eq!(read_all(&store, &snapshots), good, "the packs' own tables say all of it");
}

/// What nights have stored is made where what it is made from goes by, and not once more for every night.
#[test]
fn a_check_reads_what_differences_are_made_from_once_for_all_nights() {
    let store = Store::new();
    let mut pages = [b"SQLite format 3\0", &noise(20 << 20)[16..]].concat();
    for night in 0..5u8 {
        pages.chunks_mut(64 << 10).for_each(|block| block[100 + usize::from(night) * 500] ^= 0x55);
        store.file("pages", &pages);
        store.backup();
    }
    let calls = |data: Option<f64>, time_max| {
        let (request, begun) = (Request { data, time_max, bytes_max: None }, store.calls());
        let report = check(&store.repository, &request, store.job()).unwrap();
        assert!(report.is_healthy() && (data.is_none() || report.packs_read == report.packs), "{:?}", report.found);
        store.calls() - begun
    };
    let structure = calls(None, None);
    let packs = Catalogue::load(&store.repository, store.job()).unwrap().packs().len() as u64;
    for time_max in [None, Some(Duration::MAX)] {
        let calls = calls(Some(1.0), time_max) - structure;
        assert!(calls < 9 * packs, "{calls} calls for {packs} packs, of which each takes seven or eight");
    }
}
