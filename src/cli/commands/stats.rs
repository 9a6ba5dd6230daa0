//! `larder stats`

use super::super::address::Address;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::gaps::Gaps;
use super::super::table::{Align, Table};
use super::super::{args, engine, find, json, render};
use crate::error::{Error, Kind, Result};
use crate::id::ObjectId;
use crate::ops::stats::{self, Removal, Stats};
use crate::repo::{Catalogue, ChunkReader, Repository};
use crate::text;

/// Show what the repository holds and what it saves
///
/// Raw is what all snapshots would take unpacked, unique what is left without repetitions, stored what the repository
/// takes.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder stats
  larder stats --snapshot latest~30")]
pub struct Args {
    /// Show what removing this snapshot alone would free; may be repeated
    ///
    /// An estimate, for which the trees of all snapshots are read: chunks are compressed together, and each counts for
    /// its part of that, by its length before compression. Two snapshots removed together may free more than the sum.
    #[arg(long = "snapshot", value_name = "ADDRESS", value_parser = args::address())]
    pub snapshots: Vec<Address>,
}

/// Shows it.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let repository = engine::open(context)?;
    let wanted = wanted(args, &repository, context)?;
    let listing = repository.snapshots()?;
    let gaps = Gaps::new(context);
    let catalogue = Catalogue::load(&repository, gaps.job())?;
    let stats = stats::stats(&repository, &catalogue, &listing)?;
    let mut removal = Removal { gaps: listing.damaged.len() as u64, ..Removal::default() };
    if wanted.is_empty() {
        for (_, error) in &listing.damaged {
            gaps.job().warn(&error.to_string());
        }
    } else {
        gaps.job().phase("reading all trees", Some(stats.snapshots), None);
        removal = stats::removal(&ChunkReader::new(&repository, &catalogue), &listing, gaps.job())?;
    }
    gaps.printing();
    let freed: Vec<(ObjectId, u64)> =
        wanted.iter().map(|id| (*id, removal.freed.get(id).copied().unwrap_or(0))).collect();
    if context.global.json {
        as_json(stats, &freed, context)?;
    } else {
        as_text(&stats, &freed, context)?;
    }
    gaps.finish(removal.gaps)
}

fn wanted(args: &Args, repository: &Repository, context: &Context<'_>) -> Result<Vec<ObjectId>> {
    let one = |address: &Address| {
        let meant = find::meant(repository, address, context)?;
        match meant.part {
            Some((_, path)) if !path.is_empty() => {
                Err(Error::new(Kind::Usage, "a part of a snapshot cannot be removed")
                    .fix(format!("name the whole snapshot: {}", meant.snapshot.id.short())))
            }
            _ => Ok(meant.snapshot.id),
        }
    };
    args.snapshots.iter().map(one).collect()
}

fn ratio(stats: &Stats) -> Option<f64> {
    (stats.stored_bytes > 0).then(|| stats.raw_bytes as f64 / stats.stored_bytes as f64)
}

fn as_json(stats: Stats, freed: &[(ObjectId, u64)], context: &Context<'_>) -> Result<()> {
    let objects = |o: &stats::Objects| json::Objects { kind: o.kind, count: o.count, bytes: o.bytes };
    let removal = |(id, bytes): &(ObjectId, u64)| json::Removal { snapshot: id.to_hex(), freed_bytes: *bytes };
    context.output.json(&json::Stats {
        snapshots: stats.snapshots,
        raw_bytes: stats.raw_bytes,
        unique_bytes: stats.unique_bytes,
        stored_bytes: stats.stored_bytes,
        ratio: ratio(&stats),
        delta_share: (stats.unique_bytes > 0).then(|| stats.deltas.raw_bytes as f64 / stats.unique_bytes as f64),
        delta_bytes: stats.deltas.stored_bytes,
        delta_bytes_whole: stats.deltas.whole_bytes,
        objects: stats.objects.iter().map(objects).collect(),
        removal: freed.iter().map(removal).collect(),
    })
}

fn as_text(stats: &Stats, freed: &[(ObjectId, u64)], context: &Context<'_>) -> Result<()> {
    let line = |name: &str, bytes: u64, what: String| {
        context.output.line(&format!("{name:<7}  {:>8}  {what}", text::size(bytes)))
    };
    line("raw", stats.raw_bytes, format!("in {}, each in full", render::counted(stats.snapshots, "snapshot")))?;
    let chunks = render::grouped(stats.chunks);
    line("unique", stats.unique_bytes, format!("in {chunks} distinct chunks, before compression"))?;
    let times = ratio(stats).map(|ratio| format!("; raw is {ratio:.1} times as much")).unwrap_or_default();
    if stats.deltas.chunks > 0 {
        let (chunks, raw) = (render::grouped(stats.deltas.chunks), text::size(stats.deltas.raw_bytes));
        let whole = text::size(stats.deltas.whole_bytes);
        let what = format!("in {chunks} chunks of {raw} stored as deltas; whole, they would take about {whole}");
        line("deltas", stats.deltas.stored_bytes, what)?;
    }
    line("stored", stats.stored_bytes, format!("in all objects{times}"))?;
    let mut table = Table::new(&[("KIND", Align::Left), ("OBJECTS", Align::Right), ("SIZE", Align::Right)]);
    for objects in &stats.objects {
        table.row([objects.kind.into(), render::grouped(objects.count).into(), text::size(objects.bytes).into()]);
    }
    context.output.text(&format!("\n{}", table.to_text(context.paint())))?;
    if freed.is_empty() {
        return Ok(());
    }
    context.output.line("")?;
    for (id, bytes) in freed {
        context.output.line(&format!("removing {} alone would free about {}", id.short(), text::size(*bytes)))?;
    }
    context.output.line("(estimated: of what is compressed together, the part that no other snapshot needs)")
}
