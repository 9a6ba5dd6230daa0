//! What is in databases in snapshots.

use serde::Serialize;

use super::super::Raw;
use super::Health;

/// Head of `tables`; [`DatabaseTable`] items follow as `tables`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TablesHead<'a> {
    /// The snapshot.
    pub snapshot: String,
    /// The source.
    pub source: String,
    /// The database, below the source's root.
    pub path: Raw<'a>,
}

/// A table of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatabaseTable<'a> {
    /// Its name.
    pub name: Raw<'a>,
    /// `table`, `view`, a module's name, or `part of NAME`.
    pub kind: String,
    /// Its rows, where they were counted.
    pub rows: Option<u64>,
    /// Names of its columns.
    pub columns: Vec<Raw<'a>>,
    /// Why it cannot be read.
    pub why: Option<&'a str>,
}

/// Head of `query`; objects with a member for each column follow as `rows`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueryHead<'a> {
    /// The snapshot.
    pub snapshot: String,
    /// The source.
    pub source: String,
    /// The database, below the source's root.
    pub path: Raw<'a>,
    /// The members of the rows, each once, in the order of the columns.
    pub columns: Vec<String>,
}

/// `restore` of a database, or a table of it, that is only planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatabasePlan<'a> {
    /// The snapshot.
    pub snapshot: String,
    /// When it was taken.
    pub time: String,
    /// The source.
    pub source: String,
    /// The database, below the source's root.
    pub path: Raw<'a>,
    /// Where it was, if the snapshot says so.
    pub origin: Option<Raw<'a>>,
    /// How long it is.
    pub bytes: u64,
    /// The table; none: all of it.
    pub table: Option<Raw<'a>>,
    /// Which rows of it.
    #[serde(rename = "where")]
    pub condition: Option<&'a str>,
    /// How many rows the table has, whichever are asked for.
    pub rows: Option<u64>,
    /// The file that would be written.
    pub to: Option<Raw<'a>>,
    /// Whether that file is there.
    pub is_there: Option<bool>,
    /// What is known of the snapshot.
    #[serde(flatten)]
    pub health: Health,
}

/// A table, or rows of it, that was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestoredTable<'a> {
    /// The snapshot.
    pub snapshot: String,
    /// The source.
    pub source: String,
    /// The database, below the source's root.
    pub path: Raw<'a>,
    /// The table.
    pub table: Raw<'a>,
    /// The file that was written.
    pub to: Raw<'a>,
    /// `csv`, `json-lines`, `sql`, or `sqlite`.
    pub form: &'static str,
    /// Whether the table was made.
    pub made: bool,
    /// Rows that were written, or were not there.
    pub rows: u64,
    /// Rows that were there and are as they were now.
    pub replaced: u64,
    /// Rows that were there and stay.
    pub skipped: u64,
    /// New rows whose rowid was taken.
    pub rowids_changed: u64,
    /// Indices made.
    pub indices: u64,
    /// Triggers made.
    pub triggers: u64,
    /// Full-text tables that were rebuilt.
    pub rebuilt: Vec<Raw<'a>>,
    /// References that lead nowhere, the first of them.
    pub references_broken: Vec<BrokenReference<'a>>,
    /// How many there are.
    pub references_broken_total: u64,
    /// Why they could not be checked.
    pub references_unchecked: Option<&'a str>,
}

/// A row that refers to one which is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokenReference<'a> {
    /// The table of the row.
    pub table: Raw<'a>,
    /// Its rowid.
    pub row: Option<i64>,
    /// The table that it refers to.
    pub parent: Raw<'a>,
    /// Whether that whole table is missing.
    pub parent_missing: bool,
}

/// A database that was restored as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestoredDatabase<'a> {
    /// The snapshot.
    pub snapshot: String,
    /// The source.
    pub source: String,
    /// The database, below the source's root.
    pub path: Raw<'a>,
    /// Where it is now.
    pub to: Raw<'a>,
    /// How long it is.
    pub bytes: u64,
    /// What was there, and has other names now.
    pub aside: Vec<Moved<'a>>,
}

/// A file that was renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved<'a> {
    /// Its old name.
    pub from: Raw<'a>,
    /// Its new name.
    pub to: Raw<'a>,
}

/// What differs inside a database that is on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DatabaseChange<'a> {
    /// Tables, indexes, triggers and views that differ.
    pub schema: Vec<SchemaChange<'a>>,
    /// Tables whose rows differ, or could not be compared.
    pub tables: Vec<TableChange<'a>>,
    /// Why nothing of it can be told.
    pub why: Option<String>,
}

/// A table, index, trigger or view that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SchemaChange<'a> {
    /// "added", "removed" or "changed".
    pub change: &'static str,
    /// "table", "index", "trigger" or "view".
    pub kind: String,
    /// Its name.
    pub name: Raw<'a>,
    /// The table that it belongs to.
    pub table: Raw<'a>,
}

/// A table whose rows differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableChange<'a> {
    /// Its name.
    pub name: Raw<'a>,
    /// How many rows differ; none: they could not be compared.
    pub rows: Option<RowTotals>,
    /// Why they could not be compared.
    pub why: Option<&'a str>,
}

/// Rows by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowTotals {
    /// Not there before.
    pub added: u64,
    /// Not there any more.
    pub removed: u64,
    /// There before, with other values.
    pub changed: u64,
    /// As before.
    pub same: u64,
}

/// Head of `diff --table`; objects with `change`, `before` and `after` follow as `rows`, then [`RowTotals`] as `totals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowDiffHead<'a> {
    /// The older side; none: there was nothing before.
    pub from: Option<String>,
    /// The newer side.
    pub to: String,
    /// The source.
    pub source: &'a str,
    /// The database, below the source's root.
    pub path: Raw<'a>,
    /// The table.
    pub table: &'a str,
    /// The members of the rows, in the order of the columns; empty if no row differs.
    pub columns: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::super::super::{encode, line};
    use super::super::State;
    use super::*;

    #[test]
    fn databases_tell_their_tables_and_rows() {
        let head = TablesHead { snapshot: "ab".into(), source: "app".into(), path: "data/a.db".into() };
        assert_eq!(
            line(&head).unwrap(),
            r#"{"v":1,"type":"tables","snapshot":"ab","source":"app","path":"data/a.db"}"#
        );
        let columns = vec!["id".into(), b"\xff".as_slice().into()];
        let table = DatabaseTable { name: "t".into(), kind: "table".into(), rows: Some(3), columns, why: None };
        assert_eq!(
            encode(&table).unwrap(),
            r#"{"name":"t","kind":"table","rows":3,"columns":["id",{"base64":"/w=="}],"why":null}"#
        );
        let columns = vec!["a".into(), "a_2".into()];
        let head = QueryHead { snapshot: "ab".into(), source: "app".into(), path: "a.db".into(), columns };
        assert_eq!(
            line(&head).unwrap(),
            r#"{"v":1,"type":"query","snapshot":"ab","source":"app","path":"a.db","columns":["a","a_2"]}"#
        );
    }

    #[test]
    fn restores_tell_what_became_of_rows_and_databases() {
        let plan = DatabasePlan {
            snapshot: "ab".into(),
            time: "t".into(),
            source: "app".into(),
            path: "a.db".into(),
            origin: Some("/srv/a.db".into()),
            bytes: 1,
            table: Some("t".into()),
            condition: Some("a = 1"),
            rows: Some(2),
            to: None,
            is_there: None,
            health: Health { state: State::Ok, proven: Some("p".into()), drill_failed: None, damage_found: None },
        };
        assert_eq!(
            line(&plan).unwrap(),
            r#"{"v":1,"type":"database-plan","snapshot":"ab","time":"t","source":"app","path":"a.db","origin":"/srv/a.db","bytes":1,"table":"t","where":"a = 1","rows":2,"to":null,"is_there":null,"state":"ok","proven":"p","drill_failed":null,"damage_found":null}"#
        );
        let broken = BrokenReference { table: "t".into(), row: Some(7), parent: "p".into(), parent_missing: false };
        let table = RestoredTable {
            snapshot: "ab".into(),
            source: "app".into(),
            path: "a.db".into(),
            table: "t".into(),
            to: "/srv/a.db".into(),
            form: "sqlite",
            made: true,
            rows: 1,
            replaced: 2,
            skipped: 3,
            rowids_changed: 4,
            indices: 5,
            triggers: 6,
            rebuilt: vec!["f".into()],
            references_broken: vec![broken],
            references_broken_total: 1,
            references_unchecked: None,
        };
        assert_eq!(
            line(&table).unwrap(),
            r#"{"v":1,"type":"restored-table","snapshot":"ab","source":"app","path":"a.db","table":"t","to":"/srv/a.db","form":"sqlite","made":true,"rows":1,"replaced":2,"skipped":3,"rowids_changed":4,"indices":5,"triggers":6,"rebuilt":["f"],"references_broken":[{"table":"t","row":7,"parent":"p","parent_missing":false}],"references_broken_total":1,"references_unchecked":null}"#
        );
        let aside = vec![Moved { from: "/a".into(), to: "/b".into() }];
        let (snapshot, source) = ("ab".into(), "app".into());
        let database = RestoredDatabase { snapshot, source, path: "a.db".into(), to: "/a".into(), bytes: 1, aside };
        assert_eq!(
            line(&database).unwrap(),
            r#"{"v":1,"type":"restored-database","snapshot":"ab","source":"app","path":"a.db","to":"/a","bytes":1,"aside":[{"from":"/a","to":"/b"}]}"#
        );
    }

    #[test]
    fn what_differs_inside_a_database_is_told() {
        let schema = SchemaChange { change: "added", kind: "index".into(), name: "i".into(), table: "t".into() };
        let rows = Some(RowTotals { added: 1, removed: 2, changed: 3, same: 4 });
        let tables = vec![
            TableChange { name: "t".into(), rows, why: None },
            TableChange { name: "u".into(), rows: None, why: Some("x") },
        ];
        let change = DatabaseChange { schema: vec![schema], tables, why: None };
        assert_eq!(
            encode(&change).unwrap(),
            r#"{"schema":[{"change":"added","kind":"index","name":"i","table":"t"}],"tables":[{"name":"t","rows":{"added":1,"removed":2,"changed":3,"same":4},"why":null},{"name":"u","rows":null,"why":"x"}],"why":null}"#
        );
        let columns = vec!["id".into()];
        let (from, to) = (None, "ab".into());
        let head = RowDiffHead { from, to, source: "app", path: "a.db".into(), table: "t", columns };
        assert_eq!(
            line(&head).unwrap(),
            r#"{"v":1,"type":"row-diff","from":null,"to":"ab","source":"app","path":"a.db","table":"t","columns":["id"]}"#
        );
    }
}
