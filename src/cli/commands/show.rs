//! `larder show`

use super::super::address::{Address, When};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::find::{self, Chosen};
use super::super::{args, engine, json, render, time};
use super::snapshots::{reason, shape, words};
use crate::error::Result;
use crate::id::SessionId;
use crate::record::{Snapshot, SourceBody, State, Statistics};
use crate::text;

/// Show all that is known about a snapshot
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder show latest
  larder show c81d0f22 --json")]
pub struct Args {
    /// The snapshot: an id of 4 digits or more, latest, latest~N or @TIME
    #[arg(value_name = "ID", value_parser = args::when())]
    pub id: When,
}

/// Shows it.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let repository = engine::open(context)?;
    let address = Address { when: args.id.clone(), rest: None };
    let Chosen { info, snapshot, exit } = find::chosen(&repository, &address, context)?;
    if context.global.json {
        context.output.json(&as_json(&snapshot, info.session, info.confirmed))?;
    } else {
        context.output.text(&as_text(&snapshot, info.session, info.confirmed, context))?;
    }
    Ok(exit)
}

fn as_json(snapshot: &Snapshot, session: SessionId, confirmed: bool) -> json::Show<'_> {
    let Snapshot { id, summary, body } = snapshot;
    let s = &summary.statistics;
    let previous = |source: &SourceBody| Some((text::escape(&source.name), source.previous?.to_hex()));
    json::Show {
        snapshot: shape(id, summary, body, confirmed),
        previous: body.sources.iter().filter_map(previous).collect(),
        session: session.to_hex(),
        program: text::escape(&summary.program),
        duration_s: s.duration_ms as f64 / 1000.0,
        bytes_read: s.bytes_read,
        files: json::Files {
            new: s.files_new,
            changed: s.files_changed,
            unchanged: s.files_unchanged,
            failed: s.files_failed,
        },
    }
}

fn as_text(snapshot: &Snapshot, session: SessionId, confirmed: bool, context: &Context<'_>) -> String {
    let Snapshot { id, summary, body } = snapshot;
    let zone = context.zone();
    let mut out = Fields::default();
    out.add("snapshot", id.to_hex());
    let age = time::age(summary.time, context.world.now());
    out.add("time", format!("{} ({age})", time::local_seconds(summary.time, &zone)));
    out.add("by", format!("{} on {}", text::escape(&summary.user), text::escape(&summary.client)));
    out.add("program", text::escape(&summary.program));
    out.add("session", session.to_hex());
    out.add("state", state(snapshot, confirmed));
    out.add_if("tags", words(&summary.tags).join(" "));
    out.add_if("note", text::escape(&summary.note));
    for source in &body.sources {
        out.add("source", text::escape(&source.name));
        source_lines(&mut out, source);
    }
    statistics(&mut out, &summary.statistics);
    for (n, one) in body.reasons.iter().enumerate() {
        out.add(if n == 0 { "missing" } else { "" }, reason(one));
    }
    let unnamed = body.reasons_total.saturating_sub(body.reasons.len() as u64);
    if unnamed > 0 {
        out.add("", format!("and {} more", render::grouped(unnamed)));
    }
    out.0
}

fn state(snapshot: &Snapshot, confirmed: bool) -> String {
    let word = match snapshot.summary.state {
        State::Whole => "ok".to_owned(),
        State::Partial => {
            format!("partial: {} could not be read as they are", render::grouped(snapshot.body.reasons_total))
        }
    };
    if confirmed { word } else { format!("{word}; unconfirmed: the run that made it has not finished") }
}

fn source_lines(out: &mut Fields, source: &SourceBody) {
    let SourceBody { root, .. } = source;
    out.add("  of", format!("{} ({})", text::escape(&source.origin), source.kind.name()));
    out.add("  holds", format!("{} in {} entries", text::size(root.bytes), render::grouped(root.entries)));
    if let Some(previous) = &source.previous {
        out.add("  after", previous.to_hex());
    }
    out.add("  tree", root.id.to_hex());
}

fn statistics(out: &mut Fields, s: &Statistics) {
    let counts = [(s.files_new, "new"), (s.files_changed, "changed"), (s.files_unchanged, "unchanged")];
    let counts = counts.into_iter().chain([(s.files_failed, "failed"), (s.files_excluded, "excluded")]);
    let counts: Vec<_> = counts.map(|(n, word)| format!("{} {word}", render::grouped(n))).collect();
    out.add("entries", counts.join(", "));
    out.add("read", text::size(s.bytes_read));
    out.add("new", format!("{}, stored as {}", text::size(s.bytes_new), text::size(s.bytes_added)));
    out.add("took", time::duration(std::time::Duration::from_millis(s.duration_ms)));
}

/// Names and what stands behind them.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn add(&mut self, name: &str, value: impl AsRef<str>) {
        self.0 += format!("{name:<9} {}", value.as_ref()).trim_end();
        self.0.push('\n');
    }

    fn add_if(&mut self, name: &str, value: String) {
        if !value.is_empty() {
            self.add(name, value);
        }
    }
}
