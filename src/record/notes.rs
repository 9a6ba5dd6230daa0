//! Append-only facts: what was verified or restored for real, what somebody said, what is damaged, what a prune has
//! condemned.

use super::condition::Condition;
use super::drill::Drill;
use super::remark::Remark;
use super::session::{put_time, take_object, take_time};
use crate::entry::Time;
use crate::id::{ChunkPrefix, ObjectId};
use crate::wire::{self, Fields, Record, Unknown, critical, optional, put_varint};

/// A fact about objects. One section for the summary audience.
///
/// | field | value |
/// |---|---|
/// | 1 | time |
/// | 2 | a pack that was verified then (repeated) |
/// | 3 | a snapshot that was resolved fully then, and so is confirmed (repeated) |
/// | 4 | a drill that ended then (repeated), see [`Drill`] |
/// | 5 | what somebody said about a snapshot (repeated), see [`Remark`] |
/// | 6 | what a check found of a snapshot (repeated), see [`Condition`] |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// When it was written.
    pub time: Time,
    /// Packs read and found whole at that time.
    pub verified: Vec<ObjectId>,
    /// Snapshots found complete at that time.
    pub confirmed: Vec<ObjectId>,
    /// Restores for real, and what became of them.
    pub drills: Vec<Drill>,
    /// What was said about snapshots.
    pub remarks: Vec<Remark>,
    /// What a check found of snapshots.
    pub conditions: Vec<Condition>,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl Note {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        record.bytes(optional(1), &put_time(self.time));
        for pack in &self.verified {
            record.bytes(optional(2), pack.as_bytes());
        }
        for snapshot in &self.confirmed {
            record.bytes(optional(3), snapshot.as_bytes());
        }
        for drill in &self.drills {
            record.bytes(optional(4), &drill.encode());
        }
        for remark in &self.remarks {
            record.bytes(optional(5), &remark.encode());
        }
        for condition in &self.conditions {
            record.bytes(optional(6), &condition.encode());
        }
        record.finish()
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        const WHAT: &str = "note";
        let mut new = Self::default();
        for field in Fields::new(bytes, WHAT).once(&[1]) {
            let field = field?;
            match (field.tag >> 1, field.tag & 1) {
                (1, 0) => new.time = take_time(field.reader(WHAT))?,
                (2, 0) => new.verified.push(take_object(&field, WHAT)?),
                (3, 0) => new.confirmed.push(take_object(&field, WHAT)?),
                (4, 0) => new.drills.push(Drill::parse(field.value)?),
                (5, 0) => new.remarks.push(Remark::parse(field.value)?),
                (6, 0) => new.conditions.push(Condition::parse(field.value)?),
                _ => new.unknown.push(field.unknown(WHAT)?),
            }
        }
        Ok(new)
    }
}

/// A frame that was found bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFrame {
    /// In which pack.
    pub pack: ObjectId,
    /// Its ordinal, or [`Self::OUTSIDE`]; `None`: the pack as a whole is gone or useless.
    pub frame: Option<u32>,
    /// The chunks that are lost with it, as far as known.
    pub chunks: Vec<ChunkPrefix>,
}

impl BadFrame {
    /// In the place of an ordinal, what lies outside of frames: the pack's table, its trailer, its padding. No frame has
    /// it, so no copy is doubted for it.
    pub const OUTSIDE: u32 = u32::MAX;

    /// Whether it says nothing against any chunk.
    pub fn is_outside(&self) -> bool {
        self.frame == Some(Self::OUTSIDE)
    }
}

/// Copies that a writer must not count on. One section for the index audience.
///
/// Field 1, critical, repeated: pack id(32), frame ordinal + 1 as varint or 0 for all, then 16-byte chunk prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// What was found.
    pub frames: Vec<BadFrame>,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl Damage {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        for bad in &self.frames {
            let mut value = bad.pack.as_bytes().to_vec();
            put_varint(&mut value, bad.frame.map_or(0, |frame| u64::from(frame) + 1));
            bad.chunks.iter().for_each(|chunk| value.extend_from_slice(chunk.as_bytes()));
            record.bytes(critical(1), &value);
        }
        record.finish()
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        const WHAT: &str = "damage record";
        let mut new = Self::default();
        for field in Fields::new(bytes, WHAT) {
            let field = field?;
            if field.tag != critical(1) {
                new.unknown.push(field.unknown(WHAT)?);
                continue;
            }
            let mut r = field.reader(WHAT);
            let pack = ObjectId::new(r.array()?);
            let frame = r.varint_to(1 << 32)?.checked_sub(1).map(|frame| frame as u32);
            let mut chunks = Vec::with_capacity(r.remaining() / 16);
            while !r.is_empty() {
                chunks.push(ChunkPrefix::new(r.array()?));
            }
            new.frames.push(BadFrame { pack, frame, chunks });
        }
        Ok(new)
    }
}

/// Packs condemned by a prune under way. One section for the index audience.
///
/// | field | value |
/// |---|---|
/// | 1 | a pack (repeated) |
/// | 2 | time when it was written; in the trash it tells since when they lie there |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tomb {
    /// The packs.
    pub packs: Vec<ObjectId>,
    /// When it was written, if that is known. Nothing but how long packs lie in the trash follows from it.
    pub time: Option<Time>,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl Tomb {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        for pack in &self.packs {
            record.bytes(critical(1), pack.as_bytes());
        }
        if let Some(time) = self.time {
            record.bytes(optional(2), &put_time(time));
        }
        record.finish()
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        const WHAT: &str = "tomb";
        let mut new = Self::default();
        for field in Fields::new(bytes, WHAT).once(&[2]) {
            let field = field?;
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => new.packs.push(take_object(&field, WHAT)?),
                (2, 0) => new.time = Some(take_time(field.reader(WHAT))?),
                _ => new.unknown.push(field.unknown(WHAT)?),
            }
        }
        Ok(new)
    }
}
