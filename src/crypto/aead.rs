//! ChaCha20-Poly1305 (RFC 8439).

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};

use super::Secret;

/// What sealing adds to a message, bytes.
pub const TAG_BYTES: usize = 16;

/// The result of opening: nothing but success or failure is learnt.
pub type Opened<T> = Option<T>;

fn nonce(ordinal: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&ordinal.to_le_bytes());
    bytes.into()
}

/// Seals the message in place and appends the tag. `ordinal` must never repeat under one key.
pub fn seal_in_place(key: &Secret, ordinal: u64, context: &[u8], message: &mut Vec<u8>) {
    seal_from(key, ordinal, context, message, 0);
}

/// The same where the message begins only here, behind what is not sealed.
pub fn seal_from(key: &Secret, ordinal: u64, context: &[u8], bytes: &mut Vec<u8>, start: usize) {
    let cipher = ChaCha20Poly1305::new(key.expose().into());
    let message = &mut bytes[start..];
    // Fails only beyond 256 GiB; every message here is bounded far below. An all-zero tag never opens.
    let tag = cipher.encrypt_inout_detached(&nonce(ordinal), context, message.into()).unwrap_or_default();
    bytes.extend_from_slice(&tag);
}

/// The sealed form of the message.
pub fn seal(key: &Secret, ordinal: u64, context: &[u8], message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + TAG_BYTES);
    out.extend_from_slice(message);
    seal_in_place(key, ordinal, context, &mut out);
    out
}

/// Opens a sealed message in place; `None` (and the buffer useless) if anything about it is not authentic.
pub fn open_in_place(key: &Secret, ordinal: u64, context: &[u8], sealed: &mut Vec<u8>) -> Opened<()> {
    let len = sealed.len().checked_sub(TAG_BYTES)?;
    let (message, tag) = sealed.split_at_mut(len);
    let tag = Tag::try_from(&*tag).ok()?;
    ChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(&nonce(ordinal), context, message.into(), &tag)
        .ok()?;
    sealed.truncate(len);
    Some(())
}

/// The message in a sealed one.
pub fn open(key: &Secret, ordinal: u64, context: &[u8], sealed: &[u8]) -> Opened<Vec<u8>> {
    let mut out = sealed.to_vec();
    open_in_place(key, ordinal, context, &mut out)?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_ordinal_context_and_bytes_open() {
        let (key, other) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let sealed = seal(&key, 3, b"ctx", b"hello");
        assert_eq!(open(&key, 3, b"ctx", &sealed).as_deref(), Some(&b"hello"[..]));
        assert_eq!(open(&other, 3, b"ctx", &sealed), None);
        assert_eq!(open(&key, 4, b"ctx", &sealed), None);
        assert_eq!(open(&key, 3, b"ctX", &sealed), None);
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert_eq!(open(&key, 3, b"ctx", &bad), None, "byte {i}");
        }
        assert_eq!(open(&key, 3, b"ctx", &sealed[..15]), None);
    }

    #[test]
    fn the_in_place_form_is_the_plain_one() {
        use chacha20poly1305::aead::{Aead, Payload};
        let key = Secret::new(std::array::from_fn(|i| 0x80 + i as u8));
        let cipher = ChaCha20Poly1305::new(key.expose().into());
        let reference = cipher.encrypt(&nonce(7), Payload { msg: b"m", aad: b"a" }).unwrap();
        assert_eq!(seal(&key, 7, b"a", b"m"), reference);
    }
}
