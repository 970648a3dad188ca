//! `/api/v1/cardinality/*`: which metrics, labels and values make up the series, and what the limits have refused.
//!
//! Without a selector and a time the heads answer from their indexes, without a walk over series. With `match[]`, `start` or
//! `end` the series that pass are gathered, of blocks too, and counted here; of more than [`SERIES_MAX`] the first ones.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use http::StatusCode;
use serde_json::{Value, json};
use tidemark_core::cardinality::MetricActivity;
use tidemark_core::error::Error;
use tidemark_core::model::labels::{Labels, METRIC_NAME};
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::tenant::Tenant;
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::Queue;
use tidemark_core::shard::{LabelCount, Shard};
use tidemark_query::value::QueryError;

use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::node::Node;
use crate::time::Rfc3339;

/// Rows of a table unless `limit` says otherwise, and at most.
const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 10_000;

/// How many more rows each shard gives than are shown, so that the sums of the largest are right.
const SHARD_FACTOR: usize = 10;

/// Series of one selection that a shard hands over.
const SERIES_MAX: usize = 200_000;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    /// Series by metric name.
    Metrics,
    /// Distinct values by label name.
    Names,
    /// Series by pair of label name and value.
    Pairs,
    /// Series by value of one label.
    Values,
}

/// What is asked for.
struct Asked {
    limit: usize,
    label: String,
    selectors: Vec<Vec<Matcher>>,
    /// Whose series are counted, where tenants are told apart.
    tenant: Option<Tenant>,
    /// Given only if the blocks are to be asked too.
    range: Option<TimeRange>,
}

/// Series by metric name.
pub(crate) async fn metric_names(node: Rc<Node>, request: Request) -> Answer {
    explore(node, request, Table::Metrics).await
}

/// Distinct values by label name.
pub(crate) async fn label_names(node: Rc<Node>, request: Request) -> Answer {
    explore(node, request, Table::Names).await
}

/// Series by pair of label name and value.
pub(crate) async fn label_pairs(node: Rc<Node>, request: Request) -> Answer {
    explore(node, request, Table::Pairs).await
}

/// Series by value of the label `label_name`.
pub(crate) async fn label_values(node: Rc<Node>, request: Request) -> Answer {
    explore(node, request, Table::Values).await
}

/// What each limit has refused, and whose.
pub(crate) async fn limits(node: Rc<Node>, request: Request) -> Answer {
    let asked = match Asked::read(request, Table::Metrics).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let limit = asked.limit;
    let each = move |node: &Node| {
        node.local_shards()
            .iter()
            .map(|shard| shard.limits(limit * SHARD_FACTOR))
            .collect::<Vec<_>>()
    };
    let all = match node.on_every_core(each).await {
        Ok(all) => all,
        Err(error) => return error.answer(),
    };
    let mut merged: Vec<(String, u64, BTreeMap<String, u64>)> = Vec::new();
    for (i, status) in all.into_iter().flatten().flat_map(|s| s.into_iter().enumerate()) {
        if merged.len() == i {
            merged.push((status.limit, 0, BTreeMap::new()));
        }
        let (_, refused, offenders) = &mut merged[i];
        *refused += status.refused;
        for (name, count) in status.offenders {
            *offenders.entry(name).or_default() += count;
        }
    }
    let rows = merged.into_iter().map(|(text, refused, offenders)| {
        json!({ "limit": text, "refused": refused, "offenders": top(offenders, limit) })
    });
    Answer::data(&json!({
        "shedding": node.memory.is_shedding(),
        "memoryWatermarkBytes": node.memory.bytes(),
        "limits": rows.collect::<Vec<_>>(),
    }))
}

/// What happened to the metrics that most series began of.
pub(crate) async fn churn(node: Rc<Node>, request: Request) -> Answer {
    let asked = match Asked::read(request, Table::Metrics).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let mut rows: Vec<_> = match activity(&node).await {
        Ok(all) => all.into_values().collect(),
        Err(answer) => return answer,
    };
    rows.sort_by(|a, b| {
        let most = |m: &MetricActivity| (m.begun_today, m.begun_this_hour);
        most(b).cmp(&most(a)).then_with(|| a.metric.cmp(&b.metric))
    });
    let rows = rows.into_iter().take(asked.limit).map(|metric| {
        json!({
            "name": metric.metric,
            "hour": metric.begun_this_hour,
            "day": metric.begun_today,
            "lastQueried": metric.queried_ms.map(|ms| Rfc3339(ms).to_string()),
        })
    });
    Answer::data(&json!({ "rows": rows.collect::<Vec<_>>() }))
}

/// What happened to each metric, in all shards together.
async fn activity(node: &Node) -> Result<BTreeMap<String, MetricActivity>, Answer> {
    let each = |node: &Node| {
        node.local_shards().iter().flat_map(|shard| shard.activity()).collect::<Vec<_>>()
    };
    let all = node.on_every_core(each).await.map_err(|error| error.answer())?;
    let mut merged: BTreeMap<String, MetricActivity> = BTreeMap::new();
    for one in all.into_iter().flatten() {
        match merged.get_mut(&one.metric) {
            None => drop(merged.insert(one.metric.clone(), one)),
            Some(all) => {
                all.begun_this_hour += one.begun_this_hour;
                all.begun_today += one.begun_today;
                all.queried_ms = all.queried_ms.max(one.queried_ms);
            }
        }
    }
    Ok(merged)
}

/// Tells of each metric when it was last asked for.
async fn add_last_queried(node: &Node, rows: &mut [Value]) -> Result<(), Answer> {
    let activity = activity(node).await?;
    for row in rows {
        let metric = row["name"].as_str().and_then(|name| activity.get(name));
        row["lastQueried"] =
            json!(metric.and_then(|m| m.queried_ms).map(|ms| Rfc3339(ms).to_string()));
    }
    Ok(())
}

impl Asked {
    async fn read(request: Request, table: Table) -> Result<Self, Answer> {
        let tenant = request.tenant.clone();
        let params = request.params().await.map_err(|error| error.answer())?;
        let limit = match params.get("limit") {
            "" => LIMIT_DEFAULT,
            text => match text.parse() {
                Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => limit,
                _ => return Err(bad(&format!("limit must be a number from 1 to {LIMIT_MAX}"))),
            },
        };
        let label = params.get("label_name").to_owned();
        if table == Table::Values && label.is_empty() {
            return Err(bad("label_name is missing: which label's values?"));
        }
        let wrong = |error: QueryError| bad(&error.to_string());
        let ranged = ["start", "end", "match[]"].iter().any(|name| !params.get(name).is_empty());
        // The indexes of heads do not tell tenants apart.
        let range = if ranged || tenant.is_some() {
            let start = params.time_or("start", i64::MIN).map_err(wrong)?;
            Some(TimeRange::new(start, params.time_or("end", i64::MAX).map_err(wrong)?))
        } else {
            None
        };
        Ok(Asked { limit, label, selectors: params.selectors().map_err(wrong)?, tenant, range })
    }
}

fn bad(message: &str) -> Answer {
    Answer::api_error(StatusCode::BAD_REQUEST, "bad_data", message)
}

async fn explore(node: Rc<Node>, request: Request, table: Table) -> Answer {
    let asked = match Asked::read(request, table).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let counted = match asked.range {
        None => of_heads(&node, &asked, table).await,
        Some(range) => of_series(&node, &asked, range, table).await,
    };
    let (counts, truncated) = match counted {
        Ok(counted) => counted,
        Err(answer) => return answer,
    };
    let mut rows = top(counts, asked.limit);
    // Of other tenants' queries nobody is told.
    if table == Table::Metrics
        && asked.tenant.is_none()
        && let Err(answer) = add_last_queried(&node, &mut rows).await
    {
        return answer;
    }
    Answer::data(&json!({ "rows": rows, "truncated": truncated }))
}

/// Counts by name, and whether there are more series than were looked at.
type Counted = Result<(BTreeMap<String, u64>, bool), Answer>;

async fn of_heads(node: &Node, asked: &Asked, table: Table) -> Counted {
    let (rows, label): (usize, Arc<str>) =
        (asked.limit * SHARD_FACTOR, asked.label.as_str().into());
    let each = move |node: &Node| {
        let of = |shard: &Rc<Shard>| match table {
            Table::Metrics => shard.top_labels(rows).series_by_metric,
            Table::Names => shard.top_labels(rows).values_by_label,
            Table::Pairs => shard.top_labels(rows).series_by_pair,
            Table::Values => shard.value_counts(&label, rows),
        };
        node.local_shards().iter().flat_map(of).collect::<Vec<LabelCount>>()
    };
    let all = node.on_every_core(each).await.map_err(|error| error.answer())?;
    let mut counts = BTreeMap::new();
    for row in all.into_iter().flatten() {
        let count: &mut u64 = counts.entry(row.name).or_default();
        // A value may occur in several shards; a series lies in one.
        *count = if table == Table::Names { row.count.max(*count) } else { row.count + *count };
    }
    Ok((counts, false))
}

async fn of_series(node: &Node, asked: &Asked, range: TimeRange, table: Table) -> Counted {
    let selectors: Arc<[Vec<Matcher>]> = if asked.selectors.is_empty() {
        vec![Vec::new()].into()
    } else {
        asked.selectors.clone().into()
    };
    let each = move |shard: Rc<Shard>| {
        let selectors = Arc::clone(&selectors);
        async move {
            let mut found = BTreeSet::new();
            for matchers in selectors.iter() {
                found.extend(shard.series(matchers, range, SERIES_MAX).await?);
            }
            Ok::<_, Error>(found)
        }
        .boxed_local()
    };
    let failed =
        |e: Error| Answer::api_error(StatusCode::INTERNAL_SERVER_ERROR, "internal", &e.to_string());
    let shards = node.shards_of(asked.tenant.as_ref());
    let all = shards.scatter(Queue::Query, each).await.map_err(failed)?;
    let mut tally = Tally { table, label: &asked.label, ..Tally::default() };
    let mut truncated = false;
    for series in all {
        let series = series.map_err(failed)?;
        truncated |= series.len() >= SERIES_MAX;
        for labels in &series {
            tally.add(labels);
        }
    }
    Ok((tally.finish(), truncated))
}

/// Counts series one by one.
struct Tally<'a> {
    table: Table,
    label: &'a str,
    counts: BTreeMap<String, u64>,
    values: BTreeMap<String, BTreeSet<String>>,
}

impl Default for Tally<'_> {
    fn default() -> Self {
        let (counts, values) = Default::default();
        Tally { table: Table::Metrics, label: "", counts, values }
    }
}

impl Tally<'_> {
    fn add(&mut self, labels: &Labels) {
        let mut count = |name: &str| *self.counts.entry(name.to_owned()).or_default() += 1;
        match self.table {
            Table::Metrics => count(labels.get(METRIC_NAME).unwrap_or_default()),
            Table::Values => labels.get(self.label).into_iter().for_each(count),
            Table::Pairs => labels.iter().for_each(|(n, v)| count(&format!("{n}={v}"))),
            Table::Names => {
                for (name, value) in labels {
                    self.values.entry(name.to_owned()).or_default().insert(value.to_owned());
                }
            }
        }
    }

    fn finish(self) -> BTreeMap<String, u64> {
        if self.table == Table::Names {
            return self.values.into_iter().map(|(name, v)| (name, v.len() as u64)).collect();
        }
        self.counts
    }
}

/// The largest first, as rows.
fn top(counts: BTreeMap<String, u64>, limit: usize) -> Vec<Value> {
    let mut rows: Vec<_> = counts.into_iter().collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let rows = rows.into_iter().take(limit);
    rows.map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_counted_by_what_is_asked() {
        let series = [
            Labels::from_pairs([("__name__", "a"), ("x", "1")]),
            Labels::from_pairs([("__name__", "a"), ("x", "2")]),
            Labels::from_pairs([("__name__", "b"), ("x", "1")]),
        ];
        for (table, expected) in [
            (Table::Metrics, [("a", 2), ("b", 1)]),
            (Table::Names, [("__name__", 2), ("x", 2)]),
            (Table::Values, [("1", 2), ("2", 1)]),
            (Table::Pairs, [("__name__=a", 2), ("x=1", 2)]),
        ] {
            let mut tally = Tally { table, label: "x", ..Tally::default() };
            for labels in &series {
                tally.add(labels);
            }
            let rows = top(tally.finish(), 2);
            let expected = expected.map(|(name, value)| json!({ "name": name, "value": value }));
            assert_eq!(rows, expected, "{table:?}");
        }
    }
}
