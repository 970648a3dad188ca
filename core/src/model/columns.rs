//! Decoded samples of one series in columns: what the storage engine hands to evaluation.

use std::ops::Range;
use std::sync::Arc;

use super::histogram::FloatHistogram;
use super::time::TimestampMs;

/// Samples in ascending order of time, column by column.
///
/// `values` is as long as `timestamps`. The two optional columns are empty, or as long as the others: they cost nothing
/// where a series has only floats and nobody has told their start. Reading appends, so that one allocation serves many
/// series.
#[derive(Clone, Debug, Default)]
pub struct SampleColumns {
    /// When, in ms; strictly ascending.
    pub timestamps: Vec<TimestampMs>,
    /// What; staleness markers included, every NaN payload kept. Of a histogram, its sum.
    pub values: Vec<f64>,
    /// The histogram, where the sample is one.
    pub histograms: Vec<Option<Arc<FloatHistogram>>>,
    /// When the counter began to count, in ms; 0 where unknown.
    pub start_timestamps: Vec<TimestampMs>,
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
        if !self.histograms.is_empty() {
            self.histograms.push(None);
        }
        if !self.start_timestamps.is_empty() {
            self.start_timestamps.push(0);
        }
    }

    /// Adds one histogram sample.
    pub fn push_histogram(&mut self, timestamp_ms: TimestampMs, histogram: Arc<FloatHistogram>) {
        self.histograms.resize(self.timestamps.len(), None);
        self.timestamps.push(timestamp_ms);
        self.values.push(histogram.sum);
        self.histograms.push(Some(histogram));
        if !self.start_timestamps.is_empty() {
            self.start_timestamps.push(0);
        }
    }

    /// Sets the start timestamp of the sample pushed last.
    pub fn set_start_timestamp(&mut self, start_timestamp_ms: TimestampMs) {
        if start_timestamp_ms != 0 || !self.start_timestamps.is_empty() {
            self.start_timestamps.resize(self.timestamps.len(), 0);
            if let Some(last) = self.start_timestamps.last_mut() {
                *last = start_timestamp_ms;
            }
        }
    }

    /// Adds the samples of `other`, which are all later.
    pub fn extend_from(&mut self, other: &SampleColumns) {
        let (before, after) = (self.len(), self.len() + other.len());
        self.timestamps.extend_from_slice(&other.timestamps);
        self.values.extend_from_slice(&other.values);
        extend_optional(&mut self.histograms, &other.histograms, before, after);
        extend_optional(&mut self.start_timestamps, &other.start_timestamps, before, after);
    }

    /// Merges the samples of `other`, in the order of time, into those from number `from` on. Where both have a sample at one
    /// time, the one that is here already stays.
    pub fn merge_from(&mut self, from: usize, other: &SampleColumns) {
        let (last, first) = (self.timestamps[from..].last(), other.timestamps.first());
        let follows = last.zip(first).is_none_or(|(last, first)| last < first);
        if follows {
            return self.extend_from(other);
        }
        let merged = self.split_off(from).merged(other);
        self.extend_from(&merged);
    }

    /// Adds `count` floats of 0 at time 0, and lends their times and values to be set.
    pub(crate) fn extend_zeroed(&mut self, count: usize) -> (&mut [TimestampMs], &mut [f64]) {
        let (before, after) = (self.len(), self.len() + count);
        self.timestamps.resize(after, 0);
        self.values.resize(after, 0.0);
        if !self.histograms.is_empty() {
            self.histograms.resize(after, None);
        }
        if !self.start_timestamps.is_empty() {
            self.start_timestamps.resize(after, 0);
        }
        (&mut self.timestamps[before..], &mut self.values[before..])
    }

    /// Merges the samples from number `middle` on into those from number `from` to there; both are in the order of time. Where
    /// both have a sample at one time, the first stays.
    pub fn merge_tail(&mut self, from: usize, middle: usize) {
        let follows = match (self.timestamps[from..middle].last(), self.timestamps.get(middle)) {
            (Some(last), Some(first)) => last < first,
            _ => true,
        };
        if !follows {
            let tail = self.split_off(middle);
            self.merge_from(from, &tail);
        }
    }

    /// Removes the samples at these places.
    pub(crate) fn remove(&mut self, places: Range<usize>) {
        self.timestamps.drain(places.clone());
        self.values.drain(places.clone());
        if !self.histograms.is_empty() {
            self.histograms.drain(places.clone());
        }
        if !self.start_timestamps.is_empty() {
            self.start_timestamps.drain(places);
        }
    }

    /// Adds sample `i` of `other`, which is later than all.
    fn push_from(&mut self, other: &SampleColumns, i: usize) {
        match other.histograms.get(i).and_then(Option::as_ref) {
            Some(histogram) => self.push_histogram(other.timestamps[i], Arc::clone(histogram)),
            None => self.push(other.timestamps[i], other.values[i]),
        }
        self.set_start_timestamp(other.start_timestamps.get(i).copied().unwrap_or(0));
    }

    /// The samples of both in the order of time; where both have one, that of `self`.
    pub fn merged(&self, other: &SampleColumns) -> SampleColumns {
        let mut out = SampleColumns::new();
        let (mut mine, mut theirs) = (0, 0);
        loop {
            let times = (self.timestamps.get(mine), other.timestamps.get(theirs));
            match times {
                (Some(a), b) if b.is_none_or(|b| a <= b) => {
                    theirs += usize::from(b == Some(a));
                    out.push_from(self, mine);
                    mine += 1;
                }
                (_, Some(_)) => {
                    out.push_from(other, theirs);
                    theirs += 1;
                }
                _ => return out,
            }
        }
    }

    /// Takes the samples from number `at` on away.
    pub fn split_off(&mut self, at: usize) -> SampleColumns {
        SampleColumns {
            timestamps: self.timestamps.split_off(at),
            values: self.values.split_off(at),
            histograms: self.histograms.split_off(at.min(self.histograms.len())),
            start_timestamps: self.start_timestamps.split_off(at.min(self.start_timestamps.len())),
        }
    }

    /// Of the samples from number `from` on, keeps those whose time `keep` says yes to.
    pub fn retain_from(&mut self, from: usize, keep: impl Fn(TimestampMs) -> bool) {
        if self.timestamps[from..].iter().all(|t| keep(*t)) {
            return;
        }
        let all = self.split_off(from);
        for i in (0..all.len()).filter(|&i| keep(all.timestamps[i])) {
            self.push_from(&all, i);
        }
    }

    /// Removes the samples and keeps the allocations.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Keeps the first `len` samples.
    pub fn truncate(&mut self, len: usize) {
        self.timestamps.truncate(len);
        self.values.truncate(len);
        self.histograms.truncate(len);
        self.start_timestamps.truncate(len);
    }
}

/// Joins two columns each of which may be left out.
fn extend_optional<T: Clone + Default>(
    mine: &mut Vec<T>,
    other: &[T],
    before: usize,
    after: usize,
) {
    if !mine.is_empty() || !other.is_empty() {
        mine.resize(before, T::default());
        mine.extend_from_slice(other);
        mine.resize(after, T::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_merge_split_and_lose_samples() {
        let columns = |samples: &[(i64, f64)]| {
            let mut columns = SampleColumns::new();
            for (t, v) in samples {
                columns.push(*t, *v);
            }
            columns
        };
        let mut merged = columns(&[(1, 1.0), (3, 3.0), (9, 9.0)]).merged(&columns(&[
            (0, 0.5),
            (3, -3.0),
            (4, 4.0),
            (10, 10.0),
        ]));
        assert_eq!(merged.timestamps, [0, 1, 3, 4, 9, 10]);
        assert_eq!(merged.values, [0.5, 1.0, 3.0, 4.0, 9.0, 10.0]);
        merged.set_start_timestamp(7);
        merged.retain_from(2, |t| t != 4);
        assert_eq!(merged.timestamps, [0, 1, 3, 9, 10]);
        assert_eq!(merged.start_timestamps, [0, 0, 0, 0, 7]);
        let rest = merged.split_off(3);
        assert_eq!((merged.values, rest.values), (vec![0.5, 1.0, 3.0], vec![9.0, 10.0]));
        assert_eq!(rest.start_timestamps, [0, 7]);
    }

    #[test]
    fn optional_columns_are_empty_or_whole() {
        let mut columns = SampleColumns::new();
        columns.push(1, 1.0);
        assert!(columns.histograms.is_empty() && columns.start_timestamps.is_empty());
        columns.push_histogram(2, Arc::new(FloatHistogram { sum: 7.0, ..Default::default() }));
        columns.set_start_timestamp(1);
        columns.push(3, 3.0);
        assert_eq!(columns.values, [1.0, 7.0, 3.0]);
        assert_eq!(columns.start_timestamps, [0, 1, 0]);
        let kinds: Vec<_> = columns.histograms.iter().map(Option::is_some).collect();
        assert_eq!(kinds, [false, true, false]);
        let mut floats = SampleColumns::new();
        floats.push(0, 0.5);
        floats.extend_from(&columns);
        assert_eq!(floats.timestamps, [0, 1, 2, 3]);
        assert_eq!(floats.start_timestamps, [0, 0, 1, 0]);
        assert!(floats.histograms[2].is_some() && floats.histograms.len() == 4);
        let mut merged = SampleColumns::new();
        merged.push(9, 9.0);
        merged.push(2, -2.0);
        merged.push(4, -4.0);
        merged.merge_from(1, &columns);
        assert_eq!(merged.timestamps, [9, 1, 2, 3, 4]);
        assert_eq!(merged.values, [9.0, 1.0, -2.0, 3.0, -4.0]);
        assert!(merged.histograms.is_empty() && merged.start_timestamps.is_empty());
        merged.merge_tail(1, 3);
        merged.push(2, 7.0);
        merged.push(7, 7.0);
        merged.merge_tail(1, 5);
        assert_eq!(merged.timestamps, [9, 1, 2, 3, 4, 7]);
        assert_eq!(merged.values, [9.0, 1.0, -2.0, 3.0, -4.0, 7.0]);
        columns.clear();
        assert!(columns.is_empty() && columns.histograms.is_empty());
    }
}
