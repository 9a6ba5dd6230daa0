//! A store that takes everything and keeps nothing: reads show what is there, writes are forgotten.

use std::sync::Arc;

use super::super::memory::MemoryStorage;
use super::super::{Capabilities, Error, ErrorKind, Hold, Key, Listed, Object, Result, Storage, Upload};

/// Small objects stay visible in memory, as a run that looks at its own session expects; big ones are dropped.
#[derive(Debug)]
pub struct DryRun {
    inner: Arc<dyn Storage>,
    kept: MemoryStorage,
}

impl DryRun {
    /// Nothing that is done here reaches `inner`.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, kept: MemoryStorage::new() }
    }
}

struct Dropped;

impl Upload for Dropped {
    fn write(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>, _: &Key) -> Result<()> {
        Ok(())
    }
}

impl Storage for DryRun {
    fn put(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        self.kept.put(key, bytes)
    }

    fn upload(&self) -> Result<Box<dyn Upload>> {
        Ok(Box::new(Dropped))
    }

    fn get(&self, key: &Key, limit: u64) -> Result<Vec<u8>> {
        self.kept.get(key, limit).or_else(|_| self.inner.get(key, limit))
    }

    fn get_range(&self, key: &Key, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.inner.get_range(key, offset, len)
    }

    fn open(&self, key: &Key) -> Result<Option<Arc<dyn Object>>> {
        self.inner.open(key)
    }

    fn size(&self, key: &Key) -> Result<u64> {
        self.kept.size(key).or_else(|_| self.inner.size(key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let mut all = self.inner.list(prefix)?;
        all.extend(self.kept.list(prefix)?);
        all.sort();
        Ok(all)
    }

    fn delete(&self, _: &Key) -> Result<()> {
        Ok(())
    }

    fn trash(&self, _: &Key) -> Result<()> {
        Ok(())
    }

    fn mend(&self, key: &Key, _: &[u8]) -> Result<()> {
        let place = format!("{}/{key}", self.describe());
        Err(Error::new(ErrorKind::Denied, "mend", place, "a dry run changes nothing"))
    }

    fn hold(&self, _: &Key) -> Result<Option<Box<dyn Hold>>> {
        Ok(None)
    }

    fn held(&self, key: &Key) -> Result<Option<bool>> {
        self.inner.held(key)
    }

    fn adopt(&self, _: &Key) {}

    fn barrier(&self) -> Result<()> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
