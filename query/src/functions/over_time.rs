//! The `*_over_time` family: one value from all samples of a window.

use std::sync::Arc;

use tidemark_core::model::histogram::{FloatHistogram, GoFloat, KahanHistogram};
use tidemark_core::model::kahan::KahanSum;

use super::quantile::quantile;
use crate::eval::batch::Cell;
use crate::eval::histogram_sum::ReconciledOnce;
use crate::eval::notes::NoteKind;
use crate::eval::window::{KernelContext, Window};

/// Notes histograms that a function of floats ignores. False if there are no floats at all.
#[inline]
fn floats_only(w: &Window<'_>, cx: &mut KernelContext<'_>) -> bool {
    if w.floats.is_empty() {
        return false;
    }
    if !w.histograms.is_empty() {
        cx.notes.add(NoteKind::HistogramIgnoredInMixedRange, cx.metric, cx.pos);
    }
    true
}

/// Notes a window of both kinds. True if it is one.
#[inline]
fn mixed(w: &Window<'_>, cx: &mut KernelContext<'_>) -> bool {
    let mixed = !w.floats.is_empty() && !w.histograms.is_empty();
    if mixed {
        cx.notes.add(NoteKind::MixedFloatsHistograms, cx.metric, cx.pos);
    }
    mixed
}

/// `count_over_time`
#[inline]
pub fn count(w: &Window<'_>, _: &mut KernelContext<'_>) -> Cell {
    Cell::Float((w.floats.len() + w.histograms.len()) as f64)
}

/// `present_over_time`, and what `absent_over_time` inverts.
#[inline]
pub fn present(_: &Window<'_>, _: &mut KernelContext<'_>) -> Cell {
    Cell::Float(1.0)
}

/// `sum_over_time`
#[inline]
pub fn sum(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    if mixed(w, cx) {
        return Cell::Absent;
    }
    if w.floats.is_empty() {
        return sum_histograms(w, cx);
    }
    Cell::Float(sum_of(w.floats.v))
}

/// The compensated sum.
#[inline]
pub(super) fn sum_of(values: &[f64]) -> f64 {
    let mut sum = KahanSum::default();
    for &v in values {
        sum.add(v);
    }
    if sum.sum.is_infinite() { sum.sum } else { sum.value() }
}

fn sum_histograms(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    let h = w.histograms.v;
    let mut sum = KahanHistogram::new(FloatHistogram::clone(&h[0]));
    let mut once = ReconciledOnce::default();
    once.see(&h[0]);
    for next in &h[1..] {
        once.see(next);
        match sum.add(next) {
            Ok(reconciled) => once.reconciled(reconciled),
            Err(_) => return incompatible(cx),
        }
    }
    once.note(cx.notes, cx.pos);
    sum.value().into()
}

fn incompatible(cx: &mut KernelContext<'_>) -> Cell {
    cx.notes.add(NoteKind::MixedExponentialCustom, cx.metric, cx.pos);
    Cell::Absent
}

/// `avg_over_time`
#[inline]
pub fn avg(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    if mixed(w, cx) {
        return Cell::Absent;
    }
    if w.floats.is_empty() {
        return avg_histograms(w, cx);
    }
    Cell::Float(mean(w.floats.v))
}

/// The sum divided, unless it overflows: then the mean is carried along from there.
pub(super) fn mean(values: &[f64]) -> f64 {
    let mut sum = KahanSum::new(values[0]);
    for (i, &v) in values.iter().enumerate().skip(1) {
        let before = sum;
        sum.add(v);
        if sum.sum.is_infinite() {
            return incremental_mean(before, &values[i..], i as f64);
        }
    }
    let count = values.len() as f64;
    sum.sum / count + sum.compensation / count
}

fn incremental_mean(sum: KahanSum, rest: &[f64], mut count: f64) -> f64 {
    let mut mean = KahanSum { sum: sum.sum / count, compensation: sum.compensation / count };
    for &v in rest {
        count += 1.0;
        mean.scale((count - 1.0) / count);
        mean.add(v / count);
    }
    mean.value()
}

fn avg_histograms(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    let h = w.histograms.v;
    let mut mean = crate::eval::histogram_sum::HistogramMean::new(FloatHistogram::clone(&h[0]));
    let mut once = ReconciledOnce::default();
    once.see(&h[0]);
    for next in &h[1..] {
        once.see(next);
        match mean.add(next) {
            Ok(reconciled) => once.reconciled(reconciled),
            Err(_) => return incompatible(cx),
        }
    }
    once.note(cx.notes, cx.pos);
    mean.value().into()
}

/// The extreme of a column: a later value wins if `wins(it, so far)`, or if so far there was only NaN.
#[inline]
fn extreme(values: &[f64], wins: impl Fn(f64, f64) -> bool) -> usize {
    let mut best = 0;
    for (i, &v) in values.iter().enumerate() {
        if wins(v, values[best]) || values[best].is_nan() {
            best = i;
        }
    }
    best
}

/// `min_over_time`
#[inline]
pub fn min(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    if !floats_only(w, cx) {
        return Cell::Absent;
    }
    Cell::Float(w.floats.v[extreme(w.floats.v, |v, best| v < best)])
}

/// `max_over_time`
#[inline]
pub fn max(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    if !floats_only(w, cx) {
        return Cell::Absent;
    }
    Cell::Float(w.floats.v[extreme(w.floats.v, |v, best| v > best)])
}

/// `ts_of_min_over_time`, of the last of equals.
pub fn time_of_min(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    time_of(w, cx, |v, best| v <= best)
}

/// `ts_of_max_over_time`, of the last of equals.
pub fn time_of_max(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    time_of(w, cx, |v, best| v >= best)
}

fn time_of(w: &Window<'_>, cx: &mut KernelContext<'_>, wins: impl Fn(f64, f64) -> bool) -> Cell {
    if !floats_only(w, cx) {
        return Cell::Absent;
    }
    Cell::Float(w.floats.t[extreme(w.floats.v, wins)] as f64 / 1000.0)
}

/// `stdvar_over_time`, after Welford, compensated.
#[inline]
pub fn variance(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    if !floats_only(w, cx) {
        return Cell::Absent;
    }
    let (mut mean, mut squares) = (KahanSum::default(), KahanSum::default());
    let mut count = 0.0;
    for &v in w.floats.v {
        count += 1.0;
        let delta = v - mean.value();
        mean.add(delta / count);
        squares.add(delta * (v - mean.value()));
    }
    Cell::Float(squares.value() / count)
}

/// `stddev_over_time`
#[inline]
pub fn deviation(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    match variance(w, cx) {
        Cell::Float(v) => Cell::Float(v.sqrt()),
        other => other,
    }
}

/// `quantile_over_time`; the quantile is the first scalar argument.
pub fn quantile_over_time(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    if w.floats.is_empty() {
        return Cell::Absent;
    }
    let q = cx.args[0][w.step];
    if !(0.0..=1.0).contains(&q) {
        cx.notes.add(NoteKind::InvalidQuantile, &GoFloat(q).to_string(), cx.pos);
    }
    floats_only(w, cx);
    cx.scratch.values.clear();
    cx.scratch.values.extend_from_slice(w.floats.v);
    Cell::Float(quantile(q, &mut cx.scratch.values))
}

/// `mad_over_time`: the median of the distances from the median.
pub fn median_deviation(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    if !floats_only(w, cx) {
        return Cell::Absent;
    }
    if w.floats.v.iter().any(|v| v.is_nan()) {
        return Cell::Float(f64::NAN);
    }
    cx.scratch.values.clear();
    cx.scratch.values.extend_from_slice(w.floats.v);
    let median = quantile(0.5, &mut cx.scratch.values);
    cx.scratch.values.iter_mut().for_each(|v| *v = (*v - median).abs());
    Cell::Float(quantile(0.5, &mut cx.scratch.values))
}

/// `first_over_time`
#[inline]
pub fn first(w: &Window<'_>, _: &mut KernelContext<'_>) -> Cell {
    let (f, h) = (w.floats, w.histograms);
    match (f.t.first(), h.t.first()) {
        (Some(_), None) => Cell::Float(f.v[0]),
        (Some(a), Some(b)) if a < b => Cell::Float(f.v[0]),
        _ => Cell::Histogram(Arc::clone(&h.v[0])),
    }
}

/// `last_over_time`
#[inline]
pub fn last(w: &Window<'_>, _: &mut KernelContext<'_>) -> Cell {
    let (f, h) = (w.floats, w.histograms);
    match (f.t.last(), h.t.last()) {
        (Some(_), None) => Cell::Float(f.v[f.len() - 1]),
        (Some(a), Some(b)) if b < a => Cell::Float(f.v[f.len() - 1]),
        _ => Cell::Histogram(Arc::clone(&h.v[h.len() - 1])),
    }
}

/// `ts_of_first_over_time`
pub fn time_of_first(w: &Window<'_>, _: &mut KernelContext<'_>) -> Cell {
    let first = w.floats.t.first().into_iter().chain(w.histograms.t.first()).min();
    first.map_or(Cell::Absent, |t| Cell::Float(*t as f64 / 1000.0))
}

/// `ts_of_last_over_time`
pub fn time_of_last(w: &Window<'_>, _: &mut KernelContext<'_>) -> Cell {
    let last = w.floats.t.last().into_iter().chain(w.histograms.t.last()).max();
    last.map_or(Cell::Absent, |t| Cell::Float(*t as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::tests::{check, check_args, floats};

    #[test]
    fn sums_and_means() {
        let series = floats(&[(10, 1.0), (20, 1e100), (30, 1.0), (40, -1e100)]);
        check(&series, 40, 100, sum, Some(2.0));
        check(&series, 40, 100, avg, Some(0.5));
        check(&series, 40, 100, count, Some(4.0));
        let huge = floats(&[(10, f64::MAX), (20, f64::MAX), (30, 0.0)]);
        check(&huge, 40, 100, avg, Some(f64::MAX / 1.5));
        check(&huge, 40, 100, sum, Some(f64::INFINITY));
    }

    #[test]
    fn extremes_pass_over_nan() {
        let series = floats(&[(10, f64::NAN), (20, 3.0), (30, 7.0), (40, 7.0), (50, f64::NAN)]);
        check(&series, 50, 100, max, Some(7.0));
        check(&series, 50, 100, min, Some(3.0));
        check(&series, 50, 100, time_of_max, Some(0.04));
        check(&series, 50, 100, time_of_first, Some(0.01));
        check(&series, 50, 35, first, Some(3.0));
        check(&series, 40, 35, last, Some(7.0));
    }

    #[test]
    fn spread() {
        let series = floats(&[(10, 0.0), (20, 8.0), (30, 8.0), (40, 2.0), (50, 3.0)]);
        check(&series, 50, 100, variance, Some(10.56));
        check(&series, 50, 100, median_deviation, Some(3.0));
        check_args(&series, 50, 100, &[0.75], quantile_over_time, Some(8.0));
        check_args(&series, 50, 100, &[-1.0], quantile_over_time, Some(f64::NEG_INFINITY));
    }
}
