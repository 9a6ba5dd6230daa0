//! The small objects: what a repository knows besides chunks. Records in sealed sections, without input or output.
//!
//! Objects that are not named by their bytes (`config/<generation>`, `sessions/<id>.end`) end with the BLAKE3 of
//! all bytes before, so that every object can be scrubbed without keys.

mod condition;
mod config;
mod database;
mod drill;
mod notes;
mod remark;
mod session;
mod slot;
mod snapshot;

pub use condition::Condition;
pub use config::Config;
pub use database::{Depth, Engine, Facts, Journal, TABLES_MAX, TableFacts, Verdict};
pub use drill::{Drill, FAILURE_BYTES_MAX, FAILURES_MAX};
pub use notes::{BadFrame, Damage, Note, Tomb};
pub use remark::{Remark, Standing};
pub use session::{SessionEnd, SessionRecord};
pub use slot::{Capability, Slot, SlotLabel, SlotLock};
pub use snapshot::{
    Body, REASONS_MAX, Reason, Snapshot, SourceBody, SourceKind, SourceSummary, State, Statistics, Summary,
};

use crate::wire::{Malformed, Result};

/// Appends the BLAKE3 of the bytes.
pub fn add_check(mut bytes: Vec<u8>) -> Vec<u8> {
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

/// The bytes before their BLAKE3, if it is right.
pub fn strip_check<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a [u8]> {
    let (body, hash) =
        bytes.split_last_chunk::<32>().ok_or_else(|| Malformed::bad(what, "shorter than its checksum"))?;
    if blake3::hash(body) != blake3::Hash::from_bytes(*hash) {
        return Err(Malformed::bad(what, "its checksum does not match: the bytes have changed"));
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
