//! How fast a frame is compressed, proven and sealed; and opened, unpacked and proven again.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use larder::clock::System;
use larder::crypto::{ChunkKind, Keyring, Secret};
use larder::id::{ChunkPrefix, RepositoryId, SessionId};
use larder::pack::{Frame, FrameBuilder, PackBuilder, PackKey};
use larder::seal::{Compressor, Decompressor, Header, ObjectKind, SessionSecrets};

const CHUNK_BYTES: usize = 64 << 10;
const FRAME_BYTES: usize = 2 << 20;

fn keys() -> Keyring {
    Keyring::new(Secret::new([1; 32]), BTreeMap::from([(1, Secret::new([2; 32]))]))
}

fn begin(keys: &Keyring, secrets: &SessionSecrets) -> (PackBuilder, Vec<u8>) {
    let (repository, session) = (RepositoryId::new([3; 16]), SessionId::new([4; 16]));
    let header = Header { kind: ObjectKind::Pack, epoch: 1, repository, session, salt: [5; 32] };
    PackBuilder::begin(keys, secrets, header).unwrap()
}

fn frame(data: &[u8], compressor: Option<&mut Compressor>, decompressor: &mut Decompressor, keys: &Keyring) -> Frame {
    let mut builder = FrameBuilder::new(ChunkKind::Data);
    for chunk in data.chunks(CHUNK_BYTES) {
        builder.push(keys.identity.chunk_id(ChunkKind::Data, chunk), chunk);
    }
    builder.finish(compressor, decompressor, &keys.identity).unwrap()
}

fn seal(c: &mut Criterion) {
    let (keys, secrets) = (keys(), SessionSecrets::generate(&System::default()).unwrap());
    let mut decompressor = Decompressor::new().unwrap();
    let mut group = c.benchmark_group("seal");
    let kinds = [("text", common::text(1, FRAME_BYTES), Some(3)), ("noise", common::noise(1, FRAME_BYTES), None)];
    for (name, data, level) in kinds {
        let mut compressor = level.map(|level| Compressor::new(level).unwrap());
        group.throughput(Throughput::Bytes(data.len() as u64)).sample_size(10);
        let (mut pack, head) = begin(&keys, &secrets);
        let mut first = frame(&data, compressor.as_mut(), &mut decompressor, &keys);
        let ids: Vec<_> = first.chunks.iter().map(|chunk| chunk.id).collect();
        pack.add(&mut first);
        let sealed = first.body;
        let (_, key) = PackKey::open(&keys, &head).unwrap();
        group.bench_function(format!("{name}, in"), |b| {
            b.iter(|| pack.add(&mut frame(&data, compressor.as_mut(), &mut decompressor, &keys)));
        });
        group.bench_function(format!("{name}, out"), |b| {
            let open = |mut sealed: Vec<u8>| {
                let plain = key.open_frame(ChunkKind::Data, 0, &mut sealed, &mut decompressor).unwrap();
                let right = |(n, id): (usize, &ChunkPrefix)| {
                    keys.identity.chunk_id(ChunkKind::Data, plain.chunk(n).unwrap()).prefix() == *id
                };
                assert!(ids.iter().enumerate().all(right));
            };
            b.iter_batched(|| sealed.clone(), open, BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, seal);
criterion_main!(benches);
