//! Which snapshots there are, and which of them count.

use std::collections::BTreeSet;

use super::{Folder, Repository, layout, malformed};
use crate::crypto::Audience;
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, SessionId};
use crate::record::{Body, Note, SessionEnd, Snapshot, Summary, strip_check};
use crate::seal::{HEADER_BYTES, Header, ObjectKind};

/// A snapshot in a list.
#[derive(Clone, Debug)]
pub struct SnapshotInfo {
    /// Its name.
    pub id: ObjectId,
    /// What its list section says.
    pub summary: Summary,
    /// Whether its session's end, or a check, says that it is complete.
    pub confirmed: bool,
}

/// All snapshots, oldest first, and those that cannot be read.
#[derive(Debug, Default)]
pub struct Listing {
    /// By time, then by name.
    pub snapshots: Vec<SnapshotInfo>,
    /// Snapshots whose summary cannot be read.
    pub damaged: Vec<(ObjectId, Error)>,
}

impl Listing {
    /// The newest that counts, in the series of this name.
    pub fn newest_of(&self, series: &[u8]) -> Option<&SnapshotInfo> {
        let in_series = |info: &&SnapshotInfo| info.summary.sources.iter().any(|source| source.name == series);
        self.snapshots.iter().rev().filter(|info| info.confirmed).find(in_series)
    }
}

impl Repository {
    /// Lists all snapshots. Confirmations are read after the snapshots are listed, so that a snapshot confirmed in
    /// between is not taken for one that never was.
    pub fn snapshots(&self) -> Result<Listing> {
        let ids = self.list(Folder::Snapshots)?;
        let confirmed = self.confirmed()?;
        let mut listing = Listing::default();
        for id in ids {
            match self.read_summary(&id) {
                Ok(summary) => {
                    listing.snapshots.push(SnapshotInfo { id, summary, confirmed: confirmed.contains(&id) });
                }
                Err(e) => listing.damaged.push((id, e)),
            }
        }
        listing.snapshots.sort_by_key(|info| (info.summary.time, info.id));
        Ok(listing)
    }

    fn read_summary(&self, id: &ObjectId) -> Result<Summary> {
        let [summary, _] = self.read(Folder::Snapshots, id, [Audience::Summary, Audience::Content])?;
        Summary::parse(&summary).map_err(|e| malformed(&format!("snapshot {}", id.short()), &e))
    }

    /// Reads a whole snapshot.
    pub fn snapshot(&self, id: &ObjectId) -> Result<Snapshot> {
        let place = format!("snapshot {}", id.short());
        let [summary, body] = self.read(Folder::Snapshots, id, [Audience::Summary, Audience::Content])?;
        let summary = Summary::parse(&summary).map_err(|e| malformed(&place, &e))?;
        let body = Body::parse(&body).map_err(|e| malformed(&place, &e))?;
        if summary.sources.len() != body.sources.len() {
            return Err(Error::new(Kind::Damage, format!("{place} contradicts itself")).why(format!(
                "{} sources in its summary, {} in its body",
                summary.sources.len(),
                body.sources.len()
            )));
        }
        Ok(Snapshot { id: *id, summary, body })
    }

    /// The run that made a snapshot.
    pub fn snapshot_session(&self, id: &ObjectId) -> Result<SessionId> {
        let head = self.storage().get_range(&Folder::Snapshots.key(id), 0, HEADER_BYTES)?;
        let header = Header::parse(&head, ObjectKind::Snapshot);
        Ok(header.map_err(|e| malformed(&format!("snapshot {}", id.short()), &e))?.session)
    }

    /// The names of all confirmed snapshots, by their sessions' ends and by notes of checks.
    fn confirmed(&self) -> Result<BTreeSet<ObjectId>> {
        let mut out = BTreeSet::new();
        for listed in self.storage().list(Folder::Sessions.name())? {
            let Some(session) = layout::ended_session(&listed.key) else { continue };
            // One that a prune removed meanwhile, or that is damaged, confirms nothing; `check` reports damage.
            if let Ok(Some(end)) = self.session_end(&session) {
                out.extend(end.snapshots);
            }
        }
        for id in self.list(Folder::Notes)? {
            if let Ok(note) = self.note(&id) {
                out.extend(note.confirmed);
            }
        }
        Ok(out)
    }

    /// Reads the end of a session; `None` if it has none.
    pub fn session_end(&self, session: &ObjectId) -> Result<Option<SessionEnd>> {
        let place = format!("session end {}", session.short());
        let Some(bytes) = self.get_if_there(&layout::session_end(session))? else { return Ok(None) };
        let body = strip_check(&bytes, "session end").map_err(|e| malformed(&place, &e))?;
        let [record] = self.open_object(&place, ObjectKind::SessionEnd, body, [Audience::Summary])?;
        SessionEnd::parse(&record).map(Some).map_err(|e| malformed(&place, &e))
    }

    /// Reads a note.
    pub fn note(&self, id: &ObjectId) -> Result<Note> {
        let [record] = self.read(Folder::Notes, id, [Audience::Summary])?;
        Note::parse(&record).map_err(|e| malformed(&format!("note {}", id.short()), &e))
    }
}
