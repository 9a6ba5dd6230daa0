//! What `--json` prints. docs/json.md describes every shape; the tests here pin their bytes.
//!
//! Lists are one document on one line. Long runs print a line for each thing they have to tell, and the last line,
//! success or not, is a summary or an error.

mod list;
mod shapes;

use std::borrow::Cow;

use data_encoding::BASE64;
use serde::ser::{Serialize, SerializeMap, Serializer};

pub use self::list::List;
pub use self::shapes::*;
use crate::error::{Error, Kind, Result};

/// Version of all shapes: a field may be added under the same number, none changes its meaning or goes away.
pub const VERSION: u8 = 1;

/// A shape that stands alone on a line.
pub trait Document: Serialize {
    /// What `"type"` says.
    const TYPE: &'static str;
}

#[derive(serde::Serialize)]
struct Envelope<'a, D: Document> {
    v: u8,
    r#type: &'static str,
    #[serde(flatten)]
    body: &'a D,
}

/// The document as one line, without its line feed.
pub fn line<D: Document>(document: &D) -> Result<String> {
    encode(&Envelope { v: VERSION, r#type: D::TYPE, body: document })
}

fn encode(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::new(Kind::Failed, "cannot write JSON").why(error))
}

/// Bytes that are text as a rule: a string, or `{"base64":…}` where they are not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw<'a>(pub Cow<'a, [u8]>);

impl<'a> From<&'a [u8]> for Raw<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(bytes.into())
    }
}

impl<'a> From<&'a str> for Raw<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<Vec<u8>> for Raw<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &BASE64.encode(&self.0))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_where_they_can_be() {
        let json = |bytes: &[u8]| encode(&Raw::from(bytes)).unwrap();
        assert_eq!(json("é\n\"".as_bytes()), r#""é\n\"""#);
        assert_eq!(json(b"a\xff"), r#"{"base64":"Yf8="}"#);
        assert_eq!(json(b""), r#""""#);
    }
}
