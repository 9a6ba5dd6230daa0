//! A private folder for what shall not stay.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::files::remove_tree;
use crate::error::{Error, Result};
use crate::text;

/// A folder that only its owner may enter. It goes, with all that is in it, when this does.
#[derive(Debug)]
pub struct Scratch {
    parent: OwnedFd,
    name: String,
    path: PathBuf,
    is_gone: bool,
}

impl Scratch {
    /// Makes one in a folder that is there, under a name that nobody can guess.
    pub fn create(parent: &Path, name: &str) -> Result<Self> {
        let failed = |e: &io::Error| {
            let what = format!("cannot make a scratch folder in {}", text::path(parent));
            Error::io(what, e).fix("name a folder that can be written")
        };
        let path = parent.canonicalize().map_err(|e| failed(&e))?.join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(parent, flags, Mode::empty()).map_err(|e| failed(&e.into()))?;
        rustix::fs::mkdirat(&parent, name, Mode::RWXU).map_err(|e| failed(&e.into()))?;
        Ok(Self { parent, name: name.to_owned(), path, is_gone: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much room there is, where that is known.
    pub fn free_bytes(&self) -> Option<u64> {
        let stat = rustix::fs::fstatvfs(&self.parent).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Opens a regular file in it, whatever the modes of the folders above it, which all belong to us. No link is followed
    /// at the end.
    pub fn open(&self, below: &Path) -> io::Result<File> {
        let path = self.path.join(below);
        let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();
        let open = || File::options().read(true).custom_flags(flags).open(&path);
        match open() {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                self.let_in(below)?;
                open()
            }
            other => other,
        }
    }

    fn let_in(&self, below: &Path) -> io::Result<()> {
        let mut path = self.path.clone();
        for part in below {
            path.push(part);
            let found = path.symlink_metadata()?;
            if found.is_symlink() {
                return Err(io::Error::other("a symbolic link is on the way"));
            }
            let more = if found.is_dir() { 0o700 } else { 0o600 };
            let mode = found.permissions().mode();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode | more))?;
        }
        Ok(())
    }

    /// Removes it, and tells if that cannot be done.
    pub fn remove(mut self) -> Result<()> {
        self.is_gone = true;
        removed(&self.parent, &self.name).map_err(|e| {
            Error::io(format!("cannot remove {}", text::path(&self.path)), &e.into()).fix("remove it by hand")
        })
    }
}

fn removed(parent: &OwnedFd, name: &str) -> Result<(), Errno> {
    remove_tree(parent, name.as_bytes())
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.is_gone {
            // There is an error already, which this one would only hide.
            let _ = removed(&self.parent, &self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_goes_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let here = || std::fs::read_dir(folder.path()).unwrap().count();
        let scratch = Scratch::create(folder.path(), "a").unwrap();
        assert_eq!(scratch.path().symlink_metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        std::fs::create_dir_all(scratch.path().join("b/c")).unwrap();
        std::fs::write(scratch.path().join("b/c/d"), b"text").unwrap();
        for (path, mode) in [("b/c/d", 0), ("b/c", 0o500), ("b", 0)] {
            std::fs::set_permissions(scratch.path().join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(io::read_to_string(scratch.open(Path::new("b/c/d")).unwrap()).unwrap(), "text");
        assert!(Scratch::create(folder.path(), "a").is_err());
        assert_eq!(here(), 1);
        drop(scratch);
        assert_eq!(here(), 0);
        Scratch::create(folder.path(), "a").unwrap().remove().unwrap();
        assert_eq!(here(), 0);
        assert!(Scratch::create(&folder.path().join("nowhere"), "a").is_err());
    }
}
