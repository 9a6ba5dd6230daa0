//! The program itself, run in surroundings of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest that a command of these tests may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The number of a user without rights.
pub const NOBODY: u32 = 65534;

/// The built program.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_larder"))
}

/// A machine: a home with caches, a repository, a key.
pub struct Machine {
    base: TempDir,
    pub home: PathBuf,
    pub cache: PathBuf,
    pub repository: PathBuf,
    pub key: PathBuf,
}

impl Machine {
    /// Without a repository.
    pub fn bare() -> Self {
        Self::in_folder(super::scratch())
    }

    fn in_folder(base: TempDir) -> Self {
        let place = |name: &str| base.path().join(name);
        let (home, cache, repository, key) = (place("home"), place("home/.cache"), place("repository"), place("key"));
        std::fs::create_dir_all(&cache).unwrap();
        Self { base, home, cache, repository, key }
    }

    /// With a repository that a key file opens.
    pub fn new() -> Self {
        let machine = Self::bare();
        machine.run(["init"]).expect(0);
        machine
    }

    /// The same, on the file system of the usual temporary folder.
    pub fn on_disk() -> Self {
        let machine = Self::in_folder(super::scratch_on_disk());
        machine.run(["init"]).expect(0);
        machine
    }

    /// Another machine, with a home of its own, that uses the same repository and key.
    pub fn second(&self) -> Self {
        let mut other = Self::bare();
        other.repository.clone_from(&self.repository);
        other.key.clone_from(&self.key);
        other
    }

    /// A place in the machine's folder.
    pub fn place(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// A command in a clean environment.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(binary());
        command.args(args);
        self.surround(&mut command);
        command
    }

    /// Gives a command the machine's environment and nothing else.
    pub fn surround(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("XDG_CACHE_HOME", &self.cache)
            .env("LARDER_REPO", &self.repository)
            .env("LARDER_KEY_FILE", &self.key)
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        run(self.command(args))
    }

    /// Gives everything in the machine's folder to the user nobody.
    pub fn give_to_nobody(&self) {
        super::needs_root("it runs the program as another user");
        super::plant::set_mode(self.base.path(), 0o755);
        for entry in walkdir::WalkDir::new(self.base.path()) {
            super::plant::set_owner(entry.unwrap().path(), NOBODY, NOBODY);
        }
    }

    /// The same as `run`, by the user nobody.
    pub fn run_as_nobody<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        super::needs_root("it runs the program as another user");
        super::needs_program("setpriv", "util-linux");
        // The built program may lie where only we can go.
        let copy = self.place("larder");
        if !copy.exists() {
            std::fs::copy(binary(), &copy).unwrap();
        }
        let user = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()];
        let mut command = Command::new("setpriv");
        command.args(user).arg(copy).args(args);
        self.surround(&mut command);
        run(command)
    }

    /// Runs a shell script that finds the program as `larder`, with mounts of its own that vanish at its end.
    pub fn run_with_mounts(&self, script: &str) -> Run {
        super::needs_program("unshare", "util-linux");
        let may = Command::new("unshare").args(["-rm", "true"]).status();
        assert!(may.is_ok_and(|s| s.success()), "this test needs `unshare -rm`, which this system does not allow");
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-euc"]).arg(format!("larder() {{ '{}' \"$@\"; }}\n{script}", binary().display()));
        self.surround(&mut command);
        command.env("BASE", self.base.path());
        run(command)
    }

    /// `larder backup SOURCE`
    pub fn backup(&self, source: &Path) -> Run {
        self.run([OsStr::new("backup"), source.as_os_str()])
    }

    /// `larder restore ADDRESS --to TO`
    pub fn restore(&self, address: &str, to: &Path) -> Run {
        self.run([OsStr::new("restore"), OsStr::new(address), OsStr::new("--to"), to.as_os_str()])
    }
}

/// How a run ended and what it said.
#[derive(Debug)]
pub struct Run {
    pub command: Vec<OsString>,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    fn of(command: Vec<OsString>, output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(!stderr.contains("panicked at"), "{command:?} panicked:\n{stderr}");
        Self { command, code: output.status.code(), stdout, stderr }
    }

    /// Fails unless it ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        let Self { command, stdout, stderr, .. } = &self;
        assert_eq!(self.code, Some(code), "exit code of {command:?}\nstdout: {stdout}\nstderr: {stderr}");
        self
    }

    /// Fails unless standard error has this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in the messages of {:?}:\n{}", self.command, self.stderr);
        self
    }

    /// Fails unless standard output has this text.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "{text:?} is not in the output of {:?}:\n{}", self.command, self.stdout);
        self
    }

    /// The snapshot that a backup with `--json` made.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let last = self.stdout.lines().last().unwrap_or_else(|| panic!("no output of {:?}", self.command));
        serde_json::from_str(last).unwrap_or_else(|e| panic!("{e} in {last}"))
    }
}

/// Runs a command to its end; one that hangs is a failure.
pub fn run(mut command: Command) -> Run {
    let words: Vec<OsString> = command.get_args().map(OsStr::to_owned).collect();
    let child = command.spawn().unwrap_or_else(|e| panic!("cannot run {words:?}: {e}"));
    wait(words, child)
}

/// Waits for a command that was started.
pub fn wait(words: Vec<OsString>, child: Child) -> Run {
    let id = child.id();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            signal(id, rustix::process::Signal::KILL);
            return true;
        }
        false
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    let hung = watch.join().unwrap();
    assert!(!hung, "{words:?} did not end within {PATIENCE:?}");
    Run::of(words, output)
}

/// Sends a signal.
pub fn signal(process: u32, signal: rustix::process::Signal) {
    let process = rustix::process::Pid::from_raw(process as i32).unwrap();
    let _ = rustix::process::kill_process(process, signal);
}

/// Waits until something is true, for a while.
#[track_caller]
pub fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
