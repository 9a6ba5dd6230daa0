//! A run that writes: it says that it is there before it looks at anything, and what it saved when it is done.
//!
//! Why this is safe: a prune condemns packs, then lists sessions, and waits for those it finds. A session that it did
//! not find began later, so it listed the condemned packs' tombs and did not count on them.

use std::sync::Mutex;

use super::{Folder, Repository, layout};
use crate::clock;
use crate::crypto::Audience;
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, SessionId};
use crate::record::{Body, SessionEnd, SessionRecord, Summary, add_check};
use crate::seal::{ObjectKind, SessionSecrets};
use crate::storage::{ErrorKind, Hold};

/// A session of this process.
pub struct Session<'r> {
    repository: &'r Repository,
    id: SessionId,
    name: ObjectId,
    secrets: SessionSecrets,
    bytes_written: Mutex<u64>,
    /// Released when the process ends, however it ends, so that nobody waits for a dead session.
    _hold: Option<Box<dyn Hold>>,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.name.short())
    }
}

impl<'r> Session<'r> {
    /// Announces a session; durable when this returns.
    pub fn begin(repository: &'r Repository, record: &SessionRecord) -> Result<Self> {
        if let Some(feature) = repository.config().features_to_write.first() {
            return Err(Error::new(Kind::Newer, "this larder can read this repository, but not write to it")
                .why(format!("it uses the feature \"{}\"", crate::text::escape(feature)))
                .fix("use a newer larder"));
        }
        let id = SessionId::new(clock::random(repository.world())?);
        let secrets = SessionSecrets::generate(repository.world())?;
        let sections = [(Audience::Summary, &record.encode()[..])];
        let bytes = repository.seal_object(ObjectKind::Session, id, &secrets, &sections)?;
        let name = repository.put_named(Folder::Sessions, &bytes)?;
        repository.storage().barrier()?;
        let hold = repository.storage().hold(&Folder::Sessions.key(&name))?;
        let bytes_written = Mutex::new(bytes.len() as u64);
        Ok(Self { repository, id, name, secrets, bytes_written, _hold: hold })
    }

    /// The repository.
    pub fn repository(&self) -> &'r Repository {
        self.repository
    }

    /// The id in the headers of everything it writes.
    pub fn id(&self) -> SessionId {
        self.id
    }

    pub(super) fn secrets(&self) -> &SessionSecrets {
        &self.secrets
    }

    pub(super) fn count(&self, bytes: u64) {
        if let Ok(mut sum) = self.bytes_written.lock() {
            *sum += bytes;
        }
    }

    /// Bytes of all objects that it put so far.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.lock().map_or(0, |sum| *sum)
    }

    /// Puts a sealed object; not durable before the next barrier.
    pub fn put(&self, folder: Folder, sections: &[(Audience, &[u8])]) -> Result<ObjectId> {
        let bytes = self.repository.seal_object(folder.kind(), self.id, &self.secrets, sections)?;
        self.count(bytes.len() as u64);
        self.repository.put_named(folder, &bytes)
    }

    /// Puts a snapshot; everything that it names must be durable. Durable when this returns.
    pub fn put_snapshot(&self, summary: &Summary, body: &Body) -> Result<ObjectId> {
        let sections = [(Audience::Summary, &summary.encode()[..]), (Audience::Content, &body.encode()[..])];
        let id = self.put(Folder::Snapshots, &sections)?;
        self.repository.storage().barrier()?;
        Ok(id)
    }

    /// Ends the session, confirming these snapshots. Fails if the session was expired meanwhile: then somebody may
    /// have removed what the snapshots need.
    pub fn end(self, snapshots: Vec<ObjectId>) -> Result<()> {
        if !snapshots.is_empty() {
            self.check_is_there()?;
        }
        let record = SessionEnd { snapshots, ..SessionEnd::default() };
        let sections = [(Audience::Summary, &record.encode()[..])];
        let bytes = self.repository.seal_object(ObjectKind::SessionEnd, self.id, &self.secrets, &sections)?;
        self.repository.storage().put(&layout::session_end(&self.name), &add_check(bytes))?;
        Ok(self.repository.storage().barrier()?)
    }

    /// Fails if the session was expired: then somebody may have removed what it counted on.
    pub fn check_is_there(&self) -> Result<()> {
        match self.repository.storage().size(&Folder::Sessions.key(&self.name)) {
            Ok(_) => Ok(()),
            Err(e) if e.kind == ErrorKind::Missing => {
                Err(Error::new(Kind::Failed, "this run was taken for dead and cannot confirm its snapshot")
                    .why(format!("session {} is no longer there", self.name.short()))
                    .fix("run the command again; what was stored is used"))
            }
            Err(e) => Err(e.into()),
        }
    }
}
