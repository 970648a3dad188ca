//! Range vectors as results: `m[5m]` and `m[1h:5m]` by themselves give the samples of the window.

use std::sync::Arc;

use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::sample::Sample;
use tidemark_core::model::time::{TimeRange, TimestampMs};
use tidemark_core::runtime::{self, Queue};
use tidemark_core::shard::Shard;

use super::batch::{CellRef, Steps};
use super::dedupe::{Equal, drop_names, execution_error, unite};
use super::fragment::storage_error;
use super::run::Evaluator;
use super::window::{Samples, WindowSpec, slide};
use crate::budget::Budget;
use crate::functions::rate_extended::extended_samples;
use crate::parser::ast::EdgeMode;
use crate::plan::node::{Node, RangeSelect, Subquery};
use crate::value::{QueryError, Series};

/// The samples of a range vector at one moment, sorted by labels.
pub async fn evaluate(
    evaluator: &Evaluator,
    node: &Node,
    time_ms: TimestampMs,
) -> Result<Vec<Series>, QueryError> {
    let mut series = match node {
        Node::Range(range) => of_selector(evaluator, range, time_ms).await?,
        Node::Subquery(subquery) => of_subquery(evaluator, subquery, time_ms).await?,
        _ => return Err(execution_error("expression is not a range vector")),
    };
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}

async fn of_selector(
    evaluator: &Evaluator,
    range: &RangeSelect,
    time_ms: TimestampMs,
) -> Result<Vec<Series>, QueryError> {
    let spec = WindowSpec {
        range_ms: range.range_ms,
        offset_ms: range.select.offset_ms,
        at_ms: range.select.at_ms,
        edges: range.select.edges,
        lookback_ms: evaluator.lookback_ms,
    };
    let matchers = Arc::clone(&range.select.matchers);
    let budget = evaluator.budget.clone();
    let answers = evaluator
        .shards
        .scatter(Queue::Query, move |shard| {
            let (matchers, budget) = (Arc::clone(&matchers), budget.clone());
            Box::pin(async move { read(&shard, &matchers, spec, time_ms, &budget).await })
        })
        .await
        .map_err(|e| storage_error(&e))?;
    let mut series = Vec::new();
    for answer in answers {
        let (found, warnings) = answer?;
        series.extend(found);
        evaluator.notes.borrow_mut().add_storage(warnings);
    }
    evaluator.trace.seen(Steps::instant(time_ms), &[evaluator.budget.samples_seen()]);
    Ok(series)
}

/// The samples of the window of every series on a shard.
async fn read(
    shard: &Shard,
    matchers: &[tidemark_core::model::matcher::Matcher],
    spec: WindowSpec,
    time_ms: TimestampMs,
    budget: &Budget,
) -> Result<(Vec<Series>, Vec<String>), QueryError> {
    let (after, to) = spec.reach(spec.end(time_ms));
    let range = TimeRange::new(after.saturating_add(1), to);
    let selection = shard.select(matchers, range).await.map_err(|e| storage_error(&e))?;
    let mut columns = SampleColumns::new();
    let mut samples = Samples::default();
    let mut out = Vec::new();
    for i in 0..selection.len() {
        runtime::yield_if_needed().await;
        budget.check()?;
        columns.clear();
        selection.read(i, range, &mut columns).await.map_err(|e| storage_error(&e))?;
        budget.count_read(columns.len());
        samples.take_columns(&mut columns, false);
        let mut series = Series { labels: selection.labels(i), ..Series::default() };
        let mut unsupported = None;
        slide(&samples, &spec, Steps::instant(time_ms), |w| {
            let sample = |(timestamp_ms, value)| Sample { timestamp_ms, value };
            if w.edges == EdgeMode::Plain {
                series.floats = w
                    .floats
                    .t
                    .iter()
                    .copied()
                    .zip(w.floats.v.iter().copied())
                    .map(sample)
                    .collect();
                let histograms = w.histograms.t.iter().copied().zip(w.histograms.v.iter().cloned());
                series.histograms = histograms.collect();
            } else if w.histograms.is_empty() {
                series.floats = extended_samples(w).into_iter().map(sample).collect();
            } else {
                unsupported = Some(w.edges);
            }
        });
        if let Some(edges) = unsupported {
            let modifier = if edges == EdgeMode::Anchored { "anchored" } else { "smoothed" };
            return Err(execution_error(format!(
                "{modifier} modifier is not supported with histograms"
            )));
        }
        if !(series.floats.is_empty() && series.histograms.is_empty()) {
            let histograms: usize = series.histograms.iter().map(|(_, h)| h.sample_weight()).sum();
            let samples = series.floats.len() + histograms;
            budget.count_seen(samples);
            budget.hold(samples)?;
            budget.hold_bytes(samples * size_of::<Sample>() + series.labels.encoded().len())?;
            out.push(series);
        }
    }
    Ok((out, selection.warnings()))
}

async fn of_subquery(
    evaluator: &Evaluator,
    subquery: &Subquery,
    time_ms: TimestampMs,
) -> Result<Vec<Series>, QueryError> {
    let steps = evaluator.subquery_steps(subquery, Steps::instant(time_ms))?;
    let mut batch = evaluator.subquery_values(subquery, steps).await?;
    if evaluator.options.delayed_name_removal {
        drop_names(&mut batch.rows);
        batch.rows = unite(batch.rows, Equal::Merge)?;
    }
    let series = batch.rows.into_iter().map(|row| {
        let mut series = Series { labels: row.labels, ..Series::default() };
        for (i, timestamp_ms) in steps.iter().enumerate() {
            match row.cells.get(i) {
                CellRef::Absent => {}
                CellRef::Float(value) => series.floats.push(Sample { timestamp_ms, value }),
                CellRef::Histogram(h) => series.histograms.push((timestamp_ms, Arc::clone(h))),
            }
        }
        series
    });
    Ok(series.collect())
}
