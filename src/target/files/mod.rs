//! Files and folders, written exactly, below one folder and nowhere else.
//!
//! Invariants:
//! - The tree to be written is not trusted. Every path is checked before anything is done with it, folders on the way
//!   are never symbolic links, and links are made but never followed.
//! - Under its final name everything is complete: content, owner, mode, attributes, time. A new folder is built aside,
//!   as `.NAME.larder-partial-…`, and renamed at the end; in a folder that exists each file is built under a hidden
//!   name beside its own. A run that is killed leaves hidden names only, one that fails removes them.
//! - Owners are set by number. Names may stand for somebody else on another machine, numbers restore what was.
//! - What the system refuses to set (owners and protected attributes when not root, attributes that the file system
//!   does not know) is counted and told in the [`Report`], and never silently dropped. Whoever gets a file that should
//!   belong to somebody else does not get its set-id bits.
//!
//! Folders stay 0700 and writable until [`Folder::finish`] gives them their own metadata, deepest first.

mod draft;
mod metadata;
mod present;
mod remove;
mod report;
mod stage;
mod tree;
mod writer;

#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::entry::{Entry, Kind};
use crate::error::{self, Error, Result};
use crate::text;

use metadata::{Handle, Metadata};
use report::Tally;
use stage::Stage;
use tree::{Spot, Tree};

pub use draft::Draft;
pub use present::Present;
pub(super) use remove::remove_tree;
pub use report::{Report, WARNINGS_MAX};
pub use writer::FileWriter;

/// What to do with a folder that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Write only where nothing is: the folder must be absent or empty.
    Refuse,
    /// Merge into it. Files are replaced one by one, atomically, and so is anything else that has the name of an
    /// entry; only a folder with something in it never gives way to anything but a folder.
    Overwrite,
}

/// A folder being written. Dropped without [`Folder::finish`], it removes what it has built aside.
#[derive(Debug)]
pub struct Folder {
    stage: Stage,
    tree: Tree,
    shared: Arc<Shared>,
    directories: Mutex<Vec<Directory>>,
    /// Other file systems mounted below the folder, by device number.
    mounted: Mutex<Vec<(u64, OwnedFd)>>,
    /// Device and inode of a folder that is left as it is wherever it turns up.
    keep_out: Option<(u64, u64)>,
    /// Where it turned up.
    kept_out: Mutex<Vec<Box<[u8]>>>,
    /// The root is as it was before, whatever is said of it.
    keeps_root: bool,
    /// The time in the name of a database that is set aside.
    time: String,
}

/// What a folder and its open files share.
#[derive(Debug)]
struct Shared {
    tally: Mutex<Tally>,
    /// Files begun and neither finished nor given up.
    writing: AtomicUsize,
    /// Whether names may be taken already, so that everything is made under a hidden one.
    in_place: bool,
    token: String,
    names_made: AtomicU64,
}

/// A folder whose metadata is still to be set.
#[derive(Debug)]
struct Directory {
    path: Box<[u8]>,
    metadata: Metadata,
}

impl Folder {
    /// Prepares to write a tree at `to`. Folders above it are made if need be; `to` itself may be a symbolic link to a
    /// folder.
    pub fn create(to: &Path, existing: Existing) -> Result<Self> {
        Self::create_outside(to, existing, None)
    }

    /// The same, but nothing is written into the folder `keep_out`: not when `to` lies in it, nor when it lies in `to`.
    pub fn create_outside(to: &Path, existing: Existing, keep_out: Option<&Path>) -> Result<Self> {
        if let Some(keep_out) = keep_out.filter(|keep_out| is_within(to, keep_out)) {
            return Err(Error::new(error::Kind::Usage, format!("cannot write to {}", text::path(to)))
                .why(format!("it lies in the repository {}", text::path(keep_out)))
                .fix("restore to another place"));
        }
        let token = stage::random_token()?;
        let stage = Stage::prepare(to, existing, &token)?;
        let tree = Tree::new(stage.root()?);
        let shared = Shared {
            tally: Mutex::default(),
            writing: AtomicUsize::new(0),
            in_place: stage.is_in_place(),
            token,
            names_made: AtomicU64::new(0),
        };
        let keep_out = keep_out.and_then(place_of);
        let (directories, mounted, kept_out) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self {
            stage,
            tree,
            shared: Arc::new(shared),
            directories,
            mounted,
            keep_out,
            kept_out,
            keeps_root: false,
            time: String::new(),
        })
    }

    /// The same, but a root that was there before keeps its owner, mode and attributes.
    pub fn keeping_root(mut self) -> Self {
        self.keeps_root = !self.stage.is_new();
        self
    }

    /// The time that becomes part of the names of databases that give way: see [`Self::database`].
    pub fn at_time(mut self, time: String) -> Self {
        self.time = time;
        self
    }

    /// Makes a folder; everything in it comes after it. The path "" is the root.
    pub fn directory(&self, path: &[u8], entry: &Entry) -> Result<()> {
        let metadata = Metadata::of(path, entry)?;
        if path.is_empty() && self.keeps_root {
            self.shared.tally().report.directories += 1;
            return Ok(());
        }
        if path.is_empty() {
            metadata::let_owner_in(self.tree.root()).map_err(|e| cannot_create(path, e))?;
        } else if !self.make_directory(path)? {
            lock(&self.kept_out).push(path.into());
            self.shared.tally().warn(path, "it is the repository, and was left as it is");
            return Ok(());
        }
        lock(&self.directories).push(Directory { path: path.into(), metadata });
        self.shared.tally().report.directories += 1;
        Ok(())
    }

    /// False for the folder that is left as it is.
    fn make_directory(&self, path: &[u8]) -> Result<bool> {
        let failed = |e| cannot_create(path, e);
        let spot = self.spot(path)?;
        let make = || rustix::fs::mkdirat(&*spot.directory, spot.name, Mode::RWXU);
        let made = make();
        if !self.shared.in_place {
            return made.map(|()| true).map_err(failed);
        }
        if made == Err(Errno::EXIST) && self.is_kept_out(&spot) {
            return Ok(false);
        }
        if made == Err(Errno::EXIST) {
            tree::remove_other(&spot).and_then(|gone| if gone { make() } else { Ok(()) })
        } else {
            made
        }
        .map_err(failed)?;
        self.take_over(&spot).map(|()| true).map_err(failed)
    }

    fn is_kept_out(&self, spot: &Spot) -> bool {
        let stat = rustix::fs::statat(&*spot.directory, spot.name, AtFlags::SYMLINK_NOFOLLOW);
        self.keep_out.is_some() && stat.ok().map(|stat| (stat.st_dev, stat.st_ino)) == self.keep_out
    }

    /// The place of this path, unless it lies in the folder that is left as it is.
    fn spot<'a>(&self, path: &'a [u8]) -> Result<Spot<'a>> {
        if lock(&self.kept_out)
            .iter()
            .any(|above| path.strip_prefix(&**above).is_some_and(|rest| rest.starts_with(b"/")))
        {
            return Err(Error::new(error::Kind::Failed, cannot(path)).why("it lies in the repository"));
        }
        self.tree.spot(path)
    }

    /// Whether nothing was made yet.
    pub fn is_empty(&self) -> bool {
        self.shared.tally().report.entries() == 0
    }

    /// Makes a folder usable that was there, or that got its rights from an access list of the one above.
    fn take_over(&self, spot: &Spot) -> rustix::io::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&*spot.directory, spot.name, flags, Mode::empty())?;
        metadata::let_owner_in(&handle)?;
        self.remember_mount(&handle)
    }

    fn remember_mount(&self, handle: &OwnedFd) -> rustix::io::Result<()> {
        let device = rustix::fs::fstat(handle)?.st_dev;
        let mut mounted = lock(&self.mounted);
        if device != self.stage.device() && mounted.iter().all(|(known, _)| *known != device) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            mounted.push((device, rustix::fs::openat(handle, c".", flags, Mode::empty())?));
        }
        Ok(())
    }

    /// Begins a regular file. Its content comes through the writer, in any order; what is never written is a hole.
    pub fn file(&self, path: &[u8], entry: &Entry) -> Result<FileWriter> {
        let metadata = Metadata::of(path, entry)?;
        let spot = self.spot(path)?;
        FileWriter::create(spot, entry.size, metadata, Arc::clone(&self.shared))
    }

    /// The same for an SQLite database. One that is there gives way under a new name, with the log or journal that
    /// belongs to it: left beside the new one, the engine would play it into that. One that is in use fails.
    pub fn database(&self, path: &[u8], entry: &Entry) -> Result<FileWriter> {
        Ok(self.file(path, entry)?.setting_aside(&self.time))
    }

    /// Makes a symbolic link.
    pub fn symlink(&self, path: &[u8], entry: &Entry) -> Result<()> {
        let metadata = Metadata::of(path, entry)?;
        let spot = self.spot(path)?;
        self.make(&spot, entry.kind, Some(&metadata), |name| {
            rustix::fs::symlinkat(&entry.target, &*spot.directory, name)
        })?;
        self.shared.tally().report.symlinks += 1;
        Ok(())
    }

    /// Makes a named pipe or a device.
    pub fn special(&self, path: &[u8], entry: &Entry) -> Result<()> {
        let metadata = Metadata::of(path, entry)?;
        let spot = self.spot(path)?;
        let (kind, device) = match entry.kind {
            Kind::CharDevice => (FileType::CharacterDevice, rustix::fs::makedev(entry.device.0, entry.device.1)),
            Kind::BlockDevice => (FileType::BlockDevice, rustix::fs::makedev(entry.device.0, entry.device.1)),
            _ => (FileType::Fifo, 0),
        };
        self.make(&spot, entry.kind, Some(&metadata), |name| {
            rustix::fs::mknodat(&*spot.directory, name, kind, Mode::RUSR | Mode::WUSR, device)
        })?;
        self.shared.tally().report.specials += 1;
        Ok(())
    }

    /// Makes one more name for the file `first`, which is finished.
    pub fn hard_link(&self, first: &[u8], path: &[u8]) -> Result<()> {
        let from = self.spot(first)?;
        let spot = self.spot(path)?;
        let stat = rustix::fs::statat(&*from.directory, from.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| cannot_create(path, e))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let why = format!("{} is no file that could have two names", text::escape(first));
            return Err(Error::new(error::Kind::Damage, cannot(path)).why(why));
        }
        self.make(&spot, Kind::File, None, |name| {
            rustix::fs::linkat(&*from.directory, from.name, &*spot.directory, name, AtFlags::empty())
        })?;
        self.shared.tally().report.hard_links += 1;
        Ok(())
    }

    /// Makes something that has no content and is there at once, complete, under its own name.
    fn make(
        &self,
        spot: &Spot,
        kind: Kind,
        metadata: Option<&Metadata>,
        make: impl Fn(&[u8]) -> rustix::io::Result<()>,
    ) -> Result<()> {
        let hidden = self.shared.in_place.then(|| self.shared.hidden_name());
        let name = hidden.as_deref().unwrap_or(spot.name);
        make(name).map_err(|e| cannot_create(spot.path, e))?;
        let done = metadata
            .map_or(Ok(()), |metadata| self.describe(spot, name, kind, metadata))
            .and_then(|()| if hidden.is_some() { tree::replace(spot, name) } else { Ok(()) });
        // Also when all went well: renaming one name of a file onto another name of it does nothing at all.
        if hidden.is_some() || done.is_err() {
            let _ = rustix::fs::unlinkat(&*spot.directory, name, AtFlags::empty());
        }
        done
    }

    fn describe(&self, spot: &Spot, name: &[u8], kind: Kind, metadata: &Metadata) -> Result<()> {
        let failed = |e| cannot_create(spot.path, e);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&*spot.directory, name, flags, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::fstat(&handle).map_err(failed)?;
        // In a folder that others may change, the name need not be ours any more.
        if FileType::from_raw_mode(stat.st_mode) != file_type(kind) || stat.st_nlink != 1 {
            return Err(Error::new(error::Kind::Failed, cannot(spot.path)).why("it was replaced while it was made"));
        }
        self.shared.apply(&Handle::Looked(handle.as_fd()), spot.path, metadata, kind);
        Ok(())
    }

    /// Completes the tree, puts it in its place and makes it last: when this returns, a power cut takes nothing back.
    pub fn finish(mut self) -> Result<Report> {
        let writing = self.shared.writing.load(Ordering::Acquire);
        if writing > 0 {
            return Err(Error::new(error::Kind::Failed, "the tree is not complete")
                .why(format!("{writing} files are still being written")));
        }
        let mut directories = std::mem::take(&mut *lock(&self.directories));
        directories.sort_unstable_by(|a, b| tree::compare(&b.path, &a.path));
        // Moving a folder into another one takes the right to write to it, which its own mode may deny.
        if let Some(mode) = self.stage.usual_mode().filter(|_| directories.last().is_none_or(|d| !d.path.is_empty())) {
            rustix::fs::fchmod(self.tree.root(), mode).map_err(|e| cannot_create(b"", e))?;
        }
        let (moved, settled) = directories.into_iter().partition(|d| self.stage.moves(&d.path));
        self.settle(settled, &self.tree)?;
        self.sync()?;
        if let Some(tree) = self.stage.publish()? {
            self.settle(moved, &tree)?;
            self.sync()?;
        }
        Ok(self.shared.tally().close())
    }

    fn settle(&self, directories: Vec<Directory>, tree: &Tree) -> Result<()> {
        for directory in directories {
            let described = tree.open_directory(&directory.path).map(|handle| {
                self.shared.apply(&Handle::Open(handle.as_fd()), &directory.path, &directory.metadata, Kind::Directory);
            });
            match described {
                Err(e) if e.kind() == error::Kind::Exhausted => return Err(e),
                Err(e) => {
                    self.shared.tally().warn(&directory.path, &format!("its metadata cannot be set: {}", e.reason()));
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let mounted = lock(&self.mounted);
        for handle in mounted.iter().map(|(_, handle)| handle).chain([self.tree.root()]) {
            rustix::fs::syncfs(handle).map_err(|e| Error::io("cannot bring the tree to its disk", &e.into()))?;
        }
        Ok(())
    }
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    fn hidden_name(&self) -> Vec<u8> {
        let number = self.names_made.fetch_add(1, Ordering::Relaxed);
        format!("{}{}-{number}", stage::HIDDEN, self.token).into_bytes()
    }

    fn apply(&self, handle: &Handle, path: &[u8], metadata: &Metadata, kind: Kind) {
        // Only where names may be taken can anything have attributes already, and at the root.
        let lost = metadata::apply(handle, metadata, kind, self.in_place || path.is_empty());
        if !lost.is_empty() {
            self.tally().add(path, lost);
        }
    }
}

/// Whether a path leads into a folder, or to it, as far as it exists.
pub fn is_within(path: &Path, folder: &Path) -> bool {
    let Some(place) = place_of(folder) else { return false };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = absolute.ancestors().find_map(|above| above.canonicalize().ok());
    real.is_some_and(|real| real.ancestors().any(|above| place_of(above) == Some(place)))
}

fn place_of(folder: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(folder).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::Fifo,
        Kind::CharDevice => FileType::CharacterDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

fn cannot(path: &[u8]) -> String {
    format!("cannot create {}", text::escape(path))
}

fn cannot_create(path: &[u8], errno: Errno) -> Error {
    Error::io(cannot(path), &errno.into())
}

/// What the lock guards is whole between any two steps, so a thread that died holding it left nothing half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
