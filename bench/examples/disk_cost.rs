//! What a sample costs on disk, part by part: one shard whose disk is memory, so that nothing but the shard's own writes is counted.
//!
//! `cargo run --release -p tidemark-bench --example disk_cost -- [SERIES [HOURS [METRIC]]]`: so many series of so many hours, twenty minutes of each in
//! a request, or all of them with one metric name. `written` is what was written in all, rewriting by compaction and padding included; `left` is what
//! a clean stop leaves.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use tidemark_bench::dataset::{Dataset, STEP_MS, Walk};
use tidemark_core::append::AppendBatch;
use tidemark_core::model::labels::{Fingerprint, Labels};
use tidemark_core::runtime::sim::{self, SimDisk};
use tidemark_core::shard::{Shard, ShardOptions};

type Outcome<T> = Result<T, Box<dyn Error>>;

const START_MS: i64 = 1_763_000_000_000;
/// Samples of each series in a request, and of all series.
const STEPS: usize = 80;
const REQUEST_SAMPLES: usize = 10_000;
const REQUESTS_PER_TICK: usize = 20;

fn main() -> Outcome<()> {
    let argument = |i: usize, default: usize| {
        std::env::args().nth(i).map_or(Ok(default), |text| text.parse::<usize>())
    };
    let (series, hours) = (argument(1, 2_000)?, argument(2, 24)?);
    let dataset = match std::env::args().nth(3) {
        Some(metric) => Dataset::of(&metric).ok_or("no such metric")?,
        None => Dataset::new(),
    };
    sim::run(1, async move {
        let disk = SimDisk::new(1);
        // Of two shards of a machine, one.
        let options =
            ShardOptions { future_ms_max: i64::MAX, shards: 2, ..ShardOptions::default() };
        let shard = Shard::open(disk.disk(), Path::new("/shard"), options).await?;
        let mut load = Load::new(&dataset, series);
        let mut written = Written::default();
        let rounds = hours * 240 / STEPS;
        for _ in 0..rounds {
            for (i, request) in load.requests().into_iter().enumerate() {
                shard.append(request).await?;
                if i % REQUESTS_PER_TICK == 0 {
                    shard.tick().await?;
                }
            }
            shard.tick().await?;
            shard.maintain().await?;
            written.see(&disk, &shard);
        }
        shard.close().await?;
        written.see(&disk, &shard);
        written.print(&disk, (series * rounds * STEPS) as f64);
        Ok(())
    })
}

/// Labels and values of all series, and the time that has been reached.
struct Load {
    series: Vec<(Fingerprint, Labels, Walk)>,
    time_ms: i64,
}

impl Load {
    fn new(dataset: &Dataset, series: usize) -> Self {
        let one = |n| {
            let series = dataset.series(n);
            let labels: Labels = series.labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
            (labels.fingerprint(), labels, series.walk)
        };
        Load { series: (0..series).map(one).collect(), time_ms: START_MS }
    }

    /// The next samples of all series.
    fn requests(&mut self) -> Vec<AppendBatch> {
        let mut requests = Vec::new();
        for some in self.series.chunks_mut(REQUEST_SAMPLES / STEPS) {
            let mut batch = AppendBatch::new();
            for (fingerprint, labels, walk) in some {
                batch.push_series(*fingerprint, labels.encoded());
                for i in 0..STEPS as i64 {
                    batch.push_sample(self.time_ms + i * STEP_MS, walk.advance());
                }
            }
            requests.push(batch);
        }
        self.time_ms += STEPS as i64 * STEP_MS;
        requests
    }
}

/// Bytes that were written, by kind of file.
#[derive(Default)]
struct Written {
    files: BTreeMap<PathBuf, u64>,
    checkpoints: u64,
    bytes: BTreeMap<&'static str, u64>,
}

impl Written {
    /// Counts what has been written since: files only grow, but for the checkpoint, which is written anew, and the log, which counts by itself.
    fn see(&mut self, disk: &SimDisk, shard: &Shard) {
        for (path, content) in disk.files() {
            let (kind, len) = (kind_of(&path), content.len() as u64);
            if !matches!(kind, "log" | "checkpoint") {
                let before = self.files.insert(path, len).unwrap_or(0);
                *self.bytes.entry(kind).or_default() += len.saturating_sub(before);
            }
        }
        let stats = shard.stats();
        let new = stats.checkpoints - self.checkpoints;
        self.checkpoints = stats.checkpoints;
        *self.bytes.entry("checkpoint").or_default() += new * stats.checkpoint_bytes;
        self.bytes.insert("log", stats.wal.written_bytes);
    }

    fn print(&self, disk: &SimDisk, samples: f64) {
        let mut left: BTreeMap<&str, u64> = BTreeMap::new();
        for (path, content) in disk.files() {
            *left.entry(kind_of(&path)).or_default() += content.len() as u64;
        }
        println!("| bytes per sample | left | written |");
        println!("|---|---:|---:|");
        let line = |kind: &str, left: u64, written: u64| {
            println!("| {kind} | {:.3} | {:.3} |", left as f64 / samples, written as f64 / samples);
        };
        for (kind, written) in &self.bytes {
            line(kind, left.get(kind).copied().unwrap_or(0), *written);
        }
        line("all", left.values().sum(), self.bytes.values().sum());
    }
}

fn kind_of(path: &Path) -> &'static str {
    let has = |name: &str| path.iter().any(|part| part == name);
    match () {
        () if has("wal") => "log",
        () if path.ends_with("checkpoint") => "checkpoint",
        () if has("blocks") && path.ends_with("index") => "blocks: index",
        () if has("blocks") => "blocks: chunks",
        () if has("chunks") => "chunk files",
        () => "other",
    }
}
