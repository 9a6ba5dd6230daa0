//! `larder pin` and `larder unpin`

use super::super::address::Address;
use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use super::remark;
use crate::error::Result;
use crate::ops::remark::Change;

/// Keep a snapshot whatever rules say
///
/// A pinned snapshot is never forgotten until it is unpinned. larder snapshots shows which are pinned.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder pin latest
  larder pin c81d0f22 @2026-11-14:etc")]
pub struct Args {
    /// Which: an id of 4 digits or more, latest, latest~N or @TIME, with :SOURCE if need be
    #[arg(value_name = "ADDRESS", required = true, value_parser = args::address())]
    pub addresses: Vec<Address>,
}

/// No longer keep a snapshot whatever rules say
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder unpin c81d0f22")]
pub struct UnpinArgs {
    /// Which: an id of 4 digits or more, latest, latest~N or @TIME, with :SOURCE if need be
    #[arg(value_name = "ADDRESS", required = true, value_parser = args::address())]
    pub addresses: Vec<Address>,
}

/// Pins.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    pin(&args.addresses, true, context)
}

/// Unpins.
pub fn run_unpin(args: &UnpinArgs, context: &Context<'_>) -> Result<Exit> {
    pin(&args.addresses, false, context)
}

fn pin(addresses: &[Address], is_pinned: bool, context: &Context<'_>) -> Result<Exit> {
    let change = Change { is_pinned: Some(is_pinned), ..Change::default() };
    let told = if is_pinned { "is pinned" } else { "is not pinned" };
    remark::run(addresses, &change, &|_| told.to_owned(), context)
}
