//! The program from outside: exit codes, messages, and the surroundings that it has to bear.

mod addresses;
mod backup;
mod checks;
mod database_diffs;
mod databases;
mod drills;
mod facts;
mod forget;
mod init;
mod prune;
mod queries;
mod restore;
mod restore_database;
mod secrets;
mod surroundings;

use std::path::{Path, PathBuf};

use crate::support::plant;
use crate::support::program::Machine;

/// A machine with a small source and a snapshot of it.
fn machine_with_snapshot() -> (Machine, PathBuf) {
    let machine = Machine::new();
    let source = machine.place("source");
    plant::forty(&source);
    machine.backup(&source).expect(0);
    (machine, source)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
