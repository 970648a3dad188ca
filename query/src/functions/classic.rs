//! Classic histograms: quantile and fraction of buckets that are series with an `le` label.

/// A bucket of a classic histogram: everything up to the bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassicBucket {
    /// The value of `le`.
    pub upper: f64,
    /// Observations at or below it.
    pub count: f64,
}

/// Where counts had to be raised to that of the bucket below.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raised {
    /// Lowest and highest bound.
    pub bounds: (f64, f64),
    /// Largest raise.
    pub difference_max: f64,
}

/// Differences smaller than this, relative to the counts, are rounding.
const SMALL_DIFFERENCE: f64 = 1e-12;

/// The quantile of a classic histogram, interpolated evenly inside a bucket, and whether the counts had to be made
/// monotonic. NaN without an infinite bucket, with fewer than two buckets or without observations. Sorts the buckets.
pub fn bucket_quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<Raised>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if !sort_and_join(buckets) {
        return (f64::NAN, None);
    }
    let raised = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, raised);
    }
    let mut rank = q * observations;
    let at =
        buckets[..last].partition_point(|b| b.count < rank || rank.is_nan() || b.count.is_nan());
    if at == last {
        return (buckets[last - 1].upper, raised);
    }
    let bucket = buckets[at];
    if at == 0 && bucket.upper <= 0.0 {
        return (bucket.upper, raised);
    }
    let (mut start, mut count) = (0.0, bucket.count);
    if at > 0 {
        let below = buckets[at - 1];
        start = below.upper;
        count -= below.count;
        rank -= below.count;
    }
    (start + (bucket.upper - start) * (rank / count), raised)
}

/// The fraction of observations between two values. Sorts the buckets.
pub fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if !sort_and_join(buckets) {
        return f64::NAN;
    }
    let total = buckets[buckets.len() - 1].count;
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut lower_rank, mut upper_rank) = (None, None);
    let mut rank = 0.0;
    let mut start = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for bucket in &*buckets {
        for (value, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_some() {
                continue;
            }
            if start >= value {
                *found = Some(rank);
            } else if bucket.upper > value {
                *found = Some(if start == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + (bucket.count - rank) * (value - start) / (bucket.upper - start)
                });
            }
        }
        rank = bucket.count;
        start = bucket.upper;
    }
    let at_most = |rank: Option<f64>| rank.filter(|r| *r <= total).unwrap_or(total);
    (at_most(upper_rank) - at_most(lower_rank)) / total
}

/// Sorts by bound and adds up equal bounds; false without an infinite bucket.
fn sort_and_join(buckets: &mut Vec<ClassicBucket>) -> bool {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    true
}

/// Raises each count to that of the bucket below; differences that are but rounding are removed without a word.
fn make_monotonic(buckets: &mut [ClassicBucket]) -> Option<Raised> {
    let mut raised: Option<Raised> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == previous {
            continue;
        }
        if nearly_equal(previous, count) {
            bucket.count = previous;
        } else if count < previous {
            bucket.count = previous;
            let raised = raised.get_or_insert(Raised {
                bounds: (f64::INFINITY, f64::NEG_INFINITY),
                difference_max: 0.0,
            });
            raised.bounds.0 = raised.bounds.0.min(bucket.upper);
            raised.bounds.1 = raised.bounds.1.max(bucket.upper);
            raised.difference_max = raised.difference_max.max(previous - count);
        } else {
            previous = count;
        }
    }
    raised
}

fn nearly_equal(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DIFFERENCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DIFFERENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<ClassicBucket> {
        pairs.iter().map(|&(upper, count)| ClassicBucket { upper, count }).collect()
    }

    #[test]
    fn quantiles() {
        let inf = f64::INFINITY;
        let good = buckets(&[(inf, 4.0), (1.0, 1.0), (2.0, 3.0)]);
        for (q, expected) in
            [(0.0, 0.0), (0.25, 1.0), (0.5, 1.5), (0.75, 2.0), (1.0, 2.0), (1.1, inf)]
        {
            assert_eq!(bucket_quantile(q, &mut good.clone()).0, expected, "{q}");
        }
        assert!(bucket_quantile(0.5, &mut buckets(&[(1.0, 1.0)])).0.is_nan());
        assert!(bucket_quantile(0.5, &mut buckets(&[(inf, 1.0)])).0.is_nan());
        let (_, raised) = bucket_quantile(0.5, &mut buckets(&[(1.0, 3.0), (2.0, 1.0), (inf, 4.0)]));
        assert_eq!(raised, Some(Raised { bounds: (2.0, 2.0), difference_max: 2.0 }));
    }

    #[test]
    fn fractions() {
        let good = buckets(&[(f64::INFINITY, 4.0), (1.0, 1.0), (2.0, 3.0)]);
        for (lower, upper, expected) in
            [(0.0, 1.0, 0.25), (0.0, 1.5, 0.5), (2.0, 9.0, 0.0), (1.0, 1.0, 0.0)]
        {
            assert_eq!(
                bucket_fraction(lower, upper, &mut good.clone()),
                expected,
                "{lower} {upper}"
            );
        }
    }
}
