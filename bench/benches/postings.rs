//! Matchers on the index of the head: what finding series costs, without their samples.
//!
//! 100,000 series of the data set. `cargo bench -p tidemark-bench --bench postings`

// Criterion's macro makes functions without documentation.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidemark_bench::dataset::Dataset;
use tidemark_core::index::SeriesRef;
use tidemark_core::index::memory::MemoryIndex;
use tidemark_core::index::postings::{intersect, subtract, union};
use tidemark_core::index::symbols::Symbols;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::{MatchOp, Matcher};

const SERIES: SeriesRef = 100_000;

const HOST: &str = "host-00003.prod.example.net:9100";

/// A matcher: operator, label, value.
type Condition = (MatchOp, &'static str, &'static str);

/// What is asked for: a name, and the matchers.
const SELECTORS: [(&str, &[Condition]); 6] = [
    ("one metric", &[(MatchOp::Equal, "__name__", "node_cpu_seconds_total")]),
    (
        "one host of a metric",
        &[
            (MatchOp::Equal, "__name__", "node_cpu_seconds_total"),
            (MatchOp::Equal, "instance", HOST),
        ],
    ),
    (
        "a regex over metrics",
        &[(MatchOp::Regex, "__name__", "node_memory_.+"), (MatchOp::Equal, "cluster", "prod-fra")],
    ),
    (
        "all but one mode",
        &[
            (MatchOp::Equal, "__name__", "node_cpu_seconds_total"),
            (MatchOp::NotEqual, "mode", "idle"),
        ],
    ),
    ("a regex over hosts", &[(MatchOp::Regex, "instance", "host-000[0-4].+")]),
    ("everything", &[]),
];

fn selectors(criterion: &mut Criterion) {
    let (mut symbols, mut index) = (Symbols::new(), MemoryIndex::new());
    let (dataset, mut encoded) = (Dataset::new(), Vec::new());
    for number in 0..SERIES {
        let series = dataset.series(number as usize);
        let labels: Labels = series.labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
        encoded.clear();
        symbols.encode(labels.encoded(), &mut encoded);
        index.insert(&symbols, number, &encoded);
    }
    let mut group = criterion.benchmark_group("postings");
    for (name, matchers) in SELECTORS {
        let matcher = |&(op, name, value)| Matcher::new(op, name, value).expect("it is valid");
        let matchers: Vec<_> = matchers.iter().map(matcher).collect();
        let found = index.select(&symbols, &matchers).len();
        assert!(found > 0, "{name} finds nothing");
        group.throughput(Throughput::Elements(found as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| index.select(&symbols, black_box(&matchers)));
        });
    }
    group.finish();
}

/// The operations alone: lists of every third and every seventh series, and a short one.
fn sets(criterion: &mut Criterion) {
    let every = |step| (0..SERIES).step_by(step).collect::<Vec<_>>();
    let (third, seventh, few) = (every(3), every(7), every(1_009));
    let disjoint: Vec<Vec<SeriesRef>> =
        (0..16).map(|first| (first..SERIES).step_by(16).collect()).collect();
    let lists: Vec<&[SeriesRef]> = disjoint.iter().map(Vec::as_slice).collect();
    let mut group = criterion.benchmark_group("postings sets");
    group.bench_function("union of 16", |bencher| bencher.iter(|| union(black_box(&lists))));
    for (name, other) in [("long", &seventh), ("short", &few)] {
        group.bench_function(format!("intersect with a {name} one"), |bencher| {
            bencher.iter_batched_ref(
                || third.clone(),
                |list| intersect(list, black_box(other)),
                criterion::BatchSize::LargeInput,
            );
        });
        group.bench_function(format!("subtract a {name} one"), |bencher| {
            bencher.iter_batched_ref(
                || third.clone(),
                |list| subtract(list, black_box(other)),
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, selectors, sets);
criterion_main!(benches);
