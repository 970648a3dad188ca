//! Chunk encodings on the values of the data set: samples encoded and decoded a second, on one core.
//!
//! `cargo bench -p tidemark-bench --bench chunk`; the example `chunk_sizes` prints what they take, of real scrapes too.

// Criterion's macro makes functions without documentation.
#![allow(missing_docs)]

mod codecs;

use codecs::CODECS;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidemark_bench::dataset::{Dataset, STEP_MS};
use tidemark_core::model::columns::SampleColumns;

/// Samples of a chunk: half an hour as the head keeps them, two hours as blocks do.
const CHUNK_SAMPLES: [usize; 2] = [120, 480];

fn chunk(criterion: &mut Criterion) {
    let dataset = Dataset::new();
    for len in CHUNK_SAMPLES {
        let times: Vec<i64> = (0..len).map(|i| 1_763_000_000_000 + i as i64 * STEP_MS).collect();
        let walk = |n| {
            let mut walk = dataset.series(n).walk;
            (0..len).map(|_| walk.advance()).collect()
        };
        let values: Vec<Vec<f64>> = (0..dataset.series_per_host()).map(walk).collect();
        for codec in &CODECS {
            let encode = |values: &Vec<f64>| (codec.encode)(&times, values);
            let chunks: Vec<Vec<u8>> = values.iter().map(encode).collect();
            let mut group = criterion.benchmark_group(format!("{} {len}", codec.name));
            group.throughput(Throughput::Elements((values.len() * len) as u64));
            group.bench_function("encode", |bencher| {
                bencher.iter(|| values.iter().map(|v| encode(v).len()).sum::<usize>());
            });
            let mut out = SampleColumns::new();
            group.bench_function("decode", |bencher| {
                bencher.iter(|| {
                    out.clear();
                    for chunk in &chunks {
                        (codec.decode)(chunk, &mut out);
                    }
                    out.len()
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, chunk);
criterion_main!(benches);
