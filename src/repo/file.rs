//! One stored file, read at any place: only the lists and chunks on the way are fetched.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::ChunkReader;
use crate::crypto::ChunkKind;
use crate::entry::{ChunkRef, Entry, Extent};
use crate::error::{Error, Kind, Result};
use crate::id::ChunkId;
use crate::tree::ChunkList;

/// Bytes of chunks that are kept at hand.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Lists that are kept at hand: of a file of 100 GB in small chunks, all on the way and some more.
const LISTS_MAX: usize = 256;

/// The last things that were used, by id.
#[derive(Debug)]
struct Kept<T> {
    things: HashMap<ChunkId, Arc<T>>,
    order: VecDeque<(ChunkId, usize)>,
    weight: usize,
    weight_max: usize,
}

impl<T> Kept<T> {
    fn new(weight_max: usize) -> Self {
        Self { things: HashMap::new(), order: VecDeque::new(), weight: 0, weight_max }
    }

    fn keep(&mut self, id: ChunkId, thing: Arc<T>, weight: usize) {
        if self.things.insert(id, thing).is_some() {
            return;
        }
        self.order.push_back((id, weight));
        self.weight += weight;
        while self.weight > self.weight_max && self.order.len() > 1 {
            let Some((oldest, weight)) = self.order.pop_front() else { break };
            self.things.remove(&oldest);
            self.weight -= weight;
        }
    }
}

/// A stored file; usable from several threads at once.
#[derive(Debug)]
pub struct FileReader<'r> {
    reader: &'r ChunkReader<'r>,
    entry: Entry,
    chunks: Arc<Mutex<Kept<Vec<u8>>>>,
    lists: Mutex<Kept<ChunkList>>,
    chunks_read: AtomicU64,
}

impl<'r> FileReader<'r> {
    /// Of a file's entry, with its extents.
    pub fn new(reader: &'r ChunkReader<'r>, entry: Entry) -> Self {
        let (chunks, lists) = (Arc::new(Mutex::new(Kept::new(KEPT_BYTES_MAX))), Mutex::new(Kept::new(LISTS_MAX)));
        Self { reader, entry, chunks, lists, chunks_read: AtomicU64::new(0) }
    }

    /// What it reads through.
    pub fn reader(&self) -> &'r ChunkReader<'r> {
        self.reader
    }

    /// The same, but both files keep their chunks at hand together: what is the same in both is fetched once, if both are
    /// read at about the same place.
    pub fn sharing(mut self, other: &Self) -> Self {
        self.chunks = other.chunks.clone();
        self
    }

    /// The entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// How many chunks of data were fetched.
    pub fn chunks_read(&self) -> u64 {
        self.chunks_read.load(Ordering::Relaxed)
    }

    /// Fills the buffer from this offset on; fewer bytes there are an error. Holes are zeros.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.entry.size);
        if end.is_none() {
            let why = format!("{} bytes from byte {offset} on, of {}", buffer.len(), self.entry.size);
            return Err(Error::new(Kind::Failed, "cannot read beyond the end of a stored file").why(why));
        }
        let whole = [Extent { offset: 0, len: self.entry.size }];
        let mut stored = 0;
        let mut done = 0;
        for extent in self.entry.extents.as_deref().unwrap_or(&whole) {
            let at = offset + done as u64;
            let hole = extent.offset.saturating_sub(at).min((buffer.len() - done) as u64) as usize;
            buffer[done..done + hole].fill(0);
            done += hole;
            let at = offset + done as u64;
            if at >= extent.offset && at < extent.offset + extent.len {
                let within = at - extent.offset;
                let len = (extent.len - within).min((buffer.len() - done) as u64) as usize;
                self.read_stored(stored + within, &mut buffer[done..done + len])?;
                done += len;
            }
            stored += extent.len;
            if done == buffer.len() {
                return Ok(());
            }
        }
        buffer[done..].fill(0);
        Ok(())
    }

    /// The same within the bytes that are stored, holes left out.
    fn read_stored(&self, mut at: u64, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let (chunk, start) = self.chunk_with(at)?;
            let bytes = self.chunk(&chunk)?;
            let within = (at - start) as usize;
            let len = (bytes.len() - within).min(buffer.len());
            buffer[..len].copy_from_slice(&bytes[within..within + len]);
            buffer = &mut buffer[len..];
            at += len as u64;
        }
        Ok(())
    }

    /// The chunk that has this byte of what is stored, holes left out, and where it begins there.
    pub fn chunk_with(&self, at: u64) -> Result<(ChunkRef, u64)> {
        self.item_with(0, at)
    }

    /// The list of this level that stands for this byte of what is stored, if there are lists of that level.
    pub fn list_with(&self, level: u8, at: u64) -> Result<Option<ChunkRef>> {
        let is_there = (1..=self.entry.content.level).contains(&level);
        is_there.then(|| self.item_with(level, at).map(|(list, _)| list)).transpose()
    }

    fn item_with(&self, level: u8, at: u64) -> Result<(ChunkRef, u64)> {
        let content = &self.entry.content;
        let (mut found, mut start) = pick(&content.chunks, 0, at).ok_or_else(too_short)?;
        for level in (level + 1..=content.level).rev() {
            let list = self.list(level, &found)?;
            (found, start) = pick(&list.items, start, at).ok_or_else(too_short)?;
        }
        Ok((found, start))
    }

    /// How many stored bytes lie before this place in the file.
    pub fn stored_before(&self, offset: u64) -> u64 {
        match &self.entry.extents {
            None => offset,
            Some(extents) => extents.iter().map(|extent| offset.saturating_sub(extent.offset).min(extent.len)).sum(),
        }
    }

    fn list(&self, level: u8, item: &ChunkRef) -> Result<Arc<ChunkList>> {
        if let Some(list) = lock(&self.lists).things.get(&item.id).filter(|list| list.level == level) {
            return Ok(list.clone());
        }
        let list = Arc::new(self.reader.chunk_list(level, item)?);
        lock(&self.lists).keep(item.id, list.clone(), 1);
        Ok(list)
    }

    fn chunk(&self, item: &ChunkRef) -> Result<Arc<Vec<u8>>> {
        if let Some(bytes) = lock(&self.chunks).things.get(&item.id).filter(|bytes| bytes.len() as u64 == item.len) {
            return Ok(bytes.clone());
        }
        let bytes = self.reader.chunk(ChunkKind::Data, &item.id)?;
        self.chunks_read.fetch_add(1, Ordering::Relaxed);
        if bytes.len() as u64 != item.len {
            return Err(Error::new(Kind::Damage, format!("chunk {} is not as long as it should be", item.id.short()))
                .why(format!("{} bytes, {} expected", bytes.len(), item.len))
                .fix(super::REPAIR));
        }
        // A copy, which keeps nothing of its frame.
        let bytes = Arc::new(bytes.to_vec());
        lock(&self.chunks).keep(item.id, bytes.clone(), bytes.len());
        Ok(bytes)
    }
}

/// The item with this byte, if the first of them begins at `start`, and where it begins.
fn pick(items: &[ChunkRef], mut start: u64, at: u64) -> Option<(ChunkRef, u64)> {
    for item in items {
        let end = start.checked_add(item.len)?;
        if at < end {
            return Some((*item, start));
        }
        start = end;
    }
    None
}

fn too_short() -> Error {
    Error::new(Kind::Damage, "an entry is damaged")
        .why("its chunks have fewer bytes than its size says")
        .fix(super::REPAIR)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::System;
    use crate::entry::Kind as EntryKind;
    use crate::event::{Cancel, Job, Silent};
    use crate::record::SessionRecord;
    use crate::repo::{Catalogue, ChunkWriter, KeySource, Repository, Session};
    use crate::storage::memory::MemoryStorage;
    use crate::tree::ListBuilder;

    /// Stores these bytes in chunks of this length, and gives the reader of a file that has them between holes.
    fn with_file(
        bytes: &[u8],
        chunk_len: usize,
        extents: Option<Vec<Extent>>,
        size: u64,
        check: impl Fn(&FileReader<'_>),
    ) {
        let key = KeySource::KeyFile(&[7; 32]);
        let storage = Arc::new(MemoryStorage::new());
        let repository = Repository::create(storage, Arc::new(System::default()), key, "t").unwrap();
        let cancel = Cancel::new();
        let job = Job { progress: &Silent, cancel: &cancel };
        let session = Session::begin(&repository, &SessionRecord::default()).unwrap();
        let catalogue = Catalogue::open(&repository, job).unwrap();
        let reader = ChunkReader::new(&repository, &catalogue);
        let writer = ChunkWriter::new(&session, &reader, 1);
        let mut frames = writer.frames().unwrap();
        let mut list = ListBuilder::default();
        for chunk in bytes.chunks(chunk_len) {
            let id = frames.store_data(chunk).unwrap().0;
            list.push(ChunkRef { id, len: chunk.len() as u64 }, &mut frames).unwrap();
        }
        let content = list.finish(&mut frames).unwrap();
        frames.flush().unwrap();
        drop(frames);
        writer.finish().unwrap();
        let catalogue = Catalogue::open(&repository, job).unwrap();
        let reader = ChunkReader::new(&repository, &catalogue);
        let mut entry = Entry::new(EntryKind::File);
        (entry.size, entry.extents, entry.content) = (size, extents, content);
        check(&FileReader::new(&reader, entry));
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252u64;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..len).map(next).collect()
    }

    #[track_caller]
    fn assert_reads_like(file: &FileReader<'_>, whole: &[u8]) {
        for offset in [0, 1, 99, 100, 101, 4095, whole.len() / 2, whole.len() - 1, whole.len()] {
            for len in [0, 1, 100, 4096, whole.len()] {
                let len = len.min(whole.len() - offset);
                let mut buffer = vec![0xAA; len];
                file.read_at(offset as u64, &mut buffer).unwrap();
                assert!(buffer == whole[offset..offset + len], "{len} bytes at {offset}");
            }
        }
        let mut one = [0];
        assert!(file.read_at(whole.len() as u64, &mut one).is_err());
        assert!(file.read_at(u64::MAX, &mut one).is_err());
    }

    #[test]
    fn any_part_of_a_file_is_read_through_lists_of_any_depth() {
        for (len, chunk_len, level) in [(5000, 1000, 0), (100_000, 100, 1), (1_000_000, 100, 2)] {
            let bytes = noise(len);
            with_file(&bytes, chunk_len, None, len as u64, |file| {
                assert_eq!(file.entry().content.level, level);
                assert_reads_like(file, &bytes);
            });
        }
    }

    #[test]
    fn holes_are_zeros() {
        let bytes = noise(3000);
        let extents = vec![Extent { offset: 100, len: 1000 }, Extent { offset: 4096, len: 2000 }];
        let mut whole = vec![0; 10_000];
        whole[100..1100].copy_from_slice(&bytes[..1000]);
        whole[4096..6096].copy_from_slice(&bytes[1000..]);
        with_file(&bytes, 300, Some(extents), 10_000, |file| assert_reads_like(file, &whole));
        with_file(b"", 300, Some(Vec::new()), 5000, |file| assert_reads_like(file, &[0; 5000]));
    }

    #[test]
    fn only_the_chunks_on_the_way_are_read() {
        let bytes = noise(1_000_000);
        with_file(&bytes, 1000, None, 1_000_000, |file| {
            let mut buffer = [0; 10];
            (0..10).for_each(|n| file.read_at(500_000 + n * 10, &mut buffer).unwrap());
            assert_eq!(file.chunks_read(), 1);
        });
    }

    #[test]
    fn an_entry_that_promises_more_than_there_is_is_an_error() {
        with_file(&noise(3000), 1000, None, 4000, |file| {
            assert_eq!(file.read_at(2999, &mut [0; 2]).unwrap_err().kind(), Kind::Damage);
        });
    }
}
