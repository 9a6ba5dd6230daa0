//! What a worker does: opens, reads, hashes and stores, and describes what it read.

use super::feed::{BigRead, changed, fingerprint};
use super::{Run, database};
use crate::chunk::{BLOCK_BYTES, Cutter};
use crate::entry::{ChunkRef, Content, Entry, Extent, Kind, Xattr};
use crate::error::Result;
use crate::flow::Work;
use crate::repo::{Fingerprint, FrameWriter};
use crate::source::files::{Failure, Found, Names, OpenFile, Stat};
use crate::tree::{INLINE_BYTES_MAX, Large, ListBuilder, Store, StoredEntry, encode_extents, encode_xattrs};

/// How a file is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Where its content says so.
    Content,
    /// Into blocks, which pages do not straddle.
    Blocks,
}

impl Cut {
    /// By the first bytes of a file.
    pub fn of(first: &[u8]) -> Self {
        if first.starts_with(b"SQLite format 3\0") { Self::Blocks } else { Self::Content }
    }

    /// How many bytes must be at hand for a cut that is not the file's end.
    pub fn window(self, cutter: &Cutter) -> usize {
        match self {
            Self::Content => cutter.window(),
            Self::Blocks => BLOCK_BYTES,
        }
    }

    /// Length of the first chunk of what is at hand.
    pub fn cut(self, cutter: &Cutter, bytes: &[u8]) -> usize {
        match self {
            Self::Content => cutter.cut(bytes),
            Self::Blocks => bytes.len().min(BLOCK_BYTES),
        }
    }

    fn store(self, frames: &mut FrameWriter<'_, '_>, chunk: &[u8]) -> Result<ChunkRef> {
        let (id, _) = match self {
            Self::Content => frames.store_data(chunk)?,
            Self::Blocks => frames.store_block(chunk)?,
        };
        Ok(ChunkRef { id, len: chunk.len() as u64 })
    }
}

/// How to come by an entry's record. Only what must be read keeps its directory open, and a batch holds few of those:
/// handles are scarce.
pub(super) enum Plan {
    /// It is as before, what it looks like included.
    Known(Vec<u8>, Stat, Vec<u8>, Fingerprint),
    /// It must be read.
    Read(Found),
    /// It is another name of a file that came before.
    Same(Vec<u8>, Stat),
    /// It cannot be read.
    Failed(Failure),
}

/// One entry on its way through a worker.
pub(super) struct Item {
    pub plan: Plan,
    /// Its record of the previous run.
    pub before: Option<Vec<u8>>,
    /// Its group of hard links.
    pub link: Option<[u8; 16]>,
}

/// A unit of work, in the order of the tree.
pub(super) enum Task {
    Batch(Vec<Item>),
    /// Bytes of a big file, and where its chunks end in them.
    Piece(Cut, Vec<u8>, Vec<usize>),
    /// A big file is read from its start, or from behind these chunks. What it looks like, if that can be relied on.
    BigBegin(Vec<u8>, Option<Fingerprint>, Vec<ChunkRef>),
    /// The big file is at its end, or could not be read.
    BigEnd(Box<Big>, std::result::Result<BigRead, Failure>),
}

/// A big file on its way.
pub(super) struct Big {
    pub found: Found,
    pub before: Option<Vec<u8>>,
    pub link: Option<[u8; 16]>,
}

/// What came of a task.
pub(super) enum Outcome {
    Batch(Vec<Done>),
    Piece(Vec<ChunkRef>),
    BigBegin(Vec<u8>, Option<Fingerprint>, Vec<ChunkRef>),
    BigEnd(Box<Done>),
}

/// An entry's record, or what it still needs.
pub(super) enum Got {
    Record(Vec<u8>),
    /// All but the content, which went ahead in pieces.
    Big(Box<StoredEntry>),
    /// The record of the file's first name.
    Same,
    Nothing,
}

/// What came of an entry.
pub(super) struct Done {
    pub path: Vec<u8>,
    pub stat: Option<Stat>,
    pub got: Got,
    pub before: Option<Vec<u8>>,
    pub failure: Option<Failure>,
    pub bytes_read: u64,
    /// For the cache: the next run takes it for unchanged while it looks like this. `None`: there is nothing to keep.
    pub fingerprint: Option<Fingerprint>,
}

/// A worker's state.
pub(super) struct Reader<'a, 'r> {
    run: &'a Run<'r>,
    frames: FrameWriter<'a, 'r>,
    names: Names,
    buffer: Vec<u8>,
    /// How much of the buffer is the file; the rest is older.
    filled: usize,
}

/// What was read of an entry.
struct Seen {
    stat: Stat,
    xattrs: Vec<Xattr>,
    target: Vec<u8>,
    extents: Option<Vec<Extent>>,
    content: Content,
    changed: Option<Failure>,
    bytes_read: u64,
    /// Of the database whose image it is.
    facts: Option<Vec<u8>>,
}

impl<'a, 'r> Reader<'a, 'r> {
    pub fn new(run: &'a Run<'r>) -> Result<Self> {
        Ok(Self { run, frames: run.writer.frames()?, names: Names::new(), buffer: Vec::new(), filled: 0 })
    }

    fn item(&mut self, item: Item) -> Result<Done> {
        let Item { plan, before, link } = item;
        let (path, stat, got, print) = match plan {
            Plan::Known(path, stat, record, print) => (path, stat, Got::Record(record), print),
            Plan::Same(path, stat) => (path, stat, Got::Same, fingerprint(&stat)),
            Plan::Read(found) => return self.read(found, before, link),
            Plan::Failed(failure) => return Ok(Done::failed(failure, before)),
        };
        let fingerprint = Some(print);
        Ok(Done { path, stat: Some(stat), got, before, failure: None, bytes_read: 0, fingerprint })
    }

    fn read(&mut self, found: Found, before: Option<Vec<u8>>, link: Option<[u8; 16]>) -> Result<Done> {
        let seen = match found.stat.kind {
            Kind::File => self.read_file(&found)?,
            _ => read_other(&found),
        };
        match seen {
            Ok(seen) => {
                let stored = self.describe(&seen, link)?;
                Ok(self.done(found.path, seen, Got::Record(stored.encode()), before))
            }
            Err(failure) => Ok(Done::failed(failure, before)),
        }
    }

    fn done(&self, path: Vec<u8>, seen: Seen, got: Got, before: Option<Vec<u8>>) -> Done {
        let settled = self.run.settled(&seen.stat).filter(|_| seen.changed.is_none());
        // What must be read again is remembered all the same, lest it look new.
        let fingerprint = Some(settled.unwrap_or(Fingerprint::NONE));
        let bytes_read = seen.bytes_read;
        Done { path, stat: Some(seen.stat), got, before, failure: seen.changed, bytes_read, fingerprint }
    }

    /// Reads a small file. What changed meanwhile is read once more.
    fn read_file(&mut self, found: &Found) -> Result<std::result::Result<Seen, Failure>> {
        let first = self.read_once(found);
        let seen = match first {
            Ok(seen) if seen.changed.is_some() => self.read_once(found),
            other => other,
        };
        Ok(match seen {
            Ok(mut seen) => {
                if self.run.is_odd(Cut::of(&self.buffer[..self.filled])) && seen.changed.is_none() {
                    seen.changed = Some(database::cut_short(&found.path));
                }
                seen.content = self.store_buffer()?;
                Ok(seen)
            }
            Err(failure) => Err(failure),
        })
    }

    fn read_once(&mut self, found: &Found) -> std::result::Result<Seen, Failure> {
        let file = found.open()?;
        let mut stat = *file.stat();
        let mut extents = file.extents()?;
        let xattrs = file.xattrs()?;
        self.filled = 0;
        let complete = match &extents {
            Some(extents) => extents.iter().try_fold(true, |all, extent| {
                Ok(self.append(&file, extent.offset, extent.len as usize)? == extent.len as usize && all)
            })?,
            // One byte more than there should be tells whether the file grew.
            None => self.append(&file, 0, stat.size as usize + 1)? == stat.size as usize,
        };
        let what = if complete { file.changed()? } else { file.changed()?.or(Some("size")) };
        if what.is_some() {
            // What is stored is what was read, as one run of bytes.
            if !complete {
                extents = None;
            }
            stat.size = if extents.is_none() { self.filled as u64 } else { stat.size };
        }
        let changed = what.map(|what| changed(&found.path, what));
        let bytes_read = self.filled as u64;
        let content = Content::default();
        Ok(Seen { stat, xattrs, target: Vec::new(), extents, content, changed, bytes_read, facts: None })
    }

    fn append(&mut self, file: &OpenFile, offset: u64, len: usize) -> std::result::Result<usize, Failure> {
        let end = self.filled + len;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        let got = file.read_at(offset, &mut self.buffer[self.filled..end])?;
        self.filled += got;
        Ok(got)
    }

    fn store_buffer(&mut self) -> Result<Content> {
        let cutter = self.run.repository.cutter();
        let mut list = ListBuilder::default();
        let mut rest = &self.buffer[..self.filled];
        let cut = Cut::of(rest);
        while !rest.is_empty() {
            let (chunk, tail) = rest.split_at(cut.cut(cutter, rest));
            list.push(cut.store(&mut self.frames, chunk)?, &mut self.frames)?;
            rest = tail;
        }
        list.finish(&mut self.frames)
    }

    fn piece(&mut self, cut: Cut, bytes: &[u8], ends: &[usize]) -> Result<Vec<ChunkRef>> {
        let mut start = 0;
        let mut out = Vec::with_capacity(ends.len());
        for end in ends {
            out.push(cut.store(&mut self.frames, &bytes[start..*end])?);
            start = *end;
        }
        Ok(out)
    }

    fn big_end(&mut self, item: Big, read: std::result::Result<BigRead, Failure>) -> Result<Done> {
        let Big { found, before, link } = item;
        let (seen, print) = match read.and_then(|read| big_seen(&found, read)) {
            Ok(both) => both,
            Err(failure) => return Ok(Done::failed(failure, before)),
        };
        let stored = self.describe(&seen, link)?;
        let done = self.done(found.path, seen, Got::Big(Box::new(stored)), before);
        Ok(Done { fingerprint: print.or(done.fingerprint), ..done })
    }

    /// The entry for what was seen; large attributes and extents go into chunks of their own.
    fn describe(&mut self, seen: &Seen, link: Option<[u8; 16]>) -> Result<StoredEntry> {
        let stat = &seen.stat;
        let mut entry = Entry::new(stat.kind);
        entry.mode = stat.mode;
        (entry.uid, entry.gid) = (stat.uid, stat.gid);
        entry.user = self.names.user(stat.uid).to_vec();
        entry.group = self.names.group(stat.gid).to_vec();
        entry.mtime = stat.mtime;
        entry.size = if stat.kind == Kind::File { stat.size } else { 0 };
        entry.target = seen.target.clone();
        entry.hard_link = link;
        entry.device = stat.device;
        entry.content = seen.content.clone();
        let xattrs = (!seen.xattrs.is_empty()).then(|| encode_xattrs(&seen.xattrs));
        let extents = seen.extents.as_deref().map(encode_extents);
        let (xattrs, extents) = (self.large(xattrs)?, self.large(extents)?);
        Ok(StoredEntry { entry, xattrs, extents, facts: self.large(seen.facts.clone())?, unknown: Vec::new() })
    }

    fn large(&mut self, bytes: Option<Vec<u8>>) -> Result<Option<Large>> {
        Ok(match bytes {
            Some(bytes) if bytes.len() > INLINE_BYTES_MAX => {
                let id = self.frames.store(crate::crypto::ChunkKind::Attr, &bytes)?;
                Some(Large::Chunk(ChunkRef { id, len: bytes.len() as u64 }))
            }
            Some(bytes) => Some(Large::Inline(bytes)),
            None => None,
        })
    }
}

fn read_other(found: &Found) -> std::result::Result<Seen, Failure> {
    let target = if found.stat.kind == Kind::Symlink { found.link_target()? } else { Vec::new() };
    Ok(Seen {
        stat: found.stat,
        xattrs: found.xattrs()?,
        target,
        extents: None,
        content: Content::default(),
        changed: None,
        bytes_read: 0,
        facts: None,
    })
}

/// What was seen of a big file whose content went ahead, and what the next run may rely on, if that is not its stat.
fn big_seen(found: &Found, read: BigRead) -> std::result::Result<(Seen, Option<Fingerprint>), Failure> {
    let (target, content, bytes_read) = (Vec::new(), Content::default(), 0);
    match read {
        BigRead::File(big) => {
            let (stat, xattrs) = (*big.file.stat(), big.file.xattrs()?);
            // An incomplete file is stored as the bytes that came.
            let extents = if big.complete { big.extents } else { None };
            Ok((Seen { stat, xattrs, target, extents, content, changed: big.changed, bytes_read, facts: None }, None))
        }
        BigRead::Image(image) => {
            let stat = Stat { size: image.bytes, ..found.stat };
            let (xattrs, facts) = (found.xattrs()?, Some(image.facts));
            let seen = Seen { stat, xattrs, target, extents: None, content, changed: None, bytes_read, facts };
            Ok((seen, Some(image.fingerprint)))
        }
    }
}

impl Done {
    fn failed(failure: Failure, before: Option<Vec<u8>>) -> Self {
        let path = failure.path.clone();
        let (stat, failure) = (None, Some(failure));
        Self { path, stat, got: Got::Nothing, before, failure, bytes_read: 0, fingerprint: None }
    }
}

impl Work<Task, Outcome> for Reader<'_, '_> {
    fn work(&mut self, task: Task) -> Result<Outcome> {
        Ok(match task {
            Task::Batch(items) => Outcome::Batch(items.into_iter().map(|item| self.item(item)).collect::<Result<_>>()?),
            Task::Piece(cut, bytes, ends) => Outcome::Piece(self.piece(cut, &bytes, &ends)?),
            Task::BigBegin(path, fingerprint, stored) => Outcome::BigBegin(path, fingerprint, stored),
            Task::BigEnd(item, read) => Outcome::BigEnd(Box::new(self.big_end(*item, read)?)),
        })
    }

    fn finish(mut self) -> Result<()> {
        self.frames.flush()
    }
}
