//! The names in one directory, sorted.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::RawDir;
use rustix::io::Errno;

/// Bytes asked from the kernel at once.
const BUFFER_BYTES: usize = 64 << 10;

/// The names in one directory, in order, without `.` and `..`. A million of them take some 40 MB.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The names, each ended by a zero byte.
    bytes: Vec<u8>,
    names: Vec<Name>,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    /// The first eight bytes, big-endian, filled with zeros: settles most comparisons without a look at `bytes`.
    head: u64,
    start: usize,
}

impl Listing {
    /// Reads a directory wholly. When the system stops in between, what came before is there too.
    pub fn read(dir: impl AsFd, buffer: &mut Vec<u8>) -> (Self, Option<Errno>) {
        let mut listing = Self::default();
        buffer.clear();
        buffer.reserve(BUFFER_BYTES);
        let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
        let mut stopped = None;
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) => listing.add(entry.file_name()),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    stopped = Some(errno);
                    break;
                }
            }
        }
        listing.sort();
        (listing, stopped)
    }

    /// Only this name.
    pub fn only(name: &CStr) -> Self {
        let mut listing = Self::default();
        listing.add(name);
        listing
    }

    /// Whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether this name is there.
    pub fn contains(&self, name: &CStr) -> bool {
        let key = head(name.to_bytes());
        self.names.binary_search_by(|at| at.head.cmp(&key).then_with(|| self.at(at.start).cmp(name))).is_ok()
    }

    /// The next name.
    pub fn next(&mut self) -> Option<&CStr> {
        let start = self.names.get(self.next)?.start;
        self.next += 1;
        Some(self.at(start))
    }

    /// How many names are still to come.
    pub fn left(&self) -> usize {
        self.names.len() - self.next
    }

    fn at(&self, start: usize) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes[start..]).unwrap_or_default()
    }

    fn add(&mut self, name: &CStr) {
        if name == c"." || name == c".." {
            return;
        }
        self.names.push(Name { head: head(name.to_bytes()), start: self.bytes.len() });
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        // Names differ, and the zero byte ends each: comparing on to the end of `bytes` stops there at the latest.
        self.names.sort_unstable_by(|a, b| a.head.cmp(&b.head).then_with(|| bytes[a.start..].cmp(&bytes[b.start..])));
    }
}

fn head(name: &[u8]) -> u64 {
    let mut head = [0; 8];
    let len = name.len().min(8);
    head[..len].copy_from_slice(&name[..len]);
    u64::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_as_raw_bytes_compare() {
        let mut listing = Listing::default();
        let names = [c"b", c"a", c"a.b", c"a\x01", c"\xff\xfe", c"abcdefgh", c"abcdefghi", c"abcdefgh0", c"A"];
        for name in names {
            listing.add(name);
        }
        listing.sort();
        let mut expected = names;
        expected.sort();
        for name in expected {
            assert!(listing.contains(name));
            assert_eq!(listing.next(), Some(name));
        }
        assert_eq!(listing.next(), None);
        assert!(!listing.contains(c"abcdefg"));
    }
}
