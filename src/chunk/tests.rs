use super::*;

fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut out);
    out
}

fn cuts(cutter: &Cutter, data: &[u8]) -> Vec<usize> {
    let mut out = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let len = cutter.cut(&rest[..rest.len().min(cutter.window())]);
        out.push(len);
        rest = &rest[len..];
    }
    out
}

fn cutter(key: u8) -> Cutter {
    Cutter::new(&Secret::new([key; 32]), Params::FILES)
}

#[test]
fn golden_cuts_never_change() {
    // Pinned: other cuts would end deduplication against everything already stored.
    let params = Params { min: 128 << 10, avg: 256 << 10, max: 1 << 20 };
    let cutter = Cutter::new(&Secret::new([1; 32]), params);
    assert_eq!(cuts(&cutter, &noise(3 << 20, 7)), GOLDEN);
}

const GOLDEN: [usize; 10] = [233264, 381669, 290037, 262422, 380412, 312421, 281784, 339220, 331300, 333199];

#[test]
fn lengths_keep_within_their_bounds() {
    let data = noise(64 << 20, 3);
    let lens = cuts(&cutter(1), &data);
    let (last, whole) = lens.split_last().unwrap();
    assert!(whole.iter().all(|len| (Params::FILES.min..=Params::FILES.max).contains(len)));
    assert!((1..=Params::FILES.max).contains(last));
    let mean = data.len() / lens.len();
    assert!((220 << 10..350 << 10).contains(&mean), "{mean}");
}

#[test]
fn constant_data_is_cut_at_the_maximum() {
    assert_eq!(cuts(&cutter(1), &vec![0; 5 << 20]), [1 << 20; 5]);
    assert_eq!(cuts(&cutter(1), &[]), [0usize; 0]);
}

#[test]
fn an_insertion_moves_few_cuts() {
    let old = noise(16 << 20, 5);
    let mut new = old.clone();
    new.splice(1_000_000..1_000_000, [1, 2, 3]);
    let ends = |data: &[u8]| -> std::collections::BTreeSet<usize> {
        let mut at = 0;
        cuts(&cutter(1), data)
            .iter()
            .map(|len| {
                at += len;
                data.len() - at
            })
            .collect()
    };
    let lost = ends(&old).difference(&ends(&new)).count();
    assert!(lost <= 6, "{lost}");
}

#[test]
fn another_key_cuts_elsewhere() {
    let data = noise(8 << 20, 9);
    assert_ne!(cuts(&cutter(1), &data), cuts(&cutter(2), &data));
}

#[test]
fn parameters_come_back_and_nonsense_is_refused() {
    assert_eq!(Params::parse(&Params::FILES.encode()), Ok(Params::FILES));
    for bad in [
        Params { min: 65, ..Params::FILES },
        Params { avg: 3 << 16, ..Params::FILES },
        Params { max: 64 << 20, ..Params::FILES },
        Params { min: 1 << 20, avg: 4096, max: 2 << 20 },
    ] {
        assert!(Params::parse(&bad.encode()).is_err(), "{bad:?}");
    }
    assert!(Params::parse(b"").is_err());
}

/// Why the crate's seed is not a secret: XORed into every entry of a public table, it shifts each gear hash by a
/// value that is linear bit by bit from the bottom up, so known cuts of known data give it away one bit at a time.
mod seed_attack {
    use fastcdc::v2020::{FastCDC, Normalization, get_gear_with_seed, select_masks};

    const SIZES: (usize, usize, usize) = (16 << 10, 64 << 10, 256 << 10);

    fn public_table() -> Vec<u64> {
        get_gear_with_seed(1).0.iter().map(|entry| entry ^ 1).collect()
    }

    /// Low bits of the gear hash over the 64 bytes before `end`.
    fn hash(table: &[u64], data: &[u8], end: usize, seed: u64) -> u64 {
        data[end - 64..end].iter().fold(0, |h: u64, b| (h << 1).wrapping_add(table[*b as usize] ^ seed))
    }

    fn recover(data: &[u8], lens: &[usize]) -> Vec<u64> {
        let (strict, loose) = select_masks(SIZES.1, Normalization::Level1);
        let table = public_table();
        let mut at = 0;
        let mut seen = Vec::new();
        for len in lens {
            at += len;
            if at < data.len() && *len < SIZES.2 {
                seen.push((at + 1, if *len < SIZES.1 { strict } else { loose }));
            }
        }
        let top = 63 - (strict | loose).leading_zeros();
        let low = (strict & loose).trailing_zeros();
        let fits = |seed: u64, bits: u32| {
            let known = u64::MAX >> (63 - bits);
            seen.iter().all(|(end, mask)| hash(&table, data, *end, seed) & mask & known == 0)
        };
        let mut candidates: Vec<u64> = (0..1u64 << (low + 1)).filter(|seed| fits(*seed, low)).collect();
        for bit in low + 1..=top {
            candidates = candidates.into_iter().flat_map(|s| [s, s | 1 << bit]).filter(|s| fits(*s, bit)).collect();
            candidates.truncate(1 << 14);
        }
        candidates
    }

    #[test]
    fn a_seeded_public_table_is_recovered_from_chunk_lengths() {
        let data = super::noise(8 << 20, 11);
        let lens_with = |seed: u64, data: &[u8]| -> Vec<usize> {
            FastCDC::with_level_and_seed(data, SIZES.0, SIZES.1, SIZES.2, Normalization::Level1, seed)
                .map(|c| c.length)
                .collect()
        };
        let secret = 0x1234_5678_9abc_def0;
        let candidates = recover(&data, &lens_with(secret, &data));
        let fresh = super::noise(4 << 20, 12);
        let truth = lens_with(secret, &fresh);
        assert!(candidates.iter().any(|seed| *seed != 0 && lens_with(*seed, &fresh) == truth));
    }

    #[test]
    fn the_same_attack_does_not_touch_a_secret_table() {
        let data = super::noise(8 << 20, 11);
        let params = crate::chunk::Params { min: SIZES.0, avg: SIZES.1, max: SIZES.2 };
        let lens = super::cuts(&crate::chunk::Cutter::new(&crate::crypto::Secret::new([9; 32]), params), &data);
        assert!(recover(&data, &lens).is_empty());
    }
}
