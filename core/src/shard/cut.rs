//! Cutting a block from the head: [`Shard::maintain`] does it when the head spans more than one and a half windows of two hours, by the time of the
//! samples and not of the clock, and no late sample can come any more.
//!
//! 1. The *floor* rises to the end of the oldest window: the head takes no older sample any more. Chunks before it are sealed, and the next
//!    spill begins a new file.
//! 2. The series are sorted by their labels, a slice at a time, and taken by the batch: those chunks of a batch that are not in memory are read in the order
//!    in which they stand in the files, then its series are encoded anew, in long chunks, and written. A batch is bounded in bytes, so memory is, whatever
//!    the number of series.
//! 3. The catalog names the block. From here on nothing before the floor is taken from the head, live or in recovery.
//! 4. When nobody reads the head of before any more, it forgets: chunks, details, series that have nothing left, and chunk files.
//!
//! A crash before 3 leaves the head as it was and a directory that nobody names; one after it leaves things that recovery skips.

use std::cmp::Ordering;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use tracing::{info, warn};

use super::select::StoredRef;
use super::tick::UnderWay;
use super::{Inner, Shard};
use crate::block::{BlockPlan, BlockWriter, seal_all};
use crate::catalog::Change;
use crate::chunk::{self, Effort, Encoding};
use crate::error::{Error, Result};
use crate::head::Head;
use crate::head::chunk_list::{ChunkRef, Place};
use crate::head::record::{KIND_SEAL, Record, encode_seal};
use crate::head::truncate::Graves;
use crate::index::SeriesRef;
use crate::index::symbols::SymbolList;
use crate::limits::{
    CHECKPOINT_FORGOTTEN_ONE_IN, CHUNK_RANGE_MS_MAX, CUT_BATCH_BYTES_MAX, CUT_CHUNK_SAMPLES_MAX,
    CUT_SLICE_SERIES, HEAD_CHUNKS_MAX,
};
use crate::model::columns::SampleColumns;
use crate::model::time::{TimeRange, TimestampMs};
use crate::runtime::clock::Instant;
use crate::runtime::{sleep, sort_in_turns, yield_if_needed};
use crate::wal::Put;

impl Shard {
    /// Does what takes long in the background: cuts blocks, compacts them, lets go of what is too old. Returns at once while another call is under way.
    ///
    /// # Errors
    /// When the disk refuses; what was to be done stays due.
    pub async fn maintain(&self) -> Result<()> {
        let shard = &self.0;
        if shard.closing.get() || shard.maintaining.replace(true) {
            return Ok(());
        }
        let _under_way = UnderWay(&shard.maintaining);
        match shard.maintain().await {
            Err(Error::Closing) => Ok(()),
            other => other,
        }
    }
}

impl Inner {
    async fn maintain(&self) -> Result<()> {
        self.catalog.settle().await?;
        self.truncate_when_free().await?;
        self.retain().await?;
        self.remove_recoded().await?;
        // Who reads a file that was written anew reads the head of before a cut as well; one after the other.
        while self.truncation.borrow().is_none()
            && self.recoded.borrow().is_none()
            && let Some(cut_ms) = self.cut_is_due()
        {
            self.cut(cut_ms).await?;
            self.truncate_when_free().await?;
        }
        self.compact().await?;
        self.recode().await?;
        self.catalog.sweep().await
    }

    /// The end of the oldest window, if the head spans enough time for that window to be complete.
    fn cut_is_due(&self) -> Option<TimestampMs> {
        let head = self.head.borrow();
        let counts = head.counts();
        let oldest_ms = counts.min_ms.max(head.floor_ms());
        let spanned_ms = counts.max_ms.saturating_sub(oldest_ms);
        let due = counts.min_ms <= counts.max_ms && spanned_ms > CHUNK_RANGE_MS_MAX / 2 * 3;
        if !due {
            return None;
        }
        let end_ms =
            (oldest_ms.div_euclid(CHUNK_RANGE_MS_MAX) + 1).checked_mul(CHUNK_RANGE_MS_MAX)?;
        // Late samples may come until then, unless memory is full of what waits for them.
        let late_ms = self.options.out_of_order_window_ms.load(Relaxed);
        let full = counts.chunks_sealed >= HEAD_CHUNKS_MAX;
        (full || counts.max_ms.saturating_sub(end_ms) >= late_ms).then_some(end_ms)
    }

    async fn cut(&self, cut_ms: TimestampMs) -> Result<()> {
        let started = Instant::now();
        self.seal_before(cut_ms).await?;
        let numbers = self.sorted_series(cut_ms).await;
        let next_series = self.head.borrow().next_series();
        let plan = BlockPlan {
            sequence: self.catalog.next_block(),
            level: 1,
            base_ms: cut_ms - CHUNK_RANGE_MS_MAX,
            cut_ms,
            next_series,
            sources: Vec::new(),
        };
        let mut writer = BlockWriter::create(&self.disk, self.catalog.blocks_dir(), plan).await?;
        if let Err(error) = self.write_series(&mut writer, &numbers, cut_ms).await {
            // What cannot be removed now is removed when the shard is opened again.
            let _ = writer.abandon().await;
            return Err(error);
        }
        let meta = writer.finish().await?;
        let add = meta.as_ref().map(|meta| meta.sequence);
        let cut = Some((cut_ms, next_series));
        self.catalog.change(Change { add, cut, ..Change::default() }).await?;
        let before = self.pin.replace(Rc::new(()));
        self.truncation.replace(Some(before));
        if let Some(meta) = meta {
            self.counters.borrow_mut().cuts += 1;
            info!(
                shard = %self.directory.display(),
                block = meta.sequence,
                series = meta.series,
                samples = meta.samples,
                took_ms = started.elapsed().as_millis() as u64,
                "cut a block from the head"
            );
        }
        Ok(())
    }

    /// Seals everything before `cut_ms`.
    async fn seal_before(&self, cut_ms: TimestampMs) -> Result<()> {
        let _turn = self.turn().await;
        self.head.borrow_mut().raise_floor(cut_ms, 0);
        self.seal_all(cut_ms).await?;
        // Whoever finds the block must find its series in the log.
        self.wal.sync().await?;
        self.chunks.rotate();
        Ok(())
    }

    /// Seals the open chunks that end before a time.
    pub(super) async fn seal_all(&self, idle_before_ms: TimestampMs) -> Result<()> {
        let (mut first, series_end) = (0, self.head.borrow().next_series());
        while first < series_end {
            let end = series_end.min(first.saturating_add(CUT_SLICE_SERIES));
            self.seal_slice(first, end, idle_before_ms)?;
            yield_if_needed().await;
            first = end;
        }
        Ok(())
    }

    /// Seals the open chunks of some series that end before a time.
    pub(super) fn seal_slice(
        &self,
        first: SeriesRef,
        end: SeriesRef,
        idle_before_ms: TimestampMs,
    ) -> Result<()> {
        let mut head = self.head.borrow_mut();
        if head.has_idle(first, end, idle_before_ms) {
            let mut payload = Vec::new();
            encode_seal(&mut payload, first, end, idle_before_ms);
            self.wal.buffer(KIND_SEAL, |out| out.put(&payload))?;
            head.apply(&Record::Seal { first, end, idle_before_ms });
        }
        Ok(())
    }

    /// Waits for the turn of a tick, so that none is under way until the answer is dropped.
    pub(super) async fn turn(&self) -> UnderWay<'_> {
        while self.ticking.replace(true) {
            sleep(std::time::Duration::from_millis(1)).await;
        }
        UnderWay(&self.ticking)
    }

    /// The series with chunks before `cut_ms`, in the order of their labels.
    async fn sorted_series(&self, cut_ms: TimestampMs) -> Vec<SeriesRef> {
        let before = TimeRange::new(TimestampMs::MIN, cut_ms - 1);
        let (mut numbers, mut first) = (Vec::new(), 0);
        let series_end = self.head.borrow().next_series();
        while first < series_end {
            let end = series_end.min(first.saturating_add(CUT_SLICE_SERIES));
            numbers.extend(self.head.borrow().with_chunks(first..end, before));
            yield_if_needed().await;
            first = end;
        }
        sort_in_turns(numbers, |a, b| self.head.borrow().compare_labels(a, b)).await
    }

    async fn write_series(
        &self,
        writer: &mut BlockWriter,
        numbers: &[SeriesRef],
        cut_ms: TimestampMs,
    ) -> Result<()> {
        let before = TimeRange::new(TimestampMs::MIN, cut_ms - 1);
        let mut rest = numbers;
        while !rest.is_empty() {
            let batch = Batch::take(&self.head.borrow(), rest, before)?;
            let chunks = self.read_batch(&batch).await?;
            let mut chunks = batch.chunks.iter().zip(chunks);
            let mut samples = SampleColumns::new();
            for (&number, &count) in rest.iter().zip(&batch.counts) {
                samples.clear();
                for (chunk, stored) in chunks.by_ref().take(count) {
                    let decoded = self.decode_taken(chunk, stored, before, &mut samples);
                    decoded.unwrap_or_else(|error| self.lose_chunk(&error));
                }
                let labels = self.head.borrow().labels(number).expect("a series with chunks stays");
                self.head.borrow().complete(number, before, 0, &mut samples);
                writer.begin_series(labels.encoded());
                for chunk in seal_all(&samples, CUT_CHUNK_SAMPLES_MAX, Effort::Fast) {
                    writer.push(&chunk).await?;
                }
                writer.end_series().await?;
                yield_if_needed().await;
                self.check_open()?;
            }
            rest = &rest[batch.counts.len()..];
        }
        Ok(())
    }

    /// Appends the samples of a chunk: of its bytes in memory, or of those that were read, unless they are damaged.
    fn decode_taken(
        &self,
        chunk: &Taken,
        stored: Option<Vec<u8>>,
        range: TimeRange,
        out: &mut SampleColumns,
    ) -> Result<()> {
        match (chunk, stored) {
            (Taken::Stored(at), Some(bytes)) => self.decode_stored(*at, &bytes, range, out),
            (Taken::Stored(_), None) => Ok(()),
            (Taken::Memory(encoding, bytes), _) => chunk::decode(*encoding, bytes, range, out)
                .map_err(|error| self.damaged_in_memory(error)),
        }
    }

    /// The bytes of the chunks of a batch that are in files, read in the order of their places; none for one that is damaged.
    async fn read_batch(&self, batch: &Batch) -> Result<Vec<Option<Vec<u8>>>> {
        let places = batch.chunks.iter().enumerate().filter_map(|(i, chunk)| match chunk {
            Taken::Stored(stored) => Some((i, stored.at)),
            Taken::Memory(..) => None,
        });
        let mut places: Vec<_> = places.collect();
        places.sort_unstable_by_key(|(_, at)| (at.file, at.offset));
        let mut read = vec![None; batch.chunks.len()];
        for (i, at) in places {
            match self.chunks.read(at).await {
                Ok(bytes) => read[i] = Some(bytes),
                Err(error @ Error::Corrupt { .. }) => self.lose_chunk(&error),
                Err(error) => return Err(error),
            }
            yield_if_needed().await;
        }
        Ok(read)
    }

    /// A chunk that cannot be read does not keep the others from their block.
    fn lose_chunk(&self, error: &Error) {
        warn!(%error, "a damaged chunk is left out of the block that is cut");
        self.counters.borrow_mut().damaged_chunks += 1;
    }

    /// Lets the head forget what is in blocks, once nobody reads the head of before.
    async fn truncate_when_free(&self) -> Result<()> {
        let free = |pin: &Rc<()>| Rc::strong_count(pin) == 1;
        if !self.truncation.borrow().as_ref().is_some_and(free) {
            return Ok(());
        }
        let (mut graves, mut first) = (Graves::default(), 0);
        let series_end = self.head.borrow().next_series();
        while first < series_end {
            let end = series_end.min(first.saturating_add(CUT_SLICE_SERIES));
            self.head.borrow_mut().truncate(first, end, &mut graves);
            yield_if_needed().await;
            first = end;
        }
        self.head.borrow_mut().finish_truncating(&graves);
        let slices = self.head.borrow().pairs_of(&mut graves, CUT_SLICE_SERIES as usize);
        for pairs in slices {
            self.head.borrow_mut().bury(&graves, &pairs);
            yield_if_needed().await;
        }
        self.head.borrow_mut().finish_burying(&graves);
        self.truncation.take();
        let left = self.head.borrow().series_count();
        if graves.len() * CHECKPOINT_FORGOTTEN_ONE_IN > left + graves.len() {
            // The log would bring the dead back for a while.
            self.checkpoint_wanted.set(true);
        }
        self.chunks.remove_before(self.catalog.cut_ms()).await
    }
}

/// Series whose chunks are held in memory together.
struct Batch {
    /// How many chunks each has.
    counts: Vec<usize>,
    chunks: Vec<Taken>,
}

/// A sealed chunk of the head, wherever it is.
enum Taken {
    /// In a chunk file.
    Stored(StoredRef),
    /// In memory, and kept there.
    Memory(Encoding, Rc<[u8]>),
}

impl Batch {
    /// The first of `numbers`, at least one, as many as fit.
    ///
    /// # Errors
    /// When a chunk is neither in a file nor in memory, which cannot be: rather no block than one with a gap.
    fn take(head: &Head, numbers: &[SeriesRef], range: TimeRange) -> Result<Self> {
        let (mut batch, mut bytes) = (Batch { counts: Vec::new(), chunks: Vec::new() }, 0);
        for &number in numbers {
            let before = batch.chunks.len();
            for chunk in head.series(number).map_or(&[][..], |s| s.chunks().overlapping(range)) {
                let taken = head.taken(*chunk);
                let taken = taken.ok_or(Error::Overloaded { what: "a chunk is on its way" })?;
                bytes += chunk.byte_len();
                batch.chunks.push(taken);
            }
            batch.counts.push(batch.chunks.len() - before);
            if bytes >= CUT_BATCH_BYTES_MAX {
                break;
            }
        }
        Ok(batch)
    }
}

impl Head {
    /// A sealed chunk, to be read while others come and go.
    fn taken(&self, chunk: ChunkRef) -> Option<Taken> {
        match chunk.place() {
            Place::Memory { key } => {
                let sealed = self.backlog().get(key)?;
                Some(Taken::Memory(chunk.encoding(), Rc::clone(&sealed.bytes)))
            }
            Place::File { .. } => StoredRef::of(chunk).map(Taken::Stored),
        }
    }

    /// Those of some series that have sealed chunks or late samples in `range`.
    fn with_chunks(&self, numbers: Range<SeriesRef>, range: TimeRange) -> Vec<SeriesRef> {
        let has_chunks = |&number: &SeriesRef| {
            let series = self.series(number);
            series.is_some_and(|series| !series.chunks().overlapping(range).is_empty())
                || self.out_of_order().overlaps(number, range)
        };
        numbers.filter(has_chunks).collect()
    }

    /// Compares two series by their labels, as Prometheus sorts them.
    fn compare_labels(&self, a: SeriesRef, b: SeriesRef) -> Ordering {
        let symbols =
            |number| self.series(number).map_or(&[][..], |series| self.symbols_of(series));
        let (mut a, mut b) = (SymbolList::new(symbols(a)), SymbolList::new(symbols(b)));
        loop {
            match (a.next(), b.next()) {
                (Some(a), Some(b)) if a == b => {}
                (Some(a), Some(b)) => return self.symbols().pair(a).cmp(&self.symbols().pair(b)),
                (a, b) => return a.is_some().cmp(&b.is_some()),
            }
        }
    }
}
