//! Where a tree is built, and how it gets to its place.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use data_encoding::HEXLOWER;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::Existing;
use super::metadata;
use super::remove::{names, remove_tree};
use super::tree::Tree;
use crate::error::{Error, Kind, Result};
use crate::text;

/// How the hidden names begin, or for a folder beside its place go on.
pub(super) const HIDDEN: &str = ".larder-partial-";
/// The longest name a folder can have, bytes.
const NAME_BYTES_MAX: usize = 255;

/// Where a tree is built. Dropped before it is published, it removes what was built aside.
#[derive(Debug)]
pub(super) struct Stage {
    place: Place,
    /// The folder in which `partial` is, or which is written in place.
    folder: OwnedFd,
    /// The name of the folder being built; empty when there is none.
    partial: Vec<u8>,
    device: u64,
    /// The place as the user named it, for messages.
    shown: String,
}

#[derive(Debug)]
enum Place {
    /// Beside its place, to be renamed to this name. The mode is what folders get here when nothing else is said.
    Beside { name: Vec<u8>, usual_mode: Mode },
    /// Inside an empty folder, to be emptied into it.
    Inside,
    /// In the folder itself.
    Here,
}

impl Stage {
    pub fn prepare(to: &Path, existing: Existing, token: &str) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let cannot = || format!("cannot write to {}", text::path(to));
        match rustix::fs::open(to, flags, Mode::empty()) {
            Ok(folder) if existing == Existing::Overwrite => Self::new(Place::Here, folder, Vec::new(), to),
            Ok(folder) => Self::inside(to, folder, token),
            Err(Errno::NOENT) if std::fs::symlink_metadata(to).is_ok() => {
                Err(Error::new(Kind::Failed, cannot()).why("it is a symbolic link that leads nowhere"))
            }
            Err(Errno::NOENT) => Self::beside(to, token),
            Err(Errno::NOTDIR) => Err(Error::new(Kind::Failed, cannot()).why("something else than a folder is there")),
            Err(e) => Err(Error::io(cannot(), &e.into())),
        }
    }

    /// Whether the folder is made, and not one that was there.
    pub fn is_new(&self) -> bool {
        matches!(self.place, Place::Beside { .. })
    }

    fn new(place: Place, folder: OwnedFd, partial: Vec<u8>, to: &Path) -> Result<Self> {
        let shown = text::path(to);
        let stat = rustix::fs::fstat(&folder).map_err(|e| Error::io(format!("cannot write to {shown}"), &e.into()))?;
        Ok(Self { place, folder, partial, device: stat.st_dev, shown })
    }

    fn inside(to: &Path, folder: OwnedFd, token: &str) -> Result<Self> {
        let failed = |e: Errno| Error::io(format!("cannot write to {}", text::path(to)), &e.into());
        let present = names(&folder).map_err(failed)?;
        if !present.is_empty() {
            return Err(not_empty(to, &present));
        }
        let partial = format!("{HIDDEN}{token}").into_bytes();
        rustix::fs::mkdirat(&folder, &partial, Mode::RWXU).map_err(failed)?;
        Self::new(Place::Inside, folder, partial, to)?.cleared()
    }

    fn beside(to: &Path, token: &str) -> Result<Self> {
        let failed = |e: &std::io::Error| Error::io(format!("cannot create {}", text::path(to)), e);
        let name = to.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Error::new(Kind::Usage, format!("cannot create {}", text::path(to)))
                .why("its last component is no name for a folder"));
        }
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|e| failed(&e))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(parent, flags, Mode::empty()).map_err(|e| failed(&e.into()))?;
        let partial = partial_name(&name, token);
        // Nothing is in it yet, so it may show for a moment what mode a folder usually gets here.
        let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        rustix::fs::mkdirat(&parent, &partial, all).map_err(|e| failed(&e.into()))?;
        let stat = rustix::fs::statat(&parent, &partial, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(&e.into()))?;
        let usual_mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        Self::new(Place::Beside { name, usual_mode }, parent, partial, to)?.cleared()
    }

    /// The folder being built, closed to others and without what it inherited.
    fn cleared(self) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, &self.partial, flags, Mode::empty())
            .and_then(metadata::let_owner_in)
            .map_err(|e| self.failed(e))?;
        let root = self.root()?;
        let cleared = rustix::fs::fchmod(&root, Mode::RWXU).and_then(|()| metadata::strip(&root));
        cleared.map_err(|e| self.failed(e))?;
        Ok(self)
    }

    /// The root of the tree while it is built, open for reading.
    pub fn root(&self) -> Result<OwnedFd> {
        let name = if self.partial.is_empty() { &b"."[..] } else { &self.partial };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, name, flags, Mode::empty()).map_err(|e| self.failed(e))
    }

    pub fn is_in_place(&self) -> bool {
        matches!(self.place, Place::Here)
    }

    /// The device of the root.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Whether publishing moves this folder into another one, or it is that other one.
    pub fn moves(&self, path: &[u8]) -> bool {
        matches!(self.place, Place::Inside) && !path.contains(&b'/')
    }

    /// The mode of a root about which the tree says nothing; `None`: it has one.
    pub fn usual_mode(&self) -> Option<Mode> {
        match self.place {
            Place::Beside { usual_mode, .. } => Some(usual_mode),
            Place::Inside | Place::Here => None,
        }
    }

    /// Puts the tree in its place. Returns it where it is now, if entries of it were moved.
    pub fn publish(&mut self) -> Result<Option<Tree>> {
        match &self.place {
            Place::Here => Ok(None),
            Place::Beside { name, .. } => {
                let renamed = rename_new(&self.folder, &self.partial, &self.folder, name);
                self.settled(renamed)?;
                rustix::fs::fsync(&self.folder).map_err(|e| self.failed(e))?;
                Ok(None)
            }
            Place::Inside => {
                let emptied = self.empty_into_folder();
                self.settled(emptied)?;
                let folder = self.root()?;
                Ok(Some(Tree::new(folder)))
            }
        }
    }

    fn empty_into_folder(&self) -> rustix::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = rustix::fs::openat(&self.folder, &self.partial, flags, Mode::empty())?;
        for name in names(&from)? {
            rename_new(&from, name.as_bytes(), &self.folder, name.as_bytes())?;
        }
        rustix::fs::unlinkat(&self.folder, &self.partial, AtFlags::REMOVEDIR)
    }

    /// The tree is complete now: whatever happens, nothing of it is removed any more.
    fn settled(&mut self, moved: rustix::io::Result<()>) -> Result<()> {
        let partial = std::mem::take(&mut self.partial);
        moved.map_err(|e| {
            let why = if e == Errno::EXIST { "somebody else made it meanwhile".to_owned() } else { e.to_string() };
            let partial = text::escape(&partial);
            Error::new(Kind::Failed, format!("cannot put the tree in its place, {}", self.shown))
                .why(why)
                .fix(format!("it is complete but for that: move it from {partial} yourself"))
        })
    }

    fn failed(&self, errno: Errno) -> Error {
        Error::io(format!("cannot write to {}", self.shown), &errno.into())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            // Nobody is left to tell; what stays is hidden and says by its name what it is.
            let _ = remove_tree(&self.folder, &self.partial);
        }
    }
}

/// Chance for names that nobody can know beforehand.
pub(super) fn random_token() -> Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| Error::new(Kind::Failed, "no randomness from the system").why(e))?;
    Ok(HEXLOWER.encode(&bytes))
}

pub(super) fn partial_name(name: &[u8], token: &str) -> Vec<u8> {
    let room = NAME_BYTES_MAX - 1 - HIDDEN.len() - token.len();
    [b".", &name[..name.len().min(room)], HIDDEN.as_bytes(), token.as_bytes()].concat()
}

fn not_empty(to: &Path, present: &[CString]) -> Error {
    let error = Error::new(Kind::Failed, format!("cannot write to {}", text::path(to)));
    match present.iter().find(|name| !name.as_bytes().starts_with(HIDDEN.as_bytes())) {
        Some(_) => error.why("it is not empty").fix("choose a new or an empty folder, or --overwrite"),
        None => error
            .why("it holds what a restore left that was interrupted, or is still running")
            .fix(format!("remove {} from it when no restore is running", text::escape(present[0].as_bytes()))),
    }
}

/// Renames to a name that must be free.
pub(super) fn rename_new(from: &OwnedFd, name: &[u8], to: &OwnedFd, new: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(from, name, to, new, RenameFlags::NOREPLACE) {
        // Some file systems cannot promise that; what is there is then looked at just before.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            match rustix::fs::statat(to, new, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => rustix::fs::renameat(from, name, to, new),
                Err(e) => Err(e),
            }
        }
        other => other,
    }
}
