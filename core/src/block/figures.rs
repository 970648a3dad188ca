//! Figures of the chunks of a block: what its index tells of their values, so that who wants a sum over days need not decode them.
//!
//! ```text
//! figures   of each chunk of the group of series before, in its order: as `chunk::statistics` draws it
//! ```
//!
//! They stand behind the group that they belong to, apart from it, so that who wants series alone does not go through them.

use super::series::{BlockChunk, GroupDecoder};
use crate::chunk::{ChunkStatistics, statistics};
use crate::head::record::Input;

/// The figures of the chunks of a group of neighbours, as [`Block::read_figures`](super::Block::read_figures) brings them.
#[derive(Debug, Default)]
pub struct Figures {
    /// The block and the group that they are of.
    of: Option<(u32, usize)>,
    /// By where each chunk begins, ascending.
    chunks: Vec<(u64, Option<ChunkStatistics>)>,
}

impl Figures {
    /// What is known of a chunk of the series that they were brought for.
    pub fn of(&self, chunk: &BlockChunk) -> Option<ChunkStatistics> {
        let found = self.chunks.binary_search_by_key(&chunk.offset, |(offset, _)| *offset);
        found.ok().and_then(|at| self.chunks[at].1)
    }

    pub(super) fn is_of(&self, block: u32, group: usize) -> bool {
        self.of == Some((block, group))
    }

    pub(super) fn set_of(&mut self, block: u32, group: usize) {
        self.of = Some((block, group));
    }

    /// Puts the figures of a group in place of those that are there; `None` if the bytes make no sense.
    pub(super) fn fill(&mut self, mut series: GroupDecoder<'_>, figures: &[u8]) -> Option<()> {
        self.of = None;
        self.chunks.clear();
        let (mut input, mut whole) = (Input { bytes: figures }, true);
        while series.has_next() {
            series.read(|chunk| {
                let read = statistics::decode(&mut input, u64::from(chunk.samples));
                whole &= read.is_ok();
                self.chunks.push((chunk.offset, read.ok().flatten()));
            })?;
        }
        (whole && input.bytes.is_empty()).then_some(())
    }
}
