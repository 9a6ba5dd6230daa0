//! Where every chunk lies, as the index objects and the packs themselves say.
//!
//! What counts as present: a copy in a pack that is listed, that no tomb condemns and no damage record names. On local
//! storage the packs are listed too, so that packs which no index names (their writer died) are used, and packs that
//! are gone are not counted on.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use super::{Folder, Repository, malformed, read_table};
use crate::crypto::{Audience, ChunkKind};
use crate::error::Result;
use crate::event::Job;
use crate::id::{ChunkId, ChunkPrefix, ObjectId};
use crate::index::{Index, PackEntry};
use crate::record::{BadFrame, Damage, Tomb};
use crate::text;

/// Where one copy of a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the pack in the catalogue.
    pub pack: u32,
    /// Ordinal of the frame.
    pub frame: u32,
    /// Where the frame begins in the pack, bytes.
    pub offset: u32,
    /// Stored length of the frame, bytes.
    pub stored_len: u32,
    /// The chunk's place in the frame.
    pub nth: u32,
    /// Length of its plaintext, bytes.
    pub raw_len: u32,
    /// What it holds.
    pub kind: ChunkKind,
}

/// A pack in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackInfo {
    /// Its name.
    pub id: ObjectId,
    /// Its stored length, bytes.
    pub size: u64,
}

/// All chunks of a repository.
#[derive(Debug, Default)]
pub struct Catalogue {
    packs: Vec<PackInfo>,
    first: HashMap<ChunkPrefix, Place>,
    /// Further copies of chunks that have more than one.
    more: HashMap<ChunkPrefix, Vec<Place>>,
    /// Packs that were there, but that no index object named.
    orphans: Vec<PackEntry>,
    /// Packs that an index object names, but that are gone.
    missing: Vec<ObjectId>,
    /// Index objects and packs that could not be read.
    unreadable: Vec<String>,
    tombed: HashSet<ObjectId>,
    damage: Vec<BadFrame>,
    index_objects: Vec<ObjectId>,
}

impl Catalogue {
    /// Reads what is there now. Tombs are listed before the index objects: see [`super::Session`].
    pub fn load(repository: &Repository, job: Job<'_>) -> Result<Self> {
        let mut new = Self { tombed: read_tombs(repository)?, damage: read_damage(repository)?, ..Self::default() };
        let index = new.read_index(repository, job)?;
        let remote = repository.storage().capabilities().remote;
        let listed: Option<HashSet<ObjectId>> = match remote && !index.is_empty() {
            true => None,
            false => Some(repository.list(Folder::Packs)?.into_iter().collect()),
        };
        let mut known = HashSet::new();
        for pack in index {
            if !known.insert(pack.id) {
                continue;
            }
            if listed.as_ref().is_some_and(|listed| !listed.contains(&pack.id)) {
                new.missing.push(pack.id);
                continue;
            }
            new.add(&pack);
        }
        let orphans: Vec<ObjectId> = listed.into_iter().flatten().filter(|id| !known.contains(id)).collect();
        new.adopt(repository, orphans, job)?;
        Ok(new)
    }

    fn read_index(&mut self, repository: &Repository, job: Job<'_>) -> Result<Vec<PackEntry>> {
        self.index_objects = repository.list(Folder::Index)?;
        let read = |id: &ObjectId| -> Result<Index> {
            job.cancel.check()?;
            let [bytes] = repository.read(Folder::Index, id, [Audience::Index])?;
            Index::parse(&bytes).map_err(|e| malformed(&format!("index {}", id.short()), &e))
        };
        let mut superseded = HashSet::new();
        let mut found = Vec::new();
        let results: Vec<_> = self.index_objects.par_iter().map(|id| (*id, read(id))).collect();
        job.cancel.check()?;
        for (id, result) in results {
            match result {
                Ok(index) => {
                    superseded.extend(index.supersedes.iter().copied());
                    found.push((id, index.packs));
                }
                // The packs' own tables say the same; only time is lost.
                Err(e) => self.unreadable.push(format!("index {}: {e}", id.short())),
            }
        }
        found.retain(|(id, _)| !superseded.contains(id));
        Ok(found.into_iter().flat_map(|(_, packs)| packs).collect())
    }

    /// Reads the tables of packs that no index names.
    fn adopt(&mut self, repository: &Repository, ids: Vec<ObjectId>, job: Job<'_>) -> Result<()> {
        let read = |id: &ObjectId| -> Result<PackEntry> {
            job.cancel.check()?;
            let (_, size, table) = read_table(repository, id)?;
            Ok(PackEntry { id: *id, size, table: table.to_prefixes() })
        };
        let mut results: Vec<_> = ids.into_par_iter().map(|id| (id, read(&id))).collect();
        job.cancel.check()?;
        results.sort_by_key(|(id, _)| *id);
        for (id, result) in results {
            match result {
                Ok(pack) => {
                    self.add(&pack);
                    self.orphans.push(pack);
                }
                Err(e) => {
                    let text = format!("pack {}: {e}", id.short());
                    job.warn(&format!("a pack cannot be used: {text}"));
                    self.unreadable.push(text);
                }
            }
        }
        Ok(())
    }

    /// Adds a pack's chunks, but not those that do not count.
    pub fn add(&mut self, pack: &PackEntry) {
        if self.tombed.contains(&pack.id) {
            return;
        }
        let bad: Vec<Option<u32>> = self.damage.iter().filter(|bad| bad.pack == pack.id).map(|bad| bad.frame).collect();
        let number = self.packs.len() as u32;
        self.packs.push(PackInfo { id: pack.id, size: pack.size });
        self.first.reserve(pack.table.frames.iter().map(|frame| frame.chunks.len()).sum());
        for (frame, nth, kind, chunk) in pack.table.chunks() {
            if bad.iter().any(|bad| bad.is_none_or(|bad| bad == frame)) {
                continue;
            }
            let info = &pack.table.frames[frame as usize];
            let (offset, stored_len) = (info.offset as u32, info.stored_len);
            let place = Place { pack: number, frame, offset, stored_len, nth, raw_len: chunk.raw_len, kind };
            match self.first.entry(chunk.id) {
                std::collections::hash_map::Entry::Vacant(slot) => drop(slot.insert(place)),
                std::collections::hash_map::Entry::Occupied(_) => self.more.entry(chunk.id).or_default().push(place),
            }
        }
    }

    /// A copy of this chunk.
    pub fn find(&self, id: &ChunkId) -> Option<Place> {
        self.first.get(&id.prefix()).copied()
    }

    /// All copies of this chunk.
    pub fn copies(&self, id: &ChunkId) -> impl Iterator<Item = Place> {
        let more = self.more.get(&id.prefix()).into_iter().flatten().copied();
        self.find(id).into_iter().chain(more)
    }

    /// Whether a copy of this chunk is there.
    pub fn contains(&self, id: &ChunkId) -> bool {
        self.first.contains_key(&id.prefix())
    }

    /// The pack of this number.
    pub fn pack(&self, number: u32) -> PackInfo {
        self.packs.get(number as usize).copied().unwrap_or(PackInfo { id: ObjectId::ZERO, size: 0 })
    }

    /// All packs that count.
    pub fn packs(&self) -> &[PackInfo] {
        &self.packs
    }

    /// Number of chunks, and the sum of their raw and stored sizes is told by [`Self::places`].
    pub fn chunk_count(&self) -> usize {
        self.first.len()
    }

    /// One copy of every chunk.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.first.values()
    }

    /// Packs that no index object named; their tables have been read.
    pub fn orphans(&self) -> &[PackEntry] {
        &self.orphans
    }

    /// Packs that an index object names, but that are gone.
    pub fn missing(&self) -> &[ObjectId] {
        &self.missing
    }

    /// Index objects and packs that could not be read: what and why.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// What is known to be bad.
    pub fn damage(&self) -> &[BadFrame] {
        &self.damage
    }

    /// Whether nothing is known to be lost.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.unreadable.is_empty() && self.damage.is_empty()
    }

    /// Whether a prune has condemned anything.
    pub fn has_tombs(&self) -> bool {
        !self.tombed.is_empty()
    }

    /// Names of the index objects that were read.
    pub fn index_objects(&self) -> &[ObjectId] {
        &self.index_objects
    }

    /// Whether these bytes are known to be lost, so that files which used them must be read again.
    pub fn is_damaged(&self, id: &ChunkId) -> bool {
        !self.damage.is_empty() && !self.contains(id)
    }
}

fn read_tombs(repository: &Repository) -> Result<HashSet<ObjectId>> {
    let mut out = HashSet::new();
    for id in repository.list(Folder::Tombs)? {
        let [bytes] = repository.read(Folder::Tombs, &id, [Audience::Index])?;
        out.extend(Tomb::parse(&bytes).map_err(|e| malformed(&format!("tomb {}", id.short()), &e))?.packs);
    }
    Ok(out)
}

fn read_damage(repository: &Repository) -> Result<Vec<BadFrame>> {
    let mut out = Vec::new();
    for id in repository.list(Folder::Damage)? {
        let [bytes] = repository.read(Folder::Damage, &id, [Audience::Index])?;
        let place = format!("damage record {}", text::escape(id.short().as_bytes()));
        out.extend(Damage::parse(&bytes).map_err(|e| malformed(&place, &e))?.frames);
    }
    Ok(out)
}
