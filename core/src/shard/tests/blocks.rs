//! Blocks of a shard: cut, read together with the head, compacted, let go, deleted from, damaged, linked into a snapshot.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::model::histogram::FloatHistogram;
use crate::retention::Retention;

/// Hours of samples of some series, with the background work of a server.
pub(super) async fn fill(
    shard: &Shard,
    series: std::ops::Range<u64>,
    minutes: std::ops::Range<i64>,
) {
    for minute in minutes {
        let rows: Vec<_> =
            series.clone().map(|s| (s, minute * 60_000, (minute * 7 + s as i64) as f64)).collect();
        let outcome = shard.append(batch(&rows)).await.unwrap();
        assert_eq!(outcome.appended, rows.len() as u64, "{outcome:?}");
        if minute % 10 == 0 {
            shard.tick().await.unwrap();
            shard.maintain().await.unwrap();
        }
    }
}

#[test]
fn blocks_are_cut_and_read_together_with_the_head() {
    sim::run(8, async {
        let disk = SimDisk::new(8);
        let shard = open(&disk).await;
        fill(&shard, 0..5, 0..600).await;
        let stats = shard.stats();
        assert_eq!((stats.cuts, stats.blocks, stats.series), (4, 1, 5), "{stats:?}");
        assert!(stats.range.unwrap().start_ms >= 8 * 3_600_000, "{stats:?}");
        let mut shard = shard;
        for life in 0..2 {
            if life == 1 {
                shard = open(&disk.kill()).await;
            }
            let all = read_all(&shard, TimeRange::ALL).await.unwrap();
            assert_eq!(all.len(), 5);
            for (series, samples) in (0..).zip(all.values()) {
                let expected =
                    (0..600_i64).map(|m| (m * 60_000, ((m * 7 + series) as f64).to_bits()));
                assert!(samples.iter().map(|(t, v)| (*t, *v)).eq(expected), "{series}");
            }
            let some = TimeRange::new(110 * 60_000, 130 * 60_000);
            assert_eq!(read_all(&shard, some).await.unwrap()[&labels(3)].len(), 21);
            assert_eq!(
                shard.label_values("host", &[], some, 9).await.unwrap(),
                ["0", "1", "2", "3", "4"]
            );
            let odd = [Matcher::equal("parity", "odd")];
            assert_eq!(shard.label_values("host", &odd, some, 9).await.unwrap(), ["1", "3"]);
            assert_eq!(shard.label_names(&odd, some, 2).await.unwrap(), ["__name__", "host"]);
            assert_eq!(shard.series(&odd, some, 9).await.unwrap(), [labels(1), labels(3)]);
            let late = shard.append(batch(&[(3, 60_000, 1.0), (9, 60_000, 1.0)])).await.unwrap();
            assert_eq!(late.refused_as(RefusalKind::TooOld), 2, "{late:?}");
        }
    });
}

#[test]
fn blocks_are_compacted_and_let_go() {
    sim::run(13, async {
        let disk = SimDisk::new(13);
        let shard = open(&disk).await;
        fill(&shard, 0..3, 0..60 * 40).await;
        let stats = shard.stats();
        assert!(stats.compactions >= 5 && stats.blocks < 5, "{stats:?}");
        assert!(
            disk.files().iter().filter(|(p, _)| p.ends_with("index")).count()
                == stats.blocks as usize
        );
        let all = read_all(&shard, TimeRange::ALL).await.unwrap();
        assert!(all.len() == 3 && all.values().all(|samples| samples.len() == 60 * 40));
        let held = shard.select(&[], TimeRange::ALL).await.unwrap();
        shard.set_retention(Retention { time_ms: Some(6 * 3_600_000), ..Retention::default() });
        shard.maintain().await.unwrap();
        let left = shard.stats();
        assert!(left.blocks < stats.blocks && left.blocks_retired > 0, "{left:?}");
        let mut out = SampleColumns::new();
        held.read(0, TimeRange::ALL, &mut out).await.unwrap();
        assert_eq!(out.len(), 60 * 40, "who reads keeps the files");
        drop(held);
        shard.maintain().await.unwrap();
        assert!(
            disk.files().iter().filter(|(p, _)| p.ends_with("index")).count()
                == left.blocks as usize
        );
        let rest = read_all(&shard, TimeRange::ALL).await.unwrap();
        assert!(rest.values().all(|samples| *samples.keys().next().unwrap() >= 32 * 3_600_000));
        shard.set_retention(Retention { bytes: Some(1), ..Retention::default() });
        shard.maintain().await.unwrap();
        assert_eq!((shard.stats().blocks, shard.stats().block_bytes), (0, 0));
        let reopened = open(&disk.kill()).await;
        let all = read_all(&reopened, TimeRange::ALL).await.unwrap();
        assert!(all.len() == 3 && all.values().all(|samples| samples.len() < 60 * 5));
    });
}

/// What [`fill`] has stored up to before `minutes`, without what the test below deletes.
fn filled_but_deleted(minutes: i64) -> Model {
    let gone = |series: i64, minute: i64| match series {
        1 | 3 => (100..=350).contains(&minute),
        2 => minute < 400,
        _ => false,
    };
    let samples = |series: i64| {
        let minutes = (0..minutes).filter(move |&minute| !gone(series, minute));
        minutes.map(move |m| (m * 60_000, ((m * 7 + series) as f64).to_bits())).collect()
    };
    let mut model: Model = (0..4).map(|series| (labels(series as u64), samples(series))).collect();
    model.retain(|_, samples: &mut BTreeMap<i64, u64>| !samples.is_empty());
    model
}

#[test]
fn what_is_deleted_stays_deleted_and_nothing_else_is() {
    sim::run(15, async {
        let mut disk = SimDisk::new(15);
        let mut shard = open(&disk).await;
        fill(&shard, 0..4, 0..400).await;
        let odd = [Matcher::equal("parity", "odd")];
        shard.delete_series(&odd, TimeRange::new(100 * 60_000, 350 * 60_000)).await.unwrap();
        shard.delete_series(&[Matcher::equal("host", "2")], TimeRange::ALL).await.unwrap();
        for life in 0..3 {
            let found = read_all(&shard, TimeRange::ALL).await.unwrap();
            assert!(found == filled_but_deleted(400), "life {life}");
            if life == 1 {
                shard.0.checkpoint().await.unwrap();
            }
            disk = disk.crash();
            shard = open(&disk).await;
        }
        fill(&shard, 0..4, 400..410).await;
        let is_tombstone = |(path, _): &(PathBuf, Vec<u8>)| path.ends_with("tombstones");
        assert!(disk.files().iter().any(is_tombstone));
        assert!(read_all(&shard, TimeRange::ALL).await.unwrap() == filled_but_deleted(410));
        shard.clean_tombstones().await.unwrap();
        assert!(!disk.files().iter().any(is_tombstone));
        assert!(read_all(&shard, TimeRange::ALL).await.unwrap() == filled_but_deleted(410));
    });
}

#[test]
fn a_block_of_which_much_is_deleted_is_written_anew() {
    sim::run(16, async {
        let disk = SimDisk::new(16);
        let shard = open(&disk).await;
        fill(&shard, 0..20, 0..360).await;
        let sequences =
            |shard: &Shard| shard.0.catalog.metas().iter().map(|m| m.sequence).collect::<Vec<_>>();
        let bytes = |shard: &Shard| shard.stats().block_bytes;
        let (before, before_bytes) = (sequences(&shard), bytes(&shard));
        assert_eq!(before.len(), 2);
        let host = |n: &str| [Matcher::equal("host", n)];
        // A fiftieth of each block, then a tenth of the first.
        shard.delete_series(&host("7"), TimeRange::new(90 * 60_000, 150 * 60_000)).await.unwrap();
        shard.maintain().await.unwrap();
        assert_eq!(sequences(&shard), before);
        shard.delete_series(&host("8"), TimeRange::new(0, 100 * 60_000)).await.unwrap();
        shard.delete_series(&host("9"), TimeRange::new(0, 100 * 60_000)).await.unwrap();
        let whole = read_all(&shard, TimeRange::ALL).await.unwrap();
        for _ in 0..3 {
            shard.maintain().await.unwrap();
        }
        let after = sequences(&shard);
        assert!(after.len() == 2 && after[0] > before[1] && after[1] == before[1], "{after:?}");
        assert!(bytes(&shard) <= before_bytes);
        let shard = open(&disk.kill()).await;
        assert!(read_all(&shard, TimeRange::ALL).await.unwrap() == whole);
    });
}

#[test]
fn a_snapshot_is_a_shard_by_itself() {
    sim::run(16, async {
        let disk = SimDisk::new(16);
        let shard = open(&disk).await;
        fill(&shard, 0..4, 0..400).await;
        let whole = read_all(&shard, TimeRange::ALL).await.unwrap();
        let (all, blocks) = (Path::new("/snapshots/all"), Path::new("/snapshots/blocks"));
        shard.snapshot(all, false).await.unwrap();
        shard.snapshot(blocks, true).await.unwrap();
        assert!(shard.snapshot(all, false).await.is_err(), "the name is taken");
        fill(&shard, 0..4, 400..1200).await;
        shard.delete_series(&[], TimeRange::ALL).await.unwrap();
        drop(shard);
        let disk = disk.crash();
        let copy = Shard::open(disk.disk(), all, options()).await.unwrap();
        assert!(read_all(&copy, TimeRange::ALL).await.unwrap() == whole);
        let copy = Shard::open(disk.disk(), blocks, options()).await.unwrap();
        let cut: Model = whole
            .iter()
            .map(|(labels, s)| {
                (labels.clone(), s.range(..240 * 60_000).map(|(t, v)| (*t, *v)).collect())
            })
            .collect();
        assert!(read_all(&copy, TimeRange::ALL).await.unwrap() == cut);
    });
}

#[test]
fn histograms_and_starts_of_counters_survive_in_blocks() {
    sim::run(17, async {
        let mut disk = SimDisk::new(17);
        let mut shard = open(&disk).await;
        let histogram = |minute: i64| {
            let positive = [(1, minute as f64), (3, 2.0)].into_iter().collect();
            let (count, sum) = (minute as f64 + 2.0, 0.5);
            Arc::new(FloatHistogram { count, sum, positive, ..FloatHistogram::default() })
        };
        for minute in 0..500_i64 {
            let mut rows = AppendBatch::new();
            rows.push_series(labels(0).fingerprint(), labels(0).encoded());
            rows.push_histogram(minute * 60_000, &histogram(minute));
            rows.push_series(labels(1).fingerprint(), labels(1).encoded());
            rows.push_sample(minute * 60_000, minute as f64);
            rows.set_start_timestamp(7 + minute / 100);
            shard.append(rows).await.unwrap();
            if minute % 20 == 0 {
                shard.tick().await.unwrap();
                shard.maintain().await.unwrap();
            }
        }
        for _ in 0..2 {
            assert!(shard.stats().cuts + shard.stats().blocks > 0);
            let selection = shard.select(&[], TimeRange::ALL).await.unwrap();
            for i in 0..2 {
                let mut out = SampleColumns::new();
                selection.read(i, TimeRange::ALL, &mut out).await.unwrap();
                assert_eq!(out.len(), 500);
                if selection.labels(i) == labels(0) {
                    for (minute, found) in (0..).zip(&out.histograms) {
                        assert!(found.as_ref().unwrap().same(&histogram(minute)), "{minute}");
                    }
                } else {
                    assert!(out.start_timestamps.iter().copied().eq((0..500).map(|m| 7 + m / 100)));
                }
            }
            drop(selection);
            disk = disk.crash();
            shard = open(&disk).await;
        }
    });
}

#[test]
fn a_selection_outlives_the_cut_of_what_it_saw() {
    sim::run(9, async {
        let disk = SimDisk::new(9);
        let shard = open(&disk).await;
        let rows: Vec<_> = (0..240).map(|i| (0, i * 60_000, i as f64)).collect();
        shard.append(batch(&rows)).await.unwrap();
        let before = shard.select(&[], TimeRange::ALL).await.unwrap();
        shard.maintain().await.unwrap();
        let after = shard.select(&[], TimeRange::ALL).await.unwrap();
        assert_eq!((shard.stats().blocks, shard.stats().range.unwrap().start_ms), (1, 0));
        for selection in [&before, &after] {
            let mut out = SampleColumns::new();
            selection.read(0, TimeRange::ALL, &mut out).await.unwrap();
            assert!(out.timestamps.iter().copied().eq((0..240).map(|i| i * 60_000)));
        }
        drop(before);
        shard.maintain().await.unwrap();
        assert_eq!(shard.stats().range.unwrap().start_ms, 120 * 60_000);
        let mut out = SampleColumns::new();
        after.read(0, TimeRange::ALL, &mut out).await.unwrap();
        assert_eq!(out.len(), 240);
    });
}

#[test]
fn series_that_come_and_go_leave_memory_flat() {
    sim::run(10, async {
        let disk = SimDisk::new(10);
        let shard = open(&disk).await;
        let (mut bytes, mut most) = (Vec::new(), 0);
        for hour in 0..24 {
            fill(&shard, hour * 60..hour * 60 + 60, hour as i64 * 60..hour as i64 * 60 + 60).await;
            bytes.push(shard.index_bytes());
            most = most.max(shard.stats().series);
        }
        assert!(most <= 5 * 60, "{most} series at once");
        assert!(bytes[23] <= bytes[7] + bytes[7] / 4, "{bytes:?}");
        let stats = shard.stats();
        assert_eq!(stats.series_created - stats.series_removed, stats.series);
        assert!(stats.symbols < 5 * 60 + 8 && stats.chunk_file_bytes < 1 << 20, "{stats:?}");
        shard.tick().await.unwrap();
        // A series that comes again, under another number, in the same log.
        fill(&shard, 3..4, 24 * 60..24 * 60 + 5).await;
        let mut shard = shard;
        for life in 0..2 {
            if life == 1 {
                shard = open(&disk.kill()).await;
            }
            let all = read_all(&shard, TimeRange::ALL).await.unwrap();
            assert_eq!(all.len(), 24 * 60);
            assert!(all.iter().all(|(l, s)| s.len() == if *l == labels(3) { 65 } else { 60 }));
        }
        let rows = batch(&[(3, 24 * 3_600_000 + 300_000, 1.0), (5, 24 * 3_600_000, 1.0)]);
        assert_eq!(shard.append(rows).await.unwrap().new_series, 1);
    });
}

#[test]
fn a_damaged_block_is_put_aside_and_the_others_answer() {
    sim::run(11, async {
        let disk = SimDisk::new(11);
        let shard = open(&disk).await;
        fill(&shard, 0..5, 0..360).await;
        let whole = read_all(&shard, TimeRange::ALL).await.unwrap();
        drop(shard);
        let files = disk.files();
        let blocks = files.iter().filter(|(path, _)| path.to_string_lossy().contains("/blocks/"));
        for (path, content) in blocks {
            for open_fails in [false, true] {
                // The page of the index was read when the block was opened.
                if !open_fails && path.ends_with("index") {
                    continue;
                }
                let disk = SimDisk::new(11);
                for (path, content) in &files {
                    disk.put_file(path, content);
                }
                let byte = if open_fails { content.len() - 1 } else { 5 };
                let shard = open(&disk).await;
                disk.flip_bit(path, byte as u64 * 8);
                let shard = if open_fails { open(&disk.kill()).await } else { shard };
                let selection = shard.select(&[], TimeRange::ALL).await.unwrap();
                let mut out = SampleColumns::new();
                selection.read(0, TimeRange::ALL, &mut out).await.unwrap();
                assert_eq!(out.len(), 240, "{}", path.display());
                let warnings = selection.warnings();
                assert!(warnings.len() == 1 && warnings[0].contains("/blocks/"), "{warnings:?}");
                assert_eq!((shard.stats().blocks, shard.stats().blocks_damaged), (1, 1));
                shard.maintain().await.unwrap();
                // The answers go on to say so, in the next life as well: until somebody takes the directory away.
                let next = open(&disk.kill()).await;
                for shard in [&shard, &next] {
                    let selection = shard.select(&[], TimeRange::ALL).await.unwrap();
                    assert_eq!(selection.warnings().len(), 1, "{}", path.display());
                }
                let shard = next;
                let left = read_all(&shard, TimeRange::ALL).await.unwrap();
                let subset = |(l, s): (&Labels, &BTreeMap<i64, u64>)| {
                    s.len() == 240 && s.iter().all(|(t, v)| whole[l].get(t) == Some(v))
                };
                assert!(left.len() == 5 && left.iter().all(subset));
            }
        }
    });
}

#[test]
fn a_damaged_chunk_file_costs_its_chunk_and_the_answer_says_so() {
    const BATCH: usize = 4 << 10;
    sim::run(19, async {
        let disk = SimDisk::new(19);
        let shard = open(&disk).await;
        for step in 0..260 {
            let rows = [(0, step * 30_000, 1.0), (1, step * 30_000, step as f64)];
            shard.append(batch(&rows)).await.unwrap();
            if step == 130 {
                shard.0.spill().await.unwrap();
            }
        }
        // The second batch of the file: damage of the last one is taken for a crash.
        shard.close().await.unwrap();
        let files = disk.files();
        let (path, content) =
            files.iter().find(|(path, _)| path.to_string_lossy().contains("/chunks/")).unwrap();
        let directory = u32::from_le_bytes(*content[BATCH + 16..].first_chunk().unwrap()) as usize;
        // In the directory, whose batch is then lost, and in the first chunk.
        let in_chunk = BATCH + 24 + directory + 3;
        for (byte, whole) in [(BATCH + 26, 0), (in_chunk, 1)] {
            let disk = SimDisk::new(19);
            for (path, content) in &files {
                disk.put_file(path, content);
            }
            disk.flip_bit(path, byte as u64 * 8);
            let shard = open(&disk).await;
            let selection = shard.select(&[], TimeRange::ALL).await.unwrap();
            let mut found = Vec::new();
            for i in 0..selection.len() {
                let mut out = SampleColumns::new();
                selection.read(i, TimeRange::ALL, &mut out).await.unwrap();
                found.push(out.len());
            }
            assert_eq!(found.iter().filter(|&&samples| samples == 260).count(), whole, "{found:?}");
            assert!(found.iter().all(|&samples| samples >= 130), "{found:?}");
            let warnings = selection.warnings();
            assert!(warnings.len() == 1, "{warnings:?}");
            assert!(warnings[0].contains(&path.display().to_string()), "{warnings:?}");
        }
    });
}

/// Opens what `files` hold and maintains it until the disk fails or nothing is due; how many operations that took, and what is left.
fn maintained(files: &[(PathBuf, Vec<u8>)], seed: u64, crash_at: u64) -> (u64, SimDisk) {
    let disk = SimDisk::new(seed);
    for (path, content) in files {
        disk.put_file(path, content);
    }
    let before = disk.operations();
    disk.crash_after(crash_at);
    sim::run(seed, async {
        let options = options();
        let opened = Shard::open(disk.disk(), Path::new(DIRECTORY), options).await;
        let Ok(shard) = opened else { return };
        shard.set_retention(Retention { time_ms: Some(6 * 3_600_000), ..Retention::default() });
        for _ in 0..3 {
            if shard.maintain().await.is_err() || shard.tick().await.is_err() {
                return;
            }
        }
    });
    (disk.operations() - before, disk)
}

#[test]
fn a_crash_at_any_operation_of_maintenance_loses_nothing() {
    let disk = SimDisk::new(14);
    let whole = sim::run(14, async {
        let shard = open(&disk).await;
        for minute in (0..60 * 11).step_by(3) {
            // Series come and go.
            let rows: Vec<_> = (minute / 90..minute / 90 + 3)
                .map(|s| (s as u64, minute * 60_000, minute as f64))
                .collect();
            shard.append(batch(&rows)).await.unwrap();
            if minute % 30 == 0 {
                shard.tick().await.unwrap();
            }
        }
        shard.0.spill().await.unwrap();
        read_all(&shard, TimeRange::ALL).await.unwrap()
    });
    let files = disk.kill().files();
    let (operations, done) = maintained(&files, 14, u64::MAX / 2);
    let names: Vec<_> = done.files().into_iter().map(|(path, _)| path).collect();
    assert!(operations > 200 && names.iter().any(|path| path.ends_with("index")), "{names:?}");
    let kept_ms = 60_000 * (60 * 11 - 3) - 6 * 3_600_000;
    let stride = if std::env::var_os("TIDEMARK_SEEDS").is_some() { 1 } else { 7 };
    for at in (0..operations).step_by(stride) {
        let (_, disk) = maintained(&files, at, at);
        let mut left = disk.crash();
        for life in 0..2 {
            sim::run(at, async {
                let shard = open(&left).await;
                let found = read_all(&shard, TimeRange::ALL).await.unwrap();
                for (labels, samples) in &whole {
                    let found = found.get(labels);
                    for (t, v) in samples {
                        let there = found.and_then(|samples| samples.get(t));
                        let may_be_gone = *t < kept_ms && there.is_none();
                        assert!(there == Some(v) || may_be_gone, "{at}, {life}: {labels} at {t}");
                    }
                }
                assert!(found.iter().all(|(l, s)| s.keys().all(|t| whole[l].contains_key(t))));
                shard.maintain().await.unwrap();
                shard.close().await.unwrap();
            });
            left = left.crash();
        }
    }
}

#[test]
fn a_damaged_catalog_is_made_again() {
    sim::run(12, async {
        let disk = SimDisk::new(12);
        let shard = open(&disk).await;
        fill(&shard, 0..5, 0..360).await;
        let whole = read_all(&shard, TimeRange::ALL).await.unwrap();
        drop(shard);
        disk.flip_bit(&Path::new(DIRECTORY).join("catalog"), 99);
        let shard = open(&disk.kill()).await;
        assert_eq!(read_all(&shard, TimeRange::ALL).await.unwrap(), whole);
        assert_eq!((shard.stats().blocks, shard.stats().blocks_damaged), (2, 1));
    });
}
