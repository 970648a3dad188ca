//! Time on the wire and on disk: signed milliseconds since the Unix epoch, as in Prometheus.

/// Milliseconds since 1970-01-01T00:00:00Z; negative before it.
pub type TimestampMs = i64;

/// A closed interval of time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// First millisecond inside.
    pub start_ms: TimestampMs,
    /// Last millisecond inside.
    pub end_ms: TimestampMs,
}

impl TimeRange {
    /// Everything.
    pub const ALL: TimeRange = TimeRange { start_ms: i64::MIN, end_ms: i64::MAX };

    /// The interval from `start_ms` to `end_ms`, both included.
    pub fn new(start_ms: TimestampMs, end_ms: TimestampMs) -> Self {
        TimeRange { start_ms, end_ms }
    }

    /// From its first to its last millisecond, in ms.
    pub fn len_ms(self) -> i64 {
        self.end_ms.saturating_sub(self.start_ms)
    }

    /// Whether `t` lies inside.
    pub fn contains(self, t: TimestampMs) -> bool {
        self.start_ms <= t && t <= self.end_ms
    }

    /// Whether any millisecond lies in both.
    pub fn overlaps(self, other: TimeRange) -> bool {
        self.start_ms <= other.end_ms && other.start_ms <= self.end_ms
    }
}
