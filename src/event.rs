//! What a long job tells while it runs, and how it is asked to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Kind, Result};

/// News from a running job.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A new phase begins, such as "reading"; totals are those known so far.
    Phase {
        /// A word for people.
        name: &'static str,
        /// How many bytes the phase will handle, if known.
        bytes_total: Option<u64>,
        /// How many files (or objects) the phase will handle, if known.
        files_total: Option<u64>,
    },
    /// So much more has been done.
    Advance {
        /// Files (or objects) done.
        files: u64,
        /// Bytes done.
        bytes: u64,
    },
    /// Something that the user should know, but that does not stop the job. Already safe to print.
    Warning(&'a str),
    /// A detail for those who want to know more. Already safe to print.
    Note(&'a str),
}

/// Receives a job's events; called from several threads.
pub trait Progress: Send + Sync {
    /// Takes one event; must not block for long.
    fn event(&self, event: Event<'_>);
}

/// Ignores everything.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event<'_>) {}
}

/// A request to stop, set by a signal or a caller and looked at by every long loop.
///
/// A clone is the same request.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the job to stop at the next clean point.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error when somebody asked, for use with `?`.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::new(Kind::Interrupted, "interrupted")) } else { Ok(()) }
    }
}

/// What every long job is given besides its own arguments.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Where news goes.
    pub progress: &'a dyn Progress,
    /// Looked at by every loop.
    pub cancel: &'a Cancel,
}

impl Job<'_> {
    /// Reports a phase.
    pub fn phase(&self, name: &'static str, files_total: Option<u64>, bytes_total: Option<u64>) {
        self.progress.event(Event::Phase { name, bytes_total, files_total });
    }

    /// Reports work done.
    pub fn advance(&self, files: u64, bytes: u64) {
        self.progress.event(Event::Advance { files, bytes });
    }

    /// Reports a detail; names in it must have gone through [`crate::text::escape`].
    pub fn note(&self, text: &str) {
        self.progress.event(Event::Note(text));
    }

    /// Reports a warning; names in it must have gone through [`crate::text::escape`].
    pub fn warn(&self, text: &str) {
        self.progress.event(Event::Warning(text));
    }
}
