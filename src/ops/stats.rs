//! What a repository holds, and what removing a snapshot would free.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::reach::{Reach, Visitor};
use crate::error::{Error, Result};
use crate::event::Job;
use crate::id::{ChunkId, ChunkPrefix, ObjectId};
use crate::pack::Bases;
use crate::repo::{Catalogue, ChunkReader, Folder, Listing, Place, Repository, SnapshotInfo};

/// Sums over a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Snapshots that can be read.
    pub snapshots: u64,
    /// Bytes of all of them, each in full.
    pub raw_bytes: u64,
    /// Bytes of all distinct chunks, before compression.
    pub unique_bytes: u64,
    /// Number of distinct chunks.
    pub chunks: u64,
    /// Chunks that are stored as differences to others.
    pub deltas: Deltas,
    /// Bytes of all objects.
    pub stored_bytes: u64,
    /// Objects by kind.
    pub objects: Vec<Objects>,
}

/// Chunks that are stored as differences to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deltas {
    /// How many.
    pub chunks: u64,
    /// Their length before compression, bytes.
    pub raw_bytes: u64,
    /// What they take, bytes.
    pub stored_bytes: u64,
    /// What they would take if they were stored whole, estimated by what they are made from; bytes.
    pub whole_bytes: u64,
}

/// Objects of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objects {
    /// The name of their folder.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// Their size together, bytes.
    pub bytes: u64,
}

/// Adds everything up.
pub fn stats(repository: &Repository, catalogue: &Catalogue, listing: &Listing) -> Result<Stats> {
    let objects = objects(repository)?;
    let sources = listing.snapshots.iter().flat_map(|info| &info.summary.sources);
    Ok(Stats {
        snapshots: listing.snapshots.len() as u64,
        raw_bytes: sources.map(|source| source.bytes).fold(0, u64::saturating_add),
        unique_bytes: catalogue.chunks().map(|(_, place)| u64::from(place.raw_len)).sum(),
        chunks: catalogue.chunk_count() as u64,
        deltas: deltas(catalogue),
        stored_bytes: objects.iter().map(|objects| objects.bytes).sum(),
        objects,
    })
}

fn deltas(catalogue: &Catalogue) -> Deltas {
    let frames = Frames::new(catalogue);
    let mut sum = Deltas::default();
    for (id, place) in catalogue.chunks().filter(|(_, place)| place.rank > 0) {
        let mut root = *place;
        let mut next = catalogue.bases(id, &root).first().copied();
        while let Some(id) = next.filter(|_| root.rank > 0) {
            let Some(copy) = catalogue.copies(&id).find(|copy| copy.rank < root.rank) else { break };
            (root, next) = (copy, catalogue.bases(&id, &copy).first().copied());
        }
        sum.chunks += 1;
        sum.raw_bytes += u64::from(place.raw_len);
        sum.stored_bytes += frames.share(place);
        sum.whole_bytes += frames.share(&Place { raw_len: place.raw_len, ..root });
    }
    sum
}

/// How many bytes each frame holds, before compression.
struct Frames(HashMap<(u32, u32), u64>);

impl Frames {
    fn new(catalogue: &Catalogue) -> Self {
        let mut frames = HashMap::new();
        for (_, place) in catalogue.chunks() {
            *frames.entry((place.pack, place.frame)).or_default() += u64::from(place.raw_len);
        }
        Self(frames)
    }

    /// What a chunk takes of its frame, stored.
    fn share(&self, place: &Place) -> u64 {
        let whole = self.0.get(&(place.pack, place.frame)).copied().unwrap_or(0).max(1);
        (u128::from(place.stored_len) * u128::from(place.raw_len) / u128::from(whole)) as u64
    }
}

fn objects(repository: &Repository) -> Result<Vec<Objects>> {
    let kinds = Folder::ALL.map(Folder::name).into_iter().chain(["config", "trash"]);
    let mut out: BTreeMap<&str, Objects> = kinds.map(|kind| (kind, Objects { kind, count: 0, bytes: 0 })).collect();
    let mut other = Objects { kind: "other", count: 0, bytes: 0 };
    for listed in repository.storage().list("")? {
        let folder = listed.key.as_str().split('/').next().unwrap_or_default();
        let objects = out.get_mut(folder).unwrap_or(&mut other);
        objects.count += 1;
        objects.bytes += listed.size;
    }
    Ok(out.into_values().chain([other]).filter(|objects| objects.count > 0).collect())
}

/// What removing each snapshot alone would free.
#[derive(Clone, Debug, Default)]
pub struct Removal {
    /// Stored bytes, estimated: of each frame the part that belongs, before compression, to chunks which no other
    /// snapshot needs; and the snapshot's own object.
    pub freed: HashMap<ObjectId, u64>,
    /// Snapshots and parts of them that could not be read: what they need was not counted as needed.
    pub gaps: u64,
}

/// Estimates what removing each snapshot would free, by reading the trees of all of them; what several have in common
/// is read twice at most.
pub fn removal(reader: &ChunkReader<'_>, listing: &Listing, job: Job<'_>) -> Result<Removal> {
    let groups = |number: usize, _: &SnapshotInfo| number as u32;
    let marks = mark_all(reader, listing, listing.snapshots.len(), &groups, job)?;
    let own = |info: &SnapshotInfo| reader.repository().storage().size(&Folder::Snapshots.key(&info.id)).unwrap_or(0);
    let freed = listing.snapshots.iter().zip(&marks.freed).map(|(info, bytes)| (info.id, bytes + own(info)));
    Ok(Removal { freed: freed.collect(), gaps: marks.gaps })
}

/// Estimates what removing these snapshots together would free, in the same way; bytes, and gaps as in [`Removal`].
pub fn removal_of(
    reader: &ChunkReader<'_>,
    listing: &Listing,
    removed: &HashSet<ObjectId>,
    job: Job<'_>,
) -> Result<(u64, u64)> {
    let group = |_: usize, info: &SnapshotInfo| if removed.contains(&info.id) { 0 } else { SHARED };
    let marks = mark_all(reader, listing, 1, &group, job)?;
    let own = |id| reader.repository().storage().size(&Folder::Snapshots.key(id)).unwrap_or(0);
    Ok((marks.freed.iter().sum::<u64>() + removed.iter().map(own).sum::<u64>(), marks.gaps))
}

/// About how much [`removal`] has to read: entries and chunks that were new in some snapshot, as its run counted them.
pub fn removal_work(listing: &Listing) -> u64 {
    let of = |info: &SnapshotInfo| {
        let s = &info.summary.statistics;
        [1, s.files_new, s.files_changed, s.bytes_new >> 16].into_iter().fold(0, u64::saturating_add)
    };
    listing.snapshots.iter().map(of).fold(0, u64::saturating_add)
}

/// Marks what each snapshot needs with the number of its group.
fn mark_all<'a>(
    reader: &'a ChunkReader<'a>,
    listing: &Listing,
    groups: usize,
    group: &dyn Fn(usize, &SnapshotInfo) -> u32,
    job: Job<'a>,
) -> Result<Marks<'a>> {
    let mut marks = Marks::new(reader, job, groups);
    listing.damaged.iter().for_each(|(_, error)| marks.gap(error));
    for (number, info) in listing.snapshots.iter().enumerate() {
        marks.group = group(number, info);
        match reader.repository().snapshot_of(info) {
            Ok(snapshot) => {
                for source in &snapshot.body.sources {
                    let mut reach = Reach { reader, cancel: job.cancel, visitor: &mut marks };
                    reach.tree(source.root.level, &source.root.id)?;
                }
            }
            Err(e) => marks.gap(&e),
        }
        job.advance(1, 0);
    }
    Ok(marks)
}

/// In the place of a number: a snapshot that stays, or more than one group, needs the chunk.
const SHARED: u32 = u32::MAX;

/// Which group of snapshots needs a chunk, as far as the trees have been read.
struct Marks<'a> {
    reader: &'a ChunkReader<'a>,
    job: Job<'a>,
    /// Whose tree is read: the number of a group, or [`SHARED`].
    group: u32,
    owners: HashMap<ChunkPrefix, u32>,
    frames: Frames,
    freed: Vec<u64>,
    gaps: u64,
}

impl<'a> Marks<'a> {
    fn new(reader: &'a ChunkReader<'a>, job: Job<'a>, groups: usize) -> Self {
        let frames = Frames::new(reader.catalogue());
        Self { reader, job, group: SHARED, owners: HashMap::new(), frames, freed: vec![0; groups], gaps: 0 }
    }

    /// Notes that this group needs a chunk, and what it is stored as a difference to; whether what the chunk names must be
    /// looked at: not if this group, or two others, have been there.
    fn mark(&mut self, id: &ChunkPrefix) -> bool {
        let owner = self.owners.get(id).copied();
        if owner == Some(self.group) || owner == Some(SHARED) {
            return false;
        }
        let catalogue = self.reader.catalogue();
        let place = catalogue.copies(id).next();
        let bytes = place.map_or(0, |place| self.frames.share(&place));
        if let Some(freed) = self.freed.get_mut(owner.unwrap_or(self.group) as usize) {
            *freed = if owner.is_none() { *freed + bytes } else { *freed - bytes };
        }
        self.owners.insert(*id, if owner.is_none() { self.group } else { SHARED });
        let bases = place.map_or_else(Bases::new, |place| catalogue.bases(id, &place));
        bases.iter().for_each(|base| _ = self.mark(base));
        true
    }
}

impl Visitor for Marks<'_> {
    fn visit(&mut self, id: &ChunkId) -> bool {
        self.mark(&id.prefix())
    }

    fn gap(&mut self, error: &Error) {
        self.job.warn(&error.to_string());
        self.gaps += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Store, noise};
    use super::*;

    fn freed(store: &Store) -> (Vec<u64>, u64) {
        let listing = store.repository.snapshots().unwrap();
        let removal = store.with_reader(|reader, _| removal(reader, &listing, store.job())).unwrap();
        (listing.snapshots.iter().map(|info| removal.freed[&info.id]).collect(), removal.gaps)
    }

    #[test]
    fn sums_are_those_of_what_is_there() {
        let store = Store::new();
        store.file("a", &noise(100_000));
        store.file("b", &noise(100_000));
        store.backup();
        store.file("c", b"abc");
        store.backup();
        let catalogue = Catalogue::load(&store.repository, store.job()).unwrap();
        let stats = stats(&store.repository, &catalogue, &store.repository.snapshots().unwrap()).unwrap();
        assert_eq!((stats.snapshots, stats.raw_bytes), (2, 400_003));
        assert!(stats.unique_bytes > 100_003 && stats.unique_bytes < 110_000, "{}", stats.unique_bytes);
        let count = |kind| stats.objects.iter().find(|objects| objects.kind == kind).map_or(0, |o| o.count);
        assert_eq!([count("snapshots"), count("config"), count("keys"), count("tombs")], [2, 2, 2, 0]);
        assert_eq!(stats.stored_bytes, stats.objects.iter().map(|o| o.bytes).sum::<u64>());
    }

    #[test]
    fn only_what_nobody_else_needs_is_freed() {
        let store = Store::new();
        let random = noise(9_000_000);
        store.file("shared", &random[..3_000_000]);
        store.file("own", &random[3_000_000..4_000_000]);
        store.backup();
        store.file("own", &random[4_000_000..9_000_000]);
        store.backup();
        let (both, gaps) = freed(&store);
        assert!(both[0] > 990_000 && both[0] < 1_020_000 && both[1] > 4_990_000 && both[1] < 5_030_000, "{both:?}");
        // Both together free what they have in common as well.
        let listing = store.repository.snapshots().unwrap();
        let together = |n: usize| {
            let removed = listing.snapshots[..n].iter().map(|info| info.id).collect();
            store.with_reader(|reader, _| removal_of(reader, &listing, &removed, store.job())).unwrap().0
        };
        assert_eq!(together(1), both[0]);
        assert!(together(2) > both[0] + both[1] + 2_990_000, "{}", together(2));
        // A third snapshot, as the second: now only the first has anything of its own.
        store.backup();
        let (all, _) = freed(&store);
        assert!(all[0] == both[0] && all[1] < 10_000 && all[2] < 10_000 && gaps == 0, "{all:?}");
    }

    #[test]
    fn a_snapshot_alone_frees_all_of_its_chunks() {
        let store = Store::new();
        store.file("a", &noise(3 << 20));
        store.backup();
        let (alone, _) = freed(&store);
        assert!(alone[0] > 3 << 20 && alone[0] < (3 << 20) + 10_000, "{alone:?}");
    }
}
