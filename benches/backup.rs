//! How fast a tree is saved: the first time, and again when nothing changed.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn backup(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let (tree, bytes) = common::tree(folder.path());
    let mut group = c.benchmark_group("backup");
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    group.bench_function("first", |b| {
        b.iter_batched(
            || common::Place::new(true),
            |place| {
                place.backup(&tree);
                // It is removed outside the measurement.
                place
            },
            BatchSize::PerIteration,
        );
    });
    let place = common::Place::new(true);
    // What was written just now is not trusted to be unchanged.
    std::thread::sleep(std::time::Duration::from_secs(4));
    place.backup(&tree);
    group.bench_function("unchanged", |b| {
        b.iter(|| assert_eq!(place.backup(&tree).summary.statistics.bytes_read, 0));
    });
    group.finish();
}

criterion_group!(benches, backup);
criterion_main!(benches);
