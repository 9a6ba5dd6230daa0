//! Names: each kind of id is a type of its own, printed as lower-case hex.

use std::fmt;

use data_encoding::HEXLOWER;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;
            /// All bytes zero: "none" wherever a format allows it.
            pub const ZERO: Self = Self([0; $len]);

            /// The id with these bytes.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Lower-case hex, whole.
            pub fn to_hex(&self) -> String {
                HEXLOWER.encode(&self.0)
            }

            /// The first eight hex digits, for people.
            pub fn short(&self) -> String {
                HEXLOWER.encode(&self.0[..4])
            }

            /// Parses exactly the whole lower-case hex form.
            pub fn from_hex(text: &str) -> Option<Self> {
                let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
                Some(Self(bytes.try_into().ok()?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }
    };
}

id_type!(
    /// Names a stored object: BLAKE3-256 of its stored bytes, so that anyone can check it without keys.
    ObjectId,
    32
);
id_type!(
    /// Names a chunk: keyed BLAKE3-256 of its plaintext, whatever its encoding.
    ChunkId,
    32
);
id_type!(
    /// The first half of a [`ChunkId`], enough for look-ups; a reader always verifies the whole id.
    ChunkPrefix,
    16
);
id_type!(
    /// Names a repository; random, chosen at `init`.
    RepositoryId,
    16
);
id_type!(
    /// Names one run that writes; random.
    SessionId,
    16
);

impl ChunkId {
    /// The half of the id that indexes are sorted by.
    pub fn prefix(&self) -> ChunkPrefix {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        ChunkPrefix(half)
    }
}

impl ObjectId {
    /// The name of an object with these stored bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_has_one_spelling() {
        let id = SessionId::new([0xab; 16]);
        assert_eq!(SessionId::from_hex(&id.to_hex()), Some(id));
        assert_eq!(SessionId::from_hex(&id.to_hex().to_uppercase()), None);
        assert_eq!(SessionId::from_hex("abab"), None);
        assert_eq!(id.short(), "abababab");
    }
}
