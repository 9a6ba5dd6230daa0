//! A whole database, to a file of its own or back where it was; and what restoring rows has in common with that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::gaps::Gaps;
use super::super::super::paint::Paint;
use super::super::super::view::view;
use super::super::super::{engine, json, render, time};
use super::super::snapshots::health;
use super::files::plan_head;
use super::{Args, Into};
use crate::error::{Error, Kind, Result};
use crate::ops::database::{self, Database, Place, Placed};
use crate::record::{Snapshot, SourceBody};
use crate::repo::SnapshotInfo;
use crate::target::files::Existing;
use crate::text;

/// A database that is restored, with everything that this takes.
pub(super) struct One<'a, 'c> {
    pub args: &'a Args,
    pub context: &'c Context<'c>,
    pub gaps: &'a Gaps<'c>,
    pub info: &'a SnapshotInfo,
    pub snapshot: &'a Snapshot,
    pub source: &'a SourceBody,
    pub database: &'a Database<'a>,
    /// The repository's folder.
    pub repository: PathBuf,
    begun: Duration,
}

/// Finds the database that is meant, and calls with it.
pub(super) fn run(args: &Args, context: &Context<'_>, call: &dyn Fn(&One<'_, '_>) -> Result<()>) -> Result<Exit> {
    let begun = context.world.elapsed();
    view(&args.address, context, |view| {
        let (database, source) = view.database()?;
        let (info, snapshot, repository) = (&view.meant.info, &view.meant.snapshot, engine::location(context)?);
        let source = &snapshot.body.sources[source];
        call(&One { args, context, gaps: view.gaps, info, snapshot, source, database: &database, repository, begun })?;
        Ok(0)
    })
}

impl One<'_, '_> {
    /// The file that is written.
    pub fn file(&self, into: Into<'_>) -> Result<PathBuf> {
        match into {
            Into::Live => database::origin(self.source, &self.database.path).ok_or_else(|| {
                Error::new(Kind::Failed, format!("cannot put {} back where it was", self.shown()))
                    .why("the snapshot does not say where that is")
                    .fix("name the file: --to sqlite:FILE")
            }),
            Into::File(path) => Ok(path.to_owned()),
        }
    }

    /// Its name in messages: the source, and the path in it.
    pub fn shown(&self) -> String {
        let (source, path) = (text::escape(&self.source.name), text::escape(&self.database.path));
        if source == path { source } else { format!("{source}/{path}") }
    }

    /// The same path need not be the same place on another machine.
    pub fn tell_other_machine(&self, into: Into<'_>) {
        let (client, host) = (text::escape(&self.snapshot.summary.client), engine::host_name());
        if matches!(into, Into::Live) && client != host {
            self.gaps.job().warn(&format!("the snapshot was taken by {client}, and this is {host}"));
        }
    }

    /// Whole, into a file.
    pub fn whole(&self, into: Into<'_>) -> Result<()> {
        let file = self.file(into)?;
        if self.args.dry_run {
            return self.plan(None, Some(&file));
        }
        self.tell_other_machine(into);
        let is_live = matches!(into, Into::Live);
        let may_be_there = is_live || self.args.overwrite;
        let existing = if may_be_there { Existing::Overwrite } else { Existing::Refuse };
        let place = Place { path: &file, existing, keep_out: Some(&self.repository), is_live };
        let (gaps, stop) = (self.gaps, self.context.stop());
        let placed = database::place(self.database, (self.snapshot, self.source), place, stop, gaps.job())?;
        gaps.printing();
        placed.warnings.iter().for_each(|warning| gaps.job().warn(warning));
        self.tell_placed(&placed)
    }

    fn tell_placed(&self, placed: &Placed) -> Result<()> {
        let Context { output, global, .. } = *self.context;
        if global.json {
            let (to, path) = (raw(&placed.path), self.database.path.as_slice().into());
            let moved = |(from, to)| json::Moved { from: raw(from), to: raw(to) };
            let aside = placed.aside.iter().map(|(from, to)| moved((from, to))).collect();
            let (snapshot, source) = (self.snapshot.id.to_hex(), text::escape(&self.source.name));
            output.json(&json::RestoredDatabase { snapshot, source, path, to, bytes: placed.bytes, aside })?;
            return self.summary(placed.bytes);
        }
        if global.quiet {
            return Ok(());
        }
        let (size, took) = (text::size(placed.bytes), time::duration(self.took()));
        output.line(&format!("restored {} ({size}) to {} in {took}", self.shown(), text::path(&placed.path)))?;
        if let Some((_, aside)) = placed.aside.first() {
            let what = if placed.replaces() { "the one that was there" } else { "what was left of another one" };
            output.line(&format!("{what} is now {}", text::path(aside)))?;
            output.line(&format!("to undo, while nothing uses it: {}", undo(placed)))?;
        }
        Ok(())
    }

    /// What would be done: with all of it, or with a table.
    pub fn plan(&self, table: Option<(&str, Option<&str>, Option<u64>)>, to: Option<&Path>) -> Result<()> {
        self.gaps.printing();
        let Context { output, global, .. } = *self.context;
        let origin = database::origin(self.source, &self.database.path);
        let is_there = to.map(|to| to.symlink_metadata().is_ok());
        let bytes = self.database.bytes();
        if global.json {
            return output.json(&json::DatabasePlan {
                snapshot: self.snapshot.id.to_hex(),
                time: time::rfc3339(self.snapshot.summary.time),
                source: text::escape(&self.source.name),
                path: self.database.path.as_slice().into(),
                origin: origin.as_deref().map(raw),
                bytes,
                table: table.map(|(name, ..)| name.into()),
                condition: table.and_then(|(_, condition, _)| condition),
                rows: table.and_then(|(.., rows)| rows),
                to: to.map(raw),
                is_there,
                health: health(self.info),
            });
        }
        plan_head(self.info, self.context).iter().try_for_each(|line| output.line(line))?;
        let from = origin.map(|origin| format!(", from {}", text::path(&origin))).unwrap_or_default();
        output.line(&format!("  {}  {}{from}", self.shown(), text::size(bytes)))?;
        if let Some((name, condition, rows)) = table {
            let rows = rows.map_or_else(|| "rows not counted".to_owned(), |rows| render::counted(rows, "row"));
            let only = condition.map(|text| format!(", only where {}", text::escape(text.as_bytes())));
            output.line(&format!("  table {}  {rows}{}", text::escape(name.as_bytes()), only.unwrap_or_default()))?;
        }
        if let Some(to) = to {
            let word = match (table, is_there) {
                (_, Some(false)) | (_, None) => "which is made",
                (Some(_), _) => "which is there",
                (None, _) => "where another one is",
            };
            output.line(&format!("  -> {}, {word}", text::path(to)))?;
        }
        output.line(match to {
            Some(_) => "nothing was changed; run it without -n",
            None => "nothing was changed; say where with --apply, --to sqlite:FILE, --csv, --jsonl or --sql FILE",
        })
    }

    /// How long it has taken so far.
    pub fn took(&self) -> Duration {
        self.context.world.elapsed().saturating_sub(self.begun)
    }

    /// The last line for programs.
    pub fn summary(&self, bytes: u64) -> Result<()> {
        self.gaps.tell_kept()?;
        self.context.output.json(&json::Summary {
            command: "restore",
            snapshot: Some(self.snapshot.id.to_hex()),
            duration_s: self.took().as_secs_f64(),
            bytes_read: bytes,
            bytes_added: bytes,
            files: json::Files::default(),
            exit_code: Exit::Done.code(),
            left_out: None,
        })
    }

    /// Something that people should know.
    pub fn warn(&self, message: &str) {
        super::super::super::tell(&format!("{}\n", render::warning(message, Paint::stderr())));
    }
}

/// A path for programs.
pub(super) fn raw(path: &Path) -> json::Raw<'static> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec().into()
}

/// What brings the old one back, as a line for a shell.
fn undo(placed: &Placed) -> String {
    let word = |path: &Path| text::shell_word(path).unwrap_or_else(|| text::path(path));
    let beside = |ending: &str| {
        let mut name = placed.path.as_os_str().to_owned();
        name.push(ending);
        word(Path::new(&name))
    };
    let mut line = format!("rm -f {} {} {}", beside("-wal"), beside("-shm"), beside("-journal"));
    if !placed.replaces() {
        // A log that comes back would be played into the new one. First, so that no moment has both.
        line = format!("rm -f {} && {line}", word(&placed.path));
    }
    for (from, aside) in &placed.aside {
        line.push_str(&format!(" && mv {} {}", word(aside), word(from)));
    }
    line
}
