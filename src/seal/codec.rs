//! zstd, with the limits that a reader of foreign bytes needs.

use std::cell::RefCell;
use std::io::Cursor;

use zstd::zstd_safe::{CParameter, DCtx, get_error_name};

use crate::crypto::TAG_BYTES;
use crate::wire::{Malformed, Result};

/// How bytes were compressed. The numbers are the stored ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// As they are.
    Raw = 0,
    /// One zstd frame (RFC 8878) without a dictionary.
    Zstd = 1,
}

impl Codec {
    /// The codec stored under this number.
    pub fn from_u8(number: u8) -> Result<Self> {
        match number {
            0 => Ok(Self::Raw),
            1 => Ok(Self::Zstd),
            n => Err(Malformed::Newer { what: format!("compression method {n}") }),
        }
    }
}

/// What level 3 remembers of long and of short matches, as logarithms: less than zstd would, so that it stays in the cache
/// of a core that does other things as well. Of little, less.
const TABLES: [(u32, u32); 2] = [(14, 13), (15, 13)];
/// Where much begins, bytes.
const MUCH: usize = 512 << 10;

/// A reusable compressor.
pub struct Compressor {
    zstd: zstd::bulk::Compressor<'static>,
    level: i32,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor")
    }
}

impl Compressor {
    /// A compressor of this zstd level.
    pub fn new(level: i32) -> std::io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(level)?, level })
    }

    /// Appends `raw` as a zstd frame that refers to a dictionary, which must not look like one that was trained.
    pub fn append_delta(&mut self, raw: &[u8], dictionary: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
        out.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let context = self.zstd.context_mut();
        let done = context.compress_using_dict(&mut behind(out), raw, dictionary, self.level);
        done.map(drop).map_err(|code| std::io::Error::other(get_error_name(code)))
    }

    fn fit(&mut self, len: usize) -> std::io::Result<()> {
        if self.level != 3 {
            return Ok(());
        }
        let (long, short) = TABLES[usize::from(len >= MUCH)];
        self.zstd.set_parameter(CParameter::HashLog(long))?;
        self.zstd.set_parameter(CParameter::ChainLog(short))
    }

    /// Appends the smaller of the two forms of `raw` to `out`, and says which it is. There is room for a tag behind it.
    pub fn append(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Codec {
        let start = out.len();
        out.reserve(zstd::zstd_safe::compress_bound(raw.len()) + TAG_BYTES);
        let fitted = self.fit(raw.len());
        match fitted.and_then(|()| self.zstd.compress_to_buffer(raw, &mut behind(out))) {
            Ok(len) if len < raw.len() => Codec::Zstd,
            // Larger, or it failed: the bytes themselves are always right.
            _ => {
                out.truncate(start);
                out.extend_from_slice(raw);
                Codec::Raw
            }
        }
    }
}

/// The room behind what is there, up to the capacity; it need not be filled with zeroes first.
fn behind(out: &mut Vec<u8>) -> Cursor<&mut Vec<u8>> {
    let end = out.len() as u64;
    let mut room = Cursor::new(out);
    room.set_position(end);
    room
}

/// A reusable decompressor.
pub struct Decompressor {
    zstd: DCtx<'static>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decompressor")
    }
}

impl Decompressor {
    /// A decompressor.
    pub fn new() -> std::io::Result<Self> {
        let no_memory = || std::io::Error::from(std::io::ErrorKind::OutOfMemory);
        let zstd = DCtx::try_create().ok_or_else(no_memory)?;
        Ok(Self { zstd })
    }

    /// Appends the plain form of `stored`, which must be exactly `len` bytes long; no more is made room for.
    pub fn append(&mut self, codec: Codec, stored: &[u8], len: usize, out: &mut Vec<u8>) -> Result<()> {
        let found = match codec {
            Codec::Raw => {
                out.extend_from_slice(&stored[..stored.len().min(len)]);
                stored.len()
            }
            Codec::Zstd => {
                require_one_frame(stored)?;
                out.reserve_exact(len);
                let mut room = behind(out);
                let decompressed = self.zstd.decompress(&mut room, stored);
                decompressed.map_err(|code| Malformed::bad("compressed data", get_error_name(code)))?
            }
        };
        require_len(found, len)
    }

    /// Fills `out` with the plain form of a zstd frame that refers to a dictionary, which must not look like one that was
    /// trained.
    pub fn delta(&mut self, stored: &[u8], dictionary: &[u8], out: &mut [u8]) -> Result<()> {
        require_one_frame(stored)?;
        let decompressed = self.zstd.decompress_using_dict(out, stored, dictionary);
        let found = decompressed.map_err(|code| Malformed::bad("compressed data", get_error_name(code)))?;
        require_len(found, out.len())
    }
}

/// The decompressor would take more frames, and skip frames that hold nothing, behind the first.
fn require_one_frame(stored: &[u8]) -> Result<()> {
    let is_frame = stored.starts_with(&zstd::zstd_safe::MAGICNUMBER.to_le_bytes())
        && zstd::zstd_safe::find_frame_compressed_size(stored) == Ok(stored.len());
    if is_frame { Ok(()) } else { Err(Malformed::bad("compressed data", "it is not exactly one zstd frame")) }
}

fn require_len(found: usize, len: usize) -> Result<()> {
    if found == len {
        return Ok(());
    }
    Err(Malformed::bad("compressed data", format!("{found} bytes found, {len} expected")))
}

thread_local! {
    /// To make one takes longer than to open a small object.
    static DECOMPRESSOR: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
}

/// The plain form of a few bytes, which must be exactly `len` bytes long.
pub fn decompress(codec: Codec, stored: &[u8], len: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new().map_err(|e| Malformed::bad("compressed data", e.to_string()))?),
        };
        decompressor.append(codec, stored, len, &mut out)
    })?;
    Ok(out)
}

/// Tells what is not worth compressing.
pub struct Probe {
    compressor: zstd::bulk::Compressor<'static>,
    scratch: Vec<u8>,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

impl Probe {
    const SAMPLE: usize = 16 << 10;
    /// Bytes of it that are counted.
    const COUNTED: usize = 1 << 10;

    /// A probe; it can be used again and again.
    pub fn new() -> std::io::Result<Self> {
        let scratch = vec![0; zstd::zstd_safe::compress_bound(Self::SAMPLE)];
        Ok(Self { compressor: zstd::bulk::Compressor::new(-5)?, scratch })
    }

    /// Whether compressing `data` is not worth it, judged by 16 KiB from its middle: where some bytes come clearly more
    /// often than others, it is; else the fastest level tells, for a fifth of what zstd's own giving up costs.
    pub fn looks_incompressible(&mut self, data: &[u8]) -> bool {
        if data.len() < 2 * Self::SAMPLE {
            return false;
        }
        let start = (data.len() - Self::SAMPLE) / 2;
        let sample = &data[start..start + Self::SAMPLE];
        if is_uneven(&sample[..Self::COUNTED]) {
            return false;
        }
        match self.compressor.compress_to_buffer(sample, self.scratch.as_mut_slice()) {
            Ok(len) => len * 100 > Self::SAMPLE * 97,
            Err(_) => false,
        }
    }
}

/// Whether two bytes taken at random are equal at least twice as often as in noise.
fn is_uneven(bytes: &[u8]) -> bool {
    let mut counts = [0u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let pairs: u32 = counts.iter().map(|n| n * n.saturating_sub(1)).sum();
    pairs as usize > 2 * bytes.len() * bytes.len() / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_come_back_and_lengths_are_enforced() {
        let (mut c, mut d) = (Compressor::new(3).unwrap(), Decompressor::new().unwrap());
        let mut noise = vec![0; 100_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        for (raw, codec) in [(vec![7; 100_000], Codec::Zstd), (noise.clone(), Codec::Raw), (vec![], Codec::Raw)] {
            let mut stored = b"x".to_vec();
            assert_eq!(c.append(&raw, &mut stored), codec);
            let mut back = b"y".to_vec();
            d.append(codec, &stored[1..], raw.len(), &mut back).unwrap();
            assert_eq!(&back[1..], raw);
            for wrong in [raw.len() + 1, raw.len().wrapping_sub(1).min(1 << 20)] {
                assert!(d.append(codec, &stored[1..], wrong, &mut Vec::new()).is_err());
            }
        }
        let mut one = Vec::new();
        c.append(&[7; 1000], &mut one);
        let skippable = [&0x184d_2a50u32.to_le_bytes()[..], &[0; 4]].concat();
        assert!(d.append(Codec::Zstd, &skippable, 0, &mut Vec::new()).is_err());
        for more in [&[0][..], &skippable] {
            assert!(d.append(Codec::Zstd, &[&one, more].concat(), 1000, &mut Vec::new()).is_err());
        }
        let mut probe = Probe::new().unwrap();
        assert!(probe.looks_incompressible(&noise));
        assert!(!probe.looks_incompressible(&[7; 100_000]));
        assert!(!probe.looks_incompressible(&noise[..30_000]), "too short to tell cheaply");
        let again = noise[..600].repeat(100);
        assert!(!is_uneven(&again[..1024]) && !probe.looks_incompressible(&again), "even, but it repeats");
        assert!(is_uneven(&b"All bytes are not alike."[..].repeat(50)[..1024]));
    }
}
