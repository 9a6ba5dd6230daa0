//! Other programs are started here, so that none of them is handed a secret that was meant for us.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

/// A command whose environment names no password and no key; every spawn of the crate begins here.
pub fn child(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| is_secret(name)) {
        command.env_remove(name);
    }
    command
}

/// Whether a variable holds, or leads to, a secret of ours.
fn is_secret(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"LARDER_PASSWORD") || name == "LARDER_KEY_FILE"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_name() {
        let secret = |name: &str| is_secret(OsStr::new(name));
        assert!(secret("LARDER_PASSWORD") && secret("LARDER_PASSWORD_FILE") && secret("LARDER_PASSWORD_COMMAND"));
        assert!(secret("LARDER_KEY_FILE"));
        assert!(!secret("LARDER_REPO") && !secret("PATH") && !secret("MY_LARDER_PASSWORD"));
    }

    // Setting a variable of this process is unsafe, so the test starts itself anew with one set.
    #[test]
    fn a_child_sees_no_password() {
        let me = env::current_exe().unwrap();
        if env::var_os("LARDER_REPO").is_none_or(|repo| repo != "/the/second/start") {
            let mut again = Command::new(me);
            again.args(["child::tests::a_child_sees_no_password", "--exact"]);
            again.env("LARDER_PASSWORD", "secret").env("LARDER_KEY_FILE", "/k").env("LARDER_REPO", "/the/second/start");
            assert!(again.output().unwrap().status.success());
            return;
        }
        let seen = child("env").output().unwrap().stdout;
        let seen = String::from_utf8_lossy(&seen);
        assert!(!seen.contains("LARDER_PASSWORD") && !seen.contains("LARDER_KEY_FILE"), "{seen}");
        assert!(seen.contains("LARDER_REPO=/the/second/start"), "{seen}");
    }
}
