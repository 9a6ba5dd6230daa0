use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, XattrFlags};

use super::*;
use crate::entry::{Extent, PATH_BYTES_MAX, PATH_DEPTH_MAX};
use crate::error;
use crate::testing;

fn steps(root: &Path, options: &Options) -> Vec<Step> {
    walk(root, options).unwrap().collect()
}

/// The paths that a walk without failures finds.
fn paths(root: &Path, options: &Options) -> Vec<String> {
    steps(root, options).iter().map(|step| String::from_utf8(expect_found(step).path.clone()).unwrap()).collect()
}

/// What a walk finds, and what it cannot read.
fn sorted_out(root: &Path, options: &Options) -> (Vec<String>, Vec<(String, FailureKind)>) {
    let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
    let mut found = Vec::new();
    let mut failed = Vec::new();
    for step in walk(root, options).unwrap() {
        match step {
            Step::Found(entry) => found.push(text(&entry.path)),
            Step::Failed(failure) => failed.push((text(&failure.path), failure.kind)),
            Step::LeftOut(..) => unreachable!("nobody asked"),
        }
    }
    (found, failed)
}

fn expect_found(step: &Step) -> &Found {
    match step {
        Step::Found(found) => found,
        other => panic!("{other:?}"),
    }
}

/// The entry at this path.
fn find(root: &Path, path: &str) -> Found {
    walk(root, &Options::default())
        .unwrap()
        .find_map(|step| match step {
            Step::Found(found) if found.path == path.as_bytes() => Some(found),
            _ => None,
        })
        .unwrap()
}

/// A folder with these files, and the folders that they need.
fn tree(files: &[&str]) -> tempfile::TempDir {
    let root = testing::open_tempdir();
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    root
}

fn excluding(patterns: &[&str]) -> Options {
    Options { excludes: patterns.iter().map(|p| (*p).to_owned()).collect(), ..Options::default() }
}

#[test]
fn a_directory_stands_directly_before_its_subtree() {
    let root = tree(&["a/x/1", "a/y", "a.b/z", "b", "a-/q"]);
    let found = paths(root.path(), &Options::default());
    assert_eq!(found, ["", "a", "a/x", "a/x/1", "a/y", "a-", "a-/q", "a.b", "a.b/z", "b"]);
    assert!(found.is_sorted_by_key(|path| path.replace('/', "\0")));
}

#[test]
fn names_are_bytes() {
    let root = tree(&[]);
    let names: [&[u8]; 5] = [b"\x01\x1b[2J\n", b"a\\b", "é\u{202e}".as_bytes(), b"\xff\xfe", &[0xfd; 255]];
    for name in names {
        fs::write(root.path().join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let steps = steps(root.path(), &Options::default());
    let mut expected = names.map(<[u8]>::to_vec);
    expected.sort();
    assert!(steps[1..].iter().map(|step| &expect_found(step).path).eq(&expected));
    assert!(steps[1..].iter().all(|step| expect_found(step).open().is_ok()));
}

#[test]
fn a_single_file_is_a_tree_of_one() {
    let root = tree(&["one"]);
    symlink("one", root.path().join("link")).unwrap();
    for name in ["one", "link"] {
        let steps = steps(&root.path().join(name), &Options::default());
        assert_eq!(steps.len(), 1);
        let found = expect_found(&steps[0]);
        assert_eq!(found.path, name.as_bytes());
        let mut content = [0; 4];
        assert_eq!(found.open().unwrap().read_at(0, &mut content).unwrap(), 3);
        assert_eq!(found.xattrs().unwrap(), []);
    }
}

#[test]
fn only_the_root_is_followed() {
    let root = tree(&["d/f"]);
    symlink("d", root.path().join("l")).unwrap();
    assert_eq!(paths(root.path(), &Options::default()), ["", "d", "d/f", "l"]);
    assert_eq!(find(root.path(), "l").link_target().unwrap(), b"d");
    assert_eq!(paths(&root.path().join("l"), &Options::default()), ["", "f"]);
}

#[test]
fn a_root_that_cannot_be_walked_is_an_error() {
    let root = tree(&[]);
    let kind = |name: &str| walk(&root.path().join(name), &Options::default()).unwrap_err().kind();
    assert_eq!(kind("absent"), error::Kind::Source);
    symlink("nowhere", root.path().join("dangling")).unwrap();
    assert_eq!(kind("dangling"), error::Kind::Source);
    rustix::fs::mkfifoat(CWD, root.path().join("fifo"), Mode::RWXU).unwrap();
    assert_eq!(kind("fifo"), error::Kind::Usage);
    assert_eq!(walk(Path::new("/dev/null"), &Options::default()).unwrap_err().kind(), error::Kind::Usage);
}

#[test]
fn pipes_and_devices_are_described_and_never_opened() {
    let root = tree(&[]);
    rustix::fs::mkfifoat(CWD, root.path().join("fifo"), Mode::RUSR).unwrap();
    let _listener = UnixListener::bind(root.path().join("socket")).unwrap();
    let mut walk = walk(root.path(), &Options::default()).unwrap();
    let found: Vec<_> =
        walk.by_ref().map(|step| (expect_found(&step).path.clone(), expect_found(&step).open().is_ok())).collect();
    assert_eq!(found, [(b"".to_vec(), false), (b"fifo".to_vec(), false)]);
    assert_eq!(walk.skipped(), Skipped { sockets: 1, ..Skipped::default() });
    assert_eq!(find(root.path(), "fifo").stat.kind, Kind::Fifo);
    assert_eq!(find(root.path(), "fifo").xattrs().unwrap(), []);
    let null = find(Path::new("/dev"), "null");
    assert_eq!((null.stat.kind, null.stat.device), (Kind::CharDevice, (1, 3)));
}

#[test]
fn attributes_come_sorted_from_everything() {
    let root = tree(&["f", "d/x"]);
    let large = vec![7; 3000];
    for name in ["f", "d"] {
        let path = root.path().join(name);
        for (name, value) in [("user.z", &b"1"[..]), ("user.a", &large), ("user.empty", b"")] {
            rustix::fs::setxattr(&path, name, value, XattrFlags::empty()).unwrap();
        }
    }
    let expected: Vec<Xattr> = vec![
        (b"user.a".to_vec(), large.clone()),
        (b"user.empty".to_vec(), Vec::new()),
        (b"user.z".to_vec(), b"1".to_vec()),
    ];
    assert_eq!(find(root.path(), "f").open().unwrap().xattrs().unwrap(), expected);
    assert_eq!(find(root.path(), "f").xattrs().unwrap(), expected);
    assert_eq!(find(root.path(), "d").xattrs().unwrap(), expected);
    // A link has none of what it points to.
    symlink("f", root.path().join("l")).unwrap();
    assert_eq!(find(root.path(), "l").xattrs().unwrap(), []);
    // One that knows no attributes has none.
    assert_eq!(find(Path::new("/proc/self"), "status").xattrs().unwrap(), []);
}

#[test]
fn holes_are_found() {
    let root = tree(&["dense", "empty"]);
    const MIB: u64 = 1 << 20;
    let sparse = File::create(root.path().join("sparse")).unwrap();
    sparse.write_all_at(&[1; 4096], MIB).unwrap();
    sparse.write_all_at(&[1; 8192], 3 * MIB).unwrap();
    sparse.set_len(1 << 40).unwrap();
    File::create(root.path().join("hole")).unwrap().set_len(MIB).unwrap();
    File::create(root.path().join("empty")).unwrap();
    let extents = |name: &str| find(root.path(), name).open().unwrap().extents().unwrap();
    let expected = vec![Extent { offset: MIB, len: 4096 }, Extent { offset: 3 * MIB, len: 8192 }];
    assert_eq!(extents("sparse"), Some(expected));
    assert_eq!(extents("hole"), Some(Vec::new()));
    assert_eq!(extents("dense"), None);
    assert_eq!(extents("empty"), None);
}

#[test]
fn reads_are_full_up_to_the_end() {
    let root = tree(&[]);
    fs::write(root.path().join("f"), [9; 100_000]).unwrap();
    let file = find(root.path(), "f").open().unwrap();
    let mut buffer = [0; 70_000];
    assert_eq!(file.read_at(0, &mut buffer).unwrap(), 70_000);
    assert_eq!(file.read_at(70_000, &mut buffer).unwrap(), 30_000);
    assert_eq!(file.read_at(1 << 40, &mut buffer).unwrap(), 0);
}

#[test]
fn what_changes_while_it_is_read_is_noticed() {
    let root = tree(&["f"]);
    let path = root.path().join("f");
    let open = || find(root.path(), "f").open().unwrap();
    let file = open();
    assert_eq!(file.changed().unwrap(), None);
    File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    assert_eq!(file.changed().unwrap(), Some("size"));
    let file = open();
    File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(file.changed().unwrap(), Some("content"));
    let file = open();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(file.changed().unwrap(), Some("metadata"));
}

#[test]
fn what_is_replaced_between_walk_and_open_is_noticed() {
    let root = tree(&["f", "secret", "d/x"]);
    let path = root.path().join("f");
    let failure = |found: &Found| found.open().unwrap_err().kind;

    let found = find(root.path(), "f");
    fs::remove_file(&path).unwrap();
    assert_eq!(failure(&found), FailureKind::Vanished);
    symlink("secret", &path).unwrap();
    assert_eq!(failure(&found), FailureKind::Changed);
    assert_eq!(found.xattrs().unwrap_err().kind, FailureKind::Changed);
    fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(CWD, &path, Mode::RWXU).unwrap();
    assert_eq!(failure(&found), FailureKind::Changed);
    fs::rename(root.path().join("secret"), &path).unwrap();
    assert_eq!(failure(&found), FailureKind::Changed);

    let link = tree(&[]);
    symlink("here", link.path().join("l")).unwrap();
    let found = find(link.path(), "l");
    symlink("there", link.path().join("l2")).unwrap();
    fs::rename(link.path().join("l2"), link.path().join("l")).unwrap();
    assert_eq!(found.link_target().unwrap_err().kind, FailureKind::Changed);
}

#[test]
fn a_directory_swapped_for_a_link_is_not_entered() {
    let outside = tree(&["secret"]);
    for swap in [true, false] {
        let root = tree(&["d/x", "e"]);
        let mut walk = walk(root.path(), &Options::default()).unwrap();
        assert_eq!(expect_found(&walk.nth(1).unwrap()).path, b"d");
        fs::rename(root.path().join("d"), root.path().join("moved")).unwrap();
        if swap {
            symlink(outside.path(), root.path().join("d")).unwrap();
        } else {
            fs::create_dir(root.path().join("d")).unwrap();
        }
        let Some(Step::Failed(failure)) = walk.next() else { panic!() };
        assert_eq!((&failure.path[..], failure.kind), (&b"d"[..], FailureKind::Changed));
        assert_eq!(expect_found(&walk.next().unwrap()).path, b"e");
        assert!(walk.next().is_none());
    }
}

#[test]
fn what_vanishes_after_it_was_listed_is_told() {
    let root = tree(&["a", "b", "c"]);
    let mut walk = walk(root.path(), &Options::default()).unwrap();
    assert_eq!(expect_found(&walk.nth(1).unwrap()).path, b"a");
    fs::remove_file(root.path().join("b")).unwrap();
    let Some(Step::Failed(failure)) = walk.next() else { panic!() };
    assert_eq!((&failure.path[..], failure.kind), (&b"b"[..], FailureKind::Vanished));
    assert_eq!(expect_found(&walk.next().unwrap()).path, b"c");
}

/// What is closed to us is told, and everything else still comes.
#[test]
fn what_is_unreadable_is_told_and_the_walk_goes_on() {
    if !testing::as_nobody(module_path!(), "what_is_unreadable_is_told_and_the_walk_goes_on") {
        return;
    }
    let root = tree(&["a", "closed/x", "listed/x", "passable/x", "z"]);
    let set = |name: &str, mode| fs::set_permissions(root.path().join(name), PermissionsExt::from_mode(mode)).unwrap();
    for (name, mode) in [("a", 0o000), ("closed", 0o000), ("listed", 0o444), ("passable", 0o111)] {
        set(name, mode);
    }
    let (found, failed) = sorted_out(root.path(), &Options::default());
    assert_eq!(found, ["", "a", "closed", "listed", "passable", "z"]);
    let unreadable = ["closed", "listed/x", "passable"].map(|path| (path.to_owned(), FailureKind::Unreadable));
    assert_eq!(failed, unreadable);
    assert_eq!(find(root.path(), "a").open().unwrap_err().kind, FailureKind::Unreadable);
    let error = walk(&root.path().join("closed"), &Options::default()).unwrap_err();
    assert_eq!(error.kind(), error::Kind::Source);
    for name in ["closed", "listed", "passable"] {
        set(name, 0o755);
    }
}

#[test]
fn another_file_system_is_kept_out_when_asked() {
    if !testing::with_own_mounts(module_path!(), "another_file_system_is_kept_out_when_asked") {
        return;
    }
    let root = tree(&["a", "mount/hidden", "z"]);
    let at = root.path().join("mount");
    let _mount = testing::Mount::tmpfs(&at, "size=1m");
    fs::write(root.path().join("mount/x"), "x").unwrap();
    assert_eq!(paths(root.path(), &Options::default()), ["", "a", "mount", "mount/x", "z"]);
    let options = Options { one_file_system: true, ..Options::default() };
    let mut walk = walk(root.path(), &options).unwrap();
    let found: Vec<_> = walk.by_ref().map(|step| expect_found(&step).path.clone()).collect();
    assert_eq!(found, [&b""[..], b"a", b"mount", b"z"]);
    assert_eq!(walk.skipped(), Skipped { other_file_systems: 1, ..Skipped::default() });
    // A mounted file system that is itself the root is walked.
    assert_eq!(paths(&root.path().join("mount"), &options), ["", "x"]);
}

#[test]
fn patterns_exclude_as_in_git() {
    let root = tree(&["a.o", "b.c", "build/x", "keep/a.o", "sub/build/y", "sub/deep/secret", ".gitignore"]);
    fs::write(root.path().join(".gitignore"), "*\n").unwrap();
    let mut walk = walk(root.path(), &excluding(&["*.o", "/build/", "sub/deep", "!keep/*.o"])).unwrap();
    let found: Vec<_> = walk.by_ref().map(|step| expect_found(&step).path.clone()).collect();
    let expected =
        ["", ".gitignore", "b.c", "keep", "keep/a.o", "sub", "sub/build", "sub/build/y"].map(|p| p.as_bytes().to_vec());
    assert_eq!(found, expected);
    assert_eq!(walk.skipped(), Skipped { by_pattern: 3, ..Skipped::default() });
}

#[test]
fn patterns_come_from_files_too() {
    let root = tree(&["a", "b", "c"]);
    let file = root.path().join("c");
    fs::write(&file, "# all but one\r\n/a\n\n*\n!/b\n").unwrap();
    let mut options = Options { exclude_from: vec![file.clone()], ..Options::default() };
    assert_eq!(paths(root.path(), &options), ["", "b"]);
    // What the command line says comes last.
    options.excludes = vec!["!/a".to_owned()];
    assert_eq!(paths(root.path(), &options), ["", "a", "b"]);
    // The root itself was asked for.
    assert_eq!(paths(&root.path().join("a"), &excluding(&["*"])), ["a"]);
}

#[test]
fn a_bad_pattern_is_refused_with_its_place() {
    let root = tree(&["patterns"]);
    let file = root.path().join("patterns");
    for bad in [&b"good\n\na[b\n"[..], b"good\n\n\xff\n"] {
        fs::write(&file, bad).unwrap();
        let error = walk(root.path(), &Options { exclude_from: vec![file.clone()], ..Options::default() }).unwrap_err();
        assert_eq!(error.kind(), error::Kind::Usage);
        assert!(error.what().contains("patterns, line 3"), "{error}");
    }
    let error = walk(root.path(), &excluding(&["fine", "a[b"])).unwrap_err();
    assert_eq!((error.kind(), error.what()), (error::Kind::Usage, "bad pattern a[b"));
    let absent = Options { exclude_from: vec![root.path().join("absent")], ..Options::default() };
    assert_eq!(walk(root.path(), &absent).unwrap_err().kind(), error::Kind::Usage);
}

#[test]
fn an_ignore_file_holds_from_its_directory_down() {
    let root = tree(&["a/b/log", "a/b/x.tmp", "a/keep.tmp", "a/x.tmp", "b/log", "x.tmp"]);
    fs::write(root.path().join(".larderignore"), "*.tmp\n").unwrap();
    fs::write(root.path().join("a/.larderignore"), "!/keep.tmp\nlog\n").unwrap();
    let all = ["", ".larderignore", "a", "a/.larderignore", "a/b", "a/keep.tmp", "b", "b/log"];
    assert_eq!(paths(root.path(), &Options::default()), all);
    // The command line wins.
    let found = paths(root.path(), &excluding(&["keep.tmp", "!log"]));
    assert_eq!(found, ["", ".larderignore", "a", "a/.larderignore", "a/b", "a/b/log", "b", "b/log"]);
}

#[test]
fn a_bad_line_in_an_ignore_file_is_told_and_the_others_hold() {
    let root = tree(&["a/x", "a/y", "b/.larderignore.real"]);
    fs::write(root.path().join("a/.larderignore"), "x\na[b\n").unwrap();
    symlink(".larderignore.real", root.path().join("b/.larderignore")).unwrap();
    let (found, failed) = sorted_out(root.path(), &Options::default());
    assert_eq!(found, ["", "a", "a/.larderignore", "a/y", "b", "b/.larderignore", "b/.larderignore.real"]);
    let expected = [("a/.larderignore", FailureKind::BadPattern), ("b/.larderignore", FailureKind::Unreadable)];
    assert_eq!(failed, expected.map(|(path, kind)| (path.to_owned(), kind)));
}

#[test]
fn of_a_cache_only_the_tag_is_kept() {
    const SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# whatever";
    let root = tree(&["cache/d/x", "cache/CACHEDIR.TAG", "fake/CACHEDIR.TAG", "linked/x", "short/CACHEDIR.TAG"]);
    fs::write(root.path().join("cache/CACHEDIR.TAG"), SIGNATURE).unwrap();
    fs::write(root.path().join("short/CACHEDIR.TAG"), &SIGNATURE[..42]).unwrap();
    symlink("../cache/CACHEDIR.TAG", root.path().join("linked/CACHEDIR.TAG")).unwrap();
    let mut walk = walk(root.path(), &Options::default()).unwrap();
    let found: Vec<_> =
        walk.by_ref().map(|step| String::from_utf8(expect_found(&step).path.clone()).unwrap()).collect();
    let expected = [
        "",
        "cache",
        "cache/CACHEDIR.TAG",
        "fake",
        "fake/CACHEDIR.TAG",
        "linked",
        "linked/CACHEDIR.TAG",
        "linked/x",
        "short",
        "short/CACHEDIR.TAG",
    ];
    assert_eq!(found, expected);
    assert_eq!(walk.skipped(), Skipped { cache_directories: 1, ..Skipped::default() });
    // Who names a cache wants it.
    assert_eq!(paths(&root.path().join("cache"), &Options::default()), ["", "CACHEDIR.TAG", "d", "d/x"]);
}

/// Makes directories of this name one in another, with a file `z` in each, and goes back to none of them.
fn dig(root: &Path, name: &[u8], depth: usize) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(root, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, name, flags, Mode::empty()).unwrap();
        rustix::fs::mknodat(&at, c"z", FileType::RegularFile, Mode::RWXU, 0).unwrap();
    }
}

fn components(path: &[u8]) -> usize {
    if path.is_empty() { 0 } else { path.split(|b| *b == b'/').count() }
}

#[test]
fn trees_may_be_as_deep_as_the_limit() {
    if !testing::with_few_handles(module_path!(), "trees_may_be_as_deep_as_the_limit") {
        return;
    }
    let root = tree(&[]);
    dig(root.path(), b"d", PATH_DEPTH_MAX + 1);
    let mut deepest = 0;
    let (mut files, mut failures) = (0, Vec::new());
    for step in walk(root.path(), &Options::default()).unwrap() {
        match step {
            Step::Found(found) => {
                deepest = deepest.max(components(&found.path));
                files += usize::from(found.stat.kind == Kind::File && found.open().is_ok());
            }
            Step::Failed(failure) => failures.push((components(&failure.path), failure.kind)),
            Step::LeftOut(..) => unreachable!("nobody asked"),
        }
    }
    assert_eq!((deepest, files), (PATH_DEPTH_MAX, PATH_DEPTH_MAX - 1));
    assert_eq!(failures, [(PATH_DEPTH_MAX, FailureKind::TooDeep)]);
    testing::remove_deep(root);
}

#[test]
fn paths_may_be_as_long_as_the_limit() {
    let root = tree(&[]);
    let name = [b'n'; 255];
    dig(root.path(), &name, 130);
    let mut longest = 0;
    let mut failures = Vec::new();
    for step in walk(root.path(), &Options::default()).unwrap() {
        match step {
            Step::Found(found) => longest = longest.max(found.path.len()),
            Step::Failed(failure) => failures.push((failure.path.len(), failure.kind)),
            Step::LeftOut(..) => unreachable!("nobody asked"),
        }
    }
    // 128 directories and 127 separators make one byte less than the limit; nothing fits in the last of them.
    assert_eq!(longest, PATH_BYTES_MAX - 1);
    let beyond = |len| (PATH_BYTES_MAX - 1 + len, FailureKind::NameTooLong);
    assert_eq!(failures, [beyond(256), beyond(2)]);
}

#[test]
fn a_tree_that_is_moved_about_is_still_walked_to_its_end() {
    let root = tree(&[]);
    dig(root.path(), b"d", 200);
    let mut walk = walk(root.path(), &Options::default()).unwrap();
    walk.nth(150).unwrap();
    // Its handle was given up; the way back up from it leads somewhere else now.
    fs::create_dir(root.path().join("other")).unwrap();
    fs::rename(root.path().join("d/d/d"), root.path().join("other/d")).unwrap();
    let (mut files, mut failures) = (0, 0);
    for step in walk {
        match step {
            Step::Found(found) => files += usize::from(found.path.ends_with(b"/z")),
            Step::Failed(_) => failures += 1,
            Step::LeftOut(..) => unreachable!("nobody asked"),
        }
    }
    assert_eq!((files, failures), (200, 0));
}

#[test]
fn a_directory_that_is_gone_on_the_way_back_is_told() {
    let root = tree(&[]);
    dig(root.path(), b"d", 200);
    let mut walk = walk(root.path(), &Options::default()).unwrap();
    walk.nth(150).unwrap();
    // Neither its child nor the root leads to the third one any more.
    fs::rename(root.path().join("d/d/d/d"), root.path().join("kept")).unwrap();
    fs::rename(root.path().join("d/d/d"), root.path().join("moved")).unwrap();
    let (mut files, mut failures) = (0, Vec::new());
    for step in walk {
        match step {
            Step::Found(found) => files += usize::from(found.path.ends_with(b"/z")),
            Step::Failed(failure) => failures.push((failure.path, failure.kind)),
            Step::LeftOut(..) => unreachable!("nobody asked"),
        }
    }
    assert_eq!(files, 199);
    assert_eq!(failures, [(b"d/d/d".to_vec(), FailureKind::Vanished)]);
}

/// Somebody who may write to the tree swaps directories and links, and files and links, all the time.
#[test]
fn a_race_of_links_shows_nothing_from_outside() {
    let base = tree(&["outside/e/f", "outside/f", "root/d/e/f", "root/d/f", "root/g/f"]);
    let root = base.path().join("root");
    for name in ["f", "e/f"] {
        fs::write(base.path().join("outside").join(name), "secret").unwrap();
    }
    symlink("../outside", root.join("swap")).unwrap();
    symlink("../../outside/f", root.join("g/swap")).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let ordering = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0u64;
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            while !done.load(ordering) {
                rustix::fs::renameat_with(CWD, root.join("d"), CWD, root.join("swap"), flags).unwrap();
                rustix::fs::renameat_with(CWD, root.join("g/f"), CWD, root.join("g/swap"), flags).unwrap();
                swaps += 1;
            }
            swaps
        });
        let mut read = 0;
        for step in (0..3000).flat_map(|_| walk(&root, &Options::default()).unwrap()) {
            let Step::Found(found) = step else { continue };
            if let Ok(file) = found.open() {
                let mut content = [0; 6];
                file.read_at(0, &mut content).unwrap();
                assert_ne!(&content, b"secret");
                read += 1;
            }
        }
        done.store(true, ordering);
        assert!(swapper.join().unwrap() > 1000 && read > 1000);
    });
}
