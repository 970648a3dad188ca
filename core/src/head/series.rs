//! The series of a shard: found by fingerprint, numbered densely, compact.
//!
//! ```text
//! table    fingerprint -> series number           4 B a slot
//! pages    series records, 1024 to a page         no copy when a million becomes two
//! labels   symbols of label pairs, packed          64 KiB to a page
//! ```
//!
//! Numbers are never given twice, so a table through which series pass has pages of which little is left: these become short
//! sorted lists, and pages of which nothing is left are given back, as are pages of labels.
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
use crate::runtime::prefetch_all;

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
    /// It has the time of the newest sample, whose value only a chunk file holds.
    Unclear,
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

    /// What appending `sample` would do.
    #[inline]
    pub fn judge(&self, sample: Sample) -> Verdict {
        let Some((last_ms, value)) = self.open.last() else { return Verdict::Append };
        if last_ms == sample.timestamp_ms && !self.last_value_known {
            return Verdict::Unclear;
        }
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

    /// What finds it by its labels.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The chunk that samples are appended to.
    pub fn open(&self) -> &XorEncoder {
        &self.open
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
    pages: Vec<Page>,
    /// The number after the highest ever given.
    end: SeriesRef,
    labels: LabelPages,
}

/// The series of a stretch of numbers: by slot, or, where few are left, in a sorted list.
#[derive(Debug, Default)]
struct Page {
    slots: Vec<Option<Series>>,
    few: Vec<(u16, Series)>,
    /// How many there are.
    live: u16,
}

/// The labels of all series, as symbols.
#[derive(Debug, Default)]
struct LabelPages {
    pages: Vec<Vec<u8>>,
    /// Bytes of each page that belong to a series.
    live: Vec<u32>,
    /// The page that takes the labels of new series.
    current: usize,
    free: Vec<usize>,
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
        self.find_by(fingerprint, |list| symbols.are(list, encoded_labels))
    }

    /// The series with this fingerprint whose labels, as symbols, are `same`.
    #[inline]
    pub(super) fn find_by(
        &self,
        fingerprint: Fingerprint,
        same: impl Fn(&[u8]) -> bool,
    ) -> Option<SeriesRef> {
        let same = |&number: &SeriesRef| {
            self.get(number).is_some_and(|series| {
                series.fingerprint == fingerprint && same(self.symbols_of(series))
            })
        };
        self.table.find(hash(fingerprint), same).copied()
    }

    /// The series with this number.
    #[inline]
    pub fn get(&self, number: SeriesRef) -> Option<&Series> {
        let (page, slot) = address(number);
        self.pages.get(page)?.get(slot)
    }

    /// The series with this number, to be changed.
    #[inline]
    pub(super) fn get_mut(&mut self, number: SeriesRef) -> Option<&mut Series> {
        let (page, slot) = address(number);
        let page = self.pages.get_mut(page)?;
        if slot < page.slots.len() {
            return page.slots[slot].as_mut();
        }
        page.few(slot).map(|at| &mut page.few[at].1)
    }

    /// Has the record of a series fetched.
    #[inline]
    pub(super) fn prefetch(&self, number: SeriesRef) {
        let (page, slot) = address(number);
        if let Some(record) = self.pages.get(page).and_then(|page| page.slots.get(slot)) {
            prefetch_all(record);
        }
    }

    /// Adds a series under a number that is free, with its labels as [`Symbols::encode`] writes them.
    pub(super) fn insert(&mut self, number: SeriesRef, fingerprint: Fingerprint, symbols: &[u8]) {
        let labels = self.labels.push(symbols);
        let (page, slot) = address(number);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, Page::default);
        }
        let series = Series {
            fingerprint,
            open: XorEncoder::new(),
            chunks: ChunkList::default(),
            labels,
            last_value_known: false,
            visited: Cell::new(0),
        };
        self.pages[page].insert(slot, series);
        self.end = self.end.max(number + 1);
        let SeriesTable { table, pages, .. } = self;
        table.insert_unique(hash(fingerprint), number, |&other| {
            let (page, slot) = address(other);
            pages[page].get(slot).map_or(0, |series| hash(series.fingerprint))
        });
    }

    /// Takes a series out; its number is not given again. Its labels, as symbols, are appended to `symbols`.
    pub(super) fn remove(&mut self, number: SeriesRef, symbols: &mut Vec<u8>) -> Option<Series> {
        let series = self.get(number)?;
        let (fingerprint, labels) = (series.fingerprint, series.labels);
        symbols.extend_from_slice(self.labels.get(labels));
        let entry = self.table.find_entry(hash(fingerprint), |&other| other == number);
        if let Ok(entry) = entry {
            entry.remove();
        }
        self.labels.release(labels);
        let (page, slot) = address(number);
        self.pages[page].remove(slot)
    }

    /// Moves the labels of a series away from a page of which little is left.
    pub(super) fn settle_labels(&mut self, number: SeriesRef) {
        let Some(labels) = self.get(number).map(|series| series.labels) else { return };
        if let Some(moved) = self.labels.settle(labels)
            && let Some(series) = self.get_mut(number)
        {
            series.labels = moved;
        }
    }

    /// Gives back what the table of fingerprints has too much, when series have gone.
    pub(super) fn shrink(&mut self) {
        let SeriesTable { table, pages, .. } = self;
        if table.len() * 4 < table.capacity() {
            table.shrink_to(table.len() * 2, |&other| {
                let (page, slot) = address(other);
                pages[page].get(slot).map_or(0, |series| hash(series.fingerprint))
            });
        }
    }

    /// The labels of a series as symbols.
    #[inline]
    pub fn symbols_of(&self, series: &Series) -> &[u8] {
        self.labels.get(series.labels)
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
        self.end
    }

    /// Heap bytes of table, records and labels, without the chunks.
    pub fn byte_len(&self) -> usize {
        self.table.allocation_size()
            + self.pages.capacity() * size_of::<Page>()
            + self.pages.iter().map(Page::byte_len).sum::<usize>()
            + self.labels.pages.iter().map(Vec::capacity).sum::<usize>()
    }
}

impl Page {
    fn few(&self, slot: usize) -> Option<usize> {
        self.few.binary_search_by_key(&(slot as u16), |(slot, _)| *slot).ok()
    }

    #[inline]
    fn get(&self, slot: usize) -> Option<&Series> {
        match self.slots.get(slot) {
            Some(series) => series.as_ref(),
            None => self.few(slot).map(|at| &self.few[at].1),
        }
    }

    fn insert(&mut self, slot: usize, series: Series) {
        self.live += 1;
        if !self.few.is_empty() {
            let at = self.few.partition_point(|(other, _)| usize::from(*other) < slot);
            self.few.insert(at, (slot as u16, series));
            return;
        }
        let slots = &mut self.slots;
        if slots.len() <= slot {
            if slots.capacity() <= slot {
                // Doubling up to a whole page: small shards stay small, and full pages have no slack.
                let capacity = (slot + 1).next_power_of_two().max(64);
                slots.reserve_exact(capacity - slots.len());
            }
            slots.resize_with(slot + 1, || None);
        }
        slots[slot] = Some(series);
    }

    fn remove(&mut self, slot: usize) -> Option<Series> {
        let removed = match self.slots.get_mut(slot) {
            Some(series) => series.take()?,
            None => self.few.remove(self.few(slot)?).1,
        };
        self.live -= 1;
        // A page that still grows keeps its slots.
        let full = self.slots.len() == SERIES_PER_PAGE;
        if full && usize::from(self.live) * 4 < SERIES_PER_PAGE {
            let slots = std::mem::take(&mut self.slots).into_iter().enumerate();
            let few = slots.filter_map(|(slot, series)| Some((slot as u16, series?)));
            self.few = few.collect();
        }
        if self.few.len() * 2 < self.few.capacity() {
            self.few.shrink_to_fit();
        }
        Some(removed)
    }

    fn byte_len(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Series>>()
            + self.few.capacity() * size_of::<(u16, Series)>()
    }
}

impl LabelPages {
    fn push(&mut self, symbols: &[u8]) -> u32 {
        let room = |page: &Vec<u8>| page.len() + symbols.len() + 5 <= LABEL_PAGE_BYTES;
        if !self.pages.get(self.current).is_some_and(room) {
            self.current = self.free.pop().unwrap_or(self.pages.len());
            if self.current == self.pages.len() {
                self.pages.push(Vec::new());
                self.live.push(0);
            }
            self.pages[self.current].reserve_exact(LABEL_PAGE_BYTES);
        }
        let page = &mut self.pages[self.current];
        let start = page.len();
        push_uvarint(page, symbols.len() as u64);
        page.extend_from_slice(symbols);
        self.live[self.current] += (page.len() - start) as u32;
        (self.current << 16 | start) as u32
    }

    #[inline]
    fn get(&self, at: u32) -> &[u8] {
        let page = &self.pages[(at >> 16) as usize];
        let mut input = Input { bytes: &page[(at & 0xffff) as usize..] };
        input.bytes().expect("labels are where the series says")
    }

    /// The labels at `at` are not needed any more.
    fn release(&mut self, at: u32) {
        let page = (at >> 16) as usize;
        let mut length = Vec::with_capacity(5);
        push_uvarint(&mut length, self.get(at).len() as u64);
        self.live[page] -= (length.len() + self.get(at).len()) as u32;
        if self.live[page] == 0 && page != self.current {
            self.pages[page] = Vec::new();
            self.free.push(page);
        }
    }

    /// Where the labels at `at` are now, if they were moved away from a page of which little is left.
    fn settle(&mut self, at: u32) -> Option<u32> {
        let page = (at >> 16) as usize;
        if page == self.current || self.live[page] as usize * 2 >= self.pages[page].len() {
            return None;
        }
        let symbols = self.get(at).to_vec();
        let moved = self.push(&symbols);
        self.release(at);
        Some(moved)
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
pub(crate) fn window(timestamp_ms: TimestampMs, width_ms: i64) -> i64 {
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
    fn series_that_come_and_go_leave_no_trace() {
        let (mut table, mut symbols) = (SeriesTable::default(), Vec::new());
        let mut bytes = 0;
        for round in 0..40_u32 {
            let first = round * 3000;
            for number in first..first + 3000 {
                let labels = vec![number as u8; 20];
                table.insert(number, Fingerprint(u128::from(number) << 64), &labels);
            }
            // One of each thousand stays.
            for number in (first..first + 3000).filter(|n| n % 1000 != 7) {
                symbols.clear();
                assert!(table.remove(number, &mut symbols).is_some());
                assert_eq!(symbols, vec![number as u8; 20]);
                assert!(table.remove(number, &mut symbols).is_none());
            }
            for number in 0..table.end() {
                table.settle_labels(number);
            }
            table.shrink();
            if round == 19 {
                bytes = table.byte_len();
            }
        }
        assert!(table.byte_len() < bytes + 40_000, "{} after {bytes}", table.byte_len());
        assert_eq!((table.len(), table.end()), (120, 120_000));
        for number in (0..120_000).filter(|n| n % 1000 == 7) {
            let series = table.get(number).unwrap();
            assert_eq!(table.symbols_of(series), vec![number as u8; 20]);
        }
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
