//! What a query answers: the value, the notes beside it, or the error. Plain owned data that any part of a server can
//! render; nothing here refers to shards.

use std::sync::Arc;

use tidemark_core::model::histogram::FloatHistogram;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::sample::Sample;
use tidemark_core::model::time::TimestampMs;

use crate::parser::ast::ValueType;

/// The answer to a query.
#[derive(Clone, Debug)]
pub struct QueryResult {
    /// The value.
    pub value: Value,
    /// What is likely wrong with the query or the data, with positions.
    pub warnings: Vec<String>,
    /// What is worth knowing, with positions.
    pub infos: Vec<String>,
    /// What it cost.
    pub stats: QueryStats,
}

/// A value of one of PromQL's four types.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number.
    Scalar(Sample),
    /// A string.
    String {
        /// The moment of the query.
        timestamp_ms: TimestampMs,
        /// The text.
        value: String,
    },
    /// At most one sample a series.
    Vector(Vec<VectorSample>),
    /// Samples over time; what a range query gives always.
    Matrix(Vec<Series>),
}

impl Value {
    /// Its type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::Scalar(_) => ValueType::Scalar,
            Value::String { .. } => ValueType::String,
            Value::Vector(_) => ValueType::Vector,
            Value::Matrix(_) => ValueType::Matrix,
        }
    }

    /// How many series; none for scalars and strings.
    pub fn series_count(&self) -> usize {
        match self {
            Value::Scalar(_) | Value::String { .. } => 0,
            Value::Vector(samples) => samples.len(),
            Value::Matrix(series) => series.len(),
        }
    }

    /// Keeps the first `limit` series; says whether any were dropped.
    pub fn truncate(&mut self, limit: usize) -> bool {
        let before = self.series_count();
        match self {
            Value::Scalar(_) | Value::String { .. } => {}
            Value::Vector(samples) => samples.truncate(limit),
            Value::Matrix(series) => series.truncate(limit),
        }
        self.series_count() < before
    }
}

/// One series of an instant vector.
#[derive(Clone, Debug)]
pub struct VectorSample {
    /// The series.
    pub labels: Labels,
    /// The moment of the query.
    pub timestamp_ms: TimestampMs,
    /// Its value then.
    pub value: SampleValue,
}

/// A float or a native histogram.
#[derive(Clone, Debug)]
pub enum SampleValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

/// One series of a matrix. A step has a float, a histogram, or neither.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// The series.
    pub labels: Labels,
    /// Its floats, in order of time.
    pub floats: Vec<Sample>,
    /// Its histograms, in order of time.
    pub histograms: Vec<(TimestampMs, Arc<FloatHistogram>)>,
}

/// What a query cost.
#[derive(Clone, Debug, Default)]
pub struct QueryStats {
    /// Where the time went.
    pub timings: QueryTimings,
    /// Samples looked at; one in the windows of several steps counts at each.
    pub samples_total: u64,
    /// Samples read, each once.
    pub samples_read: u64,
    /// Most samples held at once.
    pub samples_peak: u64,
    /// Samples looked at at each step, with the step's time, if asked for.
    pub samples_per_step: Option<Vec<(TimestampMs, u64)>>,
    /// What each part of the plan did, if asked for.
    pub explain: Option<Box<Explain>>,
}

/// What a part of a plan did.
#[derive(Clone, Debug, Default)]
pub struct Explain {
    /// What kind of node it is.
    pub node: &'static str,
    /// What it is; what its children say is left out.
    pub text: String,
    /// How long it took, its children included.
    pub seconds: f64,
    /// Series in its result.
    pub series: usize,
    /// Samples in its result.
    pub samples: usize,
    /// What each shard did, if it was evaluated there.
    pub shards: Vec<ShardCost>,
    /// The parts it was made from.
    pub children: Vec<Explain>,
}

/// What a shard did for a part of a plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardCost {
    /// Series that were read.
    pub series: usize,
    /// Samples that were read.
    pub samples: usize,
    /// Time of finding the series.
    pub select_seconds: f64,
    /// Time of reading and decoding.
    pub read_seconds: f64,
    /// Time from the beginning to the end, waiting included.
    pub seconds: f64,
}

/// Seconds a query spent in each of its stages.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryTimings {
    /// Waiting for its turn.
    pub queue_seconds: f64,
    /// Planning and selecting series.
    pub preparation_seconds: f64,
    /// Evaluating.
    pub evaluation_seconds: f64,
    /// Sorting the answer.
    pub sort_seconds: f64,
    /// From its start to its answer, waiting included.
    pub total_seconds: f64,
}

/// The kinds of errors of the API. Each has a name and a status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The request is wrong.
    BadData,
    /// The query can't be evaluated on this data.
    Execution,
    /// It took too long.
    Timeout,
    /// The client went away, or the server stops.
    Canceled,
    /// The server is at fault.
    Internal,
    /// The server can't answer now.
    Unavailable,
    /// There is no such thing.
    NotFound,
    /// None of the formats the client accepts can be had.
    NotAcceptable,
}

impl ErrorType {
    /// The name in `errorType`.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorType::BadData => "bad_data",
            ErrorType::Execution => "execution",
            ErrorType::Timeout => "timeout",
            ErrorType::Canceled => "canceled",
            ErrorType::Internal => "internal",
            ErrorType::Unavailable => "unavailable",
            ErrorType::NotFound => "not_found",
            ErrorType::NotAcceptable => "not_acceptable",
        }
    }

    /// The status code of the answer. 499 is nginx's for a client that went away.
    pub fn status(self) -> u16 {
        match self {
            ErrorType::BadData => 400,
            ErrorType::Execution => 422,
            ErrorType::Timeout | ErrorType::Unavailable => 503,
            ErrorType::Canceled => 499,
            ErrorType::Internal => 500,
            ErrorType::NotFound => 404,
            ErrorType::NotAcceptable => 406,
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// What kind.
    pub kind: ErrorType,
    /// What and where, in Prometheus' words.
    pub message: String,
}

impl QueryError {
    /// An error of this kind.
    pub fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        QueryError { kind, message: message.into() }
    }
}
