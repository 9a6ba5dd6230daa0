//! What some pages of a database tell of the others, and the form in which that is kept for a while.
//!
//! ```text
//! found := looks ‖ uses ‖ cells ‖ rows, each behind its count ‖ overflow pages signed ‖ maps u64 ‖ bad record varint
//! look  := page ‖ u8        use  := page ‖ role u8 ‖ usage u8 ‖ by
//! cells := page ‖ leaf u8 ‖ count varint        rows := page ‖ may u8 ‖ first, last - first, signed
//! ```
//! A page is told by its distance to the last one in its list, signed.

use super::page::Pointer;
use crate::wire::{self, Reader, put_signed, put_varint};

const WHAT: &str = "found pages";

/// Row ids, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// That a page has.
    Has(i64, i64),
    /// That a page may have.
    May(i64, i64),
}

/// What was found in some pages.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Pages, and what they look like, in four bits.
    pub looks: Vec<(u32, u8)>,
    /// As what pages are used, in four bits.
    pub uses: Vec<(u8, Pointer)>,
    /// Pages of b-trees, whether they are leaves, and the rows or keys in them.
    pub cells: Vec<(u32, bool, u32)>,
    pub rows: Vec<(u32, Rows)>,
    /// Pages of overflow, without those that cells need.
    pub overflow_pages: i64,
    /// The sum over what maps of pointers say.
    pub maps: u64,
    /// The first page with a record that is not well formed.
    pub bad_record: Option<u32>,
}

/// Numbers of pages, each by its distance to the one before.
#[derive(Default)]
struct Pages(u32);

impl Pages {
    fn put(&mut self, page: u32, out: &mut Vec<u8>) {
        put_signed(out, i64::from(page) - i64::from(std::mem::replace(&mut self.0, page)));
    }

    fn take(&mut self, r: &mut Reader<'_>) -> wire::Result<u32> {
        let page = i64::from(self.0).checked_add(r.signed()?).and_then(|page| u32::try_from(page).ok());
        self.0 = page.ok_or_else(|| r.bad("no page"))?;
        Ok(self.0)
    }
}

fn put_list<T>(items: &[T], out: &mut Vec<u8>, mut put: impl FnMut(&T, &mut Pages, &mut Vec<u8>)) {
    put_varint(out, items.len() as u64);
    let mut pages = Pages::default();
    items.iter().for_each(|item| put(item, &mut pages, out));
}

fn take_list<T>(
    r: &mut Reader<'_>,
    item_min: usize,
    mut take: impl FnMut(&mut Reader<'_>, &mut Pages) -> wire::Result<T>,
) -> wire::Result<Vec<T>> {
    let (count, mut pages) = (r.count(item_min)?, Pages::default());
    (0..count).map(|_| take(r, &mut pages)).collect()
}

impl Found {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 * self.looks.len() + 32);
        put_list(&self.looks, &mut out, |(page, look), pages, out| {
            pages.put(*page, out);
            out.push(*look);
        });
        put_list(&self.uses, &mut out, |(role, pointer), pages, out| {
            pages.put(pointer.page, out);
            out.extend_from_slice(&[*role, pointer.usage]);
            put_varint(out, pointer.by.into());
        });
        put_list(&self.cells, &mut out, |(page, is_leaf, count), pages, out| {
            pages.put(*page, out);
            out.push(u8::from(*is_leaf));
            put_varint(out, (*count).into());
        });
        put_list(&self.rows, &mut out, |(page, rows), pages, out| {
            pages.put(*page, out);
            let (may, first, last) = match *rows {
                Rows::Has(first, last) => (0, first, last),
                Rows::May(first, last) => (1, first, last),
            };
            out.push(may);
            put_signed(out, first);
            put_signed(out, last.wrapping_sub(first));
        });
        put_signed(&mut out, self.overflow_pages);
        out.extend_from_slice(&self.maps.to_le_bytes());
        put_varint(&mut out, self.bad_record.unwrap_or(0).into());
        out
    }

    pub fn decode(bytes: &[u8]) -> wire::Result<Self> {
        let mut r = Reader::new(bytes, WHAT);
        let four_bits = |r: &mut Reader<'_>| r.varint_to(15).map(|bits| bits as u8);
        let number = |r: &mut Reader<'_>| r.varint_to(u32::MAX.into()).map(|number| number as u32);
        let found = Self {
            looks: take_list(&mut r, 2, |r, pages| Ok((pages.take(r)?, four_bits(r)?)))?,
            uses: take_list(&mut r, 4, |r, pages| {
                let (page, role) = (pages.take(r)?, four_bits(r)?);
                Ok((role, Pointer { page, usage: r.u8()?, by: number(r)? }))
            })?,
            cells: take_list(&mut r, 3, |r, pages| Ok((pages.take(r)?, r.u8()? == 1, number(r)?)))?,
            rows: take_list(&mut r, 4, |r, pages| {
                let (page, may, first) = (pages.take(r)?, r.u8()? == 1, r.signed()?);
                let last = first.wrapping_add(r.signed()?);
                Ok((page, if may { Rows::May(first, last) } else { Rows::Has(first, last) }))
            })?,
            overflow_pages: r.signed()?,
            maps: r.u64()?,
            bad_record: Some(number(&mut r)?).filter(|page| *page != 0),
        };
        r.end()?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_kept_as_it_is() {
        let pointer = |page, by| Pointer { page, usage: 5, by };
        let found = Found {
            looks: vec![(7, 1), (8, 2), (u32::MAX, 3), (1, 15)],
            uses: vec![(1, pointer(u32::MAX, 1)), (3, pointer(2, u32::MAX))],
            cells: vec![(9, true, 300), (3, false, 0)],
            rows: vec![(5, Rows::May(i64::MIN, i64::MAX)), (6, Rows::Has(-3, 900)), (4, Rows::May(i64::MAX, i64::MIN))],
            overflow_pages: -5,
            maps: u64::MAX - 1,
            bad_record: Some(8),
        };
        let bytes = found.encode();
        assert_eq!(Found::decode(&bytes).unwrap(), found);
        assert_eq!(Found::decode(&Found::default().encode()).unwrap(), Found::default());
        for len in 0..bytes.len() {
            assert!(Found::decode(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Found::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}
