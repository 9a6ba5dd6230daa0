//! One file being written.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::metadata::{Handle, Metadata};
use super::tree::{self, Spot};
use super::{Shared, cannot_create};
use crate::entry;
use crate::error::{Error, Kind, Result};
use crate::target::sqlite::{Quiet, SetAside};
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
    /// A database, before which another one gives way under a name with this time in it.
    aside: Option<String>,
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
            aside: None,
        })
    }

    pub(super) fn setting_aside(mut self, time: &str) -> Self {
        self.aside = Some(time.to_owned());
        self
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
        let _quiet = match &self.aside {
            Some(time) => self.give_way(name, time)?,
            None => None,
        };
        tree::replace(&spot, &self.name)
    }

    /// Sets aside what is there of a database, while nobody uses it.
    fn give_way(&self, name: &[u8], time: &str) -> Result<Option<Quiet>> {
        // By the handle of its folder: what leads there may have changed.
        let folder = format!("/proc/self/fd/{}", self.directory.as_raw_fd());
        let database = Path::new(&folder).join(OsStr::from_bytes(name));
        let there = match database.symlink_metadata() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            other => Some(other.map_err(|e| Error::io(self.cannot_write(), &e))?),
        };
        let failed = |e: Error| {
            let why = if e.reason().is_empty() { e.what().to_owned() } else { e.reason().to_owned() };
            let fix = e.advice().to_owned();
            let what = format!("cannot replace the database {}", text::escape(&self.path));
            Error::new(Kind::Failed, what).why(why).fix(fix)
        };
        let quiet = match there {
            Some(there) if there.is_file() => Some(Quiet::hold(&database).map_err(failed)?),
            // The engine looks for a log beside what a link leads to, not beside the link.
            Some(_) => return Ok(None),
            None => None,
        };
        let plan = SetAside::plan(&database, time).map_err(failed)?;
        plan.run().map_err(failed)?;
        for (_, aside) in plan.moved() {
            let aside = aside.file_name().unwrap_or_default().as_bytes();
            self.shared.tally().warn(&self.path, &format!("what was there is now called {}", text::escape(aside)));
        }
        Ok(quiet)
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
