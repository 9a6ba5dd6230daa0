//! Runs that write: that they are there, and what they saved.

use crate::entry::Time;
use crate::id::ObjectId;
use crate::wire::{
    self, Field, Fields, Malformed, Reader, Record, Unknown, critical, optional, put_signed, put_varint,
};

/// Stored form of a time.
pub(super) fn put_time(time: Time) -> Vec<u8> {
    let mut out = Vec::new();
    put_signed(&mut out, time.seconds);
    put_varint(&mut out, time.nanos.into());
    out
}

/// The way back, to the field's end.
pub(super) fn take_time(mut r: Reader<'_>) -> wire::Result<Time> {
    let time = Time { seconds: r.signed()?, nanos: r.varint_to(999_999_999)? as u32 };
    r.end()?;
    Ok(time)
}

/// The name of an object, to the field's end.
pub(super) fn take_object(field: &Field<'_>, what: &'static str) -> wire::Result<ObjectId> {
    field.read(what, |r| r.array().map(ObjectId::new))
}

/// What a run says of itself when it begins, for people who wonder. One section for the summary audience.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionRecord {
    /// When it began.
    pub time: Time,
    /// The machine.
    pub client: Vec<u8>,
    /// The account.
    pub user: Vec<u8>,
    /// Process id on that machine.
    pub process: u32,
    /// Program and version.
    pub program: Vec<u8>,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl SessionRecord {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        record.bytes(critical(1), &put_time(self.time));
        record.bytes_if(optional(2), &self.client).bytes_if(optional(3), &self.user);
        record.varint_if(optional(4), self.process.into()).bytes_if(optional(5), &self.program);
        record.finish()
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        const WHAT: &str = "session";
        let (mut new, mut time) = (Self::default(), None);
        for field in Fields::new(bytes, WHAT).once(&[1, 2, 3, 4, 5]) {
            let field = field?;
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => time = Some(take_time(field.reader(WHAT))?),
                (2, 0) => new.client = field.value.to_vec(),
                (3, 0) => new.user = field.value.to_vec(),
                (4, 0) => new.process = field.read(WHAT, |r| r.varint_to(u32::MAX.into()))? as u32,
                (5, 0) => new.program = field.value.to_vec(),
                _ => new.unknown.push(field.unknown(WHAT)?),
            }
        }
        new.time = time.ok_or_else(|| Malformed::bad(WHAT, "it has no time"))?;
        Ok(new)
    }
}

/// What a run leaves when it ends: these snapshots are whole and safe, and these notes are there. One section for the
/// summary audience.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionEnd {
    /// Names of the snapshots that it confirms; may be none.
    pub snapshots: Vec<ObjectId>,
    /// Names of the notes that it wrote, so that one that is gone is missed.
    pub notes: Vec<ObjectId>,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl SessionEnd {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        for id in &self.snapshots {
            record.bytes(critical(1), id.as_bytes());
        }
        for id in &self.notes {
            record.bytes(optional(2), id.as_bytes());
        }
        record.finish()
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        const WHAT: &str = "session end";
        let mut new = Self::default();
        for field in Fields::new(bytes, WHAT) {
            let field = field?;
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => new.snapshots.push(take_object(&field, WHAT)?),
                (2, 0) => new.notes.push(take_object(&field, WHAT)?),
                _ => new.unknown.push(field.unknown(WHAT)?),
            }
        }
        Ok(new)
    }
}
