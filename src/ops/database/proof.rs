//! Proof that a database is the one that was saved.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::crypto::ObjectHasher;
use crate::error::{Kind, Result};
use crate::event::Cancel;
use crate::record::Facts;
use crate::source::sqlite;
use crate::sql::{self, Connection, Expected, Proof, RecordedTable, Unasked, ValueRef};
use crate::text;

/// The most that is named of what is missing.
const LACKS_MAX: usize = 3;

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

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// What is not as it was when it was saved, or does not hold.
    pub findings: Vec<Finding>,
    /// What its engine could not be asked, for want of what belongs to an application.
    pub unasked: Vec<Unasked>,
}

/// Looks at everything; see [`sql::verify`]. Where the engine cannot be asked about all of it, its pages are looked at, too.
/// `None`: it was saved as a plain file.
pub fn compare(conn: &Connection, facts: Option<&Facts>, checks: &[&str], cancel: &Cancel) -> Result<Compared> {
    let recorded = facts.map(recorded);
    let expected = Expected {
        tables: recorded.as_deref(),
        tables_more: facts.map_or(0, |facts| facts.tables_total.saturating_sub(facts.tables.len() as u64)),
        checks,
    };
    let verified = sql::verify(conn, expected, cancel)?;
    let found = verified.findings.into_iter();
    let mut findings: Vec<_> = found.map(|f| Finding { about: About::Content(f.proof), said: f.said }).collect();
    if facts.is_some_and(|facts| is_other_schema(conn, facts)) {
        findings.push(Finding { about: About::Schema, said: "its schema is not the one that was saved".into() });
    }
    let unasked = verified.unasked;
    if !unasked.is_empty() {
        match by_pages(conn, &unasked, recorded.as_deref().unwrap_or_default(), cancel) {
            Err(e) if e.kind() == Kind::Interrupted => return Err(e),
            Err(e) => findings.push(Finding { about: About::Content(Proof::Integrity), said: e.to_string() }),
            Ok(found) => findings.extend(found),
        }
    }
    Ok(Compared { findings, unasked })
}

/// What pages tell is wrong: whether they fit together, and how many rows there are in the tables that were not asked.
fn by_pages(
    conn: &Connection,
    unasked: &[Unasked],
    recorded: &[RecordedTable],
    cancel: &Cancel,
) -> Result<Vec<Finding>> {
    let finding = |proof, said| Finding { about: About::Content(proof), said };
    let Some(pages) = sqlite::look_at_pages(conn, cancel)? else { return Ok(Vec::new()) };
    if let Some(wrong) = pages.wrong {
        return Ok(vec![finding(Proof::Integrity, wrong)]);
    }
    let wanted: HashMap<_, _> = recorded.iter().map(|table| (table.name.as_slice(), table.rows)).collect();
    let mut out = Vec::new();
    for name in unasked.iter().map(|one| one.table.as_slice()).collect::<BTreeSet<_>>() {
        let root = "SELECT rootpage FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 AND rootpage > 0";
        let root = sql::first_number(conn, root, &[ValueRef::Text(name)])?;
        let found = root.and_then(|root| pages.rows.get(&u32::try_from(root).ok()?).copied());
        if let (Some(Some(wanted)), Some(found)) = (wanted.get(name).copied(), found)
            && found != wanted
        {
            out.push(finding(Proof::Rows, format!("{} has {found} rows, not {wanted}", text::escape(name))));
        }
    }
    Ok(out)
}

/// Such as "2 tables that need the collation unicase, which belongs to the application"; empty: all was asked.
pub fn told(unasked: &[Unasked]) -> String {
    let mut lacks: BTreeMap<&str, BTreeSet<&[u8]>> = BTreeMap::new();
    for one in unasked {
        lacks.entry(&one.lacks).or_default().insert(&one.table);
    }
    let mut said: Vec<String> = lacks
        .iter()
        .map(|(lacks, tables)| match tables.len() {
            1 => format!("1 table that needs {lacks}"),
            n => format!("{n} tables that need {lacks}"),
        })
        .collect();
    let (more, which) = match said.len() {
        0 => return String::new(),
        1 => (String::new(), "which belongs to the application"),
        n => (
            if n > LACKS_MAX { format!(" and {} things more", n - LACKS_MAX) } else { String::new() },
            "which belong to the application",
        ),
    };
    said.truncate(LACKS_MAX);
    format!("{}{more}, {which}", said.join(" and "))
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
