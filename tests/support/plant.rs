//! Makes trees from descriptions.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use super::Chance;

/// What stands at a path.
#[derive(Clone, Debug)]
pub enum Item<'a> {
    Folder,
    File(Vec<u8>),
    /// Length, and the parts that hold data.
    Sparse(u64, Vec<(u64, Vec<u8>)>),
    Symlink(&'a [u8]),
    Fifo,
    Socket,
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    /// One more name of the file at this path.
    Link(&'a [u8]),
}

/// The place of raw bytes below a root.
pub fn at(root: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) }
}

/// Makes what is described, with the folders above it.
pub fn plant(root: &Path, items: &[(&[u8], Item<'_>)]) {
    for (path, item) in items {
        let place = at(root, path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        make(root, &place, item);
    }
}

pub fn make(root: &Path, place: &Path, item: &Item<'_>) {
    match item {
        Item::Folder => fs::create_dir_all(place).unwrap(),
        Item::File(bytes) => fs::write(place, bytes).unwrap(),
        Item::Sparse(len, parts) => {
            let file = File::create(place).unwrap();
            for (offset, bytes) in parts {
                file.write_all_at(bytes, *offset).unwrap();
            }
            file.set_len(*len).unwrap();
        }
        Item::Symlink(target) => rustix::fs::symlinkat(OsStr::from_bytes(target), CWD, place).unwrap(),
        Item::Fifo => node(place, FileType::Fifo, 0),
        Item::Socket => node(place, FileType::Socket, 0),
        Item::CharDevice(major, minor) => {
            node(place, FileType::CharacterDevice, rustix::fs::makedev(*major, *minor));
        }
        Item::BlockDevice(major, minor) => node(place, FileType::BlockDevice, rustix::fs::makedev(*major, *minor)),
        Item::Link(first) => fs::hard_link(at(root, first), place).unwrap(),
    }
}

fn node(place: &Path, kind: FileType, device: u64) {
    let made = rustix::fs::mknodat(CWD, place, kind, Mode::from_raw_mode(0o644), device);
    made.unwrap_or_else(|e| panic!("cannot make a {kind:?} at {}: {e}", place.display()));
}

pub fn set_mode(place: &Path, mode: u32) {
    rustix::fs::chmodat(CWD, place, Mode::from_raw_mode(mode), AtFlags::empty()).unwrap();
}

pub fn set_mtime(place: &Path, seconds: i64, nanos: u32) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos.into() },
    };
    rustix::fs::utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub fn set_owner(place: &Path, uid: u32, gid: u32) {
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(CWD, place, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub fn set_xattr(place: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(place, name, value, XattrFlags::empty())
        .unwrap_or_else(|e| panic!("cannot set {name} at {}: {e}", place.display()));
}

/// An access list in the form of the kernel: the owner, one more user, the group, the mask, the others.
pub fn access_list(user: u32, rights: u16) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let entries =
        [(0x01u16, 6u16, NOBODY), (0x02, rights, user), (0x04, 4, NOBODY), (0x10, 6, NOBODY), (0x20, 0, NOBODY)];
    let mut out = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        out.extend(tag.to_le_bytes());
        out.extend(rights.to_le_bytes());
        out.extend(id.to_le_bytes());
    }
    out
}

/// Bytes that do not compress.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut chance = Chance(seed);
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend(chance.number().to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Bytes that compress.
pub fn words(seed: u64, len: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = ["jam ", "flour ", "salt ", "honey ", "beans\n", "plums ", "oil ", "rice\n"];
    let mut chance = Chance(seed);
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend(WORDS[chance.below(8) as usize].as_bytes());
    }
    out.truncate(len);
    out
}

/// About 40 entries of all usual kinds, small, with one file of several chunks.
pub fn forty(root: &Path) {
    plant(root, &[(b"", Item::Folder)]);
    for n in 0..30usize {
        let path = format!("folder {}/file {n}", n % 5);
        let bytes = if n.is_multiple_of(3) { noise(n as u64, 300 + 70 * n) } else { words(n as u64, 20 * n * n) };
        plant(root, &[(path.as_bytes(), Item::File(bytes))]);
    }
    plant(
        root,
        &[
            (b"empty", Item::File(Vec::new())),
            (b"long", Item::File(words(99, 900_000))),
            (b"folder 1/again", Item::Link(b"folder 0/file 5")),
            (b"link", Item::Symlink(b"folder 1/again")),
            (b"broken link", Item::Symlink(b"../nowhere")),
            (b"pipe", Item::Fifo),
            (b"holes", Item::Sparse(3 << 20, vec![(1 << 20, words(7, 70_000)), (2 << 20, noise(8, 9000))])),
            (b"deep/a/b/c/d/e", Item::File(b"deep".to_vec())),
            (b"none in it", Item::Folder),
            (b"name \xff\x1b[2J\n", Item::File(b"strange".to_vec())),
        ],
    );
    set_xattr(&root.join("empty"), "user.larder", b"\0value");
    set_mode(&root.join("folder 2"), 0o2750);
    set_mtime(&root.join("folder 3/file 3"), -5, 999_999_999);
}

/// A later state of [`forty`].
pub fn forty_later(root: &Path) {
    let long = File::options().write(true).open(root.join("long")).unwrap();
    long.write_all_at(&noise(100, 5000), 400_000).unwrap();
    fs::write(root.join("folder 1/file 1"), words(1000, 50_000)).unwrap();
    fs::write(root.join("folder 4/new"), words(1001, 200_000)).unwrap();
    fs::remove_file(root.join("folder 2/file 2")).unwrap();
    fs::rename(root.join("folder 3/file 8"), root.join("moved")).unwrap();
    fs::remove_file(root.join("link")).unwrap();
    fs::create_dir(root.join("link")).unwrap();
    set_mode(&root.join("empty"), 0o600);
    plant(root, &[(b"folder 2/linked", Item::Link(b"folder 1/again")), (b"more", Item::File(words(5, 40_000)))]);
}
