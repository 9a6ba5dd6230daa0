//! What snapshots, ends of sessions and notes say: lets a list of many snapshots open none of them.
//!
//! One immutable redb file with one sealed value, made anew when there is enough that it lacks. The objects never
//! change, so what one said is true while one of its name and length is listed; and folders are listed every time, so
//! what is gone is gone. Damage that leaves an object its length is seen by those who read it, and by
//! [`Repository::snapshots_anew`]. Whatever is wrong with the cache, it is as if it were not there.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use redb::{ReadableDatabase, TableDefinition};

use super::Repository;
use super::cache::{self, Draft};
use crate::clock;
use crate::crypto::{self, Secret};
use crate::error::Result;
use crate::storage::{Key, Listed};
use crate::wire::{self, Reader, put_prefixed, put_varint};

const SAID: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("said");
const FOLDER: &str = "snapshots";
const WHAT: &str = "list";
const SALT_BYTES: usize = 16;
/// Begins what is sealed. In the oldest caches the length of a key stood there, which is greater.
const VERSION: u8 = 3;
/// So many objects may be read again and again, or be kept in vain, before the cache is made anew.
const STALE_MAX: usize = 64;

/// What is known of objects, with the lengths that they had.
#[derive(Debug, Default)]
pub(super) struct ListCache(HashMap<Key, (u64, Vec<u8>)>);

/// A listed object, and what it says: borrowed from the cache, or just read.
pub(super) type Said<'c> = (Listed, Result<Cow<'c, [u8]>>);

fn sealing_key(repository: &Repository, salt: &[u8]) -> Secret {
    repository.keys().identity.cache.derive("larder v1 list cache", salt)
}

impl ListCache {
    /// Opens the cache; without one that can be used, nothing is known.
    pub fn open(repository: &Repository) -> Self {
        let paths = cache::published(repository, FOLDER, WHAT);
        paths.iter().find_map(|path| Self::read(repository, path)).unwrap_or_default()
    }

    fn read(repository: &Repository, path: &Path) -> Option<Self> {
        let table = cache::open(repository, path)?.begin_read().ok()?.open_table(SAID).ok()?;
        let value = table.get(0).ok()??;
        let (salt, sealed) = value.value().split_at_checked(SALT_BYTES)?;
        let plain = crypto::open(&sealing_key(repository, salt), 0, b"", sealed)?;
        parse(&plain).ok().map(Self)
    }

    /// What an object says, if that is known.
    pub fn get(&self, listed: &Listed) -> Option<&[u8]> {
        self.0.get(&listed.key).filter(|(size, _)| *size == listed.size).map(|(_, said)| said.as_slice())
    }

    /// Makes the cache anew, of what all objects say, if this one lacks too much of it.
    pub fn renew(&self, repository: &Repository, said: &[Said<'_>]) -> Option<()> {
        let count =
            |is: fn(&Cow<'_, [u8]>) -> bool| said.iter().flat_map(|(_, said)| said).filter(|said| is(said)).count();
        let read = count(|said| matches!(said, Cow::Owned(_)));
        let in_vain = self.0.len() - count(|said| matches!(said, Cow::Borrowed(_)));
        if read + in_vain <= STALE_MAX {
            return None;
        }
        let mut plain = vec![VERSION];
        for (listed, said) in said {
            let Ok(said) = said else { continue };
            put_prefixed(&mut plain, listed.key.as_str().as_bytes());
            put_varint(&mut plain, listed.size);
            put_prefixed(&mut plain, said);
        }
        let salt: [u8; SALT_BYTES] = clock::random(repository.world()).ok()?;
        let sealed = crypto::seal(&sealing_key(repository, &salt), 0, b"", &plain);
        let older = cache::published(repository, FOLDER, WHAT);
        let draft = Draft::create(repository, FOLDER)?;
        let transaction = draft.database()?.begin_write().ok()?;
        transaction.open_table(SAID).ok()?.insert(0, &[&salt[..], &sealed].concat()[..]).ok()?;
        transaction.commit().ok()?;
        draft.publish(WHAT)?;
        older.iter().for_each(|path| cache::remove(path));
        Some(())
    }
}

fn parse(plain: &[u8]) -> wire::Result<HashMap<Key, (u64, Vec<u8>)>> {
    let mut r = Reader::new(plain, WHAT);
    if r.u8()? != VERSION {
        return Err(r.bad("of another version"));
    }
    let mut out = HashMap::new();
    while !r.is_empty() {
        let key = str::from_utf8(r.prefixed()?).ok().and_then(Key::new).ok_or_else(|| r.bad("no key"))?;
        out.insert(key, (r.varint()?, r.prefixed()?.to_vec()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::System;
    use crate::crypto::Audience;
    use crate::entry::Time;
    use crate::id::{ChunkId, ObjectId};
    use crate::record::{
        Body, Condition, Drill, Note, Reason, Remark, SessionRecord, SourceBody, SourceKind, SourceSummary, Summary,
    };
    use crate::repo::{Folder, KeySource, Session, layout};
    use crate::storage::Storage;
    use crate::storage::memory::MemoryStorage;
    use crate::storage::wrap::record::{Operation, RecordStorage};
    use crate::tree::Root;

    struct Scene {
        repository: Repository,
        storage: Arc<RecordStorage>,
        cache: tempfile::TempDir,
        runs: i64,
    }

    impl Scene {
        fn new() -> Self {
            let storage = Arc::new(RecordStorage::new(Arc::new(MemoryStorage::new())));
            let (world, cache) = (Arc::new(System::default()), tempfile::tempdir().unwrap());
            let repository = Repository::create(storage.clone(), world, KeySource::KeyFile(&[7; 32]), "t").unwrap();
            Self { repository: repository.with_cache(cache.path()), storage, cache, runs: 0 }
        }

        fn run(&mut self, confirms: bool, reasons: usize) -> ObjectId {
            self.runs += 1;
            let session = Session::begin(&self.repository, &SessionRecord::default()).unwrap();
            let (name, kind) = (b"home".to_vec(), SourceKind::Folder);
            let root = Root { id: ChunkId::ZERO, level: 0, entries: 1, bytes: 1 };
            let summary = Summary {
                time: Time { seconds: self.runs, nanos: 0 },
                sources: vec![SourceSummary { name: name.clone(), kind, entries: 1, bytes: 1 }],
                ..Summary::default()
            };
            let reason = Reason { source: name.clone(), path: b"a/b".to_vec(), why: b"it is gone".to_vec() };
            let origin = b"/home".to_vec();
            let source = SourceBody { name, kind, origin, root, previous: None, unknown: Vec::new() };
            let body = Body { sources: vec![source], reasons: vec![reason; reasons], ..Body::default() };
            let id = session.put_snapshot(&summary, &body).unwrap();
            if confirms {
                session.end(vec![id]).unwrap();
            }
            id
        }

        fn confirm(&self, snapshot: ObjectId) {
            let session = Session::begin(&self.repository, &SessionRecord::default()).unwrap();
            let drills = vec![Drill::of(snapshot), Drill { path: b"a".to_vec(), ..Drill::of(snapshot) }];
            let remarks = vec![Remark { is_pinned: Some(true), ..Remark::of(snapshot, Time::default()) }];
            let conditions = vec![Condition { snapshot, time: Time::default(), is_damaged: true, unknown: Vec::new() }];
            let note = Note { confirmed: vec![snapshot], drills, remarks, conditions, ..Note::default() };
            session.put(Folder::Notes, &[(Audience::Summary, &note.encode())]).unwrap();
            session.end(Vec::new()).unwrap();
        }

        /// The n-th object that lists are made of.
        fn nth(&self, folder: &str, n: usize) -> Option<Key> {
            let mut all = self.storage.list(folder).unwrap();
            all.retain(|listed| folder != "sessions" || layout::ended_session(&listed.key).is_some());
            (!all.is_empty()).then(|| all[n % all.len()].key.clone())
        }

        fn replace(&self, key: &Key, bytes: Option<&[u8]>) {
            self.storage.delete(key).unwrap();
            if let Some(bytes) = bytes {
                self.storage.put(key, bytes).unwrap();
            }
        }

        fn known(&self) -> usize {
            ListCache::open(&self.repository).0.len()
        }

        /// Compares a list with one that is made without the cache, and counts what it opened.
        fn list(&self) -> usize {
            self.storage.clear();
            let listing = self.repository.snapshots().unwrap();
            let whole: Vec<_> =
                listing.snapshots.iter().map(|info| self.repository.snapshot_of(info).unwrap()).collect();
            let opened = self.storage.count(Operation::Get, "");
            let anew = self.repository.snapshots_anew().unwrap();
            assert!(format!("{listing:?}") == format!("{anew:?}"), "after {} runs", self.runs);
            assert!(anew.snapshots.iter().map(|info| self.repository.snapshot(&info.id).unwrap()).eq(whole));
            opened
        }
    }

    #[test]
    fn a_list_opens_only_what_is_new_and_that_once() {
        let mut scene = Scene::new();
        for _ in 0..50 {
            scene.run(true, 0);
        }
        assert_eq!((scene.list(), scene.known()), (100, 100));
        assert_eq!(scene.list(), 0);
        let id = scene.run(false, 0);
        assert_eq!(scene.list(), 1);
        scene.confirm(id);
        // The snapshot again, the note, and the end of the session that wrote it.
        assert_eq!((scene.list(), scene.known()), (3, 100));
        assert!(scene.repository.snapshots().unwrap().snapshots.iter().all(|info| info.confirmed));
        // A long body is read when it is wanted.
        scene.run(true, 1000);
        assert_eq!(scene.list(), 3 + 2 + 1);
    }

    #[test]
    fn what_is_deleted_is_gone_and_in_the_end_forgotten() {
        let mut scene = Scene::new();
        let ids: Vec<_> = (0..50).map(|_| scene.run(true, 0)).collect();
        scene.list();
        for (n, id) in ids.iter().enumerate().skip(1) {
            scene.replace(&Folder::Snapshots.key(id), None);
            assert_eq!(scene.repository.snapshots().unwrap().snapshots.len(), 50 - n);
        }
        assert_eq!(scene.known(), 100);
        while let Some(key) = scene.nth("sessions", 0) {
            scene.replace(&key, None);
        }
        assert_eq!((scene.list(), scene.known()), (0, 1));
        assert_eq!(scene.repository.snapshots().unwrap().snapshots.iter().filter(|info| info.confirmed).count(), 0);
    }

    #[test]
    fn a_cache_that_is_damaged_or_cannot_be_kept_changes_nothing() {
        let mut scene = Scene::new();
        for _ in 0..40 {
            scene.run(true, 0);
        }
        let spoils: [fn(&mut Vec<u8>); 3] = [|b| b[5000] ^= 1, |b| b.truncate(100), |b| b.clear()];
        for spoil in spoils {
            scene.list();
            let [path] = &cache::published(&scene.repository, FOLDER, WHAT)[..] else { panic!() };
            let mut bytes = std::fs::read(path).unwrap();
            spoil(&mut bytes);
            std::fs::write(path, bytes).unwrap();
            assert_eq!((scene.list(), scene.list()), (80, 0));
        }
        std::fs::remove_dir_all(scene.cache.path()).unwrap();
        std::fs::write(scene.cache.path(), b"no folder").unwrap();
        assert_eq!((scene.list(), scene.list()), (80, 80));
        std::fs::remove_file(scene.cache.path()).unwrap();
    }

    #[derive(Clone, Debug)]
    enum Step {
        Runs(usize, bool),
        Confirm(usize),
        Delete(&'static str, usize),
        Cut(&'static str, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let folder = || prop::sample::select(vec!["snapshots", "sessions", "notes"]);
        prop_oneof![
            (1usize..40, any::<bool>()).prop_map(|(count, confirms)| Step::Runs(count, confirms)),
            any::<usize>().prop_map(Step::Confirm),
            (folder(), any::<usize>()).prop_map(|(folder, n)| Step::Delete(folder, n)),
            (folder(), any::<usize>()).prop_map(|(folder, n)| Step::Cut(folder, n)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn a_list_is_the_same_with_the_cache_and_without(steps in prop::collection::vec(step(), 1..9)) {
            let mut scene = Scene::new();
            for step in steps {
                match step {
                    Step::Runs(count, confirms) => (0..count).for_each(|n| _ = scene.run(confirms, n)),
                    Step::Confirm(n) => {
                        let id = scene.nth("snapshots", n).and_then(|key| Folder::Snapshots.id(&key));
                        id.into_iter().for_each(|id| scene.confirm(id));
                    }
                    Step::Delete(folder, n) => {
                        scene.nth(folder, n).into_iter().for_each(|key| scene.replace(&key, None));
                    }
                    Step::Cut(folder, n) => {
                        if let Some(key) = scene.nth(folder, n) {
                            let bytes = scene.storage.get(&key, u64::MAX).unwrap();
                            scene.replace(&key, Some(&bytes[..bytes.len() / 2]));
                        }
                    }
                }
                scene.list();
            }
        }
    }
}
