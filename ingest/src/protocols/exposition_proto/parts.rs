//! What one metric of a family becomes: its series, its native histogram, its exemplars and when it began to count.

use std::sync::Arc;

use tidemark_core::model::histogram::{FloatHistogram, ResetHint};
use tidemark_core::model::sample::NORMAL_NAN_BITS;
use tidemark_core::model::time::TimestampMs;

use super::Options;
use crate::limits::{BUCKETS_PER_METRIC_MAX, EXEMPLARS_PER_SERIES_MAX};
use crate::protocols::classic::Classic;
use crate::protocols::native::{Layout, Native, Part as Piece, Side};
use crate::protocols::wire::{Field, Reader, WireError};

/// The native parts of a `Histogram`.
const NATIVE: &Layout = &[
    (1, Piece::Count),
    (2, Piece::Sum),
    (4, Piece::CountFloat),
    (5, Piece::Schema),
    (6, Piece::ZeroThreshold),
    (7, Piece::ZeroCount),
    (8, Piece::ZeroCountFloat),
    (9, Piece::Span(Side::Negative)),
    (10, Piece::Deltas(Side::Negative)),
    (11, Piece::Counts(Side::Negative)),
    (12, Piece::Span(Side::Positive)),
    (13, Piece::Deltas(Side::Positive)),
    (14, Piece::Counts(Side::Positive)),
];

/// One of the series that a metric becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part<'a> {
    pub(super) suffix: &'static str,
    /// Label and value of a bound.
    pub(super) bound: Option<(&'static str, f64)>,
    /// Of a native histogram its sum.
    pub(super) value: f64,
    pub(super) exemplar: Option<Reader<'a>>,
    /// It is [`Parts::histogram`].
    pub(super) native: bool,
}

impl<'a> Part<'a> {
    fn new(suffix: &'static str, value: f64) -> Self {
        Part { suffix, bound: None, value, exemplar: None, native: false }
    }

    fn bucket(bound: f64, value: f64, exemplar: Option<Reader<'a>>) -> Self {
        Part { bound: Some(("le", bound)), exemplar, ..Part::new("_bucket", value) }
    }
}

/// The series of one metric, and what they share.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) list: Vec<Part<'a>>,
    /// The native histogram among them.
    pub(super) histogram: Option<Arc<FloatHistogram>>,
    /// Its exemplars.
    pub(super) exemplars: Vec<Reader<'a>>,
    /// When it began to count.
    pub(super) start_ms: Option<TimestampMs>,
}

impl<'a> Parts<'a> {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.histogram = None;
        self.exemplars.clear();
        self.start_ms = None;
    }

    /// Every NaN is the normal one.
    pub(super) fn normalize(&mut self) {
        for part in self.list.iter_mut().filter(|part| part.value.is_nan()) {
            part.value = f64::from_bits(NORMAL_NAN_BITS);
        }
    }

    /// Adds the value of a `Gauge`, `Counter` or `Untyped`.
    pub(super) fn push_value(&mut self, message: Reader<'a>) -> Result<(), WireError> {
        let mut part = Part::new("", 0.0);
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => part.value = field.double()?,
                2 => part.exemplar = Some(field.bytes()?),
                3 => self.start_ms = Some(timestamp_ms(field.bytes()?)?),
                _ => {}
            }
        }
        self.push(message, part)
    }

    /// Adds the series of a `Summary`.
    pub(super) fn push_summary(&mut self, message: Reader<'a>) -> Result<(), WireError> {
        let (mut count, mut sum) = (0.0, 0.0);
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => count = field.varint()? as f64,
                2 => sum = field.double()?,
                3 => {
                    let quantile = field.bytes()?;
                    let bound = Some(("quantile", double_field(quantile, 1)?));
                    let part = Part { bound, ..Part::new("", double_field(quantile, 2)?) };
                    self.push(message, part)?;
                }
                4 => self.start_ms = Some(timestamp_ms(field.bytes()?)?),
                _ => {}
            }
        }
        self.push(message, Part::new("_count", count))?;
        self.push(message, Part::new("_sum", sum))
    }

    /// Adds the series of a `Histogram`, native or classic as `options` ask; a `gauge` has no counters.
    pub(super) fn push_histogram(
        &mut self,
        message: Reader<'a>,
        options: Options,
        gauge: bool,
    ) -> Result<(), WireError> {
        let native = if options.native { self.push_native(message, gauge)? } else { false };
        let converted = !native && options.convert && self.push_converted(message, gauge)?;
        if options.classic || !(native || converted) {
            self.push_classic(message)?;
        }
        Ok(())
    }

    /// Adds the native histogram if there is one.
    fn push_native(&mut self, message: Reader<'a>, gauge: bool) -> Result<bool, WireError> {
        let native = Native::read(message, NATIVE)?;
        if !native.is_native() {
            return Ok(false);
        }
        let histogram = native.finish().map_err(|why| message.error(why))?;
        self.read_native_exemplars(message)?;
        self.push_whole(message, histogram, gauge)?;
        Ok(true)
    }

    /// Adds the classic buckets as a native histogram, unless they contradict themselves.
    fn push_converted(&mut self, message: Reader<'a>, gauge: bool) -> Result<bool, WireError> {
        let mut classic = Classic::default();
        let (mut count, mut fields) = (Count::default(), message);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 | 4 => count.read(field, 1)?,
                2 => classic.set_sum(field.double()?),
                3 => {
                    let (bound, count, exemplar) = read_bucket(field.bytes()?)?;
                    if !classic.push_bucket(bound, count) {
                        return Err(message.error("too many buckets or quantiles"));
                    }
                    self.push_exemplar(exemplar);
                }
                15 => self.start_ms = Some(timestamp_ms(field.bytes()?)?),
                _ => {}
            }
        }
        classic.set_count(count.value());
        match classic.to_custom() {
            Ok(histogram) => self.push_whole(message, histogram, gauge).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    fn push_whole(
        &mut self,
        message: Reader<'a>,
        mut histogram: FloatHistogram,
        gauge: bool,
    ) -> Result<(), WireError> {
        if gauge {
            histogram.hint = ResetHint::Gauge;
        }
        let part = Part { native: true, ..Part::new("", histogram.sum) };
        self.histogram = Some(Arc::new(histogram));
        self.push(message, part)
    }

    /// The exemplars of a native histogram: its own, or without any those of its classic buckets.
    fn read_native_exemplars(&mut self, message: Reader<'a>) -> Result<(), WireError> {
        let (mut of_buckets, mut fields) = (Vec::new(), message);
        while let Some(field) = fields.next_field()? {
            match field.number {
                3 => of_buckets.extend(read_bucket(field.bytes()?)?.2),
                15 => self.start_ms = Some(timestamp_ms(field.bytes()?)?),
                16 => self.push_exemplar(Some(field.bytes()?)),
                _ => {}
            }
        }
        if self.exemplars.is_empty() {
            for exemplar in of_buckets {
                self.push_exemplar(Some(exemplar));
            }
        }
        Ok(())
    }

    fn push_exemplar(&mut self, exemplar: Option<Reader<'a>>) {
        if self.exemplars.len() < EXEMPLARS_PER_SERIES_MAX {
            self.exemplars.extend(exemplar);
        }
    }

    fn push_classic(&mut self, message: Reader<'a>) -> Result<(), WireError> {
        let (mut count, mut sum, mut has_infinity) = (Count::default(), 0.0, false);
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 | 4 => count.read(field, 1)?,
                2 => sum = field.double()?,
                3 => {
                    let (bound, value, exemplar) = read_bucket(field.bytes()?)?;
                    has_infinity |= bound == f64::INFINITY;
                    self.push(message, Part::bucket(bound, value, exemplar))?;
                }
                15 => self.start_ms = Some(timestamp_ms(field.bytes()?)?),
                _ => {}
            }
        }
        if !has_infinity {
            self.push(message, Part::bucket(f64::INFINITY, count.value(), None))?;
        }
        self.push(message, Part::new("_count", count.value()))?;
        self.push(message, Part::new("_sum", sum))
    }

    fn push(&mut self, at: Reader<'a>, part: Part<'a>) -> Result<(), WireError> {
        if self.list.len() == BUCKETS_PER_METRIC_MAX {
            return Err(at.error("too many buckets or quantiles"));
        }
        self.list.push(part);
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

/// Upper bound, cumulative count and exemplar.
fn read_bucket(mut bucket: Reader<'_>) -> Result<(f64, f64, Option<Reader<'_>>), WireError> {
    let (mut bound, mut count, mut exemplar) = (0.0, Count::default(), None);
    while let Some(field) = bucket.next_field()? {
        match field.number {
            1 | 4 => count.read(field, 1)?,
            2 => bound = field.double()?,
            3 => exemplar = Some(field.bytes()?),
            _ => {}
        }
    }
    Ok((bound, count.value(), exemplar))
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

/// A `Timestamp`: seconds and nanoseconds.
pub(super) fn timestamp_ms(mut message: Reader<'_>) -> Result<TimestampMs, WireError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => seconds = field.varint()? as i64,
            2 => nanos = field.varint()? as i64,
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}
