//! `larder tables`

use super::super::address::Address;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::find::Meant;
use super::super::paint::{Paint, Tone};
use super::super::table::{Align, Cell, Table};
use super::super::view::view;
use super::super::{args, json, render};
use crate::error::Result;
use crate::ops::database::Database;
use crate::sql::{self, Hidden, TableKind};
use crate::text;

/// List the tables of an SQLite database in a snapshot
///
/// Nothing is restored, and only what is needed of the database is read. Rows are those that were counted when it was
/// saved; those of a database that was saved as a plain file are counted now.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder tables latest:app/data/app.db
  larder tables latest:app")]
pub struct Args {
    /// The database: WHEN:SOURCE/PATH, as in larder ls --help; of a folder the only one that is in it
    #[arg(value_name = "ADDRESS", value_parser = args::address())]
    pub address: Address,
}

/// Lists them.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    view(&args.address, context, |view| {
        view.gaps.printing();
        let (database, source) = view.database()?;
        let tables = database.tables(context.stop(), view.gaps.job())?;
        if context.global.json {
            as_json(view.meant, source, &database, &tables, context)?;
        } else {
            context.output.text(&as_table(&tables).to_text(Paint::stdout()))?;
        }
        Ok(0)
    })
}

fn kind(table: &sql::Table) -> String {
    match &table.kind {
        TableKind::Table => "table".into(),
        TableKind::View => "view".into(),
        TableKind::Virtual { module } => text::escape(module.as_bytes()),
        TableKind::Shadow { of } => format!("part of {}", text::escape(of)),
    }
}

/// Those that `SELECT *` shows.
fn shown(table: &sql::Table) -> impl Iterator<Item = &[u8]> {
    table.columns.iter().filter(|column| column.hidden != Hidden::Handle).map(|column| column.name.as_slice())
}

/// Of the many tables that one database may have not all were counted when it was saved.
fn rows(table: &sql::Table) -> String {
    match table.rows {
        Some(rows) => render::grouped(rows),
        None if table.kind == TableKind::View || table.unreadable.is_some() => String::new(),
        None => "not counted".into(),
    }
}

fn as_table(tables: &[sql::Table]) -> Table {
    let columns = [("NAME", Align::Left), ("ROWS", Align::Right), ("KIND", Align::Left), ("COLUMNS", Align::Left)];
    let mut out = Table::new(&columns);
    for table in tables {
        let names: Vec<_> = shown(table).map(text::escape).collect();
        let last = match &table.unreadable {
            Some(why) => Cell::state(Tone::Bad, format!("cannot be read: {why}")),
            None => names.join(", ").into(),
        };
        out.row([text::escape(&table.name).into(), rows(table).into(), kind(table).into(), last]);
    }
    out
}

fn as_json(
    meant: &Meant,
    source: usize,
    database: &Database<'_>,
    tables: &[sql::Table],
    context: &Context<'_>,
) -> Result<()> {
    let head = json::TablesHead {
        snapshot: meant.snapshot.id.to_hex(),
        source: text::escape(&meant.snapshot.body.sources[source].name),
        path: database.path.as_slice().into(),
    };
    let mut list = json::List::new(context.output, &head, "tables")?;
    for table in tables {
        list.item(&json::DatabaseTable {
            name: table.name.as_slice().into(),
            kind: kind(table),
            rows: table.rows,
            columns: shown(table).map(Into::into).collect(),
            why: table.unreadable.as_deref(),
        })?;
    }
    list.end()
}
