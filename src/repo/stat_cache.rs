//! What a source looked like when it was last read: lets an unchanged file cost a stat, and an interrupted run go on
//! where it was.
//!
//! One file a source, a log of sealed blocks in the order of the tree, read beside the walk. A run writes its own log
//! from its first entry on, under a name of its own, and gives it the source's name when its snapshot is confirmed. So
//! what a killed run leaves is a log that ends early, and it is used as far as it goes.
//!
//! ```text
//! log   := salt(16) ‖ sealed(snapshot id(32) ‖ offset u64 and ordinal u64 of the end), or zeros ‖ block*
//! block := length u32 ‖ sealed(content)
//! content := 1 ‖ entries
//!          | 2 ‖ pieces of the file that is being read
//!          | 3 ‖ pack prefix(16)*: the end, and the packs that were there
//!          | 4 ‖ id(32) ‖ entries, bytes, body bytes, varints ‖ entries: with these a leaf of the tree ends
//!          | 5 ‖ entries: with these a leaf ends that is not to be taken whole
//!          | 6 ‖ what was seen of them, behind its length ‖ pieces, as in 2
//! ```
//! The leaf of a block 4 holds its entries and those of the blocks 1 since the last block 4 or 5.
//!
//! A cache is never trusted over the repository: whoever uses it looks up every chunk that it names, unless all packs are
//! still there that were when its snapshot was confirmed. Blocks are sealed in their order under a key of the repository;
//! the first that does not open ends the log. Whatever is wrong with a log, it is as if it were not there, or shorter.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::{self, CacheTrouble};
use super::known::{Cursor, Fingerprint, Known, KnownLeaf, NotedPiece, WHAT, put_entry};
use super::{Catalogue, Repository};
use crate::clock;
use crate::crypto::{self, Secret, TAG_BYTES};
use crate::entry::ChunkRef;
use crate::id::{ChunkId, ObjectId};
use crate::tree::{Child, Leaf, compare_paths};
use crate::wire::{self, Reader, put_prefixed, put_varint};

const FOLDER: &str = "files";
const SALT_BYTES: usize = 16;
const HEAD_BYTES: usize = 32 + 8 + 8 + TAG_BYTES;
/// Entries are sealed when they are this long together, or their files. What is not sealed is lost with a killed run.
const BLOCK_BYTES: usize = 64 << 10;
const BLOCK_FILE_BYTES: u64 = 8 << 20;
/// No block is longer, sealed: a leaf fits, whatever is in it, and so do the packs of many terabytes.
const BLOCK_BYTES_MAX: usize = 8 << 20;
/// Entries of a leaf are not longer together, or it is not taken whole.
const LEAF_BYTES_MAX: usize = 1 << 20;
const ENTRIES: u8 = 1;
const PIECES: u8 = 2;
const END: u8 = 3;
const LEAF: u8 = 4;
const NO_LEAF: u8 = 5;
const SEEN_PIECES: u8 = 6;
/// Of a pack's name, so much tells it from others. Bytes.
const PACK_PREFIX_BYTES: usize = 16;
/// Blocks of pieces have at most so many.
const PIECES_MAX: usize = 100_000;
/// Of runs that came to no end, so many logs are kept, and none for longer.
const LOGS_MAX: usize = 4;
const LOG_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// What comes next in a cache.
#[derive(Debug)]
pub enum Memory {
    /// An entry.
    Entry(Known),
    /// All entries of a leaf.
    Leaf(KnownLeaf),
}

impl Memory {
    /// The first path that it is about.
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Entry(known) => &known.path,
            Self::Leaf(known) => &known.leaf.child.first,
        }
    }
}

/// Keyed, so that the name of a log does not tell of what.
fn name_of(repository: &Repository, source: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&repository.keys().identity.cache.hash(source)[..16])
}

fn key_of(repository: &Repository, salt: &[u8]) -> Secret {
    repository.keys().identity.cache.derive("larder v1 stat log", salt)
}

/// The logs of this source: of runs that came to no end, newest first, and of the last that did.
fn logs(folder: &Path, name: &str) -> (Vec<PathBuf>, PathBuf) {
    let entries = walkdir::WalkDir::new(folder).min_depth(1).max_depth(1).into_iter().flatten();
    let is_part = |path: &PathBuf| {
        let rest = path.file_name().and_then(|file| file.to_str()).and_then(|file| file.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let mut parts: Vec<_> = entries.map(|entry| entry.into_path()).filter(is_part).collect();
    parts.sort_by_key(|path| Reverse(path.metadata().and_then(|meta| meta.modified()).ok()));
    (parts, folder.join(name))
}

/// One log, block by block.
struct Log {
    path: PathBuf,
    trouble: CacheTrouble,
    file: BufReader<File>,
    key: Secret,
    /// What stands with its end, if it has one.
    end: Option<End>,
    next: u64,
    is_stored: bool,
    is_whole: bool,
    /// Entries of a leaf whose end is still to come.
    entries: Vec<u8>,
    ready: VecDeque<Memory>,
    /// A big file whose entry is still to come.
    begun: Option<Known>,
}

/// What the head of a log says, which gets it last.
struct End {
    snapshot: ObjectId,
    offset: u64,
    ordinal: u64,
}

impl End {
    fn parse(head: &[u8]) -> Option<Self> {
        let mut r = Reader::new(head, WHAT);
        let end = Self { snapshot: ObjectId::new(r.array().ok()?), offset: r.u64().ok()?, ordinal: r.u64().ok()? };
        r.is_empty().then_some(end)
    }

    fn encode(&self) -> Vec<u8> {
        [&self.snapshot.as_bytes()[..], &self.offset.to_le_bytes(), &self.ordinal.to_le_bytes()].concat()
    }
}

/// Reads one block and opens it.
fn read_block(file: &mut impl Read, key: &Secret, ordinal: u64) -> Option<Vec<u8>> {
    let mut len = [0; 4];
    file.read_exact(&mut len).ok()?;
    let len = u32::from_le_bytes(len) as usize;
    if len > BLOCK_BYTES_MAX {
        return None;
    }
    let mut sealed = vec![0; len];
    file.read_exact(&mut sealed).ok()?;
    crypto::open_in_place(key, ordinal, b"", &mut sealed)?;
    Some(sealed)
}

fn take_leaf(r: &mut Reader<'_>) -> wire::Result<Leaf> {
    let (id, first) = (ChunkId::new(r.array()?), Vec::new());
    let child = Child { first, id, entries: r.varint()?, bytes: r.varint()? };
    Ok(Leaf { child, body_bytes: r.varint()? })
}

impl Log {
    fn open(repository: &Repository, path: &Path) -> Option<Self> {
        let (path, trouble) = (path.to_owned(), repository.cache_trouble().clone());
        let mut file = BufReader::with_capacity(256 << 10, trouble.read(&path, File::open(&path))?);
        let (mut salt, mut head) = ([0; SALT_BYTES], [0; HEAD_BYTES]);
        file.read_exact(&mut salt).ok()?;
        file.read_exact(&mut head).ok()?;
        let key = key_of(repository, &salt);
        let end = crypto::open(&key, u64::MAX, b"", &head).and_then(|head| End::parse(&head));
        let (entries, ready) = (Vec::new(), VecDeque::new());
        let (is_stored, is_whole, begun) = (false, false, None);
        Some(Self { path, trouble, file, key, end, next: 0, is_stored, is_whole, entries, ready, begun })
    }

    /// The prefixes of the packs that were there at its end.
    fn packs(&self) -> Option<Vec<[u8; PACK_PREFIX_BYTES]>> {
        let (end, mut len) = (self.end.as_ref()?, [0; 4]);
        let file = self.file.get_ref();
        file.read_exact_at(&mut len, end.offset).ok()?;
        let mut block = len.to_vec();
        block.resize(len.len() + (u32::from_le_bytes(len) as usize).min(BLOCK_BYTES_MAX), 0);
        file.read_exact_at(&mut block, end.offset).ok()?;
        let plain = read_block(&mut &block[..], &self.key, end.ordinal)?;
        let packs = plain.strip_prefix(&[END])?.as_chunks();
        packs.1.is_empty().then(|| packs.0.to_vec())
    }

    /// Whether what was stored when its snapshot was confirmed still is.
    fn is_stored(&self, catalogue: &Catalogue) -> bool {
        if !catalogue.is_whole() || catalogue.has_tombs() {
            return false;
        }
        let there: HashSet<&[u8]> =
            catalogue.packs().iter().map(|pack| &pack.id.as_bytes()[..PACK_PREFIX_BYTES]).collect();
        self.packs().is_some_and(|packs| packs.iter().all(|pack| there.contains(&pack[..])))
    }

    fn block(&mut self) -> Option<()> {
        let plain = read_block(&mut self.file, &self.key, self.next)?;
        self.next += 1;
        self.parse(plain).ok()
    }

    fn parse(&mut self, plain: Vec<u8>) -> wire::Result<()> {
        let mut r = Reader::new(&plain, WHAT);
        let kind = r.u8()?;
        let leaf = match kind {
            PIECES => return self.pieces(&mut r, &[]),
            SEEN_PIECES => {
                let seen = r.prefixed()?;
                return self.pieces(&mut r, seen);
            }
            END => {
                self.is_whole = true;
                return self.entries();
            }
            LEAF => Some(take_leaf(&mut r)?),
            _ => None,
        };
        self.entries.extend_from_slice(r.bytes(r.remaining())?);
        match leaf {
            Some(leaf) if self.is_stored => self.leaf(leaf),
            None if kind == ENTRIES && self.is_stored && self.entries.len() <= LEAF_BYTES_MAX => Ok(()),
            _ => self.entries(),
        }
    }

    /// The entries at hand are those of this leaf.
    fn leaf(&mut self, leaf: Leaf) -> wire::Result<()> {
        let entries = std::mem::take(&mut self.entries);
        let mut cursor = Cursor::default();
        if cursor.try_next(&entries)?.is_some() {
            let leaf = Leaf { child: Child { first: cursor.path().to_vec(), ..leaf.child }, ..leaf };
            self.ready.push_back(Memory::Leaf(KnownLeaf { leaf, entries }));
        }
        Ok(())
    }

    /// The entries at hand, one by one.
    fn entries(&mut self) -> wire::Result<()> {
        let entries = std::mem::take(&mut self.entries);
        let mut cursor = Cursor::default();
        while let Some((fingerprint, record)) = cursor.try_next(&entries)? {
            let (path, record) = (cursor.path().to_vec(), Some(record.to_vec()));
            let begun = self.begun.take().filter(|begun| begun.path == path && begun.fingerprint == fingerprint);
            let pieces = begun.map(|begun| begun.pieces).unwrap_or_default();
            let (older, in_snapshot, is_stored) = (None, self.end.is_some(), self.is_stored);
            let known = Known { path, fingerprint, record, pieces, older, in_snapshot, is_stored };
            self.ready.push_back(Memory::Entry(known));
        }
        Ok(())
    }

    fn pieces(&mut self, r: &mut Reader<'_>, seen: &[u8]) -> wire::Result<()> {
        let goes_on = r.u8()? == 1;
        let (path, fingerprint) = (r.prefixed()?.to_vec(), Fingerprint::take(r)?);
        if self.end.is_some() {
            return Ok(());
        }
        let mut pieces = self.begun.take().filter(|_| goes_on).map(|begun| begun.pieces).unwrap_or_default();
        let mut piece = NotedPiece { chunks: Vec::new(), seen: seen.to_vec() };
        while !r.is_empty() {
            piece.chunks.push(ChunkRef { id: ChunkId::new(r.array()?), len: r.varint()? });
        }
        pieces.extend(Some(piece).filter(|piece| !piece.chunks.is_empty()));
        let (record, older, in_snapshot, is_stored) = (None, None, false, false);
        self.begun = Some(Known { path, fingerprint, record, pieces, older, in_snapshot, is_stored });
        Ok(())
    }

    /// Leaves behind what comes before this path, and what is said of it: its record.
    fn record_at(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        while let Some(memory) = self.next() {
            let order = compare_paths(memory.path(), path);
            match memory {
                memory if order.is_gt() => {
                    self.ready.push_front(memory);
                    return None;
                }
                Memory::Entry(known) if order.is_eq() => return known.record,
                Memory::Entry(_) => {}
                Memory::Leaf(leaf) => {
                    self.entries = leaf.entries;
                    let _ = self.entries();
                }
            }
        }
        None
    }
}

impl Iterator for Log {
    type Item = Memory;

    fn next(&mut self) -> Option<Memory> {
        while self.ready.is_empty() {
            if self.block().is_none() {
                // Of a run that was killed it always does.
                if self.end.is_some() && !self.is_whole {
                    self.trouble.note(&self.path, cache::DAMAGED);
                }
                // It ends early: what came of a leaf counts by itself.
                let _ = self.entries();
                return self.ready.pop_front().or_else(|| self.begun.take().map(Memory::Entry));
            }
        }
        self.ready.pop_front()
    }
}

/// What is known of a source: the logs of runs that came to no end, newest first, each as far as it goes, and then that
/// of the last snapshot.
pub struct StatCache {
    logs: VecDeque<Log>,
    last: Option<Vec<u8>>,
    is_whole: bool,
}

impl std::fmt::Debug for StatCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StatCache({} logs)", self.logs.len())
    }
}

impl StatCache {
    /// Opens what there is for a source; `None` if nothing can be used. A log counts only while the snapshot that it
    /// ended with, if it did, is still listed. If so, if nothing is known to be lost or condemned, and if every pack is
    /// there that was when that snapshot was confirmed, then all that the snapshot needs is stored.
    pub fn open(
        repository: &Repository,
        source: &[u8],
        catalogue: &Catalogue,
        is_listed: impl Fn(&ObjectId) -> bool,
    ) -> Option<Self> {
        let (parts, last) = logs(&repository.cache()?.join(FOLDER), &name_of(repository, source));
        let open = |path: &PathBuf| {
            let log = Log::open(repository, path);
            // It got its name with its end.
            if *path == last && last.exists() && log.as_ref().is_none_or(|log| log.end.is_none()) {
                repository.cache_trouble().note(path, cache::DAMAGED);
            }
            log
        };
        let parts = parts.iter().chain([&last]).filter_map(open);
        let counts = |log: &Log| log.end.as_ref().is_none_or(|end| is_listed(&end.snapshot));
        let mut logs: VecDeque<Log> = parts.filter(counts).collect();
        logs.iter_mut().for_each(|log| log.is_stored = log.is_stored(catalogue));
        (!logs.is_empty()).then_some(Self { logs, last: None, is_whole: false })
    }

    /// The last path that was given, or that of the first entry of a leaf.
    pub fn last(&self) -> Option<&[u8]> {
        self.last.as_deref()
    }

    /// Once all is given: whether that was all of the source, or only up to the last path.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }
}

impl StatCache {
    /// Adds to what a run saw that made no snapshot what the last snapshot has of it.
    fn with_older(&mut self, memory: Memory) -> Memory {
        match memory {
            Memory::Entry(known) if !known.in_snapshot => {
                let mut saved = self.logs.iter_mut().skip(1).filter(|log| log.end.is_some());
                let older = saved.find_map(|log| log.record_at(&known.path));
                Memory::Entry(Known { older, ..known })
            }
            memory => memory,
        }
    }
}

impl Iterator for StatCache {
    type Item = Memory;

    fn next(&mut self) -> Option<Memory> {
        while let Some(log) = self.logs.front_mut() {
            let last = self.last.as_deref();
            let follows = |path: &[u8]| last.is_none_or(|last| compare_paths(last, path).is_lt());
            while let Some(memory) = log.next() {
                if follows(memory.path()) {
                    self.last = Some(memory.path().to_vec());
                    return Some(self.with_older(memory));
                }
                if let Memory::Leaf(leaf) = memory {
                    log.entries = leaf.entries;
                    let _ = log.entries();
                }
            }
            self.is_whole |= log.is_whole;
            self.logs.pop_front();
        }
        None
    }
}

/// Writes the log of a run.
pub struct StatCacheWriter {
    trouble: CacheTrouble,
    file: File,
    path: PathBuf,
    folder: PathBuf,
    name: String,
    key: Secret,
    block: Vec<u8>,
    /// Bytes of the files in the block.
    file_bytes: u64,
    last: Vec<u8>,
    next: u64,
    /// Where the next block goes.
    offset: u64,
}

impl std::fmt::Debug for StatCacheWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StatCacheWriter")
    }
}

impl StatCacheWriter {
    /// Begins a log; `None` where none can be kept.
    pub fn create(repository: &Repository, source: &[u8]) -> Option<Self> {
        let folder = cache::folder(repository, FOLDER)?;
        let name = name_of(repository, source);
        cache::remove_older(&folder, LOG_AGE_MAX, |name| name.contains('.'));
        logs(&folder, &name).0.iter().skip(LOGS_MAX - 1).for_each(|path| cache::remove(path));
        let salt: [u8; SALT_BYTES] = clock::random(repository.world()).ok()?;
        let path = folder.join(format!("{name}.{}", data_encoding::HEXLOWER.encode(&salt[..8])));
        let trouble = repository.cache_trouble().clone();
        let mut file = trouble.written(&path, cache::private_file(&path))?;
        file.write_all(&salt).ok()?;
        file.write_all(&[0; HEAD_BYTES]).ok()?;
        let key = key_of(repository, &salt);
        let (block, last, offset) = (Vec::new(), Vec::new(), (SALT_BYTES + HEAD_BYTES) as u64);
        Some(Self { trouble, file, path, folder, name, key, block, file_bytes: 0, last, next: 0, offset })
    }

    /// Adds an entry; paths must ascend.
    pub fn push(&mut self, path: &[u8], fingerprint: &Fingerprint, record: &[u8]) -> Option<()> {
        put_entry(&mut self.block, &self.last, path, fingerprint, record);
        self.last.clear();
        self.last.extend_from_slice(path);
        self.file_bytes = self.file_bytes.saturating_add(fingerprint.size);
        if self.block.len() >= BLOCK_BYTES || self.file_bytes >= BLOCK_FILE_BYTES { self.flush() } else { Some(()) }
    }

    /// A leaf of the tree ends with the entry that came last. `is_plain`: all of its entries were added, and what they
    /// look like is all that tells whether they are the same.
    pub fn end_leaf(&mut self, leaf: &Leaf, is_plain: bool) -> Option<()> {
        let entries = self.take_block();
        self.seal_leaf(is_plain.then_some(leaf), &entries)
    }

    /// Adds a leaf that is as it was.
    pub fn push_leaf(&mut self, known: &KnownLeaf) -> Option<()> {
        self.flush()?;
        self.seal_leaf(Some(&known.leaf), &known.entries)
    }

    fn seal_leaf(&mut self, leaf: Option<&Leaf>, entries: &[u8]) -> Option<()> {
        let mut head = Vec::with_capacity(64);
        match leaf {
            Some(Leaf { child, body_bytes }) => {
                head.push(LEAF);
                head.extend_from_slice(child.id.as_bytes());
                [child.entries, child.bytes, *body_bytes].into_iter().for_each(|number| put_varint(&mut head, number));
            }
            None => head.push(NO_LEAF),
        }
        self.seal(&head, entries)
    }

    /// Notes a piece of the file that is being read: its first one, or one more.
    pub fn piece(&mut self, path: &[u8], fingerprint: &Fingerprint, is_more: bool, piece: &NotedPiece) -> Option<()> {
        self.flush()?;
        let NotedPiece { chunks, seen } = piece;
        // The first one may be empty: what came before, of the same file or of another, ends here anyway.
        let blocks = chunks.len().div_ceil(PIECES_MAX).max(1);
        for n in 0..blocks {
            let chunks = &chunks[n * PIECES_MAX..chunks.len().min((n + 1) * PIECES_MAX)];
            let mut block = Vec::with_capacity(seen.len() + path.len() + 40 * chunks.len() + 64);
            match seen.is_empty() || blocks > 1 {
                true => block.push(PIECES),
                false => {
                    block.push(SEEN_PIECES);
                    put_prefixed(&mut block, seen);
                }
            }
            block.push(u8::from(is_more || n > 0));
            put_prefixed(&mut block, path);
            fingerprint.put(&mut block);
            for chunk in chunks {
                block.extend_from_slice(chunk.id.as_bytes());
                put_varint(&mut block, chunk.len);
            }
            self.seal(&block, &[])?;
        }
        Some(())
    }

    fn flush(&mut self) -> Option<()> {
        let entries = self.take_block();
        if entries.is_empty() { Some(()) } else { self.seal(&[ENTRIES], &entries) }
    }

    fn take_block(&mut self) -> Vec<u8> {
        self.last.clear();
        self.file_bytes = 0;
        std::mem::take(&mut self.block)
    }

    /// Seals these two parts together.
    fn seal(&mut self, head: &[u8], rest: &[u8]) -> Option<()> {
        let sealed = crypto::seal(&self.key, self.next, b"", &[head, rest].concat());
        let block = [&(sealed.len() as u32).to_le_bytes()[..], &sealed].concat();
        self.next += 1;
        self.offset += block.len() as u64;
        self.trouble.written(&self.path, self.file.write_all(&block))
    }

    /// Gives the log its name, as made with this snapshot while these packs were there, and takes away those that it
    /// replaces.
    pub fn finish(mut self, snapshot: &ObjectId, packs: &[ObjectId]) -> Option<()> {
        self.flush()?;
        let end = End { snapshot: *snapshot, offset: self.offset, ordinal: self.next };
        let packs: Vec<u8> = packs.iter().flat_map(|pack| &pack.as_bytes()[..PACK_PREFIX_BYTES]).copied().collect();
        self.seal(&[END], &packs)?;
        let sealed = crypto::seal(&self.key, u64::MAX, b"", &end.encode());
        self.file.write_all_at(&sealed, SALT_BYTES as u64).ok()?;
        let (parts, last) = logs(&self.folder, &self.name);
        std::fs::rename(&self.path, &last).ok()?;
        parts.iter().filter(|path| **path != self.path).for_each(|path| cache::remove(path));
        Some(())
    }
}
