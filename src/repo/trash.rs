//! Snapshots that were forgotten, and still lie in the trash.

use std::borrow::Cow;
use std::collections::HashSet;

use super::list_cache::ListCache;
use super::snapshots::Part;
use super::{Folder, Listing, Repository};
use crate::error::Result;
use crate::id::ObjectId;
use crate::record::Snapshot;
use crate::storage::{ErrorKind, Key, Listed};

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
        let mut said = Vec::new();
        for listed in self.storage().list(TRASH)? {
            let name = listed.key.as_str().strip_prefix("trash/").and_then(Key::new);
            let Some(key) = name.filter(|key| Folder::Snapshots.id(key).is_some_and(|id| !there.contains(&id))) else {
                continue;
            };
            let Some(part) = Part::of(&key) else { continue };
            said.push((Listed { key, ..listed }, self.read_part(&part, &listed.key).map(Cow::Owned)));
        }
        for folder in [Folder::Sessions, Folder::Notes] {
            said.extend(self.said_in(folder, &cache)?);
        }
        Ok(Listing { gone: Vec::new(), ..Listing::of(said) })
    }
}

const TRASH: &str = "trash/snapshots";

fn in_trash(id: &ObjectId) -> Key {
    let key = Folder::Snapshots.key(id);
    key.in_trash().unwrap_or(key)
}
