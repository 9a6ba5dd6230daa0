//! Argon2id (RFC 9106): from a password to a key.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::Secret;
use crate::wire::{Malformed, Reader};

/// Length of the salt, bytes.
pub const SALT_BYTES: usize = 32;

/// Cost of stretching a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Argon {
    /// RFC 9106's second recommended option: about 0.2 s of one core.
    pub const DEFAULT: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };
    const MEMORY_KIB: std::ops::RangeInclusive<u32> = 64 << 10..=4 << 20;
    const PASSES: std::ops::RangeInclusive<u32> = 3..=64;
    const LANES: std::ops::RangeInclusive<u32> = 1..=64;

    /// Parameters read from storage, bounded on both sides: too weak would be a downgrade, too strong a trap.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let new = Self { memory_kib: reader.u32()?, passes: reader.u32()?, lanes: reader.u32()? };
        let ok = Self::MEMORY_KIB.contains(&new.memory_kib)
            && Self::PASSES.contains(&new.passes)
            && Self::LANES.contains(&new.lanes);
        if ok { Ok(new) } else { Err(reader.bad(format!("Argon2id with {new:?} is outside of what is allowed"))) }
    }

    /// The stored form, 12 bytes.
    pub fn put(&self, out: &mut Vec<u8>) {
        for number in [self.memory_kib, self.passes, self.lanes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// The key that this password gives with this salt and cost; `None` if the memory cannot be had.
pub fn stretch(password: &[u8], salt: &[u8; SALT_BYTES], cost: Argon) -> Option<Secret> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok()?;
    let mut out = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(password, salt, out.as_mut()).ok()?;
    Some(Secret::new(*out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_and_absurd_costs_are_refused() {
        let parse = |memory_kib, passes, lanes| {
            let mut bytes = Vec::new();
            Argon { memory_kib, passes, lanes }.put(&mut bytes);
            Argon::parse(&mut Reader::new(&bytes, "t"))
        };
        assert_eq!(parse(64 << 10, 3, 4), Ok(Argon::DEFAULT));
        for (m, t, p) in [(8, 3, 4), (u32::MAX, 3, 4), (64 << 10, 0, 4), (64 << 10, u32::MAX, 4), (64 << 10, 3, 0)] {
            assert!(parse(m, t, p).is_err(), "{m} {t} {p}");
        }
    }

    #[test]
    fn another_password_or_salt_is_another_key() {
        let key = |p: &[u8], s: u8| stretch(p, &[s; 32], Argon::DEFAULT).unwrap();
        assert_eq!(key(b"a", 1), key(b"a", 1));
        assert_ne!(key(b"a", 1), key(b"b", 1));
        assert_ne!(key(b"a", 1), key(b"a", 2));
    }
}
