//! Which packs are worth removing: a pure function of what lies in them and of what must stay.

use crate::id::ObjectId;

/// A pack, and what of it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// Its name.
    pub id: ObjectId,
    /// Its stored length, bytes.
    pub size: u64,
    /// What lies in it.
    pub frames: Vec<Frame>,
    /// What is known of it otherwise.
    pub state: State,
}

/// A frame, and what of it is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Its stored length, bytes.
    pub stored: u64,
    /// Plaintexts of its chunks, bytes.
    pub raw: u64,
    /// Of these, plaintexts of copies that must stay. Nothing: none of them must.
    pub live: u64,
}

/// What is known of a pack, besides what lies in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Free,
    /// A prune that may be dead condemned it: writers do not count on it, so it must go.
    Condemned,
    /// A damage record names it, so it is to go, however little of it is waste.
    Damaged,
    /// It stays: a run that lives stored it, or it holds what may be the last copy of something.
    Kept,
}

/// How much to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Which share of what packs hold may be needed by nobody, 0 ..= 1.
    pub unused_max: f64,
    /// Most bytes to store again.
    pub repack_bytes_max: Option<u64>,
}

/// What to do: numbers of packs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Nothing in them must stay.
    pub drop: Vec<usize>,
    /// What must stay of them is stored again.
    pub repack: Vec<usize>,
    /// Bytes of both kinds.
    pub removed_bytes: u64,
    /// Bytes that are stored again, about.
    pub repacked_bytes: u64,
    /// Bytes that nobody needs and that stay, about.
    pub unused_bytes: u64,
}

impl Choice {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.repack.is_empty()
    }

    /// All packs that go.
    pub fn removed(&self) -> impl Iterator<Item = usize> {
        self.drop.iter().chain(&self.repack).copied()
    }

    /// By how much less is stored afterwards, about; bytes.
    pub fn freed_bytes(&self) -> u64 {
        self.removed_bytes.saturating_sub(self.repacked_bytes)
    }
}

impl Pack {
    /// The part of it that must stay, about; bytes.
    fn live_bytes(&self) -> u64 {
        let of = |frame: &Frame| u128::from(frame.stored) * u128::from(frame.live) / u128::from(frame.raw.max(1));
        self.frames.iter().map(|frame| of(frame) as u64).sum()
    }

    fn unused_bytes(&self) -> u64 {
        self.frames.iter().map(|frame| frame.stored).sum::<u64>().saturating_sub(self.live_bytes())
    }

    fn is_dead(&self) -> bool {
        self.frames.iter().all(|frame| frame.live == 0)
    }
}

/// Chooses. Packs of which nothing must stay go; of the others those that are damaged, then those that are emptiest, until no
/// more than the limit is needed by nobody, or as much is stored again as may be.
pub fn choose(packs: &[Pack], limits: &Limits) -> Choice {
    let mut choice = Choice::default();
    let (mut live, mut unused) = (0, 0);
    let mut candidates = Vec::new();
    for (number, pack) in packs.iter().enumerate() {
        live += pack.live_bytes();
        match pack.state {
            State::Kept => unused += pack.unused_bytes(),
            _ if pack.is_dead() => choice.drop.push(number),
            State::Condemned => choice.repack.push(number),
            State::Free | State::Damaged => {
                unused += pack.unused_bytes();
                candidates.push((pack.live_bytes(), pack.unused_bytes(), number));
            }
        }
    }
    // The largest share of waste first: a / (a + b) > c / (c + d) if a d > c b.
    let is_damaged = |number: usize| packs[number].state == State::Damaged;
    candidates.retain(|(_, unused, number)| *unused > 0 || is_damaged(*number));
    candidates.sort_by(|a, b| {
        let waste = |x: &(u64, u64, usize), y: &(u64, u64, usize)| u128::from(x.1) * u128::from(y.0);
        let by_waste = waste(b, a).cmp(&waste(a, b)).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2));
        is_damaged(b.2).cmp(&is_damaged(a.2)).then(by_waste)
    });
    choice.repacked_bytes = choice.repack.iter().map(|number| packs[*number].live_bytes()).sum();
    for (pack_live, pack_unused, number) in candidates {
        let is_enough = unused as f64 <= limits.unused_max * (live + unused) as f64;
        let is_too_much = limits.repack_bytes_max.is_some_and(|max| choice.repacked_bytes + pack_live > max);
        if is_enough && !is_damaged(number) {
            break;
        }
        if !is_too_much {
            choice.repack.push(number);
            choice.repacked_bytes += pack_live;
            unused -= pack_unused;
        }
    }
    choice.repack.sort_unstable();
    choice.unused_bytes = unused;
    choice.removed_bytes = choice.removed().map(|number| packs[number].size).sum();
    choice
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Limits = Limits { unused_max: 0.0, repack_bytes_max: None };

    fn pack(frames: &[(u64, u64)], state: State) -> Pack {
        let frames: Vec<Frame> =
            frames.iter().map(|(stored, live)| Frame { stored: *stored, raw: 100, live: *live }).collect();
        let size = frames.iter().map(|frame| frame.stored).sum::<u64>() + 10;
        Pack { id: ObjectId::ZERO, size, frames, state }
    }

    #[test]
    fn what_is_dead_goes_and_what_is_emptiest_is_stored_again() {
        let packs = [
            pack(&[(1000, 100)], State::Free),
            pack(&[(1000, 0), (500, 0)], State::Free),
            pack(&[(1000, 90), (1000, 100)], State::Free),
            pack(&[(1000, 10), (1000, 100)], State::Free),
            pack(&[(1000, 0)], State::Kept),
            pack(&[(1000, 50)], State::Condemned),
        ];
        let all = choose(&packs, &ALL);
        assert_eq!((all.drop, all.repack), (vec![1], vec![2, 3, 5]));
        let some = Limits { unused_max: 0.25, repack_bytes_max: None };
        let some = choose(&packs, &some);
        assert_eq!((some.repack, some.unused_bytes, some.repacked_bytes), (vec![3, 5], 1100, 1600));
        assert_eq!((some.removed_bytes, choose(&packs, &some_bytes(1000)).repack), (1510 + 2010 + 1010, vec![5]));
    }

    #[test]
    fn what_is_damaged_comes_first_however_little_of_it_is_waste() {
        let packs = [
            pack(&[(1000, 1)], State::Free),
            pack(&[(1000, 100)], State::Damaged),
            pack(&[(1000, 0)], State::Damaged),
            pack(&[(1000, 99)], State::Damaged),
        ];
        let one = Limits { unused_max: 1.0, repack_bytes_max: None };
        assert_eq!((choose(&packs, &one).drop, choose(&packs, &one).repack), (vec![2], vec![1, 3]));
        assert_eq!(choose(&packs, &some_bytes(999)).repack, [3], "the rest is for the next time");
    }

    fn some_bytes(max: u64) -> Limits {
        Limits { unused_max: 0.0, repack_bytes_max: Some(max) }
    }

    fn packs() -> impl Strategy<Value = Vec<Pack>> {
        let rare = prop::sample::select(vec![State::Condemned, State::Kept, State::Damaged]);
        let state = prop_oneof![4 => Just(State::Free), 3 => rare];
        let frames = prop::collection::vec((1_u64..5000, prop_oneof![Just(0), Just(100), 0_u64..=100]), 0..6);
        prop::collection::vec((frames, state).prop_map(|(frames, state)| pack(&frames, state)), 0..30)
    }

    proptest! {
        #[test]
        fn whatever_the_packs_are_the_limits_hold(packs in packs(), unused_max in 0.0..1.0, most in any::<Option<u16>>()) {
            let limits = Limits { unused_max, repack_bytes_max: most.map(u64::from) };
            let choice = choose(&packs, &limits);
            let chosen: Vec<usize> = choice.drop.iter().chain(&choice.repack).copied().collect();
            for (number, pack) in packs.iter().enumerate() {
                let is_in = |list: &[usize]| list.iter().filter(|n| **n == number).count();
                prop_assert!(is_in(&chosen) <= 1, "once");
                prop_assert!(pack.state != State::Kept || is_in(&chosen) == 0, "what is kept stays");
                prop_assert!(pack.state != State::Condemned || is_in(&chosen) == 1, "what is condemned goes");
                prop_assert_eq!(is_in(&choice.drop) == 1, pack.is_dead() && pack.state != State::Kept);
                let is_to_go = matches!(pack.state, State::Condemned | State::Damaged);
                prop_assert!(is_in(&choice.repack) == 0 || is_to_go || pack.unused_bytes() > 0);
                prop_assert!(pack.state != State::Damaged || most.is_some() || is_in(&chosen) == 1, "so does damage");
            }
            let forced: u64 = packs.iter().filter(|p| p.state == State::Condemned).map(Pack::live_bytes).sum();
            prop_assert!(limits.repack_bytes_max.is_none_or(|max| choice.repacked_bytes <= max.max(forced)));
            let stays = packs.iter().enumerate().filter(|(number, _)| !chosen.contains(number));
            let unused: u64 = stays.map(|(_, pack)| pack.unused_bytes()).sum();
            prop_assert_eq!(choice.unused_bytes, unused);
            if most.is_none() && packs.iter().all(|pack| pack.state != State::Kept) {
                let live: u64 = packs.iter().map(Pack::live_bytes).sum();
                prop_assert!(unused as f64 <= unused_max * (live + unused) as f64);
            }
        }
    }
}
