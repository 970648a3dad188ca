//! Power loss and kill, at every operation of the disk and over several lives of a shard.

use std::cell::RefCell;
use std::rc::Rc;

use tidemark_core::runtime::sim::{self, Random, SimDisk};
use tidemark_core::shard::ShardStats;

use crate::shard::{Model, open, recover, seeds, work};

/// Batches of each appender in a life that nothing ends early.
const BATCHES: u64 = 14;

/// A load on a fresh disk that crashes before operation `crash_at`, and the recovery of what is left. How many operations there
/// were, and how the shard stood at the end.
fn one_life(seed: u64, crash_at: u64) -> (u64, Option<ShardStats>) {
    let disk = SimDisk::new(seed);
    let model = Rc::new(RefCell::new(Model::default()));
    disk.crash_after(crash_at);
    let stats = sim::run(seed, async {
        let shard = open(&disk).await.ok()?;
        work(&shard, &model, &mut Random::new(seed), BATCHES).await;
        Some(shard.stats())
    });
    recover(seed, &disk.crash(), &model);
    (disk.operations(), stats)
}

#[test]
fn power_loss_at_every_operation() {
    for seed in seeds(1) {
        let (operations, stats) = one_life(seed, u64::MAX / 2);
        let stats = stats.expect("nothing crashed");
        assert!(stats.checkpoints > 0, "the load reaches a checkpoint");
        assert!(stats.cuts > 0 && stats.blocks > 0, "a block is cut from the head");
        assert!(stats.chunk_file_bytes > 4096 && stats.chunks_sealed > stats.backlog_chunks);
        assert!(stats.backlog_chunks + stats.chunks_open > 0, "and leaves something in memory");
        for at in 0..operations {
            one_life(seed, at);
        }
    }
}

/// Several lives, each ended by `end` at an operation drawn at random.
fn many_lives(seed: u64, end: impl Fn(&SimDisk, &mut Random) -> SimDisk) {
    let mut random = Random::new(seed);
    let mut disk = SimDisk::new(random.bits());
    let model = Rc::new(RefCell::new(Model::default()));
    for _ in 0..4 {
        disk.crash_after(random.below(400));
        let life = random.bits();
        disk = sim::run(life, async {
            if let Ok(shard) = open(&disk).await {
                work(&shard, &model, &mut random, BATCHES).await;
                if random.chance(30) {
                    let _ = shard.close().await;
                }
            }
            end(&disk, &mut random)
        });
        // Recovery itself may be cut short too, any number of times.
        for _ in 0..random.below(3) {
            disk.crash_after(random.below(40));
            disk = sim::run(random.bits(), async {
                let _ = open(&disk).await;
                end(&disk, &mut random)
            });
        }
        recover(random.bits(), &disk, &model);
    }
}

#[test]
fn power_loss_after_power_loss() {
    for seed in seeds(20) {
        many_lives(seed, |disk, _| disk.crash());
    }
}

#[test]
fn kill_and_power_loss_in_any_order() {
    for seed in seeds(20) {
        many_lives(seed, |disk, random| if random.chance(60) { disk.kill() } else { disk.crash() });
    }
}
