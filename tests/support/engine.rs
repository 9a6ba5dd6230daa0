//! The library, called as the program calls it.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use larder::clock::{System, World};
use larder::entry::Time;
use larder::error::Result;
use larder::event::{Cancel, Job, Silent};
use larder::id::ObjectId;
use larder::ops::backup::{self, Databases, Report, Request, Source};
use larder::ops::check;
use larder::ops::restore::{self, Part, Pick, Target};
use larder::repo::{Catalogue, Folder, KeySource, Repository};
use larder::source::files;
use larder::storage::{Key, Storage};
use larder::target::files::Existing;

use super::tree::{self, Tree};

/// Opens every repository of these tests.
pub const KEY: [u8; 32] = [7; 32];

/// The real world, with a clock that is an hour ahead: no file looks as if it had changed a moment ago.
#[derive(Debug, Default)]
pub struct Ahead(System);

impl World for Ahead {
    fn now(&self) -> Time {
        let now = self.0.now();
        Time { seconds: now.seconds + 3600, ..now }
    }

    fn elapsed(&self) -> std::time::Duration {
        self.0.elapsed()
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        self.0.random(bytes)
    }
}

pub fn job() -> Job<'static> {
    static NEVER: LazyLock<Cancel> = LazyLock::new(Cancel::new);
    Job { progress: &Silent, cancel: &NEVER }
}

pub fn create(storage: Arc<dyn Storage>) -> Result<Repository> {
    Repository::create(storage, Arc::new(Ahead::default()), KeySource::KeyFile(&KEY), "test")
}

pub fn open(storage: Arc<dyn Storage>) -> Result<Repository> {
    Repository::open(storage, Arc::new(Ahead::default()), KeySource::KeyFile(&KEY))
}

/// One source of the name "source".
pub fn request(path: &Path) -> Request {
    Request {
        sources: vec![Source::files("source", path)],
        files: files::Options::default(),
        databases: Databases::default(),
        client: "client".into(),
        user: "user".into(),
        zone: (0, "UTC".into()),
        adopt: false,
        tags: Vec::new(),
        note: String::new(),
        trust_mtime: false,
        keep_cache: true,
    }
}

pub fn backup(repository: &Repository, path: &Path) -> Result<Report> {
    backup::backup(repository, &request(path), job())
}

/// Checks the structure.
pub fn check(repository: &Repository) -> check::Report {
    check_with(repository, None)
}

/// Checks the structure and all data.
pub fn check_all(repository: &Repository) -> check::Report {
    check_with(repository, Some(1.0))
}

fn check_with(repository: &Repository, data: Option<f64>) -> check::Report {
    let request = check::Request { data, time_max: None, bytes_max: None };
    check::check(repository, &request, job()).unwrap()
}

/// Restores the first source of a snapshot to a new place.
pub fn restore(repository: &Repository, snapshot: &ObjectId, to: &Path) -> Result<restore::Report> {
    let snapshot = repository.snapshot(snapshot)?;
    let catalogue = Catalogue::load(repository, job())?;
    let target = Target { path: to, existing: Existing::Refuse, repository: None };
    let parts = [Part { source: 0, into: Vec::new(), pick: Pick::At(Vec::new()) }];
    restore::restore(repository, &catalogue, &snapshot, &parts, target, job())
}

/// Restores a snapshot and compares it with the tree that it was made of.
#[track_caller]
pub fn assert_restores(repository: &Repository, snapshot: &ObjectId, expected: &Tree, about: &str) {
    let base = super::scratch();
    let to = base.path().join("restored");
    let report = restore(repository, snapshot, &to).unwrap_or_else(|e| panic!("{about}: restore failed: {e:?}"));
    assert!(report.lost.is_empty(), "{about}: lost {:?}", report.lost);
    assert_eq!(report.written.warnings, Vec::<String>::new(), "{about}");
    tree::assert_same(expected, &tree::look(&to), about);
}

/// The keys of all objects in a folder of the repository.
pub fn keys(storage: &dyn Storage, folder: Folder) -> Vec<Key> {
    storage.list(folder.name()).unwrap().into_iter().map(|listed| listed.key).collect()
}

pub fn count(storage: &dyn Storage, folder: Folder) -> usize {
    keys(storage, folder).len()
}
