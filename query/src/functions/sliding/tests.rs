//! Every sliding function against the same function of each window by itself.

use std::sync::Arc;

use proptest::prelude::*;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::sample::STALE_NAN;

use super::super::over_each_window;
use super::*;
use crate::eval::notes::Notes;
use crate::eval::window::KernelScratch;
use crate::parser::ast::PosRange;

/// Samples with gaps, resets, staleness markers, and every kind of number.
fn columns() -> impl Strategy<Value = SampleColumns> {
    let step = prop_oneof![
        6 => Just(15_000_i64),
        2 => 14_900_i64..15_100,
        1 => 1_i64..200_000,
    ];
    let whole = (0_u32..50).prop_map(f64::from);
    let decimal = (0_u32..5_000).prop_map(|v| f64::from(v) / 100.0);
    let special = prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(STALE_NAN),
        Just(-0.0),
        Just(9.1e15),
        Just(-9.007_199_254_740_992e15),
        Just(f64::MAX),
        Just(1e-300),
    ];
    let value = move |kind: u8| match kind {
        0 => whole.clone().boxed(),
        1 => decimal.clone().boxed(),
        2 => prop_oneof![3 => whole.clone(), 1 => special.clone()].boxed(),
        _ => prop_oneof![3 => decimal.clone(), 1 => special.clone()].boxed(),
    };
    let samples = (0_u8..4)
        .prop_flat_map(move |kind| proptest::collection::vec((step.clone(), value(kind)), 0..120));
    (samples, any::<bool>(), any::<bool>()).prop_map(|(samples, counter, regular)| {
        let (mut out, mut t, mut total) = (SampleColumns::new(), 0, 0.0);
        for (step, v) in samples {
            t += if regular { 15_000 } else { step };
            // A counter that resets now and then.
            total = if v == 7.0 { 0.0 } else { total + v };
            out.push(t, if counter && v.is_finite() { total } else { v });
        }
        out
    })
}

fn run(
    evaluate: impl Fn(
        Function,
        &Samples,
        &WindowSpec,
        Steps,
        &mut KernelContext<'_>,
    ) -> Option<(Cells, Seen)>,
    function: Function,
    samples: &Samples,
    (spec, steps): (&WindowSpec, Steps),
    q: f64,
) -> (Vec<f64>, usize, usize, Vec<String>) {
    let (mut notes, mut scratch) = (Notes::default(), KernelScratch::default());
    let args: Vec<Arc<[f64]>> = vec![vec![q; steps.count].into()];
    let mut cx = KernelContext {
        notes: &mut notes,
        metric: "m",
        pos: PosRange::default(),
        args: &args,
        scratch: &mut scratch,
    };
    let (cells, seen) = evaluate(function, samples, spec, steps, &mut cx).unwrap();
    (cells.floats().to_vec(), seen.widest, seen.total, notes.texts("").0)
}

/// The same bits; only which NaN, and the sign of a zero among the equals of a quantile, are left open.
fn same(function: Function, a: f64, b: f64) -> bool {
    let loose = function == Function::QuantileOverTime && a == b;
    a.to_bits() == b.to_bits()
        || (a.is_nan() && b.is_nan() && is_absent(a) == is_absent(b))
        || loose
}

fn is_absent(v: f64) -> bool {
    v.to_bits() == STALE_NAN.to_bits()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn sliding_changes_no_bit(
        mut columns in columns(),
        range_ms in prop_oneof![Just(60_000_i64), 1_i64..400_000],
        interval_ms in prop_oneof![Just(15_000_i64), Just(60_000), 1_i64..300_000],
        offset_ms in prop_oneof![Just(0_i64), -50_000_i64..50_000],
        start_ms in -100_000_i64..1_000_000,
        count in 0_usize..80,
        q in prop_oneof![Just(0.5), Just(0.9), -0.1_f64..1.1],
    ) {
        let mut samples = Samples::default();
        samples.take_columns(&mut columns, false);
        let spec =
            WindowSpec { range_ms, offset_ms, at_ms: None, edges: EdgeMode::Plain, lookback_ms: 0 };
        let steps = Steps { start_ms, interval_ms, count };
        let mut slid = 0;
        for &function in Function::ALL {
            let (mut notes, mut scratch) = (Notes::default(), KernelScratch::default());
            let args: Vec<Arc<[f64]>> = vec![vec![q; count].into()];
            let mut cx = KernelContext {
                notes: &mut notes, metric: "m", pos: PosRange::default(), args: &args, scratch: &mut scratch,
            };
            if over_floats(function, &samples, &spec, steps, &mut cx).is_none() {
                continue;
            }
            slid += 1;
            let fast = run(over_floats, function, &samples, (&spec, steps), q);
            let naive = run(over_each_window, function, &samples, (&spec, steps), q);
            for (step, (a, b)) in fast.0.iter().zip(&naive.0).enumerate() {
                prop_assert!(same(function, *a, *b), "{function:?} at step {step}: {a} is not {b}");
            }
            prop_assert_eq!((fast.1, fast.2, fast.3), (naive.1, naive.2, naive.3));
        }
        prop_assert_eq!(slid, 21);
    }

    /// One series after the other, as they come in a query: with the same times, with others, near zero and far from it.
    #[test]
    fn what_is_kept_of_one_series_changes_no_bit_of_the_next(
        series in proptest::collection::vec(
            (0_i64..3, 0.0_f64..50.0, proptest::collection::vec(0_u8..5, 40..60)), 1..6),
        interval_ms in prop_oneof![4 => Just(15_000_i64), 1 => Just(30_000)],
        range_ms in prop_oneof![Just(300_000_i64), Just(31_000), Just(29_000)],
    ) {
        let spec = WindowSpec {
            range_ms, offset_ms: 0, at_ms: None, edges: EdgeMode::Plain, lookback_ms: 0,
        };
        let steps = Steps { start_ms: 330_000, interval_ms, count: 18 };
        let (mut notes, mut scratch) = (Notes::default(), KernelScratch::default());
        for (shift_ms, begin, growth) in series {
            let (mut samples, mut total) = (Samples::default(), begin);
            for (i, growth) in growth.into_iter().enumerate() {
                // Few fall back.
                total = if growth == 4 && i % 7 == 0 { 0.0 } else { total + f64::from(growth) };
                samples.floats.timestamps.push(i as i64 * 15_000 + shift_ms);
                samples.floats.values.push(total);
            }
            for function in [Function::Rate, Function::Increase, Function::Delta] {
                let mut cx = KernelContext {
                    notes: &mut notes, metric: "m", pos: PosRange::default(), args: &[], scratch: &mut scratch,
                };
                let fast = over_floats(function, &samples, &spec, steps, &mut cx).unwrap().0;
                let naive = run(over_each_window, function, &samples, (&spec, steps), 0.0).0;
                for (step, (a, b)) in fast.floats().iter().zip(&naive).enumerate() {
                    prop_assert!(same(function, *a, *b), "{function:?} at step {step}: {a} is not {b}");
                }
            }
        }
    }
}
