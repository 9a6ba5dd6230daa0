//! `larder find`

use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::Result;

/// Find files in all snapshots by their name
///
/// Each version of a file is listed once, newest first, with the first and the last snapshot that has it. No match is
/// exit code 1.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder find '*.odt'
  larder find 'anna/**/thesis*' --source home")]
pub struct Args {
    /// A glob on the name, or on the whole path if it holds a slash
    #[arg(value_name = "PATTERN")]
    pub pattern: String,
    /// Look only in this source
    #[arg(long, value_name = "NAME", value_parser = args::name)]
    pub source: Option<String>,
}

/// Finds them.
pub fn run(_: &Args, _: &Context<'_>) -> Result<Exit> {
    super::not_built_yet("find")
}
