//! How fast a series moves: `rate`, `increase`, `delta`, `irate`, `idelta`, `resets`, `changes` over floats.
//!
//! `rate` and its kin take the difference of the last and first sample of the window, add what counter resets took away,
//! and *extrapolate* to the edges of the window where the samples come close to them. With known start timestamps the
//! counter is known to have been zero there, which replaces the guess on the left. Windows with histograms go to
//! [`rate_histogram`](super::rate_histogram), those with extended edges to [`rate_extended`](super::rate_extended).

use tidemark_core::model::time::TimestampMs;

use super::{rate_extended, rate_histogram};
use crate::eval::batch::Cell;
use crate::eval::notes::NoteKind;
use crate::eval::window::{KernelContext, Slice, Window};
use crate::parser::ast::EdgeMode;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateKind {
    /// Only goes up, but for resets: `rate`, `increase`.
    pub counter: bool,
    /// Per second: `rate`.
    pub per_second: bool,
}

/// `rate`
pub const RATE: RateKind = RateKind { counter: true, per_second: true };
/// `increase`
pub const INCREASE: RateKind = RateKind { counter: true, per_second: false };
/// `delta`
pub const DELTA: RateKind = RateKind { counter: false, per_second: false };

/// The kernel of `rate`, `increase` and `delta`.
#[inline]
pub fn rate(kind: RateKind, w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    let (floats, histograms) = (w.floats, w.histograms);
    if !histograms.is_empty() {
        if !floats.is_empty() {
            cx.notes.add(NoteKind::MixedFloatsHistograms, cx.metric, cx.pos);
            return Cell::Absent;
        }
        return if w.edges == EdgeMode::Plain {
            rate_histogram::rate(kind, w, cx)
        } else {
            rate_extended::rate_histograms(kind, w, cx)
        };
    }
    if floats.is_empty() {
        return Cell::Absent;
    }
    if w.edges != EdgeMode::Plain {
        return rate_extended::rate_floats(kind, w);
    }
    rate_floats(kind, w, cx)
}

#[inline]
fn rate_floats(kind: RateKind, w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    let f = w.floats;
    let last = f.len() - 1;
    let mut difference = f.v[last] - f.v[0];
    if kind.counter && !(w.rising && f.starts.is_empty()) {
        difference = add_resets(difference, &f, cx);
    }
    let first =
        FirstSample { t: f.t[0], value: f.v[0], start: if kind.counter { f.start(0) } else { 0 } };
    let Some(e) = Extrapolation::of(w, f.t, first, kind, difference) else {
        return Cell::Absent;
    };
    if e.from_start {
        difference += f.v[0];
    }
    Cell::Float(difference * e.factor)
}

/// Adds the value before each reset, in the order of time.
#[inline]
fn add_resets(mut difference: f64, f: &Slice<'_, f64>, cx: &mut KernelContext<'_>) -> f64 {
    if f.starts.is_empty() {
        for pair in f.v.windows(2) {
            if pair[1] < pair[0] {
                difference += pair[0];
            }
        }
        return difference;
    }
    let mut overlap = false;
    for i in 1..f.len() {
        overlap |= starts_overlap(f.starts[i - 1], f.t[i - 1], f.starts[i]);
        if f.v[i] < f.v[i - 1] || is_start_reset(f.starts[i - 1], f.t[i - 1], f.starts[i], f.t[i]) {
            difference += f.v[i - 1];
        }
    }
    if overlap {
        cx.notes.add(NoteKind::StartTimeOverlap, cx.metric, cx.pos);
    }
    difference
}

/// What extrapolation needs of the first sample of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstSample {
    /// When.
    pub t: TimestampMs,
    /// The value, or the count of a histogram.
    pub value: f64,
    /// Its start timestamp; 0 if unknown or of no interest.
    pub start: TimestampMs,
}

/// How a difference of samples becomes one over the whole window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extrapolation {
    /// What to multiply with, the division by seconds included.
    pub factor: f64,
    /// The counter began inside the window: its first value counts as well.
    pub from_start: bool,
}

impl Extrapolation {
    /// From the times of the samples and the difference (or that of the counts) so far. `None` if a single sample says
    /// nothing.
    #[inline]
    pub(super) fn of(
        w: &Window<'_>,
        t: &[TimestampMs],
        first: FirstSample,
        kind: RateKind,
        difference: f64,
    ) -> Option<Self> {
        let last_t = t[t.len() - 1];
        let mut to_start = (first.t - w.start_ms) as f64 / 1000.0;
        let mut to_end = (w.end_ms - last_t) as f64 / 1000.0;
        let mut sampled = (last_t - first.t) as f64 / 1000.0;
        let intervals = t.len() - 1;
        let average = if intervals > 0 { sampled / intervals as f64 } else { 0.0 };
        let threshold = average * 1.1;
        let from_start = first.start != 0 && first.start > w.start_ms && first.start < first.t;
        if from_start {
            to_start = 0.0;
            sampled = (last_t - first.start) as f64 / 1000.0;
        } else if intervals == 0 {
            return None;
        } else {
            if to_start >= threshold {
                to_start = average / 2.0;
            }
            if kind.counter && difference > 0.0 && first.value >= 0.0 {
                // A counter is not extrapolated below zero.
                to_start = to_start.min_or_keep(sampled * (first.value / difference));
            }
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        let mut factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
        if kind.per_second {
            factor /= w.range_seconds();
        }
        Some(Extrapolation { factor, from_start })
    }
}

trait MinOrKeep {
    fn min_or_keep(self, other: f64) -> f64;
}

impl MinOrKeep for f64 {
    /// The smaller; `self` if `other` is NaN.
    #[inline]
    fn min_or_keep(self, other: f64) -> f64 {
        if other < self { other } else { self }
    }
}

/// Whether the start timestamps of two neighbours say that the counter began anew between them.
#[inline]
pub(super) fn is_start_reset(
    previous_start: TimestampMs,
    previous_t: TimestampMs,
    start: TimestampMs,
    t: TimestampMs,
) -> bool {
    if start == 0 || start >= t || start < previous_t {
        return false;
    }
    if start > previous_t {
        return true;
    }
    // Exactly at the previous sample: a delta series, or a cumulative one whose start is unknown. Only if the
    // previous start is known and valid it is the former.
    previous_start <= previous_t && previous_start != 0 && previous_start != previous_t
}

/// Whether a sample claims to count from before the previous sample, yet not from the same start.
#[inline]
pub(super) fn starts_overlap(
    previous_start: TimestampMs,
    previous_t: TimestampMs,
    start: TimestampMs,
) -> bool {
    start != 0 && start < previous_t && start != previous_start
}

/// A sample of either kind, for functions that walk both columns in the order of time.
#[derive(Clone, Copy, Debug)]
enum Either<'a> {
    Float(f64),
    Histogram(&'a tidemark_core::model::histogram::FloatHistogram),
}

/// Calls `visit` with each pair of neighbours: (sample, time, start) of the earlier and the later one. `None` if the
/// window is anchored and holds nothing after its beginning.
fn neighbours<'a>(
    w: &Window<'a>,
    mut visit: impl FnMut((Either<'a>, i64, i64), (Either<'a>, i64, i64)),
) -> Option<()> {
    let (f, h) = (w.floats, w.histograms);
    let (mut i, mut j) = first_indexes(w)?;
    let mut previous = None;
    while i < f.len() || j < h.len() {
        let current = if j >= h.len() || i < f.len() && f.t[i] < h.t[j] {
            i += 1;
            (Either::Float(f.v[i - 1]), f.t[i - 1], f.start(i - 1))
        } else {
            j += 1;
            (Either::Histogram(&h.v[j - 1]), h.t[j - 1], h.start(j - 1))
        };
        if let Some(previous) = previous {
            visit(previous, current);
        }
        previous = Some(current);
    }
    Some(())
}

/// Where an anchored window begins in both columns: at the newest sample before the window, of whatever kind, and after
/// its beginning.
fn first_indexes(w: &Window<'_>) -> Option<(usize, usize)> {
    if w.edges != EdgeMode::Anchored {
        return Some((0, 0));
    }
    let (f, h) = (w.floats, w.histograms);
    let float_after = f.t.partition_point(|t| *t <= w.start_ms);
    let histogram_after = h.t.partition_point(|t| *t <= w.start_ms);
    if float_after == f.len() && histogram_after == h.len() {
        return None;
    }
    let float_anchor = float_after.checked_sub(1).map(|i| f.t[i]);
    let histogram_anchor = histogram_after.checked_sub(1).map(|j| h.t[j]);
    Some(match (float_anchor, histogram_anchor) {
        (None, None) => (0, 0),
        (Some(a), b) if b.is_none_or(|b| a >= b) => (float_after - 1, histogram_after),
        _ => (float_after, histogram_after - 1),
    })
}

/// `resets`: how often a counter began anew.
pub fn resets(w: &Window<'_>, _: &mut KernelContext<'_>) -> Cell {
    let mut count = 0_u32;
    let found = neighbours(w, |(before, before_t, before_start), (now, t, start)| {
        let reset = match (before, now) {
            (Either::Float(a), Either::Float(b)) => {
                b < a || is_start_reset(before_start, before_t, start, t)
            }
            (Either::Histogram(a), Either::Histogram(b)) => {
                is_start_reset(before_start, before_t, start, t) || b.is_reset_after(a)
            }
            _ => true,
        };
        count += u32::from(reset);
    });
    found.map_or(Cell::Absent, |()| Cell::Float(f64::from(count)))
}

/// `changes`: how often the value changed.
pub fn changes(w: &Window<'_>, _: &mut KernelContext<'_>) -> Cell {
    let mut count = 0_u32;
    let found = neighbours(w, |(before, ..), (now, ..)| {
        let changed = match (before, now) {
            (Either::Float(a), Either::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
            (Either::Histogram(a), Either::Histogram(b)) => !b.same(a),
            _ => true,
        };
        count += u32::from(changed);
    });
    found.map_or(Cell::Absent, |()| Cell::Float(f64::from(count)))
}

/// `irate` (of a counter) and `idelta`: between the last two samples.
pub fn instant_rate(counter: bool, w: &Window<'_>, cx: &mut KernelContext<'_>) -> Cell {
    let Some((a, b)) = last_two(w) else { return Cell::Absent };
    let interval_ms = b.1 - a.1;
    if interval_ms == 0 {
        return Cell::Absent;
    }
    let seconds = interval_ms as f64 / 1000.0;
    let start_reset = is_start_reset(a.2, a.1, b.2, b.1);
    match (a.0, b.0) {
        (Either::Float(before), Either::Float(now)) => {
            let reset = counter && (now < before || start_reset);
            let difference = if reset { now } else { now - before };
            Cell::Float(if counter { difference / seconds } else { difference })
        }
        (Either::Histogram(before), Either::Histogram(now)) => {
            rate_histogram::instant(counter, before, now, start_reset, seconds, cx)
        }
        _ => {
            cx.notes.add(NoteKind::MixedFloatsHistograms, cx.metric, cx.pos);
            Cell::Absent
        }
    }
}

/// The last two samples of whatever kind.
#[allow(clippy::type_complexity, reason = "a pair of (sample, time, start), local to this file")]
fn last_two<'a>(w: &Window<'a>) -> Option<((Either<'a>, i64, i64), (Either<'a>, i64, i64))> {
    let (f, h) = (w.floats, w.histograms);
    let (mut i, mut j) = (f.len(), h.len());
    let mut take = || {
        if i > 0 && (j == 0 || f.t[i - 1] > h.t[j - 1]) {
            i -= 1;
            Some((Either::Float(f.v[i]), f.t[i], f.start(i)))
        } else if j > 0 {
            j -= 1;
            Some((Either::Histogram(&h.v[j]), h.t[j], h.start(j)))
        } else {
            None
        }
    };
    let newest = take()?;
    Some((take()?, newest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::tests::{check, floats};

    #[test]
    fn extrapolates_to_both_edges() {
        let series = floats(&[(10, 0.0), (20, 10.0), (30, 20.0), (40, 30.0)]);
        let increase = |w: &Window<'_>, cx: &mut KernelContext<'_>| rate(INCREASE, w, cx);
        // Close to both edges, but a counter of 0 is not extrapolated to the left.
        check(&series, 45, 40, increase, Some(35.0));
        let delta = |w: &Window<'_>, cx: &mut KernelContext<'_>| rate(DELTA, w, cx);
        check(&series, 45, 40, delta, Some(40.0));
        // Far from both edges: half an interval each.
        check(&series, 100, 200, delta, Some(40.0));
        check(&series, 45, 10, delta, None);
    }

    #[test]
    fn resets_are_added() {
        let series = floats(&[(10, 5.0), (20, 10.0), (30, 2.0), (40, 4.0)]);
        let rate = |w: &Window<'_>, cx: &mut KernelContext<'_>| rate(RATE, w, cx);
        check(&series, 40, 30, rate, Some(4.0 * 1.5 / 0.03));
        check(&series, 40, 31, resets, Some(1.0));
        check(&series, 40, 31, changes, Some(3.0));
        check(&series, 40, 31, |w, cx| instant_rate(true, w, cx), Some(200.0));
        check(&series, 30, 31, |w, cx| instant_rate(true, w, cx), Some(200.0));
        check(&series, 30, 31, |w, cx| instant_rate(false, w, cx), Some(-8.0));
    }

    #[test]
    fn start_timestamps_tell_resets() {
        assert!(is_start_reset(1, 10, 12, 20));
        assert!(is_start_reset(1, 10, 10, 20));
        assert!(!is_start_reset(0, 10, 10, 20));
        assert!(!is_start_reset(1, 10, 1, 20));
        assert!(!is_start_reset(1, 10, 20, 20));
        assert!(
            starts_overlap(1, 10, 5) && !starts_overlap(1, 10, 1) && !starts_overlap(1, 10, 10)
        );
    }
}
