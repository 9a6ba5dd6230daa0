//! One file being written.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::metadata::{Handle, Metadata};
use super::tree::{self, Spot};
use super::{Shared, cannot_create};
use crate::entry;
use crate::error::{Error, Kind, Result};
use crate::text;

/// A regular file being written. Dropped without [`FileWriter::finish`], it is removed.
#[derive(Debug)]
pub struct FileWriter {
    file: File,
    size: u64,
    /// Where the part that ends last ends.
    end: AtomicU64,
    metadata: Metadata,
    directory: Arc<OwnedFd>,
    path: Vec<u8>,
    /// The name that it has now.
    name: Vec<u8>,
    shared: Arc<Shared>,
    is_finished: bool,
}

impl FileWriter {
    pub(super) fn create(spot: Spot<'_>, size: u64, metadata: Metadata, shared: Arc<Shared>) -> Result<Self> {
        let name = if shared.in_place { shared.hidden_name() } else { spot.name.to_vec() };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*spot.directory, &name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| cannot_create(spot.path, e))?;
        shared.writing.fetch_add(1, Ordering::Relaxed);
        let (directory, path) = (spot.directory, spot.path.to_vec());
        Ok(Self {
            file: file.into(),
            size,
            end: AtomicU64::new(0),
            metadata,
            directory,
            path,
            name,
            shared,
            is_finished: false,
        })
    }

    /// Writes a part of the content; parts may come from several threads.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.size || end == u64::MAX {
            let why = format!("{} bytes at {offset} go beyond its size, {}", bytes.len(), self.size);
            return Err(Error::new(Kind::Damage, self.cannot_write()).why(why));
        }
        self.file.write_all_at(bytes, offset).map_err(|e| Error::io(self.cannot_write(), &e))?;
        self.end.fetch_max(end, Ordering::Relaxed);
        Ok(())
    }

    /// Gives the file its size and metadata, and its name. It lasts through a power cut once the whole folder is
    /// finished, but what it replaces is never lost before.
    pub fn finish(mut self) -> Result<()> {
        if *self.end.get_mut() < self.size {
            self.file.set_len(self.size).map_err(|e| Error::io(self.cannot_write(), &e))?;
        }
        self.shared.apply(&Handle::Open(self.file.as_fd()), &self.path, &self.metadata, entry::Kind::File);
        if self.shared.in_place {
            self.replace()?;
        }
        self.is_finished = true;
        self.shared.tally().report.files += 1;
        Ok(())
    }

    fn replace(&self) -> Result<()> {
        let name = self.path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let spot = Spot { directory: Arc::clone(&self.directory), name, path: &self.path };
        if tree::is_taken(&spot) {
            self.file.sync_data().map_err(|e| Error::io(self.cannot_write(), &e))?;
        }
        tree::replace(&spot, &self.name)
    }

    fn cannot_write(&self) -> String {
        format!("cannot write {}", text::escape(&self.path))
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = rustix::fs::unlinkat(&*self.directory, &self.name, AtFlags::empty());
        }
        self.shared.writing.fetch_sub(1, Ordering::Release);
    }
}
