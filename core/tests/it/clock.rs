//! A wall clock that is set back and forth by hours while samples come in: what was acknowledged stays, and what was refused as too far
//! in the future is taken when the clock is right again.

use std::time::Duration;

use tidemark_core::append::{AppendBatch, RefusalKind};
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::sim::{self, Random, SimDisk};
use tidemark_core::runtime::{self, clock};
use tidemark_core::shard::Shard;

use crate::shard::{open, seeds};

const HOUR_MS: i64 = 60 * 60 * 1000;
const STEP_MS: i64 = 60 * 1000;
const STEPS: i64 = 400;

/// Appends the samples of some minutes; whether they were taken.
async fn send(shard: &Shard, first_ms: i64, steps: &[i64]) -> bool {
    let labels = Labels::from_pairs([("__name__", "m")]);
    let mut batch = AppendBatch::new();
    batch.push_series(labels.fingerprint(), labels.encoded());
    for step in steps {
        batch.push_sample(first_ms + step * STEP_MS, *step as f64);
    }
    let outcome = shard.append(batch).await.expect("a sound disk");
    assert_eq!(outcome.refused_total(), outcome.refused_as(RefusalKind::TooFarInFuture));
    outcome.refused_total() == 0
}

async fn check(shard: &Shard, first_ms: i64, end: i64) {
    let matchers = [Matcher::equal("__name__", "m")];
    let selection = shard.select(&matchers, TimeRange::ALL).await.expect("open");
    let mut columns = SampleColumns::new();
    selection.read(0, TimeRange::ALL, &mut columns).await.expect("readable");
    let found = columns.timestamps.iter().zip(&columns.values);
    let found: Vec<(i64, f64)> = found.map(|(t, v)| (*t, *v)).collect();
    let sent = (0..end).map(|step| (first_ms + step * STEP_MS, step as f64));
    assert_eq!(found, sent.collect::<Vec<_>>());
}

#[test]
fn a_clock_that_jumps_by_hours_loses_nothing() {
    for seed in seeds(10) {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let first_ms = sim::run(seed, async {
            let shard = open(&disk).await.expect("a sound disk");
            let (first_ms, mut off_ms, mut waiting) = (clock::now_ms(), 0, Vec::new());
            for step in 0..STEPS {
                runtime::sleep(Duration::from_millis(STEP_MS as u64)).await;
                if random.chance(10) {
                    let to_ms = (random.below(24) as i64 - 12) * HOUR_MS;
                    sim::jump_wall_clock(to_ms - off_ms);
                    off_ms = to_ms;
                }
                waiting.push(step);
                if send(&shard, first_ms, &waiting).await {
                    waiting.clear();
                }
                shard.tick().await.expect("a sound disk");
            }
            sim::jump_wall_clock(-off_ms);
            assert!(send(&shard, first_ms, &waiting).await, "the clock is right again");
            check(&shard, first_ms, STEPS).await;
            first_ms
        });
        sim::run(seed, async {
            sim::jump_wall_clock(-6 * HOUR_MS);
            let shard = open(&disk.crash()).await.expect("what a crash leaves can be opened");
            check(&shard, first_ms, STEPS).await;
        });
    }
}
