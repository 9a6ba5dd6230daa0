//! One open file, read.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::{Failure, Stat, stat, xattr};
use crate::entry::{Extent, Xattr};
use crate::spare;

/// The most extents that are told apart in one file; the rest of the file counts as data.
pub const EXTENTS_MAX: usize = 1 << 16;

/// A regular file, open for reading.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    stat: Stat,
    path: Vec<u8>,
}

impl OpenFile {
    pub(super) fn new(file: OwnedFd, stat: Stat, path: Vec<u8>) -> Self {
        Self { file: file.into(), stat, path }
    }

    /// What it was when it was opened.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// The parts that hold data, ascending, not touching, below the size in [`Self::stat`]; `None`: all of it. The
    /// system is asked only when the file takes less space than its size.
    pub fn extents(&self) -> Result<Option<Vec<Extent>>, Failure> {
        if self.stat.blocks.saturating_mul(512) >= self.stat.size {
            return Ok(None);
        }
        let extents = match self.data_extents() {
            // The file system, or this kind of file, cannot tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(None),
            other => other.map_err(|errno| Failure::system(&self.path, "its holes cannot be found", errno))?,
        };
        let dense = [Extent { offset: 0, len: self.stat.size }];
        Ok((extents != dense).then_some(extents))
    }

    fn data_extents(&self) -> rustix::io::Result<Vec<Extent>> {
        let size = self.stat.size;
        let mut extents = Vec::new();
        let mut at = 0;
        while at < size {
            let offset = match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
                Ok(offset) if offset < size => offset,
                Ok(_) | Err(Errno::NXIO) => break,
                Err(errno) => return Err(errno),
            };
            let end = if extents.len() + 1 < EXTENTS_MAX { self.data_end(offset)?.min(size) } else { size };
            extents.push(Extent { offset, len: end - offset });
            at = end;
        }
        Ok(extents)
    }

    fn data_end(&self, offset: u64) -> rustix::io::Result<u64> {
        match rustix::fs::seek(&self.file, SeekFrom::Hole(offset)) {
            // A file that was cut meanwhile; reading will tell.
            Err(Errno::NXIO) => Ok(self.stat.size),
            Ok(end) => Ok(end.max(offset + 1)),
            Err(errno) => Err(errno),
        }
    }

    /// Fills `buffer` from `offset` on; less comes only at the end of the file. Returns how many bytes came.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let mut done = 0;
        while done < buffer.len() {
            match spare::read_at(&self.file, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(len) => {
                    done += len;
                    // The end, unless the file grew since, which `changed` tells: no need to ask for it once more.
                    if offset + done as u64 == self.stat.size {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.unreadable(&e, offset + done as u64)),
            }
        }
        Ok(done)
    }

    fn unreadable(&self, error: &std::io::Error, offset: u64) -> Failure {
        let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
        Failure::system(&self.path, &format!("cannot be read at byte {offset}"), errno)
    }

    /// Extended attributes, sorted by name.
    pub fn xattrs(&self) -> Result<Vec<Xattr>, Failure> {
        xattr::of_open(&self.file).map_err(|e| Failure::system(&self.path, "its attributes cannot be read", e))
    }

    /// What changed since it was opened, in a word for people; `None`: nothing did. What was read in between is one
    /// state of the file only if nothing did.
    pub fn changed(&self) -> Result<Option<&'static str>, Failure> {
        let now = stat::of_handle(&self.file)
            .map_err(|errno| Failure::system(&self.path, "cannot be looked up", errno))?
            .ok_or_else(|| Failure::replaced(&self.path))?;
        Ok(if now.size != self.stat.size {
            Some("size")
        } else if now.mtime != self.stat.mtime {
            Some("content")
        } else if now.ctime != self.stat.ctime {
            Some("metadata")
        } else {
            None
        })
    }
}

/// Opens without following a link, without waiting for anything, and without a trace in the access time if the system
/// allows that.
pub(super) fn for_reading(dir: impl AsFd, name: &[u8], more: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
    match rustix::fs::openat(&dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may ask for it.
        Err(Errno::PERM) => rustix::fs::openat(&dir, name, flags, Mode::empty()),
        other => other,
    }
}
