//! `larder stats`

use super::super::address::Address;
use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::Result;

/// Show what the repository holds and what it saves
///
/// Raw is what all snapshots would take unpacked, unique what is left without repetitions, stored what the repository
/// takes.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder stats
  larder stats --snapshot latest~30")]
pub struct Args {
    /// Show what removing this snapshot would free; may be repeated
    #[arg(long = "snapshot", value_name = "ADDRESS", value_parser = args::address())]
    pub snapshots: Vec<Address>,
}

/// Shows it.
pub fn run(_: &Args, _: &Context<'_>) -> Result<Exit> {
    super::not_built_yet("stats")
}
