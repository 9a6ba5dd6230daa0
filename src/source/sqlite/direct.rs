//! Pages read from the file itself, past the engine, which would read them one by one and leave all of them in the host's
//! page cache.
//!
//! A page of a state that a transaction holds is in the file, unless the log has a version of it. Nobody changes it there
//! meanwhile: without a log, the transaction's lock keeps writers out, and what is appended to a log later than it began
//! is not written back before it ends (<https://www.sqlite.org/walformat.html>, "Checkpoints").

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Flock, FlockType};

use super::page::LOCK_BYTE;
use super::spool::RUN_BYTES;
use crate::spare;

const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// What a log begins with; the last bit tells how its sums are made.
const LOG_MAGIC: u32 = 0x377f_0682;

/// The file of a database whose state is held. It must be opened before the engine has locks on it, and closed after
/// they are gone: closing it drops them.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    /// The pages that may have to come from the log, in order. `None`: all of them.
    logged: Option<Vec<u32>>,
}

impl Direct {
    /// Nothing can be read from the file until it is known which pages the log has.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, logged: None })
    }

    /// Takes the pages for which the log, if it is there, has versions, now that the state is held. It is not looked at
    /// where the path names another file by now.
    pub fn hold(&mut self, path: &Path, log: Option<&Path>, page_bytes: u32) -> io::Result<()> {
        let (is, was) = (std::fs::metadata(path)?, self.file.metadata()?);
        if (is.dev(), is.ino()) == (was.dev(), was.ino()) {
            self.logged = log.map_or(Ok(Some(Vec::new())), |log| pages_in(log, page_bytes))?;
        }
        Ok(())
    }

    /// How many pages from this one on are in the file; more than there are, if all are.
    pub fn run(&self, page: u32) -> u32 {
        let Some(logged) = &self.logged else { return 0 };
        let next = logged.partition_point(|logged| *logged < page);
        logged.get(next).map_or(u32::MAX, |next| next - page)
    }

    pub fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        spare::read_exact_at(&self.file, buffer, offset)
    }

    /// How long the file is. Where the log has pages, that says nothing, and is not told.
    pub fn bytes(&self) -> Option<u64> {
        self.logged.as_ref().filter(|logged| logged.is_empty())?;
        self.file.metadata().ok().map(|meta| meta.len())
    }

    /// Whether there is anything but zeros in this part of the file.
    pub fn has_content(&self, mut part: Range<u64>) -> io::Result<bool> {
        let mut run = vec![0; RUN_BYTES.min((part.end - part.start) as usize)];
        while !part.is_empty() {
            let len = run.len().min((part.end - part.start) as usize);
            spare::read_exact_at(&self.file, &mut run[..len], part.start)?;
            if run[..len].iter().any(|byte| *byte != 0) {
                return Ok(true);
            }
            part.start += len as u64;
        }
        Ok(false)
    }

    /// Whether another process is about to write, and has to wait, as far as can be told.
    pub fn is_awaited(&self) -> bool {
        // By the file format's locks: writers lock the second of these bytes, and the first when they wait for readers.
        let mut lock = Flock::from(FlockType::ReadLock);
        (lock.start, lock.length) = (LOCK_BYTE, 2);
        rustix::process::fcntl_getlk(&self.file, &lock).ok().flatten().is_some()
    }
}

/// The pages for which a log has frames, those of later transactions included. What earlier rounds left in it is in the
/// file: a log begins anew only when no reader needs what it has. `None`: what is there is no log of such pages.
fn pages_in(log: &Path, page_bytes: u32) -> io::Result<Option<Vec<u32>>> {
    let file = match File::open(log) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Some(Vec::new())),
        other => other?,
    };
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        return Ok(Some(Vec::new()));
    }
    let mut header = [0; LOG_HEADER_BYTES];
    if bytes < header.len() as u64 {
        return Ok(None);
    }
    spare::read_exact_at(&file, &mut header, 0)?;
    if get_u32(&header, 0) & !1 != LOG_MAGIC || get_u32(&header, 8) != page_bytes {
        return Ok(None);
    }
    let frame_bytes = FRAME_HEADER_BYTES + page_bytes as usize;
    let frames = (bytes - LOG_HEADER_BYTES as u64) / frame_bytes as u64;
    let mut run = vec![0; (RUN_BYTES / frame_bytes * frame_bytes).min(frames as usize * frame_bytes)];
    let (mut pages, mut at) = (Vec::new(), LOG_HEADER_BYTES as u64);
    let end = at + frames * frame_bytes as u64;
    while at < end {
        let part = (end - at).min(run.len() as u64) as usize;
        spare::read_exact_at(&file, &mut run[..part], at)?;
        let of_this_round = run[..part].chunks_exact(frame_bytes).filter(|frame| frame[8..16] == header[16..24]);
        pages.extend(of_this_round.map(|frame| get_u32(frame, 0)));
        at += part as u64;
    }
    pages.sort_unstable();
    pages.dedup();
    Ok(Some(pages))
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(pages: &[u32], page_bytes: u32) -> Vec<u8> {
        let mut bytes = vec![0; LOG_HEADER_BYTES];
        bytes[..4].copy_from_slice(&(LOG_MAGIC | 1).to_be_bytes());
        bytes[8..12].copy_from_slice(&page_bytes.to_be_bytes());
        bytes[16..24].fill(0xff);
        for page in pages {
            let mut frame = vec![0xff; FRAME_HEADER_BYTES + page_bytes as usize];
            frame[..4].copy_from_slice(&page.to_be_bytes());
            bytes.extend(frame);
        }
        bytes
    }

    #[test]
    fn a_log_tells_the_pages_that_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db-wal");
        let pages = || pages_in(&path, 512).unwrap();
        assert_eq!(pages(), Some(Vec::new()));
        let many: Vec<u32> = (1..=5000).rev().collect();
        for (bytes, expected) in [
            (Vec::new(), Some(Vec::new())),
            (log(&[], 512), Some(Vec::new())),
            (log(&[9, 2, 9, 3], 512), Some(vec![2, 3, 9])),
            (log(&many, 512), Some((1..=5000).collect())),
            // A frame of which not all is there cannot be of a transaction that has ended.
            (log(&[9, 2], 512)[..32 + 536 + 535].to_vec(), Some(vec![9])),
            (log(&[9], 1024), None),
            // Left by an earlier round.
            ([log(&[9], 512), vec![0; 536], log(&[4], 512)[32..].to_vec()].concat(), Some(vec![4, 9])),
            (vec![0; 4096], None),
            (b"short".to_vec(), None),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(pages(), expected);
        }
    }

    #[test]
    fn runs_end_before_pages_that_the_log_has() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let direct = |logged| Direct { file: file.reopen().unwrap(), logged };
        assert_eq!(direct(None).run(1), 0);
        assert_eq!(direct(Some(Vec::new())).run(7), u32::MAX);
        let some = direct(Some(vec![3, 4, 9]));
        assert_eq!([1, 2, 3, 4, 5, 9, 10].map(|page| some.run(page)), [2, 1, 0, 0, 4, 0, u32::MAX]);
    }
}
