//! The unit of work: series x steps.
//!
//! A [`Batch`] has one row a series; a row has one cell a step, in a column of floats. Validity is in-band: a cell that
//! is the staleness marker holds no sample. (No sample that reaches evaluation is one, and no operation gives one.) So a
//! row of floats is one allocation, and kernels are loops over slices that select by comparing bits. Histograms stand in
//! a second column that exists only where a row has any.
//!
//! ```text
//!                     step 0   step 1   step 2   step 3
//! {job="a"}  floats     1.0     absent    3.0      0.0
//!            histograms  -        -        -      {count:3 ...}
//! {job="b"}  floats     7.0      7.5     absent   8.0
//! ```

use std::sync::Arc;

use tidemark_core::model::histogram::FloatHistogram;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::sample::{STALE_NAN, is_stale};
use tidemark_core::model::time::TimestampMs;
use tidemark_core::runtime::sort_in_turns;

use crate::budget::Weight;

/// Bytes that a histogram takes for each of the samples that it weighs.
const HISTOGRAM_SAMPLE_BYTES: usize = 16;

/// What stands in a cell without sample.
pub const ABSENT: f64 = STALE_NAN;

/// The moments an expression is evaluated at: `count` of them, `interval_ms` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Steps {
    /// The first.
    pub start_ms: TimestampMs,
    /// Distance; positive.
    pub interval_ms: i64,
    /// How many; may be none.
    pub count: usize,
}

impl Steps {
    /// The moments from `start_ms` to `end_ms`, both included.
    pub fn new(start_ms: TimestampMs, end_ms: TimestampMs, interval_ms: i64) -> Self {
        debug_assert!(interval_ms > 0);
        let count = if end_ms < start_ms { 0 } else { (end_ms - start_ms) / interval_ms + 1 };
        Steps { start_ms, interval_ms, count: count as usize }
    }

    /// One moment.
    pub fn instant(t: TimestampMs) -> Self {
        Steps { start_ms: t, interval_ms: 1, count: 1 }
    }

    /// The first of them alone.
    pub fn first(self) -> Self {
        Steps { count: self.count.min(1), ..self }
    }

    /// The moment of step `i`.
    #[inline]
    pub fn at(self, i: usize) -> TimestampMs {
        self.start_ms + self.interval_ms * i as i64
    }

    /// The last moment; the first if there is none.
    pub fn end_ms(self) -> TimestampMs {
        self.at(self.count.saturating_sub(1))
    }

    /// All moments.
    pub fn iter(self) -> impl ExactSizeIterator<Item = TimestampMs> {
        (0..self.count).map(move |i| self.at(i))
    }
}

/// One cell, taken out.
#[derive(Clone, Debug)]
pub enum Cell {
    /// No sample.
    Absent,
    /// A float.
    Float(f64),
    /// A histogram.
    Histogram(Arc<FloatHistogram>),
}

impl From<FloatHistogram> for Cell {
    fn from(histogram: FloatHistogram) -> Self {
        Cell::Histogram(Arc::new(histogram))
    }
}

/// One cell, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum CellRef<'a> {
    /// No sample.
    Absent,
    /// A float.
    Float(f64),
    /// A histogram.
    Histogram(&'a Arc<FloatHistogram>),
}

/// The cells of one series.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    /// One a step; [`ABSENT`] where there is no sample, 0 where there is a histogram.
    floats: Vec<f64>,
    /// Empty, or one a step.
    histograms: Vec<Option<Arc<FloatHistogram>>>,
}

impl Cells {
    /// `count` cells without sample.
    pub fn absent(count: usize) -> Self {
        Cells { floats: vec![ABSENT; count], histograms: Vec::new() }
    }

    /// Cells of floats, [`ABSENT`] where there is none.
    pub fn from_floats(floats: Vec<f64>) -> Self {
        Cells { floats, histograms: Vec::new() }
    }

    /// How many cells.
    pub fn len(&self) -> usize {
        self.floats.len()
    }

    /// Whether there is no cell at all.
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty()
    }

    /// The float column; look at [`has_histograms`](Self::has_histograms) first.
    #[inline]
    pub fn floats(&self) -> &[f64] {
        &self.floats
    }

    /// The float column, to change cells that hold floats.
    #[inline]
    pub fn floats_mut(&mut self) -> &mut [f64] {
        &mut self.floats
    }

    /// Whether any cell may hold a histogram.
    #[inline]
    pub fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// Whether cell `i` holds a sample.
    #[inline]
    pub fn is_present(&self, i: usize) -> bool {
        !is_stale(self.floats[i])
    }

    /// How many cells hold a sample.
    pub fn count_present(&self) -> usize {
        self.floats.iter().filter(|v| !is_stale(**v)).count()
    }

    /// Whether any cell holds a sample.
    pub fn any_present(&self) -> bool {
        self.floats.iter().any(|v| !is_stale(*v))
    }

    /// How many float samples the cells weigh in a query's budget.
    pub fn sample_weight(&self) -> usize {
        let histograms = self.histograms.iter().flatten().map(|h| h.sample_weight()).sum::<usize>();
        self.count_present() + histograms
    }

    /// What the cells weigh in a query's budget.
    pub fn weight(&self) -> Weight {
        let samples = self.sample_weight();
        let bytes = self.floats.len() * size_of::<f64>();
        let histograms = if self.has_histograms() { samples * HISTOGRAM_SAMPLE_BYTES } else { 0 };
        Weight { samples, bytes: bytes + histograms }
    }

    /// Cell `i`.
    #[inline]
    pub fn get(&self, i: usize) -> CellRef<'_> {
        let float = self.floats[i];
        if is_stale(float) {
            return CellRef::Absent;
        }
        match self.histograms.get(i) {
            Some(Some(histogram)) => CellRef::Histogram(histogram),
            _ => CellRef::Float(float),
        }
    }

    /// A copy of cell `i`.
    pub fn take_ref(&self, i: usize) -> Cell {
        match self.get(i) {
            CellRef::Absent => Cell::Absent,
            CellRef::Float(v) => Cell::Float(v),
            CellRef::Histogram(h) => Cell::Histogram(Arc::clone(h)),
        }
    }

    /// Puts a sample into cell `i`, or removes the one there.
    #[inline]
    pub fn set(&mut self, i: usize, cell: Cell) {
        match cell {
            Cell::Absent => self.clear(i),
            Cell::Float(v) => self.set_float(i, v),
            Cell::Histogram(h) => self.set_histogram(i, h),
        }
    }

    /// Puts a float into cell `i`.
    #[inline]
    pub fn set_float(&mut self, i: usize, value: f64) {
        self.floats[i] = value;
        if let Some(slot) = self.histograms.get_mut(i) {
            *slot = None;
        }
    }

    /// Puts a histogram into cell `i`.
    pub fn set_histogram(&mut self, i: usize, histogram: Arc<FloatHistogram>) {
        if self.histograms.is_empty() {
            self.histograms.resize(self.floats.len(), None);
        }
        self.floats[i] = 0.0;
        self.histograms[i] = Some(histogram);
    }

    /// Removes the sample of cell `i`.
    #[inline]
    pub fn clear(&mut self, i: usize) {
        self.set_float(i, ABSENT);
    }

    /// Removes all histograms.
    pub fn clear_histograms(&mut self) {
        for (float, histogram) in self.floats.iter_mut().zip(&self.histograms) {
            if histogram.is_some() {
                *float = ABSENT;
            }
        }
        self.histograms.clear();
    }

    /// `count` copies of the first cell.
    pub fn repeated(&self, count: usize) -> Cells {
        let mut out = Cells::absent(count);
        match self.take_ref(0) {
            Cell::Absent => {}
            Cell::Float(v) => out.floats.fill(v),
            Cell::Histogram(h) => (0..count).for_each(|i| out.set_histogram(i, Arc::clone(&h))),
        }
        out
    }

    /// Takes over the samples of `other`, which must lie where this row has none; false if one does not.
    pub fn merge(&mut self, other: &Cells) -> bool {
        for i in 0..self.floats.len() {
            match (self.is_present(i), other.take_ref(i)) {
                (_, Cell::Absent) => {}
                (true, _) => return false,
                (false, cell) => self.set(i, cell),
            }
        }
        true
    }
}

/// One series of a batch.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its labels.
    pub labels: Labels,
    /// Whether the metric name (and type and unit) are still to be dropped, at the end of evaluation.
    pub drop_name: bool,
    /// Its samples.
    pub cells: Cells,
}

impl Row {
    /// What it weighs in a query's budget.
    pub fn weight(&self) -> Weight {
        let Weight { samples, bytes } = self.cells.weight();
        Weight { samples, bytes: bytes + self.labels.encoded().len() + size_of::<Row>() }
    }
}

/// The value of an instant vector at every step.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The moments.
    pub steps: Steps,
    /// The series, those without any sample left out.
    pub rows: Vec<Row>,
    /// Whether the order of the rows is part of the result (`sort`, `topk`), and not to be changed.
    pub ordered: bool,
}

impl Batch {
    /// No series.
    pub fn empty(steps: Steps) -> Self {
        Batch { steps, rows: Vec::new(), ordered: false }
    }

    /// Series in no particular order.
    pub fn new(steps: Steps, rows: Vec<Row>) -> Self {
        Batch { steps, rows, ordered: false }
    }

    /// What it weighs in a query's budget.
    pub fn weight(&self) -> Weight {
        let mut all = Weight::default();
        for row in &self.rows {
            let Weight { samples, bytes } = row.weight();
            all.samples += samples;
            all.bytes += bytes;
        }
        all
    }

    /// Forgets rows without any sample.
    pub fn drop_empty_rows(&mut self) {
        self.rows.retain(|row| row.cells.any_present());
    }

    /// Sorts the rows by labels, unless their order is part of the result.
    pub fn sort(&mut self) {
        if !self.ordered {
            self.rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
    }

    /// Sorts as [`sort`](Self::sort) does, with the core offered to others meanwhile: there may be millions of rows.
    pub async fn sort_in_turns(&mut self) {
        if self.ordered {
            return;
        }
        let labels = |i: usize| &self.rows[i].labels;
        let order = (0..self.rows.len()).collect();
        let order = sort_in_turns(order, |i, j| labels(i).cmp(labels(j))).await;
        let mut rows: Vec<_> = std::mem::take(&mut self.rows).into_iter().map(Some).collect();
        self.rows = order.into_iter().filter_map(|i| rows[i].take()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_both_ends() {
        assert_eq!(Steps::new(0, 60, 15).count, 5);
        assert_eq!(Steps::new(0, 59, 15).count, 4);
        assert_eq!(Steps::new(10, 0, 15).count, 0);
        assert_eq!(Steps::new(0, 59, 15).end_ms(), 45);
        assert_eq!(Steps::instant(7).iter().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn cells_hold_floats_histograms_or_nothing() {
        let mut cells = Cells::absent(3);
        cells.set_float(0, f64::NAN);
        cells.set(1, FloatHistogram { count: 2.0, ..Default::default() }.into());
        assert_eq!((cells.count_present(), cells.is_present(2)), (2, false));
        assert!(matches!(cells.get(0), CellRef::Float(v) if v.is_nan()));
        assert!(matches!(cells.get(1), CellRef::Histogram(h) if h.count == 2.0));
        let mut other = Cells::absent(3);
        other.set_float(2, 1.0);
        assert!(cells.merge(&other));
        assert!(!cells.merge(&other));
        cells.clear_histograms();
        assert_eq!(cells.count_present(), 2);
        assert_eq!(other.repeated(2).count_present(), 0);
    }
}
