//! KnownDatabases among the files: taken as images, each in one transaction, and not as files that somebody writes.
//!
//! While an image is read, nobody in this process opens or closes the database's file: that would drop the locks that
//! its engine holds. What is beside it on disk, and belongs to its state, counts for whether it has changed, and is not
//! saved itself.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::cut::{Cut, is_sqlite};
use super::feed::{Begun, fingerprint};
use super::parent::Parent;
use super::read::{Big, BigBegin, Piece, Task};
use super::{Reasons, Run, Saved};
use crate::chunk::{BLOCK_BYTES, CHUNK_BYTES_MAX};
use crate::crypto::{ChunkKind, ObjectHasher};
use crate::entry::Kind;
use crate::error::{Kind as ErrorKind, Result};
use crate::event::Cancel;
use crate::flow::Feed;
use crate::ops::database::Checked;
use crate::record::{self, Depth, Verdict};
use crate::repo::{Catalogue, ChunkReader, Fingerprint, NotedPiece};
use crate::source::files::{self, Found, Stat};
use crate::source::sqlite::{self, Failure, FailureKind, SIDE_FILES, Scan};
use crate::tree::{StoredEntry, encode_content};
use crate::{ops, text};

const _: () = assert!(sqlite::TABLES_MAX <= record::TABLES_MAX);
/// In one chunk, whatever their names, with the number of rows and the lengths that stand before each.
const _: () = assert!(sqlite::TABLES_MAX * (sqlite::TABLE_NAME_BYTES_MAX + 24) < CHUNK_BYTES_MAX);

/// So many that stay locked are waited for as long as it takes. Where there are more, one program may keep all of them: they
/// get such a part of that time, in which a commit can end.
const LOCKED_MAX: u32 = 4;
const HURRY: u32 = 15;
/// How often one is read that changes, or is replaced, while it is read.
const TRIES: usize = 4;
/// Of the log's format, with which its index begins.
const WAL_VERSION: u32 = 3_007_000;

/// The databases that were found, so that what lies beside them is known for what it is.
#[derive(Debug, Default)]
pub(super) struct KnownDatabases {
    paths: HashSet<Vec<u8>>,
    pub files_left_out: u64,
}

impl KnownDatabases {
    pub fn insert(&mut self, path: &[u8]) {
        self.paths.insert(path.to_vec());
    }

    /// Whether this is the name of the log, its index or the journal of one of them.
    pub fn belongs(&self, path: &[u8]) -> bool {
        let base = |side: &str| path.strip_suffix(side.as_bytes()).is_some_and(|base| self.paths.contains(base));
        SIDE_FILES.iter().any(|side| base(side))
    }

    /// Whether this is one of these, by name and by what it begins with, and so is left out. It is counted.
    pub fn leaves_out(&mut self, found: &Found) -> bool {
        let leaves_out = found.stat.kind == Kind::File && self.belongs(&found.path) && !is_strange(found);
        self.files_left_out += u64::from(leaves_out);
        leaves_out
    }
}

/// Whether a file of such a name is something else: it begins neither as the engine's do, nor with zeroes, as those that
/// were used up.
fn is_strange(found: &Found) -> bool {
    let mut first = [0; 8];
    let read = found.open().and_then(|file| file.read_at(0, &mut first));
    let begins = |with: &[u8]| first.starts_with(with);
    let is_known = match &found.path {
        path if path.ends_with(b"-wal") => begins(b"\x37\x7f\x06\x82") || begins(b"\x37\x7f\x06\x83"),
        path if path.ends_with(b"-shm") => begins(&WAL_VERSION.to_ne_bytes()),
        _ => begins(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"),
    };
    read.is_ok() && first != [0; 8] && !is_known
}

/// Whether the file may be a database, by what costs nothing.
pub(super) fn may_be_database(found: &Found) -> bool {
    found.stat.kind == Kind::File && found.stat.size > 0 && found.stat.size.is_multiple_of(512)
}

/// Whether it may be one, by its first bytes, too. It is closed again.
pub(super) fn is_database(found: &Found) -> bool {
    if !may_be_database(found) {
        return false;
    }
    let mut first = [0; 16];
    let read = found.open().and_then(|file| file.read_at(0, &mut first));
    read.is_ok_and(|len| is_sqlite(&first[..len]))
}

/// What a database looks like: the file, and the log or journal in which a part of its state may be.
pub(super) fn fingerprint_of(found: &Found) -> Fingerprint {
    let mut print = fingerprint(&found.stat);
    for stat in side_files(found) {
        print.size = print.size.saturating_add(stat.size);
        print.mtime = print.mtime.max(stat.mtime);
        // Not its change time, which moves with every reader: the engine gives the log the owner of the database.
        print.ctime = print.ctime.max(stat.mtime);
    }
    print
}

/// The log and the journal beside it, if anything is in them.
fn side_files(found: &Found) -> impl Iterator<Item = Stat> {
    let sides = SIDE_FILES.iter().filter(|side| **side != "-shm").filter_map(|side| found.beside(side));
    sides.filter(|stat| stat.kind == Kind::File && stat.size > 0)
}

pub(super) fn has_side_files(found: &Found) -> bool {
    side_files(found).next().is_some()
}

/// An image that was read to its end.
pub(super) struct Image {
    pub bytes: u64,
    facts: sqlite::Facts,
    /// How many bytes behind its last page are no part of it.
    pub bytes_behind: u64,
    /// What the next run may rely on.
    pub fingerprint: Fingerprint,
    /// It sees the pages as they are stored.
    scan: Option<Arc<Scan>>,
}

impl Image {
    /// Facts about it as they are stored, now that all pages were seen, and who saw them.
    pub fn told(self) -> (Vec<u8>, Option<Arc<Scan>>) {
        let Self { mut facts, scan, .. } = self;
        if let Some(scan) = &scan {
            facts.count(scan);
        }
        (facts_of(facts).encode(), scan)
    }
}

impl<'a> Run<'a> {
    /// Reads a database and hands out its pieces. The outer error stops the run, the inner one is about this database.
    pub(super) fn image(
        &self,
        item: &Big,
        path: &Path,
        begun: Option<Begun>,
        out: &mut Feed<'_, Task<'a>>,
    ) -> Result<std::result::Result<Image, Failure>> {
        let begun = begun.map(|begun| begun.while_like(fingerprint_of(&item.found))).unwrap_or_default();
        let mut image = self.image_once(item, path, begun, out)?;
        for _ in 1..TRIES {
            if matches!(&image, Err(failure) if failure.kind() == FailureKind::Changed) {
                image = self.image_once(item, path, Vec::new(), out)?;
            }
        }
        Ok(image)
    }

    /// Databases are opened one after another, as the tree goes on, so the time that they are waited for adds up.
    fn options(&self) -> sqlite::Options {
        let mut options = self.request.databases.options.clone();
        if self.locked.load(Relaxed) >= LOCKED_MAX {
            options.busy_timeout /= HURRY;
        }
        options
    }

    fn image_once(
        &self,
        item: &Big,
        path: &Path,
        begun: Vec<NotedPiece>,
        out: &mut Feed<'_, Task<'a>>,
    ) -> Result<std::result::Result<Image, Failure>> {
        // Before it is opened: what changes from now on makes it look new the next time.
        let fingerprint = fingerprint_of(&item.found);
        let options = self.options();
        let mut reading = match sqlite::open(path, &options, self.job.cancel) {
            Ok(reading) => reading,
            Err(failure) => {
                let is_locked = failure.kind() == FailureKind::Busy;
                self.locked.fetch_add(is_locked.into(), Relaxed);
                return Ok(Err(failure));
            }
        };
        let bytes_behind = reading.bytes_behind();
        let scan = match self.request.databases.check {
            Some(_) => reading.scan(),
            None => Ok(None),
        };
        let scan = match scan {
            Ok(scan) => scan.map(Arc::new),
            Err(failure) => return Ok(Err(failure)),
        };
        let parent = item.before.as_ref().and_then(|record| Parent::of(self.reader, record)).map(Arc::new);
        let (path, settled) = (item.found.path.clone(), self.settled_print(fingerprint));
        let begin = BigBegin { path, fingerprint: settled, begun: begun.clone(), parent: parent.clone() };
        out.send(Task::BigBegin(begin))?;
        let bytes = reading.bytes();
        let (mut at, mut begun) = (0, begun.into_iter());
        while at < bytes && !self.job.cancel.is_cancelled() {
            let (len, known) = ((bytes - at).min(Cut::Blocks.piece_bytes() as u64), begun.next());
            let is_noted = known.is_some();
            if let Some(known) = known.filter(|known| self.recalls(known, len, scan.as_deref())) {
                at += len;
                out.send(Task::Stored(known.chunks))?;
                continue;
            }
            let mut piece = self.buffers.take();
            piece.resize(len as usize, 0);
            let read = reading.make_way(at, &options, self.job.cancel).and_then(|()| reading.read_at(at, &mut piece));
            if let Err(failure) = read {
                return Ok(Err(failure));
            }
            let places = (0..piece.len()).step_by(BLOCK_BYTES).map(|start| at + start as u64).collect();
            let ends = (1..=piece.len().div_ceil(BLOCK_BYTES)).map(|n| (n * BLOCK_BYTES).min(piece.len())).collect();
            at += piece.len() as u64;
            let (parent, scan) = (parent.clone(), scan.clone());
            out.send(Task::Piece(Piece { cut: Cut::Blocks, bytes: piece, ends, places, is_noted, parent, scan }))?;
        }
        let facts = match reading.finish(scan.as_deref()) {
            Ok(facts) => facts,
            Err(failure) => return Ok(Err(failure)),
        };
        Ok(Ok(Image { bytes, facts, bytes_behind, fingerprint: settled.unwrap_or(Fingerprint::NONE), scan }))
    }

    /// Whether a piece of this length, as an earlier run noted it, need not be read: it is stored, and what its pages tell of
    /// the others is known.
    fn recalls(&self, piece: &NotedPiece, len: u64, scan: Option<&Scan>) -> bool {
        let is_stored = piece.chunks.iter().all(|chunk| self.catalogue.contains(&chunk.id));
        let is_it = piece.chunks.iter().map(|chunk| chunk.len).sum::<u64>() == len;
        is_it && is_stored && scan.map_or(self.request.databases.check.is_none(), |scan| scan.recall(&piece.seen))
    }
}

/// The reason why a database is kept as the plain file that it is.
pub(super) fn as_plain_file(found: &Found, failure: &Failure) -> files::Failure {
    let error = failure.error();
    let why = if error.reason().is_empty() { error.what() } else { error.reason() };
    files::Failure {
        path: found.path.clone(),
        kind: files::FailureKind::Unreadable,
        why: format!("was saved as a plain file, which may not be one state of the database: {why}"),
    }
}

/// The reason why what begins like a database was not even tried as one: no database has this length.
pub(super) fn odd_length(path: &[u8], first: &[u8], bytes: u64) -> files::Failure {
    let header = sqlite::sniff(first).filter(|header| header.pages > 0);
    let pages = header.map_or(bytes, |header| u64::from(header.pages) * u64::from(header.page_bytes));
    let what = match bytes.cmp(&pages) {
        Ordering::Less => format!("is cut short by {} bytes", pages - bytes),
        Ordering::Equal => "its length is no number of pages".to_owned(),
        Ordering::Greater => format!("is longer by {} bytes than its pages (a VACUUM cuts them off)", bytes - pages),
    };
    let why = format!("begins like a database, but {what}; it was saved as it is");
    files::Failure { path: path.to_vec(), kind: files::FailureKind::Unreadable, why }
}

fn facts_of(facts: sqlite::Facts) -> record::Facts {
    let mut schema = ObjectHasher::default();
    schema.update(facts.schema.as_deref().unwrap_or_default());
    let counted = facts.tables.into_iter().map(|table| (table.name, Some(table.rows)));
    let uncounted = facts.uncounted.into_iter().map(|table| (table.name, None));
    let mut tables: Vec<_> = counted.chain(uncounted).map(|(name, rows)| record::TableFacts { name, rows }).collect();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    record::Facts {
        page_bytes: facts.page_bytes,
        pages: facts.pages.into(),
        journal: match facts.journal {
            sqlite::Journal::Rollback => record::Journal::Rollback,
            sqlite::Journal::Wal => record::Journal::Wal,
        },
        user_version: facts.user_version,
        application_id: facts.application_id,
        encoding: facts.encoding.name().into(),
        schema: *schema.finish().as_bytes(),
        tables_total: tables.len() as u64 + facts.tables_more,
        tables,
        ..record::Facts::default()
    }
}

/// An image in the snapshot that is being made.
pub(super) struct Stored {
    pub path: Vec<u8>,
    pub record: Vec<u8>,
    /// What was seen of it, if it was read.
    pub scan: Option<Arc<Scan>>,
}

impl Stored {
    /// Whether all of its pages were seen, and are well.
    fn is_well(&self) -> bool {
        self.scan.as_ref().is_some_and(|scan| scan.wrong().or(scan.bad_record()).is_none())
    }
}

/// What is known of the images in a snapshot: what was known before of those that are the same. Of others whose pages were
/// all well when they were read there is nothing to say; else the engine tells, from what has just been stored.
pub(super) fn verdicts(
    run: &Run<'_>,
    saved: &[Saved],
    before: &[Verdict],
    reasons: &mut Reasons,
) -> Result<Vec<Verdict>> {
    let Some(depth) = run.request.databases.check else { return Ok(Vec::new()) };
    let images = saved.iter().flat_map(|one| one.images.iter().map(|stored| (one.body.name.as_slice(), stored)));
    let mut out = Vec::new();
    let mut asked = None;
    for (source, stored) in images {
        let Ok(entry) = StoredEntry::parse(&stored.record) else { continue };
        let content = encode_content(&entry.entry.content);
        let image = *run.repository.keys().identity.chunk_id(ChunkKind::List, &content).as_bytes();
        let known = before.iter().find(|old| old.image == image && old.depth as u8 >= depth as u8);
        let checked = match known {
            Some(known) => Ok(Checked { wrong: known.wrong.clone(), ..Checked::default() }),
            None if depth == Depth::Pages && stored.is_well() => Ok(Checked::default()),
            None => {
                // What was just stored is not in the catalogue that the run began with.
                let catalogue = match &mut asked {
                    Some(catalogue) => catalogue,
                    none => {
                        run.job.phase("checking databases", None, None);
                        none.insert(Catalogue::open(run.repository, run.job)?)
                    }
                };
                what_is_wrong(stored, depth, &ChunkReader::new(run.repository, catalogue), run.job.cancel)
            }
        };
        let name = String::from_utf8_lossy(source);
        let Checked { wrong, unasked } = match checked {
            Ok(checked) => checked,
            Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
            Err(e) => {
                reasons.add(&name, &stored.path, &format!("its image could not be checked: {e}"), run.job);
                continue;
            }
        };
        if let Some(first) = wrong.first() {
            let why = format!("the database is damaged where it comes from: {}", text::one_line(first));
            reasons.add(&name, &stored.path, &why, run.job);
        }
        // Of these the pages alone were checked, and that is told.
        let depth = if unasked.is_empty() { depth } else { Depth::Pages };
        if !unasked.is_empty() && wrong.is_empty() {
            let (path, told) = (text::escape(&stored.path), ops::database::told(&unasked));
            run.job.note(&format!("{}/{path}: its pages are sound; SQLite cannot check {told}", text::escape(source)));
        }
        out.push(Verdict { source: source.to_vec(), path: stored.path.clone(), image, depth, wrong });
    }
    Ok(out)
}

/// By the engine. Where a record is not as its header says, it is asked for all that it can find; it may find nothing, since
/// it reads a record only as far as its table has columns, and then what was seen is told.
fn what_is_wrong(stored: &Stored, depth: Depth, reader: &ChunkReader<'_>, cancel: &Cancel) -> Result<Checked> {
    let bad_record = stored.scan.as_ref().and_then(|scan| scan.bad_record());
    let depth = if bad_record.is_some() { Depth::Full } else { depth };
    let mut checked = ops::database::check(reader, &stored.record, depth, cancel)?;
    if checked.wrong.is_empty() {
        checked.wrong.extend(bad_record.map(String::into_bytes));
    }
    Ok(checked)
}

/// Where a file of a source lies.
pub(super) fn path_of(source: &Path, is_file: bool, found: &Found) -> std::path::PathBuf {
    match is_file {
        true => source.to_owned(),
        false => source.join(Path::new(std::ffi::OsStr::from_bytes(&found.path))),
    }
}
