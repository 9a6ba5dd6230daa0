//! A database that is open for reading.

use std::cell::RefCell;

use super::facts::{self, Facts, Journal};
use super::failure::Failure;
use super::header::{Encoding, HEADER_BYTES, Header, sniff};
use super::open::Opening;
use super::place::{Place, Promise};
use super::scan::Scan;
use super::snapshot::Snapshot;
use super::spool::{Folder, RUN_BYTES};
use super::{FailureKind, Options, Way};
use crate::event::Cancel;

/// So many times as fast as reading, which waits for what is done with the bytes.
const COPYING_IS_FASTER: u64 = 4;

/// One state of a database. For one thread at a time.
///
/// What is read counts only when [`Self::finish`] has said so.
#[derive(Debug)]
pub struct Reading {
    place: Place,
    way: Way,
    promise: Promise,
    snapshot: Snapshot,
    window: RefCell<Window>,
    bytes_behind: u64,
    /// After the connection, which has files open in it.
    _folder: Option<Folder>,
}

/// The pages that were read last.
#[derive(Debug, Default)]
struct Window {
    offset: u64,
    bytes: Vec<u8>,
}

impl Reading {
    pub(super) fn new(
        place: &Place,
        snapshot: Snapshot,
        way: Way,
        promise: Promise,
        folder: Option<Folder>,
    ) -> Result<Self, Failure> {
        let place = place.clone();
        let window = RefCell::default();
        let reading = Self { place, way, promise, snapshot, window, bytes_behind: 0, _folder: folder };
        reading.header()?;
        Ok(reading)
    }

    /// How long the image is: its pages times their size. 0 for an empty database.
    pub fn bytes(&self) -> u64 {
        self.snapshot.bytes()
    }

    /// How many bytes lie in its file behind its last page, if any of them is not zero. The engine never reads them, and they
    /// are no part of the image.
    pub fn bytes_behind(&self) -> u64 {
        self.bytes_behind
    }

    pub(super) fn with_bytes_behind(self, bytes_behind: u64) -> Self {
        Self { bytes_behind, ..self }
    }

    /// How the database is read.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Fills `buffer` from `offset` on; less comes only at the end of the image. Returns how many bytes came.
    ///
    /// Meant for reading onwards: what is asked for in small parts is read in runs of a mebibyte, a large part at once.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let len = self.bytes().saturating_sub(offset).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..len];
        self.read_pages(offset, buffer)?;
        Ok(len)
    }

    fn read_pages(&self, mut offset: u64, mut buffer: &mut [u8]) -> Result<(), Failure> {
        let page_bytes = self.snapshot.page_bytes as usize;
        while !buffer.is_empty() {
            let whole = buffer.len() / page_bytes * page_bytes;
            let done = if whole >= RUN_BYTES && offset.is_multiple_of(page_bytes as u64) {
                self.read_run(offset, &mut buffer[..whole])?;
                whole
            } else {
                self.read_window(offset, buffer)?
            };
            buffer = &mut buffer[done..];
            offset += done as u64;
        }
        Ok(())
    }

    /// As much as one window gives, at least a byte. `offset` lies in the image.
    fn read_window(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let mut window = self.window.borrow_mut();
        let Window { offset: start, bytes } = &mut *window;
        if !(*start..*start + bytes.len() as u64).contains(&offset) {
            let first = offset - offset % u64::from(self.snapshot.page_bytes);
            let len = (self.bytes() - first).min(RUN_BYTES as u64) as usize;
            // Should it fail, nothing is in the window.
            let mut run = std::mem::take(bytes);
            run.resize(len, 0);
            self.read_run(first, &mut run)?;
            (*start, *bytes) = (first, run);
        }
        let from = &bytes[(offset - *start) as usize..];
        let len = from.len().min(buffer.len());
        buffer[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }

    /// Whole pages from the page that begins at `offset`.
    fn read_run(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Failure> {
        let first = (offset / u64::from(self.snapshot.page_bytes)) as u32 + 1;
        self.snapshot.read_pages(first, buffer).map_err(|e| self.failed(&e))
    }

    /// Makes way for those who wait to write: what is held goes into a private copy, from which it is read on. Unless it
    /// has a log, so that nobody waits, or little is left to be read from `at` on.
    pub fn make_way(&mut self, at: u64, options: &Options, cancel: &Cancel) -> Result<(), Failure> {
        let left = self.bytes().saturating_sub(at);
        let takes_long = left >= options.spool_bytes_min.max(self.bytes() / COPYING_IS_FASTER);
        let may_wait = self.way == Way::Live && matches!(self.promise, Promise::SameContent(_));
        if may_wait && takes_long && self.snapshot.is_awaited() {
            self.copy(options, cancel)?;
        }
        Ok(())
    }

    pub(super) fn copy(&mut self, options: &Options, cancel: &Cancel) -> Result<(), Failure> {
        let opening = Opening { options, cancel, has_pages: true };
        let copied = opening.copy(&self.place, &self.snapshot, &self.promise)?;
        *self = copied.with_bytes_behind(self.bytes_behind);
        Ok(())
    }

    /// A scan, which is to look at all of its pages. `None`: of this database it could not tell anything.
    pub fn scan(&self) -> Result<Option<Scan>, Failure> {
        let mut first = [0; HEADER_BYTES];
        let len = self.read_at(0, &mut first)?;
        let Some(mut scan) = Scan::new(&first[..len], self.snapshot.pages) else { return Ok(None) };
        let read = |page, bytes: &mut [u8]| self.snapshot.read_pages(page, bytes).map_err(|e| self.failed(&e));
        scan.free_list(read)?;
        scan.roots(facts::roots(&self.snapshot.connection).ok().as_deref());
        Ok(Some(scan))
    }

    /// Tells the facts, and gives the database back. Only now is it known that the image is one state: an error here
    /// means that what was read must not be used.
    ///
    /// Rows are counted, which reads the smallest index of each table once more, unless a scan counts them: see
    /// [`Facts::count`].
    pub fn finish(self, scan: Option<&Scan>) -> Result<Facts, Failure> {
        let header = self.header()?;
        let counts = facts::counts(&self.snapshot.connection, scan.is_some_and(Scan::counts));
        let facts = Facts {
            page_bytes: self.snapshot.page_bytes,
            pages: self.snapshot.pages,
            journal: if header.is_some_and(|header| header.is_wal) { Journal::Wal } else { Journal::Rollback },
            user_version: header.map_or(0, |header| header.user_version),
            application_id: header.map_or(0, |header| header.application_id),
            encoding: header.map_or(Encoding::Utf8, |header| header.encoding),
            schema: facts::schema(&self.snapshot.connection),
            tables: counts.tables,
            uncounted: counts.uncounted,
            left: counts.left,
            tables_more: counts.more,
        };
        self.snapshot.check().map_err(|e| self.failed(&e))?;
        self.promise.check(&self.place)?;
        self.snapshot.end().map_err(|e| self.failed(&e))?;
        Ok(facts)
    }

    /// What the image begins with; `None`: it is empty.
    fn header(&self) -> Result<Option<Header>, Failure> {
        let mut first = [0; HEADER_BYTES];
        if self.read_at(0, &mut first)? == 0 {
            return Ok(None);
        }
        match sniff(&first) {
            Some(header) if header.page_bytes == self.snapshot.page_bytes => Ok(Some(header)),
            _ => Err(Failure::of(FailureKind::Corrupt, &self.place.shown, "its first page is not that of a database")),
        }
    }

    fn failed(&self, error: &rusqlite::Error) -> Failure {
        Failure::engine(&self.place.shown, error)
    }
}
