//! The shapes, in the order of docs/json.md. Times are RFC 3339 in UTC; ids are whole.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Document, Raw};
use crate::entry;

macro_rules! documents {
    ($($shape:ident $(<$life:lifetime>)? = $name:literal),* $(,)?) => {
        $(impl $(<$life>)? Document for $shape $(<$life>)? {
            const TYPE: &'static str = $name;
        })*

        #[cfg(test)]
        const TYPES: &[&str] = &[$($name),*];
    };
}

documents! {
    Summary = "summary",
    Failure<'a> = "error",
    Warning<'a> = "warning",
    Init<'a> = "init",
    Snapshots<'a> = "snapshots",
    Show<'a> = "snapshot",
    LsHead = "ls",
    FindHead = "find",
    DiffHead = "diff",
    Plan<'a> = "plan",
    Lost<'a> = "lost",
    Damage<'a> = "damage",
    Check = "check",
    Stats = "stats",
    Keys = "keys",
    KeyChange = "key",
    Version = "version",
}

/// The last line of a long run that did its work.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The command, such as "backup".
    pub command: &'static str,
    /// The snapshot that was made or used.
    pub snapshot: Option<String>,
    /// How long it took, in seconds.
    pub duration_s: f64,
    /// Bytes read: from the source by a backup, from the repository by others.
    pub bytes_read: u64,
    /// Bytes that the repository, or the target of a restore, grew by.
    pub bytes_added: u64,
    /// Files and everything else, by what became of them.
    pub files: Files,
    /// The exit code.
    pub exit_code: u8,
    /// What a backup left out on purpose; none of other commands.
    pub left_out: Option<LeftOut>,
}

/// Counts of what a backup left out on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Entries that a pattern excluded; a folder counts once.
    pub by_pattern: u64,
    /// Folders marked as caches.
    pub cache_folders: u64,
    /// Sockets.
    pub sockets: u64,
    /// Folders on which other file systems are mounted.
    pub other_file_systems: u64,
    /// The repository itself.
    pub repositories: u64,
    /// Logs and journals of databases, whose images hold what is in them.
    pub database_files: u64,
}

/// Counts of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Not there before.
    pub new: u64,
    /// There before, with other content or metadata.
    pub changed: u64,
    /// As before.
    pub unchanged: u64,
    /// Not saved, or not restored.
    pub failed: u64,
}

/// The last line of a run that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure<'a> {
    /// The stable name of the kind of failure, such as "wrong-key".
    pub code: &'static str,
    /// What could not be done.
    pub what: &'a str,
    /// Why; may be empty.
    pub why: &'a str,
    /// What helps; may be empty.
    pub fix: &'a str,
    /// The exit code.
    pub exit_code: u8,
}

/// Something that did not stop the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning<'a> {
    /// What happened.
    pub message: &'a str,
}

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

/// `snapshots`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshots<'a> {
    /// Oldest first.
    pub snapshots: Vec<Snapshot<'a>>,
    /// Those that cannot be read.
    pub damaged: Vec<DamagedSnapshot>,
}

/// A snapshot that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedSnapshot {
    /// Its id.
    pub id: String,
    /// Why.
    pub why: String,
}

/// One snapshot in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot<'a> {
    /// Its id.
    pub id: String,
    /// When it was taken.
    pub time: String,
    /// The machine it was taken on.
    pub client: Raw<'a>,
    /// The user who took it.
    pub user: Raw<'a>,
    /// What is in it.
    pub sources: Vec<Source<'a>>,
    /// Bytes that the repository grew by.
    pub added_bytes: u64,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its note.
    pub note: Option<String>,
    /// Whether it is kept whatever the rules say.
    pub pinned: bool,
    /// How far it can be relied on.
    pub state: State,
    /// Why it is partial.
    pub reasons: Vec<String>,
    /// When a drill last restored it with success.
    pub proven: Option<String>,
}

/// State of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Whole.
    Ok,
    /// Something of the source is missing.
    Partial,
    /// The run that made it has not finished.
    Unconfirmed,
}

/// One source of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Source<'a> {
    /// Its name.
    pub name: String,
    /// Such as "files".
    pub kind: &'static str,
    /// Where it was.
    pub root: Raw<'a>,
    /// Bytes of its content.
    pub bytes: u64,
    /// Files, folders and everything else.
    pub entries: u64,
    /// What else is known, by kind of source.
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// `show`: a snapshot's whole record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Show<'a> {
    /// The fields of the list.
    #[serde(flatten)]
    pub snapshot: Snapshot<'a>,
    /// The snapshot before it, for each source that has one.
    pub previous: BTreeMap<String, String>,
    /// The run that made it.
    pub session: String,
    /// The program that made it, with its version.
    pub program: String,
    /// How long the run took, in seconds.
    pub duration_s: f64,
    /// Bytes read from the sources.
    pub bytes_read: u64,
    /// Files by what became of them.
    pub files: Files,
}

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

/// `restore` without a target: what it would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan<'a> {
    /// The snapshot.
    pub snapshot: String,
    /// When it was taken.
    pub time: String,
    /// Where it would go, if that was said.
    pub to: Option<Raw<'a>>,
    /// What would be restored.
    pub sources: Vec<PlanSource<'a>>,
    /// Entries to restore.
    pub entries: u64,
    /// Bytes to restore.
    pub bytes: u64,
    /// Entries that are there and would be replaced, if that is allowed.
    pub replaced: Option<u64>,
}

/// One source of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanSource<'a> {
    /// Its name.
    pub name: String,
    /// Where it was.
    pub root: Raw<'a>,
    /// Paths that were asked for; empty: all.
    pub paths: Vec<Raw<'a>>,
    /// Entries to restore.
    pub entries: u64,
    /// Bytes to restore.
    pub bytes: u64,
}

/// A line of `restore`: something that could not be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost<'a> {
    /// The source it is in.
    pub source: &'a str,
    /// Path below the source's root.
    pub path: Raw<'a>,
    /// Why.
    pub why: &'a str,
    /// How many entries: that one, or all those from it on that lay in the same lost part of the tree.
    pub entries: u64,
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
    /// What cannot be restored because of it.
    pub affects: Vec<Affected<'a>>,
    /// How much more, which is not named.
    pub affects_more: u64,
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
pub struct Check {
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
    /// Damaged packs of which all is stored elsewhere, too.
    pub packs_spare: u64,
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
    use super::super::{encode, line};
    use super::*;
    use crate::entry::Time;

    fn id(digit: char) -> String {
        digit.to_string().repeat(8)
    }

    fn snapshot() -> Snapshot<'static> {
        let facts = BTreeMap::from([("files".to_owned(), serde_json::json!(2))]);
        let root = Raw::from(b"/srv/\xff".as_slice());
        let source = Source { name: "app".into(), kind: "files", root, bytes: 3, entries: 4, facts };
        Snapshot {
            id: id('a'),
            time: "2026-11-21T02:00:00Z".into(),
            client: "host".into(),
            user: "root".into(),
            sources: vec![source],
            added_bytes: 5,
            tags: vec!["t".into()],
            note: None,
            pinned: false,
            state: State::Partial,
            reasons: vec!["x".into()],
            proven: None,
        }
    }

    const SNAPSHOT: &str = concat!(
        r#""id":"aaaaaaaa","time":"2026-11-21T02:00:00Z","client":"host","user":"root","sources":[{"name":"app","#,
        r#""kind":"files","root":{"base64":"L3Nydi//"},"bytes":3,"entries":4,"facts":{"files":2}}],"added_bytes":5,"#,
        r#""tags":["t"],"note":null,"pinned":false,"state":"partial","reasons":["x"],"proven":null"#,
    );

    #[test]
    fn every_shape_is_described() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
        for name in TYPES {
            assert!(page.contains(&format!("\"type\":\"{name}\"")), "{name}");
        }
    }

    #[test]
    fn a_run_ends_with_a_summary_or_an_error() {
        let files = Files { new: 1, changed: 2, unchanged: 3, failed: 4 };
        let summary = Summary {
            command: "backup",
            snapshot: Some(id('a')),
            duration_s: 1.5,
            bytes_read: 6,
            bytes_added: 7,
            files,
            exit_code: 3,
            left_out: Some(LeftOut { by_pattern: 5, sockets: 6, ..LeftOut::default() }),
        };
        assert_eq!(
            line(&summary).unwrap(),
            r#"{"v":1,"type":"summary","command":"backup","snapshot":"aaaaaaaa","duration_s":1.5,"bytes_read":6,"bytes_added":7,"files":{"new":1,"changed":2,"unchanged":3,"failed":4},"exit_code":3,"left_out":{"by_pattern":5,"cache_folders":0,"sockets":6,"other_file_systems":0,"repositories":0,"database_files":0}}"#
        );
        let failure = Failure { code: "busy", what: "a", why: "b", fix: "", exit_code: 11 };
        assert_eq!(
            line(&failure).unwrap(),
            r#"{"v":1,"type":"error","code":"busy","what":"a","why":"b","fix":"","exit_code":11}"#
        );
        assert_eq!(line(&Warning { message: "a" }).unwrap(), r#"{"v":1,"type":"warning","message":"a"}"#);
    }

    #[test]
    fn snapshots_are_listed_and_shown_alike() {
        let damaged = vec![DamagedSnapshot { id: id('d'), why: "gone".into() }];
        let list = Snapshots { snapshots: vec![snapshot()], damaged };
        let rest = r#""damaged":[{"id":"dddddddd","why":"gone"}]"#;
        let expected = format!(r#"{{"v":1,"type":"snapshots","snapshots":[{{{SNAPSHOT}}}],{rest}}}"#);
        assert_eq!(line(&list).unwrap(), expected);
        let show = Show {
            snapshot: snapshot(),
            previous: BTreeMap::from([("app".to_owned(), id('b'))]),
            session: "5e".into(),
            program: "larder 1".into(),
            duration_s: 2.0,
            bytes_read: 6,
            files: Files::default(),
        };
        let rest = r#""previous":{"app":"bbbbbbbb"},"session":"5e","program":"larder 1","duration_s":2.0,"bytes_read":6,"files":{"new":0,"changed":0,"unchanged":0,"failed":0}"#;
        assert_eq!(line(&show).unwrap(), format!(r#"{{"v":1,"type":"snapshot",{SNAPSHOT},{rest}}}"#));
    }

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
        };
        assert_eq!(
            encode(&change).unwrap(),
            r#"{"source":"app","path":"a","change":"added","kind":"file","bytes_from":null,"bytes_to":2}"#
        );
        let words = [ChangeKind::Removed, ChangeKind::Content, ChangeKind::Metadata, ChangeKind::Kind];
        assert_eq!(encode(&words).unwrap(), r#"["removed","content","metadata","kind"]"#);
        assert_eq!(
            encode(&Totals::default()).unwrap(),
            r#"{"added":0,"removed":0,"changed":0,"bytes_added":0,"bytes_removed":0}"#
        );
    }

    #[test]
    fn restores_tell_the_plan_and_the_losses() {
        let source =
            PlanSource { name: "app".into(), root: "/srv".into(), paths: vec!["a".into()], entries: 1, bytes: 2 };
        let (snapshot, time, sources) = (id('a'), "t".into(), vec![source]);
        let plan = Plan { snapshot, time, to: None, sources, entries: 1, bytes: 2, replaced: None };
        assert_eq!(
            line(&plan).unwrap(),
            r#"{"v":1,"type":"plan","snapshot":"aaaaaaaa","time":"t","to":null,"sources":[{"name":"app","root":"/srv","paths":["a"],"entries":1,"bytes":2}],"entries":1,"bytes":2,"replaced":null}"#
        );
        let lost = Lost { source: "app", path: "a".into(), why: "b", entries: 1 };
        assert_eq!(line(&lost).unwrap(), r#"{"v":1,"type":"lost","source":"app","path":"a","why":"b","entries":1}"#);
    }

    #[test]
    fn checks_tell_each_damage_and_the_whole() {
        let affects = vec![Affected { snapshot: id('a'), source: "app".into(), path: "a".into() }];
        assert_eq!(
            line(&Damage { object: "packs/ab/abcd", what: "gone", fix: "", affects, affects_more: 0 }).unwrap(),
            r#"{"v":1,"type":"damage","object":"packs/ab/abcd","what":"gone","fix":"","affects":[{"snapshot":"aaaaaaaa","source":"app","path":"a"}],"affects_more":0}"#
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
        };
        assert_eq!(
            line(&check).unwrap(),
            r#"{"v":1,"type":"check","healthy":true,"snapshots":1,"chunks":2,"packs":3,"packs_read":4,"bytes_read":5,"bytes_total":6,"damages":0,"packs_spare":0}"#
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
            objects: vec![Objects { kind: "packs", count: 1, bytes: 2 }],
            removal: vec![Removal { snapshot: id('a'), freed_bytes: 3 }],
        };
        assert_eq!(
            line(&stats).unwrap(),
            r#"{"v":1,"type":"stats","snapshots":1,"raw_bytes":8,"unique_bytes":4,"stored_bytes":2,"ratio":4.0,"delta_share":null,"objects":[{"kind":"packs","count":1,"bytes":2}],"removal":[{"snapshot":"aaaaaaaa","freed_bytes":3}]}"#
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
