//! Files that hold a secret: read whole, within bounds, and only if nobody else can read them.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

/// Longest secret with its line end, in bytes.
pub const SECRET_BYTES_MAX: usize = 4096;

/// Reads the file; `what` names it in errors, as in "the key file /k". Pipes and open descriptors may be read by
/// whoever holds them, so only a file with a name of its own is asked who else can read it. If others can, an error comes
/// beside the secret, for after a look whether it is one: the advice must not close a file of the system.
pub fn read(path: &Path, what: &str) -> Result<(Zeroizing<Vec<u8>>, Result<()>)> {
    let cannot = |error| cannot_read(what, &error);
    let file = File::open(path).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    let is_open = meta.is_file() && !is_descriptor(path) && meta.mode() & 0o044 != 0;
    let private = match is_open {
        true => Err(Error::new(Kind::WrongKey, format!("{what} can be read by others"))
            .why(format!("its mode is {:04o}", meta.mode() & 0o7777))),
        false => Ok(()),
    };
    Ok((read_all(file, what)?, private))
}

/// Reads a file whose access somebody else has taken care of.
pub fn read_trusted(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>> {
    read_all(File::open(path).map_err(|error| cannot_read(what, &error))?, what)
}

fn cannot_read(what: &str, error: &std::io::Error) -> Error {
    let new = Error::io(format!("cannot read {what}"), error);
    match new.kind() {
        Kind::Exhausted => new,
        Kind::Missing => {
            new.with_kind(Kind::WrongKey).fix("name the place where it is now, or give another password or key")
        }
        _ => new.with_kind(Kind::WrongKey),
    }
}

/// Reads to the end of a stream.
pub fn read_all(stream: impl Read, what: &str) -> Result<Zeroizing<Vec<u8>>> {
    // The room is there from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    let mut stream = stream.take(SECRET_BYTES_MAX as u64 + 1);
    while bytes.len() <= SECRET_BYTES_MAX {
        let mut part = Zeroizing::new([0; 512]);
        let room = part.len().min(SECRET_BYTES_MAX + 1 - bytes.len());
        match stream.read(&mut part[..room]) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cannot_read(what, &error)),
        }
    }
    Err(Error::new(Kind::WrongKey, format!("{what} is too long"))
        .why(format!("a secret has {SECRET_BYTES_MAX} bytes at most")))
}

/// Without one line feed, or carriage return and line feed, at the end.
pub fn without_line_end(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    line.unwrap_or(bytes)
}

fn is_descriptor(path: &Path) -> bool {
    let known: [&[u8]; 3] = [b"/dev/fd/", b"/dev/stdin", b"/proc/self/fd/"];
    known.iter().any(|prefix| path.as_os_str().as_bytes().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pass word");
        fs::write(&path, "secret\r\n").unwrap();
        for (mode, is_fine) in [(0o600, true), (0o400, true), (0o700, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let (_, private) = read(&path, "the password file x").unwrap();
            assert_eq!(private.is_ok(), is_fine, "{mode:o}");
            if let Err(error) = private {
                assert_eq!(error.kind(), Kind::WrongKey);
                assert_eq!(error.reason(), format!("its mode is {mode:04o}"));
            }
        }
    }

    #[test]
    fn one_line_end_goes() {
        let stripped = [b"a\n".as_slice(), b"a\r\n", b"a\n\n", b"a", b"a\r", b"\n", b" a "].map(without_line_end);
        assert_eq!(stripped, [b"a".as_slice(), b"a", b"a\n", b"a", b"a\r", b"", b" a "]);
    }

    #[test]
    fn secrets_are_bounded() {
        let exact = vec![b'x'; SECRET_BYTES_MAX];
        assert_eq!(read_all(exact.as_slice(), "it").unwrap().len(), SECRET_BYTES_MAX);
        assert_eq!(read_all(std::io::repeat(b'x'), "it").unwrap_err().what(), "it is too long");
    }

    #[test]
    fn a_missing_file_is_a_wrong_key() {
        let error = read(Path::new("/nowhere/at/all"), "the password file x").unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::WrongKey, "cannot read the password file x"));
        assert!(error.advice().starts_with("name the place"), "{}", error.advice());
    }
}
