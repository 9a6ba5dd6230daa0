//! Where a restore puts things, what it refuses, and what addresses mean.

use std::fs;
use std::os::unix::fs::symlink;

use larder::pack::spoil_parity;

use super::{machine_with_snapshot, text};
use crate::support::files_below;
use crate::support::plant::{self, Item, plant};
use crate::support::program::Machine;
use crate::support::tree::{Tree, assert_same, below, look, regrouped};

#[test]
fn without_a_place_the_plan_is_shown_and_nothing_changes() {
    let (machine, _source) = machine_with_snapshot();
    let run = machine.run(["restore", "latest"]).expect(0).prints("plan: snapshot ");
    assert!(run.stdout.contains("nothing was changed; say where with --to DIR"), "{run:?}");
    let to = machine.place("to");
    machine.run(["restore", "latest", "-n", "--to", text(&to)]).expect(0).prints("run it without -n");
    assert!(!to.exists());
    let json = machine.run(["restore", "latest", "--json"]).expect(0).json();
    assert_eq!(json["type"], "plan");
}

#[test]
fn a_place_that_is_not_empty_is_refused_and_stays_as_it_is() {
    let (machine, _source) = machine_with_snapshot();
    let to = machine.place("to");
    plant(&to, &[(b"mine", Item::File(b"mine".to_vec())), (b"empty", Item::File(b"mine, too".to_vec()))]);
    let before = look(&to);
    machine.restore("latest", &to).expect(1).says("it is not empty").says("--overwrite");
    assert_same(&before, &look(&to), "after the refusal");
    let file = machine.place("file");
    fs::write(&file, "x").unwrap();
    machine.restore("latest", &file).expect(1);
    assert_eq!(fs::read(&file).unwrap(), b"x");
    let link = machine.place("link");
    symlink("nowhere", &link).unwrap();
    machine.restore("latest", &link).expect(1);
    assert!(!machine.place("nowhere").exists());
}

#[test]
fn overwriting_replaces_what_the_snapshot_has_and_leaves_the_rest() {
    let (machine, source) = machine_with_snapshot();
    let seen = look(&source);
    let to = machine.place("to");
    machine.restore("latest", &to).expect(0);
    plant::forty_later(&to);
    plant(&to, &[(b"mine", Item::File(b"mine".to_vec()))]);
    // A folder with something in it gives way to nothing but a folder.
    plant(&to, &[(b"link/full", Item::File(b"full".to_vec()))]);
    machine.run(["restore", "latest", "--overwrite", "--to", text(&to)]).expect(1).says("not empty");
    fs::remove_file(to.join("link/full")).unwrap();
    machine.run(["restore", "latest", "--overwrite", "--to", text(&to)]).expect(0);
    let mut found = look(&to);
    for mine in [&b"mine"[..], b"more", b"moved", b"folder 4/new", b"folder 2/linked"] {
        assert!(found.remove(mine).is_some(), "{mine:?} is gone");
    }
    assert_same(&seen, &regrouped(found), "after overwriting");
    let hidden: Vec<_> = look(&to).into_keys().filter(|p| p.windows(15).any(|w| w == b"larder-partial-")).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}

#[test]
fn overwriting_never_leaves_the_place_through_a_link() {
    let (machine, _source) = machine_with_snapshot();
    let (to, outside) = (machine.place("to"), machine.place("outside"));
    plant(&outside, &[(b"file 0", Item::File(b"outside".to_vec()))]);
    fs::create_dir(&to).unwrap();
    symlink(&outside, to.join("folder 0")).unwrap();
    symlink(outside.join("file 0"), to.join("empty")).unwrap();
    let before = look(&outside);
    machine.run(["restore", "latest", "--overwrite", "--to", text(&to)]).expect(0);
    assert_same(&before, &look(&outside), "what lies outside");
    assert!(to.join("folder 0/file 0").exists() && !to.join("folder 0").is_symlink());
}

/// A machine with snapshots of two sources, twice; the trees of both times.
fn two_sources() -> (Machine, [[Tree; 2]; 2], [String; 2]) {
    let machine = Machine::new();
    let (one, two) = (machine.place("one"), machine.place("two"));
    plant::forty(&one);
    plant(&two, &[(b"a/b/c", Item::File(b"c".to_vec())), (b"a/d", Item::File(b"d".to_vec())), (b"x", Item::Folder)]);
    let mut trees = Vec::new();
    let mut ids = Vec::new();
    for later in [false, true] {
        if later {
            plant::forty_later(&one);
            fs::write(two.join("a/d"), "later").unwrap();
        }
        trees.push([look(&one), look(&two)]);
        let json = machine.run(["backup", "--json", text(&one), text(&two)]).expect(0).json();
        ids.push(json["snapshot"].as_str().unwrap().to_owned());
    }
    (machine, trees.try_into().unwrap(), ids.try_into().unwrap())
}

#[test]
fn addresses_mean_what_they_say() {
    let (machine, trees, ids) = two_sources();
    let mut count = 0;
    let mut expect = |address: &str, expected: &Tree, paths: &[&str]| {
        count += 1;
        let to = machine.place(&format!("to {count}"));
        let mut args = vec!["restore", address];
        args.extend(paths);
        args.extend(["--to", text(&to)]);
        machine.run(args).expect(0);
        assert_same(expected, &look(&to), address);
    };
    let [[old_one, old_two], [one, two]] = &trees;
    expect("latest:one", one, &[]);
    expect("latest~0:two", two, &[]);
    expect("latest~1:one", old_one, &[]);
    expect(&format!("{}:two", &ids[0][..8]), old_two, &[]);
    expect(&format!("{}:one", ids[1]), one, &[]);
    expect("latest:one/deep/a", &below(one, b"deep/a"), &[]);
    expect("one@2099-01-01", one, &[]);
    expect("@2099-01-01 10:00:two/a", &below(two, b"a"), &[]);

    let both = machine.place("both");
    machine.restore("latest", &both).expect(0);
    assert_same(one, &below(&look(&both), b"one"), "several sources get a folder each");
    assert_same(two, &below(&look(&both), b"two"), "several sources get a folder each");
    assert_eq!(fs::read_dir(&both).unwrap().count(), 2);

    for (address, code, message) in [
        ("latest~2", 1, "there are not 3 snapshots"),
        ("latest:three", 1, "three"),
        ("latest:one/nothing/here", 1, "nothing/here is not in the snapshot"),
        ("@2001-01-01", 1, "no snapshot at or before"),
        ("ffffffffffff", 1, "no snapshot ffffffffffff"),
        ("abc", 2, ""),
        ("one@yesterday-ish", 2, ""),
    ] {
        let to = machine.place("never");
        machine.restore(address, &to).expect(code).says(message);
        assert!(!to.exists(), "{address}");
    }
    machine.run(["restore", "latest", "a/b"]).expect(2).says("the snapshot has several sources");
}

#[test]
fn paths_keep_their_place_and_single_files_their_name() {
    let (machine, trees, _) = two_sources();
    let two = &trees[1][1];
    let to = machine.place("paths");
    machine.run(["restore", "latest:two", "a/b", "x", "--to", text(&to)]).expect(0);
    let mut expected = two.clone();
    expected.remove(&b"a/d"[..]);
    assert_same(&expected, &look(&to), "two paths");

    let to = machine.place("file");
    machine.run(["restore", "latest:two/a/d", "--to", text(&to)]).expect(0);
    let found = look(&to);
    assert_eq!(found.keys().collect::<Vec<_>>(), [&b""[..], b"d"]);
    assert_eq!(found[&b"d"[..]], two[&b"a/d"[..]]);

    let to = machine.place("linked");
    machine.run(["restore", "latest:one", "folder 2/linked", "--to", text(&to)]).expect(0);
    let mut node = trees[1][0][&b"folder 2/linked"[..]].clone();
    node.same_as = None;
    assert_eq!(look(&to)[&b"folder 2/linked"[..]], node, "a second name without the first");

    let to = machine.place("missing");
    machine.run(["restore", "latest:two", "a/b", "a/none", "--to", text(&to)]).expect(1).says("a/none is not in");
    assert!(!to.exists());
    for path in ["../x", "a/../d", "/etc/passwd", "a//b"] {
        let run = machine.run(["restore", "latest:two", path, "--to", text(&to)]);
        assert!(matches!(run.code, Some(1 | 2)) || path.starts_with('/') || path == "a//b", "{run:?}");
        assert!(!machine.place("x").exists());
        let _ = fs::remove_dir_all(&to);
    }
}

/// "2 entries" were planned where 3 were made: folders on the way to a path were not counted.
#[test]
fn the_plan_counts_what_the_run_makes() {
    let (machine, _, _) = two_sources();
    let cases: [(&str, &[&str]); 7] = [
        ("latest:one", &[]),
        ("latest:two", &["a/b/c"]),
        ("latest:two", &["a/b", "a/d", "x"]),
        ("latest:two", &["."]),
        ("latest:two/a", &["b/c"]),
        ("latest:two/a", &[]),
        ("latest:two/a/d", &[]),
    ];
    for (number, (address, paths)) in cases.into_iter().enumerate() {
        let plan = machine.run([&["restore", address, "--json"], paths].concat()).expect(0).json();
        let to = machine.place(&format!("to {number}"));
        let run = machine.run([&["restore", address, "--to", text(&to)], paths].concat()).expect(0);
        let entries = look(&to).len() as u64 - u64::from(address.ends_with("/d"));
        assert_eq!(plan["entries"], entries, "{address} {paths:?}");
        assert!(run.stdout.contains(&format!(" in {} ", count(entries))), "{address} {paths:?}: {run:?}");
    }
}

fn count(entries: u64) -> String {
    if entries == 1 { "1 entry".into() } else { format!("{entries} entries") }
}

#[test]
fn a_path_with_the_name_of_the_source_in_front_is_understood_as_a_mistake() {
    let (machine, _, _) = two_sources();
    let hint = "fix: leave out two/: a path begins below the source's root";
    machine.run(["restore", "latest:two", "two/a/d"]).expect(1).says("two/a/d is not in the snapshot").says(hint);
    machine.run(["ls", "latest:two/two/a"]).expect(1).says(hint);
    machine.run(["cat", "latest:two/two/none"]).expect(1).says("fix: list what is there");
}

#[test]
fn a_variable_that_is_not_set_does_not_restore_everything() {
    let (machine, _source) = machine_with_snapshot();
    let to = machine.place("to");
    machine.run(["restore", "latest", "", "--to", text(&to)]).expect(2).says("a PATH is empty");
    machine.run(["restore", "latest", "folder 1", "", "--to", text(&to)]).expect(2);
    assert!(!to.exists());
    machine.run(["find", ""]).expect(2).says("the PATTERN is empty");
    for command in ["ls", "cat", "diff", "show", "backup"] {
        machine.run([command, ""]).expect(2);
    }
}

#[test]
fn the_gap_to_a_time_names_the_time() {
    let (machine, _source) = machine_with_snapshot();
    machine.run(["restore", "source@2099-01-01"]).expect(0).says(" before 2099-01-01 23:59:59 UTC\n");
}

#[test]
fn only_damage_is_called_damage() {
    let (machine, _source) = machine_with_snapshot();
    let snapshot = files_below(&machine.repository.join("snapshots")).remove(0);
    machine.give_to_nobody();
    plant::set_mode(&snapshot, 0);
    let run = machine.run_as_nobody(["snapshots"]).expect(1).prints("cannot be read: Permission denied");
    assert!(!run.stdout.contains("damaged"), "{run:?}");
    machine.run_as_nobody(["ls", "latest"]).expect(1).says("cannot be read and was passed over");
    plant::set_mode(&snapshot, 0o600);
    fs::write(&snapshot, "x").unwrap();
    machine.run_as_nobody(["snapshots"]).expect(4).prints("damaged: ");
}

#[test]
fn with_one_source_its_name_can_be_left_out() {
    let (machine, source) = machine_with_snapshot();
    let to = machine.place("to");
    machine.run(["restore", "latest:folder 1", "--to", text(&to)]).expect(0);
    assert_same(&below(&look(&source), b"folder 1"), &look(&to), "a folder");
}

#[test]
fn a_restore_of_nothing_does_not_say_that_it_restored() {
    let (machine, _source) = machine_with_snapshot();
    for pack in files_below(&machine.repository.join("packs")) {
        fs::remove_file(pack).unwrap();
    }
    let to = machine.place("to");
    let run = machine.restore("latest", &to).expect(4).says("nothing was restored");
    assert!(!run.stdout.contains("restored") && !to.exists(), "{run:?}");
}

#[test]
fn a_pack_that_looks_newer_is_damaged_and_costs_what_lies_in_it() {
    let (machine, source) = machine_with_snapshot();
    let seen = look(&source);
    let mut lossy = 0;
    for pack in crate::support::files_below(&machine.repository.join("packs")) {
        let bytes = fs::read(&pack).unwrap();
        let mut newer = bytes.clone();
        spoil_parity(&mut newer);
        newer[5] = 2;
        fs::write(&pack, newer).unwrap();
        let to = machine.place("to");
        let run = machine.restore("latest", &to).expect(4).says("is damaged: its bytes have the BLAKE3");
        assert!(!run.stderr.contains("newer"), "{run:?}");
        let check = machine.run(["check"]).expect(4).prints("is damaged: its bytes have the BLAKE3");
        assert!(!check.stdout.contains("newer"), "{check:?}");
        lossy += usize::from(look(&to).len() > 1);
        assert!(look(&to).len() < seen.len(), "{run:?}");
        if to.exists() {
            fs::remove_dir_all(&to).unwrap();
        }
        fs::write(&pack, bytes).unwrap();
        machine.run(["check"]).expect(0);
    }
    assert!(lossy > 0, "in one case at least something could be restored");
}

#[test]
fn a_pack_that_is_newer_is_called_so() {
    let (machine, _source) = machine_with_snapshot();
    let pack = files_below(&machine.repository.join("packs")).remove(0);
    let mut newer = fs::read(&pack).unwrap();
    newer[5] = 2;
    fs::remove_file(&pack).unwrap();
    let name = larder::id::ObjectId::of(&newer).to_hex();
    plant(&machine.repository, &[(format!("packs/{}/{name}", &name[..2]).as_bytes(), Item::File(newer))]);
    machine.run(["ls", "latest"]).says("version 2, suite 1, flags 0 is newer than this program");
}

#[test]
fn latest_says_so_when_it_passes_over_a_snapshot_that_it_cannot_use() {
    for folder in ["snapshots", "sessions"] {
        let (machine, source) = machine_with_snapshot();
        let before = files_below(&machine.repository.join(folder));
        plant::forty_later(&source);
        machine.backup(&source).expect(0);
        let is_new =
            |file: &std::path::PathBuf| !before.contains(file) && (folder == "snapshots" || file.extension().is_some());
        let file = files_below(&machine.repository.join(folder)).into_iter().find(is_new).unwrap();
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        machine.run(["restore", "latest"]).expect(4).says("was passed over");
    }
}

#[test]
fn nothing_is_ever_restored_into_the_repository() {
    let machine = Machine::new();
    let home = machine.place("home");
    let repository = &machine.repository;
    plant(&home, &[(b"packs/x", Item::File(b"x".to_vec())), (b"y", Item::File(b"y".to_vec()))]);
    machine.backup(&home).expect(0);
    let before = files_below(repository);
    for into in [
        repository.clone(),
        repository.join("new/deep"),
        repository.join("packs"),
        repository.join("../repository/new"),
    ] {
        let into = text(&into).to_owned();
        machine.run(["restore", "latest", "--overwrite", "--to", &into]).expect(2).says("lies in the repository");
        machine.run(["restore", "latest", "--to", &into]).expect(2).says("lies in the repository");
    }
    // The folder that a snapshot says is there has become the repository.
    let around = repository.parent().unwrap();
    let evil = machine.place("evil");
    let name = repository.file_name().unwrap().to_str().unwrap();
    plant(
        &evil,
        &[(format!("{name}/packs").as_bytes(), Item::File(b"evil".to_vec())), (b"good", Item::File(b"g".to_vec()))],
    );
    machine.run(["backup", text(&evil)]).expect(0);
    let before_too = files_below(repository);
    let run = machine.run(["restore", "latest:evil", "--overwrite", "--to", text(around)]).expect(1);
    assert!(run.stderr.contains("was left as it is") && run.stderr.contains("it lies in the repository"), "{run:?}");
    assert_eq!(fs::read(around.join("good")).unwrap(), b"g");
    assert_eq!(files_below(repository), before_too);
    assert!(before.len() < before_too.len());
    machine.run(["check", "--data", "all"]).expect(0);
}

#[test]
fn latest_passes_over_a_snapshot_that_was_damaged_after_it_was_listed() {
    let (machine, source) = machine_with_snapshot();
    for _ in 0..33 {
        machine.backup(&source).expect(0);
    }
    let listed = machine.run(["snapshots", "--json"]).expect(0);
    let cache = files_below(&machine.cache);
    assert!(cache.iter().any(|path| path.to_string_lossy().contains("/snapshots/list.")), "{cache:?}");
    let newest = listed.json()["snapshots"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    let file = machine.repository.join("snapshots").join(&newest);
    // As long as it was listed, and too far apart for its parity.
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len() - 1;
    bytes[500] ^= 1;
    bytes[end] ^= 1;
    fs::write(&file, bytes).unwrap();
    machine.restore("latest", &machine.place("to")).expect(4).says(&newest[..8]).says("was passed over");
    assert_same(&look(&source), &look(&machine.place("to")), "the one before");
    machine.restore(&newest, &machine.place("none")).expect(4);
    machine.run(["check"]).expect(4).prints(&newest[..8]);
    machine.backup(&source).expect(0).says("`larder check` tells more");
}

/// `restore latest:etc hosts --to ~/somewhere` gave that folder away to root, with the mode of /etc.
#[test]
fn with_paths_a_folder_that_was_there_stays_what_it_was() {
    let (machine, source) = machine_with_snapshot();
    plant::set_mode(&source, 0o750);
    plant::set_xattr(&source, "user.of", b"source");
    machine.backup(&source).expect(0);
    for overwrite in [false, true] {
        let to = machine.place(&format!("to {overwrite}"));
        plant(&to, &[(b"", Item::Folder)]);
        plant::set_mode(&to, 0o2711);
        plant::set_owner(&to, 1234, 1234);
        plant::set_mode(&to, 0o2711);
        plant::set_xattr(&to, "user.of", b"mine");
        let before = look(&to).remove(&b""[..]).unwrap();
        let mut args = vec!["restore", "latest:source", "folder 1", "deep/a", "--to", text(&to)];
        args.extend(overwrite.then_some("--overwrite"));
        machine.run(args).expect(0);
        let mut after = look(&to);
        let mut root = after.remove(&b""[..]).unwrap();
        root.mtime = before.mtime;
        assert_eq!(root, before);
        assert_eq!(after[&b"folder 1"[..]], look(&source)[&b"folder 1"[..]]);
    }
    let [new, empty] = ["new", "empty"].map(|name| machine.place(name));
    machine.run(["restore", "latest:source", "empty", "--to", text(&new)]).expect(0);
    fs::create_dir(&empty).unwrap();
    machine.restore("latest", &empty).expect(0);
    for made in [new, empty] {
        assert_eq!(look(&made)[&b""[..]], look(&source)[&b""[..]], "{made:?}");
    }
}

#[test]
fn the_plan_of_an_overwriting_says_what_it_would_replace() {
    let machine = Machine::new();
    let source = machine.place("source");
    let file = |text: &str| Item::File(text.as_bytes().to_vec());
    plant(
        &source,
        &[
            (b"a/one", file("1")),
            (b"a/two", file("2")),
            (b"b/deep/three", file("3")),
            (b"link", Item::Symlink(b"a/one")),
            (b"new", file("4")),
            (b"was link/x", file("5")),
        ],
    );
    machine.backup(&source).expect(0);
    let to = machine.place("to");
    let outside = machine.place("outside");
    plant(&outside, &[(b"x", file("outside"))]);
    plant(&to, &[(b"a/one", file("other")), (b"b", file("no folder")), (b"link", Item::Folder), (b"mine", file("m"))]);
    symlink(&outside, to.join("was link")).unwrap();
    let before = look(&to);
    let plan = |more: &[&str]| {
        let args = ["restore", "latest:source", "--overwrite", "-n", "--to", text(&to)];
        machine.run([&args[..], more].concat()).expect(0)
    };
    let run = plan(&["-v"]).prints(&format!("  4 entries in {} would be replaced\n", to.display()));
    let mut named: Vec<_> = run.stderr.lines().filter_map(|line| line.split_once("would be replaced: ")).collect();
    named.sort();
    assert_eq!(named.iter().map(|(_, path)| *path).collect::<Vec<_>>(), ["a/one", "b", "link", "was link"]);
    assert_eq!(plan(&["--json"]).json()["replaced"], 4);
    plan(&["a"]).prints("  1 entry in ");
    plan(&["b/deep/three"]).prints("  1 entry in ");
    plan(&["new"]).prints("  nothing in ");
    assert_same(&before, &look(&to), "after the plans");
    machine.run(["restore", "latest:source", "--overwrite", "--to", text(&to)]).expect(0);
    assert_eq!(fs::read(outside.join("x")).unwrap(), b"outside");
    let json = machine.run(["restore", "latest:source", "--json", "--to", text(&to)]).expect(1).json();
    assert_eq!(json["type"], "error");
    assert!(machine.run(["restore", "latest:source", "--json"]).expect(0).json()["replaced"].is_null());
}
