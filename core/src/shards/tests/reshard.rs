//! Another number of shards, and restoring: nothing is lost, nothing is made up, whenever the power fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::error::Error;
use crate::model::columns::SampleColumns;
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::{Metadata, MetricType};
use crate::model::time::TimeRange;
use crate::runtime::disk::Disk;
use crate::runtime::sim::{self, SimDisk};
use crate::shard::ShardOptions;
use crate::wal::WalOptions;

const DIR: &str = "/data";

fn options() -> ShardOptions {
    let wal = WalOptions { segment_bytes: 64 << 10, ..WalOptions::default() };
    ShardOptions { wal, future_ms_max: i64::MAX, ..ShardOptions::default() }
}

fn labels(series: u64) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("host", series.to_string().as_str())])
}

/// Opens the shards of a directory on one core.
async fn open(disk: &Disk, data_dir: &Path, shards: u32) -> Result<Shards> {
    let joined = Shards::join(0, mesh(1));
    joined.open(disk, data_dir, shards, &options()).await?;
    Ok(joined)
}

/// Ten hours of some series, late ones, deleted ones, an exemplar and metadata among them.
async fn filled(disk: &Disk) -> Shards {
    let shards = open(disk, Path::new(DIR), 2).await.unwrap();
    for step in 0..120_i64 {
        for series in 0..6 {
            let (labels, mut batch) = (labels(series), AppendBatch::new());
            batch.push_series(labels.fingerprint(), labels.encoded());
            batch.push_sample(step * 300_000, (step + series as i64) as f64);
            if step % 10 == 5 {
                batch.push_sample(step * 300_000 - 7, 0.5);
            }
            if step == 119 {
                let labels = Labels::from_pairs([("trace", "1")]);
                let timestamp_ms = step * 300_000;
                batch.push_exemplar(Exemplar { labels, value: 1.0, timestamp_ms, dated: true });
                batch.push_metadata(
                    "m",
                    Metadata { kind: MetricType::Gauge, help: String::new(), unit: String::new() },
                );
            }
            shards.append(vec![(shards.owner(labels.fingerprint()), batch)]).await.unwrap();
        }
        if step % 6 == 0 {
            for shard in shards.mine() {
                shard.tick().await.unwrap();
                shard.maintain().await.unwrap();
            }
        }
        if step == 100 {
            let gone = TimeRange::new(3_600_000, 5_000_000);
            for shard in shards.mine() {
                shard.delete_series(&[Matcher::equal("host", "3")], gone).await.unwrap();
                shard
                    .delete_series(
                        &[Matcher::equal("host", "4")],
                        TimeRange::new(29_000_000, i64::MAX),
                    )
                    .await
                    .unwrap();
            }
        }
    }
    shards
}

type Content = BTreeMap<Labels, BTreeMap<i64, u64>>;

async fn content(shards: &Shards) -> Content {
    let mut content = Content::new();
    for (number, shard) in (0..).zip(shards.mine()) {
        let selection = shard.select(&[], TimeRange::ALL).await.unwrap();
        for i in 0..selection.len() {
            let (mut out, labels) = (SampleColumns::new(), selection.labels(i));
            selection.read(i, TimeRange::ALL, &mut out).await.unwrap();
            assert_eq!(labels.fingerprint().owner(shards.count()), number, "its owner has it");
            let samples = out.timestamps.into_iter().zip(out.values.into_iter().map(f64::to_bits));
            assert!(content.insert(labels, samples.collect()).is_none());
        }
    }
    content.retain(|_, samples| !samples.is_empty());
    content
}

/// The names in the data directory that belong to shards.
async fn shard_names(disk: &Disk) -> Vec<String> {
    let entries = disk.list(Path::new(DIR)).await.unwrap();
    entries.into_iter().map(|e| e.name).filter(|name| name.starts_with("shard-")).collect()
}

#[test]
fn any_number_of_shards_holds_the_same() {
    sim::run(21, async {
        let live = SimDisk::new(21);
        let disk = live.disk();
        let shards = filled(&disk).await;
        let whole = content(&shards).await;
        let in_use = reshard(&disk, Path::new(DIR), 3).await.unwrap_err();
        assert!(matches!(in_use, Error::InUse { .. }), "{in_use}");
        shards.close().await.unwrap();
        drop(shards);
        let mut before = 2;
        for to in [3, 1, 2] {
            let done = reshard(&disk, Path::new(DIR), to).await.unwrap();
            assert_eq!((done.from, done.to), (before, to));
            assert!(done.blocks > 0 && done.samples > 300 && done.head_samples > 100, "{done:?}");
            before = to;
            let again = open(&disk, Path::new(DIR), 7).await.unwrap();
            assert_eq!((again.count(), content(&again).await == whole), (to, true));
            let everything: [Vec<Matcher>; 1] = [Vec::new()];
            let mut exemplars = 0;
            for shard in again.mine() {
                exemplars += shard.exemplars(&everything, TimeRange::ALL).unwrap().len();
                assert_eq!(shard.stats().metadata_families, 1);
            }
            assert_eq!(exemplars, 6);
            // What is newer is taken, what is there is known.
            let (labels, mut batch) = (labels(1), AppendBatch::new());
            batch.push_series(labels.fingerprint(), labels.encoded());
            batch.push_sample(119 * 300_000, 120.0);
            let outcome =
                again.append(vec![(again.owner(labels.fingerprint()), batch)]).await.unwrap();
            assert_eq!((outcome.duplicates, outcome.appended), (1, 0));
            again.close().await.unwrap();
            assert_eq!(shard_names(&disk).await.len(), to as usize);
        }
        assert_eq!(
            reshard(&disk, Path::new(DIR), 2).await.unwrap().blocks,
            0,
            "it is that already"
        );
    });
}

/// Runs `act` on a disk with these files that fails for good at an operation; how many there were, and what is left.
fn interrupted<F: Future>(
    files: &[(PathBuf, Vec<u8>)],
    at: u64,
    act: impl FnOnce(Disk) -> F,
) -> (u64, SimDisk, bool)
where
    F::Output: Done,
{
    let disk = SimDisk::new(at);
    for (path, content) in files {
        disk.put_file(path, content);
    }
    let before = disk.operations();
    disk.crash_after(at);
    let done = sim::run(at, async { act(disk.disk()).await.is_done() });
    (disk.operations() - before, disk, done)
}

trait Done {
    fn is_done(&self) -> bool;
}

impl<T> Done for Result<T> {
    fn is_done(&self) -> bool {
        self.is_ok()
    }
}

/// Which operations are tried: a few, or all where seeds are asked for.
fn stride(operations: u64) -> usize {
    if std::env::var_os("TIDEMARK_SEEDS").is_some() { 1 } else { (operations / 8) as usize }
}

#[test]
fn a_crash_leaves_the_old_shards_or_the_new_ones() {
    let live = SimDisk::new(22);
    let whole = sim::run(22, async {
        let shards = filled(&live.disk()).await;
        let whole = content(&shards).await;
        shards.close().await.unwrap();
        whole
    });
    let files = live.files();
    let act = |disk: Disk| async move { reshard(&disk, Path::new(DIR), 3).await };
    let (operations, _, done) = interrupted(&files, u64::MAX / 2, act);
    assert!(done && operations > 200, "{operations}");
    let mut counts = [0; 2];
    for at in
        (0..operations).step_by(stride(operations)).chain((operations - 14..operations).step_by(2))
    {
        let (_, disk, done) = interrupted(&files, at, act);
        sim::run(at, async {
            let disk = disk.crash().disk();
            let shards = open(&disk, Path::new(DIR), 9).await.unwrap();
            assert!(content(&shards).await == whole, "{at}");
            let count = shards.count();
            assert!(count == 3 || (count == 2 && !done), "{at}: {count}");
            counts[count as usize - 2] += 1;
            assert_eq!(shard_names(&disk).await.len(), count as usize, "{at}");
            shards.close().await.unwrap();
            drop(shards);
            reshard(&disk, Path::new(DIR), 3).await.unwrap();
            let shards = open(&disk, Path::new(DIR), 9).await.unwrap();
            assert!(shards.count() == 3 && content(&shards).await == whole, "{at}");
            shards.close().await.unwrap();
        });
    }
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn a_snapshot_is_restored_whole_or_not_at_all() {
    let live = SimDisk::new(23);
    let whole = sim::run(23, async {
        let shards = filled(&live.disk()).await;
        shards.snapshot("s", false).await.unwrap();
        let whole = content(&shards).await;
        shards.close().await.unwrap();
        whole
    });
    let (snapshot, target) = ("/data/snapshots/s", "/restored");
    let files: Vec<_> = live.files().into_iter().filter(|(p, _)| p.starts_with(snapshot)).collect();
    let act =
        |disk: Disk| async move { restore(&disk, Path::new(snapshot), Path::new(target)).await };
    let (operations, _, done) = interrupted(&files, u64::MAX / 2, act);
    assert!(done && operations > 100, "{operations}");
    for at in (0..operations).step_by(stride(operations)).chain(operations - 4..operations) {
        let (_, disk, done) = interrupted(&files, at, act);
        sim::run(at, async {
            let disk = disk.crash();
            let opened = open(&disk.disk(), Path::new(target), 2).await;
            if let Ok(shards) = opened {
                let found = content(&shards).await;
                assert!(found == whole || (found.is_empty() && !done), "{at}");
                shards.close().await.unwrap();
                return;
            }
            assert!(!done, "{at}: {}", opened.err().unwrap());
            // The server that could not start has gone.
            let disk = disk.kill().disk();
            restore(&disk, Path::new(snapshot), Path::new(target)).await.unwrap();
            let shards = open(&disk, Path::new(target), 2).await.unwrap();
            assert!(content(&shards).await == whole, "{at}");
            shards.close().await.unwrap();
        });
    }
}

#[test]
fn what_is_damaged_or_in_the_way_is_refused() {
    sim::run(24, async {
        let live = SimDisk::new(24);
        let disk = live.disk();
        let shards = filled(&disk).await;
        shards.close().await.unwrap();
        drop(shards);
        let (data, target) = (Path::new(DIR), Path::new("/restored"));
        let restored = restore(&disk, data, target).await.unwrap();
        assert!(restored.shards == 2 && restored.blocks > 1 && restored.head_series == 6);
        let again = restore(&disk, data, target).await.unwrap_err();
        assert!(matches!(again, Error::NotEmpty { .. }), "{again}");
        let files = live.files();
        let chunks =
            files.iter().find(|(path, _)| path.starts_with(data) && path.ends_with("chunks"));
        live.flip_bit(&chunks.unwrap().0, 99);
        let damaged = restore(&disk, data, Path::new("/other")).await.unwrap_err();
        assert!(matches!(damaged, Error::Corrupt { .. }), "{damaged}");
        let not_whole = open(&disk, Path::new("/other"), 2).await.err().unwrap();
        assert!(not_whole.to_string().contains("interrupted"), "{not_whole}");
        let damaged = reshard(&disk, data, 5).await.unwrap_err();
        assert!(matches!(damaged, Error::Corrupt { .. }), "{damaged}");
        assert_eq!(Manifest::read(&disk, data).await.unwrap().shards, 2);
    });
}
