//! `sum_over_time` and `avg_over_time`.
//!
//! A compensated sum depends on the order of its additions, so it cannot be had by taking away what leaves a window: the last bits
//! would differ. But as long as all values are whole numbers and no sum of them leaves the integers that a float holds exactly,
//! nothing is ever rounded, and a difference of running sums is the same number. Other windows are added up anew.

use super::super::over_time::{mean, sum_of};
use super::windows::Windows;
use crate::eval::window::Seen;

/// Whole numbers up to here are exact in a float.
pub(super) const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// `sum_over_time`
pub(super) fn sum(values: &[f64], windows: &Windows, out: &mut [f64]) -> Seen {
    match WholeSums::of(values) {
        Some(sums) => windows.each(|w| {
            let exact = sums.between(w.from, w.to);
            out[w.step] = exact.unwrap_or_else(|| sum_of(&values[w.from..w.to]));
        }),
        None => windows.each(|w| out[w.step] = sum_of(&values[w.from..w.to])),
    }
}

/// `avg_over_time`
pub(super) fn avg(values: &[f64], windows: &Windows, out: &mut [f64]) -> Seen {
    match WholeSums::of(values) {
        Some(sums) => windows.each(|w| {
            let exact = sums.between(w.from, w.to).map(|sum| sum / (w.to - w.from) as f64);
            out[w.step] = exact.unwrap_or_else(|| mean(&values[w.from..w.to]));
        }),
        None => windows.each(|w| out[w.step] = mean(&values[w.from..w.to])),
    }
}

/// Running sums of whole numbers.
struct WholeSums {
    /// The sum of all values before each, modulo 2^64: only differences are looked at, and those fit.
    before: Vec<i64>,
    /// How many values can be added up without leaving the exact integers.
    exact_len: usize,
}

impl WholeSums {
    /// `None` if not all values are whole numbers.
    fn of(values: &[f64]) -> Option<Self> {
        let mut largest = 1.0_f64;
        for &v in values {
            // False for NaN and the infinities, too.
            if !(v.abs() <= EXACT_MAX && v.trunc() == v) {
                return None;
            }
            largest = largest.max(v.abs());
        }
        let mut before = Vec::with_capacity(values.len() + 1);
        let mut sum = 0_i64;
        before.push(sum);
        for &v in values {
            sum = sum.wrapping_add(v as i64);
            before.push(sum);
        }
        Some(WholeSums { before, exact_len: (EXACT_MAX / largest) as usize })
    }

    /// The sum of the values from `from` to before `to`; `None` if it may have been rounded on the way.
    #[inline]
    fn between(&self, from: usize, to: usize) -> Option<f64> {
        let sum = self.before[to].wrapping_sub(self.before[from]);
        (to - from <= self.exact_len).then_some(sum as f64)
    }
}
