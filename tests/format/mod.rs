//! The format, pinned: what docs/format.md says is what is written and read, today and later.
//!
//! `LARDER_RENEW=1 cargo test --test main format` writes the golden files anew. Until 0.1.0 that takes a decision note;
//! from then on nothing that is there may change, and new files stand beside the old.

mod document;
mod objects;
mod repository;
mod world;

use std::path::PathBuf;

/// Whether golden files are to be written, and not compared.
fn renewing() -> bool {
    std::env::var_os("LARDER_RENEW").is_some_and(|value| value == "1")
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(name)
}
