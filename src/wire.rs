//! Reading and writing stored bytes: fixed integers (little endian), varints and TLV records.
//!
//! Every format of this crate is built from these. Reading never panics, never allocates more than the input holds,
//! and accepts one spelling only: varints are shortest, record tags ascend, nothing may follow the end.
//!
//! A *record* is a run of fields until its end. A field is `tag` (varint), length (varint), value. The tag is the
//! field's number × 2, plus 1 if the field is *critical*: a reader that does not know a critical field must refuse
//! the record; it keeps unknown others as they are, and writes them back. Fields of one number repeat only where the
//! record's description says so.

use std::fmt;

/// Stored bytes that are not what they must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes break the format.
    Bad {
        /// Which part of which object.
        what: &'static str,
        /// What was found, and what was expected.
        why: String,
    },
    /// Written by a newer program: a version or critical field that this one does not know.
    Newer {
        /// What is unknown.
        what: String,
    },
}

impl Malformed {
    /// Bytes that break the format.
    pub fn bad(what: &'static str, why: impl Into<String>) -> Self {
        Self::Bad { what, why: why.into() }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad { what, why } => write!(f, "malformed {what}: {why}"),
            Self::Newer { what } => write!(f, "{what} is newer than this program"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Shorthand.
pub type Result<T> = std::result::Result<T, Malformed>;

/// Reads stored bytes from front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of all these bytes; `what` names them in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// An error about these bytes.
    pub fn bad(&self, why: impl Into<String>) -> Malformed {
        Malformed::bad(self.what, why)
    }

    /// Whether all bytes have been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, tail) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.bad(format!("{len} bytes expected, {} left", self.rest.len())))?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, little endian.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little endian.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little endian.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// An unsigned LEB128 varint in its shortest form.
    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return Err(self.bad("a varint exceeds 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(self.bad("a varint is not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(self.bad("a varint exceeds 64 bits"))
    }

    /// A varint of at most `max`.
    pub fn varint_to(&mut self, max: u64) -> Result<u64> {
        let value = self.varint()?;
        if value > max {
            return Err(self.bad(format!("{value} found, at most {max} expected")));
        }
        Ok(value)
    }

    /// A zigzag-coded signed varint.
    pub fn signed(&mut self) -> Result<i64> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// Bytes behind their length.
    pub fn prefixed(&mut self) -> Result<&'a [u8]> {
        let len = self.varint_to(self.rest.len() as u64)?;
        self.bytes(len as usize)
    }

    /// A number of items that take at least `item_min` bytes each, so that it cannot exceed what is left.
    pub fn count(&mut self, item_min: usize) -> Result<usize> {
        let max = self.rest.len() / item_min.max(1);
        Ok(self.varint_to(max as u64)? as usize)
    }

    /// The end of the bytes: anything left is an error.
    pub fn end(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.bad(format!("{} bytes follow its end", self.rest.len()))) }
    }
}

/// Appends an unsigned varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a zigzag-coded signed varint.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends bytes behind their length.
pub fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Fields that this program does not know and may carry along: tag and value.
pub type Unknown = Vec<(u64, Vec<u8>)>;

/// One field of a record.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Number and critical bit.
    pub tag: u64,
    /// The value.
    pub value: &'a [u8],
}

impl<'a> Field<'a> {
    /// A reader of the value.
    pub fn reader(&self, what: &'static str) -> Reader<'a> {
        Reader::new(self.value, what)
    }

    /// Reads the value, to its end.
    pub fn read<T>(&self, what: &'static str, read: impl FnOnce(&mut Reader<'a>) -> Result<T>) -> Result<T> {
        let mut reader = self.reader(what);
        let value = read(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    /// The field as one to carry along, or an error if it is critical.
    pub fn unknown(&self, what: &'static str) -> Result<(u64, Vec<u8>)> {
        if self.tag & 1 == 1 {
            return Err(Malformed::Newer { what: format!("{what} (field {})", self.tag >> 1) });
        }
        Ok((self.tag, self.value.to_vec()))
    }
}

/// The fields of a record, in order; ends at the end of the bytes.
#[derive(Debug)]
pub struct Fields<'a> {
    reader: Reader<'a>,
    last: Option<u64>,
    once: &'static [u64],
}

impl<'a> Fields<'a> {
    /// The fields in these bytes.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { reader: Reader::new(bytes, what), last: None, once: &[] }
    }

    /// Refuses a second field of any of these numbers: one reader would take the first, another the last.
    pub fn once(self, numbers: &'static [u64]) -> Self {
        Self { once: numbers, ..self }
    }

    fn read(&mut self) -> Result<Field<'a>> {
        let tag = self.reader.varint()?;
        let number = tag >> 1;
        if let Some(last) = self.last {
            if number < last {
                return Err(self.reader.bad(format!("field {number} after field {last}")));
            }
            if number == last && self.once.contains(&number) {
                return Err(self.reader.bad(format!("field {number} twice")));
            }
        }
        self.last = Some(number);
        Ok(Field { tag, value: self.reader.prefixed()? })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.reader.is_empty()).then(|| self.read())
    }
}

/// The tag of field `number`, which readers may ignore.
pub const fn optional(number: u64) -> u64 {
    number << 1
}

/// The tag of field `number`, which readers must know.
pub const fn critical(number: u64) -> u64 {
    number << 1 | 1
}

/// Writes a record. Fields must be added in ascending order of their numbers; unknown ones find their places.
#[derive(Debug, Default)]
pub struct Record {
    fields: Vec<(u64, Vec<u8>)>,
}

impl Record {
    /// An empty record that will carry these unknown fields along.
    pub fn new(unknown: &Unknown) -> Self {
        Self { fields: unknown.clone() }
    }

    /// Adds a field.
    pub fn bytes(&mut self, tag: u64, value: &[u8]) -> &mut Self {
        self.fields.push((tag, value.to_vec()));
        self
    }

    /// Adds a field unless it is empty.
    pub fn bytes_if(&mut self, tag: u64, value: &[u8]) -> &mut Self {
        if value.is_empty() { self } else { self.bytes(tag, value) }
    }

    /// Adds a varint field.
    pub fn varint(&mut self, tag: u64, value: u64) -> &mut Self {
        let mut out = Vec::with_capacity(10);
        put_varint(&mut out, value);
        self.fields.push((tag, out));
        self
    }

    /// Adds a varint field unless it is zero.
    pub fn varint_if(&mut self, tag: u64, value: u64) -> &mut Self {
        if value == 0 { self } else { self.varint(tag, value) }
    }

    /// Appends the record.
    pub fn finish_into(&mut self, out: &mut Vec<u8>) {
        self.fields.sort_by_key(|(tag, _)| tag >> 1);
        for (tag, value) in &self.fields {
            put_varint(out, *tag);
            put_prefixed(out, value);
        }
    }

    /// The record's bytes.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.finish_into(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn varints_have_one_spelling() {
        for long in [&[0x80, 0][..], &[0xff, 0x80, 0], &[0xff; 10], &[0x80]] {
            assert!(Reader::new(long, "t").varint().is_err(), "{long:x?}");
        }
        let mut max = Vec::new();
        put_varint(&mut max, u64::MAX);
        assert_eq!(Reader::new(&max, "t").varint(), Ok(u64::MAX));
    }

    #[test]
    fn unknown_fields_survive_unless_critical() {
        let bytes = Record::default().varint(critical(1), 7).bytes(optional(3), b"x").finish();
        let fields: Vec<_> = Fields::new(&bytes, "t").map(|f| f.unwrap()).collect();
        assert_eq!(fields[0].unknown("t"), Err(Malformed::Newer { what: "t (field 1)".into() }));
        assert_eq!(Record::new(&vec![fields[1].unknown("t").unwrap()]).varint(critical(1), 7).finish(), bytes);
    }

    #[test]
    fn fields_out_of_order_are_refused() {
        let bytes = [critical(2) as u8, 0, critical(1) as u8, 0];
        assert!(Fields::new(&bytes, "t").any(|f| f.is_err()));
    }

    #[test]
    fn a_field_that_stands_once_is_refused_twice() {
        let bytes = Record::default().varint(critical(2), 1).varint(optional(2), 2).finish();
        assert!(Fields::new(&bytes, "t").all(|f| f.is_ok()));
        assert!(Fields::new(&bytes, "t").once(&[1]).all(|f| f.is_ok()));
        assert!(Fields::new(&bytes, "t").once(&[1, 2]).any(|f| f.is_err()));
    }

    proptest! {
        #[test]
        fn numbers_round_trip(u: u64, i: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, u);
            put_signed(&mut out, i);
            let mut r = Reader::new(&out, "t");
            prop_assert_eq!((r.varint().unwrap(), r.signed().unwrap()), (u, i));
            prop_assert!(r.end().is_ok());
        }
    }
}
