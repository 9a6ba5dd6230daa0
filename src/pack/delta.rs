//! Chunks that are stored as what makes them different from others, their bases.
//!
//! ```text
//! payload := slices varint ‖ slices × (base u8 ‖ offset varint ‖ length varint)
//!          ‖ copies varint ‖ copies × (rest varint ‖ skip signed ‖ length varint) ‖ zstd frame, if there is a rest
//! ```
//! The dictionary is the slices' bytes one after another or, where there is no slice, all bases whole. Which bases they
//! are, and in which order, the item says (see [`Delta`]). A copy takes so many bytes of the rest, skips so many of the
//! dictionary, from the end of the copy before, and takes a stretch from there. What no copy takes is the rest; it is
//! compressed with the dictionary or, where that is more than 64 times as long and there are copies, with a zero byte and
//! what lies within 1 KiB of certain places in it, each byte once, ascending: where copies begin that have a rest right
//! before them, and where copies end that have one right behind them.

use std::borrow::Cow;

use smallvec::{SmallVec, smallvec};

use super::FRAME_BYTES_MAX;
use super::align::{Copy, align};
use crate::id::ChunkPrefix;
use crate::seal::{Compressor, Decompressor};
use crate::wire::{Malformed, Reader, Result, put_signed, put_varint};

/// Most bases of one chunk.
pub const BASES_MAX: usize = 24;
/// Most slices of them.
pub const SLICES_MAX: usize = 64;
/// Longest dictionary, bytes.
pub const DICTIONARY_BYTES_MAX: usize = 4 << 20;
/// The rest is short if the dictionary has more than so many times its bytes.
const SHORT: usize = 64;
/// How much before and behind the ends of copies is near. Bytes.
const NEAR_BYTES: usize = 1 << 10;
/// What dictionaries begin with that were trained (RFC 8878, 5).
const TRAINED: [u8; 4] = 0xEC30_A437u32.to_le_bytes();
const WHAT: &str = "delta";

/// Which chunks those are: mostly one.
pub type Bases = SmallVec<[ChunkPrefix; 1]>;

/// What a copy of a chunk is stored as a difference to; nothing for one that is stored whole.
///
/// A base is only ever resolved through a copy of lower rank, so there are no cycles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// 0: stored whole.
    pub rank: u8,
    /// Chunks of the same kind; none twice.
    pub bases: Bases,
}

impl Delta {
    /// Appends the item of a chunk of this length: see [`super`].
    pub(super) fn put_item(&self, raw_len: u32, out: &mut Vec<u8>) {
        put_varint(out, u64::from(raw_len) << 1 | u64::from(self.rank > 0));
        if self.rank > 0 {
            out.extend([self.rank, self.bases.len() as u8]);
            self.bases.iter().for_each(|base| out.extend_from_slice(base.as_bytes()));
        }
    }

    /// Reads an item.
    pub(super) fn take_item(r: &mut Reader<'_>) -> Result<(u32, Self)> {
        let item = r.varint_to(FRAME_BYTES_MAX as u64 * 2 + 1)?;
        let raw_len = (item >> 1) as u32;
        if raw_len == 0 {
            return Err(r.bad("an empty chunk"));
        }
        if item & 1 == 0 {
            return Ok((raw_len, Self::default()));
        }
        let (rank, count) = (r.u8()?, usize::from(r.u8()?));
        if rank == 0 || !(1..=BASES_MAX).contains(&count) {
            return Err(r.bad(format!("a delta of rank {rank} with {count} bases")));
        }
        let mut bases = Bases::new();
        for _ in 0..count {
            bases.push(ChunkPrefix::new(r.array()?));
        }
        if (1..count).any(|n| bases[..n].contains(&bases[n])) {
            return Err(r.bad("a base twice"));
        }
        Ok((raw_len, Self { rank, bases }))
    }
}

/// A part of a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Its number among the bases.
    pub base: u8,
    /// Bytes from its beginning.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

/// The bytes that a delta refers to.
struct Dictionary<'b> {
    /// The parts, behind a zero byte if they would pass for a dictionary that was trained.
    bytes: Cow<'b, [u8]>,
    /// Bytes before the parts.
    skip: usize,
    /// Where each part begins in them.
    starts: SmallVec<[usize; 1]>,
}

impl<'b> Dictionary<'b> {
    fn new(bases: &[&'b [u8]], slices: &[Slice]) -> Result<Self> {
        let bad = |what: String| Malformed::bad(WHAT, what);
        let mut parts: SmallVec<[&'b [u8]; 1]> = bases.into();
        if !slices.is_empty() {
            let part = |slice: &Slice| {
                let Slice { base, offset, len } = *slice;
                let base = bases.get(usize::from(base)).filter(|_| len > 0);
                base.and_then(|base| base.get(offset as usize..offset as usize + len as usize))
                    .ok_or_else(|| bad(format!("{len} bytes at {offset} of base {}", slice.base)))
            };
            parts = slices.iter().map(part).collect::<Result<_>>()?;
        }
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > DICTIONARY_BYTES_MAX {
            return Err(bad(format!("bases of {len} bytes, at most {DICTIONARY_BYTES_MAX} expected")));
        }
        if let [part] = parts[..]
            && !part.starts_with(&TRAINED)
        {
            return Ok(Self { bytes: Cow::Borrowed(part), skip: 0, starts: smallvec![0] });
        }
        let (mut bytes, mut starts) = (Vec::with_capacity(1 + len), SmallVec::new());
        bytes.push(0);
        for part in parts {
            starts.push(bytes.len() - 1);
            bytes.extend_from_slice(part);
        }
        Ok(Self { bytes: Cow::Owned(bytes), skip: 1, starts })
    }

    fn parts(&self) -> &[u8] {
        &self.bytes[self.skip..]
    }

    /// What the rest is compressed with: all of it or, where the rest is short beside that, what lies about the ends of the
    /// copies between which there is a rest.
    fn near(&self, copies: &[Copy], raw_len: usize) -> Cow<'_, [u8]> {
        let rest_len = raw_len - copies.iter().map(|copy| copy.len).sum::<usize>();
        if copies.is_empty() || rest_len * SHORT >= self.parts().len() {
            return Cow::Borrowed(&self.bytes);
        }
        let mut places = Vec::new();
        let (mut at, mut before) = (0, None);
        for copy in copies {
            if copy.at > at {
                places.extend(before.into_iter().chain([copy.from]));
            }
            (at, before) = (copy.at + copy.len, Some(copy.from + copy.len));
        }
        if at < raw_len {
            places.extend(before);
        }
        places.sort_unstable();
        let parts = self.parts();
        // The zero byte is for the same as above.
        let (mut out, mut done) = (vec![0], 0);
        for place in places {
            let end = (place + NEAR_BYTES).min(parts.len());
            out.extend_from_slice(&parts[place.saturating_sub(NEAR_BYTES).max(done)..end]);
            done = end;
        }
        Cow::Owned(out)
    }
}

/// The payload that stands for `raw` where these bases are there; `None` if there is none.
pub fn encode_delta(raw: &[u8], bases: &[&[u8]], slices: &[Slice], compressor: &mut Compressor) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    put_varint(&mut out, slices.len() as u64);
    for slice in slices {
        out.push(slice.base);
        put_varint(&mut out, slice.offset.into());
        put_varint(&mut out, slice.len.into());
    }
    let dictionary = Dictionary::new(bases, slices).ok()?;
    let copies = align(dictionary.parts(), &dictionary.starts, raw);
    put_varint(&mut out, copies.len() as u64);
    let (mut at, mut from, mut rest) = (0, 0, Vec::new());
    for copy in &copies {
        rest.extend_from_slice(&raw[at..copy.at]);
        put_varint(&mut out, (copy.at - at) as u64);
        put_signed(&mut out, copy.from as i64 - from as i64);
        put_varint(&mut out, copy.len as u64);
        (at, from) = (copy.at + copy.len, copy.from + copy.len);
    }
    rest.extend_from_slice(&raw[at..]);
    if !rest.is_empty() {
        compressor.append_delta(&rest, &dictionary.near(&copies, raw.len()), &mut out).ok()?;
    }
    Some(out)
}

/// Makes `out` the chunk of `raw_len` bytes that a payload stands for, whatever it held. It is bounded, but not yet proven.
pub fn decode_delta(
    payload: &[u8],
    raw_len: u32,
    bases: &[&[u8]],
    decompressor: &mut Decompressor,
    out: &mut Vec<u8>,
) -> Result<()> {
    let mut r = Reader::new(payload, WHAT);
    let dictionary = Dictionary::new(bases, &take_slices(&mut r)?)?;
    let old = dictionary.parts();
    let copies = take_copies(&mut r, old.len(), raw_len as usize)?;
    // The rest goes to the end, and from there to its places, which all lie before it.
    let mut rest = copies.iter().map(|copy| copy.len).sum::<usize>();
    out.resize(raw_len as usize, 0);
    match &mut out[rest..] {
        [] => r.end()?,
        room => decompressor.delta(r.bytes(r.remaining())?, &dictionary.near(&copies, raw_len as usize), room)?,
    }
    let mut at = 0;
    for copy in copies {
        let len = copy.at - at;
        out.copy_within(rest..rest + len, at);
        out[copy.at..copy.at + copy.len].copy_from_slice(&old[copy.from..copy.from + copy.len]);
        (at, rest) = (copy.at + copy.len, rest + len);
    }
    Ok(())
}

pub(super) fn take_slices(r: &mut Reader<'_>) -> Result<Vec<Slice>> {
    let count = r.count(3)?;
    if count > SLICES_MAX {
        return Err(r.bad(format!("{count} slices, at most {SLICES_MAX} expected")));
    }
    let number = |r: &mut Reader<'_>| r.varint_to(FRAME_BYTES_MAX as u64).map(|n| n as u32);
    (0..count).map(|_| Ok(Slice { base: r.u8()?, offset: number(r)?, len: number(r)? })).collect()
}

/// Reads the copies, which lie within the dictionary, and leave no more than the chunk's length.
fn take_copies(r: &mut Reader<'_>, old_len: usize, raw_len: usize) -> Result<Vec<Copy>> {
    let count = r.count(3)?;
    let (mut at, mut from) = (0usize, 0i64);
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        at += r.varint_to((raw_len - at) as u64)? as usize;
        from = from.saturating_add(r.signed()?);
        let len = r.varint_to((raw_len - at) as u64)? as usize;
        let start = usize::try_from(from).ok().filter(|start| len > 0 && *start <= old_len && len <= old_len - start);
        let Some(start) = start else { return Err(r.bad(format!("a copy of {len} bytes at {from} of {old_len}"))) };
        out.push(Copy { at, from: start, len });
        (at, from) = (at + len, (start + len) as i64);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, seed: u8) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut out);
        out
    }

    #[test]
    fn what_is_stored_against_bases_comes_back_with_them_and_with_no_others() {
        let (mut c, mut d) = (Compressor::new(3).unwrap(), Decompressor::new().unwrap());
        let (a, b) = (noise(100_000, 1), noise(70_000, 2));
        let raw = [&a[500..60_000], b"edited", &b[..50_000]].concat();
        let slices = [Slice { base: 1, offset: 0, len: 60_000 }, Slice { base: 0, offset: 400, len: 70_000 }];
        for slices in [&slices[..], &[]] {
            let payload = encode_delta(&raw, &[&a, &b], slices, &mut c).unwrap();
            assert!(payload.len() < 200, "{}", payload.len());
            let mut out = vec![7; 1000];
            decode_delta(&payload, raw.len() as u32, &[&a, &b], &mut d, &mut out).unwrap();
            assert_eq!(out, raw);
            for (len, bases) in [(1, [&a[..], &b]), (0, [&b, &a]), (0, [&a[..9], &b])] {
                let got = decode_delta(&payload, raw.len() as u32 - len, &bases, &mut d, &mut out);
                assert!(got.is_err() || out != raw);
            }
        }
    }

    #[test]
    fn a_base_that_looks_like_a_trained_dictionary_is_bytes_like_others() {
        let (mut c, mut d) = (Compressor::new(3).unwrap(), Decompressor::new().unwrap());
        let base = [&[0x37, 0xa4, 0x30, 0xec][..], &noise(5000, 3)].concat();
        let raw = [&base[2000..], &base[..3000]].concat();
        let payload = encode_delta(&raw, &[&base], &[], &mut c).unwrap();
        assert!(payload.len() < 100);
        let mut out = Vec::new();
        decode_delta(&payload, raw.len() as u32, &[&base], &mut d, &mut out).unwrap();
        assert_eq!(out, raw);
    }

    #[test]
    fn slices_beyond_their_base_are_refused() {
        let base = noise(100, 4);
        for (base_number, offset, len) in [(1, 0, 1), (0, 100, 1), (0, 0, 101), (0, 50, 0), (0, u32::MAX, u32::MAX)] {
            let slice = Slice { base: base_number, offset, len };
            assert!(Dictionary::new(&[&base], &[slice]).is_err(), "{slice:?}");
        }
        let large = vec![0; 3 << 20];
        assert!(Dictionary::new(&[&large, &large], &[]).is_err());
    }

    #[test]
    fn items_say_everything_or_are_refused() {
        let delta = Delta { rank: 9, bases: vec![ChunkPrefix::new([1; 16]), ChunkPrefix::new([2; 16])].into() };
        let mut item = Vec::new();
        delta.put_item(77, &mut item);
        assert_eq!(Delta::take_item(&mut Reader::new(&item, WHAT)), Ok((77, delta.clone())));
        let broken = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = item.clone();
            change(&mut bytes);
            Delta::take_item(&mut Reader::new(&bytes, WHAT)).is_err()
        };
        assert!(broken(&|b| b[2] = 0), "rank 0");
        assert!(broken(&|b| b[3] = 0), "no base");
        assert!(broken(&|b| b[3] = 3), "a base is missing");
        assert!(broken(&|b| b.copy_within(4..20, 20)), "a base twice");
    }
}
