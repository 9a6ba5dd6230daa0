//! A store that remembers what was asked of it, a tool for tests that count calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::{Capabilities, Hold, Key, Listed, Result, Storage, Upload};

/// The calls that are told apart, named like the methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Operation {
    Put,
    Upload,
    Write,
    Finish,
    Get,
    GetRange,
    Size,
    List,
    Delete,
    Trash,
    Mend,
    Hold,
    Held,
    Barrier,
}

/// One call, whether it succeeded or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// The key, or the folder of a list; empty where there is none.
    pub key: String,
    /// The bytes handed over, or (as far as the call succeeded) handed back.
    pub bytes: u64,
}

/// A store whose calls are remembered, in the order in which they ended.
#[derive(Debug)]
pub struct RecordStorage {
    inner: Arc<dyn Storage>,
    calls: Arc<Calls>,
}

#[derive(Debug, Default)]
struct Calls(Mutex<Vec<Call>>);

impl RecordStorage {
    /// Remembers nothing yet.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, calls: Arc::default() }
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    /// How many calls of one kind were made for keys (or folders) that begin with `prefix`.
    pub fn count(&self, operation: Operation, prefix: &str) -> usize {
        let counts = |call: &&Call| call.operation == operation && call.key.starts_with(prefix);
        self.calls.lock().iter().filter(counts).count()
    }

    /// Forgets the calls so far.
    pub fn clear(&self) {
        self.calls.lock().clear();
    }
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, operation: Operation, key: &str, bytes: usize) {
        self.lock().push(Call { operation, key: key.into(), bytes: bytes as u64 });
    }

    /// Remembers a call that handed back bytes.
    fn read(&self, operation: Operation, key: &Key, done: Result<Vec<u8>>) -> Result<Vec<u8>> {
        self.add(operation, key.as_str(), done.as_ref().map_or(0, Vec::len));
        done
    }

    /// Remembers a call that handed over no bytes.
    fn done<T>(&self, operation: Operation, key: &str, done: T) -> T {
        self.add(operation, key, 0);
        done
    }
}

impl Storage for RecordStorage {
    fn put(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        let done = self.inner.put(key, bytes);
        self.calls.add(Operation::Put, key.as_str(), bytes.len());
        done
    }

    fn upload(&self) -> Result<Box<dyn Upload>> {
        let inner = self.calls.done(Operation::Upload, "", self.inner.upload())?;
        Ok(Box::new(RecordUpload { inner, calls: self.calls.clone() }))
    }

    fn get(&self, key: &Key, limit: u64) -> Result<Vec<u8>> {
        self.calls.read(Operation::Get, key, self.inner.get(key, limit))
    }

    fn get_range(&self, key: &Key, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.calls.read(Operation::GetRange, key, self.inner.get_range(key, offset, len))
    }

    fn size(&self, key: &Key) -> Result<u64> {
        self.calls.done(Operation::Size, key.as_str(), self.inner.size(key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.calls.done(Operation::List, prefix, self.inner.list(prefix))
    }

    fn delete(&self, key: &Key) -> Result<()> {
        self.calls.done(Operation::Delete, key.as_str(), self.inner.delete(key))
    }

    fn trash(&self, key: &Key) -> Result<()> {
        self.calls.done(Operation::Trash, key.as_str(), self.inner.trash(key))
    }

    fn mend(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        let done = self.inner.mend(key, bytes);
        self.calls.add(Operation::Mend, key.as_str(), bytes.len());
        done
    }

    fn hold(&self, key: &Key) -> Result<Option<Box<dyn Hold>>> {
        self.calls.done(Operation::Hold, key.as_str(), self.inner.hold(key))
    }

    fn held(&self, key: &Key) -> Result<Option<bool>> {
        self.calls.done(Operation::Held, key.as_str(), self.inner.held(key))
    }

    fn adopt(&self, key: &Key) {
        self.inner.adopt(key);
    }

    fn barrier(&self) -> Result<()> {
        self.calls.done(Operation::Barrier, "", self.inner.barrier())
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct RecordUpload {
    inner: Box<dyn Upload>,
    calls: Arc<Calls>,
}

impl Upload for RecordUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let done = self.inner.write(bytes);
        self.calls.add(Operation::Write, "", bytes.len());
        done
    }

    fn finish(self: Box<Self>, key: &Key) -> Result<()> {
        self.calls.done(Operation::Finish, key.as_str(), self.inner.finish(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::conformance;
    use crate::storage::memory::MemoryStorage;

    fn new() -> RecordStorage {
        RecordStorage::new(Arc::new(MemoryStorage::new()))
    }

    #[test]
    fn keeps_the_contract() {
        conformance::run(&|| Arc::new(new()));
    }

    #[test]
    fn calls_are_remembered_in_order() {
        use Operation::{Barrier, Finish, Get, List, Put, Upload, Write};
        let (store, key) = (new(), Key::new("packs/ab/1").unwrap());
        let mut upload = store.upload().unwrap();
        upload.write(b"abc").unwrap();
        upload.finish(&key).unwrap();
        store.barrier().unwrap();
        store.put(&key, b"other").unwrap_err();
        store.get(&key, 10).unwrap();
        store.get(&key, 1).unwrap_err();
        store.list("packs").unwrap();
        let seen: Vec<_> = store.calls().into_iter().map(|call| (call.operation, call.key, call.bytes)).collect();
        let expected = [
            (Upload, "", 0),
            (Write, "", 3),
            (Finish, "packs/ab/1", 0),
            (Barrier, "", 0),
            (Put, "packs/ab/1", 5),
            (Get, "packs/ab/1", 3),
            (Get, "packs/ab/1", 0),
            (List, "packs", 0),
        ];
        assert_eq!(seen, expected.map(|(operation, key, bytes)| (operation, key.to_owned(), bytes)));
        assert_eq!((store.count(Get, "packs/"), store.count(Get, "index/")), (2, 0));
        store.clear();
        assert_eq!(store.calls(), []);
    }
}
