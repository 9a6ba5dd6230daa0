//! A store that fails on demand, a tool for tests.
//!
//! Calls are counted from 1, those on uploads included, so that a test can run a job against a store that fails at
//! call 1, 2, 3, … until a run ends with [`FaultStorage::calls`] below the number: then every step has failed once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{Capabilities, Error, ErrorKind, Hold, Key, Listed, Result, Storage, Upload};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and does nothing; the next one works again.
    Once(ErrorKind),
    /// The call and all later ones fail and do nothing. With [`ErrorKind::Other`], this is how a process dies.
    Forever(ErrorKind),
    /// The call does its work, but reports that it failed.
    AnswerLost,
    /// If the call reads bytes, this bit of them is wrong (counted round when there are fewer).
    BitFlipped(u64),
    /// From the call on, no read succeeds that takes in this byte of an object in this folder, as of a disk with a bad sector.
    Unreadable(&'static str, u64),
    /// From the call on, nothing is mended, as where a file system cannot exchange files.
    Unmendable,
}

/// A store in which one call goes wrong.
#[derive(Debug)]
pub struct FaultStorage {
    inner: Arc<dyn Storage>,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    at: u64,
    fault: Fault,
    calls: AtomicU64,
    root: String,
}

impl FaultStorage {
    /// Has the fault at this call.
    pub fn new(inner: Arc<dyn Storage>, at: u64, fault: Fault) -> Self {
        let root = inner.describe();
        Self { inner, plan: Arc::new(Plan { at, fault, calls: AtomicU64::new(0), root }) }
    }

    /// Has no fault, and counts the calls.
    pub fn counting(inner: Arc<dyn Storage>) -> Self {
        Self::new(inner, u64::MAX, Fault::AnswerLost)
    }

    /// How many calls were made, failed ones included.
    pub fn calls(&self) -> u64 {
        self.plan.calls.load(Ordering::SeqCst)
    }
}

impl Plan {
    fn call<T>(&self, action: &'static str, below: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.numbered(action, below, |_| work())
    }

    fn read(&self, key: &Key, offset: u64, work: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        self.numbered("read", key.as_str(), |call| {
            let mut bytes = work()?;
            match self.fault {
                Fault::BitFlipped(bit) if call == self.at && !bytes.is_empty() => {
                    let byte = bit / 8 % bytes.len() as u64;
                    bytes[byte as usize] ^= 1 << (bit % 8);
                }
                Fault::Unreadable(folder, at)
                    if call >= self.at
                        && key.as_str().starts_with(folder)
                        && (offset..offset + bytes.len() as u64).contains(&at) =>
                {
                    let place = format!("{}/{key}", self.root);
                    return Err(Error::new(ErrorKind::Unreadable, "read", place, "a bad sector was ordered"));
                }
                _ => {}
            }
            Ok(bytes)
        })
    }

    fn numbered<T>(&self, action: &'static str, below: &str, work: impl FnOnce(u64) -> Result<T>) -> Result<T> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let error = |kind| {
            let place = if below.is_empty() { self.root.clone() } else { format!("{}/{below}", self.root) };
            Err(Error::new(kind, action, place, format!("a fault was ordered at call {call}")))
        };
        match self.fault {
            Fault::Once(kind) if call == self.at => error(kind).map_err(Error::retryable),
            Fault::Forever(kind) if call >= self.at => error(kind),
            Fault::AnswerLost if call == self.at => {
                work(call)?;
                error(ErrorKind::Other).map_err(Error::retryable)
            }
            _ => work(call),
        }
    }
}

impl Storage for FaultStorage {
    fn put(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        self.plan.call("write", key.as_str(), || self.inner.put(key, bytes))
    }

    fn upload(&self) -> Result<Box<dyn Upload>> {
        let inner = self.plan.call("write", "", || self.inner.upload())?;
        Ok(Box::new(FaultUpload { inner, plan: self.plan.clone() }))
    }

    fn get(&self, key: &Key, limit: u64) -> Result<Vec<u8>> {
        self.plan.read(key, 0, || self.inner.get(key, limit))
    }

    fn get_range(&self, key: &Key, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.plan.read(key, offset, || self.inner.get_range(key, offset, len))
    }

    fn size(&self, key: &Key) -> Result<u64> {
        self.plan.call("look at", key.as_str(), || self.inner.size(key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.plan.call("list", prefix, || self.inner.list(prefix))
    }

    fn delete(&self, key: &Key) -> Result<()> {
        self.plan.call("delete", key.as_str(), || self.inner.delete(key))
    }

    fn trash(&self, key: &Key) -> Result<()> {
        self.plan.call("trash", key.as_str(), || self.inner.trash(key))
    }

    fn mend(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        self.plan.numbered("mend", key.as_str(), |call| match self.plan.fault {
            Fault::Unmendable if call >= self.plan.at => {
                let place = format!("{}/{key}", self.plan.root);
                Err(Error::new(ErrorKind::Other, "mend", place, "files cannot be exchanged here"))
            }
            _ => self.inner.mend(key, bytes),
        })
    }

    fn hold(&self, key: &Key) -> Result<Option<Box<dyn Hold>>> {
        self.plan.call("hold", key.as_str(), || self.inner.hold(key))
    }

    fn held(&self, key: &Key) -> Result<Option<bool>> {
        self.plan.call("look at", key.as_str(), || self.inner.held(key))
    }

    fn adopt(&self, key: &Key) {
        self.inner.adopt(key);
    }

    fn barrier(&self) -> Result<()> {
        self.plan.call("flush", "", || self.inner.barrier())
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct FaultUpload {
    inner: Box<dyn Upload>,
    plan: Arc<Plan>,
}

impl Upload for FaultUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.plan.call("write", "", || self.inner.write(bytes))
    }

    fn finish(self: Box<Self>, key: &Key) -> Result<()> {
        let Self { inner, plan } = *self;
        plan.call("write", key.as_str(), || inner.finish(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::conformance;
    use crate::storage::memory::MemoryStorage;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    fn faulty(at: u64, fault: Fault) -> (MemoryStorage, FaultStorage) {
        let memory = MemoryStorage::new();
        memory.put(&key("there"), b"abc").unwrap();
        (memory.clone(), FaultStorage::new(Arc::new(memory), at, fault))
    }

    /// A job of six calls.
    fn job(store: &dyn Storage) -> Result<()> {
        let mut upload = store.upload()?;
        upload.write(b"x")?;
        upload.finish(&key("packs/1"))?;
        store.barrier()?;
        store.put(&key("index/1"), b"y")?;
        store.barrier()
    }

    #[test]
    fn keeps_the_contract_without_a_fault() {
        conformance::run(&|| Arc::new(FaultStorage::counting(Arc::new(MemoryStorage::new()))));
    }

    #[test]
    fn a_loop_meets_every_call_and_ends() {
        let mut failed = 0;
        for at in 1.. {
            let (memory, store) = faulty(at, Fault::Forever(ErrorKind::NoSpace));
            let done = job(&store);
            if store.calls() < at {
                done.unwrap();
                break;
            }
            let error = done.unwrap_err();
            assert_eq!((error.kind, error.retryable), (ErrorKind::NoSpace, false));
            assert_eq!(memory.list("packs").unwrap().len(), usize::from(at > 3), "a torn upload leaves nothing");
            assert_eq!(job(&store).unwrap_err().kind, ErrorKind::NoSpace);
            failed += 1;
        }
        assert_eq!(failed, 6);
    }

    #[test]
    fn a_passing_fault_passes() {
        for at in 1..=6 {
            let (_, store) = faulty(at, Fault::Once(ErrorKind::Other));
            assert!(job(&store).unwrap_err().retryable);
            job(&store).unwrap();
        }
    }

    #[test]
    fn a_call_whose_answer_is_lost_has_done_its_work() {
        let (memory, store) = faulty(1, Fault::AnswerLost);
        let error = store.put(&key("a"), b"1").unwrap_err();
        assert_eq!(error.to_string(), "cannot write memory/a: a fault was ordered at call 1");
        assert!(error.retryable);
        assert_eq!(memory.get(&key("a"), 1).unwrap(), b"1");
    }

    #[test]
    fn one_bit_of_one_answer_is_flipped() {
        let (_, store) = faulty(2, Fault::BitFlipped(8 * 3 + 9));
        let read = || store.get(&key("there"), 3).unwrap();
        assert_eq!([read(), read(), read()], [b"abc", b"a`c", b"abc"]);
        let (_, store) = faulty(1, Fault::BitFlipped(0));
        assert_eq!(store.get_range(&key("there"), 1, 2).unwrap(), b"cc");
        let (_, store) = faulty(1, Fault::BitFlipped(0));
        assert_eq!(store.get_range(&key("there"), 3, 0).unwrap(), b"");
    }
}
