//! Names of sources and clients: `[A-Za-z0-9._-]{1,64}`.

use crate::error::{Error, Kind, Result};
use crate::text::escape;

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The name, if it is one.
pub fn check(name: &[u8]) -> Result<&str> {
    let refused = || Error::new(Kind::Usage, format!("'{}' cannot be a name", escape(name)));
    if name == b"." || name == b".." {
        // A restore puts each source into a folder of its name.
        return Err(refused().why("it names a folder already"));
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.iter().copied().all(is_allowed) {
        return Err(refused().why("a name has 1 to 64 letters, digits, dots, dashes and underscores"));
    }
    std::str::from_utf8(name).map_err(|error| refused().why(error))
}

/// A name that looks like this text, for advice: what cannot be in a name becomes one dash, in its middle only, because
/// what begins with a dash is taken for an option.
pub fn suggest(text: &[u8]) -> String {
    let parts = text.split(|b| !is_allowed(*b) || *b == b'-').filter(|part| !part.is_empty());
    let mut name = parts.collect::<Vec<_>>().join(&b'-');
    name.truncate(NAME_BYTES_MAX);
    check(&name).unwrap_or("files").to_owned()
}

fn is_allowed(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["a", "db-1.sqlite_x", "...", &"x".repeat(64)] {
            assert_eq!(check(good.as_bytes()).ok(), Some(good));
        }
        for bad in ["", ".", "..", "a b", "a/b", "é", "a:b", "a@b", "a=b", &"x".repeat(65)] {
            assert_eq!(check(bad.as_bytes()).unwrap_err().kind(), Kind::Usage, "{bad}");
        }
    }

    #[test]
    fn advice_is_a_name_that_works() {
        let names = ["My Documents", "ünï", "-- a é-b --", "", "..", "中文"].map(|text| suggest(text.as_bytes()));
        assert_eq!(names, ["My-Documents", "n", "a-b", "files", "files", "files"]);
        for text in ["/".repeat(100), "ab ".repeat(100), "x".repeat(100)] {
            assert!(check(suggest(text.as_bytes()).as_bytes()).is_ok());
        }
    }
}
