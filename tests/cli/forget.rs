//! What goes, what stays, and how it comes back.

use larder::record::State;
use serde_json::Value;

use super::text;
use crate::support::past::Past;
use crate::support::plant::{Item, noise, plant};
use crate::support::program::{Machine, Run};

/// A machine with a snapshot of a small source `etc`.
fn machine() -> Machine {
    let machine = Machine::new();
    plant(&machine.place("etc"), &[(b"hosts", Item::File(noise(1, 300_000)))]);
    machine.backup(&machine.place("etc")).expect(0);
    machine
}

fn forget(machine: &Machine, line: &str) -> Run {
    machine.run(["forget"].into_iter().chain(line.split_whitespace()))
}

fn ids(machine: &Machine) -> Vec<String> {
    let json = machine.run(["snapshots", "--json"]).expect(0).json();
    let ids = json["snapshots"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
    ids.collect()
}

fn kept(plan: &Value) -> Vec<bool> {
    plan["snapshots"].as_array().unwrap().iter().map(|one| one["keep"].as_bool().unwrap()).collect()
}

#[test]
fn a_plan_says_what_and_why_and_changes_nothing() {
    let machine = machine();
    let nights = Past::of(&machine).nights("etc", [1, 2, 9, 10, 11, 12, 13]);
    let run = forget(&machine, "-n --keep-daily 2 --keep-weekly 1").expect(0);
    let run = run.prints("daily 1/2").prints("newest, ").prints("past 2 daily").prints("dry run: nothing was changed");
    assert!(run.stdout.contains(&format!("remove  {}", nights[2].short())), "{}", run.stdout);
    assert!(run.stdout.contains("etc: 8 snapshots, 6 would go, 2 stay, the oldest of "), "{}", run.stdout);
    assert!(run.stdout.contains("needed by no snapshot") && run.stderr.contains("--force"), "{run:?}");
    assert_eq!(ids(&machine).len(), 8);
    assert!(!machine.repository.join("trash").exists() && !machine.repository.join("notes").exists());
}

#[test]
fn of_several_sources_each_series_says_what_it_needs() {
    let machine = machine();
    plant(&machine.place("www"), &[(b"index", Item::File(b"www".to_vec()))]);
    machine.run(["backup", text(&machine.place("etc")), text(&machine.place("www"))]).expect(0);
    let past = Past::of(&machine);
    let both = past.take("www", 60, |_| ());
    past.take("www", 120, |_| ());
    machine.backup(&machine.place("etc")).expect(0);
    let run = forget(&machine, "-n --keep-last 2").expect(0);
    let line = |id: &str| run.stdout.lines().find(|line| line.contains(id)).unwrap().to_owned();
    assert!(line(&both.short()).ends_with("last 2/2 in www"), "{}", run.stdout);
    assert!(run.stdout.contains("etc www  past the last 2\n"), "{}", run.stdout);
    let run = forget(&machine, "-n --keep-last 1 --source etc").expect(0);
    assert!(run.stdout.contains("holds www as well") && !run.stdout.contains("www: "), "{}", run.stdout);
}

#[test]
fn what_is_forgotten_comes_back_and_is_not_missed() {
    let machine = machine();
    let nights = Past::of(&machine).nights("etc", 1..=7);
    machine.run(["note", &nights[0].short(), "a good night"]).expect(0);
    forget(&machine, "--keep-last 1").expect(1).says("7 of the 8 snapshots of etc would go at once").says("--force");
    let refused = forget(&machine, "--keep-last 1 --json").expect(1);
    assert!(refused.stdout.contains("\"type\":\"forget\",\"applied\":false,\"needs_force\":true"), "{refused:?}");
    assert!(refused.json()["type"] == "error");
    // A plan is no failure, but who reads it learns what the run would need.
    forget(&machine, "-n --keep-last 1").expect(0).says("would go at once: without -n that is refused, unless --force");
    let plan = forget(&machine, "-n --keep-last 1 --json").expect(0);
    assert!(plan.json()["needs_force"] == true && plan.stdout.starts_with("{\"v\":1,\"type\":\"warning\""), "{plan:?}");
    let forced = forget(&machine, "-n --keep-last 1 --force --json").expect(0);
    assert!(forced.json()["needs_force"] == false && forced.stdout.lines().count() == 1, "{forced:?}");
    assert_eq!(ids(&machine).len(), 8);
    forget(&machine, "--keep-last 1 --force").expect(0).prints("forgot 7 snapshots");
    assert_eq!(ids(&machine).len(), 1);
    let check = machine.run(["check", "--data", "all"]).expect(0);
    assert!(!check.stderr.contains("gone") && !machine.run(["snapshots"]).expect(0).stderr.contains("gone"));
    machine.run(["undelete"]).expect(0).prints(&nights[0].short()).prints("a good night").prints("FORGOTTEN");
    // With one series there, what stands behind the colon could be a path in it, which makes no sense here.
    let unknown = machine.run(["undelete", "latest:nosuch"]).expect(1);
    unknown.says("no snapshot holds a source 'nosuch' in the trash").says("larder undelete");
    machine.run(["undelete", "latest:etc/hosts"]).expect(2).says("a whole snapshot is meant");
    machine.run(["undelete", &format!("{}:nosuch", nights[0])]).expect(1).says("has no source 'nosuch'");
    machine.run(["pin", "latest:nosuch"]).expect(1).says("no snapshot holds a source 'nosuch'");
    machine.run(["undelete", "latest"]).expect(0).prints(&format!("snapshot {} is back", nights[0].short()));
    machine.run(["undelete", &nights[0].short()]).expect(1).says("larder undelete");
    machine.run(["snapshots"]).expect(0).prints("a good night");
    let to = machine.place("to");
    machine.restore(&nights[0].short(), &to).expect(0);
    assert_eq!(std::fs::read(to.join("hosts")).unwrap(), noise(1, 300_000));
    let trash = machine.run(["undelete", "--json"]).expect(0).json();
    assert!(trash["snapshots"].as_array().unwrap().len() == 6 && trash["snapshots"][0]["forgotten"].is_string());
    forget(&machine, "--keep-last 1 -q").expect(0);
    forget(&machine, "--keep-last 1").expect(0).prints("nothing to forget");
}

#[test]
fn what_has_been_taken_away_otherwise_is_missed_still() {
    let machine = machine();
    let night = Past::of(&machine).nights("etc", [1]).remove(0);
    std::fs::remove_file(machine.repository.join(format!("snapshots/{night}"))).unwrap();
    machine.run(["snapshots"]).expect(4).says("is gone");
    machine.run(["check"]).expect(4).prints("is gone");
}

/// As when two runs meet, of which one forgets it and the other brings it back, or when the note is lost that says so.
#[test]
fn what_lies_in_the_trash_and_nobody_has_forgotten_is_told_so_and_comes_back() {
    let machine = machine();
    let night = Past::of(&machine).nights("etc", [1]).remove(0);
    let trash = machine.repository.join("trash/snapshots");
    std::fs::create_dir_all(&trash).unwrap();
    let name = night.to_string();
    std::fs::rename(machine.repository.join("snapshots").join(&name), trash.join(&name)).unwrap();
    machine
        .run(["check"])
        .expect(4)
        .prints("lies in the trash")
        .prints(&format!("`larder undelete {}`", night.short()));
    machine.run(["prune"]).expect(4).says("lies in the trash").says(&format!("larder undelete {}", night.short()));
    machine.run(["undelete", &night.short()]).expect(0);
    machine.run(["check"]).expect(0);
}

#[test]
fn pins_tags_and_notes_can_be_changed_and_are_shown() {
    let machine = machine();
    let night = Past::of(&machine).take("etc", 60, |summary| summary.tags = vec![b"nightly".to_vec()]).short();
    machine.run(["pin", &night]).expect(0).prints(&format!("snapshot {night} is pinned\n"));
    machine.run(["pin", &night]).expect(0).prints("nothing changed: snapshot ");
    machine.run(["note", "latest~1:etc", "before v2"]).expect(0).prints("has the note: before v2");
    machine.run(["tag", &night, "+release", "-nightly", "+a b"]).expect(0).prints("has the tags release, a b");
    machine.run(["tag", &night, "--", "-q", "-vip"]).expect(0).prints("nothing changed: snapshot ");
    machine.run(["snapshots"]).expect(0).prints("ok, pinned  release a b  before v2");
    machine.run(["show", &night]).expect(0).prints("pinned    yes").prints("tags      release a b");
    let found = machine.run(["snapshots", "--tag", "release", "--json"]).expect(0).json();
    let one = &found["snapshots"][0];
    assert_eq!(
        (&one["pinned"], &one["note"], one["tags"].to_string()),
        (&true.into(), &"before v2".into(), "[\"release\",\"a b\"]".into())
    );
    let said = machine.run(["--json", "unpin", &night]).expect(0).json();
    assert_eq!((&said["type"], &said["pinned"], &said["changed"]), (&"remark".into(), &false.into(), &true.into()));
    machine.run(["note", &night, ""]).expect(0).prints("has no note");
    machine.run(["snapshots", "--tag", "nightly"]).expect(1);
    machine.run(["tag", &night, "release"]).expect(2).says("neither + nor -");
    machine.run(["tag", &night, "+a", "--json"]).expect(2).says("options stand before the address");
    machine.run(["pin", "ffff"]).expect(1);
    machine.run(["pin", &format!("{night}:etc/hosts")]).expect(2).says("a whole snapshot is meant");
}

#[test]
fn what_another_machine_says_counts_here_though_its_clock_is_wrong() {
    let machine = machine();
    let other = machine.second();
    other.run(["pin", "latest"]).expect(0);
    // Written by a clock that is years ahead.
    let past = Past::of(&machine);
    let id = past.take("etc", 600, |_| ());
    let session = larder::repo::Session::begin(&past.repository, &larder::record::SessionRecord::default()).unwrap();
    let ahead = larder::entry::Time { seconds: 9_000_000_000, nanos: 0 };
    let remark = larder::record::Remark { is_pinned: Some(true), ..larder::record::Remark::of(id, ahead) };
    let note = larder::record::Note { remarks: vec![remark], ..larder::record::Note::default() };
    session.put(larder::repo::Folder::Notes, &[(larder::crypto::Audience::Summary, &note.encode())]).unwrap();
    machine.run(["forget", &id.short()]).expect(1).says("it is pinned").says("larder unpin");
    machine.run(["unpin", &id.short()]).expect(0);
    other.run(["forget", &id.short()]).expect(0).prints("forgot 1 snapshot;");
    machine.run(["snapshots", "--json"]).expect(0).prints("\"pinned\":true");
}

#[test]
fn rules_or_names_must_be_given_and_make_sense() {
    let machine = machine();
    forget(&machine, "").expect(2).says("nothing says what to keep");
    forget(&machine, "--min 3").expect(2).says("nothing says what to keep");
    forget(&machine, "--keep-last 2 --no-trash").expect(2).says("add --prune");
    forget(&machine, "latest --source etc").expect(2).says("without --source");
    forget(&machine, "latest --keep-last 2").expect(2).says("either the one or the other");
    forget(&machine, "--keep-last 0").expect(2);
    forget(&machine, "--keep-within 3m").expect(2).says("36h");
    forget(&machine, "--keep-last 1 --source nope").expect(1).says("the sources are: etc");
    forget(&machine, "--keep-tag relaese").expect(1).says("no snapshot has the tag relaese");
    forget(&machine, "--keep-last 1 --keep-tag relaese").expect(0);
    machine.run(["tag", "latest", "+release"]).expect(0);
    Past::of(&machine).nights("etc", [1]);
    let run = forget(&machine, "-n --keep-tag release").expect(0);
    assert!(run.stdout.contains("no rule keeps it") && !run.stdout.contains("named"), "{run:?}");
    forget(&machine, "abcd").expect(1).says("no snapshot abcd");
    machine.run(["forget", "latest:etc/hosts"]).expect(2);
}

#[test]
fn partial_unconfirmed_damaged_and_future_ones_push_nothing_out() {
    let machine = machine();
    let past = Past::of(&machine);
    past.nights("etc", [3]);
    let partial = past.take("etc", 24 * 60, |summary| summary.state = State::Partial);
    let future = past.take("etc", -48 * 60, |_| ());
    let damaged = past.nights("etc", [2]).remove(0);
    std::fs::write(machine.repository.join(format!("snapshots/{damaged}")), b"noise").unwrap();
    let plan = forget(&machine, "-n --keep-daily 2 --json").expect(4).json();
    assert_eq!(kept(&plan), [true, true, true, true]);
    assert_eq!(plan["snapshots"][1]["flaw"], "partial");
    assert_eq!(plan["snapshots"][1]["id"], partial.to_hex());
    assert_eq!(
        (&plan["snapshots"][3]["id"], &plan["snapshots"][3]["reasons"][0]["rule"]),
        (&future.to_hex().into(), &"future".into())
    );
    assert_eq!((&plan["damaged"][0]["id"], &plan["damaged"][0]["keep"]), (&damaged.to_hex().into(), &true.into()));
    let run = forget(&machine, "--keep-daily 1 --force").expect(4).says("is damaged, takes no place and stays");
    assert!(run.stdout.contains("forgot 2 snapshots"), "{run:?}");
    machine.run(["forget", &damaged.short()]).expect(0);
    machine.run(["snapshots"]).expect(0);
}

#[test]
fn nothing_is_forgotten_while_a_note_cannot_be_read() {
    let machine = machine();
    let night = Past::of(&machine).nights("etc", [1]).remove(0).short();
    machine.run(["pin", &night]).expect(0);
    let note = std::fs::read_dir(machine.repository.join("notes")).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&note).unwrap();
    std::fs::write(&note, &bytes[1..]).unwrap();
    forget(&machine, "--keep-last 1 --force")
        .expect(4)
        .says("it may pin a snapshot")
        .says(note.file_name().unwrap().to_str().unwrap());
    // Nor does a list look as if there were no pin.
    machine.run(["snapshots"]).expect(4).says("pins, tags and notes that it keeps are not known");
    // Nor while it is gone, though nothing is there that could not be read.
    std::fs::remove_file(&note).unwrap();
    forget(&machine, "--keep-last 1 --force").expect(4).says("it may pin a snapshot").says(" is gone");
    machine.run(["snapshots"]).expect(4).says("pins, tags and notes that it keeps are not known");
    machine.run(["show", &night]).expect(4).says(" is gone");
    machine.run(["undelete"]).expect(4).says(" is gone");
    machine.run(["snapshots", "--tag", "t"]).expect(4).says("there is no snapshot with the tag t");
    // And not, either, where nobody can tell whether one is gone.
    let end = machine.repository.join("sessions").join(named_by(&machine, &note));
    let whole = std::fs::read(&end).unwrap();
    std::fs::write(&end, &whole[1..]).unwrap();
    machine.run(["snapshots"]).expect(4).says("a snapshot or note of that run that is gone is not missed");
    machine.run(["restore", "latest"]).expect(4).says("a snapshot or note of that run that is gone is not missed");
    forget(&machine, "--keep-last 1 --force").expect(4).says("it may name a note that is gone");
    machine.run(["prune"]).expect(4).says("it may name a snapshot that is gone");
    std::fs::write(&end, whole).unwrap();
    std::fs::write(&note, bytes).unwrap();
    assert_eq!(ids(&machine).len(), 2);
    forget(&machine, "--keep-last 1 --force").expect(0).prints("nothing to forget");
}

/// The end that a check says to delete where this note is gone.
fn named_by(machine: &Machine, note: &std::path::Path) -> String {
    let found = machine.run(["check"]).expect(4).stdout;
    let (_, advice) = found.split_once(note.file_name().unwrap().to_str().unwrap()).unwrap();
    let (_, end) = advice.split_once("delete sessions/").unwrap();
    end.split_once(' ').unwrap().0.to_owned()
}

#[test]
fn a_repository_that_cannot_be_written_is_left_as_it_is() {
    let machine = machine();
    Past::of(&machine).nights("etc", [1]);
    machine.give_to_nobody();
    let folder = machine.repository.join("sessions");
    crate::support::plant::set_mode(&folder, 0o500);
    assert_ne!(machine.run_as_nobody(["forget", "--keep-last", "1"]).code, Some(0));
    assert_eq!(ids(&machine).len(), 2);
}

#[test]
fn a_calendar_shows_the_days_of_each_series() {
    let machine = machine();
    Past::of(&machine).nights("etc", [1, 2, 400]);
    let run = forget(&machine, "-n --keep-daily 2 --calendar").expect(0);
    let run =
        run.prints("etc\n         1   5    10").prints("# stays   P pinned   x goes   . none").prints("months without");
    assert!(!run.stdout.contains("ACTION"));
}

#[test]
fn names_from_a_snapshot_cannot_steer_the_terminal() {
    let machine = machine();
    Past::of(&machine).take("etc", 60, |summary| summary.tags = vec![b"\x1b[2J".to_vec()]);
    let run = machine.run(["forget", "-n", "--keep-tag", "\x1b[2J"]).expect(0);
    assert!(run.stdout.contains("tag \\x1b[2J") && !run.stdout.contains('\x1b'), "{}", run.stdout);
    machine.run(["note", text("latest".as_ref()), "\x1b]0;x\x07"]).expect(0).prints("\\x1b]0;x\\x07");
}
