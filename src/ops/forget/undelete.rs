//! Brings forgotten snapshots back, as long as the trash holds them and all that they need is there.
//!
//! Who does so is a writer: it announces a session, then looks at what is condemned, and counts on nothing that is. So a
//! prune that goes on at the same time either waits, or has said what it takes.

use super::super::notes;
use super::super::whole;
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::record::{Note, Remark};
use crate::repo::{Catalogue, ChunkReader, Repository, Session, SnapshotInfo};

/// Brings back a snapshot of [`Repository::trashed_snapshots`]; durable when this returns.
pub fn undelete(repository: &Repository, info: &SnapshotInfo, job: Job<'_>) -> Result<()> {
    let session = notes::begin(repository)?;
    job.phase("looking for all that it needs", None, None);
    check_whole(repository, info, job)?;
    repository.put_snapshot_back(&info.id)?;
    if let Err(e) = session.check_is_there() {
        // What it needs may be gone: it must not look as if it were there. What a note says of it is not changed yet.
        repository.trash_snapshot(&info.id)?;
        repository.storage().barrier()?;
        return Err(e);
    }
    confirm(repository, &session, info)?;
    repository.clear_from_trash(&info.id)?;
    session.end(Vec::new())
}

fn confirm(repository: &Repository, session: &Session<'_>, info: &SnapshotInfo) -> Result<()> {
    let now = repository.world().now();
    let remark = Remark { is_forgotten: Some(false), ..Remark::of(info.id, info.standing.time_of_next(now)) };
    let note = Note { time: now, confirmed: vec![info.id], remarks: vec![remark], ..Note::default() };
    notes::put(session, &note)?;
    Ok(repository.storage().barrier()?)
}

/// Looks whether every chunk has a copy that counts, and has the next barrier cover what may not be durable yet.
fn check_whole(repository: &Repository, info: &SnapshotInfo, job: Job<'_>) -> Result<()> {
    let catalogue = Catalogue::open_to_write(repository, job)?;
    let reader = ChunkReader::new(repository, &catalogue);
    let sources = repository.trashed_snapshot(&info.id)?.body.sources;
    if let Some(missing) = whole::first_missing(&reader, &sources, job)? {
        let what = format!("snapshot {} cannot be brought back: some of what it needs is gone", info.id.short());
        return Err(Error::new(Kind::Failed, what)
            .why(missing)
            .fix("take another snapshot; `larder check` tells whether anything else is missing"));
    }
    whole::adopt(&reader);
    Ok(())
}
