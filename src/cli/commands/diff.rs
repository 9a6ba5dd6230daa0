//! `larder diff`

use super::super::address::Address;
use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::Result;

/// Show what differs between two snapshots
///
/// With one address the snapshot is compared with its predecessor.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder diff latest
  larder diff latest~7:etc latest:etc")]
pub struct Args {
    /// The older side, or the only one: WHEN[:SOURCE[/PATH]], as in larder ls --help
    #[arg(value_name = "A", value_parser = args::address())]
    pub a: Address,
    /// The newer side
    #[arg(value_name = "B", value_parser = args::address())]
    pub b: Option<Address>,
}

/// Shows it.
pub fn run(_: &Args, _: &Context<'_>) -> Result<Exit> {
    super::not_built_yet("diff")
}
