//! A shard on the simulated disk, against a model: a map of what was acknowledged.
//!
//! Random appends (in order, repeated, out of order, several at once), background work at random times, kills, crashes, damage; after
//! each restart everything acknowledged must be there bit for bit, and nothing that nobody sent.

mod blocks;
mod fairness;
mod outline;
mod recode;

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashSet;

use super::{Shard, ShardOptions};
use crate::append::{AppendBatch, RefusalKind};
use crate::error::{Error, Result};
use crate::model::columns::SampleColumns;
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::metadata::{Metadata, MetricType};
use crate::model::sample::{STALE_NAN, Sample};
use crate::model::time::TimeRange;
use crate::runtime::sim::{self, SimDisk};
use crate::wal::WalOptions;

pub(super) const DIRECTORY: &str = "/shard-0000";

pub(super) fn options() -> ShardOptions {
    ShardOptions {
        wal: WalOptions { segment_bytes: 64 << 10, ..WalOptions::default() },
        future_ms_max: i64::MAX,
        ..ShardOptions::default()
    }
}

pub(super) async fn open(disk: &SimDisk) -> Rc<Shard> {
    Shard::open(disk.disk(), Path::new(DIRECTORY), options()).await.unwrap()
}

pub(super) fn labels(series: u64) -> Labels {
    let (host, parity) =
        (series.to_string(), if series.is_multiple_of(2) { "even" } else { "odd" });
    Labels::from_pairs([("__name__", "m"), ("host", &host), ("parity", parity)])
}

pub(super) fn batch(samples: &[(u64, i64, f64)]) -> AppendBatch {
    let mut batch = AppendBatch::new();
    for &(series, t, value) in samples {
        let labels = labels(series);
        batch.push_series(labels.fingerprint(), labels.encoded());
        batch.push_sample(t, value);
    }
    batch
}

/// Times and bits of values by series.
pub(super) type Model = BTreeMap<Labels, BTreeMap<i64, u64>>;

pub(super) async fn read_all(shard: &Shard, range: TimeRange) -> Result<Model> {
    let selection = shard.select(&[Matcher::equal("__name__", "m")], range).await?;
    let mut model = Model::new();
    for i in 0..selection.len() {
        let mut out = SampleColumns::new();
        selection.read(i, range, &mut out).await?;
        assert!(out.timestamps.is_sorted_by(|a, b| a < b), "{:?}", out.timestamps);
        let samples = out.timestamps.into_iter().zip(out.values.into_iter().map(f64::to_bits));
        model.insert(selection.labels(i), samples.collect());
    }
    model.retain(|_, samples| !samples.is_empty());
    Ok(model)
}

#[test]
fn what_is_appended_is_selected_now_and_after_a_kill() {
    sim::run(1, async {
        let disk = SimDisk::new(1);
        let shard = open(&disk).await;
        let mut rows = batch(&[(0, 10, 1.0), (1, 10, STALE_NAN), (0, 20, 2.0)]);
        let gauge = Metadata { kind: MetricType::Gauge, ..Metadata::default() };
        rows.push_metadata("m", gauge.clone());
        let outcome = shard.append(rows).await.unwrap();
        assert_eq!((outcome.appended, outcome.new_series, outcome.refused_total()), (3, 2, 0));
        for shard in [&shard, &open(&disk.kill()).await] {
            let all = read_all(shard, TimeRange::ALL).await.unwrap();
            assert_eq!(
                all[&labels(0)],
                BTreeMap::from([(10, 1_f64.to_bits()), (20, 2_f64.to_bits())])
            );
            assert_eq!(all[&labels(1)], BTreeMap::from([(10, STALE_NAN.to_bits())]));
            assert_eq!(shard.metadata(), [("m".to_owned(), gauge.clone())]);
            let matcher = Matcher::new(MatchOp::Regex, "host", "1|7").unwrap();
            assert_eq!(
                shard.select(&[matcher], TimeRange::ALL).await.unwrap().labels(0),
                labels(1)
            );
            assert_eq!(
                shard.label_names(&[], TimeRange::ALL, 9).await.unwrap(),
                ["__name__", "host", "parity"]
            );
            assert_eq!(shard.label_values("host", &[], TimeRange::ALL, 1).await.unwrap(), ["0"]);
            assert_eq!(shard.series(&[], TimeRange::new(15, 30), 9).await.unwrap(), [labels(0)]);
            assert!(shard.label_names(&[], TimeRange::new(30, 40), 9).await.unwrap().is_empty());
            assert_eq!(shard.stats().series, 2);
            let census = shard.census();
            let most = census.pairs.iter().max_by_key(|pair| pair.series).unwrap();
            let key = (census.names[most.name as usize].clone(), most.value_hash);
            let texts = shard.values_of(&HashSet::from_iter([key.clone()]));
            assert_eq!((&*key.0, &*texts[&key]), ("__name__", "m"));
        }
    });
}

#[test]
fn a_series_may_be_named_by_the_number_it_was_given() {
    sim::run(5, async {
        let shard = open(&SimDisk::new(5)).await;
        let mut asking = AppendBatch::new();
        for (ticket, series) in [(7, 0), (9, 1), (8, 0)] {
            let labels = labels(series);
            asking.push_series_asking(labels.fingerprint(), labels.encoded(), ticket);
            asking.push_sample(10 + i64::from(ticket), f64::from(ticket));
        }
        let told = shard.append(asking).await.unwrap();
        assert_eq!(told.numbers, [(7, 0), (9, 1), (8, 0)]);
        let mut batch = batch(&[(1, 30, 3.0)]);
        for (number, t) in [(1, 40), (0, 40), (2, 40), (1, 30), (1, 40)] {
            batch.push_known(number);
            batch.push_samples(&[Sample { timestamp_ms: t, value: 4.0 }]);
        }
        let outcome = shard.append(batch).await.unwrap();
        assert_eq!((outcome.appended, outcome.duplicates, outcome.stale), (3, 1, 1));
        assert_eq!(outcome.refused_as(RefusalKind::DuplicateTimestamp), 1);
        assert_eq!(outcome.first_refusal.unwrap().labels, labels(1));
        let all = read_all(&shard, TimeRange::ALL).await.unwrap();
        assert_eq!(all[&labels(0)].keys().copied().collect::<Vec<_>>(), [17, 18, 40]);
        assert_eq!(all[&labels(1)].keys().copied().collect::<Vec<_>>(), [19, 30, 40]);
    });
}

#[test]
fn what_is_refused_is_refused_by_name() {
    sim::run(2, async {
        let disk = SimDisk::new(2).disk();
        let options = ShardOptions { series_max: 2, future_ms_max: 1000, ..options() };
        let shard = Shard::open(disk, Path::new(DIRECTORY), options).await.unwrap();
        let now = crate::runtime::clock::now_ms();
        let first = shard.append(batch(&[(0, now - 5, 1.0), (0, now, 2.0), (1, now, f64::NAN)]));
        assert_eq!(first.await.unwrap().appended, 3);
        let mut rows = batch(&[
            (0, now - 5, 1.0),
            (0, now - 5, 7.0),
            (0, now - 3_600_001, 7.0),
            (0, now, 2.0),
            (0, now, 3.0),
            (1, now, f64::NAN),
            (0, now + 60_000, 4.0),
            (2, now, 1.0),
            (0, i64::MIN, 1.0),
            (0, now + 1, 5.0),
        ]);
        rows.push_series(crate::model::labels::Fingerprint::of(b"x"), b"x");
        rows.push_sample(now, 1.0);
        let outcome = shard.append(rows).await.unwrap();
        assert_eq!((outcome.appended, outcome.duplicates, outcome.new_series), (1, 3, 0));
        let expected = [
            (RefusalKind::TooOld, 2),
            (RefusalKind::TooFarInFuture, 1),
            (RefusalKind::DuplicateTimestamp, 2),
            (RefusalKind::SeriesLimit, 1),
            (RefusalKind::InvalidLabels, 1),
        ];
        for (kind, count) in expected {
            assert_eq!(outcome.refused_as(kind), count, "{kind} of {outcome:?}");
        }
        assert_eq!(outcome.first_refusal.unwrap().kind, RefusalKind::DuplicateTimestamp);
        assert_eq!(shard.stats().samples_refused, outcome.refused);
        assert_eq!(shard.stats().series, 2);
    });
}

#[test]
fn a_selection_keeps_what_it_saw() {
    sim::run(3, async {
        let disk = SimDisk::new(3);
        let shard = open(&disk).await;
        let rows: Vec<_> = (0..250).map(|i| (0, i * 1000, i as f64)).collect();
        shard.append(batch(&rows)).await.unwrap();
        let selection = shard.select(&[], TimeRange::ALL).await.unwrap();
        let more: Vec<_> = (250..600).map(|i| (0, i * 1000, i as f64)).collect();
        shard.append(batch(&more)).await.unwrap();
        shard.0.spill().await.unwrap();
        let mut out = SampleColumns::new();
        selection.read(0, TimeRange::new(5_000, i64::MAX), &mut out).await.unwrap();
        assert_eq!(out.timestamps, (5..250).map(|i| i * 1000).collect::<Vec<_>>());
        shard.close().await.unwrap();
        assert!(matches!(shard.append(AppendBatch::new()).await, Err(Error::Closing)));
        out.clear();
        selection.read(0, TimeRange::ALL, &mut out).await.unwrap();
        assert_eq!(out.len(), 250);
    });
}

#[test]
fn the_log_stays_bounded_and_a_clean_stop_leaves_nothing_to_replay() {
    sim::run(4, async {
        let disk = SimDisk::new(4);
        let shard = open(&disk).await;
        for i in 0..400 {
            let rows: Vec<_> =
                (0..200).map(|s| (s, i * 15_000, (i * 7 + s as i64) as f64)).collect();
            shard.append(batch(&rows)).await.unwrap();
            shard.tick().await.unwrap();
        }
        let stats = shard.stats();
        assert!(stats.wal.segments < 20 && stats.checkpoints > 0, "{stats:?}");
        assert!(stats.chunk_file_bytes > 0 && stats.backlog_bytes < 1 << 20, "{stats:?}");
        let before = read_all(&shard, TimeRange::ALL).await.unwrap();
        assert_eq!(before.values().map(BTreeMap::len).sum::<usize>(), 80_000);
        shard.close().await.unwrap();
        drop(shard);
        let again = open(&disk.kill()).await;
        assert_eq!(again.stats().replayed_records, 0);
        assert_eq!(read_all(&again, TimeRange::ALL).await.unwrap(), before);
    });
}

#[test]
fn a_tick_that_is_dropped_does_not_keep_the_shard_from_closing() {
    sim::run(7, async {
        let disk = SimDisk::new(7);
        let shard = open(&disk).await;
        let rows: Vec<_> = (0..250).map(|i| (0, i * 60_000, i as f64)).collect();
        shard.append(batch(&rows)).await.unwrap();
        shard.0.checkpoint_wanted.set(true);
        // Long enough to begin writing, too short to end.
        let cut_off = crate::runtime::timeout(Duration::from_nanos(1), shard.tick()).await;
        assert!(cut_off.is_err());
        shard.close().await.unwrap();
        let again = open(&disk.crash()).await;
        assert_eq!(read_all(&again, TimeRange::ALL).await.unwrap()[&labels(0)].len(), 250);
    });
}

#[test]
fn idle_series_are_sealed_in_the_log_too() {
    sim::run(5, async {
        let disk = SimDisk::new(5);
        let shard = open(&disk).await;
        shard.append(batch(&[(0, 0, 1.0), (1, 0, 1.0)])).await.unwrap();
        shard.append(batch(&[(1, 3_700_000, 1.0)])).await.unwrap();
        shard.tick().await.unwrap();
        assert_eq!((shard.stats().chunks_open, shard.stats().backlog_chunks), (1, 1));
        shard.0.wal.sync().await.unwrap();
        let again = open(&disk.kill()).await;
        assert_eq!((again.stats().chunks_open, again.stats().backlog_chunks), (1, 1));
        let outcome = again.append(batch(&[(0, 1, 2.0)])).await.unwrap();
        assert_eq!(outcome.appended, 1);
    });
}

/// One run of the model: what was acknowledged, and what was sent and may be there.
struct Run {
    disk: SimDisk,
    random: u64,
    time: i64,
    /// How fast time passes: slowly, so that chunks fill, or so fast that blocks are cut.
    pace: i64,
    acknowledged: Model,
    sent: Model,
}

impl Run {
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    /// Rows in which most samples are new, some repeated, some refused.
    fn rows(&mut self) -> Vec<(u64, i64, f64)> {
        self.time += 1 + self.below(20_000) as i64 * self.pace;
        let mut rows = Vec::new();
        for _ in 0..=self.below(20) {
            let series = self.below(12);
            let late_max = if self.below(9) == 0 { 20_000_000 } else { 60_000 };
            let late = if self.below(8) == 0 { self.below(late_max) as i64 } else { 0 };
            let value =
                if self.below(9) == 0 { f64::from_bits(self.random) } else { self.below(5) as f64 };
            let step = self.below(4) as i64;
            self.time += step;
            rows.push((series, self.time - late, value));
        }
        rows
    }

    fn remember(model: &mut Model, rows: &[(u64, i64, f64)], known: Option<&Model>) {
        for &(series, t, value) in rows {
            let labels = labels(series);
            let there = known.and_then(|known| known.get(&labels)?.get(&t).copied());
            let bits = there.unwrap_or(value.to_bits());
            model.entry(labels).or_default().entry(t).or_insert(bits);
        }
    }

    /// Compares what is there with what must and may be there, and takes it for the truth.
    async fn check(&mut self, shard: &Shard, what: &str) {
        let found = read_all(shard, TimeRange::ALL).await.unwrap();
        for (labels, samples) in &self.acknowledged {
            for (t, bits) in samples {
                let there = found.get(labels).and_then(|samples| samples.get(t));
                assert_eq!(there, Some(bits), "{what}: acknowledged sample of {labels} at {t}");
            }
        }
        for (labels, samples) in &found {
            for (t, bits) in samples {
                assert!(
                    self.sent[labels].contains_key(t),
                    "{what}: nobody sent {labels} at {t} = {bits:x}"
                );
            }
        }
        self.acknowledged = found;
    }
}

/// Appends whose rows the shard answers for; the model learns from a read what was accepted.
async fn step(run: &mut Run, shard: &Shard) -> Result<()> {
    match run.below(13) {
        0 => shard.0.spill().await,
        1 => shard.0.checkpoint().await,
        2 => shard.tick().await,
        12 => shard.maintain().await,
        3 => {
            let matcher = Matcher::equal("parity", "odd");
            let end = run.time as u64 + 1;
            let (a, b) = (run.below(end) as i64, run.below(end) as i64);
            let range = TimeRange::new(a.min(b), a.max(b));
            let selection = shard.select(&[matcher], range).await?;
            for i in 0..selection.len() {
                let mut out = SampleColumns::new();
                selection.read(i, range, &mut out).await?;
                let truth = &run.sent[&selection.labels(i)];
                assert!(out.timestamps.iter().all(|t| range.contains(*t) && truth.contains_key(t)));
            }
            Ok(())
        }
        _ => {
            let rows = run.rows();
            Run::remember(&mut run.sent, &rows, None);
            let outcome = shard.append(batch(&rows)).await?;
            let answered = outcome.appended + outcome.duplicates + outcome.refused_total();
            assert_eq!(answered, rows.len() as u64);
            // What was accepted is what is there now: reading it is reading what was acknowledged.
            let there = read_all(shard, TimeRange::ALL).await?;
            let count = |model: &Model| model.values().map(BTreeMap::len).sum::<usize>() as u64;
            assert!(count(&there) >= count(&run.acknowledged) + outcome.appended);
            run.acknowledged = there;
            Ok(())
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_happens() {
    // More by `TIDEMARK_SEEDS`.
    let seeds = std::env::var("TIDEMARK_SEEDS").ok().and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(8) {
        sim::run(seed, async move {
            let disk = SimDisk::new(seed);
            let (acknowledged, sent) = (Model::new(), Model::new());
            let pace = if seed % 2 == 0 { 1 } else { 60 };
            let mut run = Run { disk, random: seed, time: 0, pace, acknowledged, sent };
            for life in 0..6 {
                let shard = open(&run.disk).await;
                run.check(&shard, &format!("seed {seed}, life {life}")).await;
                if life % 2 == 1 {
                    let operations = run.below(400);
                    run.disk.crash_after(operations);
                }
                for _ in 0..40 {
                    if step(&mut run, &shard).await.is_err() {
                        break;
                    }
                }
                if run.below(4) == 0 {
                    let _ = shard.close().await;
                }
                drop(shard);
                let power_loss = run.below(2) == 0;
                run.disk = if power_loss { run.disk.crash() } else { run.disk.kill() };
            }
        });
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    sim::run(6, async {
        let disk = SimDisk::new(6);
        let shard = open(&disk).await;
        shard.append(batch(&[(0, 1, 1.0)])).await.unwrap();
        disk.fail_no_space_after(0);
        // There is room in the segment that was made before.
        let mut t = 1;
        let refused = loop {
            t += 1;
            if let Err(refused) = shard.append(batch(&[(0, t, 2.0)])).await {
                break refused;
            }
            assert!(t < 1000, "the disk is full and nobody notices");
        };
        assert!(refused.is_transient(), "{refused}");
        disk.make_room();
        // The sender tries again; the sample is in memory already and becomes durable with this answer.
        let outcome = shard.append(batch(&[(0, t, 2.0), (0, t + 1, 3.0)])).await.unwrap();
        assert_eq!((outcome.appended, outcome.duplicates), (1, 1));
        let again = open(&disk.crash()).await;
        let samples = read_all(&again, TimeRange::ALL).await.unwrap()[&labels(0)].len();
        assert_eq!(samples as i64, t + 1);
    });
}

#[test]
fn exemplars_outlive_kills_and_closing() {
    sim::run(5, async {
        let disk = SimDisk::new(5);
        let traced = |series: u64, t: i64, trace: &str| {
            let mut batch = batch(&[(series, t, 1.0)]);
            let labels = Labels::from_pairs([("trace_id", trace)]);
            batch.push_exemplar(Exemplar { labels, value: 0.25, timestamp_ms: t, dated: true });
            batch
        };
        let seen = |shard: &Shard| {
            let found = shard.exemplars(&[vec![]], TimeRange::new(0, 100)).unwrap();
            let list = found.into_iter().flat_map(|(series, list)| {
                list.into_iter().map(move |e| format!("{series} {} {}", e.labels, e.timestamp_ms))
            });
            list.collect::<Vec<_>>()
        };
        let shard = open(&disk).await;
        for (series, t, trace) in [(1, 10, "a"), (2, 20, "b"), (1, 30, "c"), (1, 30, "c")] {
            shard.append(traced(series, t, trace)).await.unwrap();
        }
        // Nobody knows the series of this one.
        let mut alone = AppendBatch::new();
        alone.push_series(labels(9).fingerprint(), labels(9).encoded());
        let unknown = Exemplar { labels: labels(0), value: 1.0, timestamp_ms: 1, dated: true };
        alone.push_exemplar(unknown);
        shard.append(alone).await.unwrap();
        let expected = seen(&shard);
        assert_eq!(expected.len(), 3, "{expected:?}");
        let disk = disk.crash();
        let shard = open(&disk).await;
        assert_eq!(seen(&shard), expected, "after a crash");
        shard.close().await.unwrap();
        drop(shard);
        let shard = open(&disk).await;
        assert_eq!(seen(&shard), expected, "after closing");
        shard.append(traced(2, 40, "d")).await.unwrap();
        assert_eq!(seen(&shard).len(), 4);
    });
}
