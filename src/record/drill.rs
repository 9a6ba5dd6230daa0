//! What became of a restore for real.

use super::session::{put_time, take_object, take_time};
use crate::entry::Time;
use crate::id::ObjectId;
use crate::wire::{self, Fields, Malformed, Record, Unknown, critical, optional, put_varint};

const WHAT: &str = "drill";
/// Most failures that are named; the rest is only counted.
pub const FAILURES_MAX: usize = 100;
/// Of a longer failure the beginning is kept, bytes.
pub const FAILURE_BYTES_MAX: usize = 1000;

/// A part of a snapshot was restored, looked at, and thrown away.
///
/// | field | critical | value |
/// |---|---|---|
/// | 1 | yes | snapshot id(32) |
/// | 2 | no | time when it began |
/// | 3 | yes | name of the source; absent: all of them |
/// | 4 | yes | path below its root; absent: all of it |
/// | 5 | no | duration in milliseconds, entries restored, their bytes, databases among them, varints |
/// | 6 | yes | what failed, text, repeated |
/// | 7 | yes | number of failures, with those not named; 0: it passed |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drill {
    /// Of which snapshot.
    pub snapshot: ObjectId,
    /// When it began.
    pub time: Time,
    /// Of which source; `None`: of all.
    pub source: Option<Vec<u8>>,
    /// Which path below the source's root; empty: all of it.
    pub path: Vec<u8>,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
    /// Entries restored.
    pub entries: u64,
    /// Bytes restored.
    pub bytes: u64,
    /// Databases looked at.
    pub databases: u64,
    /// What was not as it must be, safe to print; at most [`FAILURES_MAX`].
    pub failures: Vec<Vec<u8>>,
    /// How many failures there were.
    pub failures_total: u64,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl Drill {
    /// One that has yet to find something.
    pub fn of(snapshot: ObjectId) -> Self {
        Self {
            snapshot,
            time: Time::default(),
            source: None,
            path: Vec::new(),
            duration_ms: 0,
            entries: 0,
            bytes: 0,
            databases: 0,
            failures: Vec::new(),
            failures_total: 0,
            unknown: Unknown::new(),
        }
    }

    /// Whether all was as it must be.
    pub fn passed(&self) -> bool {
        self.failures_total == 0
    }

    /// Counts a failure, and keeps it if there are not too many.
    pub fn fail(&mut self, what: &str) {
        self.failures_total += 1;
        if self.failures.len() < FAILURES_MAX {
            let end = (0..=what.len().min(FAILURE_BYTES_MAX)).rev().find(|end| what.is_char_boundary(*end));
            self.failures.push(what.as_bytes()[..end.unwrap_or(0)].to_vec());
        }
    }

    /// Whether it was of all that this source holds.
    pub fn is_of_whole(&self, source: &[u8]) -> bool {
        self.path.is_empty() && self.source.as_ref().is_none_or(|name| name == source)
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        record.bytes(critical(1), self.snapshot.as_bytes()).bytes(optional(2), &put_time(self.time));
        if let Some(source) = &self.source {
            record.bytes(critical(3), source);
        }
        record.bytes_if(critical(4), &self.path);
        let mut numbers = Vec::new();
        for number in [self.duration_ms, self.entries, self.bytes, self.databases] {
            put_varint(&mut numbers, number);
        }
        record.bytes(optional(5), &numbers);
        for failure in &self.failures {
            record.bytes(critical(6), failure);
        }
        record.varint_if(critical(7), self.failures_total).finish()
    }

    pub(super) fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let (mut new, mut snapshot) = (Self::of(ObjectId::ZERO), None);
        for field in Fields::new(bytes, WHAT).once(&[1, 2, 3, 4, 5, 7]) {
            let field = field?;
            let mut r = field.reader(WHAT);
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => snapshot = Some(take_object(&field, WHAT)?),
                (2, 0) => new.time = take_time(r)?,
                (3, 1) => new.source = Some(field.value.to_vec()),
                (4, 1) => new.path = field.value.to_vec(),
                (5, 0) => {
                    (new.duration_ms, new.entries) = (r.varint()?, r.varint()?);
                    (new.bytes, new.databases) = (r.varint()?, r.varint()?);
                    r.end()?;
                }
                (6, 1) => new.failures.push(field.value.to_vec()),
                (7, 1) => new.failures_total = field.read(WHAT, |r| r.varint())?,
                _ => new.unknown.push(field.unknown(WHAT)?),
            }
        }
        new.snapshot = snapshot.ok_or_else(|| Malformed::bad(WHAT, "it says not of which snapshot"))?;
        if new.failures_total < new.failures.len() as u64 {
            return Err(Malformed::bad(WHAT, "it names more failures than there were"));
        }
        Ok(new)
    }
}
