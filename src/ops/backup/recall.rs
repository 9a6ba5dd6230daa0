//! What is known of a source from before, beside the walk.

use std::collections::VecDeque;
use std::iter::Peekable;

use super::feed::fingerprint;
use crate::entry::Kind;
use crate::repo::{ChunkReader, Cursor, Fingerprint, Known, KnownLeaf, Memory, StatCache};
use crate::source::files::Found;
use crate::tree::{StoredEntry, TreeWalk, compare_paths};

/// Entries of previous runs: with what they looked like on disk, as far as the cache goes, and then as they were stored.
pub(super) struct Before<'a> {
    pub cache: Option<StatCache>,
    pub tree: Option<TreeWalk<&'a ChunkReader<'a>>>,
    /// Whether the snapshot of the tree is listed still.
    pub is_parent: bool,
}

impl Iterator for Before<'_> {
    type Item = Memory;

    fn next(&mut self) -> Option<Memory> {
        if let Some(memory) = self.cache.as_mut().and_then(StatCache::next) {
            return Some(memory);
        }
        if self.cache.as_ref().is_some_and(StatCache::is_whole) {
            return None;
        }
        let last = self.cache.as_ref().and_then(StatCache::last);
        let follows = |path: &[u8]| last.is_none_or(|last| compare_paths(last, path).is_lt());
        // A part of the tree that cannot be read only makes files look new.
        let found = self.tree.as_mut()?.flatten().find(|found| follows(&found.path))?;
        let (path, fingerprint, record) = (found.path, Fingerprint::NONE, Some(found.record));
        let (pieces, older, in_snapshot, is_stored) = (Vec::new(), None, self.is_parent, false);
        Some(Memory::Entry(Known { path, fingerprint, record, pieces, older, in_snapshot, is_stored }))
    }
}

/// An entry of a leaf, by itself.
fn known(path: &[u8], fingerprint: Fingerprint, record: &[u8]) -> Known {
    let (path, record, pieces, older) = (path.to_vec(), Some(record.to_vec()), Vec::new(), None);
    Known { path, fingerprint, record, pieces, older, in_snapshot: true, is_stored: true }
}

/// What the walk's next entry is to what is known.
pub(super) enum Passed {
    /// It is as it was, and so are all before it in its leaf.
    Within,
    /// It was the last one of a leaf of which nothing has changed.
    Whole(KnownLeaf),
    /// Anything else.
    Alone,
}

/// Follows the walk through what is known.
pub(super) struct Recall<'a> {
    before: Peekable<Before<'a>>,
    /// The leaf that the walk is in, as long as nothing in it has changed.
    leaf: Option<Passing>,
    /// What is left of a leaf in which something has.
    rest: VecDeque<Known>,
}

struct Passing {
    known: KnownLeaf,
    cursor: Cursor,
    /// How many of its entries were found as they were.
    same: u64,
}

impl Passing {
    fn goes_on(&mut self, found: &Found) -> bool {
        let is_linked = found.stat.kind != Kind::Directory && found.stat.links > 1;
        let Some((was, record)) = self.cursor.next(&self.known.entries) else { return false };
        !is_linked
            && was == fingerprint(&found.stat)
            && self.cursor.path() == found.path
            && StoredEntry::kind_of(record) == Some(found.stat.kind)
    }
}

impl<'a> Recall<'a> {
    pub fn new(before: Before<'a>) -> Self {
        Self { before: before.peekable(), leaf: None, rest: VecDeque::new() }
    }

    /// Goes on to this entry. Where it is alone, what [`Self::break_up`] gives comes before it.
    pub fn pass(&mut self, found: &Found) -> Passed {
        if self.leaf.is_none() {
            self.skip_to(&found.path);
            let begins = |memory: &Memory| matches!(memory, Memory::Leaf(leaf) if leaf.leaf.child.first == found.path);
            match self.before.next_if(|memory| self.rest.is_empty() && begins(memory)) {
                Some(Memory::Leaf(known)) => self.leaf = Some(Passing { known, cursor: Cursor::default(), same: 0 }),
                _ => return Passed::Alone,
            }
        }
        let Some(leaf) = self.leaf.as_mut() else { return Passed::Alone };
        if !leaf.goes_on(found) {
            return Passed::Alone;
        }
        leaf.same += 1;
        if leaf.same < leaf.known.leaf.child.entries {
            return Passed::Within;
        }
        self.leaf.take().map_or(Passed::Alone, |leaf| Passed::Whole(leaf.known))
    }

    /// Something has changed in the leaf that the walk is in: what was found as it was comes back.
    pub fn break_up(&mut self) -> Vec<(Vec<u8>, Fingerprint, Vec<u8>)> {
        let mut same = Vec::new();
        if let Some(leaf) = self.leaf.take() {
            leaf.known.each(|path, fingerprint, record| {
                if (same.len() as u64) < leaf.same {
                    same.push((path.to_vec(), fingerprint, record.to_vec()));
                } else {
                    self.rest.push_back(known(path, fingerprint, record));
                }
            });
        }
        same
    }

    /// What is known of this path.
    pub fn known_at(&mut self, path: &[u8]) -> Option<Known> {
        self.skip_to(path);
        if self.rest.is_empty() {
            match self.before.next_if(|memory| matches!(memory, Memory::Entry(known) if known.path == path))? {
                Memory::Entry(known) => return Some(known),
                Memory::Leaf(_) => return None,
            }
        }
        self.rest.pop_front_if(|known| known.path == path)
    }

    /// Leaves behind what comes before this path, but not a leaf that begins with it.
    fn skip_to(&mut self, path: &[u8]) {
        loop {
            while self.rest.pop_front_if(|known| compare_paths(&known.path, path).is_lt()).is_some() {}
            if !self.rest.is_empty() {
                return;
            }
            match self.before.next_if(|memory| compare_paths(memory.path(), path).is_lt()) {
                Some(Memory::Leaf(leaf)) => {
                    leaf.each(|path, print, record| self.rest.push_back(known(path, print, record)))
                }
                Some(Memory::Entry(_)) => {}
                None => return,
            }
        }
    }
}
