//! README.md: every command in it is run, in the order in which a reader would.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// The blocks of this language, each with the line on which it begins.
fn blocks(language: &str) -> Vec<(usize, String)> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let mut out: Vec<(usize, String)> = Vec::new();
    let (mut inside, mut wanted) = (false, false);
    for (number, line) in readme.lines().enumerate() {
        if let Some(opened) = line.strip_prefix("```") {
            inside = !inside;
            wanted = inside && opened == language;
            if wanted {
                out.push((number + 1, String::new()));
            }
        } else if wanted {
            let (_, block) = out.last_mut().unwrap();
            block.push_str(line);
            block.push('\n');
        }
    }
    assert!(!inside, "a block has no end");
    out
}

/// A home with what the README takes for granted: the program, and some documents.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for folder in [".cargo/bin", "documents/letters", "pictures"] {
        fs::create_dir_all(home.path().join(folder)).unwrap();
    }
    symlink(env!("CARGO_BIN_EXE_larder"), home.path().join(".cargo/bin/larder")).unwrap();
    fs::write(home.path().join("documents/letters/aunt.txt"), "Dear aunt,\n").unwrap();
    fs::write(home.path().join("documents/draft.tmp"), "not this\n").unwrap();
    let addresses = rusqlite::Connection::open(home.path().join("documents/addresses.db")).unwrap();
    addresses.execute_batch("CREATE TABLE people(name); INSERT INTO people VALUES('Aunt')").unwrap();
    fs::write(home.path().join("pictures/lake.jpg"), [0xff, 0xd8, 0xff]).unwrap();
    home
}

fn run(shell: &str, script: &str, home: &Path, path: &str) {
    let done = Command::new(shell)
        .args(["-c", script])
        .env_clear()
        .env("HOME", home)
        .env("PATH", path)
        .current_dir(home)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}\n{out}\n{err}\nin: {script}", done.status);
}

#[test]
fn every_command_in_the_readme_works_as_it_stands() {
    let home = home();
    let path = format!("{}/.cargo/bin:/usr/bin:/bin", home.path().display());
    let mut tour = String::from("set -eu\n");
    for (line, block) in blocks("sh") {
        tour.push_str(&format!("echo 'README.md, line {line}'\n{block}"));
    }
    assert!(tour.matches("\nlarder ").count() > 10);
    run("bash", &tour, home.path(), &path);
    let read = |path: &str| fs::read_to_string(home.path().join(path)).unwrap();
    assert_eq!(read("restored/letters/aunt.txt"), "Dear aunt,\n");
    assert_eq!(read("letters/letters/aunt.txt"), "Dear aunt,\n");
    assert!(!home.path().join("restored/draft.tmp").exists());

    // Cron runs lines with a plain shell and nearly no environment.
    let lines: Vec<_> = blocks("crontab")
        .into_iter()
        .flat_map(|(_, block)| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(!lines.is_empty());
    for line in lines {
        let command = line.split_whitespace().skip(5).collect::<Vec<_>>().join(" ");
        run("sh", &command, home.path(), "/usr/bin:/bin");
    }
}

#[test]
fn the_set_up_is_two_scripts_that_are_there() {
    let set_up: String = blocks("sh setup").into_iter().map(|(_, block)| block).collect();
    let scripts: Vec<_> = set_up.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(scripts, ["scripts/quickstart", "scripts/test"]);
    for script in scripts {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(script).exists());
    }
}
