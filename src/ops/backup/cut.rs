//! How files are cut into chunks.

use crate::chunk::{BLOCK_BYTES, Cutter};

/// How a file is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Where its content says so.
    Content,
    /// Into blocks, which pages do not straddle.
    Blocks,
}

/// So much of a file's beginning tells what it is. Bytes.
pub(super) const FIRST_BYTES: usize = 2048;

/// What files of pages have at these places: databases, and images of disks.
const MAGICS: [(usize, &[u8]); 9] = [
    (0, SQLITE),
    (0, b"redb\x1a\x0a\xa9\x0d\x0a"),
    (16, b"\xde\xc0\xef\xbe"), // LMDB
    (1080, b"\x53\xef"),       // ext2, ext3, ext4
    (0, b"XFSB"),
    (512, b"EFI PART"),
    (0, b"QFI\xfb"),             // qcow2
    (0, b"KDMV"),                // VMDK
    (0x40, b"\x7f\x10\xda\xbe"), // VDI
];
const SQLITE: &[u8] = b"SQLite format 3\0";

impl Cut {
    /// By the first [`FIRST_BYTES`] of a file of this size.
    pub fn of(first: &[u8], size: u64) -> Self {
        let has = |(at, magic): &(usize, &[u8])| first.get(*at..).is_some_and(|rest| rest.starts_with(magic));
        let is_pages = size.is_multiple_of(512) && MAGICS.iter().any(has) || has(&MAGICS[0]);
        if is_pages || is_postgres(first, size) { Self::Blocks } else { Self::Content }
    }

    /// How many bytes of a big file are handed out together. Where chunks that moved are looked for in the version before,
    /// the more the better.
    pub fn piece_bytes(self) -> usize {
        match self {
            Self::Content => 4 << 20,
            Self::Blocks => 16 * BLOCK_BYTES,
        }
    }

    /// How many bytes must be at hand for a cut that is not the file's end.
    pub fn window(self, cutter: &Cutter) -> usize {
        match self {
            Self::Content => cutter.window(),
            Self::Blocks => BLOCK_BYTES,
        }
    }

    /// Length of the first chunk of what is at hand.
    pub fn cut(self, cutter: &Cutter, bytes: &[u8]) -> usize {
        match self {
            Self::Content => cutter.cut(bytes),
            Self::Blocks => bytes.len().min(BLOCK_BYTES),
        }
    }
}

/// Whether a file begins like an SQLite database.
pub(super) fn is_sqlite(first: &[u8]) -> bool {
    first.starts_with(SQLITE)
}

/// Whether a file begins with a page of a PostgreSQL table or index: its header says how long it is, and where its
/// free space lies (layout version 4, since PostgreSQL 8.3).
fn is_postgres(first: &[u8], size: u64) -> bool {
    const PAGE: u16 = 8192;
    let number = |at: usize| first.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    let (lower, upper, special) = (number(12), number(14), number(16));
    let is_page = number(18) == PAGE | 4 && (24..=upper).contains(&lower) && upper <= special && special <= PAGE;
    is_page && size.is_multiple_of(PAGE.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_pages_are_known_by_how_they_begin() {
        let with = |at: usize, magic: &[u8]| {
            let mut first = vec![b'x'; FIRST_BYTES];
            first[at..at + magic.len()].copy_from_slice(magic);
            first
        };
        for (at, magic) in MAGICS {
            assert_eq!(Cut::of(&with(at, magic), 1 << 20), Cut::Blocks);
            assert_eq!(Cut::of(&with(at + 1, magic), 1 << 20), Cut::Content);
            assert_eq!(Cut::of(&with(at, magic), (1 << 20) + 1) == Cut::Blocks, magic == SQLITE);
        }
        let page = with(12, &[24, 0, 0, 32, 0, 32, 4, 32]);
        assert_eq!(Cut::of(&page, 8192 * 3), Cut::Blocks);
        assert_eq!(Cut::of(&page, 8193), Cut::Content);
        assert_eq!(Cut::of(&with(12, &[24, 0, 0, 33, 0, 32, 4, 32]), 8192), Cut::Content);
        assert_eq!(Cut::of(b"", 0), Cut::Content);
    }
}
