//! A compensated sum of histograms: what `sum` and `avg` over histograms keep.
//!
//! The rounded sum is a histogram; beside each of its buckets stands what rounding has lost there.

use super::arithmetic::{common_bounds, mapped_index, outside_zero, shared};
use super::buckets::{merge_indexes, reduced_index};
use super::{Buckets, FloatHistogram, IncompatibleLayouts, Reconciled};
use crate::model::kahan::KahanSum;

/// A running sum of histograms.
#[derive(Clone, Debug)]
pub struct KahanHistogram {
    sum: FloatHistogram,
    /// Lost parts of the positive and negative counts, parallel to the buckets of `sum`.
    positive: Vec<f64>,
    negative: Vec<f64>,
    zero_count: f64,
    count: f64,
    total: f64,
}

impl KahanHistogram {
    /// A sum of one histogram.
    pub fn new(first: FloatHistogram) -> Self {
        KahanHistogram {
            positive: vec![0.0; first.positive.len()],
            negative: vec![0.0; first.negative.len()],
            sum: first,
            zero_count: 0.0,
            count: 0.0,
            total: 0.0,
        }
    }

    /// The rounded sum, without the lost parts.
    pub fn rounded(&self) -> &FloatHistogram {
        &self.sum
    }

    /// The best sum known.
    pub fn value(&self) -> FloatHistogram {
        let mut out = self.sum.clone();
        out.zero_count += self.zero_count;
        out.count += self.count;
        out.sum += self.total;
        for (side, lost) in
            [(&mut out.positive, &self.positive), (&mut out.negative, &self.negative)]
        {
            side.counts_mut().iter_mut().zip(lost).for_each(|(count, lost)| *count += lost);
        }
        out
    }

    /// Multiplies everything.
    pub fn scale(&mut self, factor: f64) {
        self.sum.scale(factor);
        self.map_lost(|v| v * factor);
    }

    /// Divides everything.
    pub fn divide(&mut self, divisor: f64) {
        self.sum.divide(divisor);
        self.map_lost(|v| v / divisor);
        self.positive.truncate(self.sum.positive.len());
        self.negative.truncate(self.sum.negative.len());
    }

    fn map_lost(&mut self, f: impl Fn(f64) -> f64) {
        for lost in [&mut self.zero_count, &mut self.count, &mut self.total] {
            *lost = f(*lost);
        }
        self.positive.iter_mut().chain(&mut self.negative).for_each(|lost| *lost = f(*lost));
    }

    /// Adds a histogram.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Reconciled, IncompatibleLayouts> {
        if self.sum.is_custom() != other.is_custom() {
            return Err(IncompatibleLayouts);
        }
        let mut reconciled =
            Reconciled { reset_collision: self.sum.merge_hint(other.hint), bounds: false };
        add_number(&mut self.sum.count, &mut self.count, other.count);
        add_number(&mut self.sum.sum, &mut self.total, other.sum);
        if self.sum.is_custom() {
            if self.sum.bounds() == other.bounds() {
                add_side(&mut self.sum.positive, &mut self.positive, &other.positive);
            } else {
                reconciled.bounds = true;
                self.add_with_common_bounds(other);
            }
            return Ok(reconciled);
        }
        let other_zero_count = self.reconcile_zero_buckets(other);
        add_number(&mut self.sum.zero_count, &mut self.zero_count, other_zero_count);
        let schema = self.sum.schema.min(other.schema);
        let own_shift = (self.sum.schema - schema) as u32;
        if own_shift > 0 {
            reduce_side(&mut self.sum.positive, &mut self.positive, own_shift);
            reduce_side(&mut self.sum.negative, &mut self.negative, own_shift);
            self.sum.schema = schema;
        }
        let shift = (other.schema - schema) as u32;
        let threshold = self.sum.zero_threshold;
        let positive = outside_zero(&other.positive, shift, schema, threshold);
        let negative = outside_zero(&other.negative, shift, schema, threshold);
        add_side(&mut self.sum.positive, &mut self.positive, &positive);
        add_side(&mut self.sum.negative, &mut self.negative, &negative);
        Ok(reconciled)
    }

    /// Adds another running sum.
    pub fn merge(&mut self, other: &KahanHistogram) -> Result<Reconciled, IncompatibleLayouts> {
        let reconciled = self.add(&other.sum)?;
        let mut lost = other.sum.clone();
        lost.zero_count = other.zero_count;
        lost.count = other.count;
        lost.sum = other.total;
        lost.positive.counts_mut().copy_from_slice(&other.positive);
        lost.negative.counts_mut().copy_from_slice(&other.negative);
        self.add(&lost)?;
        Ok(reconciled)
    }

    fn reconcile_zero_buckets(&mut self, other: &FloatHistogram) -> f64 {
        let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
        while threshold != self.sum.zero_threshold {
            if threshold < self.sum.zero_threshold {
                let zero = KahanSum::new(other.zero_count);
                let widened = other.zero_for_threshold(self.sum.zero_threshold, zero, None);
                (count, threshold) = (widened.0.value(), widened.1);
            }
            if threshold > self.sum.zero_threshold {
                let zero = KahanSum { sum: self.sum.zero_count, compensation: self.zero_count };
                let lost = Some((&self.positive[..], &self.negative[..]));
                let (zero, wider) = self.sum.zero_for_threshold(threshold, zero, lost);
                self.sum.zero_threshold = wider;
                (self.sum.zero_count, self.zero_count) = (zero.sum, zero.compensation);
                let schema = self.sum.schema;
                let keep = |index: i32| super::exponential_bound(index - 1, schema) >= wider;
                retain_side(&mut self.sum.positive, &mut self.positive, keep);
                retain_side(&mut self.sum.negative, &mut self.negative, keep);
            }
        }
        count
    }

    fn add_with_common_bounds(&mut self, other: &FloatHistogram) {
        let common = common_bounds(self.sum.bounds(), other.bounds());
        let mut sums = vec![KahanSum::default(); common.len() + 1];
        for ((index, count), &lost) in self.sum.positive.iter().zip(&self.positive) {
            let slot = &mut sums[mapped_index(index, self.sum.bounds(), &common) as usize];
            slot.add(count);
            slot.add(lost);
        }
        for (index, count) in other.positive.iter() {
            sums[mapped_index(index, other.bounds(), &common) as usize].add(count);
        }
        let kept = || (0_i32..).zip(&sums).filter(|(_, s)| s.sum != 0.0 || s.compensation != 0.0);
        self.sum.positive = kept().map(|(i, s)| (i, s.sum)).collect();
        self.positive = kept().map(|(_, s)| s.compensation).collect();
        self.sum.custom_bounds = shared(common);
    }
}

fn add_number(sum: &mut f64, lost: &mut f64, value: f64) {
    let mut total = KahanSum { sum: *sum, compensation: *lost };
    total.add(value);
    (*sum, *lost) = (total.sum, total.compensation);
}

fn add_side(sums: &mut Buckets, lost: &mut Vec<f64>, other: &Buckets) {
    if sums.indexes() == other.indexes() {
        for ((sum, lost), &value) in sums.counts_mut().iter_mut().zip(lost).zip(other.counts()) {
            add_number(sum, lost, value);
        }
        return;
    }
    let merged: Vec<(i32, KahanSum)> = merge_indexes(sums.indexes(), other.indexes())
        .map(|(index, own, added)| {
            let mut total = own.map_or(KahanSum::default(), |i| KahanSum {
                sum: sums.counts()[i],
                compensation: lost[i],
            });
            if let Some(i) = added {
                total.add(other.counts()[i]);
            }
            (index, total)
        })
        .collect();
    *lost = merged.iter().map(|(_, total)| total.compensation).collect();
    *sums = merged.into_iter().map(|(index, total)| (index, total.sum)).collect();
}

fn reduce_side(sums: &mut Buckets, lost: &mut Vec<f64>, shift: u32) {
    let mut reduced: Vec<(i32, KahanSum)> = Vec::new();
    for ((index, count), &lost) in sums.iter().zip(&*lost) {
        let index = reduced_index(index, shift);
        if reduced.last().is_none_or(|last| last.0 != index) {
            reduced.push((index, KahanSum::default()));
        }
        if let Some((_, total)) = reduced.last_mut() {
            total.add(count);
            total.add(lost);
        }
    }
    *lost = reduced.iter().map(|(_, total)| total.compensation).collect();
    *sums = reduced.into_iter().map(|(index, total)| (index, total.sum)).collect();
}

fn retain_side(sums: &mut Buckets, lost: &mut Vec<f64>, keep: impl Fn(i32) -> bool) {
    let kept = || sums.iter().zip(&*lost).filter(|((index, _), _)| keep(*index));
    let (buckets, rest) =
        (kept().map(|(pair, _)| pair).collect(), kept().map(|(_, l)| *l).collect());
    (*sums, *lost) = (buckets, rest);
}

#[cfg(test)]
mod tests {
    use super::super::tests::exponential;
    use super::*;

    #[test]
    fn keeps_what_plain_addition_loses() {
        let mut sum = KahanHistogram::new(exponential(0, 1.0, &[(1, 1.0)]));
        let huge = exponential(0, 1e100, &[(1, 1e100), (2, 1.0)]);
        let mut negative = huge.clone();
        negative.scale(-1.0);
        sum.add(&huge).unwrap();
        sum.add(&exponential(0, 1.0, &[(1, 1.0)])).unwrap();
        sum.add(&negative).unwrap();
        let value = sum.value();
        assert_eq!((value.zero_count, value.count), (2.0, 4.0));
        assert_eq!(value.positive.iter().collect::<Vec<_>>(), [(1, 2.0), (2, 0.0)]);
    }

    #[test]
    fn agrees_with_plain_addition_on_other_layouts() {
        let mut wide = exponential(-1, 2.0, &[(0, 3.0), (1, 1.0), (2, 8.0)]);
        wide.zero_threshold = 0.3;
        let fine = exponential(2, 1.0, &[(-7, 1.0), (-3, 2.0), (1, 1.0), (9, 5.0)]);
        for (a, b) in [(&wide, &fine), (&fine, &wide)] {
            let mut plain = a.clone();
            plain.add(b).unwrap();
            let mut sum = KahanHistogram::new(a.clone());
            sum.add(b).unwrap();
            let mut value = sum.value();
            value.compact();
            plain.compact();
            assert!(value.same(&plain), "{value} is not {plain}");
        }
    }
}
