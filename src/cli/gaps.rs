//! What could not be read, while everything else is listed.
//!
//! People read of it at once; programs in lines behind the document, so that a list stays one document.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::context::Context;
use super::exit::Exit;
use super::paint::Paint;
use super::progress::{Reporter, WARNINGS_MAX};
use super::{json, render};
use crate::error::Result;
use crate::event::{Event, Job, Progress};
use crate::ops::database::Database;

/// Takes a listing's warnings, and shows a bar until something is printed.
pub struct Gaps<'a> {
    context: &'a Context<'a>,
    reporter: Mutex<Option<Reporter<'a>>>,
    count: AtomicU64,
    kept: Mutex<Vec<String>>,
    torn: AtomicBool,
    damaged: AtomicBool,
}

impl<'a> Gaps<'a> {
    /// None yet.
    pub fn new(context: &'a Context<'a>) -> Self {
        let reporter = Mutex::new(Some(context.reporter()));
        Self {
            context,
            reporter,
            count: AtomicU64::new(0),
            kept: Mutex::default(),
            torn: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
        }
    }

    /// For what reads.
    pub fn job(&self) -> Job<'_> {
        Job { progress: self, cancel: self.context.cancel() }
    }

    /// Takes the bar away: from now on there is output.
    pub fn printing(&self) {
        let reporter = self.reporter.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reporter) = reporter {
            reporter.finish();
        }
    }

    /// Tells what has been kept for programs, before a line that is to be the last.
    pub fn tell_kept(&self) -> Result<()> {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        kept.iter().try_for_each(|message| self.context.output.json(&json::Warning { message }))
    }

    /// Warns of what may be missing from what a database tells.
    /// That is exit code 3 where a part of it was never saved with it, and 4 where the repository lacks something.
    pub fn doubt(&self, database: &Database<'_>) {
        database.doubts.iter().for_each(|why| self.warn(why));
        self.torn.fetch_or(database.torn.is_some(), Ordering::Relaxed);
        self.damaged.fetch_or(database.doubts.len() > usize::from(database.torn.is_some()), Ordering::Relaxed);
    }

    /// Tells what has been kept; exit code 4 if there were gaps.
    pub fn finish(self, gaps: u64) -> Result<Exit> {
        self.printing();
        self.tell_kept()?;
        let hidden = self.count.load(Ordering::Relaxed).saturating_sub(WARNINGS_MAX);
        if hidden > 0 {
            let message = format!("{} more warnings are not shown", render::grouped(hidden));
            match self.context.global.json {
                true => self.context.output.json(&json::Warning { message: &message })?,
                false => tell(&message),
            }
        }
        Ok(match gaps {
            0 if self.damaged.into_inner() => Exit::Damage,
            0 if self.torn.into_inner() => Exit::Partial,
            0 => Exit::Done,
            _ => Exit::Damage,
        })
    }

    fn warn(&self, text: &str) {
        if self.count.fetch_add(1, Ordering::Relaxed) >= WARNINGS_MAX {
            return;
        }
        if self.context.global.json {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
            return;
        }
        match self.reporter.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(reporter) => reporter.event(Event::Warning(text)),
            None => tell(text),
        }
    }
}

impl std::fmt::Debug for Gaps<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gaps")
    }
}

fn tell(message: &str) {
    super::tell(&format!("{}\n", render::warning(message, Paint::stderr())));
}

impl Progress for Gaps<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Warning(text) => self.warn(text),
            event => {
                if let Some(reporter) = self.reporter.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
                    reporter.event(event);
                }
            }
        }
    }
}
