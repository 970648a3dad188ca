//! The part of a query that runs on a shard: one selection, each series through a row plan, the rows collected or
//! aggregated on the spot.

use std::sync::Arc;

use tidemark_core::error::Error as CoreError;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::runtime;
use tidemark_core::shard::Shard;

use super::aggregate::{AggregateSpec, Groups, PartialGroups};
use super::batch::Row;
use super::histogram_stats;
use super::notes::Notes;
use super::row::{RowInput, RowOptions, RowScratch, evaluate};
use crate::budget::Budget;
use crate::functions::labels::without_metadata;
use crate::plan::split::RowPlan;
use crate::value::{ErrorType, QueryError};

/// What a shard is to do.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// Which series.
    pub matchers: Arc<[Matcher]>,
    /// Of histograms only count and sum are looked at.
    pub stats_only: bool,
    /// What is computed of each.
    pub plan: RowPlan,
    /// The aggregation over them, if it is one.
    pub aggregate: Option<AggregateSpec>,
    /// Settings.
    pub options: RowOptions,
    /// What the query may cost.
    pub budget: Budget,
}

/// What a shard answers.
#[derive(Debug)]
pub struct Gathered {
    /// The rows, if nothing was aggregated.
    pub rows: Vec<Row>,
    /// The groups, if they were.
    pub groups: Option<PartialGroups>,
    /// Annotations.
    pub notes: Notes,
}

/// Runs a fragment on one shard.
pub async fn run(fragment: Arc<Fragment>, shard: &Shard) -> Result<Gathered, QueryError> {
    let mut gathered = Gathered { rows: Vec::new(), groups: None, notes: Notes::default() };
    let mut groups = fragment.aggregate.clone().map(Groups::new);
    if let Some(range) = fragment.plan.time_range() {
        let selection =
            shard.select(&fragment.matchers, range).await.map_err(|e| storage_error(&e))?;
        let drop_name = fragment.plan.drops_name();
        let drop_now = drop_name && !fragment.options.delayed_name_removal;
        let mut columns = SampleColumns::new();
        let mut scratch = RowScratch::default();
        for i in 0..selection.len() {
            runtime::yield_if_needed().await;
            fragment.budget.check()?;
            columns.clear();
            selection.read(i, range, &mut columns).await.map_err(|e| storage_error(&e))?;
            if columns.is_empty() {
                continue;
            }
            fragment.budget.count_read(columns.len());
            if fragment.stats_only && !columns.histograms.is_empty() {
                histogram_stats::strip(&mut columns);
            }
            let labels = selection.labels(i);
            let input = RowInput { labels, columns: &columns, options: fragment.options };
            let cells = evaluate(&fragment.plan, &input, &mut scratch, &mut gathered.notes);
            let seen = scratch.take_seen();
            fragment.budget.count_seen(seen.total);
            fragment.budget.hold(seen.widest)?;
            fragment.budget.release(seen.widest);
            if !cells.any_present() {
                continue;
            }
            if let Some(groups) = &mut groups {
                groups.add(labels, drop_name, &cells, &mut gathered.notes);
                continue;
            }
            fragment.budget.hold(cells.sample_weight())?;
            let labels = if drop_now { without_metadata(labels) } else { labels.clone() };
            gathered.rows.push(Row { labels, drop_name, cells });
        }
    }
    gathered.groups = groups.map(Groups::into_partial);
    Ok(gathered)
}

/// What a failure of storage means for a query.
pub fn storage_error(error: &CoreError) -> QueryError {
    let kind = if error.is_transient() { ErrorType::Unavailable } else { ErrorType::Internal };
    QueryError::new(kind, format!("expanding series: {error}"))
}
