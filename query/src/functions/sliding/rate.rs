//! `rate` and its kin: two cursors a step.
//!
//! Where samples come at regular times, and steps too, every window has the same *shape*: the same distances between its edges and
//! its samples. The factor of extrapolation follows from the shape, so it is computed again only when that changes, and when a
//! counter is so close to zero that its first value limits it. Positions of resets are found once a series. A counter without any,
//! and with a window for each step that moves on by a sample, is done four steps at a time, with factors that are shared by all
//! series of the same times ([`Windows`]).

use tidemark_core::model::time::TimestampMs;

use super::super::rate::RateKind;
use super::windows::{Even, Place, Windows};
use crate::eval::window::Seen;
use crate::simd::rates;

/// `rate`, `increase` and `delta`.
pub(super) fn rate(kind: RateKind, v: &[f64], windows: &mut Windows, out: &mut [f64]) -> Seen {
    let resets = if kind.counter { resets(v) } else { Vec::new() };
    if resets.is_empty()
        && let Some((Even { first, last }, factors)) = windows.factors(kind)
    {
        let (first, last) = (&v[first..first + out.len()], &v[last..last + out.len()]);
        if !(rates(first, last, factors, out) && kind.counter) {
            return windows.seen();
        }
    }
    let mut next_reset = 0;
    let mut extrapolator = Extrapolator::new(kind);
    windows.each(|w| {
        let last = w.to - 1;
        if last == w.from {
            return;
        }
        let first_value = v[w.from];
        let mut difference = v[last] - first_value;
        while resets.get(next_reset).is_some_and(|reset| *reset <= w.from) {
            next_reset += 1;
        }
        for &reset in resets[next_reset..].iter().take_while(|reset| **reset <= last) {
            difference += v[reset - 1];
        }
        out[w.step] = difference * extrapolator.factor(windows.shape(w), first_value, difference);
    })
}

/// The samples that are smaller than the one before. Most counters have none for long, so blocks are asked first, without a branch
/// for each sample.
fn resets(values: &[f64]) -> Vec<usize> {
    const BLOCK: usize = 64;
    let falls = |(before, now): (&f64, &f64)| now < before;
    let now = values.get(1..).unwrap_or_default();
    let mut resets = Vec::new();
    for (block, (before, now)) in values.chunks(BLOCK).zip(now.chunks(BLOCK)).enumerate() {
        let pairs = || before.iter().zip(now);
        if pairs().fold(false, |any, pair| any | falls(pair)) {
            let places = pairs().enumerate().filter(|(_, pair)| falls(*pair));
            resets.extend(places.map(|(i, _)| block * BLOCK + i + 1));
        }
    }
    resets
}

/// Where the samples of a window lie in it.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct Shape {
    pub(super) to_start_ms: i64,
    pub(super) sampled_ms: i64,
    pub(super) to_end_ms: i64,
    pub(super) intervals: usize,
}

/// Knows the factor of the last shape.
pub(super) struct Extrapolator {
    kind: RateKind,
    shape: Shape,
    range_seconds: f64,
    to_start: f64,
    sampled: f64,
    to_end: f64,
    factor: f64,
}

impl Extrapolator {
    pub(super) fn new(kind: RateKind) -> Self {
        Extrapolator {
            kind,
            shape: Shape::default(),
            range_seconds: 0.0,
            to_start: 0.0,
            sampled: 0.0,
            to_end: 0.0,
            factor: 0.0,
        }
    }

    /// Of which of the three.
    pub(super) fn kind(&self) -> RateKind {
        self.kind
    }

    /// What to multiply a difference with whose first value is at least as large; `None` if zero may be near even then.
    pub(super) fn unlimited(&mut self, shape: Shape) -> Option<f64> {
        if shape != self.shape {
            self.learn(shape);
        }
        (!self.kind.counter || self.to_start <= self.sampled).then_some(self.factor)
    }

    /// What to multiply a difference with.
    #[inline]
    pub(super) fn factor(&mut self, shape: Shape, first_value: f64, difference: f64) -> f64 {
        if shape != self.shape {
            self.learn(shape);
        }
        let limits = self.kind.counter && difference > 0.0 && first_value >= 0.0;
        // A first value above the difference puts zero further away than all that was sampled.
        if limits && !(first_value >= difference && self.to_start <= self.sampled) {
            let to_zero = self.sampled * (first_value / difference);
            if to_zero < self.to_start {
                return self.factor_from(to_zero);
            }
        }
        self.factor
    }

    #[cold]
    fn learn(&mut self, shape: Shape) {
        self.shape = shape;
        let Shape { to_start_ms, sampled_ms, to_end_ms, intervals } = shape;
        self.range_seconds = (to_start_ms + sampled_ms + to_end_ms) as f64 / 1000.0;
        self.to_start = to_start_ms as f64 / 1000.0;
        self.sampled = sampled_ms as f64 / 1000.0;
        self.to_end = to_end_ms as f64 / 1000.0;
        let average = self.sampled / intervals as f64;
        let threshold = average * 1.1;
        if self.to_start >= threshold {
            self.to_start = average / 2.0;
        }
        if self.to_end >= threshold {
            self.to_end = average / 2.0;
        }
        self.factor = self.factor_from(self.to_start);
    }

    #[inline]
    fn factor_from(&self, to_start: f64) -> f64 {
        let factor = (self.sampled + to_start + self.to_end) / self.sampled;
        if self.kind.per_second { factor / self.range_seconds } else { factor }
    }
}

/// `irate` (of a counter) and `idelta`: between the last two samples.
pub(super) fn instant_rate(
    counter: bool,
    (t, v): (&[TimestampMs], &[f64]),
    windows: &Windows,
    out: &mut [f64],
) -> Seen {
    windows.each(|Place { step, from, to }| {
        if to - from < 2 {
            return;
        }
        let (before, now) = (v[to - 2], v[to - 1]);
        let reset = counter && now < before;
        let difference = if reset { now } else { now - before };
        let seconds = (t[to - 1] - t[to - 2]) as f64 / 1000.0;
        out[step] = if counter { difference / seconds } else { difference };
    })
}

/// `changes` and `resets`: how many neighbours differ in the way that `differ` says.
pub(super) fn count_pairs(
    v: &[f64],
    windows: &Windows,
    out: &mut [f64],
    differ: impl Fn(f64, f64) -> bool,
) -> Seen {
    // How many up to each sample.
    let mut count = 0_u32;
    let counts: Vec<u32> = (0..v.len())
        .map(|i| {
            count += u32::from(i > 0 && differ(v[i - 1], v[i]));
            count
        })
        .collect();
    windows.each(|w| out[w.step] = f64::from(counts[w.to - 1] - counts[w.from]))
}
