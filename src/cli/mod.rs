//! The command line: reads what was typed, hands it to a command, and tells how it ended.

pub mod address;
pub mod amount;
pub mod answer;
pub mod args;
pub mod commands;
pub mod context;
pub mod database_diff;
pub mod engine;
pub mod exit;
pub mod find;
pub mod gaps;
pub mod json;
pub mod keyfile;
pub mod name;
pub mod output;
pub mod paint;
pub mod password;
pub mod progress;
pub mod render;
pub mod secret_file;
pub mod signal;
pub mod source_arg;
pub mod table;
pub mod time;
mod usage;
mod view;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::Parser;

use self::args::Cli;
use self::context::Context;
use self::exit::Exit;
use self::output::Output;
use self::paint::Paint;
use self::signal::Watch;
use crate::clock::System;
use crate::error::{Error, Result};

/// Runs the program with the arguments it was started with.
pub fn run() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let output = Output::stdout();
    match Cli::try_parse_from(&args) {
        Ok(cli) => run_command(&cli, &output),
        Err(error) => not_parsed(&error, args::asks_for_json(&args), &output),
    }
    .into()
}

fn run_command(cli: &Cli, output: &Output) -> Exit {
    let watch = match Watch::install() {
        Ok(watch) => watch,
        Err(error) => return fail(&error, Exit::of(error.kind()), cli.global.json, output),
    };
    let world = System::default();
    let context = Context { global: &cli.global, output, watch: &watch, world: &world, cache_trouble: OnceLock::new() };
    let done = cli.command.run(&context).and_then(|exit| output.finish().map(|()| exit));
    context.tell_cache_trouble();
    match done {
        Ok(exit) => exit,
        // Whoever read our data has seen enough.
        Err(_) if output.was_cut() => Exit::Done,
        Err(error) => fail(&error, watch.exit(error.kind()), cli.global.json, output),
    }
}

/// Help and version come from clap as errors, too; they are printed as asked.
fn not_parsed(error: &clap::Error, json: bool, output: &Output) -> Exit {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion => match print_help(error, output) {
            Ok(()) => Exit::Done,
            Err(error) => fail(&error, Exit::of(error.kind()), json, output),
        },
        DisplayHelpOnMissingArgumentOrSubcommand if !json => {
            tell(&rendered(error, Paint::stderr()));
            Exit::Usage
        }
        _ => fail(&usage::error(error), Exit::Usage, json, output),
    }
}

fn print_help(help: &clap::Error, output: &Output) -> Result<()> {
    output.text(&rendered(help, Paint::stdout()))?;
    output.finish()
}

fn rendered(error: &clap::Error, paint: Paint) -> String {
    let text = error.render();
    if paint.is_on() { text.ansi().to_string() } else { text.to_string() }
}

/// Tells a failure to people on standard error, to programs on standard output.
fn fail(error: &Error, exit: Exit, json: bool, output: &Output) -> Exit {
    if json {
        let (what, why, fix) = (error.what(), error.reason(), error.advice());
        let failure = json::Failure { code: error.kind().code(), what, why, fix, exit_code: exit.code() };
        if output.json(&failure).is_ok() {
            return exit;
        }
    }
    tell(&render::error(error, Paint::stderr()));
    exit
}

fn tell(text: &str) {
    // There is nobody left to tell that nobody listens.
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::output::testing::Kept;

    fn run_line(line: &str) -> (u8, String) {
        let args: Vec<_> = line.split(' ').map(OsString::from).collect();
        let kept = Kept::default();
        let output = kept.output();
        let exit = match Cli::try_parse_from(&args) {
            Ok(cli) => {
                let watch = Watch::default();
                let (world, cache_trouble) = (System::default(), OnceLock::new());
                let context =
                    Context { global: &cli.global, output: &output, watch: &watch, world: &world, cache_trouble };
                cli.command
                    .run(&context)
                    .unwrap_or_else(|error| fail(&error, Exit::of(error.kind()), cli.global.json, &output))
            }
            Err(error) => not_parsed(&error, args::asks_for_json(&args), &output),
        };
        output.finish().unwrap();
        (exit.code(), kept.text())
    }

    #[test]
    fn help_and_version_are_data() {
        let (exit, help) = run_line("larder --help");
        assert!(exit == 0 && help.contains("Exit codes:"), "{help}");
        assert_eq!(run_line("larder --version"), (0, format!("larder {}\n", env!("CARGO_PKG_VERSION"))));
        assert_eq!(run_line("larder version"), run_line("larder --version"));
        let json = format!("{{\"v\":1,\"type\":\"version\",\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(run_line("larder version --json"), (0, json));
    }

    #[test]
    fn wrong_usage_is_exit_2_and_json_if_that_was_asked() {
        assert_eq!(run_line("larder nope"), (2, String::new()));
        let (exit, text) = run_line("larder ls --json");
        assert_eq!(exit, 2);
        assert_eq!(
            text,
            "{\"v\":1,\"type\":\"error\",\"code\":\"usage\",\"what\":\"the following required arguments were not \
             provided: <ADDRESS>\",\"why\":\"\",\"fix\":\"see larder ls --help\",\"exit_code\":2}\n"
        );
    }

    #[test]
    fn every_shell_has_completions() {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let (exit, script) = run_line(&format!("larder completions {shell}"));
            assert!(exit == 0 && script.contains("one-file-system"), "{shell}");
        }
    }

    #[test]
    fn every_command_has_a_manual_page() {
        assert!(run_line("larder man").1.starts_with(".ie \\n(.g .ds Aq"));
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(run_line(&format!("larder man --dir {}/man1", dir.path().display())), (0, String::new()));
        for page in ["larder", "larder-backup", "larder-key-add", "larder-restore"] {
            assert!(dir.path().join(format!("man1/{page}.1")).exists(), "{page}");
        }
    }

    /// The help of all commands, one after another, as wide as a page.
    fn reference(command: &mut clap::Command, text: &mut String) {
        let name = command.get_bin_name().unwrap_or("larder").to_owned();
        let help = command.clone().term_width(100).render_long_help().to_string();
        text.push_str(&format!("==== {name} ====\n\n{}\n\n", help.trim_end()));
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            reference(sub, text);
        }
    }

    #[test]
    fn the_help_is_what_was_agreed() {
        let mut command = Cli::command();
        command.build();
        let mut text = String::new();
        reference(&mut command, &mut text);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/help.txt");
        if std::env::var_os("LARDER_RENEW").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap_or_default();
        assert!(text == golden, "the help has changed: read it, then LARDER_RENEW=1 cargo test --lib the_help_is");
    }
}
