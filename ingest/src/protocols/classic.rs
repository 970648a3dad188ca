//! From the buckets of a classic histogram to one native histogram with custom buckets.
//!
//! Classic buckets count cumulatively up to their bound, native ones each for itself. The last bound is infinity and is not
//! written down; without it the count of all observations stands in.

use std::sync::Arc;

use tidemark_core::model::histogram::{CUSTOM_SCHEMA, FloatHistogram};
use tidemark_core::model::sample::{NORMAL_NAN_BITS, is_stale};

use crate::limits::BUCKETS_PER_METRIC_MAX;

/// The series of one classic histogram at one moment.
#[derive(Debug, Default)]
pub struct Classic {
    /// Upper bound and cumulative count.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl Classic {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.buckets.clear();
        self.count = None;
        self.sum = 0.0;
    }

    /// Whether nothing was said yet.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty() && self.count.is_none()
    }

    /// Adds a bucket; `false` if there are too many.
    pub fn push_bucket(&mut self, bound: f64, cumulative: f64) -> bool {
        let fits = self.buckets.len() < BUCKETS_PER_METRIC_MAX;
        if fits {
            self.buckets.push((bound, cumulative));
        }
        fits
    }

    /// Says how many observations there are.
    pub fn set_count(&mut self, count: f64) {
        self.count = Some(count);
    }

    /// Says what they add up to.
    pub fn set_sum(&mut self, sum: f64) {
        self.sum = sum;
    }

    /// The same observations in custom buckets; `Err` says what is impossible about them.
    pub fn to_custom(&mut self) -> Result<FloatHistogram, &'static str> {
        if self.count.is_some_and(is_stale) || is_stale(self.sum) {
            return Err("the histogram has ended");
        }
        if self
            .buckets
            .iter()
            .any(|(bound, count)| bound.is_nan() || count.is_nan() || *count < 0.0)
        {
            return Err("a bucket's bound or count is no number");
        }
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by_key(|(bound, _)| *bound);
        if !self.buckets.is_sorted_by(|a, b| a.1 <= b.1) {
            return Err("cumulative counts descend");
        }
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|(_, count)| count)).ok_or("no bucket and no count")?;
        if last.is_none_or(|(bound, _)| bound < f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        if self.buckets.last().is_some_and(|(_, all)| *all != count)
            || self.buckets.iter().any(|(_, cumulative)| *cumulative > count)
        {
            return Err("the buckets do not add up to the count");
        }
        let mut before = 0.0;
        let counts = self.buckets.iter().map(|(_, c)| c - std::mem::replace(&mut before, *c));
        let positive = (0_i32..).zip(counts).filter(|(_, count)| *count > 0.0).collect();
        let finite = &self.buckets[..self.buckets.len() - 1];
        let bounds: Arc<[f64]> = finite.iter().map(|(bound, _)| *bound).collect();
        let nan = f64::from_bits(NORMAL_NAN_BITS);
        Ok(FloatHistogram {
            schema: CUSTOM_SCHEMA,
            count,
            sum: if self.sum.is_nan() { nan } else { self.sum },
            positive,
            custom_bounds: Some(bounds),
            ..FloatHistogram::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(buckets: &[(f64, f64)], count: Option<f64>) -> Result<String, &'static str> {
        Classic { buckets: buckets.to_vec(), count, sum: 7.5 }.to_custom().map(|h| h.to_string())
    }

    #[test]
    fn cumulative_counts_become_counts() {
        let inf = f64::INFINITY;
        let whole = Ok("{count:6, sum:7.5, [-Inf,1]:1, (1,2]:3, (5,+Inf]:2}".to_owned());
        assert_eq!(convert(&[(1.0, 1.0), (2.0, 4.0), (5.0, 4.0), (inf, 6.0)], Some(6.0)), whole);
        assert_eq!(convert(&[(5.0, 4.0), (1.0, 1.0), (2.0, 4.0)], Some(6.0)), whole);
        assert_eq!(convert(&[(1.0, 1.0), (2.0, 4.0), (5.0, 4.0), (inf, 6.0)], None), whole);
        assert_eq!(convert(&[], Some(2.0)).unwrap(), "{count:2, sum:7.5, [-Inf,+Inf]:2}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (buckets, count, why) in [
            (&[(1.0, 2.0), (2.0, 1.0)][..], Some(3.0), "descend"),
            (&[(1.0, 2.0)], Some(1.0), "add up"),
            (&[(f64::INFINITY, 2.0)], Some(3.0), "add up"),
            (&[(f64::NAN, 2.0)], Some(3.0), "no number"),
            (&[(1.0, -2.0)], Some(3.0), "no number"),
            (&[], None, "no bucket"),
        ] {
            assert!(convert(buckets, count).unwrap_err().contains(why), "{why}");
        }
    }
}
