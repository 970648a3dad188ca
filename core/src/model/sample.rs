//! One float sample, and the two NaNs that have a meaning.

use super::time::TimestampMs;

/// Bits of the NaN that says "this series ended here" (Prometheus' `StaleNaN`).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Bits of the NaN that arithmetic and parsers produce (Prometheus' `NormalNaN`).
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// The staleness marker as a value.
pub const STALE_NAN: f64 = f64::from_bits(STALE_NAN_BITS);

/// Whether `v` is the staleness marker; bit-exact, since every NaN compares unequal to itself.
#[inline]
pub fn is_stale(v: f64) -> bool {
    v.to_bits() == STALE_NAN_BITS
}

/// A value at a time.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When.
    pub timestamp_ms: TimestampMs,
    /// What; every bit pattern is kept, NaN payloads included.
    pub value: f64,
}

impl PartialEq for Sample {
    /// Bit-exact, so that NaNs equal themselves.
    fn eq(&self, other: &Self) -> bool {
        self.timestamp_ms == other.timestamp_ms && self.value.to_bits() == other.value.to_bits()
    }
}
