//! What the system knows about one entry.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, StatxTimestamp};
use rustix::io::Result;

use crate::entry::{Kind, Time};

/// Everything about an entry that one call tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits, 0 ..= 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Logical length in bytes; only a regular file's means something.
    pub size: u64,
    /// Space it takes, in units of 512 bytes.
    pub blocks: u64,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of anything.
    pub ctime: Time,
    /// The device that holds it.
    pub dev: u64,
    /// Its number on that device.
    pub ino: u64,
    /// How many names it has.
    pub links: u64,
    /// Major and minor number, for a device.
    pub device: (u32, u32),
}

impl Stat {
    /// Whether both speak of the same thing, changed perhaps.
    pub fn is_same(&self, other: &Stat) -> bool {
        (self.dev, self.ino, self.kind) == (other.dev, other.ino, other.kind)
    }
}

/// The entry of this name; `None` for a socket. With `automount`, what a daemon mounts there on demand is mounted.
pub(super) fn of_name<P: rustix::path::Arg>(dir: impl AsFd, name: P, automount: bool) -> Result<Option<Stat>> {
    let mut flags = AtFlags::SYMLINK_NOFOLLOW;
    if !automount {
        flags |= AtFlags::NO_AUTOMOUNT;
    }
    rustix::fs::statx(dir, name, flags, wanted()).map(|statx| convert(&statx))
}

/// The entry behind this handle; `None` for a socket.
pub(super) fn of_handle(handle: impl AsFd) -> Result<Option<Stat>> {
    rustix::fs::statx(handle, c"", AtFlags::EMPTY_PATH, wanted()).map(|statx| convert(&statx))
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS - StatxFlags::ATIME
}

fn convert(statx: &Statx) -> Option<Stat> {
    let kind = match FileType::from_raw_mode(statx.stx_mode.into()) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Socket | FileType::Unknown => return None,
    };
    Some(Stat {
        kind,
        mode: u32::from(statx.stx_mode) & 0o7777,
        uid: statx.stx_uid,
        gid: statx.stx_gid,
        size: statx.stx_size,
        blocks: statx.stx_blocks,
        mtime: time(&statx.stx_mtime),
        ctime: time(&statx.stx_ctime),
        dev: rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor),
        ino: statx.stx_ino,
        links: statx.stx_nlink.into(),
        device: (statx.stx_rdev_major, statx.stx_rdev_minor),
    })
}

fn time(stamp: &StatxTimestamp) -> Time {
    Time { seconds: stamp.tv_sec, nanos: stamp.tv_nsec }
}
