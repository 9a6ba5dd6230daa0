//! How a database is opened: which way is tried when, and how long.

use std::path::Path;
use std::time::Duration;

use rusqlite::{ErrorCode, ffi};

use super::failure::{BUSY_FIX, CORRUPT_FIX, Failure, FailureKind};
use super::place::{Place, Promise, Stamp, Stamps};
use super::reading::Reading;
use super::snapshot::{self, Mode, Snapshot};
use super::spool::Folder;
use super::{Options, SIDE_FILES, Way, copy, locks};
use crate::event::Cancel;

/// How often to begin anew when the file changes where it must not.
const CHANGES_MAX: u32 = 8;
/// Pauses between attempts to get a lock: first short, in the end so long.
const PAUSE_MAX: Duration = Duration::from_millis(25);
/// Longer than a file's time may stand still while the file is written.
const SETTLE: Duration = Duration::from_millis(20);

/// Places in [`SIDE_FILES`].
const LOG: usize = 0;
const JOURNAL: usize = 2;

/// Opens a database for reading, and holds the state that it is in.
pub fn open(path: &Path, options: &Options, cancel: &Cancel) -> Result<Reading, Failure> {
    Opening { options, cancel, has_pages: snapshot::has_pages() }.open(path)
}

pub(super) struct Opening<'a> {
    pub options: &'a Options,
    pub cancel: &'a Cancel,
    pub has_pages: bool,
}

impl Opening<'_> {
    pub fn open(&self, path: &Path) -> Result<Reading, Failure> {
        let (mut waited, mut pause, mut changes) = (Duration::ZERO, Duration::from_millis(1), 0);
        loop {
            self.cancel.check()?;
            let place = Place::find(path)?;
            let failure = match self.attempt(&place) {
                Ok(reading) => return Ok(reading),
                Err(failure) => failure,
            };
            match failure.kind() {
                FailureKind::Busy if waited < self.options.busy_timeout => {
                    std::thread::sleep(pause);
                    waited += pause;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                FailureKind::Busy => return Err(self.busy(&place)),
                FailureKind::Changed if changes < CHANGES_MAX => changes += 1,
                _ => return Err(failure),
            }
        }
    }

    fn busy(&self, place: &Place) -> Failure {
        let seconds = self.options.busy_timeout.as_secs_f32();
        let why = match locks::name(&place.holders()) {
            Some(name) => format!("{name} kept it locked for {seconds} s"),
            None => format!("another program kept it locked for {seconds} s"),
        };
        Failure::of(FailureKind::Busy, &place.shown, why).fix(BUSY_FIX)
    }

    fn attempt(&self, place: &Place) -> Result<Reading, Failure> {
        let stamps = place.stamps()?;
        let network = place.network();
        // Without a log nobody has it open, and the engine would leave one behind.
        let is_alone = stamps.side[LOG].is_none() || place.would_get_strange_files();
        if (network.is_some() || is_alone) && place.peek()?.is_some_and(|header| header.is_wal) {
            return match network {
                Some(name) => Err(on_network(place, name)),
                None => self.attempt_without_locks(place, stamps),
            };
        }
        match Snapshot::hold(&place.real, Mode::InPlace) {
            Ok(snapshot) => self.attempt_in_place(place, snapshot),
            // A journal that went while the engine looked at it, since its writer committed, seems to be left behind.
            Err(e) if is_left_behind(&e) && !has_content(stamps.side[JOURNAL]) => Err(place.changed()),
            Err(e) if matches!(e.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)) => {
                self.attempt_without_locks(place, stamps)
            }
            Err(e) => Err(Failure::engine(&place.shown, &e)),
        }
    }

    fn attempt_in_place(&self, place: &Place, snapshot: Snapshot) -> Result<Reading, Failure> {
        // Only now, with the lock, does the file stand still.
        let stamp = place.stamps()?.main;
        if !stamp.is_same_file(&place.stamp) {
            return Err(place.replaced());
        }
        check_empty(place, &snapshot, &stamp)?;
        let is_wal = snapshot.is_wal().map_err(|e| Failure::engine(&place.shown, &e))?;
        let promise = if is_wal { Promise::SameFile(stamp) } else { Promise::SameContent(stamp) };
        self.serve(place, snapshot, Way::Live, promise, None)
    }

    /// Without the locks of others: in its place, if there is nothing but the file, or in a copy of everything. The
    /// stamps are older than the attempt with locks: if its reason is gone, it is tried again.
    fn attempt_without_locks(&self, place: &Place, stamps: Stamps) -> Result<Reading, Failure> {
        let promise = Promise::Untouched(stamps);
        // A file that was written a moment ago, and is written again now, may have the same time twice.
        std::thread::sleep(SETTLE);
        promise.check(place)?;
        if !place.holders().is_empty() {
            return Err(self.busy(place));
        }
        if has_content(stamps.side[LOG]) || has_content(stamps.side[JOURNAL]) {
            return self.attempt_aside(place, &promise);
        }
        let snapshot = Snapshot::hold(&place.real, Mode::Immutable).map_err(|e| Failure::engine(&place.shown, &e))?;
        promise.check(place)?;
        check_empty(place, &snapshot, &stamps.main)?;
        self.serve(place, snapshot, Way::Immutable, promise, None)
    }

    fn attempt_aside(&self, place: &Place, promise: &Promise) -> Result<Reading, Failure> {
        let folder = Folder::create(&self.options.spool)?;
        for ending in ["", SIDE_FILES[LOG], SIDE_FILES[JOURNAL]] {
            let from = place.side(ending);
            // Nothing here is locked by us, so it may be opened and closed.
            if from.exists() {
                folder.copy(&from, ending, self.cancel, |e| place.unreadable(e))?;
            }
        }
        promise.check(place)?;
        let snapshot = Snapshot::hold(&folder.image(), Mode::Own).map_err(|e| Failure::engine(&place.shown, &e))?;
        self.serve(place, snapshot, Way::Aside, Promise::Own, Some(folder))
    }

    /// From where it is held, if the engine can do that.
    fn serve(
        &self,
        place: &Place,
        snapshot: Snapshot,
        way: Way,
        promise: Promise,
        folder: Option<Folder>,
    ) -> Result<Reading, Failure> {
        check_end(place, &snapshot)?;
        let bytes_behind = snapshot.bytes_behind();
        let reading = if self.has_pages {
            Reading::new(place, snapshot, way, promise, folder)
        } else {
            self.copy(place, &snapshot, &promise)
        };
        reading.map(|reading| reading.with_bytes_behind(bytes_behind))
    }

    /// From a private copy; what was held is given back as soon as that is made.
    pub fn copy(&self, place: &Place, snapshot: &Snapshot, promise: &Promise) -> Result<Reading, Failure> {
        let folder = Folder::create(&self.options.spool)?;
        let failed = |e| Failure::engine(&place.shown, &e);
        let way = if self.has_pages {
            copy::pages(snapshot, &folder, self.cancel, failed)?;
            Way::Copied
        } else {
            copy::steps(snapshot, &folder, self.cancel, failed)?;
            Way::Stepped
        };
        snapshot.check().map_err(failed)?;
        promise.check(place)?;
        let copied = Snapshot::hold(&folder.image(), Mode::Immutable).map_err(failed)?;
        if (copied.page_bytes, copied.pages) != (snapshot.page_bytes, snapshot.pages) {
            let why = format!("{} pages were copied as {}", snapshot.pages, copied.pages);
            return Err(Failure::of(FailureKind::Spool, &place.shown, why));
        }
        snapshot.end().map_err(failed)?;
        Reading::new(place, copied, way, Promise::Own, Some(folder))
    }
}

fn has_content(stamp: Option<Stamp>) -> bool {
    stamp.is_some_and(|stamp| stamp.size > 0)
}

fn is_left_behind(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_READONLY_ROLLBACK)
}

/// The engine takes the beginning of a page for nothing at all, and would write a database over it.
fn check_empty(place: &Place, snapshot: &Snapshot, stamp: &Stamp) -> Result<(), Failure> {
    if snapshot.pages == 0 && stamp.size > 0 {
        let why = format!("file is not a database: it has {} bytes, less than a page", stamp.size);
        return Err(Failure::of(FailureKind::NotADatabase, &place.shown, why));
    }
    Ok(())
}

/// The engine takes what is missing of the last page for zeros, and says nothing.
fn check_end(place: &Place, snapshot: &Snapshot) -> Result<(), Failure> {
    match snapshot.bytes_missing() {
        0 => Ok(()),
        missing => {
            let why = format!("its file is cut short: {missing} bytes of its last page are missing");
            Err(Failure::of(FailureKind::Corrupt, &place.shown, why).fix(CORRUPT_FIX))
        }
    }
}

pub(super) fn on_network(place: &Place, name: &str) -> Failure {
    let why = format!("it is in WAL mode, which works on one machine only, and lies on a network file system ({name})");
    Failure::of(FailureKind::Network, &place.shown, why)
        .fix("back it up on the machine that writes it, or take it out of WAL mode: `PRAGMA journal_mode = DELETE`")
}
