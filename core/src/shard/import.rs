//! Blocks of samples from elsewhere: written beside those that are cut from the head, in one pass.
//!
//! An imported block may overlap others and the head in time: reading merges them, and where two have a sample at one time the
//! block that begins earlier counts. Compaction makes one of them later. The block is part of the shard when [`BlockImport::finish`]
//! returns; what a crash leaves of an unfinished one is removed when the shard is opened.

use std::rc::Rc;

use super::{Inner, Shard};
use crate::block::{BlockPlan, BlockWriter, seal_all};
use crate::catalog::Change;
use crate::chunk::Effort;
use crate::error::Result;
use crate::limits::CUT_CHUNK_SAMPLES_MAX;
use crate::model::columns::SampleColumns;
use crate::model::time::TimestampMs;
use crate::runtime::clock::Instant;
use crate::runtime::yield_if_needed;

/// A block that is being imported.
pub struct BlockImport {
    shard: Rc<Inner>,
    writer: BlockWriter,
}

impl Shard {
    /// Begins a block whose samples mostly begin near `base_ms`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn import(&self, base_ms: TimestampMs) -> Result<BlockImport> {
        let shard = &self.0;
        shard.check_open()?;
        let plan = BlockPlan {
            sequence: shard.catalog.next_block(),
            level: 1,
            base_ms,
            cut_ms: shard.catalog.cut_ms(),
            next_series: shard.head.borrow().next_series(),
            sources: Vec::new(),
        };
        let writer = BlockWriter::create(&shard.disk, shard.catalog.blocks_dir(), plan).await?;
        Ok(BlockImport { shard: Rc::clone(shard), writer })
    }
}

impl BlockImport {
    /// Adds a series with its samples in the order of time. Series come in the order of their labels, as Prometheus sorts them;
    /// `labels` is a canonical encoding.
    pub async fn push(&mut self, labels: &[u8], samples: &SampleColumns) -> Result<()> {
        self.writer.begin_series(labels);
        for chunk in seal_all(samples, CUT_CHUNK_SAMPLES_MAX, Effort::Fast) {
            self.writer.push(&chunk).await?;
        }
        self.writer.end_series().await?;
        yield_if_needed().await;
        Ok(())
    }

    /// Makes the block a part of the shard. One without samples leaves no trace.
    pub async fn finish(self) -> Result<()> {
        let Some(meta) = self.writer.finish().await? else { return Ok(()) };
        let add = Some(meta.sequence);
        self.shard.catalog.change(Change { add, ..Change::default() }).await?;
        self.shard.changes.borrow_mut().note(Instant::now(), meta.range.start_ms);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::model::columns::SampleColumns;
    use crate::model::time::TimeRange;
    use crate::runtime::sim::{self, SimDisk};
    use crate::shard::Shard;
    use crate::shard::tests::{batch, labels, open, read_all};

    /// Samples of these times, with this value.
    fn samples(times: impl IntoIterator<Item = i64>, value: f64) -> SampleColumns {
        let mut columns = SampleColumns::new();
        times.into_iter().for_each(|t| columns.push(t, value));
        columns
    }

    /// Compares what is there with what the test below imports.
    async fn check(shard: &Shard) {
        let found = read_all(shard, TimeRange::ALL).await.unwrap();
        let of = |series| {
            let samples = found[&labels(series)].iter();
            samples.map(|(t, v)| (*t, f64::from_bits(*v))).collect::<Vec<_>>()
        };
        // Of two blocks the one that begins earlier counts, and blocks before the head.
        let expected =
            [(1_000, 1.0), (1_500, 3.0), (2_000, 3.0), (2_500, 3.0), (3_000, 3.0), (3_500, 2.0)];
        assert_eq!(of(0), expected);
        assert_eq!(of(1), [(1_500, 3.0), (2_000, 2.0)]);
    }

    #[test]
    fn imported_blocks_are_merged_with_what_is_there() {
        sim::run(4, async {
            let disk = SimDisk::new(4);
            let shard = open(&disk).await;
            shard.append(batch(&[(0, 1_000, 1.0), (0, 3_000, 1.0)])).await.unwrap();
            for (from, value) in [(2_000, 2.0), (1_500, 3.0)] {
                let mut block = shard.import(from).await.unwrap();
                let times = (0..4).map(|i| from + i * 500);
                block.push(labels(0).encoded(), &samples(times, value)).await.unwrap();
                block.push(labels(1).encoded(), &samples([from], value)).await.unwrap();
                block.finish().await.unwrap();
            }
            shard.import(0).await.unwrap().finish().await.unwrap();
            check(&shard).await;
            check(&*open(&disk.kill()).await).await;
        });
    }
}
