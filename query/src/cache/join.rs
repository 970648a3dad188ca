//! Joins two parts of an answer: what was kept of the first steps, and what was evaluated of the others.

use std::cmp::Ordering;
use std::sync::Arc;

use tidemark_core::model::time::TimestampMs;

use crate::value::Series;

/// The series of the steps from `start_ms` to before `from_ms` out of `kept`, and of those from there on out of `evaluated`. Both are
/// sorted by labels, and so is the result.
pub fn join(
    kept: &[Series],
    evaluated: Vec<Series>,
    (start_ms, from_ms): (TimestampMs, TimestampMs),
) -> Vec<Series> {
    let mut out = Vec::with_capacity(kept.len().max(evaluated.len()));
    let mut evaluated = evaluated.into_iter().peekable();
    for before in kept {
        while let Some(new) = evaluated.next_if(|new| new.labels < before.labels) {
            out.push(new);
        }
        let mut series = part(before, start_ms, from_ms);
        let same = |new: &Series| new.labels.cmp(&before.labels) == Ordering::Equal;
        if let Some(after) = evaluated.next_if(same) {
            series.floats.extend(after.floats);
            series.histograms.extend(after.histograms);
        }
        if !(series.floats.is_empty() && series.histograms.is_empty()) {
            out.push(series);
        }
    }
    out.extend(evaluated);
    out
}

/// The samples from `start_ms` to before `end_ms`.
fn part(series: &Series, start_ms: TimestampMs, end_ms: TimestampMs) -> Series {
    let within = |t: TimestampMs| t >= start_ms && t < end_ms;
    let floats = &series.floats;
    let from = floats.partition_point(|sample| sample.timestamp_ms < start_ms);
    let to = from + floats[from..].partition_point(|sample| sample.timestamp_ms < end_ms);
    let histograms = series.histograms.iter().filter(|(t, _)| within(*t));
    Series {
        labels: series.labels.clone(),
        floats: floats[from..to].to_vec(),
        histograms: histograms.map(|(t, h)| (*t, Arc::clone(h))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemark_core::model::labels::Labels;
    use tidemark_core::model::sample::Sample;

    fn series(name: &str, times: &[i64]) -> Series {
        let sample = |&timestamp_ms| Sample { timestamp_ms, value: 0.0 };
        Series {
            labels: Labels::from_pairs([("a", name)]),
            floats: times.iter().map(sample).collect(),
            histograms: Vec::new(),
        }
    }

    #[test]
    fn series_come_go_and_go_on() {
        let kept = [series("b", &[1, 2, 3, 4]), series("c", &[1]), series("d", &[3])];
        let evaluated = vec![series("a", &[5]), series("b", &[4, 5]), series("e", &[4])];
        let joined = join(&kept, evaluated, (2, 4));
        let shown: Vec<_> = joined
            .iter()
            .map(|s| {
                (s.labels.get("a").unwrap(), s.floats.iter().map(|f| f.timestamp_ms).collect())
            })
            .collect::<Vec<(_, Vec<_>)>>();
        assert_eq!(
            shown,
            [("a", vec![5]), ("b", vec![2, 3, 4, 5]), ("d", vec![3]), ("e", vec![4])]
        );
    }
}
