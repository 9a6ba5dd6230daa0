//! What a check found, and what other commands make of it.

use std::path::PathBuf;

use larder::pack::spoil_parity;

use crate::support::plant::{Item, noise, plant};
use crate::support::program::Machine;
use crate::support::{self};

/// A machine with two snapshots of `etc`, and the largest pack of what only the newer one has.
fn machine() -> (Machine, PathBuf) {
    let machine = Machine::new();
    let etc = machine.place("etc");
    plant(&etc, &[(b"same", Item::File(noise(1, 300_000)))]);
    machine.backup(&etc).expect(0);
    let packs = support::files_below(&machine.repository.join("packs"));
    plant(&etc, &[(b"own", Item::File(noise(2, 300_000)))]);
    machine.backup(&etc).expect(0);
    let mut new = support::files_below(&machine.repository.join("packs"));
    new.retain(|pack| !packs.contains(pack));
    (machine, new.into_iter().max_by_key(|pack| std::fs::metadata(pack).unwrap().len()).unwrap())
}

fn flip(pack: &PathBuf) {
    flip_at(pack, 1000);
}

fn flip_at(pack: &PathBuf, at: usize) {
    let mut bytes = std::fs::read(pack).unwrap();
    spoil_parity(&mut bytes);
    bytes[at] ^= 1;
    support::plant::set_mode(pack, 0o600);
    std::fs::write(pack, bytes).unwrap();
}

fn states(machine: &Machine) -> Vec<(String, bool)> {
    let list = machine.run(["snapshots", "--json"]).expect(0).json();
    let one = |one: &serde_json::Value| (one["state"].as_str().unwrap().to_owned(), one["damage_found"].is_string());
    list["snapshots"].as_array().unwrap().iter().map(one).collect()
}

fn state(state: &str, damage_found: bool) -> (String, bool) {
    (state.to_owned(), damage_found)
}

#[test]
fn a_list_says_which_snapshots_are_damaged() {
    let (machine, pack) = machine();
    flip(&pack);
    machine.run(["check", "--data", "all"]).expect(4).prints("own");
    let list = machine.run(["snapshots"]).expect(0).stdout;
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[1].ends_with("  ok") && lines[2].ends_with("  damaged"), "{list}");
    assert_eq!(states(&machine), [state("ok", false), state("damaged", true)]);
    machine.run(["show", "latest"]).expect(0).prints("state     damaged, as a check found on ");
    let said = "\n  damaged, as a check found on ";
    machine.run(["restore", "latest"]).expect(0).prints(said).prints("larder check names what is lost");
    machine.run(["restore", "latest", "own", "-n", "--to", "/nowhere"]).expect(0).prints(said);
    let plan = machine.run(["restore", "latest", "--json"]).expect(0).json();
    assert!(plan["state"] == "damaged" && plan["damage_found"].is_string(), "{plan}");
    let run = machine.run(["restore", "latest~1"]).expect(0);
    assert!(!run.stdout.contains("damaged"), "{}", run.stdout);
    machine.run(["pin", "latest"]).expect(0);
    machine.run(["snapshots"]).expect(0).prints("damaged, pinned");
    // A drill that fails adds nothing; one that gets all of it back is as good as a check.
    machine.run(["drill", "latest"]).expect(4);
    machine.run(["snapshots"]).expect(0).prints("damaged, pinned");
    flip(&pack);
    machine.run(["drill", "latest"]).expect(0);
    machine.run(["snapshots"]).expect(0).prints("proven ");
    machine.run(["check"]).expect(0);
    assert_eq!(states(&machine), [state("ok", false), state("ok", false)]);
}

#[test]
fn a_damaged_snapshot_takes_no_place_and_protects_nothing() {
    let (machine, pack) = machine();
    flip(&pack);
    machine.run(["check", "--data", "all"]).expect(4);
    let plan = machine.run(["forget", "-n", "--keep-last", "1", "--json"]).expect(0).json();
    let decided = plan["snapshots"].as_array().unwrap();
    assert!(
        decided.iter().all(|one| one["keep"] == true),
        "the whole one is the last, the damaged one stays beside it"
    );
    assert_eq!((&decided[0]["flaw"], &decided[1]["flaw"]), (&serde_json::Value::Null, &"damaged".into()));
    machine.run(["forget", "-n", "--keep-last", "1"]).expect(0).prints("(damaged: takes no place)");
    machine.run(["forget", "latest~1"]).expect(1).says("it is the newest whole one of etc");
    // A prune stops at what it cannot read, and says what to do; that can be done.
    std::fs::remove_file(&pack).unwrap();
    machine.run(["prune"]).expect(4).says("forget the snapshots that it names");
    machine.run(["forget", "latest"]).expect(0);
    machine.run(["prune", "--no-trash"]).expect(0);
    machine.run(["check", "--data", "all"]).expect(0);
}

#[test]
fn the_last_of_a_series_may_go_once_a_check_has_found_it_damaged() {
    let (machine, pack) = machine();
    machine.run(["forget", "latest~1"]).expect(0);
    std::fs::remove_file(&pack).unwrap();
    machine.run(["forget", "latest"]).expect(1).says("it is the newest whole one of etc");
    machine.run(["check"]).expect(4);
    machine.run(["forget", "latest"]).expect(0);
}

#[test]
fn a_file_of_several_snapshots_is_told_once() {
    let (machine, pack) = machine();
    plant(&machine.place("etc"), &[(b"more", Item::File(vec![1]))]);
    machine.backup(&machine.place("etc")).expect(0);
    flip(&pack);
    let run = machine.run(["check", "--data", "all"]).expect(4).prints("\n             etc/own in all 2\n");
    run.prints("             takes 2 entries from 2 snapshots: ").prints("`larder forget` of all snapshots that lose");
    let told = machine.run(["check", "--json"]).expect(4);
    let line = told.stdout.lines().find(|line| line.contains(r#""type":"damage""#)).unwrap();
    let damage: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(damage["snapshots"].as_array().unwrap().len() == 2 && damage["snapshots"][0]["entries"] == 1, "{damage}");
}

#[test]
fn a_damaged_snapshot_that_was_forgotten_comes_back() {
    let (machine, pack) = machine();
    flip(&pack);
    machine.run(["check", "--data", "all"]).expect(4);
    machine.run(["forget", "latest"]).expect(0);
    machine.run(["undelete", "latest"]).expect(0).says("comes back as it was, damaged").says("`larder restore` gives");
    assert_eq!(states(&machine), [state("ok", false), state("damaged", true)]);
    machine.run(["check"]).expect(4).prints("etc/own");
    let to = machine.place("back");
    machine.run(["restore", "latest", "same", "--to", to.to_str().unwrap()]).expect(0);
    assert_eq!(support::files_below(&to).len(), 1);
}

#[test]
fn who_meets_a_damage_record_that_cannot_be_read_says_what_helps() {
    let (machine, pack) = machine();
    flip(&pack);
    machine.run(["check", "--data", "all"]).expect(4);
    let records = support::files_below(&machine.repository.join("damage"));
    std::fs::write(&records[0], b"no record").unwrap();
    let fix = format!("delete {}", records[0].strip_prefix(&machine.repository).unwrap().display());
    for run in [machine.backup(&machine.place("etc")), machine.run(["prune"])] {
        run.expect(4).says(&fix).says("larder check --data all");
    }
    std::fs::remove_file(&records[0]).unwrap();
    machine.run(["check", "--data", "all"]).expect(4).prints("etc/own");
    machine.backup(&machine.place("etc")).expect(0);
}

#[test]
fn damage_that_no_snapshot_needs_is_told_until_it_is_removed_and_is_no_alarm() {
    let (machine, pack) = machine();
    std::fs::remove_file(machine.place("etc").join("own")).unwrap();
    machine.backup(&machine.place("etc")).expect(0);
    machine.run(["forget", "latest~1"]).expect(0);
    flip(&pack);
    for args in [&["check", "--data", "all"][..], &["check"], &["-q", "check"]] {
        machine.run(args).expect(0).prints("spare      1 pack is damaged, but no snapshot loses anything by it");
    }
    assert_eq!(machine.run(["check", "--json"]).expect(0).stdout.matches(r#""packs_spare":1"#).count(), 1);
    machine.run(["prune"]).expect(0);
    let run = machine.run(["check", "--data", "all"]).expect(0).prints("healthy");
    assert!(!run.stdout.contains("spare"), "{}", run.stdout);
}

#[test]
fn who_may_not_write_is_told_that_the_list_will_not_know() {
    let (machine, pack) = machine();
    machine.give_to_nobody();
    std::fs::remove_file(&pack).unwrap();
    support::plant::set_mode(&machine.repository.join("sessions"), 0o500);
    machine.run_as_nobody(["check"]).expect(4).says("could not be recorded");
}
