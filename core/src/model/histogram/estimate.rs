//! What a histogram says of its observations: quantiles, fractions, variance.

use super::{Bucket, FloatHistogram};
use crate::model::kahan::KahanSum;

/// A quantile and whether observations that are NaN have moved it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantileEstimate {
    /// The value.
    pub value: f64,
    /// NaN observations lie above all buckets: the quantile is too high.
    pub skewed_by_nan: bool,
    /// The quantile falls among the NaN observations and is NaN.
    pub lost_in_nan: bool,
}

/// A fraction and whether observations that are NaN are missing in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FractionEstimate {
    /// The value, 0 to 1.
    pub value: f64,
    /// NaN observations are part of no fraction.
    pub without_nan: bool,
}

impl FloatHistogram {
    /// The value below which the fraction `q` of the observations lies. Interpolated evenly in the zero bucket and in
    /// custom buckets, else over the logarithm. NaN of an empty histogram, infinite for `q` outside 0 to 1.
    pub fn quantile(&self, q: f64) -> QuantileEstimate {
        let plain = |value| QuantileEstimate { value, skewed_by_nan: false, lost_in_nan: false };
        if q < 0.0 {
            return plain(f64::NEG_INFINITY);
        }
        if q > 1.0 {
            return plain(f64::INFINITY);
        }
        if self.count == 0.0 || q.is_nan() {
            return plain(f64::NAN);
        }
        // From the nearer end; always from below when NaN observations may lie above.
        let upwards = self.sum.is_nan() || q < 0.5;
        let buckets: Vec<Bucket> =
            if upwards { self.all_buckets().collect() } else { self.all_buckets().rev().collect() };
        let rank = if upwards { q * self.count } else { (1.0 - q) * self.count };
        let mut count = 0.0;
        let mut bucket = EMPTY;
        let mut rest = buckets.iter();
        for b in rest.by_ref() {
            bucket = *b;
            if b.count == 0.0 {
                continue;
            }
            count += b.count;
            if count >= rank {
                break;
            }
        }
        if self.is_custom() {
            if bucket.lower == f64::NEG_INFINITY {
                if bucket.upper <= 0.0 {
                    return plain(bucket.upper);
                }
                bucket.lower = 0.0;
            } else if bucket.upper == f64::INFINITY {
                return plain(bucket.lower);
            }
        } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
            self.one_sided_zero_bucket(&mut bucket);
        }
        // Rounding may have counted more than there are.
        count = count.min(self.count);
        if count < rank {
            let lost_in_nan = self.sum.is_nan();
            let value = if lost_in_nan { f64::NAN } else { bucket.upper };
            return QuantileEstimate { lost_in_nan, ..plain(value) };
        }
        let inside = if upwards { rank - (count - bucket.count) } else { count - rank };
        let skewed_by_nan =
            self.sum.is_nan() && count + rest.map(|b| b.count).sum::<f64>() < self.count;
        let fraction = inside / bucket.count;
        QuantileEstimate { skewed_by_nan, ..plain(self.interpolate(&bucket, fraction)) }
    }

    /// The value that has `fraction` of the bucket below it.
    fn interpolate(&self, bucket: &Bucket, fraction: f64) -> f64 {
        if self.is_custom() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
            return bucket.lower + (bucket.upper - bucket.lower) * fraction;
        }
        let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
        if bucket.lower > 0.0 {
            (lower + (upper - lower) * fraction).exp2()
        } else {
            -(upper + (lower - upper) * (1.0 - fraction)).exp2()
        }
    }

    /// A zero bucket beside buckets of one sign only is taken to hold observations of that sign.
    fn one_sided_zero_bucket(&self, bucket: &mut Bucket) {
        match (self.negative.is_empty(), self.positive.is_empty()) {
            (true, false) => bucket.lower = 0.0,
            (false, true) => bucket.upper = 0.0,
            _ => {}
        }
    }

    /// The fraction of the observations between two values. NaN of an empty histogram or for NaN bounds.
    pub fn fraction(&self, lower: f64, upper: f64) -> FractionEstimate {
        let plain = |value| FractionEstimate { value, without_nan: false };
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return plain(f64::NAN);
        }
        if lower >= upper {
            return plain(0.0);
        }
        let (mut rank, mut count) = (0.0, 0.0);
        let (mut lower_rank, mut upper_rank) = (None, None);
        let mut buckets = self.all_buckets();
        for mut b in buckets.by_ref() {
            count += b.count;
            let zero = b.lower <= 0.0 && b.upper >= 0.0;
            if zero {
                self.one_sided_zero_bucket(&mut b);
            }
            for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
                if found.is_some() {
                    continue;
                }
                if b.lower >= bound {
                    *found = Some(rank);
                } else if b.upper > bound {
                    let linear = self.is_custom() || zero;
                    *found = Some(if linear && b.lower == f64::NEG_INFINITY {
                        b.count
                    } else {
                        rank + b.count * b.fraction_below(bound, linear)
                    });
                }
            }
            if lower_rank.is_some() && upper_rank.is_some() {
                break;
            }
            rank += b.count;
        }
        let mut without_nan = false;
        if self.sum.is_nan() {
            count += buckets.map(|b| b.count).sum::<f64>();
            without_nan = count < self.count;
        } else {
            count = self.count;
        }
        let at_most = |rank: Option<f64>| rank.filter(|r| *r <= count).unwrap_or(count);
        let value = (at_most(upper_rank) - at_most(lower_rank)) / self.count;
        FractionEstimate { value, without_nan }
    }

    /// The variance, each observation taken to lie in the middle of its bucket.
    pub fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let mut total = KahanSum::default();
        for b in self.all_buckets().filter(|b| b.count != 0.0) {
            let middle = if self.is_custom() {
                f64::midpoint(b.upper, b.lower)
            } else if b.lower <= 0.0 && b.upper >= 0.0 {
                0.0
            } else {
                (b.upper * b.lower).sqrt().copysign(b.upper)
            };
            let delta = middle - mean;
            total.add(b.count * delta * delta);
        }
        total.value() / self.count
    }
}

const EMPTY: Bucket =
    Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };

#[cfg(test)]
mod tests {
    use super::super::tests::exponential;
    use super::*;

    #[test]
    fn quantiles_and_fractions_are_inverse() {
        let h = exponential(0, 2.0, &[(1, 4.0), (2, 8.0), (3, 2.0)]);
        for q in [0.01, 0.1, 0.3, 0.5, 0.7, 0.99] {
            let value = h.quantile(q).value;
            let back = h.fraction(f64::NEG_INFINITY, value).value;
            assert!((back - q).abs() < 1e-12, "{q} gave {value} gave {back}");
        }
        assert_eq!(h.quantile(-1.0).value, f64::NEG_INFINITY);
        assert_eq!(h.quantile(2.0).value, f64::INFINITY);
        assert!(FloatHistogram::default().quantile(0.5).value.is_nan());
        assert_eq!(h.fraction(2.0, 2.0).value, 0.0);
    }

    #[test]
    fn nan_observations_are_told() {
        let mut h = exponential(0, 0.0, &[(1, 4.0)]);
        h.sum = f64::NAN;
        h.count = 5.0;
        assert!(h.quantile(0.5).skewed_by_nan);
        assert!(h.quantile(0.9).lost_in_nan);
        assert!(h.fraction(0.0, 10.0).without_nan);
    }
}
