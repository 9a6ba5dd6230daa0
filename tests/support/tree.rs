//! Trees looked at and compared, to the last nanosecond.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use larder::ops::restore::Lost;
use larder::text::escape;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Everything that a restore must give back about one path. The content is kept by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub kind: &'static str,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    pub size: u64,
    pub device: u64,
    pub target: Vec<u8>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Start and end of each part that holds data.
    pub data: Vec<(u64, u64)>,
    pub content: [u8; 32],
    /// The first path of the same file, if it has more than one in this tree.
    pub same_as: Option<Vec<u8>>,
}

/// A tree by paths below its root; the root is the empty path. This is the plain copy that others are compared with.
pub type Tree = BTreeMap<Vec<u8>, Node>;

/// Looks at everything; what is not there is an empty tree.
pub fn look(root: &Path) -> Tree {
    let mut tree = Tree::new();
    if !root.exists() {
        return tree;
    }
    let mut files: HashMap<(u64, u64), Vec<Vec<u8>>> = HashMap::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let meta = fs::symlink_metadata(entry.path()).unwrap();
        if !meta.is_dir() && meta.nlink() > 1 {
            files.entry((meta.dev(), meta.ino())).or_default().push(path.clone());
        }
        tree.insert(path, node(entry.path(), &meta));
    }
    for mut names in files.into_values().filter(|names| names.len() > 1) {
        names.sort();
        for name in &names {
            tree.get_mut(name).unwrap().same_as = Some(names[0].clone());
        }
    }
    tree
}

fn node(place: &Path, meta: &fs::Metadata) -> Node {
    let kind = meta.file_type();
    let name = if kind.is_file() {
        "file"
    } else if kind.is_dir() {
        "folder"
    } else if kind.is_symlink() {
        "symlink"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_char_device() {
        "character device"
    } else {
        "block device"
    };
    let is_device = kind.is_char_device() || kind.is_block_device();
    let (data, content) = if kind.is_file() { content(place, meta.len()) } else { (Vec::new(), [0; 32]) };
    Node {
        kind: name,
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        size: if kind.is_file() { meta.len() } else { 0 },
        device: if is_device { meta.rdev() } else { 0 },
        target: if kind.is_symlink() { fs::read_link(place).unwrap().into_os_string().into_vec() } else { Vec::new() },
        xattrs: xattrs(place),
        data,
        content,
        same_as: None,
    }
}

fn content(place: &Path, size: u64) -> (Vec<(u64, u64)>, [u8; 32]) {
    let mut file = File::open(place).unwrap_or_else(|e| panic!("{}: {e}", place.display()));
    let mut hasher = blake3::Hasher::new();
    let mut data = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(&file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(e) => panic!("{}: {e}", place.display()),
        };
        let end = rustix::fs::seek(&file, SeekFrom::Hole(start)).unwrap().min(size);
        let mut bytes = vec![0; (end - start) as usize];
        file.read_exact_at(&mut bytes, start).unwrap();
        hasher.update(&start.to_le_bytes()).update(&bytes);
        data.push((start, end));
        at = end;
    }
    // Nothing may lie beyond the size that was promised.
    rustix::fs::seek(&file, SeekFrom::Start(size)).unwrap();
    assert_eq!(file.read(&mut [0]).unwrap(), 0);
    (data, *hasher.finalize().as_bytes())
}

fn xattrs(place: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 64 << 10];
    let len = match rustix::fs::llistxattr(place, &mut names[..]) {
        Err(Errno::NOTSUP) => 0,
        other => other.unwrap(),
    };
    let mut found = Vec::new();
    for name in names[..len].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let len = rustix::fs::lgetxattr(place, name, &mut value[..]).unwrap();
        value.truncate(len);
        found.push((name.to_vec(), value));
    }
    found.sort();
    found
}

/// What differs, in words.
pub fn differences(expected: &Tree, found: &Tree) -> Vec<String> {
    let mut out = Vec::new();
    for path in expected.keys().chain(found.keys().filter(|path| !expected.contains_key(*path))) {
        let what = match (expected.get(path), found.get(path)) {
            (Some(expected), Some(found)) if expected == found => continue,
            (Some(expected), Some(found)) => fields(expected, found),
            (Some(node), None) => format!("missing {}", node.kind),
            (None, Some(node)) => format!("unexpected {}", node.kind),
            (None, None) => continue,
        };
        out.push(format!("{:?}: {what}", escape(path)));
    }
    out
}

fn fields(expected: &Node, found: &Node) -> String {
    let mut out = Vec::new();
    let mut field = |name: &str, expected: String, found: String| {
        if expected != found {
            out.push(format!("{name} is {found}, not {expected}"));
        }
    };
    field("kind", expected.kind.into(), found.kind.into());
    field("mode", format!("{:o}", expected.mode), format!("{:o}", found.mode));
    field("owner", format!("{:?}", expected.owner), format!("{:?}", found.owner));
    field("time", format!("{:?}", expected.mtime), format!("{:?}", found.mtime));
    field("size", expected.size.to_string(), found.size.to_string());
    field("device", expected.device.to_string(), found.device.to_string());
    field("target", escape(&expected.target), escape(&found.target));
    field("first name", format!("{:?}", expected.same_as), format!("{:?}", found.same_as));
    field("data", format!("{:?}", expected.data), format!("{:?}", found.data));
    let content = |node: &Node| data_encoding::HEXLOWER.encode(&node.content[..4]);
    field("content", content(expected), content(found));
    let names = |node: &Node| {
        let one = |(name, value): &(Vec<u8>, Vec<u8>)| {
            format!("{}={}:{}", escape(name), value.len(), blake3::hash(value).to_hex().get(..8).unwrap_or_default())
        };
        node.xattrs.iter().map(one).collect::<Vec<_>>().join(" ")
    };
    field("attributes", names(expected), names(found));
    out.join(", ")
}

/// Fails with what differs.
#[track_caller]
pub fn assert_same(expected: &Tree, found: &Tree, about: &str) {
    let differences = differences(expected, found);
    assert!(differences.is_empty(), "{about}: {} differences\n{}", differences.len(), differences.join("\n"));
}

/// What of a tree these messages say is lost. A node of a tree that cannot be read costs a number of entries, of which
/// only the first is named.
pub fn lost_paths(tree: &Tree, lost: &[Lost]) -> BTreeSet<Vec<u8>> {
    let mut order: Vec<&Vec<u8>> = tree.keys().collect();
    order.sort_by(|a, b| larder::tree::compare_paths(a, b));
    let mut out = BTreeSet::new();
    for one in lost {
        let many = one.why.split_once(" entries from ").and_then(|(number, _)| number.parse::<usize>().ok());
        let at = order.iter().position(|path| **path == one.path);
        let at = at.unwrap_or_else(|| panic!("{:?} is lost, but was never there", escape(&one.path)));
        out.extend(order[at..].iter().take(many.unwrap_or(1)).map(|path| (*path).clone()));
    }
    out
}

/// Everything but what was named is as it was; of what was named, nothing is there but folders that others need.
#[track_caller]
pub fn assert_intact(expected: &Tree, found: &Tree, lost: &[Lost], about: &str) {
    let lost = lost_paths(expected, lost);
    let mut expected = expected.clone();
    let mut found = found.clone();
    expected.retain(|path, _| !lost.contains(path));
    for path in &lost {
        if let Some(node) = found.remove(path) {
            assert_eq!(node.kind, "folder", "{about}: {:?} is lost, and there", escape(path));
        }
    }
    let differences = differences(&regrouped(expected), &regrouped(found));
    assert!(differences.is_empty(), "{about}: {} differences\n{}", differences.len(), differences.join("\n"));
}

/// A part of a tree, in which fewer names may stand for the same file.
pub fn regrouped(mut tree: Tree) -> Tree {
    let mut first: HashMap<Vec<u8>, (Vec<u8>, usize)> = HashMap::new();
    for (path, node) in &tree {
        if let Some(group) = &node.same_as {
            first.entry(group.clone()).or_insert((path.clone(), 0)).1 += 1;
        }
    }
    for node in tree.values_mut() {
        node.same_as = node.same_as.as_ref().and_then(|group| {
            let (path, names) = &first[group];
            (*names > 1).then(|| path.clone())
        });
    }
    tree
}

/// The part of a tree at a folder, as a tree of its own.
pub fn below(tree: &Tree, folder: &[u8]) -> Tree {
    let inside = tree.iter().filter_map(|(path, node)| {
        let rest = path.strip_prefix(folder)?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix(b"/")? };
        Some((rest.to_vec(), node.clone()))
    });
    regrouped(inside.collect())
}
