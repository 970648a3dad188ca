//! Chunk encodings on the values of the data set: samples encoded and decoded a second, on one core.
//!
//! `cargo bench -p tidemark-bench --bench chunk`

// Criterion's macro makes functions without documentation.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidemark_bench::dataset::{Dataset, STEP_MS};
use tidemark_core::chunk::xor::{self, XorEncoder};
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::time::TimeRange;

/// Samples of a chunk.
const SAMPLES: usize = 120;

fn encode(values: &[f64]) -> Vec<u8> {
    let mut encoder = XorEncoder::default();
    for (step, value) in values.iter().enumerate() {
        encoder.push(1_763_000_000_000 + step as i64 * STEP_MS, *value);
    }
    encoder.seal()
}

fn chunk(criterion: &mut Criterion) {
    let dataset = Dataset::new();
    let values: Vec<Vec<f64>> = (0..dataset.series_per_host())
        .map(|n| {
            let mut series = dataset.series(n);
            (0..SAMPLES).map(|_| series.walk.advance()).collect()
        })
        .collect();
    let chunks: Vec<Vec<u8>> = values.iter().map(|values| encode(values)).collect();
    let samples = (values.len() * SAMPLES) as u64;
    let bytes: usize = chunks.iter().map(Vec::len).sum();
    println!("xor: {:.2} bytes a sample", bytes as f64 / samples as f64);

    let mut group = criterion.benchmark_group("xor");
    group.throughput(Throughput::Elements(samples));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| values.iter().map(|values| encode(values).len()).sum::<usize>());
    });
    let mut out = SampleColumns::new();
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            out.clear();
            for chunk in &chunks {
                xor::decode(chunk, TimeRange::new(i64::MIN, i64::MAX), &mut out).expect("a chunk");
            }
            out.len()
        });
    });
    group.finish();
}

criterion_group!(benches, chunk);
criterion_main!(benches);
