//! Quantiles of plain values.

/// The value below which the fraction `q` of `values` lies, interpolated between neighbours. NaNs sort first. NaN for no
/// values or a NaN quantile, infinite for one outside 0 to 1. Sorts `values` in part.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    let rank = match rank(q, values.len()) {
        Ok(rank) => rank,
        Err(outside) => return outside,
    };
    let (_, low, rest) = values.select_nth_unstable_by(rank.lower, |a, b| nan_first(*a, *b));
    let low = *low;
    let high = rest.iter().copied().min_by(|a, b| nan_first(*a, *b)).unwrap_or(low);
    rank.between(low, high)
}

/// The same of values that are sorted by [`nan_first`].
pub(super) fn quantile_of_sorted(q: f64, values: &[f64]) -> f64 {
    match rank(q, values.len()) {
        Ok(rank) => {
            let low = values[rank.lower];
            rank.between(low, values.get(rank.lower + 1).copied().unwrap_or(low))
        }
        Err(outside) => outside,
    }
}

/// Where a quantile lies among sorted values.
struct Rank {
    lower: usize,
    weight: f64,
}

/// The rank of a quantile among `count` values, or the value of a quantile that has none.
fn rank(q: f64, count: usize) -> Result<Rank, f64> {
    if count == 0 || q.is_nan() {
        return Err(f64::NAN);
    }
    if q < 0.0 {
        return Err(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return Err(f64::INFINITY);
    }
    let rank = q * (count - 1) as f64;
    Ok(Rank { lower: rank.floor().max(0.0) as usize, weight: rank - rank.floor() })
}

impl Rank {
    fn between(&self, low: f64, high: f64) -> f64 {
        low * (1.0 - self.weight) + high * self.weight
    }
}

/// The order of quantiles: NaNs first.
pub(super) fn nan_first(a: f64, b: f64) -> std::cmp::Ordering {
    b.is_nan().cmp(&a.is_nan()).then_with(|| a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_between_neighbours() {
        let values = [3.0, 1.0, 4.0, 2.0];
        for (q, expected) in [(0.0, 1.0), (0.5, 2.5), (1.0, 4.0), (1.0 / 3.0, 2.0), (0.9, 3.7)] {
            let mut copy = values;
            assert!((quantile(q, &mut copy) - expected).abs() < 1e-12, "{q}");
        }
        assert!(quantile(0.5, &mut []).is_nan());
        assert!(quantile(0.0, &mut [1.0, f64::NAN]).is_nan());
        assert_eq!(quantile(1.0, &mut [1.0, f64::NAN]), 1.0);
        assert_eq!(quantile(2.0, &mut [1.0]), f64::INFINITY);
    }
}
