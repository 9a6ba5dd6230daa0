//! A small repository in memory, for the tests of what reads one.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::backup::{Databases, Request, Source, backup};
use crate::clock::System;
use crate::crypto::ChunkKind;
use crate::error::Result;
use crate::event::{Cancel, Event, Job, Progress};
use crate::id::ObjectId;
use crate::pack::spoil_parity;
use crate::record::Snapshot;
use crate::repo::{Catalogue, ChunkReader, Folder, KeySource, Place, Repository};
use crate::storage::Storage;
use crate::storage::memory::MemoryStorage;
use crate::tree::{Node, NodeItems};

pub(super) struct Store {
    pub repository: Repository,
    storage: MemoryStorage,
    folder: tempfile::TempDir,
    told: Told,
    cancel: Cancel,
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.lock().unwrap().push(text.into());
        }
    }
}

/// Bytes that do not compress, and are the same every time.
pub(super) fn noise(count: usize) -> Vec<u8> {
    let mut out = vec![0; count];
    blake3::Hasher::new().finalize_xof().fill(&mut out);
    out
}

fn many_name(n: u32) -> String {
    let name = blake3::hash(&n.to_le_bytes()).to_hex();
    format!("many/{n:04}-{name}-{name}-{name}")
}

impl Store {
    pub fn new() -> Self {
        let storage = MemoryStorage::new();
        let world = Arc::new(System::default());
        let repository =
            Repository::create(Arc::new(storage.clone()), world, KeySource::KeyFile(&[7; 32]), "test").unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { repository, storage, folder, told: Told::default(), cancel: Cancel::new() }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        let path = self.folder.path().join("home").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn file(&self, path: &str, bytes: &[u8]) {
        fs::write(self.path(path), bytes).unwrap();
    }

    pub fn sparse(&self, path: &str, size: u64, parts: &[(u64, &[u8])]) {
        let file = fs::File::create(self.path(path)).unwrap();
        file.set_len(size).unwrap();
        for (offset, bytes) in parts {
            file.write_all_at(bytes, *offset).unwrap();
        }
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    /// A snapshot of everything, as the source "home".
    pub fn backup(&self) -> ObjectId {
        self.save(&[("home", "")])
    }

    /// A snapshot of one file, as the source "home".
    pub fn backup_only(&self, path: &str) -> ObjectId {
        self.save(&[("home", path)])
    }

    pub fn save(&self, sources: &[(&str, &str)]) -> ObjectId {
        let sources = sources.iter().map(|(name, path)| Source::files(*name, &self.path(path)));
        let request = Request {
            sources: sources.collect(),
            files: crate::source::files::Options::default(),
            databases: Databases::default(),
            client: "host".into(),
            user: "me".into(),
            zone: (0, "UTC".into()),
            adopt: true,
            tags: Vec::new(),
            note: String::new(),
            trust_mtime: false,
            keep_cache: false,
        };
        backup(&self.repository, &request, self.job()).unwrap().snapshot
    }

    pub fn job(&self) -> Job<'_> {
        Job { progress: &self.told, cancel: &self.cancel }
    }

    pub fn warnings(&self) -> Vec<String> {
        self.told.0.lock().unwrap().clone()
    }

    pub fn calls(&self) -> u64 {
        self.storage.calls()
    }

    pub fn newest(&self) -> Snapshot {
        let listing = self.repository.snapshots().unwrap();
        self.repository.snapshot(&listing.snapshots.last().unwrap().id).unwrap()
    }

    /// Calls with a new reader and the newest snapshot.
    pub fn with_reader<T>(&self, call: impl FnOnce(&ChunkReader<'_>, &Snapshot) -> Result<T>) -> Result<T> {
        let catalogue = Catalogue::load(&self.repository, self.job())?;
        call(&ChunkReader::new(&self.repository, &catalogue), &self.newest())
    }

    /// Gives the n-th of many files another time.
    pub fn touch_nth(&self, n: u32) {
        let file = fs::File::options().write(true).open(self.path(&many_name(n))).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(n.into())).unwrap();
    }

    /// Many files whose tree takes several frames.
    pub fn many_files(&self) {
        for n in 0..3000u32 {
            self.file(&many_name(n), &[]);
        }
    }

    /// Makes the first leaf of a snapshot's tree unreadable, with those that share its frame.
    pub fn lose_leaves(&self, snapshot: &ObjectId) {
        let catalogue = Catalogue::load(&self.repository, self.job()).unwrap();
        let reader = ChunkReader::new(&self.repository, &catalogue);
        let mut id = self.repository.snapshot(snapshot).unwrap().body.sources[0].root.id;
        while let NodeItems::Inner(children) = Node::parse(&reader.chunk(ChunkKind::Node, &id).unwrap()).unwrap().items
        {
            id = children[0].id;
        }
        self.flip(&catalogue, catalogue.find(&id).unwrap());
    }

    /// Damages a chunk of the longest ones, of which small files have none.
    pub fn lose_data(&self) {
        let catalogue = Catalogue::load(&self.repository, self.job()).unwrap();
        let data = catalogue.chunks().map(|(_, place)| place).filter(|place| place.kind == ChunkKind::Data);
        self.flip(&catalogue, *data.max_by_key(|place| place.raw_len).unwrap());
    }

    /// Removes all index objects.
    pub fn forget_index(&self) {
        for listed in self.storage.list(Folder::Index.name()).unwrap() {
            self.storage.delete(&listed.key).unwrap();
        }
    }

    /// Damages the frame at this place, beyond what the pack's parity can give back.
    pub fn flip(&self, catalogue: &Catalogue, place: Place) {
        let key = Folder::Packs.key(&catalogue.pack(place.pack).id);
        let mut bytes = self.storage.get(&key, u64::MAX).unwrap();
        spoil_parity(&mut bytes);
        bytes[(place.offset + place.stored_len / 2) as usize] ^= 1;
        self.storage.delete(&key).unwrap();
        self.storage.put(&key, &bytes).unwrap();
    }
}
