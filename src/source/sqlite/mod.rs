//! An SQLite database, read as one state of it, while others write.
//!
//! Invariants:
//! - The image is one committed state, bit for bit what the file would be after its log was written back (by the backup
//!   interface, see [`Way::Stepped`], but for counters in the header). A file copied past its engine is none: what is
//!   in the log is missing, and what an interrupted writer left is taken for committed, without a check noticing it.
//! - One read transaction covers everything that is said about a database, pages and facts. It stands until
//!   [`Reading::finish`], or until all of it is in a private copy.
//! - The database is never written, its log never written back, and an interrupted transaction never undone in place.
//!   Reading a database in WAL mode may leave an empty `-wal` and a `-shm` beside it, as every reader does; where they
//!   would belong to somebody else than the database, that way is not taken.
//! - **While a [`Reading`] lives, nobody in this process opens or closes the same file.** The locks of POSIX belong to the
//!   process: closing any handle of the file drops those that the engine holds, and a writer may then change what is
//!   being read. In a database without a log this is noticed at the end, from the file's time; nothing here relies on it.
//!   The one other handle, from which the pages are read, is opened before the engine's locks and closed after them.
//! - Private copies lie in folders of mode 0700 and go when their [`Reading`] goes, after errors as well.
//! - Memory does not grow with the database: the engine keeps half a megabyte of pages, and one run is buffered here.
//!
//! Where a database is locked while it is read, its writers wait; [`Reading::make_way`] lets them go on. With a log they
//! do not wait, but the log grows meanwhile; so the image should be read without pauses.

mod check;
mod copy;
mod direct;
mod facts;
mod failure;
mod found;
mod header;
mod locks;
mod open;
mod page;
mod place;
mod reading;
mod record;
mod scan;
mod snapshot;
mod spool;
mod trees;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

pub use check::{Check, FAULTS_MAX, Pages, check, look_at_pages};
pub use facts::{Facts, Journal, SCHEMA_BYTES_MAX, TABLE_NAME_BYTES_MAX, TABLES_MAX, TableFacts, Uncounted, schema};
pub use failure::{Failure, FailureKind};
pub use header::{Encoding, HEADER_BYTES, Header, sniff};
pub use open::open;
pub use reading::Reading;
pub use scan::Scan;

/// What the engine keeps beside a database, under its name and these endings: the log, the log's index, the journal. None
/// of them is part of the image.
pub const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How a database is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long to wait for those who keep it locked; 30 s by default.
    pub busy_timeout: Duration,
    /// A folder for private copies, made with mode 0700 if it is not there.
    pub spool: PathBuf,
    /// A database without a log is locked while it is read. Where somebody waits to write, and so many bytes are left,
    /// 256 MiB by default, it is copied, since reading is slower than copying. See [`Reading::make_way`].
    pub spool_bytes_min: u64,
}

impl Options {
    /// The usual ones, with private copies there.
    pub fn new(spool: PathBuf) -> Self {
        Self { busy_timeout: Duration::from_secs(30), spool, spool_bytes_min: 256 << 20 }
    }
}

/// How a database came to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Where it is, in a transaction that stands until the end.
    Live,
    /// Copied in a transaction, which then ended, since its writers waited.
    Copied,
    /// Where it is, without locks, since none could be had there and nothing waits to be written back. That nobody wrote
    /// is looked at before and after.
    Immutable,
    /// From a private copy of the database with its log or journal, since these could not be used where they are.
    Aside,
    /// Copied by the engine's backup interface, since the engine of this program was built without its table of pages.
    /// Of the header, the counter of changes, that of the schema and the version of the writer are not the original's.
    Stepped,
}
