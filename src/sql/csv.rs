//! Rows as CSV: RFC 4180, with a header.
//!
//! NULL is an empty field, empty text is `""`, a blob is `x'` with lower-case hex and `'`, numbers are as SQLite writes
//! them, infinities are `Inf` and `-Inf`. Text is written byte for byte, UTF-8 or not. CSV has no types: whoever needs
//! them back takes JSON or SQL.

use std::io::Write;
use std::ops::ControlFlow;

use data_encoding::HEXLOWER;
use rusqlite::types::ValueRef;

use super::query::Sink;
use crate::error::{Error, Result};

/// Writes CSV, one call to the writer for each row.
#[derive(Debug)]
pub struct Csv<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Csv<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, line: Vec::new() }
    }

    fn finish_line(&mut self) -> Result<()> {
        self.line.extend_from_slice(b"\r\n");
        let result = self.out.write_all(&self.line);
        self.line.clear();
        result.map_err(|e| Error::io("cannot write the rows", &e))
    }
}

fn put_text(line: &mut Vec<u8>, text: &[u8]) {
    if !text.is_empty() && !text.iter().any(|b| matches!(b, b',' | b'"' | b'\r' | b'\n')) {
        line.extend_from_slice(text);
        return;
    }
    line.push(b'"');
    for part in text.split_inclusive(|b| *b == b'"') {
        line.extend_from_slice(part);
        if part.ends_with(b"\"") {
            line.push(b'"');
        }
    }
    line.push(b'"');
}

fn put(line: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => {}
        ValueRef::Integer(n) => line.extend_from_slice(n.to_string().as_bytes()),
        ValueRef::Real(n) if n.is_infinite() => line.extend_from_slice(if n > 0.0 { b"Inf" } else { b"-Inf" }),
        ValueRef::Real(n) => line.extend_from_slice(format!("{n:?}").as_bytes()),
        ValueRef::Text(text) => put_text(line, text),
        ValueRef::Blob(blob) => {
            line.extend_from_slice(b"x'");
            line.extend_from_slice(HEXLOWER.encode(blob).as_bytes());
            line.push(b'\'');
        }
    }
}

impl<W: Write> Sink for Csv<W> {
    fn columns(&mut self, names: &[Vec<u8>]) -> Result<()> {
        for (n, name) in names.iter().enumerate() {
            if n > 0 {
                self.line.push(b',');
            }
            put_text(&mut self.line, name);
        }
        self.finish_line()
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<ControlFlow<()>> {
        for (n, value) in values.iter().enumerate() {
            if n > 0 {
                self.line.push(b',');
            }
            put(&mut self.line, *value);
        }
        self.finish_line()?;
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
    fn fields_are_quoted_when_they_must_be() {
        let mut csv = Csv::new(Vec::new());
        csv.columns(&[b"a".to_vec(), b"the \"b\"".to_vec()]).unwrap();
        for pair in [
            [ValueRef::Null, ValueRef::Text(b"")],
            [ValueRef::Integer(i64::MIN), ValueRef::Real(-0.0)],
            [ValueRef::Real(f64::NEG_INFINITY), ValueRef::Real(1e300)],
            [ValueRef::Text(b"a,\"b\"\r\n"), ValueRef::Text(b"\xff\"")],
            [ValueRef::Blob(b""), ValueRef::Blob(b"\x00\xaf")],
        ] {
            assert!(csv.row(&pair).unwrap().is_continue());
        }
        csv.end().unwrap();
        let expected: &[u8] = b"a,\"the \"\"b\"\"\"\r\n,\"\"\r\n-9223372036854775808,-0.0\r\n-Inf,1e300\r\n\
            \"a,\"\"b\"\"\r\n\",\"\xff\"\"\"\r\nx'',x'00af'\r\n";
        assert_eq!(csv.out, expected);
    }
}
