//! Where every chunk lies, as the index objects and the packs themselves say.
//!
//! What counts as present: a copy in a pack that is listed and that no damage record names; for writers also one that
//! no tomb condemns. Readers try what a damage record names, too, but last: the record may be of a bad hour of the
//! machine, and every chunk is compared with its id anyway. On local storage the packs are listed too, so that packs which no index names (their writer died) are used, and packs that
//! are gone are not counted on.

use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::RandomState;
use rayon::prelude::*;

use super::segment::{SEGMENTS_MAX, Segment};
use super::{Folder, Repository, malformed, read_table};
use crate::crypto::{Audience, ChunkKind};
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::{ChunkId, ChunkPrefix, ObjectId};
use crate::index::{Index, PackEntry};
use crate::pack::{Bases, ChunkInfo, Delta, FrameInfo, Table};
use crate::record::{BadFrame, Damage};

/// How often the catalogue is read while prunes replace parts of it.
const TRIES: usize = 5;

/// Where one copy of a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the pack in the catalogue.
    pub pack: u32,
    /// Ordinal of the frame.
    pub frame: u32,
    /// Where the frame begins in the pack, bytes.
    pub offset: u32,
    /// Stored length of the frame, bytes.
    pub stored_len: u32,
    /// The chunk's place in the frame.
    pub nth: u32,
    /// Length of its plaintext, bytes.
    pub raw_len: u32,
    /// What it holds.
    pub kind: ChunkKind,
    /// 0: it is stored whole. Else it takes others to read it, of lower rank: see [`Catalogue::bases`].
    pub rank: u8,
}

/// A pack in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackInfo {
    /// Its name.
    pub id: ObjectId,
    /// Its stored length, bytes.
    pub size: u64,
}

/// All chunks of a repository.
#[derive(Debug, Default)]
pub struct Catalogue {
    packs: Vec<PackInfo>,
    first: HashMap<ChunkPrefix, Place, RandomState>,
    /// Further copies of chunks that have more than one.
    more: HashMap<ChunkPrefix, Vec<Place>, RandomState>,
    /// Copies that a damage record names.
    doubtful: HashMap<ChunkPrefix, Vec<Place>>,
    /// The copies that are stored as deltas, by pack, frame and place in the frame, ascending, and where what they need
    /// begins among `bases`.
    deltas: Vec<((u32, u32, u32), usize)>,
    bases: Vec<ChunkPrefix>,
    /// Packs that were there, but that no index object named.
    orphans: Vec<PackEntry>,
    /// Packs that an index object names, but that are gone.
    missing: HashSet<ObjectId>,
    /// Index objects, damage records and packs that could not be read.
    unreadable: Vec<Unreadable>,
    tombs: Vec<ObjectId>,
    tombed: HashSet<ObjectId>,
    damage: Vec<BadFrame>,
    segments: Vec<Cached>,
}

/// An object that could not be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Where it lies.
    pub folder: Folder,
    /// Its name.
    pub id: ObjectId,
    /// Why.
    pub error: Error,
}

/// A segment of the index cache, and where its packs' numbers begin here.
#[derive(Debug)]
struct Cached {
    segment: Segment,
    base: u32,
}

/// What some index objects say, in order.
type Said = Vec<(ObjectId, Index)>;

impl Repository {
    /// Reads a damage record.
    pub fn damage(&self, id: &ObjectId) -> Result<Damage> {
        let [bytes] = self.read(Folder::Damage, id, [Audience::Index])?;
        Damage::parse(&bytes).map_err(|e| malformed(&format!("damage record {}", id.short()), &e))
    }
}

/// What helps against a damage record that cannot be read.
pub fn without_damage_record(id: &ObjectId) -> String {
    let key = Folder::Damage.key(id);
    format!(
        "no backup goes on while it is there: delete {} in the repository; then `larder check --data all` finds out again \
         what it told",
        key.as_str()
    )
}

impl Catalogue {
    /// Reads all that there is into memory: for those who look at most of it.
    pub fn load(repository: &Repository, job: Job<'_>) -> Result<Self> {
        Self::read(repository, job, false, false)
    }

    /// The same, from the index cache as far as it goes, for those who look things up. Its answers are the same.
    pub fn open(repository: &Repository, job: Job<'_>) -> Result<Self> {
        Self::read(repository, job, true, false)
    }

    /// The same, for those who will rely on what is there instead of storing it: a tomb or damage record that cannot
    /// be read is an error then, since it may speak of just that.
    pub fn open_to_write(repository: &Repository, job: Job<'_>) -> Result<Self> {
        Self::read(repository, job, true, true)
    }

    /// The same as [`Self::load`] has it: of every copy.
    pub fn load_to_write(repository: &Repository, job: Job<'_>) -> Result<Self> {
        Self::read(repository, job, false, true)
    }

    /// Index objects that a prune replaces while they are read are looked for anew, since what names their packs now came
    /// later.
    fn read(repository: &Repository, job: Job<'_>, with_cache: bool, to_write: bool) -> Result<Self> {
        for _ in 1..TRIES {
            let new = Self::try_read(repository, job, with_cache, to_write)?;
            let is_gone = |it: &Unreadable| it.folder == Folder::Index && it.error.kind() == Kind::Missing;
            if !new.unreadable.iter().any(is_gone) {
                return Ok(new);
            }
        }
        Self::try_read(repository, job, with_cache, to_write)
    }

    /// Tombs are listed before packs: see [`super::Session`].
    fn try_read(repository: &Repository, job: Job<'_>, with_cache: bool, to_write: bool) -> Result<Self> {
        let with_cache = with_cache && repository.cache().is_some();
        let mut new = Self::default();
        if to_write {
            new.read_tombs(repository)?;
        }
        new.read_damage(repository, to_write)?;
        let objects = repository.list(Folder::Index)?;
        let segments = if with_cache { usable_segments(repository, &objects) } else { Vec::new() };
        let (segments, said) = new.read_index(repository, &objects, segments, job)?;
        let remote = repository.storage().capabilities().remote;
        // An index object may name packs long gone: who writes must know.
        let listed: Option<HashSet<ObjectId>> = match remote && !to_write && !objects.is_empty() {
            true => None,
            false => Some(repository.list(Folder::Packs)?.into_iter().collect()),
        };
        let mut known = HashSet::new();
        let gone = |id: &ObjectId| listed.as_ref().is_some_and(|listed| !listed.contains(id));
        for segment in segments {
            new.add_segment(segment, &mut known, &gone);
        }
        let covers: Vec<ObjectId> = said.iter().map(|(id, _)| *id).collect();
        let packs: Vec<PackEntry> = said.into_iter().flat_map(|(_, index)| index.packs).collect();
        let is_news = with_cache && !covers.is_empty();
        match is_news.then(|| Segment::build(repository, &covers, &packs)).flatten() {
            Some(segment) => new.add_segment(segment, &mut known, &gone),
            None => new.add_packs(packs, &mut known, &gone),
        }
        let orphans: Vec<ObjectId> = listed.iter().flatten().filter(|id| !known.contains(*id)).copied().collect();
        new.adopt(repository, orphans, job)?;
        Ok(new)
    }

    /// Only writers leave condemned packs aside: until they are gone, readers may need them.
    fn read_tombs(&mut self, repository: &Repository) -> Result<()> {
        for (id, tomb) in repository.tombs()? {
            self.tombed.extend(tomb.packs);
            self.tombs.push(id);
        }
        Ok(())
    }

    fn read_damage(&mut self, repository: &Repository, to_write: bool) -> Result<()> {
        for id in repository.list(Folder::Damage)? {
            match repository.damage(&id) {
                Ok(damage) => self.damage.extend(damage.frames),
                Err(e) if to_write && e.kind() == Kind::Damage => return Err(e.fix(without_damage_record(&id))),
                Err(e) if to_write || e.kind().is_about_who_asks() => return Err(e),
                Err(error) => self.unreadable.push(Unreadable { folder: Folder::Damage, id, error }),
            }
        }
        Ok(())
    }

    fn add_segment(&mut self, segment: Segment, known: &mut HashSet<ObjectId>, gone: &dyn Fn(&ObjectId) -> bool) {
        let base = self.packs.len() as u32;
        for pack in &segment.packs {
            if known.insert(pack.id) && gone(&pack.id) {
                self.missing.insert(pack.id);
            }
            self.packs.push(*pack);
        }
        self.segments.push(Cached { segment, base });
    }

    fn add_packs(&mut self, packs: Vec<PackEntry>, known: &mut HashSet<ObjectId>, gone: &dyn Fn(&ObjectId) -> bool) {
        // At once: to make room again and again moves everything each time.
        self.first.reserve(packs.iter().map(|pack| pack.table.count()).sum());
        for pack in packs {
            if !known.insert(pack.id) {
                continue;
            }
            if gone(&pack.id) {
                self.missing.insert(pack.id);
            }
            self.add(&pack);
        }
    }

    /// Reads the index objects that no segment covers. When one of them supersedes others, no segment is relied on.
    fn read_index(
        &mut self,
        repository: &Repository,
        objects: &[ObjectId],
        segments: Vec<Segment>,
        job: Job<'_>,
    ) -> Result<(Vec<Segment>, Said)> {
        let covered: HashSet<ObjectId> = segments.iter().flat_map(|segment| segment.covers.iter().copied()).collect();
        let uncovered: Vec<ObjectId> = objects.iter().filter(|id| !covered.contains(id)).copied().collect();
        let mut said = self.read_objects(repository, &uncovered, job)?;
        let superseded: HashSet<ObjectId> =
            said.iter().flat_map(|(_, index)| index.supersedes.iter().copied()).collect();
        if superseded.iter().any(|id| covered.contains(id)) {
            self.unreadable.retain(|unreadable| unreadable.folder != Folder::Index);
            return self.read_index(repository, objects, Vec::new(), job);
        }
        said.retain(|(id, _)| !superseded.contains(id));
        Ok((segments, said))
    }

    fn read_objects(&mut self, repository: &Repository, objects: &[ObjectId], job: Job<'_>) -> Result<Said> {
        let read = |id: &ObjectId| -> Result<Index> {
            job.cancel.check()?;
            let [bytes] = repository.read(Folder::Index, id, [Audience::Index])?;
            Index::parse(&bytes).map_err(|e| malformed(&format!("index {}", id.short()), &e))
        };
        let results: Vec<_> = objects.par_iter().map(|id| (*id, read(id))).collect();
        job.cancel.check()?;
        let mut said = Vec::new();
        for (id, result) in results {
            match result {
                Ok(index) => said.push((id, index)),
                Err(e) if e.kind().is_about_who_asks() => return Err(e),
                // The packs' own tables say the same; only time is lost.
                Err(error) => self.unreadable.push(Unreadable { folder: Folder::Index, id, error }),
            }
        }
        Ok(said)
    }

    /// Reads the tables of packs that no index names.
    fn adopt(&mut self, repository: &Repository, ids: Vec<ObjectId>, job: Job<'_>) -> Result<()> {
        let read = |id: &ObjectId| -> Result<PackEntry> {
            job.cancel.check()?;
            let (_, size, table) = read_table(repository, id)?;
            Ok(PackEntry { id: *id, size, table })
        };
        let mut results: Vec<_> = ids.into_par_iter().map(|id| (id, read(&id))).collect();
        job.cancel.check()?;
        results.sort_by_key(|(id, _)| *id);
        for (id, result) in results {
            match result {
                Ok(pack) => {
                    self.add(&pack);
                    self.orphans.push(pack);
                }
                Err(e) if e.kind().is_about_who_asks() => return Err(e),
                // A prune took it away meanwhile.
                Err(e) if e.kind() == Kind::Missing => {}
                Err(error) => {
                    job.warn(&format!("a pack cannot be used: pack {}: {error}", id.short()));
                    self.unreadable.push(Unreadable { folder: Folder::Packs, id, error });
                }
            }
        }
        Ok(())
    }

    /// Adds what lies in packs in the trash. It can be read, but counts for nobody.
    pub fn add_trash(&mut self, repository: &Repository, job: Job<'_>) -> Result<()> {
        let known: HashSet<ObjectId> = self.packs.iter().map(|pack| pack.id).collect();
        for (id, size) in repository.trashed(Folder::Packs)? {
            job.cancel.check()?;
            if known.contains(&id) {
                continue;
            }
            match read_table(repository, &id) {
                Ok((_, _, table)) => {
                    self.missing.insert(id);
                    self.add(&PackEntry { id, size, table });
                }
                // What it held may lie elsewhere; if it does not, whoever needs it says so.
                Err(error) => self.unreadable.push(Unreadable { folder: Folder::Packs, id, error }),
            }
        }
        Ok(())
    }

    /// Adds a pack's chunks.
    fn add(&mut self, pack: &PackEntry) {
        let number = self.packs.len() as u32;
        self.packs.push(PackInfo { id: pack.id, size: pack.size });
        self.first.reserve(pack.table.count());
        for (prefix, place, delta) in places_of(&pack.table, number) {
            if place.rank > 0 {
                self.deltas.push(((number, place.frame, place.nth), self.bases.len()));
                self.bases.extend_from_slice(&delta.bases);
            }
            self.add_place(prefix, place);
        }
    }

    fn add_place(&mut self, prefix: ChunkPrefix, place: Place) {
        if !self.is_good(&place) {
            self.doubtful.entry(prefix).or_default().push(place);
            return;
        }
        match self.first.entry(prefix) {
            std::collections::hash_map::Entry::Vacant(slot) => drop(slot.insert(place)),
            std::collections::hash_map::Entry::Occupied(_) => self.more.entry(prefix).or_default().push(place),
        }
    }

    /// Takes what was seen in these packs in the place of what damage records say of them: these frames are bad, and
    /// no others. Only for [`Self::load`].
    pub fn learn(&mut self, read: &HashSet<ObjectId>, bad: Vec<BadFrame>) {
        if bad.is_empty() && !self.damage.iter().any(|old| read.contains(&old.pack)) {
            return;
        }
        self.damage.retain(|old| !read.contains(&old.pack));
        self.damage.extend(bad);
        let first = std::mem::take(&mut self.first).into_iter();
        let lists = std::mem::take(&mut self.more).into_iter().chain(std::mem::take(&mut self.doubtful));
        let places =
            first.chain(lists.flat_map(|(prefix, places)| places.into_iter().map(move |place| (prefix, place))));
        places.collect::<Vec<_>>().into_iter().for_each(|(prefix, place)| self.add_place(prefix, place));
    }

    /// The frames that the index says lie in this pack, by ordinal; only [`Self::load`] knows them.
    pub fn frames_in(&self, pack: &ObjectId) -> BTreeMap<u32, FrameInfo> {
        let lists = self.more.iter().chain(&self.doubtful);
        let lists = lists.flat_map(|(prefix, places)| places.iter().map(move |place| (*prefix, *place)));
        let mut all: Vec<_> = self.first.iter().map(|(prefix, place)| (*prefix, *place)).chain(lists).collect();
        all.retain(|(_, place)| self.pack(place.pack).id == *pack);
        all.sort_by_key(|(_, place)| (place.frame, place.nth));
        let mut frames = BTreeMap::new();
        for (id, place) in all {
            let Place { frame, offset, stored_len, raw_len, kind, rank, .. } = place;
            let new = FrameInfo { kind, offset: offset.into(), stored_len, chunks: Vec::new() };
            let delta = Delta { rank, bases: self.bases(&id, &place) };
            frames.entry(frame).or_insert(new).chunks.push(ChunkInfo { id, raw_len, delta });
        }
        frames
    }

    /// Packs that hold copies which do not count of a chunk that cannot be had, or of what it is made from.
    pub fn packs_lost(&self, id: &ChunkId) -> Vec<ObjectId> {
        let (mut out, mut todo, mut seen) = (Vec::new(), vec![id.prefix()], HashSet::new());
        while let Some(id) = todo.pop() {
            if !seen.insert(id) {
                continue;
            }
            for place in self.copies_to_read(&id) {
                match self.is_good(&place) {
                    true => todo.extend(self.bases(&id, &place).into_iter().filter(|base| !self.has_copy(base))),
                    false => out.push(self.pack(place.pack).id),
                }
            }
        }
        out
    }

    /// Whether nothing is known against what lies at this place.
    fn is_good(&self, place: &Place) -> bool {
        if self.tombed.is_empty() && self.damage.is_empty() && self.missing.is_empty() {
            return true;
        }
        !self.is_condemned(&self.pack(place.pack).id) && !self.is_lost(place)
    }

    /// Whether the copy at this place may be relied on: it is good, and so is a copy of each of its bases. A prune keeps
    /// the bases of what snapshots need, but not of what else lies in a pack that stays.
    fn counts(&self, prefix: &ChunkPrefix, place: &Place) -> bool {
        self.counts_beside(prefix, place, &mut HashMap::new())
    }

    /// The same, where it is known of these copies: each is looked at once, however many others are stored against it.
    fn counts_beside(&self, prefix: &ChunkPrefix, place: &Place, known: &mut HashMap<(u32, u32, u32), bool>) -> bool {
        if !self.is_good(place) {
            return false;
        }
        if place.rank == 0 {
            return true;
        }
        let copy = (place.pack, place.frame, place.nth);
        if let Some(counts) = known.get(&copy) {
            return *counts;
        }
        let mut is_there = |base: &ChunkPrefix| {
            let mut copies = self.all(base).filter(|copy| copy.rank < place.rank && copy.kind == place.kind);
            copies.any(|copy| self.counts_beside(base, &copy, known))
        };
        let counts = self.bases(prefix, place).iter().all(&mut is_there);
        known.insert(copy, counts);
        counts
    }

    /// What the copy of a chunk at this place is stored as a difference to.
    pub fn bases(&self, prefix: &ChunkPrefix, place: &Place) -> Bases {
        if place.rank == 0 {
            return Bases::new();
        }
        let at = (place.pack, place.frame, place.nth);
        if let Ok(n) = self.deltas.binary_search_by_key(&at, |(at, _)| *at) {
            let end = self.deltas.get(n + 1).map_or(self.bases.len(), |(_, start)| *start);
            return Bases::from_slice(&self.bases[self.deltas[n].1..end]);
        }
        let there = self.segments.iter().filter(|cached| cached.base <= place.pack);
        let same = |(copy, _): &(Place, Bases)| (copy.frame, copy.nth) == (place.frame, place.nth);
        let bases = |cached: &Cached| {
            let number = place.pack - cached.base;
            let mut copies = cached.segment.copies(prefix).into_iter();
            copies.find(|found| found.0.pack == number && same(found)).map(|(_, bases)| bases)
        };
        there.filter_map(bases).next().unwrap_or_default()
    }

    /// Every copy that might be read, the doubtful ones last. Whether its bases can be had, reading it will tell.
    pub fn copies_to_read<'a>(&'a self, prefix: &'a ChunkPrefix) -> impl Iterator<Item = Place> + 'a {
        // Mostly the first copy is good, and nobody asks for more.
        let others = std::iter::once_with(move || {
            let doubtful = self.doubtful.get(prefix).into_iter().flatten().copied();
            self.all(prefix).filter(|place| !self.is_good(place)).chain(doubtful)
        });
        self.all(prefix).filter(|place| self.is_good(place)).chain(others.flatten())
    }

    /// A copy of this chunk.
    pub fn find(&self, id: &ChunkId) -> Option<Place> {
        let prefix = id.prefix();
        self.all(&prefix).find(|place| self.counts(&prefix, place))
    }

    /// All copies of a chunk that count.
    pub fn copies(&self, prefix: &ChunkPrefix) -> impl Iterator<Item = Place> {
        self.all(prefix).filter(|place| self.counts(prefix, place))
    }

    /// All copies of a chunk, without those that are known to be doubtful.
    fn all(&self, prefix: &ChunkPrefix) -> impl Iterator<Item = Place> {
        let first = self.first.get(prefix).copied();
        let more = std::iter::once_with(|| self.more.get(prefix).into_iter().flatten().copied()).flatten();
        let renumbered = move |cached: &Cached| {
            let base = cached.base;
            let copies = cached.segment.copies(prefix).into_iter();
            copies.map(move |(place, _)| Place { pack: place.pack + base, ..place })
        };
        first.into_iter().chain(more).chain(self.segments.iter().flat_map(renumbered))
    }

    /// Whether a copy of this chunk is there.
    pub fn contains(&self, id: &ChunkId) -> bool {
        self.find(id).is_some()
    }

    /// Whether a copy of the chunk whose name begins so may be relied on; only [`Self::load`] knows.
    pub fn has_copy(&self, id: &ChunkPrefix) -> bool {
        self.copies(id).next().is_some()
    }

    /// The pack of this number.
    pub fn pack(&self, number: u32) -> PackInfo {
        self.packs.get(number as usize).copied().unwrap_or(PackInfo { id: ObjectId::ZERO, size: 0 })
    }

    /// All packs that count.
    pub fn packs(&self) -> &[PackInfo] {
        &self.packs
    }

    /// Number of chunks; only [`Self::load`] knows it.
    pub fn chunk_count(&self) -> usize {
        self.first.len()
    }

    /// One copy of every chunk; only [`Self::load`] knows them.
    pub fn chunks(&self) -> impl Iterator<Item = (&ChunkPrefix, &Place)> {
        self.first.iter()
    }

    /// Packs that no index object named; their tables have been read.
    pub fn orphans(&self) -> &[PackEntry] {
        &self.orphans
    }

    /// Packs that an index object names, but that are gone.
    pub fn missing(&self) -> &HashSet<ObjectId> {
        &self.missing
    }

    /// Index objects, damage records and packs that could not be read.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// What is known to be bad.
    pub fn damage(&self) -> &[BadFrame] {
        &self.damage
    }

    /// All copies, be they known to be good, condemned, damaged or gone; only [`Self::load`] knows them.
    pub fn every_copy(&self) -> impl Iterator<Item = (&ChunkPrefix, &Place)> {
        let lists = self.more.iter().chain(&self.doubtful);
        self.first.iter().chain(lists.flat_map(|(prefix, places)| places.iter().map(move |place| (prefix, place))))
    }

    /// Whether a tomb names this pack; only who writes knows.
    pub fn is_condemned(&self, pack: &ObjectId) -> bool {
        self.tombed.contains(pack)
    }

    /// Whether what lies here is known to be gone or damaged.
    pub fn is_lost(&self, place: &Place) -> bool {
        let pack = self.pack(place.pack).id;
        let is_bad = |bad: &BadFrame| bad.pack == pack && bad.frame.is_none_or(|frame| frame == place.frame);
        self.missing.contains(&pack) || self.damage.iter().any(is_bad)
    }

    /// The tombs that were there; only who writes knows.
    pub fn tombs(&self) -> &[ObjectId] {
        &self.tombs
    }

    /// Whether nothing is known to be lost.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.unreadable.is_empty() && self.damage.iter().all(BadFrame::is_outside)
    }

    /// Whether a prune has condemned anything.
    pub fn has_tombs(&self) -> bool {
        !self.tombed.is_empty()
    }
}

/// Where all chunks of a pack lie, if it has this number, and how they are stored.
pub(super) fn places_of(table: &Table, pack: u32) -> impl Iterator<Item = (ChunkPrefix, Place, &Delta)> {
    table.chunks().map(move |(frame, nth, kind, chunk)| {
        let info = &table.frames[frame as usize];
        let (offset, stored_len, rank) = (info.offset as u32, info.stored_len, chunk.delta.rank);
        (chunk.id, Place { pack, frame, offset, stored_len, nth, raw_len: chunk.raw_len, kind, rank }, &chunk.delta)
    })
}

/// The segments whose index objects are all still there. When there are many, the smallest are left out, and what
/// they cover is read again, into one: as long as that at least doubles what is there, so no chunk moves often.
fn usable_segments(repository: &Repository, objects: &[ObjectId]) -> Vec<Segment> {
    let listed: HashSet<&ObjectId> = objects.iter().collect();
    let mut covered = HashSet::new();
    let mut segments = Segment::open_all(repository);
    segments.sort_by_key(|segment| std::cmp::Reverse(segment.chunks));
    let is_usable = |segment: &Segment| {
        let fresh = segment.covers.iter().all(|id| listed.contains(id) && !covered.contains(id));
        covered.extend(segment.covers.iter().copied());
        fresh
    };
    let (mut usable, mut useless): (Vec<_>, Vec<_>) = segments.into_iter().partition(is_usable);
    if usable.len() >= SEGMENTS_MAX {
        let mut gathered = 0;
        while let Some(small) = usable.pop_if(|segment| gathered == 0 || segment.chunks <= gathered) {
            gathered += small.chunks;
            useless.push(small);
        }
    }
    useless.iter().for_each(|segment| super::cache::remove(&segment.path));
    usable
}
