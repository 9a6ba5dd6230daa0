//! What the benches share: data of the kinds that there are, and a repository to put it in.
#![allow(dead_code, reason = "no bench uses all of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder::clock::System;
use larder::event::{Cancel, Job, Silent};
use larder::ops::backup::{Databases, Report, Request, Source, backup};
use larder::repo::{KeySource, Repository};
use larder::source::files;
use larder::storage::local::LocalStorage;
use tempfile::TempDir;

/// Bytes that do not compress, the same every time.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut out = vec![0; count];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Text of a few thousand words, which compresses as source code does.
pub fn text(seed: u64, count: usize) -> Vec<u8> {
    let chosen = noise(seed, count / 2 + 2);
    let mut out = Vec::with_capacity(count + 16);
    for pair in chosen.chunks(2) {
        // The lower a number, the more often it comes.
        let word = u16::from(pair[0]) * u16::from(pair[pair.len() - 1]) / 16;
        out.extend_from_slice(format!("word{word} ").as_bytes());
        if out.len() >= count {
            break;
        }
    }
    out.truncate(count);
    out
}

/// A folder for everything, and a repository on disk in it.
pub struct Place {
    pub folder: TempDir,
    pub repository: Repository,
}

impl Place {
    /// An empty repository, with or without caches.
    pub fn new(with_cache: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Arc::new(LocalStorage::create(&folder.path().join("repository")).unwrap());
        let world = Arc::new(System::default());
        let repository = Repository::create(storage, world, KeySource::KeyFile(&[7; 32]), "bench").unwrap();
        let cache = folder.path().join("cache");
        let repository = if with_cache { repository.with_cache(&cache) } else { repository };
        Self { folder, repository }
    }

    pub fn backup(&self, path: &Path) -> Report {
        let request = Request {
            sources: vec![Source::files("tree", path)],
            files: files::Options::default(),
            databases: Databases::default(),
            client: "host".into(),
            user: "me".into(),
            zone: (0, "UTC".into()),
            adopt: false,
            tags: Vec::new(),
            note: String::new(),
            trust_mtime: false,
            keep_cache: true,
        };
        backup(&self.repository, &request, job()).unwrap()
    }
}

/// A job that nobody watches.
pub fn job() -> Job<'static> {
    static CANCEL: std::sync::LazyLock<Cancel> = std::sync::LazyLock::new(Cancel::new);
    Job { progress: &Silent, cancel: &CANCEL }
}

/// A tree as people have them: many small texts, a few large files that do not compress. Its bytes, too.
pub fn tree(below: &Path) -> (PathBuf, u64) {
    let root = below.join("tree");
    let mut bytes = 0;
    let mut file = |path: PathBuf, content: Vec<u8>| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        bytes += content.len() as u64;
        std::fs::write(path, content).unwrap();
    };
    for n in 0..1000 {
        file(root.join(format!("texts/{}/{n}.txt", n % 20)), text(n, 500 + (n as usize * 37) % 12_000));
    }
    for n in 0..3 {
        file(root.join(format!("pictures/{n}.jpg")), noise(n, 4 << 20));
    }
    (root, bytes)
}
