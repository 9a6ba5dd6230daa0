//! Pseudo-random numbers from a seed, so that every run can be had again.

/// xorshift64* (Vigna, 2016).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from this seed.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give neighbouring numbers, and the state must not be zero.
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, or 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.number() >> 16) as usize % end }
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        (self.number() >> 56) as u8
    }

    /// That many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let at = self.below(all.len());
        all.get(at)
    }
}

/// Bytes that break parsers: ends of ranges, lengths that are too long, what stands for something in some format.
const ODD: &[&[u8]] = &[
    &[0],
    &[1],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0x80, 0],
    &[0xff, 0xff],
    &[0; 4],
    &[0xff; 4],
    &[0; 8],
    &[0xff; 8],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x08],
    b"/",
    b"..",
    b"@",
    b":",
    b"latest",
    b"~",
    &[0; 32],
];

/// A few random changes to `input`, or to a piece of it; pieces of `other` may get in.
pub fn mutate(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = input.to_vec();
    let rounds = 1 + random.below(2) * random.below(6);
    for _ in 0..rounds {
        let at = random.below(out.len() + 1);
        let len = if random.below(4) == 0 { random.below(64) } else { random.below(6) };
        let end = out.len().min(at + len);
        match random.below(10) {
            0..=2 => {
                let bit = 1 << random.below(8);
                if let Some(byte) = out.get_mut(at) {
                    *byte ^= bit;
                }
            }
            3 => {
                let new = random.byte();
                if let Some(byte) = out.get_mut(at) {
                    *byte = new;
                }
            }
            4 => {
                // Small steps change lengths and counts by one.
                let step = if random.below(2) == 0 { 1 } else { u8::MAX };
                if let Some(byte) = out.get_mut(at) {
                    *byte = byte.wrapping_add(step);
                }
            }
            5 => drop(out.drain(at..end)),
            6 => {
                let again = out[at..end].to_vec();
                out.splice(at..at, again);
            }
            7 => {
                let odd = random.one_of(ODD).copied().unwrap_or_default();
                let replaced = if random.below(2) == 0 { at } else { out.len().min(at + odd.len()) };
                out.splice(at..replaced, odd.iter().copied());
            }
            8 => {
                let from = random.below(other.len() + 1);
                let to = other.len().min(from + random.below(80));
                let replaced = if random.below(2) == 0 { at } else { end };
                out.splice(at..replaced, other[from..to].iter().copied());
            }
            _ => out.truncate(at),
        }
    }
    out
}
