//! Judging results: what came out against what a script says.

use std::sync::Arc;

use tidemark_core::model::histogram::{Buckets, FloatHistogram};
use tidemark_core::model::labels::Labels;
use tidemark_core::model::sample::is_stale;

use super::histogram_text::histogram_text;
use super::script::{Expectations, TextMatch};
use super::series::SequenceValue;
use crate::value::{QueryResult, SampleValue, Series, Value, VectorSample};

/// How far two floats may be apart, relative to their sum.
const EPSILON: f64 = 1e-6;

type Judgement = Result<(), String>;

/// Whether two floats are practically equal. A staleness marker equals only itself, other NaNs each other.
pub fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

fn same_histogram(expected: &FloatHistogram, actual: &FloatHistogram, with_hint: bool) -> bool {
    let (mut expected, mut actual) = (expected.clone(), actual.clone());
    expected.compact();
    actual.compact();
    let same_side = |a: &Buckets, b: &Buckets| {
        a.indexes() == b.indexes()
            && a.counts().iter().zip(b.counts()).all(|(a, b)| almost_equal(*a, *b))
    };
    expected.schema == actual.schema
        && almost_equal(expected.count, actual.count)
        && almost_equal(expected.sum, actual.sum)
        && (!expected.is_custom() || expected.bounds() == actual.bounds())
        && expected.zero_threshold == actual.zero_threshold
        && almost_equal(expected.zero_count, actual.zero_count)
        && same_side(&expected.positive, &actual.positive)
        && same_side(&expected.negative, &actual.negative)
        && (!with_hint || expected.hint == actual.hint)
}

/// Checks the annotations of a result.
pub fn annotations(expected: &Expectations, result: &QueryResult) -> Judgement {
    for (wanted, found, kind) in [
        (&expected.warnings, &result.warnings, "warning"),
        (&expected.infos, &result.infos, "info"),
    ] {
        if wanted.is_empty() {
            continue;
        }
        if found.is_empty() {
            return Err(format!("expected a {kind}, got none"));
        }
        if let Some(missing) = wanted.iter().find(|w| !found.iter().any(|f| w.matches(f))) {
            return Err(format!("no {kind} like {missing:?} among {found:?}"));
        }
        let fits = |f: &&String| !wanted.iter().any(|w: &TextMatch| w.matches(f));
        if let Some(unexpected) = found.iter().find(fits) {
            return Err(format!("unexpected {kind}: {unexpected}"));
        }
    }
    if expected.no_warnings && !result.warnings.is_empty() {
        return Err(format!("unexpected warnings {:?}", result.warnings));
    }
    if expected.no_infos && !result.infos.is_empty() {
        return Err(format!("unexpected infos {:?}", result.infos));
    }
    Ok(())
}

/// Checks a value. `points` are the first moment and the distance of the points of a matrix.
pub fn value(expected: &Expectations, value: &Value, points: (i64, i64)) -> Judgement {
    match value {
        Value::String { value, .. } => {
            let wanted = expected.string.as_deref().unwrap_or("");
            if value == wanted {
                Ok(())
            } else {
                Err(format!("expected {wanted:?}, got {value:?}"))
            }
        }
        Value::Scalar(sample) => match expected.scalar {
            Some(wanted) if almost_equal(wanted, sample.value) => Ok(()),
            wanted => Err(format!("expected {wanted:?}, got the scalar {}", sample.value)),
        },
        _ if expected.scalar.is_some() => Err(format!("expected a scalar, got {value:?}")),
        Value::Vector(samples) => vector(expected, samples),
        Value::Matrix(_) if expected.ordered => Err("expected an order, got a matrix".to_owned()),
        Value::Matrix(series) => matrix(expected, series, points),
    }
}

fn vector(expected: &Expectations, samples: &[VectorSample]) -> Judgement {
    let mut seen = vec![false; expected.series.len()];
    for (position, sample) in samples.iter().enumerate() {
        let labels = &sample.labels;
        let found = expected.series.iter().position(|(wanted, _)| wanted == labels);
        let Some(found) = found else {
            return Err(format!("unexpected series {labels} {}", sample_text(&sample.value)));
        };
        seen[found] = true;
        if expected.ordered && found != position {
            return Err(format!("{labels} is number {position}, expected as number {found}"));
        }
        let wanted = expected.series[found].1.first().and_then(Option::as_ref);
        let fits = match (wanted, &sample.value) {
            (Some(SequenceValue::Float(wanted)), SampleValue::Float(v)) => {
                almost_equal(*wanted, *v)
            }
            (Some(SequenceValue::Histogram(wanted, hint)), SampleValue::Histogram(h)) => {
                same_histogram(wanted, h, *hint)
            }
            _ => false,
        };
        if !fits {
            let wanted = wanted.map_or("nothing".to_owned(), value_text);
            return Err(format!("{labels}: expected {wanted}, got {}", sample_text(&sample.value)));
        }
    }
    missing(expected, &seen)
}

fn missing(expected: &Expectations, seen: &[bool]) -> Judgement {
    match seen.iter().position(|seen| !seen) {
        None => Ok(()),
        Some(i) => Err(format!("series {} is missing", expected.series[i].0)),
    }
}

/// Checks that a matrix is sorted by labels.
pub fn sorted(series: &[Series]) -> Judgement {
    if series.is_sorted_by(|a, b| a.labels <= b.labels) {
        Ok(())
    } else {
        Err("the matrix is not sorted by labels".to_owned())
    }
}

fn matrix(
    expected: &Expectations,
    series: &[Series],
    (start_ms, step_ms): (i64, i64),
) -> Judgement {
    sorted(series)?;
    let mut seen = vec![false; expected.series.len()];
    for one in series {
        let labels = &one.labels;
        let found = expected.series.iter().position(|(wanted, _)| wanted == labels);
        let Some(found) = found else {
            return Err(format!("unexpected series {labels} {}", series_text(one)));
        };
        seen[found] = true;
        let (mut floats, mut histograms) = (Vec::new(), Vec::new());
        for (i, value) in expected.series[found].1.iter().enumerate() {
            let t = start_ms + step_ms * i as i64;
            match value {
                None => {}
                Some(SequenceValue::Float(v)) => floats.push((t, *v)),
                Some(SequenceValue::Histogram(h, hint)) => histograms.push((t, h, *hint)),
            }
        }
        let same = floats.len() == one.floats.len()
            && histograms.len() == one.histograms.len()
            && floats.iter().zip(&one.floats).all(|((t, v), actual)| {
                *t == actual.timestamp_ms && almost_equal(*v, actual.value)
            })
            && histograms.iter().zip(&one.histograms).all(|((t, h, hint), (actual_t, actual))| {
                t == actual_t && same_histogram(h, actual, *hint)
            });
        if !same {
            return Err(format!(
                "{labels}: expected {floats:?} {:?}, got {}",
                histograms.iter().map(|(t, h, _)| (t, histogram_text(h))).collect::<Vec<_>>(),
                series_text(one)
            ));
        }
    }
    missing(expected, &seen)
}

/// The points of a matrix at one moment, as a vector.
pub fn at_moment(series: &[Series], time_ms: i64) -> Vec<VectorSample> {
    let sample = |labels: &Labels, value| VectorSample {
        labels: labels.clone(),
        timestamp_ms: time_ms,
        value,
    };
    series
        .iter()
        .filter_map(|one| {
            let float = one.floats.iter().find(|s| s.timestamp_ms == time_ms);
            let histogram = one.histograms.iter().find(|(t, _)| *t == time_ms);
            match (float, histogram) {
                (Some(float), _) => Some(sample(&one.labels, SampleValue::Float(float.value))),
                (None, Some((_, h))) => {
                    Some(sample(&one.labels, SampleValue::Histogram(Arc::clone(h))))
                }
                (None, None) => None,
            }
        })
        .collect()
}

fn value_text(value: &SequenceValue) -> String {
    match value {
        SequenceValue::Float(v) => v.to_string(),
        SequenceValue::Histogram(h, _) => histogram_text(h),
    }
}

fn sample_text(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(v) => v.to_string(),
        SampleValue::Histogram(h) => histogram_text(h),
    }
}

fn series_text(series: &Series) -> String {
    let floats: Vec<_> = series.floats.iter().map(|s| (s.timestamp_ms, s.value)).collect();
    let histograms: Vec<_> =
        series.histograms.iter().map(|(t, h)| (t, histogram_text(h))).collect();
    format!("{floats:?} {histograms:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn practically_equal() {
        for (a, b, equal) in [
            (1.0, 1.0 + 1e-7, true),
            (1.0, 1.0 + 1e-5, false),
            (0.0, 1e-300, false),
            (0.0, -0.0, true),
            (f64::NAN, f64::NAN, true),
            (f64::INFINITY, f64::INFINITY, true),
            (f64::INFINITY, f64::MAX, false),
        ] {
            assert_eq!(almost_equal(a, b), equal, "{a} {b}");
        }
    }
}
