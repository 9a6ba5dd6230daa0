//! `larder cat`

use super::super::address::Address;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::find::{self, Meant};
use super::super::gaps::Gaps;
use super::super::{args, engine};
use crate::error::Result;
use crate::ops::tar::Part;
use crate::ops::{cat, tar};
use crate::repo::{Catalogue, ChunkReader};

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
    let repository = engine::open(context)?;
    let meant = find::meant(&repository, &args.address, context)?;
    find::tell_partly(&meant, context)?;
    let gaps = Gaps::new(context);
    let catalogue = Catalogue::open(&repository, gaps.job())?;
    gaps.printing();
    let reader = ChunkReader::new(&repository, &catalogue);
    let mut output = context.output.clone();
    if args.tar {
        tar::tar(&reader, &parts(&meant), &mut output, gaps.job())?;
    } else {
        let (source, path) = meant.one()?;
        cat::cat(&reader, &meant.snapshot.body.sources[source], &path, &mut output, gaps.job())?;
    }
    Ok(gaps.finish(0)?.but(meant.exit))
}

fn parts(meant: &Meant) -> Vec<Part<'_>> {
    let sources = &meant.snapshot.body.sources;
    let several = meant.part.is_none() && sources.len() > 1;
    let into = |source: usize| if several { sources[source].name.clone() } else { Vec::new() };
    let part = |(source, path)| Part { source: &sources[source], path, into: into(source) };
    meant.parts().into_iter().map(part).collect()
}
