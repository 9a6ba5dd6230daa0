//! `larder diff`

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::super::address::Address;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::find::{self, Meant};
use super::super::gaps::Gaps;
use super::super::{args, database_diff, engine, json, render, time};
use crate::error::{Error, Kind, Result};
use crate::id::ObjectId;
use crate::ops::database_diff::{Compared, Sides, inside};
use crate::ops::diff::{self, Change, What};
use crate::ops::drill::Stop;
use crate::ops::list;
use crate::record::{Snapshot, SourceBody};
use crate::repo::{Catalogue, ChunkReader, Listing, Repository};
use crate::text;

/// Show what differs between two snapshots
///
/// With one address the snapshot is compared with its predecessor. Sources are matched by their names.
///
/// Each line begins with + added, - removed, M other content, m only other metadata (mode, owner, times, attributes),
/// or T something else now, such as a link instead of a file.
///
/// Below an SQLite database whose content changed stand its tables: rows added, removed and changed, and what of its schema
/// did. For that its tables are read whole on both sides; nothing is restored.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder diff latest
  larder diff latest~7:etc latest:etc
  larder diff latest:app/data/app.db --table people

With --table each row begins with + new, - gone, or < before and > after it changed.")]
pub struct Args {
    /// The older side, or the only one: WHEN[:SOURCE[/PATH]], as in larder ls --help
    #[arg(value_name = "A", value_parser = args::address())]
    pub a: Address,
    /// The newer side
    #[arg(value_name = "B", value_parser = args::address())]
    pub b: Option<Address>,
    /// Show the rows of this table that differ; the address is that of one database, or of a folder with only one
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Do not look into databases
    #[arg(long, conflicts_with = "table")]
    pub no_tables: bool,
}

/// Shows it.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let repository = engine::open(context)?;
    let a = find::meant(&repository, &args.a, context)?;
    let mut exit = a.exit;
    let (to, pairs) = match &args.b {
        Some(b) => {
            let b = find::meant(&repository, b, context)?;
            let pairs = between(&a, &b)?;
            exit = exit.but(b.exit);
            tell_partial([&a.snapshot, &b.snapshot], context)?;
            (b.snapshot, pairs)
        }
        None => {
            let (pairs, before) = with_predecessors(&repository, &a)?;
            tell_partial(before.iter().chain([&a.snapshot]), context)?;
            (a.snapshot, pairs)
        }
    };
    let gaps = Gaps::new(context);
    let catalogue = Catalogue::open(&repository, gaps.job())?;
    gaps.printing();
    let reader = ChunkReader::new(&repository, &catalogue);
    for pair in &pairs {
        pair.check_path(&reader)?;
    }
    let look = Look { reader: &reader, gaps: &gaps, no_tables: args.no_tables };
    if let Some(table) = &args.table {
        rows(table, &pairs, &to, &look, context)?;
        return Ok(gaps.finish(0)?.but(exit));
    }
    let mut lines = Lines::new(&pairs, &to, context)?;
    let mut lost = 0;
    for pair in &pairs {
        lines.begin(pair, &to)?;
        let [from, to] = [pair.from.as_ref().map(|(_, source)| &source.root), pair.to.as_ref().map(|s| &s.root)];
        lost += diff::diff(&reader, from, to, &pair.path, gaps.job(), &pair.name, &mut |change| {
            lines.add(pair, change, &look)
        })?;
    }
    lost += lines.databases_lost;
    lines.end(lost)?;
    Ok(gaps.finish(lost)?.but(exit))
}

/// Shows the rows of one table.
fn rows(table: &str, pairs: &[Pair], to: &Snapshot, look: &Look<'_, '_>, context: &Context<'_>) -> Result<()> {
    let [pair] = pairs else {
        return Err(Error::new(Kind::Usage, "--table is for one database")
            .why("the address means several sources")
            .fix("name the database: WHEN:SOURCE/PATH"));
    };
    let from = pair.from.as_ref().map(|(_, source)| source);
    let sides = Sides::find(look.reader, [from, pair.to.as_ref()], &pair.path)?;
    sides.each().for_each(|database| look.gaps.doubt(database));
    let head = json::RowDiffHead {
        from: pair.from.as_ref().map(|(point, _)| point.id.to_hex()),
        to: to.id.to_hex(),
        source: &pair.name,
        path: sides.path().into(),
        table,
        columns: Vec::new(),
    };
    database_diff::rows(&sides, table, head, context)
}

/// What is needed to look into databases.
struct Look<'a, 'c> {
    reader: &'a ChunkReader<'a>,
    gaps: &'a Gaps<'c>,
    no_tables: bool,
}

/// A source on both sides, or on one.
struct Pair {
    name: String,
    path: Vec<u8>,
    from: Option<(Point, SourceBody)>,
    to: Option<SourceBody>,
}

/// What is told about the older snapshot.
#[derive(Clone, Copy)]
struct Point {
    id: ObjectId,
    time: crate::entry::Time,
}

impl Point {
    fn of(snapshot: &Snapshot) -> Self {
        Self { id: snapshot.id, time: snapshot.summary.time }
    }
}

impl Pair {
    /// The older side, if that is another source.
    fn renamed(&self) -> Option<(Point, &SourceBody)> {
        let (point, from) = self.from.as_ref()?;
        self.to.as_ref().filter(|to| to.name != from.name).map(|_| (*point, from))
    }

    /// A path that is on neither side is a mistake.
    fn check_path(&self, reader: &ChunkReader<'_>) -> Result<()> {
        if self.path.is_empty() {
            return Ok(());
        }
        let sides = [self.from.as_ref().map(|(_, source)| source), self.to.as_ref()];
        let mut missing = None;
        for source in sides.into_iter().flatten() {
            match list::found_at(reader, source, &self.path) {
                Err(e) if e.kind() == Kind::Missing => missing = Some(e),
                // Damage is told when the trees are compared.
                _ => return Ok(()),
            }
        }
        missing.map_or(Ok(()), |_| {
            let path = text::escape(&self.path);
            Err(Error::new(Kind::Missing, format!("{path} is in neither snapshot"))
                .fix("list what is there: larder ls ADDRESS"))
        })
    }
}

fn source_named(snapshot: &Snapshot, name: &[u8]) -> Option<SourceBody> {
    snapshot.body.sources.iter().find(|source| source.name == name).cloned()
}

/// The sources of two snapshots by their names. A side that names no part takes that of the other.
fn between(a: &Meant, b: &Meant) -> Result<Vec<Pair>> {
    let pair = |from: Option<SourceBody>, to: Option<SourceBody>, path: &[u8]| {
        let name = to.as_ref().or(from.as_ref()).map(|source| text::escape(&source.name)).unwrap_or_default();
        Pair { name, path: path.to_vec(), from: from.map(|source| (Point::of(&a.snapshot), source)), to }
    };
    let source = |meant: &Meant, number: usize| meant.snapshot.body.sources.get(number).cloned();
    match (&a.part, &b.part) {
        (Some((from, path)), Some((to, other))) if path == other => {
            Ok(vec![pair(source(a, *from), source(b, *to), path)])
        }
        (Some(_), Some(_)) => {
            Err(Error::new(Kind::Usage, "the two sides name different paths").fix("name the same path on both sides"))
        }
        (Some((from, path)), None) => {
            let from = source(a, *from);
            let to = from.as_ref().and_then(|from| source_named(&b.snapshot, &from.name));
            Ok(vec![pair(from, to, path)])
        }
        (None, Some((to, path))) => {
            let to = source(b, *to);
            Ok(vec![pair(to.as_ref().and_then(|to| source_named(&a.snapshot, &to.name)), to, path)])
        }
        (None, None) => {
            let new = b.snapshot.body.sources.iter();
            let new = new.map(|to| pair(source_named(&a.snapshot, &to.name), Some(to.clone()), b""));
            let gone = a.snapshot.body.sources.iter().filter(|s| source_named(&b.snapshot, &s.name).is_none());
            Ok(new.chain(gone.map(|from| pair(Some(from.clone()), None, b""))).collect())
        }
    }
}

/// The sources that are meant, each with what it was before; and the snapshots that hold that.
fn with_predecessors(repository: &Repository, meant: &Meant) -> Result<(Vec<Pair>, Vec<Snapshot>)> {
    let listing = repository.snapshots()?;
    let (mut pairs, mut before) = (Vec::new(), Vec::new());
    for (number, path) in meant.parts() {
        let to = meant.snapshot.body.sources[number].clone();
        let previous = predecessor(repository, &listing, &meant.snapshot, &to)?;
        let from = previous.as_ref().and_then(|old| Some((Point::of(old), source_named(old, &to.name)?)));
        pairs.push(Pair { name: text::escape(&to.name), path, from, to: Some(to) });
        before.extend(previous);
    }
    Ok((pairs, before))
}

/// Each snapshot once: what seems to come or go may only have been unreadable.
fn tell_partial<'s>(snapshots: impl IntoIterator<Item = &'s Snapshot>, context: &Context<'_>) -> Result<()> {
    let mut told = BTreeSet::new();
    for snapshot in snapshots.into_iter().filter(|snapshot| told.insert(snapshot.id)) {
        find::tell_partial(snapshot, "; what seems added or removed may only have been unreadable", context)?;
    }
    Ok(())
}

/// The snapshot before this one in a series: the one that it was made against, or, if that is gone, the newest older.
fn predecessor(
    repository: &Repository,
    listing: &Listing,
    snapshot: &Snapshot,
    source: &SourceBody,
) -> Result<Option<Snapshot>> {
    let Some(previous) = source.previous else { return Ok(None) };
    let is_there = |id: &ObjectId| {
        listing.snapshots.iter().any(|info| info.id == *id) || listing.damaged.iter().any(|(other, _)| other == id)
    };
    if is_there(&previous) {
        return repository.snapshot(&previous).map(Some);
    }
    let this = (snapshot.summary.time, snapshot.id);
    let older = listing.snapshots.iter().rev().filter(|info| info.confirmed && (info.summary.time, info.id) < this);
    let mut in_series = older.filter(|info| info.summary.sources.iter().any(|other| other.name == source.name));
    in_series.next().map(|info| repository.snapshot(&info.id)).transpose()
}

/// Where lines go: to people, or into a document.
struct Lines<'a> {
    context: &'a Context<'a>,
    document: Option<json::List<'a>>,
    totals: json::Totals,
    /// Databases that the repository cannot give back.
    databases_lost: u64,
}

impl<'a> Lines<'a> {
    fn new(pairs: &[Pair], to: &Snapshot, context: &'a Context<'a>) -> Result<Self> {
        let points = || pairs.iter().filter_map(|pair| Some((pair, pair.from.as_ref()?.0)));
        let head = json::DiffHead {
            from: points().max_by_key(|(_, point)| (point.time, point.id)).map(|(_, point)| point.id.to_hex()),
            to: to.id.to_hex(),
            previous: points().map(|(pair, point)| (pair.name.clone(), point.id.to_hex())).collect(),
        };
        let document = match context.global.json {
            true => Some(json::List::new(context.output, &head, "changes")?),
            false => None,
        };
        Ok(Self { context, document, totals: json::Totals::default(), databases_lost: 0 })
    }

    /// The heading of a source.
    fn begin(&self, pair: &Pair, to: &Snapshot) -> Result<()> {
        if self.document.is_some() {
            return Ok(());
        }
        let zone = self.context.zone();
        let shown = |point: Point| format!("{} {}", point.id.short(), time::local(point.time, &zone));
        let path = if pair.path.is_empty() { String::new() } else { format!("/{}", text::escape(&pair.path)) };
        if let Some((point, from)) = pair.renamed() {
            let (from, to) = (text::escape(&from.name), Point::of(to));
            let [old, new] = [(point, &from), (to, &pair.name)]
                .map(|(point, name)| format!("{}:{name}{path} {}", point.id.short(), time::local(point.time, &zone)));
            return self.context.output.line(&format!("{old} -> {new}"));
        }
        let from = pair.from.as_ref().map_or("nothing before".to_owned(), |(point, _)| shown(*point));
        self.context.output.line(&format!("{}{path}  {from} -> {}", pair.name, shown(Point::of(to))))
    }

    fn add(&mut self, pair: &Pair, change: &Change, look: &Look<'_, '_>) -> Result<ControlFlow<()>> {
        self.count(change);
        if self.document.is_none() {
            // What is inside may take a while.
            self.context.output.line(&line(change))?;
        }
        let inside = self.inside(pair, change, look)?;
        match &mut self.document {
            Some(document) => document.item(&json::Change {
                source: &pair.name,
                path: change.path.as_slice().into(),
                change: kind(change.what),
                kind: json::kind_name(change.kind),
                bytes_from: change.bytes_from,
                bytes_to: change.bytes_to,
                database: database_diff::shape(&inside),
            })?,
            None => {
                let lines = database_diff::lines(&inside);
                lines.iter().try_for_each(|line| self.context.output.line(&format!("    {line}")))?;
            }
        }
        Ok(if self.context.output.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn inside(&mut self, pair: &Pair, change: &Change, look: &Look<'_, '_>) -> Result<Compared> {
        if look.no_tables {
            return Ok(Compared::NoDatabase);
        }
        let context = self.context;
        let stop = || -> Stop { Box::new(context.stop()) };
        let inside = inside(look.reader, change, &stop, context.cancel())?;
        if let Compared::Lost(error) = &inside {
            self.databases_lost += 1;
            look.gaps.job().warn(&format!("{}/{}: {error}", pair.name, text::escape(&change.path)));
        }
        Ok(inside)
    }

    fn count(&mut self, change: &Change) {
        let totals = &mut self.totals;
        match change.what {
            What::Added => totals.added += 1,
            What::Removed => totals.removed += 1,
            _ => totals.changed += 1,
        }
        let (from, to) = (change.bytes_from.unwrap_or(0), change.bytes_to.unwrap_or(0));
        totals.bytes_added += to.saturating_sub(from);
        totals.bytes_removed += from.saturating_sub(to);
    }

    fn end(self, lost: u64) -> Result<()> {
        let t = self.totals;
        if let Some(document) = self.document {
            return document.end_with("totals", &t);
        }
        if t == json::Totals::default() && lost == 0 {
            return self.context.output.line("no difference");
        }
        let counts = [(t.added, "added"), (t.removed, "removed"), (t.changed, "changed")];
        let counts = counts.map(|(n, word)| format!("{} {word}", render::grouped(n))).join(", ");
        let (more, less) = (text::size(t.bytes_added), text::size(t.bytes_removed));
        self.context.output.line(&format!("{counts}; {more} more, {less} less"))
    }
}

fn kind(what: What) -> json::ChangeKind {
    match what {
        What::Added => json::ChangeKind::Added,
        What::Removed => json::ChangeKind::Removed,
        What::Content => json::ChangeKind::Content,
        What::Metadata => json::ChangeKind::Metadata,
        What::Kind => json::ChangeKind::Kind,
    }
}

/// Such as "M a/b  1.2 KiB -> 3 KiB".
fn line(change: &Change) -> String {
    let path = if change.path.is_empty() { ".".into() } else { text::escape(&change.path) };
    let size = |bytes: Option<u64>| text::size(bytes.unwrap_or(0));
    let is_file = change.kind == crate::entry::Kind::File;
    let (letter, sizes) = match change.what {
        What::Added if is_file => ('+', format!("  {}", size(change.bytes_to))),
        What::Removed if is_file => ('-', format!("  {}", size(change.bytes_from))),
        What::Content if is_file => ('M', format!("  {} -> {}", size(change.bytes_from), size(change.bytes_to))),
        What::Kind => ('T', format!("  now a {}", json::kind_name(change.kind))),
        What::Added => ('+', String::new()),
        What::Removed => ('-', String::new()),
        What::Content => ('M', String::new()),
        What::Metadata => ('m', String::new()),
    };
    format!("{letter} {path}{sizes}")
}
