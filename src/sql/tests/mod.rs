//! What the verbs do, on databases in memory.

mod copy;
mod copy_virtual;
mod diff;
mod hostile;
mod query;
mod script;
mod verify;
