//! Joins the line and the storage: a repository, its keys, its catalogue, and the ways in and out of it.
//!
//! Publication follows the data arrow: packs, index, snapshot, session end; each only after everything that it names
//! is durable. What is read is compared with its name before anything else is done with it.

mod cache;
mod catalogue;
mod claims;
mod delta;
mod encode;
mod file;
mod known;
mod layout;
mod lineage;
mod list_cache;
mod mend;
mod met;
mod moved;
mod open;
mod packs;
mod parts;
mod reader;
mod room;
mod segment;
mod session;
mod slices;
mod snapshots;
mod stat_cache;
mod trash;
mod twice;
mod writer;

pub use cache::CacheTrouble;
pub use catalogue::{Catalogue, PackInfo, Place, Unreadable, without_damage_record};
pub use delta::{Again, Base, CLOSURE_BYTES_MAX, CLOSURE_CHUNKS_MAX, Plain, Step};
pub use file::FileReader;
pub use known::{Cursor, Fingerprint, Known, KnownLeaf, NotedPiece};
pub use layout::Folder;
pub use mend::{Mended, ObjectAt};
pub use open::{KeySource, Repository, no_repository};
pub use packs::{pack_session, read_head, read_table, read_through};
pub use reader::{ChunkReader, EntryReader};
pub use session::{OpenSession, Session};
pub use snapshots::{Listing, Proof, SnapshotInfo};
pub use stat_cache::{Memory, StatCache, StatCacheWriter};
pub use writer::{ChunkWriter, FrameWriter, Written};

use crate::error::{Error, Kind};
use crate::seal::OpenError;
use crate::wire::Malformed;

const REPAIR: &str =
    "run `larder check --data all` to see what is affected; a second copy of the repository can give the object back";
const UPGRADE: &str = "use a newer larder";

/// The error for stored bytes that break their format.
pub(crate) fn malformed(place: &str, error: &Malformed) -> Error {
    match error {
        Malformed::Newer { .. } => Error::new(Kind::Newer, format!("cannot read {place}")).why(error).fix(UPGRADE),
        Malformed::Bad { .. } => Error::new(Kind::Damage, format!("{place} is damaged")).why(error).fix(REPAIR),
    }
}

/// The error for a sealed section that does not open.
pub(crate) fn unopened(place: &str, error: &OpenError) -> Error {
    match error {
        OpenError::Malformed(e) => malformed(place, e),
        OpenError::NoKey(why) => Error::new(Kind::WrongKey, format!("cannot open {place}"))
            .why(why)
            .fix("use a key that was added after the last rotation"),
        OpenError::NotAuthentic(_) => Error::new(Kind::Damage, format!("{place} is damaged")).why(error).fix(REPAIR),
    }
}
