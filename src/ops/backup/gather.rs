//! Takes what was read, in the order of the tree, and builds the tree.

use std::collections::HashMap;

use super::parent::{Like, Lists};
use super::read::{BigBegin, Done, Got, Outcome, large};
use super::{Reasons, Run, Source, database};
use crate::entry::{ChunkRef, Kind};
use crate::error::{EXHAUSTED_FIX, Error, Kind as ErrorKind, Result};
use crate::record::Statistics;
use crate::repo::{Cursor, Fingerprint, FrameWriter, KnownLeaf, NotedPiece, StatCacheWriter};
use crate::source::files::FailureKind;
use crate::text;
use crate::tree::{Child, Leaf, ListBuilder, Root, StoredEntry, TreeBuilder};

/// The record that all names of a file share.
struct First {
    record: Option<Vec<u8>>,
    left: u64,
}

/// A source that was read.
pub(super) struct Gathered {
    pub root: Root,
    /// Of what stands at the root.
    pub kind: Kind,
    /// For the next run.
    pub cache: Option<StatCacheWriter>,
    pub images: Vec<database::Stored>,
}

pub(super) struct Gather<'a, 'r> {
    run: &'a Run<'r>,
    source: &'a Source,
    frames: FrameWriter<'a, 'r>,
    tree: TreeBuilder,
    /// The tree of the snapshot before.
    before: Option<&'a Root>,
    big: ListBuilder,
    big_lists: Lists<'a>,
    big_bytes: u64,
    /// The path of the big file, and what it looks like, if that can be relied on.
    big_at: Option<(Vec<u8>, Fingerprint)>,
    links: HashMap<(u64, u64), First>,
    cache: Option<StatCacheWriter>,
    statistics: &'a mut Statistics,
    reasons: &'a mut Reasons,
    root_kind: Option<Kind>,
    images: Vec<database::Stored>,
    /// The leaf that was added last, if it was added whole.
    whole: Option<KnownLeaf>,
    /// Whether what the entries of the open leaf look like is all that tells whether they are the same.
    is_plain: bool,
}

impl<'a, 'r> Gather<'a, 'r> {
    pub fn new(
        run: &'a Run<'r>,
        source: &'a Source,
        before: Option<&'a Root>,
        cache: Option<StatCacheWriter>,
        statistics: &'a mut Statistics,
        reasons: &'a mut Reasons,
    ) -> Result<Self> {
        let tree = TreeBuilder::new(&run.repository.keys().identity.boundary);
        let (frames, big, links) = (run.writer.frames()?, ListBuilder::default(), HashMap::new());
        let big_at = None;
        Ok(Self {
            run,
            source,
            frames,
            tree,
            before,
            big,
            big_lists: Lists::default(),
            big_bytes: 0,
            big_at,
            links,
            cache,
            statistics,
            reasons,
            root_kind: None,
            images: Vec::new(),
            whole: None,
            is_plain: true,
        })
    }

    pub fn take(&mut self, outcome: Outcome<'a>) -> Result<()> {
        match outcome {
            Outcome::Batch(all) => {
                let (mut files, mut bytes) = (0, 0);
                for done in all {
                    files += 1;
                    bytes += done.stat.map_or(0, |stat| if stat.kind == Kind::File { stat.size } else { 0 });
                    self.entry(done)?;
                }
                self.run.job.advance(files, bytes);
            }
            Outcome::Leaf(known) => self.leaf(known)?,
            Outcome::BigBegin(BigBegin { path, fingerprint, begun, parent }) => {
                self.forget_big();
                self.big_lists.parent = parent;
                self.big_at = fingerprint.map(|fingerprint| (path, fingerprint));
                self.note(&NotedPiece::default(), false);
                begun.iter().for_each(|piece| self.note(piece, true));
            }
            Outcome::Piece(piece, is_noted) => {
                if !is_noted {
                    self.note(&piece, true);
                }
                self.statistics.bytes_read += self.pieces(piece.chunks)?;
            }
            Outcome::Stored(chunks) => {
                self.pieces(chunks)?;
            }
            Outcome::BigEnd(done) => {
                self.entry(*done)?;
                self.forget_big();
                self.run.job.advance(1, 0);
            }
        }
        Ok(())
    }

    /// Notes a piece of the big file at once: if this run is killed, the next need not read what was stored.
    fn note(&mut self, piece: &NotedPiece, is_more: bool) {
        if let (Some(cache), Some((path, fingerprint))) = (&mut self.cache, &self.big_at)
            && cache.piece(path, fingerprint, is_more, piece).is_none()
        {
            self.cache = None;
        }
    }

    /// Adds chunks to the big file: their bytes.
    fn pieces(&mut self, chunks: Vec<ChunkRef>) -> Result<u64> {
        let bytes = chunks.iter().map(|chunk| chunk.len).sum();
        for chunk in chunks {
            let Self { big, frames, big_lists, .. } = self;
            big.push(chunk, &mut Like { frames, tree: None, lists: Some(big_lists) })?;
        }
        self.big_bytes += bytes;
        self.run.job.advance(0, bytes);
        Ok(bytes)
    }

    fn forget_big(&mut self) {
        self.big = ListBuilder::default();
        self.big_lists = Lists::default();
        self.big_bytes = 0;
        self.big_at = None;
    }

    fn entry(&mut self, done: Done) -> Result<()> {
        let Done { path, stat, got, before, failure, bytes_read, image, fingerprint } = done;
        self.statistics.bytes_read += bytes_read;
        let mut known_failure = failure.is_some();
        if let Some(failure) = failure {
            if failure.kind == FailureKind::Exhausted {
                let path = if failure.path.is_empty() { "the root".into() } else { text::escape(&failure.path) };
                return Err(Error::new(
                    ErrorKind::Exhausted,
                    format!("cannot go on with {}: {path}", self.source.name),
                )
                .why(failure.why)
                .fix(EXHAUSTED_FIX));
            }
            self.reasons.add(&self.source.name, &failure.path, &failure.why, self.run.job);
        }
        let (facts, scan) = image.map(|image| image.told()).unzip();
        let record = match got {
            Got::Record(record) => Some(record),
            Got::Big(stored) => Some(self.complete(*stored, facts)?),
            Got::Same => self.first_name(stat.map(|s| (s.dev, s.ino))),
            Got::Nothing => None,
        };
        let links = stat.filter(|stat| stat.kind != Kind::Directory && stat.links > 1);
        if let Some(stat) = links {
            let first =
                self.links.entry((stat.dev, stat.ino)).or_insert(First { record: record.clone(), left: stat.links });
            first.left = first.left.saturating_sub(1);
            if first.left == 0 {
                self.links.remove(&(stat.dev, stat.ino));
            }
        }
        let Some((record, stat)) = record.zip(stat) else {
            if !known_failure {
                known_failure = true;
                let why = "its content could not be read under its first name";
                self.reasons.add(&self.source.name, &path, why, self.run.job);
            }
            debug_assert!(known_failure);
            return Ok(());
        };
        match before {
            None => self.statistics.files_new += 1,
            Some(before) if before == record => self.statistics.files_unchanged += 1,
            Some(_) => self.statistics.files_changed += 1,
        }
        self.root_kind.get_or_insert(stat.kind);
        let size = if stat.kind == Kind::File { stat.size } else { 0 };
        self.break_up(&path)?;
        self.add(&path, &record, size, fingerprint)?;
        let is_image = crate::ops::database::is_image(&record);
        self.is_plain &= links.is_none() && !is_image;
        if is_image {
            self.images.push(database::Stored { path, record, scan: scan.flatten() });
        }
        Ok(())
    }

    /// Adds an entry to the tree and to the cache.
    fn add(&mut self, path: &[u8], record: &[u8], size: u64, fingerprint: Option<Fingerprint>) -> Result<()> {
        let Self { tree, frames, .. } = self;
        let nodes = self.before.map(|root| (self.run.reader, root));
        let ended = tree.push(path, record, size, &mut Like { frames, tree: nodes, lists: None })?;
        self.end_leaf(ended);
        match fingerprint {
            Some(print) => self.keep(|cache| cache.push(path, &print, record)),
            None => self.is_plain = false,
        }
        Ok(())
    }

    /// A cache that cannot be written is no reason to fail.
    fn keep(&mut self, write: impl FnOnce(&mut StatCacheWriter) -> Option<()>) {
        if self.cache.as_mut().is_some_and(|cache| write(cache).is_none()) {
            self.cache = None;
        }
    }

    /// Adds a leaf in which nothing has changed: as it is, if one begins here.
    fn leaf(&mut self, known: KnownLeaf) -> Result<()> {
        let Child { first, entries, bytes, .. } = &known.leaf.child;
        self.statistics.files_unchanged += entries;
        self.run.job.advance(*entries, *bytes);
        if self.root_kind.is_none() {
            self.root_kind =
                Cursor::default().next(&known.entries).and_then(|(_, record)| StoredEntry::kind_of(record));
        }
        self.break_up(first)?;
        if !self.tree.begins_leaf(first) {
            return self.entries_of(&known);
        }
        let Self { tree, frames, .. } = self;
        let nodes = self.before.map(|root| (self.run.reader, root));
        let ended = tree.push_leaf(known.leaf.clone(), &mut Like { frames, tree: nodes, lists: None })?;
        self.end_leaf(ended);
        self.whole = Some(known);
        Ok(())
    }

    /// Adds the entries of the leaf before one by one after all, if it does not end before this path.
    fn break_up(&mut self, path: &[u8]) -> Result<()> {
        match self.whole.take_if(|_| !self.tree.begins_leaf(path)) {
            Some(known) => {
                self.tree.take_back();
                self.entries_of(&known)
            }
            None => Ok(()),
        }
    }

    fn entries_of(&mut self, known: &KnownLeaf) -> Result<()> {
        let mut cursor = Cursor::default();
        while let Some((print, record)) = cursor.next(&known.entries) {
            let is_file = StoredEntry::kind_of(record) == Some(Kind::File);
            self.add(cursor.path(), record, if is_file { print.size } else { 0 }, Some(print))?;
        }
        Ok(())
    }

    /// Tells the cache that a leaf has ended.
    fn end_leaf(&mut self, ended: Option<Leaf>) {
        let Some(leaf) = ended else { return };
        let is_plain = std::mem::replace(&mut self.is_plain, true);
        match self.whole.take() {
            Some(known) => self.keep(|cache| cache.push_leaf(&known)),
            None => self.keep(|cache| cache.end_leaf(&leaf, is_plain)),
        }
    }

    /// Adds to the entry of a big file what went ahead: its content, and of an image what all of its pages tell.
    fn complete(&mut self, mut stored: StoredEntry, facts: Option<Vec<u8>>) -> Result<Vec<u8>> {
        stored.facts = facts.map(|facts| large(facts, &mut self.frames)).transpose()?;
        let Self { big, frames, big_lists, .. } = self;
        let like = &mut Like { frames, tree: None, lists: Some(big_lists) };
        stored.entry.content = std::mem::take(big).finish(like)?;
        if stored.extents.is_none() {
            stored.entry.size = self.big_bytes;
        }
        Ok(stored.encode())
    }

    fn first_name(&self, inode: Option<(u64, u64)>) -> Option<Vec<u8>> {
        self.links.get(&inode?)?.record.clone()
    }

    /// Ends the tree.
    pub fn finish(mut self) -> Result<Gathered> {
        let nodes = self.before.map(|root| (self.run.reader, root));
        if let Some(known) = self.whole.take() {
            self.keep(|cache| cache.push_leaf(&known));
        }
        let root = self.tree.finish(&mut Like { frames: &mut self.frames, tree: nodes, lists: None })?;
        self.frames.flush()?;
        match (root, self.root_kind) {
            (Some(root), Some(kind)) => Ok(Gathered { root, kind, cache: self.cache, images: self.images }),
            _ => Err(Error::new(ErrorKind::Source, "nothing of it could be read")),
        }
    }
}
