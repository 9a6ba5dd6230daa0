//! Prunes that fail, die, or meet backups at every step.
//!
//! What must hold: every snapshot that was acknowledged and not forgotten restores exactly, and the next prune ends well.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;
use larder::error::{Kind, Result};
use larder::id::ObjectId;
use larder::ops::backup;
use larder::ops::check;
use larder::ops::forget::{self, What};
use larder::ops::prune::plan::Limits;
use larder::ops::prune::{self, Options, Report};
use larder::pack::{HEAD_BYTES, spoil_parity};
use larder::repo::Folder;
use larder::storage::memory::MemoryStorage;
use larder::storage::wrap::fault::{Fault, FaultStorage};
use larder::storage::{Capabilities, ErrorKind, Hold, Key, Listed, Storage, Upload};
use rusqlite::Connection;
use rustix::fs::inotify;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::program::{self, Machine};
use crate::support::tree::{Tree, assert_same, look};
use crate::support::{self, Chance, engine, plant, scratch};

const AT_ONCE: Options =
    Options { limits: Limits { unused_max: 0.0, repack_bytes_max: None }, grace: None, no_wait: true };
const WITH_TRASH: Options = Options { grace: Some(Duration::from_secs(3600)), ..AT_ONCE };

fn forget(storage: Arc<dyn Storage>, ids: &[ObjectId]) {
    let repository = engine::open(storage).unwrap();
    let listing = repository.snapshots_anew().unwrap();
    let named: BTreeSet<ObjectId> = ids.iter().copied().collect();
    let plan = forget::plan(&repository, &listing, What::Named(&named), &TimeZone::UTC).unwrap();
    forget::apply(&repository, &plan, engine::job()).unwrap();
}

fn run(storage: Arc<dyn Storage>, options: &Options) -> Result<Report> {
    let repository = engine::open(storage)?;
    let plan = prune::plan(&repository, options, engine::job())?;
    prune::apply(&repository, plan, options, engine::job())
}

/// Three nights of a source, of which the first was forgotten; its first state stands in a place of its own.
struct Scene {
    _base: TempDir,
    first: PathBuf,
    store: MemoryStorage,
    kept: Vec<(ObjectId, Tree)>,
    forgotten: (ObjectId, Tree),
}

/// A file of which a piece changes every night, so that it is stored as deltas, beside a few others.
fn night(source: &Path, n: u8) {
    let mut page = plant::noise(1, 300_000);
    (0..=usize::from(n)).for_each(|n| page[n * 80_000..n * 80_000 + 500].fill(n as u8));
    let own = plant::noise(10 + u64::from(n), 60_000);
    let items = [(&b"page"[..], &page), (b"own", &own), (b"shared", &plant::noise(2, 50_000))];
    items.iter().for_each(|(name, bytes)| plant::plant(source, &[(name, plant::Item::File(bytes.to_vec()))]));
}

impl Scene {
    fn new() -> Self {
        let base = scratch();
        let (source, first) = (base.path().join("source"), base.path().join("first"));
        let store = MemoryStorage::new();
        let repository = engine::create(Arc::new(store.clone())).unwrap();
        let mut all = Vec::new();
        for n in 0..3 {
            if source.exists() {
                fs::remove_dir_all(&source).unwrap();
            }
            night(&source, n);
            all.push((engine::backup(&repository, &source).unwrap().snapshot, look(&source)));
        }
        night(&first, 0);
        forget(Arc::new(store.clone()), &[all[0].0]);
        let kept = all.split_off(1);
        Self { _base: base, first, store, kept, forgotten: all.remove(0) }
    }

    fn copy(&self) -> MemoryStorage {
        self.store.crash(u64::MAX)
    }

    /// A backup of the first state, of which nothing but what nobody needs any more is there.
    fn backup(&self, storage: Arc<dyn Storage>) -> Result<backup::Report> {
        let request = backup::Request { adopt: true, ..engine::request(&self.first) };
        backup::backup(&engine::open(storage)?, &request, engine::job())
    }

    fn check(&self, storage: Arc<dyn Storage>, about: &str) {
        let repository = engine::open(storage).unwrap_or_else(|e| panic!("{about}: {e:?}"));
        let listing = repository.snapshots_anew().unwrap();
        assert!(listing.damaged.is_empty() && listing.gone.is_empty(), "{about}: {listing:?}");
        for (id, tree) in &self.kept {
            assert!(listing.snapshots.iter().any(|info| info.id == *id && info.confirmed), "{about}: {}", id.short());
            engine::assert_restores(&repository, id, tree, about);
        }
        let report = engine::check_all(&repository);
        assert_eq!(report.found, [], "{about}");
    }
}

const LAZY: Options = Options { limits: Limits { unused_max: 1.0, repack_bytes_max: None }, ..WITH_TRASH };

/// Where a pack's table lies.
pub fn table(pack: &[u8]) -> std::ops::Range<usize> {
    let number = |at: usize| u32::from_le_bytes(pack[at..at + 4].try_into().unwrap()) as usize;
    let trailer = pack.len() - 16;
    number(trailer)..number(trailer) + number(trailer + 4)
}

fn replace(store: &MemoryStorage, key: &Key, bytes: &[u8]) {
    store.delete(key).unwrap();
    store.put(key, bytes).unwrap();
}

/// The paths that a restore of each snapshot that stays loses.
fn lost(scene: &Scene, store: &MemoryStorage) -> BTreeSet<(ObjectId, Vec<u8>)> {
    let repository = engine::open(Arc::new(store.clone())).unwrap();
    let lost = scene.kept.iter().flat_map(|(id, _)| {
        let report = engine::restore(&repository, id, &scratch().path().join("to")).unwrap();
        report.lost.into_iter().map(|lost| (*id, lost.path))
    });
    lost.collect()
}

/// Every check named it for ever, though nothing was lost. What only forgotten snapshots need goes to the trash in a pack
/// with a table, or nobody would find it there.
#[test]
fn a_pack_whose_chunks_are_all_good_is_written_anew() {
    let scene = Scene::new();
    let mut padded = 0;
    for key in engine::keys(&scene.store, Folder::Packs) {
        let bytes = scene.store.get(&key, u64::MAX).unwrap();
        let (table, end) = (table(&bytes), bytes.len());
        let mut spoilt = bytes.clone();
        spoil_parity(&mut spoilt);
        let flipped = |at: usize| [&spoilt[..at], &[spoilt[at] ^ 1], &spoilt[at + 1..]].concat();
        let mut forms = vec![flipped(end - 1), flipped(end - 16), flipped(table.start), spoilt[..end - 1].to_vec()];
        forms.push([&spoilt[..], b"x"].concat());
        if table.end < end - 16 {
            forms.push(flipped(table.end));
            padded += 1;
        }
        for (n, form) in forms.iter().enumerate() {
            let about = format!("{key}, form {n}");
            let store = scene.copy();
            replace(&store, &key, form);
            let repository = engine::open(Arc::new(store.clone())).unwrap();
            for found in [engine::check_all(&repository), engine::check(&repository)].map(|report| report.found) {
                let pack = format!("pack {}", &key.as_str()[key.as_str().len() - 64..][..8]);
                assert!(found.len() == 1 && found[0].object == pack, "{about}: {found:?}");
                assert!(found[0].fix.contains("`larder prune` writes it anew"), "{about}: {found:?}");
            }
            run(Arc::new(store.clone()), &LAZY).unwrap();
            assert!(!engine::keys(&store, Folder::Packs).contains(&key), "{about}");
            assert_eq!(engine::count(&store, Folder::Damage), 0, "{about}");
            scene.check(Arc::new(store.clone()), &about);
            let trashed = repository.trashed_snapshots().unwrap().snapshots.remove(0);
            forget::undelete::undelete(&repository, &trashed, engine::job()).unwrap();
            engine::assert_restores(&repository, &scene.forgotten.0, &scene.forgotten.1, &about);
            scene.check(Arc::new(store), &about);
        }
    }
    assert!(padded > 0);
}

/// As on file systems of the network.
#[test]
fn a_pack_that_cannot_be_mended_where_it_lies_is_written_anew() {
    let scene = Scene::new();
    for key in engine::keys(&scene.store, Folder::Packs) {
        let mut bad = scene.store.get(&key, u64::MAX).unwrap();
        bad[HEAD_BYTES + 5] ^= 1;
        let store = scene.copy();
        replace(&store, &key, &bad);
        let unmendable = || Arc::new(FaultStorage::new(Arc::new(store.clone()), 1, Fault::Unmendable));
        let found = engine::check_all(&engine::open(unmendable()).unwrap()).found;
        assert!(found.len() == 1 && found[0].snapshots.is_empty(), "{key}: {found:?}");
        assert!(found[0].fix.contains("`larder prune` writes it anew"), "{key}: {found:?}");
        run(unmendable(), &LAZY).unwrap();
        assert!(!engine::keys(&store, Folder::Packs).contains(&key), "{key}");
        assert_eq!(engine::count(&store, Folder::Damage), 0, "{key}");
        scene.check(Arc::new(store), &key.to_string());
    }
}

/// What is lost is all that is lost, whatever is pruned; and once it is stored again, the damaged pack goes.
#[test]
fn of_a_damaged_pack_nothing_is_lost_that_can_be_read() {
    let scene = Scene::new();
    let mut healed = 0;
    for key in engine::keys(&scene.store, Folder::Packs) {
        let bytes = scene.store.get(&key, u64::MAX).unwrap();
        // The end of the last frame, the beginning of the first one, the head.
        let places =
            [(table(&bytes).start - 1, true), (table(&bytes).start - 1, false), (HEAD_BYTES, true), (90, false)];
        for (at, with_table) in places {
            let about = format!("byte {at} of {key}, its table {with_table}");
            let mut bad = bytes.clone();
            spoil_parity(&mut bad);
            bad[at] ^= 1;
            bad[table(&bytes).start] ^= u8::from(with_table);
            let store = scene.copy();
            replace(&store, &key, &bad);
            let before = lost(&scene, &store);
            let repository = engine::open(Arc::new(store.clone())).unwrap();
            engine::check_all(&repository);
            for options in [LAZY, WITH_TRASH, AT_ONCE] {
                let _refused = run(Arc::new(store.clone()), &options);
                assert_eq!(lost(&scene, &store), before, "{about}");
            }
            let source = scene.first.with_file_name("source");
            let last = engine::backup(&repository, &source).unwrap().snapshot;
            let tree = look(&source);
            if run(Arc::new(store.clone()), &LAZY).is_ok() && lost(&scene, &store).is_empty() {
                assert_eq!(engine::check_all(&repository).found, [], "{about}");
                assert_eq!(engine::count(&store, Folder::Damage), 0, "{about}");
                healed += usize::from(!before.is_empty());
            }
            engine::assert_restores(&repository, &last, &tree, &about);
            assert!(lost(&scene, &store).is_subset(&before), "{about}");
        }
    }
    assert!(healed > 0);
}

/// It was damage on the day it was found, and "healthy" the next day, though nothing had changed.
#[test]
fn what_takes_nothing_from_any_snapshot_is_no_damage_but_told_until_it_is_removed() {
    let scene = Scene::new();
    let (mut spare, mut needed) = (0, 0);
    for key in engine::keys(&scene.store, Folder::Packs) {
        let bytes = scene.store.get(&key, u64::MAX).unwrap();
        let mut bad = bytes.clone();
        spoil_parity(&mut bad);
        bad[table(&bytes).start - 1] ^= 1;
        let mut untabled = bytes.clone();
        spoil_parity(&mut untabled);
        untabled[table(&bytes).start] ^= 1;
        for (form, with_index) in [(&bad, true), (&bad, false), (&untabled, false), (&vec![0; bytes.len()], true)] {
            let about = format!("{key}, {}, {with_index}", *form == bad);
            let store = scene.copy();
            replace(&store, &key, form);
            let indexes = if with_index { Vec::new() } else { engine::keys(&store, Folder::Index) };
            indexes.iter().for_each(|index| store.delete(index).unwrap());
            let (lost, repository) = (lost(&scene, &store), engine::open(Arc::new(store.clone())).unwrap());
            let reports = [engine::check_all(&repository), engine::check_all(&repository), engine::check(&repository)];
            for report in &reports {
                assert_eq!(report.found, reports[0].found, "{about}: the same every time");
                assert_eq!(
                    (report.is_healthy(), report.packs_spare),
                    match lost.is_empty() {
                        true => (true, 1),
                        false => (false, 0),
                    },
                    "{about}: {:?}",
                    report.found
                );
            }
            if lost.is_empty() {
                let report = run(Arc::new(store.clone()), &LAZY).unwrap();
                assert!(report.packs_removed > 0 && report.removed_bytes >= bytes.len() as u64, "{about}: {report:?}");
                assert!(!engine::keys(&store, Folder::Packs).contains(&key), "{about}");
                assert_eq!(engine::check(&repository).packs_spare, 0, "{about}");
                scene.check(Arc::new(store), &about);
                spare += 1;
            } else {
                let _refused = run(Arc::new(store.clone()), &AT_ONCE);
                assert!(engine::keys(&store, Folder::Packs).contains(&key), "{about}");
                needed += 1;
            }
        }
    }
    assert!(spare > 1 && needed > 1, "{spare} {needed}");
}

/// "forget the snapshots that it names" was the advice, and the check named paths.
#[test]
fn where_a_prune_goes_no_further_the_check_says_what_to_forget() {
    let scene = Scene::new();
    let (mut stuck, mut free) = (0, 0);
    for key in engine::keys(&scene.store, Folder::Packs) {
        let bytes = scene.store.get(&key, u64::MAX).unwrap();
        let flipped = |at: usize| [&bytes[..at], &[bytes[at] ^ 1], &bytes[at + 1..]].concat();
        for form in [None, Some(flipped(4)), Some(flipped(HEAD_BYTES)), Some(flipped(table(&bytes).start - 1))] {
            let about = format!("{key}, {}", form.is_some());
            let store = scene.copy();
            store.delete(&key).unwrap();
            form.iter().for_each(|bytes| store.put(&key, bytes).unwrap());
            let repository = engine::open(Arc::new(store.clone())).unwrap();
            let found = engine::check_all(&repository).found;
            let named = |found: &check::Found| Some(found.fix.split_once(": larder forget ")?.1.to_owned());
            let ids: BTreeSet<String> = found.iter().filter_map(named).collect();
            assert_eq!(run(Arc::new(store.clone()), &LAZY).is_err(), !ids.is_empty(), "{about}: {found:?}");
            let Some(ids) = ids.first() else {
                free += 1;
                continue;
            };
            let of = |id: &str| scene.kept.iter().find(|(kept, _)| kept.short() == id).unwrap().0;
            forget(Arc::new(store.clone()), &ids.split(' ').map(of).collect::<Vec<_>>());
            run(Arc::new(store.clone()), &AT_ONCE).unwrap_or_else(|e| panic!("{about}, {ids}: {e:?}"));
            let left = engine::check_all(&repository).found;
            assert!(left.iter().all(|found| named(found).is_none()), "{about}: {left:?}");
            stuck += 1;
        }
    }
    assert!(stuck > 3 && free > 3, "{stuck} {free}");
}

fn names(store: &MemoryStorage) -> Vec<Key> {
    store.list("").unwrap().into_iter().map(|listed| listed.key).collect()
}

const FAULTS: [Fault; 4] = [
    Fault::Forever(ErrorKind::Other),
    Fault::Once(ErrorKind::Other),
    Fault::Forever(ErrorKind::NoSpace),
    Fault::AnswerLost,
];

#[test]
fn a_prune_that_fails_at_any_call_loses_nothing() {
    let scene = Scene::new();
    let (mut faults, mut power_cuts) = (0_u64, 0);
    // Every call takes minutes; without LARDER_FULL others are met each time.
    let step = if std::env::var_os("LARDER_FULL").is_some() { 1 } else { 9 };
    let mut first = 1 + Chance(std::process::id().into()).below(step);
    for options in [AT_ONCE, WITH_TRASH] {
        let clean = scene.copy();
        let report = run(Arc::new(clean.clone()), &options).unwrap();
        assert!(report.packs_removed > 0 && report.added_bytes > 0, "{report:?}");
        scene.check(Arc::new(clean), "without a fault");
        for fault in FAULTS {
            first = 1 + first % step;
            for at in (first..).step_by(step as usize) {
                let store = scene.copy();
                let about = format!("{fault:?} at call {at}, {options:?}");
                let faulty = Arc::new(FaultStorage::new(Arc::new(store.clone()), at, fault));
                let result = run(faulty.clone(), &options);
                if faulty.calls() < at {
                    result.unwrap();
                    break;
                }
                faults += 1;
                let mut checked = vec![names(&store)];
                for seed in [0, u64::MAX, at] {
                    let cut = store.crash(seed);
                    power_cuts += 1;
                    if !checked.contains(&names(&cut)) {
                        checked.push(names(&cut));
                        scene.check(Arc::new(cut), &format!("{about}, power cut {seed}"));
                    }
                }
                // Somebody else goes on.
                let next = Arc::new(store.other_process());
                run(next.clone(), &options).unwrap_or_else(|e| panic!("{about}: the next prune failed: {e:?}"));
                scene.check(next.clone(), &format!("{about}, and the next prune"));
                assert_eq!(engine::count(&*next, Folder::Tombs), 0, "{about}");
                if fault == FAULTS[0] {
                    scene.check(Arc::new(store.crash(0)), &format!("{about}, the next prune, and a power cut"));
                }
            }
        }
    }
    println!("figure: prune in memory, a fault at every call = {faults} faults, {power_cuts} power cuts, 0 lost");
    assert!(faults > 400 / step, "only {faults} faults");
}

/// Does something at one call of another.
struct Between {
    inner: MemoryStorage,
    at: u64,
    calls: AtomicU64,
    work: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Between {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Between({})", self.at)
    }
}

impl Between {
    fn call(&self) -> &MemoryStorage {
        if self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.at
            && let Some(work) = self.work.lock().unwrap().take()
        {
            work();
        }
        &self.inner
    }
}

type Stored<T> = larder::storage::Result<T>;

impl Storage for Between {
    fn put(&self, key: &Key, bytes: &[u8]) -> Stored<()> {
        self.call().put(key, bytes)
    }
    fn upload(&self) -> Stored<Box<dyn Upload>> {
        self.call().upload()
    }
    fn get(&self, key: &Key, limit: u64) -> Stored<Vec<u8>> {
        self.call().get(key, limit)
    }
    fn get_range(&self, key: &Key, offset: u64, len: usize) -> Stored<Vec<u8>> {
        self.call().get_range(key, offset, len)
    }
    fn size(&self, key: &Key) -> Stored<u64> {
        self.call().size(key)
    }
    fn list(&self, prefix: &str) -> Stored<Vec<Listed>> {
        self.call().list(prefix)
    }
    fn delete(&self, key: &Key) -> Stored<()> {
        self.call().delete(key)
    }
    fn trash(&self, key: &Key) -> Stored<()> {
        self.call().trash(key)
    }
    fn mend(&self, key: &Key, bytes: &[u8]) -> Stored<()> {
        self.call().mend(key, bytes)
    }
    fn hold(&self, key: &Key) -> Stored<Option<Box<dyn Hold>>> {
        self.call().hold(key)
    }
    fn held(&self, key: &Key) -> Stored<Option<bool>> {
        self.call().held(key)
    }
    fn adopt(&self, key: &Key) {
        self.inner.adopt(key);
    }
    fn barrier(&self) -> Stored<()> {
        self.call().barrier()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn describe(&self) -> String {
        self.inner.describe()
    }
}

/// The backup counts on what nobody needs, which is just what the prune removes. Where it is taken for dead, though it
/// is not, it begins anew; else the prune gives up.
#[test]
fn a_prune_at_any_call_of_a_backup_takes_nothing_from_it() {
    let scene = Scene::new();
    let first = look(&scene.first);
    let (mut meetings, mut removed, mut busy) = (0, 0, 0);
    for is_taken_for_dead in [true, false] {
        for at in 1.. {
            let store = scene.copy();
            let about = format!("a prune at call {at}, taken for dead: {is_taken_for_dead}");
            let other = store.other_process();
            let result = Arc::new(Mutex::new(None));
            let (told, about_work) = (result.clone(), about.clone());
            let work = move || {
                if is_taken_for_dead {
                    let ends: Vec<Listed> = other.list("sessions").unwrap();
                    let is_open = |key: &Key| {
                        let end = format!("{key}.end");
                        !key.as_str().ends_with(".end") && !ends.iter().any(|listed| listed.key.as_str() == end)
                    };
                    ends.iter().filter(|l| is_open(&l.key)).for_each(|l| other.delete(&l.key).unwrap());
                }
                *told.lock().unwrap() = Some(match run(Arc::new(other), &AT_ONCE) {
                    Ok(report) => Some(report),
                    Err(e) if e.kind() == Kind::Busy && !is_taken_for_dead => None,
                    Err(e) => panic!("{about_work}: {e:?}"),
                });
            };
            let between = Arc::new(Between {
                inner: store.clone(),
                at,
                calls: AtomicU64::new(0),
                work: Mutex::new(Some(Box::new(work))),
            });
            let saved = scene.backup(between.clone()).unwrap_or_else(|e| panic!("{about}: {e:?}")).snapshot;
            let Some(pruned) = result.lock().unwrap().take() else { break };
            meetings += 1;
            busy += u64::from(pruned.is_none());
            removed += pruned.map_or(0, |report| report.packs_removed);
            for (storage, about) in [(store.crash(0), format!("{about}, power cut")), (store.clone(), about.clone())] {
                scene.check(Arc::new(storage.clone()), &about);
                engine::assert_restores(&engine::open(Arc::new(storage)).unwrap(), &saved, &first, &about);
            }
            run(Arc::new(store.clone()), &AT_ONCE).unwrap();
            engine::assert_restores(&engine::open(Arc::new(store)).unwrap(), &saved, &first, &about);
        }
    }
    println!("figure: a prune at every call of a backup = {meetings} meetings, {busy} given up, 0 lost");
    assert!(meetings > 60 && removed > 60 && busy > 10, "{meetings} {removed} {busy}");
}

/// Two machines' worth of backups, and prunes, each killed now and then.
#[test]
fn backups_and_prunes_at_once_that_are_killed_lose_nothing() {
    let machine = Machine::new();
    let rounds = support::number("LARDER_KILLS", 20) / 2;
    let mut chance = Chance(support::number("LARDER_SEED", 5));
    let sources: Vec<PathBuf> = ["a", "b"].iter().map(|name| machine.place(name)).collect();
    for source in &sources {
        night(source, 0);
        machine.backup(source).expect(0);
    }
    let (mut killed, mut pruned) = (0, 0);
    for round in 0..rounds {
        let mut children = Vec::new();
        for (n, source) in sources.iter().enumerate() {
            plant::plant(source, &[(b"own", plant::Item::File(plant::noise(round * 2 + n as u64, 900_000)))]);
            children.push(machine.command(["backup", source.to_str().unwrap()]).spawn().unwrap());
        }
        let options = if round % 2 == 0 { vec!["prune", "--no-trash"] } else { vec!["prune", "--max-unused", "0%"] };
        children.push(machine.command(options).spawn().unwrap());
        std::thread::sleep(Duration::from_millis(chance.below(250)));
        let victim = chance.below(4) as usize;
        let mut ends = Vec::new();
        for (n, child) in children.iter_mut().enumerate() {
            if n == victim {
                program::signal(child.id(), Signal::KILL);
                killed += 1;
            }
            ends.push(child.wait().unwrap().code());
        }
        for (n, end) in ends.iter().enumerate().filter(|(n, _)| *n != victim) {
            assert_eq!(*end, Some(0), "round {round}, child {n}");
        }
        pruned += u64::from(ends[2] == Some(0));
        for (n, source) in sources.iter().enumerate() {
            machine.backup(source).expect(0);
            let to = machine.place("to");
            machine.restore(&format!("latest:{}", ["a", "b"][n]), &to).expect(0);
            assert_same(&look(source), &look(&to), &format!("round {round}"));
            fs::remove_dir_all(&to).unwrap();
        }
        machine.run(["forget", "--keep-last", "2", "--force", "--quiet"]).expect(0);
    }
    machine.run(["prune", "--no-trash", "--max-unused", "0%"]).expect(0);
    machine.run(["check", "--data", "all"]).expect(0);
    println!("figure: backups and prunes at once, kill -9 = {rounds} rounds, {killed} kills, {pruned} prunes, 0 lost");
}

/// Sessions that have no end.
fn open_sessions(machine: &Machine) -> Vec<PathBuf> {
    let all = support::files_below(&machine.repository.join("sessions"));
    let end = |session: &Path| PathBuf::from(format!("{}.end", session.display()));
    let is_open = |path: &&PathBuf| path.extension().is_none() && !all.contains(&end(path));
    all.iter().filter(is_open).cloned().collect()
}

/// Hears when a file is opened.
fn listen(path: &Path) -> fs::File {
    let ear = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&ear, path, inotify::WatchFlags::OPEN).unwrap();
    ear.into()
}

/// The backup counts on what nobody needs any more. It is stopped as by a machine that sleeps, between its files and a
/// database that somebody holds; its lock lives on, so only somebody who removes its session by hand can take it for
/// dead.
#[test]
fn a_backup_that_slept_until_it_was_taken_for_dead_is_whole_or_says_so() {
    let machine = Machine::new();
    let (source, again, held) = (machine.place("source"), machine.place("again"), machine.place("held.db"));
    let database = Connection::open(&held).unwrap();
    database.execute_batch("CREATE TABLE t (x)").unwrap();
    let rounds = 3;
    for round in 0..rounds {
        for n in 0..60 {
            let bytes = plant::noise(round * 100 + n, 40_000);
            for place in [&source, &again] {
                plant::plant(place, &[(n.to_string().as_bytes(), plant::Item::File(bytes.clone()))]);
            }
        }
        machine.backup(&source).expect(0);
        fs::remove_dir_all(&source).unwrap();
        plant::plant(&source, &[(b"small", plant::Item::File(plant::noise(round, 1000)))]);
        machine.backup(&source).expect(0);
        machine.run(["forget", "--source", "source", "--keep-last", "1", "--force"]).expect(0);
        database.execute_batch("INSERT INTO t VALUES (1); BEGIN EXCLUSIVE").unwrap();
        let mut ear = listen(&held);
        let sources = [again.display().to_string(), format!("sqlite:{}", held.display())];
        let child = machine.command(["backup", &sources[0], &sources[1]]).spawn().unwrap();
        program::wait_until("it has come to the database", || ear.read(&mut [0; 4096]).is_ok());
        program::signal(child.id(), Signal::STOP);
        machine.run(["prune", "--no-trash", "--no-wait"]).expect(11).says("other runs are at work");
        let [session] = &open_sessions(&machine)[..] else { panic!("round {round}: one session was expected") };
        fs::remove_file(session).unwrap();
        machine.run(["prune", "--no-trash", "--max-unused", "0%"]).expect(0);
        program::signal(child.id(), Signal::CONT);
        database.execute_batch("COMMIT").unwrap();
        program::wait(vec!["backup".into()], child).expect(0).says("taken for dead");
        machine.run(["check", "--data", "all"]).expect(0);
        let to = machine.place("to");
        machine.restore("latest:again", &to).expect(0);
        assert_same(&look(&again), &look(&to), &format!("round {round}"));
        fs::remove_dir_all(&to).unwrap();
    }
    println!("figure: a backup stopped, its session removed, a prune, and on = {rounds} times, 0 lost");
}
