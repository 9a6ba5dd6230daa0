//! What a check found of a snapshot.

use super::session::{put_time, take_object, take_time};
use crate::entry::Time;
use crate::id::ObjectId;
use crate::wire::{self, Fields, Malformed, Record, Unknown, critical};

const WHAT: &str = "condition";

/// A check looked at all that a snapshot needs. It is told where that differs from what was told before.
///
/// | field | critical | value |
/// |---|---|---|
/// | 1 | yes | snapshot id(32) |
/// | 2 | yes | time when it was found |
/// | 3 | yes | result varint: 1 something of it cannot be had, 2 all of it can, as far as any check has read |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Of which snapshot.
    pub snapshot: ObjectId,
    /// When it was found.
    pub time: Time,
    /// Whether something of it cannot be had.
    pub is_damaged: bool,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl Condition {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        record.bytes(critical(1), self.snapshot.as_bytes()).bytes(critical(2), &put_time(self.time));
        record.varint(critical(3), 2 - u64::from(self.is_damaged)).finish()
    }

    pub(super) fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let (mut snapshot, mut time, mut is_damaged, mut unknown) = (None, None, None, Unknown::new());
        for field in Fields::new(bytes, WHAT).once(&[1, 2, 3]) {
            let field = field?;
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => snapshot = Some(take_object(&field, WHAT)?),
                (2, 1) => time = Some(take_time(field.reader(WHAT))?),
                (3, 1) => {
                    is_damaged = Some(match field.read(WHAT, |r| r.varint())? {
                        code @ (1 | 2) => code == 1,
                        code => return Err(Malformed::Newer { what: format!("a condition with the code {code}") }),
                    });
                }
                _ => unknown.push(field.unknown(WHAT)?),
            }
        }
        let without = |what| Malformed::bad(WHAT, what);
        Ok(Self {
            snapshot: snapshot.ok_or_else(|| without("it says not of which snapshot"))?,
            time: time.ok_or_else(|| without("it says not when it was found"))?,
            is_damaged: is_damaged.ok_or_else(|| without("it says not what was found"))?,
            unknown,
        })
    }

    /// Whether it counts rather than the other one, of the same snapshot: the later one does; of one moment, that it is
    /// damaged, since who repairs it checks again.
    pub fn is_after(&self, other: &Self) -> bool {
        (self.time, self.is_damaged) > (other.time, other.is_damaged)
    }

    /// The time for what is found now: later than what is known, so that it counts although another machine's clock is
    /// ahead.
    pub fn time_of_next(known: Option<&Self>, now: Time) -> Time {
        known.map_or(now, |known| now.max(known.time.next()))
    }
}
