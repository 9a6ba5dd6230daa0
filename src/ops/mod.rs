//! The verbs: what one can do with a repository. They see sources, targets and storage as traits and types of theirs,
//! and never print.

pub mod backup;
pub mod check;
pub mod cat;
pub mod list;
pub mod restore;
pub mod tar;

#[cfg(test)]
mod testing;
