//! Tests: what a check counts.

use super::structure::Structure;
use super::{Findings, Request, check};
use crate::ops::testing::{Store, noise};
use crate::repo::Catalogue;
use crate::tree::TreeWalk;

#[test]
fn names_that_are_lost_themselves_are_counted() {
    let store = Store::new();
    store.many_files();
    let id = store.backup();
    store.lose_leaves(&id);
    let report = check(&store.repository, &Request { data: Some(1.0), time_max: None, bytes_max: None }, store.job());
    let told: u64 = report.unwrap().found.iter().map(|found| found.affects.len() as u64 + found.affects_more).sum();
    let lost = store.with_reader(|reader, snapshot| {
        let root = &snapshot.body.sources[0].root;
        Ok(root.entries - TreeWalk::new(reader, root).filter(Result::is_ok).count() as u64)
    });
    assert_eq!(told, lost.unwrap());
    assert!(told > 50, "{told}");
}

#[test]
fn all_snapshots_that_lose_something_are_told_however_many_files_there_are() {
    let store = Store::new();
    let bytes = noise(60 * 1000);
    bytes.chunks(1000).enumerate().for_each(|(n, part)| store.file(&format!("many/{n}"), part));
    let mut snapshots: Vec<_> = (0..24)
        .map(|n| {
            store.file("night", &[n]);
            store.backup()
        })
        .collect();
    snapshots.reverse();
    store.lose_data();
    let all = Request { data: Some(1.0), time_max: None, bytes_max: None };
    let found = check(&store.repository, &all, store.job()).unwrap().found.remove(0);
    assert_eq!(found.snapshots.iter().map(|(id, _)| *id).collect::<Vec<_>>(), snapshots);
    let sum: u64 = found.snapshots.iter().map(|(_, entries)| entries).sum();
    assert!(found.affects.len() == 1000 && found.affects_more == sum - 1000 && sum >= 24 * 60, "{sum}");
    for said in ["not all of it is named here", "`larder forget` of all snapshots that lose something (--force where"] {
        assert!(found.fix.contains(said), "{}", found.fix);
    }
}

/// As a backup or a prune beside it stores them.
#[test]
fn packs_that_came_since_the_catalogue_was_read_are_no_findings() {
    let store = Store::new();
    store.file("one", &noise(100_000));
    store.backup();
    let catalogue = Catalogue::load(&store.repository, store.job()).unwrap();
    store.file("two", &noise(200_000));
    store.backup();
    let mut findings = Findings::default();
    let packs = Structure::new(&store.repository, &catalogue, &mut findings, store.job()).packs().unwrap();
    assert!(findings.found.is_empty() && packs.1.is_empty());
    assert_eq!(packs.0.len(), catalogue.packs().len());
    assert!(Catalogue::load(&store.repository, store.job()).unwrap().packs().len() > packs.0.len());
}
