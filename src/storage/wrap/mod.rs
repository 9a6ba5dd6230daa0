//! Wrappers: a store around a store.

pub mod dry;
pub mod fault;
pub mod record;
