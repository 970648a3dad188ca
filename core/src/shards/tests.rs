//! Several cores on one simulated thread: opening together, appending to owners, scattering, canceling, closing.

mod reshard;

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::model::labels::Labels;
use crate::model::time::TimeRange;
use crate::runtime::disk::Disk;
use crate::runtime::sim::{self, SimDisk};
use crate::runtime::{Task, sleep, spawn, timeout};
use crate::shard::ShardOptions;
use crate::wal::WalOptions;

const DIR: &str = "/data";

/// Small segments, so that a simulated disk of many shards stays small.
fn options() -> ShardOptions {
    let wal =
        WalOptions { segment_bytes: 1 << 20, buffered_bytes_max: 1 << 20, ..WalOptions::default() };
    ShardOptions { wal, ..ShardOptions::default() }
}

/// Joins `cores` cores and opens the directory on all of them.
async fn open(disk: &Disk, cores: usize, shards: u32) -> Vec<Result<Shards>> {
    let mesh = mesh(cores);
    let open_one = |core| {
        let (disk, mesh) = (disk.clone(), mesh.clone());
        async move {
            let joined = Shards::join(core, mesh);
            joined.open(&disk, Path::new(DIR), shards, &options()).await?;
            Ok(joined)
        }
    };
    let tasks: Vec<Task<_>> = (0..cores).map(|core| spawn(open_one(core))).collect();
    join_all(tasks).await
}

async fn open_well(disk: &Disk, cores: usize, shards: u32) -> Vec<Shards> {
    open(disk, cores, shards).await.into_iter().map(Result::unwrap).collect()
}

async fn close(all: Vec<Shards>) {
    let tasks: Vec<_> =
        all.into_iter().map(|one| spawn(async move { one.close().await })).collect();
    for closed in join_all(tasks).await {
        closed.unwrap();
    }
}

/// One sample each of `count` series, split by owner.
fn batches(shards: &Shards, count: u32, timestamp_ms: i64) -> Vec<(u32, AppendBatch)> {
    let mut split: Vec<(u32, AppendBatch)> =
        (0..shards.count()).map(|s| (s, AppendBatch::new())).collect();
    for i in 0..count {
        let labels = Labels::from_pairs([("__name__", "m"), ("i", i.to_string().as_str())]);
        let batch = &mut split[shards.owner(labels.fingerprint()) as usize].1;
        batch.push_series(labels.fingerprint(), labels.encoded());
        batch.push_sample(timestamp_ms, f64::from(i));
    }
    split
}

async fn series_count(shards: &Shards) -> usize {
    let count = |shard: Rc<Shard>| {
        async move { shard.select(&[], TimeRange::ALL).await.unwrap().len() }.boxed_local()
    };
    shards.scatter(Queue::Query, count).await.unwrap().into_iter().sum()
}

#[test]
fn every_core_reaches_every_shard_whatever_the_number_of_cores() {
    for seed in 0..6 {
        sim::run(seed, async move {
            let disk = SimDisk::new(seed).disk();
            let all = open_well(&disk, 3, 5).await;
            for (t, shards) in all.iter().enumerate() {
                assert_eq!((shards.count(), shards.is_open()), (5, true));
                let outcome = shards.append(batches(shards, 40, t as i64)).await.unwrap();
                assert_eq!(outcome.appended, 40);
            }
            close(all).await;
            for cores in [1, 2, 7] {
                let all = open_well(&disk, cores, 9).await;
                assert_eq!(all[0].count(), 5, "the manifest keeps the number of shards");
                for shards in &all {
                    assert_eq!(series_count(shards).await, 40);
                }
                close(all).await;
            }
        });
    }
}

#[test]
fn results_come_in_the_order_of_shards() {
    sim::run(1, async {
        let all = open_well(&SimDisk::new(1).disk(), 3, 8).await;
        let name = |shard: Rc<Shard>| async move { shard.dir().to_owned() }.boxed_local();
        let dirs = all[1].scatter(Queue::Query, name).await.unwrap();
        let expected: Vec<_> =
            (0..8).map(|s| Path::new(DIR).join(format!("shard-{s:04}"))).collect();
        assert_eq!(dirs, expected);
    });
}

#[test]
fn a_second_process_and_a_broken_manifest_stop_every_core() {
    sim::run(2, async {
        let sim_disk = SimDisk::new(2);
        let disk = sim_disk.disk();
        let all = open_well(&disk, 2, 2).await;
        for refused in open(&disk, 2, 2).await {
            assert!(refused.is_err());
        }
        close(all).await;
        disk.remove(Path::new("/data/manifest")).await.unwrap();
        for refused in open(&disk, 2, 2).await {
            let message = refused.err().unwrap().to_string();
            assert!(message.contains("a manifest beside the shards"), "{message}");
        }
    });
}

#[test]
fn nothing_is_taken_before_all_are_open_and_after_close() {
    sim::run(3, async {
        let disk = SimDisk::new(3).disk();
        let mesh = mesh(2);
        let (first, second) = (Shards::join(0, mesh.clone()), Shards::join(1, mesh));
        assert!(first.append(Vec::new()).await.unwrap_err().is_transient());
        let options = options();
        let opens = [&first, &second].map(|one| one.open(&disk, Path::new(DIR), 2, &options));
        join_all(opens).await.into_iter().for_each(|opened| opened.unwrap());
        assert!(first.append(Vec::new()).await.is_ok());
        join_all([first.close(), second.close()])
            .await
            .into_iter()
            .for_each(|closed| closed.unwrap());
        assert!(matches!(first.append(Vec::new()).await, Err(Error::Closing)));
    });
}

#[test]
fn an_abandoned_call_is_canceled_on_the_other_core() {
    thread_local!(static ENDED: Cell<bool> = const { Cell::new(false) });
    sim::run(4, async {
        let all = open_well(&SimDisk::new(4).disk(), 2, 2).await;
        let forever = |_: Shards| {
            struct OnDrop;
            impl Drop for OnDrop {
                fn drop(&mut self) {
                    ENDED.set(true);
                }
            }
            async {
                let _guard = OnDrop;
                std::future::pending::<()>().await;
            }
            .boxed_local()
        };
        let call = all[0].on_core(1, Queue::Query, forever);
        assert!(timeout(Duration::from_millis(5), call).await.is_err());
        sleep(Duration::from_millis(5)).await;
        assert!(ENDED.get());
    });
}
