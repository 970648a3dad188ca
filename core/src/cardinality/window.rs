//! New series in the hour and the day of the wall clock (UTC).

use super::sketch::Sketch;
use crate::model::labels::Fingerprint;
use crate::model::time::TimestampMs;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The counts of one hour and one day.
#[derive(Debug)]
pub(super) struct Windows {
    hour: Window,
    day: Window,
}

#[derive(Debug)]
struct Window {
    length_ms: i64,
    number: i64,
    count: Count,
}

#[derive(Debug)]
enum Count {
    Exact(u64),
    Estimated(Sketch),
}

impl Count {
    fn none(estimated: bool) -> Self {
        if estimated { Count::Estimated(Sketch::new()) } else { Count::Exact(0) }
    }
}

impl Window {
    fn new(length_ms: i64, estimated: bool) -> Self {
        Window { length_ms, number: i64::MIN, count: Count::none(estimated) }
    }

    fn add(&mut self, fingerprint: Fingerprint, now_ms: TimestampMs) {
        let number = now_ms.div_euclid(self.length_ms);
        if self.number != number {
            self.number = number;
            self.count = Count::none(matches!(self.count, Count::Estimated(_)));
        }
        match &mut self.count {
            Count::Exact(count) => *count += 1,
            Count::Estimated(sketch) => sketch.insert(fingerprint),
        }
    }

    fn total(&self, now_ms: TimestampMs) -> u64 {
        match &self.count {
            _ if self.number != now_ms.div_euclid(self.length_ms) => 0,
            Count::Exact(count) => *count,
            Count::Estimated(sketch) => sketch.estimate(),
        }
    }
}

impl Windows {
    pub(super) fn new(estimated: bool) -> Self {
        Windows { hour: Window::new(HOUR_MS, estimated), day: Window::new(DAY_MS, estimated) }
    }

    pub(super) fn count(&mut self, fingerprint: Fingerprint, now_ms: TimestampMs) {
        self.hour.add(fingerprint, now_ms);
        self.day.add(fingerprint, now_ms);
    }

    /// New series of this hour and of this day.
    pub(super) fn counts(&self, now_ms: TimestampMs) -> (u64, u64) {
        (self.hour.total(now_ms), self.day.total(now_ms))
    }

    /// Whether anything was counted today.
    pub(super) fn is_of_today(&self, now_ms: TimestampMs) -> bool {
        self.day.number == now_ms.div_euclid(DAY_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_days_begin_anew() {
        for estimated in [false, true] {
            let mut windows = Windows::new(estimated);
            let start = 20_000 * DAY_MS;
            for i in 0..4_u8 {
                let fingerprint = Fingerprint::of(&[i]);
                windows.count(fingerprint, start + i64::from(i) * HOUR_MS / 2);
            }
            assert_eq!(windows.counts(start + HOUR_MS), (2, 4));
            assert_eq!(windows.counts(start + 2 * HOUR_MS), (0, 4));
            assert_eq!(windows.counts(start + DAY_MS), (0, 0));
            assert!(windows.is_of_today(start) && !windows.is_of_today(start + DAY_MS));
        }
    }
}
