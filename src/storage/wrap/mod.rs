//! Wrappers: a store around a store.

pub mod fault;
pub mod record;
