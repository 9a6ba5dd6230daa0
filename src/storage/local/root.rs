//! The handle of the root, what is looked up below it, and which folders the next barrier flushes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::super::{Error, ErrorKind, Key, Result};
use crate::error::is_exhausted;
use crate::text;

pub(super) const FOLDER_MODE: Mode = Mode::RWXU;
pub(super) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
pub(super) const OPEN_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The root folder. A folder below it is named by its part of a key, the root itself by "".
#[derive(Debug)]
pub(super) struct Root {
    pub fd: OwnedFd,
    path: PathBuf,
    /// Set once the file system has shown that it cannot make unnamed files.
    pub no_unnamed: AtomicBool,
    /// Done once drafts were looked for that dead runs left.
    pub swept: Once,
    /// Folders with names that no barrier has flushed yet.
    touched: Mutex<BTreeSet<String>>,
    /// Held by the one barrier that runs: a second one must not return while the first still flushes its folders.
    flushing: Mutex<()>,
}

impl Root {
    pub fn open(path: &Path) -> Result<Self> {
        let fd = retry_on_intr(|| fs::open(path, OPEN_FOLDER, Mode::empty())).map_err(|e| not_open(path, e))?;
        let (touched, flushing) = (Mutex::default(), Mutex::default());
        let (no_unnamed, swept) = (AtomicBool::new(false), Once::new());
        Ok(Self { fd, path: path.to_owned(), no_unnamed, swept, touched, flushing })
    }

    /// The full place, for people.
    pub fn place(&self, below: &str) -> String {
        match below {
            "" => text::path(&self.path),
            below => text::path(&self.path.join(below)),
        }
    }

    pub fn failed(&self, action: &'static str, below: &str, error: io::Error) -> Error {
        failure(action, self.place(below), &error)
    }

    pub fn link(&self, action: &'static str, below: &str) -> Error {
        Error::new(ErrorKind::Link, action, self.place(below), "it is a symbolic link")
    }

    pub fn missing(&self, action: &'static str, key: &Key) -> Error {
        Error::new(ErrorKind::Missing, action, self.place(key.as_str()), "there is no such object")
    }

    /// Opens an object for reading, and tells its size.
    pub fn open_object(&self, action: &'static str, key: &Key) -> Result<(File, u64)> {
        self.open_object_for(OFlags::RDONLY, action, key)
    }

    /// Opens an object, and tells its size.
    pub fn open_object_for(&self, access: OFlags, action: &'static str, key: &Key) -> Result<(File, u64)> {
        let fail = |e: Errno| self.failed(action, key.as_str(), e.into());
        // Not blocking, because a pipe in the place of an object would wait for a writer.
        let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match retry_on_intr(|| fs::openat(&self.fd, key.as_str(), flags, Mode::empty())) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR) => return Err(self.missing(action, key)),
            Err(Errno::LOOP) => return Err(self.link(action, key.as_str())),
            other => other.map_err(fail)?,
        };
        let stat = fs::fstat(&fd).map_err(fail)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((File::from(fd), stat.st_size as u64)),
            // A folder, pipe, socket or device, which a list leaves out as well.
            _ => Err(self.missing(action, key)),
        }
    }

    /// Opens a folder; `None` if it is missing. `NOTDIR`: it is a symbolic link.
    pub fn open_folder(&self, folder: &str) -> rustix::io::Result<Option<OwnedFd>> {
        let path = if folder.is_empty() { "." } else { folder };
        match retry_on_intr(|| fs::openat(&self.fd, path, OPEN_FOLDER | OFlags::NOFOLLOW, Mode::empty())) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            // A file (no objects are below it) or a symbolic link (objects may be).
            Err(Errno::NOTDIR) if !self.is_symlink(path)? => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn is_symlink(&self, path: &str) -> rustix::io::Result<bool> {
        match fs::statat(&self.fd, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Symlink),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Makes a folder and those above it, as far as they are missing. [`Root::touch`] makes them durable.
    pub fn make_folders(&self, folder: &str) -> Result<()> {
        let with_above = folder.match_indices('/').map(|(end, _)| &folder[..end]).chain([folder]);
        for folder in with_above.filter(|folder| !folder.is_empty()) {
            self.make_folder(folder).map_err(|e| self.failed("make", folder, e.into()))?;
        }
        Ok(())
    }

    fn make_folder(&self, folder: &str) -> rustix::io::Result<()> {
        match fs::mkdirat(&self.fd, folder, FOLDER_MODE) {
            Err(Errno::EXIST) => return Ok(()),
            other => other?,
        }
        let stat = fs::statat(&self.fd, folder, AtFlags::SYMLINK_NOFOLLOW)?;
        if !lacks(&stat, FOLDER_MODE) {
            return Ok(());
        }
        fs::chmodat(&self.fd, folder, FOLDER_MODE, AtFlags::empty())
    }

    pub fn unlink(&self, below: &str, flags: AtFlags) -> rustix::io::Result<()> {
        retry_on_intr(|| fs::unlinkat(&self.fd, below, flags))
    }

    pub fn rename(&self, from: &Key, to: &Key) -> rustix::io::Result<()> {
        retry_on_intr(|| fs::renameat(&self.fd, from.as_str(), &self.fd, to.as_str()))
    }

    /// Has the next barrier flush the folder that this key is in, and all folders above it: another process may have
    /// made them a moment ago and not have flushed them yet.
    pub fn touch(&self, key: &Key) {
        let mut touched = lock(&self.touched);
        let mut folder = folder_of(key.as_str());
        while touched.insert(folder.to_owned()) && !folder.is_empty() {
            folder = folder_of(folder);
        }
    }

    pub fn barrier(&self) -> Result<()> {
        let _alone = lock(&self.flushing);
        let mut folders = std::mem::take(&mut *lock(&self.touched));
        while let Some(folder) = folders.pop_last() {
            if let Err(e) = self.flush_folder(&folder) {
                let failed = self.failed("flush", &folder, e.into());
                folders.insert(folder);
                lock(&self.touched).append(&mut folders);
                return Err(failed);
            }
        }
        Ok(())
    }

    fn flush_folder(&self, folder: &str) -> rustix::io::Result<()> {
        flush(self.open_folder(folder)?.ok_or(Errno::NOENT)?)
    }
}

/// The part of a key in front of its last slash.
pub(super) fn folder_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Flushes the names in a folder.
pub(super) fn flush(folder: impl AsFd) -> rustix::io::Result<()> {
    match retry_on_intr(|| fs::fsync(&folder)) {
        // Some network file systems do not know how to flush a folder: their servers keep names by themselves.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}

/// Whether the umask took away permissions that the owner needs.
pub(super) fn lacks(stat: &Stat, mode: Mode) -> bool {
    !Mode::from_raw_mode(stat.st_mode).contains(mode)
}

/// A failure that the system reported.
pub(super) fn failure(action: &'static str, place: String, error: &io::Error) -> Error {
    use io::ErrorKind as E;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let kind = match error.kind() {
        E::StorageFull | E::QuotaExceeded | E::FileTooLarge => ErrorKind::NoSpace,
        E::PermissionDenied | E::ReadOnlyFilesystem => ErrorKind::Denied,
        _ if errno.is_some_and(is_exhausted) => ErrorKind::Exhausted,
        _ if errno == Some(Errno::IO) => ErrorKind::Unreadable,
        _ => ErrorKind::Other,
    };
    let new = match error.kind() {
        E::FileTooLarge => {
            Error::new(kind, action, place, format!("{error}: `ulimit -f`, or the file system, allows no more"))
        }
        _ => Error::new(kind, action, place, error),
    };
    match errno {
        Some(Errno::AGAIN | Errno::BUSY | Errno::TIMEDOUT) => new.retryable(),
        Some(errno) if is_exhausted(errno) => new.retryable(),
        _ => new,
    }
}

fn not_open(path: &Path, error: Errno) -> Error {
    let place = text::path(path);
    match error {
        Errno::NOENT if fs::lstat(path).is_ok() => {
            Error::new(ErrorKind::Missing, "open", place, "it is a symbolic link to nothing")
        }
        Errno::NOENT => Error::new(ErrorKind::Missing, "open", place, "there is no such folder"),
        Errno::NOTDIR => Error::new(ErrorKind::Other, "open", place, "it is not a folder"),
        e => failure("open", place, &e.into()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
