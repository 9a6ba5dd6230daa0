//! Key slots: the keys, wrapped by a password or a key file.
//!
//! ```text
//! slot := header(96) ‖ record
//! ```
//! | field | critical | value |
//! |---|---|---|
//! | 1 | yes | lock: u8 1, Argon2id cost(12), salt(32); or u8 2: a key file |
//! | 2 | yes | commitment(32) of the bundle key |
//! | 3 | yes | the bundle, sealed with the bundle key; header and lock are authenticated with it |
//! | 4 | no | label, sealed for the summary audience |
//!
//! Bundle: field 1 capability varint; 2 root secret(32); 3 epoch u32 and its secret(32), repeated. All critical.
//!
//! The bundle key is derived from what the password or key file gives, and the header with its salt: one key file may
//! lock many slots, of many repositories, and no two of them are sealed with the same key.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::session::{put_time, take_time};
use crate::crypto::{self, Argon, Audience, Keyring, SALT_BYTES, Secret};
use crate::entry::Time;
use crate::seal::{HEADER_BYTES, Header, ObjectKind};
use crate::wire::{self, Fields, Malformed, Reader, Record, Unknown, critical, optional};

const WHAT: &str = "key slot";

/// What opens a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotLock {
    /// A password, stretched.
    Password(Argon, [u8; SALT_BYTES]),
    /// 32 random bytes in a file.
    KeyFile,
}

impl SlotLock {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Password(cost, salt) => {
                let mut out = vec![1];
                cost.put(&mut out);
                out.extend_from_slice(salt);
                out
            }
            Self::KeyFile => vec![2],
        }
    }

    fn parse(mut r: Reader<'_>) -> wire::Result<Self> {
        let new = match r.u8()? {
            1 => Self::Password(Argon::parse(&mut r)?, r.array()?),
            2 => Self::KeyFile,
            n => return Err(Malformed::Newer { what: format!("a key slot with a lock of kind {n}") }),
        };
        r.end()?;
        Ok(new)
    }

    /// The slot key that a password or the bytes of a key file give; `None` without enough memory.
    pub fn key(&self, secret: &[u8]) -> Option<Secret> {
        match self {
            Self::Password(cost, salt) => crypto::stretch(secret, salt, *cost),
            Self::KeyFile => {
                let bytes: [u8; 32] = secret.try_into().ok()?;
                Some(Secret::new(bytes).derive("larder v1 key file", b""))
            }
        }
    }
}

/// What the keys in a slot allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Everything.
    Admin = 1,
}

/// What people see of a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotLabel {
    /// Chosen by the user, or user and machine.
    pub label: Vec<u8>,
    /// When it was added.
    pub created: Time,
}

/// A key slot, still locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Whose it is, and a salt.
    pub header: Header,
    /// What opens it.
    pub lock: SlotLock,
    commitment: [u8; 32],
    bundle: Vec<u8>,
    label: Vec<u8>,
    unknown: Unknown,
}

impl Slot {
    /// The key that seals this slot's bundle, and no other's.
    fn bundle_key(header: &Header, key: &Secret) -> Secret {
        key.derive("larder v1 key bundle", &header.encode())
    }

    /// Wraps the whole key ring under a slot key.
    pub fn lock(header: Header, lock: SlotLock, key: &Secret, keys: &Keyring, label: &SlotLabel) -> Self {
        let (root, epochs) = keys.expose();
        let mut record = Record::default();
        record.varint(critical(1), Capability::Admin as u64).bytes(critical(2), root.expose());
        for (epoch, secret) in epochs {
            let value = Zeroizing::new([&epoch.to_le_bytes()[..], secret.expose()].concat());
            record.bytes(critical(3), &value);
        }
        let plain = Zeroizing::new(record.finish());
        let context = [&header.encode()[..], &lock.encode()].concat();
        let bundle_key = Self::bundle_key(&header, key);
        let bundle = crypto::seal(&bundle_key, 0, &context, &plain);
        let label = match Self::label_key(&header, keys) {
            Some(key) => crypto::seal(&key, 0, b"", &encode_label(label)),
            None => Vec::new(),
        };
        Self { header, lock, commitment: bundle_key.commitment(), bundle, label, unknown: Unknown::new() }
    }

    fn label_key(header: &Header, keys: &Keyring) -> Option<Secret> {
        let epoch = keys.epoch_keys(header.epoch)?;
        Some(epoch.audience(Audience::Summary).derive("larder v1 slot label", &header.encode()))
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.header.encode().to_vec();
        Record::new(&self.unknown)
            .bytes(critical(1), &self.lock.encode())
            .bytes(critical(2), &self.commitment)
            .bytes(critical(3), &self.bundle)
            .bytes_if(optional(4), &self.label)
            .finish_into(&mut out);
        out
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let header = Header::parse(bytes, ObjectKind::KeySlot)?;
        let (mut lock, mut commitment, mut bundle) = (None, None, None);
        let (mut label, mut unknown) = (Vec::new(), Unknown::new());
        for field in Fields::new(&bytes[HEADER_BYTES..], WHAT).once(&[1, 2, 3, 4]) {
            let field = field?;
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => lock = Some(SlotLock::parse(field.reader(WHAT))?),
                (2, 1) => commitment = Some(field.read(WHAT, |r| r.array())?),
                (3, 1) => bundle = Some(field.value.to_vec()),
                (4, 0) => label = field.value.to_vec(),
                _ => unknown.push(field.unknown(WHAT)?),
            }
        }
        match (lock, commitment, bundle) {
            (Some(lock), Some(commitment), Some(bundle)) => {
                Ok(Self { header, lock, commitment, bundle, label, unknown })
            }
            _ => Err(Malformed::bad(WHAT, "lock, commitment or keys are missing")),
        }
    }

    /// Whether this slot key is the one.
    pub fn is_opened_by(&self, key: &Secret) -> bool {
        Self::bundle_key(&self.header, key).commits_to(&self.commitment)
    }

    /// The keys; an error if the slot was tampered with.
    pub fn unlock(&self, key: &Secret) -> wire::Result<Keyring> {
        let context = [&self.header.encode()[..], &self.lock.encode()].concat();
        let plain = crypto::open(&Self::bundle_key(&self.header, key), 0, &context, &self.bundle)
            .ok_or_else(|| Malformed::bad(WHAT, "the password fits, but the wrapped keys are not authentic"))?;
        parse_bundle(&Zeroizing::new(plain))
    }

    /// The label, for whoever has the keys.
    pub fn label(&self, keys: &Keyring) -> Option<SlotLabel> {
        let plain = crypto::open(&Self::label_key(&self.header, keys)?, 0, b"", &self.label)?;
        let mut new = SlotLabel::default();
        for field in Fields::new(&plain, "key label").once(&[1, 2]) {
            let field = field.ok()?;
            match (field.tag >> 1, field.tag & 1) {
                (1, 0) => new.label = field.value.to_vec(),
                (2, 0) => new.created = take_time(field.reader("key label")).ok()?,
                _ => drop(field.unknown("key label").ok()?),
            }
        }
        Some(new)
    }
}

fn encode_label(label: &SlotLabel) -> Vec<u8> {
    Record::default().bytes(optional(1), &label.label).bytes(optional(2), &put_time(label.created)).finish()
}

fn parse_bundle(plain: &[u8]) -> wire::Result<Keyring> {
    const WHAT: &str = "key bundle";
    let (mut capability, mut root, mut epochs) = (None, None, BTreeMap::new());
    for field in Fields::new(plain, WHAT).once(&[1, 2]) {
        let field = field?;
        match (field.tag >> 1, field.tag & 1) {
            (1, 1) => capability = Some(field.read(WHAT, Reader::varint)?),
            (2, 1) => root = Some(Secret::new(field.read(WHAT, Reader::array)?)),
            (3, 1) => {
                let (epoch, secret) = field.read(WHAT, |r| Ok((r.u32()?, Secret::new(r.array()?))))?;
                if epochs.last_key_value().is_some_and(|(last, _)| *last >= epoch) {
                    return Err(Malformed::bad(WHAT, "its epochs do not ascend"));
                }
                epochs.insert(epoch, secret);
            }
            _ => drop(field.unknown(WHAT)?),
        }
    }
    match (capability, root) {
        (Some(number), _) if number != Capability::Admin as u64 => {
            Err(Malformed::Newer { what: format!("a key with capability {number}") })
        }
        (Some(_), Some(root)) if !epochs.is_empty() => Ok(Keyring::new(root, epochs)),
        _ => Err(Malformed::bad(WHAT, "capability, root or epochs are missing")),
    }
}
