//! Repositories that were written once and must stay readable, by key file and by password.
//!
//! Each folder `tests/golden/repository*` has a `.key` beside it (a key file), a `.expected` (everything that is in
//! it), and a key slot for the password below. One that is never looked at is noticed.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder::clock::System;
use larder::entry::{Entry, Kind};
use larder::event::{Cancel, Job, Silent};
use larder::record::{Note, Snapshot, State};
use larder::repo::{Catalogue, ChunkReader, EntryReader, Folder, KeySource, Repository};
use larder::storage::local::LocalStorage;
use larder::text::escape;
use larder::tree::TreeWalk;

use super::{golden, renewing};

const PASSWORD: &[u8] = b"correct horse battery staple";

/// The names of all golden repositories.
fn repositories() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(golden(""))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.starts_with("repository"))
        .collect();
    names.sort();
    names
}

/// A copy, because a repository is not read only by nature.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => _ = fs::copy(entry.path(), to).unwrap(),
        }
    }
}

/// The key in a key file, read as docs/format.md says.
fn key_file(path: &Path) -> [u8; 32] {
    let text = fs::read_to_string(path).unwrap();
    let hex = text.strip_prefix("LARDER-KEY-1-").and_then(|rest| rest.strip_suffix('\n')).unwrap();
    assert_eq!(hex.len(), 64);
    std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}

fn open(name: &str, folder: &Path, key: KeySource<'_>) -> Repository {
    let place = folder.join(name);
    if !place.exists() {
        copy(&golden(name), &place);
    }
    Repository::open(Arc::new(LocalStorage::open(&place).unwrap()), Arc::new(System::default()), key).unwrap()
}

fn job<'a>(cancel: &'a Cancel) -> Job<'a> {
    Job { progress: &Silent, cancel }
}

/// Everything that a repository says, a line an entry.
fn listing(repository: &Repository) -> String {
    let cancel = Cancel::new();
    let catalogue = Catalogue::load(repository, job(&cancel)).unwrap();
    assert!(catalogue.unreadable().is_empty() && catalogue.orphans().is_empty() && catalogue.missing().is_empty());
    let reader = ChunkReader::new(repository, &catalogue);
    let mut out = format!("repository {}\n", repository.id());
    let found = repository.snapshots().unwrap();
    assert!(found.damaged.is_empty());
    for info in found.snapshots {
        let snapshot = repository.snapshot(&info.id).unwrap();
        assert_eq!(snapshot.summary, info.summary);
        describe(&snapshot, info.confirmed, &mut out);
        for source in &snapshot.body.sources {
            let _ = writeln!(out, "source {} {} {}", escape(&source.name), source.kind.name(), escape(&source.origin));
            let mut groups = HashMap::new();
            let (mut entries, mut bytes) = (0, 0);
            for found in TreeWalk::new(&reader, &source.root) {
                let found = found.unwrap();
                let entry = reader.entry(&found.record).unwrap();
                (entries, bytes) = (entries + 1, bytes + entry.size);
                line(&found.path, &entry, &content_hash(&reader, &entry), &mut groups, &mut out);
            }
            assert_eq!((entries, bytes), (source.root.entries, source.root.bytes));
        }
    }
    for id in repository.list(Folder::Notes).unwrap() {
        let note = repository.note(&id).unwrap();
        let _ = writeln!(out, "note {id} verified {} confirmed {}", note.verified.len(), note.confirmed.len());
    }
    out
}

fn describe(snapshot: &Snapshot, confirmed: bool, out: &mut String) {
    let summary = &snapshot.summary;
    let state = if summary.state == State::Whole { "whole" } else { "partial" };
    let confirmed = if confirmed { "confirmed" } else { "unconfirmed" };
    let tags: Vec<String> = summary.tags.iter().map(|tag| escape(tag)).collect();
    let _ = writeln!(
        out,
        "\nsnapshot {} {}.{:09} UTC{:+} {} {state} {confirmed} tags [{}] note [{}] by {}@{}",
        snapshot.id,
        summary.time.seconds,
        summary.time.nanos,
        summary.utc_offset,
        escape(&summary.zone),
        tags.join(" "),
        escape(&summary.note),
        escape(&summary.user),
        escape(&summary.client),
    );
    if let Some(previous) = snapshot.body.sources.first().and_then(|source| source.previous) {
        let _ = writeln!(out, "previous {previous}");
    }
}

/// BLAKE3 of a file's bytes, holes included.
fn content_hash(reader: &ChunkReader<'_>, entry: &Entry) -> String {
    if entry.kind != Kind::File {
        return "-".into();
    }
    let mut data = Vec::new();
    reader
        .for_each_chunk(&entry.content, &mut |chunk| {
            let bytes = reader.chunk(larder::crypto::ChunkKind::Data, &chunk.id)?;
            assert_eq!(bytes.len() as u64, chunk.len);
            data.extend_from_slice(&bytes);
            Ok(())
        })
        .unwrap();
    if let Some(extents) = &entry.extents {
        let mut whole = vec![0; entry.size as usize];
        let mut rest = data.as_slice();
        for extent in extents {
            let (now, later) = rest.split_at(extent.len as usize);
            whole[extent.offset as usize..][..now.len()].copy_from_slice(now);
            rest = later;
        }
        assert!(rest.is_empty());
        data = whole;
    }
    assert_eq!(data.len() as u64, entry.size);
    blake3::hash(&data).to_hex()[..32].to_owned()
}

fn line(path: &[u8], entry: &Entry, hash: &str, groups: &mut HashMap<[u8; 16], usize>, out: &mut String) {
    let kind = match entry.kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
        Kind::Fifo => "fifo",
        Kind::CharDevice => "char-device",
        Kind::BlockDevice => "block-device",
    };
    let owner = format!("{}({}):{}({})", entry.uid, escape(&entry.user), entry.gid, escape(&entry.group));
    let time = format!("{}.{:09}", entry.mtime.seconds, entry.mtime.nanos);
    let _ = write!(out, "{kind} {:04o} {owner} {} {time} {hash} [{}]", entry.mode, entry.size, escape(path));
    if entry.kind == Kind::Symlink {
        let _ = write!(out, " -> [{}]", escape(&entry.target));
    }
    if let Some(group) = entry.hard_link {
        let next = groups.len();
        let _ = write!(out, " group {}", groups.entry(group).or_insert(next));
    }
    if entry.device != (0, 0) {
        let _ = write!(out, " device {}:{}", entry.device.0, entry.device.1);
    }
    if let Some(extents) = &entry.extents {
        let runs: Vec<String> = extents.iter().map(|extent| format!("{}+{}", extent.offset, extent.len)).collect();
        match runs.len() {
            0..10 => _ = write!(out, " extents [{}]", runs.join(" ")),
            n => _ = write!(out, " extents {n} {}", &blake3::hash(runs.join(" ").as_bytes()).to_hex()[..32]),
        }
    }
    if entry.content.level > 0 {
        let _ = write!(out, " lists {}", entry.content.level);
    }
    for (name, value) in &entry.xattrs {
        match value.len() {
            0..100 => _ = write!(out, " {}=[{}]", escape(name), escape(value)),
            n => _ = write!(out, " {}={n} bytes {}", escape(name), &blake3::hash(value).to_hex()[..32]),
        }
    }
    out.push('\n');
}

/// The first line that differs, which says more than two whole listings.
fn assert_same(found: &str, expected: &str, what: &str) {
    for (n, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{what}, line {}", n + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "{what}");
}

#[test]
fn every_golden_repository_reads_as_it_was_written() {
    if renewing() {
        renew::repository("repository");
    }
    let folder = tempfile::tempdir().unwrap();
    let names = repositories();
    assert!(names.contains(&"repository".to_owned()));
    for name in names {
        let beside = |ending: &str| golden(&format!("{name}.{ending}"));
        let expected = fs::read_to_string(beside("expected"))
            .unwrap_or_else(|e| panic!("the golden repository {name} has no {name}.expected: {e}"));
        let key = key_file(&beside("key"));
        let by_file = open(&name, folder.path(), KeySource::KeyFile(&key));
        assert_same(&listing(&by_file), &expected, &format!("{name} by key file"));
        let by_password = open(&name, folder.path(), KeySource::Password(PASSWORD));
        assert_same(&listing(&by_password), &expected, &format!("{name} by password"));
        assert_eq!(by_password.keys().expose(), by_file.keys().expose());
    }
}

#[test]
fn the_wrong_password_or_key_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    copy(&golden("repository"), folder.path());
    let storage = Arc::new(LocalStorage::open(folder.path()).unwrap());
    for key in [KeySource::Password(b"correct horse battery stapl"), KeySource::KeyFile(&[7; 32])] {
        let error = Repository::open(storage.clone(), Arc::new(System::default()), key).unwrap_err();
        assert_eq!(error.kind(), larder::error::Kind::WrongKey);
    }
}

#[test]
fn what_a_restore_writes_is_what_was_listed() {
    use larder::ops::restore::{Part, Pick, Target, restore};
    use larder::target::files::Existing;

    let folder = tempfile::tempdir().unwrap();
    let key = key_file(&golden("repository.key"));
    let repository = open("repository", folder.path(), KeySource::KeyFile(&key));
    let cancel = Cancel::new();
    let catalogue = Catalogue::load(&repository, job(&cancel)).unwrap();
    let newest = repository.snapshots().unwrap().snapshots.pop().unwrap();
    let snapshot = repository.snapshot(&newest.id).unwrap();
    let part = Part { source: 0, into: Vec::new(), pick: Pick::Paths(vec![b"nested".to_vec(), b"hello.txt".to_vec()]) };
    let to = folder.path().join("restored");
    let target = Target { path: &to, existing: Existing::Refuse, repository: None };
    let report = restore(&repository, &catalogue, &snapshot, &[part], target, job(&cancel)).unwrap();
    assert!(report.lost.is_empty());
    assert_eq!(fs::read(to.join("hello.txt")).unwrap(), b"Hello again, world!\n");
    assert_eq!(fs::read(to.join("nested/folder/deep/file")).unwrap(), b"deep\n");
}

/// Making the golden repository. Only by hand, on a machine whose file system has all that the tree needs.
mod renew {
    use super::*;
    use crate::format::world::Streaming;
    use larder::clock::World;
    use larder::crypto::Audience;
    use larder::ops::backup::{Databases, Request, Source, backup};
    use larder::repo::Session;
    use larder::source::files::Options;
    use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};

    pub fn repository(name: &str) {
        let place = golden(name);
        let _ = fs::remove_dir_all(&place);
        let world: Arc<dyn World> = Arc::new(Streaming::new(name));
        let mut key = [0; 32];
        world.random(&mut key).unwrap();
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(golden(&format!("{name}.key")), format!("LARDER-KEY-1-{hex}\n")).unwrap();

        let storage = Arc::new(LocalStorage::create(&place).unwrap());
        let repository = Repository::create(storage, world, KeySource::KeyFile(&key), "golden key file").unwrap();
        repository.add_key(KeySource::Password(PASSWORD), "golden password").unwrap();

        let tree = std::env::temp_dir().join("larder-golden");
        let _ = fs::remove_dir_all(&tree);
        let home = tree.join("home");
        first_tree(&home, &repository);
        take(&repository, &home, "first", "the first one");
        second_tree(&home, &repository);
        let snapshot = take(&repository, &home, "second", "");
        note(&repository, snapshot);
        fs::remove_dir_all(&tree).unwrap();
        fs::write(golden(&format!("{name}.expected")), listing(&repository)).unwrap();
    }

    fn take(repository: &Repository, home: &Path, tag: &str, note: &str) -> larder::id::ObjectId {
        let request = Request {
            sources: vec![Source::files("home", home), Source::files("hello", &home.join("hello.txt"))],
            files: Options::default(),
            databases: Databases::default(),
            client: "golden".into(),
            user: "somebody".into(),
            zone: (3600, "Europe/Berlin".into()),
            adopt: false,
            tags: vec!["golden".into(), tag.into()],
            note: note.into(),
            trust_mtime: false,
            keep_cache: false,
        };
        let report = backup(repository, &request, job(&Cancel::new())).unwrap();
        assert_eq!(report.reasons, []);
        report.snapshot
    }

    /// What a check would leave behind.
    fn note(repository: &Repository, snapshot: larder::id::ObjectId) {
        let session = Session::begin(repository, &Default::default()).unwrap();
        let verified = repository.list(Folder::Packs).unwrap();
        let time = repository.world().now();
        let note = Note { time, verified, confirmed: vec![snapshot], ..Note::default() };
        session.put(Folder::Notes, &[(Audience::Summary, &note.encode())]).unwrap();
        session.end(vec![]).unwrap();
    }

    fn file(home: &Path, path: &[u8], content: &[u8]) -> PathBuf {
        let path = home.join(OsStr::from_bytes(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Data at these offsets, and holes between and behind them.
    fn sparse(path: &Path, size: u64, data: impl Iterator<Item = u64>) {
        let file = fs::File::create(path).unwrap();
        file.set_len(size).unwrap();
        for offset in data {
            file.write_all_at(&[(offset >> 16) as u8; 4096], offset).unwrap();
        }
        file.sync_all().unwrap();
    }

    fn first_tree(home: &Path, repository: &Repository) {
        fs::create_dir_all(home).unwrap();
        file(home, b"empty", b"");
        file(home, b"hello.txt", b"Hello, world!\n");
        file(home, b"nested/folder/deep/file", b"deep\n");
        file(home, b"nested!/beside", b"sorted behind all that is in nested\n");
        fs::create_dir(home.join("empty folder")).unwrap();
        file(home, b"names/caf\xe9", b"Latin-1\n");
        file(home, "names/café".as_bytes(), b"UTF-8\n");
        file(home, b"names/line\nfeed and \\", b"");
        file(home, b"names/...", b"");
        big(&home.join("big"), repository, b"");
        symlink("../hello.txt", home.join("nested/link")).unwrap();
        symlink(OsStr::from_bytes(b"nowhere/\xff"), home.join("dangling")).unwrap();
        let first = file(home, b"links/a", b"one file, three names\n");
        fs::hard_link(&first, home.join("links/b")).unwrap();
        fs::hard_link(&first, home.join("nested/c")).unwrap();
        let other = file(home, b"links/x", b"");
        fs::hard_link(&other, home.join("links/y")).unwrap();
        sparse(&home.join("sparse"), 3 << 20, [1 << 20].into_iter());
        sparse(&home.join("hole"), 1 << 20, std::iter::empty());
        sparse(&home.join("many holes"), 20 << 20, (0..320).map(|n| n << 16));
        let attributes = file(home, b"attributes", b"with some\n");
        let big: Vec<u8> = (0..1500u32).map(|n| (n % 251) as u8).collect();
        for (name, value) in [("user.small", &b"value"[..]), ("user.empty", b""), ("user.raw", b"\0\xff")] {
            rustix::fs::setxattr(&attributes, name, value, XattrFlags::empty()).unwrap();
        }
        let more = file(home, b"more attributes", b"with more\n");
        rustix::fs::setxattr(&more, "user.big", &big, XattrFlags::empty()).unwrap();
        rustix::fs::setxattr(home.join("nested"), "user.of a folder", b"yes", XattrFlags::empty()).unwrap();
        let special = |name: &str, kind, device| {
            rustix::fs::mknodat(CWD, home.join(name), kind, Mode::RUSR | Mode::WUSR, device).unwrap();
        };
        special("fifo", FileType::Fifo, 0);
        special("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
        special("disk", FileType::BlockDevice, rustix::fs::makedev(8, 300));
        let program = file(home, b"program", b"#!/bin/sh\n");
        chown(&program, Some(4242), Some(4343)).unwrap();
        mode(&program, 0o6755);
        mode(&home.join("empty folder"), 0o1777);
        mode(&home.join("empty"), 0o000);
        mode(home, 0o750);
        times(home);
        time(&home.join("empty"), -1, 1);
        time(&home.join("hello.txt"), 4_102_444_800, 999_999_999);
    }

    fn second_tree(home: &Path, repository: &Repository) {
        file(home, b"hello.txt", b"Hello again, world!\n");
        file(home, b"nested/folder/new", b"new\n");
        fs::remove_file(home.join("names/...")).unwrap();
        fs::remove_dir(home.join("empty folder")).unwrap();
        file(home, b"empty folder", b"is a file now\n");
        big(&home.join("big"), repository, b"something inserted");
        mode(&home.join("fifo"), 0o640);
        times(home);
    }

    /// A file of many chunks that compresses to next to nothing: zeros, then bytes behind which the chunker cuts. They
    /// are found by trying; what it looks at are the 64 bytes before.
    fn big(path: &Path, repository: &Repository, inserted: &[u8]) {
        let min = repository.config().chunker.min;
        let mut piece = vec![0; min + 256];
        let end = (0..10_000_000u64).find(|n| {
            piece[min..].fill(b'.');
            piece[min + 64..][..8].copy_from_slice(&n.to_le_bytes());
            let len = repository.cutter().cut(&piece);
            (min + 74..min + 140).contains(&len)
        });
        assert!(end.is_some());
        let mut content = Vec::new();
        for n in 0..48u32 {
            if n == 20 {
                content.extend_from_slice(inserted);
            }
            content.extend_from_slice(&n.to_le_bytes());
            content.extend_from_slice(&piece);
        }
        fs::write(path, content).unwrap();
    }

    fn time(path: &Path, seconds: i64, nanos: i64) {
        let now = Timespec { tv_sec: seconds, tv_nsec: nanos };
        let times = Timestamps { last_access: now, last_modification: now };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }

    /// Everything gets a time of its own, the same at each renewal.
    fn times(path: &Path) {
        if path.symlink_metadata().unwrap().is_dir() {
            let mut below: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            below.sort();
            below.iter().for_each(|path| times(path));
        }
        let name = path.file_name().unwrap().as_bytes();
        let number = i64::from(u16::from_le_bytes(blake3::hash(name).as_bytes()[..2].try_into().unwrap()));
        time(path, 1_700_000_000 + number, number * 10_000);
    }
}
