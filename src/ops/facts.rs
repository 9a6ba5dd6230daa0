//! What is known of the databases in a snapshot, without reading them.

use std::collections::HashMap;

use super::list;
use crate::crypto::ChunkKind;
use crate::error::Result;
use crate::record::{Facts, Snapshot, SourceBody, SourceKind, Verdict};
use crate::repo::{ChunkReader, malformed};
use crate::text;
use crate::tree::{Found, Large, StoredEntry};

/// What was seen when a file was saved as a database; `None`: it was not.
pub fn facts_of(reader: &ChunkReader<'_>, path: &[u8], stored: &StoredEntry) -> Result<Option<Facts>> {
    let bytes = match &stored.facts {
        Some(Large::Inline(bytes)) => bytes.clone(),
        Some(Large::Chunk(chunk)) => reader.chunk(ChunkKind::Attr, &chunk.id)?.to_vec(),
        None => return Ok(None),
    };
    let place = || format!("the facts of {}", text::escape(path));
    Facts::parse(&bytes).map(Some).map_err(|e| malformed(&place(), &e))
}

/// A database in a snapshot, as far as it is known.
#[derive(Clone, Debug)]
pub struct Known {
    /// Path below the source's root.
    pub path: Vec<u8>,
    /// What was seen when it was saved, or why that cannot be read.
    pub facts: Result<Facts>,
    /// What was found wrong with the stored image; `None`: it was not checked.
    pub verdict: Option<Verdict>,
}

/// Looks up what is known of databases. An image that is in many snapshots is looked up once.
#[derive(Debug)]
pub struct Lookup<'r> {
    reader: &'r ChunkReader<'r>,
    by_image: HashMap<[u8; 32], Facts>,
}

impl<'r> Lookup<'r> {
    /// Reads from here.
    pub fn new(reader: &'r ChunkReader<'r>) -> Self {
        Self { reader, by_image: HashMap::new() }
    }

    /// The databases of a source, in the order of their paths: what the source itself is, and those that were checked
    /// when they were saved. Others are not known without a walk through all that is in it.
    pub fn of(&mut self, snapshot: &Snapshot, source: &SourceBody) -> Vec<Known> {
        let verdicts = || snapshot.body.verdicts.iter().filter(|verdict| verdict.source == source.name);
        let mut known: Vec<Known> = verdicts()
            .map(|verdict| Known {
                path: verdict.path.clone(),
                facts: self.facts(source, &verdict.path, Some(&verdict.image)),
                verdict: Some(verdict.clone()),
            })
            .collect();
        if known.is_empty() && source.kind == SourceKind::Sqlite {
            let found = list::found_at(self.reader, source, b"");
            let path = found.as_ref().map(|found| found.path.clone()).unwrap_or_default();
            known.push(Known { path, facts: found.and_then(|found| self.read(&found)), verdict: None });
        }
        known.sort_by(|a, b| crate::tree::compare_paths(&a.path, &b.path));
        known
    }

    fn facts(&mut self, source: &SourceBody, path: &[u8], image: Option<&[u8; 32]>) -> Result<Facts> {
        if let Some(facts) = image.and_then(|image| self.by_image.get(image)) {
            return Ok(facts.clone());
        }
        let facts = self.read(&list::found_at(self.reader, source, path)?)?;
        if let Some(image) = image {
            self.by_image.insert(*image, facts.clone());
        }
        Ok(facts)
    }

    fn read(&self, found: &Found) -> Result<Facts> {
        let stored = list::light(found)?;
        facts_of(self.reader, &found.path, &stored)?.ok_or_else(|| {
            let what = format!("nothing is recorded of {}", text::escape(&found.path));
            crate::error::Error::new(crate::error::Kind::Missing, what)
        })
    }
}
