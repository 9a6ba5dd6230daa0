//! What a row or a key is kept as: a header, which has its own length and a type for each value, and the values, as long as
//! their types say. Nothing in it tells how many columns its table has: rows may be older than the last of them.

use super::page::varint;

/// More than a record may have, for types that no database has.
const NEVER: u32 = 1 << 31;
/// By a type that takes one byte to say: how long its value is. Of the first byte of a longer one: nothing.
const LENGTHS: [u32; 256] = lengths();

const fn lengths() -> [u32; 256] {
    let mut lengths = [0; 256];
    let mut kind = 0;
    while kind < 0x80 {
        lengths[kind] = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind as u32,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => NEVER,
            _ => (kind as u32 - 12) / 2,
        };
        kind += 1;
    }
    lengths
}

/// Whether a record of so many bytes that begins so is well formed. Of one whose header goes on elsewhere only the length
/// of that is looked at.
pub(super) fn is_well_formed(here: &[u8], bytes: usize) -> bool {
    let Ok((header, at)) = varint(here) else { return false };
    if header > here.len() as u64 {
        return header <= bytes as u64;
    }
    let Some(types) = here.get(at..header as usize) else { return false };
    let (mut sum, mut seen) = (header, 0);
    for kind in types {
        sum = sum.wrapping_add(u64::from(LENGTHS[usize::from(*kind)]));
        seen |= kind;
    }
    if seen >= 0x80 {
        return sum_of_long(types, header) == Some(bytes as u64);
    }
    sum == bytes as u64
}

/// The same sum where some types take more than a byte to say. `None`: the last one is cut.
fn sum_of_long(mut types: &[u8], header: u64) -> Option<u64> {
    let mut sum = header;
    while !types.is_empty() {
        let (kind, len) = varint(types).ok()?;
        let value = match kind {
            0..0x80 => u64::from(LENGTHS[kind as usize]),
            _ => (kind - 12) / 2,
        };
        sum = sum.saturating_add(value);
        types = &types[len..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with these bytes as its types, and so many bytes of values.
    fn is_well(header: &[u8], values: usize) -> bool {
        let mut record = header.to_vec();
        record.resize(header.len() + values, 0xff);
        is_well_formed(&record, record.len())
    }

    #[test]
    fn values_take_what_their_types_say() {
        for (kind, len) in
            [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 8), (7, 8), (8, 0), (9, 0), (12, 0), (13, 0)]
        {
            assert!(is_well(&[2, kind], len) && !is_well(&[2, kind], len + 1), "{kind}");
            assert!(len == 0 || !is_well(&[2, kind], len - 1), "{kind}");
        }
        assert!(is_well(&[1], 0) && is_well(&[5, 1, 127, 126, 8], 1 + 57 + 57));
        // Blobs and texts of 58 bytes and more; each number may be longer than it need be.
        assert!(is_well(&[3, 0x81, 0x00], 58) && is_well(&[4, 1, 0x81, 0x01], 59) && is_well(&[0x80, 3, 1], 1));
        assert!(is_well(&[4, 0x80, 0x80, 6], 8) && !is_well(&[4, 0x80, 0x80, 10], 0));
        assert!(!is_well(&[2, 10], 0) && !is_well(&[2, 11], 0) && !is_well(&[], 0));
    }

    #[test]
    fn headers_end_where_they_say() {
        assert!(!is_well(&[0], 0) && !is_well(&[0x80, 1], 0) && !is_well(&[3, 1], 0));
        // The last type is cut.
        assert!(!is_well(&[3, 1, 0x81], 1));
        assert!(is_well_formed(&[9, 1, 1], 12) && !is_well_formed(&[9, 1, 1], 8));
        let greatest = [0xff; 9];
        assert!(!is_well(&greatest, 100));
        assert!(!is_well(&[&[19][..], &greatest, &greatest].concat(), 100));
        // As many as fit into the largest page do not wrap around.
        let mut many = vec![11; 65536];
        many[..3].copy_from_slice(&[0x84, 0x80, 0x00]);
        assert!(!is_well_formed(&many, 65536));
    }
}
