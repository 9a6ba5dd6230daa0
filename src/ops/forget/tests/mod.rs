//! The rules by themselves, and what they do to a repository.

mod apply;
mod policy;
