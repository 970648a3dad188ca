//! The head: the series of a shard, their newest samples, and the index over them. Owned by the shard's core.
//!
//! [`Head::apply`] is the only way the head changes, live and in recovery. It is synchronous, touches no file and cannot fail:
//! what may be refused is refused before a record is made of it (see [`series::Series::judge`]), and a record that recovery meets twice
//! changes nothing the second time. Three things make that so: series numbers are never given twice, samples not newer than what
//! a series has are skipped, and a chunk found in a chunk file takes the place of the copies that a checkpoint holds of it.
//!
//! ```text
//! fingerprint -> Series { open chunk, list of sealed chunks: in the backlog or in a chunk file }
//! label name -> value -> postings
//! backlog: sealed chunks to be spilled
//! ```
//!
//! A chunk is sealed when it is full, when a sample falls into another window of two hours than its first (so chunks never
//! cross the border of a block), or when its series has been idle.

pub mod backlog;
pub mod chunk_list;
pub mod details;
pub mod metadata;
pub mod out_of_order;
pub mod record;
pub mod series;
#[cfg(test)]
mod tests;
pub mod truncate;

use std::cell::Cell;
use std::rc::Rc;

use hashbrown::HashMap;

use crate::block::Tombstones;
use crate::chunk::Encoding;
use crate::chunk::bits::push_uvarint;
use crate::chunk::xor::{Resume, XorEncoder};
use crate::exemplars::Exemplars;
use crate::index::SeriesRef;
use crate::index::memory::MemoryIndex;
use crate::index::symbols::{Symbol, SymbolList, Symbols};
use crate::limits::{CHUNK_BYTES_MAX, CHUNK_RANGE_MS_MAX, CHUNK_SAMPLES_MAX, SERIES_NUMBER_END};
use crate::model::labels::{Fingerprint, Labels, is_canonical};
use crate::model::sample::Sample;
use crate::model::time::{TimeRange, TimestampMs};
use crate::runtime::prefetch;
use backlog::{Backlog, Sealed};
use chunk_list::{ChunkRef, Place};
use details::Details;
use metadata::MetadataTable;
use out_of_order::OutOfOrder;
use record::Record;
use series::{Series, SeriesTable, window};

/// The newest part of a shard.
#[derive(Debug)]
pub struct Head {
    symbols: Symbols,
    index: MemoryIndex,
    series: SeriesTable,
    backlog: Backlog,
    metadata: MetadataTable,
    details: Details,
    out_of_order: OutOfOrder,
    exemplars: Exemplars,
    /// What was deleted and is not forgotten yet, by series.
    tombstones: Tombstones,
    /// Chunks met in recovery before the series they belong to.
    unclaimed: HashMap<SeriesRef, Vec<ChunkRef>>,
    counts: Counts,
    /// No series below it begins any more: recovery met numbers up to here.
    first_free: SeriesRef,
    /// Every sample before it is in blocks.
    floor_ms: TimestampMs,
    /// Numbers of series that recovery met twice, and the numbers that they have.
    aliases: HashMap<SeriesRef, SeriesRef>,
    /// What [`Series::visit`] was called with last.
    visit: Cell<u32>,
    /// Symbols of the pairs of the checkpoint's record that is being read, as far as a series needed them.
    interned: Vec<Option<Symbol>>,
    /// Reused: the symbols of a series that begins.
    scratch: Vec<u8>,
}

/// What the head has counted since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Samples applied.
    pub samples: u64,
    /// Those of them that came after newer ones of their series.
    pub samples_out_of_order: u64,
    /// Series begun.
    pub series_created: u64,
    /// Series forgotten.
    pub series_removed: u64,
    /// Chunks begun.
    pub chunks_created: u64,
    /// Sealed chunks, wherever they are.
    pub chunks_sealed: u64,
    /// Open chunks that hold a sample.
    pub chunks_open: u64,
    /// Time of the oldest sample; above the newest when there is none.
    pub min_ms: TimestampMs,
    /// Time of the newest sample.
    pub max_ms: TimestampMs,
}

impl Default for Counts {
    fn default() -> Self {
        Counts {
            samples: 0,
            samples_out_of_order: 0,
            series_created: 0,
            series_removed: 0,
            chunks_created: 0,
            chunks_sealed: 0,
            chunks_open: 0,
            min_ms: TimestampMs::MAX,
            max_ms: TimestampMs::MIN,
        }
    }
}

impl Default for Head {
    fn default() -> Self {
        Head {
            symbols: Symbols::default(),
            index: MemoryIndex::default(),
            series: SeriesTable::default(),
            backlog: Backlog::default(),
            metadata: MetadataTable::default(),
            details: Details::default(),
            exemplars: Exemplars::default(),
            tombstones: Tombstones::default(),
            unclaimed: HashMap::new(),
            counts: Counts::default(),
            first_free: 0,
            out_of_order: OutOfOrder::default(),
            floor_ms: TimestampMs::MIN,
            aliases: HashMap::new(),
            visit: Cell::new(0),
            interned: Vec::new(),
            scratch: Vec::new(),
        }
    }
}

impl Head {
    /// Keeps at most so many exemplars from now on.
    pub fn keep_exemplars(&mut self, max: usize) {
        self.exemplars.set_max(max);
    }

    /// The exemplars.
    pub fn exemplars(&self) -> &Exemplars {
        &self.exemplars
    }

    /// An empty head.
    pub fn new() -> Self {
        Head::default()
    }

    /// Changes the head.
    #[inline]
    pub fn apply(&mut self, record: &Record<'_>) {
        match *record {
            Record::Samples { series, samples } => self.append(series, samples),
            Record::OutOfOrder { series, samples } => self.append_late(series, samples),
            Record::Series { series, labels } => self.begin_series(series, labels),
            Record::Exemplar { series, exemplar } => {
                if let Some(series) = Labels::from_encoded(series) {
                    self.exemplars.push(series, exemplar);
                }
            }
            Record::Metadata { family, metadata } => self.metadata.insert(family, metadata),
            Record::Seal { first, end, idle_before_ms } => {
                for number in first..end.min(self.series.end()) {
                    self.seal_if_idle(number, idle_before_ms);
                }
            }
            Record::Moved { series, from, chunk } => {
                if let Some(series) = self.series.get_mut(series) {
                    series.chunks.replace(from, chunk);
                }
                if let Place::Memory { key } = from {
                    self.backlog.remove(key);
                }
            }
            Record::Deleted { series, range } => self.delete(series, range),
            Record::Stored { series, chunk } => self.store(series, chunk),
            Record::Pairs { count } => {
                self.interned.clear();
                self.interned.resize(count, None);
            }
            Record::Known { series, fingerprint, pairs, labels } => {
                self.begin_known(series, fingerprint, pairs, labels);
            }
            Record::Restored { series, bytes, sealed, resume } => {
                self.restore(series, bytes, sealed, resume);
            }
            Record::Detail { timestamp_ms, .. } if timestamp_ms < self.floor_ms => {}
            Record::Detail { series, timestamp_ms, detail, attached } => {
                if attached {
                    self.details.restore(series, timestamp_ms, detail.clone());
                } else {
                    self.details.stage(series, timestamp_ms, detail);
                }
            }
        }
    }

    fn append(&mut self, number: SeriesRef, mut samples: &[Sample]) {
        let mut details = self.details.take_staged(number);
        if samples.first().is_some_and(|first| first.timestamp_ms < self.floor_ms) {
            let blocks = samples.partition_point(|sample| sample.timestamp_ms < self.floor_ms);
            samples = &samples[blocks..];
        }
        let Some(series) = self.series.get_mut(number) else {
            return match self.aliases.get(&number) {
                Some(&number) => {
                    details
                        .drain(..)
                        .for_each(|(t, detail)| self.details.stage(number, t, &detail));
                    self.append(number, samples);
                }
                None => self.meet_unknown(number),
            };
        };
        while let [first, later @ ..] = samples {
            let t = first.timestamp_ms;
            if series.open.last().is_some_and(|(last, _)| t <= last) {
                samples = later;
                continue;
            }
            if is_full(&series.open, t) {
                let sealed = seal(series, number, &mut self.backlog, &mut self.counts);
                // Chunks of a series are about as long; where many samples come at once, room for one is made at once.
                if samples.len() > usize::from(CHUNK_SAMPLES_MAX / 4) {
                    series.open.reserve(sealed + sealed / 8);
                }
            }
            if series.open.count() == 0 {
                self.counts.chunks_created += 1;
                self.counts.chunks_open += 1;
            }
            let fitting = match details.iter().position(|(at, _)| *at == t) {
                Some(i) => {
                    let (_, detail) = details.swap_remove(i);
                    self.details.attach(number, series.last_ms(), t, detail);
                    1
                }
                None if details.is_empty() => fitting(&series.open, samples),
                None => 1,
            };
            let (now, later) = samples.split_at(fitting);
            series.open.push_all(now);
            series.last_value_known = true;
            self.counts.samples += now.len() as u64;
            let last_ms = now.last().map_or(t, |last| last.timestamp_ms);
            self.counts.cover(TimeRange::new(t, last_ms));
            samples = later;
        }
    }

    fn append_late(&mut self, number: SeriesRef, samples: &[Sample]) {
        let mut details = self.details.take_staged(number);
        let known = self.series.get(number).map(|_| number);
        let Some(number) = known.or_else(|| self.aliases.get(&number).copied()) else {
            return self.meet_unknown(number);
        };
        for &sample in samples {
            let t = sample.timestamp_ms;
            if t < self.floor_ms || !self.out_of_order.insert(number, sample) {
                continue;
            }
            if let Some(i) = details.iter().position(|(at, _)| *at == t) {
                self.details.attach_late(number, t, details.swap_remove(i).1);
            }
            self.counts.samples += 1;
            self.counts.samples_out_of_order += 1;
            self.counts.cover(TimeRange::new(t, t));
        }
    }

    fn begin_series(&mut self, number: SeriesRef, labels: &[u8]) {
        let fingerprint = Fingerprint::of(labels);
        if self.series.get(number).is_some()
            || number >= SERIES_NUMBER_END
            || !is_canonical(labels)
            || self.find(fingerprint, labels).is_some_and(|known| !self.supersede(known, number))
        {
            return;
        }
        self.scratch.clear();
        self.symbols.encode(labels, &mut self.scratch);
        self.insert_series(number, fingerprint);
    }

    /// Begins a series that a checkpoint holds: its labels are known to be canonical, and its fingerprint is given.
    fn begin_known(
        &mut self,
        number: SeriesRef,
        fingerprint: Fingerprint,
        pairs: &[&[u8]],
        labels: &[u32],
    ) {
        if self.series.get(number).is_some() || number >= SERIES_NUMBER_END {
            return;
        }
        let symbols = &self.symbols;
        let same = |list: &[u8]| {
            let list = SymbolList::new(list).map(|symbol| symbols.encoded(symbol));
            list.eq(labels.iter().map(|&place| pairs[place as usize]))
        };
        if let Some(known) = self.series.find_by(fingerprint, same) {
            if !self.supersede(known, number) {
                return;
            }
            // Symbols that only the other series had are forgotten.
            self.interned.fill(None);
        }
        self.scratch.clear();
        for &place in labels {
            let place = place as usize;
            let symbol = self.interned[place].unwrap_or_else(|| self.symbols.intern(pairs[place]));
            self.interned[place] = Some(symbol);
            push_uvarint(&mut self.scratch, u64::from(symbol));
        }
        self.insert_series(number, fingerprint);
    }

    /// Adds a series whose symbols are in `scratch`.
    fn insert_series(&mut self, number: SeriesRef, fingerprint: Fingerprint) {
        self.index.insert(&self.symbols, number, &self.scratch);
        self.series.insert(number, fingerprint, &self.scratch);
        self.counts.series_created += 1;
        for stored in self.unclaimed.remove(&number).unwrap_or_default() {
            self.store(number, stored);
        }
    }

    /// Recovery meets labels under a second number: the series was forgotten, when everything it had was in blocks, and came again. The
    /// later number is the one that counts. Whether the earlier one has made way; if it has samples even so, the two are one.
    #[cold]
    fn supersede(&mut self, known: SeriesRef, number: SeriesRef) -> bool {
        self.first_free = self.first_free.max(number.saturating_add(1));
        let Some(series) = self.series.get(known) else { return true };
        if number < known {
            return false;
        }
        if series.open.count() > 0 || !series.chunks.as_slice().is_empty() {
            self.aliases.insert(number, known);
            for stored in self.unclaimed.remove(&number).unwrap_or_default() {
                self.store(known, stored);
            }
            return false;
        }
        let mut symbols = Vec::new();
        self.series.remove(known, &mut symbols);
        self.counts.series_removed += 1;
        for pair in SymbolList::new(&symbols) {
            self.index.remove(&mut self.symbols, &[pair], &[known]);
        }
        self.index.remove_all(&[known]);
        true
    }

    /// The definition of a series was lost; its number must not be given to another.
    #[cold]
    fn meet_unknown(&mut self, number: SeriesRef) {
        self.first_free = self.first_free.max(number.saturating_add(1));
    }

    fn seal_if_idle(&mut self, number: SeriesRef, idle_before_ms: TimestampMs) {
        if let Some(series) = self.series.get_mut(number)
            && is_idle(series, idle_before_ms)
        {
            seal(series, number, &mut self.backlog, &mut self.counts);
        }
    }

    fn store(&mut self, number: SeriesRef, stored: ChunkRef) {
        if stored.range().end_ms < self.floor_ms {
            return;
        }
        let number = self.aliases.get(&number).copied().unwrap_or(number);
        let Some(series) = self.series.get_mut(number) else {
            self.meet_unknown(number);
            self.unclaimed.entry(number).or_default().push(stored);
            return;
        };
        let range = stored.range();
        series.chunks.remove_memory_within(range, |key| {
            self.backlog.remove(key);
            self.counts.chunks_sealed -= 1;
        });
        if !series.chunks.overlapping(range).is_empty() {
            return;
        }
        if series.open_range().is_some_and(|open| open.end_ms <= range.end_ms) {
            series.open.seal();
            self.counts.chunks_open -= 1;
        }
        series.chunks.insert(stored);
        if series.open.last().is_none_or(|(last, _)| last <= range.end_ms) {
            series.open = XorEncoder::after(range.end_ms, f64::NAN);
            series.last_value_known = false;
        }
        self.counts.chunks_created += 1;
        self.counts.chunks_sealed += 1;
        self.counts.cover(range);
    }

    fn delete(&mut self, number: SeriesRef, range: TimeRange) {
        let number = self.aliases.get(&number).copied().unwrap_or(number);
        if range.end_ms >= self.floor_ms {
            self.tombstones.add(number, range);
        }
    }

    fn restore(&mut self, number: SeriesRef, bytes: &[u8], sealed: bool, state: Option<Resume>) {
        let Some(series) = self.series.get_mut(number) else { return };
        let known = state.and_then(|state| XorEncoder::resume_at(bytes, state));
        // The checkpoint's CRC was good; a chunk that cannot be read even so is left to the WAL.
        let Some(open) = known.or_else(|| XorEncoder::resume(bytes).ok()) else { return };
        let (Some((last, _)), Some(first)) = (open.last(), open.first_timestamp()) else { return };
        let is_possible = open.count() <= CHUNK_SAMPLES_MAX
            && bytes.len() <= CHUNK_BYTES_MAX
            && last.checked_sub(first).is_some_and(|ms| (0..CHUNK_RANGE_MS_MAX).contains(&ms));
        if last < self.floor_ms || !is_possible {
            return;
        }
        if series.open.last().is_some_and(|(known, _)| last <= known) {
            return;
        }
        series.open = open;
        series.last_value_known = true;
        self.counts.chunks_created += 1;
        self.counts.chunks_open += 1;
        self.counts.samples += u64::from(series.open.count());
        if let Some(range) = series.open_range() {
            self.counts.cover(range);
        }
        if sealed {
            seal(series, number, &mut self.backlog, &mut self.counts);
        }
    }

    /// The series with these labels.
    #[inline]
    pub fn find(&self, fingerprint: Fingerprint, encoded_labels: &[u8]) -> Option<SeriesRef> {
        self.series.find(&self.symbols, fingerprint, encoded_labels)
    }

    /// The series with this number.
    #[inline]
    pub fn series(&self, number: SeriesRef) -> Option<&Series> {
        self.series.get(number)
    }

    /// Has the memory fetched that appending to a series touches.
    #[inline]
    pub fn prefetch(&self, number: SeriesRef) {
        if let Some([first, .., last]) = self.series.get(number).map(Series::open_bytes) {
            prefetch(first);
            prefetch(last);
        }
    }

    /// The labels of a series.
    pub fn labels(&self, number: SeriesRef) -> Option<Labels> {
        let series = self.series.get(number)?;
        Some(self.series.labels_of(&self.symbols, series))
    }

    /// The labels of a series as symbols.
    pub fn symbols_of(&self, series: &Series) -> &[u8] {
        self.series.symbols_of(series)
    }

    /// A stamp for [`Series::visit`] that was not used before.
    pub fn begin_visit(&self) -> u32 {
        self.visit.set(self.visit.get().wrapping_add(1));
        self.visit.get()
    }

    /// Series whose label `name` has this value.
    pub fn series_with(&self, name: &str, value: &str) -> usize {
        self.symbols.find(name, value).map_or(0, |symbol| self.index.series_of(symbol))
    }

    /// Distinct values of the label `name`.
    pub fn values_of(&self, name: &str) -> usize {
        self.index.value_count(name)
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// The number that a new series gets: none of a series that recovery knows of is given again.
    pub fn next_series(&self) -> SeriesRef {
        self.series.end().max(self.first_free)
    }

    /// Whether sealing the series from `first` to before `end` that are idle since `idle_before_ms` would change anything.
    pub fn has_idle(&self, first: SeriesRef, end: SeriesRef, idle_before_ms: TimestampMs) -> bool {
        (first..end).filter_map(|n| self.series.get(n)).any(|s| is_idle(s, idle_before_ms))
    }

    /// Ends recovery: forgets stored chunks whose series nobody defined, and says how many there were.
    pub fn forget_unclaimed(&mut self) -> usize {
        self.aliases.clear();
        self.interned = Vec::new();
        let series = &self.series;
        self.tombstones.retain(|number| series.get(number).is_some());
        std::mem::take(&mut self.unclaimed).into_values().map(|chunks| chunks.len()).sum()
    }

    /// The interned label pairs.
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Label name -> value -> series.
    pub fn index(&self) -> &MemoryIndex {
        &self.index
    }

    /// Sealed chunks in memory.
    pub fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// Metadata of metric families.
    pub fn metadata(&self) -> &MetadataTable {
        &self.metadata
    }

    /// What samples have besides floats.
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Samples that came after newer ones of their series.
    pub fn out_of_order(&self) -> &OutOfOrder {
        &self.out_of_order
    }

    /// What was deleted and is not forgotten yet, by series.
    pub fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Heap bytes of the records of series, of what finds them and of their labels.
    pub fn series_bytes(&self) -> usize {
        self.series.byte_len()
    }

    /// Heap bytes of series, symbols and index, without the chunks.
    pub fn byte_len(&self) -> usize {
        self.symbols.byte_len()
            + self.index.byte_len()
            + self.series.byte_len()
            + self.details.byte_len()
            + self.out_of_order.byte_len()
    }
}

impl record::Apply for Head {
    #[inline]
    fn apply(&mut self, record: &Record<'_>) {
        Head::apply(self, record);
    }

    #[inline]
    fn soon(&self, series: SeriesRef) {
        self.series.prefetch(series);
    }

    #[inline]
    fn next(&self, series: SeriesRef) {
        self.prefetch(series);
    }

    #[inline]
    fn wants(&self, series: SeriesRef, last_ms: TimestampMs) -> bool {
        let known = self.series.get(series).and_then(Series::last_ms);
        known.is_none_or(|known| known < last_ms) || self.details.has_staged()
    }
}

impl Counts {
    fn cover(&mut self, range: TimeRange) {
        self.min_ms = self.min_ms.min(range.start_ms);
        self.max_ms = self.max_ms.max(range.end_ms);
    }
}

/// Whether a sample at `t` must go into another chunk.
#[inline]
fn is_full(open: &XorEncoder, t: TimestampMs) -> bool {
    open.count() >= CHUNK_SAMPLES_MAX
        || (open.count() > 0
            && open.last().is_some_and(|(last, _)| {
                window(last, CHUNK_RANGE_MS_MAX) != window(t, CHUNK_RANGE_MS_MAX)
            }))
}

/// How many of `samples`, of which the first fits, fit in an open chunk: as far as they ascend within a window, and there is room.
#[inline]
fn fitting(open: &XorEncoder, samples: &[Sample]) -> usize {
    let room = usize::from(CHUNK_SAMPLES_MAX - open.count().min(CHUNK_SAMPLES_MAX));
    let Some((first, later)) = samples[..samples.len().min(room)].split_first() else { return 1 };
    let end_ms = window(first.timestamp_ms, CHUNK_RANGE_MS_MAX).saturating_add(CHUNK_RANGE_MS_MAX);
    let mut last_ms = first.timestamp_ms;
    let goes_on = |sample: &&Sample| {
        let before_ms = std::mem::replace(&mut last_ms, sample.timestamp_ms);
        before_ms < last_ms && last_ms < end_ms
    };
    1 + later.iter().take_while(goes_on).count()
}

fn is_idle(series: &Series, before_ms: TimestampMs) -> bool {
    series.open.count() > 0 && series.last_ms().is_some_and(|last| last < before_ms)
}

/// Seals the open chunk; how many bytes it has.
fn seal(
    series: &mut Series,
    number: SeriesRef,
    backlog: &mut Backlog,
    counts: &mut Counts,
) -> usize {
    let Some(range) = series.open_range() else { return 0 };
    let count = series.open.count();
    let bytes: Rc<[u8]> = series.open.seal().into();
    let place = Place::Memory { key: backlog.next_key() };
    let chunk = ChunkRef::new(range, count, Encoding::Xor, bytes.len(), place);
    series.chunks.insert(chunk);
    backlog.push(Sealed { series: number, chunk, bytes });
    counts.chunks_open -= 1;
    counts.chunks_sealed += 1;
    chunk.byte_len()
}
