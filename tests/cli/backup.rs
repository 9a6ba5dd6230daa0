//! What a backup says about sources that cannot be read, change, vanish or are somebody else's.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{machine_with_snapshot, text};
use crate::support::files_below;
use crate::support::plant::{self, Item, plant, set_mode};
use crate::support::program::{self, Machine, NOBODY, run};
use crate::support::tree::{assert_same, look};

#[test]
fn a_source_that_is_missing_exits_with_14_and_saves_nothing() {
    let (machine, source) = machine_with_snapshot();
    let nowhere = machine.place("nowhere");
    machine.backup(&nowhere).expect(14).says("nothing was saved").says("No such file");
    let before = machine.run(["restore", "latest"]).expect(0).stdout;
    fs::rename(&source, machine.place("elsewhere")).unwrap();
    machine.backup(&source).expect(14);
    let after = machine.run(["restore", "latest"]).expect(0).stdout;
    let id = |plan: &str| plan.split(' ').nth(2).map(str::to_owned);
    assert_eq!(id(&before), id(&after), "no snapshot was made");
}

#[test]
fn one_of_two_sources_that_is_missing_makes_the_snapshot_partial() {
    let machine = Machine::new();
    let source = machine.place("source");
    plant::forty(&source);
    let run = machine.run(["backup", text(&source), text(&machine.place("nowhere"))]).expect(3);
    run.says("warning: nowhere: ").prints("saved partial snapshot");
    let to = machine.place("to");
    machine.restore("latest", &to).expect(0);
    assert_same(&look(&source), &look(&to), "the source that was there");
    let json = machine.run(["backup", "--json", text(&source), "other=/nowhere"]).expect(3).json();
    assert_eq!((json["exit_code"].as_i64(), json["files"]["failed"].as_i64()), (Some(3), Some(1)));
}

/// As of a disk that is not mounted: the snapshot is whole, and nobody asked for it.
#[test]
fn what_is_gone_is_counted() {
    let (machine, source) = machine_with_snapshot();
    let again = || machine.run(["backup", "--json", text(&source)]).expect(0).json();
    let entries = again()["files"]["unchanged"].as_u64().unwrap();
    fs::rename(&source, machine.place("elsewhere")).unwrap();
    fs::create_dir(&source).unwrap();
    let run = machine.backup(&source).expect(0);
    run.prints(&format!("0 new, 1 changed, 0 unchanged, {} gone; read", entries - 1));
    let json = again();
    assert_eq!(json["files"]["gone"], 0, "{json}");
}

#[test]
fn what_may_not_be_read_is_named_and_the_rest_is_saved() {
    let machine = Machine::new();
    let source = machine.place("source");
    plant(
        &source,
        &[
            (b"open", Item::File(b"open".to_vec())),
            (b"closed", Item::File(b"closed".to_vec())),
            (b"dark/file", Item::File(b"dark".to_vec())),
            (b"evil \x1b[2J\n", Item::File(b"evil".to_vec())),
        ],
    );
    machine.give_to_nobody();
    let mut expected = look(&source);
    set_mode(&plant::at(&source, b"evil \x1b[2J\n"), 0);
    for (name, mode) in [("closed", 0), ("dark", 0)] {
        set_mode(&source.join(name), mode);
    }
    let run = machine.run_as_nobody(["backup", text(&source)]).expect(3);
    let run = run.says("source: closed: cannot be opened: Permission denied").says("source: dark: ");
    let run = run.says("evil \\x1b[2J\\x0a: cannot be opened").prints("3 could not be read as they are");
    assert!(!run.stderr.contains('\x1b') && !run.stdout.contains('\x1b'), "{run:?}");
    let to = machine.place("to");
    machine.run_as_nobody(["restore", "latest", "--to", text(&to)]).expect(0);
    for gone in [&b"closed"[..], b"dark/file", b"evil \x1b[2J\n"] {
        expected.remove(gone).unwrap();
    }
    expected.get_mut(&b"dark"[..]).unwrap().mode = 0;
    assert_same(&expected, &look(&to), "what could be read");
    assert_eq!(expected[&b""[..]].owner, (NOBODY, NOBODY));
    set_mode(&source, 0);
    machine.run_as_nobody(["backup", text(&source)]).expect(14);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named_and_what_is_stored_was_read() {
    let machine = Machine::new();
    let source = machine.place("source");
    for (name, len) in [("small", 3 << 20), ("big", 6 << 20)] {
        let _ = fs::remove_dir_all(&source);
        plant(&source, &[(name.as_bytes(), Item::File(vec![b'a'; len])), (b"quiet", Item::File(b"q".to_vec()))]);
        let stop = AtomicBool::new(false);
        let run = std::thread::scope(|scope| {
            let file = File::options().write(true).open(source.join(name)).unwrap();
            let stop = &stop;
            scope.spawn(move || {
                let mut round = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    file.write_all_at(&[b'a' + (round % 26) as u8; 4096], round * 4096 % (len as u64 - 4096)).unwrap();
                }
            });
            // Where others need the processor, it may stand still for as long as it takes to read it twice.
            let mut runs = (0..20).map(|_| machine.run(["backup", text(&source), "--name", name]));
            let run = runs.find(|run| run.code != Some(0));
            stop.store(true, Ordering::Relaxed);
            run
        });
        let run = run.expect("it stood still twenty times");
        run.expect(3).says(&format!("{name}: {name}: changed while it was read (content)"));
        let to = machine.place(&format!("to {name}"));
        machine.restore("latest", &to).expect(0);
        let stored = fs::read(to.join(name)).unwrap();
        assert_eq!(stored.len(), len);
        assert!(stored.iter().all(u8::is_ascii_lowercase), "{name}: bytes that were never in the file");
        // Now it is quiet: read anew, whatever the cache says.
        let now = look(&source);
        machine.run(["backup", text(&source), "--name", name]).expect(0);
        let to = machine.place(&format!("quiet {name}"));
        machine.restore("latest", &to).expect(0);
        assert_same(&now, &look(&to), "after the writer ended");
    }
}

#[test]
fn a_file_that_grows_and_shrinks_while_it_is_read_is_named() {
    let machine = Machine::new();
    let source = machine.place("source");
    const LENGTHS: [u64; 2] = [6 << 20, 3 << 20];
    let [log, small] = LENGTHS.map(|len| Item::File(vec![b'x'; len as usize]));
    plant(&source, &[(b"log", log), (b"small", small)]);
    let stop = AtomicBool::new(false);
    let run = std::thread::scope(|scope| {
        let files = ["log", "small"].map(|name| File::options().write(true).open(source.join(name)).unwrap());
        let stop = &stop;
        scope.spawn(move || {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                for (file, len) in files.iter().zip(LENGTHS) {
                    file.set_len(len - round % 2 * 1000).unwrap();
                }
            }
        });
        // On a busy machine one of them may stand still for as long as it takes to read it.
        let is_caught = |run: &program::Run| run.stderr.contains(": log: ") && run.stderr.contains(": small: ");
        let run = (0..20).map(|_| machine.backup(&source)).find(is_caught);
        stop.store(true, Ordering::Relaxed);
        run
    });
    run.expect("both are caught while they change").expect(3);
    machine.restore("latest", &machine.place("to")).expect(0);
}

#[test]
fn files_that_vanish_during_the_run_are_named_and_the_rest_is_saved() {
    let machine = Machine::new();
    let source = machine.place("source");
    let name = |n: usize| format!("file {n:05}");
    const FILES: usize = 3000;
    for n in 0..FILES {
        plant(&source, &[(name(n).as_bytes(), Item::File(plant::noise(n as u64, 2000)))]);
    }
    let args = ["backup", text(&source)];
    let mut child = machine.command(args).spawn().unwrap();
    let sessions = machine.repository.join("sessions");
    program::wait_until("a session", || !files_below(&sessions).is_empty());
    // From the end, one by one, so that the walk has listed names which are gone when it comes to them.
    for n in (FILES / 2..FILES).rev() {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        fs::remove_file(source.join(name(n))).unwrap();
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
    let run = program::wait(args.map(Into::into).to_vec(), child).expect(3).says("No such file");
    assert!(!run.stderr.contains(&name(1)), "{run:?}");
    let to = machine.place("to");
    machine.restore("latest", &to).expect(0);
    for n in 0..FILES / 2 {
        assert_eq!(fs::read(to.join(name(n))).unwrap(), plant::noise(n as u64, 2000));
    }
}

#[test]
fn a_dry_run_stores_nothing_and_remembers_nothing() {
    let (machine, source) = machine_with_snapshot();
    plant::forty_later(&source);
    // Whoever looks something up keeps the index at hand.
    machine.run(["ls", "latest"]).expect(0);
    let (repository, cache) = (look(&machine.repository), look(&machine.cache));
    let run = machine.run(["backup", "-n", text(&source)]).expect(0);
    run.prints("dry run: nothing was saved").prints("\n4 new");
    let json = machine.run(["backup", "--dry-run", "--json", text(&source)]).expect(0).json();
    assert!(json["snapshot"].is_null() && json["bytes_added"].as_u64() > Some(0), "{json}");
    assert_same(&repository, &look(&machine.repository), "the repository after a dry run");
    assert_same(&cache, &look(&machine.cache), "the cache after a dry run");
}

#[test]
fn what_is_left_out_is_counted_and_named_if_asked() {
    let machine = Machine::new();
    let source = machine.place("source");
    plant(
        &source,
        &[
            (b"a\x1b.tmp", Item::File(b"x".to_vec())),
            (b"cache/CACHEDIR.TAG", Item::File(b"Signature: 8a477f597d28d172789f06886806bc55".to_vec())),
            (b"cache/x", Item::File(b"x".to_vec())),
            (b"kept", Item::File(b"x".to_vec())),
        ],
    );
    let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    let args = ["backup", "-n", text(&source), "--exclude", "*.tmp"];
    let run = machine.run([&args[..], &["-v"]].concat()).expect(0);
    let run = run.prints("left out: 1 excluded by pattern, 1 cache folder, 1 socket\n");
    let named: Vec<_> = run.stderr.lines().filter(|line| line.starts_with("left out: ")).collect();
    let expected = [
        "left out: source: a\\x1b.tmp: excluded by a pattern",
        "left out: source: cache: what is in it, as a cache",
        "left out: source: socket: a socket",
    ];
    assert_eq!(named, expected);
    let run = machine.run(args).expect(0);
    assert!(!run.stderr.contains("left out"), "{run:?}");
    let json = machine.run([&args[..], &["-v", "--json"]].concat()).expect(0).json();
    let counts = ["by_pattern", "cache_folders", "sockets", "other_file_systems", "repositories", "database_files"];
    assert_eq!(counts.map(|name| json["left_out"][name].as_u64()), [1, 1, 1, 0, 0, 0].map(Some), "{json}");
}

#[test]
fn a_series_of_another_root_or_machine_is_not_continued_silently() {
    let (machine, source) = machine_with_snapshot();
    let other = machine.place("elsewhere/source");
    plant(&other, &[(b"x", Item::File(b"x".to_vec()))]);
    machine.backup(&other).expect(2).says("is of another path").says("--adopt");
    machine.run(["backup", text(&source), "--client", "second"]).expect(2).says("belongs to another machine");
    machine.run(["backup", text(&other), "--name", "other"]).expect(0);
    machine.run(["backup", text(&other), "--adopt"]).expect(0);
    machine.backup(&other).expect(0);
    machine.backup(&source).expect(2);
}

/// `..` stood in the recorded path, and the same folder by its plain path was then refused as another one.
#[test]
fn a_path_that_leads_upwards_is_of_the_same_series_as_the_plain_one() {
    let machine = Machine::new();
    let source = machine.place("a");
    plant(&source, &[(b"docs/x", Item::File(b"x".to_vec()))]);
    std::os::unix::fs::symlink(source.join("docs"), machine.place("link")).unwrap();
    for (folder, path) in [("a/docs", ".."), ("a", "docs/.."), ("link", ".."), ("", "a/docs/../../a/"), ("", "a")] {
        let mut command = machine.command(["backup", path, "--name", "a"]);
        command.current_dir(machine.place(folder));
        run(command).expect(0);
        let json = machine.run(["show", "latest", "--json"]).expect(0).json();
        assert_eq!(json["sources"][0]["root"], text(&source), "{path} in {folder}");
    }
    machine.run(["backup", "nowhere/.."]).expect(1).says("cannot find nowhere/..");
    machine.run(["backup", "b=nowhere/.."]).expect(14);
}

#[test]
fn a_pattern_that_holds_the_path_of_the_source_is_refused() {
    let (machine, source) = machine_with_snapshot();
    let file = machine.place("patterns");
    let absolute = format!("{}/folder 1/*.tmp", text(&source));
    fs::write(&file, format!("*.o\n!{absolute}\n")).unwrap();
    let said = machine.run(["backup", text(&source), "--exclude", &absolute]).expect(2);
    said.says("matches nothing").says("patterns are relative to the source").says("fix: write '/folder 1/*.tmp'\n");
    let said = machine.run(["backup", text(&source), "--exclude-from", text(&file)]).expect(2);
    said.says("fix: write '!/folder 1/*.tmp'\n");
    machine.run(["backup", text(&source), "--exclude", text(&source)]).expect(2).says("leave the source out");
    let run = machine.run(["backup", text(&source), "--exclude", "/folder 1"]).expect(0);
    run.prints("left out: 1 excluded by pattern");
}

#[test]
fn what_is_suggested_works_when_it_is_typed() {
    let machine = Machine::new();
    for name in ["ünï", "中文", "sp ace", "-x", "it's"] {
        let source = machine.place(name);
        plant(&source, &[(b"x", Item::File(b"x".to_vec()))]);
        let said = machine.backup(&source);
        if name == "-x" {
            said.expect(0);
            let mut command = machine.command(["backup", "-x"]);
            command.current_dir(machine.place(""));
            run(command).expect(2).says("a path that begins with a dash is written ./-PATH");
            continue;
        }
        let said = said.expect(2).stderr;
        let fix = said.lines().find_map(|line| line.strip_prefix("  fix: name it: larder")).unwrap_or_default();
        let mut command = std::process::Command::new("sh");
        command.arg("-c").arg(format!("exec '{}' {fix}", text(program::binary())));
        machine.surround(&mut command);
        run(command).expect(0);
    }
    let source = format!("x y={}", text(&machine.place("sp ace")));
    machine.run(["backup", &source]).expect(2).says("fix: name it: larder backup x-y='");
    machine.run(["backup", "--", "anything"]).expect(2).says("write paths, without the --");
    machine.run(["backup", "--name", "foo", "bar=."]).expect(2).says("the source has two names: foo and bar");
}

#[test]
fn what_is_unchanged_is_neither_read_nor_stored_again() {
    let (machine, source) = machine_with_snapshot();
    // What changed a moment before it was read is read once more.
    std::thread::sleep(std::time::Duration::from_millis(3100));
    machine.backup(&source).expect(0);
    let packs = files_below(&machine.repository.join("packs"));
    let json = machine.run(["backup", "--json", text(&source)]).expect(0).json();
    assert_eq!(json["bytes_read"], 0, "{json}");
    assert_eq!((&json["files"]["new"], &json["files"]["changed"]), (&0.into(), &0.into()), "{json}");
    assert!(json["bytes_added"].as_u64() < Some(10_000), "{json}");
    assert_eq!(packs, files_below(&machine.repository.join("packs")));
}

#[test]
fn usage_errors_exit_with_2_before_anything_is_touched() {
    let (machine, source) = machine_with_snapshot();
    let before = look(&machine.repository);
    let same = format!("source={}", text(&source));
    for args in [
        vec!["backup"],
        vec!["backup", text(&source), &same],
        vec!["backup", text(&source), "--exclude", "a["],
        vec!["backup", "bad name=/", "/"],
        vec!["backup", "postgres://localhost/x"],
        vec!["backup", text(&source), "--nonsense"],
        vec!["nonsense"],
        vec!["restore", "latest:"],
        vec!["restore", "xyz"],
    ] {
        let run = machine.run(&args).expect(2);
        assert!(run.stderr.starts_with("error: ") || args.len() == 1, "{run:?}");
    }
    let after = look(&machine.repository);
    let snapshots = |tree: &crate::support::tree::Tree| tree.keys().filter(|k| k.starts_with(b"snapshots/")).count();
    assert_eq!(snapshots(&before), snapshots(&after));
}

#[test]
fn neither_the_repository_nor_its_caches_are_stored_in_it() {
    let machine = Machine::new();
    let base = machine.place("");
    let name = format!("all={}", text(&base));
    machine.run(["backup", &name]).expect(0);
    let said = machine.run(["backup", &name]).expect(0).stdout;
    assert!(said.contains("left out: 1 cache folder, 1 repository (this one)\n"), "{said}");
    let listed = machine.run(["ls", "-R", "latest:all"]).expect(0).stdout;
    let repository = machine.repository.file_name().unwrap().to_str().unwrap();
    assert!(listed.contains(repository) && !listed.contains("packs/"), "{listed}");
    assert!(!listed.contains(".redb"), "{listed}");
    machine.run(["backup", text(&machine.repository)]).expect(2).says("it is the repository itself");
}

/// The advice was to write NAME=-, which this version refuses.
#[test]
fn a_pipe_as_a_source_is_refused_with_advice_that_works() {
    let machine = Machine::new();
    let source = machine.place("source");
    plant(&source, &[(b"pipe", Item::Fifo)]);
    let run = machine.backup(&source.join("pipe")).expect(2).says("neither a directory nor a regular file");
    assert!(run.says("fix: back up the folder that it is in").stdout.is_empty());
    machine.backup(&source).expect(0);
}
