//! What is given back, and what is said of it.

use std::io::{BufRead, BufReader, Read};

use larder::record::SessionRecord;
use larder::repo::Session;

use crate::support::past::Past;
use crate::support::plant::{Item, noise, plant};
use crate::support::program::{Machine, wait_until};
use crate::support::tree::{assert_same, look};
use crate::support::{self};

fn stored(machine: &Machine) -> u64 {
    support::files_below(&machine.repository).iter().map(|file| std::fs::metadata(file).unwrap().len()).sum()
}

/// A machine with three snapshots, of which each holds a megabyte of its own.
fn machine() -> Machine {
    let machine = Machine::new();
    let source = machine.place("etc");
    for n in 0..3 {
        plant(&source, &[(b"own", Item::File(noise(n, 1_000_000))), (b"same", Item::File(noise(9, 300_000)))]);
        machine.backup(&source).expect(0);
    }
    machine
}

#[test]
fn space_comes_back_at_once_or_by_way_of_the_trash() {
    let machine = machine();
    machine.run(["prune", "-n"]).expect(0).prints("0 packs of which nothing is needed").prints("nothing was changed");
    machine.run(["forget", "--keep-last", "1"]).expect(0);
    let full = stored(&machine);
    machine.run(["prune", "-n", "--max-unused", "0%"]).expect(0).prints("for 1 snapshot").prints("dry run");
    assert_eq!(stored(&machine), full);
    machine
        .run(["prune", "--max-unused", "0%"])
        .expect(0)
        .prints("they lie in the trash, for larder undelete; the first prune after 2 days");
    assert!(stored(&machine) >= full);
    machine.run(["prune"]).expect(0).prints("nothing to remove").prints("trash");
    // What only the trash holds comes back as well, and goes again.
    let forgotten = machine.run(["undelete", "--json"]).expect(0).json()["snapshots"][0]["id"].clone();
    machine.run(["undelete", forgotten.as_str().unwrap()]).expect(0);
    machine.run(["check", "--data", "all"]).expect(0);
    let back = machine.place("back");
    machine.restore(forgotten.as_str().unwrap(), &back).expect(0);
    assert_eq!(std::fs::read(back.join("own")).unwrap(), noise(0, 1_000_000));
    machine.run(["forget", forgotten.as_str().unwrap()]).expect(0);
    let json = machine.run(["prune", "--no-trash", "--json"]).expect(0).json();
    assert!(json["applied"] == true && json["result"]["emptied_bytes"].as_u64().unwrap() > 2_000_000, "{json}");
    assert!(stored(&machine) < full - 1_900_000, "{full} -> {}", stored(&machine));
    let to = machine.place("to");
    machine.restore("latest", &to).expect(0);
    assert_same(&look(&machine.place("etc")), &look(&to), "what stays");
    machine.run(["check", "--data", "all"]).expect(0);
    machine.run(["undelete"]).expect(0).prints("the trash holds no snapshot");
}

#[test]
fn forget_prunes_as_well_if_it_is_told_to() {
    let machine = machine();
    let full = stored(&machine);
    let run = machine.run(["forget", "--keep-last", "1", "--prune", "--no-trash"]).expect(0);
    run.prints("forgot 2 snapshots").prints("removed ");
    assert!(stored(&machine) < full - 1_900_000, "{full} -> {}", stored(&machine));
    machine.run(["undelete"]).expect(0).prints("the trash holds no snapshot");
    machine.run(["prune", "--no-trash", "--grace", "1h"]).expect(2);
    machine.run(["prune", "--max-unused", "x"]).expect(2);
    machine.run(["check", "--data", "all"]).expect(0);
}

#[test]
fn a_dry_run_of_forget_and_prune_says_what_the_prune_would_do_then() {
    let machine = machine();
    let files = support::files_below(&machine.repository);
    let run = machine.run(["forget", "-n", "--keep-last", "1", "--prune"]).expect(0);
    let run = run.prints("etc: 3 snapshots, 2 would go").prints("for 1 snapshot\n").prints("free       about ");
    assert!(run.stdout.ends_with("\ndry run: nothing was changed\n"), "{}", run.stdout);
    assert_eq!(run.stdout.matches("nothing was changed").count(), 1, "{}", run.stdout);
    let plans = machine.run(["forget", "-n", "--keep-last", "1", "--prune", "--json"]).expect(0);
    assert!(plans.stdout.lines().count() == 2 && plans.json()["applied"] == false, "{plans:?}");
    // The two megabytes, and with them parity and what each pack and index object takes of its own.
    assert!((2_000_000..2_200_000).contains(&plans.json()["free_bytes"].as_u64().unwrap()), "{plans:?}");
    assert_eq!(support::files_below(&machine.repository), files);
    machine.run(["forget", "--keep-last", "1"]).expect(0);
    let plan = machine.run(["prune", "-n", "--json"]).expect(0).json();
    assert_eq!(plans.json(), plan, "as it is once they have been forgotten");
}

#[test]
fn who_waits_says_for_whom_and_how_long() {
    let machine = machine();
    machine.run(["forget", "--keep-last", "1"]).expect(0);
    let past = Past::of(&machine);
    let record = SessionRecord {
        process: 4711,
        user: b"ro\x1bot".to_vec(),
        client: b"host".to_vec(),
        ..SessionRecord::default()
    };
    let waits = |args: &[&str]| {
        let session = Session::begin(&past.repository, &record).unwrap();
        let mut child = machine.command(args).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        if !args.contains(&"-q") {
            lines.read_line(&mut first).unwrap();
        } else {
            wait_until("it is announced", || support::files_below(&machine.repository.join("tombs")).len() == 1);
            // Long enough for it to say what it must not.
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        session.end(Vec::new()).unwrap();
        assert!(child.wait().unwrap().success());
        lines.read_to_string(&mut first).unwrap();
        first
    };
    let said = waits(&["prune", "--max-repack", "1B"]);
    assert!(
        said.starts_with("waiting for another run to end, for as long as they are at work: process 4711 of "),
        "{said}"
    );
    assert!(said.contains("of ro\\x1bot on host, begun ") && said.lines().count() == 1, "{said}");
    machine.run(["undelete", "latest"]).expect(0);
    machine.run(["forget", "latest~1"]).expect(0);
    assert_eq!(waits(&["prune", "-q"]), "");
}

#[test]
fn a_snapshot_that_cannot_be_read_stops_it() {
    let machine = machine();
    machine.run(["forget", "latest~2"]).expect(0);
    let snapshot = support::files_below(&machine.repository.join("snapshots")).remove(0);
    std::fs::write(&snapshot, b"noise").unwrap();
    let packs = support::files_below(&machine.repository.join("packs"));
    machine.run(["prune", "--no-trash"]).expect(4).says("nothing was removed: what snapshot");
    assert_eq!(support::files_below(&machine.repository.join("packs")), packs);
    assert_eq!(support::files_below(&machine.repository.join("tombs")).len(), 0);
}

#[test]
fn a_snapshot_that_is_gone_stops_it_until_somebody_says_that_it_is_not_missed() {
    let machine = machine();
    let gone = support::files_below(&machine.repository.join("snapshots")).remove(0);
    std::fs::remove_file(&gone).unwrap();
    let packs = support::files_below(&machine.repository.join("packs"));
    let id = gone.file_name().unwrap().to_str().unwrap()[..8].to_owned();
    for args in [&["prune", "-n"][..], &["prune", "--no-trash"], &["forget", "--keep-last", "3", "--prune"]] {
        machine.run(args).expect(4).says(&format!("nothing was removed: snapshot {id} is gone")).says("larder forget");
    }
    assert_eq!(support::files_below(&machine.repository.join("packs")), packs);
    machine.run(["forget", &id]).expect(0);
    machine.run(["prune", "--no-trash"]).expect(0);
    machine.run(["check", "--data", "all"]).expect(0);
}

#[test]
fn what_is_lost_stops_it_before_anything_is_deleted() {
    let machine = machine();
    let old = machine.place("old");
    plant(&old, &[(b"own", Item::File(noise(7, 700_000)))]);
    machine.backup(&old).expect(0);
    machine.run(["forget", "latest~1:etc", "latest~2:etc"]).expect(0);
    // The newest packs are those of the last backup.
    let mut packs = support::files_below(&machine.repository.join("packs"));
    packs.sort_by_key(|pack| std::fs::metadata(pack).unwrap().modified().unwrap());
    let lost = packs.iter().rev().find(|pack| std::fs::metadata(pack).unwrap().len() > 300_000).unwrap();
    let away = machine.place("away");
    std::fs::rename(lost, &away).unwrap();
    for args in [&["prune", "-n"][..], &["prune", "--no-trash"], &["prune", "--grace", "1s"]] {
        machine.run(args).expect(4).says("nothing was removed: ");
    }
    let trash = machine.run(["undelete", "--json"]).expect(0).json();
    assert_eq!(trash["snapshots"].as_array().unwrap().len(), 2);
    // Where it is lost for good, what a drill could not get back may go, though it is the last of its series.
    machine.run(["forget", "latest:old"]).expect(1);
    machine.run(["drill", "latest:old"]).expect(4);
    machine.run(["forget", "latest:old"]).expect(0);
    machine.run(["prune", "--no-trash"]).expect(0).prints("3 forgotten snapshots cannot be brought back any more");
    machine.run(["undelete", &"0".repeat(8)]).expect(1);
    machine.run(["check", "--data", "all"]).expect(0);
}
