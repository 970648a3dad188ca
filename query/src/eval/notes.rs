//! Annotations: what a query's author should know about an answer that is no error.
//!
//! A note is a kind and a subject (a metric name, an operator). Notes of the same kind and subject are one, so that twenty
//! thousand series with the same flaw cost twenty thousand look-ups and one line. Shards collect their own; the
//! querying core merges them and writes the text, with the place in the query.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tidemark_core::model::histogram::GoFloat;
use tidemark_core::model::time::TimestampMs;

use crate::functions::time::rfc3339_seconds;
use crate::parser::ast::PosRange;
use crate::parser::line_column;

/// What is to be noted. The subject of each is in its comment; an empty metric name is left out of most texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// The parameter of `limit_ratio`, and what it is capped to.
    InvalidRatio,
    /// The quantile.
    InvalidQuantile,
    /// The value of `le`, then the metric.
    BadBucketLabel,
    /// The metric, of a range with floats and histograms.
    MixedFloatsHistograms,
    /// None: an aggregation met floats and histograms.
    MixedFloatsHistogramsAggregation,
    /// The metric.
    MixedClassicNative,
    /// The metric: a gauge histogram where a counter is needed.
    NotCounter,
    /// The metric: a counter histogram where a gauge is needed.
    NotGauge,
    /// The metric.
    MixedExponentialCustom,
    /// The operator.
    IncompatibleBucketLayout,
    /// None.
    SortInRangeQuery,
    /// "addition", "subtraction" or "aggregation".
    ResetCollision,
    /// The metric.
    StartTimeOverlap,
    /// The metric.
    PossibleNonCounter,
    /// The type, then the metric.
    PossibleNonCounterType,
    /// The metric.
    ForcedMonotonicity,
    /// The types and the operator between them.
    IncompatibleTypes,
    /// The aggregation.
    HistogramIgnoredInAggregation,
    /// The metric.
    HistogramIgnoredInMixedRange,
    /// The metric.
    QuantileLostInNan,
    /// The metric.
    QuantileSkewedByNan,
    /// The metric.
    FractionWithoutNan,
    /// "addition", "subtraction" or "aggregation".
    MismatchedBounds,
}

/// Text of a kind, `{}` where a quoted subject stands, and what follows a text whose subject is an optional metric name.
const MONOTONICITY_HELP: &str =
    "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile";

impl NoteKind {
    /// Whether it is a warning; else it is an info.
    pub fn is_warning(self) -> bool {
        self <= NoteKind::StartTimeOverlap
    }

    fn text(self, subject: &str) -> String {
        let level = if self.is_warning() { "warning" } else { "info" };
        format!("PromQL {level}: {}", self.message(subject))
    }

    fn message(self, subject: &str) -> String {
        let for_metric = |text: &str| match subject {
            "" => text.to_owned(),
            name => format!("{text} for metric name {name:?}"),
        };
        match self {
            NoteKind::InvalidRatio => {
                format!("ratio value should be between -1 and 1, got {subject}")
            }
            NoteKind::InvalidQuantile => {
                format!("quantile value should be between 0 and 1, got {subject}")
            }
            NoteKind::BadBucketLabel => {
                format!("bucket label \"le\" is missing or has a malformed value of {subject}")
            }
            NoteKind::MixedFloatsHistograms => {
                format!("encountered a mix of histograms and floats for metric name {subject:?}")
            }
            NoteKind::MixedFloatsHistogramsAggregation => {
                "encountered a mix of histograms and floats for aggregation".to_owned()
            }
            NoteKind::MixedClassicNative => {
                for_metric("vector contains a mix of classic and native histograms")
            }
            NoteKind::NotCounter => {
                format!("this native histogram metric is not a counter: {subject:?}")
            }
            NoteKind::NotGauge => {
                format!("this native histogram metric is not a gauge: {subject:?}")
            }
            NoteKind::MixedExponentialCustom => format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {subject:?}"
            ),
            NoteKind::IncompatibleBucketLayout => {
                format!("incompatible bucket layout encountered for binary operator {subject}")
            }
            NoteKind::SortInRangeQuery => {
                "sort is ineffective for range queries since results are always ordered by labels"
                    .to_owned()
            }
            NoteKind::ResetCollision => {
                format!("conflicting counter resets during histogram {subject}")
            }
            NoteKind::StartTimeOverlap => format!(
                "sample has start time that overlaps with previous sample timestamp for metric {subject:?}"
            ),
            NoteKind::PossibleNonCounter => format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {subject:?}"
            ),
            NoteKind::PossibleNonCounterType => format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {subject}"
            ),
            NoteKind::ForcedMonotonicity => for_metric(&format!(
                "input to histogram_quantile needed to be fixed for monotonicity (see {MONOTONICITY_HELP})"
            )),
            NoteKind::IncompatibleTypes => {
                format!("incompatible sample types encountered for binary operator {subject}")
            }
            NoteKind::HistogramIgnoredInAggregation => {
                format!("ignored histogram in {subject} aggregation")
            }
            NoteKind::HistogramIgnoredInMixedRange => format!(
                "ignored histograms in a range containing both floats and histograms for metric name {subject:?}"
            ),
            NoteKind::QuantileLostInNan => {
                for_metric("input to histogram_quantile has NaN observations, result is NaN")
            }
            NoteKind::QuantileSkewedByNan => for_metric(
                "input to histogram_quantile has NaN observations, result is skewed higher",
            ),
            NoteKind::FractionWithoutNan => for_metric(
                "input to histogram_fraction has NaN observations, which are excluded from all fractions",
            ),
            NoteKind::MismatchedBounds => {
                format!("mismatched custom buckets were reconciled during {subject}")
            }
        }
    }
}

/// Where classic buckets had to be made monotonic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Monotonicity {
    /// First and last step.
    pub time_ms: (TimestampMs, TimestampMs),
    /// Lowest and highest upper bound.
    pub bounds: (f64, f64),
    /// Largest decrease of the count.
    pub difference_max: f64,
    /// How many steps of how many histograms.
    pub count: u64,
}

impl Monotonicity {
    fn merge(&mut self, other: &Monotonicity) {
        self.time_ms.0 = self.time_ms.0.min(other.time_ms.0);
        self.time_ms.1 = self.time_ms.1.max(other.time_ms.1);
        self.bounds.0 = self.bounds.0.min(other.bounds.0);
        self.bounds.1 = self.bounds.1.max(other.bounds.1);
        self.difference_max = self.difference_max.max(other.difference_max);
        self.count += other.count;
    }
}

#[derive(Clone, Debug)]
struct Note {
    pos: PosRange,
    occurrences: u64,
    monotonicity: Option<Monotonicity>,
}

/// The annotations of a query, or of a part of it.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    by_kind: BTreeMap<NoteKind, BTreeMap<String, Note>>,
    /// What the storage has to say, of no place in the query.
    storage: BTreeSet<String>,
    /// How often anything was noted here.
    noted: u64,
}

impl Notes {
    /// Notes something about the expression at `pos`.
    pub fn add(&mut self, kind: NoteKind, subject: &str, pos: PosRange) {
        self.put(kind, subject, Note { pos, occurrences: 1, monotonicity: None });
    }

    /// Notes that classic buckets had to be made monotonic.
    pub fn add_monotonicity(&mut self, subject: &str, pos: PosRange, place: Monotonicity) {
        let note = Note { pos, occurrences: 1, monotonicity: Some(place) };
        self.put(NoteKind::ForcedMonotonicity, subject, note);
    }

    /// Takes over what the storage has to say: which samples are missing.
    pub fn add_storage(&mut self, warnings: Vec<String>) {
        self.storage.extend(warnings);
    }

    fn put(&mut self, kind: NoteKind, subject: &str, note: Note) {
        self.noted += 1;
        let subjects = self.by_kind.entry(kind).or_default();
        match subjects.get_mut(subject) {
            None => {
                subjects.insert(subject.to_owned(), note);
            }
            Some(known) => {
                known.pos = note.pos;
                known.occurrences += note.occurrences;
                if let (Some(known), Some(new)) = (&mut known.monotonicity, &note.monotonicity) {
                    known.merge(new);
                }
            }
        }
    }

    /// Takes over the notes of another part.
    pub fn merge(&mut self, other: Notes) {
        self.storage.extend(other.storage);
        for (kind, subjects) in other.by_kind {
            for (subject, note) in subjects {
                self.put(kind, &subject, note);
            }
        }
    }

    /// How often anything was noted here that has a place in the query.
    pub fn noted(&self) -> u64 {
        self.noted
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty() && self.storage.is_empty()
    }

    /// The warnings and infos as the API gives them, each with its place in `query`.
    pub fn texts(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let mut warnings: Vec<String> = self.storage.iter().cloned().collect();
        let mut infos = Vec::new();
        for (kind, subjects) in &self.by_kind {
            for (subject, note) in subjects {
                let mut text = kind.text(subject);
                if let Some(m) = &note.monotonicity {
                    describe_monotonicity(&mut text, m);
                } else if *kind == NoteKind::StartTimeOverlap && note.occurrences > 1 {
                    let _ = write!(text, " ({} occurrences)", note.occurrences);
                }
                let (line, column) = line_column(query, note.pos.start);
                let _ = write!(text, " ({line}:{column})");
                if kind.is_warning() { &mut warnings } else { &mut infos }.push(text);
            }
        }
        (warnings, infos)
    }
}

fn describe_monotonicity(text: &mut String, m: &Monotonicity) {
    let (low, high) = (GoFloat(m.bounds.0), GoFloat(m.bounds.1));
    let difference = two_digits(m.difference_max);
    let (first, last) = (rfc3339_seconds(m.time_ms.0), rfc3339_seconds(m.time_ms.1));
    let _ = write!(
        text,
        ", from buckets {low} to {high}, with a max diff of {difference}, over {} samples from {first} to {last}",
        m.count
    );
}

/// Go's `%.2g`: two significant digits.
fn two_digits(v: f64) -> String {
    let rounded: f64 = format!("{v:.1e}").parse().unwrap_or(v);
    let exponent = if rounded == 0.0 { 0 } else { rounded.abs().log10().floor() as i32 };
    if (-4..2).contains(&exponent) {
        return rounded.to_string();
    }
    let scientific = format!("{rounded:e}");
    let (digits, _) = scientific.split_once('e').unwrap_or((&scientific, ""));
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_notes_are_one() {
        let mut a = Notes::default();
        a.add(NoteKind::PossibleNonCounter, "up", PosRange::new(5, 7));
        let mut b = Notes::default();
        b.add(NoteKind::PossibleNonCounter, "up", PosRange::new(5, 7));
        b.add(NoteKind::InvalidQuantile, "2", PosRange::new(0, 1));
        a.merge(b);
        let (warnings, infos) = a.texts("rate(\nup[5m])");
        assert_eq!(
            warnings,
            ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:1)"]
        );
        assert_eq!(
            infos,
            [
                "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"up\" (1:6)"
            ]
        );
    }

    #[test]
    fn two_significant_digits() {
        for (v, text) in
            [(0.0, "0"), (1.234, "1.2"), (12.6, "13"), (1234.0, "1.2e+03"), (0.00001, "1e-05")]
        {
            assert_eq!(two_digits(v), text);
        }
    }
}
