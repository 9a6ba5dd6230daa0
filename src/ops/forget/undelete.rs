//! Brings forgotten snapshots back, as long as the trash holds them and all that they need is there, or in the trash, too.
//!
//! Who does so is a writer like a backup: it announces a session, then looks at what is condemned, counts on nothing that
//! is, and stores what nobody else will keep. So a prune that goes on at the same time either waits, or has said what it
//! takes.
//!
//! What lies in a pack that stays, and is damaged there, holds nothing up: it was lost while the snapshot was listed, and
//! no prune took it. So the snapshot comes back as it was, damaged. What has no copy but in packs that are gone, condemned
//! or in the trash, and cannot be had from there, may have been taken by a prune, and the snapshot stays where it is.

use super::super::backup::LEVEL;
use super::super::{damage, notes, whole};
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::{ChunkId, ObjectId};
use crate::record::{Condition, Note, Remark};
use crate::repo::{Catalogue, ChunkReader, ChunkWriter, Proof, Repository, Session, SnapshotInfo};

/// Brings back a snapshot of [`Repository::trashed_snapshots`]; durable when this returns. Warns of one that is damaged, and
/// records damage that it meets.
pub fn undelete(repository: &Repository, info: &SnapshotInfo, job: Job<'_>) -> Result<()> {
    let done = bring_back(repository, info, job);
    damage::record_met(repository, job);
    let done = done.map_err(|e| match e.kind() {
        // The usual advice is a prune, which would delete what is wanted back.
        Kind::NoSpace => e.fix(
            "free space there by other means, then run the command again: `larder prune --no-trash` would delete what lies in \
             the trash, this snapshot too",
        ),
        _ => e,
    });
    if let Some(lost) = done? {
        let lost = if lost == 1 { "1 chunk".to_owned() } else { format!("{lost} chunks") };
        job.warn(&format!(
            "snapshot {} comes back as it was, damaged: {lost} and what needs them are lost in damaged packs; `larder restore` \
             gives back the rest, and `larder check` names what is lost",
            info.id.short()
        ));
    }
    Ok(())
}

/// How many chunks of it are known to be lost; `None`: it is whole.
fn bring_back(repository: &Repository, info: &SnapshotInfo, job: Job<'_>) -> Result<Option<usize>> {
    let session = notes::begin(repository)?;
    job.phase("looking for all that it needs", None, None);
    let lost = make_whole(repository, &session, info, job)?;
    repository.put_snapshot_back(&info.id).map_err(|e| not_in_trash(info, e))?;
    if let Err(e) = session.check_is_there() {
        // What it needs may be gone: it must not look as if it were there. What a note says of it is not changed yet.
        repository.trash_snapshot(&info.id)?;
        repository.storage().barrier()?;
        return Err(e);
    }
    confirm(repository, &session, info, lost.is_some())?;
    repository.clear_from_trash(&info.id)?;
    session.end(Vec::new())?;
    Ok(lost)
}

/// What is damaged is confirmed if it was before.
fn confirm(repository: &Repository, session: &Session<'_>, info: &SnapshotInfo, is_damaged: bool) -> Result<()> {
    let now = repository.world().now();
    let remark = Remark { is_forgotten: Some(false), ..Remark::of(info.id, info.standing.time_of_next(now)) };
    let mut note = Note { time: now, remarks: vec![remark], ..Note::default() };
    if !is_damaged {
        note.confirmed.push(info.id);
    } else if !matches!(info.proof(), Proof::Damaged(_)) {
        let time = Condition::time_of_next(info.condition.as_ref(), now);
        note.conditions.push(Condition { snapshot: info.id, time, is_damaged, unknown: Vec::new() });
    }
    notes::put(session, &note)?;
    Ok(repository.storage().barrier()?)
}

/// Sees to it that every chunk has a copy that counts, if it was not lost to damage: what only the trash holds is stored
/// again. Has the next barrier cover what may not be durable yet.
fn make_whole(
    repository: &Repository,
    session: &Session<'_>,
    info: &SnapshotInfo,
    job: Job<'_>,
) -> Result<Option<usize>> {
    let mut catalogue = Catalogue::open_to_write(repository, job)?;
    catalogue.add_trash(repository, job)?;
    let reader = ChunkReader::new(repository, &catalogue);
    let snapshot = repository.trashed_snapshot(&info.id).map_err(|e| not_in_trash(info, e))?;
    let missing = whole::missing(&reader, &snapshot.body.sources, job)?;
    if let Some(gap) = missing.gap.as_ref().filter(|gap| gap.kind() != Kind::Damage) {
        return Err(gone(info, gap.to_string()));
    }
    let lost = store_again(session, &reader, &missing.chunks, job).map_err(|e| match e.kind() {
        Kind::Missing | Kind::Damage => gone(info, e.to_string()),
        _ => e,
    })?;
    whole::adopt(&reader);
    // A gap is a chunk that is lost, and may not be known to be so yet.
    let least = usize::from(missing.gap.is_some());
    Ok(Some(lost.max(least)).filter(|lost| *lost > 0))
}

/// Whether a copy that cannot be used, or what that is made from, lies in a pack that no prune has taken or will take.
fn is_damaged(catalogue: &Catalogue, id: &ChunkId) -> bool {
    let stays = |pack: &ObjectId| !catalogue.missing().contains(pack) && !catalogue.is_condemned(pack);
    catalogue.packs_lost(id).iter().any(stays)
}

/// How many of these chunks were lost to damage; the others count now.
fn store_again(session: &Session<'_>, reader: &ChunkReader<'_>, chunks: &[ChunkId], job: Job<'_>) -> Result<usize> {
    let copy = |id: &ChunkId| (*id, reader.catalogue().copies_to_read(&id.prefix()).next());
    let mut copies: Vec<_> = chunks.iter().map(copy).collect();
    copies.sort_by_key(|(_, place)| place.map(|place| (place.pack, place.frame, place.nth)));
    job.phase("storing again what only the trash holds", Some(copies.len() as u64), None);
    let writer = ChunkWriter::new(session, reader, LEVEL);
    let mut frames = writer.frames()?;
    let mut lost = 0;
    for (id, place) in copies {
        job.cancel.check()?;
        let nowhere = || Error::new(Kind::Missing, format!("chunk {} is in no pack that is there", id.short()));
        match place.ok_or_else(nowhere).and_then(|place| reader.again(&id.prefix(), &place, false)) {
            Ok(again) => frames.store_again(again)?,
            Err(e) if e.kind() == Kind::Damage && is_damaged(reader.catalogue(), &id) => lost += 1,
            Err(e) => return Err(e),
        }
        job.advance(1, 0);
    }
    frames.flush()?;
    writer.finish()?;
    Ok(lost)
}

fn not_in_trash(info: &SnapshotInfo, error: Error) -> Error {
    match error.kind() {
        Kind::Missing => Error::new(Kind::Failed, format!("snapshot {} is not in the trash any more", info.id.short()))
            .why("it is back already, or a prune has deleted it meanwhile")
            .fix("look at what is there: larder snapshots, larder undelete"),
        _ => error,
    }
}

fn gone(info: &SnapshotInfo, why: String) -> Error {
    let what = format!("snapshot {} cannot be brought back: some of what it needs is gone", info.id.short());
    Error::new(Kind::Failed, what)
        .why(why)
        .fix("take another snapshot; `larder check` tells whether anything else is missing")
}
