//! Ctrl-C and requests to terminate: the first asks the job to stop cleanly, the second ends the program at once.
//!
//! SIGHUP, sent when a terminal goes away, counts as a request to terminate. A signal that was ignored when the program
//! started stays ignored, so that `nohup` works. A file that becomes longer than a limit allows is an error of who writes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use super::exit::Exit;
use crate::error::{Error, Kind, Result};
use crate::event::Cancel;

/// Listens until the program ends.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Caught>);

#[derive(Debug, Default)]
struct Caught {
    cancel: Cancel,
    /// The first signal; 0: none.
    first: AtomicI32,
}

impl Watch {
    /// Begins to listen.
    pub fn install() -> Result<Self> {
        let watch = Self::default();
        let cannot = |error: std::io::Error| Error::io("cannot listen for signals", &error);
        // Where somebody listens, the signal does not end the program without a word.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map_err(cannot)?;
        let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal));
        let mut signals = Signals::new(wanted).map_err(cannot)?;
        let caught = watch.clone();
        let listen = move || {
            for signal in signals.forever() {
                if let Some(exit) = caught.take(signal) {
                    std::process::exit(exit.code().into());
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(cannot)?;
        Ok(watch)
    }

    /// Handed to every job.
    pub fn cancel(&self) -> &Cancel {
        &self.0.cancel
    }

    /// How the program ends after a failure: one of kind `Interrupted` counts by the signal that came.
    pub fn exit(&self, kind: Kind) -> Exit {
        match (kind, self.0.first.load(Ordering::Relaxed)) {
            (Kind::Interrupted, SIGTERM | SIGHUP) => Exit::Terminated,
            (kind, _) => Exit::of(kind),
        }
    }

    /// Notes a signal; the second one says how to end at once.
    fn take(&self, signal: i32) -> Option<Exit> {
        let is_first = self.0.first.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        self.0.cancel.cancel();
        let exit = if signal == SIGINT { Exit::Interrupted } else { Exit::Terminated };
        (!is_first).then_some(exit)
    }
}

/// Whether whoever started us asked that this signal be ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_asks_and_the_second_ends() {
        let watch = Watch::default();
        assert!(!watch.cancel().is_cancelled());
        assert_eq!(watch.take(SIGTERM), None);
        assert!(watch.cancel().is_cancelled());
        assert_eq!(watch.take(SIGINT), Some(Exit::Interrupted));
        assert_eq!(watch.take(SIGHUP), Some(Exit::Terminated));
    }

    #[test]
    fn the_exit_code_tells_which_signal_came() {
        let watch = Watch::default();
        assert_eq!(watch.exit(Kind::Interrupted), Exit::Interrupted);
        watch.take(SIGHUP);
        assert_eq!(watch.exit(Kind::Interrupted), Exit::Terminated);
        assert_eq!(watch.exit(Kind::Damage), Exit::Damage);
    }
}
