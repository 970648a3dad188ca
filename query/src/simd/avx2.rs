//! The kernels in AVX2, four steps at a time. Each is tested against its twin in [`super::scalar`], which does the last ones.

#![allow(clippy::wildcard_imports)] // of instructions

use std::arch::x86_64::*;

use tidemark_core::model::kahan::KahanSums;
use tidemark_core::model::sample::STALE_NAN_BITS;
use tidemark_core::model::time::TimestampMs;

use super::{Sums, scalar};

#[target_feature(enable = "avx2")]
fn load(four: &[f64; 4]) -> __m256d {
    // SAFETY: it reads the array, wherever that lies.
    unsafe { _mm256_loadu_pd(four.as_ptr()) }
}

#[target_feature(enable = "avx2")]
fn store(four: &mut [f64; 4], lanes: __m256d) {
    // SAFETY: it writes the array, wherever that lies.
    unsafe { _mm256_storeu_pd(four.as_mut_ptr(), lanes) }
}

/// One compensated addition to each of four sums: the sums and the compensations after it.
#[inline]
#[target_feature(enable = "avx2")]
fn add(sum: __m256d, compensation: __m256d, value: __m256d) -> (__m256d, __m256d) {
    let sign = _mm256_set1_pd(-0.0);
    let infinity = _mm256_set1_pd(f64::INFINITY);
    let total = _mm256_add_pd(sum, value);
    let (sum_size, value_size) = (_mm256_andnot_pd(sign, sum), _mm256_andnot_pd(sign, value));
    let sum_is_larger = _mm256_cmp_pd::<_CMP_GE_OQ>(sum_size, value_size);
    let larger = _mm256_blendv_pd(value, sum, sum_is_larger);
    let smaller = _mm256_blendv_pd(sum, value, sum_is_larger);
    let lost = _mm256_add_pd(_mm256_sub_pd(larger, total), smaller);
    let is_infinite = _mm256_cmp_pd::<_CMP_EQ_OQ>(_mm256_andnot_pd(sign, total), infinity);
    (total, _mm256_andnot_pd(is_infinite, _mm256_add_pd(compensation, lost)))
}

/// See [`super::add_to_sums`].
#[target_feature(enable = "avx2")]
pub(super) fn add_to_sums(into: &mut Sums<'_>, values: &[f64]) {
    let stale = _mm256_set1_epi64x(STALE_NAN_BITS as i64);
    let one = _mm256_set1_pd(1.0);
    let (sums, totals) = into.totals.as_chunks_mut::<4>();
    let (lost, compensations) = into.compensations.as_chunks_mut::<4>();
    let (numbers, counts) = into.counts.as_chunks_mut::<4>();
    let (fours, rest) = values.as_chunks::<4>();
    for (((sums, lost), numbers), four) in sums.iter_mut().zip(lost).zip(numbers).zip(fours) {
        let (sum, compensation, value) = (load(sums), load(lost), load(four));
        let absent = _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_castpd_si256(value), stale));
        let (total, compensated) = add(sum, compensation, value);
        store(sums, _mm256_blendv_pd(total, sum, absent));
        store(lost, _mm256_blendv_pd(compensated, compensation, absent));
        store(numbers, _mm256_add_pd(load(numbers), _mm256_andnot_pd(absent, one)));
    }
    scalar::add_to_sums(&mut Sums { totals, compensations, counts }, rest);
}

/// See [`super::rates`].
#[target_feature(enable = "avx2")]
pub(super) fn rates(first: &[f64], last: &[f64], factors: &[f64], out: &mut [f64]) -> bool {
    let zero = _mm256_setzero_pd();
    let mut limited = zero;
    let (firsts, first_rest) = first.as_chunks::<4>();
    let (lasts, last_rest) = last.as_chunks::<4>();
    let (fours, factors_rest) = factors.as_chunks::<4>();
    let (outs, out_rest) = out.as_chunks_mut::<4>();
    for (((out, first), last), factors) in outs.iter_mut().zip(firsts).zip(lasts).zip(fours) {
        let (first, last) = (load(first), load(last));
        let difference = _mm256_sub_pd(last, first);
        let rises = _mm256_cmp_pd::<_CMP_GT_OQ>(difference, zero);
        let counts = _mm256_cmp_pd::<_CMP_GE_OQ>(first, zero);
        let near_zero = _mm256_cmp_pd::<_CMP_LT_OQ>(first, difference);
        let both = _mm256_and_pd(rises, _mm256_and_pd(counts, near_zero));
        limited = _mm256_or_pd(limited, both);
        store(out, _mm256_mul_pd(difference, load(factors)));
    }
    let rest = scalar::rates(first_rest, last_rest, factors_rest, out_rest);
    rest | (_mm256_movemask_pd(limited) != 0)
}

/// See [`super::regression_sums`]. The four sums of a sample stand side by side: a sum cannot be divided among lanes, since the order
/// of its additions is part of the result.
#[target_feature(enable = "avx2")]
pub(super) fn regression_sums(
    times: &[TimestampMs],
    values: &[f64],
    zero_ms: TimestampMs,
) -> KahanSums<4> {
    let (mut sums, mut compensations) = (_mm256_setzero_pd(), _mm256_setzero_pd());
    for (&t, &y) in times.iter().zip(values) {
        let x = (t - zero_ms) as f64 / 1000.0;
        let terms = _mm256_setr_pd(x, y, x * y, x * x);
        (sums, compensations) = add(sums, compensations, terms);
    }
    let (mut all, mut lost) = ([0.0; 4], [0.0; 4]);
    store(&mut all, sums);
    store(&mut lost, compensations);
    KahanSums::new(all, lost)
}
