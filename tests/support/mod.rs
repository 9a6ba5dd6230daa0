//! What the tests share: trees made and compared, repositories in memory, the program run in surroundings of its own.

pub mod engine;
pub mod past;
pub mod plant;
pub mod program;
pub mod tree;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder for one test. In memory where there is such a place, because most tests flush a lot.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if rustix::fs::access(memory, rustix::fs::Access::WRITE_OK).is_ok() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    scratch_in(&place)
}

/// A folder for one test on the file system of the usual temporary folder.
pub fn scratch_on_disk() -> TempDir {
    scratch_in(&std::env::temp_dir())
}

fn scratch_in(place: &Path) -> TempDir {
    tempfile::Builder::new().prefix("larder-test-").tempdir_in(place).unwrap()
}

/// The number in an environment variable, or else the usual one.
pub fn number(name: &str, usual: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => usual,
    }
}

/// Fails unless the test runs as root, whose rights it needs for the reason given.
pub fn needs_root(why: &str) {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test must run as root ({why}); `unshare -r cargo test` may do where namespaces are allowed"
    );
}

/// Fails unless this program can be found.
pub fn needs_program(name: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    assert!(there, "this test needs the program {name} (Debian package {package})");
}

/// All files below a folder, sorted; none if there is no such folder.
pub fn files_below(root: &Path) -> Vec<PathBuf> {
    if !root.exists() {
        return Vec::new();
    }
    let files = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().map(Result::unwrap);
    files.filter(|file| file.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

/// Numbers that a seed decides (SplitMix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }
}
