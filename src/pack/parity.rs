//! What a pack's padding is good for: it gives back what one stretch of bad bytes took.
//!
//! ```text
//! pack := head ‖ frames ‖ table ‖ trailer ‖ parity ‖ zeros ‖ trailer
//! ```
//! See [`crate::seal::Parity`]; what lies behind the parity is not in its stripes.

use super::write::padded_len;
use super::{TRAILER_BYTES, TRAILER_MAGIC};
use crate::seal::{Goal, PARITY_BYTES_MAX, Parity, SECTOR_BYTES, mend_stripes};

/// The parity has at least about this part of what it protects, or what a sector takes, unless that is more than an eighth.
const SHARE: u64 = 256;
const SHARE_MAX: u64 = 8;
/// Longer packs than any of this program are not mended.
const PACK_BYTES_MAX: usize = 64 << 20;

/// The greatest power of two up to this; none of zero.
fn power_of_two(len: u64) -> u64 {
    len.checked_ilog2().map_or(0, |exponent| 1 << exponent)
}

/// Where what lies behind the table of a pack. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Where the table ends, and the first trailer begins.
    pub table_end: u64,
    /// Length of the parity.
    pub parity: u64,
    /// Length of the pack.
    pub size: u64,
    /// What would not have to be there.
    pub spare: u64,
}

impl Layout {
    /// Of a pack whose table ends there.
    pub fn new(table_end: u64) -> Self {
        let wanted = (table_end / SHARE).max((SECTOR_BYTES as u64).min(table_end / SHARE_MAX));
        let least = power_of_two(wanted.min(PARITY_BYTES_MAX as u64));
        let needed = table_end + least + 2 * TRAILER_BYTES as u64;
        let size = padded_len(needed);
        let parity = power_of_two((least + size - needed).min(PARITY_BYTES_MAX as u64));
        Self { table_end, parity, size, spare: size - needed }
    }

    /// Where the parity begins.
    fn parity_at(&self) -> u64 {
        self.table_end + TRAILER_BYTES as u64
    }

    /// Appends what lies behind the table: of what is before it, this is the parity.
    pub fn put(&self, trailer: &[u8; TRAILER_BYTES], mut before: Parity, out: &mut Vec<u8>) {
        before.update(trailer);
        out.extend_from_slice(trailer);
        out.extend_from_slice(&before.behind(self.parity_at(), self.parity as usize));
        let zeros = self.size - self.parity_at() - self.parity - TRAILER_BYTES as u64;
        out.resize(out.len() + zeros as usize, 0);
        out.extend_from_slice(trailer);
    }
}

/// A pack as it was, from its bytes as they are, if one stretch of them is not too long: `is_it` knows it.
pub fn mend(bytes: &[u8], is_it: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    if bytes.len() > PACK_BYTES_MAX {
        return None;
    }
    let mut goal = Goal::new(is_it);
    let mut trailers: Vec<_> = trailers(bytes).collect();
    trailers.dedup();
    trailers.into_iter().find_map(|(table_end, trailer)| with_trailer(bytes, table_end, &trailer, &mut goal))
}

/// Makes a pack's parity useless, a tool for tests of damage that is beyond it.
#[doc(hidden)]
pub fn spoil_parity(pack: &mut [u8]) {
    let Some((table_end, _)) = trailers(pack).next() else { return };
    let layout = Layout::new(table_end);
    let parity_at = layout.parity_at() as usize;
    pack.iter_mut().skip(parity_at).take(layout.parity as usize).for_each(|byte| *byte = !*byte);
}

/// The trailer at the end and the one before the parity, as far as they seem to be there, and where the table ends by each.
fn trailers(bytes: &[u8]) -> impl Iterator<Item = (u64, [u8; TRAILER_BYTES])> {
    let candidate = |magic_at: usize| {
        let at = magic_at.checked_sub(TRAILER_BYTES - TRAILER_MAGIC.len())?;
        let trailer: [u8; TRAILER_BYTES] = *bytes.get(at..)?.first_chunk()?;
        let [offset, len] =
            [0, 4].map(|at| trailer[at..].first_chunk().map_or(0, |n| u64::from(u32::from_le_bytes(*n))));
        let is_it = offset + len == at as u64 || at + TRAILER_BYTES == bytes.len() && offset + len < at as u64;
        is_it.then_some((offset + len, trailer))
    };
    memchr::memmem::rfind_iter(bytes, TRAILER_MAGIC).filter_map(candidate).take(2)
}

/// The same by one trailer.
fn with_trailer<F: Fn(&[u8]) -> bool>(
    bytes: &[u8],
    table_end: u64,
    trailer: &[u8; TRAILER_BYTES],
    goal: &mut Goal<F>,
) -> Option<Vec<u8>> {
    let layout = Layout::new(table_end);
    let (parity_at, parity, size) = (layout.parity_at() as usize, layout.parity as usize, layout.size as usize);
    let end = parity_at + parity;
    let mut pack = bytes[..bytes.len().min(end)].to_vec();
    pack.resize(size, 0);
    pack[parity_at - TRAILER_BYTES..parity_at].copy_from_slice(trailer);
    pack[size - TRAILER_BYTES..].copy_from_slice(trailer);
    if !goal.is_it(&pack)? {
        mend_stripes(&mut pack, end, parity, goal)?;
    }
    Some(pack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A pack of noise.
    fn pack(content: usize) -> Vec<u8> {
        let mut out = vec![0; content];
        blake3::Hasher::new().finalize_xof().fill(&mut out);
        let mut parity = Parity::default();
        out.chunks(7001).for_each(|part| parity.update(part));
        let offset = content as u32 / 3;
        let mut trailer = [offset, content as u32 - offset, 3].map(u32::to_le_bytes).as_flattened().to_vec();
        trailer.extend_from_slice(TRAILER_MAGIC);
        let layout = Layout::new(content as u64);
        layout.put(trailer.first_chunk().unwrap(), parity, &mut out);
        assert_eq!(out.len() as u64, layout.size);
        out
    }

    fn is_mended(bad: &[u8], pack: &[u8]) -> bool {
        let mended = mend(bad, |bytes| bytes == pack);
        assert!(mended.as_ref().is_none_or(|mended| mended == pack));
        mended.is_some()
    }

    #[test]
    fn there_is_room_for_a_sector_or_a_part_of_what_is_long() {
        let parity = |table_end| (Layout::new(table_end).parity, Layout::new(table_end).size);
        assert_eq!([179, 1 << 10, 3 << 10, 33 << 10].map(|end| parity(end).0), [2048, 2048, 512, 4096]);
        for table_end in (179..40 << 20).step_by(54_321) {
            let Layout { parity, size, .. } = Layout::new(table_end);
            let least = (table_end / 512).max(4096.min(table_end / 8)).min(128 << 10) / 2;
            assert!(parity >= least && size >= table_end + parity + 32, "{table_end}: {parity} of {size}");
            assert!(size <= table_end.max(3800) * 5 / 4, "{table_end}: {size}");
        }
    }

    #[test]
    fn one_bad_byte_anywhere_is_mended() {
        let pack = pack(3000);
        for at in 0..pack.len() {
            let mut bad = pack.clone();
            bad[at] ^= 0x10;
            assert!(is_mended(&bad, &pack), "byte {at}");
        }
    }

    #[test]
    fn a_bad_sector_anywhere_is_mended() {
        for pack in [32_768, 36_000, 70_000, 600_000].map(pack) {
            for at in (0..pack.len()).step_by(4096) {
                let mut bad = pack.clone();
                let end = pack.len().min(at + 4096);
                bad[at..end].fill(0);
                assert!(is_mended(&bad, &pack), "sector at {at} of {}", pack.len());
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_added_is_mended() {
        let pack = pack(2_000_000);
        assert!(is_mended(&[&pack[..], b"more"].concat(), &pack));
        let [cut, too_much] = [2_000_000 + 3000, 1_900_000].map(|end| &pack[..end]);
        assert!(is_mended(cut, &pack) && !is_mended(too_much, &pack) && !is_mended(&[], &pack));
    }

    proptest! {
        #[test]
        fn a_stretch_is_mended(content in 200usize..700_000, at in any::<prop::sample::Index>(), share in 1usize..=100, mask in 1u8..) {
            let pack = pack(content);
            let parity = Layout::new(content as u64).parity as usize;
            let len = (parity * 7 / 8 * share / 100).max(1).min(pack.len());
            let at = at.index(pack.len() - len + 1);
            let mut bad = pack.clone();
            bad[at..at + len].iter_mut().for_each(|byte| *byte ^= mask);
            prop_assert!(is_mended(&bad, &pack));
        }

        #[test]
        fn what_is_mended_is_the_pack(content in 200usize..100_000, places in prop::collection::vec(any::<prop::sample::Index>(), 2..5)) {
            let pack = pack(content);
            let mut bad = pack.clone();
            places.iter().for_each(|at| bad[at.index(pack.len())] ^= 0x44);
            is_mended(&bad, &pack);
        }

        #[test]
        fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), table_end in any::<u16>()) {
            let [a, b] = table_end.to_le_bytes();
            let trailer = [&[a, b, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], &TRAILER_MAGIC[..]].concat();
            prop_assert_eq!(mend(&[&bytes[..], &trailer].concat(), |_| false), None);
        }
    }
}
