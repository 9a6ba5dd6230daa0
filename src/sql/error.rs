//! The engine's failures in this crate's words.

use rusqlite::ErrorCode;

use crate::error::{Error, Kind};
use crate::text;

/// A failure of the engine; `what` names the thing, escaped.
pub(super) fn failed(what: impl Into<String>, error: &rusqlite::Error) -> Error {
    let new = Error::new(kind(error), what).why(message(error));
    match code(error) {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            new.fix("wait until nobody else writes there, or stop who does")
        }
        Some(ErrorCode::TooBig) => new.fix("a value or a statement is longer than the limit that was set"),
        _ => new,
    }
}

/// The same for SQL that a person wrote: what does not compile is a usage error.
pub(super) fn badly_asked(what: impl Into<String>, error: &rusqlite::Error) -> Error {
    let new = failed(what, error);
    match code(error) {
        None | Some(ErrorCode::Unknown | ErrorCode::TooBig | ErrorCode::AuthorizationForStatementDenied) => {
            new.with_kind(Kind::Usage)
        }
        _ => new,
    }
}

pub(super) fn code(error: &rusqlite::Error) -> Option<ErrorCode> {
    error.sqlite_error_code()
}

/// The extended code of a broken constraint.
pub(super) fn constraint(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().filter(|e| e.code == ErrorCode::ConstraintViolation).map(|e| e.extended_code)
}

fn kind(error: &rusqlite::Error) -> Kind {
    match code(error) {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Kind::Damage,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Busy,
        Some(ErrorCode::OperationInterrupted) => Kind::Interrupted,
        Some(ErrorCode::DiskFull) => Kind::NoSpace,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Kind::Denied,
        _ => Kind::Failed,
    }
}

/// What the engine says, on one line, without the statement. Names out of the database may be in it.
pub(super) fn message(error: &rusqlite::Error) -> String {
    let said = match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    };
    format!("{}{}", text::one_line(said.as_bytes()), beside(error))
}

/// A word beside a message that misleads: a node of an R-tree that is empty is told as want of memory.
fn beside(error: &rusqlite::Error) -> &'static str {
    match code(error) {
        Some(ErrorCode::OutOfMemory) => ", which SQLite also says of damaged R-tree tables",
        _ => "",
    }
}
