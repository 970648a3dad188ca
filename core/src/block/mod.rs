//! Blocks: the samples of a stretch of time of one shard, immutable, in the order of their series.
//!
//! ```text
//! blocks/00000007/chunks      chunks of the first series | chunks of the second | ...
//! blocks/00000007/index       groups of series with figures of their chunks | values of labels with postings | footer
//! blocks/00000007/tombstones  what was deleted since, if anything was
//! ```
//!
//! Series are sorted by their labels, so that what a query wants together stands together. Both files are made of checked pages
//! (`pages`); what is drawn in `series`, `dictionary`, `gaps` and `meta` stands in their streams. `docs/formats/block.md` is the page.
//!
//! * [`BlockWriter`] writes one in one pass with bounded memory (`writer`, `postings`);
//! * [`Block`] reads it page by page (`reader`); [`BlockCursor`] goes through all of it (`cursor`);
//! * [`BlockMeta`] is what is known without reading pages.
//!
//! Which blocks a shard has is the business of [`crate::catalog`]. Owned by the shard's core.

mod cursor;
mod details;
mod dictionary;
mod figures;
mod gaps;
mod meta;
mod pages;
mod postings;
mod reader;
mod seal;
mod series;
#[cfg(test)]
mod tests;
mod tombstones;
mod writer;

use std::path::{Path, PathBuf};

pub use cursor::{BlockCursor, CursorSeries};
pub use figures::Figures;
pub use meta::BlockMeta;
pub use reader::{Block, Pages, ReadScratch};
pub use seal::seal_all;
pub use series::BlockChunk;
pub use tombstones::Tombstones;
pub use writer::{BlockPlan, BlockWriter, NewChunk};

const CHUNKS_FILE: &str = "chunks";
const INDEX_FILE: &str = "index";
const TOMBSTONES_FILE: &str = "tombstones";

/// The directory of a block.
pub fn block_dir(blocks: &Path, sequence: u32) -> PathBuf {
    blocks.join(block_name(sequence))
}

/// The name of a block.
pub fn block_name(sequence: u32) -> String {
    format!("{sequence:08}")
}

/// The number of the block with this name, if it is one.
pub fn sequence_of(name: &str) -> Option<u32> {
    let digits = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| name.parse().ok())?
}
