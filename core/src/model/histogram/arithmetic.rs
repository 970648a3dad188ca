//! Adding, subtracting and scaling histograms.
//!
//! Before two histograms meet they are brought to one layout: the coarser of two schemas; the wider of two zero buckets,
//! widened further until no populated bucket is cut; of custom bounds the common ones.

use std::sync::Arc;

use super::{Buckets, FloatHistogram, ResetHint};
use crate::model::kahan::KahanSum;

/// Exponential and custom buckets cannot be added or compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot apply this operation on histograms with a mix of exponential and custom bucket schemas"
)]
pub struct IncompatibleLayouts;

/// What had to be reconciled in an addition or subtraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// One side says counter reset, the other says none.
    pub reset_collision: bool,
    /// The custom bounds differed, so that only the common ones were kept.
    pub bounds: bool,
}

impl FloatHistogram {
    /// Adds `other`. Empty buckets may result; see [`compact`](Self::compact).
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Reconciled, IncompatibleLayouts> {
        self.combine(other, |a, b| a + b)
    }

    /// Subtracts `other`. Counts may become negative, as for a gauge.
    pub fn sub(&mut self, other: &FloatHistogram) -> Result<Reconciled, IncompatibleLayouts> {
        self.combine(other, |a, b| a - b)
    }

    fn combine(
        &mut self,
        other: &FloatHistogram,
        op: impl Fn(f64, f64) -> f64 + Copy,
    ) -> Result<Reconciled, IncompatibleLayouts> {
        if self.is_custom() != other.is_custom() {
            return Err(IncompatibleLayouts);
        }
        let mut reconciled =
            Reconciled { reset_collision: self.merge_hint(other.hint), bounds: false };
        self.count = op(self.count, other.count);
        self.sum = op(self.sum, other.sum);
        if self.is_custom() {
            if self.bounds() == other.bounds() {
                self.positive = self.positive.merged(&other.positive, op);
            } else {
                reconciled.bounds = true;
                let common = common_bounds(self.bounds(), other.bounds());
                let mut a = mapped(&self.positive, self.bounds(), &common);
                let b = mapped(&other.positive, other.bounds(), &common);
                a = a.merged(&b, op);
                a.compact();
                self.positive = a;
                self.custom_bounds = shared(common);
            }
            return Ok(reconciled);
        }
        let other_zero_count = self.reconcile_zero_buckets(other);
        self.zero_count = op(self.zero_count, other_zero_count);
        self.reduce_to(self.schema.min(other.schema));
        let shift = (other.schema - self.schema) as u32;
        let outside = |side: &Buckets| outside_zero(side, shift, self.schema, self.zero_threshold);
        let (positive, negative) = (outside(&other.positive), outside(&other.negative));
        self.positive = self.positive.merged(&positive, op);
        self.negative = self.negative.merged(&negative, op);
        Ok(reconciled)
    }

    /// Multiplies all but the layout; a negative factor makes a gauge.
    pub fn scale(&mut self, factor: f64) {
        self.map_numbers(|v| v * factor);
        if factor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    /// Divides all but the layout. A division by zero leaves no buckets; a negative divisor makes a gauge.
    pub fn divide(&mut self, divisor: f64) {
        self.map_numbers(|v| v / divisor);
        if divisor == 0.0 {
            self.positive.clear();
            self.negative.clear();
        } else if divisor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    fn map_numbers(&mut self, f: impl Fn(f64) -> f64) {
        self.zero_count = f(self.zero_count);
        self.count = f(self.count);
        self.sum = f(self.sum);
        for side in [&mut self.positive, &mut self.negative] {
            side.counts_mut().iter_mut().for_each(|c| *c = f(*c));
        }
    }

    /// Takes the hint of a histogram that is added or subtracted into account. True if one says reset and the other
    /// says none.
    pub(super) fn merge_hint(&mut self, other: ResetHint) -> bool {
        use ResetHint::{Gauge, NotReset, Reset, Unknown};
        let (hint, collision) = match (self.hint, other) {
            (a, b) if a == b => (a, false),
            (Gauge, _) | (_, Gauge) => (Gauge, false),
            (Unknown, _) | (_, Unknown) => (Unknown, false),
            (Reset | NotReset, _) => (Unknown, true),
        };
        self.hint = hint;
        collision
    }

    /// Widens the zero bucket until it covers that of `other` and cuts no populated bucket of either. Returns what
    /// `other` would have in it.
    fn reconcile_zero_buckets(&mut self, other: &FloatHistogram) -> f64 {
        let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
        while threshold != self.zero_threshold {
            if threshold < self.zero_threshold {
                let widened = other.zero_for_threshold(
                    self.zero_threshold,
                    KahanSum::new(other.zero_count),
                    None,
                );
                (count, threshold) = (widened.0.sum, widened.1);
            }
            if threshold > self.zero_threshold {
                let widened =
                    self.zero_for_threshold(threshold, KahanSum::new(self.zero_count), None);
                (self.zero_count, self.zero_threshold) = (widened.0.sum, widened.1);
                self.drop_inside_zero();
            }
        }
        count
    }

    /// The zero count if the threshold were `threshold` or more: the buckets that reach into the zero bucket are counted
    /// in, and a populated bucket that would be cut moves the threshold to its far end. `compensations` are those of the
    /// positive and negative counts.
    pub(super) fn zero_for_threshold(
        &self,
        mut threshold: f64,
        zero: KahanSum,
        compensations: Option<(&[f64], &[f64])>,
    ) -> (KahanSum, f64) {
        if threshold <= self.zero_threshold {
            return (zero, self.zero_threshold);
        }
        let lost = compensations.unwrap_or_default();
        'again: loop {
            let mut total = zero;
            for (side, lost) in [(&self.positive, lost.0), (&self.negative, lost.1)] {
                for (i, (index, count)) in side.iter().enumerate() {
                    let (near, far) = (
                        super::exponential_bound(index - 1, self.schema),
                        super::exponential_bound(index, self.schema),
                    );
                    if near >= threshold {
                        break;
                    }
                    total.add(count);
                    total.add(lost.get(i).copied().unwrap_or_default());
                    if far > threshold {
                        if count != 0.0 {
                            threshold = far;
                            continue 'again;
                        }
                        break;
                    }
                }
            }
            return (total, threshold);
        }
    }

    /// Forgets the buckets that the zero bucket covers, whose counts it has.
    fn drop_inside_zero(&mut self) {
        let (schema, threshold) = (self.schema, self.zero_threshold);
        for side in [&mut self.positive, &mut self.negative] {
            *side = side
                .iter()
                .filter(|&(index, count)| {
                    super::exponential_bound(index - 1, schema) >= threshold && count != 0.0
                })
                .collect();
        }
    }
}

/// One side of another histogram, reduced by `shift` schemas to `schema`, without the buckets inside a zero bucket.
pub(super) fn outside_zero(side: &Buckets, shift: u32, schema: i32, threshold: f64) -> Buckets {
    let reduced = if shift == 0 { side.clone() } else { side.reduced(shift) };
    if threshold == 0.0
        || reduced
            .indexes()
            .first()
            .is_none_or(|&first| super::exponential_bound(first, schema) > threshold)
    {
        return reduced;
    }
    reduced
        .iter()
        .filter(|&(index, _)| super::exponential_bound(index, schema) > threshold)
        .collect()
}

/// The bounds that both have.
pub(super) fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut rest = b.iter().copied().peekable();
    let mut common = Vec::new();
    for &bound in a {
        while rest.next_if(|&r| r < bound).is_some() {}
        if rest.next_if(|&r| r == bound).is_some() {
            common.push(bound);
        }
    }
    common
}

/// Bounds as histograms hold them; no allocation for none.
pub(super) fn shared(bounds: Vec<f64>) -> Option<Arc<[f64]>> {
    (!bounds.is_empty()).then(|| bounds.into())
}

/// Where each custom bucket of `bounds` lies among the fewer `common` bounds.
pub(super) fn mapped_index(index: i32, bounds: &[f64], common: &[f64]) -> i32 {
    let upper = usize::try_from(index).ok().and_then(|i| bounds.get(i));
    upper.map_or(common.len(), |upper| common.partition_point(|bound| bound < upper)) as i32
}

/// Custom buckets brought to the fewer `common` bounds.
fn mapped(side: &Buckets, bounds: &[f64], common: &[f64]) -> Buckets {
    let mut sums: Vec<(i32, KahanSum)> = Vec::new();
    for (index, count) in side.iter() {
        let index = mapped_index(index, bounds, common);
        match sums.last_mut() {
            Some((last, sum)) if *last == index => sum.add(count),
            _ => sums.push((index, KahanSum::new(count))),
        }
    }
    sums.into_iter().map(|(index, sum)| (index, sum.sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::CUSTOM_SCHEMA;
    use super::super::tests::exponential;
    use super::*;

    fn custom(bounds: &[f64], counts: &[f64]) -> FloatHistogram {
        FloatHistogram {
            schema: CUSTOM_SCHEMA,
            count: counts.iter().sum(),
            positive: counts.iter().enumerate().map(|(i, &c)| (i as i32, c)).collect(),
            custom_bounds: shared(bounds.to_vec()),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn schemas_meet_at_the_coarser() {
        let mut a = exponential(1, 1.0, &[(1, 1.0), (2, 1.0), (3, 1.0)]);
        let reconciled = a.add(&exponential(0, 2.0, &[(1, 5.0)])).unwrap();
        assert_eq!(reconciled, Reconciled::default());
        assert_eq!((a.schema, a.zero_count, a.count), (0, 3.0, 11.0));
        assert_eq!(a.positive.iter().collect::<Vec<_>>(), [(1, 7.0), (2, 1.0)]);
        a.sub(&exponential(0, 2.0, &[(1, 5.0)])).unwrap();
        assert_eq!(a.positive.iter().collect::<Vec<_>>(), [(1, 2.0), (2, 1.0)]);
    }

    #[test]
    fn zero_buckets_meet_outside_populated_buckets() {
        let mut a = exponential(0, 1.0, &[(0, 4.0), (2, 1.0)]);
        let mut b = exponential(0, 1.0, &[(2, 1.0)]);
        b.zero_threshold = 0.6;
        a.add(&b).unwrap();
        assert_eq!((a.zero_threshold, a.zero_count), (1.0, 6.0));
        assert_eq!(a.positive.iter().collect::<Vec<_>>(), [(2, 2.0)]);
    }

    #[test]
    fn custom_bounds_meet_in_the_common_ones() {
        let mut a = custom(&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0, 1.0]);
        let reconciled = a.add(&custom(&[2.0, 2.5, 3.0], &[1.0, 10.0, 100.0, 1000.0])).unwrap();
        assert!(reconciled.bounds);
        assert_eq!(a.bounds(), [2.0, 3.0]);
        assert_eq!(a.positive.counts(), [3.0, 111.0, 1001.0]);
        assert_eq!(a.add(&exponential(0, 0.0, &[])), Err(IncompatibleLayouts));
    }

    #[test]
    fn hints_merge() {
        let with = |hint| FloatHistogram { hint, ..FloatHistogram::default() };
        let mut a = with(ResetHint::Reset);
        assert!(a.add(&with(ResetHint::NotReset)).unwrap().reset_collision);
        assert_eq!(a.hint, ResetHint::Unknown);
        a.add(&with(ResetHint::Gauge)).unwrap();
        assert_eq!(a.hint, ResetHint::Gauge);
        let mut b = with(ResetHint::NotReset);
        b.scale(-1.0);
        assert_eq!(b.hint, ResetHint::Gauge);
    }
}
