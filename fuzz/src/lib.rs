//! Hostile bytes for every parser of larder.
//!
//! A *target* is a plain function of some bytes, which panics if larder does anything with them that it must not do.
//! Three things drive the targets: the tests of this crate, for seconds, on a stable compiler; `cargo run --bin NAME`,
//! for as long as one likes; and libFuzzer, through `cargo fuzz run NAME`.

pub mod drive;
pub mod play;
pub mod random;
pub mod seeds;
pub mod targets;

/// What a target made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken for valid, and had every property that valid input has.
    Accepted,
    /// It was refused.
    Refused,
}

impl Verdict {
    /// Accepted, if the condition holds.
    pub fn accepted_if(condition: bool) -> Self {
        if condition { Self::Accepted } else { Self::Refused }
    }
}

/// A target, by name.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its binary, too.
    pub name: &'static str,
    /// The target itself.
    pub run: fn(&[u8]) -> Verdict,
    /// Valid inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident)*) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[
            $(Target { name: stringify!($name), run: targets::$name, seeds: seeds::$name }),*
        ];

        #[cfg(test)]
        mod tests {
            $(
                #[test]
                fn $name() {
                    super::drive::for_a_while(stringify!($name));
                }
            )*
        }
    };
}

targets! {
    address
    chunk_list
    config
    damage
    database_facts
    entry
    extents
    delta
    frame
    header
    index
    key_file
    key_slot
    note
    object
    parity
    path
    play_operations
    session
    session_end
    snapshot_body
    snapshot_summary
    sqlite_header
    sqlite_pages
    table
    tomb
    trailer
    tree_node
    tree_walk
    wire
    xattrs
}

/// The binary of a target: libFuzzer's, where that is what is built, else one that drives the target itself.
#[macro_export]
macro_rules! binary {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            $crate::targets::$name(bytes);
        });

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::drive::main(stringify!($name))
        }
    };
}
