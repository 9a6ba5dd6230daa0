//! The verbs: what one can do with a repository. They see sources, targets and storage as traits and types of theirs,
//! and never print.

pub mod backup;
pub mod cat;
pub mod check;
pub mod damage;
pub mod database;
pub mod database_diff;
pub mod diff;
pub mod drill;
pub mod facts;
pub mod find;
pub mod forget;
pub mod list;
mod notes;
pub mod prune;
mod reach;
pub mod remark;
pub mod restore;
pub mod stats;
pub mod tar;
mod whole;

#[cfg(test)]
mod testing;
