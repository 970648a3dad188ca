//! Why a scrape failed, in the words that `lastError` shows.

use crate::protocols::lines::{SampleLine, SyntaxError};
use crate::protocols::wire::WireError;
use crate::rows::LabelError;

use super::fetch::FetchError;

/// Why a scrape failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScrapeError {
    /// No response.
    #[error(transparent)]
    Fetch(FetchError),
    /// A response, but not 200.
    #[error("server returned HTTP status {0}")]
    Status(http::StatusCode),
    /// More decompressed bytes than the job or the process takes.
    #[error("body size limit exceeded")]
    BodySize,
    /// A content coding that is not gzip, or broken gzip.
    #[error("cannot decompress the body: {0}")]
    Compression(String),
    /// A format that is not known.
    #[error("{0}")]
    ContentType(String),
    /// Not what the format says.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// Not protobuf, or not of the schema.
    #[error(transparent)]
    Protobuf(#[from] WireError),
    /// Labels that no series may have.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// Relabelling took the name away.
    #[error("missing metric name (__name__ label)")]
    NoMetricName,
    /// A name that needs quotes where they are not allowed.
    #[error("invalid metric name or label names: {0}")]
    InvalidNames(String),
    /// More samples than the job takes.
    #[error("sample limit exceeded")]
    SampleLimit,
    /// A native histogram with more buckets than the job takes, however coarse.
    #[error("histogram bucket limit exceeded")]
    HistogramBuckets,
    /// More labels than the job takes.
    #[error("label_limit exceeded (metric: {metric}, number of labels: {number}, limit: {limit})")]
    LabelLimit {
        /// Of which metric.
        metric: String,
        /// How many.
        number: usize,
        /// How many are allowed.
        limit: u64,
    },
    /// A longer name than the job takes.
    #[error(
        "label_name_length_limit exceeded (metric: {metric}, label name: {name}, length: {length}, limit: {limit})"
    )]
    LabelNameLength {
        /// Of which metric.
        metric: String,
        /// How it begins.
        name: String,
        /// Its bytes.
        length: usize,
        /// Bytes allowed.
        limit: u64,
    },
    /// A longer value than the job takes.
    #[error(
        "label_value_length_limit exceeded (metric: {metric}, label name: {name}, value: {value:?}, length: {length}, limit: {limit})"
    )]
    LabelValueLength {
        /// Of which metric.
        metric: String,
        /// Of which label.
        name: String,
        /// How it begins.
        value: String,
        /// Its bytes.
        length: usize,
        /// Bytes allowed.
        limit: u64,
    },
    /// The job has more targets than it may: none of them is scraped.
    #[error("target_limit exceeded (number of targets: {number}, limit: {limit})")]
    TargetLimit {
        /// How many.
        number: u64,
        /// How many are allowed.
        limit: u64,
    },
}

impl From<FetchError> for ScrapeError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::BodyTooLarge => ScrapeError::BodySize,
            other => ScrapeError::Fetch(other),
        }
    }
}

impl ScrapeError {
    /// Says on which line labels are refused.
    pub(super) fn at(self, line: &SampleLine<'_>, body: &[u8]) -> Self {
        match self {
            ScrapeError::Labels(error) => line.error(body, error.to_string()).into(),
            other => other,
        }
    }
}
