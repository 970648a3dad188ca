//! Any query over a few series is answered or refused, as an instant query and as a range.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run evaluator fuzz/seeds/evaluator -- -max_total_time=300 -max_len=256 -timeout=30
//! ```

#![no_main]

use std::path::Path;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tidemark_core::append::AppendBatch;
use tidemark_core::model::labels::Labels;
use tidemark_core::runtime::sim::{self, SimDisk};
use tidemark_core::shard::{Shard, ShardOptions};
use tidemark_core::shards::Shards;
use tidemark_core::wal::WalOptions;
use tidemark_query::engine::{Engine, EngineOptions, QueryOptions};
use tidemark_query::parser::ParserOptions;

const STEP_MS: i64 = 15_000;
const STEPS: i64 = 40;

/// Metrics `a` and `b`, four series each, and the buckets of a histogram `h_bucket`.
fn batch() -> AppendBatch {
    let mut batch = AppendBatch::new();
    let mut push = |labels: &[(&str, &str)], value: &dyn Fn(i64) -> f64| {
        let labels: Labels = labels.iter().copied().collect();
        batch.push_series(labels.fingerprint(), labels.encoded());
        for step in 0..STEPS {
            batch.push_sample(step * STEP_MS, value(step));
        }
    };
    for (name, scale) in [("a", 1.0), ("b", -0.5)] {
        for x in ["1", "2"] {
            for y in ["u", "v"] {
                push(&[("__name__", name), ("x", x), ("y", y)], &|step| step as f64 * scale);
            }
        }
    }
    for (le, share) in [("0.1", 1.0), ("1", 2.0), ("+Inf", 3.0)] {
        push(&[("__name__", "h_bucket"), ("le", le)], &|step| step as f64 * share);
    }
    push(&[("__name__", "odd")], &|step| [f64::NAN, f64::INFINITY, -0.0][step as usize % 3]);
    batch
}

fuzz_target!(|query: &str| {
    sim::run(1, async {
        let disk = SimDisk::new(1).disk();
        let wal = WalOptions { segment_bytes: 64 << 10, ..WalOptions::default() };
        let options = ShardOptions { wal, ..ShardOptions::default() };
        let opened = Shard::open(disk, Path::new("/shard"), options).await;
        let shard = opened.expect("an empty disk");
        shard.append(batch()).await.expect("room");
        let options = EngineOptions {
            samples_max: 200_000,
            bytes_max: 32 << 20,
            timeout: Duration::from_secs(5),
            parser: ParserOptions::ALL,
            ..EngineOptions::default()
        };
        let engine = Engine::new(Shards::local(vec![shard]), options);
        let (end, options) = (STEPS * STEP_MS, QueryOptions::default());
        let _ = engine.instant(query, end, &options).await;
        let _ = engine.range(query, 0, end, 4 * STEP_MS, &options).await;
    });
});
