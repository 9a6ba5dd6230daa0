//! Bytes under keys: the port to whatever holds a repository. It has never heard of a chunk.
//!
//! Contract, checked by [`conformance`] for every store:
//! - Objects are immutable. A put never replaces: a key that is taken by the same bytes counts as stored (the
//!   answer to an earlier try may have been lost); by other bytes it is an [`ErrorKind::Exists`]. What became damaged
//!   [`Storage::mend`] makes again what it was.
//! - An object is visible whole or not at all, to listing and reading alike.
//! - After `put` or `finish` returns, the object is visible; after the next [`Storage::barrier`] that returns,
//!   it survives a power cut. So do deletions and moves to the trash. Until then a power cut may undo any of
//!   them, in any combination. A store whose changes are durable at once has an empty barrier.
//! - A barrier covers what its own process changed or adopted, and need not cover anything else.
//! - A list started after a put returned shows that object.
//! - No key is a folder of another; a store may refuse it.
//! - Every error names the key and says whether trying again can help.

use std::fmt;
use std::sync::Arc;

pub mod local;
pub mod memory;
pub mod wrap;

#[cfg(test)]
pub mod conformance;

/// A place below the storage root: components of `[a-z0-9._-]`, joined by `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key with this text, if it is well formed: no empty, `.`, `..` or hidden component, at most 200 bytes.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (text.len() <= 200 && text.split('/').all(|part| is_key_part(part.as_bytes()))).then_some(Self(text))
    }

    /// Where [`Storage::trash`] moves this object; `None` if that would be too long for a key.
    pub fn in_trash(&self) -> Option<Self> {
        Self::new(format!("trash/{}", self.0))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether this can stand between the slashes of a key.
fn is_key_part(name: &[u8]) -> bool {
    !name.is_empty()
        && !name.starts_with(b".")
        && name.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(b))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Where.
    pub key: Key,
    /// Stored length in bytes.
    pub size: u64,
}

/// What callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No object under this key.
    Missing,
    /// The key is taken by other bytes.
    Exists,
    /// Shorter than the range asked for, or longer than the limit given.
    Length,
    /// The store is full or a quota is used up.
    NoSpace,
    /// The store may not be written, or not be read.
    Denied,
    /// The system has no more handles or memory for this program.
    Exhausted,
    /// The disk cannot read what is asked for.
    Unreadable,
    /// A symbolic link lies there.
    Link,
    /// Anything else.
    Other,
}

/// A failed operation on one key (or on the root).
#[derive(Clone, Debug)]
pub struct Error {
    /// What callers act on.
    pub kind: ErrorKind,
    /// What was tried: "read", "write", "list", …
    pub action: &'static str,
    /// The full place, for people: root and key.
    pub place: String,
    /// What the system said.
    pub why: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
}

impl Error {
    /// A failure that trying again does not help.
    pub fn new(kind: ErrorKind, action: &'static str, place: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { kind, action, place: place.into(), why: why.to_string(), retryable: false }
    }

    /// The same failure, but trying again may help.
    pub fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.action, self.place, self.why)
    }
}

impl std::error::Error for Error {}

impl From<Error> for crate::error::Error {
    fn from(e: Error) -> Self {
        use crate::error::Kind;
        let kind = match e.kind {
            ErrorKind::Missing => Kind::Missing,
            ErrorKind::NoSpace => Kind::NoSpace,
            ErrorKind::Exists | ErrorKind::Length => Kind::Damage,
            ErrorKind::Denied => Kind::Denied,
            ErrorKind::Exhausted => Kind::Exhausted,
            ErrorKind::Unreadable | ErrorKind::Link | ErrorKind::Other => Kind::Failed,
        };
        let fix = match e.kind {
            ErrorKind::Missing => "run `larder check`: an object that is needed is gone",
            ErrorKind::Exists | ErrorKind::Length => "run `larder check --data all` to see what is affected",
            ErrorKind::NoSpace => {
                "free space there, or have larder forget and larder prune --no-trash do it, then run the command again: \
                 what was stored stays usable"
            }
            ErrorKind::Denied => "check the permissions of the repository and who runs this command",
            ErrorKind::Exhausted => crate::error::EXHAUSTED_FIX,
            ErrorKind::Link => {
                "put there what it stands for, or move the whole repository: within it no links are followed, because what \
                 they stand for may be another disk, or gone"
            }
            ErrorKind::Unreadable | ErrorKind::Other => "check the disk or connection, then run the command again",
        };
        Self::new(kind, format!("cannot {} {}", e.action, e.place)).why(e.why).fix(fix)
    }
}

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

/// What a store can do beyond the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Deleting can be a rename into `trash/`.
    pub trash: bool,
    /// [`Storage::hold`] marks an object as in use by a living process, visible to [`Storage::held`].
    pub holds: bool,
    /// How many requests at once serve it best.
    pub requests: usize,
    /// Whether reading costs the network.
    pub remote: bool,
}

/// An object being written whose name is known only at the end. Dropped without `finish`, it leaves nothing behind.
pub trait Upload: Send {
    /// Appends bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
    /// Makes the object visible under `key`, whole; see the module's contract. May flush to disk, so it can take long.
    fn finish(self: Box<Self>, key: &Key) -> Result<()>;
}

/// An object that stays open. It reads what was there when it was opened, whatever becomes of its name.
pub trait Object: Send + Sync + fmt::Debug {
    /// Fills `to` with exactly `len` bytes from `offset`; fewer there are [`ErrorKind::Length`], and take no memory.
    fn read(&self, offset: u64, len: usize, to: &mut Vec<u8>) -> Result<()>;
}

/// Keeps an object marked as in use; dropping it, or the death of the process, ends that.
pub trait Hold: Send + Sync {}

/// The port. All calls block; all may come from several threads at once.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Stores a small object (at most a few MiB).
    fn put(&self, key: &Key, bytes: &[u8]) -> Result<()>;
    /// Begins a big object.
    fn upload(&self) -> Result<Box<dyn Upload>>;
    /// Reads a whole object of at most `limit` bytes; a longer one is [`ErrorKind::Length`], and is not read.
    fn get(&self, key: &Key, limit: u64) -> Result<Vec<u8>>;
    /// Reads exactly `len` bytes from `offset`; fewer there are [`ErrorKind::Length`].
    fn get_range(&self, key: &Key, offset: u64, len: usize) -> Result<Vec<u8>>;
    /// Opens an object of which many parts will be read; `None` where [`Storage::get_range`] costs no more.
    fn open(&self, key: &Key) -> Result<Option<Arc<dyn Object>>> {
        let _ = key;
        Ok(None)
    }
    /// The stored length.
    fn size(&self, key: &Key) -> Result<u64>;
    /// All objects below the folder `prefix` (such as `packs`; empty for all), sorted by key. A missing folder is
    /// empty; any error in the middle fails the whole listing, because a short list looks like deleted data.
    /// Files whose names are no valid keys (temporary files) are left out.
    fn list(&self, prefix: &str) -> Result<Vec<Listed>>;
    /// Removes an object; one that is missing is not an error.
    fn delete(&self, key: &Key) -> Result<()>;
    /// Moves an object to [`Key::in_trash`], where the store can; see [`Capabilities::trash`]. What an earlier run
    /// left there under the same name is replaced.
    fn trash(&self, key: &Key) -> Result<()>;
    /// Puts the bytes that an object had when it was stored in the place of those that it has now, at once: a reader sees
    /// either. One that is missing stays so, also if it goes meanwhile; a store that cannot promise that refuses.
    fn mend(&self, key: &Key, bytes: &[u8]) -> Result<()>;
    /// Marks an existing object as in use until the returned value is dropped; a second holder is refused. `None`
    /// where the store cannot.
    fn hold(&self, key: &Key) -> Result<Option<Box<dyn Hold>>>;
    /// Whether a living process holds the object; `None` where the store cannot tell.
    fn held(&self, key: &Key) -> Result<Option<bool>>;
    /// Has the next barrier cover this object as if it had been put here: whoever stored it may have died, or cut a
    /// connection, before it was durable. For objects that were found and that are going to be counted on; and for
    /// those that are gone, as if they had been deleted here.
    fn adopt(&self, key: &Key);
    /// Sets about so much space aside, where the store can; bytes.
    fn set_aside(&self, bytes: u64) {
        let _ = bytes;
    }
    /// Gives back what was set aside if the store is full: who calls it is about to write little, and to free more.
    fn make_room(&self) {}
    /// Returns when everything that was put, adopted, deleted or moved before the call survives a power cut.
    fn barrier(&self) -> Result<()>;
    /// What this store can do.
    fn capabilities(&self) -> Capabilities;
    /// The root, for messages; never holds a secret.
    fn describe(&self) -> String;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_have_one_spelling() {
        let longest = "x".repeat(200);
        for good in ["a", "packs/ab/ab12.pack", "config/0", "a-b_c.d", "-", "_", "a..", longest.as_str()] {
            assert_eq!(Key::new(good).unwrap().as_str(), good);
        }
        let longer = "x".repeat(201);
        let bad = ["", "/", "a/", "/a", "a//b", ".", "..", "a/..", ".a", "a/.b", "A", "a b", "a\\b", "é", "a\0", "a\n"];
        for bad in bad.into_iter().chain([longer.as_str()]) {
            assert_eq!(Key::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_key_moves_to_the_trash_if_it_fits() {
        let trashed = |text: String| Key::new(text).unwrap().in_trash();
        assert_eq!(trashed("packs/ab/1".into()), Key::new("trash/packs/ab/1"));
        assert!(trashed("x".repeat(194)).is_some());
        assert_eq!(trashed("x".repeat(195)), None);
    }

    proptest! {
        #[test]
        fn whatever_matches_the_rule_is_a_key(text in "[a-z0-9_-][a-z0-9._-]{0,20}(/[a-z0-9_-][a-z0-9._-]{0,20}){0,6}") {
            prop_assert!(Key::new(text.clone()).is_some(), "{}", text);
        }

        #[test]
        fn a_key_stays_below_the_root(text in "[ -~é/.]{0,12}") {
            if let Some(key) = Key::new(text) {
                let parts: Vec<_> = std::path::Path::new(key.as_str()).components().collect();
                prop_assert!(parts.iter().all(|part| matches!(part, std::path::Component::Normal(_))));
                prop_assert_eq!(parts.len(), key.as_str().split('/').count());
                prop_assert!(!key.as_str().contains("/."));
            }
        }
    }
}
