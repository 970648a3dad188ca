//! `load_with_nhcb`: classic histograms as native ones with custom buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark_core::model::histogram::{CUSTOM_SCHEMA, FloatHistogram};
use tidemark_core::model::labels::{Labels, METRIC_NAME};

use super::script::LoadSeries;
use super::series::SequenceValue;

/// What was said of one histogram at one moment.
#[derive(Clone, Debug, Default)]
struct Parts {
    /// Upper bounds and cumulative counts.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl Parts {
    fn convert(mut self) -> Result<FloatHistogram, String> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|next, kept| next.0 == kept.0);
        let count = self.count.or(self.buckets.last().map(|b| b.1)).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|last| last.0 != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut previous = 0.0;
        let mut counts = Vec::with_capacity(self.buckets.len());
        for &(bound, cumulative) in &self.buckets {
            if cumulative < previous {
                return Err(format!("count is not cumulative at le={bound}"));
            }
            counts.push(cumulative - previous);
            previous = cumulative;
        }
        if previous != count {
            return Err(format!("count mismatch: {count} is not {previous}"));
        }
        let bounds: Vec<f64> = self.buckets.iter().map(|b| b.0).filter(|b| b.is_finite()).collect();
        let mut histogram = FloatHistogram {
            schema: CUSTOM_SCHEMA,
            count,
            sum: self.sum,
            positive: (0_i32..).zip(counts).collect(),
            custom_bounds: (!bounds.is_empty()).then(|| bounds.into()),
            ..FloatHistogram::default()
        };
        histogram.compact();
        Ok(histogram)
    }
}

/// The native twins of the classic histograms among the series.
pub fn native_twins(series: &[LoadSeries]) -> Result<Vec<LoadSeries>, String> {
    let mut found: BTreeMap<Labels, BTreeMap<usize, Parts>> = BTreeMap::new();
    for one in series {
        let name = one.labels.metric_name();
        let Some((base, part)) =
            ["_bucket", "_count", "_sum"].iter().find_map(|s| Some((name.strip_suffix(s)?, *s)))
        else {
            continue;
        };
        let bound =
            one.labels.get("le").and_then(|le| le.parse::<f64>().ok()).filter(|b| !b.is_nan());
        if part == "_bucket" && bound.is_none() {
            continue;
        }
        let mut builder = one.labels.to_builder();
        builder.set(METRIC_NAME, base).remove("le");
        let steps = found.entry(builder.build()).or_default();
        for (i, value) in one.values.iter().enumerate() {
            let Some(SequenceValue::Float(v)) = value else { continue };
            let parts = steps.entry(i).or_default();
            match (part, bound) {
                ("_bucket", Some(bound)) => parts.buckets.push((bound, *v)),
                ("_count", _) => parts.count = Some(*v),
                _ => parts.sum = *v,
            }
        }
    }
    let mut twins = Vec::with_capacity(found.len());
    for (labels, steps) in found {
        let Some(last) = steps.keys().next_back() else { continue };
        let mut values = vec![None; last + 1];
        for (i, parts) in steps {
            let histogram = parts.convert().map_err(|e| format!("{labels}: {e}"))?;
            values[i] = Some(SequenceValue::Histogram(Arc::new(histogram), false));
        }
        let starts = vec![None; values.len()];
        twins.push(LoadSeries { labels, values, starts });
    }
    Ok(twins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promqltest::series::parse_line;

    #[test]
    fn buckets_become_one_histogram() {
        let lines = [
            r#"m_bucket{le="1"} 1"#,
            r#"m_bucket{le="+Inf"} 5"#,
            r#"m_bucket{le="2"} 1"#,
            "m_count 5",
            "m_sum 9",
        ];
        let series: Vec<LoadSeries> = lines
            .iter()
            .map(|line| {
                let (labels, values) = parse_line(line).unwrap();
                LoadSeries { labels, starts: vec![None; values.len()], values }
            })
            .collect();
        let twins = native_twins(&series).unwrap();
        assert_eq!(twins.len(), 1);
        let Some(SequenceValue::Histogram(h, _)) = &twins[0].values[0] else { panic!() };
        assert_eq!((h.count, h.sum, h.bounds()), (5.0, 9.0, &[1.0, 2.0][..]));
        assert_eq!(h.positive.iter().collect::<Vec<_>>(), [(0, 1.0), (2, 4.0)]);
    }
}
