//! How fast many snapshots are listed: from the cache, and from the objects themselves.
//!
//! `LARDER_SNAPSHOTS` says how many (1000).
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::entry::Time;
use larder::id::ChunkId;
use larder::record::{Body, SessionRecord, SourceBody, SourceKind, SourceSummary, Summary};
use larder::repo::{Repository, Session};
use larder::tree::Root;

/// One run's snapshot, as after a backup; there is nothing behind its root.
fn take(repository: &Repository, n: u64) {
    let (name, kind, origin) = (b"home".to_vec(), SourceKind::Folder, b"/home/anna".to_vec());
    let root = Root { id: ChunkId::ZERO, level: 2, entries: 10_000, bytes: n };
    let summary = Summary {
        time: Time { seconds: n as i64 * 3600, nanos: 0 },
        client: b"host".to_vec(),
        user: b"anna".to_vec(),
        program: b"larder".to_vec(),
        sources: vec![SourceSummary { name: name.clone(), kind, entries: root.entries, bytes: root.bytes }],
        note: format!("run {n}").into_bytes(),
        ..Summary::default()
    };
    let source = SourceBody { name, kind, origin, root, previous: None, unknown: Vec::new() };
    let session = Session::begin(repository, &SessionRecord::default()).unwrap();
    let id = session.put_snapshot(&summary, &Body { sources: vec![source], ..Body::default() }).unwrap();
    session.end(vec![id]).unwrap();
}

fn snapshots(c: &mut Criterion) {
    let count: u64 = std::env::var("LARDER_SNAPSHOTS").map_or(1000, |text| text.parse().unwrap());
    let place = common::Place::new(true);
    (0..count).for_each(|n| take(&place.repository, n));
    let mut group = c.benchmark_group("snapshots");
    group.throughput(Throughput::Elements(count)).sample_size(10);
    let is_whole = |listing: larder::repo::Listing| {
        assert!(listing.snapshots.len() as u64 == count && listing.snapshots.iter().all(|info| info.confirmed));
    };
    group.bench_function("anew", |b| b.iter(|| is_whole(place.repository.snapshots_anew().unwrap())));
    group.bench_function("cached", |b| b.iter(|| is_whole(place.repository.snapshots().unwrap())));
    group.finish();
}

criterion_group!(benches, snapshots);
criterion_main!(benches);
