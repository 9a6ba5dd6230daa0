//! Larder keeps snapshots: content-addressed, encrypted, deduplicated, in one repository.

pub mod child;
pub mod chunk;
pub mod cli;
pub mod clock;
pub mod crypto;
pub mod entry;
pub mod error;
pub mod event;
pub mod flow;
pub mod id;
pub mod index;
pub mod ops;
pub mod pack;
pub mod record;
pub mod repo;
pub mod seal;
pub mod source;
pub mod spare;
pub mod sql;
pub mod storage;
pub mod target;
#[cfg(test)]
mod testing;
pub mod text;
pub mod tree;
pub mod vfs;
pub mod wire;
