//! Paths below the root, checked, and the handles of their folders.
//!
//! A path names something below the root or is refused. Folders on the way are resolved by the kernel below the
//! handle of the root without symbolic links; where the kernel cannot do that, one name after another. A handle once
//! found stays good: even if somebody moves its folder, what is written goes into that folder and nowhere else.

use std::cmp::Ordering;
use std::os::fd::OwnedFd;
use std::sync::atomic::{self, AtomicBool};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{cannot, cannot_create, lock};
use crate::entry::{PATH_BYTES_MAX, PATH_DEPTH_MAX};
use crate::error::{Error, Kind, Result};
use crate::text;

/// The longest name of one component, bytes.
const NAME_BYTES_MAX: usize = 255;
/// The longest path given to the kernel at once; it takes 4096 bytes with the zero at the end.
const PIECE_BYTES_MAX: usize = 4095;
/// How many handles of folders are kept for the next use.
const HANDLES_MAX: usize = 16;
/// How often a look-up is tried that was disturbed by somebody else's renames.
const TRIES_MAX: usize = 16;

/// Where an entry goes: a folder and a name in it.
#[derive(Debug)]
pub(super) struct Spot<'a> {
    pub directory: Arc<OwnedFd>,
    pub name: &'a [u8],
    pub path: &'a [u8],
}

/// A folder and what is known about the folders below it.
#[derive(Debug)]
pub(super) struct Tree {
    root: Arc<OwnedFd>,
    /// The handles used last, the latest at the end.
    known: Mutex<Vec<Known>>,
    openat2: AtomicBool,
}

#[derive(Debug)]
struct Known {
    path: Box<[u8]>,
    directory: Arc<OwnedFd>,
}

impl Tree {
    /// `root` is open for reading.
    pub fn new(root: OwnedFd) -> Self {
        Self { root: Arc::new(root), known: Mutex::default(), openat2: AtomicBool::new(true) }
    }

    #[cfg(test)]
    pub fn use_openat2(&self, yes: bool) {
        self.openat2.store(yes, atomic::Ordering::Relaxed);
    }

    #[cfg(test)]
    pub fn forget(&self) {
        lock(&self.known).clear();
    }

    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The place of this path, which is not the root's.
    pub fn spot<'a>(&self, path: &'a [u8]) -> Result<Spot<'a>> {
        check(path)?;
        let (above, name) = split(path);
        let directory = self.directory(above).map_err(|e| unreachable_folder(path, e))?;
        Ok(Spot { directory, name, path })
    }

    /// Opens this folder for reading.
    pub fn open_directory(&self, path: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if path.is_empty() {
            return rustix::fs::openat(&*self.root, c".", flags, Mode::empty()).map_err(|e| cannot_create(path, e));
        }
        let spot = self.spot(path)?;
        rustix::fs::openat(&*spot.directory, spot.name, flags, Mode::empty()).map_err(|e| unreachable_folder(path, e))
    }

    fn directory(&self, path: &[u8]) -> rustix::io::Result<Arc<OwnedFd>> {
        if path.is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        let (from, rest) = self.nearest(path);
        if rest.is_empty() {
            return Ok(from);
        }
        let directory = Arc::new(self.resolve(from, rest)?);
        let mut known = lock(&self.known);
        if known.len() == HANDLES_MAX {
            known.remove(0);
        }
        known.push(Known { path: path.into(), directory: Arc::clone(&directory) });
        Ok(directory)
    }

    /// The deepest known folder on the way to `path`, and the rest of the way.
    fn nearest<'a>(&self, path: &'a [u8]) -> (Arc<OwnedFd>, &'a [u8]) {
        let mut known = lock(&self.known);
        let best = (0..known.len())
            .filter(|at| rest_below(&known[*at].path, path).is_some())
            .max_by_key(|at| known[*at].path.len());
        let Some(best) = best else { return (Arc::clone(&self.root), path) };
        let used = known.remove(best);
        let found = (Arc::clone(&used.directory), rest_below(&used.path, path).unwrap_or(path));
        known.push(used);
        found
    }

    fn resolve(&self, from: Arc<OwnedFd>, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let (first, mut rest) = piece(path);
        let mut directory = self.open(&from, first)?;
        while !rest.is_empty() {
            let (next, after) = piece(rest);
            directory = self.open(&directory, next)?;
            rest = after;
        }
        Ok(directory)
    }

    fn open(&self, from: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..TRIES_MAX {
            if !self.openat2.load(atomic::Ordering::Relaxed) {
                break;
            }
            match rustix::fs::openat2(from, path, look_up(), Mode::empty(), resolve) {
                // Renames elsewhere keep the kernel from vouching for the way.
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Sandboxes that do not know the call forbid it.
                Err(Errno::NOSYS | Errno::PERM) => self.openat2.store(false, atomic::Ordering::Relaxed),
                other => return other,
            }
        }
        open_stepwise(from, path)
    }
}

fn open_stepwise(from: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let (first, mut rest) = split_first(path);
    let mut directory = rustix::fs::openat(from, first, look_up(), Mode::empty())?;
    while !rest.is_empty() {
        let (name, after) = split_first(rest);
        directory = rustix::fs::openat(&directory, name, look_up(), Mode::empty())?;
        rest = after;
    }
    Ok(directory)
}

fn look_up() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Puts what was built under the hidden name in its place, whatever is there.
pub(super) fn replace(spot: &Spot, hidden: &[u8]) -> Result<()> {
    let directory = &*spot.directory;
    let rename = || rustix::fs::renameat(directory, hidden, directory, spot.name);
    match rename() {
        Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
            rustix::fs::unlinkat(directory, spot.name, AtFlags::REMOVEDIR).map_err(|e| match e {
                Errno::EXIST | Errno::NOTEMPTY => Error::new(Kind::Failed, cannot(spot.path))
                    .why("a folder of that name is there, and not empty")
                    .fix("move that folder away, or restore to another place"),
                e => cannot_create(spot.path, e),
            })?;
            rename()
        }
        other => other,
    }
    .map_err(|e| cannot_create(spot.path, e))
}

/// Removes what has the name unless it is a folder; false if it is, and stays.
pub(super) fn remove_other(spot: &Spot) -> rustix::io::Result<bool> {
    let stat = rustix::fs::statat(&*spot.directory, spot.name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Ok(false);
    }
    rustix::fs::unlinkat(&*spot.directory, spot.name, AtFlags::empty())?;
    Ok(true)
}

/// Whether something other than a folder has this name.
pub(super) fn is_taken(spot: &Spot) -> bool {
    rustix::fs::statat(&*spot.directory, spot.name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory)
}

/// Compares paths with '/' as the lowest byte: a folder, then all that is below it.
pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    a.split(|c| *c == b'/').cmp(b.split(|c| *c == b'/'))
}

/// Refuses everything that is not plainly a path below the root.
fn check(path: &[u8]) -> Result<()> {
    let why = if path.is_empty() {
        "an empty path"
    } else if path.len() > PATH_BYTES_MAX {
        "a path that is too long"
    } else if path.contains(&0) {
        "a zero byte in a name"
    } else if path.split(|b| *b == b'/').count() > PATH_DEPTH_MAX {
        "a path that is too deep"
    } else {
        match path.split(|b| *b == b'/').find_map(check_name) {
            Some(why) => why,
            None => return Ok(()),
        }
    };
    let shown = text::escape(&path[..path.len().min(1024)]);
    Err(Error::new(Kind::Damage, format!("refused to create {shown}")).why(why))
}

fn check_name(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("a name that is empty, or a path from the root of the system"),
        b"." | b".." => Some("a name that stands for another place"),
        _ if name.len() > NAME_BYTES_MAX => Some("a name that is too long"),
        _ => None,
    }
}

fn unreachable_folder(path: &[u8], errno: Errno) -> Error {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV => {
            Error::new(Kind::Failed, cannot(path)).why("a symbolic link or a file stands where its folder should be")
        }
        e => cannot_create(path, e),
    }
}

/// The folder and the name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// The first name and the rest.
fn split_first(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().position(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, b""),
    }
}

/// As many components as the kernel takes at once, and the rest.
fn piece(path: &[u8]) -> (&[u8], &[u8]) {
    if path.len() <= PIECE_BYTES_MAX {
        return (path, b"");
    }
    // A name is shorter than a piece, so there is a separator.
    let at = path[..=PIECE_BYTES_MAX].iter().rposition(|b| *b == b'/').unwrap_or(PIECE_BYTES_MAX);
    (&path[..at], &path[at + 1..])
}

/// The way from `folder` to `path`, if that is in it or is it.
fn rest_below<'a>(folder: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(folder)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}
