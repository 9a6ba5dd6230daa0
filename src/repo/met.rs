//! Damage that was met while something was read, until somebody records it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::Repository;
use crate::error::{Error, Kind};
use crate::id::ObjectId;

/// Frames that did not open where the index says that they lie, by pack and ordinal; without one nothing of the pack does.
#[derive(Debug, Default)]
pub(super) struct Met(Mutex<BTreeSet<(ObjectId, Option<u32>)>>);

impl Repository {
    /// Keeps what an error of reading this frame, or this pack, tells of damage: what is gone, or cannot be read just now,
    /// is none.
    pub(super) fn meet(&self, pack: ObjectId, frame: Option<u32>, error: &Error) {
        if error.kind() == Kind::Damage {
            self.met.0.lock().unwrap_or_else(PoisonError::into_inner).insert((pack, frame));
        }
    }

    /// What was met since this was asked last, by pack and ordinal of a frame; without one it is the whole pack.
    pub fn take_met(&self) -> BTreeSet<(ObjectId, Option<u32>)> {
        std::mem::take(&mut *self.met.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
