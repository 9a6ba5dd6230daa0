//! Objects that are damaged, and whose parity gives back what they were.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use super::reader::lock;
use super::{Folder, Repository};
use crate::error::{Error, Kind, Result};
use crate::id::ObjectId;
use crate::pack::{self, PACK_BYTES_MAX};
use crate::seal::mend_object;
use crate::storage::{self, ErrorKind};

/// What a disk that cannot read some of its sectors is asked for at a time, first and then. Bytes.
const AROUND_BYTES: [usize; 2] = [64 << 10, 4 << 10];
/// How often it may say no: who says so more often is no disk with a bad sector.
const UNREADABLE_MAX: usize = 40;

/// What was found out about damaged objects.
#[derive(Debug, Default)]
pub(super) struct Mending {
    /// What makes each what it was; none where nothing does.
    patches: Mutex<HashMap<ObjectId, Option<Arc<Patch>>>>,
    /// Those that are not what they were, and can be again.
    met: Mutex<BTreeSet<(Folder, ObjectId)>>,
}

/// What makes an object what it was: the parts of it that differ, each as long as the second of [`AROUND_BYTES`].
#[derive(Debug)]
struct Patch {
    size: usize,
    parts: Vec<(usize, Vec<u8>)>,
}

impl Patch {
    fn new(bad: &[u8], good: &[u8]) -> Self {
        let [_, len] = AROUND_BYTES;
        let parts = good.chunks(len).enumerate().map(|(n, part)| (n * len, part));
        let differs = |(at, part): &(usize, &[u8])| bad.get(*at..at + part.len()) != Some(*part);
        Self { size: good.len(), parts: parts.filter(differs).map(|(at, part)| (at, part.to_vec())).collect() }
    }

    fn apply(&self, mut bad: Vec<u8>) -> Vec<u8> {
        bad.resize(self.size, 0);
        self.parts.iter().for_each(|(at, part)| bad[*at..at + part.len()].copy_from_slice(part));
        bad
    }
}

/// What became of a damaged object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// It is what it was.
    Yes,
    /// Its parity does not give that back, or it is what its name says.
    No,
    /// A prune has taken it away meanwhile.
    Gone,
}

/// Whether an error of reading an object may come from its bytes.
fn is_of_its_bytes(error: &Error) -> bool {
    !(error.kind().is_about_who_asks() || matches!(error.kind(), Kind::Missing | Kind::Newer | Kind::WrongKey))
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
        let read = self.pack_range(id, offset, len).and_then(&mut make);
        self.or_mended(read, Folder::Packs, id, |pack| {
            let offset = usize::try_from(offset).ok()?;
            make(pack.get(offset..offset.checked_add(len)?)?.to_vec()).ok()
        })
    }

    /// What was made of an object, or, where its bytes kept that from being made, what `make` makes of it as it was.
    pub(super) fn or_mended<T>(
        &self,
        read: Result<T>,
        folder: Folder,
        id: &ObjectId,
        make: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let error = match read {
            Err(error) if is_of_its_bytes(&error) => error,
            other => return other,
        };
        self.mended(folder, id).and_then(|bytes| make(&bytes)).ok_or(error)
    }

    /// An object as it was, if it is not, and its parity gives that back.
    fn mended(&self, folder: Folder, id: &ObjectId) -> Option<Vec<u8>> {
        let is_it = |bytes: &[u8]| ObjectId::of(bytes) == *id;
        // One at a time: it takes long, and others want the same object.
        let mut patches = lock(&self.mending.patches);
        if let Some(known) = patches.get(id) {
            let patch = known.clone()?;
            drop(patches);
            let object = patch.apply(self.read_around(folder, id)?);
            return is_it(&object).then_some(object);
        }
        let (mut good, mut patch) = (None, None);
        if let Some(bad) = self.read_around(folder, id) {
            let mended =
                if folder == Folder::Packs { pack::mend(&bad, is_it) } else { mend_object(bad.clone(), is_it) };
            good = mended.filter(|good| bad != *good);
            patch = good.as_ref().map(|good| Arc::new(Patch::new(&bad, good)));
        }
        patches.insert(*id, patch);
        good.inspect(|_| _ = lock(&self.mending.met).insert((folder, *id)))
    }

    /// All bytes of an object, with zeros in the place of those that its disk cannot read, if these are few.
    fn read_around(&self, folder: Folder, id: &ObjectId) -> Option<Vec<u8>> {
        let size = self.size_of(folder, id).ok().filter(|size| *size <= PACK_BYTES_MAX)? as usize;
        let mut unreadable = 0;
        let mut read = |offset: usize, len: usize| match self.range_of(folder, id, offset as u64, len) {
            Ok(bytes) => Some(Some(bytes)),
            Err(e) if !is_of_its_bytes(&e) => None,
            Err(_) => {
                unreadable += 1;
                (unreadable <= UNREADABLE_MAX).then_some(None)
            }
        };
        if let Some(bytes) = read(0, size)? {
            return Some(bytes);
        }
        let mut bytes = vec![0; size];
        let [large, small] = AROUND_BYTES;
        for (n, part) in bytes.chunks_mut(large).enumerate() {
            let at = n * large;
            if let Some(found) = read(at, part.len())? {
                part.copy_from_slice(&found);
                continue;
            }
            for (n, part) in part.chunks_mut(small).enumerate() {
                if let Some(found) = read(at + n * small, part.len())? {
                    part.copy_from_slice(&found);
                }
            }
        }
        Some(bytes)
    }

    /// Objects that were met since this was asked last, are not what they were, and can be again.
    pub fn take_mendable(&self) -> BTreeSet<(Folder, ObjectId)> {
        std::mem::take(&mut *lock(&self.mending.met))
    }

    /// Whether such a pack was met.
    pub fn is_mendable(&self, pack: &ObjectId) -> bool {
        lock(&self.mending.met).contains(&(Folder::Packs, *pack))
    }

    /// Makes a damaged object what it was, if its parity gives that back: then the next barrier makes it durable.
    pub fn mend(&self, folder: Folder, id: &ObjectId) -> Result<Mended> {
        let (key, storage) = (folder.key(id), self.storage());
        let is_gone = |e: &storage::Error| e.kind == ErrorKind::Missing;
        let Some(good) = self.mended(folder, id) else {
            return Ok(if storage.size(&key).is_err_and(|e| is_gone(&e)) { Mended::Gone } else { Mended::No });
        };
        match storage.mend(&key, &good) {
            Err(e) if is_gone(&e) => return Ok(Mended::Gone),
            done => done?,
        }
        lock(&self.mending.patches).remove(id);
        lock(&self.mending.met).remove(&(folder, *id));
        Ok(Mended::Yes)
    }
}
