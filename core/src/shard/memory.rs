//! Where the memory of a shard is, part by part, for `/metrics`.
//!
//! What is counted while it changes is told as it is. Open chunks, lists of chunks and postings are many small allocations: a
//! tick adds up those of the series that it examines for being idle, and when it has come round, their sum is what is told.

use std::cell::Cell;

use super::Inner;
use crate::index::SeriesRef;

/// Heap bytes of a shard by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Records of series, the table that finds them, and their labels as symbols.
    pub series: u64,
    /// Distinct pairs of label name and value.
    pub symbols: u64,
    /// Series by label pair.
    pub postings: u64,
    /// Chunks that take samples.
    pub open_chunks: u64,
    /// Where sealed chunks are.
    pub chunk_lists: u64,
    /// Sealed chunks that are not in a file yet.
    pub sealed_chunks: u64,
    /// Histograms, start timestamps and late samples.
    pub details: u64,
    /// Records that wait to be written to the log.
    pub wal_buffers: u64,
    /// What was read from chunk files.
    pub chunk_cache: u64,
    /// Pages that were read from blocks.
    pub block_cache: u64,
}

impl MemoryStats {
    /// Each part with its name.
    pub fn parts(&self) -> [(&'static str, u64); 10] {
        [
            ("series", self.series),
            ("symbols", self.symbols),
            ("postings", self.postings),
            ("open_chunks", self.open_chunks),
            ("chunk_lists", self.chunk_lists),
            ("sealed_chunks", self.sealed_chunks),
            ("details", self.details),
            ("wal_buffers", self.wal_buffers),
            ("chunk_cache", self.chunk_cache),
            ("block_cache", self.block_cache),
        ]
    }
}

/// What has to be walked through.
#[derive(Clone, Copy, Debug, Default)]
struct Walked {
    open_chunks: usize,
    chunk_lists: usize,
    postings: usize,
}

/// Adds up what has to be walked through, some series at a time.
#[derive(Debug, Default)]
pub(super) struct Walk {
    under_way: Cell<Walked>,
    told: Cell<Walked>,
}

impl Inner {
    /// Goes on with the series from `first` to before `end`, of which the last are `is_last`.
    pub(super) fn walk_memory(&self, first: SeriesRef, end: SeriesRef, is_last: bool) {
        let (head, walk) = (self.head.borrow(), &self.walk);
        let mut sum = walk.under_way.take();
        for series in (first..end).filter_map(|number| head.series(number)) {
            sum.open_chunks += series.open().capacity();
            sum.chunk_lists += series.chunks().byte_len();
        }
        if is_last {
            sum.postings = head.index().byte_len();
            walk.told.set(sum);
        } else {
            walk.under_way.set(sum);
        }
    }

    /// Where the memory is.
    pub(super) fn memory(&self) -> MemoryStats {
        let (head, walked) = (self.head.borrow(), self.walk.told.get());
        MemoryStats {
            series: head.series_bytes() as u64,
            symbols: head.symbols().byte_len() as u64,
            postings: walked.postings as u64,
            open_chunks: walked.open_chunks as u64,
            chunk_lists: walked.chunk_lists as u64,
            sealed_chunks: head.backlog().byte_len() as u64,
            details: (head.details().byte_len() + head.out_of_order().byte_len()) as u64,
            wal_buffers: self.wal.stats().buffered_bytes as u64,
            chunk_cache: self.chunks.cache_stats().bytes,
            block_cache: self.catalog.pages().stats().bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::runtime::sim::{self, SimDisk};
    use crate::shard::tests::{batch, open};

    #[test]
    fn every_part_of_the_head_is_told_of_after_a_tick() {
        sim::run(29, async {
            let shard = open(&SimDisk::new(29)).await;
            assert_eq!(shard.stats().memory.open_chunks, 0);
            let rows: Vec<_> = (0..200).map(|s| (s, 1_000, s as f64)).collect();
            shard.append(batch(&rows)).await.unwrap();
            shard.tick().await.unwrap();
            let memory = shard.stats().memory;
            assert!(memory.open_chunks >= 200 * 12, "{memory:?}");
            assert!(memory.series > memory.symbols && memory.symbols > 200 * 4, "{memory:?}");
            assert!(memory.postings > 0 && memory.sealed_chunks == 0, "{memory:?}");
            let head = shard.0.head.borrow();
            let told = memory.series + memory.symbols + memory.postings + memory.details;
            assert_eq!(told, head.byte_len() as u64);
            assert_eq!(
                memory.parts().iter().map(|(_, bytes)| bytes).sum::<u64>(),
                told + memory.open_chunks + memory.chunk_lists + memory.wal_buffers
            );
        });
    }
}
