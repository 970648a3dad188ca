//! `smoothed` instant selectors: the value between the samples before and after the step.

use std::sync::Arc;

use tidemark_core::model::histogram::ResetHint;

use super::batch::{Cell, Cells, Steps};
use super::notes::{NoteKind, Notes};
use super::row::{Newest, RowInput};
use super::window::{KernelContext, KernelScratch, Samples, Slice, Window, WindowSpec, slide};
use crate::functions::rate_extended::{interpolate, interpolate_histograms};
use crate::parser::ast::{EdgeMode, PosRange};

/// Interpolates at each step. Before the first sample there is nothing; after the last its value is carried on, as long
/// as the lookback reaches.
pub(super) fn evaluate(
    newest: Newest,
    steps: Steps,
    input: &mut RowInput<'_>,
    pos: PosRange,
    notes: &mut Notes,
) -> Cells {
    let mut samples = Samples::default();
    samples.take_columns(input.columns, false);
    // A window of no length that looks one lookback to either side.
    let spec = WindowSpec {
        range_ms: 0,
        offset_ms: newest.offset_ms,
        at_ms: newest.at_ms,
        edges: EdgeMode::Smoothed,
        lookback_ms: newest.lookback_ms,
    };
    let mut cells = Cells::absent(steps.count);
    let mut scratch = KernelScratch::default();
    let metric = input.labels.metric_name();
    slide(&samples, &spec, steps, |w| {
        let mut cx = KernelContext { notes, metric, pos, args: &[], scratch: &mut scratch };
        cells.set(w.step, at_step(w, &mut cx));
    });
    cells
}

fn at_step(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    if !w.floats.is_empty() && !w.histograms.is_empty() {
        cx.notes.add(NoteKind::MixedFloatsHistograms, cx.metric, cx.pos);
        return Cell::Absent;
    }
    if !w.histograms.is_empty() {
        return histogram(w, cx);
    }
    let f = w.floats;
    match place(&f, w.end_ms) {
        Place::Before => Cell::Absent,
        Place::At(i) | Place::After(i) => Cell::Float(f.v[i]),
        Place::Between(i) => {
            let (a, b) = ((f.t[i], f.v[i]), (f.t[i + 1], f.v[i + 1]));
            Cell::Float(interpolate(a, b, w.end_ms, false))
        }
    }
}

fn histogram(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    let h = w.histograms;
    match place(&h, w.end_ms) {
        Place::Before => Cell::Absent,
        Place::At(i) => Cell::Histogram(Arc::clone(&h.v[i])),
        Place::After(i) => {
            let mut carried = Arc::clone(&h.v[i]);
            Arc::make_mut(&mut carried).hint = ResetHint::Unknown;
            Cell::Histogram(carried)
        }
        Place::Between(i) => {
            let (a, b) = (&h.v[i], &h.v[i + 1]);
            if a.is_custom() != b.is_custom() {
                cx.notes.add(NoteKind::MixedExponentialCustom, cx.metric, cx.pos);
                return Cell::Absent;
            }
            let counter = a.hint != ResetHint::Gauge || b.hint != ResetHint::Gauge;
            interpolate_histograms((h.t[i], a), (h.t[i + 1], b), w.end_ms, counter, cx)
                .map_or(Cell::Absent, Cell::from)
        }
    }
}

/// Where a moment lies among samples.
enum Place {
    Before,
    At(usize),
    /// Between this one and the next.
    Between(usize),
    /// After this one, the last.
    After(usize),
}

fn place<T>(samples: &Slice<'_, T>, t: i64) -> Place {
    let next = samples.t.partition_point(|s| *s < t);
    if samples.t.get(next) == Some(&t) {
        return Place::At(next);
    }
    match next.checked_sub(1) {
        None => Place::Before,
        Some(before) if next == samples.len() => Place::After(before),
        Some(before) => Place::Between(before),
    }
}
