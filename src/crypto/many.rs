//! Keyed BLAKE3 of many texts at once.
//!
//! A processor hashes eight or sixteen chunks of 1 KiB side by side, and a short text has not as many. So those of
//! different texts are taken together, and then their parents, level by level. The tree is that of the BLAKE3 paper,
//! 2.1: neighbours in pairs, and what is left over moves up. The crate does not promise to keep what computes lanes side by
//! side; whatever becomes of it, the results are compared with `keyed_hash` in the tests.

use blake3::hazmat::HasherExt;
use blake3::platform::{Platform, words_from_le_bytes_32};
use blake3::{CHUNK_LEN, Hasher, IncrementCounter, OUT_LEN};

type Node = [u8; OUT_LEN];

/// A longer text fills all lanes by itself. Bytes.
const SHORT_MAX: usize = 16 * CHUNK_LEN;

// Flags of nodes, from the paper, 2.2.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const PARENT: u8 = 1 << 2;
const ROOT: u8 = 1 << 3;
const KEYED_HASH: u8 = 1 << 4;

/// The hash of each of these, in order.
pub(super) fn hash_many(key: &[u8; 32], texts: &[&[u8]]) -> Vec<Node> {
    let mut out = vec![Node::default(); texts.len()];
    let mut trees = Trees { words: words_from_le_bytes_32(key), platform: Platform::detect(), nodes: Vec::new() };
    let mut open = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        if (CHUNK_LEN + 1..SHORT_MAX).contains(&text.len()) {
            open.push(Open { n, first: trees.nodes.len(), count: text.len().div_ceil(CHUNK_LEN) });
            trees.nodes.resize(trees.nodes.len() + text.len().div_ceil(CHUNK_LEN), Node::default());
        } else {
            out[n] = *blake3::keyed_hash(key, text).as_bytes();
        }
    }
    trees.hash_chunks(key, texts, &open);
    while !open.is_empty() {
        open.retain_mut(|tree| match tree.count {
            1 => {
                out[tree.n] = trees.nodes[tree.first];
                false
            }
            _ => true,
        });
        trees.climb(&mut open);
    }
    out
}

/// A text whose root is not known yet: which, and where its nodes of the level that was reached lie.
struct Open {
    n: usize,
    first: usize,
    count: usize,
}

struct Trees {
    words: [u32; 8],
    platform: Platform,
    nodes: Vec<Node>,
}

impl Trees {
    /// Computes the lowest level.
    fn hash_chunks(&mut self, key: &[u8; 32], texts: &[&[u8]], open: &[Open]) {
        for nth in 0..SHORT_MAX / CHUNK_LEN {
            let (mut inputs, mut places) = (Vec::new(), Vec::new());
            for tree in open.iter().filter(|tree| nth < tree.count) {
                let (full, rest) = texts[tree.n].as_chunks::<CHUNK_LEN>();
                match full.get(nth) {
                    Some(chunk) => {
                        inputs.push(chunk);
                        places.push(tree.first + nth);
                    }
                    None => {
                        let mut hasher = Hasher::new_keyed(key);
                        hasher.set_input_offset((nth * CHUNK_LEN) as u64).update(rest);
                        self.nodes[tree.first + nth] = hasher.finalize_non_root();
                    }
                }
            }
            let found = self.side_by_side(&inputs, nth as u64, 0, CHUNK_START, CHUNK_END);
            places.into_iter().zip(found).for_each(|(place, node)| self.nodes[place] = node);
        }
    }

    /// Replaces the nodes of every tree by their parents.
    fn climb(&mut self, open: &mut [Open]) {
        for is_root in [false, true] {
            let trees = open.iter().filter(|tree| (tree.count == 2) == is_root);
            let places: Vec<(usize, usize)> =
                trees.flat_map(|tree| (0..tree.count / 2).map(|n| (tree.first + n, tree.first + 2 * n))).collect();
            let pairs: Vec<[u8; 2 * OUT_LEN]> = places
                .iter()
                .filter_map(|(_, left)| self.nodes[*left..left + 2].as_flattened().try_into().ok())
                .collect();
            let inputs: Vec<_> = pairs.iter().collect();
            let found = self.side_by_side(&inputs, 0, PARENT | if is_root { ROOT } else { 0 }, 0, 0);
            places.into_iter().zip(found).for_each(|((parent, _), node)| self.nodes[parent] = node);
        }
        for tree in open {
            if tree.count % 2 == 1 {
                self.nodes[tree.first + tree.count / 2] = self.nodes[tree.first + tree.count - 1];
            }
            tree.count = tree.count.div_ceil(2);
        }
    }

    fn side_by_side<const N: usize>(
        &self,
        inputs: &[&[u8; N]],
        counter: u64,
        flags: u8,
        start: u8,
        end: u8,
    ) -> Vec<Node> {
        let mut out = vec![Node::default(); inputs.len()];
        let (flags, bytes) = (KEYED_HASH | flags, out.as_flattened_mut());
        self.platform.hash_many(inputs, &self.words, counter, IncrementCounter::No, flags, start, end, bytes);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compare(key: [u8; 32], lens: &[usize]) {
        let mut all = vec![0; lens.iter().sum()];
        Hasher::new_keyed(&key).finalize_xof().fill(&mut all);
        let mut rest = &all[..];
        let texts: Vec<&[u8]> = lens.iter().map(|len| rest.split_off(..*len).unwrap_or_default()).collect();
        let found = hash_many(&key, &texts);
        let expected: Vec<Node> = texts.iter().map(|text| *blake3::keyed_hash(&key, text).as_bytes()).collect();
        assert!(found == expected, "{lens:?}");
    }

    proptest! {
        #[test]
        fn many_at_once_are_as_each_alone(key: [u8; 32], lens in prop::collection::vec(0usize..20_000, 0..40)) {
            compare(key, &lens);
        }
    }

    #[test]
    fn every_number_of_chunks_makes_its_tree() {
        let edges = (0..=17 * CHUNK_LEN).step_by(CHUNK_LEN).flat_map(|len| [len.saturating_sub(1), len, len + 1]);
        let lens: Vec<usize> = edges.collect();
        compare([9; 32], &lens);
        lens.iter().for_each(|len| compare([8; 32], &[*len]));
    }
}
