//! The functions of PromQL: one table of signatures, implementations by family.
//!
//! | family | shape | where |
//! |---|---|---|
//! | window functions | samples of a window -> cell | `rate*`, `over_time`, `predict`, and `sliding` where all are floats; dispatched by [`over_windows`] |
//! | cell functions | float -> float | `math`, `time` |
//! | row functions | labels -> labels | `labels` |
//! | vector functions | whole batches | `eval::{histogram, sort, absent, info}` |

pub mod classic;
pub mod labels;
pub mod math;
pub mod over_time;
pub mod predict;
pub mod quantile;
pub mod rate;
pub mod rate_extended;
mod rate_histogram;
pub mod signature;
mod sliding;
pub mod time;

use signature::Function;
pub use sliding::wide::{Extent, Teller};
pub use sliding::windows::Windows;

use crate::eval::batch::{Cells, Steps};
use crate::eval::window::{KernelContext, Samples, Seen, WindowSpec, slide};

/// Evaluates a window function for every step of one series; gives the cells and how many samples the windows held. `None`
/// if `function` is none.
pub fn over_windows(
    function: Function,
    samples: &Samples,
    spec: &WindowSpec,
    steps: Steps,
    cx: &mut KernelContext<'_>,
) -> Option<(Cells, Seen)> {
    sliding::over_floats(function, samples, spec, steps, cx)
        .or_else(|| over_each_window(function, samples, spec, steps, cx))
}

/// The same, every window by itself.
fn over_each_window(
    function: Function,
    samples: &Samples,
    spec: &WindowSpec,
    steps: Steps,
    cx: &mut KernelContext<'_>,
) -> Option<(Cells, Seen)> {
    let mut cells = Cells::absent(steps.count);
    // One loop for each kernel, so that it can be inlined there.
    let seen;
    macro_rules! table {
        ($($id:ident => $kernel:expr,)*) => {
            match function {
                $(Function::$id => {
                    seen = slide(samples, spec, steps, |w| cells.set(w.step, $kernel(w, cx)));
                })*
                _ => return None,
            }
        };
    }
    table! {
        AbsentOverTime => over_time::present,
        AvgOverTime => over_time::avg,
        Changes => rate::changes,
        CountOverTime => over_time::count,
        Delta => |w, cx| rate::rate(rate::DELTA, w, cx),
        Deriv => predict::deriv,
        DoubleExponentialSmoothing => predict::double_exponential_smoothing,
        FirstOverTime => over_time::first,
        Idelta => |w, cx| rate::instant_rate(false, w, cx),
        Increase => |w, cx| rate::rate(rate::INCREASE, w, cx),
        Irate => |w, cx| rate::instant_rate(true, w, cx),
        LastOverTime => over_time::last,
        MadOverTime => over_time::median_deviation,
        MaxOverTime => over_time::max,
        MinOverTime => over_time::min,
        PredictLinear => predict::predict_linear,
        PresentOverTime => over_time::present,
        QuantileOverTime => over_time::quantile_over_time,
        Rate => |w, cx| rate::rate(rate::RATE, w, cx),
        Resets => rate::resets,
        StddevOverTime => over_time::deviation,
        StdvarOverTime => over_time::variance,
        SumOverTime => over_time::sum,
        TsOfFirstOverTime => over_time::time_of_first,
        TsOfLastOverTime => over_time::time_of_last,
        TsOfMaxOverTime => over_time::time_of_max,
        TsOfMinOverTime => over_time::time_of_min,
    }
    Some((cells, seen))
}

/// Whether a window function's result is still the metric it was of, so that it keeps its name.
pub fn keeps_name(function: Function) -> bool {
    use Function::{AbsentOverTime, FirstOverTime, LastOverTime};
    matches!(function, FirstOverTime | LastOverTime | AbsentOverTime)
}

/// Whether a window function understands `anchored` windows.
pub fn takes_anchored(function: Function) -> bool {
    use Function::{Changes, Delta, Increase, Rate, Resets};
    matches!(function, Resets | Changes | Rate | Increase | Delta)
}

/// Whether a window function understands `smoothed` windows.
pub fn takes_smoothed(function: Function) -> bool {
    use Function::{Delta, Increase, Rate};
    matches!(function, Rate | Increase | Delta)
}

/// Whether a window function looks at start timestamps.
pub fn uses_starts(function: Function) -> bool {
    use Function::{Increase, Irate, Rate, Resets};
    matches!(function, Rate | Irate | Increase | Resets)
}

/// Whether the result may change with the step although no argument does.
pub fn depends_on_step(function: Function) -> bool {
    use Function::{
        DayOfMonth, DayOfWeek, DayOfYear, DaysInMonth, Hour, Minute, Month, PredictLinear, Time,
        Timestamp, Year,
    };
    matches!(
        function,
        DaysInMonth
            | DayOfMonth
            | DayOfWeek
            | DayOfYear
            | Hour
            | Minute
            | Month
            | Year
            | PredictLinear
            | Time
            | Timestamp
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::eval::batch::Cell;
    use crate::eval::notes::Notes;
    use crate::eval::window::{KernelScratch, Window};
    use crate::parser::ast::{EdgeMode, PosRange};

    pub(crate) fn floats(samples: &[(i64, f64)]) -> Samples {
        let mut out = Samples::default();
        for &(t, v) in samples {
            out.floats.timestamps.push(t);
            out.floats.values.push(v);
        }
        out
    }

    type Kernel = fn(&Window<'_>, &mut KernelContext<'_>) -> Cell;

    fn run(
        samples: &Samples,
        (end, range_ms): (i64, i64),
        edges: EdgeMode,
        args: &[f64],
        kernel: impl Fn(&Window<'_>, &mut KernelContext<'_>) -> Cell,
    ) -> Option<f64> {
        let spec = WindowSpec { range_ms, offset_ms: 0, at_ms: None, edges, lookback_ms: 100 };
        let args: Vec<Arc<[f64]>> = args.iter().map(|a| Arc::from([*a])).collect();
        let (mut notes, mut scratch) = (Notes::default(), KernelScratch::default());
        let mut cx = KernelContext {
            notes: &mut notes,
            metric: "m",
            pos: PosRange::default(),
            args: &args,
            scratch: &mut scratch,
        };
        let mut out = None;
        slide(samples, &spec, Steps::instant(end), |w| {
            if let Cell::Float(v) = kernel(w, &mut cx) {
                out = Some(v);
            }
        });
        out
    }

    fn compare(actual: Option<f64>, expected: Option<f64>) {
        match (actual, expected) {
            (Some(a), Some(e)) if a == e || ((a - e) / e).abs() < 1e-12 => {}
            (None, None) => {}
            _ => panic!("expected {expected:?}, got {actual:?}"),
        }
    }

    /// Checks a kernel on the window `(end - range, end]`.
    pub(crate) fn check(
        samples: &Samples,
        end: i64,
        range: i64,
        kernel: impl Fn(&Window<'_>, &mut KernelContext<'_>) -> Cell,
        expected: Option<f64>,
    ) {
        compare(run(samples, (end, range), EdgeMode::Plain, &[], kernel), expected);
    }

    pub(crate) fn check_args(
        samples: &Samples,
        end: i64,
        range: i64,
        args: &[f64],
        kernel: Kernel,
        expected: Option<f64>,
    ) {
        compare(run(samples, (end, range), EdgeMode::Plain, args, kernel), expected);
    }

    pub(crate) fn check_edges(
        samples: &Samples,
        end: i64,
        range: i64,
        edges: EdgeMode,
        kernel: impl Fn(&Window<'_>, &mut KernelContext<'_>) -> Cell,
        expected: Option<f64>,
    ) {
        compare(run(samples, (end, range), edges, &[], kernel), expected);
    }

    #[test]
    fn every_function_of_a_range_has_a_kernel() {
        use crate::parser::ast::ValueType;
        let samples = Samples::default();
        let spec = WindowSpec {
            range_ms: 1,
            offset_ms: 0,
            at_ms: None,
            edges: EdgeMode::Plain,
            lookback_ms: 1,
        };
        for &function in Function::ALL {
            let (mut notes, mut scratch) = (Notes::default(), KernelScratch::default());
            let mut cx = KernelContext {
                notes: &mut notes,
                metric: "",
                pos: PosRange::default(),
                args: &[],
                scratch: &mut scratch,
            };
            let takes_range = function.signature().args.contains(&ValueType::Matrix);
            let cells = over_windows(function, &samples, &spec, Steps::instant(0), &mut cx);
            assert_eq!(cells.is_some(), takes_range, "{function:?}");
        }
    }
}
