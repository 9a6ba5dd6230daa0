//! What a source looked like when it was last read: lets an unchanged file cost a stat, and an interrupted run go on
//! where it was.
//!
//! One file a source, a log of sealed blocks in the order of the tree, read beside the walk. A run writes its own log
//! from its first entry on, under a name of its own, and gives it the source's name when its snapshot is confirmed. So
//! what a killed run leaves is a log that ends early, and it is used as far as it goes.
//!
//! ```text
//! log   := salt(16) ‖ sealed(snapshot id), or zeros ‖ block*
//! block := length u32 ‖ sealed(1 ‖ entries | 2 ‖ pieces of the file that is being read | 3: the end)
//! ```
//! A cache is never trusted over the repository: whoever uses it looks up every chunk that it names. Blocks are sealed
//! in their order under a key of the repository; the first that does not open ends the log. Whatever is wrong with a
//! log, it is as if it were not there, or shorter.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Repository;
use super::cache;
use crate::clock;
use crate::crypto::{self, Secret, TAG_BYTES};
use crate::entry::{ChunkRef, Time};
use crate::id::{ChunkId, ObjectId};
use crate::tree::compare_paths;
use crate::wire::{self, Reader, put_prefixed, put_signed, put_varint};

const FOLDER: &str = "files";
const WHAT: &str = "stat cache";
const SALT_BYTES: usize = 16;
const SNAPSHOT_BYTES: usize = 32 + TAG_BYTES;
/// Entries are sealed when they are this long together, or their files. What is not sealed is lost with a killed run.
const BLOCK_BYTES: usize = 64 << 10;
const BLOCK_FILE_BYTES: u64 = 8 << 20;
/// No block is longer, sealed: an entry with all of its inline attributes fits.
const BLOCK_BYTES_MAX: usize = 8 << 20;
const ENTRIES: u8 = 1;
const PIECES: u8 = 2;
const END: u8 = 3;
/// Blocks of pieces have at most so many.
const PIECES_MAX: usize = 100_000;
/// Of runs that came to no end, so many logs are kept, and none for longer.
const LOGS_MAX: usize = 4;
const LOG_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// What must be the same for a file to count as unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Last change of content or metadata.
    pub ctime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Length in bytes.
    pub size: u64,
}

impl Fingerprint {
    /// What nothing looks like: stands with an entry that must be read again.
    pub const NONE: Self = {
        let never = Time { seconds: i64::MIN, nanos: 0 };
        Self { dev: 0, ino: 0, ctime: never, mtime: never, size: u64::MAX }
    };

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.dev);
        put_varint(out, self.ino);
        for time in [self.ctime, self.mtime] {
            put_signed(out, time.seconds);
            put_varint(out, time.nanos.into());
        }
        put_varint(out, self.size);
    }

    fn take(r: &mut Reader<'_>) -> wire::Result<Self> {
        let (dev, ino) = (r.varint()?, r.varint()?);
        let mut time = || Ok(Time { seconds: r.signed()?, nanos: r.varint_to(999_999_999)? as u32 });
        Ok(Self { dev, ino, ctime: time()?, mtime: time()?, size: r.varint()? })
    }
}

/// What is known of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The path.
    pub path: Vec<u8>,
    /// What was there.
    pub fingerprint: Fingerprint,
    /// Its record, if it was read to its end.
    pub record: Option<Vec<u8>>,
    /// Of a big file that a run read which made no snapshot: its chunks, as far as it was read.
    pub chunks: Vec<ChunkRef>,
    /// Whether the run that read it made a snapshot; else nothing but the catalogue says that it is stored.
    pub in_snapshot: bool,
}

/// Keyed, so that the name of a log does not tell of what.
fn name_of(repository: &Repository, source: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&repository.keys().identity.cache.hash(source)[..16])
}

fn key_of(repository: &Repository, salt: &[u8]) -> Secret {
    repository.keys().identity.cache.derive("larder v1 stat cache", salt)
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
    file: BufReader<File>,
    key: Secret,
    snapshot: Option<ObjectId>,
    next: u64,
    is_whole: bool,
    ready: VecDeque<Known>,
    /// A big file whose entry is still to come.
    begun: Option<Known>,
}

impl Log {
    fn open(repository: &Repository, path: &Path) -> Option<Self> {
        let mut file = BufReader::with_capacity(256 << 10, File::open(path).ok()?);
        let (mut salt, mut sealed) = ([0; SALT_BYTES], [0; SNAPSHOT_BYTES]);
        file.read_exact(&mut salt).ok()?;
        file.read_exact(&mut sealed).ok()?;
        let key = key_of(repository, &salt);
        let snapshot =
            crypto::open(&key, u64::MAX, b"", &sealed).and_then(|id| Some(ObjectId::new(id.try_into().ok()?)));
        Some(Self { file, key, snapshot, next: 0, is_whole: false, ready: VecDeque::new(), begun: None })
    }

    fn block(&mut self) -> Option<()> {
        let mut len = [0; 4];
        self.file.read_exact(&mut len).ok()?;
        let len = u32::from_le_bytes(len) as usize;
        if len > BLOCK_BYTES_MAX {
            return None;
        }
        let mut sealed = vec![0; len];
        self.file.read_exact(&mut sealed).ok()?;
        crypto::open_in_place(&self.key, self.next, b"", &mut sealed)?;
        self.next += 1;
        self.parse(&sealed).ok()
    }

    fn parse(&mut self, plain: &[u8]) -> wire::Result<()> {
        let mut r = Reader::new(plain, WHAT);
        match r.u8()? {
            PIECES => return self.pieces(&mut r),
            END => self.is_whole = true,
            _ => {}
        }
        let in_snapshot = self.snapshot.is_some();
        let mut last: Vec<u8> = Vec::new();
        while !r.is_empty() {
            let shared = r.varint_to(last.len() as u64)? as usize;
            let path = [&last[..shared], r.prefixed()?].concat();
            let fingerprint = Fingerprint::take(&mut r)?;
            let record = Some(r.prefixed()?.to_vec());
            last.clone_from(&path);
            let begun = self.begun.take().filter(|begun| begun.path == path && begun.fingerprint == fingerprint);
            let chunks = begun.map(|begun| begun.chunks).unwrap_or_default();
            self.ready.push_back(Known { path, fingerprint, record, chunks, in_snapshot });
        }
        Ok(())
    }

    fn pieces(&mut self, r: &mut Reader<'_>) -> wire::Result<()> {
        let goes_on = r.u8()? == 1;
        let (path, fingerprint) = (r.prefixed()?.to_vec(), Fingerprint::take(r)?);
        if self.snapshot.is_some() {
            return Ok(());
        }
        let mut chunks = self.begun.take().filter(|_| goes_on).map(|begun| begun.chunks).unwrap_or_default();
        while !r.is_empty() {
            chunks.push(ChunkRef { id: ChunkId::new(r.array()?), len: r.varint()? });
        }
        self.begun = Some(Known { path, fingerprint, record: None, chunks, in_snapshot: false });
        Ok(())
    }
}

impl Iterator for Log {
    type Item = Known;

    fn next(&mut self) -> Option<Known> {
        while self.ready.is_empty() {
            if self.block().is_none() {
                return self.begun.take();
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
    /// ended with, if it did, is still listed.
    pub fn open(repository: &Repository, source: &[u8], is_listed: impl Fn(&ObjectId) -> bool) -> Option<Self> {
        let (parts, last) = logs(&repository.cache()?.join(FOLDER), &name_of(repository, source));
        let parts = parts.iter().chain([&last]).filter_map(|path| Log::open(repository, path));
        let logs: VecDeque<Log> = parts.filter(|log| log.snapshot.as_ref().is_none_or(&is_listed)).collect();
        (!logs.is_empty()).then_some(Self { logs, last: None, is_whole: false })
    }

    /// The last path that was given.
    pub fn last(&self) -> Option<&[u8]> {
        self.last.as_deref()
    }

    /// Once all is given: whether that was all of the source, or only up to the last path.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }
}

impl Iterator for StatCache {
    type Item = Known;

    fn next(&mut self) -> Option<Known> {
        while let Some(log) = self.logs.front_mut() {
            let last = self.last.as_deref();
            let follows = |known: &Known| last.is_none_or(|last| compare_paths(last, &known.path).is_lt());
            if let Some(known) = log.find(follows) {
                self.last = Some(known.path.clone());
                return Some(known);
            }
            self.is_whole |= log.is_whole;
            self.logs.pop_front();
        }
        None
    }
}

/// Writes the log of a run.
pub struct StatCacheWriter {
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
        let mut file = cache::private_file(&path).ok()?;
        file.write_all(&salt).ok()?;
        file.write_all(&[0; SNAPSHOT_BYTES]).ok()?;
        let key = key_of(repository, &salt);
        Some(Self { file, path, folder, name, key, block: vec![ENTRIES], file_bytes: 0, last: Vec::new(), next: 0 })
    }

    /// Adds an entry; paths must ascend.
    pub fn push(&mut self, path: &[u8], fingerprint: &Fingerprint, record: &[u8]) -> Option<()> {
        let shared = self.last.iter().zip(path).take_while(|(a, b)| a == b).count();
        put_varint(&mut self.block, shared as u64);
        put_prefixed(&mut self.block, &path[shared..]);
        fingerprint.put(&mut self.block);
        put_prefixed(&mut self.block, record);
        self.last.clear();
        self.last.extend_from_slice(path);
        self.file_bytes = self.file_bytes.saturating_add(fingerprint.size);
        if self.block.len() >= BLOCK_BYTES || self.file_bytes >= BLOCK_FILE_BYTES { self.flush() } else { Some(()) }
    }

    /// Notes chunks of the file that is being read: its first ones, or more of them.
    pub fn pieces(&mut self, path: &[u8], fingerprint: &Fingerprint, is_more: bool, chunks: &[ChunkRef]) -> Option<()> {
        self.flush()?;
        // The first ones may be none: what came before, of the same file or of another, ends here anyway.
        let blocks = chunks.len().div_ceil(PIECES_MAX).max(1);
        for n in 0..blocks {
            let chunks = &chunks[n * PIECES_MAX..chunks.len().min((n + 1) * PIECES_MAX)];
            let mut block = vec![PIECES, u8::from(is_more || n > 0)];
            put_prefixed(&mut block, path);
            fingerprint.put(&mut block);
            for chunk in chunks {
                block.extend_from_slice(chunk.id.as_bytes());
                put_varint(&mut block, chunk.len);
            }
            self.seal(&block)?;
        }
        Some(())
    }

    fn flush(&mut self) -> Option<()> {
        if self.block.len() == 1 {
            return Some(());
        }
        let block = std::mem::replace(&mut self.block, vec![ENTRIES]);
        self.last.clear();
        self.file_bytes = 0;
        self.seal(&block)
    }

    fn seal(&mut self, block: &[u8]) -> Option<()> {
        let sealed = crypto::seal(&self.key, self.next, b"", block);
        self.next += 1;
        self.file.write_all(&[&(sealed.len() as u32).to_le_bytes()[..], &sealed].concat()).ok()
    }

    /// Gives the log its name, as made with this snapshot, and takes away those that it replaces.
    pub fn finish(mut self, snapshot: &ObjectId) -> Option<()> {
        self.flush()?;
        self.seal(&[END])?;
        let sealed = crypto::seal(&self.key, u64::MAX, b"", snapshot.as_bytes());
        self.file.write_all_at(&sealed, SALT_BYTES as u64).ok()?;
        let (parts, last) = logs(&self.folder, &self.name);
        std::fs::rename(&self.path, &last).ok()?;
        parts.iter().filter(|path| **path != self.path).for_each(|path| cache::remove(path));
        Some(())
    }
}
