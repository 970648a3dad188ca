//! The histograms of one group of a `sum` or `avg`: one running state a step.

use tidemark_core::model::histogram::{
    FloatHistogram, IncompatibleLayouts, KahanHistogram, Reconciled,
};

use super::batch::Cell;
use super::histogram_sum::{HistogramMean, ReconciledOnce};
use super::notes::{NoteKind, Notes};
use crate::parser::ast::{AggregateOp, PosRange};

#[derive(Clone, Debug)]
enum Total {
    Sum(KahanHistogram),
    Mean(HistogramMean),
    /// Exponential and custom buckets met.
    Incompatible,
}

#[derive(Clone, Debug)]
struct Slot {
    total: Total,
    once: ReconciledOnce,
}

/// One slot a step; `None` where no histogram was seen.
#[derive(Clone, Debug)]
pub(super) struct HistogramColumn {
    op: AggregateOp,
    slots: Vec<Option<Slot>>,
}

impl HistogramColumn {
    pub(super) fn new(op: AggregateOp, steps: usize) -> Self {
        HistogramColumn { op, slots: vec![None; steps] }
    }

    /// Whether any histogram was seen at step `i`.
    pub(super) fn is_present(&self, i: usize) -> bool {
        self.slots[i].is_some()
    }

    /// Adds a histogram of a series of metric `metric`.
    pub(super) fn add(
        &mut self,
        i: usize,
        histogram: &FloatHistogram,
        metric: &str,
        pos: PosRange,
        notes: &mut Notes,
    ) {
        let Some(slot) = &mut self.slots[i] else {
            let first = histogram.clone();
            let total = match self.op {
                AggregateOp::Avg => Total::Mean(HistogramMean::new(first)),
                _ => Total::Sum(KahanHistogram::new(first)),
            };
            let mut once = ReconciledOnce::default();
            once.see(histogram);
            self.slots[i] = Some(Slot { total, once });
            return;
        };
        slot.once.see(histogram);
        let added = match &mut slot.total {
            Total::Sum(sum) => sum.add(histogram),
            Total::Mean(mean) => mean.add(histogram),
            Total::Incompatible => return,
        };
        slot.note(added, metric, pos, notes);
    }

    /// Takes over the column of the same group elsewhere.
    pub(super) fn merge(&mut self, other: HistogramColumn, pos: PosRange, notes: &mut Notes) {
        for (slot, theirs) in self.slots.iter_mut().zip(other.slots) {
            let (Some(ours), Some(theirs)) = (&mut *slot, &theirs) else {
                *slot = slot.take().or(theirs);
                continue;
            };
            ours.once.merge(theirs.once);
            let merged = match (&mut ours.total, &theirs.total) {
                (Total::Sum(a), Total::Sum(b)) => a.merge(b),
                (Total::Mean(a), Total::Mean(b)) => a.merge(b.clone()),
                _ => {
                    ours.total = Total::Incompatible;
                    continue;
                }
            };
            ours.note(merged, "", pos, notes);
        }
    }

    /// The result of step `i`.
    pub(super) fn finish(&mut self, i: usize, pos: PosRange, notes: &mut Notes) -> Cell {
        let Some(slot) = self.slots[i].take() else { return Cell::Absent };
        let mut value = match slot.total {
            Total::Sum(sum) => sum.value(),
            Total::Mean(mean) => mean.value(),
            Total::Incompatible => return Cell::Absent,
        };
        slot.once.note(notes, pos);
        value.compact();
        value.into()
    }
}

impl Slot {
    fn note(
        &mut self,
        added: Result<Reconciled, IncompatibleLayouts>,
        metric: &str,
        pos: PosRange,
        notes: &mut Notes,
    ) {
        if let Ok(reconciled) = added {
            self.once.reconciled(reconciled);
        } else {
            notes.add(NoteKind::MixedExponentialCustom, metric, pos);
            self.total = Total::Incompatible;
        }
    }
}
