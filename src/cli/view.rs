//! What every command does that looks into one snapshot.

use super::address::Address;
use super::context::Context;
use super::engine;
use super::exit::Exit;
use super::find::{self, Meant};
use super::gaps::Gaps;
use crate::error::Result;
use crate::ops::damage;
use crate::ops::database::Database;
use crate::repo::{Catalogue, ChunkReader};

/// A snapshot that is open for reading.
pub struct View<'a, 'c> {
    /// What of it is meant.
    pub meant: &'a Meant,
    /// Reads its chunks.
    pub reader: &'a ChunkReader<'a>,
    /// Takes what cannot be read.
    pub gaps: &'a Gaps<'c>,
}

/// Opens what an address means. `see` says how much of it could not be read.
pub fn view<'c>(
    address: &Address,
    context: &'c Context<'c>,
    see: impl FnOnce(&View<'_, 'c>) -> Result<u64>,
) -> Result<Exit> {
    let repository = engine::open(context)?;
    let meant = find::meant(&repository, address, context)?;
    find::tell_partly(&meant, context)?;
    let gaps = Gaps::new(context);
    let catalogue = Catalogue::open(&repository, gaps.job())?;
    let reader = ChunkReader::new(&repository, &catalogue);
    let lost = see(&View { meant: &meant, reader: &reader, gaps: &gaps });
    damage::record_met(&repository, gaps.job());
    let lost = lost?;
    Ok(gaps.finish(lost)?.but(meant.exit))
}

impl<'a> View<'a, '_> {
    /// The one database that is meant, and the number of its source.
    pub fn database(&self) -> Result<(Database<'a>, usize)> {
        let (source, path) = self.meant.one()?;
        let database = Database::find(self.reader, &self.meant.snapshot.body.sources[source], &path)?;
        self.gaps.doubt(&database);
        Ok((database, source))
    }
}
