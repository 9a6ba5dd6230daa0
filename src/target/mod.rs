//! The world, written: the mirror of [`crate::source`].

pub mod files;
mod scratch;
pub mod sqlite;

pub use scratch::Scratch;
