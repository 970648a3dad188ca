//! What the log promises while the disk works, and when it never does.

use proptest::prelude::*;

use super::*;
use crate::runtime::{self, executors, sim};

#[test]
fn the_buffer_is_bounded_and_says_so() {
    let disk = SimDisk::new(1);
    sim::run(1, async {
        let options = WalOptions { buffered_bytes_max: 10_000, ..small() };
        let (wal, ..) = open(&disk, options).await;
        let fill = || (0..).find_map(|_| wal.buffer(1, |out| out.put(&[0; 1_000])).err());
        assert!(matches!(fill(), Some(WalError::Full { bytes }) if bytes < 12_000));
        assert!(!wal.has_room());
        wal.room().await.unwrap();
        disk.fail_no_space_after(0);
        assert!(fill().is_some());
        assert!(wal.room().await.is_ok(), "the segment has room yet");
        for _ in 0..4 {
            fill();
            if let Err(error) = wal.room().await {
                assert!(error.is_no_space());
                return;
            }
        }
        panic!("the segment never became full");
    });
}

#[test]
fn a_record_that_is_too_large_leaves_no_trace() {
    let disk = SimDisk::new(2);
    sim::run(2, async {
        let (wal, ..) = open(&disk, small()).await;
        wal.buffer(1, |out| out.put(b"before")).unwrap();
        let max = small().record_bytes_max();
        let refused = wal.buffer(1, |out| (0..=max).for_each(|_| out.put(b"x"))).unwrap_err();
        let expected = WalError::RecordTooLarge { bytes: max + 1, bytes_max: max };
        assert_eq!(refused.to_string(), expected.to_string());
        wal.buffer(2, |out| (0..max).for_each(|_| out.put(b"y"))).unwrap();
        wal.buffer(1, |out| out.put(b"after")).unwrap();
        wal.sync().await.unwrap();
    });
    let (_, found, _) = sim::run(3, open_owned(disk.crash()));
    let lengths: Vec<_> = found.values().map(|(kind, payload)| (*kind, payload.len())).collect();
    assert_eq!(lengths, [(1, 6), (2, small().record_bytes_max()), (1, 5)]);
}

#[test]
fn a_disk_that_never_syncs_puts_the_log_out_of_service() {
    let disk = SimDisk::new(4);
    sim::run(4, async {
        let (wal, ..) = open(&disk, small()).await;
        let position = wal.buffer(1, |out| out.put(b"kept")).unwrap();
        wal.commit(position).await.unwrap();
        disk.fail_every_sync();
        let position = wal.buffer(1, |out| out.put(b"lost")).unwrap();
        for _ in 0..3 {
            let error = wal.commit(position).await.unwrap_err();
            assert!(!error.is_no_space());
        }
    });
    let (_, found, report) = sim::run(5, open_owned(disk.crash()));
    assert_eq!(found[&0].1, b"kept");
    assert_eq!(report.damage, []);
}

async fn open_owned(disk: SimDisk) -> (Wal, Payloads, ReplayReport) {
    open(&disk, small()).await
}

#[test]
fn sync_makes_durable_in_any_mode() {
    for sync in [SyncMode::Commit, SyncMode::Interval(Duration::from_hours(1)), SyncMode::Off] {
        let disk = SimDisk::new(6);
        let options = WalOptions { sync, ..small() };
        let found = sim::run(6, async {
            let (wal, ..) = open(&disk, options.clone()).await;
            wal.buffer(1, |out| out.put(b"a")).unwrap();
            wal.sync().await.unwrap();
            wal.sync().await.unwrap();
            wal.buffer(1, |out| out.put(b"b")).unwrap();
            wal.cut().await.unwrap();
            open(&disk.crash(), options.clone()).await.1
        });
        assert_eq!(found.len(), 2, "{sync:?}");
    }
}

#[test]
fn segments_are_reused_and_positions_survive_retirement() {
    let disk = SimDisk::new(7);
    sim::run(7, async {
        let mut random = Random::new(7);
        let model = RefCell::new(Model::default());
        let (mut wal, ..) = open(&disk, small()).await;
        for round in 0..30 {
            for _ in 0..10 {
                let position = send(&wal, &model, &mut random).unwrap();
                wal.commit(position).await.unwrap();
            }
            let boundary = wal.cut().await.unwrap();
            assert_eq!(boundary, wal.next());
            wal.retire(boundary).await.unwrap();
            assert_eq!(wal.stats().segments, 1);
            if round % 10 == 9 {
                drop(wal);
                let (again, found, _) = open(&disk, small()).await;
                assert!(found.is_empty());
                assert_eq!(again.next(), boundary);
                again.retire(boundary).await.unwrap();
                assert_eq!(again.stats().segments, 1, "one stays, to know the number");
                wal = again;
            }
        }
    });
    assert!(disk.files().len() <= 1 + WAL_SPARES_MAX, "{:?}", disk.files().len());
}

#[test]
fn patient_commits_that_come_one_by_one_share_a_flush() {
    let disk = SimDisk::new(9);
    sim::run(9, async {
        let (wal, ..) = open(&disk, WalOptions::default()).await;
        let mut commits = Vec::new();
        for _ in 0..10 {
            let position = wal.buffer(1, |out| out.put(b"x")).unwrap();
            let patient = wal.clone();
            commits.push(runtime::spawn(async move { patient.commit_patiently(position).await }));
            runtime::sleep(PATIENCE / 20).await;
        }
        assert_eq!(wal.stats().flushes, 0);
        for commit in commits {
            commit.await.unwrap();
        }
        assert_eq!(wal.stats().syncs, 1);
        let position = wal.buffer(1, |out| out.put(b"x")).unwrap();
        wal.commit(position).await.unwrap();
        let began = runtime::clock::Instant::now();
        wal.commit_patiently(position).await.unwrap();
        assert!(began.elapsed().is_zero(), "there is nothing to wait for");
        assert_eq!(open(&disk.crash(), WalOptions::default()).await.1.len(), 11);
    });
}

#[test]
fn one_flush_serves_all_who_wait() {
    let disk = SimDisk::new(8);
    sim::run(8, async {
        let (wal, ..) = open(&disk, WalOptions::default()).await;
        let commits = (0..1_000).map(|_| {
            let wal = wal.clone();
            runtime::spawn(async move {
                let position = wal.buffer(1, |out| out.put(b"x")).unwrap();
                wal.commit(position).await.unwrap();
            })
        });
        futures_util::future::join_all(commits.collect::<Vec<_>>()).await;
        assert!(wal.stats().syncs < 20, "{:?}", wal.stats());
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_committed_is_replayed(
        commits in proptest::collection::vec(
            proptest::collection::vec((1_u8.., proptest::collection::vec(any::<u8>(), 0..3_000)), 1..5),
            1..12,
        ),
    ) {
        let disk = SimDisk::new(12);
        let found = sim::run(12, async {
            let (wal, ..) = open(&disk, small()).await;
            for commit in &commits {
                let mut last = Position(0);
                for (kind, payload) in commit {
                    last = wal.buffer(*kind, |out| out.put(payload)).unwrap();
                }
                wal.commit(last).await.unwrap();
            }
            open(&disk.crash(), small()).await.1
        });
        let sent: Vec<_> = commits.into_iter().flatten().collect();
        prop_assert!(found.into_values().eq(sent));
    }
}

#[test]
fn the_real_disk_keeps_a_log_too() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().canonicalize().unwrap();
    let options = executors::Options { cores: 1, pin: false, ..executors::Options::default() };
    let probe_dir = path.clone();
    let body = move |_| {
        let path = path.clone();
        async move { real_log(&path.join("wal")).await }
    };
    executors::run(&options, &probe_dir, body).unwrap();
}

async fn real_log(directory: &Path) {
    let mut sent = Payloads::new();
    let mut random = Random::new(13);
    for life in 0..3 {
        let mut found = Payloads::new();
        let on_record = |position: Position, kind, payload: &[u8]| {
            found.insert(position.0, (kind, payload.to_vec()));
            Ok(())
        };
        let options = WalOptions { segment_bytes: 256 << 10, ..WalOptions::default() };
        let (wal, report) = Wal::open(Disk::real(), directory, options, on_record).await.unwrap();
        assert_eq!((found == sent, report.damage, report.torn_tail), (true, vec![], None));
        for _ in 0..100 {
            let (kind, bytes) = payload(&mut random);
            let position = wal.buffer(kind, |out| out.put(&bytes)).unwrap();
            sent.insert(position.0, (kind, bytes));
            if random.chance(50) {
                wal.commit(position).await.unwrap();
            }
        }
        wal.sync().await.unwrap();
        if life == 1 {
            let boundary = wal.cut().await.unwrap();
            wal.retire(boundary).await.unwrap();
            sent.clear();
        }
    }
}

#[test]
fn a_log_that_ends_takes_a_block_and_can_be_continued() {
    let disk = SimDisk::new(8);
    sim::run(8, async {
        let (wal, ..) = open(&disk, small()).await;
        wal.buffer(1, |out| out.put(b"before")).unwrap();
        let position = wal.cut().await.unwrap();
        wal.retire(position).await.unwrap();
        wal.end_with_next_cut();
        let end = wal.cut().await.unwrap();
        assert_eq!(end, position, "nothing came between");
        wal.retire(end).await.unwrap();
        wal.remove_spares().await.unwrap();
        let bytes = |disk: &SimDisk| disk.files().iter().map(|(_, c)| c.len()).sum::<usize>();
        assert_eq!(bytes(&disk), BLOCK_BYTES);

        let (again, found, report) = open(&disk, small()).await;
        assert_eq!((report.damage, found.len(), again.next()), (vec![], 0, end));
        // A record that comes even so is kept.
        let position = wal.buffer(1, |out| out.put(b"after")).unwrap();
        wal.commit(position).await.unwrap();
        let (_, found, report) = open(&disk.crash(), small()).await;
        assert_eq!((report.damage, found.len()), (vec![], 1));
        assert_eq!(found[&end.0].1, b"after");
    });
}
