//! Whether everything that a snapshot needs counts as present: for those who confirm one.

use std::collections::HashSet;

use super::reach::{Reach, Visitor};
use crate::error::{Error, Result};
use crate::event::Job;
use crate::id::ChunkId;
use crate::record::SourceBody;
use crate::repo::{Catalogue, ChunkReader, Folder};

/// What is missing first, if anything is. The catalogue must be a writer's, read after the snapshot was listed.
pub(super) fn first_missing(reader: &ChunkReader<'_>, sources: &[SourceBody], job: Job<'_>) -> Result<Option<String>> {
    let mut look = Look { catalogue: reader.catalogue(), seen: HashSet::new(), missing: None };
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
    missing: Option<String>,
}

impl Visitor for Look<'_> {
    fn visit(&mut self, id: &ChunkId) -> bool {
        if !self.seen.insert(*id) {
            return false;
        }
        let is_there = self.catalogue.contains(id);
        if !is_there {
            self.missing.get_or_insert_with(|| format!("chunk {} is in no pack that stays", id.short()));
        }
        is_there
    }

    fn gap(&mut self, error: &Error) {
        self.missing.get_or_insert_with(|| error.to_string());
    }
}
