use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::super::policy::{Rule, Rules};
use super::super::undelete::undelete;
use super::super::{Plan, What, apply, plan};
use crate::crypto::Audience;
use crate::error::Kind;
use crate::id::ObjectId;
use crate::ops::check::{Request, check};
use crate::ops::prune;
use crate::ops::remark::{Change, remark};
use crate::ops::testing::{Store, noise};
use crate::ops::whole;
use crate::record::{Note, SessionRecord, Tomb};
use crate::repo::{Catalogue, ChunkReader, Folder, Proof, Session};

fn pin() -> Change {
    Change { is_pinned: Some(true), ..Change::default() }
}

fn say(store: &Store, id: &ObjectId, change: &Change) -> bool {
    let listing = store.repository.snapshots().unwrap();
    let info = listing.snapshots.iter().find(|info| info.id == *id).unwrap();
    remark(&store.repository, info, change).unwrap().1
}

fn keep_last(store: &Store, n: usize) -> Plan {
    let rules = Rules { rules: vec![Rule::Last(n)], tags: vec![] };
    let listing = store.repository.snapshots_anew().unwrap();
    plan(&store.repository, &listing, What::Lapsed(&rules, None), &TimeZone::UTC).unwrap()
}

fn listed(store: &Store) -> Vec<ObjectId> {
    store.repository.snapshots().unwrap().snapshots.iter().map(|info| info.id).collect()
}

fn three(store: &Store) -> Vec<ObjectId> {
    let one = |n: u8| {
        store.file("a", &noise(100_000 + usize::from(n)));
        store.backup()
    };
    (0..3).map(one).collect()
}

fn bring_back(store: &Store, id: &ObjectId) -> crate::error::Result<()> {
    let trashed = store.repository.trashed_snapshots().unwrap();
    undelete(&store.repository, trashed.snapshots.iter().find(|info| info.id == *id).unwrap(), store.job())
}

#[test]
fn what_is_forgotten_is_not_missed_and_comes_back_as_it_was() {
    let store = Store::new();
    let ids = three(&store);
    say(
        &store,
        &ids[0],
        &Change { note: Some(b"first".to_vec()), tags_added: vec![b"x".to_vec()], ..Change::default() },
    );
    let plan = keep_last(&store, 1);
    assert_eq!((plan.removed().collect::<Vec<_>>(), plan.much().is_some()), (ids[..2].to_vec(), false));
    assert_eq!(apply(&store.repository, &plan, store.job()).unwrap(), []);
    let listing = store.repository.snapshots_anew().unwrap();
    assert_eq!((listed(&store), listing.gone), (ids[2..].to_vec(), vec![]));
    let trashed = store.repository.trashed_snapshots().unwrap().snapshots;
    assert_eq!(trashed.iter().map(|info| info.id).collect::<Vec<_>>(), ids[..2]);
    assert!(trashed[0].standing.note == b"first" && trashed[0].standing.is_forgotten && trashed[0].confirmed);
    bring_back(&store, &ids[0]).unwrap();
    assert_eq!(listed(&store), [ids[0], ids[2]]);
    let back = &store.repository.snapshots().unwrap().snapshots[0];
    assert!(back.confirmed && back.standing.tags == [b"x"] && !back.standing.is_forgotten);
    assert_eq!(store.repository.trashed_snapshots().unwrap().snapshots.len(), 1);
    // Taken away from outside it is missed again.
    store.repository.storage().delete(&Folder::Snapshots.key(&ids[0])).unwrap();
    assert_eq!(store.repository.snapshots().unwrap().gone, ids[..1]);
}

#[test]
fn what_was_pinned_meanwhile_stays() {
    let store = Store::new();
    let ids = three(&store);
    let plan = keep_last(&store, 1);
    assert!(say(&store, &ids[1], &pin()) && !say(&store, &ids[1], &pin()), "once is enough");
    assert_eq!(apply(&store.repository, &plan, store.job()).unwrap(), [ids[1]]);
    assert_eq!(listed(&store), ids[1..]);
    assert!(!store.repository.snapshots().unwrap().snapshots[0].standing.is_forgotten);
    assert_eq!(keep_last(&store, 1).removed().count(), 0);
    assert!(say(&store, &ids[1], &Change { is_pinned: Some(false), ..Change::default() }));
    assert_eq!(keep_last(&store, 1).removed().collect::<Vec<_>>(), ids[1..2]);
}

#[test]
fn who_pins_what_has_just_been_forgotten_hears_of_it() {
    let store = Store::new();
    let ids = three(&store);
    let listing = store.repository.snapshots().unwrap();
    apply(&store.repository, &keep_last(&store, 1), store.job()).unwrap();
    let error = remark(&store.repository, &listing.snapshots[0], &pin()).unwrap_err();
    assert!(error.kind() == Kind::Missing && error.advice().contains(&ids[0].short()), "{error}");
}

#[test]
fn a_snapshot_whose_data_is_condemned_comes_back_with_data_of_its_own() {
    let store = Store::new();
    let ids = three(&store);
    let all_packs: Vec<ObjectId> = store.repository.list(Folder::Packs).unwrap();
    apply(&store.repository, &keep_last(&store, 1), store.job()).unwrap();
    let session = Session::begin(&store.repository, &SessionRecord::default()).unwrap();
    let tomb = Tomb { packs: all_packs.clone(), ..Tomb::default() };
    let tomb = session.put(Folder::Tombs, &[(Audience::Index, &tomb.encode())]).unwrap();
    bring_back(&store, &ids[0]).unwrap();
    // All that it needs lies elsewhere now.
    for pack in &all_packs {
        store.repository.discard(Folder::Packs, pack).unwrap();
    }
    store.repository.storage().delete(&Folder::Tombs.key(&tomb)).unwrap();
    let catalogue = Catalogue::open_to_write(&store.repository, store.job()).unwrap();
    let reader = ChunkReader::new(&store.repository, &catalogue);
    let sources = store.repository.snapshot(&ids[0]).unwrap().body.sources;
    assert_eq!(whole::missing(&reader, &sources, store.job()).unwrap().first(), None);
    // What is nowhere cannot come back.
    for pack in &all_packs {
        store.repository.delete_trashed(Folder::Packs, pack).unwrap();
    }
    let error = bring_back(&store, &ids[1]).unwrap_err();
    assert!(error.kind() == Kind::Failed && error.what().contains("cannot be brought back"), "{error}");
    assert_eq!(store.repository.trashed_snapshots().unwrap().snapshots.len(), 1);
    assert!(!listed(&store).contains(&ids[1]));
}

#[test]
fn what_was_damaged_when_it_was_forgotten_comes_back_damaged() {
    for is_known in [true, false] {
        let store = Store::new();
        store.file("good", b"good");
        store.file("bad", &noise(900_000));
        let id = store.backup();
        store.remove("bad");
        store.backup();
        store.lose_data();
        let checked = || {
            let request = Request { data: Some(1.0), time_max: None, bytes_max: None };
            check(&store.repository, &request, store.job()).unwrap().found
        };
        let forget = || {
            let listing = store.repository.snapshots_anew().unwrap();
            let plan = plan(&store.repository, &listing, What::Named(&BTreeSet::from([id])), &TimeZone::UTC).unwrap();
            assert_eq!(plan.removed().collect::<Vec<_>>(), [id]);
            apply(&store.repository, &plan, store.job()).unwrap();
        };
        assert!(!is_known || checked().len() == 1);
        forget();
        assert_eq!(checked(), []);
        bring_back(&store, &id).unwrap();
        let warnings = store.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("comes back as it was, damaged: "), "{warnings:?}");
        let back = &store.repository.snapshots().unwrap().snapshots[0];
        assert!(back.id == id && back.confirmed && matches!(back.proof(), Proof::Damaged(_)), "{:?}", back.proof());
        let found = checked();
        assert!(found.len() == 1 && found[0].affects.len() == 1 && found[0].affects[0].path == b"bad", "{found:?}");
        // What a prune has taken is another matter.
        forget();
        let grace = Some(Duration::from_secs(3600));
        let limits = prune::plan::Limits { unused_max: 0.0, repack_bytes_max: None };
        let options = prune::Options { limits, grace, no_wait: true };
        let plan = prune::plan(&store.repository, &options, store.job()).unwrap();
        assert!(prune::apply(&store.repository, plan, &options, store.job()).unwrap().packs_removed > 0);
        let error = bring_back(&store, &id).unwrap_err();
        assert!(error.what().contains("cannot be brought back"), "{error}");
    }
}

#[test]
fn a_note_that_cannot_be_read_stops_everything() {
    let store = Store::new();
    let ids = three(&store);
    say(&store, &ids[0], &pin());
    let note = store.repository.list(Folder::Notes).unwrap()[0];
    let key = Folder::Notes.key(&note);
    let bytes = store.repository.storage().get(&key, u64::MAX).unwrap();
    store.repository.storage().delete(&key).unwrap();
    store.repository.storage().put(&key, &bytes[..bytes.len() / 2]).unwrap();
    let listing = store.repository.snapshots_anew().unwrap();
    let named = BTreeSet::from([ids[0]]);
    let error = plan(&store.repository, &listing, What::Named(&named), &TimeZone::UTC).unwrap_err();
    assert!(error.kind() == Kind::Damage && error.what().contains("it may pin a snapshot"), "{error}");
}

/// A remark of a program to come may be a hold of some new kind.
#[test]
fn a_remark_that_only_a_newer_program_understands_stops_everything() {
    let store = Store::new();
    let ids = three(&store);
    let mut newer = crate::record::Remark::of(ids[0], crate::entry::Time::default());
    newer.unknown.push((crate::wire::critical(30), b"hold".to_vec()));
    let note = Note { remarks: vec![newer], ..Note::default() };
    crate::ops::notes::leave(&store.repository, &note).unwrap();
    let listing = store.repository.snapshots().unwrap();
    let named = BTreeSet::from([ids[0]]);
    let error = plan(&store.repository, &listing, What::Named(&named), &TimeZone::UTC).unwrap_err();
    assert_eq!(error.kind(), Kind::Newer, "{error}");
}

#[test]
fn a_damaged_snapshot_stays_unless_it_is_named() {
    let store = Store::new();
    let ids = three(&store);
    let key = Folder::Snapshots.key(&ids[2]);
    store.repository.storage().delete(&key).unwrap();
    store.repository.storage().put(&key, b"noise").unwrap();
    let of_rules = keep_last(&store, 1);
    assert_eq!(of_rules.removed().collect::<Vec<_>>(), ids[..1], "the newest that is whole stays");
    assert!(of_rules.damaged.len() == 1 && !of_rules.damaged[0].2);
    let listing = store.repository.snapshots_anew().unwrap();
    let named = BTreeSet::from([ids[2]]);
    let plan = plan(&store.repository, &listing, What::Named(&named), &TimeZone::UTC).unwrap();
    apply(&store.repository, &plan, store.job()).unwrap();
    let listing = store.repository.snapshots_anew().unwrap();
    assert!(listing.damaged.is_empty() && listing.gone.is_empty());
}
