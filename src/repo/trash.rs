//! What lies in the trash: snapshots that were forgotten, packs that were condemned, and the tombs that tell since when.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use rayon::prelude::*;

use super::list_cache::{ListCache, Said};
use super::snapshots::Part;
use super::{Folder, Listing, Repository, malformed};
use crate::crypto::Audience;
use crate::error::{Kind, Result};
use crate::id::ObjectId;
use crate::record::{Snapshot, Tomb};
use crate::storage::{self, ErrorKind, Key, Listed, Object};

impl Repository {
    /// Takes a snapshot off the list; durable after the next barrier. One that is not there is off it already. Where the
    /// store knows no trash, the object is copied there, so that it can be brought back everywhere.
    pub fn trash_snapshot(&self, id: &ObjectId) -> Result<()> {
        let key = Folder::Snapshots.key(id);
        if self.storage().capabilities().trash {
            return match self.storage().trash(&key) {
                Err(e) if e.kind != ErrorKind::Missing => Err(e.into()),
                _ => Ok(()),
            };
        }
        let (Some(bytes), Some(to)) = (self.get_if_there(&key)?, key.in_trash()) else { return Ok(()) };
        self.storage().put(&to, &bytes)?;
        self.storage().barrier()?;
        Ok(self.storage().delete(&key)?)
    }

    /// Whether a snapshot was there and is no longer listed.
    pub fn was_forgotten(&self, id: &ObjectId) -> bool {
        matches!(self.storage().size(&Folder::Snapshots.key(id)), Err(e) if e.kind == ErrorKind::Missing)
    }

    /// Whether a snapshot lies in the trash.
    pub fn is_in_trash(&self, id: &ObjectId) -> bool {
        self.storage().size(&in_trash(id)).is_ok()
    }

    /// Reads a whole snapshot that lies in the trash.
    pub fn trashed_snapshot(&self, id: &ObjectId) -> Result<Snapshot> {
        self.snapshot_at(id, &in_trash(id))
    }

    /// Puts a snapshot back under its old key, from the trash, where it stays as well; durable when this returns.
    pub fn put_snapshot_back(&self, id: &ObjectId) -> Result<()> {
        let bytes = self.named_bytes(Folder::Snapshots, id, &in_trash(id))?;
        self.put_named(Folder::Snapshots, &bytes)?;
        Ok(self.storage().barrier()?)
    }

    /// Removes what lies in the trash of a snapshot that was put back.
    pub fn clear_from_trash(&self, id: &ObjectId) -> Result<()> {
        self.storage().delete(&in_trash(id))?;
        Ok(self.storage().barrier()?)
    }

    /// The snapshots that lie in the trash and are not listed, as a list shows them.
    pub fn trashed_snapshots(&self) -> Result<Listing> {
        let there: HashSet<ObjectId> = self.list(Folder::Snapshots)?.into_iter().collect();
        let cache = ListCache::open(self);
        let of_trash = |listed: Listed| {
            let key = Key::new(listed.key.as_str().strip_prefix("trash/")?)?;
            let id = Folder::Snapshots.id(&key).filter(|id| !there.contains(id))?;
            let said = self.read_part(&Part::Snapshot(id), &listed.key).map(Cow::Owned);
            Some((Listed { key, ..listed }, said))
        };
        let mut said: Vec<Said<'_>> = self.storage().list(TRASH)?.into_par_iter().filter_map(of_trash).collect();
        for folder in [Folder::Sessions, Folder::Notes] {
            said.extend(self.said_in(folder, &cache)?);
        }
        let mut listing = Listing { gone: Vec::new(), ..Listing::of(said) };
        // A prune has deleted it, or it is back, since it was listed.
        listing.damaged.retain(|(_, error)| error.kind() != Kind::Missing);
        Ok(listing)
    }
}

impl Repository {
    /// All tombs, each whole; one that goes meanwhile is left out.
    pub fn tombs(&self) -> Result<Vec<(ObjectId, Tomb)>> {
        let read = |id: ObjectId| match self.tomb_at(&id, &Folder::Tombs.key(&id)) {
            Err(e) if e.kind() == Kind::Missing => None,
            other => Some(other.map(|tomb| (id, tomb))),
        };
        self.list(Folder::Tombs)?.into_iter().filter_map(read).collect()
    }

    /// The tombs in the trash; those that cannot be read are errors in their places.
    pub fn trashed_tombs(&self) -> Result<Vec<(ObjectId, Result<Tomb>)>> {
        let ids = self.trashed(Folder::Tombs)?;
        Ok(ids.into_iter().map(|(id, _)| (id, self.tomb_at(&id, &in_trash_of(Folder::Tombs, &id)))).collect())
    }

    fn tomb_at(&self, id: &ObjectId, key: &Key) -> Result<Tomb> {
        let (_, [bytes]) = self.read_at(Folder::Tombs, id, key, [Audience::Index])?;
        Tomb::parse(&bytes).map_err(|e| malformed(&format!("tomb {}", id.short()), &e))
    }

    /// What lies in the trash of a folder, with its stored length in bytes.
    pub fn trashed(&self, folder: Folder) -> Result<Vec<(ObjectId, u64)>> {
        let of_trash = |listed: Listed| {
            let key = Key::new(listed.key.as_str().strip_prefix("trash/")?)?;
            Some((folder.id(&key)?, listed.size))
        };
        let listed = self.storage().list(&format!("trash/{}", folder.name()))?;
        Ok(listed.into_iter().filter_map(of_trash).collect())
    }

    /// Moves an object to the trash, or, where there is none, deletes it; durable after the next barrier. One that is
    /// gone already is no error.
    pub fn discard(&self, folder: Folder, id: &ObjectId) -> Result<()> {
        let key = folder.key(id);
        if !self.storage().capabilities().trash {
            return Ok(self.storage().delete(&key)?);
        }
        match self.storage().trash(&key) {
            Err(e) if e.kind != ErrorKind::Missing => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Deletes what lies in the trash of a folder under this name; durable after the next barrier.
    pub fn delete_trashed(&self, folder: Folder, id: &ObjectId) -> Result<()> {
        Ok(self.storage().delete(&in_trash_of(folder, id))?)
    }

    /// Reads a part of a pack, wherever it lies: who found it in the catalogue may find it in the trash only.
    pub(super) fn pack_range(&self, id: &ObjectId, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.of_pack(id, |key| self.storage().get_range(key, offset, len))
    }

    /// Opens a pack of which many parts will be read, likewise; `None` where the store reads it by name as well.
    pub(super) fn open_pack(&self, id: &ObjectId) -> Result<Option<Arc<dyn Object>>> {
        self.of_pack(id, |key| self.storage().open(key))
    }

    /// Its stored length, likewise.
    pub fn pack_size(&self, id: &ObjectId) -> Result<u64> {
        self.of_pack(id, |key| self.storage().size(key))
    }

    fn of_pack<T>(&self, id: &ObjectId, read: impl Fn(&Key) -> storage::Result<T>) -> Result<T> {
        match read(&Folder::Packs.key(id)) {
            Err(e) if e.kind == ErrorKind::Missing => Ok(read(&in_trash_of(Folder::Packs, id)).map_err(|_| e)?),
            other => Ok(other?),
        }
    }
}

const TRASH: &str = "trash/snapshots";

fn in_trash_of(folder: Folder, id: &ObjectId) -> Key {
    let key = folder.key(id);
    key.in_trash().unwrap_or(key)
}

fn in_trash(id: &ObjectId) -> Key {
    in_trash_of(Folder::Snapshots, id)
}
