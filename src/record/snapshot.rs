//! Snapshots: the only roots. A summary for lists, apart from a body that leads to the data.

use super::database::Verdict;
use super::session::{put_time, take_object, take_time};
use crate::entry::Time;
use crate::id::{ChunkId, ObjectId};
use crate::tree::Root;
use crate::wire::{
    self, Fields, Malformed, Reader, Record, Unknown, critical, optional, put_prefixed, put_signed, put_varint,
};

const SUMMARY: &str = "snapshot summary";
const BODY: &str = "snapshot body";
/// Longest name of a source, bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Most reasons that a snapshot names; the rest is only counted.
pub const REASONS_MAX: usize = 1000;

/// Farthest that a clock can be from UTC, seconds.
const UTC_OFFSET_MAX: u32 = 100_000;

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SourceKind {
    /// A folder and what is below it.
    Folder = 1,
    /// A single file (or link, or device).
    File = 2,
    /// An SQLite database, as the image of its file.
    Sqlite = 3,
}

/// A source's name, which restores use as the name of a folder.
fn take_name(bytes: &[u8], what: &'static str) -> wire::Result<Vec<u8>> {
    let is_bad = bytes.is_empty()
        || bytes.len() > NAME_BYTES_MAX
        || bytes == b"."
        || bytes == b".."
        || bytes.iter().any(|b| matches!(b, 0 | b'/'));
    if is_bad {
        return Err(Malformed::bad(what, format!("\"{}\" is no name of a source", crate::text::escape(bytes))));
    }
    Ok(bytes.to_vec())
}

/// Names must differ: they lead to series, and to folders in a restore.
fn check_distinct<'a>(names: impl Iterator<Item = &'a [u8]>, what: &'static str) -> wire::Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Malformed::bad(what, format!("two sources \"{}\"", crate::text::escape(name))));
        }
    }
    Ok(())
}

impl SourceKind {
    fn parse(number: u8) -> wire::Result<Self> {
        match number {
            1 => Ok(Self::Folder),
            2 => Ok(Self::File),
            3 => Ok(Self::Sqlite),
            n => Err(Malformed::Newer { what: format!("a source of kind {n}") }),
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::File => "file",
            Self::Sqlite => "sqlite",
        }
    }
}

/// Whether everything that was asked for is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// All of it.
    #[default]
    Whole,
    /// Something could not be read; the body says what.
    Partial,
}

/// A source as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSummary {
    /// The series' name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: SourceKind,
    /// Number of entries.
    pub entries: u64,
    /// Sum of their sizes, bytes.
    pub bytes: u64,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes read from the source.
    pub bytes_read: u64,
    /// Bytes of new chunks, before compression.
    pub bytes_new: u64,
    /// Bytes by which the repository grew.
    pub bytes_added: u64,
    /// Entries that were not in the previous snapshot.
    pub files_new: u64,
    /// Entries that were other than in the previous snapshot.
    pub files_changed: u64,
    /// Entries that were the same.
    pub files_unchanged: u64,
    /// Paths that could not be read.
    pub files_failed: u64,
    /// Paths left out because the user said so.
    pub files_excluded: u64,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
}

impl Statistics {
    /// Entries that were in the previous snapshot, too.
    pub fn known(&self) -> u64 {
        self.files_changed + self.files_unchanged
    }

    /// Those of a run that did so much before it began anew.
    pub fn after(self, before: &Self) -> Self {
        Self {
            bytes_read: self.bytes_read + before.bytes_read,
            bytes_new: self.bytes_new + before.bytes_new,
            bytes_added: self.bytes_added + before.bytes_added,
            files_new: before.files_new,
            files_changed: before.files_changed,
            files_unchanged: before.files_unchanged,
            duration_ms: self.duration_ms + before.duration_ms,
            ..self
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [
            self.bytes_read,
            self.bytes_new,
            self.bytes_added,
            self.files_new,
            self.files_changed,
            self.files_unchanged,
            self.files_failed,
            self.files_excluded,
            self.duration_ms,
        ] {
            put_varint(&mut out, number);
        }
        out
    }

    fn parse(mut r: Reader<'_>) -> wire::Result<Self> {
        let mut next = || r.varint();
        let new = Self {
            bytes_read: next()?,
            bytes_new: next()?,
            bytes_added: next()?,
            files_new: next()?,
            files_changed: next()?,
            files_unchanged: next()?,
            files_failed: next()?,
            files_excluded: next()?,
            duration_ms: next()?,
        };
        r.end()?;
        Ok(new)
    }
}

/// The summary audience's section.
///
/// | field | critical | value |
/// |---|---|---|
/// | 1 | yes | time |
/// | 2 | no | offset from UTC in seconds, signed; zone's name |
/// | 3, 4, 5 | no | client; user; program and version |
/// | 6 | yes | state varint: 0 whole, 1 partial |
/// | 7 | yes | source, repeated: name behind its length, kind u8, entries varint, bytes varint |
/// | 8 | no | statistics, varints |
/// | 9 | no | tag, repeated |
/// | 10 | no | note |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// When it was begun.
    pub time: Time,
    /// Offset of the client's clock from UTC, seconds.
    pub utc_offset: i32,
    /// IANA name of the client's zone; may be empty.
    pub zone: Vec<u8>,
    /// The machine.
    pub client: Vec<u8>,
    /// The account.
    pub user: Vec<u8>,
    /// Program and version.
    pub program: Vec<u8>,
    /// Whole or partial.
    pub state: State,
    /// The sources.
    pub sources: Vec<SourceSummary>,
    /// What the run did.
    pub statistics: Statistics,
    /// Words of the user's.
    pub tags: Vec<Vec<u8>>,
    /// A line of the user's; may be empty.
    pub note: Vec<u8>,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl Summary {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        let mut zone = Vec::new();
        put_signed(&mut zone, self.utc_offset.into());
        zone.extend_from_slice(&self.zone);
        record.bytes(critical(1), &put_time(self.time)).bytes(optional(2), &zone);
        record
            .bytes_if(optional(3), &self.client)
            .bytes_if(optional(4), &self.user)
            .bytes_if(optional(5), &self.program);
        record.varint(critical(6), u64::from(self.state == State::Partial));
        for source in &self.sources {
            let mut value = Vec::new();
            put_prefixed(&mut value, &source.name);
            value.push(source.kind as u8);
            put_varint(&mut value, source.entries);
            put_varint(&mut value, source.bytes);
            record.bytes(critical(7), &value);
        }
        record.bytes(optional(8), &self.statistics.encode());
        for tag in &self.tags {
            record.bytes(optional(9), tag);
        }
        record.bytes_if(optional(10), &self.note).finish()
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let (mut new, mut time, mut state) = (Self::default(), None, None);
        for field in Fields::new(bytes, SUMMARY).once(&[1, 2, 3, 4, 5, 6, 8, 10]) {
            let field = field?;
            let mut r = field.reader(SUMMARY);
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => time = Some(take_time(r)?),
                (2, 0) => {
                    let offset = r.signed()?;
                    new.utc_offset = i32::try_from(offset)
                        .ok()
                        .filter(|offset| offset.unsigned_abs() <= UTC_OFFSET_MAX)
                        .ok_or_else(|| r.bad(format!("a clock {offset} s from UTC")))?;
                    new.zone = r.bytes(r.remaining())?.to_vec();
                }
                (3, 0) => new.client = field.value.to_vec(),
                (4, 0) => new.user = field.value.to_vec(),
                (5, 0) => new.program = field.value.to_vec(),
                (6, 1) => {
                    state = Some(match field.read(SUMMARY, |r| r.varint())? {
                        0 => State::Whole,
                        1 => State::Partial,
                        n => return Err(Malformed::Newer { what: format!("a snapshot of state {n}") }),
                    });
                }
                (7, 1) => {
                    let name = take_name(r.prefixed()?, SUMMARY)?;
                    let kind = SourceKind::parse(r.u8()?)?;
                    new.sources.push(SourceSummary { name, kind, entries: r.varint()?, bytes: r.varint()? });
                    r.end()?;
                }
                (8, 0) => new.statistics = Statistics::parse(r)?,
                (9, 0) => new.tags.push(field.value.to_vec()),
                (10, 0) => new.note = field.value.to_vec(),
                _ => new.unknown.push(field.unknown(SUMMARY)?),
            }
        }
        let (Some(time), Some(state)) = (time, state) else {
            return Err(Malformed::bad(SUMMARY, "it has no time, or no state"));
        };
        (new.time, new.state) = (time, state);
        check_distinct(new.sources.iter().map(|source| source.name.as_slice()), SUMMARY)?;
        Ok(new)
    }
}

/// Why a snapshot is partial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// In which source.
    pub source: Vec<u8>,
    /// Which path, raw bytes.
    pub path: Vec<u8>,
    /// What happened.
    pub why: Vec<u8>,
}

/// A source as restores need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceBody {
    /// The series' name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: SourceKind,
    /// Where it came from: an absolute path, raw bytes.
    pub origin: Vec<u8>,
    /// Its tree.
    pub root: Root,
    /// The snapshot before it in its series.
    pub previous: Option<ObjectId>,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl SourceBody {
    fn encode(&self) -> Vec<u8> {
        let mut root = self.root.id.as_bytes().to_vec();
        root.push(self.root.level);
        put_varint(&mut root, self.root.entries);
        put_varint(&mut root, self.root.bytes);
        let mut record = Record::new(&self.unknown);
        record.bytes(critical(1), &self.name).varint(critical(2), self.kind as u64);
        record.bytes(optional(3), &self.origin).bytes(critical(4), &root);
        if let Some(previous) = &self.previous {
            record.bytes(optional(5), previous.as_bytes());
        }
        record.finish()
    }

    fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let (mut name, mut kind, mut root) = (None, None, None);
        let (mut origin, mut previous, mut unknown) = (Vec::new(), None, Unknown::new());
        for field in Fields::new(bytes, BODY).once(&[1, 2, 3, 4, 5]) {
            let field = field?;
            let mut r = field.reader(BODY);
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => name = Some(take_name(field.value, BODY)?),
                (2, 1) => kind = Some(SourceKind::parse(field.read(BODY, |r| r.varint_to(255))? as u8)?),
                (3, 0) => origin = field.value.to_vec(),
                (4, 1) => {
                    let id = ChunkId::new(r.array()?);
                    root = Some(Root { id, level: r.u8()?, entries: r.varint()?, bytes: r.varint()? });
                    r.end()?;
                }
                (5, 0) => previous = Some(take_object(&field, BODY)?),
                _ => unknown.push(field.unknown(BODY)?),
            }
        }
        match (name, kind, root) {
            (Some(name), Some(kind), Some(root)) => Ok(Self { name, kind, origin, root, previous, unknown }),
            _ => Err(Malformed::bad(BODY, "a source without name, kind or root")),
        }
    }
}

/// The content audience's section.
///
/// | field | critical | value |
/// |---|---|---|
/// | 1 | yes | source, repeated, a record: 1 name; 2 kind; 3 origin; 4 root id(32), level u8, entries, bytes; 5 previous snapshot |
/// | 2 | no | reason, repeated: source, path, why, each behind its length |
/// | 3 | no | number of reasons, with those not named |
/// | 4 | no | verdict on the image of a database, repeated: see [`Verdict`] |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The sources, in the order of the summary.
    pub sources: Vec<SourceBody>,
    /// Why it is partial; at most [`REASONS_MAX`].
    pub reasons: Vec<Reason>,
    /// How many reasons there were.
    pub reasons_total: u64,
    /// What was found out about images of databases.
    pub verdicts: Vec<Verdict>,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl Body {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        for source in &self.sources {
            record.bytes(critical(1), &source.encode());
        }
        for reason in &self.reasons {
            let mut value = Vec::new();
            for part in [&reason.source, &reason.path, &reason.why] {
                put_prefixed(&mut value, part);
            }
            record.bytes(optional(2), &value);
        }
        record.varint_if(optional(3), self.reasons_total);
        for verdict in &self.verdicts {
            record.bytes(optional(4), &verdict.encode());
        }
        record.finish()
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let mut new = Self::default();
        for field in Fields::new(bytes, BODY).once(&[3]) {
            let field = field?;
            let mut r = field.reader(BODY);
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => new.sources.push(SourceBody::parse(field.value)?),
                (2, 0) => {
                    let mut part = || r.prefixed().map(<[u8]>::to_vec);
                    new.reasons.push(Reason { source: part()?, path: part()?, why: part()? });
                    r.end()?;
                }
                (3, 0) => new.reasons_total = field.read(BODY, |r| r.varint())?,
                (4, 0) => match field.read(BODY, Verdict::take) {
                    Ok(verdict) => new.verdicts.push(verdict),
                    // A check that came later than this program: a snapshot is no worse for it.
                    Err(Malformed::Newer { .. }) => new.unknown.push(field.unknown(BODY)?),
                    Err(e) => return Err(e),
                },
                _ => new.unknown.push(field.unknown(BODY)?),
            }
        }
        check_distinct(new.sources.iter().map(|source| source.name.as_slice()), BODY)?;
        Ok(new)
    }
}

/// A snapshot and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub id: ObjectId,
    /// For lists.
    pub summary: Summary,
    /// For restores.
    pub body: Body,
}
