//! The log against a disk that crashes, fills up, fails to sync and decays.
//!
//! A [`Model`] knows what was sent and what was acknowledged. After every recovery the log must hold a prefix of what was
//! sent, without gaps, with everything acknowledged in it, and nothing else.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::runtime::sim::{self, Random, SimDisk};
use crate::runtime::{self, executors};

const DIRECTORY: &str = "/shard/wal";

/// Small segments, so that a short scenario fills several.
fn small() -> WalOptions {
    WalOptions { segment_bytes: 8 * BLOCK_BYTES as u64, ..WalOptions::default() }
}

type Payloads = BTreeMap<u64, (u8, Vec<u8>)>;

/// What the log must hold.
#[derive(Default)]
struct Model {
    sent: Payloads,
    /// All positions below are acknowledged.
    acknowledged: u64,
    /// All positions below may be gone.
    retired: u64,
}

/// A payload of random length, mostly short, that is like no other.
fn payload(random: &mut Random) -> (u8, Vec<u8>) {
    let len = match random.below(10) {
        0 => 0,
        1..8 => random.below(100),
        8 => random.below(3_000),
        _ => random.below(20_000),
    };
    let kind = 1 + random.below(3) as u8;
    (kind, (0..len).map(|_| random.bits() as u8).collect())
}

async fn open(sim: &SimDisk, options: WalOptions) -> (Wal, Payloads, ReplayReport) {
    let mut found = Payloads::new();
    let mut last = None;
    let on_record = |position: Position, kind, payload: &[u8]| {
        assert!(last.is_none_or(|last| position.0 > last), "positions ascend");
        last = Some(position.0);
        found.insert(position.0, (kind, payload.to_vec()));
        Ok(())
    };
    let (wal, report) =
        Wal::open(sim.disk(), Path::new(DIRECTORY), options, on_record).await.unwrap();
    assert_eq!(report.records, found.len() as u64);
    (wal, found, report)
}

fn send(wal: &Wal, model: &RefCell<Model>, random: &mut Random) -> Result<Position, WalError> {
    let (kind, bytes) = payload(random);
    let position = wal.buffer(kind, |out| {
        // In pieces, as encoders do.
        bytes.chunks(7.max(bytes.len() / 3)).for_each(|piece| out.put(piece));
    })?;
    model.borrow_mut().sent.insert(position.0, (kind, bytes));
    Ok(position)
}

/// Checks what recovery found and makes it the truth from here on.
fn recover(model: &mut Model, found: &Payloads, report: &ReplayReport, next: Position) {
    assert_eq!(report.damage, [], "nothing was damaged");
    assert!(next.0 >= model.acknowledged, "{next:?} < {}", model.acknowledged);
    let first = found.keys().next().copied().unwrap_or(next.0);
    assert!(first <= model.retired.max(1) || found.is_empty(), "starts at {first}");
    assert_eq!(found.len() as u64, next.0 - first, "no gap");
    assert!(first <= model.retired || model.acknowledged <= first.max(model.retired));
    for (position, payload) in found {
        assert_eq!(Some(payload), model.sent.get(position), "record {position} as it was sent");
    }
    model.sent.retain(|position, _| *position < next.0);
    model.acknowledged = next.0;
}

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

/// Seeds of the long tests: more by `TIDEMARK_SEEDS`.
fn seeds(quick: u64) -> std::ops::Range<u64> {
    let chosen = std::env::var("TIDEMARK_SEEDS").ok().and_then(|text| text.parse().ok());
    0..chosen.unwrap_or(quick)
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
        assert!(operations > 50, "{operations}");
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

/// A log of two segments, the second of them not full, with its files.
fn two_segments() -> (Payloads, Vec<(PathBuf, Vec<u8>)>) {
    let disk = SimDisk::new(9);
    let options = WalOptions { segment_bytes: 4 * BLOCK_BYTES as u64, ..WalOptions::default() };
    let found = sim::run(9, async {
        let (wal, ..) = open(&disk, options.clone()).await;
        for commit in 0..5_u8 {
            for record in 0..3_u8 {
                wal.buffer(1 + record, |out| out.put(&[commit * 16 + record; 40])).unwrap();
            }
            wal.sync().await.unwrap();
        }
        open(&disk.kill(), options.clone()).await.1
    });
    assert_eq!(found.len(), 15);
    (found, disk.files())
}

/// Every offset in and around what is not padding, and some in the padding.
fn offsets(content: &[u8]) -> impl Iterator<Item = usize> {
    (0..content.len()).filter(|&at| {
        let near = &content[at.saturating_sub(16)..content.len().min(at + 16)];
        at % 61 == 0 || near.iter().any(|byte| *byte != 0)
    })
}

/// What is found when the file at `index` is `content` instead.
fn found_with(
    files: &[(PathBuf, Vec<u8>)],
    index: usize,
    content: &[u8],
) -> (Payloads, ReplayReport) {
    let disk = SimDisk::new(10);
    for (i, (path, original)) in files.iter().enumerate() {
        disk.put_file(path, if i == index { content } else { original });
    }
    sim::run(10, async {
        let (_, found, report) = open(&disk, small()).await;
        (found, report)
    })
}

#[test]
fn a_flipped_bit_anywhere_costs_one_record_and_is_named() {
    let (sent, files) = two_segments();
    for (index, (path, original)) in files.iter().enumerate() {
        for at in offsets(original) {
            let mut content = original.clone();
            content[at] ^= 1 << (at % 8);
            let (found, report) = found_with(&files, index, &content);
            let intact =
                found.iter().all(|(position, payload)| sent.get(position) == Some(payload));
            assert!(intact, "byte {at} of file {index}");
            let lost = sent.len() - found.len();
            if lost == 0 {
                assert_eq!((&report.damage[..], report.records_lost), (&[][..], 0));
                continue;
            }
            let in_last_run = index == 1 && at >= 2 * BLOCK_BYTES;
            if in_last_run {
                // It may as well be a torn write that nobody was told of, or one that never was.
                assert!(lost <= 3 && report.damage_count == 0, "byte {at}: {report:?}");
                continue;
            }
            assert!(lost <= 3, "byte {at} of file {index}: {lost} lost");
            assert_eq!(report.records_lost, lost as u64, "byte {at}: {report:?}");
            let [damage] = &report.damage[..] else { panic!("byte {at}: {report:?}") };
            assert!(damage.path == *path, "{damage}");
            assert!(
                damage.offset <= at as u64 && at as u64 - damage.offset < 200,
                "{at}: {damage}"
            );
        }
    }
}

#[test]
fn a_log_cut_short_anywhere_gives_what_is_left_and_says_so() {
    let (sent, files) = two_segments();
    for (index, (path, original)) in files.iter().enumerate() {
        for len in offsets(original) {
            let (found, report) = found_with(&files, index, &original[..len]);
            let intact =
                found.iter().all(|(position, payload)| sent.get(position) == Some(payload));
            assert!(intact, "{len} bytes of file {index}");
            let named = report.damage.iter().any(|damage| damage.path == *path);
            assert!(named, "{len} bytes of file {index}: {report:?}");
            let from_the_other = if index == 0 { 6 } else { 9 };
            assert!(found.len() >= from_the_other, "{len} bytes of file {index}: {}", found.len());
        }
    }
}

#[test]
fn a_segment_that_is_missing_or_replaced_is_named() {
    let (sent, mut files) = two_segments();
    let first = files[0].1.clone();
    let (found, report) = found_with(&files, 1, &first);
    assert_eq!((found.len(), report.damage_count), (9, 1));
    assert_eq!(report.damage[0].found, "the header of segment 1");
    files[1].0 = Path::new(DIRECTORY).join("00000003.wal");
    files[1].1 = first;
    let (found, report) = found_with(&files, 2, &[]);
    assert!(report.damage[0].path.ends_with("00000002.wal"), "{}", report.damage[0]);
    assert!(found.len() < sent.len());
}

#[test]
fn any_bytes_are_read_without_panic() {
    let mut random = Random::new(11);
    let (_, files) = two_segments();
    for _ in 0..300 {
        let mut content = files[0].1.clone();
        for _ in 0..=random.below(6) {
            let start = random.below(content.len() as u64) as usize;
            let len = random.below(600) as usize;
            content.iter_mut().skip(start).take(len).for_each(|byte| *byte = random.bits() as u8);
        }
        let (found, report) = found_with(&files, 0, &content);
        assert!(found.len() >= 6, "the other segment is readable");
        assert_eq!(report.damage_count, report.damage.len() as u64);
    }
}

/// The bytes of version 1, which must be readable for ever.
const GOLDEN: &[u8] = include_bytes!("../../tests/golden/wal-v1.bin");

fn golden_records() -> Payloads {
    let payload = |i: u64| (1 + (i % 3) as u8, vec![i as u8; (i * i) as usize]);
    (1_000..1_010).map(|i| (i, payload(i - 1_000))).collect()
}

#[test]
fn version_1_is_written_and_read_as_ever() {
    let header = format::Header {
        id: 7,
        first_sequence: 1_000,
        segment_bytes: 16_384,
        created_ms: 1_767_225_600_000,
    };
    let mut segment = header.encode().to_vec();
    let records: Vec<_> = golden_records().into_iter().collect();
    for run in records.chunks(6) {
        let mut bytes = Vec::new();
        for (_, (kind, payload)) in run {
            let start = bytes.len();
            bytes.resize(start + format::FRAME_HEADER_BYTES, 0);
            bytes.extend_from_slice(payload);
            format::begin_frame(&mut bytes[start..], *kind);
        }
        format::seal_run(&mut bytes, run[0].0, &header, true);
        segment.extend_from_slice(&bytes);
        segment.resize(segment.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    segment.resize(16_384, 0);
    if std::env::var_os("TIDEMARK_WRITE_GOLDEN").is_some() {
        std::fs::write("tests/golden/wal-v1.bin", &segment).unwrap();
    }
    assert!(segment == GOLDEN, "the encoding of version 1 changed");
    let path = Path::new(DIRECTORY).join("00000007.wal");
    let (found, report) = found_with(&[(path, GOLDEN.to_vec())], 0, GOLDEN);
    assert_eq!(found, golden_records());
    assert_eq!((report.damage_count, report.torn_tail, report.bytes), (0, None, 285));
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
        async move {
            std::fs::write(path.join("probe"), [1; 2 * BLOCK_BYTES]).unwrap();
            Disk::real().open(&path.join("probe"), runtime::disk::Open::Read).await.unwrap();
            real_log(&path.join("wal")).await;
        }
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
