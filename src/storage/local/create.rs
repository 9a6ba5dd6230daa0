//! The making of a root.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{self, Dir, Mode};
use rustix::io::{Errno, retry_on_intr};

use super::super::{Error, ErrorKind, Result};
use super::root::{FOLDER_MODE, OPEN_FOLDER, Root, failure, flush, lacks};
use crate::text;

/// Makes the folder durably, with those that are missing above it, or takes over an empty one.
pub(super) fn create(path: &Path) -> Result<()> {
    let fail = |e: Errno| failure("create", text::path(path), &e.into());
    match make(path, FOLDER_MODE) {
        Err(Errno::EXIST) => {
            let root = Root::open(path)?;
            if !is_empty(&root.fd).map_err(fail)? {
                return Err(Error::new(ErrorKind::Exists, "create", text::path(path), "the folder is not empty"));
            }
            fs::fchmod(&root.fd, FOLDER_MODE).map_err(fail)?;
        }
        other => other.and_then(|()| unmask(path)).map_err(fail)?,
    }
    flush(&Root::open(path)?.fd).map_err(fail)
}

fn make(path: &Path, mode: Mode) -> rustix::io::Result<()> {
    let above = match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => return Err(if path.has_root() { Errno::EXIST } else { Errno::NOENT }),
    };
    match fs::mkdir(path, mode) {
        Err(Errno::NOENT) => {
            match make(above, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
                Err(Errno::EXIST) => {}
                other => other?,
            }
            fs::mkdir(path, mode)?;
        }
        other => other?,
    }
    flush(retry_on_intr(|| fs::open(above, OPEN_FOLDER, Mode::empty()))?)
}

/// Gives the owner what the umask took away. Nothing else, because file systems without modes refuse any change.
fn unmask(path: &Path) -> rustix::io::Result<()> {
    if lacks(&fs::lstat(path)?, FOLDER_MODE) { fs::chmod(path, FOLDER_MODE) } else { Ok(()) }
}

fn is_empty(folder: impl AsFd) -> rustix::io::Result<bool> {
    for entry in Dir::read_from(folder)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
