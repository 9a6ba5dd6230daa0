//! The command line: what every command understands, and the list of commands.

use std::ffi::{OsStr, OsString};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Parser};
use jiff::tz::TimeZone;

use super::address::{Address, When};
use super::commands::Command;
use super::exit;
use super::password::KeyOptions;
use super::source_arg::SourceArg;
use crate::error::{Error, Kind, Result};

const EXAMPLES: &str = "\
Examples:
  larder --repo /mnt/backup/main init         make a repository
  export LARDER_REPO=/mnt/backup/main         name it once for all that follows
  larder backup /home etc=/etc                take a snapshot of two folders
  larder snapshots                            see what there is
  larder restore latest:etc --to /tmp/etc     get one of them back";

const ENVIRONMENT: &str = "\
Environment:
  LARDER_REPO               the repository
  LARDER_KEY_FILE           a key file that opens it
  LARDER_PASSWORD_COMMAND   a command that prints the password
  LARDER_PASSWORD_FILE      a file that holds the password
  LARDER_PASSWORD           the password itself
  CREDENTIALS_DIRECTORY     where systemd puts a credential called larder-password
  XDG_CACHE_HOME            where the folder larder with the caches is, instead of ~/.cache
  An option wins over variables. Of what opens the repository the first in this list wins.";

/// Keeps snapshots of files: encrypted, deduplicated, each one whole
///
/// A repository holds snapshots of named sources. Whatever two snapshots have in common is stored once, and nothing
/// can be read without the password or a key file.
#[derive(Debug, Parser)]
#[command(name = "larder", version, arg_required_else_help = true, after_help = after_help())]
#[command(subcommand_required = true, max_term_width = 100)]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

fn after_help() -> String {
    format!("{EXAMPLES}\n\n{ENVIRONMENT}\n\n{}", exit::help().trim_end())
}

/// Options of every command.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Global {
    /// The folder that holds the repository
    ///
    /// [env: LARDER_REPO]
    #[arg(long, global = true, value_name = "REPO", help_heading = "Repository and password")]
    pub repo: Option<OsString>,
    /// Where the password or key comes from.
    #[command(flatten)]
    pub key: KeyOptions,
    /// Show neither progress nor results: only lists that were asked for, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,
    /// Tell more: what a backup leaves out, why a cache was not of full use, and without a terminal the progress once a
    /// minute
    #[arg(short, long, global = true, action = ArgAction::SetTrue, help_heading = "Output")]
    pub verbose: bool,
    /// Print JSON instead of text
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
}

impl Global {
    /// Where the repository is: as the option says, or else the environment.
    pub fn repository(&self, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<OsString> {
        let named = self.repo.clone().or_else(|| variable("LARDER_REPO"));
        named.filter(|repo| !repo.is_empty()).ok_or_else(|| {
            Error::new(Kind::Usage, "no repository is named").fix("give --repo REPO, or set LARDER_REPO")
        })
    }
}

/// Whether a command line that could not be understood asks for JSON.
pub fn asks_for_json(args: &[OsString]) -> bool {
    args.iter().skip(1).take_while(|arg| *arg != "--").any(|arg| arg == "--json")
}

/// Reads an ADDRESS; times are local.
pub fn address() -> impl TypedValueParser<Value = Address> {
    OsStringValueParser::new().try_map(|text| Address::parse(&text, &TimeZone::system()))
}

/// Reads a WHEN; times are local.
pub fn when() -> impl TypedValueParser<Value = When> {
    OsStringValueParser::new().try_map(|text| When::parse(&text, &TimeZone::system()))
}

/// Reads a source.
pub fn source() -> impl TypedValueParser<Value = SourceArg> {
    OsStringValueParser::new().try_map(|text| SourceArg::parse(&text))
}

/// Reads a path in a snapshot. An empty one would mean all of it, and mostly is a variable that is not set.
pub fn path() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new().try_map(|path| match path.is_empty() {
        true => Err(Error::new(Kind::Usage, "a PATH is empty").fix("leave it out to mean all, or write . for it")),
        false => Ok(path),
    })
}

/// Reads a pattern for names.
pub fn pattern(text: &str) -> Result<String> {
    match text {
        "" => Err(Error::new(Kind::Usage, "the PATTERN is empty").fix("write '*' to find everything")),
        text => Ok(text.to_owned()),
    }
}

/// Reads the name of a source or a client.
pub fn name(text: &str) -> Result<String> {
    super::name::check(OsStr::new(text).as_encoded_bytes()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_of_every_command_may_stand_anywhere() {
        let before = parse("larder --repo /r --json --key-file /k ls latest").unwrap().global;
        let after = parse("larder ls latest --repo /r --json --key-file /k").unwrap().global;
        assert!(before == after && before.json && before.repo.is_some() && before.key.key_file.is_some());
        assert!(parse("larder -q -v ls latest").is_err());
    }

    #[test]
    fn the_option_wins_over_the_environment() {
        let variable = |value: &'static str| move |name: &str| (name == "LARDER_REPO").then(|| OsString::from(value));
        let named = Global { repo: Some("/a".into()), ..Global::default() };
        assert_eq!(named.repository(&variable("/b")).unwrap(), "/a");
        assert_eq!(Global::default().repository(&variable("/b")).unwrap(), "/b");
        assert_eq!(Global::default().repository(&variable("")).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn json_is_noticed_even_when_the_rest_is_wrong() {
        let asks = |line: &str| asks_for_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(asks("larder nope --json") && !asks("larder nope") && !asks("larder cat -- --json"));
    }
}
