//! What is known of a database whose image a file is.

use crate::wire::{
    self, Fields, Malformed, Reader, Record, Unknown, critical, optional, put_prefixed, put_signed, put_varint,
};

const FACTS: &str = "facts of a database";
/// Most tables that are named; the rest is only counted.
pub const TABLES_MAX: usize = 10_000;

/// Which engine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Engine {
    /// SQLite 3.
    Sqlite = 1,
}

/// How the database kept its changes until they were complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Journal {
    /// In a journal beside it, to roll back.
    Rollback = 1,
    /// In a log beside it, to read along.
    Wal = 2,
}

/// A table, and its rows when the image was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// Its name, raw bytes.
    pub name: Vec<u8>,
    /// `None` where they could not be counted.
    pub rows: Option<u64>,
}

/// Seen in the transaction in which the image was taken.
///
/// | field | critical | value |
/// |---|---|---|
/// | 1 | yes | engine varint |
/// | 2 | no | bytes of a page varint, pages varint, journal u8 |
/// | 3 | no | user version signed, application id signed |
/// | 4 | no | encoding of its texts |
/// | 5 | no | BLAKE3 of its schema (32) |
/// | 6 | no | table, repeated: name behind its length, 1 + rows varint, or 0 |
/// | 7 | no | number of tables varint, with those not named |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose.
    pub engine: Engine,
    /// Bytes of a page.
    pub page_bytes: u32,
    /// Pages of the image.
    pub pages: u64,
    /// How it keeps its changes.
    pub journal: Journal,
    /// The number that applications use for the version of their schema.
    pub user_version: i32,
    /// The number that tells whose format it is.
    pub application_id: i32,
    /// Of its texts, as the engine calls it.
    pub encoding: Vec<u8>,
    /// BLAKE3 of its schema: of the statements that make it, in order.
    pub schema: [u8; 32],
    /// At most [`TABLES_MAX`].
    pub tables: Vec<TableFacts>,
    /// How many there are.
    pub tables_total: u64,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            engine: Engine::Sqlite,
            page_bytes: 0,
            pages: 0,
            journal: Journal::Rollback,
            user_version: 0,
            application_id: 0,
            encoding: Vec::new(),
            schema: [0; 32],
            tables: Vec::new(),
            tables_total: 0,
            unknown: Unknown::new(),
        }
    }
}

impl Facts {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        record.varint(critical(1), self.engine as u64);
        let mut pages = Vec::new();
        put_varint(&mut pages, self.page_bytes.into());
        put_varint(&mut pages, self.pages);
        pages.push(self.journal as u8);
        let mut numbers = Vec::new();
        put_signed(&mut numbers, self.user_version.into());
        put_signed(&mut numbers, self.application_id.into());
        record.bytes(optional(2), &pages).bytes(optional(3), &numbers);
        record.bytes_if(optional(4), &self.encoding).bytes(optional(5), &self.schema);
        for table in &self.tables {
            let mut value = Vec::new();
            put_prefixed(&mut value, &table.name);
            put_varint(&mut value, table.rows.map_or(0, |rows| rows.saturating_add(1)));
            record.bytes(optional(6), &value);
        }
        record.varint_if(optional(7), self.tables_total).finish()
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let (mut new, mut engine) = (Self::default(), None);
        for field in Fields::new(bytes, FACTS).once(&[1, 2, 3, 4, 5, 7]) {
            let field = field?;
            let mut r = field.reader(FACTS);
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => {
                    engine = Some(match r.varint()? {
                        1 => Engine::Sqlite,
                        n => return Err(Malformed::Newer { what: format!("a database of engine {n}") }),
                    });
                }
                (2, 0) => {
                    new.page_bytes = r.varint_to(u32::MAX.into())? as u32;
                    new.pages = r.varint()?;
                    new.journal = match r.u8()? {
                        1 => Journal::Rollback,
                        2 => Journal::Wal,
                        n => return Err(Malformed::Newer { what: format!("a database with a journal of kind {n}") }),
                    };
                }
                (3, 0) => (new.user_version, new.application_id) = (take_i32(&mut r)?, take_i32(&mut r)?),
                (4, 0) => new.encoding = r.bytes(r.remaining())?.to_vec(),
                (5, 0) => new.schema = r.array()?,
                (6, 0) => {
                    new.tables.push(TableFacts { name: r.prefixed()?.to_vec(), rows: r.varint()?.checked_sub(1) })
                }
                (7, 0) => new.tables_total = r.varint()?,
                _ => {
                    new.unknown.push(field.unknown(FACTS)?);
                    continue;
                }
            }
            r.end()?;
        }
        new.engine = engine.ok_or_else(|| Malformed::bad(FACTS, "they say not whose"))?;
        Ok(new)
    }
}

fn take_i32(r: &mut Reader<'_>) -> wire::Result<i32> {
    let number = r.signed()?;
    i32::try_from(number).map_err(|_| r.bad(format!("{number} in 32 bits")))
}

/// How far an image was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Depth {
    /// Whether its pages fit together.
    Pages = 1,
    /// All that its engine can check.
    Full = 2,
}

/// What is known of a stored image, in the words of its engine, or of who read its pages: source behind its length, path behind
/// its length, digest of the file's content (32), depth u8, then what is wrong, each behind its length. Nothing wrong: it is
/// sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// In which source.
    pub source: Vec<u8>,
    /// Which file, raw bytes.
    pub path: Vec<u8>,
    /// Which state of it: the id of its content, see docs/format.md.
    pub image: [u8; 32],
    /// How far it was checked.
    pub depth: Depth,
    /// What is wrong.
    pub wrong: Vec<Vec<u8>>,
}

impl Verdict {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_prefixed(&mut out, &self.source);
        put_prefixed(&mut out, &self.path);
        out.extend_from_slice(&self.image);
        out.push(self.depth as u8);
        self.wrong.iter().for_each(|what| put_prefixed(&mut out, what));
        out
    }

    pub(super) fn take(r: &mut Reader<'_>) -> wire::Result<Self> {
        let (source, path, image) = (r.prefixed()?.to_vec(), r.prefixed()?.to_vec(), r.array()?);
        let depth = match r.u8()? {
            1 => Depth::Pages,
            2 => Depth::Full,
            n => return Err(Malformed::Newer { what: format!("a check of depth {n}") }),
        };
        let mut wrong = Vec::new();
        while !r.is_empty() {
            wrong.push(r.prefixed()?.to_vec());
        }
        Ok(Self { source, path, image, depth, wrong })
    }
}
