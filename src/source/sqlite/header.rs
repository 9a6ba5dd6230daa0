//! The first hundred bytes of a database file.

/// How long a header is.
pub const HEADER_BYTES: usize = 100;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The shares of a page that keys may take; fixed for ever, and checked by the engine.
const FRACTIONS: [u8; 3] = [64, 32, 32];
/// The least that must remain of a page without its reserved bytes.
const USABLE_BYTES_MIN: u32 = 480;

/// What a database file says of itself in its first hundred bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of a page: a power of two, from 512 to 65536.
    pub page_bytes: u32,
    /// Writers append to a log beside the file (`-wal`), so that the file alone may be old. Otherwise they keep a
    /// rollback journal while they change the file itself.
    pub is_wal: bool,
    /// How many pages the file has; 0 where the header itself says that this number is stale. What is in the log is
    /// not counted.
    pub pages: u32,
    /// How text is stored.
    pub encoding: Encoding,
    /// Any number that the application keeps here, mostly the version of its tables.
    pub user_version: i32,
    /// Which application's format it is; 0 for most.
    pub application_id: i32,
}

/// How text is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8.
    Utf8,
    /// UTF-16, little end first.
    Utf16Le,
    /// UTF-16, big end first.
    Utf16Be,
}

impl Encoding {
    /// The name that the engine has for it.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Utf16Le => "UTF-16le",
            Encoding::Utf16Be => "UTF-16be",
        }
    }
}

/// The header that these bytes begin with. `None`: the engine would not take the file for a database. So it is with
/// encrypted ones, which look like chance, and with files shorter than a header; of those, an empty file is a database
/// without tables nevertheless.
pub fn sniff(first: &[u8]) -> Option<Header> {
    let first = first.first_chunk::<HEADER_BYTES>()?;
    let number = |at: usize| u32::from_be_bytes([first[at], first[at + 1], first[at + 2], first[at + 3]]);
    // The greatest size does not fit into its two bytes, and is written as 1.
    let page_bytes = match u16::from_be_bytes([first[16], first[17]]) {
        1 => 65536,
        bytes => u32::from(bytes),
    };
    let is_page = page_bytes.is_power_of_two() && page_bytes >= 512;
    let (read_version, reserved_bytes) = (first[19], u32::from(first[20]));
    if first[..16] != *MAGIC || !is_page || read_version > 2 || first[21..24] != FRACTIONS {
        return None;
    }
    if page_bytes - reserved_bytes < USABLE_BYTES_MIN {
        return None;
    }
    let (change, valid_for) = (number(24), number(92));
    Some(Header {
        page_bytes,
        is_wal: read_version == 2,
        pages: if change == valid_for { number(28) } else { 0 },
        encoding: match number(56) & 3 {
            2 => Encoding::Utf16Le,
            3 => Encoding::Utf16Be,
            _ => Encoding::Utf8,
        },
        user_version: number(60).cast_signed(),
        application_id: number(68).cast_signed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..24].copy_from_slice(&[0x10, 0, 2, 2, 0, 64, 32, 32]);
        bytes[24..32].copy_from_slice(&[0, 0, 0, 9, 0, 0, 1, 2]);
        bytes[92..96].copy_from_slice(&[0, 0, 0, 9]);
        bytes[56..64].copy_from_slice(&[0, 0, 0, 2, 0xff, 0xff, 0xff, 0xfe]);
        bytes
    }

    #[test]
    fn a_header_says_what_it_says() {
        let expected = Header {
            page_bytes: 4096,
            is_wal: true,
            pages: 258,
            encoding: Encoding::Utf16Le,
            user_version: -2,
            application_id: 0,
        };
        assert_eq!(sniff(&header()), Some(expected));
        let mut longer = header().to_vec();
        longer.push(1);
        assert_eq!(sniff(&longer), Some(expected));
        for len in 0..HEADER_BYTES {
            assert_eq!(sniff(&longer[..len]), None);
        }
    }

    #[test]
    fn every_byte_that_matters_is_looked_at() {
        let with = |at: usize, bytes: &[u8]| {
            let mut header = header();
            header[at..at + bytes.len()].copy_from_slice(bytes);
            sniff(&header)
        };
        for at in (0..16).chain(21..24) {
            assert_eq!(with(at, b"~"), None);
        }
        for size in [[0, 0], [0, 2], [1, 0], [3, 0], [0xff, 0xff]] {
            assert_eq!(with(16, &size), None, "{size:?}");
        }
        assert_eq!(with(16, &[0, 1]).unwrap().page_bytes, 65536);
        assert_eq!(with(16, &[2, 0]).unwrap().page_bytes, 512);
        assert_eq!(with(16, &[2, 0, 1, 1, 33]), None);
        assert!(!with(16, &[2, 0, 1, 1, 32]).unwrap().is_wal);
        assert_eq!(with(19, &[3]), None);
        assert_eq!(with(92, &[1]).unwrap().pages, 0);
    }

    #[test]
    fn no_bytes_make_it_stumble() {
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut bytes = header();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes[(state >> 33) as usize % HEADER_BYTES] = (state >> 50) as u8;
            }
            if let Some(header) = sniff(&bytes) {
                assert!(header.page_bytes.is_power_of_two() && (512..=65536).contains(&header.page_bytes));
            }
        }
    }
}
