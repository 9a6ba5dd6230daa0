//! The repository as a whole: made, checked, counted, and opened by keys.

use serde::Serialize;

use super::super::Raw;

/// A repository was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Init<'a> {
    /// The repository's id.
    pub repository: String,
    /// Where it is.
    pub location: Raw<'a>,
    /// Version of its format.
    pub format: u32,
    /// What opens it: "password" or "key-file".
    pub key: &'static str,
}

/// A line of `check`: something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage<'a> {
    /// The stored object, by its key.
    pub object: &'a str,
    /// What is wrong with it.
    pub what: &'a str,
    /// What helps.
    pub fix: &'a str,
    /// All snapshots that lose something by it.
    pub snapshots: Vec<Harmed>,
    /// What cannot be restored because of it.
    pub affects: Vec<Affected<'a>>,
    /// How much more, which is not named.
    pub affects_more: u64,
}

/// A snapshot that loses something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Harmed {
    /// The snapshot.
    pub snapshot: String,
    /// How many of its entries.
    pub entries: u64,
}

/// A file that damage makes unreadable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Affected<'a> {
    /// The snapshot.
    pub snapshot: String,
    /// The source it is in.
    pub source: String,
    /// Path below the source's root.
    pub path: Raw<'a>,
}

/// The line of `check` before its summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check<'a> {
    /// Whether nothing is wrong.
    pub healthy: bool,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Chunks that they need.
    pub chunks: u64,
    /// Packs that there are.
    pub packs: u64,
    /// Packs whose data was read.
    pub packs_read: u64,
    /// Bytes of data read.
    pub bytes_read: u64,
    /// Bytes of data that there are.
    pub bytes_total: u64,
    /// How many things are wrong.
    pub damages: u64,
    /// Damaged packs by which no snapshot loses anything.
    pub packs_spare: u64,
    /// Objects that were damaged, and are whole again.
    pub mended: Vec<Mended<'a>>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mended<'a> {
    /// Which, for people.
    pub object: String,
    /// Its whole name.
    pub id: String,
    /// What was wrong with it.
    pub what: &'a str,
}

/// `stats`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Snapshots that there are.
    pub snapshots: u64,
    /// Bytes of all snapshots, each counted in full.
    pub raw_bytes: u64,
    /// Bytes of all distinct chunks, before compression.
    pub unique_bytes: u64,
    /// Bytes that the repository takes.
    pub stored_bytes: u64,
    /// Raw bytes over stored bytes; none: nothing is stored.
    pub ratio: Option<f64>,
    /// Part of the unique bytes that is stored as deltas, 0 to 1; none: there are no bytes.
    pub delta_share: Option<f64>,
    /// What these deltas take.
    pub delta_bytes: u64,
    /// What they would take if they were stored whole, about.
    pub delta_bytes_whole: u64,
    /// Objects by kind.
    pub objects: Vec<Objects>,
    /// What removing each of the snapshots asked for would free.
    pub removal: Vec<Removal>,
}

/// Objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Objects {
    /// Such as "packs".
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// Their size together.
    pub bytes: u64,
}

/// What removing one snapshot would free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// The snapshot.
    pub snapshot: String,
    /// Bytes that no other snapshot needs.
    pub freed_bytes: u64,
}

/// `key list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Keys {
    /// The slots.
    pub keys: Vec<Key>,
}

/// A way to open the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// The slot's id.
    pub id: String,
    /// "password" or "key-file".
    pub kind: &'static str,
    /// What it allows, such as "admin".
    pub grants: &'static str,
    /// What it was labelled when it was made; none: the label cannot be read.
    pub label: Option<String>,
    /// When it was made.
    pub created: Option<String>,
    /// Whether this run was opened with it.
    pub current: bool,
}

/// `key add`, `key remove` and `key passwd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyChange {
    /// "added", "removed" or "changed".
    pub change: &'static str,
    /// The slot that is gone.
    pub removed: Option<String>,
    /// The slot that is new.
    pub added: Option<String>,
}

/// `version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// The program's version.
    pub version: &'static str,
}

#[cfg(test)]
mod tests {
    use super::super::super::line;
    use super::super::testing::id;
    use super::*;

    #[test]
    fn checks_tell_each_damage_and_the_whole() {
        let snapshots = vec![Harmed { snapshot: id('a'), entries: 1 }];
        let affects = vec![Affected { snapshot: id('a'), source: "app".into(), path: "a".into() }];
        assert_eq!(
            line(&Damage { object: "packs/ab/abcd", what: "gone", fix: "", snapshots, affects, affects_more: 0 })
                .unwrap(),
            r#"{"v":1,"type":"damage","object":"packs/ab/abcd","what":"gone","fix":"","snapshots":[{"snapshot":"aaaaaaaa","entries":1}],"affects":[{"snapshot":"aaaaaaaa","source":"app","path":"a"}],"affects_more":0}"#
        );
        let check = Check {
            healthy: true,
            snapshots: 1,
            chunks: 2,
            packs: 3,
            packs_read: 4,
            bytes_read: 5,
            bytes_total: 6,
            damages: 0,
            packs_spare: 0,
            mended: vec![Mended { object: "pack 12ab".into(), id: "12ab34".into(), what: "frame 3" }],
        };
        assert_eq!(
            line(&check).unwrap(),
            r#"{"v":1,"type":"check","healthy":true,"snapshots":1,"chunks":2,"packs":3,"packs_read":4,"bytes_read":5,"bytes_total":6,"damages":0,"packs_spare":0,"mended":[{"object":"pack 12ab","id":"12ab34","what":"frame 3"}]}"#
        );
    }

    #[test]
    fn the_repository_is_described() {
        let init = Init { repository: "ab".into(), location: "/r".into(), format: 1, key: "password" };
        assert_eq!(
            line(&init).unwrap(),
            r#"{"v":1,"type":"init","repository":"ab","location":"/r","format":1,"key":"password"}"#
        );
        let stats = Stats {
            snapshots: 1,
            raw_bytes: 8,
            unique_bytes: 4,
            stored_bytes: 2,
            ratio: Some(4.0),
            delta_share: None,
            delta_bytes: 0,
            delta_bytes_whole: 0,
            objects: vec![Objects { kind: "packs", count: 1, bytes: 2 }],
            removal: vec![Removal { snapshot: id('a'), freed_bytes: 3 }],
        };
        assert_eq!(
            line(&stats).unwrap(),
            r#"{"v":1,"type":"stats","snapshots":1,"raw_bytes":8,"unique_bytes":4,"stored_bytes":2,"ratio":4.0,"delta_share":null,"delta_bytes":0,"delta_bytes_whole":0,"objects":[{"kind":"packs","count":1,"bytes":2}],"removal":[{"snapshot":"aaaaaaaa","freed_bytes":3}]}"#
        );
    }

    #[test]
    fn keys_are_listed_and_changed() {
        let (label, created) = (Some("me@host".into()), Some("t".into()));
        let key = Key { id: "ab".into(), kind: "password", grants: "admin", label, created, current: true };
        assert_eq!(
            line(&Keys { keys: vec![key] }).unwrap(),
            r#"{"v":1,"type":"keys","keys":[{"id":"ab","kind":"password","grants":"admin","label":"me@host","created":"t","current":true}]}"#
        );
        let change = KeyChange { change: "changed", removed: Some("ab".into()), added: Some("cd".into()) };
        assert_eq!(line(&change).unwrap(), r#"{"v":1,"type":"key","change":"changed","removed":"ab","added":"cd"}"#);
        assert_eq!(line(&Version { version: "1" }).unwrap(), r#"{"v":1,"type":"version","version":"1"}"#);
    }
}
