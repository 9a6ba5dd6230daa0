//! How fast the catalogue is read, and answers: all in memory, and from the cache on disk.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::id::ChunkId;
use larder::record::SessionRecord;
use larder::repo::{Catalogue, ChunkReader, ChunkWriter, Session};

const CHUNKS: u32 = 50_000;

/// A repository of many tiny chunks, and their ids.
fn filled() -> (common::Place, Vec<ChunkId>) {
    let place = common::Place::new(true);
    let session = Session::begin(&place.repository, &SessionRecord::default()).unwrap();
    let empty = Catalogue::load(&place.repository, common::job()).unwrap();
    let reader = ChunkReader::new(&place.repository, &empty);
    let writer = ChunkWriter::new(&session, &reader, 1);
    let mut frames = writer.frames().unwrap();
    let ids = (0..CHUNKS).map(|n| frames.store_data(&n.to_le_bytes()).unwrap().0).collect();
    frames.flush().unwrap();
    drop(frames);
    writer.finish().unwrap();
    drop(writer);
    session.end(Vec::new()).unwrap();
    (place, ids)
}

fn index(c: &mut Criterion) {
    let (place, ids) = filled();
    let strangers: Vec<ChunkId> =
        (0..CHUNKS).map(|n| ChunkId::new(*blake3::hash(&n.to_le_bytes()).as_bytes())).collect();
    let mut group = c.benchmark_group("index");
    group.throughput(Throughput::Elements(CHUNKS.into())).sample_size(10);
    let load = || Catalogue::load(&place.repository, common::job()).unwrap();
    let open = || Catalogue::open(&place.repository, common::job()).unwrap();
    group.bench_function("load", |b| b.iter(load));
    group.bench_function("open, cached", |b| b.iter(open));
    for (name, catalogue) in [("memory", load()), ("cache", open())] {
        let count = |ids: &[ChunkId]| ids.iter().filter(|id| catalogue.find(black_box(id)).is_some()).count();
        group.bench_function(format!("find, {name}"), |b| b.iter(|| assert_eq!(count(&ids), ids.len())));
        group
            .bench_function(format!("find what is not there, {name}"), |b| b.iter(|| assert_eq!(count(&strangers), 0)));
    }
    group.finish();
}

criterion_group!(benches, index);
criterion_main!(benches);
