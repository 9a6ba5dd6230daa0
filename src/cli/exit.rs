//! The exit codes: scripts and monitors rely on these numbers, and there are no others.

use std::process::ExitCode;

use crate::error::Kind;

/// How a run ended, as the shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All done.
    Done = 0,
    /// Failed, for a reason that has no code of its own.
    Failed = 1,
    /// The command line or the configuration makes no sense.
    Usage = 2,
    /// Done, but the source side is not whole.
    Partial = 3,
    /// Damage was found in the repository.
    Damage = 4,
    /// There is no repository.
    NoRepository = 10,
    /// Somebody else is at work.
    Busy = 11,
    /// The password or key does not fit, or there is none.
    WrongKey = 12,
    /// No space is left, or a quota is used up.
    NoSpace = 13,
    /// A source failed, and nothing was saved.
    Source = 14,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

/// Every code that this version returns, with its meaning, as the help shows it.
pub const MEANINGS: [(Exit, &str); 12] = [
    (Exit::Done, "all done"),
    (Exit::Failed, "failed; also an unknown id or an empty match"),
    (Exit::Usage, "wrong usage or configuration"),
    (Exit::Partial, "done, but part of the source is missing: unreadable, or changed while it was read"),
    (
        Exit::Damage,
        "damage found in the repository, or a drill failed; also where latest or a time passed over a damaged snapshot",
    ),
    (Exit::NoRepository, "no repository there"),
    (Exit::Busy, "in use by another program"),
    (Exit::WrongKey, "wrong password or key, or none found"),
    (Exit::NoSpace, "no space left, or a quota is used up"),
    (Exit::Source, "a source failed, and nothing was saved"),
    (Exit::Interrupted, "stopped by Ctrl-C"),
    (Exit::Terminated, "stopped by a request to terminate"),
];

impl Exit {
    /// The code that stands for a failure of this kind.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Failed | Kind::Missing | Kind::Newer | Kind::Denied | Kind::Exhausted => Self::Failed,
            Kind::Usage => Self::Usage,
            Kind::Damage => Self::Damage,
            Kind::NoRepository => Self::NoRepository,
            Kind::Busy => Self::Busy,
            Kind::WrongKey => Self::WrongKey,
            Kind::NoSpace => Self::NoSpace,
            Kind::Source => Self::Source,
            Kind::Interrupted => Self::Interrupted,
        }
    }

    /// How a run ends that would have ended so, but for damage, or a failure, beside its work.
    pub fn but(self, beside: Self) -> Self {
        match (self, beside) {
            (Self::Done, _) | (Self::Failed, Self::Damage) => beside,
            _ => self,
        }
    }

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The section of the help that lists the codes.
pub fn help() -> String {
    let lines = MEANINGS.map(|(exit, meaning)| format!("  {:<5}{meaning}\n", exit.code()));
    format!("Exit codes:\n{}", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_documented_codes() {
        let codes = [
            (Kind::Failed, 1),
            (Kind::Missing, 1),
            (Kind::Newer, 1),
            (Kind::Exhausted, 1),
            (Kind::Usage, 2),
            (Kind::Damage, 4),
            (Kind::NoRepository, 10),
            (Kind::Busy, 11),
            (Kind::WrongKey, 12),
            (Kind::NoSpace, 13),
            (Kind::Source, 14),
            (Kind::Interrupted, 130),
        ];
        for (kind, code) in codes {
            assert_eq!(Exit::of(kind).code(), code, "{kind:?}");
        }
    }

    #[test]
    fn the_worse_of_two_ends_counts() {
        assert_eq!(Exit::Done.but(Exit::Done), Exit::Done);
        assert_eq!(Exit::Done.but(Exit::Failed), Exit::Failed);
        assert_eq!(Exit::Failed.but(Exit::Damage), Exit::Damage);
        assert_eq!(Exit::Damage.but(Exit::Failed), Exit::Damage);
        assert_eq!(Exit::Interrupted.but(Exit::Damage), Exit::Interrupted);
    }

    #[test]
    fn no_other_codes_exist() {
        assert_eq!(MEANINGS.map(|(exit, _)| exit.code()), [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 130, 143]);
    }
}
