//! What the first users asked for, as they would do it.

mod agentcard;
mod tokenpulse;
mod vertex;
mod vibesurf;

use std::path::Path;

use rusqlite::Connection;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn number(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn string(db: &Connection, sql: &str) -> String {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}
