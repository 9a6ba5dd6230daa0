use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::crypto::{Identity, Secret};
use crate::entry::{ChunkRef, Content, Entry, Extent, Kind};
use crate::wire::{Malformed, critical};

/// Chunks in memory; counts what is read.
struct Chunks {
    identity: Identity,
    chunks: HashMap<ChunkId, Vec<u8>>,
    fetched: RefCell<Vec<ChunkId>>,
}

impl Chunks {
    fn new() -> Self {
        Self { identity: Identity::derive(&Secret::new([1; 32])), chunks: HashMap::new(), fetched: RefCell::default() }
    }
}

impl Store for Chunks {
    type Error = std::convert::Infallible;
    fn store(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId, Self::Error> {
        let id = self.identity.chunk_id(kind, bytes);
        self.chunks.insert(id, bytes.to_vec());
        Ok(id)
    }
}

impl Fetch for Chunks {
    type Error = ();
    fn fetch(&self, _: ChunkKind, id: &ChunkId) -> Result<Vec<u8>, ()> {
        self.fetched.borrow_mut().push(*id);
        self.chunks.get(id).cloned().ok_or(())
    }
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn sorted(map: &Map) -> Vec<(&Vec<u8>, &Vec<u8>)> {
    let mut all: Vec<_> = map.iter().collect();
    all.sort_by(|a, b| compare_paths(a.0, b.0));
    all
}

fn build(chunks: &mut Chunks, map: &Map) -> Option<Root> {
    let mut builder = TreeBuilder::new(&Secret::new([2; 32]));
    for (path, record) in sorted(map) {
        let Ok(_) = builder.push(path, record, record.len() as u64, chunks);
    }
    let Ok(root) = builder.finish(chunks);
    root
}

/// The leaves of the tree of this map, but for the last, each with its paths.
fn leaves(map: &Map) -> Vec<(Leaf, Vec<Vec<u8>>)> {
    let (mut out, mut paths, mut chunks) = (Vec::new(), Vec::new(), Chunks::new());
    let mut builder = TreeBuilder::new(&Secret::new([2; 32]));
    for (path, record) in sorted(map) {
        let Ok(ended) = builder.push(path, record, record.len() as u64, &mut chunks);
        out.extend(ended.map(|leaf| (leaf, std::mem::take(&mut paths))));
        paths.push(path.clone());
    }
    out
}

/// The tree of `new`, where leaves of `old` of which nothing has changed are taken whole; and how many were.
fn rebuild(old: &Map, new: &Map) -> (Option<Root>, usize) {
    let (mut chunks, mut reused) = (Chunks::new(), 0);
    let mut builder = TreeBuilder::new(&Secret::new([2; 32]));
    let known: HashMap<Vec<u8>, _> = leaves(old).into_iter().map(|leaf| (leaf.1[0].clone(), leaf)).collect();
    let entries = sorted(new);
    let mut whole: Option<Vec<Vec<u8>>> = None;
    let mut at = 0;
    while let Some((path, _)) = entries.get(at) {
        if let Some(paths) = whole.take().filter(|_| !builder.begins_leaf(path)) {
            builder.take_back().unwrap();
            reused -= 1;
            for path in &paths {
                let Ok(ended) = builder.push(path, &new[path], new[path].len() as u64, &mut chunks);
                assert_eq!(ended, None);
            }
        }
        let same = |(_, paths): &&(Leaf, Vec<Vec<u8>>)| {
            let there = entries[at..].iter().take(paths.len()).map(|(path, _)| *path);
            paths.iter().eq(there) && paths.iter().all(|path| old[path] == new[path])
        };
        if let Some((leaf, paths)) = known.get(*path).filter(same).filter(|_| builder.begins_leaf(path)) {
            let Ok(_) = builder.push_leaf(leaf.clone(), &mut chunks);
            (whole, reused, at) = (Some(paths.clone()), reused + 1, at + paths.len());
        } else {
            let Ok(_) = builder.push(path, &new[*path], new[*path].len() as u64, &mut chunks);
            at += 1;
        }
    }
    let Ok(root) = builder.finish(&mut chunks);
    (root, reused)
}

fn big_map(count: usize) -> Map {
    (0..count)
        .map(|i| (format!("d{:03}/e{}/file{i}", i / 100, i % 7).into_bytes(), vec![i as u8; 60 + i % 90]))
        .collect()
}

fn walk(chunks: &Chunks, root: &Root) -> Vec<Found> {
    TreeWalk::new(chunks, root).map(|found| found.unwrap()).collect()
}

#[test]
fn a_directory_stands_directly_before_its_subtree() {
    let mut paths: Vec<&[u8]> = vec![b"a", b"a!", b"a/b", b"a/b/c", b"a/b!", b"", b"a0", b"A"];
    paths.sort_by(|a, b| compare_paths(a, b));
    assert_eq!(paths, [&b""[..], b"A", b"a", b"a/b", b"a/b/c", b"a/b!", b"a!", b"a0"]);
    assert!(is_below(b"a/b", b"a") && is_below(b"a", b"a") && is_below(b"x", b""));
    assert!(!is_below(b"a!", b"a") && !is_below(b"a", b"a/b"));
}

#[test]
fn hostile_paths_are_refused() {
    for bad in
        [&b"/etc"[..], b"..", b"a/../b", b"a//b", b"a/", b".", b"a\0b", &[b'x'; 40000], &b"d/".repeat(5000)[..9999]]
    {
        assert!(check_path(bad).is_err(), "{}", crate::text::escape(bad));
    }
    for good in [&b""[..], b"a", b"...", b"a/..b/ \n", b"\xff"] {
        assert!(check_path(good).is_ok());
    }
}

#[test]
fn one_change_in_a_large_tree_costs_a_few_nodes() {
    let mut chunks = Chunks::new();
    let mut map = big_map(30_000);
    build(&mut chunks, &map).unwrap();
    let before = chunks.chunks.len();
    map.insert(b"d150/e3/file15003".to_vec(), vec![1; 99]);
    map.remove(&b"d200/e1/file20000"[..]);
    build(&mut chunks, &map).unwrap();
    assert!(before > 100 && chunks.chunks.len() - before <= 8, "{before} {}", chunks.chunks.len());
}

#[test]
fn looking_up_one_path_reads_one_node_a_level() {
    let mut chunks = Chunks::new();
    let map = big_map(30_000);
    let root = build(&mut chunks, &map).unwrap();
    let path = b"d150/e4/file15001";
    let found = lookup(&chunks, &root, path).unwrap();
    assert_eq!(found.map(|f| f.record).as_ref(), map.get(&path[..]));
    assert_eq!(chunks.fetched.borrow().len(), usize::from(root.level) + 1);
    assert!(lookup(&chunks, &root, b"d150/nothing").unwrap().is_none());
}

#[test]
fn a_lost_node_costs_its_range_and_no_more() {
    let mut chunks = Chunks::new();
    let map = big_map(3_000);
    let root = build(&mut chunks, &map).unwrap();
    let leaves: Vec<ChunkId> = chunks.chunks.iter().filter(|(_, b)| b[0] == 0).map(|(id, _)| *id).collect();
    chunks.chunks.remove(&leaves[3]);
    let (mut found, mut lost) = (0, 0);
    for step in TreeWalk::new(&chunks, &root) {
        match step {
            Ok(_) => found += 1,
            Err(e) => {
                assert_eq!(e.node, leaves[3]);
                lost += e.entries;
            }
        }
    }
    assert!(lost > 0);
    assert_eq!(found + lost, 3_000);
}

#[test]
fn a_tree_that_bites_its_tail_ends() {
    let mut chunks = Chunks::new();
    // A node of level 1 whose child is itself cannot be made with real ids; here ids are what we say.
    let id = ChunkId::new([9; 32]);
    let mut node = vec![1, 1, 0, 1, b'a'];
    node.extend_from_slice(id.as_bytes());
    node.extend_from_slice(&[1, 1]);
    chunks.chunks.insert(id, node);
    let root = Root { id, level: 1, entries: 1, bytes: 1 };
    let errors: Vec<_> = TreeWalk::new(&chunks, &root).collect();
    assert!(matches!(&errors[..], [Err(ReadError { cause: Ok(Malformed::Bad { .. }), .. })]));
}

/// Every child of a node began where the next child began, too, so that each level multiplied the work: 16 levels of
/// this tree would have taken longer than anybody waits.
#[test]
fn nodes_that_overlap_do_not_multiply_the_work() {
    let mut chunks = Chunks::new();
    let id = |level: u8, letter: u8| ChunkId::new([level * 16 + letter; 32]);
    for level in 1..=15 {
        for letter in 0..10 {
            let mut node = vec![level, 10 - letter];
            for child in letter..10 {
                node.extend_from_slice(&[0, 1, b'a' + child]);
                node.extend_from_slice(id(level - 1, child).as_bytes());
                node.extend_from_slice(&[1, 1]);
            }
            chunks.chunks.insert(id(level, letter), node);
        }
    }
    let root = Root { id: id(15, 0), level: 15, entries: 1, bytes: 1 };
    assert!(TreeWalk::new(&chunks, &root).all(|found| found.is_err()));
    assert!(chunks.fetched.borrow().len() <= 15 * 10 * 10);
}

fn arb_map() -> impl Strategy<Value = Map> {
    let part = prop::sample::select(vec!["a", "b", "a!", "c0", "\u{e9}"]);
    let path = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/").into_bytes());
    prop::collection::btree_map(path, prop::collection::vec(any::<u8>(), 0..3000), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn walks_and_diffs_agree_with_a_plain_map(old in arb_map(), new in arb_map()) {
        let mut chunks = Chunks::new();
        let (a, b) = (build(&mut chunks, &old), build(&mut chunks, &new));
        if let Some(root) = &a {
            let expected: Vec<Found> =
                sorted(&old).into_iter().map(|(p, r)| Found { path: p.clone(), record: r.clone() }).collect();
            prop_assert_eq!(walk(&chunks, root), expected);
            prop_assert_eq!((root.entries, root.bytes), (old.len() as u64, old.values().map(|r| r.len() as u64).sum()));
            for folder in [&b"a"[..], b"b", b"a/a", b"zz"] {
                let found: Vec<_> = TreeWalk::below(&chunks, root, folder).map(|f| f.unwrap().path).collect();
                let expected: Vec<_> =
                    sorted(&old).into_iter().map(|(p, _)| p.clone()).filter(|p| is_below(p, folder)).collect();
                prop_assert_eq!(found, expected);
            }
        }
        let mut patched = old.clone();
        for visit in TreeDiff::new(&chunks, a.as_ref(), b.as_ref()) {
            match visit.unwrap() {
                Visit::Removed(f) => prop_assert_eq!(patched.remove(&f.path), Some(f.record)),
                Visit::Added(f) => prop_assert_eq!(patched.insert(f.path, f.record), None),
                Visit::Changed(x, y) => {
                    prop_assert_eq!(&x.path, &y.path);
                    prop_assert_eq!(patched.insert(y.path, y.record), Some(x.record));
                }
            }
        }
        prop_assert_eq!(patched, new);
    }

    #[test]
    fn leaves_that_are_taken_whole_make_the_same_tree(
        (count, long) in (0usize..6000, any::<bool>()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4), 0..12),
    ) {
        let mut old = big_map(count);
        if long {
            // Leaves that end because they are full.
            old.values_mut().step_by(3).for_each(|record| record.resize(5000, 7));
        }
        let mut new = old.clone();
        let paths: Vec<Vec<u8>> = leaves(&old).into_iter().flat_map(|(_, paths)| [paths[0].clone(), paths[paths.len() - 1].clone()])
            .chain(old.keys().cloned().step_by(7)).collect();
        for (at, change) in changes.iter().filter(|_| !paths.is_empty()) {
            let path = at.get(&paths).clone();
            match change {
                0 => drop(new.remove(&path)),
                1 => drop(new.insert([&path[..], b"!"].concat(), vec![1; 70])),
                2 => drop(new.insert(path, vec![2; 20_000])),
                _ => drop(new.insert(path, vec![3; 1])),
            }
        }
        let (root, reused) = rebuild(&old, &new);
        prop_assert_eq!(root, build(&mut Chunks::new(), &new));
        // How soon leaves are as they were behind a change is a matter of chance.
        prop_assert!(!changes.is_empty() || reused == leaves(&old).len());
    }

    #[test]
    fn noise_is_no_node_list_or_entry(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = (Node::parse(&bytes), ChunkList::parse(&bytes), StoredEntry::parse(&bytes));
        let _ = (decode_xattrs(&bytes), decode_extents(&bytes, 1 << 20, &Content::default()));
    }

    #[test]
    fn lists_give_back_their_chunks(count in 0usize..3000, seed: u8) {
        let mut chunks = Chunks::new();
        let items: Vec<ChunkRef> = (0..count)
            .map(|i| ChunkRef { id: chunks.identity.chunk_id(ChunkKind::Data, &[seed, i as u8, (i >> 8) as u8]), len: 1 + i as u64 })
            .collect();
        let mut list = ListBuilder::default();
        for item in &items {
            let Ok(()) = list.push(*item, &mut chunks);
        }
        let Ok(content) = list.finish(&mut chunks);
        prop_assert_eq!(content.len(), items.iter().map(|item| item.len).sum::<u64>());
        let mut level = content.level;
        let mut flat = content.chunks;
        prop_assert!(flat.len() <= DIRECT_CHUNKS_MAX);
        while level > 0 {
            flat = flat
                .iter()
                .flat_map(|item| {
                    let list = ChunkList::parse(&chunks.chunks[&item.id]).unwrap();
                    assert_eq!((list.level, list.content_len()), (level, Some(item.len)));
                    list.items
                })
                .collect();
            level -= 1;
        }
        prop_assert_eq!(flat, items);
    }
}

#[test]
fn paths_are_front_coded_in_one_way() {
    let node =
        |shared: u8, suffix: &[u8]| [&[0, 2, 0, 2, b'a', b'b', 0, shared, suffix.len() as u8], suffix, &[0]].concat();
    assert!(Node::parse(&node(1, b"c")).is_ok());
    assert!(Node::parse(&node(2, b"c")).is_ok());
    assert!(Node::parse(&node(0, b"ac")).is_err());
    assert!(Node::parse(&node(1, b"bc")).is_err());
}

#[test]
fn entries_come_back_whole() {
    let mut entry = Entry::new(Kind::File);
    entry.mode = 0o4755;
    entry.mtime = crate::entry::Time { seconds: -5, nanos: 999_999_999 };
    (entry.uid, entry.gid) = (u32::MAX, 7);
    (entry.user, entry.group) = (b"r\xffot".to_vec(), b"w".to_vec());
    entry.size = 100;
    entry.hard_link = Some([7; 16]);
    entry.content = Content { level: 0, chunks: vec![ChunkRef { id: ChunkId::new([8; 32]), len: 20 }] };
    let extents = [Extent { offset: 10, len: 5 }, Extent { offset: 85, len: 15 }];
    let stored = StoredEntry {
        entry,
        xattrs: Some(Large::Inline(encode_xattrs(&[(b"user.a".to_vec(), b"1".to_vec())]))),
        extents: Some(Large::Inline(encode_extents(&extents))),
        facts: Some(Large::Chunk(ChunkRef { id: ChunkId::new([9; 32]), len: 3000 })),
        unknown: vec![(40, b"later".to_vec())],
    };
    assert_eq!(StoredEntry::parse(&stored.encode()), Ok(stored.clone()));
    let Some(Large::Inline(bytes)) = &stored.extents else { panic!() };
    assert_eq!(decode_extents(bytes, 100, &stored.entry.content), Ok(extents.to_vec()));
    assert!(decode_extents(bytes, 99, &stored.entry.content).is_err());
    assert!(decode_extents(bytes, 100, &Content::default()).is_err());

    let mut link = Entry::new(Kind::Symlink);
    link.target = b"../\xff".to_vec();
    let stored = StoredEntry { entry: link, xattrs: None, extents: None, facts: None, unknown: vec![] };
    assert_eq!(StoredEntry::parse(&stored.encode()), Ok(stored));
}

#[test]
fn contradictions_are_refused() {
    let plain = |edit: &dyn Fn(&mut StoredEntry)| {
        let mut stored =
            StoredEntry { entry: Entry::new(Kind::File), xattrs: None, extents: None, facts: None, unknown: vec![] };
        edit(&mut stored);
        StoredEntry::parse(&stored.encode())
    };
    assert!(plain(&|_| ()).is_ok());
    assert!(plain(&|s| s.entry.target = b"x".to_vec()).is_err());
    assert!(plain(&|s| s.entry.kind = Kind::Symlink).is_err());
    assert!(plain(&|s| s.entry.device = (1, 2)).is_err());
    assert!(plain(&|s| s.entry.mode = 0o10000).is_err());
    assert!(plain(&|s| s.unknown = vec![(41, vec![])]).is_err());
    assert!(plain(&|s| (s.entry.size, s.extents) = (1 << 63, Some(Large::Inline(vec![])))).is_err());
    assert!(plain(&|s| (s.entry.kind, s.facts) = (Kind::Fifo, Some(Large::Inline(vec![])))).is_err());
    let twice = [vec![critical(8) as u8, 0, critical(9) as u8, 33], vec![0; 33]].concat();
    let base = StoredEntry { entry: Entry::new(Kind::File), xattrs: None, extents: None, facts: None, unknown: vec![] }
        .encode();
    assert!(StoredEntry::parse(&[base, twice].concat()).is_err());
    let of = |level, len| {
        let chunks = vec![ChunkRef { id: ChunkId::ZERO, len }];
        plain(&|s| s.entry.content = Content { level, chunks: chunks.clone() }).is_ok()
    };
    assert!(of(0, 1) && of(0, 16 << 20) && of(1, 1 << 40));
    assert!(!of(0, 0) && !of(0, (16 << 20) + 1) && !of(1, 0) && !of(9, 1));
    let huge = ChunkRef { id: ChunkId::ZERO, len: u64::MAX };
    assert!(plain(&|s| s.entry.content.chunks = vec![huge, huge]).is_err());
}
