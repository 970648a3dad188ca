//! Going through a block from the first series to the last, as compaction does, past the cache that queries share.

use super::reader::{Block, Pages};
use super::series::{BlockChunk, GROUP_SERIES};
use crate::error::Result;
use crate::limits::BLOCK_CURSOR_BYTES_MAX;
use crate::model::columns::SampleColumns;
use crate::runtime::disk::Disk;
use std::collections::VecDeque;
use std::path::Path;

/// A place in a block: one series, and those behind it.
pub struct BlockCursor {
    block: Block,
    /// The series of the group that is being gone through: labels and chunks.
    group: VecDeque<(Vec<u8>, Vec<BlockChunk>)>,
    next: u32,
}

impl BlockCursor {
    /// Stands before the first series.
    pub async fn open(disk: &Disk, blocks: &Path, sequence: u32) -> Result<Self> {
        let pages = Pages::new(BLOCK_CURSOR_BYTES_MAX);
        let block = Block::open(disk, blocks, sequence, pages).await?;
        Ok(BlockCursor { block, group: VecDeque::new(), next: 0 })
    }

    /// The block.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Takes the next series: its number, its labels in canonical encoding, its chunks. `None` behind the last.
    pub async fn advance(&mut self) -> Result<Option<(u32, Vec<u8>, Vec<BlockChunk>)>> {
        if self.group.is_empty() {
            let end = self.block.meta().series.min(self.next + GROUP_SERIES as u32);
            let numbers: Vec<u32> = (self.next..end).collect();
            let group = &mut self.group;
            let keep = |_, labels: &[u8], chunks: &[BlockChunk]| {
                group.push_back((labels.to_vec(), chunks.to_vec()));
            };
            self.block.series(&numbers, keep).await?;
        }
        let series = self.group.pop_front();
        Ok(series.map(|(labels, chunks)| {
            self.next += 1;
            (self.next - 1, labels, chunks)
        }))
    }

    /// Appends the samples of a chunk whose bytes were read to `out`.
    pub fn decode(
        &self,
        chunk: &BlockChunk,
        bytes: &[u8],
        details: &[u8],
        out: &mut SampleColumns,
    ) -> Result<()> {
        self.block.decode(chunk, bytes, details, out)
    }

    /// The bytes of a chunk and of its details.
    pub async fn read_bytes(&self, chunk: &BlockChunk) -> Result<(Vec<u8>, Vec<u8>)> {
        self.block.read_bytes(chunk).await
    }
}
