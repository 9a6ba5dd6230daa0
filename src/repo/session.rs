//! A run that writes: it says that it is there before it looks at anything, and what it saved when it is done.
//!
//! Why this is safe: a prune condemns packs, then lists sessions, and waits for those it finds. A session that it did
//! not find began later, so it listed the condemned packs' tombs and did not count on them. A prune may take a session
//! for dead and remove its object; whoever finds it gone before its end begins anew.

use std::collections::HashSet;
use std::sync::Mutex;

use super::reader::lock;
use super::{Folder, Repository, layout};
use crate::clock;
use crate::crypto::Audience;
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, SessionId};
use crate::record::{Body, SessionEnd, SessionRecord, Summary, add_check};
use crate::seal::{ObjectKind, SessionSecrets, add_parity};
use crate::storage::{ErrorKind, Hold};

/// How often a session is begun that somebody takes for dead at once.
const TRIES: u32 = 10;

/// A session of this process.
pub struct Session<'r> {
    repository: &'r Repository,
    id: SessionId,
    name: ObjectId,
    secrets: SessionSecrets,
    bytes_written: Mutex<u64>,
    notes: Mutex<Vec<ObjectId>>,
    /// Released when the process ends, however it ends, so that nobody waits for a dead session.
    #[allow(dead_code, reason = "it is held, not used")]
    hold: Option<Box<dyn Hold>>,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.name.short())
    }
}

impl<'r> Session<'r> {
    /// Announces a session; durable when this returns. A prune that comes between the object and the lock on it takes it
    /// for dead: then it begins anew.
    pub fn begin(repository: &'r Repository, record: &SessionRecord) -> Result<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut new = Self::unlisted(repository)?;
            let sections = [(Audience::Summary, &record.encode()[..])];
            let bytes = repository.seal_object(ObjectKind::Session, new.id, &new.secrets, &sections)?;
            new.name = repository.put_named(Folder::Sessions, &bytes)?;
            repository.storage().barrier()?;
            new.count(bytes.len() as u64);
            match repository.storage().hold(&Folder::Sessions.key(&new.name)) {
                Ok(hold) => return Ok(Self { hold, ..new }),
                Err(e) if e.kind == ErrorKind::Missing && tries < TRIES => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// A session that nobody can see, nor wait for, and that confirms nothing: a prune's, since two prunes would wait for
    /// each other.
    pub fn unlisted(repository: &'r Repository) -> Result<Self> {
        if let Some(feature) = repository.config().features_to_write.first() {
            return Err(Error::new(Kind::Newer, "this larder can read this repository, but not write to it")
                .why(format!("it uses the feature \"{}\"", crate::text::escape(feature)))
                .fix("use a newer larder"));
        }
        let id = SessionId::new(clock::random(repository.world())?);
        let secrets = SessionSecrets::generate(repository.world())?;
        Ok(Self {
            repository,
            id,
            name: ObjectId::ZERO,
            secrets,
            bytes_written: Mutex::default(),
            notes: Mutex::default(),
            hold: None,
        })
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
        *lock(&self.bytes_written) += bytes;
    }

    /// Bytes of all objects that it put so far.
    pub fn bytes_written(&self) -> u64 {
        *lock(&self.bytes_written)
    }

    /// Puts a sealed object, which mends itself; not durable before the next barrier.
    pub fn put(&self, folder: Folder, sections: &[(Audience, &[u8])]) -> Result<ObjectId> {
        let bytes = add_parity(self.repository.seal_object(folder.kind(), self.id, &self.secrets, sections)?);
        self.count(bytes.len() as u64);
        let id = self.repository.put_named(folder, &bytes)?;
        if folder == Folder::Notes {
            lock(&self.notes).push(id);
        }
        Ok(id)
    }

    /// Puts a snapshot; everything that it names must be durable. Durable when this returns.
    pub fn put_snapshot(&self, summary: &Summary, body: &Body) -> Result<ObjectId> {
        let sections = [(Audience::Summary, &summary.encode()[..]), (Audience::Content, &body.encode()[..])];
        let id = self.put(Folder::Snapshots, &sections)?;
        self.repository.storage().barrier()?;
        Ok(id)
    }

    /// Ends the session, confirming these snapshots; notes must be durable. Fails if the session was expired meanwhile: then somebody may
    /// have removed what the snapshots need.
    pub fn end(self, snapshots: Vec<ObjectId>) -> Result<()> {
        let name = self.name;
        if self.try_end(snapshots)? { Ok(()) } else { Err(taken_for_dead(&name)) }
    }

    /// The same for who can begin anew: whether it ended. If not, nothing was confirmed.
    pub fn try_end(self, snapshots: Vec<ObjectId>) -> Result<bool> {
        if !snapshots.is_empty() && !self.is_there()? {
            return Ok(false);
        }
        let notes = std::mem::take(&mut *lock(&self.notes));
        let record = SessionEnd { snapshots, notes, ..SessionEnd::default() };
        let sections = [(Audience::Summary, &record.encode()[..])];
        let bytes = self.repository.seal_object(ObjectKind::SessionEnd, self.id, &self.secrets, &sections)?;
        self.repository.storage().put(&layout::session_end(&self.name), &add_check(bytes))?;
        self.repository.storage().barrier()?;
        Ok(true)
    }

    /// Whether the session is still there. If not, somebody took this run for dead, and may have removed what it
    /// counted on.
    pub fn is_there(&self) -> Result<bool> {
        match self.repository.storage().size(&Folder::Sessions.key(&self.name)) {
            Ok(_) => Ok(true),
            Err(e) if e.kind == ErrorKind::Missing => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// The same as an error.
    pub fn check_is_there(&self) -> Result<()> {
        if self.is_there()? { Ok(()) } else { Err(taken_for_dead(&self.name)) }
    }
}

fn taken_for_dead(name: &ObjectId) -> Error {
    Error::new(Kind::Failed, "this run was taken for dead and cannot confirm its snapshot")
        .why(format!("session {} is no longer there", name.short()))
        .fix("run the command again; what was stored is used")
}

/// A session that has no end: its run is at work, or died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The object's name.
    pub name: ObjectId,
    /// Whether its run lives; `None` where the store cannot tell.
    pub is_held: Option<bool>,
}

impl Repository {
    /// Sessions that are listed and have no end.
    pub fn open_sessions(&self) -> Result<Vec<OpenSession>> {
        let listed = self.storage().list(Folder::Sessions.name())?;
        let ended: HashSet<ObjectId> = listed.iter().filter_map(|l| layout::ended_session(&l.key)).collect();
        let open = listed.iter().filter_map(|l| Folder::Sessions.id(&l.key)).filter(|name| !ended.contains(name));
        let mut out = Vec::new();
        for name in open {
            match self.storage().held(&Folder::Sessions.key(&name)) {
                Ok(is_held) => out.push(OpenSession { name, is_held }),
                Err(e) if e.kind == ErrorKind::Missing => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(out)
    }

    /// Takes a session for dead. If it is not, it notices, and begins anew; see [`Session::is_there`].
    pub fn expire_session(&self, name: &ObjectId) -> Result<()> {
        Ok(self.storage().delete(&Folder::Sessions.key(name))?)
    }
}
