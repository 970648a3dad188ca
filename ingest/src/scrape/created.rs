//! `_created` lines of OpenMetrics: when the counters of a metric began to count.
//!
//! A metric's lines stand together, those of a counter, histogram or summary with the same labels but `le` and `quantile`, and the
//! line `NAME_created` among the last of them. Where start timestamps are stored, it is no series of its own but the start of the
//! samples before it, as it is in protobuf.
//!
//! ```text
//! requests_total{path="/"} 17                 group begins
//! requests_created{path="/"} 1520430000.123   its samples start then
//! requests_total{path="/b"} 2                 the next group
//! ```

use tidemark_core::model::labels::METRIC_NAME;
use tidemark_core::model::metadata::MetricType;
use tidemark_core::model::time::TimestampMs;

use super::error::ScrapeError;
use crate::label_set::LabelSet;
use crate::protocols::lines::SampleLine;

const SUFFIX: &str = "_created";

/// The group of lines that is being read.
#[derive(Default)]
pub(super) struct Groups {
    key: Vec<u8>,
    /// Of the line that is looked at.
    labels: LabelSet,
    line_key: Vec<u8>,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The first of its group.
    Begins,
    /// Another one.
    Continues,
    /// It says when the samples of the group before it began; of none if there is none with its labels.
    Created(Option<TimestampMs>),
}

impl Groups {
    /// Looks at a line of `body` in a family of this kind.
    pub(super) fn look(
        &mut self,
        line: &SampleLine<'_>,
        kind: MetricType,
        body: &[u8],
    ) -> Result<Place, ScrapeError> {
        if !matches!(kind, MetricType::Counter | MetricType::Histogram | MetricType::Summary) {
            self.key.clear();
            return Ok(Place::Begins);
        }
        self.labels.clear();
        line.labels(body, &mut self.labels)?;
        let name = self.labels.metric_name().to_owned();
        let stem = ["_total", "_bucket", "_count", "_sum", SUFFIX];
        let stem = stem.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
        self.labels.set(METRIC_NAME, stem);
        self.labels.remove("le");
        self.labels.remove("quantile");
        self.line_key.clear();
        self.labels.encode(&mut self.line_key).map_err(|e| line.error(body, e.to_string()))?;
        let same = self.line_key == self.key;
        if name.ends_with(SUFFIX) {
            let start_ms = (line.value * 1e3).round() as TimestampMs;
            return Ok(Place::Created((same && start_ms > 0).then_some(start_ms)));
        }
        std::mem::swap(&mut self.key, &mut self.line_key);
        Ok(if same { Place::Continues } else { Place::Begins })
    }
}
