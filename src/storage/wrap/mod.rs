//! Wrappers: a store around a store.
