//! A live SQLite database, written into, or set aside for another one.
//!
//! Invariants:
//! - Rows go in through the engine, with all of its locks, in one transaction.
//! - A whole database is put in place of another one only while nobody uses that, as far as one can know: nobody has a
//!   lock on it, and no process that can be seen has it open. See [`Quiet`].
//! - What was there is never deleted. It is set aside, with the log or journal that belongs to it, under one new name.
//! - No log or journal is ever beside a database that it does not belong to: the engine would play it into that one.
//!   See [`SetAside`], whose steps keep this wherever a crash stops them.
//! - **While a [`Quiet`] lives, nobody in this process opens or closes the same file**: that would drop its lock.

mod aside;
mod open;
mod quiet;

pub use aside::{SetAside, Step};
pub use open::{draft, open};
pub use quiet::{Quiet, User};

use std::path::{Path, PathBuf};

/// The log, the journal: what belongs to a database's state, under its name and these endings.
pub const STATE_FILES: [&str; 2] = ["-wal", "-journal"];
/// The log's index, which says nothing that the log does not.
const INDEX_FILE: &str = "-shm";

/// A log or journal with something in it, where there is no database that it could belong to: whatever is made there would
/// get it.
pub fn stray(database: &Path) -> Option<PathBuf> {
    let has_content = |path: &PathBuf| path.symlink_metadata().is_ok_and(|meta| meta.len() > 0);
    STATE_FILES.map(|ending| beside(database, ending)).into_iter().find(has_content)
}

/// The file beside a database whose name ends so.
fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
