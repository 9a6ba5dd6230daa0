//! Work on SQLite databases that are open: list, ask, write out, put back, compare and prove what is in them.
//!
//! Everything here takes a connection and knows nothing of repositories. One side of each verb is an image out of a
//! snapshot, and whoever could write the repository could write that image, so it is hostile: [`harden`] comes first.
//! Always true:
//!
//! - A value is a [`ValueRef`] from the record it lies in to the record or line it is written to, never text in between.
//! - A name is raw bytes. Only what is UTF-8 without NUL can be put into a statement; the rest is shown, and said why.
//! - Memory is bounded by the longest row, not by how many there are.
//! - Foreign SQL is compiled one statement at a time, and only run if it cannot change anything.

mod copy;
mod csv;
mod diff;
mod error;
mod guard;
mod json;
mod lexer;
mod query;
mod schema;
mod script;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod value;
mod verify;

pub use copy::{BrokenReference, Copied, Copy, OnConflict, copy_table};
pub use csv::Csv;
pub use diff::{Change, Diff, EachRow, RowChange, RowCounts, SchemaChange, TableDiff, diff, diff_rows};
pub use error::beside;
pub use guard::{Limits, harden, limit, stop_when};
pub use json::{JsonLines, JsonRows};
pub use query::{Selection, Sink, query, rows};
pub use rusqlite::Connection;
pub use rusqlite::types::ValueRef;
pub use schema::{Column, Hidden, Table, TableKind, tables};
pub use script::{ScriptParts, script};
pub use value::cell;
pub use verify::{Expected, Finding, Proof, RecordedTable, check_syntax, verify};
