//! Whether the pages of a database fit together, told as they go by: each is looked at once, in any order.
//!
//! Each page of a b-tree must be well formed, each page of the file be used exactly once, and as what it is, and row ids
//! be in order, from page to page, too. That is what the engine's `quick_check` says of b-trees, but not what it says of
//! values (NOT NULL, CHECK); chains of overflow pages are counted together. The engine goes from page to page, which
//! takes a read at a random place for each; this takes none but for the free list.
//!
//! What is found here is a reason to ask the engine, and no verdict; but for records that are not as long as their headers
//! say: the engine never writes these, and reads other values out of them without a word, where it has no need of the rest.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::found::{Found, Rows};
use super::page::{Layout, Parts, Pointer, Tree, overflow_next};
use super::trees::Trees;

/// In larger databases a page of overflow may begin as pages of b-trees do.
const PAGES_MAX: u32 = 1 << 25;
/// Of larger databases what was seen is not kept: it is about 14 bytes a page.
const KEPT_PAGES_MAX: u32 = 1 << 22;
/// Nor is that of pages that tell of very many others. Bytes.
const KEPT_BYTES_MAX: usize = 256 << 10;
/// Where the rows of so many pages wait to be compared with those of others, their order is no longer looked at. 32 MiB.
const WAITING_MAX: usize = 1 << 20;

// As what a page is used, and what it looks like, in four bits each.
const TABLE: u8 = 1;
const INDEX: u8 = 2;
const OVERFLOW: u8 = 3;
/// The root of a table, which may be kept as an index is.
const EITHER: u8 = 4;
/// Free, or never used for anything but what its number says.
const ANY: u8 = 5;

fn what(role: u8) -> &'static str {
    match role {
        TABLE => "a table's",
        INDEX => "an index's",
        OVERFLOW => "the rest of a cell",
        EITHER => "a root",
        _ => "none",
    }
}

// The same in a map of pointers.
const MAP_ROOT: u8 = 1;
const MAP_FREE: u8 = 2;
const MAP_OVERFLOW_FIRST: u8 = 3;
const MAP_OVERFLOW_NEXT: u8 = 4;
const MAP_CHILD: u8 = 5;

/// What has been seen of a database. Several threads may look.
#[derive(Debug)]
pub struct Scan {
    layout: Layout,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// By the number of the page, which is never 0: what it looks like << 4 | as what it is used.
    roles: Vec<u8>,
    /// The pages of overflow that were seen, without those that cells need.
    overflow_pages: i64,
    /// The sum over all that maps of pointers say, without the same over what is so.
    maps: u64,
    waiting: HashMap<u32, Rows>,
    is_ordered: bool,
    trees: Option<Trees>,
    wrong: Option<String>,
    bad_record: Option<u32>,
}

impl Scan {
    /// Of an image of so many pages, which begins with these bytes. `None`: this could not tell anything of it.
    pub fn new(first: &[u8], pages: u32) -> Option<Self> {
        let layout = Layout::of(first, pages).filter(|_| pages < PAGES_MAX)?;
        let mut seen = Seen {
            roles: vec![0; pages as usize + 1],
            overflow_pages: 0,
            maps: 0,
            waiting: HashMap::new(),
            is_ordered: true,
            trees: Trees::new(pages),
            wrong: None,
            bad_record: None,
        };
        for page in layout.map_pages().chain(Some(layout.lock_page()).filter(|page| *page <= pages)) {
            seen.uses(ANY, page);
        }
        Some(Self { layout, seen: Mutex::new(seen) })
    }

    /// Takes the pages of the free list, before any page is looked at: what is left in them looks like anything. `read`
    /// gives a page, by its number.
    pub fn free_list<E>(&mut self, mut read: impl FnMut(u32, &mut [u8]) -> Result<(), E>) -> Result<(), E> {
        let Self { layout, .. } = *self;
        let mut seen = self.seen();
        let (mut trunk, mut left) = (layout.free_first, layout.free_pages);
        let mut bytes = vec![0; layout.page_bytes as usize];
        while trunk != 0 {
            seen.frees(trunk);
            if seen.wrong.is_some() {
                return Ok(());
            }
            read(trunk, &mut bytes)?;
            let Some((next, leaves)) = layout.free_trunk(&bytes) else {
                seen.is_wrong(format!("page {trunk} of the free list has too many"));
                return Ok(());
            };
            left = left.wrapping_sub(1 + leaves.len() as u32);
            leaves.into_iter().for_each(|page| seen.frees(page));
            trunk = next;
        }
        if left != 0 {
            seen.is_wrong("the free list is not as long as the header says".into());
        }
        Ok(())
    }

    /// Looks at whole pages, which lie at this place of the image. What was seen of them, for [`Self::recall`]; nothing
    /// where that would be much, or something is wrong.
    pub fn look(&self, offset: u64, bytes: &[u8]) -> Vec<u8> {
        let size = self.layout.page_bytes as usize;
        let pages = bytes.chunks(size).zip((offset / size as u64 + 1) as u32..);
        let is_any: Vec<bool> = {
            let seen = self.seen();
            pages.clone().map(|(_, number)| seen.roles.get(number as usize).is_none_or(|role| *role == ANY)).collect()
        };
        let (mut found, mut parts) = (Found::default(), Parts::default());
        for ((bytes, number), is_any) in pages.zip(is_any) {
            if is_any {
                if self.layout.last_root.is_some() && self.layout.is_map(number) {
                    let said = self.layout.pointers(number, bytes).map(sum_of);
                    found.maps = said.fold(found.maps, u64::wrapping_add);
                }
            } else if let Err(why) = self.look_at(number, bytes, &mut parts, &mut found) {
                self.seen().is_wrong(format!("page {number}: {why}"));
                return Vec::new();
            }
        }
        let mut kept = if self.layout.pages <= KEPT_PAGES_MAX { found.encode() } else { Vec::new() };
        if kept.len() > KEPT_BYTES_MAX {
            kept = Vec::new();
        }
        self.seen().take(found);
        kept
    }

    /// Takes what was seen of pages when another looked at them, whose database was as this one is. Whether it could.
    pub fn recall(&self, kept: &[u8]) -> bool {
        let found = Some(kept).filter(|kept| !kept.is_empty()).and_then(|kept| Found::decode(kept).ok());
        found.map(|found| self.seen().take(found)).is_some()
    }

    fn look_at(&self, by: u32, bytes: &[u8], parts: &mut Parts, found: &mut Found) -> Result<(), &'static str> {
        let tree = match self.layout.parse(by, bytes, parts)? {
            Some(Tree::Table) => TABLE,
            Some(Tree::Index) => INDEX,
            None => {
                found.looks.push((by, OVERFLOW));
                found.overflow_pages += 1;
                let next = Some(overflow_next(bytes)).filter(|next| *next != 0);
                let pointer = |page| (OVERFLOW, Pointer { page, usage: MAP_OVERFLOW_NEXT, by });
                found.uses.extend(next.map(pointer));
                return Ok(());
            }
        };
        if parts.has_bad_record {
            found.bad_record.get_or_insert(by);
        }
        found.looks.push((by, tree));
        found.cells.push((by, parts.children.is_empty(), parts.cells));
        found.overflow_pages -= parts.overflow_pages as i64;
        let overflow = |page: &u32| (OVERFLOW, Pointer { page: *page, usage: MAP_OVERFLOW_FIRST, by });
        found.uses.extend(parts.overflows.iter().map(overflow));
        found.rows.extend(parts.rows.map(|(first, last)| (by, Rows::Has(first, last))));
        for child in &parts.children {
            found.uses.push((tree, Pointer { page: child.page, usage: MAP_CHILD, by }));
            if tree == TABLE {
                found.rows.push((child.page, Rows::May(child.rows.0, child.rows.1)));
            }
        }
        Ok(())
    }

    /// Takes the pages at which the tables and indexes of the schema begin, and whether each is an index; `None`: it
    /// cannot be read.
    pub fn roots(&mut self, roots: Option<&[(u32, bool)]>) {
        let mut seen = self.seen();
        let Some(roots) = roots else { return seen.is_wrong("the schema cannot be read".into()) };
        seen.uses(TABLE, 1);
        for (page, is_index) in roots {
            seen.uses(if *is_index { INDEX } else { EITHER }, *page);
            seen.maps = seen.maps.wrapping_sub(sum_of(Pointer { page: *page, usage: MAP_ROOT, by: 0 }));
        }
        let last = roots.iter().map(|(page, _)| *page).max().unwrap_or(1);
        if let Some(said) = self.layout.last_root.filter(|said| *said != last) {
            seen.is_wrong(format!("the last root page is {last}, {said} by the header"));
        }
    }

    /// The first thing that is not as it should be, now that all pages and roots were seen.
    pub fn wrong(&self) -> Option<String> {
        let seen = self.seen();
        if seen.wrong.is_some() {
            return seen.wrong.clone();
        }
        for (page, role) in seen.roles.iter().enumerate().skip(1) {
            match (role & 15, role >> 4) {
                (ANY, _) | (EITHER, TABLE | INDEX) => {}
                (0, _) => return Some(format!("page {page} is never used")),
                (used, looks) if used == looks => {}
                (used, looks) => {
                    return Some(format!("page {page} is used as {}, but is like {}", what(used), what(looks)));
                }
            }
        }
        if seen.overflow_pages != 0 {
            return Some("overflow pages are missing or too many".into());
        }
        if self.layout.last_root.is_some() && seen.maps != 0 {
            return Some("maps of pointers are not right".into());
        }
        None
    }

    /// That a record is not as its header says, if one was seen. Its page is in its place all the same.
    pub fn bad_record(&self) -> Option<String> {
        let page = self.seen().bad_record?;
        Some(format!("page {page}: a record is not as long as its header says"))
    }

    /// Whether rows are counted.
    pub fn counts(&self) -> bool {
        self.seen().trees.is_some()
    }

    /// How many rows, or keys, are in the tree that begins on a page, by that page, now that all pages and roots were
    /// seen. `None`: they were not counted, or [something is wrong](Self::wrong).
    pub fn rows(&self) -> Option<HashMap<u32, u64>> {
        self.wrong().is_none().then(|| self.seen().trees.as_ref().map(Trees::cells))?
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn frees(&mut self, page: u32) {
        self.uses(ANY, page);
        self.maps = self.maps.wrapping_sub(sum_of(Pointer { page, usage: MAP_FREE, by: 0 }));
    }

    fn uses(&mut self, role: u8, page: u32) {
        match self.roles.get_mut(page as usize) {
            Some(known) if page > 0 && *known & 15 == 0 => *known |= role,
            Some(_) if page > 0 => self.is_wrong(format!("page {page} is used twice")),
            _ => self.is_wrong(format!("page {page} is used, which is not there")),
        }
    }

    fn take(&mut self, found: Found) {
        for (page, looks) in found.looks {
            if let Some(known) = self.roles.get_mut(page as usize) {
                *known |= looks << 4;
            }
        }
        if let Some(trees) = &mut self.trees {
            for (page, is_leaf, cells) in found.cells {
                if is_leaf { trees.leaf(page, cells) } else { trees.interior(page, cells) }
            }
            let children = found.uses.iter().filter(|(_, pointer)| pointer.usage == MAP_CHILD);
            children.for_each(|(_, pointer)| trees.hangs(pointer.page, pointer.by));
        }
        for (role, pointer) in found.uses {
            self.uses(role, pointer.page);
            self.maps = self.maps.wrapping_sub(sum_of(pointer));
        }
        for (page, rows) in found.rows {
            self.order(page, rows);
        }
        self.bad_record = self.bad_record.into_iter().chain(found.bad_record).min();
        self.overflow_pages += found.overflow_pages;
        self.maps = self.maps.wrapping_add(found.maps);
    }

    fn order(&mut self, page: u32, rows: Rows) {
        if !self.is_ordered {
            return;
        }
        let known = match self.waiting.entry(page) {
            Entry::Occupied(known) => known.remove(),
            Entry::Vacant(place) => {
                place.insert(rows);
                if self.waiting.len() > WAITING_MAX {
                    self.is_ordered = false;
                    self.waiting = HashMap::new();
                }
                return;
            }
        };
        if let (Rows::Has(first, last), Rows::May(from, to)) | (Rows::May(from, to), Rows::Has(first, last)) =
            (known, rows)
            && (first < from || last > to)
        {
            self.is_wrong(format!("page {page} has rows {first} to {last}, out of {from} to {to}"));
        }
    }

    fn is_wrong(&mut self, why: String) {
        self.wrong.get_or_insert(why);
    }
}

/// Sums of this are equal where the same was summed, for all that chance may do.
fn sum_of(pointer: Pointer) -> u64 {
    // The last steps of SplitMix64 (Steele, Lea and Flood, 2014), over all that the pointer says.
    let mut mixed = (u64::from(pointer.page) << 32 | u64::from(pointer.by))
        .wrapping_add(u64::from(pointer.usage).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
