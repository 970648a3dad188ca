//! Queries on shards whose disk is memory: what evaluation costs, from the text to the answer.
//!
//! 5,000 series of the data set over an hour at 15 s, on two shards of one core; range queries over the hour with a step of
//! 15 s, and instant ones. `cargo bench -p tidemark-bench --bench query`

// Criterion's macro makes functions without documentation.
#![allow(missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "the simulation's clock stands still while code runs"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use tidemark_bench::dataset::{Dataset, STEP_MS};
use tidemark_core::append::AppendBatch;
use tidemark_core::model::labels::Labels;
use tidemark_core::runtime::sim::{self, SimDisk};
use tidemark_core::shard::{Shard, ShardOptions};
use tidemark_core::shards::Shards;
use tidemark_query::engine::{Engine, EngineOptions, QueryOptions};

const SERIES: usize = 5_000;
const SAMPLES: usize = 240;
const SHARDS: u32 = 2;
const START_MS: i64 = 1_763_000_000_000;
const END_MS: i64 = START_MS + SAMPLES as i64 * STEP_MS;

/// Name and text of what is asked. What drops the name is asked of one metric: two of them could become the same series.
const QUERIES: [(&str, &str); 7] = [
    ("select", "{__name__=~\"node_.+\"}"),
    ("sum_rate", "sum(rate(node_cpu_seconds_total[5m]))"),
    ("sum_by_rate", "sum by (instance) (rate(node_cpu_seconds_total[5m]))"),
    ("max_over_time", "max_over_time(node_cpu_seconds_total[5m])"),
    ("topk", "topk(5, {__name__=~\"node_.+\"})"),
    ("quantile", "quantile(0.9, {__name__=~\"node_.+\"})"),
    (
        "histogram_quantile",
        "histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
    ),
];

async fn load() -> Engine {
    let disk = SimDisk::new(1).disk();
    let mut shards = Vec::new();
    for number in 0..SHARDS {
        let options = ShardOptions { future_ms_max: i64::MAX, ..ShardOptions::default() };
        let directory = PathBuf::from(format!("/shard-{number:04}"));
        shards
            .push(Shard::open(disk.clone(), &directory, options).await.expect("the disk is empty"));
    }
    let shards = Shards::local(shards);
    let dataset = Dataset::new();
    for first in (0..SERIES).step_by(100) {
        let mut batches: Vec<AppendBatch> = (0..SHARDS).map(|_| AppendBatch::new()).collect();
        for n in first..first + 100 {
            let mut series = dataset.series(n);
            let labels: Labels = series.labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let fingerprint = labels.fingerprint();
            let batch = &mut batches[fingerprint.owner(SHARDS) as usize];
            batch.push_series(fingerprint, labels.encoded());
            for i in 0..SAMPLES {
                batch.push_sample(START_MS + (i as i64 + 1) * STEP_MS, series.walk.advance());
            }
        }
        let batches = (0..SHARDS).zip(batches).collect();
        shards.append(batches).await.expect("the samples are in order");
    }
    Engine::new(shards, EngineOptions::default())
}

/// Time of `rounds` answers to a query, as a range query with this step or, with none, as an instant one.
fn answer(query: &str, step_ms: Option<i64>, rounds: u64) -> Duration {
    sim::run(1, async {
        let engine = load().await;
        let options = QueryOptions::default();
        let start = Instant::now();
        for _ in 0..rounds {
            let answer = match step_ms {
                Some(step_ms) => engine.range(query, START_MS, END_MS, step_ms, &options).await,
                None => engine.instant(query, END_MS, &options).await,
            };
            answer.expect("the query is sound");
        }
        start.elapsed()
    })
}

fn bench(criterion: &mut Criterion) {
    for (form, step_ms) in [("range", Some(STEP_MS)), ("instant", None)] {
        let mut group = criterion.benchmark_group(form);
        group.sample_size(10);
        for (name, query) in QUERIES {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|rounds| answer(query, step_ms, rounds));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
