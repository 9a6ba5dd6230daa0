//! `larder note`

use super::super::address::Address;
use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use super::remark;
use crate::error::Result;
use crate::ops::remark::Change;
use crate::text;

/// Give a snapshot another note
///
/// It takes the place of the one that it has; an empty one takes it away.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder note latest 'before v2'
  larder note c81d0f22 ''")]
pub struct Args {
    /// Which: an id of 4 digits or more, latest, latest~N or @TIME, with :SOURCE if need be
    #[arg(value_name = "ADDRESS", value_parser = args::address())]
    pub address: Address,
    /// The note
    #[arg(value_name = "TEXT")]
    pub text: String,
}

/// Writes it.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let change = Change { note: Some(args.text.clone().into_bytes()), ..Change::default() };
    let told = |note: &[u8]| match note {
        [] => "has no note".to_owned(),
        note => format!("has the note: {}", text::escape(note)),
    };
    remark::run(std::slice::from_ref(&args.address), &change, &|standing| told(&standing.note), context)
}
