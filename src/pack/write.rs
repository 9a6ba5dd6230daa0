//! Builds a pack, frame by frame.

use super::parity::Layout;
use super::read::{PackKey, TABLE_PURPOSE, Trailer};
use super::table::StoredTable;
use super::{Frame, HEAD_BYTES};
use crate::crypto::{self, Audience, Keyring, ObjectHasher, TAG_BYTES};
use crate::id::ObjectId;
use crate::seal::{Codec, Compressor, Header, OpenError, Parity, SessionSecrets, Wrap};

/// What a table takes beside itself, bytes: codec, length, tag.
const TABLE_HEAD_BYTES: usize = 1 + 4 + TAG_BYTES;

/// A finished pack.
#[derive(Debug)]
pub struct Packed {
    /// Its name.
    pub id: ObjectId,
    /// Its stored length, bytes.
    pub size: u64,
    /// What lies where.
    pub table: StoredTable,
}

/// Seals frames one after another. The caller writes the bytes that come out, in the order in which they come.
#[derive(Debug)]
pub struct PackBuilder {
    key: PackKey,
    hasher: ObjectHasher,
    parity: Parity,
    table: StoredTable,
}

impl PackBuilder {
    /// Begins a pack: the builder, and the first bytes.
    pub fn begin(keys: &Keyring, secrets: &SessionSecrets, header: Header) -> Result<(Self, Vec<u8>), OpenError> {
        let secret = secrets.audience(Audience::Content);
        let mut head = header.encode().to_vec();
        Wrap::put(keys, &header, Audience::Content, secret, &mut head)?;
        debug_assert_eq!(head.len(), HEAD_BYTES);
        let key = PackKey::derive(secret, &header);
        let (hasher, parity, table) = Default::default();
        let mut new = Self { key, hasher, parity, table };
        new.update(&head);
        Ok((new, head))
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.parity.update(bytes);
    }

    /// Adds a frame: seals its body, which are the bytes to write.
    pub fn add(&mut self, frame: &mut Frame) {
        let ordinal = self.table.frames() as u32;
        let Frame { kind, body, chunks } = frame;
        crypto::seal_in_place(self.key.frames(), ordinal.into(), &PackKey::context(*kind, ordinal), body);
        self.update(body);
        self.table.push(*kind, body.len() as u32, chunks);
    }

    /// Bytes of head and frames so far.
    pub fn len(&self) -> u64 {
        self.table.end()
    }

    /// How long the pack would be, at most, with this frame more, and how much of that is for nothing. Bytes.
    pub fn size_with(&self, frame: Option<&Frame>) -> (u64, u64) {
        let items = |frame: &Frame| frame.chunks.iter().map(|chunk| 24 + 16 * chunk.delta.bases.len()).sum::<usize>();
        let more = frame.map_or(0, |frame| frame.body.len() + TAG_BYTES + 16 + items(frame));
        let table = TABLE_HEAD_BYTES + self.table.stored_len();
        let Layout { size, spare, .. } = Layout::new(self.table.end() + (table + more) as u64);
        (size, spare)
    }

    /// Number of chunks so far.
    pub fn chunks(&self) -> usize {
        self.table.chunks()
    }

    /// Whether no frame was added.
    pub fn is_empty(&self) -> bool {
        self.table.frames() == 0
    }

    /// Ends the pack: the last bytes to write, and what was built.
    pub fn finish(mut self) -> (Vec<u8>, Packed) {
        let offset = self.table.end();
        let frames = self.table.frames() as u32;
        let mut tail = self.seal_table(offset as u32, frames);
        let table_len = tail.len() as u32;
        let layout = Layout::new(offset + u64::from(table_len));
        self.parity.update(&tail);
        tail.reserve_exact((layout.size - offset) as usize - tail.len());
        layout.put(&Trailer { table_offset: offset as u32, table_len, frames }.encode(), self.parity, &mut tail);
        self.hasher.update(&tail);
        (tail, Packed { id: self.hasher.finish(), size: layout.size, table: self.table })
    }

    fn seal_table(&self, offset: u32, frames: u32) -> Vec<u8> {
        let mut plain = Vec::new();
        self.table.put(&mut plain);
        let mut out = vec![Codec::Raw as u8];
        out.extend_from_slice(&(plain.len() as u32).to_le_bytes());
        match Compressor::new(3) {
            Ok(mut compressor) => out[0] = compressor.append(&plain, &mut out) as u8,
            Err(_) => out.extend_from_slice(&plain),
        }
        let context = [offset.to_le_bytes(), frames.to_le_bytes()].concat();
        crypto::seal_in_place(&self.key.for_purpose(TABLE_PURPOSE), 0, &context, &mut out);
        out
    }
}

/// The length that an object of `len` bytes is padded to: PADMÉ (Nikitin et al., 2019), at least 4 KiB. What the
/// length can tell shrinks to a few bits, at a cost of at most 12 %, and of 3 % for a full pack.
pub fn padded_len(len: u64) -> u64 {
    let len = len.max(4 << 10);
    let exponent = len.ilog2();
    let free_bits = exponent - (exponent.ilog2() + 1);
    len.next_multiple_of(1 << free_bits)
}

#[cfg(test)]
mod tests {
    use super::padded_len;

    #[test]
    fn padding_is_small_and_lengths_are_few() {
        assert_eq!([1, 4096, 4097, 1 << 20, (1 << 20) + 1].map(padded_len), [4096, 4096, 4352, 1 << 20, 0x10_8000]);
        for len in (4096..40_000_000u64).step_by(12_345) {
            let padded = padded_len(len);
            assert!(padded >= len && (padded - len) * 100 <= len * 12, "{len} {padded}");
            assert_eq!(padded_len(padded), padded);
        }
    }
}
