//! What comes in, from bytes to rows to one batch for each shard: samples a second on one core, with nothing stored.
//!
//! `cargo bench -p tidemark-bench --bench decode`

// Criterion's macro makes functions without documentation.
#![allow(missing_docs)]

use std::fmt::Write;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidemark_bench::body::Encoder;
use tidemark_bench::dataset::Dataset;
use tidemark_ingest::known::{Known, KnownSeries};
use tidemark_ingest::protocols::remote_write_v1::Decoder;
use tidemark_ingest::protocols::{remote_write_v1, text};
use tidemark_ingest::route;
use tidemark_ingest::rows::Rows;

const SHARDS: u32 = 2;
const TIME_MS: i64 = 1_763_000_000_000;

/// Remote write at the shapes of the ingest measurement, 10,000 samples each.
fn remote_write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("remote write");
    for steps in [1, 10, 100] {
        let mut encoder = Encoder::new(&Dataset::new(), 0..10_000 / steps);
        let mut body = encoder.next_body(steps);
        group.throughput(Throughput::Elements(body.samples()));
        let body = body.dated(TIME_MS).to_vec();
        let (mut plain, mut rows) = (Vec::new(), Rows::new());
        group.bench_function(BenchmarkId::new("snappy", steps), |bencher| {
            bencher.iter(|| remote_write_v1::decompress(&body, usize::MAX, &mut plain));
        });
        group.bench_function(BenchmarkId::new("snappy, rows and split", steps), |bencher| {
            bencher.iter(|| {
                remote_write_v1::decompress(&body, usize::MAX, &mut plain).expect("a snappy block");
                remote_write_v1::decode(&plain, &mut rows).expect("a request");
                route::split(&mut rows, SHARDS)
            });
        });
        let mut known = learn(&body);
        group.bench_function(BenchmarkId::new("snappy, known rows and split", steps), |bencher| {
            bencher.iter(|| {
                remote_write_v1::decompress(&body, usize::MAX, &mut plain).expect("a snappy block");
                let mut decoder = Decoder::new(&plain);
                while decoder.step(&mut rows, &mut known).expect("a request") {}
                route::split(&mut rows, SHARDS)
            });
        });
    }
    group.finish();
}

/// What a core knows that has seen `body` before.
fn learn(body: &[u8]) -> KnownSeries {
    let (mut plain, mut rows, mut known) = (Vec::new(), Rows::new(), KnownSeries::new());
    remote_write_v1::decompress(body, usize::MAX, &mut plain).expect("a snappy block");
    let mut decoder = Decoder::new(&plain);
    while decoder.step(&mut rows, &mut known).expect("a request") {}
    let asking = route::split_asking(&mut rows, SHARDS);
    for (number, (key, shard)) in (0..).zip(asking.keys) {
        known.learn(key, Known { shard, number });
    }
    known
}

/// A host's exposition text.
fn exposition(criterion: &mut Criterion) {
    let dataset = Dataset::new();
    let mut body = String::new();
    for n in 0..dataset.series_per_host() {
        let mut series = dataset.series(n);
        let (name, labels) = series.labels.split_first().expect("a metric name");
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let _ = writeln!(body, "{}{{{}}} {}", name.1, labels.join(","), series.walk.advance());
    }
    let mut group = criterion.benchmark_group("text");
    group.throughput(Throughput::Elements(dataset.series_per_host() as u64));
    let mut rows = Rows::new();
    group.bench_function("rows and split", |bencher| {
        bencher.iter(|| {
            text::decode(body.as_bytes(), TIME_MS, &mut rows).expect("a valid text");
            route::split(&mut rows, SHARDS)
        });
    });
    group.finish();
}

criterion_group!(benches, remote_write, exposition);
criterion_main!(benches);
