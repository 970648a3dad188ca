//! `/api/v1/status/tsdb`: how much is in the heads, and which names and labels have most of it; `tsdb/blocks`: what is in blocks.
//!
//! The lists are exact whatever the number of shards: a pair of label name and value that lies in several of them is one pair. What
//! the shards count is added up by hashes of the values; the texts of what is shown are asked for in a second round.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashSet;
use http::StatusCode;
use serde_json::{Value, json};
use tidemark_core::block::{BlockMeta, block_name};
use tidemark_core::model::labels::METRIC_NAME;
use tidemark_core::shard::{Census, ShardStats};

use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::node::{CoreGone, Node};

/// Rows of each table unless `limit` says otherwise.
const LIMIT_DEFAULT: usize = 10;

/// Rows at most.
const LIMIT_MAX: usize = 10_000;

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
    match status(&node, limit).await {
        Ok(status) => Answer::data(&status),
        Err(error) => error.answer(),
    }
}

fn bad(message: &str) -> Answer {
    Answer::api_error(StatusCode::BAD_REQUEST, "bad_data", message)
}

async fn status(node: &Node, limit: usize) -> Result<Value, CoreGone> {
    let count = |node: &Node| {
        let shards = node.local_shards().into_iter();
        shards.map(|shard| (shard.stats(), shard.census())).collect::<Vec<_>>()
    };
    let (mut stats, mut pairs) = (Vec::new(), Pairs::default());
    for (of_shard, census) in node.on_every_core(count).await?.into_iter().flatten() {
        stats.push(of_shard);
        pairs.add(&census);
    }
    let shown = Arc::new(pairs.largest(limit));
    let wanted = Arc::clone(&shown);
    let texts = move |node: &Node| {
        let shards = node.local_shards().into_iter();
        shards.map(|shard| shard.values_of(&wanted)).collect::<Vec<_>>()
    };
    let texts = node.on_every_core(texts).await?.into_iter().flatten().flatten().collect();
    Ok(page(&stats, &pairs, &texts, limit))
}

type Key = (String, u64);

/// The pairs of all shards.
#[derive(Default)]
struct Pairs(HashMap<Key, Counts>);

#[derive(Clone, Copy, Default)]
struct Counts {
    series: u64,
    bytes: u64,
}

impl Pairs {
    fn add(&mut self, census: &Census) {
        for pair in &census.pairs {
            let name = census.names[pair.name as usize].clone();
            let counts = self.0.entry((name, pair.value_hash)).or_default();
            counts.series += pair.series;
            counts.bytes = u64::from(pair.value_bytes);
        }
    }

    /// The pairs that are shown: the largest of all, and those of metric names.
    fn largest(&self, limit: usize) -> HashSet<Key> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_unstable_by(|a, b| b.1.series.cmp(&a.1.series).then_with(|| a.0.cmp(b.0)));
        let metrics = all.iter().filter(|(key, _)| key.0 == METRIC_NAME).take(limit);
        all.iter().take(limit).chain(metrics).map(|(key, _)| (*key).clone()).collect()
    }
}

fn page(shards: &[ShardStats], pairs: &Pairs, texts: &HashMap<Key, String>, limit: usize) -> Value {
    let ranges = || shards.iter().filter_map(|stats| stats.range);
    // Prometheus' values of an empty head.
    let min = ranges().map(|r| r.start_ms).min().unwrap_or(i64::MAX);
    let max = ranges().map(|r| r.end_ms).max().unwrap_or(i64::MIN);
    let sum = |of: fn(&ShardStats) -> u64| shards.iter().map(of).sum::<u64>();
    let (mut values, mut bytes) = (HashMap::new(), HashMap::new());
    for ((name, _), counts) in &pairs.0 {
        *values.entry(name.clone()).or_insert(0) += 1;
        *bytes.entry(name.clone()).or_insert(0) += counts.bytes;
    }
    let series = |key: &Key| pairs.0.get(key).map_or(0, |counts| counts.series);
    let metrics = texts.iter().filter(|(key, _)| key.0 == METRIC_NAME);
    let metrics = metrics.map(|(key, value)| (value.clone(), series(key)));
    let largest = texts.iter().map(|(key, value)| (format!("{}={value}", key.0), series(key)));
    json!({
        "headStats": {
            "numSeries": sum(|s| s.series),
            "numLabelPairs": pairs.0.len(),
            "chunkCount": sum(|s| s.chunks_open + s.chunks_sealed),
            "minTime": min,
            "maxTime": max,
        },
        "seriesCountByMetricName": rows(metrics, limit),
        "labelValueCountByLabelName": rows(values.into_iter(), limit),
        "memoryInBytesByLabelName": rows(bytes.into_iter(), limit),
        "seriesCountByLabelValuePair": rows(largest, limit),
    })
}

/// The blocks of all shards, the oldest first. What identifies one is its path below the data directory.
pub(crate) async fn blocks(node: Rc<Node>, _: Request) -> Answer {
    let each = |node: &Node| {
        let shards = node.local_shards().into_iter();
        let blocks = shards.flat_map(|shard| {
            let name = shard.dir().file_name().unwrap_or_default().to_string_lossy().into_owned();
            let blocks = shard.blocks().into_iter();
            blocks.map(move |meta| (meta.range, name.clone(), meta)).collect::<Vec<_>>()
        });
        blocks.collect::<Vec<_>>()
    };
    let mut all: Vec<_> = match node.on_every_core(each).await {
        Ok(all) => all.into_iter().flatten().collect(),
        Err(error) => return error.answer(),
    };
    all.sort_by(|a, b| (a.0.start_ms, a.0.end_ms, &a.1).cmp(&(b.0.start_ms, b.0.end_ms, &b.1)));
    let rows = all.iter().map(|(_, shard, meta)| block_row(shard, meta));
    Answer::data(&json!({ "blocks": rows.collect::<Vec<_>>() }))
}

fn block_row(shard: &str, meta: &BlockMeta) -> Value {
    let name = |sequence| format!("{shard}/{}", block_name(sequence));
    let own = [meta.sequence];
    let sources = if meta.sources.is_empty() { &own[..] } else { &meta.sources };
    json!({
        "ulid": name(meta.sequence),
        "minTime": meta.range.start_ms,
        // Of a Prometheus' block, the first time that is not in it.
        "maxTime": meta.range.end_ms.saturating_add(1),
        "stats": {
            "numSamples": meta.samples,
            "numSeries": meta.series,
            "numChunks": meta.chunks,
        },
        "compaction": {
            "level": meta.level,
            "sources": sources.iter().map(|sequence| name(*sequence)).collect::<Vec<_>>(),
        },
        "version": 1,
    })
}

/// The largest, and of equal ones those whose names sort first.
fn rows(counts: impl Iterator<Item = (String, u64)>, limit: usize) -> Vec<Value> {
    let mut sorted: Vec<_> = counts.collect();
    sorted.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let shown = sorted.into_iter().take(limit);
    shown.map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

#[cfg(test)]
mod tests {
    use tidemark_core::model::time::TimeRange;
    use tidemark_core::shard::PairCount;

    use super::*;

    #[test]
    fn blocks_are_named_by_their_place() {
        let meta = BlockMeta {
            sequence: 3,
            level: 2,
            range: TimeRange::new(1_000, 1_999),
            cut_ms: 2_000,
            next_series: 9,
            series: 4,
            samples: 50,
            chunks: 6,
            sources: vec![1, 2],
        };
        let row = block_row("shard-0001", &meta);
        assert_eq!(row["ulid"], format!("shard-0001/{}", block_name(3)));
        assert_eq!((&row["minTime"], &row["maxTime"]), (&json!(1_000), &json!(2_000)));
        assert_eq!(row["compaction"]["sources"].as_array().unwrap().len(), 2);
        let cut = block_row("s", &BlockMeta { sources: vec![], ..meta });
        assert_eq!(cut["compaction"]["sources"], json!([cut["ulid"]]));
    }

    #[test]
    fn a_pair_in_two_shards_is_one_pair() {
        let census = |pairs: &[(u32, u64, u64)]| Census {
            names: vec!["__name__".to_owned(), "job".to_owned()],
            pairs: pairs
                .iter()
                .map(|&(name, value_hash, series)| PairCount {
                    name,
                    value_hash,
                    value_bytes: 3,
                    series,
                })
                .collect(),
        };
        let mut pairs = Pairs::default();
        pairs.add(&census(&[(0, 1, 5), (1, 7, 3), (1, 8, 2)]));
        pairs.add(&census(&[(0, 1, 4), (1, 7, 3), (1, 9, 1)]));
        let shown = pairs.largest(2);
        assert_eq!(shown.len(), 2);
        let texts = shown.into_iter().map(|key| (key.clone(), format!("v{}", key.1))).collect();
        let page = page(&[], &pairs, &texts, 2);
        assert_eq!(page["headStats"]["numLabelPairs"], 4);
        assert_eq!(
            page["seriesCountByLabelValuePair"],
            json!([{"name": "__name__=v1", "value": 9}, {"name": "job=v7", "value": 6}])
        );
        assert_eq!(page["seriesCountByMetricName"], json!([{"name": "v1", "value": 9}]));
        assert_eq!(page["labelValueCountByLabelName"][0], json!({"name": "job", "value": 3}));
        assert_eq!(page["memoryInBytesByLabelName"][0], json!({"name": "job", "value": 9}));
    }
}
