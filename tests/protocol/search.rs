//! Breadth first through everything that can happen, so that the first loss found is one of the shortest.

use std::hash::{Hash, Hasher};

use super::model::{Model, Next};
use super::state::State;

/// What came of a search.
pub struct Outcome {
    pub states: usize,
    /// How it came to a loss; none: everything that can happen was looked at.
    pub loss: Option<Vec<String>>,
    /// How it came that nothing more can happen and somebody is not done.
    pub stuck: Option<Vec<String>>,
    /// States in which all went well and nothing is left to do.
    pub tidy: usize,
}

/// All states found, in the order in which they were found, each with the one that it was found from.
struct Found {
    states: Vec<State>,
    from: Vec<u32>,
    /// Places in `states` plus one, at their hashes or behind; never more than half full.
    table: Vec<u32>,
}

/// Mixes words by multiplication: many times as fast as the hash that is safe from strangers.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    fn write_u16(&mut self, n: u16) {
        self.write_u64(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(23) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }
}

impl Found {
    fn new(start: State) -> Self {
        let mut new = Self { states: Vec::new(), from: Vec::new(), table: vec![0; 1 << 16] };
        new.insert(start, 0);
        new
    }

    fn slot(&self, state: &State) -> usize {
        let mut hasher = Mix::default();
        state.hash(&mut hasher);
        let mut slot = hasher.finish() as usize & (self.table.len() - 1);
        while self.table[slot] != 0 && self.states[self.table[slot] as usize - 1] != *state {
            slot = (slot + 1) & (self.table.len() - 1);
        }
        slot
    }

    fn insert(&mut self, state: State, from: u32) {
        let slot = self.slot(&state);
        if self.table[slot] != 0 {
            return;
        }
        self.states.push(state);
        self.from.push(from);
        self.table[slot] = self.states.len() as u32;
        if self.states.len() * 2 > self.table.len() {
            self.table = vec![0; self.table.len() * 2];
            for n in 0..self.states.len() {
                let slot = self.slot(&self.states[n]);
                self.table[slot] = n as u32 + 1;
            }
        }
    }

    /// The steps that led to this state.
    fn history(&self, model: &Model, mut at: usize) -> Vec<String> {
        let mut steps = Vec::new();
        while at != 0 {
            let from = self.from[at] as usize;
            let mut next: Vec<Next> = Vec::new();
            model.next(&self.states[from], &mut next);
            let step = next.into_iter().find(|next| next.state == self.states[at]);
            steps.extend(step.map(|Next { who, what, .. }| format!("{what} {who}")));
            at = from;
        }
        steps.reverse();
        steps
    }
}

pub fn search(model: &Model) -> Outcome {
    let mut found = Found::new(model.start());
    let mut outcome = Outcome { states: 0, loss: None, stuck: None, tidy: 0 };
    let (mut next, mut at) = (Vec::new(), 0);
    while at < found.states.len() && outcome.loss.is_none() {
        let state = found.states[at];
        if !model.is_safe(&state) {
            outcome.loss = Some(found.history(model, at));
        }
        outcome.tidy += usize::from(model.is_tidy(&state));
        model.next(&state, &mut next);
        if next.is_empty() && !model.is_over(&state) {
            outcome.stuck = Some(found.history(model, at));
        }
        next.drain(..).for_each(|next| found.insert(next.state, at as u32));
        at += 1;
    }
    outcome.states = found.states.len();
    outcome
}
