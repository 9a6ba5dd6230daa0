//! `larder version`

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::json;
use crate::error::Result;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Print the version
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Prints it.
pub fn run(_: &Args, context: &Context<'_>) -> Result<Exit> {
    if context.global.json {
        context.output.json(&json::Version { version: VERSION })?;
    } else {
        context.output.line(&format!("larder {VERSION}"))?;
    }
    Ok(Exit::Done)
}
