//! Everything that is tested from outside the crate, in one program.
//!
//! | module | what it asks |
//! |---|---|
//! | `files` | is everything about a file kept, and what happens to strange ones |
//! | `model` | random trees and edits against plain copies |
//! | `protocol` | every history of backups, prunes and checks at once, in a model |
//! | `crash` | a fault at every call, power cuts, kills, signals |
//! | `prune` | prunes that fail, die, or meet backups at every step |
//! | `damage` | bits, bytes and objects that are wrong, missing or somebody else's |
//! | `cli` | exit codes, messages and surroundings of the program itself |
//! | `format` | golden bytes, a golden repository, and what docs/format.md says of them |
//! | `architecture` | who may import whom, and who may do what |
//! | `users` | what the first users asked for, as they would do it |
//! | `readme` | do the README's commands work |
//!
//! Variables: `LARDER_CASES` (cases of the model, 64), `LARDER_KILLS` (kills, 20), `LARDER_FULL=1` (damage at every byte, all of the protocol's model).
//! Nothing is skipped: a test whose surroundings do not allow it fails and says what it needs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture;
mod cli;
mod crash;
mod damage;
mod files;
mod format;
mod model;
mod protocol;
mod prune;
mod readme;
mod support;
mod users;

use std::path::Path;

/// A file that no module names is compiled by nobody and tests nothing.
#[test]
fn no_file_of_tests_is_forgotten() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut forgotten = Vec::new();
    let mut seen = 0;
    for file in walkdir::WalkDir::new(&root).into_iter().map(Result::unwrap) {
        let path = file.path();
        if path.extension().is_none_or(|ext| ext != "rs") || path == root.join("main.rs") {
            continue;
        }
        seen += 1;
        let of_folder = path.file_name().unwrap() == "mod.rs";
        let named = if of_folder { path.parent().unwrap() } else { path };
        let folder = named.parent().unwrap();
        let parent = if folder == root { root.join("main.rs") } else { folder.join("mod.rs") };
        let name = named.file_stem().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&parent).unwrap_or_default();
        if !text.lines().any(|line| line.trim_start_matches("pub ").starts_with(&format!("mod {name};"))) {
            forgotten.push(path.strip_prefix(&root).unwrap().display().to_string());
        }
    }
    assert!(seen > 5, "only {seen} files found below {}", root.display());
    assert!(forgotten.is_empty(), "these files are part of no module: {forgotten:?}");
}
