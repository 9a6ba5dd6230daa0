//! `larder completions`

use clap::CommandFactory;
use clap_complete::Shell;

use super::super::args::Cli;
use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::Result;

/// Print a completion script for a shell
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder completions bash > ~/.local/share/bash-completion/completions/larder
  larder completions fish > ~/.config/fish/completions/larder.fish")]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// Prints it.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    // Into memory first: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "larder", &mut script);
    context.output.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
