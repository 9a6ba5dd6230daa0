//! What snapshots need, confirmed or not.
//!
//! Chunks are named by their content, so what a root needs never changes, and is gathered once, however often packs and
//! snapshots are listed.

use std::collections::HashSet;

use super::super::reach::{Reach, Visitor};
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::{ChunkId, ChunkPrefix, ObjectId};
use crate::repo::{ChunkReader, Listing, SnapshotInfo};

/// The chunks that snapshots need.
#[derive(Debug, Default)]
pub(super) struct Used {
    /// What snapshots need that are confirmed.
    pub confirmed: HashSet<ChunkPrefix>,
    /// What only others need.
    pub unconfirmed: HashSet<ChunkPrefix>,
    /// Whether something that they need is in no pack, so that not all of what they need is known. They can never be
    /// confirmed.
    pub has_gaps: bool,
    /// Snapshots that were looked at, and whether they were confirmed then.
    seen: HashSet<(ObjectId, bool)>,
}

impl Used {
    /// Adds what the snapshots of this list need. One that cannot be read, or a tree that cannot, ends it: nobody knows
    /// what it needs.
    pub fn gather(&mut self, reader: &ChunkReader<'_>, listing: &Listing, job: Job<'_>) -> Result<()> {
        if let Some((id, error)) = listing.damaged.first() {
            return Err(refused(id, error));
        }
        if let Some(id) = listing.gone.first() {
            if reader.repository().is_in_trash(id) {
                let what = format!("nothing was removed: snapshot {} lies in the trash", id.short());
                return Err(Error::new(Kind::Damage, what).why("nobody says that it was forgotten").fix(format!(
                    "bring it back, and forget it if it is not wanted: larder undelete {0}; larder forget {0}",
                    id.short()
                )));
            }
            return Err(Error::new(Kind::Damage, format!("nothing was removed: snapshot {} is gone", id.short()))
                .why("the run that made it ended well, nobody forgot it, and nobody can tell what it needs")
                .fix(format!(
                    "put snapshots/{id} back from a second copy of the repository; if there is none, say that it is not \
                     missed: larder forget {}",
                    id.short()
                )));
        }
        if let Some((run, error)) = listing.lost_ends.first() {
            let what = format!("nothing was removed: the end of session {} cannot be read", run.short());
            let why = format!("it may name a snapshot that is gone, and nobody can tell what that needs: {error}");
            return Err(Error::new(error.kind(), what).why(why).fix(error.advice()));
        }
        // Those that are confirmed first, so that what others need besides is known.
        for confirmed in [true, false] {
            for info in listing.snapshots.iter().filter(|info| info.confirmed == confirmed) {
                if self.seen.contains(&(info.id, confirmed)) {
                    continue;
                }
                self.snapshot(reader, info, job)?;
                self.seen.insert((info.id, confirmed));
                job.advance(1, 0);
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, reader: &ChunkReader<'_>, info: &SnapshotInfo, job: Job<'_>) -> Result<()> {
        let snapshot = reader.repository().snapshot_of(info).map_err(|e| refused(&info.id, &e))?;
        let mut walk = Walk { used: self, reader, is_confirmed: info.confirmed, last: None, error: None };
        for source in &snapshot.body.sources {
            Reach { reader, cancel: job.cancel, visitor: &mut walk }.tree(source.root.level, &source.root.id)?;
        }
        walk.error.map_or(Ok(()), |error| Err(refused(&info.id, &error)))
    }

    /// All of it.
    pub fn all(&self) -> impl Iterator<Item = ChunkPrefix> {
        self.confirmed.union(&self.unconfirmed).copied()
    }
}

fn refused(id: &ObjectId, error: &Error) -> Error {
    let what = format!("nothing was removed: what snapshot {} needs cannot be told", id.short());
    match error.kind() {
        // An object that is gone is damage to what needs it.
        Kind::Damage | Kind::Missing => Error::new(Kind::Damage, what).why(error).fix(super::REPAIR),
        kind => Error::new(kind, what).why(error).fix(error.advice()),
    }
}

struct Walk<'a> {
    used: &'a mut Used,
    reader: &'a ChunkReader<'a>,
    is_confirmed: bool,
    /// What is about to be read.
    last: Option<ChunkPrefix>,
    error: Option<Error>,
}

impl Visitor for Walk<'_> {
    fn visit(&mut self, id: &ChunkId) -> bool {
        let id = id.prefix();
        self.last = Some(id);
        match self.is_confirmed {
            true => self.used.confirmed.insert(id),
            false => !self.used.confirmed.contains(&id) && self.used.unconfirmed.insert(id),
        }
    }

    fn gap(&mut self, error: &Error) {
        let is_nowhere = self.last.is_some_and(|id| self.reader.catalogue().copies_to_read(&id).next().is_none());
        if is_nowhere && !self.is_confirmed {
            self.used.has_gaps = true;
            return;
        }
        self.error.get_or_insert_with(|| error.clone());
    }
}
