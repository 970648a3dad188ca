//! What samples cost by chunk encoding: bytes a sample, and nanoseconds to encode and to decode one, as a table.
//!
//! ```text
//! cargo run --release -p tidemark-bench --example chunk_sizes
//! cargo run --release -p tidemark-bench --example chunk_sizes -- --scrape http://127.0.0.1:9100 --every-ms 250
//! ```
//!
//! The first takes the data set, the second scrapes an exporter so often and takes what that answered. Bytes hold times and
//! values; times are a regular 15 s apart in the data set, and as the scrapes were planned otherwise, since a scraper keeps to
//! its plan unless it is late.

// An ordinary program with threads and a wall clock, beside the runtime and not on it.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use codecs::{CODECS, Codec};
use tidemark_bench::dataset::{Dataset, STEP_MS};
use tidemark_bench::http::Client;
use tidemark_core::model::columns::SampleColumns;
use tidemark_ingest::protocols::text;
use tidemark_ingest::rows::Rows;

#[path = "../benches/codecs/mod.rs"]
mod codecs;

/// Lengths of chunks: open chunks, two hours, a level of compaction, a day.
const CHUNK_SAMPLES: [usize; 4] = [120, 480, 1_920, 5_760];

/// Passes over all chunks; the fastest counts, since others had the machine interrupted.
const PASSES: usize = 30;

#[derive(Parser)]
struct Options {
    /// Scrape this exporter's /metrics instead of taking the data set.
    #[arg(long)]
    scrape: Option<String>,
    /// Time between two scrapes.
    #[arg(long, default_value_t = 250)]
    every_ms: u64,
    /// Samples of each series; scrapes, if it scrapes.
    #[arg(long, default_value_t = 5_760)]
    samples: usize,
    /// Series of the data set.
    #[arg(long, default_value_t = 2_000)]
    series: usize,
}

/// Times and values of one series.
type Series = (Vec<i64>, Vec<f64>);

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let series = match &options.scrape {
        Some(url) => scrape(url, options.samples, Duration::from_millis(options.every_ms))?,
        None => data_set(options.series, options.samples),
    };
    let samples: usize = series.iter().map(|(times, _)| times.len()).sum();
    println!("{} series, {samples} samples\n", series.len());
    println!("| samples per chunk | encoding | bytes per sample | encode ns | decode ns |");
    println!("|---:|---|---:|---:|---:|");
    for len in CHUNK_SAMPLES.into_iter().filter(|len| *len <= options.samples) {
        for codec in &CODECS {
            measure(&series, len, codec);
        }
    }
    Ok(())
}

/// Prints a row.
fn measure(series: &[Series], len: usize, codec: &Codec) {
    let pieces: Vec<(&[i64], &[f64])> =
        series.iter().flat_map(|(t, v)| t.chunks(len).zip(v.chunks(len))).collect();
    let samples: usize = pieces.iter().map(|(times, _)| times.len()).sum();
    let encode = || pieces.iter().map(|(t, v)| (codec.encode)(t, v)).collect();
    let chunks: Vec<Vec<u8>> = encode();
    let bytes: usize = chunks.iter().map(Vec::len).sum();
    let mut out = SampleColumns::new();
    let encode_ns = fastest_ns(3, || drop(encode()));
    let decode_ns = fastest_ns(PASSES, || {
        for chunk in &chunks {
            out.clear();
            (codec.decode)(chunk, &mut out);
        }
    });
    let of = |total: f64| total / samples as f64;
    println!(
        "| {len} | {} | {:.3} | {:.1} | {:.2} |",
        codec.name,
        of(bytes as f64),
        of(encode_ns),
        of(decode_ns),
    );
}

/// The least time that one of so many passes takes.
fn fastest_ns(passes: usize, mut pass: impl FnMut()) -> f64 {
    let timed = |_| {
        let started = Instant::now();
        pass();
        started.elapsed()
    };
    (0..passes).map(timed).min().unwrap_or_default().as_nanos() as f64
}

fn data_set(series: usize, samples: usize) -> Vec<Series> {
    let dataset = Dataset::new();
    let times: Vec<i64> = (0..samples).map(|i| 1_763_000_000_000 + i as i64 * STEP_MS).collect();
    let walk = |n| {
        let mut walk = dataset.series(n).walk;
        (0..samples).map(|_| walk.advance()).collect()
    };
    (0..series).map(|n| (times.clone(), walk(n))).collect()
}

fn scrape(url: &str, scrapes: usize, every: Duration) -> Result<Vec<Series>, Box<dyn Error>> {
    let mut client = Client::new(url)?;
    let mut series: HashMap<Vec<u8>, Series> = HashMap::new();
    let started = Instant::now();
    let started_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    for scrape in 0..scrapes as u32 {
        let since = every * scrape;
        std::thread::sleep(since.saturating_sub(started.elapsed()));
        let now_ms = started_ms + since.as_millis() as i64;
        let mut rows = Rows::new();
        text::decode(&client.get("/metrics")?.body, now_ms, &mut rows)?;
        for row in rows.iter() {
            let (times, values) = series.entry(row.labels.to_vec()).or_default();
            times.extend(row.samples.iter().map(|sample| sample.timestamp_ms));
            values.extend(row.samples.iter().map(|sample| sample.value));
        }
    }
    Ok(series.into_values().collect())
}
