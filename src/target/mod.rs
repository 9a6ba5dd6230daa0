//! The world, written: the mirror of [`crate::source`].

pub mod files;
pub mod sqlite;
