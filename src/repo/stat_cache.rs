//! What a source looked like when it was last read: lets an unchanged file cost a stat.
//!
//! One immutable redb file a source, in the order of the tree, read beside the walk and replaced whole at the end of a
//! run. It is never trusted over the repository: it counts only while the snapshot that it was made with is listed, and
//! its blocks are sealed under a key of the repository. Whatever is wrong with it, it is as if it were not there.

use redb::{ReadOnlyDatabase, ReadableDatabase, TableDefinition};

use super::Repository;
use super::cache::{self, Draft};
use crate::clock;
use crate::crypto::{self, Secret};
use crate::entry::Time;
use crate::id::ObjectId;
use crate::tree::Found;
use crate::wire::{self, Reader, put_prefixed, put_signed, put_varint};

const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
const META: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("meta");
const BLOCK_BYTES: usize = 128 << 10;
const FOLDER: &str = "files";
const WHAT: &str = "stat cache";

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

/// The cache of a source tells nothing by its name.
fn kind_of(repository: &Repository, source: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&repository.keys().identity.cache.hash(source)[..16])
}

/// Entries of the last run, in the order of their paths.
pub struct StatCache {
    database: ReadOnlyDatabase,
    key: Secret,
    snapshot: ObjectId,
    next: u64,
    ready: std::vec::IntoIter<(Found, Fingerprint)>,
}

impl std::fmt::Debug for StatCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StatCache({:?})", self.snapshot)
    }
}

impl StatCache {
    /// Opens the cache for a source; `None` if there is none that can be used.
    pub fn open(repository: &Repository, source: &[u8]) -> Option<Self> {
        let kind = kind_of(repository, source);
        cache::published(repository, FOLDER, &kind)
            .iter()
            .find_map(|path| Self::read(repository, cache::open(repository, path)?))
    }

    fn read(repository: &Repository, database: ReadOnlyDatabase) -> Option<Self> {
        let (salt, sealed) = {
            let table = database.begin_read().ok()?.open_table(META).ok()?;
            let get = |n: u64| Some(table.get(n).ok()??.value().to_vec());
            (get(0)?, get(1)?)
        };
        let key = repository.keys().identity.cache.derive("larder v1 stat cache", &salt);
        let snapshot = crypto::open(&key, u64::MAX, b"", &sealed)?;
        let snapshot = ObjectId::new(snapshot.try_into().ok()?);
        Some(Self { database, key, snapshot, next: 0, ready: Vec::new().into_iter() })
    }

    /// The snapshot that it was made with.
    pub fn snapshot(&self) -> ObjectId {
        self.snapshot
    }

    fn block(&mut self) -> Option<Vec<(Found, Fingerprint)>> {
        let table = self.database.begin_read().ok()?.open_table(BLOCKS).ok()?;
        let sealed = table.get(self.next).ok()??;
        let plain = crypto::open(&self.key, self.next, b"", sealed.value())?;
        self.next += 1;
        parse_block(&plain).ok()
    }
}

impl Iterator for StatCache {
    type Item = (Found, Fingerprint);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Some(entry);
            }
            self.ready = self.block()?.into_iter();
        }
    }
}

fn parse_block(plain: &[u8]) -> wire::Result<Vec<(Found, Fingerprint)>> {
    let mut r = Reader::new(plain, WHAT);
    let mut out: Vec<(Found, Fingerprint)> = Vec::new();
    while !r.is_empty() {
        let last = out.last().map(|(found, _)| found.path.as_slice()).unwrap_or_default();
        let shared = r.varint_to(last.len() as u64)? as usize;
        let path = [&last[..shared], r.prefixed()?].concat();
        let fingerprint = Fingerprint::take(&mut r)?;
        out.push((Found { path, record: r.prefixed()?.to_vec() }, fingerprint));
    }
    Ok(out)
}

/// Writes the cache for the next run, beside the one that is in use.
pub struct StatCacheWriter {
    transaction: redb::WriteTransaction,
    draft: Draft,
    kind: String,
    /// Those that this one replaces.
    older: Vec<std::path::PathBuf>,
    key: Secret,
    block: Vec<u8>,
    last: Vec<u8>,
    next: u64,
}

impl std::fmt::Debug for StatCacheWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StatCacheWriter")
    }
}

impl StatCacheWriter {
    /// Begins a cache; `None` where none can be kept.
    pub fn create(repository: &Repository, source: &[u8]) -> Option<Self> {
        let kind = kind_of(repository, source);
        let salt: [u8; 16] = clock::random(repository.world()).ok()?;
        let draft = Draft::create(repository, FOLDER)?;
        let transaction = draft.database()?.begin_write().ok()?;
        transaction.open_table(META).ok()?.insert(0, &salt[..]).ok()?;
        let key = repository.keys().identity.cache.derive("larder v1 stat cache", &salt);
        let older = cache::published(repository, FOLDER, &kind);
        Some(Self { transaction, draft, kind, older, key, block: Vec::new(), last: Vec::new(), next: 0 })
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
        if self.block.len() >= BLOCK_BYTES { self.flush() } else { Some(()) }
    }

    fn flush(&mut self) -> Option<()> {
        let sealed = crypto::seal(&self.key, self.next, b"", &self.block);
        self.transaction.open_table(BLOCKS).ok()?.insert(self.next, &sealed[..]).ok()?;
        self.next += 1;
        self.block.clear();
        self.last.clear();
        Some(())
    }

    /// Puts the cache in its place, as made with this snapshot, and takes away those that it replaces.
    pub fn finish(mut self, snapshot: &ObjectId) -> Option<()> {
        if !self.block.is_empty() {
            self.flush()?;
        }
        // A source without a single block still has the table.
        drop(self.transaction.open_table(BLOCKS).ok()?);
        let sealed = crypto::seal(&self.key, u64::MAX, b"", snapshot.as_bytes());
        self.transaction.open_table(META).ok()?.insert(1, &sealed[..]).ok()?;
        self.transaction.commit().ok()?;
        self.draft.publish(&self.kind)?;
        self.older.iter().for_each(|path| cache::remove(path));
        Some(())
    }
}
