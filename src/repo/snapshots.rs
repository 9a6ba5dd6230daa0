//! Which snapshots there are, and which of them count.

use std::collections::BTreeSet;

use super::{Folder, Repository, layout, malformed};
use crate::crypto::Audience;
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, SessionId};
use crate::record::{Body, Note, SessionEnd, SessionRecord, Snapshot, Summary, strip_check};
use crate::seal::ObjectKind;

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

/// What is confirmed.
#[derive(Debug, Default)]
struct Confirmed {
    by_session: BTreeSet<(SessionId, ObjectId)>,
    by_note: BTreeSet<ObjectId>,
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
                Ok((session, summary)) => {
                    let confirmed = confirmed.by_session.contains(&(session, id)) || confirmed.by_note.contains(&id);
                    listing.snapshots.push(SnapshotInfo { id, summary, confirmed });
                }
                Err(e) => listing.damaged.push((id, e)),
            }
        }
        listing.snapshots.sort_by_key(|info| (info.summary.time, info.id));
        Ok(listing)
    }

    fn read_summary(&self, id: &ObjectId) -> Result<(SessionId, Summary)> {
        let audiences = [Audience::Summary, Audience::Content];
        let (header, [summary, _]) = self.read_with_header(Folder::Snapshots, id, audiences)?;
        let summary = Summary::parse(&summary).map_err(|e| malformed(&format!("snapshot {}", id.short()), &e))?;
        Ok((header.session, summary))
    }

    /// Reads a whole snapshot.
    pub fn snapshot(&self, id: &ObjectId) -> Result<Snapshot> {
        let place = format!("snapshot {}", id.short());
        let [summary, body] = self.read(Folder::Snapshots, id, [Audience::Summary, Audience::Content])?;
        let summary = Summary::parse(&summary).map_err(|e| malformed(&place, &e))?;
        let body = Body::parse(&body).map_err(|e| malformed(&place, &e))?;
        let said = summary.sources.iter().map(|source| (&source.name, source.kind));
        if !said.eq(body.sources.iter().map(|source| (&source.name, source.kind))) {
            return Err(Error::new(Kind::Damage, format!("{place} contradicts itself"))
                .why("its summary names other sources than its body")
                .fix("restore another snapshot; `larder check` tells what else is damaged"));
        }
        Ok(Snapshot { id: *id, summary, body })
    }

    /// The run that made a snapshot.
    pub fn snapshot_session(&self, id: &ObjectId) -> Result<SessionId> {
        self.read_summary(id).map(|(session, _)| session)
    }

    /// What sessions' ends and notes of checks confirm. An end speaks only for its own session's snapshots, so that one
    /// put in the place of another confirms nothing.
    fn confirmed(&self) -> Result<Confirmed> {
        let mut out = Confirmed::default();
        for listed in self.storage().list(Folder::Sessions.name())? {
            let Some(name) = layout::ended_session(&listed.key) else { continue };
            // One that a prune removed meanwhile, or that is damaged, confirms nothing; `check` reports damage.
            if let Ok(Some((session, end))) = self.session_end(&name) {
                out.by_session.extend(end.snapshots.into_iter().map(|snapshot| (session, snapshot)));
            }
        }
        for id in self.list(Folder::Notes)? {
            if let Ok(note) = self.note(&id) {
                out.by_note.extend(note.confirmed);
            }
        }
        Ok(out)
    }

    /// Reads the end of a session, with the session's id; `None` if it has none.
    pub fn session_end(&self, session: &ObjectId) -> Result<Option<(SessionId, SessionEnd)>> {
        let place = format!("session end {}", session.short());
        let Some(bytes) = self.get_if_there(&layout::session_end(session))? else { return Ok(None) };
        let body = strip_check(&bytes, "session end").map_err(|e| malformed(&place, &e))?;
        let (header, [record]) = self.open_object(&place, ObjectKind::SessionEnd, body, [Audience::Summary])?;
        let end = SessionEnd::parse(&record).map_err(|e| malformed(&place, &e))?;
        Ok(Some((header.session, end)))
    }

    /// Reads what a session said of itself when it began, with its id.
    pub fn session(&self, name: &ObjectId) -> Result<(SessionId, SessionRecord)> {
        let (header, [record]) = self.read_with_header(Folder::Sessions, name, [Audience::Summary])?;
        let record = SessionRecord::parse(&record);
        Ok((header.session, record.map_err(|e| malformed(&format!("session {}", name.short()), &e))?))
    }

    /// Reads a note.
    pub fn note(&self, id: &ObjectId) -> Result<Note> {
        let [record] = self.read(Folder::Notes, id, [Audience::Summary])?;
        Note::parse(&record).map_err(|e| malformed(&format!("note {}", id.short()), &e))
    }
}
