//! Rows as JSON lines: an object for each, with a member for each column.
//!
//! Integers are exact, whatever their size: a reader that keeps numbers as doubles rounds those beyond 2^53. Reals
//! always have a point or an exponent and read back as they were. What JSON has no value for is an object with one
//! known member first: a blob is `{"base64":"…"}`, text that is not UTF-8 is `{"base64":"…","type":"text"}`, infinities
//! are `{"real":"inf"}` and `{"real":"-inf"}`. SQLite keeps no NaN: it is NULL. A second column of the same name gets
//! `_2`, and so on; a name that is not UTF-8 is escaped as on a terminal.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::ControlFlow;

use data_encoding::BASE64;
use rusqlite::types::ValueRef;

use super::query::Sink;
use crate::error::{Error, Result};
use crate::text;

/// Writes JSON lines, one call to the writer for each row.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
    /// Each as a JSON string.
    names: Vec<String>,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, names: Vec::new() }
    }
}

fn put(line: &mut Vec<u8>, value: ValueRef<'_>) {
    let text = match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(n) => n.to_string(),
        ValueRef::Real(n) if n.is_infinite() => format!("{{\"real\":\"{}\"}}", if n > 0.0 { "inf" } else { "-inf" }),
        ValueRef::Real(n) => format!("{n:?}"),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => quoted(text),
            Err(_) => format!("{{\"base64\":\"{}\",\"type\":\"text\"}}", BASE64.encode(bytes)),
        },
        ValueRef::Blob(bytes) => format!("{{\"base64\":\"{}\"}}", BASE64.encode(bytes)),
    };
    line.extend_from_slice(text.as_bytes());
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl<W: Write> Sink for JsonLines<W> {
    fn columns(&mut self, names: &[Vec<u8>]) -> Result<()> {
        let plain = |name: &Vec<u8>| String::from_utf8(name.clone()).unwrap_or_else(|_| text::escape(name));
        let mut taken = BTreeSet::new();
        for name in names.iter().map(plain) {
            let others = (2_u32..).map(|n| format!("{name}_{n}"));
            let free = std::iter::once(name.clone()).chain(others).find(|name| taken.insert(name.clone()));
            self.names.push(quoted(&free.unwrap_or(name)));
        }
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<ControlFlow<()>> {
        let mut line = vec![b'{'];
        for (n, (name, value)) in self.names.iter().zip(values).enumerate() {
            if n > 0 {
                line.push(b',');
            }
            line.extend_from_slice(name.as_bytes());
            line.push(b':');
            put(&mut line, *value);
        }
        line.extend_from_slice(b"}\n");
        self.out.write_all(&line).map_err(|e| Error::io("cannot write the rows", &e))?;
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self) -> Result<()> {
        self.out.flush().map_err(|e| Error::io("cannot write the rows", &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_form() {
        let values = [
            ValueRef::Null,
            ValueRef::Integer(i64::MAX),
            ValueRef::Real(1.0),
            ValueRef::Real(-0.0),
            ValueRef::Real(1e-7),
            ValueRef::Real(f64::INFINITY),
            ValueRef::Text(b"\"\n\0\x1b"),
            ValueRef::Text(b"\xff"),
            ValueRef::Blob(b"\xff"),
        ];
        let mut json = JsonLines::new(Vec::new());
        let names = ["n", "n", "n_2", "n", "\"", "e", "f", "g"].map(|name| name.as_bytes().to_vec());
        json.columns(&[names.as_slice(), &[b"\xff".to_vec()]].concat()).unwrap();
        assert!(json.row(&values).unwrap().is_continue());
        json.end().unwrap();
        let expected = concat!(
            r#"{"n":null,"n_2":9223372036854775807,"n_2_2":1.0,"n_3":-0.0,"\"":1e-7,"e":{"real":"inf"},"#,
            r#""f":"\"\n\u0000\u001b","g":{"base64":"/w==","type":"text"},"\\xff":{"base64":"/w=="}}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(json.out.clone()).unwrap(), expected);
        serde_json::from_slice::<serde_json::Value>(&json.out).unwrap();
    }
}
