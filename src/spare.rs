//! Reads that spare the host's page cache: what others keep there stays, what is read once is not put in its place.
//!
//! Linux 6.14 and later drop what such a read brought in, and only that (`RWF_DONTCACHE`), on the file systems that
//! most disks have. The others read as ever, for the price of one refused call.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;

use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// `RWF_DONTCACHE` of linux/fs.h.
const DONT_CACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// Reads like [`std::os::unix::fs::FileExt::read_at`].
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    match preadv2(file, &mut [IoSliceMut::new(buffer)], offset, DONT_CACHE) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => file.read_at(buffer, offset),
        other => other.map_err(Into::into),
    }
}

/// Fills the buffer; fewer bytes there are [`io::ErrorKind::UnexpectedEof`].
pub fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match read_at(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                buffer = &mut buffer[len..];
                offset += len as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_a_plain_read() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&(0..200).collect::<Vec<u8>>(), 0).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(read_at(&file, &mut buffer, 150).unwrap(), 50);
        assert_eq!(buffer[..50], (150..200).collect::<Vec<u8>>());
        read_exact_at(&file, &mut buffer, 100).unwrap();
        assert_eq!(buffer.to_vec(), (100..200).collect::<Vec<u8>>());
        let short = read_exact_at(&file, &mut buffer, 101).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }
}
