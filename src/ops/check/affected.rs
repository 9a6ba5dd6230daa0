//! Which snapshots and paths need what is lost.

use std::collections::HashSet;

use super::{Affected, Findings};
use crate::entry::Content;
use crate::error::Result;
use crate::event::Job;
use crate::id::{ChunkId, ObjectId};
use crate::record::SourceBody;
use crate::repo::{Catalogue, ChunkReader, Listing, Repository};
use crate::tree::{Fetch, Large, Node, NodeItems, StoredEntry};

/// Most paths named for one finding; a pack can hold a hundred thousand files.
const NAMED_MAX: usize = 1000;

struct Naming<'a> {
    reader: ChunkReader<'a>,
    findings: &'a mut Findings,
    /// Nodes below which nothing is lost.
    clean: HashSet<ChunkId>,
    /// Whether the snapshot that is looked at was confirmed.
    is_confirmed: bool,
    job: Job<'a>,
}

/// Adds to every finding what it affects.
pub(super) fn name(
    repository: &Repository,
    catalogue: &Catalogue,
    listing: &Listing,
    findings: &mut Findings,
    job: Job<'_>,
) -> Result<()> {
    job.phase("naming what is affected", None, None);
    let (reader, clean) = (ChunkReader::new(repository, catalogue), HashSet::new());
    let mut naming = Naming { reader, findings, clean, is_confirmed: false, job };
    for info in listing.snapshots.iter().rev() {
        let Ok(snapshot) = repository.snapshot_of(info) else { continue };
        naming.is_confirmed = info.confirmed;
        for source in &snapshot.body.sources {
            if !naming.node(&info.id, source, &source.root.id, b"", source.root.entries)? {
                naming.findings.harmed.insert(info.id);
            }
        }
    }
    Ok(())
}

impl Naming<'_> {
    /// Whether nothing below the node is lost, which has so many entries, of which this is the first.
    fn node(
        &mut self,
        snapshot: &ObjectId,
        source: &SourceBody,
        id: &ChunkId,
        first: &[u8],
        entries: u64,
    ) -> Result<bool> {
        self.job.cancel.check()?;
        if self.clean.contains(id) {
            return Ok(true);
        }
        if let Some(finding) = self.findings.chunks.get(id).copied() {
            self.stops_prune_if(self.stops(id, true), snapshot);
            self.affects(finding, snapshot, source, first, entries);
            return Ok(false);
        }
        let node =
            self.reader.fetch(crate::crypto::ChunkKind::Node, id).ok().and_then(|bytes| Node::parse(&bytes).ok());
        let Some(node) = node else { return Ok(false) };
        // Who reads it, loses what those entries were.
        let malformed = self.findings.malformed.get(id).cloned().unwrap_or_default();
        let mut clean = malformed.is_empty();
        self.stops_prune_if(!clean, snapshot);
        for (finding, path) in malformed {
            self.affects(finding, snapshot, source, &path, 1);
        }
        match node.items {
            NodeItems::Inner(children) => {
                for child in children {
                    clean &= self.node(snapshot, source, &child.id, &child.first, child.entries)?;
                }
            }
            NodeItems::Leaf(items) => {
                for (path, record) in items {
                    let Ok(stored) = StoredEntry::parse(&record) else { continue };
                    let (findings, stops) = self.lost_by(&stored);
                    self.stops_prune_if(stops, snapshot);
                    for finding in findings {
                        clean = false;
                        self.affects(finding, snapshot, source, &path, 1);
                    }
                }
            }
        }
        if clean {
            self.clean.insert(*id);
        }
        Ok(clean)
    }

    /// So many entries are lost, of which this is the first; the names of the others are lost with them.
    fn affects(&mut self, finding: usize, snapshot: &ObjectId, source: &SourceBody, path: &[u8], entries: u64) {
        let (found, entries) = (&mut self.findings.found[finding], entries.max(1));
        // One snapshot is looked at after the other.
        match found.snapshots.last_mut() {
            Some((last, count)) if last == snapshot => *count += entries,
            _ => found.snapshots.push((*snapshot, entries)),
        }
        found.affects_more += entries;
        if found.affects.len() < NAMED_MAX {
            found.affects.push(Affected { snapshot: *snapshot, source: source.name.clone(), path: path.to_vec() });
            found.affects_more -= 1;
        }
    }

    fn stops_prune_if(&mut self, stops: bool, snapshot: &ObjectId) {
        if stops {
            self.findings.stuck.insert(*snapshot);
        }
    }

    /// Whether a prune goes no further for want of this chunk, which may tell of others that are needed. One that does not is
    /// missed where no pack holds it any more, not where it is damaged; and what was never confirmed may lack anything.
    fn stops(&self, id: &ChunkId, tells: bool) -> bool {
        let (catalogue, prefix) = (self.reader.catalogue(), id.prefix());
        let mut copies = catalogue.copies_to_read(&prefix).map(|place| catalogue.pack(place.pack).id);
        match self.is_confirmed {
            true => tells || copies.all(|pack| catalogue.missing().contains(&pack)),
            false => tells && copies.next().is_some(),
        }
    }

    /// The findings that take something from an entry, each once, and whether a prune goes no further for it.
    fn lost_by(&self, stored: &StoredEntry) -> (HashSet<usize>, bool) {
        let (mut out, mut stops) = (HashSet::new(), false);
        for large in [&stored.xattrs, &stored.extents].into_iter().flatten() {
            if let Large::Chunk(chunk) = large
                && let Some(finding) = self.findings.chunks.get(&chunk.id)
            {
                out.insert(*finding);
                stops |= self.stops(&chunk.id, false);
            }
        }
        stops |= self.lost_content(&stored.entry.content, &mut out);
        (out, stops)
    }

    fn lost_content(&self, content: &Content, out: &mut HashSet<usize>) -> bool {
        let (mut todo, mut stops) = (vec![(content.level, content.chunks.clone())], false);
        while let Some((level, items)) = todo.pop() {
            for item in items {
                match self.findings.chunks.get(&item.id) {
                    Some(finding) => {
                        out.insert(*finding);
                        stops = stops || self.stops(&item.id, level > 0);
                    }
                    None if level > 0 => {
                        if let Ok(list) = self.reader.chunk_list(level, &item) {
                            todo.push((level - 1, list.items));
                        }
                    }
                    None => {}
                }
            }
        }
        stops
    }
}
