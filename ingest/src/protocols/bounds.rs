//! One spelling for the bounds of classic histograms and summaries.
//!
//! Exporters write the bound 1 as `le="1"` in one format and as `le="1.0"` in another, which would make two series of one
//! bucket. As Prometheus does from version 3 on, the value of `le` and `quantile` is spelled as OpenMetrics demands.

use std::fmt::Write as _;

use tidemark_core::model::metadata::MetricType;

use super::number::parse_float;
use crate::label_set::LabelSet;

/// Respells the bound in `labels`, which belong to a family of type `kind`.
#[inline]
pub fn normalize(kind: MetricType, labels: &mut LabelSet) {
    let name = match kind {
        MetricType::Histogram => "le",
        MetricType::Summary => "quantile",
        _ => return,
    };
    let bound = labels.get(name);
    let Some(value) = parse_float(bound.as_bytes()) else { return };
    let spelled = spell(value);
    if spelled != bound {
        labels.set(name, &spelled);
    }
}

/// The shortest decimal that reads as `value`, with a dot or an exponent: `1.0`, `0.25`, `1e+06`, `+Inf`.
pub fn spell(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("the form of {:e}");
    let exponent: i32 = exponent.parse().expect("the form of {:e}");
    if (-4..6).contains(&exponent) || value == 0.0 {
        return format!("{value:?}");
    }
    let mut spelled = mantissa.to_owned();
    let sign = if exponent < 0 { '-' } else { '+' };
    let _ = write!(spelled, "e{sign}{:02}", exponent.abs());
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelled_as_openmetrics_demands() {
        for (value, expected) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (-1.0, "-1.0"),
            (0.25, "0.25"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (100_000.0, "100000.0"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1.5e100, "1.5e+100"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(spell(value), expected);
        }
    }

    #[test]
    fn only_the_bounds_of_their_kind_are_respelled() {
        let le = |kind, value: &str| {
            let mut labels: LabelSet = [("le", value), ("quantile", "1")].into_iter().collect();
            normalize(kind, &mut labels);
            format!("{} {}", labels.get("le"), labels.get("quantile"))
        };
        assert_eq!(le(MetricType::Histogram, "1"), "1.0 1");
        assert_eq!(le(MetricType::Histogram, "+Inf"), "+Inf 1");
        assert_eq!(le(MetricType::Histogram, "big"), "big 1");
        assert_eq!(le(MetricType::Summary, "1"), "1 1.0");
        assert_eq!(le(MetricType::Gauge, "1"), "1 1");
    }
}
