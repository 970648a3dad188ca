//! Appending to one shard on one core: admission, record, head, and the log up to a disk that is memory.
//!
//! 100k series of the data set in requests of 10,000 samples, with 1 and with 10 samples of each series in a request; beginning the
//! series is timed and weighed apart. `cargo bench -p tidemark-bench --bench append`

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
use tidemark_core::model::labels::{Fingerprint, Labels};
use tidemark_core::runtime::sim::{self, SimDisk};
use tidemark_core::shard::{Shard, ShardOptions};

const SERIES: usize = 100_000;
const REQUEST_SAMPLES: usize = 10_000;

/// Labels and values of all series, and the time that has been reached.
struct Load {
    labels: Vec<(Fingerprint, Labels)>,
    walks: Vec<tidemark_bench::dataset::Walk>,
    time_ms: i64,
}

impl Load {
    fn new() -> Self {
        let dataset = Dataset::new();
        let (mut labels, mut walks) = (Vec::new(), Vec::new());
        for n in 0..SERIES {
            let series = dataset.series(n);
            let set: Labels = series.labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
            labels.push((set.fingerprint(), set));
            walks.push(series.walk);
        }
        Load { labels, walks, time_ms: 1_763_000_000_000 }
    }

    /// `samples` more of each series, in requests.
    fn requests(&mut self, samples: usize) -> Vec<AppendBatch> {
        let per_request = REQUEST_SAMPLES / samples;
        let mut requests = Vec::new();
        for start in (0..SERIES).step_by(per_request) {
            let mut batch = AppendBatch::new();
            for n in start..SERIES.min(start + per_request) {
                let (fingerprint, labels) = &self.labels[n];
                batch.push_series(*fingerprint, labels.encoded());
                for i in 0..samples {
                    let t = self.time_ms + i as i64 * STEP_MS;
                    batch.push_sample(t, self.walks[n].advance());
                }
            }
            requests.push(batch);
        }
        self.time_ms += samples as i64 * STEP_MS;
        requests
    }
}

async fn open() -> Rc<Shard> {
    let options = ShardOptions { future_ms_max: i64::MAX, ..ShardOptions::default() };
    let disk = SimDisk::new(1).disk();
    Shard::open(disk, Path::new("/shard"), options).await.expect("an empty disk")
}

/// Time spent in the appends alone; background work is done between them.
async fn append(shard: &Shard, requests: Vec<AppendBatch>) -> Duration {
    let mut spent = Duration::ZERO;
    for request in requests {
        let start = Instant::now();
        shard.append(request).await.expect("room");
        spent += start.elapsed();
    }
    shard.tick().await.expect("room");
    spent
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn begin(load: &mut Load) {
    sim::run(1, async {
        let shard = open().await;
        let requests = load.requests(1);
        let before = resident_bytes();
        let spent = append(&shard, requests).await;
        println!("begin: {} ns a series", spent.as_nanos() / SERIES as u128);
        for _ in 0..5 {
            append(&shard, load.requests(1)).await;
        }
        let held = shard.index_bytes() / SERIES as u64;
        let resident = resident_bytes().saturating_sub(before) / SERIES as u64;
        println!(
            "after 6 samples: {held} B a series without chunks, resident with the log {resident} B"
        );
    });
}

fn bench(criterion: &mut Criterion) {
    let mut load = Load::new();
    begin(&mut load);
    let mut group = criterion.benchmark_group("append");
    group.sample_size(10);
    for samples in [1, 10] {
        group.throughput(Throughput::Elements((SERIES * samples) as u64));
        group.bench_function(format!("{samples} a series"), |bencher| {
            bencher.iter_custom(|rounds| {
                sim::run(1, async {
                    let shard = open().await;
                    append(&shard, load.requests(1)).await;
                    let mut spent = Duration::ZERO;
                    for _ in 0..rounds {
                        spent += append(&shard, load.requests(samples)).await;
                    }
                    spent
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
