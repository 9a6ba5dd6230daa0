//! Reads trees: in order, below one folder, one path, or two trees against each other.
//!
//! A node that cannot be had does not end a walk: the error names the range that is lost, and the walk goes on.
//! Levels must fall by one on the way down, keys must ascend over the whole walk, and a node must end before the next
//! one begins, so that no tree, however hostile, has cycles, brings a path twice, or makes a node be read twice.

use super::Root;
use super::node::{Child, LEVEL_MAX, Node, NodeItems};
use super::path::{compare_paths, is_below};
use crate::crypto::ChunkKind;
use crate::id::ChunkId;
use crate::wire::Malformed;

/// Where chunks come from; whoever implements it has verified their ids.
pub trait Fetch {
    /// What can go wrong.
    type Error;
    /// The plaintext of a chunk.
    fn fetch(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>, Self::Error>;
}

impl<F: Fetch + ?Sized> Fetch for &F {
    type Error = F::Error;
    fn fetch(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>, Self::Error> {
        (**self).fetch(kind, id)
    }
}

/// Part of a tree that cannot be read.
#[derive(Clone, Debug)]
pub struct ReadError<E> {
    /// The node.
    pub node: ChunkId,
    /// The first path that is lost.
    pub first: Vec<u8>,
    /// How many entries are lost.
    pub entries: u64,
    /// The first path behind the lost ones; `None`: none follows.
    pub end: Option<Box<[u8]>>,
    /// Why: it could not be had, or makes no sense.
    pub cause: Result<Malformed, E>,
}

/// An entry as it lies in a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path.
    pub path: Vec<u8>,
    /// Its record: see [`super::StoredEntry`].
    pub record: Vec<u8>,
}

/// The next thing on one side: a node that was not opened yet, or an entry.
#[derive(Debug)]
enum Head {
    Node(u8, Child),
    Entry(Found),
}

impl Head {
    fn key(&self) -> &[u8] {
        match self {
            Self::Node(_, child) => &child.first,
            Self::Entry(found) => &found.path,
        }
    }
}

/// What is still to come of a tree, nearest last.
#[derive(Debug)]
struct Pending {
    stack: Vec<Head>,
    last: Option<Vec<u8>>,
}

impl Pending {
    fn new(root: Option<&Root>) -> Self {
        let head = |root: &Root| {
            let child = Child { first: Vec::new(), id: root.id, entries: root.entries, bytes: root.bytes };
            Head::Node(root.level, child)
        };
        Self { stack: root.map(head).into_iter().collect(), last: None }
    }

    /// Replaces the unopened node on top by what is in it.
    fn open<F: Fetch>(&mut self, fetch: &F, is_root: bool) -> Result<(), ReadError<F::Error>> {
        let Some(Head::Node(level, child)) = self.stack.pop() else { return Ok(()) };
        let end = self.stack.last().map(|head| head.key().into());
        let lost = |cause| {
            let (first, end) = (child.first.clone(), end.clone());
            ReadError { node: child.id, first, entries: child.entries, end, cause }
        };
        let bytes = fetch.fetch(ChunkKind::Node, &child.id).map_err(|e| lost(Err(e)))?;
        let node = Node::parse(&bytes).map_err(|e| lost(Ok(e)))?;
        let bad = |why: String| lost(Ok(Malformed::bad("tree node", why)));
        if node.level != level || level > LEVEL_MAX {
            return Err(bad(format!("level {} found, {level} expected", node.level)));
        }
        if !is_root && node.first() != child.first {
            return Err(bad("its first path is not the one its parent names".into()));
        }
        if self.last.as_deref().is_some_and(|last| compare_paths(last, node.first()).is_ge()) {
            return Err(bad("its paths do not follow those before".into()));
        }
        if self.stack.last().is_some_and(|next| compare_paths(node.last(), next.key()).is_ge()) {
            return Err(bad("its paths reach into the node that follows".into()));
        }
        match node.items {
            NodeItems::Leaf(items) => {
                self.last = items.last().map(|(path, _)| path.clone()).or(self.last.take());
                let entries = items.into_iter().rev().map(|(path, record)| Head::Entry(Found { path, record }));
                self.stack.extend(entries);
            }
            NodeItems::Inner(children) => {
                self.stack.extend(children.into_iter().rev().map(|child| Head::Node(level - 1, child)));
            }
        }
        Ok(())
    }

    /// Whether the node on top ends before `path`: what follows it begins at or before.
    fn top_ends_before(&self, path: &[u8]) -> bool {
        let n = self.stack.len();
        n >= 2 && compare_paths(self.stack[n - 2].key(), path).is_le()
    }

    /// Whether the node on top lies wholly below `folder`.
    fn top_is_within(&self, folder: &[u8]) -> bool {
        let n = self.stack.len();
        n >= 2 && is_below(self.stack[n - 1].key(), folder) && is_below(self.stack[n - 2].key(), folder)
    }
}

/// Walks a tree in order.
#[derive(Debug)]
pub struct TreeWalk<F> {
    fetch: F,
    pending: Pending,
    at_root: bool,
    below: Vec<u8>,
    skip: Option<Vec<u8>>,
}

impl<F: Fetch> TreeWalk<F> {
    /// All entries.
    pub fn new(fetch: F, root: &Root) -> Self {
        Self::below(fetch, root, b"")
    }

    /// Only `folder` and what lies below it.
    pub fn below(fetch: F, root: &Root, folder: &[u8]) -> Self {
        Self { fetch, pending: Pending::new(Some(root)), at_root: true, below: folder.to_vec(), skip: None }
    }

    /// Leaves out what is still to come below this folder.
    pub fn skip_below(&mut self, folder: &[u8]) {
        self.skip = Some(folder.to_vec());
    }
}

impl<F: Fetch> Iterator for TreeWalk<F> {
    type Item = Result<Found, ReadError<F::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.pending.stack.last()? {
                Head::Node(..) => {
                    let skipped = !self.at_root
                        && (self.pending.top_ends_before(&self.below)
                            || self.skip.as_deref().is_some_and(|skip| self.pending.top_is_within(skip)));
                    if skipped {
                        self.pending.stack.pop();
                        continue;
                    }
                    let is_root = std::mem::take(&mut self.at_root);
                    if let Err(e) = self.pending.open(&self.fetch, is_root) {
                        return Some(Err(e));
                    }
                }
                Head::Entry(_) => {
                    let Some(Head::Entry(found)) = self.pending.stack.pop() else { continue };
                    if !is_below(&found.path, &self.below) {
                        if compare_paths(&found.path, &self.below).is_gt() {
                            self.pending.stack.clear();
                            return None;
                        }
                        continue;
                    }
                    if self.skip.as_deref().is_some_and(|skip| is_below(&found.path, skip)) {
                        continue;
                    }
                    return Some(Ok(found));
                }
            }
        }
    }
}

/// The entry at one path.
pub fn lookup<F: Fetch>(fetch: F, root: &Root, path: &[u8]) -> Result<Option<Found>, ReadError<F::Error>> {
    match TreeWalk::below(fetch, root, path).next() {
        Some(Ok(found)) if found.path == path => Ok(Some(found)),
        Some(Err(e)) => Err(e),
        _ => Ok(None),
    }
}

/// The node of this level below which a key belongs, if the tree has that level.
pub fn node_at<F: Fetch>(fetch: F, root: &Root, level: u8, key: &[u8]) -> Result<Option<ChunkId>, F::Error> {
    let (mut id, mut at) = (root.id, root.level);
    while at > level {
        let Ok(Node { level: found, items: NodeItems::Inner(children) }) =
            Node::parse(&fetch.fetch(ChunkKind::Node, &id)?)
        else {
            return Ok(None);
        };
        let next = children.partition_point(|child| compare_paths(&child.first, key).is_le()).saturating_sub(1);
        let Some(child) = children.get(next).filter(|_| found == at) else { return Ok(None) };
        (id, at) = (child.id, at - 1);
    }
    Ok((at == level).then_some(id))
}

/// One difference between two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Only in the first.
    Removed(Found),
    /// Only in the second.
    Added(Found),
    /// In both, with other records.
    Changed(Found, Found),
}

/// Walks two trees against each other; what they share is not even read.
#[derive(Debug)]
pub struct TreeDiff<F> {
    fetch: F,
    sides: [Pending; 2],
    opened: [bool; 2],
}

enum Step {
    SkipBoth,
    Open(usize),
    Emit(std::cmp::Ordering),
}

impl<F: Fetch> TreeDiff<F> {
    /// From `old` to `new`; an absent tree is empty.
    pub fn new(fetch: F, old: Option<&Root>, new: Option<&Root>) -> Self {
        Self { fetch, sides: [Pending::new(old), Pending::new(new)], opened: [false; 2] }
    }

    fn step(&self) -> Option<Step> {
        use std::cmp::Ordering::{Greater, Less};
        let [a, b] = [self.sides[0].stack.last(), self.sides[1].stack.last()];
        Some(match (a, b) {
            (None, None) => return None,
            (Some(Head::Node(la, a)), Some(Head::Node(lb, b))) => {
                if la == lb && a.id == b.id {
                    Step::SkipBoth
                } else {
                    Step::Open(match la.cmp(lb) {
                        std::cmp::Ordering::Equal => usize::from(compare_paths(&a.first, &b.first).is_gt()),
                        order => usize::from(order.is_lt()),
                    })
                }
            }
            (Some(Head::Node(_, node)), Some(Head::Entry(entry)))
                if compare_paths(&node.first, &entry.path).is_le() =>
            {
                Step::Open(0)
            }
            (Some(Head::Entry(entry)), Some(Head::Node(_, node)))
                if compare_paths(&node.first, &entry.path).is_le() =>
            {
                Step::Open(1)
            }
            (Some(Head::Node(..)), None) => Step::Open(0),
            (None, Some(Head::Node(..))) => Step::Open(1),
            (Some(Head::Entry(a)), Some(Head::Entry(b))) => Step::Emit(compare_paths(&a.path, &b.path)),
            (Some(Head::Entry(_)), _) => Step::Emit(Less),
            (_, Some(Head::Entry(_))) => Step::Emit(Greater),
        })
    }

    fn pop(&mut self, side: usize) -> Option<Found> {
        match self.sides[side].stack.pop() {
            Some(Head::Entry(found)) => Some(found),
            _ => None,
        }
    }
}

impl<F: Fetch> Iterator for TreeDiff<F> {
    type Item = Result<Visit, ReadError<F::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step()? {
                Step::SkipBoth => {
                    self.sides.iter_mut().for_each(|side| drop(side.stack.pop()));
                }
                Step::Open(side) => {
                    let is_root = !std::mem::replace(&mut self.opened[side], true);
                    if let Err(e) = self.sides[side].open(&self.fetch, is_root) {
                        return Some(Err(e));
                    }
                }
                Step::Emit(std::cmp::Ordering::Less) => return self.pop(0).map(|f| Ok(Visit::Removed(f))),
                Step::Emit(std::cmp::Ordering::Greater) => return self.pop(1).map(|f| Ok(Visit::Added(f))),
                Step::Emit(std::cmp::Ordering::Equal) => {
                    let (a, b) = (self.pop(0)?, self.pop(1)?);
                    if a.record != b.record {
                        return Some(Ok(Visit::Changed(a, b)));
                    }
                }
            }
        }
    }
}
