//! Writes runs to segments and makes them durable; begins the next segment when one is full.
//!
//! What happens when the disk refuses:
//! * it is full: the error goes to all who wait, the runs stay in memory, and the next flush writes them again to the
//!   same place. Nothing has to be done when there is room again;
//! * a write or a sync fails: the segment is never written again and never synced again, since the system may by then
//!   have forgotten what it could not write. The runs go to a fresh segment. Their records may so be found in both;
//! * that happens several times in a row: the log is out of service, and says so to everybody.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::chain::Run;
use super::error::WalError;
use super::segment::{self, Active, Closed};
use crate::limits::WAL_FAILURES_MAX;
use crate::runtime::disk::{Disk, DiskError, whole_blocks};

/// Whether a flush ends with a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    Synced,
    Written,
}

/// The end of the log.
pub(super) struct Writer {
    disk: Disk,
    directory: PathBuf,
    segment_bytes: u64,
    active: Option<Active>,
    /// Where in the active segment the runs begin that the caller still holds.
    held_tail: u64,
    /// Where in the active segment what is not durable begins.
    durable_tail: u64,
    next_id: u64,
    failures: u32,
    last_failure: Option<Arc<DiskError>>,
}

/// What a flush has changed.
#[derive(Default)]
pub(super) struct Flushed {
    /// Segments that are now complete.
    pub(super) closed: Vec<Closed>,
    /// Bytes written, padding included.
    pub(super) bytes: u64,
    /// How many times the disk was synced.
    pub(super) syncs: u64,
}

/// Where a flush failed.
enum Failure {
    /// In the active segment.
    Active(DiskError),
    /// Before the next segment took its place.
    Next(DiskError),
}

impl Writer {
    pub(super) fn new(disk: Disk, directory: PathBuf, segment_bytes: u64, next_id: u64) -> Self {
        Writer {
            disk,
            directory,
            segment_bytes,
            active: None,
            held_tail: 0,
            durable_tail: 0,
            next_id,
            failures: 0,
            last_failure: None,
        }
    }

    /// Whether there is a segment to write to.
    pub(super) fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// Writes `runs`, oldest first, and takes out of them those that are durable, or written if that is all that is asked.
    pub(super) async fn flush(
        &mut self,
        runs: &mut VecDeque<Run>,
        durability: Durability,
        spares: &mut VecDeque<PathBuf>,
        flushed: &mut Flushed,
    ) -> Result<(), WalError> {
        while self.failures < WAL_FAILURES_MAX {
            match self.try_flush(runs, durability, spares, flushed).await {
                Ok(()) => {
                    self.failures = 0;
                    return Ok(());
                }
                Err(Failure::Active(error)) if !error.is_no_space() => {
                    self.failures += 1;
                    self.last_failure = Some(Arc::new(error));
                    self.abandon(runs, flushed);
                }
                Err(Failure::Active(error) | Failure::Next(error)) => {
                    self.rewind();
                    return Err(error.into());
                }
            }
        }
        let last = self.last_failure.clone().expect("failures were counted");
        Err(WalError::OutOfService { failures: self.failures, last })
    }

    async fn try_flush(
        &mut self,
        runs: &mut VecDeque<Run>,
        durability: Durability,
        spares: &mut VecDeque<PathBuf>,
        flushed: &mut Flushed,
    ) -> Result<(), Failure> {
        self.held_tail = self.active.as_ref().map_or(0, |active| active.tail);
        let mut written = 0;
        while written < runs.len() {
            if !self.has_room_for(&runs[written]) {
                self.sync(flushed).await.map_err(Failure::Active)?;
                runs.drain(..written);
                written = 0;
                let first = runs[0].first_sequence;
                let begun = self.begin_segment(first, self.segment_bytes, spares, flushed).await;
                begun.map_err(Failure::Next)?;
            }
            self.write(&mut runs[written], flushed).await.map_err(Failure::Active)?;
            written += 1;
        }
        if durability == Durability::Synced {
            self.sync(flushed).await.map_err(Failure::Active)?;
        }
        runs.clear();
        Ok(())
    }

    fn has_room_for(&self, run: &Run) -> bool {
        self.active.as_ref().is_some_and(|active| {
            active.tail + whole_blocks(run.bytes) as u64 <= active.header.segment_bytes
        })
    }

    async fn write(&mut self, run: &mut Run, flushed: &mut Flushed) -> Result<(), DiskError> {
        let active = self.active.as_mut().expect("a segment with room was begun");
        run.seal(&active.header, active.tail == self.durable_tail);
        active.file.write_at(&mut run.buffer, active.tail).await?;
        active.tail += run.buffer.len() as u64;
        flushed.bytes += run.buffer.len() as u64;
        Ok(())
    }

    async fn sync(&mut self, flushed: &mut Flushed) -> Result<(), DiskError> {
        if let Some(active) = &self.active
            && active.tail > self.durable_tail
        {
            active.file.sync_data().await?;
            flushed.syncs += 1;
            (self.held_tail, self.durable_tail) = (active.tail, active.tail);
        }
        Ok(())
    }

    async fn begin_segment(
        &mut self,
        first_sequence: u64,
        segment_bytes: u64,
        spares: &mut VecDeque<PathBuf>,
        flushed: &mut Flushed,
    ) -> Result<(), DiskError> {
        let header = segment::header(self.next_id, first_sequence, segment_bytes);
        let spare = spares.pop_front();
        let begun = segment::begin(&self.disk, &self.directory, header, spare.as_deref()).await;
        let next = match begun {
            Ok(next) => next,
            Err(error) => {
                // A full disk has not harmed the spare; a disk that fails otherwise may have.
                spares.extend(spare.filter(|_| error.is_no_space()));
                return Err(error);
            }
        };
        self.next_id += 1;
        (self.held_tail, self.durable_tail) = (next.tail, next.tail);
        if let Some(full) = self.active.replace(next) {
            let id = full.header.id;
            flushed.closed.push(Closed { id, end_sequence: first_sequence, tainted: false });
        }
        Ok(())
    }

    /// Begins a segment of a length with the record `next_sequence`, unless the active one does and is no longer. All before it must be
    /// flushed.
    pub(super) async fn cut(
        &mut self,
        next_sequence: u64,
        segment_bytes: u64,
        spares: &mut VecDeque<PathBuf>,
        flushed: &mut Flushed,
    ) -> Result<(), WalError> {
        let there = |active: &Active| {
            active.header.first_sequence == next_sequence
                && active.header.segment_bytes <= segment_bytes
        };
        if self.active.as_ref().is_some_and(there) {
            return Ok(());
        }
        self.sync(flushed).await?;
        self.begin_segment(next_sequence, segment_bytes, spares, flushed).await?;
        Ok(())
    }

    /// Forgets what was written of the runs that are still held: they will be written again to the same place.
    fn rewind(&mut self) {
        if let Some(active) = &mut self.active {
            active.tail = self.held_tail;
        }
    }

    /// Gives up the active segment; the runs that are still held go to the next one.
    fn abandon(&mut self, runs: &VecDeque<Run>, flushed: &mut Flushed) {
        if let Some(failed) = self.active.take() {
            let first = failed.header.first_sequence;
            let end_sequence = runs.front().map_or(first, |run| run.first_sequence);
            flushed.closed.push(Closed { id: failed.header.id, end_sequence, tainted: true });
        }
    }
}
