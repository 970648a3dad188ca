//! The record of a batch: which series got which samples.
//!
//! ```text
//! entry     head: uvarint                 zigzag(series - number after that of the entry before) << 3 | flags
//!           labels length: uvarint, canonical encoding       if flag 1: the series begins here
//!           shape: uvarint                samples << 2 | flags; left out if flag 2: one sample
//!           t0: varint                    minus t0 of the entry before; left out if flag 4: the same
//!           step: varint                  minus step of the entry before, if shape flag 1: regular
//!           steps: varint each            the first, then deltas of deltas, if not regular and more than one sample
//!           values                        see `values`; one for all if shape flag 2: constant
//! ```
//!
//! Before the first entry all is zero. Each entry begins its values anew, so that one that is lost takes nothing with it.
//!
//! The former record, [`super::KIND_APPEND_1`], is still read: `decode_1`.

use super::values::{self, Values};
use super::{Apply, Input, Record, push_bytes};
use crate::chunk::bits::{push_uvarint, push_varint, unzigzag, zigzag};
use crate::index::SeriesRef;
use crate::limits::ENTRY_SAMPLES_MAX;
use crate::model::sample::Sample;
use crate::model::time::TimestampMs;

const BEGINS: u64 = 1;
const SINGLE: u64 = 2;
const SAME_TIME: u64 = 4;

const REGULAR: u64 = 1;
const CONSTANT: u64 = 2;

#[inline]
fn flag(is_set: bool, flag: u64) -> u64 {
    if is_set { flag } else { 0 }
}

/// What an entry is written in relation to.
#[derive(Debug, Default)]
struct Before {
    /// The number after that of the entry before.
    series: i64,
    t0: TimestampMs,
    step: i64,
}

/// Encodes the payload of one batch, entry by entry.
#[derive(Debug, Default)]
pub struct AppendEncoder(Before);

impl AppendEncoder {
    /// Begins a payload.
    pub fn new() -> Self {
        AppendEncoder::default()
    }

    /// Adds one series with at most [`ENTRY_SAMPLES_MAX`] samples, and its labels if it begins here.
    #[inline]
    pub fn push(
        &mut self,
        out: &mut Vec<u8>,
        series: SeriesRef,
        new_labels: Option<&[u8]>,
        samples: &[Sample],
    ) {
        debug_assert!(samples.len() <= ENTRY_SAMPLES_MAX);
        let before = &mut self.0;
        let t0 = samples.first().map_or(before.t0, |sample| sample.timestamp_ms);
        let flags = flag(new_labels.is_some(), BEGINS)
            | flag(samples.len() == 1, SINGLE)
            | flag(t0 == before.t0, SAME_TIME);
        push_uvarint(out, zigzag(i64::from(series) - before.series) << 3 | flags);
        before.series = i64::from(series) + 1;
        if let Some(labels) = new_labels {
            push_bytes(out, labels);
        }
        match samples {
            [sample] => {
                before.push_t0(out, t0);
                Values::default().push(out, sample.value);
            }
            _ => before.push_many(out, t0, samples),
        }
    }
}

impl Before {
    #[inline]
    fn push_t0(&mut self, out: &mut Vec<u8>, t0: TimestampMs) {
        if t0 != self.t0 {
            push_varint(out, t0.wrapping_sub(self.t0));
            self.t0 = t0;
        }
    }

    /// No sample, or more than one.
    fn push_many(&mut self, out: &mut Vec<u8>, t0: TimestampMs, samples: &[Sample]) {
        let step_of = |pair: &[Sample]| pair[1].timestamp_ms.wrapping_sub(pair[0].timestamp_ms);
        let step = samples.get(..2).map_or(self.step, step_of);
        let is_regular = samples.windows(2).all(|pair| step_of(pair) == step);
        let same = |pair: &[Sample]| pair[0].value.to_bits() == pair[1].value.to_bits();
        let is_constant = samples.windows(2).all(same);
        let flags = flag(is_regular, REGULAR) | flag(is_constant, CONSTANT);
        push_uvarint(out, (samples.len() as u64) << 2 | flags);
        self.push_t0(out, t0);
        if is_regular {
            push_varint(out, step.wrapping_sub(self.step));
            self.step = step;
        } else {
            let mut last = 0;
            for step in samples.windows(2).map(step_of) {
                push_varint(out, step.wrapping_sub(std::mem::replace(&mut last, step)));
            }
        }
        let written = if is_constant { &samples[..samples.len().min(1)] } else { samples };
        let mut values = Values::default();
        for sample in written {
            values.push(out, sample.value);
        }
    }
}

/// Entries whose memory is fetched at once before they are applied.
const ENTRIES_AHEAD: usize = 32;

/// An entry whose parts were found, and whose values were not decoded yet.
#[derive(Clone, Copy)]
struct Entry<'a> {
    series: SeriesRef,
    /// Labels, if the series begins here.
    labels: Option<&'a [u8]>,
    count: usize,
    is_constant: bool,
    t0: TimestampMs,
    /// Time of the last sample.
    last_ms: TimestampMs,
    /// Between the samples, if it is regular; if not, the steps are to be read.
    step: Result<i64, &'a [u8]>,
    values: &'a [u8],
}

/// Decodes a payload, of late samples or of others; `None` where it ends too early or makes no sense.
///
/// The work is waiting for memory: series are everywhere. So some entries are found before they are decoded and applied, and what they
/// will touch is fetched meanwhile. The values of those that would change nothing, since a chunk file has them, are passed over.
pub(super) fn decode(
    input: &mut Input<'_>,
    late: bool,
    to: &mut (impl Apply + ?Sized),
) -> Option<()> {
    let (mut before, mut samples) = (Before::default(), Vec::new());
    let mut entries: Vec<Entry<'_>> = Vec::with_capacity(ENTRIES_AHEAD);
    loop {
        let mut whole = true;
        entries.clear();
        while entries.len() < ENTRIES_AHEAD && !input.bytes.is_empty() && whole {
            let entry = before.find_entry(input);
            whole = entry.is_some();
            entries.extend(entry.inspect(|entry| to.soon(entry.series)));
        }
        for entry in &entries {
            to.next(entry.series);
        }
        for entry in &entries {
            entry.apply(late, &mut samples, to)?;
        }
        if !whole {
            return None;
        }
        if input.bytes.is_empty() {
            return Some(());
        }
    }
}

impl Before {
    fn find_entry<'a>(&mut self, input: &mut Input<'a>) -> Option<Entry<'a>> {
        let head = input.uvarint()?;
        let series = self.series.checked_add(unzigzag(head >> 3))?;
        let number = SeriesRef::try_from(series).ok()?;
        self.series = series + 1;
        let labels = if head & BEGINS != 0 { Some(input.bytes()?) } else { None };
        let shape = if head & SINGLE != 0 { 1 << 2 | CONSTANT } else { input.uvarint()? };
        if head & SAME_TIME == 0 {
            self.t0 = self.t0.wrapping_add(input.varint()?);
        }
        // A constant row takes a few bytes however long it says it is.
        let count = usize::try_from(shape >> 2).ok().filter(|n| *n <= ENTRY_SAMPLES_MAX)?;
        let after_first = count.saturating_sub(1);
        let (step, last_ms) = if shape & REGULAR != 0 {
            self.step = self.step.wrapping_add(input.varint()?);
            let span = self.step.wrapping_mul(after_first as i64);
            (Ok(self.step), self.t0.wrapping_add(span))
        } else {
            let start = input.bytes;
            let (mut step, mut last_ms) = (0_i64, self.t0);
            for _ in 0..after_first {
                step = step.wrapping_add(input.varint()?);
                last_ms = last_ms.wrapping_add(step);
            }
            (Err(start), last_ms)
        };
        let is_constant = shape & CONSTANT != 0;
        let values = input.bytes;
        for _ in 0..if is_constant { count.min(1) } else { count } {
            values::skip(input)?;
        }
        let (series, t0) = (number, self.t0);
        Some(Entry { series, labels, count, is_constant, t0, last_ms, step, values })
    }
}

impl Entry<'_> {
    fn apply(
        &self,
        late: bool,
        samples: &mut Vec<Sample>,
        to: &mut (impl Apply + ?Sized),
    ) -> Option<()> {
        let series = self.series;
        if let Some(labels) = self.labels {
            to.apply(&Record::Series { series, labels });
        }
        if self.count == 0 || !(late || to.wants(series, self.last_ms)) {
            return Some(());
        }
        self.read_samples(samples)?;
        to.apply(&if late {
            Record::OutOfOrder { series, samples }
        } else {
            Record::Samples { series, samples }
        });
        Some(())
    }

    fn read_samples(&self, samples: &mut Vec<Sample>) -> Option<()> {
        let (mut input, mut values) = (Input { bytes: self.values }, Values::default());
        let mut steps = Input { bytes: self.step.err().unwrap_or_default() };
        let (mut timestamp_ms, mut step, mut value) = (self.t0, self.step.unwrap_or(0), 0.0);
        samples.clear();
        samples.reserve(self.count);
        for i in 0..self.count {
            if i > 0 {
                if self.step.is_err() {
                    step = steps.varint()?.wrapping_add(step);
                }
                timestamp_ms = timestamp_ms.wrapping_add(step);
            }
            if i == 0 || !self.is_constant {
                value = values.read(&mut input)?;
            }
            samples.push(Sample { timestamp_ms, value });
        }
        Some(())
    }
}

/// Decodes a payload of the former kind:
///
/// ```text
/// entry     head: uvarint               zigzag(series - series before) << 1 | begins here
///           labels length: uvarint, canonical encoding        if it begins here
///           samples: uvarint
///           t0: varint                  minus t0 of the entry before; t1: minus t0, then deltas of deltas,
///                                       each in front of its value
/// value     leading zero bytes << 4 | trailing zero bytes of (bits ^ bits before): u8, then the bytes between, big-endian
/// ```
pub(super) fn decode_1(input: &mut Input<'_>, apply: &mut dyn FnMut(&Record<'_>)) -> Option<()> {
    let (mut series, mut timestamp) = (0_i64, 0_i64);
    let mut samples = Vec::new();
    while !input.bytes.is_empty() {
        let head = input.uvarint()?;
        series = series.checked_add(unzigzag(head >> 1))?;
        let number = SeriesRef::try_from(series).ok()?;
        if head & 1 == 1 {
            apply(&Record::Series { series: number, labels: input.bytes()? });
        }
        let count = input.uvarint()?;
        samples.clear();
        let (mut before, mut delta, mut bits) = (timestamp, 0_i64, 0_u64);
        for i in 0..count {
            let step = input.varint()?;
            let step = if i < 2 { step } else { step.wrapping_add(delta) };
            (before, delta) = (before.wrapping_add(step), step);
            bits ^= xor_1(input)?;
            samples.push(Sample { timestamp_ms: before, value: f64::from_bits(bits) });
            if i == 0 {
                timestamp = before;
            }
        }
        if !samples.is_empty() {
            apply(&Record::Samples { series: number, samples: &samples });
        }
    }
    Some(())
}

/// The xor of a value with the one before.
fn xor_1(input: &mut Input<'_>) -> Option<u64> {
    let shape = u32::from(input.byte()?);
    let (leading, trailing) = (shape >> 4, shape & 15);
    let width = 8_u32.checked_sub(leading + trailing)? as usize;
    let (bytes, rest) = input.bytes.split_at_checked(width)?;
    input.bytes = rest;
    let mut word = [0; 8];
    word[..width].copy_from_slice(bytes);
    Some(u64::from_be_bytes(word).checked_shr(leading * 8).unwrap_or(0))
}
