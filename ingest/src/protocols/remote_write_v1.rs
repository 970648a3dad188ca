//! Prometheus remote write 1.0: a snappy block that holds a protobuf `WriteRequest`.
//!
//! ```text
//! WriteRequest   1: TimeSeries*   3: MetricMetadata*
//! TimeSeries     1: Label*   2: Sample*   3: Exemplar*   4: Histogram*
//! Label          1: name   2: value          Sample   1: double value   2: int64 timestamp in ms
//! Exemplar       1: Label*  2: double value  3: int64 timestamp in ms
//! Histogram      see `HISTOGRAM`              15: int64 timestamp in ms
//! MetricMetadata 1: type   2: family name   4: help   5: unit
//! ```
//!
//! The hot path of ingestion, so it is walked by hand: label bytes go from the decompressed body straight into the arena
//! of [`Rows`], nothing is allocated per series or label. What is structurally broken refuses the whole body and nothing
//! of it is stored. A series that is [known](crate::known) by the bytes of its labels costs one hash of them. A series that is well-formed but may not be (no metric name, a name twice, text that is not UTF-8)
//! is left out alone and told of in [`Report`].

use std::fmt;

use tidemark_core::model::labels::METRIC_NAME;
use tidemark_core::model::metadata::{Metadata, MetricType};

use super::exemplars::exemplar;
use super::native::{Layout, Native, Part, Side};
use super::wire::{Reader, WireError};
use crate::known::{KnownSeries, SeriesKey};
use crate::label_set::LabelSet;
use crate::limits::{EXEMPLARS_PER_SERIES_MAX, PUSH_BODY_BYTES_MAX, SAMPLES_PER_BODY_MAX};
use crate::rows::{LabelError, Rows, is_timestamp_in_range};

/// The parts of a `Histogram`.
const HISTOGRAM: &Layout = &[
    (1, Part::Count),
    (2, Part::CountFloat),
    (3, Part::Sum),
    (4, Part::Schema),
    (5, Part::ZeroThreshold),
    (6, Part::ZeroCount),
    (7, Part::ZeroCountFloat),
    (8, Part::Span(Side::Negative)),
    (9, Part::Deltas(Side::Negative)),
    (10, Part::Counts(Side::Negative)),
    (11, Part::Span(Side::Positive)),
    (12, Part::Deltas(Side::Positive)),
    (13, Part::Counts(Side::Positive)),
    (14, Part::ResetHint),
    (16, Part::CustomBounds),
];

/// Why a body is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a snappy block.
    #[error("{0}")]
    Snappy(String),
    /// More bytes than are taken at once.
    #[error("the body says it has {bytes} bytes when decompressed, more than the {limit} allowed")]
    TooLarge {
        /// What the body says.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// More samples than are taken at once.
    #[error("more than {SAMPLES_PER_BODY_MAX} samples in one body")]
    TooManySamples,
    /// Not a `WriteRequest`.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// What of a decoded body was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Series left out because of their labels.
    pub refused_series: u64,
    /// Samples left out: those of refused series and those of an impossible time.
    pub refused_samples: u64,
    /// Why the first of them was; names the series.
    pub first_refusal: Option<String>,
    /// Native histograms among the samples.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
    /// Exemplars left out because they are too long, or too many of one series.
    pub refused_exemplars: u64,
}

impl Report {
    /// Counts samples of the open series as left out.
    #[cold]
    fn refuse(&mut self, rows: &Rows, samples: u64, why: &dyn fmt::Display) {
        self.refused_samples += samples;
        if self.first_refusal.is_none() {
            self.first_refusal = Some(format!("series {}: {why}", rows.open_excerpt()));
        }
    }
}

/// Decompresses one body into `out`, whose memory is used again. The length that the body declares is checked against
/// `bytes_max` (at most [`PUSH_BODY_BYTES_MAX`]) before any memory is taken for it.
pub fn decompress(body: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let snappy = |e: snap::Error| DecodeError::Snappy(e.to_string());
    let bytes = snap::raw::decompress_len(body).map_err(snappy)?;
    let limit = bytes_max.min(PUSH_BODY_BYTES_MAX);
    if bytes > limit {
        return Err(DecodeError::TooLarge { bytes, limit });
    }
    out.resize(bytes, 0);
    let written = snap::raw::Decoder::new().decompress(body, out).map_err(snappy)?;
    out.truncate(written);
    Ok(())
}

/// Decodes one decompressed body of a sender that was never seen, adding to `rows`. After an error `rows` holds what was read before
/// it: clear it.
pub fn decode(body: &[u8], rows: &mut Rows) -> Result<Report, DecodeError> {
    let (mut decoder, mut known) = (Decoder::new(body), KnownSeries::new());
    while decoder.step(rows, &mut known)? {}
    Ok(decoder.finish())
}

/// Decodes one decompressed body in steps, so that whoever calls may yield between them.
#[derive(Debug)]
pub struct Decoder<'a> {
    request: Reader<'a>,
    report: Report,
    trusts: bool,
    /// Within what the keys of its series stand.
    sender: SeriesKey,
}

/// Series of one step: well below 200 us of work.
const SERIES_PER_STEP: usize = 256;

impl<'a> Decoder<'a> {
    /// Begins at the first series.
    pub fn new(body: &'a [u8]) -> Self {
        Decoder {
            request: Reader::new(body),
            report: Report::default(),
            trusts: true,
            sender: SeriesKey::NEUTRAL,
        }
    }

    /// Keeps its series apart from those that others name by the same bytes.
    pub fn within(self, sender: SeriesKey) -> Self {
        Decoder { sender, ..self }
    }

    /// Whether series that are known are taken for known. If not, all become rows with a key: for a body with a series that is no
    /// longer what it was.
    pub fn trusting(self, trusts: bool) -> Self {
        Decoder { trusts, ..self }
    }

    /// Adds the next few series to `rows`; `false` says that these were the last. An error ends the body. Series in `known`
    /// become rows without labels, others rows with a key.
    pub fn step(&mut self, rows: &mut Rows, known: &mut KnownSeries) -> Result<bool, DecodeError> {
        for _ in 0..SERIES_PER_STEP {
            let Some(field) = self.request.next_field()? else { return Ok(false) };
            match field.number {
                1 => self.series(field.bytes()?, rows, known)?,
                3 => decode_metadata(field.bytes()?, rows)?,
                _ => {}
            }
        }
        Ok(true)
    }

    fn series(
        &mut self,
        series: Reader<'_>,
        rows: &mut Rows,
        known: &mut KnownSeries,
    ) -> Result<(), DecodeError> {
        let mut samples = series;
        let key = known.key(samples.skip_fields(LABEL_TAG)?).within(self.sender);
        if self.trusts
            && let Some(found) = known.find(key)
            && decode_plain_samples(samples, rows)?
        {
            rows.end_known(found);
            return Ok(());
        }
        let before = rows.len();
        decode_series(series, rows, &mut self.report)?;
        if rows.len() > before && is_without_labels(samples)? {
            rows.set_key(key);
        }
        Ok(())
    }

    /// What was left out.
    pub fn finish(self) -> Report {
        self.report
    }
}

/// The byte before a label of a series, and the one before a sample.
const LABEL_TAG: u8 = 1 << 3 | 2;
const SAMPLE_TAG: u8 = 2 << 3 | 2;

/// Begins a series and adds the samples that are all of `series`; `false` if there is anything else, or a time that no sample may have.
fn decode_plain_samples(mut series: Reader<'_>, rows: &mut Rows) -> Result<bool, DecodeError> {
    rows.begin_series();
    let fit = check_room(rows, series.bytes().len() / USUAL_SAMPLE_BYTES).is_ok();
    while let [tag, ..] = *series.bytes() {
        if let Some(usual) = series.bytes().first_chunk().filter(|_| fit)
            && let Some((timestamp_ms, value)) = usual_sample(usual)
        {
            rows.push_sample(timestamp_ms, value);
            series.skip(USUAL_SAMPLE_BYTES);
            continue;
        }
        if tag != SAMPLE_TAG {
            return Ok(false);
        }
        let Some(field) = series.next_field()? else { break };
        let (timestamp_ms, value) = decode_sample(field.bytes()?)?;
        if !is_timestamp_in_range(timestamp_ms) {
            return Ok(false);
        }
        push_sample(rows, timestamp_ms, value)?;
    }
    Ok(true)
}

/// Whether no label stands among what follows the first fields that are none.
fn is_without_labels(mut rest: Reader<'_>) -> Result<bool, WireError> {
    while let Some(field) = rest.next_field()? {
        if field.number == 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

#[inline]
fn push_sample(rows: &mut Rows, timestamp_ms: i64, value: f64) -> Result<(), DecodeError> {
    check_room(rows, 1)?;
    rows.push_sample(timestamp_ms, value);
    Ok(())
}

fn decode_series(
    mut series: Reader<'_>,
    rows: &mut Rows,
    report: &mut Report,
) -> Result<(), DecodeError> {
    rows.begin_series();
    let mut refusal: Option<LabelError> = None;
    let (mut has_name, mut impossible_times) = (false, 0);
    while let Some(field) = series.next_field()? {
        match field.number {
            1 if refusal.is_none() => match decode_label(field.bytes()?)? {
                Ok((name, value)) => {
                    has_name |= name == METRIC_NAME && !value.is_empty();
                    refusal = rows.push_label(name, value).err();
                }
                Err(error) => refusal = Some(error),
            },
            2 => {
                let (timestamp_ms, value) = decode_sample(field.bytes()?)?;
                if is_timestamp_in_range(timestamp_ms) {
                    push_sample(rows, timestamp_ms, value)?;
                } else {
                    impossible_times += 1;
                }
            }
            3 => {
                check_room(rows, 1)?;
                decode_exemplar(field.bytes()?, rows, report)?;
            }
            4 => {
                check_room(rows, 1)?;
                decode_histogram(field.bytes()?, rows, report)?;
            }
            _ => {}
        }
    }
    if impossible_times > 0 {
        report.refuse(rows, impossible_times, &"timestamp is not within the years 1 to 9999");
    }
    let ended = match refusal {
        Some(error) => Err(error),
        None if !has_name => Err(LabelError::NoMetricName),
        None => rows.end_series(),
    };
    if let Err(error) = ended {
        report.refuse(rows, rows.open_sample_count() as u64, &error);
        report.refused_series += 1;
        rows.abort_series();
    }
    Ok(())
}

/// Name and value of a label that is written as everybody writes it: both fields, in order, below 128 bytes.
///
/// Then every byte between the texts is ASCII, so that one look at the whole tells that both are UTF-8.
#[inline]
fn short_label(label: &[u8]) -> Option<(&str, &str)> {
    let [0x0a, name_len @ ..=0x7f, rest @ ..] = label else { return None };
    let (_, value) = rest.split_at_checked(usize::from(*name_len))?;
    let [0x12, value_len @ ..=0x7f, value @ ..] = value else { return None };
    if value.len() != usize::from(*value_len) {
        return None;
    }
    let text = std::str::from_utf8(label).ok()?;
    let name_end = 2 + usize::from(*name_len);
    Some((text.get(2..name_end)?, text.get(name_end + 2..)?))
}

/// Name and value; the inner error refuses the series alone.
#[inline]
fn decode_label(mut label: Reader<'_>) -> Result<Result<(&str, &str), LabelError>, WireError> {
    if let Some(pair) = short_label(label.bytes()) {
        return Ok(Ok(pair));
    }
    let (mut name, mut value) = (&b""[..], &b""[..]);
    while let Some(field) = label.next_field()? {
        match field.number {
            1 => name = field.bytes()?.bytes(),
            2 => value = field.bytes()?.bytes(),
            _ => {}
        }
    }
    let text = std::str::from_utf8(name)
        .map_err(|_| LabelError::NotUtf8("name"))
        .and_then(|n| Ok((n, str::from_utf8(value).map_err(|_| LabelError::NotUtf8("value"))?)));
    Ok(text)
}

/// Bytes of a sample, tag and length included, that [`usual_sample`] knows.
const USUAL_SAMPLE_BYTES: usize = 18;

/// Time and value of a sample that is written as everybody writes it, of a time between 2004 and 2109: one of six bytes.
#[inline]
fn usual_sample(sample: &[u8; USUAL_SAMPLE_BYTES]) -> Option<(i64, f64)> {
    let &[SAMPLE_TAG, 16, 0x09, v0, v1, v2, v3, v4, v5, v6, v7, 0x10, t0, t1, t2, t3, t4, t5] =
        sample
    else {
        return None;
    };
    let varint = u64::from_le_bytes([t0, t1, t2, t3, t4, t5, 0, 0]);
    if varint & 0x8080_8080_8080 != 0x0080_8080_8080 {
        return None;
    }
    // Seven bits of each byte, closed up pair by pair.
    let varint = varint & 0x7f7f_7f7f_7f7f;
    let varint = varint & 0x007f_007f_007f | (varint & 0x7f00_7f00_7f00) >> 1;
    let (low, middle, high) = (varint & 0x3fff, varint >> 16 & 0x3fff, varint >> 32);
    let timestamp_ms = low | middle << 14 | high << 28;
    Some((timestamp_ms as i64, f64::from_le_bytes([v0, v1, v2, v3, v4, v5, v6, v7])))
}

/// Time and value of a sample that is written as everybody writes it: both fields, in order.
#[inline]
fn short_sample(sample: &[u8]) -> Option<(i64, f64)> {
    let (&[0x09, value @ .., 0x10], timestamp) = sample.split_first_chunk::<10>()? else {
        return None;
    };
    let mut timestamp_ms = 0_u64;
    for (i, byte) in timestamp.iter().take(9).enumerate() {
        timestamp_ms |= u64::from(byte & 0x7f) << (7 * i);
        if *byte < 0x80 {
            let whole = i + 1 == timestamp.len();
            return whole.then_some((timestamp_ms as i64, f64::from_le_bytes(value)));
        }
    }
    None
}

#[inline]
fn decode_sample(mut sample: Reader<'_>) -> Result<(i64, f64), WireError> {
    if let Some(sample) = short_sample(sample.bytes()) {
        return Ok(sample);
    }
    let (mut timestamp_ms, mut value) = (0, 0.0);
    while let Some(field) = sample.next_field()? {
        match field.number {
            1 => value = field.double()?,
            2 => timestamp_ms = field.varint()? as i64,
            _ => {}
        }
    }
    Ok((timestamp_ms, value))
}

/// Refuses what would make more rows than a body may hold, with so many samples more.
fn check_room(rows: &Rows, more: usize) -> Result<(), DecodeError> {
    let fits = rows.weight().saturating_add(more) <= SAMPLES_PER_BODY_MAX;
    if fits { Ok(()) } else { Err(DecodeError::TooManySamples) }
}

fn decode_histogram(
    message: Reader<'_>,
    rows: &mut Rows,
    report: &mut Report,
) -> Result<(), WireError> {
    let (mut timestamp_ms, mut fields) = (0, message);
    while let Some(field) = fields.next_field()? {
        if field.number == 15 {
            timestamp_ms = field.varint()? as i64;
        }
    }
    let histogram = match Native::read(message, HISTOGRAM)?.finish() {
        Ok(_) if !is_timestamp_in_range(timestamp_ms) => {
            Err("timestamp is not within the years 1 to 9999")
        }
        read => read,
    };
    match histogram {
        Ok(end) if end.is_stale() => rows.push_sample(timestamp_ms, end.sum),
        Ok(histogram) => {
            report.histograms += 1;
            rows.push_histogram(timestamp_ms, histogram);
        }
        Err(why) => report.refuse(rows, 1, &why),
    }
    Ok(())
}

fn decode_exemplar(
    mut message: Reader<'_>,
    rows: &mut Rows,
    report: &mut Report,
) -> Result<(), WireError> {
    let (mut labels, mut value, mut timestamp_ms) = (LabelSet::new(), 0.0, 0);
    let mut is_text = true;
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => match decode_label(field.bytes()?)? {
                Ok((name, value)) => labels.push(name, value),
                Err(_) => is_text = false,
            },
            2 => value = field.double()?,
            3 => timestamp_ms = field.varint()? as i64,
            _ => {}
        }
    }
    let read = exemplar(&labels, value, Some(timestamp_ms), timestamp_ms).filter(|_| is_text);
    match read {
        Some(exemplar) if rows.open_exemplar_count() < EXEMPLARS_PER_SERIES_MAX => {
            report.exemplars += 1;
            rows.push_exemplar(exemplar);
        }
        _ => report.refused_exemplars += 1,
    }
    Ok(())
}

fn decode_metadata(mut message: Reader<'_>, rows: &mut Rows) -> Result<(), WireError> {
    let mut metadata = Metadata::default();
    let mut family = String::new();
    while let Some(field) = message.next_field()? {
        let text = || Ok(String::from_utf8_lossy(field.bytes()?.bytes()).into_owned());
        match field.number {
            1 => {
                let tag = u8::try_from(field.varint()?).ok();
                metadata.kind = tag.and_then(MetricType::from_u8).unwrap_or_default();
            }
            2 => family = text()?,
            4 => metadata.help = text()?,
            5 => metadata.unit = text()?,
            _ => {}
        }
    }
    if !family.is_empty() {
        rows.push_metadata(&family, metadata);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
