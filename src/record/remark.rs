//! What is said about a snapshot after it was taken.

use super::session::{put_time, take_object, take_time};
use crate::entry::Time;
use crate::id::ObjectId;
use crate::wire::{self, Field, Fields, Malformed, Record, Unknown, critical};

const WHAT: &str = "remark";

/// Somebody says something about a snapshot: what stays unsaid is as before.
///
/// | field | critical | value |
/// |---|---|---|
/// | 1 | yes | snapshot id(32) |
/// | 2 | yes | time when it was made |
/// | 3 | yes | pin varint: 1 not pinned, 2 pinned |
/// | 4 | yes | tag that it has from now on, repeated |
/// | 5 | yes | tag that it has no longer, repeated |
/// | 6 | yes | note, text; without bytes: none any more |
/// | 7 | yes | list varint: 1 it was taken off the list on purpose, 2 it was brought back |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Of which snapshot.
    pub snapshot: ObjectId,
    /// When it was made.
    pub time: Time,
    /// Whether it is kept whatever the rules say.
    pub is_pinned: Option<bool>,
    /// Tags that it has from now on.
    pub tags_added: Vec<Vec<u8>>,
    /// Tags that it has no longer; one that is added as well, it has.
    pub tags_removed: Vec<Vec<u8>>,
    /// Its note; empty: none any more.
    pub note: Option<Vec<u8>>,
    /// Whether it was taken off the list on purpose, rather than brought back.
    pub is_forgotten: Option<bool>,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl Remark {
    /// One that says nothing yet.
    pub fn of(snapshot: ObjectId, time: Time) -> Self {
        Self {
            snapshot,
            time,
            is_pinned: None,
            tags_added: Vec::new(),
            tags_removed: Vec::new(),
            note: None,
            is_forgotten: None,
            unknown: Unknown::new(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        record.bytes(critical(1), self.snapshot.as_bytes()).bytes(critical(2), &put_time(self.time));
        if let Some(is_pinned) = self.is_pinned {
            record.varint(critical(3), 1 + u64::from(is_pinned));
        }
        for tag in &self.tags_added {
            record.bytes(critical(4), tag);
        }
        for tag in &self.tags_removed {
            record.bytes(critical(5), tag);
        }
        if let Some(note) = &self.note {
            record.bytes(critical(6), note);
        }
        if let Some(is_forgotten) = self.is_forgotten {
            record.varint(critical(7), 2 - u64::from(is_forgotten));
        }
        record.finish()
    }

    pub(super) fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let (mut new, mut snapshot, mut time) = (Self::of(ObjectId::ZERO, Time::default()), None, None);
        for field in Fields::new(bytes, WHAT).once(&[1, 2, 3, 6, 7]) {
            let field = field?;
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => snapshot = Some(take_object(&field, WHAT)?),
                (2, 1) => time = Some(take_time(field.reader(WHAT))?),
                (3, 1) => new.is_pinned = Some(take_code(&field)? == 2),
                (4, 1) => new.tags_added.push(field.value.to_vec()),
                (5, 1) => new.tags_removed.push(field.value.to_vec()),
                (6, 1) => new.note = Some(field.value.to_vec()),
                (7, 1) => new.is_forgotten = Some(take_code(&field)? == 1),
                _ => new.unknown.push(field.unknown(WHAT)?),
            }
        }
        new.snapshot = snapshot.ok_or_else(|| Malformed::bad(WHAT, "it says not of which snapshot"))?;
        new.time = time.ok_or_else(|| Malformed::bad(WHAT, "it says not when it was made"))?;
        Ok(new)
    }
}

fn take_code(field: &Field<'_>) -> wire::Result<u64> {
    match field.read(WHAT, |r| r.varint())? {
        code @ (1 | 2) => Ok(code),
        code => Err(Malformed::Newer { what: format!("a remark with the code {code}") }),
    }
}

/// What holds of a snapshot after all that was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is kept whatever the rules say.
    pub is_pinned: bool,
    /// Words of the user's, in the order in which they came.
    pub tags: Vec<Vec<u8>>,
    /// A line of the user's; may be empty.
    pub note: Vec<u8>,
    /// Whether it was taken off the list on purpose.
    pub is_forgotten: bool,
    /// When the last remark was made.
    pub latest: Option<Time>,
}

impl Standing {
    /// What follows from remarks, all of one snapshot, that had these tags and this note when it was taken.
    ///
    /// Of each thing the remark of the greatest time counts that says something of it. Of two of one time that whose
    /// bytes are greater comes later: so all who read the same remarks agree, in whatever order they read them, and
    /// who pins and who unpins in one moment pins.
    pub fn of(tags: &[Vec<u8>], note: &[u8], mut remarks: Vec<Remark>) -> Self {
        remarks.sort_by_cached_key(|remark| (remark.time, remark.encode()));
        let mut new = Self { tags: tags.to_vec(), note: note.to_vec(), ..Self::default() };
        for remark in remarks {
            new.is_pinned = remark.is_pinned.unwrap_or(new.is_pinned);
            new.is_forgotten = remark.is_forgotten.unwrap_or(new.is_forgotten);
            new.tags.retain(|tag| !remark.tags_removed.contains(tag));
            for tag in remark.tags_added {
                if !new.tags.contains(&tag) {
                    new.tags.push(tag);
                }
            }
            new.note = remark.note.unwrap_or(new.note);
            new.latest = Some(remark.time);
        }
        new
    }

    /// The time for a remark that is made now: later than all that its writer knows of, so that it counts although
    /// another machine's clock is ahead.
    pub fn time_of_next(&self, now: Time) -> Time {
        self.latest.map_or(now, |latest| now.max(latest.next()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Time {
        Time { seconds, nanos: 0 }
    }

    fn remark(seconds: i64) -> Remark {
        Remark::of(ObjectId::ZERO, at(seconds))
    }

    fn tags(tags: &[&str]) -> Vec<Vec<u8>> {
        tags.iter().map(|tag| tag.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_last_word_counts_and_only_for_what_it_is_about() {
        let remarks = vec![
            Remark { note: Some(b"third".to_vec()), ..remark(3) },
            Remark { is_pinned: Some(true), tags_added: tags(&["a", "b"]), ..remark(1) },
            Remark { note: Some(b"second".to_vec()), tags_removed: tags(&["a", "own"]), ..remark(2) },
        ];
        let standing = Standing::of(&tags(&["own", "kept"]), b"first", remarks);
        let expected = Standing {
            is_pinned: true,
            tags: tags(&["kept", "b"]),
            note: b"third".to_vec(),
            is_forgotten: false,
            latest: Some(at(3)),
        };
        assert_eq!(standing, expected);
        let erased = Standing::of(&[], b"first", vec![Remark { note: Some(Vec::new()), ..remark(1) }]);
        assert_eq!(erased.note, b"");
    }

    #[test]
    fn who_pins_and_who_unpins_in_one_moment_pins() {
        let [pin, unpin] = [true, false].map(|is_pinned| Remark { is_pinned: Some(is_pinned), ..remark(1) });
        for both in [vec![pin.clone(), unpin.clone()], vec![unpin, pin]] {
            assert!(Standing::of(&[], b"", both).is_pinned);
        }
        let both = [true, false].map(|is_forgotten| Remark { is_forgotten: Some(is_forgotten), ..remark(1) });
        assert!(!Standing::of(&[], b"", both.to_vec()).is_forgotten, "who misses it, looks for it");
    }

    #[test]
    fn a_clock_that_is_ahead_has_not_the_last_word() {
        let standing = Standing::of(&[], b"", vec![Remark { is_pinned: Some(true), ..remark(1000) }]);
        let now = standing.time_of_next(at(5));
        assert_eq!(now, Time { seconds: 1000, nanos: 1 });
        assert_eq!(standing.time_of_next(at(2000)), at(2000));
        let end = Time { seconds: i64::MAX, nanos: 999_999_999 };
        assert_eq!(Standing { latest: Some(end), ..standing }.time_of_next(at(5)), end);
    }

    fn any_remark() -> impl Strategy<Value = Remark> {
        let tag = || prop::sample::select(tags(&["a", "b", "c"]));
        let list = || prop::collection::vec(tag(), 0..3);
        let note = prop::option::of(prop::sample::select(tags(&["", "x", "y"])));
        (0..3_i64, any::<Option<bool>>(), list(), list(), note, any::<Option<bool>>()).prop_map(
            |(time, is_pinned, tags_added, tags_removed, note, is_forgotten)| Remark {
                is_pinned,
                tags_added,
                tags_removed,
                note,
                is_forgotten,
                ..remark(time)
            },
        )
    }

    proptest! {
        #[test]
        fn all_who_read_the_same_remarks_agree(
            remarks in prop::collection::vec(any_remark(), 0..6).prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            let (one, other) = remarks;
            prop_assert_eq!(Standing::of(&tags(&["a"]), b"n", one), Standing::of(&tags(&["a"]), b"n", other));
        }

        #[test]
        fn remarks_come_back(remark in any_remark()) {
            prop_assert_eq!(Remark::parse(&remark.encode()), Ok(remark));
        }
    }
}
