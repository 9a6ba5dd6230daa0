//! Valid inputs for the targets, and the keys that they are sealed with.

use std::collections::BTreeMap;

use larder::chunk::Params;
use larder::clock::System;
use larder::crypto::{Argon, Audience, ChunkKind, Keyring, Secret};
use larder::entry::{ChunkRef, Content, Entry, Extent, Kind, Time};
use larder::id::{ChunkId, ChunkPrefix, ObjectId, RepositoryId, SessionId};
use larder::index::{Index, PackEntry};
use larder::pack::{ChunkInfo, Delta, DeltaFrameBuilder, FrameBuilder, FrameInfo, Slice, Table, encode_delta};
use larder::record::{
    BadFrame, Body, Condition, Config, Damage, Depth, Drill, Facts, Journal, Note, Reason, Remark, SessionEnd,
    SessionRecord, Slot, SlotLabel, SlotLock, SourceBody, SourceKind, SourceSummary, State, Statistics, Summary,
    TableFacts, Tomb, Verdict,
};
use larder::seal::{Compressor, Decompressor, Header, ObjectKind, SessionSecrets, write_object};
use larder::tree::{ChunkList, Large, Root, StoredEntry, encode_extents, encode_xattrs};
use larder::wire::{Record, Unknown, critical, optional, put_prefixed, put_signed, put_varint};

use crate::play;
use crate::random::Random;

const TIME: Time = Time { seconds: 1_790_000_000, nanos: 999_999_999 };

/// The content of the key file that opens the slots.
pub const SLOT_SECRET: [u8; 32] = [7; 32];

/// What is sealed in the objects.
pub const SECTIONS: &[&[u8]] = &[b"", b"a summary", &[9; 3000]];

/// All kinds of objects.
pub const KINDS: &[ObjectKind] = &[
    ObjectKind::Config,
    ObjectKind::KeySlot,
    ObjectKind::Pack,
    ObjectKind::Index,
    ObjectKind::Snapshot,
    ObjectKind::Session,
    ObjectKind::SessionEnd,
    ObjectKind::Tomb,
    ObjectKind::Damage,
    ObjectKind::Note,
    ObjectKind::Parity,
];

/// The keys of all seeds.
pub fn keys() -> Keyring {
    Keyring::new(Secret::new([1; 32]), BTreeMap::from([(1, Secret::new([2; 32])), (4, Secret::new([3; 32]))]))
}

/// Of the slots.
pub fn label() -> SlotLabel {
    SlotLabel { label: b"root@host".to_vec(), created: TIME }
}

fn object_header(kind: ObjectKind) -> Header {
    let (repository, session) = (RepositoryId::new([3; 16]), SessionId::new([4; 16]));
    Header { kind, epoch: 4, repository, session, salt: [5; 32] }
}

fn later() -> Unknown {
    vec![(optional(60), b"later".to_vec())]
}

fn list<T>(count: u8, item: impl Fn([u8; 32]) -> T) -> Vec<T> {
    (1..=count).map(|n| item([n; 32])).collect()
}

/// See the target of this name.
pub fn wire() -> Vec<Vec<u8>> {
    let mut numbers = Vec::new();
    for number in [0, 1, 127, 128, u64::MAX] {
        put_varint(&mut numbers, number);
        put_signed(&mut numbers, (number as i64).wrapping_neg());
        put_prefixed(&mut numbers, &[1; 5]);
    }
    let record = Record::default()
        .varint(critical(1), 300)
        .bytes(optional(2), b"x")
        .bytes(optional(2), &numbers)
        .bytes(critical(9000), b"")
        .finish();
    vec![record, vec![]]
}

/// See the target of this name.
pub fn header() -> Vec<Vec<u8>> {
    let one = |(n, kind): (usize, &ObjectKind)| [&[n as u8], &object_header(*kind).encode()[..]].concat();
    KINDS.iter().enumerate().map(one).collect()
}

/// See the target of this name.
pub fn object() -> Vec<Vec<u8>> {
    let keys = keys();
    let header = object_header(ObjectKind::Snapshot);
    let sections: Vec<_> = Audience::ALL.into_iter().zip(SECTIONS.iter().copied()).collect();
    let secrets = SessionSecrets::generate(&System::default()).unwrap_or_else(|error| panic!("{error}"));
    (0..=sections.len()).filter_map(|count| write_object(&keys, &secrets, &header, &sections[..count]).ok()).collect()
}

/// See the target of this name.
pub fn config() -> Vec<Vec<u8>> {
    let config = |features: &[&[u8]], unknown| Config {
        header: object_header(ObjectKind::Config),
        features_to_write: features.iter().map(|feature| feature.to_vec()).collect(),
        features_optional: vec![b"colour".to_vec()],
        chunker: Params::FILES,
        created: TIME,
        generation: 3,
        unknown,
    };
    [config(&[], Unknown::new()), config(&[b"deltas", b"parity"], later())]
        .map(|config| {
            let mut bytes = config.encode(&keys().identity);
            bytes.truncate(bytes.len() - 32);
            bytes
        })
        .to_vec()
}

/// See the target of this name.
pub fn key_slot() -> Vec<Vec<u8>> {
    let key = SlotLock::KeyFile.key(&SLOT_SECRET);
    let locks = [SlotLock::KeyFile, SlotLock::Password(Argon::DEFAULT, [8; 32])];
    let slot = |lock| {
        let header = object_header(ObjectKind::KeySlot);
        key.as_ref().map(|key| Slot::lock(header, lock, key, &keys(), &label()).encode())
    };
    locks.into_iter().filter_map(slot).collect()
}

/// See the target of this name.
pub fn key_file() -> Vec<Vec<u8>> {
    vec![format!("LARDER-KEY-1-{}", "0a".repeat(32)).into_bytes()]
}

/// See the target of this name.
pub fn trailer() -> Vec<Vec<u8>> {
    let bytes = |size: u64, numbers: [u32; 3]| {
        [&size.to_le_bytes(), numbers.map(u32::to_le_bytes).as_flattened(), b"KCAP"].concat()
    };
    vec![bytes(4096, [179, 40, 0]), bytes(32 << 20, [30 << 20, 100_000, 400])]
}

/// See the target of this name.
pub fn parity() -> Vec<Vec<u8>> {
    let trailer = |table_end: u32| [[table_end - 40, 40, 1].map(u32::to_le_bytes).as_flattened(), b"KCAP"].concat();
    let pack =
        |table_end: u32| [vec![7; table_end as usize], trailer(table_end), vec![9; 64], trailer(table_end)].concat();
    vec![pack(200), pack(5000)]
}

fn shape() -> Table {
    let mut table = Table::default();
    for (n, kind) in ChunkKind::ALL.into_iter().enumerate() {
        let bases = |c: u8| (0..c % 4).map(|base| ChunkPrefix::new([base; 16])).collect();
        let delta = |c: u8| Delta { rank: c % 4 * 16, bases: bases(c) };
        let chunk = |c| ChunkInfo {
            id: ChunkPrefix::new([n as u8 * 16 + c; 16]),
            raw_len: u32::from(c + 1) << 12,
            delta: delta(c),
        };
        let chunks = (0..=n as u8 * 3).map(chunk);
        let (offset, stored_len) = (table.end(), 16 + 5000 * n as u32);
        table.frames.push(FrameInfo { kind, offset, stored_len, chunks: chunks.collect() });
    }
    table
}

/// See the target of this name.
pub fn table() -> Vec<Vec<u8>> {
    let mut full = Vec::new();
    shape().put(&mut full);
    vec![full, vec![0]]
}

/// See the target of this name.
pub fn frame() -> Vec<Vec<u8>> {
    let keys = keys();
    let mut out = Vec::new();
    for level in [None, Some(3)] {
        let (mut compressor, decompressor) = (level.map(Compressor::new), Decompressor::new());
        let (Ok(mut decompressor), compressor) = (decompressor, compressor.as_mut().and_then(|c| c.as_mut().ok()))
        else {
            continue;
        };
        let mut builder = FrameBuilder::new(ChunkKind::Data);
        for len in [1, 200, 5000] {
            let chunk = vec![len as u8; len];
            builder.push(keys.identity.chunk_id(ChunkKind::Data, &chunk), &chunk);
        }
        let frame = builder.finish(compressor, &mut decompressor, &keys.identity);
        out.extend(frame.map(|frame| frame.body));
    }
    let mut deltas = DeltaFrameBuilder::new(ChunkKind::Data);
    for (n, payload) in delta().iter().enumerate() {
        let delta = Delta { rank: 1, bases: vec![ChunkPrefix::new([n as u8; 16])].into() };
        deltas.push(ChunkInfo { id: ChunkPrefix::new([n as u8; 16]), raw_len: 5000, delta }, payload);
    }
    out.extend(deltas.finish().map(|frame| frame.body));
    out
}

/// What the bases are of which deltas are made.
pub fn bases() -> [Vec<u8>; 2] {
    [3u32, 5].map(|step| (0..3000u32).flat_map(|n| (n * n * step).to_le_bytes()).collect())
}

/// See the target of this name.
pub fn delta() -> Vec<Vec<u8>> {
    let [a, b] = bases();
    let Ok(mut compressor) = Compressor::new(3) else { return Vec::new() };
    let edited = [&a[..2000], b"edited", &a[2100..5094]].concat();
    let moved = [&b[500..3500], &a[1000..3000]].concat();
    let slices = [Slice { base: 1, offset: 400, len: 3200 }, Slice { base: 0, offset: 900, len: 2200 }];
    let all: [(&[u8], &[Slice]); 3] = [(&edited, &[]), (&moved, &slices), (&[7; 5000], &[])];
    all.into_iter().filter_map(|(raw, slices)| encode_delta(raw, &[&a, &b], slices, &mut compressor)).collect()
}

/// See the target of this name.
pub fn index() -> Vec<Vec<u8>> {
    let table = shape();
    let pack = PackEntry { id: ObjectId::new([1; 32]), size: table.end() + 1000, table };
    let empty = PackEntry { id: ObjectId::new([2; 32]), size: 4096, table: Table::default() };
    let whole = Index { supersedes: list(2, ObjectId::new), packs: vec![pack, empty], unknown: later() };
    vec![whole.encode(), Index::default().encode()]
}

/// See the target of this name.
pub fn chunk_list() -> Vec<Vec<u8>> {
    let items = |count, shift| list(count, |id| ChunkRef { id: ChunkId::new(id), len: u64::from(id[0]) << shift });
    vec![ChunkList { level: 1, items: items(40, 16) }.encode(), ChunkList { level: 3, items: items(1, 50) }.encode()]
}

fn content(count: u8) -> Content {
    Content { level: 0, chunks: list(count, |id| ChunkRef { id: ChunkId::new(id), len: 1000 }) }
}

fn attributes() -> Vec<u8> {
    encode_xattrs(&[(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), vec![0; 40])])
}

fn holes() -> Vec<Extent> {
    vec![Extent { offset: 0, len: 500 }, Extent { offset: 1 << 20, len: 1500 }]
}

/// See the target of this name.
pub fn entry() -> Vec<Vec<u8>> {
    let base = |kind| {
        let (user, group) = (b"anna".to_vec(), b"users".to_vec());
        Entry { mode: 0o4755, uid: 1000, gid: u32::MAX, user, group, mtime: TIME, ..Entry::new(kind) }
    };
    let stored = |entry| StoredEntry { entry, xattrs: None, extents: None, facts: None, unknown: Unknown::new() };
    let far = ChunkRef { id: ChunkId::new([6; 32]), len: 70_000 };
    let file = Entry { size: 3000, content: content(3), hard_link: Some([4; 16]), ..base(Kind::File) };
    let sparse = Entry { size: 2 << 20, content: content(2), ..base(Kind::File) };
    let holes = Large::Inline(encode_extents(&holes()));
    [
        stored(Entry::new(Kind::File)),
        stored(file.clone()),
        stored(base(Kind::Directory)),
        stored(Entry { target: b"../there".to_vec(), ..base(Kind::Symlink) }),
        stored(Entry { device: (8, 1), ..base(Kind::BlockDevice) }),
        stored(base(Kind::Fifo)),
        StoredEntry { extents: Some(holes), ..stored(sparse.clone()) },
        StoredEntry { extents: Some(Large::Chunk(far)), xattrs: Some(Large::Chunk(far)), ..stored(sparse) },
        StoredEntry { facts: Some(Large::Inline(facts().encode())), ..stored(file.clone()) },
        StoredEntry { facts: Some(Large::Chunk(far)), ..stored(file.clone()) },
        StoredEntry { xattrs: Some(Large::Inline(attributes())), unknown: later(), ..stored(file) },
    ]
    .map(|entry| entry.encode())
    .to_vec()
}

fn facts() -> Facts {
    let table = |name: &[u8], rows| TableFacts { name: name.to_vec(), rows };
    Facts {
        page_bytes: 4096,
        pages: 1 << 40,
        journal: Journal::Wal,
        user_version: -1,
        application_id: i32::MAX,
        encoding: b"UTF-8".to_vec(),
        schema: [7; 32],
        tables: vec![table(b"a", Some(0)), table(b"b\xff", Some(u64::MAX - 1)), table(b"c", None)],
        tables_total: 5,
        unknown: later(),
        ..Facts::default()
    }
}

/// See the target of this name.
pub fn database_facts() -> Vec<Vec<u8>> {
    vec![facts().encode(), Facts::default().encode()]
}

/// See the target of this name.
pub fn xattrs() -> Vec<Vec<u8>> {
    vec![attributes(), vec![]]
}

/// See the target of this name.
pub fn extents() -> Vec<Vec<u8>> {
    let bytes = |size: u64, len: u64, extents: &[Extent]| {
        [&size.to_le_bytes()[..], &len.to_le_bytes(), &encode_extents(extents)].concat()
    };
    let last = Extent { offset: u64::MAX - 1, len: 1 };
    vec![bytes(2 << 20, 2000, &holes()), bytes(1 << 40, 0, &[]), bytes(u64::MAX, 1, &[last])]
}

/// See the target of this name.
pub fn path() -> Vec<Vec<u8>> {
    ["a/b\0a!", "\0a", "a\0a/b/c", "a.b/c\0a.b/c", "dir/..x\0dir/x"].map(|pair| pair.as_bytes().to_vec()).to_vec()
}

/// See the target of this name.
pub fn snapshot_summary() -> Vec<Vec<u8>> {
    let source = SourceSummary { name: b"etc".to_vec(), kind: SourceKind::Folder, entries: 5, bytes: u64::MAX };
    let statistics = Statistics { bytes_read: 1, bytes_added: 70_000, duration_ms: 9, ..Statistics::default() };
    let whole = Summary {
        time: TIME,
        utc_offset: -3600,
        zone: b"Europe/Berlin".to_vec(),
        client: b"host".to_vec(),
        user: b"root".to_vec(),
        program: b"larder 0".to_vec(),
        state: State::Partial,
        sources: vec![source.clone(), SourceSummary { name: b"hosts".to_vec(), kind: SourceKind::File, ..source }],
        statistics,
        tags: vec![b"a".to_vec(), b"b".to_vec()],
        note: b"before v2".to_vec(),
        unknown: later(),
    };
    vec![whole.encode(), Summary::default().encode()]
}

/// See the target of this name.
pub fn snapshot_body() -> Vec<Vec<u8>> {
    let source = |name: &[u8], previous| SourceBody {
        name: name.to_vec(),
        kind: SourceKind::Folder,
        origin: b"/srv/\xff".to_vec(),
        root: Root { id: ChunkId::new([1; 32]), level: 2, entries: 3, bytes: 4 },
        previous,
        unknown: later(),
    };
    let reason = Reason { source: b"etc".to_vec(), path: b"a/b".to_vec(), why: b"denied".to_vec() };
    let sources = vec![source(b"etc", None), source(b"home", Some(ObjectId::new([6; 32])))];
    let verdict = |path: &[u8], depth, wrong: &[&[u8]]| Verdict {
        source: b"etc".to_vec(),
        path: path.to_vec(),
        image: [8; 32],
        depth,
        wrong: wrong.iter().map(|what| what.to_vec()).collect(),
    };
    let verdicts = vec![verdict(b"a.db", Depth::Pages, &[]), verdict(b"b.db", Depth::Full, &[b"page 7", b""])];
    let reasons = vec![reason.clone(), reason];
    let whole = Body { sources, reasons, reasons_total: 7, verdicts, unknown: later() };
    vec![whole.encode(), Body::default().encode()]
}

/// See the target of this name.
pub fn session() -> Vec<Vec<u8>> {
    let (client, user, program) = (b"host".to_vec(), b"root".to_vec(), b"larder 0".to_vec());
    let whole = SessionRecord { time: TIME, client, user, process: u32::MAX, program, unknown: later() };
    vec![whole.encode(), SessionRecord::default().encode()]
}

/// See the target of this name.
pub fn session_end() -> Vec<Vec<u8>> {
    let (snapshots, notes) = (list(2, ObjectId::new), list(1, ObjectId::new));
    vec![SessionEnd { snapshots, notes, unknown: later() }.encode(), SessionEnd::default().encode()]
}

/// See the target of this name.
pub fn note() -> Vec<Vec<u8>> {
    let whole = Note {
        time: TIME,
        verified: list(3, ObjectId::new),
        confirmed: list(1, ObjectId::new),
        unknown: later(),
        ..Note::default()
    };
    let snapshot = ObjectId::new([1; 32]);
    let mut failed = Drill { source: Some(b"home".to_vec()), path: b"a/b".to_vec(), ..Drill::of(snapshot) };
    failed.fail("it is not as it was");
    let drills = vec![Drill::of(snapshot), failed];
    let said = Remark {
        is_pinned: Some(true),
        tags_added: vec![b"release".to_vec()],
        tags_removed: vec![b"nightly".to_vec()],
        note: Some(b"before v2".to_vec()),
        is_forgotten: Some(false),
        unknown: later(),
        ..Remark::of(snapshot, TIME)
    };
    let forgotten = Remark { is_forgotten: Some(true), note: Some(Vec::new()), ..Remark::of(snapshot, TIME) };
    let condition = |is_damaged, unknown| Condition { snapshot, time: TIME, is_damaged, unknown };
    let conditions = vec![condition(true, Vec::new()), condition(false, later())];
    let facts = Note { time: TIME, drills, remarks: vec![said, forgotten], conditions, ..Note::default() };
    vec![whole.encode(), facts.encode()]
}

/// See the target of this name.
pub fn damage() -> Vec<Vec<u8>> {
    let bad =
        |frame| BadFrame { pack: ObjectId::new([1; 32]), frame, chunks: list(2, |id| ChunkPrefix::new([id[0]; 16])) };
    vec![Damage { frames: vec![bad(None), bad(Some(0)), bad(Some(u32::MAX))], unknown: later() }.encode()]
}

/// See the target of this name.
pub fn tomb() -> Vec<Vec<u8>> {
    vec![Tomb { packs: list(3, ObjectId::new), time: Some(TIME), unknown: later() }.encode()]
}

/// See the target of this name.
pub fn address() -> Vec<Vec<u8>> {
    [
        "latest",
        "latest~12:docs",
        "c81d0f22:docs/a b/./c",
        "@2026-11-20",
        "@2026-11-20 14:05:30:etc/hosts",
        "@2026-11-20T14:05:00+01:00:docs",
        "docs@2026-11-20T14:05",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// See the target of this name.
pub fn sqlite_header() -> Vec<Vec<u8>> {
    let mut plain = b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20".to_vec();
    plain.resize(100, 0);
    let mut wal = plain.clone();
    wal[16..20].copy_from_slice(&[0, 1, 2, 2]);
    wal.extend_from_slice(&[13; 28]);
    vec![plain, wal]
}

/// See the target of this name.
pub fn sqlite_pages() -> Vec<Vec<u8>> {
    let sql = "CREATE TABLE t(a); INSERT INTO t VALUES(zeroblob(3000)), (1), ('text'), (zeroblob(400));
        INSERT INTO t SELECT zeroblob(90) FROM t, t AS u; DELETE FROM t WHERE rowid BETWEEN 6 AND 12;";
    let path = std::env::temp_dir().join(format!("larder-fuzz-{}.db", std::process::id()));
    let image = |vacuum: u32| {
        let _ = std::fs::remove_file(&path);
        let made = rusqlite::Connection::open(&path)
            .and_then(|db| db.execute_batch(&format!("PRAGMA page_size = 512; PRAGMA auto_vacuum = {vacuum}; {sql}")));
        made.expect("a database");
        std::fs::read(&path).expect("a database")
    };
    let images = vec![image(0), image(2)];
    let _ = std::fs::remove_file(&path);
    images
}

/// See the target of this name.
pub fn tree_node() -> Vec<Vec<u8>> {
    play::nodes()
}

/// See the target of this name.
pub fn tree_walk() -> Vec<Vec<u8>> {
    let nodes = play::nodes();
    let mut all = Vec::new();
    nodes.iter().for_each(|node| put_prefixed(&mut all, node));
    vec![all]
}

/// See the target of this name.
pub fn play_operations() -> Vec<Vec<u8>> {
    (0..6).map(|seed| Random::new(seed).bytes(60 * seed as usize)).collect()
}
