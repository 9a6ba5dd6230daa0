//! What an address may mean, and what is told when it was not the first choice.

use std::fs;

use super::{machine_with_snapshot, text};
use crate::support::files_below;
use crate::support::plant::{Item, plant, set_mode};
use crate::support::program::Machine;

/// One source, which holds a path that is also the name of another source.
fn home_with_documents() -> Machine {
    let machine = Machine::new();
    let home = machine.place("home-of-anna");
    plant(&home, &[(b"documents/will", Item::File(b"old".to_vec()))]);
    machine.run(["backup", &format!("home={}", text(&home))]).expect(0);
    machine
}

fn backup_documents(machine: &Machine) -> String {
    let documents = machine.place("documents");
    plant(&documents, &[(b"will", Item::File(b"new".to_vec()))]);
    let run = machine.run(["backup", "--json", text(&documents)]).expect(0);
    run.json()["snapshot"].as_str().unwrap().to_owned()
}

fn damage_snapshot(machine: &Machine, id: &str) {
    let file = machine.repository.join("snapshots").join(id);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
}

/// The source `documents` was asked for, its only snapshot was damaged, and a folder of that name in another source was
/// given instead, with exit code 0.
#[test]
fn a_path_is_never_taken_for_a_source_that_may_have_been_there() {
    let machine = home_with_documents();
    machine.run(["cat", "latest:documents/will"]).expect(0).prints("old");
    let id = backup_documents(&machine);
    machine.run(["cat", "latest:documents/will"]).expect(0).prints("new");
    damage_snapshot(&machine, &id);
    for command in ["cat", "restore", "ls", "diff"] {
        for address in ["latest:documents/will", "latest~0:documents/will", "@2099-01-01:documents/will"] {
            let run = machine.run([command, address]).expect(4);
            let run = run.says("no readable snapshot holds a source 'documents'").says("may hold it");
            assert!(run.stdout.is_empty(), "{run:?}");
        }
    }
    machine.run(["cat", "latest:home/documents/will"]).prints("old");
}

#[test]
fn where_there_are_several_sources_one_must_be_named() {
    let machine = home_with_documents();
    backup_documents(&machine);
    let id = machine.run(["snapshots", "--json"]).json()["snapshots"][0]["id"].as_str().unwrap().to_owned();
    for rest in ["letters", "will", "hom/documents"] {
        let run = machine.run(["ls", &format!("latest:{rest}")]).expect(1).says("no snapshot holds a source '");
        run.says("fix: write WHEN:SOURCE/PATH; the sources are: documents, home");
    }
    machine.run(["ls", &format!("{id}:documents")]).expect(0).prints("will");
    machine.run(["ls", "documents@2099-01-01"]).expect(0).prints("will");
}

/// A nightly `restore latest` gave back an old state for a week, and nobody read the warning.
#[test]
fn whoever_got_another_snapshot_than_the_newest_sees_it_by_the_exit_code() {
    let (machine, source) = machine_with_snapshot();
    let old = machine.run(["snapshots", "--json"]).json()["snapshots"][0]["id"].as_str().unwrap().to_owned();
    let run = machine.run(["backup", "--json", text(&source)]).expect(0);
    damage_snapshot(&machine, run.json()["snapshot"].as_str().unwrap());
    let to = machine.place("to");
    for when in ["latest", "@2099-01-01"] {
        machine.run(["show", when]).expect(4).says("was passed over").prints(&old);
        machine.run(["ls", when]).expect(4).says("was passed over").prints("empty");
        machine.run(["diff", when]).expect(4).says("was passed over");
        machine.run(["diff", &old, when]).expect(4).says("was passed over").prints("no difference");
        machine.run(["cat", &format!("{when}:source/deep/a/b/c/d/e")]).expect(4).prints("deep");
        machine.run(["restore", when]).expect(4).says("was passed over").prints("plan: ");
        machine.restore(when, &to).expect(4).prints("restored ");
        fs::remove_dir_all(&to).unwrap();
        let run = machine.run(["restore", when, "--json", "--to", text(&to)]).expect(4);
        assert_eq!(run.json()["exit_code"], 4);
        fs::remove_dir_all(&to).unwrap();
    }
    // Whoever names a snapshot gets what was asked for, and a backup is not worse for what it continues.
    machine.run(["ls", &old]).expect(0);
    machine.restore(&old, &to).expect(0);
    machine.backup(&source).expect(0);
}

/// A machine with a whole snapshot, then a partial one of the same source, and their ids.
fn partial_after_whole() -> (Machine, [String; 2]) {
    let (machine, source) = machine_with_snapshot();
    machine.give_to_nobody();
    set_mode(&source.join("folder 1"), 0);
    machine.run_as_nobody(["backup", "--adopt", text(&source)]).expect(3);
    let list = machine.run(["snapshots", "--json"]).json();
    let ids = [0, 1].map(|n| list["snapshots"][n]["id"].as_str().unwrap().to_owned());
    (machine, ids)
}

/// A diff said that a folder was removed, which nobody could read that night.
#[test]
fn a_partial_snapshot_is_not_used_unawares() {
    let (machine, [whole, partial]) = partial_after_whole();
    let id = &partial[..8];
    let warning = format!("snapshot {id} is partial: 1 entry could not be read as");
    machine.run(["restore", "latest"]).expect(0).says(&warning).says(&format!("`larder show {id}` tells\n"));
    machine.restore("latest", &machine.place("to")).expect(0).says(&warning);
    machine.run(["ls", "latest"]).expect(0).says(&warning);
    machine.run(["cat", "latest:source/deep/a/b/c/d/e"]).expect(0).says(&warning);
    let seems = "what seems added or removed may only have been unreadable";
    for diff in [vec!["diff", "latest"], vec!["diff", &whole, &partial], vec!["diff", &partial, &whole]] {
        let run = machine.run(diff).expect(0).says(&warning).says(seems);
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    }
    machine.run(["diff", &partial, &partial]).expect(0).says(&warning);
    let run = machine.run(["ls", "latest", "--json"]).expect(0);
    let first: serde_json::Value = serde_json::from_str(run.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((first["type"].as_str(), run.json()["type"].as_str()), (Some("warning"), Some("ls")));
    let run = machine.run(["ls", &whole]).expect(0);
    assert!(run.stderr.is_empty(), "{run:?}");
}

/// `ls --json` of a path that is not there printed `"entries":[` and the error behind it, on one line.
#[test]
fn a_list_of_what_is_not_there_is_an_error_and_nothing_else() {
    let (machine, _source) = machine_with_snapshot();
    for args in [
        vec!["ls", "latest:source/none"],
        vec!["ls", "-R", "latest:source/none"],
        vec!["ls", "latest:source/empty/none"],
        vec!["diff", "latest:source/none"],
        vec!["diff", "latest:source/none", "latest"],
        vec!["find", "none"],
        vec!["find", "empty", "--source", "none"],
        vec!["snapshots", "--source", "none"],
        vec!["snapshots", "--tag", "none"],
        vec!["show", "ffff"],
        vec!["restore", "latest:source", "none"],
        vec!["stats", "--snapshot", "ffff"],
    ] {
        let run = machine.run(args.iter().chain(&["--json"])).expect(1);
        assert_eq!((run.stdout.lines().count(), run.json()["type"].as_str()), (1, Some("error")), "{run:?}");
        let run = machine.run(&args).expect(1);
        assert!(run.stdout.is_empty(), "{run:?}");
    }
}

/// The heading said `etc ID -> ID`, though one side was another source.
#[test]
fn a_diff_of_two_sources_names_both() {
    let machine = home_with_documents();
    let id = backup_documents(&machine);
    let run = machine.run(["diff", "latest:home", "latest:documents"]).expect(0);
    let heading = run.stdout.lines().next().unwrap();
    let (old, new) = heading.split_once(" -> ").unwrap();
    assert!(old.contains(":home 20") && new.starts_with(&format!("{}:documents 20", &id[..8])), "{heading}");
    let run = machine.run(["diff", "latest:documents", "latest:documents"]).expect(0);
    assert!(run.stdout.starts_with("documents  "), "{run:?}");
}

#[test]
fn a_list_misses_a_snapshot_that_somebody_deleted() {
    let (machine, source) = machine_with_snapshot();
    let run = machine.run(["backup", "--json", text(&source)]).expect(0);
    let id = run.json()["snapshot"].as_str().unwrap().to_owned();
    fs::remove_file(machine.repository.join("snapshots").join(&id)).unwrap();
    let gone = format!("snapshot {} is gone", &id[..8]);
    for _ in 0..2 {
        machine.run(["snapshots"]).expect(4).says(&gone);
    }
    let run = machine.run(["snapshots", "--json"]).expect(4).prints(&gone);
    assert_eq!((run.stdout.lines().count(), run.json()["snapshots"].as_array().unwrap().len()), (2, 1));
    // Nobody gets the one before without knowing it.
    for command in [&["ls", "latest"][..], &["restore", "latest"], &["tag", "latest", "+checked"], &["show", "latest"]]
    {
        machine.run(command).expect(4).says(&gone);
    }
    // The end tells it alone.
    for file in files_below(&machine.repository.join("sessions")) {
        if file.extension().is_none() {
            fs::remove_file(file).unwrap();
        }
    }
    machine.run(["check"]).expect(4).prints("is gone, though the run that made it ended well");
}
