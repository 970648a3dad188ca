//! Selecting: which series, and their samples.
//!
//! A [`Selection`] pins what it saw: of each series the time of its newest sample. Since samples of a series only ever grow newer,
//! reading up to that time later gives what there was at the time of selecting, whatever was appended, sealed or spilled meanwhile.
//! Reading takes chunk locations and decodes what is in memory in one synchronous step, then awaits the disk.

use std::cell::OnceCell;
use std::rc::Rc;

use super::{Inner, Shard};
use crate::chunk::{self, ChunkError, Encoding};
use crate::chunks::ChunkLocation;
use crate::error::{Error, Result};
use crate::head::Head;
use crate::head::chunk_list::Place;
use crate::head::series::Series;
use crate::index::SeriesRef;
use crate::model::columns::SampleColumns;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::time::{TimeRange, TimestampMs};
use crate::runtime::yield_if_needed;

/// Series of one shard at one time.
pub struct Selection {
    shard: Rc<Inner>,
    series: Vec<Selected>,
}

struct Selected {
    number: SeriesRef,
    /// Time of its newest sample when it was selected.
    last_ms: TimestampMs,
    labels: OnceCell<Labels>,
}

impl Shard {
    /// The series that pass all of `matchers` and have a chunk with samples in `range`, in no particular order.
    ///
    /// # Errors
    /// [`Error::Closing`].
    pub async fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection> {
        self.0.check_open()?;
        let selection = self.select_now(matchers, range);
        // Many series take a while to find.
        yield_if_needed().await;
        Ok(selection)
    }

    fn select_now(&self, matchers: &[Matcher], range: TimeRange) -> Selection {
        let head = self.0.head.borrow();
        let series = head.select(matchers, range);
        let series =
            series.map(|(number, last_ms)| Selected { number, last_ms, labels: OnceCell::new() });
        Selection { shard: Rc::clone(&self.0), series: series.collect() }
    }
}

impl Selection {
    /// How many series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The labels of series `i`.
    pub fn labels(&self, i: usize) -> &Labels {
        let selected = &self.series[i];
        selected.labels.get_or_init(|| {
            let head = self.shard.head.borrow();
            head.labels(selected.number).expect("series are never forgotten while selected")
        })
    }

    /// Appends the samples of series `i` in `range` to `out`, in the order of time, staleness markers included.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with the place of a damaged chunk, [`Error::Disk`]. `out` then holds the samples before it.
    pub async fn read(&self, i: usize, range: TimeRange, out: &mut SampleColumns) -> Result<()> {
        let Selected { number, last_ms, .. } = self.series[i];
        let range = TimeRange::new(range.start_ms, range.end_ms.min(last_ms));
        let from = out.len();
        let stored = self.shard.head.borrow().stored_chunks(number, range);
        if stored.is_empty() {
            self.shard.read_memory(number, range, out)?;
            self.shard.head.borrow().details().fill(number, from, out);
            return Ok(());
        }
        // What is in memory now may be spilled while the disk is awaited.
        let mut newest = SampleColumns::new();
        self.shard.read_memory(number, range, &mut newest)?;
        for location in stored {
            self.shard.read_stored(location, range, out).await?;
        }
        out.extend_from(&newest);
        self.shard.head.borrow().details().fill(number, from, out);
        Ok(())
    }
}

impl Inner {
    fn read_memory(
        &self,
        number: SeriesRef,
        range: TimeRange,
        out: &mut SampleColumns,
    ) -> Result<()> {
        let head = self.head.borrow();
        let Some(series) = head.series(number) else { return Ok(()) };
        head.read_memory(series, range, out).map_err(|error| Error::Corrupt {
            path: self.directory.clone(),
            offset: 0,
            expected: "a chunk in memory that can be decoded".to_owned(),
            found: error.to_string(),
        })
    }

    async fn read_stored(
        &self,
        location: StoredRef,
        range: TimeRange,
        out: &mut SampleColumns,
    ) -> Result<()> {
        let bytes = self.chunks.read(location.at).await?;
        chunk::decode(location.encoding, &bytes, range, out).map_err(|error| Error::Corrupt {
            path: self.chunks.path(location.at.file),
            offset: u64::from(location.at.offset),
            expected: format!("a chunk of {} bytes", location.at.len),
            found: error.to_string(),
        })
    }
}

/// A chunk to be read from a chunk file.
#[derive(Clone, Copy)]
struct StoredRef {
    at: ChunkLocation,
    encoding: Encoding,
}

impl Head {
    /// The series that pass all of `matchers` and may have samples in `range`, with the time of their newest sample.
    pub(super) fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> impl Iterator<Item = (SeriesRef, TimestampMs)> + use<'_> {
        let selected = self.index().select(self.symbols(), matchers).into_iter();
        selected.filter_map(move |number| {
            let series = self.series(number)?;
            let last_ms = series.last_ms()?;
            (last_ms >= range.start_ms && series.overlaps(range)).then_some((number, last_ms))
        })
    }

    fn stored_chunks(&self, number: SeriesRef, range: TimeRange) -> Vec<StoredRef> {
        let Some(series) = self.series(number) else { return Vec::new() };
        let stored = series.chunks().overlapping(range).iter().filter_map(|chunk| {
            let encoding = chunk.encoding();
            chunk.location().map(|at| StoredRef { at, encoding })
        });
        stored.collect()
    }

    /// Appends the samples of a series that are in memory.
    fn read_memory(
        &self,
        series: &Series,
        range: TimeRange,
        out: &mut SampleColumns,
    ) -> Result<(), ChunkError> {
        for found in series.chunks().overlapping(range) {
            if let Place::Memory { key } = found.place()
                && let Some(sealed) = self.backlog().get(key)
            {
                chunk::decode(found.encoding(), &sealed.bytes, range, out)?;
            }
        }
        if series.open_range().is_some_and(|open| open.overlaps(range)) {
            chunk::decode(Encoding::Xor, series.open_bytes(), range, out)?;
        }
        Ok(())
    }

    /// All samples of a series that are in memory.
    pub(super) fn in_memory(&self, series: &Series) -> SampleColumns {
        let mut out = SampleColumns::new();
        // Chunks in memory were just encoded; what cannot be decoded counts as not there.
        let _ = self.read_memory(series, TimeRange::ALL, &mut out);
        out
    }
}
