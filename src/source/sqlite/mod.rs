//! SQLite databases.

mod header;

pub use header::{Encoding, HEADER_BYTES, Header, sniff};
