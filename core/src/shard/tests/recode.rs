//! Chunk files that are written anew: smaller, for readers as if nothing had happened, and after a crash at any moment as well.

use super::*;

const SERIES: u64 = 16;
const MINUTES: i64 = 150;

/// A shard with a chunk file that was written in haste, and time to make up for it.
async fn hasty(disk: &SimDisk) -> Rc<Shard> {
    let shard = open(disk).await;
    for minute in 0..MINUTES {
        let rows = (0..SERIES).map(|series| (series, minute * 60_000, value(series, minute)));
        let rows: Vec<_> = rows.collect();
        shard.append(batch(&rows)).await.unwrap();
    }
    shard.0.spill_as(false).await.unwrap();
    shard.0.quiet.set(true);
    shard
}

fn value(series: u64, minute: i64) -> f64 {
    (minute * minute % 977 + series as i64) as f64 / 100.0
}

fn assert_whole(all: &Model) {
    assert_eq!(all.len(), SERIES as usize);
    for series in 0..SERIES {
        let samples = &all[&labels(series)];
        let expected = (0..MINUTES).map(|m| (m * 60_000, value(series, m).to_bits()));
        assert!(samples.iter().map(|(t, v)| (*t, *v)).eq(expected), "{series}");
    }
}

fn chunk_files(disk: &SimDisk) -> Vec<(std::path::PathBuf, usize)> {
    let files = disk.files().into_iter().map(|(path, content)| (path, content.len()));
    files.filter(|(path, _)| path.extension().is_some_and(|e| e == "chunks")).collect()
}

#[test]
fn a_chunk_file_is_written_anew_beside_its_readers() {
    sim::run(31, async {
        let disk = SimDisk::new(31);
        let shard = hasty(&disk).await;
        let before = chunk_files(&disk);
        let held = shard.select(&[], TimeRange::ALL).await.unwrap();
        shard.maintain().await.unwrap();
        assert_eq!(chunk_files(&disk).len(), 2, "who reads keeps the file");
        for i in 0..held.len() {
            let mut out = SampleColumns::new();
            held.read(i, TimeRange::ALL, &mut out).await.unwrap();
            assert_eq!(out.len(), MINUTES as usize);
        }
        drop(held);
        shard.maintain().await.unwrap();
        let after = chunk_files(&disk);
        assert!(after.len() == 1 && after[0].0 != before[0].0, "{after:?}");
        assert!(after[0].1 < before[0].1, "{after:?} after {before:?}");
        shard.maintain().await.unwrap();
        assert_eq!(chunk_files(&disk), after, "once is enough");
        assert_whole(&read_all(&shard, TimeRange::ALL).await.unwrap());
        let again = open(&disk.kill()).await;
        assert_whole(&read_all(&again, TimeRange::ALL).await.unwrap());
    });
}

#[test]
fn a_crash_while_a_chunk_file_is_written_anew_loses_nothing() {
    for operations in 0.. {
        let ended = sim::run(operations, async move {
            let disk = SimDisk::new(operations);
            let shard = hasty(&disk).await;
            disk.crash_after(operations);
            let done = shard.maintain().await.is_ok() && shard.maintain().await.is_ok();
            let again = open(&disk.crash()).await;
            assert_whole(&read_all(&again, TimeRange::ALL).await.unwrap());
            assert_eq!(again.stats().chunks_damaged, 0);
            done
        });
        if ended {
            return;
        }
    }
}

#[test]
fn a_damaged_chunk_stays_where_it_is() {
    sim::run(33, async {
        let disk = SimDisk::new(33);
        let shard = hasty(&disk).await;
        let file = chunk_files(&disk).remove(0);
        disk.flip_bit(&file.0, (file.1 as u64 - 3_000) * 8);
        for _ in 0..3 {
            shard.maintain().await.unwrap();
        }
        let files = chunk_files(&disk);
        assert!(files.len() == 2 && files.contains(&file), "{files:?}");
        let selection = shard.select(&[], TimeRange::ALL).await.unwrap();
        let mut counts = Vec::new();
        for i in 0..selection.len() {
            let mut out = SampleColumns::new();
            selection.read(i, TimeRange::ALL, &mut out).await.unwrap();
            counts.push(out.len());
        }
        assert_eq!(selection.warnings().len(), 1);
        let most = counts.iter().max();
        let whole = counts.iter().filter(|count| Some(*count) == most).count() as u64;
        assert_eq!(whole, SERIES - 1);
    });
}
