//! What a worker does: opens, reads, hashes and stores, and describes what it read.

use super::feed::{BigRead, changed, fingerprint};
use std::ops::Range;
use std::sync::Arc;

use super::Run;
use super::cut::Cut;
use super::database::Image;
use super::parent::Parent;
use crate::crypto::ChunkKind;
use crate::entry::{ChunkRef, Content, Entry, Extent, Kind, Xattr};
use crate::error::Result;
use crate::flow::Work;
use crate::id::ChunkId;
use crate::repo::{Fingerprint, FrameWriter, KnownLeaf, NotedPiece};
use crate::source::files::{Failure, Found, Names, OpenFile, Stat};
use crate::source::sqlite::Scan;
use crate::tree::{INLINE_BYTES_MAX, Large, ListBuilder, Store, StoredEntry, encode_extents, encode_xattrs};

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
    /// Its record in the last snapshot.
    pub before: Option<Vec<u8>>,
    /// Its group of hard links.
    pub link: Option<[u8; 16]>,
}

/// A unit of work, in the order of the tree.
pub(super) enum Task<'a> {
    Batch(Vec<Item>),
    /// Entries of which none has changed.
    Leaf(KnownLeaf),
    BigBegin(BigBegin<'a>),
    Piece(Piece<'a>),
    /// Chunks of a big file that need not be read.
    Stored(Vec<ChunkRef>),
    /// The big file is at its end, or could not be read.
    BigEnd(Box<Big>, std::result::Result<BigRead, Failure>),
}

/// Some chunks of a big file.
pub(super) struct Piece<'a> {
    pub cut: Cut,
    pub bytes: Vec<u8>,
    /// Where the chunks end in them.
    pub ends: Vec<usize>,
    /// Where each of them lies: see [`Parent::offer`].
    pub places: Vec<u64>,
    /// The next run knows of them already.
    pub is_noted: bool,
    pub parent: Option<Arc<Parent<'a>>>,
    /// Of a database, whose pages these are.
    pub scan: Option<Arc<Scan>>,
}

/// A big file, of which an earlier run read the first pieces: all of these, or what there is now, come as tasks.
pub(super) struct BigBegin<'a> {
    pub path: Vec<u8>,
    /// What it looks like, if that can be relied on.
    pub fingerprint: Option<Fingerprint>,
    pub begun: Vec<NotedPiece>,
    pub parent: Option<Arc<Parent<'a>>>,
}

/// A big file on its way.
pub(super) struct Big {
    pub found: Found,
    pub before: Option<Vec<u8>>,
    pub link: Option<[u8; 16]>,
}

/// What came of a task.
pub(super) enum Outcome<'a> {
    Batch(Vec<Done>),
    Leaf(KnownLeaf),
    BigBegin(BigBegin<'a>),
    /// What was read, and whether the next run knows of it already.
    Piece(NotedPiece, bool),
    Stored(Vec<ChunkRef>),
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
    /// Of a database that was read.
    pub image: Option<Box<Image>>,
    /// For the cache: the next run takes it for unchanged while it looks like this. `None`: there is nothing to keep.
    pub fingerprint: Option<Fingerprint>,
}

/// A worker's state.
pub(super) struct Reader<'a, 'r> {
    run: &'a Run<'r>,
    frames: FrameWriter<'a, 'r>,
    names: Names,
    /// The files of a batch, one behind the other.
    buffer: Vec<u8>,
    /// How much of the buffer they are; the rest is older.
    filled: usize,
}

/// An entry of a batch: done, or a file that was read.
enum Begun {
    Done(Box<Done>),
    File(Box<ReadFile>),
}

/// A small file that was read, and where its bytes are among those of its batch.
struct ReadFile {
    found: Found,
    before: Option<Vec<u8>>,
    link: Option<[u8; 16]>,
    /// All but the content.
    seen: Seen,
    bytes: Range<usize>,
}

/// Chunks of a file, and where each of them lies: see [`Parent::offer`].
struct Cuts<'b> {
    cut: Cut,
    parts: Vec<&'b [u8]>,
    places: Vec<u64>,
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
}

impl<'a, 'r> Reader<'a, 'r> {
    pub fn new(run: &'a Run<'r>) -> Result<Self> {
        Ok(Self { run, frames: run.writer.frames()?, names: Names::new(), buffer: Vec::new(), filled: 0 })
    }

    /// Files are all read before any is stored: the ids of many short chunks at once take less time.
    fn batch(&mut self, items: Vec<Item>) -> Result<Vec<Done>> {
        self.filled = 0;
        let begun = items.into_iter().map(|item| self.begin(item)).collect::<Result<Vec<_>>>()?;
        let bytes = std::mem::take(&mut self.buffer);
        let cuts: Vec<Cuts<'_>> = begun.iter().map(|begun| self.cut(&bytes, begun)).collect();
        let all: Vec<&[u8]> = cuts.iter().flat_map(|cuts| cuts.parts.iter().copied()).collect();
        let mut ids = self.run.repository.keys().identity.chunk_ids(ChunkKind::Data, &all).into_iter();
        let one = |(begun, cuts): (Begun, Cuts<'_>)| match begun {
            Begun::Done(done) => Ok(*done),
            Begun::File(file) => {
                let ids = ids.by_ref().take(cuts.parts.len()).collect();
                self.store_file(*file, &cuts, ids)
            }
        };
        let done = begun.into_iter().zip(cuts).map(one).collect();
        self.buffer = bytes;
        done
    }

    fn begin(&mut self, item: Item) -> Result<Begun> {
        let Item { plan, before, link } = item;
        let (path, stat, got, print) = match plan {
            Plan::Known(path, stat, record, print) => (path, stat, Got::Record(record), print),
            Plan::Same(path, stat) => (path, stat, Got::Same, fingerprint(&stat)),
            Plan::Read(found) => return self.read(found, before, link),
            Plan::Failed(failure) => return Ok(Begun::Done(Box::new(Done::failed(failure, before)))),
        };
        let fingerprint = Some(print);
        let done = Done { path, stat: Some(stat), got, before, failure: None, bytes_read: 0, image: None, fingerprint };
        Ok(Begun::Done(Box::new(done)))
    }

    fn read(&mut self, found: Found, before: Option<Vec<u8>>, link: Option<[u8; 16]>) -> Result<Begun> {
        let start = self.filled;
        let seen = match found.stat.kind {
            Kind::File => self.read_file(&found),
            _ => read_other(&found),
        };
        let done = match seen {
            Ok(seen) if found.stat.kind == Kind::File => {
                return Ok(Begun::File(Box::new(ReadFile { found, before, link, seen, bytes: start..self.filled })));
            }
            Ok(seen) => {
                let stored = self.describe(&seen, link)?;
                self.done(found.path, seen, Got::Record(stored.encode()), before)
            }
            Err(failure) => {
                self.filled = start;
                Done::failed(failure, before)
            }
        };
        Ok(Begun::Done(Box::new(done)))
    }

    /// Where a file that was read is to be cut.
    fn cut<'b>(&self, bytes: &'b [u8], begun: &Begun) -> Cuts<'b> {
        let mut rest = match begun {
            Begun::Done(_) => &[],
            Begun::File(file) => &bytes[file.bytes.clone()],
        };
        let len = rest.len();
        let mut cuts = Cuts { cut: Cut::of(rest, len as u64), parts: Vec::new(), places: Vec::new() };
        while !rest.is_empty() {
            cuts.places.push((len - rest.len()) as u64);
            let (part, later) = rest.split_at(cuts.cut.cut(self.run.repository.cutter(), rest));
            cuts.parts.push(part);
            rest = later;
        }
        cuts
    }

    fn store_file(&mut self, file: ReadFile, cuts: &Cuts<'_>, ids: Vec<ChunkId>) -> Result<Done> {
        let ReadFile { found, before, link, mut seen, .. } = file;
        let reader = self.run.reader;
        let parent = || Parent::of(reader, before.as_deref()?).map(Arc::new);
        let mut list = ListBuilder::default();
        for chunk in self.chunks(cuts, ids, parent)? {
            list.push(chunk, &mut self.frames)?;
        }
        seen.content = list.finish(&mut self.frames)?;
        let stored = self.describe(&seen, link)?;
        Ok(self.done(found.path, seen, Got::Record(stored.encode()), before))
    }

    fn done(&self, path: Vec<u8>, seen: Seen, got: Got, before: Option<Vec<u8>>) -> Done {
        let settled = self.run.settled(&seen.stat).filter(|_| seen.changed.is_none());
        // What must be read again is remembered all the same, lest it look new.
        let fingerprint = Some(settled.unwrap_or(Fingerprint::NONE));
        let bytes_read = seen.bytes_read;
        let (stat, failure) = (Some(seen.stat), seen.changed);
        Done { path, stat, got, before, failure, bytes_read, image: None, fingerprint }
    }

    /// Reads a small file. What changed meanwhile is read once more.
    fn read_file(&mut self, found: &Found) -> std::result::Result<Seen, Failure> {
        let start = self.filled;
        let mut seen = self.read_once(found)?;
        if seen.changed.is_some() {
            self.filled = start;
            seen = self.read_once(found)?;
        }
        if seen.changed.is_none() {
            seen.changed = self.run.odd(&found.path, &self.buffer[start..self.filled], seen.stat.size);
        }
        Ok(seen)
    }

    fn read_once(&mut self, found: &Found) -> std::result::Result<Seen, Failure> {
        let file = found.open()?;
        let mut stat = *file.stat();
        let mut extents = file.extents()?;
        let xattrs = file.xattrs()?;
        let start = self.filled;
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
            stat.size = if extents.is_none() { (self.filled - start) as u64 } else { stat.size };
        }
        let changed = what.map(|what| changed(&found.path, what));
        let bytes_read = (self.filled - start) as u64;
        let content = Content::default();
        Ok(Seen { stat, xattrs, target: Vec::new(), extents, content, changed, bytes_read })
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

    /// Stores these chunks; only if one of them is new is the file's earlier version looked at.
    fn chunks(
        &mut self,
        cuts: &Cuts<'_>,
        ids: Vec<ChunkId>,
        parent: impl FnOnce() -> Option<Arc<Parent<'a>>>,
    ) -> Result<Vec<ChunkRef>> {
        let Cuts { cut, parts, places } = cuts;
        let claims = ids.into_iter().map(|id| Ok((id, self.run.writer.claim(&id)?))).collect::<Result<Vec<_>>>()?;
        let parent = claims.iter().any(|(_, is_new)| *is_new).then(parent).flatten();
        match cut {
            Cut::Content => self.store_content(parts, &claims, places, parent.as_deref())?,
            Cut::Blocks => self.store_blocks(parts, &claims, places, parent.as_deref())?,
        }
        Ok(claims.iter().zip(parts).map(|((id, _), part)| ChunkRef { id: *id, len: part.len() as u64 }).collect())
    }

    fn piece(&mut self, piece: Piece<'a>) -> Result<NotedPiece> {
        let Piece { cut, bytes, ends, places, parent, scan, .. } = piece;
        let seen = scan.zip(places.first()).map_or_else(Vec::new, |(scan, place)| scan.look(*place, &bytes));
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let parts: Vec<&[u8]> = starts.zip(&ends).map(|(start, end)| &bytes[start..*end]).collect();
        let ids = self.run.repository.keys().identity.chunk_ids(ChunkKind::Data, &parts);
        let chunks = self.chunks(&Cuts { cut, parts, places }, ids, || parent)?;
        self.run.buffers.give(bytes);
        Ok(NotedPiece { chunks, seen })
    }

    fn store_content(
        &mut self,
        parts: &[&[u8]],
        claims: &[(ChunkId, bool)],
        places: &[u64],
        parent: Option<&Parent<'_>>,
    ) -> Result<()> {
        let mut follow = parent.map(|parent| parent.follow(claims, places));
        for (n, (part, (id, is_new))) in parts.iter().zip(claims).enumerate() {
            let mut ends_like = None;
            if *is_new {
                let ancestors = follow.as_mut().map_or_else(Vec::new, |follow| follow.offer(n, places[n], part.len()));
                ends_like = self.frames.store_claimed(*id, part, &ancestors)?;
            }
            if let Some(follow) = &mut follow {
                follow.passed(n, places[n], part.len(), ends_like);
            }
        }
        Ok(())
    }

    fn store_blocks(
        &mut self,
        parts: &[&[u8]],
        claims: &[(ChunkId, bool)],
        places: &[u64],
        parent: Option<&Parent<'_>>,
    ) -> Result<()> {
        for (n, (part, (id, is_new))) in parts.iter().zip(claims).enumerate() {
            if *is_new {
                let ancestor = parent.and_then(|parent| parent.block(places[n]));
                self.frames.store_claimed_block(*id, part, places[n], ancestor.as_ref())?;
            }
        }
        Ok(())
    }

    fn big_end(&mut self, item: Big, read: std::result::Result<BigRead, Failure>) -> Result<Done> {
        let Big { found, before, link } = item;
        let (seen, image) = match read.and_then(|read| big_seen(&found, read)) {
            Ok(both) => both,
            Err(failure) => return Ok(Done::failed(failure, before)),
        };
        let stored = self.describe(&seen, link)?;
        let done = self.done(found.path, seen, Got::Big(Box::new(stored)), before);
        let fingerprint = image.as_ref().map(|image| image.fingerprint).or(done.fingerprint);
        Ok(Done { image, fingerprint, ..done })
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
        let mut large = |bytes: Option<Vec<u8>>| bytes.map(|bytes| large(bytes, &mut self.frames)).transpose();
        Ok(StoredEntry { entry, xattrs: large(xattrs)?, extents: large(extents)?, facts: None, unknown: Vec::new() })
    }
}

/// What belongs to an entry: within its record, if that does not grow by much.
pub(super) fn large(bytes: Vec<u8>, frames: &mut FrameWriter<'_, '_>) -> Result<Large> {
    if bytes.len() <= INLINE_BYTES_MAX {
        return Ok(Large::Inline(bytes));
    }
    let id = frames.store(ChunkKind::Attr, &bytes)?;
    Ok(Large::Chunk(ChunkRef { id, len: bytes.len() as u64 }))
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
    })
}

/// What was seen of a big file whose content went ahead, and the image that it is, if it is one.
fn big_seen(found: &Found, read: BigRead) -> std::result::Result<(Seen, Option<Box<Image>>), Failure> {
    let (target, content, bytes_read) = (Vec::new(), Content::default(), 0);
    match read {
        BigRead::File(big) => {
            let (stat, xattrs) = (*big.file.stat(), big.file.xattrs()?);
            // An incomplete file is stored as the bytes that came.
            let extents = if big.complete { big.extents } else { None };
            Ok((Seen { stat, xattrs, target, extents, content, changed: big.changed, bytes_read }, None))
        }
        BigRead::Image(image) => {
            let stat = Stat { size: image.bytes, ..found.stat };
            let seen =
                Seen { stat, xattrs: found.xattrs()?, target, extents: None, content, changed: None, bytes_read };
            Ok((seen, Some(Box::new(image))))
        }
    }
}

impl Done {
    fn failed(failure: Failure, before: Option<Vec<u8>>) -> Self {
        let path = failure.path.clone();
        let (stat, failure) = (None, Some(failure));
        Self { path, stat, got: Got::Nothing, before, failure, bytes_read: 0, image: None, fingerprint: None }
    }
}

impl<'a> Work<Task<'a>, Outcome<'a>> for Reader<'a, '_> {
    fn work(&mut self, task: Task<'a>) -> Result<Outcome<'a>> {
        Ok(match task {
            Task::Batch(items) => Outcome::Batch(self.batch(items)?),
            Task::Leaf(leaf) => Outcome::Leaf(leaf),
            Task::BigBegin(begin) => Outcome::BigBegin(begin),
            Task::Piece(piece) => {
                let is_noted = piece.is_noted;
                Outcome::Piece(self.piece(piece)?, is_noted)
            }
            Task::Stored(chunks) => Outcome::Stored(chunks),
            Task::BigEnd(item, read) => Outcome::BigEnd(Box::new(self.big_end(*item, read)?)),
        })
    }

    fn finish(mut self) -> Result<()> {
        self.frames.flush()
    }
}
