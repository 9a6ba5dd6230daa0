//! What a chunk has in common with an earlier version, in long stretches and in the same order.
//!
//! Most changes leave nearly all of a chunk as it was. Going through both versions side by side finds that out at the
//! speed of memory; what a compressor finds instead are the many short matches of data that is like itself everywhere,
//! as dumps are.

/// Shorter stretches are left to the compressor. Bytes.
const COPY_BYTES_MIN: usize = 512;
/// How far behind a difference the versions are looked for to go on alike. Bytes.
const REACH: usize = 64 << 10;
/// How many places are tried at each difference.
const TRIES_MAX: usize = 64;
/// What is looked for. Bytes.
const NEEDLE: usize = 16;
/// As long as so much is left, the versions are looked for to go on alike anywhere. Bytes.
const FAR_BYTES_MIN: usize = 64 << 10;

/// A stretch that stands in the dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// Where it begins in the new version.
    pub at: usize,
    /// Where it stands in the dictionary.
    pub from: usize,
    pub len: usize,
}

/// Stretches of `new` that stand in `old`, ascending in `new`. `starts`: where the versions may begin alike.
pub(super) fn align(old: &[u8], starts: &[usize], new: &[u8]) -> Vec<Copy> {
    let begin = |start: &&usize| common(&old[**start..], new);
    let Some(start) = starts.iter().filter(|start| **start < old.len()).max_by_key(begin) else { return Vec::new() };
    let (mut from, mut at, mut out) = (*start, 0, Vec::new());
    let mut far = None;
    while at < new.len() {
        let len = common(&old[from..], &new[at..]);
        if len >= COPY_BYTES_MIN {
            out.push(Copy { at, from, len });
            (from, at) = (from + len, at + len);
        }
        match go_on(&old[from..], &new[at..]) {
            Some((old_gap, new_gap)) => (from, at) = (from + old_gap, at + new_gap),
            None if new.len() - at <= FAR_BYTES_MIN => break,
            None => match far.get_or_insert_with(|| Windows::of(old)).find(new, at) {
                Some(found) => (from, at) = found,
                None => break,
            },
        }
    }
    out
}

/// Bytes that a window has: the rolling hash forgets what lies further back.
const WINDOW: usize = 64;
/// Every stretch that is worth copying has one of these windows. Bytes.
const STRIDE: usize = 128;
/// How many windows of one chunk may be looked at in vain.
const VAIN_MAX: usize = 4096;

/// The gear hash of Xia et al. (FastCDC, 2016), with the numbers of SplitMix64.
const GEAR: [u64; 256] = {
    let (mut gear, mut n) = ([0; 256], 0);
    while n < gear.len() {
        let mut mixed = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        gear[n] = mixed ^ mixed >> 31;
        n += 1;
    }
    gear
};

fn roll(hash: u64, byte: u8) -> u64 {
    (hash << 1).wrapping_add(GEAR[usize::from(byte)])
}

/// Where windows of an earlier version end, by their hash; of those that are alike, the first.
struct Windows<'o> {
    old: &'o [u8],
    ends: Vec<u32>,
    shift: u32,
    vain: usize,
}

impl<'o> Windows<'o> {
    fn of(old: &'o [u8]) -> Self {
        let bits = (old.len() / STRIDE * 4).next_power_of_two().ilog2().max(1);
        let mut new = Self { old, ends: vec![0; 1 << bits], shift: 64 - bits, vain: 0 };
        for (n, window) in old.chunks_exact(STRIDE).enumerate() {
            let hash = window[STRIDE - WINDOW..].iter().fold(0, |hash, byte| roll(hash, *byte));
            let place = &mut new.ends[(hash >> new.shift) as usize];
            if *place == 0 {
                *place = ((n + 1) * STRIDE) as u32;
            }
        }
        new
    }

    /// Where `new` goes on, from `at` or somewhere behind it, as the version does somewhere: both places.
    fn find(&mut self, new: &[u8], at: usize) -> Option<(usize, usize)> {
        let mut hash = 0;
        for (n, byte) in new.iter().enumerate().skip(at) {
            hash = roll(hash, *byte);
            let end = self.ends[(hash >> self.shift) as usize] as usize;
            if end == 0 || n + 1 - at < WINDOW {
                continue;
            }
            let before = self.old[..end].iter().rev().zip(new[at..=n].iter().rev()).take_while(|(a, b)| a == b).count();
            if before < WINDOW {
                continue;
            }
            if before + common(&self.old[end..], &new[n + 1..]) >= COPY_BYTES_MIN {
                return Some((end - before, n + 1 - before));
            }
            self.vain += 1;
            if self.vain > VAIN_MAX {
                return None;
            }
        }
        None
    }
}

/// How many bytes both begin with.
fn common(a: &[u8], b: &[u8]) -> usize {
    let words = a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0).take_while(|(a, b)| a == b).count() * 16;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

/// How much to leave out of each so that they go on alike for long; the least of it.
fn go_on(old: &[u8], new: &[u8]) -> Option<(usize, usize)> {
    let mut best = in_place(old, new).map(|gap| (gap, gap));
    let below = |best: Option<(usize, usize)>| best.map_or(REACH, |(old, new)| old + new);
    best = place_of(new, old, below(best)).map(|gap| (gap, 0)).or(best);
    place_of(old, new, below(best)).map(|gap| (0, gap)).or(best)
}

fn in_place(old: &[u8], new: &[u8]) -> Option<usize> {
    let end = REACH.min(old.len()).min(new.len());
    let mut at = 0;
    for _ in 0..TRIES_MAX {
        at += old[at..end].iter().zip(&new[at..end]).take_while(|(a, b)| a != b).count();
        if at >= end {
            return None;
        }
        match common(&old[at..], &new[at..]) {
            len if len >= COPY_BYTES_MIN => return Some(at),
            len => at += len,
        }
        if at >= end {
            return None;
        }
    }
    None
}

/// Where in `hay`, before `end`, what `needle` begins with goes on as it does.
fn place_of(needle: &[u8], hay: &[u8], end: usize) -> Option<usize> {
    let first = needle.first_chunk::<NEEDLE>()?;
    let near = &hay[..hay.len().min(REACH).min(end + NEEDLE - 1)];
    let places = memchr::memmem::find_iter(near, first).take(TRIES_MAX);
    places.into_iter().find(|at| common(&hay[*at..], needle) >= COPY_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(numbers: impl Iterator<Item = u32>) -> Vec<u8> {
        numbers.flat_map(|n| format!("{n}\t{}\t0\t{:84}\n", n % 10, "").into_bytes()).collect()
    }

    #[track_caller]
    fn assert_found(old: &[u8], new: &[u8], copies_max: usize, missed_max: usize) {
        let found = align(old, &[0], new);
        let mut end = 0;
        for copy in &found {
            assert!(copy.at >= end && new[copy.at..copy.at + copy.len] == old[copy.from..copy.from + copy.len]);
            end = copy.at + copy.len;
        }
        let missed = new.len() - found.iter().map(|copy| copy.len).sum::<usize>();
        assert!(found.len() <= copies_max && missed <= missed_max, "{} copies, {missed} bytes missed", found.len());
    }

    #[test]
    fn lines_that_are_alike_are_followed_through_changes() {
        let old = lines(0..3000);
        assert_found(&old, &lines((0..3000).filter(|n| n % 300 != 7)), 11, 0);
        assert_found(
            &old,
            &lines((0..3000).flat_map(|n| [n, n + 90_000]).filter(|n| *n < 3000 || n % 300 == 7)),
            11,
            1100,
        );
        let mut edited = old.clone();
        edited[100_000] ^= 1;
        edited[200_000..200_040].fill(b'x');
        assert_found(&old, &edited, 3, 41);
        assert_found(&old, &old, 1, 0);
    }

    #[test]
    fn what_goes_on_alike_far_away_is_found() {
        let old = lines(0..20_000);
        // A hundred lines of which every third is another, and then as before, or as long before.
        let dense = lines((5000..5100).map(|n| if n % 3 == 0 { n + 90_000 } else { n }));
        let all = [&old[..5000 * 100], &dense, &old[5100 * 100..]].concat();
        assert_found(&old, &all, 3, 2 * dense.len());
        let moved = [&old[1_000_000..], &dense[..], &old[..1_000_000]].concat();
        assert_found(&old, &moved, 4, 2 * dense.len());
        assert_found(&old, &lines(90_000..110_000), 0, 4 << 20);
    }

    #[test]
    fn what_is_not_alike_ends_soon() {
        assert_found(&lines(0..100), &[b'x'; 5000], 0, 5000);
        assert_found(&[], &[b'x'; 5000], 0, 5000);
        assert_found(b"abc", b"", 0, 0);
        assert_found(&[7; 9000], &[7; 10_000], 1, 1000);
    }
}
