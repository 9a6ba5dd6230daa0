//! `larder tag`

use super::super::address::Address;
use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use super::remark;
use crate::error::{Error, Kind, Result};
use crate::ops::remark::Change;
use crate::text;

/// Add tags to a snapshot, or take them away
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder tag latest +release -nightly
  larder snapshots --tag release

Options of every command, such as --json, stand before the address; so that -q and -v are tags, write -- before them.")]
pub struct Args {
    /// Which: an id of 4 digits or more, latest, latest~N or @TIME, with :SOURCE if need be
    #[arg(value_name = "ADDRESS", value_parser = args::address())]
    pub address: Address,
    /// +TAG to add a tag, -TAG to take one away
    #[arg(value_name = "+TAG|-TAG", required = true, allow_hyphen_values = true, trailing_var_arg = true)]
    pub changes: Vec<String>,
}

/// Changes them.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let change = change(&args.changes)?;
    remark::run(std::slice::from_ref(&args.address), &change, &remark::tags, context)
}

fn change(words: &[String]) -> Result<Change> {
    let mut change = Change::default();
    for word in words {
        let wrong = |why: &str| {
            Err(Error::new(Kind::Usage, format!("'{}' changes no tag", text::escape(word.as_bytes())))
                .why(why.to_owned())
                .fix("write +TAG to add a tag, -TAG to take one away; options stand before the address"))
        };
        let (list, tag) = match (word.strip_prefix('+'), word.strip_prefix('-')) {
            (Some(tag), _) => (&mut change.tags_added, tag),
            (None, Some(tag)) => (&mut change.tags_removed, tag),
            (None, None) => return wrong("it begins with neither + nor -"),
        };
        match tag {
            "" => return wrong("the tag is empty"),
            tag if tag.starts_with('-') => return wrong("it reads like an option"),
            tag => list.push(tag.as_bytes().to_vec()),
        }
    }
    match change.tags_added.iter().find(|tag| change.tags_removed.contains(tag)) {
        None => Ok(change),
        Some(tag) => {
            Err(Error::new(Kind::Usage, format!("the tag {} is both added and taken away", text::escape(tag)))
                .fix("write it once"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_adds_or_takes_away() {
        let read = |words: &[&str]| change(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let both = read(&["+a", "-b", "+c d"]).unwrap();
        assert_eq!((both.tags_added, both.tags_removed), (vec![b"a".to_vec(), b"c d".to_vec()], vec![b"b".to_vec()]));
        for wrong in [&["a"][..], &["+"], &["-"], &["--json"], &["+a", "-a"]] {
            assert_eq!(read(wrong).unwrap_err().kind(), Kind::Usage, "{wrong:?}");
        }
    }
}
