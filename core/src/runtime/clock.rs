//! The clocks: a wall clock for timestamps and a monotonic one for durations and deadlines.
//!
//! Monotonic time is read from the processor's counter through quanta (about 10 ns a reading). In the simulation both clocks
//! are virtual and move only when every task sleeps.

use super::context;
use crate::model::time::TimestampMs;
use std::ops::{Add, AddAssign};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

thread_local! {
    /// All threads share one calibration, so their readings can be compared.
    static MONOTONIC: quanta::Clock = quanta::Clock::new();
}

/// The wall clock: milliseconds since the Unix epoch.
pub fn now_ms() -> TimestampMs {
    if let Some(twin) = context::twin() {
        return twin.wall_ms();
    }
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_millis() as TimestampMs,
        Err(before) => -(before.duration().as_millis() as TimestampMs),
    }
}

/// Nanoseconds of the processor's counter, never virtual: for the threads that watch the executors.
pub(crate) fn real_ns() -> u64 {
    MONOTONIC.with(|clock| clock.delta_as_nanos(0, clock.raw()))
}

/// A point of monotonic time, comparable between cores. Nothing is known of its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// This moment.
    pub fn now() -> Self {
        Instant(context::twin().map_or_else(real_ns, |twin| twin.now_ns()))
    }

    /// Time since `self`; zero when `self` lies in the future.
    pub fn elapsed(self) -> Duration {
        Instant::now().duration_since(self)
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub fn duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Nanoseconds since the clock's origin.
    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates, so that `now + Duration::MAX` means "never".
    fn add(self, duration: Duration) -> Instant {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(ns))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_never_negative() {
        let a = Instant::now();
        let b = a + Duration::from_millis(5);
        assert_eq!(b.duration_since(a), Duration::from_millis(5));
        assert_eq!(a.duration_since(b), Duration::ZERO);
        assert!(a + Duration::MAX > b);
    }

    #[test]
    fn the_wall_clock_is_in_milliseconds_of_this_century() {
        let now = now_ms();
        assert!((1_600_000_000_000..4_200_000_000_000).contains(&now), "{now}");
    }
}
