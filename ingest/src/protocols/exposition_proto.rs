//! The protobuf exposition format: `io.prometheus.client.MetricFamily` messages, each behind its length.
//!
//! ```text
//! MetricFamily  1: name  2: help  3: type  4: Metric*  5: unit
//! Metric        1: LabelPair*  2: Gauge  3: Counter  4: Summary  5: Untyped  7: Histogram  6: timestamp in ms
//! Gauge, Counter, Untyped  1: value          LabelPair  1: name  2: value
//! Summary       1: count  2: sum  3: (1: quantile  2: value)*
//! Histogram     1: count  4: count as float  2: sum  3: (1: cumulative count  4: the same as float  2: upper bound)*
//! ```
//!
//! [`Parser`] is pulled sample by sample; a summary or histogram becomes the series that the text formats write for it,
//! its bounds spelled the same way. Of histograms the classic buckets are read; native buckets and exemplars are left
//! out. A sample has a key, the bytes that tell its series from the others of the body.

use tidemark_core::model::labels::METRIC_NAME;
use tidemark_core::model::metadata::MetricType;
use tidemark_core::model::sample::NORMAL_NAN_BITS;
use tidemark_core::model::time::TimestampMs;

use super::bounds;
use super::wire::{Field, Reader, WireError};
use crate::label_set::LabelSet;
use crate::limits::BUCKETS_PER_METRIC_MAX;
use crate::rows::is_timestamp_in_range;

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
    family: &'a str,
    metric: Reader<'a>,
    part: Part,
}

/// Which of the series that one metric becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    suffix: &'static str,
    /// Label and value of a bound.
    bound: Option<(&'static str, f64)>,
    value: f64,
}

impl Part {
    fn new(suffix: &'static str, value: f64) -> Self {
        Part { suffix, bound: None, value }
    }
}

/// Pulls entries out of a body; see the module's page.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    body: Reader<'a>,
    family: Family<'a>,
    /// What is left of the family; its metrics.
    metrics: Reader<'a>,
    /// The metric whose parts come, and which come next.
    metric: Reader<'a>,
    parts: Vec<Part>,
    next_part: usize,
    timestamp_ms: Option<TimestampMs>,
    key: Vec<u8>,
    /// Length of the part of `key` that all series of the metric share.
    key_shared: usize,
}

impl<'a> Parser<'a> {
    /// Begins at the first family.
    pub fn new(body: &'a [u8]) -> Self {
        let empty = Reader::new(&[]);
        Parser {
            body: Reader::new(body),
            family: Family { name: "", help: "", unit: "", kind: MetricType::Unknown },
            metrics: empty,
            metric: empty,
            parts: Vec::new(),
            next_part: 0,
            timestamp_ms: None,
            key: Vec::new(),
            key_shared: 0,
        }
    }

    /// The next entry, or `None` at the end. After an error there is nothing more to pull.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a, '_>>, WireError> {
        while self.next_part == self.parts.len() {
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
        let part = self.parts[self.next_part];
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
            family: self.family.name,
            metric: self.metric,
            part,
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
        self.key.clear();
        self.push_key(self.family.name.as_bytes());
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => self.push_key(field.bytes()?.bytes()),
                2 | 3 | 5 => {
                    let value = double_field(field.bytes()?, 1)?;
                    self.parts.push(Part::new("", value));
                }
                4 => self.push_summary(field.bytes()?)?,
                6 => {
                    let timestamp_ms = field.varint()? as i64;
                    if !is_timestamp_in_range(timestamp_ms) {
                        return Err(message.error("timestamp is not within the years 1 to 9999"));
                    }
                    self.timestamp_ms = (timestamp_ms != 0).then_some(timestamp_ms);
                }
                7 => self.push_histogram(field.bytes()?)?,
                _ => {}
            }
        }
        // No text is that long: the labels end here.
        self.key.extend_from_slice(&u32::MAX.to_le_bytes());
        self.key_shared = self.key.len();
        for part in &mut self.parts {
            if part.value.is_nan() {
                part.value = f64::from_bits(NORMAL_NAN_BITS);
            }
        }
        Ok(())
    }

    /// Adds a text behind its length, so that where one ends and the next begins is never in doubt.
    fn push_key(&mut self, text: &[u8]) {
        self.key.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.key.extend_from_slice(text);
    }

    fn push_summary(&mut self, message: Reader<'a>) -> Result<(), WireError> {
        let (mut count, mut sum) = (0.0, 0.0);
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => count = field.varint()? as f64,
                2 => sum = field.double()?,
                3 => {
                    let quantile = field.bytes()?;
                    let bound = Some(("quantile", double_field(quantile, 1)?));
                    self.push_part(
                        message,
                        Part { suffix: "", bound, value: double_field(quantile, 2)? },
                    )?;
                }
                _ => {}
            }
        }
        self.push_part(message, Part::new("_count", count))?;
        self.push_part(message, Part::new("_sum", sum))
    }

    fn push_histogram(&mut self, message: Reader<'a>) -> Result<(), WireError> {
        let (mut count, mut sum, mut has_infinity) = (Count::default(), 0.0, false);
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 | 4 => count.read(field, 1)?,
                2 => sum = field.double()?,
                3 => {
                    let (bound, value) = read_bucket(field.bytes()?)?;
                    has_infinity |= bound == f64::INFINITY;
                    self.push_bucket(message, bound, value)?;
                }
                _ => {}
            }
        }
        if !has_infinity {
            self.push_bucket(message, f64::INFINITY, count.value())?;
        }
        self.push_part(message, Part::new("_count", count.value()))?;
        self.push_part(message, Part::new("_sum", sum))
    }

    fn push_bucket(&mut self, at: Reader<'a>, bound: f64, value: f64) -> Result<(), WireError> {
        self.push_part(at, Part { suffix: "_bucket", bound: Some(("le", bound)), value })
    }

    fn push_part(&mut self, at: Reader<'a>, part: Part) -> Result<(), WireError> {
        if self.parts.len() == BUCKETS_PER_METRIC_MAX {
            return Err(at.error("too many buckets or quantiles"));
        }
        self.parts.push(part);
        Ok(())
    }
}

impl Sample<'_, '_> {
    /// Reads the labels into `out`, after what it holds already, metric name included.
    pub fn labels(&self, out: &mut LabelSet) -> Result<(), WireError> {
        out.push_with(METRIC_NAME, |text| {
            text.push_str(self.family);
            text.push_str(self.part.suffix);
        });
        let mut fields = self.metric;
        while let Some(field) = fields.next_field()? {
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
        if let Some((label, bound)) = self.part.bound {
            out.push(label, &bounds::spell(bound));
        }
        Ok(())
    }
}

/// A count that is written as an integer or, where it is fractional, as a float.
#[derive(Default)]
struct Count {
    integer: f64,
    float: f64,
}

impl Count {
    /// Reads either field; `integer` is the number of the one that is an integer.
    fn read(&mut self, field: Field<'_>, integer: u32) -> Result<(), WireError> {
        if field.number == integer {
            self.integer = field.varint()? as f64;
        } else {
            self.float = field.double()?;
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        if self.float > 0.0 { self.float } else { self.integer }
    }
}

/// Upper bound and cumulative count.
fn read_bucket(mut bucket: Reader<'_>) -> Result<(f64, f64), WireError> {
    let (mut bound, mut count) = (0.0, Count::default());
    while let Some(field) = bucket.next_field()? {
        match field.number {
            1 | 4 => count.read(field, 1)?,
            2 => bound = field.double()?,
            _ => {}
        }
    }
    Ok((bound, count.value()))
}

/// The double of this number; zero if it is not there, as it is then not written.
fn double_field(mut message: Reader<'_>, number: u32) -> Result<f64, WireError> {
    let mut value = 0.0;
    while let Some(field) = message.next_field()? {
        if field.number == number {
            value = field.double()?;
        }
    }
    Ok(value)
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
