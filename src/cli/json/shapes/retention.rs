//! What stays, what goes, and what was said about snapshots.

use serde::Serialize;

/// `forget`: what becomes of which snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forget {
    /// Whether it was done; else this is the plan.
    pub applied: bool,
    /// Whether it takes `--force`, which was not given.
    pub needs_force: bool,
    /// All that something was decided about, oldest first.
    pub snapshots: Vec<ForgetDecision>,
    /// Those that cannot be read.
    pub damaged: Vec<ForgetDamaged>,
    /// The series that something was decided about.
    pub series: Vec<ForgetSeries>,
    /// Ids of those that were to go, and were pinned meanwhile.
    pub spared: Vec<String>,
    /// What nothing would need any more, estimated; none: not counted.
    pub freed_bytes: Option<u64>,
    /// How much could not be read to know it.
    pub freed_gaps: u64,
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForgetDecision {
    /// Its id.
    pub id: String,
    /// When it was taken.
    pub time: String,
    /// The names of its sources.
    pub sources: Vec<String>,
    /// Whether it stays.
    pub keep: bool,
    /// "partial", "drill-failed" or "damaged": it fills no place of a rule.
    pub flaw: Option<&'static str>,
    /// Why it stays, or why no rule keeps it.
    pub reasons: Vec<ForgetReason>,
}

/// What keeps a snapshot, or a rule that does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForgetReason {
    /// Such as "daily".
    pub rule: String,
    /// In which series.
    pub series: Option<String>,
    /// The rule's number, duration or tag.
    pub amount: Option<String>,
    /// The hour, day, …, that it looked at.
    pub slot: Option<String>,
    /// As which one it keeps it, from 1.
    pub nth: Option<u64>,
    /// The snapshot of the same hour, day, …, that it keeps instead.
    pub by: Option<String>,
}

/// A snapshot that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForgetDamaged {
    /// Its id.
    pub id: String,
    /// Why.
    pub why: String,
    /// Whether it stays.
    pub keep: bool,
}

/// A series, and how much of it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForgetSeries {
    /// Its name.
    pub name: String,
    /// Snapshots there were.
    pub snapshots: u64,
    /// Those that go.
    pub removed: u64,
}

/// `prune`: what was planned, and what was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prune {
    /// Whether it was done; else this is the plan.
    pub applied: bool,
    /// Packs there were.
    pub packs: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Packs of which nothing is needed.
    pub drop_packs: u64,
    /// Packs of which something is stored again.
    pub repack_packs: u64,
    /// How much of them, estimated.
    pub repack_bytes: u64,
    /// By how much less is stored then, estimated.
    pub free_bytes: u64,
    /// What nobody needs and stays, estimated.
    pub unused_bytes: u64,
    /// Packs in the trash before.
    pub trash_packs: u64,
    /// Their bytes.
    pub trash_bytes: u64,
    /// Other runs at work.
    pub runs: u64,
    /// What was done.
    pub result: Option<Pruned>,
}

/// What a prune did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Packs that were removed.
    pub removed_packs: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// What was stored again.
    pub added_bytes: u64,
    /// Whether what was removed lies in the trash.
    pub in_trash: bool,
    /// Packs that were deleted from the trash.
    pub emptied_packs: u64,
    /// Their bytes.
    pub emptied_bytes: u64,
    /// Forgotten snapshots that cannot be brought back any more.
    pub snapshots_gone: u64,
    /// Runs that had died without an end.
    pub runs_expired: u64,
}

/// `pin`, `unpin`, `note`, `tag`: what holds of a snapshot now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Its id.
    pub snapshot: String,
    /// Whether it is kept whatever the rules say.
    pub pinned: bool,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its note.
    pub note: Option<String>,
    /// Whether anything changed.
    pub changed: bool,
}

/// `undelete` without an address: what can be brought back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trash {
    /// Oldest first.
    pub snapshots: Vec<Trashed>,
    /// Those that cannot be read.
    pub damaged: Vec<super::DamagedSnapshot>,
}

/// A snapshot in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trashed {
    /// Its id.
    pub id: String,
    /// When it was taken.
    pub time: String,
    /// The names of its sources.
    pub sources: Vec<String>,
    /// When it was forgotten, as far as that is known.
    pub forgotten: Option<String>,
    /// Its note.
    pub note: Option<String>,
}

/// `undelete`: what was brought back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undelete {
    /// Ids, as they were named.
    pub snapshots: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::super::super::line;
    use super::super::testing::id;
    use super::*;

    #[test]
    fn plans_tell_what_and_why() {
        let reason = |nth, by| ForgetReason {
            rule: "daily".into(),
            series: Some("etc".into()),
            amount: Some("7".into()),
            slot: Some("2026-11-20".into()),
            nth,
            by,
        };
        let decision = |digit, keep, flaw, reason| ForgetDecision {
            id: id(digit),
            time: "t".into(),
            sources: vec!["etc".into()],
            keep,
            flaw,
            reasons: vec![reason],
        };
        let forget = Forget {
            applied: true,
            needs_force: false,
            snapshots: vec![
                decision('a', false, None, reason(None, Some(id('b')))),
                decision('b', true, Some("partial"), reason(Some(1), None)),
            ],
            damaged: vec![ForgetDamaged { id: id('d'), why: "w".into(), keep: true }],
            series: vec![ForgetSeries { name: "etc".into(), snapshots: 2, removed: 1 }],
            spared: vec![id('c')],
            freed_bytes: Some(5),
            freed_gaps: 0,
        };
        let reason = r#"{"rule":"daily","series":"etc","amount":"7","slot":"2026-11-20""#;
        let expected = [
            r#"{"v":1,"type":"forget","applied":true,"needs_force":false,"snapshots":[{"#,
            r#""id":"aaaaaaaa","time":"t","sources":["etc"],"#,
            &format!(r#""keep":false,"flaw":null,"reasons":[{reason},"nth":null,"by":"bbbbbbbb"}}]}},"#),
            r#"{"id":"bbbbbbbb","time":"t","sources":["etc"],"#,
            &format!(r#""keep":true,"flaw":"partial","reasons":[{reason},"nth":1,"by":null}}]}}],"#),
            r#""damaged":[{"id":"dddddddd","why":"w","keep":true}],"#,
            r#""series":[{"name":"etc","snapshots":2,"removed":1}],"spared":["cccccccc"],"freed_bytes":5,"freed_gaps":0}"#,
        ];
        assert_eq!(line(&forget).unwrap(), expected.concat());
    }

    #[test]
    fn a_prune_tells_plan_and_result() {
        let result = Pruned {
            removed_packs: 3,
            removed_bytes: 90,
            added_bytes: 10,
            in_trash: true,
            emptied_packs: 1,
            emptied_bytes: 5,
            snapshots_gone: 2,
            runs_expired: 0,
        };
        let prune = Prune {
            applied: true,
            packs: 9,
            stored_bytes: 900,
            drop_packs: 1,
            repack_packs: 2,
            repack_bytes: 11,
            free_bytes: 79,
            unused_bytes: 4,
            trash_packs: 1,
            trash_bytes: 5,
            runs: 0,
            result: Some(result),
        };
        let expected = [
            r#"{"v":1,"type":"prune","applied":true,"packs":9,"stored_bytes":900,"drop_packs":1,"repack_packs":2,"#,
            r#""repack_bytes":11,"free_bytes":79,"unused_bytes":4,"trash_packs":1,"trash_bytes":5,"runs":0,"#,
            r#""result":{"removed_packs":3,"removed_bytes":90,"added_bytes":10,"in_trash":true,"#,
            r#""emptied_packs":1,"emptied_bytes":5,"snapshots_gone":2,"runs_expired":0}}"#,
        ];
        assert_eq!(line(&prune).unwrap(), expected.concat());
        assert!(line(&Prune { result: None, ..prune }).unwrap().ends_with(r#""result":null}"#));
    }

    #[test]
    fn remarks_and_the_trash_are_told() {
        let remark =
            Remark { snapshot: id('a'), pinned: true, tags: vec!["x".into()], note: Some("n".into()), changed: true };
        assert_eq!(
            line(&remark).unwrap(),
            r#"{"v":1,"type":"remark","snapshot":"aaaaaaaa","pinned":true,"tags":["x"],"note":"n","changed":true}"#
        );
        let one = Trashed { id: id('a'), time: "t".into(), sources: vec![], forgotten: Some("f".into()), note: None };
        let trash = Trash { snapshots: vec![one], damaged: vec![] };
        assert_eq!(
            line(&trash).unwrap(),
            r#"{"v":1,"type":"trash","snapshots":[{"id":"aaaaaaaa","time":"t","sources":[],"forgotten":"f","note":null}],"damaged":[]}"#
        );
        let undelete = Undelete { snapshots: vec![id('a')] };
        assert_eq!(line(&undelete).unwrap(), r#"{"v":1,"type":"undelete","snapshots":["aaaaaaaa"]}"#);
    }
}
