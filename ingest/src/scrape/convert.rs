//! `convert_classic_histograms_to_nhcb` for the line-based formats: the lines of one classic histogram become one sample.
//!
//! A histogram's lines stand together: `name_bucket` for each bound, `name_count`, `name_sum`, all with the same labels but
//! `le`. The first line that does not belong ends it.

use std::sync::Arc;

use tidemark_core::model::exemplar::Exemplar;
use tidemark_core::model::histogram::FloatHistogram;
use tidemark_core::model::labels::METRIC_NAME;
use tidemark_core::model::metadata::MetricType;
use tidemark_core::model::time::TimestampMs;

use super::error::ScrapeError;
use crate::label_set::LabelSet;
use crate::limits::EXEMPLARS_PER_SERIES_MAX;
use crate::protocols::classic::Classic;
use crate::protocols::lines::{MetricName, SampleLine};
use crate::protocols::number::parse_float;

/// Collects the lines of one histogram after the other.
#[derive(Default)]
pub(super) struct Converter {
    /// Name of the family, if it is one of classic histograms.
    family: Option<String>,
    /// The labels of the histogram that is open, its name among them; and the same encoded.
    labels: LabelSet,
    key: Vec<u8>,
    classic: Classic,
    timestamp_ms: Option<TimestampMs>,
    exemplars: Vec<Exemplar>,
    /// Labels and key of the line that is looked at.
    line_labels: LabelSet,
    line_key: Vec<u8>,
}

/// A histogram that is complete.
pub(super) struct Converted {
    pub(super) key: Vec<u8>,
    pub(super) labels: LabelSet,
    pub(super) histogram: Arc<FloatHistogram>,
    pub(super) timestamp_ms: Option<TimestampMs>,
    pub(super) exemplars: Vec<Exemplar>,
}

/// What becomes of a line.
pub(super) struct Taken {
    /// It belongs to a histogram.
    pub(super) is_part: bool,
    /// The histogram that it ended.
    pub(super) ended: Option<Converted>,
}

impl Converter {
    /// A family begins.
    pub(super) fn begin_family(&mut self, name: MetricName<'_>, kind: MetricType) {
        self.family = (kind == MetricType::Histogram).then(|| name.to_string());
    }

    /// Looks at a line of `body`. Exemplars without a time get `sample_ms`.
    pub(super) fn take(
        &mut self,
        line: &SampleLine<'_>,
        body: &[u8],
        sample_ms: TimestampMs,
    ) -> Result<Taken, ScrapeError> {
        let Some(family) = &self.family else {
            return Ok(Taken { is_part: false, ended: self.end() });
        };
        self.line_labels.clear();
        line.labels(body, &mut self.line_labels)?;
        let suffix = self.line_labels.metric_name().strip_prefix(family.as_str());
        let suffix =
            suffix.filter(|s| ["_bucket", "_count", "_sum"].contains(s)).map(str::to_owned);
        let Some(suffix) = suffix else {
            return Ok(Taken { is_part: false, ended: self.end() });
        };
        let bound = parse_float(self.line_labels.get("le").as_bytes());
        self.line_labels.set(METRIC_NAME, family);
        if suffix == "_bucket" {
            self.line_labels.remove("le");
        }
        self.line_key.clear();
        self.line_labels.encode(&mut self.line_key).map_err(|e| line.error(body, e.to_string()))?;
        let ended = if self.line_key == self.key { None } else { self.end() };
        std::mem::swap(&mut self.line_key, &mut self.key);
        std::mem::swap(&mut self.line_labels, &mut self.labels);
        match (suffix.as_str(), bound) {
            ("_count", _) => self.classic.set_count(line.value),
            ("_sum", _) => self.classic.set_sum(line.value),
            (_, bound) => {
                if !self.classic.push_bucket(bound.unwrap_or(f64::NAN), line.value) {
                    return Err(line.error(body, "too many buckets").into());
                }
            }
        }
        self.timestamp_ms = line.timestamp_ms;
        if self.exemplars.len() < EXEMPLARS_PER_SERIES_MAX {
            self.exemplars.extend(line.read_exemplar(sample_ms));
        }
        Ok(Taken { is_part: true, ended })
    }

    /// The histogram that is open; `None` if there is none or it contradicts itself.
    pub(super) fn end(&mut self) -> Option<Converted> {
        let histogram = if self.classic.is_empty() { None } else { self.classic.to_custom().ok() };
        let key = std::mem::take(&mut self.key);
        let exemplars = std::mem::take(&mut self.exemplars);
        self.classic.clear();
        histogram.map(|histogram| Converted {
            key,
            labels: std::mem::take(&mut self.labels),
            histogram: Arc::new(histogram),
            timestamp_ms: self.timestamp_ms,
            exemplars,
        })
    }
}
