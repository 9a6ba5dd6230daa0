//! A database while something is put into it: one transaction, and the settings it needs.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::super::error::failed;
use crate::error::{Error, Kind, Result};

/// Off while rows go in, each for its reason, and as before afterwards.
const SETTINGS: [DbConfig; 4] = [
    // Nothing cascades; they are checked at the end.
    DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY,
    DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER,
    // Tables behind a virtual one are made before it.
    DbConfig::SQLITE_DBCONFIG_DEFENSIVE,
    DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA,
];

/// An open transaction. Dropped without [`Target::commit`], it never was.
pub(super) struct Target<'c> {
    pub conn: &'c Connection,
    before: Vec<(DbConfig, bool)>,
}

impl<'c> Target<'c> {
    pub fn begin(conn: &'c mut Connection) -> Result<Self> {
        if !conn.is_autocommit() {
            return Err(Error::new(Kind::Usage, "the target is in the middle of a transaction"));
        }
        let mut target = Self { conn, before: Vec::new() };
        target.set().map_err(|e| failed("cannot begin to write the database", &e))?;
        Ok(target)
    }

    fn set(&mut self) -> rusqlite::Result<()> {
        for setting in SETTINGS {
            self.before.push((setting, self.conn.db_config(setting)?));
            self.conn.set_db_config(setting, false)?;
        }
        self.conn.execute_batch("BEGIN IMMEDIATE")
    }

    pub fn commit(self) -> Result<()> {
        self.conn.execute_batch("COMMIT").map_err(|e| failed("cannot commit what was put back", &e))
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        // A failure here was preceded by the one that is told; the journal keeps the database whole in any case.
        if !self.conn.is_autocommit() {
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        for (setting, before) in &self.before {
            let _ = self.conn.set_db_config(*setting, *before);
        }
    }
}
