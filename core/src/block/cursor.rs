//! Going through a block from the first series to the last, as compaction does, past the cache that queries share.

use super::figures::Figures;
use super::reader::{Block, Pages};
use super::series::{BlockChunk, GROUP_SERIES};
use super::writer::NewChunk;
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
    group: VecDeque<CursorSeries>,
    figures: Figures,
    next: u32,
}

/// A series of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct CursorSeries {
    /// Its number.
    pub number: u32,
    /// Its labels in canonical encoding.
    pub labels: Vec<u8>,
    /// Its chunks.
    pub chunks: Vec<BlockChunk>,
}

impl BlockCursor {
    /// Stands before the first series.
    pub async fn open(disk: &Disk, blocks: &Path, sequence: u32) -> Result<Self> {
        let pages = Pages::new(BLOCK_CURSOR_BYTES_MAX);
        let block = Block::open(disk, blocks, sequence, pages).await?;
        Ok(BlockCursor { block, group: VecDeque::new(), figures: Figures::default(), next: 0 })
    }

    /// The block.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Takes the next series; `None` behind the last.
    pub async fn advance(&mut self) -> Result<Option<CursorSeries>> {
        if self.group.is_empty() {
            let end = self.block.meta().series.min(self.next + GROUP_SERIES as u32);
            let numbers: Vec<u32> = (self.next..end).collect();
            let group = &mut self.group;
            let keep = |number, labels: &[u8], chunks: &[BlockChunk]| {
                let (labels, chunks) = (labels.to_vec(), chunks.to_vec());
                group.push_back(CursorSeries { number, labels, chunks });
            };
            self.block.series(&numbers, keep).await?;
            self.next = end;
        }
        Ok(self.group.pop_front())
    }

    /// Appends the samples of a chunk to `out`.
    pub async fn read_samples(&self, chunk: &BlockChunk, out: &mut SampleColumns) -> Result<()> {
        let (bytes, details) = self.block.read_bytes(chunk).await?;
        self.block.decode(chunk, &bytes, &details, out)
    }

    /// A chunk of a series as it is, to be written to another block.
    pub async fn read(&mut self, number: u32, chunk: &BlockChunk) -> Result<NewChunk> {
        let (bytes, details) = self.block.read_bytes(chunk).await?;
        self.block.read_figures(number, &mut self.figures).await?;
        let BlockChunk { range, samples, encoding, .. } = *chunk;
        let statistics = self.figures.of(chunk);
        Ok(NewChunk { range, samples, encoding, bytes, details, statistics })
    }
}
