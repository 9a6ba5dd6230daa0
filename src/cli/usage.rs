//! What clap says about a wrong command line, told as every other failure is.

use std::error::Error as _;

use clap::error::Error as ClapError;
use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

use crate::error::{Error, Kind};
use crate::text::escape;

/// The failure. One that our own parsers found is told in their words.
pub fn error(error: &ClapError) -> Error {
    if let Some(own) = error.source().and_then(|source| source.downcast_ref::<Error>()) {
        return own.clone();
    }
    if error.kind() == DisplayHelpOnMissingArgumentOrSubcommand {
        return Error::new(Kind::Usage, "no command is given").fix("see larder --help");
    }
    let text = error.render().to_string();
    let mut blocks = text.split("\n\n").map(joined);
    let what = blocks.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(&what).to_owned();
    let tip = blocks.find_map(|block| Some(block.strip_prefix("tip: ")?.to_owned()));
    let command = command(&text);
    let fix = match tip {
        // After -- stands a command there, never a path.
        Some(tip) if command == "larder backup" && tip.contains("use '-- ") => {
            "a path that begins with a dash is written ./-PATH; see larder backup --help".to_owned()
        }
        Some(tip) => tip,
        None => format!("see {command} --help"),
    };
    Error::new(Kind::Usage, what).fix(fix)
}

/// A block as one line; what was typed may hold anything.
fn joined(block: &str) -> String {
    let lines: Vec<_> = block.lines().map(|line| escape(line.trim().as_bytes())).collect();
    lines.join(" ")
}

/// The command that was typed wrongly, taken from the line that shows its usage.
fn command(text: &str) -> String {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("larder");
    let words = usage.split(' ').take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::Cli;

    fn wrong(line: &str) -> (String, String, String) {
        let error = error(&Cli::try_parse_from(line.split(' ')).unwrap_err());
        assert_eq!(error.kind(), Kind::Usage);
        (error.what().to_owned(), error.reason().to_owned(), error.advice().to_owned())
    }

    #[test]
    fn clap_speaks_our_way() {
        let told = |what: &str, fix: &str| (what.to_owned(), String::new(), fix.to_owned());
        assert_eq!(
            wrong("larder ls --nope latest"),
            told("unexpected argument '--nope' found", "to pass '--nope' as a value, use '-- --nope'")
        );
        let dashed = "a path that begins with a dash is written ./-PATH; see larder backup --help";
        assert_eq!(wrong("larder backup -x"), told("unexpected argument '-x' found", dashed));
        assert_eq!(
            wrong("larder backup"),
            told("the following required arguments were not provided: <SOURCE>...", "see larder backup --help")
        );
        assert!(Cli::try_parse_from(["larder", "backup", "--", "-x"]).is_ok(), "its own error comes later");
        assert_eq!(wrong("larder ls latest more"), told("unexpected argument 'more' found", "see larder ls --help"));
        assert_eq!(wrong("larder key"), told("no command is given", "see larder --help"));
        assert_eq!(
            wrong("larder ls"),
            told("the following required arguments were not provided: <ADDRESS>", "see larder ls --help")
        );
        assert_eq!(wrong("larder lss"), told("unrecognized subcommand 'lss'", "a similar subcommand exists: 'ls'"));
    }

    #[test]
    fn our_own_parsers_keep_their_words() {
        let (what, why, fix) = wrong("larder check --data 5");
        assert_eq!((what.as_str(), why.as_str()), ("'5' is not a share", ""));
        assert!(fix.contains("5%"));
        assert_eq!(wrong("larder ls abc").1, "abc is too short for an id");
    }

    #[test]
    fn what_was_typed_cannot_steer_the_terminal() {
        for typed in ["\x1b[2J", "\u{9b}31m", "a\rb\u{202e}c", "ls\nerror: none"] {
            let (what, _, fix) = wrong(&format!("larder {typed}"));
            assert!(!what.chars().chain(fix.chars()).any(|c| c.is_control() || c == '\u{202e}'), "{what:?}");
        }
    }
}
