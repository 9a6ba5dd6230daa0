//! Private copies: a folder for each, which only its owner may enter, and which is gone when it is dropped.
//!
//! Whoever lives holds a lock on its folder. What killed processes left behind, without one, the next removes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;

use super::failure::Failure;
use crate::event::Cancel;
use crate::{spare, text};

/// How many bytes are copied between two looks at the wish to stop.
pub(super) const RUN_BYTES: usize = 1 << 20;

static ZEROS: [u8; 4096] = [0; 4096];
const PREFIX: &str = "sqlite-";

/// A private folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Keeps the lock.
    _lock: File,
}

impl Folder {
    /// Makes one below `spool`, which is made as well if it is not there.
    pub fn create(spool: &Path) -> Result<Self, Failure> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(spool).and_then(|()| {
            sweep(spool);
            Self::create_below(spool)
        });
        made.map_err(|e| Failure::spool(format!("cannot make a private copy in {}", text::path(spool)), &e))
    }

    fn create_below(spool: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = spool.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other?,
            }
            // Until it is locked, another process may take it for one that was left behind.
            if let Some(lock) = lock(&path)? {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// Where the database in it lies.
    pub fn image(&self) -> PathBuf {
        self.path.join("image")
    }

    /// Makes the file for the database in it.
    pub fn create_image(&self) -> Result<Writer, Failure> {
        self.create_file("image")
    }

    fn create_file(&self, name: &str) -> Result<Writer, Failure> {
        let path = self.path.join(name);
        let shown = text::path(&path);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|e| Failure::spool(format!("cannot create {shown}"), &e))?;
        Ok(Writer { file, shown, at: 0 })
    }

    /// Copies a file under the name of the database plus `ending`. A hole becomes a hole.
    pub fn copy(
        &self,
        from: &Path,
        ending: &str,
        cancel: &Cancel,
        failed: impl Fn(&io::Error) -> Failure,
    ) -> Result<(), Failure> {
        let source = File::open(from).map_err(|e| failed(&e))?;
        let mut writer = self.create_file(&format!("image{ending}"))?;
        let mut buffer = vec![0; RUN_BYTES];
        loop {
            cancel.check()?;
            match spare::read_at(&source, &mut buffer, writer.at) {
                Ok(0) => break,
                Ok(len) => writer.append(&buffer[..len])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed(&e)),
            }
        }
        writer.finish().map(drop)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A file being written from its beginning to its end.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    shown: String,
    at: u64,
}

impl Writer {
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // What is never written is zero as well, and takes no space.
        if bytes.chunks(ZEROS.len()).any(|part| *part != ZEROS[..part.len()]) {
            self.file.write_all_at(bytes, self.at).map_err(|e| self.failed(&e))?;
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    pub fn finish(self) -> Result<File, Failure> {
        self.file.set_len(self.at).map_err(|e| self.failed(&e))?;
        Ok(self.file)
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::spool(format!("cannot write the private copy {}", self.shown), error)
    }
}

/// The lock of a folder, unless somebody else has it, or the folder is gone.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let folder = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    let mine = folder.metadata()?;
    let there = fs::symlink_metadata(path).is_ok_and(|meta| (meta.dev(), meta.ino()) == (mine.dev(), mine.ino()));
    Ok(there.then_some(folder))
}

/// Removes what killed processes left behind. What cannot be removed stays.
fn sweep(spool: &Path) {
    let Ok(entries) = fs::read_dir(spool) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_ours
            && is_folder
            && let Ok(Some(_lock)) = lock(&entry.path())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_may_enter_and_nothing_stays() {
        let temp = tempfile::tempdir().unwrap();
        let spool = temp.path().join("a/b");
        let folder = Folder::create(&spool).unwrap();
        for path in [&spool, &folder.path] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        }
        let mut writer = folder.create_image().unwrap();
        writer.append(&[7; 10]).unwrap();
        writer.append(&[0; 10]).unwrap();
        let file = writer.finish().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 20);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        drop(folder);
        assert_eq!(fs::read_dir(&spool).unwrap().count(), 0);
    }

    #[test]
    fn what_the_dead_left_goes_and_what_the_living_use_stays() {
        let temp = tempfile::tempdir().unwrap();
        let dead = temp.path().join("sqlite-1-0");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("image"), "private").unwrap();
        fs::create_dir(temp.path().join("other")).unwrap();
        let living = Folder::create(temp.path()).unwrap();
        let second = Folder::create(temp.path()).unwrap();
        assert!(!dead.exists() && temp.path().join("other").exists());
        assert!(living.path.exists() && second.path.exists() && living.path != second.path);
    }

    #[test]
    fn a_copy_is_exact_also_where_the_file_has_holes() {
        let temp = tempfile::tempdir().unwrap();
        let from = temp.path().join("from");
        let file = File::create(&from).unwrap();
        file.write_all_at(b"end", 5 << 20).unwrap();
        let folder = Folder::create(&temp.path().join("spool")).unwrap();
        let failed = |e: &io::Error| Failure::spool("from".into(), e);
        folder.copy(&from, "-wal", &Cancel::new(), failed).unwrap();
        let copy = folder.path.join("image-wal");
        assert_eq!(fs::read(&copy).unwrap(), fs::read(&from).unwrap());
        assert!(fs::metadata(&copy).unwrap().blocks() <= (1 << 20) / 512);
        let cancel = Cancel::new();
        cancel.cancel();
        let stopped = folder.copy(&from, "-shm", &cancel, failed).unwrap_err();
        assert_eq!(stopped.kind(), super::super::FailureKind::Interrupted);
    }
}
