//! Late samples of a batch: those that come after newer ones of their series, within the window that is open for them.
//!
//! They are admitted like all others, into a record of their own, unless the series has a sample at that time: with the same value
//! it is a repetition and accepted, with another one refused. What is known of a series for that are its samples in memory. One that falls
//! into a chunk which only a file holds is *deferred*: the file is read when everything else is in, and the sample is judged again.

use hashbrown::HashMap;

use super::Inner;
use super::admit::Bounds;
use crate::append::{AppendBatch, AppendOutcome, RefusalKind};
use crate::error::{Error, Result};
use crate::head::Head;
use crate::head::details::{SampleDetail, encode_detail};
use crate::head::record::{AppendEncoder, Record};
use crate::index::SeriesRef;
use crate::limits::OUT_OF_ORDER_BYTES_MAX;
use crate::model::columns::SampleColumns;
use crate::model::sample::Sample;
use crate::model::time::{TimeRange, TimestampMs};

/// The late samples of a batch: series by series, with their details, and the records of both.
#[derive(Default)]
pub(super) struct Late<'a> {
    samples: Vec<Sample>,
    /// Whose, and where they end in `samples`.
    series: Vec<(SeriesRef, usize)>,
    encoder: AppendEncoder,
    /// The record of the samples.
    pub(super) payload: Vec<u8>,
    details: Vec<(SeriesRef, TimestampMs, &'a SampleDetail)>,
    /// The record of their details.
    pub(super) details_payload: Vec<u8>,
}

/// What memory holds of one series, to compare late samples with.
pub(super) struct Known<'a> {
    head: &'a Head,
    series: Option<SeriesRef>,
    /// The samples in its chunks, decoded when they are first asked for.
    in_chunks: Option<SampleColumns>,
}

impl<'a> Known<'a> {
    /// Of this series; of one that begins, nothing.
    pub(super) fn of(head: &'a Head, series: Option<SeriesRef>) -> Self {
        Known { head, series, in_chunks: None }
    }

    /// Its value at `t`, if it has one, as far as memory and what was read of files tell.
    fn value_at(&mut self, t: TimestampMs, stored: Option<&Stored>) -> Lookup {
        let Some(number) = self.series else { return Lookup::Nothing };
        let in_memory = self.in_memory(number, t);
        match (in_memory, stored) {
            (Some(value), _) => Lookup::Value(value),
            (None, None) if self.head.is_stored(number, t) => Lookup::InFile,
            (None, None) => Lookup::Nothing,
            (None, Some(stored)) => {
                stored.get(&(number, t)).map_or(Lookup::Nothing, |value| Lookup::Value(*value))
            }
        }
    }

    fn in_memory(&mut self, number: SeriesRef, t: TimestampMs) -> Option<f64> {
        let Known { head, in_chunks, .. } = self;
        let late = head.out_of_order().value_at(number, t);
        late.or_else(|| {
            let series = head.series(number)?;
            let columns = in_chunks.get_or_insert_with(|| head.in_memory(series));
            columns.timestamps.binary_search(&t).ok().map(|place| columns.values[place])
        })
    }
}

/// What is known of a series at one time.
enum Lookup {
    Value(f64),
    Nothing,
    /// A chunk in a file covers the time.
    InFile,
}

/// Values of series at times for which files were read.
pub(super) type Stored = HashMap<(SeriesRef, TimestampMs), f64>;

/// A late sample that falls into a chunk which only a file holds.
pub(super) struct Deferred {
    series: SeriesRef,
    sample: Sample,
    detail: Option<SampleDetail>,
}

impl Deferred {
    /// A sample of a series with its detail among those of its batch.
    pub(super) fn new(
        series: SeriesRef,
        sample: Sample,
        details: &[(TimestampMs, SampleDetail)],
    ) -> Self {
        let detail = details.iter().find(|(t, _)| *t == sample.timestamp_ms);
        Deferred { series, sample, detail: detail.map(|(_, detail)| detail.clone()) }
    }
}

impl Head {
    /// Whether a chunk in a chunk file covers a time of a series.
    fn is_stored(&self, number: SeriesRef, t: TimestampMs) -> bool {
        !self.stored_chunks(number, TimeRange::new(t, t)).is_empty()
    }
}

impl Inner {
    /// Judges samples again with what chunk files hold, and appends those that are new.
    pub(super) async fn append_deferred(
        &self,
        deferred: &[Deferred],
        mut bounds: Bounds,
    ) -> Result<AppendOutcome> {
        let (mut batch, mut stored) = (AppendBatch::new(), Stored::new());
        for of_series in deferred.chunk_by(|a, b| a.series == b.series) {
            let series = of_series[0].series;
            self.look_up(series, of_series, &mut stored).await?;
            batch.push_known(series);
            for Deferred { sample, detail, .. } in of_series {
                batch.push_sample(sample.timestamp_ms, sample.value);
                if let Some(detail) = detail {
                    batch.push_detail(sample.timestamp_ms, detail.clone());
                }
            }
        }
        bounds.stored = Some(stored);
        self.append_bounded(&batch, &bounds, &mut Vec::new()).await
    }

    /// Notes the values that chunk files have of a series at the times of some samples. What is damaged is as if it were not there.
    async fn look_up(
        &self,
        series: SeriesRef,
        samples: &[Deferred],
        stored: &mut Stored,
    ) -> Result<()> {
        let times = || samples.iter().map(|deferred| deferred.sample.timestamp_ms);
        let range = TimeRange::new(times().min().unwrap_or(0), times().max().unwrap_or(0));
        let (chunks, mut columns) =
            (self.head.borrow().stored_chunks(series, range), SampleColumns::new());
        for chunk in chunks {
            match self.read_stored(chunk, range, &mut columns).await {
                Ok(()) | Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for t in times() {
            if let Ok(place) = columns.timestamps.binary_search(&t) {
                stored.insert((series, t), columns.values[place]);
            }
        }
        Ok(())
    }
}

/// What is to become of a late sample.
pub(super) enum Judgement {
    /// It was admitted.
    Admitted,
    /// It is there already.
    Repeated,
    /// It is refused.
    Refused(RefusalKind),
    /// A file has to be read first.
    Deferred,
}

impl<'a> Late<'a> {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// How many samples there are, of series that were admitted and of the one that is being judged.
    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    /// Time of the oldest of them.
    pub(super) fn oldest_ms(&self) -> TimestampMs {
        let times = self.samples.iter().map(|sample| sample.timestamp_ms);
        times.min().unwrap_or(TimestampMs::MAX)
    }

    /// Judges a sample of a series whose samples in order are `in_order` in this batch, and whose late ones begin at `from`.
    pub(super) fn judge(
        &mut self,
        sample: Sample,
        in_order: &[Sample],
        from: usize,
        known: &mut Known<'_>,
        bounds: &Bounds,
    ) -> Judgement {
        let t = sample.timestamp_ms;
        let mut in_batch = in_order.iter().chain(&self.samples[from..]);
        let in_batch = in_batch.find(|sample| sample.timestamp_ms == t).map(|sample| sample.value);
        let there =
            in_batch.map_or_else(|| known.value_at(t, bounds.stored.as_ref()), Lookup::Value);
        if let Lookup::Value(value) = there {
            let repeated = value.to_bits() == sample.value.to_bits();
            let conflict = Judgement::Refused(RefusalKind::DuplicateTimestamp);
            return if repeated { Judgement::Repeated } else { conflict };
        }
        if let Some(kind) = bounds.refuses_late(t, known.head) {
            return Judgement::Refused(kind);
        }
        if matches!(there, Lookup::InFile) {
            return Judgement::Deferred;
        }
        self.samples.push(sample);
        Judgement::Admitted
    }

    /// Encodes the samples from number `from` on, which are of this series, with their details; how many there are.
    pub(super) fn admit(
        &mut self,
        series: SeriesRef,
        from: usize,
        details: &'a [(TimestampMs, SampleDetail)],
    ) -> u64 {
        let samples = &self.samples[from..];
        if samples.is_empty() {
            return 0;
        }
        self.encoder.push(&mut self.payload, series, None, samples);
        for (t, detail) in details {
            if samples.iter().any(|sample| sample.timestamp_ms == *t) {
                encode_detail(&mut self.details_payload, series, *t, detail, false);
                self.details.push((series, *t, detail));
            }
        }
        self.series.push((series, self.samples.len()));
        (self.samples.len() - from) as u64
    }

    /// Changes the head as the records say.
    pub(super) fn apply(&self, head: &mut Head) {
        for &(series, timestamp_ms, detail) in &self.details {
            head.apply(&Record::Detail { series, timestamp_ms, detail, attached: false });
        }
        let mut start = 0;
        for &(series, end) in &self.series {
            head.apply(&Record::OutOfOrder { series, samples: &self.samples[start..end] });
            start = end;
        }
    }
}

impl Bounds {
    /// Why a late sample is refused.
    fn refuses_late(&self, t: TimestampMs, head: &Head) -> Option<RefusalKind> {
        // What was deferred was in the window when its batch came, whatever came with it.
        let oldest_ms = match self.stored {
            Some(_) => TimestampMs::MIN,
            None => head.counts().max_ms.saturating_sub(self.late_ms_max),
        };
        if self.late_ms_max <= 0 {
            Some(RefusalKind::OutOfOrder)
        } else if t < oldest_ms.max(head.floor_ms()) || t == TimestampMs::MIN {
            Some(RefusalKind::TooOld)
        } else if head.out_of_order().byte_len() >= OUT_OF_ORDER_BYTES_MAX {
            Some(RefusalKind::OutOfOrderLimit)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::append::AppendOutcome;
    use crate::limits::OUT_OF_ORDER_WINDOW_MS;
    use crate::runtime::sim::{self, SimDisk};
    use crate::shard::tests::{DIRECTORY, Model, batch, labels, open, options, read_all};
    use crate::shard::{Shard, ShardOptions};

    /// The rows as a model.
    fn model(rows: &[(u64, i64, f64)], range: TimeRange) -> Model {
        let mut model = Model::new();
        for &(series, t, value) in rows.iter().filter(|(_, t, _)| range.contains(*t)) {
            model.entry(labels(series)).or_default().insert(t, value.to_bits());
        }
        model
    }

    /// Series, times over twelve hours and values, in an order of arrival in which some are late, by less than an hour.
    fn rows() -> impl Strategy<Value = Vec<(u64, i64, f64)>> {
        let row = (0_u64..3, 0_i64..1_440);
        let late_ms = prop_oneof![Just(0_i64), 0_i64..OUT_OF_ORDER_WINDOW_MS];
        let rows = proptest::collection::btree_map(row, (any::<u64>(), late_ms), 1..100);
        rows.prop_map(|rows| {
            let row = |((series, slot), (bits, late_ms))| {
                let t = slot * 30_000;
                (t + late_ms, (series, t, f64::from_bits(bits)))
            };
            let mut rows: Vec<_> = rows.into_iter().map(row).collect();
            rows.sort_by_key(|(arrival_ms, _)| *arrival_ms);
            rows.into_iter().map(|(_, row)| row).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_order_of_arrival_gives_the_same_answers(
            rows in rows(),
            sizes in proptest::collection::vec((1_usize..12, 0_u8..6), 100),
            a in 0_i64..43_200_000,
            b in 0_i64..43_200_000,
        ) {
            sim::run(1, async {
                let disk = SimDisk::new(1);
                let mut shard = open(&disk).await;
                let mut left = &rows[..];
                for (size, then) in sizes {
                    let (now, later) = left.split_at(size.min(left.len()));
                    left = later;
                    let outcome = shard.append(batch(now)).await.unwrap();
                    assert_eq!((outcome.appended, outcome.refused_total()), (now.len() as u64, 0), "{outcome:?} {now:?}");
                    match then {
                        0 => shard.0.spill_as(size.is_multiple_of(2)).await.unwrap(),
                        1 => shard.0.checkpoint().await.unwrap(),
                        2 => shard.maintain().await.unwrap(),
                        _ => shard.tick().await.unwrap(),
                    }
                }
                for _ in 0..2 {
                    for range in [TimeRange::ALL, TimeRange::new(a.min(b), a.max(b))] {
                        let found = read_all(&shard, range).await.unwrap();
                        assert_eq!(found, model(&rows, range));
                    }
                    shard = open(&disk.kill()).await;
                }
            });
        }
    }

    #[test]
    fn what_only_a_file_holds_is_known_too() {
        sim::run(4, async {
            let disk = SimDisk::new(4);
            let shard = open(&disk).await;
            let rows: Vec<_> = (0..200).map(|i| (0, i * 10_000, i as f64)).collect();
            shard.append(batch(&rows)).await.unwrap();
            shard.0.spill().await.unwrap();
            assert_eq!((shard.stats().backlog_chunks, shard.stats().chunks_sealed), (0, 1));
            // Repeated, in conflict, new, new and repeated, beside one that is in order.
            let late = [
                (0, 500_000, 50.0),
                (0, 510_000, 7.0),
                (0, 515_000, 9.0),
                (0, 525_000, 3.0),
                (0, 525_000, 3.0),
                (0, 2_000_000, 4.0),
            ];
            let outcome = shard.append(batch(&late)).await.unwrap();
            let conflicts = outcome.refused_as(RefusalKind::DuplicateTimestamp);
            assert_eq!((outcome.appended, outcome.duplicates, conflicts), (3, 2, 1));
            let outcome = shard.append(batch(&late)).await.unwrap();
            assert_eq!((outcome.appended, outcome.duplicates, outcome.refused_total()), (0, 5, 1));
            let mut expected = model(&rows, TimeRange::ALL);
            let more = [(0, 515_000, 9.0), (0, 525_000, 3.0), (0, 2_000_000, 4.0)];
            for (labels, samples) in model(&more, TimeRange::ALL) {
                expected.entry(labels).or_default().extend(samples);
            }
            for shard in [shard, open(&disk.kill()).await] {
                assert_eq!(read_all(&shard, TimeRange::ALL).await.unwrap(), expected);
            }
        });
    }

    #[test]
    fn the_newest_samples_are_compared_after_a_clean_stop() {
        sim::run(6, async {
            let disk = SimDisk::new(6);
            let rows = [(0, 10_000, 1.0), (1, 10_000, 2.0)];
            let shard = open(&disk).await;
            shard.append(batch(&rows)).await.unwrap();
            shard.close().await.unwrap();
            let options = ShardOptions { out_of_order_window_ms: Arc::default(), ..options() };
            let disk = disk.kill().disk();
            let shard = Shard::open(disk, Path::new(DIRECTORY), options).await.unwrap();
            let again = [(0, 10_000, 1.0), (1, 10_000, 7.0), (1, 20_000, 3.0)];
            let outcome = shard.append(batch(&again)).await.unwrap();
            let conflicts = outcome.refused_as(RefusalKind::DuplicateTimestamp);
            assert_eq!((outcome.appended, outcome.duplicates, conflicts), (1, 1, 1), "{outcome:?}");
            let found = read_all(&shard, TimeRange::ALL).await.unwrap();
            assert_eq!(found, model(&[rows[0], rows[1], again[2]], TimeRange::ALL));
        });
    }

    #[test]
    fn what_is_deferred_stays_in_the_window_that_its_batch_found() {
        sim::run(5, async {
            let disk = SimDisk::new(5);
            let shard = open(&disk).await;
            let rows: Vec<_> = (0..200).map(|i| (0, i * 10_000, i as f64)).collect();
            shard.append(batch(&rows)).await.unwrap();
            shard.0.spill().await.unwrap();
            let newest_ms = OUT_OF_ORDER_WINDOW_MS + 1_000_000;
            let rows = [(0, 515_000, 9.0), (0, newest_ms, 1.0)];
            let outcome = shard.append(batch(&rows)).await.unwrap();
            assert_eq!((outcome.appended, outcome.refused_total()), (2, 0), "{outcome:?}");
        });
    }

    #[test]
    fn the_window_is_what_is_configured_and_may_change() {
        sim::run(3, async {
            let window = Arc::new(AtomicI64::new(1_000));
            let options = ShardOptions { out_of_order_window_ms: Arc::clone(&window), ..options() };
            let disk = SimDisk::new(3).disk();
            let shard = Shard::open(disk, Path::new(DIRECTORY), options).await.unwrap();
            let append = async |rows: &[_]| shard.append(batch(rows)).await.unwrap();
            let refused = |outcome: AppendOutcome, kind| {
                (outcome.appended, outcome.duplicates, outcome.refused_as(kind))
            };
            append(&[(0, 5_000, 1.0), (1, 10_000, 1.0)]).await;
            // The window counts from the newest sample of the shard.
            let outcome = append(&[(0, 4_000, 1.0), (1, 9_000, 2.0), (1, 8_999, 3.0)]).await;
            assert_eq!(refused(outcome, RefusalKind::TooOld), (1, 0, 2));
            let outcome = append(&[(1, 9_000, 2.0), (1, 9_000, 3.0), (1, 9_000, 2.0)]).await;
            assert_eq!(refused(outcome, RefusalKind::DuplicateTimestamp), (0, 2, 1));
            window.store(0, Ordering::Relaxed);
            let outcome = append(&[(1, 9_500, 2.0), (1, 9_000, 2.0)]).await;
            assert_eq!(refused(outcome, RefusalKind::OutOfOrder), (0, 1, 1));
            let found = read_all(&shard, TimeRange::ALL).await.unwrap();
            let expected = [(9_000, 2_f64.to_bits()), (10_000, 1_f64.to_bits())];
            assert_eq!(found[&labels(1)], BTreeMap::from(expected));
            assert_eq!(shard.stats().samples_out_of_order, 1);
        });
    }
}
