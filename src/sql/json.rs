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

/// Makes an object of each row.
#[derive(Clone, Debug, Default)]
pub struct JsonRows {
    /// The members, each as a JSON string with a colon.
    members: Vec<String>,
}

impl JsonRows {
    /// Rows with these columns, and what their members are called.
    pub fn new(columns: &[Vec<u8>]) -> (Self, Vec<String>) {
        let plain = |name: &Vec<u8>| String::from_utf8(name.clone()).unwrap_or_else(|_| text::escape(name));
        let (mut taken, mut names) = (BTreeSet::new(), Vec::with_capacity(columns.len()));
        for name in columns.iter().map(plain) {
            let others = (2_u32..).map(|n| format!("{name}_{n}"));
            let free = std::iter::once(name.clone()).chain(others).find(|name| taken.insert(name.clone()));
            names.push(free.unwrap_or(name));
        }
        (Self { members: names.iter().map(|name| format!("{}:", quoted(name))).collect() }, names)
    }

    /// A row's object.
    pub fn object(&self, values: &[ValueRef<'_>]) -> String {
        let mut out = String::from("{");
        for (n, (member, value)) in self.members.iter().zip(values).enumerate() {
            if n > 0 {
                out.push(',');
            }
            out.push_str(member);
            out.push_str(&encoded(*value));
        }
        out.push('}');
        out
    }
}

fn encoded(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(n) => n.to_string(),
        ValueRef::Real(n) if n.is_infinite() => format!("{{\"real\":\"{}\"}}", if n > 0.0 { "inf" } else { "-inf" }),
        ValueRef::Real(n) => format!("{n:?}"),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => quoted(text),
            Err(_) => format!("{{\"base64\":\"{}\",\"type\":\"text\"}}", BASE64.encode(bytes)),
        },
        ValueRef::Blob(bytes) => format!("{{\"base64\":\"{}\"}}", BASE64.encode(bytes)),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writes JSON lines, one call to the writer for each row.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
    rows: JsonRows,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, rows: JsonRows::default() }
    }
}

impl<W: Write> Sink for JsonLines<W> {
    fn columns(&mut self, names: &[Vec<u8>]) -> Result<()> {
        self.rows = JsonRows::new(names).0;
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<ControlFlow<()>> {
        let line = self.rows.object(values) + "\n";
        self.out.write_all(line.as_bytes()).map_err(|e| Error::io("cannot write the rows", &e))?;
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
