//! `larder query`

use super::super::address::Address;
use super::super::answer::{Document, People};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::find::Meant;
use super::super::view::view;
use super::super::{args, json};
use crate::error::Result;
use crate::ops::database::{Database, because};
use crate::sql::{self, Csv, Sink};
use crate::text;

/// Ask an SQLite database in a snapshot
///
/// The query runs inside the snapshot: nothing is restored, and only what the query needs is read. Only statements that
/// read are run.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder query latest:app/data/app.db 'SELECT city, count(*) FROM people GROUP BY city'
  larder query --csv latest:app 'SELECT * FROM people' > people.csv")]
pub struct Args {
    /// The database: WHEN:SOURCE/PATH, as in larder ls --help; of a folder the only one that is in it
    #[arg(value_name = "ADDRESS", value_parser = args::address())]
    pub address: Address,
    /// One statement that reads
    #[arg(value_name = "SQL")]
    pub sql: String,
    /// Print the rows as CSV, with a header
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// Asks.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    view(&args.address, context, |view| {
        view.gaps.printing();
        let (database, source) = view.database()?;
        ask(args, view.meant, source, &database, context).map(|()| 0)
    })
}

fn ask(args: &Args, meant: &Meant, source: usize, database: &Database<'_>, context: &Context<'_>) -> Result<()> {
    let opened = database.open(context.stop())?;
    let head = json::QueryHead {
        snapshot: meant.snapshot.id.to_hex(),
        source: text::escape(&meant.snapshot.body.sources[source].name),
        path: database.path.as_slice().into(),
        columns: Vec::new(),
    };
    let mut sink: Box<dyn Sink + '_> = match (args.csv, context.global.json) {
        (true, _) => Box::new(Csv::new(context.output.clone())),
        (_, true) => Box::new(Document::new(context.output, head)),
        _ => Box::new(People::new(context.output)),
    };
    because(&opened, sql::query(&opened, &args.sql, context.cancel(), &mut *sink))?;
    context.output.finish()
}
