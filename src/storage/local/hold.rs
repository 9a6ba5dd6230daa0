//! Objects in use: an exclusive lock on the object's own file, which the system takes back when its holder dies.
//!
//! Who asks tries a shared lock, so that two who ask do not take each other for a holder. For that moment nobody can
//! become one, hence the second tries of [`hold`].

use std::fs::File;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock, fstat};
use rustix::io::{Errno, retry_on_intr};

use super::super::{Error, ErrorKind, Hold, Key, Result};
use super::root::Root;

/// How often, and how far apart, [`hold`] tries: far longer than anybody takes to ask.
const TRIES: u32 = 20;
const TRY_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct LocalHold {
    _file: File,
}

impl Hold for LocalHold {}

enum Lock {
    Got,
    Taken,
    /// The file system has no locks.
    Unknown,
}

pub(super) fn hold(root: &Root, key: &Key) -> Result<Option<Box<dyn Hold>>> {
    // For writing, because some network file systems lock exclusively only what may be written.
    let (file, _) = root.open_object_for(OFlags::RDWR, "hold", key)?;
    let fail = |e: Errno| root.failed("hold", key.as_str(), e.into());
    for _ in 0..TRIES {
        match lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(fail)? {
            Lock::Got if fstat(&file).map_err(fail)?.st_nlink == 0 => return Err(root.missing("hold", key)),
            Lock::Got => return Ok(Some(Box::new(LocalHold { _file: file }))),
            Lock::Taken => std::thread::sleep(TRY_EVERY),
            Lock::Unknown => return Ok(None),
        }
    }
    Err(Error::new(ErrorKind::Other, "hold", root.place(key.as_str()), "somebody else holds it").retryable())
}

pub(super) fn held(root: &Root, key: &Key) -> Result<Option<bool>> {
    let (file, _) = root.open_object("look at", key)?;
    match lock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(Lock::Got) => Ok(Some(false)),
        Ok(Lock::Taken) => Ok(Some(true)),
        Ok(Lock::Unknown) => Ok(None),
        Err(e) => Err(root.failed("look at", key.as_str(), e.into())),
    }
}

fn lock(file: &File, how: FlockOperation) -> rustix::io::Result<Lock> {
    match retry_on_intr(|| flock(file, how)) {
        Ok(()) => Ok(Lock::Got),
        Err(Errno::WOULDBLOCK) => Ok(Lock::Taken),
        Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(Lock::Unknown),
        Err(e) => Err(e),
    }
}
