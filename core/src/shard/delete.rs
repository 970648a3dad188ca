//! Deleting: what matches is hidden at once and for good, and its bytes go when the block they are in is written anew.
//!
//! In the head a deletion is a record, logged and in the checkpoint, by series and range; a cut leaves out what it covers. A block has a file of
//! tombstones beside it. Only what is there can be deleted: a range ends with the newest sample that the series has, so that what is appended later stays.

use super::tick::UnderWay;
use super::{Inner, Shard};
use crate::block::Block;
use crate::error::{Error, Result};
use crate::head::record::{KIND_DELETED, Record, encode_deleted};
use crate::limits::APPEND_RECORD_BYTES;
use crate::model::matcher::Matcher;
use crate::model::time::TimeRange;
use crate::runtime::clock::Instant;
use crate::runtime::{sleep, yield_if_needed};
use crate::wal::Put;

impl Shard {
    /// Deletes the samples in `range` of the series that pass all of `matchers`. Durable when it returns.
    ///
    /// # Errors
    /// When the disk refuses. Part of it may be deleted even so; to ask again is safe.
    pub async fn delete_series(&self, matchers: &[Matcher], range: TimeRange) -> Result<()> {
        let shard = &self.0;
        shard.check_open()?;
        let matchers = &*self.narrowed(matchers);
        let _turn = shard.maintenance_turn().await;
        let deleted = shard.delete(matchers, range).await;
        // Also after an error, since part of it may be deleted.
        shard.changes.borrow_mut().note(Instant::now(), range.start_ms);
        deleted
    }

    /// Writes the blocks anew that something was deleted of.
    pub async fn clean_tombstones(&self) -> Result<()> {
        let shard = &self.0;
        shard.check_open()?;
        let _turn = shard.maintenance_turn().await;
        let blocks = shard.catalog.blocks();
        for block in blocks.iter().filter(|block| !block.tombstones().is_empty()) {
            let meta = block.meta();
            let span_ms = meta.range.end_ms.saturating_sub(meta.range.start_ms);
            if let Err(error) = shard.rewrite(&[meta.sequence], span_ms).await {
                shard.blame(&[meta.sequence], error)?;
            }
        }
        drop(blocks);
        shard.catalog.settle().await?;
        shard.catalog.sweep().await
    }
}

impl Inner {
    /// Waits for the turn of maintenance, so that no block comes or goes until the answer is dropped.
    pub(super) async fn maintenance_turn(&self) -> UnderWay<'_> {
        while self.maintaining.replace(true) {
            sleep(std::time::Duration::from_millis(1)).await;
        }
        UnderWay(&self.maintaining)
    }

    async fn delete(&self, matchers: &[Matcher], range: TimeRange) -> Result<()> {
        self.delete_in_head(matchers, range).await?;
        for block in self.catalog.blocks().iter().filter(|b| b.meta().range.overlaps(range)) {
            match self.delete_in_block(block, matchers, range).await {
                Err(error @ Error::Corrupt { .. }) => {
                    self.catalog.report(block.meta().sequence, &error);
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn delete_in_head(&self, matchers: &[Matcher], range: TimeRange) -> Result<()> {
        let start_ms = range.start_ms.max(self.catalog.cut_ms());
        let range = TimeRange::new(start_ms, range.end_ms);
        let selected: Vec<_> = self.head.borrow().select(matchers, range).collect();
        let mut rest = selected.as_slice();
        while !rest.is_empty() {
            let mut payload = Vec::new();
            let slice = rest.iter().take_while(|(number, last_ms)| {
                encode_deleted(
                    &mut payload,
                    *number,
                    TimeRange::new(start_ms, range.end_ms.min(*last_ms)),
                );
                payload.len() < APPEND_RECORD_BYTES
            });
            let count = (slice.count() + 1).min(rest.len());
            self.wal.buffer(KIND_DELETED, |out| out.put(&payload))?;
            for &(series, last_ms) in &rest[..count] {
                let range = TimeRange::new(start_ms, range.end_ms.min(last_ms));
                self.head.borrow_mut().apply(&Record::Deleted { series, range });
            }
            rest = &rest[count..];
            yield_if_needed().await;
        }
        Ok(self.wal.sync().await?)
    }

    async fn delete_in_block(
        &self,
        block: &Block,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<()> {
        let numbers = block.select(matchers).await?;
        let mut tombstones = (*block.tombstones()).clone();
        block
            .series(&numbers, |number, _, chunks| {
                let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { return };
                let held = TimeRange::new(first.range.start_ms, last.range.end_ms);
                if held.overlaps(range) {
                    let start_ms = range.start_ms.max(held.start_ms);
                    tombstones.add(number, TimeRange::new(start_ms, range.end_ms.min(held.end_ms)));
                }
            })
            .await?;
        if tombstones != *block.tombstones() {
            block.set_tombstones(&self.disk, tombstones).await?;
        }
        Ok(())
    }
}
