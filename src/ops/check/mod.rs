//! Check: is everything that the snapshots need there, and is it what it was?
//!
//! *Structure* reads all small objects, the tables of all packs and every tree node and chunk list once, and looks up
//! every chunk. *Data* reads whole packs, decodes every frame and compares every chunk with its id; what was verified
//! longest ago comes first, and notes remember what was. Frames found bad are recorded, so that their copies never
//! count again and the next backup stores those chunks anew.

mod affected;
mod data;
mod structure;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::crypto::Audience;
use crate::error::{Kind, Result};
use crate::event::Job;
use crate::id::{ChunkId, ObjectId};
use crate::record::{BadFrame, Damage, Note, SessionRecord};
use crate::repo::{Catalogue, Folder, Repository, Session};

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
    /// What needs it.
    pub affects: Vec<Affected>,
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
    frames: Vec<BadFrame>,
}

impl Findings {
    fn add(&mut self, object: impl Into<String>, what: impl Into<String>) -> usize {
        self.found.push(Found { object: object.into(), what: what.into(), affects: Vec::new() });
        self.found.len() - 1
    }
}

/// Checks.
pub fn check(repository: &Repository, request: &Request, job: Job<'_>) -> Result<Report> {
    job.phase("checking structure", None, None);
    let catalogue = Catalogue::load(repository, job)?;
    let mut findings = Findings::default();
    let mut structure = structure::Structure::new(repository, &catalogue, &mut findings, job);
    structure.objects()?;
    let sizes = structure.packs()?;
    let listing = structure.snapshots()?;
    let mut report = Report {
        snapshots: (listing.snapshots.len() + listing.damaged.len()) as u64,
        chunks: catalogue.chunk_count() as u64,
        packs: sizes.len() as u64,
        bytes_total: sizes.values().sum(),
        ..Report::default()
    };
    let ledger = data::Ledger::read(repository);
    let mut verified = Vec::new();
    if let Some(share) = request.data {
        let order = ledger.oldest_first(&sizes, share);
        verified = data::read_packs(repository, &catalogue, &order, request, &mut findings, &mut report, job)?;
    }
    let read: BTreeSet<ObjectId> = verified.iter().copied().collect();
    report.packs_unread = sizes.keys().filter(|id| !ledger.knows(id) && !read.contains(id)).count() as u64;
    if !findings.chunks.is_empty() {
        affected::name(repository, &catalogue, &listing, &mut findings, job)?;
    }
    let harmed: BTreeSet<ObjectId> =
        findings.found.iter().flat_map(|found| found.affects.iter().map(|a| a.snapshot)).collect();
    let unconfirmed = listing.snapshots.iter().filter(|info| !info.confirmed).map(|info| info.id);
    report.confirmed = unconfirmed.filter(|id| !harmed.contains(id)).collect();
    record(repository, &findings, &verified, &mut report)?;
    report.found = findings.found;
    Ok(report)
}

/// Keeps what was learnt. A repository that cannot be written can still be checked.
fn record(repository: &Repository, findings: &Findings, verified: &[ObjectId], report: &mut Report) -> Result<()> {
    if findings.frames.is_empty() && verified.is_empty() && report.confirmed.is_empty() {
        return Ok(());
    }
    let write = || -> Result<()> {
        let now = repository.world().now();
        let program = concat!("larder ", env!("CARGO_PKG_VERSION")).into();
        let begun = SessionRecord { time: now, process: std::process::id(), program, ..SessionRecord::default() };
        let session = Session::begin(repository, &begun)?;
        if !findings.frames.is_empty() {
            let damage = Damage { frames: findings.frames.clone(), ..Damage::default() };
            session.put(Folder::Damage, &[(Audience::Index, &damage.encode())])?;
        }
        let (verified, confirmed) = (verified.to_vec(), report.confirmed.clone());
        if !verified.is_empty() || !confirmed.is_empty() {
            let note = Note { time: now, verified, confirmed, ..Note::default() };
            session.put(Folder::Notes, &[(Audience::Summary, &note.encode())])?;
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
