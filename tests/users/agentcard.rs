//! AgentCard: two databases, production and test, each with a policy of its own.

use super::text;
use crate::support::past::Past;
use crate::support::plant::{Item, plant};
use crate::support::program::Machine;

fn deployed() -> Machine {
    let machine = Machine::new();
    for name in ["agentcard_prod", "agentcard_test"] {
        plant(&machine.place(name), &[(b"dump.sql", Item::File(name.as_bytes().to_vec()))]);
        machine.run(["backup", text(&machine.place(name))]).expect(0);
    }
    machine
}

/// AC1: seven of the one and four of the other, also when the host was renamed in between.
#[test]
fn each_series_has_its_own_policy_whatever_host_it_came_from() {
    let machine = deployed();
    let past = Past::of(&machine);
    let host = |days: i64| if days > 5 { b"old-host".to_vec() } else { b"new-host".to_vec() };
    for days in 1..12 {
        past.take("agentcard_prod", days * 24 * 60, |summary| summary.client = host(days));
    }
    for weeks in 1..8 {
        past.take("agentcard_test", weeks * 7 * 24 * 60, |summary| summary.client = host(weeks * 7));
    }
    let count = |name: &str| {
        let json = machine.run(["snapshots", "--source", name, "--json"]).expect(0).json();
        json["snapshots"].as_array().unwrap().len()
    };
    assert_eq!((count("agentcard_prod"), count("agentcard_test")), (12, 8));
    machine.run(["forget", "--source", "agentcard_prod", "--keep-last", "7"]).expect(0);
    assert_eq!((count("agentcard_prod"), count("agentcard_test")), (7, 8), "the other one is left alone");
    machine.run(["forget", "--source", "agentcard_test", "--keep-weekly", "4"]).expect(0);
    assert_eq!((count("agentcard_prod"), count("agentcard_test")), (7, 4));
    // Said as days, it is the same.
    machine.run(["forget", "--source", "agentcard_prod", "--keep-daily", "7"]).expect(0).prints("nothing to forget");
    machine.backup(&machine.place("agentcard_prod")).expect(0);
    machine.run(["forget", "--source", "agentcard_prod", "--keep-last", "7"]).expect(0).prints("forgot 1 snapshot;");
}

/// AC12: the last good one is not to be had.
#[test]
fn the_last_good_one_of_a_series_is_not_forgotten() {
    let machine = deployed();
    let past = Past::of(&machine);
    let newest = machine.run(["snapshots", "--source", "agentcard_prod", "--json"]).expect(0).json();
    let newest = newest["snapshots"][0]["id"].as_str().unwrap()[..8].to_owned();
    let refused =
        || machine.run(["forget", &newest, "--force"]).expect(1).says("it is the newest whole one of agentcard_prod");
    refused();
    let partial = past.take("agentcard_prod", -1, |summary| {
        summary.state = larder::record::State::Partial;
        summary.time.seconds -= 120;
    });
    refused();
    let older = past.take("agentcard_prod", 60, |_| ());
    machine.run(["forget", &older.short(), &newest, "--force"]).expect(1).says("nothing was changed");
    machine.run(["show", &older.short()]).expect(0);
    machine.run(["forget", &older.short(), &partial.short(), "--force"]).expect(0).prints("forgot 2 snapshots");
    machine.run(["restore", "latest:agentcard_prod", "--to", text(&machine.place("to"))]).expect(0);
}
