//! Writing a block in one pass: series in the order of their labels, their chunks in the order of time.
//!
//! Chunks go to one file and series to another as they come; the postings follow when all series are known. What is in memory is
//! bounded: a run of pages for each file, a group of series, one series' chunks, and the postings up to a limit. The block is durable
//! when [`BlockWriter::finish`] returns, and is part of the shard only once the shard's catalog names it.

use std::path::{Path, PathBuf};

use super::dictionary::{GROUP_BYTES, NameTable, ValueGroup, ValuesEncoder};
use super::meta::{BlockMeta, Footer, SeriesGroup};
use super::pages::{Kind, PageWriter};
use super::postings::{PairPostings, PostingsBuilder};
use super::series::{BlockChunk, GROUP_SERIES, GroupEncoder};
use super::{CHUNKS_FILE, INDEX_FILE, block_dir};
use crate::chunk::{ChunkStatistics, Encoding, statistics};
use crate::error::Result;
use crate::index::SeriesRef;
use crate::limits::BLOCK_POSTINGS_BYTES_MAX;
use crate::model::time::{TimeRange, TimestampMs};
use crate::runtime::disk::Disk;

/// What a block is to be, as far as it is known before its series are.
#[derive(Clone, Debug)]
pub struct BlockPlan {
    /// Its number, which no block of the shard has had.
    pub sequence: u32,
    /// 1 if it is cut from the head.
    pub level: u32,
    /// A time that most series begin near.
    pub base_ms: TimestampMs,
    /// The end of the windows that have been cut from the head.
    pub cut_ms: TimestampMs,
    /// The number that the next series of the shard gets.
    pub next_series: SeriesRef,
    /// The blocks that it is compacted from.
    pub sources: Vec<u32>,
}

/// One chunk to be written.
#[derive(Clone, Debug)]
pub struct NewChunk {
    /// Times of its first and its last sample.
    pub range: TimeRange,
    /// How many samples.
    pub samples: u16,
    /// How it is encoded.
    pub encoding: Encoding,
    /// The samples.
    pub bytes: Vec<u8>,
    /// What they have besides floats.
    pub details: Vec<u8>,
    /// The figures of its values, if it has such.
    pub statistics: Option<ChunkStatistics>,
}

/// Writes one block.
pub struct BlockWriter {
    disk: Disk,
    blocks: PathBuf,
    directory: PathBuf,
    plan: BlockPlan,
    chunk_pages: PageWriter,
    index_pages: PageWriter,
    postings: PostingsBuilder,
    group: GroupEncoder,
    /// Figures of the chunks of the group.
    figures: Vec<u8>,
    series_groups: Vec<SeriesGroup>,
    /// Labels and chunks of the series that is being written.
    labels: Vec<u8>,
    chunks: Vec<BlockChunk>,
    meta: BlockMeta,
}

impl BlockWriter {
    /// Begins a block in the directory of blocks `blocks`.
    pub async fn create(disk: &Disk, blocks: &Path, plan: BlockPlan) -> Result<Self> {
        let directory = block_dir(blocks, plan.sequence);
        disk.create_dir_all(&directory).await?;
        let sequence = plan.sequence;
        let chunks = directory.join(CHUNKS_FILE);
        let index = directory.join(INDEX_FILE);
        Ok(BlockWriter {
            chunk_pages: PageWriter::create(disk, &chunks, Kind::Chunks, sequence).await?,
            index_pages: PageWriter::create(disk, &index, Kind::Index, sequence).await?,
            postings: PostingsBuilder::new(disk, &directory, BLOCK_POSTINGS_BYTES_MAX),
            group: GroupEncoder::default(),
            figures: Vec::new(),
            series_groups: Vec::new(),
            labels: Vec::new(),
            chunks: Vec::new(),
            meta: BlockMeta {
                sequence,
                level: plan.level,
                range: TimeRange::new(TimestampMs::MAX, TimestampMs::MIN),
                cut_ms: plan.cut_ms,
                next_series: plan.next_series,
                series: 0,
                samples: 0,
                chunks: 0,
                sources: plan.sources.clone(),
            },
            disk: disk.clone(),
            blocks: blocks.to_owned(),
            directory,
            plan,
        })
    }

    /// Begins a series, whose labels follow those of the one before. One that gets no chunk leaves no trace.
    pub fn begin_series(&mut self, labels: &[u8]) {
        debug_assert!(self.chunks.is_empty());
        self.labels.clear();
        self.labels.extend_from_slice(labels);
    }

    /// Adds a chunk, later than those before, to the series begun last.
    pub async fn push(&mut self, chunk: &NewChunk) -> Result<()> {
        let offset = self.chunk_pages.len();
        self.chunk_pages.write(&chunk.bytes).await?;
        self.chunk_pages.write(&chunk.details).await?;
        self.chunks.push(BlockChunk {
            range: chunk.range,
            offset,
            len: chunk.bytes.len() as u32,
            details_len: chunk.details.len() as u32,
            samples: chunk.samples,
            encoding: chunk.encoding,
        });
        statistics::encode(chunk.statistics.as_ref(), &mut self.figures);
        let range = &mut self.meta.range;
        range.start_ms = range.start_ms.min(chunk.range.start_ms);
        range.end_ms = range.end_ms.max(chunk.range.end_ms);
        self.meta.samples += u64::from(chunk.samples);
        self.meta.chunks += 1;
        Ok(())
    }

    /// Ends the series begun last.
    pub async fn end_series(&mut self) -> Result<()> {
        if self.chunks.is_empty() {
            return Ok(());
        }
        self.group.push(self.plan.base_ms, &self.labels, &self.chunks);
        self.chunks.clear();
        self.postings.push(self.meta.series, &self.labels).await?;
        self.meta.series += 1;
        if self.group.series() == GROUP_SERIES {
            self.end_group().await?;
        }
        Ok(())
    }

    async fn end_group(&mut self) -> Result<()> {
        if self.group.series() > 0 {
            self.series_groups.push(SeriesGroup {
                offset: self.index_pages.len(),
                len: self.group.bytes.len() as u32,
                figures_len: self.figures.len() as u32,
            });
            self.index_pages.write(&self.group.bytes).await?;
            self.index_pages.write(&self.figures).await?;
            self.group.clear();
            self.figures.clear();
        }
        Ok(())
    }

    /// How many samples have been written.
    pub fn samples(&self) -> u64 {
        self.meta.samples
    }

    /// Writes the postings and the footer, and makes everything durable. `None`, and nothing is left, if there was no series.
    pub async fn finish(mut self) -> Result<Option<BlockMeta>> {
        if self.meta.series == 0 {
            self.abandon().await?;
            return Ok(None);
        }
        self.end_group().await?;
        let mut dictionary = Dictionary {
            pages: self.index_pages,
            names: Vec::new(),
            group: ValuesEncoder::default(),
        };
        self.postings.finish(async |pair| dictionary.push(pair).await).await?;
        dictionary.end_group().await?;
        let Dictionary { pages: mut index_pages, names, .. } = dictionary;
        let footer = Footer {
            meta: self.meta,
            base_ms: self.plan.base_ms,
            series_groups: self.series_groups,
            names,
        };
        index_pages.write(&footer.encode()).await?;
        self.chunk_pages.finish().await?;
        index_pages.finish().await?;
        self.disk.sync_dir(&self.directory).await?;
        self.disk.sync_dir(&self.blocks).await?;
        Ok(Some(footer.meta))
    }

    /// Removes what has been written.
    pub async fn abandon(self) -> Result<()> {
        Ok(self.disk.remove_dir_all(&self.directory).await?)
    }
}

/// The part of the index behind the series.
struct Dictionary {
    pages: PageWriter,
    names: Vec<NameTable>,
    group: ValuesEncoder,
}

impl Dictionary {
    async fn push(&mut self, pair: PairPostings<'_>) -> Result<()> {
        let new_name = self.names.last().is_none_or(|table| *table.name != *pair.name);
        if new_name || self.group.bytes.len() >= GROUP_BYTES {
            self.end_group().await?;
        }
        if new_name {
            let name = pair.name.into();
            self.names.push(NameTable { name, values: 0, groups: Vec::new() });
        }
        let table = self.names.last_mut().expect("it was pushed above");
        if self.group.bytes.is_empty() {
            let group = ValueGroup { first: pair.value.into(), offset: self.pages.len(), len: 0 };
            table.groups.push(group);
        }
        table.values += 1;
        self.group.push(pair.value, pair.series, pair.postings);
        Ok(())
    }

    async fn end_group(&mut self) -> Result<()> {
        let open = self.names.last_mut().and_then(|table| table.groups.last_mut());
        if let Some(open) = open.filter(|_| !self.group.bytes.is_empty()) {
            open.len = self.group.bytes.len() as u32;
            self.pages.write(&self.group.bytes).await?;
            self.group.clear();
        }
        Ok(())
    }
}
