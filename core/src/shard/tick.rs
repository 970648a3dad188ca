//! What a shard does in the background, decided in one place: [`Shard::tick`], called about once a second.
//!
//! 1. Open chunks of series that have been idle are sealed, a slice of the series each time.
//! 2. Sealed chunks are spilled to the chunk file when memory holds its share of them. As long as they are few the
//!    log is enough, and the next block takes them from memory: then they are written twice in all. Before a checkpoint those that there are go
//!    to the file too. Unless samples come very fast they are encoded anew to take less; if they do, `recode` makes up for it. The WAL is
//!    synced first: a stored chunk must never be durable before the definition of its series is.
//! 3. When the WAL has grown, a checkpoint is written, and the WAL before it is retired. Its size is bounded by that: what the log
//!    holds is at most what a checkpoint costs to write, or a fixed number of segments; fewer where samples come so fast that chunk files
//!    hold most of them already, since a start would read these for nothing.

use std::cell::Cell;
use std::rc::Rc;

use super::{Inner, Shard};
use crate::checkpoint::CheckpointWriter;
use crate::chunk::{self, Effort};
use crate::chunks::SealedChunk;
use crate::error::Result;
use crate::head::Head;
use crate::head::chunk_list::{ChunkRef, Place};
use crate::head::record::{
    KIND_DELETED, KIND_DETAIL, KIND_EXEMPLARS, KIND_METADATA, KIND_OUT_OF_ORDER, KIND_STATE,
    Record, StateEncoder, encode_deleted, encode_metadata,
};
use crate::head::series::{Series, window};
use crate::index::SeriesRef;
use crate::index::symbols::SymbolList;
use crate::limits::{
    CHECKPOINT_SEGMENTS_MIN, CHECKPOINT_SLICE_BYTES, CHECKPOINT_SPILLED_SAMPLES,
    CHECKPOINT_SPILLED_SEGMENTS_MIN, CHUNK_BATCH_BYTES_MAX, CHUNK_RANGE_MS_MAX, IDLE_MS,
    IDLE_SERIES_PER_TICK, QUIET_SAMPLES_MAX, SPILL_BYTES, SPILL_BYTES_MAX, SPILL_BYTES_MIN,
};
use crate::model::columns::SampleColumns;
use crate::model::time::{TimeRange, TimestampMs};
use crate::runtime::{self, yield_if_needed};

impl Shard {
    /// Does what is due in the background. Returns at once while another call is under way.
    ///
    /// # Errors
    /// When the disk refuses; what was to be done stays due.
    pub async fn tick(&self) -> Result<()> {
        let shard = &self.0;
        if shard.closing.get() || shard.ticking.replace(true) {
            return Ok(());
        }
        let _under_way = UnderWay(&shard.ticking);
        shard.work().await
    }
}

/// Says that a tick is under way until it ends or its future is dropped.
pub(super) struct UnderWay<'a>(pub(super) &'a Cell<bool>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// A sealed chunk on its way to the chunk file.
pub(super) struct Moving {
    pub(super) series: SeriesRef,
    /// How it is encoded, and the place that it still has.
    pub(super) chunk: ChunkRef,
    pub(super) bytes: Rc<[u8]>,
}

/// Encodes chunks as such that do not grow any more.
pub(super) async fn condense(chunks: &mut [Moving]) {
    let mut samples = SampleColumns::new();
    for moving in chunks {
        moving.condense(&mut samples);
        yield_if_needed().await;
    }
}

/// What lies in the log since the last checkpoint.
struct Log {
    segments: u64,
    segment_bytes: u64,
    /// Samples that chunk files hold as well.
    spilled_samples: u64,
}

impl Log {
    /// Whether to write a checkpoint, after one of `checkpoint_bytes`. A replay goes through the whole log, and at full ingest most of
    /// it is in chunk files already.
    fn deserves(&self, checkpoint_bytes: u64) -> bool {
        let min = match self.spilled_samples {
            CHECKPOINT_SPILLED_SAMPLES.. => CHECKPOINT_SPILLED_SEGMENTS_MIN,
            _ => CHECKPOINT_SEGMENTS_MIN,
        };
        self.segments > min.max(2 * checkpoint_bytes / self.segment_bytes)
    }
}

/// How far a checkpoint has come: the next series, and of that the end of the last chunk that is written already.
#[derive(Clone, Copy, Default)]
struct StatePosition {
    number: SeriesRef,
    after_ms: Option<TimestampMs>,
}

impl Inner {
    async fn work(&self) -> Result<()> {
        let samples = self.head.borrow().counts().samples;
        let since = samples.saturating_sub(self.ticked_samples.replace(samples));
        self.quiet.set(since <= QUIET_SAMPLES_MAX);
        self.seal_idle()?;
        let checkpoint = self.checkpoint_is_due();
        if checkpoint || self.spill_is_due() {
            self.spill().await?;
        }
        if checkpoint || self.checkpoint_is_due() {
            self.checkpoint().await?;
        }
        Ok(())
    }

    /// Waits until nothing is under way in the background.
    pub(super) async fn finish_background(&self) {
        while self.ticking.get() || self.maintaining.get() {
            runtime::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    fn seal_idle(&self) -> Result<()> {
        let (series_end, newest_ms) = {
            let head = self.head.borrow();
            (head.next_series(), head.counts().max_ms)
        };
        let first = self.next_idle.get();
        let end = series_end.min(first.saturating_add(IDLE_SERIES_PER_TICK));
        self.next_idle.set(if end == series_end { 0 } else { end });
        self.walk_memory(first, end, end == series_end);
        self.seal_slice(first, end, newest_ms.saturating_sub(IDLE_MS))
    }

    fn spill_is_due(&self) -> bool {
        let share = SPILL_BYTES / self.options.shards.max(1) as usize;
        let bytes = self.head.borrow().backlog().byte_len();
        bytes >= share.clamp(SPILL_BYTES_MIN, SPILL_BYTES_MAX)
    }

    /// Writes the backlog, as it is now, to the chunk file: smaller, unless samples come so fast that there is no time for it.
    pub(super) async fn spill(&self) -> Result<()> {
        self.spill_as(self.quiet.get() || !self.spill_is_due()).await
    }

    /// Writes the backlog, with its chunks encoded anew or as they are.
    pub(super) async fn spill_as(&self, condensed: bool) -> Result<()> {
        let mut left = self.head.borrow().backlog().len();
        while left > 0 {
            self.wal.sync().await?;
            let mut batch = self.head.borrow().next_spill(left);
            left -= batch.len();
            if condensed {
                condense(&mut batch).await;
            }
            self.store(&batch).await?;
            let samples: u64 = batch.iter().map(|moving| u64::from(moving.chunk.count())).sum();
            self.spilled_samples.update(|before| before + samples);
        }
        Ok(())
    }

    /// Writes chunks to the chunk file, and has the head know.
    pub(super) async fn store(&self, chunks: &[Moving]) -> Result<()> {
        let sealed: Vec<SealedChunk<'_>> = chunks.iter().map(Moving::sealed).collect();
        let locations = self.chunks.append(&sealed).await?;
        let mut head = self.head.borrow_mut();
        for (moving, at) in chunks.iter().zip(locations) {
            let place = Place::File { file: at.file, offset: at.offset };
            let &Moving { series, chunk, .. } = moving;
            head.apply(&Record::Moved { series, from: chunk.place(), chunk: chunk.moved(place) });
        }
        Ok(())
    }

    /// Whether the WAL has grown enough for a checkpoint to be worth its cost.
    fn checkpoint_is_due(&self) -> bool {
        let log = Log {
            segments: self.wal.stats().segments as u64,
            segment_bytes: self.options.wal.segment_bytes,
            spilled_samples: self.spilled_samples.get(),
        };
        self.checkpoint_wanted.get() || log.deserves(self.checkpoint_bytes.get())
    }

    /// Writes all series with their chunks in memory, and retires the WAL before them.
    pub(super) async fn checkpoint(&self) -> Result<()> {
        let cut = self.wal.cut().await?;
        let spilled_samples = self.spilled_samples.get();
        let mut writer = CheckpointWriter::begin(&self.disk, &self.directory).await?;
        let (mut from, mut encoder, mut payload) =
            (StatePosition::default(), StateEncoder::new(), Vec::new());
        loop {
            let next = self.head.borrow().encode_states(from, &mut encoder, &mut payload);
            let Some(next) = next else { break };
            writer.write(KIND_STATE, &payload).await?;
            yield_if_needed().await;
            from = next;
        }
        let details = self.head.borrow().details().encode(CHECKPOINT_SLICE_BYTES);
        for payload in details {
            writer.write(KIND_DETAIL, &payload).await?;
        }
        let late = self.head.borrow().out_of_order().encode(CHECKPOINT_SLICE_BYTES);
        for payload in late {
            writer.write(KIND_OUT_OF_ORDER, &payload).await?;
        }
        let exemplars = self.head.borrow().exemplars().encode_all(CHECKPOINT_SLICE_BYTES);
        for payload in exemplars {
            writer.write(KIND_EXEMPLARS, &payload).await?;
        }
        let deletions = self.head.borrow().encode_all_deletions();
        for payload in deletions {
            writer.write(KIND_DELETED, &payload).await?;
        }
        let metadata = self.head.borrow().encode_all_metadata();
        for payload in metadata {
            writer.write(KIND_METADATA, &payload).await?;
        }
        self.checkpoint_bytes.set(writer.finish().await?);
        self.checkpoint_wanted.set(false);
        self.spilled_samples.update(|all| all - spilled_samples);
        self.counters.borrow_mut().checkpoints += 1;
        self.wal.retire(cut).await?;
        Ok(())
    }
}

impl Moving {
    /// Encodes it as a chunk that does not grow any more. One that cannot be decoded stays as it is: whoever reads it will say so.
    fn condense(&mut self, samples: &mut SampleColumns) {
        samples.clear();
        let (encoding, bytes) = (self.chunk.encoding(), &*self.bytes);
        if chunk::decode(encoding, bytes, TimeRange::ALL, samples).is_ok() && !samples.is_empty() {
            let (encoding, bytes) = chunk::seal(&samples.timestamps, &samples.values, Effort::Fast);
            if bytes.len() < self.bytes.len() {
                self.chunk = self.chunk.encoded(encoding, bytes.len());
                self.bytes = bytes.into();
            }
        }
    }

    fn sealed(&self) -> SealedChunk<'_> {
        SealedChunk {
            series: self.series,
            encoding: self.chunk.encoding(),
            range: self.chunk.range(),
            samples: self.chunk.count(),
            bytes: &self.bytes,
        }
    }
}

impl Head {
    /// The first chunks of the backlog, at most `count` and a batch's worth of bytes; those of a window of two hours stand together, so that they
    /// go to one file and leave with it.
    fn next_spill(&self, count: usize) -> Vec<Moving> {
        let mut bytes = 0;
        let first = self.backlog().iter().take(count).take_while(|(_, sealed)| {
            bytes += sealed.bytes.len();
            bytes <= CHUNK_BATCH_BYTES_MAX / 2
        });
        let moving = first.map(|(_, sealed)| Moving {
            series: sealed.series,
            chunk: sealed.chunk,
            bytes: Rc::clone(&sealed.bytes),
        });
        let mut moving: Vec<_> = moving.collect();
        moving.sort_by_key(|moving| window(moving.chunk.range().start_ms, CHUNK_RANGE_MS_MAX));
        moving
    }

    /// Fills `payload` with a slice of the series from `from` on; where to go on, `None` when there are no more.
    fn encode_states(
        &self,
        mut from: StatePosition,
        encoder: &mut StateEncoder,
        payload: &mut Vec<u8>,
    ) -> Option<StatePosition> {
        let end = self.next_series();
        let is_last = from.number >= end;
        while from.number < end && encoder.byte_len() < CHECKPOINT_SLICE_BYTES {
            let series = self.series(from.number);
            let left = series.and_then(|series| self.encode_state(from, series, encoder));
            from = left.unwrap_or(StatePosition { number: from.number + 1, after_ms: None });
        }
        payload.clear();
        encoder.finish(self.symbols(), payload);
        (!is_last).then_some(from)
    }

    /// Adds one series; where to go on if its chunks do not all go into this record.
    fn encode_state(
        &self,
        from: StatePosition,
        series: &Series,
        encoder: &mut StateEncoder,
    ) -> Option<StatePosition> {
        let labels = SymbolList::new(self.symbols_of(series));
        encoder.begin(self.symbols(), from.number, series.fingerprint(), labels);
        for chunk in series.chunks().as_slice() {
            let end_ms = chunk.range().end_ms;
            let Place::Memory { key } = chunk.place() else { continue };
            let Some(sealed) = self.backlog().get(key) else { continue };
            if from.after_ms.is_some_and(|after_ms| end_ms <= after_ms) {
                continue;
            }
            encoder.push_sealed(&sealed.bytes);
            if encoder.byte_len() >= CHECKPOINT_SLICE_BYTES {
                return Some(StatePosition { after_ms: Some(end_ms), ..from });
            }
        }
        if series.open().count() > 0 {
            encoder.push_open(series.open());
        }
        None
    }

    /// Everything that was deleted, in records of bounded length.
    fn encode_all_deletions(&self) -> Vec<Vec<u8>> {
        let mut payloads = vec![Vec::new()];
        for (series, ranges) in self.tombstones().iter() {
            for &range in ranges {
                if payloads.last().is_some_and(|last| last.len() >= CHECKPOINT_SLICE_BYTES) {
                    payloads.push(Vec::new());
                }
                if let Some(last) = payloads.last_mut() {
                    encode_deleted(last, series, range);
                }
            }
        }
        payloads.retain(|payload| !payload.is_empty());
        payloads
    }

    /// Metadata of all metric families, in records of bounded length.
    fn encode_all_metadata(&self) -> Vec<Vec<u8>> {
        let mut payloads = vec![Vec::new()];
        for (family, metadata) in self.metadata().iter() {
            if payloads.last().is_some_and(|last| last.len() >= CHECKPOINT_SLICE_BYTES) {
                payloads.push(Vec::new());
            }
            if let Some(last) = payloads.last_mut() {
                encode_metadata(last, family, metadata);
            }
        }
        payloads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_when_the_log_is_long_for_what_it_costs() {
        for (segments, spilled_samples, checkpoint_bytes, due) in [
            (CHECKPOINT_SEGMENTS_MIN, 0, 0, false),
            (CHECKPOINT_SEGMENTS_MIN + 1, 0, 0, true),
            (1, CHECKPOINT_SPILLED_SAMPLES, 0, false),
            (2, CHECKPOINT_SPILLED_SAMPLES - 1, 0, false),
            (2, CHECKPOINT_SPILLED_SAMPLES, 0, true),
            // A log that is shorter than two checkpoints stays, however much of it is stored.
            (10, CHECKPOINT_SPILLED_SAMPLES, 5_000, false),
            (11, CHECKPOINT_SPILLED_SAMPLES, 5_000, true),
        ] {
            let log = Log { segments, segment_bytes: 1_000, spilled_samples };
            assert_eq!(log.deserves(checkpoint_bytes), due, "{segments} {spilled_samples}");
        }
    }
}
