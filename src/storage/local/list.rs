//! Listing: the walk over one folder, in which nothing may be lost unnoticed.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;
use walkdir::{DirEntry, WalkDir};

use super::super::{Error, ErrorKind, Key, Listed, Result, is_key_part};
use super::root::Root;
use crate::text;

pub(super) fn list(root: &Root, prefix: &str) -> Result<Vec<Listed>> {
    if !prefix.is_empty() && Key::new(prefix).is_none() {
        let place = format!("{}/{}", root.place(""), text::escape(prefix.as_bytes()));
        return Err(Error::new(ErrorKind::Other, "list", place, "this is no name of a folder"));
    }
    let opened = root.open_folder(prefix).map_err(|e| match e {
        Errno::NOTDIR => root.link("list", prefix),
        e => root.failed("list", prefix, e.into()),
    })?;
    let Some(folder) = opened else { return Ok(Vec::new()) };
    // Walking from the handle: by its path, a root that was unmounted meanwhile would look empty.
    let start = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let walk = Walk { root, prefix, folder, start };
    let mut all = walk.objects()?;
    all.sort_unstable();
    Ok(all)
}

struct Walk<'a> {
    root: &'a Root,
    prefix: &'a str,
    folder: OwnedFd,
    /// The same as a path.
    start: PathBuf,
}

impl Walk<'_> {
    fn objects(&self) -> Result<Vec<Listed>> {
        let entries = WalkDir::new(&self.start).min_depth(1).into_iter();
        let entries = entries.filter_entry(|entry| is_key_part(entry.file_name().as_bytes()));
        entries.filter_map(|entry| self.object(entry).transpose()).collect()
    }

    /// The object that an entry stands for; `None` if it is none, or has been deleted since it was seen.
    fn object(&self, entry: walkdir::Result<DirEntry>) -> Result<Option<Listed>> {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) if e.depth() > 0 && is_missing(&e) => return Ok(None),
            Err(e) => return Err(self.failed(e)),
        };
        if entry.path_is_symlink() {
            return Err(self.root.link("list", &self.below(entry.path())));
        }
        let Some(key) = Key::new(self.below(entry.path())).filter(|_| entry.file_type().is_file()) else {
            return Ok(None);
        };
        // There may be very many, and from the handle it is a shorter way.
        match statat(&self.folder, self.rest(entry.path()), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(data) => Ok(Some(Listed { size: data.st_size.try_into().unwrap_or(0), key })),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.root.failed("list", key.as_str(), e.into())),
        }
    }

    /// The path from the folder, of something that was found in it.
    fn rest<'p>(&self, path: &'p Path) -> &'p [u8] {
        path.as_os_str().as_bytes().get(self.start.as_os_str().len() + 1..).unwrap_or_default()
    }

    /// The path from the root. Only names that fit into keys are walked.
    fn below(&self, path: &Path) -> String {
        let rest = String::from_utf8_lossy(self.rest(path));
        match self.prefix.is_empty() || rest.is_empty() {
            true => [self.prefix, &rest].concat(),
            false => [self.prefix, "/", &rest].concat(),
        }
    }

    fn failed(&self, error: walkdir::Error) -> Error {
        let place = error.path().map(|path| self.below(path)).unwrap_or_default();
        let error = error.into_io_error().unwrap_or_else(|| io::Error::other("the folders form a loop"));
        self.root.failed("list", &place, error)
    }
}

fn is_missing(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound)
}
