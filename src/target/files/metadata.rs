//! Owner, mode, attributes and time of what was made.
//!
//! The order matters: giving a file away clears its set-id bits and capabilities, so the owner comes first;
//! attributes need the right to write, which the mode may take away; a mode changes an access list and the other way
//! round, so the list, which knows more, comes after; and everything changes times, so they come last.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::{Errno, Result};

use crate::entry::{Entry, Kind, Time, Xattr};
use crate::error::{self, Error};
use crate::text;

const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;
const CAPABILITY: &[u8] = b"security.capability";
/// More than this the kernel does not hand out as a list of names. Bytes.
const NAMES_BYTES_MAX: usize = 64 << 10;

/// What is set on an entry once it is there.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Time,
    xattrs: Vec<Xattr>,
}

/// A way to what is described.
#[derive(Debug)]
pub(super) enum Handle<'a> {
    /// Open for reading or writing.
    Open(BorrowedFd<'a>),
    /// Only looked up, with `O_PATH`.
    Looked(BorrowedFd<'a>),
}

/// What could not be set.
#[derive(Debug, Default)]
pub(super) struct Lost {
    pub owner: bool,
    pub protected_attributes: u64,
    /// Each thing in words, safe to print.
    pub others: Vec<String>,
}

impl Lost {
    pub fn is_empty(&self) -> bool {
        !self.owner && self.protected_attributes == 0 && self.others.is_empty()
    }

    fn note(&mut self, what: &str, result: Result<()>) {
        if let Err(errno) = result {
            self.others.push(format!("its {what} cannot be set: {errno}"));
        }
    }
}

impl Metadata {
    pub fn of(path: &[u8], entry: &Entry) -> error::Result<Self> {
        // Larger numbers have other meanings in the call that sets times.
        if entry.mtime.nanos >= 1_000_000_000 {
            return Err(Error::new(error::Kind::Damage, super::cannot(path))
                .why(format!("its time has {} nanoseconds", entry.mtime.nanos)));
        }
        let (mode, mtime, xattrs) = (entry.mode & 0o7777, entry.mtime, entry.xattrs.clone());
        Ok(Self { mode, uid: entry.uid, gid: entry.gid, mtime, xattrs })
    }
}

/// Sets everything that can be set. With `strip`, the entry may have attributes from before or from its folder, which
/// are removed.
pub(super) fn apply(handle: &Handle, metadata: &Metadata, kind: Kind, strip: bool) -> Lost {
    let mut lost = Lost::default();
    let given = give(handle, metadata);
    lost.owner = !(given.user && given.group);
    if strip {
        lost.note("earlier attributes", remove_others(handle, &metadata.xattrs));
    }
    set_attributes(handle, metadata, Class::Plain, &mut lost);
    if kind != Kind::Symlink {
        lost.note("mode", handle.chmod(mode_for(metadata.mode, &given)));
    }
    set_attributes(handle, metadata, Class::AccessList, &mut lost);
    set_attributes(handle, metadata, Class::Protected, &mut lost);
    lost.note("time", handle.set_mtime(metadata.mtime));
    lost
}

struct Given {
    user: bool,
    group: bool,
}

fn give(handle: &Handle, metadata: &Metadata) -> Given {
    // All ones stands for "leave as it is", and for nobody.
    let user = (metadata.uid != u32::MAX).then(|| Uid::from_raw(metadata.uid));
    let group = (metadata.gid != u32::MAX).then(|| Gid::from_raw(metadata.gid));
    let both = user.is_some() && group.is_some();
    if both && handle.chown(user, group).is_ok() {
        return Given { user: true, group: true };
    }
    Given {
        group: group.is_some() && handle.chown(None, group).is_ok(),
        user: user.is_some() && handle.chown(user, None).is_ok(),
    }
}

/// Without the set-id bits that would speak for somebody else.
fn mode_for(mode: u32, given: &Given) -> Mode {
    let mut mode = mode;
    if !given.user {
        mode &= !SET_USER_ID;
    }
    if !given.group {
        mode &= !SET_GROUP_ID;
    }
    Mode::from_raw_mode(mode)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Plain,
    AccessList,
    Protected,
}

fn class(name: &[u8]) -> Class {
    if name.starts_with(b"system.posix_acl_") {
        Class::AccessList
    } else if name.starts_with(b"security.") || name.starts_with(b"trusted.") {
        Class::Protected
    } else {
        Class::Plain
    }
}

fn set_attributes(handle: &Handle, metadata: &Metadata, wanted: Class, lost: &mut Lost) {
    for (name, value) in metadata.xattrs.iter().filter(|(name, _)| class(name) == wanted) {
        // What makes a program powerful is not for a file that somebody else may own.
        let set = if name == CAPABILITY && lost.owner { Err(Errno::PERM) } else { handle.set_xattr(name, value) };
        match set {
            Ok(()) => {}
            Err(_) if wanted == Class::Protected => lost.protected_attributes += 1,
            Err(errno) => lost.others.push(format!("its attribute {} cannot be set: {errno}", text::escape(name))),
        }
    }
}

/// Removes plain attributes and access lists that are not wanted. Labels of the system stay: it sets them anew on
/// everything that is made.
fn remove_others(handle: &Handle, wanted: &[Xattr]) -> Result<()> {
    let names = match handle.list_xattrs() {
        Err(Errno::NOTSUP) => return Ok(()),
        other => other?,
    };
    let unwanted = |name: &&[u8]| {
        (class(name) == Class::AccessList || name.starts_with(b"user."))
            && wanted.iter().all(|(wanted, _)| wanted != name)
    };
    for name in names.split(|b| *b == 0).filter(unwanted) {
        match handle.remove_xattr(name) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Forgets what a new folder inherited.
pub(super) fn strip(folder: impl AsFd) -> Result<()> {
    remove_others(&Handle::Open(folder.as_fd()), &[])
}

/// Makes a folder of ours usable for us until its own mode is set.
pub(super) fn let_owner_in(folder: impl AsFd) -> Result<()> {
    let user = rustix::process::geteuid();
    let stat = rustix::fs::fstat(&folder)?;
    if user.is_root() || stat.st_uid != user.as_raw() || stat.st_mode & 0o700 == 0o700 {
        return Ok(());
    }
    Handle::Looked(folder.as_fd()).chmod(Mode::from_raw_mode(stat.st_mode & 0o7777 | 0o700))
}

impl Handle<'_> {
    fn chown(&self, user: Option<Uid>, group: Option<Gid>) -> Result<()> {
        match self {
            Handle::Open(file) => rustix::fs::fchown(file, user, group),
            Handle::Looked(at) => rustix::fs::chownat(at, c"", user, group, AtFlags::EMPTY_PATH),
        }
    }

    fn chmod(&self, mode: Mode) -> Result<()> {
        match self {
            Handle::Open(file) => rustix::fs::fchmod(file, mode),
            Handle::Looked(at) => rustix::fs::chmodat(CWD, name_of(at), mode, AtFlags::empty()),
        }
    }

    fn set_mtime(&self, mtime: Time) -> Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
        };
        match self {
            Handle::Open(file) => rustix::fs::futimens(file, &times),
            Handle::Looked(at) => rustix::fs::utimensat(CWD, name_of(at), &times, AtFlags::empty()),
        }
    }

    fn set_xattr(&self, name: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Handle::Open(file) => rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()),
            Handle::Looked(at) => rustix::fs::setxattr(name_of(at), name, value, XattrFlags::empty()),
        }
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        match self {
            Handle::Open(file) => rustix::fs::fremovexattr(file, name),
            Handle::Looked(at) => rustix::fs::removexattr(name_of(at), name),
        }
    }

    fn list_xattrs(&self) -> Result<Vec<u8>> {
        let size = match self {
            Handle::Open(file) => rustix::fs::flistxattr_query(file)?,
            Handle::Looked(at) => rustix::fs::listxattr_query(name_of(at))?,
        };
        if size == 0 {
            return Ok(Vec::new());
        }
        let mut names = vec![0; NAMES_BYTES_MAX];
        let len = match self {
            Handle::Open(file) => rustix::fs::flistxattr(file, &mut names[..])?,
            Handle::Looked(at) => rustix::fs::listxattr(name_of(at), &mut names[..])?,
        };
        names.truncate(len);
        Ok(names)
    }
}

/// The name under which the kernel knows exactly what this handle stands for, be it a symbolic link. For calls that
/// take no such handle.
fn name_of(handle: &BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}
