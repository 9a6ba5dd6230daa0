//! `larder restore`

use std::ffi::OsString;
use std::path::PathBuf;

use super::super::address::Address;
use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::Result;

/// Get files back
///
/// Without --to the plan is shown and nothing is changed.
///
/// The tree of one source stands at --to itself; several sources get a folder each. PATHs that are given keep their path
/// below the source's root; a single file is put into --to under its own name.
///
/// Where stored data is damaged, everything else is restored, each lost file is named, and the exit code is 4.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder restore latest:home --to /tmp/home
  larder restore latest:home anna/letters --to /tmp/letters
  larder restore home@2026-11-20        show the plan")]
pub struct Args {
    /// What to restore: WHEN[:SOURCE[/PATH]], as in larder ls --help
    #[arg(value_name = "ADDRESS", value_parser = args::address())]
    pub address: Address,
    /// Restore only these paths, written from the source's root
    #[arg(value_name = "PATH")]
    pub paths: Vec<OsString>,
    /// The folder to restore into; absent or empty, unless --overwrite is given
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Replace files that are there, one by one
    #[arg(long)]
    pub overwrite: bool,
    /// Show the plan, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// Gets them.
pub fn run(_: &Args, _: &Context<'_>) -> Result<Exit> {
    super::not_built_yet("restore")
}
