//! Tests: what a check counts.

use super::{Request, check};
use crate::ops::testing::Store;
use crate::tree::TreeWalk;

#[test]
fn names_that_are_lost_themselves_are_counted() {
    let store = Store::new();
    store.many_files();
    let id = store.backup();
    store.lose_leaves(&id);
    let report = check(&store.repository, &Request { data: Some(1.0), time_max: None, bytes_max: None }, store.job());
    let told: u64 = report.unwrap().found.iter().map(|found| found.affects.len() as u64 + found.affects_more).sum();
    let lost = store.with_reader(|reader, snapshot| {
        let root = &snapshot.body.sources[0].root;
        Ok(root.entries - TreeWalk::new(reader, root).filter(Result::is_ok).count() as u64)
    });
    assert_eq!(told, lost.unwrap());
    assert!(told > 100, "{told}");
}
