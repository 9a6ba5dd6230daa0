//! Sealed sections: how small objects (snapshots, index, sessions, notes, …) and pack heads hold secrets.
//!
//! ```text
//! object  := header(96) section* [0 ‖ parity]
//! section := audience u8 ‖ wrap ‖ length u32 ‖ ciphertext(length)
//! wrap    := kind u8 (1: epoch key) ‖ length u16 (80) ‖ commitment(32) ‖ sealed secret(48)
//! plain   := codec u8 ‖ [raw length u32, if codec is not 0] ‖ bytes
//! ```
//! The wrapped secret is the session's, one per audience; the section's own key is derived from it with the header
//! and the section's place, so that a section opens only where it was written. Wrap kind 2 is kept for HPKE. In stripes as
//! long as it an object with parity XORs to nothing, see [`super::Parity`].

use super::parity::{Goal, PARITY_BYTES_MAX, Parity, SECTOR_BYTES, mend_stripes};
use super::{Codec, Compressor, HEADER_BYTES, Header, decompress};
use crate::clock::{self, World};
use crate::crypto::{self, Audience, Keyring, Secret};
use crate::wire::{Malformed, Reader};

/// Stored length of a wrap.
pub const WRAP_BYTES: usize = 83;
const WRAP_EPOCH: u8 = 1;
/// Stands where a section could begin, and before the parity.
const NO_SECTION: u8 = 0;
/// The parity is what a sector takes, or longer, so that there are no more stripes than this: each may have to be tried.
const STRIPES_MAX: usize = 256;
/// Longer objects than any of this program are not mended. Bytes.
const MENDED_BYTES_MAX: usize = 64 << 20;
/// Longest plain form of a section.
const SECTION_BYTES_MAX: usize = 64 << 20;

/// Why a section did not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The bytes break the format.
    Malformed(Malformed),
    /// This key ring has no key for that epoch or wrap.
    NoKey(String),
    /// The bytes are not what was sealed.
    NotAuthentic(&'static str),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(e) => e.fmt(f),
            Self::NoKey(why) => f.write_str(why),
            Self::NotAuthentic(what) => {
                write!(f, "the {what} is not authentic: its bytes were changed, or it was sealed elsewhere")
            }
        }
    }
}

impl std::error::Error for OpenError {}

impl From<Malformed> for OpenError {
    fn from(e: Malformed) -> Self {
        Self::Malformed(e)
    }
}

/// The random secrets of one session, one per audience, under which it seals everything.
#[derive(Debug)]
pub struct SessionSecrets([Secret; 3]);

impl SessionSecrets {
    /// Fresh secrets.
    pub fn generate(world: &dyn World) -> crate::error::Result<Self> {
        let one = || clock::random(world).map(Secret::new);
        Ok(Self([one()?, one()?, one()?]))
    }

    /// The secret for one audience.
    pub fn audience(&self, audience: Audience) -> &Secret {
        &self.0[audience as usize - 1]
    }
}

/// A session secret, wrapped for an audience.
#[derive(Debug)]
pub struct Wrap;

impl Wrap {
    fn key(keys: &Keyring, header: &[u8; HEADER_BYTES], epoch: u32, audience: Audience) -> Result<Secret, OpenError> {
        let epoch_keys = keys.epoch_keys(epoch).ok_or_else(|| {
            OpenError::NoKey(format!("this key opens no objects of epoch {epoch}; its newest is {}", keys.epoch()))
        })?;
        Ok(epoch_keys.audience(audience).derive("larder v1 wrap", header))
    }

    /// Appends the wrapped form of `secret`.
    pub fn put(
        keys: &Keyring,
        header: &Header,
        audience: Audience,
        secret: &Secret,
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let encoded = header.encode();
        let key = Self::key(keys, &encoded, header.epoch, audience)?;
        out.push(WRAP_EPOCH);
        out.extend_from_slice(&(WRAP_BYTES as u16 - 3).to_le_bytes());
        out.extend_from_slice(&key.commitment());
        out.extend_from_slice(&crypto::seal(&key, 0, &encoded, secret.expose()));
        Ok(())
    }

    /// Reads a wrap and opens it.
    pub fn open(
        keys: &Keyring,
        header: &Header,
        audience: Audience,
        reader: &mut Reader<'_>,
    ) -> Result<Secret, OpenError> {
        let what = header.kind.name();
        let kind = reader.u8()?;
        let len = reader.u16()?;
        let body = reader.bytes(len.into())?;
        if kind != WRAP_EPOCH {
            return Err(Malformed::Newer { what: format!("{what} with a key wrap of kind {kind}") }.into());
        }
        let mut r = Reader::new(body, what);
        let commitment = r.array()?;
        let sealed: [u8; 48] = r.array()?;
        r.end()?;
        let encoded = header.encode();
        let key = Self::key(keys, &encoded, header.epoch, audience)?;
        if !key.commits_to(&commitment) {
            return Err(OpenError::NotAuthentic(what));
        }
        let secret = crypto::open(&key, 0, &encoded, &sealed).ok_or(OpenError::NotAuthentic(what))?;
        Ok(Secret::new(secret.try_into().map_err(|_| OpenError::NotAuthentic(what))?))
    }
}

/// A section as it lies in an object.
#[derive(Debug)]
pub struct Section<'a> {
    /// Its place, from 0.
    pub ordinal: u8,
    /// Who may read it.
    pub audience: Audience,
    wrap: &'a [u8],
    ciphertext: &'a [u8],
}

/// Splits an object into its header and sections.
pub fn sections<'a>(bytes: &'a [u8], kind: super::ObjectKind) -> Result<(Header, Vec<Section<'a>>), Malformed> {
    let header = Header::parse(bytes, kind)?;
    let mut r = Reader::new(&bytes[HEADER_BYTES..], kind.name());
    let mut out = Vec::new();
    while !r.is_empty() {
        let number = r.u8()?;
        if number == NO_SECTION {
            r.bytes(parity_len(bytes.len()))?;
            r.end()?;
            break;
        }
        let audience = Audience::from_u8(number).ok_or_else(|| Malformed::Newer {
            what: format!("{} with a section for audience {number}", kind.name()),
        })?;
        let mut peek = r.clone();
        peek.u8()?;
        let wrap = r.bytes(3 + usize::from(peek.u16()?))?;
        let len = r.u32()?;
        let ordinal = u8::try_from(out.len()).map_err(|_| r.bad("more than 256 sections"))?;
        out.push(Section { ordinal, audience, wrap, ciphertext: r.bytes(len as usize)? });
    }
    Ok((header, out))
}

fn section_key(secret: &Secret, header: &[u8; HEADER_BYTES], ordinal: u8) -> Secret {
    let mut context = header.to_vec();
    context.push(ordinal);
    secret.derive("larder v1 section", &context)
}

/// The plain bytes of a section.
pub fn open_section(keys: &Keyring, header: &Header, section: &Section<'_>) -> Result<Vec<u8>, OpenError> {
    let what = header.kind.name();
    let mut r = Reader::new(section.wrap, what);
    let secret = Wrap::open(keys, header, section.audience, &mut r)?;
    let key = section_key(&secret, &header.encode(), section.ordinal);
    let plain =
        crypto::open(&key, 0, &[section.audience as u8], section.ciphertext).ok_or(OpenError::NotAuthentic(what))?;
    Ok(unpack(&plain, what)?)
}

fn unpack(plain: &[u8], what: &'static str) -> Result<Vec<u8>, Malformed> {
    let mut r = Reader::new(plain, what);
    let codec = Codec::from_u8(r.u8()?)?;
    let len = if codec == Codec::Raw { r.remaining() } else { r.u32()? as usize };
    if len > SECTION_BYTES_MAX {
        return Err(r.bad(format!("a section of {len} bytes, at most {SECTION_BYTES_MAX} expected")));
    }
    decompress(codec, r.bytes(r.remaining())?, len)
}

fn pack(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(Codec::Zstd as u8);
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    let codec = Compressor::new(3).map_or(Codec::Raw, |mut compressor| compressor.append(bytes, out));
    if codec == Codec::Raw {
        out.truncate(start);
        out.push(codec as u8);
        out.extend_from_slice(bytes);
    }
}

/// The stored form of an object with these sections.
pub fn write_object(
    keys: &Keyring,
    secrets: &SessionSecrets,
    header: &Header,
    sections: &[(Audience, &[u8])],
) -> Result<Vec<u8>, OpenError> {
    let encoded = header.encode();
    let mut out = encoded.to_vec();
    for (ordinal, (audience, bytes)) in sections.iter().enumerate() {
        if bytes.len() > SECTION_BYTES_MAX {
            return Err(
                Malformed::bad(header.kind.name(), format!("a section of {} bytes is too long", bytes.len())).into()
            );
        }
        let secret = secrets.audience(*audience);
        out.push(*audience as u8);
        Wrap::put(keys, header, *audience, secret, &mut out)?;
        let start = out.len() + size_of::<u32>();
        out.resize(start, 0);
        pack(bytes, &mut out);
        let key = section_key(secret, &encoded, ordinal as u8);
        crypto::seal_from(&key, 0, &[*audience as u8], &mut out, start);
        let len = (out.len() - start) as u32;
        out[start - size_of::<u32>()..start].copy_from_slice(&len.to_le_bytes());
    }
    Ok(out)
}

/// How long the parity of an object of this length is, which it is a part of.
fn parity_len(object_len: usize) -> usize {
    object_len.div_ceil(STRIPES_MAX).next_power_of_two().clamp(SECTOR_BYTES, PARITY_BYTES_MAX)
}

/// Appends to an object what gives it back when a stretch of it goes bad that is no longer than a sector.
pub fn add_parity(mut object: Vec<u8>) -> Vec<u8> {
    object.push(NO_SECTION);
    let mut parity = Parity::default();
    parity.update(&object);
    object.extend_from_slice(&parity.behind(object.len() as u64, parity_len_behind(object.len())));
    object
}

/// How long it has to be behind so many bytes.
fn parity_len_behind(len: usize) -> usize {
    let mut parity = SECTOR_BYTES;
    while parity < parity_len(len + parity) {
        parity *= 2;
    }
    parity
}

/// An object as it was, from its bytes as they are, if it has parity and one stretch of it is bad: `is_it` knows it.
pub fn mend_object(bytes: &[u8], is_it: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let end = bytes.len();
    if end > MENDED_BYTES_MAX {
        return None;
    }
    let mut object = bytes.to_vec();
    mend_stripes(&mut object, end, parity_len(end), &mut Goal::new(is_it)).map(|()| object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{RepositoryId, SessionId};
    use crate::seal::ObjectKind;
    use std::collections::BTreeMap;

    fn setup() -> (Keyring, SessionSecrets, Header) {
        let keys = Keyring::new(Secret::new([1; 32]), BTreeMap::from([(1, Secret::new([2; 32]))]));
        let secrets = SessionSecrets(std::array::from_fn(|i| Secret::new([10 + i as u8; 32])));
        let header = Header {
            kind: ObjectKind::Snapshot,
            epoch: 1,
            repository: RepositoryId::new([3; 16]),
            session: SessionId::new([4; 16]),
            salt: [5; 32],
        };
        (keys, secrets, header)
    }

    #[test]
    fn sections_open_only_unchanged_and_in_place() {
        let (keys, secrets, header) = setup();
        let parts: [(Audience, &[u8]); 2] = [(Audience::Summary, b"short"), (Audience::Content, &[9; 5000])];
        let bytes = write_object(&keys, &secrets, &header, &parts).unwrap();
        let read = |bytes: &[u8]| -> Option<Vec<Vec<u8>>> {
            let (header, sections) = sections(bytes, ObjectKind::Snapshot).ok()?;
            sections.iter().map(|s| open_section(&keys, &header, s).ok()).collect()
        };
        assert_eq!(read(&bytes).unwrap(), parts.map(|(_, b)| b.to_vec()));
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            assert!(read(&bad).is_none(), "byte {i}");
        }
        for len in 0..bytes.len() {
            // A cut exactly between the sections leaves a shorter object: its reader counts sections.
            assert!(read(&bytes[..len]).is_none_or(|s| s.len() < 2), "length {len}");
        }
    }

    #[test]
    fn an_object_with_parity_opens_and_mends_itself() {
        let (keys, secrets, header) = setup();
        for (len, parity) in [(5, 4096), (3000, 4096), (60_000, 4096), (1_500_000, 8192)] {
            let mut noise = vec![0; len];
            blake3::Hasher::new().finalize_xof().fill(&mut noise);
            let object = write_object(&keys, &secrets, &header, &[(Audience::Index, &noise)]).unwrap();
            let sealed_len = object.len();
            let object = add_parity(object);
            assert_eq!(object.len(), sealed_len + 1 + parity);
            let opened = sections(&object, ObjectKind::Snapshot).unwrap().1;
            assert_eq!(open_section(&keys, &header, &opened[0]).unwrap(), noise);
            for cut in [sealed_len + 1, object.len() - 1] {
                assert!(sections(&object[..cut], ObjectKind::Snapshot).is_err());
            }
            let spoilt = |bad: Vec<u8>| mend_object(&bad, |bytes| *bytes == object);
            for at in (0..object.len()).step_by(len.div_ceil(200)) {
                let mut bad = object.clone();
                bad[at] ^= 0x80;
                assert!(spoilt(bad).is_some_and(|good| good == object), "byte {at} of {}", object.len());
            }
            for at in (0..object.len()).step_by((len / 40).max(4096) / 4096 * 4096) {
                let mut bad = object.clone();
                let end = bad.len().min(at + 4096);
                bad[at..end].fill(0);
                assert!(spoilt(bad).is_some_and(|good| good == object), "sector at {at} of {}", object.len());
            }
            let mut bad = object.clone();
            bad[1] ^= 1;
            bad[sealed_len + parity] ^= 1;
            assert!(spoilt(bad).is_none() && spoilt(object[..100].to_vec()).is_none());
        }
    }

    #[test]
    fn who_reads_an_object_finds_as_much_parity_as_was_put() {
        for len in (0..66_000_000).step_by(104_729).chain(1_040_000..1_049_000) {
            let parity = parity_len_behind(len);
            assert_eq!(parity_len(len + parity), parity, "{len}");
            assert!((len + parity).div_ceil(parity) <= STRIPES_MAX);
        }
    }

    #[test]
    fn another_epoch_is_a_missing_key_not_damage() {
        let (keys, secrets, header) = setup();
        let bytes = write_object(&keys, &secrets, &header, &[(Audience::Index, b"x")]).unwrap();
        let other = Keyring::new(Secret::new([1; 32]), BTreeMap::from([(2, Secret::new([2; 32]))]));
        let (header, sections) = sections(&bytes, ObjectKind::Snapshot).unwrap();
        assert!(matches!(open_section(&other, &header, &sections[0]), Err(OpenError::NoKey(_))));
    }
}
