//! Series that were seen before, by the bytes in which a sender names them.
//!
//! A sender writes the labels of a series in the same bytes every time. Whoever has decoded, checked, sorted, hashed and looked them up
//! once remembers where the series is: its shard, and its number there. The next time one hash of the raw bytes and one cache line
//! here replace all of that, and the shard gets a number in place of 200 bytes of labels.
//!
//! ```text
//! key      xxh3-128 of the raw bytes, under a secret of this process
//! entries  | key: 64 low bits | series number: 30 | shard: 10 | used: 1 | key: 23 bits more |  in the order of learning
//! table    key -> entry
//! cursor   the entry behind the one that was found last
//! ```
//!
//! Senders repeat themselves: the series that comes next is the one that came next the last time, so nearly always it is at the cursor.
//! Then entries are read one after the other, which costs nothing, while a look into the table is a cache miss.
//!
//! Two label sets pass for the same if 87 bits of their hashes agree; since the secret is random, nobody can make two that do.
//! A number that means nothing any more (its series was dropped) is told by the shard, which never gives a number
//! twice; then the body is decoded once more without trust in what is known, and learned anew.
//!
//! What was not used between two calls of [`KnownSeries::forget_unused`] is dropped, so that series that have ended do not stay for
//! ever; at the bound a new series takes the place of an old one. Owned by a core.

use std::hash::{BuildHasher, Hasher, RandomState};

use hashbrown::HashTable;
use tidemark_core::index::SeriesRef;
use tidemark_core::limits::{SERIES_NUMBER_END, SHARDS_MAX};
use tidemark_core::model::tenant::Tenant;
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

impl SeriesKey {
    /// The key of nobody in particular: within it, every key is itself.
    pub const NEUTRAL: SeriesKey = SeriesKey(0);

    /// The key of a series that its sender finds by a number of its own.
    pub fn of_place(place: u32) -> SeriesKey {
        SeriesKey(u128::from(place))
    }

    /// The number that [`SeriesKey::of_place`] was given.
    pub fn place(self) -> u32 {
        self.0 as u32
    }

    /// This key of a series, within what `of` stands for.
    #[inline]
    #[must_use]
    pub fn within(self, of: SeriesKey) -> SeriesKey {
        SeriesKey(self.0 ^ of.0)
    }
}

const NUMBER_BITS: u32 = 30;
const SHARD_BITS: u32 = 10;
const USED: u64 = 1 << (NUMBER_BITS + SHARD_BITS);
const CHECK_SHIFT: u32 = NUMBER_BITS + SHARD_BITS + 1;

const _: () = assert!(SERIES_NUMBER_END <= 1 << NUMBER_BITS);
const _: () = assert!(SHARDS_MAX <= 1 << SHARD_BITS);
const _: () = assert!(KNOWN_SERIES_MAX <= u32::MAX as usize);

/// One remembered series.
#[derive(Clone, Copy)]
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

    #[inline]
    fn known(self) -> Known {
        Known {
            shard: (self.rest >> NUMBER_BITS) as u32 & ((1 << SHARD_BITS) - 1),
            number: self.rest as u32 & ((1 << NUMBER_BITS) - 1),
        }
    }
}

/// The bits of a key above the 64 lowest that an entry holds.
#[inline]
fn check(key: SeriesKey) -> u64 {
    (key.0 >> 64) as u64 >> CHECK_SHIFT
}

/// The series that one core has seen.
pub struct KnownSeries {
    secret: [u8; SECRET_BYTES],
    entries: Vec<Entry>,
    table: HashTable<u32>,
    cursor: usize,
    /// The entry that gives way next, once there are as many as there may be.
    oldest: usize,
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
        f.debug_struct("KnownSeries").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl KnownSeries {
    /// No series yet, and no memory but for the secret.
    pub fn new() -> Self {
        KnownSeries::default()
    }

    fn with_secret(secret: [u8; SECRET_BYTES]) -> Self {
        KnownSeries { secret, entries: Vec::new(), table: HashTable::new(), cursor: 0, oldest: 0 }
    }

    /// The key of the series that is named by these bytes.
    #[inline]
    pub fn key(&self, name: &[u8]) -> SeriesKey {
        SeriesKey(xxh3_128_with_secret(name, &self.secret))
    }

    /// What tells the keys of a tenant from those of others, who may name their series by the same bytes.
    pub fn key_of_tenant(&self, tenant: &Tenant) -> SeriesKey {
        self.key(tenant.name().as_bytes())
    }

    /// Where the series is, if it was learned.
    #[inline]
    pub fn find(&mut self, key: SeriesKey) -> Option<Known> {
        let at = match self.entries.get(self.cursor) {
            Some(next) if next.is_of(key) => self.cursor,
            _ => self.position(key)?,
        };
        self.cursor = at + 1;
        let found = &mut self.entries[at];
        if found.rest & USED == 0 {
            found.rest |= USED;
        }
        Some(found.known())
    }

    /// Remembers where a series is. At the bound it takes the place of another.
    pub fn learn(&mut self, key: SeriesKey, known: Known) {
        let entry = Entry::new(key, known);
        if let Some(at) = self.position(key) {
            self.entries[at] = entry;
        } else if self.entries.len() < KNOWN_SERIES_MAX {
            if self.entries.len() == self.entries.capacity() {
                // By a quarter: doubling would leave a half empty.
                self.entries.reserve_exact((self.entries.len() / 4).max(64));
            }
            self.entries.push(entry);
            self.enter(self.entries.len() - 1);
        } else {
            let at = self.oldest;
            self.oldest = (at + 1) % KNOWN_SERIES_MAX;
            if let Ok(former) = self.table.find_entry(self.entries[at].low, |&n| n as usize == at) {
                former.remove();
            }
            self.entries[at] = entry;
            self.enter(at);
        }
    }

    /// How many series are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Heap bytes held.
    pub fn byte_len(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.table.allocation_size()
    }

    /// Drops what was not used since the last call, and gives back the memory that it took. To be called every hour or so.
    pub fn forget_unused(&mut self) {
        self.entries.retain(|entry| entry.rest & USED != 0);
        self.entries.shrink_to_fit();
        self.table = HashTable::with_capacity(self.entries.len());
        for at in 0..self.entries.len() {
            self.entries[at].rest &= !USED;
            self.enter(at);
        }
        (self.cursor, self.oldest) = (0, 0);
    }

    #[inline]
    fn position(&self, key: SeriesKey) -> Option<usize> {
        let same = |&at: &u32| self.entries[at as usize].is_of(key);
        self.table.find(key.0 as u64, same).map(|&at| at as usize)
    }

    fn enter(&mut self, at: usize) {
        let KnownSeries { entries, table, .. } = self;
        table.insert_unique(entries[at].low, at as u32, |&at| entries[at as usize].low);
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
        assert!(series.len() == 10_000 && series.byte_len() <= 10_000 * 32);
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
        assert!(series.byte_len() <= 200);
    }

    #[test]
    fn tenants_have_keys_of_their_own() {
        let series = fixed();
        let tenant = |name| series.key_of_tenant(&Tenant::parse(name).unwrap());
        let key = series.key(b"a");
        assert_eq!(key.within(SeriesKey::NEUTRAL), key);
        assert_eq!(key.within(tenant("a")), key.within(tenant("a")));
        assert_ne!(key.within(tenant("a")), key.within(tenant("b")));
        assert_ne!(key.within(tenant("a")), key);
    }

    #[test]
    fn every_process_has_its_own_secret() {
        assert_ne!(KnownSeries::new().key(b"a"), KnownSeries::new().key(b"a"));
    }
}
