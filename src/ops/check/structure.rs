//! Everything but the packs' data: small objects, tables, trees, and whether every chunk is there.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rayon::prelude::*;

use super::{Findings, remedy};
use crate::crypto::{Audience, ChunkKind};
use crate::entry::{ChunkRef, Content};
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::{ChunkId, ObjectId, SessionId};
use crate::record::Tomb;
use crate::repo::{Catalogue, ChunkReader, EntryReader, Folder, Listing, Repository, Unreadable, read_table};
use crate::tree::{Child, Node, NodeItems, Root, StoredEntry};

const GONE: &str = "is named by the index, but it is gone";
const KNOWN: &str = "is damaged, as was found before";
const NOWHERE: &str = "no pack holds them";

/// What is not as the index says.
enum Doubt {
    Pack(ObjectId),
    Index(ObjectId),
}

pub(super) struct Structure<'a> {
    repository: &'a Repository,
    catalogue: &'a Catalogue,
    reader: ChunkReader<'a>,
    findings: &'a mut Findings,
    job: Job<'a>,
    /// Nodes, lists and attribute chunks that were read, good or bad.
    seen: HashSet<ChunkId>,
    /// The findings that gather chunks without a good copy, by what is said of them.
    missing: BTreeMap<String, usize>,
}

impl<'a> Structure<'a> {
    pub fn new(repository: &'a Repository, catalogue: &'a Catalogue, findings: &'a mut Findings, job: Job<'a>) -> Self {
        let reader = ChunkReader::new(repository, catalogue);
        Self { repository, catalogue, reader, findings, job, seen: HashSet::new(), missing: BTreeMap::new() }
    }

    /// Key slots, sessions, damage records, tombs and index objects: each is what its name says and opens.
    pub fn objects(&mut self) -> Result<()> {
        for unreadable in self.catalogue.unreadable() {
            let Unreadable { folder, id, error } = unreadable;
            // Whether anything is lost with a pack, those who need it will tell.
            if *folder == Folder::Packs && error.kind() == Kind::Damage {
                continue;
            }
            let fix = if *folder == Folder::Packs { remedy::CONTENT.into() } else { remedy::small_object(*folder, id) };
            self.findings.add(folder.object(id), error.to_string(), remedy::against(error, fix));
        }
        // The catalogue has read the others.
        let bad = self.repository.check_opening()?;
        for (key, error) in &bad {
            let fix = remedy::copy(key, |other| bad.iter().any(|(key, _)| key.as_str() == other));
            self.findings.add(key.as_str(), error.to_string(), remedy::against(error, fix));
        }
        for folder in [Folder::Sessions, Folder::Tombs] {
            for id in self.repository.list(folder)? {
                self.job.cancel.check()?;
                match self.small_object(folder, &id) {
                    // A prune may take it away between listing and reading.
                    Err((_, e)) if e.kind() == Kind::Missing => {}
                    Err((fix, e)) => {
                        self.findings.add(folder.object(&id), e.to_string(), remedy::against(&e, fix));
                    }
                    Ok(()) => {}
                }
            }
        }
        Ok(())
    }

    /// Reads it. What is wrong comes with what helps.
    fn small_object(&self, folder: Folder, id: &ObjectId) -> Result<(), (String, Error)> {
        let repository = self.repository;
        let read = match folder {
            Folder::Sessions => match repository.session(id) {
                Ok((session, _)) => return self.session_end(id, session),
                Err(e) => Err(e),
            },
            _ => repository.read(folder, id, [Audience::Index]).and_then(|[record]| {
                let place = format!("tomb {}", id.short());
                Tomb::parse(&record).map(drop).map_err(|e| crate::repo::malformed(&place, &e))
            }),
        };
        read.map_err(|e| (remedy::small_object(folder, id), e))
    }

    fn session_end(&self, id: &ObjectId, session: SessionId) -> Result<(), (String, Error)> {
        let end = match self.repository.session_end(id) {
            Ok(Some((ended, _))) if ended != session => Err(Error::new(Kind::Damage, "its end is another session's")),
            other => other.map(drop),
        };
        end.map_err(|e| (remedy::session_end(id), e))
    }

    /// Packs: their sizes, and those that must be read to be believed, since their table, or their length, is not what
    /// the index says, or since a damage record names them.
    pub fn packs(&mut self) -> Result<(BTreeMap<ObjectId, u64>, BTreeSet<ObjectId>)> {
        let known: BTreeMap<ObjectId, u64> = self.catalogue.packs().iter().map(|pack| (pack.id, pack.size)).collect();
        let unreadable: BTreeSet<ObjectId> = self.catalogue.unreadable().iter().map(|it| it.id).collect();
        let mut sizes = BTreeMap::new();
        for listed in self.repository.storage().list(Folder::Packs.name())? {
            // What a backup or a prune has stored since the catalogue was read is for the next check.
            let id = Folder::Packs.id(&listed.key).filter(|id| known.contains_key(id) || unreadable.contains(id));
            sizes.extend(id.map(|id| (id, listed.size)));
        }
        let look = |(id, size): (&ObjectId, &u64)| -> Result<Option<Doubt>> {
            self.job.cancel.check()?;
            match read_table(self.repository, id) {
                Err(e) if e.kind() == Kind::Missing => Ok(None),
                Err(e) if e.kind().is_about_who_asks() => Err(e),
                Ok(_) if self.repository.is_mendable(id) => Ok(Some(Doubt::Pack(*id))),
                Ok((_, _, table)) if known.get(id) == Some(size) => {
                    let is_known = table.chunks().all(|(frame, nth, kind, chunk)| {
                        self.catalogue.copies_to_read(&chunk.id).any(|place| {
                            (place.frame, place.nth, place.kind, place.raw_len) == (frame, nth, kind, chunk.raw_len)
                                && self.catalogue.pack(place.pack).id == *id
                        })
                    });
                    Ok((!is_known).then_some(Doubt::Index(*id)))
                }
                _ => Ok(Some(Doubt::Pack(*id))),
            }
        };
        let doubts: Vec<Option<Doubt>> = sizes.par_iter().map(look).collect::<Result<_>>()?;
        let damaged = self.catalogue.damage().iter().map(|bad| bad.pack).filter(|id| sizes.contains_key(id));
        let mut doubtful: BTreeSet<ObjectId> = damaged.collect();
        for doubt in doubts.into_iter().flatten() {
            match doubt {
                Doubt::Pack(id) => _ = doubtful.insert(id),
                Doubt::Index(id) => {
                    let what = "the index says otherwise than its own table";
                    self.findings.add(format!("pack {}", id.short()), what, remedy::INDEX);
                    // Which of them is wrong, its bytes tell.
                    doubtful.insert(id);
                }
            }
        }
        Ok((sizes, doubtful))
    }

    /// Notes, and snapshots: each opens, every node and list is read once, every chunk is there.
    pub fn snapshots(&mut self, listing: &Listing) -> Result<()> {
        for (id, error) in &listing.lost_notes {
            self.findings.add(Folder::Notes.object(id), error.to_string(), error.advice());
        }
        self.findings.has_gaps = !(listing.damaged.is_empty() && listing.gone.is_empty());
        for (id, error) in &listing.damaged {
            let fix = remedy::against(error, remedy::snapshot(id));
            self.findings.add(format!("snapshot {}", id.short()), error.to_string(), fix);
        }
        for id in &listing.gone {
            let (what, fix) = match self.repository.is_in_trash(id) {
                true => ("lies in the trash, though nobody says that it was forgotten", remedy::trashed_snapshot(id)),
                false => ("is gone, though the run that made it ended well", remedy::snapshot(id)),
            };
            self.findings.add(Folder::Snapshots.object(id), what, fix);
        }
        for info in &listing.snapshots {
            match self.repository.snapshot_of(info) {
                Ok(snapshot) => {
                    for source in &snapshot.body.sources {
                        self.root(&source.root)?;
                    }
                }
                Err(e) => {
                    let fix = remedy::against(&e, remedy::snapshot(&info.id));
                    self.findings.add(format!("snapshot {}", info.id.short()), e.to_string(), fix);
                    self.findings.harmed.insert(info.id);
                    self.findings.has_gaps = true;
                }
            }
        }
        Ok(())
    }

    fn root(&mut self, root: &Root) -> Result<()> {
        let mut todo =
            vec![(root.level, Child { first: Vec::new(), id: root.id, entries: root.entries, bytes: root.bytes })];
        let mut is_root = true;
        while let Some((level, child)) = todo.pop() {
            self.job.cancel.check()?;
            let is_first = std::mem::take(&mut is_root);
            if !self.seen.insert(child.id) {
                continue;
            }
            match self.node(level, &child, is_first)? {
                Some(NodeItems::Inner(children)) => todo.extend(children.into_iter().map(|child| (level - 1, child))),
                Some(NodeItems::Leaf(items)) => {
                    for (path, record) in items {
                        self.entry(&child.id, &path, &record)?;
                    }
                }
                None => {}
            }
            self.job.advance(1, 0);
        }
        Ok(())
    }

    /// Reads a node; `None` if it cannot be had, which has then been noted.
    fn node(&mut self, level: u8, child: &Child, is_root: bool) -> Result<Option<NodeItems>> {
        let name = format!("tree node {}", child.id.short());
        let bytes = match self.reader.chunk(ChunkKind::Node, &child.id) {
            Ok(bytes) => bytes,
            Err(e) => return self.lost(&child.id, &name, &e.to_string()).map(|()| None),
        };
        let problem = match Node::parse(&bytes) {
            Err(e) => e.to_string(),
            Ok(node) if node.level != level => format!("level {} found, {level} expected", node.level),
            Ok(node) if !is_root && node.first() != child.first => {
                "it begins at another path than its parent says".into()
            }
            Ok(node) => return Ok(Some(node.items)),
        };
        self.lost(&child.id, &name, &problem).map(|()| None)
    }

    /// All that is lost with a pack is one finding.
    fn lost(&mut self, id: &ChunkId, name: &str, what: &str) -> Result<()> {
        self.job.cancel.check()?;
        let finding = match self.catalogue.packs_lost(id).is_empty() {
            true => self.findings.add(name, what, remedy::CONTENT),
            false => self.cause(id),
        };
        self.findings.chunks.insert(*id, finding);
        self.findings.has_gaps = true;
        Ok(())
    }

    fn entry(&mut self, node: &ChunkId, path: &[u8], record: &[u8]) -> Result<()> {
        let stored = match StoredEntry::parse(record) {
            Ok(stored) => stored,
            Err(e) => {
                self.malformed(node, path, &e.to_string());
                return Ok(());
            }
        };
        let mut has_more = stored.xattrs.is_some() || stored.extents.is_some();
        for chunk in stored.attr_chunks() {
            has_more &= self.attr(chunk)?;
        }
        self.content(&stored.entry.content)?;
        if has_more && let Err(e) = self.reader.entry(record) {
            self.malformed(node, path, &e.to_string());
        }
        Ok(())
    }

    /// An entry is read once for all snapshots that share its node.
    fn malformed(&mut self, node: &ChunkId, path: &[u8], what: &str) {
        let finding = self.findings.add(format!("entry {}", crate::text::escape(path)), what, remedy::CONTENT);
        self.findings.malformed.entry(*node).or_default().push((finding, path.to_vec()));
        self.findings.has_gaps = true;
    }

    fn attr(&mut self, chunk: &ChunkRef) -> Result<bool> {
        if self.findings.chunks.contains_key(&chunk.id) {
            return Ok(false);
        }
        if !self.seen.insert(chunk.id) {
            return Ok(true);
        }
        match self.reader.chunk(ChunkKind::Attr, &chunk.id) {
            Ok(_) => Ok(true),
            Err(e) => {
                self.lost(&chunk.id, &format!("attribute chunk {}", chunk.id.short()), &e.to_string()).map(|()| false)
            }
        }
    }

    fn content(&mut self, content: &Content) -> Result<()> {
        let mut todo = vec![(content.level, content.chunks.clone())];
        while let Some((level, items)) = todo.pop() {
            for item in items {
                if level == 0 {
                    self.data_chunk(&item);
                } else if self.seen.insert(item.id) {
                    match self.reader.chunk_list(level, &item) {
                        Ok(list) => todo.push((level - 1, list.items)),
                        Err(e) => self.lost(&item.id, &format!("chunk list {}", item.id.short()), &e.to_string())?,
                    }
                }
            }
        }
        Ok(())
    }

    fn data_chunk(&mut self, chunk: &ChunkRef) {
        let fits = |place: crate::repo::Place| place.kind == ChunkKind::Data && u64::from(place.raw_len) == chunk.len;
        if self.catalogue.copies(&chunk.id.prefix()).any(fits) || self.findings.chunks.contains_key(&chunk.id) {
            return;
        }
        let finding = self.cause(&chunk.id);
        self.findings.chunks.insert(chunk.id, finding);
    }

    /// The finding that says why a chunk cannot be had.
    fn cause(&mut self, id: &ChunkId) -> usize {
        let (object, what) = match self.catalogue.packs_lost(id).first() {
            Some(pack) if self.catalogue.missing().contains(pack) => (format!("pack {}", pack.short()), GONE),
            Some(pack) => {
                let what = self.findings.wrong.get(pack).map_or(KNOWN, String::as_str);
                (format!("pack {}", pack.short()), what)
            }
            None => ("chunks".to_owned(), NOWHERE),
        };
        if let Some(finding) = self.missing.get(&object) {
            return *finding;
        }
        let what = what.to_owned();
        let finding = self.findings.add(object.clone(), what, remedy::CONTENT);
        self.missing.insert(object, finding);
        finding
    }
}
