//! An object on its way: a file without a name (or with a hidden one, where the file system needs one) that gets its
//! key once all bytes are flushed. Dropped before that, it is gone.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{self, AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::{Errno, retry_on_intr};

use super::super::{Error, ErrorKind, Key, Result};
use super::root::{FILE_MODE, Root, folder_of, lacks};
use crate::clock::{self, System, World};

/// What hidden names begin with.
const HIDDEN: &str = ".tmp-";
/// Who makes a draft locks it at once; only after so long is one that nobody holds a lock on taken for left by a dead run.
/// Seconds.
const LEFT_AFTER: i64 = 24 * 60 * 60;
/// How much of two objects is in memory while they are compared, of each.
const COMPARE_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Draft {
    root: Arc<Root>,
    file: File,
    /// The hidden name below the root, if it has one.
    name: Option<String>,
}

impl Draft {
    pub fn new(root: &Arc<Root>) -> rustix::io::Result<Self> {
        let (fd, name) = if root.no_unnamed.load(Ordering::Relaxed) {
            named(root)?
        } else {
            match unnamed(root) {
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                    root.no_unnamed.store(true, Ordering::Relaxed);
                    named(root)?
                }
                other => (other?, None),
            }
        };
        let draft = Self { root: root.clone(), file: File::from(fd), name };
        if lacks(&fs::fstat(&draft.file)?, FILE_MODE) {
            fs::fchmod(&draft.file, FILE_MODE)?;
        }
        Ok(draft)
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Flushes the bytes and gives them their name. After a failed flush nobody knows what is on the disk, and a
    /// second flush would wrongly report success: so the draft is gone either way.
    pub fn publish(mut self, key: &Key) -> Result<()> {
        self.file.sync_all().map_err(|e| self.failed(key, e))?;
        let mut folders_made = false;
        loop {
            match self.give_name(key.as_str()) {
                Ok(()) => break,
                Err(Errno::NOENT) if !folders_made => {
                    self.root.make_folders(folder_of(key.as_str()))?;
                    folders_made = true;
                }
                Err(Errno::EXIST) => match self.compare_with_stored(key) {
                    Ok(()) => break,
                    Err(e) if e.kind == ErrorKind::Missing => self.require_free(key)?,
                    Err(e) => return Err(e),
                },
                Err(e) => return Err(self.failed(key, e.into())),
            }
        }
        // Also where somebody else stored it: their barrier may be still to come.
        self.root.touch(key);
        Ok(())
    }

    /// The same in the place of the object of this name, with its owner and mode. What had the name goes with the draft.
    pub fn replace(mut self, key: &Key, old: &File) -> Result<()> {
        self.be_like(old).map_err(|e| self.failed(key, e.into()))?;
        self.file.sync_all().map_err(|e| self.failed(key, e))?;
        let name = self.hidden_name().map_err(|e| self.failed(key, e.into()))?;
        // A plain rename would bring back what a prune has just taken away.
        let (from, to) = (&self.root.fd, &self.root.fd);
        match retry_on_intr(|| fs::renameat_with(from, &name, to, key.as_str(), RenameFlags::EXCHANGE)) {
            Err(Errno::NOENT) => return Err(self.root.missing("mend", key)),
            other => other.map_err(|e| self.failed(key, e.into()))?,
        }
        self.root.touch(key);
        Ok(())
    }

    /// Who could read the old one can read this.
    fn be_like(&self, old: &File) -> rustix::io::Result<()> {
        let (old, new) = (fs::fstat(old)?, fs::fstat(&self.file)?);
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid) {
            fs::fchown(&self.file, Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid)))?;
        }
        if old.st_mode != new.st_mode {
            fs::fchmod(&self.file, Mode::from_raw_mode(old.st_mode))?;
        }
        Ok(())
    }

    fn hidden_name(&mut self) -> rustix::io::Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        lock(&self.file);
        let handle = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let (_, name) = free_name(&self.root, |name| link(&self.root, &handle, name, AtFlags::SYMLINK_FOLLOW))?;
        self.name = Some(name.clone());
        Ok(name)
    }

    fn give_name(&mut self, key: &str) -> rustix::io::Result<()> {
        let Some(name) = &self.name else {
            let handle = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            return link(&self.root, &handle, key, AtFlags::SYMLINK_FOLLOW);
        };
        let (from, to) = (&self.root.fd, &self.root.fd);
        match retry_on_intr(|| fs::renameat_with(from, name, to, key, RenameFlags::NOREPLACE)) {
            Ok(()) => {
                self.name = None;
                Ok(())
            }
            // A file system that can only rename with replacing. The hidden name goes when the draft is dropped.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link(&self.root, name, key, AtFlags::empty()),
            Err(e) => Err(e),
        }
    }

    /// Fails unless the key is taken by the very bytes of this draft.
    fn compare_with_stored(&self, key: &Key) -> Result<()> {
        let fail = |e| self.failed(key, e);
        let (stored, stored_size) = self.root.open_object("write", key)?;
        let size = self.file.metadata().map_err(fail)?.len();
        if size == stored_size && same_bytes(&self.file, &stored, size).map_err(fail)? {
            return Ok(());
        }
        let why = format!("the name is taken by other bytes ({stored_size} there, {size} new)");
        Err(Error::new(ErrorKind::Exists, "write", self.root.place(key.as_str()), why))
    }

    /// What had the name was deleted in the meantime, or else is no object.
    fn require_free(&self, key: &Key) -> Result<()> {
        match fs::statat(&self.root.fd, key.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
                let why = "the name is taken by something that is no file: remove that";
                Err(Error::new(ErrorKind::Exists, "write", self.root.place(key.as_str()), why))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, key: &Key, error: io::Error) -> Error {
        self.root.failed("write", key.as_str(), error)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Nothing can be done about it; hidden names are never listed.
            let _ = self.root.unlink(name, AtFlags::empty());
        }
    }
}

fn unnamed(root: &Root) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    retry_on_intr(|| fs::openat(&root.fd, ".", flags, FILE_MODE))
}

fn named(root: &Root) -> rustix::io::Result<(OwnedFd, Option<String>)> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let (fd, name) = free_name(root, |name| retry_on_intr(|| fs::openat(&root.fd, name, flags, FILE_MODE)))?;
    lock(&fd);
    Ok((fd, Some(name)))
}

/// Keeps a draft from being swept, as far as the file system has locks; where it has none, nothing is swept.
fn lock(draft: impl AsFd) {
    let _ = fs::flock(draft, FlockOperation::NonBlockingLockExclusive);
}

/// Makes something under a hidden name that nothing has.
fn free_name<T>(root: &Root, mut make: impl FnMut(&str) -> rustix::io::Result<T>) -> rustix::io::Result<(T, String)> {
    root.swept.call_once(|| sweep(root));
    loop {
        // Nobody else makes the same, on any machine.
        let random = clock::random(&System::default()).map_err(|_| Errno::IO)?;
        let name = format!("{HIDDEN}{:016x}", u64::from_le_bytes(random));
        match make(&name) {
            Err(Errno::EXIST) => {}
            other => return Ok((other?, name)),
        }
    }
}

/// Removes drafts that runs left which were killed. What cannot be removed, or looked at, stays: it is never listed.
fn sweep(root: &Root) {
    let Ok(folder) = fs::Dir::read_from(&root.fd) else { return };
    for entry in folder.flatten().filter(|entry| entry.file_name().to_bytes().starts_with(HIDDEN.as_bytes())) {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Ok(left) = fs::openat(&root.fd, entry.file_name(), flags, Mode::empty()).map(File::from) else { continue };
        let is_old = fs::fstat(&left).is_ok_and(|stat| System::default().now().seconds - stat.st_mtime > LEFT_AFTER);
        if is_old && fs::flock(&left, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::unlinkat(&root.fd, entry.file_name(), AtFlags::empty());
        }
    }
}

fn link(root: &Root, from: &str, key: &str, flags: AtFlags) -> rustix::io::Result<()> {
    retry_on_intr(|| fs::linkat(&root.fd, from, &root.fd, key, flags))
}

fn same_bytes(one: &File, other: &File, size: u64) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
    let mut offset = 0;
    while offset < size {
        let len = (size - offset).min(COMPARE_BYTES as u64) as usize;
        one.read_exact_at(&mut left[..len], offset)?;
        other.read_exact_at(&mut right[..len], offset)?;
        if left[..len] != right[..len] {
            return Ok(false);
        }
        offset += len as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The way of file systems that can only rename with replacing.
    #[test]
    fn a_hidden_name_that_was_linked_goes_with_the_draft() {
        let folder = tempfile::TempDir::new().unwrap();
        let root = Arc::new(Root::open(folder.path()).unwrap());
        root.no_unnamed.store(true, Ordering::Relaxed);
        for expected in [Ok(()), Err(Errno::EXIST)] {
            let draft = Draft::new(&root).unwrap();
            assert_eq!(link(&root, draft.name.as_deref().unwrap(), "a", AtFlags::empty()), expected);
            drop(draft);
            let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(left, ["a"]);
        }
    }
}
