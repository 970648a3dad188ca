//! The protobuf exposition format: `io.prometheus.client.MetricFamily` messages, each behind its length.
//!
//! ```text
//! MetricFamily  1: name  2: help  3: type  4: Metric*  5: unit
//! Metric        1: LabelPair*  2: Gauge  3: Counter  4: Summary  5: Untyped  7: Histogram  6: timestamp in ms
//! Gauge, Untyped  1: value          LabelPair  1: name  2: value
//! Counter       1: value  2: Exemplar  3: created
//! Summary       1: count  2: sum  3: (1: quantile  2: value)*  4: created
//! Histogram     1: count  4: count as float  2: sum  15: created  16: Exemplar*
//!               3: (1: cumulative count  4: the same as float  2: upper bound  3: Exemplar)*
//!               5 to 14: native buckets, see [`super::native`]
//! Exemplar      1: LabelPair*  2: value  3: timestamp
//! timestamp, created  1: seconds  2: nanoseconds
//! ```
//!
//! [`Parser`] is pulled sample by sample; a summary or histogram becomes the series that the text formats write for it,
//! its bounds spelled the same way. [`Options`] say which of the two sets of buckets of a histogram are read. A sample has
//! a key, the bytes that tell its series from the others of the body.

mod parts;

use std::sync::Arc;

use tidemark_core::model::exemplar::Exemplar;
use tidemark_core::model::histogram::FloatHistogram;
use tidemark_core::model::labels::METRIC_NAME;
use tidemark_core::model::metadata::MetricType;
use tidemark_core::model::time::TimestampMs;

use super::bounds;
use super::exemplars::exemplar;
use super::wire::{Field, Reader, WireError};
use crate::label_set::LabelSet;
use crate::rows::is_timestamp_in_range;
use parts::{Part, Parts, timestamp_ms};

/// How histograms are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Native buckets are read.
    pub native: bool,
    /// Classic buckets are read even where native ones are.
    pub classic: bool,
    /// Classic buckets are made native ones with the same bounds.
    pub convert: bool,
}

impl Default for Options {
    /// Classic buckets only.
    fn default() -> Self {
        Options { native: false, classic: true, convert: false }
    }
}

/// What is pulled out of a body.
#[derive(Debug)]
pub enum Entry<'a, 'p> {
    /// A family begins.
    Family(Family<'a>),
    /// A sample of the family that began last.
    Sample(Sample<'a, 'p>),
}

/// What is said of a metric family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Family<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its help text.
    pub help: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// Its type.
    pub kind: MetricType,
}

/// One sample, its labels not read yet.
#[derive(Debug)]
pub struct Sample<'a, 'p> {
    /// The same bytes are the same series.
    pub key: &'p [u8],
    /// Its value; a NaN is the normal one.
    pub value: f64,
    /// The explicit timestamp, if there is one.
    pub timestamp_ms: Option<TimestampMs>,
    /// When the counter began to count, if that is said.
    pub start_ms: Option<TimestampMs>,
    /// The whole, if the sample is a native histogram; then the value is its sum.
    pub histogram: Option<&'p Arc<FloatHistogram>>,
    family: &'a str,
    metric: Reader<'a>,
    part: Part<'a>,
    exemplars: &'p [Reader<'a>],
}

/// Pulls entries out of a body; see the module's page.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    body: Reader<'a>,
    family: Family<'a>,
    /// What is left of the family; its metrics.
    metrics: Reader<'a>,
    options: Options,
    /// The metric whose parts come, and which come next.
    metric: Reader<'a>,
    parts: Parts<'a>,
    next_part: usize,
    timestamp_ms: Option<TimestampMs>,
    key: Vec<u8>,
    /// Length of the part of `key` that all series of the metric share.
    key_shared: usize,
}

impl<'a> Parser<'a> {
    /// Begins at the first family.
    pub fn new(body: &'a [u8], options: Options) -> Self {
        let empty = Reader::new(&[]);
        Parser {
            body: Reader::new(body),
            family: Family { name: "", help: "", unit: "", kind: MetricType::Unknown },
            metrics: empty,
            options,
            metric: empty,
            parts: Parts::default(),
            next_part: 0,
            timestamp_ms: None,
            key: Vec::new(),
            key_shared: 0,
        }
    }

    /// The next entry, or `None` at the end. After an error there is nothing more to pull.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a, '_>>, WireError> {
        while self.next_part == self.parts.list.len() {
            match self.metrics.next_field()? {
                Some(field) if field.number == 4 => self.begin_metric(field.bytes()?)?,
                Some(_) => {}
                None if self.body.bytes().is_empty() => return Ok(None),
                None => {
                    let family = self.body.prefixed()?;
                    self.begin_family(family)?;
                    return Ok(Some(Entry::Family(self.family)));
                }
            }
        }
        let part = self.parts.list[self.next_part];
        self.next_part += 1;
        self.key.truncate(self.key_shared);
        self.key.extend_from_slice(part.suffix.as_bytes());
        if let Some((_, bound)) = part.bound {
            self.key.extend_from_slice(&bound.to_bits().to_le_bytes());
        }
        Ok(Some(Entry::Sample(Sample {
            key: &self.key,
            value: part.value,
            timestamp_ms: self.timestamp_ms,
            start_ms: self.parts.start_ms,
            histogram: self.parts.histogram.as_ref().filter(|_| part.native),
            family: self.family.name,
            metric: self.metric,
            part,
            exemplars: if part.native { &self.parts.exemplars } else { &[] },
        })))
    }

    fn begin_family(&mut self, message: Reader<'a>) -> Result<(), WireError> {
        let mut family = Family { name: "", help: "", unit: "", kind: MetricType::Counter };
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => family.name = text(field)?,
                2 => family.help = text(field)?,
                3 => family.kind = kind(field.varint()?),
                5 => family.unit = text(field)?,
                _ => {}
            }
        }
        if family.name.is_empty() {
            return Err(message.error("metric family without a name"));
        }
        self.family = family;
        self.metrics = message;
        Ok(())
    }

    /// Finds the parts of a metric, its timestamp and what its series share of their keys.
    fn begin_metric(&mut self, message: Reader<'a>) -> Result<(), WireError> {
        self.metric = message;
        self.parts.clear();
        self.next_part = 0;
        self.timestamp_ms = None;
        let gauge = self.family.kind == MetricType::GaugeHistogram;
        self.key.clear();
        self.push_key(self.family.name.as_bytes());
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => self.push_key(field.bytes()?.bytes()),
                2 | 3 | 5 => self.parts.push_value(field.bytes()?)?,
                4 => self.parts.push_summary(field.bytes()?)?,
                6 => {
                    let timestamp_ms = field.varint()? as i64;
                    if !is_timestamp_in_range(timestamp_ms) {
                        return Err(message.error("timestamp is not within the years 1 to 9999"));
                    }
                    self.timestamp_ms = (timestamp_ms != 0).then_some(timestamp_ms);
                }
                7 => self.parts.push_histogram(field.bytes()?, self.options, gauge)?,
                _ => {}
            }
        }
        // No text is that long: the labels end here.
        self.key.extend_from_slice(&u32::MAX.to_le_bytes());
        self.key_shared = self.key.len();
        self.parts.normalize();
        Ok(())
    }

    /// Adds a text behind its length, so that where one ends and the next begins is never in doubt.
    fn push_key(&mut self, text: &[u8]) {
        self.key.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.key.extend_from_slice(text);
    }
}

impl Sample<'_, '_> {
    /// Reads the labels into `out`, after what it holds already, metric name included.
    pub fn labels(&self, out: &mut LabelSet) -> Result<(), WireError> {
        out.push_with(METRIC_NAME, |text| {
            text.push_str(self.family);
            text.push_str(self.part.suffix);
        });
        push_labels(self.metric, out)?;
        if let Some((label, bound)) = self.part.bound {
            out.push(label, &bounds::spell(bound));
        }
        Ok(())
    }

    /// Calls `take` with each exemplar; those without a time get `sample_ms`. Of a native histogram only those with a time
    /// count, since nothing else tells them apart.
    pub fn exemplars(
        &self,
        sample_ms: TimestampMs,
        mut take: impl FnMut(Exemplar),
    ) -> Result<(), WireError> {
        for message in self.exemplars.iter().chain(&self.part.exemplar) {
            let read = read_exemplar(*message, sample_ms)?;
            read.filter(|e| e.dated || self.histogram.is_none()).into_iter().for_each(&mut take);
        }
        Ok(())
    }
}

/// Adds the labels of a `Metric` or `Exemplar`.
fn push_labels(mut message: Reader<'_>, out: &mut LabelSet) -> Result<(), WireError> {
    while let Some(field) = message.next_field()? {
        if field.number != 1 {
            continue;
        }
        let (mut name, mut value) = ("", "");
        let mut pair = field.bytes()?;
        while let Some(field) = pair.next_field()? {
            match field.number {
                1 => name = text(field)?,
                2 => value = text(field)?,
                _ => {}
            }
        }
        out.push(name, value);
    }
    Ok(())
}

/// Reads an exemplar; one without a time gets `sample_ms`. `None` if it is longer than exemplars may be.
fn read_exemplar(
    message: Reader<'_>,
    sample_ms: TimestampMs,
) -> Result<Option<Exemplar>, WireError> {
    let (mut labels, mut value, mut time) = (LabelSet::new(), 0.0, None);
    push_labels(message, &mut labels)?;
    let mut fields = message;
    while let Some(field) = fields.next_field()? {
        match field.number {
            2 => value = field.double()?,
            3 => time = Some(timestamp_ms(field.bytes()?)?),
            _ => {}
        }
    }
    Ok(exemplar(&labels, value, time, sample_ms))
}

fn text(field: Field<'_>) -> Result<&str, WireError> {
    let bytes = field.bytes()?;
    std::str::from_utf8(bytes.bytes()).map_err(|_| bytes.error("text is not valid UTF-8"))
}

fn kind(number: u64) -> MetricType {
    const KINDS: [MetricType; 6] = [
        MetricType::Counter,
        MetricType::Gauge,
        MetricType::Summary,
        MetricType::Unknown,
        MetricType::Histogram,
        MetricType::GaugeHistogram,
    ];
    usize::try_from(number).ok().and_then(|n| KINDS.get(n)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
