//! A big object on its way past the page cache (`O_DIRECT`): the host's hot pages stay where they are, and the kernel
//! copies nothing. What cannot be written so, a last part of a block, or everything on a
//! file system that knows no direct writes, is written the usual way, and dropped from the cache when it is flushed.

use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};

use super::super::{Key, Result};
use super::draft::Draft;

/// Direct writes begin, end and lie in memory at multiples of this: a page, and no disk has bigger blocks than that.
const ALIGN: usize = 4096;
/// Bytes gathered for one write.
const BUFFER_BYTES: usize = 1 << 20;

/// What writers gathered in that are done: large buffers that come and go leave holes in memory.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        let kept = self.0.lock().ok().and_then(|mut kept| kept.pop());
        kept.unwrap_or_else(|| vec![0; BUFFER_BYTES + ALIGN])
    }

    fn give_back(&self, buffer: Vec<u8>) {
        if let Ok(mut kept) = self.0.lock() {
            kept.push(buffer);
        }
    }
}

pub(super) struct DirectWriter {
    draft: Draft,
    buffers: Arc<Buffers>,
    buffer: Vec<u8>,
    /// Where in the buffer its aligned part begins.
    start: usize,
    filled: usize,
    /// Where in the file the buffer goes.
    offset: u64,
    direct: bool,
}

impl DirectWriter {
    pub fn new(draft: Draft, buffers: Arc<Buffers>) -> Self {
        let buffer = buffers.take();
        // At worst it is not aligned, and the first write says so.
        let start = buffer.as_ptr().align_offset(ALIGN).min(ALIGN);
        let mut new = Self { draft, buffers, buffer, start, filled: 0, offset: 0, direct: false };
        new.direct = new.set_direct(true).is_ok();
        new
    }

    fn set_direct(&mut self, on: bool) -> rustix::io::Result<()> {
        let flags = fcntl_getfl(self.draft.file())?;
        let flags = if on { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT };
        fcntl_setfl(self.draft.file(), flags)
    }

    fn write_out(&mut self, len: usize) -> io::Result<()> {
        let result = match self.write_at(len) {
            // Some file systems say only now that they cannot.
            Err(e) if self.direct && e.kind() == io::ErrorKind::InvalidInput => {
                self.direct = false;
                self.set_direct(false)?;
                self.write_at(len)
            }
            other => other,
        };
        self.offset += len as u64;
        result
    }

    fn write_at(&self, len: usize) -> io::Result<()> {
        self.draft.file().write_all_at(&self.buffer[self.start..self.start + len], self.offset)
    }

    /// Writes what is left, flushes, and gives it its name.
    pub fn publish(mut self, key: &Key) -> io::Result<Result<()>> {
        let whole = self.filled / ALIGN * ALIGN;
        if self.direct && whole > 0 {
            self.write_out(whole)?;
            self.buffer.copy_within(self.start + whole..self.start + self.filled, self.start);
            self.filled -= whole;
        }
        if std::mem::take(&mut self.direct) {
            self.set_direct(false)?;
        }
        if self.filled > 0 {
            self.write_out(self.filled)?;
        }
        self.buffers.give_back(self.buffer);
        let file = self.draft.file().try_clone();
        let published = self.draft.publish(key);
        if let Ok(file) = file {
            // Only advice.
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
        Ok(published)
    }
}

impl Write for DirectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filled == BUFFER_BYTES {
            self.write_out(BUFFER_BYTES)?;
            self.filled = 0;
        }
        let len = bytes.len().min(BUFFER_BYTES - self.filled);
        let at = self.start + self.filled;
        self.buffer[at..at + len].copy_from_slice(&bytes[..len]);
        self.filled += len;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
