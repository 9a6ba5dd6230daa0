//! How fast streams are cut.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::chunk::{Cutter, Params};
use larder::crypto::Secret;

fn cut(c: &mut Criterion) {
    let cutter = Cutter::new(&Secret::new([1; 32]), Params::FILES);
    let mut group = c.benchmark_group("chunk");
    for (name, data) in [("noise", common::noise(1, 32 << 20)), ("text", common::text(1, 32 << 20))] {
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.sample_size(10).bench_function(name, |b| {
            b.iter(|| {
                let mut rest = data.as_slice();
                let mut cuts = 0;
                while !rest.is_empty() {
                    rest = &rest[cutter.cut(black_box(rest))..];
                    cuts += 1;
                }
                cuts
            });
        });
    }
    group.finish();
}

criterion_group!(benches, cut);
criterion_main!(benches);
