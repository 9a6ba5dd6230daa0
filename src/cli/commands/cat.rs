//! `larder cat`

use super::super::address::Address;
use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::find::Meant;
use super::super::view::view;
use crate::error::Result;
use crate::ops::tar::Part;
use crate::ops::{cat, tar};

/// Print a file of a snapshot, or a folder as a tar archive
///
/// What is printed is verified first: where stored data is damaged, the output ends before it, and the exit code is 4.
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
    ///
    /// Paths in it are those below the folder; several sources get a folder each. Holes are written as zeros.
    #[arg(long)]
    pub tar: bool,
}

/// Prints it.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    view(&args.address, context, |view| {
        view.gaps.printing();
        let (meant, job) = (view.meant, view.gaps.job());
        let mut output = context.output.clone();
        if args.tar {
            tar::tar(view.reader, &parts(meant), &mut output, job)?;
        } else {
            let (source, path) = meant.one()?;
            cat::cat(view.reader, &meant.snapshot.body.sources[source], &path, &mut output, job)?;
        }
        Ok(0)
    })
}

fn parts(meant: &Meant) -> Vec<Part<'_>> {
    let sources = &meant.snapshot.body.sources;
    let several = meant.part.is_none() && sources.len() > 1;
    let into = |source: usize| if several { sources[source].name.clone() } else { Vec::new() };
    let part = |(source, path)| Part { source: &sources[source], path, into: into(source) };
    meant.parts().into_iter().map(part).collect()
}
