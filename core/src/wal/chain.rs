//! Records on their way to the log: encoded straight into the memory that the kernel will write from.
//!
//! ```text
//!   closed runs, oldest first                 open run
//!   +-----------------+ +-----------------+   +-----------------+
//!   | frame | frame   | | frame           |   | frame | fra...  |  <- Payload
//!   +-----------------+ +-----------------+   +-----------------+
//! ```
//!
//! A record lies in one run. One that does not fit in what is left of the open run is moved, as far as it has been
//! encoded, to a new one. Ordinals and CRCs are filled in when a run is written, since only then its segment is known.

use std::collections::VecDeque;

use super::error::WalError;
use super::format::{self, FRAME_HEADER_BYTES};
use crate::runtime::disk::{Buffer, Disk};

/// Where encoders put bytes: a record of the log, or plain memory.
pub trait Put {
    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Frames that are written in one piece.
pub(super) struct Run {
    pub(super) buffer: Buffer,
    /// Bytes of complete frames. What is behind them is padding, or a record that is being encoded.
    pub(super) bytes: usize,
    pub(super) first_sequence: u64,
    pub(super) records: u64,
}

impl Run {
    /// Completes its frames for the segment of this header.
    pub(super) fn seal(&mut self, header: &format::Header, barrier: bool) {
        format::seal_run(&mut self.buffer[..self.bytes], self.first_sequence, header, barrier);
    }
}

/// The runs that wait to be written.
pub(super) struct Chain {
    disk: Disk,
    run_bytes: usize,
    /// Largest record with its header.
    frame_bytes_max: usize,
    closed: VecDeque<Run>,
    open: Option<Run>,
    next_sequence: u64,
    bytes: usize,
}

impl Chain {
    pub(super) fn new(
        disk: Disk,
        run_bytes: usize,
        record_bytes_max: usize,
        next_sequence: u64,
    ) -> Self {
        Chain {
            disk,
            run_bytes,
            frame_bytes_max: record_bytes_max + FRAME_HEADER_BYTES,
            closed: VecDeque::new(),
            open: None,
            next_sequence,
            bytes: 0,
        }
    }

    /// The sequence number of the next record.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Bytes of the records that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Encodes one record; a refused one leaves no trace.
    pub(super) fn push(
        &mut self,
        kind: u8,
        encode: impl FnOnce(&mut Payload<'_>),
    ) -> Result<u64, WalError> {
        let start = self.open.as_ref().map_or(0, |run| run.bytes);
        let mut payload = Payload { chain: self, start, refused_bytes: 0 };
        payload.put(&[0; FRAME_HEADER_BYTES]);
        encode(&mut payload);
        let Payload { start, refused_bytes, .. } = payload;
        let run = self.open.as_mut().expect("the frame header was put into it");
        if refused_bytes > 0 {
            let bytes = run.buffer.len() - start - FRAME_HEADER_BYTES + refused_bytes;
            run.buffer.resize(start);
            let bytes_max = self.frame_bytes_max - FRAME_HEADER_BYTES;
            return Err(WalError::RecordTooLarge { bytes, bytes_max });
        }
        format::begin_frame(&mut run.buffer[start..], kind);
        self.bytes += run.buffer.len() - start;
        run.bytes = run.buffer.len();
        run.records += 1;
        self.next_sequence += 1;
        Ok(self.next_sequence - 1)
    }

    fn close(&mut self) {
        self.closed.extend(self.open.take_if(|run| run.records > 0));
    }

    /// Takes all runs out.
    pub(super) fn take(&mut self) -> VecDeque<Run> {
        self.close();
        self.bytes = 0;
        std::mem::take(&mut self.closed)
    }

    /// Puts runs that could not be written back in front.
    pub(super) fn put_back(&mut self, runs: VecDeque<Run>) {
        for run in runs.into_iter().rev() {
            self.bytes += run.bytes;
            self.closed.push_front(run);
        }
    }

    /// Moves the record that starts at `start` of the open run to a new run with room for `more` bytes of it.
    #[cold]
    fn grow(&mut self, start: usize, more: usize) {
        let partial = self.open.as_ref().map_or(&[][..], |run| &run.buffer[start..]);
        let wanted = (partial.len() + more).next_power_of_two().min(self.frame_bytes_max);
        let capacity = self.run_bytes.max(wanted);
        let mut buffer = self.disk.buffer(capacity);
        buffer.extend_from_slice(partial);
        if let Some(run) = &mut self.open {
            run.buffer.resize(start);
        }
        self.close();
        let first_sequence = self.next_sequence;
        self.open = Some(Run { buffer, bytes: 0, first_sequence, records: 0 });
    }
}

/// The payload of the record that is being encoded.
pub struct Payload<'a> {
    chain: &'a mut Chain,
    /// Where its frame starts in the open run.
    start: usize,
    /// Bytes past the bound of a record: counted, not kept.
    refused_bytes: usize,
}

impl Put for Payload<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if let Some(run) = &mut self.chain.open
            && bytes.len() <= run.buffer.capacity() - run.buffer.len()
            && run.buffer.len() - self.start + bytes.len() <= self.chain.frame_bytes_max
            && self.refused_bytes == 0
        {
            run.buffer.extend_from_slice(bytes);
        } else {
            self.put_elsewhere(bytes);
        }
    }
}

impl Payload<'_> {
    #[cold]
    fn put_elsewhere(&mut self, bytes: &[u8]) {
        let so_far = self.chain.open.as_ref().map_or(0, |run| run.buffer.len() - self.start);
        if self.refused_bytes > 0 || so_far + bytes.len() > self.chain.frame_bytes_max {
            self.refused_bytes += bytes.len();
            return;
        }
        self.chain.grow(self.start, bytes.len());
        self.start = 0;
        self.put(bytes);
    }
}
