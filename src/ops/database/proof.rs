//! Proof that a database is the one that was saved.

use crate::crypto::ObjectHasher;
use crate::error::Result;
use crate::event::Cancel;
use crate::record::Facts;
use crate::source::sqlite;
use crate::sql::{self, Connection, Expected, Proof, RecordedTable};

/// What a proof is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// It was damaged when it was saved.
    Saved,
    /// It cannot be looked at.
    Opening,
    /// Its schema is another one.
    Schema,
    /// What the engine says, or the user's own checks.
    Content(Proof),
}

impl About {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Saved => "saved",
            Self::Opening => "opening",
            Self::Schema => "schema",
            Self::Content(Proof::Integrity) => "integrity",
            Self::Content(Proof::References) => "references",
            Self::Content(Proof::Rows) => "rows",
            Self::Content(Proof::Check) => "check",
        }
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What about.
    pub about: About,
    /// What was found, safe to print.
    pub said: String,
}

/// What is not as it was when it was saved, or does not hold; see [`sql::verify`]. `None`: it was saved as a plain file.
pub fn compare(conn: &Connection, facts: Option<&Facts>, checks: &[&str], cancel: &Cancel) -> Result<Vec<Finding>> {
    let recorded = facts.map(recorded);
    let expected = Expected {
        tables: recorded.as_deref(),
        tables_more: facts.map_or(0, |facts| facts.tables_total.saturating_sub(facts.tables.len() as u64)),
        checks,
    };
    let found = sql::verify(conn, expected, cancel)?.into_iter();
    let mut out: Vec<Finding> = found.map(|f| Finding { about: About::Content(f.proof), said: f.said }).collect();
    if facts.is_some_and(|facts| is_other_schema(conn, facts)) {
        out.push(Finding { about: About::Schema, said: "its schema is not the one that was saved".into() });
    }
    Ok(out)
}

/// Without the tables that the engine keeps for itself, of which lists of tables say nothing either.
pub fn recorded(facts: &Facts) -> Vec<RecordedTable> {
    let is_own = |name: &[u8]| name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"sqlite_"));
    let tables = facts.tables.iter().filter(|table| !is_own(&table.name));
    tables.map(|table| RecordedTable { name: table.name.clone(), rows: table.rows }).collect()
}

/// A schema that was too long, or could not be read, was recorded like an empty one, and is not compared.
fn is_other_schema(conn: &Connection, facts: &Facts) -> bool {
    let digest = |schema: &[u8]| {
        let mut hasher = ObjectHasher::default();
        hasher.update(schema);
        *hasher.finish().as_bytes()
    };
    let is_known = facts.schema != digest(b"") && facts.schema != [0; 32];
    is_known && sqlite::schema(conn).is_none_or(|schema| digest(&schema) != facts.schema)
}
