use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use rustix::fs::{CWD, XattrFlags};

use super::*;
use crate::entry::{PATH_BYTES_MAX, PATH_DEPTH_MAX, Time};
use crate::testing;

fn entry(kind: Kind, mode: u32) -> Entry {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mtime = Time { seconds: 1_234_567_890, nanos: 987_654_321 };
    Entry { mode, uid, gid, mtime, ..Entry::new(kind) }
}

fn directory_entry() -> Entry {
    entry(Kind::Directory, 0o755)
}

fn link_entry(target: &str) -> Entry {
    Entry { target: target.into(), ..entry(Kind::Symlink, 0o777) }
}

fn file_entry(size: usize) -> Entry {
    Entry { size: size as u64, ..entry(Kind::File, 0o640) }
}

fn write(folder: &Folder, path: impl AsRef<[u8]>, content: &[u8]) -> Result<()> {
    let file = folder.file(path.as_ref(), &file_entry(content.len()))?;
    file.write_at(0, content)?;
    file.finish()
}

/// A folder and a place in it for a tree.
fn place() -> (tempfile::TempDir, PathBuf) {
    let base = testing::open_tempdir();
    let to = base.path().join("to");
    (base, to)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_new_folder_appears_only_when_it_is_complete() {
    let (base, to) = place();
    let to = to.join("deeper");
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    folder.directory(b"", &directory_entry()).unwrap();
    folder.directory(b"d", &Entry { mode: 0o500, ..directory_entry() }).unwrap();
    write(&folder, "d/f", b"content").unwrap();
    assert!(!to.exists());
    let hidden = names(&base.path().join("to"));
    assert!(hidden.len() == 1 && hidden[0].starts_with(".deeper.larder-partial-"), "{hidden:?}");
    assert_eq!(mode(&base.path().join("to").join(&hidden[0])), 0o700);
    let report = folder.finish().unwrap();
    assert_eq!(report, Report { files: 1, directories: 2, ..Report::default() });
    assert_eq!(fs::read(to.join("d/f")).unwrap(), b"content");
    assert_eq!(mode(&to.join("d")), 0o500);
    assert_eq!(names(&base.path().join("to")), ["deeper"]);
}

#[test]
fn an_empty_folder_is_filled_only_at_the_end() {
    let (_base, to) = place();
    fs::create_dir(&to).unwrap();
    set_mode(&to, 0o711);
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    folder.directory(b"d", &directory_entry()).unwrap();
    write(&folder, "d/f", b"content").unwrap();
    write(&folder, "g", b"").unwrap();
    let hidden = names(&to);
    assert!(hidden.len() == 1 && hidden[0].starts_with(".larder-partial-"), "{hidden:?}");
    folder.finish().unwrap();
    assert_eq!(names(&to), ["d", "g"]);
    // About the root nothing was said.
    assert_eq!(mode(&to), 0o711);
    assert_eq!(fs::metadata(to.join("d")).unwrap().mtime_nsec(), 987_654_321);
}

#[test]
fn a_root_without_metadata_gets_what_new_folders_get() {
    let (base, to) = place();
    fs::create_dir(base.path().join("usual")).unwrap();
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    write(&folder, "f", b"1").unwrap();
    folder.finish().unwrap();
    assert_eq!(mode(&to), mode(&base.path().join("usual")));
}

#[test]
fn what_is_not_finished_leaves_nothing() {
    let (base, to) = place();
    for make_first in [false, true] {
        if make_first {
            fs::create_dir(&to).unwrap();
        }
        let folder = Folder::create(&to, Existing::Refuse).unwrap();
        folder.directory(b"d", &directory_entry()).unwrap();
        folder.directory(b"d/e", &directory_entry()).unwrap();
        write(&folder, "d/e/f", b"1").unwrap();
        folder.symlink(b"d/l", &link_entry("/")).unwrap();
        let open = folder.file(b"d/e/open", &file_entry(1)).unwrap();
        drop(folder);
        drop(open);
        assert!(!make_first || names(&to).is_empty());
        assert_eq!(names(base.path()).len(), usize::from(make_first));
    }
}

#[test]
fn a_file_that_is_given_up_is_gone() {
    let (_base, to) = place();
    fs::create_dir(&to).unwrap();
    fs::write(to.join("f"), "earlier").unwrap();
    let folder = Folder::create(&to, Existing::Overwrite).unwrap();
    let file = folder.file(b"f", &file_entry(5)).unwrap();
    file.write_at(0, b"new").unwrap();
    assert_eq!(names(&to).len(), 2);
    drop(file);
    assert_eq!(names(&to), ["f"]);
    assert_eq!(fs::read(to.join("f")).unwrap(), b"earlier");
}

#[test]
fn a_tree_with_files_still_open_is_not_finished() {
    let (_base, to) = place();
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    let _open = folder.file(b"f", &file_entry(5)).unwrap();
    assert!(folder.finish().unwrap_err().reason().contains("1 files"));
    assert!(!to.exists());
}

#[test]
fn a_place_that_is_taken_is_refused() {
    let (base, to) = place();
    let refused = |to: &Path, existing| Folder::create(to, existing).unwrap_err();
    fs::write(&to, "file").unwrap();
    for existing in [Existing::Refuse, Existing::Overwrite] {
        assert!(refused(&to, existing).reason().contains("else than a folder"));
    }
    let link = base.path().join("link");
    symlink("nowhere", &link).unwrap();
    assert!(refused(&link, Existing::Refuse).reason().contains("leads nowhere"));
    fs::remove_file(&to).unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(to.join("x"), "").unwrap();
    let error = refused(&to, Existing::Refuse);
    assert_eq!((error.kind(), error.reason()), (error::Kind::Failed, "it is not empty"));
    fs::rename(to.join("x"), to.join(".larder-partial-0123")).unwrap();
    assert!(refused(&to, Existing::Refuse).advice().contains("remove .larder-partial-0123"));
    for nameless in ["/nonexistent/..", &format!("{}/{}", base.path().display(), "n".repeat(256))] {
        assert!(Folder::create(Path::new(nameless), Existing::Refuse).is_err());
    }
    // A link to a folder is as good as the folder.
    fs::remove_file(to.join(".larder-partial-0123")).unwrap();
    fs::remove_file(&link).unwrap();
    symlink("to", &link).unwrap();
    let folder = Folder::create(&link, Existing::Refuse).unwrap();
    write(&folder, "f", b"1").unwrap();
    folder.finish().unwrap();
    assert_eq!(names(&to), ["f"]);
}

#[test]
fn what_appears_meanwhile_is_not_replaced_and_the_tree_is_kept() {
    let (base, to) = place();
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    write(&folder, "f", b"new").unwrap();
    fs::create_dir(&to).unwrap();
    let error = folder.finish().unwrap_err();
    assert!(error.reason().contains("somebody else"), "{error}");
    let kept = names(base.path()).into_iter().find(|name| name.starts_with(".to.larder-partial-")).unwrap();
    assert!(error.advice().contains(&kept));
    assert_eq!(fs::read(base.path().join(kept).join("f")).unwrap(), b"new");
    assert!(names(&to).is_empty());
}

/// Every kind of thing that may be there, under every kind of thing to be written.
#[test]
fn in_an_existing_folder_each_entry_replaces_what_has_its_name() {
    let (_base, to) = place();
    type Before<'a> = (&'a str, &'a dyn Fn(&Path));
    type After<'a> = (&'a str, &'a dyn Fn(&Folder, &[u8]) -> Result<()>, fn(&fs::FileType) -> bool);
    let there: [Before; 5] = [
        ("nothing", &|_| {}),
        ("file", &|path| fs::write(path, "earlier and longer").unwrap()),
        ("link", &|path| symlink("../outside", path).unwrap()),
        ("fifo", &|path| rustix::fs::mkfifoat(CWD, path, Mode::RWXU).unwrap()),
        ("folder", &|path| fs::create_dir(path).unwrap()),
    ];
    let made: [After; 5] = [
        ("file", &|folder, path| write(folder, path, b"new"), fs::FileType::is_file),
        ("link", &|folder, path| folder.symlink(path, &link_entry("t")), fs::FileType::is_symlink),
        ("fifo", &|folder, path| folder.special(path, &entry(Kind::Fifo, 0o600)), fs::FileType::is_fifo),
        ("folder", &|folder, path| folder.directory(path, &directory_entry()), fs::FileType::is_dir),
        ("hard-link", &|folder, path| folder.hard_link(b"first", path), fs::FileType::is_file),
    ];
    fs::create_dir(&to).unwrap();
    for (was, make) in there {
        for (is, _, _) in made {
            make(&to.join(format!("{was}-{is}")));
        }
    }
    let folder = Folder::create(&to, Existing::Overwrite).unwrap();
    write(&folder, "first", b"new").unwrap();
    for (was, _) in there {
        for (is, make, is_right) in made {
            let name = format!("{was}-{is}");
            make(&folder, name.as_bytes()).unwrap();
            assert!(is_right(&fs::symlink_metadata(to.join(&name)).unwrap().file_type()), "{name}");
        }
    }
    folder.finish().unwrap();
    assert_eq!(fs::read(to.join("file-file")).unwrap(), b"new");
    assert_eq!(names(&to).len(), 26);
}

#[test]
fn a_folder_with_something_in_it_gives_way_to_nothing() {
    let (_base, to) = place();
    fs::create_dir_all(to.join("d/kept")).unwrap();
    let folder = Folder::create(&to, Existing::Overwrite).unwrap();
    write(&folder, "first", b"").unwrap();
    let errors = [
        write(&folder, "d", b"new").unwrap_err(),
        folder.symlink(b"d", &link_entry("t")).unwrap_err(),
        folder.special(b"d", &entry(Kind::Fifo, 0o600)).unwrap_err(),
        folder.hard_link(b"first", b"d").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), "cannot create d: a folder of that name is there, and not empty");
    }
    folder.directory(b"d", &directory_entry()).unwrap();
    folder.finish().unwrap();
    assert_eq!(names(&to), ["d", "first"]);
    assert_eq!(names(&to.join("d")), ["kept"]);
}

#[test]
fn one_name_of_a_file_may_replace_another() {
    let (_base, to) = place();
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    write(&folder, "a", b"1").unwrap();
    folder.hard_link(b"a", b"b").unwrap();
    folder.finish().unwrap();
    let folder = Folder::create(&to, Existing::Overwrite).unwrap();
    folder.hard_link(b"a", b"b").unwrap();
    folder.finish().unwrap();
    assert_eq!(names(&to), ["a", "b"]);
    assert_eq!(fs::metadata(to.join("b")).unwrap().nlink(), 2);
}

#[test]
fn paths_that_are_not_plainly_below_the_root_are_refused() {
    let (base, to) = place();
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    folder.directory(b"d", &directory_entry()).unwrap();
    let long = vec![b'n'; 256];
    let deep = b"d/".repeat(PATH_DEPTH_MAX);
    let hostile: [&[u8]; 16] = [
        b"/",
        b"/etc/x",
        b".",
        b"..",
        b"../x",
        b"d/..",
        b"d/../../x",
        b"d/./x",
        b"d//x",
        b"d/",
        b"x\0y",
        b"\0",
        &long,
        &[b"d/", &long[..]].concat(),
        &[&deep[..], b"x"].concat(),
        &vec![b'x'; PATH_BYTES_MAX + 1],
    ];
    for path in hostile {
        let shown = text::escape(&path[..path.len().min(40)]);
        let errors = [
            folder.directory(path, &directory_entry()).unwrap_err(),
            folder.file(path, &file_entry(0)).unwrap_err(),
            folder.symlink(path, &link_entry("t")).unwrap_err(),
            folder.special(path, &entry(Kind::Fifo, 0o600)).unwrap_err(),
            folder.hard_link(b"d", path).unwrap_err(),
            folder.hard_link(path, b"d/x").unwrap_err(),
        ];
        assert!(errors.iter().all(|e| e.kind() == error::Kind::Damage), "{shown}: {errors:?}");
    }
    assert!(folder.file(b"", &file_entry(0)).is_err());
    folder.finish().unwrap();
    assert_eq!(names(base.path()), ["to"]);
    assert_eq!(names(&to), ["d"]);
}

/// The tree itself brings a link and then something below it, or a second name for it.
#[test]
fn links_of_the_tree_are_never_followed() {
    let (base, to) = place();
    let outside = base.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("f"), "kept").unwrap();
    for existing in [Existing::Refuse, Existing::Overwrite] {
        let folder = Folder::create(&to, existing).unwrap();
        folder.symlink(b"l", &link_entry(outside.to_str().unwrap())).unwrap();
        folder.symlink(b"f", &link_entry(outside.join("f").to_str().unwrap())).unwrap();
        assert!(write(&folder, "l/x", b"1").unwrap_err().reason().contains("symbolic link"));
        assert!(folder.directory(b"l/x", &directory_entry()).is_err());
        assert!(folder.symlink(b"l/x", &link_entry("t")).is_err());
        assert!(folder.hard_link(b"l/f", b"stolen").is_err());
        // A second name of the link itself, not of what it leads to.
        folder.hard_link(b"f", b"second").unwrap();
        if existing == Existing::Refuse {
            assert!(write(&folder, "f", b"1").is_err());
            assert!(folder.directory(b"l", &directory_entry()).is_err());
        } else {
            write(&folder, "f", b"new").unwrap();
            folder.directory(b"l", &directory_entry()).unwrap();
            write(&folder, "l/x", b"inside").unwrap();
        }
        folder.finish().unwrap();
        assert!(fs::symlink_metadata(to.join("second")).unwrap().is_symlink());
    }
    assert_eq!(names(&outside), ["f"]);
    assert_eq!(fs::read(outside.join("f")).unwrap(), b"kept");
    assert_eq!(fs::read(to.join("l/x")).unwrap(), b"inside");
}

/// Somebody who may write to the folder swaps a folder and a link all the time.
#[test]
fn a_race_of_links_leads_nowhere() {
    let (base, to) = place();
    let outside = base.path().join("outside");
    fs::create_dir_all(outside.join("e")).unwrap();
    fs::create_dir_all(to.join("d/e")).unwrap();
    symlink(&outside, to.join("swap")).unwrap();
    for with_openat2 in [true, false] {
        let folder = Folder::create(&to, Existing::Overwrite).unwrap();
        folder.tree.use_openat2(with_openat2);
        let done = std::sync::atomic::AtomicBool::new(false);
        let swaps = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                while !done.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(CWD, to.join("d"), CWD, to.join("swap"), flags).unwrap();
                    swaps.fetch_add(1, Ordering::Relaxed);
                }
            });
            let (mut written, mut rounds) = (0, 0);
            let is_enough = |rounds, written| rounds >= 3000 && swaps.load(Ordering::Relaxed) > 1000 && written > 0;
            // On a busy machine one of the two may wait long for its turn.
            while !is_enough(rounds, written) && rounds < 1_000_000 {
                rounds += 1;
                // The handle found last would hide the race.
                folder.tree.forget();
                written += u64::from(write(&folder, "d/f", b"x").is_ok() && write(&folder, "d/e/f", b"x").is_ok());
                let _ = folder.directory(b"d/e/g", &directory_entry());
                let _ = folder.symlink(b"d/l", &link_entry("t"));
            }
            done.store(true, Ordering::Relaxed);
            assert!(is_enough(rounds, written), "{swaps:?} swaps, {written} files written in {rounds} rounds");
        });
        let _ = folder.finish().unwrap();
        assert_eq!(names(&outside), ["e"]);
        assert_eq!(names(&outside.join("e")), [""; 0]);
    }
}

#[test]
fn both_ways_to_resolve_a_path_agree() {
    let (base, _) = place();
    fs::create_dir_all(base.path().join("a/b/c")).unwrap();
    fs::write(base.path().join("a/f"), "").unwrap();
    symlink("b", base.path().join("a/l")).unwrap();
    let root = || rustix::fs::open(base.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for with_openat2 in [true, false] {
        let tree = Tree::new(root());
        tree.use_openat2(with_openat2);
        assert!(tree.spot(b"a/b/c/x").is_ok());
        for path in [&b"a/l/c/x"[..], b"a/l/x", b"a/f/x"] {
            assert!(tree.spot(path).unwrap_err().reason().contains("symbolic link or a file"));
        }
        assert_eq!(tree.spot(b"a/n/x").unwrap_err().kind(), error::Kind::Missing);
    }
}

/// Twice as many components as handles, and eight times the path that the kernel takes at once.
#[test]
fn trees_may_be_as_deep_and_their_paths_as_long_as_the_limits() {
    if !testing::with_few_handles(module_path!(), "trees_may_be_as_deep_and_their_paths_as_long_as_the_limits") {
        return;
    }
    let shapes = [(&b"d"[..], PATH_DEPTH_MAX - 1), (&[b'n'; 255], 127)];
    for (name, depth) in shapes {
        let (base, to) = place();
        let folder = Folder::create(&to, Existing::Refuse).unwrap();
        let mut path = name.to_vec();
        for level in 0..depth {
            folder.directory(&path, &Entry { mode: 0o750, ..directory_entry() }).unwrap();
            path.extend([b"/", name].concat());
            // Back and forth, so that handles are found anew.
            if level % 500 == 0 {
                write(&folder, format!("top-{level}"), b"1").unwrap();
            }
        }
        write(&folder, &path, b"deep").unwrap();
        let report = folder.finish().unwrap();
        assert_eq!((report.directories, report.warnings), (depth as u64, Vec::new()));

        let folder = Folder::create(&to, Existing::Overwrite).unwrap();
        write(&folder, &path, b"deeper").unwrap();
        folder.finish().unwrap();

        // And given up, it is removed.
        let other = base.path().join("other");
        let folder = Folder::create(&other, Existing::Refuse).unwrap();
        for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
            folder.directory(&path[..at], &directory_entry()).unwrap();
        }
        write(&folder, &path, b"deep").unwrap();
        drop(folder);
        assert_eq!(names(base.path()), ["to"]);
        testing::remove_deep(base);
    }
}

#[test]
fn parts_of_a_file_come_in_any_order_from_many_threads() {
    let (_base, to) = place();
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    let file = folder.file(b"f", &file_entry(1 << 20)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let file = &file;
            scope.spawn(move || {
                for part in (0..64).rev().filter(|part| part % 4 == u64::from(thread)) {
                    file.write_at(part << 14, &[thread; 1 << 14]).unwrap();
                }
            });
        }
    });
    file.finish().unwrap();
    folder.finish().unwrap();
    let content = fs::read(to.join("f")).unwrap();
    assert!(content.chunks(1 << 14).enumerate().all(|(part, bytes)| bytes.iter().all(|b| usize::from(*b) == part % 4)));
}

#[test]
fn nothing_is_written_beyond_the_size() {
    let (_base, to) = place();
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    let file = folder.file(b"f", &file_entry(10)).unwrap();
    for offset in [1, 10, u64::MAX, u64::MAX - 9] {
        assert_eq!(file.write_at(offset, &[0; 10]).unwrap_err().kind(), error::Kind::Damage);
    }
    // Sizes that no file system has.
    for size in [u64::MAX, 1 << 63] {
        let file = folder.file(b"huge", &Entry { size, ..file_entry(0) }).unwrap();
        assert!(file.finish().is_err());
    }
}

#[test]
fn a_time_that_is_none_is_refused() {
    let (_base, to) = place();
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    // The first two stand for "now" and "leave it" in the system's own calls.
    for nanos in [0x3fff_ffff, 0x3fff_fffe, 1_000_000_000, u32::MAX] {
        let entry = Entry { mtime: Time { seconds: 0, nanos }, ..file_entry(0) };
        assert_eq!(folder.file(b"f", &entry).unwrap_err().kind(), error::Kind::Damage);
    }
}

/// Whoever restores without being root gets the content, and is told what is missing.
#[test]
fn without_rights_owners_and_devices_are_told() {
    if !testing::as_nobody(module_path!(), "without_rights_owners_and_devices_are_told") {
        return;
    }
    let (_base, to) = place();
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    let theirs = |kind, mode| Entry { uid: 0, gid: 0, ..entry(kind, mode) };
    folder.directory(b"d", &theirs(Kind::Directory, 0o2755)).unwrap();
    folder.file(b"d/f", &theirs(Kind::File, 0o6755)).unwrap().finish().unwrap();
    let mine = entry(Kind::File, 0o4755);
    folder.file(b"mine", &mine).unwrap().finish().unwrap();
    folder.symlink(b"l", &Entry { target: b"t".to_vec(), ..theirs(Kind::Symlink, 0o777) }).unwrap();
    let protected = vec![(b"security.capability".to_vec(), vec![0; 20]), (b"trusted.x".to_vec(), b"1".to_vec())];
    folder.file(b"p", &Entry { xattrs: protected, ..mine.clone() }).unwrap().finish().unwrap();
    for kind in [Kind::CharDevice, Kind::BlockDevice] {
        let error = folder.special(b"d/device", &Entry { device: (1, 3), ..entry(kind, 0o600) }).unwrap_err();
        assert_eq!(error.what(), "cannot create d/device");
    }
    let nobody = Entry { uid: u32::MAX, gid: u32::MAX, ..mine };
    folder.file(b"nobody", &nobody).unwrap().finish().unwrap();
    let report = folder.finish().unwrap();
    assert_eq!((report.owners_skipped, report.attributes_skipped), (4, 2));
    assert_eq!(report.warnings.len(), 2, "{:?}", report.warnings);
    let modes = ["d", "d/f", "mine", "nobody"].map(|name| mode(&to.join(name)));
    assert_eq!(modes, [0o755, 0o755, 0o4755, 0o755]);
}

#[test]
fn attributes_that_cannot_be_set_are_told_by_name() {
    let (_base, to) = place();
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    for file in 0..WARNINGS_MAX + 5 {
        let xattrs = vec![(b"nonsense.\x1b".to_vec(), b"1".to_vec()), (b"user.good".to_vec(), b"2".to_vec())];
        let entry = Entry { xattrs, ..file_entry(0) };
        folder.file(format!("f{file}").as_bytes(), &entry).unwrap().finish().unwrap();
    }
    let report = folder.finish().unwrap();
    assert_eq!((report.warnings.len(), report.warnings_left_out), (WARNINGS_MAX, 5));
    assert!(report.warnings[0].starts_with("f0: its attribute nonsense.\\x1b cannot be set: "));
    let mut value = [0; 1];
    assert_eq!(rustix::fs::getxattr(to.join("f104"), "user.good", &mut value), Ok(1));
}

/// A default access list above would otherwise show in everything below.
#[test]
fn nothing_is_inherited() {
    let (base, to) = place();
    let list: Vec<u8> = [2u32.to_le_bytes().to_vec()]
        .into_iter()
        .chain(
            [(1u16, 0u16), (4, 7), (16, 7), (32, 7)]
                .map(|(tag, rights)| [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &u32::MAX.to_le_bytes()].concat()),
        )
        .flatten()
        .collect();
    let name = "system.posix_acl_default";
    rustix::fs::setxattr(base.path(), name, &list, XattrFlags::empty()).unwrap();
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    folder.directory(b"d", &directory_entry()).unwrap();
    write(&folder, "d/f", b"1").unwrap();
    folder.finish().unwrap();
    for path in ["", "d", "d/f"] {
        assert_eq!(rustix::fs::listxattr_query(to.join(path)), Ok(0), "{path}");
    }
    assert_eq!((mode(&to.join("d")), mode(&to.join("d/f"))), (0o755, 0o640));
}

#[test]
fn a_full_disk_is_told_as_such_and_leaves_nothing() {
    if !testing::with_own_mounts(module_path!(), "a_full_disk_is_told_as_such_and_leaves_nothing") {
        return;
    }
    let base = testing::open_tempdir();
    let _mount = testing::Mount::tmpfs(base.path(), "size=1m");
    let to = base.path().join("to");
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    write(&folder, "small", b"1").unwrap();
    assert_eq!(write(&folder, "large", &[1; 2 << 20]).unwrap_err().kind(), error::Kind::NoSpace);
    drop(folder);
    assert_eq!(names(base.path()), [""; 0]);
}

#[test]
fn what_is_mounted_below_an_existing_folder_is_brought_to_its_disk_too() {
    let test = "what_is_mounted_below_an_existing_folder_is_brought_to_its_disk_too";
    if !testing::with_own_mounts(module_path!(), test) {
        return;
    }
    let (_base, to) = place();
    let mounted = to.join("mounted");
    fs::create_dir_all(&mounted).unwrap();
    let _mount = testing::Mount::tmpfs(&mounted, "size=1m");
    let folder = Folder::create(&to, Existing::Overwrite).unwrap();
    for path in ["plain", "mounted", "mounted/d"] {
        folder.directory(path.as_bytes(), &directory_entry()).unwrap();
    }
    write(&folder, "mounted/d/f", b"1").unwrap();
    assert_eq!(lock(&folder.mounted).len(), 1);
    folder.finish().unwrap();
    assert_eq!(fs::read(mounted.join("d/f")).unwrap(), b"1");
}
