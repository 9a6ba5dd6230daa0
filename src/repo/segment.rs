//! The index on disk: a few immutable redb files, each holding what some index objects say, behind a filter.
//!
//! A chunk that is not there costs a look at each filter (binary fuse, Graf and Lemire 2022: 9 bits a chunk, one false
//! hit in 256) and nothing else. Segments are made from index objects that none covers yet; when there are many, the
//! small ones are made anew as one.

use std::path::PathBuf;

use redb::{ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, TableDefinition};
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter, FilterRef};

use super::Repository;
use super::cache::{self, Draft};
use super::catalogue::{PackInfo, Place};
use crate::crypto::ChunkKind;
use crate::id::{ChunkPrefix, ObjectId};
use crate::index::PackEntry;
use crate::pack::{Bases, Delta};
use crate::wire::Reader;

pub(super) const FOLDER: &str = "index";
const WHAT: &str = "segment";
/// Chunk prefix and number of the copy → pack number and place, and the prefixes of its bases.
const CHUNKS: TableDefinition<'_, (&[u8; 16], u16), &[u8]> = TableDefinition::new("chunks");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// More segments than this are merged.
pub(super) const SEGMENTS_MAX: usize = 8;

/// An open segment. Its packs have numbers of their own, from 0.
pub(super) struct Segment {
    table: ReadOnlyTable<(&'static [u8; 16], u16), &'static [u8]>,
    filter: StoredFilter,
    /// The index objects whose content it holds.
    pub covers: Vec<ObjectId>,
    /// Packs, by their numbers.
    pub packs: Vec<PackInfo>,
    /// Number of chunks.
    pub chunks: u64,
    pub path: PathBuf,
    _database: ReadOnlyDatabase,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({} chunks of {} packs)", self.chunks, self.packs.len())
    }
}

fn key(prefix: &ChunkPrefix) -> u64 {
    let b = prefix.as_bytes();
    u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
}

fn put_place(place: &Place, bases: &[ChunkPrefix], out: &mut Vec<u8>) {
    out.clear();
    for number in [place.pack, place.frame, place.offset, place.stored_len, place.nth, place.raw_len] {
        out.extend(number.to_le_bytes());
    }
    out.extend([place.kind as u8, place.rank]);
    bases.iter().for_each(|base| out.extend_from_slice(base.as_bytes()));
}

fn take_place(bytes: &[u8]) -> Option<(Place, Bases)> {
    let mut r = Reader::new(bytes, "cached place");
    let mut number = || r.u32().ok();
    let (pack, frame, offset) = (number()?, number()?, number()?);
    let (stored_len, nth, raw_len) = (number()?, number()?, number()?);
    let (kind, rank) = (ChunkKind::from_u8(r.u8().ok()?)?, r.u8().ok()?);
    let bases = r.bytes(r.remaining()).ok()?.as_chunks::<16>().0.iter().map(|id| ChunkPrefix::new(*id)).collect();
    Some((Place { pack, frame, offset, stored_len, nth, raw_len, kind, rank }, bases))
}

impl Segment {
    /// Opens every segment that can be used; others are removed.
    pub fn open_all(repository: &Repository) -> Vec<Self> {
        let open = |path: PathBuf| {
            let segment = Self::open(repository, &path);
            if segment.is_none() {
                cache::remove(&path);
            }
            segment
        };
        cache::published(repository, FOLDER, WHAT).into_iter().filter_map(open).collect()
    }

    fn open(repository: &Repository, path: &std::path::Path) -> Option<Self> {
        let database = cache::open(repository, path)?;
        let transaction = database.begin_read().ok()?;
        let meta = transaction.open_table(META).ok()?;
        let get = |name: &str| Some(meta.get(name).ok()??.value().to_vec());
        let covers = get("covers")?.as_chunks::<32>().0.iter().map(|id| ObjectId::new(*id)).collect();
        let packs = get("packs")?.as_chunks::<40>().0.iter().map(parse_pack).collect::<Option<_>>()?;
        let filter = StoredFilter::parse(&get("filter")?)?;
        let chunks = Reader::new(&get("chunks")?, WHAT).u64().ok()?;
        let table = transaction.open_table(CHUNKS).ok()?;
        Some(Self { table, filter, covers, packs, chunks, path: path.to_owned(), _database: database })
    }

    /// Makes a segment of what these index objects say.
    pub fn build(repository: &Repository, covers: &[ObjectId], packs: &[PackEntry]) -> Option<Self> {
        let mut places = Vec::new();
        for (number, pack) in packs.iter().enumerate() {
            places.extend(super::catalogue::places_of(&pack.table, number as u32));
        }
        places.sort_unstable_by_key(|(prefix, place, _)| (*prefix, place.rank, place.pack, place.frame, place.nth));
        let draft = Draft::create(repository, FOLDER)?;
        let path = fill(draft.database()?, covers, packs, &places).and_then(|()| draft.publish(WHAT));
        if path.is_none() {
            repository.cache_trouble().note(&cache::folder(repository, FOLDER)?, cache::NOT_WRITTEN);
        }
        Self::open(repository, &path?)
    }

    /// The copies of a chunk, with the segment's own pack numbers, and with what they need; those stored whole first.
    pub fn copies(&self, prefix: &ChunkPrefix) -> Vec<(Place, Bases)> {
        if !self.filter.may_contain(&key(prefix)) {
            return Vec::new();
        }
        let bytes = prefix.as_bytes();
        let Ok(range) = self.table.range((bytes, 0)..=(bytes, u16::MAX)) else { return Vec::new() };
        range.flatten().filter_map(|(_, value)| take_place(value.value())).collect()
    }
}

fn fill(
    database: &redb::Database,
    covers: &[ObjectId],
    packs: &[PackEntry],
    places: &[(ChunkPrefix, Place, &Delta)],
) -> Option<()> {
    let transaction = database.begin_write().ok()?;
    {
        let mut table = transaction.open_table(CHUNKS).ok()?;
        let (mut copy, mut value) = (0u16, Vec::new());
        for (n, (prefix, place, delta)) in places.iter().enumerate() {
            copy = if n > 0 && places[n - 1].0 == *prefix { copy.saturating_add(1) } else { 0 };
            put_place(place, &delta.bases, &mut value);
            table.insert((prefix.as_bytes(), copy), &value[..]).ok()?;
        }
        let mut keys: Vec<u64> = places.iter().map(|(prefix, ..)| key(prefix)).collect();
        keys.sort_unstable();
        keys.dedup();
        let filter = BinaryFuse8::try_from(&keys).ok()?;
        let mut meta = transaction.open_table(META).ok()?;
        let covers: Vec<u8> = covers.iter().flat_map(|id| *id.as_bytes()).collect();
        let packs: Vec<u8> =
            packs.iter().flat_map(|pack| [&pack.id.as_bytes()[..], &pack.size.to_le_bytes()].concat()).collect();
        meta.insert("covers", &covers[..]).ok()?;
        meta.insert("packs", &packs[..]).ok()?;
        meta.insert("filter", &StoredFilter::encode(&filter)[..]).ok()?;
        meta.insert("chunks", &(places.len() as u64).to_le_bytes()[..]).ok()?;
    }
    transaction.commit().ok()
}

fn parse_pack(bytes: &[u8; 40]) -> Option<PackInfo> {
    let mut r = Reader::new(bytes, "cached pack");
    Some(PackInfo { id: ObjectId::new(r.array().ok()?), size: r.u64().ok()? })
}

/// A filter as it lies in the file.
struct StoredFilter(Vec<u8>);

impl StoredFilter {
    const HEAD: usize = BinaryFuse8::DESCRIPTOR_LEN;

    fn encode(filter: &BinaryFuse8) -> Vec<u8> {
        let mut out = vec![0; Self::HEAD];
        filter.dma_copy_descriptor_to(&mut out);
        out.extend_from_slice(filter.dma_fingerprints());
        out
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= Self::HEAD).then(|| Self(bytes.to_vec()))
    }

    fn may_contain(&self, key: &u64) -> bool {
        let (head, fingerprints) = self.0.split_at(Self::HEAD);
        BinaryFuse8Ref::from_dma(head, fingerprints).contains(key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::System;
    use crate::pack::{ChunkInfo, FrameInfo, Table};
    use crate::record::SessionRecord;
    use crate::repo::{Catalogue, ChunkReader, ChunkWriter, KeySource, Session};
    use crate::storage::memory::MemoryStorage;
    use crate::storage::wrap::record::{Operation, RecordStorage};

    fn pack(number: u8, chunks: u32) -> PackEntry {
        let id = |n: u32| {
            let mut bytes = [number; 16];
            bytes[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_le_bytes());
            ChunkPrefix::new(bytes)
        };
        let bases = |n: u32| -> Bases { (0..n % 3).map(|m| id(n + m)).collect() };
        let delta = |n: u32| Delta { rank: (n % 3) as u8, bases: bases(n) };
        let chunks = (0..chunks).map(|n| ChunkInfo { id: id(n), raw_len: n, delta: delta(n) }).collect();
        let frame = FrameInfo { kind: ChunkKind::Data, offset: 179, stored_len: 500, chunks };
        PackEntry { id: ObjectId::new([number; 32]), size: 4096, table: Table { frames: vec![frame] } }
    }

    #[test]
    fn a_segment_answers_as_the_packs_do() {
        let cache = tempfile::tempdir().unwrap();
        let storage = Arc::new(MemoryStorage::new());
        let key = [7; 32];
        let repository =
            Repository::create(storage, Arc::new(System::default()), KeySource::KeyFile(&key), "t").unwrap();
        let repository = repository.with_cache(cache.path());
        // The third pack holds copies of the first one's chunks.
        let mut packs = vec![pack(1, 5000), pack(2, 7), pack(1, 10)];
        packs[2].id = ObjectId::new([3; 32]);
        let covers = [ObjectId::new([9; 32])];
        let built = Segment::build(&repository, &covers, &packs).unwrap();
        let [opened] = &Segment::open_all(&repository)[..] else { panic!() };
        for segment in [&built, opened] {
            assert_eq!((segment.chunks, segment.covers.as_slice()), (5017, &covers[..]));
            for (n, pack) in packs.iter().enumerate() {
                for (prefix, place, delta) in crate::repo::catalogue::places_of(&pack.table, n as u32) {
                    assert!(segment.copies(&prefix).contains(&(place, delta.bases.clone())));
                }
            }
            assert_eq!(segment.copies(&packs[0].table.frames[0].chunks[3].id).len(), 2);
            assert!(segment.copies(&ChunkPrefix::new([8; 16])).is_empty());
        }
    }

    #[test]
    fn many_runs_read_each_index_object_a_few_times() {
        const RUNS: u32 = 150;
        let cache = tempfile::tempdir().unwrap();
        let storage = Arc::new(RecordStorage::new(Arc::new(MemoryStorage::new())));
        let key = KeySource::KeyFile(&[7; 32]);
        let repository = Repository::create(storage.clone(), Arc::new(System::default()), key, "t").unwrap();
        let repository = repository.with_cache(cache.path());
        let cancel = crate::event::Cancel::new();
        let job = crate::event::Job { progress: &crate::event::Silent, cancel: &cancel };
        for n in 0..RUNS {
            let session = Session::begin(&repository, &SessionRecord::default()).unwrap();
            let catalogue = Catalogue::open(&repository, job).unwrap();
            assert!(cache::published(&repository, FOLDER, WHAT).len() <= SEGMENTS_MAX);
            let reader = ChunkReader::new(&repository, &catalogue);
            let writer = ChunkWriter::new(&session, &reader, 1);
            let mut frames = writer.frames().unwrap();
            // The first run finds much, the others little.
            (0..if n == 0 { 200 } else { 2 })
                .for_each(|m| _ = frames.store_data(&[n, m].map(u32::to_le_bytes).concat()));
            frames.flush().unwrap();
            drop(frames);
            writer.finish().unwrap();
        }
        let reads = storage.count(Operation::Get, "index/");
        assert!(reads < 5 * RUNS as usize, "{reads} reads");
    }

    #[test]
    fn a_damaged_segment_is_as_good_as_none() {
        let cache = tempfile::tempdir().unwrap();
        let storage = Arc::new(MemoryStorage::new());
        let key = [7; 32];
        let repository =
            Repository::create(storage, Arc::new(System::default()), KeySource::KeyFile(&key), "t").unwrap();
        let repository = repository.with_cache(cache.path());
        let spoils: [fn(&mut Vec<u8>); 3] = [|b| b[5000] ^= 1, |b| b.truncate(100), |b| b.clear()];
        for spoil in spoils {
            let path = Segment::build(&repository, &[], &[pack(1, 500)]).unwrap().path;
            let mut bytes = std::fs::read(&path).unwrap();
            spoil(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
            assert!(Segment::open_all(&repository).is_empty());
            assert!(!path.exists());
        }
    }
}
