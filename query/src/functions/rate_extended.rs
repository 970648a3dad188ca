//! `rate`, `increase` and `delta` over windows with extended edges: `anchored` takes the sample before the window as the
//! value at its beginning, `smoothed` interpolates the values at both edges. Neither extrapolates.

use std::sync::Arc;

use tidemark_core::model::histogram::{FloatHistogram, ResetHint};
use tidemark_core::model::time::TimestampMs;

use super::rate::RateKind;
use super::rate_histogram::{Incompatible, combine};
use crate::eval::batch::Cell;
use crate::eval::notes::NoteKind;
use crate::eval::window::{KernelContext, Slice, Window};
use crate::parser::ast::EdgeMode;

/// First and last sample that the edges are made of; `None` if the window holds nothing.
fn ends(t: &[TimestampMs], start_ms: i64, end_ms: i64, smoothed: bool) -> Option<(usize, usize)> {
    let mut last = t.len().checked_sub(1)?;
    let first = t[..last].partition_point(|t| *t <= start_ms).saturating_sub(1);
    if smoothed {
        last = t[..last].partition_point(|t| *t < end_ms);
    }
    let outside = t[last] <= start_ms || smoothed && t[first] > end_ms;
    (!outside).then_some((first, last))
}

/// The value at `t` between two samples. A counter that was reset between them is taken to have begun at zero.
pub fn interpolate(a: (i64, f64), b: (i64, f64), t: TimestampMs, counter: bool) -> f64 {
    let from = if counter && b.1 < a.1 { 0.0 } else { a.1 };
    from + (b.1 - from) * (t - a.0) as f64 / (b.0 - a.0) as f64
}

/// The values at both edges of a window.
fn edge_values(
    f: Slice<'_, f64>,
    (first, last): (usize, usize),
    (start_ms, end_ms): (i64, i64),
    smoothed: bool,
    counter: bool,
) -> (f64, f64) {
    let at = |i: usize| (f.t[i], f.v[i]);
    let left = if smoothed && f.t[first] < start_ms {
        interpolate(at(first), at(first + 1), start_ms, counter)
    } else {
        f.v[first]
    };
    let right = if smoothed && last > 0 && f.t[last] > end_ms {
        interpolate(at(last - 1), at(last), end_ms, counter)
    } else {
        f.v[last]
    };
    (left, right)
}

/// Without the samples that are at or beyond the edges, which the edge values stand for.
fn inside(
    t: &[TimestampMs],
    (first, last): (usize, usize),
    start_ms: i64,
    end_ms: i64,
) -> std::ops::Range<usize> {
    let from = first + usize::from(t[first] <= start_ms);
    let to = last + usize::from(t[last] < end_ms);
    from..to.max(from)
}

/// Floats.
pub(super) fn rate_floats(kind: RateKind, w: &Window<'_>) -> Cell {
    let f = w.floats;
    let smoothed = w.edges == EdgeMode::Smoothed;
    let Some(ends) = ends(f.t, w.start_ms, w.end_ms, smoothed) else { return Cell::Absent };
    let (left, right) = edge_values(f, ends, (w.start_ms, w.end_ms), smoothed, kind.counter);
    let mut difference = right - left;
    if kind.counter {
        let mut correction = 0.0;
        let mut previous = left;
        for &v in f.v[inside(f.t, ends, w.start_ms, w.end_ms)].iter().chain([&right]) {
            if v < previous {
                correction += previous;
            }
            previous = v;
        }
        difference += correction;
    }
    if kind.per_second {
        difference /= w.range_seconds();
    }
    Cell::Float(difference)
}

/// The float samples of a window with its edge values added, as `m[5m] anchored` by itself shows them.
pub fn extended_samples(w: &Window<'_>) -> Vec<(TimestampMs, f64)> {
    let f = w.floats;
    let smoothed = w.edges == EdgeMode::Smoothed;
    let Some(last) = f.len().checked_sub(1) else { return Vec::new() };
    let first = f.t[..last].partition_point(|t| *t <= w.start_ms).saturating_sub(1);
    let last = if smoothed { f.t[..last].partition_point(|t| *t < w.end_ms) } else { last };
    if f.t[last] <= w.start_ms {
        return Vec::new();
    }
    let (left, right) = edge_values(f, (first, last), (w.start_ms, w.end_ms), smoothed, false);
    let range = inside(f.t, (first, last), w.start_ms, w.end_ms);
    let mut out = vec![(w.start_ms, left)];
    out.extend(range.map(|i| (f.t[i], f.v[i])));
    out.push((w.end_ms, right));
    out
}

/// The histogram at `t` between two.
pub fn interpolate_histograms(
    a: (i64, &FloatHistogram),
    b: (i64, &FloatHistogram),
    t: TimestampMs,
    counter: bool,
    cx: &mut KernelContext<'_>,
) -> Option<FloatHistogram> {
    if t == a.0 {
        return Some(a.1.clone());
    }
    let mut result = b.1.clone();
    if t == b.0 {
        return Some(result);
    }
    let fraction = (t - a.0) as f64 / (b.0 - a.0) as f64;
    if counter && b.1.is_reset_after(a.1) {
        result.scale(fraction);
        return Some(result);
    }
    combine(&mut result, a.1, true, cx).ok()?;
    result.scale(fraction);
    combine(&mut result, a.1, false, cx).ok()?;
    Some(result)
}

/// Histograms.
pub(super) fn rate_histograms(kind: RateKind, w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    let h = w.histograms;
    let smoothed = w.edges == EdgeMode::Smoothed;
    let Some((first, last)) = ends(h.t, w.start_ms, w.end_ms, smoothed) else {
        return Cell::Absent;
    };
    let used = &h.v[first..=last.max(first)];
    if used.iter().any(|x| x.is_custom() != used[0].is_custom()) {
        cx.notes.add(NoteKind::MixedExponentialCustom, cx.metric, cx.pos);
        return Cell::Absent;
    }
    if kind.counter && used.iter().any(|x| x.hint == ResetHint::Gauge) {
        cx.notes.add(NoteKind::NotCounter, cx.metric, cx.pos);
    }
    histogram_difference(kind, w, (first, last), cx).map_or(Cell::Absent, |mut result| {
        if kind.per_second {
            result.divide(w.range_seconds());
        }
        result.hint = ResetHint::Gauge;
        result.compact();
        result.into()
    })
}

fn histogram_difference(
    kind: RateKind,
    w: &Window<'_>,
    (first, last): (usize, usize),
    cx: &mut KernelContext<'_>,
) -> Option<FloatHistogram> {
    let h = w.histograms;
    let smoothed = w.edges == EdgeMode::Smoothed;
    let at = |i: usize| (h.t[i], &*h.v[i]);
    let left = if smoothed && h.t[first] < w.start_ms {
        interpolate_histograms(at(first), at(first + 1), w.start_ms, kind.counter, cx)?
    } else {
        FloatHistogram::clone(&h.v[first])
    };
    let right = if smoothed && last > 0 && h.t[last] > w.end_ms {
        interpolate_histograms(at(last - 1), at(last), w.end_ms, kind.counter, cx)?
    } else {
        FloatHistogram::clone(&h.v[last])
    };
    if !kind.counter && (left.hint != ResetHint::Gauge || right.hint != ResetHint::Gauge) {
        cx.notes.add(NoteKind::NotGauge, cx.metric, cx.pos);
    }
    let mut result = right.clone();
    combine(&mut result, &left, true, cx).ok()?;
    if kind.counter
        && let Some(lost) = lost_in_resets(h, (first, last), (&left, &right), w, cx).ok()?
    {
        combine(&mut result, &lost, false, cx).ok()?;
    }
    Some(result)
}

/// What resets between the edges took away. The samples that the edges are made of are not looked at again.
fn lost_in_resets(
    h: Slice<'_, Arc<FloatHistogram>>,
    (first, last): (usize, usize),
    (left, right): (&FloatHistogram, &FloatHistogram),
    w: &Window<'_>,
    cx: &mut KernelContext<'_>,
) -> Result<Option<FloatHistogram>, Incompatible> {
    let mut from = first + 1;
    let mut previous = left;
    let spans_reset = w.edges == EdgeMode::Smoothed
        && h.t[first] < w.start_ms
        && h.v[first + 1].is_reset_after(&h.v[first]);
    if spans_reset {
        previous = &h.v[first + 1];
        from += 1;
    }
    if from > last {
        return Ok(None);
    }
    let mut lost: Option<FloatHistogram> = None;
    for now in h.v[from..last].iter().map(|h| &**h).chain([right]) {
        if now.is_reset_after(previous) {
            match &mut lost {
                None => lost = Some(previous.clone()),
                Some(lost) => combine(lost, previous, false, cx)?,
            }
        }
        previous = now;
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::super::rate::{DELTA, INCREASE, RATE, rate};
    use super::*;
    use crate::functions::tests::{check_edges, floats};

    #[test]
    fn edges_are_taken_or_interpolated() {
        let series = floats(&[(0, 0.0), (10, 10.0), (20, 20.0), (30, 5.0), (40, 15.0)]);
        let cases = [
            (EdgeMode::Anchored, DELTA, 25, 20, Some(20.0)),
            (EdgeMode::Smoothed, DELTA, 15, 10, Some(10.0)),
            (EdgeMode::Smoothed, INCREASE, 35, 20, Some(15.0)),
            (EdgeMode::Anchored, INCREASE, 35, 20, Some(15.0)),
            (EdgeMode::Anchored, RATE, 40, 20, Some(15.0 / 0.02)),
            (EdgeMode::Anchored, RATE, 400, 20, None),
        ];
        for (edges, kind, end, range, expected) in cases {
            check_edges(&series, end, range, edges, |w, cx| rate(kind, w, cx), expected);
        }
    }
}
