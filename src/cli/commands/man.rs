//! `larder man`

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::super::args::Cli;
use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::{Error, Kind, Result};
use crate::text;

/// Print the manual page, or write a page for each command
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder man | man -l -
  larder man --dir ~/.local/share/man/man1")]
pub struct Args {
    /// Write a page for each command into this folder
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Prints or writes them.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    match &args.dir {
        Some(dir) => write_all(dir)?,
        None => context.output.text(&main_page()?)?,
    }
    Ok(Exit::Done)
}

fn main_page() -> Result<String> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
    rendered.map_err(|error| Error::new(Kind::Failed, "cannot make the manual page").why(error))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn write_all(dir: &Path) -> Result<()> {
    let cannot = |error: std::io::Error| Error::io(format!("cannot write to {}", text::path(dir)), &error);
    fs::create_dir_all(dir).map_err(cannot)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(cannot)
}
