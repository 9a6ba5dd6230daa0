//! Rows of a table: written out, or put into a database.

use std::path::Path;

use super::super::super::json;
use super::super::super::render;
use super::database::{One, raw};
use super::{Goal, Into};
use crate::error::{Error, Kind, Result};
use crate::ops::database::{self, Form};
use crate::sql::{BrokenReference, Copied, Copy, OnConflict, Selection};
use crate::target::files::{Draft, Existing};
use crate::text;

/// So many references that lead nowhere are told to people.
const REFERENCES_TOLD: usize = 10;

/// Restores them, or shows the plan.
pub(super) fn run(one: &One<'_, '_>, table: &str, condition: Option<&str>, goal: Option<Goal<'_>>) -> Result<()> {
    let what = Selection { table, where_clause: condition };
    match goal.filter(|_| !one.args.dry_run) {
        None => plan(one, table, condition, goal),
        Some(Goal::Written(form, None)) => {
            one.gaps.printing();
            write(one, what, form, &mut one.context.output.clone()).map(|_| ())
        }
        Some(Goal::Written(form, Some(file))) => write_file(one, what, form, file),
        Some(Goal::Put(into, on_conflict)) => put(one, what, into, on_conflict),
    }
}

fn plan(one: &One<'_, '_>, table: &str, condition: Option<&str>, goal: Option<Goal<'_>>) -> Result<()> {
    let tables = one.database.tables(one.context.stop(), one.gaps.job())?;
    let Some(found) = tables.iter().find(|found| found.name.eq_ignore_ascii_case(table.as_bytes())) else {
        let name = text::escape(table.as_bytes());
        return Err(Error::new(Kind::Missing, format!("there is no table {name} in {}", one.shown()))
            .fix("list them: larder tables ADDRESS"));
    };
    let to = match goal {
        Some(Goal::Put(into, _)) => Some(one.file(into)?),
        Some(Goal::Written(_, file)) => file.map(Path::to_owned),
        None => None,
    };
    one.plan(Some((table, condition, found.rows)), to.as_deref())
}

fn write(one: &One<'_, '_>, what: Selection<'_>, form: Form, out: &mut dyn std::io::Write) -> Result<u64> {
    database::write_table(one.database, what, form, out, one.context.stop(), one.gaps.job())
}

fn write_file(one: &One<'_, '_>, what: Selection<'_>, form: Form, file: &Path) -> Result<()> {
    let existing = if one.args.overwrite { Existing::Overwrite } else { Existing::Refuse };
    let draft = Draft::create(file, existing, Some(&one.repository))?;
    let mut buffered = std::io::BufWriter::new(draft);
    let rows = write(one, what, form, &mut buffered)?;
    let draft = buffered.into_inner();
    draft.map_err(|e| Error::io(format!("cannot write {}", text::path(file)), e.error()))?.publish()?;
    one.gaps.printing();
    let (output, global) = (one.context.output, one.context.global);
    if global.json {
        let copied = Copied { rows, ..Copied::default() };
        return tell_programs(one, what.table, (file, name(form)), &copied);
    }
    if !global.quiet {
        let (rows, table) = (render::counted(rows, "row"), text::escape(what.table.as_bytes()));
        output.line(&format!("wrote {rows} of {table} to {}", text::path(file)))?;
    }
    Ok(())
}

fn name(form: Form) -> &'static str {
    match form {
        Form::Csv => "csv",
        Form::JsonLines => "json-lines",
        Form::Sql => "sql",
    }
}

fn put(one: &One<'_, '_>, what: Selection<'_>, into: Into<'_>, on_conflict: OnConflict) -> Result<()> {
    one.tell_other_machine(into);
    let file = one.file(into)?;
    let copy = Copy { table: what.table, where_clause: what.where_clause, on_conflict, into_new: false };
    let to = match into {
        Into::Live => database::Into::Live(&file),
        Into::File(path) => database::Into::File { path, keep_out: Some(&one.repository) },
    };
    let copied = database::put_table(one.database, &copy, to, one.context.stop(), one.gaps.job())?;
    one.gaps.printing();
    if one.context.global.json {
        return tell_programs(one, what.table, (&file, "sqlite"), &copied);
    }
    warnings(&copied).iter().for_each(|warning| one.warn(warning));
    if one.context.global.quiet {
        return Ok(());
    }
    let (table, file) = (text::escape(what.table.as_bytes()), text::path(&file));
    let rows = render::counted(copied.rows, "row");
    let [replaced, skipped] = [copied.replaced, copied.skipped].map(render::grouped);
    let made = if copied.made { ", which was made" } else { "" };
    let line = format!("{table} in {file}{made}: {rows} inserted, {replaced} replaced, {skipped} skipped");
    one.context.output.line(&line)
}

/// What else came of it, for people.
fn warnings(copied: &Copied) -> Vec<String> {
    let mut out: Vec<String> = copied.broken_references.iter().take(REFERENCES_TOLD).map(reference).collect();
    let more = copied.broken_references_count.saturating_sub(out.len() as u64);
    if more > 0 {
        out.push(format!("{} more references lead nowhere", render::grouped(more)));
    }
    if let Some(why) = &copied.references_unchecked {
        out.push(format!("references could not be checked: {why}"));
    }
    if copied.rowids_changed > 0 {
        out.push(format!("{} got new rowids: theirs were taken", render::counted(copied.rowids_changed, "row")));
    }
    out.extend(copied.rebuilt.iter().map(|name| format!("the full-text table {} was rebuilt", text::escape(name))));
    out
}

fn reference(broken: &BrokenReference) -> String {
    let (table, parent) = (text::escape(&broken.table), text::escape(&broken.parent));
    let row = broken.rowid.map_or_else(|| "a row".to_owned(), |rowid| format!("row {rowid}"));
    match broken.parent_missing {
        true => format!("{row} of {table} refers to {parent}, which is not there"),
        false => format!("{row} of {table} refers to a row of {parent} that is not there"),
    }
}

fn tell_programs(one: &One<'_, '_>, table: &str, (to, form): (&Path, &'static str), copied: &Copied) -> Result<()> {
    let broken = |broken: &BrokenReference| json::BrokenReference {
        table: broken.table.clone().into(),
        row: broken.rowid,
        parent: broken.parent.clone().into(),
        parent_missing: broken.parent_missing,
    };
    one.context.output.json(&json::RestoredTable {
        snapshot: one.snapshot.id.to_hex(),
        source: text::escape(&one.source.name),
        path: one.database.path.as_slice().into(),
        table: table.into(),
        to: raw(to),
        form,
        made: copied.made,
        rows: copied.rows,
        replaced: copied.replaced,
        skipped: copied.skipped,
        rowids_changed: copied.rowids_changed,
        indices: copied.indices,
        triggers: copied.triggers,
        rebuilt: copied.rebuilt.iter().map(|name| name.as_slice().into()).collect(),
        references_broken: copied.broken_references.iter().map(broken).collect(),
        references_broken_total: copied.broken_references_count,
        references_unchecked: copied.references_unchecked.as_deref(),
    })?;
    one.summary(0)
}
