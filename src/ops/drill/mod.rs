//! A drill: a restore for real, into a folder that does not stay, to prove that a snapshot can be had back.
//!
//! - Everything that was asked for is restored by the same code that restores for good, so every byte of every file has
//!   been compared with its id. Every database is then opened and looked at by its own engine.
//! - Where the snapshot came from is never looked at: it may be gone.
//! - The scratch folder is private, and goes at the end, after a failure, and when somebody wants to stop.
//! - The result is kept as a note beside the snapshot. One that says nothing about the snapshot (no space left, something
//!   that cannot be made here, a wish to stop) is not.

mod prove;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use prove::{Outcome, Stop};

use super::damage;
use super::database::{About, Finding};
use super::facts::facts_of;
use super::list::light;
use super::notes;
use super::restore::{self, Lost, Part, Pick, Target};
use crate::clock;
use crate::entry::Kind as EntryKind;
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::record::{Drill, Facts, Note, Snapshot, SourceBody};
use crate::repo::{Catalogue, ChunkReader, Repository};
use crate::target::Scratch;
use crate::target::files::Existing;
use crate::tree::{Found, TreeWalk};
use crate::{sql, text};

use prove::Wanted;

/// What to drill, and how.
pub struct Request<'a> {
    /// One source by its number, and a path in it (empty: all of it); `None`: all sources.
    pub part: Option<(usize, Vec<u8>)>,
    /// Asked of every database; see [`sql::Expected::checks`].
    pub checks: &'a [&'a str],
    /// Where the scratch folder is made.
    pub scratch: &'a Path,
    /// The repository's own folder, if it is one: nothing is written into it.
    pub repository: Option<&'a Path>,
    /// Makes what the engine asks, while a statement runs, whether to stop.
    pub stop: &'a dyn Fn() -> Stop,
}

/// A database that was looked at.
#[derive(Clone, Debug)]
pub struct Proved {
    /// In which source, raw bytes.
    pub source: Vec<u8>,
    /// Which path, raw bytes.
    pub path: Vec<u8>,
    /// Whether it was saved as a database, and so could be compared with what was seen then.
    pub is_compared: bool,
    /// What came of it.
    pub outcome: Outcome,
}

/// What a drill found.
#[derive(Debug)]
pub struct Report {
    /// What is kept of it.
    pub drill: Drill,
    /// Every database that was restored.
    pub databases: Vec<Proved>,
    /// What could not be restored.
    pub lost: Vec<Lost>,
    /// Regular files restored, every byte of them compared.
    pub files: u64,
    /// What the file system of the scratch folder refused.
    pub warnings: Vec<String>,
    /// How long it took.
    pub took: Duration,
    /// Why the result is not kept in the repository; empty: it is.
    pub not_kept: String,
}

/// Drills. What is wrong with the snapshot is in the report; an error is anything else.
pub fn drill(repository: &Repository, snapshot: &Snapshot, request: &Request<'_>, job: Job<'_>) -> Result<Report> {
    check_checks(request.checks)?;
    let begun = repository.world().elapsed();
    let mut drill = Drill { time: repository.world().now(), ..Drill::of(snapshot.id) };
    if let Some((source, path)) = &request.part {
        (drill.source, drill.path) = (Some(snapshot.body.sources[*source].name.clone()), path.clone());
    }
    let token: [u8; 8] = clock::random(repository.world())?;
    let name = format!("larder-drill-{}", data_encoding::HEXLOWER.encode(&token));
    let scratch = Scratch::create(request.scratch, &name)?;
    let mut drilling = Drilling {
        repository,
        snapshot,
        request,
        job,
        scratch: &scratch,
        report: Report {
            drill,
            databases: Vec::new(),
            lost: Vec::new(),
            files: 0,
            warnings: Vec::new(),
            took: Duration::ZERO,
            not_kept: String::new(),
        },
    };
    let done = drilling.all();
    damage::record_met(repository, job);
    done?;
    let mut report = drilling.report;
    if !report.drill.passed() && repository.was_forgotten(&snapshot.id) {
        return Err(Error::new(
            Kind::Missing,
            format!("snapshot {} was forgotten while it was drilled", snapshot.id.short()),
        )
        .why("a prune may have removed what it needs, so nothing is said of it")
        .fix("drill a snapshot that stays"));
    }
    if let Err(e) = scratch.remove() {
        report.warnings.push(e.to_string());
    }
    report.took = repository.world().elapsed().saturating_sub(begun);
    report.drill.duration_ms = report.took.as_millis().try_into().unwrap_or(u64::MAX);
    keep(repository, &mut report)?;
    Ok(report)
}

/// What is no SQL is told before anything long begins.
fn check_checks(checks: &[&str]) -> Result<()> {
    if checks.is_empty() {
        return Ok(());
    }
    let empty = sql::Connection::open_in_memory()
        .map_err(|e| Error::new(Kind::Failed, "SQLite cannot open an empty database").why(e.to_string()))?;
    sql::check_syntax(&empty, checks)
}

/// Keeps the result. A repository that cannot be written can still be drilled.
fn keep(repository: &Repository, report: &mut Report) -> Result<()> {
    let drill = &report.drill;
    if drill.passed() && !report.lost.is_empty() {
        report.not_kept = "it says nothing about the snapshot: something could not be made here".into();
        return Ok(());
    }
    let note = Note { time: repository.world().now(), drills: vec![drill.clone()], ..Note::default() };
    match notes::leave(repository, &note) {
        Err(e) if e.kind() == Kind::Interrupted => Err(e),
        Err(e) => {
            report.not_kept = e.to_string();
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

struct Drilling<'a> {
    repository: &'a Repository,
    snapshot: &'a Snapshot,
    request: &'a Request<'a>,
    job: Job<'a>,
    scratch: &'a Scratch,
    report: Report,
}

impl Drilling<'_> {
    fn all(&mut self) -> Result<()> {
        let parts = self.parts();
        let is_whole = parts.iter().all(|part| part.pick == Pick::At(Vec::new()));
        let load = if is_whole { Catalogue::load } else { Catalogue::open };
        let catalogue = load(self.repository, self.job)?;
        let reader = ChunkReader::new(self.repository, &catalogue);
        self.restore(&catalogue, &parts, is_whole)?;
        self.job.phase("looking at databases", None, None);
        for part in &parts {
            self.prove_part(&reader, part)?;
        }
        if self.report.databases.is_empty() && !self.request.checks.is_empty() && self.report.drill.passed() {
            return Err(Error::new(Kind::Usage, "there is no database to ask")
                .why("what was restored holds none")
                .fix("leave out --check, or name what holds a database"));
        }
        Ok(())
    }

    /// Paths keep their place below the source's root, so that the restored files are found again.
    fn parts(&self) -> Vec<Part> {
        let pick = |path: &[u8]| match path.is_empty() {
            true => Pick::At(Vec::new()),
            false => Pick::Paths(vec![path.to_vec()]),
        };
        match &self.request.part {
            Some((source, path)) => vec![Part { source: *source, into: Vec::new(), pick: pick(path) }],
            None => {
                let sources = &self.snapshot.body.sources;
                let into = |source: &SourceBody| if sources.len() > 1 { source.name.clone() } else { Vec::new() };
                let whole = |(n, source)| Part { source: n, into: into(source), pick: pick(b"") };
                sources.iter().enumerate().map(whole).collect()
            }
        }
    }

    fn restore(&mut self, catalogue: &Catalogue, parts: &[Part], is_whole: bool) -> Result<()> {
        let roots = || parts.iter().map(|part| &self.snapshot.body.sources[part.source].root);
        let (entries, bytes) = (roots().map(|root| root.entries).sum(), roots().map(|root| root.bytes).sum());
        self.job.phase("restoring", is_whole.then_some(entries), is_whole.then_some(bytes));
        if let Some(free) = self.scratch.free_bytes().filter(|free| is_whole && *free < bytes) {
            let (there, free) = (text::path(self.request.scratch), text::size(free));
            self.job.warn(&format!("{} are to be restored, and in {there} there are {free} free", text::size(bytes)));
        }
        let to = self.restored();
        let target = Target { path: &to, existing: Existing::Refuse, repository: self.request.repository };
        let done = restore::restore(self.repository, catalogue, self.snapshot, parts, target, self.job);
        let done = match done {
            Err(e) if e.kind() == Kind::Damage => {
                self.report.drill.fail(&e.to_string());
                return Ok(());
            }
            other => other?,
        };
        let report = &mut self.report;
        for lost in done.lost.iter().filter(|lost| lost.damaged) {
            let name = shown(lost.source.as_bytes(), &lost.path);
            report.drill.fail(&format!("{name}: {}", lost.why));
        }
        (report.files, report.drill.entries, report.drill.bytes) =
            (done.written.files, done.written.entries(), done.bytes);
        (report.lost, report.warnings) = (done.lost, done.written.warnings);
        Ok(())
    }

    fn restored(&self) -> PathBuf {
        self.scratch.path().join("restored")
    }

    fn prove_part(&mut self, reader: &ChunkReader<'_>, part: &Part) -> Result<()> {
        let source = &self.snapshot.body.sources[part.source];
        let lost = self.report.lost.iter().filter(|lost| lost.source.as_bytes() == source.name);
        let lost: HashSet<Vec<u8>> = lost.map(|lost| lost.path.clone()).collect();
        let path = self.request.part.as_ref().map_or(&b""[..], |(_, path)| path);
        for found in TreeWalk::below(reader, &source.root, path) {
            self.job.cancel.check()?;
            // What of the tree cannot be read, the restore has told.
            let Ok(found) = found else { continue };
            let Ok(stored) = light(&found) else { continue };
            if stored.entry.kind != EntryKind::File || stored.entry.size == 0 || lost.contains(&found.path) {
                continue;
            }
            let below = Path::new("restored").join(OsStr::from_bytes(&part.into)).join(OsStr::from_bytes(&found.path));
            match facts_of(reader, &found.path, &stored) {
                Ok(None) if !prove::is_database(self.scratch, &below) => {}
                Ok(facts) => self.prove(source, &found, &below, facts.as_ref())?,
                Err(e) => self.report.drill.fail(&format!("{}: {e}", shown(&source.name, &found.path))),
            }
        }
        Ok(())
    }

    fn prove(&mut self, source: &SourceBody, found: &Found, below: &Path, facts: Option<&Facts>) -> Result<()> {
        let request = self.request;
        let wanted = Wanted { facts, checks: request.checks, stop: request.stop, cancel: self.job.cancel };
        let mut outcome = prove::prove(self.scratch, below, &wanted)?;
        self.recorded(source, found, &mut outcome);
        for finding in &outcome.findings {
            let what = format!("{}: {}: {}", shown(&source.name, &found.path), finding.about.name(), finding.said);
            self.report.drill.fail(&what);
        }
        self.report.drill.databases += 1;
        self.job.advance(1, 0);
        let (source, path) = (source.name.clone(), found.path.clone());
        self.report.databases.push(Proved { source, path, is_compared: facts.is_some(), outcome });
        Ok(())
    }

    /// Adds what was known to be wrong with it when it was saved.
    fn recorded(&self, source: &SourceBody, found: &Found, outcome: &mut Outcome) {
        let verdicts = self.snapshot.body.verdicts.iter();
        let mut verdicts = verdicts.filter(|verdict| verdict.source == source.name && verdict.path == found.path);
        let wrong = verdicts.find_map(|verdict| verdict.wrong.first());
        let mut reasons = self.snapshot.body.reasons.iter();
        let reason = reasons.find(|reason| reason.source == source.name && reason.path == found.path);
        // A reason alone is not a fault of the database: it may have been busy when it was saved.
        let said = match (wrong, reason) {
            (Some(wrong), _) => format!("it was damaged when it was saved: {}", text::one_line(wrong)),
            (None, Some(reason)) if !outcome.findings.is_empty() => {
                format!("told when it was saved: {}", text::escape(&reason.why))
            }
            _ => return,
        };
        outcome.findings.insert(0, Finding { about: About::Saved, said });
    }
}

/// A place in a snapshot, safe to print.
fn shown(source: &[u8], path: &[u8]) -> String {
    match path.is_empty() {
        true => text::escape(source),
        false => format!("{}/{}", text::escape(source), text::escape(path)),
    }
}
