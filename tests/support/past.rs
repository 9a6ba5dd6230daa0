//! Snapshots that were taken long ago: the newest one of a series again, with another time.

use std::sync::Arc;

use larder::clock::System;
use larder::entry::Time;
use larder::id::ObjectId;
use larder::record::{SessionRecord, Summary};
use larder::repo::{KeySource, Repository, Session};
use larder::storage::local::LocalStorage;

use super::program::Machine;

pub struct Past {
    pub repository: Repository,
}

impl Past {
    /// Opens the machine's repository.
    pub fn of(machine: &Machine) -> Self {
        let text = std::fs::read_to_string(&machine.key).unwrap();
        let hex = text.strip_prefix("LARDER-KEY-1-").unwrap().trim();
        let key: [u8; 32] = std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap());
        let storage = Arc::new(LocalStorage::open(&machine.repository).unwrap());
        let repository = Repository::open(storage, Arc::new(System::default()), KeySource::KeyFile(&key)).unwrap();
        Self { repository }
    }

    /// The newest snapshot of a series once more, as if it had been taken so many minutes before that one.
    pub fn take(&self, series: &str, minutes: i64, change: impl FnOnce(&mut Summary)) -> ObjectId {
        let newest = self.repository.snapshots().unwrap().newest_of(series.as_bytes()).unwrap().clone();
        let mut whole = self.repository.snapshot(&newest.id).unwrap();
        whole.summary.time = Time { seconds: whole.summary.time.seconds - 60 * minutes, nanos: 0 };
        change(&mut whole.summary);
        let session = Session::begin(&self.repository, &SessionRecord::default()).unwrap();
        let id = session.put_snapshot(&whole.summary, &whole.body).unwrap();
        session.end(vec![id]).unwrap();
        id
    }

    /// One for each of so many days ago.
    pub fn nights(&self, series: &str, days: impl IntoIterator<Item = i64>) -> Vec<ObjectId> {
        days.into_iter().map(|days| self.take(series, days * 24 * 60, |_| ())).collect()
    }
}
