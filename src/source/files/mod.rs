//! Files and folders, read exactly.
//!
//! Invariants:
//! - Below the root nothing is named by a path. Every call takes the handle of a directory and one name, and never
//!   follows a symbolic link, so a tree that changes while it is read cannot lead the walk out of itself.
//! - Entries come in the order in which their paths compare with `/` as the byte zero: a directory stands directly
//!   before everything below it, and names in one directory compare as raw bytes.
//! - What cannot be read is told as a [`Failure`] and the walk goes on; nothing is left out in silence. What is left
//!   out on purpose is counted in [`Skipped`].
//! - Named pipes and devices are never opened.
//! - Memory grows with the depth of the tree and the size of the directories on the way down, never with the number
//!   of entries; at most [`HANDLES_MAX`] directories are held open, and those that a [`Found`] still needs.
//!
//! The root itself is followed when it is a symbolic link, since naming one on a command line asks for what it leads
//! to. Excludes and cache tags speak about what lies below the root, never about the root itself.

mod exclude;
mod listing;
mod open;
mod owner;
mod stat;
mod walk;
mod xattr;

#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::entry::{Kind, Xattr};
use crate::error::is_exhausted;

pub use open::{EXTENTS_MAX, OpenFile};
pub use owner::Names;
pub use stat::Stat;
pub use walk::{HANDLES_MAX, Walk, walk};

/// What a walk leaves out.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Patterns in gitignore syntax, relative to the root; they win over those from files.
    pub excludes: Vec<String>,
    /// Files of such patterns.
    pub exclude_from: Vec<PathBuf>,
    /// Keeps the directory on which another file system is mounted, but nothing below it.
    pub one_file_system: bool,
    /// A directory of which nothing below is kept wherever it turns up: the repository that this goes into.
    pub repository: Option<PathBuf>,
    /// Tells each thing that is left out, instead of only counting it.
    pub tell_left_out: bool,
}

/// One step of a walk.
#[derive(Debug)]
pub enum Step {
    /// An entry of the tree.
    Found(Found),
    /// Something that is in the tree, or was, but could not be read.
    Failed(Failure),
    /// What is left out on purpose, with the reason; only where [`Options::tell_left_out`] asks for it.
    LeftOut(Vec<u8>, &'static str),
}

/// Why something could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The system refused.
    Unreadable,
    /// Something else stands there than a moment before.
    Changed,
    /// It is gone.
    Vanished,
    /// More than [`crate::entry::PATH_DEPTH_MAX`] components.
    TooDeep,
    /// More than [`crate::entry::PATH_BYTES_MAX`] bytes.
    NameTooLong,
    /// The system has no more handles or memory, which says nothing of the entry: the others are no better off.
    Exhausted,
    /// A pattern in a `.larderignore` makes no sense; the others in that file hold.
    BadPattern,
}

/// One thing that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Relative to the root, as in [`Found`]; raw bytes.
    pub path: Vec<u8>,
    /// What kind of failure.
    pub kind: FailureKind,
    /// The reason for people, safe to print: "cannot be opened: Permission denied (os error 13)".
    pub why: String,
}

impl Failure {
    fn new(path: &[u8], kind: FailureKind, why: impl Into<String>) -> Self {
        Self { path: path.to_vec(), kind, why: why.into() }
    }

    fn system(path: &[u8], what: &str, errno: Errno) -> Self {
        let kind = match errno {
            Errno::NOENT | Errno::STALE => FailureKind::Vanished,
            Errno::LOOP | Errno::NOTDIR | Errno::NXIO => FailureKind::Changed,
            errno if is_exhausted(errno) => FailureKind::Exhausted,
            _ => FailureKind::Unreadable,
        };
        Self::new(path, kind, format!("{what}: {errno}"))
    }

    fn replaced(path: &[u8]) -> Self {
        Self::new(path, FailureKind::Changed, "was replaced while it was read")
    }
}

/// What a walk left out on purpose, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Entries that a pattern excluded; a directory counts once, with all that is below it.
    pub by_pattern: u64,
    /// Directories tagged as caches, of which only the directory and its tag were kept.
    pub cache_directories: u64,
    /// Sockets.
    pub sockets: u64,
    /// Directories on which another file system is mounted, which were kept, but not what is below them.
    pub other_file_systems: u64,
    /// The repository that this goes into, which was kept as an empty directory.
    pub repository: u64,
    /// Logs and journals of databases, whose images hold what is in them.
    pub database_files: u64,
}

/// An entry of the tree, with what is needed to read it. Holds its directory open: drop it soon.
#[derive(Debug)]
pub struct Found {
    /// Relative to the root, components separated by `/`, raw bytes. Empty for a directory that is the root; the
    /// name, as it was given, for a file that is the root.
    pub path: Vec<u8>,
    /// What the walk saw.
    pub stat: Stat,
    directory: Arc<OwnedFd>,
    /// The name in `directory`, where it is not the last component of `path`.
    name: Option<Box<[u8]>>,
}

impl Found {
    /// Opens a regular file for reading, provided that it still is the file that the walk saw.
    pub fn open(&self) -> Result<OpenFile, Failure> {
        let failed = |errno| Failure::system(&self.path, "cannot be opened", errno);
        // The walk never offers anything else, but opening a device can have effects.
        if self.stat.kind != Kind::File {
            return Err(Failure::new(&self.path, FailureKind::Unreadable, "is not a regular file"));
        }
        let file = open::for_reading(&*self.directory, self.name(), OFlags::empty()).map_err(failed)?;
        let stat = stat::of_handle(&file).map_err(failed)?;
        match stat {
            Some(stat) if stat.is_same(&self.stat) => Ok(OpenFile::new(file, stat, self.path.clone())),
            _ => Err(Failure::replaced(&self.path)),
        }
    }

    /// Extended attributes of anything, sorted by name, without opening it. [`OpenFile::xattrs`] costs less for a
    /// file that is open anyway.
    pub fn xattrs(&self) -> Result<Vec<Xattr>, Failure> {
        let handle = self.handle()?;
        xattr::of_handle(&handle).map_err(|e| Failure::system(&self.path, "its attributes cannot be read", e))
    }

    /// What stands beside it, under its name with something added; `None`: nothing that can be looked up.
    pub fn beside(&self, added: &str) -> Option<Stat> {
        let name = [self.name(), added.as_bytes()].concat();
        stat::of_name(&*self.directory, name.as_slice(), false).ok().flatten()
    }

    /// Where a symbolic link points.
    pub fn link_target(&self) -> Result<Vec<u8>, Failure> {
        let handle = self.handle()?;
        rustix::fs::readlinkat(&handle, c"", Vec::new())
            .map(std::ffi::CString::into_bytes)
            .map_err(|e| Failure::system(&self.path, "cannot be read", e))
    }

    /// A handle that stands for the entry itself, whatever it is, without opening it.
    fn handle(&self) -> Result<OwnedFd, Failure> {
        let failed = |errno| Failure::system(&self.path, "cannot be looked up", errno);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(self.directory.as_fd(), self.name(), flags, Mode::empty()).map_err(failed)?;
        match stat::of_handle(&handle).map_err(failed)? {
            Some(stat) if stat.is_same(&self.stat) => Ok(handle),
            _ => Err(Failure::replaced(&self.path)),
        }
    }

    fn name(&self) -> &[u8] {
        match &self.name {
            Some(name) => name,
            None => self.path.rsplit(|b| *b == b'/').next().unwrap_or_default(),
        }
    }
}
