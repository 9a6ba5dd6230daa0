//! Vertex AR: a database job every six hours, full ones at night, and points that are kept before updates.

use super::text;
use crate::support::past::Past;
use crate::support::plant::{Item, plant};
use crate::support::program::Machine;

fn deployed() -> (Machine, Past) {
    let machine = Machine::new();
    plant(&machine.place("vertex"), &[(b"vertex.db", Item::File(b"a database".to_vec()))]);
    machine.backup(&machine.place("vertex")).expect(0);
    let past = Past::of(&machine);
    (machine, past)
}

/// VX3: seven snapshots of a job that runs every six hours are a day and a half, and whoever asks for seven is told.
#[test]
fn a_count_means_what_it_says_and_tells_how_far_it_reaches() {
    let (machine, past) = deployed();
    for runs in 1..40 {
        past.take("vertex", runs * 6 * 60, |_| ());
    }
    let run = machine.run(["forget", "-n", "--keep-last", "7"]).expect(0);
    run.prints("vertex: 40 snapshots, 33 would go, 7 stay, the oldest of ").prints("(36 h ago)");
    let plan = machine.run(["forget", "-n", "--keep-daily", "7", "--keep-weekly", "8", "--json"]).expect(0).json();
    let kept: Vec<_> = plan["snapshots"].as_array().unwrap().iter().filter(|one| one["keep"] == true).collect();
    let has = |rule: &str| {
        let of =
            |one: &&&serde_json::Value| one["reasons"].as_array().unwrap().iter().any(|reason| reason["rule"] == rule);
        kept.iter().filter(of).count()
    };
    // Ten days: seven of them, and the weeks that they lie in.
    assert_eq!(has("daily"), 7);
    assert!((2..=3).contains(&has("weekly")) && kept.len() <= 9, "{kept:#?}");
    assert!(plan["snapshots"].as_array().unwrap().iter().all(|one| !one["reasons"].as_array().unwrap().is_empty()));
}

/// VX13: what was pinned before an update is there until it is unpinned.
#[test]
fn a_point_before_an_update_is_kept_until_it_is_unpinned() {
    let (machine, past) = deployed();
    let said =
        machine.run(["backup", "--pin", "--note", "before v2", text(&machine.place("vertex")), "--json"]).expect(0);
    let pinned = said.json()["snapshot"].as_str().unwrap()[..8].to_owned();
    machine.run(["snapshots"]).expect(0).prints("ok, pinned  before v2");
    past.nights("vertex", [1, 2, 3]);
    std::thread::sleep(std::time::Duration::from_millis(5));
    machine.backup(&machine.place("vertex")).expect(0);
    let forget = || machine.run(["forget", "--keep-last", "1", "--force"]).expect(0);
    forget();
    machine.run(["snapshots"]).expect(0).prints(&pinned).prints("before v2");
    machine.run(["forget", &pinned]).expect(1).says("it is pinned").says(&format!("larder unpin {pinned}"));
    machine.run(["unpin", &pinned]).expect(0);
    forget().prints(&pinned);
    let left = machine.run(["snapshots", "--json"]).expect(0).json();
    assert_eq!(left["snapshots"].as_array().unwrap().len(), 1);
}
