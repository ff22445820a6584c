//! The one clock of a run: nanoseconds since the Unix epoch that never step.
//!
//! The wall clock is read once and carried on by the monotonic one, so that several processes on
//! one machine agree about planned times and a clock adjustment during a run moves nothing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time as the stamps in message bodies carry it, in nanoseconds since 1970.
pub type Nanos = u64;

/// Reads the time. Copies agree with each other.
#[derive(Clone, Copy)]
pub struct Clock {
    origin: Instant,
    origin_ns: Nanos,
}

impl Clock {
    /// Reads the wall clock, once.
    pub fn start() -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { origin: Instant::now(), origin_ns: since_epoch.as_nanos() as Nanos }
    }

    /// The wall clock's time at the start: no two runs have the same.
    pub fn origin(&self) -> Nanos {
        self.origin_ns
    }

    /// The time now.
    pub fn now(&self) -> Nanos {
        self.origin_ns + self.origin.elapsed().as_nanos() as Nanos
    }
}

/// `duration` in nanoseconds.
pub fn nanos(duration: Duration) -> Nanos {
    duration.as_nanos() as Nanos
}
