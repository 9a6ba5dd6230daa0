//! How fast a tree is given back.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use larder::ops::restore::{self, Part, Pick, Target};
use larder::repo::Catalogue;
use larder::target::files::Existing;

fn give_back(c: &mut Criterion) {
    let place = common::Place::new(false);
    let (tree, bytes) = common::tree(place.folder.path());
    let report = place.backup(&tree);
    let snapshot = place.repository.snapshot(&report.snapshot).unwrap();
    let part = Part { source: 0, into: Vec::new(), pick: Pick::At(Vec::new()) };
    let mut group = c.benchmark_group("restore");
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    group.bench_function("all", |b| {
        b.iter_batched(
            || tempfile::tempdir().unwrap(),
            |to| {
                let catalogue = Catalogue::open(&place.repository, common::job()).unwrap();
                let parts = std::slice::from_ref(&part);
                let path = to.path().join("tree");
                let target = Target { path: &path, existing: Existing::Refuse, repository: None };
                let report = restore::restore(&place.repository, &catalogue, &snapshot, parts, target, common::job());
                assert!(report.unwrap().lost.is_empty());
                to
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, give_back);
criterion_main!(benches);
