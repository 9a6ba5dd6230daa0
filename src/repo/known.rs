//! What a stat cache knows of paths, and the form in which its logs hold that.
//!
//! ```text
//! entry := shared varint ‖ suffix of the path ‖ fingerprint ‖ record       (suffix and record behind their lengths)
//! ```
//! The first entry of a block shares nothing, so blocks can be joined.

use crate::entry::{ChunkRef, Time};
use crate::tree::Leaf;
use crate::wire::{self, Reader, put_prefixed, put_signed, put_varint};

pub(super) const WHAT: &str = "stat cache";

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

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.dev);
        put_varint(out, self.ino);
        for time in [self.ctime, self.mtime] {
            put_signed(out, time.seconds);
            put_varint(out, time.nanos.into());
        }
        put_varint(out, self.size);
    }

    pub(super) fn take(r: &mut Reader<'_>) -> wire::Result<Self> {
        let (dev, ino) = (r.varint()?, r.varint()?);
        let mut time = || Ok(Time { seconds: r.signed()?, nanos: r.varint_to(999_999_999)? as u32 });
        Ok(Self { dev, ino, ctime: time()?, mtime: time()?, size: r.varint()? })
    }
}

/// Some chunks of a big file, one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotedPiece {
    /// The chunks.
    pub chunks: Vec<ChunkRef>,
    /// What else was seen of them, in a form that the reader of such files knows.
    pub seen: Vec<u8>,
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
    /// Of a big file that a run read which made no snapshot: its pieces, as far as it was read.
    pub pieces: Vec<NotedPiece>,
    /// Its record in the last snapshot, if the run that read it made none.
    pub older: Option<Vec<u8>>,
    /// Whether the run that read it made a snapshot; else nothing but the catalogue says that it is stored.
    pub in_snapshot: bool,
    /// Whether all that the record needs counts as stored without a look: see [`super::StatCache::open`].
    pub is_stored: bool,
}

/// Appends an entry behind the one of this path.
pub(super) fn put_entry(out: &mut Vec<u8>, last: &[u8], path: &[u8], fingerprint: &Fingerprint, record: &[u8]) {
    let shared = last.iter().zip(path).take_while(|(a, b)| a == b).count();
    put_varint(out, shared as u64);
    put_prefixed(out, &path[shared..]);
    fingerprint.put(out);
    put_prefixed(out, record);
}

/// Goes through entries, one after another, in place.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    at: usize,
    path: Vec<u8>,
}

impl Cursor {
    /// The next entry: what was there, and its record. Its path is in [`Self::path`] then.
    pub fn next<'b>(&mut self, entries: &'b [u8]) -> Option<(Fingerprint, &'b [u8])> {
        self.try_next(entries).ok().flatten()
    }

    pub(super) fn try_next<'b>(&mut self, entries: &'b [u8]) -> wire::Result<Option<(Fingerprint, &'b [u8])>> {
        let mut r = Reader::new(&entries[self.at..], WHAT);
        if r.is_empty() {
            return Ok(None);
        }
        let shared = r.varint_to(self.path.len() as u64)? as usize;
        self.path.truncate(shared);
        self.path.extend_from_slice(r.prefixed()?);
        let found = (Fingerprint::take(&mut r)?, r.prefixed()?);
        self.at = entries.len() - r.remaining();
        Ok(Some(found))
    }

    /// The path of the entry that came last.
    pub fn path(&self) -> &[u8] {
        &self.path
    }
}

/// What is known of all entries of a leaf of the last snapshot's tree, of which everything is stored.
#[derive(Debug)]
pub struct KnownLeaf {
    /// The leaf; its first key is the first entry's path.
    pub leaf: Leaf,
    /// Its entries.
    pub entries: Vec<u8>,
}

impl KnownLeaf {
    /// Its entries, each by itself: path, what was there, and record.
    pub fn each(&self, mut take: impl FnMut(&[u8], Fingerprint, &[u8])) {
        let mut cursor = Cursor::default();
        while let Some((fingerprint, record)) = cursor.next(&self.entries) {
            take(cursor.path(), fingerprint, record);
        }
    }
}
