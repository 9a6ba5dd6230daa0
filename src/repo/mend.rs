//! Objects that are damaged, and whose parity gives back what they were.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::open::OBJECT_BYTES_MAX;
use super::reader::lock;
use super::{Folder, Repository};
use crate::error::{Error, Kind, Result};
use crate::id::ObjectId;
use crate::pack::{self, PACK_BYTES_MAX};
use crate::seal::mend_object;
use crate::storage::{self, ErrorKind, Key};

/// What a disk that cannot read some of its sectors is asked for at a time, first and then. Bytes.
const AROUND_BYTES: [usize; 2] = [64 << 10, 4 << 10];
/// How often it may say no: who says so more often is no disk with a bad sector.
const UNREADABLE_MAX: usize = 40;
/// So many bytes are hashed in all to mend small objects.
const HASHED_BYTES_MAX: u64 = 16 << 30;

/// An object, and where it lies: in its folder, or in the trash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectAt {
    /// What folder it is of.
    pub folder: Folder,
    /// Its name.
    pub id: ObjectId,
    /// Where its bytes lie.
    pub key: Key,
}

impl ObjectAt {
    /// One that lies in its folder.
    pub fn in_place(folder: Folder, id: &ObjectId) -> Self {
        Self { folder, id: *id, key: folder.key(id) }
    }

    /// Whether these are its bytes.
    fn is(&self, bytes: &[u8]) -> bool {
        ObjectId::of(bytes) == self.id
    }
}

impl std::fmt::Display for ObjectAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.folder.object(&self.id))
    }
}

/// What was found out about damaged objects.
#[derive(Debug, Default)]
pub(super) struct Mending {
    /// What makes each what it was; none where nothing does.
    patches: Mutex<HashMap<ObjectAt, Option<Arc<Patch>>>>,
    /// Those that are not what they were, and can be again.
    met: Mutex<BTreeSet<ObjectAt>>,
    /// Bytes hashed for small objects.
    hashed: AtomicU64,
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

    fn apply(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.resize(self.size, 0);
        self.parts.iter().for_each(|(at, part)| bytes[*at..at + part.len()].copy_from_slice(part));
        bytes
    }
}

/// What became of a damaged object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// It is what it was.
    Yes,
    /// It is what its name says.
    Whole,
    /// Its parity does not give back what it was.
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
        self.or_mended(read, ObjectAt::in_place(Folder::Packs, id), |pack| {
            let offset = usize::try_from(offset).ok()?;
            make(pack.get(offset..offset.checked_add(len)?)?.to_vec()).ok()
        })
    }

    /// What was made of an object, or, where its bytes kept that from being made, what `make` makes of it as it was.
    pub(super) fn or_mended<T>(
        &self,
        read: Result<T>,
        object: ObjectAt,
        make: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let error = match read {
            Err(error) if is_of_its_bytes(&error) => error,
            other => return other,
        };
        self.as_it_was(&object).and_then(|bytes| make(&bytes)).ok_or(error)
    }

    /// An object as it was: from its bytes, if these are not bad after all, or from what its parity makes of them.
    fn as_it_was(&self, object: &ObjectAt) -> Option<Vec<u8>> {
        let known = lock(&self.mending.patches).get(object).cloned();
        if let Some(patch) = &known {
            let bytes = patch.as_ref()?.apply(self.read_around(object)?);
            if object.is(&bytes) {
                return Some(bytes);
            }
        }
        // One at a time: it takes long, and others want the same object.
        let mut patches = lock(&self.mending.patches);
        if known.is_none() && patches.contains_key(object) {
            drop(patches);
            return self.as_it_was(object);
        }
        let bad = self.read_around(object);
        let good = bad.as_deref().and_then(|bad| self.mended(object, bad));
        let is_bad = bad != good;
        let patch = bad.zip(good.as_ref()).filter(|_| is_bad).map(|(bad, good)| Arc::new(Patch::new(&bad, good)));
        let is_mended = patch.is_some();
        patches.insert(object.clone(), patch);
        good.inspect(|_| _ = is_mended.then(|| lock(&self.mending.met).insert(object.clone())))
    }

    /// What these bytes were, which may be what they are.
    fn mended(&self, object: &ObjectAt, bytes: &[u8]) -> Option<Vec<u8>> {
        if object.is(bytes) {
            return Some(bytes.to_vec());
        }
        match object.folder {
            Folder::Packs => pack::mend(bytes, |bytes| object.is(bytes)),
            // They have no parity.
            Folder::Sessions => None,
            // There may be any number of them, made by who wants it to take for ever.
            _ => mend_object(bytes, |bytes| {
                let hashed = self.mending.hashed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                hashed < HASHED_BYTES_MAX && object.is(bytes)
            }),
        }
    }

    /// All bytes of an object, with zeros in the place of those that its disk cannot read, if these are few.
    fn read_around(&self, object: &ObjectAt) -> Option<Vec<u8>> {
        let is_pack = object.folder == Folder::Packs;
        let longest = if is_pack { PACK_BYTES_MAX } else { OBJECT_BYTES_MAX };
        let mut key = object.key.clone();
        let mut size = self.storage().size(&key);
        if let (Err(e), true, Some(trash)) = (&size, is_pack, key.in_trash())
            && e.kind == ErrorKind::Missing
        {
            key = trash;
            size = self.storage().size(&key);
        }
        let size = size.ok().filter(|size| *size <= longest)? as usize;
        let mut unreadable = 0;
        let mut read = |offset: usize, len: usize| match self.storage().get_range(&key, offset as u64, len) {
            Ok(bytes) => Some(Some(bytes)),
            Err(e) if e.kind == ErrorKind::Unreadable => {
                unreadable += 1;
                (unreadable <= UNREADABLE_MAX).then_some(None)
            }
            Err(_) => None,
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
    pub fn take_mendable(&self) -> BTreeSet<ObjectAt> {
        std::mem::take(&mut *lock(&self.mending.met))
    }

    /// Whether such a pack was met.
    pub fn is_mendable(&self, pack: &ObjectId) -> bool {
        lock(&self.mending.met).contains(&ObjectAt::in_place(Folder::Packs, pack))
    }

    /// Makes a damaged object what it was, if its parity gives that back: then the next barrier makes it durable.
    pub fn mend(&self, object: &ObjectAt) -> Result<Mended> {
        let storage = self.storage();
        let is_gone = |e: &storage::Error| e.kind == ErrorKind::Missing;
        let Some(good) = self.as_it_was(object) else {
            return Ok(if storage.size(&object.key).is_err_and(|e| is_gone(&e)) { Mended::Gone } else { Mended::No });
        };
        if storage.get(&object.key, good.len() as u64).is_ok_and(|bytes| bytes == good) {
            return Ok(Mended::Whole);
        }
        match storage.mend(&object.key, &good) {
            Err(e) if is_gone(&e) => return Ok(Mended::Gone),
            done => done?,
        }
        lock(&self.mending.patches).remove(object);
        lock(&self.mending.met).remove(object);
        Ok(Mended::Yes)
    }
}
