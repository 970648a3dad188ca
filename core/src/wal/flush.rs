//! Group commit: one flush at a time, each with everything that has arrived since the last began.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::chain::Run;
use super::writer::{Durability, Flushed, Writer};
use super::{Flushing, Position, SyncMode, Wal, WalError};
use crate::runtime::clock::Instant;
use crate::runtime::disk::BLOCK_BYTES;
use crate::runtime::{self, Queue};

/// How often a log that is not synced is written.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// What one flush works on, taken out of the state so that no borrow crosses an await.
struct Batch {
    runs: VecDeque<Run>,
    /// The number behind the last record of `runs`.
    end: u64,
    durability: Durability,
    /// Length of the segment to begin behind them, if one is asked for.
    cut: Option<u64>,
    writer: Writer,
    spares: VecDeque<PathBuf>,
    flushed: Flushed,
    began: Instant,
}

impl Wal {
    /// Has a flush begin soon, unless one is under way: then another follows it.
    pub(super) fn start_flushing(&self) {
        let mut state = self.0.state.borrow_mut();
        if std::mem::replace(&mut state.flushing, Flushing::Wanted) == Flushing::Idle {
            drop(state);
            let wal = self.clone();
            let flushing = async move {
                while let Some(mut batch) = wal.begin_flush() {
                    let outcome = batch.write().await;
                    wal.end_flush(batch, &outcome);
                }
            };
            runtime::spawn_into(Queue::Ingest, flushing).detach();
        }
    }

    /// In the modes that do not flush for every commit: flushes from time to time, as long as the log exists.
    pub(super) fn start_ticking(&self) {
        let every = match self.0.options.sync {
            SyncMode::Commit => return,
            SyncMode::Interval(every) => every,
            SyncMode::Off => WRITE_EVERY,
        };
        let weak = Rc::downgrade(&self.0);
        let ticking = async move {
            loop {
                runtime::sleep(every).await;
                let Some(shared) = weak.upgrade() else { return };
                if shared.state.borrow().chain.bytes() > 0 {
                    Wal(shared).start_flushing();
                }
            }
        };
        runtime::spawn_into(Queue::Ingest, ticking).detach();
    }

    fn begin_flush(&self) -> Option<Batch> {
        let mut state = self.0.state.borrow_mut();
        let wanted = state.flushing == Flushing::Wanted;
        if !wanted && state.waiting.is_empty() && state.cutters.is_empty() {
            state.flushing = Flushing::Idle;
            return None;
        }
        state.flushing = Flushing::Busy;
        let syncs = self.0.options.sync != SyncMode::Off || state.waiting.iter().any(|w| w.sync);
        state.in_flight_bytes = state.chain.bytes();
        let segment_bytes =
            if state.ending { BLOCK_BYTES as u64 } else { self.0.options.segment_bytes };
        Some(Batch {
            runs: state.chain.take(),
            end: state.chain.next_sequence(),
            durability: if syncs { Durability::Synced } else { Durability::Written },
            cut: (!state.cutters.is_empty()).then_some(segment_bytes),
            writer: state.writer.take().expect("one flush at a time"),
            spares: std::mem::take(&mut state.spares),
            flushed: Flushed::default(),
            began: Instant::now(),
        })
    }

    fn end_flush(&self, batch: Batch, outcome: &Result<(), WalError>) {
        let mut guard = self.0.state.borrow_mut();
        let state = &mut *guard;
        state.flushed = batch.runs.front().map_or(batch.end, |run| run.first_sequence);
        state.has_active = batch.writer.is_active();
        state.writer = Some(batch.writer);
        state.spares.extend(batch.spares);
        state.closed.extend(batch.flushed.closed);
        state.chain.put_back(batch.runs);
        state.in_flight_bytes = 0;
        state.stats.flushes += 1;
        state.stats.failures += u64::from(outcome.is_err());
        state.stats.flush_ns += batch.began.elapsed().as_nanos() as u64;
        state.stats.syncs += batch.flushed.syncs;
        state.stats.written_bytes += batch.flushed.bytes;
        let syncs = batch.durability == Durability::Synced;
        let mut waiting = std::mem::take(&mut state.waiting);
        // Whoever waits for a sync learns also that it failed: otherwise flushing would go on for ever.
        for waiter in waiting.extract_if(.., |w| w.end <= batch.end && (syncs || !w.sync)) {
            let done = waiter.end <= state.flushed && (outcome.is_ok() || !waiter.sync);
            // Who no longer awaits the answer does not need it.
            let _ = waiter.answer.send(if done { Ok(()) } else { outcome.clone() });
        }
        state.waiting = waiting;
        if batch.cut.is_some() {
            for cutter in state.cutters.drain(..) {
                let _ = cutter.send(outcome.clone().map(|()| Position(batch.end)));
            }
        }
    }
}

impl Batch {
    async fn write(&mut self) -> Result<(), WalError> {
        let Batch { runs, writer, spares, flushed, .. } = self;
        writer.flush(runs, self.durability, spares, flushed).await?;
        if let Some(segment_bytes) = self.cut {
            writer.cut(self.end, segment_bytes, spares, flushed).await?;
        }
        Ok(())
    }
}
