//! The 96 bytes that every object begins with.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `LRDR` |
//! | 4 | 1 | kind |
//! | 5 | 1 | format version, 1 |
//! | 6 | 1 | suite, 1: ChaCha20-Poly1305, BLAKE3, zstd, Argon2id |
//! | 7 | 1 | flags, 0; bit 0 is kept for "64 bytes of signature end the object" |
//! | 8 | 4 | epoch, u32 |
//! | 12 | 4 | zero |
//! | 16 | 16 | repository id |
//! | 32 | 16 | session id; zero: written by no session |
//! | 48 | 16 | author id; zero: none |
//! | 64 | 32 | salt, random: no two objects share a key |

use crate::id::{RepositoryId, SessionId};
use crate::wire::{Malformed, Reader, Result};

/// Length of the header.
pub const HEADER_BYTES: usize = 96;
const MAGIC: &[u8; 4] = b"LRDR";
const VERSION: u8 = 1;
const SUITE: u8 = 1;

/// What an object is; part of everything that it authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum ObjectKind {
    Config = 1,
    KeySlot = 2,
    Pack = 3,
    Index = 4,
    Snapshot = 5,
    Session = 6,
    SessionEnd = 7,
    Tomb = 8,
    Damage = 9,
    Note = 10,
    Parity = 11,
}

impl ObjectKind {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Config, "config"),
        (Self::KeySlot, "key slot"),
        (Self::Pack, "pack"),
        (Self::Index, "index"),
        (Self::Snapshot, "snapshot"),
        (Self::Session, "session"),
        (Self::SessionEnd, "session end"),
        (Self::Tomb, "tomb"),
        (Self::Damage, "damage record"),
        (Self::Note, "note"),
        (Self::Parity, "parity"),
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize - 1].1
    }
}

/// The fields that vary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the object is.
    pub kind: ObjectKind,
    /// Which epoch's keys wrap its secrets.
    pub epoch: u32,
    /// Whose it is.
    pub repository: RepositoryId,
    /// Which run wrote it.
    pub session: SessionId,
    /// Random.
    pub salt: [u8; 32],
}

impl Header {
    /// The stored form.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(MAGIC);
        out[4] = self.kind as u8;
        out[5] = VERSION;
        out[6] = SUITE;
        out[8..12].copy_from_slice(&self.epoch.to_le_bytes());
        out[16..32].copy_from_slice(self.repository.as_bytes());
        out[32..48].copy_from_slice(self.session.as_bytes());
        out[64..96].copy_from_slice(&self.salt);
        out
    }

    /// Reads a header, which must be of this kind.
    pub fn parse(bytes: &[u8], kind: ObjectKind) -> Result<Self> {
        let mut r = Reader::new(bytes, kind.name());
        if r.array()? != *MAGIC {
            return Err(r.bad("it does not begin with LRDR"));
        }
        let found = r.u8()?;
        let (version, suite, flags) = (r.u8()?, r.u8()?, r.u8()?);
        if (version, suite, flags) != (VERSION, SUITE, 0) {
            let what = format!("{} with version {version}, suite {suite}, flags {flags}", kind.name());
            return Err(Malformed::Newer { what });
        }
        if found != kind as u8 {
            return Err(r.bad(format!("it is an object of kind {found}, {} expected", kind as u8)));
        }
        let epoch = r.u32()?;
        let zero = r.u32()?;
        let new = Self {
            kind,
            epoch,
            repository: RepositoryId::new(r.array()?),
            session: SessionId::new(r.array()?),
            salt: {
                let author: [u8; 16] = r.array()?;
                if zero != 0 || author != [0; 16] {
                    return Err(Malformed::Newer { what: format!("{} with an author", kind.name()) });
                }
                r.array()?
            },
        };
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_matters_or_is_refused() {
        let header = Header {
            kind: ObjectKind::Index,
            epoch: 7,
            repository: RepositoryId::new([1; 16]),
            session: SessionId::new([2; 16]),
            salt: [3; 32],
        };
        let bytes = header.encode();
        assert_eq!(Header::parse(&bytes, ObjectKind::Index), Ok(header.clone()));
        for i in 0..HEADER_BYTES {
            let mut bad = bytes;
            bad[i] ^= 0x40;
            assert_ne!(Header::parse(&bad, ObjectKind::Index), Ok(header.clone()), "byte {i}");
        }
        assert!(Header::parse(&bytes, ObjectKind::Pack).is_err());
        assert!(Header::parse(&bytes[..95], ObjectKind::Index).is_err());
    }

    #[test]
    fn kinds_know_their_names() {
        for (i, (kind, _)) in ObjectKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, i + 1);
        }
    }
}
