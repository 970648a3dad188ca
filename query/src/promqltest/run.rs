//! Running scripts: real shards on the simulated disk, the real engine, the checks of every evaluation.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use regex::Regex;
use tidemark_core::append::AppendBatch;
use tidemark_core::model::time::TimestampMs;
use tidemark_core::runtime::sim::SimDisk;
use tidemark_core::shard::{Shard, ShardOptions};
use tidemark_core::shards::Shards;
use tidemark_core::wal::WalOptions;

use super::Report;
use super::classic::native_twins;
use super::compare;
use super::script::{Command, Eval, Expectations, Load, LoadSeries, Moments};
use super::series::SequenceValue;
use crate::engine::{Engine, EngineOptions, QueryOptions};
use crate::functions::depends_on_step;
use crate::functions::signature::Function;
use crate::limits::QUERY_BYTES_MAX;
use crate::parser::ast::{AtModifier, Expr};
use crate::parser::walk::children_mut;
use crate::parser::{ParserOptions, parse};
use crate::value::{QueryError, QueryResult, Value};

const MINUTE_MS: i64 = 60_000;

/// Scripts hold little, and clear it often.
const SEGMENT_BYTES: u64 = 1 << 20;

/// The settings that the scripts are written for.
fn engine_options() -> EngineOptions {
    EngineOptions {
        lookback_ms: 300_000,
        samples_max: 10_000,
        bytes_max: QUERY_BYTES_MAX,
        timeout: Duration::from_secs(100),
        subquery_step_ms: 60_000,
        parser: ParserOptions::ALL,
        delayed_name_removal: true,
        type_and_unit_labels: false,
        use_start_timestamps: true,
        cache_bytes: 0,
    }
}

/// Storage and engine of a script.
pub struct Bench {
    shards: u32,
    disk: SimDisk,
    generation: u32,
    engine: Engine,
}

impl Bench {
    /// An empty storage of `shards` shards.
    pub async fn new(shards: u32, options: EngineOptions) -> Result<Self, String> {
        let disk = SimDisk::new(1);
        let engine = Engine::new(open(&disk, shards, 0).await?, options);
        Ok(Bench { shards, disk, generation: 0, engine })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Throws the storage away.
    pub async fn clear(&mut self) -> Result<(), String> {
        self.generation += 1;
        let options = self.engine.options().clone();
        let shards = open(&self.disk, self.shards, self.generation).await?;
        self.engine = Engine::new(shards, options);
        Ok(())
    }

    /// Stores series.
    pub async fn load(&self, load: &Load) -> Result<(), String> {
        let mut batches: Vec<AppendBatch> =
            (0..self.shards).map(|_| AppendBatch::default()).collect();
        let twins = if load.with_native { native_twins(&load.series)? } else { Vec::new() };
        for series in load.series.iter().chain(&twins) {
            let fingerprint = series.labels.fingerprint();
            let batch = &mut batches[fingerprint.owner(self.shards) as usize];
            batch.push_series(fingerprint, series.labels.encoded());
            push_samples(batch, series, load.step_ms);
        }
        let batches = (0..).zip(batches).filter(|(_, batch)| !batch.is_empty()).collect();
        let outcome = self.engine.shards().append(batches).await.map_err(|e| e.to_string())?;
        match outcome.first_refusal {
            None => Ok(()),
            Some(refusal) => Err(refusal.to_string()),
        }
    }
}

fn push_samples(batch: &mut AppendBatch, series: &LoadSeries, step_ms: i64) {
    for (i, value) in series.values.iter().enumerate() {
        let t = step_ms * i as i64;
        match value {
            None => continue,
            Some(SequenceValue::Float(v)) => batch.push_sample(t, *v),
            Some(SequenceValue::Histogram(h, _)) => batch.push_histogram(t, h),
        }
        if let Some(Some(offset)) = series.starts.get(i) {
            batch.set_start_timestamp(t + offset);
        }
    }
}

async fn open(disk: &SimDisk, shards: u32, generation: u32) -> Result<Shards, String> {
    let mut opened: Vec<Rc<Shard>> = Vec::new();
    for shard in 0..shards {
        let directory = PathBuf::from(format!("/generation-{generation}/shard-{shard:04}"));
        let options = ShardOptions {
            wal: WalOptions { segment_bytes: SEGMENT_BYTES, ..WalOptions::default() },
            future_ms_max: i64::MAX,
            ..ShardOptions::default()
        };
        let shard = Shard::open(disk.disk(), &directory, options).await;
        opened.push(shard.map_err(|e| e.to_string())?);
    }
    Ok(Shards::local(opened))
}

/// Runs the commands of a script.
pub async fn run(commands: Vec<Command>, shards: u32) -> Report {
    let mut report = Report::default();
    let mut bench = match Bench::new(shards, engine_options()).await {
        Ok(bench) => bench,
        Err(error) => {
            report.failures.push(error);
            return report;
        }
    };
    for command in commands {
        let (done, what) = match &command {
            Command::Clear => (bench.clear().await, "clear".to_owned()),
            Command::Load(load) => (bench.load(load).await, "load".to_owned()),
            Command::Eval(eval) => {
                let judged = evaluate(&bench.engine, eval).await;
                report.passed += usize::from(judged.is_ok());
                (judged, format!("line {}: {}", eval.line, eval.query))
            }
        };
        if let Err(error) = done {
            report.failures.push(format!("{what}\n{error}"));
        }
    }
    report
}

async fn evaluate(engine: &Engine, eval: &Eval) -> Result<(), String> {
    let expected = &eval.expected;
    match eval.moments {
        Moments::Range { start_ms, end_ms, step_ms } => {
            let result = range(engine, &eval.query, (start_ms, end_ms, step_ms)).await;
            let Some(result) = unless_failed(expected, result)? else { return Ok(()) };
            compare::annotations(expected, &result)?;
            compare::value(expected, &result.value, (start_ms, step_ms))
        }
        Moments::Instant(time_ms) => {
            instant(engine, expected, &eval.query, time_ms).await?;
            if let Some(pinned) = pinned(&eval.query, time_ms)? {
                let times = if time_ms == 0 {
                    vec![-1000, 0, 1000]
                } else {
                    vec![-10 * time_ms, 0, time_ms / 5, time_ms, 10 * time_ms]
                };
                for t in times {
                    let judged = instant(engine, expected, &pinned, t).await;
                    judged.map_err(|e| format!("as {pinned} at {t} ms: {e}"))?;
                }
            }
            Ok(())
        }
    }
}

async fn range(
    engine: &Engine,
    query: &str,
    (start_ms, end_ms, step_ms): (TimestampMs, TimestampMs, i64),
) -> Result<QueryResult, QueryError> {
    engine.range(query, start_ms, end_ms, step_ms, &QueryOptions::default()).await
}

/// The result, if it is to be looked at: `None` if the query failed as expected.
fn unless_failed(
    expected: &Expectations,
    result: Result<QueryResult, QueryError>,
) -> Result<Option<QueryResult>, String> {
    match (result, expected.fail.is_empty()) {
        (Ok(result), true) => Ok(Some(result)),
        (Ok(_), false) => Err("it did not fail".to_owned()),
        (Err(error), true) => Err(format!("it failed: {error}")),
        (Err(error), false) => {
            let text = error.to_string();
            match expected.fail.iter().find(|wanted| !wanted.matches(&text)) {
                None => Ok(None),
                Some(wanted) => Err(format!("it failed with {text:?}, expected {wanted:?}")),
            }
        }
    }
}

/// Evaluates at one moment, and once more as the middle of a range.
async fn instant(
    engine: &Engine,
    expected: &Expectations,
    query: &str,
    time_ms: TimestampMs,
) -> Result<(), String> {
    let result = engine.instant(query, time_ms, &QueryOptions::default()).await;
    let Some(result) = unless_failed(expected, result)? else { return Ok(()) };
    compare::annotations(expected, &result)?;
    let points = expected.range_vector.map_or((time_ms, 1), |(start, _, step)| (start, step));
    compare::value(expected, &result.value, points)?;
    let asks_query = Regex::new(r"(start|end|range|step)\(\)").expect("the pattern is a constant");
    if expected.range_vector.is_some() || expected.string.is_some() || asks_query.is_match(query) {
        return Ok(());
    }
    let moments = (time_ms - MINUTE_MS, time_ms + MINUTE_MS, MINUTE_MS);
    let result =
        range(engine, query, moments).await.map_err(|e| format!("as a range it failed: {e}"))?;
    let Value::Matrix(series) = &result.value else {
        return Err("as a range it gave no matrix".to_owned());
    };
    let in_range = |e| format!("in a range: {e}");
    if !expected.ordered {
        compare::sorted(series).map_err(in_range)?;
    }
    let value = if expected.scalar.is_some() {
        let first = series.first().and_then(|s| s.floats.get(1).or(s.floats.first()));
        Value::Scalar(*first.ok_or("as a range it gave no scalar")?)
    } else {
        Value::Vector(compare::at_moment(series, time_ms))
    };
    let unordered = Expectations { ordered: false, ..expected.clone() };
    compare::value(&unordered, &value, points).map_err(in_range)
}

/// The query with all selectors pinned to `time_ms`; `None` if it depends on the time of evaluation all the same.
fn pinned(query: &str, time_ms: TimestampMs) -> Result<Option<String>, String> {
    let mut expr = parse(query, &ParserOptions::ALL).map_err(|e| e.to_string())?;
    Ok(pin(&mut expr, time_ms).then(|| expr.to_string()))
}

/// Pins selectors and subqueries that are not pinned, but not inside of subqueries. False if some function looks at the
/// time.
fn pin(expr: &mut Expr, time_ms: TimestampMs) -> bool {
    let at = Some(AtModifier::Timestamp(time_ms));
    match expr {
        Expr::Vector(selector) => selector.at = selector.at.or(at),
        Expr::Matrix(range) => range.selector.at = range.selector.at.or(at),
        Expr::Subquery(subquery) => {
            let by_query = matches!(subquery.at, Some(AtModifier::Start | AtModifier::End));
            subquery.at = if by_query { at } else { subquery.at.or(at) };
            return true;
        }
        Expr::Call(call) => {
            use Function::{End, Range, Start, Step};
            if depends_on_step(call.function) || matches!(call.function, Start | End | Range | Step)
            {
                return false;
            }
        }
        _ => {}
    }
    children_mut(expr).all(|child| pin(child, time_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinning() {
        let pinned = |query| pinned(query, 60_000).unwrap();
        assert_eq!(pinned("rate(x[5m]) + y @ 3").unwrap(), "rate(x[5m] @ 60.000) + y @ 3.000");
        assert_eq!(pinned("max_over_time(x[5m:])").unwrap(), "max_over_time(x[5m:] @ 60.000)");
        assert_eq!(pinned("x * time()"), None);
    }
}
