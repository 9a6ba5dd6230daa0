//! The protocol by which backups, prunes and checks share a repository, as a model of which every history is looked
//! at: docs/concurrency.md says it in words. Where this and the program disagree, this is right.
//!
//! Two chunks, each stored whole or as a delta against the other; packs, tombs, sessions and snapshots as sets; a step is
//! one listing or one object put. Sessions expire, snapshots are forgotten, the power is cut, and anybody stops for
//! ever, at any time.
//!
//! `LARDER_FULL=1` looks at the large histories, too. `LARDER_RENEW=1 cargo test --test main protocol -- --nocapture`
//! does that, writes the table anew, and prints how each loss comes about.

mod backup;
mod check;
mod flaws;
mod model;
mod prune;
mod search;
mod state;
mod table;

use std::fs;
use std::time::Instant;

use rayon::prelude::*;

use model::Model;
use search::{Outcome, search};
use state::{A, A_BY_B, B, B_BY_A};
use table::{Row, rows, table};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/concurrency.md");
const BEGIN: &str = "<!-- model -->\n";
const END: &str = "<!-- end of model -->\n";

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}

/// What came of a row must be what was expected, and "no loss" must not come of nothing ever being done.
fn judge(row: &Row, outcome: &Outcome) {
    let name = format!("{:?}: {}", row.flaw, row.history());
    match &outcome.loss {
        Some(steps) => println!("{name}\n    {}", steps.join("\n    ")),
        None => println!("{name}: no loss in {} states", outcome.states),
    }
    assert_eq!(outcome.loss.is_none(), row.is_safe, "{name}");
    if row.is_safe {
        assert!(outcome.stuck.is_none(), "{name}: somebody waits for ever: {:?}", outcome.stuck);
        assert!(outcome.tidy > 0, "{name}: what nobody needs is never gone");
    }
}

#[test]
fn no_history_loses_a_confirmed_snapshot_and_each_flaw_is_found() {
    let renews = is_set("LARDER_RENEW");
    let is_full = renews || is_set("LARDER_FULL");
    let rows: Vec<Row> = rows().into_iter().filter(|row| is_full || !row.is_long).collect();
    let one = |row: &Row| {
        let begun = Instant::now();
        let outcome = search(&Model { scene: row.scene, flaw: row.flaw });
        judge(row, &outcome);
        (*row, row.line(&outcome), begun.elapsed().as_secs(), outcome.states)
    };
    let found: Vec<_> = rows.par_iter().with_max_len(1).map(one).collect();
    let states: usize = found.iter().filter(|(row, ..)| row.flaw.is_none()).map(|(.., states)| states).sum();
    println!("figure: the prune protocol, every history of the model = {states} states, 0 lost");

    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the table's beginning is marked");
    let (old, after) = rest.split_once(END).expect("the table's end is marked");
    if renews {
        let lines: Vec<_> = found.into_iter().map(|(row, line, seconds, _)| (row, line, seconds)).collect();
        fs::write(PAGE, [before, BEGIN, &table(&lines), "\n", END, after].concat()).unwrap();
        return;
    }
    for (_, line, ..) in &found {
        let is_there = old.lines().any(|old| old.starts_with(line));
        assert!(is_there, "docs/concurrency.md does not say: {line}\nLARDER_RENEW=1 cargo test --test main protocol");
    }
    let said = old.lines().filter(|line| line.ends_with(" |") && line.contains("loss")).count();
    assert_eq!(said, table::rows().len(), "docs/concurrency.md has other lines than there are histories");
}

#[test]
fn a_delta_resolves_through_a_whole_base_only() {
    assert_eq!(state::resolved(B_BY_A), 0);
    assert_eq!(state::resolved(A | B_BY_A), A | B);
    assert_eq!(state::resolved(A_BY_B | B_BY_A), 0, "no copy is its own base");
    assert_eq!(state::resolved(B | A_BY_B | B_BY_A), A | B);
}
