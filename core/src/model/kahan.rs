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

/// One addition, without a branch, so that loops over columns use whole registers: the sum and the compensation after it.
#[inline]
fn step(sum: f64, compensation: f64, value: f64) -> (f64, f64) {
    let total = sum + value;
    let sum_is_larger = sum.abs() >= value.abs();
    let larger = if sum_is_larger { sum } else { value };
    let smaller = if sum_is_larger { value } else { sum };
    let compensated = compensation + ((larger - total) + smaller);
    (total, if total.is_infinite() { 0.0 } else { compensated })
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
        (self.sum, self.compensation) = step(self.sum, self.compensation, value);
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

/// Several running sums side by side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KahanSums<const N: usize> {
    sums: [f64; N],
    compensations: [f64; N],
}

impl<const N: usize> Default for KahanSums<N> {
    fn default() -> Self {
        KahanSums { sums: [0.0; N], compensations: [0.0; N] }
    }
}

impl<const N: usize> KahanSums<N> {
    /// Sums, and what rounding has lost of each.
    pub fn new(sums: [f64; N], compensations: [f64; N]) -> Self {
        KahanSums { sums, compensations }
    }

    /// Adds a value to each sum, as [`KahanSum::add`] does.
    #[inline]
    pub fn add(&mut self, values: [f64; N]) {
        for ((sum, compensation), value) in
            self.sums.iter_mut().zip(&mut self.compensations).zip(values)
        {
            (*sum, *compensation) = step(*sum, *compensation, value);
        }
    }

    /// The best value known of each.
    #[inline]
    pub fn values(&self) -> [f64; N] {
        std::array::from_fn(|i| self.sums[i] + self.compensations[i])
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

    #[test]
    fn sums_side_by_side_are_sums() {
        let inf = f64::INFINITY;
        let columns = [
            [1.0, 1e100, 1.0, -1e100],
            [0.1, 0.2, 0.3, -0.0],
            [f64::MAX, f64::MAX, -f64::MAX, 1.0],
            [inf, 1.0, -inf, 2.0],
            [f64::NAN, 1.0, 2.0, inf],
        ];
        let (mut together, mut alone) = (KahanSums::<5>::default(), [KahanSum::default(); 5]);
        for row in 0..4 {
            together.add(columns.map(|column| column[row]));
            alone.iter_mut().zip(columns).for_each(|(sum, column)| sum.add(column[row]));
        }
        let expected = alone.map(|sum| sum.value().to_bits());
        assert_eq!(together.values().map(f64::to_bits), expected);
    }
}
