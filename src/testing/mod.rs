//! What the tests of several rooms need, and tests that need several rooms.

mod round_trip;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Set in the process in which a test runs again.
const AGAIN: &str = "LARDER_TEST_RUNS_AGAIN";

/// True in a process without special rights. Root's own process starts this test again as such a process, fails if
/// that fails, and has nothing more to do.
pub(crate) fn as_nobody(module: &str, test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    run_again(module, test, &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    false
}

/// True in a process that can mount what it likes without anybody else seeing it; otherwise as [`as_nobody`].
pub(crate) fn with_own_mounts(module: &str, test: &str) -> bool {
    if std::env::var_os(AGAIN).is_some() {
        return true;
    }
    let how: &[&str] = if rustix::process::geteuid().is_root() { &["unshare", "-m"] } else { &["unshare", "-rm"] };
    run_again(module, test, how);
    false
}

/// True in a process that can hold only a hundred files and directories open; otherwise as [`as_nobody`].
pub(crate) fn with_few_handles(module: &str, test: &str) -> bool {
    if std::env::var_os(AGAIN).is_some() {
        return true;
    }
    run_again(module, test, &["prlimit", "--nofile=100"]);
    false
}

/// An empty file system mounted somewhere, until it is dropped.
pub(crate) struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    pub(crate) fn tmpfs(at: &'a Path, options: &str) -> Self {
        assert!(
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).status().unwrap().success()
        );
        Self(at)
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// Removes a tree that is too deep for those who hold a handle on every level.
pub(crate) fn remove_deep(folder: tempfile::TempDir) {
    assert!(Command::new("rm").arg("-rf").arg(folder.path()).status().unwrap().success());
}

/// A folder that anybody may enter.
pub(crate) fn open_tempdir() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

fn run_again(module: &str, test: &str, how: &[&str]) {
    let folder = open_tempdir();
    // The build folder may lie where only we can go.
    let program = folder.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let name = format!("{}::{test}", module.split_once("::").unwrap().1);
    let output = Command::new(how[0])
        .args(&how[1..])
        .arg(&program)
        .args([&name, "--exact", "--nocapture"])
        .env(AGAIN, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{name}: {told}{errors}");
}
