//! Time and chance come in here, and nowhere else.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, ToSpan};

use crate::entry::Time;
use crate::error::{Error, Kind, Result};

/// Where time and random bytes come from; tests bring their own.
pub trait World: Send + Sync + Debug {
    /// The wall clock.
    fn now(&self) -> Time;
    /// Time since some fixed moment of this process; never goes back.
    fn elapsed(&self) -> Duration;
    /// Fills the buffer with unpredictable bytes.
    fn random(&self, bytes: &mut [u8]) -> Result<()>;
    /// Lets some time pass.
    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The real world.
#[derive(Debug)]
pub struct System {
    start: Instant,
}

impl Default for System {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl World for System {
    fn now(&self) -> Time {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(d) => Time { seconds: d.as_secs() as i64, nanos: d.subsec_nanos() },
            Err(_) => Time::default(),
        }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        getrandom::fill(bytes)
            .map_err(|e| Error::new(Kind::Failed, "cannot get random bytes from the operating system").why(e))
    }
}

/// The same moment on the calendar; `None`: no calendar holds it.
pub fn timestamp(time: Time) -> Option<Timestamp> {
    let whole = Timestamp::from_second(time.seconds).ok()?;
    whole.checked_add((i64::from(time.nanos)).nanoseconds()).ok()
}

/// A fresh random array.
pub fn random<const N: usize>(world: &dyn World) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    world.random(&mut bytes)?;
    Ok(bytes)
}
