//! The query engine: from the text of a query to its answer.
//!
//! ```text
//! text -> parser::parse -> plan::lower -> eval::run -> names dropped, sorted -> QueryResult
//! ```
//!
//! One engine lives on each core; it is a handle to the shards, a handful of settings, and the answers kept for range queries
//! that repeat ([`crate::cache`]).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;

use tidemark_core::model::sample::{Sample, is_stale};
use tidemark_core::model::time::TimestampMs;
use tidemark_core::runtime::clock::Instant;
use tidemark_core::runtime::{self, Queue};
use tidemark_core::shard::Shard;
use tidemark_core::shards::Shards;

use crate::budget::{Budget, Budgets};
use crate::cache::{Kept, Key, Known, ResultCache, eligible, join};
use crate::eval::batch::{Batch, CellRef, Row, Steps};
use crate::eval::calls::Output;
use crate::eval::dedupe::{Equal, drop_names, unite};
use crate::eval::fragment::storage_error;
use crate::eval::memo::Memo;
use crate::eval::range_value;
use crate::eval::row::RowOptions;
use crate::eval::run::Evaluator;
use crate::eval::trace::Trace;
use crate::limits::{QUERY_BYTES_MAX, QUERY_STEPS_MAX};
use crate::parser::ast::{Expr, ValueType};
use crate::parser::{ParserOptions, parse};
use crate::plan::lower::{LowerOptions, lower};
use crate::plan::node::Node;
use crate::value::{
    ErrorType, QueryError, QueryResult, QueryStats, QueryTimings, SampleValue, Series, Value,
    VectorSample,
};

/// Settings of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How old the newest sample of a series may be, in ms (`--query.lookback-delta`).
    pub lookback_ms: i64,
    /// Most samples a query may hold at once (`--query.max-samples`).
    pub samples_max: u64,
    /// Most bytes a query may hold at once (`--query.max-memory`).
    pub bytes_max: u64,
    /// How long a query may take (`--query.timeout`).
    pub timeout: Duration,
    /// Distance of the evaluations of subqueries that do not say, in ms: the global evaluation interval.
    pub subquery_step_ms: i64,
    /// Which parts of the language are on.
    pub parser: ParserOptions,
    /// Metric names are dropped at the end of evaluation (`promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// The type of a metric is told by its `__type__` label (`type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Start timestamps of counters are looked at (`use-start-timestamps`).
    pub use_start_timestamps: bool,
    /// Bytes of answers to keep for range queries that repeat; 0 keeps none (`--query.cache-size`).
    pub cache_bytes: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            lookback_ms: 300_000,
            samples_max: 50_000_000,
            bytes_max: QUERY_BYTES_MAX,
            timeout: Duration::from_mins(2),
            subquery_step_ms: 60_000,
            parser: ParserOptions::default(),
            delayed_name_removal: false,
            type_and_unit_labels: false,
            use_start_timestamps: false,
            cache_bytes: 0,
        }
    }
}

/// What a single query may set for itself.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Another lookback, in ms.
    pub lookback_ms: Option<i64>,
    /// A shorter time-out.
    pub timeout: Option<Duration>,
    /// The answer is to say what each part of the plan did.
    pub explain: bool,
    /// The answer is to say how many samples each step looked at.
    pub step_stats: bool,
    /// Neither takes an answer that was kept, nor keeps one (`nocache=1`).
    pub no_cache: bool,
}

/// The moments of a query.
#[derive(Clone, Copy, Debug)]
struct Moments {
    first: TimestampMs,
    last: TimestampMs,
    /// In ms; 0 for an instant query.
    step: i64,
}

impl Moments {
    fn steps(self) -> Steps {
        if self.step > 0 {
            Steps::new(self.first, self.last, self.step)
        } else {
            Steps::instant(self.first)
        }
    }
}

/// Evaluates queries.
#[derive(Clone)]
pub struct Engine {
    shards: Shards,
    options: EngineOptions,
    cache: Rc<RefCell<ResultCache>>,
    running: Rc<RefCell<Budgets>>,
}

/// What a client asks.
#[derive(Clone, Copy)]
struct Asked<'a> {
    query: &'a str,
    expr: &'a Expr,
    moments: Moments,
    options: &'a QueryOptions,
    began: Instant,
}

impl Engine {
    /// An engine over these shards.
    pub fn new(shards: Shards, options: EngineOptions) -> Self {
        let cache = Rc::new(RefCell::new(ResultCache::new(options.cache_bytes)));
        Engine { shards, options, cache, running: Rc::default() }
    }

    /// Bytes that the queries under way hold, on all cores, and bytes of the answers that are kept.
    pub fn memory(&self) -> (u64, u64) {
        (self.running.borrow().bytes(), self.cache.borrow().bytes() as u64)
    }

    /// The shards it asks.
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// The same engine over the shards as a tenant sees them.
    #[must_use]
    pub fn over(&self, shards: Shards) -> Self {
        Engine { shards, ..self.clone() }
    }

    /// Its settings.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The value of a query at one moment.
    pub async fn instant(
        &self,
        query: &str,
        time_ms: TimestampMs,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let moments = Moments { first: time_ms, last: time_ms, step: 0 };
        self.query(query, moments, options).await
    }

    /// The values of a query from `start_ms` to `end_ms`, `step_ms` apart.
    pub async fn range(
        &self,
        query: &str,
        start_ms: TimestampMs,
        end_ms: TimestampMs,
        step_ms: i64,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let bad = |message: String| QueryError::new(ErrorType::BadData, message);
        if step_ms <= 0 {
            return Err(bad("zero or negative query resolution step widths are not accepted. Try a positive integer".to_owned()));
        }
        if end_ms < start_ms {
            return Err(bad("end timestamp must not be before start time".to_owned()));
        }
        let intervals = i128::from(end_ms) - i128::from(start_ms);
        if intervals / i128::from(step_ms) >= i128::from(QUERY_STEPS_MAX) {
            return Err(bad(format!("a range query may have {QUERY_STEPS_MAX} steps at most")));
        }
        self.query(query, Moments { first: start_ms, last: end_ms, step: step_ms }, options).await
    }

    async fn query(
        &self,
        query: &str,
        moments: Moments,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let began = Instant::now();
        let expr = parse(query, &self.options.parser)
            .map_err(|e| QueryError::new(ErrorType::BadData, e.to_string()))?;
        let value_type = expr.value_type();
        if moments.step > 0 && !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
            return Err(QueryError::new(
                ErrorType::BadData,
                format!(
                    "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
                    value_type.documented()
                ),
            ));
        }
        let asked = Asked { query, expr: &expr, moments, options, began };
        match self.cache_key(asked) {
            Some((key, ahead_ms)) => self.repeated(asked, key, ahead_ms).await,
            None => self.evaluated(asked).await,
        }
    }

    /// What an answer to a query would be kept by, and how far its steps look ahead; `None` if it is not to be kept.
    fn cache_key(&self, asked: Asked<'_>) -> Option<(Key, i64)> {
        let (options, moments) = (asked.options, asked.moments);
        let wanted = !(options.no_cache || options.explain || options.step_stats);
        let flags = self.options.delayed_name_removal || self.options.type_and_unit_labels;
        // Who leaves no time is told so, whether the answer is known or not.
        let hurried = options.timeout.is_some_and(|timeout| timeout < Duration::from_millis(1));
        if moments.step == 0 || !wanted || flags || hurried || !self.cache.borrow().is_on() {
            return None;
        }
        let ahead_ms = eligible::ahead_ms(asked.expr)?;
        let key = Key {
            tenant: self.shards.tenant().cloned(),
            query: asked.query.into(),
            step_ms: moments.step,
            phase_ms: moments.first.rem_euclid(moments.step),
            lookback_ms: options.lookback_ms.unwrap_or(self.options.lookback_ms),
        };
        Some((key, ahead_ms))
    }

    /// Takes of an answer that was kept what still holds, evaluates the rest, and keeps the whole.
    async fn repeated(
        &self,
        asked: Asked<'_>,
        key: Key,
        ahead_ms: i64,
    ) -> Result<QueryResult, QueryError> {
        let known = self.cache.borrow_mut().ask(&key);
        let since = Instant::now();
        let steps = asked.moments.steps();
        let (kept, held) = match known {
            Known::Nothing => return self.evaluated(asked).await,
            Known::Asked => (None, 0),
            Known::Answered(kept) => {
                let oldest_ms = self.oldest_change_since(kept.since).await?;
                let held = kept.holds(steps, oldest_ms, ahead_ms);
                (Some(kept), held)
            }
        };
        let mut result = if held < steps.count {
            let moments = Moments { first: steps.at(held), ..asked.moments };
            self.evaluated(Asked { moments, ..asked }).await?
        } else {
            QueryResult {
                value: Value::Matrix(Vec::new()),
                warnings: Vec::new(),
                infos: Vec::new(),
                stats: QueryStats::default(),
            }
        };
        let Value::Matrix(evaluated) = result.value else { return Ok(result) };
        let series = match kept {
            Some(kept) => join(&kept.series, evaluated, (steps.start_ms, steps.at(held))),
            None => evaluated,
        };
        if result.warnings.is_empty() && result.infos.is_empty() {
            let kept = Kept { steps, series: series.clone(), since };
            self.cache.borrow_mut().keep(key, kept);
        } else {
            self.cache.borrow_mut().forget(&key);
        }
        result.value = Value::Matrix(series);
        result.stats.timings.total_seconds = asked.began.elapsed().as_secs_f64();
        Ok(result)
    }

    /// The oldest time of a sample that has come or gone since, on any shard.
    async fn oldest_change_since(&self, since: Instant) -> Result<TimestampMs, QueryError> {
        let ask = move |shard: Rc<Shard>| {
            std::future::ready(shard.oldest_change_since(since)).boxed_local()
        };
        let oldest = self.shards.scatter(Queue::Query, ask).await;
        let oldest = oldest.map_err(|e| storage_error(&e))?;
        Ok(oldest.into_iter().min().unwrap_or(TimestampMs::MIN))
    }

    /// Evaluates a query.
    async fn evaluated(&self, asked: Asked<'_>) -> Result<QueryResult, QueryError> {
        let Asked { query, expr, moments, options, began } = asked;
        let value_type = expr.value_type();
        let node = self.plan(expr, moments)?;
        let timeout = options.timeout.map_or(self.options.timeout, |t| t.min(self.options.timeout));
        let deadline = began + timeout;
        let budget = Budget::new(self.options.samples_max, self.options.bytes_max, deadline);
        self.running.borrow_mut().watch(&budget);
        let _cancel = budget.cancel_on_drop();
        let evaluator = Evaluator {
            shards: self.shards.clone(),
            lookback_ms: options.lookback_ms.unwrap_or(self.options.lookback_ms),
            options: RowOptions {
                delayed_name_removal: self.options.delayed_name_removal,
                use_start_timestamps: self.options.use_start_timestamps,
                type_and_unit_labels: self.options.type_and_unit_labels,
            },
            budget: budget.clone(),
            notes: RefCell::default(),
            trace: Trace::new(moments.steps(), options.explain, options.step_stats),
            memo: Memo::default(),
        };
        if timeout.is_zero() {
            let message = "query timed out in query execution";
            return Err(QueryError::new(ErrorType::Timeout, message));
        }
        let preparation_seconds = began.elapsed().as_secs_f64();
        let value = evaluate(&evaluator, &node, value_type, moments).await?;
        let (warnings, infos) = evaluator.notes.into_inner().texts(query);
        let (explain, step_counts) = evaluator.trace.finish();
        let total_seconds = began.elapsed().as_secs_f64();
        let stats = QueryStats {
            timings: QueryTimings {
                preparation_seconds,
                evaluation_seconds: total_seconds - preparation_seconds,
                total_seconds,
                ..QueryTimings::default()
            },
            samples_total: budget.samples_seen(),
            samples_read: budget.samples_read(),
            samples_peak: budget.samples_peak(),
            samples_per_step: step_counts
                .map(|counts| moments.steps().iter().zip(counts).collect()),
            explain,
        };
        Ok(QueryResult { value, warnings, infos, stats })
    }

    fn plan(&self, expr: &Expr, moments: Moments) -> Result<Node, QueryError> {
        let options = LowerOptions {
            start_ms: moments.first,
            end_ms: moments.last,
            step_ms: moments.step,
            subquery_step_ms: self.options.subquery_step_ms,
        };
        lower(expr, options).map_err(|e| {
            let kind = match e {
                crate::plan::lower::LowerError::Duration(_) => ErrorType::BadData,
                _ => ErrorType::Execution,
            };
            QueryError::new(kind, e.to_string())
        })
    }
}

/// Evaluates a plan and makes its value presentable.
async fn evaluate(
    evaluator: &Evaluator,
    node: &Node,
    value_type: ValueType,
    moments: Moments,
) -> Result<Value, QueryError> {
    let time_ms = moments.first;
    if value_type == ValueType::Matrix {
        return range_value::evaluate(evaluator, node, time_ms).await.map(Value::Matrix);
    }
    let is_range = moments.step > 0;
    let steps = moments.steps();
    Ok(match evaluator.eval(node, steps).await? {
        Output::Text(value) => Value::String { timestamp_ms: time_ms, value },
        Output::Scalar(scalars) if is_range => Value::Matrix(vec![Series {
            floats: steps
                .iter()
                .zip(&*scalars)
                .map(|(timestamp_ms, &value)| Sample { timestamp_ms, value })
                .collect(),
            ..Series::default()
        }]),
        Output::Scalar(scalars) => {
            let value = scalars.first().copied().unwrap_or(f64::NAN);
            Value::Scalar(Sample { timestamp_ms: time_ms, value })
        }
        Output::Vector(batch) => {
            let batch = finished(evaluator, batch, is_range).await?;
            if is_range {
                Value::Matrix(matrix(batch).await)
            } else {
                Value::Vector(vector(&batch))
            }
        }
    })
}

/// Drops the names that were still to be dropped, and orders the rows.
async fn finished(
    evaluator: &Evaluator,
    mut batch: Batch,
    is_range: bool,
) -> Result<Batch, QueryError> {
    if evaluator.options.delayed_name_removal {
        drop_names(&mut batch.rows);
        batch.rows = unite(batch.rows, Equal::Merge)?;
    }
    batch.drop_empty_rows();
    batch.ordered &= !is_range;
    batch.sort_in_turns().await;
    Ok(batch)
}

fn vector(batch: &Batch) -> Vec<VectorSample> {
    let timestamp_ms = batch.steps.start_ms;
    let samples = batch.rows.iter().filter_map(|row| {
        let value = match row.cells.get(0) {
            CellRef::Absent => return None,
            CellRef::Float(v) => SampleValue::Float(v),
            CellRef::Histogram(h) => SampleValue::Histogram(h.clone()),
        };
        Some(VectorSample { labels: row.labels.clone(), timestamp_ms, value })
    });
    samples.collect()
}

/// Lets go of each row when its series is made, and offers the core to others in between.
async fn matrix(batch: Batch) -> Vec<Series> {
    let times: Vec<TimestampMs> = batch.steps.iter().collect();
    let mut matrix = Vec::with_capacity(batch.rows.len());
    for row in batch.rows {
        runtime::yield_if_needed().await;
        matrix.push(series(row, &times));
    }
    matrix
}

fn series(row: Row, times: &[TimestampMs]) -> Series {
    let mut series = Series { labels: row.labels, ..Series::default() };
    series.floats.reserve_exact(row.cells.count_present());
    if !row.cells.has_histograms() {
        let samples = times.iter().zip(row.cells.floats());
        let samples = samples.map(|(&timestamp_ms, &value)| Sample { timestamp_ms, value });
        series.floats.extend(samples.filter(|sample| !is_stale(sample.value)));
        return series;
    }
    for (i, &timestamp_ms) in times.iter().enumerate() {
        match row.cells.get(i) {
            CellRef::Absent => {}
            CellRef::Float(value) => series.floats.push(Sample { timestamp_ms, value }),
            CellRef::Histogram(h) => series.histograms.push((timestamp_ms, h.clone())),
        }
    }
    series
}
