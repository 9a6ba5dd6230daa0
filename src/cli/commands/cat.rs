//! `larder cat`

use super::super::address::Address;
use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::Result;

/// Print a file of a snapshot, or a folder as a tar archive
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder cat latest:etc/hosts
  larder cat --tar latest:www > www.tar")]
pub struct Args {
    /// What to print: WHEN:SOURCE/PATH, as in larder ls --help
    #[arg(value_name = "ADDRESS", value_parser = args::address())]
    pub address: Address,
    /// Print a tar archive, of a folder with all that is in it
    #[arg(long)]
    pub tar: bool,
}

/// Prints it.
pub fn run(_: &Args, _: &Context<'_>) -> Result<Exit> {
    super::not_built_yet("cat")
}
