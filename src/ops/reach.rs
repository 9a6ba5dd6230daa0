//! Everything that a tree needs: nodes, lists, attributes, data.

use crate::crypto::ChunkKind;
use crate::entry::ChunkRef;
use crate::error::{Error, Result};
use crate::event::Cancel;
use crate::id::ChunkId;
use crate::repo::{ChunkReader, malformed};
use crate::tree::{ChunkList, Node, NodeItems, StoredEntry};
use crate::wire::Malformed;

/// Is shown every chunk.
pub(super) trait Visitor {
    /// A chunk that is needed; whether what it names shall be looked at. One that several things need is shown several
    /// times.
    fn visit(&mut self, id: &ChunkId) -> bool;
    /// Something that could not be read: what it names is not shown.
    fn gap(&mut self, error: &Error);
}

/// Reads trees for a visitor.
pub(super) struct Reach<'a, 'v, V> {
    pub reader: &'a ChunkReader<'a>,
    pub cancel: &'a Cancel,
    pub visitor: &'v mut V,
}

impl<V: Visitor> Reach<'_, '_, V> {
    /// A tree. Levels fall on the way down, so the way ends.
    pub fn tree(&mut self, level: u8, id: &ChunkId) -> Result<()> {
        self.cancel.check()?;
        if !self.visitor.visit(id) {
            return Ok(());
        }
        let node = match self.node(level, id) {
            Ok(node) => node,
            Err(error) => {
                self.visitor.gap(&error);
                return Ok(());
            }
        };
        match node.items {
            NodeItems::Inner(children) => {
                children.iter().try_for_each(|child| self.tree(level.saturating_sub(1), &child.id))
            }
            NodeItems::Leaf(items) => items.iter().try_for_each(|(_, record)| self.entry(record)),
        }
    }

    fn node(&self, level: u8, id: &ChunkId) -> Result<Node> {
        let place = || format!("tree node {}", id.short());
        let bytes = self.reader.chunk(ChunkKind::Node, id)?;
        let node = Node::parse(&bytes).map_err(|e| malformed(&place(), &e))?;
        if node.level == level { Ok(node) } else { Err(malformed(&place(), &wrong_level(node.level, level))) }
    }

    fn entry(&mut self, record: &[u8]) -> Result<()> {
        let stored = match StoredEntry::parse(record) {
            Ok(stored) => stored,
            Err(e) => {
                self.visitor.gap(&malformed("an entry", &e));
                return Ok(());
            }
        };
        stored.attr_chunks().for_each(|chunk| _ = self.visitor.visit(&chunk.id));
        let content = &stored.entry.content;
        self.lists(content.level, &content.chunks)
    }

    fn lists(&mut self, level: u8, items: &[ChunkRef]) -> Result<()> {
        for item in items {
            if !self.visitor.visit(&item.id) || level == 0 {
                continue;
            }
            self.cancel.check()?;
            match self.list(level, &item.id) {
                Ok(list) => self.lists(level - 1, &list.items)?,
                Err(error) => self.visitor.gap(&error),
            }
        }
        Ok(())
    }

    fn list(&self, level: u8, id: &ChunkId) -> Result<ChunkList> {
        let place = || format!("chunk list {}", id.short());
        let bytes = self.reader.chunk(ChunkKind::List, id)?;
        let list = ChunkList::parse(&bytes).map_err(|e| malformed(&place(), &e))?;
        if list.level == level { Ok(list) } else { Err(malformed(&place(), &wrong_level(list.level, level))) }
    }
}

fn wrong_level(found: u8, expected: u8) -> Malformed {
    Malformed::bad("tree", format!("level {found} found, {expected} expected"))
}
