//! The bytes of one file, as they were.

use std::io::{self, Write};

use crate::crypto::ChunkKind;
use crate::entry::{Entry, Extent, Kind as EntryKind};
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::record::SourceBody;
use crate::repo::{ChunkReader, EntryReader};
use crate::text;

const ZEROS: [u8; 16 << 10] = [0; 16 << 10];

/// Writes a file's bytes, holes as zeros. Every chunk is verified before any byte of it is written; where one cannot be
/// had, writing stops.
pub fn cat(
    reader: &ChunkReader<'_>,
    source: &SourceBody,
    path: &[u8],
    out: &mut dyn Write,
    job: Job<'_>,
) -> Result<u64> {
    let found = super::list::found_at(reader, source, path)?;
    let entry = reader.entry(&found.record).map_err(|e| stopped_in(&found.path, &e))?;
    if entry.kind != EntryKind::File {
        return Err(not_a_file(&found.path, &entry));
    }
    content(reader, &found.path, &entry, out, job)?;
    out.flush().map_err(|e| cannot_write(&e))?;
    Ok(entry.size)
}

fn not_a_file(path: &[u8], entry: &Entry) -> Error {
    let name = if path.is_empty() { "the root".into() } else { text::escape(path) };
    let error = |what: &str| Error::new(Kind::Usage, format!("{name} is {what}"));
    match entry.kind {
        EntryKind::Directory => error("a folder").fix("print it as a tar archive with --tar, or list it: larder ls"),
        EntryKind::Symlink => {
            error("a symbolic link").why(format!("it leads to {}", text::escape(&entry.target))).fix("name the file")
        }
        _ => error("not a regular file").why("it has no content"),
    }
}

/// Writes the content of a file.
pub(super) fn content(
    reader: &ChunkReader<'_>,
    path: &[u8],
    entry: &Entry,
    out: &mut dyn Write,
    job: Job<'_>,
) -> Result<()> {
    let mut dense = Dense::new(entry, out);
    reader.for_each_chunk(&entry.content, &mut |chunk| {
        job.cancel.check()?;
        let bytes = reader.chunk(ChunkKind::Data, &chunk.id).map_err(|e| stopped_in(path, &e))?;
        if bytes.len() as u64 != chunk.len {
            let why = format!("chunk {} has {} bytes, {} expected", chunk.id.short(), bytes.len(), chunk.len);
            return Err(stopped_in(path, &Error::new(Kind::Damage, why)));
        }
        job.advance(0, chunk.len);
        dense.put(&bytes).map_err(|e| cannot_write(&e))
    })?;
    dense.finish(entry.size).map_err(|e| cannot_write(&e))
}

pub(super) fn cannot_write(error: &io::Error) -> Error {
    Error::io("cannot write the output", error)
}

/// The error for content that cannot be had, with the name of the file that it belongs to.
pub(super) fn stopped_in(path: &[u8], error: &Error) -> Error {
    let kind = if error.kind() == Kind::Missing { Kind::Damage } else { error.kind() };
    Error::new(kind, format!("cannot read {}", text::escape(path)))
        .why(error)
        .fix("nothing wrong was written, but the output ends early; an older snapshot may have the file whole")
}

/// Puts a file's extents where they belong, and zeros between them.
struct Dense<'a> {
    out: &'a mut dyn Write,
    extents: std::vec::IntoIter<Extent>,
    /// What the present extent still takes.
    room: u64,
    at: u64,
}

impl<'a> Dense<'a> {
    fn new(entry: &Entry, out: &'a mut dyn Write) -> Self {
        let whole = || vec![Extent { offset: 0, len: entry.size }];
        let extents = entry.extents.clone().unwrap_or_else(whole).into_iter();
        Self { out, extents, room: 0, at: 0 }
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.room == 0 {
                // Extents hold as many bytes as the content: that was checked when they were read.
                let Some(next) = self.extents.next() else { return Err(io::ErrorKind::InvalidData.into()) };
                self.finish(next.offset)?;
                self.room = next.len;
            }
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(self.room).unwrap_or(usize::MAX)));
            self.out.write_all(now)?;
            self.at += now.len() as u64;
            self.room -= now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Zeros up to here.
    fn finish(&mut self, end: u64) -> io::Result<()> {
        while self.at < end {
            let count = (end - self.at).min(ZEROS.len() as u64);
            self.out.write_all(&ZEROS[..count as usize])?;
            self.at += count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Store, noise};
    use super::*;

    fn printed(store: &Store, path: &str) -> (Vec<u8>, Result<u64>) {
        let mut out = Vec::new();
        let result = store.with_reader(|reader, snapshot| {
            cat(reader, &snapshot.body.sources[0], path.as_bytes(), &mut out, store.job())
        });
        (out, result)
    }

    #[test]
    fn bytes_come_back() {
        let store = Store::new();
        let big = noise(9 << 20);
        store.file("big", &big);
        store.file("empty", b"");
        store.file("d/small", b"abc");
        store.backup();
        assert!(printed(&store, "big").0 == big);
        assert_eq!(printed(&store, "d/small").0, b"abc");
        assert_eq!(printed(&store, "empty").1.unwrap(), 0);
        assert_eq!(printed(&store, "d").1.unwrap_err().kind(), Kind::Usage);
        assert_eq!(printed(&store, "").1.unwrap_err().kind(), Kind::Usage);
        assert_eq!(printed(&store, "no").1.unwrap_err().kind(), Kind::Missing);
    }

    #[test]
    fn holes_are_zeros() {
        let store = Store::new();
        store.sparse("s", 1 << 20, &[(300_000, b"in the middle")]);
        store.backup();
        let mut expected = vec![0; 1 << 20];
        expected[300_000..300_013].copy_from_slice(b"in the middle");
        assert!(printed(&store, "s").0 == expected);
    }

    #[test]
    fn nothing_wrong_is_ever_written() {
        let store = Store::new();
        let big = noise(24 << 20);
        store.file("d/big", &big);
        store.backup();
        store.lose_data();
        let (out, result) = printed(&store, "d/big");
        let error = result.unwrap_err();
        assert_eq!(error.kind(), Kind::Damage);
        assert!(error.what().contains("d/big"), "{error}");
        assert!(out.len() < big.len() && out == big[..out.len()]);
    }
}
