//! `larder ls`

use std::ops::ControlFlow;

use jiff::tz::TimeZone;

use super::super::address::Address;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::find::Meant;
use super::super::gaps::Gaps;
use super::super::view::{View, view};
use super::super::{args, json, time};
use crate::entry::{Entry, Kind};
use crate::error::Result;
use crate::ops::list;
use crate::record::SourceKind;
use crate::repo::ChunkReader;
use crate::text;

/// List the files in a snapshot
///
/// Shown are the mode, owner and group, size, last change, and the name; with -R the path below the source's root.
/// Without a source in the address the sources themselves are listed, if there are several.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder ls latest:etc
  larder ls -R 'home@2026-11-20 14:05'
  larder ls c81d0f22:home/anna/letters")]
pub struct Args {
    /// Where to look: WHEN[:SOURCE[/PATH]]
    ///
    /// WHEN is an id of 4 digits or more, latest, latest~N, or @TIME for the newest at or before it. SOURCE@TIME is the
    /// same as @TIME:SOURCE. TIME is 2026-11-20, '2026-11-20 14:05' or 2026-11-20T14:05:00+01:00; it covers the whole
    /// day, minute or second that it names.
    ///
    /// With a source, latest~N counts the snapshots that hold it. The source can be left out where there is but one: in
    /// the snapshot, if WHEN is an id, else in all snapshots.
    #[arg(value_name = "ADDRESS", value_parser = args::address())]
    pub address: Address,
    /// List what is in the folders, too
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// Lists them.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    view(&args.address, context, |view| list_all(args, view, context))
}

fn list_all(args: &Args, view: &View<'_, '_>, context: &Context<'_>) -> Result<u64> {
    let View { meant, reader, gaps } = view;
    gaps.printing();
    let several = meant.part.is_none() && meant.snapshot.body.sources.len() > 1;
    let mut lines = Lines::new(args.recursive, several, meant, context)?;
    let mut lost = 0;
    for (number, path) in meant.parts() {
        let source = &meant.snapshot.body.sources[number];
        let name = text::escape(&source.name);
        if several {
            if !args.recursive || source.kind == SourceKind::Folder {
                lost += root(reader, meant, number, &mut lines, gaps)?;
            }
            if !args.recursive {
                continue;
            }
        }
        lines.folder = path.clone();
        let mut each = |path: &[u8], entry: &Entry| {
            lines.add(&name, path, entry)?;
            Ok(if context.output.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        lost += list::list(reader, source, &path, args.recursive, gaps.job(), &mut each)?;
    }
    lines.end()?;
    Ok(lost)
}

/// The line of a source among several: it looks like a folder of its name. Returns 1 where it cannot be read.
fn root(reader: &ChunkReader<'_>, meant: &Meant, number: usize, lines: &mut Lines<'_>, gaps: &Gaps<'_>) -> Result<u64> {
    let source = &meant.snapshot.body.sources[number];
    let entry = list::found_at(reader, source, b"").and_then(|found| list::entry_of(&found).map(|e| (found.path, e)));
    match entry {
        Ok((path, entry)) => lines.add(&text::escape(&source.name), &path, &entry).map(|()| 0),
        // Whoever reads the whole tree meets the gap again.
        Err(_) if lines.recursive => Ok(0),
        Err(error) => {
            gaps.job().warn(&format!("{}: {error}", text::escape(&source.name)));
            Ok(1)
        }
    }
}

/// Where lines go: to people, or into a document.
struct Lines<'a> {
    context: &'a Context<'a>,
    document: Option<json::List<'a>>,
    zone: TimeZone,
    recursive: bool,
    /// Whether paths begin with the name of their source.
    several: bool,
    folder: Vec<u8>,
    /// The widest owner and size so far: a table would have to hold all lines.
    widths: (usize, usize),
}

impl<'a> Lines<'a> {
    fn new(recursive: bool, several: bool, meant: &Meant, context: &'a Context<'a>) -> Result<Self> {
        let head = json::LsHead { snapshot: meant.snapshot.id.to_hex() };
        let document = match context.global.json {
            true => Some(json::List::new(context.output, &head, "entries")?),
            false => None,
        };
        let (zone, folder) = (context.zone(), Vec::new());
        Ok(Self { context, document, zone, recursive, several, folder, widths: (0, 8) })
    }

    fn add(&mut self, source: &str, path: &[u8], entry: &Entry) -> Result<()> {
        if let Some(document) = &mut self.document {
            return document.item(&json::Entry::new(source, path, entry));
        }
        let name = self.name(source, path);
        let owner = format!("{}:{}", owner(&entry.user, entry.uid), owner(&entry.group, entry.gid));
        let size = match entry.kind {
            Kind::CharDevice | Kind::BlockDevice => format!("{}, {}", entry.device.0, entry.device.1),
            _ => text::size(entry.size),
        };
        self.widths.0 = self.widths.0.max(owner.chars().count());
        self.widths.1 = self.widths.1.max(size.len());
        let (owners, sizes) = self.widths;
        let (mode, time) = (mode(entry), time::local(entry.mtime, &self.zone));
        self.context.output.line(&format!("{mode}  {owner:<owners$}  {size:>sizes$}  {time}  {name}{}", arrow(entry)))
    }

    fn name(&self, source: &str, path: &[u8]) -> String {
        if self.several {
            let is_root = path.is_empty() || !self.recursive;
            return if is_root { source.to_owned() } else { format!("{source}/{}", text::escape(path)) };
        }
        if self.recursive {
            return text::escape(path);
        }
        text::escape(path.rsplit(|b| *b == b'/').next().unwrap_or_default())
    }

    fn end(self) -> Result<()> {
        self.document.map_or(Ok(()), json::List::end)
    }
}

fn owner(name: &[u8], number: u32) -> String {
    if name.is_empty() { number.to_string() } else { text::escape(name) }
}

fn arrow(entry: &Entry) -> String {
    if entry.kind == Kind::Symlink { format!(" -> {}", text::escape(&entry.target)) } else { String::new() }
}

/// As `ls -l` shows it: "drwxr-x--T".
fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
    };
    let bit = |bit: u32, letter: char| if entry.mode & bit != 0 { letter } else { '-' };
    let run = |run: u32, special: u32, set: char| match (entry.mode & run != 0, entry.mode & special != 0) {
        (true, false) => 'x',
        (false, false) => '-',
        (true, true) => set,
        (false, true) => set.to_ascii_uppercase(),
    };
    let letters = [
        kind,
        bit(0o400, 'r'),
        bit(0o200, 'w'),
        run(0o100, 0o4000, 's'),
        bit(0o040, 'r'),
        bit(0o020, 'w'),
        run(0o010, 0o2000, 's'),
        bit(0o004, 'r'),
        bit(0o002, 'w'),
        run(0o001, 0o1000, 't'),
    ];
    letters.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_look_as_in_ls() {
        let shown = |kind, bits| {
            let mut entry = Entry::new(kind);
            entry.mode = bits;
            mode(&entry)
        };
        assert_eq!(shown(Kind::File, 0o644), "-rw-r--r--");
        assert_eq!(shown(Kind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(shown(Kind::File, 0o6744), "-rwsr-Sr--");
        assert_eq!(shown(Kind::Symlink, 0o777), "lrwxrwxrwx");
    }
}
