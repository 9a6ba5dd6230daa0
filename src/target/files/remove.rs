//! Removing a tree that we built, however deep.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::{Errno, Result};

/// Removes a folder with all that is in it, without following links. Nested folders are moved up before they are
/// emptied, so that neither the depth of the tree nor the length of its paths matters.
pub(in crate::target) fn remove_tree(parent: &OwnedFd, name: &[u8]) -> Result<()> {
    let top = open(parent, name)?;
    let mut moved = 0u64;
    loop {
        let names = names(&top)?;
        if names.is_empty() {
            return rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
        }
        for name in names {
            if !remove_simple(&top, &name)? {
                let folder = open(&top, name.as_bytes())?;
                move_up(&folder, &top, &mut moved)?;
                rustix::fs::unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
            }
        }
    }
}

/// Empties `folder` by removing what can be removed at once and moving up the rest.
fn move_up(folder: &OwnedFd, top: &OwnedFd, moved: &mut u64) -> Result<()> {
    for name in names(folder)? {
        if remove_simple(folder, &name)? {
            continue;
        }
        // Moving a folder takes the right to write to it.
        open(folder, name.as_bytes())?;
        loop {
            *moved += 1;
            match rustix::fs::renameat(folder, &name, top, moved.to_string()) {
                // Taken by something that still waits for its turn.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                other => break other?,
            }
        }
    }
    Ok(())
}

/// Removes a file or an empty folder; false for a folder with something in it.
fn remove_simple(folder: &OwnedFd, name: &CString) -> Result<bool> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            other => other.map(|()| true),
        },
        Err(Errno::NOENT) => Ok(true),
        other => other.map(|()| true),
    }
}

/// Opens a folder and gives its owner, which is us, all rights to it.
fn open(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let handle = rustix::fs::openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
            super::metadata::let_owner_in(&handle)?;
            rustix::fs::openat(parent, name, flags, Mode::empty())?
        }
        other => other?,
    };
    super::metadata::let_owner_in(&folder)?;
    Ok(folder)
}

/// What is in a folder.
pub(super) fn names(folder: &OwnedFd) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}
