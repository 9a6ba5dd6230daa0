//! `larder undelete`

use super::super::address::Address;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::table::{Align, Table};
use super::super::{args, engine, find, json, time};
use super::remark;
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::ObjectId;
use crate::ops::forget::undelete::undelete;
use crate::repo::{Listing, SnapshotInfo};
use crate::text;

/// Bring forgotten snapshots back, or list those that can be
///
/// What is forgotten lies in the repository's trash until it is pruned, and for two days after that. It comes back with its
/// pin, tags and note, once all that it needs has been found. What was damaged before comes back damaged, with a warning.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder undelete
  larder undelete c81d0f22
  larder undelete latest:etc       the newest of the forgotten ones of etc")]
pub struct Args {
    /// Which of the forgotten ones: an id of 4 digits or more, latest, latest~N or @TIME, with :SOURCE if need be
    #[arg(value_name = "ADDRESS", value_parser = args::address())]
    pub addresses: Vec<Address>,
}

/// Brings them back, or lists them.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let repository = engine::open(context)?;
    let trash = repository.trashed_snapshots()?;
    let exit = find::tell_unread_notes(&trash, context)?;
    if args.addresses.is_empty() {
        return Ok(list(&trash, context)?.but(exit));
    }
    let one = |address: &Address| {
        let found = find::whole(&trash, address, context);
        found.map_err(|e| match e.kind() {
            Kind::Missing => Error::new(Kind::Missing, format!("{} in the trash", e.what()))
                .why(e.reason())
                .fix("list what can be brought back: larder undelete"),
            _ => e,
        })
    };
    let mut found: Vec<SnapshotInfo> = Vec::new();
    for address in &args.addresses {
        let info = one(address)?;
        if found.iter().all(|other| other.id != info.id) {
            found.push(info);
        }
    }
    let reporter = context.reporter();
    let job = Job { progress: &reporter, cancel: context.cancel() };
    let mut back = Vec::new();
    let result = found.iter().try_for_each(|info| {
        undelete(&repository, info, job)?;
        back.push(info.id);
        Ok(())
    });
    reporter.finish();
    if context.global.json {
        context.output.json(&json::Undelete { snapshots: back.iter().map(ObjectId::to_hex).collect() })?;
    } else if !context.global.quiet {
        for id in back {
            context.output.line(&format!("snapshot {} is back", id.short()))?;
        }
    }
    result.map(|()| exit)
}

fn list(trash: &Listing, context: &Context<'_>) -> Result<Exit> {
    if context.global.json {
        context.output.json(&shape(trash))?;
    } else if trash.snapshots.is_empty() && trash.damaged.is_empty() {
        context.output.line("the trash holds no snapshot")?;
    } else {
        context.output.text(&table(trash, context).to_text(context.paint()))?;
    }
    Ok(if trash.damaged.is_empty() { Exit::Done } else { Exit::Damage })
}

fn sources(info: &SnapshotInfo) -> Vec<String> {
    info.summary.sources.iter().map(|source| text::escape(&source.name)).collect()
}

fn table(trash: &Listing, context: &Context<'_>) -> Table {
    let names = ["ID", "TIME", "SOURCES", "FORGOTTEN", "NOTE"];
    let mut table = Table::new(&names.map(|name| (name, Align::Left)));
    let (zone, now) = (context.zone(), context.world.now());
    for info in &trash.snapshots {
        let forgotten = info.standing.latest.map(|latest| time::age(latest, now)).unwrap_or_default();
        let when = time::local(info.summary.time, &zone);
        let note = text::escape(&info.standing.note);
        table.row([info.id.short().into(), when.into(), sources(info).join(" ").into(), forgotten.into(), note.into()]);
    }
    for (id, error) in &trash.damaged {
        table.row([id.short().into(), "?".into(), "".into(), "".into(), format!("damaged: {error}").into()]);
    }
    table
}

fn shape(trash: &Listing) -> json::Trash {
    let one = |info: &SnapshotInfo| json::Trashed {
        id: info.id.to_hex(),
        time: time::rfc3339(info.summary.time),
        sources: sources(info),
        forgotten: info.standing.latest.filter(|_| info.standing.is_forgotten).map(time::rfc3339),
        note: remark::note(&info.standing),
    };
    let damaged = |(id, error): &(ObjectId, Error)| json::DamagedSnapshot { id: id.to_hex(), why: error.to_string() };
    json::Trash {
        snapshots: trash.snapshots.iter().map(one).collect(),
        damaged: trash.damaged.iter().map(damaged).collect(),
    }
}
