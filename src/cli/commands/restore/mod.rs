//! `larder restore`

mod database;
mod files;
mod rows;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::super::address::Address;
use super::super::args;
use super::super::context::Context;
use super::super::exit::Exit;
use crate::error::{Error, Kind, Result};
use crate::ops::database::Form;
use crate::sql::OnConflict;

/// Get files and databases back
///
/// Without --to, --apply or another output the plan is shown and nothing is changed.
///
/// The tree of one source stands at --to itself; several sources get a folder each. PATHs that are given keep their path
/// below the source's root, and a folder --to that was there keeps its owner, mode and attributes; a single file is put
/// into --to under its own name.
///
/// Of an SQLite database, ADDRESS names its file, or a folder with only one in it. With --apply it goes back to where it
/// was: it is written aside and checked, the one that is there is renamed to NAME.before-larder-TIME, and is refused if a
/// program is using it. With --table, rows go into a database as one transaction: foreign keys are checked, triggers do
/// not fire.
///
/// Where stored data is damaged, everything else is restored, each lost file is named, and the exit code is 4. A database
/// is restored whole or not at all.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("place").args(["to", "apply", "csv", "jsonl", "sql"]))]
#[command(after_help = "\
Examples:
  larder restore latest:home --to /tmp/home
  larder restore latest:home anna/letters --to /tmp/letters
  larder restore home@2026-11-20        show the plan

  larder restore latest:app/a.db --apply
  larder restore latest:app/a.db --table people --where \"city = 'Rome'\" --apply --on-conflict replace
  larder restore latest:app/a.db --table people --to sqlite:/tmp/people.db
  larder restore latest:app/a.db --table people --csv - | head")]
pub struct Args {
    /// What to restore: WHEN[:SOURCE[/PATH]], as in larder ls --help
    #[arg(value_name = "ADDRESS", value_parser = args::address())]
    pub address: Address,
    /// Restore only these paths, written from the source's root
    #[arg(value_name = "PATH", value_parser = args::path())]
    pub paths: Vec<OsString>,
    /// The folder to restore into; absent or empty, unless --overwrite is given
    ///
    /// sqlite:FILE is a database: a new one, or with --table one that may be there.
    #[arg(long, value_name = "DIR|sqlite:FILE", value_parser = to())]
    pub to: Option<To>,
    /// Replace files that are there, one by one; a database that is there is set aside
    #[arg(long)]
    pub overwrite: bool,
    /// Show the plan, and change nothing; with --overwrite also how much would be replaced, with -v what
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Put a database, or rows of it, back where it came from
    #[arg(long, help_heading = "SQLite databases")]
    pub apply: bool,
    /// Only this table or view
    #[arg(long, value_name = "TABLE", help_heading = "SQLite databases")]
    pub table: Option<String>,
    /// Only rows for which this is true, such as: name = 'x' AND id > 7
    #[arg(long = "where", value_name = "EXPRESSION", requires = "table", help_heading = "SQLite databases")]
    pub condition: Option<String>,
    /// What happens to a row whose key is there already
    #[arg(long, value_name = "RULE", value_enum, requires = "table", help_heading = "SQLite databases")]
    pub on_conflict: Option<Rule>,
    /// Write the rows as CSV, with a header; - prints them
    #[arg(long, value_name = "FILE", requires = "table", help_heading = "SQLite databases")]
    pub csv: Option<PathBuf>,
    /// Write the rows as JSON, an object a line; - prints them. With --table, --json FILE is the same
    #[arg(long, value_name = "FILE", requires = "table", help_heading = "SQLite databases")]
    pub jsonl: Option<PathBuf>,
    /// Write an SQL script that makes the table and the rows again; - prints it
    #[arg(long, value_name = "FILE", requires = "table", help_heading = "SQLite databases")]
    pub sql: Option<PathBuf>,
}

/// What `--to` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// A folder.
    Folder(PathBuf),
    /// An SQLite database.
    Sqlite(PathBuf),
}

/// What happens to a row that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rule {
    /// Nothing at all is changed; this is the default
    Fail,
    /// The row that is there stays
    Skip,
    /// The row that is there becomes as it was
    Replace,
}

impl From<Rule> for OnConflict {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Fail => Self::Fail,
            Rule::Skip => Self::Skip,
            Rule::Replace => Self::Replace,
        }
    }
}

fn to() -> impl TypedValueParser<Value = To> {
    OsStringValueParser::new().try_map(|text| match text.as_bytes().strip_prefix(b"sqlite:") {
        None => Ok(To::Folder(text.into())),
        Some(b"") => Err(Error::new(Kind::Usage, "no file is named behind sqlite:").fix("write --to sqlite:FILE")),
        Some(path) => Ok(To::Sqlite(OsStr::from_bytes(path).into())),
    })
}

/// What is asked for, so checked that the command can trust it.
#[derive(Clone, Copy, Debug)]
enum Wanted<'a> {
    /// Files, into a folder, or a plan of that.
    Files,
    /// A whole database.
    Database(Into<'a>),
    /// Rows of a table, or a plan of that.
    Rows { table: &'a str, condition: Option<&'a str>, goal: Option<Goal<'a>> },
}

/// A database that is written.
#[derive(Clone, Copy, Debug)]
enum Into<'a> {
    Live,
    File(&'a Path),
}

/// Where rows go.
#[derive(Clone, Copy, Debug)]
enum Goal<'a> {
    /// Written out; without a file they are printed.
    Written(Form, Option<&'a Path>),
    Put(Into<'a>, OnConflict),
}

impl Args {
    fn folder(&self) -> Option<&Path> {
        match &self.to {
            Some(To::Folder(folder)) => Some(folder),
            _ => None,
        }
    }

    fn wanted(&self, asks_for_json: bool) -> Result<Wanted<'_>> {
        let database = match &self.to {
            Some(To::Sqlite(path)) => Some(Into::File(path)),
            _ => self.apply.then_some(Into::Live),
        };
        if let Some(table) = &self.table {
            let goal = self.goal(database, asks_for_json)?;
            return Ok(Wanted::Rows { table, condition: self.condition.as_deref(), goal });
        }
        match database {
            None => Ok(Wanted::Files),
            Some(_) if !self.paths.is_empty() => Err(Error::new(Kind::Usage, "a PATH is given besides a database")
                .fix("name the database in ADDRESS: WHEN:SOURCE/PATH")),
            Some(Into::Live) if self.overwrite => Err(Error::new(Kind::Usage, "--overwrite does not go with --apply")
                .why("the database that is there is set aside in any case")),
            Some(into) => Ok(Wanted::Database(into)),
        }
    }

    fn goal<'a>(&'a self, database: Option<Into<'a>>, asks_for_json: bool) -> Result<Option<Goal<'a>>> {
        let refused = |what: &str, fix: &str| Err(Error::new(Kind::Usage, what).fix(fix));
        let forms = [(Form::Csv, &self.csv), (Form::JsonLines, &self.jsonl), (Form::Sql, &self.sql)];
        let mut written = forms.into_iter().find_map(|(form, file)| Some((form, file.as_deref()?)));
        if let (Some(file), true) = (self.paths.first(), asks_for_json)
            && self.paths.len() == 1
            && written.is_none()
            && database.is_none()
        {
            written = Some((Form::JsonLines, Path::new(file)));
        } else if !self.paths.is_empty() {
            return refused("a PATH is given besides a table", "name the database in ADDRESS: WHEN:SOURCE/PATH");
        }
        if self.folder().is_some() {
            return refused("rows do not go to a folder", "write --to sqlite:FILE, or --csv, --jsonl or --sql FILE");
        }
        if database.is_none() && self.on_conflict.is_some() {
            return refused("--on-conflict is for rows that go into a database", "add --apply, or --to sqlite:FILE");
        }
        if database.is_some() && self.overwrite {
            return refused("--overwrite does not go with rows that go into a database", "use --on-conflict replace");
        }
        let printed = |file: &'a Path| Some(file).filter(|file| *file != Path::new("-"));
        Ok(match (written, database) {
            (Some((form, file)), _) => Some(Goal::Written(form, printed(file))),
            (_, Some(into)) => Some(Goal::Put(into, self.on_conflict.unwrap_or(Rule::Fail).into())),
            _ => None,
        })
    }
}

/// Gets them.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    match args.wanted(context.global.json)? {
        Wanted::Files => files::run(args, context),
        Wanted::Database(into) => database::run(args, context, &|one| one.whole(into)),
        Wanted::Rows { table, condition, goal } => {
            database::run(args, context, &|one| rows::run(one, table, condition, goal))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::super::args::Cli;
    use super::super::Command;

    /// What is wanted, in the words of the program; or the error.
    fn wanted(line: &str) -> String {
        let cli = match Cli::try_parse_from(format!("larder restore latest:a {line}").split_whitespace()) {
            Ok(cli) => cli,
            Err(error) => return error.kind().to_string(),
        };
        let Command::Restore(args) = cli.command else { panic!("{line}") };
        match args.wanted(cli.global.json) {
            Ok(wanted) => format!("{wanted:?}"),
            Err(error) => error.what().to_owned(),
        }
    }

    #[test]
    fn options_say_one_thing_or_are_refused() {
        for (line, expected) in [
            ("", "Files"),
            ("b/c --to d", "Files"),
            ("--to ./sqlite:d", "Files"),
            ("--apply", "Database(Live)"),
            ("--to sqlite:d", "Database(File(\"d\"))"),
            ("--table t", "Rows { table: \"t\", condition: None, goal: None }"),
            ("--table t --json", "Rows { table: \"t\", condition: None, goal: None }"),
            ("--table t --where x --csv -", "condition: Some(\"x\"), goal: Some(Written(Csv, None)) }"),
            ("--table t --sql d", "goal: Some(Written(Sql, Some(\"d\"))) }"),
            ("--table t --jsonl d", "goal: Some(Written(JsonLines, Some(\"d\"))) }"),
            ("--table t --json d", "goal: Some(Written(JsonLines, Some(\"d\"))) }"),
            ("--table t --json -", "goal: Some(Written(JsonLines, None)) }"),
            ("--table t --apply", "goal: Some(Put(Live, Fail)) }"),
            ("--table t --to sqlite:d --on-conflict skip", "goal: Some(Put(File(\"d\"), Skip)) }"),
        ] {
            assert!(wanted(line).ends_with(expected), "{line}: {}", wanted(line));
        }
        for (line, expected) in [
            ("--to d --apply", "cannot be used"),
            ("--csv d --sql d --table t", "cannot be used"),
            ("--csv d", "required arguments were not provided"),
            ("--where x", "required arguments were not provided"),
            ("--to sqlite:", "invalid value"),
            ("--table t --to d", "do not go to a folder"),
            ("--table t --on-conflict skip", "--on-conflict is for"),
            ("--table t b --csv -", "a PATH is given"),
            ("--table t b", "a PATH is given"),
            ("b --apply", "a PATH is given"),
            ("--apply --overwrite", "--overwrite does not go"),
            ("--table t --apply --overwrite", "--overwrite does not go"),
        ] {
            assert!(wanted(line).contains(expected), "{line}: {}", wanted(line));
        }
    }
}
