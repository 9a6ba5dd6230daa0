//! A tree read and written again is the same tree.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::entry::{Entry, Extent, Kind, Time, Xattr};
use crate::source::files::{self as source, Found, OpenFile, Stat, Step};
use crate::target::files::{Existing, Folder, Report};

/// All that one entry is.
#[derive(Debug, PartialEq)]
struct Whole {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    mtime: Time,
    links: u64,
    device: (u32, u32),
    xattrs: Vec<Xattr>,
    target: Vec<u8>,
    extents: Option<Vec<Extent>>,
    content: Vec<u8>,
}

fn found(root: &Path) -> Vec<Found> {
    let found = |step| match step {
        Step::Found(found) => found,
        other => panic!("{other:?}"),
    };
    source::walk(root, &source::Options::default()).unwrap().map(found).collect()
}

fn describe(root: &Path) -> Vec<(Vec<u8>, Whole)> {
    found(root).into_iter().map(|found| (found.path.clone(), whole(&found))).collect()
}

fn whole(found: &Found) -> Whole {
    let file = (found.stat.kind == Kind::File).then(|| found.open().unwrap());
    let stat = file.as_ref().map_or(&found.stat, OpenFile::stat);
    Whole {
        kind: stat.kind,
        mode: stat.mode,
        owner: (stat.uid, stat.gid),
        size: if stat.kind == Kind::File { stat.size } else { 0 },
        mtime: stat.mtime,
        links: if stat.kind == Kind::Directory { 0 } else { stat.links },
        device: stat.device,
        xattrs: found.xattrs().unwrap(),
        target: if stat.kind == Kind::Symlink { found.link_target().unwrap() } else { Vec::new() },
        extents: file.as_ref().and_then(|file| file.extents().unwrap()),
        content: file.map_or_else(Vec::new, |file| content(&file)),
    }
}

/// The data of a file, without its holes.
fn content(file: &OpenFile) -> Vec<u8> {
    let mut content = Vec::new();
    for extent in extents(file) {
        let mut part = vec![0; extent.len as usize];
        assert_eq!(file.read_at(extent.offset, &mut part).unwrap() as u64, extent.len);
        content.append(&mut part);
    }
    content
}

fn extents(file: &OpenFile) -> Vec<Extent> {
    let dense = || vec![Extent { offset: 0, len: file.stat().size }];
    file.extents().unwrap().unwrap_or_else(dense)
}

fn entry(found: &Found, stat: &Stat) -> Entry {
    let mut entry = Entry::new(stat.kind);
    (entry.mode, entry.uid, entry.gid) = (stat.mode, stat.uid, stat.gid);
    (entry.mtime, entry.size, entry.device) = (stat.mtime, stat.size, stat.device);
    entry.xattrs = found.xattrs().unwrap();
    if stat.kind == Kind::Symlink {
        entry.target = found.link_target().unwrap();
    }
    entry
}

/// Writes the tree at `from` to `to`.
pub(super) fn copy(from: &Path, to: &Path, existing: Existing) -> Report {
    let folder = Folder::create(to, existing).unwrap();
    let mut seen = HashMap::new();
    for found in found(from) {
        let entry = entry(&found, &found.stat);
        let first = seen.entry((found.stat.dev, found.stat.ino)).or_insert_with(|| found.path.clone());
        match found.stat.kind {
            Kind::Directory => folder.directory(&found.path, &entry).unwrap(),
            Kind::Symlink => folder.symlink(&found.path, &entry).unwrap(),
            Kind::File if *first != found.path => folder.hard_link(first, &found.path).unwrap(),
            Kind::File => copy_file(&folder, &found, &entry),
            Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => folder.special(&found.path, &entry).unwrap(),
        }
    }
    folder.finish().unwrap()
}

fn copy_file(folder: &Folder, found: &Found, entry: &Entry) {
    let file = found.open().unwrap();
    let writer = folder.file(&found.path, entry).unwrap();
    for extent in extents(&file) {
        let mut part = vec![0; extent.len as usize];
        file.read_at(extent.offset, &mut part).unwrap();
        writer.write_at(extent.offset, &part).unwrap();
    }
    writer.finish().unwrap();
}

fn set_mtime(path: &Path, seconds: i64, nanos: i64) {
    let stamp = Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps { last_access: stamp, last_modification: stamp };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// An access list as the kernel stores it: version 2, then tag, rights and number of each line.
fn access_list(lines: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, rights, number) in lines {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(number.to_le_bytes());
    }
    list
}

/// User::obj, user:12345, group::obj, mask, other.
fn some_access_list() -> Vec<u8> {
    access_list(&[(1, 6, u32::MAX), (2, 7, 12345), (4, 4, u32::MAX), (16, 5, u32::MAX), (32, 0, u32::MAX)])
}

/// A bit of everything that anybody may make.
fn plant(root: &Path) {
    let at = |name: &str| root.join(name);
    for folder in ["folder/inner", "empty", "locked", "listed"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    fs::write(at("empty/file"), "").unwrap();
    fs::write(at("folder/inner/x"), [1; 100_000]).unwrap();
    fs::write(at("locked/inside"), "locked").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"raw \xff\n\x1b")), "name").unwrap();
    fs::write(at("set-id"), "program").unwrap();
    set_mode(&at("set-id"), 0o6755);
    fs::write(at("folder/read-only"), "r").unwrap();
    set_xattr(&at("folder/read-only"), "user.note", b"kept though nobody may write");
    set_mode(&at("folder/read-only"), 0o444);
    fs::write(at("list"), "list").unwrap();
    set_xattr(&at("list"), "system.posix_acl_access", &some_access_list());
    set_xattr(&at("listed"), "system.posix_acl_default", &some_access_list());
    set_xattr(&at("folder"), "user.folder", &[0, 1, 255]);
    symlink("../nowhere\n", at("folder/link")).unwrap();
    symlink("/etc/passwd", at("absolute")).unwrap();
    rustix::fs::mkfifoat(CWD, at("fifo"), Mode::RUSR).unwrap();
    let sparse = File::create(at("sparse")).unwrap();
    sparse.write_all_at(&[5; 4096], 1 << 20).unwrap();
    // Zeros that somebody wrote are data.
    sparse.write_all_at(&[0; 8192], 5 << 20).unwrap();
    sparse.set_len(9 << 20).unwrap();
    File::create(at("hole")).unwrap().set_len(1 << 34).unwrap();
    fs::hard_link(at("folder/inner/x"), at("folder/y")).unwrap();
    fs::hard_link(at("folder/inner/x"), at("z")).unwrap();
}

/// Times come last, and so do modes that forbid further changes.
fn settle(root: &Path) {
    set_mode(&root.join("locked"), 0o1555);
    set_mode(&root.join("empty"), 0o2700);
    for (index, name) in
        ["folder/inner/x", "folder/inner", "folder/link", "folder", "fifo", "locked", ""].iter().enumerate()
    {
        set_mtime(&root.join(name), 1_000_000_000 + index as i64, 999_999_999 - index as i64);
    }
    set_mode(root, 0o555);
    set_mtime(&root.join("empty/file"), -5, 1);
    set_mtime(&root.join("empty"), 4_000_000_000, 0);
}

fn assert_same_tree(from: &Path, to: &Path) {
    let [from, to] = [from, to].map(describe);
    for (from, to) in from.iter().zip(&to) {
        assert_eq!(from, to, "{}", crate::text::escape(&from.0));
    }
    assert_eq!(from.len(), to.len());
}

/// Copies to each kind of place, compares, and allows the folders to be removed.
fn check(from: &Path, base: &Path) {
    let (absent, empty, full) = (base.join("absent"), base.join("empty"), base.join("full"));
    fs::create_dir_all(&empty).unwrap();
    fs::create_dir_all(&full).unwrap();
    // What is there already must not show through.
    set_xattr(&full, "system.posix_acl_default", &some_access_list());
    set_xattr(&full, "user.earlier", b"x");
    fs::create_dir(full.join("folder")).unwrap();
    set_mode(&full.join("folder"), 0o100);
    fs::write(full.join("list"), "earlier and longer").unwrap();
    symlink("list", full.join("set-id")).unwrap();
    symlink("folder", full.join("locked")).unwrap();
    fs::create_dir(full.join("fifo")).unwrap();
    for (to, existing) in [(&absent, Existing::Refuse), (&empty, Existing::Refuse), (&full, Existing::Overwrite)] {
        let report = copy(from, to, existing);
        assert_eq!(report.warnings, [""; 0]);
        assert_eq!((report.files, report.hard_links, report.symlinks), (9, 2, 2));
        assert_same_tree(from, to);
        // Once more, over itself.
        let report = copy(from, to, Existing::Overwrite);
        assert_eq!(report.warnings, [""; 0]);
        assert_same_tree(from, to);
        unlock(to);
    }
    unlock(from);
    assert_eq!(fs::read_dir(base).unwrap().count(), 3);
}

fn unlock(root: &Path) {
    set_mode(root, 0o755);
    set_mode(&root.join("locked"), 0o755);
}

#[test]
fn anybody_gets_back_what_they_had() {
    if !super::as_nobody(module_path!(), "anybody_gets_back_what_they_had") {
        return;
    }
    let [from, base] = [(); 2].map(|()| super::open_tempdir());
    plant(from.path());
    settle(from.path());
    check(from.path(), base.path());
}

#[test]
fn root_gets_back_owners_and_devices_too() {
    if !rustix::process::geteuid().is_root() {
        // Nobody else can: that they are told so is tested beside the target.
        return;
    }
    let [from, base] = [(); 2].map(|()| super::open_tempdir());
    plant(from.path());
    let at = |name: &str| from.path().join(name);
    for (index, name) in ["set-id", "folder", "absolute", "fifo", "list"].iter().enumerate() {
        let (user, group) = (1000 + index as u32, 2000 + index as u32);
        std::os::unix::fs::lchown(at(name), Some(user), Some(group)).unwrap();
    }
    set_mode(&at("set-id"), 0o6755);
    // cap_net_raw=ep, revision 2.
    let capability = [&0x0200_0001u32.to_le_bytes()[..], &(1u32 << 13).to_le_bytes(), &[0; 12]].concat();
    fs::write(at("capable"), "program").unwrap();
    std::os::unix::fs::chown(at("capable"), Some(1234), None).unwrap();
    set_xattr(&at("capable"), "security.capability", &capability);
    set_xattr(&at("folder"), "trusted.secret", b"t");
    for (name, kind) in [("character", FileType::CharacterDevice), ("block", FileType::BlockDevice)] {
        let device = rustix::fs::makedev(251, 70_000);
        rustix::fs::mknodat(CWD, at(name), kind, Mode::RUSR, device).unwrap();
    }
    let link = format!("/proc/self/fd/{}", {
        use std::os::fd::IntoRawFd;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW;
        rustix::fs::open(at("absolute"), flags, Mode::empty()).unwrap().into_raw_fd()
    });
    set_xattr(Path::new(&link), "trusted.link", b"l");
    settle(from.path());
    check_as_root(from.path(), base.path());
}

fn check_as_root(from: &Path, base: &Path) {
    for (name, existing) in [("new", Existing::Refuse), ("new", Existing::Overwrite)] {
        let report = copy(from, &base.join(name), existing);
        assert_eq!((report.specials, report.warnings), (3, Vec::new()));
        assert_same_tree(from, &base.join(name));
    }
}
