//! Sliding windows over the decoded samples of one series.
//!
//! The samples of a series are split once into a float column and a histogram column, without staleness markers. For
//! each step the window `(end - range, end]` is a pair of indexes into each that only move forward; a kernel
//! (`functions::{rate, over_time, predict}`) sees the slices between and gives one cell. Extended windows (`anchored`,
//! `smoothed`) hold one lookback more to the left, and to the right.

use std::sync::Arc;

use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::histogram::{FloatHistogram, ResetHint};
use tidemark_core::model::sample::is_stale;
use tidemark_core::model::time::TimestampMs;

use super::batch::{CellRef, Cells, Steps};
use super::notes::Notes;
use crate::functions::Windows;
use crate::parser::ast::{EdgeMode, PosRange};

/// One kind of sample of a series in columns.
#[derive(Clone, Debug, Default)]
pub struct Column<T> {
    /// When, ascending.
    pub timestamps: Vec<TimestampMs>,
    /// What.
    pub values: Vec<T>,
    /// Start timestamps, or empty.
    pub starts: Vec<TimestampMs>,
}

impl<T> Column<T> {
    fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
        self.starts.clear();
    }

    fn push(&mut self, timestamp: TimestampMs, value: T, start: Option<TimestampMs>) {
        self.timestamps.push(timestamp);
        self.values.push(value);
        self.starts.extend(start);
    }

    fn slice(&self, from: usize, to: usize) -> Slice<'_, T> {
        Slice {
            t: &self.timestamps[from..to],
            v: &self.values[from..to],
            starts: self.starts.get(from..to).unwrap_or_default(),
        }
    }
}

/// The samples of one kind inside one window.
#[derive(Debug)]
pub struct Slice<'a, T> {
    /// When, ascending.
    pub t: &'a [TimestampMs],
    /// What.
    pub v: &'a [T],
    /// Start timestamps; empty if none is known or wanted.
    pub starts: &'a [TimestampMs],
}

impl<T> Clone for Slice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slice<'_, T> {}

impl<T> Slice<'_, T> {
    /// How many.
    #[inline]
    pub fn len(&self) -> usize {
        self.v.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.v.is_empty()
    }

    /// The start timestamp of sample `i`; 0 if unknown.
    #[inline]
    pub fn start(&self, i: usize) -> TimestampMs {
        self.starts.get(i).copied().unwrap_or(0)
    }
}

/// The samples of one series, split by kind, without staleness markers.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Float samples.
    pub floats: Column<f64>,
    /// Histogram samples.
    pub histograms: Column<Arc<FloatHistogram>>,
}

impl Samples {
    /// Takes over what was read from storage, which may be left empty. Start timestamps are kept only if wanted.
    pub fn take_columns(&mut self, columns: &mut SampleColumns, with_starts: bool) {
        self.clear();
        if columns.histograms.is_empty() && !any_stale(&columns.values) {
            std::mem::swap(&mut self.floats.timestamps, &mut columns.timestamps);
            std::mem::swap(&mut self.floats.values, &mut columns.values);
            if with_starts {
                std::mem::swap(&mut self.floats.starts, &mut columns.start_timestamps);
            }
            columns.clear();
            return;
        }
        for (i, (&t, &v)) in columns.timestamps.iter().zip(&columns.values).enumerate() {
            if is_stale(v) {
                continue;
            }
            let start = columns.start_timestamps.get(i).copied().filter(|_| with_starts);
            match columns.histograms.get(i) {
                Some(Some(h)) => self.histograms.push(t, Arc::clone(h), start),
                _ => self.floats.push(t, v, start),
            }
        }
    }

    /// Takes over the result of a subquery. What is known of counter resets there does not hold for the steps that were
    /// picked, so it is forgotten.
    pub fn fill_from_cells(&mut self, steps: Steps, cells: &Cells) {
        self.clear();
        for i in 0..steps.count {
            match cells.get(i) {
                CellRef::Absent => {}
                CellRef::Float(v) => self.floats.push(steps.at(i), v, None),
                CellRef::Histogram(h) => {
                    let mut h = Arc::clone(h);
                    if matches!(h.hint, ResetHint::Reset | ResetHint::NotReset) {
                        Arc::make_mut(&mut h).hint = ResetHint::Unknown;
                    }
                    self.histograms.push(steps.at(i), h, None);
                }
            }
        }
    }

    fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
    }
}

/// Whether any value is a staleness marker. Values are looked at in blocks, without a branch for each.
fn any_stale(values: &[f64]) -> bool {
    const BLOCK: usize = 64;
    values.chunks(BLOCK).any(|block| block.iter().fold(false, |any, v| any | is_stale(*v)))
}

/// Whether no value is smaller than the one before.
fn is_rising(values: &[f64]) -> bool {
    !values.iter().zip(values.iter().skip(1)).any(|(a, b)| b < a)
}

/// Which window belongs to a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowSpec {
    /// Length.
    pub range_ms: i64,
    /// How far back its end lies from the step.
    pub offset_ms: i64,
    /// Where it ends, before the offset, whatever the step.
    pub at_ms: Option<TimestampMs>,
    /// What happens at its edges.
    pub edges: EdgeMode,
    /// How far extended windows look beyond their edges.
    pub lookback_ms: i64,
}

impl WindowSpec {
    /// The end of the window of a step.
    #[inline]
    pub fn end(&self, step_ms: TimestampMs) -> TimestampMs {
        self.at_ms.unwrap_or(step_ms).saturating_sub(self.offset_ms)
    }

    /// First and last millisecond of which samples are seen for a window that ends at `end`; the first is outside.
    #[inline]
    pub fn reach(&self, end: TimestampMs) -> (TimestampMs, TimestampMs) {
        let start = end.saturating_sub(self.range_ms);
        match self.edges {
            EdgeMode::Plain => (start, end),
            EdgeMode::Anchored => (start.saturating_sub(self.lookback_ms), end),
            EdgeMode::Smoothed => {
                (start.saturating_sub(self.lookback_ms), end.saturating_add(self.lookback_ms))
            }
        }
    }
}

/// What a kernel sees of one series at one step.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Float samples inside.
    pub floats: Slice<'a, f64>,
    /// Histogram samples inside.
    pub histograms: Slice<'a, Arc<FloatHistogram>>,
    /// Where it begins; a sample exactly there is outside.
    pub start_ms: TimestampMs,
    /// Where it ends; a sample exactly there is inside.
    pub end_ms: TimestampMs,
    /// The step it is evaluated at.
    pub step_ms: TimestampMs,
    /// Number of the step.
    pub step: usize,
    /// Its edges.
    pub edges: EdgeMode,
    /// No float of the series is smaller than the one before.
    pub rising: bool,
}

impl Window<'_> {
    /// Its length in seconds.
    #[inline]
    pub fn range_seconds(&self) -> f64 {
        (self.end_ms - self.start_ms) as f64 / 1000.0
    }
}

/// What kernels note, and of what.
pub struct KernelContext<'a> {
    /// Where annotations go.
    pub notes: &'a mut Notes,
    /// The name of the metric, or empty.
    pub metric: &'a str,
    /// Where the range vector stands in the query.
    pub pos: PosRange,
    /// Scalar arguments, one column each.
    pub args: &'a [Arc<[f64]>],
    /// What is used again for the next series.
    pub scratch: &'a mut KernelScratch,
}

/// What kernels keep from one series to the next.
#[derive(Debug, Default)]
pub struct KernelScratch {
    /// Room for those that sort.
    pub values: Vec<f64>,
    /// Where the windows of the last series lie.
    pub windows: Windows,
}

/// Calls `kernel` for the window of each step that holds any sample. Returns how many there were.
#[inline]
pub fn slide(
    samples: &Samples,
    spec: &WindowSpec,
    steps: Steps,
    mut kernel: impl FnMut(&Window<'_>),
) -> Seen {
    let mut seen = Seen::default();
    let (mut floats, mut histograms) = (Span::default(), Span::default());
    let rising = is_rising(&samples.floats.values);
    for (step, step_ms) in steps.iter().enumerate() {
        let end_ms = spec.end(step_ms);
        let reach = spec.reach(end_ms);
        floats.advance(&samples.floats.timestamps, reach);
        histograms.advance(&samples.histograms.timestamps, reach);
        if floats.is_empty() && histograms.is_empty() {
            continue;
        }
        seen.count(floats.len() + histograms.len());
        kernel(&Window {
            floats: samples.floats.slice(floats.from, floats.to),
            histograms: samples.histograms.slice(histograms.from, histograms.to),
            start_ms: end_ms.saturating_sub(spec.range_ms),
            end_ms,
            step_ms,
            step,
            edges: spec.edges,
            rising,
        });
    }
    seen
}

/// Adds how many samples each window holds to `counts`, one number a step.
pub fn count_windows(samples: &Samples, spec: &WindowSpec, steps: Steps, counts: &mut [u64]) {
    slide(samples, spec, steps, |w| {
        let histograms = w.histograms.v.iter().map(|h| h.sample_weight()).sum::<usize>();
        counts[w.step] += (w.floats.len() + histograms) as u64;
    });
}

/// How many samples kernels have seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Most in any window.
    pub widest: usize,
    /// In all windows; a sample in several counts in each.
    pub total: usize,
}

impl Seen {
    /// Counts one window of so many samples.
    #[inline]
    pub fn count(&mut self, inside: usize) {
        self.widest = self.widest.max(inside);
        self.total += inside;
    }
}

/// A place among samples that only moves forward, mostly as far as it did the last time: both samples and steps come at regular
/// times, so that next to none of the samples between are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    /// The first sample that is later than the moment it was moved to.
    pub(crate) at: usize,
    stride: usize,
}

impl Cursor {
    /// Moves behind the last sample that is not later than `t`.
    #[inline]
    pub(crate) fn move_behind(&mut self, timestamps: &[TimestampMs], t: TimestampMs) {
        let before = self.at;
        let mut at = (before + self.stride).min(timestamps.len());
        while at > before && timestamps[at - 1] > t {
            at -= 1;
        }
        while at < timestamps.len() && timestamps[at] <= t {
            at += 1;
        }
        (self.at, self.stride) = (at, at - before);
    }
}

/// The samples of a window that only moves forward.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    /// The first sample inside.
    pub(crate) from: usize,
    /// The first sample after it.
    pub(crate) to: usize,
    start: Cursor,
    end: Cursor,
}

impl Span {
    /// To the samples after `reach.0`, up to and including `reach.1`.
    #[inline]
    pub(crate) fn advance(
        &mut self,
        timestamps: &[TimestampMs],
        reach: (TimestampMs, TimestampMs),
    ) {
        self.start.move_behind(timestamps, reach.0);
        self.end.move_behind(timestamps, reach.1);
        self.from = self.start.at;
        self.to = self.end.at.max(self.from);
    }

    pub(crate) fn len(self) -> usize {
        self.to - self.from
    }

    pub(crate) fn is_empty(self) -> bool {
        self.from == self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_open_on_the_left() {
        let mut columns = SampleColumns::new();
        for t in 0..10 {
            columns.push(t * 10, t as f64);
        }
        let mut samples = Samples::default();
        samples.take_columns(&mut columns, false);
        let spec = WindowSpec {
            range_ms: 20,
            offset_ms: 10,
            at_ms: None,
            edges: EdgeMode::Plain,
            lookback_ms: 0,
        };
        let mut seen = Vec::new();
        slide(&samples, &spec, Steps::new(30, 130, 25), |w| {
            seen.push((w.step, w.floats.v.to_vec()));
        });
        assert_eq!(
            seen,
            [(0, vec![1.0, 2.0]), (1, vec![3.0, 4.0]), (2, vec![6.0, 7.0]), (3, vec![8.0, 9.0])]
        );
    }

    #[test]
    fn staleness_markers_are_not_seen() {
        let mut columns = SampleColumns::new();
        columns.push(1, 1.0);
        columns.push(2, super::super::batch::ABSENT);
        columns.push_histogram(3, Arc::new(FloatHistogram::default()));
        let mut samples = Samples::default();
        samples.take_columns(&mut columns, false);
        assert_eq!(samples.floats.timestamps, [1]);
        assert_eq!(samples.histograms.timestamps, [3]);
    }
}
