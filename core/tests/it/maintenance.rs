//! Background work on a disk that fails at any of its operations: cutting blocks, compacting them, letting go of old ones, checkpoints.
//!
//! A day of samples is made once. Each run opens a copy of it, lets one operation of the work that is then due fail, and goes on when
//! the disk is sound again: all that retention keeps must be there, before and after a power loss.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tidemark_core::append::AppendBatch;
use tidemark_core::error::Result;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::time::TimeRange;
use tidemark_core::retention::Retention;
use tidemark_core::runtime::sim::SimDisk;
use tidemark_core::runtime::{self, sim};
use tidemark_core::shard::{Shard, ShardStats};

use crate::shard::{every_few, open, seeds};

const HOUR_MS: i64 = 60 * 60 * 1000;
const STEP_MS: i64 = 10 * 60 * 1000;
const HOURS: i64 = 22;
const SERIES: i64 = 3;

/// What is kept in the end: less than what lies behind the block of eighteen hours that compaction makes.
const RETENTION_MS: i64 = 3 * HOUR_MS;

/// More often than anything that is due is put off after a failure.
const PAUSE: Duration = Duration::from_mins(10);

/// Rounds of background work after which everything that was due is done.
const ROUNDS: usize = 16;

fn value(series: i64, t: i64) -> f64 {
    (t / STEP_MS * 7 + series) as f64
}

/// A disk with a day of samples, of which none is in a block yet.
fn day(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    sim::run(seed, async {
        let shard = open(&disk).await.expect("a sound disk");
        for t in (0..HOURS * HOUR_MS).step_by(STEP_MS as usize) {
            let mut batch = AppendBatch::new();
            for series in 0..SERIES {
                let labels = Labels::from_pairs([("__name__", "m"), ("n", &series.to_string())]);
                batch.push_series(labels.fingerprint(), labels.encoded());
                batch.push_sample(t, value(series, t));
            }
            let outcome = shard.append(batch).await.expect("a sound disk");
            assert_eq!(outcome.refused_total(), 0);
        }
    });
    disk.kill()
}

/// Does what is due in the background, again and again; how the last round ended.
async fn work(shard: &Rc<Shard>, rounds: usize) -> Result<()> {
    let mut outcome = Ok(());
    for _ in 0..rounds {
        outcome = shard.tick().await.and(shard.maintain().await);
        runtime::sleep(PAUSE).await;
    }
    outcome
}

/// All that retention keeps is there, and nothing that was never sent.
async fn check(shard: &Shard) {
    let selection = shard.select(&[], TimeRange::ALL).await.expect("open");
    assert_eq!(selection.len(), SERIES as usize);
    assert!(selection.warnings().is_empty(), "{:?}", selection.warnings());
    for i in 0..selection.len() {
        let mut columns = SampleColumns::new();
        selection.read(i, TimeRange::ALL, &mut columns).await.expect("readable");
        let series = selection.labels(i).get("n").and_then(|n| n.parse().ok()).expect("a number");
        let found: BTreeMap<i64, f64> =
            columns.timestamps.iter().copied().zip(columns.values.iter().copied()).collect();
        assert!(found.iter().all(|(&t, &v)| v == value(series, t)), "series {series}");
        let kept =
            ((HOURS - RETENTION_MS / HOUR_MS) * HOUR_MS..HOURS * HOUR_MS).step_by(STEP_MS as usize);
        for t in kept {
            assert!(found.contains_key(&t), "series {series}: {t} is gone");
        }
    }
}

/// One run with a fault at operation `at` of the background work. How many operations that had, and how the shard stood.
fn run(
    seed: u64,
    day: &SimDisk,
    at: u64,
    fault: impl Fn(&SimDisk, u64),
    heal: impl Fn(&SimDisk),
) -> (u64, ShardStats) {
    let disk = day.kill();
    let (operations, stats) = sim::run(seed, async {
        let shard = open(&disk).await.expect("the fault comes later");
        let before = disk.operations();
        fault(&disk, at);
        let _ = work(&shard, ROUNDS).await;
        let retention = Retention { time_ms: Some(RETENTION_MS), ..Retention::default() };
        shard.set_retention(retention);
        let _ = work(&shard, 2).await;
        let operations = disk.operations() - before;
        heal(&disk);
        if let Err(error) = work(&shard, ROUNDS).await {
            panic!("operation {at}: it does not go on when the disk is sound: {error}");
        }
        check(&shard).await;
        let stats = shard.stats();
        assert_eq!(stats.blocks_damaged, 0, "operation {at}: what fails is not what is damaged");
        (operations, stats)
    });
    sim::run(seed, async {
        let shard = open(&disk.crash()).await.expect("what a power loss leaves can be opened");
        check(&shard).await;
        shard.close().await.expect("a sound disk");
    });
    (operations, stats)
}

#[test]
fn background_work_survives_a_full_disk_and_failing_operations() {
    for seed in seeds(1) {
        let day = day(seed);
        let (operations, stats) = run(seed, &day, u64::MAX / 2, |_, _| (), |_| ());
        let did = [stats.cuts, stats.compactions, stats.blocks_retired, stats.checkpoints];
        assert!(did.iter().all(|&times| times > 0), "the work is of every kind: {stats:?}");
        for at in every_few(operations, seed) {
            run(seed, &day, at, SimDisk::fail_no_space_after, SimDisk::make_room);
            run(seed, &day, at, SimDisk::fail_operation_after, |_| ());
            run(seed, &day, at, SimDisk::fail_sync_after, |_| ());
        }
    }
}
