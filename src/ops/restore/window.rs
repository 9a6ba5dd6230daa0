//! Files of one stretch of the tree, written frame by frame.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rayon::prelude::*;

use crate::crypto::ChunkKind;
use crate::entry::{ChunkRef, Entry};
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::pack::FrameBytes;
use crate::repo::{ChunkReader, Place};
use crate::target::files::{FileWriter, Folder};

/// A window holds so many bytes of files, or so many files, before it is written.
const WINDOW_BYTES: u64 = 128 << 20;
const WINDOW_FILES: usize = 8192;
/// Files of more than one chunk stay open until their last: no more of them in a window than this.
const OPEN_FILES: usize = 256;
/// A longer file with deltas is made in its own order: it was announced. Bytes.
const LONG_BYTES: u64 = 64 << 20;
/// Pieces of it that are written one after another.
const RUN_PIECES: usize = 32;

/// A file that is being written.
struct Target {
    path: Vec<u8>,
    place: Vec<u8>,
    entry: Entry,
    is_database: bool,
    /// From its first piece on.
    writer: RwLock<Option<FileWriter>>,
    /// Pieces still to be written, plus one while pieces are still being added.
    left: AtomicU64,
    failed: Mutex<Option<Error>>,
}

/// A chunk and where it goes.
#[derive(Clone)]
struct Piece {
    target: Arc<Target>,
    offset: u64,
    chunk: ChunkRef,
    place: Place,
}

/// A frame's pieces, and those that are made from what lies in it.
struct Group {
    place: Place,
    here: Vec<Piece>,
    made: Vec<Piece>,
}

pub(super) struct Window<'a> {
    reader: &'a ChunkReader<'a>,
    folder: &'a Folder,
    /// In the order of the tree.
    pieces: Vec<Piece>,
    targets: Vec<Arc<Target>>,
    bytes: u64,
    total: u64,
    many: usize,
    lost: HashMap<Vec<u8>, Vec<u8>>,
    /// The file whose pieces are still being added.
    open: Option<Vec<u8>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Window<'a> {
    pub fn new(reader: &'a ChunkReader<'a>, folder: &'a Folder) -> Self {
        let (pieces, targets, lost) = (Vec::new(), Vec::new(), HashMap::new());
        Self { reader, folder, pieces, targets, bytes: 0, total: 0, many: 0, lost, open: None }
    }

    pub fn is_full(&self) -> bool {
        self.bytes >= WINDOW_BYTES || self.targets.len() >= WINDOW_FILES || self.many >= OPEN_FILES
    }

    /// Bytes of all files restored so far.
    pub fn bytes_restored(&self) -> u64 {
        self.total
    }

    pub fn is_open(&self, place: &[u8]) -> bool {
        self.open.as_deref() == Some(place)
    }

    /// Where a lost file would have gone.
    pub fn place_of(&self, path: &[u8]) -> Option<&Vec<u8>> {
        self.lost.get(path)
    }

    /// Adds a file. A very large one is written in several windows.
    pub fn file(&mut self, path: &[u8], place: &[u8], entry: Entry, is_database: bool, job: Job<'_>) -> Result<()> {
        let content = entry.content.clone();
        let target = Arc::new(Target {
            path: path.to_vec(),
            place: place.to_vec(),
            entry,
            is_database,
            writer: RwLock::default(),
            left: AtomicU64::new(1),
            failed: Mutex::default(),
        });
        self.targets.push(target.clone());
        self.many += usize::from(content.chunks.len() > 1);
        self.open = Some(place.to_vec());
        let mut offset = 0;
        let reader = self.reader;
        if target.entry.size > LONG_BYTES {
            reader.announce(&content, job.cancel);
        }
        let result = reader.for_each_chunk(&content, &mut |chunk| {
            let place = reader.catalogue().copies_to_read(&chunk.id.prefix()).next();
            let Some(place) = place else {
                return Err(Error::new(Kind::Damage, format!("chunk {} is missing", chunk.id.short())));
            };
            target.left.fetch_add(1, Ordering::Relaxed);
            self.pieces.push(Piece { target: target.clone(), offset, chunk: *chunk, place });
            offset += chunk.len;
            self.bytes += chunk.len;
            if self.bytes >= WINDOW_BYTES {
                self.write(job)?;
            }
            Ok(())
        });
        if let Err(e) = result {
            if !super::costs_one_entry(&e) {
                return Err(e);
            }
            lock(&target.failed).get_or_insert(e);
        }
        self.open = None;
        self.piece_done(&target)
    }

    /// Writes everything; what was lost comes back.
    pub fn flush(&mut self, job: Job<'_>) -> Result<Vec<(Vec<u8>, Error)>> {
        self.write(job)?;
        let mut lost = Vec::new();
        for target in std::mem::take(&mut self.targets) {
            if let Some(error) = lock(&target.failed).take() {
                self.lost.insert(target.path.clone(), target.place.clone());
                lost.push((target.path.clone(), error));
            } else {
                self.total += target.entry.size;
            }
        }
        self.many = 0;
        Ok(lost)
    }

    fn write(&mut self, job: Job<'_>) -> Result<()> {
        self.bytes = 0;
        let pieces = std::mem::take(&mut self.pieces);
        let (mut frames, mut in_order) = (BTreeMap::<_, Group>::new(), Vec::new());
        for file in pieces.chunk_by(|a, b| Arc::ptr_eq(&a.target, &b.target)) {
            if file[0].target.entry.size > LONG_BYTES && file.iter().any(|piece| piece.place.rank > 0) {
                // Deltas that lie together stand for chunks that do, and what they are made from lies together, too: it is
                // at hand as long as the file is made in order.
                in_order.extend(file.chunks(RUN_PIECES).map(<[Piece]>::to_vec));
                continue;
            }
            for piece in file {
                let root = self.reader.roots(&piece.chunk.id.prefix(), &piece.place).first().copied();
                let place = root.unwrap_or(piece.place);
                let new = || Group { place, here: Vec::new(), made: Vec::new() };
                let group = frames.entry((place.pack, place.frame)).or_insert_with(new);
                if piece.place.rank == 0 { &mut group.here } else { &mut group.made }.push(piece.clone());
            }
        }
        let this: &Self = self;
        in_order.iter().par_bridge().try_for_each(|pieces| this.put_all(pieces, None, job))?;
        frames.par_iter().try_for_each(|(_, group)| this.put_group(group, job))
    }

    /// Writes the pieces that lie in a frame, and those that are made from what does while it is at hand.
    fn put_group(&self, Group { place, here, made }: &Group, job: Job<'_>) -> Result<()> {
        if made.is_empty() {
            return self.put_all(here, self.reader.frame(place).ok().as_ref(), job);
        }
        let frame = self.reader.kept_frame(place).ok();
        self.put_all(here, frame.as_deref(), job)?;
        self.put_all(made, None, job)
    }

    /// Writes pieces; those that lie in this frame from there.
    fn put_all(&self, pieces: &[Piece], frame: Option<&FrameBytes>, job: Job<'_>) -> Result<()> {
        job.cancel.check()?;
        let mut bytes = 0;
        let chunks = pieces.iter().map(|piece| (piece.place.nth, piece.chunk.id));
        let proven = frame.map(|frame| self.reader.proven(frame, ChunkKind::Data, chunks));
        let proven = proven.into_iter().flatten().chain(std::iter::repeat(None));
        for (piece, plain) in pieces.iter().zip(proven) {
            let put = match plain {
                Some(plain) => self.put(piece, plain),
                // What deltas are made from is kept at hand, and where the frame is bad, there may be another copy.
                None => {
                    let other = self.reader.chunk(ChunkKind::Data, &piece.chunk.id);
                    other.and_then(|plain| self.put(piece, &plain))
                }
            };
            self.survive(&piece.target, put)?;
            bytes += piece.chunk.len;
            self.piece_done(&piece.target)?;
        }
        job.advance(0, bytes);
        Ok(())
    }

    fn put(&self, piece: &Piece, plain: &[u8]) -> Result<()> {
        let target = &piece.target;
        if plain.len() as u64 != piece.chunk.len {
            return Err(Error::new(Kind::Damage, format!("chunk {} is of another length", piece.chunk.id.short()))
                .why(format!("{} bytes found, {} expected", plain.len(), piece.chunk.len)));
        }
        self.begin_once(target)?;
        // Pieces of one file are written side by side.
        let writer = target.writer.read().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = writer.as_ref() else { return Ok(()) };
        let mut rest = plain;
        for (offset, len) in runs(&target.entry, piece.offset, plain.len() as u64) {
            let (now, later) = rest.split_at(len as usize);
            writer.write_at(offset, now)?;
            rest = later;
        }
        Ok(())
    }

    fn begin_once(&self, target: &Target) -> Result<()> {
        if target.writer.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut writer = target.writer.write().unwrap_or_else(PoisonError::into_inner);
        if writer.is_none() {
            *writer = Some(self.begin(target)?);
        }
        Ok(())
    }

    fn begin(&self, target: &Target) -> Result<FileWriter> {
        match target.is_database {
            true => self.folder.database(&target.place, &target.entry),
            false => self.folder.file(&target.place, &target.entry),
        }
    }

    /// Completes a file after its last piece.
    fn piece_done(&self, target: &Target) -> Result<()> {
        if target.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return Ok(());
        }
        let writer = target.writer.write().unwrap_or_else(PoisonError::into_inner).take();
        if lock(&target.failed).is_some() {
            // Dropping the writer takes the unfinished file away.
            return Ok(());
        }
        let done = match writer {
            Some(writer) => writer.finish(),
            None => self.begin(target).and_then(FileWriter::finish),
        };
        self.survive(target, done)
    }

    /// Goes on without this file, if it is no more than that.
    fn survive(&self, target: &Target, result: Result<()>) -> Result<()> {
        match result {
            Err(e) if super::costs_one_entry(&e) => {
                lock(&target.failed).get_or_insert(e);
                Ok(())
            }
            other => other,
        }
    }
}

/// Where `len` bytes at `at` of a file's content go in the file, around its holes: offset and length of each run.
fn runs(entry: &Entry, at: u64, len: u64) -> Vec<(u64, u64)> {
    let Some(extents) = &entry.extents else { return vec![(at, len)] };
    let (mut start, end) = (at, at + len);
    let (mut out, mut base) = (Vec::new(), 0);
    for extent in extents {
        let extent_end = base + extent.len;
        if start < extent_end && end > base {
            let run = end.min(extent_end) - start;
            out.push((extent.offset + (start - base), run));
            start += run;
        }
        base = extent_end;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Extent, Kind};
    use crate::ops::restore::{Part, Pick, restore};
    use crate::ops::testing::{Store, noise};
    use crate::repo::{Catalogue, EntryReader};
    use crate::target::files::Existing;
    use crate::tree::TreeWalk;

    const PAGE: usize = 4096;
    const OLD_PAGES: usize = 40 << 8;

    #[test]
    fn content_goes_around_the_holes() {
        let mut entry = Entry::new(Kind::File);
        assert_eq!(runs(&entry, 5, 7), [(5, 7)]);
        entry.extents =
            Some(vec![Extent { offset: 100, len: 10 }, Extent { offset: 200, len: 5 }, Extent { offset: 300, len: 9 }]);
        assert_eq!(runs(&entry, 0, 24), [(100, 10), (200, 5), (300, 9)]);
        assert_eq!(runs(&entry, 8, 4), [(108, 2), (200, 2)]);
        assert_eq!(runs(&entry, 15, 9), [(300, 9)]);
    }

    /// A database of 40 MiB that has moved pages from all over the file to its end.
    fn moved(store: &Store) -> Vec<u8> {
        let mut pages = [b"SQLite format 3\0", &noise(OLD_PAGES * PAGE)[16..]].concat();
        store.file("pages", &pages);
        store.backup_only("pages");
        for n in 0..8 * 16 {
            let from = (n * 79 % OLD_PAGES + 1) * PAGE;
            pages.extend_from_within(from..from + PAGE);
            pages[from..from + PAGE].fill(n as u8);
        }
        store.file("pages", &pages);
        store.backup_only("pages");
        pages
    }

    #[test]
    fn what_was_moved_takes_no_second_look_at_where_it_came_from() {
        let store = Store::new();
        let pages = moved(&store);
        let calls = |is_announced: bool| {
            let begun = store.calls();
            let read = store.with_reader(|reader, snapshot| {
                let found = TreeWalk::new(reader, &snapshot.body.sources[0].root).next().unwrap().unwrap();
                let (content, mut bytes) = (reader.entry(&found.record)?.content, Vec::new());
                if is_announced {
                    reader.announce(&content, store.job().cancel);
                }
                reader.for_each_chunk(&content, &mut |chunk| {
                    bytes.extend_from_slice(&reader.chunk(ChunkKind::Data, &chunk.id)?);
                    Ok(())
                })?;
                Ok(bytes)
            });
            assert!(read.unwrap() == pages);
            store.calls() - begun
        };
        let (without, with) = (calls(false), calls(true));
        assert!(with + 30 < without, "{with} calls instead of {without}");
    }

    /// Frames of files that did not change serve those that did, too: each is read once.
    #[test]
    fn what_changed_is_written_while_its_frame_is_at_hand() {
        const FILE: usize = 400_000;
        let (store, all) = (Store::new(), noise(120 * FILE));
        let mut files: Vec<Vec<u8>> = all.chunks(FILE).map(<[u8]>::to_vec).collect();
        let save = |files: &[Vec<u8>]| {
            files.iter().enumerate().for_each(|(n, bytes)| store.file(&format!("{n:03}"), bytes));
            store.backup()
        };
        save(&files);
        files.iter_mut().step_by(2).for_each(|bytes| bytes[FILE / 2] ^= 1);
        save(&files);
        let (to, begun) = (tempfile::tempdir().unwrap(), store.calls());
        let target = super::super::Target { path: to.path(), existing: Existing::Refuse, repository: None };
        let parts = [Part { source: 0, into: Vec::new(), pick: Pick::At(Vec::new()) }];
        let catalogue = Catalogue::load(&store.repository, store.job()).unwrap();
        restore(&store.repository, &catalogue, &store.newest(), &parts, target, store.job()).unwrap();
        for (n, bytes) in files.iter().enumerate() {
            assert!(std::fs::read(to.path().join(format!("{n:03}"))).unwrap() == *bytes, "{n}");
        }
        let calls = store.calls() - begun;
        assert!(calls < 85, "{calls} calls; about 66 expected, and 108 when frames are read twice");
    }
}
