//! Larder keeps snapshots: content-addressed, encrypted, deduplicated, in one repository.

pub mod clock;
pub mod entry;
pub mod error;
pub mod event;
pub mod id;
pub mod source;
pub mod storage;
pub mod target;
#[cfg(test)]
mod testing;
pub mod text;
