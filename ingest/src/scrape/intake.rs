//! From the body of a scrape to rows, through the target's cache.
//!
//! A line that came before is looked up by its bytes and its labels are at hand. A new one is parsed, gets the labels of
//! its target, is relabelled and checked against the limits of the job. One line that is wrong fails the scrape whole.

use std::sync::Arc;

use tidemark_core::head::details::SampleDetail;
use tidemark_core::model::exemplar::Exemplar;
use tidemark_core::model::histogram::{EXPONENTIAL_SCHEMA_MIN, FloatHistogram};
use tidemark_core::model::labels::{
    Fingerprint, Labels, is_legacy_label_name, is_legacy_metric_name,
};
use tidemark_core::model::metadata::MetricType;
use tidemark_core::model::sample::{STALE_NAN, Sample};
use tidemark_core::model::tenant::{TENANT_LABEL, Tenant};
use tidemark_core::model::time::TimestampMs;
use tidemark_core::runtime;

use super::cache::{Cache, Found, LineHash, Name, Series};
use super::convert::{Converted, Converter};
use super::created::{Groups, Place};
use super::error::ScrapeError;
use super::families::Families;
use super::job::{Job, JobLimits};
use super::negotiate::Format;
use crate::known::SeriesKey;
use crate::label_set::LabelSet;
use crate::limits::{SAMPLES_PER_BODY_MAX, excerpt};
use crate::protocols::exposition::Exposition;
use crate::protocols::lines::{Entry, HelpText, MetricName, SampleLine};
use crate::protocols::{bounds, exposition_proto, openmetrics, text};
use crate::relabel;
use crate::rows::Rows;

/// Entries between two offers to yield: well below 200 us of work even if none was seen before.
const ENTRIES_PER_SLICE: usize = 64;

/// Prefix of a scraped label that the target has as well.
const EXPORTED_PREFIX: &str = "exported_";

/// What a scrape brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Samples in the body.
    pub(super) scraped: u64,
    /// Those that relabelling left.
    pub(super) relabelled: u64,
    /// Series that the cache did not know.
    pub(super) series_added: u64,
    /// Samples of a series that had one already, without a timestamp of their own; left out.
    pub(super) duplicates: u64,
}

/// Memory that one scrape after the other uses.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) rows: Rows,
    pub(super) body: Vec<u8>,
    labels: LabelSet,
    encoded: Vec<u8>,
}

impl Scratch {
    /// Bytes of memory it holds on to.
    pub(super) fn capacity_bytes(&self) -> usize {
        self.rows.capacity_bytes() + self.body.capacity()
    }
}

/// One scrape on its way into rows.
pub(super) struct Intake<'a> {
    pub(super) job: &'a Job,
    /// What every series gets.
    pub(super) target_labels: &'a Labels,
    /// Whose they are, where tenants are told apart.
    pub(super) tenant: Option<&'a Tenant>,
    /// Whether it is stored when counters began to count.
    pub(super) start_timestamps: bool,
    /// The time of samples without one of their own.
    pub(super) time_ms: TimestampMs,
    pub(super) cache: &'a mut Cache,
    pub(super) families: &'a std::cell::RefCell<Families>,
    pub(super) rows: &'a mut Rows,
    /// Where the labels of a new series are put together, and where encoded.
    pub(super) labels: &'a mut LabelSet,
    pub(super) encoded: &'a mut Vec<u8>,
    pub(super) counts: Counts,
    /// Lines that belong together, where one of them may say when the others began to count.
    pub(super) groups: Option<Groups>,
    /// The first row of that group.
    pub(super) group_start: usize,
}

/// One sample of a body, its labels not read yet.
trait Exposed {
    /// The bytes that tell its series from the others of the body.
    fn key(&self) -> &[u8];
    /// Its value.
    fn value(&self) -> f64;
    /// The timestamp that it carries.
    fn timestamp_ms(&self) -> Option<TimestampMs>;
    /// When its counter began to count.
    fn start_ms(&self) -> Option<TimestampMs> {
        None
    }
    /// The whole, if it is a native histogram.
    fn histogram(&self) -> Option<&Arc<FloatHistogram>> {
        None
    }
    /// Calls `take` with each of its exemplars; those without a time get `sample_ms`.
    fn exemplars(
        &self,
        sample_ms: TimestampMs,
        take: impl FnMut(Exemplar),
    ) -> Result<(), ScrapeError>;
    /// Reads its labels.
    fn labels(&self, out: &mut LabelSet) -> Result<(), ScrapeError>;
    /// Says where in the body labels are refused, if the format has places.
    fn locate(&self, error: ScrapeError) -> ScrapeError;
}

/// A line, the type of its family, and the body it is part of.
struct Line<'a>(SampleLine<'a>, MetricType, &'a [u8]);

impl Exposed for Line<'_> {
    fn key(&self) -> &[u8] {
        self.0.series
    }

    fn value(&self) -> f64 {
        self.0.value
    }

    fn timestamp_ms(&self) -> Option<TimestampMs> {
        self.0.timestamp_ms
    }

    #[inline]
    fn exemplars(
        &self,
        sample_ms: TimestampMs,
        take: impl FnMut(Exemplar),
    ) -> Result<(), ScrapeError> {
        if self.0.exemplar.is_some() {
            self.0.read_exemplar(sample_ms).into_iter().for_each(take);
        }
        Ok(())
    }

    fn labels(&self, out: &mut LabelSet) -> Result<(), ScrapeError> {
        self.0.labels(self.2, out)?;
        bounds::normalize(self.1, out);
        Ok(())
    }

    fn locate(&self, error: ScrapeError) -> ScrapeError {
        error.at(&self.0, self.2)
    }
}

impl Exposed for exposition_proto::Sample<'_, '_> {
    fn key(&self) -> &[u8] {
        self.key
    }

    fn value(&self) -> f64 {
        self.value
    }

    fn timestamp_ms(&self) -> Option<TimestampMs> {
        self.timestamp_ms
    }

    fn start_ms(&self) -> Option<TimestampMs> {
        self.start_ms
    }

    fn histogram(&self) -> Option<&Arc<FloatHistogram>> {
        self.histogram
    }

    fn exemplars(
        &self,
        sample_ms: TimestampMs,
        take: impl FnMut(Exemplar),
    ) -> Result<(), ScrapeError> {
        Ok(exposition_proto::Sample::exemplars(self, sample_ms, take)?)
    }

    fn labels(&self, out: &mut LabelSet) -> Result<(), ScrapeError> {
        Ok(exposition_proto::Sample::labels(self, out)?)
    }

    fn locate(&self, error: ScrapeError) -> ScrapeError {
        error
    }
}

impl Exposed for Converted {
    fn key(&self) -> &[u8] {
        &self.key
    }

    fn value(&self) -> f64 {
        self.histogram.sum
    }

    fn timestamp_ms(&self) -> Option<TimestampMs> {
        self.timestamp_ms
    }

    fn histogram(&self) -> Option<&Arc<FloatHistogram>> {
        Some(&self.histogram)
    }

    fn exemplars(&self, _: TimestampMs, take: impl FnMut(Exemplar)) -> Result<(), ScrapeError> {
        self.exemplars.iter().filter(|exemplar| exemplar.dated).cloned().for_each(take);
        Ok(())
    }

    fn labels(&self, out: &mut LabelSet) -> Result<(), ScrapeError> {
        self.labels.iter().for_each(|(name, value)| out.push(name, value));
        Ok(())
    }

    fn locate(&self, error: ScrapeError) -> ScrapeError {
        error
    }
}

impl Intake<'_> {
    /// Takes a whole body. After an error the rows mean nothing, the counts tell how far it came.
    pub(super) async fn take(&mut self, body: &[u8], format: Format) -> Result<(), ScrapeError> {
        match format {
            Format::PrometheusText => {
                self.take_lines(body, Exposition::Text(text::Parser::new(body))).await
            }
            Format::OpenMetrics => {
                self.groups = self.start_timestamps.then(Groups::default);
                self.take_lines(body, Exposition::OpenMetrics(openmetrics::Parser::new(body))).await
            }
            Format::Protobuf => self.take_protobuf(body).await,
        }
    }

    async fn take_lines(
        &mut self,
        body: &[u8],
        mut parser: Exposition<'_>,
    ) -> Result<(), ScrapeError> {
        let mut family_kind = MetricType::Unknown;
        let mut converter = self.job.histograms.convert.then(Converter::default);
        loop {
            for _ in 0..ENTRIES_PER_SLICE {
                let Some(entry) = parser.next_entry()? else {
                    if let Some(last) = converter.as_mut().and_then(Converter::end) {
                        self.take_sample(&last)?;
                    }
                    return self.check_sample_limit();
                };
                match entry {
                    Entry::Type(name, kind) => {
                        family_kind = kind;
                        if let Some(converter) = &mut converter {
                            converter.begin_family(name, kind);
                        }
                        self.families.borrow_mut().set_type(name, kind);
                    }
                    Entry::Help(name, text) => self.families.borrow_mut().set_help(name, text),
                    Entry::Unit(name, unit) => self.families.borrow_mut().set_unit(name, unit),
                    Entry::Sample(line) => {
                        let line = Line(line, family_kind, body);
                        if self.is_start(&line, &mut converter)? {
                            continue;
                        }
                        match &mut converter {
                            None => self.take_sample(&line)?,
                            Some(converter) => self.take_convertible(&line, converter)?,
                        }
                    }
                }
            }
            runtime::yield_if_needed().await;
        }
    }

    async fn take_protobuf(&mut self, body: &[u8]) -> Result<(), ScrapeError> {
        let mut parser = exposition_proto::Parser::new(body, self.job.histograms);
        loop {
            for _ in 0..ENTRIES_PER_SLICE {
                match parser.next_entry()? {
                    None => return self.check_sample_limit(),
                    Some(exposition_proto::Entry::Sample(sample)) => self.take_sample(&sample)?,
                    Some(exposition_proto::Entry::Family(family)) => {
                        let name = MetricName::verbatim(family.name);
                        let mut families = self.families.borrow_mut();
                        families.set_type(name, family.kind);
                        families.set_help(name, HelpText::verbatim(family.help));
                        families.set_unit(name, family.unit);
                    }
                }
            }
            runtime::yield_if_needed().await;
        }
    }

    /// Whether a line only says when the samples before it began to count; they are told.
    fn is_start(
        &mut self,
        line: &Line<'_>,
        converter: &mut Option<Converter>,
    ) -> Result<bool, ScrapeError> {
        let Some(groups) = &mut self.groups else { return Ok(false) };
        let place = groups.look(&line.0, line.1, line.2)?;
        if place != Place::Continues
            && let Some(ended) = converter.as_mut().and_then(Converter::end)
        {
            self.take_sample(&ended)?;
        }
        match place {
            Place::Begins => self.group_start = self.rows.len(),
            Place::Continues | Place::Created(None) => {}
            Place::Created(Some(start_ms)) => self.rows.set_starts(self.group_start, start_ms),
        }
        Ok(matches!(place, Place::Created(_)))
    }

    /// Takes a line that may be part of a histogram that becomes one sample.
    fn take_convertible(
        &mut self,
        line: &Line<'_>,
        converter: &mut Converter,
    ) -> Result<(), ScrapeError> {
        let taken = converter.take(&line.0, line.2, self.time_ms)?;
        if let Some(ended) = taken.ended {
            self.take_sample(&ended)?;
        }
        if taken.is_part && !self.job.histograms.classic { Ok(()) } else { self.take_sample(line) }
    }

    #[inline]
    fn take_sample(&mut self, sample: &impl Exposed) -> Result<(), ScrapeError> {
        self.counts.scraped += 1;
        let hash = LineHash::of(sample.key());
        let known = match self.cache.find(hash) {
            Found::Series(place) => Some(place),
            Found::Dropped => return Ok(()),
            Found::Nothing => {
                self.labels.clear();
                self.encoded.clear();
                sample.labels(self.labels)?;
                if !self.finish_labels().map_err(|error| sample.locate(error))? {
                    self.cache.add_dropped(hash);
                    return Ok(());
                }
                None
            }
        };
        self.counts.relabelled += 1;
        if self.is_over_limit() {
            return Ok(());
        }
        let place = known.unwrap_or_else(|| {
            self.counts.series_added += 1;
            self.cache.add(hash, Fingerprint::of(self.encoded), self.encoded)
        });
        self.push(place, sample)
    }

    #[inline]
    fn push(&mut self, place: u32, exposed: &impl Exposed) -> Result<(), ScrapeError> {
        let own_time = exposed.timestamp_ms().filter(|_| self.job.honor_timestamps);
        let track = own_time.is_none() || self.job.track_timestamps_staleness;
        if self.cache.see(place, track) && own_time.is_none() {
            self.counts.duplicates += 1;
            return Ok(());
        }
        let timestamp_ms = own_time.unwrap_or(self.time_ms);
        let histogram = match exposed.histogram() {
            Some(histogram) => Some(limited(histogram, &self.job.limits)?),
            None => None,
        };
        let series = self.cache.series(place);
        let sample = Sample { timestamp_ms, value: exposed.value() };
        push_series(self.rows, series, sample);
        if let Name::Labels(_) = series.name {
            self.rows.set_key(SeriesKey::of_place(place));
        }
        let start_ms = exposed.start_ms().filter(|_| self.start_timestamps).unwrap_or(0);
        if histogram.is_some() || start_ms != 0 {
            self.rows.attach_detail(SampleDetail { histogram, start_ms });
        }
        let rows = &mut *self.rows;
        exposed.exemplars(timestamp_ms, |exemplar| rows.attach_exemplar(exemplar))
    }

    /// Adds the target's labels, relabels, checks and encodes; `false` says that relabelling drops the series.
    fn finish_labels(&mut self) -> Result<bool, ScrapeError> {
        let labels = &mut *self.labels;
        labels.refuse_duplicates()?;
        add_target_labels(labels, self.target_labels, self.job.honor_labels);
        if !relabel::apply(&self.job.metric_relabel_rules, labels) || labels.is_empty() {
            return Ok(false);
        }
        if labels.metric_name().is_empty() {
            return Err(ScrapeError::NoMetricName);
        }
        if self.job.legacy_names {
            check_names(labels)?;
        }
        check_limits(labels, &self.job.limits)?;
        if let Some(tenant) = self.tenant {
            // Last, so that neither the target nor a rule says otherwise.
            labels.set(TENANT_LABEL, tenant.label_value());
        }
        labels.encode(self.encoded)?;
        Ok(true)
    }

    fn is_over_limit(&self) -> bool {
        let limit = self.job.limits.samples;
        let bound = SAMPLES_PER_BODY_MAX as u64;
        let allowed = if limit == 0 { bound } else { limit.min(bound) };
        self.counts.relabelled > allowed || self.rows.weight() > SAMPLES_PER_BODY_MAX
    }

    fn check_sample_limit(&self) -> Result<(), ScrapeError> {
        if self.is_over_limit() { Err(ScrapeError::SampleLimit) } else { Ok(()) }
    }
}

impl Scratch {
    /// The parts that [`Intake::take`] borrows, apart.
    pub(super) fn split(&mut self) -> (&mut Rows, &mut LabelSet, &mut Vec<u8>) {
        (&mut self.rows, &mut self.labels, &mut self.encoded)
    }
}

/// Marks the end of a series.
pub(super) fn push_stale(rows: &mut Rows, series: &Series, timestamp_ms: TimestampMs) {
    push_series(rows, series, Sample { timestamp_ms, value: STALE_NAN });
}

#[inline]
fn push_series(rows: &mut Rows, series: &Series, sample: Sample) {
    match &series.name {
        Name::Number(known) => rows.push_known(*known, sample),
        // Storage has nothing of it any more that could end.
        Name::Labels(labels) if labels.is_empty() => {}
        Name::Labels(labels) => rows.push_encoded(series.fingerprint, labels, sample),
    }
}

/// The histogram with as little resolution as the limits of the job ask; an error if that does not suffice.
fn limited(
    histogram: &Arc<FloatHistogram>,
    limits: &JobLimits,
) -> Result<Arc<FloatHistogram>, ScrapeError> {
    let mut histogram = Arc::clone(histogram);
    if let Some(schema) = limits.histogram_schema_max
        && !histogram.is_custom()
        && histogram.schema > schema
    {
        Arc::make_mut(&mut histogram).reduce_to(schema);
    }
    let limit = limits.histogram_buckets as usize;
    while limit > 0 && histogram.positive.len() + histogram.negative.len() > limit {
        if histogram.is_custom() || histogram.schema == EXPONENTIAL_SCHEMA_MIN {
            return Err(ScrapeError::HistogramBuckets);
        }
        let coarser = histogram.schema - 1;
        Arc::make_mut(&mut histogram).reduce_to(coarser);
    }
    Ok(histogram)
}

/// Joins the labels of the target to those of a series. Where both have one, the series' own wins with `honor`, else it
/// is renamed by as many `exported_` as it takes to be unique. Empty labels are gone afterwards.
fn add_target_labels(labels: &mut LabelSet, target: &Labels, honor: bool) {
    let mut conflicts: Vec<(String, String)> = Vec::new();
    for (name, value) in target {
        if honor && labels.has(name) {
            continue;
        }
        let own = labels.get(name);
        if !own.is_empty() {
            conflicts.push((name.to_owned(), own.to_owned()));
        }
        labels.set(name, value);
    }
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, value) in conflicts {
        let mut name = format!("{EXPORTED_PREFIX}{name}");
        while !labels.get(&name).is_empty() {
            name.insert_str(0, EXPORTED_PREFIX);
        }
        labels.set(&name, &value);
    }
    labels.remove_empty();
    labels.rebase();
}

fn check_names(labels: &LabelSet) -> Result<(), ScrapeError> {
    let bad = labels.iter().any(|(name, _)| !is_legacy_label_name(name));
    if bad || !is_legacy_metric_name(labels.metric_name()) {
        let shown = Labels::from_pairs(labels.iter()).to_string();
        return Err(ScrapeError::InvalidNames(excerpt(&shown)));
    }
    Ok(())
}

fn check_limits(labels: &LabelSet, limits: &JobLimits) -> Result<(), ScrapeError> {
    let past = |length: usize, limit: u64| limit > 0 && length as u64 > limit;
    let metric = || excerpt(labels.metric_name());
    if past(labels.len(), limits.labels) {
        let number = labels.len();
        return Err(ScrapeError::LabelLimit { metric: metric(), number, limit: limits.labels });
    }
    for (name, value) in labels.iter() {
        if past(name.len(), limits.label_name_bytes) {
            return Err(ScrapeError::LabelNameLength {
                metric: metric(),
                name: excerpt(name),
                length: name.len(),
                limit: limits.label_name_bytes,
            });
        }
        if past(value.len(), limits.label_value_bytes) {
            return Err(ScrapeError::LabelValueLength {
                metric: metric(),
                name: excerpt(name),
                value: excerpt(value),
                length: value.len(),
                limit: limits.label_value_bytes,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(series: &[(&str, &str)], target: &[(&str, &str)], honor: bool) -> String {
        let mut labels: LabelSet = series.iter().copied().collect();
        add_target_labels(&mut labels, &Labels::from_pairs(target.iter().copied()), honor);
        Labels::from_pairs(labels.iter()).to_string()
    }

    #[test]
    fn labels_of_series_and_target() {
        let target = [("instance", "i"), ("job", "j")];
        for (series, honor, expected) in [
            (&[("a", "1")][..], false, r#"{a="1", instance="i", job="j"}"#),
            (&[("job", "own")], false, r#"{exported_job="own", instance="i", job="j"}"#),
            (&[("job", "")], false, r#"{instance="i", job="j"}"#),
            (
                &[("job", "own"), ("exported_job", "other")],
                false,
                r#"{exported_exported_job="own", exported_job="other", instance="i", job="j"}"#,
            ),
            (&[("job", "own")], true, r#"{instance="i", job="own"}"#),
            (&[("job", "")], true, r#"{instance="i"}"#),
            (&[("a", "")], true, r#"{instance="i", job="j"}"#),
        ] {
            assert_eq!(joined(series, &target, honor), expected, "{series:?}");
        }
        let nested = [("foo", "1"), ("exported_foo", "2")];
        assert_eq!(
            joined(&nested, &[("foo", "x"), ("exported_foo", "y")], false),
            r#"{exported_exported_exported_foo="2", exported_exported_foo="1", exported_foo="y", foo="x"}"#
        );
    }

    #[test]
    fn limits_name_the_offender() {
        let labels: LabelSet = [("__name__", "m"), ("long_name", "value")].into_iter().collect();
        let check = |limits: JobLimits| check_limits(&labels, &limits).unwrap_err().to_string();
        let none = JobLimits::default();
        assert!(check_limits(&labels, &none).is_ok());
        assert_eq!(
            check(JobLimits { labels: 1, ..none }),
            "label_limit exceeded (metric: m, number of labels: 2, limit: 1)"
        );
        assert_eq!(
            check(JobLimits { label_name_bytes: 8, ..none }),
            "label_name_length_limit exceeded (metric: m, label name: long_name, length: 9, limit: 8)"
        );
        assert_eq!(
            check(JobLimits { label_value_bytes: 4, ..none }),
            r#"label_value_length_limit exceeded (metric: m, label name: long_name, value: "value", length: 5, limit: 4)"#
        );
    }
}
