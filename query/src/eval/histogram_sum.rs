//! Sums and means of histograms, as `sum`, `avg` and their `*_over_time` need them, and what is noted on the way.

use tidemark_core::model::histogram::{
    FloatHistogram, IncompatibleLayouts, KahanHistogram, Reconciled, ResetHint,
};

use super::notes::{NoteKind, Notes};
use crate::parser::ast::PosRange;

/// Collects over many additions what is noted once.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReconciledOnce {
    reset: bool,
    not_reset: bool,
    bounds: bool,
}

impl ReconciledOnce {
    /// A histogram takes part.
    pub fn see(&mut self, histogram: &FloatHistogram) {
        self.reset |= histogram.hint == ResetHint::Reset;
        self.not_reset |= histogram.hint == ResetHint::NotReset;
    }

    /// It was added.
    pub fn reconciled(&mut self, reconciled: Reconciled) {
        self.bounds |= reconciled.bounds;
    }

    /// Takes over what another part saw.
    pub fn merge(&mut self, other: ReconciledOnce) {
        self.reset |= other.reset;
        self.not_reset |= other.not_reset;
        self.bounds |= other.bounds;
    }

    /// Notes it.
    pub fn note(self, notes: &mut Notes, pos: PosRange) {
        if self.reset && self.not_reset {
            notes.add(NoteKind::ResetCollision, "aggregation", pos);
        }
        if self.bounds {
            notes.add(NoteKind::MismatchedBounds, "aggregation", pos);
        }
    }
}

/// The mean of histograms: their sum, divided in the end, unless it overflows; then the mean is carried along.
#[derive(Clone, Debug)]
pub struct HistogramMean {
    /// The sum, or the mean so far.
    total: KahanHistogram,
    count: f64,
    incremental: bool,
}

impl HistogramMean {
    /// The mean of one.
    pub fn new(first: FloatHistogram) -> Self {
        HistogramMean { total: KahanHistogram::new(first), count: 1.0, incremental: false }
    }

    /// Adds one.
    pub fn add(&mut self, next: &FloatHistogram) -> Result<Reconciled, IncompatibleLayouts> {
        self.count += 1.0;
        if !self.incremental {
            let mut sum = self.total.clone();
            let reconciled = sum.add(next)?;
            if !sum.rounded().has_overflow() {
                self.total = sum;
                return Ok(reconciled);
            }
            self.make_incremental(self.count - 1.0);
        }
        self.total.scale((self.count - 1.0) / self.count);
        let mut part = next.clone();
        part.divide(self.count);
        self.total.add(&part)
    }

    fn make_incremental(&mut self, count: f64) {
        if !self.incremental {
            self.incremental = true;
            self.total.divide(count);
        }
    }

    /// Takes over another mean.
    pub fn merge(&mut self, mut other: HistogramMean) -> Result<Reconciled, IncompatibleLayouts> {
        let count = self.count + other.count;
        if !self.incremental && !other.incremental {
            let mut sum = self.total.clone();
            let reconciled = sum.merge(&other.total)?;
            if !sum.rounded().has_overflow() {
                self.total = sum;
                self.count = count;
                return Ok(reconciled);
            }
        }
        self.make_incremental(self.count);
        other.make_incremental(other.count);
        self.total.scale(self.count / count);
        other.total.scale(other.count / count);
        self.count = count;
        self.total.merge(&other.total)
    }

    /// The mean.
    pub fn value(mut self) -> FloatHistogram {
        if !self.incremental {
            self.total.divide(self.count);
        }
        self.total.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(count: f64) -> FloatHistogram {
        let positive = [(1, count)].into_iter().collect();
        FloatHistogram { count, sum: count, positive, ..Default::default() }
    }

    #[test]
    fn means_survive_overflow_and_merging() {
        let mut mean = HistogramMean::new(histogram(f64::MAX));
        mean.add(&histogram(f64::MAX)).unwrap();
        assert_eq!(mean.clone().value().count, f64::MAX);
        let mut other = HistogramMean::new(histogram(2.0));
        other.add(&histogram(4.0)).unwrap();
        assert_eq!(other.clone().value().count, 3.0);
        other.merge(HistogramMean::new(histogram(9.0))).unwrap();
        assert_eq!(other.clone().value().positive.counts(), [5.0]);
        mean.merge(other).unwrap();
        assert!(mean.value().count.is_finite());
    }
}
