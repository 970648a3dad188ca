//! The sealed chunks of one series, oldest first: 24 B each, whether in memory or in a chunk file.

use crate::chunk::Encoding;
use crate::chunks::{ChunkLocation, StoredChunk};
use crate::limits::{CHUNK_BYTES_MAX, CHUNK_RANGE_MS_MAX, CHUNK_SAMPLES_MAX};
use crate::model::time::{TimeRange, TimestampMs};

/// File number that means "still in memory, in the backlog of chunks to be spilled".
const IN_MEMORY: u32 = u32::MAX;

/// One sealed chunk: its time, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    min_ms: TimestampMs,
    /// From the first sample to the last.
    span_ms: u32,
    /// Sequence number of the chunk file.
    file: u32,
    /// Offset in the file, or the key in the backlog.
    offset: u32,
    /// Bytes of the encoded chunk (20 bits), encoding (4), samples (8).
    shape: u32,
}

const _: () = assert!(size_of::<ChunkRef>() == 24);
const _: () = assert!(CHUNK_BYTES_MAX < 1 << 20);
const _: () = assert!(CHUNK_SAMPLES_MAX < 1 << 8);
const _: () = assert!((Encoding::Xor as u32) < 1 << 4);

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the head's backlog, under a key.
    Memory {
        /// The key.
        key: u32,
    },
    /// In a chunk file.
    File {
        /// Its sequence number.
        file: u32,
        /// Where in it.
        offset: u32,
    },
}

impl ChunkRef {
    /// A chunk with samples in `range`, `len` bytes long.
    pub fn new(range: TimeRange, count: u16, encoding: Encoding, len: usize, place: Place) -> Self {
        debug_assert!(len <= CHUNK_BYTES_MAX && count <= CHUNK_SAMPLES_MAX);
        let shape = (len as u32) << 12 | (encoding as u32) << 8 | u32::from(count);
        let span_ms = (range.end_ms - range.start_ms) as u32;
        ChunkRef { min_ms: range.start_ms, span_ms, file: 0, offset: 0, shape }.moved(place)
    }

    /// The chunk that a chunk file holds; `None` if a chunk cannot be like this.
    pub fn stored(stored: &StoredChunk) -> Option<Self> {
        let StoredChunk { encoding, range, samples, location, .. } = *stored;
        let span_ms = range.end_ms.checked_sub(range.start_ms)?;
        let possible = (0..CHUNK_RANGE_MS_MAX).contains(&span_ms)
            && (1..=CHUNK_SAMPLES_MAX).contains(&samples)
            && location.len as usize <= CHUNK_BYTES_MAX
            && location.file != IN_MEMORY;
        let place = Place::File { file: location.file, offset: location.offset };
        possible.then(|| ChunkRef::new(range, samples, encoding, location.len as usize, place))
    }

    /// The same chunk at another place.
    pub fn moved(self, place: Place) -> Self {
        let (file, offset) = match place {
            Place::Memory { key } => (IN_MEMORY, key),
            Place::File { file, offset } => (file, offset),
        };
        ChunkRef { file, offset, ..self }
    }

    /// The same samples encoded otherwise, in `len` bytes.
    pub fn encoded(self, encoding: Encoding, len: usize) -> Self {
        let place = self.place();
        ChunkRef::new(self.range(), self.count(), encoding, len, place)
    }

    /// From the first sample to the last.
    #[inline]
    pub fn range(self) -> TimeRange {
        TimeRange::new(self.min_ms, self.min_ms + i64::from(self.span_ms))
    }

    /// How many samples.
    pub fn count(self) -> u16 {
        self.shape as u16 & 0xff
    }

    /// Bytes of the encoded chunk.
    pub fn byte_len(self) -> usize {
        (self.shape >> 12) as usize
    }

    /// How it is encoded.
    pub fn encoding(self) -> Encoding {
        Encoding::from_u8((self.shape >> 8) as u8 & 0xf).expect("made from an encoding")
    }

    /// Where it is.
    pub fn place(self) -> Place {
        match self.file {
            IN_MEMORY => Place::Memory { key: self.offset },
            file => Place::File { file, offset: self.offset },
        }
    }

    /// Where to read it, if it is in a chunk file.
    pub fn location(self) -> Option<ChunkLocation> {
        let (file, offset, len) = (self.file, self.offset, self.byte_len() as u32);
        (file != IN_MEMORY).then_some(ChunkLocation { file, offset, len })
    }
}

/// The chunks of one series. Their times ascend and do not overlap.
#[derive(Clone, Debug, Default)]
pub struct ChunkList(Vec<ChunkRef>);

impl ChunkList {
    /// All, oldest first.
    #[inline]
    pub fn as_slice(&self) -> &[ChunkRef] {
        &self.0
    }

    /// Adds a chunk, which must overlap none, in the order of time.
    pub fn insert(&mut self, chunk: ChunkRef) {
        debug_assert!(self.overlapping(chunk.range()).is_empty());
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact((self.0.len() / 4).max(2));
        }
        match self.0.last() {
            Some(last) if last.min_ms > chunk.min_ms => {
                self.0.insert(self.0.partition_point(|c| c.min_ms < chunk.min_ms), chunk);
            }
            _ => self.0.push(chunk),
        }
    }

    /// Those with samples in `range`, oldest first.
    #[inline]
    pub fn overlapping(&self, range: TimeRange) -> &[ChunkRef] {
        let start = self.0.partition_point(|chunk| chunk.range().end_ms < range.start_ms);
        let rest = &self.0[start..];
        &rest[..rest.partition_point(|chunk| chunk.min_ms <= range.end_ms)]
    }

    /// Records how and where the chunk that was at a place is now.
    pub fn replace(&mut self, from: Place, chunk: ChunkRef) {
        if let Some(found) = self.0.iter_mut().rev().find(|found| found.place() == from) {
            *found = chunk;
        }
    }

    /// Removes the chunks in memory whose samples all lie in `range`, and says their keys.
    pub fn remove_memory_within(&mut self, range: TimeRange, mut removed: impl FnMut(u32)) {
        self.0.retain(|chunk| match chunk.place() {
            Place::Memory { key }
                if range.contains(chunk.min_ms) && range.contains(chunk.range().end_ms) =>
            {
                removed(key);
                false
            }
            _ => true,
        });
    }

    /// Removes the chunks that end before a time, and says the keys of those in memory; how many there were.
    pub fn remove_before(&mut self, floor_ms: TimestampMs, mut removed: impl FnMut(u32)) -> usize {
        let gone = self.0.partition_point(|chunk| chunk.range().end_ms < floor_ms);
        for chunk in self.0.drain(..gone) {
            if let Place::Memory { key } = chunk.place() {
                removed(key);
            }
        }
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        gone
    }

    /// Heap bytes held.
    pub fn byte_len(&self) -> usize {
        self.0.capacity() * size_of::<ChunkRef>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(min: i64, max: i64, place: Place) -> ChunkRef {
        ChunkRef::new(TimeRange::new(min, max), 2, Encoding::Xor, 100, place)
    }

    #[test]
    fn what_is_in_blocks_leaves_memory_and_files() {
        let mut list = ChunkList::default();
        list.insert(chunk(0, 9, Place::File { file: 0, offset: 64 }));
        list.insert(chunk(10, 19, Place::Memory { key: 1 }));
        list.insert(chunk(20, 29, Place::Memory { key: 2 }));
        let mut removed = Vec::new();
        assert_eq!(list.remove_before(20, |key| removed.push(key)), 2);
        assert_eq!((removed, list.as_slice().len()), (vec![1], 1));
    }

    #[test]
    fn finds_what_overlaps() {
        let mut list = ChunkList::default();
        for i in 0..4 {
            list.insert(chunk(i * 10, i * 10 + 9, Place::Memory { key: i as u32 }));
        }
        let found = |a, b| list.overlapping(TimeRange::new(a, b)).len();
        assert_eq!(
            (found(0, 100), found(9, 10), found(12, 13), found(-5, -1), found(40, 50)),
            (4, 2, 1, 0, 0)
        );
        assert_eq!(found(i64::MIN, i64::MAX), 4);
    }

    #[test]
    fn a_spilled_chunk_changes_its_place_alone() {
        let mut list = ChunkList::default();
        list.insert(chunk(0, 9, Place::Memory { key: 7 }));
        let there = list.as_slice()[0].moved(Place::File { file: 3, offset: 64 });
        list.replace(Place::Memory { key: 7 }, there);
        let now = list.as_slice()[0];
        assert_eq!(now.place(), Place::File { file: 3, offset: 64 });
        assert_eq!((now.range(), now.count(), now.byte_len()), (TimeRange::new(0, 9), 2, 100));
        assert_eq!(now.encoding(), Encoding::Xor);
    }

    #[test]
    fn memory_chunks_give_way_to_stored_ones() {
        let mut list = ChunkList::default();
        list.insert(chunk(0, 9, Place::File { file: 0, offset: 64 }));
        list.insert(chunk(10, 19, Place::Memory { key: 1 }));
        list.insert(chunk(20, 29, Place::Memory { key: 2 }));
        let mut removed = Vec::new();
        list.remove_memory_within(TimeRange::new(0, 25), |key| removed.push(key));
        assert_eq!(removed, [1]);
        list.insert(chunk(10, 19, Place::File { file: 0, offset: 128 }));
        let starts: Vec<_> = list.as_slice().iter().map(|c| c.range().start_ms).collect();
        assert_eq!(starts, [0, 10, 20]);
    }
}
