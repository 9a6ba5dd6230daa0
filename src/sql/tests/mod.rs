//! What the verbs do, on databases in memory.

mod copy;
mod copy_virtual;
mod diff;
mod query;
mod script;
mod verify;
