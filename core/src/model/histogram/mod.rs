//! Native histograms with float counts: what one sample of a histogram series is.
//!
//! A [`FloatHistogram`] has a count, a sum and sparse buckets. Two families of bucket layouts exist:
//!
//! * *exponential*, schema -4 to 8: bucket `i` of the positive side is `(2^((i-1)/2^schema), 2^(i/2^schema)]`, the negative side
//!   mirrors it, and one zero bucket takes what is closer to zero than a threshold;
//! * *custom*, schema -53: ascending upper bounds; bucket `i` ends at bound `i`, the last one at infinity. No negative
//!   side, no zero bucket.
//!
//! | file | what |
//! |---|---|
//! | `buckets` | the sparse columns of one side: merge, reduce, map, compact |
//! | `bounds` | where a bucket begins and ends, walks over all buckets in order of value |
//! | `arithmetic` | add, subtract, scale, reconcile zero buckets and custom bounds |
//! | `kahan` | a compensated sum of histograms |
//! | `reset` | counter reset detection |
//! | `trim` | cut off what lies below or above a value |
//! | `estimate` | quantile, fraction, variance |

mod arithmetic;
mod bounds;
mod buckets;
mod estimate;
mod kahan;
mod reset;
mod trim;

use std::fmt;
use std::sync::Arc;

pub use arithmetic::{IncompatibleLayouts, Reconciled};
pub use bounds::{Bucket, exponential_bound};
pub use buckets::Buckets;
pub use estimate::{FractionEstimate, QuantileEstimate};
pub use kahan::KahanHistogram;
pub use trim::Keep;

/// The schema number of custom buckets.
pub const CUSTOM_SCHEMA: i32 = -53;
/// The coarsest exponential schema.
pub const EXPONENTIAL_SCHEMA_MIN: i32 = -4;
/// The finest exponential schema.
pub const EXPONENTIAL_SCHEMA_MAX: i32 = 8;

/// What is known of a counter reset between a histogram and the one before it in its series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ResetHint {
    /// Nothing: compare the two to find out.
    #[default]
    Unknown = 0,
    /// There was a reset.
    Reset = 1,
    /// There was none.
    NotReset = 2,
    /// This is a gauge, where resets mean nothing.
    Gauge = 3,
}

impl ResetHint {
    /// The hint with this discriminant.
    pub fn from_u8(tag: u8) -> Option<Self> {
        [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge]
            .get(usize::from(tag))
            .copied()
    }
}

/// One native histogram. Cheap to share behind an `Arc`; the operations that change it are for owners.
#[derive(Clone, Debug, Default)]
pub struct FloatHistogram {
    /// Counter reset between this and the one before.
    pub hint: ResetHint,
    /// Resolution, or [`CUSTOM_SCHEMA`].
    pub schema: i32,
    /// Half the width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations, those that are NaN included.
    pub count: f64,
    /// Sum of all observations; the staleness marker's bits make the whole histogram one.
    pub sum: f64,
    /// Buckets of positive observations, or the custom buckets.
    pub positive: Buckets,
    /// Buckets of negative observations.
    pub negative: Buckets,
    /// Upper bounds of the custom buckets but the last, shared by the histograms of a series.
    pub custom_bounds: Option<Arc<[f64]>>,
}

impl FloatHistogram {
    /// Whether the layout is one of custom buckets.
    #[inline]
    pub fn is_custom(&self) -> bool {
        self.schema == CUSTOM_SCHEMA
    }

    /// The custom upper bounds; empty for exponential layouts.
    #[inline]
    pub fn bounds(&self) -> &[f64] {
        self.custom_bounds.as_deref().unwrap_or_default()
    }

    /// Whether this is a staleness marker.
    #[inline]
    pub fn is_stale(&self) -> bool {
        super::sample::is_stale(self.sum)
    }

    /// Forgets empty buckets.
    pub fn compact(&mut self) {
        self.positive.compact();
        self.negative.compact();
    }

    /// The same observations with a reduced resolution; `schema` must not be finer and neither layout custom.
    pub fn reduced_to(&self, schema: i32) -> FloatHistogram {
        let mut out = self.clone();
        out.reduce_to(schema);
        out
    }

    /// Reduces the resolution in place, as [`reduced_to`](Self::reduced_to).
    pub fn reduce_to(&mut self, schema: i32) {
        debug_assert!(schema <= self.schema && !self.is_custom() && schema != CUSTOM_SCHEMA);
        if schema < self.schema {
            let shift = (self.schema - schema) as u32;
            self.positive = self.positive.reduced(shift);
            self.negative = self.negative.reduced(shift);
            self.schema = schema;
        }
    }

    /// Whether both hold the same bits in the same buckets, empty buckets included; hints do not count.
    pub fn same(&self, other: &FloatHistogram) -> bool {
        self.schema == other.schema
            && self.count.to_bits() == other.count.to_bits()
            && self.sum.to_bits() == other.sum.to_bits()
            && (!self.is_custom() || self.bounds() == other.bounds())
            && self.zero_threshold == other.zero_threshold
            && self.zero_count.to_bits() == other.zero_count.to_bits()
            && self.negative.same(&other.negative)
            && self.positive.same(&other.positive)
    }

    /// Whether any number in it has overflowed.
    pub fn has_overflow(&self) -> bool {
        self.zero_count.is_infinite()
            || self.count.is_infinite()
            || self.sum.is_infinite()
            || self.positive.counts().iter().any(|c| c.is_infinite())
            || self.negative.counts().iter().any(|c| c.is_infinite())
            || self.bounds().iter().any(|b| b.is_infinite())
    }

    /// How many float samples it weighs in a query's budget.
    pub fn sample_weight(&self) -> usize {
        let buckets = self.positive.len() + self.negative.len() + self.bounds().len();
        (176 + 8 * buckets) / 16
    }
}

impl fmt::Display for FloatHistogram {
    /// As Prometheus writes it: `{count:3, sum:4.5, [-2,-1):1, [-0.1,0.1]:1, (1,2]:1}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", GoFloat(self.count), GoFloat(self.sum))?;
        for bucket in self.negative_buckets().rev().filter(|b| b.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        if self.zero_count != 0.0 {
            write!(f, ", {}", self.zero_bucket())?;
        }
        for bucket in self.positive_buckets().filter(|b| b.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

/// A number as Go's `%g` and `%v` write it: shortest digits, with an exponent below 1e-4 and from 1e6 on.
#[derive(Clone, Copy, Debug)]
pub struct GoFloat(pub f64);

impl fmt::Display for GoFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        if v.is_nan() {
            return f.write_str("NaN");
        }
        if v.is_infinite() {
            return f.write_str(if v > 0.0 { "+Inf" } else { "-Inf" });
        }
        let scientific = format!("{v:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        if (-4..6).contains(&exponent) {
            return write!(f, "{v}");
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(f, "{digits}e{sign}{:02}", exponent.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn exponential(schema: i32, zero: f64, positive: &[(i32, f64)]) -> FloatHistogram {
        let count = zero + positive.iter().map(|p| p.1).sum::<f64>();
        FloatHistogram {
            schema,
            zero_threshold: 0.001,
            zero_count: zero,
            count,
            sum: count * 2.0,
            positive: positive.iter().copied().collect(),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn go_floats() {
        for (v, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (0.0001, "0.0001"),
            (0.000_012, "1.2e-05"),
            (f64::NEG_INFINITY, "-Inf"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(GoFloat(v).to_string(), text);
        }
    }

    #[test]
    fn text_of_a_histogram() {
        let mut h = exponential(0, 1.0, &[(1, 1.0), (2, 0.0)]);
        h.negative = [(1, 1.0)].into_iter().collect();
        assert_eq!(h.to_string(), "{count:2, sum:4, [-2,-1):1, [-0.001,0.001]:1, (1,2]:1}");
    }

    #[test]
    fn equality_is_of_bits_and_layout() {
        let a = exponential(0, 1.0, &[(1, 1.0)]);
        let mut b = exponential(0, 1.0, &[(1, 1.0), (2, 0.0)]);
        assert!(!a.same(&b));
        b.compact();
        assert!(a.same(&b));
        b.hint = ResetHint::Gauge;
        assert!(a.same(&b));
    }
}
