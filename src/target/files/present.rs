//! What stands in a folder already, looked at and left as it is.

use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::tree::Tree;
use crate::error::{Error, Result};
use crate::text;

/// A folder that is only looked at. Links in it are not followed, as nothing is ever written through them.
#[derive(Debug)]
pub struct Present(Tree);

impl Present {
    /// The folder at this path, which may be a symbolic link to it; `None` where nothing is.
    pub fn open(to: &Path) -> Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(to, flags, Mode::empty()) {
            Ok(root) => Ok(Some(Self(Tree::new(root)))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(Error::io(format!("cannot look at {}", text::path(to)), &e.into())),
        }
    }

    /// Whether a folder stands at this path below it; `None` where nothing does, or no folder leads there.
    pub fn is_folder(&self, path: &[u8]) -> Option<bool> {
        if path.is_empty() {
            return Some(true);
        }
        let spot = self.0.spot(path).ok()?;
        let stat = rustix::fs::statat(&*spot.directory, spot.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }
}
