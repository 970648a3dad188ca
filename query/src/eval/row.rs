//! One series through a row plan: from decoded samples to a row of cells.
//!
//! This is the inner loop of every query. It runs on the shard that owns the series, knows nothing of other series, and
//! reuses its buffers from one series to the next.

use std::sync::Arc;

use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::sample::is_stale;

use super::batch::{ABSENT, Cell, CellRef, Cells, Steps};
use super::binary_op::{self, Operand};
use super::notes::{NoteKind, Notes};
use super::smooth;
use super::window::{Cursor, KernelContext, KernelScratch, Samples, Seen, count_windows};
use crate::functions::signature::Function;
use crate::functions::{math, over_windows};
use crate::parser::ast::PosRange;
use crate::plan::node::{CellFunction, Take};
use crate::plan::split::{RowExpr, RowPlan, Scalars};

/// Settings of the engine that change what a row holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowOptions {
    /// Metric names are dropped at the end of evaluation.
    pub delayed_name_removal: bool,
    /// Start timestamps are looked at.
    pub use_start_timestamps: bool,
    /// The type of a metric is told by its `__type__` label.
    pub type_and_unit_labels: bool,
}

/// Buffers that live as long as a fragment runs.
#[derive(Debug, Default)]
pub struct RowScratch {
    samples: Samples,
    kernel: KernelScratch,
    seen: Seen,
    /// Samples looked at at each step by all series so far, if that is wanted.
    step_counts: Option<Vec<u64>>,
}

impl RowScratch {
    /// Buffers; with steps, the samples that each of them looks at are counted.
    pub fn new(counted: Option<Steps>) -> Self {
        let step_counts = counted.map(|steps| vec![0; steps.count]);
        RowScratch { step_counts, ..RowScratch::default() }
    }

    /// The samples that each step has looked at; empty if they were not counted.
    pub fn take_step_counts(&mut self) -> Vec<u64> {
        self.step_counts.take().unwrap_or_default()
    }

    /// Does something that has other steps; gives what it gives and how many samples it looked at.
    fn nested<T>(&mut self, steps: Steps, evaluate: impl FnOnce(&mut Self) -> T) -> (T, usize) {
        let counts = self.step_counts.as_ref().map(|_| vec![0; steps.count]);
        let outer = std::mem::replace(&mut self.step_counts, counts);
        let before = self.seen.total;
        let value = evaluate(self);
        self.step_counts = outer;
        (value, self.seen.total - before)
    }

    /// How many samples were looked at since the last call.
    pub fn take_seen(&mut self) -> Seen {
        std::mem::take(&mut self.seen)
    }
}

/// What a row is made from.
pub struct RowInput<'a> {
    /// The labels of the series.
    pub labels: &'a Labels,
    /// Its samples; who evaluates may take them.
    pub columns: &'a mut SampleColumns,
    /// What the window function that looks at samples gives, if that is known without them.
    pub told: Option<(Cells, Seen)>,
    /// Settings.
    pub options: RowOptions,
}

/// Computes the row of one series.
pub fn evaluate(
    plan: &RowPlan,
    input: &mut RowInput<'_>,
    scratch: &mut RowScratch,
    notes: &mut Notes,
) -> Cells {
    expr(&plan.expr, plan.steps, input, scratch, notes)
}

fn expr(
    row: &RowExpr,
    steps: Steps,
    input: &mut RowInput<'_>,
    scratch: &mut RowScratch,
    notes: &mut Notes,
) -> Cells {
    match row {
        RowExpr::Newest { offset_ms, at_ms, lookback_ms, take, smoothed, pos } => {
            let newest = Newest { offset_ms: *offset_ms, at_ms: *at_ms, lookback_ms: *lookback_ms };
            if *smoothed && *take == Take::Value {
                return smooth::evaluate(newest, steps, input, *pos, notes);
            }
            let cells = newest.evaluate(steps, input, *take);
            scratch.seen.total += cells.sample_weight();
            if let Some(counts) = &mut scratch.step_counts {
                for (i, count) in counts.iter_mut().enumerate() {
                    *count += match cells.get(i) {
                        CellRef::Absent => 0,
                        CellRef::Float(_) => 1,
                        CellRef::Histogram(h) => h.sample_weight() as u64,
                    };
                }
            }
            cells
        }
        RowExpr::Window { function, spec, args, subquery, pos } => {
            let mut metric = input.labels.metric_name();
            let mut told = None;
            if let Some(inner) = subquery {
                let evaluate = |scratch: &mut RowScratch| evaluate(inner, input, scratch, notes);
                let (cells, seen) = scratch.nested(inner.steps, evaluate);
                if let Some(last) = scratch.step_counts.as_mut().and_then(|c| c.last_mut()) {
                    *last += seen as u64;
                }
                scratch.samples.fill_from_cells(inner.steps, &cells);
                if inner.drops_name() && !input.options.delayed_name_removal {
                    metric = "";
                }
            } else if input.told.is_some() {
                told = input.told.take();
            } else {
                let starts =
                    input.options.use_start_timestamps && crate::functions::uses_starts(*function);
                scratch.samples.take_columns(input.columns, starts);
            }
            let mut cx =
                KernelContext { notes, metric, pos: *pos, args, scratch: &mut scratch.kernel };
            let (cells, seen) = told
                .or_else(|| over_windows(*function, &scratch.samples, spec, steps, &mut cx))
                .unwrap_or_else(|| (Cells::absent(steps.count), Seen::default()));
            scratch.seen.widest = scratch.seen.widest.max(seen.widest);
            scratch.seen.total += seen.total;
            if let Some(counts) = &mut scratch.step_counts {
                count_windows(&scratch.samples, spec, steps, counts);
            }
            if !metric.is_empty() {
                note_non_counter(*function, input.labels, &cells, input.options, *pos, notes);
            }
            cells
        }
        RowExpr::Cells { function, args, input: inner, pos } => {
            let mut cells = expr(inner, steps, input, scratch, notes);
            apply(*function, args, steps, &mut cells, notes, *pos);
            cells
        }
        RowExpr::Repeat(inner) => {
            let evaluate = |scratch: &mut RowScratch| evaluate(inner, input, scratch, notes);
            let (cells, seen) = scratch.nested(inner.steps, evaluate);
            // It counts at every step.
            scratch.seen.total += seen * steps.count.saturating_sub(1);
            for count in scratch.step_counts.iter_mut().flatten() {
                *count += seen as u64;
            }
            cells.repeated(steps.count)
        }
    }
}

/// Says so if a rate is taken of floats that do not look like a counter.
pub fn note_non_counter(
    function: Function,
    labels: &Labels,
    cells: &Cells,
    options: RowOptions,
    pos: PosRange,
    notes: &mut Notes,
) {
    const SUFFIXES: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];
    let metric = labels.metric_name();
    if !matches!(function, Function::Rate | Function::Increase) || metric.is_empty() {
        return;
    }
    let any_float = || (0..cells.len()).any(|i| matches!(cells.get(i), CellRef::Float(_)));
    if options.type_and_unit_labels {
        let kind = labels.get("__type__").unwrap_or("");
        if !matches!(kind, "counter" | "histogram") && any_float() {
            notes.add(NoteKind::PossibleNonCounterType, &format!("{kind:?}: {metric:?}"), pos);
        }
    } else if !SUFFIXES.iter().any(|suffix| metric.ends_with(suffix)) && any_float() {
        notes.add(NoteKind::PossibleNonCounter, metric, pos);
    }
}

/// The newest sample no older than the lookback.
#[derive(Clone, Copy, Debug)]
pub struct Newest {
    /// How far back from the step.
    pub offset_ms: i64,
    /// At which moment, whatever the step.
    pub at_ms: Option<i64>,
    /// How old the sample may be; one that is exactly so old is too old.
    pub lookback_ms: i64,
}

impl Newest {
    /// The moment whose sample is wanted at a step.
    #[inline]
    pub fn reference(&self, step_ms: i64) -> i64 {
        self.at_ms.unwrap_or(step_ms).saturating_sub(self.offset_ms)
    }

    fn evaluate(&self, steps: Steps, input: &RowInput<'_>, take: Take) -> Cells {
        let columns = &*input.columns;
        let t = &columns.timestamps;
        let mut cells = Cells::absent(steps.count);
        let mut cursor = Cursor::default();
        for (i, step_ms) in steps.iter().enumerate() {
            let reference = self.reference(step_ms);
            cursor.move_behind(t, reference);
            let Some(newest) = cursor.at.checked_sub(1) else { continue };
            let value = columns.values[newest];
            if t[newest] <= reference.saturating_sub(self.lookback_ms) || is_stale(value) {
                continue;
            }
            match take {
                Take::Value => match columns.histograms.get(newest) {
                    Some(Some(h)) => cells.set_histogram(i, Arc::clone(h)),
                    _ => cells.set_float(i, value),
                },
                Take::Timestamp => cells.set_float(i, t[newest] as f64 / 1000.0),
                Take::FloatTimestamp => {
                    let is_float = !matches!(columns.histograms.get(newest), Some(Some(_)));
                    let seconds = t[newest] as f64 / 1000.0;
                    cells.set_float(i, if is_float { seconds } else { f64::NAN });
                }
                Take::StartTimestamp if input.options.use_start_timestamps => {
                    let start = columns.start_timestamps.get(newest).copied().unwrap_or(0);
                    cells.set_float(i, start as f64 / 1000.0);
                }
                Take::StartTimestamp => {}
            }
        }
        cells
    }
}

/// Applies a function of cells to a row in place.
pub fn apply(
    function: CellFunction,
    args: &[Scalars],
    steps: Steps,
    cells: &mut Cells,
    notes: &mut Notes,
    pos: PosRange,
) {
    match function {
        CellFunction::Float(kernel) => map_floats(cells, |_, v| kernel(v)),
        CellFunction::Round => map_floats(cells, |i, v| math::round(v, args[0][i])),
        CellFunction::Clamp => {
            map_floats(cells, |i, v| math::clamp(v, args[0][i], args[1][i]));
            for (i, (low, high)) in args[0].iter().zip(&*args[1]).enumerate() {
                if high < low {
                    cells.clear(i);
                }
            }
        }
        CellFunction::Histogram(kernel) => {
            for i in 0..cells.len() {
                let cell = match cells.get(i) {
                    CellRef::Histogram(h) => Cell::Float(kernel(h)),
                    _ => Cell::Absent,
                };
                cells.set(i, cell);
            }
        }
        CellFunction::StepTime => {
            for i in 0..cells.len() {
                if cells.is_present(i) {
                    cells.set_float(i, steps.at(i) as f64 / 1000.0);
                }
            }
        }
        CellFunction::Negate => {
            if cells.has_histograms() {
                for i in 0..cells.len() {
                    if let CellRef::Histogram(h) = cells.get(i) {
                        let mut negative = (**h).clone();
                        negative.scale(-1.0);
                        cells.set_histogram(i, Arc::new(negative));
                    }
                }
            }
            negate_floats(cells);
        }
        CellFunction::Binary { op, scalar_left, return_bool } => {
            if cells.has_histograms() || matches!(op.as_str(), "</" | ">/") {
                with_scalar_slowly(op, &args[0], (scalar_left, return_bool), cells, notes, pos);
            } else {
                with_scalar(op, &args[0], (scalar_left, return_bool), cells);
            }
        }
    }
}

/// Maps the floats and removes the histograms.
#[inline]
fn map_floats(cells: &mut Cells, f: impl Fn(usize, f64) -> f64) {
    if cells.has_histograms() {
        cells.clear_histograms();
    }
    for (i, v) in cells.floats_mut().iter_mut().enumerate() {
        let mapped = f(i, *v);
        *v = if is_stale(*v) { ABSENT } else { mapped };
    }
}

fn negate_floats(cells: &mut Cells) {
    let keep: Vec<usize> = if cells.has_histograms() {
        (0..cells.len()).filter(|i| matches!(cells.get(*i), CellRef::Histogram(_))).collect()
    } else {
        Vec::new()
    };
    for v in cells.floats_mut() {
        *v = if is_stale(*v) { ABSENT } else { -*v };
    }
    for i in keep {
        cells.floats_mut()[i] = 0.0;
    }
}

type Flags = (bool, bool);

/// A row of floats with a column of scalars.
fn with_scalar(
    op: crate::parser::ast::BinaryOp,
    scalars: &[f64],
    (scalar_left, return_bool): Flags,
    cells: &mut Cells,
) {
    let filters = op.is_comparison() && !return_bool;
    for (v, &s) in cells.floats_mut().iter_mut().zip(scalars) {
        let (a, b) = if scalar_left { (s, *v) } else { (*v, s) };
        let result = if filters {
            if binary_op::compares(op, a, b) { *v } else { ABSENT }
        } else {
            binary_op::scalars(op, a, b)
        };
        *v = if is_stale(*v) { ABSENT } else { result };
    }
}

/// The same where there are histograms.
fn with_scalar_slowly(
    op: crate::parser::ast::BinaryOp,
    scalars: &[f64],
    (scalar_left, return_bool): Flags,
    cells: &mut Cells,
    notes: &mut Notes,
    pos: PosRange,
) {
    for (i, &s) in scalars.iter().enumerate().take(cells.len()) {
        let original = cells.take_ref(i);
        let operand = match &original {
            Cell::Absent => continue,
            Cell::Float(v) => Operand::Float(*v),
            Cell::Histogram(h) => Operand::Histogram(h),
        };
        let scalar = Operand::Float(s);
        let (a, b) = if scalar_left { (scalar, operand) } else { (operand, scalar) };
        let cell = match binary_op::operands(op, a, b, notes, pos) {
            None => Cell::Absent,
            Some(outcome) if return_bool => Cell::Float(f64::from(u8::from(outcome.keep))),
            Some(outcome) if !outcome.keep => Cell::Absent,
            Some(_) if op.is_comparison() => original.clone(),
            Some(outcome) => outcome.value,
        };
        cells.set(i, cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::ast::BinaryOp;

    fn columns(samples: &[(i64, f64)]) -> SampleColumns {
        let mut columns = SampleColumns::new();
        for &(t, v) in samples {
            columns.push(t, v);
        }
        columns
    }

    #[test]
    fn the_newest_sample_within_the_lookback() {
        let mut columns = columns(&[(10, 1.0), (20, 2.0), (30, ABSENT), (50, 5.0)]);
        let labels = Labels::empty();
        let options = RowOptions::default();
        let input = RowInput { labels: &labels, columns: &mut columns, told: None, options };
        let newest = Newest { offset_ms: 0, at_ms: None, lookback_ms: 15 };
        let cells = newest.evaluate(Steps::new(5, 75, 10), &input, Take::Value);
        let seen: Vec<_> =
            cells.floats().iter().map(|v| if is_stale(*v) { -1.0 } else { *v }).collect();
        assert_eq!(seen, [-1.0, 1.0, 2.0, -1.0, -1.0, 5.0, -1.0, -1.0]);
        let times = newest.evaluate(Steps::instant(34), &input, Take::Timestamp);
        assert_eq!(times.count_present(), 0);
    }

    #[test]
    fn functions_of_cells_leave_absent_cells_absent() {
        let scalars: Scalars = [1.0, 2.0, 3.0].into();
        let run = |function, args: &[Scalars]| {
            let mut cells = Cells::from_floats(vec![1.0, ABSENT, -3.0]);
            let steps = Steps::new(0, 20, 10);
            let pos = PosRange::default();
            apply(function, args, steps, &mut cells, &mut Notes::default(), pos);
            cells.floats().iter().map(|v| (!is_stale(*v)).then_some(*v)).collect::<Vec<_>>()
        };
        assert_eq!(run(CellFunction::Float(f64::abs), &[]), [Some(1.0), None, Some(3.0)]);
        assert_eq!(run(CellFunction::Negate, &[]), [Some(-1.0), None, Some(3.0)]);
        assert_eq!(run(CellFunction::StepTime, &[]), [Some(0.0), None, Some(0.02)]);
        let binary =
            |op, scalar_left, return_bool| CellFunction::Binary { op, scalar_left, return_bool };
        let args = [scalars];
        assert_eq!(run(binary(BinaryOp::Sub, true, false), &args), [Some(0.0), None, Some(6.0)]);
        assert_eq!(run(binary(BinaryOp::Less, false, false), &args), [None, None, Some(-3.0)]);
        assert_eq!(run(binary(BinaryOp::Greater, true, false), &args), [None, None, Some(-3.0)]);
        assert_eq!(run(binary(BinaryOp::Less, false, true), &args), [Some(0.0), None, Some(1.0)]);
    }
}
