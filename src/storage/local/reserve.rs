//! Space that is set aside: so that forgetting and pruning, which must write a little before they give anything back, work
//! on a disk that is full, whoever filled it.
//!
//! It is a file of no content in the root, which is no object. All here is an attempt: what fails leaves the store as good
//! as it was.

use std::fs::File;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;

use rustix::fs::{self, AtFlags, FallocateFlags, OFlags};
use rustix::io::retry_on_intr;

use super::root::{FILE_MODE, Root};

const NAME: &str = "reserve";
/// It is taken only where so many times as much is free, and given back where less is. Bytes.
const FREE_TIMES: u64 = 4;
/// How much is set aside. Bytes.
const BYTES: RangeInclusive<u64> = 64 << 10..=8 << 20;

/// Sets so much aside, or a little less; what is there already stays.
pub(super) fn set_aside(root: &Root, bytes: u64) {
    let bytes = bytes.clamp(*BYTES.start(), *BYTES.end());
    let there = fs::statat(&root.fd, NAME, AtFlags::SYMLINK_NOFOLLOW).map_or(0, |stat| stat.st_size as u64);
    // Growing it each night by a little is not worth it.
    if bytes / 2 < there || free(root).is_none_or(|free| free < FREE_TIMES * bytes) {
        return;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fd) = retry_on_intr(|| fs::openat(&root.fd, NAME, flags, FILE_MODE)) else { return };
    if retry_on_intr(|| fs::fallocate(&fd, FallocateFlags::empty(), 0, bytes)).is_err() {
        let _ = fs::unlinkat(&root.fd, NAME, AtFlags::empty());
    }
    drop(File::from(fd));
}

/// Gives it back, if hardly anything else is free.
pub(super) fn make_room(root: &Root) {
    if free(root).is_some_and(|free| free < FREE_TIMES * BYTES.end()) {
        let _ = fs::unlinkat(&root.fd, NAME, AtFlags::empty());
    }
}

/// Bytes that anybody may take. `None`: not known.
fn free(root: &Root) -> Option<u64> {
    let stat = fs::fstatvfs(root.fd.as_fd()).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}
