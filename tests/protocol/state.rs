//! What there is: packs, tombs, sessions, snapshots, and how far everybody has come.

/// A set of copies of two chunks: each whole, or as a delta against the other.
pub type Copies = u8;
pub const A: Copies = 1;
pub const B: Copies = 2;
pub const A_BY_B: Copies = 4;
pub const B_BY_A: Copies = 8;

/// A set of chunks: [`A`], [`B`].
pub type Chunks = u8;

/// A set of packs, one bit each.
pub type Packs = u16;

pub const BACKUPS: usize = 2;
pub const PRUNES: usize = 2;
/// Packs that were there before anybody came; what is in them is the scene's.
pub const FIRST_PACKS: usize = 4;
/// Each try of a backup makes at most one pack, and so does each prune.
pub const MADE_PACKS: usize = 2 * BACKUPS + PRUNES;
/// The first one, then one for each try of a backup.
pub const SNAPSHOTS: usize = 1 + 2 * BACKUPS;

/// The pack of this try of a backup, or of the prune behind all of them.
pub fn made_pack(number: usize) -> Packs {
    1 << (FIRST_PACKS + number)
}

/// The chunks that can be had from these copies. A delta, of depth 1, resolves only through a copy of depth 0.
pub fn resolved(copies: Copies) -> Chunks {
    let whole = copies & (A | B);
    let a_by_b = if whole & B != 0 { copies >> 2 & A } else { 0 };
    let b_by_a = if whole & A != 0 { copies >> 2 & B } else { 0 };
    whole | a_by_b | b_by_a
}

/// The chunks of which there is any copy, whatever it needs.
pub fn mentioned(copies: Copies) -> Chunks {
    (copies | copies >> 2) & (A | B)
}

/// The same, if there is any copy of their bases, too.
pub fn mentioned_with_bases(copies: Copies) -> Chunks {
    let any = mentioned(copies);
    let a_by_b = if any & B != 0 { copies >> 2 & A } else { 0 };
    let b_by_a = if any & A != 0 { copies >> 2 & B } else { 0 };
    copies & (A | B) | a_by_b | b_by_a
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Snapshot {
    /// Not yet, or no more.
    #[default]
    Gone,
    Listed,
    Confirmed,
    /// It was confirmed and is listed no more, but a power cut would bring it back.
    Leaving,
}

/// How far one has come who is done.
pub const DONE: u8 = u8::MAX;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Backup {
    /// How many steps it has made.
    pub at: u8,
    /// Its session was expired, so this is its second try.
    pub again: bool,
    /// What it listed first: tombs.
    pub seen: Packs,
    /// What it takes over from a parent.
    pub reused: Chunks,
    /// What it is going to store.
    pub upload: Copies,
    /// Packs that it counts on and that others may not have made durable yet.
    pub adopted: Packs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Prune {
    pub at: u8,
    /// What it is going to delete.
    pub doomed: Packs,
    /// Sessions that it found, as far as they are still there.
    pub waits: u8,
    /// What it listed: other tombs, then packs.
    pub seen: Packs,
    /// What snapshots need.
    pub used: Chunks,
    /// What stays.
    pub kept: Copies,
    /// As of a backup.
    pub adopted: Packs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Check {
    pub at: u8,
    /// The snapshot that it wants to confirm.
    pub snapshot: u8,
    pub seen: Packs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub packs: Packs,
    /// Those that survive a power cut.
    pub durable: Packs,
    /// What is in those that were made; nothing in one that is gone.
    pub made: [Copies; MADE_PACKS],
    /// Packs that index objects name, where somebody relies on that.
    pub named: Packs,
    /// What each prune has condemned.
    pub tombs: [Packs; PRUNES],
    /// One bit for each try of a backup.
    pub sessions: u8,
    pub snapshots: [Snapshot; SNAPSHOTS],
    pub backups: [Backup; BACKUPS],
    pub prunes: [Prune; PRUNES],
    pub check: Check,
}

impl State {
    pub fn condemned(&self) -> Packs {
        self.tombs.iter().fold(0, |all, tomb| all | tomb)
    }

    /// A session never comes back, so whoever waited for it need not know of it any longer.
    pub fn end_session(&mut self, session: u8) {
        self.sessions &= !session;
        self.prunes.iter_mut().for_each(|prune| prune.waits &= !session);
    }
}
