//! Brings forgotten snapshots back, as long as the trash holds them and all that they need is there, or in the trash, too.
//!
//! Who does so is a writer like a backup: it announces a session, then looks at what is condemned, counts on nothing that
//! is, and stores what nobody else will keep. So a prune that goes on at the same time either waits, or has said what it
//! takes.

use super::super::backup::LEVEL;
use super::super::notes;
use super::super::whole;
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::ChunkId;
use crate::record::{Note, Remark};
use crate::repo::{Catalogue, ChunkReader, ChunkWriter, Repository, Session, SnapshotInfo};

/// Brings back a snapshot of [`Repository::trashed_snapshots`]; durable when this returns.
pub fn undelete(repository: &Repository, info: &SnapshotInfo, job: Job<'_>) -> Result<()> {
    let session = notes::begin(repository)?;
    job.phase("looking for all that it needs", None, None);
    make_whole(repository, &session, info, job)?;
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

/// Sees to it that every chunk has a copy that counts: what only the trash holds is stored again. Has the next barrier
/// cover what may not be durable yet.
fn make_whole(repository: &Repository, session: &Session<'_>, info: &SnapshotInfo, job: Job<'_>) -> Result<()> {
    let mut catalogue = Catalogue::open_to_write(repository, job)?;
    catalogue.add_trash(repository, job)?;
    let reader = ChunkReader::new(repository, &catalogue);
    let snapshot = repository.trashed_snapshot(&info.id).map_err(|e| match e.kind() {
        Kind::Missing => Error::new(Kind::Failed, format!("snapshot {} is not in the trash any more", info.id.short()))
            .why("it is back already, or a prune has deleted it meanwhile")
            .fix("look at what is there: larder snapshots, larder undelete"),
        _ => e,
    })?;
    let missing = whole::missing(&reader, &snapshot.body.sources, job)?;
    if let Some(gap) = &missing.gap {
        return Err(gone(info, gap.to_string()));
    }
    store_again(session, &reader, &missing.chunks, job).map_err(|e| match e.kind() {
        Kind::Missing | Kind::Damage => gone(info, e.to_string()),
        _ => e,
    })?;
    whole::adopt(&reader);
    Ok(())
}

fn store_again(session: &Session<'_>, reader: &ChunkReader<'_>, chunks: &[ChunkId], job: Job<'_>) -> Result<()> {
    let copy = |id: &ChunkId| (id.prefix(), reader.catalogue().copies_to_read(&id.prefix()).next());
    let mut copies: Vec<_> = chunks.iter().map(copy).collect();
    copies.sort_by_key(|(_, place)| place.map(|place| (place.pack, place.frame, place.nth)));
    job.phase("storing again what only the trash holds", Some(copies.len() as u64), None);
    let writer = ChunkWriter::new(session, reader, LEVEL);
    let mut frames = writer.frames()?;
    for (id, place) in copies {
        job.cancel.check()?;
        let lost = || Error::new(Kind::Missing, format!("chunk {id} is in no pack that is there"));
        frames.store_again(reader.again(&id, &place.ok_or_else(lost)?, false)?)?;
        job.advance(1, 0);
    }
    frames.flush()?;
    writer.finish()?;
    Ok(())
}

fn gone(info: &SnapshotInfo, why: String) -> Error {
    let what = format!("snapshot {} cannot be brought back: some of what it needs is gone", info.id.short());
    Error::new(Kind::Failed, what)
        .why(why)
        .fix("take another snapshot; `larder check` tells whether anything else is missing")
}
