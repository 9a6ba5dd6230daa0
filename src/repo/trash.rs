//! Snapshots that were forgotten, and still lie in the trash.

use std::borrow::Cow;
use std::collections::HashSet;

use rayon::prelude::*;

use super::list_cache::{ListCache, Said};
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
        Ok(Listing { gone: Vec::new(), ..Listing::of(said) })
    }
}

const TRASH: &str = "trash/snapshots";

fn in_trash(id: &ObjectId) -> Key {
    let key = Folder::Snapshots.key(id);
    key.in_trash().unwrap_or(key)
}
