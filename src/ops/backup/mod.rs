//! Backup: sources in, one snapshot out.
//!
//! A feeder walks in path order and hands out batches of small files, which a worker opens, reads, hashes and frames
//! by itself, and pieces of big files, already cut. Results come back in path order and go into the tree as they come,
//! so no list of all files is ever held.

mod buffers;
mod cut;
mod database;
mod feed;
mod gather;
mod parent;
mod read;
mod recall;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use self::buffers::Buffers;
use super::damage;
use super::notes::program;
use crate::entry::Time;
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::flow;
use crate::id::ObjectId;
use crate::record::{
    Body, Depth, REASONS_MAX, Reason, SessionRecord, SourceBody, SourceKind, SourceSummary, State, Statistics, Summary,
    Verdict,
};
use crate::repo::{
    Catalogue, ChunkReader, ChunkWriter, Fingerprint, Repository, Session, SnapshotInfo, StatCache, StatCacheWriter,
};
use crate::source::files::{self, Skipped};
use crate::source::sqlite;
use crate::text;

/// One thing to back up.
#[derive(Clone, Debug)]
pub struct Source {
    /// The series' name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// A database that is to be taken as such, or files: a folder, or anything else.
    pub kind: SourceKind,
}

impl Source {
    /// A folder and what is below it, or whatever else stands there.
    pub fn files(name: impl Into<String>, path: &Path) -> Self {
        Self { name: name.into(), path: path.to_owned(), kind: SourceKind::Folder }
    }
}

/// How databases among the files, and as sources of their own, are taken.
#[derive(Clone, Debug)]
pub struct Databases {
    /// As the files that they are. Sources that are databases are images anyway.
    pub raw: bool,
    /// How their engine reads them.
    pub options: sqlite::Options,
    /// How far a new image is checked, when it is stored; `None`: not at all.
    pub check: Option<Depth>,
}

impl Default for Databases {
    /// As images, checked quickly, with private copies where temporary files are.
    fn default() -> Self {
        let options = sqlite::Options::new(std::env::temp_dir().join("larder-spool"));
        Self { raw: false, options, check: Some(Depth::Pages) }
    }
}

/// What to back up, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// In the order in which they are read. Names are distinct.
    pub sources: Vec<Source>,
    /// What to leave out.
    pub files: files::Options,
    /// How to take databases.
    pub databases: Databases,
    /// The machine; part of the snapshot, never of the series' identity.
    pub client: String,
    /// The account.
    pub user: String,
    /// Offset of the local clock from UTC, seconds, and the zone's name.
    pub zone: (i32, String),
    /// Continue a series that another client or another root began.
    pub adopt: bool,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// A line for people.
    pub note: String,
    /// Take a file for unchanged when its size and modification time are, whatever its change time says.
    pub trust_mtime: bool,
    /// Whether the next run may rely on what this one saw; no for a dry run.
    pub keep_cache: bool,
}

/// What was saved.
#[derive(Clone, Debug)]
pub struct Report {
    /// The snapshot.
    pub snapshot: ObjectId,
    /// Its summary.
    pub summary: Summary,
    /// Why it is partial; at most [`REASONS_MAX`].
    pub reasons: Vec<Reason>,
    /// How many reasons there were.
    pub reasons_total: u64,
    /// What was left out on purpose.
    pub skipped: Skipped,
    /// How many entries the last snapshots of sources had that were all read now, and are not in this one.
    pub gone: u64,
}

/// zstd's level for everything stored.
pub(super) const LEVEL: i32 = 3;

/// What could not be read, by source.
#[derive(Debug, Default)]
struct Reasons {
    kept: Vec<Reason>,
    total: u64,
    /// What helps against the first failure of a source, if anything is known to.
    advice: String,
}

impl Reasons {
    fn add(&mut self, source: &str, path: &[u8], why: &str, job: Job<'_>) {
        self.total += 1;
        let shown = if path.is_empty() { source.to_owned() } else { format!("{source}: {}", text::escape(path)) };
        job.warn(&format!("{shown}: {why}"));
        if self.kept.len() < REASONS_MAX {
            let [source, path, why] = [source.as_bytes(), path, why.as_bytes()].map(<[u8]>::to_vec);
            self.kept.push(Reason { source, path, why });
        }
    }
}

/// Everything that one run's sources share.
struct Run<'a> {
    repository: &'a Repository,
    request: &'a Request,
    catalogue: &'a Catalogue,
    reader: &'a ChunkReader<'a>,
    writer: ChunkWriter<'a>,
    job: Job<'a>,
    started: Time,
    buffers: Buffers,
    /// Databases that stayed locked for as long as they were waited for.
    locked: AtomicU32,
}

/// What came of one source.
struct Saved {
    body: SourceBody,
    cache: Option<StatCacheWriter>,
    images: Vec<database::Stored>,
}

/// Such a part of what is stored is set aside for whoever must give back space on a full disk.
pub(super) const RESERVE_SHARE: u64 = 64;
/// How often a run begins anew.
const TRIES: usize = 3;

/// Why a run begins anew, so that no snapshot needs what may not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anew {
    /// It was taken for dead: a prune may have removed what it counted on.
    Expired,
    /// Something was found damaged that it may have counted on.
    Damaged,
}

/// What a run did before it began anew.
#[derive(Clone, Copy, Debug)]
struct SoFar {
    statistics: Statistics,
    /// See [`Report::gone`].
    gone: u64,
}

/// Backs up. An error means that no snapshot was made; a snapshot that lacks something says so in its state.
///
/// A run that is taken for dead before its snapshot is confirmed begins anew, since a prune may have removed what it
/// counted on, and so does one that meets damage nobody knew of: what it stored is used as far as it is still there, and
/// what is not is read from the source again.
pub fn backup(repository: &Repository, request: &Request, job: Job<'_>) -> Result<Report> {
    let mut done = None;
    for _ in 1..TRIES {
        let (why, so_far) = match try_backup(repository, request, done, true, job)? {
            Ok(report) => return Ok(report),
            Err(anew) => anew,
        };
        done = Some(so_far);
        match why {
            Anew::Expired => job.warn("this run was taken for dead, and begins anew: what it stored is used"),
            Anew::Damaged => job.warn(
                "the repository is damaged: the run begins anew, and stores again what it had counted on; `larder check` \
                 tells what else is lost",
            ),
        }
    }
    try_backup(repository, request, done, false, job)?.map_err(|_| {
        Error::new(Kind::Failed, "this run was taken for dead again and again, and no snapshot was made")
            .why("somebody removes sessions/ while their runs are at work")
            .fix("run it again when no prune is at work; what was stored is used")
    })
}

/// The same, once. Only who may begin anew does so for damage.
fn try_backup(
    repository: &Repository,
    request: &Request,
    done: Option<SoFar>,
    may_again: bool,
    job: Job<'_>,
) -> Result<std::result::Result<Report, (Anew, SoFar)>> {
    let begun = repository.world().elapsed();
    let previous = check_series(repository, request, job)?;
    let started = repository.world().now();
    let session = Session::begin(repository, &session_record(request, started))?;
    job.phase("reading the index", None, None);
    let catalogue = Catalogue::open_to_write(repository, job)?;
    let reader = ChunkReader::new(repository, &catalogue);
    let run = Run {
        repository,
        request,
        catalogue: &catalogue,
        reader: &reader,
        writer: ChunkWriter::new(&session, &reader, LEVEL),
        job,
        started,
        buffers: Buffers::default(),
        locked: AtomicU32::default(),
    };
    announce(&previous, job);
    let (mut statistics, mut reasons, mut skipped) = (Statistics::default(), Reasons::default(), Skipped::default());
    let (mut saved, mut gone) = (Vec::new(), 0);
    for (source, previous) in request.sources.iter().zip(&previous) {
        let (known, failed) = (statistics.known(), reasons.total);
        match run.source(source, previous.as_ref(), &mut statistics, &mut reasons, &mut skipped) {
            Ok(one) => {
                saved.push(one);
                gone += missed(previous.as_ref(), statistics.known() - known, reasons.total - failed);
            }
            Err(e) if e.kind() == Kind::Source => {
                if reasons.advice.is_empty() {
                    reasons.advice = e.advice().to_owned();
                }
                reasons.add(&source.name, b"", &e.to_string(), job);
            }
            Err(e) => return Err(e),
        }
        if job.cancel.is_cancelled() {
            break;
        }
    }
    job.phase("finishing", None, None);
    let written = run.writer.finish()?;
    let stored_bytes = run.writer.stored_bytes();
    let packs: Vec<ObjectId> = catalogue.packs().iter().map(|pack| pack.id).chain(run.writer.packs()?).collect();
    reader.forget();
    if job.cancel.is_cancelled() {
        session.end(Vec::new())?;
        return Err(Error::new(Kind::Interrupted, "interrupted, no snapshot was made")
            .why("what was read so far is stored, and the next run uses it"));
    }
    if saved.is_empty() {
        session.end(Vec::new())?;
        return Err(nothing_saved(&reasons));
    }
    let known: Vec<Verdict> = previous.into_iter().flatten().flat_map(|previous| previous.verdicts).collect();
    let verdicts = database::verdicts(&run, &saved, &known, &mut reasons)?;
    let elapsed = repository.world().elapsed().saturating_sub(begun);
    statistics.bytes_new = written.raw_bytes;
    statistics.bytes_added = session.bytes_written();
    statistics.files_failed = reasons.total;
    statistics.files_excluded = skipped.by_pattern;
    statistics.duration_ms = elapsed.as_millis() as u64;
    // To who begins anew, all that was read before looks as it did then.
    if let Some(done) = done {
        (statistics, gone) = (statistics.after(&done.statistics), done.gone);
    }
    let so_far = SoFar { statistics, gone };
    if damage::record_met(repository, job) && may_again {
        session.end(Vec::new())?;
        return Ok(Err((Anew::Damaged, so_far)));
    }
    let summary = summarise(request, started, statistics, &saved, &reasons);
    let body = Body {
        sources: saved.iter().map(|one| one.body.clone()).collect(),
        reasons: reasons.kept.clone(),
        reasons_total: reasons.total,
        verdicts,
        ..Body::default()
    };
    let snapshot = session.put_snapshot(&summary, &body)?;
    if !session.try_end(vec![snapshot])? {
        repository.trash_snapshot(&snapshot)?;
        return Ok(Err((Anew::Expired, so_far)));
    }
    repository.storage().set_aside(stored_bytes / RESERVE_SHARE);
    for cache in saved.into_iter().filter_map(|one| one.cache) {
        // Without it the next run reads more, and finds the same.
        let _ = cache.finish(&snapshot, &packs);
    }
    Ok(Ok(Report { snapshot, summary, reasons: reasons.kept, reasons_total: reasons.total, skipped, gone }))
}

/// How many entries of the last snapshot are gone. Nobody can tell where something could not be read; nor where not even the
/// root is known again, since the last snapshot could not be read then.
fn missed(previous: Option<&Previous>, known: u64, failed: u64) -> u64 {
    let before = previous.filter(|_| known > 0 && failed == 0).map_or(0, |previous| previous.source.root.entries);
    before.saturating_sub(known)
}

fn session_record(request: &Request, time: Time) -> SessionRecord {
    SessionRecord {
        time,
        client: request.client.clone().into_bytes(),
        user: request.user.clone().into_bytes(),
        process: std::process::id(),
        program: program(),
        ..SessionRecord::default()
    }
}

fn nothing_saved(reasons: &Reasons) -> Error {
    let why = reasons.kept.first().map(|r| String::from_utf8_lossy(&r.why).into_owned()).unwrap_or_default();
    let advice = match reasons.advice.as_str() {
        "" => "check that the paths exist and that this user may read them",
        advice => advice,
    };
    Error::new(Kind::Source, "nothing could be read, so nothing was saved").why(why).fix(advice)
}

fn summarise(request: &Request, time: Time, statistics: Statistics, saved: &[Saved], reasons: &Reasons) -> Summary {
    let source = |one: &Saved| SourceSummary {
        name: one.body.name.clone(),
        kind: one.body.kind,
        entries: one.body.root.entries,
        bytes: one.body.root.bytes,
    };
    Summary {
        time,
        utc_offset: request.zone.0,
        zone: request.zone.1.clone().into_bytes(),
        client: request.client.clone().into_bytes(),
        user: request.user.clone().into_bytes(),
        program: program(),
        state: if reasons.total == 0 { State::Whole } else { State::Partial },
        sources: saved.iter().map(source).collect(),
        statistics,
        tags: request.tags.iter().map(|tag| tag.clone().into_bytes()).collect(),
        note: request.note.clone().into_bytes(),
        unknown: Vec::new(),
    }
}

/// The last snapshots' sizes are the best guess of how much there is to do.
fn announce(previous: &[Option<Previous>], job: Job<'_>) {
    let sum = |of: &dyn Fn(&Previous) -> u64| previous.iter().map(|p| p.as_ref().map(of)).sum::<Option<u64>>();
    job.phase("backing up", sum(&|p| p.source.root.entries), sum(&|p| p.source.root.bytes));
}

/// The newest snapshot of a series.
struct Previous {
    snapshot: ObjectId,
    source: SourceBody,
    verdicts: Vec<Verdict>,
}

/// Finds the series that the sources continue, and refuses to continue one that looks like somebody else's.
fn check_series(repository: &Repository, request: &Request, job: Job<'_>) -> Result<Vec<Option<Previous>>> {
    let listing = repository.snapshots()?;
    for (id, error) in &listing.damaged {
        let why = if error.reason().is_empty() { error.what() } else { error.reason() };
        job.warn(&format!("snapshot {} cannot be read: {why}; `larder check` tells more", id.short()));
    }
    let one = |source: &Source| -> Result<Option<Previous>> {
        let Some(info) = listing.newest_of(source.name.as_bytes()) else { return Ok(None) };
        // One that cannot be read is no reason not to save today; `check` tells about it.
        let Ok(snapshot) = repository.snapshot_of(info) else { return Ok(None) };
        let verdicts = snapshot.body.verdicts;
        let found = snapshot.body.sources.into_iter().find(|body| body.name == source.name.as_bytes());
        let Some(body) = found else { return Ok(None) };
        if !request.adopt {
            check_owner(source, info, &body, request)?;
        }
        Ok(Some(Previous { snapshot: info.id, source: body, verdicts }))
    };
    request.sources.iter().map(one).collect()
}

fn check_owner(source: &Source, info: &SnapshotInfo, body: &SourceBody, request: &Request) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let choose = "give it another name (NAME=PATH or --name), or continue the series with --adopt";
    if info.summary.client != request.client.as_bytes() {
        let owner = text::escape(&info.summary.client);
        return Err(Error::new(Kind::Usage, format!("the series \"{}\" belongs to another machine", source.name))
            .why(format!("its newest snapshot {} is from {owner}, this is {}", info.id.short(), request.client))
            .fix(format!("{choose}; if this is the same machine under a new name: --client {owner}")));
    }
    let origin = PathBuf::from(std::ffi::OsStr::from_bytes(&body.origin));
    if origin != absolute(&source.path)? && origin.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Usage, format!("the series \"{}\" is of another path", source.name))
            .why(format!("its newest snapshot {} is of {}, which still exists", info.id.short(), text::path(&origin)))
            .fix(choose));
    }
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    use std::path::Component;
    // Not canonical: what the user named is what is compared and shown, links and all; only `.` and `..` go.
    let path: PathBuf = std::path::absolute(path)
        .map(|path| path.components().collect())
        .map_err(|e| Error::io(format!("cannot tell where {} is", text::path(path)), &e))?;
    let Some(last_up) = path.components().rev().position(|part| part == Component::ParentDir) else { return Ok(path) };
    let up_to = path.components().count() - last_up;
    let upwards: PathBuf = path.components().take(up_to).collect();
    // Where `..` leads from a link is for the system to say. What is not there is told by whoever reads it.
    let real = upwards.canonicalize().unwrap_or(upwards);
    Ok(path.components().skip(up_to).fold(real, |path, part| path.join(part)))
}

impl Run<'_> {
    fn source(
        &self,
        source: &Source,
        previous: Option<&Previous>,
        statistics: &mut Statistics,
        reasons: &mut Reasons,
        skipped: &mut Skipped,
    ) -> Result<Saved> {
        use std::os::unix::ffi::OsStrExt;
        let origin = absolute(&source.path)?;
        // What is known of files says nothing of databases, and the other way round.
        let mode: &[u8] = if self.request.databases.raw { b"\0raw" } else { b"" };
        let cache_key = [source.name.as_bytes(), b"\0", origin.as_os_str().as_bytes(), mode].concat();
        let walk = files::walk(&source.path, &self.request.files).map_err(|e| match e.kind() {
            Kind::Usage | Kind::Exhausted => e,
            _ => e.with_kind(Kind::Source),
        })?;
        let left_out = Mutex::new(Skipped::default());
        let count = flow::workers();
        let batches = 2 * count + 2;
        let feed = feed::Feeder::new(self, source, walk, self.known(previous, &cache_key), batches, &left_out);
        let cache = self.request.keep_cache.then(|| StatCacheWriter::create(self.repository, &cache_key)).flatten();
        let before = previous.map(|previous| &previous.source.root);
        let mut gather = gather::Gather::new(self, source, before, cache, statistics, reasons)?;
        flow::ordered(count, batches, |out| feed.run(out), || read::Reader::new(self), |done| gather.take(done))?;
        if let Ok(left_out) = left_out.into_inner() {
            add_skipped(skipped, &left_out);
        }
        let gather::Gathered { root, kind, cache, images } = gather.finish()?;
        let body = SourceBody {
            name: source.name.clone().into_bytes(),
            kind: match (source.kind, kind) {
                (SourceKind::Sqlite, _) => SourceKind::Sqlite,
                (_, crate::entry::Kind::Directory) => SourceKind::Folder,
                _ => SourceKind::File,
            },
            origin: origin.into_os_string().as_bytes().to_vec(),
            root,
            previous: previous.map(|previous| previous.snapshot),
            unknown: Vec::new(),
        };
        Ok(Saved { body, cache, images })
    }

    /// What a file looks like, if the next run may rely on that: a change so shortly before we looked could be followed
    /// by one that no time stamp shows.
    fn settled(&self, stat: &files::Stat) -> Option<Fingerprint> {
        self.settled_print(feed::fingerprint(stat))
    }

    /// What is odd about a file that was read as such, if it begins like what should have been read otherwise.
    fn odd(&self, path: &[u8], first: &[u8], bytes: u64) -> Option<files::Failure> {
        let is_odd = cut::is_sqlite(first) && !self.request.databases.raw;
        is_odd.then(|| database::odd_length(path, first, bytes))
    }

    fn settled_print(&self, print: Fingerprint) -> Option<Fingerprint> {
        (print.ctime.seconds + 2 < self.started.seconds).then_some(print)
    }

    /// What is known from before. What a snapshot had is taken as it is only while that snapshot is still listed, now that
    /// tombs have been listed, and while no prune is about to take anything away; else all of it is looked up.
    fn known(&self, previous: Option<&Previous>, cache_key: &[u8]) -> recall::Before<'_> {
        use crate::repo::Folder;
        let is_listed = |id: &ObjectId| self.repository.storage().size(&Folder::Snapshots.key(id)).is_ok();
        let cache = StatCache::open(self.repository, cache_key, self.catalogue, is_listed);
        let cache = cache.filter(|_| !self.catalogue.has_tombs());
        let tree = previous.map(|previous| crate::tree::TreeWalk::new(self.reader, &previous.source.root));
        let is_parent = previous.is_some_and(|previous| is_listed(&previous.snapshot));
        recall::Before { cache, tree, is_parent }
    }
}

fn add_skipped(sum: &mut Skipped, more: &Skipped) {
    sum.by_pattern += more.by_pattern;
    sum.cache_directories += more.cache_directories;
    sum.sockets += more.sockets;
    sum.other_file_systems += more.other_file_systems;
    sum.repository += more.repository;
    sum.database_files += more.database_files;
}

#[cfg(test)]
mod tests;
