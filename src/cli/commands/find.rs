//! `larder find`

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::gaps::Gaps;
use super::super::table::{Align, Table};
use super::super::{args, engine, json, time};
use crate::error::{Error, Kind, Result};
use crate::ops::find::{self, Match, Pattern};
use crate::repo::{Catalogue, ChunkReader, SnapshotInfo};
use crate::text;

/// Find files in all snapshots by their name
///
/// Each version of a file is listed once, newest first, with the first and the last snapshot that has it, and how many
/// have it. What is listed as home/a/b is printed by larder cat ID:home/a/b. No match is exit code 1.
///
/// Names that hold control or invisible characters, backslashes or bytes that are not UTF-8 are shown with escapes such as
/// \x0a, as everywhere. Commands take the raw bytes: type them with $'...' of the shell, or take them from --json.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder find '*.odt'
  larder find 'anna/**/thesis*' --source home")]
pub struct Args {
    /// A glob on the name, or on the whole path if it holds a slash
    #[arg(value_name = "PATTERN", value_parser = args::pattern)]
    pub pattern: String,
    /// Look only in this source
    #[arg(long, value_name = "NAME", value_parser = args::name)]
    pub source: Option<String>,
}

/// Finds them.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let pattern = Pattern::new(&args.pattern)?;
    let repository = engine::open(context)?;
    let listing = repository.snapshots()?;
    let snapshots: Vec<&SnapshotInfo> = listing.snapshots.iter().filter(|info| info.confirmed).collect();
    let gaps = Gaps::new(context);
    let catalogue = Catalogue::load(&repository, gaps.job())?;
    gaps.job().phase("searching", Some(snapshots.len() as u64), None);
    let reader = ChunkReader::new(&repository, &catalogue);
    let (matches, mut lost) = find::find(&reader, &snapshots, args.source.as_deref(), &pattern, gaps.job())?;
    for (_, error) in &listing.damaged {
        gaps.job().warn(&error.to_string());
        lost += 1;
    }
    gaps.printing();
    if matches.is_empty() && lost == 0 {
        return Err(nothing_fits(args));
    }
    if context.global.json {
        as_json(args, &matches, &snapshots, context)?;
    } else if !matches.is_empty() {
        as_table(&matches, &snapshots, context)?;
    }
    gaps.finish(lost)
}

fn nothing_fits(args: &Args) -> Error {
    let of = args.source.as_ref().map(|name| format!(" of {}", text::escape(name.as_bytes()))).unwrap_or_default();
    let pattern = text::escape(args.pattern.as_bytes());
    Error::new(Kind::Missing, format!("nothing in the snapshots{of} is called '{pattern}'"))
        .fix("a name must fit as a whole: '*part*'; a pattern with a slash is for the path below the source's root")
}

fn as_table(matches: &[Match], snapshots: &[&SnapshotInfo], context: &Context<'_>) -> Result<()> {
    let mut table = Table::new(&[
        ("FIRST", Align::Left),
        ("LAST", Align::Left),
        ("SNAPSHOTS", Align::Right),
        ("SIZE", Align::Right),
        ("CHANGED", Align::Left),
        ("PATH", Align::Left),
    ]);
    let zone = context.zone();
    let point = |number: usize| {
        let info = snapshots[number];
        format!("{} {}", info.id.short(), time::local(info.summary.time, &zone))
    };
    for found in matches {
        table.row([
            point(found.first).into(),
            point(found.last).into(),
            found.snapshots.to_string().into(),
            text::size(found.size).into(),
            time::local(found.mtime, &zone).into(),
            format!("{}/{}", text::escape(&found.source), text::escape(&found.path)).into(),
        ]);
    }
    context.output.text(&table.to_text(context.paint()))
}

fn as_json(args: &Args, matches: &[Match], snapshots: &[&SnapshotInfo], context: &Context<'_>) -> Result<()> {
    let head = json::FindHead { pattern: args.pattern.clone() };
    let mut document = json::List::new(context.output, &head, "matches")?;
    let point = |number: usize| {
        let info = snapshots[number];
        json::Point { id: info.id.to_hex(), time: time::rfc3339(info.summary.time) }
    };
    for found in matches {
        document.item(&json::Match {
            source: &text::escape(&found.source),
            path: found.path.as_slice().into(),
            kind: json::kind_name(found.kind),
            size: found.size,
            mtime: time::rfc3339(found.mtime),
            first: point(found.first),
            last: point(found.last),
            snapshots: found.snapshots,
        })?;
    }
    document.end()
}
