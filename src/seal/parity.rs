//! What gives back a stretch of bad bytes.
//!
//! Cut into stripes as long as its parity, something XORs to nothing, parity included. A stretch of bad bytes that is no longer
//! shows, by what the stripes XOR to, which bytes it had and where in its stripe it lies, but not in which. Each is tried, and
//! the name of what it is tells which is right. So nobody needs a key.
//!
//! Parities are powers of two, so those of short stripes follow from those of long ones. A writer, who does not know yet how
//! long it becomes, keeps the longest.

use std::cmp::Reverse;
use std::ops::Range;

/// Longest parity. Bytes.
pub const PARITY_BYTES_MAX: usize = 256 << 10;
/// What a sector takes. Bytes.
pub const SECTOR_BYTES: usize = 4 << 10;
/// How many places for a stretch's beginning are tried.
const GAPS_MAX: usize = 3;
/// How often bytes are compared with a name: nothing of this program takes more, but others could.
const TRIES_MAX: usize = 2048;

/// The parity of what is still being written.
#[derive(Debug, Default)]
pub struct Parity {
    /// Of stripes of [`PARITY_BYTES_MAX`]; as long as there is less, it is what was written.
    stripe: Vec<u8>,
    /// Where in its stripe the end is.
    at: usize,
}

impl Parity {
    /// Takes in what comes next.
    pub fn update(&mut self, bytes: &[u8]) {
        let (fresh, mut rest) = bytes.split_at(bytes.len().min(PARITY_BYTES_MAX - self.stripe.len()));
        self.stripe.extend_from_slice(fresh);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PARITY_BYTES_MAX - self.at));
            xor(&mut self.stripe[self.at..], now);
            self.at = (self.at + now.len()) % PARITY_BYTES_MAX;
            rest = later;
        }
    }

    /// What the stripes of this length, a power of two, XOR to.
    fn sum(&self, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.stripe.chunks(len.max(1)).for_each(|part| xor(&mut out, part));
        out
    }

    /// The parity of this length, a power of two, that goes behind all `end` bytes that came: each byte in the place of its
    /// stripe.
    pub fn behind(&self, end: u64, len: usize) -> Vec<u8> {
        let mut out = self.sum(len);
        out.rotate_left((end % len.max(1) as u64) as usize);
        out
    }
}

fn xor(to: &mut [u8], from: &[u8]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to ^= from);
}

/// Knows what was looked for, as often as it may be asked.
pub struct Goal<F> {
    is_it: F,
    tries: usize,
}

impl<F> std::fmt::Debug for Goal<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Goal({} tries)", self.tries)
    }
}

impl<F: Fn(&[u8]) -> bool> Goal<F> {
    /// It is known by this.
    pub fn new(is_it: F) -> Self {
        Self { is_it, tries: TRIES_MAX }
    }

    /// Whether these are the bytes; `None` where they are not, and it was asked often enough.
    pub fn is_it(&mut self, bytes: &[u8]) -> Option<bool> {
        self.tries = self.tries.saturating_sub(1);
        if (self.is_it)(bytes) { Some(true) } else { (self.tries > 0).then_some(false) }
    }
}

/// Makes bytes what they were, whose stripes of this length, up to `end`, would XOR to nothing; `None` where that is not what
/// helps.
pub fn mend_stripes<F: Fn(&[u8]) -> bool>(bytes: &mut [u8], end: usize, len: usize, goal: &mut Goal<F>) -> Option<()> {
    let mut all = Parity::default();
    all.update(bytes.get(..end)?);
    let wrong = all.sum(len);
    for stretch in stretches(&wrong) {
        // What is longer than a stripe looks so, and to try it takes long.
        if len > SECTOR_BYTES && stretch.len() > len / 8 * 7 {
            continue;
        }
        let wrong: Vec<u8> = wrong.iter().cycle().skip(stretch.start).take(stretch.len()).copied().collect();
        for at in (stretch.start..=end.checked_sub(stretch.len())?).step_by(len) {
            xor(&mut bytes[at..], &wrong);
            if goal.is_it(bytes)? {
                return Some(());
            }
            xor(&mut bytes[at..], &wrong);
        }
    }
    None
}

/// Stretches, round the end if need be, that have all bytes that are not zero: the shortest ones, which leave out a long
/// gap, and a whole stripe, which may be a sector.
fn stretches(bytes: &[u8]) -> Vec<Range<usize>> {
    let wrong: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let (Some(first), Some(last)) = (wrong.first(), wrong.last()) else { return Vec::new() };
    let round = (first + bytes.len() - last, *first..last + 1);
    let inside = wrong.windows(2).map(|pair| (pair[1] - pair[0], pair[1]..pair[0] + 1 + bytes.len()));
    let mut gaps: Vec<_> = inside.chain([round]).collect();
    gaps.sort_by_key(|(gap, _)| Reverse(*gap));
    gaps.truncate(GAPS_MAX);
    gaps.into_iter().map(|(_, stretch)| stretch).chain(std::iter::once(0..bytes.len())).collect()
}
