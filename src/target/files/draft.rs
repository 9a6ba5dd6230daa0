//! One file, built beside its place and put there when it is complete.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::metadata::{self, Handle, Metadata};
use super::stage::{partial_name, random_token, rename_new};
use super::{Existing, is_within};
use crate::entry::{Entry, Kind as EntryKind};
use crate::error::{Error, Kind, Result};
use crate::text;

/// So much of the name stands in the hidden one, which leaves room for the endings that SQLite adds. Bytes.
const NAME_BYTES_SHOWN: usize = 200;

/// A file of mode 0600 under a hidden name, `.NAME.larder-partial-…`, in the folder that it is meant for. Dropped before
/// it is put in its place, it is removed, and so is a journal beside it.
#[derive(Debug)]
pub struct Draft {
    file: File,
    folder: OwnedFd,
    /// Its folder, links resolved.
    real: PathBuf,
    /// The name that it has now; empty once that is the one it was meant for.
    hidden: Vec<u8>,
    name: Vec<u8>,
    existing: Existing,
    shown: String,
}

impl Draft {
    /// Begins a file that is meant for `to`, in a folder that is there. What may not be replaced, or is no regular
    /// file, is refused at once; so is a place in the folder `keep_out`.
    pub fn create(to: &Path, existing: Existing, keep_out: Option<&Path>) -> Result<Self> {
        let shown = text::path(to);
        refuse(to, existing, keep_out)?;
        let name = to.file_name().unwrap_or_default().as_bytes().to_vec();
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |e: io::Error| Error::io(format!("cannot write {shown}"), &e);
        let real = parent.canonicalize().map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&real, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let hidden = partial_name(&name[..name.len().min(NAME_BYTES_SHOWN)], &random_token()?);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(&folder, &hidden, flags, Mode::RUSR | Mode::WUSR).map_err(|e| failed(e.into()))?;
        Ok(Self { file: file.into(), folder, real, hidden, name, existing, shown })
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is while it is built, for what opens it by its name.
    pub fn path(&self) -> PathBuf {
        self.real.join(Path::new(std::ffi::OsStr::from_bytes(&self.hidden)))
    }

    /// Its place, links of its folder resolved.
    pub fn place(&self) -> PathBuf {
        self.real.join(Path::new(std::ffi::OsStr::from_bytes(&self.name)))
    }

    /// Gives it the owner, mode, attributes and time of an entry, and says what could not be set.
    pub fn describe(&self, entry: &Entry) -> Result<Vec<String>> {
        let metadata = Metadata::of(&self.name, entry)?;
        let lost = metadata::apply(&Handle::Open(self.file.as_fd()), &metadata, EntryKind::File, true);
        let mut said = lost.others;
        if lost.owner {
            said.push("it belongs to whoever restored it: giving it to its owner takes more rights".into());
        }
        if lost.protected_attributes > 0 {
            said.push(format!("{} protected attributes cannot be set", lost.protected_attributes));
        }
        Ok(said.into_iter().map(|what| format!("{}: {what}", self.shown)).collect())
    }

    /// Brings the content to the disk.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::io(format!("cannot write {}", self.shown), &e))
    }

    /// Puts it in its place. When this returns, a power cut takes nothing back.
    pub fn publish(self) -> Result<()> {
        let existing = self.existing;
        self.publish_where(existing)
    }

    /// The same, where what was there before has been taken away: nothing is replaced.
    pub fn publish_new(self) -> Result<()> {
        self.publish_where(Existing::Refuse)
    }

    fn publish_where(mut self, existing: Existing) -> Result<()> {
        self.sync()?;
        let failed = |e: Errno| match e {
            Errno::EXIST => taken(&self.shown).why("somebody else made it meanwhile"),
            e => Error::io(format!("cannot write {}", self.shown), &e.into()),
        };
        match existing {
            Existing::Refuse => rename_new(&self.folder, &self.hidden, &self.folder, &self.name),
            Existing::Overwrite => rustix::fs::renameat(&self.folder, &self.hidden, &self.folder, &self.name),
        }
        .map_err(failed)?;
        rustix::fs::fsync(&self.folder).map_err(failed)?;
        self.hidden.clear();
        Ok(())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.hidden.is_empty() {
            // Nobody is left to tell; what stays is hidden and says by its name what it is.
            let _ = rustix::fs::unlinkat(&self.folder, &self.hidden, AtFlags::empty());
            let journal = [&self.hidden, &b"-journal"[..]].concat();
            let _ = rustix::fs::unlinkat(&self.folder, &journal, AtFlags::empty());
        }
    }
}

/// Fails if no file may be put there.
fn refuse(to: &Path, existing: Existing, keep_out: Option<&Path>) -> Result<()> {
    let shown = text::path(to);
    let cannot = |kind| Error::new(kind, format!("cannot write {shown}"));
    if let Some(keep_out) = keep_out.filter(|keep_out| is_within(to, keep_out)) {
        let why = format!("it lies in the repository {}", text::path(keep_out));
        return Err(cannot(Kind::Usage).why(why).fix("choose another place"));
    }
    if to.file_name().is_none() {
        return Err(cannot(Kind::Usage).why("its last component is no name for a file"));
    }
    match fs::symlink_metadata(to) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(format!("cannot write {shown}"), &e)),
        Ok(meta) if !meta.is_file() => Err(cannot(Kind::Failed)
            .why("something else than a regular file is there")
            .fix("choose another name, or write - where the data is to be printed")),
        Ok(_) if existing == Existing::Refuse => Err(taken(&shown)),
        Ok(_) => Ok(()),
    }
}

fn taken(shown: &str) -> Error {
    Error::new(Kind::Failed, format!("cannot write {shown}"))
        .why("it is there already")
        .fix("choose another name, or replace it with --overwrite")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("a");
        let left = || fs::read_dir(folder.path()).unwrap().count();
        let mut draft = Draft::create(&to, Existing::Refuse, None).unwrap();
        draft.write_all(b"one").unwrap();
        assert!(!to.exists() && draft.path().exists() && draft.place().ends_with("a"));
        draft.publish().unwrap();
        assert_eq!((fs::read(&to).unwrap().as_slice(), left()), (&b"one"[..], 1));
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = Draft::create(&to, Existing::Refuse, None).unwrap_err();
        assert!(refused.advice().contains("--overwrite"), "{refused}");
        let mut draft = Draft::create(&to, Existing::Overwrite, None).unwrap();
        draft.write_all(b"two").unwrap();
        drop(draft);
        assert_eq!((fs::read(&to).unwrap().as_slice(), left()), (&b"one"[..], 1));
        let mut draft = Draft::create(&to, Existing::Overwrite, None).unwrap();
        draft.write_all(b"two").unwrap();
        draft.publish().unwrap();
        assert_eq!((fs::read(&to).unwrap().as_slice(), left()), (&b"two"[..], 1));
    }

    #[test]
    fn what_is_made_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("a");
        let draft = Draft::create(&to, Existing::Refuse, None).unwrap();
        fs::write(&to, "theirs").unwrap();
        assert_eq!(draft.publish().unwrap_err().kind(), Kind::Failed);
        assert_eq!(fs::read(&to).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_long_name_leaves_room_for_a_journal() {
        let folder = tempfile::tempdir().unwrap();
        let draft = Draft::create(&folder.path().join("n".repeat(255)), Existing::Refuse, None).unwrap();
        assert!(draft.path().file_name().unwrap().len() + "-journal".len() <= 255);
        draft.publish().unwrap();
    }

    #[test]
    fn devices_links_and_the_repository_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        for to in [Path::new("/dev/null"), &link, folder.path(), Path::new("/")] {
            Draft::create(to, Existing::Overwrite, None).unwrap_err();
        }
        let inside = Draft::create(&folder.path().join("x"), Existing::Refuse, Some(folder.path())).unwrap_err();
        assert_eq!(inside.kind(), Kind::Usage);
    }
}
