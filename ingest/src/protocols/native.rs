//! Native histograms in protobuf: one walk for the messages of every protocol that carries them.
//!
//! The messages of a scrape and of remote write hold the same parts under different field numbers, so each protocol gives
//! a table. Buckets lie in *spans* of consecutive ones; their counts are integers, each as the difference to the one
//! before, or floats:
//!
//! ```text
//! spans   (offset 0, length 2) (offset 3, length 1)      buckets 0, 1 and 5
//! deltas  +1 +2 -1                                       counts  1, 3 and 2
//! ```
//!
//! What no histogram can be (spans that do not fit their counts, a negative count, more in the buckets than in all) is
//! refused as Prometheus refuses it.

use tidemark_core::model::histogram::{
    Buckets, CUSTOM_SCHEMA, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, FloatHistogram,
    ResetHint,
};
use tidemark_core::model::sample::{NORMAL_NAN_BITS, is_stale};

use super::wire::{Field, Payload, Reader, WireError, zigzag};
use crate::limits::BUCKETS_PER_METRIC_MAX;

/// The finest schema that is understood; finer than stored ones are reduced.
const SCHEMA_MAX: i32 = 52;

/// Bucket numbers beyond which no float lies, whatever the schema.
const INDEX_MAX: i32 = 1 << 30;

/// What a field of a histogram message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All observations.
    Count,
    /// The same, where counts are floats.
    CountFloat,
    /// Sum of the observations.
    Sum,
    /// Resolution.
    Schema,
    /// Half the width of the zero bucket.
    ZeroThreshold,
    /// Observations in the zero bucket.
    ZeroCount,
    /// The same, where counts are floats.
    ZeroCountFloat,
    /// A span of buckets of the negative or positive side.
    Span(Side),
    /// Counts of one side as differences.
    Deltas(Side),
    /// Counts of one side as floats.
    Counts(Side),
    /// Counter reset, or gauge.
    ResetHint,
    /// Upper bounds of custom buckets.
    CustomBounds,
}

/// Of which observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Side {
    /// Below zero.
    Negative = 0,
    /// Above zero, or all of custom buckets.
    Positive = 1,
}

/// Field numbers of a protocol's message and what they hold.
pub type Layout = [(u32, Part)];

/// The parts of one histogram as they stand in the message.
#[derive(Debug, Default)]
pub struct Native {
    count: u64,
    count_float: f64,
    sum: f64,
    schema: i64,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    hint: u64,
    custom_bounds: Vec<f64>,
    sides: [Counts; 2],
}

#[derive(Debug, Default)]
struct Counts {
    spans: Vec<(i32, u32)>,
    deltas: Vec<i64>,
    floats: Vec<f64>,
}

impl Native {
    /// Reads the fields of `message` that `layout` names.
    pub fn read(message: Reader<'_>, layout: &Layout) -> Result<Self, WireError> {
        let (mut native, mut fields) = (Native::default(), message);
        while let Some(field) = fields.next_field()? {
            if let Some((_, part)) = layout.iter().find(|(number, _)| *number == field.number) {
                native.take(*part, field)?;
            }
        }
        Ok(native)
    }

    fn take(&mut self, part: Part, field: Field<'_>) -> Result<(), WireError> {
        match part {
            Part::Count => self.count = field.varint()?,
            Part::CountFloat => self.count_float = field.double()?,
            Part::Sum => self.sum = field.double()?,
            Part::Schema => self.schema = zigzag(field.varint()?),
            Part::ZeroThreshold => self.zero_threshold = field.double()?,
            Part::ZeroCount => self.zero_count = field.varint()?,
            Part::ZeroCountFloat => self.zero_count_float = field.double()?,
            Part::ResetHint => self.hint = field.varint()?,
            Part::CustomBounds => push_doubles(field, &mut self.custom_bounds)?,
            Part::Span(side) => {
                let spans = &mut self.sides[side as usize].spans;
                bounded(field, spans.len())?;
                spans.push(read_span(field.bytes()?)?);
            }
            Part::Deltas(side) => push_deltas(field, &mut self.sides[side as usize].deltas)?,
            Part::Counts(side) => push_doubles(field, &mut self.sides[side as usize].floats)?,
        }
        Ok(())
    }

    /// Whether a histogram that may have classic buckets as well has native ones: one without observations says so by a
    /// span of length zero.
    pub fn is_native(&self) -> bool {
        self.sides.iter().any(|side| !side.spans.is_empty())
            || self.zero_threshold > 0.0
            || self.zero_count > 0
            || self.zero_count_float > 0.0
    }

    /// The histogram, its resolution reduced to the finest that is stored; `Err` says what is impossible about it.
    pub fn finish(self) -> Result<FloatHistogram, &'static str> {
        if is_stale(self.sum) {
            return Ok(FloatHistogram { sum: self.sum, ..FloatHistogram::default() });
        }
        let float = self.count_float > 0.0 || self.zero_count_float > 0.0;
        let [negative, positive] = self.sides;
        let custom = self.schema == i64::from(CUSTOM_SCHEMA);
        let histogram = FloatHistogram {
            hint: hint(self.hint),
            schema: i32::try_from(self.schema).map_err(|_| "unknown schema")?,
            zero_threshold: self.zero_threshold,
            zero_count: if float { self.zero_count_float } else { self.zero_count as f64 },
            count: if float { self.count_float } else { self.count as f64 },
            sum: if self.sum.is_nan() { f64::from_bits(NORMAL_NAN_BITS) } else { self.sum },
            positive: positive.finish(float)?,
            negative: negative.finish(float)?,
            custom_bounds: custom.then(|| self.custom_bounds.into()),
        };
        checked(histogram, float)
    }
}

impl Counts {
    fn finish(self, float: bool) -> Result<Buckets, &'static str> {
        let counts = if float { self.floats } else { summed(&self.deltas) };
        if counts.iter().any(|count| *count < 0.0 || count.is_nan()) {
            return Err("a bucket's count is negative");
        }
        let buckets = Buckets::from_spans(&self.spans, &counts)
            .ok_or("the spans of buckets do not fit their counts")?;
        match (buckets.indexes().first(), buckets.indexes().last()) {
            (Some(&first), Some(&last)) if first < -INDEX_MAX || last > INDEX_MAX => {
                Err("a bucket lies beyond all numbers")
            }
            _ => Ok(buckets),
        }
    }
}

/// Refuses what contradicts itself; `float` says that counts are floats, which need not add up to the last bit.
fn checked(mut histogram: FloatHistogram, float: bool) -> Result<FloatHistogram, &'static str> {
    let h = &histogram;
    match h.schema {
        CUSTOM_SCHEMA => check_custom(h)?,
        EXPONENTIAL_SCHEMA_MIN..=SCHEMA_MAX => {}
        _ => return Err("unknown schema"),
    }
    if !(h.zero_threshold >= 0.0 && h.zero_count >= 0.0 && h.count >= 0.0) {
        return Err("the zero bucket or the count is negative");
    }
    let in_buckets: f64 = h.zero_count
        + [&h.positive, &h.negative].into_iter().flat_map(Buckets::counts).sum::<f64>();
    // Observations that are NaN are in no bucket.
    let slack = if float { h.count * 1e-9 } else { 0.0 };
    if in_buckets > h.count + slack || !float && !h.sum.is_nan() && in_buckets != h.count {
        return Err("the buckets do not add up to the count");
    }
    if h.schema > EXPONENTIAL_SCHEMA_MAX {
        histogram.reduce_to(EXPONENTIAL_SCHEMA_MAX);
    }
    Ok(histogram)
}

fn check_custom(h: &FloatHistogram) -> Result<(), &'static str> {
    if !h.negative.is_empty() || h.zero_count != 0.0 || h.zero_threshold != 0.0 {
        return Err("custom buckets have neither a negative side nor a zero bucket");
    }
    let bounds = h.bounds();
    if !bounds.is_sorted_by(|a, b| a < b)
        || bounds.iter().any(|b| b.is_nan() || *b == f64::INFINITY)
    {
        return Err("the bounds of custom buckets do not ascend");
    }
    let (first, last) = (h.positive.indexes().first(), h.positive.indexes().last());
    if first.is_some_and(|i| *i < 0) || last.is_some_and(|i| *i as usize > bounds.len()) {
        return Err("a custom bucket has no bound");
    }
    Ok(())
}

fn hint(number: u64) -> ResetHint {
    u8::try_from(number).ok().and_then(ResetHint::from_u8).unwrap_or_default()
}

fn summed(deltas: &[i64]) -> Vec<f64> {
    let mut count = 0_i64;
    deltas
        .iter()
        .map(|delta| {
            count = count.saturating_add(*delta);
            count as f64
        })
        .collect()
}

fn bounded(field: Field<'_>, len: usize) -> Result<(), WireError> {
    if len < BUCKETS_PER_METRIC_MAX { Ok(()) } else { Err(field.wrong("too many buckets")) }
}

fn read_span(mut span: Reader<'_>) -> Result<(i32, u32), WireError> {
    let at = span;
    let (mut offset, mut length) = (0, 0);
    while let Some(field) = span.next_field()? {
        match field.number {
            1 => offset = zigzag(field.varint()?),
            2 => length = field.varint()?,
            _ => {}
        }
    }
    let small = i32::try_from(offset).ok().zip(u32::try_from(length).ok());
    small.ok_or_else(|| at.error("span of buckets out of range"))
}

/// One zigzag number, or a packed array of them.
fn push_deltas(field: Field<'_>, out: &mut Vec<i64>) -> Result<(), WireError> {
    if let Payload::Bytes(mut packed) = field.payload {
        while !packed.bytes().is_empty() {
            bounded(field, out.len())?;
            out.push(zigzag(packed.varint()?));
        }
        return Ok(());
    }
    bounded(field, out.len())?;
    out.push(zigzag(field.varint()?));
    Ok(())
}

/// One double, or a packed array of them.
fn push_doubles(field: Field<'_>, out: &mut Vec<f64>) -> Result<(), WireError> {
    if let Payload::Bytes(mut packed) = field.payload {
        while !packed.bytes().is_empty() {
            bounded(field, out.len())?;
            out.push(packed.double()?);
        }
        return Ok(());
    }
    bounded(field, out.len())?;
    out.push(field.double()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(spans: &[(i32, u32)], deltas: &[i64]) -> Counts {
        Counts { spans: spans.to_vec(), deltas: deltas.to_vec(), floats: Vec::new() }
    }

    fn native(positive: Counts) -> Native {
        let sides = [Counts::default(), positive];
        Native { count: 6, sum: 10.0, zero_threshold: 0.001, sides, ..Native::default() }
    }

    #[test]
    fn deltas_add_up_to_counts() {
        let h = native(counts(&[(0, 2), (3, 1)], &[1, 2, -1])).finish().unwrap();
        assert_eq!(h.positive.iter().collect::<Vec<_>>(), [(0, 1.0), (1, 3.0), (5, 2.0)]);
        assert_eq!((h.count, h.sum, h.schema), (6.0, 10.0, 0));
    }

    #[test]
    fn floats_need_not_add_up_to_the_last_bit() {
        let floats = Counts { spans: vec![(0, 2)], floats: vec![0.1, 0.2], ..Counts::default() };
        let sides = [Counts::default(), floats];
        let whole = Native { count_float: 0.3, sides, ..Native::default() };
        assert_eq!(whole.finish().unwrap().positive.counts(), [0.1, 0.2]);
    }

    #[test]
    fn finer_schemas_are_reduced() {
        let fine = Native { schema: 9, ..native(counts(&[(1, 3)], &[1, 1, 1])) };
        let h = fine.finish().unwrap();
        assert_eq!(h.schema, 8);
        assert_eq!(h.positive.iter().collect::<Vec<_>>(), [(1, 3.0), (2, 3.0)]);
    }

    #[test]
    fn custom_buckets() {
        let custom = |bounds: &[f64], spans: &[(i32, u32)]| Native {
            schema: -53,
            zero_threshold: 0.0,
            custom_bounds: bounds.to_vec(),
            ..native(counts(spans, &[1, 2, -1]))
        };
        let h = custom(&[0.5, 1.0], &[(0, 3)]).finish().unwrap();
        assert_eq!((h.bounds(), h.positive.counts()), (&[0.5, 1.0][..], &[1.0, 3.0, 2.0][..]));
        for (bounds, spans, why) in [
            (&[0.5][..], &[(0, 3)][..], "has no bound"),
            (&[0.5, 1.0], &[(-1, 3)], "has no bound"),
            (&[1.0, 0.5], &[(0, 3)], "do not ascend"),
            (&[1.0, f64::INFINITY], &[(0, 3)], "do not ascend"),
        ] {
            let error = custom(bounds, spans).finish().unwrap_err();
            assert!(error.ends_with(why), "{error}");
        }
        let zero = Native { zero_count: 1, ..custom(&[0.5, 1.0], &[(0, 3)]) };
        assert!(zero.finish().unwrap_err().contains("neither"));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (spans, deltas, why) in [
            (&[(0, 3)][..], &[1, 2][..], "do not fit"),
            (&[(0, 2)], &[1, -2], "is negative"),
            (&[(0, 2)], &[1, 0], "do not add up"),
            (&[(i32::MIN, 2)], &[3, 0], "beyond all numbers"),
        ] {
            let error = native(counts(spans, deltas)).finish().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let odd = Native { schema: 53, ..native(counts(&[(0, 1)], &[6])) };
        assert_eq!(odd.finish().unwrap_err(), "unknown schema");
    }

    #[test]
    fn a_histogram_without_observations_is_native_by_an_empty_span() {
        assert!(!Native::default().is_native());
        let sides = [Counts::default(), counts(&[(0, 0)], &[])];
        assert!(Native { sides, ..Native::default() }.is_native());
    }
}
