//! What runs tell on their way and at their end.

use serde::Serialize;

use super::super::Raw;
use super::Health;

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
    /// There before, and no more; only a backup says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<u64>,
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
    /// What is known of the snapshot.
    #[serde(flatten)]
    pub health: Health,
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

#[cfg(test)]
mod tests {
    use super::super::super::line;
    use super::super::State;
    use super::super::testing::id;
    use super::*;

    #[test]
    fn a_run_ends_with_a_summary_or_an_error() {
        let files = Files { new: 1, changed: 2, unchanged: 3, gone: Some(5), failed: 4 };
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
            r#"{"v":1,"type":"summary","command":"backup","snapshot":"aaaaaaaa","duration_s":1.5,"bytes_read":6,"bytes_added":7,"files":{"new":1,"changed":2,"unchanged":3,"gone":5,"failed":4},"exit_code":3,"left_out":{"by_pattern":5,"cache_folders":0,"sockets":6,"other_file_systems":0,"repositories":0,"database_files":0}}"#
        );
        let failure = Failure { code: "busy", what: "a", why: "b", fix: "", exit_code: 11 };
        assert_eq!(
            line(&failure).unwrap(),
            r#"{"v":1,"type":"error","code":"busy","what":"a","why":"b","fix":"","exit_code":11}"#
        );
        assert_eq!(line(&Warning { message: "a" }).unwrap(), r#"{"v":1,"type":"warning","message":"a"}"#);
    }

    #[test]
    fn restores_tell_the_plan_and_the_losses() {
        let source =
            PlanSource { name: "app".into(), root: "/srv".into(), paths: vec!["a".into()], entries: 1, bytes: 2 };
        let (snapshot, time, sources) = (id('a'), "t".into(), vec![source]);
        let damage_found = Some("d".into());
        let health = Health { state: State::Damaged, proven: None, drill_failed: None, damage_found };
        let plan = Plan { snapshot, time, to: None, sources, entries: 1, bytes: 2, replaced: None, health };
        assert_eq!(
            line(&plan).unwrap(),
            r#"{"v":1,"type":"plan","snapshot":"aaaaaaaa","time":"t","to":null,"sources":[{"name":"app","root":"/srv","paths":["a"],"entries":1,"bytes":2}],"entries":1,"bytes":2,"replaced":null,"state":"damaged","proven":null,"drill_failed":null,"damage_found":"d"}"#
        );
        let lost = Lost { source: "app", path: "a".into(), why: "b", entries: 1 };
        assert_eq!(line(&lost).unwrap(), r#"{"v":1,"type":"lost","source":"app","path":"a","why":"b","entries":1}"#);
    }
}
