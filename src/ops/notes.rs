//! Sessions that store no data, and the notes that they leave.

use crate::crypto::Audience;
use crate::error::Result;
use crate::id::ObjectId;
use crate::record::{Note, SessionRecord};
use crate::repo::{Folder, Repository, Session};

/// This program, as records name it.
pub(super) fn program() -> Vec<u8> {
    concat!("larder ", env!("CARGO_PKG_VERSION")).into()
}

/// Begins a session of which nothing is known but when, by which process and which program.
pub(super) fn begin(repository: &Repository) -> Result<Session<'_>> {
    let (time, process, program) = (repository.world().now(), std::process::id(), program());
    Session::begin(repository, &SessionRecord { time, process, program, ..SessionRecord::default() })
}

/// Puts a note; not durable before the next barrier.
pub(super) fn put(session: &Session<'_>, note: &Note) -> Result<ObjectId> {
    session.put(Folder::Notes, &[(Audience::Summary, &note.encode())])
}

/// A session that leaves this note; durable when this returns.
pub(super) fn leave(repository: &Repository, note: &Note) -> Result<()> {
    let session = begin(repository)?;
    put(&session, note)?;
    repository.storage().barrier()?;
    session.end(Vec::new())
}
