use std::fs;
use std::sync::Arc;

use super::*;
use crate::clock::System;
use crate::event::{Cancel, Silent};
use crate::repo::KeySource;
use crate::storage::memory::MemoryStorage;

/// What was changed in the two seconds before a run is not trusted by the next one. It was left out of the cache, and so
/// everything counted as new when two backups followed each other, as they do when somebody tries the program.
#[test]
fn what_must_be_read_again_is_not_new() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("same"), b"same").unwrap();
    fs::write(home.join("other"), b"before").unwrap();
    let (storage, world) = (Arc::new(MemoryStorage::new()), Arc::new(System::default()));
    let repository = Repository::create(storage, world, KeySource::KeyFile(&[7; 32]), "test").unwrap();
    let repository = repository.with_cache(&folder.path().join("cache"));
    let run = |trust_mtime| {
        let request = Request {
            sources: vec![Source::files("home", &home)],
            files: crate::source::files::Options::default(),
            databases: Databases::default(),
            client: "host".into(),
            user: "me".into(),
            zone: (0, "UTC".into()),
            adopt: false,
            tags: Vec::new(),
            note: String::new(),
            trust_mtime,
            keep_cache: true,
        };
        let report = backup(&repository, &request, Job { progress: &Silent, cancel: &Cancel::new() }).unwrap();
        let s = report.summary.statistics;
        (s.files_new, s.files_changed, s.files_unchanged, s.bytes_read)
    };
    assert_eq!(run(false), (3, 0, 0, 10));
    fs::write(home.join("other"), b"after").unwrap();
    assert_eq!(run(false), (0, 1, 2, 9));
    assert_eq!(run(true), (0, 0, 3, 9));
}
