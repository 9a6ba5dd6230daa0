//! What is in snapshots: files and folders, listed, found and compared.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::Raw;
use crate::entry;

/// Head of `ls`; [`Entry`] items follow as `entries`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LsHead {
    /// The snapshot.
    pub snapshot: String,
}

/// One thing in a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry<'a> {
    /// The source it is in.
    pub source: &'a str,
    /// Path below the source's root; empty: the root.
    pub path: Raw<'a>,
    /// What it is.
    pub kind: &'static str,
    /// Permission bits, four octal digits.
    pub mode: String,
    /// Owner by number.
    pub uid: u32,
    /// Group by number.
    pub gid: u32,
    /// Owner by name.
    pub user: Option<Raw<'a>>,
    /// Group by name.
    pub group: Option<Raw<'a>>,
    /// Last change of the content.
    pub mtime: String,
    /// Length in bytes.
    pub size: u64,
    /// Where a symbolic link points.
    pub target: Option<Raw<'a>>,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
}

impl<'a> Entry<'a> {
    /// The entry at this path of this source.
    pub fn new(source: &'a str, path: &'a [u8], entry: &'a entry::Entry) -> Self {
        let unless_empty = |bytes: &'a [u8]| (!bytes.is_empty()).then(|| Raw::from(bytes));
        let is_device = matches!(entry.kind, entry::Kind::CharDevice | entry::Kind::BlockDevice);
        Self {
            source,
            path: path.into(),
            kind: kind_name(entry.kind),
            mode: format!("{:04o}", entry.mode),
            uid: entry.uid,
            gid: entry.gid,
            user: unless_empty(&entry.user),
            group: unless_empty(&entry.group),
            mtime: crate::cli::time::rfc3339(entry.mtime),
            size: entry.size,
            target: (entry.kind == entry::Kind::Symlink).then(|| Raw::from(entry.target.as_slice())),
            device: is_device.then_some(entry.device),
        }
    }
}

/// The word for a kind of entry.
pub fn kind_name(kind: entry::Kind) -> &'static str {
    match kind {
        entry::Kind::File => "file",
        entry::Kind::Directory => "directory",
        entry::Kind::Symlink => "symlink",
        entry::Kind::Fifo => "fifo",
        entry::Kind::CharDevice => "char-device",
        entry::Kind::BlockDevice => "block-device",
    }
}

/// Head of `find`; [`Match`] items follow as `matches`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindHead {
    /// What was looked for.
    pub pattern: String,
}

/// One version of something that `find` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match<'a> {
    /// The source it is in.
    pub source: &'a str,
    /// Path below the source's root.
    pub path: Raw<'a>,
    /// What it is, as in `ls`.
    pub kind: &'static str,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content.
    pub mtime: String,
    /// The first snapshot that has this version.
    pub first: Point,
    /// The last snapshot that has this version.
    pub last: Point,
    /// How many snapshots have it.
    pub snapshots: u64,
}

/// A snapshot and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Its id.
    pub id: String,
    /// When it was taken.
    pub time: String,
}

/// Head of `diff`; [`Change`] items follow as `changes`, then [`Totals`] as `totals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiffHead {
    /// The older side, the newest if there are several; none: there was nothing before.
    pub from: Option<String>,
    /// The newer side.
    pub to: String,
    /// The snapshot that each source is compared with.
    pub previous: BTreeMap<String, String>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change<'a> {
    /// The source it is in.
    pub source: &'a str,
    /// Path below the source's root.
    pub path: Raw<'a>,
    /// What happened.
    pub change: ChangeKind,
    /// What it is now, or was if it is gone, as in `ls`.
    pub kind: &'static str,
    /// Length before, in bytes.
    pub bytes_from: Option<u64>,
    /// Length after, in bytes.
    pub bytes_to: Option<u64>,
    /// What differs inside; none: it is no database on either side, or nobody asked.
    pub database: Option<super::DatabaseChange<'a>>,
}

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// Its content differs.
    Content,
    /// Only its owner, mode, times or attributes differ.
    Metadata,
    /// It is something else now, such as a link instead of a file.
    Kind,
}

/// Sums over all differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Entries added.
    pub added: u64,
    /// Entries removed.
    pub removed: u64,
    /// Entries that differ.
    pub changed: u64,
    /// Bytes in what was added, and growth of what changed.
    pub bytes_added: u64,
    /// Bytes in what was removed, and shrinkage of what changed.
    pub bytes_removed: u64,
}

#[cfg(test)]
mod tests {
    use super::super::super::{encode, line};
    use super::super::testing::id;
    use super::*;
    use crate::entry::Time;

    #[test]
    fn entries_tell_what_ls_shows() {
        let mut entry = entry::Entry::new(entry::Kind::Symlink);
        (entry.mode, entry.uid, entry.user) = (0o777, 1, b"u".to_vec());
        (entry.target, entry.mtime) = (b"t".to_vec(), Time { seconds: 0, nanos: 5 });
        assert_eq!(line(&LsHead { snapshot: id('a') }).unwrap(), r#"{"v":1,"type":"ls","snapshot":"aaaaaaaa"}"#);
        assert_eq!(
            encode(&Entry::new("app", b"a/b", &entry)).unwrap(),
            r#"{"source":"app","path":"a/b","kind":"symlink","mode":"0777","uid":1,"gid":0,"user":"u","group":null,"mtime":"1970-01-01T00:00:00.000000005Z","size":0,"target":"t","device":null}"#
        );
        let mut device = entry::Entry::new(entry::Kind::BlockDevice);
        device.device = (8, 1);
        let device = encode(&Entry::new("app", b"", &device)).unwrap();
        assert!(device.ends_with(r#""size":0,"target":null,"device":[8,1]}"#), "{device}");
    }

    #[test]
    fn matches_name_the_snapshots_that_have_them() {
        let point = |digit| Point { id: id(digit), time: "2026-11-21T02:00:00Z".into() };
        let found = Match {
            source: "app",
            path: "a".into(),
            kind: "file",
            size: 1,
            mtime: "1970-01-01T00:00:00Z".into(),
            first: point('a'),
            last: point('b'),
            snapshots: 2,
        };
        assert_eq!(line(&FindHead { pattern: "*.c".into() }).unwrap(), r#"{"v":1,"type":"find","pattern":"*.c"}"#);
        assert_eq!(
            encode(&found).unwrap(),
            r#"{"source":"app","path":"a","kind":"file","size":1,"mtime":"1970-01-01T00:00:00Z","first":{"id":"aaaaaaaa","time":"2026-11-21T02:00:00Z"},"last":{"id":"bbbbbbbb","time":"2026-11-21T02:00:00Z"},"snapshots":2}"#
        );
    }

    #[test]
    fn differences_have_two_sides() {
        let head = DiffHead { from: None, to: id('a'), previous: BTreeMap::new() };
        assert_eq!(line(&head).unwrap(), r#"{"v":1,"type":"diff","from":null,"to":"aaaaaaaa","previous":{}}"#);
        let change = Change {
            source: "app",
            path: "a".into(),
            change: ChangeKind::Added,
            kind: "file",
            bytes_from: None,
            bytes_to: Some(2),
            database: None,
        };
        assert_eq!(
            encode(&change).unwrap(),
            r#"{"source":"app","path":"a","change":"added","kind":"file","bytes_from":null,"bytes_to":2,"database":null}"#
        );
        let words = [ChangeKind::Removed, ChangeKind::Content, ChangeKind::Metadata, ChangeKind::Kind];
        assert_eq!(encode(&words).unwrap(), r#"["removed","content","metadata","kind"]"#);
        assert_eq!(
            encode(&Totals::default()).unwrap(),
            r#"{"added":0,"removed":0,"changed":0,"bytes_added":0,"bytes_removed":0}"#
        );
    }
}
