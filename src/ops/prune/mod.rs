//! Gives back the space that no snapshot needs any more: plan, show, apply.
//!
//! - [`plan`] decides, purely, which packs are worth it. Any choice is safe; what must stay is found out again later.
//! - [`apply`] does it beside backups and other prunes that go on meanwhile. Its steps are those of docs/concurrency.md,
//!   which tells why nothing is lost, and `tests/protocol` looks at every history of them.
//! - What is damaged goes: what can be read of such a pack is stored again.
//! - Fails closed: a snapshot, a tree, a tomb or a damage record that cannot be read ends it before anything is removed.
//! - It may stop anywhere. What it condemned and did not remove, the next one condemns again; what it stored is used.
//! - Packs that were removed lie in the trash for a while, where the store has one, so that who reads an old catalogue
//!   still finds them. Forgotten snapshots go from the trash before their data does.

mod apply;
mod copies;
mod index;
pub mod plan;
mod trash;
mod used;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

pub use self::apply::apply;
use self::copies::least;
use self::plan::{Choice, Frame, Limits, Pack, State};
use self::used::Used;
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::{ChunkPrefix, ObjectId, SessionId};
use crate::index::{StoredCopy, live};
use crate::repo::{Catalogue, ChunkReader, Folder, PackInfo, Place, Repository, Unreadable, pack_session};

const REPAIR: &str = "run `larder check`; put back what it names, or forget the snapshots that it names, then prune \
                      again";

/// How to prune.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How much to do.
    pub limits: Limits,
    /// How long packs lie in the trash; `None`: they are deleted at once, unless another run is at work.
    pub grace: Option<Duration>,
    /// Give up instead of waiting for other runs.
    pub no_wait: bool,
}

/// What would be done.
#[derive(Debug)]
pub struct Plan {
    /// Snapshots that count.
    pub snapshots: u64,
    /// All packs.
    pub packs: Vec<Pack>,
    /// Which of them go.
    pub choice: Choice,
    /// Bytes of all packs.
    pub stored_bytes: u64,
    /// Packs in the trash, and their bytes.
    pub trashed: (u64, u64),
    /// Tombs that others left.
    pub tombs: u64,
    /// Runs that are at work now.
    pub runs: u64,
    /// Chunks that are to be stored whole, though deltas of them stay: so their bases may go.
    whole: HashSet<ChunkPrefix>,
    /// Chunks that are to stay, although no snapshot needs them.
    spared: HashSet<ChunkPrefix>,
    used: Used,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Packs that were removed.
    pub packs_removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Bytes of new packs.
    pub added_bytes: u64,
    /// Whether what was removed lies in the trash for now.
    pub in_trash: bool,
    /// It should have been deleted at once, but this many other runs were at work.
    pub runs: u64,
    /// Packs that were deleted from the trash.
    pub emptied_packs: u64,
    /// Their bytes.
    pub emptied_bytes: u64,
    /// Forgotten snapshots that cannot be brought back any more.
    pub snapshots_gone: u64,
    /// Runs that had died without an end.
    pub runs_expired: u64,
}

/// Decides. Changes nothing.
pub fn plan(repository: &Repository, options: &Options, job: Job<'_>) -> Result<Plan> {
    plan_without(&HashSet::new(), repository, options, job)
}

/// The same as it would be after these snapshots have been forgotten. To apply it before takes nothing from them, since
/// what must stay is found out again then.
pub fn plan_without(
    forgotten: &HashSet<ObjectId>,
    repository: &Repository,
    options: &Options,
    job: Job<'_>,
) -> Result<Plan> {
    job.phase("reading the index", None, None);
    let open = repository.open_sessions()?;
    let alive: HashSet<ObjectId> = open.iter().filter(|it| it.is_held != Some(false)).map(|it| it.name).collect();
    let mut listing = repository.snapshots_anew()?;
    listing.snapshots.retain(|info| !forgotten.contains(&info.id));
    listing.damaged.retain(|(id, _)| !forgotten.contains(id));
    listing.gone.retain(|id| !forgotten.contains(id));
    let catalogue = Catalogue::load_to_write(repository, job)?;
    check_known(&catalogue)?;
    let reader = ChunkReader::new(repository, &catalogue);
    job.phase("reading all trees", Some(listing.snapshots.len() as u64), None);
    let mut used = Used::default();
    used.gather(&reader, &listing, job)?;
    let spared = if options.grace.is_some() { tableless(&catalogue) } else { HashSet::new() };
    let scales = Scales::new(repository, &catalogue, &used, &spared, &alive)?;
    let (packs, choice, whole) = scales.choose(&options.limits);
    let trashed = repository.trashed(Folder::Packs)?;
    Ok(Plan {
        snapshots: listing.snapshots.len() as u64,
        choice,
        stored_bytes: packs.iter().map(|pack| pack.size).sum(),
        packs,
        whole,
        spared,
        trashed: (trashed.len() as u64, trashed.iter().map(|(_, size)| size).sum()),
        tombs: catalogue.tombs().len() as u64,
        runs: alive.len() as u64,
        used,
    })
}

/// What a newer program stored may need what this one does not know of.
fn check_known(catalogue: &Catalogue) -> Result<()> {
    match catalogue.unreadable().iter().find(|it| it.error.kind() == Kind::Newer) {
        None => Ok(()),
        Some(it) => {
            let what = format!("nothing was removed: {} {} cannot be read", it.folder.name(), it.id.short());
            Err(Error::new(Kind::Newer, what).why(&it.error).fix(it.error.advice()))
        }
    }
}

/// All copies that may be read: first those that stay unless this run condemns them, then those that do not: those that
/// are condemned, and deltas of what is to be whole.
fn copies(catalogue: &Catalogue, whole: &HashSet<ChunkPrefix>) -> (Vec<StoredCopy<Place>>, usize) {
    let of = |(id, place): (&ChunkPrefix, &Place)| {
        let delta = crate::pack::Delta { rank: place.rank, bases: catalogue.bases(id, place) };
        StoredCopy { id: *id, delta, place: *place }
    };
    let there = catalogue.every_copy().filter(|(_, place)| !catalogue.is_lost(place));
    let goes = |copy: &StoredCopy<Place>| {
        catalogue.is_condemned(&catalogue.pack(copy.place.pack).id) || copy.place.rank > 0 && whole.contains(&copy.id)
    };
    let (mut going, mut copies): (Vec<_>, Vec<_>) = there.map(of).partition(goes);
    // The order decides which of two copies stays, and it is to be the same every time.
    let order = |copy: &StoredCopy<Place>| (copy.place.pack, copy.place.frame, copy.place.nth);
    copies.sort_by_key(order);
    going.sort_by_key(order);
    let staying = copies.len();
    copies.extend(going);
    (copies, staying)
}

/// What lies in packs whose own tables may be lost. Only the index tells where, and not any more when they lie in the trash,
/// where forgotten snapshots may need it.
fn tableless(catalogue: &Catalogue) -> HashSet<ChunkPrefix> {
    let packs: HashSet<ObjectId> =
        catalogue.damage().iter().filter(|bad| bad.is_outside()).map(|bad| bad.pack).collect();
    if packs.is_empty() {
        return HashSet::new();
    }
    catalogue
        .every_copy()
        .filter(|(_, place)| packs.contains(&catalogue.pack(place.pack).id))
        .map(|(id, _)| *id)
        .collect()
}

/// What is to be made whole of these copies: what snapshots need, and of what is spared all that can be.
fn needed(used: &Used, spared: &HashSet<ChunkPrefix>, copies: &[StoredCopy<Place>]) -> HashSet<ChunkPrefix> {
    let mut needed: HashSet<ChunkPrefix> = used.all().collect();
    if !spared.is_empty() {
        let lost = live(spared.iter().copied(), copies).lost;
        needed.extend(spared.difference(&lost));
    }
    needed
}

/// What the choice depends on.
struct Scales<'a> {
    catalogue: &'a Catalogue,
    copies: Vec<StoredCopy<Place>>,
    needed: HashSet<ChunkPrefix>,
    /// Of each pack, by its number; `None`: it is gone.
    states: Vec<Option<State>>,
    /// Packs of which nobody can tell what lies in them.
    useless: Vec<Pack>,
}

impl<'a> Scales<'a> {
    fn new(
        repository: &Repository,
        catalogue: &'a Catalogue,
        used: &Used,
        spared: &HashSet<ChunkPrefix>,
        alive: &HashSet<ObjectId>,
    ) -> Result<Self> {
        let (copies, _) = copies(catalogue, &HashSet::new());
        let needed = needed(used, spared, &copies);
        let lost = live(needed.iter().copied(), &copies).lost;
        let is_listed = |place: Place| !catalogue.missing().contains(&catalogue.pack(place.pack).id);
        let is_nowhere = |id: &&ChunkPrefix| !catalogue.copies_to_read(id).any(is_listed);
        if let Some(id) = lost.intersection(&used.confirmed).find(is_nowhere) {
            return Err(gone(&format!("chunk {id}")));
        }
        // What is damaged, or cannot be made whole, may be all that there is of a chunk.
        let last = catalogue.every_copy().filter(|(id, _)| lost.contains(*id));
        let last: HashSet<u32> = last.map(|(_, place)| place.pack).collect();
        let damaged: HashSet<ObjectId> = catalogue.damage().iter().map(|bad| bad.pack).collect();
        let sessions = alive_sessions(repository, alive)?;
        let is_of_live_run = |id: &ObjectId| {
            // Where its head is lost, it may be.
            !sessions.is_empty() && pack_session(repository, id).map_or(true, |session| sessions.contains(&session))
        };
        let state = |(number, info): (u32, &PackInfo)| match () {
            () if catalogue.missing().contains(&info.id) => None,
            () if catalogue.is_condemned(&info.id) => Some(State::Condemned),
            () if last.contains(&number) || is_of_live_run(&info.id) => Some(State::Kept),
            () if damaged.contains(&info.id) => Some(State::Damaged),
            () => Some(State::Free),
        };
        let states = (0..).zip(catalogue.packs()).map(state).collect();
        // Where nothing is missing, it does not lie there.
        let is_missed = |id: &ObjectId| !lost.is_empty() || used.has_gaps || is_of_live_run(id);
        let useless = useless(repository, catalogue, is_missed)?;
        Ok(Self { catalogue, copies, needed, states, useless })
    }

    /// What to do: with all deltas as they are, or, where that saves more than may be wasted, with those stored whole
    /// whose bases nobody else needs.
    fn choose(&self, limits: &Limits) -> (Vec<Pack>, Choice, HashSet<ChunkPrefix>) {
        let live = live(self.needed.iter().copied(), &self.copies).copies;
        let packs = self.weigh(&live);
        let choice = plan::choose(&packs, limits);
        let (least, whole) = least(&self.needed, &self.copies);
        let packs_least = self.weigh(&least);
        let mut choice_least = plan::choose(&packs_least, limits);
        let goes: HashSet<ObjectId> = choice_least.removed().map(|number| packs_least[number].id).collect();
        // A base that stays all the same is no reason.
        let bases_go = |copy: &StoredCopy<Place>| {
            let goes = |place: Place| goes.contains(&self.catalogue.pack(place.pack).id);
            let mut bases = copy.delta.bases.iter();
            bases.any(|base| self.catalogue.copies_to_read(base).all(goes))
        };
        let whole = whole.into_iter().map(|copy| &self.copies[copy]).filter(|copy| bases_go(copy));
        let whole: HashSet<ChunkPrefix> = whole.map(|copy| copy.id).collect();
        choice_least.repacked_bytes += self.replaced(&live, &least);
        let saved = choice_least.freed_bytes().saturating_sub(choice.freed_bytes());
        let stored: u64 = packs.iter().map(|pack| pack.size).sum();
        let is_worth = saved as f64 > limits.unused_max * (stored - choice.freed_bytes()) as f64;
        let is_too_much = limits.repack_bytes_max.is_some_and(|max| choice_least.repacked_bytes > max);
        match is_worth && !is_too_much {
            true => (packs_least, choice_least, whole),
            false => (packs, choice, HashSet::new()),
        }
    }

    /// How many bytes the chunks that are stored whole and do not stay take, about: what takes their place is as long.
    fn replaced(&self, live: &HashSet<usize>, least: &HashSet<usize>) -> u64 {
        let mut raw: HashMap<(u32, u32), u64> = HashMap::new();
        for place in self.copies.iter().map(|copy| copy.place) {
            *raw.entry((place.pack, place.frame)).or_default() += u64::from(place.raw_len);
        }
        let share = |place: Place| {
            let raw = raw.get(&(place.pack, place.frame)).copied().unwrap_or(0).max(1);
            u64::from(place.raw_len) * u64::from(place.stored_len) / raw
        };
        let goes = live.difference(least).map(|copy| self.copies[*copy].place);
        goes.filter(|place| place.rank == 0).map(share).sum()
    }

    /// What of each pack must stay, if these copies must.
    fn weigh(&self, live: &HashSet<usize>) -> Vec<Pack> {
        let mut frames: HashMap<(u32, u32), Frame> = HashMap::new();
        for (number, copy) in self.copies.iter().enumerate() {
            let place = &copy.place;
            let frame = frames.entry((place.pack, place.frame)).or_default();
            frame.stored = place.stored_len.into();
            frame.raw += u64::from(place.raw_len).max(1);
            if live.contains(&number) {
                frame.live += u64::from(place.raw_len).max(1);
            }
        }
        let mut of_pack: HashMap<u32, Vec<Frame>> = HashMap::new();
        for ((pack, _), frame) in frames {
            of_pack.entry(pack).or_default().push(frame);
        }
        let mut packs = Vec::new();
        for (number, (info, state)) in (0..).zip(self.catalogue.packs().iter().zip(&self.states)) {
            if let Some(state) = *state {
                let frames = of_pack.remove(&number).unwrap_or_default();
                packs.push(Pack { id: info.id, size: info.size, frames, state });
            }
        }
        packs.extend(self.useless.iter().cloned());
        packs
    }
}

/// Packs that no index names, and that do not say themselves either what lies in them.
fn useless(repository: &Repository, catalogue: &Catalogue, is_missed: impl Fn(&ObjectId) -> bool) -> Result<Vec<Pack>> {
    let is_useless = |it: &&Unreadable| it.folder == Folder::Packs && it.error.kind() == Kind::Damage;
    let of = |it: &Unreadable| match repository.pack_size(&it.id) {
        Err(e) if e.kind() == Kind::Missing => None,
        size => Some(size.map(|size| {
            let state = if is_missed(&it.id) { State::Kept } else { State::Damaged };
            Pack { id: it.id, size, frames: Vec::new(), state }
        })),
    };
    catalogue.unreadable().iter().filter(is_useless).filter_map(of).collect()
}

fn gone(what: &str) -> Error {
    Error::new(Kind::Damage, format!("nothing was removed: {what} is missing, which snapshots need"))
        .why("no pack that stays holds it, and what is removed now could be all that is left of it")
        .fix(REPAIR)
}

fn alive_sessions(repository: &Repository, alive: &HashSet<ObjectId>) -> Result<HashSet<SessionId>> {
    let read = |name: &ObjectId| match repository.session(name) {
        Err(e) if e.kind() == Kind::Missing => None,
        other => Some(other.map(|(id, _)| id)),
    };
    alive.iter().filter_map(read).collect()
}
