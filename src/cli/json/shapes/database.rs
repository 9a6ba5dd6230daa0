//! What is in databases in snapshots.

use serde::Serialize;

use super::super::Raw;

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

#[cfg(test)]
mod tests {
    use super::super::super::{encode, line};
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
}
