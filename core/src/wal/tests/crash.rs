//! Power loss, kill, failed syncs and a full disk, at any operation of the disk.

use std::rc::Rc;

use super::*;
use crate::runtime::{self, sim};

/// Several tasks send and commit, one cuts and retires, until all are done or the disk fails them.
async fn work(wal: &Wal, model: &Rc<RefCell<Model>>, random: &mut Random) {
    let tasks = (0..3).map(|_| {
        let (wal, model, mut random) = (wal.clone(), Rc::clone(model), random.fork());
        runtime::spawn(async move {
            for _ in 0..6 {
                let mut last = None;
                for _ in 0..=random.below(3) {
                    last = send(&wal, &model, &mut random).ok();
                }
                let Some(last) = last else { return };
                if wal.commit(last).await.is_err() {
                    return;
                }
                let mut model = model.borrow_mut();
                model.acknowledged = model.acknowledged.max(last.0 + 1);
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for _ in 0..2 {
        runtime::sleep(Duration::from_micros(random.below(3_000))).await;
        let Ok(boundary) = wal.cut().await else { break };
        {
            let mut model = model.borrow_mut();
            model.acknowledged = model.acknowledged.max(boundary.0);
            model.retired = model.retired.max(boundary.0);
        }
        if wal.retire(boundary).await.is_err() {
            break;
        }
    }
    for task in tasks {
        task.await;
    }
}

/// Runs three lives of a log, each ended by `end` at the operation drawn, and checks every recovery.
fn lives(
    seed: u64,
    options: &WalOptions,
    fault: impl Fn(&SimDisk, u64),
    end: impl Fn(&SimDisk) -> SimDisk,
) {
    let mut random = Random::new(seed);
    let mut disk = SimDisk::new(random.bits());
    let model = Rc::new(RefCell::new(Model::default()));
    for life in 0..3 {
        disk = sim::run(random.bits(), async {
            let (wal, found, report) = open(&disk, options.clone()).await;
            recover(&mut model.borrow_mut(), &found, &report, wal.next());
            // Nearly all lives end before all is done; the last ones are left to finish.
            fault(&disk, random.below(160 + 40 * life));
            work(&wal, &model, &mut random).await;
            end(&disk)
        });
    }
    sim::run(random.bits(), async {
        let (wal, found, report) = open(&disk, options.clone()).await;
        recover(&mut model.borrow_mut(), &found, &report, wal.next());
    });
}

#[test]
fn power_loss_at_any_operation_loses_nothing_acknowledged() {
    for seed in seeds(300) {
        lives(seed, &small(), SimDisk::crash_after, SimDisk::crash);
    }
}

#[test]
fn power_loss_at_every_operation_of_one_scenario() {
    let scenario = |seed, crash_at: Option<u64>| {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let model = Rc::new(RefCell::new(Model::default()));
        let (operations, left) = sim::run(seed, async {
            if let Some(at) = crash_at {
                disk.crash_after(at);
            }
            let opened =
                Wal::open(disk.disk(), Path::new(DIRECTORY), small(), |_, _, _| Ok(())).await;
            if let Ok((wal, _)) = opened {
                work(&wal, &model, &mut random).await;
            }
            (disk.operations(), disk.crash())
        });
        sim::run(seed, async {
            let (wal, found, report) = open(&left, small()).await;
            recover(&mut model.borrow_mut(), &found, &report, wal.next());
        });
        operations
    };
    for seed in seeds(2) {
        let operations = scenario(seed, None);
        assert!(operations > 20, "{operations}");
        for at in 0..operations {
            scenario(seed, Some(at));
        }
    }
}

#[test]
fn kill_at_any_operation_loses_nothing_acknowledged_even_if_power_fails_later() {
    for seed in seeds(100) {
        let odd = std::cell::Cell::new(false);
        let end = |disk: &SimDisk| {
            odd.set(!odd.get());
            if odd.get() { disk.kill() } else { disk.crash() }
        };
        lives(seed, &small(), SimDisk::crash_after, end);
    }
}

#[test]
fn a_failed_sync_loses_nothing_acknowledged() {
    for seed in seeds(100) {
        lives(seed, &small(), SimDisk::fail_sync_after, SimDisk::crash);
    }
}

#[test]
fn a_full_disk_is_reported_and_passes() {
    for seed in seeds(100) {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let model = RefCell::new(Model::default());
        sim::run(seed, async {
            let (wal, ..) = open(&disk, small()).await;
            disk.fail_no_space_after(random.below(40));
            let error = loop {
                let position = send(&wal, &model, &mut random).unwrap();
                if let Err(error) = wal.commit(position).await {
                    break error;
                }
                model.borrow_mut().acknowledged = position.0 + 1;
            };
            assert!(error.is_no_space() && error.is_transient(), "{error}");
            assert!(wal.cut().await.is_err_and(|e| e.is_no_space()));
            assert!(wal.sync().await.is_err_and(|e| e.is_no_space()));
            disk.make_room();
            let position = send(&wal, &model, &mut random).unwrap();
            wal.commit(position).await.unwrap();
            model.borrow_mut().acknowledged = position.0 + 1;
        });
        let left = disk.crash();
        sim::run(seed, async {
            let (wal, found, report) = open(&left, small()).await;
            recover(&mut model.borrow_mut(), &found, &report, wal.next());
        });
    }
}

#[test]
fn without_commits_a_prefix_survives() {
    for mode in [SyncMode::Interval(Duration::from_millis(3)), SyncMode::Off] {
        for seed in seeds(50) {
            let mut random = Random::new(seed);
            let disk = SimDisk::new(seed);
            let model = RefCell::new(Model::default());
            let options = WalOptions { sync: mode, ..small() };
            sim::run(seed, async {
                let (wal, ..) = open(&disk, options.clone()).await;
                disk.crash_after(20 + random.below(60));
                for _ in 0..60 {
                    let Ok(position) = send(&wal, &model, &mut random) else { break };
                    wal.commit(position).await.unwrap();
                    runtime::sleep(Duration::from_micros(random.below(500))).await;
                }
            });
            let left = disk.crash();
            sim::run(seed, async {
                let (_, found, _) = open(&left, options.clone()).await;
                for (position, payload) in &found {
                    assert_eq!(model.borrow().sent.get(position), Some(payload), "seed {seed}");
                }
                assert!(found.keys().copied().eq(0..found.len() as u64), "{mode:?}, seed {seed}");
            });
        }
    }
}
