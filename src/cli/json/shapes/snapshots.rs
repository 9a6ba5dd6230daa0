//! Snapshots, listed and shown.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::Raw;
use super::Files;

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
    /// When all of it was restored by a drill, with success, and no later drill failed.
    pub proven: Option<String>,
    /// When a drill of it, or of a part of it, failed that none has made good since.
    pub drill_failed: Option<String>,
    /// When a check found that something of it is lost, unless it has been found whole since.
    pub damage_found: Option<String>,
}

/// What is known of a snapshot that is about to be used, in the words of [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// How far it can be relied on.
    pub state: State,
    /// When all of it was restored by a drill.
    pub proven: Option<String>,
    /// When a drill failed.
    pub drill_failed: Option<String>,
    /// When a check found that something of it is lost.
    pub damage_found: Option<String>,
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
    /// A check found that something of it is lost.
    Damaged,
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
    /// What else is known.
    pub facts: SourceFacts<'a>,
}

/// What is known of a source besides its size.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SourceFacts<'a> {
    /// The databases that are known to be in it.
    pub databases: Vec<DatabaseFacts<'a>>,
}

/// What is known of a database.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatabaseFacts<'a> {
    /// Path below the source's root.
    pub path: Raw<'a>,
    /// What was seen when it was saved; none: see `why`.
    pub seen: Option<DatabaseSeen<'a>>,
    /// What its engine said of the image that was stored; none: it was not asked.
    pub verdict: Option<DatabaseVerdict>,
    /// Why nothing of it can be read.
    pub why: Option<String>,
}

/// What was seen of a database in the transaction in which it was saved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatabaseSeen<'a> {
    /// Such as "sqlite".
    pub engine: &'static str,
    /// Bytes of a page.
    pub page_bytes: u32,
    /// How many pages there are.
    pub pages: u64,
    /// "rollback" or "wal".
    pub journal: &'static str,
    /// The application's number for its schema.
    pub user_version: i32,
    /// The number that tells whose format it is.
    pub application_id: i32,
    /// Encoding of its texts.
    pub encoding: String,
    /// BLAKE3 of its schema.
    pub schema: String,
    /// How many tables there are, with those not named.
    pub tables_total: u64,
    /// The tables with their rows.
    pub tables: Vec<super::TableRows<'a>>,
}

/// What an engine said of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatabaseVerdict {
    /// "pages" or "full".
    pub depth: &'static str,
    /// What is wrong; empty: nothing.
    pub wrong: Vec<String>,
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
    /// The drills of it, oldest first.
    pub drills: Vec<PastDrill<'a>>,
}

/// A drill that was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PastDrill<'a> {
    /// When it began.
    pub time: String,
    /// Of which source; none: all of them.
    pub source: Option<String>,
    /// Path below the source's root.
    pub path: Raw<'a>,
    /// Whether all was as it must be.
    pub ok: bool,
    /// How long it took, in seconds.
    pub duration_s: f64,
    /// Entries restored.
    pub entries: u64,
    /// Bytes restored.
    pub bytes: u64,
    /// Databases looked at.
    pub databases: u64,
    /// What was not as it must be.
    pub failures: Vec<String>,
    /// How much more.
    pub failures_more: u64,
}

#[cfg(test)]
mod tests {
    use super::super::super::line;
    use super::super::testing::id;
    use super::*;

    fn databases() -> Vec<DatabaseFacts<'static>> {
        let seen = DatabaseSeen {
            engine: "sqlite",
            page_bytes: 4096,
            pages: 2,
            journal: "wal",
            user_version: 7,
            application_id: -1,
            encoding: "UTF-8".into(),
            schema: "5c".into(),
            tables_total: 1,
            tables: vec![super::super::TableRows { name: "t".into(), rows: Some(3) }],
        };
        let verdict = DatabaseVerdict { depth: "pages", wrong: vec!["w".into()] };
        vec![
            DatabaseFacts { path: "a.db".into(), seen: Some(seen), verdict: Some(verdict), why: None },
            DatabaseFacts { path: "b.db".into(), seen: None, verdict: None, why: Some("gone".into()) },
        ]
    }

    fn snapshot() -> Snapshot<'static> {
        let facts = SourceFacts { databases: databases() };
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
            drill_failed: Some("2026-11-22T02:00:00Z".into()),
            damage_found: None,
        }
    }

    const SNAPSHOT: &str = concat!(
        r#""id":"aaaaaaaa","time":"2026-11-21T02:00:00Z","client":"host","user":"root","sources":[{"name":"app","#,
        r#""kind":"files","root":{"base64":"L3Nydi//"},"bytes":3,"entries":4,"facts":{"databases":["#,
        r#"{"path":"a.db","seen":{"engine":"sqlite","page_bytes":4096,"pages":2,"journal":"wal","user_version":7,"#,
        r#""application_id":-1,"encoding":"UTF-8","schema":"5c","tables_total":1,"tables":[{"name":"t","rows":3}]},"#,
        r#""verdict":{"depth":"pages","wrong":["w"]},"why":null},"#,
        r#"{"path":"b.db","seen":null,"verdict":null,"why":"gone"}]}}],"added_bytes":5,"#,
        r#""tags":["t"],"note":null,"pinned":false,"state":"partial","reasons":["x"],"proven":null,"#,
        r#""drill_failed":"2026-11-22T02:00:00Z","damage_found":null"#,
    );

    #[test]
    fn snapshots_are_listed_and_shown_alike() {
        let damaged = vec![DamagedSnapshot { id: id('d'), why: "gone".into() }];
        let list = Snapshots { snapshots: vec![snapshot()], damaged };
        let rest = r#""damaged":[{"id":"dddddddd","why":"gone"}]"#;
        let expected = format!(r#"{{"v":1,"type":"snapshots","snapshots":[{{{SNAPSHOT}}}],{rest}}}"#);
        assert_eq!(line(&list).unwrap(), expected);
        let drill = PastDrill {
            time: "t".into(),
            source: Some("app".into()),
            path: "a".into(),
            ok: false,
            duration_s: 0.5,
            entries: 1,
            bytes: 2,
            databases: 3,
            failures: vec!["x".into()],
            failures_more: 4,
        };
        let show = Show {
            snapshot: snapshot(),
            previous: BTreeMap::from([("app".to_owned(), id('b'))]),
            session: "5e".into(),
            program: "larder 1".into(),
            duration_s: 2.0,
            bytes_read: 6,
            files: Files::default(),
            drills: vec![drill],
        };
        let rest = r#""previous":{"app":"bbbbbbbb"},"session":"5e","program":"larder 1","duration_s":2.0,"bytes_read":6,"files":{"new":0,"changed":0,"unchanged":0,"failed":0},"drills":[{"time":"t","source":"app","path":"a","ok":false,"duration_s":0.5,"entries":1,"bytes":2,"databases":3,"failures":["x"],"failures_more":4}]"#;
        assert_eq!(line(&show).unwrap(), format!(r#"{{"v":1,"type":"snapshot",{SNAPSHOT},{rest}}}"#));
    }
}
