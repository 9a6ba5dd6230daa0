//! Streams cut where the content says so: FastCDC (Xia et al., 2020) with a secret gear table.
//!
//! The table is derived from the repository's chunker key, so boundaries tell nothing to those without it. The crate's
//! own seed is never used: it XORs one u64 into a public table, which a few known cuts give away (see `tests`).

use fastcdc::v2020::cut_gear;

use crate::crypto::Secret;
use crate::wire::{self, Fields, Malformed, Record, critical, put_varint};

/// Longest chunk of any kind, bytes.
pub const CHUNK_BYTES_MAX: usize = 16 << 20;

/// Databases and other files of pages are cut into blocks of this length, which begin where pages do. Bytes.
pub const BLOCK_BYTES: usize = 64 << 10;

/// Where a stream may be cut; frozen per repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// No chunk but the last is shorter. Bytes, even.
    pub min: usize,
    /// Below this length a cut is 16 times rarer than above. Bytes, a power of two.
    pub avg: usize,
    /// No chunk is longer. Bytes, even.
    pub max: usize,
}

impl Params {
    /// For files; chosen by measurement, see docs/decisions/.
    pub const FILES: Self = Self { min: 128 << 10, avg: 256 << 10, max: 1 << 20 };
    const NORMALISATION: u32 = 2;

    /// Checks what cutting relies on.
    fn checked(self) -> wire::Result<Self> {
        let ok = self.avg.is_power_of_two()
            && (4 << 10..=4 << 20).contains(&self.avg)
            && self.min.is_multiple_of(2)
            && self.max.is_multiple_of(2)
            && (64..=self.avg).contains(&self.min)
            && (self.avg..=CHUNK_BYTES_MAX).contains(&self.max);
        if ok { Ok(self) } else { Err(Malformed::bad("chunker parameters", format!("{self:?}"))) }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut numbers = Vec::new();
        for number in [self.min, self.avg, self.max, Self::NORMALISATION as usize] {
            put_varint(&mut numbers, number as u64);
        }
        Record::default().bytes(critical(1), &numbers).finish()
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        const WHAT: &str = "chunker parameters";
        let mut found = None;
        for field in Fields::new(bytes, WHAT).once(&[1]) {
            let field = field?;
            if field.tag != critical(1) {
                field.unknown(WHAT)?;
                continue;
            }
            let mut r = field.reader(WHAT);
            let mut number = || r.varint_to(CHUNK_BYTES_MAX as u64).map(|n| n as usize);
            let new = Self { min: number()?, avg: number()?, max: number()? };
            if number()? != Self::NORMALISATION as usize {
                return Err(Malformed::Newer { what: "the chunker's normalisation".into() });
            }
            r.end()?;
            found = Some(new.checked()?);
        }
        found.ok_or_else(|| Malformed::bad(WHAT, "missing"))
    }
}

/// Cuts streams.
#[derive(Debug)]
pub struct Cutter {
    params: Params,
    gear: Box<[u64; 256]>,
    gear_shifted: Box<[u64; 256]>,
    mask_strict: u64,
    mask_loose: u64,
}

impl Cutter {
    /// A cutter for this repository's key and parameters.
    pub fn new(key: &Secret, params: Params) -> Self {
        let mut bytes = [0; 2048];
        key.derive_into("larder v1 gear table", &mut bytes);
        let mut gear = Box::new([0; 256]);
        for (entry, bytes) in gear.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *entry = u64::from_le_bytes(*bytes);
        }
        let bits = params.avg.trailing_zeros();
        Self {
            params,
            gear_shifted: Box::new(gear.map(|entry| entry << 1)),
            gear,
            mask_strict: Self::mask(bits + Params::NORMALISATION),
            mask_loose: Self::mask(bits - Params::NORMALISATION),
        }
    }

    /// `bits` ones just below the top bit: they depend on the longest window, and the two-byte scan shifts one up.
    fn mask(bits: u32) -> u64 {
        ((1 << bits) - 1) << (63 - bits)
    }

    /// How many bytes must be at hand for a cut that is not the stream's end.
    pub fn window(&self) -> usize {
        self.params.max
    }

    /// Below this length a stream is one chunk.
    pub fn min(&self) -> usize {
        self.params.min
    }

    /// Length of the first chunk of `data`, which must hold [`Self::window`] bytes or reach to the stream's end.
    /// Never zero unless `data` is empty.
    pub fn cut(&self, data: &[u8]) -> usize {
        let Params { min, avg, max } = self.params;
        let (strict, loose) = (self.mask_strict, self.mask_loose);
        let (_, len) = cut_gear(
            data,
            min,
            avg,
            max,
            strict,
            loose,
            strict << 1,
            loose << 1,
            self.gear.as_slice(),
            self.gear_shifted.as_slice(),
        );
        len
    }
}

#[cfg(test)]
mod tests;
