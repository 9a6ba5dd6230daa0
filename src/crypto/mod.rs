//! Keys, derivation, keyed hashes and sealing: the one room that names a cipher.
//!
//! Invariants: every sealed message has a key of its own, derived from a fresh random salt, and within one key a
//! nonce is used once (the ordinal of a frame, else 0). A wrapped key is preceded by a commitment, which is compared
//! in constant time before anything is decrypted, because ChaCha20-Poly1305 alone does not commit to its key.
//! Secrets are erased when dropped and never printed.

mod aead;
mod kdf;
mod keys;
mod many;

pub use aead::{Opened, TAG_BYTES, open, open_in_place, seal, seal_from, seal_in_place};
pub use kdf::{Argon, SALT_BYTES, stretch};
pub use keys::{Audience, ChunkKind, EpochKeys, Identity, Keyring};

use std::fmt;
use zeroize::Zeroize;

use crate::id::ObjectId;

/// 32 secret bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// These bytes, from now on secret.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for wrapping and for ciphers only.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one purpose (BLAKE3 `derive_key`), bound to `context`. Purposes are listed in docs/format.md.
    pub fn derive(&self, purpose: &str, context: &[u8]) -> Secret {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        hasher.update(&self.0).update(context);
        Secret(*hasher.finalize().as_bytes())
    }

    /// As many derived bytes as `out` holds.
    pub fn derive_into(&self, purpose: &str, out: &mut [u8]) {
        blake3::Hasher::new_derive_key(purpose).update(&self.0).finalize_xof().fill(out);
    }

    /// Keyed BLAKE3-256 of these bytes.
    pub fn hash(&self, bytes: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, bytes).as_bytes()
    }

    /// The same of each of these, which is faster than one by one where they are short.
    pub fn hash_many(&self, texts: &[&[u8]]) -> Vec<[u8; 32]> {
        many::hash_many(&self.0, texts)
    }

    /// The same, of bytes that go by.
    pub fn hasher(&self) -> ObjectHasher {
        ObjectHasher(blake3::Hasher::new_keyed(&self.0))
    }

    /// Whether `mac` is this key's hash of these bytes, compared in constant time.
    pub fn verify(&self, bytes: &[u8], mac: &[u8; 32]) -> bool {
        blake3::keyed_hash(&self.0, bytes) == *mac
    }

    /// What is stored beside a key wrapped under this one: proves which key it was.
    pub fn commitment(&self) -> [u8; 32] {
        self.derive("larder v1 key commitment", b"").0
    }

    /// Whether this key made that commitment, compared in constant time.
    pub fn commits_to(&self, commitment: &[u8; 32]) -> bool {
        blake3::Hash::from_bytes(self.commitment()) == blake3::Hash::from_bytes(*commitment)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Names an object while its bytes go by.
#[derive(Clone, Debug, Default)]
pub struct ObjectHasher(blake3::Hasher);

impl ObjectHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The name.
    pub fn finish(&self) -> ObjectId {
        ObjectId::new(*self.0.finalize().as_bytes())
    }
}
