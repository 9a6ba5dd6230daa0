//! One object of every kind, byte for byte.
//!
//! Nothing here is compressed when it is written, because another zstd may give other bytes: each test checks that.
//! One more pack is compressed; its bytes are only read.

use std::collections::BTreeMap;
use std::fs;

use larder::chunk::Params;
use larder::crypto::{Argon, Audience, ChunkKind, Keyring, Secret};
use larder::entry::{ChunkRef, Content, Entry, Extent, Kind, Time};
use larder::id::{ChunkId, ChunkPrefix, ObjectId, RepositoryId, SessionId};
use larder::index::{Index, PackEntry};
use larder::pack::{
    ChunkInfo, Delta, DeltaFrameBuilder, FrameBuilder, FrameInfo, HEAD_BYTES, PackBuilder, PackKey, Slice, Stored,
    TRAILER_BYTES, Table, Trailer, decode_table, encode_delta,
};
use larder::record::{
    BadFrame, Body, Condition, Config, Damage, Depth, Drill, Facts, Journal, Note, Reason, Remark, SessionEnd,
    SessionRecord, Slot, SlotLabel, SlotLock, SourceBody, SourceKind, SourceSummary, State, Statistics, Summary,
    TableFacts, Tomb, Verdict, add_check, strip_check,
};
use larder::seal::{
    Compressor, Decompressor, Header, ObjectKind, SessionSecrets, WRAP_BYTES, open_section, sections, write_object,
};
use larder::tree::{
    Child, ChunkList, Large, ListBuilder, Node, NodeItems, Root, Store, StoredEntry, TreeBuilder, decode_extents,
    encode_extents, encode_xattrs,
};

use super::world::{Counting, TIME};
use super::{golden, renewing};

/// Root secret and the secrets of two epochs.
pub fn keys() -> Keyring {
    let secret = |first: u8| Secret::new(std::array::from_fn(|i| first + i as u8));
    Keyring::new(secret(0), BTreeMap::from([(1, secret(0x40)), (2, secret(0x80))]))
}

/// The secrets of one session: all bytes 1 for content, 2 for summaries, 3 for the index.
pub fn secrets() -> SessionSecrets {
    SessionSecrets::generate(&Counting::default()).unwrap()
}

/// A header with fixed ids; the salt tells objects apart.
pub fn header(kind: ObjectKind) -> Header {
    Header {
        kind,
        epoch: 2,
        repository: RepositoryId::new([0x11; 16]),
        session: SessionId::new([0x22; 16]),
        salt: [0x30 + kind as u8; 32],
    }
}

fn unowned(kind: ObjectKind, epoch: u32) -> Header {
    Header { epoch, session: SessionId::ZERO, ..header(kind) }
}

/// Bytes that no compressor makes shorter.
fn noise<const N: usize>(seed: &str) -> [u8; N] {
    let mut out = [0; N];
    blake3::Hasher::new_derive_key("larder golden noise").update(seed.as_bytes()).finalize_xof().fill(&mut out);
    out
}

pub fn object_id(seed: &str) -> ObjectId {
    ObjectId::new(noise(seed))
}

fn chunk_id(seed: &str) -> ChunkId {
    ChunkId::new(noise(seed))
}

/// Compares with the golden file, or writes it; the golden bytes.
fn pinned(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = golden("objects").join(name);
    if renewing() {
        fs::create_dir_all(golden("objects")).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    let found = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let differs = found.iter().zip(bytes).position(|(a, b)| a != b).or((found.len() != bytes.len()).then_some(0));
    if let Some(at) = differs {
        panic!("{name}: {} bytes written, {} expected; they differ at byte {at}", bytes.len(), found.len());
    }
    found
}

/// Writes a sealed object of these sections, compares it, and opens it again.
fn sealed<const N: usize>(name: &str, kind: ObjectKind, parts: [(Audience, Vec<u8>); N]) -> [Vec<u8>; N] {
    let borrowed: Vec<(Audience, &[u8])> =
        parts.iter().map(|(audience, bytes)| (*audience, bytes.as_slice())).collect();
    let bytes = write_object(&keys(), &secrets(), &header(kind), &borrowed).unwrap();
    let raw = 96 + parts.iter().map(|(_, part)| 1 + WRAP_BYTES + 4 + 1 + part.len() + 16).sum::<usize>();
    assert_eq!(bytes.len(), raw, "{name} was compressed; take noisier content");
    if kind == ObjectKind::SessionEnd {
        let found = pinned(name, &add_check(bytes));
        return opened(strip_check(&found, name_of(kind)).unwrap(), kind);
    }
    opened(&pinned(name, &bytes), kind)
}

fn name_of(kind: ObjectKind) -> &'static str {
    kind.name()
}

fn opened<const N: usize>(bytes: &[u8], kind: ObjectKind) -> [Vec<u8>; N] {
    let (found, parts) = sections(bytes, kind).unwrap();
    assert_eq!(found, header(kind));
    let plain: Vec<Vec<u8>> = parts.iter().map(|part| open_section(&keys(), &found, part).unwrap()).collect();
    plain.try_into().unwrap()
}

#[test]
fn config() {
    let config = Config {
        header: unowned(ObjectKind::Config, 0),
        features_to_write: vec![b"must be known to write".to_vec()],
        features_optional: vec![b"may be ignored".to_vec()],
        chunker: Params { min: 128 << 10, avg: 256 << 10, max: 1 << 20 },
        generation: 0,
        created: TIME,
        unknown: vec![(40, b"from a newer program".to_vec())],
    };
    let identity = &keys().identity;
    let found = pinned("config", &config.encode(identity));
    assert!(Config::verify(&found, identity));
    assert_eq!(Config::parse(&found), Ok(config));
}

#[test]
fn key_slots() {
    let password = SlotLock::Password(Argon { memory_kib: 64 << 10, passes: 3, lanes: 4 }, noise("salt"));
    let cases: [(&str, SlotLock, &[u8]); 2] = [
        ("key-slot-file", SlotLock::KeyFile, &[0x77; 32]),
        ("key-slot-password", password, b"correct horse battery staple"),
    ];
    for (name, lock, secret) in cases {
        let key = lock.key(secret).unwrap();
        let label = SlotLabel { label: b"a label".to_vec(), created: TIME };
        let slot = Slot::lock(unowned(ObjectKind::KeySlot, 2), lock, &key, &keys(), &label);
        let found = Slot::parse(&pinned(name, &slot.encode())).unwrap();
        assert!(found.is_opened_by(&key));
        let ring = found.unlock(&key).unwrap();
        assert_eq!(ring.expose(), keys().expose());
        assert_eq!(found.label(&ring), Some(label));
    }
}

/// Frames of every kind of chunk.
fn frames(keys: &Keyring) -> Vec<(ChunkKind, Vec<Vec<u8>>)> {
    let _ = keys;
    let noise = |seed: &str| noise::<200>(seed).to_vec();
    vec![
        (ChunkKind::Data, vec![noise("one"), b"two".to_vec(), noise("three")]),
        (ChunkKind::Node, vec![noise("a node")]),
        (ChunkKind::List, vec![noise("a list")]),
        (ChunkKind::Attr, vec![noise("attributes")]),
    ]
}

fn build_pack(frames: &[(ChunkKind, Vec<Vec<u8>>)], level: Option<i32>) -> (Vec<u8>, Table) {
    let keys = keys();
    let (mut builder, mut out) = PackBuilder::begin(&keys, &secrets(), header(ObjectKind::Pack)).unwrap();
    let mut decompressor = Decompressor::new().unwrap();
    for (kind, chunks) in frames {
        let mut frame = FrameBuilder::new(*kind);
        for chunk in chunks {
            frame.push(keys.identity.chunk_id(*kind, chunk), chunk);
        }
        let mut compressor = level.map(|level| Compressor::new(level).unwrap());
        let mut finished = frame.finish(compressor.as_mut(), &mut decompressor, &keys.identity).unwrap();
        builder.add(&mut finished);
        out.extend(finished.body);
    }
    let (tail, packed) = builder.finish();
    out.extend(tail);
    assert_eq!((packed.id, packed.size), (ObjectId::of(&out), out.len() as u64));
    let table = read_pack(&out).0;
    (out, table)
}

/// Reads a pack from its bytes and the keys: kind and plaintext of each chunk, whose id has been compared.
fn read_pack(bytes: &[u8]) -> (Table, Vec<(ChunkKind, Vec<u8>)>) {
    let keys = keys();
    let (found, key) = PackKey::open(&keys, &bytes[..HEAD_BYTES]).unwrap();
    assert_eq!(found, header(ObjectKind::Pack));
    let trailer = Trailer::parse(&bytes[bytes.len() - TRAILER_BYTES..], bytes.len() as u64).unwrap();
    let at = trailer.table_offset as usize;
    let table = decode_table(&key, &trailer, &bytes[at..][..trailer.table_len as usize]).unwrap();
    let (mut out, mut decompressor) = (Vec::new(), Decompressor::new().unwrap());
    for (ordinal, frame) in table.frames.iter().enumerate() {
        let mut sealed = bytes[frame.offset as usize..][..frame.stored_len as usize].to_vec();
        let plain = key.open_frame(frame.kind, ordinal as u32, &mut sealed, &mut decompressor).unwrap();
        assert_eq!(plain.count(), frame.chunks.len());
        for (n, chunk) in frame.chunks.iter().enumerate() {
            let bytes = match plain.stored(n).unwrap() {
                Stored::Full(bytes) => bytes.to_vec(),
                Stored::Delta(stored) => {
                    assert_eq!(*stored.delta, chunk.delta);
                    // Bases lie before what needs them, in this pack.
                    let at = |base: &ChunkPrefix| {
                        let is_it =
                            |(kind, bytes): &&(_, Vec<u8>)| keys.identity.chunk_id(*kind, bytes).prefix() == *base;
                        out.iter().find(is_it).map(|(_, bytes): &(_, Vec<u8>)| &bytes[..]).unwrap()
                    };
                    let bases: Vec<&[u8]> = stored.delta.bases.iter().map(at).collect();
                    let mut bytes = Vec::new();
                    stored.decode(&bases, &mut decompressor, &mut bytes).unwrap();
                    bytes
                }
            };
            assert_eq!(
                (keys.identity.chunk_id(frame.kind, &bytes).prefix(), bytes.len()),
                (chunk.id, chunk.raw_len as usize)
            );
            out.push((frame.kind, bytes));
        }
    }
    (table, out)
}

fn flat(frames: &[(ChunkKind, Vec<Vec<u8>>)]) -> Vec<(ChunkKind, Vec<u8>)> {
    frames.iter().flat_map(|(kind, chunks)| chunks.iter().map(|chunk| (*kind, chunk.clone()))).collect()
}

#[test]
fn pack() {
    let frames = frames(&keys());
    let (bytes, table) = build_pack(&frames, None);
    let trailer = Trailer::parse(&bytes[bytes.len() - TRAILER_BYTES..], bytes.len() as u64).unwrap();
    let mut plain = Vec::new();
    table.put(&mut plain);
    assert_eq!(trailer.table_len as usize, 1 + 4 + plain.len() + 16, "the table was compressed");
    let found = read_pack(&pinned("pack", &bytes));
    assert_eq!(found, (table, flat(&frames)));
}

#[test]
fn compressed_pack() {
    let frames = [(ChunkKind::Data, vec![vec![b'x'; 3000], vec![b'y'; 5000]]), (ChunkKind::Node, vec![vec![0; 900]])];
    let path = golden("objects").join("pack-compressed");
    if renewing() {
        fs::write(&path, build_pack(&frames, Some(3)).0).unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 4096, "it fits only if it is compressed");
    assert_eq!(read_pack(&bytes).1, flat(&frames));
}

/// The first delta differs from the first chunk in its middle, the second is made of slices of the two before it, in the
/// other order. The third is a long chunk, with 100 bytes that stand elsewhere in it put in twice, far from each other.
#[test]
fn pack_of_deltas() {
    let keys = keys();
    let (a, b) = (noise::<3000>("a").to_vec(), noise::<2000>("b").to_vec());
    let edited = [&a[..1000], b"edited", &a[1006..]].concat();
    let moved = [&b[500..1900], &a[2000..], b"and more"].concat();
    let long: Vec<u8> = (0..2667).flat_map(|n: u32| format!("{:08}\n", n * n).into_bytes()).collect();
    let twice =
        [&long[..2000], &long[1000..1100], &long[2000..22_000], &long[21_000..21_100], &long[22_000..]].concat();
    let (mut compressor, mut decompressor) = (Compressor::new(3).unwrap(), Decompressor::new().unwrap());
    let id = |bytes: &[u8]| keys.identity.chunk_id(ChunkKind::Data, bytes);
    let (mut builder, mut out) = PackBuilder::begin(&keys, &secrets(), header(ObjectKind::Pack)).unwrap();
    let mut whole = FrameBuilder::new(ChunkKind::Data);
    [&a, &b, &long].into_iter().for_each(|chunk| whole.push(id(chunk), chunk));
    let mut finished = whole.finish(None, &mut decompressor, &keys.identity).unwrap();
    builder.add(&mut finished);
    out.extend(finished.body);
    let slices = [Slice { base: 1, offset: 2000, len: 1000 }, Slice { base: 0, offset: 500, len: 1400 }];
    let mut deltas = DeltaFrameBuilder::new(ChunkKind::Data);
    let all =
        [(1, &edited, vec![&a], &[][..]), (16, &moved, vec![&b, &edited], &slices), (1, &twice, vec![&long], &[])];
    for (rank, chunk, bases, slices) in all {
        let payload = encode_delta(chunk, &bases.iter().map(|b| &b[..]).collect::<Vec<_>>(), slices, &mut compressor);
        let delta = Delta { rank, bases: bases.iter().map(|base| id(base).prefix()).collect() };
        let info = ChunkInfo { id: id(chunk).prefix(), raw_len: chunk.len() as u32, delta };
        deltas.push(info, &payload.unwrap());
    }
    let mut finished = deltas.finish().unwrap();
    builder.add(&mut finished);
    out.extend(finished.body);
    out.extend(builder.finish().0);
    let path = golden("objects").join("pack-deltas");
    if renewing() {
        // Not pinned byte by byte: another release of zstd may do better.
        fs::write(&path, out).unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    let found: Vec<Vec<u8>> = read_pack(&bytes).1.into_iter().map(|(_, chunk)| chunk).collect();
    assert_eq!(found, [a, b, long, edited, moved, twice]);
    assert!(bytes.len() < 32_000, "{}", bytes.len());
}

#[test]
fn index() {
    let info = |seed: &str, raw_len| ChunkInfo { id: ChunkPrefix::new(noise(seed)), raw_len, delta: Delta::default() };
    let delta = Delta { rank: 17, bases: vec![ChunkPrefix::new(noise("b")), ChunkPrefix::new(noise("d"))].into() };
    let (kind, offset, stored_len) = (ChunkKind::Data, HEAD_BYTES as u64, 1000);
    let first = FrameInfo { kind, offset, stored_len, chunks: vec![info("a", 700), info("b", 16 << 20)] };
    let (kind, offset) = (ChunkKind::Attr, offset + 1000);
    let second = FrameInfo { kind, offset, stored_len: 77, chunks: vec![ChunkInfo { delta, ..info("c", 5000) }] };
    let pack = PackEntry { id: object_id("pack"), size: 4096, table: Table { frames: vec![first, second] } };
    let index = Index {
        supersedes: vec![object_id("older"), object_id("oldest")],
        packs: vec![pack, PackEntry { id: object_id("empty"), size: 4096, table: Table::default() }],
        unknown: vec![(40, b"newer".to_vec())],
    };
    let [bytes] = sealed("index", ObjectKind::Index, [(Audience::Index, index.encode())]);
    assert_eq!(Index::parse(&bytes), Ok(index));
}

#[test]
fn snapshot() {
    let summary = Summary {
        time: TIME,
        utc_offset: -12_600,
        zone: b"UTC".to_vec(),
        client: noise::<8>("client").to_vec(),
        user: noise::<8>("user").to_vec(),
        program: noise::<8>("program").to_vec(),
        state: State::Partial,
        sources: vec![
            SourceSummary { name: b"home".to_vec(), kind: SourceKind::Folder, entries: 7, bytes: 1 << 40 },
            SourceSummary { name: b"disk.img".to_vec(), kind: SourceKind::File, entries: 1, bytes: 300 },
            SourceSummary { name: b"app.db".to_vec(), kind: SourceKind::Sqlite, entries: 1, bytes: 8192 },
        ],
        statistics: Statistics {
            bytes_read: 1,
            bytes_new: 2,
            bytes_added: 3,
            files_new: 4,
            files_changed: 5,
            files_unchanged: 6,
            files_failed: 7,
            files_excluded: 8,
            duration_ms: 9000,
        },
        tags: vec![b"nightly".to_vec(), b"v2".to_vec()],
        note: noise::<24>("note").to_vec(),
        unknown: vec![(40, noise::<32>("newer").to_vec())],
    };
    let source = |name: &str, kind, origin: &[u8]| SourceBody {
        name: name.into(),
        kind,
        origin: origin.to_vec(),
        root: Root { id: chunk_id(name), level: 2, entries: 7, bytes: 70 },
        previous: (name == "home").then(|| object_id("previous")),
        unknown: vec![],
    };
    let verdict = Verdict {
        source: b"app.db".to_vec(),
        path: b"app.db".to_vec(),
        image: noise("image"),
        depth: Depth::Pages,
        wrong: vec![b"row 7 missing from index by_name".to_vec(), b"\xff".to_vec()],
    };
    let body = Body {
        sources: vec![
            source("home", SourceKind::Folder, &noise::<24>("first origin")),
            source("disk.img", SourceKind::File, &noise::<24>("second origin")),
            source("app.db", SourceKind::Sqlite, &noise::<24>("third origin")),
        ],
        reasons: vec![Reason { source: b"home".to_vec(), path: b"a/b".to_vec(), why: b"denied".to_vec() }],
        reasons_total: 1001,
        verdicts: vec![verdict],
        unknown: vec![],
    };
    let parts = [(Audience::Summary, summary.encode()), (Audience::Content, body.encode())];
    let [first, second] = sealed("snapshot", ObjectKind::Snapshot, parts);
    assert_eq!(Summary::parse(&first), Ok(summary));
    assert_eq!(Body::parse(&second), Ok(body));
}

#[test]
fn session_and_its_end() {
    let session = SessionRecord {
        time: TIME,
        client: b"host".to_vec(),
        user: b"root".to_vec(),
        process: 4711,
        program: b"larder 0.1.0".to_vec(),
        unknown: vec![(40, b"newer".to_vec())],
    };
    let [bytes] = sealed("session", ObjectKind::Session, [(Audience::Summary, session.encode())]);
    assert_eq!(SessionRecord::parse(&bytes), Ok(session));
    let end = SessionEnd {
        snapshots: vec![object_id("a"), object_id("b")],
        notes: vec![object_id("note")],
        unknown: vec![(40, b"newer".to_vec())],
    };
    let [bytes] = sealed("session-end", ObjectKind::SessionEnd, [(Audience::Summary, end.encode())]);
    assert_eq!(SessionEnd::parse(&bytes), Ok(end));
}

#[test]
fn note() {
    let (verified, confirmed) = (vec![object_id("pack"), object_id("other")], vec![object_id("snapshot")]);
    let note = Note { time: TIME, verified, confirmed, unknown: vec![(40, b"newer".to_vec())], ..Note::default() };
    let [bytes] = sealed("note", ObjectKind::Note, [(Audience::Summary, note.encode())]);
    assert_eq!(Note::parse(&bytes), Ok(note));
    let mut drill = Drill { time: TIME, source: Some(b"app".to_vec()), ..Drill::of(object_id("snapshot")) };
    drill.path = b"data/a.db".to_vec();
    (drill.duration_ms, drill.entries, drill.bytes, drill.databases) = (1500, 3, 8192, 1);
    drill.unknown = vec![(40, b"newer".to_vec())];
    drill.fail("app/data/a.db: t has 1 rows, not 2");
    let note = Note { time: TIME, drills: vec![Drill::of(object_id("other")), drill], ..Note::default() };
    let [bytes] = sealed("note-drills", ObjectKind::Note, [(Audience::Summary, note.encode())]);
    assert_eq!(Note::parse(&bytes), Ok(note));
}

#[test]
fn note_with_conditions() {
    let condition = |snapshot, is_damaged, unknown| Condition { snapshot, time: TIME, is_damaged, unknown };
    let newer = vec![(40, b"newer".to_vec())];
    let conditions = vec![condition(object_id("snapshot"), true, vec![]), condition(object_id("other"), false, newer)];
    let note = Note { time: TIME, conditions, ..Note::default() };
    let [bytes] = sealed("note-conditions", ObjectKind::Note, [(Audience::Summary, note.encode())]);
    assert_eq!(Note::parse(&bytes), Ok(note));
}

#[test]
fn note_with_remarks() {
    let said = Remark {
        is_pinned: Some(true),
        tags_added: vec![b"release".to_vec(), b"v2".to_vec()],
        tags_removed: vec![b"nightly".to_vec()],
        note: Some(noise::<24>("remark").to_vec()),
        is_forgotten: Some(false),
        unknown: vec![(40, b"newer".to_vec())],
        ..Remark::of(object_id("snapshot"), TIME)
    };
    let later = Time { seconds: TIME.seconds + 1, ..TIME };
    let forgotten = Remark { is_forgotten: Some(true), ..Remark::of(object_id("other"), later) };
    let unsaid = Remark { is_pinned: Some(false), note: Some(vec![]), ..Remark::of(object_id("third"), later) };
    let note = Note { time: TIME, remarks: vec![said, forgotten, unsaid], ..Note::default() };
    let [bytes] = sealed("note-remarks", ObjectKind::Note, [(Audience::Summary, note.encode())]);
    assert_eq!(Note::parse(&bytes), Ok(note));
}

#[test]
fn damage() {
    let prefix = |seed: &str| ChunkPrefix::new(noise(seed));
    let damage = Damage {
        frames: vec![
            BadFrame { pack: object_id("pack"), frame: Some(0), chunks: vec![prefix("a"), prefix("b")] },
            BadFrame { pack: object_id("gone"), frame: None, chunks: vec![] },
        ],
        unknown: vec![(40, b"newer".to_vec())],
    };
    let [bytes] = sealed("damage", ObjectKind::Damage, [(Audience::Index, damage.encode())]);
    assert_eq!(Damage::parse(&bytes), Ok(damage));
}

/// The tomb that docs/format.md takes apart.
pub fn tomb() -> Tomb {
    Tomb { packs: vec![object_id("pack")], time: None, unknown: vec![] }
}

#[test]
fn a_tomb() {
    let [bytes] = sealed("tomb", ObjectKind::Tomb, [(Audience::Index, tomb().encode())]);
    assert_eq!(Tomb::parse(&bytes), Ok(tomb()));
}

fn entry(kind: Kind) -> Entry {
    let mut entry = Entry::new(kind);
    entry.mode = 0o4755;
    entry.mtime = Time { seconds: -86_400, nanos: 999_999_999 };
    (entry.uid, entry.gid) = (1000, u32::MAX);
    (entry.user, entry.group) = (b"me".to_vec(), b"\xff".to_vec());
    entry
}

#[test]
fn entries() {
    let mut file = entry(Kind::File);
    file.size = 1 << 33;
    file.hard_link = Some(noise("group"));
    let items = [("x", 100_000), ("y", 1)].map(|(seed, len)| ChunkRef { id: chunk_id(seed), len });
    file.content = Content { level: 0, chunks: items.to_vec() };
    let extents = [Extent { offset: 4096, len: 100_000 }, Extent { offset: (1 << 33) - 1, len: 1 }];
    let xattrs = [(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), b"\0\xff".to_vec())];
    let sparse = StoredEntry {
        entry: file,
        xattrs: Some(Large::Inline(encode_xattrs(&xattrs))),
        extents: Some(Large::Inline(encode_extents(&extents))),
        facts: None,
        unknown: vec![(40, b"newer".to_vec())],
    };
    assert_eq!(decode_extents(&encode_extents(&extents), 1 << 33, &sparse.entry.content), Ok(extents.to_vec()));
    let mut large = entry(Kind::File);
    large.content = Content { level: 1, chunks: vec![ChunkRef { id: chunk_id("list"), len: 99_999_999 }] };
    large.size = 99_999_999;
    let attr = Large::Chunk(ChunkRef { id: chunk_id("attr"), len: 5000 });
    let large =
        StoredEntry { entry: large, xattrs: Some(attr.clone()), extents: None, facts: Some(attr), unknown: vec![] };
    let mut link = entry(Kind::Symlink);
    link.target = b"../\xff".to_vec();
    let mut device = entry(Kind::BlockDevice);
    device.device = (8, 300);
    let plain = |entry| StoredEntry { entry, xattrs: None, extents: None, facts: None, unknown: vec![] };
    let all = [
        ("entry-sparse", sparse),
        ("entry-large", large),
        ("entry-link", plain(link)),
        ("entry-device", plain(device)),
        ("entry-directory", plain(entry(Kind::Directory))),
    ];
    for (name, stored) in all {
        assert_eq!(StoredEntry::parse(&pinned(name, &stored.encode())), Ok(stored));
    }
}

#[test]
fn facts_of_a_database() {
    let table = |name: &[u8], rows| TableFacts { name: name.to_vec(), rows };
    let facts = Facts {
        page_bytes: 65_536,
        pages: 1 << 33,
        journal: Journal::Wal,
        user_version: -1,
        application_id: 0x4c61_7264,
        encoding: b"UTF-16le".to_vec(),
        schema: noise("schema"),
        tables: vec![table(b"empty", Some(0)), table(b"\xff", Some(1000)), table(b"virtual", None)],
        tables_total: 10_001,
        unknown: vec![(40, b"newer".to_vec())],
        ..Facts::default()
    };
    assert_eq!(Facts::parse(&pinned("database-facts", &facts.encode())), Ok(facts));
}

/// Keeps the nodes that are stored.
struct Kept(Keyring, Vec<Vec<u8>>);

impl Store for Kept {
    type Error = std::convert::Infallible;
    fn store(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId, Self::Error> {
        self.1.push(bytes.to_vec());
        Ok(self.0.identity.chunk_id(kind, bytes))
    }
}

#[test]
fn nodes() {
    let mut kept = Kept(keys(), Vec::new());
    let mut builder = TreeBuilder::new(&kept.0.identity.boundary.clone());
    let paths: [&[u8]; 5] = [b"", b"a", b"a/b", b"a/b\xff", b"a!"];
    let mut records = Vec::new();
    for path in paths {
        let record =
            StoredEntry { entry: entry(Kind::Directory), xattrs: None, extents: None, facts: None, unknown: vec![] }
                .encode();
        let Ok(_) = builder.push(path, &record, 0, &mut kept);
        records.push((path.to_vec(), record));
    }
    let Ok(root) = builder.finish(&mut kept);
    let leaf = pinned("node-leaf", &kept.1[0]);
    assert_eq!(kept.0.identity.chunk_id(ChunkKind::Node, &leaf), root.unwrap().id);
    assert_eq!(Node::parse(&leaf), Ok(Node { level: 0, items: NodeItems::Leaf(records) }));

    // Enough for two levels: where nodes end must never change, or trees share nothing with those stored before.
    let mut kept = Kept(keys(), Vec::new());
    let mut builder = TreeBuilder::new(&kept.0.identity.boundary.clone());
    for n in 0..5000 {
        let Ok(_) = builder.push(format!("{n:05}").as_bytes(), &[7; 60], n, &mut kept);
    }
    let Ok(root) = builder.finish(&mut kept);
    let bytes = pinned("node-inner", kept.1.last().unwrap());
    let Ok(Node { level: 1, items: NodeItems::Inner(children) }) = Node::parse(&bytes) else { panic!() };
    let sum = |of: fn(&Child) -> u64| children.iter().map(of).sum::<u64>();
    assert_eq!((sum(|c| c.entries), sum(|c| c.bytes)), (5000, 5000 * 4999 / 2));
    assert_eq!((root.unwrap().entries, root.unwrap().bytes), (5000, 5000 * 4999 / 2));
}

#[test]
fn chunk_lists() {
    let items = (1..41).map(|n| ChunkRef { id: chunk_id(&n.to_string()), len: n * 100 }).collect();
    let list = ChunkList { level: 2, items };
    assert_eq!(ChunkList::parse(&pinned("chunk-list", &list.encode())), Ok(list));

    // Where lists end must never change either: level and number of items of each, as they fill.
    let (mut kept, mut builder) = (Kept(keys(), Vec::new()), ListBuilder::default());
    for n in 0..40_000 {
        let Ok(()) = builder.push(ChunkRef { id: chunk_id(&n.to_string()), len: 1 }, &mut kept);
    }
    let Ok(content) = builder.finish(&mut kept);
    assert_eq!((content.level, content.len()), (2, 40_000));
    let cuts: Vec<String> = kept.1.iter().map(|list| ChunkList::parse(list).unwrap()).map(told).collect();
    pinned("list-cuts", format!("{}\n", cuts.join("\n")).as_bytes());
}

fn told(list: ChunkList) -> String {
    format!("{} {}", list.level, list.items.len())
}
