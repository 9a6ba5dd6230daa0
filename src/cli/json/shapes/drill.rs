//! What a drill found.

use serde::Serialize;

use super::super::Raw;

/// A line of `drill`: a database that was restored and looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drilled<'a> {
    /// The source it is in.
    pub source: String,
    /// Path below the source's root.
    pub path: Raw<'a>,
    /// Whether all is as it must be.
    pub ok: bool,
    /// Whether there was something to compare it with.
    pub compared: bool,
    /// Its tables.
    pub tables: Vec<TableRows<'a>>,
    /// What is not as it must be.
    pub failures: Vec<DrillFailure<'a>>,
    /// What SQLite could not be asked.
    pub unasked: Vec<Unasked<'a>>,
}

/// A table and its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableRows<'a> {
    /// Its name.
    pub name: Raw<'a>,
    /// Its rows; none: not counted.
    pub rows: Option<u64>,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrillFailure<'a> {
    /// What about.
    pub about: &'static str,
    /// What was found.
    pub what: &'a str,
}

/// A table that SQLite could not be asked about, or not of all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unasked<'a> {
    /// Its name.
    pub table: Raw<'a>,
    /// What is missing, and belongs to the application.
    pub lacks: &'a str,
}

/// The line of `drill` before its summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drill<'a> {
    /// The snapshot.
    pub snapshot: String,
    /// The source; none: all of them.
    pub source: Option<String>,
    /// Path below the source's root.
    pub path: Raw<'a>,
    /// Whether all is as it must be.
    pub ok: bool,
    /// Entries restored.
    pub entries: u64,
    /// Bytes restored.
    pub bytes: u64,
    /// Regular files restored.
    pub files: u64,
    /// Databases looked at.
    pub databases: u64,
    /// What is not as it must be.
    pub failures: Vec<String>,
    /// How much more.
    pub failures_more: u64,
    /// Whether the result stands in the repository.
    pub kept: bool,
}

#[cfg(test)]
mod tests {
    use super::super::super::line;
    use super::super::testing::id;
    use super::*;

    #[test]
    fn drills_tell_each_database_and_the_whole() {
        let drilled = Drilled {
            source: "app".into(),
            path: "a.db".into(),
            ok: false,
            compared: true,
            tables: vec![TableRows { name: "t".into(), rows: Some(1) }],
            failures: vec![DrillFailure { about: "rows", what: "x" }],
            unasked: vec![Unasked { table: "u".into(), lacks: "the collation c" }],
        };
        assert_eq!(
            line(&drilled).unwrap(),
            r#"{"v":1,"type":"drilled","source":"app","path":"a.db","ok":false,"compared":true,"tables":[{"name":"t","rows":1}],"failures":[{"about":"rows","what":"x"}],"unasked":[{"table":"u","lacks":"the collation c"}]}"#
        );
        let drill = Drill {
            snapshot: id('a'),
            source: None,
            path: "".into(),
            ok: false,
            entries: 1,
            bytes: 2,
            files: 3,
            databases: 4,
            failures: vec!["x".into()],
            failures_more: 5,
            kept: true,
        };
        assert_eq!(
            line(&drill).unwrap(),
            r#"{"v":1,"type":"drill","snapshot":"aaaaaaaa","source":null,"path":"","ok":false,"entries":1,"bytes":2,"files":3,"databases":4,"failures":["x"],"failures_more":5,"kept":true}"#
        );
    }
}
