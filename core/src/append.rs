//! What one shard gets in one message, and what it answers.
//!
//! A batch is a handful of flat columns, so that a request of ten thousand series costs a few large allocations, which
//! the sender keeps and fills again:
//!
//! ```text
//! labels   | canonical encodings of the series' labels, back to back                 |
//! series   | fingerprint or number, end in `labels`, end in `samples` | one entry a series ... |
//! samples  | samples of the first series | samples of the second | ...               |
//! details  | histogram, start timestamp, by time, in the order of the samples | ...  |
//! exemplars| exemplars of the first series | of the second | ...                     |
//! metadata | metric family, type, help, unit | ...                                   |
//! ```
//!
//! A series is named by its labels or, by who has sent it before, by its number: then nothing has to be hashed, found or
//! compared. The answer tells the numbers of the series that came with a *ticket*, for the next time. Numbers are never given
//! twice, so one that means nothing any more is told from one that means another series.
//!
//! The core that decoded the request fills the batch; the core that owns the shard reads it. Pure values, `Send`.

use std::ops::Range;
use std::sync::Arc;

use crate::head::details::SampleDetail;
use crate::index::SeriesRef;
use crate::limits::{BATCH_BYTES_MAX, SERIES_NUMBER_END};
use crate::model::exemplar::Exemplar;
use crate::model::histogram::FloatHistogram;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::metadata::Metadata;
use crate::model::sample::Sample;
use crate::model::time::TimestampMs;

/// Samples for one shard, grouped by series, and metadata.
#[derive(Clone, Debug, Default)]
pub struct AppendBatch {
    labels: Vec<u8>,
    series: Vec<BatchSeries>,
    samples: Vec<Sample>,
    details: Vec<(TimestampMs, SampleDetail)>,
    exemplars: Vec<Exemplar>,
    metadata: Vec<(String, Metadata)>,
    patient: bool,
}

/// One series of a batch: where its labels, samples, details and exemplars end; they begin where those of the series before it end.
#[derive(Clone, Copy, Debug)]
struct BatchSeries {
    fingerprint: Fingerprint,
    reference: Reference,
    labels_end: u32,
    samples_end: u32,
    details_end: u32,
    exemplars_end: u32,
}

/// The number of a series that has one, the ticket of a series that comes with one, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reference(u32);

impl Reference {
    const NONE: Reference = Reference(u32::MAX);
    const TICKET: u32 = 1 << 31;

    fn ticket(ticket: u32) -> Self {
        debug_assert!(ticket < Self::TICKET - 1);
        Reference(ticket | Self::TICKET)
    }

    #[inline]
    fn as_number(self) -> Option<SeriesRef> {
        (self.0 & Self::TICKET == 0).then_some(self.0)
    }

    #[inline]
    fn as_ticket(self) -> Option<u32> {
        (self.0 & Self::TICKET != 0 && self != Self::NONE).then_some(self.0 & !Self::TICKET)
    }
}

const _: () = assert!(SERIES_NUMBER_END <= Reference::TICKET);

/// One series of a batch, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct SeriesView<'a> {
    /// The number of the series, if the sender knows it; then it has neither fingerprint nor labels.
    pub known: Option<SeriesRef>,
    /// By what the sender wants to be told the number.
    pub ticket: Option<u32>,
    /// The fingerprint of `labels`.
    pub fingerprint: Fingerprint,
    /// The labels in canonical encoding.
    pub labels: &'a [u8],
    /// The samples in the order of arrival.
    pub samples: &'a [Sample],
    /// What some of the samples have besides floats, by their times.
    pub details: &'a [(TimestampMs, SampleDetail)],
    /// Single observations behind the samples; a series may have these alone.
    pub exemplars: &'a [Exemplar],
}

impl AppendBatch {
    /// An empty batch.
    pub fn new() -> Self {
        AppendBatch::default()
    }

    /// Makes room for this much more, in one step instead of many.
    pub fn reserve(&mut self, series: usize, label_bytes: usize, samples: usize) {
        self.series.reserve(series);
        self.labels.reserve(label_bytes);
        self.samples.reserve(samples);
    }

    /// Begins a series; the samples pushed next are its. `encoded_labels` must be a canonical encoding and
    /// `fingerprint` taken of it. A series may occur more than once in a batch.
    #[inline]
    pub fn push_series(&mut self, fingerprint: Fingerprint, encoded_labels: &[u8]) {
        debug_assert_eq!(fingerprint, Fingerprint::of(encoded_labels));
        self.labels.extend_from_slice(encoded_labels);
        self.begin(fingerprint, Reference::NONE);
    }

    /// As [`AppendBatch::push_series`], of a series whose number shall be in the answer, beside `ticket`.
    pub fn push_series_asking(&mut self, fingerprint: Fingerprint, labels: &[u8], ticket: u32) {
        self.push_series(fingerprint, labels);
        let last = self.series.last_mut().expect("it was just pushed");
        last.reference = Reference::ticket(ticket);
    }

    /// Begins a series whose number this shard gave in an answer.
    #[inline]
    pub fn push_known(&mut self, number: SeriesRef) {
        self.begin(Fingerprint(0), Reference(number & !Reference::TICKET));
    }

    #[inline]
    fn begin(&mut self, fingerprint: Fingerprint, reference: Reference) {
        self.series.push(BatchSeries {
            fingerprint,
            reference,
            labels_end: offset(self.labels.len()),
            samples_end: offset(self.samples.len()),
            details_end: offset(self.details.len()),
            exemplars_end: offset(self.exemplars.len()),
        });
    }

    /// Adds a sample to the series pushed last; there must be one.
    #[inline]
    pub fn push_sample(&mut self, timestamp_ms: TimestampMs, value: f64) {
        self.samples.push(Sample { timestamp_ms, value });
        let last = self.series.last_mut().expect("a series was pushed before its samples");
        last.samples_end = offset(self.samples.len());
    }

    /// Adds samples to the series pushed last; there must be one.
    #[inline]
    pub fn push_samples(&mut self, samples: &[Sample]) {
        self.samples.extend_from_slice(samples);
        let last = self.series.last_mut().expect("a series was pushed before its samples");
        last.samples_end = offset(self.samples.len());
    }

    /// Adds a histogram to the series pushed last; there must be one.
    pub fn push_histogram(&mut self, timestamp_ms: TimestampMs, histogram: &Arc<FloatHistogram>) {
        self.push_sample(timestamp_ms, histogram.sum);
        let histogram = Some(Arc::clone(histogram));
        self.push_detail(timestamp_ms, SampleDetail { histogram, start_ms: 0 });
    }

    /// Says when the counter of the sample pushed last began to count; there must be a sample.
    pub fn set_start_timestamp(&mut self, start_ms: TimestampMs) {
        let sample = self.samples.last().expect("a sample was pushed before its start");
        let timestamp_ms = sample.timestamp_ms;
        let series = self.series.last().expect("a series was pushed before its samples");
        let begun = self.series.len().checked_sub(2).map_or(0, |i| self.series[i].details_end);
        let own = begun < series.details_end;
        match self.details.last_mut() {
            Some((t, detail)) if own && *t == timestamp_ms => detail.start_ms = start_ms,
            _ => self.push_detail(timestamp_ms, SampleDetail { histogram: None, start_ms }),
        }
    }

    /// Adds what the sample at `timestamp_ms`, pushed before, has besides its float; in order of time.
    pub fn push_detail(&mut self, timestamp_ms: TimestampMs, detail: SampleDetail) {
        self.details.push((timestamp_ms, detail));
        let last = self.series.last_mut().expect("a series was pushed before its samples");
        last.details_end = offset(self.details.len());
    }

    /// Adds an exemplar to the series pushed last; there must be one.
    pub fn push_exemplar(&mut self, exemplar: Exemplar) {
        self.exemplars.push(exemplar);
        let last = self.series.last_mut().expect("a series was pushed before its exemplars");
        last.exemplars_end = offset(self.exemplars.len());
    }

    /// Says that nobody waits for the answer: the log may take its time to make it durable, together with what comes meanwhile.
    pub fn set_patient(&mut self) {
        self.patient = true;
    }

    /// Whether the sender has [time](AppendBatch::set_patient).
    pub fn is_patient(&self) -> bool {
        self.patient
    }

    /// Adds what is known about a metric family.
    pub fn push_metadata(&mut self, family: &str, metadata: Metadata) {
        self.metadata.push((family.to_owned(), metadata));
    }

    /// The series in the order of pushing.
    pub fn series(&self) -> impl Iterator<Item = SeriesView<'_>> {
        let (mut labels_start, mut samples_start) = (0, 0);
        let (mut details_start, mut exemplars_start) = (0, 0);
        self.series.iter().map(move |series| {
            let labels = range(&mut labels_start, series.labels_end);
            let samples = range(&mut samples_start, series.samples_end);
            let details = range(&mut details_start, series.details_end);
            let exemplars = range(&mut exemplars_start, series.exemplars_end);
            SeriesView {
                known: series.reference.as_number(),
                ticket: series.reference.as_ticket(),
                fingerprint: series.fingerprint,
                labels: &self.labels[labels],
                samples: &self.samples[samples],
                details: &self.details[details],
                exemplars: &self.exemplars[exemplars],
            }
        })
    }

    /// Metric families and what was said about them.
    pub fn metadata(&self) -> &[(String, Metadata)] {
        &self.metadata
    }

    /// How many series were pushed.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// Whether any sample has more than a time and a float.
    pub fn has_details(&self) -> bool {
        !self.details.is_empty()
    }

    /// Whether any series has exemplars.
    pub fn has_exemplars(&self) -> bool {
        !self.exemplars.is_empty()
    }

    /// How many samples were pushed.
    pub fn sample_count(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.metadata.is_empty()
    }

    /// Heap bytes in use, by which senders bound what they hold.
    pub fn byte_len(&self) -> usize {
        let histograms = self.details.iter().filter_map(|(_, detail)| detail.histogram.as_ref());
        self.labels.len()
            + size_of_val(&*self.series)
            + size_of_val(&*self.samples)
            + size_of_val(&*self.details)
            + self
                .exemplars
                .iter()
                .map(|e| size_of_val(e) + e.labels.encoded().len())
                .sum::<usize>()
            + histograms.map(|h| 16 * h.sample_weight()).sum::<usize>()
    }

    /// Empties it and keeps the allocations.
    pub fn clear(&mut self) {
        self.labels.clear();
        self.series.clear();
        self.samples.clear();
        self.details.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.patient = false;
    }
}

#[inline]
fn offset(n: usize) -> u32 {
    debug_assert!(n <= BATCH_BYTES_MAX);
    u32::try_from(n).expect("request bodies are bounded far below 4 GiB")
}

#[inline]
fn range(start: &mut u32, end: u32) -> Range<usize> {
    let from = std::mem::replace(start, end);
    from as usize..end as usize
}

/// Why samples were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RefusalKind {
    /// Older than the newest sample of its series, and no window for such samples is open.
    OutOfOrder = 0,
    /// Older than the window for out-of-order samples.
    TooOld = 1,
    /// Further ahead of the wall clock than is allowed.
    TooFarInFuture = 2,
    /// The series has another value at that very millisecond.
    DuplicateTimestamp = 3,
    /// The shard holds as many series as it may; existing ones keep flowing.
    SeriesLimit = 4,
    /// The labels of a new series are not in canonical encoding, or too long.
    InvalidLabels = 5,
    /// Late samples fill their share of memory; samples in order keep flowing.
    OutOfOrderLimit = 6,
    /// A new series past a limit of [`crate::cardinality`]; existing ones keep flowing.
    CardinalityLimit = 7,
    /// A new series while the process is short of memory; existing ones keep flowing.
    MemoryLimit = 8,
}

/// Every kind with the name it has in metrics and the words it has in messages, in the order of the discriminants.
const REFUSALS: [(RefusalKind, &str, &str); RefusalKind::COUNT] = [
    (RefusalKind::OutOfOrder, "out_of_order", "out of order sample"),
    (RefusalKind::TooOld, "too_old", "too old sample"),
    (RefusalKind::TooFarInFuture, "too_far_in_future", "sample too far in the future"),
    (
        RefusalKind::DuplicateTimestamp,
        "duplicate_timestamp",
        "duplicate sample for timestamp, with another value",
    ),
    (RefusalKind::SeriesLimit, "series_limit", "too many series"),
    (RefusalKind::InvalidLabels, "invalid_labels", "invalid labels"),
    (RefusalKind::OutOfOrderLimit, "out_of_order_limit", "too many out of order samples"),
    (RefusalKind::CardinalityLimit, "cardinality_limit", "new series past a cardinality limit"),
    (RefusalKind::MemoryLimit, "memory_limit", "new series while memory is short"),
];

impl RefusalKind {
    /// How many kinds there are.
    pub const COUNT: usize = 9;

    /// Whether only new series are refused like this, so that the sender may come again later.
    pub fn is_of_new_series(self) -> bool {
        matches!(
            self,
            RefusalKind::SeriesLimit | RefusalKind::CardinalityLimit | RefusalKind::MemoryLimit
        )
    }

    /// Every kind, in the order of the discriminants.
    pub fn all() -> impl Iterator<Item = RefusalKind> {
        REFUSALS.iter().map(|(kind, _, _)| *kind)
    }

    /// The name as a metric's label value.
    pub fn as_str(self) -> &'static str {
        REFUSALS[self as usize].1
    }

    /// The words for a message.
    pub fn message(self) -> &'static str {
        REFUSALS[self as usize].2
    }
}

impl std::fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}

/// One refused sample, as an example for the sender.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub kind: RefusalKind,
    /// Of which series.
    pub labels: Labels,
    /// At what time.
    pub timestamp_ms: TimestampMs,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: series {} at {} ms", self.kind, self.labels, self.timestamp_ms)
    }
}

/// What became of a batch.
#[derive(Clone, Debug, Default)]
pub struct AppendOutcome {
    /// Samples stored.
    pub appended: u64,
    /// Samples that were there already with the same value: accepted, not stored again.
    pub duplicates: u64,
    /// Series seen for the first time.
    pub new_series: u64,
    /// Samples of series that were named by numbers which mean nothing any more: not stored. They have to be sent again with labels.
    pub stale: u64,
    /// Tickets, and the numbers of the series that came with them.
    pub numbers: Vec<(u32, SeriesRef)>,
    /// Refused samples by [`RefusalKind`]; see [`AppendOutcome::refused_as`].
    pub refused: [u64; RefusalKind::COUNT],
    /// The first refusal.
    pub first_refusal: Option<Refusal>,
}

impl AppendOutcome {
    /// Refused samples of one kind.
    pub fn refused_as(&self, kind: RefusalKind) -> u64 {
        self.refused[kind as usize]
    }

    /// All refused samples.
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().sum()
    }

    /// Counts `samples` as refused; the first refusal is kept as the example.
    pub fn refuse(&mut self, samples: u64, example: impl FnOnce() -> Refusal, kind: RefusalKind) {
        self.refused[kind as usize] += samples;
        if self.first_refusal.is_none() {
            self.first_refusal = Some(example());
        }
    }

    /// The counts alone.
    pub(crate) fn counts(&self) -> AppendOutcome {
        let AppendOutcome { appended, duplicates, new_series, stale, refused, .. } = *self;
        AppendOutcome {
            appended,
            duplicates,
            new_series,
            stale,
            refused,
            ..AppendOutcome::default()
        }
    }

    /// Adds what another shard answered.
    pub fn merge(&mut self, other: AppendOutcome) {
        self.appended += other.appended;
        self.duplicates += other.duplicates;
        self.new_series += other.new_series;
        self.stale += other.stale;
        if self.numbers.is_empty() {
            self.numbers = other.numbers;
        } else {
            self.numbers.extend(other.numbers);
        }
        for (mine, theirs) in self.refused.iter_mut().zip(other.refused) {
            *mine += theirs;
        }
        if self.first_refusal.is_none() {
            self.first_refusal = other.first_refusal;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_come_back_with_their_samples() {
        let (a, b) = (Labels::from_pairs([("a", "1")]), Labels::from_pairs([("b", "22")]));
        let mut batch = AppendBatch::new();
        batch.push_series(a.fingerprint(), a.encoded());
        batch.push_sample(1, 1.0);
        batch.push_sample(2, 2.0);
        batch.push_series(b.fingerprint(), b.encoded());
        batch.push_series(a.fingerprint(), a.encoded());
        batch.push_sample(3, 3.0);
        let seen: Vec<_> = batch.series().map(|s| (s.labels.to_vec(), s.samples.len())).collect();
        assert_eq!(
            seen,
            [(a.encoded().to_vec(), 2), (b.encoded().to_vec(), 0), (a.encoded().to_vec(), 1)]
        );
        assert_eq!(batch.sample_count(), 3);
        batch.clear();
        assert!(batch.is_empty());
    }

    #[test]
    fn exemplars_belong_to_their_series() {
        let (a, b) = (Labels::from_pairs([("a", "1")]), Labels::from_pairs([("b", "2")]));
        let exemplar = Exemplar { labels: b.clone(), value: 1.0, timestamp_ms: 1, dated: true };
        let mut batch = AppendBatch::new();
        batch.push_series(a.fingerprint(), a.encoded());
        batch.push_sample(1, 1.0);
        batch.push_exemplar(exemplar.clone());
        batch.push_series(b.fingerprint(), b.encoded());
        let seen: Vec<_> = batch.series().map(|s| s.exemplars.to_vec()).collect();
        assert_eq!(seen, [vec![exemplar], vec![]]);
        assert!(batch.byte_len() > 32);
        batch.clear();
        assert_eq!(batch.series().count(), 0);
    }

    #[test]
    fn refusals_are_in_the_order_of_their_discriminants() {
        for (i, kind) in RefusalKind::all().enumerate() {
            assert_eq!(kind as usize, i);
        }
    }

    #[test]
    fn outcomes_add_up_and_keep_the_first_example() {
        let refusal =
            |t| Refusal { kind: RefusalKind::TooOld, labels: Labels::empty(), timestamp_ms: t };
        let mut a = AppendOutcome { appended: 1, ..AppendOutcome::default() };
        a.refuse(2, || refusal(7), RefusalKind::TooOld);
        let mut b = AppendOutcome { duplicates: 3, ..AppendOutcome::default() };
        b.refuse(1, || refusal(8), RefusalKind::TooOld);
        a.merge(b);
        assert_eq!((a.appended, a.duplicates, a.refused_as(RefusalKind::TooOld)), (1, 3, 3));
        assert_eq!(a.first_refusal.map(|r| r.timestamp_ms), Some(7));
    }
}
