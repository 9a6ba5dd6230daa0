//! What `pin`, `unpin`, `note` and `tag` have in common.

use super::super::address::Address;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::{engine, find, json};
use super::snapshots::words;
use crate::error::{Error, Result};
use crate::ops::remark::{Change, remark};
use crate::record::Standing;
use crate::repo::SnapshotInfo;
use crate::text;

/// Says it of each snapshot, and what holds then. All are found before anything is said of one.
pub(super) fn run(
    addresses: &[Address],
    change: &Change,
    told: &dyn Fn(&Standing) -> String,
    context: &Context<'_>,
) -> Result<Exit> {
    let repository = engine::open(context)?;
    let listing = repository.snapshots()?;
    // What is said now counts anyhow.
    find::tell_unread_notes(&listing, context)?;
    let mut exit = Exit::Done;
    for address in addresses {
        exit = exit.but(find::tell_passed_over(&listing, address, context)?);
    }
    let found = addresses.iter().map(|address| find::whole(&listing, address, context));
    for info in found.collect::<Result<Vec<SnapshotInfo>, Error>>()? {
        let (standing, changed) = remark(&repository, &info, change)?;
        if context.global.json {
            context.output.json(&json::Remark {
                snapshot: info.id.to_hex(),
                pinned: standing.is_pinned,
                tags: words(&standing.tags),
                note: note(&standing),
                changed,
            })?;
        } else if !context.global.quiet {
            let news = if changed { "" } else { "nothing changed: " };
            context.output.line(&format!("{news}snapshot {} {}", info.id.short(), told(&standing)))?;
        }
    }
    Ok(exit)
}

/// The note of a snapshot, for programs.
pub(super) fn note(standing: &Standing) -> Option<String> {
    (!standing.note.is_empty()).then(|| String::from_utf8_lossy(&standing.note).into_owned())
}

/// Such as "has the tags a, b".
pub(super) fn tags(standing: &Standing) -> String {
    match &standing.tags[..] {
        [] => "has no tags".to_owned(),
        [tag] => format!("has the tag {}", text::escape(tag)),
        tags => format!("has the tags {}", words(tags).join(", ")),
    }
}
