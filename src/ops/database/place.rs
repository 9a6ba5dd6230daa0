//! A whole database, put where it belongs: a new file, or in place of one that is set aside.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{About, Database, because, compare, told};
use crate::entry::Time;
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::record::{Snapshot, SourceBody, SourceKind};
use crate::sql::{self, Proof};
use crate::target::files::{Draft, Existing};
use crate::target::sqlite::{Quiet, STATE_FILES, SetAside};
use crate::vfs::{self, Image};
use crate::{ops, text};

/// Bytes that are copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// Where a whole database goes.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The file.
    pub path: &'a Path,
    /// What to do with one that is there: it is refused, or set aside.
    pub existing: Existing,
    /// The repository's own folder, if it is one: nothing is written into it.
    pub keep_out: Option<&'a Path>,
    /// Whether programs will go on with it: then it is proven first, and refused if anything is wrong with it.
    pub is_live: bool,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Where it is now, links resolved.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// What was there and was set aside: the old names and the new ones; the database first.
    pub aside: Vec<(PathBuf, PathBuf)>,
    /// What people should know, safe to print.
    pub warnings: Vec<String>,
}

impl Placed {
    /// Whether a database gave way, and not only what one had left beside its place.
    pub fn replaces(&self) -> bool {
        self.aside.iter().any(|(from, _)| *from == self.path)
    }
}

/// Where a path of a source was; `None`: the snapshot does not say.
pub fn origin(source: &SourceBody, path: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let origin = Path::new(std::ffi::OsStr::from_bytes(&source.origin));
    let place = match source.kind {
        SourceKind::Folder => origin.join(std::ffi::OsStr::from_bytes(path)),
        SourceKind::File | SourceKind::Sqlite => origin.to_owned(),
    };
    // Anything else would depend on where we happen to be.
    place.is_absolute().then_some(place)
}

/// Why a database should not go back into use, as far as it was known when it was saved.
pub fn flaw(database: &Database<'_>, snapshot: &Snapshot, source: &SourceBody) -> Option<String> {
    let verdicts = &snapshot.body.verdicts;
    let verdict = verdicts.iter().find(|v| v.source == source.name && v.path == database.path)?;
    verdict.wrong.first().map(|first| format!("it was damaged when it was saved: {}", text::one_line(first)))
}

/// Puts a whole database in its place. An error means that what was there is as it was, or complete under the name that
/// the error tells.
pub fn place(
    database: &Database<'_>,
    (snapshot, source): (&Snapshot, &SourceBody),
    to: Place<'_>,
    stop: impl FnMut() -> bool + Send + 'static,
    job: Job<'_>,
) -> Result<Placed> {
    let mut warnings = Vec::new();
    database.require_whole()?;
    let flaw = flaw(database, snapshot, source);
    if to.is_live
        && let Some(why) = &flaw
    {
        return Err(unfit(database, why));
    }
    warnings.extend(flaw.map(|why| format!("{}: {why}", text::escape(&database.path))));
    let path = resolve(to.path)?;
    let draft = Draft::create(&path, to.existing, to.keep_out)?;
    if path.exists() {
        // Better now than after a long copy.
        Quiet::look(&path)?;
    }
    let bytes = write(database, &draft, job)?;
    if to.is_live {
        prove(database, &draft, stop, job, &mut warnings)?;
    }
    warnings.extend(draft.describe(database.file.entry())?);
    let now = database.file.reader().repository().world().now();
    let aside = exchange(draft, &path, now, &mut warnings)?;
    Ok(Placed { path, bytes, aside, warnings })
}

/// The file itself, if a link leads to it. The engine looks for the log beside that one.
fn resolve(path: &Path) -> Result<PathBuf> {
    let failed = |e: io::Error| Error::io(format!("cannot write {}", text::path(path)), &e);
    match path.canonicalize() {
        Ok(real) => Ok(real),
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
            Ok(folder.canonicalize().map_err(|e| failed(e).fix("make the folder first"))?.join(name))
        }
        Err(e) => Err(failed(e)),
    }
}

/// Whether a plain file was saved with a part of its state beside it, without which it is none.
pub(super) fn torn(database: &Database<'_>, source: &SourceBody) -> Result<Option<String>> {
    if database.facts.is_some() || source.kind != SourceKind::Folder {
        return Ok(None);
    }
    for ending in STATE_FILES {
        let path = [&database.path, ending.as_bytes()].concat();
        match ops::list::found_at(database.file.reader(), source, &path) {
            Ok(found) if ops::list::entry_of(&found)?.size > 0 => {
                let beside = text::escape(&path);
                return Ok(Some(format!("it was saved as a plain file, and a part of it is in {beside}")));
            }
            Ok(_) => {}
            Err(e) if e.kind() == Kind::Missing => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

impl Database<'_> {
    /// Without a part of its state it is older than it was, or in the middle of something: nothing of it is put anywhere.
    pub(super) fn require_whole(&self) -> Result<()> {
        self.torn.as_ref().map_or(Ok(()), |why| Err(unfit(self, why)))
    }
}

fn unfit(database: &Database<'_>, why: &str) -> Error {
    Error::new(Kind::Failed, format!("{} is not put back into use", text::escape(&database.path))).why(why).fix(
        "take an older snapshot; or restore it elsewhere with --to FOLDER, which takes what lies beside it, too, and \
         repair it there",
    )
}

fn write(database: &Database<'_>, draft: &Draft, job: Job<'_>) -> Result<u64> {
    let bytes = Image::bytes(&database.file);
    job.phase("restoring", None, Some(bytes));
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(bytes).unwrap_or(PIECE_BYTES))];
    let mut at = 0;
    while at < bytes {
        job.cancel.check()?;
        let len = (bytes - at).min(PIECE_BYTES as u64) as usize;
        Image::read_at(&database.file, at, &mut piece[..len]).map_err(|e| cannot_read(database, &e))?;
        let written = draft.file().write_all(&piece[..len]);
        written.map_err(|e| Error::io(format!("cannot write {}", text::path(&draft.place())), &e))?;
        at += len as u64;
        job.advance(0, len as u64);
    }
    draft.sync()?;
    Ok(bytes)
}

fn cannot_read(database: &Database<'_>, error: &Error) -> Error {
    Error::new(error.kind(), format!("cannot restore {}", text::escape(&database.path)))
        .why(error)
        .fix("nothing was changed where it would go; an older snapshot may have it whole")
}

/// A file as it lies on the disk, for the engine: without locks, and without files beside it.
struct Written<'a>(&'a Draft, u64);

impl Image for Written<'_> {
    fn bytes(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let read = self.0.file().read_exact_at(buffer, offset);
        read.map_err(|e| Error::io(format!("cannot read {} back", text::path(&self.0.place())), &e))
    }
}

/// What was written is whole, and what it was when it was saved.
fn prove(
    database: &Database<'_>,
    draft: &Draft,
    stop: impl FnMut() -> bool + Send + 'static,
    job: Job<'_>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    job.phase("checking", None, None);
    let written = Written(draft, Image::bytes(&database.file));
    let mut opened = vfs::open(&written)?;
    opened.stop_when(stop)?;
    because(&opened, sql::limit(&opened, sql::Limits::default()))?;
    let compared = because(&opened, compare(&opened, database.facts.as_ref(), &[], job.cancel))?;
    if let Some(failure) = opened.failure() {
        return Err(failure);
    }
    for finding in compared.findings {
        match finding.about {
            About::Content(Proof::References) => {
                warnings.push(format!("{}: {}", text::escape(&database.path), finding.said));
            }
            _ => return Err(unfit(database, &finding.said)),
        }
    }
    if !compared.unasked.is_empty() {
        let unasked = told(&compared.unasked);
        warnings.push(format!("{}: SQLite cannot check {unasked}", text::escape(&database.path)));
    }
    let bytes = database.facts.as_ref().map(|facts| facts.pages.saturating_mul(facts.page_bytes.into()));
    match bytes.filter(|bytes| *bytes > 0 && *bytes != written.1) {
        Some(bytes) => Err(unfit(database, &format!("it had {bytes} bytes when it was saved"))),
        None => Ok(()),
    }
}

/// Sets aside what is there, and puts the new one in its place.
fn exchange(draft: Draft, path: &Path, now: Time, warnings: &mut Vec<String>) -> Result<Vec<(PathBuf, PathBuf)>> {
    let held = if path.exists() { Some(Quiet::hold(path)?) } else { None };
    let plan = SetAside::plan(path, &stamp(now))?;
    let done = plan.run().and_then(|()| draft.publish_new());
    if let Some(users) = held.as_ref().and_then(Quiet::latecomers) {
        warnings.push(format!("{users} has just opened the old database, and must be started anew"));
    }
    drop(held);
    let moved = plan.moved();
    match (done, moved.first()) {
        (Ok(()), _) => Ok(moved.to_vec()),
        (Err(e), Some((_, aside))) if aside.exists() && !path.exists() => {
            let why = if e.reason().is_empty() { e.what().to_owned() } else { format!("{}: {}", e.what(), e.reason()) };
            let (old, aside) = (text::path(path), text::path(aside));
            Err(Error::new(e.kind(), format!("cannot put the new database in the place of {old}"))
                .why(why)
                .fix(format!("run this again when that is solved; the old one is complete, and now called {aside}")))
        }
        (Err(e), _) => Err(e),
    }
}

/// "20261121T020007Z"
pub(in crate::ops) fn stamp(time: Time) -> String {
    jiff::Timestamp::from_second(time.seconds)
        .map_or_else(|_| time.seconds.to_string(), |time| time.strftime("%Y%m%dT%H%M%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_say_where_it_was_was_nowhere() {
        let at = |kind, origin: &[u8]| {
            let root = crate::tree::Root { id: crate::id::ChunkId::ZERO, level: 0, entries: 0, bytes: 0 };
            let (name, origin, unknown) = (b"a".to_vec(), origin.to_vec(), crate::wire::Unknown::new());
            super::origin(&SourceBody { name, kind, origin, root, previous: None, unknown }, b"b/c")
        };
        assert_eq!(at(SourceKind::Folder, b"/a"), Some("/a/b/c".into()));
        assert_eq!(at(SourceKind::Sqlite, b"/a/b"), Some("/a/b".into()));
        assert_eq!([at(SourceKind::Folder, b""), at(SourceKind::File, b"a")], [None, None]);
    }

    #[test]
    fn the_time_is_a_part_of_a_name() {
        assert_eq!(stamp(Time { seconds: 1_795_226_407, nanos: 5 }), "20261121T020007Z");
        assert_eq!(stamp(Time { seconds: i64::MAX, nanos: 0 }), i64::MAX.to_string());
    }
}
