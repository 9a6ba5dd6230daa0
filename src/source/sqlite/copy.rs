//! A held state, written into a private folder.

use std::io;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::failure::Failure;
use super::snapshot::Snapshot;
use super::spool::{Folder, RUN_BYTES};
use crate::event::Cancel;
use crate::text;

/// Page by page, through the connection that holds the locks.
pub(super) fn pages(
    snapshot: &Snapshot,
    folder: &Folder,
    cancel: &Cancel,
    failed: impl Fn(rusqlite::Error) -> Failure,
) -> Result<(), Failure> {
    let mut writer = folder.create_image()?;
    let mut buffer = vec![0; RUN_BYTES];
    let run = RUN_BYTES as u32 / snapshot.page_bytes;
    for first in (1..=snapshot.pages).step_by(run as usize) {
        cancel.check()?;
        let pages = run.min(snapshot.pages - first + 1);
        let bytes = &mut buffer[..(pages * snapshot.page_bytes) as usize];
        snapshot.read_pages(first, bytes).map_err(&failed)?;
        writer.append(bytes)?;
    }
    writer.finish().map(drop)
}

/// By the engine's own copier. It never begins anew: writers cannot change what the transaction holds.
pub(super) fn steps(
    snapshot: &Snapshot,
    folder: &Folder,
    cancel: &Cancel,
    failed: impl Fn(rusqlite::Error) -> Failure,
) -> Result<(), Failure> {
    folder.create_image()?.finish()?;
    // The copier would give an empty database its first page.
    if snapshot.pages > 0 {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut copy = Connection::open_with_flags(folder.image(), flags).map_err(&failed)?;
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -512;")
            .map_err(&failed)?;
        let backup = Backup::new(&snapshot.connection, &mut copy).map_err(&failed)?;
        let run = RUN_BYTES as i32 / snapshot.page_bytes as i32;
        let cannot_copy = || format!("cannot write the private copy {}", text::path(&folder.image()));
        loop {
            cancel.check()?;
            match backup.step(run) {
                Ok(StepResult::Done) => break,
                Ok(StepResult::More) => {}
                Ok(_) => return Err(Failure::spool(cannot_copy(), &io::ErrorKind::ResourceBusy.into())),
                Err(e) if e.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                    return Err(Failure::spool(cannot_copy(), &io::ErrorKind::StorageFull.into()));
                }
                Err(e) => return Err(failed(e)),
            }
        }
    }
    Ok(())
}
