//! What every command is given besides its own arguments.

use std::ffi::OsString;
use std::sync::OnceLock;

use jiff::tz::TimeZone;

use super::args::Global;
use super::output::Output;
use super::paint::Paint;
use super::password::{self, AtTerminal, Person, Secret, Surroundings};
use super::progress::{Look, Reporter, Talk};
use super::signal::Watch;
use crate::clock::World;
use crate::error::Result;
use crate::event::Cancel;
use crate::repo::CacheTrouble;

/// A command's surroundings.
#[derive(Debug)]
pub struct Context<'a> {
    /// Options of every command.
    pub global: &'a Global,
    /// Standard output.
    pub output: &'a Output,
    /// Signals that have come.
    pub watch: &'a Watch,
    /// Clock and chance.
    pub world: &'a dyn World,
    /// What keeps the caches of the repository that was opened from being of use.
    pub cache_trouble: OnceLock<CacheTrouble>,
}

impl<'a> Context<'a> {
    /// Handed to every job.
    pub fn cancel(&self) -> &'a Cancel {
        self.watch.cancel()
    }

    /// The same for what asks on its own, such as a database's engine: whether to stop.
    pub fn stop(&self) -> impl FnMut() -> bool + Send + Clone + use<> + 'static {
        let watch = self.watch.clone();
        move || watch.cancel().is_cancelled()
    }

    /// Colour for what goes to standard output.
    pub fn paint(&self) -> Paint {
        Paint::stdout()
    }

    /// The zone in which people read times.
    pub fn zone(&self) -> TimeZone {
        TimeZone::system()
    }

    /// Begins to show a job.
    pub fn reporter(&self) -> Reporter<'a> {
        let Global { quiet, verbose, json, .. } = *self.global;
        let talk = if json { Talk::Programs(self.output.clone()) } else { Talk::People(Paint::stderr()) };
        Reporter::start(Look::choose(quiet, verbose, json), talk, self.world).without_notes(quiet)
    }

    /// Tells who wants to know more why a run took longer than it had to. Nothing else comes of it.
    pub fn tell_cache_trouble(&self) {
        let is_asked = self.global.verbose && !self.global.json;
        if let (true, Some(why)) = (is_asked, self.cache_trouble.get().and_then(CacheTrouble::get)) {
            super::tell(&format!("the local cache was not of full use: {why}\n"));
        }
    }

    /// Where the repository is.
    pub fn repository(&self) -> Result<OsString> {
        self.global.repository(&variable)
    }

    /// What opens the repository.
    pub fn secret(&self) -> Result<Secret> {
        self.surrounded(|around| password::find(&self.global.key, around))
    }

    /// What shall open the repository that is about to be made.
    pub fn new_secret(&self) -> Result<Secret> {
        self.surrounded(|around| password::find_new(&self.global.key, around))
    }

    /// Calls with the places where secrets may be found.
    pub fn surrounded<T>(&self, look: impl FnOnce(Surroundings<'_>) -> T) -> T {
        let person = AtTerminal::present();
        let person = person.as_ref().map(|person| person as &dyn Person);
        look(Surroundings { variable: &variable, person, cancel: self.cancel() })
    }
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
