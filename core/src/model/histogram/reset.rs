//! Counter reset detection: did anything that can only grow become smaller?

use super::arithmetic::{common_bounds, mapped_index, outside_zero};
use super::{FloatHistogram, ResetHint};
use crate::model::kahan::KahanSum;

impl FloatHistogram {
    /// Whether the counter was reset between `previous` and this histogram. A hint decides without a look; else any
    /// count that went down, any populated bucket that is gone, a finer schema or a narrower zero bucket is a reset.
    pub fn is_reset_after(&self, previous: &FloatHistogram) -> bool {
        match self.hint {
            ResetHint::Reset => return true,
            ResetHint::NotReset => return false,
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.is_custom() {
            if !previous.is_custom() {
                return true;
            }
            if self.bounds() != previous.bounds() {
                return self.went_down_within_common_bounds(previous);
            }
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let zero = KahanSum::new(previous.zero_count);
        let (zero_before, threshold) = previous.zero_for_threshold(self.zero_threshold, zero, None);
        if threshold != self.zero_threshold || self.zero_count < zero_before.sum {
            return true;
        }
        let shift = (previous.schema - self.schema) as u32;
        [(&self.positive, &previous.positive), (&self.negative, &previous.negative)]
            .into_iter()
            .any(|(now, before)| {
                let before = if self.is_custom() {
                    before.clone()
                } else {
                    outside_zero(before, shift, self.schema, self.zero_threshold)
                };
                before.iter().any(|(index, count)| match now.get(index) {
                    Some(now) => now < count,
                    None => count != 0.0,
                })
            })
    }

    /// Compares custom buckets of different bounds, summed up to their common bounds.
    fn went_down_within_common_bounds(&self, previous: &FloatHistogram) -> bool {
        let common = common_bounds(self.bounds(), previous.bounds());
        let sums = |h: &FloatHistogram| {
            let mut sums = vec![0.0; common.len() + 1];
            for (index, count) in h.positive.iter() {
                sums[mapped_index(index, h.bounds(), &common) as usize] += count;
            }
            sums
        };
        sums(self).iter().zip(sums(previous)).any(|(now, before)| *now < before)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::exponential;
    use super::*;

    #[test]
    fn what_is_a_reset() {
        let before = exponential(1, 2.0, &[(1, 2.0), (2, 1.0)]);
        let cases = [
            (exponential(1, 2.0, &[(1, 2.0), (2, 1.0)]), false),
            (exponential(1, 3.0, &[(1, 2.0), (2, 1.0), (3, 1.0)]), false),
            (exponential(1, 9.0, &[(1, 1.0), (2, 1.0)]), true),
            (exponential(1, 9.0, &[(1, 2.0)]), true),
            (exponential(1, 1.0, &[(1, 9.0), (2, 9.0)]), true),
            (exponential(2, 9.0, &[(1, 2.0), (2, 1.0)]), true),
            (exponential(0, 2.0, &[(1, 3.0)]), false),
            (exponential(0, 2.0, &[(1, 2.0), (2, 9.0)]), true),
        ];
        for (after, expected) in cases {
            assert_eq!(after.is_reset_after(&before), expected, "{after} after {before}");
        }
        let mut hinted = exponential(1, 0.0, &[]);
        hinted.hint = ResetHint::NotReset;
        assert!(!hinted.is_reset_after(&before));
    }
}
