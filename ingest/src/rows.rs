//! Rows: the one shape that every protocol decodes into.
//!
//! Series lie in the order in which they arrived. Their label sets stand back to back, each in canonical encoding, in
//! one arena; their samples in one column:
//!
//! ```text
//! labels   | set of series 0 | set of series 1 | ...        (canonical encodings, no padding)
//! samples  | of series 0 ... | of series 1 ... | ...        (each run in order of time)
//! details  | time; histogram or start of the counter | ...  | ...   (few series have any)
//! exemplars| of series 0 ... | of series 1 ... | ...
//! series   | fingerprint, end of its labels, samples, details, exemplars | ...
//! ```
//!
//! A decoder calls [`Rows::begin_series`], then [`Rows::push_label`] and [`Rows::push_sample`] in whatever order the
//! wire brings them, then [`Rows::end_series`]. Labels are written into the arena at once in their final encoding; only
//! if they did not come in order are they sorted, in place. A series that was [seen before](crate::known) has a number in
//! place of labels. After [`Rows::clear`] all memory is used again, so that a
//! connection decodes body after body without allocating. Owned by the task that decodes.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use tidemark_core::head::details::SampleDetail;
use tidemark_core::model::exemplar::Exemplar;
use tidemark_core::model::histogram::FloatHistogram;
use tidemark_core::model::labels::{Fingerprint, push_pair};
use tidemark_core::model::metadata::Metadata;
use tidemark_core::model::sample::Sample;
use tidemark_core::model::tenant::{TENANT_LABEL, Tenant};
use tidemark_core::model::time::TimestampMs;

use crate::known::{Known, SeriesKey};
use crate::limits::{
    EXCERPT_CHARS_MAX, HELP_BYTES_MAX, LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX,
    LABELS_BYTES_MAX, LABELS_PER_SERIES_MAX, METADATA_PER_BODY_MAX, TIMESTAMP_MS_MAX,
    TIMESTAMP_MS_MIN, excerpt, truncated,
};

/// Why a label set is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A series without a metric name.
    #[error("the series has no metric name")]
    NoMetricName,
    /// A label without a name.
    #[error("label name is empty")]
    EmptyName,
    /// A name that occurs twice.
    #[error("label name {0:?} is not unique")]
    Duplicate(String),
    /// A name or value that is not text.
    #[error("label {0} is not valid UTF-8")]
    NotUtf8(&'static str),
    /// A name past the bound.
    #[error(
        "label name {excerpt:?} has {bytes} bytes, more than the {LABEL_NAME_BYTES_MAX} allowed"
    )]
    NameTooLong {
        /// How it begins.
        excerpt: String,
        /// Its length.
        bytes: usize,
    },
    /// A value past the bound.
    #[error(
        "value of label {name:?} has {bytes} bytes, more than the {LABEL_VALUE_BYTES_MAX} allowed"
    )]
    ValueTooLong {
        /// The label.
        name: String,
        /// Length of its value.
        bytes: usize,
    },
    /// Too many labels.
    #[error("more than {LABELS_PER_SERIES_MAX} labels")]
    TooMany,
    /// All labels together past the bound.
    #[error("the labels have more than {LABELS_BYTES_MAX} bytes together")]
    SetTooLong,
}

/// Refuses a name or value that no series may have, whatever the protocol.
pub fn check_label(name: &str, value: &str) -> Result<(), LabelError> {
    if name.is_empty() {
        return Err(LabelError::EmptyName);
    }
    if name.len() > LABEL_NAME_BYTES_MAX {
        return Err(LabelError::NameTooLong { excerpt: excerpt(name), bytes: name.len() });
    }
    if value.len() > LABEL_VALUE_BYTES_MAX {
        return Err(LabelError::ValueTooLong { name: excerpt(name), bytes: value.len() });
    }
    Ok(())
}

/// Whether storage takes samples of this time at all (years 1 to 9999).
pub fn is_timestamp_in_range(timestamp_ms: TimestampMs) -> bool {
    (TIMESTAMP_MS_MIN..=TIMESTAMP_MS_MAX).contains(&timestamp_ms)
}

/// Decoded series and samples of one body; see the module's page.
#[derive(Debug, Default)]
pub struct Rows {
    labels: Vec<u8>,
    series: Vec<Row>,
    samples: Vec<Sample>,
    details: Vec<(TimestampMs, SampleDetail)>,
    exemplars: Vec<Exemplar>,
    metadata: Vec<(String, Metadata)>,
    /// Rows that are to be known the next time, ascending, and by which key.
    keyed: Vec<(u32, SeriesKey)>,
    /// What histograms and exemplars weigh, in samples.
    extra_weight: usize,
    /// Whose they are, where tenants are told apart.
    tenant: Option<Tenant>,
    open: Open,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    fingerprint: Fingerprint,
    known: Option<Known>,
    labels_end: u32,
    samples_end: u32,
    details_end: u32,
    exemplars_end: u32,
}

/// The series under construction.
#[derive(Debug, Default)]
struct Open {
    pairs: Vec<Pair>,
    /// Names came in strictly ascending order and no value was empty: the arena holds the final encoding.
    canonical: bool,
    /// Samples came in order of time.
    in_order: bool,
    /// Where a set is put together when it has to be sorted.
    sorted: Vec<u8>,
}

/// Where one encoded pair lies in the arena.
#[derive(Clone, Copy, Debug)]
struct Pair {
    start: u32,
    name_start: u32,
    name_end: u32,
    end: u32,
    empty: bool,
}

impl Pair {
    #[inline]
    fn name(self, arena: &[u8]) -> &[u8] {
        &arena[self.name_start as usize..self.name_end as usize]
    }

    /// Its value, for an error message.
    fn value(self, arena: &[u8]) -> &str {
        let encoded = &arena[self.name_end as usize..self.end as usize];
        let prefix = encoded.iter().take_while(|b| **b >= 0x80).count() + 1;
        std::str::from_utf8(encoded.get(prefix..).unwrap_or_default()).unwrap_or_default()
    }

    fn encoded(self, arena: &[u8]) -> &[u8] {
        &arena[self.start as usize..self.end as usize]
    }
}

/// What an exemplar weighs, in samples: itself and its labels.
const EXEMPLAR_WEIGHT: usize = 8;

/// Longest LEB128 of a length.
const LENGTH_PREFIX_MAX: usize = 5;

/// Bytes of the LEB128 in front of a text of this length.
#[inline]
fn length_prefix(len: u32) -> usize {
    1 + (len | 1).ilog2() as usize / 7
}

/// One series of [`Rows`].
#[derive(Clone, Copy, Debug)]
pub struct SeriesRow<'a> {
    /// Where it is, if it was seen before; then it has neither fingerprint nor labels.
    pub known: Option<Known>,
    /// Fingerprint of `labels`.
    pub fingerprint: Fingerprint,
    /// The set in canonical encoding.
    pub labels: &'a [u8],
    /// In order of time.
    pub samples: &'a [Sample],
    /// What some of the samples have besides floats, by their times, in the order of the samples.
    pub details: &'a [(TimestampMs, SampleDetail)],
    /// Single observations behind the samples; a series may have these alone.
    pub exemplars: &'a [Exemplar],
}

impl Rows {
    /// No rows, no memory.
    pub fn new() -> Self {
        Rows::default()
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.labels.clear();
        self.series.clear();
        self.samples.clear();
        self.details.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.keyed.clear();
        self.extra_weight = 0;
        self.tenant = None;
        self.open.pairs.clear();
    }

    /// Makes every series that ends from now on, until [`Rows::clear`], one of `tenant`. One that brings the label of tenants
    /// itself is refused as any other that has a label twice.
    pub fn set_tenant(&mut self, tenant: Option<Tenant>) {
        self.tenant = tenant;
    }

    /// Whose rows these are, where tenants are told apart.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    /// Starts a series; one that was started and not ended is forgotten.
    #[inline]
    pub fn begin_series(&mut self) {
        self.abort_series();
        self.open.canonical = true;
        self.open.in_order = true;
    }

    /// Adds a label to the open series, in any order. A label with an empty value is the same as none, but its name
    /// still counts when duplicates are looked for.
    #[inline]
    pub fn push_label(&mut self, name: &str, value: &str) -> Result<(), LabelError> {
        check_label(name, value)?;
        if self.open.pairs.len() == LABELS_PER_SERIES_MAX {
            return Err(LabelError::TooMany);
        }
        let start = self.labels.len();
        if start - self.labels_start() > LABELS_BYTES_MAX {
            return Err(LabelError::SetTooLong);
        }
        self.open.canonical &= !value.is_empty()
            && self.open.pairs.last().is_none_or(|p| p.name(&self.labels) < name.as_bytes());
        self.labels.reserve(name.len() + value.len() + 2 * LENGTH_PREFIX_MAX);
        push_pair(&mut self.labels, name, value);
        let name_start = start + length_prefix(name.len() as u32);
        self.open.pairs.push(Pair {
            start: start as u32,
            name_start: name_start as u32,
            name_end: (name_start + name.len()) as u32,
            end: self.labels.len() as u32,
            empty: value.is_empty(),
        });
        Ok(())
    }

    /// Adds a sample to the open series, in any order.
    #[inline]
    pub fn push_sample(&mut self, timestamp_ms: TimestampMs, value: f64) {
        if self.samples.len() > self.samples_start() {
            self.open.in_order &=
                self.samples.last().is_some_and(|s| s.timestamp_ms <= timestamp_ms);
        }
        self.samples.push(Sample { timestamp_ms, value });
    }

    /// Adds a histogram to the open series, in any order.
    pub fn push_histogram(&mut self, timestamp_ms: TimestampMs, histogram: FloatHistogram) {
        self.push_sample(timestamp_ms, histogram.sum);
        self.extra_weight += histogram.sample_weight();
        let histogram = Some(Arc::new(histogram));
        self.details.push((timestamp_ms, SampleDetail { histogram, start_ms: 0 }));
    }

    /// Adds an exemplar to the open series.
    pub fn push_exemplar(&mut self, exemplar: Exemplar) {
        self.extra_weight += EXEMPLAR_WEIGHT;
        self.exemplars.push(exemplar);
    }

    /// How many samples the open series has so far.
    pub fn open_sample_count(&self) -> usize {
        self.samples.len() - self.samples_start()
    }

    /// Memory of all rows and the open series, in samples: what decoders bound.
    #[inline]
    pub fn weight(&self) -> usize {
        self.samples.len() + self.extra_weight
    }

    /// How many exemplars the open series has so far.
    pub fn open_exemplar_count(&self) -> usize {
        self.exemplars.len() - self.exemplars_start()
    }

    /// The labels of the open series as far as they were read, as PromQL writes them, for an error message.
    pub fn open_excerpt(&self) -> String {
        let mut text = String::from("{");
        for pair in &self.open.pairs {
            let name = String::from_utf8_lossy(pair.name(&self.labels));
            if text.len() > 1 {
                text.push_str(", ");
            }
            let _ = write!(text, "{name}={:?}", excerpt(pair.value(&self.labels)));
            if text.len() > 4 * EXCERPT_CHARS_MAX {
                text.push_str(", ...");
                break;
            }
        }
        text.push('}');
        text
    }

    /// Ends the open series: sorts what came unsorted and takes the fingerprint. One with nothing in it is forgotten. After
    /// an error it is still open, so that it can be named; [`Rows::begin_series`] forgets it.
    #[inline]
    pub fn end_series(&mut self) -> Result<(), LabelError> {
        if let Some(tenant) = self.tenant.take() {
            // Empty for the anonymous one: then it is none, but its name counts where duplicates are looked for.
            let pushed = self.push_label(TENANT_LABEL, tenant.label_value());
            self.tenant = Some(tenant);
            pushed?;
        }
        if !self.open.canonical {
            self.sort_labels()?;
        }
        if self.labels.len() - self.labels_start() > LABELS_BYTES_MAX {
            return Err(LabelError::SetTooLong);
        }
        if self.open_sample_count() == 0 && self.exemplars.len() == self.exemplars_start() {
            self.abort_series();
            return Ok(());
        }
        self.sort_samples();
        let fingerprint = Fingerprint::of(&self.labels[self.labels_start()..]);
        self.seal(fingerprint, None);
        Ok(())
    }

    /// Ends the open series, which has samples and no labels, as the one that is known.
    #[inline]
    pub fn end_known(&mut self, known: Known) {
        if self.open_sample_count() == 0 {
            return self.abort_series();
        }
        self.sort_samples();
        self.seal(Fingerprint(0), Some(known));
    }

    /// Notes by which key the series pushed last is to be known the next time.
    pub fn set_key(&mut self, key: SeriesKey) {
        if let Some(row) = self.series.len().checked_sub(1) {
            self.keyed.push((row as u32, key));
        }
    }

    #[inline]
    fn sort_samples(&mut self) {
        if !self.open.in_order {
            let (samples, details) = (self.samples_start(), self.details_start());
            self.samples[samples..].sort_by_key(|s| s.timestamp_ms);
            self.details[details..].sort_by_key(|(t, _)| *t);
        }
    }

    /// Forgets the open series and its samples.
    #[inline]
    pub fn abort_series(&mut self) {
        self.labels.truncate(self.labels_start());
        self.samples.truncate(self.samples_start());
        self.details.truncate(self.details_start());
        self.exemplars.truncate(self.exemplars_start());
        self.open.pairs.clear();
    }

    /// Adds a series with one sample whose canonical encoding and fingerprint are known already.
    #[inline]
    pub fn push_encoded(&mut self, fingerprint: Fingerprint, labels: &[u8], sample: Sample) {
        self.abort_series();
        self.labels.extend_from_slice(labels);
        self.samples.push(sample);
        self.seal(fingerprint, None);
    }

    /// Adds a series with one sample that is known.
    #[inline]
    pub fn push_known(&mut self, known: Known, sample: Sample) {
        self.abort_series();
        self.samples.push(sample);
        self.seal(Fingerprint(0), Some(known));
    }

    /// Adds to the series pushed last what its last sample has besides the float.
    pub fn attach_detail(&mut self, detail: SampleDetail) {
        self.extra_weight += detail.histogram.as_ref().map_or(1, |h| h.sample_weight());
        let sample = self.samples.last().expect("a sample was pushed before its detail");
        self.details.push((sample.timestamp_ms, detail));
        let row = self.series.last_mut().expect("a series was pushed before its detail");
        row.details_end = self.details.len() as u32;
    }

    /// Says when the counters behind the last samples of all series from number `from` on began to count.
    pub fn set_starts(&mut self, from: usize, start_ms: TimestampMs) {
        let first = from.checked_sub(1).map_or(0, |before| self.series[before].details_end);
        let mut own = self.details.split_off(first as usize).into_iter();
        let mut before = first;
        for row in &mut self.series[from..] {
            let count = std::mem::replace(&mut before, row.details_end);
            let already = self.details.len();
            self.details.extend(own.by_ref().take((row.details_end - count) as usize));
            let timestamp_ms = self.samples[row.samples_end as usize - 1].timestamp_ms;
            match self.details[already..].last_mut() {
                Some((t, detail)) if *t == timestamp_ms => detail.start_ms = start_ms,
                _ => {
                    self.extra_weight += 1;
                    self.details.push((timestamp_ms, SampleDetail { histogram: None, start_ms }));
                }
            }
            row.details_end = self.details.len() as u32;
        }
    }

    /// Adds an exemplar to the series pushed last.
    pub fn attach_exemplar(&mut self, exemplar: Exemplar) {
        self.extra_weight += EXEMPLAR_WEIGHT;
        self.exemplars.push(exemplar);
        let row = self.series.last_mut().expect("a series was pushed before its exemplar");
        row.exemplars_end = self.exemplars.len() as u32;
    }

    /// Adds what is known of a metric family; past the bound it is left out, a long help text is cut.
    pub fn push_metadata(&mut self, family: &str, mut metadata: Metadata) {
        if self.metadata.len() == METADATA_PER_BODY_MAX || family.len() > LABEL_NAME_BYTES_MAX {
            return;
        }
        let kept = match &self.tenant {
            Some(tenant) => tenant.family(family),
            None => Some(Cow::Borrowed(family)),
        };
        if let Some(family) = kept {
            metadata.help.truncate(truncated(&metadata.help, HELP_BYTES_MAX).len());
            metadata.unit.truncate(truncated(&metadata.unit, HELP_BYTES_MAX).len());
            self.metadata.push((family.into_owned(), metadata));
        }
    }

    /// How many series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is neither a series nor metadata.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.metadata.is_empty()
    }

    /// How many samples, of all series.
    pub fn sample_count(&self) -> usize {
        self.samples_start()
    }

    /// Bytes of all label sets in canonical encoding.
    pub fn label_bytes(&self) -> usize {
        self.labels_start()
    }

    /// Each series with its samples, in the order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = SeriesRow<'_>> {
        let (mut labels, mut samples, mut details, mut exemplars) = (0, 0, 0, 0);
        self.series.iter().map(move |row| SeriesRow {
            known: row.known,
            fingerprint: row.fingerprint,
            labels: &self.labels[range(&mut labels, row.labels_end)],
            samples: &self.samples[range(&mut samples, row.samples_end)],
            details: &self.details[range(&mut details, row.details_end)],
            exemplars: &self.exemplars[range(&mut exemplars, row.exemplars_end)],
        })
    }

    /// The rows that are to be known the next time, ascending, and by which keys.
    pub fn keyed(&self) -> &[(u32, SeriesKey)] {
        &self.keyed
    }

    /// Metric families and what is known of them.
    pub fn metadata(&self) -> &[(String, Metadata)] {
        &self.metadata
    }

    /// Takes the metadata out.
    pub fn take_metadata(&mut self) -> Vec<(String, Metadata)> {
        std::mem::take(&mut self.metadata)
    }

    /// Bytes of memory that the rows hold on to, used or not.
    pub fn capacity_bytes(&self) -> usize {
        self.labels.capacity()
            + self.series.capacity() * size_of::<Row>()
            + self.samples.capacity() * size_of::<Sample>()
            + self.details.capacity() * size_of::<(TimestampMs, SampleDetail)>()
            + self.exemplars.capacity() * size_of::<Exemplar>()
            + self.keyed.capacity() * size_of::<(u32, SeriesKey)>()
    }

    #[inline]
    fn labels_start(&self) -> usize {
        self.series.last().map_or(0, |row| row.labels_end as usize)
    }

    #[inline]
    fn samples_start(&self) -> usize {
        self.series.last().map_or(0, |row| row.samples_end as usize)
    }

    #[inline]
    fn details_start(&self) -> usize {
        self.series.last().map_or(0, |row| row.details_end as usize)
    }

    #[inline]
    fn exemplars_start(&self) -> usize {
        self.series.last().map_or(0, |row| row.exemplars_end as usize)
    }

    #[inline]
    fn seal(&mut self, fingerprint: Fingerprint, known: Option<Known>) {
        self.series.push(Row {
            fingerprint,
            known,
            labels_end: self.labels.len() as u32,
            samples_end: self.samples.len() as u32,
            details_end: self.details.len() as u32,
            exemplars_end: self.exemplars.len() as u32,
        });
        self.open.pairs.clear();
    }

    /// Brings the open set into canonical encoding: sorts, refuses duplicates, leaves out empty values.
    #[cold]
    fn sort_labels(&mut self) -> Result<(), LabelError> {
        let start = self.labels_start();
        let Open { pairs, sorted, .. } = &mut self.open;
        let arena = &mut self.labels;
        pairs.sort_unstable_by(|a, b| a.name(arena).cmp(b.name(arena)));
        if let Some(twice) = pairs.windows(2).find(|w| w[0].name(arena) == w[1].name(arena)) {
            let name = String::from_utf8_lossy(twice[0].name(arena));
            return Err(LabelError::Duplicate(excerpt(&name)));
        }
        sorted.clear();
        for pair in pairs.iter().filter(|p| !p.empty) {
            sorted.extend_from_slice(pair.encoded(arena));
        }
        arena.truncate(start);
        arena.extend_from_slice(sorted);
        Ok(())
    }
}

/// From where the row before ended to where this one does.
#[inline]
fn range(start: &mut usize, end: u32) -> Range<usize> {
    std::mem::replace(start, end as usize)..end as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidemark_core::model::labels::Labels;

    fn push(rows: &mut Rows, labels: &[(&str, &str)]) -> Result<(), LabelError> {
        rows.begin_series();
        for (name, value) in labels {
            rows.push_label(name, value)?;
        }
        rows.push_sample(1, 1.0);
        rows.end_series()
    }

    #[test]
    fn a_series_in_order_is_encoded_in_place() {
        let mut rows = Rows::new();
        push(&mut rows, &[("__name__", "up"), ("job", "node")]).unwrap();
        let row = rows.iter().next().unwrap();
        assert_eq!(row.labels, b"\x08__name__\x02up\x03job\x04node");
        assert_eq!(row.fingerprint, Fingerprint::of(row.labels));
        assert_eq!(row.samples, [Sample { timestamp_ms: 1, value: 1.0 }]);
    }

    #[test]
    fn labels_and_samples_are_sorted_and_empty_values_left_out() {
        let mut rows = Rows::new();
        rows.begin_series();
        for (name, value) in [("job", "j"), ("a", ""), ("__name__", "up"), ("b", "1")] {
            rows.push_label(name, value).unwrap();
        }
        rows.push_sample(20, 2.0);
        rows.push_sample(10, 1.0);
        rows.end_series().unwrap();
        let row = rows.iter().next().unwrap();
        let expected = Labels::from_pairs([("__name__", "up"), ("b", "1"), ("job", "j")]);
        assert_eq!(row.labels, expected.encoded());
        assert_eq!(row.samples.iter().map(|s| s.timestamp_ms).collect::<Vec<_>>(), [10, 20]);
    }

    #[test]
    fn what_is_refused_leaves_no_trace() {
        let mut rows = Rows::new();
        push(&mut rows, &[("__name__", "kept")]).unwrap();
        let long = "x".repeat(LABEL_VALUE_BYTES_MAX + 1);
        let many: Vec<(&str, &str)> = vec![("a", "1"); LABELS_PER_SERIES_MAX + 1];
        let wide = "x".repeat(LABEL_VALUE_BYTES_MAX);
        let set = [("a", &*wide), ("b", &wide), ("c", &wide), ("d", &wide), ("e", &wide)];
        for (labels, expected) in [
            (&[("a", "1"), ("a", "2")][..], LabelError::Duplicate("a".into())),
            (&[("a", "1"), ("a", "")], LabelError::Duplicate("a".into())),
            (&[("", "1")], LabelError::EmptyName),
            (&[("a", &long)], LabelError::ValueTooLong { name: "a".into(), bytes: long.len() }),
            (&many, LabelError::TooMany),
            (&set, LabelError::SetTooLong),
        ] {
            assert_eq!(push(&mut rows, labels), Err(expected));
        }
        push(&mut rows, &[("__name__", "kept too")]).unwrap();
        let kept: Vec<_> =
            rows.iter().map(|r| Labels::from_encoded(r.labels).unwrap().to_string()).collect();
        assert_eq!(kept, ["kept", r#"{"kept too"}"#]);
        assert_eq!(rows.sample_count(), 2);
    }

    #[test]
    fn a_series_without_samples_is_forgotten() {
        let mut rows = Rows::new();
        rows.begin_series();
        rows.push_label("__name__", "none").unwrap();
        rows.end_series().unwrap();
        assert_eq!(rows.len(), 0);
    }

    fn exemplar(value: f64) -> Exemplar {
        let labels = Labels::from_pairs([("trace_id", "a")]);
        Exemplar { labels, value, timestamp_ms: 1, dated: true }
    }

    #[test]
    fn histograms_and_exemplars_stay_with_their_series() {
        let mut rows = Rows::new();
        push(&mut rows, &[("__name__", "plain")]).unwrap();
        rows.begin_series();
        rows.push_label("__name__", "h").unwrap();
        for (t, sum) in [(20, 2.0), (10, 1.0)] {
            rows.push_histogram(t, FloatHistogram { sum, ..FloatHistogram::default() });
        }
        rows.push_exemplar(exemplar(1.0));
        rows.end_series().unwrap();
        rows.begin_series();
        rows.push_label("__name__", "only").unwrap();
        rows.push_exemplar(exemplar(2.0));
        rows.end_series().unwrap();
        rows.begin_series();
        rows.push_histogram(1, FloatHistogram::default());
        rows.push_exemplar(exemplar(3.0));
        rows.abort_series();
        let all: Vec<_> = rows.iter().collect();
        assert_eq!(all.len(), 3);
        assert!(all[0].details.is_empty() && all[0].exemplars.is_empty());
        let sums = all[1].details.iter().map(|(t, d)| (*t, d.histogram.as_ref().unwrap().sum));
        assert_eq!(sums.collect::<Vec<_>>(), [(10, 1.0), (20, 2.0)]);
        assert_eq!(all[1].exemplars, [exemplar(1.0)]);
        assert!(all[2].samples.is_empty());
        assert_eq!(all[2].exemplars, [exemplar(2.0)]);
    }

    #[test]
    fn starts_are_set_of_the_last_series() {
        let mut rows = Rows::new();
        for name in ["a", "b", "c"] {
            rows.begin_series();
            rows.push_label("__name__", name).unwrap();
            if name == "b" {
                rows.push_histogram(7, FloatHistogram::default());
            } else {
                rows.push_sample(7, 1.0);
            }
            rows.end_series().unwrap();
        }
        rows.set_starts(1, 3);
        rows.set_starts(2, 4);
        let starts = rows.iter().map(|row| {
            row.details.iter().map(|(t, d)| (*t, d.start_ms, d.histogram.is_some())).collect()
        });
        let starts: Vec<Vec<_>> = starts.collect();
        assert_eq!(starts, [vec![], vec![(7, 3, true)], vec![(7, 4, false)]]);
    }

    #[test]
    fn clear_keeps_the_memory() {
        let mut rows = Rows::new();
        for _ in 0..100 {
            push(&mut rows, &[("__name__", "up"), ("job", "node")]).unwrap();
        }
        let before = rows.capacity_bytes();
        rows.clear();
        assert!(rows.is_empty());
        assert_eq!(rows.capacity_bytes(), before);
    }

    proptest! {
        #[test]
        fn agrees_with_labels(pairs in proptest::collection::vec(("[a-e]{1,2}|é{70}", "x{0,2}|y{200}"), 0..8)) {
            let mut rows = Rows::new();
            let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let mut names: Vec<_> = pairs.iter().map(|p| p.0).collect();
            names.sort_unstable();
            names.dedup();
            let outcome = push(&mut rows, &pairs);
            prop_assert_eq!(outcome.is_ok(), names.len() == pairs.len());
            if outcome.is_ok() {
                let expected = Labels::from_pairs(pairs);
                prop_assert_eq!(rows.iter().next().unwrap().labels, expected.encoded());
            }
        }
    }
}
