//! The chunks that a run was told to store, exactly, in about two bytes of memory each.
//!
//! Recent ones are in memory. When they are many they become a *run*: sorted, in a file without a name, behind a filter.
//! A chunk that nobody claimed costs a look at each filter; what a filter lets through is looked for in the file, since
//! a prefix that looks claimed is never stored. Where there is no file, or no room in it, a run stays in memory.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use foldhash::fast::RandomState;
use xorf::{BinaryFuse8, Filter};

use super::segment::FOLDER;
use super::{Repository, cache};
use crate::error::{Error, Kind, Result};
use crate::id::ChunkPrefix;

type Prefix = [u8; ChunkPrefix::LEN];

/// Claims lie in so many shards, by their first bits, so that many workers rarely wait for each other.
const SHARDS: usize = 16;
/// Prefixes of a shard's first runs: as many as a hash set holds before it doubles.
const RUN_PREFIXES: usize = 896;
/// So many runs of a shard are of a length before they become twice as long.
const RUNS_ALIKE: usize = 16;
/// Prefixes that are read from the file at a time: a page.
const BLOCK_PREFIXES: usize = 256;

/// The claims of all workers.
pub(super) struct Claims<'r> {
    shards: [Mutex<Shard>; SHARDS],
    file: LazyFile<'r>,
}

#[derive(Default)]
struct Shard {
    recent: HashSet<Prefix, RandomState>,
    runs: Vec<Run>,
}

struct Run {
    filter: BinaryFuse8,
    sorted: Sorted,
}

/// The prefixes of a run, ascending.
enum Sorted {
    Memory(Vec<Prefix>),
    /// Where they begin in the file, how many they are, and the first ones of their blocks.
    File {
        offset: u64,
        count: usize,
        firsts: Vec<Prefix>,
    },
}

/// One run behind the other.
struct RunFile {
    file: File,
    /// Bytes.
    end: AtomicU64,
}

/// Made for the first run: most backups have none.
struct LazyFile<'r> {
    repository: &'r Repository,
    file: OnceLock<Option<RunFile>>,
}

impl<'r> Claims<'r> {
    /// No claims yet. Nothing of them is left when this is dropped, or the process ends.
    pub fn new(repository: &'r Repository) -> Self {
        Self { shards: Default::default(), file: LazyFile { repository, file: OnceLock::new() } }
    }

    /// Whether this is the first claim of a chunk. Of one that can no longer be looked up, too: it is stored again.
    pub fn insert(&self, prefix: &ChunkPrefix) -> Result<bool> {
        let prefix = *prefix.as_bytes();
        let shard = self.shards[usize::from(prefix[0]) * SHARDS / 256].lock();
        let mut shard = shard.map_err(|_| Error::new(Kind::Failed, "another thread of this run failed"))?;
        Ok(shard.insert(prefix, &self.file))
    }
}

impl Shard {
    fn insert(&mut self, prefix: Prefix, file: &LazyFile<'_>) -> bool {
        let is_in = |run: &Run| run.filter.contains(&key(&prefix)) && run.sorted.contains(&prefix, file);
        if self.recent.contains(&prefix) || self.runs.iter().any(is_in) {
            return false;
        }
        self.recent.insert(prefix);
        if self.recent.len() >= RUN_PREFIXES << (self.runs.len() / RUNS_ALIKE) {
            self.end_run(file);
        }
        true
    }

    /// Makes the recent claims a run.
    fn end_run(&mut self, file: &LazyFile<'_>) {
        let mut sorted: Vec<Prefix> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let mut keys: Vec<u64> = sorted.iter().map(key).collect();
        keys.dedup();
        // If no filter comes of them, which takes more bad luck than anybody has, they stay recent.
        let Ok(filter) = BinaryFuse8::try_from(&keys) else { return };
        self.recent.clear();
        self.runs.push(Run { filter, sorted: Sorted::new(sorted, file) });
    }
}

fn key(prefix: &Prefix) -> u64 {
    prefix[..8].iter().fold(0, |key, byte| key << 8 | u64::from(*byte))
}

impl LazyFile<'_> {
    fn get(&self) -> Option<&RunFile> {
        let make = || cache::scratch_file(self.repository, FOLDER).map(RunFile::new);
        self.file.get_or_init(make).as_ref()
    }
}

impl RunFile {
    fn new(file: File) -> Self {
        Self { file, end: AtomicU64::new(0) }
    }

    /// Where these were written.
    fn append(&self, sorted: &[Prefix]) -> std::io::Result<u64> {
        let bytes = sorted.as_flattened();
        let offset = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(bytes, offset).map(|()| offset)
    }
}

impl Sorted {
    fn new(sorted: Vec<Prefix>, file: &LazyFile<'_>) -> Self {
        match file.get().map(|file| file.append(&sorted)) {
            Some(Ok(offset)) => {
                let firsts = sorted.iter().step_by(BLOCK_PREFIXES).copied().collect();
                Self::File { offset, count: sorted.len(), firsts }
            }
            _ => Self::Memory(sorted),
        }
    }

    fn contains(&self, prefix: &Prefix, file: &LazyFile<'_>) -> bool {
        match self {
            Self::Memory(sorted) => sorted.binary_search(prefix).is_ok(),
            Self::File { offset, count, firsts } => {
                let Some(block) = firsts.partition_point(|first| first <= prefix).checked_sub(1) else { return false };
                let start = block * BLOCK_PREFIXES;
                let mut room = [Prefix::default(); BLOCK_PREFIXES];
                let block = &mut room[..BLOCK_PREFIXES.min(count - start)];
                let at = offset + (start * size_of::<Prefix>()) as u64;
                let read = file.get().map(|file| file.file.read_exact_at(block.as_flattened_mut(), at));
                matches!(read, Some(Ok(()))) && block.binary_search(prefix).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::System;
    use crate::repo::KeySource;
    use crate::storage::memory::MemoryStorage;

    /// Many runs.
    const MANY: u32 = 60_000;

    fn repository() -> Repository {
        let key = KeySource::KeyFile(&[7; 32]);
        Repository::create(Arc::new(MemoryStorage::new()), Arc::new(System::default()), key, "t").unwrap()
    }

    /// With this file for its runs.
    fn claims(repository: &Repository, file: Option<File>) -> Claims<'_> {
        let claims = Claims::new(repository);
        assert!(claims.file.file.set(file.map(RunFile::new)).is_ok());
        claims
    }

    fn file() -> Option<File> {
        Some(tempfile::tempfile().unwrap())
    }

    fn prefix(number: u32) -> ChunkPrefix {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
        ChunkPrefix::new(bytes)
    }

    /// All in one shard, and with one key for its filters.
    fn alike(number: u32) -> ChunkPrefix {
        let mut bytes = [7; 16];
        bytes[12..].copy_from_slice(&number.to_be_bytes());
        ChunkPrefix::new(bytes)
    }

    /// How many of these are told to be the first.
    fn first(claims: &Claims<'_>, all: impl IntoIterator<Item = ChunkPrefix>) -> usize {
        all.into_iter().filter(|prefix| claims.insert(prefix).unwrap()).count()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn claims_are_a_set(numbers in prop::collection::vec(0u32..5000, 0..9000), with_file: bool) {
            let repository = repository();
            let claims = claims(&repository, if with_file { file() } else { None });
            let mut oracle = HashSet::new();
            for number in numbers {
                prop_assert_eq!(claims.insert(&alike(number)).unwrap(), oracle.insert(number));
            }
        }
    }

    #[test]
    fn runs_of_all_lengths_are_looked_through() {
        let repository = repository();
        for claims in [file(), None].map(|file| claims(&repository, file)) {
            assert_eq!(first(&claims, (0..MANY).map(prefix)), MANY as usize);
            assert_eq!(first(&claims, (0..MANY).map(alike)), MANY as usize);
            assert_eq!(first(&claims, (0..MANY).flat_map(|n| [prefix(n), alike(n)])), 0);
            let longest = claims.shards.iter().map(|shard| shard.lock().unwrap().runs.len()).max();
            assert!(longest > Some(2 * RUNS_ALIKE), "{longest:?}");
        }
    }

    #[test]
    fn what_cannot_be_written_stays_in_memory() {
        let repository = repository();
        let claims = claims(&repository, File::open("/dev/null").ok());
        assert_eq!(first(&claims, (0..5000).map(alike)), 5000);
        assert_eq!(first(&claims, (0..5000).map(alike)), 0);
    }

    #[test]
    fn what_cannot_be_read_is_stored_again() {
        let (repository, file) = (repository(), file().unwrap());
        let claims = claims(&repository, file.try_clone().ok());
        let run = RUN_PREFIXES as u32;
        assert_eq!(first(&claims, (0..run + 10).map(alike)), RUN_PREFIXES + 10);
        file.set_len(0).unwrap();
        assert_eq!(first(&claims, (0..run + 10).map(alike)), RUN_PREFIXES);
    }

    #[test]
    fn the_file_has_no_name_and_none_is_made_for_few() {
        let cache = tempfile::tempdir().unwrap();
        let repository = repository().with_cache(cache.path());
        let claims = Claims::new(&repository);
        let entries = || std::fs::read_dir(repository.cache().unwrap().join(FOLDER)).map(Iterator::count).ok();
        assert_eq!(first(&claims, (1..RUN_PREFIXES as u32).map(alike)), RUN_PREFIXES - 1);
        assert_eq!(entries(), None);
        assert_eq!(first(&claims, (0..5000).map(alike)), 5000 - (RUN_PREFIXES - 1));
        assert_eq!((claims.file.get().is_some(), entries()), (true, Some(0)));
    }

    #[test]
    fn two_workers_are_never_both_told_to_store_a_chunk() {
        let repository = repository();
        let claims = claims(&repository, file());
        let work = || first(&claims, (0..MANY).map(prefix));
        let told: usize =
            std::thread::scope(|scope| [scope.spawn(work), scope.spawn(work)].map(|worker| worker.join().unwrap()))
                .iter()
                .sum();
        assert_eq!(told, MANY as usize);
    }
}
