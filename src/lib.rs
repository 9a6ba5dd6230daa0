//! Larder keeps snapshots: content-addressed, encrypted, deduplicated, in one repository.

pub mod child;
pub mod cli;
pub mod clock;
pub mod entry;
pub mod error;
pub mod event;
pub mod id;
pub mod source;
pub mod storage;
pub mod target;
pub mod text;
