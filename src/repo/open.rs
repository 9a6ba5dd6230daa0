//! Making and opening a repository; reading and writing its sealed objects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::CacheTrouble;
use super::mend::Mending;
use super::met::Met;
use super::{Folder, ObjectAt, layout, malformed, twice, unopened};
use crate::chunk::{Cutter, Params};
use crate::clock::{self, World};
use crate::crypto::{Argon, Audience, Keyring, Secret};
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, RepositoryId, SessionId};
use crate::record::{Config, Slot, SlotLabel, SlotLock};
use crate::seal::{Header, ObjectKind, SessionSecrets, open_section, sections, write_object};
use crate::storage::{ErrorKind, Key, Storage};

/// Longest object other than a pack. Bytes.
pub(super) const OBJECT_BYTES_MAX: u64 = 80 << 20;

/// What opens a repository.
#[derive(Clone, Copy)]
pub enum KeySource<'a> {
    /// A password, as bytes.
    Password(&'a [u8]),
    /// The 32 bytes of a key file.
    KeyFile(&'a [u8; 32]),
}

impl std::fmt::Debug for KeySource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(…)",
            Self::KeyFile(_) => "KeyFile(…)",
        })
    }
}

impl KeySource<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Password(password) => password,
            Self::KeyFile(bytes) => *bytes,
        }
    }

    fn new_lock(&self, world: &dyn World) -> Result<SlotLock> {
        Ok(match self {
            Self::Password(_) => SlotLock::Password(Argon::DEFAULT, clock::random(world)?),
            Self::KeyFile(_) => SlotLock::KeyFile,
        })
    }

    fn fits(&self, lock: &SlotLock) -> bool {
        matches!((self, lock), (Self::Password(_), SlotLock::Password(..)) | (Self::KeyFile(_), SlotLock::KeyFile))
    }

    fn slot_key(&self, lock: &SlotLock) -> Result<Secret> {
        lock.key(self.bytes()).ok_or_else(|| {
            Error::new(Kind::Failed, "cannot derive a key from the password")
                .why("the memory it takes (64 MiB or more) cannot be had")
                .fix("free some memory, or use a key file")
        })
    }
}

/// An opened repository.
#[derive(Debug)]
pub struct Repository {
    storage: Arc<dyn Storage>,
    world: Arc<dyn World>,
    config: Config,
    keys: Keyring,
    cutter: Cutter,
    /// The key slot that opened it.
    slot: ObjectId,
    cache: Option<PathBuf>,
    cache_trouble: CacheTrouble,
    pub(super) met: Met,
    pub(super) mending: Mending,
}

impl Repository {
    /// Makes a repository in empty storage. The configuration comes last: without it there is no repository, so an
    /// interrupted `create` can simply be run again.
    pub fn create(storage: Arc<dyn Storage>, world: Arc<dyn World>, key: KeySource<'_>, label: &str) -> Result<Self> {
        if !storage.list("config")?.is_empty() {
            return Err(Error::new(Kind::Failed, format!("there is a repository at {} already", storage.describe()))
                .fix("use it, or choose another place"));
        }
        let id = RepositoryId::new(clock::random(&*world)?);
        let secret = || clock::random(&*world).map(Secret::new);
        let keys = Keyring::new(secret()?, BTreeMap::from([(1, secret()?)]));
        let slot = Self::write_slot(&*storage, &*world, id, &keys, key, label)?;
        storage.barrier()?;
        let header = Header {
            kind: ObjectKind::Config,
            epoch: 0,
            repository: id,
            session: SessionId::ZERO,
            salt: clock::random(&*world)?,
        };
        let config = Config {
            header,
            features_to_write: Vec::new(),
            features_optional: Vec::new(),
            chunker: Params::FILES,
            created: world.now(),
            generation: 0,
            unknown: Vec::new(),
        };
        twice::put(&*storage, &layout::config(0), &config.encode(&keys.identity))?;
        storage.barrier()?;
        Ok(Self::new(storage, world, config, keys, slot))
    }

    /// Opens the repository at this storage.
    pub fn open(storage: Arc<dyn Storage>, world: Arc<dyn World>, key: KeySource<'_>) -> Result<Self> {
        let generation = Self::newest_config(&*storage)?;
        let stored = layout::config(generation);
        let (config, slot, keys) = twice::get(&*storage, &stored, |place, bytes| {
            let config = parse_config(place, generation, bytes).map_err(|e| twice::put_back(e, &stored))?;
            let (slot, keys) = Self::unlock(&*storage, &config, key)?;
            verify_config(place, bytes, &keys).map_err(|e| twice::put_back(e, &stored))?;
            Ok((config, slot, keys))
        })?;
        Ok(Self::new(storage, world, config, keys, slot))
    }

    /// Whether these bytes are the configuration.
    pub(super) fn check_config(&self, place: &str, bytes: &[u8]) -> Result<()> {
        parse_config(place, self.config.generation, bytes)?;
        verify_config(place, bytes, &self.keys)
    }

    fn new(storage: Arc<dyn Storage>, world: Arc<dyn World>, config: Config, keys: Keyring, slot: ObjectId) -> Self {
        let cutter = Cutter::new(&keys.identity.chunker, config.chunker);
        let (cache_trouble, met, mending) = Default::default();
        Self { storage, world, config, keys, cutter, slot, cache: None, cache_trouble, met, mending }
    }

    /// Keeps caches below this folder, in one named after the repository.
    pub fn with_cache(mut self, root: &Path) -> Self {
        self.cache = Some(root.join(self.id().to_hex()));
        self
    }

    /// What keeps caches from being of use, as far as it was met.
    pub fn cache_trouble(&self) -> &CacheTrouble {
        &self.cache_trouble
    }

    fn newest_config(storage: &dyn Storage) -> Result<u32> {
        let listed = storage.list("config")?;
        if let Some(newest) = listed.iter().filter_map(|l| layout::config_generation(&l.key)).max() {
            return Ok(newest);
        }
        for folder in [Folder::Snapshots, Folder::Packs] {
            if !storage.list(folder.name())?.is_empty() {
                return Err(Error::new(Kind::Damage, format!("the repository at {} is damaged", storage.describe()))
                    .why(format!("it has {}/, but no configuration", folder.name()))
                    .fix("put config/ back from a copy of the repository; do not make a new one here"));
            }
        }
        Err(no_repository(&storage.describe(), "it has no configuration"))
    }

    /// Tries this key on every slot that it could open.
    fn unlock(storage: &dyn Storage, config: &Config, key: KeySource<'_>) -> Result<(ObjectId, Keyring)> {
        let mut tried = 0;
        let mut broken = None;
        let slots = list(storage, Folder::Keys)?;
        if slots.is_empty() {
            return Err(Error::new(Kind::Damage, format!("the repository at {} is damaged", storage.describe()))
                .why("no key slot is left")
                .fix("put keys/ back from a copy of the repository"));
        }
        for id in slots {
            match Self::unlock_one(storage, config, key, &id) {
                Ok(Some(keys)) => return Ok((id, keys)),
                Ok(None) => tried += 1,
                Err(e) => broken = Some(e),
            }
        }
        if let Some(error) = broken {
            return Err(error);
        }
        let what = match key {
            KeySource::Password(_) => "wrong password",
            KeySource::KeyFile(_) => "wrong key file",
        };
        Err(Error::new(Kind::WrongKey, format!("{what} for the repository at {}", storage.describe()))
            .why(format!("it opens none of the {tried} key slots"))
            .fix("check the password or key file, and that this is the repository you mean"))
    }

    fn unlock_one(
        storage: &dyn Storage,
        config: &Config,
        key: KeySource<'_>,
        id: &ObjectId,
    ) -> Result<Option<Keyring>> {
        let slot = Self::read_slot(storage, id)?;
        if slot.header.repository != config.header.repository || !key.fits(&slot.lock) {
            return Ok(None);
        }
        let slot_key = key.slot_key(&slot.lock)?;
        if !slot.is_opened_by(&slot_key) {
            return Ok(None);
        }
        let place = Folder::Keys.key(id);
        slot.unlock(&slot_key).map(Some).map_err(|e| twice::put_back(malformed(place.as_str(), &e), &place))
    }

    fn read_slot(storage: &dyn Storage, id: &ObjectId) -> Result<Slot> {
        let key = Folder::Keys.key(id);
        twice::get(storage, &key, |place, bytes| {
            Self::parse_slot(place, id, bytes).map_err(|e| twice::put_back(e, &key))
        })
    }

    /// The key slot of this name in these bytes.
    pub(super) fn parse_slot(place: &str, id: &ObjectId, bytes: &[u8]) -> Result<Slot> {
        check_name(place, id, bytes)?;
        Slot::parse(bytes).map_err(|e| malformed(place, &e))
    }

    fn write_slot(
        storage: &dyn Storage,
        world: &dyn World,
        repository: RepositoryId,
        keys: &Keyring,
        key: KeySource<'_>,
        label: &str,
    ) -> Result<ObjectId> {
        let salt = clock::random(world)?;
        let header =
            Header { kind: ObjectKind::KeySlot, epoch: keys.epoch(), repository, session: SessionId::ZERO, salt };
        let lock = key.new_lock(world)?;
        let slot_key = key.slot_key(&lock)?;
        let label = SlotLabel { label: label.as_bytes().to_vec(), created: world.now() };
        let bytes = Slot::lock(header, lock, &slot_key, keys, &label).encode();
        let id = ObjectId::of(&bytes);
        twice::put(storage, &Folder::Keys.key(&id), &bytes)?;
        Ok(id)
    }

    /// The slot that this opens already, if there is one. A slot that cannot be read does not count.
    pub fn slot_opened_by(&self, key: KeySource<'_>) -> Result<Option<ObjectId>> {
        let opens = |id: &ObjectId| {
            let opened = Self::unlock_one(&*self.storage, &self.config, key, id);
            matches!(opened, Ok(Some(_)))
        };
        Ok(self.list(Folder::Keys)?.into_iter().find(opens))
    }

    /// Adds a key slot; durable when this returns.
    pub fn add_key(&self, key: KeySource<'_>, label: &str) -> Result<ObjectId> {
        let id = Self::write_slot(&*self.storage, &*self.world, self.id(), &self.keys, key, label)?;
        self.storage.barrier()?;
        Ok(id)
    }

    /// All key slots; one that is damaged is an error in its place.
    pub fn key_slots(&self) -> Result<Vec<(ObjectId, Result<Slot>)>> {
        Ok(self.list(Folder::Keys)?.into_iter().map(|id| (id, self.key_slot(&id))).collect())
    }

    /// Reads one key slot.
    pub fn key_slot(&self, id: &ObjectId) -> Result<Slot> {
        Self::read_slot(&*self.storage, id)
    }

    /// Removes a key slot, but never the last one that can be read.
    pub fn remove_key(&self, id: &ObjectId) -> Result<()> {
        if !self.key_slots()?.iter().any(|(other, slot)| other != id && slot.is_ok()) {
            return Err(Error::new(Kind::Failed, format!("key slot {} is the last one", id.short()))
                .why("without it nothing could be read any more")
                .fix("add another key first: larder key add"));
        }
        twice::delete(&*self.storage, &Folder::Keys.key(id))?;
        Ok(self.storage.barrier()?)
    }

    /// The slot that opened it.
    pub fn own_slot(&self) -> ObjectId {
        self.slot
    }

    /// Its name.
    pub fn id(&self) -> RepositoryId {
        self.config.header.repository
    }

    /// Its parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its keys.
    pub fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// Cuts files.
    pub fn cutter(&self) -> &Cutter {
        &self.cutter
    }

    /// Where its bytes lie.
    pub fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// Time and chance.
    pub fn world(&self) -> &dyn World {
        &*self.world
    }

    /// Where caches go; `None`: nowhere.
    pub fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }

    /// The names of all objects in a folder. Anything else that lies there is left out.
    pub fn list(&self, folder: Folder) -> Result<Vec<ObjectId>> {
        list(&*self.storage, folder)
    }

    /// Reads a sealed object and opens its sections, which must be for these audiences.
    pub fn read<const N: usize>(
        &self,
        folder: Folder,
        id: &ObjectId,
        audiences: [Audience; N],
    ) -> Result<[Vec<u8>; N]> {
        self.read_with_header(folder, id, audiences).map(|(_, sections)| sections)
    }

    /// The same, with the object's header.
    pub(super) fn read_with_header<const N: usize>(
        &self,
        folder: Folder,
        id: &ObjectId,
        audiences: [Audience; N],
    ) -> Result<(Header, [Vec<u8>; N])> {
        self.read_at(folder, id, &folder.key(id), audiences)
    }

    /// The same of one that lies somewhere else.
    pub(super) fn read_at<const N: usize>(
        &self,
        folder: Folder,
        id: &ObjectId,
        key: &Key,
        audiences: [Audience; N],
    ) -> Result<(Header, [Vec<u8>; N])> {
        let bytes = self.named_bytes(folder, id, key)?;
        self.open_object(&folder.object(id), folder.kind(), &bytes, audiences)
    }

    /// The bytes under a key, which must be those of the object of this name, or be mended to be.
    pub(super) fn named_bytes(&self, folder: Folder, id: &ObjectId, key: &Key) -> Result<Vec<u8>> {
        let read = self.storage.get(key, OBJECT_BYTES_MAX).map_err(Error::from);
        let read = read.and_then(|bytes| check_name(&folder.object(id), id, &bytes).map(|()| bytes));
        self.or_mended(read, ObjectAt { folder, id: *id, key: key.clone() }, |bytes| Some(bytes.to_vec()))
    }

    /// Opens the header and the sections of an object's bytes.
    pub(super) fn open_object<const N: usize>(
        &self,
        place: &str,
        kind: ObjectKind,
        bytes: &[u8],
        audiences: [Audience; N],
    ) -> Result<(Header, [Vec<u8>; N])> {
        let (header, found) = sections(bytes, kind).map_err(|e| malformed(place, &e))?;
        if header.repository != self.id() {
            return Err(Error::new(Kind::Damage, format!("{place} belongs to another repository"))
                .why(format!("{} found, {} expected", header.repository, self.id()))
                .fix("remove it from this repository's folder"));
        }
        let mut out: [Vec<u8>; N] = std::array::from_fn(|_| Vec::new());
        if found.len() != N || found.iter().zip(audiences).any(|(section, audience)| section.audience != audience) {
            let error =
                crate::wire::Malformed::bad(kind.name(), format!("{} sections found, {N} expected", found.len()));
            return Err(malformed(place, &error));
        }
        for (out, section) in out.iter_mut().zip(&found) {
            *out = open_section(&self.keys, &header, section).map_err(|e| unopened(place, &e))?;
        }
        Ok((header, out))
    }

    /// The stored form of a sealed object.
    pub(super) fn seal_object(
        &self,
        kind: ObjectKind,
        session: SessionId,
        secrets: &SessionSecrets,
        sections: &[(Audience, &[u8])],
    ) -> Result<Vec<u8>> {
        let salt = clock::random(&*self.world)?;
        let header = Header { kind, epoch: self.keys.epoch(), repository: self.id(), session, salt };
        write_object(&self.keys, secrets, &header, sections).map_err(|e| unopened(kind.name(), &e))
    }

    /// Puts an object under the name that its bytes give it.
    pub(super) fn put_named(&self, folder: Folder, bytes: &[u8]) -> Result<ObjectId> {
        let id = ObjectId::of(bytes);
        self.storage.put(&folder.key(&id), bytes)?;
        Ok(id)
    }

    /// Reads bytes that need not exist.
    pub(super) fn get_if_there(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        match self.storage.get(key, OBJECT_BYTES_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind == ErrorKind::Missing => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// The error for a place where a repository should be.
pub fn no_repository(place: &str, why: &str) -> Error {
    Error::new(Kind::NoRepository, format!("no repository at {place}"))
        .why(why)
        .fix("mount the disk or server that it is on, if it is on one; check --repo; or make one: larder init")
}

fn list(storage: &dyn Storage, folder: Folder) -> Result<Vec<ObjectId>> {
    let mut ids: Vec<_> = storage.list(folder.name())?.iter().filter_map(|l| folder.id(&l.key)).collect();
    // Both copies of a key slot.
    ids.dedup();
    Ok(ids)
}

fn parse_config(place: &str, generation: u32, bytes: &[u8]) -> Result<Config> {
    let config = Config::parse(bytes).map_err(|e| malformed(place, &e))?;
    if config.generation == generation {
        return Ok(config);
    }
    Err(Error::new(Kind::Damage, format!("{place} is not what its name says"))
        .why(format!("it is generation {}: an old configuration was put in the place of a new one", config.generation)))
}

fn verify_config(place: &str, bytes: &[u8], keys: &Keyring) -> Result<()> {
    if Config::verify(bytes, &keys.identity) {
        return Ok(());
    }
    Err(Error::new(Kind::Damage, format!("{place} is not authentic"))
        .why("the keys open, but the configuration was not written by a holder of them"))
}

/// Compares an object's bytes with its name.
pub(super) fn check_name(place: &str, id: &ObjectId, bytes: &[u8]) -> Result<()> {
    let found = ObjectId::of(bytes);
    if found == *id {
        return Ok(());
    }
    Err(Error::new(Kind::Damage, format!("{place} is damaged"))
        .why(format!("its bytes have the BLAKE3 {}, its name says {}", found.short(), id.short()))
        .fix(super::REPAIR))
}
