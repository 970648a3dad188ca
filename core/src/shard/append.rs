//! Appending: admit, log, apply, and answer when the log is durable.

use super::admit::{Admission, Bounds, Room};
use super::late::Deferred;
use super::{Inner, Shard};
use crate::append::{AppendBatch, AppendOutcome, SeriesView};
use crate::error::{Error, Result};
use crate::head::record::{KIND_METADATA, Record, encode_metadata};
use crate::limits::{BACKLOG_BYTES_MAX, DETAILS_BYTES_MAX};
use crate::runtime::{clock, yield_if_needed};
use crate::wal::{Position, Put};

impl Shard {
    /// Stores what a batch holds. Returns when it is as durable as [`WalOptions::sync`](crate::wal::WalOptions) promises.
    ///
    /// # Errors
    /// [`Error::Overloaded`] while the disk does not keep up, [`Error::Wal`] when the log cannot be written, [`Error::Closing`]. Part
    /// of the batch may be stored even so; to send it again is safe, since what is there already is accepted.
    pub async fn append(&self, batch: AppendBatch) -> Result<AppendOutcome> {
        let shard = &self.0;
        shard.check_open()?;
        if shard.head.borrow().backlog().byte_len() > BACKLOG_BYTES_MAX {
            return Err(Error::Overloaded { what: "sealed chunks wait for the disk" });
        }
        if batch.has_details() && shard.head.borrow().details().byte_len() > DETAILS_BYTES_MAX {
            return Err(Error::Overloaded { what: "histograms fill their share of memory" });
        }
        shard.wal.room().await?;
        let outcome = shard.append_all(&batch).await?;
        // Not only what this batch has logged: a duplicate may still be on its way to the disk.
        if let Some(last) = shard.wal.next().0.checked_sub(1) {
            if batch.is_patient() {
                drop(batch);
                shard.wal.commit_patiently(Position(last)).await?;
            } else {
                shard.wal.commit(Position(last)).await?;
            }
        }
        Ok(outcome)
    }
}

impl Inner {
    /// Everything but waiting for the disk. A large batch takes several records, with an offer to yield between them.
    async fn append_all(&self, batch: &AppendBatch) -> Result<AppendOutcome> {
        let bounds = Bounds::new(&self.options, clock::now_ms());
        let mut deferred = Vec::new();
        let mut outcome = self.append_bounded(batch, &bounds, &mut deferred).await?;
        if !deferred.is_empty() {
            outcome.merge(self.append_deferred(&deferred, bounds).await?);
        }
        self.append_metadata(batch)?;
        if batch.has_exemplars() {
            self.append_exemplars(batch)?;
        }
        self.counters.borrow_mut().count(&outcome);
        Ok(outcome)
    }

    /// The samples of a batch, but for those that are to be judged again.
    pub(super) async fn append_bounded(
        &self,
        batch: &AppendBatch,
        bounds: &Bounds,
        deferred: &mut Vec<Deferred>,
    ) -> Result<AppendOutcome> {
        let (mut series, mut pending) = (batch.series(), None);
        let (mut outcome, mut left) = (AppendOutcome::default(), batch.series_count());
        while self.append_some(
            &mut series,
            &mut pending,
            bounds,
            &mut outcome,
            &mut left,
            deferred,
        )? {
            yield_if_needed().await;
        }
        Ok(outcome)
    }

    /// Admits, logs and applies as much as one record carries; whether anything is left.
    fn append_some<'a>(
        &self,
        series: &mut impl Iterator<Item = SeriesView<'a>>,
        pending: &mut Option<SeriesView<'a>>,
        bounds: &Bounds,
        outcome: &mut AppendOutcome,
        left: &mut usize,
        deferred: &mut Vec<Deferred>,
    ) -> Result<bool> {
        let before = outcome.counts();
        let room = Room { payload: self.payload.take(), series: *left };
        let (head, mut guard) = (self.head.borrow(), self.guard.borrow_mut());
        let mut admission =
            Admission::take(series, pending, &head, bounds, &mut guard, outcome, room);
        drop((head, guard));
        *left = left.saturating_sub(admission.len());
        deferred.append(&mut admission.deferred);
        if !admission.is_empty() {
            if let Err(error) = self.log(&admission) {
                self.counters.borrow_mut().count(&before);
                return Err(error);
            }
            self.changes.borrow_mut().note(clock::Instant::now(), admission.oldest_ms());
            admission.apply(&mut self.head.borrow_mut());
        }
        let more = pending.is_some() || admission.is_full();
        self.payload.set(std::mem::take(&mut admission.payload));
        Ok(more)
    }

    fn log(&self, admission: &Admission<'_>) -> Result<()> {
        for (kind, payload) in admission.records() {
            if !payload.is_empty() {
                self.wal.buffer(kind, |out| out.put(payload))?;
            }
        }
        Ok(())
    }

    fn append_metadata(&self, batch: &AppendBatch) -> Result<()> {
        for (family, metadata) in batch.metadata() {
            if self.head.borrow().metadata().would_change(family, metadata) {
                let mut payload = Vec::new();
                encode_metadata(&mut payload, family, metadata);
                self.wal.buffer(KIND_METADATA, |out| out.put(&payload))?;
                self.head.borrow_mut().apply(&Record::Metadata { family, metadata });
            }
        }
        Ok(())
    }
}
