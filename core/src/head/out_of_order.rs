//! Samples that came after newer ones of their series: kept apart, by series and time, until a block takes them.
//!
//! Chunks take samples in the order of time only, so what is late cannot join them. It is logged like everything else, waits
//! here, is merged into what a selection reads, and goes into a block with the window that it belongs to. Where a late sample
//! has the time of one in order, the one in order counts. Few series have late samples: the others pay one look at an empty map.

use hashbrown::HashMap;

use super::record::AppendEncoder;
use crate::index::SeriesRef;
use crate::model::columns::SampleColumns;
use crate::model::sample::Sample;
use crate::model::time::{TimeRange, TimestampMs};

/// The late samples of a shard.
#[derive(Debug, Default)]
pub struct OutOfOrder {
    /// In the order of time, one for each time.
    series: HashMap<SeriesRef, Vec<Sample>>,
    samples: usize,
}

impl OutOfOrder {
    /// Keeps a sample; false if there is one at its time already.
    pub(super) fn insert(&mut self, series: SeriesRef, sample: Sample) -> bool {
        let samples = self.series.entry(series).or_default();
        let Err(place) = position(samples, sample.timestamp_ms) else { return false };
        samples.insert(place, sample);
        self.samples += 1;
        true
    }

    /// The value that a series has at `t` here.
    pub fn value_at(&self, series: SeriesRef, t: TimestampMs) -> Option<f64> {
        let samples = self.series.get(&series)?;
        position(samples, t).ok().map(|place| samples[place].value)
    }

    /// The samples of a series in `range`, in the order of time.
    pub fn of(&self, series: SeriesRef, range: TimeRange) -> &[Sample] {
        let Some(samples) = self.series.get(&series) else { return &[] };
        let start = samples.partition_point(|sample| sample.timestamp_ms < range.start_ms);
        let end = samples.partition_point(|sample| sample.timestamp_ms <= range.end_ms);
        &samples[start..end.max(start)]
    }

    /// Whether a series has a sample in `range` here.
    #[inline]
    pub fn overlaps(&self, series: SeriesRef, range: TimeRange) -> bool {
        self.samples > 0 && !self.of(series, range).is_empty()
    }

    /// Merges the samples of a series in `range` into those of `out` from number `from` on.
    pub fn merge(&self, series: SeriesRef, range: TimeRange, from: usize, out: &mut SampleColumns) {
        if !self.overlaps(series, range) {
            return;
        }
        let mut late = SampleColumns::new();
        for sample in self.of(series, range) {
            late.push(sample.timestamp_ms, sample.value);
        }
        out.merge_from(from, &late);
    }

    /// Forgets what is older than `t`: a block has it.
    pub fn remove_before(&mut self, t: TimestampMs) {
        let mut removed = 0;
        self.series.retain(|_, samples| {
            let old = samples.partition_point(|sample| sample.timestamp_ms < t);
            removed += samples.drain(..old).count();
            !samples.is_empty()
        });
        self.samples -= removed;
    }

    /// How many samples.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Bytes in memory, about.
    pub fn byte_len(&self) -> usize {
        self.samples * size_of::<Sample>()
    }

    /// All samples in payloads of records, of about `bytes` bytes each.
    pub fn encode(&self, bytes: usize) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        let (mut encoder, mut payload) = (AppendEncoder::new(), Vec::new());
        for (series, samples) in &self.series {
            for part in samples.chunks(bytes / size_of::<Sample>() + 1) {
                encoder.push(&mut payload, *series, None, part);
                if payload.len() >= bytes {
                    payloads.push(std::mem::take(&mut payload));
                    encoder = AppendEncoder::new();
                }
            }
        }
        payloads.push(payload);
        payloads.retain(|payload| !payload.is_empty());
        payloads
    }
}

/// Where the sample at `t` is, or where it belongs.
fn position(samples: &[Sample], t: TimestampMs) -> Result<usize, usize> {
    samples.binary_search_by_key(&t, |sample| sample.timestamp_ms)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::head::record::{self, KIND_OUT_OF_ORDER, Record};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            samples in proptest::collection::vec((0_u32..4, -50_i64..50, any::<u64>()), 0..60),
            bytes in 1_usize..200,
        ) {
            let (mut kept, mut again) = (OutOfOrder::default(), OutOfOrder::default());
            for (series, timestamp_ms, bits) in samples {
                kept.insert(series, Sample { timestamp_ms, value: f64::from_bits(bits) });
            }
            for payload in kept.encode(bytes) {
                record::decode(KIND_OUT_OF_ORDER, &payload, &mut |record: &Record<'_>| {
                    let Record::OutOfOrder { series, samples } = *record else { panic!("{record:?}") };
                    for sample in samples {
                        assert!(again.insert(series, *sample));
                    }
                }).unwrap();
            }
            prop_assert_eq!(kept.len(), again.len());
            for series in 0..4 {
                prop_assert_eq!(kept.of(series, TimeRange::ALL), again.of(series, TimeRange::ALL));
            }
        }

        #[test]
        fn merging_sorts_and_prefers_what_is_in_order(
            in_order in proptest::collection::btree_set(0_i64..60, 0..40),
            late in proptest::collection::vec(0_i64..60, 0..40),
            start in 0_i64..60,
        ) {
            let range = TimeRange::new(start, 40);
            let mut kept = OutOfOrder::default();
            for &t in &late {
                kept.insert(7, Sample { timestamp_ms: t, value: 2.0 });
            }
            let mut out = SampleColumns::new();
            out.push(100, 0.0);
            in_order.iter().filter(|t| range.contains(**t)).for_each(|t| out.push(*t, 1.0));
            kept.merge(7, range, 1, &mut out);
            let both = late.iter().map(|t| (*t, 2.0)).chain(in_order.iter().map(|t| (*t, 1.0)));
            let expected: BTreeMap<i64, f64> = both.filter(|(t, _)| range.contains(*t)).collect();
            let found: Vec<_> = out.timestamps.into_iter().zip(out.values).collect();
            prop_assert_eq!(found[0], (100, 0.0));
            prop_assert!(found[1..].iter().copied().eq(expected));
        }
    }

    #[test]
    fn what_a_block_has_is_forgotten() {
        let mut kept = OutOfOrder::default();
        let sample = |timestamp_ms| Sample { timestamp_ms, value: 1.0 };
        assert!(
            kept.insert(1, sample(5)) && kept.insert(1, sample(3)) && kept.insert(2, sample(4))
        );
        assert!(!kept.insert(1, Sample { timestamp_ms: 5, value: 9.0 }));
        assert_eq!(kept.value_at(1, 5), Some(1.0));
        kept.remove_before(5);
        assert_eq!((kept.len(), kept.of(1, TimeRange::ALL)), (1, &[sample(5)][..]));
        assert!(!kept.overlaps(2, TimeRange::ALL) && kept.overlaps(1, TimeRange::new(5, 5)));
    }
}
