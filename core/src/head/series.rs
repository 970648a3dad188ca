//! The series of a shard: found by fingerprint, numbered densely, compact.
//!
//! ```text
//! table    fingerprint -> series number           4 B a slot
//! pages    series records, 1024 to a page         no copy when a million becomes two
//! labels   symbols of label pairs, packed          64 KiB to a page
//! ```
//!
//! A hit in the table counts only when the full labels are the same, so that nobody can make two series one by finding a
//! collision of the hash.

use std::cell::Cell;
use std::cmp::Ordering;

use hashbrown::HashTable;

use super::chunk_list::ChunkList;
use crate::chunk::bits::push_uvarint;
use crate::chunk::xor::XorEncoder;
use crate::head::record::Input;
use crate::index::SeriesRef;
use crate::index::symbols::Symbols;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::sample::Sample;
use crate::model::time::{TimeRange, TimestampMs};

const SERIES_PER_PAGE: usize = 1024;
const LABEL_PAGE_BYTES: usize = 1 << 16;

/// One series.
#[derive(Clone, Debug)]
pub struct Series {
    /// Identifies it, and finds it again when the table grows.
    pub(super) fingerprint: Fingerprint,
    /// The chunk that samples are appended to.
    pub(super) open: XorEncoder,
    /// The chunks before it.
    pub(super) chunks: ChunkList,
    /// Page and offset of the labels.
    labels: u32,
    /// Whether the value of the newest sample is at hand; it is not while that is only in a chunk file.
    pub(super) last_value_known: bool,
    visited: Cell<u32>,
}

/// What a sample would do to its series, decided before anything is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is newer than the others: append it.
    Append,
    /// It is there already, with the same value.
    Duplicate,
    /// It has the time of the newest sample and another value.
    Conflict,
    /// It is older than the newest sample.
    OutOfOrder,
}

impl Series {
    /// Leaves `stamp` on the series; whether it was not there yet.
    #[inline]
    pub fn visit(&self, stamp: u32) -> bool {
        self.visited.replace(stamp) != stamp
    }

    /// Time of the newest sample, if there is any.
    #[inline]
    pub fn last_ms(&self) -> Option<TimestampMs> {
        self.open.last().map(|(last, _)| last)
    }

    /// What appending `sample` would do. A repeated time is held to be a repeated sample where the value is not at hand.
    #[inline]
    pub fn judge(&self, sample: Sample) -> Verdict {
        let Some((last_ms, value)) = self.open.last() else { return Verdict::Append };
        let value = if self.last_value_known { value } else { sample.value };
        judge(Sample { timestamp_ms: last_ms, value }, sample)
    }

    /// The time that its samples span.
    pub fn range(&self) -> Option<TimeRange> {
        let last = self.open.last()?.0;
        let first = match self.chunks.as_slice().first() {
            Some(chunk) => chunk.range().start_ms,
            None => self.open.first_timestamp().unwrap_or(last),
        };
        Some(TimeRange::new(first, last))
    }

    /// The time that the samples of the open chunk span.
    pub fn open_range(&self) -> Option<TimeRange> {
        let first = self.open.first_timestamp()?;
        self.open.last().map(|(last, _)| TimeRange::new(first, last))
    }

    /// Whether any chunk may hold a sample in `range`.
    pub fn overlaps(&self, range: TimeRange) -> bool {
        self.open_range().is_some_and(|open| open.overlaps(range))
            || !self.chunks.overlapping(range).is_empty()
    }

    /// The sealed chunks.
    pub fn chunks(&self) -> &ChunkList {
        &self.chunks
    }

    /// The encoded open chunk; empty when there is none.
    pub fn open_bytes(&self) -> &[u8] {
        self.open.bytes()
    }
}

/// The series of one shard.
#[derive(Debug, Default)]
pub struct SeriesTable {
    table: HashTable<SeriesRef>,
    pages: Vec<Vec<Option<Series>>>,
    labels: Vec<Vec<u8>>,
}

impl SeriesTable {
    /// The series with these labels.
    #[inline]
    pub fn find(
        &self,
        symbols: &Symbols,
        fingerprint: Fingerprint,
        encoded_labels: &[u8],
    ) -> Option<SeriesRef> {
        let same = |&number: &SeriesRef| {
            self.get(number).is_some_and(|series| {
                series.fingerprint == fingerprint
                    && symbols.are(self.symbols_of(series), encoded_labels)
            })
        };
        self.table.find(hash(fingerprint), same).copied()
    }

    /// The series with this number.
    #[inline]
    pub fn get(&self, number: SeriesRef) -> Option<&Series> {
        let (page, slot) = address(number);
        self.pages.get(page)?.get(slot)?.as_ref()
    }

    /// The series with this number, to be changed.
    #[inline]
    pub(super) fn get_mut(&mut self, number: SeriesRef) -> Option<&mut Series> {
        let (page, slot) = address(number);
        self.pages.get_mut(page)?.get_mut(slot)?.as_mut()
    }

    /// Adds a series under a number that is free, with its labels as [`Symbols::encode`] writes them.
    pub(super) fn insert(&mut self, number: SeriesRef, fingerprint: Fingerprint, symbols: &[u8]) {
        let labels = self.push_labels(symbols);
        let (page, slot) = address(number);
        while self.pages.len() <= page {
            self.pages.push(Vec::new());
        }
        let page = &mut self.pages[page];
        if page.len() <= slot {
            if page.capacity() <= slot {
                // Doubling up to a whole page: small shards stay small, and full pages have no slack.
                let capacity = (slot + 1).next_power_of_two().max(64);
                page.reserve_exact(capacity - page.len());
            }
            page.resize_with(slot + 1, || None);
        }
        page[slot] = Some(Series {
            fingerprint,
            open: XorEncoder::new(),
            chunks: ChunkList::default(),
            labels,
            last_value_known: false,
            visited: Cell::new(0),
        });
        let SeriesTable { table, pages, .. } = self;
        table.insert_unique(hash(fingerprint), number, |&other| {
            let (page, slot) = address(other);
            pages[page][slot].as_ref().map_or(0, |series| hash(series.fingerprint))
        });
    }

    fn push_labels(&mut self, symbols: &[u8]) -> u32 {
        let room = |page: &Vec<u8>| page.len() + symbols.len() + 5 <= LABEL_PAGE_BYTES;
        if !self.labels.last().is_some_and(room) {
            self.labels.push(Vec::with_capacity(LABEL_PAGE_BYTES));
        }
        let page = self.labels.len() - 1;
        let start = self.labels[page].len();
        push_uvarint(&mut self.labels[page], symbols.len() as u64);
        self.labels[page].extend_from_slice(symbols);
        (page << 16 | start) as u32
    }

    /// The labels of a series as symbols.
    #[inline]
    pub fn symbols_of(&self, series: &Series) -> &[u8] {
        let page = &self.labels[(series.labels >> 16) as usize];
        let mut input = Input { bytes: &page[(series.labels & 0xffff) as usize..] };
        input.bytes().expect("labels are where the series says")
    }

    /// The labels of a series.
    pub fn labels_of(&self, symbols: &Symbols, series: &Series) -> Labels {
        symbols.decode(self.symbols_of(series))
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The number after the highest ever given.
    pub fn end(&self) -> SeriesRef {
        let full = self.pages.len().saturating_sub(1) * SERIES_PER_PAGE;
        (full + self.pages.last().map_or(0, Vec::len)) as SeriesRef
    }

    /// Heap bytes of table, records and labels, without the chunks.
    pub fn byte_len(&self) -> usize {
        self.table.allocation_size()
            + self
                .pages
                .iter()
                .map(|page| page.capacity() * size_of::<Option<Series>>())
                .sum::<usize>()
            + self.labels.iter().map(Vec::capacity).sum::<usize>()
    }
}

#[inline]
fn address(number: SeriesRef) -> (usize, usize) {
    (number as usize / SERIES_PER_PAGE, number as usize % SERIES_PER_PAGE)
}

/// The bits of a fingerprint that the table uses; its owner follows from all of them.
#[inline]
fn hash(fingerprint: Fingerprint) -> u64 {
    (fingerprint.0 >> 64) as u64
}

/// Compares a sample with the one before it.
#[inline]
pub fn judge(last: Sample, sample: Sample) -> Verdict {
    match sample.timestamp_ms.cmp(&last.timestamp_ms) {
        Ordering::Greater => Verdict::Append,
        Ordering::Equal if sample == last => Verdict::Duplicate,
        Ordering::Equal => Verdict::Conflict,
        Ordering::Less => Verdict::OutOfOrder,
    }
}

/// The start of the window of `width_ms` that holds `timestamp_ms`; windows are counted from the epoch.
#[inline]
pub(super) fn window(timestamp_ms: TimestampMs, width_ms: i64) -> i64 {
    timestamp_ms.div_euclid(width_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colliding_fingerprint_is_another_series() {
        let (mut symbols, mut table) = (Symbols::new(), SeriesTable::default());
        let sets = [Labels::from_pairs([("a", "1")]), Labels::from_pairs([("a", "2")])];
        for (number, labels) in (0..).zip(&sets) {
            let mut encoded = Vec::new();
            symbols.encode(labels.encoded(), &mut encoded);
            table.insert(number, Fingerprint(7), &encoded);
        }
        for (number, labels) in (0..).zip(&sets) {
            assert_eq!(table.find(&symbols, Fingerprint(7), labels.encoded()), Some(number));
            assert_eq!(&table.labels_of(&symbols, table.get(number).unwrap()), labels);
        }
        let third = Labels::from_pairs([("a", "3")]);
        assert_eq!(table.find(&symbols, Fingerprint(7), third.encoded()), None);
    }

    #[test]
    fn numbers_may_leave_gaps() {
        let mut table = SeriesTable::default();
        for number in [0, 5, 3000, 1] {
            table.insert(number, Fingerprint(u128::from(number) << 64), &[]);
        }
        assert_eq!((table.len(), table.end()), (4, 3001));
        assert!(table.get(3000).is_some() && table.get(2).is_none() && table.get(4000).is_none());
    }

    #[test]
    fn verdicts() {
        let sample = |timestamp_ms, value| Sample { timestamp_ms, value };
        let last = sample(10, f64::NAN);
        assert_eq!(judge(last, sample(11, 0.0)), Verdict::Append);
        assert_eq!(judge(last, sample(10, f64::NAN)), Verdict::Duplicate);
        assert_eq!(judge(last, sample(10, 0.0)), Verdict::Conflict);
        assert_eq!(judge(last, sample(9, f64::NAN)), Verdict::OutOfOrder);
    }
}
