//! A file per command: its arguments, whose comments are its help, then what it does.

pub mod backup;
pub mod cat;
pub mod check;
pub mod completions;
pub mod diff;
pub mod drill;
pub mod find;
pub mod forget;
pub mod init;
pub mod key;
pub mod ls;
pub mod man;
pub mod note;
pub mod pin;
pub mod prune;
pub mod query;
mod remark;
pub mod restore;
pub mod show;
pub mod snapshots;
pub mod stats;
pub mod tables;
pub mod tag;
pub mod undelete;
pub mod version;

use super::context::Context;
use super::exit::Exit;
use crate::error::Result;

/// What can be asked for.
#[allow(missing_docs, reason = "a comment here would hide the help that stands with the arguments")]
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Init(init::Args),
    Backup(backup::Args),
    Snapshots(snapshots::Args),
    Show(show::Args),
    Ls(ls::Args),
    Cat(cat::Args),
    Find(find::Args),
    Diff(diff::Args),
    Restore(restore::Args),
    Drill(drill::Args),
    Tables(tables::Args),
    Query(query::Args),
    Forget(forget::Args),
    Prune(prune::Args),
    Undelete(undelete::Args),
    Pin(pin::Args),
    Unpin(pin::UnpinArgs),
    Note(note::Args),
    Tag(tag::Args),
    Check(check::Args),
    Stats(stats::Args),
    Key(key::Args),
    Completions(completions::Args),
    Man(man::Args),
    Version(version::Args),
}

impl Command {
    /// Does it.
    pub fn run(&self, context: &Context<'_>) -> Result<Exit> {
        match self {
            Self::Init(args) => init::run(args, context),
            Self::Backup(args) => backup::run(args, context),
            Self::Snapshots(args) => snapshots::run(args, context),
            Self::Show(args) => show::run(args, context),
            Self::Ls(args) => ls::run(args, context),
            Self::Cat(args) => cat::run(args, context),
            Self::Find(args) => find::run(args, context),
            Self::Diff(args) => diff::run(args, context),
            Self::Restore(args) => restore::run(args, context),
            Self::Drill(args) => drill::run(args, context),
            Self::Tables(args) => tables::run(args, context),
            Self::Query(args) => query::run(args, context),
            Self::Forget(args) => forget::run(args, context),
            Self::Prune(args) => prune::run(args, context),
            Self::Undelete(args) => undelete::run(args, context),
            Self::Pin(args) => pin::run(args, context),
            Self::Unpin(args) => pin::run_unpin(args, context),
            Self::Note(args) => note::run(args, context),
            Self::Tag(args) => tag::run(args, context),
            Self::Check(args) => check::run(args, context),
            Self::Stats(args) => stats::run(args, context),
            Self::Key(args) => key::run(args, context),
            Self::Completions(args) => completions::run(args, context),
            Self::Man(args) => man::run(args, context),
            Self::Version(args) => version::run(args, context),
        }
    }
}
