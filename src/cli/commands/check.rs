//! `larder check`

use super::super::amount::{Budget, Share};
use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::Result;

/// Prove that the repository is whole
///
/// Without options the structure is checked: that everything a snapshot needs is there. --data also reads stored data
/// and compares it with its names.
///
/// Damage is exit code 4, and each damaged file is named.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder check
  larder check --data 5%
  larder check --data all --budget 15m")]
pub struct Args {
    /// Read this share of the data, too: a percentage or all
    #[arg(long, value_name = "SHARE", value_parser = Share::parse)]
    pub data: Option<Share>,
    /// Stop reading after this time (15m, 2h) or this much data (10GiB)
    #[arg(long, value_name = "BUDGET", value_parser = Budget::parse, requires = "data")]
    pub budget: Option<Budget>,
}

/// Proves it.
pub fn run(_: &Args, _: &Context<'_>) -> Result<Exit> {
    super::not_built_yet("check")
}
