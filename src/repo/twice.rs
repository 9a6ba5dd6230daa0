//! What is small and opens everything, the configuration and the key slots, is stored twice: one bad sector must not
//! close a repository.

use super::{Folder, Repository, layout};
use crate::error::{Error, Kind, Result};
use crate::storage::{ErrorKind, Key, Storage};

/// Longest configuration or key slot. Bytes.
const BYTES_MAX: u64 = 64 << 10;

/// Stores an object at both of its places.
pub(super) fn put(storage: &dyn Storage, key: &Key, bytes: &[u8]) -> Result<()> {
    storage.put(key, bytes)?;
    Ok(storage.put(&layout::copy_of(key), bytes)?)
}

/// Deletes both.
pub(super) fn delete(storage: &dyn Storage, key: &Key) -> Result<()> {
    for key in [key, &layout::copy_of(key)] {
        match storage.delete(key) {
            Err(e) if e.kind == ErrorKind::Missing => {}
            other => other?,
        }
    }
    Ok(())
}

/// The same error, with advice that helps where nothing can be opened, and so nothing be checked.
pub(super) fn put_back(error: Error, key: &Key) -> Error {
    if !matches!(error.kind(), Kind::Damage | Kind::Missing) {
        return error;
    }
    let (key, copy) = (key.as_str(), layout::copy_of(key));
    error.fix(format!("put {key} or {} back from a copy of the repository; one of them is enough", copy.as_str()))
}

/// What `parse` makes of the first of the two that is good; else why the first that is there is not. Its errors speak
/// of these bytes, or carry advice of their own.
pub(super) fn get<T>(storage: &dyn Storage, key: &Key, mut parse: impl FnMut(&str, &[u8]) -> Result<T>) -> Result<T> {
    let mut error: Option<Error> = None;
    let mut before = Vec::new();
    for place in [key.clone(), layout::copy_of(key)] {
        let parsed = match storage.get(&place, BYTES_MAX) {
            Ok(bytes) if bytes == before => continue,
            Ok(bytes) => {
                before = bytes;
                parse(place.as_str(), &before)
            }
            Err(e) => Err(put_back(e.into(), key)),
        };
        match parsed {
            Ok(object) => return Ok(object),
            Err(e) if error.as_ref().is_none_or(|first| first.kind() == Kind::Missing) => error = Some(e),
            Err(_) => {}
        }
    }
    Err(error.unwrap_or_else(|| put_back(Error::new(Kind::Damage, format!("{} is empty", key.as_str())), key)))
}

impl Repository {
    /// The configuration and the key slots, at both of their places: what is wrong, and where.
    pub fn check_opening(&self) -> Result<Vec<(Key, Error)>> {
        let config = layout::config(self.config().generation);
        let mut bad = Vec::new();
        self.check_both(&config, &mut bad, |place, bytes| self.check_config(place, bytes));
        for id in self.list(Folder::Keys)? {
            self.check_both(&Folder::Keys.key(&id), &mut bad, |place, bytes| {
                Self::parse_slot(place, &id, bytes).map(drop)
            });
        }
        Ok(bad)
    }

    fn check_both(&self, key: &Key, bad: &mut Vec<(Key, Error)>, check: impl Fn(&str, &[u8]) -> Result<()>) {
        for key in [key.clone(), layout::copy_of(key)] {
            let read = self.storage().get(&key, BYTES_MAX).map_err(Error::from);
            if let Err(e) = read.and_then(|bytes| check(key.as_str(), &bytes)) {
                bad.push((key, e));
            }
        }
    }
}
