//! The write-ahead log of a shard: what is acknowledged is here first, durably.
//!
//! ```text
//!   buffer ──▶ chain of runs in memory ──flush──▶ segment (write, fdatasync) ──▶ commit returns
//!              (bounded)                          00000008.wal  00000009.wal
//! ```
//!
//! The log knows records as a kind and bytes; [`head::record`](crate::head::record) says what they mean. [`Wal::buffer`] encodes a record into the
//! memory it will be written from and never waits. [`Wal::commit`] waits until it is durable: one flush at a time carries
//! everything that has arrived meanwhile, so the more callers wait, the more share one fdatasync. Every record has a
//! [`Position`], a number without gaps; [`Wal::cut`] and [`Wal::retire`] free the segments before a position.
//!
//! * `format`: the bytes, and `docs/formats/wal.md`
//! * `chain`: records in memory
//! * `segment`: files, their begin and their reuse
//! * `flush`, `writer`: group commit, and what happens when the disk refuses
//! * `replay`: reading it all back
//!
//! A log belongs to the core that opened it.

mod chain;
mod error;
mod flush;
mod format;
mod replay;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

pub use chain::{Payload, Put};
pub use error::{Damage, WalError};
pub use replay::ReplayReport;

use crate::error::Result;
use crate::limits::{
    WAL_BUFFERED_BYTES_MAX, WAL_RECORD_BYTES_MAX, WAL_RUN_BYTES, WAL_SEGMENT_BYTES, WAL_SPARES_MAX,
};
use crate::runtime;
use crate::runtime::disk::{BLOCK_BYTES, Disk};
use crate::runtime::mailbox::local::{OneshotSender, oneshot};
use chain::Chain;
use segment::Closed;
use writer::Writer;

/// The number of a record in its log: ascending, without gaps, for the life of the shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// How long a [patient](Wal::commit_patiently) commit lets others arrive.
const PATIENCE: Duration = Duration::from_millis(20);

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// When it is durable: nothing acknowledged is lost by kill or power loss.
    Commit,
    /// At once; everything is made durable this often. A kill or a power loss loses that much.
    Interval(Duration),
    /// At once; it is written every second and never synced. A kill loses up to a second, a power loss any amount.
    Off,
}

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// When a commit counts as done.
    pub sync: SyncMode,
    /// Length of a segment; whole blocks.
    pub segment_bytes: u64,
    /// Bytes that may wait to be written.
    pub buffered_bytes_max: usize,
}

impl Default for WalOptions {
    fn default() -> Self {
        WalOptions {
            sync: SyncMode::Commit,
            segment_bytes: WAL_SEGMENT_BYTES,
            buffered_bytes_max: WAL_BUFFERED_BYTES_MAX,
        }
    }
}

impl WalOptions {
    /// The largest record that a log with these options takes.
    pub fn record_bytes_max(&self) -> usize {
        let segment = self.segment_bytes as usize - 2 * BLOCK_BYTES;
        WAL_RECORD_BYTES_MAX.min(segment - format::FRAME_HEADER_BYTES)
    }
}

/// What a log has done since it was opened, and how it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalStats {
    /// Records buffered.
    pub records: u64,
    /// Flushes tried.
    pub flushes: u64,
    /// Flushes that failed.
    pub failures: u64,
    /// Times the disk was synced for records.
    pub syncs: u64,
    /// Time that all flushes took, in ns.
    pub flush_ns: u64,
    /// Bytes written, padding included.
    pub written_bytes: u64,
    /// Bytes that wait to be written.
    pub buffered_bytes: usize,
    /// Segments that hold records, the active one included.
    pub segments: usize,
}

/// A log. Clones are the same log.
#[derive(Clone)]
pub struct Wal(Rc<Shared>);

struct Shared {
    disk: Disk,
    directory: PathBuf,
    options: WalOptions,
    state: RefCell<State>,
}

struct State {
    chain: Chain,
    /// Away while a flush is under way.
    writer: Option<Writer>,
    /// All records before this number are flushed.
    flushed: u64,
    /// Bytes of the flush under way.
    in_flight_bytes: usize,
    waiting: Vec<Waiter>,
    flushing: Flushing,
    cutters: Vec<OneshotSender<Result<Position, WalError>>>,
    /// Whether the segment that the next cut begins is the last for now, and holds nothing.
    ending: bool,
    closed: VecDeque<Closed>,
    spares: VecDeque<PathBuf>,
    has_active: bool,
    retiring: bool,
    stats: WalStats,
}

/// Whether there is a task that flushes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flushing {
    /// There is none.
    Idle,
    /// It is at work.
    Busy,
    /// It is at work or about to be, and another flush is asked for.
    Wanted,
}

/// One who waits until all records before a number are flushed.
struct Waiter {
    end: u64,
    /// Whether only a flush with a sync will do.
    sync: bool,
    answer: OneshotSender<Result<(), WalError>>,
}

impl Wal {
    /// Reads the log in `directory`, which is made when missing, hands every record to `on_record`, and opens it to
    /// write behind the last. Damage is in the report; an error means that it cannot be read at all.
    ///
    /// # Panics
    /// When the length of a segment in `options` is not a multiple of [`BLOCK_BYTES`] with room for records.
    pub async fn open(
        disk: Disk,
        directory: &Path,
        options: WalOptions,
        on_record: impl FnMut(Position, u8, &[u8]) -> Result<()>,
    ) -> Result<(Wal, ReplayReport)> {
        assert!(
            options.segment_bytes.is_multiple_of(BLOCK_BYTES as u64),
            "segments are whole blocks"
        );
        assert!(options.segment_bytes >= 4 * BLOCK_BYTES as u64, "segments have room for records");
        disk.create_dir_all(directory).await?;
        let listing = segment::list(&disk, directory).await?;
        let (report, ends) = replay::replay(&disk, directory, &listing.segments, on_record).await?;
        let next_id = listing.segments.last().map_or(1, |last| last + 1);
        let run_bytes = WAL_RUN_BYTES.min(options.segment_bytes as usize - BLOCK_BYTES);
        let next = ends.next_sequence;
        let state = State {
            chain: Chain::new(disk.clone(), run_bytes, options.record_bytes_max(), next),
            writer: Some(Writer::new(
                disk.clone(),
                directory.to_owned(),
                options.segment_bytes,
                next_id,
            )),
            flushed: next,
            in_flight_bytes: 0,
            waiting: Vec::new(),
            flushing: Flushing::Idle,
            cutters: Vec::new(),
            ending: false,
            closed: closed_segments(&listing.segments, &ends),
            spares: listing.spares,
            has_active: false,
            retiring: false,
            stats: WalStats::default(),
        };
        let directory = directory.to_owned();
        let wal = Wal(Rc::new(Shared { disk, directory, options, state: RefCell::new(state) }));
        wal.start_ticking();
        Ok((wal, report))
    }

    /// Encodes a record into the log's buffer. It is not durable before [`Wal::commit`] returns for its position. An
    /// error leaves no trace of it.
    pub fn buffer(
        &self,
        kind: u8,
        encode: impl FnOnce(&mut Payload<'_>),
    ) -> Result<Position, WalError> {
        debug_assert!(kind != 0, "kind 0 is no record");
        let mut state = self.0.state.borrow_mut();
        let bytes = state.chain.bytes() + state.in_flight_bytes;
        if bytes >= self.0.options.buffered_bytes_max {
            return Err(WalError::Full { bytes });
        }
        let sequence = state.chain.push(kind, encode)?;
        state.stats.records += 1;
        let early = self.0.options.sync != SyncMode::Commit && state.chain.bytes() >= WAL_RUN_BYTES;
        drop(state);
        if early {
            self.start_flushing();
        }
        Ok(Position(sequence))
    }

    /// Whether [`Wal::buffer`] takes another record now.
    pub fn has_room(&self) -> bool {
        let state = self.0.state.borrow();
        state.chain.bytes() + state.in_flight_bytes < self.0.options.buffered_bytes_max
    }

    /// Waits until [`Wal::buffer`] takes another record, or the log cannot be written.
    pub async fn room(&self) -> Result<(), WalError> {
        while !self.has_room() {
            self.flushed(self.next(), false).await?;
        }
        Ok(())
    }

    /// Waits until the record at `position`, and all before it, are as durable as [`SyncMode`] promises. After an error
    /// they are still in memory and may become durable later, but nobody may be told that they are.
    pub async fn commit(&self, position: Position) -> Result<(), WalError> {
        match self.0.options.sync {
            SyncMode::Commit => self.flushed(Position(position.0 + 1), false).await,
            SyncMode::Interval(_) | SyncMode::Off => Ok(()),
        }
    }

    /// The same for a caller that has time: lets others arrive first, so that many share one flush, which costs the same for one.
    pub async fn commit_patiently(&self, position: Position) -> Result<(), WalError> {
        let flushed = position.0 < self.0.state.borrow().flushed;
        if self.0.options.sync == SyncMode::Commit && !flushed {
            runtime::sleep(PATIENCE).await;
        }
        self.commit(position).await
    }

    /// Makes everything buffered so far durable, in any mode.
    pub async fn sync(&self) -> Result<(), WalError> {
        self.flushed(self.next(), true).await
    }

    /// The position that the next record gets.
    pub fn next(&self) -> Position {
        Position(self.0.state.borrow().chain.next_sequence())
    }

    /// Begins a new segment behind everything buffered so far, which becomes durable, and returns the position it begins
    /// with. Records before that position lie in segments that [`Wal::retire`] can free.
    pub async fn cut(&self) -> Result<Position, WalError> {
        let (answer, cut) = oneshot();
        self.0.state.borrow_mut().cutters.push(answer);
        self.start_flushing();
        cut.await.unwrap_or(Err(WalError::Stopped))
    }

    /// Has the segment that the next [`Wal::cut`] begins take no more room than its header: for when nothing more will be written. A record that
    /// comes even so goes to a segment of its own.
    pub fn end_with_next_cut(&self) {
        self.0.state.borrow_mut().ending = true;
    }

    /// Frees the segments that hold no record at or behind `before`. What is in them must be durable elsewhere.
    pub async fn retire(&self, before: Position) -> Result<(), WalError> {
        if std::mem::replace(&mut self.0.state.borrow_mut().retiring, true) {
            return Ok(());
        }
        let outcome = self.retire_all(before).await;
        self.0.state.borrow_mut().retiring = false;
        outcome
    }

    async fn retire_all(&self, before: Position) -> Result<(), WalError> {
        let Shared { disk, directory, state, .. } = &*self.0;
        loop {
            let (segment, keep) = {
                let mut state = state.borrow_mut();
                // The last segment knows the number of the next record, so one always stays.
                let may_go = state.has_active || state.closed.len() > 1;
                let front = state.closed.front().filter(|s| may_go && s.end_sequence <= before.0);
                let Some(segment) = front.cloned() else { return Ok(()) };
                state.closed.pop_front();
                (segment, state.spares.len() < WAL_SPARES_MAX)
            };
            match segment::retire(disk, directory, &segment, keep).await {
                Ok(spare) => state.borrow_mut().spares.extend(spare),
                Err(error) => {
                    state.borrow_mut().closed.push_front(segment);
                    return Err(error.into());
                }
            }
        }
    }

    /// Removes the retired segments that are kept to be used again: for when nothing more will be written.
    pub async fn remove_spares(&self) -> Result<(), WalError> {
        let Shared { disk, directory, state, .. } = &*self.0;
        loop {
            let spare = state.borrow_mut().spares.pop_front();
            let Some(spare) = spare else { break };
            disk.remove(&spare).await?;
        }
        Ok(disk.sync_dir(directory).await?)
    }

    /// How the log stands.
    pub fn stats(&self) -> WalStats {
        let state = self.0.state.borrow();
        WalStats {
            buffered_bytes: state.chain.bytes() + state.in_flight_bytes,
            segments: state.closed.len() + usize::from(state.has_active),
            ..state.stats
        }
    }

    /// Waits until all records before `end` are flushed.
    async fn flushed(&self, end: Position, sync: bool) -> Result<(), WalError> {
        let waiting = {
            let mut state = self.0.state.borrow_mut();
            if end.0 <= state.flushed && !sync {
                return Ok(());
            }
            let (answer, waiting) = oneshot();
            state.waiting.push(Waiter { end: end.0, sync, answer });
            waiting
        };
        self.start_flushing();
        waiting.await.unwrap_or(Err(WalError::Stopped))
    }
}

/// Where the segments that were found end.
fn closed_segments(segments: &[u64], ends: &replay::Ends) -> VecDeque<Closed> {
    let mut end_sequence = 0;
    let close = |&id: &u64| {
        let end = ends.segments.iter().find(|(readable, _)| *readable == id);
        // A segment that cannot be read goes with the one before it.
        end_sequence = end.map_or(end_sequence, |(_, end)| *end);
        Closed { id, end_sequence, tainted: false }
    };
    segments.iter().map(close).collect()
}
