//! What is kept of files, and what happens to strange ones.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::support::needs_root;
use crate::support::plant::{self, Item, plant, set_mode, set_mtime, set_owner, set_xattr};
use crate::support::program::{Machine, NOBODY};
use crate::support::tree::{assert_same, look};

/// Something of everything.
fn everything(root: &Path) {
    let long = [b'n'; 255];
    plant(
        root,
        &[
            (b"empty", Item::File(Vec::new())),
            (b"one byte", Item::File(vec![0])),
            (b"many chunks", Item::File(plant::noise(1, 5 << 20))),
            (b"zeros are no holes", Item::File(vec![0; 1 << 20])),
            (
                b"holes",
                Item::Sparse((3 << 20) + 5, vec![(1 << 20, plant::noise(2, 65_536)), (2 << 20, vec![0; 65_536])]),
            ),
            (b"only a hole", Item::Sparse(1 << 20, Vec::new())),
            (b"first", Item::File(plant::words(3, 5000))),
            (b"folder/second", Item::Link(b"first")),
            (b"folder/third", Item::Link(b"first")),
            (b"link", Item::Symlink(b"folder/second")),
            (b"link to nothing", Item::Symlink(b"\xff/\n")),
            (b"pipe", Item::Fifo),
            (b"folder/same pipe", Item::Link(b"pipe")),
            (b"folder/same link", Item::Link(b"link")),
            (b"character", Item::CharDevice(1, 3)),
            (b"block", Item::BlockDevice(259, 65_540)),
            (b"none in it", Item::Folder),
            (b"names/\xff\xfe\x01", Item::File(b"raw".to_vec())),
            (b"names/\x1b[2J\n\r\t", Item::File(b"control".to_vec())),
            ("names/\u{202e}gnp.exe".as_bytes(), Item::File(b"direction".to_vec())),
            (b"names/ ", Item::File(b"space".to_vec())),
            (b"names/-rf", Item::File(b"dash".to_vec())),
            (b"names/...", Item::File(b"dots".to_vec())),
        ],
    );
    fs::write(plant::at(&root.join("names"), &long), "long").unwrap();
    let place = |name: &str| root.join(name);
    set_owner(&place("first"), 1234, 4321);
    set_owner(&place("link"), 12, 34);
    set_owner(&place("none in it"), 2_000_000_000, 0);
    for (name, mode) in
        [("empty", 0o000), ("one byte", 0o4755), ("holes", 0o2711), ("none in it", 0o1777), ("folder", 0o500)]
    {
        set_mode(&place(name), mode);
    }
    set_xattr(&place("first"), "user.text", b"value");
    set_xattr(&place("first"), "user.empty", b"");
    set_xattr(&place("many chunks"), "user.large", &plant::noise(9, 3000));
    set_xattr(&place("link"), "trusted.of.the.link", b"\0\xff");
    set_xattr(&place("pipe"), "security.larder", b"p");
    set_xattr(&place("folder"), "user.of.the.folder", b"f");
    set_xattr(&place("first"), "system.posix_acl_access", &plant::access_list(77, 5));
    set_xattr(&place("none in it"), "system.posix_acl_default", &plant::access_list(78, 7));
    for (name, seconds, nanos) in [("empty", -1, 1), ("link", 0, 0), ("pipe", 9_999_999_999, 999_999_999)] {
        set_mtime(&place(name), seconds, nanos);
    }
    set_mtime(&place("folder"), 1_000_000_000, 123_456_789);
    set_mtime(&place("names"), -1_000_000_000, 5);
    set_mtime(root, 86_400, 7);
}

fn check_everything(machine: &Machine) {
    needs_root("owners, devices and trusted attributes");
    let (source, to) = (machine.place("source"), machine.place("to"));
    everything(&source);
    let seen = look(&source);
    assert_eq!(machine.backup(&source).expect(0).stderr, "");
    assert_eq!(machine.restore("latest", &to).expect(0).stderr, "");
    assert_same(&seen, &look(&to), "a new folder");
    assert_same(&seen, &look(&source), "the source is untouched");

    let inside = machine.place("inside");
    fs::create_dir(&inside).unwrap();
    machine.restore("latest", &inside).expect(0);
    assert_same(&seen, &look(&inside), "an empty folder");

    let over = machine.place("over");
    plant(&over, &[(b"first", Item::Folder), (b"pipe", Item::File(b"file".to_vec())), (b"link", Item::Fifo)]);
    set_xattr(&over.join("pipe"), "user.stale", b"stale");
    machine.run(["restore", "latest", "--overwrite", "--to", over.to_str().unwrap()]).expect(0);
    assert_same(&seen, &look(&over), "over what was there");
    machine.run(["restore", "latest", "--overwrite", "--to", over.to_str().unwrap()]).expect(0);
    assert_same(&seen, &look(&over), "over itself");
}

#[test]
fn everything_about_a_file_comes_back() {
    check_everything(&Machine::new());
}

#[test]
fn everything_about_a_file_comes_back_on_disk() {
    check_everything(&Machine::on_disk());
}

#[test]
fn a_very_large_file_of_holes_costs_neither_time_nor_space() {
    let machine = Machine::new();
    let (source, to) = (machine.place("source"), machine.place("to"));
    let parts = vec![(1 << 30, plant::noise(1, 8192)), ((1 << 40) - 4096, plant::noise(2, 4096))];
    plant(&source, &[(b"a TiB", Item::Sparse(1 << 40, parts))]);
    machine.backup(&source).expect(0);
    machine.restore("latest", &to).expect(0);
    assert_same(&look(&source), &look(&to), "a TiB");
    assert!(fs::metadata(to.join("a TiB")).unwrap().blocks() < 100);
}

#[test]
fn a_path_longer_than_the_system_takes_at_once_comes_back() {
    let machine = Machine::new();
    let (source, to) = (machine.place("source"), machine.place("to"));
    fs::create_dir(&source).unwrap();
    let name = "d".repeat(250);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let go = |root: &Path, make: bool| {
        let mut at = rustix::fs::open(root, flags, Mode::empty()).unwrap();
        for _ in 0..20 {
            if make {
                rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
            }
            at = rustix::fs::openat(&at, &name, flags, Mode::empty()).unwrap();
        }
        at
    };
    let file = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let made = rustix::fs::openat(go(&source, true), "file", file, Mode::RUSR).unwrap();
    rustix::io::write(&made, b"far down").unwrap();
    machine.backup(&source).expect(0);
    machine.restore("latest", &to).expect(0);
    let found = rustix::fs::openat(go(&to, false), "file", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let mut text = [0; 20];
    let len = rustix::io::read(&found, &mut text).unwrap();
    assert_eq!(&text[..len], b"far down");
}

#[test]
fn pipes_sockets_and_endless_files_keep_nobody_waiting() {
    let machine = Machine::new();
    let source = machine.place("source");
    plant(&source, &[(b"pipe", Item::Fifo), (b"socket", Item::Socket), (b"zero", Item::CharDevice(1, 5))]);
    machine.backup(&source).expect(0).prints("1 socket");
    let mut expected = look(&source);
    expected.remove(&b"socket"[..]);
    let to = machine.place("to");
    machine.restore("latest", &to).expect(0);
    assert_same(&expected, &look(&to), "without the socket");
    machine.run(["backup", "pipe=./pipe"]).expect(14);
    let pipe = format!("pipe={}", source.join("pipe").display());
    machine.run(["backup", &pipe]).expect(2).says("neither a directory nor a regular file");
}

/// Files of /proc have a size of 0 and content all the same.
#[test]
fn a_file_that_is_longer_than_it_says_is_saved_as_far_as_it_was_read_and_named() {
    let machine = Machine::new();
    let source = Path::new("/proc/sys/kernel/random");
    assert!(source.join("boot_id").exists(), "this test needs /proc");
    let run = machine.backup(source).expect(3).says("random: boot_id: changed while it was read");
    assert!(run.stdout.contains("partial"), "{run:?}");
    machine.restore("latest", &machine.place("to")).expect(0);
}

#[test]
fn who_may_not_give_files_away_gets_them_without_set_id_bits_and_is_told() {
    let machine = Machine::new();
    let (source, to) = (machine.place("source"), machine.place("to"));
    plant(&source, &[(b"program", Item::File(b"#!".to_vec())), (b"folder/file", Item::File(b"x".to_vec()))]);
    set_mode(&source.join("program"), 0o6755);
    set_owner(&source.join("program"), 0, 0);
    set_xattr(&source.join("folder/file"), "trusted.larder", b"x");
    machine.backup(&source).expect(0);
    let mut expected = look(&source);
    machine.give_to_nobody();
    let run = machine.run_as_nobody(["restore", "latest", "--to", to.to_str().unwrap()]).expect(0);
    let run = run.says("4 entries belong to whoever restored them");
    assert!(run.stderr.contains("1 security.* and trusted.* attributes could not be set"), "{run:?}");
    for node in expected.values_mut() {
        node.owner = (NOBODY, NOBODY);
        node.mode &= 0o1777;
        node.xattrs.clear();
    }
    assert_same(&expected, &look(&to), "as nobody");
}

#[test]
fn a_single_file_and_a_link_to_a_folder_can_be_sources() {
    let machine = Machine::new();
    let folder = machine.place("folder");
    plant(&folder, &[(b"file", Item::File(plant::noise(1, 5 << 20)))]);
    set_mtime(&folder.join("file"), 1_000_000_000, 1);
    let link = machine.place("link");
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    machine.backup(&folder.join("file")).expect(0);
    machine.restore("latest:file", &machine.place("one")).expect(0);
    let restored = look(&machine.place("one"));
    assert_eq!(restored[&b"file"[..]], look(&folder)[&b"file"[..]]);
    assert_eq!(restored.len(), 2);
    machine.backup(&link).expect(0);
    machine.restore("latest:link", &machine.place("two")).expect(0);
    assert_same(&look(&folder), &look(&machine.place("two")), "through a link");
}

#[test]
fn what_is_left_out_on_purpose_is_counted() {
    let machine = Machine::new();
    let source = machine.place("source");
    let tag = b"Signature: 8a477f597d28d172789f06886806bc55\n".to_vec();
    plant(
        &source,
        &[
            (b"kept", Item::File(b"k".to_vec())),
            (b"a.log", Item::File(b"l".to_vec())),
            (b"cache/CACHEDIR.TAG", Item::File(tag)),
            (b"cache/big", Item::File(b"b".to_vec())),
            (b"folder/.larderignore", Item::File(b"*.tmp\n!keep.tmp\n".to_vec())),
            (b"folder/x.tmp", Item::File(b"x".to_vec())),
            (b"folder/keep.tmp", Item::File(b"x".to_vec())),
            (b"folder/.gitignore", Item::File(b"*\n".to_vec())),
        ],
    );
    let run = machine.run(["backup", source.to_str().unwrap(), "--exclude", "*.log"]).expect(0);
    run.prints("left out: 2 excluded by pattern, 1 cache folder");
    let to = machine.place("to");
    machine.restore("latest", &to).expect(0);
    let mut expected = look(&source);
    for path in [&b"a.log"[..], b"cache/big", b"folder/x.tmp"] {
        expected.remove(path).unwrap();
    }
    assert_same(&expected, &look(&to), "without what was left out");
}

#[test]
fn a_hole_punched_into_a_file_is_seen_and_kept() {
    let machine = Machine::new();
    let (source, to) = (machine.place("source"), machine.place("to"));
    plant(&source, &[(b"file", Item::File(plant::noise(1, 1 << 20)))]);
    machine.backup(&source).expect(0);
    let file = File::options().write(true).open(source.join("file")).unwrap();
    let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, flags, 1 << 18, 1 << 18).unwrap();
    drop(file);
    machine.backup(&source).expect(0);
    machine.restore("latest", &to).expect(0);
    assert_same(&look(&source), &look(&to), "a punched hole");
}
