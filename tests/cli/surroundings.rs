//! Full disks, read-only places, broken caches, second machines, closed streams.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{machine_with_snapshot, text};
use crate::support::plant::{self, Item, plant, set_mode};
use crate::support::program::{self, Machine, run};
use crate::support::tree::{assert_same, look};
use crate::support::{self, files_below};

#[track_caller]
fn assert_latest_is(machine: &Machine, address: &str, source: &Path, about: &str) {
    let to = machine.place("latest");
    let _ = fs::remove_dir_all(&to);
    machine.restore(address, &to).expect(0);
    assert_same(&look(source), &look(&to), about);
}

#[test]
fn a_full_repository_disk_exits_with_13_and_loses_nothing() {
    let machine = Machine::bare();
    fs::create_dir(&machine.repository).unwrap();
    plant(&machine.place("small"), &[(b"file", Item::File(plant::noise(1, 300_000)))]);
    plant(&machine.place("big"), &[(b"file", Item::File(plant::noise(2, 9_000_000)))]);
    let out = machine.run_with_mounts(
        r#"
        mount -t tmpfs -o size=3m tmpfs "$LARDER_REPO"
        larder init
        larder backup "$BASE/small"
        code=0; larder backup "$BASE/big" || code=$?
        echo "big: $code"
        larder restore latest:small --to "$BASE/one"
        echo changed > "$BASE/small/new"
        larder backup "$BASE/small"
        larder restore latest:small --to "$BASE/two"
        code=0; larder restore latest:big || code=$?
        echo "no snapshot of big: $code"
        find "$LARDER_REPO" -name '.*' -type f
        "#,
    );
    let out = out.expect(0).prints("big: 13\n").prints("no snapshot of big: 1\n").says("No space left on device");
    out.says("what was stored stays usable");
    assert_same(&look(&machine.place("small")), &look(&machine.place("two")), "after the disk was full");
    assert_eq!(fs::read(machine.place("one/file")).unwrap(), plant::noise(1, 300_000));
}

/// A machine with so many files of so many bytes, by number.
fn with_sources(count: u64, bytes: usize) -> Machine {
    let machine = Machine::bare();
    fs::create_dir(&machine.repository).unwrap();
    for n in 0..count {
        plant(&machine.place("source"), &[(format!("{n}").as_bytes(), Item::File(plant::noise(n, bytes)))]);
    }
    machine
}

/// AC12: a repository that is full to the brim, by its own backups and then by others, gives space back.
#[test]
fn what_is_forgotten_on_a_full_disk_makes_room() {
    let machine = with_sources(10, 7_000_000);
    let out = machine.run_with_mounts(
        r#"
        mount -t tmpfs -o size=64m tmpfs "$LARDER_REPO"
        larder init
        mkdir "$BASE/nights"
        for night in 0 1 2 3 4 5 6 7 8 9; do
            mv "$BASE/source/$night" "$BASE/nights/file"
            code=0; larder backup --quiet "$BASE/nights" || code=$?
        done
        echo "last: $code"
        larder check --data all
        head -c 100m /dev/zero > "$LARDER_REPO/ballast" 2> /dev/null || echo "full"
        larder forget --keep-last 2 --force
        larder prune --no-trash
        larder check --data all
        larder backup "$BASE/nights"
        larder restore latest --to "$BASE/to"
        rm "$LARDER_REPO/ballast"
        "#,
    );
    out.expect(0).prints("last: 13\n").prints("full\n").prints("removed ").says("larder prune --no-trash");
    assert_eq!(fs::read(machine.place("to/file")).unwrap(), plant::noise(9, 7_000_000));
}

/// What was set aside has been used up, and something else has taken what became free.
#[test]
fn a_prune_that_only_removes_needs_next_to_no_room() {
    let machine = with_sources(4, 1_000_000);
    let out = machine.run_with_mounts(
        r#"
        mkdir "$BASE/mount"
        mount -t tmpfs -o size=8m tmpfs "$BASE/mount"
        export LARDER_REPO="$BASE/mount/repository"
        larder init
        mkdir "$BASE/nights"
        for night in 0 1 2 3; do
            mv "$BASE/source/$night" "$BASE/nights/file"
            larder backup --quiet "$BASE/nights"
        done
        head -c 10m /dev/zero > "$BASE/mount/one" 2> /dev/null || echo "full"
        larder forget latest~3
        head -c 10m /dev/zero > "$BASE/mount/two" 2> /dev/null || echo "full again"
        larder prune --no-trash
        larder check --data all
        "#,
    );
    out.expect(0).prints("full again").prints("removed ").prints("healthy");
}

#[test]
fn init_on_a_full_disk_exits_with_13_and_can_be_run_again() {
    let machine = Machine::bare();
    fs::create_dir(&machine.repository).unwrap();
    machine
        .run_with_mounts(
            r#"
            mount -t tmpfs -o size=64k,nr_inodes=1000 tmpfs "$LARDER_REPO"
            mkdir "$LARDER_REPO/repository"; export LARDER_REPO="$LARDER_REPO/repository"
            head -c 65536 /dev/zero > "$LARDER_REPO/../filler" 2>/dev/null || true
            code=0; larder init || code=$?
            echo "full: $code"
            rm "$LARDER_REPO/../filler"
            larder init
            "#,
        )
        .expect(0)
        .prints("full: 13\n")
        .prints("made repository");
}

#[test]
fn a_full_disk_under_the_target_exits_with_13_and_leaves_no_half_tree() {
    let (machine, source) = machine_with_snapshot();
    let to = machine.place("to");
    fs::create_dir(&to).unwrap();
    machine
        .run_with_mounts(
            r#"
            mount -t tmpfs -o size=200k tmpfs "$BASE/to"
            code=0; larder restore latest --to "$BASE/to/new" || code=$?
            echo "new: $code, left: $(ls -A "$BASE/to" | wc -l)"
            mkdir "$BASE/to/old"; echo mine > "$BASE/to/old/empty"
            code=0; larder restore latest --overwrite --to "$BASE/to/old" || code=$?
            echo "old: $code, partial: $(find "$BASE/to" -name '.larder-partial*' | wc -l)"
            "#,
        )
        .expect(0)
        .prints("new: 13, left: 0\n")
        .prints("old: 13, partial: 0\n");
    assert_latest_is(&machine, "latest", &source, "elsewhere");
}

#[test]
fn a_full_or_missing_cache_disk_fails_nothing() {
    let machine = Machine::new();
    plant::forty(&machine.place("source"));
    machine
        .run_with_mounts(
            r#"
            mount -t tmpfs -o size=8k tmpfs "$XDG_CACHE_HOME"
            larder backup "$BASE/source"
            larder backup "$BASE/source"
            XDG_CACHE_HOME=/dev/null/none larder backup "$BASE/source"
            XDG_CACHE_HOME= HOME= larder backup "$BASE/source"
            "#,
        )
        .expect(0);
    assert_latest_is(&machine, "latest", &machine.place("source"), "without a cache");
}

#[test]
fn a_repository_that_may_only_be_read_can_be_restored_from() {
    let (machine, source) = machine_with_snapshot();
    machine.give_to_nobody();
    // In this one everything belongs to the one who restores it.
    machine.run_as_nobody(["backup", text(&source), "--name", "own"]).expect(0);
    let seen = look(&source);
    for entry in walkdir::WalkDir::new(&machine.repository) {
        let entry = entry.unwrap();
        set_mode(entry.path(), if entry.file_type().is_dir() { 0o555 } else { 0o444 });
    }
    let run = machine.run_as_nobody(["backup", text(&source)]).expect(1).says("Permission denied");
    run.says("check the permissions of the repository");
    let to = machine.place("to");
    machine.run_as_nobody(["restore", "latest", "--to", text(&to)]).expect(0);
    assert_same(&seen, &look(&to), "from a read-only repository");
    set_mode(&machine.repository, 0);
    machine.run_as_nobody(["restore", "latest"]).expect(1).says("Permission denied");
}

#[test]
fn a_second_machine_restores_and_continues_under_another_client_name() {
    let (machine, source) = machine_with_snapshot();
    let second = machine.second();
    assert_latest_is(&second, "latest", &source, "on the second machine");
    let own = second.place("source");
    plant::forty(&own);
    second.run(["backup", text(&own), "--client", "second"]).expect(2);
    let json = second.run(["backup", "--json", &format!("own={}", text(&own)), "--client", "second"]).expect(0).json();
    assert!(json["bytes_added"].as_u64() < Some(40_000), "the same files are stored once: {json}");
    assert_latest_is(&machine, "latest:own", &own, "on the first machine");
    assert_latest_is(&second, "latest:source", &source, "on the second machine");
}

#[test]
fn two_runs_at_once_share_repository_and_cache() {
    let machine = Machine::new();
    let names = ["one", "two"];
    for (n, name) in names.iter().enumerate() {
        let source = machine.place(name);
        plant::forty(&source);
        plant(&source, &[(b"own", Item::File(plant::noise(n as u64, 2_000_000)))]);
    }
    for round in 0..4 {
        // In the last rounds both save the same source.
        let chosen = if round < 2 { names } else { ["one", "one"] };
        let start = |name: &str| {
            let args = ["backup".to_owned(), text(&machine.place(name)).to_owned()];
            let child = machine.command(&args).spawn().unwrap();
            (args.map(Into::into).to_vec(), child)
        };
        let runs = chosen.map(start);
        for (args, child) in runs {
            program::wait(args, child).expect(0);
        }
        for name in names {
            assert_latest_is(&machine, &format!("latest:{name}"), &machine.place(name), &format!("round {round}"));
        }
        plant(&machine.place("one"), &[(format!("new {round}").as_bytes(), Item::File(plant::noise(round, 100_000)))]);
        plant(&machine.place("two"), &[(format!("new {round}").as_bytes(), Item::File(plant::noise(round, 100_000)))]);
        for name in names {
            machine.backup(&machine.place(name)).expect(0);
        }
    }
}

/// Caches with something in them that the next run would use.
fn machine_with_cache() -> (Machine, std::path::PathBuf) {
    let (machine, source) = machine_with_snapshot();
    std::thread::sleep(std::time::Duration::from_millis(3100));
    machine.backup(&source).expect(0);
    let json = machine.run(["backup", "--json", text(&source)]).expect(0).json();
    assert_eq!(json["bytes_read"], 0, "the cache is used");
    (machine, source)
}

#[test]
fn caches_that_are_gone_cut_or_full_of_garbage_change_no_answer() {
    let (machine, source) = machine_with_cache();
    let files = files_below(&machine.cache);
    let good: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let entries = look(&source).len() as u64;
    let mut chance = crate::support::Chance(5);
    type Harm = Box<dyn Fn(&Path, &[u8])>;
    let mut harms: Vec<(String, Harm)> = Vec::new();
    harms.push(("gone".into(), Box::new(|file, _| fs::remove_file(file).unwrap())));
    for len in [0usize, 1, 100, 4095, 4096, 10_000] {
        let cut = move |file: &Path, good: &[u8]| fs::write(file, &good[..len.min(good.len())]).unwrap();
        harms.push((format!("cut to {len}"), Box::new(cut)));
    }
    for seed in 0..3 {
        let garbage = move |file: &Path, good: &[u8]| fs::write(file, plant::noise(seed, good.len())).unwrap();
        harms.push((format!("garbage {seed}"), Box::new(garbage)));
    }
    for _ in 0..12 {
        let place = chance.number();
        let flip = move |file: &Path, good: &[u8]| {
            let mut bytes = good.to_vec();
            let at = (place % bytes.len() as u64) as usize;
            bytes[at] ^= 1 << (place >> 60 & 7);
            fs::write(file, bytes).unwrap();
        };
        harms.push((format!("bit at {place}"), Box::new(flip)));
    }
    harms.push((
        "a folder".into(),
        Box::new(|file, _| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
    ));
    for (what, harm) in harms {
        for (file, good) in files.iter().zip(&good) {
            harm(file, good);
        }
        let json = machine.run(["backup", "--json", text(&source)]).expect(0).json();
        assert_eq!(json["files"]["unchanged"], entries, "{what}: {json}");
        assert_latest_is(&machine, "latest", &source, &what);
        for (file, good) in files.iter().zip(&good) {
            if file.is_dir() {
                fs::remove_dir(file).unwrap();
            }
            fs::write(file, good).unwrap();
        }
    }
}

#[test]
fn a_cache_that_may_not_be_written_or_read_changes_no_answer() {
    let (machine, source) = machine_with_cache();
    machine.give_to_nobody();
    for (folder_mode, file_mode) in [(0o500, 0o400), (0o500, 0o000), (0o000, 0o600)] {
        let all: Vec<_> =
            walkdir::WalkDir::new(&machine.cache).contents_first(true).into_iter().map(Result::unwrap).collect();
        for entry in &all {
            set_mode(entry.path(), if entry.file_type().is_dir() { folder_mode } else { file_mode });
        }
        machine.run_as_nobody(["backup", text(&source)]).expect(0);
        let to = machine.place("to");
        machine.run_as_nobody(["restore", "latest", "--to", text(&to)]).expect(0);
        assert_same(&look(&source), &look(&to), "with a cache that is closed");
        fs::remove_dir_all(&to).unwrap();
        for entry in all.iter().rev() {
            set_mode(entry.path(), 0o700);
        }
    }
}

/// Every run read all files anew, and nobody could tell why.
#[test]
fn a_cache_that_is_of_no_use_is_told_once_to_who_asks() {
    let (machine, source) = machine_with_cache();
    let told = |args: &[&str], why: &str| {
        let said = machine.run([&["backup", text(&source)], args].concat()).expect(0).stderr;
        assert!(said.is_empty() || said.contains(why), "{why}: {said}");
        assert_eq!(said.lines().count(), said.matches("the local cache was not of full use: ").count(), "{said}");
        said.lines().count()
    };
    for folder in ["/index/", "/files/"] {
        let mut files = files_below(&machine.cache);
        files.retain(|file| text(file).contains(folder));
        for file in files {
            fs::write(&file, &fs::read(&file).unwrap()[..100]).unwrap();
            assert_eq!(told(&["-v"], &format!("{}: it is damaged", text(&file))), 1);
        }
        assert_eq!(told(&["-v"], ""), 0, "it was made anew");
    }
    fs::remove_dir_all(&machine.cache).unwrap();
    fs::write(&machine.cache, "x").unwrap();
    let answers = [&["-v"][..], &[], &["-q"], &["-v", "--json"]].map(|args| told(args, "Not a directory"));
    assert_eq!(answers, [1, 0, 0, 0]);
}

/// An old cache is of a snapshot that is gone, or of a repository that was set back.
#[test]
fn a_cache_of_another_state_of_the_repository_is_not_believed() {
    let (machine, source) = machine_with_cache();
    let copy = machine.place("copy");
    let status = Command::new("cp").arg("-a").arg(&machine.repository).arg(&copy).status().unwrap();
    assert!(status.success());
    plant::forty_later(&source);
    std::thread::sleep(std::time::Duration::from_millis(3100));
    machine.backup(&source).expect(0);
    machine.backup(&source).expect(0);
    fs::remove_dir_all(&machine.repository).unwrap();
    fs::rename(&copy, &machine.repository).unwrap();
    machine.backup(&source).expect(0);
    assert_latest_is(&machine, "latest", &source, "after the repository was set back");
}

#[test]
fn closed_streams_harm_nothing() {
    let machine = Machine::new();
    let source = machine.place("source");
    plant::forty(&source);
    for streams in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"] {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec '{}' backup '{}' {streams}", text(program::binary()), text(&source)));
        machine.surround(&mut command);
        let run = run(command);
        let expected: &[i32] = if streams.contains("full") { &[0, 1, 13] } else { &[0] };
        assert!(run.code.is_some_and(|code| expected.contains(&code)), "{streams}: {run:?}");
        assert_latest_is(&machine, "latest", &source, streams);
    }
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("'{}' restore latest | head -c 1 >/dev/null", text(program::binary())));
    machine.surround(&mut command);
    run(command).expect(0);
}

/// Runs the program under a limit of the shell.
fn limited(machine: &Machine, limit: &str, line: &str) -> program::Run {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit {limit}; exec '{}' {line}", text(program::binary())));
    machine.surround(&mut command);
    run(command)
}

#[test]
fn too_few_handles_end_a_run_and_are_no_fault_of_an_entry() {
    let machine = Machine::new();
    let (source, to) = (machine.place("source"), machine.place("to"));
    let deep = [b"d/".repeat(30), b"file".to_vec()].concat();
    plant(&source, &[(&deep, Item::File(b"deep".to_vec())), (b"e/file", Item::File(b"flat".to_vec()))]);
    let told = |run: program::Run| {
        assert!(run.code == Some(1) && run.stderr.contains("ulimit -n"), "{run:?}");
        assert!(!run.stderr.contains("as a user who") && !run.stderr.contains("larder check"), "{run:?}");
    };
    for handles in 5..30 {
        told(limited(&machine, &format!("-n {handles}"), &format!("backup '{}'", text(&source))));
    }
    machine.run(["ls", "latest"]).expect(1).says("there is no snapshot");
    machine.backup(&source).expect(0);
    for handles in 5..12 {
        told(limited(&machine, &format!("-n {handles}"), &format!("restore latest --to '{}'", text(&to))));
        assert!(!to.exists());
    }
}

#[test]
fn a_limit_on_file_size_counts_as_no_space() {
    let machine = Machine::new();
    let source = machine.place("source");
    plant(&source, &[(b"big", Item::File(plant::noise(1, 3_000_000)))]);
    limited(&machine, "-f 1000", &format!("backup '{}'", text(&source))).expect(13);
    machine.backup(&source).expect(0);
    let to = machine.place("to");
    limited(&machine, "-f 1000", &format!("restore latest --to '{}'", text(&to))).expect(13);
    assert!(!to.exists());
    assert_latest_is(&machine, "latest", &source, "without a limit");
}

/// Every entry on its way to a worker holds its folder open, and there are more such entries the more workers there are:
/// with 16 of them a tree of small folders once took 2176 of the usual 1024 open files.
#[test]
fn trees_of_very_many_folders_do_not_run_out_of_open_files() {
    let machine = Machine::new();
    let source = machine.place("source");
    for n in 0..9000 {
        plant(&source, &[(format!("folder {n}/file").as_bytes(), Item::File(format!("{n}").into_bytes()))]);
    }
    let chunks = plant::words(1, 400_000);
    for n in 0..600 {
        plant(&source, &[(format!("two chunks {n}/file").as_bytes(), Item::File(chunks.clone()))]);
    }
    std::thread::sleep(std::time::Duration::from_millis(3100));
    for _ in 0..2 {
        limited(&machine, "-n 700", &format!("backup '{}'", text(&source))).expect(0);
    }
    let to = machine.place("to");
    limited(&machine, "-n 700", &format!("restore latest --to '{}'", text(&to))).expect(0);
    assert_same(&look(&source), &look(&to), "with 700 open files");
}

/// Bytes of the file in the page cache.
fn cached(file: &Path) -> u64 {
    let out = Command::new("fincore").args(["--bytes", "--noheadings", "--output", "RES"]).arg(file).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
}

/// Whether the system can read this without keeping it in the page cache (RWF_DONTCACHE: most disks, Linux 6.14).
fn can_spare(file: &Path) -> bool {
    let flag = rustix::io::ReadWriteFlags::from_bits_retain(0x80);
    let file = fs::File::open(file).unwrap();
    rustix::io::preadv2(file, &mut [std::io::IoSliceMut::new(&mut [0])], 0, flag).is_ok()
}

#[test]
fn a_run_leaves_the_page_cache_as_it_was() {
    support::needs_program("fincore", "util-linux");
    let machine = Machine::on_disk();
    let source = machine.place("source");
    let size = 8 << 20;
    let content = |seed| Item::File(plant::noise(seed, size as usize));
    plant(&source, &[(b"hot", content(1)), (b"cold", content(2))]);
    let (hot, cold) = (source.join("hot"), source.join("cold"));
    let spares = can_spare(&hot);
    let file = fs::File::open(&cold).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let before = cached(&cold);
    assert!(!spares || before == 0, "{before} bytes stayed");
    machine.backup(&source).expect(0);
    machine.run(["check", "--data", "all"]).expect(0);
    machine.run(["restore", "latest", "--to", text(&machine.place("to"))]).expect(0);
    assert!(cached(&hot) > size / 2, "what was hot is hot");
    if spares {
        assert_eq!(cached(&cold), 0, "what was cold is cold");
        let packs: u64 = files_below(&machine.repository.join("packs")).iter().map(|pack| cached(pack)).sum();
        assert!(packs < size / 100, "{packs} bytes of packs in the cache");
    }
}
