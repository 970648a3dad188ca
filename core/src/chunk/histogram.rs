//! One native histogram as bytes.
//!
//! ```text
//! +------+--------+----------------+------------+-------+-----+--------+----------+----------+
//! | hint | schema | zero threshold | zero count | count | sum | bounds | positive | negative |
//! | u8   | i8     | f64            | f64        | f64   | f64 | column | side     | side     |
//! +------+--------+----------------+------------+-------+-----+--------+----------+----------+
//! column   count: uvarint | f64 ...
//! side     spans: uvarint | of each: gap to the span before: varint, length: uvarint | column of the counts
//! ```
//!
//! Floats are little-endian. Every bit pattern of a float is kept.

use std::sync::Arc;

use crate::chunk::bits::{push_uvarint, push_varint};
use crate::head::record::Input;
use crate::model::histogram::{Buckets, FloatHistogram, ResetHint};

/// Appends a histogram to `out`.
pub fn encode(histogram: &FloatHistogram, out: &mut Vec<u8>) {
    out.push(histogram.hint as u8);
    out.push(histogram.schema as i8 as u8);
    let h = histogram;
    for number in [h.zero_threshold, h.zero_count, h.count, h.sum] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    encode_column(h.bounds(), out);
    for side in [&h.positive, &h.negative] {
        let spans = side.spans();
        push_uvarint(out, spans.len() as u64);
        for (gap, length) in spans {
            push_varint(out, i64::from(gap));
            push_uvarint(out, u64::from(length));
        }
        encode_column(side.counts(), out);
    }
}

fn encode_column(values: &[f64], out: &mut Vec<u8>) {
    push_uvarint(out, values.len() as u64);
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Takes a histogram off the front; `None` if the bytes are none.
pub(crate) fn decode(input: &mut Input<'_>) -> Option<FloatHistogram> {
    let hint = ResetHint::from_u8(input.byte()?)?;
    let schema = i32::from(input.byte()? as i8);
    let mut number = || decode_float(input);
    let (zero_threshold, zero_count) = (number()?, number()?);
    let (count, sum) = (number()?, number()?);
    let bounds = decode_column(input)?;
    let custom_bounds: Option<Arc<[f64]>> = (!bounds.is_empty()).then(|| bounds.into());
    let (positive, negative) = (decode_side(input)?, decode_side(input)?);
    Some(FloatHistogram {
        hint,
        schema,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive,
        negative,
        custom_bounds,
    })
}

fn decode_float(input: &mut Input<'_>) -> Option<f64> {
    let (bytes, rest) = input.bytes.split_first_chunk()?;
    input.bytes = rest;
    Some(f64::from_le_bytes(*bytes))
}

fn decode_column(input: &mut Input<'_>) -> Option<Vec<f64>> {
    let count = usize::try_from(input.uvarint()?).ok()?;
    if count > input.bytes.len() / size_of::<f64>() {
        return None;
    }
    (0..count).map(|_| decode_float(input)).collect()
}

fn decode_side(input: &mut Input<'_>) -> Option<Buckets> {
    let count = usize::try_from(input.uvarint()?).ok()?;
    let mut spans = Vec::with_capacity(count.min(input.bytes.len()));
    for _ in 0..count {
        let gap = i32::try_from(input.varint()?).ok()?;
        spans.push((gap, u32::try_from(input.uvarint()?).ok()?));
    }
    Buckets::from_spans(&spans, &decode_column(input)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn histograms_go_round(
            numbers in any::<[u64; 4]>(),
            schema in -53_i32..=8,
            bounds in proptest::collection::vec(any::<f64>(), 0..5),
            sides in any::<[std::collections::BTreeMap<i16, u64>; 2]>(),
        ) {
            let [zero_threshold, zero_count, count, sum] = numbers.map(f64::from_bits);
            let side = |of: &std::collections::BTreeMap<i16, u64>| {
                of.iter().map(|(i, c)| (i32::from(*i), f64::from_bits(*c))).collect()
            };
            let h = FloatHistogram {
                hint: ResetHint::NotReset,
                schema,
                zero_threshold,
                zero_count,
                count,
                sum,
                positive: side(&sides[0]),
                negative: side(&sides[1]),
                custom_bounds: (!bounds.is_empty()).then(|| bounds.into()),
            };
            let (mut bytes, mut again) = (Vec::new(), Vec::new());
            encode(&h, &mut bytes);
            let mut input = Input { bytes: &bytes };
            let back = decode(&mut input).unwrap();
            prop_assert!(input.bytes.is_empty());
            encode(&back, &mut again);
            prop_assert_eq!(&bytes, &again);
            for end in 0..bytes.len() {
                let cut = decode(&mut Input { bytes: &bytes[..end] });
                prop_assert!(cut.is_none());
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            decode(&mut Input { bytes: &bytes });
        }
    }
}
