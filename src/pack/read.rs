//! Opens packs: key from the head, table from the end, frames by their place.

use super::table::Table;
use super::{FrameBytes, HEAD_BYTES, TRAILER_BYTES, TRAILER_MAGIC};
use crate::crypto::{self, Audience, ChunkKind, Keyring, Secret};
use crate::seal::{Codec, Decompressor, HEADER_BYTES, Header, ObjectKind, OpenError, Wrap, decompress};
use crate::wire::{Malformed, Reader};

pub(super) const TABLE_PURPOSE: &str = "larder v1 pack table";
const FRAME_PURPOSE: &str = "larder v1 pack frames";
/// Longest plain table: 2 GiB of chunks of the shortest kind would still fit.
const TABLE_BYTES_MAX: usize = 64 << 20;

/// What opens one pack's frames and table.
#[derive(Clone, Debug)]
pub struct PackKey {
    secret: Secret,
    header: [u8; HEADER_BYTES],
    frames: Secret,
}

impl PackKey {
    pub(super) fn derive(secret: &Secret, header: &Header) -> Self {
        let header = header.encode();
        Self { frames: secret.derive(FRAME_PURPOSE, &header), secret: secret.clone(), header }
    }

    /// Opens the head of a pack: its first [`HEAD_BYTES`].
    pub fn open(keys: &Keyring, head: &[u8]) -> Result<(Header, Self), OpenError> {
        let header = Header::parse(head, ObjectKind::Pack)?;
        let mut r = Reader::new(&head[HEADER_BYTES..head.len().min(HEAD_BYTES)], ObjectKind::Pack.name());
        let secret = Wrap::open(keys, &header, Audience::Content, &mut r)?;
        r.end()?;
        let key = Self::derive(&secret, &header);
        Ok((header, key))
    }

    pub(super) fn frames(&self) -> &Secret {
        &self.frames
    }

    pub(super) fn for_purpose(&self, purpose: &str) -> Secret {
        self.secret.derive(purpose, &self.header)
    }

    pub(super) fn context(kind: ChunkKind, ordinal: u32) -> [u8; 5] {
        let mut out = [kind as u8; 5];
        out[1..].copy_from_slice(&ordinal.to_le_bytes());
        out
    }

    /// Opens and decodes a frame; `sealed` is used up.
    pub fn open_frame(
        &self,
        kind: ChunkKind,
        ordinal: u32,
        sealed: &mut Vec<u8>,
        decompressor: &mut Decompressor,
    ) -> Result<FrameBytes, OpenError> {
        crypto::open_in_place(&self.frames, ordinal.into(), &Self::context(kind, ordinal), sealed)
            .ok_or(OpenError::NotAuthentic("frame"))?;
        Ok(FrameBytes::decode(sealed, decompressor)?)
    }
}

/// Where the table lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where it begins, which is where the frames end. Bytes.
    pub table_offset: u32,
    /// Its stored length, bytes.
    pub table_len: u32,
    /// Number of frames.
    pub frames: u32,
}

impl Trailer {
    pub(super) fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = [0; TRAILER_BYTES];
        let numbers = [self.table_offset, self.table_len, self.frames, u32::from_le_bytes(*TRAILER_MAGIC)];
        out.copy_from_slice(numbers.map(u32::to_le_bytes).as_flattened());
        out
    }

    /// Reads the last [`TRAILER_BYTES`] of a pack of `size` bytes.
    pub fn parse(bytes: &[u8], size: u64) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes, "pack trailer");
        let new = Self { table_offset: r.u32()?, table_len: r.u32()?, frames: r.u32()? };
        if r.array()? != *TRAILER_MAGIC {
            return Err(r.bad("it does not end with KCAP"));
        }
        let end = u64::from(new.table_offset) + u64::from(new.table_len) + TRAILER_BYTES as u64;
        if (new.table_offset as usize) < HEAD_BYTES || end > size {
            return Err(r.bad(format!("a table at {}, {} bytes, in a pack of {size}", new.table_offset, new.table_len)));
        }
        r.end()?;
        Ok(new)
    }
}

/// Opens a pack's table.
pub fn decode_table(key: &PackKey, trailer: &Trailer, sealed: &[u8]) -> Result<Table, OpenError> {
    let context = [trailer.table_offset.to_le_bytes(), trailer.frames.to_le_bytes()].concat();
    let plain = crypto::open(&key.for_purpose(TABLE_PURPOSE), 0, &context, sealed)
        .ok_or(OpenError::NotAuthentic("pack table"))?;
    let mut r = Reader::new(&plain, "pack table");
    let codec = Codec::from_u8(r.u8()?)?;
    let len = r.u32()? as usize;
    if len > TABLE_BYTES_MAX {
        return Err(r.bad(format!("{len} bytes, at most {TABLE_BYTES_MAX} expected")).into());
    }
    let raw = decompress(codec, r.bytes(r.remaining())?, len)?;
    let table = Table::parse(Reader::new(&raw, "pack table"))?;
    if table.frames.len() != trailer.frames as usize || table.end() != u64::from(trailer.table_offset) {
        return Err(Malformed::bad("pack table", "its frames are not those of the trailer").into());
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::System;
    use crate::id::{RepositoryId, SessionId};
    use crate::pack::{FrameBuilder, PackBuilder, Packed};
    use crate::seal::{Compressor, SessionSecrets};
    use std::collections::BTreeMap;

    fn keys() -> Keyring {
        Keyring::new(Secret::new([1; 32]), BTreeMap::from([(1, Secret::new([2; 32]))]))
    }

    fn build(keys: &Keyring, salt: u8) -> (Vec<u8>, Packed) {
        let header = Header {
            kind: ObjectKind::Pack,
            epoch: 1,
            repository: RepositoryId::new([3; 16]),
            session: SessionId::new([4; 16]),
            salt: [salt; 32],
        };
        let secrets = SessionSecrets::generate(&System::default()).unwrap();
        let (mut builder, mut out) = PackBuilder::begin(keys, &secrets, header).unwrap();
        let mut d = Decompressor::new().unwrap();
        for (kind, level) in [(ChunkKind::Data, Some(3)), (ChunkKind::Node, Some(1)), (ChunkKind::Data, None)] {
            let mut frame = FrameBuilder::new(kind);
            for n in 0..3u8 {
                let bytes = vec![n; 1000 * usize::from(n) + 1];
                frame.push(keys.identity.chunk_id(kind, &bytes), &bytes);
            }
            let mut c = level.map(|l| Compressor::new(l).unwrap());
            let mut finished = frame.finish(c.as_mut(), &mut d, &keys.identity).unwrap();
            builder.add(&mut finished);
            out.extend(&finished.body);
            assert!(frame.is_empty());
        }
        let (tail, packed) = builder.finish();
        out.extend(tail);
        (out, packed)
    }

    /// Reads everything in a pack from its bytes and keys alone.
    fn read(keys: &Keyring, bytes: &[u8]) -> Option<(Table, Vec<Vec<u8>>)> {
        let size = bytes.len();
        let (_, key) = PackKey::open(keys, bytes.get(..HEAD_BYTES)?).ok()?;
        let trailer = Trailer::parse(&bytes[size - TRAILER_BYTES..], size as u64).ok()?;
        let at = trailer.table_offset as usize;
        let table = decode_table(&key, &trailer, &bytes[at..at + trailer.table_len as usize]).ok()?;
        let mut out = Vec::new();
        let mut d = Decompressor::new().ok()?;
        for (ordinal, frame) in table.frames.iter().enumerate() {
            let mut sealed = bytes[frame.offset as usize..][..frame.stored_len as usize].to_vec();
            let plain = key.open_frame(frame.kind, ordinal as u32, &mut sealed, &mut d).ok()?;
            for (n, chunk) in frame.chunks.iter().enumerate() {
                let bytes = plain.chunk(n)?;
                (keys.identity.chunk_id(frame.kind, bytes).prefix() == chunk.id).then_some(())?;
                out.push(bytes.to_vec());
            }
        }
        Some((table, out))
    }

    #[test]
    fn a_pack_reads_back_from_its_bytes_alone() {
        let keys = keys();
        let (bytes, packed) = build(&keys, 5);
        assert_eq!((bytes.len() as u64, crate::id::ObjectId::of(&bytes)), (packed.size, packed.id));
        let (table, chunks) = read(&keys, &bytes).unwrap();
        let bytes = |put: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            put(&mut out);
            out
        };
        assert_eq!(bytes(&|out| packed.table.put(out)), bytes(&|out| table.put(out)));
        assert_eq!(chunks.len(), 9);
        assert_eq!(chunks[5], vec![2; 2001]);
    }

    #[test]
    fn every_flipped_byte_but_padding_is_noticed_when_reading() {
        let keys = keys();
        let (bytes, packed) = build(&keys, 5);
        let trailer = Trailer::parse(&bytes[bytes.len() - 16..], packed.size).unwrap();
        let padding = (trailer.table_offset + trailer.table_len) as usize..bytes.len() - TRAILER_BYTES;
        for i in (0..bytes.len()).filter(|i| !padding.contains(i)) {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            assert!(read(&keys, &bad).is_none(), "byte {i}");
        }
    }

    #[test]
    fn frames_do_not_open_in_another_place_kind_or_pack() {
        let keys = keys();
        let [(a, _), (b, _)] = [5, 6].map(|salt| build(&keys, salt));
        let (_, key_a) = PackKey::open(&keys, &a[..HEAD_BYTES]).unwrap();
        let (_, key_b) = PackKey::open(&keys, &b[..HEAD_BYTES]).unwrap();
        let frame = &read(&keys, &a).unwrap().0.frames[0];
        let sealed = || a[frame.offset as usize..][..frame.stored_len as usize].to_vec();
        let mut d = Decompressor::new().unwrap();
        assert!(key_a.open_frame(ChunkKind::Data, 0, &mut sealed(), &mut d).is_ok());
        assert!(key_a.open_frame(ChunkKind::Data, 2, &mut sealed(), &mut d).is_err());
        assert!(key_a.open_frame(ChunkKind::Node, 0, &mut sealed(), &mut d).is_err());
        assert!(key_b.open_frame(ChunkKind::Data, 0, &mut sealed(), &mut d).is_err());
    }

    #[test]
    fn a_bomb_is_refused_before_it_unfolds() {
        // A body that claims 16 MiB chunks without end, over a tiny stream.
        let mut body = vec![Codec::Zstd as u8, 100];
        for _ in 0..100 {
            crate::wire::put_varint(&mut body, (16u64 << 20) << 1);
        }
        assert!(FrameBytes::decode(&body, &mut Decompressor::new().unwrap()).is_err());
    }
}
