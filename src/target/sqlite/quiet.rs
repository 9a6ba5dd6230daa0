//! That nobody uses a database, as far as one can know.

use std::fs::{self, File, Metadata};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Kind, Result};
use crate::text;

/// How long to wait for a lock, and how often to ask.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(25);

/// A process that has the file open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub pid: i64,
    /// Its program, safe to print; empty where the system does not tell.
    pub program: String,
}

/// A database that nobody else uses while this lives.
///
/// The lock covers all bytes, and so those on which every SQLite puts its locks: whoever has read a database in WAL mode
/// holds one until closing it, others during their transactions. Taking it reads and writes nothing; a connection of
/// the engine would undo an interrupted transaction, or leave a log behind. Programs that have the database open without
/// a lock are looked for by their open files; those of other users only root can see.
#[derive(Debug)]
pub struct Quiet {
    locked: File,
}

impl Quiet {
    /// Fails, and names who uses the database, if somebody does.
    pub fn hold(database: &Path) -> Result<Self> {
        let cannot = |e: std::io::Error| Error::io(format!("cannot lock {}", text::path(database)), &e);
        // Opening the file and closing it again would take the locks of this process away.
        refuse_used(database, None)?;
        let file = File::options().read(true).write(true).open(database).map_err(cannot)?;
        let mut waited = Duration::ZERO;
        loop {
            match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::AGAIN | Errno::ACCESS) if waited < PATIENCE => {
                    std::thread::sleep(PAUSE);
                    waited += PAUSE;
                }
                Err(Errno::AGAIN | Errno::ACCESS) => return Err(used(database, &[])),
                Err(e) => return Err(cannot(e.into())),
            }
        }
        refuse_used(database, Some(&file))?;
        Ok(Self { locked: file })
    }

    /// Who has opened the file since the lock was taken, in words. Nobody can read or write it yet.
    pub fn latecomers(&self) -> Option<String> {
        let meta = self.locked.metadata().ok()?;
        let users = users(&meta, Some(&self.locked));
        (!users.is_empty()).then(|| in_words(&users))
    }

    /// Fails if somebody has the database open, without taking a lock.
    pub fn look(database: &Path) -> Result<()> {
        refuse_used(database, None)
    }
}

fn refuse_used(database: &Path, ours: Option<&File>) -> Result<()> {
    let meta = fs::metadata(database).map_err(|e| Error::io(format!("cannot look at {}", text::path(database)), &e))?;
    let users = users(&meta, ours);
    if users.is_empty() { Ok(()) } else { Err(used(database, &users)) }
}

fn used(database: &Path, users: &[User]) -> Error {
    let why = match users {
        [] => "another program keeps a lock on it".to_owned(),
        users => format!("it is open in {}", in_words(users)),
    };
    Error::new(Kind::Busy, format!("the database {} is in use", text::path(database)))
        .why(why)
        .fix("stop that program, run this again, and start it afterwards")
}

fn in_words(users: &[User]) -> String {
    let name = |user: &User| match user.program.as_str() {
        "" => format!("process {}", user.pid),
        program => format!("process {} ({program})", user.pid),
    };
    users.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// The processes that have the file open, as far as they can be seen; `ours` does not count.
fn users(meta: &Metadata, ours: Option<&File>) -> Vec<User> {
    let me = std::process::id().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut out = Vec::new();
    for process in processes.map(|entry| entry.path()) {
        let Some(pid) = process.file_name().and_then(|name| name.to_str()) else { continue };
        let Ok(number) = pid.parse::<i64>() else { continue };
        let ours = ours.filter(|_| pid == me).map(|file| process.join("fd").join(file.as_raw_fd().to_string()));
        let handles = fs::read_dir(process.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
        if handles.filter(|handle| Some(handle) != ours.as_ref()).any(|handle| is_same_file(&handle, meta)) {
            let program = fs::read(process.join("comm")).unwrap_or_default();
            out.push(User { pid: number, program: text::escape(program.trim_ascii()) });
        }
    }
    out
}

fn is_same_file(handle: &PathBuf, meta: &Metadata) -> bool {
    // Sockets and pipes have no path.
    let is_path = fs::read_link(handle).is_ok_and(|to| to.is_absolute());
    is_path && fs::metadata(handle).is_ok_and(|open| (open.dev(), open.ino()) == (meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_is_seen_and_named_and_our_own_handle_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        fs::write(&path, "x").unwrap();
        drop(Quiet::hold(&path).unwrap());
        let open = File::open(&path).unwrap();
        let error = Quiet::hold(&path).unwrap_err();
        assert!(error.kind() == Kind::Busy && error.reason().contains(&std::process::id().to_string()), "{error}");
        assert_eq!(Quiet::look(&path).unwrap_err(), error);
        drop(open);
        let held = Quiet::hold(&path).unwrap();
        assert_eq!(held.latecomers(), None);
        let late = File::open(&path).unwrap();
        assert!(held.latecomers().unwrap().starts_with("process "));
        assert!(Quiet::hold(&path).is_err());
        drop((held, late));
        Quiet::hold(&path).unwrap();
        assert_eq!(Quiet::hold(&folder.path().join("none")).unwrap_err().kind(), Kind::Missing);
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }
}
