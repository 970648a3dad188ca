//! Where the windows of all steps lie among the samples of a series.
//!
//! Series that are scraped together have samples of the same times. So where their windows begin and end, and by what factor the
//! difference of a window's samples is extrapolated, is found for the first of them and used for all that follow with the same
//! times: comparing those is a hundredth of the work. Series with times of their own find it anew.

use tidemark_core::model::time::TimestampMs;

use super::super::rate::RateKind;
use super::rate::{Extrapolator, Shape};
use crate::eval::batch::Steps;
use crate::eval::window::{Seen, Span, WindowSpec};

/// The windows of the series that was looked at last.
#[derive(Debug, Default)]
pub struct Windows {
    of: Option<(WindowSpec, Steps)>,
    timestamps: Vec<TimestampMs>,
    places: Vec<Place>,
    seen: Seen,
    even: Option<Even>,
    factors: Option<(RateKind, Option<Vec<f64>>)>,
}

/// One window that holds any sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) step: usize,
    /// Its first sample.
    pub(super) from: usize,
    /// The sample after its last.
    pub(super) to: usize,
}

/// Each step has a window of two samples at least, whose first and last are those after the first and last of the step before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Even {
    /// The first sample of the first window.
    pub(super) first: usize,
    /// The last sample of the first window.
    pub(super) last: usize,
}

impl Windows {
    /// Finds the windows among samples of these times.
    pub(super) fn find(&mut self, timestamps: &[TimestampMs], spec: &WindowSpec, steps: Steps) {
        if self.of == Some((*spec, steps)) && self.timestamps == timestamps {
            return;
        }
        self.of = Some((*spec, steps));
        self.timestamps.clear();
        self.timestamps.extend_from_slice(timestamps);
        self.factors = None;
        self.places.clear();
        self.seen = Seen::default();
        let mut span = Span::default();
        for (step, step_ms) in steps.iter().enumerate() {
            let end_ms = spec.end(step_ms);
            span.advance(timestamps, (end_ms.saturating_sub(spec.range_ms), end_ms));
            if !span.is_empty() {
                self.seen.count(span.len());
                self.places.push(Place { step, from: span.from, to: span.to });
            }
        }
        self.even = self.evenly();
    }

    fn evenly(&self) -> Option<Even> {
        let first = self.places.first()?;
        let even = Even { first: first.from, last: first.to - 1 };
        let follows = |(i, place): (usize, &Place)| {
            place.step == i && place.from == even.first + i && place.to == even.last + i + 1
        };
        let all = even.last > even.first && self.places.iter().enumerate().all(follows);
        all.then_some(even)
    }

    /// Calls `visit` with each window that holds any sample.
    #[inline]
    pub(super) fn each(&self, visit: impl FnMut(Place)) -> Seen {
        self.places.iter().copied().for_each(visit);
        self.seen
    }

    /// How many samples the windows hold.
    pub(super) fn seen(&self) -> Seen {
        self.seen
    }

    /// Where the samples of a window lie in it.
    #[inline]
    pub(super) fn shape(&self, place: Place) -> Shape {
        let (spec, steps) = self.of.as_ref().expect("a place was found for them");
        let (first_ms, last_ms) = (self.timestamps[place.from], self.timestamps[place.to - 1]);
        let end_ms = spec.end(steps.at(place.step));
        Shape {
            to_start_ms: first_ms - end_ms.saturating_sub(spec.range_ms),
            sampled_ms: last_ms - first_ms,
            to_end_ms: end_ms - last_ms,
            intervals: place.to - 1 - place.from,
        }
    }

    /// How the windows lie, and the factor of each for a rate whose counter was not zero lately; `None` if they do not lie evenly, one
    /// for each step, or are so short that any counter may have been.
    pub(super) fn factors(&mut self, kind: RateKind) -> Option<(Even, &[f64])> {
        let even =
            self.even.filter(|_| self.of.is_some_and(|(_, s)| s.count == self.places.len()))?;
        if self.factors.as_ref().is_none_or(|(known, _)| *known != kind) {
            let mut extrapolator = Extrapolator::new(kind);
            let factor = |place: &Place| extrapolator.unlimited(self.shape(*place));
            let factors = self.places.iter().map(factor).collect();
            self.factors = Some((kind, factors));
        }
        let (_, factors) = self.factors.as_ref()?;
        Some((even, factors.as_deref()?))
    }
}
