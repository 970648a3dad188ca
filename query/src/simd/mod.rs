//! The inner loops over the steps of a row, four steps at a time.
//!
//! Each kernel exists twice: [`scalar`] says what it means, `avx2` does the same in the same order of operations, so that not a bit
//! differs. Which one runs is found out at run time, once. Any core may call them: they touch nothing but their arguments.

use tidemark_core::model::kahan::KahanSums;
use tidemark_core::model::time::TimestampMs;

#[cfg(target_arch = "x86_64")]
mod avx2;
mod scalar;

/// Calls the kernel of the best instruction set that this processor has.
macro_rules! dispatch {
    ($kernel:ident($($argument:expr),*)) => {{
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, which is all that the kernel asks for.
            return unsafe { avx2::$kernel($($argument),*) };
        }
        scalar::$kernel($($argument),*)
    }};
}

/// Running sums side by side, in columns of one element a step.
pub(crate) struct Sums<'a> {
    /// What the values add up to, as far as it was not rounded away.
    pub(crate) totals: &'a mut [f64],
    /// What was.
    pub(crate) compensations: &'a mut [f64],
    /// How many values there were.
    pub(crate) counts: &'a mut [f64],
}

/// Adds a value to the sum of each step, as [`KahanSum::add`](tidemark_core::model::kahan::KahanSum::add) does, but for those that
/// are absent. The columns are of the same length.
pub(crate) fn add_to_sums(sums: &mut Sums<'_>, values: &[f64]) {
    let len = values.len();
    assert!(
        sums.totals.len() == len && sums.compensations.len() == len && sums.counts.len() == len
    );
    dispatch!(add_to_sums(sums, values));
}

/// Writes `(last - first) * factor` of each window to `out`. The columns are of the same length. Whether any difference is positive
/// and greater than a first value that is not negative: such a counter was zero so lately that its factor may be another.
pub(crate) fn rates(first: &[f64], last: &[f64], factors: &[f64], out: &mut [f64]) -> bool {
    let len = out.len();
    assert!(first.len() == len && last.len() == len && factors.len() == len);
    dispatch!(rates(first, last, factors, out))
}

/// The sums of x, y, x * y and x * x over samples of the same number of times and values, each compensated by itself; x is the time
/// after `zero_ms` in seconds.
pub(crate) fn regression_sums(
    times: &[TimestampMs],
    values: &[f64],
    zero_ms: TimestampMs,
) -> KahanSums<4> {
    assert_eq!(times.len(), values.len());
    dispatch!(regression_sums(times, values, zero_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidemark_core::model::sample::STALE_NAN;

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            6 => any::<f64>(),
            6 => -1e3_f64..1e3,
            1 => Just(STALE_NAN),
            1 => Just(f64::INFINITY),
            1 => Just(f64::NEG_INFINITY),
            1 => Just(f64::MAX),
            1 => Just(-0.0),
        ]
    }

    /// A NaN that arithmetic makes has no payload that anybody promises.
    fn bits(column: &[f64]) -> Vec<u64> {
        column.iter().map(|v| if v.is_nan() { f64::NAN } else { *v }.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_twin(
            rows in (0_usize..23).prop_flat_map(|steps| {
                proptest::collection::vec(proptest::collection::vec(number(), steps), 1..12)
            }),
        ) {
            let fresh = || [vec![-0.0; rows[0].len()], vec![0.0; rows[0].len()], vec![0.0; rows[0].len()]];
            let (mut fast, mut plain) = (fresh(), fresh());
            for row in &rows {
                let [totals, compensations, counts] = &mut fast;
                add_to_sums(&mut Sums { totals, compensations, counts }, row);
                let [totals, compensations, counts] = &mut plain;
                scalar::add_to_sums(&mut Sums { totals, compensations, counts }, row);
            }
            for (fast, plain) in fast.iter().zip(&plain) {
                prop_assert_eq!(bits(fast), bits(plain));
            }
        }

        #[test]
        fn regressions_are_those_of_the_twin(
            samples in proptest::collection::vec((any::<i32>(), number()), 0..23),
            zero_ms in -1_000_000_i64..1_000_000,
        ) {
            let (times, values): (Vec<i64>, Vec<f64>) =
                samples.iter().map(|(t, v)| (i64::from(*t), *v)).unzip();
            let fast = regression_sums(&times, &values, zero_ms).values();
            let plain = scalar::regression_sums(&times, &values, zero_ms).values();
            prop_assert_eq!(bits(&fast), bits(&plain));
        }

        #[test]
        fn rates_are_those_of_the_twin(
            windows in proptest::collection::vec((number(), number(), number()), 0..23),
        ) {
            let column = |of: fn(&(f64, f64, f64)) -> f64| windows.iter().map(of).collect::<Vec<_>>();
            let (first, last, factors) = (column(|w| w.0), column(|w| w.1), column(|w| w.2));
            let (mut fast, mut plain) = (vec![0.0; windows.len()], vec![0.0; windows.len()]);
            let limited = rates(&first, &last, &factors, &mut fast);
            prop_assert_eq!(limited, scalar::rates(&first, &last, &factors, &mut plain));
            prop_assert_eq!(bits(&fast), bits(&plain));
        }
    }
}
