//! `larder backup`

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::source_arg::SourceArg;
use super::super::{args, engine, json, render, time};
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::ops::backup::{self, Databases, Report, Request, Source};
use crate::ops::remark::{Change, remark};
use crate::record::Depth;
use crate::repo::Repository;
use crate::source::{files, sqlite};
use crate::storage::wrap::dry::DryRun;
use crate::text;

/// Take a snapshot of files, folders and SQLite databases
///
/// All sources of one run form one snapshot. The snapshots of one source name form a series; what has not changed since
/// the last one is neither read nor stored again.
///
/// A file that cannot be read, or that changes while it is read, makes the snapshot partial: the rest is saved, the file
/// is named, and the exit code is 3.
///
/// SQLite databases, also those among the files, are saved as one state of them, while others write.
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "larder backup [OPTIONS] <SOURCE>...")]
#[command(after_help = "\
Examples:
  larder backup /home
  larder backup etc=/etc www=/srv/www --exclude '*.log' --tag nightly
  larder backup sqlite:/var/lib/app/app.db
  larder backup -n /home        say how much would be saved, and save nothing")]
pub struct Args {
    /// What to save: [NAME=]PATH, or [NAME=]sqlite:PATH for a database by itself
    ///
    /// Without NAME the last part of the path is the name. A name has 1 to 64 letters, digits, dots, dashes and
    /// underscores. A path with = in it is written ./PATH, and so is one that begins with a dash. A symbolic link that is
    /// named here is followed; one that lies below a source is saved as a link.
    #[arg(required_unless_present = "command", value_name = "SOURCE", value_parser = args::source())]
    pub sources: Vec<SourceArg>,
    /// Name of the source, if there is only one
    #[arg(long, value_name = "NAME", value_parser = args::name)]
    pub name: Option<String>,
    /// Name of this machine in the snapshot, instead of its host name
    #[arg(long, value_name = "NAME", value_parser = args::name)]
    pub client: Option<String>,
    /// Continue a series that another client, or another root, has begun
    #[arg(long)]
    pub adopt: bool,
    /// Leave out what matches this pattern of gitignore syntax; may be repeated
    ///
    /// Patterns are relative to the source: /a is only what lies directly in it, a is anything of that name.
    ///
    /// A file called .larderignore does the same for the folder it is in. Folders marked by a CACHEDIR.TAG are left out
    /// too, and so is the repository itself. All of these are counted in the summary.
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Leave out what matches a pattern in this file; may be repeated
    #[arg(long, value_name = "FILE")]
    pub exclude_from: Vec<PathBuf>,
    /// Do not enter other file systems
    #[arg(long)]
    pub one_file_system: bool,
    /// Mark the snapshot with this tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Add a note to the snapshot
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Pin the snapshot: no rule forgets it until it is unpinned
    #[arg(long)]
    pub pin: bool,
    /// Take a file of the same size and modification time as unchanged
    ///
    /// Without it a file is read again when anything else about it differs as well. With it, extended attributes that
    /// changed alone go unseen.
    #[arg(long)]
    pub trust_mtime: bool,
    /// Save SQLite databases among the files as the plain files that they are
    ///
    /// Without it each is saved as an image of one transaction, while others write, and what lies beside it (-wal, -shm,
    /// -journal) is left out. A copy of a database that is written to may be no database.
    #[arg(long)]
    pub raw_databases: bool,
    /// How far to check the image of a database when it is stored
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub database_check: DatabaseCheck,
    /// Say how much would be saved, and save nothing; with -v also what would be left out
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// The output of a command becomes a source in a later version; `--` is taken for it already.
    #[arg(last = true, hide = true)]
    pub command: Vec<OsString>,
}

impl Args {
    /// The names and paths of this run, each name once.
    pub fn named_sources(&self) -> Result<Vec<Source>> {
        if !self.command.is_empty() {
            return Err(Error::new(Kind::Usage, "a command after -- cannot be backed up by this version yet")
                .fix("write paths, without the --; one that begins with a dash is written ./-PATH"));
        }
        super::super::source_arg::named(&self.sources, self.name.as_deref())
    }
}

/// How far the image of a database is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DatabaseCheck {
    /// Whether all its pages fit together, looked at while they are read
    #[default]
    Pages,
    /// All that SQLite can check, which reads the image once more
    Full,
    /// Not at all
    None,
}

impl DatabaseCheck {
    fn depth(self) -> Option<Depth> {
        match self {
            Self::Pages => Some(Depth::Pages),
            Self::Full => Some(Depth::Full),
            Self::None => None,
        }
    }
}

/// Takes it.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    // First of all: what is wrong with it needs no repository to be told.
    let sources = args.named_sources()?;
    let location = engine::location(context)?;
    let request = request(args, sources, &location, context)?;
    let storage = engine::storage(&location)?;
    let storage = if args.dry_run { Arc::new(DryRun::new(storage)) } else { storage };
    let repository = engine::open_on(storage, context)?;
    let reporter = context.reporter();
    let result = backup::backup(&repository, &request, Job { progress: &reporter, cancel: context.cancel() });
    reporter.finish();
    let report = result?;
    let exit = if report.reasons_total == 0 { Exit::Done } else { Exit::Partial };
    let pinned = if args.pin && !args.dry_run { pin(&repository, &report) } else { Ok(()) };
    tell(&report, args, exit, context)?;
    pinned.map(|()| exit)
}

/// The snapshot is the newest of its series, which nobody forgets, so there is time for it.
fn pin(repository: &Repository, report: &Report) -> Result<()> {
    let saved = |e: Error| {
        let id = report.snapshot.short();
        Error::new(e.kind(), format!("snapshot {id} is saved, but not pinned")).why(e).fix(format!("larder pin {id}"))
    };
    let listing = repository.snapshots().map_err(saved)?;
    let Some(info) = listing.snapshots.iter().find(|info| info.id == report.snapshot) else { return Ok(()) };
    remark(repository, info, &Change { is_pinned: Some(true), ..Change::default() }).map(|_| ()).map_err(saved)
}

fn request(args: &Args, sources: Vec<Source>, repository: &Path, context: &Context<'_>) -> Result<Request> {
    let files = files::Options {
        excludes: args.exclude.clone(),
        exclude_from: args.exclude_from.clone(),
        one_file_system: args.one_file_system,
        repository: Some(repository.into()),
        tell_left_out: context.global.verbose && !context.global.json,
    };
    files.refuse_absolute(&sources.iter().map(|source| source.path.clone()).collect::<Vec<_>>())?;
    let zone = context.zone();
    let now = jiff::Timestamp::from_second(context.world.now().seconds).unwrap_or_default();
    Ok(Request {
        sources,
        files,
        databases: databases(args),
        client: args.client.clone().unwrap_or_else(engine::host_name),
        user: engine::user_name(),
        zone: (zone.to_offset(now).seconds(), zone.iana_name().unwrap_or_default().to_owned()),
        adopt: args.adopt,
        tags: args.tags.clone(),
        note: args.note.clone().unwrap_or_default(),
        trust_mtime: args.trust_mtime,
        keep_cache: !args.dry_run,
    })
}

fn databases(args: &Args) -> Databases {
    // What a dry run would store cannot be read back.
    let check = if args.dry_run { None } else { args.database_check.depth() };
    let usual = Databases::default();
    let spool = engine::cache_root().map_or(usual.options.spool.clone(), |root| root.join("spool"));
    Databases { raw: args.raw_databases, options: sqlite::Options { spool, ..usual.options }, check }
}

fn tell(report: &Report, args: &Args, exit: Exit, context: &Context<'_>) -> Result<()> {
    let s = &report.summary.statistics;
    if context.global.json {
        return context.output.json(&json::Summary {
            command: "backup",
            snapshot: (!args.dry_run).then(|| report.snapshot.to_hex()),
            duration_s: s.duration_ms as f64 / 1000.0,
            bytes_read: s.bytes_read,
            bytes_added: s.bytes_added,
            files: json::Files {
                new: s.files_new,
                changed: s.files_changed,
                unchanged: s.files_unchanged,
                gone: Some(report.gone),
                failed: s.files_failed,
            },
            exit_code: exit.code(),
            left_out: Some(json::LeftOut {
                by_pattern: report.skipped.by_pattern,
                cache_folders: report.skipped.cache_directories,
                sockets: report.skipped.sockets,
                other_file_systems: report.skipped.other_file_systems,
                repositories: report.skipped.repository,
                database_files: report.skipped.database_files,
            }),
        });
    }
    if context.global.quiet {
        return Ok(());
    }
    for source in &report.summary.sources {
        let name = text::escape(&source.name);
        let entries = render::entries(source.entries);
        context.output.line(&format!("{name}  {} in {entries}", text::size(source.bytes)))?;
    }
    let counts = [(s.files_new, "new"), (s.files_changed, "changed"), (s.files_unchanged, "unchanged")];
    let gone = Some((report.gone, "gone")).filter(|(count, _)| *count > 0);
    let counts = counts.into_iter().chain(gone).map(|(count, word)| format!("{} {word}", render::grouped(count)));
    let counts = counts.collect::<Vec<_>>().join(", ");
    context.output.line(&format!(
        "{counts}; read {}, stored {} more",
        text::size(s.bytes_read),
        text::size(s.bytes_added)
    ))?;
    for line in left_out(report) {
        context.output.line(&line)?;
    }
    let took = time::duration(std::time::Duration::from_millis(s.duration_ms));
    let state = match (args.dry_run, report.reasons_total) {
        (true, _) => format!("dry run: nothing was saved ({took})"),
        (false, 0) => format!("saved snapshot {} in {took}", report.snapshot.short()),
        (false, n) => {
            format!("saved partial snapshot {} in {took}: {n} could not be read as they are", report.snapshot.short())
        }
    };
    context.output.line(&state)
}

/// What was left out on purpose, counted.
fn left_out(report: &Report) -> Vec<String> {
    let skipped = &report.skipped;
    let counts = [
        (skipped.by_pattern, "excluded by pattern", "excluded by pattern"),
        (skipped.cache_directories, "cache folder", "cache folders"),
        (skipped.sockets, "socket", "sockets"),
        (skipped.other_file_systems, "other file system", "other file systems"),
        (skipped.repository, "repository (this one)", "repositories (this one)"),
        (
            skipped.database_files,
            "file beside a database, which its image holds",
            "files beside databases, which their images hold",
        ),
    ];
    let told =
        |(n, one, many): &(u64, &str, &str)| format!("{} {}", render::grouped(*n), if *n == 1 { one } else { many });
    let parts: Vec<String> = counts.iter().filter(|(n, ..)| *n > 0).map(told).collect();
    if parts.is_empty() { Vec::new() } else { vec![format!("left out: {}", parts.join(", "))] }
}
