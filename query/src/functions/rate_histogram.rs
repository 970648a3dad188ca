//! `rate`, `increase`, `delta`, `irate` and `idelta` over native histograms.

use std::sync::Arc;

use tidemark_core::model::histogram::{FloatHistogram, ResetHint};

use super::rate::{Extrapolation, FirstSample, RateKind, is_start_reset, starts_overlap};
use crate::eval::batch::Cell;
use crate::eval::notes::NoteKind;
use crate::eval::window::{KernelContext, Slice, Window};

/// A kernel gave up; why is noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incompatible;

/// Adds or subtracts, and notes what had to be reconciled.
pub(super) fn combine(
    base: &mut FloatHistogram,
    other: &FloatHistogram,
    subtract: bool,
    cx: &mut KernelContext<'_>,
) -> Result<(), Incompatible> {
    let done = if subtract { base.sub(other) } else { base.add(other) };
    let Ok(reconciled) = done else {
        cx.notes.add(NoteKind::MixedExponentialCustom, cx.metric, cx.pos);
        return Err(Incompatible);
    };
    if reconciled.bounds {
        let operation = if subtract { "subtraction" } else { "addition" };
        cx.notes.add(NoteKind::MismatchedBounds, operation, cx.pos);
    }
    Ok(())
}

/// The kernel of `rate`, `increase` and `delta` over a window of histograms only.
pub(super) fn rate(kind: RateKind, w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    let h = w.histograms;
    let mut result = None;
    if h.len() > 1 {
        match difference(h, kind.counter, cx) {
            Ok(difference) => result = Some(difference),
            Err(Incompatible) => return Cell::Absent,
        }
    }
    let count = result.as_ref().map_or(0.0, |r| r.count);
    let first = FirstSample {
        t: h.t[0],
        value: h.v[0].count,
        start: if kind.counter { h.start(0) } else { 0 },
    };
    let Some(extrapolation) = Extrapolation::of(w, h.t, first, kind, count) else {
        return Cell::Absent;
    };
    if extrapolation.from_start {
        match &mut result {
            None => result = Some(FloatHistogram::clone(&h.v[0])),
            Some(result) => {
                if combine(result, &h.v[0], false, cx).is_err() {
                    return Cell::Absent;
                }
            }
        }
    }
    result.map_or(Cell::Absent, |mut result| {
        result.scale(extrapolation.factor);
        result.into()
    })
}

/// Last less first histogram, plus what resets took away, as a gauge.
fn difference(
    h: Slice<'_, Arc<FloatHistogram>>,
    counter: bool,
    cx: &mut KernelContext<'_>,
) -> Result<FloatHistogram, Incompatible> {
    let (first, last) = (&*h.v[0], &*h.v[h.len() - 1]);
    let inner = &h.v[1..h.len() - 1];
    let is_gauge = |x: &FloatHistogram| x.hint == ResetHint::Gauge;
    if counter && (is_gauge(first) || is_gauge(last) || inner.iter().any(|x| is_gauge(x))) {
        cx.notes.add(NoteKind::NotCounter, cx.metric, cx.pos);
    }
    // After a reset between the first two the first one's layout does not matter.
    let second = &*h.v[1];
    let start_reset = |i: usize| is_start_reset(h.start(i - 1), h.t[i - 1], h.start(i), h.t[i]);
    let empty;
    let mut previous = first;
    if counter && (start_reset(1) || second.is_reset_after(first)) {
        empty = FloatHistogram {
            schema: second.schema,
            custom_bounds: second.custom_bounds.clone(),
            ..FloatHistogram::default()
        };
        previous = &empty;
    }
    let custom = previous.is_custom();
    if last.is_custom() != custom || counter && inner.iter().any(|x| x.is_custom() != custom) {
        cx.notes.add(NoteKind::MixedExponentialCustom, cx.metric, cx.pos);
        return Err(Incompatible);
    }
    let mut result = last.clone();
    if !custom {
        let coarsest = if counter { inner.iter().map(|x| x.schema).min() } else { None };
        let schema = last.schema.min(previous.schema).min(coarsest.unwrap_or(last.schema));
        result.reduce_to(schema);
    }
    combine(&mut result, previous, true, cx)?;
    if counter {
        let mut overlap = false;
        for i in 1..h.len() {
            overlap |= starts_overlap(h.start(i - 1), h.t[i - 1], h.start(i));
            if start_reset(i) || h.v[i].is_reset_after(previous) {
                combine(&mut result, previous, false, cx)?;
            }
            previous = &h.v[i];
        }
        if overlap {
            cx.notes.add(NoteKind::StartTimeOverlap, cx.metric, cx.pos);
        }
    } else if !is_gauge(first) || !is_gauge(last) {
        cx.notes.add(NoteKind::NotGauge, cx.metric, cx.pos);
    }
    result.hint = ResetHint::Gauge;
    result.compact();
    Ok(result)
}

/// `irate` (of a counter) or `idelta` of the last two histograms.
pub(super) fn instant(
    counter: bool,
    before: &FloatHistogram,
    now: &FloatHistogram,
    start_reset: bool,
    seconds: f64,
    cx: &mut KernelContext<'_>,
) -> Cell {
    let gauges = [before, now].map(|h| h.hint == ResetHint::Gauge);
    if counter && (gauges[0] || gauges[1]) {
        cx.notes.add(NoteKind::NotCounter, cx.metric, cx.pos);
    }
    if !counter && gauges != [true, true] {
        cx.notes.add(NoteKind::NotGauge, cx.metric, cx.pos);
    }
    let mut result = now.clone();
    let reset = counter && (start_reset || now.is_reset_after(before));
    if !reset && combine(&mut result, before, true, cx).is_err() {
        return Cell::Absent;
    }
    result.hint = ResetHint::Gauge;
    result.compact();
    if counter {
        result.divide(seconds);
    }
    result.into()
}
