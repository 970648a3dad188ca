//! What the kernels mean, one step after the other.

use tidemark_core::model::kahan::{KahanSum, KahanSums};
use tidemark_core::model::sample::is_stale;
use tidemark_core::model::time::TimestampMs;

use super::Sums;

/// See [`super::add_to_sums`].
pub(super) fn add_to_sums(into: &mut Sums<'_>, values: &[f64]) {
    let columns = into.totals.iter_mut().zip(&mut *into.compensations).zip(&mut *into.counts);
    for (((sum, compensation), count), &value) in columns.zip(values) {
        let mut kahan = KahanSum { sum: *sum, compensation: *compensation };
        kahan.add(value);
        if !is_stale(value) {
            (*sum, *compensation) = (kahan.sum, kahan.compensation);
            *count += 1.0;
        }
    }
}

/// See [`super::rates`].
pub(super) fn rates(first: &[f64], last: &[f64], factors: &[f64], out: &mut [f64]) -> bool {
    let mut limited = false;
    for (((out, &first), &last), &factor) in out.iter_mut().zip(first).zip(last).zip(factors) {
        let difference = last - first;
        limited |= difference > 0.0 && first >= 0.0 && first < difference;
        *out = difference * factor;
    }
    limited
}

/// See [`super::regression_sums`].
pub(super) fn regression_sums(
    times: &[TimestampMs],
    values: &[f64],
    zero_ms: TimestampMs,
) -> KahanSums<4> {
    let mut sums = KahanSums::default();
    for (&t, &y) in times.iter().zip(values) {
        let x = (t - zero_ms) as f64 / 1000.0;
        sums.add([x, y, x * y, x * x]);
    }
    sums
}
