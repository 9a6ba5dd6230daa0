//! Packs that are read in many small parts: each stays open for a while, and deltas are read with what is stored around
//! them, which will mostly be needed soon.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use super::reader::lock;
use super::{ChunkReader, Place};
use crate::storage::Object;

/// Deltas are read with all that is stored in the same part of their pack, and so many of these parts are kept. Bytes.
const AHEAD_BYTES: u64 = 128 << 10;
const AHEAD_MAX: usize = 48;
/// So many packs stay open.
const OPEN_MAX: usize = 64;

/// The n-th part of a pack, as it is stored, once it has been read; `None`: it cannot be had.
#[derive(Debug)]
struct Part {
    pack: u32,
    nth: u64,
    bytes: Arc<OnceLock<Option<Vec<u8>>>>,
}

/// What is at hand of packs. All of it may be older than what stands under their names now.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// By the pack's number, the one last used last; `None` where the store reads by name.
    open: VecDeque<(u32, Option<Arc<dyn Object>>)>,
    /// The oldest first.
    ahead: VecDeque<Part>,
}

impl Parts {
    fn opened(&mut self, pack: u32) -> Option<Option<Arc<dyn Object>>> {
        let at = self.open.iter().rposition(|(number, _)| *number == pack)?;
        let found = self.open.remove(at)?;
        self.open.push_back(found.clone());
        Some(found.1)
    }

    fn part(&mut self, pack: u32, nth: u64) -> Arc<OnceLock<Option<Vec<u8>>>> {
        if let Some(part) = self.ahead.iter().rfind(|part| (part.pack, part.nth) == (pack, nth)) {
            return part.bytes.clone();
        }
        if self.ahead.len() >= AHEAD_MAX {
            self.ahead.pop_front();
        }
        let bytes = Arc::default();
        self.ahead.push_back(Part { pack, nth, bytes: Arc::clone(&bytes) });
        bytes
    }
}

impl ChunkReader<'_> {
    /// Reads a frame as it is stored from what is at hand, or what is worth to have at hand; whether it could.
    pub(super) fn sealed(&self, place: &Place, to: &mut Vec<u8>) -> bool {
        let (start, len) = (u64::from(place.offset), place.stored_len as usize);
        let within = (start % AHEAD_BYTES) as usize;
        if place.rank > 0 && within + len <= AHEAD_BYTES as usize {
            let part = lock(&self.at_hand.parts).part(place.pack, start / AHEAD_BYTES);
            // Who wants the same meanwhile waits for it.
            let bytes = part.get_or_init(|| self.read_part(place.pack, start / AHEAD_BYTES));
            if let Some(sealed) = bytes.as_ref().and_then(|bytes| bytes.get(within..within + len)) {
                to.clear();
                to.extend_from_slice(sealed);
                return true;
            }
        }
        self.open(place.pack).is_some_and(|object| object.read(start, len, to).is_ok())
    }

    fn read_part(&self, pack: u32, nth: u64) -> Option<Vec<u8>> {
        let (info, start) = (self.catalogue().pack(pack), nth * AHEAD_BYTES);
        let len = AHEAD_BYTES.min(info.size.checked_sub(start)?) as usize;
        let Some(object) = self.open(pack) else { return self.repository().pack_range(&info.id, start, len).ok() };
        let mut bytes = Vec::new();
        object.read(start, len, &mut bytes).ok()?;
        Some(bytes)
    }

    fn open(&self, pack: u32) -> Option<Arc<dyn Object>> {
        if let Some(opened) = lock(&self.at_hand.parts).opened(pack) {
            return opened;
        }
        let opened = self.repository().open_pack(&self.catalogue().pack(pack).id).ok()?;
        let mut parts = lock(&self.at_hand.parts);
        if parts.open.len() >= OPEN_MAX {
            parts.open.pop_front();
        }
        parts.open.push_back((pack, opened.clone()));
        opened
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Catalogue, ChunkWriter, Folder, KeySource, Repository, Session};
    use super::*;
    use crate::clock::System;
    use crate::crypto::ChunkKind;
    use crate::event::{Cancel, Job, Silent};
    use crate::record::SessionRecord;
    use crate::storage::local::LocalStorage;

    /// While a prune or a repair beside a reader takes packs away and puts others in their place.
    #[test]
    fn a_pack_reads_on_when_it_is_gone_and_is_read_by_its_name_when_it_is_bad() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("repo");
        let storage = Arc::new(LocalStorage::create(&root).unwrap());
        let key = KeySource::KeyFile(&[7; 32]);
        let repository = Repository::create(storage, Arc::new(System::default()), key, "test").unwrap();
        let cancel = Cancel::new();
        let job = Job { progress: &Silent, cancel: &cancel };
        let chunk = |n: u8| {
            let mut bytes = vec![0; 300_000];
            blake3::Hasher::new_keyed(&[n; 32]).finalize_xof().fill(&mut bytes);
            bytes
        };
        {
            let session = Session::begin(&repository, &SessionRecord::default()).unwrap();
            let catalogue = Catalogue::load(&repository, job).unwrap();
            let reader = ChunkReader::new(&repository, &catalogue);
            let writer = ChunkWriter::new(&session, &reader, 1);
            let mut frames = writer.frames().unwrap();
            (0..4).for_each(|n| _ = frames.store_data(&chunk(n)));
            frames.flush().unwrap();
            drop(frames);
            writer.finish().unwrap();
        }
        let catalogue = Catalogue::load(&repository, job).unwrap();
        let [pack] = catalogue.packs() else { panic!("{:?}", catalogue.packs()) };
        let path = root.join(Folder::Packs.key(&pack.id).as_str());
        let is_read = |reader: &ChunkReader<'_>, n: u8| {
            let id = repository.keys().identity.chunk_id(ChunkKind::Data, &chunk(n));
            reader.chunk(ChunkKind::Data, &id).is_ok_and(|bytes| *bytes == chunk(n))
        };
        let good = fs::read(&path).unwrap();
        let put = |bytes: &[u8]| {
            fs::write(root.join("new"), bytes).unwrap();
            fs::rename(root.join("new"), &path).unwrap();
        };
        let before = ChunkReader::new(&repository, &catalogue);
        assert!(is_read(&before, 0));
        // The head stays, so that the reader knows the pack and keeps it open.
        let bad: Vec<u8> = good.iter().enumerate().map(|(at, byte)| if at < 200 { *byte } else { !byte }).collect();
        put(&bad);
        let after = ChunkReader::new(&repository, &catalogue);
        assert!(is_read(&before, 1) && !is_read(&after, 1));
        fs::remove_file(&path).unwrap();
        assert!(is_read(&before, 2) && !is_read(&after, 2));
        put(&good);
        // What was found damaged is not read again for each chunk that it takes.
        assert!(!is_read(&after, 2));
        after.forget();
        assert!(is_read(&after, 2) && is_read(&after, 3));
    }
}
