//! Series that were seen before, by the bytes in which a sender names them.
//!
//! A sender writes the labels of a series in the same bytes every time. Whoever has decoded, checked, sorted, hashed and looked them up
//! once remembers where the series is: its shard, and its number there. The next time one hash of the raw bytes and one cache line
//! here replace all of that, and the shard gets a number in place of 200 bytes of labels.
//!
//! ```text
//! key      xxh3-128 of the raw bytes, under a secret of this process
//! bucket   4 entries of 16 bytes: one cache line. Its index: low bits of the key; where it is full, those behind it
//! entry    | key: 64 low bits | series number: 30 | shard: 10 | used: 1 | key: 23 bits more |
//! ```
//!
//! Two label sets pass for the same if 87 bits of their hashes agree; since the secret is random, nobody can make two that do.
//! A number that means nothing any more (its series was dropped) is told by the shard, which never gives a number
//! twice; then the body is decoded once more without trust in what is known, and learned anew.
//!
//! The table doubles as it fills, up to a bound, where a new series takes the place of another. What was not used between two calls
//! of [`KnownSeries::forget_unused`] is dropped, so that series that have ended do not stay for ever. Owned by a core.

use std::hash::{BuildHasher, Hasher, RandomState};

use tidemark_core::index::SeriesRef;
use tidemark_core::limits::{SERIES_NUMBER_END, SHARDS_MAX};
use xxhash_rust::xxh3::xxh3_128_with_secret;

use crate::limits::KNOWN_SERIES_MAX;

/// What identifies a series by the bytes of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesKey(u128);

/// Where a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The shard that owns it.
    pub shard: u32,
    /// Its number there.
    pub number: SeriesRef,
}

const WAYS: usize = 4;
const BUCKETS_MIN: usize = 64;
const BUCKETS_MAX: usize = KNOWN_SERIES_MAX / WAYS;

/// Buckets that are looked into for one series.
const PROBES_MAX: usize = 8;

const NUMBER_BITS: u32 = 30;
const SHARD_BITS: u32 = 10;
const USED: u64 = 1 << (NUMBER_BITS + SHARD_BITS);
const CHECK_SHIFT: u32 = NUMBER_BITS + SHARD_BITS + 1;

const _: () = assert!(SERIES_NUMBER_END <= 1 << NUMBER_BITS);
const _: () = assert!(SHARDS_MAX <= 1 << SHARD_BITS);
const _: () = assert!(BUCKETS_MAX.is_power_of_two() && BUCKETS_MIN <= BUCKETS_MAX);

/// One remembered series; all zeros where there is none.
#[derive(Clone, Copy, Default)]
struct Entry {
    low: u64,
    rest: u64,
}

impl Entry {
    fn new(key: SeriesKey, known: Known) -> Self {
        let place = u64::from(known.number) | u64::from(known.shard) << NUMBER_BITS;
        Entry { low: key.0 as u64, rest: place | USED | check(key) << CHECK_SHIFT }
    }

    #[inline]
    fn is_of(self, key: SeriesKey) -> bool {
        self.low == key.0 as u64 && self.rest >> CHECK_SHIFT == check(key)
    }

    fn is_empty(self) -> bool {
        self.low == 0 && self.rest == 0
    }

    #[inline]
    fn known(self) -> Known {
        Known {
            shard: (self.rest >> NUMBER_BITS) as u32 & ((1 << SHARD_BITS) - 1),
            number: self.rest as u32 & ((1 << NUMBER_BITS) - 1),
        }
    }
}

/// The bits of a key above the 64 lowest that an entry holds; never all zero, so that no entry looks empty.
#[inline]
fn check(key: SeriesKey) -> u64 {
    (key.0 >> 64) as u64 >> CHECK_SHIFT | 1
}

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Bucket([Entry; WAYS]);

/// The series that one core has seen.
pub struct KnownSeries {
    secret: [u8; SECRET_BYTES],
    buckets: Vec<Bucket>,
    len: usize,
}

/// Bytes of secret that the hash takes.
const SECRET_BYTES: usize = 192;

impl Default for KnownSeries {
    fn default() -> Self {
        let (random, mut secret) = (RandomState::new(), [0; SECRET_BYTES]);
        for (i, word) in secret.chunks_exact_mut(8).enumerate() {
            let mut hasher = random.build_hasher();
            hasher.write_usize(i);
            word.copy_from_slice(&hasher.finish().to_le_bytes());
        }
        KnownSeries::with_secret(secret)
    }
}

impl std::fmt::Debug for KnownSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnownSeries").field("len", &self.len).finish_non_exhaustive()
    }
}

impl KnownSeries {
    /// No series yet, and no memory but for the secret.
    pub fn new() -> Self {
        KnownSeries::default()
    }

    fn with_secret(secret: [u8; SECRET_BYTES]) -> Self {
        KnownSeries { secret, buckets: Vec::new(), len: 0 }
    }

    /// The key of the series that is named by these bytes.
    #[inline]
    pub fn key(&self, name: &[u8]) -> SeriesKey {
        SeriesKey(xxh3_128_with_secret(name, &self.secret))
    }

    /// Where the series is, if it was learned.
    #[inline]
    pub fn find(&mut self, key: SeriesKey) -> Option<Known> {
        if self.buckets.is_empty() {
            return None;
        }
        for index in self.probe(key.0 as u64) {
            let ways = &mut self.buckets[index].0;
            if let Some(found) = ways.iter_mut().find(|entry| entry.is_of(key)) {
                if found.rest & USED == 0 {
                    found.rest |= USED;
                }
                return Some(found.known());
            }
            if ways[WAYS - 1].is_empty() {
                return None;
            }
        }
        None
    }

    /// Remembers where a series is. At the bound it takes the place of another.
    pub fn learn(&mut self, key: SeriesKey, known: Known) {
        let entry = Entry::new(key, known);
        let crowded = (self.len + 1) * 4 > self.buckets.len() * WAYS * 3;
        if crowded || !self.put(entry) {
            if self.buckets.len() < BUCKETS_MAX {
                let entries = self.take();
                self.refill(entries, (self.buckets.len() * 2).max(BUCKETS_MIN));
            }
            if !self.put(entry) {
                let home = entry.low as usize & (self.buckets.len() - 1);
                self.buckets[home].0[(entry.low >> 32) as usize % WAYS] = entry;
            }
        }
    }

    /// How many series are known.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes held.
    pub fn byte_len(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    /// The buckets where a key with these low bits may be, in the order in which they are filled.
    #[inline]
    fn probe(&self, low: u64) -> impl Iterator<Item = usize> + use<> {
        let mask = self.buckets.len() - 1;
        (0..PROBES_MAX).map(move |step| (low as usize + step) & mask)
    }

    /// Whether there was room for it.
    fn put(&mut self, entry: Entry) -> bool {
        let check = |e: &Entry| e.rest >> CHECK_SHIFT;
        for index in self.probe(entry.low) {
            for way in &mut self.buckets[index].0 {
                if way.is_empty() || (way.low == entry.low && check(way) == check(&entry)) {
                    self.len += usize::from(way.is_empty());
                    *way = entry;
                    return true;
                }
            }
        }
        false
    }

    /// Drops what was not used since the last call, and gives back the memory that it took. To be called every hour or so.
    pub fn forget_unused(&mut self) {
        let mut entries = self.take();
        entries.retain(|entry| entry.rest & USED != 0);
        for entry in &mut entries {
            entry.rest &= !USED;
        }
        let buckets = (entries.len() * 2 / WAYS).next_power_of_two();
        self.refill(entries, buckets.clamp(BUCKETS_MIN, BUCKETS_MAX));
    }

    fn take(&self) -> Vec<Entry> {
        self.buckets.iter().flat_map(|bucket| bucket.0).filter(|entry| !entry.is_empty()).collect()
    }

    fn refill(&mut self, entries: Vec<Entry>, buckets: usize) {
        self.buckets = vec![Bucket::default(); buckets];
        self.len = 0;
        for entry in entries {
            self.put(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(n: u32) -> Known {
        Known { shard: n % 1024, number: n }
    }

    fn fixed() -> KnownSeries {
        KnownSeries::with_secret(std::array::from_fn(|i| (i * 37) as u8))
    }

    #[test]
    fn what_was_learned_is_found() {
        let mut series = fixed();
        let key = |series: &KnownSeries, n: u32| series.key(&n.to_le_bytes());
        for round in 0..2 {
            for n in 0..10_000 {
                let key = key(&series, n);
                assert_eq!(series.find(key), (round > 0).then(|| known(n)));
                if round == 0 {
                    series.learn(key, known(n));
                }
            }
        }
        assert!(series.len() == 10_000 && series.byte_len() <= 1 << 19);
    }

    #[test]
    fn another_place_takes_the_first_ones() {
        let mut series = fixed();
        let key = series.key(b"a");
        series.learn(key, known(1));
        series.learn(key, known(SERIES_NUMBER_END - 1));
        assert_eq!(series.find(key), Some(known(SERIES_NUMBER_END - 1)));
        assert_eq!(series.len(), 1);
    }

    #[test]
    fn series_that_are_not_used_any_more_are_dropped() {
        let mut series = fixed();
        let kept = series.key(b"kept");
        series.learn(kept, known(1));
        for n in 0_u32..10_000 {
            let key = series.key(&n.to_le_bytes());
            series.learn(key, known(n));
        }
        series.learn(kept, known(1));
        series.forget_unused();
        assert_eq!(series.len(), 10_001, "all were used: they were learned");
        assert_eq!(series.find(kept), Some(known(1)));
        series.forget_unused();
        assert_eq!((series.len(), series.find(kept)), (1, Some(known(1))));
        assert!(series.byte_len() <= BUCKETS_MIN * 64);
    }

    #[test]
    fn every_process_has_its_own_secret() {
        assert_ne!(KnownSeries::new().key(b"a"), KnownSeries::new().key(b"a"));
    }
}
