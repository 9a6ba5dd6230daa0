//! A store in memory, for tests: stricter than the real ones.
//!
//! - It keeps what is visible apart from what a power cut leaves: see [`MemoryStorage::crash`].
//! - A barrier covers the keys that its own process changed, and no others: see [`MemoryStorage::other_process`].
//! - A key that is the folder of another is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Capabilities, Error, ErrorKind, Hold, Key, Listed, Result, Storage, Upload};

type Bytes = Arc<[u8]>;

/// A store in memory. Clones are handles of the same process on the same store.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    shared: Arc<Shared>,
    process: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    processes: AtomicU64,
    calls: AtomicU64,
}

#[derive(Default)]
struct State {
    visible: BTreeMap<Key, Object>,
    durable: BTreeMap<Key, Bytes>,
    /// What happened since to keys that no barrier has covered, in order.
    pending: Vec<Change>,
}

struct Object {
    bytes: Bytes,
    held: Arc<AtomicBool>,
}

struct Change {
    process: u64,
    key: Key,
    after: Option<Bytes>,
    /// Cannot survive alone: a move that is cut short leaves both names, or the old one.
    only_with_previous: bool,
}

impl MemoryStorage {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle that stands for another process: a barrier of one covers nothing that only the other did.
    pub fn other_process(&self) -> Self {
        let process = self.shared.processes.fetch_add(1, Ordering::Relaxed) + 1;
        Self { shared: self.shared.clone(), process }
    }

    /// The store as it may be found after a power cut now: what barriers covered, and of everything else a choice
    /// that depends on `seed`. 0 chooses nothing, `u64::MAX` everything.
    pub fn crash(&self, seed: u64) -> Self {
        let state = self.state();
        let mut left = state.durable.clone();
        let mut survives = Coin(seed);
        let mut previous = false;
        for change in &state.pending {
            previous = survives.toss() && (previous || !change.only_with_previous);
            if previous {
                set(&mut left, &change.key, change.after.clone());
            }
        }
        let object = |bytes: &Bytes| Object { bytes: bytes.clone(), held: Arc::default() };
        let visible = left.iter().map(|(key, bytes)| (key.clone(), object(bytes))).collect();
        let state = State { visible, durable: left, pending: Vec::new() };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), ..Shared::default() }), process: 0 }
    }

    /// How many calls were made by all processes, those on uploads included.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn called(&self) -> MutexGuard<'_, State> {
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
        self.state()
    }

    fn store(&self, state: &mut State, key: &Key, bytes: Bytes) -> Result<()> {
        if let Some(there) = state.visible.get(key) {
            if there.bytes != bytes {
                return Err(failed(ErrorKind::Exists, "write", key, "the name is taken by other bytes"));
            }
            // Somebody else's barrier may be still to come.
            if state.durable.get(key) != Some(&bytes) {
                self.change(state, key, Some(bytes), false);
            }
            return Ok(());
        }
        if is_in_the_way(state, key) {
            return Err(failed(ErrorKind::Other, "write", key, "one key would be the folder of another"));
        }
        self.change(state, key, Some(bytes.clone()), false);
        state.visible.insert(key.clone(), Object { bytes, held: Arc::default() });
        Ok(())
    }

    fn change(&self, state: &mut State, key: &Key, after: Option<Bytes>, only_with_previous: bool) {
        let process = self.process;
        state.pending.push(Change { process, key: key.clone(), after, only_with_previous });
    }
}

impl Storage for MemoryStorage {
    fn put(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        self.store(&mut self.called(), key, bytes.into())
    }

    fn upload(&self) -> Result<Box<dyn Upload>> {
        drop(self.called());
        Ok(Box::new(MemoryUpload { store: self.clone(), bytes: Vec::new() }))
    }

    fn get(&self, key: &Key, limit: u64) -> Result<Vec<u8>> {
        let bytes = find(&self.called(), "read", key)?.bytes.clone();
        if bytes.len() as u64 > limit {
            return Err(failed(ErrorKind::Length, "read", key, "it is longer than was expected"));
        }
        Ok(bytes.to_vec())
    }

    fn get_range(&self, key: &Key, offset: u64, len: usize) -> Result<Vec<u8>> {
        let bytes = find(&self.called(), "read", key)?.bytes.clone();
        let range = usize::try_from(offset).ok().and_then(|start| bytes.get(start..start.checked_add(len)?));
        let short = || failed(ErrorKind::Length, "read", key, "it is shorter than was expected");
        range.map(<[u8]>::to_vec).ok_or_else(short)
    }

    fn size(&self, key: &Key) -> Result<u64> {
        Ok(find(&self.called(), "look at", key)?.bytes.len() as u64)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let state = self.called();
        if !prefix.is_empty() && Key::new(prefix).is_none() {
            return Err(Error::new(ErrorKind::Other, "list", PLACE, "this is no name of a folder"));
        }
        let below = state.visible.iter().filter(|(key, _)| is_below(key, prefix));
        Ok(below.map(|(key, object)| Listed { key: key.clone(), size: object.bytes.len() as u64 }).collect())
    }

    fn delete(&self, key: &Key) -> Result<()> {
        let mut state = self.called();
        if state.visible.remove(key).is_some() {
            self.change(&mut state, key, None, false);
        }
        Ok(())
    }

    fn trash(&self, key: &Key) -> Result<()> {
        let mut state = self.called();
        let bytes = find(&state, "trash", key)?.bytes.clone();
        let too_long = || failed(ErrorKind::Other, "trash", key, "the name is too long");
        let to = key.in_trash().ok_or_else(too_long)?;
        if let Some(object) = state.visible.remove(key) {
            state.visible.insert(to.clone(), object);
        }
        self.change(&mut state, &to, Some(bytes), false);
        self.change(&mut state, key, None, true);
        Ok(())
    }

    fn mend(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        let mut state = self.called();
        find(&state, "mend", key)?;
        let bytes: Bytes = bytes.into();
        if let Some(object) = state.visible.get_mut(key) {
            object.bytes = bytes.clone();
        }
        self.change(&mut state, key, Some(bytes), false);
        Ok(())
    }

    fn hold(&self, key: &Key) -> Result<Option<Box<dyn Hold>>> {
        let held = find(&self.called(), "hold", key)?.held.clone();
        if held.swap(true, Ordering::SeqCst) {
            return Err(failed(ErrorKind::Other, "hold", key, "somebody else holds it").retryable());
        }
        Ok(Some(Box::new(MemoryHold(held))))
    }

    fn held(&self, key: &Key) -> Result<Option<bool>> {
        Ok(Some(find(&self.called(), "look at", key)?.held.load(Ordering::SeqCst)))
    }

    fn adopt(&self, key: &Key) {
        let mut state = self.state();
        let there = state.visible.get(key).map(|object| object.bytes.clone());
        if state.durable.get(key) != there.as_ref() {
            self.change(&mut state, key, there, false);
        }
    }

    fn barrier(&self) -> Result<()> {
        let mut guard = self.called();
        let State { visible, durable, pending } = &mut *guard;
        let (mine, others): (Vec<_>, Vec<_>) =
            std::mem::take(pending).into_iter().partition(|change| change.process == self.process);
        *pending = others;
        for Change { key, .. } in &mine {
            set(durable, key, visible.get(key).map(|object| object.bytes.clone()));
            pending.retain(|change| change.key != *key);
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { trash: true, holds: true, requests: 4, remote: false }
    }

    fn describe(&self) -> String {
        PLACE.into()
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("MemoryStorage")
            .field("process", &self.process)
            .field("objects", &state.visible.keys())
            .field("pending", &state.pending.len())
            .finish()
    }
}

struct MemoryUpload {
    store: MemoryStorage,
    bytes: Vec<u8>,
}

impl Upload for MemoryUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        drop(self.store.called());
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>, key: &Key) -> Result<()> {
        self.store.store(&mut self.store.called(), key, self.bytes.into())
    }
}

struct MemoryHold(Arc<AtomicBool>);

impl Hold for MemoryHold {}

impl Drop for MemoryHold {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// What stands for the root in messages.
const PLACE: &str = "memory";

fn failed(kind: ErrorKind, action: &'static str, key: &Key, why: &str) -> Error {
    Error::new(kind, action, format!("{PLACE}/{key}"), why)
}

fn find<'a>(state: &'a State, action: &'static str, key: &Key) -> Result<&'a Object> {
    let missing = || failed(ErrorKind::Missing, action, key, "there is no such object");
    state.visible.get(key).ok_or_else(missing)
}

fn set(map: &mut BTreeMap<Key, Bytes>, key: &Key, bytes: Option<Bytes>) {
    match bytes {
        Some(bytes) => map.insert(key.clone(), bytes),
        None => map.remove(key),
    };
}

fn is_below(key: &Key, folder: &str) -> bool {
    folder.is_empty() || key.as_str().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn is_in_the_way(state: &State, key: &Key) -> bool {
    let text = key.as_str();
    let below = state.visible.range(Key(format!("{text}/"))..).next();
    let mut above = text.match_indices('/').map(|(end, _)| Key(text[..end].to_owned()));
    below.is_some_and(|(other, _)| is_below(other, text)) || above.any(|folder| state.visible.contains_key(&folder))
}

/// Chance that a seed decides (SplitMix64).
struct Coin(u64);

impl Coin {
    fn toss(&mut self) -> bool {
        if matches!(self.0, 0 | u64::MAX) {
            return self.0 != 0;
        }
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::storage::conformance;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    fn names(store: &MemoryStorage) -> Vec<String> {
        store.list("").unwrap().iter().map(|one| one.key.to_string()).collect()
    }

    /// Everything that a power cut may leave.
    fn outcomes(store: &MemoryStorage) -> BTreeSet<String> {
        (0..200).chain([u64::MAX]).map(|seed| names(&store.crash(seed)).join(" ")).collect()
    }

    fn set_of<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
        texts.map(String::from).into()
    }

    #[test]
    fn keeps_the_contract() {
        conformance::run(&|| Arc::new(MemoryStorage::new()));
    }

    #[test]
    fn only_a_barrier_makes_a_put_survive() {
        let store = MemoryStorage::new();
        store.put(&key("a"), b"1").unwrap();
        store.barrier().unwrap();
        store.put(&key("b"), b"2").unwrap();
        store.put(&key("c"), b"3").unwrap();
        assert_eq!(outcomes(&store), set_of(["a", "a b", "a c", "a b c"]));
        assert_eq!(names(&store.crash(0)), ["a"]);
        assert_eq!(names(&store.crash(u64::MAX)), ["a", "b", "c"]);
        store.barrier().unwrap();
        assert_eq!(outcomes(&store), set_of(["a b c"]));
        assert_eq!(store.crash(0).get(&key("c"), 1).unwrap(), b"3");
    }

    #[test]
    fn a_deletion_survives_only_with_a_barrier() {
        let store = MemoryStorage::new();
        store.put(&key("a"), b"1").unwrap();
        store.barrier().unwrap();
        store.delete(&key("a")).unwrap();
        assert_eq!(outcomes(&store), set_of(["", "a"]));
        store.barrier().unwrap();
        assert_eq!(outcomes(&store), set_of([""]));
    }

    #[test]
    fn a_move_never_loses_the_object() {
        let store = MemoryStorage::new();
        store.put(&key("a"), b"1").unwrap();
        store.barrier().unwrap();
        store.trash(&key("a")).unwrap();
        assert_eq!(outcomes(&store), set_of(["a", "a trash/a", "trash/a"]));
        store.barrier().unwrap();
        assert_eq!(outcomes(&store), set_of(["trash/a"]));
    }

    #[test]
    fn a_barrier_covers_no_other_process() {
        let one = MemoryStorage::new();
        let two = one.other_process();
        one.put(&key("a"), b"1").unwrap();
        two.put(&key("b"), b"2").unwrap();
        two.barrier().unwrap();
        assert_eq!(outcomes(&one), set_of(["a b", "b"]));
        two.put(&key("a"), b"1").unwrap();
        two.barrier().unwrap();
        assert_eq!(outcomes(&one), set_of(["a b"]), "a put that finds its bytes there counts like any other");
    }

    #[test]
    fn a_barrier_covers_what_was_adopted() {
        let one = MemoryStorage::new();
        let two = one.other_process();
        one.put(&key("a"), b"1").unwrap();
        two.adopt(&key("a"));
        two.adopt(&key("missing"));
        assert_eq!(outcomes(&one), set_of(["", "a"]), "not before the barrier");
        two.barrier().unwrap();
        assert_eq!(outcomes(&one), set_of(["a"]));
    }

    #[test]
    fn a_barrier_covers_what_became_of_a_key() {
        let one = MemoryStorage::new();
        let two = one.other_process();
        one.put(&key("a"), b"1").unwrap();
        two.delete(&key("a")).unwrap();
        two.barrier().unwrap();
        one.barrier().unwrap();
        assert_eq!(outcomes(&one), set_of([""]));
    }

    #[test]
    fn a_key_is_no_folder() {
        let store = MemoryStorage::new();
        store.put(&key("a/b"), b"1").unwrap();
        for name in ["a", "a/b/c"] {
            assert_eq!(store.put(&key(name), b"1").unwrap_err().kind, ErrorKind::Other);
        }
        store.put(&key("a/bc"), b"1").unwrap();
    }

    #[test]
    fn every_call_counts() {
        let store = MemoryStorage::new();
        let mut upload = store.upload().unwrap();
        upload.write(b"x").unwrap();
        upload.finish(&key("a")).unwrap();
        store.clone().barrier().unwrap();
        assert_eq!(store.calls(), 4);
    }
}
