//! Blocks into one: series by series in the order of labels, each series' chunks in the order of time.
//!
//! A chunk that is long already is copied as it is; shorter ones are decoded and encoded together. Samples with the same time in two blocks are
//! one, the block that stands first in the list has the last word. What is deleted is left out.

use std::cmp::Ordering;

use crate::block::{
    BlockChunk, BlockCursor, BlockMeta, BlockPlan, BlockWriter, CursorSeries, seal_all,
};
use crate::chunk::Effort;
use crate::error::Result;
use crate::limits::COMPACTED_CHUNK_SAMPLES_MAX;
use crate::model::columns::SampleColumns;
use crate::model::labels::Pairs;
use crate::model::time::TimeRange;
use crate::runtime::yield_if_needed;

/// One of the blocks that are merged.
pub struct Source {
    /// Before its first series.
    pub cursor: BlockCursor,
    /// Whether its chunks are encoded as the new ones shall be.
    pub copy: bool,
}

/// Merges blocks into those that `writers` begin: each series, told by its labels in canonical encoding, goes to the one whose number `writer_of`
/// says, or nowhere. `go_on` is asked now and then, and ends it by an error.
pub async fn merge(
    mut sources: Vec<Source>,
    writers: &mut [BlockWriter],
    writer_of: impl Fn(&[u8]) -> Option<usize>,
    effort: Effort,
    go_on: impl Fn() -> Result<()>,
) -> Result<()> {
    let mut next: Vec<Option<CursorSeries>> = Vec::with_capacity(sources.len());
    for source in &mut sources {
        next.push(source.cursor.advance().await?);
    }
    while let Some(labels) = least(&next) {
        let mut merger = Merger { chunks: Vec::new(), pending: SampleColumns::new(), effort };
        for (i, source) in sources.iter_mut().enumerate() {
            if let Some(series) = next[i].take_if(|series| series.labels == labels) {
                let of = |chunk| (i, series.number, chunk);
                merger.chunks.extend(series.chunks.into_iter().map(of));
                next[i] = source.cursor.advance().await?;
            }
        }
        if let Some(writer) = writer_of(&labels).and_then(|number| writers.get_mut(number)) {
            writer.begin_series(&labels);
            merger.run(&mut sources, writer).await?;
            writer.end_series().await?;
        }
        yield_if_needed().await;
        go_on()?;
    }
    Ok(())
}

/// The labels of the series that comes first.
fn least(next: &[Option<CursorSeries>]) -> Option<Vec<u8>> {
    let order = |a: &&CursorSeries, b: &&CursorSeries| {
        let (a, b) = (&a.labels, &b.labels);
        if a == b { Ordering::Equal } else { Pairs::new(a).cmp(Pairs::new(b)) }
    };
    next.iter().flatten().min_by(order).map(|series| series.labels.clone())
}

/// The chunks of one series.
struct Merger {
    /// Each with the source that it comes from, and the number of the series there.
    chunks: Vec<(usize, u32, BlockChunk)>,
    /// Samples that are not encoded yet.
    pending: SampleColumns,
    effort: Effort,
}

impl Merger {
    async fn run(&mut self, sources: &mut [Source], writer: &mut BlockWriter) -> Result<()> {
        // Stable: of chunks that begin together, that of the first source stays first.
        self.chunks.sort_by_key(|(_, _, chunk)| chunk.range.start_ms);
        for at in 0..self.chunks.len() {
            let (i, number, chunk) = self.chunks[at];
            let apart = self.is_apart(at);
            let Source { cursor, copy } = &mut sources[i];
            let deleted = cursor.block().deleted(number);
            let touched = deleted.iter().any(|range| range.overlaps(chunk.range));
            let long = usize::from(chunk.samples) * 2 >= COMPACTED_CHUNK_SAMPLES_MAX;
            if *copy && long && apart && !touched && cursor.block().has_figures() {
                self.flush(writer, 0).await?;
                writer.push(&cursor.read(number, &chunk).await?).await?;
                continue;
            }
            let mut more = SampleColumns::new();
            cursor.read_samples(&chunk, &mut more).await?;
            if touched {
                more.retain_from(0, |t| !deleted.iter().any(|range| range.contains(t)));
            }
            self.add(&more);
            if self.chunks.get(at + 1).is_none_or(|(_, _, next)| self.is_before(next.range)) {
                self.flush(writer, COMPACTED_CHUNK_SAMPLES_MAX).await?;
            }
        }
        self.flush(writer, 0).await
    }

    /// Whether chunk `at` overlaps nothing before or behind it.
    fn is_apart(&self, at: usize) -> bool {
        let range = self.chunks[at].2.range;
        let next = self.chunks.get(at + 1);
        self.is_before(range) && next.is_none_or(|(_, _, next)| range.end_ms < next.range.start_ms)
    }

    /// Whether everything pending is older than `range`.
    fn is_before(&self, range: TimeRange) -> bool {
        self.pending.timestamps.last().is_none_or(|last| *last < range.start_ms)
    }

    fn add(&mut self, more: &SampleColumns) {
        let Some(&first) = more.timestamps.first() else { return };
        if self.is_before(TimeRange::new(first, first)) {
            self.pending.extend_from(more);
        } else {
            self.pending = self.pending.merged(more);
        }
    }

    /// Writes what is pending, in full chunks if there is at least `samples_min`.
    async fn flush(&mut self, writer: &mut BlockWriter, samples_min: usize) -> Result<()> {
        if self.pending.len() < samples_min || self.pending.is_empty() {
            return Ok(());
        }
        let whole = match samples_min {
            0 => self.pending.len(),
            _ => self.pending.len() / samples_min * samples_min,
        };
        let rest = self.pending.split_off(whole);
        let full = std::mem::replace(&mut self.pending, rest);
        for chunk in seal_all(&full, COMPACTED_CHUNK_SAMPLES_MAX, self.effort) {
            writer.push(&chunk).await?;
        }
        Ok(())
    }
}

/// What the new block is, of the blocks that it is made of.
pub fn block_plan(sequence: u32, metas: &[BlockMeta], cut: (i64, u32)) -> BlockPlan {
    let mut sources: Vec<u32> = metas.iter().flat_map(|meta| meta.sources.clone()).collect();
    sources.extend(metas.iter().map(|meta| meta.sequence));
    sources.sort_unstable();
    sources.dedup();
    BlockPlan {
        sequence,
        level: metas.iter().map(|meta| meta.level).max().unwrap_or(0) + 1,
        base_ms: metas.iter().map(|meta| meta.range.start_ms).min().unwrap_or(0),
        cut_ms: cut.0,
        next_series: cut.1,
        sources,
    }
}
