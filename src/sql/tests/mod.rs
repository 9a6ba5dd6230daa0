//! What the verbs do, on databases in memory.

mod query;
mod script;
