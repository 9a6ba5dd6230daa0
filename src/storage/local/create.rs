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
    let made = match make(path, FOLDER_MODE) {
        Err(Errno::EXIST) => false,
        other => other.map(|()| true).map_err(fail)?,
    };
    let root = Root::open(path)?;
    if !made && !is_empty(&root.fd).map_err(fail)? {
        return Err(Error::new(ErrorKind::Exists, "create", text::path(path), "the folder is not empty"));
    }
    restrict(&root.fd, made).and_then(|()| flush(&root.fd)).map_err(fail)
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

/// A folder that was there may be open to others. One that was just made is not, whatever its mode says: a file
/// system that has no modes would refuse to change it.
fn restrict(folder: impl AsFd, made: bool) -> rustix::io::Result<()> {
    let stat = fs::fstat(&folder)?;
    let right = if made { !lacks(&stat, FOLDER_MODE) } else { Mode::from_raw_mode(stat.st_mode) == FOLDER_MODE };
    if right { Ok(()) } else { fs::fchmod(&folder, FOLDER_MODE) }
}

fn is_empty(folder: impl AsFd) -> rustix::io::Result<bool> {
    for entry in Dir::read_from(folder)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
