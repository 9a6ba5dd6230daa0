//! The pages of a database file, by SQLite's file format (<https://www.sqlite.org/fileformat2.html>).
//!
//! Where numbers do not fit each other the answer is an error in words; no bytes make it stumble.

use super::header::{HEADER_BYTES, sniff};
use super::record;

/// The first byte of those that nobody reads or writes, since locks lie on them; their page is never used.
pub(super) const LOCK_BYTE: u64 = 0x4000_0000;
/// The most bytes of a row or key.
const PAYLOAD_MAX: u64 = 0x7fff_ffff;
const CELL_BYTES_MIN: usize = 4;

/// What all pages of a database have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub page_bytes: u32,
    /// Without what an extension reserved at the end of each page.
    usable: usize,
    pub pages: u32,
    pub free_first: u32,
    pub free_pages: u32,
    /// Of a database with maps of pointers (`auto_vacuum`): its last root page.
    pub last_root: Option<u32>,
}

/// How a b-tree keeps its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    Table,
    Index,
}

/// A page on which another points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub page: u32,
    /// The row ids that it may have, from the first to the last.
    pub rows: (i64, i64),
}

/// What a page of a b-tree leads to. Used again for the next page.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub children: Vec<Child>,
    /// How many rows or keys it has itself: an index keeps some in its interior pages, a table none.
    pub cells: u32,
    /// The first pages of what did not fit into a cell.
    pub overflows: Vec<u32>,
    /// How many pages that needs in all.
    pub overflow_pages: u64,
    /// The first and the last row id, of a table's page that has any.
    pub rows: Option<(i64, i64)>,
    /// Whether a row or key is no record.
    pub has_bad_record: bool,
    /// Where keys begin in the page, a bit for each byte.
    starts: Vec<u64>,
}

/// A page's use, as a map of pointers tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub page: u32,
    pub usage: u8,
    pub by: u32,
}

impl Layout {
    /// Of an image of so many pages that begins with these bytes.
    pub fn of(first: &[u8], pages: u32) -> Option<Self> {
        let page_bytes = sniff(first)?.page_bytes;
        let number = |at| get_u32(first, at);
        let last_root = number(52);
        Some(Self {
            page_bytes,
            usable: page_bytes as usize - usize::from(first[20]),
            pages,
            free_first: number(32),
            free_pages: number(36),
            last_root: (last_root != 0).then_some(last_root),
        })
    }

    pub fn lock_page(&self) -> u32 {
        (LOCK_BYTE / u64::from(self.page_bytes)) as u32 + 1
    }

    /// How many pages lie between two maps, one of them included.
    fn map_step(&self) -> u32 {
        self.usable as u32 / 5 + 1
    }

    /// The pages that are maps of pointers.
    pub fn map_pages(self) -> impl Iterator<Item = u32> {
        let last = if self.last_root.is_some() { self.pages } else { 0 };
        let places = (2..=last).step_by(self.map_step() as usize);
        places.map(move |page| page + u32::from(page == self.lock_page())).filter(move |page| *page <= last)
    }

    /// Whether a page that is used as nothing else is such a map.
    pub fn is_map(&self, page: u32) -> bool {
        page >= 2 && {
            let place = (page - 2) / self.map_step() * self.map_step() + 2;
            page == place + u32::from(place == self.lock_page())
        }
    }

    /// What the map on this page says of others.
    pub fn pointers(self, map: u32, bytes: &[u8]) -> impl Iterator<Item = Pointer> {
        let end = (map - 2) / self.map_step() * self.map_step() + 2 + self.map_step();
        let pages = (map + 1..end.min(self.pages + 1)).zip(bytes.chunks_exact(5));
        pages.filter(move |(page, _)| *page != self.lock_page()).map(|(page, entry)| Pointer {
            page,
            usage: entry[0],
            by: get_u32(entry, 1),
        })
    }

    /// The next trunk of the free list, and the pages on this one.
    pub fn free_trunk(self, bytes: &[u8]) -> Option<(u32, Vec<u32>)> {
        let count = get_u32(bytes, 4) as usize;
        let leaves = bytes.get(8..8 + count.checked_mul(4)?).filter(|leaves| 8 + leaves.len() <= self.usable)?;
        Some((get_u32(bytes, 0), leaves.chunks_exact(4).map(|page| get_u32(page, 0)).collect()))
    }

    /// Looks at a page, and tells which kind of b-tree it belongs to; `None`: to none.
    pub fn parse(&self, number: u32, bytes: &[u8], parts: &mut Parts) -> Result<Option<Tree>, &'static str> {
        parts.clear();
        let page = bytes.get(..self.usable).ok_or("it is cut short")?;
        let at = if number == 1 { HEADER_BYTES } else { 0 };
        let (tree, is_leaf) = match page[at] {
            2 => (Tree::Index, false),
            5 => (Tree::Table, false),
            10 => (Tree::Index, true),
            13 => (Tree::Table, true),
            _ => return Ok(None),
        };
        let content = match get_u16(page, at + 5) {
            0 => 1 << 16,
            start => start,
        };
        let pointers = at + if is_leaf { 8 } else { 12 };
        let pointers_end = pointers + 2 * get_u16(page, at + 3);
        if pointers_end > content || content > page.len() {
            return Err("its header does not fit");
        }
        if tree == Tree::Index {
            parts.starts.clear();
            parts.starts.resize(page.len() / 64 + 1, 0);
        }
        let mut used = usize::from(page[at + 7]) + free_bytes(page, get_u16(page, at + 1), content)?;
        let mut after = None;
        for pointer in page[pointers..pointers_end].chunks_exact(2) {
            let start = get_u16(pointer, 0);
            if start < content {
                return Err("a cell lies before the others");
            }
            let cell = page.get(start..).ok_or(CUT)?;
            let (len, key) = match (tree, is_leaf) {
                (Tree::Table, false) => interior(cell, after, parts)?,
                (Tree::Table, true) => self.row(cell, parts)?,
                (Tree::Index, false) => self.key(cell.get(4..).ok_or(CUT)?, parts).map(|len| (4 + len, 0))?,
                (Tree::Index, true) => self.key(cell, parts).map(|len| (len, 0))?,
            };
            let len = len.max(CELL_BYTES_MIN);
            if len > cell.len() {
                return Err(CUT);
            }
            used += len;
            if tree == Tree::Index && parts.begins_again(start) {
                return Err("two keys lie in one place");
            }
            match tree {
                Tree::Index if is_leaf => {}
                Tree::Index => parts.children.push(Child { page: get_u32(cell, 0), rows: (i64::MIN, i64::MAX) }),
                Tree::Table => {
                    if after.is_some_and(|after| key <= after) {
                        return Err("its row ids are not in order");
                    }
                    let first = parts.rows.map_or(key, |(first, _)| first);
                    parts.rows = Some((first, key));
                    after = Some(key);
                }
            }
        }
        if used != page.len() - content {
            return Err("its bytes do not add up");
        }
        if is_leaf || tree == Tree::Index {
            parts.cells = get_u16(page, at + 3) as u32;
        }
        if !is_leaf {
            parts.children.push(Child { page: get_u32(page, at + 8), rows: (next_row(after), i64::MAX) });
        }
        Ok(Some(tree))
    }

    /// A row in a leaf: its length here, and its id.
    fn row(&self, cell: &[u8], parts: &mut Parts) -> Result<(usize, i64), &'static str> {
        let (payload, len) = varint(cell)?;
        let (id, id_len) = varint(&cell[len..])?;
        Ok((self.payload(cell, payload, len + id_len, self.usable - 35, parts)?, id.cast_signed()))
    }

    /// A key of an index: its length here.
    fn key(&self, cell: &[u8], parts: &mut Parts) -> Result<usize, &'static str> {
        let (payload, len) = varint(cell)?;
        self.payload(cell, payload, len, (self.usable - 12) * 64 / 255 - 23, parts)
    }

    /// The length of a cell whose payload begins at `at`; what is more than `max` goes on in other pages.
    fn payload(
        &self,
        cell: &[u8],
        bytes: u64,
        at: usize,
        max: usize,
        parts: &mut Parts,
    ) -> Result<usize, &'static str> {
        if bytes > PAYLOAD_MAX {
            return Err("a cell is too long");
        }
        let bytes = bytes as usize;
        if bytes <= max {
            parts.has_bad_record |= !record::is_well_formed(cell.get(at..at + bytes).ok_or(CUT)?, bytes);
            return Ok(at + bytes);
        }
        let (min, page) = ((self.usable - 12) * 32 / 255 - 23, self.usable - 4);
        let here = match min + (bytes - min) % page {
            here if here <= max => here,
            _ => min,
        };
        let first = cell.get(at + here..at + here + 4).ok_or(CUT)?;
        parts.has_bad_record |= !record::is_well_formed(&cell[at..at + here], bytes);
        parts.overflows.push(get_u32(first, 0));
        parts.overflow_pages += (bytes - here).div_ceil(page) as u64;
        Ok(at + here + 4)
    }
}

impl Parts {
    fn clear(&mut self) {
        self.children.clear();
        self.cells = 0;
        self.overflows.clear();
        self.overflow_pages = 0;
        self.rows = None;
        self.has_bad_record = false;
    }

    /// Whether a key began here before: as long as others it adds up, too. Of rows their ids tell.
    fn begins_again(&mut self, start: usize) -> bool {
        let (word, bit) = (&mut self.starts[start / 64], 1 << (start % 64));
        std::mem::replace(word, *word | bit) & bit != 0
    }
}

const CUT: &str = "a cell does not fit";

/// A page of overflow begins with the number of the next.
pub(super) fn overflow_next(bytes: &[u8]) -> u32 {
    get_u32(bytes, 0)
}

/// The bytes of the blocks that are free, which form a chain from this one on.
fn free_bytes(page: &[u8], mut block: usize, content: usize) -> Result<usize, &'static str> {
    let (mut from, mut sum) = (content, 0);
    while block != 0 {
        if block < from || block + 4 > page.len() {
            return Err("its free space is damaged");
        }
        let len = get_u16(page, block + 2);
        from = block + len.max(4);
        sum += len;
        block = get_u16(page, block);
    }
    if from > page.len() { Err("its free space is damaged") } else { Ok(sum) }
}

/// A cell of a table's interior page: its length, and the last row id of what is below it.
fn interior(cell: &[u8], after: Option<i64>, parts: &mut Parts) -> Result<(usize, i64), &'static str> {
    let (id, len) = varint(cell.get(4..).ok_or(CUT)?)?;
    let id = id.cast_signed();
    parts.children.push(Child { page: get_u32(cell, 0), rows: (next_row(after), id) });
    Ok((4 + len, id))
}

fn next_row(after: Option<i64>) -> i64 {
    after.map_or(i64::MIN, |after| after.saturating_add(1))
}

/// A number, and how many bytes it takes.
#[inline]
pub(super) fn varint(bytes: &[u8]) -> Result<(u64, usize), &'static str> {
    match bytes.first() {
        Some(byte) if *byte < 0x80 => Ok((u64::from(*byte), 1)),
        _ => long_varint(bytes),
    }
}

fn long_varint(bytes: &[u8]) -> Result<(u64, usize), &'static str> {
    let mut number = 0;
    for (n, byte) in bytes.iter().take(8).enumerate() {
        number = number << 7 | u64::from(byte & 0x7f);
        if *byte < 0x80 {
            return Ok((number, n + 1));
        }
    }
    bytes.get(8).map(|last| (number << 8 | u64::from(*last), 9)).ok_or(CUT)
}

fn get_u16(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
