//! Whole chunks: round trips bit by bit, ranges, damage, sizes, and the bytes that must stay readable for ever.

use std::collections::BTreeSet;

use super::*;
use crate::chunk::fixture;
use crate::model::sample::{NORMAL_NAN_BITS, STALE_NAN_BITS};
use proptest::prelude::*;

type Samples = Vec<(i64, u64)>;

fn seal_samples(samples: &[(i64, u64)], effort: Effort) -> Vec<u8> {
    let times: Vec<i64> = samples.iter().map(|s| s.0).collect();
    let values: Vec<f64> = samples.iter().map(|s| f64::from_bits(s.1)).collect();
    let (encoding, bytes) = seal(&times, &values, effort);
    assert_eq!(encoding, Encoding::Columnar);
    bytes
}

fn decode_range(bytes: &[u8], range: TimeRange) -> Samples {
    let mut out = SampleColumns::new();
    out.push(i64::MIN, 7.0);
    crate::chunk::decode(Encoding::Columnar, bytes, range, &mut out).unwrap();
    let pairs = out.timestamps.into_iter().zip(out.values.into_iter().map(f64::to_bits));
    pairs.skip(1).collect()
}

/// Values of the kinds that series have, with odd ones strewn in.
fn values(count: usize) -> impl Strategy<Value = Vec<u64>> {
    let odd = prop_oneof![
        Just(STALE_NAN_BITS),
        Just(NORMAL_NAN_BITS),
        Just((-0.0_f64).to_bits()),
        Just(f64::INFINITY.to_bits()),
        Just(1_u64),
        any::<u64>(),
    ];
    let odd = proptest::collection::vec((0..count, odd), 0..4);
    let steps = proptest::collection::vec(any::<u32>(), count);
    (0_usize..9, any::<u64>(), steps, odd).prop_map(move |(kind, start, steps, odd)| {
        let mut sum = i64::from(start as u32);
        let mut values: Vec<u64> = steps
            .iter()
            .map(|&step| {
                let value = match kind {
                    0 => f64::from_bits(start),
                    1 => f64::from(step),
                    2 => {
                        sum += i64::from(step % 50);
                        sum as f64
                    }
                    3 => f64::from(step % 100_000) / 100.0,
                    4 => f64::from(step) / f64::from(u32::MAX),
                    5 => (i64::from(step % 1000) * 4096) as f64,
                    6 => f64::from_bits(start ^ u64::from(step)),
                    7 => {
                        sum = sum.wrapping_add(1 << 52);
                        sum as f64
                    }
                    _ => f64::from_bits(u64::from(step).wrapping_mul(start)),
                };
                value.to_bits()
            })
            .collect();
        for (place, bits) in odd {
            values[place] = bits;
        }
        values
    })
}

fn times(count: usize) -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        20 => Just(15_000_i64),
        4 => 14_990_i64..15_010,
        1 => 1_i64..4_000_000_000,
    ];
    let steps = proptest::collection::vec(step, count);
    (any::<i32>(), any::<bool>(), steps).prop_map(|(start, regular, steps)| {
        let mut t = i64::from(start);
        let mut next = |step: i64| {
            t += if regular { 15_000 } else { step };
            t
        };
        steps.into_iter().map(&mut next).collect()
    })
}

fn samples() -> impl Strategy<Value = Samples> {
    (1_usize..300).prop_flat_map(|count| {
        (times(count), values(count)).prop_map(|(t, v)| t.into_iter().zip(v).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn samples_go_round_bit_for_bit(samples in samples(), dense: bool) {
        let effort = if dense { Effort::Dense } else { Effort::Fast };
        let bytes = seal_samples(&samples, effort);
        prop_assert_eq!(decode_range(&bytes, TimeRange::ALL), samples);
    }

    #[test]
    fn any_times_and_values_go_round(samples in proptest::collection::btree_map(any::<i64>(), any::<u64>(), 1..300)) {
        let samples: Samples = samples.into_iter().collect();
        prop_assert_eq!(decode_range(&seal_samples(&samples, Effort::Dense), TimeRange::ALL), samples);
    }

    #[test]
    fn a_range_takes_what_lies_inside(samples in samples(), a in 0_usize..300, b in 0_usize..300, off in -1_i64..2) {
        let at = |i: usize| samples[i.min(samples.len() - 1)].0 + off;
        let range = TimeRange::new(at(a), at(b));
        let expected: Samples = samples.iter().copied().filter(|s| range.contains(s.0)).collect();
        prop_assert_eq!(decode_range(&seal_samples(&samples, Effort::Fast), range), expected);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut out = SampleColumns::new();
        let _ = decode(&bytes, TimeRange::ALL, &mut out);
    }

    #[test]
    fn no_damage_panics(
        samples in samples(),
        dense: bool,
        place: proptest::sample::Index,
        bits in 1_u8..,
        cut: proptest::sample::Index,
    ) {
        let effort = if dense { Effort::Dense } else { Effort::Fast };
        let mut bytes = seal_samples(&samples, effort);
        let mut out = SampleColumns::new();
        let cut = &bytes[..cut.index(bytes.len())];
        let _ = decode(cut, TimeRange::ALL, &mut out);
        let place = place.index(bytes.len());
        bytes[place] ^= bits;
        out.clear();
        if decode(&bytes, TimeRange::ALL, &mut out).is_err() {
            prop_assert!(out.is_empty());
        }
    }
}

/// Bytes that 480 samples at a regular interval take.
fn len_of(value: impl Fn(u64) -> f64) -> usize {
    let samples: Samples =
        (0..480).map(|i| (1_763_000_000_000 + i as i64 * 15_000, value(i).to_bits())).collect();
    let bytes = seal_samples(&samples, Effort::Fast);
    assert_eq!(decode_range(&bytes, TimeRange::ALL), samples);
    bytes.len()
}

#[test]
fn usual_series_are_small() {
    // A header, a line of times, and next to nothing.
    assert!(len_of(|_| 1.0) <= 16);
    assert!(len_of(|_| 0.1) <= 22);
    assert!(len_of(|i| i as f64 * 7.0) <= 40, "steady growth is one step");
    assert!(len_of(|i| (i * i) as f64) <= 50, "steady acceleration too");
    assert!(len_of(|i| if i == 200 { 17.0 } else { 3.0 }) <= 50, "one outlier");
    assert!(
        len_of(|i| (i * 7919 % 100) as f64 / 100.0) <= 480 * 7 / 8 + 50,
        "two digits, seven bits"
    );
    assert!(len_of(|i| (i * 7919 % 64 * 4096) as f64) <= 480 * 6 / 8 + 50, "pages");
    assert!(len_of(|i| if i == 479 { f64::from_bits(STALE_NAN_BITS) } else { i as f64 }) <= 60);
}

#[test]
fn late_scrapes_cost_a_few_bits() {
    let time = |i: i64| 1_763_000_000_000 + i * 15_000 + i * 7919 % 4;
    let samples: Samples = (0..480).map(|i| (time(i), 0)).collect();
    let bytes = seal_samples(&samples, Effort::Fast);
    assert_eq!(decode_range(&bytes, TimeRange::ALL), samples);
    assert!(bytes.len() <= 480 * 2 / 8 + 40, "{}", bytes.len());
}

#[test]
fn decoded_columns_keep_their_optional_parts_whole() {
    let mut out = SampleColumns::new();
    out.push(0, 1.0);
    out.set_start_timestamp(-5);
    let bytes = seal_samples(&[(10, 1), (20, 2), (30, 3)], Effort::Fast);
    decode(&bytes, TimeRange::new(15, 25), &mut out).unwrap();
    assert_eq!(out.timestamps, [0, 20]);
    assert_eq!(out.start_timestamps, [-5, 0]);
    assert!(decode(&bytes[..bytes.len() - 1], TimeRange::ALL, &mut out).is_err());
    assert_eq!((out.len(), out.values.len(), out.start_timestamps.len()), (2, 2, 2));
}

#[test]
fn chunks_of_older_versions_are_readable() {
    let chunks = fixture::parse(include_str!("../../../fixtures/chunk/columnar.txt"), 2);
    let modes: BTreeSet<u8> = chunks.iter().map(|(bytes, _)| bytes[HEADER_BYTES - 1]).collect();
    assert_eq!((chunks.len(), modes), (10, BTreeSet::from([0x00, 0x10, 0x20, 0x30, 0x01])));
    for (bytes, samples) in chunks {
        assert_eq!(decode_range(&bytes, TimeRange::ALL), samples);
    }
}
