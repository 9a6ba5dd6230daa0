//! Where the password or key comes from: the first way found wins, the command line before the environment. The command
//! line names one only.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use zeroize::Zeroizing;

use super::secret_file;
use crate::child::child;
use crate::error::{Error, Kind, Result};
use crate::event::Cancel;
use crate::text;

/// What opens a repository.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A password, never empty.
    Password(Zeroizing<Vec<u8>>),
    /// A key file; see [`super::keyfile`].
    KeyFile(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(_) => f.write_str("Password(…)"),
            Self::KeyFile(path) => write!(f, "KeyFile({})", path.display()),
        }
    }
}

/// The ways that the command line names.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct KeyOptions {
    /// Open the repository with this key file
    ///
    /// `init` makes it when it is absent. [env: LARDER_KEY_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Repository and password")]
    pub key_file: Option<PathBuf>,
    /// Take the password from what this command prints
    ///
    /// Split into words as a shell does, but run without one. [env: LARDER_PASSWORD_COMMAND]
    #[arg(long, global = true, value_name = "COMMAND", help_heading = "Repository and password")]
    pub password_command: Option<OsString>,
    /// Take the password from this file, which only its owner may read
    ///
    /// One line end is left out. [env: LARDER_PASSWORD_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Repository and password")]
    pub password_file: Option<PathBuf>,
    /// Take the password from this open file descriptor
    #[arg(long, global = true, value_name = "N", help_heading = "Repository and password")]
    pub password_fd: Option<u32>,
}

/// Where else a secret may be found; tests bring their own.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// Somebody who can be asked.
    pub person: Option<&'a dyn Person>,
    /// Looked at after each wait.
    pub cancel: &'a Cancel,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

/// Somebody who types.
pub trait Person {
    /// Shows the prompt and reads a line without showing it.
    fn ask(&self, prompt: &str) -> Result<Zeroizing<Vec<u8>>>;
}

/// Whoever sits at the terminal.
#[derive(Debug)]
pub struct AtTerminal;

impl AtTerminal {
    /// Somebody, if the program was started from a terminal.
    pub fn present() -> Option<Self> {
        (io::stdin().is_terminal() || io::stderr().is_terminal()).then_some(Self)
    }
}

impl Person for AtTerminal {
    fn ask(&self, prompt: &str) -> Result<Zeroizing<Vec<u8>>> {
        let line = rpassword::prompt_password(prompt).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => Error::new(Kind::Interrupted, "interrupted"),
            io::ErrorKind::UnexpectedEof => {
                // The cursor still stands behind the prompt.
                let _ = writeln!(io::stderr());
                Error::new(Kind::WrongKey, "no password was typed")
            }
            _ => Error::io("cannot ask for the password", &error).with_kind(Kind::WrongKey),
        })?;
        Ok(Zeroizing::new(line.into_bytes()))
    }
}

/// Finds the secret of a repository that exists.
pub fn find(options: &KeyOptions, around: Surroundings<'_>) -> Result<Secret> {
    match without_asking(options, around)? {
        Some(secret) => Ok(secret),
        None => accept(&person(around)?.ask("password: ")?, "the password"),
    }
}

/// Finds the secret for a repository, or a key slot, that is about to be made: a password is typed twice.
pub fn find_new(options: &KeyOptions, around: Surroundings<'_>) -> Result<Secret> {
    match without_asking(options, around)? {
        Some(secret) => Ok(secret),
        None => ask_twice(around),
    }
}

/// Asks for a new password, twice, whatever the options and the environment say.
pub fn ask_twice(around: Surroundings<'_>) -> Result<Secret> {
    let person = person(around)?;
    let first = accept(&person.ask("new password: ")?, "the password")?;
    let second = person.ask("new password, once more: ")?;
    if first != Secret::Password(second) {
        return Err(Error::new(Kind::WrongKey, "the two passwords differ").fix("type the same password twice"));
    }
    Ok(first)
}

fn person(around: Surroundings<'_>) -> Result<&dyn Person> {
    around.person.ok_or_else(|| {
        Error::new(Kind::WrongKey, "no password or key was given").why("there is no terminal to ask on").fix(
            "give --key-file, --password-command, --password-file or --password-fd, or set LARDER_KEY_FILE, \
             LARDER_PASSWORD_COMMAND, LARDER_PASSWORD_FILE or LARDER_PASSWORD",
        )
    })
}

fn without_asking(options: &KeyOptions, around: Surroundings<'_>) -> Result<Option<Secret>> {
    match from_options(options, around)? {
        Some(secret) => Ok(Some(secret)),
        None => from_environment(around),
    }
}

fn from_options(options: &KeyOptions, around: Surroundings<'_>) -> Result<Option<Secret>> {
    refuse_several(options)?;
    if let Some(path) = &options.key_file {
        return Ok(Some(Secret::KeyFile(path.clone())));
    }
    if let Some(command) = &options.password_command {
        return from_command(command.clone(), around.cancel).map(Some);
    }
    if let Some(path) = &options.password_file {
        return from_file(path).map(Some);
    }
    options.password_fd.map(from_descriptor).transpose()
}

/// Whoever types two of them believes of each that it is used.
fn refuse_several(options: &KeyOptions) -> Result<()> {
    let given = [
        ("--key-file", options.key_file.is_some()),
        ("--password-command", options.password_command.is_some()),
        ("--password-file", options.password_file.is_some()),
        ("--password-fd", options.password_fd.is_some()),
    ];
    let given: Vec<&str> = given.into_iter().filter(|(_, given)| *given).map(|(option, _)| option).collect();
    match given[..] {
        [] | [_] => Ok(()),
        _ => Err(Error::new(Kind::Usage, format!("{} cannot be given together", given.join(" and ")))
            .why("one password or key opens the repository")
            .fix("leave all but one out")),
    }
}

fn from_environment(around: Surroundings<'_>) -> Result<Option<Secret>> {
    let set = |name| (around.variable)(name).filter(|value| !value.is_empty());
    if let Some(path) = set("LARDER_KEY_FILE") {
        return Ok(Some(Secret::KeyFile(path.into())));
    }
    if let Some(command) = set("LARDER_PASSWORD_COMMAND") {
        return from_command(command, around.cancel).map(Some);
    }
    if let Some(path) = set("LARDER_PASSWORD_FILE") {
        return from_file(Path::new(&path)).map(Some);
    }
    if let Some(password) = (around.variable)("LARDER_PASSWORD") {
        return accept(&Zeroizing::new(password.into_vec()), "the password in LARDER_PASSWORD").map(Some);
    }
    let credential = set("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join("larder-password"));
    credential.filter(|path| path.exists()).map(|path| from_credential(&path)).transpose()
}

fn from_file(path: &Path) -> Result<Secret> {
    let what = format!("the password file {}", text::path(path));
    let (bytes, private) = secret_file::read(path, &what)?;
    private.map_err(|e| e.fix("use a file that only you can read (chmod 600 it if it is your password file)"))?;
    accept(&bytes, &what)
}

/// systemd hands credentials to a service through ACLs, whose mask looks like a mode that others may read.
fn from_credential(path: &Path) -> Result<Secret> {
    let what = "the credential larder-password";
    accept(&secret_file::read_trusted(path, what)?, what)
}

fn from_descriptor(number: u32) -> Result<Secret> {
    let what = format!("the password from descriptor {number}");
    let bytes = match number {
        0 => secret_file::read_all(io::stdin().lock(), &what)?,
        _ => secret_file::read_trusted(&PathBuf::from(format!("/dev/fd/{number}")), &what)?,
    };
    accept(&bytes, &what)
}

fn from_command(command: OsString, cancel: &Cancel) -> Result<Secret> {
    let words = split(command)?;
    let (program, arguments) =
        words.split_first().ok_or_else(|| Error::new(Kind::Usage, "the password command is empty"))?;
    let what = format!("the password command {}", text::escape(program.as_bytes()));
    let cannot = |error| Error::io(format!("cannot run {what}"), &error).with_kind(Kind::WrongKey);
    // A source may be standard input: it is not for the command to eat.
    let mut command = child(program);
    let mut running = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(cannot)?;
    let printed = match running.stdout.take() {
        Some(stdout) => secret_file::read_all(stdout, &format!("the output of {what}")),
        None => Ok(Zeroizing::default()),
    };
    let status = running.wait().map_err(cannot)?;
    cancel.check()?;
    // First what was read: a command that prints too much is cut off, and its status tells only that.
    let printed = printed?;
    if !status.success() {
        return Err(Error::new(Kind::WrongKey, format!("{what} failed")).why(ended(status)));
    }
    accept(&printed, &format!("the output of {what}"))
}

fn split(command: OsString) -> Result<Vec<String>> {
    let wrong = || Error::new(Kind::Usage, "the password command cannot be split into words");
    let command = command.into_string().map_err(|_| wrong().why("it is not valid UTF-8"))?;
    shell_words::split(&command).map_err(|error| wrong().why(error).fix("close every quote"))
}

fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("it ended with exit status {code}"),
        None => format!("it was ended by a {status}"),
    }
}

/// A password without its line end; an empty one is refused.
fn accept(bytes: &Zeroizing<Vec<u8>>, what: &str) -> Result<Secret> {
    let password = secret_file::without_line_end(bytes);
    if password.is_empty() {
        return Err(
            Error::new(Kind::WrongKey, format!("{what} is empty")).fix("use a password of one character or more")
        );
    }
    Ok(Secret::Password(Zeroizing::new(password.to_vec())))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    struct Typist(RefCell<Vec<&'static str>>);

    impl Person for Typist {
        fn ask(&self, _: &str) -> Result<Zeroizing<Vec<u8>>> {
            Ok(Zeroizing::new(self.0.borrow_mut().remove(0).into()))
        }
    }

    fn look(
        options: &KeyOptions,
        variables: Variables<'_>,
        typed: Option<&[&'static str]>,
        new: bool,
    ) -> Result<Secret> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        let typist = typed.map(|lines| Typist(RefCell::new(lines.to_vec())));
        let person = typist.as_ref().map(|typist| typist as &dyn Person);
        let around = Surroundings { variable: &variable, person, cancel: &Cancel::new() };
        if new { find_new(options, around) } else { find(options, around) }
    }

    fn with(options: &KeyOptions, variables: Variables<'_>) -> Result<Secret> {
        look(options, variables, None, false)
    }

    fn password(text: &str) -> Secret {
        Secret::Password(Zeroizing::new(text.into()))
    }

    fn private_file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        fs::set_permissions(file.path(), PermissionsExt::from_mode(0o600)).unwrap();
        file
    }

    fn command(line: &str) -> KeyOptions {
        KeyOptions { password_command: Some(line.into()), ..KeyOptions::default() }
    }

    #[test]
    fn the_first_way_found_wins() {
        let (file, other) = (private_file("from file\n"), private_file("from variable's file\n"));
        let credentials = tempfile::tempdir().unwrap();
        fs::write(credentials.path().join("larder-password"), "from systemd").unwrap();
        let all: Vec<(&str, &str)> = vec![
            ("LARDER_KEY_FILE", "/k2"),
            ("LARDER_PASSWORD_COMMAND", "echo from variable"),
            ("LARDER_PASSWORD_FILE", other.path().to_str().unwrap()),
            ("LARDER_PASSWORD", "plain"),
            ("CREDENTIALS_DIRECTORY", credentials.path().to_str().unwrap()),
        ];
        let mut options = KeyOptions { key_file: Some("/k1".into()), ..KeyOptions::default() };
        assert_eq!(with(&options, &all).unwrap(), Secret::KeyFile("/k1".into()));
        assert_eq!(with(&command("echo 'from command'"), &all).unwrap(), password("from command"));
        options.password_file = Some(file.path().into());
        let error = with(&options, &all).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.what(), "--key-file and --password-file cannot be given together");
        options.key_file = None;
        assert_eq!(with(&options, &all).unwrap(), password("from file"));
        options.password_file = None;
        let expected = [
            Secret::KeyFile("/k2".into()),
            password("from variable"),
            password("from variable's file"),
            password("plain"),
            password("from systemd"),
        ];
        for (skip, expected) in expected.iter().enumerate() {
            assert_eq!(with(&options, &all[skip..]).unwrap(), *expected);
        }
    }

    #[test]
    fn without_a_way_or_a_terminal_the_ways_are_listed() {
        let error = with(&KeyOptions::default(), &[]).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::WrongKey, "no password or key was given"));
        assert!(error.advice().contains("--password-file") && error.advice().contains("LARDER_PASSWORD"));
    }

    #[test]
    fn a_person_is_asked_last_and_twice_for_a_new_password() {
        let none = KeyOptions::default();
        assert_eq!(look(&none, &[("LARDER_PASSWORD", "x")], Some(&[]), true).unwrap(), password("x"));
        assert_eq!(look(&none, &[], Some(&["typed"]), false).unwrap(), password("typed"));
        assert_eq!(look(&none, &[], Some(&["new", "new"]), true).unwrap(), password("new"));
        assert_eq!(look(&none, &[], Some(&["new", "nwe"]), true).unwrap_err().what(), "the two passwords differ");
        assert_eq!(look(&none, &[], Some(&[""]), true).unwrap_err().what(), "the password is empty");
    }

    #[test]
    fn an_empty_password_is_refused_everywhere() {
        let empty = private_file("\n");
        let of_file = KeyOptions { password_file: Some(empty.path().into()), ..KeyOptions::default() };
        for error in
            [with(&of_file, &[]), with(&command("true"), &[]), with(&KeyOptions::default(), &[("LARDER_PASSWORD", "")])]
        {
            let error = error.unwrap_err();
            assert!(error.kind() == Kind::WrongKey && error.what().ends_with(" is empty"), "{error}");
        }
    }

    #[test]
    fn a_command_runs_without_a_shell() {
        assert_eq!(with(&command("printf '%s\\n' '$HOME; `id`'"), &[]).unwrap(), password("$HOME; `id`"));
        assert_eq!(with(&command("echo 'open"), &[]).unwrap_err().kind(), Kind::Usage);
        assert_eq!(with(&command(" "), &[]).unwrap_err().kind(), Kind::Usage);
        let missing = with(&command("/no/such/program"), &[]).unwrap_err();
        assert_eq!(
            (missing.kind(), missing.what()),
            (Kind::WrongKey, "cannot run the password command /no/such/program")
        );
    }

    #[test]
    fn a_failing_command_tells_its_status_and_never_its_output() {
        let error = with(&command("sh -c 'echo hunter2; exit 7'"), &[]).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::WrongKey, "the password command sh failed"));
        assert_eq!(error.reason(), "it ended with exit status 7");
        let killed = with(&command("sh -c 'kill -9 $$'"), &[]).unwrap_err();
        assert!(killed.reason().starts_with("it was ended by a signal: 9"), "{}", killed.reason());
    }

    #[test]
    fn a_command_that_never_stops_printing_is_cut_off() {
        assert!(with(&command("yes"), &[]).unwrap_err().what().ends_with("is too long"));
    }

    #[test]
    fn ctrl_c_during_the_command_is_an_interruption() {
        let cancel = Cancel::new();
        cancel.cancel();
        let around = Surroundings { variable: &|_| None, person: None, cancel: &cancel };
        assert_eq!(find(&command("false"), around).unwrap_err().kind(), Kind::Interrupted);
    }

    #[test]
    fn a_descriptor_is_read() {
        use std::os::fd::AsRawFd;
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"through a pipe\n").unwrap();
        drop(writer);
        let options = KeyOptions { password_fd: Some(reader.as_raw_fd() as u32), ..KeyOptions::default() };
        assert_eq!(with(&options, &[]).unwrap(), password("through a pipe"));
        let options = KeyOptions { password_fd: Some(9_999), ..KeyOptions::default() };
        assert_eq!(with(&options, &[]).unwrap_err().kind(), Kind::WrongKey);
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", password("hunter2")).contains("hunter2"));
    }
}
