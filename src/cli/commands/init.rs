//! `larder init`

use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::Result;

/// Make a repository
///
/// The folder that --repo names may be absent or empty. A password is asked for twice when there is a terminal and
/// nothing else gives one. With --key-file the repository is opened by that file, which is made if it is absent.
///
/// Whoever loses both the password and every key file loses the snapshots.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder --repo /mnt/backup/main init
  larder --repo /mnt/backup/main --key-file ~/larder.key init")]
pub struct Args {}

/// Makes it.
pub fn run(_: &Args, _: &Context<'_>) -> Result<Exit> {
    super::not_built_yet("init")
}
