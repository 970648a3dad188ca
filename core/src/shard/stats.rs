//! What a shard tells about itself, for `/metrics` and `/api/v1/status/tsdb`.

use super::{MemoryStats, Shard};
use crate::append::{AppendOutcome, RefusalKind};
use crate::block::BlockMeta;
use crate::chunks::CacheStats;
use crate::head::Head;
use crate::model::labels::METRIC_NAME;
use crate::model::time::TimeRange;
use crate::wal::{ReplayReport, WalStats};

/// Counted since the shard was opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    appended: u64,
    duplicates: u64,
    refused: [u64; RefusalKind::COUNT],
    pub(super) checkpoints: u64,
    pub(super) cuts: u64,
    pub(super) compactions: u64,
    pub(super) compactions_failed: u64,
    pub(super) blocks_retired: u64,
    pub(super) damaged_chunks: u64,
    replayed_records: u64,
    wal_damage: u64,
}

impl Counters {
    pub(super) fn after_replay(report: &ReplayReport) -> Self {
        Counters {
            replayed_records: report.records,
            wal_damage: report.damage_count,
            ..Counters::default()
        }
    }

    pub(super) fn count(&mut self, outcome: &AppendOutcome) {
        self.appended += outcome.appended;
        self.duplicates += outcome.duplicates;
        for (all, more) in self.refused.iter_mut().zip(outcome.refused) {
            *all += more;
        }
    }
}

/// How a shard stands. Counters are since it was opened. Cheap: nothing is walked through.
#[derive(Clone, Debug)]
pub struct ShardStats {
    /// Series in the head.
    pub series: u64,
    /// Series begun.
    pub series_created: u64,
    /// Series that the head has forgotten, since all they had is in blocks.
    pub series_removed: u64,
    /// Blocks that are read.
    pub blocks: u64,
    /// Their bytes.
    pub block_bytes: u64,
    /// Their samples.
    pub block_samples: u64,
    /// The cache of what was read from them.
    pub block_cache: CacheStats,
    /// Blocks, and catalogs of them, that were found damaged.
    pub blocks_damaged: u64,
    /// Chunks that were found damaged when a block was cut.
    pub chunks_damaged: u64,
    /// Blocks cut from the head.
    pub cuts: u64,
    /// Compactions done.
    pub compactions: u64,
    /// Compactions that failed.
    pub compactions_failed: u64,
    /// Blocks that were too old or too many.
    pub blocks_retired: u64,
    /// Samples stored.
    pub samples_appended: u64,
    /// Those of them that came after newer ones of their series.
    pub samples_out_of_order: u64,
    /// Samples that were there already.
    pub samples_duplicate: u64,
    /// Refused samples by [`RefusalKind`].
    pub samples_refused: [u64; RefusalKind::COUNT],
    /// Chunks that take samples.
    pub chunks_open: u64,
    /// Sealed chunks, in memory and in chunk files.
    pub chunks_sealed: u64,
    /// Chunks begun.
    pub chunks_created: u64,
    /// Sealed chunks in memory.
    pub backlog_chunks: u64,
    /// Their bytes.
    pub backlog_bytes: u64,
    /// Bytes of the chunk files.
    pub chunk_file_bytes: u64,
    /// The cache of what was read from them.
    pub chunk_cache: CacheStats,
    /// Bytes of the newest checkpoint.
    pub checkpoint_bytes: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Distinct pairs of label name and value.
    pub symbols: u64,
    /// Metric families with metadata.
    pub metadata_families: u64,
    /// From the oldest sample to the newest; `None` if there is none.
    pub range: Option<TimeRange>,
    /// The write-ahead log.
    pub wal: WalStats,
    /// Length of the segments of the log, in bytes.
    pub wal_bytes: u64,
    /// Records of the log that were replayed on opening.
    pub replayed_records: u64,
    /// Damaged places in the log that were found on opening.
    pub wal_damage: u64,
    /// Where its memory is.
    pub memory: MemoryStats,
}

/// A name and a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelCount {
    /// A metric name, a label name or `name=value`.
    pub name: String,
    /// How many, or bytes.
    pub count: u64,
}

/// The labels that make up the head, as `/api/v1/status/tsdb` shows them: the largest first, at most as many as asked for.
#[derive(Clone, Debug, Default)]
pub struct TopLabels {
    /// Distinct pairs of label name and value.
    pub label_pairs: u64,
    /// Series by metric name.
    pub series_by_metric: Vec<LabelCount>,
    /// Distinct values by label name.
    pub values_by_label: Vec<LabelCount>,
    /// Bytes of the distinct values by label name.
    pub bytes_by_label: Vec<LabelCount>,
    /// Series by pair of label name and value.
    pub series_by_pair: Vec<LabelCount>,
}

impl Shard {
    /// How it stands.
    pub fn stats(&self) -> ShardStats {
        let shard = &self.0;
        let (head, counters) = (shard.head.borrow(), shard.counters.borrow());
        let (counts, wal) = (head.counts(), shard.wal.stats());
        ShardStats {
            series: head.series_count() as u64,
            series_created: counts.series_created,
            series_removed: counts.series_removed,
            blocks: shard.catalog.blocks().len() as u64,
            block_bytes: shard.catalog.bytes(),
            block_samples: shard.catalog.blocks().iter().map(|b| b.meta().samples).sum(),
            block_cache: shard.catalog.pages().stats(),
            blocks_damaged: shard.catalog.damaged_count(),
            chunks_damaged: counters.damaged_chunks,
            cuts: counters.cuts,
            compactions: counters.compactions,
            compactions_failed: counters.compactions_failed,
            blocks_retired: counters.blocks_retired,
            samples_appended: counters.appended,
            samples_out_of_order: counts.samples_out_of_order,
            samples_duplicate: counters.duplicates,
            samples_refused: counters.refused,
            chunks_open: counts.chunks_open,
            chunks_sealed: counts.chunks_sealed,
            chunks_created: counts.chunks_created,
            backlog_chunks: head.backlog().len() as u64,
            backlog_bytes: head.backlog().byte_len() as u64,
            chunk_file_bytes: shard.chunks.bytes(),
            chunk_cache: shard.chunks.cache_stats(),
            checkpoint_bytes: shard.checkpoint_bytes.get(),
            checkpoints: counters.checkpoints,
            symbols: head.symbols().len() as u64,
            metadata_families: head.metadata().len() as u64,
            range: (counts.min_ms <= counts.max_ms)
                .then(|| TimeRange::new(counts.min_ms, counts.max_ms)),
            wal,
            wal_bytes: wal.segments as u64 * shard.options.wal.segment_bytes,
            replayed_records: counters.replayed_records,
            wal_damage: counters.wal_damage,
            memory: shard.memory(),
        }
    }

    /// What its blocks are, the oldest first.
    pub fn blocks(&self) -> Vec<BlockMeta> {
        self.0.catalog.metas()
    }

    /// The labels that make up the head, at most `limit` of each kind. Walks through the index.
    pub fn top_labels(&self, limit: usize) -> TopLabels {
        self.0.head.borrow().top_labels(limit)
    }

    /// Series by value of the label `name`, the largest first, at most `limit`. Walks through the values.
    pub fn value_counts(&self, name: &str, limit: usize) -> Vec<LabelCount> {
        let head = self.0.head.borrow();
        let value = |symbol| head.symbols().pair(symbol).1.to_owned();
        let mut rows: Vec<_> = head.index().label_pairs(name).collect();
        rows.sort_unstable_by_key(|&(_, series)| std::cmp::Reverse(series));
        let rows = rows.into_iter().take(limit);
        rows.map(|(symbol, count)| LabelCount { name: value(symbol), count: count as u64 })
            .collect()
    }

    /// Heap bytes of series, symbols and index, without the chunks. Walks through the index.
    pub fn index_bytes(&self) -> u64 {
        self.0.head.borrow().byte_len() as u64
    }
}

impl Head {
    fn top_labels(&self, limit: usize) -> TopLabels {
        let pair = |symbol| self.symbols().pair(symbol);
        let (mut values, mut bytes, mut pairs, mut metrics) = (vec![], vec![], vec![], vec![]);
        for (name, value_count, _) in self.index().label_counts() {
            values.push((value_count as u64, name.to_owned()));
            let mut held = 0;
            for (symbol, series) in self.index().label_pairs(name) {
                held += pair(symbol).1.len() as u64;
                pairs.push((series as u64, symbol));
                if name == METRIC_NAME {
                    metrics.push((series as u64, pair(symbol).1.to_owned()));
                }
            }
            bytes.push((held, name.to_owned()));
        }
        let label_pairs = pairs.len() as u64;
        let named = |(count, symbol)| {
            let (name, value) = pair(symbol);
            (count, format!("{name}={value}"))
        };
        let pairs = largest(pairs, limit).into_iter().map(named).collect();
        TopLabels {
            label_pairs,
            series_by_metric: counted(largest(metrics, limit)),
            values_by_label: counted(largest(values, limit)),
            bytes_by_label: counted(largest(bytes, limit)),
            series_by_pair: counted(pairs),
        }
    }
}

/// The `limit` largest, the largest first.
fn largest<T: Ord>(mut counts: Vec<(u64, T)>, limit: usize) -> Vec<(u64, T)> {
    counts.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    counts.truncate(limit);
    counts
}

fn counted(counts: Vec<(u64, String)>) -> Vec<LabelCount> {
    counts.into_iter().map(|(count, name)| LabelCount { name, count }).collect()
}
