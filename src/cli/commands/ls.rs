//! `larder ls`

use super::super::address::Address;
use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::Result;

/// List the files in a snapshot
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder ls latest:etc
  larder ls -R 'home@2026-11-20 14:05'
  larder ls c81d0f22:home/anna/letters")]
pub struct Args {
    /// Where to look: WHEN[:SOURCE[/PATH]]
    ///
    /// WHEN is an id of 4 digits or more, latest, latest~N, or @TIME for the newest at or before it. SOURCE@TIME is the
    /// same as @TIME:SOURCE. TIME is 2026-11-20, '2026-11-20 14:05' or 2026-11-20T14:05:00+01:00; it covers the whole
    /// day, minute or second that it names.
    #[arg(value_name = "ADDRESS", value_parser = args::address())]
    pub address: Address,
    /// List what is in the folders, too
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// Lists them.
pub fn run(_: &Args, _: &Context<'_>) -> Result<Exit> {
    super::not_built_yet("ls")
}
