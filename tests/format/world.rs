//! Worlds in which nothing is left to chance.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use larder::clock::World;
use larder::entry::Time;
use larder::error::Result;

/// When it is, in these worlds.
pub const TIME: Time = Time { seconds: 1_790_000_000, nanos: 5 };

/// The first random bytes are all 1, those of the next call all 2, and so on.
#[derive(Debug, Default)]
pub struct Counting(AtomicU8);

impl World for Counting {
    fn now(&self) -> Time {
        TIME
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        bytes.fill(self.0.fetch_add(1, Ordering::SeqCst) + 1);
        Ok(())
    }
}

/// Random bytes are a stream that always is the same; a second passes whenever somebody looks at the clock.
#[derive(Debug)]
pub struct Streaming {
    bytes: Mutex<blake3::OutputReader>,
    seconds: Mutex<i64>,
}

impl Streaming {
    pub fn new(seed: &str) -> Self {
        let bytes = blake3::Hasher::new_derive_key("larder golden files").update(seed.as_bytes()).finalize_xof();
        Self { bytes: Mutex::new(bytes), seconds: Mutex::new(TIME.seconds) }
    }
}

impl World for Streaming {
    fn now(&self) -> Time {
        let mut seconds = self.seconds.lock().unwrap();
        *seconds += 1;
        Time { seconds: *seconds, nanos: 250_000_000 }
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        self.bytes.lock().unwrap().fill(bytes);
        Ok(())
    }
}
