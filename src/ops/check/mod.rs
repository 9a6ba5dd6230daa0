//! Check: is everything that the snapshots need there, and is it what it was?
//!
//! *Structure* reads all small objects, the tables of all packs and every tree node and chunk list once, and looks up
//! every chunk. *Data* reads whole packs, decodes every frame and compares every chunk with its id; what was verified
//! longest ago comes first, and notes remember what was. Frames found bad are recorded, so that their copies never
//! count again and the next backup stores those chunks anew. What snapshots lose by it is recorded as well, so that lists
//! need not look for it.

mod affected;
mod data;
#[cfg(test)]
mod deltas;
mod made;
mod remedy;
mod structure;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

pub use super::damage::MENDED;
use super::{damage, notes, whole};
use crate::entry::Time;
use crate::error::{Kind, Result};
use crate::event::Job;
use crate::id::{ChunkId, ChunkPrefix, ObjectId};
use crate::record::{BadFrame, Condition, Note};
use crate::repo::{Catalogue, ChunkReader, Folder, Listing, Mended, ObjectAt, Proof, Repository, SnapshotInfo};

/// How often everything is looked at anew, because snapshots were forgotten meanwhile.
const LOOKS_MAX: usize = 5;

/// How much to check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// Which share of the stored bytes to read, 0 ..= 1; `None`: structure only.
    pub data: Option<f64>,
    /// Stop reading data after so long.
    pub time_max: Option<Duration>,
    /// Stop reading data after so many bytes.
    pub bytes_max: Option<u64>,
}

/// A file (or folder) that damage takes something from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Affected {
    /// In which snapshot.
    pub snapshot: ObjectId,
    /// In which source, raw bytes.
    pub source: Vec<u8>,
    /// Which path, raw bytes.
    pub path: Vec<u8>,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What: "pack 12ab34cd", "index …".
    pub object: String,
    /// What is wrong with it, safe to print.
    pub what: String,
    /// What helps; may be empty. Safe to print.
    pub fix: String,
    /// All snapshots that need it, newest first, and how many entries of each do.
    pub snapshots: Vec<(ObjectId, u64)>,
    /// What needs it, as far as it is named.
    pub affects: Vec<Affected>,
    /// How much more needs it: names that are lost themselves, and those that are too many.
    pub affects_more: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Everything that is wrong.
    pub found: Vec<Found>,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Chunks in the catalogue.
    pub chunks: u64,
    /// Packs there.
    pub packs: u64,
    /// Packs read whole.
    pub packs_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Bytes of all packs.
    pub bytes_total: u64,
    /// Packs never read whole by any check, after this one.
    pub packs_unread: u64,
    /// Packs that are damaged, though no snapshot loses anything by it.
    pub packs_spare: u64,
    /// Objects that were damaged and are whole again, since their parity gave everything back; and what was wrong with them,
    /// safe to print.
    pub mended: Vec<(ObjectAt, String)>,
    /// Snapshots that this check confirmed.
    pub confirmed: Vec<ObjectId>,
    /// Why the results could not be recorded; empty if they were.
    pub not_recorded: String,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_healthy(&self) -> bool {
        self.found.is_empty()
    }
}

/// What is wrong, as it is found.
#[derive(Debug, Default)]
struct Findings {
    found: Vec<Found>,
    /// Chunks that cannot be had, and the finding that says why.
    chunks: BTreeMap<ChunkId, usize>,
    /// Snapshots that something is taken from.
    harmed: BTreeSet<ObjectId>,
    /// Nodes with entries that cannot be read, which those are, and the findings that say so.
    malformed: BTreeMap<ChunkId, Vec<(usize, Vec<u8>)>>,
    /// What is wrong with packs that were read.
    wrong: BTreeMap<ObjectId, String>,
    /// Whether not all is known of what snapshots need.
    has_gaps: bool,
    /// Snapshots for want of whose chunks a prune removes nothing.
    stuck: BTreeSet<ObjectId>,
}

impl Findings {
    fn add(&mut self, object: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> usize {
        let (object, what, fix) = (object.into(), what.into(), fix.into());
        self.found.push(Found { object, what, fix, snapshots: Vec::new(), affects: Vec::new(), affects_more: 0 });
        self.found.len() - 1
    }

    /// The advice against what is lost says how to give it up, too: that depends on what needs it.
    fn advise_to_give_up(&mut self) {
        let is_cut = self.found.iter().any(|found| found.affects_more > 0);
        let fix = remedy::give_up(self.harmed.len(), is_cut, &self.stuck);
        let lost = self.found.iter_mut().filter(|found| found.fix == remedy::CONTENT && !found.snapshots.is_empty());
        lost.for_each(|found| found.fix.clone_from(&fix));
    }
}

/// Checks.
pub fn check(repository: &Repository, request: &Request, job: Job<'_>) -> Result<Report> {
    let (mut report, mut seen) = (Report::default(), None);
    let mut look = Look::take(repository, request, &mut report, &mut seen, job)?;
    for _ in 1..LOOKS_MAX {
        if !look.is_overtaken(repository)? {
            break;
        }
        look = Look::take(repository, request, &mut report, &mut seen, job)?;
    }
    let Look { listing, catalogue, mut findings, mut news } = look;
    let mut seen = seen.unwrap_or_default();
    mend_met(repository, &mut seen, &mut findings);
    report.mended.clone_from(&seen.mended);
    if !(findings.chunks.is_empty() && findings.malformed.is_empty()) {
        affected::name(repository, &catalogue, &listing, &mut findings, job)?;
        findings.advise_to_give_up();
    }
    let unconfirmed = listing.snapshots.iter().filter(|info| !info.confirmed && !findings.harmed.contains(&info.id));
    report.confirmed = confirmable(repository, &unconfirmed.collect::<Vec<_>>(), job)?;
    // What was read whole has its verdict.
    let met = repository.take_met().into_iter().filter(|(pack, _)| !seen.has_read(pack)).collect();
    news.extend(damage::unknown(met, &catalogue));
    let conditions = conditions(&listing, &catalogue, &findings, repository.world().now());
    record(repository, Learnt { frames: news, conditions, seen }, &mut report)?;
    report.found = findings.found;
    Ok(report)
}

/// What a look at the repository shows.
struct Look {
    listing: Listing,
    catalogue: Catalogue,
    findings: Findings,
    /// Damage that nobody knew of.
    news: Vec<BadFrame>,
}

impl Look {
    /// Looks at everything; only the first time at data.
    fn take(
        repository: &Repository,
        request: &Request,
        report: &mut Report,
        seen: &mut Option<data::Seen>,
        job: Job<'_>,
    ) -> Result<Self> {
        job.phase("checking structure", None, None);
        // Before packs, so that all that they need is there.
        let listing = repository.snapshots_anew()?;
        let mut catalogue = Catalogue::load(repository, job)?;
        let mut findings = Findings::default();
        let mut structure = structure::Structure::new(repository, &catalogue, &mut findings, job);
        structure.objects()?;
        let (sizes, doubtful) = structure.packs()?;
        report.chunks = catalogue.chunk_count() as u64;
        report.packs = sizes.len() as u64;
        report.bytes_total = sizes.values().sum();
        let ledger = data::Ledger::read(repository);
        let seen = match seen {
            Some(seen) => seen,
            none => {
                let others = request.data.map_or_else(Vec::new, |share| ledger.oldest_first(&sizes, &doubtful, share));
                let anyhow: Vec<_> = doubtful.iter().map(|id| (*id, sizes[id])).collect();
                none.insert(match anyhow.is_empty() && others.is_empty() {
                    true => data::Seen::default(),
                    false => data::read_packs(repository, &catalogue, &anyhow, &others, request, report, job)?,
                })
            }
        };
        let news = learn(&mut catalogue, seen, &mut findings);
        job.phase("checking snapshots", None, None);
        structure::Structure::new(repository, &catalogue, &mut findings, job).snapshots(&listing)?;
        report.packs_spare = judge(&catalogue, seen, &mut findings);
        report.snapshots = (listing.snapshots.len() + listing.damaged.len()) as u64;
        report.packs_unread = sizes.keys().filter(|id| !ledger.knows(id) && !seen.has_read(id)).count() as u64;
        Ok(Self { listing, catalogue, findings, news })
    }

    /// Whether something is found while snapshots were forgotten, what they need may have been removed, and so be missed.
    fn is_overtaken(&self, repository: &Repository) -> Result<bool> {
        if self.findings.found.is_empty() {
            return Ok(false);
        }
        let there: HashSet<ObjectId> = repository.list(Folder::Snapshots)?.into_iter().collect();
        Ok(self.listing.snapshots.iter().any(|info| !there.contains(&info.id)))
    }
}

/// Mends what was met while small objects and trees were read.
fn mend_met(repository: &Repository, seen: &mut data::Seen, findings: &mut Findings) {
    for (object, mended) in damage::mend_met(repository) {
        let is_pack = object.folder == Folder::Packs;
        // What was read whole has its verdict.
        let is_told = is_pack && seen.has_read(&object.id);
        match mended {
            Ok(Mended::Yes) => {
                seen.whole.extend(is_pack.then_some(object.id));
                seen.mended.push((object, "a part of it was damaged".into()));
            }
            Ok(Mended::Whole | Mended::Gone) => {}
            _ if is_told => {}
            Ok(Mended::No) => _ = findings.add(object.to_string(), damage::CHANGING, remedy::DISK),
            Err(e) => _ = findings.add(object.to_string(), damage::not_mended(&e), remedy::mendable(&object)),
        }
    }
}

/// Those of these snapshots all of whose chunks count, as for a writer: tombs are listed after snapshots, and packs after
/// tombs, so that a prune which did not see them has been seen. What may not be durable yet the next barrier covers.
fn confirmable(repository: &Repository, snapshots: &[&SnapshotInfo], job: Job<'_>) -> Result<Vec<ObjectId>> {
    if snapshots.is_empty() {
        return Ok(Vec::new());
    }
    // A tomb, or a damage record, that cannot be read is told of already, and may speak of just this.
    let Ok(catalogue) = Catalogue::open_to_write(repository, job) else { return Ok(Vec::new()) };
    let reader = ChunkReader::new(repository, &catalogue);
    let mut whole = Vec::new();
    for info in snapshots {
        let sources = repository.snapshot_of(info)?.body.sources;
        if whole::missing(&reader, &sources, job)?.first().is_none() {
            whole.push(info.id);
        }
    }
    whole::adopt(&reader);
    Ok(whole)
}

/// Takes what was seen in the place of what was known; what nobody knew to be bad comes back.
fn learn(catalogue: &mut Catalogue, seen: &data::Seen, findings: &mut Findings) -> Vec<BadFrame> {
    let is_known = |bad: &&BadFrame| catalogue.damage().iter().any(|old| is_same(old, bad));
    let bad = || seen.wrong.iter().flat_map(|wrong| &wrong.frames);
    let news = bad().filter(|bad| !is_known(bad)).cloned().collect();
    let read = seen.whole.iter().copied().chain(seen.wrong.iter().map(|wrong| wrong.pack)).collect();
    catalogue.learn(&read, bad().cloned().collect());
    findings.wrong = seen.wrong.iter().map(|wrong| (wrong.pack, wrong.what.clone())).collect();
    news
}

/// Tells of packs that take something from a snapshot, or may do so, as far as trees could be read; how many others are
/// damaged. What nobody needs is no finding, and neither is what is stored elsewhere, too.
fn judge(catalogue: &Catalogue, seen: &data::Seen, findings: &mut Findings) -> u64 {
    let blamed: HashSet<ObjectId> = findings.chunks.keys().flat_map(|id| catalogue.packs_lost(id)).collect();
    let mut spare = 0;
    for wrong in &seen.wrong {
        let (lost, is_outside) = (lost_with(catalogue, wrong), wrong.frames.iter().all(BadFrame::is_outside));
        let is_elsewhere = !lost.is_empty() && lost.iter().all(|id| catalogue.has_copy(id));
        // Nobody knows what lies in a pack without a table that no index names.
        let may_take = findings.has_gaps && !is_elsewhere || lost.is_empty() && !findings.chunks.is_empty();
        if !is_outside && !may_take && !blamed.contains(&wrong.pack) {
            spare += 1;
            continue;
        }
        let object = format!("pack {}", wrong.pack.short());
        if !findings.found.iter().any(|found| (&found.object, &found.what) == (&object, &wrong.what)) {
            let fix = if wrong.is_mendable {
                &remedy::mendable(&ObjectAt::in_place(Folder::Packs, &wrong.pack))
            } else {
                remedy::OUTSIDE
            };
            findings.add(object, &wrong.what, if is_outside { fix } else { remedy::CONTENT });
        }
    }
    spare
}

/// The chunks whose copies in a pack cannot be had.
fn lost_with(catalogue: &Catalogue, wrong: &data::Wrong) -> Vec<ChunkPrefix> {
    match wrong.frames.iter().any(|bad| bad.frame.is_none()) {
        true => catalogue.frames_in(&wrong.pack).values().flat_map(|f| &f.chunks).map(|chunk| chunk.id).collect(),
        false => wrong.frames.iter().flat_map(|bad| bad.chunks.iter().copied()).collect(),
    }
}

fn is_same(one: &BadFrame, other: &BadFrame) -> bool {
    (one.pack, one.frame) == (other.pack, other.frame)
}

/// What became of which snapshot, where lists say something else of it. Whatever is known to be damaged was read again, so
/// one that lost nothing is whole again; unless what is known cannot be read.
fn conditions(listing: &Listing, catalogue: &Catalogue, findings: &Findings, now: Time) -> Vec<Condition> {
    let is_all_known = !catalogue.unreadable().iter().any(|unreadable| unreadable.folder == Folder::Damage);
    let one = |info: &SnapshotInfo| {
        let known = info.condition.as_ref();
        let is_damaged = findings.harmed.contains(&info.id);
        let is_news = match is_damaged {
            true => !matches!(info.proof(), Proof::Damaged(_)),
            false => is_all_known && known.is_some_and(|known| known.is_damaged),
        };
        let time = Condition::time_of_next(known, now);
        is_news.then(|| Condition { snapshot: info.id, time, is_damaged, unknown: Vec::new() })
    };
    listing.snapshots.iter().filter_map(one).collect()
}

/// What nobody knew before.
struct Learnt {
    frames: Vec<BadFrame>,
    conditions: Vec<Condition>,
    seen: data::Seen,
}

/// Keeps what was learnt. A repository that cannot be written can still be checked.
fn record(repository: &Repository, learnt: Learnt, report: &mut Report) -> Result<()> {
    let Learnt { frames, conditions, seen } = learnt;
    let healed = healed(repository, &seen)?;
    let has_facts = !(seen.whole.is_empty() && report.confirmed.is_empty() && conditions.is_empty());
    if frames.is_empty() && healed.is_empty() && !has_facts {
        return Ok(());
    }
    let write = || -> Result<()> {
        let now = repository.world().now();
        let session = notes::begin(repository)?;
        if !frames.is_empty() {
            damage::put(&session, frames.clone())?;
        }
        let mut verified: Vec<ObjectId> = seen.whole.iter().copied().collect();
        verified.sort();
        if has_facts {
            let (confirmed, conditions) = (report.confirmed.clone(), conditions.clone());
            let note = Note { time: now, verified, confirmed, conditions, ..Note::default() };
            // What was counted on comes first.
            repository.storage().barrier()?;
            notes::put(&session, &note)?;
        }
        for id in &healed {
            repository.storage().delete(&Folder::Damage.key(id))?;
        }
        repository.storage().barrier()?;
        session.end(Vec::new())
    };
    match write() {
        Err(e) if e.kind() == Kind::Interrupted => Err(e),
        Err(e) => {
            report.not_recorded = e.to_string();
            report.confirmed.clear();
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Damage records of which nothing is true any more: all that they name was read and is good, since somebody put the object
/// back, or since it was the machine's bad hour and not the disk's.
fn healed(repository: &Repository, seen: &data::Seen) -> Result<Vec<ObjectId>> {
    let mut out = Vec::new();
    let is_good = |bad: &BadFrame| match seen.wrong.iter().find(|wrong| wrong.pack == bad.pack) {
        Some(wrong) if wrong.is_mendable => false,
        Some(wrong) => !wrong.frames.iter().any(|now| now.frame.is_none() || is_same(now, bad)),
        None => seen.whole.contains(&bad.pack),
    };
    for id in repository.list(Folder::Damage)? {
        // One that cannot be read is a finding already.
        let Ok(damage) = repository.damage(&id) else { continue };
        if damage.frames.iter().all(is_good) {
            out.push(id);
        }
    }
    Ok(out)
}
