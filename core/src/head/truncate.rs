//! What the head forgets once it is in a block: chunks, details, and the series that have nothing left.
//!
//! Everything before the *floor* is in blocks; the head takes no sample before it any more. Forgetting goes by slices of the series, each
//! one synchronous step, with other work between them. A series without chunks is gone from the table at once, so that nobody finds it by its labels or
//! its number; what the index still holds of it means nothing, since numbers are never given twice, and goes in slices too.

use hashbrown::{HashMap, HashSet};

use super::Head;
use super::series::Series;
use crate::index::SeriesRef;
use crate::index::symbols::{Symbol, SymbolList};
use crate::model::time::TimestampMs;

/// Series that have gone, while the index still knows them.
#[derive(Debug)]
pub struct Graves {
    /// Ascending.
    series: Vec<SeriesRef>,
    pairs: HashSet<Symbol>,
    /// Time of the oldest sample that is left.
    oldest_ms: TimestampMs,
    chunks: usize,
}

impl Default for Graves {
    fn default() -> Self {
        let (series, pairs) = (Vec::new(), HashSet::new());
        Graves { series, pairs, oldest_ms: TimestampMs::MAX, chunks: 0 }
    }
}

impl Graves {
    /// How many series have gone.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// How many sealed chunks have gone.
    pub fn chunks(&self) -> usize {
        self.chunks
    }
}

impl Head {
    /// Every sample before this time is in blocks.
    pub fn floor_ms(&self) -> TimestampMs {
        self.floor_ms
    }

    /// Takes no sample before `floor_ms` any more, nor a series below `first_free`, which a block or an earlier life may have had.
    pub fn raise_floor(&mut self, floor_ms: TimestampMs, first_free: SeriesRef) {
        self.floor_ms = self.floor_ms.max(floor_ms);
        self.first_free = self.first_free.max(first_free);
    }

    /// Forgets what the series from `first` to before `end` have before the floor.
    pub fn truncate(&mut self, first: SeriesRef, end: SeriesRef, graves: &mut Graves) {
        let (floor_ms, mut symbols) = (self.floor_ms, Vec::new());
        for number in first..end {
            let Some(series) = self.series.get_mut(number) else { continue };
            let backlog = &mut self.backlog;
            let gone = series.chunks.remove_before(floor_ms, |key| backlog.remove(key));
            graves.chunks += gone;
            self.counts.chunks_sealed -= gone as u64;
            let (empty, range) = (is_empty(series), series.range());
            self.details.forget_before(number, floor_ms);
            self.tombstones.forget_before(number, floor_ms);
            if empty {
                symbols.clear();
                self.series.remove(number, &mut symbols);
                self.tombstones.remove(number);
                graves.series.push(number);
                graves.pairs.extend(SymbolList::new(&symbols));
                self.counts.series_removed += 1;
            } else {
                self.series.settle_labels(number);
                let oldest_ms = range.map_or(TimestampMs::MAX, |range| range.start_ms);
                graves.oldest_ms = graves.oldest_ms.min(oldest_ms);
            }
        }
    }

    /// Ends a round of [`Head::truncate`] over all series: the head begins later now.
    pub fn finish_truncating(&mut self, graves: &Graves) {
        self.counts.min_ms = graves.oldest_ms;
        self.out_of_order.remove_before(self.floor_ms);
        self.series.shrink();
    }

    /// Takes the pairs of the dead from the graves, by their names, in slices of at most `count`.
    pub fn pairs_of(&self, graves: &mut Graves, count: usize) -> Vec<Vec<Symbol>> {
        let mut by_name: HashMap<&str, Vec<Symbol>> = HashMap::new();
        for symbol in std::mem::take(&mut graves.pairs) {
            by_name.entry(self.symbols.pair(symbol).0).or_default().push(symbol);
        }
        let slices =
            |pairs: Vec<Symbol>| pairs.chunks(count).map(<[_]>::to_vec).collect::<Vec<_>>();
        by_name.into_values().flat_map(slices).collect()
    }

    /// Takes the dead from the postings of pairs that all have the same name.
    pub fn bury(&mut self, graves: &Graves, pairs: &[Symbol]) {
        self.index.remove(&mut self.symbols, pairs, &graves.series);
    }

    /// Ends a round of [`Head::bury`] over all pairs.
    pub fn finish_burying(&mut self, graves: &Graves) {
        self.index.remove_all(&graves.series);
    }
}

/// Whether a series has no sample left in the head.
fn is_empty(series: &Series) -> bool {
    series.open.count() == 0 && series.chunks.as_slice().is_empty()
}
