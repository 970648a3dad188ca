//! Where buckets begin and end, and walks over them in order of value.

use std::fmt;

use super::{CUSTOM_SCHEMA, FloatHistogram, GoFloat};

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether the lower bound is inside.
    pub lower_inclusive: bool,
    /// Whether the upper bound is inside.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
}

impl Bucket {
    /// The part of the bucket, 0 to 1, that lies at or below `v`, which must be strictly inside finite bounds. The
    /// observations are taken to be spread evenly over the width, or over the logarithm when not `linear`.
    pub fn fraction_below(&self, v: f64, linear: bool) -> f64 {
        if linear {
            return (v - self.lower) / (self.upper - self.lower);
        }
        let (lower, upper, v_log) =
            (self.lower.abs().log2(), self.upper.abs().log2(), v.abs().log2());
        if v > 0.0 {
            (v_log - lower) / (upper - lower)
        } else {
            1.0 - (v_log - upper) / (lower - upper)
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        let (lower, upper) = (GoFloat(self.lower), GoFloat(self.upper));
        write!(f, "{open}{lower},{upper}{close}:{}", GoFloat(self.count))
    }
}

/// The upper bound of positive bucket `index` of an exponential schema.
///
/// The bucket that would end at 2^1024 ends at the largest finite number, so that infinity has a bucket of its own.
pub fn exponential_bound(index: i32, schema: i32) -> f64 {
    if schema < 0 {
        let exponent = i64::from(index) << -schema;
        return if exponent == 1024 { f64::MAX } else { power_of_two(exponent) };
    }
    let per_power = 1_i32 << schema;
    let step = index.rem_euclid(per_power);
    let exponent = i64::from(index.div_euclid(per_power));
    if step == 0 && exponent == 1024 {
        return f64::MAX;
    }
    // In [1, 2), as the exact power of two scales without rounding.
    let mantissa = (f64::from(step) / f64::from(per_power)).exp2();
    if exponent < -1022 {
        return mantissa * power_of_two(exponent + 200) * power_of_two(-200);
    }
    mantissa * power_of_two(exponent)
}

fn power_of_two(exponent: i64) -> f64 {
    (exponent.clamp(-1100, 1100) as f64).exp2()
}

impl FloatHistogram {
    /// The upper bound of bucket `index` of the positive (or custom) side; that of -1 in a custom layout is -infinity.
    fn upper_bound(&self, index: i32) -> f64 {
        if self.schema != CUSTOM_SCHEMA {
            return exponential_bound(index, self.schema);
        }
        match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(i) => self.bounds().get(i).copied().unwrap_or(f64::INFINITY),
        }
    }

    /// The zero bucket with its count.
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    fn positive_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = (self.upper_bound(index - 1), self.upper_bound(index));
        let custom = self.is_custom();
        Bucket {
            lower,
            upper,
            lower_inclusive: if custom { index == 0 } else { lower < 0.0 },
            upper_inclusive: custom || upper > 0.0,
            count,
        }
    }

    fn negative_bucket(&self, index: i32, count: f64) -> Bucket {
        Bucket {
            lower: -self.upper_bound(index),
            upper: -self.upper_bound(index - 1),
            lower_inclusive: true,
            upper_inclusive: false,
            count,
        }
    }

    /// The explicit positive or custom buckets, upwards from zero.
    pub fn positive_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        self.positive.iter().map(|(index, count)| self.positive_bucket(index, count))
    }

    /// The explicit negative buckets, downwards from zero.
    pub fn negative_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        self.negative.iter().map(|(index, count)| self.negative_bucket(index, count))
    }

    /// All buckets upwards: negative, the zero bucket if it is populated, positive. Bounds inside the zero bucket are
    /// moved to its edge. Reversible.
    pub fn all_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        let threshold = self.zero_threshold;
        let zero = (self.zero_count > 0.0).then(|| self.zero_bucket());
        let negative = self.negative_buckets().rev().map(move |mut b| {
            if b.upper < 0.0 && b.upper > -threshold {
                b.upper = -threshold;
            }
            b
        });
        let positive = self.positive_buckets().map(move |mut b| {
            if b.lower > 0.0 && b.lower < threshold {
                b.lower = threshold;
            } else if b.upper < 0.0 && b.upper > -threshold {
                b.upper = -threshold;
            }
            b
        });
        negative.chain(zero).chain(positive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_exponential_buckets() {
        for (index, schema, bound) in [
            (0, 0, 1.0),
            (1, 0, 2.0),
            (-1, 0, 0.5),
            (3, 1, 2.0_f64.powf(1.5)),
            (1, -1, 4.0),
            (-3, -4, 2.0_f64.powi(-48)),
            (1024, 0, f64::MAX),
            (1025, 0, f64::INFINITY),
            (64, -4, f64::MAX),
            (-1074, 0, f64::from_bits(1)),
        ] {
            assert_eq!(
                exponential_bound(index, schema),
                bound,
                "bucket {index} of schema {schema}"
            );
        }
        assert_eq!(exponential_bound(1, 3), 0.545_253_866_332_628_8 * 2.0);
    }

    #[test]
    fn all_buckets_ascend() {
        let h = FloatHistogram {
            zero_threshold: 0.75,
            zero_count: 2.0,
            positive: [(0, 1.0), (2, 1.0)].into_iter().collect(),
            negative: [(1, 1.0), (3, 1.0)].into_iter().collect(),
            ..FloatHistogram::default()
        };
        let bounds: Vec<_> = h.all_buckets().map(|b| (b.lower, b.upper)).collect();
        assert_eq!(bounds, [(-8.0, -4.0), (-2.0, -1.0), (-0.75, 0.75), (0.75, 1.0), (2.0, 4.0)]);
        let custom = FloatHistogram {
            schema: CUSTOM_SCHEMA,
            positive: [(0, 1.0), (2, 1.0)].into_iter().collect(),
            custom_bounds: Some([1.0, 2.0].into()),
            ..FloatHistogram::default()
        };
        let text: Vec<_> = custom.all_buckets().map(|b| b.to_string()).collect();
        assert_eq!(text, ["[-Inf,1]:1", "(2,+Inf]:1"]);
    }
}
