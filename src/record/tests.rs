use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::chunk::Params;
use crate::crypto::{Argon, Keyring, Secret};
use crate::entry::Time;
use crate::id::{ChunkId, ChunkPrefix, ObjectId, RepositoryId, SessionId};
use crate::seal::{Header, ObjectKind};
use crate::tree::Root;
use crate::wire::{Fields, Record, critical};

const TIME: Time = Time { seconds: 1_790_000_000, nanos: 5 };

fn keys() -> Keyring {
    Keyring::new(Secret::new([1; 32]), BTreeMap::from([(1, Secret::new([2; 32]))]))
}

fn header(kind: ObjectKind) -> Header {
    Header { kind, epoch: 1, repository: RepositoryId::new([3; 16]), session: SessionId::ZERO, salt: [5; 32] }
}

fn config() -> Config {
    Config {
        header: header(ObjectKind::Config),
        features_to_write: vec![],
        features_optional: vec![b"x".to_vec()],
        chunker: Params::FILES,
        created: TIME,
        generation: 0,
        unknown: vec![],
    }
}

#[test]
fn a_config_is_proven_by_its_mac() {
    let keys = keys();
    let bytes = config().encode(&keys.identity);
    assert_eq!(Config::parse(&bytes), Ok(config()));
    assert!(Config::verify(&bytes, &keys.identity));
    let (body, _) = bytes.split_last_chunk::<32>().unwrap();
    for i in 0..body.len() {
        let mut bad = body.to_vec();
        bad[i] ^= 1;
        assert!(!Config::verify(&add_check(bad), &keys.identity), "byte {i}");
        let mut bad = bytes.clone();
        bad[i] ^= 1;
        assert!(Config::parse(&bad).is_err(), "byte {i}");
    }
}

#[test]
fn a_feature_that_must_be_known_stops_a_reader() {
    let mut newer = config();
    newer.unknown = vec![(crate::wire::critical(1), b"time travel".to_vec())];
    let error = Config::parse(&newer.encode(&keys().identity)).unwrap_err();
    assert!(error.to_string().contains("time travel"), "{error}");
}

#[test]
fn a_slot_opens_with_its_secret_only() {
    let keys = keys();
    let label = SlotLabel { label: b"me".to_vec(), created: TIME };
    for (lock, right, wrong) in [
        (SlotLock::KeyFile, &[7; 32][..], &[8; 32][..]),
        (SlotLock::Password(Argon::DEFAULT, [9; 32]), b"right", b"wrong"),
    ] {
        let key = lock.key(right).unwrap();
        let slot = Slot::lock(header(ObjectKind::KeySlot), lock.clone(), &key, &keys, &label);
        let bytes = slot.encode();
        let read = Slot::parse(&bytes).unwrap();
        assert_eq!(read, slot);
        assert!(!read.is_opened_by(&lock.key(wrong).unwrap()));
        assert!(read.is_opened_by(&key));
        assert_eq!(read.unlock(&key).unwrap().expose(), keys.expose());
        assert_eq!(read.label(&keys), Some(label.clone()));
        assert!(SlotLock::KeyFile.key(b"short").is_none());
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            let opened = Slot::parse(&bad)
                .is_ok_and(|slot| slot.is_opened_by(&key) && slot.unlock(&key).is_ok() && slot.label(&keys).is_some());
            assert!(!opened, "byte {i}");
        }
    }
}

/// One key file may lock slots of many repositories. Sealed with one key, their bundles would give each other away.
#[test]
fn no_two_slots_of_one_key_file_share_a_key() {
    let keys = keys();
    let key = SlotLock::KeyFile.key(&[7; 32]).unwrap();
    let [a, b] = [5, 6].map(|salt| {
        let header = Header { salt: [salt; 32], ..header(ObjectKind::KeySlot) };
        Slot::lock(header, SlotLock::KeyFile, &key, &keys, &SlotLabel::default()).encode()
    });
    let same = a.iter().zip(&b).skip(crate::seal::HEADER_BYTES).filter(|(a, b)| a == b).count();
    assert!(same < 30, "{same} bytes of two slots are the same");
}

fn summary() -> Summary {
    Summary {
        time: TIME,
        utc_offset: -3600,
        zone: b"Europe/Berlin".to_vec(),
        client: b"host".to_vec(),
        user: b"root".to_vec(),
        program: b"larder 0".to_vec(),
        state: State::Partial,
        sources: vec![SourceSummary { name: b"data".to_vec(), kind: SourceKind::Folder, entries: 5, bytes: u64::MAX }],
        statistics: Statistics { bytes_read: 1, duration_ms: 9, ..Statistics::default() },
        tags: vec![b"a".to_vec(), b"b".to_vec()],
        note: b"before v2".to_vec(),
        unknown: vec![(60, b"later".to_vec())],
    }
}

fn body() -> Body {
    let source = SourceBody {
        name: b"data".to_vec(),
        kind: SourceKind::File,
        origin: b"/srv/\xff".to_vec(),
        root: Root { id: ChunkId::new([1; 32]), level: 2, entries: 3, bytes: 4 },
        previous: Some(ObjectId::new([6; 32])),
        unknown: vec![],
    };
    let reason = Reason { source: b"data".to_vec(), path: b"a/b".to_vec(), why: b"denied".to_vec() };
    let verdict = Verdict {
        source: b"app".to_vec(),
        path: b"data/a.db".to_vec(),
        image: [4; 32],
        depth: Depth::Pages,
        wrong: vec![b"row 3 missing from index i".to_vec()],
    };
    Body { sources: vec![source], reasons: vec![reason], reasons_total: 7, verdicts: vec![verdict], unknown: vec![] }
}

fn drills() -> Vec<Drill> {
    let mut failed = Drill { time: TIME, duration_ms: 7, entries: 8, bytes: 9, ..Drill::of(ObjectId::new([3; 32])) };
    let mut passed = Drill { databases: 2, unknown: vec![(40, b"newer".to_vec())], ..failed.clone() };
    (passed.source, passed.path) = (Some(b"app".to_vec()), b"data/\xff".to_vec());
    (0..=FAILURES_MAX).for_each(|_| failed.fail(&"é".repeat(FAILURE_BYTES_MAX)));
    assert_eq!((failed.failures.len(), failed.failures_total), (FAILURES_MAX, FAILURES_MAX as u64 + 1));
    assert!(
        failed.failures.iter().all(|failure| failure.len() == FAILURE_BYTES_MAX && failure.ends_with("é".as_bytes()))
    );
    assert!(passed.passed() && !failed.passed() && failed.is_of_whole(b"any") && !passed.is_of_whole(b"app"));
    vec![passed, failed]
}

fn remark() -> Remark {
    Remark {
        is_pinned: Some(true),
        tags_added: vec![b"a".to_vec(), b"\xff".to_vec()],
        tags_removed: vec![b"b".to_vec()],
        note: Some(Vec::new()),
        is_forgotten: Some(false),
        unknown: vec![(40, b"newer".to_vec())],
        ..Remark::of(ObjectId::new([3; 32]), TIME)
    }
}

fn conditions() -> Vec<Condition> {
    let damaged = |is_damaged, unknown| Condition { snapshot: ObjectId::new([3; 32]), time: TIME, is_damaged, unknown };
    vec![damaged(true, vec![]), damaged(false, vec![(40, b"newer".to_vec())])]
}

#[test]
fn records_come_back_whole() {
    assert_eq!(Summary::parse(&summary().encode()), Ok(summary()));
    assert_eq!(Body::parse(&body().encode()), Ok(body()));
    let session = SessionRecord { time: TIME, client: b"h".to_vec(), process: 9, ..SessionRecord::default() };
    assert_eq!(SessionRecord::parse(&session.encode()), Ok(session));
    let end =
        SessionEnd { snapshots: vec![ObjectId::new([1; 32])], notes: vec![ObjectId::new([4; 32])], unknown: vec![] };
    assert_eq!(SessionEnd::parse(&end.encode()), Ok(end));
    let note = Note {
        time: TIME,
        verified: vec![ObjectId::ZERO],
        confirmed: vec![ObjectId::new([2; 32])],
        drills: drills(),
        remarks: vec![remark()],
        conditions: conditions(),
        unknown: vec![],
    };
    assert_eq!(Note::parse(&note.encode()), Ok(note));
    let tomb = Tomb { packs: vec![ObjectId::new([4; 32])], time: Some(Time { seconds: 5, nanos: 6 }), unknown: vec![] };
    assert_eq!(Tomb::parse(&tomb.encode()), Ok(tomb));
    for frame in [None, Some(0), Some(u32::MAX)] {
        let bad = BadFrame { pack: ObjectId::new([1; 32]), frame, chunks: vec![ChunkPrefix::new([2; 16])] };
        let damage = Damage { frames: vec![bad], unknown: vec![] };
        assert_eq!(Damage::parse(&damage.encode()), Ok(damage));
    }
}

/// The record with this edit of the values of all fields of one number.
fn edited(bytes: &[u8], number: u64, edit: impl Fn(&mut Record, u64, &[u8])) -> Vec<u8> {
    let mut record = Record::default();
    for field in Fields::new(bytes, "t") {
        let field = field.unwrap();
        match field.tag >> 1 == number {
            true => edit(&mut record, field.tag, field.value),
            false => _ = record.bytes(field.tag, field.value),
        }
    }
    record.finish()
}

#[test]
fn no_field_takes_bytes_behind_its_end() {
    let ids = vec![ObjectId::new([1; 32])];
    let note = Note {
        time: TIME,
        verified: ids.clone(),
        confirmed: ids.clone(),
        drills: vec![],
        remarks: vec![],
        conditions: vec![],
        unknown: vec![],
    };
    let session = SessionRecord { time: TIME, process: 9, ..SessionRecord::default() };
    let source = Fields::new(&body().encode(), "t").next().unwrap().unwrap().value.to_vec();
    let in_body = |source: &[u8]| Body::parse(&Record::default().bytes(critical(1), source).finish()).is_ok();
    type Parse<'a> = &'a dyn Fn(&[u8]) -> bool;
    let cases: [(Vec<u8>, &[u64], Parse<'_>); 11] = [
        (summary().encode(), &[1, 6, 7, 8], &|b| Summary::parse(b).is_ok()),
        (body().encode(), &[2, 3], &|b| Body::parse(b).is_ok()),
        (source, &[2, 4, 5], &in_body),
        (session.encode(), &[1, 4], &|b| SessionRecord::parse(b).is_ok()),
        (SessionEnd { snapshots: ids.clone(), notes: ids.clone(), unknown: vec![] }.encode(), &[1], &|b| {
            SessionEnd::parse(b).is_ok()
        }),
        (note.encode(), &[1, 2, 3], &|b| Note::parse(b).is_ok()),
        (drills()[1].encode(), &[1, 2, 5, 7], &|b| Drill::parse(b).is_ok()),
        (remark().encode(), &[1, 2, 3, 7], &|b| Remark::parse(b).is_ok()),
        (conditions()[1].encode(), &[1, 2, 3], &|b| Condition::parse(b).is_ok()),
        (Tomb { packs: ids, time: None, unknown: vec![] }.encode(), &[1], &|b| Tomb::parse(b).is_ok()),
        (Params::FILES.encode(), &[1], &|b| Params::parse(b).is_ok()),
    ];
    for (bytes, numbers, parse) in cases {
        assert!(parse(&bytes));
        for number in numbers {
            let longer = edited(&bytes, *number, |record, tag, value| _ = record.bytes(tag, &[value, &[0]].concat()));
            assert_ne!(longer, bytes);
            assert!(!parse(&longer), "field {number} of {bytes:x?}");
        }
    }
}

#[test]
fn what_stands_once_is_refused_twice_or_absent() {
    let summary = summary().encode();
    for number in [1, 6] {
        assert!(Summary::parse(&edited(&summary, number, |_, _, _| ())).is_err(), "without field {number}");
    }
    for number in [1, 2, 3, 4, 5, 6, 8, 10] {
        let twice = edited(&summary, number, |record, tag, value| _ = record.bytes(tag, value).bytes(tag, value));
        assert!(Summary::parse(&twice).is_err(), "field {number} twice");
    }
    assert!(SessionRecord::parse(b"").is_err());
    assert!(Drill::parse(b"").is_err());
    let remark = remark().encode();
    for number in [1, 2] {
        assert!(Remark::parse(&edited(&remark, number, |_, _, _| ())).is_err(), "without field {number}");
    }
    for number in [1, 2, 3, 6, 7] {
        let twice = edited(&remark, number, |record, tag, value| _ = record.bytes(tag, value).bytes(tag, value));
        assert!(Remark::parse(&twice).is_err(), "field {number} twice");
    }
    for number in [3, 7] {
        let other = edited(&remark, number, |record, tag, _| _ = record.varint(tag, 3));
        assert!(matches!(Remark::parse(&other), Err(Malformed::Newer { .. })), "another code in field {number}");
    }
    let none_counted = edited(&drills()[1].encode(), 7, |_, _, _| ());
    assert!(Drill::parse(&none_counted).is_err(), "failures that are not counted");
    let far = edited(&summary, 2, |record, tag, _| _ = record.bytes(tag, &[0xff, 0xff, 0xff, 0xff, 0x0f]));
    assert!(Summary::parse(&far).is_err(), "no clock is so far from UTC");
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (Summary::parse(&bytes), Body::parse(&bytes), SessionRecord::parse(&bytes), SessionEnd::parse(&bytes));
        let _ = (Note::parse(&bytes), Damage::parse(&bytes), Tomb::parse(&bytes));
        for kind in [ObjectKind::Config, ObjectKind::KeySlot] {
            let mut object = header(kind).encode().to_vec();
            object.extend_from_slice(&bytes);
            let _ = (Config::parse(&add_check(object.clone())), Slot::parse(&object));
        }
    }
}

#[test]
fn facts_of_a_database_come_back() {
    let tables = vec![
        TableFacts { name: b"plain".to_vec(), rows: Some(0) },
        TableFacts { name: b"\xff odd".to_vec(), rows: Some(u64::from(u32::MAX) << 20) },
        TableFacts { name: b"virtual".to_vec(), rows: None },
    ];
    let facts = Facts {
        page_bytes: 4096,
        pages: 262_145,
        journal: Journal::Wal,
        user_version: -7,
        application_id: i32::MIN,
        encoding: b"UTF-8".to_vec(),
        schema: [3; 32],
        tables,
        tables_total: 3,
        unknown: vec![(40, b"newer".to_vec())],
        ..Facts::default()
    };
    assert_eq!(Facts::parse(&facts.encode()), Ok(facts));
    assert!(Facts::parse(&[]).is_err());
    assert!(matches!(Facts::parse(&Record::default().varint(critical(1), 2).finish()), Err(Malformed::Newer { .. })));
}

#[test]
fn a_check_that_came_later_makes_no_snapshot_unreadable() {
    let later = edited(&body().encode(), 4, |record, tag, value| {
        let mut value = value.to_vec();
        let depth = value.iter().rposition(|byte| *byte == 4).unwrap() + 1;
        value[depth] = 9;
        record.bytes(tag, &value);
    });
    let read = Body::parse(&later).unwrap();
    assert!(read.verdicts.is_empty() && read.unknown.len() == 1, "{read:?}");
    assert_eq!(read.encode(), later, "and it is not forgotten");
}

#[test]
fn facts_with_a_journal_of_another_kind_are_of_a_newer_program() {
    let facts = Facts::default().encode();
    let other = edited(&facts, 2, |record, tag, value| {
        record.bytes(tag, &[&value[..value.len() - 1], &[3]].concat());
    });
    assert!(matches!(Facts::parse(&other), Err(Malformed::Newer { .. })));
}
