//! Pins, tags and notes of snapshots that were taken.

use super::notes;
use crate::error::{Error, Kind, Result};
use crate::record::{Note, Remark, Standing};
use crate::repo::{Folder, Repository, SnapshotInfo};
use crate::storage::ErrorKind;

/// What to say; what is not said stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Whether to keep it whatever the rules say.
    pub is_pinned: Option<bool>,
    /// Tags that it shall have.
    pub tags_added: Vec<Vec<u8>>,
    /// Tags that it shall not have.
    pub tags_removed: Vec<Vec<u8>>,
    /// Its note; empty: none.
    pub note: Option<Vec<u8>>,
}

/// Says it of a snapshot; durable when this returns. What holds of it then, and whether that is anything new.
pub fn remark(repository: &Repository, info: &SnapshotInfo, change: &Change) -> Result<(Standing, bool)> {
    let now = repository.world().now();
    let remark = Remark {
        is_pinned: change.is_pinned,
        tags_added: change.tags_added.clone(),
        tags_removed: change.tags_removed.clone(),
        note: change.note.clone(),
        ..Remark::of(info.id, info.standing.time_of_next(now))
    };
    let old = &info.standing;
    let said = Standing::of(&old.tags, &old.note, vec![remark.clone()]);
    let is_pinned = change.is_pinned.unwrap_or(old.is_pinned);
    let new = Standing { is_pinned, is_forgotten: old.is_forgotten, ..said };
    if (new.is_pinned, &new.tags, &new.note) == (old.is_pinned, &old.tags, &old.note) {
        return Ok((old.clone(), false));
    }
    notes::leave(repository, &Note { time: now, remarks: vec![remark], ..Note::default() })?;
    match repository.storage().size(&Folder::Snapshots.key(&info.id)) {
        Ok(_) => Ok((new, true)),
        Err(e) if e.kind == ErrorKind::Missing => {
            Err(Error::new(Kind::Missing, format!("snapshot {} was forgotten meanwhile", info.id.short()))
                .fix(format!("bring it back: larder undelete {}", info.id.short())))
        }
        Err(e) => Err(e.into()),
    }
}
