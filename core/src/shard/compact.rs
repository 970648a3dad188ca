//! Compaction and retention of a shard: what they do when they are due. What is due is decided in [`crate::compaction::plan`] and [`crate::retention`].

use std::rc::Rc;
use std::slice;

use tracing::info;

use super::{Inner, Shard};
use crate::block::{Block, BlockCursor, BlockMeta, BlockWriter, block_dir};
use crate::catalog::Change;
use crate::compaction::merge::{Source, block_plan, merge};
use crate::compaction::plan::{Plan, effort, plan};
use crate::error::{Error, Result};
use crate::limits::{COMPACT_RETRY_AFTER, TOMBSTONES_SHARE_MAX};
use crate::model::time::TimestampMs;
use crate::retention::{Kept, Retention};
use crate::runtime::clock::Instant;

impl Shard {
    /// What is kept from now on.
    pub fn set_retention(&self, retention: Retention) {
        self.0.retention.set(retention);
    }
}

impl Inner {
    /// Lets go of blocks that are too old or too many.
    pub(super) async fn retain(&self) -> Result<()> {
        let retention = self.retention.get();
        let bytes_max = if retention.bytes.is_some() || retention.percent.is_some() {
            let disk = self.disk.free_space(&self.directory).await?;
            retention.bytes_max(self.options.shards, disk.total)
        } else {
            None
        };
        let blocks = self.catalog.blocks();
        let kept: Vec<Kept> = blocks.iter().map(|b| Kept::new(b.meta(), b.bytes())).collect();
        let in_blocks = kept.iter().map(|block| block.end_ms).max();
        let newest_ms = in_blocks.unwrap_or(i64::MIN).max(self.head.borrow().counts().max_ms);
        let remove = retention.expired(&kept, newest_ms, self.other_bytes(), bytes_max);
        if !remove.is_empty() {
            info!(shard = %self.directory.display(), blocks = ?remove, "blocks are too old or too many");
            self.counters.borrow_mut().blocks_retired += remove.len() as u64;
            self.catalog.change(Change { remove, ..Change::default() }).await?;
            self.changes.borrow_mut().note(Instant::now(), TimestampMs::MIN);
        }
        Ok(())
    }

    /// Bytes on disk that are no blocks.
    fn other_bytes(&self) -> u64 {
        let wal = self.wal.stats().segments as u64 * self.options.wal.segment_bytes;
        wal + self.chunks.bytes() + self.checkpoint_bytes.get()
    }

    /// Compacts what is due next, if anything is.
    pub(super) async fn compact(&self) -> Result<()> {
        let waits = |failed: Instant| failed.elapsed() < COMPACT_RETRY_AFTER;
        if self.compaction_failed.get().is_some_and(waits) {
            return Ok(());
        }
        self.compaction_failed.set(None);
        let due = plan(&self.catalog.metas(), self.catalog.cut_ms(), self.retention.get().time_ms);
        let Some(due) = due.or_else(|| self.much_deleted()) else { return Ok(()) };
        match self.rewrite(&due.sources, due.range_ms).await {
            Ok(()) => {
                self.counters.borrow_mut().compactions += 1;
                Ok(())
            }
            Err(error) => {
                self.compaction_failed.set(Some(Instant::now()));
                self.counters.borrow_mut().compactions_failed += 1;
                self.blame(&due.sources, error)
            }
        }
    }

    /// A block of which so much is deleted that it is written anew.
    fn much_deleted(&self) -> Option<Plan> {
        let blocks = self.catalog.blocks();
        let share = |block: &Block| {
            let meta = block.meta();
            block.tombstones().share(meta.range, meta.series)
        };
        let block = blocks.iter().find(|block| share(block) >= TOMBSTONES_SHARE_MAX)?;
        let range_ms = block.meta().range.len_ms();
        Some(Plan { sources: vec![block.meta().sequence], range_ms })
    }

    /// A damaged block is put aside; the others will be compacted without it.
    pub(super) fn blame(&self, sources: &[u32], error: Error) -> Result<()> {
        let Error::Corrupt { path, .. } = &error else { return Err(error) };
        let inside =
            |&&source: &&u32| path.starts_with(block_dir(self.catalog.blocks_dir(), source));
        match sources.iter().find(inside) {
            Some(&source) => {
                self.catalog.report(source, &error);
                Ok(())
            }
            None => Err(error),
        }
    }

    /// Puts one block that spans `range_ms` in place of others.
    pub(super) async fn rewrite(&self, sources: &[u32], range_ms: i64) -> Result<()> {
        let started = Instant::now();
        let (effort, mut metas, mut opened) = (effort(range_ms), Vec::new(), Vec::new());
        for &sequence in sources {
            let held: Option<Rc<Block>> =
                self.catalog.blocks().iter().find(|b| b.meta().sequence == sequence).cloned();
            let Some(held) = held else { return Ok(()) };
            let cursor = BlockCursor::open(&self.disk, self.catalog.blocks_dir(), sequence).await?;
            let meta: BlockMeta = held.meta().clone();
            // A block that was made of others has its long chunks encoded as the new one shall have them.
            opened.push(Source { cursor, copy: meta.level > 1 });
            metas.push(meta);
        }
        let cut = (self.catalog.cut_ms(), self.catalog.next_series());
        let plan = block_plan(self.catalog.next_block(), &metas, cut);
        let mut writer = BlockWriter::create(&self.disk, self.catalog.blocks_dir(), plan).await?;
        if let Err(error) =
            merge(opened, slice::from_mut(&mut writer), |_| Some(0), effort, || self.check_open())
                .await
        {
            // What cannot be removed now is removed when the shard is opened again.
            let _ = writer.abandon().await;
            return Err(error);
        }
        let written = writer.finish().await?;
        let add = written.as_ref().map(|meta| meta.sequence);
        let remove = sources.to_vec();
        self.catalog.change(Change { add, remove, ..Change::default() }).await?;
        info!(
            shard = %self.directory.display(),
            ?sources,
            block = add,
            samples = written.map_or(0, |meta| meta.samples),
            took_ms = started.elapsed().as_millis() as u64,
            "compacted"
        );
        Ok(())
    }
}
