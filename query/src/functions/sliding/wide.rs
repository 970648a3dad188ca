//! Window functions from figures: what is told of all samples of a window, without looking at them.
//!
//! | function | figures |
//! |---|---|
//! | `count`, `present`, `first`, `last`, `min`, `max` and the times of first and last | theirs |
//! | `sum`, `avg` | exact sums |
//! | `resets` | falls |
//! | `rate`, `increase`, `delta` | first and last with their times, how many; of a counter that falls, exact sums of what it fell from |
//!
//! Each gives bit for bit what the kernels give of the samples, or nothing.

use tidemark_core::chunk::ChunkStatistics;
use tidemark_core::model::time::TimestampMs;

use super::super::rate::{DELTA, INCREASE, RATE, RateKind};
use super::super::signature::Function;
use super::rate::{Extrapolator, Shape};
use super::sums::EXACT_MAX;
use crate::eval::batch::ABSENT;

/// Some neighbouring samples of a series.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Time of the first.
    pub first_ms: TimestampMs,
    /// Time of the last.
    pub last_ms: TimestampMs,
    /// What is told of their values.
    pub statistics: ChunkStatistics,
}

impl Extent {
    /// Adds samples that follow.
    pub fn append(&mut self, later: &Extent) {
        self.last_ms = later.last_ms;
        self.statistics.append(&later.statistics);
    }
}

/// Evaluates a window function from extents, window after window.
pub struct Teller {
    function: Function,
    extrapolator: Option<Extrapolator>,
}

impl Teller {
    /// `None` if figures tell nothing of the function.
    pub fn new(function: Function) -> Option<Self> {
        use Function::{
            AbsentOverTime, AvgOverTime, CountOverTime, Delta, FirstOverTime, Increase,
            LastOverTime, MaxOverTime, MinOverTime, PresentOverTime, Rate, Resets, SumOverTime,
            TsOfFirstOverTime, TsOfLastOverTime,
        };
        let extrapolator = match function {
            Rate => Some(Extrapolator::new(RATE)),
            Increase => Some(Extrapolator::new(INCREASE)),
            Delta => Some(Extrapolator::new(DELTA)),
            AbsentOverTime | AvgOverTime | CountOverTime | FirstOverTime | LastOverTime
            | MaxOverTime | MinOverTime | PresentOverTime | Resets | SumOverTime
            | TsOfFirstOverTime | TsOfLastOverTime => None,
            _ => return None,
        };
        Some(Teller { function, extrapolator })
    }

    /// Whether these figures can be a part of what tells a window: if not, there is no use in reading those beside them.
    pub fn understands(&self, statistics: &ChunkStatistics) -> bool {
        let sums = match self.function {
            Function::SumOverTime | Function::AvgOverTime => true,
            _ => {
                self.extrapolator.as_ref().is_some_and(|e| e.kind().counter) && statistics.falls > 0
            }
        };
        !sums || statistics.sums.is_some()
    }

    /// The value at a step whose window begins and ends at `window`, and holds exactly `of`; [`ABSENT`] if there is none. `None` if
    /// the samples have to be looked at.
    pub fn tell(&mut self, of: &Extent, window: (TimestampMs, TimestampMs)) -> Option<f64> {
        let s = &of.statistics;
        let seconds = |t: TimestampMs| t as f64 / 1000.0;
        Some(match self.function {
            Function::CountOverTime => s.samples as f64,
            Function::PresentOverTime | Function::AbsentOverTime => 1.0,
            Function::FirstOverTime => s.first,
            Function::LastOverTime => s.last,
            Function::MinOverTime => s.min,
            Function::MaxOverTime => s.max,
            Function::TsOfFirstOverTime => seconds(of.first_ms),
            Function::TsOfLastOverTime => seconds(of.last_ms),
            Function::Resets => s.falls as f64,
            Function::SumOverTime => s.sums?.values,
            Function::AvgOverTime => s.sums?.values / s.samples as f64,
            _ => self.rate(of, window)?,
        })
    }

    fn rate(&mut self, of: &Extent, (start_ms, end_ms): (TimestampMs, TimestampMs)) -> Option<f64> {
        let (extrapolator, s) = (self.extrapolator.as_mut()?, &of.statistics);
        if s.samples < 2 {
            return Some(ABSENT);
        }
        let difference = difference(extrapolator.kind(), s)?;
        let shape = Shape {
            to_start_ms: of.first_ms - start_ms,
            sampled_ms: of.last_ms - of.first_ms,
            to_end_ms: end_ms - of.last_ms,
            intervals: s.samples as usize - 1,
        };
        Some(difference * extrapolator.factor(shape, s.first, difference))
    }
}

/// How far the values went, resets undone.
fn difference(kind: RateKind, s: &ChunkStatistics) -> Option<f64> {
    let difference = s.last - s.first;
    if !kind.counter || s.falls == 0 {
        return Some(difference);
    }
    // Exact in whatever order it is added up, as long as all of it stays among the exact integers.
    let reach = (s.samples as f64 + 2.0) * s.min.abs().max(s.max.abs());
    s.sums.filter(|_| reach < EXACT_MAX).map(|sums| difference + sums.before_falls)
}
