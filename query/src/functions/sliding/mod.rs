//! Window functions over floats that slide: what enters and what leaves a window is looked at, not all of it at every step.
//!
//! | function | state that slides | cost of a step |
//! |---|---|---|
//! | `rate`, `increase`, `delta` | positions of counter resets; the factor of the last shape of a window, or those of all windows | O(1) |
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
pub(super) mod windows;

use tidemark_core::model::time::TimestampMs;

use super::rate::{DELTA, INCREASE, RATE};
use super::signature::Function;
use crate::eval::batch::{Cells, Steps};
use crate::eval::window::{KernelContext, Samples, Seen, WindowSpec};
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
    // Taken and given back, since some functions use the rest of what they are lent.
    let mut windows = std::mem::take(&mut cx.scratch.windows);
    windows.find(t, spec, steps);
    let mut cells = Cells::absent(steps.count);
    let out = cells.floats_mut();
    let seconds = |t: TimestampMs| t as f64 / 1000.0;
    let seen = match function {
        Function::Rate => rate::rate(RATE, v, &mut windows, out),
        Function::Increase => rate::rate(INCREASE, v, &mut windows, out),
        Function::Delta => rate::rate(DELTA, v, &mut windows, out),
        Function::Irate => rate::instant_rate(true, (t, v), &windows, out),
        Function::Idelta => rate::instant_rate(false, (t, v), &windows, out),
        Function::Changes => {
            rate::count_pairs(v, &windows, out, |a, b| a != b && !(a.is_nan() && b.is_nan()))
        }
        Function::Resets => rate::count_pairs(v, &windows, out, |a, b| b < a),
        Function::MaxOverTime => {
            extreme::extreme(v, &windows, |v, best| v > best, |i| out[i.0] = v[i.1])
        }
        Function::MinOverTime => {
            extreme::extreme(v, &windows, |v, best| v < best, |i| out[i.0] = v[i.1])
        }
        Function::TsOfMaxOverTime => {
            extreme::extreme(v, &windows, |v, best| v >= best, |i| out[i.0] = seconds(t[i.1]))
        }
        Function::TsOfMinOverTime => {
            extreme::extreme(v, &windows, |v, best| v <= best, |i| out[i.0] = seconds(t[i.1]))
        }
        Function::SumOverTime => sums::sum(v, &windows, out),
        Function::AvgOverTime => sums::avg(v, &windows, out),
        Function::CountOverTime => windows.each(|w| out[w.step] = (w.to - w.from) as f64),
        Function::PresentOverTime | Function::AbsentOverTime => windows.each(|w| out[w.step] = 1.0),
        Function::FirstOverTime => windows.each(|w| out[w.step] = v[w.from]),
        Function::LastOverTime => windows.each(|w| out[w.step] = v[w.to - 1]),
        Function::TsOfFirstOverTime => windows.each(|w| out[w.step] = seconds(t[w.from])),
        Function::TsOfLastOverTime => windows.each(|w| out[w.step] = seconds(t[w.to - 1])),
        Function::QuantileOverTime => sorted::quantile_over_time(v, &windows, cx, out),
        _ => {
            cx.scratch.windows = windows;
            return None;
        }
    };
    cx.scratch.windows = windows;
    Some((cells, seen))
}
