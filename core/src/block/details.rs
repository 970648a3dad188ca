//! What the samples of a chunk have besides times and floats: native histograms and the starts of counters.
//!
//! ```text
//! details   detail | detail | ...
//! detail    time, minus the time of the detail before: uvarint | start, minus time: varint, 0 if unknown | histogram: u8 | the histogram
//!           0: none    1: as `chunk::histogram` draws it    2: changes of the histogram before
//! changes   hint: u8 | count of zeros, count, each count of the positive, each of the negative side: varint, minus that of the histogram before
//! ```
//!
//! Neighbours mostly have the same buckets, and counts that are whole and a little larger, and the sum of a histogram is the float of its sample:
//! so most take a byte a bucket instead of eight. Times and not places in the chunk, so that a chunk may be read in part. Pure functions.

use std::ops::Range;
use std::sync::Arc;

use crate::chunk::bits::{push_uvarint, push_varint};
use crate::chunk::histogram;
use crate::head::record::Input;
use crate::model::columns::SampleColumns;
use crate::model::histogram::{FloatHistogram, ResetHint};

const NONE: u8 = 0;
const WHOLE: u8 = 1;
const CHANGES: u8 = 2;

/// Counts below it are whole numbers that differences give back.
const COUNT_MAX: f64 = (1_u64 << 53) as f64;

/// Encodes the details of some samples, if they have any.
pub(super) fn encode(samples: &SampleColumns, range: Range<usize>, out: &mut Vec<u8>) {
    let (mut before, mut like): (_, Option<&FloatHistogram>) = (0, None);
    for i in range {
        let t = samples.timestamps[i];
        let histogram = samples.histograms.get(i).and_then(Option::as_deref);
        let start_ms = samples.start_timestamps.get(i).copied().unwrap_or(0);
        if histogram.is_none() && start_ms == 0 {
            continue;
        }
        push_uvarint(out, t.wrapping_sub(before) as u64);
        push_varint(out, if start_ms == 0 { 0 } else { start_ms.wrapping_sub(t) });
        before = t;
        match (histogram, like) {
            (None, _) => out.push(NONE),
            (Some(now), Some(like)) if changes_tell(like, now, samples.values[i]) => {
                out.extend_from_slice(&[CHANGES, now.hint as u8]);
                for (a, b) in counts(like).zip(counts(now)) {
                    push_varint(out, b as i64 - a as i64);
                }
            }
            (Some(now), _) => {
                out.push(WHOLE);
                histogram::encode(now, out);
            }
        }
        like = histogram.or(like);
    }
}

/// Zeros, all, and the buckets of both sides.
fn counts(h: &FloatHistogram) -> impl Iterator<Item = f64> {
    let buckets = h.positive.counts().iter().chain(h.negative.counts());
    [h.zero_count, h.count].into_iter().chain(buckets.copied())
}

/// Whether `now`, whose sample has this float, is `before` with other counts, all of which are whole.
fn changes_tell(before: &FloatHistogram, now: &FloatHistogram, value: f64) -> bool {
    let bits = |bounds: &[f64]| bounds.iter().map(|bound| bound.to_bits()).collect::<Vec<_>>();
    let is_whole =
        |count: f64| count.abs() < COUNT_MAX && (count as i64 as f64).to_bits() == count.to_bits();
    now.sum.to_bits() == value.to_bits()
        && now.schema == before.schema
        && now.zero_threshold.to_bits() == before.zero_threshold.to_bits()
        && now.positive.indexes() == before.positive.indexes()
        && now.negative.indexes() == before.negative.indexes()
        && bits(now.bounds()) == bits(before.bounds())
        && counts(before).chain(counts(now)).all(is_whole)
}

/// Fills details into the samples from number `from` on that have their times. `None` if the bytes make no sense.
pub(super) fn decode(bytes: &[u8], from: usize, out: &mut SampleColumns) -> Option<()> {
    let (mut input, mut t, mut i) = (Input { bytes }, 0_i64, from);
    let mut like: Option<Arc<FloatHistogram>> = None;
    while !input.bytes.is_empty() {
        t = t.wrapping_add(input.uvarint()? as i64);
        let start = input.varint()?;
        while out.timestamps.get(i).is_some_and(|at| *at < t) {
            i += 1;
        }
        let is_wanted = out.timestamps.get(i) == Some(&t);
        let histogram = match input.byte()? {
            NONE => None,
            WHOLE => Some(histogram::decode(&mut input)?),
            CHANGES => {
                let sum = if is_wanted { out.values[i] } else { 0.0 };
                Some(changed(like.as_deref()?, sum, &mut input)?)
            }
            _ => return None,
        };
        let histogram = histogram.map(Arc::new);
        like = histogram.clone().or(like);
        if is_wanted && histogram.is_some() {
            out.histograms.resize(out.timestamps.len(), None);
            out.histograms[i] = histogram;
        }
        if is_wanted && start != 0 {
            out.start_timestamps.resize(out.timestamps.len(), 0);
            out.start_timestamps[i] = t.wrapping_add(start);
        }
    }
    Some(())
}

/// A histogram like the one before, with other counts.
fn changed(before: &FloatHistogram, sum: f64, input: &mut Input<'_>) -> Option<FloatHistogram> {
    let hint = ResetHint::from_u8(input.byte()?)?;
    let mut now = FloatHistogram { hint, sum, ..before.clone() };
    let (positive, negative) = (now.positive.counts_mut(), now.negative.counts_mut());
    let all = [&mut now.zero_count, &mut now.count].into_iter().chain(positive).chain(negative);
    for count in all {
        *count = (*count as i64).wrapping_add(input.varint()?) as f64;
    }
    Some(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Histograms of few layouts, so that neighbours are often alike; sometimes with a count that is not whole, or a sum that is not the float.
    fn histogram() -> impl Strategy<Value = Option<(FloatHistogram, bool)>> {
        let counts = proptest::collection::vec(0_u32..1000, 3);
        let parts = (0_u8..3, counts, any::<[bool; 4]>(), any::<f64>());
        proptest::option::weighted(0.8, parts).prop_map(|parts| {
            let (layout, counts, [fraction, bounds, gauge, other_sum], sum) = parts?;
            let side = |first: i32| {
                let count = |(i, count): (i32, &u32)| (first + i, f64::from(*count));
                (0..).zip(&counts).map(count).collect()
            };
            let count = if fraction { 0.5 } else { 7.0 };
            let histogram = FloatHistogram {
                hint: if gauge { ResetHint::Gauge } else { ResetHint::Unknown },
                schema: i32::from(layout),
                zero_threshold: 1e-128,
                zero_count: 3.0,
                count,
                sum,
                positive: side(i32::from(layout)),
                negative: side(-4),
                custom_bounds: bounds.then(|| [1.0, 2.0].into()),
            };
            Some((histogram, other_sum && layout == 0))
        })
    }

    proptest! {
        #[test]
        fn details_go_round(
            all in proptest::collection::vec((histogram(), any::<bool>()), 1..30),
            skip: proptest::sample::Index,
        ) {
            let mut samples = SampleColumns::new();
            for (i, (histogram, starts)) in (0_i64..).zip(all) {
                match histogram {
                    Some((histogram, other_sum)) => {
                        samples.push_histogram(i * 15, Arc::new(histogram));
                        if other_sum {
                            *samples.values.last_mut().unwrap() = 99.5;
                        }
                    }
                    None => samples.push(i * 15, 0.5),
                }
                if starts {
                    samples.set_start_timestamp(i - 9);
                }
            }
            let mut bytes = Vec::new();
            encode(&samples, 0..samples.len(), &mut bytes);
            // A part of the samples, as a reader of a range has them.
            let first = skip.index(samples.len());
            let mut again = SampleColumns::new();
            for i in first..samples.len() {
                again.push(samples.timestamps[i], samples.values[i]);
            }
            decode(&bytes, 0, &mut again).unwrap();
            for (i, at) in (first..samples.len()).zip(0..) {
                let expected = samples.histograms.get(i).and_then(Option::as_deref);
                let found = again.histograms.get(at).and_then(Option::as_deref);
                let same = match (expected, found) {
                    (Some(a), Some(b)) => a.same(b) && a.hint == b.hint,
                    (a, b) => a.is_none() && b.is_none(),
                };
                prop_assert!(same, "{:?} {:?}", expected, found);
                let start = |samples: &SampleColumns, i| samples.start_timestamps.get(i).copied().unwrap_or(0);
                prop_assert_eq!(start(&samples, i), start(&again, at));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut out = SampleColumns::new();
            out.push(7, 1.0);
            decode(&bytes, 0, &mut out);
        }
    }

    #[test]
    fn a_histogram_that_grows_takes_a_byte_a_bucket() {
        let mut samples = SampleColumns::new();
        for i in 0..120_i64 {
            let positive = (0..20).map(|bucket| (bucket, (i * i64::from(bucket)) as f64)).collect();
            let (count, sum) = ((i * 190) as f64, i as f64 * 0.7);
            let histogram = FloatHistogram { count, sum, positive, ..FloatHistogram::default() };
            samples.push_histogram(i * 15_000, Arc::new(histogram));
        }
        let mut bytes = Vec::new();
        encode(&samples, 0..120, &mut bytes);
        // Time 2, start and kind 2, hint 1, zeros 1, count 2, buckets 20.
        let one = 29;
        assert!(bytes.len() < 120 * one + 250, "{}", bytes.len());
    }
}
