//! Quantiles of plain values.

/// The value below which the fraction `q` of `values` lies, interpolated between neighbours. NaNs sort first. NaN for no
/// values or a NaN quantile, infinite for one outside 0 to 1. Sorts `values` in part.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor().max(0.0) as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    let (_, low, rest) = values.select_nth_unstable_by(lower, |a, b| nan_first(*a, *b));
    let low = *low;
    let high = if upper == lower {
        low
    } else {
        rest.iter().copied().min_by(|a, b| nan_first(*a, *b)).unwrap_or(low)
    };
    low * (1.0 - weight) + high * weight
}

fn nan_first(a: f64, b: f64) -> std::cmp::Ordering {
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
