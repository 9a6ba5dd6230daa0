//! Key files: one line, `LARDER-KEY-1-` and 64 lower-case hex digits. Whoever has the file has the key.
//!
//! One that was typed from paper may have white space around the line, and upper-case digits.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use super::secret_file;
use crate::error::{Error, Kind, Result};
use crate::text;

const PREFIX: &[u8] = b"LARDER-KEY-1-";
/// Length of the key, in bytes.
pub const KEY_BYTES: usize = 32;
const LINE_BYTES: usize = PREFIX.len() + 2 * KEY_BYTES;

/// Reads a key file; one that others can read is refused.
pub fn read_key_file(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>> {
    let what = || format!("the key file {}", text::path(path));
    let (bytes, private) = secret_file::read(path, &what())?;
    let key = parse(&bytes).map_err(|why| Error::new(Kind::WrongKey, format!("{} holds no key", what())).why(why))?;
    let word = || text::shell_word(path).unwrap_or_else(|| text::path(path));
    private.map_err(|e| e.fix(format!("chmod 600 {}", word())))?;
    Ok(key)
}

/// Parses what a key file holds.
pub fn parse(text: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>, &'static str> {
    let line = text.trim_ascii();
    let hex = line.strip_prefix(PREFIX).ok_or("it does not begin with LARDER-KEY-1-")?;
    if line.len() != LINE_BYTES {
        return Err("after LARDER-KEY-1- come exactly 64 digits, and nothing after them");
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    HEXLOWER_PERMISSIVE.decode_mut(hex, key.as_mut()).map_err(|_| "the key has digits other than 0-9 and a-f")?;
    Ok(key)
}

/// Makes a key file that only its owner can read; durable when this returns. An existing file is never replaced.
pub fn create_key_file(path: &Path, key: &[u8; KEY_BYTES]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let what = format!("cannot make the key file {}", text::path(path));
        match error.kind() {
            ErrorKind::AlreadyExists => Error::new(Kind::Usage, what).why("there is a file of that name"),
            _ => Error::io(what, &error),
        }
    })?;
    let written = write(&mut file, key).and_then(|()| sync_folder(path));
    written.map_err(|error| {
        // Half a key is of no use, and its name would be taken.
        let _ = fs::remove_file(path);
        Error::io(format!("cannot write the key file {}", text::path(path)), &error)
    })
}

fn write(file: &mut File, key: &[u8; KEY_BYTES]) -> std::io::Result<()> {
    let mut line = Zeroizing::new([0; LINE_BYTES + 1]);
    line[..PREFIX.len()].copy_from_slice(PREFIX);
    HEXLOWER.encode_mut(key, &mut line[PREFIX.len()..LINE_BYTES]);
    line[LINE_BYTES] = b'\n';
    file.write_all(line.as_ref())?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_file_comes_back_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = std::array::from_fn(|i| i as u8 * 7);
        create_key_file(&path, &key).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*read_key_file(&path).unwrap(), key);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "LARDER-KEY-1-00070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9\n");
    }

    #[test]
    fn a_key_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_key_file(&path, &[1; 32]).unwrap();
        assert_eq!(create_key_file(&path, &[2; 32]).unwrap_err().kind(), Kind::Usage);
        assert_eq!(*read_key_file(&path).unwrap(), [1; 32]);
    }

    #[test]
    fn a_line_typed_from_paper_is_understood_and_nothing_else_is() {
        let good = format!("LARDER-KEY-1-{}", "0a".repeat(32));
        let typed = [good.to_uppercase(), format!("{good}\r\n"), format!("\n {good}\t\n"), good.clone()];
        for text in typed {
            assert_eq!(*parse(text.as_bytes()).unwrap(), [10; 32], "{text}");
        }
        let bad = [good.to_lowercase(), good.replace("0a", "0x"), good.replace("0a0a", "0a 0a"), good[1..].to_owned()];
        let more = [format!("{good}0a"), format!("{good}\n{good}"), good[..75].to_owned(), String::new()];
        for text in bad.iter().chain(&more) {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_key_file_is_named_but_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "hunter2\n").unwrap();
        for mode in [0o600, 0o644] {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let error = read_key_file(&path).unwrap_err();
            assert_eq!(error.kind(), Kind::WrongKey);
            assert!(error.what().ends_with("holds no key") && !error.advice().contains("chmod"), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my key");
        create_key_file(&path, &[1; 32]).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(read_key_file(&path).unwrap_err().advice(), format!("chmod 600 '{}'", path.display()));
    }
}
