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

#[cfg(test)]
mod tests {
    use super::super::super::line;
    use super::super::testing::id;
    use super::*;

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
}
