//! Sealed chunks that wait in memory to be written to the chunk file, in the order of sealing.
//!
//! Each has a key, which its series knows; keys count up and wrap. Bytes are bounded by the shard, which refuses appends
//! while the disk does not keep up.

use std::collections::VecDeque;
use std::rc::Rc;

use super::chunk_list::ChunkRef;
use crate::index::SeriesRef;

/// A sealed chunk in memory.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Whose.
    pub series: SeriesRef,
    /// Its time, length and encoding.
    pub chunk: ChunkRef,
    /// The encoded chunk.
    pub bytes: Rc<[u8]>,
}

/// The sealed chunks in memory.
#[derive(Debug, Default)]
pub struct Backlog {
    queue: VecDeque<Option<Sealed>>,
    /// Key of the first of the queue.
    base: u32,
    bytes: usize,
    count: usize,
}

impl Backlog {
    /// The key that the next chunk gets.
    pub(super) fn next_key(&self) -> u32 {
        self.base.wrapping_add(self.queue.len() as u32)
    }

    /// Adds a chunk under [`Backlog::next_key`].
    pub(super) fn push(&mut self, sealed: Sealed) {
        self.bytes += sealed.bytes.len();
        self.count += 1;
        self.queue.push_back(Some(sealed));
    }

    /// The chunk with this key.
    #[inline]
    pub fn get(&self, key: u32) -> Option<&Sealed> {
        self.queue.get(key.wrapping_sub(self.base) as usize)?.as_ref()
    }

    /// Gives the memory of a chunk back.
    pub(super) fn remove(&mut self, key: u32) {
        let slot = self.queue.get_mut(key.wrapping_sub(self.base) as usize);
        if let Some(sealed) = slot.and_then(Option::take) {
            self.bytes -= sealed.bytes.len();
            self.count -= 1;
        }
        while let Some(None) = self.queue.front() {
            self.queue.pop_front();
            self.base = self.base.wrapping_add(1);
        }
    }

    /// Keys and chunks, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Sealed)> {
        let keyed = self.queue.iter().enumerate();
        keyed.filter_map(|(i, slot)| {
            slot.as_ref().map(|sealed| (self.base.wrapping_add(i as u32), sealed))
        })
    }

    /// How many chunks.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the encoded chunks.
    pub fn byte_len(&self) -> usize {
        self.bytes
    }
}
