//! Writing a chunk file anew, smaller: what was spilled while samples came too fast to encode it, as soon as they come slower.
//!
//! The chunks of the oldest such file are read in its order, some at a time, encoded as those that do not grow any more and written to the file that
//! grows; the head learns where each is now. The old file goes once nobody reads the head of before. A crash in between leaves chunks in two
//! files, of which opening takes the first. Part of [`Shard::maintain`](super::Shard::maintain), in the queue of low share.

use std::rc::Rc;

use tracing::{info, warn};

use super::Inner;
use super::tick::{Moving, condense};
use crate::error::{Error, Result};
use crate::head::Head;
use crate::head::chunk_list::{ChunkRef, Place};
use crate::index::SeriesRef;
use crate::limits::{CUT_SLICE_SERIES, RECODE_CHUNKS};
use crate::runtime::clock::Instant;
use crate::runtime::yield_if_needed;

impl Inner {
    /// Removes the file that was written anew, once nobody reads the head of before.
    pub(super) async fn remove_recoded(&self) -> Result<()> {
        let free = |(file, pin): &(u32, Rc<()>)| (Rc::strong_count(pin) == 1).then_some(*file);
        let Some(file) = self.recoded.borrow().as_ref().and_then(free) else { return Ok(()) };
        self.recoded.take();
        self.chunks.remove(file).await
    }

    /// Writes the chunks of one file anew if that is worth it and there is time for it. What is left when samples come fast again is
    /// written the next time.
    pub(super) async fn recode(&self) -> Result<()> {
        let busy = !self.quiet.get()
            || self.recoded.borrow().is_some()
            || self.truncation.borrow().is_some();
        let Some(file) = self.chunks.loose().filter(|_| !busy) else { return Ok(()) };
        let (started, bytes) = (Instant::now(), self.chunks.bytes());
        let first_new = {
            let _turn = self.turn().await;
            self.chunks.begin_next()
        };
        let (mut first, series_end) = (0, self.head.borrow().next_series());
        let mut whole = true;
        while first < series_end {
            let end = series_end.min(first.saturating_add(CUT_SLICE_SERIES));
            let chunks = self.head.borrow().chunks_in(file, first, end);
            for some in chunks.chunks(RECODE_CHUNKS) {
                whole &= self.recode_some(some).await?;
                self.check_open()?;
                if !self.quiet.get() {
                    return Ok(());
                }
            }
            yield_if_needed().await;
            first = end;
        }
        self.chunks.settle(file, first_new);
        if whole {
            let before = self.pin.replace(Rc::new(()));
            self.recoded.replace(Some((file, before)));
        }
        info!(
            shard = %self.directory.display(),
            file,
            bytes = self.chunks.bytes() - bytes,
            took_ms = started.elapsed().as_millis() as u64,
            "wrote a chunk file anew"
        );
        Ok(())
    }

    /// Writes some chunks of a file anew, and says whether there was no damage.
    async fn recode_some(&self, chunks: &[(SeriesRef, ChunkRef)]) -> Result<bool> {
        let mut moving = Vec::with_capacity(chunks.len());
        for &(series, chunk) in chunks {
            let Some(at) = chunk.location() else { continue };
            match self.chunks.read(at).await {
                Ok(bytes) => moving.push(Moving { series, chunk, bytes: bytes.into() }),
                Err(error @ Error::Corrupt { .. }) => {
                    warn!(%error, "a damaged chunk stays where it is");
                }
                Err(error) => return Err(error),
            }
            yield_if_needed().await;
        }
        condense(&mut moving).await;
        let _turn = self.turn().await;
        self.store(&moving).await?;
        Ok(moving.len() == chunks.len())
    }
}

impl Head {
    /// The chunks of some series that are in a chunk file, in its order.
    fn chunks_in(&self, file: u32, first: SeriesRef, end: SeriesRef) -> Vec<(SeriesRef, ChunkRef)> {
        let mut found = Vec::new();
        for number in first..end {
            let chunks = self.series(number).map_or(&[][..], |series| series.chunks().as_slice());
            let inside = |chunk: &&ChunkRef| matches!(chunk.place(), Place::File { file: at, .. } if at == file);
            found.extend(chunks.iter().filter(inside).map(|chunk| (number, *chunk)));
        }
        found.sort_unstable_by_key(|(_, chunk)| chunk.location().map(|at| at.offset));
        found
    }
}
