//! Walks a source, tells what is known already, and hands out what must be read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::cut::{Cut, FIRST_BYTES};
use super::database::{self, KnownDatabases, may_be_database};
use super::parent::Parent;
use super::read::{Big, BigBegin, Item, Piece, Plan, Task};
use super::recall::{Before, Passed, Recall};
use super::{Run, Source};
use crate::chunk::BLOCK_BYTES;
use crate::entry::{ChunkRef, Extent, Kind};
use crate::error::{Kind as ErrorKind, Result};
use crate::flow::Feed;
use crate::record::SourceKind;
use crate::repo::{Fingerprint, Known, NotedPiece};
use crate::source::files::{Failure, FailureKind, Found, OpenFile, Skipped, Stat, Step, Walk};
use crate::source::sqlite;
use crate::text;
use crate::tree::StoredEntry;

/// Files of at most this length go in batches; longer ones are read and cut here. Bytes.
const SMALL_BYTES_MAX: u64 = 4 << 20;
const BATCH_BYTES: u64 = 2 << 20;
const BATCH_READS: usize = 64;
/// Every entry that is still to be read keeps its folder open: no more of them at a time, of the usual 1024 handles.
const HANDLES_MAX: usize = 512;
const BATCH_ITEMS: usize = 1024;

/// A group of hard links.
struct Links {
    group: [u8; 16],
    left: u64,
    /// The first name, if the file may be a database.
    first: Option<Vec<u8>>,
}

/// What a run that made no snapshot noted of a file, and what that looked like.
pub(super) struct Begun {
    fingerprint: Fingerprint,
    pieces: Vec<NotedPiece>,
}

impl Begun {
    /// The pieces, if the file looks like this now.
    pub fn while_like(self, now: Fingerprint) -> Vec<NotedPiece> {
        if self.fingerprint == now { self.pieces } else { Vec::new() }
    }
}

pub(super) struct Feeder<'a, 'r> {
    run: &'a Run<'r>,
    source: &'a Source,
    /// And no folder.
    is_file: bool,
    walk: Walk,
    recall: Recall<'a>,
    links: HashMap<(u64, u64), Links>,
    /// Names of databases with several, beside which a part of their state lies.
    apart: HashMap<(u64, u64), Vec<u8>>,
    databases: KnownDatabases,
    batch: Vec<Item>,
    batch_bytes: u64,
    batch_reads: usize,
    reads_max: usize,
    skipped: &'a Mutex<Skipped>,
}

pub(super) fn fingerprint(stat: &Stat) -> Fingerprint {
    let Stat { dev, ino, ctime, mtime, size, .. } = *stat;
    Fingerprint { dev, ino, ctime, mtime, size }
}

impl<'a, 'r> Feeder<'a, 'r> {
    /// At most `batches` of them are under way at a time.
    pub fn new(
        run: &'a Run<'r>,
        source: &'a Source,
        walk: Walk,
        known: Before<'a>,
        batches: usize,
        skipped: &'a Mutex<Skipped>,
    ) -> Self {
        let reads_max = (HANDLES_MAX / batches.max(1)).clamp(1, BATCH_READS);
        let recall = Recall::new(known);
        let (links, apart, batch) = (HashMap::new(), HashMap::new(), Vec::new());
        let databases = KnownDatabases::default();
        let is_file = !source.path.is_dir();
        Self {
            run,
            source,
            is_file,
            databases,
            walk,
            recall,
            links,
            apart,
            batch,
            batch_bytes: 0,
            batch_reads: 0,
            reads_max,
            skipped,
        }
    }

    pub fn run(mut self, out: &mut Feed<'_, Task<'r>>) -> Result<()> {
        while let Some(step) = self.walk.next() {
            if self.run.job.cancel.is_cancelled() {
                break;
            }
            match step {
                Step::Found(found) => self.found(found, out)?,
                Step::Failed(failure)
                    if self.databases.belongs(&failure.path) && failure.kind == FailureKind::Vanished =>
                {
                    // It was about to be left out, and its state is in the image.
                }
                Step::Failed(failure) => {
                    self.push(Item { plan: Plan::Failed(failure), before: None, link: None }, out)?
                }
                Step::LeftOut(path, why) => {
                    self.run.job.note(&format!("left out: {}: {}: {why}", self.source.name, text::escape(&path)));
                }
            }
        }
        self.break_up(out)?;
        self.send_batch(out)?;
        if let Ok(mut skipped) = self.skipped.lock() {
            *skipped = Skipped { database_files: self.databases.files_left_out, ..self.walk.skipped() };
        }
        Ok(())
    }

    fn send_batch(&mut self, out: &mut Feed<'_, Task<'r>>) -> Result<()> {
        (self.batch_bytes, self.batch_reads) = (0, 0);
        match std::mem::take(&mut self.batch) {
            batch if batch.is_empty() => Ok(()),
            batch => out.send(Task::Batch(batch)),
        }
    }

    fn push(&mut self, item: Item, out: &mut Feed<'_, Task<'r>>) -> Result<()> {
        if let Plan::Read(found) = &item.plan {
            self.batch_reads += 1;
            self.batch_bytes += if found.stat.kind == Kind::File { found.stat.size } else { 0 };
        }
        self.batch.push(item);
        let full =
            self.batch_bytes >= BATCH_BYTES || self.batch_reads >= self.reads_max || self.batch.len() >= BATCH_ITEMS;
        if full { self.send_batch(out) } else { Ok(()) }
    }

    fn found(&mut self, mut found: Found, out: &mut Feed<'_, Task<'r>>) -> Result<()> {
        if self.databases.leaves_out(&found) {
            if self.run.request.files.tell_left_out {
                let path = text::escape(&found.path);
                self.run.job.note(&format!("left out: {}: {path}: a part of a database", self.source.name));
            }
            return Ok(());
        }
        match self.recall.pass(&found) {
            Passed::Within => return Ok(()),
            Passed::Whole(leaf) => {
                self.send_batch(out)?;
                return out.send(Task::Leaf(leaf));
            }
            Passed::Alone => self.break_up(out)?,
        }
        let known = self.recall.known_at(&found.path);
        self.set_apart(&mut found);
        let is_linked = found.stat.kind != Kind::Directory && found.stat.links > 1;
        let (link, is_first) = match is_linked.then(|| self.link_of(&found)) {
            Some((group, is_first)) => (Some(group), is_first),
            None => (None, true),
        };
        let plan = if is_first { self.plan(found, known.as_ref(), link) } else { Plan::Same(found.path, found.stat) };
        let (before, begun) = known.map_or((None, None), |known| {
            let saved = if known.in_snapshot { known.record } else { known.older };
            (saved, Some(Begun { fingerprint: known.fingerprint, pieces: known.pieces }))
        });
        match plan {
            Plan::Read(found) if self.is_database(&found) => self.database(Big { found, before, link }, begun, out),
            Plan::Read(found) if found.stat.kind == Kind::File && found.stat.size > SMALL_BYTES_MAX => {
                self.big(Big { found, before, link }, begun, None, out)
            }
            plan => {
                if let Plan::Known(path, _, record, _) = &plan
                    && crate::ops::database::is_image(record)
                {
                    self.databases.insert(path);
                }
                self.push(Item { plan, before, link }, out)
            }
        }
    }

    fn is_database(&self, found: &Found) -> bool {
        match self.source.kind {
            SourceKind::Sqlite => found.stat.kind == Kind::File,
            _ => !self.run.request.databases.raw && database::is_database(found),
        }
    }

    /// Takes a database as an image. One among files that cannot be had as an image is saved as the file that it is,
    /// with what lies beside it, and the snapshot says so.
    fn database(&mut self, item: Big, begun: Option<Begun>, out: &mut Feed<'_, Task<'r>>) -> Result<()> {
        self.send_batch(out)?;
        let path = database::path_of(&self.source.path, self.is_file, &item.found);
        match self.run.image(&item, &path, begun, out)? {
            Ok(image) => {
                self.databases.insert(&item.found.path);
                self.tell_left_out(&item.found.path, image.bytes_behind);
                out.send(Task::BigEnd(Box::new(item), Ok(BigRead::Image(image))))
            }
            Err(failure)
                if self.source.kind == SourceKind::Sqlite
                    || failure.kind() == sqlite::FailureKind::Interrupted
                    || failure.error().kind() == ErrorKind::Exhausted =>
            {
                Err(failure.into())
            }
            Err(failure) => {
                let why = database::as_plain_file(&item.found, &failure);
                self.big(item, None, Some(why), out)
            }
        }
    }

    /// Nothing is left out without a word.
    fn tell_left_out(&self, database: &[u8], bytes_behind: u64) {
        if bytes_behind > 0 {
            let name = &self.source.name;
            let shown = if database.is_empty() { name.clone() } else { format!("{name}: {}", text::escape(database)) };
            self.run.job.warn(&format!(
                "{shown}: {bytes_behind} bytes behind its last page are no part of the database, and were left out; \
                 --raw-databases saves them"
            ));
        }
    }

    /// Hands out what was found as it was in a leaf in which something else has changed.
    fn break_up(&mut self, out: &mut Feed<'_, Task<'r>>) -> Result<()> {
        for (path, print, record) in self.recall.break_up() {
            let (before, stat) = (Some(record.clone()), seen_before(&print, &record));
            self.push(Item { plan: Plan::Known(path, stat, record, print), before, link: None }, out)?;
        }
        Ok(())
    }

    /// Of a database with several names, one beside which a log or journal lies stands for itself: what that holds belongs
    /// to this name only. Under the others the database is what SQLite finds there, too, which is worth a word.
    fn set_apart(&mut self, found: &mut Found) {
        if found.stat.links < 2 || !may_be_database(found) {
            return;
        }
        let inode = (found.stat.dev, found.stat.ino);
        let pair = match database::has_side_files(found) && self.is_database(found) {
            true => {
                found.stat.links = 1;
                self.apart.insert(inode, found.path.clone());
                let first = self.links.get_mut(&inode).and_then(|links| links.first.take());
                first.map(|first| (first, &found.path))
            }
            false if self.links.contains_key(&inode) => None,
            false => self.apart.get(&inode).map(|apart| (found.path.clone(), apart)),
        };
        if let Some((name, apart)) = pair {
            self.run.job.warn(&format!(
                "{}: {} is another name of {}, and is saved without what is in the log or journal beside that",
                self.source.name,
                text::escape(&name),
                text::escape(apart)
            ));
        }
    }

    /// The group of a file with several names, and whether this is the first of them.
    fn link_of(&mut self, found: &Found) -> ([u8; 16], bool) {
        let key = (found.stat.dev, found.stat.ino);
        if let Some(links) = self.links.get_mut(&key) {
            links.left = links.left.saturating_sub(1);
            let group = links.group;
            if links.left == 0 {
                self.links.remove(&key);
            }
            return (group, false);
        }
        let hash = self.run.repository.keys().identity.links.hash(&found.path);
        let mut group = [0; 16];
        group.copy_from_slice(&hash[..16]);
        let first = may_be_database(found).then(|| found.path.clone());
        self.links.insert(key, Links { group, left: found.stat.links - 1, first });
        (group, true)
    }

    fn plan(&self, found: Found, known: Option<&Known>, link: Option<[u8; 16]>) -> Plan {
        match known.and_then(|known| self.unchanged(&found, known, link)) {
            Some((record, print)) => Plan::Known(found.path, found.stat, record, print),
            None => Plan::Read(found),
        }
    }

    /// The record of an entry that looks as it did when the record was made, and what it looks like.
    fn unchanged(&self, found: &Found, known: &Known, link: Option<[u8; 16]>) -> Option<(Vec<u8>, Fingerprint)> {
        let mut stored = StoredEntry::parse(known.record.as_ref()?).ok()?;
        let was = known.fingerprint;
        let is = if stored.facts.is_some() { database::fingerprint_of(found) } else { fingerprint(&found.stat) };
        let same = if self.run.request.trust_mtime && found.stat.kind == Kind::File {
            was.mtime == is.mtime && was.size == is.size
        } else {
            was == is
        };
        if !same || found.stat.kind != stored.entry.kind || !self.is_usable(&stored, known) {
            return None;
        }
        stored.entry.hard_link = link;
        if was != is {
            take_metadata(&mut stored, &found.stat);
        }
        Some((stored.encode(), is))
    }

    /// Only if everything that the record names is there: what a snapshot once had may have been lost since.
    fn is_usable(&self, stored: &StoredEntry, known: &Known) -> bool {
        if known.is_stored {
            return true;
        }
        let catalogue = self.run.catalogue;
        let content = &stored.entry.content;
        if !content.chunks.iter().chain(stored.attr_chunks()).all(|chunk| catalogue.contains(&chunk.id)) {
            return false;
        }
        // What lies behind lists costs reading them, so only where something is known to be lost, is condemned, or may
        // never have been stored.
        if content.level == 0 || known.in_snapshot && catalogue.is_whole() && !catalogue.has_tombs() {
            return true;
        }
        let mut all = true;
        let read = self.run.reader.for_each_chunk(content, &mut |chunk| {
            all &= catalogue.contains(&chunk.id);
            Ok(())
        });
        read.is_ok() && all
    }

    /// Reads and cuts a big file, and hands out its pieces. What changed while it was read is read once more. Where an
    /// earlier run was interrupted in it, this one reads what that did not store.
    fn big(
        &mut self,
        item: Big,
        begun: Option<Begun>,
        flaw: Option<Failure>,
        out: &mut Feed<'_, Task<'r>>,
    ) -> Result<()> {
        self.send_batch(out)?;
        let begun = begun.map(|begun| begun.while_like(fingerprint(&item.found.stat))).unwrap_or_default();
        let mut begun: Vec<ChunkRef> = begun.into_iter().flat_map(|piece| piece.chunks).collect();
        begun.truncate(begun.iter().rposition(|chunk| self.is_stored(chunk)).map_or(0, |last| last + 1));
        let mut read = self.read_big(&item, begun, out)?;
        if matches!(&read, Ok(BigFile { changed: Some(_), .. })) {
            read = self.read_big(&item, Vec::new(), out)?;
        }
        let flawed = |read: BigFile| BigFile { changed: flaw.or(read.changed).or(read.odd), odd: None, ..read };
        out.send(Task::BigEnd(Box::new(item), read.map(|read| BigRead::File(flawed(read)))))
    }

    fn is_stored(&self, chunk: &ChunkRef) -> bool {
        self.run.catalogue.contains(&chunk.id)
    }

    /// The outer error stops the run, the inner one is about this file. It begins with these chunks, of which some are
    /// stored.
    fn read_big(
        &self,
        item: &Big,
        mut begun: Vec<ChunkRef>,
        out: &mut Feed<'_, Task<'r>>,
    ) -> Result<std::result::Result<BigFile, Failure>> {
        let opened = item.found.open().and_then(|file| file.extents().map(|extents| (file, extents)));
        let (file, extents) = match opened {
            Ok(opened) => opened,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut first = [0; FIRST_BYTES];
        let first = match file.read_at(0, &mut first) {
            Ok(len) => &first[..len],
            Err(failure) => return Ok(Err(failure)),
        };
        let cut = Cut::of(first, file.stat().size);
        let odd = self.run.odd(&item.found.path, first, file.stat().size);
        if cut == Cut::Blocks {
            // Between holes blocks are shorter, and where they end is not known here.
            let usable = |chunk: &&ChunkRef| extents.is_none() && chunk.len == BLOCK_BYTES as u64;
            begun.truncate(begun.iter().take_while(usable).count());
        }
        if extents.is_some() {
            // Chunks go on over holes, so where they lie in the file is not known here.
            begun.truncate(begun.iter().take_while(|chunk| self.is_stored(chunk)).count());
        }
        let parent = item.before.as_ref().and_then(|record| Parent::of(self.run.reader, record)).map(Arc::new);
        let mut skip: u64 = begun.iter().map(|chunk| chunk.len).sum();
        let mut cutting =
            Cutting { run: self.run, cut, parent, bytes: self.run.buffers.take(), done: skip, blocks: Vec::new(), out };
        cutting.begin(item, self.run.settled(file.stat()), &begun)?;
        let mut short = match cutting.pass(&file, &begun)? {
            Ok(complete) => !complete,
            Err(failure) => return Ok(Err(failure)),
        };
        let whole = [Extent { offset: 0, len: file.stat().size }];
        for extent in extents.as_deref().unwrap_or(&whole) {
            let skipped = skip.min(extent.len);
            skip -= skipped;
            let rest = Extent { offset: extent.offset + skipped, len: extent.len - skipped };
            match cutting.extent(&file, &rest)? {
                Ok(complete) => short |= !complete,
                Err(failure) => return Ok(Err(failure)),
            }
        }
        cutting.hand_out(true)?;
        self.run.buffers.give(cutting.bytes);
        let changed = match file.changed() {
            Ok(None) if !short => None,
            Ok(what) => Some(changed(&item.found.path, what.unwrap_or("size"))),
            Err(failure) => return Ok(Err(failure)),
        };
        Ok(Ok(BigFile { file, odd, extents, changed, complete: !short }))
    }
}

/// The stat of an entry that was found as it was, as far as anybody still asks.
fn seen_before(print: &Fingerprint, record: &[u8]) -> Stat {
    let Fingerprint { dev, ino, ctime, mtime, size } = *print;
    let kind = StoredEntry::kind_of(record).unwrap_or(Kind::File);
    let (mode, uid, gid, blocks, links, device) = (0, 0, 0, 0, 1, (0, 0));
    Stat { kind, mode, uid, gid, size, blocks, mtime, ctime, dev, ino, links, device }
}

/// What a stat tells of a file whose content is taken for unchanged. Attributes stay as they were.
fn take_metadata(stored: &mut StoredEntry, stat: &Stat) {
    let entry = &mut stored.entry;
    entry.mode = stat.mode;
    if entry.uid != stat.uid {
        (entry.uid, entry.user) = (stat.uid, Vec::new());
    }
    if entry.gid != stat.gid {
        (entry.gid, entry.group) = (stat.gid, Vec::new());
    }
}

/// What came of a big file.
pub(super) enum BigRead {
    File(BigFile),
    Image(database::Image),
}

/// A big file that has been read to its end.
pub(super) struct BigFile {
    pub file: OpenFile,
    /// It begins like a database, and was not read as one.
    odd: Option<Failure>,
    pub extents: Option<Vec<Extent>>,
    /// It is not one state of the file.
    pub changed: Option<Failure>,
    /// As many bytes came as its extents promise.
    pub complete: bool,
}

pub(super) fn changed(path: &[u8], what: &str) -> Failure {
    Failure { path: path.to_vec(), kind: FailureKind::Changed, why: format!("changed while it was read ({what})") }
}

/// The part of a big file that has been read, but not handed out.
struct Cutting<'c, 'r, 'f> {
    run: &'c Run<'r>,
    cut: Cut,
    parent: Option<Arc<Parent<'r>>>,
    bytes: Vec<u8>,
    /// How many bytes of the file's data lie before these.
    done: u64,
    /// Blocks in them: where each ends, and its place in the file.
    blocks: Vec<(usize, u64)>,
    out: &'c mut Feed<'f, Task<'r>>,
}

impl Cutting<'_, '_, '_> {
    fn begin(&mut self, item: &Big, fingerprint: Option<Fingerprint>, begun: &[ChunkRef]) -> Result<()> {
        let (path, parent) = (item.found.path.clone(), self.parent.clone());
        let begun = vec![NotedPiece { chunks: begun.to_vec(), seen: Vec::new() }];
        self.out.send(Task::BigBegin(BigBegin { path, fingerprint, begun, parent }))
    }

    /// Hands out the chunks with which the file begins: those that are stored, and the bytes of those that are not.
    /// Whether all of these were there.
    fn pass(&mut self, file: &OpenFile, begun: &[ChunkRef]) -> Result<std::result::Result<bool, Failure>> {
        let catalogue = self.run.catalogue;
        let is_stored = |chunk: &ChunkRef| catalogue.contains(&chunk.id);
        let mut at = 0;
        for run in begun.chunk_by(|a, b| is_stored(a) && is_stored(b)) {
            let bytes = run.iter().map(|chunk| chunk.len).sum::<u64>();
            if is_stored(&run[0]) {
                self.out.send(Task::Stored(run.to_vec()))?;
            } else if self.run.job.cancel.is_cancelled() {
                break;
            } else {
                match self.again(file, at, bytes as usize)? {
                    Ok(true) => {}
                    other => return Ok(other),
                }
            }
            at += bytes;
        }
        Ok(Ok(true))
    }

    /// Hands out one chunk, as it was cut before.
    fn again(&mut self, file: &OpenFile, at: u64, len: usize) -> Result<std::result::Result<bool, Failure>> {
        let mut bytes = self.run.buffers.take();
        bytes.resize(len, 0);
        match file.read_at(at, &mut bytes) {
            Ok(got) if got == len => {}
            Ok(_) => return Ok(Ok(false)),
            Err(failure) => return Ok(Err(failure)),
        }
        let (cut, parent) = (self.cut, self.parent.clone());
        let piece = Piece { cut, bytes, ends: vec![len], places: vec![at], is_noted: true, parent, scan: None };
        self.out.send(Task::Piece(piece))?;
        Ok(Ok(true))
    }

    /// Reads one extent; whether all of it was there.
    fn extent(&mut self, file: &OpenFile, extent: &Extent) -> Result<std::result::Result<bool, Failure>> {
        let mut at = extent.offset;
        let end = extent.offset + extent.len;
        while at < end && !self.run.job.cancel.is_cancelled() {
            let window = self.cut.window(self.run.repository.cutter());
            let want = (end - at).min((self.cut.piece_bytes() + window - self.bytes.len()) as u64) as usize;
            let start = self.bytes.len();
            self.bytes.resize(start + want, 0);
            let got = match file.read_at(at, &mut self.bytes[start..]) {
                Ok(got) => got,
                Err(failure) => return Ok(Err(failure)),
            };
            self.bytes.truncate(start + got);
            if self.cut == Cut::Blocks {
                self.note_blocks(start, at);
            }
            at += got as u64;
            self.hand_out(false)?;
            if got < want {
                return Ok(Ok(false));
            }
        }
        Ok(Ok(true))
    }

    /// Blocks begin at multiples of their length in the file, whatever holes lie before them.
    fn note_blocks(&mut self, mut start: usize, mut at: u64) {
        while start < self.bytes.len() {
            let place = at - at % BLOCK_BYTES as u64;
            let end = (start as u64 + place + BLOCK_BYTES as u64 - at).min(self.bytes.len() as u64) as usize;
            match self.blocks.last_mut() {
                Some((last, there)) if *there == place => *last = end,
                _ => self.blocks.push((end, place)),
            }
            at += (end - start) as u64;
            start = end;
        }
    }

    /// Hands out what can be cut already; at the end of the file, all of it.
    fn hand_out(&mut self, at_end: bool) -> Result<()> {
        let (ends, places) = match self.cut {
            Cut::Content => self.cut_content(at_end),
            Cut::Blocks => self.cut_blocks(at_end),
        };
        let Some(end) = ends.last().copied() else { return Ok(()) };
        let mut rest = self.run.buffers.take();
        rest.extend_from_slice(&self.bytes[end..]);
        let mut bytes = std::mem::replace(&mut self.bytes, rest);
        bytes.truncate(end);
        self.done += end as u64;
        let (cut, parent) = (self.cut, self.parent.clone());
        self.out.send(Task::Piece(Piece { cut, bytes, ends, places, is_noted: false, parent, scan: None }))
    }

    fn cut_content(&mut self, at_end: bool) -> (Vec<usize>, Vec<u64>) {
        let cutter = self.run.repository.cutter();
        let (mut ends, mut places, mut at) = (Vec::new(), Vec::new(), 0);
        while at < self.bytes.len() && (at_end || self.bytes.len() - at >= self.cut.window(cutter)) {
            places.push(self.done + at as u64);
            at += self.cut.cut(cutter, &self.bytes[at..]);
            ends.push(at);
        }
        (ends, places)
    }

    /// All but the last block, of which more may come.
    fn cut_blocks(&mut self, at_end: bool) -> (Vec<usize>, Vec<u64>) {
        let keep = usize::from(!at_end);
        if !at_end && self.bytes.len() < self.cut.piece_bytes() {
            return Default::default();
        }
        let whole = self.blocks.len().saturating_sub(keep);
        let ready: Vec<_> = self.blocks.drain(..whole).collect();
        let end = ready.last().map_or(0, |(end, _)| *end);
        self.blocks.iter_mut().for_each(|(last, _)| *last -= end);
        ready.into_iter().unzip()
    }
}
