//! A folder on a local (or mounted) file system.
//!
//! What always holds:
//! - Every path is looked up from a handle of the root, so a root that is moved or mounted over while the store is
//!   open is never mistaken for an empty one.
//! - A name appears only after the bytes behind it were flushed; the name itself is flushed by the barrier.
//! - Folders are 0700 and files 0600, where the file system knows modes.
//! - A symbolic link in the place of an object is an error, to reading and listing alike: it may stand for an object
//!   that somebody moved away, and leaving it out would look like deleted data. Folders, pipes, sockets and devices
//!   are no objects, and are left out.

mod create;
mod direct;
mod draft;
mod hold;
mod list;
mod reserve;
mod root;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Advice, AtFlags, fadvise};
use rustix::io::Errno;

use super::{Capabilities, Error, ErrorKind, Hold, Key, Listed, Object, Result, Storage, Upload};
use crate::spare;
use direct::{Buffers, DirectWriter};
use draft::Draft;
use root::{Root, folder_of};

/// Objects that are shorter are read again soon, and may stay in the page cache.
const SPARE_FROM: u64 = 256 << 10;
/// So much of an object that is read in parts may stay there until it is dropped. Bytes.
const DROPPED_MAX: u64 = 4 << 20;

/// A store in a folder.
#[derive(Debug)]
pub struct LocalStorage {
    root: Arc<Root>,
    buffers: Arc<Buffers>,
}

impl LocalStorage {
    /// The store in this folder, which must exist. Changes nothing.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { root: Arc::new(Root::open(path)?), buffers: Arc::default() })
    }

    /// A new store: makes the folder, and missing ones above it, or takes one that exists and is empty.
    pub fn create(path: &Path) -> Result<Self> {
        create::create(path)?;
        Self::open(path)
    }

    fn trashed(&self, key: &Key) -> Result<()> {
        let fail = |why: io::Error| self.root.failed("trash", key.as_str(), why);
        let to = key.in_trash().ok_or_else(|| fail(io::Error::other("the name is too long")))?;
        let renamed = match self.root.rename(key, &to) {
            // Either the object or the folder that it goes to is missing.
            Err(Errno::NOENT) => {
                self.root.make_folders(folder_of(to.as_str()))?;
                self.root.rename(key, &to)
            }
            other => other,
        };
        match renamed {
            Err(e @ (Errno::NOENT | Errno::NOTDIR)) => {
                // Or else it is the trash that is no folder.
                let is_there = self.root.open_object("trash", key).is_ok();
                return Err(if is_there { fail(e.into()) } else { self.root.missing("trash", key) });
            }
            other => other.map_err(|e| fail(e.into()))?,
        }
        self.root.touch(key);
        self.root.touch(&to);
        Ok(())
    }

    fn bytes(&self, key: &Key, len: usize, read: impl FnOnce(&mut [u8]) -> io::Result<()>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        read(&mut bytes).map_err(|e| not_read(&self.root, key, e))?;
        Ok(bytes)
    }
}

fn bad_length(root: &Root, key: &Key, why: String) -> Error {
    Error::new(ErrorKind::Length, "read", root.place(key.as_str()), why)
}

fn not_read(root: &Root, key: &Key, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => bad_length(root, key, "it became shorter while it was read".into()),
        _ => root.failed("read", key.as_str(), error),
    }
}

/// Looked at first, so that a wrong length from a damaged index costs no memory.
fn within(root: &Root, key: &Key, size: u64, offset: u64, len: usize) -> Result<()> {
    if offset.checked_add(len as u64).is_none_or(|end| end > size) {
        return Err(bad_length(root, key, format!("it has {size} bytes, {len} from {offset} were expected")));
    }
    Ok(())
}

/// For reads of many parts.
#[derive(Debug)]
struct LocalObject {
    file: File,
    size: u64,
    key: Key,
    root: Arc<Root>,
    /// Bytes read since the page cache was told to drop them.
    cached: AtomicU64,
}

impl LocalObject {
    fn read_exact(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        let len = to.len() as u64;
        // Not spared one by one: the kernel drops much at once in less time, and reads ahead better.
        self.file.read_exact_at(to, offset)?;
        if self.cached.fetch_add(len, Ordering::Relaxed) + len >= DROPPED_MAX {
            self.drop_before(NonZero::new(offset + len));
        }
        Ok(())
    }

    /// What is read ahead of that stays.
    fn drop_before(&self, end: Option<NonZero<u64>>) {
        self.cached.store(0, Ordering::Relaxed);
        // If it cannot be, the kernel drops it when it needs the room.
        let _ = fadvise(&self.file, 0, end, Advice::DontNeed);
    }
}

impl Drop for LocalObject {
    fn drop(&mut self) {
        if *self.cached.get_mut() > 0 {
            self.drop_before(None);
        }
    }
}

impl Object for LocalObject {
    fn read(&self, offset: u64, len: usize, to: &mut Vec<u8>) -> Result<()> {
        within(&self.root, &self.key, self.size, offset, len)?;
        to.resize(len, 0);
        self.read_exact(offset, to).map_err(|e| not_read(&self.root, &self.key, e))
    }
}

impl Storage for LocalStorage {
    fn put(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        let fail = |e| self.root.failed("write", key.as_str(), e);
        let mut draft = Draft::new(&self.root).map_err(|e| fail(e.into()))?;
        draft.write_all(bytes).map_err(fail)?;
        draft.publish(key)
    }

    fn upload(&self) -> Result<Box<dyn Upload>> {
        let draft = Draft::new(&self.root).map_err(|e| self.root.failed("write", "", e.into()))?;
        let out = DirectWriter::new(draft, self.buffers.clone());
        Ok(Box::new(LocalUpload { out, root: self.root.clone(), broken: false }))
    }

    fn get(&self, key: &Key, limit: u64) -> Result<Vec<u8>> {
        let (file, size) = self.root.open_object("read", key)?;
        match usize::try_from(size) {
            Ok(len) if size <= limit && size < SPARE_FROM => self.bytes(key, len, |to| file.read_exact_at(to, 0)),
            Ok(len) if size <= limit => self.bytes(key, len, |to| spare::read_exact_at(&file, to, 0)),
            _ => Err(bad_length(&self.root, key, format!("it has {size} bytes, at most {limit} were expected"))),
        }
    }

    fn get_range(&self, key: &Key, offset: u64, len: usize) -> Result<Vec<u8>> {
        let (file, size) = self.root.open_object("read", key)?;
        within(&self.root, key, size, offset, len)?;
        self.bytes(key, len, |to| spare::read_exact_at(&file, to, offset))
    }

    fn open(&self, key: &Key) -> Result<Option<Arc<dyn Object>>> {
        let (file, size) = self.root.open_object("read", key)?;
        let (key, root, cached) = (key.clone(), self.root.clone(), AtomicU64::new(0));
        Ok(Some(Arc::new(LocalObject { file, size, key, root, cached })))
    }

    fn size(&self, key: &Key) -> Result<u64> {
        Ok(self.root.open_object("look at", key)?.1)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        list::list(&self.root, prefix)
    }

    fn delete(&self, key: &Key) -> Result<()> {
        match self.root.unlink(key.as_str(), AtFlags::empty()) {
            Ok(()) => self.root.touch(key),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(e) => return Err(self.root.failed("delete", key.as_str(), e.into())),
        }
        Ok(())
    }

    fn trash(&self, key: &Key) -> Result<()> {
        self.trashed(key)
    }

    fn mend(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        let fail = |e| self.root.failed("mend", key.as_str(), e);
        let (old, _) = self.root.open_object("mend", key)?;
        let mut draft = Draft::new(&self.root).map_err(|e| fail(e.into()))?;
        draft.write_all(bytes).map_err(fail)?;
        draft.replace(key, &old)
    }

    fn hold(&self, key: &Key) -> Result<Option<Box<dyn Hold>>> {
        hold::hold(&self.root, key)
    }

    fn held(&self, key: &Key) -> Result<Option<bool>> {
        hold::held(&self.root, key)
    }

    fn adopt(&self, key: &Key) {
        // The bytes were flushed before they got their name. Of what is gone its folder may be gone, too.
        let there = |folder: &str| !matches!(self.root.open_folder(folder), Ok(None));
        match key.as_str().match_indices('/').map(|(at, _)| &key.as_str()[..at]).find(|folder| !there(folder)) {
            None => self.root.touch(key),
            Some(folder) => _ = Key::new(folder).map(|folder| self.root.touch(&folder)),
        }
    }

    fn set_aside(&self, bytes: u64) {
        reserve::set_aside(&self.root, bytes);
    }

    fn make_room(&self) {
        reserve::make_room(&self.root);
    }

    fn barrier(&self) -> Result<()> {
        self.root.barrier()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { trash: true, holds: true, requests: 4, remote: false }
    }

    fn describe(&self) -> String {
        self.root.place("")
    }
}

struct LocalUpload {
    out: DirectWriter,
    root: Arc<Root>,
    /// A write failed, so bytes are missing in the middle.
    broken: bool,
}

impl Upload for LocalUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| {
            self.broken = true;
            self.root.failed("write", "", e)
        })
    }

    fn finish(self: Box<Self>, key: &Key) -> Result<()> {
        let fail = |e| self.root.failed("write", key.as_str(), e);
        if self.broken {
            return Err(fail(io::Error::other("an earlier part of it could not be written")));
        }
        self.out.publish(key).map_err(fail)?
    }
}
