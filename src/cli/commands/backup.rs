//! `larder backup`

use std::ffi::OsString;
use std::path::PathBuf;

use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::source_arg::SourceArg;
use crate::error::{Error, Kind, Result};

/// Take a snapshot of files and folders
///
/// All sources of one run form one snapshot. The snapshots of one source name form a series; what has not changed since
/// the last one is neither read nor stored again.
///
/// A file that cannot be read, or that changes while it is read, makes the snapshot partial: the rest is saved, the file
/// is named, and the exit code is 3.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder backup /home
  larder backup etc=/etc www=/srv/www --exclude '*.log' --tag nightly
  larder backup -n /home        say what would be saved, and save nothing")]
pub struct Args {
    /// What to save: [NAME=]PATH
    ///
    /// Without NAME the last part of the path is the name. A name has 1 to 64 letters, digits, dots, dashes and
    /// underscores. A path with = in it is written ./PATH.
    #[arg(required = true, value_name = "SOURCE", value_parser = args::source())]
    pub sources: Vec<SourceArg>,
    /// Name of the source, if there is only one
    #[arg(long, value_name = "NAME", value_parser = args::name)]
    pub name: Option<String>,
    /// Name of this machine in the snapshot, instead of its host name
    #[arg(long, value_name = "NAME", value_parser = args::name)]
    pub client: Option<String>,
    /// Continue a series that another client, or another root, has begun
    #[arg(long)]
    pub adopt: bool,
    /// Leave out what matches this pattern of gitignore syntax; may be repeated
    ///
    /// A file called .larderignore does the same for the folder it is in. Folders marked by a CACHEDIR.TAG are left out
    /// too. All of these are counted in the summary.
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Leave out what matches a pattern in this file; may be repeated
    #[arg(long, value_name = "FILE")]
    pub exclude_from: Vec<PathBuf>,
    /// Do not enter other file systems
    #[arg(long)]
    pub one_file_system: bool,
    /// Mark the snapshot with this tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Add a note to the snapshot
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Take a file of the same size and modification time as unchanged
    ///
    /// Without it a file is read again when anything else about it differs as well.
    #[arg(long)]
    pub trust_mtime: bool,
    /// Say what would be saved, and save nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// The output of a command becomes a source in a later version; `--` is taken for it already.
    #[arg(last = true, hide = true)]
    pub command: Vec<OsString>,
}

impl Args {
    /// The names and paths of this run, each name once.
    pub fn named_sources(&self) -> Result<Vec<(String, PathBuf)>> {
        if !self.command.is_empty() {
            return Err(Error::new(Kind::Usage, "a command after -- cannot be backed up by this version yet")
                .fix("a path that begins with a dash is written ./-PATH"));
        }
        super::super::source_arg::named(&self.sources, self.name.as_deref())
    }
}

/// Takes it.
pub fn run(args: &Args, _: &Context<'_>) -> Result<Exit> {
    args.named_sources()?;
    super::not_built_yet("backup")
}
