//! The world, read. Each source knows nothing of chunks, packs or repositories.

pub mod files;
pub mod sqlite;
