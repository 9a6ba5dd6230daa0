//! Whether everything that a snapshot needs counts as present: for those who confirm one.

use std::collections::HashSet;

use super::reach::{Reach, Visitor};
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::ChunkId;
use crate::record::SourceBody;
use crate::repo::{Catalogue, ChunkReader, Folder};

/// What does not count as present. The catalogue must be a writer's, read after the snapshot was listed.
pub(super) struct Missing {
    /// Chunks of which no copy counts, each once; some may be read all the same.
    pub chunks: Vec<ChunkId>,
    /// What could not be read first, so that not all that is missing is known; damage only where that is all there was.
    pub gap: Option<Error>,
}

impl Missing {
    /// What is missing first, if anything is.
    pub fn first(&self) -> Option<String> {
        let chunk = self.chunks.first().map(|id| format!("chunk {} is in no pack that stays", id.short()));
        chunk.or_else(|| self.gap.as_ref().map(Error::to_string))
    }
}

/// Looks for all that these sources need.
pub(super) fn missing(reader: &ChunkReader<'_>, sources: &[SourceBody], job: Job<'_>) -> Result<Missing> {
    let missing = Missing { chunks: Vec::new(), gap: None };
    let mut look = Look { catalogue: reader.catalogue(), seen: HashSet::new(), missing };
    for source in sources {
        Reach { reader, cancel: job.cancel, visitor: &mut look }.tree(source.root.level, &source.root.id)?;
    }
    Ok(look.missing)
}

/// Has the next barrier cover the packs that were found, and whose names may not be durable yet.
pub(super) fn adopt(reader: &ChunkReader<'_>) {
    let catalogue = reader.catalogue();
    for pack in catalogue.orphans().iter().filter(|pack| !catalogue.is_condemned(&pack.id)) {
        reader.repository().storage().adopt(&Folder::Packs.key(&pack.id));
    }
}

struct Look<'a> {
    catalogue: &'a Catalogue,
    seen: HashSet<ChunkId>,
    missing: Missing,
}

impl Visitor for Look<'_> {
    fn visit(&mut self, id: &ChunkId) -> bool {
        let is_new = self.seen.insert(*id);
        if is_new && !self.catalogue.contains(id) {
            self.missing.chunks.push(*id);
        }
        is_new
    }

    fn gap(&mut self, error: &Error) {
        let is_damage = |gap: &Error| gap.kind() == Kind::Damage;
        if self.missing.gap.as_ref().is_none_or(|gap| is_damage(gap) && !is_damage(error)) {
            self.missing.gap = Some(error.clone());
        }
    }
}
