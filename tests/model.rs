//! Random trees, random edits, a snapshot after each round; the oracle is what the tree looked like.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder::id::ObjectId;
use larder::repo::{Folder, Repository};
use larder::storage::Storage;
use larder::storage::memory::MemoryStorage;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use crate::support::plant::{self, Item, make};
use crate::support::tree::{Tree, look};
use crate::support::{self, engine, scratch};

/// What a round does to the tree. Indexes choose among what is there.
#[derive(Clone, Debug)]
enum Edit {
    New {
        parent: Index,
        name: Vec<u8>,
        what: What,
    },
    Link {
        of: Index,
        parent: Index,
        name: Vec<u8>,
    },
    Overwrite {
        file: Index,
        at: Index,
        len: usize,
        seed: u64,
    },
    Append {
        file: Index,
        len: usize,
        seed: u64,
    },
    Cut {
        file: Index,
        to: Index,
    },
    Rename {
        entry: Index,
        parent: Index,
        name: Vec<u8>,
    },
    Delete {
        entry: Index,
    },
    Replace {
        entry: Index,
        what: What,
    },
    Touch {
        entry: Index,
        seconds: i64,
        nanos: u32,
    },
    Mode {
        entry: Index,
        mode: u32,
    },
    Owner {
        entry: Index,
        uid: u32,
        gid: u32,
    },
    Attribute {
        entry: Index,
        name: &'static str,
        len: usize,
        seed: u64,
    },
    AccessList {
        entry: Index,
        user: u32,
        rights: u16,
    },
    NoAttributes {
        entry: Index,
    },
    /// Other content, same size and time: only the change time tells.
    Forge {
        file: Index,
        seed: u64,
    },
}

#[derive(Clone, Debug)]
enum What {
    Folder,
    File {
        len: usize,
        seed: u64,
        noise: bool,
    },
    /// Holes and data in turn, in units of 64 KiB, and whether a hole ends it.
    Sparse {
        runs: Vec<(u64, u64)>,
        tail: u64,
        seed: u64,
    },
    Symlink(Vec<u8>),
    Fifo,
    Device {
        block: bool,
        major: u32,
        minor: u32,
    },
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let any_byte = any::<u8>().prop_map(|b| if matches!(b, 0 | b'/') { b'_' } else { b });
    prop_oneof![
        6 => "[a-e]{1,2}".prop_map(String::into_bytes),
        3 => prop::collection::vec(any_byte.clone(), 1..12),
        1 => prop::collection::vec(any_byte, 255),
    ]
    .prop_filter("stands for another place", |name| !matches!(&name[..], b"." | b".."))
}

/// Lengths around everything that has a limit.
fn length() -> impl Strategy<Value = usize> {
    const KI: usize = 1 << 10;
    const MI: usize = 1 << 20;
    let around = |len: usize| (len - 1)..(len + 2);
    prop_oneof![
        8 => Just(0usize),
        8 => Just(1usize),
        30 => 2usize..5000,
        8 => around(64 * KI),
        8 => around(128 * KI),
        6 => around(256 * KI),
        4 => around(MI),
        3 => around(2 * MI),
        1 => around(4 * MI),
        1 => Just(4 * MI + 1),
        1 => (9 * MI)..(9 * MI + 9),
    ]
}

fn what() -> impl Strategy<Value = What> {
    let runs = prop::collection::vec((0u64..6, 1u64..4), 0..4);
    prop_oneof![
        4 => Just(What::Folder),
        10 => (length(), any::<u64>(), any::<bool>()).prop_map(|(len, seed, noise)| What::File { len, seed, noise }),
        2 => (runs, 0u64..100, any::<u64>()).prop_map(|(runs, tail, seed)| What::Sparse { runs, tail, seed }),
        2 => name().prop_map(What::Symlink),
        1 => Just(What::Fifo),
        1 => (any::<bool>(), 1u32..300, 0u32..1000).prop_map(|(block, major, minor)| What::Device { block, major, minor }),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<Index>;
    let small = 1usize..3000;
    let attribute = prop::sample::select(vec!["user.a", "user.b", "trusted.c", "security.larder"]);
    let len = prop_oneof![3 => 0usize..40, 1 => 1000usize..1100, 1 => Just(3000usize)];
    prop_oneof![
        8 => (index(), name(), what()).prop_map(|(parent, name, what)| Edit::New { parent, name, what }),
        2 => (index(), index(), name()).prop_map(|(of, parent, name)| Edit::Link { of, parent, name }),
        3 => (index(), index(), small.clone(), any::<u64>())
            .prop_map(|(file, at, len, seed)| Edit::Overwrite { file, at, len, seed }),
        2 => (index(), small, any::<u64>()).prop_map(|(file, len, seed)| Edit::Append { file, len, seed }),
        1 => (index(), index()).prop_map(|(file, to)| Edit::Cut { file, to }),
        3 => (index(), index(), name()).prop_map(|(entry, parent, name)| Edit::Rename { entry, parent, name }),
        2 => index().prop_map(|entry| Edit::Delete { entry }),
        2 => (index(), what()).prop_map(|(entry, what)| Edit::Replace { entry, what }),
        2 => (index(), -2_000_000_000i64..15_000_000_000, 0u32..1_000_000_000)
            .prop_map(|(entry, seconds, nanos)| Edit::Touch { entry, seconds, nanos }),
        2 => (index(), 0u32..0o10000).prop_map(|(entry, mode)| Edit::Mode { entry, mode }),
        1 => (index(), 0u32..3_000_000, 0u32..3_000_000).prop_map(|(entry, uid, gid)| Edit::Owner { entry, uid, gid }),
        2 => (index(), attribute, len, any::<u64>())
            .prop_map(|(entry, name, len, seed)| Edit::Attribute { entry, name, len, seed }),
        1 => (index(), 0u32..3_000_000, 0u16..8)
            .prop_map(|(entry, user, rights)| Edit::AccessList { entry, user, rights }),
        1 => index().prop_map(|entry| Edit::NoAttributes { entry }),
        2 => (index(), any::<u64>()).prop_map(|(file, seed)| Edit::Forge { file, seed }),
    ]
}

impl What {
    fn make(&self, root: &Path, place: &Path) {
        let item = match self {
            What::Folder => Item::Folder,
            What::File { len, seed, noise: true } => Item::File(plant::noise(*seed, *len)),
            What::File { len, seed, noise: false } => Item::File(plant::words(*seed, *len)),
            What::Sparse { runs, tail, seed } => {
                let mut at = 0;
                let mut parts = Vec::new();
                for (hole, data) in runs {
                    at += hole << 16;
                    parts.push((at, plant::words(*seed, (*data as usize) << 16)));
                    at += data << 16;
                }
                Item::Sparse(at + (tail << 16) + tail, parts)
            }
            What::Symlink(target) => Item::Symlink(target),
            What::Fifo => Item::Fifo,
            What::Device { block: true, major, minor } => Item::BlockDevice(*major, *minor),
            What::Device { block: false, major, minor } => Item::CharDevice(*major, *minor),
        };
        make(root, place, &item);
    }
}

/// A tree that is edited.
struct Playground {
    root: PathBuf,
}

impl Playground {
    /// What is there, without the root.
    fn entries(&self, wanted: impl Fn(&fs::Metadata) -> bool) -> Vec<PathBuf> {
        let all = walkdir::WalkDir::new(&self.root).min_depth(1).sort_by_file_name();
        let all = all.into_iter().map(|entry| entry.unwrap().into_path());
        all.filter(|path| wanted(&fs::symlink_metadata(path).unwrap())).collect()
    }

    fn any(&self, index: &Index) -> Option<PathBuf> {
        let all = self.entries(|_| true);
        (!all.is_empty()).then(|| index.get(&all).clone())
    }

    fn file(&self, index: &Index) -> Option<PathBuf> {
        let all = self.entries(fs::Metadata::is_file);
        (!all.is_empty()).then(|| index.get(&all).clone())
    }

    /// A free place in some folder.
    fn free(&self, parent: &Index, name: &[u8]) -> Option<PathBuf> {
        let mut all = self.entries(fs::Metadata::is_dir);
        all.push(self.root.clone());
        let place = parent.get(&all).join(OsStr::from_bytes(name));
        (fs::symlink_metadata(&place).is_err() && place.as_os_str().len() < 3000).then_some(place)
    }

    /// Does what it says, if there is anything to do it to.
    fn apply(&self, edit: &Edit) -> Option<()> {
        match edit {
            Edit::New { parent, name, what } => what.make(&self.root, &self.free(parent, name)?),
            Edit::Link { of, parent, name } => fs::hard_link(self.file(of)?, self.free(parent, name)?).unwrap(),
            Edit::Overwrite { file, at, len, seed } => {
                let path = self.file(file)?;
                let size = fs::metadata(&path).unwrap().len() as usize;
                let file = File::options().write(true).open(path).unwrap();
                file.write_all_at(&plant::noise(*seed, *len), at.index(size + 1) as u64).unwrap();
            }
            Edit::Append { file, len, seed } => {
                let mut file = File::options().append(true).open(self.file(file)?).unwrap();
                file.write_all(&plant::words(*seed, *len)).unwrap();
            }
            Edit::Cut { file, to } => {
                let file = File::options().write(true).open(self.file(file)?).unwrap();
                file.set_len(to.index(file.metadata().unwrap().len() as usize + 1) as u64).unwrap();
            }
            Edit::Rename { entry, parent, name } => {
                let (from, to) = (self.any(entry)?, self.free(parent, name)?);
                if to.starts_with(&from) {
                    return None;
                }
                fs::rename(from, to).unwrap();
            }
            Edit::Delete { entry } => self.remove(&self.any(entry)?),
            Edit::Replace { entry, what } => {
                let place = self.any(entry)?;
                self.remove(&place);
                what.make(&self.root, &place);
            }
            Edit::Touch { entry, seconds, nanos } => plant::set_mtime(&self.any(entry)?, *seconds, *nanos),
            Edit::Mode { entry, mode } => {
                let path = self.any(entry).filter(|path| !path.is_symlink())?;
                plant::set_mode(&path, *mode);
            }
            Edit::Owner { entry, uid, gid } => plant::set_owner(&self.any(entry)?, *uid, *gid),
            Edit::Attribute { entry, name, len, seed } => {
                let path = self.any(entry)?;
                let meta = fs::symlink_metadata(&path).unwrap();
                // The system refuses `user.*` elsewhere, and has only so much room.
                if name.starts_with("user.") && !meta.is_file() && !meta.is_dir() {
                    return None;
                }
                plant::set_xattr(&path, name, &plant::noise(*seed, *len));
            }
            Edit::AccessList { entry, user, rights } => {
                let path = self.any(entry).filter(|path| !path.is_symlink())?;
                plant::set_xattr(&path, "system.posix_acl_access", &plant::access_list(*user, *rights));
            }
            Edit::NoAttributes { entry } => {
                let path = self.any(entry)?;
                for name in ["user.a", "user.b", "trusted.c", "security.larder"] {
                    let _ = rustix::fs::lremovexattr(&path, name);
                }
            }
            Edit::Forge { file, seed } => {
                let path = self.file(file)?;
                let meta = fs::metadata(&path).unwrap();
                if meta.len() == 0 {
                    return None;
                }
                let open = File::options().write(true).open(&path).unwrap();
                open.write_all_at(&plant::noise(*seed, 1), seed % meta.len()).unwrap();
                plant::set_mtime(&path, meta.mtime(), meta.mtime_nsec() as u32);
            }
        }
        Some(())
    }

    fn remove(&self, path: &Path) {
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
}

/// A repository in memory, used by two: one that keeps a stat cache, and one that never does.
struct Kept {
    store: MemoryStorage,
    cached: Repository,
    plain: Repository,
}

impl Kept {
    fn new(cache: &Path) -> Self {
        let store = MemoryStorage::new();
        let cached = engine::create(Arc::new(store.clone())).unwrap().with_cache(cache);
        let plain = engine::open(Arc::new(store.clone())).unwrap();
        Self { store, cached, plain }
    }

    fn packs(&self) -> usize {
        engine::count(&self.store, Folder::Packs)
    }

    fn forget_index(&self) {
        for key in engine::keys(&self.store, Folder::Index) {
            self.store.delete(&key).unwrap();
        }
    }
}

fn root_of(repository: &Repository, snapshot: &ObjectId) -> larder::tree::Root {
    repository.snapshot(snapshot).unwrap().body.sources[0].root
}

fn play(rounds: &[Vec<Edit>]) {
    let base = scratch();
    let playground = Playground { root: base.path().join("tree") };
    fs::create_dir(&playground.root).unwrap();
    let kept = Kept::new(&base.path().join("cache"));
    let mut taken: Vec<(ObjectId, Tree)> = Vec::new();
    for (n, edits) in rounds.iter().enumerate() {
        for edit in edits {
            playground.apply(edit);
        }
        let seen = look(&playground.root);
        let first = engine::backup(&kept.cached, &playground.root).unwrap();
        assert_eq!(first.reasons, [], "round {n}");
        let packs = kept.packs();

        let again = engine::backup(&kept.cached, &playground.root).unwrap();
        assert_eq!(again.summary.statistics.bytes_read, 0, "round {n}: the cache knows everything");
        assert_eq!(again.summary.statistics.files_unchanged, seen.len() as u64, "round {n}");
        let plain = engine::backup(&kept.plain, &playground.root).unwrap();
        kept.forget_index();
        let without_index = engine::backup(&kept.plain, &playground.root).unwrap();
        assert_eq!(kept.packs(), packs, "round {n}: an unchanged tree adds no pack");
        let root = root_of(&kept.plain, &first.snapshot);
        for other in [&again, &plain, &without_index] {
            assert_eq!(root_of(&kept.plain, &other.snapshot), root, "round {n}: every way gives the same tree");
        }
        taken.push((first.snapshot, seen));
    }
    for (n, (snapshot, seen)) in taken.iter().enumerate() {
        if n == 1 {
            kept.forget_index();
        }
        engine::assert_restores(&kept.plain, snapshot, seen, &format!("round {n}"));
    }
}

#[test]
fn whatever_is_done_to_a_tree_every_snapshot_gives_back_what_it_was_made_of() {
    support::needs_root("owners, devices and trusted attributes");
    let cases = support::number("LARDER_CASES", 64) as u32;
    let config = Config { cases, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
    let first = prop::collection::vec(edit(), 5..40);
    let later = prop::collection::vec(prop::collection::vec(edit(), 0..12), 1..4);
    let rounds = (first, later).prop_map(|(first, mut later)| {
        later.insert(0, first);
        later
    });
    let mut runner = TestRunner::new(config);
    if let Err(error) = runner.run(&rounds, |rounds| {
        play(&rounds);
        Ok(())
    }) {
        panic!("{error}");
    }
    println!("figure: random histories, each snapshot against a plain copy = {cases}, 0 different");
}

/// A change somewhere among many small files.
fn nudge(root: &Path, chance: &mut support::Chance) {
    let files = support::files_below(root);
    let path = &files[chance.below(files.len() as u64) as usize];
    let beside = |added: &str| PathBuf::from(format!("{}{added}", path.display()));
    // A name may be taken already; then nothing changes.
    let _ = match chance.below(7) {
        0 => fs::remove_file(path),
        1 => fs::write(beside("!"), chance.number().to_le_bytes()),
        2 => fs::write(path, chance.number().to_le_bytes()),
        3 => fs::hard_link(path, beside(".link")),
        4 => fs::remove_dir_all(path.parent().unwrap()),
        5 => fs::rename(path, beside("0")),
        _ => fs::remove_file(path)
            .and_then(|()| fs::create_dir(path))
            .and_then(|()| (0..300).try_for_each(|n| fs::write(path.join(n.to_string()), n.to_string()))),
    };
}

/// Leaves in which nothing has changed are taken whole, and what comes of that is the tree that a look at everything
/// makes.
#[test]
fn leaves_that_are_taken_whole_make_the_tree_that_a_fresh_look_makes() {
    let base = scratch();
    let root = base.path().join("tree");
    for n in 0..3000 {
        let folder = root.join(format!("d{:02}", n / 100));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("file{n:04}")), format!("content {n}")).unwrap();
    }
    let kept = Kept::new(&base.path().join("cache"));
    let mut chance = support::Chance(7);
    for round in 0..support::number("LARDER_CASES", 64) / 4 {
        let cached = engine::backup(&kept.cached, &root).unwrap();
        let plain = engine::backup(&kept.plain, &root).unwrap();
        assert_eq!(cached.reasons, [], "round {round}");
        let trees = [&cached, &plain].map(|report| root_of(&kept.plain, &report.snapshot));
        assert_eq!(trees[0], trees[1], "round {round}");
        let counts =
            |s: larder::record::Statistics| (s.files_new + s.files_changed + s.files_unchanged, s.files_failed);
        assert_eq!(counts(cached.summary.statistics), counts(plain.summary.statistics), "round {round}");
        (0..chance.below(4)).for_each(|_| nudge(&root, &mut chance));
    }
    let last = engine::backup(&kept.cached, &root).unwrap();
    engine::assert_restores(&kept.plain, &last.snapshot, &look(&root), "the last round");
}
