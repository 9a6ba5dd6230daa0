//! Making a repository, and not finding one.

use std::fs;

use super::text;
use crate::support::plant::{self, set_mode};
use crate::support::program::{Machine, run};

#[test]
fn where_there_is_no_repository_every_command_exits_with_10() {
    let machine = Machine::bare();
    fs::write(&machine.key, format!("LARDER-KEY-1-{}\n", "0".repeat(64))).unwrap();
    set_mode(&machine.key, 0o600);
    let source = machine.place("source");
    fs::create_dir(&source).unwrap();
    for _ in 0..2 {
        for args in [["backup", text(&source)], ["restore", "latest"]] {
            let run = machine.run(args).expect(10).says("error: no repository at ");
            let run = run.says("fix: mount the disk or server that it is on").says("larder init");
            assert_eq!(run.stdout, "");
        }
        // The second time round there is an empty folder.
        let _ = fs::create_dir(&machine.repository);
    }
    let json = machine.run(["backup", "--json", text(&source)]).expect(10).json();
    assert_eq!((&json["type"], &json["code"]), (&"error".into(), &"no-repository".into()));
    assert_eq!(json["exit_code"], 10);
}

#[test]
fn init_makes_a_repository_and_a_key_that_only_the_owner_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::bare();
    machine.run(["init"]).expect(0).prints("made repository");
    for (place, mode) in [(&machine.key, 0o600), (&machine.repository, 0o700)] {
        assert_eq!(fs::metadata(place).unwrap().permissions().mode() & 0o7777, mode, "{}", place.display());
    }
    for file in crate::support::files_below(&machine.repository) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600, "{}", file.display());
    }
}

#[test]
fn init_that_fails_leaves_neither_a_folder_nor_a_key() {
    let machine = Machine::bare();
    let key = machine.place("no such folder/key");
    machine.run(["init", "--key-file", text(&key)]).expect(1).says("cannot make the key file");
    assert!(!machine.repository.exists());
    fs::write(machine.place("file"), "x").unwrap();
    let place = machine.place("file/repository");
    machine.run(["init", "--repo", text(&place)]).expect(1);
    assert!(!machine.key.exists());
    let run = machine.run(["init", "-q"]).expect(0).prints("Keep a copy of");
    assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
}

#[test]
fn init_refuses_a_folder_that_is_not_empty_and_changes_nothing_in_it() {
    let machine = Machine::bare();
    plant::plant(&machine.repository, &[(b"letters/one", plant::Item::File(b"dear".to_vec()))]);
    let before = crate::support::tree::look(&machine.repository);
    machine.run(["init"]).expect(1).says("the folder is not empty");
    crate::support::tree::assert_same(&before, &crate::support::tree::look(&machine.repository), "after init");
    // Links cannot be listed, and files of such names are no objects.
    for name in ["link", ".hidden", "My File"] {
        let place = machine.place(name);
        fs::create_dir(&place).unwrap();
        std::os::unix::fs::symlink("/nowhere", place.join(name)).unwrap();
        machine.run(["init", "--repo", text(&place)]).expect(1).says("the folder is not empty");
        assert!(place.join(name).is_symlink());
    }
}

#[test]
fn an_init_without_a_secret_makes_nothing() {
    let machine = Machine::bare();
    let mut command = machine.command(["init"]);
    command.env_remove("LARDER_KEY_FILE");
    run(command).expect(12).says("there is no terminal to ask on");
    fs::write(&machine.key, "no key\n").unwrap();
    set_mode(&machine.key, 0o600);
    machine.run(["init"]).expect(12).says("holds no key");
    assert!(!machine.repository.exists());
}

#[test]
fn a_second_init_is_refused_and_the_repository_stays_usable() {
    let machine = Machine::new();
    machine.run(["init"]).expect(1).says("there is a repository at").says("already");
    let source = machine.place("source");
    plant::forty(&source);
    machine.backup(&source).expect(0);
    machine.run(["init"]).expect(1).says("already");
    machine.run(["restore", "latest"]).expect(0);
}

/// What an init that died before its last step leaves behind: key slots, and no configuration.
#[test]
fn an_interrupted_init_can_be_run_again() {
    let machine = Machine::new();
    fs::remove_dir_all(machine.repository.join("config")).unwrap();
    machine.run(["restore", "latest"]).expect(10);
    machine.run(["init"]).expect(0);
    machine.run(["restore", "latest"]).expect(1).says("there is no snapshot");
    assert_eq!(crate::support::files_below(&machine.repository.join("keys")).len(), 2);
}

#[test]
fn without_a_terminal_nobody_is_asked_for_a_password() {
    let machine = Machine::bare();
    let mut command = machine.command(["init"]);
    command.env_remove("LARDER_KEY_FILE");
    run(command).expect(12).says("no password or key was given").says("there is no terminal to ask on");
    let made = Machine::new();
    let mut command = made.command(["restore", "latest"]);
    command.env_remove("LARDER_KEY_FILE");
    run(command).expect(12).says("there is no terminal to ask on");
}

#[test]
fn without_a_repository_named_the_program_says_how_to_name_one() {
    let machine = Machine::bare();
    let mut command = machine.command(["restore", "latest"]);
    command.env_remove("LARDER_REPO");
    run(command).expect(2).says("no repository is named").says("LARDER_REPO");
}

#[test]
fn a_wrong_key_or_password_exits_with_12() {
    let machine = Machine::new();
    let other = Machine::new();
    let mut command = machine.command(["restore", "latest"]);
    command.env("LARDER_KEY_FILE", &other.key);
    run(command).expect(12).says("wrong key file").says("it opens none of the 1 key slots");
    let mut command = machine.command(["restore", "latest"]);
    command.env("LARDER_KEY_FILE", machine.place("nowhere"));
    run(command).expect(12).says("cannot read the key file").says("fix: name the place");
    // The system's own files are not for us to close.
    for (option, file) in [("--key-file", "/etc/passwd"), ("--password-file", "/etc/passwd")] {
        let run = machine.run(["restore", "latest", option, file]).expect(12);
        assert!(!run.stderr.contains("chmod 600 /etc"), "{run:?}");
    }
    set_mode(&machine.key, 0o644);
    machine.run(["restore", "latest"]).expect(12).says("can be read by others").says("chmod 600");

    let machine = Machine::bare();
    let with = |password: &str, args: &[&str]| {
        let mut command = machine.command(args);
        command.env_remove("LARDER_KEY_FILE").env("LARDER_PASSWORD", password);
        run(command)
    };
    with("right", &["init"]).expect(0);
    with("wrong", &["restore", "latest"]).expect(12).says("wrong password");
    with("right", &["restore", "latest"]).expect(1).says("there is no snapshot");
    with("", &["restore", "latest"]).expect(12);
}

/// Everything else is there, and a new repository in its place would hide that.
#[test]
fn a_repository_without_its_configuration_or_its_keys_is_damaged() {
    let (machine, source) = super::machine_with_snapshot();
    let missing = |folder: &str| {
        let (there, away) = (machine.repository.join(folder), machine.place("away"));
        fs::rename(&there, &away).unwrap();
        let run = machine.run(["restore", "latest"]).expect(4).says("error: the repository at ").says("is damaged");
        let run = run.says(&format!("fix: put {folder}/ back from a copy of the repository"));
        machine.backup(&source).expect(4);
        fs::rename(&away, &there).unwrap();
        run
    };
    missing("config").says("it has snapshots/, but no configuration");
    missing("keys").says("no key slot is left");
    machine.run(["restore", "latest"]).expect(0);
}

#[test]
fn what_opens_a_repository_is_put_back_where_both_copies_are_damaged() {
    for folder in ["config", "keys"] {
        let machine = Machine::new();
        let files = crate::support::files_below(&machine.repository.join(folder));
        assert_eq!(files.len(), 2);
        for file in &files {
            let mut bytes = fs::read(file).unwrap();
            bytes[100] ^= 1;
            fs::write(file, bytes).unwrap();
        }
        let name = files[0].file_name().unwrap().to_str().unwrap().trim_end_matches(".copy");
        for args in [["restore", "latest"], ["check", "--data=all"]] {
            machine.run(args).expect(4).says(&format!("fix: put {folder}/{name} or {folder}/{name}.copy back from"));
        }
    }
}

#[test]
fn check_tells_programs_the_whole_and_then_its_end() {
    let (machine, _source) = super::machine_with_snapshot();
    let run = machine.run(["check", "--json", "--data", "all"]).expect(0);
    let lines: Vec<serde_json::Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["type"].as_str().unwrap()).collect::<Vec<_>>(), ["check", "summary"]);
    assert_eq!((&lines[1]["command"], &lines[1]["exit_code"]), (&"check".into(), &0.into()));
    let pack = crate::support::files_below(&machine.repository.join("packs")).remove(0);
    fs::remove_file(pack).unwrap();
    assert_eq!(machine.run(["check", "--json"]).expect(4).json()["exit_code"], 4);
}

#[test]
fn a_key_that_opens_the_repository_already_is_not_added_again() {
    let machine = Machine::new();
    let password = machine.place("password");
    fs::write(&password, "secret\n").unwrap();
    set_mode(&password, 0o600);
    let by_file = ["key", "add", "--new-key-file", text(&machine.key)];
    let by_password = ["key", "add", "--new-password-file", text(&password)];
    let own =
        machine.run(["key", "list", "--json"]).expect(0).json()["keys"][0]["id"].as_str().unwrap()[..8].to_owned();
    machine.run(by_file).expect(2).says("opens this repository already").says(&format!("it is key {own}"));
    machine.run(by_password).expect(0);
    machine.run(by_password).expect(2).says("opens this repository already");
    assert_eq!(machine.run(["key", "list", "--json"]).expect(0).json()["keys"].as_array().unwrap().len(), 2);
    machine.run(["key", "add"]).expect(12).says("fix: give --new-key-file or --new-password-file");
    // Retyped from paper.
    let typed = fs::read_to_string(&machine.key).unwrap().to_uppercase().replace('\n', " \r\n");
    fs::write(&machine.key, typed).unwrap();
    machine.run(["key", "list"]).expect(0);
}

#[test]
fn a_format_that_is_newer_or_foreign_is_told_from_damage() {
    let machine = Machine::new();
    let config = machine.repository.join("config/00000000");
    let bytes = fs::read(&config).unwrap();
    fs::remove_file(machine.repository.join("config/00000000.copy")).unwrap();
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        fs::write(&config, changed).unwrap();
        machine.run(["restore", "latest"])
    };
    with(5, 2).expect(1).says("newer").says("use a newer larder");
    with(0, b'X').expect(4).says("damaged");
    with(bytes.len() - 1, !bytes[bytes.len() - 1]).expect(4);
    with(0, bytes[0]).expect(1).says("there is no snapshot");
}
