//! Index objects that name packs which go are replaced by such that do not.

use std::collections::HashSet;

use crate::crypto::Audience;
use crate::error::Result;
use crate::event::Job;
use crate::id::ObjectId;
use crate::index::{Index, SUPERSEDES_MAX};
use crate::repo::{Folder, Repository, Session, malformed};

/// A new index object is put for so many chunks, about: it stays far below what an object may be long.
const CHUNKS_MAX: usize = 200_000;

/// Puts index objects that take the place of those which name packs that go, or that are gone; the names of those which
/// were replaced, to be deleted when the new ones are durable.
pub(super) fn replace(session: &Session<'_>, stays: &dyn Fn(&ObjectId) -> bool, job: Job<'_>) -> Result<Vec<ObjectId>> {
    let repository = session.repository();
    let (mut next, mut chunks) = (Index::default(), 0);
    let (mut replaced, mut known) = (Vec::new(), HashSet::new());
    for id in repository.list(Folder::Index)? {
        job.cancel.check()?;
        // What cannot be read says nothing.
        let Ok(index) = read(repository, &id) else { continue };
        if index.packs.iter().all(|pack| stays(&pack.id)) {
            continue;
        }
        let kept = index.packs.into_iter().filter(|pack| stays(&pack.id) && known.insert(pack.id));
        for pack in kept {
            chunks += pack.table.frames.iter().map(|frame| frame.chunks.len()).sum::<usize>();
            next.packs.push(pack);
        }
        next.supersedes.push(id);
        if chunks >= CHUNKS_MAX || next.supersedes.len() >= SUPERSEDES_MAX {
            put(session, &mut next, &mut replaced)?;
            chunks = 0;
        }
    }
    put(session, &mut next, &mut replaced)?;
    Ok(replaced)
}

fn read(repository: &Repository, id: &ObjectId) -> Result<Index> {
    let [bytes] = repository.read(Folder::Index, id, [Audience::Index])?;
    Index::parse(&bytes).map_err(|e| malformed(&format!("index {}", id.short()), &e))
}

fn put(session: &Session<'_>, next: &mut Index, replaced: &mut Vec<ObjectId>) -> Result<()> {
    if next.supersedes.is_empty() {
        return Ok(());
    }
    let index = std::mem::take(next);
    session.put(Folder::Index, &[(Audience::Index, &index.encode())])?;
    replaced.extend(index.supersedes);
    Ok(())
}
