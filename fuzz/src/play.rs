//! Plays with whole trees and packs: what goes in must come out, whatever the order of operations.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

use larder::chunk::{Cutter, Params};
use larder::clock::System;
use larder::crypto::{ChunkKind, Keyring};
use larder::entry::{ChunkRef, Content, Entry, Kind};
use larder::id::{ChunkId, ObjectId, RepositoryId, SessionId};
use larder::pack::{FrameBuilder, HEAD_BYTES, PackBuilder, PackKey, TRAILER_BYTES, Trailer, decode_table};
use larder::seal::{Compressor, Decompressor, Header, ObjectKind, SessionSecrets};
use larder::tree::{
    ChunkList, Fetch, Found, ListBuilder, Node, NodeItems, Root, Store, StoredEntry, TreeBuilder, TreeDiff, TreeWalk,
    Visit, compare_paths, is_below, lookup,
};
use larder::wire::Reader;

use crate::Verdict;
use crate::random::Random;
use crate::seeds::keys;

/// Chunks that are named by their number.
#[derive(Debug, Default)]
struct Numbered {
    chunks: Vec<Vec<u8>>,
    fetched: Cell<usize>,
}

impl Store for Numbered {
    type Error = Infallible;
    fn store(&mut self, _: ChunkKind, bytes: &[u8]) -> Result<ChunkId, Infallible> {
        self.chunks.push(bytes.to_vec());
        Ok(ChunkId::new([self.chunks.len() as u8 - 1; 32]))
    }
}

/// Every id leads to some chunk: a storage, and a writer, that cannot be trusted.
impl Fetch for Numbered {
    type Error = ();
    fn fetch(&self, _: ChunkKind, id: &ChunkId) -> Result<Vec<u8>, ()> {
        self.fetched.set(self.fetched.get() + 1);
        let at = usize::from(id.as_bytes()[0]) % self.chunks.len().max(1);
        self.chunks.get(at).cloned().ok_or(())
    }
}

type Items = [(Vec<u8>, Vec<u8>)];

fn build<S: Store<Error = Infallible>>(items: &Items, store: &mut S) -> Option<Root> {
    let mut builder = TreeBuilder::new(&keys().identity.boundary);
    for (path, record) in items {
        let Ok(_) = builder.push(path, record, record.len() as u64, store);
    }
    let Ok(root) = builder.finish(store);
    root
}

fn whole<F: Fetch>(fetch: F, root: &Root) -> Vec<(Vec<u8>, Vec<u8>)> {
    let found = TreeWalk::new(fetch, root).map(|found| match found {
        Ok(found) => (found.path, found.record),
        Err(error) => panic!("{} entries are lost at {:?}", error.entries, error.first),
    });
    found.collect()
}

/// Entries in order make a tree that gives them back.
pub fn a_tree_of(items: &Items) {
    let mut store = Numbered::default();
    let Some(root) = build(items, &mut store) else { panic!("no tree of {} entries", items.len()) };
    assert_eq!(whole(&store, &root), items);
    assert_eq!(root.entries, items.len() as u64);
    for (path, record) in [items.first(), items.get(items.len() / 2), items.last()].into_iter().flatten() {
        let found = lookup(&store, &root, path).ok().flatten();
        assert!(found.is_some_and(|found| found.record == *record));
    }
}

/// The nodes of a tree with a few leaves, the root last. A child is named by its place among them.
pub fn nodes() -> Vec<Vec<u8>> {
    let path = |n: u32| format!("d{:02}/e{}/file{n:04}", n / 100, n / 10 % 10).into_bytes();
    let items: Vec<_> = (0..400).map(|n| (path(n), vec![n as u8; 60 + n as usize % 90])).collect();
    let mut store = Numbered::default();
    build(&items, &mut store);
    store.chunks
}

/// A tree of nodes that lie one after another, each behind its length, the root last.
pub fn hostile_tree(bytes: &[u8]) -> Verdict {
    let mut store = Numbered::default();
    let mut reader = Reader::new(bytes, "fuzz");
    while let (true, Ok(node)) = (store.chunks.len() < 200, reader.prefixed()) {
        store.chunks.push(node.to_vec());
    }
    let nodes: Vec<_> = store.chunks.iter().filter_map(|node| Node::parse(node).ok()).collect();
    let Some(last) = store.chunks.last().and_then(|node| Node::parse(node).ok()) else { return Verdict::Refused };
    let id = ChunkId::new([store.chunks.len() as u8 - 1; 32]);
    let root = Root { id, level: last.level, entries: 7, bytes: 7 };

    let results: Vec<_> = TreeWalk::new(&store, &root).collect();
    // No node is opened twice, so no more is fetched than all nodes together name.
    let children = |node: &Node| if let NodeItems::Inner(items) = &node.items { items.len() } else { 0 };
    let named = 1 + nodes.iter().map(children).sum::<usize>();
    assert!(store.fetched.get() <= named, "{} nodes read where {named} are named", store.fetched.get());

    let found: Vec<&Found> = results.iter().flatten().collect();
    assert!(found.is_sorted_by(|a, b| compare_paths(&a.path, &b.path).is_lt()), "a path comes twice, or too early");
    let added: Vec<_> = TreeDiff::new(&store, None, Some(&root)).flatten().collect();
    assert!(added.iter().all(|visit| matches!(visit, Visit::Added(_))) && added.len() == found.len());
    assert_eq!(TreeDiff::new(&store, Some(&root), Some(&root)).count(), 0);
    if found.len() < results.len() {
        return Verdict::Refused;
    }
    for at in [0, found.len() / 3, found.len() - 1] {
        let path = &found[at].path;
        assert!(lookup(&store, &root, path).is_ok_and(|one| one.as_ref() == Some(found[at])));
        let folder = path.split(|byte| *byte == b'/').next().unwrap_or_default();
        let below = TreeWalk::below(&store, &root, folder).flatten();
        assert!(below.eq(found.iter().filter(|found| is_below(&found.path, folder)).map(|found| (*found).clone())));
        let mut left = TreeWalk::new(&store, &root);
        left.skip_below(folder);
        let left = left.flatten();
        assert!(left.eq(found.iter().filter(|found| !is_below(&found.path, folder)).map(|found| (*found).clone())));
    }
    Verdict::Accepted
}

/// Where a run puts its chunks: frames and packs, in memory.
struct Vault {
    keys: Keyring,
    secrets: SessionSecrets,
    compressor: Compressor,
    decompressor: Decompressor,
    frames: BTreeMap<ChunkKind, FrameBuilder>,
    new: HashMap<ChunkId, Vec<u8>>,
    pack: Option<(PackBuilder, Vec<u8>)>,
    packs: u8,
    /// What was read back from finished packs.
    read: HashMap<ChunkId, Vec<u8>>,
}

const FRAME_TARGET: usize = 100_000;

impl Vault {
    fn new() -> Self {
        let secrets = SessionSecrets::generate(&System::default());
        let (Ok(secrets), Ok(compressor), Ok(decompressor)) = (secrets, Compressor::new(1), Decompressor::new()) else {
            panic!("no memory or no random bytes");
        };
        let (frames, new, read) = (BTreeMap::new(), HashMap::new(), HashMap::new());
        Self { keys: keys(), secrets, compressor, decompressor, frames, new, pack: None, packs: 0, read }
    }

    fn flush(&mut self, kind: ChunkKind) {
        let Some(builder) = self.frames.get_mut(&kind).filter(|builder| !builder.is_empty()) else { return };
        let compressor = (self.packs.is_multiple_of(2)).then_some(&mut self.compressor);
        let frame = builder.finish(compressor, &mut self.decompressor, &self.keys.identity);
        let Ok(mut frame) = frame else { panic!("a frame did not come back") };
        let (keys, secrets, packs) = (&self.keys, &self.secrets, &mut self.packs);
        let (pack, bytes) = self.pack.get_or_insert_with(|| {
            *packs += 1;
            let (repository, session) = (RepositoryId::new([3; 16]), SessionId::new([4; 16]));
            let header = Header { kind: ObjectKind::Pack, epoch: 1, repository, session, salt: [*packs; 32] };
            PackBuilder::begin(keys, secrets, header).unwrap_or_else(|error| panic!("{error}"))
        });
        pack.add(&mut frame);
        bytes.extend_from_slice(&frame.body);
        builder.take_back(frame);
    }

    /// Ends the pack, and reads it from its bytes alone.
    fn publish(&mut self) {
        ChunkKind::ALL.into_iter().for_each(|kind| self.flush(kind));
        let Some((pack, mut bytes)) = self.pack.take() else { return };
        let (tail, packed) = pack.finish();
        bytes.extend(tail);
        assert_eq!((packed.size, packed.id), (bytes.len() as u64, ObjectId::of(&bytes)));
        let read = self.read_pack(&bytes);
        assert!(read.is_some(), "a pack does not read back");
        for (id, chunk) in self.new.drain() {
            assert_eq!(self.read.get(&id), Some(&chunk));
        }
    }

    fn read_pack(&mut self, bytes: &[u8]) -> Option<()> {
        let (_, key) = PackKey::open(&self.keys, bytes.get(..HEAD_BYTES)?).ok()?;
        let trailer = Trailer::parse(&bytes[bytes.len() - TRAILER_BYTES..], bytes.len() as u64).ok()?;
        let at = trailer.table_offset as usize;
        let table = decode_table(&key, &trailer, &bytes[at..at + trailer.table_len as usize]).ok()?;
        for (ordinal, frame) in table.frames.iter().enumerate() {
            let mut sealed = bytes[frame.offset as usize..][..frame.stored_len as usize].to_vec();
            let plain = key.open_frame(frame.kind, ordinal as u32, &mut sealed, &mut self.decompressor).ok()?;
            for (n, chunk) in frame.chunks.iter().enumerate() {
                let bytes = plain.chunk(n)?;
                let id = self.keys.identity.chunk_id(frame.kind, bytes);
                (id.prefix() == chunk.id).then_some(())?;
                self.read.insert(id, bytes.to_vec());
            }
        }
        Some(())
    }

    /// The bytes of a file, from what was read back.
    fn content(&self, level: u8, chunks: &[ChunkRef], out: &mut Vec<u8>) {
        for chunk in chunks {
            let start = out.len();
            let Some(bytes) = self.read.get(&chunk.id) else { panic!("a chunk is missing") };
            if level == 0 {
                out.extend_from_slice(bytes);
            } else {
                let Ok(list) = ChunkList::parse(bytes) else { panic!("a list does not read back") };
                assert_eq!((list.level, list.content_len()), (level, Some(chunk.len)));
                self.content(level - 1, &list.items, out);
            }
            assert_eq!((out.len() - start) as u64, chunk.len);
        }
    }
}

impl Store for Vault {
    type Error = Infallible;
    fn store(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId, Infallible> {
        let id = self.keys.identity.chunk_id(kind, bytes);
        if self.read.contains_key(&id) || self.new.contains_key(&id) {
            return Ok(id);
        }
        self.new.insert(id, bytes.to_vec());
        if !self.frames.entry(kind).or_insert_with(|| FrameBuilder::new(kind)).fits(bytes.len(), FRAME_TARGET) {
            self.flush(kind);
        }
        self.frames.entry(kind).or_insert_with(|| FrameBuilder::new(kind)).push(id, bytes);
        Ok(id)
    }
}

impl Fetch for Vault {
    type Error = ();
    fn fetch(&self, _: ChunkKind, id: &ChunkId) -> Result<Vec<u8>, ()> {
        self.read.get(id).cloned().ok_or(())
    }
}

type Files = BTreeMap<Vec<u8>, Vec<u8>>;

fn sorted(files: &Files) -> Vec<(&Vec<u8>, &Vec<u8>)> {
    let mut all: Vec<_> = files.iter().collect();
    all.sort_by(|a, b| compare_paths(a.0, b.0));
    all
}

fn store_file(content: &[u8], cutter: &Cutter, vault: &mut Vault) -> Content {
    let (mut list, mut rest) = (ListBuilder::default(), content);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(cutter.cut(rest));
        assert!(!chunk.is_empty() && (chunk.len() >= cutter.min() || after.is_empty()));
        let Ok(id) = vault.store(ChunkKind::Data, chunk);
        let Ok(()) = list.push(ChunkRef { id, len: chunk.len() as u64 }, vault);
        rest = after;
    }
    let Ok(content) = list.finish(vault);
    content
}

fn store_files(files: &Files, cutter: &Cutter, vault: &mut Vault) -> Option<Root> {
    let mut tree = TreeBuilder::new(&keys().identity.boundary);
    for (path, content) in sorted(files) {
        let content = store_file(content, cutter, vault);
        let entry = Entry { size: content.len(), content, ..Entry::new(Kind::File) };
        let stored = StoredEntry { entry, xattrs: None, extents: None, facts: None, unknown: Vec::new() };
        let Ok(_) = tree.push(path, &stored.encode(), stored.entry.size, vault);
    }
    let Ok(root) = tree.finish(vault);
    vault.publish();
    root
}

fn verify(files: &Files, root: Option<&Root>, vault: &Vault) {
    let found = root.map(|root| whole(vault, root)).unwrap_or_default();
    assert_eq!(found.len(), files.len());
    for ((path, record), (expected, content)) in found.iter().zip(sorted(files)) {
        assert_eq!(path, expected);
        let Ok(stored) = StoredEntry::parse(record) else { panic!("an entry does not read back") };
        let mut bytes = Vec::new();
        vault.content(stored.entry.content.level, &stored.entry.content.chunks, &mut bytes);
        assert!(bytes == *content && stored.entry.size == bytes.len() as u64);
    }
}

fn verify_diff(before: (&Files, Option<&Root>), after: (&Files, Option<&Root>), vault: &Vault) {
    let mut changed = Files::new();
    for visit in TreeDiff::new(vault, before.1, after.1) {
        let Ok(visit) = visit else { panic!("a node is missing") };
        let (path, what) = match visit {
            Visit::Removed(found) => (found.path, b"-"),
            Visit::Added(found) => (found.path, b"+"),
            Visit::Changed(found, _) => (found.path, b"!"),
        };
        assert_eq!(changed.insert(path, what.to_vec()), None, "a path comes twice");
    }
    let mut expected = Files::new();
    for path in before.0.keys().chain(after.0.keys()) {
        let what = match (before.0.get(path), after.0.get(path)) {
            (Some(a), Some(b)) if a == b => continue,
            (Some(_), Some(_)) => b"!",
            (Some(_), None) => b"-",
            (None, _) => b"+",
        };
        expected.insert(path.clone(), what.to_vec());
    }
    assert_eq!(changed, expected);
}

/// The bytes say what is done.
struct Script<'a>(std::slice::Iter<'a, u8>);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or_default()
    }

    fn path(&mut self) -> Vec<u8> {
        let names = [&b"a"[..], b"b", b"a!", b"folder", b"x.txt", b"\xff"];
        let depth = 1 + usize::from(self.byte() % 3);
        let parts: Vec<_> = (0..depth).map(|_| names[usize::from(self.byte()) % names.len()]).collect();
        [parts.join(&b'/'), format!("{}", self.byte()).into_bytes()].concat()
    }

    fn content(&mut self) -> Vec<u8> {
        let (how, len) = (self.byte(), usize::from(self.byte()));
        match how % 5 {
            0 => Vec::new(),
            1 => vec![how; len],
            2 => vec![how; len * 700],
            3 => Random::new(len as u64).bytes(len * 50),
            _ => Random::new(u64::from(how)).bytes(len * 500),
        }
    }
}

const STEPS_MAX: usize = 80;

/// Puts, changes and removes files, and takes snapshots in between; every snapshot must come back, and every difference
/// be the true one.
pub fn operations(bytes: &[u8]) -> Verdict {
    let params = Params { min: 1024, avg: 4096, max: 16384 };
    let mut vault = Vault::new();
    let cutter = Cutter::new(&vault.keys.identity.chunker, params);
    let mut script = Script(bytes.iter());
    let mut files = Files::new();
    let mut snapshots: Vec<(Files, Option<Root>)> = Vec::new();
    for _ in 0..STEPS_MAX {
        if script.0.len() == 0 {
            break;
        }
        match script.byte() % 8 {
            0..=3 => {
                let (path, content) = (script.path(), script.content());
                files.insert(path, content);
            }
            4 => {
                let at = usize::from(script.byte()) % files.len().max(1);
                if let Some(path) = files.keys().nth(at).cloned() {
                    files.remove(&path);
                }
            }
            5 | 6 => {
                let at = usize::from(script.byte()) % files.len().max(1);
                let (place, new) = (usize::from(script.byte()), script.content());
                if let Some(content) = files.values_mut().nth(at) {
                    let place = content.len() * place / 256;
                    content.splice(place..place, new);
                }
            }
            _ => snapshot(&files, &cutter, &mut vault, &mut snapshots),
        }
    }
    snapshot(&files, &cutter, &mut vault, &mut snapshots);
    for (files, root) in &snapshots {
        verify(files, root.as_ref(), &vault);
    }
    let first_and_last = (snapshots.first(), snapshots.last());
    if let (Some(first), Some(last)) = first_and_last {
        verify_diff((&first.0, first.1.as_ref()), (&last.0, last.1.as_ref()), &vault);
    }
    Verdict::Accepted
}

fn snapshot(files: &Files, cutter: &Cutter, vault: &mut Vault, snapshots: &mut Vec<(Files, Option<Root>)>) {
    let root = store_files(files, cutter, vault);
    verify(files, root.as_ref(), vault);
    if let Some((before, old)) = snapshots.last() {
        verify_diff((before, old.as_ref()), (files, root.as_ref()), vault);
        assert!(before != files || *old == root, "the same files make another tree");
    }
    snapshots.push((files.clone(), root));
}
