//! Where a database lies, and whether what lies there is still the same.
//!
//! Nothing here opens the database file: closing any handle of it would take away the locks that the engine holds on it
//! in this process. The one exception, [`Place::peek`], comes before the engine has any.

use std::fs::{self, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::failure::{Failure, FailureKind};
use super::header::{HEADER_BYTES, Header, sniff};
use super::{SIDE_FILES, locks};
use crate::error::{Error, Kind, io_kind};
use crate::text;

/// The longest path that the engine takes, with room for the names of its files beside the database.
const PATH_BYTES_MAX: usize = 500;

/// File systems whose files live on another machine, by the numbers of linux/magic.h.
const NETWORKS: [(u64, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
];

/// A database file, links resolved.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub real: PathBuf,
    /// The path as the user named it, for messages.
    pub shown: String,
    pub stamp: Stamp,
    uid: u32,
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub dev: u64,
    pub ino: u64,
    pub size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    fn new(meta: &Metadata) -> Self {
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            ctime: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// Nobody wrote to it. Its name, owner and mode may be others.
    pub fn is_same_content(&self, other: &Self) -> bool {
        self.is_same_file(other) && (self.size, self.mtime) == (other.size, other.mtime)
    }
}

/// A database and what lies beside it, by the order of [`SIDE_FILES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    pub main: Stamp,
    pub side: [Option<Stamp>; 3],
}

impl Stamps {
    /// Whether nobody wrote. Not by the change time of what lies beside the database, which the engine itself moves: where
    /// root looks, it gives that to the database's owner.
    fn is_untouched(&self, before: &Self) -> bool {
        let is_same = |(now, before): (&Option<Stamp>, &Option<Stamp>)| match (now, before) {
            (Some(now), Some(before)) => now.is_same_content(before),
            (now, before) => now.is_none() && before.is_none(),
        };
        self.main == before.main && self.side.iter().zip(&before.side).all(is_same)
    }
}

/// What must still be true at the end for an image to be one state.
#[derive(Clone, Copy, Debug)]
pub(super) enum Promise {
    /// The path names the same file.
    SameFile(Stamp),
    /// Also, nobody wrote to it.
    SameContent(Stamp),
    /// Nobody touched it, nor the files beside it.
    Untouched(Stamps),
    /// Nobody else can change it.
    Own,
}

impl Promise {
    /// Whether it is kept.
    pub fn check(&self, place: &Place) -> Result<(), Failure> {
        let main = match self {
            Promise::Own => return Ok(()),
            Promise::SameFile(main) | Promise::SameContent(main) => main,
            Promise::Untouched(stamps) => &stamps.main,
        };
        let now = place.stamps()?;
        let is_kept = match self {
            Promise::Own | Promise::SameFile(_) => true,
            Promise::SameContent(main) => now.main.is_same_content(main),
            Promise::Untouched(stamps) => now.is_untouched(stamps),
        };
        match now.main.is_same_file(main) {
            true if is_kept => Ok(()),
            true => Err(place.changed()),
            false => Err(place.replaced()),
        }
    }
}

impl Place {
    pub fn find(path: &Path) -> Result<Self, Failure> {
        let shown = text::path(path);
        let failed = |e: std::io::Error| unreadable(&shown, &e);
        // The engine looks for its log by the name of the file itself, not by that of a link to it.
        let real = fs::canonicalize(path).map_err(failed)?;
        let meta = fs::metadata(&real).map_err(failed)?;
        if !meta.is_file() {
            return Err(Failure::of(FailureKind::NotADatabase, &shown, "is not a regular file"));
        }
        if real.as_os_str().len() > PATH_BYTES_MAX {
            let why = format!("its path has more than {PATH_BYTES_MAX} bytes, which SQLite does not take");
            return Err(Failure::of(FailureKind::Unreadable, &shown, why).fix("name it by a shorter path"));
        }
        // What the engine says of this is "unable to open database file".
        if let Err(e @ Errno::ACCESS) = rustix::fs::accessat(CWD, &real, Access::READ_OK, AtFlags::EACCESS) {
            return Err(failed(e.into()));
        }
        Ok(Self { real, shown, stamp: Stamp::new(&meta), uid: meta.uid() })
    }

    /// The header as the file has it now. For the time before the engine holds any lock on it.
    pub fn peek(&self) -> Result<Option<Header>, Failure> {
        let mut first = Vec::with_capacity(HEADER_BYTES);
        fs::File::open(&self.real)
            .and_then(|file| file.take(HEADER_BYTES as u64).read_to_end(&mut first))
            .map_err(|e| self.unreadable(&e))?;
        Ok(sniff(&first))
    }

    /// The file beside the database whose name ends so.
    pub fn side(&self, ending: &str) -> PathBuf {
        beside(&self.real, ending)
    }

    pub fn stamps(&self) -> Result<Stamps, Failure> {
        let main = stamp(&self.real).map_err(|e| self.unreadable(&e))?.ok_or_else(|| self.replaced())?;
        let mut side = [None; 3];
        for (place, ending) in side.iter_mut().zip(SIDE_FILES) {
            *place = stamp(&self.side(ending)).map_err(|e| self.unreadable(&e))?;
        }
        Ok(Stamps { main, side })
    }

    /// The network that the file lies on, if it does.
    pub fn network(&self) -> Option<&'static str> {
        // Some architectures have the number signed, of 32 bits.
        network_name((rustix::fs::statfs(&self.real).ok()?.f_type as u64) & 0xffff_ffff)
    }

    /// Whether the engine, to read a database with a log, would create files beside it that its owner could not use.
    pub fn would_get_strange_files(&self) -> bool {
        let me = rustix::process::geteuid();
        let folder = self.real.parent().unwrap_or(Path::new("/"));
        !me.is_root()
            && me.as_raw() != self.uid
            && ["-wal", "-shm"].iter().any(|ending| !self.side(ending).exists())
            && rustix::fs::accessat(CWD, folder, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
    }

    pub fn unreadable(&self, error: &std::io::Error) -> Failure {
        unreadable(&self.shown, error)
    }

    pub fn replaced(&self) -> Failure {
        Failure::of(FailureKind::Changed, &self.shown, "another file took its place while it was read")
            .fix("try again when nobody replaces it")
    }

    pub fn changed(&self) -> Failure {
        Failure::of(FailureKind::Changed, &self.shown, "it was written past its locks while it was read")
            .fix("try again, or stop the program that writes it")
    }

    /// Who has locks on the file, as far as the system tells.
    pub fn holders(&self) -> Vec<i64> {
        let table = fs::read("/proc/locks").unwrap_or_default();
        locks::holders(&table, self.stamp.dev, self.stamp.ino)
    }
}

pub(super) fn network_name(number: u64) -> Option<&'static str> {
    NETWORKS.iter().find(|(magic, _)| *magic == number).map(|(_, name)| *name)
}

/// The file beside a database whose name ends so.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn stamp(path: &Path) -> std::io::Result<Option<Stamp>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(Stamp::new(&meta))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn unreadable(shown: &str, error: &std::io::Error) -> Failure {
    match io_kind(error) {
        Kind::Exhausted => {
            Failure::new(FailureKind::Unreadable, Error::io(format!("cannot read the database {shown}"), error))
        }
        Kind::Missing => Failure::of(FailureKind::Missing, shown, error),
        _ => Failure::of(FailureKind::Unreadable, shown, error),
    }
}

/// The path as the engine takes it: `file:` and what follows, with everything escaped that could mean something.
pub(super) fn uri(path: &Path, options: &str) -> String {
    let mut out = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => out.push(char::from(*byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out.push('?');
    out.push_str(options);
    out
}
