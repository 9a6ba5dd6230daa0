//! A password shows nowhere.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use super::text;
use crate::support::program::{Machine, run};
use crate::support::{files_below, plant};

const CANARY: &str = "canary-4f1c-do-not-sing";

#[track_caller]
fn assert_silent(bytes: &[u8], about: &str) {
    let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
    assert!(!found, "the password shows in {about}");
}

/// Looks at everything that a run leaves, and at the command lines and environments that others see meanwhile.
fn watched(mut command: Command, machine: &Machine, may_know: bool) -> i32 {
    let mut child = command.spawn().unwrap();
    let own = child.id();
    while child.try_wait().unwrap().is_none() {
        for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let folder = process.path();
            let Some(id) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let of = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
            let status = String::from_utf8_lossy(&of("status")).into_owned();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
            let is_child = parent.is_some_and(|parent| parent.trim() == own.to_string());
            if id == own || is_child {
                assert_silent(&of("cmdline"), "a command line");
            }
            if is_child || (id == own && !may_know) {
                assert_silent(&of("environ"), "an environment");
            }
        }
    }
    let output = child.wait_with_output().unwrap();
    assert_silent(&output.stdout, "the output");
    assert_silent(&output.stderr, "the messages");
    for folder in [&machine.repository, &machine.home] {
        for file in files_below(folder) {
            assert_silent(&fs::read(&file).unwrap(), &file.display().to_string());
        }
    }
    output.status.code().unwrap()
}

fn secret_file(place: &Path, content: &str) {
    use std::io::Write;
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(place).unwrap();
    file.write_all(content.as_bytes()).unwrap();
}

#[test]
fn a_password_shows_in_no_command_line_cache_repository_or_message() {
    let machine = Machine::bare();
    let source = machine.place("source");
    plant::forty(&source);
    let file = machine.place("password");
    secret_file(&file, &format!("{CANARY}\r\n"));
    let seen_by_child = machine.place("environment");
    let script = machine.place("give.sh");
    fs::write(&script, format!("env > '{}'\nexec cat '{}'\n", text(&seen_by_child), text(&file))).unwrap();
    let by_command = format!("sh '{}'", text(&script));
    let ways: [(&str, &str); 4] = [
        ("LARDER_PASSWORD", CANARY),
        ("LARDER_PASSWORD_FILE", text(&file)),
        ("LARDER_PASSWORD_COMMAND", &by_command),
        ("--password-file", text(&file)),
    ];
    let to = machine.place("to");
    for args in [vec!["init"], vec!["backup", text(&source)], vec!["restore", "latest", "--to", text(&to)]] {
        for (way, value) in ways {
            if args[0] == "init" && way != ways[0].0 {
                continue;
            }
            let _ = fs::remove_dir_all(&to);
            let mut command = machine.command(&args);
            command.env_remove("LARDER_KEY_FILE").env("RUST_BACKTRACE", "full");
            if way.starts_with("--") {
                command.args([way, value])
            } else {
                command.env(way, value)
            };
            assert_eq!(watched(command, &machine, way == "LARDER_PASSWORD"), 0, "{args:?} by {way}");
        }
    }
    assert!(fs::read(&seen_by_child).is_ok_and(|bytes| !bytes.is_empty()), "the command ran");
    // The command wins over the environment, and its environment knows nothing.
    let mut command = machine.command(["restore", "latest", "--password-command", &by_command]);
    command.env_remove("LARDER_KEY_FILE").env("LARDER_PASSWORD", CANARY);
    run(command).expect(0);
    assert_silent(&fs::read(&seen_by_child).unwrap(), "the environment of the command");
    let mut command = machine.command(["restore", "latest"]);
    command.env_remove("LARDER_KEY_FILE").env("LARDER_PASSWORD", format!("{CANARY}x"));
    assert_eq!(watched(command, &machine, true), 12);
}

#[test]
fn names_and_contents_show_neither_in_the_repository_nor_in_the_cache() {
    let machine = Machine::new();
    let source = machine.place("source");
    let secret = CANARY.as_bytes();
    plant::plant(&source, &[(secret, plant::Item::File(secret.repeat(50))), (b"link", plant::Item::Symlink(secret))]);
    plant::set_xattr(&source.join("link"), "trusted.x", secret);
    machine.run(["backup", text(&source), "--tag", CANARY, "--note", CANARY]).expect(0);
    std::thread::sleep(std::time::Duration::from_millis(3100));
    machine.run(["backup", text(&source), "--tag", CANARY, "--note", CANARY]).expect(0);
    for folder in [&machine.repository, &machine.home] {
        let files = files_below(folder);
        assert!(!files.is_empty(), "nothing in {}", folder.display());
        for file in files {
            assert_silent(&fs::read(&file).unwrap(), &file.display().to_string());
            assert_silent(text(&file).as_bytes(), "a name");
        }
    }
}
