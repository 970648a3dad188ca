//! Compensated addition after Kahan, Babuška and Neumaier.
//!
//! Prometheus adds this way wherever many values meet (`sum`, `avg`, `sum_over_time`, regressions, histograms), so equal
//! answers need the same order of operations: every function here is one of its steps.

/// A running sum and what rounding has lost of it so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KahanSum {
    /// The rounded sum.
    pub sum: f64,
    /// The lost low-order part.
    pub compensation: f64,
}

impl KahanSum {
    /// A sum of one value.
    #[inline]
    pub fn new(value: f64) -> Self {
        KahanSum { sum: value, compensation: 0.0 }
    }

    /// Adds `value`. Once the sum is infinite there is nothing left to compensate.
    #[inline]
    pub fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.compensation += (self.sum - total) + value;
        } else {
            self.compensation += (value - total) + self.sum;
        }
        self.sum = total;
    }

    /// Adds another running sum.
    #[inline]
    pub fn merge(&mut self, other: KahanSum) {
        self.add(other.sum);
        if !self.sum.is_infinite() {
            self.compensation += other.compensation;
        }
    }

    /// Multiplies both parts.
    #[inline]
    pub fn scale(&mut self, factor: f64) {
        self.sum *= factor;
        self.compensation *= factor;
    }

    /// The best value known.
    #[inline]
    pub fn value(self) -> f64 {
        self.sum + self.compensation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = KahanSum::default();
        for &v in values {
            sum.add(v);
        }
        sum.value()
    }

    #[test]
    fn keeps_what_plain_addition_loses() {
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }

    #[test]
    fn merging_parts_equals_adding_all() {
        let (mut a, mut b) = (KahanSum::default(), KahanSum::default());
        for v in [1.0, 1e100] {
            a.add(v);
        }
        for v in [1.0, -1e100] {
            b.add(v);
        }
        a.merge(b);
        assert_eq!(a.value(), 2.0);
    }
}
