//! How many cells the b-trees of a database have, counted as their pages go by, in any order.

use std::collections::HashMap;

/// Larger databases are not counted. 64 MiB of memory.
const PAGES_MAX: u32 = 1 << 24;
/// A page whose cells were counted, while it is not known on which page it hangs. The rest is how many.
const ALONE: u32 = 1 << 31;
/// Higher than trees grow: the engine goes down 20 pages at most.
const HEIGHT_MAX: u32 = 64;

/// Pages, and on which page each hangs.
#[derive(Debug, Default)]
pub(super) struct Trees {
    /// By the number of the page, which is never 0: 0, [`ALONE`] and its cells, or the page above.
    pages: Vec<u32>,
    /// Cells of pages that have others below them, with those of leaves that were seen so far.
    interior: HashMap<u32, u64>,
}

impl Trees {
    /// Of a database of so many pages. `None`: these are too many.
    pub fn new(pages: u32) -> Option<Self> {
        (pages < PAGES_MAX).then(|| Self { pages: vec![0; pages as usize + 1], interior: HashMap::new() })
    }

    /// A leaf with so many cells. Each page comes once.
    pub fn leaf(&mut self, page: u32, cells: u32) {
        let Some(slot) = self.pages.get_mut(page as usize) else { return };
        match *slot {
            0 => *slot = ALONE | cells,
            above => *self.interior.entry(above).or_default() += u64::from(cells),
        }
    }

    /// A page with others below it that has so many cells of its own.
    pub fn interior(&mut self, page: u32, cells: u32) {
        *self.interior.entry(page).or_default() += u64::from(cells);
    }

    /// One page hangs on another.
    pub fn hangs(&mut self, page: u32, above: u32) {
        let Some(slot) = self.pages.get_mut(page as usize) else { return };
        if *slot & ALONE != 0 {
            *self.interior.entry(above).or_default() += u64::from(*slot & !ALONE);
        }
        *slot = above;
    }

    /// The cells of each tree, by the page at its root. It counts only where all pages fit together.
    pub fn cells(&self) -> HashMap<u32, u64> {
        let mut trees = HashMap::new();
        for (page, cells) in &self.interior {
            let mut root = *page;
            for _ in 0..HEIGHT_MAX {
                match self.pages.get(root as usize) {
                    Some(above) if *above != 0 && above & ALONE == 0 => root = *above,
                    _ => break,
                }
            }
            *trees.entry(root).or_default() += cells;
        }
        let leaves = (0..).zip(&self.pages).filter(|(_, slot)| **slot & ALONE != 0);
        trees.extend(leaves.map(|(page, slot)| (page, u64::from(slot & !ALONE))));
        trees
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_those_of_the_whole_tree_whatever_comes_first() {
        // 1 above 2 and 3; 2 above 4 and 5; 6 alone. Interior pages have one cell each.
        type Step = fn(&mut Trees);
        let mut steps: [Step; 7] = [
            |trees| {
                trees.interior(1, 1);
                trees.hangs(2, 1);
                trees.hangs(3, 1);
            },
            |trees| {
                trees.interior(2, 1);
                trees.hangs(4, 2);
                trees.hangs(5, 2);
            },
            |trees| trees.leaf(3, 10),
            |trees| trees.leaf(4, 100),
            |trees| trees.leaf(5, 1000),
            |trees| trees.leaf(6, 7),
            |trees| trees.leaf(99, 1),
        ];
        for turn in 0..7 * 7 {
            steps.swap(turn % 7, turn / 7);
            let mut trees = Trees::new(6).unwrap();
            steps.iter().for_each(|step| step(&mut trees));
            assert_eq!(trees.cells(), HashMap::from([(1, 1112), (6, 7)]));
        }
    }

    #[test]
    fn senseless_pages_do_no_harm() {
        let mut trees = Trees::new(3).unwrap();
        trees.interior(1, 1);
        trees.hangs(1, 2);
        trees.hangs(2, 1);
        trees.hangs(0, u32::MAX);
        trees.hangs(3, u32::MAX);
        trees.leaf(3, u32::MAX);
        trees.interior(9, 5);
        trees.cells();
        assert!(Trees::new(u32::MAX).is_none());
    }
}
