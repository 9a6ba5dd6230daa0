//! Snapshots that nobody needs any more.

pub mod period;
pub mod policy;

#[cfg(test)]
mod tests;
