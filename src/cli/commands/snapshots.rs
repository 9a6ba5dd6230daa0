//! `larder snapshots`

use super::super::amount;
use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::Result;

/// List the snapshots, oldest first
///
/// SIZE is what a restore would write; NEW is what the repository grew by.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder snapshots --last 10
  larder snapshots --source etc --json")]
pub struct Args {
    /// Show only the newest N
    #[arg(long, value_name = "N", value_parser = amount::count)]
    pub last: Option<usize>,
    /// Show only those that hold this source
    #[arg(long, value_name = "NAME", value_parser = args::name)]
    pub source: Option<String>,
    /// Show only those with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
}

/// Lists them.
pub fn run(_: &Args, _: &Context<'_>) -> Result<Exit> {
    super::not_built_yet("snapshots")
}
