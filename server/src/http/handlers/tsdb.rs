//! `/api/v1/status/tsdb`: how much is in the heads, and which names and labels have most of it.
//!
//! Series are counted exactly, since each lies in one shard. A label's value may occur in several shards; of distinct values
//! (and of label pairs) the largest count of any shard is shown, which is exact when there is one shard and a little low else.

use std::collections::HashMap;
use std::rc::Rc;

use http::StatusCode;
use serde_json::{Value, json};
use tidemark_core::shard::{LabelCount, ShardStats, TopLabels};

use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::node::Node;

/// Rows of each table unless `limit` says otherwise.
const LIMIT_DEFAULT: usize = 10;

/// Rows at most.
const LIMIT_MAX: usize = 10_000;

/// How many more rows each shard gives than are shown, so that the sums of the largest are right.
const SHARD_FACTOR: usize = 10;

/// See the module.
pub(crate) async fn tsdb(node: Rc<Node>, request: Request) -> Answer {
    let params = match request.params().await {
        Ok(params) => params,
        Err(error) => return error.answer(),
    };
    let limit = match params.get("limit") {
        "" => LIMIT_DEFAULT,
        text => match text.parse::<usize>() {
            Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => limit,
            Ok(limit) if limit > 0 => return bad(&format!("limit must not exceed {LIMIT_MAX}")),
            _ => return bad("limit must be a positive number"),
        },
    };
    let each = move |node: &Node| {
        let shards = node.local_shards().into_iter();
        shards.map(|s| (s.stats(), s.top_labels(limit * SHARD_FACTOR))).collect::<Vec<_>>()
    };
    match node.on_every_core(each).await {
        Ok(all) => Answer::data(&status(&all.into_iter().flatten().collect::<Vec<_>>(), limit)),
        Err(error) => error.answer(),
    }
}

fn bad(message: &str) -> Answer {
    Answer::api_error(StatusCode::BAD_REQUEST, "bad_data", message)
}

fn status(shards: &[(ShardStats, TopLabels)], limit: usize) -> Value {
    let ranges = || shards.iter().filter_map(|(stats, _)| stats.range);
    // Prometheus' values of an empty head.
    let min = ranges().map(|r| r.start_ms).min().unwrap_or(i64::MAX);
    let max = ranges().map(|r| r.end_ms).max().unwrap_or(i64::MIN);
    let sum = |of: fn(&ShardStats) -> u64| shards.iter().map(|(stats, _)| of(stats)).sum::<u64>();
    let rows = |of: fn(&TopLabels) -> &[LabelCount], join: fn(u64, u64) -> u64| {
        merged(shards.iter().map(|(_, top)| of(top)), join, limit)
    };
    let add = |a, b| a + b;
    json!({
        "headStats": {
            "numSeries": sum(|s| s.series),
            "numLabelPairs": shards.iter().map(|(_, top)| top.label_pairs).max().unwrap_or(0),
            "chunkCount": sum(|s| s.chunks_open + s.chunks_sealed),
            "minTime": min,
            "maxTime": max,
        },
        "seriesCountByMetricName": rows(|t| &t.series_by_metric, add),
        "labelValueCountByLabelName": rows(|t| &t.values_by_label, u64::max),
        "memoryInBytesByLabelName": rows(|t| &t.bytes_by_label, u64::max),
        "seriesCountByLabelValuePair": rows(|t| &t.series_by_pair, add),
    })
}

fn merged<'a>(
    lists: impl Iterator<Item = &'a [LabelCount]>,
    join: fn(u64, u64) -> u64,
    limit: usize,
) -> Vec<Value> {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for row in lists.flatten() {
        let count = counts.entry(&row.name).or_insert(0);
        *count = join(*count, row.count);
    }
    let mut rows: Vec<_> = counts.into_iter().collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    rows.into_iter()
        .take(limit)
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up() {
        let list = |rows: &[(&str, u64)]| {
            rows.iter()
                .map(|&(name, count)| LabelCount { name: name.into(), count })
                .collect::<Vec<_>>()
        };
        let (a, b) = (list(&[("x", 3), ("y", 2)]), list(&[("y", 2), ("z", 1)]));
        let lists = || [a.as_slice(), b.as_slice()].into_iter();
        let added = merged(lists(), |a, b| a + b, 2);
        assert_eq!(added, [json!({"name": "y", "value": 4}), json!({"name": "x", "value": 3})]);
        let largest = merged(lists(), u64::max, 9);
        assert_eq!(largest[1], json!({"name": "y", "value": 2}));
    }
}
