//! Decoded samples of one series in columns: what the storage engine hands to evaluation.

use super::time::TimestampMs;

/// Samples in ascending order of time, column by column.
///
/// `values` is as long as `timestamps`. Reading appends, so that one allocation serves many series.
#[derive(Clone, Debug, Default)]
pub struct SampleColumns {
    /// When, in ms; strictly ascending.
    pub timestamps: Vec<TimestampMs>,
    /// What; staleness markers included, every NaN payload kept.
    pub values: Vec<f64>,
}

impl SampleColumns {
    /// No samples.
    pub fn new() -> Self {
        SampleColumns::default()
    }

    /// How many samples.
    #[inline]
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Adds one float sample.
    #[inline]
    pub fn push(&mut self, timestamp_ms: TimestampMs, value: f64) {
        self.timestamps.push(timestamp_ms);
        self.values.push(value);
    }

    /// Removes the samples and keeps the allocations.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Keeps the first `len` samples.
    pub fn truncate(&mut self, len: usize) {
        self.timestamps.truncate(len);
        self.values.truncate(len);
    }
}
