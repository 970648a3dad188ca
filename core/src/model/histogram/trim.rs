//! Cutting off the observations above or below a value (the operators `</` and `>/`).
//!
//! A bucket that the value falls into is divided by interpolation. Where the histogram changes, its sum is estimated anew
//! from the middles of what is left of its buckets.

use super::{Bucket, Buckets, FloatHistogram};

/// Which observations a trim keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those at or below the value: `</`.
    Below,
    /// Those above it: `>/`.
    Above,
}

/// Count and estimated sum of what is kept.
#[derive(Clone, Copy, Default)]
struct Kept {
    count: f64,
    sum: f64,
    changed: bool,
}

impl FloatHistogram {
    /// Forgets the observations on the other side of `value`.
    pub fn trim(&mut self, value: f64, keep: Keep) {
        let mut kept = Kept::default();
        let linear = self.is_custom();
        let positive: Vec<Bucket> = self.positive_buckets().collect();
        let negative: Vec<Bucket> = self.negative_buckets().collect();
        let has_positive =
            trim_side(&mut self.positive, &positive, value, keep, (true, linear), &mut kept);
        let has_negative =
            trim_side(&mut self.negative, &negative, value, keep, (false, linear), &mut kept);
        if self.zero_count > 0.0 {
            let mut zero = self.zero_bucket();
            if has_negative && !has_positive {
                zero.upper = 0.0;
            }
            if has_positive && !has_negative {
                zero.lower = 0.0;
            }
            let (count, middle) = trim_zero(&zero, value, keep);
            kept.changed |= count != self.zero_count;
            kept.count += count;
            kept.sum += middle * count;
            self.zero_count = count;
        }
        if kept.changed {
            self.count = kept.count;
            self.sum = kept.sum;
            self.compact();
        }
    }
}

/// Trims one side; returns whether any of its buckets was populated.
fn trim_side(
    side: &mut Buckets,
    buckets: &[Bucket],
    value: f64,
    keep: Keep,
    (positive, linear): (bool, bool),
    kept: &mut Kept,
) -> bool {
    let mut populated = false;
    for (count, bucket) in side.counts_mut().iter_mut().zip(buckets).filter(|(c, _)| **c != 0.0) {
        populated = true;
        let (whole, cut) = match keep {
            Keep::Below => (bucket.upper <= value, bucket.lower < value),
            Keep::Above => (bucket.lower >= value, bucket.upper > value),
        };
        if whole {
            kept.count += *count;
            kept.sum += middle(bucket.lower, bucket.upper, positive, linear) * *count;
        } else if cut {
            let (left, middle) = trim_bucket(bucket, value, keep, positive, linear);
            kept.count += left;
            kept.sum += middle * left;
            kept.changed |= left != *count;
            *count = left;
        } else {
            kept.changed = true;
            *count = 0.0;
        }
    }
    populated
}

/// What is left of a bucket that `value` falls into, and its middle.
fn trim_bucket(b: &Bucket, value: f64, keep: Keep, positive: bool, linear: bool) -> (f64, f64) {
    if b.lower == f64::NEG_INFINITY {
        return trim_lowest(b, value, keep);
    }
    if b.upper == f64::INFINITY {
        return match keep {
            Keep::Above if value >= b.lower => (b.count, value),
            _ => (0.0, finite_or_zero(b.lower)),
        };
    }
    let below = b.count * b.fraction_below(value, linear);
    match keep {
        Keep::Below => (below, middle(b.lower, value, positive, linear)),
        Keep::Above => (b.count - below, middle(value, b.upper, positive, linear)),
    }
}

/// The first custom bucket has no lower end: it counts as beginning at 0 if it ends above, else it is kept whole or not
/// at all.
fn trim_lowest(b: &Bucket, value: f64, keep: Keep) -> (f64, f64) {
    match keep {
        Keep::Below if value >= b.upper => (b.count, 0.0),
        Keep::Below if value > 0.0 && b.upper > 0.0 && b.upper.is_finite() => {
            (b.count * value / b.upper, value / 2.0)
        }
        Keep::Below if b.upper <= 0.0 => (b.count, value),
        Keep::Above if value <= b.lower => (b.count, 0.0),
        Keep::Above if value >= 0.0 && b.upper > value && b.upper.is_finite() => {
            (b.count * (1.0 - value / b.upper), f64::midpoint(value, b.upper))
        }
        _ => (0.0, finite_or_zero(b.upper)),
    }
}

fn trim_zero(b: &Bucket, value: f64, keep: Keep) -> (f64, f64) {
    let all = (b.count, f64::midpoint(b.lower, b.upper));
    let width = b.upper - b.lower;
    match keep {
        Keep::Below if value <= b.lower => (0.0, 0.0),
        Keep::Below if value >= b.upper => all,
        Keep::Below => (b.count * ((value - b.lower) / width), f64::midpoint(b.lower, value)),
        Keep::Above if value <= b.lower => all,
        Keep::Above if value >= b.upper => (0.0, 0.0),
        Keep::Above => (b.count * ((b.upper - value) / width), f64::midpoint(value, b.upper)),
    }
}

/// Where the observations between two bounds are taken to lie: the arithmetic or geometric middle, or the finite end.
fn middle(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => f64::midpoint(lower, upper),
        (false, false) => {
            let geometric = (lower * upper).abs().sqrt();
            if positive { geometric } else { -geometric }
        }
    }
}

fn finite_or_zero(v: f64) -> f64 {
    if v.is_infinite() { 0.0 } else { v }
}

#[cfg(test)]
mod tests {
    use super::super::tests::exponential;
    use super::*;

    #[test]
    fn cuts_between_and_inside_buckets() {
        let h = exponential(0, 2.0, &[(1, 4.0), (2, 8.0)]);
        let mut below = h.clone();
        below.trim(2.0, Keep::Below);
        assert_eq!((below.count, below.positive.counts()), (6.0, &[4.0][..]));
        let mut inside = h.clone();
        inside.trim(8.0_f64.sqrt(), Keep::Above);
        assert!((inside.count - 4.0).abs() < 1e-9, "{inside}");
        let mut nothing = h.clone();
        nothing.trim(100.0, Keep::Below);
        assert!(nothing.same(&h));
    }
}
