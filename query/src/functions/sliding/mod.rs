//! Window functions over floats that slide: what enters and what leaves a window is looked at, not all of it at every step.
//!
//! | function | state that slides | cost of a step |
//! |---|---|---|
//! | `rate`, `increase`, `delta` | positions of counter resets; the factor of the last shape of a window | O(1) |
//! | `irate`, `idelta`, `first`, `last`, `count`, `present` | none | O(1) |
//! | `changes`, `resets` | running counts | O(1) |
//! | `min`, `max` and their times | monotone queue | O(entering) |
//! | `sum`, `avg` | running sums where all values are whole numbers and stay exact; else the window is added up anew | O(1), or O(window) |
//! | `quantile` | sorted window | O(entering + leaving) |
//!
//! Each gives bit for bit what the kernel in `over_time` and `rate` gives of the whole window: those take every window that has
//! histograms, extended edges or start timestamps, and are what these are tested against.

mod extreme;
mod rate;
mod sorted;
mod sums;
#[cfg(test)]
mod tests;
pub(super) mod wide;

use tidemark_core::model::time::TimestampMs;

use super::rate::{DELTA, INCREASE, RATE};
use super::signature::Function;
use crate::eval::batch::{Cells, Steps};
use crate::eval::window::{KernelContext, Samples, Seen, Span, WindowSpec};
use crate::parser::ast::EdgeMode;

/// Evaluates a window function for every step of one series of floats. `None` if it has to be done window by window.
pub(super) fn over_floats(
    function: Function,
    samples: &Samples,
    spec: &WindowSpec,
    steps: Steps,
    cx: &mut KernelContext<'_>,
) -> Option<(Cells, Seen)> {
    let floats = &samples.floats;
    let plain = samples.histograms.values.is_empty() && floats.starts.is_empty();
    if !plain || spec.edges != EdgeMode::Plain {
        return None;
    }
    let (t, v) = (&floats.timestamps[..], &floats.values[..]);
    let walk = Walk { timestamps: t, spec, steps };
    let mut cells = Cells::absent(steps.count);
    let out = cells.floats_mut();
    let seconds = |t: TimestampMs| t as f64 / 1000.0;
    let seen = match function {
        Function::Rate => rate::rate(RATE, samples, walk, out),
        Function::Increase => rate::rate(INCREASE, samples, walk, out),
        Function::Delta => rate::rate(DELTA, samples, walk, out),
        Function::Irate => rate::instant_rate(true, samples, walk, out),
        Function::Idelta => rate::instant_rate(false, samples, walk, out),
        Function::Changes => {
            rate::count_pairs(samples, walk, out, |a, b| a != b && !(a.is_nan() && b.is_nan()))
        }
        Function::Resets => rate::count_pairs(samples, walk, out, |a, b| b < a),
        Function::MaxOverTime => {
            extreme::extreme(v, walk, |v, best| v > best, |i| out[i.0] = v[i.1])
        }
        Function::MinOverTime => {
            extreme::extreme(v, walk, |v, best| v < best, |i| out[i.0] = v[i.1])
        }
        Function::TsOfMaxOverTime => {
            extreme::extreme(v, walk, |v, best| v >= best, |i| out[i.0] = seconds(t[i.1]))
        }
        Function::TsOfMinOverTime => {
            extreme::extreme(v, walk, |v, best| v <= best, |i| out[i.0] = seconds(t[i.1]))
        }
        Function::SumOverTime => sums::sum(v, walk, out),
        Function::AvgOverTime => sums::avg(v, walk, out),
        Function::CountOverTime => walk.each(|w| out[w.step] = (w.to - w.from) as f64),
        Function::PresentOverTime | Function::AbsentOverTime => walk.each(|w| out[w.step] = 1.0),
        Function::FirstOverTime => walk.each(|w| out[w.step] = v[w.from]),
        Function::LastOverTime => walk.each(|w| out[w.step] = v[w.to - 1]),
        Function::TsOfFirstOverTime => walk.each(|w| out[w.step] = seconds(t[w.from])),
        Function::TsOfLastOverTime => walk.each(|w| out[w.step] = seconds(t[w.to - 1])),
        Function::QuantileOverTime => sorted::quantile_over_time(v, walk, cx, out),
        _ => return None,
    };
    Some((cells, seen))
}

/// The windows of a series, in the order of the steps.
#[derive(Clone, Copy)]
struct Walk<'a> {
    timestamps: &'a [TimestampMs],
    spec: &'a WindowSpec,
    steps: Steps,
}

/// One window that holds any sample.
#[derive(Clone, Copy)]
struct Place {
    step: usize,
    /// Its first sample.
    from: usize,
    /// The sample after its last.
    to: usize,
    start_ms: TimestampMs,
    end_ms: TimestampMs,
}

impl Walk<'_> {
    /// Calls `visit` with each window that holds any sample.
    #[inline]
    fn each(self, mut visit: impl FnMut(Place)) -> Seen {
        let mut seen = Seen::default();
        let mut span = Span::default();
        for (step, step_ms) in self.steps.iter().enumerate() {
            let end_ms = self.spec.end(step_ms);
            let start_ms = end_ms.saturating_sub(self.spec.range_ms);
            span.advance(self.timestamps, (start_ms, end_ms));
            if !span.is_empty() {
                seen.count(span.len());
                visit(Place { step, from: span.from, to: span.to, start_ms, end_ms });
            }
        }
        seen
    }
}
