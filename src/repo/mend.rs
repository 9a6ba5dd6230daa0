//! Packs that are damaged, and whose parity gives back what they were.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use super::reader::lock;
use super::{Folder, Repository};
use crate::error::{Kind, Result};
use crate::id::ObjectId;
use crate::pack::{PACK_BYTES_MAX, mend};
use crate::storage::ErrorKind;

/// What a disk that cannot read some of its sectors is asked for at a time, first and then. Bytes.
const AROUND_BYTES: [usize; 2] = [64 << 10, 4 << 10];

/// What was tried so far: no pack is mended twice.
#[derive(Debug, Default)]
pub(super) struct Mending {
    patches: Mutex<HashMap<ObjectId, Option<Arc<Patch>>>>,
    /// Packs that are not what they were, and can be again.
    met: Mutex<BTreeSet<ObjectId>>,
}

/// What makes a pack what it was.
#[derive(Debug)]
struct Patch {
    at: usize,
    bytes: Vec<u8>,
}

impl Patch {
    /// From what there is to what there was.
    fn new(bad: &[u8], good: &[u8]) -> Self {
        let differs = |n: &usize| bad.get(*n) != good.get(*n);
        let at = (0..good.len()).find(differs).unwrap_or(good.len());
        let end = (at..good.len()).rfind(differs).map_or(at, |last| last + 1);
        Self { at, bytes: good[at..end].to_vec() }
    }

    /// Puts what it has into the bytes that begin at this offset.
    fn apply(&self, offset: usize, to: &mut [u8]) {
        let (begin, end) = (self.at.max(offset), (self.at + self.bytes.len()).min(offset + to.len()));
        if begin < end {
            to[begin - offset..end - offset].copy_from_slice(&self.bytes[begin - self.at..end - self.at]);
        }
    }
}

impl Repository {
    /// Reads a part of a pack, and makes something of it; where that fails, once more with what the pack's parity gives
    /// back.
    pub(super) fn pack_part<T>(
        &self,
        id: &ObjectId,
        offset: u64,
        len: usize,
        mut make: impl FnMut(Vec<u8>) -> Result<T>,
    ) -> Result<T> {
        self.pack_range(id, offset, len).and_then(&mut make).or_else(|e| {
            if matches!(e.kind(), Kind::Missing) || e.kind().is_about_who_asks() {
                return Err(e);
            }
            let mended = self.mended_range(id, offset as usize, len).ok_or_else(|| e.clone())?;
            make(mended).map_err(|_| e)
        })
    }

    fn mended_range(&self, id: &ObjectId, offset: usize, len: usize) -> Option<Vec<u8>> {
        let known = lock(&self.mending.patches).get(id).cloned();
        let patch = known.unwrap_or_else(|| {
            let patch = self.patch(id).map(Arc::new);
            lock(&self.mending.patches).insert(*id, patch.clone());
            patch
        })?;
        // In the parts in which it was read for the patch: a part that cannot be read is there as a whole.
        let begin = offset - offset % AROUND_BYTES[0];
        let mut bytes = self.read_around(id, begin, offset + len - begin)?;
        bytes.resize(offset + len - begin, 0);
        patch.apply(begin, &mut bytes);
        Some(bytes.split_off(offset - begin))
    }

    fn patch(&self, id: &ObjectId) -> Option<Patch> {
        let bad = self.read_around(id, 0, PACK_BYTES_MAX as usize)?;
        let good = mend(&bad, |bytes| ObjectId::of(bytes) == *id)?;
        (bad != good).then(|| lock(&self.mending.met).insert(*id));
        Some(Patch::new(&bad, &good))
    }

    /// Up to so many bytes of a pack, with zeros in the place of those that cannot be read.
    fn read_around(&self, id: &ObjectId, offset: usize, len: usize) -> Option<Vec<u8>> {
        let size = usize::try_from(self.pack_size(id).ok()?).ok()?;
        let len = len.min(size.checked_sub(offset)?);
        let read = |offset: usize, len: usize| self.pack_range(id, offset as u64, len);
        if let Ok(bytes) = read(offset, len) {
            return Some(bytes);
        }
        let mut bytes = vec![0; len];
        let [large, small] = AROUND_BYTES;
        for (n, part) in bytes.chunks_mut(large).enumerate() {
            let at = offset + n * large;
            match read(at, part.len()) {
                Ok(found) => part.copy_from_slice(&found),
                Err(_) => {
                    for (n, part) in part.chunks_mut(small).enumerate() {
                        if let Ok(found) = read(at + n * small, part.len()) {
                            part.copy_from_slice(&found);
                        }
                    }
                }
            }
        }
        Some(bytes)
    }

    /// Packs that were met since this was asked last, are not what they were, and can be again.
    pub fn take_mendable(&self) -> BTreeSet<ObjectId> {
        std::mem::take(&mut *lock(&self.mending.met))
    }

    /// Whether such a pack was met.
    pub fn is_mendable(&self, id: &ObjectId) -> bool {
        lock(&self.mending.met).contains(id)
    }

    /// Makes a damaged pack what it was, if its parity gives that back: then the next barrier makes it durable.
    pub fn mend(&self, id: &ObjectId) -> Result<bool> {
        let Some(bad) = self.read_around(id, 0, PACK_BYTES_MAX as usize) else { return Ok(false) };
        let Some(good) = mend(&bad, |bytes| ObjectId::of(bytes) == *id) else { return Ok(false) };
        match self.storage().mend(&Folder::Packs.key(id), &good) {
            // A prune has taken it away.
            Err(e) if e.kind == ErrorKind::Missing => Ok(false),
            done => Ok(done.map(|()| true)?),
        }
    }
}
