//! `larder show`

use super::super::address::When;
use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::Result;

/// Show all that is known about a snapshot
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder show latest
  larder show c81d0f22 --json")]
pub struct Args {
    /// The snapshot: an id of 4 digits or more, latest, latest~N or @TIME
    #[arg(value_name = "ID", value_parser = args::when())]
    pub id: When,
}

/// Shows it.
pub fn run(_: &Args, _: &Context<'_>) -> Result<Exit> {
    super::not_built_yet("show")
}
