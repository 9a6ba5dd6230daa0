//! Paths below a source's root.

use std::cmp::Ordering;

use crate::entry::{PATH_BYTES_MAX, PATH_DEPTH_MAX};
use crate::wire::{Malformed, Result};

/// The order of entries in a tree: byte by byte, `/` before everything else.
pub fn compare_paths(a: &[u8], b: &[u8]) -> Ordering {
    let common = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let rank = |path: &[u8]| path.get(common).map(|byte| if *byte == b'/' { 0 } else { *byte });
    rank(a).cmp(&rank(b))
}

/// Whether `path` is `folder` or lies below it.
pub fn is_below(path: &[u8], folder: &[u8]) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) => folder.is_empty() || rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}

/// Refuses what no source can have and no restore may use: empty, `.` and `..` components, NUL, too long, too deep.
pub fn check_path(path: &[u8]) -> Result<()> {
    let bad = |why: &str| Err(Malformed::bad("path", format!("{:?}: {why}", crate::text::escape(path))));
    if path.is_empty() {
        return Ok(());
    }
    if path.len() > PATH_BYTES_MAX {
        return bad("longer than 32 KiB");
    }
    if path.contains(&0) {
        return bad("it holds a NUL");
    }
    let mut depth = 0;
    for part in path.split(|b| *b == b'/') {
        depth += 1;
        if part.is_empty() || part == b"." || part == b".." {
            return bad("a component is empty, `.` or `..`");
        }
    }
    if depth > PATH_DEPTH_MAX { bad("deeper than 4096 components") } else { Ok(()) }
}
