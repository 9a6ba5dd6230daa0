//! What a repository is: read before any password.
//!
//! ```text
//! config := header(96) ‖ record ‖ MAC(32) ‖ BLAKE3(32)
//! ```
//! | field | critical | value |
//! |---|---|---|
//! | 1 | yes | a feature that readers and writers must know (repeated) |
//! | 2 | no | a feature that writers must know, readers may ignore (repeated) |
//! | 3 | no | a feature that all may ignore (repeated) |
//! | 4 | yes | chunker parameters for files |
//! | 5 | yes | when it was made: seconds, nanoseconds |
//! | 6 | yes | its generation, varint: the number that it is stored under, so that an old one cannot pass for a new one |

use crate::chunk::Params;
use crate::crypto::Identity;
use crate::entry::Time;
use crate::seal::{HEADER_BYTES, Header, ObjectKind};
use crate::wire::{self, Fields, Malformed, Record, Unknown, critical, optional};

use super::session::{put_time, take_time};
use super::{add_check, strip_check};

const WHAT: &str = "config";

/// A repository's parameters; frozen but for the feature lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whose it is, and a salt.
    pub header: Header,
    /// Features without which it can be read, but not written.
    pub features_to_write: Vec<Vec<u8>>,
    /// Features that may be ignored.
    pub features_optional: Vec<Vec<u8>>,
    /// How files are cut.
    pub chunker: Params,
    /// When it was made.
    pub created: Time,
    /// The number that it is stored under.
    pub generation: u32,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

impl Config {
    /// The stored form.
    pub fn encode(&self, identity: &Identity) -> Vec<u8> {
        let mut record = Record::new(&self.unknown);
        for feature in &self.features_to_write {
            record.bytes(optional(2), feature);
        }
        for feature in &self.features_optional {
            record.bytes(optional(3), feature);
        }
        record.bytes(critical(4), &self.chunker.encode());
        record.bytes(critical(5), &put_time(self.created)).varint(critical(6), self.generation.into());
        let mut out = self.header.encode().to_vec();
        record.finish_into(&mut out);
        let mac = identity.config.hash(&out);
        out.extend_from_slice(&mac);
        add_check(out)
    }

    /// Reads the stored form. It is not proven before [`Self::verify`].
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let header = Header::parse(bytes, ObjectKind::Config)?;
        let body = strip_check(bytes, WHAT)?;
        let (body, _mac) = body.split_last_chunk::<32>().ok_or_else(|| Malformed::bad(WHAT, "it has no MAC"))?;
        let record = body.get(HEADER_BYTES..).ok_or_else(|| Malformed::bad(WHAT, "it is too short"))?;
        let (mut chunker, mut created, mut generation) = (None, None, None);
        let (mut to_write, mut ignorable, mut unknown) = (Vec::new(), Vec::new(), Unknown::new());
        for field in Fields::new(record, WHAT).once(&[4, 5, 6]) {
            let field = field?;
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => {
                    let name = crate::text::escape(field.value);
                    return Err(Malformed::Newer { what: format!("the repository's feature \"{name}\"") });
                }
                (2, 0) => to_write.push(field.value.to_vec()),
                (3, 0) => ignorable.push(field.value.to_vec()),
                (4, 1) => chunker = Some(Params::parse(field.value)?),
                (5, 1) => created = Some(take_time(field.reader(WHAT))?),
                (6, 1) => {
                    let mut r = field.reader(WHAT);
                    generation = Some(r.varint_to(u32::MAX.into())? as u32);
                    r.end()?;
                }
                _ => unknown.push(field.unknown(WHAT)?),
            }
        }
        let (Some(chunker), Some(created), Some(generation)) = (chunker, created, generation) else {
            return Err(Malformed::bad(WHAT, "it has no chunker parameters, no time, or no generation"));
        };
        let (features_to_write, features_optional) = (to_write, ignorable);
        Ok(Self { header, features_to_write, features_optional, chunker, created, generation, unknown })
    }

    /// Whether these stored bytes were written by a holder of the repository's root.
    pub fn verify(bytes: &[u8], identity: &Identity) -> bool {
        let Some((body, mac)) = strip_check(bytes, WHAT).ok().and_then(|body| body.split_last_chunk::<32>()) else {
            return false;
        };
        identity.config.verify(body, mac)
    }
}
