//! Selecting from one shard on one core, and reading what was selected: head and chunk files, on a disk that is memory.
//!
//! 5,000 series of the data set with 240 samples each, an hour at 15 s: one full chunk of each is sealed and spilled, the rest is in
//! memory. `cargo bench -p tidemark-bench --bench select`

// Criterion's macro makes functions without documentation.
#![allow(missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "the simulation's clock stands still while code runs"
)]

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidemark_bench::dataset::{Dataset, STEP_MS};
use tidemark_core::append::AppendBatch;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::sim::{self, SimDisk};
use tidemark_core::shard::{Shard, ShardOptions};

const SERIES: usize = 5_000;
const SERIES_PER_BATCH: usize = 500;
const SAMPLES: usize = 240;
const START_MS: i64 = 1_763_000_000_000;

async fn load() -> Rc<Shard> {
    let options = ShardOptions { future_ms_max: i64::MAX, ..ShardOptions::default() };
    let disk = SimDisk::new(1).disk();
    let shard = Shard::open(disk, Path::new("/shard"), options).await.expect("an empty disk");
    let dataset = Dataset::new();
    for first in (0..SERIES).step_by(SERIES_PER_BATCH) {
        let mut batch = AppendBatch::new();
        for n in first..first + SERIES_PER_BATCH {
            let mut series = dataset.series(n);
            let labels: Labels = series.labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
            batch.push_series(labels.fingerprint(), labels.encoded());
            for i in 0..SAMPLES {
                batch.push_sample(START_MS + i as i64 * STEP_MS, series.walk.advance());
            }
        }
        shard.append(batch).await.expect("room");
        shard.tick().await.expect("room");
    }
    shard
}

/// Selects, and with `read` decodes every sample; how long that took, and how many series and samples there were.
async fn select(shard: &Shard, matchers: &[Matcher], read: bool) -> (Duration, usize, usize) {
    let range = TimeRange::new(START_MS, START_MS + SAMPLES as i64 * STEP_MS);
    let (began, mut samples) = (Instant::now(), 0);
    let selection = shard.select(matchers, range).await.expect("the disk is sound");
    if read {
        let mut columns = SampleColumns::new();
        for i in 0..selection.len() {
            columns.clear();
            selection.read(i, range, &mut columns).await.expect("the disk is sound");
            samples += columns.len();
        }
    }
    (began.elapsed(), selection.len(), samples)
}

fn bench(criterion: &mut Criterion) {
    let cases = [
        ("one metric", vec![Matcher::equal("__name__", "node_cpu_seconds_total")]),
        ("everything", Vec::new()),
    ];
    let run = |matchers: &[Matcher], read: bool, rounds: u64| {
        sim::run(1, async {
            let shard = load().await;
            let (_, series, samples) = select(&shard, matchers, read).await;
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                spent += select(&shard, matchers, read).await.0;
            }
            (spent, if read { samples } else { series })
        })
    };
    let mut group = criterion.benchmark_group("select");
    group.sample_size(10);
    for (name, matchers) in &cases {
        for (title, read) in [("series", false), ("samples", true)] {
            let (_, elements) = run(matchers, read, 0);
            assert!(elements > 0, "{name} finds nothing");
            group.throughput(Throughput::Elements(elements as u64));
            group.bench_function(format!("{name}, {title}"), |bencher| {
                bencher.iter_custom(|rounds| run(matchers, read, rounds).0);
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
