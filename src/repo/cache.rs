//! Cache files: redb databases that are written once, named by their bytes, and never changed.
//!
//! A file is built under a hidden name, closed, and renamed to `<what>.<keyed BLAKE3 of its bytes>.redb`. Whoever opens
//! one compares bytes and name first, so a file that was cut, overwritten or forged is as good as none, and redb only
//! ever sees what a holder of the repository's keys wrote. Any number of processes may read the same file; nobody waits for anybody.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redb::{Database, ReadOnlyDatabase};

use super::Repository;
use crate::clock;
use crate::crypto::Secret;
use crate::text;

/// Memory that redb may use for one file, bytes.
const MEMORY_BYTES: usize = 8 << 20;
/// A draft that was not touched for so long belongs to nobody.
const DRAFT_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
pub(super) const DAMAGED: &str = "it is damaged, and will be made anew";
pub(super) const NOT_WRITTEN: &str = "nothing can be written there";

/// The first reason why a cache was of no use, or less than it could be, if there was one. Nothing fails for it, but a run may
/// take much longer. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct CacheTrouble(Arc<OnceLock<String>>);

impl CacheTrouble {
    /// What it was, safe to print.
    pub fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// There was one. It must be safe to print.
    pub fn set(&self, why: String) {
        // Only the first counts: the others follow from it.
        let _ = self.0.set(why);
    }

    /// The file or folder at this path was of no use.
    pub(super) fn note(&self, path: &Path, why: &str) {
        self.set(format!("{}: {why}", text::path(path)));
    }

    /// What came of writing there.
    pub(super) fn written<T>(&self, path: &Path, result: io::Result<T>) -> Option<T> {
        result.map_err(|e| self.note(path, &e.to_string())).ok()
    }

    /// What came of reading there: what is not there is no trouble.
    pub(super) fn read<T>(&self, path: &Path, result: io::Result<T>) -> Option<T> {
        match result {
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            other => self.written(path, other),
        }
    }
}

/// A cache file being written. Dropped without [`Self::publish`], it removes its draft.
pub(super) struct Draft {
    database: Option<Database>,
    folder: PathBuf,
    path: PathBuf,
    key: Secret,
}

impl Draft {
    /// A draft in this folder of the repository's caches; `None` where none can be kept.
    pub fn create(repository: &Repository, folder: &str) -> Option<Self> {
        let folder = self::folder(repository, folder)?;
        let (path, file) = hidden_file(repository, &folder)?;
        let database = Database::builder().set_cache_size(MEMORY_BYTES).create_file(file);
        Some(Self { database: Some(database.ok()?), folder, path, key: name_key(repository) })
    }

    /// The database to fill.
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// Closes the file and gives it its name.
    pub fn publish(mut self, what: &str) -> Option<PathBuf> {
        drop(self.database.take()?);
        let hash = hash_file(&self.key, &File::open(&self.path).ok()?)?;
        let named = self.folder.join(format!("{what}.{hash}.redb"));
        std::fs::rename(&self.path, &named).ok()?;
        Some(named)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After publishing there is nothing of this name.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn name_key(repository: &Repository) -> Secret {
    repository.keys().identity.cache.derive("larder v1 cache name", b"")
}

fn hash_file(key: &Secret, mut file: &File) -> Option<String> {
    let mut hasher = key.hasher();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hasher.finish().to_hex()),
            len => hasher.update(&buffer[..len]),
        }
    }
}

/// The names of all published files of this kind. A folder that cannot be read has none.
pub(super) fn published(repository: &Repository, folder: &str, what: &str) -> Vec<PathBuf> {
    let Some(root) = repository.cache() else { return Vec::new() };
    let of_kind = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(&format!("{what}.")) && name.ends_with(".redb"))
    };
    let entries = walkdir::WalkDir::new(root.join(folder)).min_depth(1).max_depth(1).sort_by_file_name();
    let take = |entry: walkdir::Result<walkdir::DirEntry>| {
        let why = |e: walkdir::Error| e.into_io_error().unwrap_or_else(|| ErrorKind::Other.into());
        let path = entry.map(walkdir::DirEntry::into_path).map_err(why);
        repository.cache_trouble().read(&root.join(folder), path)
    };
    entries.into_iter().filter_map(take).filter(of_kind).collect()
}

/// Opens a published file, if its bytes are those that its name says.
pub(super) fn open(repository: &Repository, path: &Path) -> Option<ReadOnlyDatabase> {
    let named = path.file_stem()?.to_str()?.rsplit('.').next()?;
    let file = repository.cache_trouble().read(path, File::open(path))?;
    if hash_file(&name_key(repository), &file).is_none_or(|hash| hash != named) {
        repository.cache_trouble().note(path, DAMAGED);
        return None;
    }
    Database::builder().set_cache_size(MEMORY_BYTES).open_read_only(path).ok()
}

/// Removes a file that is of no use any more; whoever has it open keeps it.
pub(super) fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// Removes files of such names that nobody has touched for so long.
pub(super) fn remove_older(folder: &Path, age_max: Duration, is_one: impl Fn(&str) -> bool) {
    for entry in walkdir::WalkDir::new(folder).min_depth(1).max_depth(1).into_iter().flatten() {
        let age = entry.metadata().ok().and_then(|meta| meta.modified().ok()).and_then(|time| time.elapsed().ok());
        if entry.file_name().to_str().is_some_and(&is_one) && age.is_some_and(|age| age > age_max) {
            remove(entry.path());
        }
    }
}

/// A folder of the repository's caches; `None` where none can be kept.
pub(super) fn folder(repository: &Repository, name: &str) -> Option<PathBuf> {
    let folder = repository.cache()?.join(name);
    repository.cache_trouble().written(&folder, make_private_folder(&folder))?;
    tag(repository);
    Some(folder)
}

/// Marks the caches as such (bford.info/cachedir), so that no backup, ours or another's, stores them.
fn tag(repository: &Repository) {
    use std::io::Write;
    let tag = repository.cache().map(|root| root.join("CACHEDIR.TAG"));
    if let Some(mut file) = tag.and_then(|tag| private_file(&tag).ok()) {
        // It is only a courtesy.
        let _ = file
            .write_all(b"Signature: 8a477f597d28d172789f06886806bc55\n# Caches of larder; delete them at any time.\n");
    }
}

/// Makes a folder that only its owner may enter, with those above it.
fn make_private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A file without a name, which goes with who has it open; `None` where none can be kept.
pub(super) fn scratch_file(repository: &Repository, folder: &str) -> Option<File> {
    let (path, file) = hidden_file(repository, &self::folder(repository, folder)?)?;
    std::fs::remove_file(&path).ok()?;
    Some(file)
}

/// A new file under a hidden name, which nobody else has. Those that were left behind go.
fn hidden_file(repository: &Repository, folder: &Path) -> Option<(PathBuf, File)> {
    remove_older(folder, DRAFT_AGE_MAX, |name| name.starts_with('.'));
    let random: [u8; 16] = clock::random(repository.world()).ok()?;
    let path = folder.join(format!(".{}", data_encoding::HEXLOWER.encode(&random)));
    let file = repository.cache_trouble().written(folder, private_file(&path))?;
    Some((path, file))
}

/// A new file that only its owner may read.
pub(super) fn private_file(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}
