//! Trends: `deriv`, `predict_linear`, `double_exponential_smoothing`.

use tidemark_core::model::time::TimestampMs;

use crate::eval::batch::Cell;
use crate::eval::notes::NoteKind;
use crate::eval::window::{KernelContext, Slice, Window};
use crate::simd::regression_sums;

/// Whether there are the two floats that a trend takes; notes histograms that are ignored beside a float.
fn enough(w: &Window<'_>, cx: &mut KernelContext<'_>) -> bool {
    if !w.floats.is_empty() && !w.histograms.is_empty() {
        cx.notes.add(NoteKind::HistogramIgnoredInMixedRange, cx.metric, cx.pos);
    }
    w.floats.len() >= 2
}

/// Least squares: slope per second, and the value at `intercept_ms`.
fn linear_regression(f: Slice<'_, f64>, intercept_ms: TimestampMs) -> (f64, f64) {
    let first = f.v[0];
    if f.v.iter().all(|v| *v == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let n = f.len() as f64;
    let [x, y, xy, xx] = regression_sums(f.t, f.v, intercept_ms).values();
    let covariance = xy - x * y / n;
    let variance = xx - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

/// `deriv`: the slope per second.
pub fn deriv(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    if !enough(w, cx) {
        return Cell::Absent;
    }
    Cell::Float(linear_regression(w.floats, w.floats.t[0]).0)
}

/// `predict_linear`: the value some seconds (the scalar argument) after the step.
pub fn predict_linear(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    if !enough(w, cx) {
        return Cell::Absent;
    }
    let (slope, intercept) = linear_regression(w.floats, w.step_ms);
    Cell::Float(slope * cx.args[0][w.step] + intercept)
}

/// `double_exponential_smoothing` with the smoothing and the trend factor as scalar arguments, both between 0 and 1.
pub fn double_exponential_smoothing(w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    let (smoothing, trend_factor) = (cx.args[0][w.step], cx.args[1][w.step]);
    if !enough(w, cx) {
        return Cell::Absent;
    }
    let v = w.floats.v;
    let (mut before, mut smoothed) = (0.0, v[0]);
    let mut trend = v[1] - v[0];
    for (i, &value) in v.iter().enumerate().skip(1) {
        if i > 1 {
            trend = trend_factor * (smoothed - before) + (1.0 - trend_factor) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (smoothed + trend);
        (before, smoothed) = (smoothed, next);
    }
    Cell::Float(smoothed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::tests::{check, check_args, floats};

    #[test]
    fn straight_lines_are_found() {
        let line = floats(&[(1_000, 1.0), (2_000, 3.0), (3_000, 5.0), (4_000, 7.0)]);
        check(&line, 4_000, 10_000, deriv, Some(2.0));
        check_args(&line, 4_000, 10_000, &[3.0], predict_linear, Some(13.0));
        check(&line, 4_000, 1_000, deriv, None);
        let flat = floats(&[(1_000, 4.0), (2_000, 4.0)]);
        check_args(&flat, 4_000, 10_000, &[1e9], predict_linear, Some(4.0));
        check_args(&line, 4_000, 10_000, &[0.5, 0.5], double_exponential_smoothing, Some(7.0));
    }
}
