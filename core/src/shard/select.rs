//! Selecting: which series, and their samples, of the head and of the blocks.
//!
//! A [`Selection`] pins what it saw. Of the head it keeps of each series the time of its newest sample when it came to it: since samples of a series grow newer but for late ones,
//! reading up to that time later gives what there was, whatever was appended, sealed or spilled meanwhile, and late samples that came since. It keeps the blocks themselves, whose
//! files stay while anybody holds them; and it holds a *pin*, for which the head waits before it forgets what a newer block has. What the blocks of its time
//! hold is never taken from the head, so that no sample is seen twice.
//!
//! What is damaged is left out and told by [`Selection::warnings`]; all else is there.

mod outline;

use std::cell::RefCell;
use std::cmp::Ordering;
use std::ops::Range;
use std::rc::Rc;

use super::{Inner, Shard};
use crate::block::{Block, BlockChunk, Figures, ReadScratch, Tombstones};
use crate::chunk::{self, ChunkError, Encoding};
use crate::chunks::ChunkLocation;
use crate::error::{Error, Result};
use crate::head::Head;
use crate::head::chunk_list::{ChunkRef, Place};
use crate::head::series::Series;
use crate::index::SeriesRef;
use crate::limits::{BLOCK_READ_GAP_BYTES_MAX, SELECT_SLICE_SERIES};
use crate::model::columns::SampleColumns;
use crate::model::labels::{Fingerprint, Labels, Pairs};
use crate::model::matcher::Matcher;
use crate::model::tenant::Tenant;
use crate::model::time::{TimeRange, TimestampMs};
use crate::runtime::{clock, yield_if_needed};

pub use outline::Stretch;

/// Series of one shard at one time.
pub struct Selection {
    shard: Rc<Inner>,
    /// While it is held the head forgets nothing that was there.
    _pin: Rc<()>,
    /// Everything before it is in blocks.
    cut_ms: TimestampMs,
    found: Vec<Found>,
    parts: Vec<Part>,
    series: Vec<Selected>,
    /// The labels of series that the head does not know, one after the other.
    labels: Vec<u8>,
    scratch: RefCell<ReadScratch>,
    warnings: RefCell<Vec<String>>,
    /// Who looks, if labels are to be shown as one tenant may see them.
    tenant: Option<Tenant>,
}

struct Selected {
    /// Its number in the head, and the time of its newest sample when it was selected.
    head: Option<(SeriesRef, TimestampMs)>,
    /// What blocks hold of it, the oldest first.
    parts: Range<u32>,
    /// Where its labels are, if the head does not know it.
    labels: Range<usize>,
}

/// The chunks of one series in one block.
struct Part {
    found: u32,
    /// The series among those found.
    at: u32,
    chunks: Range<u32>,
}

/// What one block holds, series by series in the order of labels.
struct Found {
    block: Rc<Block>,
    labels: Vec<u8>,
    /// Where labels and chunks of each series end.
    ends: Vec<(usize, u32)>,
    chunks: Vec<BlockChunk>,
    /// What was deleted when it was selected.
    tombstones: Rc<Tombstones>,
    /// The number of each series in the block.
    numbers: Vec<u32>,
    /// The figures of chunks that were asked for last.
    figures: RefCell<Figures>,
    /// How far it is worth to read on from each chunk: up to the end of the last of its neighbours that are wanted.
    ahead: Vec<u64>,
}

impl Shard {
    /// The series that pass all of `matchers` and have a chunk with samples in `range`, in no particular order.
    ///
    /// # Errors
    /// [`Error::Closing`].
    pub async fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection> {
        self.0.check_open()?;
        let matchers = &*self.narrowed(matchers);
        let (mut selection, numbers, blocks) = self.select_now(matchers, range);
        let in_head = selection.present(&numbers, range).await;
        for block in blocks {
            match Found::in_block(&block, matchers, range).await {
                Ok(found) if found.ends.is_empty() => {}
                Ok(found) => selection.found.push(found),
                Err(error) => selection.leave_out(&block, error)?,
            }
        }
        selection.merge(in_head).await;
        Ok(selection)
    }

    /// What has to be seen at one moment: the blocks, and the series of the head.
    fn select_now(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> (Selection, Vec<SeriesRef>, Vec<Rc<Block>>) {
        let shard = &self.0;
        let cut_ms = shard.catalog.cut_ms();
        let blocks = shard.catalog.blocks();
        let wanted = blocks.iter().filter(|block| block.meta().range.overlaps(range));
        let head = shard.head.borrow();
        shard.guard.borrow_mut().note_query(&head, matchers, clock::now_ms());
        let aside = shard.catalog.aside(range).into_iter();
        let aside =
            aside.map(|path| format!("samples are missing: block {} was damaged", path.display()));
        let warnings = aside.chain(shard.damage.iter().cloned()).collect();
        let selection = Selection {
            shard: Rc::clone(shard),
            _pin: Rc::clone(&shard.pin.borrow()),
            cut_ms,
            found: Vec::new(),
            parts: Vec::new(),
            series: Vec::new(),
            labels: Vec::new(),
            scratch: RefCell::default(),
            warnings: RefCell::new(warnings),
            tenant: self.1.clone(),
        };
        (selection, head.index().select(head.symbols(), matchers), wanted.cloned().collect())
    }
}

impl Found {
    async fn in_block(block: &Rc<Block>, matchers: &[Matcher], range: TimeRange) -> Result<Self> {
        let numbers = block.select(matchers).await?;
        let mut found = Found {
            block: Rc::clone(block),
            labels: Vec::new(),
            ends: Vec::new(),
            chunks: Vec::new(),
            ahead: Vec::new(),
            tombstones: block.tombstones(),
            numbers: Vec::new(),
            figures: RefCell::default(),
        };
        block
            .series(&numbers, |number, labels, chunks| {
                let before = found.chunks.len();
                let wanted = chunks.iter().filter(|chunk| chunk.range.overlaps(range));
                found.chunks.extend(wanted);
                if found.chunks.len() > before {
                    found.labels.extend_from_slice(labels);
                    found.ends.push((found.labels.len(), found.chunks.len() as u32));
                    found.numbers.push(number);
                }
            })
            .await?;
        found.look_ahead();
        Ok(found)
    }

    fn look_ahead(&mut self) {
        self.ahead = self.chunks.iter().map(BlockChunk::end).collect();
        for i in (1..self.chunks.len()).rev() {
            if self.chunks[i].offset <= self.chunks[i - 1].end() + BLOCK_READ_GAP_BYTES_MAX {
                self.ahead[i - 1] = self.ahead[i];
            }
        }
    }

    fn labels(&self, i: usize) -> &[u8] {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before].0);
        &self.labels[start..self.ends[i].0]
    }

    /// What was deleted of a series.
    fn deleted(&self, i: u32) -> &[TimeRange] {
        self.numbers.get(i as usize).map_or(&[], |number| self.tombstones.of(*number))
    }

    fn chunks(&self, i: usize) -> Range<u32> {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before].1);
        start..self.ends[i].1
    }
}

impl Selection {
    /// How many series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The labels of series `i`, put together each time.
    pub fn labels(&self, i: usize) -> Labels {
        let Selected { head, labels, .. } = &self.series[i];
        let labels = match head {
            Some((number, _)) => self.shard.head.borrow().labels(*number),
            None => Labels::from_encoded(&self.labels[labels.clone()]),
        };
        self.shown(labels.expect("canonical labels, or a series that the head does not forget"))
    }

    fn shown(&self, labels: Labels) -> Labels {
        match &self.tenant {
            Some(tenant) => tenant.show(labels),
            None => labels,
        }
    }

    /// What was left out since it is damaged, for people.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    /// Appends the samples of series `i` in `range` to `out`, in the order of time, staleness markers included.
    ///
    /// # Errors
    /// [`Error::Disk`]. `out` then holds the samples before it.
    pub async fn read(&self, i: usize, range: TimeRange, out: &mut SampleColumns) -> Result<()> {
        let Selected { head, parts, .. } = &self.series[i];
        let from = out.len();
        for part in &self.parts[parts.start as usize..parts.end as usize] {
            let end = out.len();
            self.read_part(part, range, out).await?;
            // Blocks mostly follow each other; those that were imported may overlap.
            out.merge_tail(from, end);
        }
        let Some((number, last_ms)) = *head else { return Ok(()) };
        let range = TimeRange::new(range.start_ms.max(self.cut_ms), range.end_ms.min(last_ms));
        let end = out.len();
        self.shard.read_head(number, range, out, |error| self.leave_out_chunk(error)).await?;
        out.merge_tail(from, end);
        Ok(())
    }

    async fn read_part(
        &self,
        part: &Part,
        range: TimeRange,
        out: &mut SampleColumns,
    ) -> Result<()> {
        let found = &self.found[part.found as usize];
        // Taken and given back, so that no borrow crosses an await.
        let mut scratch = self.scratch.take();
        let from = out.len();
        for at in part.chunks.start as usize..part.chunks.end as usize {
            let (chunk, ahead) = (&found.chunks[at], found.ahead[at]);
            if !chunk.range.overlaps(range) {
                continue;
            }
            let before = out.len();
            let read = found.block.read_chunk(chunk, range, ahead, &mut scratch, out).await;
            if let Err(error) = read {
                out.truncate(before);
                self.leave_out(&found.block, error)?;
            }
        }
        self.scratch.replace(scratch);
        let deleted = found.deleted(part.at);
        if !deleted.is_empty() {
            out.retain_from(from, |t| !deleted.iter().any(|range| range.contains(t)));
        }
        Ok(())
    }

    /// Goes on without a chunk of the head; one of a file is told.
    fn leave_out_chunk(&self, error: Error) -> Result<()> {
        let Error::Corrupt { path, .. } = &error else { return Err(error) };
        let known = path.display().to_string();
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.iter().any(|warning| warning.contains(&known)) {
            warnings.push(format!("samples are missing: {error}"));
        }
        Ok(())
    }

    /// Goes on without what is damaged; any other error ends the query.
    fn leave_out(&self, block: &Block, error: Error) -> Result<()> {
        let Error::Corrupt { .. } = error else { return Err(error) };
        self.shard.catalog.report(block.meta().sequence, &error);
        let mut warnings = self.warnings.borrow_mut();
        let known = format!("block {}", block.dir().display());
        if !warnings.iter().any(|warning| warning.contains(&known)) {
            warnings.push(format!("samples are missing: {known} is damaged ({error})"));
        }
        Ok(())
    }

    /// Those of `numbers`, ascending, that may have samples in `range` in the head, with the time of their newest sample.
    async fn present(&self, numbers: &[SeriesRef], range: TimeRange) -> Vec<InHead> {
        let range = TimeRange::new(range.start_ms.max(self.cut_ms), range.end_ms);
        let mut in_head = Vec::new();
        for numbers in numbers.chunks(SELECT_SLICE_SERIES) {
            {
                let head = self.shard.head.borrow();
                let newest = |&number| Some((number, Some(head.newest_of(number, range)?)));
                in_head.extend(numbers.iter().filter_map(newest));
            }
            yield_if_needed().await;
        }
        in_head
    }

    /// Brings together what blocks and the head have of each series.
    async fn merge(&mut self, mut in_head: Vec<InHead>) {
        let mut next = vec![0; self.found.len()];
        while let Some(least) = self.least(&next) {
            let encoded = self.found[least].labels(next[least]).to_vec();
            let first = self.parts.len() as u32;
            for (i, found) in self.found.iter().enumerate().skip(least) {
                let at = next[i];
                if at < found.ends.len() && found.labels(at) == encoded {
                    self.parts.push(Part {
                        found: i as u32,
                        at: at as u32,
                        chunks: found.chunks(at),
                    });
                    next[i] += 1;
                }
            }
            let parts = first..self.parts.len() as u32;
            let number = if in_head.is_empty() {
                None
            } else {
                self.shard.head.borrow().find(Fingerprint::of(&encoded), &encoded)
            };
            let head = number.and_then(|number| take(&mut in_head, number));
            let labels = self.labels.len();
            if head.is_none() {
                self.labels.extend_from_slice(&encoded);
            }
            self.series.push(Selected { head, parts, labels: labels..self.labels.len() });
            yield_if_needed().await;
        }
        self.found.iter_mut().for_each(|found| found.labels = Vec::new());
        for alone in in_head.chunks(SELECT_SLICE_SERIES) {
            let alone = alone.iter().filter_map(|&(number, newest)| Some((number, newest?)));
            let selected = |head| Selected { head: Some(head), parts: 0..0, labels: 0..0 };
            self.series.extend(alone.map(selected));
            yield_if_needed().await;
        }
    }

    /// The first of the blocks whose next series comes first by its labels.
    fn least(&self, next: &[usize]) -> Option<usize> {
        let left = (0..self.found.len()).filter(|&i| next[i] < self.found[i].ends.len());
        left.min_by(|&a, &b| {
            let (a, b) = (self.found[a].labels(next[a]), self.found[b].labels(next[b]));
            if a == b { Ordering::Equal } else { Pairs::new(a).cmp(Pairs::new(b)) }
        })
    }
}

/// A series of the head, with the time of its newest sample until that is taken.
type InHead = (SeriesRef, Option<TimestampMs>);

/// Takes a series out of those of the head.
fn take(in_head: &mut [InHead], number: SeriesRef) -> Option<(SeriesRef, TimestampMs)> {
    let at = in_head.binary_search_by_key(&number, |(number, _)| *number).ok()?;
    Some((number, in_head[at].1.take()?))
}

impl Inner {
    /// Appends the samples that the head has of a series.
    pub(super) async fn read_head(
        &self,
        number: SeriesRef,
        range: TimeRange,
        out: &mut SampleColumns,
        mut on_damage: impl FnMut(Error) -> Result<()>,
    ) -> Result<()> {
        let from = out.len();
        let stored = self.head.borrow().stored_chunks(number, range);
        if stored.is_empty() {
            self.read_memory(number, range, out)?;
        } else {
            // What is in memory now may be spilled while the disk is awaited.
            let mut newest = SampleColumns::new();
            self.read_memory(number, range, &mut newest)?;
            for location in stored {
                let before = out.len();
                if let Err(error) = self.read_stored(location, range, out).await {
                    out.truncate(before);
                    on_damage(error)?;
                }
            }
            out.extend_from(&newest);
        }
        self.head.borrow().complete(number, range, from, out);
        Ok(())
    }

    fn read_memory(
        &self,
        number: SeriesRef,
        range: TimeRange,
        out: &mut SampleColumns,
    ) -> Result<()> {
        let head = self.head.borrow();
        let Some(series) = head.series(number) else { return Ok(()) };
        head.read_memory(series, range, out).map_err(|error| self.damaged_in_memory(error))
    }

    /// What is said of a chunk in memory that cannot be decoded.
    pub(super) fn damaged_in_memory(&self, error: ChunkError) -> Error {
        Error::Corrupt {
            path: self.directory.clone(),
            offset: 0,
            expected: "a chunk in memory that can be decoded".to_owned(),
            found: error.to_string(),
        }
    }

    pub(super) async fn read_stored(
        &self,
        location: StoredRef,
        range: TimeRange,
        out: &mut SampleColumns,
    ) -> Result<()> {
        let bytes = self.chunks.read(location.at).await?;
        self.decode_stored(location, &bytes, range, out)
    }

    pub(super) fn decode_stored(
        &self,
        location: StoredRef,
        bytes: &[u8],
        range: TimeRange,
        out: &mut SampleColumns,
    ) -> Result<()> {
        chunk::decode(location.encoding, bytes, range, out).map_err(|error| Error::Corrupt {
            path: self.chunks.path(location.at.file),
            offset: u64::from(location.at.offset),
            expected: format!("a chunk of {} bytes", location.at.len),
            found: error.to_string(),
        })
    }
}

/// A chunk to be read from a chunk file.
#[derive(Clone, Copy)]
pub(super) struct StoredRef {
    pub(super) at: ChunkLocation,
    encoding: Encoding,
}

impl StoredRef {
    /// How to read a chunk, if it is in a chunk file.
    pub(super) fn of(chunk: ChunkRef) -> Option<Self> {
        Some(StoredRef { at: chunk.location()?, encoding: chunk.encoding() })
    }
}

impl Head {
    /// The series that pass all of `matchers` and may have samples in `range`, with the time of their newest sample.
    pub(super) fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> impl Iterator<Item = (SeriesRef, TimestampMs)> + use<'_> {
        let selected = self.index().select(self.symbols(), matchers).into_iter();
        selected.filter_map(move |number| Some((number, self.newest_of(number, range)?)))
    }

    /// The time of the newest sample of a series, if it may have samples in `range`.
    pub(super) fn newest_of(&self, number: SeriesRef, range: TimeRange) -> Option<TimestampMs> {
        let series = self.series(number)?;
        let last_ms = series.last_ms()?;
        let overlaps = series.overlaps(range) || self.out_of_order().overlaps(number, range);
        (last_ms >= range.start_ms && overlaps).then_some(last_ms)
    }

    /// The chunks of a series that lie in chunk files, the oldest first.
    pub(super) fn stored_chunks(&self, number: SeriesRef, range: TimeRange) -> Vec<StoredRef> {
        let Some(series) = self.series(number) else { return Vec::new() };
        let chunks = series.chunks().overlapping(range).iter();
        chunks.filter_map(|chunk| StoredRef::of(*chunk)).collect()
    }

    /// Appends the samples of a series that are in memory.
    fn read_memory(
        &self,
        series: &Series,
        range: TimeRange,
        out: &mut SampleColumns,
    ) -> Result<(), ChunkError> {
        for found in series.chunks().overlapping(range) {
            if let Place::Memory { key } = found.place()
                && let Some(sealed) = self.backlog().get(key)
            {
                chunk::decode(found.encoding(), &sealed.bytes, range, out)?;
            }
        }
        if series.open_range().is_some_and(|open| open.overlaps(range)) {
            chunk::decode(Encoding::Xor, series.open_bytes(), range, out)?;
        }
        Ok(())
    }

    /// Adds what is kept beside the chunks to the samples of a series from number `from` on, late samples and details, and
    /// takes out what was deleted.
    pub(super) fn complete(
        &self,
        number: SeriesRef,
        range: TimeRange,
        from: usize,
        out: &mut SampleColumns,
    ) {
        self.out_of_order().merge(number, range, from, out);
        self.details().fill(number, from, out);
        let deleted = self.tombstones().of(number);
        if !deleted.is_empty() {
            out.retain_from(from, |t| !deleted.iter().any(|range| range.contains(t)));
        }
    }

    /// All samples of a series that are in memory.
    pub(super) fn in_memory(&self, series: &Series) -> SampleColumns {
        let mut out = SampleColumns::new();
        // Chunks in memory were just encoded; what cannot be decoded counts as not there.
        let _ = self.read_memory(series, TimeRange::ALL, &mut out);
        out
    }
}
