//! Why a database could not be read, so that callers can act on it.

use rusqlite::ErrorCode;

use crate::error::{Error, Kind};
use crate::text;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Nothing is there.
    Missing,
    /// No database, as far as the engine can tell. An encrypted one looks like that.
    NotADatabase,
    /// A database, but so damaged, or cut short, that its engine cannot read its pages in order.
    Corrupt,
    /// Somebody else kept it locked until the patience was used up.
    Busy,
    /// A write-ahead log works on one machine only, and the file lies on another.
    Network,
    /// The system, or the engine, refused.
    Unreadable,
    /// It was changed past its locks, or replaced, while it was read: the image is not one state of it.
    Changed,
    /// A private copy was needed, and could not be made.
    Spool,
    /// Somebody asked to stop.
    Interrupted,
}

/// A database that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    error: Error,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, error: Error) -> Self {
        Self { kind, error }
    }

    /// A failure to read the database shown so, with its reason.
    pub(super) fn of(kind: FailureKind, shown: &str, why: impl std::fmt::Display) -> Self {
        Self::new(kind, Error::new(Kind::Source, format!("cannot read the database {shown}")).why(why))
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.error = self.error.fix(fix);
        self
    }

    /// What the engine said, as a failure of the database shown so.
    pub(super) fn engine(shown: &str, error: &rusqlite::Error) -> Self {
        let (kind, fix) = match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => (FailureKind::NotADatabase, NOT_A_DATABASE_FIX),
            Some(ErrorCode::DatabaseCorrupt) => (FailureKind::Corrupt, CORRUPT_FIX),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                (FailureKind::Busy, BUSY_FIX)
            }
            _ => (FailureKind::Unreadable, ""),
        };
        Self::of(kind, shown, said(error)).fix(fix)
    }

    /// What the system said about a private copy.
    pub(super) fn spool(what: String, error: &std::io::Error) -> Self {
        let error = Error::io(what, error);
        let error = match error.kind() {
            Kind::NoSpace | Kind::Exhausted => error,
            _ => error.with_kind(Kind::Source),
        };
        Self::new(FailureKind::Spool, error)
    }

    /// Which kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Whether the file may still be kept as any other file, byte by byte: its engine cannot read it, so nothing is
    /// known about it but its bytes.
    pub fn is_for_raw_bytes(&self) -> bool {
        matches!(self.kind, FailureKind::NotADatabase | FailureKind::Corrupt)
    }

    /// The failure, told so that a person can act.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

const NOT_A_DATABASE_FIX: &str =
    "an encrypted database can be kept as a plain file, while the program that writes it is stopped";
pub(super) const CORRUPT_FIX: &str = "check it with `PRAGMA integrity_check`, or keep it as a plain file";
pub(super) const BUSY_FIX: &str = "stop the program that keeps it locked, or make that program lock it for shorter";

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// A wish to stop.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = if error.kind() == Kind::Interrupted { FailureKind::Interrupted } else { FailureKind::Unreadable };
        Self::new(kind, error)
    }
}

/// What the engine said, safe to print.
pub(super) fn said(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, Some(message)) => {
            format!("{} (SQLite error {})", text::one_line(message.as_bytes()), code.extended_code)
        }
        other => text::one_line(other.to_string().as_bytes()),
    }
}
