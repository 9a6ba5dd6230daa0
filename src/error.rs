//! What went wrong, told so that a person can act: the thing, why, and what to do.

use std::fmt;

use rustix::io::Errno;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of failure that callers (and exit codes) tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Anything that fits no other kind.
    Failed,
    /// The request itself makes no sense, or contradicts what is there.
    Usage,
    /// The named thing does not exist.
    Missing,
    /// Stored bytes are not what they must be.
    Damage,
    /// No repository at this place.
    NoRepository,
    /// The repository, or an object, was written by a newer program.
    Newer,
    /// The repository may not be read or written by this user.
    Denied,
    /// Somebody else is using it.
    Busy,
    /// Wrong password or key.
    WrongKey,
    /// No space left, or a quota is used up.
    NoSpace,
    /// The source could not be read and nothing was saved.
    Source,
    /// The system has no more handles or memory for this program, whatever it asks for.
    Exhausted,
    /// A signal or a caller asked to stop.
    Interrupted,
}

/// What helps where the system has no more handles or memory.
pub const EXHAUSTED_FIX: &str = "raise the limit on open files (ulimit -n), or free memory, then run it again";

impl Kind {
    /// The stable name that `--json` output uses for this kind.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Usage => "usage",
            Kind::Missing => "missing",
            Kind::Damage => "damage",
            Kind::NoRepository => "no-repository",
            Kind::Newer => "newer-format",
            Kind::Denied => "denied",
            Kind::Busy => "busy",
            Kind::WrongKey => "wrong-key",
            Kind::NoSpace => "no-space",
            Kind::Source => "source",
            Kind::Exhausted => "exhausted",
            Kind::Interrupted => "interrupted",
        }
    }

    /// Whether it says something of who runs this and with what, and nothing of the thing that was asked for.
    pub fn is_about_who_asks(self) -> bool {
        matches!(self, Kind::Denied | Kind::Exhausted)
    }
}

/// A failure: what could not be done, why, and what helps.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Parts>);

#[derive(Clone, PartialEq, Eq)]
struct Parts {
    kind: Kind,
    what: String,
    why: String,
    fix: String,
}

impl Error {
    /// A failure of this kind; `what` names the thing, in lower case, without a full stop.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self(Box::new(Parts { kind, what: what.into(), why: String::new(), fix: String::new() }))
    }

    /// Adds the reason: what was found, what was expected.
    pub fn why(mut self, why: impl fmt::Display) -> Self {
        self.0.why = why.to_string();
        self
    }

    /// Adds what the user can do about it.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.0.fix = fix.into();
        self
    }

    /// An I/O failure; a full disk, and a want of handles or memory, are recognised as such.
    pub fn io(what: impl Into<String>, error: &std::io::Error) -> Self {
        let new = Self::new(io_kind(error), what).why(error);
        match new.kind() {
            Kind::NoSpace => new.fix("free space there, or choose another place"),
            Kind::Exhausted => new.fix(EXHAUSTED_FIX),
            _ => new,
        }
    }

    /// Which kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The same failure, counted as another kind.
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What could not be done.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// Why; may be empty.
    pub fn reason(&self) -> &str {
        &self.0.why
    }

    /// What helps; may be empty.
    pub fn advice(&self) -> &str {
        &self.0.fix
    }
}

/// The kind that an operating-system error stands for.
pub fn io_kind(error: &std::io::Error) -> Kind {
    use std::io::ErrorKind as E;
    match error.kind() {
        E::StorageFull | E::QuotaExceeded | E::FileTooLarge => Kind::NoSpace,
        E::NotFound => Kind::Missing,
        _ if Errno::from_io_error(error).is_some_and(is_exhausted) => Kind::Exhausted,
        _ => Kind::Failed,
    }
}

/// Whether the system has no more handles or memory.
pub fn is_exhausted(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        if !self.0.why.is_empty() {
            write!(f, ": {}", self.0.why)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}
