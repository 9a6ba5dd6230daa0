//! Extended attributes.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result};

use crate::entry::Xattr;

/// More than this the kernel hands out neither as a list of names nor as a value. Bytes.
const BYTES_MAX: usize = 64 << 10;
/// Enough for nearly everything. Bytes.
const BYTES_USUAL: usize = 512;

/// Those of an open file, sorted by name. A file system that knows none has none.
pub(super) fn of_open(file: impl AsFd) -> Result<Vec<Xattr>> {
    let file = file.as_fd();
    collect(|buffer| rustix::fs::flistxattr(file, buffer), |name, buffer| rustix::fs::fgetxattr(file, name, buffer))
}

/// Those of what an `O_PATH` handle stands for, even if it is a symbolic link.
pub(super) fn of_handle(handle: impl AsFd) -> Result<Vec<Xattr>> {
    // The kernel takes no `O_PATH` handle here, but resolves this name to exactly what the handle stands for.
    let path = format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd());
    collect(
        |buffer| rustix::fs::listxattr(path.as_str(), buffer),
        |name, buffer| rustix::fs::getxattr(path.as_str(), name, buffer),
    )
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize>,
    get: impl Fn(&CStr, &mut [u8]) -> Result<usize>,
) -> Result<Vec<Xattr>> {
    let names = match read(list) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let name = CString::new(name).unwrap_or_default();
        match read(|buffer| get(&name, buffer)) {
            Ok(value) => found.push((name.into_bytes(), value)),
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    Ok(found)
}

fn read(get: impl Fn(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut usual = [0; BYTES_USUAL];
    match get(&mut usual) {
        Ok(len) => Ok(usual[..len].to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; BYTES_MAX];
            let len = get(&mut large)?;
            large.truncate(len);
            Ok(large)
        }
        Err(errno) => Err(errno),
    }
}
