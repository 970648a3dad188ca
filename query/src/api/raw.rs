//! Samples as they are stored: one scatter, each series read once, what is made of it gathered by labels.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::{Queue, yield_if_needed};
use tidemark_core::shard::Shard;
use tidemark_core::shards::Shards;

use crate::budget::Budget;
use crate::eval::fragment::storage_error;
use crate::value::QueryError;

type Result<T> = std::result::Result<T, QueryError>;

/// Reads the samples in `range` of the series that pass any of the selectors, and gathers what `each` makes of them; what it
/// makes nothing of is left out. `each` runs beside the data, and tells `budget` what it holds on to.
pub(super) async fn gather<T, F>(
    shards: &Shards,
    selectors: Vec<Vec<Matcher>>,
    range: TimeRange,
    budget: &Budget,
    each: F,
) -> Result<BTreeMap<Labels, T>>
where
    T: Send + 'static,
    F: Fn(&SampleColumns, &Budget) -> Result<Option<T>> + Send + Sync + 'static,
{
    let _cancel = budget.cancel_on_drop();
    let work = Arc::new((selectors, each));
    let budget = budget.clone();
    let answers = shards
        .scatter(Queue::Query, move |shard: Rc<Shard>| {
            let (work, budget) = (Arc::clone(&work), budget.clone());
            Box::pin(async move {
                let (selectors, each) = &*work;
                let (mut found, mut columns) = (BTreeMap::new(), SampleColumns::new());
                // Who says nothing of the series wants none, here as in Prometheus.
                for matchers in selectors.iter().filter(|matchers| !matchers.is_empty()) {
                    let selection =
                        shard.select(matchers, range).await.map_err(|e| storage_error(&e))?;
                    for i in 0..selection.len() {
                        yield_if_needed().await;
                        budget.check()?;
                        let labels = selection.labels(i);
                        if selectors.len() > 1 && found.contains_key(&labels) {
                            continue;
                        }
                        columns.clear();
                        let read = selection.read(i, range, &mut columns).await;
                        read.map_err(|e| storage_error(&e))?;
                        if columns.is_empty() {
                            continue;
                        }
                        budget.count_read(columns.len());
                        if let Some(made) = each(&columns, &budget)? {
                            found.insert(labels, made);
                        }
                    }
                }
                Ok(found)
            })
        })
        .await
        .map_err(|error| storage_error(&error))?;
    let mut all = BTreeMap::new();
    for answer in answers {
        all.append(&mut answer?);
    }
    Ok(all)
}
