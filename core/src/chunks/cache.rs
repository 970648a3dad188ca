//! Recently read parts of files, in memory: of the chunk files, and of blocks.
//!
//! Chunk files are read in *extents* of 64 KiB, since direct I/O knows no page cache and the chunks of one spill lie side by side: a query
//! over many series finds most of its chunks in extents that were read for others. Which extent goes is decided by the clock: one
//! that was used since it was last considered stays for another round. What is kept is bounded in bytes.

use std::collections::VecDeque;
use std::rc::Rc;

use hashbrown::HashMap;

/// Bytes of an extent; the last one of a file may be shorter.
pub(super) const EXTENT_BYTES: u64 = 64 << 10;

/// An extent: sequence number of the file, and number within it.
pub(crate) type Key = (u32, u32);

/// Extents of the files of one shard.
pub(crate) struct Cache {
    bytes_max: u64,
    extents: HashMap<Key, Extent>,
    /// Every key once, in the order in which they are considered.
    clock: VecDeque<Key>,
    stats: CacheStats,
}

/// How the cache of a shard's chunk files stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Bytes kept.
    pub bytes: u64,
    /// Extents that were there when they were wanted.
    pub hits: u64,
    /// Extents that had to be read.
    pub misses: u64,
}

struct Extent {
    bytes: Rc<[u8]>,
    used: bool,
}

impl Cache {
    /// An empty cache that keeps at most `bytes_max` bytes.
    pub(crate) fn new(bytes_max: u64) -> Self {
        Cache {
            bytes_max,
            extents: HashMap::new(),
            clock: VecDeque::new(),
            stats: CacheStats::default(),
        }
    }

    /// The extent, if it is kept and reaches up to `end`. A file may have grown since its last extent was read.
    pub(crate) fn get(&mut self, key: Key, end: usize) -> Option<Rc<[u8]>> {
        let found = self.extents.get_mut(&key).filter(|extent| extent.bytes.len() >= end);
        let bytes = found.map(|extent| {
            extent.used = true;
            Rc::clone(&extent.bytes)
        });
        self.stats.hits += u64::from(bytes.is_some());
        self.stats.misses += u64::from(bytes.is_none());
        bytes
    }

    /// Keeps an extent, in place of a shorter state of it, and lets others go for it.
    pub(crate) fn insert(&mut self, key: Key, bytes: Rc<[u8]>) {
        self.stats.bytes += bytes.len() as u64;
        match self.extents.insert(key, Extent { bytes, used: false }) {
            Some(before) => self.stats.bytes -= before.bytes.len() as u64,
            None => self.clock.push_back(key),
        }
        while self.stats.bytes > self.bytes_max
            && let Some(key) = self.clock.pop_front()
        {
            if self.extents.get_mut(&key).is_some_and(|extent| std::mem::take(&mut extent.used)) {
                self.clock.push_back(key);
            } else if let Some(extent) = self.extents.remove(&key) {
                self.stats.bytes -= extent.bytes.len() as u64;
            }
        }
    }

    /// Lets everything of a file go.
    pub(crate) fn forget(&mut self, file: u32) {
        let Cache { extents, clock, stats, .. } = self;
        clock.retain(|key| key.0 != file);
        for (_, extent) in extents.extract_if(|key, _| key.0 == file) {
            stats.bytes -= extent.bytes.len() as u64;
        }
    }

    /// How it stands.
    pub(crate) fn stats(&self) -> CacheStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_bytes_are_bounded() {
        const CHUNK_CACHE_BYTES_MAX: u64 = 4 << 20;
        let mut cache = Cache::new(CHUNK_CACHE_BYTES_MAX);
        let extent: Rc<[u8]> = vec![0; EXTENT_BYTES as usize].into();
        let fits = (CHUNK_CACHE_BYTES_MAX / EXTENT_BYTES) as u32;
        cache.insert((0, 0), Rc::clone(&extent));
        for i in 1..2 * fits {
            assert!(cache.get((0, 0), 1).is_some(), "after {i}");
            cache.insert((1, i), Rc::clone(&extent));
        }
        assert!(cache.get((1, 1), 1).is_none());
        assert!(cache.get((1, 2 * fits - 1), 1).is_some());
        assert_eq!(cache.stats().bytes, CHUNK_CACHE_BYTES_MAX);
        assert_eq!(cache.clock.len(), cache.extents.len());
    }

    #[test]
    fn a_grown_extent_takes_the_place_of_its_former_state() {
        let mut cache = Cache::new(1 << 20);
        cache.insert((0, 0), vec![1; 10].into());
        assert!(cache.get((0, 0), 11).is_none());
        cache.insert((0, 0), vec![1; 20].into());
        assert_eq!(cache.get((0, 0), 11).map(|bytes| bytes.len()), Some(20));
        assert_eq!(cache.stats(), CacheStats { bytes: 20, hits: 1, misses: 1 });
    }
}
